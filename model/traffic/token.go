package traffic

import (
	"net/url"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// carriesToken reports whether a request has something where a
// RequestAuthentication looks for a token: a bearer in Authorization or the
// parameter access_token, unless its rules name other places (envoy
// source/extensions/filters/http/jwt_authn/extractor.cc, istio
// pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig). Without,
// nothing is verified and there are no claims.
func carriesToken(r *request, ra *model.RequestAuthentication) bool {
	if r == nil {
		return false
	}
	_, query, _ := strings.Cut(r.path, "?")
	parameters, _ := url.ParseQuery(query) // what is malformed is no parameter
	for _, rule := range ra.Spec.GetJwtRules() {
		if len(rule.GetFromHeaders())+len(rule.GetFromParams())+len(rule.GetFromCookies()) == 0 &&
			(strings.HasPrefix(r.headers["authorization"], "Bearer ") || parameters.Has("access_token")) {
			return true
		}
		for _, from := range rule.GetFromHeaders() {
			if value, found := r.headers[strings.ToLower(from.GetName())]; found && strings.Contains(value, from.GetPrefix()) {
				return true
			}
		}
		for _, name := range rule.GetFromParams() {
			if parameters.Has(name) {
				return true
			}
		}
		for _, name := range rule.GetFromCookies() {
			if strings.Contains(r.headers["cookie"], name+"=") {
				return true
			}
		}
	}
	return false
}

package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// reportUnusedAccount reports an identity whose ServiceAccount the input has, while the
// workload that is called like it runs as "default" (its pod template names none), or as
// an account that the input does not have. True if it does.
func reportUnusedAccount(p *Pass, policy governed, r authzRule, v identityValue) bool {
	parts := strings.Split(v.value, "/")
	if v.attribute != "principal" || len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" || parts[4] == "default" {
		return false
	}
	namespace, account := parts[2], parts[4]
	exists := func(name string) bool {
		return slices.ContainsFunc(p.Mesh.ServiceAccounts, func(o *manifest.Object) bool { return o.Namespace == namespace && o.Name == name })
	}
	if len(usersOf(p, namespace, account)) > 0 || !exists(account) {
		return false
	}
	for _, w := range p.Mesh.Workloads {
		if w.Namespace != namespace || w.Name != account || w.PodUnknown != "" || w.ServiceAccount != "default" && exists(w.ServiceAccount) {
			continue
		}
		f := Finding{Severity: Warning, Object: policy.Object, Field: v.field, Label: "nobody has this identity"}
		if denies(policy.AuthorizationPolicy) != v.not {
			f.SecuritySeverity = 5.5
		}
		f.Help = fmt.Sprintf("set serviceAccountName: %s in the pod template of %s", account, w)
		f.Message = fmt.Sprintf("principal %q in %s never matches, as no workload runs as service account %q: %s, which is called like it, runs as %q; set its serviceAccountName",
			v.value, r, account, w, w.ServiceAccount)
		if v.not {
			f.Message = strings.Replace(f.Message, "never matches", "excludes nobody", 1)
		}
		f.Related = []Related{{w.Object, w.Field("spec"), fmt.Sprintf("its pods run as service account %q", w.ServiceAccount)}}
		p.Report(f)
		return true
	}
	return false
}

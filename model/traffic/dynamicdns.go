package traffic

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// originateUnasked gives the cluster of mode ALLOW_ANY_DYNAMIC_DNS the TLS that
// outboundTrafficPolicy.tls asks for (istio cluster_builder.go
// buildAllowAnyDFPCluster, cluster_tls.go buildUpstreamClusterTLSContext). It is
// the cluster of plaintext requests for unknown hosts.
func (p *proxy) originateUnasked(c *cluster) {
	settings := p.push.Config.GetOutboundTrafficPolicy().GetTls()
	if settings == nil || settings.GetMode() == networking.ClientTLSSettings_DISABLE {
		return
	}
	var from []flow.Because
	var at model.Place
	if object, field := p.push.Config.Because("outboundTrafficPolicy.tls"); object != nil {
		from, at = []flow.Because{{Object: object, Field: field}}, model.Place{Object: object, Field: field}
	}
	// Without TLS Envoy takes such a cluster only where istiod says that it may
	// go without checking names, which it does for mode DISABLE alone.
	refused := func(why string) {
		c.unmodelled = &model.Unmodelled{Why: fmt.Sprintf("outboundTrafficPolicy.tls %s: istiod sends no TLS then, and Envoy may refuse the cluster", why), Place: at}
	}
	credential := settings.GetCredentialName()
	switch settings.GetMode() {
	case networking.ClientTLSSettings_SIMPLE, networking.ClientTLSSettings_MUTUAL:
		switch {
		case credential != "" && !strings.HasPrefix(credential, "configmap://"):
			refused("names a credential, which sidecars do not get")
			return
		case settings.GetMode() == networking.ClientTLSSettings_MUTUAL && credential == "" &&
			(settings.GetClientCertificate() == "" || settings.GetPrivateKey() == ""):
			refused("has no client certificate")
			return
		}
	}
	sni := settings.GetSni()
	c.tls = &upstreamTLS{mode: settings.GetMode(), sni: sni, autoSNI: sni == "", sans: settings.GetSubjectAltNames(), because: from}
}

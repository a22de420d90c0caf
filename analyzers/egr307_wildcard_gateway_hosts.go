package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR307", Name: "wildcard-gateway-hosts", Severity: Error, SecuritySeverity: 7.4,
	Run: runWildcardHosts,
	Doc: Doc{
		Title: "A server of the egress gateway takes any host, from VirtualServices of any namespace",
		What: "A server of an egress gateway has `hosts: [\"*\"]` or a whole top-level domain without a namespace in front, so that a VirtualService of any namespace may publish any host through it. " +
			"It is an error where a VirtualService for a wildcard forwards through it to whatever host the request names (resolution DYNAMIC_DNS).",
		Why:  "What leaves through the gateway is then decided by whoever may write a VirtualService anywhere, not by those who run the gateway.",
		Bad:  egressDoc("", "    hosts:\n    - api.example.com\n    tls:\n", "    hosts:\n    - \"*\"\n    tls:\n"),
		Good: egressDoc("", "    hosts:\n    - api.example.com\n    tls:\n", "    hosts:\n    - istio-egress/*\n    tls:\n"),
		Fix:  "List the hosts, or put the namespace in front whose VirtualServices may use the server: `istio-egress/*`.",
		Silent: "Hosts with a namespace (`ns/*`, `./*`), servers that only redirect, AUTO_PASSTHROUGH (which takes no VirtualServices), Gateways of the Gateway API, " +
			"and gateways whose ALLOW policies name a host in every rule: what they do not name stays closed. A namespace alone in the input is no stranger to itself: " +
			"the rule also stays silent where all workloads and VirtualServices lie in the gateway's namespace.",
		Sources: []string{
			"istio pilot/pkg/networking/core/gateway.go (pickMatchingGatewayHosts)",
			"https://istio.io/latest/docs/ops/best-practices/security/#avoid-overly-broad-hosts-configurations",
		},
	},
})

// broadServer is a place that the rule reports, once for all gateways.
type broadServer struct {
	object *manifest.Object
	field  string
}

func runWildcardHosts(p *Pass) {
	in := intentOf(p)
	var order []broadServer
	gateways := map[broadServer][]string{}
	servers := map[broadServer]*model.GatewayServer{}
	for _, g := range in.gateways {
		if g.namesHosts() || in.alone(g.Namespace) {
			continue
		}
		for _, s := range g.servers {
			i := slices.IndexFunc(s.GetHosts(), broad)
			if i < 0 || s.Origin != nil || s.GetTls().GetHttpsRedirect() || s.GetTls() != nil && s.GetTls().GetMode() == networking.ServerTLSSettings_AUTO_PASSTHROUGH {
				continue
			}
			k := broadServer{s.Gateway.Object, fmt.Sprintf("%s.hosts[%d]", s.Field, i)}
			if servers[k] == nil {
				order, servers[k] = append(order, k), s
			}
			if !slices.Contains(gateways[k], g.ID()) {
				gateways[k] = append(gateways[k], g.ID())
			}
		}
	}
	for _, k := range order {
		s := servers[k]
		i := slices.IndexFunc(s.GetHosts(), broad)
		f := Finding{
			Object: k.object, Field: k.field, Severity: Warning, SecuritySeverity: 5.8,
			Label: "any namespace may publish any host here",
			Help:  fmt.Sprintf("list the hosts, or write %q so that only VirtualServices of that namespace count", s.Gateway.Namespace+"/*"),
		}
		effect := "a VirtualService of any namespace may publish through it"
		if vs, entry := in.forwardsAnything(s); vs != nil {
			f.Severity, f.SecuritySeverity = Error, 7.4
			effect = fmt.Sprintf("%s forwards whatever host a request names", vs)
			f.Related = append(f.Related, Related{vs.Object, "spec.hosts", effect}, Related{entry, "spec.resolution", "the gateway resolves the host of the request"})
		}
		f.Message = fmt.Sprintf("%s on egress gateway %s takes %q: %s; list the hosts, or put a namespace in front",
			serverText(s), upTo3(gateways[k]), s.GetHosts()[i], effect)
		p.Report(f)
	}
}

// broad reports whether a host of a server is everything, or a whole top-level
// domain, for VirtualServices of any namespace.
func broad(h string) bool {
	if ns, name, ok := strings.Cut(h, "/"); ok {
		if ns != "*" {
			return false
		}
		h = name
	}
	rest, wildcard := strings.CutPrefix(h, "*")
	return wildcard && !strings.Contains(strings.TrimPrefix(rest, "."), ".")
}

// namesHosts reports whether ALLOW policies are in force at the gateway that name
// a host, or a server name, in each of their rules.
func (g *egressGateway) namesHosts() bool {
	some := false
	for _, policy := range g.Policies.Allow {
		if !enforced(policy) {
			continue
		}
		some = true
		for _, r := range rulesOf(policy) {
			sni := slices.ContainsFunc(r.GetWhen(), func(c *security.Condition) bool {
				return c.GetKey() == "connection.sni" && len(c.GetValues()) > 0 && !slices.Contains(c.GetValues(), "*")
			})
			if !sni && (len(r.GetTo()) == 0 || slices.ContainsFunc(r.GetTo(), func(to *security.Rule_To) bool {
				hosts := to.GetOperation().GetHosts()
				return len(hosts) == 0 || slices.Contains(hosts, "*")
			})) {
				return false
			}
		}
	}
	return some
}

// alone reports whether a namespace is the only one with workloads or
// VirtualServices.
func (in *intent) alone(namespace string) bool {
	return !slices.ContainsFunc(in.pass.Mesh.Workloads, func(w *model.Workload) bool { return w.Namespace != namespace }) &&
		!slices.ContainsFunc(in.push.VirtualServices(), func(vs *model.MergedVirtualService) bool { return vs.Namespace != namespace })
}

// forwardsAnything returns a VirtualService that a server takes and that forwards
// to the host that the request names, with the ServiceEntry; nil if there is none.
func (in *intent) forwardsAnything(s *model.GatewayServer) (*model.MergedVirtualService, *manifest.Object) {
	for _, vs := range in.push.VirtualServices() {
		if !slices.Contains(vs.Gateways, s.Name()) || !slices.ContainsFunc(vs.Hosts, host.Name.IsWildCarded) {
			continue
		}
		for _, d := range vs.Destinations(vs.Namespace) {
			for _, svc := range in.push.Services() {
				if svc.Hostname == d.Host && svc.Resolution == model.DynamicDNS {
					return vs, svc.Object
				}
			}
		}
	}
	return nil, nil
}

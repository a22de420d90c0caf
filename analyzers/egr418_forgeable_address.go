package analyzers

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR418", Name: "forgeable-source-address", Severity: Warning, SecuritySeverity: 5.5,
	Run: runForgeableAddress,
	Doc: Doc{
		Title: "A policy about egress trusts an address that the client writes into a header itself",
		What: "A rule in force at a waypoint for hosts outside, or at an egress gateway that is told of trusted proxies (`gatewayTopology.numTrustedProxies`), asks for `remoteIpBlocks` or `remote.ip`, " +
			"and a request that is denied is allowed as soon as the client adds an `X-Forwarded-For` header.",
		Why: "That address is taken from `X-Forwarded-For`: a waypoint believes the last entry, a gateway as many as it is told that there are proxies in front of it. On the way out nothing stands " +
			"between the application and them that writes the header, so that the application chooses its address.",
		Bad:  ambientDoc(nil, addressDoc("remoteIpBlocks: [10.8.0.0/16]")),
		Good: ambientDoc(nil, addressDoc(`principals: ["cluster.local/ns/shop/sa/orders"]`)),
		Fix:  "Ask for identities (`principals`, `namespaces`) or, where it has to be an address, for `ipBlocks`, which is who sent the connection. Set numTrustedProxies for ingress gateways alone, by the annotation of their pods.",
		Silent: "Gateways without trusted proxies, which is the default: there the address is that of who sent the connection; `ipBlocks`; rules for which no request of a client in the input shows the difference; " +
			"ports that do not carry HTTP.",
		Sources: []string{
			"istio pilot/pkg/networking/core/listener_waypoint.go (useRemoteAddress)",
			"istio pilot/pkg/networking/core/gateway.go (buildGatewayConnectionManager)",
			"https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for",
		},
	},
})

// addressDoc is a policy at the documented waypoint with a condition on the source.
func addressDoc(source string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: api
  namespace: istio-egress
spec:
  targetRefs:
  - group: networking.istio.io
    kind: ServiceEntry
    name: api
  action: ALLOW
  rules:
  - from:
    - source:
        ` + source + `
`
}

func runForgeableAddress(p *Pass) {
	for _, policy := range governing(p) {
		for _, r := range rulesOf(policy.AuthorizationPolicy) {
			field, forged := r.remoteAddresses()
			if field == "" {
				continue
			}
			f := Finding{Object: policy.Object, Field: field, Label: "the client's own word",
				Help: "ask for principals or namespaces, or for ipBlocks, which is who sent the connection"}
			at := ""
			for _, g := range policy.at {
				w := g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
					for _, address := range forged {
						if again := g.send(p, c.Class, forwarded(c.Flow, address)); c.deniedBy(policy.AuthorizationPolicy) && again != nil && again.allowed() {
							return again
						}
					}
					return nil
				})
				if f.prove(w); w != nil {
					at = "egress gateway " + g.ID()
					break
				}
			}
			if at == "" && len(policy.waypoints) > 0 {
				at = f.forgedAtWaypoint(p, policy.AuthorizationPolicy, r, forged)
			}
			if at == "" {
				continue
			}
			f.Message = fmt.Sprintf("%s asks for the address of the client, which %s takes from X-Forwarded-For: a request of %s for %s that is denied gets out with %q there; ask for identities",
				r, at, upTo3(f.Workloads), f.Flow.Host, f.Flow.Headers[forwardedFor])
			p.Report(f)
		}
	}
}

const forwardedFor = "x-forwarded-for"

// forwarded is a request with an address in X-Forwarded-For.
func forwarded(f flow.Flow, address string) flow.Flow {
	headers := maps.Clone(f.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	headers[forwardedFor] = address
	f.Headers = headers
	return f
}

// forgedAtWaypoint adds, as the witness of a finding, a request that a waypoint
// denies by a policy without the header and allows with it, and returns the
// waypoint, "" if there is none.
func (f *Finding) forgedAtWaypoint(p *Pass, policy *model.AuthorizationPolicy, r authzRule, forged []string) string {
	push := p.Reach.Sim.Push()
	classes := p.classesIn(capture.Ambient)
	for _, h := range served(intentOf(p).waypointHosts()) {
		policies := push.AuthorizationPoliciesForWaypoint(h.Binding.Waypoint, h.Service)
		if !slices.Contains(slices.Concat(policies.Deny, policies.Allow), policy) {
			continue
		}
		for _, class := range classes[:min(len(classes), maxAsked)] {
			for _, request := range h.requests(p, class[0]) {
				if request.Scheme != flow.HTTP {
					continue
				}
				request = r.shaped(request)
				if t := p.Reach.Sim.Verdict(request); !deniedBy(t, policy) {
					continue
				}
				for _, address := range forged {
					again := forwarded(request, address)
					if t := p.Reach.Sim.Verdict(again); t.Outcome == flow.Allowed && t.Via == flow.ViaWaypoint {
						f.Flow, f.Trace, f.Workloads = &again, p.Reach.Trace(again), workloadIDs(class)
						return "waypoint " + h.Binding.Waypoint.ID()
					}
				}
			}
		}
	}
	return ""
}

// shaped is a request with the method and the path of a rule's first operation.
func (r authzRule) shaped(f flow.Flow) flow.Flow {
	if len(r.GetTo()) > 0 {
		o := r.GetTo()[0].GetOperation()
		if m := o.GetMethods(); len(m) > 0 {
			f.Method = sample(m[0], "GET")
		}
		if paths := o.GetPaths(); len(paths) > 0 {
			f.Path = sample(paths[0], "/x")
		}
	}
	return f
}

// remoteAddresses returns the first condition of a rule on the client's address as
// headers have it, with addresses to try: one of each of the first blocks, and one
// that is in none of the usual ones.
func (r authzRule) remoteAddresses() (field string, forged []string) {
	add := func(values []string, format string, args ...any) {
		if len(values) == 0 {
			return
		}
		if field == "" {
			field = r.field(format, args...)
		}
		for _, v := range values[:min(len(values), maxNamed)] {
			if prefix, err := netip.ParsePrefix(v); err == nil {
				forged = append(forged, prefix.Addr().String())
			} else if _, err := netip.ParseAddr(v); err == nil {
				forged = append(forged, v)
			}
		}
	}
	for i, from := range r.GetFrom() {
		add(from.GetSource().GetRemoteIpBlocks(), "from[%d].source.remoteIpBlocks", i)
		add(from.GetSource().GetNotRemoteIpBlocks(), "from[%d].source.notRemoteIpBlocks", i)
	}
	for i, w := range r.GetWhen() {
		if w.GetKey() == "remote.ip" {
			add(slices.Concat(w.GetValues(), w.GetNotValues()), "when[%d]", i)
		}
	}
	return field, append(forged, "192.0.2.1")
}

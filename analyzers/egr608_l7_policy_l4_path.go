package analyzers

import (
	"fmt"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR608", Name: "l7-policy-on-l4-path", Severity: Error,
	Run: runL7PolicyOnL4Path,
	Doc: Doc{
		Title: "A policy of a waypoint asks for HTTP where the waypoint sees only TCP",
		What: "A rule of an AuthorizationPolicy at a waypoint has fields of HTTP (hosts, methods, paths, `request.*`), and denies, or fails to allow, " +
			"requests of clients to a port whose protocol is TLS, HTTPS or TCP.",
		Why: "A waypoint does not open the application's TLS. On such a port an ALLOW rule with a field of HTTP is left out as a whole, so that it allows nothing; " +
			"a DENY rule loses the field and denies every connection that its other conditions fit.",
		Bad:  ambientDoc([]string{"number: 80", "number: 443", "protocol: HTTP\n", "protocol: TLS\n"}, methodsPolicy),
		Good: ambientDoc(nil, methodsPolicy),
		Fix: "Let clients send plaintext HTTP to the waypoint and originate TLS there (a port with protocol HTTP and `targetPort: 443`, and a DestinationRule), " +
			"or use only what a connection has: namespaces, principals, ports, `connection.sni`.",
		Silent: "Other rules let the requests through, or nobody's requests are concerned; the outcome is unknown.",
		Sources: []string{
			"istio pilot/pkg/networking/core/listener_waypoint.go",
			"istio pilot/pkg/security/authz/model/model.go (Generate, checkError)",
		},
	},
})

const methodsPolicy = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: read-only
  namespace: istio-egress
spec:
  targetRefs:
  - group: networking.istio.io
    kind: ServiceEntry
    name: api
  action: ALLOW
  rules:
  - to:
    - operation:
        methods: ["GET"]
`

func runL7PolicyOnL4Path(p *Pass) {
	push := p.Reach.Sim.Push()
	type about struct {
		policy *model.AuthorizationPolicy
		rule   int
	}
	type affected struct {
		proof     *proof
		field     string
		names     []string
		workloads []*model.Workload
		allow     bool
	}
	var order []about
	found := map[about]*affected{}
	var clients *ambientClients
	for _, h := range served(waypointHosts(p)) {
		for _, r := range h.rules(push) {
			field, policy := httpField(r), r.Policy
			if field == "" {
				continue
			}
			if clients == nil {
				clients = ambientClientsOf(p)
			}
			allow := policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW
			for _, port := range h.Service.Ports {
				if port.Protocol.IsHTTP() || port.Protocol == protocol.UDP || port.Protocol == protocol.Unsupported {
					continue
				}
				first, workloads := clients.eachClass(func(w *model.Workload) bool { return r.means(push, w) }).faring(h.on(port), func(t *flow.Trace) bool {
					return t.Via == flow.ViaWaypoint && deniedBy(t, policy) && (allow || t.Rule != nil && *t.Rule == r.Index)
				})
				if first == nil {
					continue
				}
				key := about{policy, r.Index}
				if found[key] == nil {
					found[key], order = &affected{proof: first, field: field, allow: allow}, append(order, key)
				}
				a := found[key]
				a.names = append(a.names, fmt.Sprintf("%s:%d (%s)", h.name(), port.Number, port.Protocol))
				a.workloads = append(a.workloads, workloads...)
			}
		}
	}
	for _, key := range order {
		a := found[key]
		f := Finding{Object: key.policy.Object, Field: a.field, Label: "nothing of HTTP is seen there", Workloads: workloadIDs(a.workloads), Flow: &a.proof.Flow, Trace: a.proof.Trace,
			Help: "use namespaces, principals, ports or connection.sni, or send plaintext HTTP to the waypoint and originate TLS there"}
		effect := "the rule allows nothing there"
		if !a.allow {
			effect = "the rule denies every connection there that its other conditions fit"
		}
		f.Message = fmt.Sprintf("%s rule %d of AuthorizationPolicy %s asks for HTTP on the way to %s, where the waypoint sees only TCP: %s, and %s %s denied; ask for what a connection has",
			key.policy.Spec.GetAction(), key.rule, key.policy.ID(), upTo3(a.names), effect, upTo3(f.Workloads), plural(len(f.Workloads), "is", "are"))
		p.Report(f)
	}
}

// on is the host with one of its ports alone.
func (h waypointHost) on(port *model.Port) waypointHost {
	s := *h.Service
	s.Ports = []*model.Port{port}
	return waypointHost{&s, h.Binding}
}

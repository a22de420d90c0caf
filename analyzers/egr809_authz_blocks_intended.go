package analyzers

import (
	"fmt"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR809", Name: "authz-blocks-intended", Severity: Error,
	Run: runBlocksIntended,
	Doc: Doc{
		Title: "The egress gateway denies what an ALLOW policy means to allow",
		What: "A rule of an ALLOW AuthorizationPolicy names a client and a host, and yet the egress gateway denies every request of this client to the host: " +
			"the policy does not apply to the gateway, or another of the rule's conditions cannot hold there.",
		Why: "Where an ALLOW policy is in force, whatever no ALLOW rule matches is denied (403, or a reset on TCP). That is no matter of order between ALLOW and DENY: " +
			"a rule that does not apply, or never matches, simply counts for nothing.",
		Bad:  egressDoc(allowOrders("shop", "istio-egress")),
		Good: egressDoc(allowOrders("istio-egress", "istio-egress")),
		Fix:  "Put the policy into the gateway's namespace, use the port that the gateway's pod listens on, let the gateway see identities (ISTIO_MUTUAL), and use only conditions that its server can evaluate.",
		Silent: "Clients and hosts that no ALLOW rule names together, clients that get some request through (a rule for GET that leaves out HEAD is EGR413), " +
			"denials by a DENY rule that names the client or the host, and conditions that cannot be decided from manifests (tokens, addresses).",
		Sources: []string{
			"istio pilot/pkg/model/authorization.go (ListAuthorizationPolicies)",
			"istio pilot/pkg/security/authz/builder/builder.go",
			"istio pilot/pkg/security/authz/model/model.go",
		},
	},
})

// allowOrders is a policy that closes the documented gateway, and one in a
// namespace of choice that opens it for namespace shop.
func allowOrders(namespace, closed string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: ` + closed + `
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: orders-to-api
  namespace: ` + namespace + `
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com"]
`
}

// refusal is what a finding of EGR809 is about: a rule that is meant to allow,
// and the field because of which it does not.
type refusal struct {
	policy      *manifest.Object
	rule        int
	field       string
	pod         *model.Workload
	text, todo  string
	deniedBy    *manifest.Object
	deniedField string
}

func runBlocksIntended(p *Pass) {
	in := intentOf(p)
	var found byKey[refusal]
	for a := range in.failing(flow.RBACDenied) {
		if k, ok := in.refusal(a); ok {
			found.add(k, a)
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		policy := k.policy
		f := Finding{
			Object: policy, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("%s denied %s on %s at egress gateway %s, although rule %d of %s means to allow it: %s; %s",
				c.who("is", "are"), upTo3(c.hosts), portsText(c.ports), k.pod.ID(), k.rule, policy, k.text, k.todo),
			Label: "the rule does not help these clients", Help: k.todo,
			Related: []Related{{policy, fmt.Sprintf("spec.rules[%d]", k.rule), "the rule that names the clients and the host"}, c.first.By.related()},
		}
		if k.deniedBy != nil {
			f.Related = append(f.Related, Related{k.deniedBy, k.deniedField, fmt.Sprintf("%s denies", k.deniedBy)})
		}
		p.Report(c.finding(f))
	}
}

// refusal returns the rule that comes nearest to allowing a request that a gateway
// denies, and why it does not; false where no rule means to, or where that cannot
// be told.
func (in *intent) refusal(a *attempt) (refusal, bool) {
	l := in.legOf(a.Trace)
	if l == nil || l.pod == nil || a.Trace.Reason != flow.RBACDenied || a.Trace.Via != flow.ViaGateway {
		return refusal{}, false
	}
	for _, attached := range []bool{true, false} {
		for _, r := range in.wantedBy(in.push).rulesFor(host.Name(a.To.Host)) {
			if in.inForce(r.Policy, l.pod) != attached {
				continue
			}
			if _, ok := in.grants(r, a.Class[0], a.To.Host); !ok {
				continue
			}
			if in.admits(r, a) {
				return refusal{}, false
			}
			k := refusal{policy: r.Policy.Object, rule: r.Index, pod: l.pod}
			if attached {
				in.whyNoMatch(&k, r, l, a)
			} else {
				in.whyNotInForce(&k, r, l.pod)
			}
			in.whoDenies(&k, a)
			return k, k.text != ""
		}
	}
	return refusal{}, false
}

package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR703", Name: "netpol-allows-world", Severity: Error, SecuritySeverity: 7.3,
	Run: runAllowsWorld,
	Doc: Doc{
		Title: "A NetworkPolicy lets pods reach any address of the internet",
		What: "An egress rule has no `to`, or an `ipBlock` that is (most of) the internet, for pods whose requests are to go through an egress gateway or waypoint, " +
			"or which another NetworkPolicy closes. Where the mesh is only REGISTRY_ONLY it is a note.",
		Why: "NetworkPolicies add up: what one rule of one policy allows is allowed, however many others allow nothing. " +
			"A single `0.0.0.0/0` voids the lock-down of the namespace, and with it the control at the gateway.",
		Bad: egressDoc(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: https
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock:
        cidr: 0.0.0.0/0
    ports:
    - port: 443
`),
		Good: egressDoc(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: https
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock:
        cidr: 10.0.0.0/8
    ports:
    - port: 443
`),
		Fix: "Name the peers: the pods of the egress gateway, the Services of the cluster, single public ranges that must be reached directly.",
		Silent: "Rules about port 53 alone; rules for less than a sixteenth of the public addresses; policies that select gateways only; " +
			"the manifests control nothing of what the pods send; whether the rule lets anything through is unknown. Rules for IPv6 alone are EGR704.",
		Sources: []string{"https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation"},
	},
})

func runAllowsWorld(p *Pass) {
	in := newControls(intentOf(p))
	for _, np := range p.Mesh.NetworkPolicies {
		for _, rule := range openRules(np) {
			var open []*model.Workload
			closedFor := true // the locking policies are for no more than these
			var lockers []*model.NetworkPolicy
			for _, class := range p.classesOf(np.Namespace) {
				if v4, _ := rule.lets(p.network, class[0]); !v4 {
					continue
				}
				open = append(open, class...)
				for _, l := range rule.lockers(p.network, class[0]) {
					if !slices.Contains(lockers, l) {
						lockers = append(lockers, l)
					}
				}
			}
			if len(open) == 0 {
				continue
			}
			for _, l := range lockers {
				for _, class := range p.classesOf(np.Namespace) {
					closedFor = closedFor && (!selectsPod(&l.Spec.Spec.PodSelector, class[0]) || slices.Contains(open, class[0]))
				}
			}
			in.reportWorld(&rule, open, lockers, closedFor)
		}
	}
}

// reportWorld reports a rule that lets workloads reach the internet although
// lockers close it. whole says that none of the workloads that these select stays
// closed.
func (in *controls) reportWorld(rule *openRule, open []*model.Workload, lockers []*model.NetworkPolicy, whole bool) {
	p := in.pass
	purpose := in.purposeFor(open)
	f := Finding{
		Severity: Error, SecuritySeverity: 7.3, Object: rule.Policy.Object, Field: rule.Field, Label: "the internet", Workloads: workloadIDs(open),
		Help: "NetworkPolicies add up: no other policy takes back what this rule allows",
	}
	var effect string
	var names []string
	for _, l := range lockers {
		names = append(names, l.ID())
		if len(f.Related) < maxNamed {
			f.Related = append(f.Related, Related{l.Object, "spec.podSelector", fmt.Sprintf("NetworkPolicy %s closes them but for what others allow", l.ID())})
		}
	}
	switch {
	case purpose.Through != "":
		effect = fmt.Sprintf("control at %s is advisory", purpose.Through)
	case len(lockers) > 0:
		effect = fmt.Sprintf("NetworkPolicy %s closes nothing for them", upTo3(names))
		if !whole { // opened for these alone, as a default and its exceptions are
			f.Severity, f.SecuritySeverity = Note, 3.0
		}
	case purpose.Closed:
		f.Severity, f.SecuritySeverity = Note, 3.0
		effect = "REGISTRY_ONLY is advisory"
	default:
		return
	}
	if purpose.Because.Object != nil {
		f.Related = append(f.Related, purpose.Because)
	}
	witness := p.around(open[0], rule.Port, rule.scheme(), "")
	if witness.Trace.Outcome != flow.Allowed {
		witness = p.around(open[0], rule.Port, rule.scheme(), rule.address(p, open[0]))
	}
	if witness.Trace.Outcome != flow.Allowed {
		return
	}
	f.Flow, f.Trace = &witness.Flow, witness.Trace
	f.Message = fmt.Sprintf("%s lets %s reach %s on %s; policies add up, so that %s; name the peers instead", rule, upTo3(f.Workloads), rule.What, rule.Ports, effect)
	p.Report(f)
}

// address is a public address that the rule lets a workload reach.
func (o *openRule) address(p *Pass, w *model.Workload) string {
	answer := p.network.internet(w, o.Port, o.Protocol)
	for _, r := range answer.Addresses.Ranges() {
		if r.From().Is6() == (o.V6 && !o.V4) {
			return r.From().String()
		}
	}
	return ""
}

package analyzers

import (
	"fmt"
	"slices"
	"strconv"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR415", Name: "service-port-in-policy", Severity: Error, SecuritySeverity: 7.8,
	Run: servicePort,
	Doc: Doc{
		Title: "A policy at an egress gateway gives the port of the Service where the port of the pod counts",
		What: "A rule in force at an egress gateway asks for a port (`ports`, or `destination.port`) that the gateway's Service has, but on which its pods do not listen: " +
			"the Service leads it to another. Or a rule in force at a waypoint asks for ports of which no host that it is about has one, such as the `targetPort` of its ServiceEntry.",
		Why: "A proxy compares the port that the connection came in on, which is the pod's: the Service's `targetPort`, often 8080 for 80 and 8443 for 443. " +
			"A DENY for the Service's port denies nothing; an ALLOW for it allows nothing. A waypoint knows requests by the port that the client called.",
		Bad:  egressDoc(portDoc("443")),
		Good: egressDoc(portDoc("8443")),
		Fix:  "Give the port that the gateway's container listens on, or leave the port out.",
		Silent: "Lists that hold the pod's port as well; ports on which the gateway listens too; rules that name no host and apply to another workload that has the port; " +
			"rules for which no request of a client in the input shows the difference.",
		Sources: []string{
			"https://istio.io/latest/news/security/istio-security-2021-002/",
			"istio pilot/pkg/model/gateway.go (mergeGateways translates Service ports)",
		},
	},
})

func portDoc(port string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-shop
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        ports: ["` + port + `"]
`
}

// portList is one list of ports in a rule.
type portList struct {
	values []string
	field  string
	not    bool
}

// portLists returns the lists of ports in a rule.
func (r authzRule) portLists() []portList {
	var out []portList
	for i, to := range r.GetTo() {
		o := to.GetOperation()
		out = append(out, portList{o.GetPorts(), r.field("to[%d].operation.ports", i), false}, portList{o.GetNotPorts(), r.field("to[%d].operation.notPorts", i), true})
	}
	for i, w := range r.GetWhen() {
		if w.GetKey() == "destination.port" {
			out = append(out, portList{w.GetValues(), r.field("when[%d].values", i), false}, portList{w.GetNotValues(), r.field("when[%d].notValues", i), true})
		}
	}
	return out
}

func servicePort(p *Pass) {
	reportWaypointPorts(p)
	for _, g := range egressGateways(p) {
		leads := g.servicePorts()
		for _, policy := range slices.Concat(g.Policies.Deny, g.Policies.Allow) {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				for _, list := range r.portLists() {
					for k, v := range list.values {
						port, err := strconv.Atoi(v)
						pod := leads[port]
						if err != nil || pod == 0 || g.listens(port) || !g.listens(pod) || slices.Contains(list.values, strconv.Itoa(pod)) ||
							len(r.hosts()) == 0 && meansOthers(p, g, policy, port) {
							continue
						}
						reportServicePort(p, g, policy, r, list, k, pod)
					}
				}
			}
		}
	}
}

func reportServicePort(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, r authzRule, list portList, k, pod int) {
	deny := policy.Spec.GetAction() == security.AuthorizationPolicy_DENY
	opens := deny != list.not
	_, needsIdentity := r.identityFields()
	w := g.witnessAlike(p, r, func(c *crossing) *crossing {
		here := slices.ContainsFunc(c.Servers, func(s *model.GatewayServer) bool { return s.Port == pod })
		if !here || !r.means(g.push, c.Class[0]) || needsIdentity && c.identity() == identityNone {
			return nil // the rule would not match with the right port either
		}
		switch {
		case deny && opens:
			return c.when(c.allowed())
		case deny:
			return c.when(c.deniedByRule(policy, r.Index))
		case opens:
			return c.when(c.admittedBy(policy, r.Index))
		default:
			return c.when(c.deniedBy(policy))
		}
	})
	if w == nil {
		return
	}
	f := Finding{Severity: Error, Object: policy.Object, Field: fmt.Sprintf("%s[%d]", list.field, k), Label: fmt.Sprintf("the pod listens on %d", pod)}
	f.Edits = []Edit{{policy.Object, f.Field, strconv.Quote(strconv.Itoa(pod))}}
	f.prove(w)
	if opens {
		f.SecuritySeverity = 7.8
	}
	means := "it never matches"
	if list.not {
		means = "it excludes nothing"
	}
	fate := "is allowed"
	if !opens {
		fate = "is denied"
	}
	f.Message = fmt.Sprintf("%s gives port %q, which is the Service's: %s, as egress gateway %s listens on %d. A request of %s to %q %s; write %q",
		r, list.values[k], means, g.ID(), pod, upTo3(f.Workloads), w.Flow.Host, fate, strconv.Itoa(pod))
	shown := 0
	for _, s := range g.servers {
		if s.Port == pod && shown < maxNamed {
			shown++
			f.Related = append(f.Related, Related{s.Gateway.Object, s.Field + ".port.number", fmt.Sprintf("%s is on port %d of the pod", serverText(s), pod)})
		}
	}
	p.Report(f)
}

package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR807", Name: "subset-missing", Severity: Error,
	Run: runSubsetMissing,
	Doc: Doc{
		Title: "A route to the egress gateway names a subset that no DestinationRule defines for these clients",
		What: "A route sends requests to a subset of the egress gateway's Service (or, at the gateway, of the external host), and the DestinationRule that applies there does not define it, " +
			"or none applies.",
		Why: "The route then leads to a cluster that the proxy does not have: HTTP requests end in 503, others in a reset. The DestinationRule may well exist: a proxy looks in its own namespace first, " +
			"then in that of the destination's service, then in the root namespace. The first that has a rule for the host hides the others, and a rule in any other namespace is never found, whatever its `exportTo`.",
		Bad:    egressDoc("", toGateway, toSubset),
		Good:   egressDoc("", toGateway, toSubset, gatewayRule, gatewayRule+"  subsets:\n  - name: api\n"),
		Fix:    "Define the subset in the DestinationRule that applies to these clients, or put the DestinationRule that has it into the namespace of the gateway's Service and export it to them.",
		Silent: "Services of which the input holds nothing, clients without a sidecar, destinations of which some request gets through.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (destinationRule)",
			"https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration",
		},
	},
})

// Parts of the documented mesh: the destination of its route to the gateway, with
// a subset, and the head of its DestinationRule.
const (
	toGateway = `        host: egress.istio-egress.svc.cluster.local
        port:
`
	toSubset = `        host: egress.istio-egress.svc.cluster.local
        subset: api
        port:
`
	gatewayRule = `  host: egress.istio-egress.svc.cluster.local
`
)

// lostSubset is what a finding of EGR807 is about: a destination in a route, and
// the proxies that miss its subset.
type lostSubset struct {
	route  *manifest.Object
	field  string
	host   host.Name
	subset string
	// namespace is that of the proxies, home that of the host's service.
	namespace, home string
	// effective is the rule that applies, nil if none does.
	effective *manifest.Object
}

func runSubsetMissing(p *Pass) {
	in := intentOf(p)
	var found byKey[lostSubset]
	for _, a := range in.failing() {
		if k, ok := in.lostSubset(a); ok {
			found.add(k, a)
		}
	}
	for _, k := range found.keys {
		p.Report(in.subsetFinding(k, found.of[k]))
	}
}

// lostSubset says which subset a request is missing, if that is what stops it.
func (in *intent) lostSubset(a *attempt) (lostSubset, bool) {
	if a.Trace.Reason != flow.NoCluster || len(a.Trace.Hops) == 0 {
		return lostSubset{}, false
	}
	hop := &a.Trace.Hops[len(a.Trace.Hops)-1]
	port, subset, h, ok := cluster(hop.Cluster)
	if !ok || subset == "" {
		return lostSubset{}, false
	}
	proxy := a.Class[0]
	if l := in.legOf(a.Trace); l != nil && l.pod != nil {
		proxy = l.pod
	}
	push := in.pushFor(proxy)
	service := visibleService(push, h, proxy.Namespace)
	if service == nil || service.PortByNumber(port) == nil {
		return lostSubset{}, false // something else is missing
	}
	k := lostSubset{host: h, subset: subset, namespace: proxy.Namespace, home: service.Namespace}
	if rule := push.DestinationRule(proxy.Namespace, proxy.Labels, service); rule != nil {
		k.effective = rule.From[0].Object
		if rule.SubsetByName(subset) != nil {
			return lostSubset{}, false
		}
	}
	for _, b := range hop.Because {
		if b.Object.Kind == "VirtualService" {
			k.route, k.field = b.Object, b.Field+".subset"
		}
	}
	return k, k.route != nil
}

// visibleService returns the service of a host that proxies in a namespace see,
// nil if none.
func visibleService(push *model.PushContext, h host.Name, namespace string) *model.Service {
	if s := push.ServiceIn(h, namespace); s != nil {
		return s
	}
	i := slices.IndexFunc(push.Services(), func(s *model.Service) bool { return s.Hostname == h && push.Visible(s, namespace) })
	if i < 0 {
		return nil
	}
	return push.Services()[i]
}

func (in *intent) subsetFinding(k lostSubset, c *collected) Finding {
	f := Finding{Object: k.route, Field: k.field, Severity: Error, Label: "no such subset for these clients"}
	reason := fmt.Sprintf("no DestinationRule for that host applies in namespace %q", k.namespace)
	todo := fmt.Sprintf("define it in a DestinationRule in namespace %q", k.home)
	if k.effective != nil {
		reason = fmt.Sprintf("%s, which applies in namespace %q, does not define it", k.effective, k.namespace)
		todo = "define it there"
		f.Related = append(f.Related, Related{k.effective, "spec.subsets", fmt.Sprintf("the rule that applies in namespace %q", k.namespace)})
	}
	if definers := in.definers(k); len(definers) > 0 {
		rule := definers[0]
		f.Related = append(f.Related, Related{rule.Object, "spec.subsets", fmt.Sprintf("%s defines the subset", rule)},
			Related{k.route, k.field, fmt.Sprintf("the route asks for subset %q", k.subset)})
		if k.effective != nil {
			reason = fmt.Sprintf("%s, which applies in namespace %q, does not define it and hides %s, which does", k.effective, k.namespace, rule)
			todo = "put all subsets into the rule that applies"
			f.Object, f.Field, f.Label = k.effective, "spec.subsets", "hides the rule that defines the subset"
		} else if field, text, do := in.overlooked(rule, k.namespace, k.home); field != "" {
			reason = fmt.Sprintf("%s, which defines it, %s", rule, text)
			todo = do
			f.Object, f.Field, f.Label = rule.Object, field, "does not apply to these clients"
		}
	}
	end := "the requests end in 503"
	if c.first.Flow.Scheme != flow.HTTP {
		end = "the connections are reset"
	}
	f.Message = fmt.Sprintf("subset %q of %s, to which %s sends %s, does not exist for %s (%s): %s; %s",
		k.subset, k.host, k.route, upTo3(c.hosts), upTo3(c.workloads()), reason, end, todo)
	f.Help = todo + ": a proxy looks for DestinationRules in its own namespace, then in that of the service, then in the root namespace, and uses the first it finds"
	return c.finding(f)
}

// definers returns the DestinationRules that define the subset for the host,
// other than the one that applies, in input order.
func (in *intent) definers(k lostSubset) []*model.DestinationRule {
	var out []*model.DestinationRule
	for _, r := range in.pass.Mesh.DestinationRules {
		if r.Object == k.effective || !k.host.SubsetOf(host.Name(strings.ToLower(string(model.ResolveHost(r.Spec.GetHost(), r.Namespace))))) {
			continue
		}
		for _, s := range r.Spec.GetSubsets() {
			if s.GetName() == k.subset {
				out = append(out, r)
				break
			}
		}
	}
	return out
}

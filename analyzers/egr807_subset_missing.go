package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
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
			"or none applies; or the labels of the subset are those of no pod of the Service, while the Service has pods.",
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
// why its subset does not exist.
type lostSubset struct {
	// object and field are the node to edit, route and at the destination's
	// subset in the route.
	object, route *manifest.Object
	field, at     string
	host          host.Name
	subset        string
	// gateway is where the route applies, nil at the clients' sidecars.
	gateway *model.Workload
	// text is a clause, todo what to do about it.
	text, todo string
	// effective is the rule that applies, definer one that defines the subset;
	// nil if there is none.
	effective, definer *manifest.Object
}

func runSubsetMissing(p *Pass) {
	in := intentOf(p)
	var found, empty byKey[lostSubset]
	for a := range in.failing(flow.NoCluster, flow.NoEndpoints) {
		if k, ok := in.lostSubset(a); ok {
			found.add(k, a)
		} else if k, ok := in.emptySubset(a); ok {
			empty.add(k, a)
		}
	}
	for _, k := range empty.keys {
		p.Report(emptyFinding(k, empty.of[k]))
	}
	for _, k := range found.keys {
		p.Report(subsetFinding(k, found.of[k]))
	}
}

// lostSubset says which subset a request is missing, if that is what stops it.
func (in *intent) lostSubset(a *attempt) (k lostSubset, ok bool) {
	if a.Trace.Reason != flow.NoCluster || len(a.Trace.Hops) == 0 {
		return k, false
	}
	hop := &a.Trace.Hops[len(a.Trace.Hops)-1]
	port, subset, h, ok := cluster(hop.Cluster)
	if !ok || subset == "" {
		return k, false
	}
	proxy := a.Class[0]
	if l := in.legOf(a.Trace); l != nil && l.pod != nil {
		proxy, k.gateway = l.pod, l.pod
	}
	push := in.pushFor(proxy)
	service := visibleService(push, h, proxy.Namespace)
	if service == nil || service.PortByNumber(port) == nil {
		return k, false // something else is missing
	}
	for _, b := range hop.Because {
		if b.Object.Kind == "VirtualService" {
			k.route, k.at = b.Object, b.Field+".subset"
		}
	}
	k.host, k.subset, k.object, k.field = h, subset, k.route, k.at
	rule := push.DestinationRule(proxy.Namespace, proxy.Labels, service)
	if k.route == nil || rule != nil && rule.SubsetByName(subset) != nil {
		return k, false
	}
	definer := in.definer(h, subset, rule)
	if definer != nil {
		k.definer = definer.Object
	}
	stray := in.strayDefiner(h, subset)
	switch {
	case stray != nil && (definer == nil || rule == nil && stray.Namespace == proxy.Namespace):
		k.object, k.field = stray.Object, "spec.host"
		k.text = fmt.Sprintf("%s, which defines it, is for host %q, which nothing registers", stray, stray.Spec.GetHost())
		k.todo = fmt.Sprintf("is %q meant?", h)
	case rule != nil && definer != nil:
		k.effective = rule.From[0].Object
		k.object, k.field = k.effective, "spec.subsets"
		k.text = fmt.Sprintf("%s, which applies there, does not define it and hides %s, which does", k.effective, definer)
		k.todo = "put all subsets into the rule that applies"
	case rule != nil:
		k.effective = rule.From[0].Object
		k.text, k.todo = fmt.Sprintf("%s, which applies there, does not define it", k.effective), "define it, or drop it from the route"
	default:
		k.text, k.todo = "no DestinationRule for that host applies there", fmt.Sprintf("define it in a DestinationRule in namespace %q", service.Namespace)
		if definer == nil {
			break
		}
		if field, text, todo := in.overlooked(definer, proxy.Namespace, service.Namespace); field != "" {
			k.object, k.field = definer.Object, field
			k.text, k.todo = fmt.Sprintf("%s, which defines it, %s", definer, text), todo
		} else if r := in.forOthers(h, proxy.Namespace); r != nil {
			k.object, k.field = r.Object, "spec.workloadSelector"
			k.text = fmt.Sprintf("%s, which is for other workloads of their namespace by its workloadSelector, hides %s, which defines it, from these too", r, definer)
			k.todo = fmt.Sprintf("add a rule without workloadSelector to namespace %q that defines it", proxy.Namespace)
		}
	}
	return k, true
}

// strayDefiner returns the only DestinationRule that defines a subset for a host which
// nothing registers and which is like the one that is meant: misspelt, or another Service
// of its namespace, or one of its name; nil if there is none.
func (in *intent) strayDefiner(h host.Name, subset string) *model.DestinationRule {
	var found *model.DestinationRule
	for _, r := range in.push.Mesh.DestinationRules {
		other := host.Name(strings.ToLower(string(model.ResolveHost(r.Spec.GetHost(), r.Namespace))))
		name, rest, _ := strings.Cut(string(h), ".")
		if len(in.push.Registered(other)) > 0 || !near(string(other), string(h)) && !strings.HasPrefix(string(other), name+".") && !strings.HasSuffix(string(other), "."+rest) ||
			!slices.ContainsFunc(r.Spec.GetSubsets(), func(s *networking.Subset) bool { return s.GetName() == subset }) {
			continue
		}
		if found != nil {
			return nil
		}
		found = r
	}
	return found
}

// forOthers returns a DestinationRule for a host that only some workloads of a
// namespace use, nil if there is none. Where a namespace has any rule for a host, no
// other is looked for (istio pilot/pkg/model/push_context.go destinationRule,
// sidecar.go SidecarScope.DestinationRule).
func (in *intent) forOthers(h host.Name, namespace string) *model.DestinationRule {
	for _, r := range in.push.Mesh.DestinationRules {
		if r.Namespace == namespace && r.Spec.GetWorkloadSelector() != nil && h.SubsetOf(host.Name(strings.ToLower(string(model.ResolveHost(r.Spec.GetHost(), r.Namespace))))) {
			return r
		}
	}
	return nil
}

// visibleService returns the service of a host that proxies in a namespace see,
// nil if none.
func visibleService(push *model.PushContext, h host.Name, namespace string) *model.Service {
	if s := push.ServiceIn(h, namespace); s != nil {
		return s
	}
	for _, s := range push.ServicesOf(h) {
		if push.Visible(s, namespace) {
			return s
		}
	}
	return nil
}

func subsetFinding(k lostSubset, c *collected) Finding {
	f := Finding{
		Object: k.object, Field: k.field, Severity: Error, Label: "no such subset for these clients",
		Help:    k.todo + ": a proxy looks for DestinationRules in its own namespace, then in that of the service, then in the root namespace, and uses the first it finds",
		Related: []Related{{k.route, k.at, fmt.Sprintf("the route asks for subset %q", k.subset)}},
	}
	if k.effective != nil {
		f.Related = append(f.Related, Related{k.effective, "spec.subsets", "the rule that applies"})
	}
	if k.definer != nil {
		f.Related = append(f.Related, Related{k.definer, "spec.subsets", fmt.Sprintf("%s defines the subset", k.definer)})
	}
	where := upTo3(c.workloads())
	if k.gateway != nil {
		where = "egress gateway " + k.gateway.ID()
	}
	end := "the requests end in 503"
	if c.first.Flow.Scheme != flow.HTTP {
		end = "the connections are reset"
	}
	f.Message = fmt.Sprintf("subset %q of %s, to which %s sends %s, does not exist for %s (%s): %s; %s",
		k.subset, k.host, k.route, upTo3(c.hosts), where, k.text, end, k.todo)
	return c.finding(f)
}

// definer returns a DestinationRule that defines a subset of a host and is not
// (part of) the one that applies, nil if there is none.
func (in *intent) definer(h host.Name, subset string, applies *model.MergedDestinationRule) *model.DestinationRule {
	for _, r := range in.push.Mesh.DestinationRules {
		if applies != nil && slices.Contains(applies.From, r) || !h.SubsetOf(host.Name(strings.ToLower(string(model.ResolveHost(r.Spec.GetHost(), r.Namespace))))) {
			continue
		}
		for _, s := range r.Spec.GetSubsets() {
			if s.GetName() == subset {
				return r
			}
		}
	}
	return nil
}

package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// reportEmptySubsets reports subsets of a gateway's Service that select none of its
// pods, which are there: requests that are sent to them end at the client.
func (in *intent) reportEmptySubsets() {
	var found byKey[lostSubset]
	for a := range in.failing(flow.NoEndpoints) {
		hop := &a.Trace.Hops[len(a.Trace.Hops)-1]
		number, subset, h, ok := cluster(hop.Cluster)
		service := visibleService(in.pushFor(a.Class[0]), h, a.Class[0].Namespace)
		if !ok || subset == "" || hop.At != flow.AtSidecar || service == nil {
			continue
		}
		port := service.PortByNumber(number)
		if port == nil || len(in.push.Endpoints(service, port)) == 0 {
			continue // the Service has none either
		}
		k := lostSubset{host: h, subset: subset}
		for _, b := range hop.Because {
			switch {
			case b.Object.Kind == "VirtualService":
				k.route, k.at = b.Object, b.Field+".subset"
			case b.Object.Kind == "DestinationRule" && strings.HasPrefix(b.Field, "spec.subsets["):
				k.object, k.field = b.Object, b.Field+".labels"
			}
		}
		if k.object != nil && k.route != nil {
			found.add(k, a)
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		end := "the requests end in 503"
		if c.first.Flow.Scheme != flow.HTTP {
			end = "the connections are reset"
		}
		in.pass.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Error, Label: "no pod of the Service has these labels",
			Help:    "leave out the labels, or give the pods of the gateway the labels",
			Related: []Related{{k.route, k.at, fmt.Sprintf("the route asks for subset %q", k.subset)}},
			Message: fmt.Sprintf("subset %q of %s, to which %s sends %s, selects none of its pods: %s for %s; leave out its labels",
				k.subset, k.host, k.route, upTo3(c.hosts), end, upTo3(c.workloads())),
		}))
	}
}

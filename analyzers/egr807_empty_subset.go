package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// emptySubset says which subset of a gateway's Service a request is sent to that
// selects none of its pods, which are there, if that is what stops it.
func (in *intent) emptySubset(a *attempt) (k lostSubset, ok bool) {
	if a.Trace.Reason != flow.NoEndpoints || len(a.Trace.Hops) == 0 {
		return k, false
	}
	hop := &a.Trace.Hops[len(a.Trace.Hops)-1]
	number, subset, h, ok := cluster(hop.Cluster)
	if !ok || subset == "" || hop.At != flow.AtSidecar {
		return k, false
	}
	service := visibleService(in.pushFor(a.Class[0]), h, a.Class[0].Namespace)
	if service == nil {
		return k, false
	}
	if port := service.PortByNumber(number); port == nil || len(in.push.Endpoints(service, port)) == 0 {
		return k, false // the Service has none either
	}
	k.host, k.subset = h, subset
	for _, b := range hop.Because {
		switch {
		case b.Object.Kind == "VirtualService":
			k.route, k.at = b.Object, b.Field+".subset"
		case b.Object.Kind == "DestinationRule" && strings.HasPrefix(b.Field, "spec.subsets["):
			k.object, k.field = b.Object, b.Field+".labels"
		}
	}
	return k, k.object != nil && k.route != nil
}

func emptyFinding(k lostSubset, c *collected) Finding {
	end := "the requests end in 503"
	if c.first.Flow.Scheme != flow.HTTP {
		end = "the connections are reset"
	}
	return c.finding(Finding{
		Object: k.object, Field: k.field, Severity: Error, Label: "no pod of the Service has these labels",
		Help:    "leave out the labels, or give the pods of the gateway the labels",
		Related: []Related{{k.route, k.at, fmt.Sprintf("the route asks for subset %q", k.subset)}},
		Message: fmt.Sprintf("subset %q of %s, to which %s sends %s, selects none of its pods: %s for %s; leave out its labels",
			k.subset, k.host, k.route, upTo3(c.hosts), end, upTo3(c.workloads())),
	})
}

package analyzers

import (
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/reach"
)

// divertingRoutes are VirtualServices that decide about sidecars of other
// namespaces (EGR312), by their hosts.
type divertingRoutes struct {
	model.HostTable[*model.MergedVirtualService]
	// anywhere are those with TCP routes, which also take what is sent to other
	// hosts on their port.
	anywhere []*model.MergedVirtualService
}

func (in *intent) diverting() *divertingRoutes {
	out := &divertingRoutes{}
	for _, vs := range in.push.VirtualServices() {
		if !in.diverts(vs) {
			continue
		}
		out.Add(vs, model.LowerHosts(vs.Hosts))
		if len(vs.TCP) > 0 {
			out.anywhere = append(out.anywhere, vs)
		}
	}
	return out
}

// concern reports whether such a route may concern a destination for any client.
func (x *divertingRoutes) concern(in *intent, d reach.Destination) bool {
	covering := x.Covering(host.Name(strings.ToLower(d.Host)))
	if len(covering) == 0 {
		return false
	}
	for _, vs := range append(covering, x.anywhere...) {
		if in.owned(host.Name(d.Host), vs.Namespace) {
			return true
		}
	}
	return false
}

// mayDivert tells the destinations and clients that such a route may concern:
// some namespace other than the route's and known to the client registers the
// host. To ask the simulation about the others would take longest.
func (x *divertingRoutes) mayDivert(in *intent) func(reach.Destination, *model.Workload) bool {
	type question struct {
		host             host.Name
		other, namespace string
	}
	owned := map[question]bool{}
	var last string
	var routes []*model.MergedVirtualService
	return func(d reach.Destination, w *model.Workload) bool {
		h := host.Name(d.Host)
		if routes == nil || d.Host != last {
			last, owned = d.Host, map[question]bool{}
			routes = append(x.Covering(host.Name(strings.ToLower(d.Host))), x.anywhere...)
		}
		for _, vs := range routes {
			if vs.Namespace == w.Namespace {
				continue
			}
			q := question{h, vs.Namespace, w.Namespace}
			is, known := owned[q]
			if !known {
				is = in.ownerOf(h, vs.Namespace, w.Namespace) != nil
				owned[q] = is
			}
			if is {
				return true
			}
		}
		return false
	}
}

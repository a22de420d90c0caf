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

// reportLostAtWaypoint reports routes at waypoints that lead to a host, or a port of a
// host, that nothing registers there.
func (in *intent) reportLostAtWaypoint() {
	type key struct {
		route flow.Because
		host  host.Name
		port  int
	}
	var found byKey[key]
	for _, a := range in.waypointAttempts() {
		last := endsAtWaypoint(a.Trace, flow.NoCluster)
		if last == nil {
			continue
		}
		port, _, h, ok := cluster(last.Cluster) // "inbound-vip|80|http|host"
		if !ok || inCluster(in.push, h) {
			continue
		}
		for _, b := range last.Because {
			if strings.HasSuffix(b.Object.Kind, "Route") || b.Object.Kind == "VirtualService" {
				found.add(key{b, h, port}, a)
				break
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		what, todo := fmt.Sprintf("to %s, which nothing registers for the waypoint", k.host), "add a ServiceEntry for it that the waypoint's namespace sees"
		if s := visibleService(in.push, k.host, namespaceOf(c.first.Trace.Hops[len(c.first.Trace.Hops)-1].Proxy)); s != nil {
			what, todo = fmt.Sprintf("to port %d of %s, which %s does not have", k.port, k.host, s.Object), "send it to a port that is registered, or register this one"
		}
		in.pass.Report(c.finding(Finding{
			Object: k.route.Object, Field: k.route.Field, Severity: Error, Label: "the way through the waypoint ends here", Help: todo,
			Message: fmt.Sprintf("%s sends requests for %s at the waypoint %s: requests of %s fail; %s", k.route.Object, upTo3(c.hosts), what, upTo3(c.workloads()), todo),
		}))
	}
}

// endsAtWaypoint returns the hop at a waypoint at which a request is stopped for a reason,
// nil if it is not.
func endsAtWaypoint(t *flow.Trace, reason flow.Reason) *flow.Hop {
	if t.Outcome != flow.Blocked || t.Reason != reason || len(t.Hops) == 0 {
		return nil
	}
	if last := &t.Hops[len(t.Hops)-1]; last.At == flow.AtWaypoint {
		return last
	}
	return nil
}

// reportPortInHost reports ports at which waypoints refuse what clients send, because they
// take hosts with a wildcard and resolution DYNAMIC_DNS only without a port.
func (in *intent) reportPortInHost() {
	type key struct {
		entry *manifest.Object
		field string
		port  int
		host  host.Name
		at    string
	}
	var found byKey[key]
	for _, a := range in.waypointAttempts() {
		last := endsAtWaypoint(a.Trace, flow.NoRoute)
		if last == nil || last.VirtualHost != "" {
			continue
		}
		i := slices.IndexFunc(a.Trace.Hops, func(h flow.Hop) bool { return h.Proxy == last.Proxy && h.FilterChain != "" })
		if i < 0 {
			continue
		}
		number, _, h, _ := cluster(a.Trace.Hops[i].FilterChain) // as in clusters
		for _, s := range in.push.ServicesOf(h) {
			if port := s.PortByNumber(number); port != nil && s.Entry != nil && s.Resolution == model.DynamicDNS {
				found.add(key{s.Object, port.Field + ".number", number, h, last.Proxy}, a)
				break
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		todo := "use port 80, or list the hosts by name with resolution DNS"
		in.pass.Report(c.finding(Finding{
			Object: k.entry, Field: k.field, Severity: Error, Label: "clients write this port behind the host", Help: todo,
			Message: fmt.Sprintf("with resolution DYNAMIC_DNS waypoint %s takes Host headers without a port only, and clients write one for every port but 80: requests of %s for %s on port %d get 404; %s",
				k.at, upTo3(c.workloads()), k.host, k.port, todo),
		}))
	}
}

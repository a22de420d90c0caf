package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// chance is one choice of what istiod leaves to chance.
type chance struct {
	// tie is the order of services that compare equal (see
	// [model.NewPushContext]).
	tie int
	// pick is which of equally old services of other namespaces a route leads to
	// that no Sidecar chooses (see [model.PushContext.Picks]).
	pick int
	// sidecarsFirst: istiod serves the sidecars of a namespace before its
	// gateways, which then share the sidecars' view of the mesh (istio
	// pilot/pkg/model/push_context.go doGetSidecarScope).
	sidecarsFirst bool
	// turn is who wins a contest (see [contest]).
	turn int
}

// alternatives are the simulations of the other choices.
type alternatives struct {
	others []*Simulation
	// mixed: several ServiceEntries tie, not only the addresses of one; any
	// flow may depend on that.
	mixed bool
	// shared are the namespaces whose gateways see something else if sidecars
	// are served first.
	shared map[string]bool
	// larger are the simulations for members of groups that are larger than the
	// choices, made on demand.
	larger map[int]*Simulation
	// turns are the simulations in which another wins a contest, made on demand.
	turns   map[chance]*Simulation
	turning sync.Mutex
}

// mostLarger bounds the simulations that are kept for large groups.
const mostLarger = 16

// findAlternatives sets up what else istiod may choose.
func (s *Simulation) findAlternatives() *alternatives {
	push := s.push(s.mesh.Config)
	a := &alternatives{shared: s.sharedScopes(push), larger: map[int]*Simulation{}, turns: map[chance]*Simulation{}}
	add := func(c chance) {
		o := newSimulation(s.mesh, c)
		o.alternatives = a
		a.others = append(a.others, o)
	}
	ties := push.Ties()
	for tie := 1; tie < ties; tie++ {
		add(chance{tie: tie})
	}
	if len(a.shared) > 0 {
		for tie := range min(ties, 2) {
			add(chance{tie: tie, sidecarsFirst: true})
		}
	}
	for pick := 1; pick < push.Picks(); pick++ {
		add(chance{pick: pick})
	}
	for _, group := range push.TiedServices() {
		if slices.ContainsFunc(group, func(x *model.Service) bool { return x.Entry != group[0].Entry }) {
			a.mixed = true
		}
	}
	// A route may turn any request into one for an address.
	for _, vs := range s.mesh.VirtualServices {
		for _, r := range vs.Spec.GetHttp() {
			if isAddress(stripPort(r.GetRewrite().GetAuthority())) {
				a.mixed = true
			}
		}
	}
	return a
}

// sharedScopes returns the namespaces in which a gateway sees something else if
// a sidecar without Sidecar has been served before it.
func (s *Simulation) sharedScopes(push *model.PushContext) map[string]bool {
	gateways, sidecars := map[string]bool{}, map[string]bool{}
	for _, w := range s.mesh.Workloads {
		switch s.capture(w).Mode {
		case capture.Router, capture.Waypoint:
			gateways[w.Namespace] = true
		case capture.Sidecar:
			if push.SidecarFor(w.Namespace, w.Labels) == nil {
				sidecars[w.Namespace] = true
			}
		}
	}
	out := map[string]bool{}
	for ns := range gateways {
		if sidecars[ns] && !push.NewGatewayScope(ns).SameServices(push.NewSidecarScope(ns, nil)) {
			out[ns] = true
		}
	}
	return out
}

// gatewayScope is what the gateways of a namespace see.
func (s *Simulation) gatewayScope(push *model.PushContext, namespace string) *model.SidecarScope {
	if s.chance.sidecarsFirst && s.shares(namespace) {
		return push.NewSidecarScope(namespace, nil)
	}
	return push.NewGatewayScope(namespace)
}

// sharing notes that a gateway is passed whose view of the mesh is chance.
func (w *walker) sharing(gateway *model.Workload) {
	if w.sim.shares(gateway.Namespace) {
		w.shared = gateway
	}
}

// shares reports whether what the gateways of a namespace see is chance.
func (s *Simulation) shares(namespace string) bool {
	return s.alternatives != nil && s.shared[namespace]
}

// choices returns the simulations whose answer to a flow may differ from that of
// this one, which w has walked through.
func (s *Simulation) choices(w *walker) []*Simulation {
	if s.alternatives == nil {
		return nil
	}
	push := s.Push()
	place, tied := push.Tied(w.dialled)
	if !tied {
		if addr, err := netip.ParseAddr(strings.Trim(stripPort(w.asked), "[]")); err == nil {
			place, tied = push.Tied(addr)
		}
	}
	var out []*Simulation
	for _, o := range s.others {
		if (o.chance.tie == 0 || tied || s.mixed) && (!o.chance.sidecarsFirst || w.shared != nil) &&
			(o.chance.pick == 0 || w.picked != nil) {
			out = append(out, o)
		}
	}
	if tied && slices.ContainsFunc(push.TiedServices(), func(group []*model.Service) bool { return len(group) > place && len(group) > push.Ties() }) {
		out = append(out, s.large(place), s.large(place+1))
	}
	return out
}

// large returns the simulation in which the i-th of each group comes first.
func (s *Simulation) large(i int) *Simulation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.larger[i]; o != nil {
		return o
	}
	o := newSimulation(s.mesh, chance{tie: model.TieWithFirst(i)})
	o.alternatives = s.alternatives
	if len(s.larger) < mostLarger {
		s.larger[i] = o
	}
	return o
}

// otherwise walks the flow of w through what else istiod may choose, until the
// verdict differs from t; nil if it never does. between is the contest that the last
// choice was about, if it was about one. Without other, verdict is t, or what stands
// for all choices where some lead to what the input lacks.
func (s *Simulation) otherwise(f flow.Flow, w *walker, t *flow.Trace) (other *Simulation, between *contest, verdict *flow.Trace) {
	verdict = t
	differs := func(o *flow.Trace) bool {
		switch {
		case sameVerdict(t, o):
			return false
		case lacks(o, t):
			verdict = o
			return false
		default:
			return !lacks(t, o)
		}
	}
	for _, c := range append([]*Simulation{s}, s.choices(w)...) {
		walked := w
		if c != s {
			var o *flow.Trace
			if o, walked = c.trace(f); differs(o) {
				return c, nil, o
			}
		}
		if c != s && c.chance.tie == 0 {
			continue // those are about gateways and destinations, not about who is first
		}
		for turn := 1; turn < min(walked.contested.rivals(), mostTurns); turn++ {
			turned := c.turned(turn)
			if o, _ := turned.trace(f); differs(o) {
				return turned, walked.contested, o
			}
		}
	}
	return nil, nil, verdict
}

// lacks reports whether a only says that the input lacks what b does not find
// either: neither choice of istiod has an endpoint, so that the choice is not what
// the answer is missing.
func lacks(a, b *flow.Trace) bool {
	return a.Reason == flow.MissingObject && b.Outcome == flow.Blocked && b.Reason == flow.NoEndpoints && a.Via == b.Via && len(a.Branches)+len(b.Branches) == 0
}

// undetermined answers for a flow whose verdict a, to which w came, depends on
// what istiod happens to choose: with other it is b.
func undetermined(s, other *Simulation, w *walker, between *contest, a, b *flow.Trace) *flow.Trace {
	t := &flow.Trace{ID: a.ID, Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.Undetermined, Hops: a.Hops, Assumptions: a.Assumptions}
	hop := flow.Hop{At: flow.AtSidecar}
	if i := slices.IndexFunc(a.Hops, func(h flow.Hop) bool { return h.Proxy != "" }); i >= 0 {
		hop.Proxy = a.Hops[i].Proxy
	}
	fates := fmt.Sprintf("one way the flow is %s (%s), the other way %s (%s)", a.Outcome, a.Reason, b.Outcome, b.Reason)
	if between != nil {
		hop.Decision, hop.Because = between.what+": "+fates, between.because
		t.Detail = hop.Decision + "; " + between.settle
		t.Hops = append(slices.Clone(t.Hops), hop)
		return t
	}
	if other.chance.sidecarsFirst && other.chance.tie == 0 {
		hop.At, hop.Proxy, hop.Because = flow.AtGateway, w.shared.ID(), []flow.Because{{Object: w.shared.Object}}
		hop.Decision = fmt.Sprintf("gateway %s shares its namespace with sidecars that no Sidecar limits, and istiod gives it their view of the mesh if it serves one of them first: %s", w.shared.ID(), fates)
		t.Detail = hop.Decision + "; a namespace of its own for the gateway would settle it"
		t.Hops = append(slices.Clone(t.Hops), hop)
		return t
	}
	var names []string
	if other.chance.pick > 0 {
		for _, service := range w.picked {
			names = append(names, service.Object.String())
			hop.Because = append(hop.Because, flow.Because{Object: service.Object, Field: service.HostField})
		}
		hop.Decision = fmt.Sprintf("a route leads to %s, which %s register at the same age; no Sidecar and no entry of the client's own namespace says which counts, and istiod may take any of them: %s", w.picked[0].Hostname, strings.Join(names, " and "), fates)
		t.Detail = hop.Decision + "; egress.hosts that name one, or creation timestamps that differ, would settle it"
		t.Hops = append(slices.Clone(t.Hops), hop)
		return t
	}
	several := false
	for _, group := range citedTies(s.Push().TiedServices(), a, b) {
		for _, service := range group {
			several = several || service.Entry != group[0].Entry
			if name := service.Entry.ID(); !contains(names, name) {
				names = append(names, name)
				hop.Because = append(hop.Because, flow.Because{Object: service.Object, Field: service.HostField})
			}
		}
	}
	if several {
		hop.Decision = fmt.Sprintf("several ServiceEntries of one namespace and the same age define one host differently (%s), and istiod may take any of them: %s", strings.Join(names, ", "), fates)
		t.Detail = hop.Decision + "; creation timestamps that differ, or one entry, would settle it"
	} else {
		hop.Decision = fmt.Sprintf("istiod makes a service of each address of an entry (%s), and any of them may stand for the host: %s", strings.Join(names, ", "), fates)
		t.Detail = hop.Decision + "; an entry with one address would settle it"
	}
	t.Hops = append(slices.Clone(t.Hops), hop)
	return t
}

// citedTies leaves out what neither trace mentions: that has nothing to do with
// it, unless all is hidden by what follows from it.
func citedTies(groups [][]*model.Service, a, b *flow.Trace) [][]*model.Service {
	cited := slices.DeleteFunc(slices.Clone(groups), func(group []*model.Service) bool {
		return !slices.ContainsFunc(group, func(s *model.Service) bool { return cites(a, s.Object) || cites(b, s.Object) })
	})
	if len(cited) > 0 {
		return cited
	}
	return groups
}

// cites reports whether a hop of a trace points to an object.
func cites(t *flow.Trace, o *manifest.Object) bool {
	for _, hop := range t.Hops {
		if slices.ContainsFunc(hop.Because, func(b flow.Because) bool { return b.Object == o }) {
			return true
		}
	}
	return slices.ContainsFunc(t.Branches, func(b flow.Branch) bool { return cites(&b.Trace, o) })
}

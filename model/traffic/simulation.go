// Package traffic decides one flow: capture, the sidecar's listeners, routes
// and clusters, gateways on the way, and the policies that they enforce, all
// compiled from the mesh as istiod compiles them into Envoy's configuration.
package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/netpol"
)

// Simulation answers flows of one mesh. It compiles what it needs on demand and
// keeps it; it is safe for concurrent use.
type Simulation struct {
	mesh    *model.Mesh
	network *netpol.Policies

	mu        sync.Mutex
	pushes    map[string]*model.PushContext
	scopes    map[string]*model.SidecarScope
	sidecars  map[string]*proxy
	gateways  map[*model.Workload]*proxy
	waypoints map[*model.Workload]*proxy
	captures  map[*model.Workload]*capture.Capture
	// tie is the choice made where istiod leaves the order of ServiceEntries to
	// chance; others are the simulations of the other choices.
	tie    int
	others []*Simulation
}

// New returns a simulation of mesh.
func New(mesh *model.Mesh) *Simulation {
	s := newSimulation(mesh, 0)
	ties := s.push(mesh.Config).Ties()
	for tie := 1; tie < ties; tie++ {
		s.others = append(s.others, newSimulation(mesh, tie))
	}
	return s
}

func newSimulation(mesh *model.Mesh, tie int) *Simulation {
	return &Simulation{
		mesh: mesh, network: netpol.New(mesh), tie: tie,
		pushes: map[string]*model.PushContext{}, scopes: map[string]*model.SidecarScope{},
		sidecars: map[string]*proxy{}, gateways: map[*model.Workload]*proxy{}, waypoints: map[*model.Workload]*proxy{}, captures: map[*model.Workload]*capture.Capture{},
	}
}

// Mesh returns the mesh that is simulated.
func (s *Simulation) Mesh() *model.Mesh { return s.mesh }

// Push returns what istiod of the default revision has computed.
func (s *Simulation) Push() *model.PushContext {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.push(s.mesh.Config)
}

// Capture returns what is known about a workload's proxy.
func (s *Simulation) Capture(w *model.Workload) *capture.Capture {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.capture(w)
}

// Trace decides a flow. It never fails: a question that makes no sense has
// outcome unknown and reason no_such_workload or bad_flow.
func (s *Simulation) Trace(f flow.Flow) *flow.Trace {
	t := s.Verdict(f)
	if t.Guarantee = s.guarantee(f, t); t.Guarantee == Enforced {
		t.Assumptions = append(t.Assumptions, "it stays so whatever the process does if "+EnforcedIf)
	}
	return t
}

// Verdict is Trace without the guarantee, which takes several times as long.
func (s *Simulation) Verdict(f flow.Flow) *flow.Trace {
	t := s.trace(f)
	for _, other := range s.others {
		if o := other.trace(f); !sameVerdict(t, o) {
			return undetermined(s, t, o)
		}
	}
	return t
}

// trace decides a flow under one choice of what istiod leaves to chance.
func (s *Simulation) trace(f flow.Flow) *flow.Trace {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &walker{sim: s, flow: f}
	t := w.start()
	t.ID = f.ID
	return t
}

func sameVerdict(a, b *flow.Trace) bool {
	if a.Outcome != b.Outcome || a.Via != b.Via || a.Reason != b.Reason || a.Policy != b.Policy ||
		a.UpstreamTLS != b.UpstreamTLS || a.HTTPStatus != b.HTTPStatus || len(a.Branches) != len(b.Branches) {
		return false
	}
	for i := range a.Branches {
		if a.Branches[i].Weight != b.Branches[i].Weight || !sameVerdict(&a.Branches[i].Trace, &b.Branches[i].Trace) {
			return false
		}
	}
	return true
}

// undetermined answers for a flow whose verdict depends on which of several
// ServiceEntries istiod happens to take.
func undetermined(s *Simulation, a, b *flow.Trace) *flow.Trace {
	t := &flow.Trace{ID: a.ID, Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.Undetermined, Hops: a.Hops, Assumptions: a.Assumptions}
	var names []string
	hop := flow.Hop{At: flow.AtSidecar}
	if len(a.Hops) > 0 {
		hop.Proxy = a.Hops[0].Proxy
	}
	groups := s.Push().TiedEntries()
	// Those that neither trace mentions have nothing to do with it, unless they
	// are all hidden by what follows from them.
	cited := slices.DeleteFunc(slices.Clone(groups), func(group []*model.ServiceEntry) bool {
		return !slices.ContainsFunc(group, func(e *model.ServiceEntry) bool { return cites(a, e.Object) || cites(b, e.Object) })
	})
	if len(cited) > 0 {
		groups = cited
	}
	for _, group := range groups {
		for _, e := range group {
			if !slices.Contains(names, e.ID()) {
				names = append(names, e.ID())
				hop.Because = append(hop.Because, flow.Because{Object: e.Object, Field: "spec.hosts"})
			}
		}
	}
	hop.Decision = fmt.Sprintf("several ServiceEntries of one namespace and the same age define one host differently (%s), and istiod may take any of them: with one the flow is %s (%s), with another %s (%s)",
		strings.Join(names, ", "), a.Outcome, a.Reason, b.Outcome, b.Reason)
	t.Detail = hop.Decision + "; creation timestamps that differ, or one entry, would settle it"
	t.Hops = append(slices.Clone(t.Hops), hop)
	return t
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

// push returns the push context of a mesh configuration.
func (s *Simulation) push(config *model.MeshConfig) *model.PushContext {
	p := s.pushes[config.Revision]
	if p == nil {
		p = model.NewPushContext(s.mesh, config, s.tie)
		s.pushes[config.Revision] = p
	}
	return p
}

func (s *Simulation) capture(w *model.Workload) *capture.Capture {
	c := s.captures[w]
	if c == nil {
		c = capture.Of(s.mesh, s.mesh.ConfigFor(w), w)
		s.captures[w] = c
	}
	return c
}

// sidecar returns the configuration of a workload's sidecar. Workloads of one
// namespace with the same labels share it.
func (s *Simulation) sidecar(w *model.Workload) *proxy {
	config := s.mesh.ConfigFor(w)
	dns := s.capture(w).DNSCapture
	key := fmt.Sprint(config.Revision, "|", w.Namespace, "|", dns, "|", labelKey(w.Labels))
	p := s.sidecars[key]
	if p == nil {
		push := s.push(config)
		p = newSidecar(s, push, s.scope(push, w), w, dns)
		s.sidecars[key] = p
	}
	return p
}

func (s *Simulation) scope(push *model.PushContext, w *model.Workload) *model.SidecarScope {
	sidecar := push.SidecarFor(w.Namespace, w.Labels)
	key := push.Config.Revision + "|" + w.Namespace + "|"
	if sidecar != nil {
		key += sidecar.ID()
	}
	scope := s.scopes[key]
	if scope == nil {
		scope = push.NewSidecarScope(w.Namespace, sidecar)
		s.scopes[key] = scope
	}
	return scope
}

// gateway returns the configuration of a gateway.
func (s *Simulation) gateway(w *model.Workload) *proxy {
	p := s.gateways[w]
	if p == nil {
		p = newGateway(s, s.push(s.mesh.ConfigFor(w)), w)
		s.gateways[w] = p
	}
	return p
}

// waypoint returns the configuration of a waypoint, nil if the workload is none.
func (s *Simulation) waypoint(w *model.Workload) *proxy {
	p := s.waypoints[w]
	if p == nil {
		push := s.push(s.mesh.ConfigFor(w))
		g := push.WaypointRunBy(w)
		if g == nil {
			return nil
		}
		p = newWaypoint(s, push, g, w)
		s.waypoints[w] = p
	}
	return p
}

func labelKey(labels map[string]string) string {
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%q=%q,", k, labels[k])
	}
	return b.String()
}

// find returns the workload that a flow comes from: "namespace/name", or
// "namespace/kind/name". It returns nil and what to say where there is none or
// more than one.
func (s *Simulation) find(from string) (*model.Workload, string) {
	parts := strings.Split(from, "/")
	var found []*model.Workload
	for _, w := range s.mesh.Workloads {
		switch len(parts) {
		case 2:
			if w.Namespace == parts[0] && w.Name == parts[1] {
				found = append(found, w)
			}
		case 3:
			if w.Namespace == parts[0] && strings.EqualFold(w.Kind, parts[1]) && w.Name == parts[2] {
				found = append(found, w)
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], ""
	case len(found) > 1:
		var names []string
		for _, w := range found {
			names = append(names, w.Namespace+"/"+strings.ToLower(w.Kind)+"/"+w.Name)
		}
		return nil, fmt.Sprintf("%q is ambiguous: name one of %s", from, strings.Join(names, ", "))
	case len(parts) < 2 || len(parts) > 3:
		return nil, fmt.Sprintf("%q is not of the form namespace/workload", from)
	default:
		return nil, fmt.Sprintf("no workload %q in the input%s", from, s.similar(parts[len(parts)-1]))
	}
}

// similar suggests workloads of the same name in other namespaces.
func (s *Simulation) similar(name string) string {
	var names []string
	for _, w := range s.mesh.Workloads {
		if w.Name == name {
			names = append(names, w.ID())
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.SortFunc(names, cmp.Compare[string])
	return "; there is " + strings.Join(names, ", ")
}

// Package traffic decides one flow: capture, the sidecar's listeners, routes
// and clusters, gateways on the way, and the policies that they enforce, all
// compiled from the mesh as istiod compiles them into Envoy's configuration.
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
	parts     map[partKey]*proxy
	bearings  map[bearingKey]*model.Bearing
	gateways  map[gatewayKey]*proxy
	waypoints map[*model.Workload]*proxy
	captures  map[*model.Workload]*capture.Capture
	seals     map[sealedKey]bool
	// ruled has the objects that are about hosts, see Ruled.
	ruled *model.HostTable[*manifest.Object]
	// named are the workloads by "namespace/name".
	named map[string][]*model.Workload
	// keys are those of sidecars, by workload.
	keys map[*model.Workload]string
	ways *ways
	common
	// external are the addresses that Services take for themselves (externalIP).
	external map[netip.Addr]flow.Because
	// chance is the choice made where istiod leaves something to chance.
	chance chance
	*alternatives
	// suppositions are the simulations under what manifests do not tell of the
	// labels of pods.
	suppositions []supposition
	// unswitched are the simulations in which istiod has a switch as by default, made
	// on demand.
	unswitched map[string]*Simulation
	// leftOut says what of the input was not analysed, "" for nothing; hides says that
	// some of it may decide about requests.
	leftOut string
	hides   bool
}

// New returns a simulation of mesh.
// It completes the mesh ([capture.Complete]).
func New(mesh *model.Mesh) *Simulation {
	capture.Complete(mesh)
	s := newSimulation(mesh, chance{})
	s.alternatives = s.findAlternatives()
	s.suppositions = s.findSuppositions()
	s.leftOut, s.hides = mesh.LeftOut(), mesh.Hides()
	return s
}

func newSimulation(mesh *model.Mesh, c chance) *Simulation {
	named := make(map[string][]*model.Workload, len(mesh.Workloads))
	for _, w := range mesh.Workloads {
		named[w.ID()] = append(named[w.ID()], w)
	}
	return &Simulation{
		mesh: mesh, network: netpol.New(mesh), chance: c, named: named, keys: map[*model.Workload]string{}, ways: newWays(),
		pushes: map[string]*model.PushContext{}, scopes: map[string]*model.SidecarScope{},
		sidecars: map[string]*proxy{}, parts: map[partKey]*proxy{}, bearings: map[bearingKey]*model.Bearing{}, gateways: map[gatewayKey]*proxy{}, waypoints: map[*model.Workload]*proxy{}, captures: map[*model.Workload]*capture.Capture{}, seals: map[sealedKey]bool{},
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
	t, w := s.trace(f)
	other, between, o := s.otherwise(f, w, t)
	if other != nil {
		return undetermined(s, other, w, between, t, o)
	}
	t = o
	for _, other := range s.suppositions {
		if !other.concerns(t) {
			continue
		}
		o, _ := other.simulation().trace(f)
		if other.doubt != nil && other.doubt.Policies && t.Outcome == flow.Blocked && o.Outcome == flow.Blocked {
			continue
		}
		if !sameVerdict(t, o) {
			return unsettled(other, t, o)
		}
	}
	return t
}

// trace decides a flow under one choice of what istiod leaves to chance.
func (s *Simulation) trace(f flow.Flow) (*flow.Trace, *walker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &walker{sim: s, flow: f}
	t := inOrder(w.start())
	t.ID = f.ID
	return t, w
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

// push returns the push context of a mesh configuration.
func (s *Simulation) push(config *model.MeshConfig) *model.PushContext {
	p := s.pushes[config.Revision]
	if p == nil {
		p = model.NewPushContext(s.mesh, config, s.chance.tie)
		p.SetPick(s.chance.pick)
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
// namespace with the same labels share it. v6 says of which family the pods'
// addresses are.
func (s *Simulation) sidecar(w *model.Workload, v6 bool) *proxy {
	key := s.sidecarKey(w, v6)
	p := s.sidecars[key]
	if p == nil {
		push := s.push(s.mesh.ConfigFor(w))
		p = newSidecar(s, push, s.scope(push, w), w, s.capture(w).AutoAddresses, v6)
		s.sidecars[key] = p
	}
	return p
}

// sidecarFor returns the configuration of a workload's sidecar as far as it bears on
// a connection.
func (s *Simulation) sidecarFor(w *model.Workload, v6 bool, conn *connection) *proxy {
	push, dns := s.push(s.mesh.ConfigFor(w)), s.capture(w).AutoAddresses
	if push.SidecarFor(w.Namespace, w.Labels) != nil {
		return s.sidecar(w, v6)
	}
	var names []string
	if sni := conn.sni(); sni != "" {
		names = append(names, sni)
	}
	if conn.request != nil {
		names = append(names, conn.request.host())
	}
	b := s.bearing(push, names, conn.dst, dns)
	if !push.Plain(w.Namespace, b) {
		return s.sidecar(w, v6)
	}
	key := partKey{s.sidecarKey(w, v6), b}
	p := s.parts[key]
	if p == nil {
		p = newSidecar(s, push, push.ScopeBearing(w.Namespace, b), w, dns, v6)
		if len(s.parts) >= mostParts {
			clear(s.parts)
		}
		s.parts[key] = p
	}
	return p
}

// mostParts bounds the parts of sidecars that are kept, mostBearings what was found
// to bear on connections.
const (
	mostParts    = 64
	mostBearings = 1024
)

// partKey is a part of a sidecar's configuration.
type partKey struct {
	sidecar string
	bearing *model.Bearing
}

// bearingKey is what connections have in common on which the same bears.
type bearingKey struct {
	revision, names string
	dst             netip.AddrPort
	dns             bool
}

// bearing returns what bears on connections to an address that ask for some names.
func (s *Simulation) bearing(push *model.PushContext, names []string, dst netip.AddrPort, dns bool) *model.Bearing {
	key := bearingKey{push.Config.Revision, strings.Join(names, " "), dst, dns}
	b := s.bearings[key]
	if b == nil {
		b = push.Bearing(names, dst.Addr().Unmap(), int(dst.Port()), dns)
		if len(s.bearings) >= mostBearings {
			clear(s.bearings)
			clear(s.parts)
		}
		s.bearings[key] = b
	}
	return b
}

// sidecarKey is the same for workloads whose sidecars have the same configuration.
func (s *Simulation) sidecarKey(w *model.Workload, v6 bool) string {
	key, known := s.keys[w]
	if !known {
		c := s.capture(w)
		key = fmt.Sprint(s.mesh.ConfigFor(w).Revision, "|", w.Namespace, "|", c.AutoAddresses, "|", c.OwnCertificates, "|", labelKey(w.Labels))
		s.keys[w] = key
	}
	if v6 {
		key += "|v6"
	}
	return key
}

func (s *Simulation) scope(push *model.PushContext, w *model.Workload) *model.SidecarScope {
	return s.scopeUnder(push, w.Namespace, push.SidecarFor(w.Namespace, w.Labels))
}

func (s *Simulation) scopeUnder(push *model.PushContext, namespace string, sidecar *model.Sidecar) *model.SidecarScope {
	key := push.Config.Revision + "|" + namespace + "|"
	if sidecar != nil {
		key += sidecar.ID()
	}
	scope := s.scopes[key]
	if scope == nil {
		scope = push.NewSidecarScope(namespace, sidecar)
		s.scopes[key] = scope
	}
	return scope
}

// Scope returns what the sidecars of a namespace see that istiod of the default revision
// serves, under a Sidecar, which may be nil.
func (s *Simulation) Scope(namespace string, sidecar *model.Sidecar) *model.SidecarScope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scopeUnder(s.push(s.mesh.Config), namespace, sidecar)
}

// gatewayKey is a gateway whose pods have addresses of a family.
type gatewayKey struct {
	workload *model.Workload
	v6       bool
}

// gateway returns the configuration of a gateway.
func (s *Simulation) gateway(w *model.Workload, v6 bool) *proxy {
	p := s.gateways[gatewayKey{w, v6}]
	if p == nil {
		p = newGateway(s, s.push(s.mesh.ConfigFor(w)), w, v6)
		s.gateways[gatewayKey{w, v6}] = p
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
	switch len(parts) {
	case 2:
		found = s.named[from]
	case 3:
		for _, w := range s.named[parts[0]+"/"+parts[2]] {
			if strings.EqualFold(w.Kind, parts[1]) {
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
	slices.Sort(names)
	return "; there is " + strings.Join(names, ", ")
}

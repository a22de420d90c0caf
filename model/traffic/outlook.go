package traffic

import (
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// Place is a host and a port that a client may ask for, at no address that manifests
// give, with the other names by which requests may ask for it.
type Place struct {
	Host  string
	Port  int
	Names []string
}

// Outlook is what bears on some places, and what sidecars see of it whose view no
// Sidecar limits.
type Outlook struct {
	push *model.PushContext
	dns  bool
	// Known are the places, by their position, of which everybody sees something,
	// Each those that have to be asked for each namespace.
	Known, Each []int
	// Of has by namespace the places that it may see otherwise than others.
	Of map[string][]int

	bearings []*model.Bearing // by place
	// ofService and ofRoute are the places whose names these cover.
	ofService map[*model.Service][]int
	ofRoute   map[*model.MergedVirtualService][]int
}

// Sees says how much a client's sidecar sees, if nothing else tells the client from
// others. wide: no Sidecar limits it, so that it differs from others in few places: see
// [Simulation.Outlook]. limited: a Sidecar does that and nothing else, so that what the
// sidecar does with a connection is told by what it sees of what bears on that: see
// [Sight.View].
func (s *Simulation) Sees(w *model.Workload) (wide, limited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.alike(w) {
		return false, false
	}
	push := s.push(s.mesh.ConfigFor(w))
	if push.SidecarFor(w.Namespace, w.Labels) == nil {
		return true, false
	}
	return false, s.scope(push, w).Simple()
}

// alike reports whether nothing but what its sidecar sees tells a client from others of
// whatever namespace.
func (s *Simulation) alike(w *model.Workload) bool {
	if len(s.mesh.Unmodelled)+len(s.mesh.PluginPolicies)+len(s.mesh.ClusterNetworkPolicies)+len(s.mesh.EnvoyFilters)+len(s.suppositions) > 0 {
		return false // all of which may be about any client and name
	}
	if _, plain := s.openTo(w); !plain {
		return false
	}
	return s.capture(w).Mode == capture.Sidecar && Aliases(w) == "" && w.Namespace != s.push(s.mesh.ConfigFor(w)).RootNamespace()
}

// Outlook returns what bears on some places, for sidecars with the control plane and
// the DNS capture of w.
func (s *Simulation) Outlook(w *model.Workload, places []Place) *Outlook {
	s.mu.Lock()
	defer s.mu.Unlock()
	push := s.push(s.mesh.ConfigFor(w))
	o := &Outlook{
		push: push, dns: s.capture(w).AutoAddresses, Of: map[string][]int{}, bearings: make([]*model.Bearing, len(places)),
		ofService: map[*model.Service][]int{}, ofRoute: map[*model.MergedVirtualService][]int{},
	}
	for i, place := range places {
		address := push.PublicAddress(place.Host)
		names := []string{strings.ToLower(place.Host)}
		for _, name := range place.Names {
			if name = strings.ToLower(stripPort(name)); !contains(names, name) {
				names = append(names, name)
			}
		}
		b := push.Bearing(names, address, place.Port, o.dns)
		o.bearings[i] = b
		services, routes := b.Named()
		for _, svc := range services {
			o.ofService[svc] = append(o.ofService[svc], i)
		}
		for _, vs := range routes {
			o.ofRoute[vs] = append(o.ofRoute[vs], i)
		}
		c := push.Concerns(b)
		switch {
		case c.Each, hasClusterSet(push.Config) && strings.HasSuffix(strings.ToLower(strings.TrimSuffix(place.Host, ".")), clusterSetSuffix):
			o.Each = append(o.Each, i)
			continue
		case c.Everybody:
			o.Known = append(o.Known, i)
		}
		for _, ns := range c.Namespaces {
			o.Of[ns] = append(o.Of[ns], i)
		}
	}
	return o
}

// Opened says what opens a port of sidecars in a namespace without Sidecar, the same
// text where the same does; plain is false where places of the port have to be asked
// for each by itself.
func (o *Outlook) Opened(namespace string, port int) (text string, plain bool) {
	return o.push.Opened(namespace, port, o.dns)
}

// Sight is what the sidecar of one client sees of an outlook.
type Sight struct {
	*Outlook
	client *model.Workload
	// scope is nil where no Sidecar limits what it sees.
	scope *model.SidecarScope
	ports map[int]openPort
	views map[int]viewed
}

// viewed is what [Sight.View] says of a place.
type viewed struct {
	text string
	ok   bool
}

// openPort is what [Outlook.Opened] says of a port.
type openPort struct {
	text  string
	plain bool
}

// Sight returns what a client's sidecar sees, which must be wide or limited: see
// [Simulation.Sees].
func (s *Simulation) Sight(o *Outlook, w *model.Workload) *Sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &Sight{Outlook: o, client: w, ports: map[int]openPort{}, views: map[int]viewed{}}
	if o.push.SidecarFor(w.Namespace, w.Labels) != nil {
		x.scope = s.scope(o.push, w)
	}
	return x
}

// Opened says what opens a port of the sidecar: see [Outlook.Opened].
func (x *Sight) Opened(port int) (text string, plain bool) {
	known, ok := x.ports[port]
	if !ok {
		if x.scope == nil {
			known.text, known.plain = x.Outlook.Opened(x.client.Namespace, port)
		} else {
			known.text, known.plain = x.push.OpenedIn(x.scope, port, x.dns)
		}
		x.ports[port] = known
	}
	return known.text, known.plain
}

// Seen calls f for the places of which a sidecar with a Sidecar sees something, in any
// order and some of them more than once.
func (x *Sight) Seen(f func(place int)) {
	each := func(places []int) {
		for _, i := range places {
			f(i)
		}
	}
	for _, svc := range x.scope.Services {
		each(x.ofService[x.push.Original(svc)])
	}
	for _, l := range x.scope.Listeners {
		for _, svc := range l.Services {
			each(x.ofService[x.push.Original(svc)])
		}
		for _, vs := range l.VirtualServices {
			each(x.ofRoute[vs])
		}
	}
}

// Authority is the Sidecar that says what becomes of unknown destinations, nil where the
// mesh's configuration says it.
func (x *Sight) Authority() *model.Sidecar {
	if x.scope == nil || x.scope.Sidecar.Spec.GetOutboundTrafficPolicy() == nil {
		return nil
	}
	return x.scope.Sidecar
}

// View is the same for clients of one control plane, with the same DNS capture, whose
// sidecars do the same with connections to a place on the given port: as far as they do
// not look at the client. ok is false where that is not known.
func (x *Sight) View(place, port int) (view string, ok bool) {
	if x.scope == nil {
		return x.view(place, port)
	}
	known, asked := x.views[place]
	if !asked { // what a Sidecar leaves is little
		known.text, known.ok = x.view(place, port)
		x.views[place] = known
	}
	return known.text, known.ok
}

func (x *Sight) view(place, port int) (string, bool) {
	opened, plain := x.Opened(port)
	if !plain {
		return "", false
	}
	scope, b := x.scope, x.bearings[place]
	if scope == nil {
		if !x.push.Plain(x.client.Namespace, b) {
			return "", false
		}
		scope = x.push.ScopeBearing(x.client.Namespace, b)
	}
	text, ok := x.push.View(scope, x.client.Labels, b)
	return strings.Join([]string{scope.OutboundTrafficPolicy().GetMode().String(), opened, text}, "|"), ok
}

package traffic

import (
	"slices"
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

// Outlook is what sidecars see of some places whose view no Sidecar limits.
type Outlook struct {
	push *model.PushContext
	dns  bool
	// Known are the places, by their position, of which everybody sees something,
	// Each those that have to be asked for each namespace.
	Known, Each []int
	// Of has by namespace the places that it may see otherwise than others.
	Of map[string][]int
}

// Wide reports whether no Sidecar limits what a client's sidecar sees, so that it
// differs from others in few places: see [Simulation.Outlook].
func (s *Simulation) Wide(w *model.Workload) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mesh.Unmodelled)+len(s.mesh.PluginPolicies)+len(s.mesh.ClusterNetworkPolicies)+len(s.mesh.EnvoyFilters)+len(s.suppositions) > 0 {
		return false // all of which may be about any client and name
	}
	push := s.push(s.mesh.ConfigFor(w))
	return s.capture(w).Mode == capture.Sidecar && Aliases(w) == "" && w.Namespace != push.RootNamespace() && push.SidecarFor(w.Namespace, w.Labels) == nil
}

// Outlook returns what sidecars of the mesh see of some places, those with the
// control plane and the DNS capture of w.
func (s *Simulation) Outlook(w *model.Workload, places []Place) *Outlook {
	s.mu.Lock()
	defer s.mu.Unlock()
	push := s.push(s.mesh.ConfigFor(w))
	o := &Outlook{push: push, dns: s.capture(w).AutoAddresses, Of: map[string][]int{}}
	for i, place := range places {
		address := push.PublicAddress(place.Host)
		names := []string{strings.ToLower(place.Host)}
		for _, name := range place.Names {
			if name = strings.ToLower(stripPort(name)); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		c := push.Concerns(push.Bearing(names, address, place.Port, o.dns))
		switch {
		case c.Each:
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

// Opened says what opens a port of sidecars in a namespace, the same text where the
// same does; plain is false where places of the port have to be asked for each by
// itself.
func (o *Outlook) Opened(namespace string, port int) (text string, plain bool) {
	return o.push.Opened(namespace, port, o.dns)
}

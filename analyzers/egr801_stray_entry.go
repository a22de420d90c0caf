package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// routedForNobody returns the routes for all of the mesh that send a host to a
// gateway while no client of any namespace sees the ServiceEntry that the routes
// need: whoever writes them does not mean that.
func (in *intent) routedForNobody(a *attempt, s *model.Service) []Related {
	if s.Entry == nil || in.seenByClients()(s) {
		return nil
	}
	var out []Related
	for _, by := range in.covering(a.To.Host) {
		if by.takes(a.To.Port, a.Flow.Scheme) && by.isFor(a.Class[0]) {
			out = append(out, by.related())
		}
	}
	return out
}

// reportStrayEntries reports ServiceEntries that only their own namespace sees, of
// which the input has nothing else, while a namespace with nearly that name has
// clients that cannot reach the host.
func (in *intent) reportStrayEntries(told []*manifest.Object) {
	p := in.pass
	populated := map[string]bool{}
	for _, class := range p.Reach.Classes() {
		if in.captured(class[0]) {
			populated[class[0].Namespace] = true
		}
	}
	names := slices.Sorted(maps.Keys(populated))
	in.reportMisspeltExports(names, told)
	for _, s := range in.push.Services() {
		if s.Entry == nil || !s.MeshExternal || p.holds(s.Namespace) ||
			len(s.ExportTo) == 0 || s.ExportTo.Public() || slices.ContainsFunc(names, func(n string) bool { return in.push.Visible(s, n) }) {
			continue
		}
		meant := nearest(s.Namespace, names)
		if meant == "" {
			continue
		}
		c := in.closedIn(meant, s)
		if c.first == nil {
			continue
		}
		f := Finding{
			Object: s.Object, Field: "metadata.namespace", Severity: Error, Label: "nobody is there",
			Help: fmt.Sprintf("is namespace %q meant?", meant),
			Message: fmt.Sprintf("%s reach %s on %s: %s is exported to namespace %q only, of which the input has nothing; is namespace %q meant?",
				c.who("cannot", "cannot"), upTo3(c.hosts), portsText(c.ports), s.Object, s.Namespace, meant),
		}
		p.Report(c.finding(f))
	}
}

// reportMisspeltExports reports namespaces in the exportTo of ServiceEntries of which the
// input has nothing, while one with nearly that name has clients that cannot reach the
// host, except of those that were told of already.
func (in *intent) reportMisspeltExports(names []string, told []*manifest.Object) {
	for _, s := range in.push.Services() {
		if s.Entry == nil || !s.MeshExternal || slices.Contains(told, s.Object) {
			continue
		}
		for i, namespace := range s.Entry.Spec.GetExportTo() {
			if strings.ContainsAny(namespace, ".*~") || in.pass.holds(namespace) {
				continue
			}
			meant := nearest(namespace, names)
			if meant == "" || in.push.Visible(s, meant) {
				continue
			}
			c := in.closedIn(meant, s)
			if c.first == nil {
				continue
			}
			in.pass.Report(c.finding(Finding{
				Object: s.Object, Field: fmt.Sprintf("spec.exportTo[%d]", i), Severity: Error, Label: "nobody is there",
				Help: fmt.Sprintf("is namespace %q meant?", meant),
				Message: fmt.Sprintf("%s reach %s on %s: %s is exported to namespace %q, of which the input has nothing; is namespace %q meant?",
					c.who("cannot", "cannot"), upTo3(c.hosts), portsText(c.ports), s.Object, namespace, meant),
			}))
		}
	}
}

// holds reports whether the input has a Namespace object of this name, or a workload or
// Service in it.
func (p *Pass) holds(namespace string) bool {
	ns := p.Mesh.Namespaces[namespace]
	return ns != nil && ns.Declared || p.Mesh.HoldsWorkloadsOf(namespace)
}

// closedIn gathers the requests of a namespace's clients for a service that nothing
// registers for them.
func (in *intent) closedIn(namespace string, s *model.Service) *collected {
	c := &collected{}
	for _, class := range in.pass.Reach.Classes() {
		if class[0].Namespace != namespace || !in.captured(class[0]) {
			continue
		}
		for _, a := range in.closedTo(class, s) {
			c.add(a)
		}
	}
	return c
}

// closedTo returns a request of a class for each port of a service that nothing
// registers for it, as far as that closes it.
func (in *intent) closedTo(class []*model.Workload, s *model.Service) []*attempt {
	var out []*attempt
	for _, d := range in.pass.Reach.Universe() {
		port := s.PortByNumber(d.Port)
		if port == nil || !host.Name(strings.ToLower(d.Host)).SubsetOf(host.Name(strings.ToLower(string(s.Hostname)))) {
			continue
		}
		a := &attempt{Class: class, To: d, Flow: flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: schemeOf(port)}}
		if a.Trace = in.pass.Reach.Sim.Verdict(a.Flow); a.Trace.Outcome == flow.Blocked && (a.Trace.Reason == flow.Blackhole || a.Trace.Reason == flow.NoCluster) {
			out = append(out, a)
		}
	}
	return out
}

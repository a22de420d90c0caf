package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// reportUselessEntries reports ServiceEntries for hosts outside that lead nowhere:
// without any endpoint, or by a name that nobody uses.
func (in *intent) reportUselessEntries() {
	empty := map[*model.Service]bool{}
	for _, s := range in.push.Services() {
		switch {
		case s.Entry == nil || !s.MeshExternal || s.Hostname.IsWildCarded():
		case strings.HasSuffix(string(s.Hostname), "."):
			in.reportDottedHost(s)
		case s.Entry.Spec.GetResolution() == networking.ServiceEntry_STATIC && len(s.Entry.Spec.GetEndpoints()) == 0 && s.Entry.Spec.GetWorkloadSelector() == nil:
			empty[s] = true
		}
	}
	if len(empty) == 0 {
		return
	}
	listed := func(h string) *model.Service {
		for _, s := range in.push.Services() {
			if empty[s] && strings.EqualFold(string(s.Hostname), h) {
				return s
			}
		}
		return nil
	}
	var found byKey[*model.Service]
	for a := range in.attempts(
		func(d reach.Destination) bool { return listed(d.Host) != nil },
		func(_ flow.Via, reason flow.Reason) bool { return reason == flow.NoEndpoints }, flow.NoEndpoints,
	) {
		if s := listed(a.To.Host); a.Trace.Outcome == flow.Blocked {
			found.add(s, a)
		}
	}
	for _, h := range served(in.waypointHosts()) {
		if !empty[h.Service] {
			continue
		}
		for _, class := range in.pass.Reach.Classes() {
			if w := h.attempt(in.pass, class[0], func(t *flow.Trace) bool { return t.Reason == flow.NoEndpoints && t.Via == flow.ViaWaypoint }); w != nil {
				found.add(h.Service, &attempt{Class: class, To: reach.Destination{Host: h.name(), Port: w.Flow.Port}, Flow: w.Flow, Trace: w.Trace})
			}
		}
	}
	for _, s := range found.keys {
		c := found.of[s]
		todo := "use resolution DNS, or list its endpoints"
		p := in.pass
		p.Report(c.finding(Finding{
			Object: s.Object, Field: "spec.resolution", Severity: Error, Label: "no endpoint to go to", Help: todo,
			Edits: []Edit{{s.Object, "spec.resolution", "DNS"}}, Fix: "resolution: DNS\n",
			Message: fmt.Sprintf("%s has resolution STATIC and lists no endpoint for %s: requests of %s fail; %s", s.Object, upTo3(c.hosts), upTo3(c.workloads()), todo),
		}))
	}
}

// reportDottedHost reports a name with a dot at its end, if that keeps clients from
// the host without it.
func (in *intent) reportDottedHost(s *model.Service) {
	bare := strings.TrimSuffix(string(s.Hostname), ".")
	c := &collected{}
	for _, class := range in.pass.Reach.Classes() {
		if !in.captured(class[0]) || !in.push.Visible(s, class[0].Namespace) {
			continue
		}
		for _, port := range s.Ports {
			a := &attempt{Class: class, To: reach.Destination{Host: bare, Port: port.Number}, Flow: flow.Flow{From: reach.From(class[0]), Host: bare, Port: port.Number, Scheme: schemeOf(port)}}
			a.Trace = in.pass.Reach.Sim.Verdict(a.Flow)
			known := slices.Contains([]flow.Reason{flow.Blackhole, flow.NoCluster, flow.NoRoute}, a.Trace.Reason) || a.Trace.Via == flow.ViaPassthrough
			if known && a.Trace.Outcome != flow.Unknown {
				c.add(a)
			}
		}
	}
	if c.first == nil {
		return
	}
	f := Finding{
		Object: s.Object, Field: s.HostField, Severity: Error, Label: "nobody sends the dot", Help: fmt.Sprintf("write %q", bare),
		Edits: []Edit{{s.Object, s.HostField, bare}},
		Message: fmt.Sprintf("%s registers %q with a dot at its end, which neither Host headers nor server names have: %s is not registered for %s; write %q",
			s.Object, s.Hostname, bare, upTo3(c.workloads()), bare),
	}
	in.pass.Report(c.finding(f))
}

package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// As returns the trace of a flow as it is for another client that fares alike, given
// that of a flow which differs in nothing but its client; false where the trace says
// more about that client than who it is. Both clients dial the address that stands
// for a host outside. Of the hops that are fixed it is known that they do not speak of
// the client: see [Fixed].
func (s *Simulation) As(t *flow.Trace, f flow.Flow, rep, w *model.Workload, fixed []bool) (*flow.Trace, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	push := s.push(s.mesh.ConfigFor(w))
	c, was := s.capture(w), s.capture(rep)
	if len(t.Hops) == 0 || t.Hops[0].Proxy != rep.ID() || t.Hops[0].Decision != takes(rep, was.Why) {
		return nil, false
	}
	seen := c.Outbound(netip.AddrPortFrom(push.PublicAddress(f.Host), uint16(f.Port))) //nolint:gosec // a port
	x := likeness{rep: rep, w: w, identity: push.Identity(rep), as: push.Identity(w), failed: seen.Some || !seen.Captured}
	out := x.trace(t, func(i int) bool { return i == 0 || i < len(fixed) && fixed[i] })
	out.ID = ""
	out.Hops[0].Decision, out.Hops[0].Because = takes(w, c.Why), append(slices.Clone(c.Because), seen.Because...)
	out.Assumptions = nil
	for _, a := range t.Assumptions {
		if a != was.Assumption {
			out.Assumptions = append(out.Assumptions, x.text(a))
		}
	}
	if c.Assumption != "" {
		out.Assumptions = append(out.Assumptions, c.Assumption)
	}
	return out, !x.failed
}

// Fixed reports which hops of the traces of two clients of different namespaces, of
// flows that differ in nothing else, say the same of both: they do not speak of the
// client.
func Fixed(a, b *flow.Trace) []bool {
	if len(a.Hops) != len(b.Hops) {
		return nil
	}
	out := make([]bool, len(a.Hops))
	for i := range out {
		g, h := a.Hops[i], b.Hops[i]
		out[i] = g.Decision == h.Decision && slices.Equal(g.Because, h.Because)
	}
	return out
}

// takes says that a sidecar takes a connection.
func takes(w *model.Workload, why string) string {
	return fmt.Sprintf("the sidecar of %s %s takes the connection (%s)", w.Kind, w.ID(), why)
}

// likeness turns what is said of a client into what is said of another.
type likeness struct {
	rep, w       *model.Workload
	identity, as string
	failed       bool
}

func (x *likeness) text(s string) string {
	if strings.Contains(s, x.identity) {
		s = strings.ReplaceAll(s, x.identity, "\x00")
	}
	x.failed = x.failed || strings.Contains(s, x.rep.Namespace) || strings.Contains(s, x.rep.Name)
	return strings.ReplaceAll(s, "\x00", x.as)
}

// trace says it of a trace, but for the hops to leave as they are.
func (x *likeness) trace(t *flow.Trace, leave func(hop int) bool) *flow.Trace {
	out := *t
	x.failed = x.failed || t.Reason == flow.NetworkPolicy
	out.Detail = x.text(t.Detail)
	out.Hops = slices.Clone(t.Hops)
	for i := range out.Hops {
		h := &out.Hops[i]
		if h.Proxy == x.rep.ID() {
			h.Proxy = x.w.ID()
		}
		if leave(i) {
			continue
		}
		h.Decision = x.text(h.Decision)
		x.failed = x.failed || slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object.Namespace == x.rep.Namespace })
	}
	out.Branches = slices.Clone(t.Branches)
	for i := range out.Branches {
		out.Branches[i].Trace = *x.trace(&t.Branches[i].Trace, func(int) bool { return false })
	}
	return &out
}

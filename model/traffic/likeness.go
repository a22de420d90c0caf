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
func (s *Simulation) As(t *flow.Trace, f flow.Flow, rep, w *model.Workload, fixed []Fixity) (*flow.Trace, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	push := s.push(s.mesh.ConfigFor(w))
	c, was := s.capture(w), s.capture(rep)
	if len(t.Hops) == 0 || t.Hops[0].Proxy != rep.ID() || t.Hops[0].Decision != takes(rep, was.Why) {
		return nil, false
	}
	seen := c.Outbound(netip.AddrPortFrom(push.PublicAddress(f.Host), uint16(f.Port))) //nolint:gosec // a port
	x := likeness{rep: rep, w: w, identity: push.Identity(rep), as: push.Identity(w), failed: seen.Some || !seen.Captured}
	own := 1 // hops that are its own
	if push.SidecarFor(w.Namespace, w.Labels) != nil {
		own = 2
	}
	out := x.trace(t, func(i int) Fixity {
		switch {
		case i < own:
			return FixedText
		case i < len(fixed):
			return fixed[i]
		default:
			return Loose
		}
	})
	out.ID = ""
	if own > 1 && !x.failed {
		hop := s.taking(f, w)
		if len(out.Hops) < own || !sameChain(&hop, &out.Hops[1]) {
			return nil, false
		}
		out.Hops[1] = hop
	}
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

// taking is the hop in which a client's sidecar takes a connection to an address outside:
// it speaks of all services that the sidecar sees.
func (s *Simulation) taking(f flow.Flow, client *model.Workload) flow.Hop {
	w := &walker{sim: s, flow: f, client: client, push: s.push(s.mesh.ConfigFor(client))}
	conn, _, _ := w.dial(s.capture(client))
	w.v6 = conn.dst.Addr().Is6()
	hop, _, _, _ := w.chosen(s.sidecarFor(client, w.v6, &conn), &conn)
	return hop
}

// sameChain reports whether hops speak of the same chain of a listener.
func sameChain(a, b *flow.Hop) bool {
	return a.At == b.At && a.Listener == b.Listener && a.FilterChain == b.FilterChain && a.SNI == b.SNI
}

// Fixity is how far a hop is known not to speak of the client.
type Fixity int

// What is known of a hop.
const (
	Loose     Fixity = iota // nothing
	FixedText               // what it says is said of all clients, the proxy may be the client's
	FixedHop                // the proxy is not the client's, either
)

// Fixed reports how far the hops of the traces of two clients of different namespaces, of
// flows that differ in nothing else, say the same of both: they do not speak of the
// client.
func Fixed(a, b *flow.Trace) []Fixity {
	if len(a.Hops) != len(b.Hops) {
		return nil
	}
	out := make([]Fixity, len(a.Hops))
	for i := range out {
		g, h := a.Hops[i], b.Hops[i]
		switch {
		case g.Decision != h.Decision || !slices.Equal(g.Because, h.Because):
		case g.Proxy == h.Proxy:
			out[i] = FixedHop
		default:
			out[i] = FixedText
		}
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

// trace says it of a trace, but for what of its hops is fixed.
func (x *likeness) trace(t *flow.Trace, fixed func(hop int) Fixity) *flow.Trace {
	out := *t
	x.failed = x.failed || t.Reason == flow.NetworkPolicy
	out.Detail = x.text(t.Detail)
	out.Hops = slices.Clone(t.Hops)
	for i := range out.Hops {
		h := &out.Hops[i]
		how := fixed(i)
		if h.Proxy == x.rep.ID() && how != FixedHop {
			h.Proxy = x.w.ID()
		}
		if how != Loose {
			continue
		}
		h.Decision = x.text(h.Decision)
		x.failed = x.failed || slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object.Namespace == x.rep.Namespace })
	}
	out.Branches = slices.Clone(t.Branches)
	for i := range out.Branches {
		out.Branches[i].Trace = *x.trace(&t.Branches[i].Trace, func(int) Fixity { return Loose })
	}
	return &out
}

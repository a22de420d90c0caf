package analyzers

import (
	"slices"

	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// maxClasses bounds the classes of clients that are tried for one ServiceEntry: a
// few prove a finding, and a mesh may hold thousands of both.
const maxClasses = 32

// closedClass are clients that fare alike, and whose sidecar is closed to hosts
// that nothing registers (I3); Because says by what.
type closedClass struct {
	Class   []*model.Workload
	Because Related
}

// closedClasses returns the classes of clients that REGISTRY_ONLY closes.
func (in *intent) closedClasses() []closedClass {
	var out []closedClass
	for _, class := range in.pass.Reach.Classes() {
		if !in.captured(class[0]) {
			continue
		}
		if because, closed := in.closes(class[0]); closed {
			out = append(out, closedClass{class, because})
		}
	}
	return out
}

// speaks is what a client has to speak on a port for the sidecar to recognise it:
// HTTP or TLS as declared, TCP for anything else.
func speaks(port *model.Port) flow.Scheme {
	switch {
	case port.Protocol.IsHTTP():
		return flow.HTTP
	case port.Protocol.IsTLS():
		return flow.TLS
	default:
		return flow.TCP
	}
}

// opaque reports whether the sidecar takes any bytes on a port: declared as TCP
// or a protocol above it, or not declared at all, but not TLS.
func opaque(port *model.Port) bool {
	return !port.Protocol.IsHTTP() && !port.Protocol.IsTLS() && port.Protocol != protocol.UDP
}

// sends reports whether a proxy of one kind, on the way of a request, sent it on
// because of an object.
func sends(t *flow.Trace, at flow.Place, o *manifest.Object) bool {
	for _, h := range t.Hops {
		if h.At == at && h.Cluster != "" && slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object == o }) {
			return true
		}
	}
	return false
}

// leaves reports whether a request goes straight from the client's sidecar to the
// outside because of a ServiceEntry.
func leaves(t *flow.Trace, entry *manifest.Object) bool {
	return t.Outcome == flow.Allowed && t.Via == flow.ViaDirect && t.Reason == flow.OK && sends(t, flow.AtSidecar, entry)
}

// opening is what a ServiceEntry opens, gathered for one finding.
type opening struct {
	workloads []*model.Workload
	closed    Related
	witness   *proof
}

// tryClosed asks for each class of closed clients that sees a service whether a
// request gets out; nil if for none. At most maxClasses are tried.
func (in *intent) tryClosed(closed []closedClass, s *model.Service, request flow.Flow, out func(*flow.Trace) bool) *opening {
	return in.tryOthers(maxClasses, closed, "", s, request, out)
}

// tryOthers is tryClosed without the classes of a namespace, of so many at most.
func (in *intent) tryOthers(limit int, closed []closedClass, but string, s *model.Service, request flow.Flow, out func(*flow.Trace) bool) *opening {
	var o *opening
	tried := 0
	for _, c := range closed {
		w := c.Class[0]
		if w.Namespace == but || !in.pushFor(w).Visible(s, w.Namespace) {
			continue
		}
		if tried++; tried > limit {
			break
		}
		request.From = reach.From(w)
		if !out(in.pass.Reach.Sim.Verdict(request)) {
			continue
		}
		if o == nil {
			o = &opening{closed: c.Because, witness: &proof{request, in.pass.Reach.Trace(request)}}
		}
		o.workloads = append(o.workloads, c.Class...)
	}
	return o
}

// finding fills in what the request proves.
func (o *opening) finding(f Finding) Finding {
	f.Workloads = workloadIDs(o.workloads)
	f.Flow, f.Trace = &o.witness.Flow, o.witness.Trace
	if o.closed.Object != nil {
		f.Related = append(f.Related, o.closed)
	}
	return f
}

// who names the clients with a verb that agrees with them.
func (o *opening) who(singular, plural string) string {
	if ids := workloadIDs(o.workloads); len(ids) != 1 {
		return upTo3(ids) + " " + plural
	}
	return o.workloads[0].ID() + " " + singular
}

// inFile reports whether a place stands in an input file; what a flag or a default
// says does not.
func inFile(o *manifest.Object, field string) bool { return o != nil && o.At(field).File != "" }

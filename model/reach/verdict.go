package reach

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// verdicts are traces of flows that several clients may send alike.
type verdicts struct {
	trees map[flowKey]*tree[told]
	kept  int
	// requests are those asked about lately.
	requests map[requestKey]requested
}

// mostVerdicts bounds the traces that are kept: those who ask go from host to host.
const mostVerdicts = 512

// flowKey is what flows of classes whose proxies do the same with a destination have in
// common: members of a wide cohort, or limited ones with one view.
type flowKey struct {
	among *cohort
	view  view
	// authority says what becomes of unknown names.
	authority *model.Sidecar
	scheme    flow.Scheme
	request   string
}

// told is the trace of a flow of one client.
type told struct {
	trace *flow.Trace
	of    *model.Workload
	// fixed says which hops of the trace do not speak of the client, as far as it was
	// compared with that of another.
	fixed []traffic.Fixity
}

// Verdict is the simulation's verdict of a flow of a client, without its guarantee;
// where a client that fares alike has sent the same before, it is not traced anew.
func (r *Reach) Verdict(f flow.Flow, w *model.Workload) *flow.Trace {
	first := r.First(w)
	key, shared := r.flowKey(f, first)
	if !shared {
		return r.Sim.Verdict(f)
	}
	root := r.traced.trees[key]
	if root == nil {
		root = &tree[told]{}
		r.traced.trees[key] = root
	}
	if t := root.leaf(r, first); t != nil {
		return r.tell(t.end, f, first)
	}
	if r.traced.kept++; r.traced.kept > mostVerdicts {
		clear(r.traced.trees)
		r.traced.kept = 1
	}
	trace, questions := r.Sim.Examine(f)
	root.graft(r, first, questions).end = &told{trace: trace, of: first}
	out := *trace
	return &out
}

// Likeness stands for the clients for whom a flow that differs in nothing but the
// client fares alike, so that their traces differ only in whom they name. The zero
// value says that this is not known.
type Likeness struct{ told *told }

// Alike returns the likeness of a client for a flow, as far as [Reach.Verdict] has met
// a client like it. Compare it only with that of the same flow of others.
func (r *Reach) Alike(f flow.Flow, w *model.Workload) Likeness {
	first := r.First(w)
	if key, shared := r.flowKey(f, first); shared {
		if t := r.traced.trees[key].leaf(r, first); t != nil {
			return Likeness{t.end}
		}
	}
	return Likeness{}
}

// flowKey returns what a flow of a class has in common with the same of others, false
// where nothing is known to be common.
func (r *Reach) flowKey(f flow.Flow, first *model.Workload) (flowKey, bool) {
	m := r.member[first]
	if m == nil || !m.wide && !m.limited || f.DstIP != "" || f.ConnectTo != "" || f.Bypass || f.From != m.from {
		return flowKey{}, false
	}
	at := r.requested(f)
	if at.place < 0 {
		return flowKey{}, false
	}
	key := flowKey{view: view{place: at.place}, scheme: f.Scheme, request: at.text}
	if m.limited {
		var shared bool
		key.view, shared = r.viewOf(m, at.place)
		key.authority = r.sight(m).Authority()
		return key, shared
	}
	key.among = r.wideCohort(m)
	if key.among.each.has(at.place) || slices.Contains(key.among.elsewhere[at.place], first.Namespace) || r.resolvingFor(first).has(at.place) {
		return flowKey{}, false
	}
	return key, true
}

// requested is what flows that differ in their clients alone have in common: the
// destination, -1 where it is none of those of which outlooks were taken, and the text
// of the request.
type requested struct {
	place int
	text  string
}

// requestKey finds it again, of flows without headers.
type requestKey struct {
	host, method, path, sni string
	port                    int
}

func (r *Reach) requested(f flow.Flow) requested {
	k := requestKey{f.Host, f.Method, f.Path, f.SNI, f.Port}
	if at, known := r.traced.requests[k]; known && len(f.Headers) == 0 {
		return at
	}
	r.lay()
	at := requested{place: -1}
	places := r.byHost[strings.ToLower(f.Host)]
	if i := slices.IndexFunc(places, func(i int) bool { return r.Universe()[i].Port == f.Port }); i >= 0 && r.names(places[i], f) {
		at = requested{places[i], requestText(f)}
	}
	if len(f.Headers) == 0 {
		if len(r.traced.requests) >= mostVerdicts {
			clear(r.traced.requests)
		}
		r.traced.requests[k] = at
	}
	return at
}

// tell tells a class what became of the same flow of another that fares alike.
func (r *Reach) tell(t *told, f flow.Flow, first *model.Workload) *flow.Trace {
	if t.of == first {
		out := *t.trace
		return &out
	}
	if out, ok := r.Sim.As(t.trace, f, t.of, first, t.fixed); ok {
		return out
	}
	out := r.Sim.Verdict(f)
	if t.fixed == nil && t.of.Namespace != first.Namespace {
		t.fixed = traffic.Fixed(t.trace, out)
	}
	return out
}

// names reports whether a flow asks for no other names than outlooks were taken of.
func (r *Reach) names(place int, f flow.Flow) bool {
	d := r.Universe()[place]
	own := func(name string) bool {
		name, _, _ = strings.Cut(strings.ToLower(name), ":")
		return name == strings.ToLower(d.Host)
	}
	if f.SNI != "" && !own(f.SNI) {
		return false
	}
	for name, value := range f.Headers {
		if name = strings.ToLower(name); (name == "host" || name == ":authority") && !own(value) {
			return false
		}
	}
	return true
}

// requestText is the same for flows that hold the same request.
func requestText(f flow.Flow) string {
	if f.Method == "" && f.Path == "" && f.SNI == "" && len(f.Headers) == 0 {
		return ""
	}
	b := make([]byte, 0, 64)
	for _, text := range []string{f.Method, f.Path, f.SNI} {
		b = strconv.AppendQuote(b, text)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Headers)) {
		b = strconv.AppendQuote(strconv.AppendQuote(b, name), f.Headers[name])
	}
	return string(b)
}

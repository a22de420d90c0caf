package agree

import (
	"fmt"
	"io"

	"github.com/egresslint/egresslint/model/flow"
)

// Value is a word of package flow that an answer, or a question, may hold.
type Value struct {
	Field, Word string
	// Outside says why no random mesh gives it, "" where they should.
	Outside string
}

// Values are all words of questions and answers, in the order of package flow.
func Values() []Value {
	const (
		ambient  = "ambient mode: ztunnel and waypoints are not part of istiod's configuration of sidecars and gateways"
		networks = "network policies are no configuration of a proxy"
		capture  = "which manifests leave it open is held against Istio's injector (conformance/injection)"
	)
	list := func(field string, words ...Value) []Value {
		for i := range words {
			words[i].Field = field
		}
		return words
	}
	word := func(w string) Value { return Value{Word: w} }
	outside := func(w, why string) Value { return Value{Word: w, Outside: why} }
	var out []Value
	out = append(out, list("scheme", word(string(flow.HTTP)), word(string(flow.HTTPS)), word(string(flow.TLS)), word(string(flow.TCP)), word(string(flow.UDP)))...)
	out = append(out, list("outcome", word(string(flow.Allowed)), word(string(flow.Blocked)), word(string(flow.Mixed)), word(string(flow.Unknown)))...)
	out = append(out, list("via", word(string(flow.ViaNone)), word(string(flow.ViaUncaptured)), word(string(flow.ViaPassthrough)), word(string(flow.ViaDirect)),
		word(string(flow.ViaGateway)), outside(string(flow.ViaWaypoint), ambient), word(string(flow.ViaMixed)))...)
	for _, r := range []flow.Reason{
		flow.OK, flow.NoProxy, flow.NotCaptured, flow.InMesh,
		flow.Blackhole, flow.NoListener, flow.NoFilterChain, flow.NoRoute, flow.NoCluster, flow.NoEndpoints, flow.RBACDenied, flow.TLSMismatch,
		flow.DoubleTLS, flow.ProtocolError, flow.Redirect, flow.DirectResponse, flow.FaultAbort, flow.Loop,
		flow.ExtAuthz, flow.CustomCert, flow.JWT, flow.OpaqueFilter, flow.ListenerRejected, flow.MissingObject, flow.Undetermined, flow.SourceIsGateway,
		flow.BranchesDiffer, flow.NoSuchWorkload, flow.BadFlow,
	} {
		out = append(out, Value{Field: "reason", Word: string(r)})
	}
	out = append(out, list("reason",
		outside(string(flow.NetworkPolicy), networks),
		outside(string(flow.ForeignNetworkPolicy), networks),
		outside(string(flow.EnvoyFilter), "EnvoyFilter is not interpreted by either side"),
		outside(string(flow.Capture), capture),
		outside(string(flow.Assumption), capture),
		outside(string(flow.Template), "a template is no manifest yet"))...)
	return append(out, list("upstream_tls", word(string(flow.UpstreamNone)), word(string(flow.UpstreamSimple)), word(string(flow.UpstreamMutual)))...)
}

// Coverage counts how often each word occurs; branches count as answers of their
// own.
type Coverage struct {
	counts map[string]int
	// Flows are the questions, Unknown those of them to which the answer is not
	// known.
	Flows, Unknown int
}

// Add counts a question and an answer.
func (c *Coverage) Add(f flow.Flow, t *flow.Trace) {
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.Flows++
	if t.Outcome == flow.Unknown {
		c.Unknown++
	}
	c.counts["scheme "+string(f.Scheme)]++
	c.add(t)
}

func (c *Coverage) add(t *flow.Trace) {
	c.counts["outcome "+string(t.Outcome)]++
	c.counts["via "+string(t.Via)]++
	c.counts["reason "+string(t.Reason)]++
	if t.Outcome == flow.Allowed {
		c.counts["upstream_tls "+string(t.UpstreamTLS)]++
	}
	for i := range t.Branches {
		c.add(&t.Branches[i].Trace)
	}
}

// Count is how often a word occurred.
func (c *Coverage) Count(v Value) int { return c.counts[v.Field+" "+v.Word] }

// Missing are the words that should have occurred and did not.
func (c *Coverage) Missing() []Value {
	var out []Value
	for _, v := range Values() {
		if v.Outside == "" && c.Count(v) == 0 {
			out = append(out, v)
		}
	}
	return out
}

// Print lists the words with their counts.
func (c *Coverage) Print(out io.Writer) {
	for _, v := range Values() {
		note := ""
		switch {
		case v.Outside != "" && c.Count(v) == 0:
			note = "  outside: " + v.Outside
		case c.Count(v) == 0:
			note = "  NEVER"
		}
		fmt.Fprintf(out, "%8d  %s %s%s\n", c.Count(v), v.Field, v.Word, note)
	}
	fmt.Fprintf(out, "%.2f %% of the flows are unknown\n", 100*float64(c.Unknown)/float64(max(c.Flows, 1)))
}

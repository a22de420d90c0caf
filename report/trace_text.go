package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// TraceText writes the answer to a flow for someone who has never seen Envoy:
// the verdict first, then each decision with the manifest fields behind it.
func TraceText(w io.Writer, f flow.Flow, t *flow.Trace, o Options) error {
	p := traceWriter{newPrinter(w), newPalette(o.Color)}
	subject := p.bold(request(f)) + " from " + p.bold(Printable(f.From))
	if t.Reason == flow.BadFlow && f.Host == "" {
		subject = p.bold(strings.TrimSpace("request " + Printable(t.ID))) // nothing else of it could be read
	}
	p.printf("%s: %s: %s\n", p.outcome(t.Outcome)(Printable(string(t.Outcome))), subject, verdictOf(t).because())
	p.body(t, "  ", 1)
	for _, a := range t.Assumptions {
		p.printf("\n%s %s", p.bold("assumed:"), Printable(a))
	}
	if len(t.Assumptions) > 0 {
		p.printf("\n")
	}
	return p.close()
}

type traceWriter struct {
	*printer
	palette
}

// body writes the hops, the open question and the branches of a trace. Hops
// are numbered from first on; those of a branch go on counting.
func (p traceWriter) body(t *flow.Trace, indent string, first int) {
	if len(t.Hops) > 0 {
		p.printf("\n")
	}
	for i, h := range t.Hops {
		p.hop(h, indent, first+i)
	}
	if t.Detail != "" && t.Outcome == flow.Unknown {
		p.printf("\n%s%s %s\n", indent, p.yellow("not known:"), Printable(t.Detail))
	}
	if t.UpstreamTLS == flow.UpstreamSimple || t.UpstreamTLS == flow.UpstreamMutual {
		kind := "TLS"
		if t.UpstreamTLS == flow.UpstreamMutual {
			kind = "mutual TLS"
		}
		p.printf("\n%sthe last proxy encrypts with %s towards the outside\n", indent, kind)
	}
	for i := range t.Branches {
		b := &t.Branches[i]
		p.printf("\n%s%s %s: %s\n", indent, p.bold(fmt.Sprintf("branch %d of %d, weight %d:", i+1, len(t.Branches), b.Weight)),
			p.outcome(b.Outcome)(Printable(string(b.Outcome))), verdictOf(&b.Trace).because())
		p.body(&b.Trace, indent+"  ", first+len(t.Hops))
	}
}

func (p traceWriter) hop(h flow.Hop, indent string, number int) {
	head := fmt.Sprintf("%s%d. ", indent, number)
	p.printf("%s%s: %s\n", head, p.bold(place(h)), Printable(h.Decision))
	blank := strings.Repeat(" ", len(head))
	if envoy := envoyNames(h); envoy != "" {
		p.printf("%s%s\n", blank, p.faint(envoy))
	}
	for _, b := range h.Because {
		p.printf("%s%s %s\n", blank, p.faint("because"), because(b))
	}
}

// because names a manifest field: "file:line:col Kind ns/name field".
func because(b flow.Because) string {
	var parts []string
	if at := b.Object.At(b.Field); !at.IsZero() {
		parts = append(parts, at.String())
	}
	parts = append(parts, b.Object.String())
	if b.Field != "" {
		parts = append(parts, b.Field)
	}
	if b.Object.Implied != "" {
		parts = append(parts, "("+b.Object.Implied+")")
	}
	return Printable(strings.Join(parts, " "))
}

// envoyNames lists what the decision is called in Envoy's configuration, for
// those who compare with a live proxy.
func envoyNames(h flow.Hop) string {
	var parts []string
	for _, n := range []struct{ name, value string }{
		{"listener", h.Listener}, {"filter chain", h.FilterChain}, {"virtual host", h.VirtualHost},
		{"route", h.Route}, {"cluster", h.Cluster}, {"TLS", h.TLS}, {"SNI", h.SNI},
	} {
		if n.value != "" {
			parts = append(parts, n.name+" "+n.value)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return Printable("in Envoy: " + strings.Join(parts, ", "))
}

package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR904", Name: "cannot-decide", Severity: Note,
	Run: runCannotDecide,
	Doc: Doc{
		Title: "Whether requests get out cannot be decided",
		What: "Of some (workload, host, port), or of some of their requests, it is not known whether they get out. Each reason is told once, with the number of tuples, " +
			"a few workloads, and a request that shows it.",
		Why: "What is not known is neither allowed nor blocked: no rule reports it, and a control that works may rest on it. The note says what would settle it.",
		Bad: egressDoc(`apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: audit
  namespace: istio-egress
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
    patch:
      operation: INSERT_FIRST
      value:
        name: audit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          inlineCode: "function envoy_on_request(handle) end"
`),
		Good:   egressDoc(""),
		Fix:    "Give what the note asks for: the missing manifests, the rendered templates, a decision that manifests can show.",
		Silent: "Destinations that no manifest names; tuples that are decided, with requests that are not modelled at all (UDP).",
		Sources: []string{
			"https://github.com/egresslint/egresslint/blob/main/docs/model.md",
		},
	},
})

// settled says for each reason what would settle it.
var settled = map[flow.Reason]string{
	flow.ExtAuthz:             "an external authorizer decides, and no manifest shows what it says; a policy of action ALLOW or DENY in its place would settle it",
	flow.CustomCert:           "the certificate decides, which no manifest holds; ISTIO_MUTUAL would settle it",
	flow.JWT:                  "the token of the request decides, which no manifest holds; a policy on namespaces or service accounts would settle it",
	flow.OpaqueFilter:         "a filter decides that is code (Wasm, Lua); without it the answer is known",
	flow.EnvoyFilter:          "an EnvoyFilter changes the path, and its effect is not interpreted; without it, or with Istio's own objects in its place, the answer is known",
	flow.ListenerRejected:     "Envoy would refuse a listener on the way, and goes on with an older one if it has any; mend the listener",
	flow.MissingObject:        "an object that decides is not in the input; add its manifest",
	flow.Undetermined:         "istiod itself may choose either of several objects; remove one, or let them agree",
	flow.SourceIsGateway:      "the source is a gateway, whose own requests are not modelled; ask for the workloads that call it",
	flow.Capture:              "it is not known whether a proxy takes the traffic; add what the trace misses (the manifest of the pods, the Namespace object or --namespace-label)",
	flow.ForeignNetworkPolicy: "a network policy of a kind that is not interpreted decides; a NetworkPolicy of Kubernetes in its place would settle it",
	flow.Template:             "a template decides; render it first",
	flow.Assumption:           "it rests on an assumption that may not hold; add the manifests that show it",
}

// maxCounted bounds how many tuples are counted one by one.
const maxCounted = 1_000_000

func runCannotDecide(p *Pass) {
	reasons := undecidedReasons(p)
	for _, reason := range reasons {
		p.reportUndecided(reason)
	}
}

// undecidedReasons returns the reasons for which any tuple is undecided, sorted.
func undecidedReasons(p *Pass) []flow.Reason {
	seen := map[flow.Reason]bool{}
	keep := func(answers []reach.Answer) bool {
		for i := range answers {
			for _, r := range undecided(&answers[i]) {
				seen[r.reason] = true
			}
		}
		return false
	}
	for range p.Reach.Tuples(anyDestination, anyClass, keep) {
		break // keep keeps nothing
	}
	var out []flow.Reason
	for r := range seen {
		out = append(out, r)
	}
	slices.Sort(out)
	return out
}

func anyDestination(reach.Destination) bool { return true }
func anyClass([]*model.Workload) bool       { return true }

// doubt is a reason with a request that shows it.
type doubt struct {
	reason flow.Reason
	flow   flow.Flow
}

// undecided returns what is not known of an answer.
func undecided(a *reach.Answer) []doubt {
	var out []doubt
	if a.Outcome == flow.Unknown {
		out = append(out, doubt{a.Reason, a.Flow})
	}
	for i := range a.When {
		if c := &a.When[i]; c.Outcome == flow.Unknown {
			out = append(out, doubt{c.Reason, c.Flow})
		}
	}
	return out
}

func (p *Pass) reportUndecided(reason flow.Reason) {
	of := func(answers []reach.Answer) *doubt {
		for i := range answers {
			for _, d := range undecided(&answers[i]) {
				if d.reason == reason {
					return &d
				}
			}
		}
		return nil
	}
	tuples := 0
	var first *doubt
	concerned := map[*model.Workload]bool{} // the first of each class
	var workloads []*model.Workload
	for d, class := range p.Reach.Tuples(anyDestination, anyClass, func(a []reach.Answer) bool { return of(a) != nil }) {
		if tuples += len(class); tuples > maxCounted {
			break
		}
		if !concerned[class[0]] {
			concerned[class[0]] = true
			workloads = append(workloads, class...)
		}
		if first == nil {
			first = of(p.Reach.Verdicts(class[0], d))
		}
	}
	if first == nil {
		return
	}
	first.flow.From = reach.From(workloads[0])
	trace := p.Reach.Trace(first.flow)
	f := Finding{Label: "decides what is not known", Flow: &first.flow, Trace: trace, Workloads: workloadIDs(workloads)}
	if o := lastReason(trace); o != nil && inFile(o.Object, o.Field) {
		f.Object, f.Field = o.Object, o.Field
	} else {
		f.Object, f.Label = workloads[0].Object, ""
	}
	number := fmt.Sprint(tuples)
	if tuples > maxCounted {
		number = fmt.Sprintf("more than %d", maxCounted)
	}
	why := settled[reason]
	if why == "" {
		why = "add what it misses"
	}
	if detail := undecidedDetail(trace); detail != "" {
		why = detail + "; " + why
	}
	f.Message = fmt.Sprintf("%s tuples of workload, host and port are undecided (%s), of %s: %s", number, reason, upTo3(f.Workloads), why)
	p.Report(f)
}

// undecidedDetail is what a trace, or the first of its branches that is undecided,
// says about why, in one line.
func undecidedDetail(t *flow.Trace) string {
	for i := range t.Branches {
		if b := &t.Branches[i].Trace; b.Outcome == flow.Unknown {
			if detail := undecidedDetail(b); detail != "" {
				return detail
			}
		}
	}
	if t.Outcome != flow.Unknown {
		return ""
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(t.Detail), " "), ".")
}

// lastReason returns the last object that a trace, or the first of its branches
// that is undecided, gives as a reason.
func lastReason(t *flow.Trace) *flow.Because {
	for i := range t.Branches {
		if b := &t.Branches[i].Trace; b.Outcome == flow.Unknown {
			if found := lastReason(b); found != nil {
				return found
			}
		}
	}
	for i := len(t.Hops) - 1; i >= 0; i-- {
		if n := len(t.Hops[i].Because); n > 0 {
			return &t.Hops[i].Because[n-1]
		}
	}
	return nil
}

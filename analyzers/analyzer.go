// Package analyzers holds the rules: each is a value with an ID, its
// documentation and a Run function, in a file of its own. A rule looks at the
// mesh and at the simulation's answers and reports findings; it never reads
// YAML, loads or prints anything.
package analyzers

import (
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// Severity is how bad a finding is; its values are those of SARIF's level.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Precision is a value of the property of that name in SARIF, by which code
// scanning orders findings.
type Precision string

// The precisions: facts of single objects; what follows from several; what rests
// on all of the input being one mesh.
const (
	PrecisionVeryHigh Precision = "very-high"
	PrecisionHigh     Precision = "high"
	PrecisionMedium   Precision = "medium"
)

// Rank orders severities: Error 3, Warning 2, Note 1, anything else 0.
func (s Severity) Rank() int {
	switch s {
	case Error:
		return 3
	case Warning:
		return 2
	case Note:
		return 1
	default:
		return 0
	}
}

// Analyzer is one rule.
type Analyzer struct {
	// ID is stable and never reused: "EGR301".
	ID string
	// Name is the rule's name in kebab case: "unsteered-port".
	Name string
	Doc  Doc
	// Severity and SecuritySeverity are those of the worst finding the rule
	// makes; a finding may be milder. SecuritySeverity is GitHub's
	// (0.1 to 10), 0 for reachability gaps, which are no security findings.
	Severity         Severity
	SecuritySeverity float64
	// Precision is how many of the findings are to be expected to be true and of
	// use on input that is not one mesh alone; "" is [PrecisionHigh].
	Precision Precision
	// Run reports the findings of one mesh. Findings may come in any order.
	Run func(*Pass)
}

// Doc is the documentation of a rule. It feeds `egresslint explain`, the pages
// under docs/rules and the help in SARIF. Texts are Markdown.
type Doc struct {
	// Title is one sentence without a final period.
	Title string
	// What says when the rule reports, Why what that means for someone who
	// relies on the control.
	What string
	Why  string
	// Bad and Good are manifests (several documents each): the rule reports on
	// Bad and is silent on Good. Tests run them.
	Bad  string
	Good string
	// Fix says what to do.
	Fix string
	// Silent says when the rule does not report although it might seem to apply.
	Silent string
	// Sources are documents and files of Istio or Kubernetes.
	Sources []string
}

// Pass is the whole world of a rule while it runs.
type Pass struct {
	Analyzer *Analyzer
	Mesh     *model.Mesh
	// Reach answers for tuples and flows.
	Reach *reach.Reach
	// Report takes a finding. Rule, and Severity and SecuritySeverity where
	// they are zero, are filled in, and the guarantee of a Trace that lacks it.
	Report func(Finding)

	// network answers about network policies for all rules of a run.
	network *network
	// shared is what rules of one run have in common, nil outside of a run.
	shared *shared
	// ask waits for the next attempt of a loop, nil where a loop looks for its own.
	ask func(*inquiry) bool
}

// Finding is one thing to mend.
type Finding struct {
	Rule             *Analyzer
	Severity         Severity
	SecuritySeverity float64

	// Object and Field are the smallest node to edit. Where the finding is
	// about something that is not an object (a file that does not parse),
	// Object is nil and Position says where; Field then is of what About names.
	Object   *manifest.Object
	Field    string
	Position manifest.Position
	// About names, where Object is nil, the object that Position is in, as
	// "Kind namespace/name", "" if none can be told.
	About string

	// Message is one line: lower case, no final period, subject first, ending
	// in what to do; its first sentence stands alone.
	Message string
	// Label is what is written beside the caret, "" for nothing.
	Label string
	// Help says how to mend it, "" where the message does.
	Help string
	// Fix is the mend as text (a manifest or a changed fragment), "" if there
	// is no mechanical one.
	Fix string
	// Edits are the mend as changes of the input, all to be made together; nil
	// where there is no mechanical one.
	Edits []Edit

	// Workloads are the workloads concerned, as "namespace/name", sorted; the
	// message names a few and their number.
	Workloads []string
	// Related are places that prove the finding or take part in it.
	Related []Related
	// Flow and Trace are a witness: a request and what becomes of it.
	Flow  *flow.Flow
	Trace *flow.Trace

	// oneMesh: the finding rests on all of the input being one mesh, as all
	// findings of rules of PrecisionMedium do.
	oneMesh bool

	// Suppressed says why the finding is not to be shown, nil if it is.
	Suppressed *Suppression
}

// Edit is a change of the document that holds an object.
type Edit struct {
	Object *manifest.Object
	// Field is a scalar whose place Text takes, or an item of a list, which is
	// deleted where Text is "". If it is "", Text is a document to put behind
	// that of Object.
	Field string
	// Text is the YAML to write, quotes included where the value needs them.
	Text string
}

// Related is a place that has to do with a finding.
type Related struct {
	Object  *manifest.Object
	Field   string
	Message string
}

// Place returns where the finding is.
func (f *Finding) Place() manifest.Position {
	if f.Object == nil {
		return f.Position
	}
	return f.Object.At(f.Field)
}

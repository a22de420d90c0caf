package analyzers

import (
	"strings"
)

// policyFaults lists, as explainedBy does, the rules about what is wrong with a
// policy itself for those about what comes of it.
var policyFaults = map[string][]string{
	"EGR417": {"EGR416"},
	"EGR809": {"EGR404", "EGR406", "EGR409", "EGR411", "EGR415", "EGR416"},
}

// sameMatter are pairs of rules that see one fault from two sides: at one place
// the graver finding is told, that of the second rule where they are alike.
var sameMatter = map[string]string{"EGR313": "EGR304"}

// explains reports whether a finding, at the place of another or at a part of what is
// there, says why there is the other.
func explains(cause, f *Finding) bool {
	if cause.Rule == nil || f.Object == nil || cause.Object != f.Object {
		return false
	}
	if part, ok := strings.CutPrefix(cause.Field, f.Field); !ok || part != "" && part[0] != '[' && part[0] != '.' {
		return false
	}
	return contains(explainedBy[f.Rule.ID], cause.Rule.ID) || contains(policyFaults[f.Rule.ID], cause.Rule.ID) ||
		sameMatter[f.Rule.ID] == cause.Rule.ID && cause.Severity.Rank() >= f.Severity.Rank() ||
		sameMatter[cause.Rule.ID] == f.Rule.ID && cause.Severity.Rank() > f.Severity.Rank()
}

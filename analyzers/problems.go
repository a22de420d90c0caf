package analyzers

import (
	"slices"

	"github.com/egresslint/egresslint/model/manifest"
)

// reportProblems turns the problems of some kinds into findings. What could not
// be read must be seen in every format: a file that breaks in a pull request must
// not pass because all others are fine.
func reportProblems(p *Pass, label string, kinds ...manifest.ProblemKind) {
	for _, x := range p.Mesh.Problems {
		if slices.Contains(kinds, x.Kind) {
			p.Report(Finding{Position: x.Position, About: x.Object, Message: x.Message, Help: x.Help, Label: label})
		}
	}
}

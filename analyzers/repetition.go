package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// repetitions are the kinds of problems that are about objects that are defined
// again.
var repetitions = []manifest.ProblemKind{manifest.Conflict, manifest.Variant, manifest.Duplicate}

// repetition is what documents of one directory define that others, of the same
// or another one, define again.
type repetition struct {
	dir, other string
	problems   []manifest.Problem
}

// reportAgain reports each pair of directories, or all at once where there are
// many: then the input is no mesh but a collection of alternatives, such as the
// steps of a tutorial or several environments, and one word says so.
func reportAgain(p *Pass, kind manifest.ProblemKind, list []*repetition, where string) {
	severity, what := Note, "with the same content"
	switch kind {
	case manifest.Conflict:
		severity, what = Warning, "with different content: the last count"
	case manifest.Variant:
		what = "with differences that bear on nothing here: the last count"
	}
	if len(list) > maxNamed {
		var all []manifest.Problem
		dirs := map[string]bool{}
		for _, r := range list {
			all = append(all, r.problems...)
			dirs[r.dir] = true
		}
		names := objectsOf(all)
		subject := counted(len(names), "object") + " of"
		if len(names) == 1 {
			subject = names[0] + " of"
		}
		if len(dirs) > 1 {
			subject += fmt.Sprintf(" %d directories", len(dirs))
		} else {
			subject += " " + list[0].dir
		}
		message := fmt.Sprintf("%s are defined again in %s, %s (%s)", subject, where, what, upTo3(names))
		if len(names) == 1 {
			message = fmt.Sprintf("%s is defined again in %s, %s", subject, where, strings.Replace(what, "last count", "last counts", 1))
		}
		p.Report(Finding{Severity: severity, Position: all[0].Position, Label: "the first of them", Message: message,
			Help: "give the directories of one mesh only; " + placesOf(all)})
		return
	}
	for _, r := range list {
		if len(r.problems) <= maxNamed {
			for _, x := range r.problems {
				p.Report(Finding{Severity: severity, Position: x.Position, Message: x.Message, Help: x.Help, Label: "defined again"})
			}
			continue
		}
		p.Report(Finding{Severity: severity, Position: r.problems[0].Position, Message: r.message(what), Help: r.problems[0].Help + "; " + placesOf(r.problems), Label: "the first of them"})
	}
}

// message words what several objects of a directory have in common: they are
// two versions of one application, or two meshes.
func (r *repetition) message(what string) string {
	where := "in " + r.other
	if r.dir == r.other {
		where = "in the same directory"
	}
	names := objectsOf(r.problems)
	if len(names) == 1 {
		return fmt.Sprintf("%s of %s is defined again %d times %s, %s", names[0], r.dir, len(r.problems), where, strings.Replace(what, "last count", "last counts", 1))
	}
	return fmt.Sprintf("%s of %s are defined again %s, %s (%s)", counted(len(names), "object"), r.dir, where, what, upTo3(names))
}

// objectsOf names each object once, though it may be defined many times.
func objectsOf(problems []manifest.Problem) []string {
	var names []string
	seen := map[string]bool{}
	for _, x := range problems {
		if !seen[x.Object] {
			seen[x.Object] = true
			names = append(names, x.Object)
		}
	}
	return names
}

// placesOf says where the first few of the definitions stand.
func placesOf(problems []manifest.Problem) string {
	const most = 10
	var places []string
	for _, x := range problems[:min(len(problems), most)] {
		places = append(places, fmt.Sprintf("%s and %s", x.Position, x.Other))
	}
	text := "defined in " + strings.Join(places, ", in ")
	if more := len(problems) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

package analyzers

import (
	"fmt"
	"path"
	"slices"
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

// reportAgain reports each object that is defined again, or all at once where
// there are many: then the input is no mesh but two, or a collection of
// alternatives, such as the steps of a tutorial or several environments, and one
// word says so.
func reportAgain(p *Pass, severity Severity, what string, all []manifest.Problem) {
	if len(all) <= maxNamed {
		for _, name := range objectsOf(all) {
			of := slices.DeleteFunc(slices.Clone(all), func(x manifest.Problem) bool { return x.Object != name })
			f := Finding{Severity: severity, Position: of[0].Position, About: name, Help: of[0].Help, Label: "defined again"}
			f.Message = fmt.Sprintf("%s is defined again in %s, %s", name, of[0].Other, ofOne(what))
			if len(of) > 1 {
				f.Message = fmt.Sprintf("%s is defined again %d times, %s", name, len(of), ofOne(what))
				f.Help, f.Label = "keep one of them; "+placesOf(of), "the first of them"
			}
			p.Report(f)
		}
		return
	}
	var pairs []*repetition
	dirs := map[string]bool{}
	for _, x := range all {
		dir, other := path.Dir(x.Position.File), path.Dir(x.Other.File)
		dirs[dir], dirs[other] = true, true
		i := slices.IndexFunc(pairs, func(r *repetition) bool { return r.dir == dir && r.other == other })
		if i < 0 {
			i = len(pairs)
			pairs = append(pairs, &repetition{dir: dir, other: other})
		}
		pairs[i].problems = append(pairs[i].problems, x)
	}
	f := Finding{Severity: severity, Position: all[0].Position, Label: "the first of them"}
	if len(pairs) == 1 {
		f.Message, f.Help = pairs[0].message(what), all[0].Help+"; "+placesOf(all)
		p.Report(f)
		return
	}
	names := objectsOf(all)
	f.Help = "give the directories of one mesh only; " + placesOf(all)
	if len(names) == 1 {
		f.About = names[0]
		f.Message = fmt.Sprintf("%s is defined again %d times in %d directories, %s", names[0], len(all), len(dirs), ofOne(what))
	} else {
		f.Message = fmt.Sprintf("%s of %d directories are defined again, %s (%s)", counted(len(names), "object"), len(dirs), what, upTo3(names))
	}
	p.Report(f)
}

// severalMeshes reports whether directories contradict each other in so many
// objects that they are hardly of one mesh.
func severalMeshes(p *Pass) bool {
	again, _ := repeated(p)
	apart := 0
	for _, x := range again[manifest.Conflict] {
		if path.Dir(x.Position.File) != path.Dir(x.Other.File) {
			apart++
		}
	}
	return apart > maxNamed
}

// lessen makes notes of the warnings that rest on all of the input being one mesh,
// where a warning says that it hardly is: what one mesh wants and what another
// does go together by accident.
func lessen(findings []Finding) {
	for i := range findings {
		if f := &findings[i]; (f.oneMesh || f.Rule.Precision == PrecisionMedium) && f.Rule != duplicateObject && f.Severity == Warning {
			f.Severity, f.SecuritySeverity = Note, 0
			f.Help = strings.TrimPrefix(f.Help+"; a note only, because the input is hardly one mesh (EGR013)", "; ")
		}
	}
}

// ofOne says of one object what is said of several.
func ofOne(what string) string { return strings.Replace(what, "last count", "last counts", 1) }

// message words what several objects of a directory have in common: they are
// two versions of one application, or two meshes.
func (r *repetition) message(what string) string {
	where := "in " + r.other
	if r.dir == r.other {
		where = "in the same directory"
	}
	names := objectsOf(r.problems)
	if len(names) == 1 {
		return fmt.Sprintf("%s of %s is defined again %d times %s, %s", names[0], r.dir, len(r.problems), where, ofOne(what))
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

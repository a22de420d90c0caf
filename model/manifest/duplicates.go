package manifest

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"path"
	"regexp"
	"slices"
	"strings"
)

// identity is what makes two objects the same one; the version of the API does
// not count.
type identity struct{ group, kind, namespace, name string }

func (o *Object) identity() identity {
	group := o.Group()
	if group == "extensions" { // the same objects, served under a second name until Kubernetes 1.22
		group = movedTo[o.Kind]
	}
	return identity{group, o.Kind, o.Namespace, o.Name}
}

// movedTo are the groups of what the group extensions once had.
var movedTo = map[string]string{
	"Deployment": "apps", "DaemonSet": "apps", "ReplicaSet": "apps",
	"NetworkPolicy": "networking.k8s.io", "Ingress": "networking.k8s.io", "PodSecurityPolicy": "policy",
}

// unify keeps of each object the last, as applying the files in order would,
// and reports the others. What the name of its file says to be a patch takes the
// place of no object.
func (l *loader) unify() {
	s := l.set
	if !l.repeated() {
		return
	}
	last := make(map[identity]*Object, len(s.Objects))
	for _, o := range s.Objects {
		if o.Name == "" || o.generated {
			continue
		}
		if before := last[o.identity()]; before == nil || before.isPatch() || !o.isPatch() {
			last[o.identity()] = o
		}
	}
	contents := map[*Object]definition{} // of the last ones
	s.Objects = slices.DeleteFunc(s.Objects, func(o *Object) bool {
		wins := last[o.identity()]
		if wins == nil || wins == o || o.Name == "" || o.generated {
			return false
		}
		if o.sameDocument(wins) {
			return true
		}
		if o.isPatch() {
			s.Problems = append(s.Problems, patchOf(o, wins))
			return true
		}
		other, known := contents[wins]
		if !known {
			other = l.definition(wins)
			contents[wins] = other
		}
		s.Problems = append(s.Problems, duplicate(o, wins, l.definition(o).compare(other)))
		return true
	})
}

// repeated reports whether an object comes twice, or perhaps does: identities are
// compared by their hashes, which take little memory.
func (l *loader) repeated() bool {
	seen := make(map[uint64]struct{}, len(l.set.Objects))
	for _, o := range l.set.Objects {
		if o.Name == "" || o.generated {
			continue
		}
		hash := maphash.Comparable(l.store.seed, o.identity())
		if _, again := seen[hash]; again {
			return true
		}
		seen[hash] = struct{}{}
	}
	return false
}

// patchPattern matches the names that files of patches have.
var patchPattern = regexp.MustCompile(`(?i)(^|[-_.])patch(es)?([-_.]|$)`)

// isPatch reports whether an object's file, or its directory, is named for
// patches.
func (o *Object) isPatch() bool {
	file := o.source.file.shown
	dir := path.Base(path.Dir(file))
	return patchPattern.MatchString(path.Base(file)) || dir == "patches" || dir == "patch"
}

// patchOf reports that an object is left out because another one is what it is to
// be merged into.
func patchOf(o, whole *Object) Problem {
	return Problem{
		Kind: Unrendered, Position: o.At(""), Object: o.String(),
		Message: fmt.Sprintf("%s lies among patches and is taken for one of the %s in %s: left out", o, o.Kind, whole.At("")),
		Help:    "give the kustomization that applies it, or the output of kustomize build",
	}
}

// sameDocument reports whether two objects were made of one document that was
// read for several namespaces: one that names its own, or has none.
func (o *Object) sameDocument(p *Object) bool {
	a, b := o.source, p.source
	return a.file == b.file && a.off == b.off && a.document == b.document && slices.Equal(a.path(), b.path())
}

// duplicate reports that an object comes again later.
func duplicate(first, last *Object, kind ProblemKind) Problem {
	at, again := first.At(""), last.At("")
	p := Problem{Kind: kind, Position: at, Other: again, Object: first.String(), Help: "keep one of them"}
	switch kind {
	case Duplicate:
		p.Message = fmt.Sprintf("%s is defined again in %s, with the same content", first, again)
	case Variant:
		p.Message = fmt.Sprintf("%s is defined again in %s, with differences that bear on nothing here: the last counts", first, again)
	default:
		p.Message = fmt.Sprintf("%s is defined again in %s, with different content: the last counts", first, again)
		if a, b, ok := apart(at.File, again.File); ok {
			p.Help = fmt.Sprintf("keep one of them; if %s and %s are of different meshes, run them apart: egresslint %s and egresslint %s", a, b, a, b)
		}
	}
	return p
}

// apart finds the directories in which the paths of two files part; ok is false
// if they lie in the same directory, or one's directory in the other's.
func apart(a, b string) (dirA, dirB string, ok bool) {
	if a == stdinName || b == stdinName {
		return "", "", false
	}
	as, bs := strings.Split(path.Dir(a), "/"), strings.Split(path.Dir(b), "/")
	for i := 0; i < len(as) && i < len(bs); i++ {
		if as[i] != bs[i] {
			return shell(path.Join(as[:i+1]...)), shell(path.Join(bs[:i+1]...)), true
		}
	}
	return "", "", false
}

// definition is an object without what the place and way of its definition make
// different, as JSON; essence is what of it counts.
type definition struct{ whole, essence string }

// compare tells in what two definitions differ.
func (d definition) compare(other definition) ProblemKind {
	switch {
	case d.whole == other.whole:
		return Duplicate
	case d.essence == other.essence:
		return Variant
	default:
		return Conflict
	}
}

// definition reads an object again. Formatting, comments, the version of the API, a
// namespace that is given elsewhere, and what only a server writes do not count.
func (l *loader) definition(o *Object) definition {
	s := o.source
	s.file.store.mu.Lock()
	t := s.tree()
	s.file.store.mu.Unlock()
	unlike := definition{o.At("").String(), o.At("").String()}
	if t == nil {
		return unlike
	}
	b, err := t.toJSON(t.root)
	var object map[string]any
	if err != nil || json.Unmarshal(b, &object) != nil {
		return unlike
	}
	for _, field := range []string{"apiVersion", "status"} {
		delete(object, field)
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		for _, field := range []string{"namespace", "creationTimestamp", "resourceVersion", "uid", "generation", "managedFields", "selfLink"} {
			delete(metadata, field)
		}
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
			if len(annotations) == 0 {
				delete(metadata, "annotations")
			}
		}
	}
	whole, _ := json.Marshal(object) // what was JSON is JSON
	d := definition{string(whole), string(whole)}
	if l.opts.Essence != nil {
		essence, _ := json.Marshal(l.opts.Essence(o, object))
		d.essence = string(essence)
	}
	return d
}

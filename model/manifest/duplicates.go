package manifest

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// identity is what makes two objects the same one; the version of the API does
// not count.
type identity struct{ group, kind, namespace, name string }

func (o *Object) identity() identity { return identity{o.Group(), o.Kind, o.Namespace, o.Name} }

// unify keeps of each object the last, as applying the files in order would,
// and reports the others.
func (l *loader) unify() {
	s := l.set
	last := make(map[identity]*Object, len(s.Objects))
	for _, o := range s.Objects {
		if o.Name != "" && !o.generated {
			last[o.identity()] = o
		}
	}
	if len(last) == len(s.Objects) {
		return
	}
	contents := map[*Object]string{} // of the last ones
	s.Objects = slices.DeleteFunc(s.Objects, func(o *Object) bool {
		wins := last[o.identity()]
		if wins == nil || wins == o || o.Name == "" || o.generated {
			return false
		}
		if !o.sameDocument(wins) {
			if contents[wins] == "" {
				contents[wins] = wins.content()
			}
			s.Problems = append(s.Problems, duplicate(o, wins, o.content() == contents[wins]))
		}
		return true
	})
}

// sameDocument reports whether two objects were made of one document that was
// read for several namespaces: one that names its own, or has none.
func (o *Object) sameDocument(p *Object) bool {
	a, b := o.source, p.source
	return a.file == b.file && a.piece.off == b.piece.off && a.document == b.document && slices.Equal(a.items, b.items)
}

// duplicate reports that an object comes again later.
func duplicate(first, last *Object, same bool) Problem {
	at, again := first.At(""), last.At("")
	p := Problem{Position: at, Other: again, Object: first.String()}
	if same {
		p.Kind = Duplicate
		p.Message = fmt.Sprintf("%s is defined again in %s, with the same content", first, again)
		p.Help = "keep one of them"
		return p
	}
	p.Kind = Conflict
	p.Message = fmt.Sprintf("%s is defined again in %s, with different content: the last counts", first, again)
	p.Help = "keep one of them"
	if a, b, ok := apart(at.File, again.File); ok {
		p.Message += fmt.Sprintf("; %s and %s probably belong to different meshes", a, b)
		p.Help = fmt.Sprintf("run them apart: egresslint %s and egresslint %s", a, b)
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

// content is the object without what the place and way of its definition make
// different: formatting, comments, the version of the API, a namespace that is
// given elsewhere, and what only a server writes.
func (o *Object) content() string {
	s := o.source
	s.store.mu.Lock()
	t := s.tree()
	s.store.mu.Unlock()
	if t == nil {
		return o.At("").String() // like nothing else
	}
	b, err := t.toJSON(t.root)
	var object map[string]any
	if err != nil || json.Unmarshal(b, &object) != nil {
		return o.At("").String()
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
	b, _ = json.Marshal(object) // what was JSON is JSON
	return string(b)
}

// Package shrink reduces a mesh to the few objects and fields that a property
// of it needs.
package shrink

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/conformance/generate"
)

// Minimal removes objects, then fields, then items of lists, as long as holds
// is true of what is left. The result holds, and nothing single can be removed
// from it, unless most calls of holds were made before: then it is what was
// reached. holds must be true of objects; they are not changed.
func Minimal(objects []generate.Object, holds func([]generate.Object) bool, most int) []generate.Object {
	s := &search{holds: holds, left: most}
	for {
		before := size(objects)
		objects = s.dropObjects(objects)
		objects = s.dropFields(objects)
		if s.left <= 0 || size(objects) == before {
			return objects
		}
	}
}

type search struct {
	holds func([]generate.Object) bool
	left  int
}

func (s *search) try(objects []generate.Object) bool {
	if s.left <= 0 {
		return false
	}
	s.left--
	return s.holds(objects)
}

// dropObjects removes runs of objects, long ones first.
func (s *search) dropObjects(objects []generate.Object) []generate.Object {
	for length := max(1, len(objects)/2); length >= 1; length /= 2 {
		for start := 0; start < len(objects); {
			end := min(start+length, len(objects))
			rest := slices.Concat(objects[:start], objects[end:])
			if s.try(rest) {
				objects = rest
			} else {
				start = end
			}
		}
	}
	return objects
}

// dropFields removes keys of maps and items of lists, outer ones first.
func (s *search) dropFields(objects []generate.Object) []generate.Object {
	for i := range objects {
		paths := [][]string{nil}
		for len(paths) > 0 {
			path := paths[0]
			paths = paths[1:]
			for _, key := range keys(at(objects[i], path)) {
				child := append(slices.Clone(path), key)
				if fixed(child) {
					paths = append(paths, child)
					continue
				}
				reduced := remove(objects[i], child)
				candidate := slices.Clone(objects)
				candidate[i] = reduced
				if s.try(candidate) {
					objects = candidate
				} else {
					paths = append(paths, child)
				}
			}
		}
	}
	return objects
}

// fixed are the fields without which a document is not an object.
func fixed(path []string) bool {
	switch strings.Join(path, ".") {
	case "apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace":
		return true
	default:
		return false
	}
}

// keys are those of a map, sorted, or the positions of a list, last first, so
// that removing one leaves the others where they are.
func keys(value any) []string {
	switch v := value.(type) {
	case generate.Object:
		return slices.Sorted(maps.Keys(v))
	case map[string]any:
		return slices.Sorted(maps.Keys(v))
	case []any:
		var out []string
		for i := len(v) - 1; i >= 0; i-- {
			out = append(out, strconv.Itoa(i))
		}
		return out
	default:
		return nil
	}
}

func at(value any, path []string) any {
	for _, key := range path {
		switch v := value.(type) {
		case generate.Object:
			value = v[key]
		case map[string]any:
			value = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// remove returns a copy without what path names.
func remove(object generate.Object, path []string) generate.Object {
	return generate.Object(without(map[string]any(object), path).(map[string]any))
}

func without(value any, path []string) any {
	switch v := value.(type) {
	case map[string]any:
		c := maps.Clone(v)
		if len(path) == 1 {
			delete(c, path[0])
		} else {
			c[path[0]] = without(v[path[0]], path[1:])
		}
		return c
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(v) {
			return v
		}
		c := slices.Clone(v)
		if len(path) == 1 {
			return slices.Delete(c, i, i+1)
		}
		c[i] = without(v[i], path[1:])
		return c
	default:
		return value
	}
}

func size(objects []generate.Object) int { return len(generate.Stream(objects)) }

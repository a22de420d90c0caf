package shrink

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
)

func TestMinimalKeepsWhatTheProblemNeeds(t *testing.T) {
	object := func(kind string, spec map[string]any) generate.Object {
		return generate.Object{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "x", "namespace": "y", "labels": map[string]any{"a": "b"}}, "spec": spec}
	}
	objects := []generate.Object{
		object("Other", map[string]any{"x": 1}),
		object("Culprit", map[string]any{"list": []any{"one", "two", map[string]any{"deep": "needle", "more": "hay"}}, "hay": true}),
		object("Other", nil), object("Other", nil), object("Other", nil),
		object("Witness", map[string]any{"hay": 2}),
	}
	calls := 0
	minimal := Minimal(objects, func(o []generate.Object) bool {
		calls++
		text := string(generate.Stream(o))
		return strings.Contains(text, "needle") && strings.Contains(text, "Witness")
	}, 1000)
	text := string(generate.Stream(minimal))
	if len(minimal) != 2 || strings.Contains(text, "hay") || strings.Contains(text, "one") || strings.Contains(text, "labels") {
		t.Errorf("not minimal:\n%s", text)
	}
	if !strings.Contains(string(generate.Stream(objects)), "hay") {
		t.Error("the objects that were given were changed")
	}
	if calls > 200 {
		t.Errorf("%d attempts for %d objects", calls, len(objects))
	}
}

func TestMinimalStopsWhenItHasTriedEnough(t *testing.T) {
	var objects []generate.Object
	for range 50 {
		objects = append(objects, generate.Object{"kind": "A"})
	}
	calls := 0
	Minimal(objects, func([]generate.Object) bool { calls++; return false }, 10)
	if calls > 10 {
		t.Errorf("tried %d times, 10 were allowed", calls)
	}
}

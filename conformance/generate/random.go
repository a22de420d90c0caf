package generate

import "fmt"

// chance is true in p of 1 cases.
func (w *world) chance(p float64) bool { return w.Float64() < p }

// between is a number from low to high, both included.
func (w *world) between(low, high int) int { return low + w.IntN(high-low+1) }

// pick returns one of several values, all as likely; repeat one to favour it.
func pick[T any](w *world, values ...T) T { return values[w.IntN(len(values))] }

// some returns one to most of the values, each at most once, in their order.
func some[T any](w *world, most int, values ...T) []T {
	want := w.between(1, min(most, len(values)))
	chosen := map[int]bool{}
	for _, i := range w.Perm(len(values))[:want] {
		chosen[i] = true
	}
	var out []T
	for i, v := range values {
		if chosen[i] {
			out = append(out, v)
		}
	}
	return out
}

// name makes an object's name, unique in the mesh most of the time; two objects
// of one kind in different namespaces may share one.
func (w *world) name(prefix string) string {
	w.names[prefix]++
	// The order of names must not follow the order in which objects are made.
	return fmt.Sprintf("%s-%c%d", prefix, 'a'+rune(w.IntN(26)), w.names[prefix])
}

// object adds a manifest. spec may be nil.
func (w *world) object(apiVersion, kind, namespace, name string, spec map[string]any) Object {
	meta := map[string]any{"name": name, "namespace": namespace}
	o := Object{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	if spec != nil {
		o["spec"] = spec
	}
	w.objects = append(w.objects, o)
	return o
}

// istio adds an object of Istio, sometimes with an age.
func (w *world) istio(group, kind, namespace, name string, spec map[string]any) Object {
	versions := map[string][]string{
		"networking": {"networking.istio.io/v1", "networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"},
		"security":   {"security.istio.io/v1", "security.istio.io/v1", "security.istio.io/v1beta1"},
	}[group]
	o := w.object(pick(w, versions...), kind, namespace, name, spec)
	if w.chance(0.3) {
		o["metadata"].(map[string]any)["creationTimestamp"] = fmt.Sprintf("2021-03-%02dT10:00:00Z", w.between(1, 9))
	}
	return o
}

func (w *world) namespace() string { return pick(w, w.namespaces...) }

// exportTo is a value of the field for an object of a namespace, nil for none.
func (w *world) exportTo(spec map[string]any, private float64) {
	if w.tidy && w.chance(0.7) {
		return
	}
	switch {
	case w.chance(private):
		spec["exportTo"] = []any{"."}
	case w.chance(0.1):
		spec["exportTo"] = []any{"*"}
	case w.chance(0.08):
		spec["exportTo"] = []any{w.namespace()}
	case w.chance(0.05):
		spec["exportTo"] = anys(some(w, 3, w.namespaces...))
	}
}

func anys[T any](values []T) []any {
	out := make([]any, 0, len(values))
	for _, v := range values {
		out = append(out, v)
	}
	return out
}

func stringMap(pairs ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

package model

import (
	"maps"
	"slices"
	"sync"
)

// OpenLabel is a label that pods have, or may have, when they run, and whose
// value their manifest does not tell: a controller, the injector, Kubernetes or
// istiod sets it.
type OpenLabel struct {
	// Absent: the pods may do without it.
	Absent bool
	// Values are the values that it may have. Where there are none it may have
	// any for which Fits says so, or any at all if that is nil.
	Values []string
	Fits   func(value string) bool
	// Proxies: only istiod adds it, to what it knows of a pod, so that no
	// selector of Kubernetes sees it.
	Proxies bool
	// Why completes "… is not in the manifests: ".
	Why string
}

// May reports whether the label may have a value.
func (l *OpenLabel) May(value string) bool {
	switch {
	case len(l.Values) > 0:
		return slices.Contains(l.Values, value)
	case l.Fits != nil:
		return l.Fits(value)
	default:
		return true
	}
}

// Complete gives the workloads the labels that their pods have when they run.
// labels is asked once for each, before any of them is changed; what a manifest
// says itself stays. It happens once in the life of a mesh and of a workload,
// whoever asks first: later calls return when it is done.
func (m *Mesh) Complete(labels func(*Workload) (known map[string]string, open map[string]OpenLabel)) {
	once := m.completion
	if once == nil {
		once = &sync.Once{} // a mesh that Build did not make
	}
	once.Do(func() {
		type set struct {
			known map[string]string
			open  map[string]OpenLabel
		}
		sets := make([]set, len(m.Workloads))
		for i, w := range m.Workloads {
			if w.added == nil {
				sets[i].known, sets[i].open = labels(w)
			}
		}
		for i, w := range m.Workloads {
			if w.added == nil {
				w.complete(sets[i].known, sets[i].open)
			}
		}
	})
}

func (w *Workload) complete(known map[string]string, open map[string]OpenLabel) {
	all := maps.Clone(w.Labels)
	if all == nil {
		all = map[string]string{}
	}
	w.added = map[string]bool{}
	for k, v := range known {
		if _, ok := all[k]; !ok {
			all[k] = v
			w.added[k] = true
		}
	}
	w.Open = map[string]OpenLabel{}
	for k, l := range open {
		if _, ok := all[k]; !ok {
			w.Open[k] = l
		}
	}
	w.Labels = all
}

// AtCreation are the labels that the pods have when they are created: without
// those that [Mesh.Complete] gave them, which admission adds later.
func (w *Workload) AtCreation() map[string]string {
	if len(w.added) == 0 {
		return w.Labels
	}
	out := maps.Clone(w.Labels)
	for k := range w.added {
		delete(out, k)
	}
	return out
}

// Supposing returns the mesh with the labels that its pods have if open ones
// have certain values; a pod whose label cannot have that value stays as it is.
// The answer shares everything else with m.
func (m *Mesh) Supposing(values map[string]string) *Mesh {
	out := *m
	out.Workloads = make([]*Workload, len(m.Workloads))
	for i, w := range m.Workloads {
		out.Workloads[i] = w.supposing(values)
	}
	return &out
}

func (w *Workload) supposing(values map[string]string) *Workload {
	c := *w
	for k, v := range values {
		open, ok := w.Open[k]
		if !ok || !open.May(v) {
			continue
		}
		c.Labels = mergeMaps(c.Labels, map[string]string{k: v})
		c.added = mergeMaps(c.added, map[string]bool{k: true})
	}
	return &c
}

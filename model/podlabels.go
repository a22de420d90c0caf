package model

import (
	"maps"
	"slices"
	"strings"
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
	// Text is the placeholder that stands for the value in the manifest, which is among
	// [Workload.Labels] as it stands; "" for others.
	Text string
	// Why completes "… is not in the manifests: ".
	Why string
}

// May reports whether the label may have a value.
func (l *OpenLabel) May(value string) bool {
	switch {
	case len(l.Values) > 0:
		return contains(l.Values, value)
	case l.Fits != nil:
		return l.Fits(value)
	default:
		return true
	}
}

// Complete gives the workloads the labels that their pods have when they run.
// labels is asked once for each, before any of them is changed, and puts them into
// empty maps, which it must not keep; what a manifest says itself stays. It happens
// once in the life of a mesh and of a workload, whoever asks first: later calls
// return when it is done.
func (m *Mesh) Complete(labels func(w *Workload, known map[string]string, open map[string]OpenLabel)) {
	once := m.completion
	if once == nil {
		once = &sync.Once{} // a mesh that Build did not make
	}
	once.Do(func() {
		c := completion{known: map[string]string{}, open: map[string]OpenLabel{}}
		completed := make([]Workload, len(m.Workloads))
		for i, w := range m.Workloads {
			if w.added != nil {
				continue
			}
			clear(c.known)
			clear(c.open)
			labels(w, c.known, c.open)
			completed[i].Labels, completed[i].added, completed[i].Open = c.of(w)
		}
		for i, w := range m.Workloads {
			if w.added != nil {
				continue
			}
			w.Labels, w.added, w.Open = completed[i].Labels, completed[i].added, completed[i].Open
		}
	})
}

// completion completes one workload after the other. Most of a mesh have the same
// open labels: those share them.
type completion struct {
	known map[string]string
	open  map[string]OpenLabel
	opens []map[string]OpenLabel
	added []map[string]bool
}

// maxOpens bounds how many sets of open labels are compared.
const maxOpens = 32

func (c *completion) of(w *Workload) (labels map[string]string, added map[string]bool, open map[string]OpenLabel) {
	labels = make(map[string]string, len(w.Labels)+len(c.known))
	maps.Copy(labels, w.Labels)
	for k := range c.known {
		if _, ok := w.Labels[k]; ok {
			delete(c.known, k)
		}
	}
	maps.Copy(labels, c.known)
	for k, v := range labels {
		delete(c.open, k)
		if text := PlaceholderIn(v); text != "" {
			pattern := newNamePattern(v)
			c.open[k] = OpenLabel{Fits: func(value string) bool { return pattern.matches(strings.ToLower(value)) }, Text: text, Why: "its value is the placeholder " + text}
		}
	}
	added = c.sameAdded()
	for _, other := range c.opens {
		if maps.EqualFunc(other, c.open, OpenLabel.equal) {
			return labels, added, other
		}
	}
	open = maps.Clone(c.open)
	if len(c.opens) < maxOpens {
		c.opens = append(c.opens, open)
	}
	return labels, added, open
}

// sameAdded is the set of the keys of the labels that are known.
func (c *completion) sameAdded() map[string]bool {
	for _, other := range c.added {
		same := len(other) == len(c.known)
		for k := range c.known {
			same = same && other[k]
		}
		if same {
			return other
		}
	}
	added := make(map[string]bool, len(c.known))
	for k := range c.known {
		added[k] = true
	}
	if len(c.added) < maxOpens {
		c.added = append(c.added, added)
	}
	return added
}

// equal reports that two labels surely are the same.
func (l OpenLabel) equal(other OpenLabel) bool {
	return l.Absent == other.Absent && l.Proxies == other.Proxies && l.Text == other.Text && l.Why == other.Why && slices.Equal(l.Values, other.Values) &&
		l.Fits == nil && other.Fits == nil // functions cannot be compared
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
		if c.Labels = mergeMaps(c.Labels, map[string]string{k: v}); open.Text == "" {
			c.added = mergeMaps(c.added, map[string]bool{k: true})
		}
	}
	return &c
}

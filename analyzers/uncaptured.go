package analyzers

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// escape is one finding in the making: workloads whose controlled requests no
// proxy sees, all for one reason and with the same fate.
type escape struct {
	leak
	cause
	// places are where the cause stands, once each, in the order of the workloads.
	places []exclusion
}

// cause is why no proxy sees what a workload sends.
type cause struct {
	// why is a clause, todo what to do about it.
	why, todo string
	place     exclusion
}

// escapes gathers workloads by namespace (or the object to mend), cause and fate, in the order in which
// they come: a message that names several workloads has to hold for each.
type escapes struct {
	order []*escape
	of    map[string]*escape
}

// add takes in what gets around the controls of a workload and returns the
// finding that it belongs to, nil if there is nothing to report.
func (e *escapes) add(w *model.Workload, c cause, found leak) *escape {
	if !found.found() {
		return nil
	}
	home := w.Namespace
	if c.place.object != w.Object {
		home = c.place.object.String() // one place to mend, wherever the workloads are
	}
	key := strings.Join([]string{home, c.why, c.todo, found.signature()}, "\n")
	if e.of == nil {
		e.of = map[string]*escape{}
	}
	x := e.of[key]
	if x == nil {
		x = &escape{cause: c}
		e.of[key] = x
		e.order = append(e.order, x)
	}
	x.add(found, w)
	if !slices.Contains(x.places, c.place) {
		x.places = append(x.places, c.place)
	}
	return x
}

// signature is the same for leaks through which the same requests go.
func (l *leak) signature() string {
	var b strings.Builder
	for _, c := range l.requests() {
		fmt.Fprintf(&b, "%s:%d %s|", c.To.Host, c.To.Port, c.Request.Scheme)
	}
	fmt.Fprint(&b, len(l.open) > 0, l.more)
	return b.String()
}

// finding fills in the place, the other places, and what the requests prove.
func (x *escape) finding(p *Pass, f Finding) Finding {
	f.Object, f.Field = x.place.object, x.place.field
	f = x.leak.finding(p, f)
	for i, other := range x.places[1:] {
		if i == maxNamed {
			break
		}
		f.Related = append(f.Related, Related{other.object, other.field, "so does this one"})
	}
	return f
}

// meantToPass makes a note about workloads without a proxy a warning where the policies of
// an egress gateway let these very clients through: they are meant to go that way.
func (x *escape) meantToPass(in *intent, f Finding) Finding {
	if f.Severity != Note {
		return f
	}
	for _, g := range in.gateways {
		for _, w := range x.workloads {
			r := in.admitting(g.Workload, w)
			if r == nil {
				continue
			}
			f.Severity = Warning
			text := "; %[2]s means to let %[3]s pass through egress gateway %[1]s, around which they go"
			if len(x.open) == 0 {
				text = ", and they cannot go through egress gateway %s, where %s means to let %s pass"
			}
			f.Message += fmt.Sprintf(text, g.ID(), r, w.ID())
			f.Related = append(f.Related, Related{r.Policy.Object, fmt.Sprintf("spec.rules[%d]", r.Index), "names these clients"})
			return f
		}
	}
	return f
}

// admitting returns the first ALLOW rule for a gateway, or for what a waypoint of its
// namespace serves, that names the identity of a client, nil if there is none.
func (in *intent) admitting(pod, w *model.Workload) *authzRule {
	x := in.wantedBy(in.push)
	for _, list := range [][]int{x.somebody[w.Namespace], x.anybody} {
		for _, i := range list {
			if r := x.rules[i]; (in.inForce(r.Policy, pod) || r.Policy.Namespace == pod.Namespace && len(model.TargetRefs(r.Policy.Spec)) > 0) && in.names(r, w) {
				return &r
			}
		}
	}
	return nil
}

// subject names the workloads at the head of a message, with the verb: that for
// one, or that for several.
func (l *leak) subject(one, several string) string {
	if len(l.workloads) == 1 {
		return l.workloads[0].String() + " " + one
	}
	return upTo3(workloadIDs(l.workloads)) + " " + several
}

// without says what the controls lose: "REGISTRY_ONLY blocks nothing".
func (l *leak) without() string {
	for _, c := range l.requests() {
		if c.through() == "" {
			return "REGISTRY_ONLY blocks nothing"
		}
	}
	if l.requests()[0].Waypoint != nil {
		return "nothing goes through a waypoint"
	}
	return "no route to a gateway holds"
}

// leaves is what becomes of the requests.
func (l *leak) leaves() string {
	proxy := "a sidecar"
	if l.requests()[0].Waypoint != nil {
		proxy = "a proxy"
	}
	if len(l.open) == 0 {
		return "would go out without " + proxy
	}
	return "go out without " + proxy
}

// placeOf returns the first place that stands in a file, else the pod template of
// the workload: what a flag of the command line says has no place.
func placeOf(w *model.Workload, list []flow.Because) exclusion {
	for _, b := range list {
		if b.Object != nil && b.Object.At(b.Field).File != "" {
			return exclusion{b.Object, b.Field}
		}
	}
	return exclusion{w.Object, strings.TrimSuffix(w.Field(""), ".")}
}

// anyTrace accepts every trace.
func anyTrace(*flow.Trace) bool { return true }

// systemNamespace reports whether a namespace belongs to Kubernetes or to Istio
// itself: nobody means the mesh to control what these send.
func systemNamespace(p *Pass, namespace string) bool {
	switch {
	case strings.HasPrefix(namespace, "kube-"), strings.HasPrefix(namespace, "openshift-"):
		return true
	case contains([]string{"local-path-storage", "istio-system", "istio-operator", "istio-cni", p.Mesh.Config.GetRootNamespace()}, namespace):
		return true
	}
	for _, app := range []string{"istiod", "ztunnel", "istio-cni-node"} {
		if slices.ContainsFunc(p.labelled("app", app), func(w *model.Workload) bool { return w.Namespace == namespace }) {
			return true
		}
	}
	return false
}

// captureIf returns the proxy that a workload would have if its pod were other
// than it is.
func captureIf(p *Pass, w *model.Workload, edit func(*model.Workload, *corev1.PodSpec)) *capture.Capture {
	other, pod := *w, *w.Pod
	other.Labels, other.Annotations, other.Pod = copyOf(w.Labels), copyOf(w.Annotations), &pod
	edit(&other, &pod)
	return capture.Of(p.Mesh, p.Mesh.ConfigFor(&other), &other)
}

func copyOf(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

package capture

import (
	"fmt"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// The labels and annotations of injection.
const (
	injectKey    = "sidecar.istio.io/inject"
	injectionKey = model.InjectionLabel
	revisionKey  = model.RevisionLabel
	modeKey      = model.DataplaneModeLabel
	statusKey    = "sidecar.istio.io/status"
	templatesKey = "inject.istio.io/templates"
	// dnsCaptureKey turns ztunnel's DNS on or off for a pod.
	dnsCaptureKey = "ambient.istio.io/dns-capture"
)

// ignoredNamespaces never have sidecars (istio pkg/kube/inject/initializer.go).
var ignoredNamespaces = []string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}

// subject is the workload in question with what decides about it.
type subject struct {
	mesh   *model.Mesh
	config *model.MeshConfig
	w      *model.Workload
	ns     *model.Namespace

	// gate is the answer of gates, nil before somebody asks.
	gate *Capture
}

// injection decides which proxy a workload's pods have.
func (s *subject) injection() *Capture {
	w := s.w
	switch w.ProxyRole() {
	case model.Router:
		return &Capture{Mode: Router, Why: "it is a gateway", Because: []flow.Because{{Object: w.Object}}}
	case model.WaypointProxy:
		return &Capture{Mode: Waypoint, Why: "it is a waypoint", Because: []flow.Because{{Object: w.Object}}}
	case model.SidecarProxy:
		return s.ownProxy(s.gates())
	}
	if w.PodUnknown != "" {
		return &Capture{Mode: Undecided, Why: w.PodUnknown, Because: []flow.Because{{Object: w.Object}}}
	}
	if c := s.unfilled(); c != nil {
		return c
	}
	c := s.gates()
	switch c.Mode {
	case None:
		// A pod with a sidecar stays out of ambient mode; any other pod of the
		// namespace is enrolled.
		if a := s.ambient(); a != nil {
			a.Assumption = join(c.Assumption, a.Assumption)
			return a
		}
	case Sidecar:
		return s.injected(c)
	}
	return c
}

// unfilled recognises pods of which a placeholder decides whether they have a proxy, nil
// for all others. A placeholder for a revision asks for one, whichever.
func (s *subject) unfilled() *Capture {
	undecided := func(of, key, value string, from []flow.Because) *Capture {
		if text := model.PlaceholderIn(value); text != "" {
			return &Capture{Mode: Undecided, Tunnels: key == modeKey, Because: from,
				Why: fmt.Sprintf("%s %s=%s, and whether that means a proxy depends on what is filled in", of, key, text)}
		}
		return nil
	}
	for _, key := range []string{injectKey, modeKey} {
		if c := undecided("its pods are labelled", key, s.w.Labels[key], s.podLabel(key)); c != nil {
			return c
		}
	}
	for _, key := range []string{injectKey, dnsCaptureKey} {
		if c := undecided("its pods are annotated", key, s.w.Annotations[key], s.podAnnotation(key)); c != nil {
			return c
		}
	}
	for _, key := range []string{injectionKey, modeKey} {
		if c := undecided(fmt.Sprintf("namespace %s is labelled", s.ns.Name), key, s.ns.Labels[key], labelBecause(s.ns, key)); c != nil {
			return c
		}
	}
	return nil
}

// gates asks both parties of an injection: the webhook, which has to select the
// pod, and istiod's injector, which has to agree. The answer is the caller's own.
func (s *subject) gates() *Capture {
	if s.gate == nil {
		s.gate = s.webhook()
		if s.gate.Mode == Sidecar {
			if veto := s.injector(); veto != nil {
				s.gate = veto
			}
		}
		if off := s.config.Switch("INJECT_ENABLED"); off != nil && s.gate.Mode == Sidecar {
			s.gate = refused(fmt.Sprintf("istiod is started with %s, so that nobody answers the webhook", off), switchBecause(off)...)
		}
	}
	c := *s.gate
	return &c
}

// injected settles what becomes of a pod that both gates let through: which
// template it gets, and whether it starts at all.
func (s *subject) injected(c *Capture) *Capture {
	for _, check := range []func() *Capture{s.templates, s.annotations, s.plugin} {
		if other := check(); other != nil {
			other.Assumption = join(c.Assumption, other.Assumption)
			return other
		}
	}
	c.DNSCapture = s.dnsCapture()
	c.AutoAddresses = c.DNSCapture && s.autoAddresses()
	c.Assumption = join(c.Assumption, s.unwatched())
	return c
}

// refused is what is known of a pod that is never created or never starts: it
// sends nothing, but whoever repairs it decides what it will send.
func refused(why string, from ...flow.Because) *Capture {
	return &Capture{Mode: Undecided, Why: why, Because: from}
}

// namespaceOf returns the namespace of a workload; one that nothing declares is
// empty.
func namespaceOf(mesh *model.Mesh, w *model.Workload) *model.Namespace {
	if ns := mesh.Namespaces[w.Namespace]; ns != nil {
		return ns
	}
	return &model.Namespace{Name: w.Namespace}
}

func labelBecause(ns *model.Namespace, key string) []flow.Because {
	if ns.Object == nil {
		return nil
	}
	return []flow.Because{{Object: ns.Object, Field: "metadata.labels['" + key + "']"}}
}

func (s *subject) podLabel(key string) []flow.Because {
	return []flow.Because{because(s.w, "metadata.labels['"+key+"']")}
}

func (s *subject) podAnnotation(key string) []flow.Because {
	return []flow.Because{because(s.w, "metadata.annotations['"+key+"']")}
}

// join puts assumptions together.
//
//go:noinline
func join(a, b string) string {
	if a == "" || b == "" || a == b {
		return a + b
	}
	return a + "; " + b
}

// Assumption is the sentence about namespaces without Namespace object that
// verdicts name.
func Assumption(a model.InjectionAssumption) string {
	what := "not injected"
	if a.Injected {
		what = "injected"
	}
	s := "namespaces without a Namespace object are taken as " + what
	if a.Reason != "" {
		s += " " + a.Reason
	}
	return s
}

// unwatched is what the sidecars of a namespace rest on that istiod's
// discoverySelectors leave out. The webhooks have selectors of their own and
// inject there all the same, but istiod keeps the ConfigMap istio-ca-root-cert,
// which the sidecar mounts, only in namespaces that it watches
// (istio pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
func (s *subject) unwatched() string {
	if only := s.config.Setting("ISTIO_WATCH_NAMESPACE"); only != "" && only != s.ns.Name {
		return fmt.Sprintf("namespace %s is not the one that istiod watches (%s), and its pods are taken to start all the same: "+
			"istiod does not keep the ConfigMap istio-ca-root-cert there", s.ns.Name, s.config.Switch("ISTIO_WATCH_NAMESPACE"))
	}
	selectors := s.config.GetDiscoverySelectors()
	if len(selectors) == 0 || !s.ns.Declared {
		return ""
	}
	for _, selector := range selectors {
		if discovers(selector, s.ns.Labels) {
			return ""
		}
	}
	return fmt.Sprintf("namespace %s is outside istiod's discoverySelectors, and its pods are taken to start all the same: "+
		"istiod does not keep the ConfigMap istio-ca-root-cert there", s.ns.Name)
}

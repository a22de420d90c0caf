package capture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

const initContainer = "istio-init"

// ownProxy decides about a pod whose manifest has an istio-proxy container, as
// after istioctl kube-inject or where somebody changes the injected one. gates
// is what becomes of any pod with its labels.
func (s *subject) ownProxy(gates *Capture) *Capture {
	w := s.w
	container := w.ProxyContainer()
	const why = "its pod template holds an istio-proxy container"
	from := []flow.Because{because(w, s.proxyField())}
	switch {
	case gates.Mode == Sidecar:
		// The injector merges the container over its own.
		c := s.injected(gates)
		if c.Mode == Sidecar {
			c.Why, c.Because = why, from
		}
		return c
	case w.Pod.HostNetwork:
		return &Capture{Mode: None, Why: "its pods use the host's network, where nothing redirects to their proxy", Because: []flow.Because{because(w, "spec.hostNetwork")}}
	case container.Image == "auto":
		c := refused(fmt.Sprintf("%s with image \"auto\", which only the injector completes, and it does not: %s; its pods do not start", why, gates.Why), append(from, gates.Because...)...)
		c.Assumption = gates.Assumption
		return c
	}
	if s.initArgs() != nil || s.redirectedByPlugin() {
		if set := s.settings(); set.wrong != "" {
			return refused(set.wrong, set.wrongFrom...)
		}
		dns := s.ownDNSCapture()
		return &Capture{Mode: Sidecar, Why: why, Because: from, DNSCapture: dns, AutoAddresses: dns && s.autoAddresses()}
	}
	if gates.Mode == Undecided || gates.Assumption != "" || s.perhapsPlugin() {
		return &Capture{Mode: Undecided, Because: from, Assumption: gates.Assumption,
			Why: why + ", but no init container istio-init: nothing in the input says what redirects to it"}
	}
	return &Capture{Mode: None, Because: from, Why: why + ", but nothing redirects to it: it has no init container istio-init, and no webhook adds one (" + gates.Why + ")"}
}

// proxyField is where the manifest has the istio-proxy container.
func (s *subject) proxyField() string {
	for _, c := range s.w.Pod.Containers {
		if c.Name == model.ProxyContainer {
			return "spec.containers"
		}
	}
	return "spec.initContainers"
}

// perhapsPlugin reports whether the CNI plugin would redirect to the pod's
// proxy, were it there (istio cni/pkg/plugin/plugin.go doAddRun).
func (s *subject) perhapsPlugin() bool {
	w := s.w
	container := w.ProxyContainer()
	value, labelled := w.Labels[injectKey]
	if !labelled {
		value = w.Annotations[injectKey]
	}
	inject, err := strconv.ParseBool(value)
	disabled, _ := strconv.ParseBool(ownVariable(w, "DISABLE_ENVOY"))
	_, status := w.Annotations[statusKey]
	sidecar := len(container.Args) < 2 || container.Args[0] != "proxy" || container.Args[1] == "sidecar"
	return status && sidecar && (inject || err != nil) && !disabled && !contains(s.excludedNamespaces(), w.Namespace)
}

// redirectedByPlugin reports whether the CNI plugin redirects to the pod's
// proxy. A pod with istio-validation does not start where it does not.
func (s *subject) redirectedByPlugin() bool {
	validated := slices.ContainsFunc(initNames(s.w), func(name string) bool { return name == "istio-validation" })
	on, known := s.pluginInstalled()
	return s.perhapsPlugin() && (on || validated && !known)
}

func initNames(w *model.Workload) []string {
	var out []string
	for _, c := range w.Pod.InitContainers {
		out = append(out, c.Name)
	}
	return out
}

// ownVariable is a variable of the proxy container that the manifest has.
func ownVariable(w *model.Workload, name string) string {
	if c := w.ProxyContainer(); c != nil {
		for _, e := range c.Env {
			if e.Name == name {
				return e.Value
			}
		}
	}
	return ""
}

// ownDNSCapture reports whether a sidecar of the manifest itself answers the
// pod's name lookups.
func (s *subject) ownDNSCapture() bool {
	on, err := strconv.ParseBool(ownVariable(s.w, "ISTIO_META_DNS_CAPTURE"))
	return err == nil && on
}

// initArguments are those of the pod's own istio-init, which nothing else can
// change (istio tools/istio-iptables/pkg/cmd/root.go).
type initArguments struct {
	values map[string]string
	from   []flow.Because
}

// initFlags gives the short and the long flag for an annotation.
var initFlags = map[string][2]string{
	"includeOutboundIPRanges": {"i", "istio-service-cidr"},
	"excludeOutboundIPRanges": {"x", "istio-service-exclude-cidr"},
	"includeOutboundPorts":    {"q", "istio-outbound-ports"},
	"excludeOutboundPorts":    {"o", "istio-local-outbound-ports-exclude"},
	"excludeInterfaces":       {"c", "istio-exclude-interfaces"},
	"uid":                     {"u", "proxy-uid"},
	"gid":                     {"g", "proxy-gid"},
}

func (a *initArguments) text(name string) text {
	flags := initFlags[name]
	for _, f := range flags {
		if v, ok := a.values[f]; ok {
			return text{v, a.from, true, true}
		}
	}
	return text{from: a.from}
}

// initArgs returns the arguments of istio-init where the manifest has one and
// no webhook replaces it, nil otherwise.
func (s *subject) initArgs() *initArguments {
	if s.w.ProxyRole() != model.SidecarProxy || s.gated() {
		return nil
	}
	for i, c := range s.w.Pod.InitContainers {
		if c.Name != initContainer {
			continue
		}
		out := &initArguments{map[string]string{}, []flow.Because{because(s.w, fmt.Sprintf("spec.initContainers[%d].args", i))}}
		args := slices.Concat(c.Command, c.Args)
		for j, arg := range args {
			if !strings.HasPrefix(arg, "-") {
				continue
			}
			name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if !joined && j+1 < len(args) {
				value = args[j+1]
			}
			out.values[name] = value
		}
		return out
	}
	return nil
}

// gated reports whether both gates let the workload's pods through.
func (s *subject) gated() bool { return s.gates().Mode == Sidecar }

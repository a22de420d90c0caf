package capture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/flow"
)

// ambient recognises pods of ambient mode, whose traffic ztunnel takes; nil for
// all others (istio cni/pkg/util/enablement_selector.go Matches,
// cni/pkg/plugin/plugin.go).
func (s *subject) ambient() *Capture {
	w := s.w
	if w.Pod != nil && w.Pod.HostNetwork || contains(s.excludedNamespaces(), w.Namespace) {
		return nil
	}
	from, why := s.enrolled()
	if why == "" {
		return nil
	}
	if _, ok := w.Annotations[statusKey]; ok {
		return &Capture{Mode: None, Why: why + ", but its pods are annotated " + statusKey + ", which keeps them out of ambient mode", Because: s.podAnnotation(statusKey)}
	}
	if without, where := s.withoutAmbient(); without != "" {
		return &Capture{Mode: Undecided, Why: fmt.Sprintf("%s, but %s: nothing says that a ztunnel takes its traffic", why, without), Because: slices.Concat(from, where)}
	}
	c := &Capture{Mode: Ambient, Because: from, Why: why, DNSCapture: true}
	if on, _, _, ok := s.cni("ambient", "dnsCapture"); ok {
		c.DNSCapture = truth(on)
	}
	if on, err := strconv.ParseBool(w.Annotations[dnsCaptureKey]); err == nil {
		c.DNSCapture = on
	}
	c.AutoAddresses = c.DNSCapture && s.config.Enabled("PILOT_ENABLE_IP_AUTOALLOCATE")
	return c
}

// enrolled evaluates the selectors of the CNI agent, "" for a pod that none
// selects.
func (s *subject) enrolled() ([]flow.Because, string) {
	w := s.w
	const why = "it is in ambient mode"
	if v, _, from, ok := s.cni("ambient", "enablementSelectors"); ok {
		var selectors []struct {
			PodSelector       metav1.LabelSelector `json:"podSelector"`
			NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`
		}
		if decodeValue(v, &selectors) != nil {
			return nil, ""
		}
		pod := admitted(w)
		for i := range selectors {
			onPod, err := selects(&selectors[i].PodSelector, pod)
			inNamespace, err2 := selects(&selectors[i].NamespaceSelector, s.ns.Labels)
			if err != nil || err2 != nil {
				return nil, "" // the agent refuses the whole list
			}
			if onPod && inNamespace {
				for j := range from {
					from[j].Field += fmt.Sprintf("[%d]", i)
				}
				return from, why + ": an enablementSelector of the installation selects its pods"
			}
		}
		return nil, ""
	}
	switch mode := w.Labels[modeKey]; {
	case mode == "ambient":
		return s.podLabel(modeKey), why
	case s.ns.Labels[modeKey] == "ambient" && mode != "none":
		return labelBecause(s.ns, modeKey), why
	}
	return nil, ""
}

// withoutAmbient says why the installation in the input is not one of ambient
// mode, "" if it is or if the input does not tell. istiod serves ztunnels only
// with PILOT_ENABLE_AMBIENT (istio pilot/pkg/features/ambient.go), which
// profile ambient sets.
func (s *subject) withoutAmbient() (string, []flow.Because) {
	for _, w := range s.mesh.Workloads {
		if w.Kind == "DaemonSet" && (w.Name == "ztunnel" || w.Labels["app"] == "ztunnel") {
			return "", nil
		}
	}
	c := s.config
	if v, field, from, ok := s.cni("ambient", "enabled"); ok && !truth(v) {
		return "the installation of the input has no ambient mode (" + field + ")", from
	}
	if s.mesh.ZTunnel != nil {
		return "", nil
	}
	const variable = "PILOT_ENABLE_AMBIENT"
	text, set := c.Environment[variable]
	if v, ok := Value(c, "pilot", "env", variable); ok && !set {
		text = fmt.Sprint(v)
	}
	if on, err := strconv.ParseBool(text); err == nil && on || c.Environment == nil && c.ValuesSource == nil {
		return "", nil
	}
	var from []flow.Because
	if c.ValuesSource != nil {
		from = []flow.Because{{Object: c.ValuesSource, Field: c.ValuesPrefix}}
	}
	return "the control plane of the input is installed without ambient mode (" + variable + " is not true; profile ambient sets it)", from
}

// cni looks up a value of the chart istio-cni: in what the input says of the CNI
// agent by itself, among the values of an installation, or in values of that
// chart alone. It returns its path and its place, too.
func (s *subject) cni(path ...string) (value any, field string, from []flow.Because, ok bool) {
	field = strings.Join(path, ".")
	if agent := s.mesh.CNI; agent != nil {
		if v, ok := lookup(agent.Values, path...); ok {
			return v, field, []flow.Because{{Object: agent.Object, Field: agent.Field(field)}}, true
		}
	}
	if v, ok := Value(s.config, append([]string{"cni"}, path...)...); ok {
		return v, "cni." + field, valueBecause(s.config, "cni."+field), true
	}
	v, ok := Value(s.config, path...)
	return v, field, valueBecause(s.config, field), ok
}

// excludedNamespaces are those that the CNI plugin leaves alone.
func (s *subject) excludedNamespaces() []string {
	if v, _, _, ok := s.cni("excludeNamespaces"); ok {
		var list []string
		if decodeValue(v, &list) == nil {
			return list
		}
	}
	return []string{"kube-system"}
}

// pluginInstalled reports whether the sidecars are made for the CNI plugin;
// known is false where the input does not tell.
func (s *subject) pluginInstalled() (on, known bool) {
	if v, ok := Value(s.config, "pilot", "cni", "enabled"); ok {
		return truth(v), true
	}
	// Until Istio 1.22 it was this value.
	if v, ok := Value(s.config, "istio_cni", "enabled"); ok {
		return truth(v), true
	}
	return false, s.config.Values != nil
}

// plugin recognises pods that do not start because of the CNI plugin: it
// refuses interception mode NONE (istio cni/pkg/plugin/sidecar_redirect.go
// validateInterceptionMode), and where it sets up no redirect, the init
// container istio-validation fails.
func (s *subject) plugin() *Capture {
	if on, _ := s.pluginInstalled(); !on {
		return nil
	}
	mode, from := s.interceptionMode()
	switch {
	case mode == "NONE":
		return refused("its interception mode is NONE, which the CNI plugin refuses: its pods do not start", from...)
	case contains(s.excludedNamespaces(), s.w.Namespace):
		return refused(fmt.Sprintf("the CNI plugin leaves namespace %s alone, so that nothing redirects to its sidecar and its pods do not start", s.w.Namespace))
	}
	return nil
}

package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// ProxyID is the user and group id of the injected proxy.
const ProxyID = 1337

// portSet is a list of ports; all stands for "*".
type portSet struct {
	all     bool
	ports   []uint16
	because []flow.Because
}

func (s portSet) has(p uint16) bool { return s.all || slices.Contains(s.ports, p) }

func (s portSet) String() string {
	if s.all {
		return "*"
	}
	parts := make([]string, len(s.ports))
	for i, p := range s.ports {
		parts[i] = strconv.Itoa(int(p))
	}
	return strings.Join(parts, ", ")
}

// rangeSet is a list of address ranges; all stands for "*".
type rangeSet struct {
	all      bool
	prefixes []netip.Prefix
	because  []flow.Because
}

func (s rangeSet) has(a netip.Addr) bool {
	return s.all || slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

func (s rangeSet) String() string {
	parts := make([]string, len(s.prefixes))
	for i, p := range s.prefixes {
		parts[i] = p.String()
	}
	return strings.Join(parts, ", ")
}

// settings are what steers the redirect of one pod.
type settings struct {
	excludePorts, includePorts   portSet
	excludeRanges, includeRanges rangeSet
}

// settingsOf reads the pod's annotations and, for those it does not have, the
// installation's values.
func settingsOf(config *model.MeshConfig, w *model.Workload) settings {
	ports := func(annotation, value string) portSet {
		text, from := setting(config, w, annotation, value, "")
		set := portSet{because: from}
		for _, p := range splitList(text) {
			if p == "*" {
				set.all = true
			} else if n, err := strconv.ParseUint(p, 10, 16); err == nil {
				set.ports = append(set.ports, uint16(n))
			}
		}
		return set
	}
	ranges := func(annotation, value, unset string) rangeSet {
		text, from := setting(config, w, annotation, value, unset)
		set := rangeSet{because: from}
		for _, r := range splitList(text) {
			if r == "*" {
				set.all = true
			} else if p, err := netip.ParsePrefix(r); err == nil {
				set.prefixes = append(set.prefixes, p.Masked())
			}
		}
		return set
	}
	return settings{
		excludePorts:  ports("excludeOutboundPorts", "excludeOutboundPorts"),
		includePorts:  ports("includeOutboundPorts", "includeOutboundPorts"),
		excludeRanges: ranges("excludeOutboundIPRanges", "excludeIPRanges", ""),
		includeRanges: ranges("includeOutboundIPRanges", "includeIPRanges", "*"),
	}
}

// setting returns the value of traffic.sidecar.istio.io/<annotation>, else of
// global.proxy.<value>, else unset, and where it stands. An annotation that is
// present wins even if it is empty.
func setting(config *model.MeshConfig, w *model.Workload, annotation, value, unset string) (string, []flow.Because) {
	key := "traffic.sidecar.istio.io/" + annotation
	if text, ok := w.Annotations[key]; ok {
		return text, []flow.Because{because(w, "metadata.annotations['"+key+"']")}
	}
	if v, ok := Value(config, "global", "proxy", value); ok {
		return fmt.Sprint(v), valueBecause(config, "global.proxy."+value)
	}
	return unset, nil
}

func splitList(text string) []string {
	var out []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Value looks up a Helm value of the installation.
func Value(config *model.MeshConfig, path ...string) (any, bool) {
	var at any = config.Values
	for _, key := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[key]; !ok {
			return nil, false
		}
	}
	return at, true
}

func valueBecause(config *model.MeshConfig, path string) []flow.Because {
	if config.ValuesSource == nil {
		return nil
	}
	if config.ValuesPrefix != "" {
		path = config.ValuesPrefix + "." + path
	}
	return []flow.Because{{Object: config.ValuesSource, Field: path}}
}

// proxyConfigOf returns the pod's own proxy configuration
// (proxy.istio.io/config), nil if it has none or if it does not parse.
func proxyConfigOf(w *model.Workload) map[string]any {
	text, ok := w.Annotations["proxy.istio.io/config"]
	if !ok {
		return nil
	}
	var out map[string]any
	if yaml.Unmarshal([]byte(text), &out) != nil {
		return nil
	}
	return out
}

// interceptionMode returns REDIRECT, TPROXY or NONE.
func interceptionMode(config *model.MeshConfig, w *model.Workload) (string, []flow.Because) {
	const annotation = "sidecar.istio.io/interceptionMode"
	if mode, ok := w.Annotations[annotation]; ok {
		return mode, []flow.Because{because(w, "metadata.annotations['"+annotation+"']")}
	}
	if mode, ok := proxyConfigOf(w)["interceptionMode"].(string); ok {
		return mode, []flow.Because{because(w, "metadata.annotations['proxy.istio.io/config']")}
	}
	var from []flow.Because
	if object, field := config.Because("defaultConfig.interceptionMode"); object != nil {
		from = []flow.Because{{Object: object, Field: field}}
	}
	return config.GetDefaultConfig().GetInterceptionMode().String(), from
}

// dnsCapture reports whether the sidecar answers the pod's name lookups.
func dnsCapture(config *model.MeshConfig, w *model.Workload) bool {
	if metadata, ok := proxyConfigOf(w)["proxyMetadata"].(map[string]any); ok {
		if v, ok := metadata["ISTIO_META_DNS_CAPTURE"]; ok {
			return fmt.Sprint(v) == "true"
		}
	}
	return config.GetDefaultConfig().GetProxyMetadata()["ISTIO_META_DNS_CAPTURE"] == "true"
}

// proxyIdentity reports whether every application container of the pod runs
// with the proxy's user or group id, and where that is said.
func proxyIdentity(w *model.Workload) (from []flow.Because, all bool) {
	if w.Pod == nil {
		return nil, false
	}
	is := func(id *int64) bool { return id != nil && *id == ProxyID }
	all = true
	found := false
	for i, c := range w.Pod.Containers {
		if c.Name == model.ProxyContainer {
			continue
		}
		found = true
		user, userField := effectiveID(w.Pod, c, i, "runAsUser")
		group, groupField := effectiveID(w.Pod, c, i, "runAsGroup")
		switch {
		case is(user):
			from = append(from, because(w, userField))
		case is(group):
			from = append(from, because(w, groupField))
		default:
			all = false
		}
	}
	return from, all && found
}

// effectiveID returns the user or group id that a container runs with, nil if
// the image decides, and the field that sets it.
func effectiveID(pod *corev1.PodSpec, c corev1.Container, i int, field string) (*int64, string) {
	own, inherited := (*int64)(nil), (*int64)(nil)
	if sc := c.SecurityContext; sc != nil {
		if own = sc.RunAsUser; field == "runAsGroup" {
			own = sc.RunAsGroup
		}
	}
	if own != nil {
		return own, fmt.Sprintf("spec.containers[%d].securityContext.%s", i, field)
	}
	if sc := pod.SecurityContext; sc != nil {
		if inherited = sc.RunAsUser; field == "runAsGroup" {
			inherited = sc.RunAsGroup
		}
	}
	return inherited, "spec.securityContext." + field
}

package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// trafficPrefix is that of the annotations of the redirect.
const trafficPrefix = "traffic.sidecar.istio.io/"

// portSet is a list of ports.
type portSet struct {
	ports   []uint16
	because []flow.Because
}

func (s portSet) has(p uint16) bool { return slices.Contains(s.ports, p) }

func (s portSet) String() string {
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

// loopback reports whether the list names an address of the loopback itself.
func (s rangeSet) loopback() bool {
	return slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
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
	interfaces                   []string
	interfacesFrom               []flow.Because
	// wrong says why the redirect cannot be set up at all, so that the pod does
	// not start.
	wrong     string
	wrongFrom []flow.Because
}

// text is one setting as it is written, and where.
type text struct {
	value string
	from  []flow.Because
	// set is false where nothing in the input sets it.
	set bool
	// own says that the pod itself sets it.
	own bool
}

// settings reads the pod's annotations and, for those it does not have, the
// installation's values.
func (s *subject) settings() *settings {
	if args := s.initArgs(); args != nil {
		return read(args.text)
	}
	out := read(s.setting)
	if on, _ := s.pluginInstalled(); on {
		s.pluginDefaults(out)
	}
	return out
}

// read interprets the settings that lookup returns by the names of their
// annotations.
func read(lookup func(name string) text) *settings {
	out := &settings{}
	ports := func(name string) portSet {
		t := lookup(name)
		list, err := parsePorts(t.value)
		if err != nil {
			out.reject(name, err, t)
		}
		return portSet{ports: list, because: t.from}
	}
	ranges := func(name string, wildcard bool) rangeSet {
		t := lookup(name)
		if t.value == "*" && wildcard {
			return rangeSet{all: true, because: t.from}
		}
		list, err := parseRanges(t.value)
		if err != nil {
			out.reject(name, err, t)
		}
		return rangeSet{prefixes: list, because: t.from}
	}
	out.excludePorts, out.includePorts = ports("excludeOutboundPorts"), ports("includeOutboundPorts")
	out.excludeRanges, out.includeRanges = ranges("excludeOutboundIPRanges", false), ranges("includeOutboundIPRanges", true)
	t := lookup("excludeInterfaces")
	out.interfaces, out.interfacesFrom = splitList(t.value), t.from
	return out
}

func (s *settings) reject(name string, err error, t text) {
	if s.wrong == "" {
		s.wrong, s.wrongFrom = fmt.Sprintf("%s%s=%q is not accepted (%v): its pods do not start", trafficPrefix, name, t.value, err), t.from
	}
}

// parsePorts reads a list as the injector does (istio pkg/kube/inject/validate.go).
func parsePorts(list string) ([]uint16, error) {
	if list = strings.TrimSpace(list); list == "" {
		return nil, nil
	}
	var out []uint16
	for _, p := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(p), 10, 16)
		if err != nil {
			return out, fmt.Errorf("%q is no port", p)
		}
		out = append(out, uint16(n))
	}
	return out, nil
}

// parseRanges reads a list as the injector does: a space is an error, and so is
// an address without prefix length.
func parseRanges(list string) ([]netip.Prefix, error) {
	if list == "" {
		return nil, nil
	}
	var out []netip.Prefix
	for _, r := range strings.Split(list, ",") {
		p, err := netip.ParsePrefix(r)
		if err != nil {
			return out, fmt.Errorf("%q is no address range", r)
		}
		out = append(out, p)
	}
	return out, nil
}

// valueOf gives the installation's value for an annotation, and the value
// without one.
var valueOf = map[string]struct{ name, unset string }{
	"excludeOutboundPorts":    {"excludeOutboundPorts", ""},
	"includeOutboundPorts":    {"includeOutboundPorts", ""},
	"excludeOutboundIPRanges": {"excludeIPRanges", ""},
	"includeOutboundIPRanges": {"includeIPRanges", "*"},
}

// setting returns an annotation, else the installation's value of its name. An
// annotation that is present wins even if it is empty.
func (s *subject) setting(name string) text {
	key := trafficPrefix + name
	if value, ok := s.w.Annotations[key]; ok {
		return text{value, s.podAnnotation(key), true, true}
	}
	value, ok := valueOf[name]
	if !ok {
		return text{}
	}
	if v, ok := Value(s.config, "global", "proxy", value.name); ok {
		return text{fmt.Sprint(v), valueBecause(s.config, "global.proxy."+value.name), true, false}
	}
	return text{value: value.unset}
}

// pluginDefaults are what the CNI plugin does differently from istio-init: it
// reads the annotations that the injector leaves behind, and the injector leaves
// out some empty ones, in place of which the plugin has defaults of its own
// (istio manifests/charts/istio-control/istio-discovery/files/injection-template.yaml,
// cni/pkg/plugin/sidecar_redirect.go).
func (s *subject) pluginDefaults(out *settings) {
	if t := s.setting("includeOutboundIPRanges"); !t.own && t.value == "" {
		out.includeRanges.all = true
	}
	if t := s.setting("excludeOutboundPorts"); !t.own && t.value == "" {
		out.excludePorts = portSet{ports: []uint16{15020}}
	}
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

// Value looks up a Helm value of the installation; null is as good as absent.
func Value(config *model.MeshConfig, path ...string) (any, bool) {
	return lookup(config.Values, path...)
}

func lookup(values map[string]any, path ...string) (any, bool) {
	var at any = values
	for _, key := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[key]; !ok {
			return nil, false
		}
	}
	return at, at != nil
}

func valueBecause(config *model.MeshConfig, path string) []flow.Because {
	at := config.ValuePlace(path)
	if at.Object == nil {
		return nil
	}
	return []flow.Because{{Object: at.Object, Field: at.Field}}
}

package model

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/egresslint/egresslint/model/manifest"
)

// switches are istiod's environment variables that have a say in whether a
// request gets out, with what they are without being set (istio
// pilot/pkg/features). Each of them is simulated, or makes unknown what depends
// on it; conformance/switches says of all others why they do not matter.
var switches = map[string]string{
	"ENABLE_ENHANCED_DESTINATIONRULE_MERGE":              "true",
	"ENABLE_GATEWAY_API_INFERENCE_EXTENSION":             "false",
	"ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT":               "true",
	"ENABLE_INGRESS_WAYPOINT_ROUTING":                    "true",
	"ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES":     "false",
	"ENABLE_MCS_HOST":                                    "false",
	"ENABLE_MCS_SERVICE_DISCOVERY":                       "false",
	"ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY":           "true",
	"ENABLE_TLS_ON_SIDECAR_INGRESS":                      "false",
	"ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS":       "false",
	"INJECT_ENABLED":                                     "true",
	"ISTIO_DUAL_STACK":                                   "false",
	"ISTIO_WATCH_NAMESPACE":                              "",
	"MCS_API_GROUP":                                      "multicluster.x-k8s.io",
	"PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE": "false",
	"PILOT_AUTO_ALLOW_WAYPOINT_POLICY":                   "false",
	"PILOT_DRAINING_LABEL":                               "istio.io/draining",
	"PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN":            "true",
	"PILOT_ENABLE_AGENTGATEWAY":                          "false",
	"PILOT_ENABLE_ALPN_FILTER":                           "true",
	"PILOT_ENABLE_AMBIENT":                               "false",
	"PILOT_ENABLE_AMBIENT_WAYPOINTS":                     "true",
	"PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES":             "false",
	"PILOT_ENABLE_GATEWAY_API":                           "true",
	"PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS":   "true",
	"PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER":     "true",
	"PILOT_ENABLE_IP_AUTOALLOCATE":                       "true",
	"PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES":           "true",
	"PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS":       "false",
	"PILOT_ENABLE_QUIC_LISTENERS":                        "false",
	"PILOT_ENABLE_REDIS_FILTER":                          "false",
	"PILOT_ENABLE_SENDING_HBONE":                         "true",
	"PILOT_ENABLE_SERVICEENTRY_SELECT_PODS":              "true",
	"PILOT_ENABLE_SIDECAR_LISTENING_HBONE":               "true",
	"PILOT_ENABLE_STRICT_GATEWAY_MERGING":                "true",
	"PILOT_FILTER_GATEWAY_CLUSTER_CONFIG":                "false",
	"PILOT_GATEWAY_API_CONTROLLER_NAME":                  "istio.io/gateway-controller",
	"PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME":        "istio",
	"PILOT_IGNORE_RESOURCES":                             "",
	"PILOT_INCLUDE_RESOURCES":                            "",
	"PILOT_IP_AUTOALLOCATE_IPV4_PREFIX":                  "240.240.0.0/16",
	"PILOT_PERSISTENT_SESSION_LABEL":                     "istio.io/persistent-session",
	"PILOT_PREFER_SENDING_HBONE":                         "false",
	"PILOT_SCOPE_GATEWAY_TO_NAMESPACE":                   "false",
	"PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE":          "true",
	"PILOT_SIDECAR_USE_REMOTE_ADDRESS":                   "false",
	"PILOT_UNIFIED_SIDECAR_SCOPE":                        "true",
	"PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES":   "true",
}

// Switches are istiod's environment variables that have a say in an answer, with
// what they are without being set (those of ambient mode: where it is on). The map
// is the caller's.
func Switches() map[string]string { return maps.Clone(switches) }

// Switch is one of istiod's environment variables that a control plane has
// otherwise than by default.
type Switch struct {
	Name, Value string
	// Revision is that of the control plane, "" for the default one.
	Revision string
	// Place is what sets it; its Object is nil where nothing in the input does.
	Place
}

// String returns "NAME=value" for messages, on one line and not too long.
func (s *Switch) String() string {
	const most = 80
	value := []rune(printable(s.Value))
	if len(value) > most {
		value = append(value[:most], '…')
	}
	return s.Name + "=" + string(value)
}

// Default returns what the variable is without being set.
func (s *Switch) Default() string { return switches[s.Name] }

// Unmodelled says that something is not known because of the switch; what is a
// clause.
func (s *Switch) Unmodelled(what string) *Unmodelled {
	return &Unmodelled{Why: fmt.Sprintf("istiod is started with %s: %s", s, what), Place: s.Place}
}

// Setting returns one of istiod's switches as a control plane has it: what the
// input says, else the default.
func (c *MeshConfig) Setting(name string) string {
	if c != nil {
		if value, set := c.Environment[name]; set {
			return value
		}
	}
	return switches[name]
}

// Enabled is [MeshConfig.Setting] for switches that are true or false. What is
// neither leaves the default (istio pkg/env/var.go).
func (c *MeshConfig) Enabled(name string) bool {
	on, err := strconv.ParseBool(c.Setting(name))
	if err != nil {
		on, _ = strconv.ParseBool(switches[name])
	}
	return on
}

// Switch returns one of istiod's switches where the control plane has it otherwise
// than by default, else nil.
func (c *MeshConfig) Switch(name string) *Switch {
	value, byDefault := c.Setting(name), switches[name]
	_, notBool := strconv.ParseBool(byDefault)
	switch {
	case value == byDefault, notBool == nil && strconv.FormatBool(c.Enabled(name)) == byDefault:
		return nil
	default:
		return &Switch{Name: name, Value: value, Revision: c.Revision, Place: c.environmentAt[name]}
	}
}

// Switched returns all switches that a control plane has otherwise than by default,
// by name.
func (c *MeshConfig) Switched() []*Switch {
	var out []*Switch
	for _, name := range sortedKeys(switches) {
		if s := c.Switch(name); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// Configs returns the configurations of all control planes, each once, that of the
// default one first.
func (m *Mesh) Configs() []*MeshConfig {
	out := []*MeshConfig{m.Config}
	for _, revision := range sortedKeys(m.Revisions) {
		if c := m.Revisions[revision]; c != m.Config {
			out = append(out, c)
		}
	}
	return out
}

// deploying are the switches that decide what istiod deploys for Gateways of the
// Gateway API.
var deploying = []string{
	"ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT", "PILOT_ENABLE_AGENTGATEWAY", "PILOT_ENABLE_AMBIENT_WAYPOINTS", "PILOT_ENABLE_GATEWAY_API",
	"PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS", "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER",
	"PILOT_GATEWAY_API_CONTROLLER_NAME", "PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME", "PILOT_IGNORE_RESOURCES", "PILOT_INCLUDE_RESOURCES",
}

// WithoutSwitch returns the mesh with a switch of one of its control planes as by
// default. It has to be completed where m is ([Mesh.Complete]).
func (m *Mesh) WithoutSwitch(of *MeshConfig, name string) *Mesh {
	c := *of
	c.Environment = maps.Clone(of.Environment)
	delete(c.Environment, name)
	c.reading = &sync.Map{}
	out := m.withConfig(of, &c)
	if contains(deploying, name) && len(m.KubeGateways) > 0 {
		out.redeploy()
	}
	return out
}

// withConfig returns the mesh with another configuration of one of its control planes.
func (m *Mesh) withConfig(of, c *MeshConfig) *Mesh {
	out := *m
	out.Revisions = maps.Clone(m.Revisions)
	for revision, other := range m.Revisions {
		if other == of {
			out.Revisions[revision] = c
		}
	}
	if m.Config == of {
		out.Config = c
	}
	return &out
}

// redeploy makes anew what istiod deploys for Gateways.
func (m *Mesh) redeploy() {
	deployed := func(o *manifest.Object) bool { return strings.HasPrefix(o.Implied, deployedFor) }
	m.Workloads = slices.DeleteFunc(slices.Clone(m.Workloads), func(w *Workload) bool { return deployed(w.Object) })
	m.KubeServices = slices.DeleteFunc(slices.Clone(m.KubeServices), func(s *KubeService) bool { return deployed(s.Object) })
	m.ServiceAccounts = slices.DeleteFunc(slices.Clone(m.ServiceAccounts), deployed)
	m.implyKubeGateways()
	m.sortWorkloads()
	m.inhabit()
	m.completion = &sync.Once{}
}

// takeEnvironment settles the variables that Helm values give istiod, and what sets
// each: the values that the user gives, which stand at a path of the object, else the
// profile, compatibility version or platform that is chosen.
func (in *installation) takeEnvironment(user map[string]any, at string) {
	in.environment = stringMap(lookupMap(in.values, "pilot.env"))
	in.environmentAt = map[string]Place{}
	for name := range in.environment {
		field := join(at, "pilot.env."+name)
		if _, own := lookupMap(user, "pilot.env")[name]; !own {
			field = in.chosenFor(name, at)
		}
		in.environmentAt[name] = Place{in.object, field}
	}
}

// chosenFor returns the field by which a profile, compatibility version or platform
// is chosen that gives istiod a variable; values stand at a path of the object, and
// an operator may choose beside them.
func (in *installation) chosenFor(name, at string) string {
	above, beside := strings.CutSuffix(at, "values")
	doc, _ := in.object.Value.(*installationDoc)
	for _, choice := range []string{"platform", "compatibilityVersion", "profile"} {
		gives := func(value string) bool {
			given, _ := helmProfile("istio-control/istio-discovery", map[string]any{choice: value})
			_, found := lookupMap(given, "pilot.env")[name]
			return value != "" && found
		}
		switch {
		case beside && doc != nil && gives(lookupString(doc.fields, above+choice)):
			return above + choice
		case gives(lookupString(in.values, choice)):
			return join(at, choice)
		case gives(lookupString(in.values, "global."+choice)):
			return join(at, "global."+choice)
		}
	}
	return at
}

// noteElsewhere says which switches of istiod have a value that is not in its
// Deployment.
func (m *Mesh) noteElsewhere(d *istiod) {
	for _, c := range d.workload.Pod.Containers {
		for _, e := range c.Env {
			if _, known := switches[e.Name]; known && e.ValueFrom != nil {
				m.note("%s takes %s from elsewhere, which is not read: its default is taken", title(d.workload.Object), e.Name)
			}
		}
	}
}

// flagEnvironment puts the variables that flags give istiod on top of those of the
// input.
func (c *configuring) flagEnvironment(config *MeshConfig) {
	flagged := stringMap(lookupMap(c.flagged, "values.pilot.env"))
	if len(flagged) == 0 {
		return
	}
	env, at := maps.Clone(config.Environment), maps.Clone(config.environmentAt)
	if env == nil {
		env = map[string]string{}
	}
	if at == nil {
		at = map[string]Place{}
	}
	for name, value := range flagged {
		env[name] = value
		at[name] = Place{c.flagObject, "spec.values.pilot.env." + name}
	}
	config.Environment, config.environmentAt = env, at
}

package capture_test

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/capture"
)

// ask is a connection and what becomes of it.
type ask struct {
	to      string
	taken   bool
	why     string // a part of it
	because string
}

const takes = "the sidecar takes all outbound TCP connections"

func TestOutbound(t *testing.T) {
	const web, far, six = "198.51.100.7:443", "203.0.113.9:80", "[2001:db8::7]:443"
	traffic := func(key, value string) string { return "traffic.sidecar.istio.io/" + key + `: "` + value + `"` }
	note := func(key string) string { return podNote + "['traffic.sidecar.istio.io/" + key + "']" }
	value := func(key string) string { return "HelmRelease spec.values.global.proxy." + key }
	proxyValue := func(key, v string) string { return "global: {proxy: {" + key + `: "` + v + `"}}` }
	user := func(fields string) string {
		return "[{name: app, image: app, securityContext: {" + fields + "}}]"
	}
	const context = podField + "spec.containers[0].securityContext."
	const plugin = "pilot: {cni: {enabled: true}}"
	initArgs := func(args string) string {
		return "initContainers: [{name: istio-init, image: proxyv2, args: [istio-iptables, " + args + "]}]"
	}
	const own = "[{name: app, image: app}, {name: istio-proxy, image: proxyv2, args: [proxy, sidecar]}]"
	const args = podField + "spec.initContainers[0].args"
	for _, test := range []struct {
		name string
		in   setup
		asks []ask
	}{
		{"default", setup{}, []ask{{web, true, takes, ""}, {six, true, takes, ""}, {"127.0.0.1:80", false, "loopback", ""}, {"[::1]:80", false, "loopback", ""}, {"127.0.0.6:80", false, "loopback", ""}}},
		{"0 mode NONE", setup{annotations: "sidecar.istio.io/interceptionMode: NONE"}, []ask{{web, false, "interception mode NONE", podNote + "['sidecar.istio.io/interceptionMode']"}}},
		{"0 mode NONE in proxy config", setup{annotations: "proxy.istio.io/config: 'interceptionMode: NONE'"}, []ask{{web, false, "interception mode NONE", podNote + "['proxy.istio.io/config']"}}},
		{"0 mode NONE of the mesh", setup{values: "meshConfig: {defaultConfig: {interceptionMode: NONE}}"}, []ask{{web, false, "interception mode NONE", "HelmRelease spec.values.meshConfig.defaultConfig.interceptionMode"}}},
		{"0 mode REDIRECT beats that of the mesh", setup{annotations: "sidecar.istio.io/interceptionMode: REDIRECT", values: "meshConfig: {defaultConfig: {interceptionMode: NONE}}"}, []ask{{web, true, takes, ""}}},
		{"0 mode TPROXY", setup{annotations: "sidecar.istio.io/interceptionMode: TPROXY"}, []ask{{web, true, takes, ""}}},
		{"2 interface of the pod", setup{annotations: traffic("excludeInterfaces", "eth0")}, []ask{{web, false, "network interface eth0", note("excludeInterfaces")}}},
		{"2 another interface", setup{annotations: traffic("excludeInterfaces", "net1")}, []ask{{web, true, takes, ""}}},
		{"3 excluded port", setup{annotations: traffic("excludeOutboundPorts", "443, 8443")}, []ask{{web, false, "port 443, 8443 is excluded", note("excludeOutboundPorts")}, {far, true, takes, ""}}},
		{"3 excluded port of the mesh", setup{values: proxyValue("excludeOutboundPorts", "443")}, []ask{{web, false, "port 443 is excluded", value("excludeOutboundPorts")}, {far, true, takes, ""}}},
		{"3 an empty annotation wins", setup{annotations: traffic("excludeOutboundPorts", ""), values: proxyValue("excludeOutboundPorts", "443")}, []ask{{web, true, takes, ""}}},
		{"5 user of the proxy", setup{containers: user("runAsUser: 1337")}, []ask{{web, false, "container app runs with the proxy's own user", context + "runAsUser"}}},
		{"5 user of the pod", setup{spec: "securityContext: {runAsUser: 1337}"}, []ask{{web, false, "the proxy's own user", podField + "spec.securityContext.runAsUser"}}},
		{"5 the container's user beats the pod's", setup{containers: user("runAsUser: 1000"), spec: "securityContext: {runAsUser: 1337}"}, []ask{{web, true, takes, ""}}},
		{"5 group of the proxy", setup{containers: user("runAsGroup: 1337")}, []ask{{web, false, "user or group id", context + "runAsGroup"}}},
		{"5 supplemental groups change nothing", setup{spec: "securityContext: {fsGroup: 1337, supplementalGroups: [1337]}"}, []ask{{web, true, takes, ""}}},
		{"5 one container of two", setup{containers: "[{name: app, image: app}, {name: tool, image: tool, securityContext: {runAsUser: 1337}}]"}, []ask{{web, false, "container tool runs", podField + "spec.containers[1].securityContext.runAsUser"}}},
		{"5 user of the proxy that the manifest has", setup{containers: "[{name: app, image: app, securityContext: {runAsUser: 2000}}, {name: istio-proxy, image: auto, securityContext: {runAsUser: 2000}}]"}, []ask{{web, false, "the proxy's own user", context + "runAsUser"}}},
		{"5 which leaves 1337 to anybody", setup{containers: "[{name: app, image: app, securityContext: {runAsUser: 1337}}, {name: istio-proxy, image: auto, securityContext: {runAsUser: 2000}}]"}, []ask{{web, true, takes, ""}}},
		{"5 but not with TPROXY", setup{annotations: "sidecar.istio.io/interceptionMode: TPROXY", containers: "[{name: app, image: app, securityContext: {runAsUser: 1337}}, {name: istio-proxy, image: auto, securityContext: {runAsUser: 2000}}]"}, []ask{{web, false, "the proxy's own user", context + "runAsUser"}}},
		{"6 group that is left out", setup{containers: user("runAsGroup: 7"), annotations: "proxy.istio.io/config: 'proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE: \"7\"}'"}, []ask{{web, false, "ISTIO_OUTBOUND_OWNER_GROUPS", ""}}},
		{"6 another group", setup{containers: user("runAsGroup: 8"), annotations: "proxy.istio.io/config: 'proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE: \"7\"}'"}, []ask{{web, true, takes, ""}}},
		{"6 group that is not among the captured ones", setup{containers: user("runAsGroup: 8"), annotations: "proxy.istio.io/config: 'proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS: \"7\"}'"}, []ask{{web, false, "ISTIO_OUTBOUND_OWNER_GROUPS", ""}}},
		{"7 lookups of the plugin", setup{values: plugin, annotations: "proxy.istio.io/config: 'proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}'"}, []ask{{"198.51.100.7:53", false, "DNS proxy", ""}, {web, true, takes, ""}}},
		{"7 lookups without the plugin", setup{annotations: "proxy.istio.io/config: 'proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}'"}, []ask{{"198.51.100.7:53", true, takes, ""}}},
		{"8 loopback as a range", setup{annotations: traffic("includeOutboundIPRanges", "127.0.0.0/8")}, []ask{{"127.0.0.1:80", false, "loopback", ""}, {"127.0.0.2:80", true, "captures 127.0.0.0/8", note("includeOutboundIPRanges")}}},
		{"9 excluded range", setup{annotations: traffic("excludeOutboundIPRanges", "198.51.100.0/24,2001:db8::/32")}, []ask{{web, false, "addresses in 198.51.100.0/24, 2001:db8::/32", note("excludeOutboundIPRanges")}, {six, false, "are excluded", note("excludeOutboundIPRanges")}, {far, true, takes, ""}}},
		{"9 excluded range of the mesh", setup{values: proxyValue("excludeIPRanges", "198.51.100.0/24")}, []ask{{web, false, "are excluded", value("excludeIPRanges")}, {far, true, takes, ""}}},
		{"9 an excluded range beats an included port", setup{annotations: traffic("excludeOutboundIPRanges", "198.51.100.0/24") + ", " + traffic("includeOutboundPorts", "443")}, []ask{{web, false, "are excluded", note("excludeOutboundIPRanges")}}},
		{"10 included port beats the ranges", setup{annotations: traffic("includeOutboundIPRanges", "10.0.0.0/8") + ", " + traffic("includeOutboundPorts", "443")}, []ask{{web, true, "port 443 is captured", note("includeOutboundPorts")}, {far, false, "captures only 10.0.0.0/8", note("includeOutboundIPRanges")}}},
		{"11 included range", setup{annotations: traffic("includeOutboundIPRanges", "198.51.100.0/24")}, []ask{{web, true, "captures 198.51.100.0/24", note("includeOutboundIPRanges")}, {far, false, "captures only", note("includeOutboundIPRanges")}, {six, false, "captures only", note("includeOutboundIPRanges")}}},
		{"11 included range of the mesh", setup{values: proxyValue("includeIPRanges", "198.51.100.0/24")}, []ask{{web, true, "captures", value("includeIPRanges")}, {far, false, "captures only", value("includeIPRanges")}}},
		{"11 the pod takes everything back", setup{annotations: traffic("includeOutboundIPRanges", "*"), values: proxyValue("includeIPRanges", "198.51.100.0/24")}, []ask{{far, true, takes, ""}}},
		{"12 no range", setup{annotations: traffic("includeOutboundIPRanges", "")}, []ask{{web, false, "captures only no address", note("includeOutboundIPRanges")}}},
		{"12 no range of the mesh", setup{values: proxyValue("includeIPRanges", "")}, []ask{{web, false, "captures only no address", value("includeIPRanges")}}},
		{"12 which the plugin takes for all", setup{values: plugin + ", " + proxyValue("includeIPRanges", "")}, []ask{{web, true, takes, ""}}},
		{"12 but not where the pod says so", setup{values: plugin, annotations: traffic("includeOutboundIPRanges", "")}, []ask{{web, false, "captures only no address", note("includeOutboundIPRanges")}}},
		{"plugin leaves out a port of the agent", setup{values: plugin}, []ask{{"198.51.100.7:15020", false, "port 15020 is excluded", ""}, {web, true, takes, ""}}},
		{"own istio-init", setup{labels: "team: a", containers: own, spec: initArgs("-i, 198.51.100.0/24, -o, '8443', -q, '80'"), annotations: traffic("excludeOutboundPorts", "443")},
			[]ask{{web, true, "captures 198.51.100.0/24", args}, {"198.51.100.7:8443", false, "port 8443", args}, {far, true, "port 80", args}, {"203.0.113.9:443", false, "captures only", args}}},
		{"own istio-init in long words", setup{labels: "team: a", containers: own, spec: initArgs("'--istio-service-cidr=*', '--istio-service-exclude-cidr=203.0.113.0/24', --proxy-uid, '5'")},
			[]ask{{web, true, takes, ""}, {far, false, "are excluded", args}}},
		{"own istio-init without ranges", setup{labels: "team: a", containers: own, spec: initArgs("-p, '15001'")}, []ask{{web, false, "captures only no address", args}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.in.labels == "" {
				test.in.labels = "istio-injection: enabled"
			}
			c := test.in.capture(t)
			if c.Mode != capture.Sidecar {
				t.Fatalf("%s: %s", modes[c.Mode], c.Why)
			}
			for _, a := range test.asks {
				v := c.Outbound(addr(a.to))
				if v.Captured != a.taken || !strings.Contains(v.Why, a.why) {
					t.Errorf("%s: captured %t: %s\nwant %t: %s", a.to, v.Captured, v.Why, a.taken, a.why)
				}
				if got := places(v.Because); got != a.because {
					t.Errorf("%s: because of %q, want %q", a.to, got, a.because)
				}
			}
		})
	}
}

// TestOpenShift: the proxy has the last id of the namespace's range.
func TestOpenShift(t *testing.T) {
	const ranges = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: {istio-injection: enabled}\n  annotations: {openshift.io/sa.scc.uid-range: 1000650000/10000}\n"
	for id, taken := range map[string]bool{"1000659999": false, "1000650000": true, "1337": true} {
		c := setup{labels: "-", containers: "[{name: app, image: app, securityContext: {runAsUser: " + id + "}}]", more: ranges}.capture(t)
		if v := c.Outbound(addr("198.51.100.7:443")); v.Captured != taken {
			t.Errorf("user %s: captured %t: %s", id, v.Captured, v.Why)
		}
	}
}

// TestPluginKnowsNoOtherPorts: istio-init redirects to the ports that the mesh
// configuration gives sidecars, the CNI plugin to the usual ones.
func TestPluginKnowsNoOtherPorts(t *testing.T) {
	const ports = "meshConfig: {proxyListenPort: 16001}"
	in := setup{labels: "istio-injection: enabled", values: ports}
	if c := in.capture(t); c.Mode != capture.Sidecar {
		t.Errorf("istio-init: %s: %s", modes[c.Mode], c.Why)
	}
	in.values = ports + ", pilot: {cni: {enabled: true}}"
	if c := in.capture(t); c.Mode != capture.Undecided || !strings.Contains(c.Why, "redirects to ports 15001 and 15006") {
		t.Errorf("plugin: %s: %s", modes[c.Mode], c.Why)
	}
}

// TestOwnerGroupsWithoutGroup: which group an image runs with is not known.
func TestOwnerGroupsWithoutGroup(t *testing.T) {
	gateTest{in: setup{labels: "istio-injection: enabled", annotations: "proxy.istio.io/config: 'proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS: \"7\"}'"},
		mode: "undecided", why: "set runAsGroup", because: nsLabel + "['istio-injection']"}.run(t)
}

func TestDNSCapture(t *testing.T) {
	const (
		enabled = "istio-injection: enabled"
		ambient = "istio.io/dataplane-mode: ambient"
	)
	note := func(v string) string {
		return "proxy.istio.io/config: 'proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"" + v + "\"}'"
	}
	config := func(name, namespace, selector, v string) string {
		return "---\napiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec: {" + selector +
			"environmentVariables: {ISTIO_META_DNS_CAPTURE: \"" + v + "\"}}\n"
	}
	const mine = "selector: {matchLabels: {app: cart}}, "
	for _, test := range []struct {
		name string
		in   setup
		want bool
	}{
		{"not by default", setup{labels: enabled}, false},
		{"annotation", setup{labels: enabled, annotations: note("true")}, true},
		{"annotation with 1", setup{labels: enabled, annotations: note("1")}, true},
		{"mesh", setup{labels: enabled, values: "meshConfig: {defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}}"}, true},
		{"the annotation beats the mesh", setup{labels: enabled, annotations: note("false"), values: "meshConfig: {defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}}"}, false},
		{"ProxyConfig of the root namespace", setup{labels: enabled, more: config("all", "istio-system", "", "true")}, true},
		{"ProxyConfig of another namespace", setup{labels: enabled, more: config("all", "other", "", "true")}, false},
		{"ProxyConfig of the namespace", setup{labels: enabled, more: config("all", "istio-system", "", "true") + config("shop", "shop", "", "false")}, false},
		{"ProxyConfig of the workload beats the annotation", setup{labels: enabled, pod: "app: cart", annotations: note("false"), more: config("cart", "shop", mine, "true")}, true},
		{"ProxyConfig of another workload", setup{labels: enabled, pod: "app: other", more: config("cart", "shop", mine, "true")}, false},
		{"ambient by default", setup{labels: ambient}, true},
		{"ambient, the pod declines", setup{labels: ambient, annotations: "ambient.istio.io/dns-capture: 'false'"}, false},
		{"ambient, what is no boolean counts as unset", setup{labels: ambient, annotations: "ambient.istio.io/dns-capture: 'off'"}, true},
		{"ambient, off in the installation", setup{labels: ambient, values: "profile: ambient, cni: {ambient: {dnsCapture: false}}"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if c := test.in.capture(t); c.DNSCapture != test.want {
				t.Errorf("DNS capture %t, want %t (%s: %s)", c.DNSCapture, test.want, modes[c.Mode], c.Why)
			}
		})
	}
}

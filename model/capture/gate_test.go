package capture_test

import (
	"strings"
	"testing"
)

const (
	nsLabel  = "Namespace metadata.labels"
	podField = "Deployment spec.template."
	podLabel = podField + "metadata.labels"
	podNote  = podField + "metadata.annotations"
)

const canaryTag = `---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-revision-tag-stable, labels: {app: sidecar-injector, istio.io/tag: stable, istio.io/rev: canary}}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  clientConfig: {service: {name: istiod-canary, namespace: istio-system, path: /inject}}
  sideEffects: None
  admissionReviewVersions: [v1]
  failurePolicy: Ignore
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: In, values: [stable]}, {key: istio-injection, operator: DoesNotExist}]}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}]}
`

func operatorRevision(spec string) string {
	return "---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: mesh, namespace: istio-system}\nspec: {" + spec + "}\n"
}

type gateTest struct {
	name    string
	in      setup
	mode    string
	why     string // a part of it
	because string
	assumes string // a part of it
}

func (test gateTest) run(t *testing.T) {
	t.Helper()
	c := test.in.capture(t)
	if got := modes[c.Mode]; got != test.mode || !strings.Contains(c.Why, test.why) {
		t.Errorf("got %s: %s\nwant %s: %s", got, c.Why, test.mode, test.why)
	}
	if got := places(c.Because); got != test.because {
		t.Errorf("because of %q, want %q", got, test.because)
	}
	if !strings.Contains(c.Assumption, test.assumes) || test.assumes == "" && c.Assumption != "" {
		t.Errorf("assumes %q, want %q", c.Assumption, test.assumes)
	}
}

func TestGates(t *testing.T) {
	const enabled = "istio-injection: enabled"
	inject := func(v string) string { return `sidecar.istio.io/inject: "` + v + `"` }
	for _, test := range []gateTest{
		// Gate A: the webhooks.
		{"no label", setup{}, "none", "namespace shop has no injection label", nsLabel, ""},
		{"enabled", setup{labels: enabled}, "sidecar", "istio-injection=enabled", nsLabel + "['istio-injection']", ""},
		{"disabled", setup{labels: "istio-injection: disabled"}, "none", "=disabled, and only \"enabled\"", nsLabel + "['istio-injection']", ""},
		{"true is not enabled", setup{labels: `istio-injection: "true"`}, "none", "only \"enabled\"", nsLabel + "['istio-injection']", ""},
		{"empty is not enabled", setup{labels: `istio-injection: ""`}, "none", "only \"enabled\"", nsLabel + "['istio-injection']", ""},
		{"disabled beats the pod", setup{labels: "istio-injection: disabled", pod: inject("true")}, "none", "only \"enabled\"", nsLabel + "['istio-injection']", ""},
		{"the pod declines", setup{labels: enabled, pod: inject("false")}, "none", "labelled sidecar.istio.io/inject=false", podLabel + "['sidecar.istio.io/inject']", ""},
		{"False declines nothing", setup{labels: enabled, pod: inject("False")}, "sidecar", "=enabled", nsLabel + "['istio-injection']", ""},
		{"the pod asks", setup{pod: inject("true")}, "sidecar", "labelled sidecar.istio.io/inject=true", podLabel + "['sidecar.istio.io/inject']", ""},
		{"yes asks for nothing", setup{pod: inject("yes")}, "none", "no injection label", nsLabel, ""},
		{"an annotation asks for nothing", setup{annotations: inject("true")}, "none", "no injection label", nsLabel, ""},
		{"an annotation declines", setup{labels: enabled, annotations: inject("false")}, "none", "annotated sidecar.istio.io/inject=false", podNote + "['sidecar.istio.io/inject']", ""},
		{"the label beats the annotation", setup{labels: enabled, pod: inject("true"), annotations: inject("false")}, "sidecar", "=enabled", nsLabel + "['istio-injection']", ""},
		{"enabled beats a revision", setup{labels: enabled + ", istio.io/rev: other"}, "sidecar", "istio-injection=enabled", nsLabel + "['istio-injection']", ""},
		{"revision of the namespace", setup{labels: "istio.io/rev: canary"}, "sidecar", "istio.io/rev=canary", nsLabel + "['istio.io/rev']", ""},
		{"empty revision", setup{labels: `istio.io/rev: ""`, pod: inject("true")}, "none", "names no revision", nsLabel + "['istio.io/rev']", ""},
		{"revision of the pod", setup{pod: "istio.io/rev: canary"}, "sidecar", "its pods are labelled istio.io/rev=canary", podLabel + "['istio.io/rev']", ""},

		// Which revisions there are.
		{"installed revision", setup{labels: "istio.io/rev: canary", values: "revision: canary"}, "sidecar", "", nsLabel + "['istio.io/rev']", ""},
		{"installed tag", setup{labels: "istio.io/rev: stable", values: "revision: canary, revisionTags: [stable]"}, "sidecar", "", nsLabel + "['istio.io/rev']", ""},
		{"default is a revision", setup{labels: "istio.io/rev: default", values: "revision: ''"}, "sidecar", "", nsLabel + "['istio.io/rev']", ""},
		{"absent revision", setup{labels: "istio.io/rev: absent", values: "revision: canary"}, "undecided", "no revision or revision tag of that name (only canary)", nsLabel + "['istio.io/rev']", ""},
		{"no default revision", setup{labels: enabled, values: "revision: canary"}, "undecided", "installs no default revision (only canary)", nsLabel + "['istio-injection']", ""},
		{"tag default", setup{labels: enabled, values: "revision: canary, revisionTags: [default]"}, "sidecar", "", nsLabel + "['istio-injection']", ""},
		{"istioctl tags its first revision", setup{labels: enabled, more: operatorRevision("revision: canary")}, "sidecar", "", nsLabel + "['istio-injection']", "revision canary is the default one too"},
		{"every namespace", setup{values: "sidecarInjectorWebhook: {enableNamespacesByDefault: true}"}, "sidecar", "in every namespace by default", "HelmRelease spec.values.sidecarInjectorWebhook.enableNamespacesByDefault", ""},
		{"every namespace but of pods with a label", setup{pod: inject("yes"), values: "sidecarInjectorWebhook: {enableNamespacesByDefault: true}"}, "none", "no injection label", nsLabel, ""},
		{"every namespace, of no default revision", setup{values: "revision: canary, sidecarInjectorWebhook: {enableNamespacesByDefault: true}"}, "none", "no injection label", nsLabel, ""},
		{"webhook of the input", setup{labels: "istio.io/rev: stable", more: canaryTag}, "sidecar", "istio.io/rev=stable", nsLabel + "['istio.io/rev']; MutatingWebhookConfiguration webhooks[0]", "failurePolicy Ignore"},
		{"webhook that selects something else", setup{pod: "istio.io/rev: stable", more: canaryTag}, "none", "does not select its pods", podLabel + "['istio.io/rev']; MutatingWebhookConfiguration webhooks", ""},
		{"namespace that is not in the input", setup{labels: "-"}, "none", "assumed not to be injected", "", "namespaces without a Namespace object"},

		// Gate B: the injector.
		{"host network", setup{labels: enabled, spec: "hostNetwork: true"}, "none", "host's network", podField + "spec.hostNetwork", ""},
		{"kube-public", setup{labels: enabled, namespace: "kube-public"}, "none", "namespace kube-public are never injected", "", ""},
		{"policy disabled", setup{labels: enabled, values: "global: {proxy: {autoInject: disabled}}"}, "none", "autoInject=disabled", "HelmRelease spec.values.global.proxy.autoInject", ""},
		{"policy disabled, the pod asks", setup{labels: enabled, pod: inject("true"), values: "global: {proxy: {autoInject: disabled}}"}, "sidecar", "", nsLabel + "['istio-injection']", ""},
		{"unknown policy beats the pod", setup{labels: enabled, pod: inject("true"), values: "global: {proxy: {autoInject: 'off'}}"}, "none", "autoInject=off", "HelmRelease spec.values.global.proxy.autoInject", ""},
		{"never", setup{labels: enabled, pod: "tier: batch", values: "sidecarInjectorWebhook: {neverInjectSelector: [{}, {matchLabels: {tier: batch}}]}"}, "none", "neverInjectSelector selects its pods", "HelmRelease spec.values.sidecarInjectorWebhook.neverInjectSelector[1]", ""},
		{"never by a label of the controller", setup{labels: enabled, values: "sidecarInjectorWebhook: {neverInjectSelector: [{matchExpressions: [{key: pod-template-hash, operator: Exists}]}]}"}, "none", "neverInjectSelector", "HelmRelease spec.values.sidecarInjectorWebhook.neverInjectSelector[0]", ""},
		{"the pod beats never", setup{labels: enabled, pod: "tier: batch, " + inject("true"), values: "sidecarInjectorWebhook: {neverInjectSelector: [{matchLabels: {tier: batch}}]}"}, "sidecar", "", nsLabel + "['istio-injection']", ""},
		{"always", setup{labels: enabled, pod: "tier: web", values: "global: {proxy: {autoInject: disabled}}, sidecarInjectorWebhook: {alwaysInjectSelector: [{matchLabels: {tier: web}}]}"}, "sidecar", "", nsLabel + "['istio-injection']", ""},

		// What is injected.
		{"template grpc-agent", setup{labels: enabled, annotations: "inject.istio.io/templates: grpc-agent"}, "none", "redirects nothing", podNote + "['inject.istio.io/templates']", ""},
		{"template gateway", setup{labels: enabled, annotations: "inject.istio.io/templates: gateway"}, "router", "it is a gateway", "Deployment", ""},
		{"unknown template", setup{labels: enabled, annotations: "inject.istio.io/templates: 'sidecar,own'"}, "undecided", `template "own"`, podNote + "['inject.istio.io/templates']", ""},
		{"absent template", setup{labels: enabled, annotations: "inject.istio.io/templates: 'sidecar,own'", values: "global: {}"}, "undecided", "the injector refuses its pods", podNote + "['inject.istio.io/templates']", ""},
		{"harmless template", setup{labels: enabled, annotations: "inject.istio.io/templates: 'sidecar,own'", values: "sidecarInjectorWebhook: {templates: {own: 'metadata: {labels: {a: b}}'}}"}, "sidecar", "", nsLabel + "['istio-injection']", ""},
		{"invalid annotation", setup{labels: enabled, annotations: "traffic.sidecar.istio.io/excludeOutboundIPRanges: '10.0.0.0/8, 11.0.0.0/8'"}, "undecided", `" 11.0.0.0/8" is no address range`, podNote + "['traffic.sidecar.istio.io/excludeOutboundIPRanges']", ""},
		{"address without length", setup{labels: enabled, values: "global: {proxy: {excludeIPRanges: 10.0.0.1}}"}, "undecided", "its pods do not start", "HelmRelease spec.values.global.proxy.excludeIPRanges", ""},
		{"mode NONE with the CNI plugin", setup{labels: enabled, annotations: "sidecar.istio.io/interceptionMode: NONE", values: "pilot: {cni: {enabled: true}}"}, "undecided", "which the CNI plugin refuses", podNote + "['sidecar.istio.io/interceptionMode']", ""},
		{"namespace that istiod does not watch", setup{labels: enabled, values: "meshConfig: {discoverySelectors: [{matchLabels: {mesh: 'yes'}}]}"}, "sidecar", "", nsLabel + "['istio-injection']", "outside istiod's discoverySelectors"},
		{"namespace that istiod watches", setup{labels: enabled + ", mesh: 'yes'", values: "meshConfig: {discoverySelectors: [{matchLabels: {mesh: 'yes'}}]}"}, "sidecar", "", nsLabel + "['istio-injection']", ""},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t) })
	}
}

// TestOwnProxy is about pods whose manifest has an istio-proxy container.
func TestOwnProxy(t *testing.T) {
	const (
		proxy  = "[{name: app, image: app}, {name: istio-proxy, image: proxyv2, args: [proxy, sidecar]}]"
		auto   = "[{name: app, image: app}, {name: istio-proxy, image: auto}]"
		status = "sidecar.istio.io/status: '{}'"
	)
	for _, test := range []gateTest{
		{"injected too", setup{labels: "istio-injection: enabled", containers: auto}, "sidecar", "holds an istio-proxy", podField + "spec.containers", ""},
		{"image auto and nobody completes it", setup{containers: auto}, "undecided", "its pods do not start", podField + "spec.containers; " + nsLabel, ""},
		{"with istio-init", setup{containers: proxy, spec: "initContainers: [{name: istio-init, image: proxyv2, args: [istio-iptables, -i, '*']}]"}, "sidecar", "", podField + "spec.containers", ""},
		{"istio-init missing", setup{containers: proxy}, "none", "nothing redirects to it", podField + "spec.containers", ""},
		{"made for the CNI plugin", setup{containers: proxy, annotations: status, spec: "initContainers: [{name: istio-validation, image: proxyv2}]"}, "sidecar", "", podField + "spec.containers", ""},
		{"perhaps the CNI plugin", setup{containers: proxy, annotations: status}, "undecided", "nothing in the input says what redirects", podField + "spec.containers", ""},
		{"the CNI plugin", setup{containers: proxy, annotations: status, values: "pilot: {cni: {enabled: true}}"}, "sidecar", "", podField + "spec.containers", ""},
		{"the CNI plugin without status", setup{containers: proxy, values: "pilot: {cni: {enabled: true}}"}, "none", "nothing redirects to it", podField + "spec.containers", ""},
		{"native sidecar", setup{containers: "[{name: app, image: app}]", spec: "initContainers: [{name: istio-init, image: proxyv2, args: [istio-iptables, -i, '*']}, {name: istio-proxy, image: proxyv2, restartPolicy: Always, args: [proxy, sidecar]}]"}, "sidecar", "", podField + "spec.initContainers", ""},
		{"host network", setup{containers: proxy, spec: "hostNetwork: true"}, "none", "host's network", podField + "spec.hostNetwork", ""},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t) })
	}
}

func TestAmbient(t *testing.T) {
	const (
		label = "istio.io/dataplane-mode: ambient"
		cni   = "cni: {ambient: {enabled: true, enablementSelectors: [{podSelector: {matchLabels: {mesh: ztunnel}}, namespaceSelector: {matchLabels: {team: a}}}]}}"
		on    = "profile: ambient"
	)
	const mode = "['istio.io/dataplane-mode']"
	for _, test := range []gateTest{
		{"namespace", setup{labels: label}, "ambient", "it is in ambient mode", nsLabel + mode, ""},
		{"pod", setup{pod: label}, "ambient", "it is in ambient mode", podLabel + mode, ""},
		{"the pod declines", setup{labels: label, pod: "istio.io/dataplane-mode: none"}, "none", "no injection label", nsLabel, ""},
		{"another value", setup{labels: "istio.io/dataplane-mode: Ambient"}, "none", "no injection label", nsLabel, ""},
		{"sidecars come first", setup{labels: label + ", istio-injection: enabled"}, "sidecar", "", nsLabel + "['istio-injection']", ""},
		{"the pod declines a sidecar", setup{labels: label + ", istio-injection: enabled", pod: `sidecar.istio.io/inject: "false"`}, "ambient", "", nsLabel + mode, ""},
		{"status opts out", setup{labels: label, annotations: "sidecar.istio.io/status: x"}, "none", "keeps them out of ambient mode", podNote + "['sidecar.istio.io/status']", ""},
		{"host network", setup{labels: label, spec: "hostNetwork: true"}, "none", "no injection label", nsLabel, ""},
		{"kube-system", setup{labels: label, namespace: "kube-system"}, "none", "no injection label", nsLabel, ""},
		{"excluded namespace", setup{labels: label, values: on + ", cni: {excludeNamespaces: [shop]}"}, "none", "no injection label", nsLabel, ""},
		{"kube-system is not excluded", setup{labels: label, namespace: "kube-system", values: on + ", cni: {excludeNamespaces: [shop]}"}, "ambient", "", nsLabel + mode, ""},
		{"profile ambient", setup{labels: label, values: on}, "ambient", "", nsLabel + mode, ""},
		{"installed without", setup{labels: label, values: "global: {}"}, "undecided", "installed without ambient mode", nsLabel + mode + "; HelmRelease spec.values", ""},
		{"switched off", setup{labels: label, values: on + ", cni: {ambient: {enabled: false}}"}, "undecided", "has no ambient mode", nsLabel + mode + "; HelmRelease spec.values.cni.ambient.enabled", ""},
		{"own selectors", setup{labels: "team: a", pod: "mesh: ztunnel", values: on + ", " + cni}, "ambient", "enablementSelector", "HelmRelease spec.values.cni.ambient.enablementSelectors[0]", ""},
		{"IstioCNI leaves the namespace alone", setup{labels: label, more: "---\napiVersion: sailoperator.io/v1\nkind: IstioCNI\nmetadata: {name: default}\nspec: {values: {cni: {excludeNamespaces: [shop]}}}\n"}, "none", "no injection label", nsLabel, ""},
		{"IstioCNI without ambient mode", setup{labels: label, more: "---\napiVersion: sailoperator.io/v1\nkind: IstioCNI\nmetadata: {name: default}\nspec: {values: {cni: {ambient: {enabled: false}}}}\n"}, "undecided", "no ambient mode", nsLabel + mode + "; IstioCNI spec.values.cni.ambient.enabled", ""},
		{"ZTunnel", setup{labels: label, values: "global: {}", more: "---\napiVersion: sailoperator.io/v1\nkind: ZTunnel\nmetadata: {name: default}\nspec: {}\n"}, "ambient", "", nsLabel + mode, ""},
		{"ConfigMap of the CNI agent, off", setup{labels: label, more: cniConfig("AMBIENT_ENABLED: 'false'")}, "undecided", "no ambient mode", nsLabel + mode + "; ConfigMap data.AMBIENT_ENABLED", ""},
		{"ConfigMap of the CNI agent, excluded", setup{labels: label, more: cniConfig("EXCLUDE_NAMESPACES: 'kube-system,shop'")}, "none", "no injection label", nsLabel, ""},
		{"ConfigMap of the CNI agent, selectors", setup{labels: "team: a", pod: "mesh: ztunnel", more: cniConfig("AMBIENT_ENABLEMENT_SELECTOR: '- podSelector: {matchLabels: {mesh: ztunnel}}'")}, "ambient", "enablementSelector", "ConfigMap data.AMBIENT_ENABLEMENT_SELECTOR[0]", ""},
		{"own selectors replace the labels", setup{labels: label, values: on + ", " + cni}, "none", "no injection label", nsLabel, ""},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t) })
	}
}

// cniConfig is the ConfigMap that the chart istio-cni leaves in a cluster.
func cniConfig(data string) string {
	return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-cni-config, namespace: istio-system}\ndata: {" + data + "}\n"
}

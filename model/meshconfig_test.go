package model

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const registryOnlyMap = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
`

const labelledDefault = `
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio-injection: enabled}}
`

func TestWhereTheMeshConfigurationComesFrom(t *testing.T) {
	for _, test := range []struct {
		name, manifest string
		set            []string
		mode           string
		// because is the place of outboundTrafficPolicy.mode, as line:column
		// and field.
		because, field string
		notes          []string
	}{
		{
			name: "nowhere", manifest: labelledDefault, mode: "ALLOW_ANY",
			notes: []string{"no mesh configuration in the input: Istio's defaults are taken (outboundTrafficPolicy ALLOW_ANY)"},
		},
		{
			name: "the ConfigMap of istiod", manifest: registryOnlyMap,
			mode: "REGISTRY_ONLY", because: "8:13", field: "data.mesh.outboundTrafficPolicy.mode",
		},
		{
			name: "an IstioOperator", manifest: `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  profile: minimal
  meshConfig:
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`,
			mode: "REGISTRY_ONLY", because: "8:35", field: "spec.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "Helm values of an IstioOperator win over its meshConfig", manifest: `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  profile: minimal
  meshConfig:
    outboundTrafficPolicy: {mode: ALLOW_ANY}
  values:
    meshConfig:
      outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`,
			mode: "REGISTRY_ONLY", because: "11:37", field: "spec.values.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "an Istio of the Sail operator", manifest: `
apiVersion: sailoperator.io/v1
kind: Istio
metadata: {name: default}
spec:
  namespace: istio-system
  values:
    meshConfig:
      outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`,
			mode: "REGISTRY_ONLY", because: "9:37", field: "spec.values.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "a ServiceMeshControlPlane", manifest: `
apiVersion: maistra.io/v2
kind: ServiceMeshControlPlane
metadata: {name: basic, namespace: mesh}
spec:
  proxy: {networking: {trafficControl: {outbound: {policy: REGISTRY_ONLY}}}}
`,
			mode: "REGISTRY_ONLY", because: "6:60", field: "spec.proxy.networking.trafficControl.outbound.policy",
			notes: []string{"ServiceMeshControlPlane mesh/basic: of a ServiceMeshControlPlane only the outbound policy is modelled…"},
		},
		{
			name: "Helm values of istiod", manifest: `
meshConfig:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`,
			mode: "REGISTRY_ONLY", because: "3:33", field: "meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "a Flux HelmRelease", manifest: `
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: istiod, namespace: istio-system}
spec:
  chart: {spec: {chart: istiod}}
  values:
    meshConfig:
      outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`,
			mode: "REGISTRY_ONLY", because: "9:37", field: "spec.values.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "an Argo CD Application", manifest: `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: istiod, namespace: argocd}
spec:
  source:
    chart: istiod
    helm:
      values: |
        meshConfig:
          outboundTrafficPolicy:
            mode: REGISTRY_ONLY
`,
			mode: "REGISTRY_ONLY", because: "12:19", field: "spec.source.helm.values.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "a flag", manifest: labelledDefault, set: []string{"meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY"},
			mode: "REGISTRY_ONLY", because: "0:0", field: "spec.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "a flag wins over a ConfigMap", manifest: registryOnlyMap,
			set:  []string{"meshConfig.outboundTrafficPolicy.mode=ALLOW_ANY"},
			mode: "ALLOW_ANY", because: "0:0", field: "spec.meshConfig.outboundTrafficPolicy.mode",
		},
		{
			name: "a ConfigMap wins over an IstioOperator", manifest: registryOnlyMap + `---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  profile: minimal
  meshConfig:
    outboundTrafficPolicy: {mode: ALLOW_ANY}
    accessLogFile: /dev/stdout
`,
			mode: "REGISTRY_ONLY", because: "8:13", field: "data.mesh.outboundTrafficPolicy.mode",
			notes: []string{"IstioOperator istio-system/mesh and ConfigMap istio-system/istio differ in their mesh configuration (accessLogFile, outboundTrafficPolicy.mode): the ConfigMap counts…"},
		},
		{
			name: "the last of two IstioOperators", manifest: `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: one, namespace: istio-system}
spec: {profile: minimal, meshConfig: {outboundTrafficPolicy: {mode: ALLOW_ANY}}}
---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: two, namespace: istio-system}
spec: {profile: minimal, meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
`,
			mode: "REGISTRY_ONLY", because: "10:69", field: "spec.meshConfig.outboundTrafficPolicy.mode",
			notes: []string{"IstioOperator istio-system/one and IstioOperator istio-system/two install the default revision: IstioOperator istio-system/two is taken"},
		},
		{
			name: "the ConfigMap beside istiod", manifest: `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: mesh}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: ALLOW_ANY}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: mesh}
spec: {template: {metadata: {labels: {app: istiod}}, spec: {containers: [{name: discovery, image: "istio/pilot:1.24.2"}]}}}
`,
			mode: "REGISTRY_ONLY", because: "5:14", field: "data.mesh.outboundTrafficPolicy.mode",
			notes: []string{"ConfigMap istio-system/istio is not read: istiod reads the ConfigMap of its own namespace, which is mesh because of Deployment mesh/istiod",
				"Deployment mesh/istiod asks for Istio 1.24.2; what is simulated is Istio 1.31"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, test.manifest, Options{Set: test.set})
			wantProblems(t, m)
			if got := m.Config.OutboundTrafficPolicy.GetMode().String(); got != test.mode {
				t.Errorf("mode %s, want %s", got, test.mode)
			}
			o, field := m.Config.Because("outboundTrafficPolicy.mode")
			if field != test.field {
				t.Errorf("because of field %q, want %q", field, test.field)
			}
			if o != nil {
				p := o.At(field)
				if got := strings.TrimPrefix(strings.TrimPrefix(p.String(), p.File), ":"); got != test.because && (test.because != "0:0" || !p.IsZero()) {
					t.Errorf("because of %s, want %s", got, test.because)
				}
			} else if test.because != "" {
				t.Error("nothing is said to be the reason")
			}
			wantNotes(t, m, test.notes...)
		})
	}
}

// wantNotes compares notes with patterns as wantProblems does.
func wantNotes(t *testing.T, m *Mesh, patterns ...string) {
	t.Helper()
	if len(m.Notes) != len(patterns) {
		t.Fatalf("%d notes, want %d:\n%s", len(m.Notes), len(patterns), strings.Join(m.Notes, "\n"))
	}
	for i, pattern := range patterns {
		if !matches(m.Notes[i], pattern) {
			t.Errorf("note %d is\n%s\nwant\n%s", i, m.Notes[i], pattern)
		}
	}
}

func TestBrokenMeshConfiguration(t *testing.T) {
	for _, test := range []struct{ name, manifest, problem string }{
		{"a mode that does not exist", `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    rootNamespace: admin
    outboundTrafficPolicy:
      mode: REGISTER_ONLY
`, "9:13 rejected: mesh configuration of ConfigMap istio-system/istio is refused by istiod as a whole: …REGISTER_ONLY…; Istio's defaults are taken"},
		{"a mode where an object belongs", `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  profile: minimal
  meshConfig:
    rootNamespace: admin
    outboundTrafficPolicy: REGISTRY_ONLY
`, "9:28 rejected: mesh configuration of IstioOperator istio-system/mesh is refused by istiod as a whole: outboundTrafficPolicy is \"REGISTRY_ONLY\", where istiod expects fields (mode: REGISTRY_ONLY below it); Istio's defaults are taken"},
		{"what validation refuses", `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    rootNamespace: admin
    connectTimeout: 48h
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
`, "8:21 rejected: …invalid connect timeout"},
		{"what is no mapping", `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: "just text"
`, "6:9 rejected: mesh configuration of ConfigMap istio-system/istio cannot be read: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, test.manifest, Options{})
			wantProblems(t, m, test.problem)
			// Nothing of it counts, not even what is right in it.
			if c := m.Config; c.OutboundTrafficPolicy.Mode.String() != "ALLOW_ANY" || c.RootNamespace != "istio-system" || !c.Refused {
				t.Errorf("mode %s, root namespace %s, refused %v", c.OutboundTrafficPolicy.Mode, c.RootNamespace, c.Refused)
			}
			if o, field := m.Config.Because("rootNamespace"); o != nil {
				t.Errorf("%s %s is said to decide", o, field)
			}
		})
	}
}

func TestRevisions(t *testing.T) {
	m := load(t, registryOnlyMap+`---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-canary, namespace: istio-system}
data: {mesh: "trustDomain: canary.example.org"}
---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: old, namespace: istio-system}
spec: {profile: minimal, revision: 1-20, meshConfig: {trustDomain: old.example.org}}
---
apiVersion: sailoperator.io/v1
kind: Istio
metadata: {name: sail}
spec: {version: v1.24.2, updateStrategy: {type: RevisionBased}, values: {meshConfig: {trustDomain: sail.example.org}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-revision-tag-prod, labels: {istio.io/tag: prod, istio.io/rev: canary}}
---
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {istio.io/rev: canary}}
---
apiVersion: v1
kind: Namespace
metadata: {name: b, labels: {istio.io/rev: prod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: c, labels: {istio.io/rev: canary, istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: d, labels: {istio.io/rev: absent}}
`, Options{})
	wantProblems(t, m)
	if got := slices.Sorted(maps.Keys(m.Revisions)); !slices.Equal(got, []string{"1-20", "canary", "sail-v1-24-2"}) {
		t.Errorf("revisions: %q", got)
	}
	for _, test := range []struct {
		namespace string
		labels    map[string]string
		want      string
	}{
		{"a", nil, "canary.example.org"},
		{"b", nil, "canary.example.org"},
		{"c", nil, "cluster.local"}, // istio-injection goes before istio.io/rev
		{"d", nil, "cluster.local"},
		{"none", map[string]string{"istio.io/rev": "1-20"}, "old.example.org"},
		{"a", map[string]string{"istio.io/rev": "1-20"}, "canary.example.org"}, // the namespace goes before the pod
	} {
		w := &Workload{Namespace: test.namespace, Name: "app", Labels: test.labels}
		if got := m.ConfigFor(w).TrustDomain; got != test.want {
			t.Errorf("workload in %s with %v: trust domain %s, want %s", test.namespace, test.labels, got, test.want)
		}
	}
}

func TestTheOnlyRevisionStandsForTheDefault(t *testing.T) {
	m := load(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-1-24, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
`, Options{})
	if got := m.Config.OutboundTrafficPolicy.Mode.String(); got != "REGISTRY_ONLY" {
		t.Errorf("mode %s", got)
	}
	wantNotes(t, m, "the input has the mesh configuration of revision 1-24 only: it is taken for the default one too")
}

// TestWhatARenderedInstallationShows: helm template of istiod's chart gives a
// Deployment, a ConfigMap and the injector's ConfigMap.
func TestWhatARenderedInstallationShows(t *testing.T) {
	m := loadDir(t, "rendered", Options{})
	wantProblems(t, m)
	c := m.Config
	if got, _ := c.Value("global.proxy.excludeIPRanges"); got != "192.0.2.0/24" {
		t.Errorf("excludeIPRanges is %v", got)
	}
	if p := c.ValuesSource.At(c.ValuesPrefix + ".global.proxy.excludeIPRanges").String(); p != "testdata/rendered/istiod.yaml:35:30" {
		t.Errorf("excludeIPRanges stands at %s", p)
	}
	if c.Environment["PILOT_ENABLE_IP_AUTOALLOCATE"] != "false" || c.Environment["POD_NAME"] != "" {
		t.Errorf("environment: %v", c.Environment)
	}
	if got := c.DefaultConfig.ProxyMetadata["ISTIO_META_DNS_CAPTURE"]; got != "true" {
		t.Errorf("the shared mesh configuration is not read: DNS capture is %q", got)
	}
	if c.OutboundTrafficPolicy.Mode.String() != "REGISTRY_ONLY" {
		t.Errorf("mode %s: istiod's own configuration goes before the shared one", c.OutboundTrafficPolicy.Mode)
	}
	version, o, field := m.IstioVersion()
	if version != "1.24.2" || o.Kind != "Deployment" || field != "spec.template.spec.containers[0].image" {
		t.Errorf("version %s of %v %s", version, o, field)
	}
}

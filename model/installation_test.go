package model

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// gateways lists the implied gateways as "namespace/name service-port>pod-port …".
func gateways(m *Mesh) []string {
	var out []string
	for _, s := range m.KubeServices {
		if s.Implied == "" {
			continue
		}
		text := s.ID()
		for _, p := range s.Spec.Spec.Ports {
			text += fmt.Sprintf(" %s:%d>%s", p.Name, p.Port, p.TargetPort.String())
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

const (
	egressGateway  = "istio-system/istio-egressgateway http2:80>8080 https:443>8443"
	ingressGateway = "istio-system/istio-ingressgateway status-port:15021>15021 http2:80>8080 https:443>8443"
	demoIngress    = "istio-system/istio-ingressgateway status-port:15021>15021 http2:80>8080 https:443>8443 tcp:31400>31400 tls:15443>15443"
)

func operator(spec string) string {
	return "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: mesh, namespace: istio-system}\nspec: " + spec + "\n"
}

func TestGatewaysOfInstallations(t *testing.T) {
	for _, test := range []struct {
		name, manifest string
		set            []string
		gateways       []string
		because        string // place of the gateway's reason
	}{
		{name: "no installation", manifest: sleepDeployment},
		{name: "a flag that only tells the mesh configuration", manifest: sleepDeployment, set: []string{"meshConfig.trustDomain=x"}},
		{name: "profile demo", manifest: operator("{profile: demo}"), gateways: []string{egressGateway, demoIngress}, because: "4:17"},
		{name: "profile demo by flag", manifest: sleepDeployment, set: []string{"profile=demo"}, gateways: []string{egressGateway, demoIngress}, because: "0:0"},
		{name: "default profile", manifest: operator("{}"), gateways: []string{ingressGateway}, because: "4:1"},
		{name: "profile minimal", manifest: operator("{profile: minimal}")},
		{name: "profile empty with a gateway", manifest: operator("{profile: empty, components: {egressGateways: [{name: my-egress, namespace: egress, enabled: true}]}}"),
			gateways: []string{"egress/my-egress http2:80>8080 https:443>8443"}, because: "4:54"},
		{name: "profile demo without its egress gateway", manifest: operator("{profile: demo, components: {egressGateways: [{name: istio-egressgateway, enabled: false}]}}"),
			gateways: []string{demoIngress}, because: "4:17"},
		{name: "a flag on top of a profile", manifest: operator("{profile: demo}"), set: []string{"components.egressGateways[0].enabled=false", "components.egressGateways[0].name=istio-egressgateway"},
			gateways: []string{demoIngress}, because: "4:17"},
		{name: "flags of istioctl 1.4", manifest: sleepDeployment,
			set:      []string{"values.global.istioNamespace=istio-system", "values.gateways.istio-ingressgateway.enabled=false", "values.gateways.istio-egressgateway.enabled=true"},
			gateways: []string{egressGateway}, because: "0:0"},
		{name: "own ports and labels", manifest: operator(`{profile: minimal, components: {egressGateways: [{name: out, label: {istio: out},
    k8s: {service: {ports: [{name: tcp, port: 9000, targetPort: 9443}]}}}]}}`),
			gateways: []string{"istio-system/out tcp:9000>9443"}, because: "4:56"},
		{name: "ports of Helm values", manifest: operator(`{profile: minimal, components: {egressGateways: [{name: out}]}, values: {gateways: {istio-egressgateway: {ports: [{name: x, port: 1}]}}}}`),
			gateways: []string{"istio-system/out x:1>0"}, because: "4:56"},
		{name: "another namespace for all", manifest: operator("{profile: demo, values: {global: {istioNamespace: mesh}}}"),
			gateways: []string{"mesh/istio-egressgateway http2:80>8080 https:443>8443", strings.Replace(demoIngress, "istio-system", "mesh", 1)}, because: "4:17"},
		{name: "a profile that Istio does not ship", manifest: operator("{profile: /home/me/profile.yaml, components: {egressGateways: [{name: istio-egressgateway}]}}"),
			gateways: []string{egressGateway}, because: "4:70"},
		{name: "Big Bang", manifest: `
istio:
  values:
    meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
  postRenderers:
  - kustomize:
      patchesStrategicMerge:
      - kind: Deployment
        metadata: {name: other}
      - kind: IstioOperator
        apiVersion: install.istio.io/v1alpha1
        metadata: {name: istiocontrolplane}
        spec:
          components:
            egressGateways:
            - name: istio-egressgateway
              enabled: true
`, gateways: []string{egressGateway}, because: "16:15"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, test.manifest, Options{Set: test.set})
			wantProblems(t, m)
			if got := gateways(m); !slices.Equal(got, test.gateways) {
				t.Errorf("gateways\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.gateways, "\n"))
			}
			for _, w := range m.Workloads {
				if w.Object.Implied == "" {
					continue
				}
				p := w.Object.At("spec.template")
				if got := fmt.Sprintf("%d:%d", p.Line, p.Column); got != test.because {
					t.Errorf("%s is implied at %s, want %s", w, got, test.because)
				}
				if w.ProxyRole() != Router {
					t.Errorf("%s is no gateway", w)
				}
				if !slices.ContainsFunc(m.Notes, func(n string) bool {
					return strings.HasPrefix(n, "Deployment and Service "+w.ID()+": not in the input, but taken to exist because of ")
				}) {
					t.Errorf("no note says that %s is taken for granted:\n%s", w, strings.Join(m.Notes, "\n"))
				}
				if m.Namespaces[w.Namespace] == nil {
					t.Errorf("no namespace %s", w.Namespace)
				}
			}
		})
	}
}

func TestTheObjectsOfAnImpliedGateway(t *testing.T) {
	m := load(t, operator(`
  profile: demo
  components:
    egressGateways:
    - name: istio-egressgateway
      label: {tier: edge, istio: out}
      k8s:
        podAnnotations: {note: a}
        serviceAnnotations: {networking.istio.io/exportTo: "."}
        overlays: [{kind: Service, name: istio-egressgateway, patches: [{path: spec.type, value: NodePort}]}]`), Options{})
	i := slices.IndexFunc(m.Workloads, func(w *Workload) bool { return w.Name == "istio-egressgateway" })
	w := m.Workloads[i]
	for label, want := range map[string]string{
		"app": "istio-egressgateway", "istio": "out", "tier": "edge", "sidecar.istio.io/inject": "false",
		"istio.io/dataplane-mode": "none", "service.istio.io/canonical-name": "istio-egressgateway",
	} {
		if w.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, w.Labels[label], want)
		}
	}
	if w.Annotations["note"] != "a" || w.Annotations["sidecar.istio.io/inject"] != "false" {
		t.Errorf("annotations: %v", w.Annotations)
	}
	if w.ServiceAccount != "istio-egressgateway-service-account" {
		t.Errorf("service account %s", w.ServiceAccount)
	}
	if c := w.ProxyContainer(); c.Ports[0].ContainerPort != 8080 || c.Ports[1].ContainerPort != 8443 {
		t.Errorf("container ports: %v", c.Ports)
	}
	j := slices.IndexFunc(m.KubeServices, func(s *KubeService) bool { return s.Name == "istio-egressgateway" })
	s := m.KubeServices[j]
	if !subset(s.Spec.Spec.Selector, w.Labels) || len(s.Spec.Spec.Selector) == 0 {
		t.Errorf("the Service selects %v, the pods have %v", s.Spec.Spec.Selector, w.Labels)
	}
	if s.Annotations["networking.istio.io/exportTo"] != "." {
		t.Errorf("annotations of the Service: %v", s.Annotations)
	}
	if !slices.ContainsFunc(m.ServiceAccounts, func(o *manifest.Object) bool { return o.ID() == "istio-system/istio-egressgateway-service-account" }) {
		t.Error("no ServiceAccount")
	}
	if !slices.Contains(m.Notes, "IstioOperator istio-system/mesh: the k8s.overlays of gateway istio-system/istio-egressgateway are not applied") {
		t.Errorf("notes: %q", m.Notes)
	}
}

// TestGatewaysOfTheInputStay: what the input holds is not implied once more.
func TestGatewaysOfTheInputStay(t *testing.T) {
	m := load(t, operator("{profile: demo}")+`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-egressgateway, namespace: istio-system}
spec: {template: {metadata: {labels: {istio: egressgateway}}, spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {ports: [{port: 80}]}
`, Options{})
	wantNotes(t, m,
		"Deployment istio-system/istio-ingressgateway: not in the input…(profile demo installs it)",
		"Service istio-system/istio-egressgateway: not in the input…(profile demo installs it)")
	if len(m.Workloads) != 2 || len(m.KubeServices) != 2 {
		t.Errorf("%d workloads, %d services; want 2 of each", len(m.Workloads), len(m.KubeServices))
	}
}

// TestProfilesSetValues: a profile is more than its gateways.
func TestProfilesSetValues(t *testing.T) {
	for _, test := range []struct{ name, manifest, field string }{
		{"IstioOperator", operator("{profile: preview, components: {ingressGateways: [{name: x, enabled: false}]}}"), "spec.profile"},
		{"Helm", "meshConfig: {}\nprofile: preview\n", "profile"},
		{"Sail", "apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec: {profile: preview}\n", "spec.profile"},
	} {
		m := load(t, test.manifest, Options{})
		if got := m.Config.DefaultConfig.ProxyMetadata["ISTIO_META_DNS_CAPTURE"]; got != "true" {
			t.Errorf("%s: DNS capture is %q, profile preview turns it on", test.name, got)
		}
		if _, field := m.Config.Because("defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE"); field != test.field {
			t.Errorf("%s: DNS capture comes from %q, want %q", test.name, field, test.field)
		}
		wantNotes(t, m)
	}
	m := load(t, "meshConfig: {}\nprofile: ../../../etc/passwd\n", Options{})
	wantNotes(t, m, `HelmValues …: Istio ships no profile "../../../etc/passwd": what it would set is not known`)
}

func TestLayersOfHelmValues(t *testing.T) {
	m := loadDir(t, "values", Options{})
	wantProblems(t, m)
	c := m.Config
	if c.OutboundTrafficPolicy.Mode.String() != "REGISTRY_ONLY" || c.TrustDomain != "base.example.org" || c.DefaultServiceExportTo[0] != "." {
		t.Errorf("mode %s, trust domain %s, export to %s", c.OutboundTrafficPolicy.Mode, c.TrustDomain, c.DefaultServiceExportTo)
	}
	for field, want := range map[string]string{
		"trustDomain":                "testdata/values/values.yaml:4:16",
		"defaultServiceExportTo":     "testdata/values/values.yaml:6:3",
		"outboundTrafficPolicy.mode": "testdata/values/values-prod.yaml:3:33",
	} {
		o, path := c.Because(field)
		if got := o.At(path).String(); got != want {
			t.Errorf("%s comes from %s, want %s", field, got, want)
		}
	}
	wantNotes(t, m, "HelmValues values-prod.yaml is put on top of HelmValues values.yaml, as helm -f does in this order",
		"HelmValues values.yaml asks for Istio 1.24.1; what is simulated is Istio 1.31")
}

// TestMeshConfigurationByItself: --mesh-config names a file that holds nothing
// but a mesh configuration.
func TestMeshConfigurationByItself(t *testing.T) {
	m, _, err := Load(context.Background(), manifest.Options{
		Paths:      []manifest.Path{{Name: "testdata/workloads"}},
		MeshConfig: []string{"testdata/mesh.yaml"},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantProblems(t, m, `3:1 unknown field: HelmValues mesh.yaml has no field "enableAutoMTLS"`)
	if got := m.Config.OutboundTrafficPolicy.Mode.String(); got != "REGISTRY_ONLY" {
		t.Errorf("mode %s", got)
	}
	o, field := m.Config.Because("outboundTrafficPolicy.mode")
	if got := o.At(field).String(); got != "testdata/mesh.yaml:2:9" {
		t.Errorf("mode stands at %s", got)
	}
}

func TestValuesOfSeveralEnvironments(t *testing.T) {
	m := loadDir(t, "environments", Options{})
	if got := m.Config.TrustDomain; got != "test.example.org" {
		t.Errorf("trust domain %s", got)
	}
	wantNotes(t, m, "HelmValues test.yaml is put on top of HelmValues dev.yaml…; they differ in trustDomain: if they are of different environments, give those of one only")
}

func TestWhatIsNotRenderedIsNoted(t *testing.T) {
	m := load(t, `
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: flagger, namespace: flux}
spec: {chart: {spec: {chart: flagger}}, values: {meshProvider: istio}}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: apps, namespace: argocd}
spec: {source: {path: apps}}
`, Options{})
	wantNotes(t, m,
		"no mesh configuration in the input…",
		"HelmRelease flux/flagger and 1 more are not rendered: what they install is not analysed unless the input holds it")
}

func TestRevisionTagsOfSail(t *testing.T) {
	const (
		tag    = "---\napiVersion: sailoperator.io/v1\nkind: IstioRevisionTag\nmetadata: {name: stable}\nspec: {targetRef: {kind: KIND, name: NAME}}\n"
		byName = "---\napiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec: {version: v1.31.0, updateStrategy: {type: RevisionBased}, values: {meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}}\n"
	)
	named := func(kind, name string) string { return strings.NewReplacer("KIND", kind, "NAME", name).Replace(tag) }
	for _, test := range []struct{ name, manifest, want string }{
		{"of an IstioRevision", named("IstioRevision", "canary"), "canary"},
		{"of an Istio by version", byName + named("Istio", "default"), "default-v1-31-0"},
		{"of an Istio that the input does not hold", named("Istio", "mesh"), "mesh"},
		{"of the default revision", named("IstioRevision", "default"), "default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, _, err := Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(test.manifest)}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.RevisionTags["stable"]; got != test.want {
				t.Errorf("tag stable is revision %q, want %q (problems %v)", got, test.want, m.Problems)
			}
		})
	}
}

package model

import (
	"strings"
	"testing"
)

// Objects of which the tests below put meshes together. A ConfigMap "closed" says
// REGISTRY_ONLY.
func closedIn(name, namespace string) string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name
	if namespace != "" {
		text += ", namespace: " + namespace
	}
	return text + "}\ndata: {mesh: \"outboundTrafficPolicy: {mode: REGISTRY_ONLY}\"}\n"
}

func openIn(name, namespace string) string {
	return strings.Replace(closedIn(name, namespace), "REGISTRY_ONLY", "ALLOW_ANY", 1)
}

func podIn(namespace, metadata, spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: orders, namespace: " + namespace + metadata + "}\nspec: {" + spec + "}\n"
}

func istiodIn(namespace, env string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: " + namespace + "}\n" +
		"spec: {template: {metadata: {labels: {app: istiod}}, spec: {containers: [{name: discovery, image: pilot, env: [" + env + "]}]}}}\n"
}

const appSpec = "containers: [{name: app, image: app}]"

// Istiod reads the ConfigMap of its own namespace; which that is, the input says
// more or less clearly.
func TestWhichConfigMapIsRead(t *testing.T) {
	const (
		operator = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: mesh}\nspec: {profile: minimal"
		sail     = "apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec: {namespace: mesh}\n"
		release  = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: istiod, namespace: flux}\nspec: {targetNamespace: mesh, chart: {spec: {chart: istiod}}, values: {pilot: {}}}\n"
		argo     = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: istiod, namespace: argocd}\n" +
			"spec: {destination: {namespace: mesh}, source: {chart: istiod, helm: {valuesObject: {meshConfig: {accessLogFile: /dev/stdout}}}}}\n"
		webhook = "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: istio-sidecar-injector, labels: {istio.io/rev: default}}\n" +
			"webhooks: [{name: rev.namespace.sidecar-injector.istio.io, clientConfig: {service: {name: istiod, namespace: mesh}}, admissionReviewVersions: [v1], sideEffects: None}]\n"
		values  = "meshConfig: {accessLogFile: /dev/stdout}\nglobal: {istioNamespace: mesh}\n"
		gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gate, namespace: shop}\nspec: {gatewayClassName: CLASS, listeners: [{name: a, port: 15008, protocol: HBONE}]}\n"
	)
	app := podIn("shop", "", appSpec)
	for _, test := range []struct {
		name      string
		manifests []string
		set       []string
		mode      string
		unread    []string // names and why, in order
		assumed   string
	}{
		{name: "in istio-system", manifests: []string{closedIn("istio", "istio-system"), podIn("istio-system", "", appSpec)}, mode: "REGISTRY_ONLY"},
		{name: "among applications", manifests: []string{closedIn("istio", "shop"), app}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap shop/istio is not read: … namespace shop holds applications (shop/orders) and nothing of Istio"}},
		{name: "among applications that come first", manifests: []string{app, closedIn("istio", "shop")}, mode: "ALLOW_ANY", unread: []string{"ConfigMap shop/istio …"}},
		{name: "among applications and their waypoint", manifests: []string{closedIn("istio", "shop"), app, strings.Replace(gateway, "CLASS", "istio-waypoint", 1)}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap shop/istio …"}},
		{name: "among applications and a gateway", manifests: []string{closedIn("istio", "shop"), app, strings.Replace(gateway, "CLASS", "istio", 1)}, mode: "REGISTRY_ONLY",
			assumed: "istiod runs in namespace shop, so that ConfigMap shop/istio holds the mesh configuration of the default revision; nothing in the input shows it"},
		{name: "beside a tool of Istio's", manifests: []string{closedIn("istio", "shop"), app, strings.Replace(podIn("shop", ", labels: {app: kiali}", appSpec), "orders", "kiali", 1)}, mode: "REGISTRY_ONLY",
			assumed: "istiod runs in namespace shop…"},
		{name: "where nothing is", manifests: []string{closedIn("istio", "mesh"), app}, mode: "REGISTRY_ONLY", assumed: "istiod runs in namespace mesh…"},
		{name: "one among applications, one where nothing is", manifests: []string{openIn("istio", "mesh"), closedIn("istio", "shop"), app}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap shop/istio …"}, assumed: "istiod runs in namespace mesh…"},
		{name: "one among applications, one in istio-system", manifests: []string{openIn("istio", "istio-system"), closedIn("istio", "shop"), app}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap shop/istio …"}},
		{name: "neither it nor the applications name a namespace", manifests: []string{closedIn("istio", ""), strings.Replace(app, ", namespace: shop", "", 1)}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap default/istio, whose manifest names no namespace, is not read: … namespace default holds applications (default/orders) and nothing of Istio"}},
		{name: "it alone names no namespace", manifests: []string{closedIn("istio", ""), app}, mode: "REGISTRY_ONLY",
			assumed: "istiod runs in namespace default, so that ConfigMap default/istio, whose manifest names no namespace, holds the mesh configuration…"},

		{name: "beside istiod and applications", manifests: []string{closedIn("istio", "shop"), app, istiodIn("shop", "")}, mode: "REGISTRY_ONLY"},
		{name: "in istio-system with istiod elsewhere", manifests: []string{closedIn("istio", "istio-system"), app, istiodIn("mesh", "")}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap istio-system/istio is not read: istiod reads the ConfigMap of its own namespace, which is mesh because of Deployment mesh/istiod"}},
		{name: "istiod of another revision elsewhere", manifests: []string{closedIn("istio", "istio-system"), istiodIn("mesh", "{name: REVISION, value: canary}")}, mode: "REGISTRY_ONLY"},
		{name: "istiod told of its namespace", manifests: []string{closedIn("istio", "istio-system"), istiodIn("mesh", "{name: POD_NAMESPACE, value: istio-system}")}, mode: "REGISTRY_ONLY"},
		{name: "two istiods", manifests: []string{openIn("istio", "a"), istiodIn("a", ""), closedIn("istio", "b"), istiodIn("b", "")}, mode: "REGISTRY_ONLY"},

		{name: "an IstioOperator installs elsewhere", manifests: []string{closedIn("istio", "mesh"), operator + "}\n"}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap mesh/istio is not read: … which is istio-system because of IstioOperator default/mesh"}},
		{name: "an IstioOperator installs there", manifests: []string{closedIn("istio", "mesh"), openIn("istio", "istio-system"), operator + ", values: {global: {istioNamespace: mesh}}}\n"}, mode: "REGISTRY_ONLY",
			unread: []string{"ConfigMap istio-system/istio …"}},
		{name: "its component names another namespace", manifests: []string{closedIn("istio", "mesh"), operator + ", components: {pilot: {namespace: mesh}}}\n"}, mode: "REGISTRY_ONLY"},
		{name: "an IstioOperator of another revision", manifests: []string{closedIn("istio", "mesh"), operator + ", revision: canary}\n"}, mode: "REGISTRY_ONLY", assumed: "istiod runs in namespace mesh…"},
		{name: "a flag installs there", manifests: []string{closedIn("istio", "shop"), app}, set: []string{"values.global.istioNamespace=shop"}, mode: "REGISTRY_ONLY"},
		{name: "Sail", manifests: []string{closedIn("istio", "mesh"), openIn("istio", "istio-system"), sail}, mode: "REGISTRY_ONLY", unread: []string{"ConfigMap istio-system/istio …"}},
		{name: "a HelmRelease", manifests: []string{closedIn("istio", "mesh"), openIn("istio", "istio-system"), release}, mode: "REGISTRY_ONLY", unread: []string{"ConfigMap istio-system/istio …"}},
		{name: "an Application", manifests: []string{closedIn("istio", "mesh"), openIn("istio", "istio-system"), argo}, mode: "REGISTRY_ONLY", unread: []string{"ConfigMap istio-system/istio …"}},
		{name: "a webhook calls there", manifests: []string{closedIn("istio", "mesh"), openIn("istio", "istio-system"), webhook}, mode: "REGISTRY_ONLY"},
		{name: "Helm values tell it for likely only", manifests: []string{closedIn("istio", "istio-system"), values}, mode: "REGISTRY_ONLY"},
		{name: "Helm values tell it for likely", manifests: []string{closedIn("istio", "mesh"), openIn("istio", "istio-system"), values}, mode: "REGISTRY_ONLY"},

		{name: "a shared one beside istiod", manifests: []string{closedIn("user", "mesh"), openIn("user", "istio-system"), istiodIn("mesh", "{name: SHARED_MESH_CONFIG, value: user}")}, mode: "REGISTRY_ONLY",
			unread: []string{"ConfigMap istio-system/user …"}},
		{name: "a shared one elsewhere", manifests: []string{closedIn("user", "shop"), app, istiodIn("mesh", "{name: SHARED_MESH_CONFIG, value: user}")}, mode: "ALLOW_ANY",
			unread: []string{"ConfigMap shop/user …"}},
		{name: "a shared one that is called like that of a revision", manifests: []string{closedIn("istio-shared", "mesh"), istiodIn("mesh", "{name: SHARED_MESH_CONFIG, value: istio-shared}")}, mode: "REGISTRY_ONLY"},
		{name: "a shared one stays where the other is refused", mode: "REGISTRY_ONLY", manifests: []string{closedIn("user", "mesh"),
			strings.Replace(closedIn("istio", "mesh"), "REGISTRY_ONLY", "CLOSED", 1), istiodIn("mesh", "{name: SHARED_MESH_CONFIG, value: user}")}},
		{name: "one of a revision among applications", manifests: []string{closedIn("istio-canary", "shop"), app}, mode: "ALLOW_ANY", unread: []string{"ConfigMap shop/istio-canary …"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, strings.Join(test.manifests, "---\n"), Options{Set: test.set})
			if got := m.Config.OutboundTrafficPolicy.GetMode().String(); got != test.mode {
				t.Errorf("mode %s, want %s\n%s", got, test.mode, strings.Join(m.Notes, "\n"))
			}
			if len(m.UnreadConfigs) != len(test.unread) {
				t.Fatalf("%d ConfigMaps are unread, want %d: %v", len(m.UnreadConfigs), len(test.unread), m.UnreadConfigs)
			}
			for i, u := range m.UnreadConfigs {
				if !matches(u.Why, test.unread[i]) {
					t.Errorf("unread %d: %s\nwant %s", i, u.Why, test.unread[i])
				}
			}
			if got := strings.Join(m.Config.Assumptions, "; "); !matches(got, test.assumed) || (got == "") != (test.assumed == "") {
				t.Errorf("assumed %q, want %q", got, test.assumed)
			}
		})
	}
}

// The values of the injector, too, are those of istiod's namespace.
func TestWhichInjectorIsRead(t *testing.T) {
	injector := func(namespace, excluded string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-sidecar-injector, namespace: " + namespace + "}\n" +
			"data: {values: '{\"global\":{\"proxy\":{\"excludeIPRanges\":\"" + excluded + "\"}}}'}\n"
	}
	app := podIn("shop", "", appSpec)
	for name, test := range map[string]struct {
		manifests []string
		want      any
		unread    int
	}{
		"among applications": {[]string{injector("shop", "192.0.2.0/24"), app}, nil, 1},
		"in istio-system":    {[]string{injector("istio-system", "192.0.2.0/24"), injector("shop", "198.51.100.0/24"), app}, "192.0.2.0/24", 1},
		"beside istiod":      {[]string{injector("shop", "192.0.2.0/24"), injector("istio-system", "198.51.100.0/24"), app, istiodIn("shop", "")}, "192.0.2.0/24", 1},
		"where nothing is":   {[]string{injector("mesh", "192.0.2.0/24"), app}, "192.0.2.0/24", 0},
	} {
		m := load(t, strings.Join(test.manifests, "---\n"), Options{})
		if got, _ := m.Config.Value("global.proxy.excludeIPRanges"); got != test.want || len(m.UnreadConfigs) != test.unread {
			t.Errorf("%s: excludeIPRanges %v, want %v; unread %v", name, got, test.want, m.UnreadConfigs)
		}
	}
}

// Many ConfigMaps that nobody reads do not fill the notes.
func TestManyUnreadConfigs(t *testing.T) {
	var text strings.Builder
	for _, c := range "abcdefghij" {
		text.WriteString(closedIn("istio-"+string(c), "shop") + "---\n")
	}
	m := load(t, text.String()+podIn("shop", "", appSpec), Options{})
	if len(m.UnreadConfigs) != 10 || len(m.Notes) != 7 || !strings.HasPrefix(m.Notes[6], "5 more ConfigMaps are not read") {
		t.Errorf("%d unread, notes:\n%s", len(m.UnreadConfigs), strings.Join(m.Notes, "\n"))
	}
}

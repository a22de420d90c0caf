package model

import (
	"strings"
	"testing"
)

func TestRefusedObjects(t *testing.T) {
	for _, test := range []struct {
		name, manifest string
		problems       []string
	}{
		{"a DENY policy without rules", `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny}
spec:
  action: DENY
`, []string{"6:11 rejected: AuthorizationPolicy default/deny is refused by Istio's validation: …DENY action without `rules` is meaningless"}},
		{"a port that does not exist, in the second of two", `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com]
  ports:
  - {name: tls, number: 443, protocol: TLS}
  - name: far
    number: 99999
    protocol: TCP
  resolution: DNS
`, []string{"10:13 rejected: …port number 99999 must be in the range 1..65535"}},
		{"a wildcard that DNS cannot resolve", `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild}
spec:
  hosts:
  - api.example.com
  - "*.example.com"
  ports: [{name: tls, number: 443, protocol: TLS}]
  resolution: DNS
`, []string{"8:5 rejected: …hosts must be FQDN…*.example.com"}},
		{"a mode that does not exist", `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  outboundTrafficPolicy:
    mode: REGISTER_ONLY
`, []string{`7:11 rejected: Sidecar default/default is refused by the API server: spec.outboundTrafficPolicy.mode unsupported value "REGISTER_ONLY": supported values: …"REGISTRY_ONLY"`}},
		{"a number in quotes", `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress}
spec:
  servers:
  - hosts: [api.example.com]
    port:
      name: tls
      number: "443"
      protocol: TLS
`, []string{"10:15 rejected: …spec.servers[0].port.number must be of type integer, not string"}},
		{"two alternatives at once", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.example.com]
  http:
  - match:
    - uri: {exact: /a, prefix: /b}
    route: [{destination: {host: api.example.com}}]
`, []string{"9:7 rejected: …spec.http[0].match[0].uri at most one of these may be set: exact, prefix, regex"}},
		{"numbers and lengths out of range", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api}
spec:
  host: api.example.com
  trafficPolicy: {loadBalancer: {warmup: {duration: 10s, minimumPercent: 150}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt}
spec:
  jwtRules: [{issuer: ""}]
  targetRef: {kind: "Ser vice", name: x}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none}
spec: {hosts: []}
`, []string{
			"7:74 rejected: …spec.trafficPolicy.loadBalancer.warmup.minimumPercent must be at most 100, not 150",
			"13:23 rejected: …spec.jwtRules[0].issuer must not be empty; spec.targetRef.kind value \"Ser vice\" must match ",
			"19:8 rejected: …spec.hosts must not be empty",
		}},
		{"an empty item of a list", `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  egress:
  - hosts:
    -
`, []string{"8:6 rejected: …spec.egress[0].hosts[0] must be of type string, not null"}},
		{"a version that the kind does not have", `
apiVersion: networking.istio.io/v1beta1
kind: EnvoyFilter
metadata: {name: tweak}
spec: {}
`, []string{`2:13 rejected: …Istio has no EnvoyFilter of version "v1beta1", only v1alpha3`}},
		{"a kind that Istio does not have", `
apiVersion: networking.istio.io/v1
kind: EgressGateway
metadata: {name: x}
`, []string{`3:7 rejected: …Istio has no kind "EgressGateway" in networking.istio.io/v1`}},
		{"a missing field", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  trafficPolicy: {tls: {mode: SIMPLE}}
`, []string{"5:1 rejected: …spec required field is missing: host"}},
		{"a placeholder", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: ${HOST}
`, []string{`6:9 template: DestinationRule default/tls holds the placeholder ${HOST} and is refused as it stands: …domain name "${HOST}" invalid`}},
		{"a placeholder amid a name", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: $GATEWAY_NAME.$GATEWAY_NAMESPACE.svc.cluster.local
`, []string{`6:9 template: DestinationRule default/tls holds the placeholder $GATEWAY_NAME and is refused as it stands: …`}},
		{"a placeholder of another tool", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: api.SHOP_NAMESPACE_PLACEHOLDER.svc
`, []string{`6:9 template: DestinationRule default/tls holds the placeholder SHOP_NAMESPACE_PLACEHOLDER and is refused as it stands: …`}},
		{"a placeholder in capitals", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: api.SHOP_NAMESPACE.svc
`, []string{`6:9 template: DestinationRule default/tls holds the placeholder SHOP_NAMESPACE and is refused as it stands: …`}},
		{"dots in a name", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: ef39...us-east-2.elb.example.com
`, []string{`6:9 template: DestinationRule default/tls holds the placeholder ef39...us-east-2 and is refused as it stands: …`}},
		{"capitals that are a value", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: a_b.example.com
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
`, []string{`6:9 rejected: …domain name "a_b.example.com" invalid`}},
		{"a patch of a Deployment", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  template:
    metadata:
      labels: {sidecar.istio.io/inject: "false"}
`, []string{`2:1 unrendered: Deployment shop/client has neither a selector nor containers: it is a patch…`}},
		{"a patch of a container", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  template:
    spec: {containers: [{name: app, args: [-v]}]}
`, []string{`2:1 unrendered: Deployment shop/client has neither a selector, labels nor an image: it is a patch…`}},
		{"a patch of a Deployment's labels", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata:
      labels: {app: client}
`, []string{`2:1 unrendered: Deployment shop/client has neither a specification of its pods nor containers: it is a patch…`}},
		{"a Deployment without containers", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    spec: {restartPolicy: Always}
`, []string{`8:5 rejected: Deployment shop/client is refused by the API server: spec.template.spec required field is missing: containers`}},
		{"a NetworkPolicy whose exception is not inside", `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock}
spec:
  podSelector: {}
  egress:
  - to:
    - ipBlock:
        cidr: 10.0.0.0/8
        except:
        - 192.168.0.0/16
`, []string{`12:11 rejected: …spec.egress[0].to[0].ipBlock.except[0] "192.168.0.0/16" must be a strict subset of "10.0.0.0/8"`}},
		{"a NetworkPolicy with a quoted port", `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock}
spec:
  podSelector: {}
  policyTypes: [Egres]
  egress:
  - ports: [{port: "8443"}]
`, []string{`9:20 rejected: …"8443" is not a valid port name (a number must not be quoted); spec.policyTypes[0] unsupported value "Egres"`}},
		{"a wrong type in a Deployment", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    spec:
      containers:
      - name: app
        ports:
        - containerPort: http
`, []string{"12:26 rejected: Deployment default/app is refused by the API server: spec.template.spec.containers[0].ports[0].containerPort cannot unmarshal string"}},
		{"a mesh configuration that is no text", `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh:
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`, []string{"6:3 rejected: ConfigMap istio-system/istio is refused by the API server: data.mesh cannot unmarshal object"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, test.manifest, Options{})
			wantProblems(t, m, test.problems...)
			if !m.Partial() {
				t.Error("the result is not marked as partial")
			}
			if n := len(m.istioObjects()) + len(m.NetworkPolicies) + len(m.Workloads); n != 0 {
				t.Errorf("the mesh has %d objects, the refused one is one of them", n)
			}
		})
	}
}

func TestObjectsThatAreTaken(t *testing.T) {
	for _, test := range []struct{ name, manifest string }{
		{"null in place of a value", `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, creationTimestamp: null}
spec:
  hosts: [api.example.com]
  addresses: null
  endpoints: null
  ports: [{name: tls, number: 443, protocol: TLS}]
  resolution: DNS
status: {}
`},
		{"a name that the server makes", `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {generateName: egress-}
spec:
  servers:
  - {hosts: ["*"], port: {name: http, number: 80, protocol: HTTP}}
`},
		{"an empty policy", `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing}
`},
		{"what validation only warns of", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.example.com]
  http:
  - route: [{destination: {host: api.example.com}}]
  - match: [{uri: {prefix: /never}}]
    route: [{destination: {host: api.example.com}}]
`},
		{"an EnvoyFilter with anything in its patch", `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: tweak}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    patch: {operation: REMOVE, value: {name: envoy.filters.http.rbac, unknown: [1, null]}}
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, test.manifest, Options{})
			wantProblems(t, m)
			if n := len(m.istioObjects()); n != 1 {
				t.Errorf("the mesh has %d objects of Istio's, want 1", n)
			}
		})
	}
}

// TestARefusedDuplicateLeavesTheFirst: the API server refuses the second
// definition, so the first stays.
func TestARefusedDuplicateLeavesTheFirst(t *testing.T) {
	m := load(t, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec: {outboundTrafficPolicy: {mode: ANY}}
`, Options{})
	wantProblems(t, m, "10:38 rejected: …unsupported value")
	if len(m.Sidecars) != 1 || m.Sidecars[0].Spec.GetOutboundTrafficPolicy().GetMode().String() != "REGISTRY_ONLY" {
		t.Errorf("sidecars: %v", m.Sidecars)
	}
}

func TestUnknownFields(t *testing.T) {
	m := load(t, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  lables: {a: b}
spec:
  outboundTrafficpolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["./*"]}]
ingress: []
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock}
spec:
  podselector: {matchLabels: {app: web}}
  policyTypes: [Egress]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  externalName: api.example.com
  typ: ExternalName
  ports: [{port: 80}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        metadata: {label: {app: nightly}}
        spec:
          hostNetworks: true
          containers: [{name: main, image: busybox}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    trustDomain: example.org
    outBoundTrafficPolicy: {mode: REGISTRY_ONLY}
---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  revision: canary
  meshConfig:
    defaultConfig:
      outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`, Options{})
	wantProblems(t, m,
		`6:3 unknown field: Sidecar default/default has no field "metadata.lables"`,
		`8:3 unknown field: …"spec.outboundTrafficpolicy"`,
		`10:1 unknown field: …"ingress"`,
		`16:3 unknown field: …"spec.podselector"`,
		`24:3 unknown field: …"spec.typ"`,
		`34:20 unknown field: …"spec.jobTemplate.spec.template.metadata.label"`,
		`36:11 unknown field: …"spec.jobTemplate.spec.template.spec.hostNetworks"`,
		`45:5 unknown field: …"data.mesh.outBoundTrafficPolicy"`,
		`54:7 unknown field: …"spec.meshConfig.defaultConfig.outboundTrafficPolicy"`)
	if m.Partial() {
		t.Error("unknown fields make nothing partial: the objects stay")
	}
	if got := m.Problems[1].Help; got != `did you mean "outboundTrafficPolicy"?` {
		t.Errorf("help: %s", got)
	}
	// What is not known decides nothing, not even by the case of its letters.
	if m.Sidecars[0].Spec.OutboundTrafficPolicy != nil || m.NetworkPolicies[0].Spec.Spec.PodSelector.MatchLabels != nil ||
		m.Workloads[0].Pod.HostNetwork || m.Config.OutboundTrafficPolicy.Mode.String() != "ALLOW_ANY" {
		t.Error("an unknown field took effect")
	}
}

// TestHostileTextDoesNotReachTerminals: messages quote the input.
func TestHostileTextDoesNotReachTerminals(t *testing.T) {
	m := load(t, "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec: {host: \"a\\e[31mb\\nc\"}\n", Options{})
	if len(m.Problems) != 1 {
		t.Fatalf("problems: %q", problems(m))
	}
	for _, r := range m.Problems[0].Message {
		if r < ' ' {
			t.Errorf("message has control character %U: %q", r, m.Problems[0].Message)
		}
	}
}

// An API server drops the protobuf name of a field. What old documents write so
// is taken as meant, but not silently; of a version that no API server without
// pruning ever served, it is dropped.
func TestProtobufNames(t *testing.T) {
	service := func(version, names string) string {
		return "apiVersion: networking.istio.io/" + version + `
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.example.com]
  ` + names + `
  tls:
  - match: [{port: 443, sniHosts: [api.example.com]}]
    route: [{destination: {host: api.example.com}}]
`
	}
	old := load(t, service("v1alpha3", `export_to: ["."]`), Options{})
	wantProblems(t, old, `6:3 unknown field: VirtualService default/api writes "spec.export_to" by its protobuf name: …looks for "exportTo"; here it is taken as that…`)
	if got := old.VirtualServices[0].Spec.GetExportTo(); len(got) != 1 {
		t.Errorf("v1alpha3: exportTo %q, want one", got)
	}
	current := load(t, service("v1", `export_to: ["."]`), Options{})
	wantProblems(t, current, `6:3 unknown field: VirtualService default/api writes "spec.export_to" by its protobuf name: …looks for "exportTo"; it decides nothing…`)
	if got := current.VirtualServices[0].Spec.GetExportTo(); len(got) != 0 {
		t.Errorf("v1: exportTo %q, want none", got)
	}

	for version, refused := range map[string]bool{"v1alpha3": false, "v1beta1": true, "v1": true} {
		m := load(t, strings.Replace(service(version, "gateways: [mesh]"), "sniHosts", "sni_hosts", 1), Options{})
		if got := len(m.VirtualServices) == 0; got != refused {
			t.Errorf("%s, required sniHosts as sni_hosts: refused %v, want %v: %q", version, got, refused, problems(m))
		}
		if refused {
			wantProblems(t, m, `8:… rejected: VirtualService default/api is refused by the API server: spec.tls[0].match[0] required field is missing: sniHosts`)
			if help := m.Problems[0].Help; !strings.Contains(help, `write "sniHosts" in place of "sni_hosts"`) {
				t.Errorf("%s: help %q", version, help)
			}
		}
	}

	// The CRD itself has these names.
	kept := load(t, `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec:
  jwtRules: [{issuer: a, jwks_uri: "https://a.example.com/keys"}]
`, Options{})
	wantProblems(t, kept)
	if got := kept.RequestAuthentications[0].Spec.GetJwtRules()[0].GetJwksUri(); got == "" {
		t.Error("jwks_uri is dropped, although the CRD has it")
	}
}

package analyzers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
)

// steeringLines words the steerings of a mesh: hosts, protocol, port, gateway,
// and the fields of the condition and of the destination.
func steeringLines(in *intent) []string {
	var out []string
	for _, s := range in.steerings {
		line := fmt.Sprintf("%s %s %d to %s: %s %s %s", strings.Join(hostNames(s.Hosts), ","), s.Scheme, s.Port, s.gateway(), s.Object, s.Match, s.To)
		if text, _ := s.refuses(&model.Workload{}); text != "" {
			line += " (" + text + ")"
		}
		out = append(out, line)
	}
	return out
}

// routeTo replaces the documented mesh's VirtualService.
func routeTo(spec string) string {
	mesh := egressDoc("")
	i := strings.Index(mesh, "apiVersion: networking.istio.io/v1\nkind: VirtualService\n")
	return mesh[:i] + "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: api\n  namespace: shop\nspec:\n" + spec
}

func TestSteered(t *testing.T) {
	const gateway, elsewhere = "egress.istio-egress.svc.cluster.local", "istio-egressgateway.istio-system.svc.cluster.local"
	tests := []struct {
		name, manifests string
		want            []string
	}{
		{"the documented mesh", egressDoc(""), []string{
			"api.example.com http 80 to egress gateway istio-egress/egress: VirtualService istio-egress/api spec.http[0].match[0] spec.http[0].route[0].destination",
		}},
		{"each condition and destination", routeTo(`  hosts: [api.example.com, "*.files.example.com"]
  http:
  - match:
    - port: 80
      sourceLabels: {app: orders}
    - port: 8080
      gateways: [mesh]
      sourceLabels: {app: orders}
    route:
    - destination: {host: ` + gateway + `}
      weight: 90
    - destination: {host: api.example.com}
      weight: 10
  tls:
  - match:
    - sniHosts: ["www.files.example.com"]
      sourceNamespace: shop
    route:
    - destination: {host: ` + gateway + `}
  tcp:
  - route:
    - destination: {host: ` + gateway + `}
`), []string{
			`api.example.com,*.files.example.com http 80 to egress gateway istio-egress/egress: VirtualService shop/api spec.http[0].match[0] spec.http[0].route[0].destination (it asks for sourceLabels "app=orders")`,
			`api.example.com,*.files.example.com http 8080 to egress gateway istio-egress/egress: VirtualService shop/api spec.http[0].match[1] spec.http[0].route[0].destination`,
			`www.files.example.com tls 0 to egress gateway istio-egress/egress: VirtualService shop/api spec.tls[0].match[0] spec.tls[0].route[0].destination (it asks for sourceNamespace "shop")`,
			`api.example.com,*.files.example.com tcp 0 to egress gateway istio-egress/egress: VirtualService shop/api spec.tcp[0] spec.tcp[0].route[0].destination`,
		}},
		{"rules of a gateway are none of the mesh", routeTo(`  hosts: [api.example.com]
  gateways: [mesh, istio-egress/egress]
  http:
  - match:
    - gateways: [istio-egress/egress]
    route:
    - destination: {host: ` + gateway + `}
`), nil},
		{"a VirtualService for gateways only", routeTo(`  hosts: [api.example.com]
  gateways: [istio-egress/egress]
  http:
  - route:
    - destination: {host: ` + gateway + `}
`), nil},
		{"hosts of the cluster", routeTo(`  hosts: [orders.shop.svc.cluster.local]
  http:
  - route:
    - destination: {host: ` + gateway + `}
`), nil},
		{"a gateway that is not in the input", routeTo(`  hosts: [api.example.com]
  gateways: [mesh, istio-egress/egress]
  http:
  - match:
    - gateways: [mesh]
    route:
    - destination: {host: ` + elsewhere + `}
  - match:
    - gateways: [istio-egress/egress]
    route:
    - destination: {host: api.example.com}
`), []string{
			"api.example.com http 0 to Service istio-system/istio-egressgateway: VirtualService shop/api spec.http[0].match[0] spec.http[0].route[0].destination",
		}},
		{"a Service that is not in the input and nothing at a gateway", routeTo(`  hosts: [api.example.com]
  http:
  - route:
    - destination: {host: ` + elsewhere + `}
`), nil},
		{"a host that a gateway serves from inside", routeTo(`  hosts: [api.example.com]
  gateways: [mesh, istio-egress/egress]
  http:
  - route:
    - destination: {host: front.shop.svc.cluster.local}
`), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := steeringLines(intentOf(passOver(t, test.manifests))); !slices.Equal(got, test.want) {
				t.Errorf("steered:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestPoliced(t *testing.T) {
	allow := func(host string) string {
		return strings.ReplaceAll(allowOrders("istio-egress", "istio-egress"), "api.example.com", host)
	}
	tests := []struct {
		name, policies string
		want           []string
	}{
		{"named, with a port too", allow("api.example.com:*"), []string{"istio-egress/orders-to-api spec.rules[0].to[0].operation.hosts[0] true"}},
		{"another host: closed by default", allow("files.example.com"), []string{"istio-egress/allow-nothing spec false", "istio-egress/orders-to-api spec false"}},
		{"no policy", "", nil},
		{"a policy that the gateway does not take", allowOrders("shop", "shop"), nil},
		{"for show", strings.ReplaceAll(allow("api.example.com"), "  namespace: istio-egress\n", "  namespace: istio-egress\n  annotations:\n    istio.io/dry-run: \"true\"\n"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := intentOf(passOver(t, egressDoc(test.policies)))
			if len(in.steerings) != 1 {
				t.Fatalf("%d steerings, want 1", len(in.steerings))
			}
			var got []string
			for _, p := range in.policed(in.steerings[0], "api.example.com") {
				got = append(got, fmt.Sprint(p.Policy.ID(), " ", p.Field, " ", p.Named))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("policed by %q, want %q", got, test.want)
			}
		})
	}
}

func TestRegistryControl(t *testing.T) {
	sidecar := func(mode string) string {
		return "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: default\n  namespace: shop\nspec:\n  outboundTrafficPolicy: " + mode + "\n"
	}
	tests := []struct {
		name, manifests string
		want            []string
	}{
		{"the mesh", egressDoc(""), []string{"ConfigMap istio-system/istio data.mesh.outboundTrafficPolicy.mode"}},
		{"open", egressDoc("", "REGISTRY_ONLY", "ALLOW_ANY"), nil},
		{"a namespace", egressDoc(sidecar("{mode: REGISTRY_ONLY}"), "REGISTRY_ONLY\n---", "ALLOW_ANY\n---"), []string{"Sidecar shop/default spec.outboundTrafficPolicy"}},
		{"a namespace, by an empty policy", egressDoc(sidecar("{}"), "REGISTRY_ONLY", "ALLOW_ANY"), []string{"Sidecar shop/default spec.outboundTrafficPolicy"}},
		{"an open namespace", egressDoc(sidecar("{mode: ALLOW_ANY}")), []string{"ConfigMap istio-system/istio data.mesh.outboundTrafficPolicy.mode"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, b := range intentOf(passOver(t, test.manifests)).registryControl() {
				got = append(got, fmt.Sprint(b.Object, " ", b.Field))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("control %q, want %q", got, test.want)
			}
		})
	}
}

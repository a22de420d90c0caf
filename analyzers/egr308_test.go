package analyzers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// TestBoundToGatewayDefinedTwice holds the VirtualServices of one mesh against the
// Gateway of another, which has the same name.
func TestBoundToGatewayDefinedTwice(t *testing.T) {
	gateway := func(name, host string) string {
		return `apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: ` + name + `
  namespace: perimeter
spec:
  selector:
    app: way-out
  servers:
  - port:
      number: 80
      name: http
      protocol: HTTP
    hosts:
    - ` + host + `
---
`
	}
	const route = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: api
  namespace: perimeter
spec:
  hosts:
  - api.carrier.example
  gateways:
  - way-out
  http:
  - route:
    - destination:
        host: api.carrier.example
`
	for _, tt := range []struct {
		name, manifests string
		want            bool
	}{
		{"other host", gateway("way-out", "files.carrier.example") + route, true},
		{"defined in two ways", gateway("way-out", "api.carrier.example") + gateway("way-out", "files.carrier.example") + route, false},
		{"defined twice alike", gateway("way-out", "files.carrier.example") + gateway("way-out", "files.carrier.example") + route, true},
		{"another one defined in two ways", gateway("in", "a.carrier.example") + gateway("in", "b.carrier.example") + gateway("way-out", "files.carrier.example") + route, true},
		{"route defined in two ways", gateway("way-out", "files.carrier.example") + strings.Replace(route, "- way-out", "- mesh", 1) + "---\n" + route, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines := analyzertest.RunText(t, tt.manifests, "EGR308")
			got := slices.ContainsFunc(lines, func(l string) bool {
				return strings.Contains(l, "perimeter/way-out, no server of which has api.carrier.example")
			})
			if got != tt.want || len(lines) > 1 {
				t.Errorf("reported: %v, want %v: %q", got, tt.want, lines)
			}
		})
	}
}

// TestGatewayDisabledInOneOfTwo leaves out what one of two definitions of an
// IstioOperator disables: which is in force the manifests do not tell.
func TestGatewayDisabledInOneOfTwo(t *testing.T) {
	var mesh string
	for _, file := range []string{"egress.yaml", "mesh.yaml"} {
		text, err := os.ReadFile(filepath.Join(testdata, "EGR308", "bad", "gateway-disabled", file))
		if err != nil {
			t.Fatal(err)
		}
		mesh += string(text) + "---\n"
	}
	const operator = "apiVersion: install.istio.io"
	_, rest, _ := strings.Cut(mesh, operator)
	other := strings.Replace(operator+rest, "enabled: false", "enabled: true", 1)
	for name, manifests := range map[string]string{"once": mesh, "twice": other + mesh} {
		lines := analyzertest.RunText(t, manifests, "EGR308")
		if want := name == "once"; slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "disables gateway") }) != want {
			t.Errorf("defined %s, reported %v: %q", name, !want, lines)
		}
	}
}

// TestBoundToRefusedGateway leaves a Gateway that is there and refused to EGR011.
func TestBoundToRefusedGateway(t *testing.T) {
	const manifests = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: perimeter}
spec:
  selector: {app: way-out}
  servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [api.carrier.example]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: perimeter}
spec:
  selector: {app: entrance}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: perimeter}
spec:
  hosts: [api.carrier.example]
  gateways: [way-out]
  http: [{route: [{destination: {host: api.carrier.example}}]}]
`
	for name, want := range map[string]int{"way-out": 0, "way-in": 1} {
		if lines := analyzertest.RunText(t, fmt.Sprintf(manifests, name), "EGR308"); len(lines) != want {
			t.Errorf("with Gateway %s refused: %q", name, lines)
		}
	}
}

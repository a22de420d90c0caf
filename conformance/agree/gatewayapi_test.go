package agree

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/schema/gvk"

	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// TestGatewayAPI compares what the product and istiod's own controller make of
// the inputs of Istio's tests of that controller.
func TestGatewayAPI(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "pilot/pkg/config/kube/gateway/testdata/*.yaml"))
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".yaml")
		if strings.HasSuffix(name, ".status") || strings.HasPrefix(name, "benchmark") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			text = append(withNames(text), services()...)
			text = append(text, namespaces(text)...)
			want, err := istiods(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ours(t, text)
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				if g, found := got[name]; !found {
					t.Errorf("missing %s\n%s", name, w)
				} else if g != w {
					t.Errorf("%s\n got %s\nwant %s", name, g, w)
				}
			}
			for name, g := range got {
				if _, found := want[name]; !found {
					t.Errorf("too much: %s\n%s", name, g)
				}
			}
		})
	}
}

// withNames drops the domain that Istio's tests use for the real default.
func withNames(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("domain.suffix"), []byte("cluster.local"))
}

// services are Services that Istio's tests hold in their code.
func services() []byte {
	var b bytes.Buffer
	for _, s := range []string{
		"istio-system/istio-ingressgateway", "default/httpbin", "apple/httpbin-apple", "banana/httpbin-banana", "default/httpbin-second",
		"default/httpbin-wildcard", "default/foo-svc", "default/httpbin-other", "default/example", "default/echo", "default/echo-1",
		"default/echo-2", "default/echo-port", "cert/httpbin", "service/my-svc", "allowed-1/a-example", "allowed-2/a-example",
	} {
		ns, name, _ := strings.Cut(s, "/")
		fmt.Fprintf(&b, "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec: {ports: [{name: http, port: 80}]}\n", name, ns)
	}
	return b.Bytes()
}

var namespaceField = regexp.MustCompile(`namespace: "?([a-z0-9-]+)`)

// namespaces are the Namespaces of a text, labelled as in Istio's tests.
func namespaces(text []byte) []byte {
	var b bytes.Buffer
	seen := map[string]bool{"default": true}
	for _, m := range namespaceField.FindAllSubmatch(text, -1) {
		seen[string(m[1])] = true
	}
	for _, ns := range slices.Sorted(maps.Keys(seen)) {
		part, _, _ := strings.Cut(ns, "-")
		fmt.Fprintf(&b, "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {istio.io/test-name-part: %s}}\n", ns, part)
	}
	return b.Bytes()
}

// bare is what decides about traffic in an object: mirrors, timeouts, retries
// and the like do not.
func bare(m proto.Message) string {
	m = proto.Clone(m)
	switch v := m.(type) {
	case *networking.VirtualService:
		for _, h := range v.GetHttp() {
			h.Mirrors, h.Timeout, h.Retries, h.CorsPolicy = nil, nil, nil, nil
			if h.GetRedirect() != nil {
				h.Redirect = &networking.HTTPRedirect{RedirectCode: h.GetRedirect().GetRedirectCode()}
				if h.Redirect.RedirectCode == 0 {
					h.Redirect.RedirectCode = 302 // by default of the API
				}
			}
			h.Headers = requestOnly(h.GetHeaders())
			for _, r := range h.GetRoute() {
				r.Headers = requestOnly(r.GetHeaders())
			}
		}
	case *networking.Gateway:
		for _, s := range v.GetServers() {
			if s.GetTls() != nil {
				s.Tls = &networking.ServerTLSSettings{Mode: s.GetTls().GetMode()}
			}
		}
	}
	js, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, js); err != nil {
		return err.Error()
	}
	return compact.String()
}

func requestOnly(h *networking.Headers) *networking.Headers {
	if h.GetRequest() == nil {
		return nil
	}
	return &networking.Headers{Request: h.GetRequest()}
}

func istiods(text []byte) (map[string]string, error) {
	manifests, err := judge.Parse(text)
	if err != nil {
		return nil, err
	}
	mesh, err := judge.Open(manifests)
	if err != nil {
		return nil, err
	}
	defer mesh.Close()
	out := map[string]string{}
	for _, c := range mesh.Configs(gvk.VirtualService) {
		out["VirtualService "+c.Namespace+"/"+c.Name] = bare(c.Spec.(proto.Message))
	}
	for _, c := range mesh.Configs(gvk.Gateway) {
		out["Gateway "+c.Namespace+"/"+c.Name] = bare(c.Spec.(proto.Message))
	}
	return out, nil
}

func ours(t *testing.T, text []byte) (map[string]string, error) {
	file := filepath.Join(t.TempDir(), "input.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: file}}}, model.Options{})
	if err != nil {
		return nil, err
	}
	push := model.NewPushContext(mesh, mesh.Config, 0)
	out := map[string]string{}
	for _, vs := range push.VirtualServices() {
		spec := proto.Clone(vs.Spec).(*networking.VirtualService)
		if vs.OfGatewayAPI != "" {
			spec.Tls, spec.Tcp = vs.TLS, vs.TCP
			for _, r := range vs.HTTP {
				spec.Http = append(spec.Http, r.HTTPRoute)
			}
		}
		out["VirtualService "+vs.ID()] = bare(spec)
	}
	for _, g := range push.Gateways() {
		// Whether its Secret exists the input does not tell.
		if cn := g.Spec.GetServers()[0].GetTls().GetCredentialName(); push.GatewayOrigin(g) != nil && strings.HasPrefix(cn, "kubernetes-gateway://") {
			continue
		}
		out["Gateway "+g.ID()] = bare(g.Spec)
	}
	return out, nil
}

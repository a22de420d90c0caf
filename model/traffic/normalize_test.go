package traffic

import (
	"context"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// proxyUnder returns a proxy of a mesh with this mesh configuration, the lines
// of which are YAML.
func proxyUnder(t *testing.T, config ...string) *proxy {
	t.Helper()
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    enableTracing: false\n"
	for _, line := range config {
		text += "    " + line + "\n"
	}
	m, _, err := model.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text),
	}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Problems {
		t.Fatalf("%v: %s", p.Position, p.Message)
	}
	return &proxy{push: model.NewPushContext(m, m.Config, 0)}
}

// What comes of which path is a table of Istio's own test against its proxy
// (istio tests/integration/security/normalization_test.go TestNormalization).
func TestPathNormalization(t *testing.T) {
	for mode, paths := range map[string]map[string]string{
		"NONE": {
			"/":                    "/",
			"/app/../admin":        "/app/../admin",
			"/app//":               "/app//",
			"/xyz%30..//abc":       "/xyz%30..//abc",
			"/app/%2E./admin":      "/app/%2E./admin",
			`/app\admin`:           `/app\admin`,
			`/%2Fapp%5cadmin`:      `/%2Fapp%5cadmin`,
			"/%00":                 "/%00",
			"/app/../admin?x=../y": "/app/../admin?x=../y",
		},
		"BASE": {
			"/":                  "/",
			"/app/":              "/app/",
			"/app/../admin":      "/admin",
			"/app//":             "/app//",
			"/app/%2f":           "/app/%2f",
			"/app%2f/":           "/app%2f/",
			"/xyz%30..//abc":     "/xyz0..//abc",
			"/app/%2E./admin":    "/admin",
			`/app\admin`:         "/app/admin",
			`/app/\/\/\admin`:    "/app//////admin",
			`/%2Fapp%5cadmin`:    `/%2Fapp%5cadmin`,
			"/app//../admin":     "/app/admin",
			"/app//../../admin":  "/admin",
			"/../../admin":       "/admin",
			"/app/..":            "/",
			"/app/.":             "/app/",
			"/%41%7a%5F%7E%2d":   "/Az_~-",
			"/%20%25%":           "/%20%25%",
			"/a?b=/../c":         "/a?b=/../c",
			"/%2e%2e/admin?%61":  "/admin?%61",
			"/%00":               "",
			"/.../admin":         "/.../admin",
			"/%252e%252e/admin":  "/%252e%252e/admin",
			"/%c0%2e%c0%2e/x":    "/%c0.%c0./x",
			"/ADMIN":             "/ADMIN",
			"/..;/admin":         "/admin",
			"/app/..;a=b/admin":  "/admin",
			"/app/.;a=b/admin":   "/app/admin",
			"/;/admin":           "/;/admin",
			"/admin;a=b/xyz":     "/admin;a=b/xyz",
			"/app/..;a=b;c/..;d": "/",
		},
		"MERGE_SLASHES": {
			"/app//":            "/app/",
			"/app/%2f":          "/app/%2f",
			"/xyz%30..//abc":    "/xyz0../abc",
			`/app/\/\/\admin`:   "/app/admin",
			"/app//../admin":    "/app/admin",
			"/app//../../admin": "/admin",
			"/a//b?c=//d":       "/a/b?c=//d",
		},
		"DECODE_AND_MERGE_SLASHES": {
			"/app/%2f":                              "/app/",
			"/app%2f/":                              "/app/",
			"/app/%2E./admin":                       "/admin",
			`/%2Fapp%5cadmin%5Cabc`:                 "/app/admin/abc",
			`/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\abc`: "/app/admin/abc",
			"/%c0%2fadmin":                          "/%c0/admin",
			"/%25c0%25ae%25c1%259cadmin":            "/%25c0%25ae%25c1%259cadmin",
			"/%252e%252e%252fadmin":                 "/%252e%252e%252fadmin",
			"/admin%00":                             "",
			"/admin%7e":                             "/admin~",
			"/admin%5c":                             "/admin/",
			"/admin%40":                             "/admin%40",
			"/app/%2E%2E%2Fadmin?q=%2F%2E":          "/admin?q=%2F%2E",
			"/app/" + strings.Repeat("%2e%2e/", 20) + "x": "/x",
		},
	} {
		p := proxyUnder(t, "pathNormalization: {normalization: "+mode+"}")
		for in, want := range paths {
			got, ok := p.normalizePath(in)
			if ok != (want != "") || ok && got != want {
				t.Errorf("%s: %s becomes %q (%v), want %q", mode, in, got, ok, want)
			}
		}
	}
	// Without a setting it is BASE.
	if got, _ := proxyUnder(t).normalizePath("/a/../%62//c"); got != "/b//c" {
		t.Errorf("by default /a/../%%62//c becomes %q, want /b//c", got)
	}
}

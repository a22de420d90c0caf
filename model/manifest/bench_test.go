package manifest_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model/manifest"
)

// meshFiles generates manifests as a mesh has them: n namespaces with workloads,
// Services and Istio's objects, a file each.
func meshFiles(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		ns := fmt.Sprintf("team-%03d", i)
		var b strings.Builder
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  labels:\n    istio-injection: enabled\n", ns)
		for j := range 20 {
			fmt.Fprintf(&b, `---
# workload %[2]d of %[1]s
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%[2]d
  namespace: %[1]s
spec:
  replicas: 2
  selector:
    matchLabels: {app: app-%[2]d}
  template:
    metadata:
      labels:
        app: app-%[2]d
        version: v1
      annotations:
        traffic.sidecar.istio.io/excludeOutboundPorts: "9090"
    spec:
      serviceAccountName: app-%[2]d
      containers:
      - name: app
        image: registry.example.com/%[1]s/app-%[2]d:1.2.3
        env:
        - name: UPSTREAM
          value: "https://api-%[2]d.example.com"
        ports:
        - containerPort: 8080
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api-%[2]d
  namespace: %[1]s
spec:
  hosts: [api-%[2]d.example.com, "*.api-%[2]d.example.com"]
  location: MESH_EXTERNAL
  exportTo: ["."]
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: api-%[2]d
  namespace: %[1]s
spec:
  hosts:
  - api-%[2]d.example.com
  gateways:
  - mesh
  - istio-system/egress
  tls:
  - match:
    - gateways: [mesh]
      port: 443
      sniHosts: [api-%[2]d.example.com]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: api
        port: {number: 443}
`, ns, j)
		}
		files[ns+".yaml"] = b.String()
	}
	return files
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkLoad loads a directory, as it is and with a Decoder, and compares
// with parsing alone.
func BenchmarkLoad(b *testing.B) {
	files := meshFiles(100)
	dir := b.TempDir()
	write(b, dir, files)
	size := int64(0)
	for _, text := range files {
		size += int64(len(text))
	}
	run := func(name string, opts manifest.Options) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := manifest.Load(context.Background(), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	paths := []manifest.Path{{Name: dir}}
	run("directory", manifest.Options{Paths: paths})
	run("decoded", manifest.Options{Paths: paths, Decode: func(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
		if o.Kind != "ServiceEntry" {
			return nil, nil
		}
		spec := &networking.ServiceEntry{}
		if _, err := doc.UnmarshalField("spec", spec); err != nil {
			b.Error(err)
		}
		if unknown := doc.UnknownFields("spec", spec); len(unknown) > 0 {
			b.Error(unknown)
		}
		return spec, nil
	}})
	b.Run("nodes", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			for _, text := range files {
				for _, doc := range bytes.Split([]byte(text), []byte("\n---\n")) {
					var n yaml.Node
					if err := yaml.Load(doc, &n); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
}

package model

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// TestUnreadIsNothing holds that Decode makes nothing of the objects that are
// not read, and has nothing to say about them.
func TestUnreadIsNothing(t *testing.T) {
	texts := projectManifests(t)
	head := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n%s"
	for _, name := range []string{"istio", "istio-canary", "istio-sidecar-injector-x", "istio-cni-config", "app"} {
		for _, rest := range []string{
			"data:\n  a: b\n", "data:\n  mesh: |\n    rootNamespace: x\n", "data: {}\n", "data:\n  deployment: |\n    spec: {}\n", "data:\n  service: x\n  other: y\n",
			"data:\n  # remark\n  service: x\n", "data:\n", "", "data:\n  - service: x\n", "data:\n  meshNetworks: x\n",
			"  labels:\n    gateway.istio.io/defaults-for-class: x\ndata:\n  a: b\n", "  labels:\n    a: b\n  annotations:\n    note: x\n    sidecar.istio.io/inject: \"false\"\ndata:\n  config.yaml: |\n    mesh: x\n", "  labels:\n    a: b\ndata:\n  a: b\n",
		} {
			texts = append(texts, fmt.Sprintf(head, name, rest))
		}
	}
	unreadOnes := 0
	for _, text := range texts {
		load := func(decode manifest.Decoder, unread func(*manifest.Object, []byte) bool) {
			// A text without objects is an error, and nothing is asked then.
			_, _ = manifest.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text), Decode: decode, Unread: unread})
		}
		var mu sync.Mutex
		described := func(o *manifest.Object) string {
			return fmt.Sprint(o.APIVersion, " ", o, " ", o.Labels, " ", o.Annotations)
		}
		decoded := map[string]bool{}
		load(func(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			value, problems := Decode(o, doc)
			if value == nil && len(problems) == 0 {
				mu.Lock()
				defer mu.Unlock()
				decoded[described(o)] = true
			}
			return value, problems
		}, nil)
		load(nil, func(o *manifest.Object, text []byte) bool {
			is := unread(o, text)
			if is && o.Name != "" {
				mu.Lock()
				defer mu.Unlock()
				unreadOnes++
				named := *o
				if named.Namespace == "" && manifest.NamespaceScoped(o) {
					named.Namespace = "default"
				}
				if !decoded[described(&named)] {
					t.Errorf("%s is not read, but Decode makes something of it:\n%s", o, text)
				}
			}
			return is
		})
	}
	if unreadOnes < 100 {
		t.Errorf("only %d objects were not read", unreadOnes)
	}
}

// projectManifests returns the texts of the project's manifests.
func projectManifests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../testdata/*/*/*/*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatal("no files", err)
	}
	var texts []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

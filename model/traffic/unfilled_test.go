package traffic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// templated are the kinds in which placeholders are put.
var templated = map[string]bool{
	"ServiceEntry": true, "WorkloadEntry": true, "VirtualService": true, "DestinationRule": true, "Gateway": true, "Sidecar": true,
	"PeerAuthentication": true, "RequestAuthentication": true, "AuthorizationPolicy": true, "EnvoyFilter": true,
	"HTTPRoute": true, "GRPCRoute": true, "TLSRoute": true, "TCPRoute": true, "ReferenceGrant": true,
	"Service": true, "NetworkPolicy": true, "Namespace": true, "Deployment": true,
}

// literal are fields in which a placeholder is taken for what it is: that a container
// is a proxy, and how it is started, is read from its name, arguments and environment,
// which may hold variables of Kubernetes ($(POD_NAMESPACE)) in any case.
var literal = []string{".containers[", ".annotations.proxy.istio.io/config"}

// leaf is a text or number of an object that a placeholder may stand for.
type leaf struct {
	object int
	set    func(v any)
	value  any
	name   string
}

// leaves finds the texts and numbers below a value.
func leaves(value any, at string, set func(any), found func(name string, value any, set func(any))) {
	switch v := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			leaves(v[k], at+"."+k, func(x any) { v[k] = x }, found)
		}
	case []any:
		for i := range v {
			leaves(v[i], fmt.Sprintf("%s[%d]", at, i), func(x any) { v[i] = x }, found)
		}
	case string, float64:
		found(at, value, set)
	}
}

// A request fares as it does in the mesh as it is, or it is not known how, where a
// placeholder stands for any value of an object: what was there is one that may be filled
// in.
func TestAPlaceholderNeverDecides(t *testing.T) {
	for _, c := range meshCases(t) {
		t.Run(filepath.Base(c.dir), func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(c.dir, "manifests", "*.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var objects []map[string]any
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, doc := range bytes.Split(append([]byte("\n"), text...), []byte("\n---")) {
					var o map[string]any
					if err := yaml.Unmarshal(doc, &o); err != nil {
						return // a document that is a subject of its own
					}
					if o != nil {
						objects = append(objects, o)
					}
				}
			}
			var all []leaf
			for i, o := range objects {
				kind, _ := o["kind"].(string)
				if !templated[kind] {
					continue
				}
				found := func(name string, value any, set func(any)) {
					if !slices.ContainsFunc(literal, func(field string) bool { return strings.Contains(name, field) }) {
						all = append(all, leaf{i, set, value, fmt.Sprintf("%s %v %s", kind, o["metadata"], name)})
					}
				}
				leaves(o["spec"], "spec", nil, found)
				if metadata, ok := o["metadata"].(map[string]any); ok {
					leaves(metadata["labels"], "metadata.labels", nil, found)
				}
			}
			// Of what is defined twice another definition counts, and no placeholder is taken to
			// stand for a host that another entry registers.
			defined, hosts := map[string]int{}, map[any]int{}
			for _, o := range objects {
				defined[fmt.Sprint(o["kind"], o["metadata"])]++
			}
			for _, l := range all {
				if strings.HasPrefix(l.name, "ServiceEntry") && strings.Contains(l.name, ".hosts[") {
					hosts[l.value]++
				}
			}
			all = slices.DeleteFunc(all, func(l leaf) bool {
				o := objects[l.object]
				return defined[fmt.Sprint(o["kind"], o["metadata"])] > 1 || o["kind"] == "ServiceEntry" && hosts[l.value] > 1
			})
			for _, l := range all {
				l.set("${SOMETHING}")
				var text strings.Builder
				for _, o := range objects {
					data, err := json.Marshal(o)
					if err != nil {
						t.Fatal(err)
					}
					text.WriteString("---\n" + string(data) + "\n")
				}
				l.set(l.value)
				m, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text.String())}, c.opts)
				if err != nil {
					t.Fatal(err)
				}
				sim := traffic.New(m)
				for _, f := range c.flows {
					got := sim.Verdict(f.Flow)
					if got.Outcome != flow.Unknown && f.Want.Outcome != flow.Unknown && got.Outcome != f.Want.Outcome {
						t.Errorf("with a placeholder for %v in %s, flow %s is %s (%s), and without %s (%s)",
							l.value, l.name, f.ID, got.Outcome, got.Reason, f.Want.Outcome, f.Want.Reason)
					}
				}
			}
		})
	}
}

// Package mutations holds the test that the product agrees with istiod on the meshes of
// the product's own tests after some of their fields were changed at random. Random
// meshes (package generate) hold what somebody thought of; these hold what was found
// worth a test, beside what stands elsewhere in the same field.
package mutations

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/conformance/agree"
	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

var (
	start   = flag.Uint64("start", 1, "first seed")
	mutants = flag.Uint64("mutants", 300, "number of changed meshes")
)

// object is a manifest.
type object map[string]any

func (o object) kind() string { kind, _ := o["kind"].(string); return kind }

func (o object) metadata() map[string]any { m, _ := o["metadata"].(map[string]any); return m }

// testCase is a directory of testdata/mesh.
type testCase struct {
	name    string
	objects []object
	// ambient: it holds something of ambient mode.
	ambient bool
	// flows are those of which both say the same before anything is changed.
	flows []flow.Flow
}

// outside are words in manifests that the judge does not read as the product does: see
// docs/conformance.md, Outside. Those of ambient mode it reads where that runs.
var (
	outside = []string{
		"hostAliases", "kind: NetworkPolicy", "kind: CiliumNetworkPolicy", "PILOT_ENABLE_", "ENABLE_LAYERED_",
		"kind: EnvoyFilter", "kind: WasmPlugin", "kind: IstioOperator", "kind: Telemetry", "kind: ProxyConfig",
	}
	ambient = []string{"dataplane-mode", "use-waypoint", "gateway.networking.k8s.io"}
)

// cases returns the cases that can be put to both, and those from which objects and
// values are taken.
func cases(t *testing.T) (out, donors []testCase) {
	t.Helper()
	dirs, err := filepath.Glob("../../testdata/mesh/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		c := testCase{name: filepath.Base(dir)}
		if !c.read(t, dir) || c.ambient && !judge.Ambient() {
			continue
		}
		donors = append(donors, c)
		if c.ambient != judge.Ambient() {
			continue
		}
		result, err := agree.Check(stream(c.objects), c.flows)
		if err != nil {
			continue
		}
		c.flows = nil
		for _, a := range result.Answers {
			if len(a.Differences) == 0 || judge.Ambient() && a.Judge.Outcome == flow.Unknown {
				c.flows = append(c.flows, a.Flow)
			}
		}
		if len(c.flows) > 0 {
			out = append(out, c)
		}
	}
	if least := map[bool]int{false: 100, true: 10}[judge.Ambient()]; len(out) < least {
		t.Fatalf("only %d cases", len(out))
	}
	return out, donors
}

// read reads a case; false if it holds what the judge does not read.
func (c *testCase) read(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "manifests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		holds := func(word string) bool { return bytes.Contains(text, []byte(word)) }
		if slices.ContainsFunc(outside, holds) {
			return false
		}
		c.ambient = c.ambient || slices.ContainsFunc(ambient, holds)
		for _, document := range bytes.Split(append([]byte("\n"), text...), []byte("\n---")) {
			var o object
			if yaml.Unmarshal(document, &o) != nil {
				return false
			}
			if o != nil && o.metadata() != nil {
				c.objects = append(c.objects, o)
			}
		}
	}
	file, err := os.Open(filepath.Join(dir, "flows.jsonl"))
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var f flow.Flow
		if json.Unmarshal(lines.Bytes(), &f) == nil && !f.Bypass && f.ConnectTo == "" {
			c.flows = append(c.flows, f)
		}
	}
	return true
}

func stream(objects []object) []byte {
	var out bytes.Buffer
	for _, o := range objects {
		text, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		out.WriteString("---\n" + string(text) + "\n")
	}
	return out.Bytes()
}

// node is a value of a manifest, with where it stands.
type node struct {
	path, key string
	value     any
	set       func(any)
	remove    func()
}

// nodes passes on all values below one.
func nodes(n node, found func(node)) {
	found(n)
	switch v := n.value.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			nodes(node{n.path + "." + k, k, v[k], func(x any) { v[k] = x }, func() { delete(v, k) }}, found)
		}
	case []any:
		for i := range v {
			nodes(node{n.path + "[]", n.key + "[]", v[i], func(x any) { v[i] = x }, func() { n.set(slices.Concat(v[:i], v[i+1:])) }}, found)
		}
	}
}

// in passes on what of an object is changed: its spec; of what makes pods their labels
// and service account; in ambient mode the labels and annotations of that.
func in(o object, found func(node)) {
	if judge.Ambient() {
		for _, part := range []string{"labels", "annotations"} {
			texts, _ := o.metadata()[part].(map[string]any)
			for _, k := range slices.Sorted(maps.Keys(texts)) {
				if strings.HasPrefix(k, "istio.io/") || strings.HasPrefix(k, "networking.istio.io/") {
					found(node{part + "." + k, k, texts[k], func(x any) { texts[k] = x }, func() { delete(texts, k) }})
				}
			}
		}
	}
	spec := node{path: o.kind() + ".spec", key: "spec", value: o["spec"], set: func(x any) { o["spec"] = x }, remove: func() {}}
	switch o.kind() {
	case "ConfigMap", "Namespace":
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod":
		nodes(spec, func(n node) {
			if strings.Contains(n.path, ".template.metadata.labels.") || strings.HasSuffix(n.path, ".serviceAccountName") {
				found(n)
			}
		})
	default:
		if spec.value != nil {
			nodes(spec, found)
		}
	}
}

// pool are the values that stand in some field of some case, by its path and by its name.
type pool map[string][]any

func (p pool) add(key string, value any, seen map[string]bool) {
	text, err := json.Marshal(value)
	if id := key + " " + string(text); err == nil && len(text) < 400 && !seen[id] {
		seen[id] = true
		p[key] = append(p[key], value)
	}
}

func clone[T any](value T) T {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	var out T
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// mutation changes objects at random.
type mutation struct {
	*rand.Rand
	values pool
	others []testCase
	// hosts are those that the flows of the case are for.
	hosts   []string
	objects []object
	// done says what was changed.
	done []string
}

func (m *mutation) note(format string, args ...any) {
	m.done = append(m.done, fmt.Sprintf(format, args...))
}

func (m *mutation) step() {
	o := m.objects[m.IntN(len(m.objects))]
	var all []node
	in(o, func(n node) { all = append(all, n) })
	if len(all) == 0 {
		return
	}
	switch namespace, _ := o.metadata()["namespace"].(string); m.IntN(10) {
	case 0:
		other, _ := m.objects[m.IntN(len(m.objects))].metadata()["namespace"].(string)
		if other != "" && namespace != "" && !strings.Contains(all[0].path, ".template.") {
			o.metadata()["namespace"] = other
			m.note("%s %v moved to namespace %s", o.kind(), o.metadata()["name"], other)
		}
	case 1:
		copied := clone(o)
		copied.metadata()["name"] = fmt.Sprint(o.metadata()["name"], "-b")
		m.objects = append(m.objects, copied)
		m.note("%s %v copied", o.kind(), o.metadata()["name"])
	case 2:
		from := m.others[m.IntN(len(m.others))]
		added := clone(from.objects[m.IntN(len(from.objects))])
		if kind := added.kind(); namespace != "" && kind != "Namespace" && kind != "ConfigMap" {
			added.metadata()["namespace"] = namespace
			m.objects = append(m.objects, added)
			m.note("%s %v of %s added", kind, added.metadata()["name"], from.name)
			// Most of what stands there is about other hosts.
			in(added, func(n node) {
				if text, _ := n.value.(string); strings.Contains(text, ".example.") && m.IntN(2) == 0 {
					n.set(m.hosts[m.IntN(len(m.hosts))])
				}
			})
		}
	case 3, 4:
		n := all[m.IntN(len(all))]
		n.remove()
		m.note("%s removed", n.path)
	case 5:
		if labels, _ := o.metadata()["labels"].(map[string]any); judge.Ambient() {
			if labels == nil {
				labels = map[string]any{}
				o.metadata()["labels"] = labels
			}
			key := []string{"istio.io/use-waypoint", "istio.io/use-waypoint-namespace", "istio.io/waypoint-for", "istio.io/dataplane-mode"}[m.IntN(4)]
			if values := m.values[key]; len(values) > 0 {
				labels[key] = clone(values[m.IntN(len(values))])
				m.note("%s %v labelled %s=%v", o.kind(), o.metadata()["name"], key, labels[key])
				break
			}
		}
		fallthrough
	case 6:
		named := slices.DeleteFunc(all, func(n node) bool {
			text, _ := n.value.(string)
			return !strings.Contains(text, ".example.")
		})
		if len(named) > 0 {
			n, host := named[m.IntN(len(named))], m.hosts[m.IntN(len(m.hosts))]
			n.set(host)
			m.note("%s set to %s", n.path, host)
		}
	default:
		n := all[m.IntN(len(all))]
		key := n.path
		if m.IntN(3) == 0 {
			key = n.key
		}
		if values := m.values[key]; len(values) > 0 {
			value := clone(values[m.IntN(len(values))])
			n.set(value)
			text, _ := json.Marshal(value)
			m.note("%s set to %s", n.path, text)
		}
	}
}

// admitted reports whether API servers would take the Services and the Gateways of the
// Gateway API: Istio never sees others.
func admitted(objects []object) bool {
	for _, o := range objects {
		if version, _ := o["apiVersion"].(string); o.kind() == "Gateway" && strings.HasPrefix(version, "gateway.networking.k8s.io/") && !validListeners(o) {
			return false
		}
		if o.kind() != "Service" {
			continue
		}
		spec, _ := o["spec"].(map[string]any)
		ports, isList := spec["ports"].([]any)
		if !isList && spec["ports"] != nil {
			return false
		}
		seen := map[string]bool{}
		for _, p := range ports {
			port, isMap := p.(map[string]any)
			name, _ := port["name"].(string)
			number := fmt.Sprint(port["port"], port["protocol"])
			if !isMap || seen[name] || seen[number] || name == "" && len(ports) > 1 {
				return false
			}
			seen[name], seen[number] = true, true
		}
	}
	return true
}

// validListeners reports whether the listeners of a Gateway are such as its CRD asks for
// (gateway-api apis/v1/gateway_types.go).
func validListeners(o object) bool {
	spec, _ := o["spec"].(map[string]any)
	listeners, _ := spec["listeners"].([]any)
	seen := map[string]bool{}
	for _, l := range listeners {
		listener, _ := l.(map[string]any)
		name := fmt.Sprint("name ", listener["name"])
		place := fmt.Sprint(listener["port"], listener["protocol"], listener["hostname"])
		if seen[name] || seen[place] || listener["name"] == nil || listener["port"] == nil || listener["protocol"] == nil {
			return false
		}
		seen[name], seen[place] = true, true
		tls, _ := listener["tls"].(map[string]any)
		switch listener["protocol"] {
		case "TCP", "UDP":
			if listener["hostname"] != nil || tls != nil {
				return false
			}
		case "HTTP":
			if tls != nil {
				return false
			}
		case "HTTPS":
			if mode := tls["mode"]; mode != nil && mode != "Terminate" {
				return false
			}
		}
	}
	return len(listeners) > 0
}

// flows are those of a case, and some in which one part is another's.
func (m *mutation) flows(c testCase) []flow.Flow {
	out := slices.Clone(c.flows)
	for range 6 {
		f, other := c.flows[m.IntN(len(c.flows))], c.flows[m.IntN(len(c.flows))]
		switch m.IntN(4) {
		case 0:
			f.Host = other.Host
		case 1:
			f.Port = other.Port
		case 2:
			f.Scheme, f.SNI = []flow.Scheme{flow.HTTP, flow.HTTPS, flow.TLS, flow.TCP}[m.IntN(4)], ""
		default:
			f.From = other.From
		}
		f.ID = "another"
		out = append(out, f)
	}
	return out
}

// valuesOf are the values that stand in the fields of some cases.
func valuesOf(donors []testCase) pool {
	values, seen := pool{}, map[string]bool{}
	for _, c := range donors {
		for _, o := range c.objects {
			in(o, func(n node) {
				values.add(n.path, n.value, seen)
				values.add(n.key, n.value, seen)
			})
		}
	}
	return values
}

// mutate changes one of the cases a few times.
func mutate(seed uint64, all, donors []testCase, values pool) (*mutation, testCase) {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable on purpose
	c := all[r.IntN(len(all))]
	m := &mutation{Rand: r, values: values, others: donors, objects: clone(c.objects)}
	for _, f := range c.flows {
		m.hosts = append(m.hosts, f.Host)
	}
	for range 2 + r.IntN(4) {
		m.step()
	}
	return m, c
}

// TestChangedCasesLint holds that the rules do not fall over what they meet.
func TestChangedCasesLint(t *testing.T) {
	all, donors := cases(t)
	values := valuesOf(donors)
	for seed := *start; seed < *start+*mutants; seed++ {
		m, c := mutate(seed, all, donors, values)
		text := stream(m.objects)
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("seed %d, %s (%s): %v\n%s\n%s", seed, c.name, strings.Join(m.done, "; "), p, debug.Stack(), text)
				}
			}()
			mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(text)}, model.Options{})
			if err != nil {
				t.Errorf("seed %d, %s: %v", seed, c.name, err)
				return
			}
			analyzers.Run(mesh, reach.New(traffic.New(mesh)), analyzers.Config{})
		}()
	}
}

// TestMutatedCases holds that where both decide they decide the same; what the product
// does not know is held against random meshes.
func TestMutatedCases(t *testing.T) {
	all, donors := cases(t)
	values := valuesOf(donors)
	t.Logf("%d cases, seeds from %d", len(all), *start)
	flows := 0
	for seed := *start; seed < *start+*mutants; seed++ {
		m, c := mutate(seed, all, donors, values)
		if !admitted(m.objects) {
			continue
		}
		text := stream(m.objects)
		result, err := agree.Check(text, m.flows(c))
		if err != nil {
			t.Errorf("seed %d, %s (%s): %v\n%s", seed, c.name, strings.Join(m.done, "; "), err, text)
			continue
		}
		for _, a := range result.Answers {
			if a.Judge.Outcome == flow.Unknown {
				continue
			}
			flows++
			if len(a.Differences) > 0 && a.Product.Outcome != flow.Unknown {
				asked, _ := json.Marshal(a.Flow)
				t.Errorf("seed %d, %s (%s): %s: %s\n%s", seed, c.name, strings.Join(m.done, "; "), asked, strings.Join(a.Differences, "; "), text)
				break
			}
		}
	}
	if flows < int(*mutants) { //nolint:gosec // a small number
		t.Errorf("only %d flows", flows)
	}
	t.Logf("%d flows", flows)
}

// TestMutatedAmbientCases is TestMutatedCases for those of ambient mode, in a process of
// its own: istiod reads once whether that runs.
func TestMutatedAmbientCases(t *testing.T) {
	if judge.Ambient() {
		return // TestMutatedCases is about them here
	}
	command := exec.Command(os.Args[0], "-test.run=^(TestMutatedCases|TestChangedCasesLint)$", "-start", fmt.Sprint(*start), "-mutants", fmt.Sprint(*mutants)) //nolint:gosec // this very program
	command.Env = append(os.Environ(), "PILOT_ENABLE_AMBIENT=true")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

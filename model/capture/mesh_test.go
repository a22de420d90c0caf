package capture_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// setup is a mesh of one workload, shop/cart, in YAML flow style.
type setup struct {
	labels      string // of the namespace; "-" for no Namespace object
	pod         string // labels
	annotations string
	spec        string // fields of the pod's spec beside its containers
	containers  string // the list; one container "app" if it is empty
	values      string // of an installation with Helm; none if it is empty
	kind        string // Deployment if it is empty
	namespace   string // shop if it is empty
	more        string // objects
}

func or(text, unset string) string {
	if text == "" {
		return unset
	}
	return text
}

func (s setup) text() string {
	var b strings.Builder
	ns := or(s.namespace, "shop")
	if s.labels != "-" {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  labels: {%s}\n", ns, s.labels)
	}
	fmt.Fprintf(&b, "---\napiVersion: apps/v1\nkind: %s\nmetadata: {name: cart, namespace: %s}\nspec:\n  template:\n    metadata:\n      labels: {%s}\n      annotations: {%s}\n    spec: {containers: %s%s}\n",
		or(s.kind, "Deployment"), ns, s.pod, s.annotations, or(s.containers, "[{name: app, image: app}]"), strings.TrimSuffix(", "+s.spec, ", "))
	if s.values != "" {
		fmt.Fprintf(&b, "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: istiod, namespace: istio-system}\nspec:\n  chart: {spec: {chart: istiod}}\n  values: {%s}\n", s.values)
	}
	b.WriteString(s.more)
	return b.String()
}

func (s setup) capture(t *testing.T) *capture.Capture {
	t.Helper()
	m, w := s.load(t)
	return capture.Of(m, m.ConfigFor(w), w)
}

// workload is shop/cart with the labels that its pods have when they run.
func (s setup) workload(t *testing.T) *model.Workload {
	t.Helper()
	m, w := s.load(t)
	capture.Complete(m)
	return w
}

func (s setup) load(t *testing.T) (*model.Mesh, *model.Workload) {
	t.Helper()
	m, _, err := model.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(s.text()),
	}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Problems {
		t.Errorf("%s: %s\n%s", p.Position, p.Message, s.text())
	}
	for _, w := range m.Workloads {
		if w.Name == "cart" {
			return m, w
		}
	}
	t.Fatal("no workload")
	return nil, nil
}

// places writes reasons as "Kind field", and says where they stand nowhere.
func places(list []flow.Because) string {
	var out []string
	for _, b := range list {
		place := b.Object.Kind + " " + b.Field
		if b.Object.At(b.Field).Line == 0 {
			place += " (nowhere)"
		}
		out = append(out, strings.TrimSpace(place))
	}
	return strings.Join(out, "; ")
}

func addr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

var modes = map[capture.Mode]string{
	capture.None: "none", capture.Sidecar: "sidecar", capture.Router: "router", capture.Ambient: "ambient",
	capture.Waypoint: "waypoint", capture.Undecided: "undecided",
}

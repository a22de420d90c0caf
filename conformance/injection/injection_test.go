package injection

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"strings"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/log"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/manifest"
)

var (
	pairs = flag.Int("pairs", 20000, "pairs of namespace and pod to compare")
	seed  = flag.Int64("seed", 1, "seed of the random pairs, 0 for another each time")
)

// installations are Helm values, one text for each control plane of a cluster.
var installations = [][]string{
	{"{}"},
	{"{revision: canary}"},
	{"{revision: canary, revisionTags: [stable, default]}"},
	{"{revisionTags: [stable]}"},
	{"{}", "{revision: canary, revisionTags: [stable]}"},
	{"{sidecarInjectorWebhook: {enableNamespacesByDefault: true}}"},
	{"{revision: canary, revisionTags: [default], sidecarInjectorWebhook: {enableNamespacesByDefault: true}}"},
	{"{revision: canary, revisionTags: [stable], sidecarInjectorWebhook: {enableNamespacesByDefault: true}}"},
	{"{global: {proxy: {autoInject: disabled}}}", "{revision: canary}"},
	{"{global: {proxy: {autoInject: off-by-typo}}}"},
	{"{sidecarInjectorWebhook: {neverInjectSelector: [{}, {matchLabels: {tier: batch}}, {matchExpressions: [{key: pod-template-hash, operator: Exists}]}]}}"},
	{"{global: {proxy: {autoInject: disabled}}, sidecarInjectorWebhook: {alwaysInjectSelector: [{}, {matchExpressions: [{key: tier, operator: In, values: [web, batch]}]}], neverInjectSelector: [{matchLabels: {tier: batch}}]}}"},
	{"{sidecarInjectorWebhook: {neverInjectSelector: [{matchExpressions: [{key: tier, operator: Wrong}]}]}}"},
}

// cluster is an installation as Istio runs it and as the product sees it.
type cluster struct {
	name   string
	planes []*ControlPlane
	mesh   model.Mesh
}

func clusters(t *testing.T) []*cluster {
	t.Helper()
	var out []*cluster
	for _, texts := range installations {
		for _, shown := range []bool{false, true} {
			c := &cluster{name: fmt.Sprintf("%s, webhooks in the input: %t", strings.Join(texts, " and "), shown)}
			c.mesh = model.Mesh{Revisions: map[string]*model.MeshConfig{}, RevisionTags: map[string]string{}}
			for _, text := range texts {
				c.install(t, text, shown)
			}
			if c.mesh.Config == nil {
				c.mesh.Config = c.mesh.Revisions["canary"]
			}
			out = append(out, c)
		}
	}
	return out
}

// install adds a control plane. shown says that the input has its webhooks.
func (c *cluster) install(t *testing.T, text string, shown bool) {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	plane, err := Install(values)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	c.planes = append(c.planes, plane)
	source := &manifest.Object{Kind: manifest.KindValues, Name: "values"}
	config := &model.MeshConfig{MeshConfig: mesh.DefaultMeshConfig(), Source: source, Values: values, ValuesSource: source}
	name := "default"
	if revision, ok := values["revision"].(string); ok {
		config.Revision, name = revision, revision
		c.mesh.Revisions[revision] = config
	} else {
		c.mesh.Config = config
	}
	tags, _ := values["revisionTags"].([]any)
	for _, tag := range tags {
		c.mesh.RevisionTags[fmt.Sprint(tag)] = name
	}
	for _, hooks := range plane.Webhooks {
		if shown {
			o := &manifest.Object{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration", Name: hooks.Name, Labels: hooks.Labels}
			c.mesh.InjectionWebhooks = append(c.mesh.InjectionWebhooks, &model.MutatingWebhook{Object: o, Spec: read(t, hooks)})
		}
	}
}

// read gives webhooks the type that the product reads them into.
func read(t *testing.T, hooks *registrationv1.MutatingWebhookConfiguration) *model.MutatingWebhookConfiguration {
	t.Helper()
	text, err := json.Marshal(hooks)
	if err != nil {
		t.Fatal(err)
	}
	out := &model.MutatingWebhookConfiguration{}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// installed reports whether a control plane answers to a revision.
func (c *cluster) installed(revision string) bool {
	if _, ok := c.mesh.RevisionTags[revision]; ok {
		return true
	}
	if revision == "default" {
		return c.mesh.Config.Revision == ""
	}
	return c.mesh.Revisions[revision] != nil
}

// create asks all control planes.
func (c *cluster) create(namespace map[string]string, pod *corev1.Pod) (Answer, error) {
	for _, p := range c.planes {
		if a, err := p.Create(namespace, pod); a != Untouched || err != nil {
			return a, err
		}
	}
	return Untouched, nil
}

// source makes random namespaces and pods.
type source struct{ *rand.Rand }

// maybe sets a key to one of the values, more often than not to none.
func (r source) maybe(m map[string]string, key string, values ...string) {
	if r.Intn(5) < 2 {
		m[key] = values[r.Intn(len(values))]
	}
}

var (
	revisionNames = []string{"default", "canary", "stable", "absent", ""}
	injectValues  = []string{"true", "false", "", "True", "no", "enabled"}
)

func (r source) namespace() *model.Namespace {
	names := []string{"shop", "shop", "shop", "istio-system", "kube-system", "kube-public", "local-path-storage"}
	ns := &model.Namespace{Name: names[r.Intn(len(names))], Declared: true, Labels: map[string]string{}}
	r.maybe(ns.Labels, "istio-injection", "enabled", "enabled", "disabled", "true", "", "Enabled")
	r.maybe(ns.Labels, "istio.io/rev", revisionNames...)
	r.maybe(ns.Labels, "sidecar.istio.io/inject", injectValues...)
	ns.Labels["kubernetes.io/metadata.name"] = ns.Name
	return ns
}

func (r source) workload(namespace string) *model.Workload {
	w := &model.Workload{Kind: "Pod", Namespace: namespace, Name: "cart", Labels: map[string]string{}, Annotations: map[string]string{}}
	if r.Intn(2) == 0 {
		w.Kind, w.Template = "Deployment", "spec.template"
	}
	w.Object = &manifest.Object{Kind: w.Kind, Namespace: namespace, Name: w.Name}
	r.maybe(w.Labels, "sidecar.istio.io/inject", injectValues...)
	r.maybe(w.Labels, "istio.io/rev", revisionNames...)
	r.maybe(w.Labels, "tier", "web", "batch", "other")
	r.maybe(w.Annotations, "sidecar.istio.io/inject", injectValues...)
	r.maybe(w.Annotations, "istio.io/rev", revisionNames...)
	if r.Intn(4) == 0 {
		r.maybe(w.Annotations, "sidecar.istio.io/interceptionMode", "REDIRECT", "TPROXY", "NONE", "none", "")
		r.maybe(w.Annotations, "traffic.sidecar.istio.io/excludeOutboundPorts", "80", " 80, 443 ", "", "80,,443", "*", "70000", "http")
		r.maybe(w.Annotations, "traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.0.0.0/8", "", "10.0.0.0/8, 11.0.0.0/8", "*", "10.0.0.1", "fd00::/8")
		r.maybe(w.Annotations, "traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/8,11.0.0.0/8", "*", "", "10.0.0.0/8 ", "*,10.0.0.0/8")
		r.maybe(w.Annotations, "traffic.sidecar.istio.io/excludeInterfaces", "eth1", "eth1, net1", "", "eth1,", "a-name-of-more-than-15")
		r.maybe(w.Annotations, "proxy.istio.io/config", "interceptionMode: TPROXY", "interceptionMode: none", "no: such", "[", "")
		r.maybe(w.Annotations, "inject.istio.io/templates", "sidecar", " sidecar ", "absent", "sidecar,absent", "")
		r.maybe(w.Annotations, "status.sidecar.istio.io/port", "15020", "x", "0")
		r.maybe(w.Annotations, "prometheus.istio.io/merge-metrics", "false", "maybe")
		r.maybe(w.Annotations, "sidecar.istio.io/proxyCPU", "100m", "much")
	}
	w.Pod = &corev1.PodSpec{HostNetwork: r.Intn(8) == 0, Containers: []corev1.Container{{Name: "app", Image: "app"}}}
	return w
}

// podOf is the pod as the API server gets it.
func podOf(w *model.Workload) *corev1.Pod {
	labels := maps.Clone(w.Labels)
	if w.Kind == "Deployment" {
		labels["pod-template-hash"] = "5d4f8c7b9"
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: w.Name, Namespace: w.Namespace, Labels: labels, Annotations: w.Annotations}, Spec: *w.Pod}
}

// agrees compares the product's answer with Istio's. Where the labels ask for a
// revision that is not in the input, the product may leave it open.
func (c *cluster) agrees(got *capture.Capture, want Answer, ns *model.Namespace, w *model.Workload) bool {
	switch got.Mode {
	case capture.Sidecar:
		return want == Injected
	case capture.None:
		return want == Untouched
	case capture.Undecided:
		return want == Refused || want == Untouched && strings.Contains(got.Why, "the input installs no") && !c.installed(askedOf(ns, w))
	default:
		return false
	}
}

func askedOf(ns *model.Namespace, w *model.Workload) string {
	if ns.Labels["istio-injection"] == "enabled" {
		return "default"
	}
	if revision, ok := ns.Labels["istio.io/rev"]; ok {
		return revision
	}
	if revision, ok := w.Labels["istio.io/rev"]; ok {
		return revision
	}
	return "default"
}

// TestInjection compares random pods of random namespaces under all
// installations.
func TestInjection(t *testing.T) {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	t.Logf("seed %d", *seed)
	r := source{rand.New(rand.NewSource(*seed))} //nolint:gosec // not for secrets
	all := clusters(t)
	count, open, differ := map[Answer]int{}, 0, 0
	for i := range *pairs {
		c := all[i%len(all)]
		ns := r.namespace()
		w := r.workload(ns.Name)
		want, err := c.create(ns.Labels, podOf(w))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		m := c.mesh
		m.Namespaces, m.Workloads = map[string]*model.Namespace{ns.Name: ns}, []*model.Workload{w}
		got := capture.Of(&m, m.ConfigFor(w), w)
		count[want]++
		if got.Mode == capture.Undecided && want == Untouched {
			open++
		}
		if c.agrees(got, want, ns, w) {
			continue
		}
		if differ++; differ <= 5 {
			t.Errorf("pair %d, installed with %s:\nnamespace %s %v\n%s labels %v annotations %v hostNetwork %t\nIstio: %s; product: mode %d, %s",
				i, c.name, ns.Name, ns.Labels, w.Kind, w.Labels, w.Annotations, w.Pod.HostNetwork, want, got.Mode, got.Why)
		}
	}
	t.Logf("%d pairs, %d injected, %d untouched (of %d the product says that the input lacks the revision), %d refused: %d differences",
		*pairs, count[Injected], count[Untouched], open, count[Refused], differ)
	for _, a := range []Answer{Untouched, Injected, Refused} {
		if count[a] == 0 && *pairs >= 1000 {
			t.Errorf("no pair was %s: the comparison is worth nothing", a)
		}
	}
}

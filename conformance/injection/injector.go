// Package injection compares the product's injection decision with Istio's own:
// the selectors of the webhooks that its chart installs, and the injector that
// answers them.
package injection

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"istio.io/istio/manifests"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/kube/inject"
)

// Answer is what becomes of a pod when it is created.
type Answer int

const (
	// Untouched pods run as their manifest has them.
	Untouched Answer = iota
	// Injected pods get a sidecar.
	Injected
	// Refused pods are not created.
	Refused
)

// String names an answer.
func (a Answer) String() string { return [...]string{"untouched", "injected", "refused"}[a] }

// ControlPlane is Istio's injection in one installation.
type ControlPlane struct {
	// Webhooks are those of the chart, in the order of its files.
	Webhooks []*registrationv1.MutatingWebhookConfiguration
	handler  http.Handler
}

const discoveryChart = "charts/istio-control/istio-discovery/"

// templates stand for those of the chart, which take long and decide nothing.
var templates = inject.RawTemplates{
	"sidecar": "spec: {containers: [{name: istio-proxy, image: proxy}]}",
	"gateway": "spec: {containers: [{name: istio-proxy, image: proxy}]}",
}

// Install renders the webhooks of the chart with values and starts the injector
// that they configure.
func Install(values map[string]any) (*ControlPlane, error) {
	effective, err := chartValues(values)
	if err != nil {
		return nil, err
	}
	out := &ControlPlane{}
	for _, name := range []string{"mutatingwebhook.yaml", "revision-tags-mwc.yaml"} {
		configs, err := render(name, effective)
		if err != nil {
			return nil, err
		}
		out.Webhooks = append(out.Webhooks, configs...)
	}
	config := &inject.Config{RawTemplates: templates, DefaultTemplates: []string{"sidecar"}}
	if config.Templates, err = inject.ParseTemplates(templates); err != nil {
		return nil, err
	}
	config.Policy = inject.InjectionPolicy(fmt.Sprint(at(effective, "global", "proxy", "autoInject")))
	for _, list := range []struct {
		name string
		into *[]metav1.LabelSelector
	}{{"neverInjectSelector", &config.NeverInjectSelector}, {"alwaysInjectSelector", &config.AlwaysInjectSelector}} {
		data, err := json.Marshal(at(effective, "sidecarInjectorWebhook", list.name))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, list.into); err != nil {
			return nil, err
		}
	}
	global, err := json.Marshal(map[string]any{"global": map[string]any{"proxy": at(effective, "global", "proxy")}})
	if err != nil {
		return nil, err
	}
	// Whether nodes take native sidecars needs a cluster, and decides nothing here.
	features.EnableNativeSidecars = features.NativeSidecarModeDisabled
	mux := http.NewServeMux()
	env := &model.Environment{ConfigStore: noConfig{}, Watcher: meshwatcher.NewTestWatcher(mesh.DefaultMeshConfig())}
	env.SetPushContext(model.NewPushContext())
	_, err = inject.NewWebhook(inject.WebhookParameters{Watcher: fixed{config, string(global)}, Env: env, Mux: mux})
	out.handler = mux
	return out, err
}

// fixed is an injector's configuration that does not change.
type fixed struct {
	config *inject.Config
	values string
}

func (f fixed) SetHandler(func(*inject.Config, string) error) {}
func (f fixed) Run(<-chan struct{})                           {}
func (f fixed) Get() (*inject.Config, string, error)          { return f.config, f.values, nil }

// noConfig is a store without objects; the injector only looks for ProxyConfigs.
type noConfig struct{ model.ConfigStore }

func at(values map[string]any, path ...string) any {
	var v any = values
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// chartValues puts values on top of the chart's own (istio
// manifests/zzz_profile.yaml).
func chartValues(values map[string]any) (map[string]any, error) {
	data, err := manifests.FS.ReadFile(discoveryChart + "values.yaml")
	if err != nil {
		return nil, err
	}
	var base map[string]any
	if err := yaml.Unmarshal(data, &base); err != nil {
		return nil, err
	}
	defaults, _ := base["_internal_defaults_do_not_set"].(map[string]any)
	return merge(defaults, values), nil
}

func merge(base, over map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range over {
		b, isMap := out[k].(map[string]any)
		if m, ok := v.(map[string]any); ok && isMap {
			v = merge(b, m)
		}
		out[k] = v
	}
	return out
}

// render makes the webhooks of one of the chart's files as Helm does.
func render(name string, values map[string]any) ([]*registrationv1.MutatingWebhookConfiguration, error) {
	text, err := manifests.FS.ReadFile(discoveryChart + "templates/" + name)
	if err != nil {
		return nil, err
	}
	t := template.New(name).Funcs(sprig.TxtFuncMap())
	t.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) {
			if name == "istio.labels" {
				return "", nil
			}
			var b strings.Builder
			err := t.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"toYaml": func(v any) (string, error) {
			data, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(data), "\n"), err
		},
	})
	if _, err := t.Parse(string(text)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{"Values": values, "Release": map[string]any{"Namespace": "istio-system", "Name": "istio"}}); err != nil {
		return nil, err
	}
	var out []*registrationv1.MutatingWebhookConfiguration
	for _, document := range strings.Split(b.String(), "\n---\n") {
		config := &registrationv1.MutatingWebhookConfiguration{}
		if err := yaml.Unmarshal([]byte(document), config); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(config.Webhooks) > 0 {
			out = append(out, config)
		}
	}
	return out, nil
}

// Selected reports whether a webhook is asked about a pod of a namespace.
func (c *ControlPlane) Selected(namespace, pod map[string]string) (bool, error) {
	for _, config := range c.Webhooks {
		for i := range config.Webhooks {
			inNamespace, err := metav1.LabelSelectorAsSelector(config.Webhooks[i].NamespaceSelector)
			if err != nil {
				return false, err
			}
			onPod, err := metav1.LabelSelectorAsSelector(config.Webhooks[i].ObjectSelector)
			if err != nil {
				return false, err
			}
			if inNamespace.Matches(labels.Set(namespace)) && onPod.Matches(labels.Set(pod)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Create is what becomes of a pod in a namespace with these labels.
func (c *ControlPlane) Create(namespace map[string]string, pod *corev1.Pod) (Answer, error) {
	selected, err := c.Selected(namespace, pod.Labels)
	if err != nil || !selected {
		return Untouched, err
	}
	raw, err := json.Marshal(pod)
	if err != nil {
		return Untouched, err
	}
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &admissionv1.AdmissionRequest{UID: "1", Namespace: pod.Namespace, Object: runtime.RawExtension{Raw: raw}},
	})
	if err != nil {
		return Untouched, err
	}
	request := httptest.NewRequest(http.MethodPost, "/inject", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	c.handler.ServeHTTP(recorder, request)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &review); err != nil {
		return Untouched, err
	}
	switch r := review.Response; {
	case r == nil:
		return Untouched, errors.New("the injector does not answer")
	case !r.Allowed:
		return Refused, nil
	case len(r.Patch) > 0:
		return Injected, nil
	default:
		return Untouched, nil
	}
}

package judge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/config/schema/resource"
)

// Manifests are the objects of a mesh as the API server would hold them:
// validated, and each once.
type Manifests struct {
	Configs        []config.Config
	Namespaces     []*corev1.Namespace
	Services       []*corev1.Service
	Endpoints      []*corev1.Endpoints //nolint:staticcheck // manifests still hold the old kind
	EndpointSlices []*discoveryv1.EndpointSlice
	Workloads      []*Workload
	// GatewayAPI are the objects of the Gateway API.
	GatewayAPI []runtime.Object
	Mesh       *meshconfig.MeshConfig
	// ProxyValues are the installation's values under global.proxy.
	ProxyValues map[string]string

	// again reads the same input for a cluster of the other address family.
	again func(v6 bool) *Manifests

	// Rejected are the objects that the admission webhook refuses, with its
	// words.
	Rejected []error
}

// installed is the creation time of objects whose manifest has none: all of
// them are as old as each other, as after one kubectl apply.
var installed = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// ReadDir reads all .yaml, .yml and .json files under dir, in the order of
// their names.
func ReadDir(dir string) (*Manifests, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".yaml", ".yml", ".json":
			if !entry.IsDir() {
				names = append(names, path)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	read := newReader()
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := read.stream(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return read.manifests(false), nil
}

// Parse reads one stream of YAML documents.
func Parse(stream []byte) (*Manifests, error) {
	read := newReader()
	if err := read.stream(stream); err != nil {
		return nil, err
	}
	return read.manifests(false), nil
}

// document is an object before anything is known of its kind.
type document struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Items []json.RawMessage `json:"items,omitempty"`
	raw   []byte
}

// reader collects documents. Of several of one kind, namespace and name the last
// counts that is not refused, as if they were applied one after the other.
type reader struct {
	order []string
	all   map[string][]*document
	mesh  []byte
	proxy map[string]string
}

func newReader() *reader {
	silence()
	return &reader{all: map[string][]*document{}, proxy: map[string]string{}}
}

func (r *reader) stream(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	documents := kubeyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		js, err := yaml.YAMLToJSON(text)
		if err != nil {
			return err
		}
		if err := r.object(js); err != nil {
			return err
		}
	}
}

func (r *reader) object(js []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(js), []byte("{")) {
		return nil
	}
	doc := &document{raw: js}
	if err := json.Unmarshal(js, doc); err != nil {
		return err
	}
	if strings.HasSuffix(doc.Kind, "List") {
		for _, item := range doc.Items {
			if err := r.object(item); err != nil {
				return err
			}
		}
		return nil
	}
	if doc.Kind == "" {
		r.values(js)
		return nil
	}
	if doc.Namespace == "" && doc.Kind != "Namespace" {
		doc.Namespace = metav1.NamespaceDefault
	}
	group, _, found := strings.Cut(doc.APIVersion, "/")
	if !found {
		group = ""
	}
	key := strings.Join([]string{group, doc.Kind, doc.Namespace, doc.Name}, "|")
	if _, seen := r.all[key]; !seen {
		r.order = append(r.order, key)
	}
	r.all[key] = append(r.all[key], doc)
	return nil
}

// values takes the mesh configuration out of a Helm values file.
func (r *reader) values(js []byte) {
	var values struct {
		MeshConfig json.RawMessage `json:"meshConfig"`
		Istio      struct {
			Values struct {
				MeshConfig json.RawMessage `json:"meshConfig"`
			} `json:"values"`
		} `json:"istio"`
	}
	if json.Unmarshal(js, &values) != nil {
		return
	}
	for _, found := range []json.RawMessage{values.MeshConfig, values.Istio.Values.MeshConfig} {
		if len(found) > 0 && r.mesh == nil {
			r.mesh = found
		}
	}
}

// operator takes what matters here out of an installation's settings.
func (r *reader) operator(doc *document) {
	var operator struct {
		Spec struct {
			MeshConfig json.RawMessage `json:"meshConfig"`
			Values     struct {
				Global struct {
					Proxy map[string]any `json:"proxy"`
				} `json:"global"`
			} `json:"values"`
		} `json:"spec"`
	}
	if json.Unmarshal(doc.raw, &operator) != nil {
		return
	}
	if r.mesh == nil && len(operator.Spec.MeshConfig) > 0 {
		r.mesh = operator.Spec.MeshConfig
	}
	for key, value := range operator.Spec.Values.Global.Proxy {
		if text, ok := value.(string); ok {
			r.proxy[key] = text
		}
	}
}

// manifests builds the objects of a cluster whose pods have addresses of one
// family.
func (r *reader) manifests(v6 bool) *Manifests {
	m := &Manifests{ProxyValues: r.proxy, again: r.manifests}
	for _, key := range r.order {
		doc := m.addLast(r.all[key])
		if doc == nil {
			continue
		}
		if doc.Kind == "ConfigMap" && doc.Name == "istio" {
			var settings struct {
				Data map[string]string `json:"data"`
			}
			if json.Unmarshal(doc.raw, &settings) == nil {
				if text, found := settings.Data["mesh"]; found {
					r.mesh = []byte(text)
				}
			}
		}
		if doc.Kind == "IstioOperator" {
			r.operator(doc)
		}
	}
	m.Mesh = mesh.DefaultMeshConfig()
	if r.mesh != nil {
		// A configuration that istiod cannot read or finds invalid is dropped
		// as a whole (pkg/config/mesh/kubemesh).
		if applied, err := mesh.ApplyMeshConfig(string(r.mesh), mesh.DefaultMeshConfig()); err == nil {
			m.Mesh = applied
		} else {
			m.Rejected = append(m.Rejected, fmt.Errorf("mesh configuration: %w", err))
		}
	}
	m.deployGateways()
	m.inject()
	if Ambient() {
		m.enrol()
	}
	m.addresses(v6)
	return m
}

// addLast adds the last of several definitions of an object that is not refused
// and returns it, nil if there is none.
func (m *Manifests) addLast(docs []*document) *document {
	var accepted *document
	for _, doc := range slices.Backward(docs) {
		into := m
		if accepted != nil {
			into = &Manifests{} // only to hear whether it is refused
		}
		if err := into.add(doc); err != nil {
			m.Rejected = append(m.Rejected, err)
		} else if accepted == nil {
			accepted = doc
		}
	}
	return accepted
}

func (m *Manifests) add(doc *document) error {
	refuse := func(err error) error {
		return fmt.Errorf("%s %s/%s: %w", doc.Kind, doc.Namespace, doc.Name, err)
	}
	version := doc.GroupVersionKind()
	if schema, found := collections.PilotGatewayAPI().FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&version)); found && isConfig(schema) {
		object := &crd.IstioKind{}
		if err := json.Unmarshal(doc.raw, object); err != nil {
			return refuse(err)
		}
		cfg, err := crd.ConvertObject(schema, object, "cluster.local")
		if err != nil {
			return refuse(err)
		}
		cfg.Namespace = doc.Namespace
		if cfg.CreationTimestamp.IsZero() {
			cfg.CreationTimestamp = installed
		}
		if _, err := schema.ValidateConfig(*cfg); err != nil {
			return refuse(err)
		}
		m.Configs = append(m.Configs, *cfg)
		return nil
	}
	switch doc.Kind {
	case "Namespace":
		ns := &corev1.Namespace{}
		if err := json.Unmarshal(doc.raw, ns); err != nil {
			return refuse(err)
		}
		if ns.Labels == nil {
			ns.Labels = map[string]string{}
		}
		// The API server sets this label on every namespace.
		ns.Labels[corev1.LabelMetadataName] = ns.Name
		m.Namespaces = append(m.Namespaces, ns)
	case "Service":
		if doc.APIVersion != "v1" {
			return nil
		}
		service := &corev1.Service{}
		if err := json.Unmarshal(doc.raw, service); err != nil {
			return refuse(err)
		}
		service.Namespace = doc.Namespace
		defaultService(service)
		if service.CreationTimestamp.IsZero() {
			service.CreationTimestamp = metav1.NewTime(installed)
		}
		m.Services = append(m.Services, service)
	case "Endpoints":
		endpoints := &corev1.Endpoints{} //nolint:staticcheck // manifests still hold the old kind
		if err := json.Unmarshal(doc.raw, endpoints); err != nil {
			return refuse(err)
		}
		endpoints.Namespace = doc.Namespace
		m.Endpoints = append(m.Endpoints, endpoints)
	case "EndpointSlice":
		slice := &discoveryv1.EndpointSlice{}
		if err := json.Unmarshal(doc.raw, slice); err != nil {
			return refuse(err)
		}
		slice.Namespace = doc.Namespace
		m.EndpointSlices = append(m.EndpointSlices, slice)
	default:
		object, err := gatewayObject(doc)
		if err != nil {
			return refuse(err)
		}
		if object != nil {
			m.GatewayAPI = append(m.GatewayAPI, object)
			return nil
		}
		workload, err := newWorkload(doc)
		if err != nil {
			return refuse(err)
		}
		if workload != nil {
			m.Workloads = append(m.Workloads, workload)
		}
	}
	return nil
}

// isConfig tells Istio's own kinds, which go to the configuration store, from
// those of Kubernetes and of the Gateway API that the same collection holds.
func isConfig(schema resource.Schema) bool {
	switch schema.GroupVersionKind() {
	case gvk.ServiceEntry, gvk.WorkloadEntry, gvk.VirtualService, gvk.DestinationRule, gvk.Gateway,
		gvk.Sidecar, gvk.EnvoyFilter, gvk.ProxyConfig, gvk.AuthorizationPolicy, gvk.PeerAuthentication,
		gvk.RequestAuthentication, gvk.Telemetry, gvk.WasmPlugin:
		return true
	default:
		return false
	}
}

// defaultService fills in what the API server would.
func defaultService(service *corev1.Service) {
	if service.Spec.Type == "" {
		service.Spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		if port.Protocol == "" {
			port.Protocol = corev1.ProtocolTCP
		}
		if port.TargetPort == (intstr.IntOrString{}) {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
}

package model

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model/kube/discoveryv1"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// Load reads manifests and makes a mesh of them. It fails only where nothing
// can be read at all (a path that does not exist, no manifest); whatever is
// wrong with single files and objects is in Mesh.Problems. files.Decode,
// files.Essence, files.Unread and files.Outline are ignored. The set gives source
// lines.
func Load(ctx context.Context, files manifest.Options, opts Options) (*Mesh, *manifest.Set, error) {
	files.Decode, files.Essence, files.Unread, files.Outline = Decode, essence, unread, outline
	set, err := manifest.Load(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	return Build(set, opts), set, nil
}

// modelledVersion is the release of Istio whose behaviour is simulated.
const modelledVersion = "1.31"

// Build makes a mesh of what was loaded with [Decode] as decoder. It never
// fails: what is wrong becomes a Problem, and what is missing a Note.
func Build(set *manifest.Set, opts Options) *Mesh {
	m := &Mesh{Options: opts, Ignored: map[string]int{}, completion: &sync.Once{}}
	m.Problems = append(m.Problems, set.Problems...)
	m.Directives = set.Directives
	objects := slices.Concat(set.Objects, set.Values)
	m.addNamespaces(set.Objects)
	var workloads []*Workload
	for _, o := range objects {
		if w, ok := o.Value.(*Workload); ok {
			workloads = append(workloads, w)
		} else {
			m.add(o)
		}
	}
	m.addUnfilled(set.Rejected)
	m.findUnfilled(set.Rejected)
	m.findUnfilledObjects(set.Objects, set.Rejected)
	m.addWorkloads(workloads)
	m.configure(objects)
	m.addImplied()
	m.InjectionAssumption = m.assumeInjection()
	m.countUnmodelledFields()
	m.findDualStack()
	for _, w := range m.Workloads {
		w.id = w.ID()
	}
	m.inhabit()
	if version, object, _ := m.IstioVersion(); version != "" && !strings.HasPrefix(version, modelledVersion) {
		m.note("%s asks for Istio %s; what is simulated is Istio %s", title(object), version, modelledVersion)
	}
	sort.SliceStable(m.Problems, func(i, j int) bool {
		a, b := &m.Problems[i], &m.Problems[j]
		return cmp.Or(a.Position.Compare(b.Position), cmp.Compare(a.Message, b.Message)) < 0
	})
	return m
}

// add puts an object where its kind belongs.
func (m *Mesh) add(o *manifest.Object) {
	if m.addGatewayAPI(o) {
		return
	}
	switch v := o.Value.(type) {
	case proto.Message:
		m.addIstio(o, v)
	case *corev1.Service:
		m.KubeServices = append(m.KubeServices, resource(o, v))
	case *corev1.Endpoints: //nolint:staticcheck // as Mesh.KubeEndpoints
		m.KubeEndpoints = append(m.KubeEndpoints, resource(o, v))
	case *discoveryv1.EndpointSlice:
		m.EndpointSlices = append(m.EndpointSlices, resource(o, v))
	case *networkingv1.NetworkPolicy:
		m.NetworkPolicies = append(m.NetworkPolicies, resource(o, v))
	case *ClusterPolicy:
		m.ClusterNetworkPolicies = append(m.ClusterNetworkPolicies, resource(o, v))
	case *MutatingWebhookConfiguration:
		m.InjectionWebhooks = append(m.InjectionWebhooks, resource(o, v))
	case *gatewayParameters:
		m.addParameters(o, v)
	case *meshMap:
		if v.networks {
			m.meshNetworks = o
		}
	case refused, unfilledTree, *cniMap, *installationDoc:
	default:
		switch classOf(o) {
		case legacyClass:
			m.Legacy = append(m.Legacy, o)
		case pluginPolicyClass:
			m.PluginPolicies = append(m.PluginPolicies, o)
		case unmodelledClass:
			m.Unmodelled = append(m.Unmodelled, o)
		case kubernetesClass:
			switch o.Kind {
			case "Namespace":
			case "ServiceAccount":
				m.ServiceAccounts = append(m.ServiceAccounts, o)
			default:
				m.ignore(o)
			}
		default:
			if o.Kind == "Secret" && o.Group() == "" {
				m.Secrets = append(m.Secrets, o)
			}
			m.ignore(o)
		}
	}
}

func (m *Mesh) ignore(o *manifest.Object) { m.Ignored[o.APIVersion+" "+o.Kind]++ }

// addIstio puts an object of one of Istio's kinds where it belongs.
func (m *Mesh) addIstio(o *manifest.Object, spec proto.Message) {
	switch v := spec.(type) {
	case *networking.ServiceEntry:
		m.ServiceEntries = append(m.ServiceEntries, resource(o, v))
	case *networking.WorkloadEntry:
		m.WorkloadEntries = append(m.WorkloadEntries, resource(o, v))
	case *networking.VirtualService:
		m.VirtualServices = append(m.VirtualServices, resource(o, v))
	case *networking.DestinationRule:
		m.DestinationRules = append(m.DestinationRules, resource(o, v))
	case *networking.Gateway:
		m.Gateways = append(m.Gateways, resource(o, v))
	case *networking.Sidecar:
		m.Sidecars = append(m.Sidecars, resource(o, v))
	case *networking.EnvoyFilter:
		m.EnvoyFilters = append(m.EnvoyFilters, resource(o, v))
	case *networkingv1beta1.ProxyConfig:
		m.ProxyConfigs = append(m.ProxyConfigs, resource(o, v))
	case *security.AuthorizationPolicy:
		m.AuthorizationPolicies = append(m.AuthorizationPolicies, resource(o, v))
	case *security.PeerAuthentication:
		m.PeerAuthentications = append(m.PeerAuthentications, resource(o, v))
	case *security.RequestAuthentication:
		m.RequestAuthentications = append(m.RequestAuthentications, resource(o, v))
	default:
		m.ignore(o) // WorkloadGroup: a template for WorkloadEntries, which decides nothing itself
	}
}

func resource[S any](o *manifest.Object, spec S) *Resource[S] {
	return &Resource[S]{Object: o, Spec: spec}
}

// addImplied completes what depends on the objects that an installation implies.
func (m *Mesh) addImplied() {
	m.implyKubeGateways()
	m.sortWorkloads()
	for _, w := range m.Workloads {
		m.namespace(w.Namespace).Labels[NamespaceNameLabel] = w.Namespace
	}
	for _, s := range m.KubeServices {
		m.namespace(s.Namespace).Labels[NamespaceNameLabel] = s.Namespace
	}
}

// sortedKeys returns the keys of a map, sorted.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Package model holds the mesh as Istio sees it: mesh configuration,
// namespaces, workloads, services and Istio's own objects, decoded, validated
// as istiod would, and indexed. It decides nothing about traffic.
package model

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model/kube/discoveryv1"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// Resource is an object of the input together with its decoded spec. The
// embedded Object gives name, namespace, labels and positions.
type Resource[S any] struct {
	*manifest.Object
	Spec S
}

type (
	// The kinds of Istio and Kubernetes that decide about egress.

	ServiceEntry          = Resource[*networking.ServiceEntry]
	WorkloadEntry         = Resource[*networking.WorkloadEntry]
	VirtualService        = Resource[*networking.VirtualService]
	DestinationRule       = Resource[*networking.DestinationRule]
	Gateway               = Resource[*networking.Gateway]
	Sidecar               = Resource[*networking.Sidecar]
	EnvoyFilter           = Resource[*networking.EnvoyFilter]
	ProxyConfig           = Resource[*networkingv1beta1.ProxyConfig]
	AuthorizationPolicy   = Resource[*security.AuthorizationPolicy]
	PeerAuthentication    = Resource[*security.PeerAuthentication]
	RequestAuthentication = Resource[*security.RequestAuthentication]
	KubeService           = Resource[*corev1.Service]
	KubeEndpoints         = Resource[*corev1.Endpoints] //nolint:staticcheck // manifests still hold the old kind
	EndpointSlice         = Resource[*discoveryv1.EndpointSlice]
	NetworkPolicy         = Resource[*networkingv1.NetworkPolicy]
	MutatingWebhook       = Resource[*MutatingWebhookConfiguration]
	// ClusterNetworkPolicy is one of policy.networking.k8s.io, or an
	// AdminNetworkPolicy or BaselineAdminNetworkPolicy.
	ClusterNetworkPolicy = Resource[*ClusterPolicy]

	// KubeGateway is a Gateway of the Gateway API, Gateway one of Istio's own.
	KubeGateway    = Resource[*gatewayv1.Gateway]
	GatewayClass   = Resource[*gatewayv1.GatewayClass]
	KubeHTTPRoute  = Resource[*gatewayv1.HTTPRoute]
	KubeGRPCRoute  = Resource[*gatewayv1.GRPCRoute]
	KubeTLSRoute   = Resource[*gatewayv1.TLSRoute]
	KubeTCPRoute   = Resource[*gatewayv1.TCPRoute]
	ReferenceGrant = Resource[*gatewayv1.ReferenceGrant]
)

// Mesh is everything that the input says about one mesh. Slices of resources
// are in the order of the input; indexes over them are built by [Build].
type Mesh struct {
	Options Options

	// Config is the mesh configuration of the default revision; Revisions has
	// one for each named revision of the input.
	Config    *MeshConfig
	Revisions map[string]*MeshConfig
	// RevisionTags gives the revision ("default" for the default one) that a
	// revision tag of the input stands for.
	RevisionTags map[string]string
	// UnreadConfigs are ConfigMaps that look like istiod's and lie in a namespace
	// where none reads them, in the order in which they were found.
	UnreadConfigs []UnreadConfig

	// Namespaces has every namespace that an object, a flag or an object's
	// metadata.namespace names.
	Namespaces map[string]*Namespace
	// Workloads are sorted by namespace, name and kind.
	Workloads []*Workload

	KubeServices           []*KubeService
	KubeEndpoints          []*KubeEndpoints
	EndpointSlices         []*EndpointSlice
	ServiceEntries         []*ServiceEntry
	WorkloadEntries        []*WorkloadEntry
	VirtualServices        []*VirtualService
	DestinationRules       []*DestinationRule
	Gateways               []*Gateway
	Sidecars               []*Sidecar
	EnvoyFilters           []*EnvoyFilter
	ProxyConfigs           []*ProxyConfig
	AuthorizationPolicies  []*AuthorizationPolicy
	PeerAuthentications    []*PeerAuthentication
	RequestAuthentications []*RequestAuthentication
	NetworkPolicies        []*NetworkPolicy
	ClusterNetworkPolicies []*ClusterNetworkPolicy

	// The objects of the Gateway API.
	KubeGateways    []*KubeGateway
	GatewayClasses  []*GatewayClass
	KubeHTTPRoutes  []*KubeHTTPRoute
	KubeGRPCRoutes  []*KubeGRPCRoute
	KubeTLSRoutes   []*KubeTLSRoute
	KubeTCPRoutes   []*KubeTCPRoute
	ReferenceGrants []*ReferenceGrant

	// ServiceAccounts are named by policies and pods; they hold nothing else
	// that bears on egress.
	ServiceAccounts []*manifest.Object
	// Secrets are named by credentialName; of what they hold nothing is read.
	Secrets []*manifest.Object
	// InjectionWebhooks are the MutatingWebhookConfigurations of a sidecar
	// injector.
	InjectionWebhooks []*MutatingWebhook
	// Legacy are objects of API groups and kinds that no supported Istio reads
	// (config.istio.io, rbac.istio.io, authentication.istio.io, RouteRule …).
	// Their Value is that of Unmodelled ones.
	Legacy []*manifest.Object
	// PluginPolicies are network policies of Cilium and Calico and what goes with
	// them (tiers, sets); their Value is that of Unmodelled ones.
	PluginPolicies []*manifest.Object
	// Unmodelled are objects of kinds that may bear on egress and that the
	// simulation does not interpret (ListenerSets, extensions, network policies
	// of other plugins …): what they may touch is unknown. Their Value
	// is the whole object as encoding/json reads it into any; nil for Secrets, and an
	// [UnfilledPolicy] for NetworkPolicies with a placeholder.
	Unmodelled []*manifest.Object
	// UnmodelledFields are fields of kinds that are interpreted, sorted by kind
	// and field, that may bear on egress and are not.
	UnmodelledFields []UnmodelledField
	// Ignored counts the objects of kinds without bearing on egress, by
	// "apiVersion Kind".
	Ignored map[string]int

	// CNI is what the input says of Istio's CNI agent by itself, nil for nothing;
	// ZTunnel is the object of the Sail operator that installs ztunnel, nil if the
	// input has none.
	CNI     *CNIAgent
	ZTunnel *manifest.Object

	// DisabledGateways are the gateways that an IstioOperator lists and disables, in
	// the order of the input.
	DisabledGateways []DisabledGateway

	// Problems are those of reading and of validation, in file order.
	Problems []manifest.Problem
	// Directives ask for findings to be left out, in file order.
	Directives []manifest.Directive
	// InjectionAssumption is the one assumption made for all namespaces whose
	// Namespace object is absent.
	InjectionAssumption InjectionAssumption
	// Notes say, each in a sentence, what was taken for granted because the
	// input does not hold it (mesh configuration, an installation's gateways).
	Notes []string

	// meshNetworks is the ConfigMap that tells of gateways between networks, nil if
	// none does.
	meshNetworks *manifest.Object
	dualStack    *KubeService
	// unfilled are the AuthorizationPolicies with placeholders.
	unfilled []*unfilledAuthorization
	// unfilledObjects are what [Mesh.Unfilled] returns.
	unfilledObjects []*Unfilled
	// gatewayParameters are ConfigMaps to which Gateways may refer.
	gatewayParameters []*Resource[*gatewayParameters]
	// versions are the versions of Istio that installations ask for.
	versions []sourcedVersion
	// completion is done once the workloads have their labels of run time.
	completion *sync.Once
	// inhabited are the namespaces with workloads or Services: see HoldsWorkloadsOf.
	inhabited map[string]bool
}

// DisabledGateway is a gateway of an installation's components that is not installed.
type DisabledGateway struct {
	// Object and Field are what disables it.
	Object *manifest.Object
	Field  string
	// Name and Namespace are those that its Service would have.
	Name, Namespace string
}

// Partial reports whether some of the input was not analysed.
func (m *Mesh) Partial() bool {
	for _, p := range m.Problems {
		if p.Kind.Partial() {
			return true
		}
	}
	return false
}

// Options are what a user says beside the manifests.
type Options struct {
	// AssumeInjected is "auto", "yes" or "no"; "" means auto.
	AssumeInjected string
	// NamespaceLabels are labels that were set by command:
	// namespace, key, value.
	NamespaceLabels []NamespaceLabel
	// Set are installation settings as istioctl's --set takes them:
	// "profile=demo", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY",
	// "values.global.proxy.excludeIPRanges=10.0.0.0/8".
	Set []string
}

// NamespaceLabel is one label of one namespace. An empty Key only says that the
// namespace exists.
type NamespaceLabel struct{ Namespace, Key, Value string }

// Namespace is a namespace with the labels that its object and the flags give.
type Namespace struct {
	Name string
	// Object is nil where the input has no Namespace object.
	Object *manifest.Object
	Labels map[string]string
	// Declared is true where an object or a flag speaks of the namespace
	// itself, so that its labels are known; false where it is only named by
	// other objects.
	Declared bool
}

// InjectionAssumption is what is assumed for namespaces whose labels the input
// does not tell.
type InjectionAssumption struct {
	Injected bool
	// Reason is a clause: "because the input holds Istio routing objects and
	// labels no namespace".
	Reason string
}

// Workload is something that makes pods, seen as one of its pods.
type Workload struct {
	// Object is the Deployment, StatefulSet, …, or Pod.
	Object *manifest.Object
	// Template is the field path of the pod template in Object, "" for a Pod.
	Template string

	Kind      string
	Namespace string
	Name      string

	// Labels and Annotations are those of the pod: of its template and of its
	// controller, and once the mesh is complete ([Mesh.Complete]) the labels that
	// it has when it runs, as far as the manifests tell them.
	// Of annotations only those are kept that Istio or OpenShift reads, as in all
	// objects of the mesh.
	Labels      map[string]string
	Annotations map[string]string
	// Open are labels that the pod has or may have when it runs, and whose value
	// the manifests do not tell. None of them is in Labels but those whose value is a
	// placeholder, as it stands.
	Open map[string]OpenLabel
	// ServiceAccount is the name of the pod's service account, "default" if unset.
	ServiceAccount string
	// Pod is the pod's spec, without what has no bearing on egress (probes,
	// resources, volumes, scheduling: trimPod has the list). It is nil where the kind is known to make pods
	// but the template was not found; then PodUnknown says so.
	Pod        *corev1.PodSpec
	PodUnknown string

	// owners are the controllers that the object's metadata names.
	owners []owner
	// added are the keys of Labels that are not set when the pod is created.
	added map[string]bool
	// id is what ID returns, once the mesh is built.
	id string
}

// ID returns "namespace/name".
//
//go:noinline
func (w *Workload) ID() string {
	if w.id != "" {
		return w.id
	}
	return w.Namespace + "/" + w.Name
}

// Field returns the path of a field of the pod (as "metadata.labels" or
// "spec.hostNetwork") within Object.
//
//go:noinline
func (w *Workload) Field(pod string) string {
	if w.Template == "" {
		return pod
	}
	return w.Template + "." + pod
}

// HoldsWorkloadsOf reports whether the input has a workload or a Service of a
// namespace. Where it has neither, the namespace is evidently not part of the
// input, and what is missing there may well exist in the cluster.
func (m *Mesh) HoldsWorkloadsOf(namespace string) bool {
	if m.inhabited == nil { // not built
		return slices.ContainsFunc(m.Workloads, func(w *Workload) bool { return w.Namespace == namespace }) ||
			slices.ContainsFunc(m.KubeServices, func(s *KubeService) bool { return s.Namespace == namespace })
	}
	return m.inhabited[namespace]
}

// inhabit finds the namespaces with workloads or Services.
func (m *Mesh) inhabit() {
	m.inhabited = map[string]bool{}
	for _, w := range m.Workloads {
		m.inhabited[w.Namespace] = true
	}
	for _, s := range m.KubeServices {
		m.inhabited[s.Namespace] = true
	}
}

package manifest

import "strings"

// clusterScoped are the kinds without namespace that meshes hold, by
// "group/Kind". The kinds of Kubernetes are those that `kubectl api-resources
// --namespaced=false` lists; the others are from their projects' CRDs.
var clusterScoped = set(
	"/ComponentStatus", "/Namespace", "/Node", "/PersistentVolume",
	"admissionregistration.k8s.io/MutatingAdmissionPolicy", "admissionregistration.k8s.io/MutatingAdmissionPolicyBinding",
	"admissionregistration.k8s.io/MutatingWebhookConfiguration", "admissionregistration.k8s.io/ValidatingAdmissionPolicy",
	"admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding", "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
	"apiextensions.k8s.io/CustomResourceDefinition", "apiregistration.k8s.io/APIService",
	"authentication.k8s.io/SelfSubjectReview", "authentication.k8s.io/TokenReview",
	"authorization.k8s.io/SelfSubjectAccessReview", "authorization.k8s.io/SelfSubjectRulesReview", "authorization.k8s.io/SubjectAccessReview",
	"certificates.k8s.io/CertificateSigningRequest", "certificates.k8s.io/ClusterTrustBundle",
	"extensions/PodSecurityPolicy", "policy/PodSecurityPolicy",
	"flowcontrol.apiserver.k8s.io/FlowSchema", "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration",
	"networking.k8s.io/IPAddress", "networking.k8s.io/IngressClass", "networking.k8s.io/ServiceCIDR",
	"node.k8s.io/RuntimeClass",
	"rbac.authorization.k8s.io/ClusterRole", "rbac.authorization.k8s.io/ClusterRoleBinding",
	"resource.k8s.io/DeviceClass", "resource.k8s.io/ResourceSlice",
	"scheduling.k8s.io/PriorityClass",
	"storage.k8s.io/CSIDriver", "storage.k8s.io/CSINode", "storage.k8s.io/StorageClass", "storage.k8s.io/VolumeAttachment", "storage.k8s.io/VolumeAttributesClass",
	"snapshot.storage.k8s.io/VolumeSnapshotClass", "snapshot.storage.k8s.io/VolumeSnapshotContent",

	"gateway.networking.k8s.io/GatewayClass",
	"policy.networking.k8s.io/AdminNetworkPolicy", "policy.networking.k8s.io/BaselineAdminNetworkPolicy", "policy.networking.k8s.io/ClusterNetworkPolicy",
	"multicluster.x-k8s.io/ClusterProperty",

	"cilium.io/CiliumCIDRGroup", "cilium.io/CiliumClusterwideEnvoyConfig", "cilium.io/CiliumClusterwideNetworkPolicy",
	"cilium.io/CiliumEgressGatewayPolicy", "cilium.io/CiliumExternalWorkload", "cilium.io/CiliumIdentity",
	"cilium.io/CiliumLoadBalancerIPPool", "cilium.io/CiliumNode", "cilium.io/CiliumBGPPeeringPolicy", "cilium.io/CiliumL2AnnouncementPolicy",

	"crd.antrea.io/ClusterGroup", "crd.antrea.io/ClusterNetworkPolicy", "crd.antrea.io/Egress", "crd.antrea.io/ExternalIPPool", "crd.antrea.io/Tier",
	"security.antrea.tanzu.vmware.com/ClusterNetworkPolicy", "security.antrea.tanzu.vmware.com/Tier",
	"k8s.ovn.org/AdminPolicyBasedExternalRoute", "k8s.ovn.org/EgressIP",

	"cert-manager.io/ClusterIssuer", "external-secrets.io/ClusterExternalSecret", "external-secrets.io/ClusterSecretStore",
	"kyverno.io/ClusterPolicy", "kyverno.io/ClusterCleanupPolicy", "trust.cert-manager.io/Bundle",
	"argoproj.io/ClusterAnalysisTemplate", "argoproj.io/ClusterWorkflowTemplate",
	"sailoperator.io/Istio", "sailoperator.io/IstioCNI", "sailoperator.io/IstioRevision", "sailoperator.io/IstioRevisionTag", "sailoperator.io/ZTunnel",
	"project.openshift.io/Project", "security.openshift.io/SecurityContextConstraints", "network.openshift.io/ClusterNetwork", "network.openshift.io/NetNamespace", "network.openshift.io/HostSubnet",
)

// calicoNamespaced are the kinds of Calico that live in a namespace; all others
// of its groups are cluster-wide.
var calicoNamespaced = set("NetworkPolicy", "NetworkSet", "StagedNetworkPolicy", "StagedKubernetesNetworkPolicy")

// NamespaceScoped reports whether objects of o's kind live in a namespace, as
// far as that is known: of an unknown kind it is taken for granted. Only
// APIVersion and Kind of o are looked at.
func NamespaceScoped(o *Object) bool {
	group := o.Group()
	switch {
	case strings.HasSuffix(group, "projectcalico.org"):
		return calicoNamespaced[o.Kind]
	case group == "operator.tigera.io", group == "constraints.gatekeeper.sh", group == "templates.gatekeeper.sh":
		return false
	}
	return !clusterScoped[group+"/"+o.Kind]
}

// set makes a set of strings.
func set(members ...string) map[string]bool {
	m := make(map[string]bool, len(members))
	for _, s := range members {
		m[s] = true
	}
	return m
}

package model

import (
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// class says what is done with the objects of a kind.
type class int

const (
	ignoredClass      class = iota // no bearing on egress: counted
	istioClass                     // one of istioKinds
	unknownIstioClass              // a kind that Istio's groups do not have
	legacyClass                    // Mesh.Legacy
	unmodelledClass                // Mesh.Unmodelled
	pluginPolicyClass              // Mesh.PluginPolicies
	installationClass              // mesh configuration and installation settings
	workloadClass                  // makes pods
	kubernetesClass                // other kinds of Kubernetes that are decoded
	gatewayAPIClass                // kinds of the Gateway API that istiod reads
)

// classOf sorts an object by its API group and kind, and for the open-ended
// kinds ConfigMap, Secret and MutatingWebhookConfiguration by its name and labels.
func classOf(o *manifest.Object) class {
	if o.Kind == manifest.KindValues {
		return installationClass
	}
	group := o.Group()
	if k := istioKinds[o.Kind]; k != nil && crdKinds()[o.Kind].Group == group {
		return istioClass
	}
	switch group {
	case "networking.istio.io":
		if legacyRouting[o.Kind] {
			return legacyClass
		}
		return unknownIstioClass
	case "security.istio.io":
		return unknownIstioClass
	case "config.istio.io", "rbac.istio.io", "authentication.istio.io", "policy.istio.io":
		return legacyClass
	}
	if group == "gateway.networking.k8s.io" && gatewayAPIKinds[o.Kind] {
		return gatewayAPIClass
	}
	if isClusterPolicy(o) {
		return kubernetesClass
	}
	if k := group + "/" + o.Kind; installationKinds[k] {
		return installationClass
	} else if pluginPolicyKinds[k] {
		return pluginPolicyClass
	} else if unmodelledKinds[k] || unmodelledKinds[group+"/*"] {
		return unmodelledClass
	} else if podTemplates[k] != nil {
		return workloadClass
	} else if kubernetesKinds[k] {
		return kubernetesClass
	}
	switch {
	case o.Kind == "MutatingWebhookConfiguration":
		if o.Labels["app"] == "sidecar-injector" || strings.Contains(o.Name, "sidecar-injector") || strings.HasPrefix(o.Name, "istio-revision-tag-") {
			return kubernetesClass
		}
	case o.Kind == "Secret" && group == "":
		// A remote secret makes istiod read the services of another cluster
		// (istio pkg/kube/multicluster/secretcontroller.go).
		if o.Labels["istio/multiCluster"] == "true" {
			return unmodelledClass
		}
	case group != "" && !strings.HasSuffix(o.Kind, "Template") && !kubernetesGroup(group):
		// Custom resources that make pods cannot be listed; those that look
		// like a Deployment are taken for one.
		return workloadClass
	}
	return ignoredClass
}

// kubernetesGroup reports whether a group is one of Kubernetes' own.
func kubernetesGroup(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// legacyRouting are the kinds of networking.istio.io before Istio 1.0.
var legacyRouting = map[string]bool{
	"RouteRule": true, "EgressRule": true, "ExternalService": true, "DestinationPolicy": true,
}

var installationKinds = map[string]bool{
	"install.istio.io/IstioOperator":            true,
	"install.istio.io/IstioControlPlane":        true,
	"sailoperator.io/Istio":                     true,
	"operator.istio.io/Istio":                   true, // the Sail operator before 1.0
	"sailoperator.io/IstioRevision":             true,
	"operator.istio.io/IstioRevision":           true,
	"sailoperator.io/IstioRevisionTag":          true,
	"sailoperator.io/IstioCNI":                  true,
	"operator.istio.io/IstioCNI":                true,
	"sailoperator.io/ZTunnel":                   true,
	"maistra.io/ServiceMeshControlPlane":        true,
	"helm.toolkit.fluxcd.io/HelmRelease":        true,
	"argoproj.io/Application":                   true,
	"argoproj.io/ApplicationSet":                true,
	"kustomize.toolkit.fluxcd.io/Kustomization": true,
}

var kubernetesKinds = map[string]bool{
	"/Namespace":                      true,
	"/Service":                        true,
	"/Endpoints":                      true,
	"/ServiceAccount":                 true,
	"/ConfigMap":                      true,
	"discovery.k8s.io/EndpointSlice":  true,
	"networking.k8s.io/NetworkPolicy": true,
	"extensions/NetworkPolicy":        true, // before Kubernetes 1.16, with the same fields
}

// pluginPolicyKinds are policies of Cilium and Calico, which package netpol
// interprets.
var pluginPolicyKinds = map[string]bool{
	"cilium.io/CiliumNetworkPolicy":             true,
	"cilium.io/CiliumClusterwideNetworkPolicy":  true,
	"projectcalico.org/NetworkPolicy":           true,
	"projectcalico.org/GlobalNetworkPolicy":     true,
	"projectcalico.org/NetworkSet":              true,
	"projectcalico.org/GlobalNetworkSet":        true,
	"projectcalico.org/Tier":                    true,
	"crd.projectcalico.org/NetworkPolicy":       true,
	"crd.projectcalico.org/GlobalNetworkPolicy": true,
	"crd.projectcalico.org/NetworkSet":          true,
	"crd.projectcalico.org/GlobalNetworkSet":    true,
	"crd.projectcalico.org/Tier":                true,
}

// unmodelledKinds may decide about egress, and nothing here reads them. A kind
// of "*" means the whole group.
var unmodelledKinds = map[string]bool{
	"gateway.networking.k8s.io/*":   true,
	"gateway.networking.x-k8s.io/*": true,
	"extensions.istio.io/*":         true,

	"policy.networking.k8s.io/*": true, // versions beside clusterPolicyVersions

	"cilium.io/CiliumEgressGatewayPolicy":         true,
	"cilium.io/CiliumLocalRedirectPolicy":         true,
	"cilium.io/CiliumEnvoyConfig":                 true,
	"cilium.io/CiliumClusterwideEnvoyConfig":      true,
	"cilium.io/CiliumCIDRGroup":                   true,
	"projectcalico.org/EgressGatewayPolicy":       true,
	"crd.projectcalico.org/EgressGatewayPolicy":   true,
	"crd.antrea.io/NetworkPolicy":                 true,
	"crd.antrea.io/ClusterNetworkPolicy":          true,
	"crd.antrea.io/Tier":                          true,
	"crd.antrea.io/Group":                         true,
	"crd.antrea.io/ClusterGroup":                  true,
	"k8s.ovn.org/EgressFirewall":                  true,
	"k8s.ovn.org/AdminPolicyBasedExternalRoute":   true,
	"network.openshift.io/EgressNetworkPolicy":    true,
	"networking.gke.io/FQDNNetworkPolicy":         true,
	"vpcresources.k8s.aws/SecurityGroupPolicy":    true,
	"networking.k8s.aws/ApplicationNetworkPolicy": true,
	"networking.k8s.aws/ClusterNetworkPolicy":     true,
	"networking.k8s.aws/PolicyEndpoint":           true,
	"policy.linkerd.io/EgressNetwork":             true,
	"crd.nsx.vmware.com/SecurityPolicy":           true,
	"kubeovn.io/SecurityGroup":                    true,
	"neuvector.com/NvSecurityRule":                true,
	"neuvector.com/NvClusterSecurityRule":         true,
	"security.kubearmor.com/KubeArmorPolicy":      true,
	"security.kubearmor.com/KubeArmorHostPolicy":  true,

	"maistra.io/ServiceMeshMemberRoll":       true,
	"maistra.io/ServiceMeshMember":           true,
	"maistra.io/ServiceMeshExtension":        true,
	"federation.maistra.io/*":                true,
	"federation.openshift-service-mesh.io/*": true,
	"multicluster.x-k8s.io/*":                true,
}

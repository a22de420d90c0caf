package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// PushContext is what istiod has computed before it generates configuration for
// proxies: the service registry and the indexes over routes, rules and policies,
// under one mesh configuration (istio pilot/pkg/model/push_context.go).
type PushContext struct {
	// Mesh has the objects that istiod watches.
	Mesh   *Mesh
	Config *MeshConfig
	// cluster has those of all namespaces, and hidden the Services among them
	// that istiod does not know; the cluster's DNS and network do.
	cluster *Mesh
	hidden  []*Service

	// services are all services, oldest first.
	services []*Service
	// byHost gives for a host and a namespace the service that counts there.
	byHost map[host.Name]map[string]*Service
	// byKey gives all services of a host and a namespace, in the order in which
	// istiod unites their endpoints.
	byKey map[serviceKey][]*Service
	// aged gives them in the order of the registry.
	aged map[serviceKey][]*Service
	// tied are the groups of services whose order is chance.
	tied [][]*Service
	// pick is which of equally old services of other namespaces routes lead to.
	pick int
	// listed are the services with addresses, as clients find them.
	listed map[host.Name][]*Service
	// byClusterIP finds Kubernetes Services by their addresses.
	byClusterIP map[netip.Addr]*Service
	// public are exported to everybody, exported to the namespace of the key.
	public   []*Service
	exported map[string][]*Service

	virtualServices  virtualServiceIndex
	destinationRules destinationRuleIndex
	sidecars         sidecarIndex
	gateways         []*Gateway
	// converted is what istiod makes of the Gateway API.
	converted       *gatewayConversion
	backendPolicies []*manifest.Object
	addresses       *addressBook
	index           pushIndex
	ambientOnce     sync.Once
	ambientServices *ambientServices

	defaultServiceExportTo         ExportTo
	defaultVirtualServiceExportTo  ExportTo
	defaultDestinationRuleExportTo ExportTo
}

// NewPushContext computes the push context of a mesh under one of its mesh
// configurations.
//
// tie chooses among what istiod itself leaves undetermined, the order of the
// services of one host in one namespace that are of the same age. 0 takes them
// as the input has them; up to [PushContext.Ties] choices differ.
func NewPushContext(mesh *Mesh, config *MeshConfig, tie int) *PushContext {
	all := mesh
	watched := discovers(mesh, config)
	if watched != nil {
		mesh = mesh.discovered(watched)
	}
	if config.Setting("PILOT_IGNORE_RESOURCES") != "" {
		mesh = mesh.withoutIgnored(config)
	}
	p := &PushContext{
		cluster:                        all,
		Mesh:                           mesh,
		Config:                         config,
		defaultServiceExportTo:         defaultExportTo(config.GetDefaultServiceExportTo()),
		defaultVirtualServiceExportTo:  defaultExportTo(config.GetDefaultVirtualServiceExportTo()),
		defaultDestinationRuleExportTo: defaultExportTo(config.GetDefaultDestinationRuleExportTo()),
	}
	p.initIndex()
	p.addresses = newAddressBook(all, config)
	p.initListed()
	p.initServices(tie)
	p.converted = convertGatewayAPI(mesh, config)
	p.initBackendPolicies()
	p.initVirtualServices()
	p.initDestinationRules()
	p.initSidecars()
	p.gateways = sortedByAge(slices.Concat(mesh.Gateways, p.converted.gateways))
	return p
}

// serviceKey is what services share whose endpoints istiod unites.
type serviceKey struct {
	host      host.Name
	namespace string
}

// RootNamespace is the namespace whose Sidecars, DestinationRules and policies
// hold for the whole mesh.
func (p *PushContext) RootNamespace() string { return p.Config.GetRootNamespace() }

// compareAge orders objects as istiod does: by creation time, then name, then
// namespace (istio pilot/pkg/model/config.go sortConfigByCreationTime).
func compareAge(a, b *manifest.Object) int {
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
}

// sortedByAge returns a sorted copy.
func sortedByAge[S any](in []*Resource[S]) []*Resource[S] {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b *Resource[S]) int { return compareAge(a.Object, b.Object) })
	return out
}

// subset reports whether every label of selector is in labels.
func subset(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

package judge

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/serviceregistry/provider"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/schema/gvk"
)

// A scope that does not name a host imports it all the same where a
// VirtualService in it leads there. Of services of one age in several
// namespaces, none of them the proxy's own, istiod then takes the first that
// it meets in a Go map (pilot/pkg/model/sidecar.go pickBestVisibleNamespace).

// scoped gives a sidecar its scope, with such a choice made as the order says.
func (i *istiod) scoped(node *model.Proxy) {
	changed := map[host.Name]map[string]*model.Service{}
	index := i.push.ServiceIndex.HostnameAndNamespace
	random := rand.New(rand.NewPCG(uint64(i.order), 1)) //nolint:gosec // an order, not a secret
	for _, c := range i.choices(node.ConfigNamespace) {
		at := i.order
		if at >= len(c.services) {
			at = random.IntN(len(c.services))
		}
		chosen := map[string]*model.Service{}
		for namespace, service := range index[c.host] {
			chosen[namespace] = service
		}
		// istiod asks the service that it takes for its namespace.
		for _, service := range c.services {
			chosen[service.Attributes.Namespace] = c.services[at]
		}
		changed[c.host], index[c.host] = index[c.host], chosen
	}
	node.SetSidecarScope(i.push)
	for name, original := range changed {
		index[name] = original
	}
}

// choice is a host of which a scope may get any of several services.
type choice struct {
	host     host.Name
	services []*model.Service
}

// choices are what scopes of a namespace may leave to chance.
func (i *istiod) choices(namespace string) []choice {
	if !i.scopes[namespace] && !i.scopes[i.push.Mesh.GetRootNamespace()] {
		// The scope of sidecars without Sidecar imports all that it can see.
		return nil
	}
	var out []choice
	for name, byNamespace := range i.push.ServiceIndex.HostnameAndNamespace {
		if len(byNamespace) < 2 || byNamespace[namespace] != nil {
			continue
		}
		oldest := i.oldest(string(name), byNamespace, namespace)
		if len(oldest) > 1 {
			slices.SortFunc(oldest, func(a, b *model.Service) int { return cmp.Compare(a.Attributes.Namespace, b.Attributes.Namespace) })
			out = append(out, choice{name, oldest})
		}
	}
	slices.SortFunc(out, func(a, b choice) int { return cmp.Compare(a.host, b.host) })
	return out
}

// oldest are the services of a host that a scope may take, nil if it takes
// another one for sure.
func (i *istiod) oldest(name string, byNamespace map[string]*model.Service, namespace string) []*model.Service {
	var oldest []*model.Service
	for _, service := range byNamespace {
		if !i.push.IsServiceVisible(service, namespace) {
			continue
		}
		if service.Attributes.ServiceRegistry == provider.Kubernetes || i.imports[service.Attributes.Namespace+"/"+name] {
			return nil
		}
		if len(oldest) > 0 && service.CreationTime.Before(oldest[0].CreationTime) {
			oldest = nil
		}
		if len(oldest) == 0 || service.CreationTime.Equal(oldest[0].CreationTime) {
			oldest = append(oldest, service)
		}
	}
	return oldest
}

// sidecarResources notes where Sidecars are and which hosts of which namespace
// they name.
func (i *istiod) sidecarResources(m *Manifests) {
	i.scopes, i.imports = map[string]bool{}, map[string]bool{}
	for _, cfg := range m.Configs {
		if cfg.GroupVersionKind != gvk.Sidecar {
			continue
		}
		i.scopes[cfg.Namespace] = true
		for _, egress := range cfg.Spec.(*networking.Sidecar).GetEgress() {
			for _, name := range egress.GetHosts() {
				i.imports[strings.TrimPrefix(name, "~")] = true
			}
		}
	}
}

package model

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// parentKey names what routes attach to.
type parentKey struct {
	groupKind
	namespace, name string
}

// routeParent is a listener that routes may attach to, or the mesh (istio
// conversion.go parentInfo).
type routeParent struct {
	// internalName is "mesh" or "namespace/name" of the generated Gateway.
	internalName string
	kinds        []groupKind
	// hosts are those of the server, "namespace/host".
	hosts []string
	// hostname is that of the listener as written, "" if it has none.
	hostname string
	section  gatewayv1.SectionName
	port     gatewayv1.PortNumber
	protocol gatewayv1.ProtocolType

	gateway  *KubeGateway
	listener *gatewayv1.Listener
}

// attachment is a parent that took a route (istio conversion.go
// routeParentReference).
type attachment struct {
	*routeParent
	// ref is the reference, kind and namespace what it stands for.
	ref       gatewayv1.ParentReference
	kind      groupKind
	namespace string
	// banned are the hosts of the other listeners on the port: requests for
	// them are not this listener's.
	banned []string
}

func (a *attachment) mesh() bool { return a.internalName == MeshGateway }

// meshHosts are the hosts that a route whose parent is a Service or ServiceEntry
// is for.
func (c *gatewayConversion) meshHosts(a *attachment) []string {
	if a.kind == serviceEntryKind {
		return c.serviceEntry(a.namespace, string(a.ref.Name)).Spec.GetHosts()
	}
	return []string{string(ServiceHost(string(a.ref.Name), a.namespace))}
}

// attachments returns the parents that take a route, in the order in which
// istiod goes through them (istio conversion.go extractParentReferenceInfo,
// filteredReferences).
func (c *gatewayConversion) attachments(o *manifest.Object, kind string, refs []gatewayv1.ParentReference, hostnames []gatewayv1.Hostname) []*attachment {
	var out []*attachment
	for i, ref := range refs {
		key := parentKey{referenceKind(ref.Group, ref.Kind, kubeGatewayKind), string(value(ref.Namespace, gatewayv1.Namespace(o.Namespace))), string(ref.Name)}
		switch key.groupKind {
		case serviceKind, serviceEntryKind:
			if !c.meshParent(key) {
				c.refuseMesh(o, i, key, hostnames)
				continue
			}
			out = append(out, &attachment{routeParent: &routeParent{internalName: MeshGateway}, ref: ref, kind: key.groupKind, namespace: key.namespace})
		case kubeGatewayKind:
			parents := c.parents[key]
			c.refuseGateway(o, i, ref, key, kind, hostnames)
			for _, p := range parents {
				if c.undecided(p.listener, o.Namespace) && p.fits(ref) {
					c.markUnsure(p.gateway, Unmodelled{
						Why:   fmt.Sprintf("listener %s of %s asks for labels of namespace %s, of which the input does not hold the Namespace", p.section, p.gateway.Object, o.Namespace),
						Place: Place{o, fmt.Sprintf("spec.parentRefs[%d]", i)},
					})
				}
				if p.takes(groupKind{gatewayv1.GroupName, kind}, ref, hostnames, o.Namespace) {
					out = append(out, &attachment{routeParent: p, ref: ref, kind: key.groupKind, namespace: key.namespace, banned: p.banned(parents)})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *attachment) int {
		return strings.Compare(parentText(a.ref, o.Namespace), parentText(b.ref, o.Namespace))
	})
	slices.SortStableFunc(out, func(a, b *attachment) int { return strings.Compare(a.internalName, b.internalName) })
	return out
}

// parentText orders references (istio conversion.go parentRefString).
func parentText(ref gatewayv1.ParentReference, namespace string) string {
	k := referenceKind(ref.Group, ref.Kind, kubeGatewayKind)
	return fmt.Sprintf("%s/%s/%s/%s/%d.%s", k.group, k.kind, ref.Name, value(ref.SectionName, ""), value(ref.Port, 0),
		value(ref.Namespace, gatewayv1.Namespace(namespace)))
}

// fits reports whether a reference means this listener.
func (p *routeParent) fits(ref gatewayv1.ParentReference) bool {
	port, section := value(ref.Port, 0), value(ref.SectionName, "")
	return (port == 0 || port == p.port) && (section == "" || section == p.section)
}

// takes reports whether a listener takes a route (istio conversion.go
// referenceAllowed): hosts match in both directions, one is enough.
func (p *routeParent) takes(kind groupKind, ref gatewayv1.ParentReference, hostnames []gatewayv1.Hostname, namespace string) bool {
	if !p.fits(ref) || !slices.Contains(p.kinds, kind) {
		return false
	}
	if len(hostnames) == 0 {
		hostnames = []gatewayv1.Hostname{"*"}
	}
	return slices.ContainsFunc(hostnames, func(h gatewayv1.Hostname) bool {
		return slices.ContainsFunc(p.hosts, func(s string) bool {
			ns, name := splitServerHost(s)
			return (ns == "*" || ns == namespace) && host.Name(name).Matches(host.Name(h))
		})
	})
}

// banned are the hosts of the other listeners of the Gateway with the same port
// and protocol.
func (p *routeParent) banned(all []*routeParent) []string {
	var out []string
	for _, other := range all {
		if other != p && other.port == p.port && other.protocol == p.protocol && other.hostname != p.hostname {
			out = append(out, other.hostname)
		}
	}
	return out
}

// isolated reports whether a host of a route is this listener's and not that of
// another one that names it more exactly (istio conversion.go
// hostnameAllowedByIsolation).
func (a *attachment) isolated(routeHost string) bool {
	ours, h := host.Name(a.hostname), host.Name(routeHost)
	if len(ours) > 0 && !ours.IsWildCarded() {
		return true
	}
	if len(ours) > 0 && !h.Matches(ours) {
		return false
	}
	return !slices.ContainsFunc(a.banned, func(other string) bool {
		return len(ours) <= len(other) && h.SubsetOf(host.Name(other))
	})
}

// meshParent reports whether a Service or ServiceEntry takes routes: it exists,
// and is not left to the waypoint of another implementation (istio
// conversion.go referenceAllowed, waypointManagedByAnotherController).
func (c *gatewayConversion) meshParent(key parentKey) bool {
	var labels map[string]string
	switch key.groupKind {
	case serviceKind:
		s := c.kubeService(key.namespace, key.name)
		if s == nil {
			return false
		}
		labels = s.Labels
	default:
		s := c.serviceEntry(key.namespace, key.name)
		if s == nil {
			return false
		}
		labels = s.Labels
	}
	name, found := labels[useWaypointLabel]
	if !found {
		ns := c.mesh.Namespaces[key.namespace]
		if ns == nil {
			return true
		}
		labels = ns.Labels
		name = labels[useWaypointLabel]
	}
	if name == "" || strings.EqualFold(name, "none") {
		return true
	}
	namespace := key.namespace
	if n := labels[useWaypointNamespaceLabel]; n != "" {
		namespace = n
	}
	for _, g := range c.mesh.KubeGateways {
		if g.Namespace == namespace && g.Name == name {
			controller := c.mesh.controllerFor(c.config, string(g.Spec.Spec.GatewayClassName))
			return controller == "" || controller == gatewayControllers[gatewayClassWaypoint] || controller == gatewayControllers[gatewayClassIstio]
		}
	}
	return true
}

func (c *gatewayConversion) kubeService(namespace, name string) *KubeService {
	for _, s := range c.mesh.KubeServices {
		if s.Namespace == namespace && s.Name == name {
			return s
		}
	}
	return nil
}

func (c *gatewayConversion) serviceEntry(namespace, name string) *ServiceEntry {
	for _, s := range c.mesh.ServiceEntries {
		if s.Namespace == namespace && s.Name == name {
			return s
		}
	}
	return nil
}

// granted reports whether a ReferenceGrant lets objects of a kind and namespace
// refer to another namespace (istio gatewaycommon/references.go).
func (c *gatewayConversion) granted(from groupKind, fromNamespace string, to groupKind, toNamespace, name string) bool {
	switch to {
	case serviceKind, secretKind, inferencePoolKind:
	default:
		return false
	}
	for _, g := range c.mesh.ReferenceGrants {
		if g.Namespace != toNamespace {
			continue
		}
		if !slices.ContainsFunc(g.Spec.Spec.From, func(f gatewayv1.ReferenceGrantFrom) bool {
			return groupKind{string(f.Group), string(f.Kind)} == from && string(f.Namespace) == fromNamespace
		}) {
			continue
		}
		if slices.ContainsFunc(g.Spec.Spec.To, func(t gatewayv1.ReferenceGrantTo) bool {
			return groupKind{string(t.Group), string(t.Kind)} == to && (t.Name == nil || string(*t.Name) == name)
		}) {
			return true
		}
	}
	return false
}

// markUnsure remembers the first reason why something about a Gateway is not
// known.
func (c *gatewayConversion) markUnsure(g *KubeGateway, why Unmodelled) {
	if _, found := c.unsure[g]; !found {
		c.unsure[g] = why
	}
}

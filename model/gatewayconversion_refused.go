package model

import (
	"fmt"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// RefusedReference is a reference to a parent by which a route of the Gateway API
// is bound to nothing.
type RefusedReference struct {
	// Place is the route, and the field of it that does not fit.
	Place
	// Kind, Namespace and Name are those of the parent.
	Kind, Namespace, Name string
	// Why is a clause about the parent, "" where the input has none of that name.
	Why string
	// Hosts are the hostnames of the route, Listeners those of the parent's listeners
	// that it may mean.
	Hosts, Listeners []host.Name
}

// RefusedReferences returns the references of routes to Gateways of istiod's
// classes, Services and ServiceEntries that bind them to nothing, in the order in
// which istiod converts routes (istio pilot/pkg/config/kube/gateway/conversion.go
// referenceAllowed). What the input does not decide is not among them.
func (p *PushContext) RefusedReferences() []RefusedReference { return p.converted.refused }

// Parent names the parent: "Gateway namespace/name".
func (r *RefusedReference) Parent() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

func (c *gatewayConversion) refuse(o *manifest.Object, field string, key parentKey, hostnames []gatewayv1.Hostname, why string) {
	r := RefusedReference{Place: Place{o, field}, Kind: key.kind, Namespace: key.namespace, Name: key.name, Why: why}
	for _, h := range hostnames {
		r.Hosts = append(r.Hosts, LowerHost(host.Name(h)))
	}
	for _, p := range c.parents[key] {
		if p.hostname != "" {
			r.Listeners = append(r.Listeners, LowerHost(host.Name(p.hostname)))
		}
	}
	c.refused = append(c.refused, r)
}

// refuseMesh notes a reference to a Service or ServiceEntry that does not exist.
func (c *gatewayConversion) refuseMesh(o *manifest.Object, i int, key parentKey, hostnames []gatewayv1.Hostname) {
	if key.groupKind == serviceKind && c.kubeService(key.namespace, key.name) == nil ||
		key.groupKind == serviceEntryKind && c.serviceEntry(key.namespace, key.name) == nil {
		c.refuse(o, fmt.Sprintf("spec.parentRefs[%d].name", i), key, hostnames, "")
	}
}

// refuseGateway notes a reference to a Gateway of which no listener takes the route.
func (c *gatewayConversion) refuseGateway(o *manifest.Object, i int, ref gatewayv1.ParentReference, key parentKey, kind string, hostnames []gatewayv1.Hostname) {
	at := fmt.Sprintf("spec.parentRefs[%d]", i)
	all := c.parents[key]
	if len(all) == 0 {
		if !slices.ContainsFunc(c.mesh.KubeGateways, func(g *KubeGateway) bool { return g.Namespace == key.namespace && g.Name == key.name }) {
			c.refuse(o, at+".name", key, hostnames, "")
		}
		return // its class, or all of its listeners, are not istiod's
	}
	fitting := parentsThat(all, func(p *routeParent) bool { return p.fits(ref) })
	if len(fitting) == 0 {
		if ref.SectionName != nil {
			c.refuse(o, at+".sectionName", key, hostnames, fmt.Sprintf("has no listener %q", *ref.SectionName))
		} else {
			c.refuse(o, at+".port", key, hostnames, fmt.Sprintf("has no listener on port %d", value(ref.Port, 0)))
		}
		return
	}
	first := fitting[0]
	ofKind := parentsThat(fitting, func(p *routeParent) bool { return slices.Contains(p.kinds, groupKind{gatewayv1.GroupName, kind}) })
	if len(ofKind) == 0 {
		c.refuse(o, at, key, hostnames, fmt.Sprintf("takes no %s at listener %s (protocol %s)", kind, first.section, first.protocol))
		return
	}
	if slices.ContainsFunc(ofKind, func(p *routeParent) bool { return c.undecided(p.listener, o.Namespace) }) {
		return
	}
	admitting := parentsThat(ofKind, func(p *routeParent) bool {
		return slices.ContainsFunc(p.hosts, func(h string) bool {
			ns, _ := splitServerHost(h)
			return ns == "*" || ns == o.Namespace
		})
	})
	if len(admitting) == 0 {
		c.refuse(o, at, key, hostnames, fmt.Sprintf("does not admit routes of namespace %q (allowedRoutes of listener %s)", o.Namespace, ofKind[0].section))
		return
	}
	if !slices.ContainsFunc(admitting, func(p *routeParent) bool {
		return p.takes(groupKind{gatewayv1.GroupName, kind}, ref, hostnames, o.Namespace)
	}) {
		c.refuse(o, "spec.hostnames", key, hostnames, fmt.Sprintf("has listener %s for %s alone", admitting[0].section, admitting[0].hostname))
	}
}

func parentsThat(list []*routeParent, want func(*routeParent) bool) []*routeParent {
	return slices.DeleteFunc(slices.Clone(list), func(p *routeParent) bool { return !want(p) })
}

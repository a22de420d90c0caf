package model

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/visibility"
)

// Concern says who is told what bears on a connection.
type Concern struct {
	// Everybody: all namespaces see something of what covers the names or the address.
	Everybody bool
	// Namespaces see something of it that others do not, or see it otherwise, or
	// have rules of their own for it.
	Namespaces []string
	// Each: what is made of it may differ by any client's namespace or labels.
	Each bool
}

// Concerns returns whom what bears on a connection concerns, of the sidecars
// without Sidecar that are not of the root namespace.
func (p *PushContext) Concerns(b *Bearing) Concern {
	if b.everything {
		return Concern{Each: true}
	}
	var c Concern
	exported := func(own string, to ExportTo, named bool) {
		if c.Namespaces = append(c.Namespaces, own); to.Public() {
			c.Everybody = c.Everybody || named
			return
		}
		for _, ns := range to {
			if ns != string(visibility.Private) && ns != string(visibility.None) {
				c.Namespaces = append(c.Namespaces, ns)
			}
		}
	}
	local := p.bearings().local
	for _, s := range b.services {
		c.Each = c.Each || local[s]
		exported(s.Namespace, p.serviceExportTo(s), slices.Contains(b.named, s))
		for _, alias := range s.Aliases {
			// A Service of an alias's namespace has shorter names there.
			if _, rest, ok := strings.Cut(string(alias), "."); ok {
				ns, _, _ := strings.Cut(rest, ".")
				c.Namespaces = append(c.Namespaces, ns)
			}
		}
		c.Namespaces = append(c.Namespaces, p.ruling(s.Hostname)...)
	}
	for _, vs := range b.routes {
		exported(vs.Namespace, vs.exportTo, slices.Contains(b.namedRoutes, vs))
		c.Each = c.Each || vs.asksWho()
	}
	slices.Sort(c.Namespaces)
	c.Namespaces = slices.Compact(c.Namespaces)
	return c
}

// asksWho reports whether routes hold for some clients only, by namespace or labels.
func (m *MergedVirtualService) asksWho() bool {
	if m.OfGatewayAPI != "" {
		return true
	}
	return slices.ContainsFunc(m.HTTP, func(r *HTTPRoute) bool { return slices.ContainsFunc(r.GetMatch(), ofSome) }) ||
		slices.ContainsFunc(m.TLS, func(r *networking.TLSRoute) bool { return slices.ContainsFunc(r.GetMatch(), ofSome) }) ||
		slices.ContainsFunc(m.TCP, func(r *networking.TCPRoute) bool { return slices.ContainsFunc(r.GetMatch(), ofSome) })
}

// ofSome reports whether a match asks for a namespace or for labels of the client.
func ofSome[M interface {
	GetSourceNamespace() string
	GetSourceLabels() map[string]string
}](match M) bool {
	return match.GetSourceNamespace() != "" || len(match.GetSourceLabels()) > 0
}

// ruling returns the namespaces in which a DestinationRule that does not hold
// everywhere may hold for a host.
func (p *PushContext) ruling(h host.Name) []string {
	x := p.bearings()
	if x.ruling == nil {
		x.ruling = &HostTable[[]string]{}
		for _, rule := range p.Mesh.DestinationRules {
			namespaces := []string{rule.Namespace}
			for _, ns := range rule.Spec.GetExportTo() {
				if ns != string(visibility.Private) && ns != string(visibility.Public) {
					namespaces = append(namespaces, ns)
				}
			}
			x.ruling.Add(namespaces, []host.Name{ResolveHost(rule.Spec.GetHost(), rule.Namespace)})
		}
	}
	return slices.Concat(x.ruling.Covering(h)...)
}

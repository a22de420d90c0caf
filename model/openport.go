package model

import (
	"strings"

	"istio.io/istio/pkg/config/protocol"
)

// usedPort is a port of the sidecars that see what is exported to a namespace, ""
// for everybody.
type usedPort struct {
	namespace  string
	port       int
	dnsCapture bool
}

// portUse is what opens the listener of a port at any address.
type portUse struct {
	// http and tls are the services that open it for HTTP, and for TLS by their own
	// server names: no matter which, as far as others' names go.
	http, tls opener
	// odd: something takes connections of the port whatever their names.
	odd bool
}

// opener is the first of some services that counts for certain; perhaps says that
// there are others, which may.
type opener struct {
	first   *Service
	perhaps bool
}

func (o *opener) use(s *Service, rivals bool) {
	switch {
	case rivals:
		o.perhaps = true
	case o.first == nil:
		o.first = s
	}
}

// open notes how a service opens the port.
func (u *portUse) open(how int, s *Service, rivals bool) {
	switch how {
	case opensHTTP:
		u.http.use(s, rivals)
	case opensTLS:
		u.tls.use(s, rivals)
	case opensAny:
		u.odd = true
	}
}

// text is the same for ports that are open for the same; plain is false where that is
// not certain, or something takes connections whatever their names.
func (u portUse) text() (text string, plain bool) {
	for _, o := range []opener{u.http, u.tls} {
		if o.first != nil {
			text += "1"
		} else {
			text += "0"
		}
	}
	return text, !u.odd && !u.http.unsure() && !u.tls.unsure()
}

// use notes which services open which ports.
func (x *bearingIndex) use(p *PushContext) {
	x.uses = map[usedPort]*portUse{}
	at := func(key usedPort) *portUse {
		if x.uses[key] == nil {
			x.uses[key] = &portUse{}
		}
		return x.uses[key]
	}
	file := func(namespace string, s *Service) {
		for _, port := range s.Ports {
			for _, dnsCapture := range []bool{false, true} {
				// Of one host the services of one namespace count.
				rivals := len(p.byHost[s.Hostname]) > 1
				if how := p.opens(s, port, dnsCapture); how != opensNothing {
					at(usedPort{namespace, port.Number, dnsCapture}).open(how, s, rivals)
				}
			}
		}
	}
	for _, s := range p.public {
		file("", s)
	}
	for namespace, list := range p.exported {
		for _, s := range list {
			file(namespace, s)
		}
	}
}

// What a port of a service opens at any address: see the listeners of sidecars in
// model/traffic.
const (
	opensNothing = iota
	opensHTTP
	opensTLS
	opensAny
)

func (p *PushContext) opens(s *Service, port *Port, dnsCapture bool) int {
	address := s.Address
	if address == UnspecifiedIP && dnsCapture && s.AutoAddress != "" {
		address = s.AutoAddress
	}
	headless := s.Resolution == Passthrough && address == UnspecifiedIP
	switch {
	case s.Resolution == Alias || port.Protocol == protocol.UDP:
		return opensNothing
	case port.Protocol == protocol.HTTP_PROXY:
		return opensAny
	case port.Protocol.IsHTTP():
		return opensHTTP
	case strings.Contains(address, "/"), !s.Kubernetes() && len(s.ExtraAddresses) > 0:
		return opensAny
	case address != UnspecifiedIP:
		return opensNothing // but at its address
	case s.Kubernetes() && headless:
		return opensNothing // but at those of its endpoints
	case s.Kubernetes(), !port.Protocol.IsTLS(), headless && (s.Selector != nil || len(p.NumberedEndpoints(s, port)) > 0):
		return opensAny
	default:
		return opensTLS
	}
}

// Plain reports whether what bears on connections to a port is all that proxies of
// a namespace without Sidecar ask about them: no service that they see takes
// connections of the port whatever their names, and what opens the port is certain.
func (p *PushContext) Plain(namespace string, b *Bearing) bool {
	if b.everything {
		return false
	}
	_, plain := p.Opened(namespace, b.port, b.dnsCapture)
	return plain
}

func (o *opener) join(other opener) {
	o.perhaps = o.perhaps || other.perhaps
	if o.first == nil {
		o.first = other.first
	}
}

// unsure reports whether all depends on services of which others may be chosen.
func (o *opener) unsure() bool { return o.perhaps && o.first == nil }

// Opened says what opens a port of the sidecars of a namespace without Sidecar: the
// same text where the same does. plain is false where some service takes
// connections whatever their names: see [PushContext.Plain].
func (p *PushContext) Opened(namespace string, port int, dnsCapture bool) (text string, plain bool) {
	return p.openings(namespace, port, dnsCapture).text()
}

func (p *PushContext) openings(namespace string, port int, dnsCapture bool) portUse {
	x := p.bearings()
	var all portUse
	for _, ns := range []string{"", namespace} {
		if u := x.uses[usedPort{ns, port, dnsCapture}]; u != nil {
			all.odd = all.odd || u.odd
			all.http.join(u.http)
			all.tls.join(u.tls)
		}
	}
	return all
}

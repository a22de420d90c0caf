package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
)

// scopePlaces finds what a scope sees.
type scopePlaces struct {
	// imported are the places of the listener's services, collected those of all
	// that the scope sees, routes those of the listener's routes.
	imported, collected map[*Service]int
	routes              map[*MergedVirtualService]int
	// copies are the hosts of which the listener has a service that is not as it is
	// registered.
	copies map[host.Name]bool
	opened map[openedPort]portUse
}

// openedPort is a port of proxies with DNS capture or without.
type openedPort struct {
	port       int
	dnsCapture bool
}

// Simple reports whether a Sidecar only says what is imported: on all ports, as the
// redirect to the sidecar brings it, and with no proxy of its own for what is unknown.
func (s *SidecarScope) Simple() bool {
	if len(s.Listeners) != 1 || s.policy.GetEgressProxy() != nil {
		return false
	}
	l := s.Listeners[0].Spec
	return l.GetPort() == nil && l.GetBind() == "" && l.GetCaptureMode() != networking.CaptureMode_NONE
}

func (p *PushContext) placesOf(s *SidecarScope) *scopePlaces {
	if s.places != nil {
		return s.places
	}
	x, rank := &scopePlaces{}, p.bearings().rank
	s.places = x
	l := s.Listeners[0]
	x.imported, x.collected = make(map[*Service]int, len(l.Services)), make(map[*Service]int, len(s.Services))
	x.routes, x.copies = make(map[*MergedVirtualService]int, len(l.VirtualServices)), map[host.Name]bool{}
	for i, svc := range l.Services {
		x.imported[svc] = i
		if _, registered := rank[svc]; !registered {
			x.copies[svc.Hostname] = true
		}
	}
	for i, svc := range s.Services {
		x.collected[svc] = i
	}
	for i, vs := range l.VirtualServices {
		x.routes[vs] = i
	}
	return x
}

// OpenedIn is [PushContext.Opened] for sidecars that see a scope, which must be
// [SidecarScope.Simple].
func (p *PushContext) OpenedIn(scope *SidecarScope, port int, dnsCapture bool) (text string, plain bool) {
	x := p.placesOf(scope)
	if x.opened == nil {
		x.opened = map[openedPort]portUse{}
		for _, s := range scope.Listeners[0].Services {
			for _, port := range s.Ports {
				for _, dns := range []bool{false, true} {
					key := openedPort{port.Number, dns}
					u := x.opened[key]
					u.open(p.opens(s, port, dns), s, false)
					x.opened[key] = u
				}
			}
		}
	}
	return x.opened[openedPort{port, dnsCapture}].text()
}

// View says what sidecars see of what bears on a connection, those with these labels
// that see a scope which is [SidecarScope.Simple], and what rules they have for it:
// the same text for sidecars of whatever namespace that see the same, in the same
// order. ok is false where more than that may tell them apart. What opens the port,
// and what becomes of unknown destinations, is not part of it: see [PushContext.Opened]
// and [SidecarScope.OutboundTrafficPolicy].
func (p *PushContext) View(scope *SidecarScope, labels map[string]string, b *Bearing) (view string, ok bool) {
	if b.everything {
		return "", false
	}
	x, at := p.bearings(), p.placesOf(scope)
	var text []byte
	add := func(n int) {
		text = strconv.AppendInt(append(text, ' '), int64(n), 10)
	}
	var routes []*MergedVirtualService
	for _, vs := range b.routes {
		if _, seen := at.routes[vs]; seen {
			if vs.asksWho() {
				return "", false
			}
			routes = append(routes, vs)
		}
	}
	slices.SortFunc(routes, func(a, b *MergedVirtualService) int { return cmp.Compare(at.routes[a], at.routes[b]) })
	for _, vs := range routes {
		add(x.age[vs])
	}
	text = append(text, '|')
	var imported, collected []*Service
	for _, s := range b.services {
		if at.copies[s.Hostname] || scope.byChance[s.Hostname] != nil {
			return "", false
		}
		if _, seen := at.imported[s]; seen {
			imported = append(imported, s)
		}
		if c := scope.byHost[s.Hostname]; c != nil && !slices.Contains(collected, c) {
			collected = append(collected, c)
		}
	}
	slices.SortFunc(imported, func(a, b *Service) int { return cmp.Compare(at.imported[a], at.imported[b]) })
	for _, s := range imported {
		add(x.rank[s])
	}
	text = append(text, '|')
	slices.SortFunc(collected, func(a, b *Service) int { return cmp.Compare(at.collected[a], at.collected[b]) })
	for _, s := range collected {
		if x.local[s] {
			return "", false
		}
		n, registered := x.rank[s]
		if !registered {
			original := p.Original(s)
			if original == nil || original.Object != s.Object || original.Address != s.Address || len(original.Aliases) != len(s.Aliases) {
				return "", false
			}
			n = x.rank[original]
		}
		if add(n); !registered {
			for _, port := range s.Ports {
				text = strconv.AppendInt(append(text, ':'), int64(x.numberOfPort(port)), 10)
			}
		}
		if rule := p.DestinationRule(scope.Namespace, labels, s); rule != nil {
			text = strconv.AppendInt(append(text, '/'), int64(x.numberOf(rule)), 10)
		}
		for _, h := range append([]host.Name{s.Hostname}, s.Aliases...) {
			// It has shorter names there.
			if InNamespace(string(h), scope.Namespace) {
				text = append(append(text, '@'), scope.Namespace...)
			}
		}
	}
	return string(text), true
}

// InNamespace reports whether a host is the name of a Service of a namespace, which has
// shorter names for proxies there.
func InNamespace(hostname, namespace string) bool {
	i, dot := strings.Index(hostname, ".svc."), strings.Index(hostname, ".")
	return 0 < i && dot < i && hostname[dot+1:i] == namespace
}

// Original returns the service of the registry of which one that a scope sees is a
// part, nil if there is none.
func (p *PushContext) Original(s *Service) *Service {
	if _, registered := p.bearings().rank[s]; registered {
		return s
	}
	return p.byHost[s.Hostname][s.Namespace]
}

// numberOfPort numbers ports: what a scope sees of a service may have those of several.
func (x *bearingIndex) numberOfPort(port *Port) int {
	n, known := x.ports[port]
	if !known {
		if x.ports == nil {
			x.ports = map[*Port]int{}
		}
		n = len(x.ports)
		x.ports[port] = n
	}
	return n
}

// numberOf numbers merged rules: those that are made of the same have one number.
func (x *bearingIndex) numberOf(rule *MergedDestinationRule) int {
	n, known := x.rules[rule]
	if known {
		return n
	}
	if x.rules == nil {
		x.rules, x.merged = map[*MergedDestinationRule]int{}, map[string]int{}
	}
	content := fmt.Sprint(rule.Host, " ", rule.HasSelector)
	for _, from := range rule.From {
		content += " " + from.ID()
	}
	if n, known = x.merged[content]; !known {
		n = len(x.merged)
		x.merged[content] = n
	}
	x.rules[rule] = n
	return n
}

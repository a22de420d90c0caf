package analyzers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR802", Name: "host-not-registered", Severity: Error, SecuritySeverity: 7.2,
	Run: runNotRegistered,
	Doc: Doc{
		Title: "A route of the mesh is about a host that nothing registers for the clients",
		What: "A route of the mesh leads to a host that is in no registry that the clients see (often the short name of a Service in another namespace, or a misspelt one), " +
			"or a route sends a host's TLS or TCP to the egress gateway on a port for which no ServiceEntry registers the host. " +
			"Or a route delegates to a VirtualService that is not there, has hosts of its own or is not exported to it. " +
			"Or the ServiceEntry that registers it is of no use: with resolution STATIC and no endpoint, or for a name with a dot at its end, which clients do not send.",
		Why: "A name with a dot is taken as it is: `egress.istio-egress` is not the Service `egress.istio-egress.svc.cluster.local`, and requests end in 503. " +
			"Routes for TLS and TCP take effect only on ports that the registry has for their host: without them REGISTRY_ONLY closes the connection, " +
			"and ALLOW_ANY lets it out past the gateway, which is why that case is a security finding.",
		Bad:  egressDoc("", toGatewayOnly, strings.Replace(toGatewayOnly, ".svc.cluster.local", "", 1)),
		Good: egressDoc(""),
		Fix:  "Write Services of other namespaces with their full name, and register external hosts, with the port, in a ServiceEntry that the clients see.",
		Silent: "Services that are not in the input (an operator may have made them), unless one with that name is in another namespace, or one with nearly that name in the same; hosts that are registered but not for these clients where EGR801 or EGR805 tells it, " +
			"routes for plaintext HTTP on port 80 (which need no ServiceEntry; what the gateway lacks is EGR803), unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/model/virtualservice.go (ResolveShortnameToFQDN)",
			"istio pilot/pkg/networking/core/route/route.go (GetDestinationCluster)",
			"istio pilot/pkg/networking/core/tls.go",
			"istio pilot/pkg/model/virtualservice_controller.go",
		},
	},
})

// unregistered is what a finding of EGR802 is about.
type unregistered struct {
	object *manifest.Object
	field  string
	// name is the destination that is no service, "" where it is the routed host
	// itself that lacks the port.
	name host.Name
	via  flow.Via
}

func runNotRegistered(p *Pass) {
	in := intentOf(p)
	reportLostDestinations(p, in)
	reportUnregisteredRoutes(p, in)
	in.reportUselessEntries()
	in.reportLostDelegates()
}

// reportLostDestinations reports destinations of routes that sidecars do not know.
func reportLostDestinations(p *Pass, in *intent) {
	var routed []host.Name
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.Contains(vs.Gateways, model.MeshGateway) {
			continue
		}
		for _, d := range vs.Destinations(vs.Namespace) {
			if in.lost(d.Host) {
				routed = append(routed, vs.Hosts...)
				break
			}
		}
	}
	if len(routed) == 0 {
		return
	}
	var found byKey[unregistered]
	index := indexHosts(routed)
	for a := range in.attempts(
		func(d reach.Destination) bool { return index.covers(d.Host) },
		func(_ flow.Via, reason flow.Reason) bool { return reason == flow.NoCluster }, flow.NoCluster,
	) {
		e := exitOf(a.Trace)
		if a.Trace.Outcome == flow.Blocked && e != nil && e.At == flow.AtSidecar && e.route.Object != nil &&
			in.lost(e.host) {
			found.add(unregistered{object: e.route.Object, field: e.route.Field + ".host", name: e.host}, a)
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		f := Finding{Object: k.object, Field: k.field, Severity: Error, Label: "no such host for these clients"}
		f.Help = "register it with a ServiceEntry that these clients see, or correct the name"
		if s := cmp.Or(in.meantService(k.name), in.frontOf(k.name)); s != nil && s.Hostname != k.name {
			f.Help = fmt.Sprintf("write %q", s.Hostname)
			f.Edits = []Edit{{f.Object, f.Field, string(s.Hostname)}}
			f.Related = append(f.Related, Related{s.Object, "metadata.name", fmt.Sprintf("%s has the full name %s", s.Object, s.Hostname)})
		}
		why := "which nothing registers"
		if inCluster(in.push, k.name) {
			why = "a Service that does not exist (a short name means one of the route's own namespace)"
		}
		f.Message = fmt.Sprintf("%s sends %s to %q, %s: %s; %s", k.object, upTo3(c.hosts), k.name, why, whatClientsSee(c), f.Help)
		p.Report(c.finding(f))
	}
}

// lost reports whether a route's destination exists nowhere: nothing registers it,
// or it is the full name of a Service that is missing while another one is
// evidently meant.
func (in *intent) lost(h host.Name) bool {
	if inCluster(in.push, h) {
		return in.service(h) == nil && (in.meantService(h) != nil || in.frontOf(h) != nil)
	}
	return len(in.push.Registered(h)) == 0
}

// meantService returns the Service of the cluster that a name means which none
// has: a shortened one ("name.namespace", with or without ".svc"), or that of a
// Service of another namespace, or one that is a letter or two away; nil if there
// is none.
func (in *intent) meantService(h host.Name) *model.Service {
	if inCluster(in.push, h) {
		return in.misnamed(h)
	}
	parts := strings.Split(string(h), ".")
	if len(parts) < 2 || len(parts) > 2 && parts[2] != "svc" {
		return nil
	}
	return in.service(model.ServiceHost(parts[0], parts[1]))
}

// frontOf returns the only Service of the namespace of a missing one before the pods of
// the Gateways to which VirtualServices that lead to the missing one are bound, if one
// name holds the other ("egressgateway", "istio-egressgateway"); nil if there is none,
// or the input does not hold the namespace.
func (in *intent) frontOf(h host.Name) *model.Service {
	missing, rest, _ := strings.Cut(string(h), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	if !in.pass.Mesh.HoldsWorkloadsOf(namespace) {
		return nil
	}
	var found *model.Service
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.ContainsFunc(destinationsOf(vs), func(d ruleDestination) bool { return d.to == h }) {
			continue
		}
		for _, name := range vs.Gateways {
			g, _ := in.gatewayNamed(name)
			if g == nil || len(g.Spec.GetSelector()) == 0 {
				continue
			}
			for _, s := range in.push.Services() {
				if !s.Kubernetes() || s.Namespace != namespace || s == found || !strings.Contains(s.Name, missing) && !strings.Contains(missing, s.Name) {
					continue
				}
				pods := in.routers(s.Hostname)
				if len(pods) == 0 || slices.ContainsFunc(pods, func(w *model.Workload) bool { return !hasLabels(w.Labels, g.Spec.GetSelector()) }) {
					continue
				}
				if found != nil {
					return nil
				}
				found = s
			}
		}
	}
	return found
}

// misnamed returns the only Service that has the name of a missing one in another
// namespace, or nearly its name in the same one. The input has to hold the
// namespace: else the Service may well exist.
func (in *intent) misnamed(h host.Name) *model.Service {
	name, rest, _ := strings.Cut(string(h), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	known := in.pass.Mesh.HoldsWorkloadsOf(namespace)
	var found *model.Service
	for _, s := range in.push.Services() {
		if !s.Kubernetes() {
			continue
		}
		other, _, _ := strings.Cut(string(s.Hostname), ".")
		if known && (other == name || s.Namespace == namespace && near(other, name)) || other == name && near(s.Namespace, namespace) {
			if found != nil && found.Hostname != s.Hostname {
				return nil
			}
			found = s
		}
	}
	return found
}

// reportUnregisteredRoutes reports routes to a gateway that take no effect because
// no service of their host has the port.
func reportUnregisteredRoutes(p *Pass, in *intent) {
	if len(in.steerings) == 0 {
		return
	}
	var found byKey[unregistered]
	by := map[unregistered]*steering{}
	for a := range in.attempts(
		func(d reach.Destination) bool {
			return len(in.covering(d.Host)) > 0 && !in.registers(d)
		},
		func(via flow.Via, reason flow.Reason) bool {
			return reason == flow.Blackhole || via == flow.ViaPassthrough
		},
	) {
		closed := a.Trace.Outcome == flow.Blocked && a.Trace.Reason == flow.Blackhole
		passes := a.Trace.Outcome == flow.Allowed && a.Trace.Via == flow.ViaPassthrough
		if a.By != nil || !closed && !passes {
			continue
		}
		for _, s := range in.covering(a.To.Host) {
			// A condition without port is not about this one in particular.
			if s.Route.OfGatewayAPI == "" && s.Port == a.To.Port && s.takes(a.To.Port, a.Flow.Scheme) && s.speaks(a.Flow.Scheme) && s.isFor(a.Class[0]) {
				k := unregistered{object: s.Object, field: s.Match + ".port", via: a.Trace.Via}
				if by[k] == nil {
					by[k] = s
				}
				found.add(k, a)
				break
			}
		}
	}
	for _, k := range found.keys {
		c, s := found.of[k], by[k]
		f := Finding{
			Object: k.object, Field: k.field, Severity: Error, Label: "no ServiceEntry has the port",
			Help:    fmt.Sprintf("register %s with %s in a ServiceEntry that these clients see", upTo3(c.hosts), portsText(c.ports)),
			Related: []Related{s.related()},
		}
		todo := "add the port to a ServiceEntry"
		if e := in.nearEntry(c.hosts[0]); e != nil {
			todo = fmt.Sprintf("is %q of %s meant?", e.Hostname, e.Object)
			f.Related = append(f.Related, Related{e.Object, e.HostField, "registers a host of nearly that name"})
		}
		effect := whatClientsSee(c)
		if k.via == flow.ViaPassthrough {
			f.SecuritySeverity = 7.2
			effect = fmt.Sprintf("the route takes no effect, and requests of %s pass straight out (ALLOW_ANY), around the gateway", upTo3(c.workloads()))
		}
		f.Message = fmt.Sprintf("%s sends %s on %s to %s, but no ServiceEntry registers that: %s; %s",
			s.Route.Title(), upTo3(c.hosts), portsText(c.ports), s.gateway(), effect, todo)
		p.Report(c.finding(f))
	}
}

// nearEntry returns the only ServiceEntry that registers a host of nearly the given
// name, to which no route speaks; nil if there is none.
func (in *intent) nearEntry(h string) *model.Service {
	var found *model.Service
	for _, s := range in.push.Services() {
		name := strings.ToLower(string(s.Hostname))
		if s.Entry == nil || !near(name, strings.ToLower(h)) || len(in.covering(name)) > 0 {
			continue
		}
		if found != nil {
			return nil
		}
		found = s
	}
	return found
}

// speaks reports whether a request is what the route is for, and not only
// something that it would take.
func (s *steering) speaks(scheme flow.Scheme) bool {
	return s.Scheme == scheme || s.Scheme == flow.TCP && scheme == flow.TLS
}

// registers reports whether a service has a destination, for whomever.
func (in *intent) registers(d reach.Destination) bool {
	return slices.ContainsFunc(in.known(in.push, host.Name(strings.ToLower(d.Host))), func(s *model.Service) bool { return s.PortByNumber(d.Port) != nil })
}

package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR201", Name: "allow-any-voids-policed-host", Severity: Error, SecuritySeverity: 8.0,
	Run: runAllowAnyVoids,
	Doc: Doc{
		Title: "A host that is sent through the egress gateway is passed through on a port that nothing registers",
		What: "A VirtualService sends a host's requests to the egress gateway. On another port, on which clients usually reach such a host (plaintext HTTP on 80, " +
			"TLS on 443, or what a ServiceEntry declares), the client's sidecar knows nothing of the host, and under outboundTrafficPolicy ALLOW_ANY it passes the connection through.",
		Why: "What the gateway logs, authorizes or filters does not exist for the other port: https:// instead of http://, or the reverse, is all that it takes.",
		Bad: egressDoc("", "REGISTRY_ONLY", "ALLOW_ANY"), Good: egressDoc(""),
		Fix: "Write `outboundTrafficPolicy.mode: REGISTRY_ONLY`, or close the way straight out with a NetworkPolicy. To send the port through the gateway " +
			"too is not enough: an address in place of the name is passed through as well.",
		Silent: "Hosts that no route sends to a gateway, clients for which the route is not meant (unless a policy of the gateway names the host), clients without a sidecar, " +
			"ports that the client sees registered (EGR301), requests that a NetworkPolicy stops, namespaces of Kubernetes and Istio, and anything that rests on an unknown verdict. " +
			"Where the input holds no mesh configuration, Istio's default (ALLOW_ANY) is assumed, and it is a warning.",
		Sources: []string{
			"istio pkg/config/mesh/mesh.go (DefaultMeshConfig)",
			"istio pilot/pkg/networking/core/listener_builder.go (buildOutboundCatchAllNetworkFilterChains)",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/",
		},
	},
})

// openPolicy is what a finding of EGR201 is about: the place that says ALLOW_ANY,
// the gateway that is gone around, and the port.
type openPolicy struct {
	object  *manifest.Object
	field   string
	gateway string
	port    int
	// said: something in the input decides the policy, it is not Istio's default
	// in an input without mesh configuration.
	said bool
}

func runAllowAnyVoids(p *Pass) {
	in := intentOf(p)
	if len(in.steerings) == 0 {
		return
	}
	var found byKey[openPolicy]
	by := map[openPolicy]*steering{}
	var last reach.Destination
	var covering []*steering
	var named *steering
	var usual map[flow.Scheme]bool
	for d, class := range p.Reach.Tuples(
		func(d reach.Destination) bool { return len(in.covering(d.Host)) > 0 },
		func(class []*model.Workload) bool {
			return in.captured(class[0]) && !systemNamespace(p, class[0].Namespace)
		},
		func(answers []reach.Answer) bool { return slices.ContainsFunc(answers, passedThrough) },
	) {
		if usual == nil || d != last {
			last, covering, usual = d, in.covering(d.Host), map[flow.Scheme]bool{}
			named = in.namedSteering(covering, d.Host)
			for _, protocol := range []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP} {
				usual[protocol] = in.usual(d, covering, protocol)
			}
		}
		w := class[0]
		s := steeringOf(covering, w)
		if s == nil {
			s = named
		}
		if s == nil {
			continue
		}
		for _, a := range p.Reach.Verdicts(w, d) {
			// A Service that the input does not hold may open the port on which the
			// route takes the request.
			if a.Address == reach.Other || !usual[a.Protocol] || s.takes(d.Port, a.Protocol) && in.service(host.Name(s.Destination.GetHost())) == nil {
				continue
			}
			if !passedThrough(a) {
				continue
			}
			flows := flowsOf(a, viaPassthrough)
			k := in.openPolicyOf(w, s)
			k.gateway, k.port = s.gateway(), d.Port
			tried := &attempt{Class: class, To: d, Flow: flows[0]}
			if by[k] == nil {
				// The first proves the finding.
				if tried.Trace = p.Reach.Trace(flows[0]); tried.Trace.Outcome != flow.Allowed {
					continue
				}
				by[k] = s
			}
			found.add(k, tried)
		}
	}
	for _, k := range found.keys {
		p.Report(in.voided(k, found.of[k], by[k]))
	}
}

func (in *intent) voided(k openPolicy, c *collected, s *steering) Finding {
	f := Finding{
		Object: k.object, Field: k.field, Severity: Error, SecuritySeverity: 7.0,
		Label: "passes through what nothing registers", Related: []Related{s.related()},
		Help: "or close the way straight out with a NetworkPolicy; a route for this port alone leaves the host's addresses open",
	}
	for _, policed := range in.policed(s, c.first.To.Host) {
		f.SecuritySeverity = 8.0
		f.Related = append(f.Related, policed.related(c.first.name()))
	}
	mode := "outboundTrafficPolicy is ALLOW_ANY"
	if !k.said {
		f.Severity, f.SecuritySeverity = Warning, min(f.SecuritySeverity, 6.0)
		f.Label = "sends to a gateway what clients may also send past it"
		mode = "the input holds no mesh configuration and Istio's default is ALLOW_ANY"
	}
	f.Message = fmt.Sprintf("%s %s sent through %s, but %s %s on port %d without it, because %s; write outboundTrafficPolicy.mode REGISTRY_ONLY",
		upTo3(c.hosts), c.are(), k.gateway, c.who("reaches", "reach"), c.them(), k.port, mode)
	return c.finding(f)
}

// passedThrough reports whether some of the requests of an answer get out as
// something that nothing registers.
func passedThrough(a reach.Answer) bool { return a.SomeAllowed && len(flowsOf(a, viaPassthrough)) > 0 }

func viaPassthrough(via flow.Via, _ flow.Reason) bool { return via == flow.ViaPassthrough }

// steeringFor returns the first of some steerings that is meant for a client, or
// whose gateway has a policy that names the host, nil if there is none.
func (in *intent) steeringFor(covering []*steering, w *model.Workload, h string) *steering {
	if s := steeringOf(covering, w); s != nil {
		return s
	}
	return in.namedSteering(covering, h)
}

// steeringOf returns the first of some steerings that is meant for a client, nil
// if there is none.
func steeringOf(covering []*steering, w *model.Workload) *steering {
	for _, s := range covering {
		if s.isFor(w) {
			return s
		}
	}
	return nil
}

// namedSteering returns the first of some steerings whose gateway has a policy that
// names the host, nil if there is none.
func (in *intent) namedSteering(covering []*steering, h string) *steering {
	for _, s := range covering {
		if policed := in.policed(s, h); len(policed) > 0 && policed[0].Named {
			return s
		}
	}
	return nil
}

// usual reports whether clients commonly speak a protocol on a port of a host:
// http on 80, TLS on 443, and what is declared for it or routed.
func (in *intent) usual(d reach.Destination, covering []*steering, protocol flow.Scheme) bool {
	if d.Port == 80 && protocol == flow.HTTP || d.Port == 443 && protocol == flow.TLS {
		return true
	}
	for _, s := range covering {
		if s.Port == d.Port && s.Scheme == protocol {
			return true
		}
	}
	return slices.ContainsFunc(in.push.Services(), func(s *model.Service) bool {
		port := s.PortByNumber(d.Port)
		return port != nil && speaks(port) == protocol && host.Name(d.Host).SubsetOf(s.Hostname)
	})
}

// openPolicyOf returns the place that opens a workload's sidecar to hosts that
// nothing registers: the Sidecar, the mesh configuration, or, where no file says
// anything, the route that it makes void.
func (in *intent) openPolicyOf(w *model.Workload, s *steering) openPolicy {
	if sidecar := in.push.SidecarFor(w.Namespace, w.Labels); sidecar != nil && sidecar.Spec.GetOutboundTrafficPolicy() != nil {
		return openPolicy{object: sidecar.Object, field: "spec.outboundTrafficPolicy.mode", said: true}
	}
	config := in.pass.Mesh.ConfigFor(w)
	if o, field := config.Because("outboundTrafficPolicy.mode"); o != nil {
		if inFile(o, field) {
			return openPolicy{object: o, field: field, said: true}
		}
		return openPolicy{object: s.Object, field: s.Match, said: true}
	}
	if inFile(config.Source, config.Prefix) {
		return openPolicy{object: config.Source, field: config.Prefix, said: true}
	}
	return openPolicy{object: s.Object, field: s.Match, said: config.Source != nil}
}

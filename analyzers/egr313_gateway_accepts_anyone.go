package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR313", Name: "gateway-accepts-anyone", Severity: Error, SecuritySeverity: 7.7,
	Run: gatewayAcceptsAnyone,
	Doc: Doc{
		Title: "An egress gateway forwards for whoever connects to it, without asking who that is",
		What: "A server of an egress gateway takes plaintext or passes TLS through, and a process that does not use a sidecar " +
			"may connect to the gateway's Service and is forwarded to an external host. It is an error where a NetworkPolicy keeps that process from the internet: the gateway is its way out.",
		Why: "A network that lets pods reach the gateway alone is meant to force them through their sidecars. It does not: a pod without a sidecar, or a process that goes around its own, " +
			"connects to the gateway's address with the right Host or server name. Only mesh TLS makes the gateway know, and be able to refuse, its callers.",
		Bad:  plainEgressDoc(""),
		Good: egressDoc(""),
		Fix: "Make the server `tls.mode: ISTIO_MUTUAL` (protocol HTTPS for HTTP inside, TLS with a `tcp` route for anything else), and have the clients call it over mesh TLS with a DestinationRule. " +
			"Where that is not possible, let a NetworkPolicy admit only the clients to the gateway's pods.",
		Silent: "Connections that a NetworkPolicy or an AuthorizationPolicy of the gateway stops, or may stop; clients that a NetworkPolicy of the gateway's pods admits by name " +
			"and that get to the same host through their sidecars anyway, or would but for a fault that another rule tells; servers whose certificates no manifest holds (SIMPLE, MUTUAL); workloads of Kubernetes and Istio themselves.",
		Sources: []string{
			"istio pilot/pkg/networking/core/gateway.go (buildGatewayListenerTLSContext)",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/#additional-security-considerations",
		},
	},
})

// maxAtDoor bounds the requests that are tried at one port of a gateway: its
// servers fare alike in what the rule is about.
const maxAtDoor = 12

// door is a port of a gateway's Service with requests that its servers, which do
// not learn who calls, forward.
type door struct {
	gateway *egressGateway
	// guarded: NetworkPolicies of the gateway's pods say who may connect.
	guarded bool
	// to is the Service and its port, as flows have it.
	to       string
	requests []flow.Flow
}

// opened is what a finding of EGR313 is about.
type openedDoor struct {
	door
	witness *crossing
	hosts   []string
	// callers may have requests forwarded; locked are those that a NetworkPolicy
	// keeps from the internet, with a trace that shows it.
	callers, locked []*model.Workload
	closed          *flow.Trace
}

func gatewayAcceptsAnyone(p *Pass) {
	for _, g := range egressGateways(p) {
		if !g.blind() {
			continue
		}
		guarded := g.guarded(p)
		for _, d := range g.doors() {
			d.guarded = guarded
			if o := d.open(p); o != nil {
				o.report(p)
			}
		}
	}
}

// guarded reports whether NetworkPolicies name those who may connect to the
// gateway's pods.
func (g *egressGateway) guarded(p *Pass) bool {
	policies := p.network.policies.Isolating(g.Workload, networkingv1.PolicyTypeIngress)
	none := func(s *metav1.LabelSelector) bool { return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 }
	everybody := func(peer networkingv1.NetworkPolicyPeer) bool {
		return peer.IPBlock != nil || peer.NamespaceSelector != nil && none(peer.NamespaceSelector) && none(peer.PodSelector)
	}
	return len(policies) > 0 && !slices.ContainsFunc(policies, func(np *model.NetworkPolicy) bool {
		return slices.ContainsFunc(np.Spec.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
			return len(rule.From) == 0 || slices.ContainsFunc(rule.From, everybody)
		})
	})
}

// doors returns the ports of Services that lead to servers which do not learn who
// calls, each port of the pod once.
func (g *egressGateway) doors() []door {
	var out []door
	seen := map[int]bool{}
	for _, s := range g.push.Services() {
		if !s.Kubernetes() || s.Namespace != g.Namespace || len(s.Selector) == 0 || !hasLabels(g.Labels, s.Selector) {
			continue
		}
		for _, port := range s.Ports {
			for _, e := range g.push.Endpoints(s, port) {
				if e.Workload != g.Workload || seen[e.Port] {
					continue
				}
				seen[e.Port] = true
				d := door{gateway: g, to: fmt.Sprintf("%s/%s:%d", s.Namespace, s.Kube.Name, port.Number)}
				for _, server := range g.servers {
					if server.Port == e.Port && len(d.requests) < maxAtDoor {
						d.requests = append(d.requests, g.unasked(server)...)
					}
				}
				if len(d.requests) > maxAtDoor {
					d.requests = d.requests[:maxAtDoor]
				}
				if len(d.requests) > 0 {
					out = append(out, d)
				}
			}
		}
	}
	return out
}

// unasked returns requests that a server may take from somebody without a mesh
// identity; none if it asks for one.
func (g *egressGateway) unasked(s *model.GatewayServer) []flow.Flow {
	if identityAt(s) != identityNone || s.GetTls().GetMode() == networking.ServerTLSSettings_AUTO_PASSTHROUGH {
		return nil
	}
	scheme := flow.TLS
	switch {
	case s.Protocol().IsHTTP():
		scheme = flow.HTTP
	case s.GetTls() == nil:
		scheme = flow.TCP
	case s.HTTP():
		scheme = flow.HTTPS
	}
	var out []flow.Flow
	for _, d := range g.destinations {
		if len(out) == maxAtDoor {
			break
		}
		if scheme == flow.TCP || serves(s, host.Name(strings.ToLower(d.Host))) {
			out = append(out, flow.Flow{Host: d.Host, Port: d.Port, Scheme: scheme})
		}
	}
	return out
}

// open tries the requests for every class of clients, without their sidecars; nil
// if the gateway forwards none.
func (d door) open(p *Pass) *openedDoor {
	o := &openedDoor{door: d}
	requests := slices.Clone(d.requests)
	for _, class := range p.Reach.Classes() {
		if systemNamespace(p, class[0].Namespace) {
			continue
		}
		i := slices.IndexFunc(requests, func(f flow.Flow) bool { return d.forwards(p, class, f) != nil })
		if i < 0 {
			continue
		}
		found := requests[i]
		requests[0], requests[i] = found, requests[0] // the next class fares alike
		o.callers = append(o.callers, class...)
		straight := found
		straight.From, straight.Bypass = reach.From(class[0]), true
		t := p.Reach.Sim.Verdict(straight)
		locked := stoppedByNetwork(t)
		if locked {
			o.locked = append(o.locked, class...)
		}
		if o.witness == nil || locked && o.closed == nil {
			o.witness = d.forwards(p, class, found)
			o.hosts = nil
			for _, f := range d.requests {
				if !slices.Contains(o.hosts, f.Host) && d.forwards(p, class, f) != nil {
					o.hosts = append(o.hosts, f.Host)
				}
			}
		}
		if locked && o.closed == nil {
			o.closed = t
		}
	}
	if o.witness == nil {
		return nil
	}
	return o
}

// forwards returns the crossing of a request that a process of a class sends to
// the door around its sidecar, nil unless a server forwards it.
func (d door) forwards(p *Pass, class []*model.Workload, f flow.Flow) *crossing {
	f.From, f.Bypass, f.ConnectTo = reach.From(class[0]), true, d.to
	c := &crossing{Class: class, Flow: f, Trace: p.Reach.Sim.Verdict(f)}
	c.Servers = d.gateway.takenBy(c.Trace)
	if !c.allowed() || len(c.Servers) == 0 || c.identity() != identityNone || d.guarded && d.gainsNothing(p, f) {
		return nil
	}
	return c
}

// gainsNothing reports whether the process gets to the host just as well through its
// own sidecar, by way of a gateway, or is meant to and a fault of the setup stops it.
func (d door) gainsNothing(p *Pass, f flow.Flow) bool {
	f.Bypass, f.ConnectTo = false, ""
	return slices.ContainsFunc(d.gateway.destinations, func(to reach.Destination) bool {
		f.Port = to.Port
		if to.Host != f.Host {
			return false
		}
		t := p.Reach.Sim.Verdict(f)
		return t.Reason == flow.NoCluster || t.Via == flow.ViaGateway && (t.Outcome == flow.Allowed || t.Outcome == flow.Blocked && t.Reason != flow.RBACDenied && t.Reason != flow.NetworkPolicy)
	})
}

func (o *openedDoor) report(p *Pass) {
	s := o.witness.Servers[0]
	at := modePlace(s)
	f := Finding{
		Severity: Note, SecuritySeverity: 3.5, Object: at.Object, Field: at.Field, Label: "asks nobody who calls", Help: mutualHelp,
		Workloads: workloadIDs(o.callers), Flow: &o.witness.Flow, Trace: p.Reach.Trace(o.witness.Flow),
	}
	in := &intent{pass: p, push: p.Reach.Sim.Push()}
	if len(o.gateway.enforcedPolicies()) > 0 || len(in.registryControl()) > 0 {
		f.Severity, f.SecuritySeverity = Warning, 6.2
	}
	although := ""
	if len(o.locked) > 0 {
		f.Severity, f.SecuritySeverity = Error, 7.7
		f.Workloads = workloadIDs(o.locked)
		although = ", although NetworkPolicies keep them from the internet"
		for _, h := range o.closed.Hops {
			for _, b := range h.Because {
				if h.At == flow.AtNetwork && b.Object != nil && len(f.Related) == 0 {
					f.Related = append(f.Related, Related{b.Object, b.Field, "is meant to leave the gateway as the only way out"})
				}
			}
		}
	}
	f.Message = fmt.Sprintf("%s (%s) asks nobody who calls: processes of %s may connect to %s without a sidecar, and egress gateway %s forwards them to %s%s; use ISTIO_MUTUAL there",
		serverText(s), modeText(s), upTo3(f.Workloads), o.to, o.gateway.ID(), upTo3(o.hosts), although)
	p.Report(f)
}

// enforcedPolicies are those in force at the gateway that decide anything.
func (g *egressGateway) enforcedPolicies() []*model.AuthorizationPolicy {
	return slices.DeleteFunc(slices.Concat(g.Policies.Custom, g.Policies.Deny, g.Policies.Allow), func(a *model.AuthorizationPolicy) bool { return !enforced(a) })
}

package analyzers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/netpol"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR810", Name: "netpol-blocks-path", Severity: Error,
	Run: runNetpolBlocksPath,
	Doc: Doc{
		Title: "A NetworkPolicy stops the mesh's own path",
		What: "NetworkPolicies of pods with a proxy do not let them reach istiod (15012), DNS (53), the pods of the egress gateway on the port on which these listen, " +
			"or the waypoint (15008); or they close the egress gateway or the waypoint itself, keep it from istiod or from DNS for what it looks up, or let none of the clients in there.",
		Why: "A sidecar without istiod gets neither configuration nor certificates, and the pod does not become ready. A policy is about the ports of pods, not those of Services: " +
			"one that allows 443 to a gateway whose pods listen on 8443 allows nothing. DNS falls back to TCP for long answers.",
		Bad:  egressDoc(meshOnlyDoc("443")),
		Good: egressDoc(meshOnlyDoc("8443")),
		Fix:  "Add the peer with the port of its pods: istiod TCP 15012, DNS UDP and TCP 53, the gateway its target port, a waypoint TCP 15008.",
		Silent: "Whether the policies let it through is unknown, as with labels of namespaces that the input does not declare; DNS of pods whose policies allow nothing at all; " +
			"a gateway or waypoint to which the policies allow no port, unless the route or ServiceEntry lies in the namespace of the client or names it, or an ALLOW rule there names it: else the client is then not meant to use it. " +
			"Where istiod is not in the input it is a warning, as it may run outside the cluster; it is then looked for where the ConfigMap with the mesh configuration lies, else in the root namespace.",
		Sources: []string{
			"https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio",
			"https://kubernetes.io/docs/concepts/services-networking/network-policies/",
		},
	},
})

// meshOnlyDoc is a policy that lets the clients of the documentation reach DNS, istiod
// and a port of the gateway.
func meshOnlyDoc(port string) string {
	return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: mesh-only
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {}
    ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
    - {protocol: TCP, port: 15012}
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: istio-egress
    ports:
    - {protocol: TCP, port: ` + port + `}
`
}

// allowDNS is what to do where nothing resolves names.
const allowDNS = "allow UDP and TCP 53"

// unmet is a need of the mesh that policies do not meet, for some workloads.
type unmet struct {
	object *manifest.Object
	field  string
	// what cannot be reached, why that matters and what to do.
	what, effect, todo string
	severity           Severity
	// gateway, if set, is what cannot reach it: "egress gateway egress/egress-gw".
	gateway string
}

// gathered collects what is not met.
type gathered struct {
	order     []unmet
	workloads map[unmet][]*model.Workload
	proofs    map[unmet]*proof
	needs     map[string][]netpol.Need
	// others: policies beside those of the workloads may have a say.
	others *bool
}

func (g *gathered) add(u unmet, class []*model.Workload, witness *proof) {
	if g.workloads[u] == nil {
		g.order = append(g.order, u)
		g.proofs[u] = witness
	}
	g.workloads[u] = append(g.workloads[u], class...)
}

func runNetpolBlocksPath(p *Pass) {
	if len(p.Mesh.NetworkPolicies) == 0 {
		return
	}
	in := intentOf(p)
	told := in.closedGateways()
	in.closedEntrances()
	g := &gathered{workloads: map[unmet][]*model.Workload{}, proofs: map[unmet]*proof{}, needs: map[string][]netpol.Need{}}
	for _, class := range p.Reach.Classes() {
		if !p.inMesh(class[0]) {
			continue
		}
		policies := p.network.policies.Isolating(class[0], networkingv1.PolicyTypeEgress)
		if len(policies) == 0 {
			continue
		}
		in.unmetNeeds(g, class, policies)
		in.unmetStops(g, class)
	}
	in.unmetOfGateways(g, told)
	for _, u := range g.order {
		f := Finding{Severity: u.severity, Object: u.object, Field: u.field, Label: "stops the mesh's own path", Workloads: workloadIDs(g.workloads[u])}
		if witness := g.proofs[u]; witness != nil {
			f.Flow, f.Trace = &witness.Flow, witness.Trace
		}
		who := upTo3(f.Workloads)
		if u.gateway != "" {
			who, f.Workloads = u.gateway, nil
		}
		f.Message = fmt.Sprintf("NetworkPolicy %s keeps %s from %s: %s; %s", u.object.ID(), who, u.what, u.effect, u.todo)
		p.Report(f)
	}
}

// needsOf returns what the proxy of a workload needs, once for all that the same
// policies isolate, unless other policies than theirs may have a say.
func (g *gathered) needsOf(p *Pass, w *model.Workload, proxy netpol.Proxy, policies []*model.NetworkPolicy) []netpol.Need {
	key := fmt.Sprint(w.Namespace, " ", proxy)
	for _, np := range policies {
		key += " " + np.Name
	}
	if g.others == nil {
		others := len(p.Mesh.ClusterNetworkPolicies)+len(p.Mesh.Unmodelled) > 0 || slices.ContainsFunc(p.Mesh.NetworkPolicies, func(np *model.NetworkPolicy) bool {
			return np.Namespace == "kube-system" || np.Namespace == p.Mesh.Config.GetRootNamespace()
		})
		g.others = &others
	}
	if *g.others {
		key = reach.From(w)
	}
	if _, known := g.needs[key]; !known {
		g.needs[key] = p.network.policies.Needs(w, proxy)
	}
	return g.needs[key]
}

// unmetNeeds gathers istiod and DNS.
func (in *intent) unmetNeeds(g *gathered, class []*model.Workload, policies []*model.NetworkPolicy) {
	proxy := netpol.Sidecar
	if in.pass.Reach.Sim.Capture(class[0]).Mode == capture.Ambient {
		proxy = netpol.Ztunnel
	}
	for _, u := range in.unmetNeedsOf(g, class[0], proxy, policies) {
		g.add(u, class, nil)
	}
}

// unmetNeedsOf returns what of istiod and DNS policies keep from a pod.
func (in *intent) unmetNeedsOf(g *gathered, w *model.Workload, proxy netpol.Proxy, policies []*model.NetworkPolicy) []unmet {
	p := in.pass
	var out []unmet
	rules := slices.ContainsFunc(policies, func(np *model.NetworkPolicy) bool { return len(np.Spec.Spec.Egress) > 0 })
	denied := map[string]*netpol.Need{} // needs that nobody meets
	needs := g.needsOf(p, w, proxy, policies)
	for i := range needs {
		denied[needs[i].Purpose] = &needs[i]
	}
	for _, n := range needs {
		if n.Verdict.Decision != netpol.Denied {
			delete(denied, n.Purpose)
		}
	}
	if denied["DNS over UDP"] != nil {
		delete(denied, "DNS over TCP")
	}
	for _, purpose := range []string{"DNS over UDP", "DNS over TCP", "configuration and certificates from istiod"} {
		n := denied[purpose]
		if n == nil {
			continue
		}
		place, ok := networkPolicyOf(p, n.Verdict)
		if !ok {
			continue
		}
		u := unmet{object: place, field: "spec.egress", severity: Error,
			what: fmt.Sprintf("istiod (%s, port %d)", n.To.ID(), n.Port), effect: "their sidecars get neither configuration nor certificates",
			todo: fmt.Sprintf("allow TCP %d of its pods", n.Port)}
		switch {
		case n.Port == 53 && !rules:
			continue
		case n.Port == 53:
			u.what, u.effect, u.todo = fmt.Sprintf("DNS (%s, port 53/%s)", n.To.ID(), n.Protocol), "they resolve no names", allowDNS
			if n.Protocol == corev1.ProtocolTCP {
				u.severity, u.effect, u.todo = Note, "long answers, which come by TCP, fail", "allow TCP 53 too"
			} else if n.Assumed {
				u.severity = Warning // a resolver on the node answers without leaving it
			}
		case n.Assumed:
			u.severity = Warning
		}
		out = append(out, u)
	}
	return out
}

// networkPolicyOf returns the NetworkPolicy that denies.
func networkPolicyOf(p *Pass, v netpol.Verdict) (*manifest.Object, bool) {
	for _, b := range v.Because {
		if slices.ContainsFunc(p.Mesh.NetworkPolicies, func(np *model.NetworkPolicy) bool { return np.Object == b.Object }) {
			return b.Object, true
		}
	}
	return nil, false
}

// leadsTo is where a steering leads; named says whether it is for some clients in
// particular.
type leadsTo struct {
	service string
	port    int
	named   bool
}

// unmetStops gathers gateways and waypoints that clients are meant to reach.
func (in *intent) unmetStops(g *gathered, class []*model.Workload) {
	p, w := in.pass, class[0]
	if in.captured(w) {
		tried := map[leadsTo]bool{} // thousands of routes may lead to one gateway
		for _, s := range in.leading(w) {
			to := leadsTo{s.Destination.GetHost(), s.servicePort(), s.Object.Namespace == w.Namespace || s.restricted() || in.leads.prepared[preparation{w.Namespace, s.Destination.GetHost()}]}
			if tried[to] || len(tried) > maxSteered || !s.isFor(w) {
				continue
			}
			tried[to] = true
			for _, stop := range in.podPorts(s) {
				flows := []flow.Flow{{From: reach.From(w), Host: witnessHost(p, s.Hosts[0]), Port: s.port(), Scheme: s.Scheme}}
				in.tryStop(g, class, stop, s.servicePort(), "egress gateway", to.named, flows)
			}
		}
		return
	}
	seen := map[*model.Workload]bool{}
	for _, h := range served(in.waypointHosts()) {
		if to := in.push.WaypointWorkload(h.Binding.Waypoint); to != nil && !seen[to] {
			seen[to] = true
			in.tryStop(g, class, netpol.Stop{Workload: to, Port: model.HBONEPort}, 0, "waypoint", h.Service.Namespace == w.Namespace, h.requests(p, w))
		}
	}
}

// leading returns the steerings that are for some clients in particular or in a
// client's namespace, and of the others the first for the client of those that lead
// to the same port, in their order.
func (in *intent) leading(w *model.Workload) []*steering {
	x := in.leads
	if x.places == nil {
		x.places, x.near = map[*steering]int{}, map[string][]*steering{}
		all := map[leadsTo]bool{}
		for i, s := range in.steerings {
			x.places[s] = i
			if s.restricted() {
				x.narrow = append(x.narrow, s)
				continue
			}
			x.near[s.Object.Namespace] = append(x.near[s.Object.Namespace], s)
			all[leadsTo{s.Destination.GetHost(), s.servicePort(), false}] = true
		}
		x.distinct = len(all)
		x.prepared = map[preparation]bool{}
		for _, r := range in.push.Mesh.DestinationRules {
			x.prepared[preparation{r.Namespace, string(model.ResolveHost(r.Spec.GetHost(), r.Namespace))}] = true
		}
	}
	out := slices.Concat(x.narrow, x.near[w.Namespace])
	found := map[leadsTo]bool{}
	for _, s := range in.steerings {
		if len(found) == x.distinct {
			break
		}
		to := leadsTo{s.Destination.GetHost(), s.servicePort(), false}
		if !found[to] && s.Object.Namespace != w.Namespace && !s.restricted() && s.isFor(w) {
			found[to] = true
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *steering) int { return cmp.Compare(x.places[a], x.places[b]) })
	return out
}

// leads are the steerings as leading looks at them: their places, those for some
// clients, the others by namespace, and to how many ports of Services they lead.
type leads struct {
	places   map[*steering]int
	narrow   []*steering
	near     map[string][]*steering
	distinct int
	prepared map[preparation]bool
}

// preparation is a Service for which a namespace has a DestinationRule of its own, as
// clients have that are meant to call it.
type preparation struct{ namespace, service string }

// tryStop gathers a gateway or waypoint that policies keep a class from.
func (in *intent) tryStop(g *gathered, class []*model.Workload, stop netpol.Stop, servicePort int, what string, named bool, flows []flow.Flow) {
	p, w := in.pass, class[0]
	to := netpol.Peer{Workload: stop.Workload, Addr: in.push.PodAddress(stop.Workload), Port: stop.Port, Protocol: corev1.ProtocolTCP}
	v := p.network.policies.Egress(w, to)
	place, ok := networkPolicyOf(p, v)
	if v.Decision != netpol.Denied || !ok {
		return
	}
	u := unmet{object: place, field: "spec.egress", severity: Error, what: fmt.Sprintf("%s %s on port %d", what, stop.Workload.ID(), stop.Port),
		effect: "what is sent through it does not arrive", todo: fmt.Sprintf("allow TCP %d of its pods", stop.Port)}
	other := 0
	for _, port := range slices.Concat([]int{servicePort, 443, 80, 8443, 8080, 15443}, p.allowedPorts(w)) {
		if to.Port = port; port > 0 && other == 0 {
			if v := p.network.policies.Egress(w, to); v.Decision == netpol.Allowed && len(v.Because) > 0 {
				other, u.field = port, v.Because[0].Field+".ports"
				u.object = v.Because[0].Object
			}
		}
	}
	switch {
	case other > 0 && other == servicePort:
		u.effect = fmt.Sprintf("it allows port %d, which is the Service's, and the pods listen on %d", other, stop.Port)
	case other > 0:
		u.effect = fmt.Sprintf("it allows port %d, and what is sent through it goes to %d", other, stop.Port)
	case !named && in.admitting(stop.Workload, w) == nil:
		return
	}
	for _, f := range flows {
		if t := p.Reach.Sim.Verdict(f); t.Outcome == flow.Blocked && t.Reason == flow.NetworkPolicy {
			g.add(u, class, &proof{f, p.Reach.Trace(f)})
			return
		}
	}
}

// maxAllowedPorts bounds the ports of policies that are tried.
const maxAllowedPorts = 16

// allowedPorts are the ports that the policies of a workload allow by number.
func (p *Pass) allowedPorts(w *model.Workload) []int {
	var out []int
	for _, np := range p.network.policies.Isolating(w, networkingv1.PolicyTypeEgress) {
		for _, rule := range np.Spec.Spec.Egress {
			for _, port := range rule.Ports {
				if n := port.Port; n != nil && n.IntVal != 53 && len(out) < maxAllowedPorts && !slices.Contains(out, int(n.IntVal)) {
					out = append(out, int(n.IntVal))
				}
			}
		}
	}
	return out
}

// podPorts returns the pods behind a steering's destination with the ports on which
// they take what is sent there.
func (in *intent) podPorts(s *steering) []netpol.Stop {
	service := in.service(host.Name(s.Destination.GetHost()))
	if service == nil {
		return nil
	}
	var out []netpol.Stop
	if port := service.PortByNumber(s.servicePort()); port != nil {
		for _, e := range in.push.Endpoints(service, port) {
			if e.Workload != nil && slices.Contains(s.Pods, e.Workload) {
				out = append(out, netpol.Stop{Workload: e.Workload, Port: e.Port})
			}
		}
	}
	return out
}

// servicePort is the port of the Service that a steering leads to: without one
// that which was dialled (istio pilot/pkg/networking/core/route/route.go
// GetDestinationCluster).
func (s *steering) servicePort() int {
	if number := int(s.Destination.GetPort().GetNumber()); number > 0 {
		return number
	}
	return s.port()
}

// port is one on which the steering takes requests.
func (s *steering) port() int {
	switch {
	case s.Port > 0:
		return s.Port
	case s.Scheme == flow.HTTP:
		return 80
	default:
		return 443
	}
}

// witnessHost is a host that a name of the manifests stands for.
func witnessHost(p *Pass, h host.Name) string {
	if h.IsWildCarded() {
		for _, d := range p.Reach.Universe() {
			if d.Stands == strings.ToLower(string(h)) {
				return d.Host
			}
		}
	}
	return string(h)
}

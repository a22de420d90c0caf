package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR208", Name: "tcp-entry-captures-port", Severity: Error, SecuritySeverity: 6.8,
	Run: runTCPCapturesPort,
	Doc: Doc{
		Title: "A TCP ServiceEntry without addresses takes the connections of other hosts",
		What: "A ServiceEntry declares a TCP port (or one without protocol) with resolution DNS or STATIC and no addresses, and connections of clients to another registered host on that port " +
			"end at its endpoints; or, on port 80 or 443, those to any host that nothing registers (a note where outboundTrafficPolicy REGISTRY_ONLY would stop them).",
		Why: "A TCP connection carries no name. Without addresses the sidecar listens on the port for every destination, and sends what it cannot tell apart to this one host, " +
			"whatever the application dialled: certificates do not match, logins fail, and controls of the other host do not apply.",
		Bad:  documents(openMesh, shopNamespace, ordersDeployment, tcpEntry("TCP")),
		Good: documents(openMesh, shopNamespace, ordersDeployment, tcpEntry("TLS")),
		Fix:  "Declare protocol TLS where clients speak TLS, so that the server name tells hosts apart, or list the addresses of the host, or let sidecars proxy DNS (ISTIO_META_DNS_CAPTURE).",
		Silent: "Entries with addresses, also automatic ones where the client's sidecar proxies DNS; resolution NONE (EGR209); ports on which no other host is registered, other than 80 and 443; " +
			"hosts with a listener or a server name of their own; clients without a sidecar; unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/networking/core/listener.go (buildListenerFromEntry, mergeTCPFilterChains)",
			"https://github.com/istio/istio/issues/29992",
			"https://istio.io/latest/docs/reference/config/analysis/ist0134/",
		},
	},
})

// taker is one port of a ServiceEntry that takes the connections of others.
type taker struct {
	*collected
	service *model.Service
	port    *model.Port
	// any: also those to hosts that nothing registers; closed: of clients alone for
	// which these are closed otherwise.
	any, closed bool
	// controlled: some route sends one of the others to a gateway.
	controlled bool
	others     []Related
}

// opaqueServices are the services of ServiceEntries by the ports on which a
// sidecar cannot tell their connections from others.
func (in *intent) opaqueServices() (ports []int, byPort map[int][]*model.Service) {
	byPort = map[int][]*model.Service{}
	for _, s := range in.push.Services() {
		if s.Entry == nil || s.Resolution == model.Passthrough || s.Address != model.UnspecifiedIP {
			continue
		}
		for _, port := range s.Ports {
			if !opaque(port) || slices.Contains(byPort[port.Number], s) {
				continue
			}
			if byPort[port.Number] == nil {
				ports = append(ports, port.Number)
			}
			byPort[port.Number] = append(byPort[port.Number], s)
		}
	}
	slices.Sort(ports)
	return ports, byPort
}

func runTCPCapturesPort(p *Pass) {
	in := intentOf(p)
	ports, byPort := in.opaqueServices()
	for _, port := range ports {
		web := port == 80 || port == 443
		if len(byPort[port]) < 2 && !web {
			continue
		}
		for _, t := range in.takersOf(port, byPort[port], web) {
			in.reportTaker(t)
		}
	}
}

// takersOf tries what clients send to each of some services, and to hosts that
// nothing registers, on a port, and returns the services that take what is meant
// for others.
func (in *intent) takersOf(port int, services []*model.Service, web bool) []*taker {
	var found []*taker
	try := func(class []*model.Workload, meant *model.Service, f flow.Flow) {
		f.From = reach.From(class[0])
		t := in.pass.Reach.Sim.Verdict(f)
		i := slices.IndexFunc(services, func(s *model.Service) bool { return takenFor(t, s) })
		if t.Outcome == flow.Unknown || i < 0 || meant != nil && services[i].Hostname == meant.Hostname {
			return
		}
		j := slices.IndexFunc(found, func(x *taker) bool { return x.service.Hostname == services[i].Hostname })
		if j < 0 {
			j = len(found)
			found = append(found, &taker{collected: &collected{}, service: services[i], port: services[i].PortByNumber(port)})
		}
		x := found[j]
		a := &attempt{Class: class, To: reach.Destination{Host: f.Host, Port: port}, Flow: f}
		if x.first == nil {
			a.Trace = in.pass.Reach.Trace(f)
		}
		switch {
		case meant == nil:
			_, closed := in.closes(class[0])
			x.closed = closed && (x.closed || !x.any)
			x.any = true
		case !slices.Contains(x.hosts, f.Host):
			if len(x.others) < maxNamed {
				x.others = append(x.others, Related{meant.Object, meant.PortByNumber(port).Field, fmt.Sprintf("%s is declared here", meant.Hostname)})
			}
			x.controlled = x.controlled || in.steeringFor(in.covering(f.Host), class[0], f.Host) != nil
		}
		x.add(a)
	}
	tried := 0
	for _, class := range in.pass.Reach.Classes() {
		w := class[0]
		push := in.pushFor(w)
		if !in.captured(w) || !slices.ContainsFunc(services, func(s *model.Service) bool { return push.Visible(s, w.Namespace) }) {
			continue
		}
		if tried++; tried > maxClasses {
			break
		}
		for _, s := range services[:min(len(services), maxClasses)] {
			if push.Visible(s, w.Namespace) {
				try(class, s, flow.Flow{Host: requestTo(s, s.PortByNumber(port)).Host, Port: port, Scheme: flow.TCP})
			}
		}
		if web {
			scheme := flow.TLS
			if port == 80 {
				scheme = flow.HTTP
			}
			try(class, nil, flow.Flow{Host: in.anyHost(port).Host, Port: port, Scheme: scheme})
		}
	}
	return found
}

// takenFor reports whether the client's sidecar sends a request to a service.
func takenFor(t *flow.Trace, s *model.Service) bool {
	return slices.ContainsFunc(t.Hops, func(h flow.Hop) bool {
		return h.At == flow.AtSidecar && strings.HasSuffix(h.Cluster, "|"+string(s.Hostname)) &&
			slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object == s.Object })
	})
}

func (in *intent) reportTaker(t *taker) {
	slices.Sort(t.hosts)
	others, mend, score := upTo3(t.hosts), "list its addresses", 0.0
	severity := Error
	if t.any {
		others = "any other host"
		if t.closed && len(t.others) == 0 {
			severity, others = Note, "hosts that nothing registers"
		}
	}
	if t.port.Number == 443 {
		mend = "declare protocol TLS, or list its addresses"
	}
	if t.controlled {
		score = 6.8
	}
	in.pass.Report(t.finding(Finding{
		Object: t.service.Object, Field: t.port.Field + ".protocol", Severity: severity, SecuritySeverity: score,
		Label: "takes every connection on this port", Related: t.others,
		Message: fmt.Sprintf("ServiceEntry %s declares port %d %s without addresses, so that connections of %s to %s on this port go to %s; %s",
			t.service.Object.ID(), t.port.Number, asProtocol(t.port), upTo3(t.workloads()), others, t.service.Hostname, mend),
		Help: "or let sidecars proxy DNS (proxyMetadata ISTIO_META_DNS_CAPTURE), so that every host gets an address of its own",
	}))
}

// anyHost stands for hosts that nothing registers.
func (in *intent) anyHost(port int) reach.Destination {
	for _, d := range in.pass.Reach.Universe() {
		if d.Stands == reach.AnyName {
			d.Port = port
			return d
		}
	}
	return reach.Destination{}
}

// openMesh is a mesh that passes through what nothing registers.
const openMesh = `apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    outboundTrafficPolicy:
      mode: ALLOW_ANY
`

// tcpEntry is a ServiceEntry of namespace shop for api.example.com.
func tcpEntry(protocol string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - api.example.com
  ports:
  - number: 443
    name: port-443
    protocol: ` + protocol + `
  resolution: DNS
`
}

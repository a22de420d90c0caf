package analyzers

import (
	"fmt"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR215", Name: "conflicting-service-entries", Severity: Warning, SecuritySeverity: 4.5,
	Run: runConflictingEntries,
	Doc: Doc{
		Title: "Two ServiceEntries declare the same host and port differently, and clients see both",
		What: "Two ServiceEntries register one host and port, with protocols of different kinds (HTTP, TLS, TCP, detected) or with different resolution, and both are visible in a namespace with clients. " +
			"Or addresses of two entries become one network once the bits beyond their prefix are dropped (`2001:db8::1/32` is `2001:db8::/32`).",
		Why: "They are not united. The clients' own namespace wins, else the older entry (without timestamps: of the namespace that comes first); of two in one namespace that were " +
			"created in the same second istiod may take either, and another one tomorrow. The protocol decides which routes see the traffic, the resolution where it goes.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, entryOn443("TLS"), otherEntry("HTTP")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, entryOn443("TLS"), otherEntry("TLS")),
		Fix:  "Keep one of them, make them agree, or export them (`exportTo`) to different namespaces.",
		Silent: "Entries that agree, HTTPS beside TLS and HTTP beside HTTP2 or GRPC; entries that no namespace with clients sees together, or that a Sidecar keeps apart; " +
			"entries that list different addresses, which have listeners of their own.",
		Sources: []string{
			"istio pilot/pkg/model/sidecar.go (selectServices, appendSidecarServices)",
			"istio pilot/pkg/model/push_context.go (SortServicesByCreationTime)",
			"https://istio.io/latest/docs/reference/config/analysis/ist0177/",
		},
	},
})

func otherEntry(protocol string) string {
	return strings.NewReplacer("  name: api\n", "  name: partner-api\n", "namespace: shop", "namespace: platform").Replace(entryOn443(protocol))
}

// conflict is two entries that register a host and port differently.
type conflict struct {
	first, second *model.Service
	port          int
}

func runConflictingEntries(p *Pass) {
	in := intentOf(p)
	in.reportMaskedNetworks()
	byHost := map[host.Name][]*model.Service{}
	var order []host.Name
	for _, s := range in.push.Services() {
		if s.Entry == nil {
			continue
		}
		if byHost[s.Hostname] == nil {
			order = append(order, s.Hostname)
		}
		byHost[s.Hostname] = append(byHost[s.Hostname], s)
	}
	reported := map[[2]model.Place]bool{}
	for _, h := range order {
		for _, x := range conflicts(byHost[h]) {
			k := [2]model.Place{{Object: x.first.Object, Field: x.first.PortByNumber(x.port).Field}, {Object: x.second.Object, Field: x.second.PortByNumber(x.port).Field}}
			if reported[k] {
				continue // another host of the same entries
			}
			if f, ok := in.conflicting(x); ok {
				reported[k] = true
				p.Report(f)
			}
		}
	}
}

// conflicts returns the pairs of services of one host that disagree about a port,
// in the order of the registry.
func conflicts(list []*model.Service) []conflict {
	var out []conflict
	for i, a := range list {
		for _, b := range list[i+1:] {
			if a.Object == b.Object || a.Address != b.Address {
				continue
			}
			for _, port := range a.Ports {
				if other := b.PortByNumber(port.Number); other != nil && port.Protocol != protocol.UDP && (kindOf(port) != kindOf(other) || a.Resolution != b.Resolution) {
					out = append(out, conflict{a, b, port.Number})
				}
			}
		}
	}
	return out
}

// kindOf tells protocols apart as far as listeners and routes do.
func kindOf(port *model.Port) string {
	switch {
	case port.Protocol.IsHTTP():
		return "HTTP"
	case port.Protocol.IsTLS():
		return "TLS"
	case port.Protocol.IsUnsupported():
		return "detected"
	default:
		return string(port.Protocol)
	}
}

// conflicting makes a finding of a conflict that clients of some namespace see.
func (in *intent) conflicting(x conflict) (Finding, bool) {
	c, others := &collected{}, &collected{}
	var winner *model.Service
	for _, class := range in.pass.Reach.Classes() {
		w := class[0]
		if in.pass.Reach.Sim.Capture(w).Mode != capture.Sidecar || !in.imports(w, x.first) || !in.imports(w, x.second) {
			continue
		}
		d := reach.Destination{Host: string(x.first.Hostname), Port: x.port}
		for _, u := range in.pass.Reach.Universe() {
			if u.Port == x.port && (strings.EqualFold(u.Host, d.Host) || strings.EqualFold(u.Stands, d.Host)) {
				d = u
			}
		}
		wins := in.seen(w, x.first.Hostname)
		if wins == nil || wins.Object != x.first.Object && wins.Object != x.second.Object {
			continue // a third one
		}
		port := wins.PortByNumber(x.port)
		if port == nil {
			continue // its Sidecar declares another
		}
		if winner == nil {
			winner = wins
		}
		f := flow.Flow{From: reach.From(w), Host: d.Host, Port: d.Port, Scheme: schemeOf(port)}
		a := &attempt{Class: class, To: d, Flow: f, Trace: in.pass.Reach.Trace(f)}
		if wins.Object == winner.Object {
			c.add(a)
		} else {
			others.add(a)
		}
	}
	if c.first == nil {
		return Finding{}, false
	}
	loser, place := x.second, "protocol"
	if winner.Object == x.second.Object {
		loser = x.first
	}
	wins, loses := winner.PortByNumber(x.port), loser.PortByNumber(x.port)
	says := fmt.Sprintf("protocol %s, by %s as %s", kindOf(wins), loser.Object, kindOf(loses))
	field := loses.Field + ".protocol"
	if kindOf(wins) == kindOf(loses) {
		place, field = "resolution", "spec.resolution"
		says = fmt.Sprintf("resolution %s, by %s as %s", winner.Entry.Spec.GetResolution(), loser.Object, loser.Entry.Spec.GetResolution())
	}
	decides := fmt.Sprintf("for %s the former counts", upTo3(c.workloads()))
	if others.first != nil {
		decides += fmt.Sprintf(", for %s the latter", upTo3(others.workloads()))
	}
	if winner.Namespace == loser.Namespace && winner.Created.Equal(loser.Created) {
		decides = fmt.Sprintf("which of them counts for %s is left to chance", upTo3(c.workloads()))
	}
	for _, class := range others.classes {
		c.class(class)
	}
	return c.finding(Finding{
		Object: loser.Object, Field: field, Severity: Warning, SecuritySeverity: 4.5,
		Message: fmt.Sprintf("%s:%d is declared by %s as %s: %s; make them agree, or export them to different namespaces",
			x.first.Hostname, x.port, winner.Object, says, decides),
		Label: "another ServiceEntry has another " + place, Help: "keep one of the two",
		Related: []Related{{winner.Object, wins.Field, fmt.Sprintf("%s declares the same host and port", winner.Object)}},
	}), true
}

// imports reports whether a workload's sidecar may use a service: it is exported
// to it, and the Sidecar that counts imports it.
func (in *intent) imports(w *model.Workload, s *model.Service) bool {
	push := in.pushFor(w)
	if !push.Visible(s, w.Namespace) {
		return false
	}
	sidecar := push.SidecarFor(w.Namespace, w.Labels)
	if sidecar == nil || len(sidecar.Spec.GetEgress()) == 0 {
		return true
	}
	for _, e := range sidecar.Spec.GetEgress() {
		for _, text := range e.GetHosts() {
			ns, name, _ := strings.Cut(text, "/")
			if (ns == "*" || ns == s.Namespace || ns == "." && s.Namespace == w.Namespace) && s.Hostname.SubsetOf(host.Name(name)) {
				return true
			}
		}
	}
	return false
}

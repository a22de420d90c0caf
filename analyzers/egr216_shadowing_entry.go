package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

var _ = register(&Analyzer{
	ID: "EGR216", Name: "shadowing-local-entry", Severity: Error, SecuritySeverity: 7.6,
	Run: runShadowingEntry,
	Doc: Doc{
		Title: "A namespace redefines a controlled host for itself and so gets around the gateway or waypoint",
		What: "A host is sent through an egress gateway or a waypoint, a ServiceEntry in a client namespace registers it once more, and because of it the requests of that namespace go out directly. " +
			"The simulation is asked what became of them without that ServiceEntry.",
		Why: "A definition in the clients' own namespace comes before all others, with its own ports, protocols and waypoint. Whoever may write ServiceEntries in a namespace " +
			"can take its workloads out of the control that holds for everybody else.",
		Bad:    tlsEgressDoc(localEntry("TCP")),
		Good:   tlsEgressDoc(localEntry("TLS")),
		Fix:    "Remove the ServiceEntry, or declare it as the central one is (ports, protocol, waypoint label). Let only administrators register external hosts.",
		Silent: "ServiceEntries without which the same requests would fare the same or be closed; clients without a proxy; unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/model/sidecar.go (selectServices)",
			"https://istio.io/latest/news/security/istio-security-2026-002/",
		},
	},
})

func localEntry(protocol string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: own-api
  namespace: shop
spec:
  exportTo:
  - .
  hosts:
  - api.example.com
  ports:
  - number: 443
    name: api
    protocol: ` + protocol + `
  resolution: DNS
`
}

// maxRemoved bounds the ServiceEntries that are tried out by leaving them away.
const maxRemoved = 64

// shadowedPort is what a finding of EGR216 is about.
type shadowedPort struct {
	entry *manifest.Object
	field string
	via   flow.Via
}

func runShadowingEntry(p *Pass) {
	in := intentOf(p)
	tried := 0
	for _, e := range in.push.Mesh.ServiceEntries {
		if !in.redefines(e) {
			continue
		}
		if tried++; tried > maxRemoved {
			return
		}
		var found byKey[shadowedPort]
		var without *traffic.Simulation
		for _, class := range p.Reach.Classes() {
			mode := p.Reach.Sim.Capture(class[0]).Mode
			if class[0].Namespace != e.Namespace || mode != capture.Sidecar && mode != capture.Ambient {
				continue
			}
			for _, d := range p.Reach.Universe() {
				if !in.declares(e, d) {
					continue
				}
				for _, answer := range p.Reach.Verdicts(class[0], d) {
					if answer.Outcome != flow.Allowed || answer.Via != flow.ViaDirect && answer.Via != flow.ViaPassthrough {
						continue
					}
					if without == nil {
						without = leftOut(p.Mesh, e)
					}
					other := without.Verdict(answer.Flow)
					if other.Via != flow.ViaGateway && other.Via != flow.ViaWaypoint || other.Outcome == flow.Unknown {
						continue
					}
					a := &attempt{Class: class, To: d, Flow: answer.Flow, Trace: p.Reach.Trace(answer.Flow)}
					i := slices.IndexFunc(e.Spec.GetPorts(), func(port *networking.ServicePort) bool { return int(port.GetNumber()) == d.Port })
					field := "spec.hosts"
					if i >= 0 {
						field = fmt.Sprintf("spec.ports[%d].number", i)
					}
					found.add(shadowedPort{e.Object, field, other.Via}, a)
				}
			}
		}
		for _, k := range found.keys {
			c := found.of[k]
			around := fmt.Sprintf("the %s that it is sent through otherwise", k.via)
			f := Finding{
				Object: k.entry, Field: k.field, Severity: Error, SecuritySeverity: 7.6,
				Label: "takes the host out of control for this namespace", Help: "remove the ServiceEntry, or declare it as the central one is",
			}
			for _, s := range in.covering(c.first.To.Host) {
				if k.via == flow.ViaGateway {
					around = fmt.Sprintf("%s, through which the host is sent otherwise", s.gateway())
					f.Related = append(f.Related, s.related())
					break
				}
			}
			for _, s := range in.push.Services() {
				if s.Entry != nil && s.Object != k.entry && host.Name(c.first.To.Host).SubsetOf(s.Hostname) {
					f.Related = append(f.Related, Related{s.Object, s.HostField, fmt.Sprintf("%s registers the host too", s.Object)})
					break
				}
			}
			f.Message = fmt.Sprintf("%s redefines %s for its own namespace: %s out on %s around %s; remove it, or declare it alike",
				k.entry, upTo3(c.hosts), c.who("goes", "go"), portsText(c.ports), around)
			p.Report(c.finding(f))
		}
	}
}

// redefines reports whether another ServiceEntry that its namespace sees registers
// a host of this one.
func (in *intent) redefines(e *model.ServiceEntry) bool {
	return slices.ContainsFunc(in.entryHosts(e.Object), func(h host.Name) bool {
		return slices.ContainsFunc(in.registered(in.push).Overlapping(h), func(s *model.Service) bool {
			return s.Entry != nil && s.Object != e.Object && s.Namespace != e.Namespace && in.push.Visible(s, e.Namespace)
		})
	})
}

// declares reports whether a ServiceEntry has a host and port.
func (in *intent) declares(e *model.ServiceEntry, d reach.Destination) bool {
	return slices.ContainsFunc(in.entryHosts(e.Object), host.Name(strings.ToLower(d.Host)).SubsetOf) &&
		slices.ContainsFunc(e.Spec.GetPorts(), func(port *networking.ServicePort) bool { return int(port.GetNumber()) == d.Port })
}

// leftOut simulates the mesh without a ServiceEntry.
func leftOut(mesh *model.Mesh, e *model.ServiceEntry) *traffic.Simulation {
	other := *mesh
	other.ServiceEntries = slices.DeleteFunc(slices.Clone(mesh.ServiceEntries), func(x *model.ServiceEntry) bool { return x.Object == e.Object })
	return traffic.New(&other)
}

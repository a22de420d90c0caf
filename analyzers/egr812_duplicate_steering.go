package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

var _ = register(&Analyzer{
	ID: "EGR812", Name: "duplicate-steering", Severity: Error, SecuritySeverity: 7.2,
	Run: runDuplicateSteering,
	Doc: Doc{
		Title: "Two VirtualServices route one host for the same clients, and only one of them through the egress gateway",
		What: "A VirtualService sends a host outside to the egress gateway, another one that the same sidecars see routes that host elsewhere, and the requests fare differently without the one that counts: " +
			"the older one counts. It is an error where the other one counts as the manifests stand, else a warning.",
		Why: "Sidecars take VirtualServices in the order in which they were created and use the first for a host. The manifests do not tell the order, and it changes when one of the two is " +
			"deleted and applied again: then the requests leave around the gateway.",
		Bad:  egressDoc(rivalDoc),
		Good: egressDoc(""),
		Fix:  "Remove one of the two, or put all routes of the host into one VirtualService. Let only administrators export VirtualServices for hosts outside.",
		Silent: "VirtualServices of which the manifests give different creation timestamps in favour of the gateway; hosts that overlap by a wildcard only, of which the exact one counts; clients that see only one of the two; " +
			"routes of the Gateway API; requests that fare alike by both, or stay in the cluster by the other one; unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/model/config.go (sortConfigByCreationTime)",
			"istio pilot/pkg/networking/core/httproute.go (BuildSidecarOutboundVirtualHosts)",
			"https://istio.io/latest/docs/reference/config/analysis/ist0109/",
		},
	},
})

const rivalDoc = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: own-api
  namespace: shop
spec:
  hosts:
  - api.example.com
  http:
  - timeout: 3s
    route:
    - destination:
        host: api.example.com
        port:
          number: 80
`

// rivalry is what a finding of EGR812 is about: a route through the gateway, and a
// VirtualService that stands in its place where it is the older one.
type rivalry struct {
	steering, rival *model.MergedVirtualService
	// counts: the rival is the one that counts.
	counts bool
}

func runDuplicateSteering(p *Pass) {
	in := intentOf(p)
	if len(in.steerings) == 0 {
		return
	}
	var found byKey[rivalry]
	stopped := map[rivalry]bool{} // by a NetworkPolicy, the first
	without := map[*model.MergedVirtualService]*traffic.Simulation{}
	tried := map[[2]*model.MergedVirtualService]bool{}
	byHost := in.meshRoutesByHost()
	for _, s := range in.steerings {
		for _, rival := range in.rivalsOf(s, byHost) {
			pair := [2]*model.MergedVirtualService{s.Route, rival}
			if tried[pair] || len(tried) >= maxRemoved {
				continue
			}
			tried[pair] = true
			for _, class := range in.seeingBoth(s, rival) {
				f := flow.Flow{From: reach.From(class[0]), Host: witnessHost(p, sharedHost(s, rival)), Port: s.port(), Scheme: s.Scheme}
				t := p.Reach.Sim.Verdict(f)
				k := rivalry{s.Route, rival, t.Via != flow.ViaGateway}
				leave := s.Route
				if k.counts {
					leave = rival
				} else if s.Route.Created.Before(rival.Created) && !s.Route.Created.IsZero() {
					continue // the order is known
				}
				if without[leave] == nil {
					without[leave] = leftOutRoute(p.Mesh, leave)
				}
				other := without[leave].Verdict(f)
				direct, through := t, other
				if !k.counts {
					direct, through = other, t
				}
				if e := exitOf(direct); e != nil && !inCluster(in.push, e.host) && (leavesDirectly(direct) || direct.Reason == flow.NetworkPolicy) && through.Outcome != flow.Unknown && through.Via == flow.ViaGateway {
					if _, known := stopped[k]; !known {
						stopped[k] = direct.Reason == flow.NetworkPolicy
					}
					found.add(k, &attempt{Class: class, To: reach.Destination{Host: f.Host, Port: f.Port}, Flow: f, Trace: t, By: s})
				}
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		f := Finding{
			Object: k.rival.Object, Field: "spec.hosts", Label: "routes the host too", Severity: Warning, SecuritySeverity: 6.2,
			Help: "put all routes of the host into one VirtualService", Related: []Related{c.first.By.related()},
		}
		effect := fmt.Sprintf("whichever is older counts, and with this one %s straight out", c.who("goes", "go"))
		if k.counts {
			f.Severity, f.SecuritySeverity = Error, 7.2
			effect = fmt.Sprintf("the older one counts, here this one, and %s straight out", c.who("goes", "go"))
		}
		if stopped[k] {
			f.SecuritySeverity = 0
			effect += ", where a network policy stops it"
		}
		f.Message = fmt.Sprintf("%s routes %s, which %s sends through %s: %s; remove one of the two", k.rival.Title(), upTo3(c.hosts), k.steering.Title(), c.first.By.gateway(), effect)
		p.Report(c.finding(f))
	}
}

// meshRoutesByHost are the VirtualServices for sidecars by the hosts that they name.
func (in *intent) meshRoutesByHost() map[host.Name][]*model.MergedVirtualService {
	out := map[host.Name][]*model.MergedVirtualService{}
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.Contains(vs.Gateways, model.MeshGateway) {
			continue
		}
		for _, h := range vs.Hosts {
			out[model.LowerHost(h)] = append(out[model.LowerHost(h)], vs)
		}
	}
	return out
}

// rivalsOf returns the other VirtualServices of those by host that have exactly a
// host of a steering and do not send it to the same Service.
func (in *intent) rivalsOf(s *steering, byHost map[host.Name][]*model.MergedVirtualService) []*model.MergedVirtualService {
	if s.Route.OfGatewayAPI != "" {
		return nil
	}
	var out []*model.MergedVirtualService
	for _, h := range s.Hosts {
		for _, vs := range byHost[h] {
			if vs.Object == s.Route.Object || slices.Contains(out, vs) {
				continue
			}
			if !slices.ContainsFunc(in.covering(string(h)), func(x *steering) bool {
				return x.Route == vs && x.Destination.GetHost() == s.Destination.GetHost()
			}) {
				out = append(out, vs)
			}
		}
	}
	return out
}

// sharedHost is the first host of a steering that a VirtualService has, "" if none.
func sharedHost(s *steering, vs *model.MergedVirtualService) host.Name {
	for _, h := range s.Hosts {
		if slices.ContainsFunc(vs.Hosts, func(x host.Name) bool { return model.LowerHost(x) == h }) {
			return h
		}
	}
	return ""
}

// seeingBoth returns the classes of clients with a sidecar for which a steering is
// meant and which see both it and a rival, a few of them.
func (in *intent) seeingBoth(s *steering, rival *model.MergedVirtualService) [][]*model.Workload {
	var out [][]*model.Workload
	for _, class := range in.pass.classesIn(capture.Sidecar) {
		routes := in.pushFor(class[0]).VirtualServicesForGateway(class[0].Namespace, model.MeshGateway)
		if len(out) < maxAsked && s.isFor(class[0]) && slices.ContainsFunc(routes, func(vs *model.MergedVirtualService) bool { return vs.Object == rival.Object }) {
			out = append(out, class)
		}
	}
	return out
}

// leftOutRoute simulates the mesh without a VirtualService.
func leftOutRoute(mesh *model.Mesh, vs *model.MergedVirtualService) *traffic.Simulation {
	other := *mesh
	other.VirtualServices = slices.DeleteFunc(slices.Clone(mesh.VirtualServices), func(x *model.VirtualService) bool { return x.Object == vs.Object })
	return traffic.New(&other)
}

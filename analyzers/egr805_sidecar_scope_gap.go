package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR805", Name: "sidecar-scope-gap", Severity: Error,
	Run: runSidecarGap,
	Doc: Doc{
		Title: "A Sidecar hides what its workloads need to call a host",
		What: "The Sidecar that counts for some workloads does not import the ServiceEntry of a host that something in the manifests shows they are meant to call " +
			"(a route of their namespace, a route exported to it by name, the Sidecar's own hosts, an ALLOW rule that names both), or not the port of the egress gateway's Service.",
		Why: "What a Sidecar does not import does not exist for its workloads: under REGISTRY_ONLY requests are closed or answered with 502, although the host is registered and exported to them. " +
			"`./` is the workloads' own namespace, and a ServiceEntry is imported by the namespace that it lies in. " +
			"(Where a route that the Sidecar imports leads to a host, the host comes with it.)",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, publicEntry, shopSidecar("    - ./api.example.com\n")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, publicEntry, shopSidecar("    - platform/api.example.com\n")),
		Fix:  "Add the namespace of the ServiceEntry with the host, `ns/host`, to `egress.hosts` of the Sidecar.",
		Silent: "Hosts that nothing shows these workloads are meant to call (hiding them is what Sidecars are for), hosts that are not exported to them (EGR801), " +
			"workloads that reach the host in another way, ALLOW_ANY, unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/model/sidecar.go",
			"https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioEgressListener",
		},
	},
})

var publicEntry = strings.Replace(scopedEntry, "  exportTo:\n  - platform\n", "", 1)

func shopSidecar(more string) string {
	return `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: shop
spec:
  egress:
  - hosts:
    - ./*
    - istio-system/*
` + more
}

// hiddenService is what a finding of EGR805 is about.
type hiddenService struct{ sidecar, object *manifest.Object }

func runSidecarGap(p *Pass) {
	in := intentOf(p)
	if len(in.push.Mesh.Sidecars) == 0 {
		return
	}
	var found byKey[hiddenService]
	shown := map[hiddenService][]Related{}
	policed := map[string]policedUse{}
	for _, class := range p.Reach.Classes() {
		w := class[0]
		push := in.pushFor(w)
		sidecar := push.SidecarFor(w.Namespace, w.Labels)
		if sidecar == nil || p.Reach.Sim.Capture(w).Mode != capture.Sidecar {
			continue
		}
		usual, ok := policed[w.Namespace]
		if !ok {
			usual = in.policedClients(w.Namespace)
			policed[w.Namespace] = usual
		}
		scope := in.scopeOf(push, w.Namespace, sidecar)
		for _, d := range in.spokenOf(push, in.mentioned(push, w.Namespace, sidecar), usual.hosts, in.grantedHosts(push, w)) {
			h := host.Name(strings.ToLower(d.Host))
			s, port := in.hiddenBy(push, scope, h, d.Port)
			if s == nil {
				continue
			}
			if in.knows(push, scope, h) {
				if outcome, reason, known := p.fares(w, d, schemeOf(port)); !known || outcome != flow.Blocked || reason != flow.Blackhole || in.listens(push, scope, h, d.Port) {
					continue
				}
			}
			a := &attempt{Class: class, To: d, Flow: flow.Flow{From: reach.From(w), Host: d.Host, Port: d.Port, Scheme: schemeOf(port)}}
			why := in.wants(a)
			if len(why) == 0 {
				if why = usual.because(in, d.Host); len(why) == 0 {
					continue
				}
			}
			k := hiddenService{sidecar.Object, s.Object}
			outcome, reason, known := p.fares(w, d, a.Flow.Scheme)
			if !known {
				a.Trace = p.Reach.Sim.Verdict(a.Flow)
				outcome, reason = a.Trace.Outcome, a.Trace.Reason
			}
			if outcome != flow.Blocked || reason != flow.Blackhole && reason != flow.NoCluster {
				continue
			}
			if shown[k] == nil {
				shown[k] = why
			}
			found.add(k, a)
		}
	}
	for a := range in.failing(flow.NoCluster) {
		if k, ok := in.hiddenGateway(a); ok {
			shown[k] = []Related{a.By.related()}
			found.add(k, a)
		}
	}
	for _, keys := range bySidecar(found.keys) {
		p.Report(in.reportHidden(keys, found.of, shown))
	}
}

// fares returns how requests of one protocol of a class fare; known is false where that
// depends on the request.
func (p *Pass) fares(first *model.Workload, to reach.Destination, protocol flow.Scheme) (outcome flow.Outcome, reason flow.Reason, known bool) {
	for _, a := range p.Reach.Verdicts(first, to) {
		if a.Protocol == protocol && a.Address != reach.Other {
			return a.Outcome, a.Reason, len(a.When) == 0
		}
	}
	return "", "", false
}

// bySidecar groups what Sidecars do not import: the ServiceEntries of one that lacks
// more than a finding names, everything else by itself.
func bySidecar(keys []hiddenService) [][]hiddenService {
	entries := map[*manifest.Object][]hiddenService{}
	for _, k := range keys {
		if k.object.Kind == "ServiceEntry" {
			entries[k.sidecar] = append(entries[k.sidecar], k)
		}
	}
	var out [][]hiddenService
	for _, k := range keys {
		group := entries[k.sidecar]
		switch {
		case k.object.Kind != "ServiceEntry" || len(group) <= maxNamed:
			out = append(out, []hiddenService{k})
		case group[0] == k:
			out = append(out, group)
		}
	}
	return out
}

// reportHidden is the finding about what a Sidecar does not import.
func (in *intent) reportHidden(keys []hiddenService, found map[hiddenService]*collected, shown map[hiddenService][]Related) Finding {
	k := keys[0]
	c, w := &collected{}, found[k].first.Class[0]
	for _, other := range keys {
		c.join(found[other])
	}
	if c.first.Trace == nil {
		c.first.Trace = in.pass.Reach.Sim.Verdict(c.first.Flow)
	}
	what := k.object.Namespace + "/" + c.hosts[0]
	if k.object.Kind == "Service" {
		what = k.object.Namespace + "/" + string(model.ServiceHost(k.object.Name, k.object.Namespace))
	}
	add := fmt.Sprintf("add %q to its hosts", what)
	if k.object.Kind == "Service" {
		add = fmt.Sprintf("add an egress entry without port that imports %q", what)
	}
	f := Finding{
		Object: k.sidecar, Field: in.egressField(k.sidecar, w, c.first.To.Port), Severity: Error,
		Label: "leaves out what these workloads are meant to call", Fix: "hosts:\n",
	}
	hidden := k.object.String()
	if more := len(keys) - 1; more > 0 {
		hidden += fmt.Sprintf(" and %d more", more)
		add = fmt.Sprintf("add %q and the others to its hosts", what)
	}
	for i, other := range keys {
		line := what
		if i > 0 {
			line = other.object.Namespace + "/" + found[other].hosts[0]
		}
		f.Fix += fmt.Sprintf("- %s\n", line)
		if i < maxNamed {
			for _, r := range shown[other] {
				if !slices.Contains(f.Related, r) {
					f.Related = append(f.Related, r)
				}
			}
			f.Related = append(f.Related, Related{other.object, "metadata.namespace", fmt.Sprintf("%s is visible to them otherwise", other.object)})
		}
	}
	f.Help = add
	f.Message = fmt.Sprintf("%s does not import %s: %s reach %s on %s, which they are meant to call; %s",
		k.sidecar, hidden, c.who("cannot", "cannot"), upTo3(c.hosts), portsText(c.ports), add)
	return c.finding(f)
}

// mentioned are the hosts of which a namespace's routes or its Sidecar speak.
func (in *intent) mentioned(push *model.PushContext, namespace string, sidecar *model.Sidecar) []host.Name {
	routed := in.mentions[push]
	if routed == nil {
		routed = map[string][]host.Name{}
		for _, vs := range push.VirtualServices() {
			to := append([]string{vs.Namespace}, vs.Spec.GetExportTo()...)
			slices.Sort(to)
			for _, namespace := range slices.Compact(to) {
				for _, h := range vs.Hosts {
					routed[namespace] = append(routed[namespace], host.Name(strings.ToLower(string(h))))
				}
			}
		}
		in.mentions[push] = routed
	}
	out := slices.Clone(routed[namespace])
	for _, e := range sidecar.Spec.GetEgress() {
		for _, x := range e.GetHosts() {
			if _, name, ok := strings.Cut(x, "/"); ok && name != "*" {
				out = append(out, host.Name(strings.ToLower(name)))
			}
		}
	}
	return out
}

// entered are the destinations of the universe that ServiceEntries register.
type entered struct {
	list []reach.Destination
	// hosts are theirs in lower case, byHost places in the list, and matching what was
	// found for patterns.
	hosts            []string
	byHost, matching map[host.Name][]int
}

// like returns the places of the destinations that a pattern matches.
func (x *entered) like(pattern host.Name) []int {
	places, known := x.matching[pattern]
	if !known {
		for i, h := range x.hosts {
			if affix(string(pattern), h) {
				places = append(places, i)
			}
		}
		x.matching[pattern] = places
	}
	return places
}

// spokenOf returns the destinations which ServiceEntries register and that some lists
// of hosts cover, patterns as policies have them among these; in the order of the
// universe.
func (in *intent) spokenOf(push *model.PushContext, lists ...[]host.Name) []reach.Destination {
	x := in.entered[push]
	if x == nil {
		x = &entered{byHost: map[host.Name][]int{}, matching: map[host.Name][]int{}}
		for _, d := range in.pass.Reach.Universe() {
			h := host.Name(strings.ToLower(d.Host))
			if len(in.declaring(push, h)) == 0 {
				continue
			}
			x.byHost[h] = append(x.byHost[h], len(x.list))
			x.list, x.hosts = append(x.list, d), append(x.hosts, string(h))
		}
		in.entered[push] = x
	}
	var places []int
	for _, list := range lists {
		for _, h := range list {
			h = host.Name(strings.ToLower(string(h)))
			places = append(places, x.byHost[h]...)
			if strings.Contains(string(h), "*") {
				places = append(places, x.like(h)...)
			}
		}
	}
	slices.Sort(places)
	var out []reach.Destination
	for _, i := range slices.Compact(places) {
		out = append(out, x.list[i])
	}
	return out
}

// hiddenBy returns the service of a ServiceEntry that has a host and port and is
// exported to a scope's namespace; nil if there is no such service.
func (in *intent) hiddenBy(push *model.PushContext, scope *model.SidecarScope, h host.Name, port int) (*model.Service, *model.Port) {
	for _, s := range in.declaring(push, h) {
		if p := s.PortByNumber(port); p != nil && push.Visible(s, scope.Namespace) {
			return s, p
		}
	}
	return nil, nil
}

// knows reports whether a scope has a service for a host. It may be one to which a route
// leads that the Sidecar imports: istiod makes a cluster of it, and no listener (istio
// pilot/pkg/model/sidecar.go collectImportedServices).
func (in *intent) knows(push *model.PushContext, scope *model.SidecarScope, h host.Name) bool {
	return slices.ContainsFunc(in.registering(push, h), func(s *model.Service) bool { return scope.Service(s.Hostname) != nil })
}

// listens reports whether the Sidecar itself imports a service for a host, on a port.
func (in *intent) listens(push *model.PushContext, scope *model.SidecarScope, h host.Name, port int) bool {
	l := scope.Listener(port)
	return l != nil && slices.ContainsFunc(in.registering(push, h), func(s *model.Service) bool {
		return slices.ContainsFunc(l.Services, func(x *model.Service) bool { return x.Hostname == s.Hostname })
	})
}

// schemeOf is what clients speak on a port.
func schemeOf(port *model.Port) flow.Scheme {
	switch {
	case port.Protocol.IsHTTPOrSniffed():
		return flow.HTTP
	case port.Protocol.IsTLS():
		return flow.TLS
	default:
		return flow.TCP
	}
}

// hiddenGateway: a Sidecar that declares ports does not import the port of the
// gateway's Service that a route leads to.
func (in *intent) hiddenGateway(a *attempt) (hiddenService, bool) {
	w := a.Class[0]
	push, l := in.pushFor(w), in.legOf(a.Trace)
	sidecar := push.SidecarFor(w.Namespace, w.Labels)
	if l == nil || l.pod != nil || l.service == nil || l.service.PortByNumber(l.port) == nil || sidecar == nil {
		return hiddenService{}, false
	}
	s := in.scopeOf(push, w.Namespace, sidecar).Service(l.host)
	return hiddenService{sidecar.Object, l.service.Object}, s == nil || s.PortByNumber(l.port) == nil
}

// egressField is the list of hosts of a Sidecar that counts for a port.
func (in *intent) egressField(sidecar *manifest.Object, w *model.Workload, port int) string {
	push := in.pushFor(w)
	if s := push.SidecarFor(w.Namespace, w.Labels); s != nil && s.Object == sidecar {
		if l := in.scopeOf(push, w.Namespace, s).Listener(port); l != nil && l.Spec != nil {
			return fmt.Sprintf("spec.egress[%d].hosts", l.Index)
		}
	}
	return "spec.egress"
}

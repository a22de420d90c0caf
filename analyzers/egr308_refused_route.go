package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportRefusedRoutes reports routes of the Gateway API for hosts outside that a
// parent does not take.
func (in *intent) reportRefusedRoutes(twice map[string]bool) {
	for _, r := range in.push.RefusedReferences() {
		if twice[r.Object.String()] || twice[r.Parent()] || !slices.ContainsFunc(in.concerned(r), in.registeredOutside) || r.Why == "" && in.maybeElsewhere(r) {
			continue
		}
		f := Finding{Object: r.Object, Field: r.Field, Severity: Error, Label: "bound to nothing"}
		why, todo := r.Why, "name a parent that takes it"
		if r.Field == "spec.hostnames" {
			todo = "let both be for the same host"
		}
		if why == "" {
			why, todo = "does not exist", "create it, or name another one"
			if name := in.nearParent(r); name != "" {
				todo = fmt.Sprintf("is %q meant?", name)
			}
		}
		f.Help = todo
		subject := r.Object.String()
		if len(r.Hosts) > 0 {
			subject += " for " + upTo3(hostNames(r.Hosts))
		}
		f.Message = fmt.Sprintf("%s refers to %s, which %s: its rules hold nowhere there; %s", subject, r.Parent(), why, todo)
		if g := in.kubeGateway(r.Namespace, r.Name); g != nil && r.Kind == "Gateway" {
			f.Related = append(f.Related, Related{g.Object, "spec.listeners", "the listeners"})
		}
		in.pass.Report(f)
	}
}

// concerned are the hosts that a reference is about: those of the route, of the
// listeners, or of the ServiceEntry of which the name is misspelt.
func (in *intent) concerned(r model.RefusedReference) []host.Name {
	out := slices.Concat(r.Hosts, r.Listeners)
	for _, e := range in.pass.Mesh.ServiceEntries {
		if r.Kind == "ServiceEntry" && e.Namespace == r.Namespace && near(e.Name, r.Name) {
			for _, h := range e.Spec.GetHosts() {
				out = append(out, model.LowerHost(host.Name(h)))
			}
		}
	}
	return out
}

// registeredOutside reports whether a host is one that a ServiceEntry registers as no part of
// the mesh.
func (in *intent) registeredOutside(h host.Name) bool {
	return slices.ContainsFunc(in.declaring(in.push, h), func(s *model.Service) bool { return s.MeshExternal })
}

// maybeElsewhere reports whether the parent of a reference, which the input does not
// hold, may be in what was not given, or not read.
func (in *intent) maybeElsewhere(r model.RefusedReference) bool {
	if slices.ContainsFunc(in.pass.Mesh.Problems, func(p manifest.Problem) bool {
		return p.Kind.Partial() && (p.Object == "" || p.Object == r.Parent())
	}) {
		return true
	}
	switch r.Kind {
	case "Gateway":
		_, known := in.gatewayNamed(r.Namespace + "/" + r.Name)
		return !known && !slices.ContainsFunc(in.pass.Mesh.KubeGateways, func(g *model.KubeGateway) bool { return g.Namespace == r.Namespace })
	case "ServiceEntry":
		return !slices.ContainsFunc(in.pass.Mesh.ServiceEntries, func(e *model.ServiceEntry) bool { return e.Namespace == r.Namespace || in.movedEntry(e, r) })
	default:
		return true // an operator may make the Service
	}
}

// nearParent is the name of an object that is nearly that of a parent which does not
// exist, "" if there is none.
func (in *intent) nearParent(r model.RefusedReference) string {
	for _, g := range in.pass.Mesh.KubeGateways {
		if r.Kind == "Gateway" && g.Namespace == r.Namespace && near(g.Name, r.Name) {
			return g.Name
		}
	}
	for _, e := range in.pass.Mesh.ServiceEntries {
		switch {
		case r.Kind == "ServiceEntry" && e.Namespace == r.Namespace && near(e.Name, r.Name):
			return e.Name
		case in.movedEntry(e, r):
			return e.Namespace + "/" + e.Name
		}
	}
	return ""
}

// movedEntry reports whether a ServiceEntry of another namespace has the name of the
// parent of a reference and registers a host of the route.
func (in *intent) movedEntry(e *model.ServiceEntry, r model.RefusedReference) bool {
	return r.Kind == "ServiceEntry" && e.Name == r.Name && e.Namespace != r.Namespace &&
		slices.ContainsFunc(in.entryHosts(e.Object), func(h host.Name) bool { return slices.Contains(r.Hosts, h) })
}

func (in *intent) kubeGateway(namespace, name string) *model.KubeGateway {
	for _, g := range in.pass.Mesh.KubeGateways {
		if g.Namespace == namespace && g.Name == name {
			return g
		}
	}
	return nil
}

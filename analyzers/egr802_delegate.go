package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// reportLostDelegates reports routes of VirtualServices for hosts outside that delegate to
// a VirtualService which is not there, is none to delegate to, or is not exported to
// theirs, where requests are stopped or go straight out: istiod leaves such a route out
// (istio pilot/pkg/model/virtualservice_controller.go mergeVirtualServices).
func (in *intent) reportLostDelegates() {
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.ContainsFunc(vs.Hosts, in.outside) {
			continue
		}
		for i, r := range vs.Spec.GetHttp() {
			d := r.GetDelegate()
			if d == nil {
				continue
			}
			field := fmt.Sprintf("spec.http[%d].delegate", i)
			text, todo, about := in.lostDelegate(vs, d)
			if text == "" {
				continue
			}
			if c := in.failingBy(vs, r); c.first != nil {
				f := Finding{
					Object: vs.Object, Field: field, Severity: Error, Label: "leads to nothing", Help: todo,
					Message: fmt.Sprintf("%s delegates a route for %s to VirtualService %s, which %s: istiod leaves the route out; %s",
						vs.Title(), upTo3(hostNames(vs.Hosts)), delegateName(vs, d), text, todo),
				}
				if about != nil {
					f.Related = []Related{{about.Object, "metadata.name", fmt.Sprintf("%s is there", about)}}
				}
				in.pass.Report(c.finding(f))
			}
		}
	}
}

// failingBy gathers requests for the hosts of a route, on its ports, that are stopped or
// go straight out.
func (in *intent) failingBy(vs *model.MergedVirtualService, r *networking.HTTPRoute) *collected {
	ports := []int{80}
	for _, m := range r.GetMatch() {
		if port := int(m.GetPort()); port > 0 && meansMesh(m.GetGateways()) && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	c := &collected{}
	for _, class := range in.pass.Reach.Classes() {
		if !in.captured(class[0]) {
			continue
		}
		for _, h := range vs.Hosts {
			for _, port := range ports {
				a := &attempt{Class: class, To: reach.Destination{Host: witnessHost(in.pass, h), Port: port}}
				a.Flow = flow.Flow{From: reach.From(class[0]), Host: a.To.Host, Port: port, Scheme: flow.HTTP}
				a.Trace = in.pass.Reach.Sim.Verdict(a.Flow)
				if a.Trace.Outcome == flow.Blocked && a.Trace.Reason != flow.RBACDenied || a.Trace.Outcome == flow.Allowed && (a.Trace.Via == flow.ViaDirect || a.Trace.Via == flow.ViaPassthrough) {
					c.add(a)
				}
			}
		}
	}
	return c
}

func delegateName(vs *model.MergedVirtualService, d *networking.Delegate) string {
	if d.GetNamespace() == "" {
		return vs.Namespace + "/" + d.GetName()
	}
	return d.GetNamespace() + "/" + d.GetName()
}

// lostDelegate says why a route delegates to nothing, and what to do; "" if it does not,
// or where that cannot be told. about is the VirtualService that is meant, if one is.
func (in *intent) lostDelegate(vs *model.MergedVirtualService, d *networking.Delegate) (text, todo string, about *model.VirtualService) {
	id := delegateName(vs, d)
	namespace, _, _ := strings.Cut(id, "/")
	if slices.ContainsFunc(in.pass.Mesh.Problems, func(x manifest.Problem) bool {
		return x.Kind.Partial() && (x.Object == "" || x.Object == "VirtualService "+id) || x.Kind == manifest.Rejected && x.Object == "VirtualService "+id
	}) {
		return "", "", nil
	}
	var near []*model.VirtualService
	var names []string
	held := in.pass.holds(namespace)
	for _, other := range in.push.Mesh.VirtualServices {
		switch {
		case other.ID() == id && len(other.Spec.GetHosts()) > 0:
			return "has hosts of its own, so that nothing can delegate to it", "take its hosts out", other
		case other.ID() == id:
			exported := other.Spec.GetExportTo()
			if len(exported) == 0 {
				exported = in.push.Mesh.Config.GetDefaultVirtualServiceExportTo()
			}
			if len(exported) > 0 && !model.ExportTo(exported).VisibleTo(other.Namespace, vs.Namespace) {
				return fmt.Sprintf("is exported only to %s", quoted(exported)), fmt.Sprintf("add %q to its exportTo", vs.Namespace), other
			}
			return "", "", nil
		case len(other.Spec.GetHosts()) > 0:
		case other.Name == d.GetName():
			near = append(near, other)
		case other.Namespace == namespace:
			names = append(names, other.Name)
		}
		held = held || other.Namespace == namespace
	}
	if meant := nearest(d.GetName(), names); meant != "" && len(near) == 0 {
		return "does not exist", fmt.Sprintf("is %q meant?", meant), nil
	}
	if len(near) == 1 {
		return "does not exist", fmt.Sprintf("is VirtualService %s meant?", near[0].ID()), near[0]
	}
	if !held {
		return "", "", nil
	}
	return "does not exist", "create it, or name another one", nil
}

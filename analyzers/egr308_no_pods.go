package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// reportNoPods reports rules of the mesh that send hosts outside to a Service of which
// the input lacks the object, or which selects nothing, while the pods of a gateway that
// takes these hosts are there: nothing connects the two.
func (in *intent) reportNoPods(vs *model.MergedVirtualService, told map[host.Name]bool) {
	if !slices.Contains(vs.Gateways, model.MeshGateway) || !slices.ContainsFunc(vs.Hosts, in.outside) {
		return
	}
	for _, d := range destinationsOf(vs) {
		name, rest, _ := strings.Cut(string(d.to), ".")
		namespace, _, _ := strings.Cut(rest, ".")
		if d.object != vs.Object || told[d.to] || !meansMesh(d.gateways) || model.ServiceHost(name, namespace) != d.to {
			continue
		}
		service := in.service(d.to)
		if service != nil && (!service.Kubernetes() || len(service.Selector) > 0 || service.ExternalName != "" || len(in.push.Endpoints(service, nil)) > 0) {
			continue
		}
		w, g := in.podsOf(vs, namespace)
		if w == nil || service == nil && in.servedBy(w) {
			continue
		}
		told[d.to] = true
		todo := fmt.Sprintf("create it with a selector for the labels of %s", w)
		f := Finding{
			Object: vs.Object, Field: d.field + ".host", Severity: Warning, Label: "no such Service in the input",
			Related: []Related{{w.Object, w.Field("metadata.labels"), fmt.Sprintf("%s is the gateway that %s selects", w, g)}},
			Message: fmt.Sprintf("%s sends %s to Service %s/%s, which the input does not have, while %s, which %s selects, is there: sidecars know no such destination; %s",
				vs.Title(), upTo3(hostNames(vs.Hosts)), namespace, name, w, g, todo),
		}
		if service != nil {
			todo = fmt.Sprintf("give it a selector for the labels of %s", w)
			f.Object, f.Field, f.Label = service.Object, "spec", "has no selector"
			f.Related = append(f.Related, Related{vs.Object, d.field, fmt.Sprintf("%s leads there", vs)})
			f.Message = fmt.Sprintf("%s, to which %s sends %s, has no selector, and the input no endpoints of it: nothing takes these requests; %s",
				service.Object, vs.Title(), upTo3(hostNames(vs.Hosts)), todo)
		}
		f.Help = todo
		in.pass.Report(f)
	}
}

// podsOf returns the only gateway of a namespace that a Gateway with a host of a route
// selects, and that Gateway; nil if there is none.
func (in *intent) podsOf(vs *model.MergedVirtualService, namespace string) (pod *model.Workload, of *model.Gateway) {
	for _, w := range in.pass.Mesh.Workloads {
		if w.Namespace != namespace || in.pass.Reach.Sim.Capture(w).Mode != capture.Router {
			continue
		}
		i := slices.IndexFunc(in.push.Mesh.Gateways, func(g *model.Gateway) bool {
			return len(g.Spec.GetSelector()) > 0 && hasLabels(w.Labels, g.Spec.GetSelector()) && slices.ContainsFunc(vs.Hosts, func(h host.Name) bool { return takesHost(g, h) })
		})
		if i < 0 {
			continue
		}
		if pod != nil {
			return nil, nil
		}
		pod, of = w, in.push.Mesh.Gateways[i]
	}
	return pod, of
}

// servedBy reports whether some Service selects a workload.
func (in *intent) servedBy(w *model.Workload) bool {
	return slices.ContainsFunc(in.push.Services(), func(s *model.Service) bool {
		return s.Kubernetes() && s.Namespace == w.Namespace && len(s.Selector) > 0 && hasLabels(w.Labels, s.Selector)
	})
}

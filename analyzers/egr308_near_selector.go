package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportNearSelectors reports Services to which routes of the mesh send hosts
// outside and which select no pod, while a proxy of their namespace has all the
// labels but one: what the pods of the Service are is not in the input, and what is
// there looks like a slip.
func (in *intent) reportNearSelectors() {
	p := in.pass
	of := map[host.Name][]string{}
	var order []host.Name
	for _, s := range in.steerings {
		h := host.Name(s.Destination.GetHost())
		if of[h] == nil {
			order = append(order, h)
		}
		for _, x := range s.Hosts {
			if !slices.Contains(of[h], string(x)) {
				of[h] = append(of[h], string(x))
			}
		}
	}
	for _, h := range order {
		service := in.service(h)
		if service == nil {
			in.reportNearService(h, of[h])
			continue
		}
		if len(service.Selector) == 0 {
			continue
		}
		var candidates, abroad []*model.Workload
		var key string
		selected := false
		for _, w := range p.Mesh.Workloads {
			if w.Namespace != service.Namespace {
				if p.Reach.Sim.Capture(w).Mode == capture.Router && hasLabels(w.Labels, service.Selector) {
					abroad = append(abroad, w)
				}
				continue
			}
			missing := lacks(w.Labels, service.Selector)
			switch {
			case len(missing) == 0:
				selected = true
			case len(missing) == 1 && p.Reach.Sim.Capture(w).Mode == capture.Router || len(missing) == 1 && w.ProxyContainer() != nil:
				if label, ok := w.Labels[missing[0]]; len(service.Selector) > 1 || ok && near(label, service.Selector[missing[0]]) {
					candidates, key = append(candidates, w), missing[0]
				}
			}
		}
		if !selected && len(candidates) == 0 && len(abroad) == 1 {
			w := abroad[0]
			p.Report(Finding{
				Object: w.Object, Field: "metadata.namespace", Severity: Warning, Label: "not the Service's namespace",
				Related: []Related{{service.Object, "spec.selector", fmt.Sprintf("%s selects pods of its own namespace", service.Object)}},
				Help:    "a Service selects pods of its own namespace only",
				Message: fmt.Sprintf("%s has the labels that %s, to which routes of the mesh send %s, selects, but lies in another namespace, and the Service selects no pod of the input; put the two into one namespace",
					w, service.Object, upTo3(of[h])),
			})
		}
		if selected || len(candidates) != 1 {
			continue
		}
		w := candidates[0]
		at, has := labelField(key), fmt.Sprintf("is labelled %s=%s", key, w.Labels[key])
		if _, ok := w.Labels[key]; !ok {
			at, has = "metadata.labels", "lacks that one"
		}
		p.Report(Finding{
			Object: service.Object, Field: manifest.FieldPath("spec", "selector", key), Severity: Warning, Label: "selects no pod",
			Related: []Related{{w.Object, w.Field(at), fmt.Sprintf("%s %s", w, has)}},
			Help:    "the labels of the pods, the selector of the Service and those of Gateways and policies have to agree",
			Message: fmt.Sprintf("%s, to which routes of the mesh send %s, selects no pod of the input: it asks for %s=%s, and %s, which has its other labels, %s; make the two agree",
				service.Object, upTo3(of[h]), key, service.Selector[key], w, has),
		})
	}
}

// reportNearService reports routes of the mesh to a Service that the input does not
// have, of a name that is nearly that of one which it has.
func (in *intent) reportNearService(h host.Name, hosts []string) {
	name, rest, _ := strings.Cut(string(h), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	if model.ServiceHost(name, namespace) != h {
		return
	}
	var meant []*model.Service
	for _, s := range in.push.Services() {
		if s.Kubernetes() && (s.Name == name && near(s.Namespace, namespace) || s.Namespace == namespace && near(s.Name, name) || in.moved(s, h)) {
			meant = append(meant, s)
		}
	}
	if len(meant) != 1 {
		return
	}
	for _, s := range in.steerings {
		if host.Name(s.Destination.GetHost()) != h {
			continue
		}
		in.pass.Report(Finding{
			Object: s.Object, Field: s.To + ".host", Severity: Warning, Label: "no such Service in the input",
			Related: []Related{{meant[0].Object, "metadata.name", fmt.Sprintf("%s is there", meant[0].Object)}},
			Message: fmt.Sprintf("%s sends %s to %s, of which the input has nothing; is %s meant?", s.Route.Title(), upTo3(hosts), h, meant[0].Hostname),
		})
		return
	}
}

// moved reports whether a Service is evidently that which routes mean by the name of a
// missing one of a namespace that the input declares: it has the name or the namespace of
// that, is before the pods of the Gateways to which the routes are bound, and no other
// pods of the input are theirs; or it and its pods have their names with a prefix, as a
// release of Helm gives them, and no pod has the labels without.
func (in *intent) moved(s *model.Service, missing host.Name) bool {
	name, rest, _ := strings.Cut(string(missing), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	fits := hasLabels
	ns := in.pass.Mesh.Namespaces[namespace]
	switch {
	case ns == nil || !ns.Declared || s.Name != name && s.Namespace != namespace || in.lost(missing):
		return false // or EGR802 follows the requests
	case strings.HasSuffix(s.Name, "-"+name):
		fits = func(labels, selector map[string]string) bool {
			for k, v := range selector {
				if labels[k] != v && !strings.HasSuffix(labels[k], "-"+v) {
					return false
				}
			}
			return true
		}
	}
	pods := in.routers(s.Hostname)
	bound := false
	for _, x := range in.steerings {
		if host.Name(x.Destination.GetHost()) != missing {
			continue
		}
		for _, name := range x.Route.Gateways {
			g, _ := in.gatewayNamed(name)
			if g == nil || len(g.Spec.GetSelector()) == 0 {
				continue
			}
			bound = true
			if slices.ContainsFunc(in.pass.Mesh.Workloads, func(w *model.Workload) bool {
				return fits(w.Labels, g.Spec.GetSelector()) != slices.Contains(pods, w)
			}) {
				return false
			}
		}
	}
	return bound && len(pods) > 0
}

// lacks returns the keys of a selector that labels do not satisfy, sorted.
func lacks(labels, selector map[string]string) []string {
	var out []string
	for _, k := range sortedKeys(selector) {
		if got, ok := labels[k]; !ok || got != selector[k] {
			out = append(out, k)
		}
	}
	return out
}

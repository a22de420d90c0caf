package analyzers

import (
	"fmt"
	"slices"

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
		if service == nil || len(service.Selector) == 0 {
			continue
		}
		var candidates []*model.Workload
		var key string
		selected := false
		for _, w := range p.Mesh.Workloads {
			if w.Namespace != service.Namespace {
				continue
			}
			missing := lacks(w.Labels, service.Selector)
			switch {
			case len(missing) == 0:
				selected = true
			case len(missing) == 1 && p.Reach.Sim.Capture(w).Mode == capture.Router || len(missing) == 1 && w.ProxyContainer() != nil:
				if label, ok := w.Labels[missing[0]]; ok && (len(service.Selector) > 1 || near(label, service.Selector[missing[0]])) {
					candidates, key = append(candidates, w), missing[0]
				}
			}
		}
		if selected || len(candidates) != 1 {
			continue
		}
		w := candidates[0]
		p.Report(Finding{
			Object: service.Object, Field: manifest.FieldPath("spec", "selector", key), Severity: Warning, Label: "selects no pod",
			Related: []Related{{w.Object, w.Field(labelField(key)), fmt.Sprintf("%s is labelled %s=%s", w, key, w.Labels[key])}},
			Help:    "the labels of the pods, the selector of the Service and those of Gateways and policies have to agree",
			Message: fmt.Sprintf("%s, to which routes of the mesh send %s, selects no pod of the input: it asks for %s=%s, and %s, which has its other labels, is labelled %s=%s; make the two agree",
				service.Object, upTo3(of[h]), key, service.Selector[key], w, key, w.Labels[key]),
		})
	}
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

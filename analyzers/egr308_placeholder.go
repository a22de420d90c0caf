package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// reportPlaceholders reports egress gateways whose container is the placeholder that
// injection replaces (image: auto), and whose pods are not injected, or not as a
// gateway: there is nothing that takes what routes send there (istio
// manifests/charts/gateway/templates/deployment.yaml).
func (in *intent) reportPlaceholders(twice map[string]bool) {
	for _, g := range in.gateways {
		if twice[g.String()] || g.Pod == nil || g.PodUnknown != "" || !placeholder(g.Workload) {
			continue
		}
		why, todo, place := in.notAsGateway(g)
		if why == "" {
			continue
		}
		f := Finding{
			Object: place.Object, Field: place.Field, Severity: Error, Label: "no gateway comes of it", Help: todo,
			Message: fmt.Sprintf("%s, to which the mesh sends %s, %s: nothing takes these requests; %s", g.Workload, upTo3(g.steeredHosts()), why, todo),
		}
		for _, s := range g.Steers {
			f.Related = append(f.Related, Related{s.Object, s.Field, fmt.Sprintf("sends %s there", s.Host)})
			break
		}
		in.pass.Report(f)
	}
}

// placeholder reports whether the proxy's container is to be replaced.
func placeholder(w *model.Workload) bool {
	for _, c := range w.Pod.Containers {
		if c.Name == "istio-proxy" && c.Image == "auto" {
			return true
		}
	}
	return false
}

// notAsGateway says why a gateway's pods do not become one, with what to do and the
// place of that; "" where they may.
func (in *intent) notAsGateway(g *egressGateway) (why, todo string, at model.Place) {
	const left = "and its container istio-proxy has image auto, which injection alone replaces"
	if g.Labels[injectKey] == "false" {
		return fmt.Sprintf("is not injected (%s=false), %s", injectKey, left), `write "true"`, model.Place{Object: g.Object, Field: g.Field(labelField(injectKey))}
	}
	// No webhook selects pods of such a namespace, whatever their own labels (istio
	// manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml).
	if ns := in.pass.Mesh.Namespaces[g.Namespace]; ns != nil && ns.Object != nil && ns.Labels[model.InjectionLabel] == "disabled" {
		return fmt.Sprintf("is not injected (namespace %s is labelled %s=disabled), %s", ns.Name, model.InjectionLabel, left), "remove that label",
			model.Place{Object: ns.Object, Field: labelField(model.InjectionLabel)}
	}
	if text := g.Annotations[templatesAnnotation]; text == "sidecar" {
		return fmt.Sprintf("is injected with template %q, as a sidecar, which serves no Gateway", text), `write "gateway"`, model.Place{Object: g.Object, Field: g.Field(annotationField(templatesAnnotation))}
	}
	return "", "", model.Place{}
}

// steeredHosts are the hosts that routes of the mesh send to a gateway.
func (g *egressGateway) steeredHosts() []string {
	var out []string
	for _, s := range g.Steers {
		if h := strings.ToLower(string(s.Host)); !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

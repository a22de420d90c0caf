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
		why, todo, field := notAsGateway(g)
		if why == "" {
			continue
		}
		f := Finding{
			Object: g.Object, Field: g.Field(field), Severity: Error, Label: "no gateway comes of it", Help: todo,
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
// field of the pod template; "" where they may.
func notAsGateway(g *egressGateway) (why, todo, field string) {
	if g.Labels[injectKey] == "false" {
		return fmt.Sprintf("is not injected (%s=false), and its container istio-proxy has image auto, which injection alone replaces", injectKey), `write "true"`, labelField(injectKey)
	}
	if text := g.Annotations[templatesAnnotation]; text == "sidecar" {
		return fmt.Sprintf("is injected with template %q, as a sidecar, which serves no Gateway", text), `write "gateway"`, annotationField(templatesAnnotation)
	}
	return "", "", ""
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

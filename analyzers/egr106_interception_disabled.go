package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID:   "EGR106",
	Name: "interception-disabled",
	Doc: Doc{
		Title: "Nothing is redirected to the sidecar",
		What: "The interception mode of a workload's sidecar is `NONE`, by the annotation `sidecar.istio.io/interceptionMode`, by " +
			"`proxy.istio.io/config` or by `meshConfig.defaultConfig`, where the mesh controls what the workload sends.",
		Why: "The sidecar runs and everything looks healthy, but it only sees what the application sends to its ports on purpose. All other connections go out past " +
			"REGISTRY_ONLY, routes and the egress gateway.",
		Bad:  documents(closedMesh, shopNamespace, annotatedOrders("sidecar.istio.io/interceptionMode: NONE")),
		Good: documents(closedMesh, shopNamespace, annotatedOrders("sidecar.istio.io/interceptionMode: REDIRECT")),
		Fix:  "Use `REDIRECT` (the default) or `TPROXY`. Where interception is impossible, stop with a NetworkPolicy what does not go to the sidecar.",
		Silent: "The manifests control nothing of what the workload sends; it has no sidecar, or the outcome is unknown: with Istio's CNI plugin such pods do not start. Where " +
			"a Sidecar binds listeners with `captureMode: NONE`, applications are meant to call these, and it is a warning; where a NetworkPolicy stops the requests, a note.",
		Sources: []string{
			"istio/istio manifests/charts/istio-control/istio-discovery/files/injection-template.yaml",
			"https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig-InboundInterceptionMode",
		},
	},
	Severity:         Error,
	SecuritySeverity: 8.0,
	Run:              runInterceptionDisabled,
})

func runInterceptionDisabled(p *Pass) {
	in := newControls(intentOf(p))
	var all escapes
	for _, class := range p.Reach.Classes() {
		if !in.captured(class[0]) || !in.missesAny(class[0]) {
			continue
		}
		list, more := in.of(class[0], anyPort)
		found := leakOf(p, list, more, func(t *flow.Trace) bool { _, off := interceptionOff(class[0], t); return off })
		if !found.found() {
			continue
		}
		request := found.requests()[0].Request
		for _, w := range class {
			// Members of a class may say it in different places.
			request.From = reach.From(w)
			if from, ok := interceptionOff(w, p.Reach.Trace(request)); ok {
				all.add(w, cause{why: interceptionSetting(from), todo: in.bindsPorts(w), place: placeOf(w, []flow.Because{from})}, found)
			}
		}
	}
	for _, x := range all.order {
		f := Finding{
			Label: "redirects nothing",
			Message: fmt.Sprintf("%s interception mode NONE by %s, so that %s there; %s %s; use REDIRECT",
				x.subject("has", "have"), x.why, x.without(), x.what("any host"), strings.Replace(x.leaves(), "without a", "past the", 1)),
		}
		if x.todo != "" {
			f.Severity, f.SecuritySeverity = Warning, 6.0
			f.Help = x.todo
		}
		p.Report(x.finding(p, f))
	}
}

// interceptionOff returns the place that sets interception mode NONE, if that is
// why a sidecar does not see a request.
func interceptionOff(w *model.Workload, t *flow.Trace) (flow.Because, bool) {
	for _, h := range t.Hops {
		for _, b := range h.Because {
			for _, field := range []string{annotationField("sidecar.istio.io/interceptionMode"), annotationField("proxy.istio.io/config")} {
				if b.Object == w.Object && b.Field == w.Field(field) {
					return b, true
				}
			}
			if strings.HasSuffix(b.Field, "defaultConfig.interceptionMode") {
				return b, true
			}
		}
	}
	return flow.Because{}, false
}

// interceptionSetting names the setting.
func interceptionSetting(b flow.Because) string {
	for _, key := range []string{"sidecar.istio.io/interceptionMode", "proxy.istio.io/config"} {
		if strings.HasSuffix(b.Field, annotationField(key)) {
			return "annotation " + key
		}
	}
	return "defaultConfig.interceptionMode of the mesh"
}

// bindsPorts says that the Sidecar of a workload binds listeners that the
// application is to call, "" if it does not.
func (in *controls) bindsPorts(w *model.Workload) string {
	s := in.push.SidecarFor(w.Namespace, w.Labels)
	if s == nil || !slices.ContainsFunc(s.Spec.GetEgress(), func(l *networking.IstioEgressListener) bool {
		return l.GetCaptureMode() == networking.CaptureMode_NONE && l.GetPort() != nil
	}) {
		return ""
	}
	return fmt.Sprintf("%s binds ports for applications that call the sidecar; stop what goes elsewhere with a NetworkPolicy", s.Object)
}

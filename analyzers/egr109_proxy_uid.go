package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID:   "EGR109",
	Name: "proxy-uid-application",
	Doc: Doc{
		Title: "An application container runs with the proxy's own user or group id",
		What: "A container of a pod with a sidecar runs with the user or group id of the proxy: 1337, or what the istio-proxy container of " +
			"the pod or the annotations of an OpenShift namespace make it.",
		Why: "The redirect tells the proxy's connections from the application's by these ids, and leaves those of the proxy alone. Whoever " +
			"runs with them goes out past the sidecar, its routes and its outbound policy.",
		Bad:  documents(closedMesh, shopNamespace, runningAs(ordersDeployment, 1337)),
		Good: documents(closedMesh, shopNamespace, runningAs(ordersDeployment, 1000)),
		Fix:  "Run the application with other ids, and let an admission policy refuse the proxy's.",
		Silent: "The manifests control nothing of what the workload sends; it has no sidecar; the id is only that of volumes (`fsGroup`, " +
			"`supplementalGroups`) or is replaced at the container; the outcome is unknown. Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio/istio tools/istio-iptables/pkg/capture/run.go",
			"https://istio.io/latest/docs/reference/config/analysis/ist0144/",
		},
	},
	Severity:         Error,
	SecuritySeverity: 8.6,
	Run:              runProxyUID,
})

func runProxyUID(p *Pass) {
	in := newControls(intentOf(p))
	var all escapes
	for _, class := range p.Reach.Classes() {
		if class[0].Pod == nil || !in.captured(class[0]) || !in.missesAny(class[0]) {
			continue
		}
		list, more := in.of(class[0], anyPort)
		found := leakOf(p, list, more, func(t *flow.Trace) bool { return len(proxyIDs(class[0], t)) > 0 })
		if !found.found() {
			continue
		}
		request := found.requests()[0].Request
		for _, w := range class {
			// Members of a class may say it in different places.
			request.From = reach.From(w)
			if fields := proxyIDs(w, p.Reach.Trace(request)); len(fields) > 0 {
				all.add(w, cause{why: identityOf(w, fields[0]), place: exclusion{w.Object, w.Field(fields[0])}}, found)
			}
		}
	}
	for _, x := range all.order {
		p.Report(x.finding(p, Finding{
			Label: "the proxy's own id",
			Help:  "let an admission policy refuse this id to applications",
			Message: fmt.Sprintf("%s %s, the id of its sidecar, which is not redirected, so that %s there; %s %s; choose another id",
				x.subject("runs", "run"), x.why, x.without(), x.what("any host"), strings.Replace(x.leaves(), "without a", "past the", 1)),
		}))
	}
}

// proxyIDs returns the fields of a pod that give a container the proxy's ids, if
// that is why its sidecar does not see a request.
func proxyIDs(w *model.Workload, t *flow.Trace) []string {
	var out []string
	for _, h := range t.Hops {
		for _, b := range h.Because {
			field := strings.TrimPrefix(strings.TrimPrefix(b.Field, w.Template), ".")
			if b.Object == w.Object && (strings.HasSuffix(field, "securityContext.runAsUser") || strings.HasSuffix(field, "securityContext.runAsGroup")) {
				out = append(out, field)
			}
		}
	}
	return out
}

// identityOf words such a field: `container app with runAsUser 1337`.
func identityOf(w *model.Workload, field string) string {
	pick := func(user, group *int64) string {
		name, id := "runAsUser", user
		if strings.HasSuffix(field, "runAsGroup") {
			name, id = "runAsGroup", group
		}
		if id == nil {
			return name
		}
		return fmt.Sprintf("%s %d", name, *id)
	}
	for i, c := range w.Pod.Containers {
		if sc := c.SecurityContext; sc != nil && strings.HasPrefix(field, fmt.Sprintf("spec.containers[%d].", i)) {
			return fmt.Sprintf("container %s with %s", c.Name, pick(sc.RunAsUser, sc.RunAsGroup))
		}
	}
	if sc := w.Pod.SecurityContext; sc != nil {
		return "containers with " + pick(sc.RunAsUser, sc.RunAsGroup)
	}
	return "containers"
}

// runningAs is a workload whose container runs with a user id.
func runningAs(deployment string, uid int) string {
	return deployment + fmt.Sprintf("        securityContext:\n          runAsUser: %d\n", uid)
}

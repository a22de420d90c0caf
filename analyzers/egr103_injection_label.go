package analyzers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID:   "EGR103",
	Name: "injection-label-ineffective",
	Doc: Doc{
		Title: "A label or annotation that is to enable injection never does",
		What: "A namespace or a workload asks for a sidecar in a way that no webhook hears: `istio-injection` with any other value " +
			"than `enabled`, `sidecar.istio.io/inject` with another value than `true`, as an annotation, on the Deployment in place of " +
			"its pod template, or on a pod whose namespace says `istio-injection: disabled`; a label of the namespace whose key is a letter or two away from `istio-injection`, or is `sidecar.istio.io/inject`; `istio.io/rev` beside " +
			"`istio-injection`, which is looked at first.",
		Why: "The pods start without a proxy, and without any error. No route, no ServiceEntry and no outbound policy of the mesh " +
			"holds for what they send.",
		Bad:  labelledShop(`istio-injection: "true"`),
		Good: labelledShop(`istio-injection: enabled`),
		Fix:  "Write the label with the value and at the place that the webhook looks at, and restart the pods.",
		Silent: "The pods get a sidecar all the same; the value says that no injection is wanted; the labels of the namespace are not in " +
			"the input; the manifests control nothing of what the workload sends. Where a NetworkPolicy stops it anyway it is a note, or a warning if routes lead through a gateway, at which it does not arrive then.",
		Sources: []string{
			"istio/istio manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml",
			"istio/istio pkg/kube/inject/inject.go",
			"https://istio.io/latest/docs/reference/config/analysis/ist0123/",
		},
	},
	Severity:         Error,
	SecuritySeverity: 7.4,
	Run:              runInjectionLabel,
})

func runInjectionLabel(p *Pass) {
	for _, x := range unmeshedClients(p) {
		if x.asks != "" {
			x.report(p)
		}
	}
	in := newControls(intentOf(p))
	var order []mislabel
	leaks := map[mislabel]*leak{}
	for _, class := range p.Reach.Classes() {
		var found *leak // of the class, made when it is needed
		for _, w := range class {
			m, ok := mislabelOf(p, w)
			if !ok {
				continue
			}
			if found == nil {
				list, more := in.of(class[0], anyPort)
				l := leakOf(p, list, more, func(*flow.Trace) bool { return true })
				found = &l
			}
			if !found.found() {
				break
			}
			if leaks[m] == nil {
				leaks[m] = &leak{}
				order = append(order, m)
			}
			leaks[m].add(*found, w)
		}
	}
	for _, m := range order {
		l := leaks[m]
		var edits []Edit
		if value, found := strings.CutPrefix(m.write, "write "); found {
			edits = []Edit{{m.object, m.field, value}}
		}
		f := l.finding(p, Finding{
			Object: m.object, Field: m.field, Label: "enables nothing", Edits: edits,
			Help: "labels are looked at when a pod is created: restart the pods after the change",
			Message: fmt.Sprintf("%s sets %s, which never enables injection: %s; %s go out without a sidecar; %s",
				m.object, m.setting, m.why, l.what("any host"), m.write),
		})
		if f.Severity == Note && slices.ContainsFunc(l.requests(), func(c control) bool { return c.Steering != nil }) {
			f.Severity = Warning
			f.Message += ", so that what is to go through the gateway does not arrive at all"
		}
		p.Report(f)
	}
	reportIgnoredRevisions(p, in)
}

// reportIgnoredRevisions is about namespaces that name a revision which closes
// the mesh beside the label that gives them the default one, which does not.
func reportIgnoredRevisions(p *Pass, in *controls) {
	named := func(ns *model.Namespace) (string, *model.MeshConfig) {
		revision := ns.Object.Labels[model.RevisionLabel]
		return revision, p.Mesh.Revisions[cmp.Or(p.Mesh.RevisionTags[revision], revision)]
	}
	var order []*model.Namespace
	workloads := map[*model.Namespace][]*model.Workload{}
	for _, class := range p.Reach.Classes() {
		w := class[0]
		ns := p.Mesh.Namespaces[w.Namespace]
		if !in.captured(w) || ns == nil || ns.Object == nil || ns.Labels[model.InjectionLabel] != "enabled" || ns.Object.Labels[model.RevisionLabel] == "" {
			continue
		}
		_, config := named(ns)
		if config == nil || config == p.Mesh.ConfigFor(w) {
			continue
		}
		if _, closed := closedMeshOf(config); !closed {
			continue
		}
		if _, closed := in.closes(w); closed {
			continue
		}
		if workloads[ns] == nil {
			order = append(order, ns)
		}
		workloads[ns] = append(workloads[ns], class...)
	}
	for _, ns := range order {
		shown := in.proveUnregistered(workloads[ns][0], func(t *flow.Trace) bool { return t.Outcome == flow.Allowed && t.Via == flow.ViaPassthrough })
		if shown == nil {
			continue
		}
		revision, config := named(ns)
		closed, _ := closedMeshOf(config)
		closed.Message = fmt.Sprintf("revision %s is REGISTRY_ONLY", revision)
		ids := workloadIDs(workloads[ns])
		p.Report(Finding{
			Object: ns.Object, Field: labelField(model.RevisionLabel), Label: "not looked at", Flow: &shown.Flow, Trace: shown.Trace,
			Workloads: ids, Related: []Related{closed},
			Message: fmt.Sprintf("%s sets %s=%q, which never counts: %s=enabled beside it is looked at first; the default revision injects %s, and lets them reach hosts that nothing registers, which revision %s does not; remove the label %s",
				ns.Object, model.RevisionLabel, revision, model.InjectionLabel, upTo3(ids), revision, model.InjectionLabel),
		})
	}
}

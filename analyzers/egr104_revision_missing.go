package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/netpol"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID:   "EGR104",
	Name: "injection-revision-missing",
	Doc: Doc{
		Title: "A label asks for a control plane that is not installed",
		What: "`istio.io/rev` of a namespace or a pod names a revision or revision tag that the input does not install, although it " +
			"installs others; or `istio-injection=enabled` asks for the default revision, and the input only installs named ones " +
			"without the tag `default`.",
		Why: "No webhook selects the pods. They start without a proxy and without an error, and no control of the mesh holds for what they send. It happens " +
			"when an old revision is removed after an upgrade.",
		Bad:  labelledShop("istio.io/rev: 1-22"),
		Good: labelledShop("istio-injection: enabled"),
		Fix: "Name a revision that is installed, or set up the tag (`istioctl tag set`), and restart the pods. If the revision is installed from " +
			"elsewhere, give that installation to egresslint too.",
		Silent: "The input has no control plane, or only one, which istioctl installs and makes the default; its webhooks select the pods; the manifests control nothing of what they send. " +
			"Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio/istio manifests/charts/istio-control/istio-discovery/templates/revision-tags-mwc.yaml",
			"https://istio.io/latest/docs/setup/upgrade/canary/",
		},
	},
	Severity:         Error,
	SecuritySeverity: 7.4,
	Run:              runRevisionMissing,
})

func runRevisionMissing(p *Pass) {
	in := newControls(intentOf(p))
	network := netpol.New(p.Mesh)
	var all escapes
	for _, class := range p.Reach.Classes() {
		var found *leak // of the class, made when it is needed
		for _, w := range class {
			c, ok := revisionMissing(p, w)
			if !ok {
				continue
			}
			if found == nil {
				l := in.undecided(class[0])
				found = &l
			}
			if closedByNetwork(network, w, found) {
				c.todo = "NetworkPolicies keep them from the internet all the same"
			}
			all.add(w, c, *found)
		}
	}
	for _, x := range all.order {
		f := Finding{
			Label: "no such revision in the input",
			Help:  "labels are looked at when a pod is created: restart the pods after the change",
			Message: fmt.Sprintf("%s no proxy unless another installation injects it; %s would not be controlled; %s",
				x.subject("gets", "get"), x.what("any host"), x.why),
		}
		if x.todo != "" {
			f.Severity = Note
			f.Message += "; " + x.todo
		}
		p.Report(x.finding(p, f))
	}
}

// undecided keeps the controlled requests of a workload of which it is not known
// whether a proxy sees them.
func (c *controls) undecided(w *model.Workload) leak {
	list, more := c.of(w, anyPort)
	if _, closed := c.closes(w); !closed {
		// The revision that is missing has no configuration to ask. Where every
		// one that is installed is closed, it was meant to be too.
		if because, ok := closedRevisions(c.pass.Mesh); ok {
			for _, port := range c.ports {
				d := c.anyName(port)
				list = append(list, control{flow.Flow{From: reach.From(w), Host: d.Host, Port: port, Scheme: flow.TCP}, d, nil, nil, because})
			}
		}
	}
	l := leak{more: more}
	for _, request := range list {
		if t := c.pass.Reach.Trace(request.Request); t.Outcome == flow.Unknown && t.Reason == flow.Capture {
			l.open = append(l.open, request)
		}
	}
	return l
}

// closedRevisions returns a place that closes the mesh, if all named revisions of
// the input are REGISTRY_ONLY and no default one is installed.
func closedRevisions(mesh *model.Mesh) (Related, bool) {
	if mesh.Config.Source != nil && mesh.Config.Revision == "" {
		return Related{}, false
	}
	var first Related
	for i, name := range slices.Sorted(maps.Keys(mesh.Revisions)) {
		because, closed := closedMeshOf(mesh.Revisions[name])
		if !closed {
			return Related{}, false
		}
		if i == 0 {
			first = because
			first.Message = fmt.Sprintf("revision %s is REGISTRY_ONLY", name)
		}
	}
	return first, first.Message != ""
}

// closedByNetwork reports whether NetworkPolicies stop all these requests.
func closedByNetwork(network *netpol.Policies, w *model.Workload, l *leak) bool {
	for _, port := range l.ports() {
		if internet := network.Internet(w, port, corev1.ProtocolTCP); !internet.Closed() {
			return false
		}
	}
	return true
}

// revisionMissing tells that the labels of a workload, or of its namespace, ask
// for a revision that the input does not install: the one thing that package
// capture leaves undecided because of such a label.
func revisionMissing(p *Pass, w *model.Workload) (cause, bool) {
	c := p.Reach.Sim.Capture(w)
	if c.Mode != capture.Undecided || len(c.Because) != 1 || systemNamespace(p, w.Namespace) {
		return cause{}, false
	}
	for _, key := range []string{model.InjectionLabel, model.RevisionLabel, injectKey} {
		if strings.HasSuffix(c.Because[0].Field, labelField(key)) {
			return cause{why: c.Why, place: placeOf(w, c.Because)}, true
		}
	}
	return cause{}, false
}

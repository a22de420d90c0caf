package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR603", Name: "dns-capture-disabled", Severity: Error, SecuritySeverity: 7.8,
	Run: runDNSCaptureDisabled,
	Doc: Doc{
		Title: "Without DNS capture clients dial the real address and skip the waypoint",
		What: "Workloads in ambient mode have DNS capture off (annotation `ambient.istio.io/dns-capture: \"false\"`, or `cni.ambient.dnsCapture: false` of the installation), " +
			"and reach hosts directly that ServiceEntries without `addresses` bind to a waypoint, or would, if a NetworkPolicy did not stop them, so that these requests fail.",
		Why: "Such a host has an address of istiod's own making, which only ztunnel's DNS gives out. Who asks the cluster's DNS dials the real address, " +
			"which ztunnel does not know and passes on.",
		Bad:  ambientDoc([]string{"      labels: {app: orders}\n", "      labels: {app: orders}\n      annotations:\n        ambient.istio.io/dns-capture: \"false\"\n"}),
		Good: ambientDoc(nil),
		Fix:  "Leave DNS capture on, which is the default, or list the host's `addresses` in the ServiceEntry. Close the clients' way straight out with a NetworkPolicy.",
		Silent: "The ServiceEntries list addresses; network policies keep the clients from the waypoint too; the binding to the waypoint is unknown. " +
			"Resolvers of the application's own (DNS over HTTPS, a hosts file) are not in the manifests.",
		Sources: []string{
			"istio releasenotes/notes/54935.yaml",
			"istio cni/pkg/iptables/iptables.go (AppendInpodRules)",
		},
	},
})

const dnsCaptureAnnotation = "ambient.istio.io/dns-capture"

func runDNSCaptureDisabled(p *Pass) {
	push := p.Reach.Sim.Push()
	hosts := slices.DeleteFunc(served(waypointHosts(p)), func(h waypointHost) bool {
		return len(h.Service.Entry.Spec.GetAddresses()) > 0 || len(push.AmbientAddresses(h.Service)) == 0
	})
	type off struct {
		proof     *proof
		host      waypointHost
		workloads []*model.Workload
	}
	var order []exclusion
	found := map[exclusion]*off{}
	for _, class := range p.classesIn(capture.Ambient) {
		if p.Reach.Sim.Capture(class[0]).DNSCapture {
			continue
		}
		for _, h := range hosts[:min(len(hosts), maxSkipped)] {
			proof := h.attempt(p, class[0], func(t *flow.Trace) bool {
				return leavesDirectly(t) && t.Via == flow.ViaPassthrough || stoppedByNetwork(t) && p.reaches(class[0], h.Binding.Waypoint)
			})
			if proof == nil {
				continue
			}
			for _, w := range class {
				place := dnsCapturePlace(p, w)
				if found[place] == nil {
					own := *proof
					own.Flow.From = reach.From(w)
					found[place], order = &off{&own, h, nil}, append(order, place)
				}
				found[place].workloads = append(found[place].workloads, w)
			}
			break
		}
	}
	for _, place := range order {
		o := found[place]
		witness := o.proof.Flow
		f := Finding{Object: place.object, Field: place.field, Label: "names are resolved past ztunnel", Workloads: workloadIDs(o.workloads), Flow: &witness, Trace: p.Reach.Trace(witness),
			Related: []Related{{o.host.Service.Object, o.host.Service.HostField, fmt.Sprintf("%s has no address but the one that ztunnel's DNS gives out", o.host.name())}}}
		f.Message = fmt.Sprintf("%s %s DNS capture off and %s %s by its real address, around waypoint %s; turn DNS capture on or list addresses in %s",
			upTo3(f.Workloads), plural(len(f.Workloads), "has", "have"), plural(len(f.Workloads), "reaches", "reach"), o.host.name(), o.host.Binding.Waypoint.ID(), o.host.Service.Object)
		if f.Trace.Outcome == flow.Blocked {
			f.Severity = Error // a gap
			f.Message = fmt.Sprintf("%s %s DNS capture off: requests to %s go to its real address instead of waypoint %s, where NetworkPolicy %s stops them; turn DNS capture on or list addresses in %s",
				upTo3(f.Workloads), plural(len(f.Workloads), "has", "have"), o.host.name(), o.host.Binding.Waypoint.ID(), f.Trace.Policy, o.host.Service.Object)
		}
		p.Report(f)
	}
}

// dnsCapturePlace returns where DNS capture of a workload is switched off.
func dnsCapturePlace(p *Pass, w *model.Workload) exclusion {
	if _, ok := w.Annotations[dnsCaptureAnnotation]; ok {
		return exclusion{w.Object, w.Field(annotationField(dnsCaptureAnnotation))}
	}
	config := p.Mesh.ConfigFor(w)
	for _, path := range []string{"cni.ambient.dnsCapture", "ambient.dnsCapture"} {
		if _, ok := config.Value(path); ok && config.ValuesSource != nil && config.ValuesSource.At("").File != "" {
			return exclusion{config.ValuesSource, strings.TrimPrefix(config.ValuesPrefix+"."+path, ".")}
		}
	}
	return placeOf(w, p.Reach.Sim.Capture(w).Because)
}

package analyzers

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR110", Name: "capture-escape-capability", Severity: Warning, SecuritySeverity: 6.5,
	Run: runEscapeCapability,
	Doc: Doc{
		Title: "A container beside the sidecar may remove the redirect to it",
		What: "An application container of a pod with a sidecar is privileged, or has the capability NET_ADMIN, SYS_ADMIN or ALL, where the manifests control what " +
			"the workload sends and no NetworkPolicy stops it.",
		Why: "All containers of a pod share its network. Whoever may change the packet filter takes the redirect away, and from then on nothing of what the pod sends goes " +
			"through the sidecar, its routes and its outbound policy.",
		Bad:  documents(closedMesh, shopNamespace, capableOrders("NET_ADMIN")),
		Good: documents(closedMesh, shopNamespace, capableOrders("NET_BIND_SERVICE")),
		Fix:  "Drop the capability. Where the application needs it, stop what it may send with a NetworkPolicy, which the pod cannot change.",
		Silent: "The manifests control nothing of what the workload sends; a NetworkPolicy stops it; containers that run as another user than root and may not gain privileges; init containers; Istio's own " +
			"containers; the capabilities that every container has by default; namespaces of Kubernetes and Istio; pods without a sidecar.",
		Sources: []string{
			"istio tools/istio-iptables/pkg/capture/run.go",
			"https://istio.io/latest/docs/ops/best-practices/security/#understand-traffic-capture-limitations",
		},
	},
})

func runEscapeCapability(p *Pass) {
	in := newControls(intentOf(p))
	var all escapes
	for _, class := range p.Reach.Classes() {
		if class[0].Pod == nil || !in.captured(class[0]) || systemNamespace(p, class[0].Namespace) {
			continue
		}
		var found *leak // of the class, made when it is needed
		for _, w := range class {
			power, field := powerOf(w)
			if field == "" {
				continue
			}
			if found == nil {
				found = in.leakAround(class[0])
			}
			all.add(w, cause{why: power, place: exclusion{w.Object, w.Field(field)}}, *found)
		}
	}
	for _, x := range all.order {
		p.Report(x.finding(p, Finding{
			Label: "may remove the redirect to the sidecar",
			Help:  "where the application needs it, stop what it may send with a NetworkPolicy",
			Message: fmt.Sprintf("%s %s, with which a process may remove the redirect to its sidecar; %s can then go past it; drop it, or stop them with a NetworkPolicy",
				x.subject("has", "have"), x.why, x.what("any host")),
		}))
	}
}

// leakAround is what a process gets out that goes around its sidecar, of the
// requests that otherwise go through it.
func (c *controls) leakAround(w *model.Workload) *leak {
	// One way out proves it: that of the web, if there is any.
	list, more := c.of(w, func(port int) bool { return port == 80 || port == 443 })
	if len(list) == 0 {
		list, more = c.of(w, anyPort)
	}
	list = slices.DeleteFunc(list, func(x control) bool { return c.pass.Reach.Sim.Verdict(x.Request).Via == flow.ViaUncaptured })
	for i := range list {
		list[i].Request.Bypass = true
	}
	l := leakOf(c.pass, list, more, anyTrace)
	l.stopped, l.sorted = nil, nil // a NetworkPolicy holds whatever the process may do
	return &l
}

// powerOf says by which field of a pod an application container may change the
// pod's packet filter, "" if by none.
func powerOf(w *model.Workload) (power, field string) {
	if w.Pod == nil {
		return "", ""
	}
	for i := range w.Pod.Containers {
		c := &w.Pod.Containers[i]
		if c.SecurityContext == nil || c.Name == model.ProxyContainer || harmless(w.Pod, c) {
			continue
		}
		at := fmt.Sprintf("spec.containers[%d].securityContext.", i)
		if privileged := c.SecurityContext.Privileged; privileged != nil && *privileged {
			return fmt.Sprintf("privileged container %s", c.Name), at + "privileged"
		}
		if c.SecurityContext.Capabilities == nil {
			continue
		}
		for j, capability := range c.SecurityContext.Capabilities.Add {
			name := strings.TrimPrefix(strings.ToUpper(string(capability)), "CAP_")
			if slices.Contains([]string{"NET_ADMIN", "SYS_ADMIN", "ALL"}, name) {
				return fmt.Sprintf("container %s with capability %s", c.Name, name), fmt.Sprintf("%scapabilities.add[%d]", at, j)
			}
		}
	}
	return "", ""
}

// harmless reports whether a container cannot use the capabilities that it is
// given: they are those of root, and it is not and cannot become root.
func harmless(pod *corev1.PodSpec, c *corev1.Container) bool {
	escalates := c.SecurityContext.AllowPrivilegeEscalation
	if escalates == nil || *escalates {
		return false
	}
	user, nonRoot := c.SecurityContext.RunAsUser, c.SecurityContext.RunAsNonRoot
	if sc := pod.SecurityContext; sc != nil {
		if user == nil {
			user = sc.RunAsUser
		}
		if nonRoot == nil {
			nonRoot = sc.RunAsNonRoot
		}
	}
	return nonRoot != nil && *nonRoot || user != nil && *user != 0
}

// capableOrders is workload shop/orders with a capability.
func capableOrders(capability string) string {
	return ordersDeployment + "        securityContext:\n          capabilities:\n            add: [" + capability + "]\n"
}

package analyzers

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

var _ = register(&Analyzer{
	ID: "EGR702", Name: "netpol-not-an-egress-policy", Severity: Error, SecuritySeverity: 7.5,
	Run: runNotAnEgressPolicy,
	Doc: Doc{
		Title: "A NetworkPolicy that means to restrict egress does not",
		What: "A NetworkPolicy has `egress: []` and no `policyTypes`, or egress rules and `policyTypes` without Egress. " +
			"A warning: its name speaks of egress, and it has nothing about egress.",
		Why: "Without `policyTypes` a policy restricts ingress, and egress only if it has an egress rule: `egress: []` is none. " +
			"The pods keep their way out, and nobody may connect to them any more.",
		Bad: documents(shopNamespace, ordersDeployment, `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
  namespace: shop
spec:
  podSelector: {}
  egress: []
`),
		Good: documents(shopNamespace, ordersDeployment, `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: []
`),
		Fix:    "Write `policyTypes: [Egress]`, with Ingress beside it if the policy is to restrict that too.",
		Silent: "Other policies isolate the egress of every pod that this one selects.",
		Sources: []string{
			"https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-resource",
			"kubernetes api networking/v1 types.go (PolicyTypes)",
		},
	},
})

func runNotAnEgressPolicy(p *Pass) {
	for _, np := range p.Mesh.NetworkPolicies {
		f, ok := notEgress(np)
		if !ok {
			continue
		}
		var open []*model.Workload
		selected := 0
		for _, class := range p.classesOf(np.Namespace) {
			if !selectsPod(&np.Spec.Spec.PodSelector, class[0]) {
				continue
			}
			selected++
			if answer := p.network.internet(class[0], worldPort, "TCP"); !answer.Isolated && answer.Unknown == nil {
				open = append(open, class...)
			}
		}
		if selected > 0 && len(open) == 0 {
			continue
		}
		f.Workloads = workloadIDs(open)
		who := "its pods stay"
		if len(open) > 0 {
			who = fmt.Sprintf("%s %s", upTo3(f.Workloads), plural(len(open), "stays", "stay"))
		}
		f.Message = fmt.Sprintf(f.Message, who)
		p.Report(f)
	}
}

// notEgress tells what is wrong with a NetworkPolicy that means to restrict egress
// and does not; its message has a place for those that stay open.
func notEgress(np *model.NetworkPolicy) (Finding, bool) {
	spec := &np.Spec.Spec
	f := Finding{Object: np.Object, Severity: Error, SecuritySeverity: 7.5, Label: "restricts no egress", Fix: "policyTypes:\n- Egress\n"}
	name := "NetworkPolicy " + np.ID()
	switch {
	case isolatesEgress(np):
		return f, false
	case len(spec.PolicyTypes) == 0 && spec.Egress != nil:
		f.Field = "spec.egress"
		f.Message = name + " has egress: [] but no policyTypes, so that it restricts ingress alone: %s open to the internet; write policyTypes: [Egress]"
	case len(spec.Egress) > 0 || spec.Egress != nil && !slices.Contains(spec.PolicyTypes, networkingv1.PolicyTypeEgress):
		f.Field = "spec.policyTypes"
		f.Fix = "policyTypes:\n- Ingress\n- Egress\n"
		f.Message = name + " has an egress section, which counts for nothing because policyTypes does not list Egress: %s open to the internet; add Egress to policyTypes"
	case strings.Contains(np.Name, "egress") && !strings.Contains(np.Name, "ingress") && !strings.Contains(np.Name, "gateway") && len(spec.Ingress) == 0:
		f.Field, f.Severity, f.SecuritySeverity = "metadata.name", Warning, 5.0
		f.Message = name + " says nothing about egress, whatever its name, and lets nobody in: %s open to the internet; write policyTypes: [Egress]"
	default:
		return f, false
	}
	return f, true
}

// selectsPod reports whether a selector certainly selects a workload's pods.
func selectsPod(selector *metav1.LabelSelector, w *model.Workload) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && (s.Empty() || w.PodUnknown == "" && s.Matches(labels.Set(w.Labels)))
}

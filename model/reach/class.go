package reach

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/traffic"
)

// classify groups the clients by what configuration can tell apart: namespace,
// identity and address as far as policies name them, capture, and those labels
// that some selector names.
func (r *Reach) classify() {
	keys := selectorKeys(r.Mesh)
	named, blocks := sources(r.Mesh, nil)
	byKey := map[string]int{}
	r.class = map[*model.Workload]*model.Workload{}
	for _, w := range r.Mesh.Workloads {
		c := r.Sim.Capture(w)
		if c.Mode == capture.Router || c.Mode == capture.Waypoint {
			continue
		}
		var b strings.Builder
		hostNetwork := w.Pod != nil && w.Pod.HostNetwork // which network policies do not isolate
		account := w.ServiceAccount
		if !named.has(account) {
			account = ""
		}
		signature := c.Signature()
		fmt.Fprintf(&b, "%q %q %q %t %q %v %s %s", w.Namespace, account, signature, hostNetwork, w.PodUnknown, r.Sim.SourceBlocks(w, blocks), traffic.Escapes(w), traffic.Aliases(w))
		labels := b.Len()
		for _, k := range keys {
			if v, ok := w.Labels[k]; ok {
				fmt.Fprintf(&b, " %q=%q", k, v)
			} else if open, ok := w.Open[k]; ok {
				fmt.Fprintf(&b, " %q of %s %q", k, w.Name, open.Values)
			}
		}
		i, ok := byKey[b.String()]
		if !ok {
			i = len(r.classes)
			byKey[b.String()] = i
			r.classes = append(r.classes, nil)
			r.enrol(w, c, signature, b.String()[labels:])
		}
		r.classes[i] = append(r.classes[i], w)
		r.class[w] = r.classes[i][0]
	}
}

// selectorKeys returns the label keys that any selector over client pods names,
// sorted.
func selectorKeys(mesh *model.Mesh) []string {
	var keys []string
	add := func(labels map[string]string) {
		for k := range labels {
			keys = append(keys, k)
		}
	}
	for _, s := range mesh.Sidecars {
		add(s.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, d := range mesh.DestinationRules {
		add(d.Spec.GetWorkloadSelector().GetMatchLabels())
	}
	for _, f := range mesh.EnvoyFilters {
		add(f.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, vs := range mesh.VirtualServices {
		for _, h := range vs.Spec.GetHttp() {
			for _, m := range h.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
		for _, t := range vs.Spec.GetTls() {
			for _, m := range t.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
		for _, t := range vs.Spec.GetTcp() {
			for _, m := range t.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
	}
	for _, policy := range mesh.AuthorizationPolicies {
		add(policy.Spec.GetSelector().GetMatchLabels())
	}
	for _, np := range mesh.NetworkPolicies {
		keys = append(keys, networkPolicyKeys(&np.Spec.Spec)...)
	}
	for _, u := range mesh.Unfilled() {
		keys = append(keys, u.SelectorKeys()...)
	}
	if len(mesh.ClusterNetworkPolicies)+len(mesh.PluginPolicies)+len(mesh.Unmodelled) > 0 {
		// Policies and extensions whose selectors are read elsewhere, or not at
		// all: any label may matter.
		for _, w := range mesh.Workloads {
			add(w.Labels)
		}
	}
	keys = append(keys, "istio.io/rev")
	slices.Sort(keys)
	return slices.Compact(keys)
}

// networkPolicyKeys returns the label keys that a policy asks pods for, its own
// and those that connect to them.
func networkPolicyKeys(spec *networkingv1.NetworkPolicySpec) []string {
	var keys []string
	add := func(s *metav1.LabelSelector) {
		if s == nil {
			return
		}
		for k := range s.MatchLabels {
			keys = append(keys, k)
		}
		for _, e := range s.MatchExpressions {
			keys = append(keys, e.Key)
		}
	}
	add(&spec.PodSelector)
	for _, rule := range spec.Ingress {
		for _, peer := range rule.From {
			add(peer.PodSelector)
		}
	}
	for _, rule := range spec.Egress {
		for _, peer := range rule.To {
			add(peer.PodSelector)
		}
	}
	return keys
}

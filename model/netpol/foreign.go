package netpol

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// foreignKind is a kind of network policy that is not Kubernetes' own and whose
// rules are not interpreted.
type foreignKind struct {
	// namespaced policies hold for the pods of their namespace only.
	namespaced bool
	// applies reports whether a policy of the kind may hold for a pod in a
	// direction; nil means that it may.
	applies func(spec map[string]any, w *model.Workload, direction networkingv1.PolicyType) bool
}

// foreignKinds are the kinds that may stop or open connections of a pod, by
// "group/Kind".
var foreignKinds = map[string]foreignKind{
	"cilium.io/CiliumNetworkPolicy":               {namespaced: true, applies: ciliumApplies},
	"cilium.io/CiliumClusterwideNetworkPolicy":    {applies: ciliumApplies},
	"projectcalico.org/NetworkPolicy":             {namespaced: true, applies: calicoApplies},
	"projectcalico.org/GlobalNetworkPolicy":       {applies: calicoApplies},
	"crd.projectcalico.org/NetworkPolicy":         {namespaced: true, applies: calicoApplies},
	"crd.projectcalico.org/GlobalNetworkPolicy":   {applies: calicoApplies},
	"policy.networking.k8s.io/*":                  {},
	"crd.antrea.io/NetworkPolicy":                 {namespaced: true},
	"crd.antrea.io/ClusterNetworkPolicy":          {},
	"k8s.ovn.org/EgressFirewall":                  {namespaced: true, applies: egressOnly},
	"network.openshift.io/EgressNetworkPolicy":    {namespaced: true, applies: egressOnly},
	"networking.gke.io/FQDNNetworkPolicy":         {namespaced: true, applies: egressOnly},
	"vpcresources.k8s.aws/SecurityGroupPolicy":    {namespaced: true},
	"networking.k8s.aws/ApplicationNetworkPolicy": {namespaced: true},
	"networking.k8s.aws/ClusterNetworkPolicy":     {},
	"policy.linkerd.io/EgressNetwork":             {namespaced: true, applies: egressOnly},
}

// foreign returns the policies of other kinds that may hold for a pod in a
// direction. Whether they let a connection through is not known: most can deny
// what a NetworkPolicy allows, and allow what one denies.
func (p *Policies) foreign(pod *model.Workload, direction networkingv1.PolicyType) []*manifest.Object {
	var out []*manifest.Object
	for _, o := range p.mesh.Unmodelled {
		kind, ok := foreignKinds[o.Group()+"/"+o.Kind]
		if !ok {
			kind, ok = foreignKinds[o.Group()+"/*"]
		}
		if !ok || kind.namespaced && o.Namespace != pod.Namespace {
			continue
		}
		if kind.applies != nil && !anySpec(o, func(spec map[string]any) bool { return kind.applies(spec, pod, direction) }) {
			continue
		}
		out = append(out, o)
	}
	return out
}

// anySpec asks about each rule set of an object: spec, and specs of Cilium.
func anySpec(o *manifest.Object, applies func(map[string]any) bool) bool {
	tree, _ := o.Value.(map[string]any)
	spec, ok := tree["spec"].(map[string]any)
	if ok && applies(spec) {
		return true
	}
	list, many := tree["specs"].([]any)
	for _, e := range list {
		if m, is := e.(map[string]any); is && applies(m) {
			return true
		}
	}
	return !ok && !many
}

func egressOnly(_ map[string]any, _ *model.Workload, direction networkingv1.PolicyType) bool {
	return direction == networkingv1.PolicyTypeEgress
}

// ciliumApplies: a policy without section for a direction does not restrict it,
// and one for nodes restricts no pod (Cilium documentation, "Layer 3 Examples",
// "Host Policies").
func ciliumApplies(spec map[string]any, w *model.Workload, direction networkingv1.PolicyType) bool {
	name := strings.ToLower(string(direction))
	_, allows := spec[name]
	_, denies := spec[name+"Deny"]
	if !allows && !denies {
		return false
	}
	selector, ok := spec["endpointSelector"].(map[string]any)
	if !ok {
		_, nodes := spec["nodeSelector"]
		return !nodes
	}
	match, simple := selector["matchLabels"].(map[string]any)
	if !simple || selector["matchExpressions"] != nil {
		return true
	}
	for key, value := range match {
		key = strings.TrimPrefix(strings.TrimPrefix(key, "any:"), "k8s:")
		if strings.Contains(key, ":") || strings.HasPrefix(key, "io.kubernetes.") || strings.HasPrefix(key, "io.cilium.") {
			continue // labels that Cilium derives
		}
		if v, has := w.Labels[key]; !has || v != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// calicoApplies: types restrict the direction; selectors other than the simplest
// may match (Calico documentation, "Network policy").
func calicoApplies(spec map[string]any, w *model.Workload, direction networkingv1.PolicyType) bool {
	_, egress := spec["egress"]
	_, ingress := spec["ingress"]
	types, given := spec["types"].([]any)
	restricted := direction == networkingv1.PolicyTypeEgress && egress || direction == networkingv1.PolicyTypeIngress && (ingress || !egress)
	if given {
		restricted = false
		for _, t := range types {
			restricted = restricted || fmt.Sprint(t) == string(direction)
		}
	}
	if !restricted {
		return false
	}
	selector, _ := spec["selector"].(string)
	key, value, ok := strings.Cut(selector, "==")
	if !ok || strings.ContainsAny(selector, "&|!(){}") {
		return true
	}
	key = strings.TrimSpace(key)
	value = strings.Trim(strings.TrimSpace(value), `'"`)
	if strings.HasPrefix(key, "projectcalico.org/") {
		return true
	}
	return w.Labels[key] == value
}

// undecided is the verdict where policies of other kinds may hold for a pod.
func undecided(foreign []*manifest.Object) Verdict {
	v := Verdict{Decision: Undecided, Foreign: true}
	var names []string
	for _, o := range foreign {
		names = append(names, o.String())
		v.Because = append(v.Because, flow.Because{Object: o, Field: "spec"})
	}
	v.Text = fmt.Sprintf("%s may decide, and is not interpreted", strings.Join(names, ", "))
	return v
}

package model

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// UnfilledPolicy is what is certain of a NetworkPolicy that the API server would refuse
// because of a placeholder: once that is filled in it isolates pods and lets something
// through, and nobody knows what. It is the Value of such an object among
// [Mesh.Unmodelled].
type UnfilledPolicy struct {
	// PodSelector is its selector, nil where that is not known either.
	PodSelector *metav1.LabelSelector
	// Types are the directions that it is about, empty where that is not known.
	Types []string
}

// unfilledPolicy looks what is certain of a NetworkPolicy that was refused; value is
// what else it is, if no placeholder is to blame.
func (d *decoding) unfilledPolicy(value any) any {
	if _, no := value.(refused); !no || d.problems[len(d.problems)-1].Kind != manifest.Template {
		return value
	}
	tree, err := d.tree()
	if err != nil {
		return value
	}
	u := &UnfilledPolicy{}
	selector, _ := lookup(tree, "spec.podSelector")
	if data, err := json.Marshal(selector); selector != nil && placeholder(selector) == "" && err == nil {
		s := &metav1.LabelSelector{}
		check := &policyCheck{}
		if json.Unmarshal(data, s) == nil {
			check.selector("spec.podSelector", s)
			if len(check.complaints) == 0 {
				u.PodSelector = s
			}
		}
	}
	types, _ := lookup(tree, "spec.policyTypes")
	u.Types = stringList(types)
	if slices.ContainsFunc(u.Types, func(t string) bool { return t != "Egress" && t != "Ingress" }) {
		u.Types = nil
	}
	return u
}

// addUnfilled keeps what is certain of NetworkPolicies with placeholders, unless the
// input holds a complete one of the same name.
func (m *Mesh) addUnfilled(rejected []*manifest.Object) {
	complete := map[string]bool{}
	for _, np := range m.NetworkPolicies {
		complete[np.ID()] = true
	}
	for _, o := range rejected {
		if _, ok := o.Value.(*UnfilledPolicy); ok && !complete[o.ID()] {
			m.Unmodelled = append(m.Unmodelled, o)
		}
	}
}

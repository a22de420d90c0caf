package capture

import (
	"encoding/json"
	"errors"
	"maps"

	meshconfig "istio.io/api/mesh/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
)

// selects evaluates a label selector. The API server fills in an absent one as
// the empty one, which selects everything.
func selects(selector *metav1.LabelSelector, set map[string]string) (bool, error) {
	if selector == nil {
		return true, nil
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, err
	}
	return s.Matches(labels.Set(set)), nil
}

// discovers evaluates one of meshConfig.discoverySelectors; what is no selector
// selects nothing.
func discovers(selector *meshconfig.LabelSelector, set map[string]string) bool {
	s := &metav1.LabelSelector{MatchLabels: selector.GetMatchLabels()}
	for _, e := range selector.GetMatchExpressions() {
		s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.GetKey(), Operator: metav1.LabelSelectorOperator(e.GetOperator()), Values: e.GetValues(),
		})
	}
	ok, err := selects(s, set)
	return ok && err == nil
}

// decodeValue reads a Helm value into a Go value.
func decodeValue(value, into any) error {
	if _, ok := value.(string); ok {
		return errors.New("it is text")
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// admitted are the labels that a pod has when it is created: those of its
// template and those that its controller adds, whose values are not known.
func admitted(w *model.Workload) map[string]string {
	out := maps.Clone(w.AtCreation())
	if out == nil {
		out = map[string]string{}
	}
	added := map[string]model.OpenLabel{}
	controllerLabels(w, added)
	for k := range added {
		if _, ok := out[k]; !ok {
			out[k] = "<added by the controller>" // no selector can name it
		}
	}
	return out
}

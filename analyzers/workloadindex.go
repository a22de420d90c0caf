package analyzers

import (
	"github.com/egresslint/egresslint/model"
)

// selectable returns the workloads to which a policy may apply at all, and others.
func (p *Pass) selectable(policy *model.AuthorizationPolicy) []*model.Workload {
	if p.shared == nil {
		return p.Mesh.Workloads
	}
	x := p.workloads()
	if policy.Namespace != p.Mesh.Config.GetRootNamespace() {
		return x.byNamespace[policy.Namespace]
	}
	if len(model.TargetRefs(policy.Spec)) > 0 {
		return p.Mesh.Workloads
	}
	for k, v := range policy.Spec.GetSelector().GetMatchLabels() {
		return x.byLabel[[2]string{k, v}] // any of the labels will do
	}
	return p.Mesh.Workloads
}

// labelled returns the workloads with a label.
func (p *Pass) labelled(key, value string) []*model.Workload {
	return p.workloads().byLabel[[2]string{key, value}]
}

// workloads finds those of the mesh, indexed once in a run.
func (p *Pass) workloads() *workloadIndex {
	if p.shared == nil {
		return indexWorkloads(p.Mesh.Workloads)
	}
	if p.shared.workloads == nil {
		p.shared.workloads = indexWorkloads(p.Mesh.Workloads)
	}
	return p.shared.workloads
}

// workloadIndex finds workloads, each list in the order of the input.
type workloadIndex struct {
	byNamespace map[string][]*model.Workload
	byLabel     map[[2]string][]*model.Workload
}

func indexWorkloads(list []*model.Workload) *workloadIndex {
	x := &workloadIndex{map[string][]*model.Workload{}, map[[2]string][]*model.Workload{}}
	for _, w := range list {
		x.byNamespace[w.Namespace] = append(x.byNamespace[w.Namespace], w)
		for k, v := range w.Labels {
			x.byLabel[[2]string{k, v}] = append(x.byLabel[[2]string{k, v}], w)
		}
	}
	return x
}

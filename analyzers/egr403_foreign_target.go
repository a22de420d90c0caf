package analyzers

import (
	"fmt"
	"slices"

	typev1beta1 "istio.io/api/type/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportForeignTarget reports a reference of a policy to an object of its kind that
// only another namespace has, or to a Service of a name that only a ServiceEntry
// has; true if it is one of these. A reference means an object of the policy's own
// namespace (istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
func reportForeignTarget(p *Pass, policy *model.AuthorizationPolicy, i int, ref *typev1beta1.PolicyTargetReference, ofKind []*manifest.Object) bool {
	name, field := ref.GetName(), fmt.Sprintf("spec.targetRefs[%d]", i)
	if policy.Spec.GetTargetRef() != nil {
		field = "spec.targetRef"
	}
	f := severityOfNothing(policy, nil)
	f.Object, f.Label = policy.Object, "refers to nothing"
	if ref.GetKind() == "Service" {
		entry := slices.IndexFunc(p.Mesh.ServiceEntries, func(e *model.ServiceEntry) bool { return e.Namespace == policy.Namespace && e.Name == name })
		if entry < 0 || slices.ContainsFunc(p.Mesh.KubeServices, func(s *model.KubeService) bool { return s.Namespace == policy.Namespace && s.Name == name }) {
			return false
		}
		o := p.Mesh.ServiceEntries[entry].Object
		f.Field, f.Help = field+".kind", "write kind: ServiceEntry and group: networking.istio.io"
		f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) applies to no workload by targetRefs[%d]: namespace %q has no Service %q but a ServiceEntry of that name; %s",
			policy.ID(), policy.Spec.GetAction(), i, policy.Namespace, name, f.Help)
		f.Related = []Related{{o, "metadata.name", "the ServiceEntry of that name"}}
		p.Report(f)
		return true
	}
	var elsewhere *manifest.Object
	for _, o := range ofKind {
		switch {
		case o.Name != name:
		case o.Namespace == policy.Namespace:
			return false
		case elsewhere != nil:
			return false // which of them is meant nobody knows
		default:
			elsewhere = o
		}
	}
	if elsewhere == nil {
		return false
	}
	f.Severity, f.SecuritySeverity = Error, 7.2
	f.Field = "metadata.namespace"
	if f.Object.At(f.Field).File == "" || f.Object.At(f.Field) == f.Object.At("") {
		f.Field = field + ".name"
	}
	f.Help = fmt.Sprintf("move the policy to namespace %q", elsewhere.Namespace)
	f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) applies to no workload by targetRefs[%d]: it means %s %q of its own namespace, and only namespace %q has one; %s",
		policy.ID(), policy.Spec.GetAction(), i, ref.GetKind(), name, elsewhere.Namespace, f.Help)
	f.Related = []Related{{elsewhere, "metadata.name", "the one that is meant"}}
	p.Report(f)
	return true
}

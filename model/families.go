package model

import corev1 "k8s.io/api/core/v1"

// DualStack returns a Service that shows that the cluster has addresses of both
// families, nil if none does. Which of a pod's addresses is its first no manifest
// tells.
func (m *Mesh) DualStack() *KubeService { return m.dualStack }

func (m *Mesh) findDualStack() {
	for _, s := range m.KubeServices {
		spec := &s.Spec.Spec
		if len(spec.ClusterIPs) > 1 || len(spec.IPFamilies) > 1 || spec.IPFamilyPolicy != nil && *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack {
			m.dualStack = s
			return
		}
	}
}

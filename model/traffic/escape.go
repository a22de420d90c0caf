package traffic

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
)

// leavesItsNetwork reports whether a workload's containers may leave the network
// namespace of their pod, where network policies hold for them: whoever is
// privileged, sees the node's processes, may administer the system, load modules
// into its kernel or read any file, or has the directories of the node from which
// containers are run enters that of the node. known is false where the manifests do not show the pod.
func leavesItsNetwork(w *model.Workload) (escapes, known bool) {
	if w.Pod == nil {
		return false, false
	}
	if w.Pod.HostPID {
		return true, true
	}
	for _, v := range w.Pod.Volumes {
		if v.HostPath != nil && rulesTheNode(v.HostPath.Path) {
			return true, true
		}
	}
	for _, c := range slices.Concat(w.Pod.Containers, w.Pod.InitContainers) {
		sc := c.SecurityContext
		if sc == nil || c.Name == model.ProxyContainer || c.Name == "istio-init" {
			continue
		}
		if sc.Privileged != nil && *sc.Privileged {
			return true, true
		}
		if sc.Capabilities != nil && slices.ContainsFunc(sc.Capabilities.Add, func(c corev1.Capability) bool {
			return contains([]string{"ALL", "DAC_READ_SEARCH", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO"}, strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
		}) {
			return true, true
		}
	}
	return false, true
}

// nodePaths are directories of a node that let whoever has them, or one above or
// below, run what he likes on the node: sockets of container runtimes, the
// processes and devices, and what the kubelet runs.
var nodePaths = []string{
	"/dev", "/etc/kubernetes", "/etc/cni", "/opt/cni", "/proc", "/root", "/run/containerd", "/run/crio", "/run/docker.sock", "/run/k3s",
	"/var/lib/kubelet", "/var/run", "/var/lib/containerd", "/var/lib/docker", "/var/lib/rancher",
}

// rulesTheNode reports whether a hostPath is one of [nodePaths], or holds one.
func rulesTheNode(name string) bool {
	name = path.Clean("/" + name)
	return slices.ContainsFunc(nodePaths, func(p string) bool {
		return name == "/" || name == p || strings.HasPrefix(name, p+"/") || strings.HasPrefix(p, name+"/")
	})
}

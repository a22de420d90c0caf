package traffic

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/netpol"
)

// nodePorts are those from which Kubernetes takes one for a port that names none:
// the first, one in the middle and the last (kube-apiserver
// --service-node-port-range).
var nodePorts = []int{30000, 31383, 32767}

// admitsByNode reports whether network policies let a pod connect to a port that nodes
// lead to a gateway's. What comes that way is the node's for the gateway's policies,
// and what comes from its own node they never stop (Kubernetes documentation, Network
// Policies): it is not known whether they stop the rest.
func (s *Simulation) admitsByNode(client *model.Workload, d door) netpol.Decision {
	key := clientDoor{client, d}
	if decision, known := s.ways.byNode[key]; known {
		return decision
	}
	decision := netpol.Denied
	if ports := s.portsOfNodes(d); len(ports) > 0 {
		decision = s.network.Private(client, ports, corev1.ProtocolTCP)
	}
	if decision == netpol.Allowed {
		from := netpol.Peer{Addr: netip.MustParseAddr("10.0.0.0")}
		if s.network.Ingress(d.gateway, d.port, corev1.ProtocolTCP, from).Decision != netpol.Allowed {
			decision = netpol.Undecided
		}
	}
	s.ways.byNode[key] = decision
	return decision
}

// portsOfNodes are the ports of nodes that lead to a port of a gateway's pod, in the
// order of the registry.
func (s *Simulation) portsOfNodes(d door) []int {
	push := s.push(s.mesh.ConfigFor(d.gateway))
	var out []int
	for _, svc := range push.Services() {
		if !svc.Kubernetes() || !selects(svc, d.gateway) || svc.Namespace != d.gateway.Namespace {
			continue
		}
		spec := &svc.Kube.Spec.Spec
		allocates := spec.AllocateLoadBalancerNodePorts == nil || *spec.AllocateLoadBalancerNodePorts
		for i, port := range svc.Ports {
			leads := slices.ContainsFunc(push.OwnEndpoints(svc, port), func(e model.Endpoint) bool { return e.Workload == d.gateway && e.Port == d.port })
			switch node := int(spec.Ports[i].NodePort); {
			case !leads || spec.Type != corev1.ServiceTypeNodePort && spec.Type != corev1.ServiceTypeLoadBalancer:
			case node > 0:
				out = append(out, node)
			case spec.Type == corev1.ServiceTypeNodePort || allocates:
				out = append(out, nodePorts...)
			}
		}
	}
	return out
}

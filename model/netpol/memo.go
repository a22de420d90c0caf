package netpol

import (
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// memo keeps what was answered: the flows of one workload ask few questions, each
// many times.
type memo struct {
	mu       sync.Mutex
	pods     map[podKey]Verdict
	internet map[internetKey][]piece
	// serving are the workloads with some labels.
	serving map[string][]*model.Workload
}

// podKey is a question about two pods.
type podKey struct {
	pod, peer *model.Workload
	direction networkingv1.PolicyType
	port      int
	protocol  corev1.Protocol
	v6        bool
}

// internetKey is a question about all addresses of the internet. host is "" where
// no policy is about names.
type internetKey struct {
	pod      *model.Workload
	port     int
	protocol corev1.Protocol
	host     string
}

// podVerdict answers a question about two pods.
func (q *question) podVerdict(what func() string) Verdict {
	if q.peer == nil {
		return q.verdict(what())
	}
	m := &q.policies.memo
	key := podKey{q.pod, q.peer, q.direction, q.port, q.protocol, q.v6}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.pods[key]
	if !ok {
		v = q.verdict(what())
		if m.pods == nil {
			m.pods = map[podKey]Verdict{}
		}
		m.pods[key] = v
	}
	return v
}

// internetPieces answers a question about the internet.
func (q *question) internetPieces() []piece {
	m := &q.policies.memo
	key := internetKey{q.pod, q.port, q.protocol, ""}
	if mesh := q.policies.mesh; len(mesh.ClusterNetworkPolicies)+len(mesh.PluginPolicies) > 0 {
		key.host = q.host
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	pieces, ok := m.internet[key]
	if !ok {
		pieces = q.pieces()
		if m.internet == nil {
			m.internet = map[internetKey][]piece{}
		}
		m.internet[key] = pieces
	}
	return pieces
}

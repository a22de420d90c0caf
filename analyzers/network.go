package analyzers

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/netpol"
	"github.com/egresslint/egresslint/model/reach"
)

// network asks the network policies of a mesh, each question once a run.
type network struct {
	policies *netpol.Policies
	answers  map[networkQuestion]*netpol.Internet
	// outward is how classes may reach the world, by their first workloads.
	outward map[*model.Workload]outward
	reach   *reach.Reach
	system  map[string]bool
	classes map[string][][]*model.Workload // see classesOf
	// leftOut are the namespaces with a policy that could not be read because it
	// is to be filled in first, "" where one may concern any namespace.
	leftOut map[string]bool
}

type networkQuestion struct {
	from     *model.Workload
	port     int
	protocol corev1.Protocol
}

func newNetwork(mesh *model.Mesh, r *reach.Reach) *network {
	n := &network{
		policies: netpol.New(mesh), answers: map[networkQuestion]*netpol.Internet{}, system: map[string]bool{}, leftOut: map[string]bool{},
		outward: map[*model.Workload]outward{}, reach: r,
	}
	for _, p := range mesh.Problems {
		kind, id, _ := strings.Cut(p.Object, " ")
		if (p.Kind == manifest.Template || p.Kind == manifest.Unrendered) && strings.HasSuffix(kind, "NetworkPolicy") {
			namespace, _, found := strings.Cut(id, "/")
			if !found {
				namespace = ""
			}
			n.leftOut[namespace] = true
		}
	}
	return n
}

// internet returns what a workload may reach outside on a port by itself.
func (n *network) internet(w *model.Workload, port int, protocol corev1.Protocol) *netpol.Internet {
	q := networkQuestion{w, port, protocol}
	if n.answers[q] == nil {
		answer := n.policies.Internet(w, port, protocol)
		n.answers[q] = &answer
	}
	return n.answers[q]
}

// worldPort is the port for which a workload counts as open to the internet.
const worldPort = 443

// free reports whether certainly nothing keeps a workload from the internet.
func (n *network) free(w *model.Workload) bool {
	if n.leftOut[w.Namespace] || n.leftOut[""] || unnamed(w.Namespace) {
		return false
	}
	return n.outwardOf(w) == outward{isolated: false, open: true}
}

// outward is what network policies let a workload reach outside; the zero value is for
// those of which it is not known.
type outward struct{ isolated, open bool }

func (n *network) outwardOf(w *model.Workload) outward {
	w = n.reach.First(w)
	o, known := n.outward[w]
	if !known {
		if answer := n.internet(w, worldPort, corev1.ProtocolTCP); answer.Unknown == nil {
			o = outward{answer.Isolated, world(answer.Addresses, false)}
		}
		n.outward[w] = o
	}
	return o
}

// placeholderNamespace matches names of namespaces that stand for another one.
var placeholderNamespace = regexp.MustCompile(`[${<%]|(?i:placeholder)|^(?i:your|this|some)-?(?i:namespace|ns)$`)

// unnamed reports whether a namespace is still to be named: what else there is
// in the one that is meant, the input does not show.
func unnamed(namespace string) bool { return placeholderNamespace.MatchString(namespace) }

// locked reports whether network policies certainly keep a workload from (almost
// all of) the internet.
func (n *network) locked(w *model.Workload) bool {
	return n.outwardOf(w) == outward{isolated: true, open: false}
}

// world reports whether addresses are those of anybody rather than of some known
// peers: a sixteenth of a family's public ones or more.
func world(set *netipx.IPSet, v6 bool) bool {
	sum := 0.0
	for _, prefix := range set.Prefixes() {
		switch {
		case prefix.Addr().Is6() != v6:
		case v6: // of 2000::/3
			sum += math.Exp2(float64(3 - prefix.Bits()))
		default:
			sum += math.Exp2(-float64(prefix.Bits()))
		}
	}
	return sum >= 1.0/16
}

// inMesh reports whether a proxy carries out the mesh's controls for a workload
// of an application; pods on their host's network are none, as network policies
// do not hold for them.
func (p *Pass) inMesh(w *model.Workload) bool {
	mode := p.Reach.Sim.Capture(w).Mode
	return (mode == capture.Sidecar || mode == capture.Ambient) && p.isApplication(w)
}

// isApplication reports whether a client is neither part of the cluster or of
// Istio nor on its host's network.
func (p *Pass) isApplication(w *model.Workload) bool {
	system, known := p.network.system[w.Namespace]
	if !known {
		system = systemNamespace(p, w.Namespace)
		p.network.system[w.Namespace] = system
	}
	return !system && (w.Pod == nil || !w.Pod.HostNetwork)
}

// around is a request that goes around the workload's own proxy to a host that
// nothing registers, and what becomes of it.
func (p *Pass) around(w *model.Workload, port int, scheme flow.Scheme, address string) proof {
	f := flow.Flow{From: reach.From(w), Port: port, Scheme: scheme, Bypass: true, DstIP: address}
	for _, d := range p.Reach.Universe() {
		if d.Stands == reach.AnyName {
			f.Host = d.Host
		}
	}
	if address != "" {
		f.Host = address
	}
	return proof{f, p.Reach.Trace(f)}
}

// byNamespace groups clients by namespace, in the order in which they come.
func byNamespace(clients []*model.Workload) (order []string, of map[string][]*model.Workload) {
	of = map[string][]*model.Workload{}
	for _, w := range clients {
		if of[w.Namespace] == nil {
			order = append(order, w.Namespace)
		}
		of[w.Namespace] = append(of[w.Namespace], w)
	}
	return order, of
}

// namespacePlace is the node of a namespace to which findings about its pods
// point: the label that puts them into ambient mode where all are in it, else
// the name; where the input has no Namespace object the first workload.
func (p *Pass) namespacePlace(namespace string, clients []*model.Workload) exclusion {
	ns := p.Mesh.Namespaces[namespace]
	if ns == nil || ns.Object == nil || ns.Object.At("metadata.name").File == "" {
		return exclusion{clients[0].Object, "metadata.name"}
	}
	if ns.Object.Labels[model.DataplaneModeLabel] == "ambient" && !slices.ContainsFunc(clients, func(w *model.Workload) bool {
		return p.Reach.Sim.Capture(w).Mode != capture.Ambient
	}) {
		return exclusion{ns.Object, labelField(model.DataplaneModeLabel)}
	}
	return exclusion{ns.Object, "metadata.name"}
}

// isolatesEgress reports whether a NetworkPolicy restricts what its pods send
// (Kubernetes networking/v1 types.go, policyTypes).
func isolatesEgress(np *model.NetworkPolicy) bool {
	spec := &np.Spec.Spec
	if len(spec.PolicyTypes) > 0 {
		return slices.Contains(spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
	return len(spec.Egress) > 0
}

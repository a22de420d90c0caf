package analyzers

import (
	"fmt"
	"slices"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/netpol"
)

// openRule is an egress rule of a NetworkPolicy that lets pods reach the
// internet, not only some addresses of it.
type openRule struct {
	Policy *model.NetworkPolicy
	Index  int
	// Field is what opens it; What are the addresses, for messages.
	Field, What string
	// V4 and V6 say in which family.
	V4, V6 bool
	// Port and Protocol are one for which the rule holds, Ports all, for messages.
	Port     int
	Protocol corev1.Protocol
	Ports    string
}

// openRules returns the rules of a NetworkPolicy that let pods reach the internet,
// but for those that are about DNS alone.
func openRules(np *model.NetworkPolicy) []openRule {
	if !isolatesEgress(np) {
		return nil
	}
	var out []openRule
	for i := range np.Spec.Spec.Egress {
		rule := &np.Spec.Spec.Egress[i]
		o := openRule{Policy: np, Index: i, Field: fmt.Sprintf("spec.egress[%d]", i)}
		if o.addresses(rule.To) && o.ports(rule.Ports) {
			out = append(out, o)
		}
	}
	return out
}

// addresses reads the peers of a rule; it is false where they are not the
// internet.
func (o *openRule) addresses(to []networkingv1.NetworkPolicyPeer) bool {
	if len(to) == 0 {
		o.V4, o.V6, o.What = true, true, "any address"
		return true
	}
	var sets []*netipx.IPSet
	for j := range to {
		block := to[j].IPBlock
		if block == nil {
			continue
		}
		set := netpol.Blocks(block)
		sets = append(sets, set)
		if o.What == "" && (world(both(publicIPv4, set), false) || world(set, true)) {
			o.What = block.CIDR
			o.Field = fmt.Sprintf("spec.egress[%d].to[%d].ipBlock.cidr", o.Index, j)
		}
	}
	var b netipx.IPSetBuilder
	for _, s := range sets {
		b.AddSet(s)
	}
	all := built(&b)
	o.V4, o.V6 = world(both(publicIPv4, all), false), world(all, true)
	if o.What == "" {
		o.What = "most public addresses" // of several blocks
	}
	return o.V4 || o.V6
}

// ports reads the ports of a rule; it is false where they are those of DNS alone,
// or none that an address outside can have.
func (o *openRule) ports(list []networkingv1.NetworkPolicyPort) bool {
	if len(list) == 0 {
		o.Port, o.Protocol, o.Ports = worldPort, corev1.ProtocolTCP, "all ports"
		return true
	}
	var texts []string
	for _, port := range list {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		number, text := worldPort, fmt.Sprintf("all ports of %s", protocol)
		switch {
		case protocol == corev1.ProtocolSCTP || port.Port != nil && port.Port.StrVal != "":
			continue
		case port.Port != nil && port.EndPort != nil:
			first, last := int(port.Port.IntVal), int(*port.EndPort)
			if text = fmt.Sprintf("ports %d-%d", first, last); worldPort < first || last < worldPort {
				number = first
			}
		case port.Port != nil:
			number = int(port.Port.IntVal)
			text = fmt.Sprintf("port %d", number)
		}
		if number == 53 {
			continue
		}
		if protocol != corev1.ProtocolTCP && port.Port != nil {
			text += "/" + string(protocol)
		}
		if texts = append(texts, text); o.Port == 0 || o.Protocol != corev1.ProtocolTCP && protocol == corev1.ProtocolTCP || number == worldPort && protocol == o.Protocol {
			o.Port, o.Protocol = number, protocol
		}
	}
	o.Ports = upTo3(texts)
	return len(texts) > 0
}

// lets reports whether the rule is what lets a workload reach the internet, in
// IPv4 (else only in IPv6).
func (o *openRule) lets(n *network, w *model.Workload) (v4, v6 bool) {
	answer := n.internet(w, o.Port, o.Protocol)
	if !slices.Contains(answer.Because, flow.Because{Object: o.Policy.Object, Field: fmt.Sprintf("spec.egress[%d]", o.Index)}) {
		return false, false
	}
	return world(answer.Addresses, false), world(answer.Addresses, true)
}

// String names the rule: "NetworkPolicy ns/name rule 0".
func (o *openRule) String() string {
	return fmt.Sprintf("NetworkPolicy %s rule %d", o.Policy.ID(), o.Index)
}

// scheme is what a witness speaks.
func (o *openRule) scheme() flow.Scheme {
	if o.Protocol == corev1.ProtocolUDP {
		return flow.UDP
	}
	return flow.TCP
}

// lockers returns the other NetworkPolicies that isolate a workload's egress and do
// not themselves open it.
func (o *openRule) lockers(n *network, w *model.Workload) []*model.NetworkPolicy {
	return slices.DeleteFunc(n.policies.Isolating(w, networkingv1.PolicyTypeEgress), func(np *model.NetworkPolicy) bool {
		return np == o.Policy || len(openRules(np)) > 0
	})
}

// applications are the clients of applications, by namespace.
func (p *Pass) applications() (order []string, of map[string][]*model.Workload) {
	var list []*model.Workload
	for _, class := range p.Reach.Classes() {
		if p.isApplication(class[0]) {
			list = append(list, class...)
		}
	}
	return byNamespace(list)
}

// classesOf returns the classes of the clients of applications of a namespace.
func (p *Pass) classesOf(namespace string) [][]*model.Workload {
	if p.network.classes == nil {
		p.network.classes = map[string][][]*model.Workload{}
		for _, class := range p.Reach.Classes() {
			if p.isApplication(class[0]) {
				p.network.classes[class[0].Namespace] = append(p.network.classes[class[0].Namespace], class)
			}
		}
	}
	return p.network.classes[namespace]
}

// purpose is what the manifests mean to control of the requests of some clients,
// and what of it their own proxies alone see to.
type purpose struct {
	// Through is the gateway or waypoint that they are sent through, "" if none.
	Through string
	// Closed: their proxies are REGISTRY_ONLY.
	Closed  bool
	Because Related
}

// maxAsked bounds the clients of a namespace that are asked for their purpose.
const maxAsked = 16

// foreign reports whether a route to a gateway that the input does not show is
// that of another application: with the gateway missing, whether the two belong to
// one mesh is not evident.
func (in *controls) foreign(s *steering, w *model.Workload) bool {
	return len(s.Pods) == 0 && s.Route.Namespace != w.Namespace && len(in.pass.classesOf(s.Route.Namespace)) > 0
}

// purposeFor returns what is meant to be controlled of what clients of one
// namespace send.
func (in *controls) purposeFor(clients []*model.Workload) purpose {
	var out purpose
	for _, w := range clients[:min(len(clients), maxAsked)] {
		if in.captured(w) {
			if i := slices.IndexFunc(in.steerings, func(s *steering) bool { return s.isFor(w) && !in.foreign(s, w) }); i >= 0 {
				s := in.steerings[i]
				return purpose{s.gateway(), false, s.related()}
			}
		} else if hosts := served(in.waypointHosts()); len(hosts) > 0 && in.pass.inMesh(w) {
			h := hosts[0]
			return purpose{"waypoint " + h.Binding.Waypoint.ID(), false,
				Related{h.Service.Object, h.Service.HostField, fmt.Sprintf("%s is to be reached through waypoint %s", h.name(), h.Binding.Waypoint.ID())}}
		}
		if because, closed := in.closes(w); closed && !out.Closed {
			out.Closed, out.Because = true, because
		}
	}
	return out
}

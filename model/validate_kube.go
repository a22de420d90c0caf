package model

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// Of what the API server refuses about objects of Kubernetes' own kinds, beside
// wrong types, only NetworkPolicies are tested: one that a reader takes for a
// lock-down and that no cluster ever accepted would change a verdict.

func protocolOr(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// validateNetworkPolicy mirrors Kubernetes' pkg/apis/networking/validation
// (ValidateNetworkPolicySpec).
func validateNetworkPolicy(np *networkingv1.NetworkPolicy) []complaint {
	v := &policyCheck{}
	spec := &np.Spec
	v.selector("spec.podSelector", &spec.PodSelector)
	for i, rule := range spec.Ingress {
		v.ports(item("spec.ingress", i)+".ports", rule.Ports)
		v.peers(item("spec.ingress", i)+".from", rule.From)
	}
	for i, rule := range spec.Egress {
		v.ports(item("spec.egress", i)+".ports", rule.Ports)
		v.peers(item("spec.egress", i)+".to", rule.To)
	}
	if len(spec.PolicyTypes) > 2 {
		v.say("spec.policyTypes", "may not have more than two values")
		return v.complaints
	}
	for i, t := range spec.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			v.say(item("spec.policyTypes", i), fmt.Sprintf(`unsupported value %q: supported values: "Egress", "Ingress"`, t))
		}
	}
	return v.complaints
}

type policyCheck struct{ complaints []complaint }

//go:noinline
func (v *policyCheck) say(field, message string) {
	v.complaints = append(v.complaints, complaint{field, message})
}

func (v *policyCheck) ports(field string, ports []networkingv1.NetworkPolicyPort) {
	for i, p := range ports {
		at := item(field, i)
		if p.Protocol != nil {
			switch *p.Protocol {
			case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
			default:
				v.say(at+".protocol", fmt.Sprintf(`unsupported value %q: supported values: "SCTP", "TCP", "UDP"`, *p.Protocol))
			}
		}
		if p.Port != nil && p.Port.Type == intstr.Int && (p.Port.IntVal < 1 || p.Port.IntVal > 65535) {
			v.say(at+".port", "must be between 1 and 65535, inclusive")
		}
		if p.Port != nil && p.Port.Type == intstr.String && !validPortName(p.Port.StrVal) {
			v.say(at+".port", fmt.Sprintf("%q is not a valid port name (a number must not be quoted)", p.Port.StrVal))
		}
		switch {
		case p.EndPort == nil:
		case p.Port == nil:
			v.say(at+".endPort", "may not be specified when port is not specified")
		case p.Port.Type == intstr.String:
			v.say(at+".endPort", "may not be specified when port is a name")
		case *p.EndPort < p.Port.IntVal:
			v.say(at+".endPort", "must be greater than or equal to port")
		case *p.EndPort > 65535:
			v.say(at+".endPort", "must be between 1 and 65535, inclusive")
		}
	}
}

// validPortName mirrors apimachinery's validation.IsValidPortName.
func validPortName(name string) bool {
	if len(name) == 0 || len(name) > 15 || strings.Contains(name, "--") || strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") {
		return false
	}
	letter := false
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z':
			letter = true
		case r >= '0' && r <= '9', r == '-':
		default:
			return false
		}
	}
	return letter
}

func (v *policyCheck) peers(field string, peers []networkingv1.NetworkPolicyPeer) {
	for i, p := range peers {
		at := item(field, i)
		if p.PodSelector == nil && p.NamespaceSelector == nil && p.IPBlock == nil {
			v.say(at, "must specify a peer: one of podSelector, namespaceSelector, ipBlock")
		}
		if p.IPBlock != nil && (p.PodSelector != nil || p.NamespaceSelector != nil) {
			v.say(at+".ipBlock", "may not be specified together with podSelector or namespaceSelector")
		}
		v.selector(at+".podSelector", p.PodSelector)
		v.selector(at+".namespaceSelector", p.NamespaceSelector)
		if p.IPBlock != nil {
			v.block(at+".ipBlock", p.IPBlock)
		}
	}
}

func (v *policyCheck) block(field string, b *networkingv1.IPBlock) {
	cidr, ok := legacyCIDR(b.CIDR)
	if !ok {
		v.say(field+".cidr", fmt.Sprintf("%q is not a valid CIDR", b.CIDR))
		return
	}
	for i, e := range b.Except {
		except, ok := legacyCIDR(e)
		switch {
		case !ok:
			v.say(item(field+".except", i), fmt.Sprintf("%q is not a valid CIDR", e))
		case !cidr.Contains(except.Masked().Addr()) || except.Bits() <= cidr.Bits():
			v.say(item(field+".except", i), fmt.Sprintf("%q must be a strict subset of %q", e, b.CIDR))
		}
	}
}

// legacyCIDR reads a CIDR as the API server admits it in old fields: leading
// zeros are decimal (Kubernetes ParseCIDRSloppy).
func legacyCIDR(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	address, bits, found := strings.Cut(s, "/")
	if !found || strings.Contains(address, ":") {
		return netip.Prefix{}, false
	}
	octets := strings.Split(address, ".")
	for i, o := range octets {
		if o = strings.TrimLeft(o, "0"); o == "" {
			o = "0"
		}
		octets[i] = o
	}
	p, err := netip.ParsePrefix(strings.Join(octets, ".") + "/" + bits)
	return p, err == nil
}

func (v *policyCheck) selector(field string, s *metav1.LabelSelector) {
	if s == nil {
		return
	}
	for _, key := range sortedKeys(s.MatchLabels) {
		// Kubernetes' apimachinery pkg/apis/meta/v1/validation ValidateLabels.
		if len(validation.IsQualifiedName(key)) > 0 {
			v.say(field+".matchLabels", fmt.Sprintf("%q is not a label", key))
		} else if value := s.MatchLabels[key]; len(validation.IsValidLabelValue(value)) > 0 {
			v.say(child(field+".matchLabels", key), fmt.Sprintf("%q is not a value of a label", value))
		}
	}
	for i, e := range s.MatchExpressions {
		at := item(field+".matchExpressions", i)
		switch e.Operator {
		case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
			if len(e.Values) == 0 {
				v.say(at, "required field is missing: values (with operator In or NotIn)")
			}
		case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
			if len(e.Values) > 0 {
				v.say(at+".values", "may not be specified when operator is Exists or DoesNotExist")
			}
		default:
			v.say(at+".operator", fmt.Sprintf("%q is not a valid label selector operator", e.Operator))
		}
	}
}

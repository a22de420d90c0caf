package model

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ports reads those of v1alpha1.
func (c *policyReader) ports(field string, list []adminPort) []ClusterPolicyPort {
	if list != nil && len(list) == 0 {
		c.say(field, "at least one item is required")
	}
	var out []ClusterPolicyPort
	for i, p := range list {
		at, n := item(field, i), 0
		if p.PortNumber != nil {
			n++
			out = append(out, c.numbers(at+".portNumber", p.PortNumber.Protocol, p.PortNumber.Port, p.PortNumber.Port))
		}
		if p.PortRange != nil {
			n++
			out = append(out, c.numbers(at+".portRange", p.PortRange.Protocol, p.PortRange.Start, p.PortRange.End))
		}
		if p.NamedPort != nil {
			n++
			out = append(out, ClusterPolicyPort{Name: *p.NamedPort})
		}
		if n != 1 {
			c.say(at, "exactly one of portNumber, portRange and namedPort is required")
		}
	}
	return out
}

// protocols reads what v1alpha2 has instead.
func (c *policyReader) protocols(field string, list []clusterProtocol) []ClusterPolicyPort {
	if list != nil && len(list) == 0 {
		c.say(field, "at least one item is required")
	}
	var out []ClusterPolicyPort
	for i, p := range list {
		at, n := item(field, i), 0
		for _, t := range []struct {
			name string
			at   *transport
		}{{"TCP", p.TCP}, {"UDP", p.UDP}, {"SCTP", p.SCTP}} {
			if t.at == nil {
				continue
			}
			n++
			port := t.at.DestinationPort
			switch in := at + "." + strings.ToLower(t.name) + ".destinationPort"; {
			case port == nil || (port.Number != 0) == (port.Range != nil):
				c.say(in, "exactly one of number and range is required")
			case port.Range != nil:
				if port.Range.Start >= port.Range.End {
					c.say(in+".range", "start must be less than end")
				}
				out = append(out, c.numbers(in+".range", t.name, port.Range.Start, port.Range.End))
			default:
				out = append(out, c.numbers(in, t.name, port.Number, port.Number))
			}
		}
		if p.DestinationNamedPort != "" {
			n++
			out = append(out, ClusterPolicyPort{Name: p.DestinationNamedPort})
		}
		if n != 1 {
			c.say(at, "exactly one of tcp, udp, sctp and destinationNamedPort is required")
		}
	}
	return out
}

func (c *policyReader) numbers(field, protocol string, start, end int32) ClusterPolicyPort {
	out := ClusterPolicyPort{Protocol: protocolOr(corev1.Protocol(protocol)), Start: int(start), End: int(end)}
	switch out.Protocol {
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
	default:
		c.say(field+".protocol", "unsupported value")
	}
	if start < 1 || start > 65535 || end < 1 || end > 65535 {
		c.say(field, "ports are 1 to 65535")
	}
	return out
}

package model

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The API server holds lists of the Gateway API to lengths (gateway-api
// apis/v1, MaxItems). They bound the work of converting what a stranger wrote.
const (
	maxListeners   = 64
	maxParentRefs  = 32
	maxHostnames   = 16
	maxServerNames = 1024 // of a TLSRoute
	maxRules       = 16
	maxMatches     = 64
	maxBackends    = 16
)

// tooLong complains about a list that is longer than the API server takes.
func tooLong(field string, length, limit int) []complaint {
	if length <= limit {
		return nil
	}
	return []complaint{{field, fmt.Sprintf("%s: too many: %d: must have at most %d items", field, length, limit)}}
}

// validateKubeGateway holds what the CRD of all versions since v1.0.0 says about
// listeners (gateway-api apis/v1/gateway_types.go).
func validateKubeGateway(g *gatewayv1.Gateway) []complaint {
	out := tooLong("spec.listeners", len(g.Spec.Listeners), maxListeners)
	if len(g.Spec.Listeners) == 0 {
		out = append(out, complaint{"spec.listeners", "spec.listeners: Required value: a Gateway has at least one listener"})
	}
	names, places := map[gatewayv1.SectionName]bool{}, map[string]bool{}
	for i, l := range g.Spec.Listeners {
		say := func(field, text string) {
			field = fmt.Sprintf("spec.listeners[%d]%s", i, field)
			out = append(out, complaint{field, field + ": " + text})
		}
		if names[l.Name] {
			say(".name", "Listener name must be unique within the Gateway")
		}
		names[l.Name] = true
		hostname := ""
		if l.Hostname != nil {
			hostname = string(*l.Hostname)
		}
		place := fmt.Sprintf("%d %s %t %s", l.Port, l.Protocol, l.Hostname != nil, hostname)
		if places[place] {
			say("", "Combination of port, protocol and hostname must be unique for each listener")
		}
		places[place] = true
		switch l.Protocol {
		case gatewayv1.TCPProtocolType, gatewayv1.UDPProtocolType:
			if hostname != "" {
				say(".hostname", "hostname must not be specified for protocols ['TCP', 'UDP']")
			}
			fallthrough
		case gatewayv1.HTTPProtocolType:
			if l.TLS != nil {
				say(".tls", "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']")
			}
		case gatewayv1.HTTPSProtocolType:
			if l.TLS != nil && l.TLS.Mode != nil && *l.TLS.Mode != "" && *l.TLS.Mode != gatewayv1.TLSModeTerminate {
				say(".tls.mode", "tls mode must be Terminate for protocol HTTPS")
			}
		}
	}
	return out
}

func validateHTTPRoute(r *gatewayv1.HTTPRoute) []complaint {
	out := validateRoute(r.Spec.ParentRefs, r.Spec.Hostnames, len(r.Spec.Rules))
	for i := range r.Spec.Rules {
		out = append(out, tooLong(ruleField(i)+".matches", len(r.Spec.Rules[i].Matches), maxMatches)...)
		out = append(out, tooLong(ruleField(i)+".backendRefs", len(r.Spec.Rules[i].BackendRefs), maxBackends)...)
	}
	return out
}

func validateGRPCRoute(r *gatewayv1.GRPCRoute) []complaint {
	out := validateRoute(r.Spec.ParentRefs, r.Spec.Hostnames, len(r.Spec.Rules))
	for i := range r.Spec.Rules {
		out = append(out, tooLong(ruleField(i)+".matches", len(r.Spec.Rules[i].Matches), maxMatches)...)
		out = append(out, tooLong(ruleField(i)+".backendRefs", len(r.Spec.Rules[i].BackendRefs), maxBackends)...)
	}
	return out
}

func validateTLSRoute(r *gatewayv1.TLSRoute) []complaint {
	return append(validateRoute(r.Spec.ParentRefs, nil, len(r.Spec.Rules)), tooLong("spec.hostnames", len(r.Spec.Hostnames), maxServerNames)...)
}

func validateTCPRoute(r *gatewayv1.TCPRoute) []complaint {
	return validateRoute(r.Spec.ParentRefs, nil, len(r.Spec.Rules))
}

func validateRoute(parents []gatewayv1.ParentReference, hostnames []gatewayv1.Hostname, rules int) []complaint {
	out := tooLong("spec.parentRefs", len(parents), maxParentRefs)
	out = append(out, tooLong("spec.hostnames", len(hostnames), maxHostnames)...)
	return append(out, tooLong("spec.rules", rules, maxRules)...)
}

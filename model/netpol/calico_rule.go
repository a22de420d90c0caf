package netpol

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// calicoRule reads a rule. Rules that match nothing here are left out.
func (q *question) calicoRule(o *manifest.Object, at string, value any) []rule {
	why := reason{kind: "Calico " + o.Kind, policies: []string{o.ID()}, because: []flow.Because{{Object: o, Field: at}}}
	r, ok := value.(map[string]any)
	var act action
	switch text(r["action"]) {
	case "Allow", "allow":
		act = accept
	case "Deny", "deny":
		act = deny
	case "Pass", "pass", "next-tier":
		act = pass
	case "Log", "log":
		return nil
	default:
		ok = false
	}
	if !ok {
		w := q.where(strange(o, at))
		return []rule{{w, accept, why}, {w, deny, why}, {w, pass, why}}
	}
	w := q.calicoMatch(o, at, r)
	if w.empty() {
		return nil
	}
	return []rule{{w, act, why}}
}

func (q *question) calicoMatch(o *manifest.Object, at string, r map[string]any) region {
	if field := foreignKey(r, "action", "ipVersion", "protocol", "notProtocol", "source", "destination", "metadata"); field != "" {
		return q.where(strange(o, at+"."+field))
	}
	for _, field := range []string{"source", "destination"} {
		if m, ok := r[field].(map[string]any); !ok && r[field] != nil {
			return q.where(strange(o, at+"."+field))
		} else if !listed(m, "ports") || !listed(m, "notPorts") {
			return q.where(strange(o, at+"."+field+".ports"))
		}
	}
	on := sure(true)
	if r["protocol"] != nil {
		on = on.and(q.calicoProtocol(r["protocol"]))
	}
	if r["notProtocol"] != nil {
		on = on.and(q.calicoProtocol(r["notProtocol"]).not())
	}
	if on.truth == no {
		return nowhere
	}
	peer, own, peerField, ownField := mapOf(r["destination"]), mapOf(r["source"]), at+".destination", at+".source"
	ports, portsField := peer, peerField
	if q.direction == networkingv1.PolicyTypeIngress {
		peer, own, peerField, ownField = own, peer, ownField, peerField
		ports = own
		if field := foreignKey(peer, "nets", "notNets", "selector", "notSelector", "namespaceSelector"); field != "" {
			return q.where(strange(o, peerField+"."+field))
		}
		if field := foreignKey(own, "ports", "notPorts"); field != "" {
			return q.where(strange(o, ownField+"."+field))
		}
		portsField = ownField
	} else {
		if field := foreignKey(peer, "nets", "notNets", "selector", "notSelector", "namespaceSelector", "ports", "notPorts"); field != "" {
			return q.where(strange(o, peerField+"."+field))
		}
		if field := foreignKey(own); field != "" {
			return q.where(strange(o, ownField+"."+field))
		}
	}
	if list := listOf(ports["ports"]); len(list) > 0 {
		on = on.and(q.calicoPorts(o, portsField+".ports", list))
	}
	if list := listOf(ports["notPorts"]); len(list) > 0 {
		on = on.and(q.calicoPorts(o, portsField+".notPorts", list).not())
	}
	if on.truth == no {
		return nowhere
	}
	return q.calicoPeer(o, peerField, peer).and(q.where(on)).and(q.calicoVersion(o, at, r["ipVersion"]))
}

// listed reports whether a field is a list or not there.
func listed(m map[string]any, field string) bool {
	_, ok := m[field].([]any)
	return ok || m[field] == nil
}

// calicoVersion: pods are taken to be reached at the family that is asked for.
func (q *question) calicoVersion(o *manifest.Object, at string, v any) region {
	version := text(v)
	switch {
	case v == nil:
		return q.where(sure(true))
	case version != "4" && version != "6":
		return q.where(strange(o, at+".ipVersion"))
	case q.peer != nil:
		return q.where(sure(q.v6 == (version == "6")))
	default:
		r := nowhere
		r.sure = family(q.domain, version == "6")
		return r
	}
}

// calicoProtocol compares protocols, by name or number.
func (q *question) calicoProtocol(v any) answer {
	numbers := map[string]string{"6": "TCP", "17": "UDP", "132": "SCTP"}
	name := strings.ToUpper(text(v))
	return sure(cmp.Or(numbers[name], name) == string(q.protocol))
}

// calicoPorts: a number, a range "from:to", or a name.
func (q *question) calicoPorts(o *manifest.Object, at string, list []any) answer {
	out := sure(false)
	for i, v := range list {
		s := text(v)
		from, to, ranged := strings.Cut(s, ":")
		start, err := number(from)
		switch end, endErr := number(to); {
		case s == "":
			out = out.or(strange(o, fmt.Sprintf("%s[%d]", at, i)))
		case err != nil && !ranged:
			out = out.or(q.hasNamedPort(s))
		case err != nil || ranged && endErr != nil:
			out = out.or(strange(o, fmt.Sprintf("%s[%d]", at, i)))
		case ranged:
			out = out.or(sure(q.port >= start && q.port <= end))
		default:
			out = out.or(sure(q.port == start))
		}
	}
	return out
}

// calicoPeer is what an EntityRule matches: all of what it gives.
func (q *question) calicoPeer(o *manifest.Object, at string, peer map[string]any) region {
	out := q.where(sure(true))
	for _, key := range []string{"nets", "notNets"} {
		list, isList := peer[key].([]any)
		if len(list) == 0 && (isList || peer[key] == nil) {
			continue
		}
		set, ok := prefixSet(list)
		ok = ok && isList
		switch {
		case !ok:
			out = out.and(q.where(strange(o, at+"."+key)))
		case key == "nets":
			out = out.and(q.within(newBlock(set)))
		default:
			out = out.and(q.not(q.within(newBlock(set))))
		}
	}
	return out.and(q.calicoEndpoints(o, at, peer))
}

// calicoEndpoints is what the selectors of an EntityRule match. They match pods,
// and outside addresses only by way of network sets. As soon as there is one, a
// namespaced policy keeps to its namespace (updateprocessors rules.go
// getEndpointSelector).
func (q *question) calicoEndpoints(o *manifest.Object, at string, peer map[string]any) region {
	chosen := peer["selector"] != nil && text(peer["selector"]) != "" || peer["namespaceSelector"] != nil && text(peer["namespaceSelector"]) != ""
	excluded := text(peer["notSelector"]) != ""
	switch {
	case !chosen && !excluded:
		return q.where(sure(true))
	case q.peer == nil && q.policies.calico.sets:
		return q.where(uninterpreted(fmt.Sprintf("the network sets that %s of %s may mean", at, o)))
	case q.peer == nil:
		return q.where(sure(!chosen && (o.Namespace == "")))
	case onHostNetwork(q.peer):
		return q.where(uninterpreted(fmt.Sprintf("whether Calico has a host endpoint for the node of %s", q.peer.ID())))
	}
	out := q.calicoSelects(o, at, peer, q.peer)
	if text(peer["namespaceSelector"]) == "" && o.Namespace != "" {
		out = out.and(sure(q.peer.Namespace == o.Namespace))
	}
	if excluded {
		out = out.and(q.calicoSelector(o, at+".notSelector", text(peer["notSelector"]), q.podLabels(o, q.peer)).not())
	}
	return q.where(out)
}

// calicoSelects evaluates the selectors that a spec or an EntityRule has for a
// pod. "all()" for namespaces are all namespaces.
func (q *question) calicoSelects(o *manifest.Object, at string, fields map[string]any, w *model.Workload) answer {
	out := q.calicoSelector(o, at+".selector", text(fields["selector"]), q.podLabels(o, w))
	out = out.and(q.calicoSelector(o, at+".namespaceSelector", text(fields["namespaceSelector"]), q.namespaceLabels(w.Namespace)))
	if s := text(fields["serviceAccountSelector"]); s != "" {
		out = out.and(q.calicoSelector(o, at+".serviceAccountSelector", s, func(string) calicoLabel {
			return calicoLabel{doubt: strange(o, at+".serviceAccountSelector")}
		}))
	}
	return out
}

func (q *question) calicoSelector(o *manifest.Object, at, selector string, label func(string) calicoLabel) answer {
	e, err := parseCalicoSelector(selector)
	if err != nil {
		return strange(o, at)
	}
	return e(label)
}

// podLabels are the labels of a pod's endpoint: the pod's own, and some that
// Calico adds (libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go).
func (q *question) podLabels(o *manifest.Object, w *model.Workload) func(string) calicoLabel {
	return func(key string) calicoLabel {
		switch {
		case key == "projectcalico.org/namespace":
			return calicoLabel{value: w.Namespace, has: true}
		case key == "projectcalico.org/orchestrator":
			return calicoLabel{value: "k8s", has: true}
		case key == "projectcalico.org/serviceaccount":
			return calicoLabel{value: w.ServiceAccount, has: true}
		case strings.HasPrefix(key, "projectcalico.org/"), strings.HasPrefix(key, "pcns."), strings.HasPrefix(key, "pcsa."):
			return calicoLabel{doubt: strange(o, "label "+key)}
		case w.PodUnknown != "":
			return calicoLabel{doubt: unsure(fmt.Sprintf("the labels of the pods of %s, which the input does not show", w.ID()))}
		default:
			value, has := w.Labels[key]
			if open, ok := w.Open[key]; ok && !open.Proxies {
				return calicoLabel{doubt: unsure(openLabel(w, key))}
			}
			return calicoLabel{value: value, has: has}
		}
	}
}

func (q *question) namespaceLabels(namespace string) func(string) calicoLabel {
	ns := q.policies.mesh.Namespaces[namespace]
	return func(key string) calicoLabel {
		switch {
		case key == model.NamespaceNameLabel || key == "projectcalico.org/name":
			return calicoLabel{value: namespace, has: true}
		case ns == nil || !ns.Declared:
			return calicoLabel{doubt: unsure(fmt.Sprintf("the labels of namespace %s, which the input does not declare", namespace))}
		default:
			value, has := ns.Labels[key]
			return calicoLabel{value: value, has: has}
		}
	}
}

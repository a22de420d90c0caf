package netpol

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// Of a Cilium policy everything is read that decides about addresses, pods and
// ports; a field beside that makes the rule that has it match perhaps.
//
// Sources: cilium/cilium pkg/policy/api/{rule,egress,ingress,l4,entity}.go and
// rule_validation.go, pkg/k8s/apis/cilium.io/utils/utils.go, and docs.cilium.io
// "Policy Enforcement Modes" and "Layer 3 Policies".

// ciliumPolicies are the policies of Cilium in the input.
type ciliumPolicies struct {
	// present: the input has objects of Cilium, so that it is the network plugin.
	present  bool
	policies []*manifest.Object
}

func (c *ciliumPolicies) add(o *manifest.Object) {
	c.present = true
	if o.Kind == "CiliumNetworkPolicy" || o.Kind == "CiliumClusterwideNetworkPolicy" {
		c.policies = append(c.policies, o)
	}
}

// ciliumMembers are the policies of Cilium that may hold for the pod. They are
// one tier with NetworkPolicies: a pod that any of them puts into default deny
// may do what any of them allows and none denies.
func (q *question) ciliumMembers() []member {
	var out []member
	for _, o := range q.policies.cilium.policies {
		if o.Kind == "CiliumNetworkPolicy" && o.Namespace != q.pod.Namespace {
			continue
		}
		tree := mapOf(o.Value)
		if spec, ok := tree["spec"]; ok {
			out = q.ciliumMember(out, o, "spec", spec)
		}
		list, _ := tree["specs"].([]any)
		for i, spec := range list {
			out = q.ciliumMember(out, o, fmt.Sprintf("specs[%d]", i), spec)
		}
		if tree["spec"] == nil && len(list) == 0 {
			out = append(out, unreadable(q, o, "spec", "spec"))
		}
	}
	return out
}

// unreadable is a policy that may allow and deny anything.
func unreadable(q *question, o *manifest.Object, at, field string) member {
	a := strange(o, field)
	return member{object: o, applies: a, isolates: true, field: at,
		allows: []part{{at, q.where(a)}}, denies: []part{{at, q.where(a)}}}
}

// strange is the answer of a field that is not interpreted.
func strange(o *manifest.Object, field string) answer {
	return uninterpreted(fmt.Sprintf("%s of %s, which is not interpreted", field, o))
}

// sections are the names of a policy's fields for one direction.
type sections struct{ allow, deny, peer string }

func (q *question) sections() sections {
	if q.direction == "Egress" {
		return sections{"egress", "egressDeny", "to"}
	}
	return sections{"ingress", "ingressDeny", "from"}
}

// ciliumMember reads one rule set (Rule) of a policy.
func (q *question) ciliumMember(out []member, o *manifest.Object, at string, value any) []member {
	spec, ok := value.(map[string]any)
	if !ok {
		return append(out, unreadable(q, o, at, at))
	}
	if field := foreignKey(spec, "endpointSelector", "nodeSelector", "ingress", "ingressDeny", "egress", "egressDeny",
		"labels", "description", "enableDefaultDeny", "log"); field != "" {
		return append(out, unreadable(q, o, at, at+"."+field))
	}
	if spec["endpointSelector"] == nil && spec["nodeSelector"] != nil {
		return out // it holds for nodes, not for pods ("Host Policies")
	}
	names := q.sections()
	m := member{object: o, field: at + "." + names.allow}
	allows, allowsRead := spec[names.allow].([]any)
	denies, deniesRead := spec[names.deny].([]any)
	if spec[names.allow] != nil && !allowsRead || spec[names.deny] != nil && !deniesRead {
		return append(out, unreadable(q, o, at, m.field))
	}
	// Rule.Sanitize: a direction with rules is put into default deny, unless
	// the policy says otherwise.
	m.isolates = len(allows)+len(denies) > 0
	if len(allows) == 0 {
		m.field = at + "." + names.deny
	}
	if said, ok := mapOf(spec["enableDefaultDeny"])[strings.ToLower(string(q.direction))].(bool); ok {
		m.isolates = said
	}
	if !m.isolates && len(allows)+len(denies) == 0 {
		return out
	}
	if m.applies = q.ciliumSelects(o, spec["endpointSelector"], q.pod, at+".endpointSelector", true); m.applies.truth == no {
		return out
	}
	for i, r := range allows {
		field := fmt.Sprintf("%s.%s[%d]", at, names.allow, i)
		m.allows = append(m.allows, part{field, q.ciliumRule(o, field, r, false)})
		if needs := strings.TrimSuffix(names.peer, "s") + "Requires"; mapOf(r)[needs] != nil {
			// It restricts what all other rules allow.
			m.denies = append(m.denies, part{field, q.where(strange(o, field+"."+needs))})
		}
	}
	for i, r := range denies {
		field := fmt.Sprintf("%s.%s[%d]", at, names.deny, i)
		m.denies = append(m.denies, part{field, q.ciliumRule(o, field, r, true)})
	}
	return append(out, m)
}

// ciliumRule is what a rule matches: its one kind of peers on any of its ports.
func (q *question) ciliumRule(o *manifest.Object, at string, value any, denies bool) region {
	r, ok := value.(map[string]any)
	if !ok {
		return q.where(strange(o, at))
	}
	peer := q.sections().peer
	kinds := []string{peer + "Endpoints", peer + "CIDR", peer + "CIDRSet", peer + "Entities", peer + "FQDNs"}
	if field := foreignKey(r, append(kinds, "toPorts", "icmps")...); field != "" {
		return q.where(strange(o, at+"."+field))
	}
	var given []string
	for _, k := range kinds {
		if list, ok := r[k].([]any); ok && len(list) > 0 {
			given = append(given, k)
		} else if r[k] != nil {
			// An empty list selects nothing in some versions and everything in others.
			return q.where(strange(o, at+"."+k))
		}
	}
	ports, on := q.ciliumPorts(o, at+".toPorts", r["toPorts"])
	switch {
	case on.truth == no:
		return nowhere
	case !ports && r["icmps"] != nil:
		return nowhere // it speaks of ICMP alone
	case len(given) > 1:
		return q.where(strange(o, at+"."+given[1]))
	case len(given) == 0 && ports:
		return q.where(on)
	case len(given) == 0 && denies:
		return q.where(strange(o, at))
	case len(given) == 0:
		return nowhere // an empty rule allows nothing ("Egress Default Deny")
	}
	list := r[given[0]].([]any)
	peers := make([]region, len(list))
	for i, p := range list {
		field := fmt.Sprintf("%s.%s[%d]", at, given[0], i)
		switch strings.TrimPrefix(given[0], peer) {
		case "Endpoints":
			peers[i] = q.ciliumEndpoints(o, field, p)
		case "CIDR":
			peers[i] = q.ciliumCIDR(o, field, map[string]any{"cidr": p})
		case "CIDRSet":
			peers[i] = q.ciliumCIDR(o, field, p)
		case "Entities":
			peers[i] = q.ciliumEntity(o, field, p)
		default:
			peers[i] = q.ciliumFQDN(o, field, p)
		}
	}
	return anyOf(peers).and(q.where(on))
}

// ciliumPorts reports whether a rule restricts ports, and whether the port of
// the question is among them.
func (q *question) ciliumPorts(o *manifest.Object, at string, value any) (given bool, on answer) {
	list, ok := value.([]any)
	if value != nil && !ok {
		return true, strange(o, at)
	}
	if len(list) == 0 {
		return false, sure(true)
	}
	for i, v := range list {
		field := fmt.Sprintf("%s[%d]", at, i)
		entry, ok := v.(map[string]any)
		ports, _ := entry["ports"].([]any)
		if !ok || len(ports) == 0 {
			on = on.or(strange(o, field))
			continue
		}
		match := sure(false)
		for j, p := range ports {
			match = match.or(q.ciliumPort(o, fmt.Sprintf("%s.ports[%d]", field, j), p))
		}
		if match.truth != no {
			match = match.and(ciliumL7(o, field, entry))
		}
		on = on.or(match)
	}
	return true, on
}

// ciliumL7 answers what a port's rules for the protocol within the connection
// let through: nothing but a DNS rule for every name is sure to.
func ciliumL7(o *manifest.Object, at string, entry map[string]any) answer {
	if field := foreignKey(entry, "ports", "rules"); field != "" {
		return strange(o, at+"."+field)
	}
	rules := mapOf(entry["rules"])
	if len(rules) == 0 && (entry["rules"] == nil || rules != nil) {
		return sure(true)
	}
	if field := foreignKey(rules, "dns"); field == "" {
		list, _ := rules["dns"].([]any)
		if slices.ContainsFunc(list, func(v any) bool { m := mapOf(v); return len(m) == 1 && m["matchPattern"] == "*" }) {
			return sure(true)
		}
	}
	return strange(o, at+".rules")
}

func (q *question) ciliumPort(o *manifest.Object, at string, value any) answer {
	p, ok := value.(map[string]any)
	if !ok || foreignKey(p, "port", "endPort", "protocol") != "" {
		return strange(o, at)
	}
	if protocol := strings.ToUpper(text(p["protocol"])); protocol != "" && protocol != "ANY" && protocol != string(q.protocol) {
		return sure(false)
	}
	start, err := number(text(p["port"]))
	if err != nil {
		if name := text(p["port"]); name != "" {
			return q.hasNamedPort(strings.ToLower(name))
		}
		return strange(o, at)
	}
	end := start
	if p["endPort"] != nil {
		if end, err = number(text(p["endPort"])); err != nil {
			return strange(o, at)
		}
		if end == 0 {
			end = start
		}
	}
	return sure(start == 0 || q.port >= start && q.port <= end)
}

func (q *question) ciliumEndpoints(o *manifest.Object, at string, value any) region {
	switch {
	case (q.peer == nil || onHostNetwork(q.peer)) && ciliumBeyondPods(value):
		return q.where(strange(o, at))
	case q.peer == nil:
		return nowhere
	case onHostNetwork(q.peer):
		return nowhere // it has its node's identity, not one of its own
	default:
		return q.where(q.ciliumSelects(o, value, q.peer, at, false))
	}
}

// ciliumCIDR: prefixes match what is outside the cluster, never pods, and nodes
// only where Cilium is told so.
func (q *question) ciliumCIDR(o *manifest.Object, at string, value any) region {
	r, ok := value.(map[string]any)
	if !ok || foreignKey(r, "cidr", "except") != "" {
		return q.where(strange(o, at))
	}
	set, ok := prefixSet([]any{r["cidr"]})
	except, exceptOK := prefixSet(listOf(r["except"]))
	switch {
	case !ok || !exceptOK || r["except"] != nil && listOf(r["except"]) == nil:
		return q.where(strange(o, at))
	case q.peer == nil:
		return q.within(newBlock(minus(set, except)))
	case onHostNetwork(q.peer):
		return q.where(uninterpreted("whether Cilium lets prefixes match nodes (policy-cidr-match-mode)"))
	default:
		return nowhere
	}
}

// ciliumEntity: see Documentation "Entities based".
func (q *question) ciliumEntity(o *manifest.Object, at string, value any) region {
	switch entity := text(value); entity {
	case "all":
		return q.where(sure(true))
	case "world":
		return q.where(sure(q.peer == nil))
	case "world-ipv4", "world-ipv6":
		if q.peer != nil {
			return nowhere
		}
		r := nowhere
		r.maybe = family(q.domain, entity == "world-ipv6")
		r.doubt = doubt{text: fmt.Sprintf("whether the cluster is dual-stack, without which %s matches nothing", entity), foreign: true}
		return r
	case "cluster":
		if q.peer != nil {
			return q.where(sure(true))
		}
		return q.nodes(true)
	case "host", "remote-node", "kube-apiserver":
		// The API server is on a node, or at an address that no manifest has;
		// public addresses are not taken for it.
		return q.nodes(false)
	case "init", "ingress", "health", "unmanaged", "none":
		return nowhere // none of them is a workload's pod, or the internet
	default:
		return q.where(strange(o, at))
	}
}

// ciliumFQDN: a name lets through the addresses that Cilium's DNS proxy has seen
// for it, which needs a DNS rule beside.
func (q *question) ciliumFQDN(o *manifest.Object, at string, value any) region {
	r, ok := value.(map[string]any)
	if !ok || foreignKey(r, "matchName", "matchPattern") != "" {
		return q.where(strange(o, at))
	}
	if q.peer != nil {
		return nowhere
	}
	name, pattern := text(r["matchName"]), text(r["matchPattern"])
	if q.host != "" && !sameName(name, q.host) && (pattern == "" || !patternMatches(pattern, q.host)) {
		return nowhere
	}
	return q.where(uninterpreted(fmt.Sprintf("which addresses Cilium's DNS proxy has seen for %s (%s of %s)", name+pattern, at, o)))
}

func sameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// patternMatches takes every * for any text, which is more than Cilium does.
func patternMatches(pattern, name string) bool {
	pattern, name = strings.ToLower(strings.TrimSuffix(pattern, ".")), strings.ToLower(strings.TrimSuffix(name, "."))
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	last := parts[len(parts)-1]
	for _, p := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, p)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}

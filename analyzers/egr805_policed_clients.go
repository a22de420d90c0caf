package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
)

// policedUse shows that the clients of a namespace are meant to use an egress
// gateway: policies in force there speak of them.
type policedUse struct {
	// hosts are those that routes send to that gateway, shown what speaks of the
	// clients, of each.
	hosts []host.Name
	shown []Related
}

// policedClients returns the use of egress gateways of which a policy names identities
// of a namespace, in whatever action: also a DENY takes for granted that they come
// there, for other hosts than those that it names. An ALLOW that names hosts is about
// these alone, see grantedHosts.
func (in *intent) policedClients(namespace string) policedUse {
	var u policedUse
	for _, p := range in.peerRules() {
		i := slices.IndexFunc(p.values, func(v identityValue) bool { return !v.not && speaksOf(v, p.rule.Policy.Namespace, namespace) })
		if i < 0 {
			continue
		}
		shown := Related{p.rule.Policy.Object, p.values[i].field, fmt.Sprintf("%s at egress gateway %s is about clients of namespace %q", p.rule, p.gateway.ID(), namespace)}
		for _, s := range p.gateway.Steers {
			if h := host.Name(strings.ToLower(string(s.Host))); !p.rule.names(string(s.Host)) && !slices.Contains(u.hosts, h) {
				u.hosts, u.shown = append(u.hosts, h), append(u.shown, shown)
			}
		}
	}
	return u
}

// peerRule is a rule in force at a gateway that names identities.
type peerRule struct {
	gateway *egressGateway
	rule    authzRule
	values  []identityValue
}

// peerRules returns those of which policedClients speaks, found once.
func (in *intent) peerRules() []peerRule {
	if *in.peers != nil {
		return *in.peers
	}
	out := []peerRule{}
	for _, g := range in.gateways {
		for _, policy := range g.enforcedPolicies() {
			for _, r := range rulesOf(policy) {
				if !denies(policy) && len(r.hosts()) > 0 {
					continue
				}
				if values := r.identityValues(); len(values) > 0 {
					out = append(out, peerRule{g, r, values})
				}
			}
		}
	}
	*in.peers = out
	return out
}

// speaksOf reports whether a value names an identity of a namespace. home is the
// namespace of the policy, which service accounts without one mean.
func speaksOf(v identityValue, home, namespace string) bool {
	switch v.attribute {
	case "namespace":
		return v.value == namespace
	case "serviceAccount":
		before, _, found := strings.Cut(v.value, "/")
		return found && before == namespace || !found && home == namespace
	default:
		return strings.Contains(v.value, "/ns/"+namespace+"/") || strings.HasPrefix(v.value, "*/ns/"+namespace+"/")
	}
}

// because returns what shows that the clients mean to call a host, nil if nothing
// does.
func (u policedUse) because(in *intent, h string) []Related {
	i := slices.IndexFunc(u.hosts, host.Name(strings.ToLower(h)).SubsetOf)
	if i < 0 {
		return nil
	}
	out := []Related{u.shown[i]}
	for _, s := range in.covering(h) {
		return append(out, s.related())
	}
	return out
}

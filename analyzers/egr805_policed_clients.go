package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
)

// policedUse shows that the clients of a namespace are meant to use an egress
// gateway: a policy in force there speaks of them.
type policedUse struct {
	shown Related
	// hosts are those that routes send to that gateway.
	hosts []host.Name
}

// policedClients returns the use of the first egress gateway of which a policy names
// identities of a namespace, in whatever action: also a DENY takes for granted that
// they come there, for other hosts than those that it names. Without hosts if there
// is none.
func (in *intent) policedClients(namespace string) policedUse {
	for _, g := range in.gateways {
		for _, policy := range g.enforcedPolicies() {
			for _, r := range rulesOf(policy) {
				if !denies(policy) && len(r.hosts()) > 0 {
					continue // it is about these hosts alone, see grantedHosts
				}
				for _, v := range r.identityValues() {
					if v.not || !speaksOf(v, policy.Namespace, namespace) {
						continue
					}
					u := policedUse{shown: Related{policy.Object, v.field, fmt.Sprintf("%s at egress gateway %s is about clients of namespace %q", r, g.ID(), namespace)}}
					for _, s := range g.Steers {
						if h := strings.ToLower(string(s.Host)); !r.names(h) {
							u.hosts = append(u.hosts, host.Name(h))
						}
					}
					return u
				}
			}
		}
	}
	return policedUse{}
}

// names reports whether a rule names a host.
func (r authzRule) names(h string) bool {
	return slices.ContainsFunc(r.hosts(), func(n namedHost) bool { return affix(strings.ToLower(bareHost(n.Value)), h) })
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
	for _, x := range u.hosts {
		if host.Name(strings.ToLower(h)).SubsetOf(x) {
			out := []Related{u.shown}
			for _, s := range in.covering(h) {
				return append(out, s.related())
			}
			return out
		}
	}
	return nil
}

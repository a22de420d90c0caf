package analyzers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// admits reports whether a request that a rule is written for gets through, or may:
// the requests of a tuple are samples, and where conditions are many, not each of
// their combinations is among them.
func (in *intent) admits(r authzRule, a *attempt) bool {
	return slices.ContainsFunc(r.requests(reach.From(a.Class[0]), a.To), func(f flow.Flow) bool {
		t := in.pass.Reach.Trace(f)
		return t.Via == flow.ViaGateway && (t.Outcome != flow.Blocked || t.Reason != flow.RBACDenied)
	})
}

// inForce reports whether a gateway takes a policy.
func (in *intent) inForce(policy *model.AuthorizationPolicy, pod *model.Workload) bool {
	return (policy.Namespace == pod.Namespace || policy.Namespace == in.push.RootNamespace()) && in.push.Attached(policy.Namespace, policy.Spec, pod)
}

// whyNotInForce says why a policy does not apply to a gateway.
func (in *intent) whyNotInForce(k *refusal, r authzRule, pod *model.Workload) {
	policy := r.Policy
	homes := []string{pod.Namespace}
	if root := in.push.RootNamespace(); root != pod.Namespace {
		homes = append(homes, root)
	}
	switch {
	case len(model.TargetRefs(policy.Spec)) > 0:
		k.field, k.text, k.todo = "spec.targetRefs", "a policy with targetRefs never applies to this gateway", "use a selector instead"
	case !contains(homes, policy.Namespace):
		k.field = "metadata.namespace"
		k.text = fmt.Sprintf("the policy lies in namespace %q, and the gateway takes policies only from %s", policy.Namespace, quoted(homes))
		k.todo = fmt.Sprintf("move it to namespace %q", pod.Namespace)
	default:
		k.field, k.text, k.todo = "spec.selector", "its selector does not select the gateway", "select the labels of the gateway's pods"
	}
	if methods := onlyMethods(r); contains(methods, "GET") && !contains(methods, "HEAD") {
		k.text += fmt.Sprintf(", and even there methods %s would leave out HEAD, which curl -I sends", quoted(methods))
		k.todo += ` and add "HEAD" to the methods`
	}
}

// onlyMethods returns the methods to which every operation of a rule is limited,
// none if one is not.
func onlyMethods(r authzRule) []string {
	var out []string
	for _, to := range r.GetTo() {
		methods := to.GetOperation().GetMethods()
		if len(methods) == 0 {
			return nil
		}
		for _, m := range methods {
			if strings.Contains(m, "*") {
				return nil
			}
			if !contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// whyNoMatch says which condition of a rule in force cannot hold for any request
// of the client. Methods, paths, hosts and headers have all been tried.
func (in *intent) whyNoMatch(k *refusal, r authzRule, l *leg, a *attempt) {
	chain := l.gateway.FilterChain
	fields, _ := r.identityFields()
	switch {
	case l.client.TLS != istioMutual || chain == "http" || chain == "tcp" || chain == "tls-passthrough":
		k.field, k.text = fields[0], "the gateway's server never learns who calls"
		k.todo = "use ISTIO_MUTUAL on both sides of the way to the gateway"
		return
	case chain != "https" && httpField(r) != "":
		k.field, k.text = httpField(r), "the server does not speak HTTP, so that a rule with conditions on it never matches"
		k.todo = "use connection.sni and ports, or let the server speak HTTP (protocol HTTPS)"
		return
	}
	listens := strconv.Itoa(in.podPort(l))
	if i, ports := otherPorts(r, a.To.Host, listens); len(ports) > 0 {
		k.field = r.field("to[%d].operation.ports", i)
		k.text = fmt.Sprintf("it asks for ports %s, and the gateway's pod listens on %s", quoted(ports), listens)
		k.todo = fmt.Sprintf("use port %q", listens)
		return
	}
	for i, w := range r.GetWhen() {
		switch {
		case w.GetKey() == "destination.port" && len(w.GetValues()) > 0 && !contains(w.GetValues(), listens):
			k.field = r.field("when[%d].values", i)
			k.text = fmt.Sprintf("it asks for destination.port %s, and the gateway's pod listens on %s", quoted(w.GetValues()), listens)
			k.todo = fmt.Sprintf("use port %q", listens)
			return
		case w.GetKey() == "connection.sni" && len(w.GetValues()) > 0 &&
			!slices.ContainsFunc(w.GetValues(), func(v string) bool { return affix(v, l.gateway.SNI) }):
			k.field = r.field("when[%d].values", i)
			k.text = fmt.Sprintf("it asks for connection.sni %s, and the sidecars announce %q", quoted(w.GetValues()), l.gateway.SNI)
			k.todo = fmt.Sprintf("set sni %q in the DestinationRule for the gateway's Service", a.To.Host)
			return
		}
	}
	in.deniedByOther(k, a)
}

// otherPorts returns the ports of the first operation about a host, if none of
// these operations takes the port that the gateway listens on.
func otherPorts(r authzRule, h, listens string) (index int, ports []string) {
	for i, to := range r.GetTo() {
		o := to.GetOperation()
		if len(o.GetHosts()) > 0 && !slices.ContainsFunc(o.GetHosts(), func(v string) bool { return namedHost{Value: v}.covers(h) }) {
			continue
		}
		if len(o.GetPorts()) == 0 || contains(o.GetPorts(), listens) {
			return 0, nil
		}
		if ports == nil {
			index, ports = i, o.GetPorts()
		}
	}
	return index, ports
}

// deniedByOther explains a denial by a DENY rule that names neither the client nor the
// host; one that does is meant.
func (in *intent) deniedByOther(k *refusal, a *attempt) {
	policy := in.policyNamed(a.Trace.Policy)
	if a.Trace.Rule == nil || policy == nil || *a.Trace.Rule >= len(policy.Spec.GetRules()) {
		return
	}
	r := rulesOf(policy)[*a.Trace.Rule]
	if fields, _ := r.identityFields(); len(fields) > 0 || r.names(a.To.Host) || policy.Spec.GetAction() == security.AuthorizationPolicy_CUSTOM {
		return // of a provider that cannot be asked EGR425 tells
	}
	k.field = fmt.Sprintf("spec.rules[%d]", k.rule)
	k.text = fmt.Sprintf("%s matches first", r)
	k.todo = "narrow that rule"
}

// whoDenies adds the policies that deny, for the finding's related places.
func (in *intent) whoDenies(k *refusal, a *attempt) {
	first, _, _ := strings.Cut(a.Trace.Policy, ",")
	if policy := in.policyNamed(first); policy != nil && policy.Object != k.policy {
		k.deniedBy, k.deniedField = policy.Object, "spec"
		if a.Trace.Rule != nil {
			k.deniedField = fmt.Sprintf("spec.rules[%d]", *a.Trace.Rule)
		}
	}
}

// policyNamed returns a policy by "namespace/name", nil if there is none.
func (in *intent) policyNamed(id string) *model.AuthorizationPolicy {
	i := slices.IndexFunc(in.push.Mesh.AuthorizationPolicies, func(p *model.AuthorizationPolicy) bool { return p.ID() == id })
	if i < 0 {
		return nil
	}
	return in.push.Mesh.AuthorizationPolicies[i]
}

// httpField returns a field of a rule that only HTTP can meet, "" if it has none.
func httpField(r authzRule) string {
	for i, to := range r.GetTo() {
		o := to.GetOperation()
		for _, list := range []struct {
			name   string
			values []string
		}{{"hosts", o.GetHosts()}, {"notHosts", o.GetNotHosts()}, {"methods", o.GetMethods()}, {"notMethods", o.GetNotMethods()}, {"paths", o.GetPaths()}, {"notPaths", o.GetNotPaths()}} {
			if len(list.values) > 0 {
				return r.field("to[%d].operation.%s", i, list.name)
			}
		}
	}
	for i, w := range r.GetWhen() {
		if strings.HasPrefix(w.GetKey(), "request.") {
			return r.field("when[%d].key", i)
		}
	}
	return ""
}

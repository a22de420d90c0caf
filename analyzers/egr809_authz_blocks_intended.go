package analyzers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR809", Name: "authz-blocks-intended", Severity: Error,
	Run: runBlocksIntended,
	Doc: Doc{
		Title: "The egress gateway denies what an ALLOW policy means to allow",
		What: "A rule of an ALLOW AuthorizationPolicy names a client and a host, and yet the egress gateway denies every request of this client to the host: " +
			"the policy does not apply to the gateway, or another of the rule's conditions cannot hold there.",
		Why: "Where an ALLOW policy is in force, whatever no ALLOW rule matches is denied (403, or a reset on TCP). That is no matter of order between ALLOW and DENY: " +
			"a rule that does not apply, or never matches, simply counts for nothing.",
		Bad:  egressDoc(allowOrders("shop", "istio-egress")),
		Good: egressDoc(allowOrders("istio-egress", "istio-egress")),
		Fix:  "Put the policy into the gateway's namespace, use the port that the gateway's pod listens on, let the gateway see identities (ISTIO_MUTUAL), and use only conditions that its server can evaluate.",
		Silent: "Clients and hosts that no ALLOW rule names together, clients that get some request through (a rule for GET that leaves out HEAD is EGR413), " +
			"denials by a DENY rule that names the client or the host, and conditions that cannot be decided from manifests (tokens, addresses).",
		Sources: []string{
			"istio pilot/pkg/model/authorization.go (ListAuthorizationPolicies)",
			"istio pilot/pkg/security/authz/builder/builder.go",
			"istio pilot/pkg/security/authz/model/model.go",
		},
	},
})

// allowOrders is a policy that closes the documented gateway, and one in a
// namespace of choice that opens it for namespace shop.
func allowOrders(namespace, closed string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: ` + closed + `
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: orders-to-api
  namespace: ` + namespace + `
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com"]
`
}

// refusal is what a finding of EGR809 is about: a rule that is meant to allow,
// and the field because of which it does not.
type refusal struct {
	policy      *manifest.Object
	rule        int
	field       string
	pod         *model.Workload
	text, todo  string
	deniedBy    *manifest.Object
	deniedField string
}

func runBlocksIntended(p *Pass) {
	in := intentOf(p)
	var found byKey[refusal]
	for a := range in.failing(flow.RBACDenied) {
		if k, ok := in.refusal(a); ok {
			found.add(k, a)
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		policy := k.policy
		f := Finding{
			Object: policy, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("%s denied %s on %s at egress gateway %s, although rule %d of %s allows it: %s; %s",
				c.who("is", "are"), upTo3(c.hosts), portsText(c.ports), k.pod.ID(), k.rule, policy, k.text, k.todo),
			Label: "the rule does not help these clients", Help: k.todo,
			Related: []Related{{policy, fmt.Sprintf("spec.rules[%d]", k.rule), "the rule that names the clients and the host"}, c.first.By.related()},
		}
		if k.deniedBy != nil {
			f.Related = append(f.Related, Related{k.deniedBy, k.deniedField, fmt.Sprintf("%s denies", k.deniedBy)})
		}
		p.Report(c.finding(f))
	}
}

// refusal returns the rule that comes nearest to allowing a request that a gateway
// denies, and why it does not; false where no rule means to, or where that cannot
// be told.
func (in *intent) refusal(a *attempt) (refusal, bool) {
	l := in.legOf(a.Trace)
	if l == nil || l.pod == nil || a.Trace.Reason != flow.RBACDenied || a.Trace.Via != flow.ViaGateway {
		return refusal{}, false
	}
	for _, attached := range []bool{true, false} {
		for _, policy := range in.push.Mesh.AuthorizationPolicies {
			if policy.Spec.GetAction() != security.AuthorizationPolicy_ALLOW || !enforced(policy) || in.inForce(policy, l.pod) != attached {
				continue
			}
			for _, r := range rulesOf(policy) {
				if _, ok := in.grants(r, a.Class[0], a.To.Host); !ok {
					continue
				}
				k := refusal{policy: policy.Object, rule: r.Index, pod: l.pod}
				if attached {
					in.whyNoMatch(&k, r, l, a)
				} else {
					in.whyNotInForce(&k, r, l.pod)
				}
				in.whoDenies(&k, a)
				return k, k.text != ""
			}
		}
	}
	return refusal{}, false
}

// inForce reports whether a gateway takes a policy.
func (in *intent) inForce(policy *model.AuthorizationPolicy, pod *model.Workload) bool {
	return (policy.Namespace == pod.Namespace || policy.Namespace == in.push.RootNamespace()) && model.Attached(policy.Namespace, policy.Spec, pod)
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
	case !slices.Contains(homes, policy.Namespace):
		k.field = "metadata.namespace"
		k.text = fmt.Sprintf("the policy lies in namespace %q, and the gateway takes policies only from %s", policy.Namespace, quoted(homes))
		k.todo = fmt.Sprintf("move it to namespace %q", pod.Namespace)
	default:
		k.field, k.text, k.todo = "spec.selector", "its selector does not select the gateway", "select the labels of the gateway's pods"
	}
	if methods := onlyMethods(r); slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") {
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
			if !slices.Contains(out, m) {
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
	for i, to := range r.GetTo() {
		if ports := to.GetOperation().GetPorts(); len(ports) > 0 && !slices.Contains(ports, listens) {
			k.field = r.field("to[%d].operation.ports", i)
			k.text = fmt.Sprintf("it asks for ports %s, and the gateway's pod listens on %s", quoted(ports), listens)
			k.todo = fmt.Sprintf("use port %q", listens)
			return
		}
	}
	for i, w := range r.GetWhen() {
		switch {
		case w.GetKey() == "destination.port" && len(w.GetValues()) > 0 && !slices.Contains(w.GetValues(), listens):
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

// deniedByOther explains a denial by a DENY or CUSTOM rule that names neither the
// client nor the host; one that does is meant.
func (in *intent) deniedByOther(k *refusal, a *attempt) {
	policy := in.policyNamed(a.Trace.Policy)
	if a.Trace.Rule == nil || policy == nil || *a.Trace.Rule >= len(policy.Spec.GetRules()) {
		return
	}
	r := rulesOf(policy)[*a.Trace.Rule]
	if fields, _ := r.identityFields(); len(fields) > 0 || slices.ContainsFunc(r.hosts(), func(n namedHost) bool { return n.covers(a.To.Host) }) {
		return
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

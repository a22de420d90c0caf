package model

import (
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	"istio.io/api/type/v1beta1"

	"istio.io/istio/pkg/config/host"
)

// AuthorizationPolicies are the policies that one proxy enforces, by action;
// those of the root namespace come first, each namespace's by age.
type AuthorizationPolicies struct {
	Custom, Deny, Allow, Audit []*AuthorizationPolicy
}

func (a *AuthorizationPolicies) add(policy *AuthorizationPolicy) {
	switch policy.Spec.GetAction() {
	case security.AuthorizationPolicy_CUSTOM:
		a.Custom = append(a.Custom, policy)
	case security.AuthorizationPolicy_DENY:
		a.Deny = append(a.Deny, policy)
	case security.AuthorizationPolicy_AUDIT:
		a.Audit = append(a.Audit, policy)
	default:
		a.Allow = append(a.Allow, policy)
	}
}

// AuthorizationPoliciesFor returns the policies that apply to a workload: those
// of the root namespace and of its own, restricted by selector. Policies with
// targetRefs never apply to sidecars and classic gateways (istio
// pilot/pkg/model/authorization.go, policyattachment.go).
func (p *PushContext) AuthorizationPoliciesFor(w *Workload) AuthorizationPolicies {
	return p.authorizationPolicies(w, p.RootNamespace(), w.Namespace)
}

// AuthorizationPoliciesOnTheWayTo returns the policies by which a client's
// sidecar filters what it sends to a service for which istiod asks it to: its
// own, and those of the service's namespace that select the client (istio
// pilot/pkg/model/authorization.go ListAuthorizationPolicies).
func (p *PushContext) AuthorizationPoliciesOnTheWayTo(client *Workload, s *Service) AuthorizationPolicies {
	return p.authorizationPolicies(client, p.RootNamespace(), client.Namespace, s.Namespace)
}

// authorizationPolicies returns the policies of some namespaces that select a
// workload.
func (p *PushContext) authorizationPolicies(w *Workload, in ...string) AuthorizationPolicies {
	var out AuthorizationPolicies
	var namespaces []string
	for _, ns := range in {
		if !contains(namespaces, ns) {
			namespaces = append(namespaces, ns)
		}
	}
	for _, ns := range namespaces {
		for _, policy := range p.index.policies[ns] {
			if p.Attached(policy.Namespace, policy.Spec, w) {
				out.add(policy)
			}
		}
	}
	return out
}

// TargetablePolicy is a policy that selects workloads by labels or by reference.
type TargetablePolicy interface {
	GetSelector() *v1beta1.WorkloadSelector
	GetTargetRef() *v1beta1.PolicyTargetReference
	GetTargetRefs() []*v1beta1.PolicyTargetReference
}

// TargetRefs returns a policy's references, the deprecated single one included.
func TargetRefs(policy TargetablePolicy) []*v1beta1.PolicyTargetReference {
	if refs := policy.GetTargetRefs(); len(refs) > 0 {
		return refs
	}
	if ref := policy.GetTargetRef(); ref != nil {
		return []*v1beta1.PolicyTargetReference{ref}
	}
	return nil
}

// Attached reports whether a policy of a namespace that counts for a workload
// (its own or the root namespace) applies to it (istio
// pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
func Attached(namespace string, policy TargetablePolicy, w *Workload) bool {
	refs := TargetRefs(policy)
	gateway, ofGatewayAPI := w.Labels[GatewayNameLabel]
	if len(refs) == 0 {
		return subset(policy.GetSelector().GetMatchLabels(), w.Labels)
	}
	if !ofGatewayAPI || namespace != w.Namespace {
		return false
	}
	for _, ref := range refs {
		if ref.GetGroup() == "gateway.networking.k8s.io" && ref.GetKind() == "Gateway" && ref.GetName() == gateway &&
			(ref.GetNamespace() == "" || ref.GetNamespace() == w.Namespace) {
			return true
		}
	}
	return false
}

// Attached is [Attached] as the istiod of the push decides: with
// ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY off, gateways of the Gateway API take
// policies by reference only.
func (p *PushContext) Attached(namespace string, policy TargetablePolicy, w *Workload) bool {
	if _, ofGatewayAPI := w.Labels[GatewayNameLabel]; ofGatewayAPI && len(TargetRefs(policy)) == 0 && !p.Config.Enabled("ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY") {
		return false
	}
	return Attached(namespace, policy, w)
}

// AttachedToWaypoint reports whether a policy of a namespace applies to what a
// waypoint does for a service: only by reference, to the Gateway in its own
// namespace, to the service in the service's, or to the GatewayClass in the
// root namespace; never by selector. Without a service only what is attached to
// the waypoint as a whole counts (istio pilot/pkg/model/policyattachment.go
// ShouldAttachPolicy).
func (p *PushContext) AttachedToWaypoint(namespace string, policy TargetablePolicy, g *KubeGateway, s *Service) bool {
	for _, ref := range TargetRefs(policy) {
		group := ref.GetGroup()
		switch ref.GetKind() {
		case "Service":
			if s != nil && (group == "" || group == "core") && s.Kubernetes() && ref.GetName() == s.Object.Name && namespace == s.Namespace {
				return true
			}
		case "ServiceEntry":
			if s != nil && group == "networking.istio.io" && !s.Kubernetes() && ref.GetName() == s.Object.Name && namespace == s.Namespace {
				return true
			}
		case "GatewayClass":
			if group == "gateway.networking.k8s.io" && ref.GetName() == gatewayClassWaypoint && namespace == p.RootNamespace() {
				return true
			}
		case "Gateway":
			if group == "gateway.networking.k8s.io" && ref.GetName() == g.Name && namespace == g.Namespace &&
				(ref.GetNamespace() == "" || ref.GetNamespace() == namespace) {
				return true
			}
		}
	}
	return false
}

// AuthorizationPoliciesForWaypoint returns the policies that a waypoint enforces
// for a service.
func (p *PushContext) AuthorizationPoliciesForWaypoint(g *KubeGateway, s *Service) AuthorizationPolicies {
	var out AuthorizationPolicies
	for _, ns := range p.waypointPolicyNamespaces(g, s) {
		for _, policy := range p.index.policies[ns] {
			if p.AttachedToWaypoint(ns, policy.Spec, g, s) {
				out.add(policy)
			}
		}
	}
	return out
}

// waypointPolicyNamespaces are where policies of a waypoint may be, in order.
func (p *PushContext) waypointPolicyNamespaces(g *KubeGateway, s *Service) []string {
	out := []string{p.RootNamespace()}
	for _, ns := range []string{g.Namespace, s.Namespace} {
		if !contains(out, ns) {
			out = append(out, ns)
		}
	}
	return out
}

// RequestAuthenticationsForWaypoint returns the RequestAuthentications that a
// waypoint applies for a service.
func (p *PushContext) RequestAuthenticationsForWaypoint(g *KubeGateway, s *Service) []*RequestAuthentication {
	var out []*RequestAuthentication
	for _, r := range p.index.allRequests {
		if p.AttachedToWaypoint(r.Namespace, r.Spec, g, s) {
			out = append(out, r)
		}
	}
	return out
}

// EnvoyFiltersForWaypoint returns the EnvoyFilters of a waypoint: those of its
// own and of the root namespace that refer to its Gateway or GatewayClass;
// references to services match nothing (istio pilot/pkg/model/push_context.go
// getMatchedEnvoyFilters).
func (p *PushContext) EnvoyFiltersForWaypoint(g *KubeGateway) []*EnvoyFilter {
	var out []*EnvoyFilter
	for _, f := range p.Mesh.EnvoyFilters {
		if (f.Namespace == g.Namespace || f.Namespace == p.RootNamespace()) && p.AttachedToWaypoint(f.Namespace, envoyFilterTarget{f.Spec}, g, nil) {
			out = append(out, f)
		}
	}
	return out
}

// LayeredAuthorizationPolicies returns the policies that a waypoint enforces on
// tunnels as such: with ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES those
// that hold by namespace or selector (istio
// pilot/pkg/networking/core/listener_waypoint.go buildHCMConnectTerminateChain).
func (p *PushContext) LayeredAuthorizationPolicies(w *Workload) []*AuthorizationPolicy {
	if !p.Config.Enabled("ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES") {
		return nil
	}
	var out []*AuthorizationPolicy
	for _, policy := range p.index.allPolicies {
		if (policy.Namespace == p.RootNamespace() || policy.Namespace == w.Namespace) && len(TargetRefs(policy.Spec)) == 0 && p.Attached(policy.Namespace, policy.Spec, w) {
			out = append(out, policy)
		}
	}
	return out
}

// envoyFilterTarget lets an EnvoyFilter be asked as policies are.
type envoyFilterTarget struct{ *networking.EnvoyFilter }

// GetSelector is never asked for waypoints.
func (envoyFilterTarget) GetSelector() *v1beta1.WorkloadSelector { return nil }

// GetTargetRef is a field that EnvoyFilters never had.
func (envoyFilterTarget) GetTargetRef() *v1beta1.PolicyTargetReference { return nil }

// DryRun reports whether a policy is only evaluated for show.
func DryRun(policy *AuthorizationPolicy) bool {
	value, ok := policy.Annotations["istio.io/dry-run"]
	if !ok {
		return false // to say what is wrong with no value costs
	}
	on, err := strconv.ParseBool(value)
	return err == nil && on
}

// RequestAuthenticationsFor returns the RequestAuthentications that apply to a
// workload.
func (p *PushContext) RequestAuthenticationsFor(w *Workload) []*RequestAuthentication {
	var out []*RequestAuthentication
	for _, r := range p.index.allRequests {
		if (r.Namespace == p.RootNamespace() || r.Namespace == w.Namespace) && p.Attached(r.Namespace, r.Spec, w) {
			out = append(out, r)
		}
	}
	return out
}

// MutualTLSMode says which connections a sidecar takes.
type MutualTLSMode int

const (
	// MTLSUnknown means that no PeerAuthentication says anything.
	MTLSUnknown MutualTLSMode = iota
	// MTLSDisable takes plaintext only.
	MTLSDisable
	// MTLSPermissive takes both.
	MTLSPermissive
	// MTLSStrict takes mesh TLS only.
	MTLSStrict
)

func mutualTLSMode(m security.PeerAuthentication_MutualTLS_Mode) MutualTLSMode {
	switch m {
	case security.PeerAuthentication_MutualTLS_DISABLE:
		return MTLSDisable
	case security.PeerAuthentication_MutualTLS_PERMISSIVE:
		return MTLSPermissive
	case security.PeerAuthentication_MutualTLS_STRICT:
		return MTLSStrict
	default:
		return MTLSUnknown
	}
}

// namespacePeerAuthentication returns the oldest PeerAuthentication without
// selector in a namespace, nil if none.
func (p *PushContext) namespacePeerAuthentication(namespace string) *PeerAuthentication {
	for _, a := range p.index.peers[namespace] {
		if len(a.Spec.GetSelector().GetMatchLabels()) == 0 {
			return a
		}
	}
	return nil
}

// NamespaceMTLS returns the mode that holds for a namespace by its own or the
// mesh-wide PeerAuthentication, MTLSUnknown without either (istio
// pilot/pkg/model/authentication.go GetNamespaceMutualTLSMode).
func (p *PushContext) NamespaceMTLS(namespace string) MutualTLSMode {
	mesh := MTLSUnknown
	if a := p.namespacePeerAuthentication(p.RootNamespace()); a != nil {
		if mesh = mutualTLSMode(a.Spec.GetMtls().GetMode()); mesh == MTLSUnknown {
			mesh = MTLSPermissive
		}
	}
	if namespace != p.RootNamespace() {
		if a := p.namespacePeerAuthentication(namespace); a != nil {
			switch mode := mutualTLSMode(a.Spec.GetMtls().GetMode()); {
			case mode != MTLSUnknown:
				return mode
			case mesh == MTLSUnknown:
				return MTLSPermissive
			}
		}
	}
	return mesh
}

// WorkloadMTLS returns the mode in which a workload's sidecar takes connections
// on a port of the pod, and the PeerAuthentication that says so (nil for the
// default). The workload's policy beats the namespace's, which beats the
// mesh's; an unset mode inherits (istio
// pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication).
func (p *PushContext) WorkloadMTLS(namespace string, labels map[string]string, port int) (MutualTLSMode, *PeerAuthentication, string) {
	mode, from, field := MTLSPermissive, (*PeerAuthentication)(nil), ""
	take := func(a *PeerAuthentication) {
		if a == nil {
			return
		}
		if m := mutualTLSMode(a.Spec.GetMtls().GetMode()); m != MTLSUnknown {
			mode, from, field = m, a, "spec.mtls.mode"
		}
	}
	take(p.namespacePeerAuthentication(p.RootNamespace()))
	if namespace != p.RootNamespace() {
		take(p.namespacePeerAuthentication(namespace))
	}
	for _, a := range p.index.peers[namespace] {
		selector := a.Spec.GetSelector().GetMatchLabels()
		if len(selector) == 0 || !subset(selector, labels) {
			continue
		}
		take(a)
		if m := a.Spec.GetPortLevelMtls()[uint32(port)]; m != nil { //nolint:gosec // a port number
			if pm := mutualTLSMode(m.GetMode()); pm != MTLSUnknown {
				mode, from, field = pm, a, "spec.portLevelMtls['"+strconv.Itoa(port)+"'].mode"
			}
		}
		break // only the oldest counts
	}
	return mode, from, field
}

// TrustDomains returns the mesh's trust domain and its aliases.
func (p *PushContext) TrustDomains() []string {
	domain := p.Config.GetTrustDomain()
	if domain == "" {
		domain = "cluster.local"
	}
	return append([]string{domain}, p.Config.GetTrustDomainAliases()...)
}

// Identity returns the SPIFFE identity of a workload.
//
//go:noinline
func (p *PushContext) Identity(w *Workload) string {
	return p.identity(w.Namespace, w.ServiceAccount)
}

func (p *PushContext) identity(namespace, account string) string {
	return "spiffe://" + strings.Join([]string{p.TrustDomains()[0], "ns", namespace, "sa", account}, "/")
}

// EnvoyFiltersFor returns the EnvoyFilters that apply to a workload: those of
// the root namespace and of its own, restricted by workload selector (istio
// pilot/pkg/model/push_context.go EnvoyFilters).
func (p *PushContext) EnvoyFiltersFor(w *Workload) []*EnvoyFilter {
	var out []*EnvoyFilter
	for _, f := range p.Mesh.EnvoyFilters {
		if (f.Namespace == p.RootNamespace() || f.Namespace == w.Namespace) && len(f.Spec.GetTargetRefs()) == 0 &&
			subset(f.Spec.GetWorkloadSelector().GetLabels(), w.Labels) {
			out = append(out, f)
		}
	}
	return out
}

// FindsProvider reports whether istiod finds the service of an external
// authorizer, "host" or "namespace/host"; without it, istiod denies (istio
// pilot/pkg/model/telemetry_logging.go LookupCluster). A Service of a namespace
// of which the input holds nothing counts as found, and so does one that holds a
// placeholder.
func (p *PushContext) FindsProvider(service string) bool {
	namespace, name, qualified := strings.Cut(service, "/")
	if !qualified {
		namespace, name = "", service
	}
	byNamespace := p.byHost[host.Name(name)]
	if qualified && byNamespace[namespace] != nil || !qualified && len(byNamespace) == 1 {
		return true
	}
	if len(byNamespace) > 0 {
		return false
	}
	_, rest, _ := strings.Cut(name, ".")
	in, suffix, _ := strings.Cut(rest, ".")
	return suffix == "svc."+DomainSuffix && !p.Mesh.HoldsWorkloadsOf(in) || slices.ContainsFunc(p.Mesh.Unfilled(), func(u *Unfilled) bool {
		return (u.Kind == "Service" || u.Kind == "ServiceEntry") && u.About(strings.ToLower(name))
	})
}

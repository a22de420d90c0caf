package envoy

import (
	"net/netip"
	"sort"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	uritemplate "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// subject is what RBAC rules are asked about.
type subject struct {
	*session
	// request is nil for a stream of bytes.
	request *Request
	// remote is the client as forwarding headers tell it.
	remote netip.Addr
	// deny is what a filter answers with; a status makes it HTTP.
	status int
}

// rbacEngine holds the rules of one filter; nil has none and lets everything
// pass.
type rbacEngine struct {
	action   rbac.RBAC_Action
	keys     []string // sorted: Envoy keeps policies in an ordered map
	policies map[string]*rbac.Policy
}

func compileRBAC(rules *rbac.RBAC) *rbacEngine {
	if rules == nil {
		return nil
	}
	e := &rbacEngine{action: rules.GetAction(), policies: rules.GetPolicies()}
	for key := range e.policies {
		e.keys = append(e.keys, key)
	}
	sort.Strings(e.keys)
	return e
}

// matched is the first policy that matches, "" if none does.
func (e *rbacEngine) matched(s *subject) string {
	for _, key := range e.keys {
		policy := e.policies[key]
		if policy.GetCondition() != nil || policy.GetCheckedCondition() != nil {
			continue
		}
		if anyPermission(policy.GetPermissions(), s) && anyPrincipal(policy.GetPrincipals(), s) {
			return key
		}
	}
	return ""
}

// check enforces the rules.
func (e *rbacEngine) check(s *subject) *Stop {
	if e == nil {
		return nil
	}
	key := e.matched(s)
	switch e.action {
	case rbac.RBAC_ALLOW:
		if key == "" {
			return &Stop{Reason: Denied, Status: s.status, Allow: true}
		}
	case rbac.RBAC_DENY:
		if key != "" {
			return &Stop{Reason: Denied, Status: s.status, Policies: []string{key}}
		}
	case rbac.RBAC_LOG:
	}
	return nil
}

// shadow evaluates rules only to leave a note for later filters.
func (e *rbacEngine) shadow(s *subject, prefix string, session *session) {
	if e == nil {
		return
	}
	key := e.matched(s)
	if key == "" {
		return
	}
	if session.metadata == nil {
		session.metadata = map[string]string{}
	}
	session.metadata[prefix+"shadow_effective_policy_id"] = key
}

// metadataEnables evaluates the condition under which an external authorizer
// is asked: on the note that an RBAC filter left. Without one it always is.
func metadataEnables(m *matcher.MetadataMatcher, s *session) bool {
	if m == nil {
		return true
	}
	var path []string
	for _, segment := range m.GetPath() {
		path = append(path, segment.GetKey())
	}
	value, found := s.metadata[strings.Join(path, ".")]
	return (found && matchString(m.GetValue().GetStringMatch(), value)) != m.GetInvert()
}

func anyPermission(permissions []*rbac.Permission, s *subject) bool {
	for _, p := range permissions {
		if permits(p, s) {
			return true
		}
	}
	return false
}

func permits(p *rbac.Permission, s *subject) bool {
	switch rule := p.GetRule().(type) {
	case *rbac.Permission_AndRules:
		for _, r := range rule.AndRules.GetRules() {
			if !permits(r, s) {
				return false
			}
		}
		return true
	case *rbac.Permission_OrRules:
		return anyPermission(rule.OrRules.GetRules(), s)
	case *rbac.Permission_NotRule:
		return !permits(rule.NotRule, s)
	case *rbac.Permission_Any:
		return rule.Any
	case *rbac.Permission_Header:
		// Without a request Envoy matches against no headers at all.
		request := s.request
		if request == nil {
			return headerless(rule.Header)
		}
		return matchHeader(rule.Header, request)
	case *rbac.Permission_UrlPath:
		return s.request != nil && matchString(rule.UrlPath.GetPath(), withoutQuery(s.request.Path))
	case *rbac.Permission_UriTemplate:
		template := &uritemplate.UriTemplateMatchConfig{}
		if s.request == nil || rule.UriTemplate.GetTypedConfig().UnmarshalTo(template) != nil {
			return false
		}
		return matchTemplate(template.GetPathTemplate(), withoutQuery(s.request.Path))
	case *rbac.Permission_DestinationIp:
		return inRange(rule.DestinationIp, s.conn.Destination.Addr())
	case *rbac.Permission_DestinationPort:
		return rule.DestinationPort == uint32(s.conn.Destination.Port())
	case *rbac.Permission_DestinationPortRange:
		port := int32(s.conn.Destination.Port())
		return port >= rule.DestinationPortRange.GetStart() && port < rule.DestinationPortRange.GetEnd()
	case *rbac.Permission_RequestedServerName:
		// Envoy keeps it in lower case (ConnectionSocketImpl).
		return matchString(rule.RequestedServerName, strings.ToLower(s.serverName))
	case *rbac.Permission_Metadata:
		// No filter that the mesh uses leaves metadata that a rule reads,
		// except the verifier of tokens, and requests with a token have been
		// found unknown before.
		return rule.Metadata.GetInvert()
	default:
		return false
	}
}

func anyPrincipal(principals []*rbac.Principal, s *subject) bool {
	for _, p := range principals {
		if identifies(p, s) {
			return true
		}
	}
	return false
}

func identifies(p *rbac.Principal, s *subject) bool {
	switch id := p.GetIdentifier().(type) {
	case *rbac.Principal_AndIds:
		for _, i := range id.AndIds.GetIds() {
			if !identifies(i, s) {
				return false
			}
		}
		return true
	case *rbac.Principal_OrIds:
		return anyPrincipal(id.OrIds.GetIds(), s)
	case *rbac.Principal_NotId:
		return !identifies(id.NotId, s)
	case *rbac.Principal_Any:
		return id.Any
	case *rbac.Principal_Authenticated_:
		if s.terminated == nil {
			return false
		}
		if id.Authenticated.GetPrincipalName() == nil {
			return true
		}
		return matchString(id.Authenticated.GetPrincipalName(), s.terminated.Identity)
	case *rbac.Principal_SourceIp:
		return inRange(id.SourceIp, s.conn.Source)
	case *rbac.Principal_DirectRemoteIp:
		return inRange(id.DirectRemoteIp, s.conn.Source)
	case *rbac.Principal_RemoteIp:
		remote := s.remote
		if !remote.IsValid() {
			remote = s.conn.Source
		}
		return inRange(id.RemoteIp, remote)
	case *rbac.Principal_Header:
		if s.request == nil {
			return headerless(id.Header)
		}
		return matchHeader(id.Header, s.request)
	case *rbac.Principal_UrlPath:
		return s.request != nil && matchString(id.UrlPath.GetPath(), withoutQuery(s.request.Path))
	case *rbac.Principal_Metadata:
		return id.Metadata.GetInvert()
	case *rbac.Principal_FilterState:
		return id.FilterState.GetKey() == peerPrincipal && s.conn.Peer != "" && matchString(id.FilterState.GetStringMatch(), s.conn.Peer)
	default:
		return false
	}
}

// peerPrincipal is the filter state with the identity of who uses a tunnel.
const peerPrincipal = "io.istio.peer_principal"

func inRange(r *core.CidrRange, address netip.Addr) bool {
	base, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		return false
	}
	prefix, err := base.Prefix(int(r.GetPrefixLen().GetValue()))
	return err == nil && prefix.Contains(address)
}

// matchTemplate is Envoy's URI template: "*" is one segment, "**" any rest.
func matchTemplate(template, path string) bool {
	const literal = `a-zA-Z0-9\-._~%!$&'()+,;:@=`
	var expression strings.Builder
	for i := 0; i < len(template); {
		switch {
		case strings.HasPrefix(template[i:], "**"):
			expression.WriteString(`[` + literal + `/]*`)
			i += 2
		case template[i] == '*':
			expression.WriteString(`[` + literal + `]+`)
			i++
		default:
			expression.WriteString(quoteMeta(template[i]))
			i++
		}
	}
	return fullMatch(expression.String(), path)
}

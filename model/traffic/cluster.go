package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// clusterKind is how a cluster finds where to go.
type clusterKind int

const (
	// toEndpoints goes to one of the endpoints.
	toEndpoints clusterKind = iota
	// toOriginal goes to the address that the application dialled.
	toOriginal
	// toNamed goes to the host that the request or the server name names.
	toNamed
	// toNowhere has no endpoint by design.
	toNowhere
)

// cluster is where a proxy sends requests or connections (istio
// pilot/pkg/networking/core/cluster.go, cluster_tls.go).
type cluster struct {
	// open are the objects with placeholders that it may depend on, once looked for.
	open    []*model.Unfilled
	looked  bool
	name    string
	kind    clusterKind
	service *model.Service
	port    *model.Port
	// overridePort replaces the dialled port, 0 if it does not.
	overridePort int
	endpoints    []model.Endpoint
	// labels are those of the subset.
	labels map[string]string

	tls *upstreamTLS
	// autoMTLS: mesh TLS towards endpoints that are marked to take it.
	autoMTLS bool
	// endpointMode is the TLS mode by which endpoints are marked instead of by
	// their sidecars, nil usually.
	endpointMode *networking.ClientTLSSettings_TLSmode

	// forwards: it gets mesh TLS that someone else has made, and passes it on
	// unopened.
	forwards bool

	// missing says why the cluster does not exist, "" if it does; unsure, why
	// that is not known although it looks so.
	missing, unsure string
	// contested is what istiod chooses between at one of the endpoints, nil
	// usually.
	contested *contest
	// chance says why istiod itself may know the endpoints or not.
	chance string
	// unmodelled says why it is not known what the cluster does.
	unmodelled *model.Unmodelled
	because    []flow.Because
}

// upstreamTLS is the TLS that a cluster originates.
type upstreamTLS struct {
	mode networking.ClientTLSSettings_TLSmode
	// sni is sent as server name; with autoSNI it is the Host header.
	sni     string
	autoSNI bool
	// announced: HTTP in it is announced as in mesh TLS, whoever's the certificate is.
	announced bool
	sans      []string
	because   []flow.Because
}

func clusterName(port int, subset, hostname string) string {
	return "outbound|" + strconv.Itoa(port) + "|" + subset + "|" + hostname
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func hostName(s string) host.Name { return host.Name(s) }

// destinationCluster names the cluster of a route's destination. Without a port
// it is the only port of the service, where the proxy looked the service up,
// else the listener's (istio route.go GetDestinationCluster).
func destinationCluster(d *networking.Destination, service *model.Service, listenerPort int) string {
	if d.GetHost() == "" {
		return "UnknownService"
	}
	h := d.GetHost()
	if service != nil && service.ExternalName != "" {
		h = service.ExternalName
	}
	port := listenerPort
	if d.GetPort() != nil {
		port = int(d.GetPort().GetNumber())
	} else if service != nil && len(service.Ports) == 1 {
		port = service.Ports[0].Number
	}
	return clusterName(port, d.GetSubset(), h)
}

// cluster returns a cluster by its name. It is never nil: one that istiod does
// not send says why.
func (p *proxy) cluster(name string) *cluster {
	if c := p.clusters[name]; c != nil {
		return c
	}
	c := p.compileCluster(name)
	p.clusters[name] = c
	return c
}

func (p *proxy) compileCluster(name string) *cluster {
	c := &cluster{name: name}
	switch name {
	case passthroughCluster:
		c.kind = toOriginal
		return c
	case dynamicDNSCluster:
		c.kind = toNamed
		p.originateUnasked(c)
		return c
	case blackHoleCluster:
		c.kind = toNowhere
		return c
	}
	parts, forwards := clusterParts(name)
	if c.forwards = forwards; len(parts) != 4 {
		c.missing = "the route leads nowhere"
		return c
	}
	number, _ := strconv.Atoi(parts[1])
	subset, hostname := parts[2], host.Name(parts[3])
	if parts[0] == "inbound-vip" {
		p.compileVIP(c, number, subset, parts[3])
		return c
	}

	if hostname == model.InferencePoolHost {
		c.unmodelled = &model.Unmodelled{Why: "the route leads to an InferencePool, whose picker chooses the pod; that is not simulated"}
		return c
	}
	c.service = p.scope.Service(hostname)
	if c.service == nil {
		c.missing, c.unsure = p.whyUnknown(hostname)
		return c
	}
	c.because = append(c.because, flow.Because{Object: c.service.Object, Field: c.service.HostField})
	if c.service.Resolution == model.Alias {
		c.missing = fmt.Sprintf("%s is only another name for %s", hostname, c.service.ExternalName)
		return c
	}
	if p.filteredOut(c) {
		c.missing = fmt.Sprintf("no route of its Gateways names %s, and gateways get the clusters of such hosts alone (PILOT_FILTER_GATEWAY_CLUSTER_CONFIG)", hostname)
		return c
	}
	c.port = c.service.PortByNumber(number)
	if c.port == nil {
		c.missing = fmt.Sprintf("%s has no port %d", c.service.Object, number)
		c.because[0].Field = "spec.ports"
		return c
	}
	c.because = append(c.because, flow.Because{Object: c.port.Object, Field: c.port.Field})
	rule := p.push.DestinationRule(p.namespace, p.labels, c.service)
	var chosen *model.Subset
	if subset != "" {
		if rule != nil {
			chosen = rule.SubsetByName(subset)
		}
		if chosen == nil || p.dynamicForward(c.service) {
			p.missingSubset(c, rule, subset)
			return c
		}
		c.labels = chosen.GetLabels()
		c.because = append(c.because, flow.Because{Object: chosen.From.Object, Field: chosen.Field})
	}
	p.discover(c, rule, chosen)
	switch {
	case c.missing != "":
	case c.forwards:
		p.forwardsTo(c, rule, chosen)
	default:
		p.applyTLS(c, rule, chosen)
	}
	if u := p.push.UnmodelledBackend(c.service); u != nil {
		c.unmodelled = u
	}
	return c
}

// dynamicForward reports whether a service is resolved from the request's host.
func (p *proxy) dynamicForward(s *model.Service) bool {
	return s.Hostname.IsWildCarded() && s.Resolution == model.DynamicDNS
}

// whyUnknown says why a host is not in the proxy's registry. A Service of the
// cluster in a namespace of which the input holds nothing that could be behind
// it may well exist.
func (p *proxy) whyUnknown(h host.Name) (missing, unsure string) {
	name, rest, _ := strings.Cut(string(h), ".")
	namespace, suffix, _ := strings.Cut(rest, ".")
	if suffix == "svc."+model.DomainSuffix && !p.sim.mesh.HoldsWorkloadsOf(namespace) {
		return fmt.Sprintf("Service %s/%s is not in the input", namespace, name),
			fmt.Sprintf("the input holds no workload and no Service of namespace %s, where Service %s should be", namespace, name)
	}
	if why := p.push.UndeployedGateway(h); why != "" {
		return fmt.Sprintf("Service %s/%s is not in the input", namespace, name), why
	}
	if u := clusterSet(p.push.Config, string(h)); u != nil {
		return fmt.Sprintf("%s is in no registry", h), u.Why
	}
	if g := p.push.GatewayWithoutPods(namespace); suffix == "svc."+model.DomainSuffix && g != nil && p.push.KubeServiceIn(name, namespace) == nil {
		return fmt.Sprintf("Service %s/%s is not in the input", namespace, name),
			fmt.Sprintf("Service %s/%s is not in the input, and neither are the pods that Gateway %s selects: both may well exist", namespace, name, g.ID())
	}
	for _, s := range p.push.ServicesOf(h) {
		return fmt.Sprintf("%s registers %s, but proxies in namespace %s do not see it", s.Object, h, p.namespace), ""
	}
	return fmt.Sprintf("%s is in no registry", h), ""
}

func (p *proxy) missingSubset(c *cluster, rule *model.MergedDestinationRule, subset string) {
	if rule == nil {
		c.missing = fmt.Sprintf("no DestinationRule for %s applies to clients in namespace %s, so subset %q does not exist", c.service.Hostname, p.namespace, subset)
		return
	}
	c.missing = fmt.Sprintf("DestinationRule %s, which applies to clients in namespace %s, has no subset %q", rule, p.namespace, subset)
	c.because = append(c.because, flow.Because{Object: rule.From[0].Object, Field: "spec.subsets"})
}

// discover decides how the cluster finds its endpoints (istio cluster.go
// convertResolution).
func (p *proxy) discover(c *cluster, rule *model.MergedDestinationRule, subset *model.Subset) {
	s := c.service
	switch {
	case p.dynamicForward(s):
		switch c.port.Protocol {
		case protocol.HTTP, protocol.TLS, protocol.GRPC, protocol.HTTP2:
			c.kind = toNamed
		default:
			c.missing = fmt.Sprintf("resolution DYNAMIC_DNS does not take protocol %s", c.port.Protocol)
		}
		return
	case s.Resolution == model.Passthrough && s.Kubernetes() && (p.role == waypointRole || p.enabled("PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES")):
		// Headless Services have endpoints (istio cluster.go convertResolution).
	case s.Resolution == model.Passthrough && p.role != gatewayRole:
		c.kind = toOriginal
		if s.Entry != nil && c.port.TargetPort > 0 {
			c.overridePort = c.port.TargetPort
		}
		return
	}
	dns := s.Resolution.ByDNS()
	if p.passthrough(c, rule, subset) {
		// The cluster is made of its endpoints first, and not at all where names
		// have none (istio cluster_builder.go buildCluster).
		if dns && len(p.push.Endpoints(s, c.port)) == 0 {
			c.missing = fmt.Sprintf("%s has no endpoint", s.Object)
			return
		}
		c.kind = toOriginal
		return
	}
	for _, e := range p.push.ListedEndpoints(s, c.port) {
		if !labelsMatch(c.labels, e.Labels) || !dns && p.draining(s, &e) {
			continue
		}
		// Endpoints that are names cannot be sent by EDS.
		if !dns && !e.IsUnixSocket() && !isAddress(e.Address) {
			continue
		}
		if u := p.push.ByNetwork(&e); u != nil {
			c.unmodelled = u
		}
		c.endpoints = append(c.endpoints, e)
	}
	if !dns {
		p.contestEndpoints(c)
		c.endpoints = model.DistinctEndpoints(c.endpoints)
	}
	if s.HiddenEndpoints() && !p.push.SelectsNothing(s) {
		c.chance = fmt.Sprintf("%s is exported to nobody (\"~\"): istiod takes over its endpoints when the Service changes, not when they do, so that it depends on what happened last whether sidecars know any", s.Object)
		return
	}
	switch {
	case len(c.endpoints) > 0:
		c.chance = s.NodeLocal()
	case dns:
		c.missing = fmt.Sprintf("%s has no endpoint", s.Object)
		if subset != nil {
			c.missing = fmt.Sprintf("no endpoint of %s has the labels of subset %q", s.Object, subset.GetName())
		}
	case p.push.SelectsNothing(s):
		c.unsure = fmt.Sprintf("no workload in the input has the labels that %s selects", s.Object)
	}
}

// passthrough reports whether a rule sends what a cluster gets to the address
// that the application dialled. A subset cannot undo it: its cluster begins as
// that of the whole service is (istio cluster_builder.go buildSubsetCluster).
func (p *proxy) passthrough(c *cluster, rule *model.MergedDestinationRule, subset *model.Subset) bool {
	asks := func(policy *networking.TrafficPolicy) bool {
		return policy.GetLoadBalancer().GetSimple() == networking.LoadBalancerSettings_PASSTHROUGH
	}
	return asks(p.policyOf(c, rule, nil)) || subset != nil && (asks(subset.GetTrafficPolicy()) || asks(p.policyOf(c, rule, subset)))
}

// policyOf resolves the traffic policy of a cluster: an entry of
// portLevelSettings for the port replaces the whole policy, a subset's policy
// overrides it field by field (istio util.MergeSubsetTrafficPolicy).
func (p *proxy) policyOf(c *cluster, rule *model.MergedDestinationRule, subset *model.Subset) *networking.TrafficPolicy {
	if rule == nil {
		return nil
	}
	policy, _, _ := portPolicy(rule.Policy, c.port.Number)
	if subset == nil || subset.GetTrafficPolicy() == nil {
		return policy
	}
	own, _, portLevel := portPolicy(subset.GetTrafficPolicy(), c.port.Number)
	if policy == nil {
		return own
	}
	merged := &networking.TrafficPolicy{Tls: policy.GetTls(), LoadBalancer: policy.GetLoadBalancer()}
	if own.GetTls() != nil || portLevel {
		merged.Tls = own.GetTls()
	}
	if own.GetLoadBalancer() != nil || portLevel {
		merged.LoadBalancer = own.GetLoadBalancer()
	}
	return merged
}

// portPolicy returns the policy for a port, its field path within the policy,
// and whether it is an entry of portLevelSettings.
func portPolicy(policy *networking.TrafficPolicy, port int) (*networking.TrafficPolicy, string, bool) {
	for i, s := range policy.GetPortLevelSettings() {
		if s.GetPort() != nil && int(s.GetPort().GetNumber()) == port {
			return &networking.TrafficPolicy{Tls: s.GetTls(), LoadBalancer: s.GetLoadBalancer()}, fmt.Sprintf(".portLevelSettings[%d]", i), true
		}
	}
	return policy, "", false
}

// tlsSource finds the field that gives the TLS settings of a cluster, for the
// explanation.
func tlsSource(rule *model.MergedDestinationRule, subset *model.Subset, port int) []flow.Because {
	if subset != nil {
		own, at, portLevel := portPolicy(subset.GetTrafficPolicy(), port)
		if own.GetTls() != nil || portLevel {
			return []flow.Because{{Object: subset.From.Object, Field: subset.Field + ".trafficPolicy" + at + tlsField(own)}}
		}
	}
	if rule != nil && rule.PolicyFrom != nil {
		own, at, _ := portPolicy(rule.Policy, port)
		if own.GetTls() != nil || at != "" {
			return []flow.Because{{Object: rule.PolicyFrom.Object, Field: "spec.trafficPolicy" + at + tlsField(own)}}
		}
	}
	return nil
}

func tlsField(policy *networking.TrafficPolicy) string {
	if policy.GetTls() == nil {
		return ""
	}
	return ".tls.mode"
}

// applyTLS decides which TLS the cluster originates (istio cluster_tls.go
// buildUpstreamTLSSettings, buildUpstreamClusterTLSContext).
func (p *proxy) applyTLS(c *cluster, rule *model.MergedDestinationRule, subset *model.Subset) {
	if rule != nil && (rule.Policy.GetProxyProtocol() != nil || subset != nil && subset.GetTrafficPolicy().GetProxyProtocol() != nil) {
		c.unmodelled = &model.Unmodelled{
			Why:   fmt.Sprintf("DestinationRule %s puts a line of the PROXY protocol in front, and whether the server expects one is not in the manifests", rule),
			Place: model.Place{Object: rule.From[0].Object, Field: "spec.trafficPolicy"},
		}
	}
	settings := p.policyOf(c, rule, subset).GetTls()
	from := tlsSource(rule, subset, c.port.Number)
	if settings == nil {
		c.because = append(c.because, from...)
		c.endpointMode = endpointMode(rule, subset, c.port.Number)
		p.inferTLS(c, rule, subset)
		return
	}
	sni := settings.GetSni()
	if mode := settings.GetMode(); (mode == networking.ClientTLSSettings_ISTIO_MUTUAL || mode == networking.ClientTLSSettings_MUTUAL) && p.ownCertificates(c.service, true) {
		// A rule of mode MUTUAL keeps the announcement out (istio
		// pilot/pkg/networking/util/util.go AddALPNOverrideToMetadata).
		c.tls = &upstreamTLS{mode: networking.ClientTLSSettings_MUTUAL, sni: sni, autoSNI: sni == "", announced: mode == networking.ClientTLSSettings_ISTIO_MUTUAL,
			sans: settings.GetSubjectAltNames(), because: from}
		return
	}
	switch settings.GetMode() {
	case networking.ClientTLSSettings_DISABLE:
		c.because = append(c.because, from...)
	case networking.ClientTLSSettings_ISTIO_MUTUAL:
		if sni == "" {
			sni = meshSNI(c, subset)
		}
		sans := settings.GetSubjectAltNames()
		if sans == nil {
			sans = p.push.ServiceIdentities(c.service)
		}
		c.tls = &upstreamTLS{mode: settings.GetMode(), sni: sni, sans: sans, because: from}
	case networking.ClientTLSSettings_SIMPLE, networking.ClientTLSSettings_MUTUAL:
		// Without workloadSelector every sidecar would need the Secret: istiod
		// then sends no TLS at all.
		if name := settings.GetCredentialName(); name != "" && !strings.HasPrefix(name, "configmap://") && p.role == sidecarRole && !rule.HasSelector {
			c.because = append(c.because, from...)
			return
		}
		// A MUTUAL policy without certificate is dropped with an error in
		// istiod's log.
		if settings.GetMode() == networking.ClientTLSSettings_MUTUAL && settings.GetCredentialName() == "" &&
			(settings.GetClientCertificate() == "" || settings.GetPrivateKey() == "") {
			c.because = append(c.because, from...)
			return
		}
		c.tls = &upstreamTLS{mode: settings.GetMode(), sni: sni, autoSNI: sni == "", sans: settings.GetSubjectAltNames(), because: from}
	}
}

// meshSNI is the server name of mesh TLS where no rule sets one.
func meshSNI(c *cluster, subset *model.Subset) string {
	name := ""
	if subset != nil {
		name = subset.GetName()
	}
	return fmt.Sprintf("outbound_.%d_.%s_.%s", c.port.Number, name, c.service.Hostname)
}

// endpointMode is the TLS mode that EDS reads from a rule, field by field: the
// mode above an entry of portLevelSettings without one counts, although that
// entry replaces the whole policy for the cluster (istio
// pilot/pkg/xds/endpoints/mtls_checker.go tlsModeForDestinationRule).
func endpointMode(rule *model.MergedDestinationRule, subset *model.Subset, port int) *networking.ClientTLSSettings_TLSmode {
	mode := func(policy *networking.TrafficPolicy) *networking.ClientTLSSettings_TLSmode {
		for _, s := range policy.GetPortLevelSettings() {
			if s.GetPort() != nil && int(s.GetPort().GetNumber()) == port && s.GetTls() != nil {
				m := s.GetTls().GetMode()
				return &m
			}
		}
		if policy.GetTls() == nil {
			return nil
		}
		m := policy.GetTls().GetMode()
		return &m
	}
	if subset != nil {
		if m := mode(subset.GetTrafficPolicy()); m != nil {
			return m
		}
	}
	if rule == nil {
		return nil
	}
	return mode(rule.Policy)
}

// inferTLS turns mesh TLS on where no rule says anything: for each endpoint that
// takes it; for connections to the dialled address, if all endpoints do.
func (p *proxy) inferTLS(c *cluster, rule *model.MergedDestinationRule, subset *model.Subset) {
	if !p.infersMTLS(c) {
		return
	}
	// Only where the rule itself, or the kind of service, says that the dialled
	// address counts are the endpoints looked at, not where an entry of
	// portLevelSettings does (istio push_context.go
	// BestEffortInferServiceMTLSMode).
	var policy *networking.TrafficPolicy
	if rule != nil {
		policy = rule.Policy
	}
	if subset != nil {
		policy = subset.GetTrafficPolicy()
	}
	if c.service.Resolution == model.Passthrough || policy.GetLoadBalancer().GetSimple() == networking.LoadBalancerSettings_PASSTHROUGH {
		endpoints := p.push.NumberedEndpoints(c.service, c.port)
		if len(endpoints) == 0 || slices.ContainsFunc(endpoints, func(e model.Endpoint) bool { return p.mode(&e) == "" }) {
			return
		}
	}
	own := p.ownCertificates(c.service, false)
	if c.kind != toOriginal && !own {
		c.autoMTLS = true
		return
	}
	c.tls = &upstreamTLS{mode: networking.ClientTLSSettings_ISTIO_MUTUAL, sni: meshSNI(c, subset), sans: p.push.ServiceIdentities(c.service)}
	if own {
		// All endpoints get it, marked or not (istio cluster_tls.go
		// applyUpstreamTLSSettings).
		c.tls.mode, c.tls.announced = networking.ClientTLSSettings_MUTUAL, true
	}
}

// infersMTLS reports whether mesh TLS is used towards endpoints that take it
// although no rule asks for it (istio push_context.go
// BestEffortInferServiceMTLSMode).
func (p *proxy) infersMTLS(c *cluster) bool {
	return !c.service.MeshExternal && p.push.Config.GetEnableAutoMtls().GetValue() &&
		p.push.NamespaceMTLS(c.service.Namespace) != model.MTLSDisable
}

// takesMTLS reports whether an endpoint takes mesh TLS, and no PeerAuthentication
// turns it off (istio xds/endpoints/mtls_checker.go).
func (p *proxy) takesMTLS(e *model.Endpoint) bool {
	if !p.labelled(e) {
		return false
	}
	namespace := e.Object.Namespace
	if e.Workload != nil {
		namespace = e.Workload.Namespace
	}
	m, _, _ := p.push.WorkloadMTLS(namespace, e.Labels, e.Port)
	return m != model.MTLSDisable
}

// labelled reports whether an endpoint has the label by which it takes mesh TLS.
func (p *proxy) labelled(e *model.Endpoint) bool { return p.mode(e) == "istio" }

// mode is the TLS mode of an endpoint: its label, which an injected sidecar
// sets, too; "" where it has none.
func (p *proxy) mode(e *model.Endpoint) string {
	switch {
	case e.TLSMode == "disabled":
		return ""
	case e.TLSMode == "" && e.Workload != nil && p.sim.capture(e.Workload).Mode == capture.Sidecar:
		return "istio"
	default:
		return e.TLSMode
	}
}

package envoy

import (
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	redis "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// networkFilter decides a connection; done is true where the verdict is final.
type networkFilter interface {
	apply(s *session, v *Verdict) (done bool)
}

func compileNetworkFilter(filter *listener.Filter) networkFilter {
	config := filter.GetTypedConfig()
	var err error
	switch filter.GetName() {
	case "envoy.filters.network.http_connection_manager":
		manager := &hcm.HttpConnectionManager{}
		if err = config.UnmarshalTo(manager); err == nil {
			return compileManager(manager)
		}
	case "envoy.filters.network.tcp_proxy":
		proxy := &tcp.TcpProxy{}
		if err = config.UnmarshalTo(proxy); err == nil {
			return (*tcpProxy)(proxy)
		}
	case "envoy.filters.network.rbac":
		rules := &rbac.RBAC{}
		if err = config.UnmarshalTo(rules); err == nil {
			return &networkRBAC{rules: compileRBAC(rules.GetRules()), shadow: compileRBAC(rules.GetShadowRules()), prefix: rules.GetShadowRulesStatPrefix()}
		}
	case "envoy.filters.network.ext_authz":
		check := &extauthz.ExtAuthz{}
		if err = config.UnmarshalTo(check); err == nil {
			return (*networkExtAuthz)(check)
		}
	case "envoy.filters.network.redis_proxy":
		proxy := &redis.RedisProxy{}
		if err = config.UnmarshalTo(proxy); err == nil {
			return (*redisProxy)(proxy)
		}
	case "istio.metadata_exchange", "istio.stats", "connect_authority", "set_dst_address", "envoy.filters.network.sni_dynamic_forward_proxy", "envoy.extensions.filters.network.sni_dynamic_forward_proxy", "envoy.filters.network.mysql_proxy", "envoy.filters.network.mongo_proxy":
		// They observe. (The forward proxy looks the name up that its cluster
		// will connect to; the codecs of MySQL and Mongo give up on bytes that
		// they do not understand and pass them on.)
		return observer{}
	}
	return unknownNetworkFilter(filter.GetName())
}

type observer struct{}

func (observer) apply(*session, *Verdict) bool { return false }

type unknownNetworkFilter string

func (f unknownNetworkFilter) apply(_ *session, v *Verdict) bool {
	v.stop(&Stop{Reason: UnknownFilter, Detail: "network filter " + string(f)})
	return true
}

type tcpProxy tcp.TcpProxy

func (f *tcpProxy) apply(s *session, v *Verdict) bool {
	proxy := (*tcp.TcpProxy)(f)
	opaque := ""
	if proxy.GetTunnelingConfig() != nil {
		opaque = "tunnel through HTTP CONNECT"
	}
	if weighted := proxy.GetWeightedClusters(); weighted != nil {
		for _, cluster := range weighted.GetClusters() {
			v.Forwards = append(v.Forwards, Forward{Weight: cluster.GetWeight(), Cluster: cluster.GetName(), Message: s.message, Opaque: opaque})
		}
		return true
	}
	v.Forwards = []Forward{{Weight: 1, Cluster: proxy.GetCluster(), Message: s.message, Opaque: opaque}}
	return true
}

type redisProxy redis.RedisProxy

// The Redis proxy speaks for the client: what is not Redis it answers with an
// error. Flows that are opaque bytes are taken to be what the port expects.
func (f *redisProxy) apply(s *session, v *Verdict) bool {
	proxy := (*redis.RedisProxy)(f)
	if len(s.message.TLS) > 0 || s.message.HTTP != nil {
		v.stop(&Stop{Reason: ProtocolError})
		return true
	}
	v.Forwards = []Forward{{Weight: 1, Cluster: proxy.GetPrefixRoutes().GetCatchAllRoute().GetCluster(), Message: s.message}}
	return true
}

type networkRBAC struct {
	rules, shadow *rbacEngine
	prefix        string
}

func (f *networkRBAC) apply(s *session, v *Verdict) bool {
	subject := &subject{session: s}
	f.shadow.shadow(subject, f.prefix, s)
	if stop := f.rules.check(subject); stop != nil {
		v.stop(stop)
		return true
	}
	return false
}

type networkExtAuthz extauthz.ExtAuthz

func (f *networkExtAuthz) apply(s *session, v *Verdict) bool {
	check := (*extauthz.ExtAuthz)(f)
	if !metadataEnables(check.GetFilterEnabledMetadata(), s) {
		return false
	}
	v.stop(&Stop{Reason: ExternalAuthorizer})
	return true
}

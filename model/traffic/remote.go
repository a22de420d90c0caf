package traffic

import (
	"net/netip"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/flow"
)

// forwardedFor names the proxies that a request has come through.
const forwardedFor = "x-forwarded-for"

// remoteAddress returns the client that a proxy takes a request to come from:
// the entry of X-Forwarded-For that it believes, else who sent the connection.
// Sidecars and waypoints believe the last entry, gateways as many as they are
// told that there are trusted proxies in front of them, and add who sent the
// connection (istio pilot/pkg/networking/core/gateway.go
// buildGatewayConnectionManager, useRemoteAddress; envoy
// source/common/http/utility.cc getLastAddressFromXFF).
func (p *proxy) remoteAddress(conn *connection) netip.Addr {
	list := conn.request.headers[forwardedFor]
	skip := 0
	if p.role == gatewayRole {
		own := conn.sourceIP.String()
		if list != "" {
			own = list + "," + own
		}
		conn.request.headers[forwardedFor] = own
		if skip = p.trustedProxies() - 1; skip < 0 {
			return conn.sourceIP
		}
	}
	entries := strings.Split(list, ",")
	if len(entries) <= skip {
		return conn.sourceIP
	}
	address, err := netip.ParseAddr(strings.TrimSpace(entries[len(entries)-1-skip]))
	if err != nil {
		return conn.sourceIP
	}
	return address.Unmap()
}

// addSource has a sidecar tell further proxies who sends a request, as with
// PILOT_SIDECAR_USE_REMOTE_ADDRESS it does, and write the scheme anew (istio
// pilot/pkg/networking/core/listener.go buildSidecarOutboundHTTPListenerOpts; envoy
// source/common/http/conn_manager_utility.cc mutateRequestHeaders).
func (p *proxy) addSource(conn *connection) {
	own := conn.sourceIP.String()
	if list := conn.request.headers[forwardedFor]; list != "" {
		own = list + "," + own
	}
	conn.request.headers[forwardedFor] = own
	delete(conn.request.headers, forwardedProto)
}

// forwardedProto names the scheme by which a request came to the first proxy.
const forwardedProto = "x-forwarded-proto"

// setScheme gives a request the scheme by which a proxy matches it: what
// X-Forwarded-Proto says, which gateways write anew and others only where it is
// missing; over HTTP/2 the sender's (envoy source/common/http/conn_manager_utility.cc
// mutateRequestHeaders). opened says that the proxy ended TLS.
func (p *proxy) setScheme(r *request, opened bool) {
	scheme := "http"
	if opened {
		scheme = "https"
	}
	if r.headers[forwardedProto] == "" || p.role == gatewayRole && p.trustedProxies() == 0 {
		r.headers[forwardedProto] = scheme
	}
	if !r.http2 || r.scheme == "" {
		r.scheme = r.headers[forwardedProto]
	}
}

// trustedProxies is gatewayTopology.numTrustedProxies: of the gateway's pod, else
// of the mesh.
func (p *proxy) trustedProxies() int {
	if p.trusted == nil {
		n := p.readTrustedProxies()
		p.trusted = &n
	}
	return *p.trusted
}

func (p *proxy) readTrustedProxies() int {
	var own struct {
		GatewayTopology struct {
			NumTrustedProxies *uint16 `json:"numTrustedProxies"`
		} `json:"gatewayTopology"`
	}
	// What does not parse sets nothing.
	if err := yaml.Unmarshal([]byte(p.workload.Annotations["proxy.istio.io/config"]), &own); err == nil {
		if n := own.GatewayTopology.NumTrustedProxies; n != nil {
			return int(*n)
		}
	}
	return int(p.push.Config.GetDefaultConfig().GetGatewayTopology().GetNumTrustedProxies())
}

// takesProxyProtocol reports whether the listeners of a gateway expect a line of
// the PROXY protocol first (gatewayTopology.proxyProtocol, of the pod or of the
// mesh). Envoy's filter, as istiod configures it, closes connections without
// one (istio pilot/pkg/networking/core/gateway.go needPROXYProtocol,
// pilot/pkg/xds/filters/filters.go).
func (p *proxy) takesProxyProtocol() bool {
	if p.expectsLine == nil {
		expects := p.readProxyProtocol()
		p.expectsLine = &expects
	}
	return *p.expectsLine
}

func (p *proxy) readProxyProtocol() bool {
	var own struct {
		GatewayTopology struct {
			ProxyProtocol *struct{} `json:"proxyProtocol"`
		} `json:"gatewayTopology"`
	}
	if text := p.workload.Annotations["proxy.istio.io/config"]; text != "" && yaml.Unmarshal([]byte(text), &own) == nil && own.GatewayTopology.ProxyProtocol != nil {
		return true
	}
	return p.push.Config.GetDefaultConfig().GetGatewayTopology().GetProxyProtocol() != nil
}

// topologyBecause points to what sets a field of gatewayTopology for a gateway.
func (p *proxy) topologyBecause(field string) []flow.Because {
	if strings.Contains(p.workload.Annotations["proxy.istio.io/config"], field) {
		return []flow.Because{{Object: p.workload.Object, Field: p.workload.Field("metadata.annotations['proxy.istio.io/config']")}}
	}
	return p.configBecause("defaultConfig.gatewayTopology." + field)
}

// configBecause points to the fields of the mesh configuration that the input
// sets.
func (p *proxy) configBecause(fields ...string) []flow.Because {
	var out []flow.Because
	for _, field := range fields {
		if object, at := p.push.Config.Because(field); object != nil {
			out = append(out, flow.Because{Object: object, Field: at})
		}
	}
	return out
}

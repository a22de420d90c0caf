package envoy

import (
	"net/netip"
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Upstream is one way in which a connection may leave the proxy.
type Upstream struct {
	// Address is set where the endpoint is an IP address.
	Address netip.Addr
	// Name is the host name of an endpoint that the proxy resolves.
	Name string
	Port uint16
	// Original says that this is the address that the client dialled.
	Original bool
	Message  Message
	// TLS says that the proxy adds a layer, Origin which.
	TLS    bool
	Origin Origin
	// Unknown is set where it cannot be told what happens.
	Unknown string
}

// Delivery is where a cluster leads.
type Delivery struct {
	Known     bool // the cluster exists
	Upstreams []Upstream
}

// Deliver resolves a cluster: the endpoints that it balances over, and what
// the proxy sends to each. The same address is given once a way of speaking.
func (p *Proxy) Deliver(f Forward, conn Connection) Delivery {
	c := p.config.Clusters[f.Cluster]
	if c == nil {
		return Delivery{}
	}
	d := Delivery{Known: true}
	message := f.Message
	http2 := false
	var options *upstream.HttpProtocolOptions
	if extension := c.GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]; extension != nil {
		options = &upstream.HttpProtocolOptions{}
		if err := extension.UnmarshalTo(options); err != nil {
			options = nil
		}
	}
	if f.HTTP {
		request := message.HTTP.clone()
		switch {
		case options.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil:
			http2 = true
		case options.GetUseDownstreamProtocolConfig() != nil:
			http2 = request.HTTP2
		}
		request.HTTP2 = http2
		message.HTTP = request
	}
	for _, e := range p.endpoints(c, conn, f) {
		u := e.upstream
		socket := p.transport(c, e.metadata)
		u.Message = message
		if socket != nil {
			if socket.unknown != "" {
				u.Unknown = socket.unknown
			}
			layer := Layer{Origin: socket.origin, SNI: socket.sni, ALPN: socket.alpn, servers: socket.servers}
			if f.HTTP && options.GetUpstreamHttpProtocolOptions().GetAutoSni() {
				if name := withoutPort(message.HTTP.Authority); name != "" && !isAddress(name) {
					layer.SNI = name
				}
			}
			if f.HTTP && f.alpn != nil && overridesALPN(c) {
				layer.ALPN = f.alpn.http1
				if http2 {
					layer.ALPN = f.alpn.http2
				}
			}
			if socket.origin == Mesh {
				layer.Identity = p.identity
			}
			u.TLS, u.Origin = true, socket.origin
			u.Message = message.Wrap(layer)
		}
		if c.GetTransportSocket() != nil && e.unknown != "" {
			u.Unknown = e.unknown
		}
		if e.unknown != "" {
			u.Unknown = e.unknown
		}
		d.Upstreams = append(d.Upstreams, u)
	}
	return d
}

// overridesALPN tells clusters for which Istio's filter may replace the list:
// those that carry TLS of the user's own making opt out.
func overridesALPN(c *cluster.Cluster) bool {
	istio := c.GetMetadata().GetFilterMetadata()["istio"].GetFields()
	return istio["alpn_override"].GetStringValue() != "false"
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

type candidate struct {
	upstream Upstream
	metadata *core.Metadata
	unknown  string
}

func (p *Proxy) endpoints(c *cluster.Cluster, conn Connection, f Forward) []candidate {
	if custom := c.GetClusterType(); custom != nil {
		return forwardProxy(custom, conn, f)
	}
	switch c.GetType() {
	case cluster.Cluster_ORIGINAL_DST:
		port := conn.Destination.Port()
		if override := c.GetOriginalDstLbConfig().GetUpstreamPortOverride(); override != nil {
			port = uint16(override.GetValue())
		}
		return []candidate{{upstream: Upstream{Address: conn.Destination.Addr(), Port: port, Original: true}}}
	case cluster.Cluster_EDS:
		return distinct(assignment(p.config.Endpoints[c.GetName()]))
	default:
		return assignment(c.GetLoadAssignment())
	}
}

// distinct keeps the first endpoint of an address, as Envoy's EDS clusters do;
// those that resolve names keep one for each name.
func distinct(list []candidate) []candidate {
	type at struct {
		address netip.Addr
		port    uint16
	}
	seen := map[at]bool{}
	return slices.DeleteFunc(list, func(c candidate) bool {
		if c.unknown != "" || !c.upstream.Address.IsValid() {
			return false
		}
		key := at{c.upstream.Address, c.upstream.Port}
		known := seen[key]
		seen[key] = true
		return known
	})
}

// forwardProxy is a cluster that connects to whatever host the request or the
// TLS handshake names.
func forwardProxy(custom *cluster.Cluster_CustomClusterType, conn Connection, f Forward) []candidate {
	if !strings.Contains(custom.GetName(), "dynamic_forward_proxy") {
		return []candidate{{unknown: "cluster type " + custom.GetName()}}
	}
	name, port := "", conn.Destination.Port()
	if f.HTTP {
		name = withoutPort(f.Message.HTTP.Authority)
	} else if len(conn.Message.TLS) > 0 {
		name = conn.Message.TLS[0].SNI
	}
	if name == "" {
		return nil
	}
	if address, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return []candidate{{upstream: Upstream{Address: address, Port: port}}}
	}
	return []candidate{{upstream: Upstream{Name: name, Port: port}}}
}

// assignment lists the endpoints of the first priority that has any: all are
// taken to be healthy.
func assignment(load *endpoint.ClusterLoadAssignment) []candidate {
	best := uint32(0)
	found := false
	for _, locality := range load.GetEndpoints() {
		if len(locality.GetLbEndpoints()) > 0 && (!found || locality.GetPriority() < best) {
			best, found = locality.GetPriority(), true
		}
	}
	var list []candidate
	for _, locality := range load.GetEndpoints() {
		if locality.GetPriority() != best {
			continue
		}
		for _, e := range locality.GetLbEndpoints() {
			if h := e.GetHealthStatus(); h == core.HealthStatus_UNHEALTHY || h == core.HealthStatus_DRAINING || h == core.HealthStatus_TIMEOUT {
				continue
			}
			c := candidate{metadata: e.GetMetadata()}
			socket := e.GetEndpoint().GetAddress().GetSocketAddress()
			if socket == nil {
				c.unknown = "endpoint that is not an address of the network"
				list = append(list, c)
				continue
			}
			c.upstream.Port = uint16(socket.GetPortValue())
			if address, err := netip.ParseAddr(socket.GetAddress()); err == nil {
				c.upstream.Address = address
			} else {
				c.upstream.Name = socket.GetAddress()
			}
			list = append(list, c)
		}
	}
	return list
}

// transport chooses the transport socket of an endpoint by its metadata; nil
// is plaintext.
func (p *Proxy) transport(c *cluster.Cluster, metadata *core.Metadata) *upstreamTLS {
	labels := metadata.GetFilterMetadata()["envoy.transport_socket_match"]
	for _, m := range c.GetTransportSocketMatches() {
		if covers(m.GetMatch(), labels) {
			return p.upstreamTLS(c.GetName()+"\x00"+m.GetName(), m.GetTransportSocket())
		}
	}
	return p.upstreamTLS(c.GetName(), c.GetTransportSocket())
}

func (p *Proxy) upstreamTLS(key string, socket *core.TransportSocket) *upstreamTLS {
	p.mu.Lock()
	defer p.mu.Unlock()
	compiled, found := p.tls[key]
	if !found {
		compiled = compileUpstreamTLS(socket)
		p.tls[key] = compiled
	}
	return compiled
}

// covers reports whether labels have all fields of match.
func covers(match, labels *structpb.Struct) bool {
	for key, want := range match.GetFields() {
		got, found := labels.GetFields()[key]
		if !found || got.GetStringValue() != want.GetStringValue() {
			return false
		}
	}
	return true
}

// Package envoy evaluates what one proxy does with one connection, on the
// configuration that a control plane sends it: listeners, filter chains, TLS
// contexts, network and HTTP filters, virtual hosts, routes, clusters and
// endpoints. It follows the documented behaviour of Envoy and knows nothing of
// Istio's objects; what a filter that it does not know would do is unknown.
package envoy

import (
	"sync"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Config is everything that a control plane sends to one proxy.
type Config struct {
	Listeners []*listener.Listener
	Routes    map[string]*route.RouteConfiguration
	Clusters  map[string]*cluster.Cluster
	Endpoints map[string]*endpoint.ClusterLoadAssignment
}

// Proxy is a proxy with its configuration loaded. It is safe for concurrent
// use.
type Proxy struct {
	config *Config
	// identity is the URI in the proxy's own certificate.
	identity string

	listeners []*compiledListener

	mu     sync.Mutex
	routes map[string]*routeTable
	tls    map[string]*upstreamTLS
}

// New loads a configuration into a proxy whose certificate of the mesh names
// identity (a SPIFFE URI).
func New(config *Config, identity string) *Proxy {
	p := &Proxy{
		config:   config,
		identity: identity,
		routes:   map[string]*routeTable{},
		tls:      map[string]*upstreamTLS{},
	}
	for _, l := range config.Listeners {
		p.listeners = append(p.listeners, compileListener(l))
	}
	return p
}

// Identity is the URI in the proxy's own certificate.
func (p *Proxy) Identity() string { return p.identity }

package judge

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"istio.io/istio/pilot/pkg/simulation"

	"github.com/egresslint/egresslint/conformance/envoy"
	"github.com/egresslint/egresslint/conformance/generate"
)

// TestAgainstIstioSimulation holds the choice of listener, filter chain,
// virtual host and cluster against Istio's own simulation of Envoy, on random
// meshes. That one knows nothing of policies, of what follows the first proxy
// and of routes beyond their path.
func TestAgainstIstioSimulation(t *testing.T) {
	meshes := 60
	if testing.Short() {
		meshes = 10
	}
	compared := 0
	for seed := range uint64(meshes) {
		c := generate.New(seed+1_000_000, 60)
		manifests, err := Parse(c.YAML())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		mesh, err := Open(manifests)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		configs, proxies := map[*Workload]*envoy.Config{}, map[*Workload]*envoy.Proxy{}
		for _, f := range c.Flows {
			source, problem := mesh.source(f.From)
			if problem != "" || source.Role != SidecarProxy {
				continue
			}
			conn, problem := mesh.connection(f, source)
			if problem != "" || conn.Destination.Addr().Is6() {
				// Theirs knows one wildcard address, that of IPv4.
				continue
			}
			config := configs[source]
			if config == nil {
				if config, err = mesh.istiod.config(source); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				configs[source], proxies[source] = config, envoy.New(config, "")
			}
			ours := proxies[source].Redirected("virtualOutbound", conn)
			theirs, ok := istioAnswer(t, config, conn)
			if !ok {
				continue
			}
			compared++
			if ours.Stop != nil && ours.Stop.Reason == envoy.RejectedConfig {
				if theirs.Error == nil {
					// Theirs takes any of the chains that match alike, or
					// misses that others on the listener do.
					continue
				}
			}
			if ours.Listener != theirs.ListenerMatched {
				t.Errorf("seed %d %+v: listener %q, Istio's simulation %q", seed, f, ours.Listener, theirs.ListenerMatched)
				continue
			}
			if ours.FilterChain != theirs.FilterChainMatched && theirs.Error == nil {
				t.Errorf("seed %d %+v: filter chain %q, Istio's simulation %q", seed, f, ours.FilterChain, theirs.FilterChainMatched)
				continue
			}
			if theirs.Error == nil && ours.Stop == nil && len(ours.Forwards) == 1 && conn.Message.HTTP == nil &&
				theirs.ClusterMatched != "" && ours.Forwards[0].Cluster != theirs.ClusterMatched {
				t.Errorf("seed %d %+v: cluster %q, Istio's simulation %q", seed, f, ours.Forwards[0].Cluster, theirs.ClusterMatched)
			}
			if theirs.VirtualHostMatched != "" && ours.VirtualHost != "" && ours.VirtualHost != theirs.VirtualHostMatched {
				t.Errorf("seed %d %+v: virtual host %q, Istio's simulation %q", seed, f, ours.VirtualHost, theirs.VirtualHostMatched)
			}
		}
		mesh.Close()
	}
	if compared < meshes*20 {
		t.Errorf("only %d flows compared", compared)
	}
	t.Logf("%d flows compared", compared)
}

// TestArrivalsAgainstIstioSimulation does the same for what arrives at gateways and
// at the inbound side of sidecars, wrapped in the TLS that the proxies before have
// added. Theirs knows one application protocol a connection, servers that the mesh
// vouches for or not, and nothing of who the client is.
func TestArrivalsAgainstIstioSimulation(t *testing.T) {
	meshes, least := 150, map[Role]int{GatewayProxy: 600, SidecarProxy: 600}
	if testing.Short() {
		meshes, least = 15, map[Role]int{GatewayProxy: 40, SidecarProxy: 20}
	}
	compared := map[Role]int{}
	chains := map[Role]map[string]bool{GatewayProxy: {}, SidecarProxy: {}}
	for seed := range uint64(meshes) {
		c := generate.New(seed+2_000_000, 60)
		manifests, err := Parse(c.YAML())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		mesh, err := Open(manifests)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		mesh.chances = nil // other pushes have other configurations
		configs := map[*Workload]*envoy.Config{}
		for _, w := range manifests.Workloads {
			if w.Role == NoProxy {
				continue
			}
			config, err := mesh.istiod.config(w)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			nameChains(config)
			configs[w], mesh.proxies[w] = config, envoy.New(config, mesh.identity(w))
		}
		var asked string
		mesh.observe = func(at *Workload, conn envoy.Connection, ours *envoy.Verdict) {
			if conn.Destination.Addr().Is6() {
				return
			}
			mode := simulation.CallModeGateway
			if at.Role == SidecarProxy {
				mode = simulation.CallModeInbound
			}
			theirs, ok := istioArrival(t, configs[at], conn, mode)
			if !ok || ours.Stop != nil && ours.Stop.Reason == envoy.RejectedConfig {
				return
			}
			compared[at.Role]++
			chains[at.Role][ours.FilterChain] = true
			switch {
			case ours.Listener != theirs.ListenerMatched:
				t.Errorf("seed %d %s at %s: listener %q, Istio's simulation %q", seed, asked, at.ID(), ours.Listener, theirs.ListenerMatched)
			case ours.FilterChain != theirs.FilterChainMatched:
				t.Errorf("seed %d %s at %s: filter chain %q, Istio's simulation %q (%v)", seed, asked, at.ID(), ours.FilterChain, theirs.FilterChainMatched, theirs.Error)
			case theirs.VirtualHostMatched != "" && ours.VirtualHost != "" && ours.VirtualHost != theirs.VirtualHostMatched:
				t.Errorf("seed %d %s at %s: virtual host %q, Istio's simulation %q", seed, asked, at.ID(), ours.VirtualHost, theirs.VirtualHostMatched)
			case theirs.Error == nil && ours.Stop == nil && len(ours.Forwards) == 1 && !ours.HTTP &&
				theirs.ClusterMatched != "" && ours.Forwards[0].Cluster != theirs.ClusterMatched:
				t.Errorf("seed %d %s at %s: cluster %q, Istio's simulation %q", seed, asked, at.ID(), ours.Forwards[0].Cluster, theirs.ClusterMatched)
			}
		}
		for _, f := range c.Flows {
			asked = f.ID
			mesh.Trace(f)
		}
		mesh.Close()
	}
	for role, want := range least {
		if compared[role] < want {
			t.Errorf("only %d arrivals at proxies of role %d compared", compared[role], role)
		}
		t.Logf("role %d: %d arrivals compared, at %d chains", role, compared[role], len(chains[role]))
	}
}

// nameChains names the filter chains that istiod leaves without a name, by which
// they are compared.
func nameChains(config *envoy.Config) {
	for _, l := range config.Listeners {
		seen := map[string]bool{"": true}
		for i, chain := range l.GetFilterChains() {
			if seen[chain.GetName()] {
				chain.Name = fmt.Sprintf("%s chain %d", chain.GetName(), i)
			}
			seen[chain.GetName()] = true
		}
	}
}

// istioArrival asks Istio's simulation about a connection that proxies may have
// wrapped.
func istioArrival(t *testing.T, config *envoy.Config, conn envoy.Connection, mode simulation.CallMode) (simulation.Result, bool) {
	call := simulation.Call{CallMode: mode, Protocol: simulation.TCP, TLS: simulation.Plaintext}
	if request := conn.Message.HTTP; request != nil && len(conn.Message.TLS) <= 1 {
		call.Protocol = simulation.HTTP
		if request.HTTP2 {
			call.Protocol = simulation.HTTP2
		}
		// Theirs compares the host alone.
		host, _, found := strings.Cut(request.Authority, ":")
		if found && strings.Contains(request.Authority, "[") {
			return simulation.Result{}, false
		}
		call.HostHeader, call.Path = strings.ToLower(host), request.Path
	}
	if len(conn.Message.TLS) > 0 {
		layer := conn.Message.TLS[0]
		call.TLS, call.Sni = simulation.TLS, strings.ToLower(layer.SNI)
		if layer.Origin == envoy.Mesh {
			call.TLS = simulation.MTLS
		}
		// Without any, theirs makes one up.
		call.Alpn = "none"
		if len(layer.ALPN) > 0 {
			call.Alpn = layer.ALPN[0]
		}
		if call.TLS == simulation.TLS && call.Sni == "" && call.HostHeader != "" {
			return simulation.Result{}, false // theirs takes the host for it
		}
	}
	return simulate(t, config, conn, call), true
}

// istioAnswer asks Istio's simulation; not of connections that it cannot
// describe.
func istioAnswer(t *testing.T, config *envoy.Config, conn envoy.Connection) (simulation.Result, bool) {
	if conn.Destination.Addr().Compare(netip.Addr{}) == 0 {
		return simulation.Result{}, false
	}
	call := simulation.Call{
		CallMode: simulation.CallModeOutbound,
		Protocol: simulation.TCP,
		TLS:      simulation.Plaintext,
	}
	if len(conn.Message.TLS) > 0 {
		// Names are compared without case by Envoy, but not there.
		call.TLS, call.Sni = simulation.TLS, strings.ToLower(conn.Message.TLS[0].SNI)
		if len(conn.Message.TLS[0].ALPN) > 0 {
			call.Alpn = conn.Message.TLS[0].ALPN[0]
		}
		if call.Sni == "" {
			return simulation.Result{}, false
		}
	} else if conn.Message.HTTP != nil {
		call.Protocol = simulation.HTTP
		call.HostHeader = strings.ToLower(conn.Message.HTTP.Authority)
		call.Path = conn.Message.HTTP.Path
	}
	return simulate(t, config, conn, call), true
}

// simulate runs a call to the address that a connection dials.
func simulate(t *testing.T, config *envoy.Config, conn envoy.Connection, call simulation.Call) simulation.Result {
	sim := &simulation.Simulation{Listeners: config.Listeners}
	for _, c := range config.Clusters {
		sim.Clusters = append(sim.Clusters, c)
	}
	for _, r := range config.Routes {
		sim.Routes = append(sim.Routes, r)
	}
	// The simulation is made for tests and keeps theirs in a private field.
	field := reflect.ValueOf(sim).Elem().FieldByName("t")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(t))
	call.Address, call.Port = conn.Destination.Addr().String(), int(conn.Destination.Port())
	return sim.Run(call)
}

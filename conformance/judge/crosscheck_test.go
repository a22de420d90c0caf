package judge

import (
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

// istioAnswer asks Istio's simulation; not of connections that it cannot
// describe.
func istioAnswer(t *testing.T, config *envoy.Config, conn envoy.Connection) (simulation.Result, bool) {
	if conn.Destination.Addr().Compare(netip.Addr{}) == 0 {
		return simulation.Result{}, false
	}
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
	call := simulation.Call{
		Address:  conn.Destination.Addr().String(),
		Port:     int(conn.Destination.Port()),
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
	return sim.Run(call), true
}

// Package judge answers flows with istiod's own configuration: it loads
// manifests into istiod's controllers, has its generators produce what the
// proxies on the way would be sent, and evaluates that as Envoy does.
//
// It judges the product's simulation and so shares no decision with it: of the
// product's packages it knows only the words of questions and answers.
package judge

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/egresslint/egresslint/conformance/envoy"
)

// Mesh is a set of manifests with a control plane over it. It is safe for
// concurrent use until it is closed.
type Mesh struct {
	manifests *Manifests
	network   *network
	istiod    *istiod

	mu      sync.Mutex
	proxies map[*Workload]*envoy.Proxy
	// chances are the same mesh after other pushes, where istiod leaves
	// something to chance.
	chances []*Mesh
	// observe sees each connection at a proxy and what becomes of it there; nil
	// for nobody.
	observe func(at *Workload, conn envoy.Connection, verdict *envoy.Verdict)
	// v6 is the same mesh in a cluster of IPv6, for flows to such addresses.
	v6 *Mesh
}

// Open starts a control plane over manifests. Close must be called.
func Open(m *Manifests) (*Mesh, error) {
	silence()
	istiod, err := startIstiod(m)
	if err != nil {
		return nil, err
	}
	mesh := &Mesh{manifests: m, network: newNetwork(m), istiod: istiod, proxies: map[*Workload]*envoy.Proxy{}}
	differ := istiod.scopesDiffer(m.Workloads)
	for order := range istiod.orders(m.Workloads) {
		for _, shared := range []bool{false, true} {
			if order == 0 && !shared || shared && !differ {
				continue
			}
			mesh.chances = append(mesh.chances, &Mesh{manifests: m, network: mesh.network, istiod: istiod.again(order, shared), proxies: map[*Workload]*envoy.Proxy{}})
		}
	}
	return mesh, nil
}

// Close stops the control plane.
func (m *Mesh) Close() {
	m.istiod.close()
	if m.v6 != nil {
		m.v6.Close()
	}
}

// family returns the mesh whose pods can dial an address.
func (m *Mesh) family(address netip.Addr) (*Mesh, error) {
	if !address.Is6() || m.manifests.again == nil {
		return m, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.v6 == nil {
		other := m.manifests.again(true)
		other.again = nil
		mesh, err := Open(other)
		if err != nil {
			return nil, err
		}
		m.v6 = mesh
	}
	return m.v6, nil
}

// Manifests are what the mesh was opened with.
func (m *Mesh) Manifests() *Manifests { return m.manifests }

// proxy returns a workload's proxy with the configuration that istiod sends it.
func (m *Mesh) proxy(w *Workload) (*envoy.Proxy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, found := m.proxies[w]; found {
		return p, nil
	}
	config, err := m.istiod.config(w)
	if err != nil {
		return nil, err
	}
	p := envoy.New(config, m.identity(w))
	m.proxies[w] = p
	return p, nil
}

// seen shows an arrival to the observer.
func (m *Mesh) seen(at *Workload, conn envoy.Connection, verdict *envoy.Verdict) {
	if m.observe != nil {
		m.observe(at, conn, verdict)
	}
}

// identity is the SPIFFE URI of a workload.
func (m *Mesh) identity(w *Workload) string {
	return fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", m.manifests.Mesh.GetTrustDomain(), w.Pod.Namespace, w.ServiceAccount())
}

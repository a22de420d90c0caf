package traffic

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// request is an HTTP request as a proxy sees it.
type request struct {
	method string
	// path has the query.
	path string
	// authority is the Host header, with its port if it has one.
	authority string
	// scheme is ":scheme" as the last proxy matched it; http2 says that the last
	// proxy speaks HTTP/2, which passes it on.
	scheme string
	http2  bool
	// headers have lower-case names; Host is not among them.
	headers map[string]string
}

// host returns the authority without port, in lower case: most virtual hosts ignore
// both (istio sets IgnorePortInHostMatching, but not at waypoints).
func (r *request) host() string { return strings.ToLower(stripPort(r.authority)) }

// plainPath returns the path without query and fragment.
func (r *request) plainPath() string {
	path, _, _ := strings.Cut(r.path, "?")
	path, _, _ = strings.Cut(path, "#")
	return path
}

// fingerprint is the same for requests that fare alike, by whatever way they
// came.
func (r *request) fingerprint() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q", r.method, r.authority, r.path)
	for _, name := range slices.Sorted(maps.Keys(r.headers)) {
		if name != forwardedFor { // each gateway adds to it
			fmt.Fprintf(&b, " %q=%q", name, r.headers[name])
		}
	}
	return b.String()
}

// edited returns the request as the next hop sees it.
func (r *request) edited(authority string, edits ...headerEdits) *request {
	c := *r
	c.headers = maps.Clone(r.headers)
	if c.headers == nil {
		c.headers = map[string]string{}
	}
	for _, e := range edits {
		for _, name := range e.remove {
			delete(c.headers, strings.ToLower(name))
		}
		for name, value := range e.set {
			c.headers[strings.ToLower(name)] = value
		}
		for name, value := range e.add {
			name = strings.ToLower(name)
			if old, ok := c.headers[name]; ok {
				value = old + "," + value
			}
			c.headers[name] = value
		}
	}
	if authority != "" {
		c.authority = authority
	}
	return &c
}

func stripPort(authority string) string {
	if strings.HasPrefix(authority, "[") {
		if end := strings.IndexByte(authority, ']'); end > 0 {
			return authority[:end+1]
		}
		return authority
	}
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && strings.Count(authority, ":") == 1 {
		return authority[:i]
	}
	return authority
}

// origin says who put a layer of TLS around a connection.
type origin int

const (
	// applicationTLS is the client application's own.
	applicationTLS origin = iota
	// meshTLS is Istio mutual TLS.
	meshTLS
	// proxySimple and proxyMutual are TLS that a DestinationRule originates.
	proxySimple
	proxyMutual
)

// tlsLayer is one layer of TLS around a connection.
type tlsLayer struct {
	origin origin
	sni    string
	// identity is the SPIFFE identity of the sender of mesh TLS; ofClient says that
	// this is the client of the flow.
	identity string
	ofClient bool
	// expects are the identities of which the sender takes one, none for any.
	expects []string
	// http: the sender of mesh TLS says (by ALPN) that HTTP is inside. announced: the
	// sender of other TLS says so, too, as of the mesh.
	http, announced bool
}

// announcesMesh reports whether a layer is announced (by ALPN) as the mesh's.
func (l *tlsLayer) announcesMesh() bool { return l.origin == meshTLS || l.announced }

// connection is what arrives at a proxy or leaves one.
type connection struct {
	dst netip.AddrPort
	// layers of TLS, outermost first.
	layers []tlsLayer
	// request is inside, nil for bytes that are not HTTP.
	request *request
	// source names the workload that sent the flow, sourceIP is its pod's
	// address.
	source   string
	sourceIP netip.Addr
	// fromClient: the sender is the client of the flow, not a gateway.
	fromClient bool
	// name is what the address stands for, for the explanation.
	name string
	// standIn: dst only stands for some public address, because the name's is
	// not in the manifests.
	standIn bool
	// unix: the destination is a unix domain socket.
	unix bool
	// http: the last proxy forwards it as HTTP requests, not as bytes.
	http bool
	// added is the TLS that the last proxy added, mesh TLS aside.
	added flow.UpstreamTLS
	// hbone is set while the connection travels through a tunnel that a ztunnel
	// opened.
	hbone *tunnel
}

// tunnel is an HBONE tunnel: dst of the connection is then the tunnel's end.
type tunnel struct {
	// target is the address that the application dialled.
	target netip.AddrPort
	// identity is that of the application, which ztunnel vouches for.
	identity string
}

// outer returns the outermost layer of TLS, nil for plaintext.
func (c *connection) outer() *tlsLayer {
	if len(c.layers) == 0 {
		return nil
	}
	return &c.layers[0]
}

// sni is the server name that a proxy reads off the connection.
func (c *connection) sni() string {
	if l := c.outer(); l != nil {
		return strings.ToLower(l.sni)
	}
	return ""
}

// plaintextHTTP reports whether the first bytes are those of an HTTP request.
func (c *connection) plaintextHTTP() bool { return len(c.layers) == 0 && c.request != nil }

// opened returns the connection without its outermost layer.
func (c connection) opened() connection {
	c.layers = c.layers[1:]
	return c
}

// wrapped returns the connection inside one more layer.
func (c connection) wrapped(l tlsLayer) connection {
	layers := make([]tlsLayer, 0, len(c.layers)+1)
	c.layers = append(append(layers, l), c.layers...)
	return c
}

// carries reports whether TLS of an origin is among the layers.
func (c *connection) carries(o origin) bool {
	for _, l := range c.layers {
		if l.origin == o {
			return true
		}
	}
	return false
}

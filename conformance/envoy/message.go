package envoy

import (
	"maps"
	"net/netip"
	"slices"
)

// Connection is what reaches a proxy.
type Connection struct {
	// Destination is the address that the client dialled.
	Destination netip.AddrPort
	// Source is the address of the peer.
	Source netip.Addr
	// Message is what the client sends.
	Message Message
	// Peer is the identity of who sent it through a tunnel that ended before, "" for
	// none: what istiod's configuration keeps in the filter state
	// io.istio.peer_principal.
	Peer string
}

// Message is what one connection carries: TLS layers around an HTTP request or
// around opaque bytes.
type Message struct {
	// TLS are the layers of encryption, outermost first.
	TLS []Layer
	// HTTP is the request inside, nil for opaque bytes.
	HTTP *Request
}

// Layer is one layer of TLS as its client offers it.
type Layer struct {
	Origin Origin
	SNI    string
	ALPN   []string
	// Identity is the URI in the client certificate of the mesh, "" without.
	Identity string
	// servers are the names of which the server's certificate must carry one;
	// empty for any that the client's root certificate vouches for.
	servers []*stringMatcher
}

// Origin says who speaks TLS and with which certificates.
type Origin int

const (
	// Application TLS comes from the client application.
	Application Origin = iota
	// Simple TLS is originated by a proxy without client certificate.
	Simple
	// Mutual TLS is originated by a proxy with a client certificate that is
	// not the mesh's.
	Mutual
	// Mesh TLS is originated by a proxy with its own identity, and trusts only
	// servers of the mesh.
	Mesh
)

// Request is an HTTP request. Header names are in lower case.
type Request struct {
	Method    string
	Authority string
	// Path includes the query.
	Path    string
	Headers map[string]string
	// HTTP2 says that the request travels as HTTP/2.
	HTTP2 bool
	// scheme is the :scheme that the last proxy gave it.
	scheme string
}

func (r *Request) clone() *Request {
	c := *r
	c.Headers = maps.Clone(r.Headers)
	if c.Headers == nil {
		c.Headers = map[string]string{}
	}
	return &c
}

// Wrap returns m inside another layer of TLS.
func (m Message) Wrap(layer Layer) Message {
	return Message{TLS: slices.Insert(slices.Clone(m.TLS), 0, layer), HTTP: m.HTTP}
}

// unwrap returns what is inside the outermost layer.
func (m Message) unwrap() Message { return Message{TLS: m.TLS[1:], HTTP: m.HTTP} }

// plaintextHTTP reports whether a proxy reads an HTTP request off the wire.
func (m Message) plaintextHTTP() bool { return len(m.TLS) == 0 && m.HTTP != nil }

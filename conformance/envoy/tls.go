package envoy

import (
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	internal "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// Names of the secrets that the agent beside every proxy of the mesh serves:
// its own certificate and the mesh's roots. All others come from files or from
// Secrets.
const (
	meshCertificate = "default"
	meshRoots       = "ROOTCA"
)

// downstreamTLS is how a filter chain accepts TLS; nil is plaintext.
type downstreamTLS struct {
	mesh          bool
	requireClient bool
	// clients are the names of which a client certificate must carry one;
	// empty for any.
	clients []*stringMatcher
	// unknown names a transport socket that is not modelled.
	unknown string
}

func compileDownstreamTLS(socket *core.TransportSocket) *downstreamTLS {
	if socket == nil || strings.HasSuffix(socket.GetName(), "raw_buffer") {
		return nil
	}
	context := &tls.DownstreamTlsContext{}
	if err := socket.GetTypedConfig().UnmarshalTo(context); err != nil {
		return &downstreamTLS{unknown: "transport socket " + socket.GetName()}
	}
	common := context.GetCommonTlsContext()
	d := &downstreamTLS{requireClient: context.GetRequireClientCertificate().GetValue()}
	for _, secret := range common.GetTlsCertificateSdsSecretConfigs() {
		d.mesh = secret.GetName() == meshCertificate
	}
	for _, san := range validation(common).GetMatchTypedSubjectAltNames() {
		d.clients = append(d.clients, &stringMatcher{san.GetMatcher()})
	}
	for _, san := range validation(common).GetMatchSubjectAltNames() {
		d.clients = append(d.clients, &stringMatcher{san})
	}
	return d
}

func validation(common *tls.CommonTlsContext) *tls.CertificateValidationContext {
	if combined := common.GetCombinedValidationContext(); combined != nil {
		return combined.GetDefaultValidationContext()
	}
	return common.GetValidationContext()
}

// handshake ends the outermost layer of TLS at a filter chain.
func (d *downstreamTLS) handshake(s *session) *Stop {
	if d == nil {
		return nil
	}
	if d.unknown != "" {
		return &Stop{Reason: UnknownFilter, Detail: d.unknown}
	}
	if len(s.message.TLS) == 0 {
		return &Stop{Reason: TLSMismatch}
	}
	layer := s.message.TLS[0]
	if d.requireClient && layer.Origin == Simple {
		// No certificate of the client, whatever those of the server are.
		return &Stop{Reason: TLSMismatch}
	}
	if !d.mesh {
		return &Stop{Reason: CustomCertificate, Detail: "the server's certificate is not the mesh's"}
	}
	switch layer.Origin {
	case Mutual:
		// Whether the mesh's roots vouch for that certificate is in files.
		return &Stop{Reason: CustomCertificate, Detail: "the client's certificate is not the mesh's"}
	case Mesh:
		if !anyMatch(d.clients, layer.Identity) || !anyMatch(layer.servers, s.proxy.identity) {
			return &Stop{Reason: TLSMismatch}
		}
	default:
		// A server of the mesh asks for a certificate of the mesh, and its
		// own is not one that an application or a public root trusts.
		return &Stop{Reason: TLSMismatch}
	}
	s.terminated = &layer
	s.message = s.message.unwrap()
	return nil
}

func anyMatch(matchers []*stringMatcher, name string) bool {
	for _, m := range matchers {
		if m.matches(name) {
			return true
		}
	}
	return len(matchers) == 0
}

// upstreamTLS is how a cluster, or some of its endpoints, is spoken to; a nil
// pointer is plaintext.
type upstreamTLS struct {
	origin  Origin
	sni     string
	alpn    []string
	servers []*stringMatcher
	unknown string
}

func compileUpstreamTLS(socket *core.TransportSocket) *upstreamTLS {
	if socket == nil || strings.HasSuffix(socket.GetName(), "raw_buffer") {
		return nil
	}
	if inner := (&internal.InternalUpstreamTransport{}); socket.GetTypedConfig().MessageIs(inner) && socket.GetTypedConfig().UnmarshalTo(inner) == nil {
		// It hands on what later listeners of the proxy ask for.
		return compileUpstreamTLS(inner.GetTransportSocket())
	}
	context := &tls.UpstreamTlsContext{}
	if err := socket.GetTypedConfig().UnmarshalTo(context); err != nil {
		return &upstreamTLS{unknown: "transport socket " + socket.GetName()}
	}
	common := context.GetCommonTlsContext()
	u := &upstreamTLS{origin: Simple, sni: context.GetSni(), alpn: common.GetAlpnProtocols()}
	for _, secret := range common.GetTlsCertificateSdsSecretConfigs() {
		u.origin = Mutual
		if secret.GetName() == meshCertificate {
			u.origin = Mesh
		}
	}
	for _, san := range validation(common).GetMatchTypedSubjectAltNames() {
		u.servers = append(u.servers, &stringMatcher{san.GetMatcher()})
	}
	for _, san := range validation(common).GetMatchSubjectAltNames() {
		u.servers = append(u.servers, &stringMatcher{san})
	}
	return u
}

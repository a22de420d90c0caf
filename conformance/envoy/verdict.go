package envoy

// Verdict is what a proxy does with a connection: it stops it, or forwards it
// to one of several clusters by weight.
type Verdict struct {
	// Stop is nil where the connection goes on.
	Stop     *Stop
	Forwards []Forward
	// HTTP says that the proxy reads the request, so that it answers with a
	// status where it cannot deliver it.
	HTTP bool

	Listener    string
	FilterChain string
	VirtualHost string
	Route       string
}

// Forward is one destination of a connection.
type Forward struct {
	// Weight is relative to the sum of all.
	Weight  uint32
	Cluster string
	// Message is what the proxy sends, before the cluster's own TLS.
	Message Message
	// HTTP says that the proxy forwards a request, not a stream of bytes.
	HTTP bool
	// alpn says which protocols the filters want to offer instead of the
	// cluster's, for HTTP/1.1 and for HTTP/2 upstreams.
	alpn *alpnOverride
	// NotFound is the status of the answer where the cluster does not exist, 0
	// for Envoy's default.
	NotFound int
	// Opaque says what happens on the way to the cluster that is not decided
	// here, empty for nothing.
	Opaque string
	// Stop ends this share of the traffic, as a fault does.
	Stop *Stop
}

// Stop is the end of a connection at a proxy.
type Stop struct {
	Reason Reason
	// Status is what the client sees, 0 for a reset.
	Status int
	// Policies is the key of the RBAC policy that denied.
	Policies []string
	// Allow says that what denied is that no policy allowed.
	Allow bool
	// Cluster is where a connection would have gone that is forwarded unread, ""
	// where that is not known.
	Cluster string
	// Detail names what is not known, for reasons that leave it open.
	Detail string
}

// Reason says why a connection ends.
type Reason string

// Definite ends.
const (
	NoListener     Reason = "no listener"
	NoFilterChain  Reason = "no filter chain"
	NoVirtualHost  Reason = "no virtual host"
	NoRoute        Reason = "no route"
	Denied         Reason = "denied"
	TLSMismatch    Reason = "tls mismatch"
	ProtocolError  Reason = "protocol error"
	Redirect       Reason = "redirect"
	DirectResponse Reason = "direct response"
	Fault          Reason = "fault"
)

// Open ends: what happens is decided by something that is not configuration.
const (
	CustomCertificate  Reason = "custom certificate"
	ExternalAuthorizer Reason = "external authorizer"
	Token              Reason = "token"
	UnknownFilter      Reason = "unknown filter"
	// RejectedConfig is configuration that Envoy refuses to load.
	RejectedConfig Reason = "rejected configuration"
)

func (v *Verdict) stop(s *Stop) *Verdict {
	v.Stop = s
	return v
}

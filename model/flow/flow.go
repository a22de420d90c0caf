// Package flow holds the words in which questions to the mesh are asked and
// answered: a Flow goes in, a Trace comes out. It decides nothing, so that the
// simulation and whoever judges it can share it.
//
// The JSON names are a contract with other tools; they are documented in
// docs/json.md.
package flow

import "github.com/egresslint/egresslint/model/manifest"

// Scheme is what the client application speaks.
type Scheme string

// The schemes.
const (
	HTTP  Scheme = "http"  // plaintext HTTP/1.1
	HTTPS Scheme = "https" // the application originates TLS and speaks HTTP in it
	TLS   Scheme = "tls"   // the application originates TLS
	TCP   Scheme = "tcp"   // opaque bytes
	UDP   Scheme = "udp"
)

// Flow is one request of one workload.
type Flow struct {
	ID string `json:"id,omitempty"`
	// From is "namespace/workload", or "namespace/kind/name" where the name
	// alone is ambiguous.
	From string `json:"from"`
	// Host is a name, or an IP literal, which is itself.
	Host   string `json:"host"`
	Port   int    `json:"port"`
	Scheme Scheme `json:"scheme"`
	// Method defaults to GET, Path to /.
	Method  string            `json:"method,omitempty"`
	Path    string            `json:"path,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	// SNI defaults to Host where the application originates TLS.
	SNI string `json:"sni,omitempty"`
	// DstIP is the address dialled, IPv4 or IPv6; without it the client
	// resolves Host as in a default installation.
	DstIP string `json:"dst_ip,omitempty"`
	// ConnectTo is "namespace/service:port": the client connects straight to
	// that Service, with the SNI or Host of the flow.
	ConnectTo string `json:"connect_to,omitempty"`
	// Bypass says that the process goes around its own proxy.
	Bypass bool `json:"bypass,omitempty"`
}

// Outcome is the fate of a flow.
type Outcome string

// The outcomes.
const (
	Allowed Outcome = "allowed"
	Blocked Outcome = "blocked"
	Mixed   Outcome = "mixed"   // weighted branches differ
	Unknown Outcome = "unknown" // what decides it is not in the manifests or not modelled
)

// Via is the farthest control point that a flow passed or reached.
type Via string

// The ways.
const (
	ViaNone        Via = "none"        // stopped at the sender
	ViaUncaptured  Via = "uncaptured"  // no proxy sees it
	ViaPassthrough Via = "passthrough" // an address or name that the proxy does not know
	ViaDirect      Via = "direct"      // a registered host, straight from the proxy
	ViaGateway     Via = "gateway"
	ViaWaypoint    Via = "waypoint"
	ViaMixed       Via = "mixed" // branches differ
)

// Reason says in one word why the outcome is what it is.
type Reason string

// Reasons of an allowed flow.
const (
	OK          Reason = "ok"
	NoProxy     Reason = "no_proxy"
	NotCaptured Reason = "not_captured"
	InMesh      Reason = "in_mesh" // the destination is a workload of the mesh
)

// Reasons of a blocked flow.
const (
	Blackhole      Reason = "blackhole"
	NoListener     Reason = "no_listener"
	NoFilterChain  Reason = "no_filter_chain"
	NoRoute        Reason = "no_route"
	NoCluster      Reason = "no_cluster"
	NoEndpoints    Reason = "no_endpoints"
	RBACDenied     Reason = "rbac_denied"
	TLSMismatch    Reason = "tls_mismatch"
	DoubleTLS      Reason = "double_tls"
	ProtocolError  Reason = "protocol_error"
	Redirect       Reason = "redirect"
	DirectResponse Reason = "direct_response"
	FaultAbort     Reason = "fault_abort"
	Loop           Reason = "loop"
	NetworkPolicy  Reason = "network_policy" // also unknown: policies that the input does not decide
)

// Reasons of an unknown outcome.
const (
	ExtAuthz             Reason = "ext_authz"
	CustomCert           Reason = "custom_cert"
	JWT                  Reason = "jwt"
	OpaqueFilter         Reason = "opaque_filter"
	EnvoyFilter          Reason = "envoy_filter"
	ListenerRejected     Reason = "listener_rejected"
	MissingObject        Reason = "missing_object"
	Undetermined         Reason = "undetermined" // istiod itself may choose either
	SourceIsGateway      Reason = "source_is_gateway"
	Capture              Reason = "capture"
	ForeignNetworkPolicy Reason = "foreign_network_policy"
	Template             Reason = "template"
	Assumption           Reason = "assumption"
	// BranchesDiffer: weighted alternatives differ in outcome, or only in via
	// or reason; look there.
	BranchesDiffer Reason = "branches"
	NoSuchWorkload Reason = "no_such_workload" // error of the question
	BadFlow        Reason = "bad_flow"         // error of the question
)

// UpstreamTLS is the TLS that the last proxy adds towards the outside.
type UpstreamTLS string

// What the last proxy may add.
const (
	UpstreamNone   UpstreamTLS = "none"
	UpstreamSimple UpstreamTLS = "simple"
	UpstreamMutual UpstreamTLS = "mutual"
)

// Trace is the answer to a Flow.
type Trace struct {
	ID      string  `json:"id,omitempty"`
	Outcome Outcome `json:"outcome"`
	Via     Via     `json:"via"`
	Reason  Reason  `json:"reason"`
	// Policy is "namespace/name" of the policy that denies; all ALLOW policies
	// that failed, comma-separated.
	Policy string `json:"policy,omitempty"`
	// Rule is the index of the rule in the policy that decided, nil where none did.
	Rule        *int        `json:"rule,omitempty"`
	Guarantee   string      `json:"guarantee,omitempty"`
	UpstreamTLS UpstreamTLS `json:"upstream_tls,omitempty"`
	// HTTPStatus is what the client sees, 0 when the connection is reset or
	// the outside answers.
	HTTPStatus int      `json:"http_status,omitempty"`
	Hops       []Hop    `json:"hops,omitempty"`
	Branches   []Branch `json:"branches,omitempty"`
	// Detail says in a sentence what an unknown answer lacks, and what input
	// would settle it.
	Detail string `json:"detail,omitempty"`
	// Assumptions names what the answer takes for granted.
	Assumptions []string `json:"assumptions,omitempty"`
}

// Branch is one weighted alternative of a route.
type Branch struct {
	Weight int `json:"weight"`
	Trace
}

// Place is where a hop happens.
type Place string

// The places.
const (
	AtSidecar  Place = "sidecar"
	AtGateway  Place = "gateway"
	AtWaypoint Place = "waypoint"
	AtZtunnel  Place = "ztunnel"
	AtNetwork  Place = "network"
)

// Hop is one decision on the way, in order.
type Hop struct {
	At Place `json:"at"`
	// Proxy is "namespace/name" of the workload whose proxy decides.
	Proxy string `json:"proxy,omitempty"`
	// Decision is a sentence for someone who has never seen Envoy.
	Decision string `json:"decision"`

	Listener    string `json:"listener,omitempty"`
	FilterChain string `json:"filter_chain,omitempty"`
	VirtualHost string `json:"virtual_host,omitempty"`
	Route       string `json:"route,omitempty"`
	Cluster     string `json:"cluster,omitempty"`
	TLS         string `json:"tls,omitempty"`
	SNI         string `json:"sni,omitempty"`

	Because []Because `json:"because,omitempty"`
	// Omitted is how many more there are, where a report shows the first only.
	Omitted int `json:"because_omitted,omitempty"`
}

// Because points to a manifest field that decided something. Its position is
// looked up when it is printed, not before.
type Because struct {
	Object *manifest.Object
	// Field is a field path of Object, "" for the object as a whole.
	Field string
}

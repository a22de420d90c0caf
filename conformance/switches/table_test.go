package switches

import (
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pkg/env"

	"github.com/egresslint/egresslint/model"
)

// Reasons why a variable of istiod has no say in whether a request gets out.
const (
	speed        = "how fast istiod works, and what it keeps"
	metrics      = "metrics, traces and logs"
	clusters     = "other clusters and networks, of which nothing is simulated"
	certificates = "which certificates there are, where they are kept and how long they last: that those of the mesh fit is taken for granted"
	access       = "who may talk to istiod"
	status       = "status that istiod writes"
	machines     = "virtual machines that register themselves, of which no manifest tells"
	health       = "endpoints that are not ready, of which no manifest tells"
	tokens       = "how keys for tokens are fetched: requests with tokens are unknown"
	agent        = "read by the agent or the program of the redirect, not by istiod"
)

// irrelevant are the variables that istiod reads and the product does not, each with
// the reason. Every variable is here or in model.Switches: a new version of Istio that
// has another one makes the test fail.
var irrelevant = map[string]string{
	"AMBIENT_ENABLE_BAGGAGE":                                     metrics,
	"AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY":                "ztunnel of the same release only logs what policies on trial would do",
	"AMBIENT_ENABLE_MULTI_NETWORK":                               clusters,
	"AMBIENT_ENABLE_MULTI_NETWORK_INGRESS":                       clusters,
	"AMBIENT_ENABLE_MULTI_NETWORK_WAYPOINT":                      clusters,
	"AMBIENT_ENABLE_STATUS":                                      status,
	"AMBIENT_SCOPED_ADDRESS_PUSHES":                              speed,
	"BLOCKED_CIDRS_IN_JWKS_URIS":                                 tokens,
	"CA_TRUSTED_NODE_ACCOUNTS":                                   certificates,
	"CERT_SIGNER_DOMAIN":                                         certificates,
	"CLUSTER_ID":                                                 clusters,
	"COMPLIANCE_POLICY":                                          "versions and ciphers of TLS: whether they fit is not asked",
	"DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES":                     access,
	"DISABLE_SHADOW_HOST_SUFFIX":                                 "the host of mirrored requests, which decide nothing",
	"DISABLE_TRACK_REMAINING_CB_METRICS":                         metrics,
	"ENABLE_100_CONTINUE_HEADERS":                                "who answers Expect: 100-continue",
	"ENABLE_CA_SERVER":                                           certificates,
	"ENABLE_CLUSTER_TRUST_BUNDLE_API":                            certificates,
	"ENABLE_DEBUG_ENDPOINT_AUTH":                                 access,
	"ENABLE_DEBUG_ON_HTTP":                                       access,
	"ENABLE_HCM_INTERNAL_NETWORKS":                               "which X-Envoy headers of clients are kept (pilot/pkg/networking/core/listener_builder.go); nothing of a policy or of a route that the product reads is one",
	"ENABLE_LAZY_SIDECAR_EVALUATION":                             speed,
	"ENABLE_LEADER_ELECTION":                                     "which of several istiods writes",
	"ENABLE_LOCALITY_WEIGHTED_LB_CONFIG":                         "which of the endpoints is preferred",
	"ENABLE_MCS_AUTO_EXPORT":                                     clusters,
	"ENABLE_MCS_CLUSTER_LOCAL":                                   clusters,
	"ENABLE_MULTICLUSTER_HEADLESS":                               clusters,
	"ENABLE_NATIVE_SIDECARS":                                     "whether init containers are captured, too; flows are those of other containers",
	"ENABLE_PROBE_KEEPALIVE_CONNECTIONS":                         agent,
	"ENABLE_PROXY_FIND_POD_BY_IP":                                "how istiod finds the pod of a proxy (pilot/pkg/serviceregistry/kube/controller/pod.go), of which it knows the name",
	"ENABLE_VTPROTOBUF":                                          speed,
	"ENABLE_XDS_API_GENERATOR_AUTH":                              access,
	"ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL":                    "the port for health checks",
	"EXTERNAL_ISTIOD":                                            clusters,
	"GRPC_KEEPALIVE_INTERVAL":                                    speed,
	"GRPC_KEEPALIVE_TIMEOUT":                                     speed,
	"INBOUND_INTERCEPTION_MODE":                                  agent,
	"INBOUND_TPROXY_MARK":                                        agent,
	"INJECTION_WEBHOOK_CONFIG_NAME":                              certificates,
	"ISTIOD_CUSTOM_HOST":                                         certificates,
	"ISTIO_AGENT_ENABLE_WASM_REMOTE_LOAD_CONVERSION":             agent,
	"ISTIO_DELTA_XDS":                                            speed,
	"ISTIO_ENABLE_CONTROLLER_QUEUE_METRICS":                      metrics,
	"ISTIO_ENABLE_HTTP2_PROBING":                                 agent,
	"ISTIO_ENABLE_IPV4_OUTBOUND_LISTENER_FOR_IPV6_CLUSTERS":      "connections to IPv4 from pods that have addresses of IPv6 alone; the client of such a flow is taken to have one of IPv4",
	"ISTIO_GPRC_MAXRECVMSGSIZE":                                  speed,
	"ISTIO_GPRC_MAXSTREAMS":                                      speed,
	"ISTIO_KUBE_CLIENT_CONTENT_TYPE":                             speed,
	"ISTIO_MULTIROOT_MESH":                                       certificates,
	"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR":                          agent,
	"ISTIO_OUTBOUND_OWNER_GROUPS":                                agent,
	"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE":                        agent,
	"ISTIO_PROMETHEUS_ANNOTATIONS":                               agent,
	"ISTIO_WASM_MAX_BINARY_SIZE_BYTES":                           agent,
	"ISTIO_WORKLOAD_ENTRY_VALIDATE_IDENTITY":                     machines,
	"JWKS_RESOLVER_INSECURE_SKIP_VERIFY":                         tokens,
	"LABEL_CANONICAL_SERVICES_FOR_MESH_EXTERNAL_SERVICE_ENTRIES": metrics,
	"LOCAL_CLUSTER_SECRET_WATCHER":                               clusters,
	"MAX_CONNECTIONS_PER_SOCKET_EVENT_LOOP":                      speed,
	"MCS_API_VERSION":                                            clusters,
	"METRICS_LOCALHOST_ACCESS_ONLY":                              metrics,
	"MUTEX_PROFILE_FRACTION":                                     metrics,
	"PILOT_AGENT_MERGE_ENVOY_STATS":                              metrics,
	"PILOT_ALLOW_ANY_DYNAMIC_DNS_MAX_HOSTS":                      "how many names a proxy keeps",
	"PILOT_ANALYSIS_INTERVAL":                                    status,
	"PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS":                        health,
	"PILOT_CA_CERT_CONFIGMAP":                                    certificates,
	"PILOT_CERT_PROVIDER":                                        certificates,
	"PILOT_CONVERT_SIDECAR_SCOPE_CONCURRENCY":                    speed,
	"PILOT_CRL_CONFIGMAP":                                        certificates,
	"PILOT_DEBOUNCE_AFTER":                                       speed,
	"PILOT_DEBOUNCE_MAX":                                         speed,
	"PILOT_DISABLE_MX_ALPN":                                      "one of the names that mesh TLS announces; \"istio\" remains, by which chains are chosen (pilot/pkg/networking/core/filterchain_options.go)",
	"PILOT_DNS_CARES_UDP_MAX_QUERIES":                            speed,
	"PILOT_DNS_JITTER_DURATION":                                  speed,
	"PILOT_ENABLE_ALPHA_GATEWAY_API":                             "XBackendTrafficPolicy alone (pilot/pkg/config/kube/gateway/controller.go), which is about retries and sessions",
	"PILOT_ENABLE_ANALYSIS":                                      status,
	"PILOT_ENABLE_CA_CRL":                                        certificates,
	"PILOT_ENABLE_CDS_CACHE":                                     speed,
	"PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY":                  clusters,
	"PILOT_ENABLE_EDS_DEBOUNCE":                                  speed,
	"PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER":           "whether istiod creates its GatewayClasses; it serves them without (pilot/pkg/config/kube/gatewaycommon/gatewayclass_collection.go FetchGatewayClass)",
	"PILOT_ENABLE_GATEWAY_API_STATUS":                            status,
	"PILOT_ENABLE_METADATA_EXCHANGE":                             metrics,
	"PILOT_ENABLE_MONGO_FILTER":                                  metrics,
	"PILOT_ENABLE_MYSQL_FILTER":                                  metrics,
	"PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS":                      "on which nodes pods may start",
	"PILOT_ENABLE_PERSISTENT_SESSION_FILTER":                     "which of the endpoints is chosen",
	"PILOT_ENABLE_RDS_CACHE":                                     speed,
	"PILOT_ENABLE_REMOTE_CREDENTIALS_CONTROLLER":                 clusters,
	"PILOT_ENABLE_ROUTE_COLLAPSE_OPTIMIZATION":                   speed,
	"PILOT_ENABLE_TELEMETRY_LABEL":                               metrics,
	"PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION":               machines,
	"PILOT_ENABLE_WORKLOAD_ENTRY_HEALTHCHECKS":                   machines,
	"PILOT_ENABLE_XDS_CACHE":                                     speed,
	"PILOT_ENABLE_XDS_IDENTITY_CHECK":                            access,
	"PILOT_ENDPOINT_TELEMETRY_LABEL":                             metrics,
	"PILOT_ENVOY_FILTER_STATS":                                   metrics,
	"PILOT_GATEWAY_TRANSPORT_SOCKET_CONNECT_TIMEOUT":             "a timeout",
	"PILOT_HBONE_INITIAL_CONNECTION_WINDOW_SIZE":                 speed,
	"PILOT_HBONE_INITIAL_STREAM_WINDOW_SIZE":                     speed,
	"PILOT_HTTP10":                                               "requests of HTTP/1.0; those of a flow are of 1.1",
	"PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS":             clusters,
	"PILOT_IP_AUTOALLOCATE_IPV6_PREFIX":                          "clients are given the addresses of IPv4 that istiod allocates",
	"PILOT_JWT_ENABLE_REMOTE_JWKS":                               tokens,
	"PILOT_JWT_PUB_KEY_REFRESH_INTERVAL":                         tokens,
	"PILOT_MAX_REQUESTS_PER_SECOND":                              speed,
	"PILOT_MULTICLUSTER_KUBECONFIG_PATH":                         clusters,
	"PILOT_MULTI_NETWORK_DISCOVER_GATEWAY_API":                   clusters,
	"PILOT_MX_ADDITIONAL_LABELS":                                 metrics,
	"PILOT_NODE_UNTAINT_CONTROLLERS_TAINT_NAME":                  "on which nodes pods may start",
	"PILOT_PERSISTENT_SESSION_HEADER_LABEL":                      "which of the endpoints is chosen",
	"PILOT_PUSH_THROTTLE":                                        speed,
	"PILOT_REMOTE_CLUSTER_TIMEOUT":                               clusters,
	"PILOT_SEND_UNHEALTHY_ENDPOINTS":                             health,
	"PILOT_SKIP_VALIDATE_TRUST_DOMAIN":                           certificates,
	"PILOT_STATUS_MAX_WORKERS":                                   status,
	"PILOT_TRACE_SAMPLING":                                       metrics,
	"PILOT_WORKLOAD_ENTRY_GRACE_PERIOD":                          machines,
	"PILOT_XDS_CACHE_INDEX_CLEAR_INTERVAL":                       speed,
	"PILOT_XDS_CACHE_SIZE":                                       speed,
	"PILOT_XDS_CACHE_STATS":                                      metrics,
	"PLATFORM":                                                   "the ids under which proxies run, which the product reads off the annotations of a namespace of OpenShift",
	"RESOLVE_HOSTNAME_GATEWAYS":                                  clusters,
	"REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION":                 agent,
	"SHARED_MESH_CONFIG":                                         "no switch: it names a second mesh configuration, which the product reads (model/meshconfig_istiod.go)",
	"TOKEN_AUDIENCES":                                            access,
	"TRUSTED_GATEWAY_CIDR":                                       access,
	"UNSAFE_ENABLE_ADMIN_ENDPOINTS":                              access,
	"UNSAFE_PILOT_ENABLE_RUNTIME_ASSERTIONS":                     "for tests of istiod",
	"USE_CACERTS_FOR_SELF_SIGNED_CA":                             certificates,
	"VALIDATION_WEBHOOK_CONFIG_NAME":                             certificates,
	"XDS_AUTH":                                                   access,
	"XDS_AUTH_PLAINTEXT":                                         access,
}

// elsewhere are switches of the product that packages of istiod register which this
// test does not link.
var elsewhere = map[string]string{"INJECT_ENABLED": "pilot/pkg/bootstrap/sidecarinjector.go"}

// ambient are those that are off where ambient mode is (pilot/pkg/features/ambient.go
// registerAmbient), as in this test.
var ambient = []string{"ENABLE_INGRESS_WAYPOINT_ROUTING", "PILOT_ENABLE_AMBIENT_WAYPOINTS", "PILOT_ENABLE_SENDING_HBONE", "PILOT_ENABLE_SIDECAR_LISTENING_HBONE"}

// TestEveryVariableIsDecided: the product knows each of istiod's variables, with its
// default, or there is a reason why it does not have to.
func TestEveryVariableIsDecided(t *testing.T) {
	known, left := model.Switches(), map[string]bool{}
	for name := range irrelevant {
		left[name] = true
	}
	registered := env.VarDescriptions()
	if len(registered) < 100 {
		t.Fatalf("istiod has %d variables only", len(registered))
	}
	for _, v := range registered {
		byDefault, found := known[v.Name]
		reason, named := irrelevant[v.Name]
		switch {
		case found && named:
			t.Errorf("%s has a say, and does not (%s)", v.Name, reason)
		case !found && !named:
			t.Errorf("istiod reads %s (%s; default %q), and nothing says whether it has a say in an answer", v.Name, v.Description, v.DefaultValue)
		case named && strings.TrimSpace(reason) == "":
			t.Errorf("%s has no say without a reason", v.Name)
		case found && byDefault != v.DefaultValue && !slices.Contains(ambient, v.Name):
			t.Errorf("%s is %q by default, not %q", v.Name, v.DefaultValue, byDefault)
		}
		delete(known, v.Name)
		delete(left, v.Name)
	}
	for name := range left {
		t.Errorf("istiod does not read %s, which is said to be irrelevant", name)
	}
	for name := range known {
		if elsewhere[name] == "" {
			t.Errorf("istiod does not read %s, which is said to have a say", name)
		}
	}
}

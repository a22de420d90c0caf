package report

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// verdict is what the words below say something about: the part that a trace,
// a tuple's answer and a condition have in common.
type verdict struct {
	outcome   flow.Outcome
	via       flow.Via
	reason    flow.Reason
	policy    string
	rule      *int
	guarantee string
	status    int
}

func verdictOf(t *flow.Trace) verdict {
	return verdict{t.Outcome, t.Via, t.Reason, t.Policy, t.Rule, t.Guarantee, t.HTTPStatus}
}

// because says how an allowed request goes, what stops a blocked one, or why
// it is not known, as the end of a sentence that starts with the outcome.
func (v verdict) because() string {
	var s string
	switch v.outcome {
	case flow.Allowed:
		s = v.way()
	case flow.Mixed:
		return "the weighted branches of the route differ"
	case flow.Blocked, flow.Unknown:
		s = v.stop()
	default:
		s = v.way()
	}
	if v.status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", v.status)
	}
	return s + v.firmness()
}

// way says by which path an allowed request leaves.
func (v verdict) way() string {
	switch v.reason {
	case flow.NoProxy:
		return "straight from the pod, which has no proxy"
	case flow.NotCaptured:
		return "straight from the pod: its proxy does not capture this traffic"
	case flow.InMesh:
		return "to a workload of the mesh" + through(v.via)
	}
	switch v.via {
	case flow.ViaUncaptured:
		return "straight from the pod: no proxy sees it"
	case flow.ViaPassthrough:
		return "passed through by its own proxy, which does not know the destination"
	case flow.ViaDirect:
		return "straight from its own proxy, through no gateway"
	case flow.ViaGateway:
		return "through an egress gateway"
	case flow.ViaWaypoint:
		return "through a waypoint"
	case flow.ViaMixed:
		return "by ways that differ between weighted branches"
	default:
		return "by way of " + Printable(string(v.via))
	}
}

func through(via flow.Via) string {
	switch via {
	case flow.ViaGateway:
		return " through a gateway"
	case flow.ViaWaypoint:
		return " through a waypoint"
	default:
		return ""
	}
}

// stops says for each reason what stops a request or keeps it undecided.
var stops = map[flow.Reason]string{
	flow.Blackhole:      "nothing that is registered for the workload fits, and its mode is REGISTRY_ONLY",
	flow.NoListener:     "nothing listens on this port",
	flow.NoFilterChain:  "no server accepts this name or protocol on the port",
	flow.NoRoute:        "no route for this host",
	flow.NoCluster:      "the route leads to a destination that is not known there",
	flow.NoEndpoints:    "the destination has no endpoints",
	flow.TLSMismatch:    "the two sides do not agree on TLS",
	flow.DoubleTLS:      "encrypted twice: by the application and again by a proxy",
	flow.ProtocolError:  "what the client speaks is not what is expected there",
	flow.Redirect:       "answered with a redirect",
	flow.DirectResponse: "answered by the proxy itself",
	flow.FaultAbort:     "aborted by fault injection",
	flow.Loop:           "routed in a circle",

	flow.ExtAuthz:             "an external authorizer decides",
	flow.CustomCert:           "it depends on the content of a certificate",
	flow.JWT:                  "it depends on a token",
	flow.OpaqueFilter:         "a filter on the way is not modelled",
	flow.EnvoyFilter:          "an EnvoyFilter changes the proxy's configuration on the way",
	flow.ListenerRejected:     "the proxy would reject the listener that is generated for it",
	flow.MissingObject:        "an object that decides it is not in the input",
	flow.Undetermined:         "Istio itself may choose either of two objects",
	flow.SourceIsGateway:      "the workload is itself a gateway",
	flow.Capture:              "whether a proxy sees the traffic is not in the manifests",
	flow.ForeignNetworkPolicy: "a network policy of a kind that is not modelled selects the workload",
	flow.Template:             "an unrendered template may decide it",
	flow.Assumption:           "it depends on something that the manifests do not say",
	flow.NoSuchWorkload:       "the input has no such workload",
	flow.BadFlow:              "the question makes no sense",
}

// stop says what stops a blocked request, or why the fate is unknown.
func (v verdict) stop() string {
	where := ""
	switch {
	case v.outcome != flow.Blocked:
	case v.via == flow.ViaGateway:
		where = "at the gateway: "
	case v.via == flow.ViaWaypoint:
		where = "at the waypoint: "
	}
	switch v.reason {
	case flow.RBACDenied:
		return where + v.denied("AuthorizationPolicy")
	case flow.NetworkPolicy:
		if v.outcome == flow.Unknown {
			return where + "whether a NetworkPolicy lets it through is not in the manifests"
		}
		return where + v.denied("NetworkPolicy")
	}
	if s, ok := stops[v.reason]; ok {
		return where + s
	}
	return where + Printable(string(v.reason))
}

// denied names the policy that stops a request.
func (v verdict) denied(kind string) string {
	if v.policy == "" {
		return "refused by " + kind
	}
	s := "refused by " + kind + " " + Printable(strings.ReplaceAll(v.policy, ",", ", "))
	if v.rule != nil {
		s += fmt.Sprintf(", rule %d", *v.rule)
	}
	return s
}

// firmness says how much the outcome is to be relied on.
func (v verdict) firmness() string {
	switch {
	case v.guarantee == "enforced" && v.outcome == flow.Blocked:
		return "; whatever the process does"
	case v.guarantee == "enforced":
		return "; a NetworkPolicy leaves no other way"
	case v.guarantee == "best_effort" && v.outcome == flow.Blocked:
		return "; unless the process goes around its own proxy"
	case v.guarantee == "best_effort":
		return "; only its own proxy steers it there"
	default:
		return ""
	}
}

// request names a flow as one would type it: "GET http://host:80/path".
func request(f flow.Flow) string {
	var b strings.Builder
	if f.Scheme == flow.HTTP || f.Scheme == flow.HTTPS {
		method := f.Method
		if method == "" {
			method = "GET"
		}
		b.WriteString(method + " ")
	}
	b.WriteString(string(f.Scheme) + "://" + net.JoinHostPort(f.Host, strconv.Itoa(f.Port)))
	if f.Scheme == flow.HTTP || f.Scheme == flow.HTTPS {
		if !strings.HasPrefix(f.Path, "/") {
			b.WriteByte('/')
		}
		b.WriteString(f.Path)
	}
	if f.SNI != "" && f.SNI != f.Host {
		b.WriteString(" with SNI " + f.SNI)
	}
	if f.DstIP != "" {
		b.WriteString(" at " + f.DstIP)
	}
	if f.ConnectTo != "" {
		b.WriteString(" connecting to " + f.ConnectTo)
	}
	if f.Bypass {
		b.WriteString(" around its proxy")
	}
	return Printable(b.String())
}

// place names where a hop happens: "gateway istio-system/istio-egressgateway".
func place(h flow.Hop) string {
	s := string(h.At)
	if h.Proxy != "" {
		s += " " + h.Proxy
	}
	return Printable(s)
}

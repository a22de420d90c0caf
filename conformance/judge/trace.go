package judge

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/conformance/envoy"
	"github.com/egresslint/egresslint/model/flow"
)

// Trace answers a flow as the mesh's proxies would.
func (m *Mesh) Trace(f flow.Flow) *flow.Trace {
	question := &flow.Trace{Outcome: flow.Unknown, Via: flow.ViaNone, ID: f.ID}
	source, problem := m.source(f.From)
	if problem != "" {
		question.Reason, question.Detail = flow.NoSuchWorkload, problem
		return question
	}
	conn, problem := m.connection(f, source)
	if problem != "" {
		question.Reason, question.Detail = flow.BadFlow, problem
		return question
	}
	if other, err := m.family(conn.Destination.Addr()); err != nil {
		question.Reason, question.Detail = flow.Assumption, err.Error()
		return question
	} else if other != m {
		return other.Trace(f)
	}
	answer := m.start(f, source, conn)
	for _, chance := range m.chances {
		// The agent beside the sidecar answers look-ups with what that push knows.
		looked, problem := chance.connection(f, source)
		if problem != "" {
			looked = conn
		}
		if other := chance.start(f, source, looked); !alike(answer, other) {
			question.Reason = flow.Undetermined
			question.Detail = fmt.Sprintf("%s (%s) after one push of istiod, %s (%s) after another", answer.Outcome, answer.Reason, other.Outcome, other.Reason)
			question.Hops = answer.Hops
			return question
		}
	}
	answer.ID = f.ID
	return answer
}

// source finds the workload that a flow starts from.
func (m *Mesh) source(from string) (*Workload, string) {
	parts := strings.Split(from, "/")
	var found []*Workload
	for _, w := range m.manifests.Workloads {
		switch {
		case len(parts) == 2 && w.Pod.Namespace == parts[0] && w.Pod.Name == parts[1],
			len(parts) == 3 && w.Pod.Namespace == parts[0] && strings.EqualFold(w.Kind, parts[1]) && w.Pod.Name == parts[2]:
			found = append(found, w)
		}
	}
	switch len(found) {
	case 0:
		return nil, "no workload " + strconv.Quote(from)
	case 1:
		return found[0], ""
	default:
		return nil, "several workloads " + strconv.Quote(from)
	}
}

// connection is what the client application opens.
func (m *Mesh) connection(f flow.Flow, source *Workload) (envoy.Connection, string) {
	var conn envoy.Connection
	if f.Host == "" || f.Port < 1 || f.Port > 65535 {
		return conn, "a flow needs a host and a port"
	}
	defaultPort := map[flow.Scheme]int{flow.HTTP: 80, flow.HTTPS: 443}[f.Scheme]
	request := &envoy.Request{Method: f.Method, Path: f.Path, Authority: f.Host, Headers: map[string]string{}}
	if request.Method == "" {
		request.Method = "GET"
	}
	if request.Path == "" {
		request.Path = "/"
	}
	if address, err := netip.ParseAddr(f.Host); err == nil && address.Is6() {
		request.Authority = "[" + f.Host + "]"
	}
	if f.Port != defaultPort {
		request.Authority += ":" + strconv.Itoa(f.Port)
	}
	for name, value := range f.Headers {
		if strings.EqualFold(name, "host") || name == ":authority" {
			request.Authority = value
			continue
		}
		request.Headers[strings.ToLower(name)] = value
	}
	sni := f.SNI
	if sni == "" {
		if _, err := netip.ParseAddr(f.Host); err != nil {
			sni = f.Host
		}
	}
	switch f.Scheme {
	case flow.HTTP:
		conn.Message = envoy.Message{HTTP: request}
	case flow.HTTPS:
		conn.Message = envoy.Message{HTTP: request}.Wrap(envoy.Layer{Origin: envoy.Application, SNI: sni, ALPN: []string{"h2", "http/1.1"}})
	case flow.TLS:
		conn.Message = envoy.Message{}.Wrap(envoy.Layer{Origin: envoy.Application, SNI: sni})
	case flow.TCP, flow.UDP:
	default:
		return conn, "unknown scheme " + strconv.Quote(string(f.Scheme))
	}
	address, port, problem := m.dial(f, source)
	if problem != "" {
		return conn, problem
	}
	conn.Destination = netip.AddrPortFrom(address, port)
	conn.Source = netip.MustParseAddr(source.Pod.Status.PodIP)
	return conn, ""
}

// dial is the address that the client connects to.
func (m *Mesh) dial(f flow.Flow, source *Workload) (netip.Addr, uint16, string) {
	port := uint16(f.Port)
	if f.ConnectTo != "" {
		name, number, found := strings.Cut(f.ConnectTo, ":")
		namespace, service, slash := strings.Cut(name, "/")
		p, err := strconv.ParseUint(number, 10, 16)
		if !found || !slash || err != nil || p == 0 {
			return netip.Addr{}, 0, "connect_to is not namespace/service:port"
		}
		if m.network.byName[service+"."+namespace] == nil {
			return netip.Addr{}, 0, "no service " + strconv.Quote(name)
		}
		return m.network.resolve(service+"."+namespace, source.Pod.Namespace), uint16(p), ""
	}
	text := f.DstIP
	if text == "" {
		text = f.Host
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap(), port, ""
	}
	if f.DstIP != "" {
		return netip.Addr{}, 0, "dst_ip is not an address"
	}
	own, err := netip.ParseAddr(source.Pod.Status.PodIP)
	if err != nil {
		return netip.Addr{}, 0, err.Error()
	}
	found := m.network.resolveFrom(f.Host, source.Pod.Namespace, own)
	if source.Role == ZtunnelProxy && f.Scheme != flow.UDP && source.Pod.Annotations["ambient.istio.io/dns-capture"] != "false" {
		address, problem := m.istiod.named(m.network.fullName(f.Host, source.Pod.Namespace), source.Pod.Namespace)
		if problem != "" || address.IsValid() {
			return address, port, problem
		}
	}
	// By UDP, which no proxy takes, automatic addresses lead nowhere; what is asked
	// is whether the host itself can be reached.
	if source.Role == SidecarProxy && f.Scheme != flow.UDP && m.istiod.proxyMetadata(source)["ISTIO_META_DNS_CAPTURE"] == "true" {
		address, err := m.istiod.captured(source, m.network.fullName(f.Host, source.Pod.Namespace), found)
		if err != nil {
			return netip.Addr{}, 0, err.Error()
		}
		if address.IsValid() {
			return address, port, ""
		}
	}
	return found, port, ""
}

// start sends a connection on its way.
func (m *Mesh) start(f flow.Flow, source *Workload, conn envoy.Connection) *flow.Trace {
	w := &walk{mesh: m, seen: map[string]bool{}}
	protocol := corev1.ProtocolTCP
	if f.Scheme == flow.UDP {
		protocol = corev1.ProtocolUDP
	}
	switch {
	case source.Role == GatewayProxy || source.Role == WaypointProxy:
		return &flow.Trace{Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.SourceIsGateway}
	case source.Role == NoProxy:
		return w.direct(protocol, conn, flow.NoProxy)
	case f.Bypass || f.Scheme == flow.UDP || source.Role == SidecarProxy && !captured(source, conn.Destination, m.manifests.ProxyValues):
		return w.direct(protocol, conn, flow.NotCaptured)
	}
	if source.Role == ZtunnelProxy {
		answer := w.ztunnel(source, conn)
		answer.Hops = w.hops
		return answer
	}
	proxy, err := m.proxy(source)
	if err != nil {
		return &flow.Trace{Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.Assumption, Detail: err.Error()}
	}
	verdict := proxy.Redirected("virtualOutbound", conn)
	answer := w.pass(hop{workload: source, proxy: proxy, verdict: verdict, conn: conn, via: flow.ViaNone})
	answer.Hops = w.hops
	return answer
}

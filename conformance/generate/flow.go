package generate

import (
	"net/netip"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

var (
	paths   = []string{"/", "/", "/api", "/apix", "/api/x", "/API", "/sport", "/health", "/sport?x=1", "/secret", "/x/secret", "/admin", "/a//b", "/a/../api", "/x/%2e%2E/api", "/a\\..\\api", "/api?x=12", "/a%2Fb", "/q/x", "/api/", "/%61pi", "/x/..;a=b/api", "/x/..;/secret", "/a%5C..%2Fadmin", "/admin%00"}
	methods = []string{"GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"}
)

// flow makes one question, about something that the mesh mentions most of the
// time.
func (w *world) flow(number int) flow.Flow {
	f := flow.Flow{ID: "f" + itoa(number), From: w.from()}
	host, port, protocol := w.asked()
	f.Host, f.Port = host, port
	f.Scheme = w.scheme(port, protocol)
	if w.chance(0.1) {
		f.Host = pick(w, "unknown.test", "UNKNOWN.example.com", "203.0.113.9", "198.51.100.200", "www.example.com")
	}
	if w.chance(0.03) {
		f.Host = strings.ToUpper(f.Host)
	}
	if w.chance(0.25) {
		f.DstIP = w.address()
	}
	if w.v6 && w.chance(0.1) {
		f.DstIP = pick(w, "2001:db8::9", "2001:db8:1::7", "2001:db8::77")
	}
	if f.Scheme == flow.HTTP || f.Scheme == flow.HTTPS {
		w.request(&f)
	}
	if (f.Scheme == flow.TLS || f.Scheme == flow.HTTPS) && w.chance(0.12) {
		f.SNI = pick(w, "api.example.com", "other.example.com", "a.wild.test", "unknown.test")
	}
	if w.chance(0.05) {
		s := pick(w, w.services...)
		f.ConnectTo = s.namespace + "/" + s.name + ":" + itoa(pick(w, s.ports...).number)
	}
	if w.chance(0.01) {
		f.Bypass = true
	}
	if w.chance(0.005) {
		f.Scheme = flow.UDP
	}
	if w.chance(0.005) {
		f.DstIP = "127.0.0.1"
	}
	if w.chance(0.0005) {
		// No question at all.
		f.From, f.Port = pick(w, w.clients...), pick(w, 0, 65536)
	}
	return f
}

// from is where a flow starts: at a client, as a rule.
func (w *world) from() string {
	switch {
	case w.chance(0.0008):
		gateway := pick(w, w.gateways...).service
		return gateway.namespace + "/" + gateway.name
	case w.chance(0.0005):
		return "default/nobody"
	default:
		return pick(w, w.clients...)
	}
}

// asked is a host and a port.
func (w *world) asked() (string, int, string) {
	if len(w.seen.targets) > 0 && (w.chance(0.65) || w.tidy && w.chance(0.6)) {
		t := pick(w, w.seen.targets...)
		return w.instance(t.host), t.port, t.protocol
	}
	host := "unknown.test"
	if len(w.seen.hosts) > 0 {
		host = w.instance(pick(w, w.seen.hosts...))
	}
	port := pick(w, 80, 443, 8080, 9000)
	if len(w.seen.ports) > 0 && w.chance(0.5) {
		port = pick(w, w.seen.ports...)
	}
	return host, port, ""
}

// instance is a name that a pattern covers.
func (w *world) instance(pattern string) string {
	if suffix, found := strings.CutPrefix(pattern, "*"); found {
		if strings.TrimPrefix(suffix, ".") == "" {
			return pick(w, externalHosts...)
		}
		return pick(w, "x", "api", "a", "deep.a", "www") + suffix
	}
	return pattern
}

func (w *world) scheme(port int, protocol string) flow.Scheme {
	if w.chance(0.12) {
		return pick(w, flow.HTTP, flow.HTTPS, flow.TLS, flow.TCP)
	}
	switch strings.ToUpper(protocol) {
	case "HTTP", "HTTP2", "GRPC", "HTTP_PROXY", "GRPC-WEB":
		return flow.HTTP
	case "TLS", "HTTPS":
		return pick(w, flow.HTTPS, flow.TLS)
	case "TCP", "MYSQL", "REDIS", "MONGO":
		return pick(w, flow.TCP, flow.TCP, flow.TCP, flow.TLS)
	}
	switch port {
	case 443, 8443:
		return pick(w, flow.HTTPS, flow.HTTPS, flow.TLS, flow.TCP)
	case 80, 8080:
		return flow.HTTP
	default:
		return pick(w, flow.HTTP, flow.TCP, flow.TLS)
	}
}

func (w *world) address() string {
	if len(w.seen.addresses) == 0 || w.chance(0.2) {
		return pick(w, "203.0.113.9", "203.0.113.77", "198.51.100.7", "198.51.100.3", "192.0.2.99")
	}
	text := pick(w, w.seen.addresses...)
	if prefix, err := netip.ParsePrefix(text); err == nil {
		address := prefix.Addr()
		for range w.between(1, 5) {
			address = address.Next()
		}
		return address.String()
	}
	return text
}

func (w *world) request(f *flow.Flow) {
	if w.chance(0.6) {
		f.Path = pick(w, paths...)
	}
	if w.chance(0.5) {
		f.Method = pick(w, methods...)
	}
	headers := map[string]string{}
	if w.chance(0.3) {
		headers["x-team"] = pick(w, "red", "blue", "redd", "rxd", "")
	}
	if w.chance(0.1) {
		headers["x-user"] = pick(w, "red", "re")
	}
	if w.chance(0.04) {
		headers["host"] = pick(w, "api.example.com", "www.example.com:8080", "a.wild.test", "unknown.test")
	}
	if w.chance(0.03) {
		headers["x-forwarded-for"] = pick(w, "198.51.100.7", "198.51.100.7, 10.244.0.9", "203.0.113.1", "unknown, 198.51.100.7", "198.51.100.7, unknown", "198.51.100.7,")
	}
	if w.chance(0.02) || w.tokens && w.chance(0.3) {
		headers["authorization"] = "Bearer token"
	}
	if w.chance(0.02) {
		headers["origin"], headers["access-control-request-method"] = pick(w, "https://app.example.com", "https://evil.example.com"), "GET"
	}
	if len(headers) > 0 {
		f.Headers = headers
	}
}

package traffic

import (
	"net/netip"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// The types below are the tables that istiod's configuration comes down to, each
// row with the manifest fields because of which it is there. They are compiled
// once for each kind of proxy; a flow is decided by reading them at one point.

// listener is what a proxy does with connections to an address and port.
type listener struct {
	// bind is an address, model.UnspecifiedIP for all.
	bind   string
	port   int
	chains []*chain
	// fallback takes what no chain matches.
	fallback *chain
	// refused says why Envoy would refuse the listener, "" if it would not.
	refused string
	// names finds chains, because is what they are there for; both are made when
	// first asked for.
	names   *nameIndex
	because []flow.Because
}

// name is the one that istiod gives.
func (l *listener) name() string { return listenerName(l.bind, l.port) }

// chain is a filter chain: which connections it matches, and what it does.
type chain struct {
	name string
	// sni are server names, empty or with "*" for any; prefixes are
	// destination addresses, empty for any.
	sni      []string
	prefixes []netip.Prefix
	// plaintextHTTP: only plaintext HTTP/1.1 or h2c, recognised by its first
	// bytes. meshALPN: only mesh TLS (AUTO_PASSTHROUGH).
	plaintextHTTP bool
	meshALPN      bool

	// server is the Gateway server behind the chain, nil on sidecars. opens
	// says that the chain terminates TLS as the server asks.
	server *model.GatewayServer
	opens  bool

	// table names the route table of an HTTP chain, "" for a TCP chain, whose
	// targets are then set.
	table   string
	targets []target
	// noPolicies: authorization is not evaluated (AUTO_PASSTHROUGH).
	noPolicies bool
	// opaque says why what the chain does is not simulated, "" if it is.
	opaque string
	// policies is the service because of which the client's own policies filter
	// what it sends, nil usually.
	policies *model.Service

	// what says in a clause what the chain is there for.
	what    string
	because []flow.Because
}

// http reports whether the chain speaks HTTP.
func (c *chain) http() bool { return c.table != "" }

// anySNI reports whether the chain matches whatever server name, or none.
func (c *chain) anySNI() bool {
	if len(c.sni) == 0 {
		return true
	}
	for _, s := range c.sni {
		if s == "*" {
			return true
		}
	}
	return false
}

// matchesAll reports whether the chain has no condition at all: it becomes the
// default chain (istio pilot/pkg/networking/core/listener.go isMatchAll).
func (c *chain) matchesAll() bool {
	return c.anySNI() && len(c.prefixes) == 0 && !c.plaintextHTTP && !c.meshALPN
}

// target is a cluster that requests or connections go to, one of several with
// weights.
type target struct {
	cluster string
	weight  int
	because []flow.Because
	// tunnel is the field of a DestinationRule that wraps connections into a
	// CONNECT request, nil usually.
	tunnel *flow.Because
	// headers and authority are what a weighted HTTP destination changes.
	headers   headerEdits
	authority string
	// missing is the status of an HTTP answer where the cluster does not exist,
	// 0 for 503.
	missing int
}

// routeTable is what an HTTP chain does with requests.
type routeTable struct {
	name  string
	hosts []*virtualHost
	// ports: a port in a request's host counts; elsewhere it is ignored.
	ports bool
	// byDomain finds a virtual host by its lower-case domain.
	byDomain map[string]*virtualHost
	// suffixes are the domains that begin with "*", prefixes those that end
	// with it, the longest first.
	suffixes, prefixes []string
}

// virtualHost is the routes of some host names.
type virtualHost struct {
	name    string
	domains []string
	routes  []*route
	// redirectsToHTTPS answers 301 to plaintext requests.
	redirectsToHTTPS bool
	// contested are domains that istiod may give to any of several services.
	contested map[string]*contest
	what      string
	because   []flow.Because
}

// route is one line of a virtual host; the first that matches counts.
type route struct {
	name  string
	match requestMatch

	targets []target
	// redirect and respond are the status of an answer that the proxy gives
	// itself, 0 if it forwards.
	redirect, respond int
	// abort is the status of an injected fault, 0 for none; abortPercent says
	// for how many requests.
	abort        int
	abortPercent float64
	grpcAbort    bool
	// authority replaces the Host header; path rewriting applies to what the
	// next hop sees.
	authority     string
	rewritePrefix string
	rewriteRegex  *regexRewrite
	headers       headerEdits

	because []flow.Because
}

// headerEdits are changes to request headers, applied in this order: remove,
// set, add.
type headerEdits struct {
	set, add map[string]string
	remove   []string
}

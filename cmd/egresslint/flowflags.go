package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/model/flow"
)

// flowFlags describe one request on the command line.
type flowFlags struct {
	from, to  string
	method    string
	headers   []string
	sni       string
	dstIP     string
	connectTo string
	bypass    bool
}

func (f *flowFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", "", "the client, as `NAMESPACE/WORKLOAD` or NAMESPACE/KIND/NAME")
	fs.StringVar(&f.to, "to", "", "what is asked for, as `URL`: http, https, tls, tcp or udp://host:port/path")
	fs.StringVar(&f.method, "method", "", "HTTP method (default GET)")
	fs.StringArrayVar(&f.headers, "header", nil, "HTTP header, as `NAME=VALUE` or NAME:VALUE (repeatable)")
	fs.StringVar(&f.sni, "sni", "", "server name in the TLS handshake (default the host)")
	fs.StringVar(&f.dstIP, "dst-ip", "", "`ADDRESS` that is dialled (default what the host resolves to)")
	fs.StringVar(&f.connectTo, "connect-to", "", "connect straight to a Service, as `NAMESPACE/SERVICE:PORT`")
	fs.BoolVar(&f.bypass, "bypass", false, "the process goes around its own proxy")
}

// parse makes a flow of the flags.
func (f *flowFlags) parse() (flow.Flow, error) {
	if f.from == "" || f.to == "" {
		return flow.Flow{}, errors.New("give the request: --from NAMESPACE/WORKLOAD and --to URL, or many with --flows FILE")
	}
	if !strings.Contains(f.from, "/") {
		return flow.Flow{}, fmt.Errorf("--from %q: write NAMESPACE/WORKLOAD", f.from)
	}
	out, err := parseTo(f.to)
	if err != nil {
		return out, fmt.Errorf("--to %q: %w", f.to, err)
	}
	out.From, out.SNI, out.DstIP, out.ConnectTo, out.Bypass = f.from, f.sni, f.dstIP, f.connectTo, f.bypass
	if f.method != "" {
		out.Method = f.method
	}
	for _, h := range f.headers {
		i := strings.IndexAny(h, "=:")
		if i <= 0 {
			return out, fmt.Errorf("--header %q: write NAME=VALUE or NAME:VALUE", h)
		}
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers[strings.TrimSpace(h[:i])] = strings.TrimSpace(h[i+1:])
	}
	if f.dstIP != "" && net.ParseIP(f.dstIP) == nil {
		return out, fmt.Errorf("--dst-ip %q is no IP address", f.dstIP)
	}
	http := out.Scheme == flow.HTTP || out.Scheme == flow.HTTPS
	switch {
	case !http && (f.method != "" || len(f.headers) > 0):
		return out, fmt.Errorf("--method and --header belong to http and https, not to %s", out.Scheme)
	case f.sni != "" && out.Scheme != flow.HTTPS && out.Scheme != flow.TLS:
		return out, fmt.Errorf("--sni belongs to https and tls, not to %s", out.Scheme)
	}
	return out, nil
}

// defaultPorts are those of the schemes that have one.
var defaultPorts = map[flow.Scheme]int{flow.HTTP: 80, flow.HTTPS: 443, flow.TLS: 443}

// parseTo reads scheme://host:port/path?query.
func parseTo(to string) (flow.Flow, error) {
	if !strings.Contains(to, "://") {
		return flow.Flow{}, fmt.Errorf("say what the client speaks, as in https://%s", to)
	}
	u, err := url.Parse(to)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return flow.Flow{}, err
	}
	out := flow.Flow{Scheme: flow.Scheme(u.Scheme), Host: u.Hostname()}
	switch out.Scheme {
	case flow.HTTP, flow.HTTPS:
		out.Path = u.EscapedPath()
		if out.Path == "" {
			out.Path = "/"
		}
		if u.RawQuery != "" {
			out.Path += "?" + u.RawQuery
		}
	case flow.TLS, flow.TCP, flow.UDP:
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return out, fmt.Errorf("a path belongs to http and https, not to %s", out.Scheme)
		}
	default:
		return out, fmt.Errorf("scheme %q: give http, https, tls, tcp or udp", u.Scheme)
	}
	switch {
	case out.Host == "":
		return out, errors.New("no host")
	case u.User != nil:
		return out, errors.New("a user name decides nothing; leave it out")
	case u.Fragment != "":
		return out, errors.New("a fragment (#) is never sent; leave it out")
	}
	out.Port = defaultPorts[out.Scheme]
	if port := u.Port(); port != "" {
		if out.Port, err = strconv.Atoi(port); err != nil {
			return out, fmt.Errorf("port %q is no number", port)
		}
	}
	if out.Port < 1 || out.Port > 65535 {
		if u.Port() == "" {
			return out, fmt.Errorf("give a port, as in %s://%s:5432", out.Scheme, u.Host)
		}
		return out, fmt.Errorf("port %d is not between 1 and 65535", out.Port)
	}
	return out, nil
}

package model_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/egresslint/egresslint/model"
)

func route(name, namespace, created, spec string) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %s, namespace: %s%s}\nspec: %s\n", name, namespace, timestamp(created), spec)
}

const answers = "http: [{directResponse: {status: 200}}]"

// Private ones, those exported by name, public ones; each by age
// (istio pilot/pkg/model/push_context.go initVirtualServices).
func TestVirtualServicesForGateway(t *testing.T) {
	p := pushOf(t,
		route("b-public", "default", "", "{hosts: [a.example.com], "+answers+"}")+
			route("a-public", "other", "", "{hosts: [a.example.com], exportTo: ['*'], "+answers+"}")+
			route("z-private", "default", "", "{hosts: [a.example.com], exportTo: ['.'], "+answers+"}")+
			route("y-named", "other", "", "{hosts: [a.example.com], exportTo: [default], "+answers+"}")+
			route("old", "other", "2001-01-01T00:00:00Z", "{hosts: [a.example.com], "+answers+"}")+
			route("gateway", "other", "", "{hosts: [a.example.com], gateways: [egress, default/egress, mesh], "+answers+"}"))
	for _, test := range []struct {
		namespace, gateway string
		want               []string
	}{
		{"default", model.MeshGateway, []string{"default/z-private", "other/y-named", "other/a-public", "default/b-public", "other/gateway", "other/old"}},
		{"third", model.MeshGateway, []string{"other/a-public", "default/b-public", "other/gateway", "other/old"}},
		{"third", "other/egress", []string{"other/gateway"}},
		{"third", "default/egress", []string{"other/gateway"}},
		{"third", "third/egress", nil},
	} {
		var got []string
		for _, vs := range p.VirtualServicesForGateway(test.namespace, test.gateway) {
			got = append(got, vs.ID())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s at %s: %v, want %v", test.namespace, test.gateway, got, test.want)
		}
	}
	p = pushOf(t, route("r", "default", "", "{hosts: [a.example.com], "+answers+"}"), `defaultVirtualServiceExportTo: ["."]`)
	if got := p.VirtualServicesForGateway("third", model.MeshGateway); len(got) != 0 {
		t.Errorf("with a private default another namespace sees %v", got)
	}
}

// A name without dot is a Service of the object's namespace (istio
// pilot/pkg/model/virtualservice.go ResolveShortnameToFQDN).
func TestResolveHost(t *testing.T) {
	for in, want := range map[string]string{
		"store":               "store.shop.svc.cluster.local",
		"store.other":         "store.other",
		"a.example.com":       "a.example.com",
		"*.example.com":       "*.example.com",
		"*":                   "*",
		"":                    "",
		"2001:db8::1":         "2001:db8::1",
		"store.other.svc.com": "store.other.svc.com",
	} {
		if got := model.ResolveHost(in, "shop"); string(got) != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Names in the routes are full where they are used, and the objects stay as they
// are.
func TestNamesInRoutes(t *testing.T) {
	p := pushOf(t, route("r", "shop", "", "{hosts: [store], gateways: [egress, ./own, other/egress, mesh],"+
		" http: [{match: [{gateways: [egress]}], route: [{destination: {host: store}}]}],"+
		" tcp: [{match: [{gateways: [egress]}], route: [{destination: {host: store}}]}]}"))
	vs := p.VirtualServices()[0]
	const full = "store.shop.svc.cluster.local"
	if want := []string{"shop/egress", "shop/own", "other/egress", "mesh"}; !slices.Equal(vs.Gateways, want) {
		t.Errorf("gateways %v, want %v", vs.Gateways, want)
	}
	got := []string{string(vs.Hosts[0]), vs.HTTP[0].GetRoute()[0].GetDestination().GetHost(), vs.TCP[0].GetRoute()[0].GetDestination().GetHost()}
	if want := []string{full, full, full}; !slices.Equal(got, want) {
		t.Errorf("hosts %v, want %v", got, want)
	}
	matched := []string{vs.HTTP[0].GetMatch()[0].GetGateways()[0], vs.TCP[0].GetMatch()[0].GetGateways()[0]}
	if want := []string{"shop/egress", "shop/egress"}; !slices.Equal(matched, want) {
		t.Errorf("gateways of matches %v, want %v", matched, want)
	}
	if spec := vs.Spec; spec.GetHosts()[0] != "store" || spec.GetGateways()[0] != "egress" || spec.GetHttp()[0].GetRoute()[0].GetDestination().GetHost() != "store" {
		t.Errorf("the object has changed: %v", spec)
	}
}

// Destinations are the hosts that routes lead to with the ports that they name, 0
// for none; mirrors count, routes for other source namespaces do not (istio
// push_context.go virtualServiceDestinationsFilteredBySourceNamespace).
func TestDestinations(t *testing.T) {
	p := pushOf(t, route("r", "shop", "", "{hosts: [a.example.com], http: ["+
		"{match: [{sourceNamespace: other}], route: [{destination: {host: b.example.com}}]},"+
		"{match: [{sourceNamespace: other}, {sourceNamespace: shop}], route: [{destination: {host: c.example.com, port: {number: 80}}}]},"+
		"{match: [{uri: {prefix: /m}}], mirror: {host: m.example.com}, route: [{destination: {host: c.example.com}}]},"+
		"{route: [{destination: {host: store}, weight: 50}, {destination: {host: d.example.com}, weight: 50}]}],"+
		" tcp: [{route: [{destination: {host: e.example.com, port: {number: 9}}}]}]}"))
	vs := p.VirtualServices()[0]
	for namespace, want := range map[string]string{
		"shop":  "[{c.example.com [80 0]} {m.example.com [0]} {store.shop.svc.cluster.local [0]} {d.example.com [0]} {e.example.com [9]}]",
		"other": "[{b.example.com [0]} {c.example.com [80 0]} {m.example.com [0]} {store.shop.svc.cluster.local [0]} {d.example.com [0]} {e.example.com [9]}]",
		"third": "[{c.example.com [0]} {m.example.com [0]} {store.shop.svc.cluster.local [0]} {d.example.com [0]} {e.example.com [9]}]",
	} {
		if got := fmt.Sprint(vs.Destinations(namespace)); got != want {
			t.Errorf("%s: %s, want %s", namespace, got, want)
		}
	}
}

// Each condition of a delegate must fit under one of the root's; what the delegate
// leaves open it takes from the root (istio pilot/pkg/model/virtualservice.go
// mergeHTTPMatchRequests, hasConflict).
func TestDelegates(t *testing.T) {
	for _, test := range []struct {
		name, root, delegate string
		want                 string // the uri conditions, or none
	}{
		{"no conditions", "", "", "[]"},
		{"the root's", "match: [{uri: {prefix: /a}}], ", "", "[prefix:\"/a\"]"},
		{"the delegate's", "", "match: [{uri: {prefix: /a}}], ", "[prefix:\"/a\"]"},
		{"a longer prefix", "match: [{uri: {prefix: /a}}], ", "match: [{uri: {prefix: /a/b}}], ", "[prefix:\"/a/b\"]"},
		{"an exact path in a prefix", "match: [{uri: {prefix: /a}}], ", "match: [{uri: {exact: /a/b}}], ", "[exact:\"/a/b\"]"},
		{"another prefix", "match: [{uri: {prefix: /a}}], ", "match: [{uri: {prefix: /b}}], ", "none"},
		{"a prefix in an exact path", "match: [{uri: {exact: /a}}], ", "match: [{uri: {prefix: /a}}], ", "none"},
		{"an expression beside anything", "match: [{uri: {regex: /a}}], ", "match: [{uri: {prefix: /a}}], ", "none"},
		{"one of several roots", "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}], ", "match: [{uri: {prefix: /b/c}}], ", "[prefix:\"/b/c\"]"},
		{"another port", "match: [{port: 80}], ", "match: [{port: 81}], ", "none"},
		{"another source", "match: [{sourceLabels: {app: x}}], ", "match: [{sourceLabels: {app: z}}], ", "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pushOf(t, route("root", "default", "", "{hosts: [a.example.com], http: [{"+test.root+"delegate: {name: leaf, namespace: team}}]}")+
				route("leaf", "team", "", "{http: [{"+test.delegate+"directResponse: {status: 200}}]}"))
			got := "none"
			if http := p.VirtualServices()[0].HTTP; len(http) == 1 {
				var uris []string
				for _, m := range http[0].GetMatch() {
					uris = append(uris, m.GetUri().String())
				}
				got = fmt.Sprint(uris)
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

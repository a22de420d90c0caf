package traffic

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// extended answers unknown where an extension (WasmPlugin, TrafficExtension) runs
// in what a proxy does with a connection: it may answer, refuse or rewrite
// anything. Selection as istio pilot/pkg/model/extensions.go does it.
func (p *proxy) extended(ch *chain) *flow.Trace {
	for _, o := range p.push.Mesh.Unmodelled {
		if o.Group() != "extensions.istio.io" || o.Namespace != p.workload.Namespace && o.Namespace != p.push.RootNamespace() {
			continue
		}
		tree, _ := o.Value.(map[string]any)
		spec, _ := tree["spec"].(map[string]any)
		if kind, _ := spec["type"].(string); kind != "" && kind != "UNSPECIFIED_PLUGIN_TYPE" && (kind == "NETWORK") == ch.http() {
			continue
		}
		if !p.extends(o, spec) {
			continue
		}
		detail := fmt.Sprintf("%s runs in this proxy, and what it does is not simulated", o)
		t := unknown(viaOf(p, flow.ViaNone), flow.OpaqueFilter, detail)
		t.Hops = []flow.Hop{{At: place(p), Proxy: p.workload.ID(), Decision: detail, Because: []flow.Because{{Object: o, Field: "spec"}}}}
		return t
	}
	return nil
}

// extends reports whether an extension selects the proxy for what it does with
// outbound connections, or as gateway or waypoint.
func (p *proxy) extends(o *manifest.Object, spec map[string]any) bool {
	if refs, ok := spec["targetRefs"].([]any); ok && len(refs) > 0 || spec["targetRef"] != nil {
		// By reference only gateways of the Gateway API and waypoints are meant.
		return p.alone() && (p.role == waypointRole || o.Namespace == p.namespace)
	}
	if p.role == waypointRole {
		return false
	}
	selector, _ := spec["selector"].(map[string]any)
	match, _ := selector["matchLabels"].(map[string]any)
	for key, value := range match {
		if v, ok := p.workload.Labels[key]; !ok || v != fmt.Sprint(value) {
			return false
		}
	}
	list, _ := spec["match"].([]any)
	if p.role == gatewayRole || len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(e any) bool {
		m, _ := e.(map[string]any)
		mode, _ := m["mode"].(string)
		return mode != "SERVER"
	})
}

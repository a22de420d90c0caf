package model

import (
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// essence reduces the content of an object that is defined twice to what may
// bear on egress, nil where nothing of it does: alternatives that differ in
// images or in how requests inside the cluster are split give the same answers.
// It keeps whatever it does not know. It may change object.
func essence(o *manifest.Object, object map[string]any) any {
	switch o.Group() {
	case "config.istio.io", "rbac.istio.io", "authentication.istio.io":
		return nil // no supported Istio reads them
	}
	if o.APIVersion == "install.istio.io/v1alpha2" {
		return nil // nor does any operator
	}
	if metadata := lookupMap(object, "metadata"); metadata != nil && !labelled[o.Kind] {
		metadata["labels"], metadata["annotations"] = ofIstio(lookupMap(metadata, "labels")), ofIstio(lookupMap(metadata, "annotations"))
	}
	if webhooks, ok := object["webhooks"].([]any); ok {
		for _, w := range webhooks {
			hook, _ := w.(map[string]any)
			delete(lookupMap(hook, "clientConfig"), "caBundle")
		}
	}
	spec, _ := object["spec"].(map[string]any)
	switch {
	case spec == nil:
		return object
	case o.Kind == "VirtualService" && inside(texts(spec["hosts"])) && beside(destinations(spec)),
		o.Kind == "VirtualService" && entersOnly(spec) && entering(destinations(spec)):
		return nil
	case o.Kind == "DestinationRule":
		if host, _ := spec["host"].(string); inside([]string{host}) {
			return tlsOf(object) // without subsets and load balancing of a Service
		}
	case o.Kind == "Gateway" && forIngress(lookupMap(spec, "selector")):
		return nil
	case o.Kind == "AuthorizationPolicy" && forIngress(lookupMap(spec, "selector.matchLabels")):
		return nil
	case contains([]string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Rollout"}, o.Kind):
		if template := lookupMap(spec, "template"); template != nil {
			return podEssence(template)
		}
	case o.Kind == "Service" && o.Group() == "" && spec["type"] != "ExternalName":
		return map[string]any{"selector": gatewaySelector(lookupMap(spec, "selector")), "ports": portsEssence(spec["ports"]), "clusterIP": spec["clusterIP"] == "None",
			"externalIPs": spec["externalIPs"], "istio": ofIstio(lookupMap(object, "metadata.labels")), "of": ofIstio(lookupMap(object, "metadata.annotations"))}
	case o.Kind == "Pod":
		return podEssence(object)
	}
	return object
}

// labelled are the kinds of objects that others select by their labels.
var labelled = map[string]bool{"Namespace": true, "Pod": true, "Node": true, "WorkloadEntry": true, "WorkloadGroup": true}

// inside reports whether all names are short names of Services or full ones of
// the cluster, so that no request for them leaves it.
func inside(hosts []string) bool {
	return len(hosts) > 0 && !slices.ContainsFunc(hosts, func(h string) bool {
		return h == "" || strings.Contains(h, "*") || strings.Contains(h, ".") && !strings.HasSuffix(h, ".svc") && !strings.HasSuffix(h, ".svc."+DomainSuffix)
	})
}

// beside reports whether destinations are Services of the own namespace: one of
// another may be a gateway.
func beside(hosts []string) bool {
	return inside(hosts) && !slices.ContainsFunc(hosts, func(h string) bool { return strings.Contains(h, ".") })
}

// entering reports whether destinations of what comes to a gateway are Services of
// the cluster, and none of them an egress gateway by its name.
func entering(hosts []string) bool {
	return inside(hosts) && !slices.ContainsFunc(hosts, func(h string) bool { return strings.Contains(h, "egress") })
}

// forIngress reports whether a selector names a gateway for what comes in.
func forIngress(selector map[string]any) bool {
	found := false
	for _, v := range selector {
		text, _ := v.(string)
		if strings.Contains(text, "egress") {
			return false
		}
		found = found || strings.Contains(text, "ingress")
	}
	return found
}

// tlsOf keeps of a DestinationRule for whom it is, and how clients talk TLS.
func tlsOf(object map[string]any) any {
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			var out []any
			for _, e := range v {
				if kept := walk(e); kept != nil {
					out = append(out, kept)
				}
			}
			if len(out) > 0 {
				return out
			}
		case map[string]any:
			out := map[string]any{}
			for key, e := range v {
				switch key {
				case "tls", "tunnel", "proxyProtocol":
					out[key] = e
				case "trafficPolicy", "portLevelSettings":
					if kept := walk(e); kept != nil {
						out[key] = kept
					}
				}
			}
			if len(out) > 0 {
				if port, ok := v["port"]; ok {
					out["port"] = port
				}
				return out
			}
		}
		return nil
	}
	spec := lookupMap(object, "spec")
	return []any{spec["host"], spec["exportTo"], spec["workloadSelector"], walk(spec), walk(spec["subsets"])}
}

// entersOnly reports whether a VirtualService routes only what comes to
// gateways.
func entersOnly(spec map[string]any) bool {
	gateways := texts(spec["gateways"])
	return len(gateways) > 0 && !contains(gateways, MeshGateway)
}

// destinations returns the hosts of all destinations of a VirtualService,
// mirrors included; a delegate or a redirect is a destination of unknown name.
func destinations(value any) []string {
	var out []string
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			out = append(out, destinations(e)...)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			switch key {
			case "destination", "mirror":
				fields, _ := v[key].(map[string]any)
				host, _ := fields["host"].(string)
				if host == "" {
					host = "*"
				}
				out = append(out, host)
			case "delegate", "redirect", "exportTo":
				out = append(out, "*")
			default:
				out = append(out, destinations(v[key])...)
			}
		}
	}
	return out
}

// texts returns the strings of a list.
func texts(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, e := range list {
		s, _ := e.(string)
		out = append(out, s)
	}
	return out
}

// gatewaySelector returns a Service's selector if it may be that of a gateway.
// Which pods of an application answer for it decides nothing about egress.
func gatewaySelector(selector map[string]any) map[string]any {
	for key, v := range selector {
		text, _ := v.(string)
		if strings.Contains(key, "istio") || strings.Contains(key, "gateway") || strings.Contains(text, "gateway") || strings.Contains(text, "egress") || strings.Contains(text, "waypoint") {
			return selector
		}
	}
	return nil
}

// portsEssence leaves out of the ports of a Service what only nodes see.
func portsEssence(value any) []any {
	list, _ := value.([]any)
	var out []any
	for _, e := range list {
		port, ok := e.(map[string]any)
		if !ok {
			return list
		}
		delete(port, "nodePort")
		out = append(out, port)
	}
	return out
}

// idleKeys are annotations of Istio that change nothing of what gets out.
var idleKeys = map[string]bool{
	"sidecar.istio.io/rewriteAppHTTPProbers": true, "sidecar.istio.io/statsInclusionPrefixes": true, "sidecar.istio.io/extraStatTags": true,
	"sidecar.istio.io/proxyCPU": true, "sidecar.istio.io/proxyCPULimit": true, "sidecar.istio.io/proxyMemory": true, "sidecar.istio.io/proxyMemoryLimit": true,
	"sidecar.istio.io/logLevel": true, "sidecar.istio.io/componentLogLevel": true, "sidecar.istio.io/nativeSidecar": true,
}

// ofIstio returns the labels or annotations that Istio reads, or a network
// plugin; nil if there are none.
func ofIstio(all map[string]any) map[string]any {
	var of map[string]any
	for key, v := range all {
		if idleKeys[key] {
			continue
		}
		if strings.Contains(key, "istio.io") || strings.Contains(key, "cni.") || strings.Contains(key, "istio-injection") {
			if of == nil {
				of = map[string]any{}
			}
			of[key] = v
		}
	}
	return of
}

// podEssence keeps of a pod what decides about its proxy and its identity.
func podEssence(pod map[string]any) any {
	kept := map[string]any{"labels": lookupMap(pod, "metadata")["labels"], "annotations": ofIstio(lookupMap(pod, "metadata.annotations"))}
	for key, v := range lookupMap(pod, "spec") {
		switch key {
		case "containers", "initContainers", "ephemeralContainers":
			var list []any
			containers, _ := v.([]any)
			for _, c := range containers {
				fields, _ := c.(map[string]any)
				if fields["name"] == "istio-proxy" {
					list = append(list, fields)
					continue
				}
				list = append(list, map[string]any{"name": fields["name"], "securityContext": fields["securityContext"], "restartPolicy": fields["restartPolicy"]})
			}
			kept[key] = list
		case "serviceAccountName", "serviceAccount", "hostNetwork", "hostPID", "shareProcessNamespace", "securityContext", "dnsPolicy", "dnsConfig":
			kept[key] = v
		}
	}
	return kept
}

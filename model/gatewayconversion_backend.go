package model

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// weightSum adds the weights of backends; one without weight has 1.
func weightSum(refs []gatewayv1.BackendRef) int64 {
	sum := int64(0)
	for _, r := range refs {
		sum += int64(value(r.Weight, 1))
	}
	return sum
}

// weighted are the indexes of the backends with weight, and their weights. The
// weight of an only one does not count (istio conversion.go
// buildHTTPDestination).
func weighted(refs []gatewayv1.BackendRef) (chosen []int, weights []int32) {
	for i, r := range refs {
		if w := value(r.Weight, 1); w != 0 {
			chosen, weights = append(chosen, i), append(weights, w)
		}
	}
	if len(weights) == 1 {
		weights = []int32{0}
	}
	return chosen, weights
}

// connections converts the backends of a TCP or TLS rule; ok is false where istiod
// refuses the rule, and with it the whole route (istio conversion.go
// convertTCPRoute, buildTCPDestination). Without any weight the route leads to a
// cluster that does not exist.
func (c *routeOf) connections(refs []gatewayv1.BackendRef) (out []*networking.RouteDestination, ok bool) {
	if weightSum(refs) == 0 {
		return []*networking.RouteDestination{{Destination: &networking.Destination{
			Host: "internal.cluster.local", Subset: "zero-weight", Port: &networking.PortSelector{Number: 65535},
		}}}, true
	}
	chosen, weights := weighted(refs)
	for n, i := range chosen {
		d, _, ok := c.destination(&refs[i])
		if !ok {
			return nil, false
		}
		out = append(out, &networking.RouteDestination{Destination: d, Weight: weights[n]})
	}
	return out, true
}

// destination converts a reference to a backend (istio conversion.go
// buildDestination). valid is false for a reference that istiod reports; where
// that costs only the requests for this backend, the destination has no host
// unless the reference is sound and merely leads to nothing. ok is false where
// it costs the whole route.
func (c *routeOf) destination(to *gatewayv1.BackendRef) (d *networking.Destination, valid, ok bool) {
	kind := referenceKind(to.Group, to.Kind, serviceKind)
	own := gatewayv1.Namespace(c.object.Namespace)
	namespace := string(value(to.Namespace, own))
	if !c.forMesh && namespace != string(own) && !c.granted(c.kind, string(own), kind, namespace, string(to.Name)) {
		return &networking.Destination{}, false, true
	}
	var hostname string
	switch kind {
	case serviceKind:
		if strings.Contains(string(to.Name), ".") {
			return nil, false, false
		}
		hostname, valid = string(ServiceHost(string(to.Name), namespace)), c.kubeService(namespace, string(to.Name)) != nil
	case hostnameKind:
		if to.Namespace != nil {
			return nil, false, false
		}
		// istiod looks in the route's own namespace only, and reports a host
		// registered elsewhere although the route works (LookupHostname).
		hostname, valid = string(to.Name), c.registers(string(to.Name), namespace)
	case groupKind{c.config.Setting("MCS_API_GROUP"), "ServiceImport"}:
		hostname, valid = string(ServiceHost(string(to.Name), namespace)), c.kubeService(namespace, string(to.Name)) != nil
		if c.config.Enabled("ENABLE_MCS_HOST") && c.config.Enabled("ENABLE_MCS_SERVICE_DISCOVERY") {
			hostname = fmt.Sprintf("%s.%s.svc.clusterset.local", to.Name, namespace)
		}
	case inferencePoolKind:
		// Off by default; switched on, the pool's picker chooses the pod, which
		// is not simulated.
		d := &networking.Destination{}
		if c.config.Enabled("ENABLE_GATEWAY_API_INFERENCE_EXTENSION") {
			d.Host = InferencePoolHost
		}
		return d, false, true
	default:
		return &networking.Destination{}, false, true
	}
	if to.Port == nil {
		return nil, false, false
	}
	return &networking.Destination{Host: hostname, Port: &networking.PortSelector{Number: uint32(*to.Port)}}, valid, true //nolint:gosec // a port
}

// InferencePoolHost stands for the pods of an InferencePool as destination of a
// route. No host has this name; what such a route does is not known.
const InferencePoolHost = "~inferencepool"

// registers reports whether a ServiceEntry or Service of a namespace registers
// a host.
func (c *gatewayConversion) registers(hostname, namespace string) bool {
	for _, e := range c.mesh.ServiceEntries {
		for _, h := range e.Spec.GetHosts() {
			if e.Namespace == namespace && h == hostname {
				return true
			}
		}
	}
	for _, s := range c.mesh.KubeServices {
		if s.Namespace == namespace && string(ServiceHost(s.Name, namespace)) == hostname {
			return true
		}
	}
	return false
}

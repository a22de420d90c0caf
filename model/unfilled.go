package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model/manifest"
)

// Unfilled is an object with a placeholder where it decides about requests: what it
// does once that is filled in nobody knows, only whom it may concern. The API server
// or Istio's validation refuses most of them as they stand; one that they admit is in
// the mesh, too, and is taken by its letters where the Unfilled does not apply.
type Unfilled struct {
	*manifest.Object
	// Text is the first placeholder and Field the path where it stands.
	Text, Field string
	// Homeless: nothing is open but the namespace.
	Homeless bool

	spec map[string]any
	// group and kind in one, whether the namespace is open, and what else is asked often.
	what     string
	anywhere bool
	exported unfilledExport
	reached  entryAddresses
	ports    []entryPort
	// names are the hosts that it is about, any where they are open.
	names []namePattern
	// leads are where a VirtualService sends requests.
	leads []namePattern
}

// unfilledTree is the Value of a refused object that becomes an [Unfilled].
type unfilledTree map[string]any

// unfilledKinds are the kinds that become one, by group. AuthorizationPolicies,
// NetworkPolicies and mesh configuration have ways of their own.
var unfilledKinds = map[string]map[string]bool{
	"networking.istio.io": {"ServiceEntry": true, "WorkloadEntry": true, "VirtualService": true, "DestinationRule": true, "Gateway": true, "Sidecar": true, "EnvoyFilter": true},
	"security.istio.io":   {"PeerAuthentication": true, "RequestAuthentication": true},
	"":                    {"Service": true},
	kubeGatewayGroup:      {"Gateway": true, "HTTPRoute": true, "GRPCRoute": true, "TLSRoute": true, "TCPRoute": true, "ReferenceGrant": true},
}

const kubeGatewayGroup = "gateway.networking.k8s.io"

func mayBeUnfilled(o *manifest.Object) bool { return unfilledKinds[o.Group()][o.Kind] }

// Unfilled returns the objects with placeholders, those that are admitted before those
// that are refused, each in the order of the input. The list is shared: do not change it.
func (m *Mesh) Unfilled() []*Unfilled { return m.unfilledObjects }

// findUnfilledObjects finds them among what the mesh holds and what was refused, of
// which the input has no complete object of the same name, and says so of those that
// nothing refuses.
func (m *Mesh) findUnfilledObjects(objects, rejected []*manifest.Object) {
	complete := map[string]bool{}
	for _, o := range objects {
		if !mayBeUnfilled(o) {
			continue
		}
		complete[o.Group()+" "+o.String()] = true
		if u := unfilledAdmitted(o); u != nil {
			m.unfilledObjects = append(m.unfilledObjects, u)
		}
	}
	admitted := len(m.unfilledObjects)
	for _, o := range rejected {
		tree, ok := o.Value.(unfilledTree)
		if !ok || complete[o.Group()+" "+o.String()] {
			continue
		}
		u := &Unfilled{Object: o, spec: lookupMap(tree, "spec")}
		u.Text, u.Field = placeholderAt(map[string]any{"metadata": tree["metadata"], "spec": tree["spec"]}, "", "")
		u.read()
		m.unfilledObjects = append(m.unfilledObjects, u)
	}
	if n := admitted; n > 0 {
		u, more := m.unfilledObjects[0], ""
		if n > 1 {
			more = fmt.Sprintf(", as %d more objects do", n-1)
		}
		m.note("%s holds the placeholder %s%s, and answers that depend on it are unknown: fill it in before", title(u.Object), u.Text, more)
	}
	for _, u := range m.unfilledObjects {
		m.findRoots(u)
	}
}

// findRoots finds the hosts of a VirtualService that has none because others delegate
// to it.
func (m *Mesh) findRoots(u *Unfilled) {
	if u.Kind != "VirtualService" || u.spec["hosts"] != nil || u.spec["http"] == nil {
		return
	}
	u.names = nil
	for _, vs := range m.VirtualServices {
		for _, r := range vs.Spec.GetHttp() {
			d := r.GetDelegate()
			if d == nil || d.GetName() != u.Name && !open(u.Name) || !u.in(cmp.Or(d.GetNamespace(), vs.Namespace)) {
				continue
			}
			for _, h := range vs.Spec.GetHosts() {
				u.names = append(u.names, newNamePattern(string(ResolveHost(h, vs.Namespace))))
			}
			break
		}
	}
}

// unfilledAdmitted finds the placeholders of an object that nothing refuses, nil if it
// has none that matters. Only names and namespaces of the kinds that others refer to
// by them count.
func unfilledAdmitted(o *manifest.Object) *Unfilled {
	u := &Unfilled{Object: o}
	switch v := o.Value.(type) {
	case proto.Message:
		for _, found := range placeholdersIn(v.ProtoReflect(), "spec") {
			if !u.harmless(found.field) {
				u.Text, u.Field = found.text, found.field
				break
			}
		}
	default:
		if service, ok := o.Value.(*corev1.Service); ok && !openService(service) {
			break // as almost all are
		}
		u.spec = lookupMap(untyped(o.Value), "spec")
		u.Text, u.Field = placeholderAt(u.spec, "", "spec")
	}
	if u.Text == "" && o.Kind == "Service" && placeholderPattern.MatchString(o.Name) {
		u.Text, u.Field = shortPlaceholder(o.Name), "metadata.name"
	}
	if u.Text == "" && placeholderPattern.MatchString(o.Namespace) {
		u.Text, u.Field, u.Homeless = shortPlaceholder(o.Namespace), "metadata.namespace", true
	}
	if u.Text == "" {
		return nil
	}
	if v, ok := o.Value.(proto.Message); ok {
		u.spec, _ = protomarshal.ToJSONMap(v) // what it decoded it encodes
	}
	u.read()
	return u
}

// openService reports whether a Service may hold a placeholder in what it selects or
// leads to, or in its ports: most of its other fields take numbers only.
func openService(s *corev1.Service) bool {
	may := func(text string) bool { return strings.ContainsAny(text, "$<_") || strings.Contains(text, "...") }
	for k, v := range s.Spec.Selector {
		if may(k) || may(v) {
			return true
		}
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if may(p.Name) || may(p.TargetPort.StrVal) || p.AppProtocol != nil && may(*p.AppProtocol) || may(string(p.Protocol)) {
			return true
		}
	}
	return may(string(s.Spec.Type)) || may(s.Spec.ClusterIP) || may(s.Spec.ExternalName) || may(s.Name) || may(s.Namespace) || slices.ContainsFunc(s.Spec.ExternalIPs, may)
}

// untyped is an object of Kubernetes' as its manifest has it; nil where nothing in it
// may be a placeholder, which is almost always so.
func untyped(value any) map[string]any {
	data, err := json.Marshal(value)
	if err != nil || !placeholderPattern.Match(data) && !strings.Contains(string(data), `"\u003c`) {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(data, &out) != nil {
		return nil
	}
	return out
}

// harmless tells the fields of Istio's kinds that decide nothing here whatever stands
// in them, or whose objects make answers unknown in any case.
func (u *Unfilled) harmless(field string) bool {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(field, part) })
	}
	switch u.Kind {
	case "EnvoyFilter":
		return has(".patch.value")
	case "RequestAuthentication":
		return has(".jwksUri", ".jwks", ".issuer", ".audiences", ".outputPayloadToHeader", ".outputClaimToHeaders")
	case "VirtualService":
		return has(".directResponse.body")
	default:
		return has(".credentialName", ".caCertificates", ".serverCertificate", ".clientCertificate", ".privateKey", ".caCertCredentialName")
	}
}

// placeholderAt returns the first placeholder of a value with its path, as
// [placeholder] finds it; key is the last of the path.
func placeholderAt(value any, key, at string) (text, field string) {
	switch v := value.(type) {
	case string:
		if placeholderBelow(v, key) != "" {
			return shortPlaceholder(map[string]any{key: v}), at
		}
	case []any:
		for i, e := range v {
			if text, field = placeholderAt(e, key, item(at, i)); text != "" {
				return text, field
			}
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if k == "annotations" {
				continue
			}
			if text, field = placeholderAt(v[k], k, child(at, k)); text != "" {
				return text, field
			}
		}
	}
	return "", ""
}

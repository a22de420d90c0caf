package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"google.golang.org/protobuf/proto"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/validation"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model/manifest"
)

// istioKind is a kind of Istio's own that bears on egress.
type istioKind struct {
	newSpec func() proto.Message
	// validate is what istiod's admission webhook runs. It is nil for
	// EnvoyFilter, whose validation links all of Envoy's API; an EnvoyFilter
	// only ever makes answers unknown, so taking one too many is harmless.
	validate validation.ValidateFunc
}

var istioKinds = map[string]*istioKind{
	"ServiceEntry":          {func() proto.Message { return &networking.ServiceEntry{} }, validation.ValidateServiceEntry},
	"WorkloadEntry":         {func() proto.Message { return &networking.WorkloadEntry{} }, validation.ValidateWorkloadEntry},
	"WorkloadGroup":         {func() proto.Message { return &networking.WorkloadGroup{} }, validation.ValidateWorkloadGroup},
	"VirtualService":        {func() proto.Message { return &networking.VirtualService{} }, validation.ValidateVirtualService},
	"DestinationRule":       {func() proto.Message { return &networking.DestinationRule{} }, validation.ValidateDestinationRule},
	"Gateway":               {func() proto.Message { return &networking.Gateway{} }, validation.ValidateGateway},
	"Sidecar":               {func() proto.Message { return &networking.Sidecar{} }, validation.ValidateSidecar},
	"EnvoyFilter":           {func() proto.Message { return &networking.EnvoyFilter{} }, nil},
	"ProxyConfig":           {func() proto.Message { return &networkingv1beta1.ProxyConfig{} }, validation.ValidateProxyConfig},
	"AuthorizationPolicy":   {func() proto.Message { return &security.AuthorizationPolicy{} }, validation.ValidateAuthorizationPolicy},
	"PeerAuthentication":    {func() proto.Message { return &security.PeerAuthentication{} }, validation.ValidatePeerAuthentication},
	"RequestAuthentication": {func() proto.Message { return &security.RequestAuthentication{} }, validation.ValidateRequestAuthentication},
}

// Istio's packages log to standard output while they validate and read mesh
// configuration. What they have to say is returned as errors; a library does
// not print.
var silence = sync.OnceFunc(func() {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
})

// rejection says why an object does not exist in a cluster.
type rejection struct {
	by         string // who refuses it: "the API server", "Istio's validation"
	complaints []complaint
}

// admit decodes the spec of an object of an Istio kind and puts it to the tests
// that stand before a cluster: the versions and the schema of its CRD, and
// istiod's validation (istio pkg/webhooks/validation/server/server.go). It
// returns the spec, or the reason why there is none. It changes tree.
func (k *istioKind) admit(o *manifest.Object, tree map[string]any) (proto.Message, *rejection) {
	silence()
	_, version, _ := strings.Cut(o.APIVersion, "/")
	if served := crdKinds()[o.Kind].Versions; !contains(served, version) {
		return nil, &rejection{"the API server", []complaint{{"apiVersion", fmt.Sprintf(
			"Istio has no %s of version %q, only %s", o.Kind, version, strings.Join(served, ", "))}}}
	}
	pruneNulls(tree)
	if spec, ok := tree["spec"].(map[string]any); ok && hasProtoNames(spec, k.newSpec().ProtoReflect().Descriptor()) {
		tree["spec"] = jsonNames(spec, k.newSpec().ProtoReflect().Descriptor(), !takesProtoNames(o))
	}
	if complaints := checkSchema(o.Kind, tree); len(complaints) > 0 {
		return nil, &rejection{"the API server", complaints}
	}
	spec, messages := k.read(o, tree["spec"])
	if len(messages) == 0 {
		return spec, nil
	}
	r := &rejection{by: "Istio's validation"}
	for _, m := range messages {
		field := locate(tree["spec"], m, func(spec any) []string {
			_, messages := k.read(o, spec)
			return messages
		})
		r.complaints = append(r.complaints, complaint{join("spec", field), m})
	}
	return nil, r
}

// admitPlain does the same as admit for an object of which everything is as it is in
// most objects: it is plain and served, fits its schema, has no unknown fields and is
// valid. ok is false for all others.
func (k *istioKind) admitPlain(o *manifest.Object, object manifest.Value) (_ proto.Message, ok bool) {
	silence()
	_, version, _ := strings.Cut(o.APIVersion, "/")
	spec, has := object.Field("spec")
	if !has || !spec.IsMapping() || !contains(crdKinds()[o.Kind].Versions, version) {
		return nil, false
	}
	for i := range object.Len() {
		if key, _ := object.Entry(i); !isTopLevel(key) {
			return nil, false
		}
	}
	if !schemaOf(o.Kind).fits(object) {
		return nil, false
	}
	defer func() { // as in read
		if recover() != nil {
			ok = false
		}
	}()
	msg := k.newSpec()
	if !fill(msg.ProtoReflect(), spec) {
		return nil, false
	}
	msg, messages := k.check(o, msg)
	return msg, len(messages) == 0
}

// read decodes and validates a spec. It returns what is wrong with it, nothing
// if it is valid.
func (k *istioKind) read(o *manifest.Object, spec any) (_ proto.Message, messages []string) {
	// Should Istio's code panic over hostile input, the API server refuses the
	// object, because its webhook did not answer.
	defer func() {
		if r := recover(); r != nil {
			messages = []string{printable(fmt.Sprintf("validation fails: %v", r))}
		}
	}()
	msg := k.newSpec()
	if spec != nil {
		data, err := json.Marshal(spec)
		if err != nil {
			return nil, []string{err.Error()}
		}
		// Unknown fields are dropped and proto names taken, as istiod does.
		if err := protomarshal.UnmarshalAllowUnknown(data, msg); err != nil {
			return nil, messagesOf(err)
		}
	}
	return k.check(o, msg)
}

// check runs Istio's validation.
func (k *istioKind) check(o *manifest.Object, msg proto.Message) (proto.Message, []string) {
	if k.validate == nil {
		return msg, nil
	}
	name := o.Name
	if name == "" || strings.HasSuffix(name, "-") {
		name = "generated" // metadata.generateName: any valid name will be appended to it
	}
	_, version, _ := strings.Cut(o.APIVersion, "/")
	_, err := k.validate(config.Config{
		Meta: config.Meta{
			GroupVersionKind: config.GroupVersionKind{Group: o.Group(), Version: version, Kind: o.Kind},
			Name:             name,
			Namespace:        o.Namespace,
			Domain:           DomainSuffix,
			Labels:           o.Labels,
			Annotations:      o.Annotations,
		},
		Spec: msg,
	})
	if err != nil {
		return nil, messagesOf(err)
	}
	return msg, nil
}

// messagesOf lists the single errors of an error of Istio's, without repetition.
func messagesOf(err error) []string {
	var out []string
	var collect func(error)
	collect = func(err error) {
		switch e := err.(type) { //nolint:errorlint // it unwraps by itself
		case interface{ WrappedErrors() []error }:
			for _, inner := range e.WrappedErrors() {
				collect(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				collect(inner)
			}
		default:
			m := printable(strings.TrimSpace(err.Error()))
			// Some validators return an error twice, once with a prefix.
			if !slices.ContainsFunc(out, func(other string) bool { return other == m || strings.HasSuffix(other, ": "+m) }) {
				out = append(out, m)
			}
		}
	}
	collect(err)
	if len(out) == 0 {
		out = append(out, printable(err.Error()))
	}
	return out
}

// printable replaces what would steer a terminal or break a line: errors of
// Istio and of decoders quote the input as it is.
//
//go:noinline
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, s)
}

// maxComplaints bounds how many reasons one problem names.
const maxComplaints = 3

// problem words a rejection. place gives the position of a field.
func (r *rejection) problem(o *manifest.Object, place func(field string) manifest.Position) manifest.Problem {
	var texts []string
	for _, c := range r.complaints {
		text := c.message
		if c.field != "" && r.by == "the API server" {
			text = c.field + " " + text
		}
		texts = append(texts, printable(text))
	}
	if more := len(texts) - maxComplaints; more > 0 {
		texts = append(texts[:maxComplaints], fmt.Sprintf("and %d more", more))
	}
	position := place("")
	if len(r.complaints) > 0 {
		position = place(r.complaints[0].field)
	}
	return manifest.Problem{
		Kind:     manifest.Rejected,
		Position: position,
		Object:   o.String(),
		Message:  fmt.Sprintf("%s is refused by %s: %s", title(o), r.by, strings.Join(texts, "; ")),
		Help:     r.help(),
	}
}

// placeholderPattern matches what a user is to replace before applying:
// ${NAME}, $(NAME), $NAME, __NAME__, NAME_PLACEHOLDER and <what to put here>.
// See openName for more.
var placeholderPattern = regexp.MustCompile(`\$\{[A-Za-z_][^}]*\}|\$\([A-Za-z_][^)]*\)|\$[A-Z][A-Z0-9_]+\b|^<[^<>]+>$|` +
	`\b__[A-Z][A-Z0-9_]*__\b|\b[A-Z][A-Z0-9_]*_PLACEHOLDER\b`)

// placeholder returns the first placeholder in the values of a document, in the
// order of their keys; "" if there is none. Status and comments do not count.
func placeholder(value any) string { return placeholderBelow(value, "") }

// PlaceholderIn returns the first placeholder in a text, shortened for messages; "" if
// there is none.
func PlaceholderIn(text string) string {
	if !strings.ContainsAny(text, "$<_") || !placeholderPattern.MatchString(text) {
		return ""
	}
	return shortPlaceholder(text)
}

// openName matches capitals with underscores, which no host and no URI has:
// what kustomize's replacements, sed or a reader puts there (DEX_NAMESPACE), and
// dots for what an excerpt leaves out. Elsewhere such words are values of
// enumerations.
var openName = regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|[\w-]+\.{3}[\w-]*`)

// namedKeys are the fields that openName is meant for.
var namedKeys = map[string]bool{"host": true, "hosts": true, "address": true, "addresses": true, "jwksUri": true, "sniHosts": true}

// placeholderBelow is placeholder for the value of a key, or of its items.
func placeholderBelow(value any, below string) string {
	switch v := value.(type) {
	case string:
		text := placeholderPattern.FindString(v)
		if text == "" && below == "name" && strings.Contains(v, "...") {
			text = v // an excerpt
		}
		if text != "" || !namedKeys[below] {
			return text
		}
		return openName.FindString(v)
	case []any:
		for _, e := range v {
			if text := placeholderBelow(e, below); text != "" {
				return text
			}
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			if key == "status" && below == "" || key == "annotations" {
				continue
			}
			if text := placeholderBelow(v[key], key); text != "" {
				return text
			}
		}
	}
	return ""
}

// help says what to do about a rejection.
func (r *rejection) help() string {
	return "such an object never exists in a cluster and is left out of the analysis: mend or remove it"
}

// title names an object for a message, by its place where it has no name.
func title(o *manifest.Object) string {
	switch {
	case o.Implied != "" && o.Name == flagName:
		return flagName
	case o.Implied == "" && o.Name == "":
		return printable(fmt.Sprintf("%s at %s", o.Kind, o.At("")))
	default:
		return printable(o.String())
	}
}

// join puts a field path under another.
//
//go:noinline
func join(base, field string) string {
	switch {
	case field == "":
		return base
	case base == "" || field[0] == '[':
		return base + field
	default:
		return base + "." + field
	}
}

package model

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
)

// mergeHTTPRoute merges a delegate's route under the root's, nil where their
// conditions conflict (istio pilot/pkg/model/virtualservice.go mergeHTTPRoute).
func mergeHTTPRoute(root, delegate *HTTPRoute) *HTTPRoute {
	out := proto.CloneOf(delegate.HTTPRoute)
	r := root.HTTPRoute
	merged := &HTTPRoute{HTTPRoute: out, Object: delegate.Object, Field: delegate.Field}
	if !mergeMatches(root, delegate, merged) {
		return nil
	}
	switch {
	case out.Name == "":
		out.Name = r.Name
	case r.Name != "":
		out.Name = r.Name + "-" + out.Name
	}
	if out.Rewrite == nil {
		out.Rewrite = r.Rewrite
	}
	if out.DirectResponse == nil {
		out.DirectResponse = r.DirectResponse
	}
	if out.Fault == nil {
		out.Fault = r.Fault
	}
	if out.Mirror == nil {
		out.Mirror = r.Mirror
	}
	if out.MirrorPercentage == nil {
		out.MirrorPercentage = r.MirrorPercentage
	}
	if out.Mirrors == nil {
		out.Mirrors = r.Mirrors
	}
	if out.CorsPolicy == nil {
		out.CorsPolicy = r.CorsPolicy
	}
	if out.Headers == nil {
		out.Headers = r.Headers
	}
	return merged
}

// mergeMatches fills the match conditions of a merged route: each of the
// delegate's must fit under one of the root's.
func mergeMatches(root, delegate, out *HTTPRoute) bool {
	switch {
	case len(root.GetMatch()) == 0:
		out.Matches = delegate.Matches
		return true
	case len(delegate.GetMatch()) == 0:
		out.Match, out.Matches = root.GetMatch(), root.Matches
		return true
	}
	out.Match = nil
	for i, sub := range delegate.GetMatch() {
		found := false
		for _, r := range root.GetMatch() {
			if !matchConflict(r, sub) {
				out.Match = append(out.Match, mergeMatch(r, sub))
				out.Matches = append(out.Matches, delegate.Matches[i])
				found = true
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func mergeMatch(root, delegate *networking.HTTPMatchRequest) *networking.HTTPMatchRequest {
	out := proto.CloneOf(delegate)
	switch {
	case out.Name == "":
		out.Name = root.Name
	case root.Name != "":
		out.Name = root.Name + "-" + out.Name
	}
	if out.Uri == nil {
		out.Uri = root.Uri
	}
	if out.Scheme == nil {
		out.Scheme = root.Scheme
	}
	if out.Method == nil {
		out.Method = root.Method
	}
	if out.Authority == nil {
		out.Authority = root.Authority
	}
	out.Headers = mergeMaps(root.Headers, delegate.Headers)
	out.WithoutHeaders = mergeMaps(root.WithoutHeaders, delegate.WithoutHeaders)
	out.QueryParams = mergeMaps(root.QueryParams, delegate.QueryParams)
	if out.Port == 0 {
		out.Port = root.Port
	}
	out.SourceLabels = mergeMaps(root.SourceLabels, delegate.SourceLabels)
	if out.SourceNamespace == "" {
		out.SourceNamespace = root.SourceNamespace
	}
	if len(out.Gateways) == 0 {
		out.Gateways = root.Gateways
	}
	return out
}

func mergeMaps[V any](base, over map[string]V) map[string]V {
	out := make(map[string]V, len(base)+len(over))
	maps.Copy(out, base)
	maps.Copy(out, over)
	return out
}

// matchConflict reports whether a delegate's condition does not fit under the
// root's (istio pilot/pkg/model/virtualservice.go hasConflict).
func matchConflict(root, leaf *networking.HTTPMatchRequest) bool {
	for _, pair := range [][2]*networking.StringMatch{
		{root.Uri, leaf.Uri}, {root.Scheme, leaf.Scheme}, {root.Method, leaf.Method}, {root.Authority, leaf.Authority},
	} {
		if stringMatchConflict(pair[0], pair[1]) {
			return true
		}
	}
	for _, pair := range [][2]map[string]*networking.StringMatch{
		{root.Headers, leaf.Headers}, {root.WithoutHeaders, leaf.WithoutHeaders}, {root.QueryParams, leaf.QueryParams},
	} {
		for key, value := range pair[1] {
			if stringMatchConflict(pair[0][key], value) {
				return true
			}
		}
	}
	if root.IgnoreUriCase != leaf.IgnoreUriCase ||
		root.Port > 0 && leaf.Port > 0 && root.Port != leaf.Port ||
		root.SourceNamespace != "" && leaf.SourceNamespace != root.SourceNamespace {
		return true
	}
	for key, value := range leaf.SourceLabels {
		if v, ok := root.SourceLabels[key]; ok && v != value {
			return true
		}
	}
	if len(root.Gateways) > 0 && len(leaf.Gateways) > 0 {
		return len(root.Gateways) < len(leaf.Gateways) ||
			slices.ContainsFunc(leaf.Gateways, func(g string) bool { return !contains(root.Gateways, g) })
	}
	return false
}

func stringMatchConflict(root, leaf *networking.StringMatch) bool {
	if root == nil || leaf == nil {
		return false
	}
	given := func(m *networking.StringMatch) bool {
		return m.GetRegex() != "" || m.GetPrefix() != "" || m.GetExact() != ""
	}
	if root.GetRegex() != "" && given(leaf) || leaf.GetRegex() != "" && given(root) {
		return true
	}
	if exact := root.GetExact(); exact != "" {
		return leaf.GetPrefix() != "" || leaf.GetExact() != exact
	}
	if prefix := root.GetPrefix(); prefix != "" {
		if leaf.GetPrefix() != "" {
			return !strings.HasPrefix(leaf.GetPrefix(), prefix)
		}
		if leaf.GetExact() != "" {
			return !strings.HasPrefix(leaf.GetExact(), prefix)
		}
	}
	return true
}

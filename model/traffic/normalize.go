package traffic

import (
	"path"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
)

// normalizePath rewrites a path as every HTTP chain does before it matches
// anything (istio listener_builder.go, meshConfig.pathNormalization; default
// BASE: dot segments are resolved, backslashes become slashes, but neither
// "//" nor "%2F" is touched).
func (p *proxy) normalizePath(in string) string {
	mode := p.push.Config.GetPathNormalization().GetNormalization()
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_NONE || !strings.HasPrefix(in, "/") {
		return in
	}
	plain, query, hasQuery := strings.Cut(in, "?")
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES {
		plain = unescapeSlashes.Replace(plain)
	}
	plain = resolveDots(strings.ReplaceAll(decodeDots.Replace(plain), `\`, "/"))
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_MERGE_SLASHES ||
		mode == meshconfig.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES {
		for strings.Contains(plain, "//") {
			plain = strings.ReplaceAll(plain, "//", "/")
		}
	}
	if hasQuery {
		return plain + "?" + query
	}
	return plain
}

var (
	unescapeSlashes = strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`)
	decodeDots      = strings.NewReplacer("%2E", ".", "%2e", ".")
)

// resolveDots removes "." and ".." segments and keeps empty ones.
func resolveDots(in string) string {
	segments := strings.Split(in, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	if joined := strings.Join(out, "/"); joined != "" {
		return joined
	}
	return path.Clean("/")
}

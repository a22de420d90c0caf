package traffic

import (
	"path"
	"strconv"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
)

// normalizePath rewrites a path as every HTTP chain does before it matches
// anything (meshConfig.pathNormalization; default BASE: encoded letters, digits
// and "-._~" are decoded, dot segments are resolved, backslashes become slashes,
// but neither "//" nor "%2F" is touched); false where the proxy answers 400. What
// comes of which path is that of Istio's own test against its proxy
// (istio tests/integration/security/normalization_test.go).
func (p *proxy) normalizePath(in string) (string, bool) {
	mode := p.push.Config.GetPathNormalization().GetNormalization()
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_NONE || !strings.HasPrefix(in, "/") {
		return in, true
	}
	plain, query, hasQuery := strings.Cut(in, "?")
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES {
		plain = unescapeSlashes.Replace(plain)
	}
	if strings.Contains(plain, "%00") {
		return "", false
	}
	plain = resolveDots(strings.ReplaceAll(decodeUnreserved(plain), `\`, "/"))
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_MERGE_SLASHES ||
		mode == meshconfig.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES {
		for strings.Contains(plain, "//") {
			plain = strings.ReplaceAll(plain, "//", "/")
		}
	}
	if hasQuery {
		return plain + "?" + query, true
	}
	return plain, true
}

var unescapeSlashes = strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`)

// decodeUnreserved decodes the characters that need no encoding (RFC 3986, 2.3).
func decodeUnreserved(in string) string {
	if !strings.Contains(in, "%") {
		return in
	}
	var out strings.Builder
	for i := 0; i < len(in); i++ {
		if in[i] == '%' && i+2 < len(in) {
			if n, err := strconv.ParseUint(in[i+1:i+3], 16, 8); err == nil && unreserved(byte(n)) {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(in[i])
	}
	return out.String()
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// resolveDots removes "." and ".." segments and keeps empty ones. Parameters do
// not hide what they are: "..;x" is "..".
func resolveDots(in string) string {
	segments := strings.Split(in, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		name, _, _ := strings.Cut(s, ";")
		switch name {
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

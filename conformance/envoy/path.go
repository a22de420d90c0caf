package envoy

import (
	"net/url"
	"strings"
)

// withoutQuery cuts a path at its query or fragment.
func withoutQuery(path string) string {
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		return path[:i]
	}
	return path
}

// queryParameters are those of a path, decoded; of a repeated key the first.
func queryParameters(path string) map[string]string {
	_, query, found := strings.Cut(path, "?")
	if !found {
		return nil
	}
	query, _, _ = strings.Cut(query, "#")
	parameters := map[string]string{}
	for _, pair := range strings.Split(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key, value = percentDecode(key), percentDecode(value)
		if _, seen := parameters[key]; !seen {
			parameters[key] = value
		}
	}
	return parameters
}

func percentDecode(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}

// normalization is what a connection manager does to paths before anything
// else sees them.
type normalization struct {
	canonical    bool // RFC 3986: dot segments, unreserved characters
	mergeSlashes bool
	// decodeSlashes turns %2F and %5C into slashes and goes on.
	decodeSlashes bool
}

// apply returns the path as routes and policies see it; ok is false where
// Envoy answers 400.
func (n normalization) apply(path string) (normal string, ok bool) {
	plain, query := path, ""
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		plain, query = path[:i], path[i:]
	}
	if strings.HasPrefix(query, "#") || strings.Contains(query, "#") {
		return "", false
	}
	if n.decodeSlashes {
		replacer := strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", "\\", "%5c", "\\")
		plain = replacer.Replace(plain)
	}
	if n.canonical {
		if plain, ok = canonicalPath(plain); !ok {
			return "", false
		}
	}
	if n.mergeSlashes {
		for strings.Contains(plain, "//") {
			plain = strings.ReplaceAll(plain, "//", "/")
		}
	}
	return plain + query, true
}

// canonicalPath follows the URL canonicalizer that Envoy uses, as far as Istio's
// test of its proxy shows it (tests/integration/security/normalization_test.go):
// characters that need no encoding are decoded, backslashes become slashes, dot
// segments are resolved, with parameters ("..;a=b") or without.
func canonicalPath(path string) (string, bool) {
	if !strings.HasPrefix(path, "/") {
		return "", false
	}
	var decoded strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '\\':
			decoded.WriteByte('/')
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			b := unhex(path[i+1])<<4 | unhex(path[i+2])
			if b == 0 {
				return "", false
			}
			if needsNoEncoding(b) {
				decoded.WriteByte(b)
			} else {
				decoded.WriteString(path[i : i+3])
			}
			i += 2
		default:
			decoded.WriteByte(c)
		}
	}
	segments := strings.Split(decoded.String(), "/")[1:]
	var kept []string
	for i, segment := range segments {
		last := i == len(segments)-1
		bare, _, _ := strings.Cut(segment, ";")
		switch bare {
		case ".":
			if last {
				kept = append(kept, "")
			}
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/"), true
}

// needsNoEncoding tells the characters that RFC 3986 calls unreserved.
func needsNoEncoding(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c == '-' || c == '.' || c == '_' || c == '~'
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

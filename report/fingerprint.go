package report

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
)

// Fingerprints returns for each finding an identity that stays the same while
// the finding does: it is made of the rule, the object and field, and what the
// witness asks for, never of line numbers or counts; of the file where no object can
// be told. Findings that are alike in all of this are told apart by their order.
func Fingerprints(findings []analyzers.Finding) []string {
	prints := make([]string, len(findings))
	seen := map[string]int{}
	for i := range findings {
		identity := identify(&findings[i])
		seen[identity]++
		if n := seen[identity]; n > 1 {
			identity += "\x00" + strconv.Itoa(n)
		}
		prints[i] = fingerprint(identity)
	}
	return prints
}

func fingerprint(identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(sum[:16])
}

func identify(f *analyzers.Finding) string {
	parts := []string{f.Rule.ID}
	switch {
	case f.Object != nil:
		parts = append(parts, f.Object.Group(), f.Object.Kind, f.Object.ID(), f.Field)
	case f.About != "":
		parts = append(parts, f.About, f.Field) // whatever file it stands in
	default:
		parts = append(parts, f.Position.File)
	}
	if f.Flow != nil {
		parts = append(parts, net.JoinHostPort(f.Flow.Host, strconv.Itoa(f.Flow.Port)))
	}
	return strings.Join(parts, "\x00")
}

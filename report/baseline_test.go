package report_test

import (
	"io"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/report"
)

// blanks are without end.
type blanks struct{}

func (blanks) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// What is no baseline is refused with what to do, however long it is.
func TestReadBaselineRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		r    io.Reader
		want string
	}{
		"nothing":         {strings.NewReader(""), "not a baseline: EOF; write it with --write-baseline"},
		"YAML":            {strings.NewReader("a: b"), "not a baseline: invalid character 'a'"},
		"another version": {strings.NewReader(`{"schema_version":7,"findings":[]}`), "a baseline of version 7, not 1; write it anew"},
		"two":             {strings.NewReader(`{"schema_version":1,"findings":[]}{}`), "not a baseline: text follows it"},
		"without end":     {blanks{}, "larger than 64 MiB"},
	} {
		if _, err := report.ReadBaseline(test.r); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

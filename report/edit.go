package report

import (
	"strings"

	"github.com/egresslint/egresslint/analyzers"
)

// editable reports whether an edit can be made in a file: its field stands there
// with an end on the same line. A field that is absent, as the namespace of an
// object that takes the default one, has the place of what is around it.
func editable(e *analyzers.Edit) bool {
	at := e.Object.At(e.Field)
	item := strings.HasSuffix(e.Field, "]") && !strings.HasSuffix(e.Field, "']")
	return e.Object.Implied == "" && at.File != "" && at.EndColumn > at.Column && (item || at != e.Object.AtKey(e.Field))
}

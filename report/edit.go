package report

import (
	"encoding/json"
	"path"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
)

// region is a stretch of a file: lines and columns from 1, columns in Unicode
// code points, the end exclusive.
type region struct {
	file                             string
	line, column, endLine, endColumn int
}

// change is text that takes the place of a region.
type change struct {
	region
	text string
	// edit is what it is made of.
	edit *analyzers.Edit
}

// changes returns what the edits of a finding come to in the files, nil unless
// each of them can be made: a field that is absent, as the namespace of an object
// that takes the default one, has no place, and an item that shares its line with
// others cannot be taken out.
func changes(f *analyzers.Finding) []change {
	out := make([]change, 0, len(f.Edits))
	for i := range f.Edits {
		c, ok := changeOf(&f.Edits[i])
		if !ok {
			return nil
		}
		out = append(out, c)
	}
	return out
}

func changeOf(e *analyzers.Edit) (c change, ok bool) {
	c = change{text: e.Text, edit: e}
	if e.Object == nil || e.Object.Implied != "" || e.Object.File() == "" {
		return c, false
	}
	switch {
	case e.Field == "":
		end, ok := e.Object.End()
		c.region = region{end.File, end.Line, end.Column, end.Line, end.Column}
		c.text = "\n---\n" + strings.TrimRight(e.Text, "\n")
		return c, ok
	case e.Text == "":
		first, last, ok := e.Object.ItemLines(e.Field)
		c.region = region{e.Object.File(), first, 1, last + 1, 1}
		return c, ok
	default:
		at := e.Object.At(e.Field)
		item := strings.HasSuffix(e.Field, "]") && !strings.HasSuffix(e.Field, "']")
		c.region = region{at.File, at.Line, at.Column, at.Line, at.EndColumn}
		if strings.EqualFold(path.Ext(at.File), ".json") && !json.Valid([]byte(e.Text)) {
			c.text = strconv.Quote(e.Text) // a word of YAML
		}
		return c, at.EndColumn > at.Column && (item || at != e.Object.AtKey(e.Field))
	}
}

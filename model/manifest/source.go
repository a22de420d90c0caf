package manifest

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"

	"go.yaml.in/yaml/v4"
)

// source is where an object came from, so that its document can be parsed once
// more when positions are asked for: keeping every node would cost 25 times the
// input.
//
// A mesh has one for each object, so that it is small; no document has 2 GiB.
type source struct {
	file *file
	// items leads to an object within Lists, nil if it is in none.
	items *[]int
	hash  uint64
	off   int // of the piece, in the text of the file
	// length is that of the piece; pieceLine, pieceColumn and dash are as in fragment.
	length, pieceLine, pieceColumn, dash int32
	// document counts the documents in the piece.
	document int32
	// line is that of the object's start, for when the file has changed.
	line, column int32
	json         bool
}

// newSource remembers a piece of a file.
func newSource(f *file, piece fragment, hash uint64) *source {
	return &source{
		file: f, hash: hash, off: piece.off, length: int32(piece.end - piece.off),
		pieceLine: int32(piece.line), pieceColumn: int32(piece.column), dash: int32(piece.dash), json: piece.json,
	}
}

// piece is what newSource was given, cut out of its file.
func (s *source) piece() fragment {
	return fragment{end: int(s.length), line: int(s.pieceLine), column: int(s.pieceColumn), dash: int(s.dash), json: s.json}
}

// path leads to the object within Lists.
func (s *source) path() []int {
	if s.items == nil {
		return nil
	}
	return *s.items
}

// store holds what the objects of a Set share.
type store struct {
	opts *Options
	seed maphash.Seed

	mu     sync.Mutex
	recent []*parsed // the last one used is the last
	places map[fieldOf]Position
	lines  map[string]lines // of the files that lines were asked of
	byName map[string]*file
}

// parsed is a fragment that was parsed once more.
type parsed struct {
	file  *file
	off   int
	roots []*yaml.Node
	text  *text
	trees map[*yaml.Node]*tree // by root, of the objects in it
}

// lines is a text and where its lines start.
type lines struct {
	text   []byte
	starts []int
}

// What is kept of what was parsed again: so many fragments and files, with so
// much text.
const (
	keep      = 16
	keepBytes = 1 << 20
	// keepPlaces is how many positions of fields are kept: findings are sorted by
	// theirs, and reports show each more than once.
	keepPlaces = 1 << 14
)

// fieldOf is a field of an object.
type fieldOf struct {
	source *source
	field  string
}

// tree parses the object's document, or takes it from what is kept; nil if the
// file is not what it was.
func (s *source) tree() *tree {
	p := s.file.store.parsed(s)
	if int(s.document) >= len(p.roots) {
		return nil
	}
	root := p.roots[s.document]
	for _, i := range s.path() {
		list := items(root, s.file.store.opts)
		if i >= len(list) {
			return nil
		}
		root = follow(list[i])
	}
	if p.trees[root] == nil {
		p.trees[root] = &tree{root: root, text: p.text, opts: s.file.store.opts}
	}
	return p.trees[root]
}

// parsed returns the fragment that an object came from, parsed; without roots
// if it is not what it was.
func (st *store) parsed(s *source) *parsed {
	bytes := 0
	for i, p := range st.recent {
		if p.file == s.file && p.off == s.off {
			st.recent = append(slices.Delete(st.recent, i, i+1), p)
			return p
		}
		bytes += len(p.text.bytes)
	}
	p := &parsed{file: s.file, off: s.off, text: &text{}, trees: map[*yaml.Node]*tree{}}
	section, err := s.file.section(s.off, int(s.length))
	if err == nil && maphash.Bytes(st.seed, section) == s.hash {
		if p.roots, p.text, err = s.piece().parse(section, st.opts); err != nil {
			p.roots = nil
		}
	}
	for len(st.recent) > 0 && (len(st.recent) >= keep || bytes+len(p.text.bytes) > keepBytes) {
		bytes -= len(st.recent[0].text.bytes)
		st.recent = slices.Delete(st.recent, 0, 1)
	}
	st.recent = append(st.recent, p)
	return p
}

// parse parses the fragment of a text.
func (f fragment) parse(of []byte, opts *Options) (roots []*yaml.Node, part *text, err error) {
	part = &text{bytes: f.of(of), json: f.json, line: f.line, column: f.column}
	if f.json {
		root, err := parseJSON(part.bytes, opts.MaxDepth)
		if err != nil {
			return nil, part, err
		}
		return []*yaml.Node{root}, part, nil
	}
	roots, err = parseYAML(part.bytes, opts.MaxDepth)
	return roots, part, err
}

// At returns the position of the value at a field path: of a scalar the scalar,
// of a list or mapping the key that holds it, of an item of a list its start, of
// "" the object's first line. Where the field is absent, it is the key of the
// nearest ancestor that exists.
//
// A path may lead on into a text that holds YAML, as "data.mesh.rootNamespace"
// of Istio's ConfigMap; the place is exact in literal blocks ("|") and that of
// the whole text otherwise.
//
// At parses the object's document again, from a file that it opens, unless it
// was asked of this object or field lately. If the file has changed since, it is the
// object's first line, but for a field that was asked of before. It may be called from several goroutines.
func (o *Object) At(field string) Position {
	if o.source == nil {
		if o.Cause != nil {
			return o.Cause.At(o.CauseField)
		}
		return Position{}
	}
	st := o.source.file.store
	st.mu.Lock()
	defer st.mu.Unlock()
	k := fieldOf{o.source, field}
	p, known := st.places[k]
	if !known {
		p = o.locate(func(t *tree) Position { return t.at(field) })
		if st.places == nil || len(st.places) == keepPlaces {
			st.places = map[fieldOf]Position{}
		}
		st.places[k] = p
	}
	return p
}

// AtKey returns the position of the key of a field: of "spec.hosts" the word
// "hosts". Items of lists and absent fields are as for [Object.At].
func (o *Object) AtKey(field string) Position {
	if o.source == nil {
		if o.Cause != nil {
			return o.Cause.AtKey(o.CauseField)
		}
		return Position{}
	}
	o.source.file.store.mu.Lock()
	defer o.source.file.store.mu.Unlock()
	return o.locate(func(t *tree) Position { return t.atKey(field) })
}

// File returns the name of the file that At gives, without reading it.
//
//go:noinline
func (o *Object) File() string {
	if o.source != nil {
		return o.source.file.shown
	}
	if o.Cause != nil {
		return o.Cause.File()
	}
	return ""
}

// locate finds a place in the object's document; its store is locked.
func (o *Object) locate(find func(*tree) Position) Position {
	s := o.source
	p := Position{Line: int(s.line), Column: int(s.column)}
	if t := s.tree(); t != nil {
		p = find(t)
	}
	return named(p, s.file.shown)
}

// Implied makes an object that no document holds. why says for what reason it
// exists ("profile=demo installs it"); its positions are those of a field of
// cause, or zero if cause is nil.
func Implied(apiVersion, kind, namespace, name, why string, cause *Object, causeField string) *Object {
	return &Object{
		APIVersion: apiVersion, Kind: kind, Namespace: namespace, Name: name,
		Implied: why, Cause: cause, CauseField: causeField,
	}
}

// Line returns a line of the input without its line end, fit for a terminal:
// control characters are replaced, one for one. ok is false where the input has
// no such line.
func (s *Set) Line(p Position) (line string, ok bool) {
	if s.store == nil || p.Line < 1 {
		return "", false
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	file, known := s.store.lines[p.File]
	if !known {
		f := s.store.byName[p.File]
		if f == nil {
			return "", false
		}
		file.text, _ = f.read(s.store.opts.MaxFileBytes) // without text there are no lines
		for at := 0; at < len(file.text); {
			file.starts = append(file.starts, at)
			i := bytes.IndexByte(file.text[at:], '\n')
			if i < 0 {
				break
			}
			at += i + 1
		}
		if len(s.store.lines) >= keep {
			clear(s.store.lines)
		}
		s.store.lines[p.File] = file
	}
	if p.Line > len(file.starts) {
		return "", false
	}
	text := file.text[file.starts[p.Line-1]:]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return printable(string(bytes.TrimSuffix(text, []byte("\r")))), true
}

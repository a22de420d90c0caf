package manifest

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
)

// A sieve goes through the lines of a plain document and blanks those that its
// outline drops, so that the rest can be parsed, and stands in the same lines.
// What is dropped is looked at: it has to fit its type, as if it were decoded.
type sieve struct {
	text    []byte
	outline *Outline
	// dropped are the parts of the text that are left out, lines each.
	dropped []span
	// below is what is known of the value of the last key.
	below part
	// drop says that the line is left out, first that it begins an item of a list.
	drop, first bool
	in          dropping
	out         []byte
	// taken are scalars that types took which decode themselves.
	taken map[taking]bool
}

type span struct{ from, to int }

// mark is how much was dropped at some time.
type mark struct{ n, to int }

// part is what a sieve knows of a value: nothing if it is kept.
type part struct {
	o *Outline // of what is not dropped
	// unless takes back what was dropped below level since mark.
	unless *Condition
	level  int
	mark   mark

	s   *Shape // of what is dropped; nil if anything fits
	any bool

	// from is where the line of the key begins whose value it is; -1 if that stays.
	from int
	// kept says that something of a collection is kept.
	kept bool
}

// dropping is a value that is being dropped, in levels from depth on.
type dropping struct {
	active bool
	depth  int
	mark   mark
	unless *Condition
}

// sift returns the document without what the outline drops, in the same lines; ok
// is false where it is not plain, or not much would be dropped. The text is good
// until the next call of reset.
func (k *skimmer) sift(text []byte, o *Outline) (rest []byte, ok bool) {
	if bytes.Contains(text, []byte("{{")) || hasCorner(text) {
		return nil, false
	}
	v := &k.sieved
	v.text, v.outline, v.dropped, v.below, v.in = text, o, v.dropped[:0], part{}, dropping{}
	*k = skimmer{text: text, stack: k.stack[:0], sieved: k.sieved, sieve: &k.sieved}
	if !k.lines() {
		return nil, false
	}
	if k.pending {
		v.absent(k)
	}
	for len(k.stack) > 0 {
		k.close()
	}
	n := 0
	for _, d := range v.dropped {
		n += d.to - d.from
	}
	if n < len(text)/8 {
		return nil, false
	}
	return v.rest(), true
}

// reset makes room for other texts.
func (v *sieve) reset() { v.out = v.out[:0] }

// rest writes the text without what was dropped.
func (v *sieve) rest() []byte {
	start, at := len(v.out), 0
	for _, d := range v.dropped {
		v.out = append(v.out, v.text[at:d.from]...)
		for range bytes.Count(v.text[d.from:d.to], lineEnd) {
			v.out = append(v.out, '\n')
		}
		at = d.to
	}
	v.out = append(v.out, v.text[at:]...)
	return v.out[start:len(v.out):len(v.out)]
}

func (v *sieve) mark() mark {
	n := len(v.dropped)
	if n == 0 {
		return mark{}
	}
	return mark{n, v.dropped[n-1].to}
}

// leaveOut leaves lines out.
func (v *sieve) leaveOut(from, to int) {
	if n := len(v.dropped); n > 0 && v.dropped[n-1].to == from {
		v.dropped[n-1].to = to
	} else {
		v.dropped = append(v.dropped, span{from, to})
	}
}

// undo keeps what was dropped since a mark.
func (v *sieve) undo(m mark) {
	v.dropped = v.dropped[:m.n]
	if m.n > 0 {
		v.dropped[m.n-1].to = m.to
	}
}

// takeBack keeps what was dropped since a mark, in the levels from one on.
func (v *sieve) takeBack(k *skimmer, m mark, level int) {
	v.undo(m)
	for i := level; i < len(k.stack); i++ {
		k.stack[i].part = part{}
	}
	v.in, v.below, v.drop = dropping{}, part{}, false
}

// keep keeps the value that is being dropped after all.
func (v *sieve) keep(k *skimmer) { v.takeBack(k, v.in.mark, v.in.depth) }

// absent is told that the last key has no value.
func (v *sieve) absent(k *skimmer) {
	if v.in.active && !v.below.any {
		v.keep(k) // null fits most types
	}
	if !v.in.active {
		k.stack[len(k.stack)-1].part.kept = true
	}
}

// closed is told that the innermost collection ends. Where nothing of it is kept,
// its key is dropped too: a collection that says nothing is as good as none.
func (v *sieve) closed(k *skimmer) {
	n := len(k.stack) - 1
	p := &k.stack[n].part
	switch {
	case n == 0 || v.in.active && n >= v.in.depth:
	case p.kept || p.o == nil || p.from < 0:
		k.stack[n-1].part.kept = true
	default:
		to := v.dropped[len(v.dropped)-1].to
		v.undo(p.mark)
		v.leaveOut(p.from, to)
	}
}

// opened is told that the value of the last key, or an item, has lines of its own.
func (v *sieve) opened(k *skimmer, p part) {
	top := &k.stack[len(k.stack)-1]
	top.part = p
	switch {
	case !v.in.active:
		if p.o != nil && p.o.Unless != nil {
			top.part.unless, top.part.level = p.o.Unless, len(k.stack)-1
		}
	case !p.any:
		s := p.s.target()
		top.part.s = s
		if s.self || s.elem == nil && s.kind != reflect.Struct || top.list != (s.kind == reflect.Slice) ||
			!top.list && s.kind != reflect.Struct && s.kind != reflect.Map {
			v.keep(k)
		}
	}
}

// item is what is known of an item of the innermost list.
func (v *sieve) item(k *skimmer) part {
	list := &k.stack[len(k.stack)-1].part
	switch {
	case v.in.active && list.any:
		return part{any: true}
	case v.in.active:
		return part{s: list.s.elem}
	case list.o == nil:
		return part{}
	default:
		list.kept = true // with the line that begins the item
		return part{o: list.o.Items, unless: list.unless, level: list.level, mark: list.mark, kept: true, from: -1}
	}
}

// scalarItem looks at an item without key. It returns false if the document is to
// be parsed whole.
func (v *sieve) scalarItem(k *skimmer, value []byte, form form) bool {
	v.drop = v.in.active
	if p := v.item(k); v.in.active && !p.any && !v.fitsForm(p.s, value, form) {
		v.keep(k)
	}
	return !keepsBlanks(value, form)
}

// keepsBlanks tells blocks of which the blank lines behind them are a part.
func keepsBlanks(value []byte, form form) bool {
	return form == blockForm && value[len(value)-1] == '+'
}

// key looks at a key of the innermost mapping. It returns false if the document is
// to be parsed whole.
func (v *sieve) key(k *skimmer, key, value []byte, form form) bool {
	top := &k.stack[len(k.stack)-1].part
	switch v.drop = v.in.active; {
	case v.in.active && len(k.stack) == v.in.depth+2 && v.in.unless.holds(key, value):
		v.keep(k)
	case v.in.active && top.any:
		v.below = part{any: true}
	case v.in.active:
		v.below = part{s: top.s.elem}
		if top.s.kind == reflect.Struct {
			v.below.s = top.s.fields[string(key)].Shape
		}
		if v.below.s == nil || form != emptyForm && !v.fitsForm(v.below.s, value, form) {
			v.keep(k)
		}
	case top.unless.holds(key, value):
		v.takeBack(k, top.mark, top.level)
	default:
		v.below = part{}
		if o := top.o.field(key); o != nil {
			v.begin(k, o, value, form)
		}
		top.kept = top.kept || !v.drop && v.below.o == nil
	}
	return !keepsBlanks(value, form)
}

// field is the outline of the value of a key.
func (o *Outline) field(key []byte) *Outline {
	if o == nil {
		return nil
	}
	if f := o.Fields[string(key)]; f != nil || o.Others == nil {
		return f
	}
	return o.Others(string(key))
}

// begin looks at the value of the last key, which has an outline.
func (v *sieve) begin(k *skimmer, o *Outline, value []byte, form form) {
	switch {
	case !o.Drop && form == emptyForm:
		v.below = part{o: o, mark: v.mark(), from: k.from}
		if v.first || o.Stays {
			v.below.from = -1
		}
	case !o.Drop:
	case form == emptyForm:
		v.in = dropping{true, len(k.stack), v.mark(), o.Unless}
		v.below = part{s: o.Fits, any: o.Fits == nil}
		v.drop = !v.first
	default:
		v.drop = !v.first && (o.Fits == nil || v.fitsForm(o.Fits, value, form))
	}
}

// holds reports whether a key and its value are what a condition asks for.
func (c *Condition) holds(key, value []byte) bool {
	if c == nil || string(key) != c.Key {
		return false
	}
	text, _ := unquoted(value)
	return c.Holds(text)
}

// fitsForm reports that a type surely takes a value that begins in the line of
// its key.
func (v *sieve) fitsForm(s *Shape, value []byte, form form) bool {
	switch s = s.target(); form {
	case blockForm:
		return !s.self && s.kind == reflect.String
	case collectionForm:
		if s.self {
			return false
		}
		if value[0] == '[' {
			return s.kind == reflect.Slice && s.elem != nil
		}
		return s.kind == reflect.Struct || s.kind == reflect.Map && s.elem != nil
	default:
		return v.fits(s, value)
	}
}

// fits reports that a type surely takes a value of one line.
func (v *sieve) fits(s *Shape, value []byte) bool {
	s = s.target()
	inQuotes := value[0] == '"' || value[0] == '\''
	isText := inQuotes || value[0] != '[' && isPlainText(value)
	switch {
	case s.self && inQuotes:
		return v.takes(s, value[1:len(value)-1], true)
	case s.self:
		return value[0] != '[' && v.takes(s, value, isText)
	case s.kind == reflect.String:
		return isText
	case isText:
		return false
	case s.kind == reflect.Slice && s.elem != nil && value[0] == '[':
		for item := range bytes.SplitSeq(value[1:len(value)-1], []byte(",")) {
			if !v.fits(s.elem, bytes.Trim(item, " ")) {
				return false
			}
		}
		return true
	}
	switch n := plain(string(value)).(type) {
	case bool:
		return s.kind == reflect.Bool
	case int64:
		return s.kind == reflect.Int64 || s.kind == reflect.Int32 && n >= math.MinInt32 && n <= math.MaxInt32
	default:
		return false
	}
}

// taking is a scalar and a type that it was decoded into.
type taking struct {
	shape  *Shape
	text   string
	isText bool
}

// maxTakings bounds what is remembered of types that decode themselves.
const maxTakings = 1024

// takes asks a type that decodes itself. Most of what it is asked was asked before.
func (v *sieve) takes(s *Shape, value []byte, isText bool) bool {
	if took, known := v.taken[taking{s, string(value), isText}]; known {
		return took
	}
	text := string(value)
	var data []byte
	if isText {
		data = appendString(nil, text)
	} else {
		n, isNumber := plain(text).(int64)
		if !isNumber {
			return false
		}
		data, _ = json.Marshal(n) // a number
	}
	took := reflect.New(s.typ).Interface().(json.Unmarshaler).UnmarshalJSON(data) == nil
	if v.taken == nil || len(v.taken) == maxTakings {
		v.taken = map[taking]bool{}
	}
	v.taken[taking{s, text, isText}] = took
	return took
}

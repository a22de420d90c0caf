package netpol

import (
	"errors"
	"strings"
)

// calicoExpr is a selector of Calico: a function of what is known of an
// endpoint's labels.
//
// Source: projectcalico/calico libcalico-go/lib/selector (parser, tokenizer).
type calicoExpr func(label func(key string) calicoLabel) answer

// calicoLabel is a label of an endpoint; where it is in doubt, nothing else
// counts.
type calicoLabel struct {
	value string
	has   bool
	doubt answer
}

var errSelector = errors.New("not a selector")

// maxSelector bounds the length of selectors (the CRD's maxLength) and with it
// how deep they nest.
const maxSelector = 1024

func parseCalicoSelector(s string) (calicoExpr, error) {
	if len(s) > maxSelector {
		return nil, errSelector
	}
	p := &calicoParser{rest: s}
	p.space()
	if p.rest == "" {
		return func(func(string) calicoLabel) answer { return sure(true) }, nil
	}
	e, err := p.or()
	if err == nil && p.rest != "" {
		err = errSelector
	}
	return e, err
}

type calicoParser struct{ rest string }

func (p *calicoParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *calicoParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
		p.space()
	}
	return ok
}

// word takes an operator that is a word.
func (p *calicoParser) word(w string) bool {
	rest, ok := strings.CutPrefix(p.rest, w)
	if !ok || rest != "" && labelByte(rest[0]) {
		return false
	}
	p.rest = rest
	p.space()
	return true
}

func labelByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_./-", c) >= 0
}

func (p *calicoParser) or() (calicoExpr, error) {
	left, err := p.and()
	for err == nil && p.take("||") {
		var right calicoExpr
		l := left
		if right, err = p.and(); err == nil {
			left = func(f func(string) calicoLabel) answer { return l(f).or(right(f)) }
		}
	}
	return left, err
}

func (p *calicoParser) and() (calicoExpr, error) {
	left, err := p.operation()
	for err == nil && p.take("&&") {
		var right calicoExpr
		l := left
		if right, err = p.operation(); err == nil {
			left = func(f func(string) calicoLabel) answer { return l(f).and(right(f)) }
		}
	}
	return left, err
}

func (p *calicoParser) operation() (calicoExpr, error) {
	switch {
	case p.take("!"):
		e, err := p.operation()
		return func(f func(string) calicoLabel) answer { return e(f).not() }, err
	case p.take("("):
		e, err := p.or()
		if err == nil && !p.take(")") {
			err = errSelector
		}
		return e, err
	case p.take("all("):
		if !p.take(")") {
			return nil, errSelector
		}
		return func(func(string) calicoLabel) answer { return sure(true) }, nil
	case p.take("has("):
		key, err := p.label()
		if err == nil && !p.take(")") {
			err = errSelector
		}
		return onLabel(key, false, func(_ string, has bool) bool { return has }), err
	}
	key, err := p.label()
	if err != nil {
		return nil, err
	}
	return p.comparison(key)
}

// comparison reads what follows a label. An absent label is not equal to and
// not in anything.
func (p *calicoParser) comparison(key string) (calicoExpr, error) {
	test, negated := func(a, b string) bool { return a == b }, false
	switch {
	case p.take("=="):
	case p.take("!="):
		negated = true
	case p.word("contains"):
		test = strings.Contains
	case p.words("starts", "with"):
		test = strings.HasPrefix
	case p.words("ends", "with"):
		test = strings.HasSuffix
	case p.words("not", "in"):
		return p.set(key, true)
	case p.take("in"):
		return p.set(key, false)
	default:
		return nil, errSelector
	}
	value, err := p.str()
	return onLabel(key, negated, func(v string, has bool) bool { return has && test(v, value) }), err
}

func (p *calicoParser) set(key string, negated bool) (calicoExpr, error) {
	if !p.take("{") {
		return nil, errSelector
	}
	var values []string
	for !p.take("}") {
		value, err := p.str()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
			return nil, errSelector
		}
	}
	return onLabel(key, negated, func(v string, has bool) bool { return has && contains(values, v) }), nil
}

// onLabel is an expression about one label.
func onLabel(key string, negated bool, test func(value string, has bool) bool) calicoExpr {
	return func(label func(string) calicoLabel) answer {
		l := label(key)
		if l.doubt.truth != no {
			return l.doubt
		}
		return sure(test(l.value, l.has) != negated)
	}
}

func (p *calicoParser) words(a, b string) bool {
	before := p.rest
	if p.word(a) && p.word(b) {
		return true
	}
	p.rest = before
	return false
}

func (p *calicoParser) label() (string, error) {
	n := 0
	for n < len(p.rest) && labelByte(p.rest[n]) {
		n++
	}
	key := p.rest[:n]
	p.rest = p.rest[n:]
	p.space()
	if key == "" {
		return "", errSelector
	}
	return key, nil
}

func (p *calicoParser) str() (string, error) {
	if p.rest == "" || p.rest[0] != '"' && p.rest[0] != '\'' {
		return "", errSelector
	}
	value, rest, found := strings.Cut(p.rest[1:], p.rest[:1])
	if !found {
		return "", errSelector
	}
	p.rest = rest
	p.space()
	return value, nil
}

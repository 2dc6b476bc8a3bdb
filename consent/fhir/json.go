package fhir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assent-wallet/assent/consent"
)

// Limits of a bundle. FHIR sets none; real records stay far below them.
const (
	maxDepth   = 128 // objects and lists within each other
	maxMembers = 256 // members of one object

	// Values of any kind, which bound the memory: each takes a hundred bytes.
	maxValues       = 1 << 16 // of one resource: a long claim has 700
	maxBundleValues = 1 << 22 // of a bundle
)

// value is one JSON value, with the bytes that it was read from.
type value struct {
	kind  jsontext.Kind // 'n', 'f', 't', '"', '0', '{' or '['
	raw   []byte        // of an object, a list or a string, as it stood
	text  string        // of a string, unquoted; of true and false
	parts []part        // members of an object, or items of a list without names
}

type part struct {
	name  string
	value value
}

// parse reads strict JSON: valid UTF-8, no member twice in an object. Members
// that differ only in case are refused as well, because a reader that takes
// them for the same one would see another label than this one does.
// what names it in errors: a resource, or a part of one.
func parse(what string, text []byte) (*value, error) { return parseUpTo(maxValues, what, text) }

func parseUpTo(values int, what string, text []byte) (*value, error) {
	p := parser{text: text, dec: jsontext.NewDecoder(bytes.NewBuffer(text)), most: values}
	v := new(value)
	err := p.value(v, 0)
	if err == nil {
		if _, err = p.dec.ReadToken(); err == io.EOF {
			return v, nil
		} else if err == nil {
			err = errors.New("something stands after the " + what)
		}
	}
	switch syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the %s is cut short at byte %d", what, p.dec.InputOffset())
	case ok:
		return nil, fmt.Errorf("the %s is not strict JSON at byte %d, %s: %w", what,
			syntactic.ByteOffset, consent.Quote(string(syntactic.JSONPointer)), syntactic.Err)
	}
	return nil, fmt.Errorf("the %s at byte %d, %s: %w", what, p.dec.InputOffset(), consent.Quote(string(p.dec.StackPointer())), err)
}

type parser struct {
	text   []byte
	dec    *jsontext.Decoder
	values int
	most   int // of them
}

func (p *parser) value(v *value, depth int) error {
	if p.values++; p.values > p.most {
		return fmt.Errorf("more than %d values", p.most)
	}
	before := p.dec.InputOffset()
	token, err := p.dec.ReadToken()
	if err != nil {
		return err
	}
	v.kind = token.Kind()
	switch v.kind {
	case '"':
		v.text = token.String()
		v.raw = bytes.TrimLeft(p.text[before:p.dec.InputOffset()], " \t\r\n,:")
		return nil
	case 't', 'f':
		v.text = token.String()
		return nil
	case '{', '[':
		if depth == maxDepth {
			return fmt.Errorf("more than %d objects and lists within each other", maxDepth)
		}
	default:
		return nil
	}
	start := p.dec.InputOffset() - 1
	for {
		switch p.dec.PeekKind() {
		case '}', ']':
			if _, err := p.dec.ReadToken(); err != nil {
				return err
			}
			v.raw = p.text[start:p.dec.InputOffset()]
			return nil
		}
		var item part
		if v.kind == '{' {
			name, err := p.dec.ReadToken()
			if err != nil {
				return err
			}
			item.name = name.String()
			if err := v.checkMember(item.name); err != nil {
				return err
			}
		}
		if err := p.value(&item.value, depth+1); err != nil {
			return err
		}
		v.parts = append(v.parts, item)
	}
}

func (v *value) checkMember(name string) error {
	if len(v.parts) == maxMembers {
		return fmt.Errorf("more than %d members in one object", maxMembers)
	}
	for i := range v.parts {
		if strings.EqualFold(v.parts[i].name, name) {
			return fmt.Errorf("the members %s and %s differ only in case", consent.Quote(v.parts[i].name), consent.Quote(name))
		}
	}
	return nil
}

// size is how many values there are in it, itself among them.
func (v *value) size() int {
	n := 1
	for i := range v.parts {
		n += v.parts[i].value.size()
	}
	return n
}

// member gives the member of an object, or nil where there is none or where it
// is null.
func (v *value) member(name string) *value {
	if v == nil || v.kind != '{' {
		return nil
	}
	for i := range v.parts {
		if v.parts[i].name == name && v.parts[i].value.kind != 'n' {
			return &v.parts[i].value
		}
	}
	return nil
}

// string gives a member that is a string, or "".
func (v *value) string(name string) string {
	if m := v.member(name); m != nil && m.kind == '"' {
		return m.text
	}
	return ""
}

// items gives a member that is a list, or one value where there is one.
func (v *value) items(name string) []*value {
	return appendItems(nil, v.member(name))
}

func appendItems(to []*value, v *value) []*value {
	switch {
	case v == nil:
	case v.kind == '[':
		for i := range v.parts {
			to = appendItems(to, &v.parts[i].value)
		}
	case v.kind != 'n':
		to = append(to, v)
	}
	return to
}

// unreadable stands for an element of a type that is none of those asked for.
var unreadable = value{kind: 'n'}

// find gives all that stands at a path of member names, through lists. The
// last name may end in "[x]", for an element that is a date of some type:
// where it is of another type, as in onsetAge, unreadable is given for it.
func (v *value) find(path string) []*value {
	name, rest, deeper := strings.Cut(path, ".")
	if choice, ok := strings.CutSuffix(name, "[x]"); ok {
		return v.choices(choice)
	}
	found := v.items(name)
	if !deeper {
		return found
	}
	var all []*value
	for _, item := range found {
		all = append(all, item.find(rest)...)
	}
	return all
}

func (v *value) choices(name string) (found []*value) {
	for i := range v.parts {
		kind, ok := strings.CutPrefix(v.parts[i].name, name)
		if !ok || v.kind != '{' || kind == "" || kind[0] < 'A' || kind[0] > 'Z' {
			continue
		}
		switch kind {
		case "DateTime", "Date", "Instant", "Period":
			found = appendItems(found, &v.parts[i].value)
		default:
			found = append(found, &unreadable)
		}
	}
	return found
}

// without gives an object as it stood but for one member, which it has.
func (v *value) without(name string) []byte {
	text := []byte{'{'}
	dec := jsontext.NewDecoder(bytes.NewReader(v.raw))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for range v.parts {
		at, err := dec.ReadToken()
		if err != nil {
			return nil
		}
		member := at.String()
		quoted, err := jsontext.AppendQuote(nil, member)
		if err != nil {
			return nil
		}
		of, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		if member == name {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(append(append(text, quoted...), ':'), of...)
	}
	return append(text, '}')
}

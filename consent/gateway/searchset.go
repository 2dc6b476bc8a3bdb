package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxEntry is the most bytes of a resource, or of an entry of a Bundle.
const maxEntry = 16 << 20

// searchset is an answer to a search that is read entry by entry, so that none
// of it stays in memory. Its errors have nothing of what it holds.
type searchset struct {
	body     io.ReadCloser
	follow   func(link string) (string, error)
	rest     *allowance
	dec      *jsontext.Decoder
	state    searchsetState
	isBundle bool
	seen     bool // an entry was read

	meta []byte // of the Bundle, where it stood before the entries
	next string // what follow makes of the link to the next page; known at the end
}

type searchsetState int

const (
	atMembers searchsetState = iota
	atEntries
	atEnd
)

// allowance lets so many bytes through until it is renewed: an answer may be
// endless, one entry of it not.
type allowance struct {
	from io.Reader
	left int
}

var errEntry = fmt.Errorf("an entry is longer than %d bytes", maxEntry)

func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errEntry
	}
	n, err := a.from.Read(p[:min(len(p), a.left)])
	a.left -= n
	return n, err
}

var errNoBundle = errors.New("it answers a search with what is no Bundle")

// newSearchset begins to read one. Where it is none, the body is closed.
func newSearchset(body io.ReadCloser, follow func(link string) (string, error)) (*searchset, error) {
	p := &searchset{body: body, follow: follow, rest: &allowance{body, maxEntry}}
	p.dec = jsontext.NewDecoder(p.rest)
	if token, err := p.dec.ReadToken(); err != nil {
		p.close()
		return nil, p.failure(err)
	} else if token.Kind() != '{' {
		p.close()
		return nil, errNoBundle
	}
	return p, nil
}

func (p *searchset) close() {
	_, _ = io.CopyN(io.Discard, p.body, 64<<10) // so that the connection serves again
	p.body.Close()
}

// entry is one of a Bundle.
type entry struct {
	Resource jsontext.Value `json:"resource"`
	Search   struct {
		Mode string `json:"mode"`
	} `json:"search"`
}

// read gives the next entry, or io.EOF after the last one.
func (p *searchset) read() (entry, error) {
	for {
		e, more, err := p.step()
		switch {
		case err == io.EOF && p.state == atEnd && !p.isBundle:
			return entry{}, errNoBundle
		case err == io.EOF && p.state == atEnd:
			return entry{}, err
		case err != nil:
			return entry{}, p.failure(err)
		case !more:
			return e, nil
		}
	}
}

// failure says what is wrong, in no words of the Bundle's.
func (p *searchset) failure(err error) error {
	if errors.Is(err, errEntry) {
		return errEntry
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("its Bundle breaks off")
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("its Bundle is not strict JSON at byte %d", syntactic.ByteOffset)
	}
	return fmt.Errorf("its Bundle cannot be read: %w", err)
}

// unlabelled is a meta that says nothing of what the Bundle holds.
type unlabelled struct {
	VersionID   string `json:"versionId"`
	LastUpdated string `json:"lastUpdated"`
}

// step reads on. more tells that it has come to no entry yet.
func (p *searchset) step() (e entry, more bool, err error) {
	p.rest.left = maxEntry
	switch p.state {
	case atEnd:
		return entry{}, false, io.EOF
	case atEntries:
		if p.dec.PeekKind() == ']' {
			p.state = atMembers
			_, err := p.dec.ReadToken()
			return entry{}, true, err
		}
		text, err := p.dec.ReadValue()
		if err != nil {
			return entry{}, false, err
		}
		p.seen = true
		if json.Unmarshal(text, &e) != nil {
			return entry{}, false, errors.New("it has what is no entry of FHIR")
		}
		return e, false, nil
	}
	name, err := p.dec.ReadToken()
	if err != nil {
		return entry{}, false, err
	}
	if name.Kind() == '}' {
		p.state = atEnd
		return entry{}, true, nil
	}
	switch name.String() {
	case "entry":
		if p.dec.PeekKind() != '[' {
			return entry{}, false, errors.New("its entries are no list")
		}
		_, err := p.dec.ReadToken()
		p.state = atEntries
		return entry{}, true, err
	case "resourceType":
		kind, err := p.dec.ReadToken()
		p.isBundle = err == nil && kind.Kind() == '"' && kind.String() == "Bundle"
		return entry{}, true, err
	case "meta":
		meta, err := p.dec.ReadValue()
		p.meta = bytes.Clone(meta)
		if err == nil && p.seen && json.Unmarshal(meta, new(unlabelled), json.RejectUnknownMembers(true)) != nil {
			return entry{}, false, errors.New("its labels stand after what they label")
		}
		return entry{}, true, err
	case "link":
		links, err := p.dec.ReadValue()
		if err != nil {
			return entry{}, false, err
		}
		return entry{}, true, p.readLinks(links)
	}
	return entry{}, true, p.dec.SkipValue()
}

func (p *searchset) readLinks(text []byte) error {
	var links []struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	}
	if json.Unmarshal(text, &links) != nil {
		return errors.New("it has what are no links of FHIR")
	}
	for _, link := range links {
		if link.Relation != "next" {
			continue
		}
		next, err := p.follow(link.URL)
		if err != nil {
			return err
		}
		p.next = next
	}
	return nil
}

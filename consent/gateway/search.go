package gateway

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

const (
	window        = 100     // resources that are judged, logged and sent together
	windowBytes   = 8 << 20 // after which a window is full whatever the number
	pagesAtMost   = 10_000  // of the FHIR server, for one answer
	maxForm       = 64 << 10
	pageParameter = "_page" // has the cursor in a link to a page
	cursorStep    = 512     // bytes that a cursor is filled up to a multiple of
)

// cursor is where the next page of a search begins. It is sealed: what the FHIR
// server and its links look like is nobody's business.
type cursor struct {
	Type   string   `json:"type"`
	Query  string   `json:"query"`  // as it was asked
	Ties   []string `json:"ties"`   // of the query, as they were when it began
	Search int      `json:"search"` // which of its searches
	At     string   `json:"at"`     // the page of the FHIR server
	Skip   int      `json:"skip"`   // entries of that page
}

// errCursor does not tell why.
var errCursor = &decline{http.StatusBadRequest, "invalid", "Invalid", "the link leads to no page of what this token is for: ask for the first page again"}

// boundTo is what a cursor is bound to: the record, who asks and what for. That is
// no secret of one access, so that a search outlives the token that it began with.
func boundTo(s *session) []byte {
	a := consent.Access{Holder: s.access.Access.Holder, Scopes: s.access.Access.Scopes}
	digest := a.Digest(s.access.Domain)
	return slices.Concat([]byte("assent/cursor/"), digest[:], s.grantor[:], s.grantee[:], []byte(s.patient))
}

// seal makes a cursor that works for what the session is for alone.
func (f *front) seal(s *session, c cursor) (string, error) {
	text, err := json.Marshal(&c)
	if err != nil {
		return "", err
	}
	// Its length would tell how many entries are skipped.
	text = append(text, bytes.Repeat([]byte(" "), cursorStep-len(text)%cursorStep)...)
	aead, err := f.aead()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, text, boundTo(s))), nil
}

func (f *front) open(s *session, sealed string) (c cursor, err error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return c, err
	}
	aead, err := f.aead()
	if err != nil {
		return c, err
	}
	if len(text) < aead.NonceSize() {
		return c, errors.New("too short")
	}
	text, err = aead.Open(nil, text[:aead.NonceSize()], text[aead.NonceSize():], boundTo(s))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(text, &c)
}

// aead is of a key for cursors alone.
func (f *front) aead() (cipher.AEAD, error) {
	key := sha256.Sum256(append([]byte("assent/cursor/"), f.key[:]...))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// search answers a search of one type, by GET or by POST with a form.
func (f *front) search(w http.ResponseWriter, r *http.Request, s *session, what *asked, kind string) error {
	parameters, err := form(w, r)
	if err != nil {
		return err
	}
	what.target = kind + "?" + parameters.Encode()
	query, err := fhir.NewQuery(kind, parameters, s.patient, f.upstream.base)
	if err != nil {
		return invalid(err)
	}
	if !s.rules.Allow(consent.Search, kind) {
		return errScope(consent.Search, kind)
	}
	return f.page(w, r, s, what, query, cursor{Type: kind, Query: parameters.Encode()})
}

// form gives the search parameters of a request: those of its URL, and of its
// form.
func form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid(errors.New("the query cannot be read"))
	}
	if r.Method != http.MethodPost {
		return parameters, nil
	}
	if r.Header.Get("Content-Type") == "" && r.ContentLength == 0 {
		return parameters, nil
	}
	if kind := mediaType(r); kind != "application/x-www-form-urlencoded" {
		return nil, &decline{http.StatusUnsupportedMediaType, "not-supported", "Unsupported", "a search is sent as application/x-www-form-urlencoded"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, &decline{http.StatusRequestEntityTooLarge, "too-long", "TooLong", "the form cannot be read, or is longer than 64 KiB"}
	}
	sent, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalid(errors.New("the form cannot be read"))
	}
	for name, values := range sent {
		parameters[name] = append(parameters[name], values...)
	}
	return parameters, nil
}

// resume answers with a further page of a search.
func (f *front) resume(w http.ResponseWriter, r *http.Request, s *session, what *asked) error {
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(parameters) != 1 || len(parameters[pageParameter]) != 1 {
		return errCursor
	}
	at, err := f.open(s, parameters.Get(pageParameter))
	if err != nil {
		return errCursor
	}
	asked, err := url.ParseQuery(at.Query)
	if err != nil {
		return errCursor
	}
	what.target = at.Type + "?" + at.Query
	query, err := fhir.NewQuery(at.Type, asked, s.patient, f.upstream.base)
	if err != nil {
		return errCursor
	}
	return f.page(w, r, s, what, query, at)
}

// page answers with a page that begins at a cursor. It has as many matches as
// were asked for, whatever had to be withheld on the way, and a link to the next
// page only where that has something.
func (f *front) page(w http.ResponseWriter, r *http.Request, s *session, what *asked, query *fhir.Query, at cursor) error {
	count := window
	if query.Count > 0 {
		count = min(window, query.Count)
	}
	first := at.At == ""
	out := f.bundle(w, r, s, what)
	if first {
		query.Restrict(func(parameter string) bool { return f.upstream.has(r.Context(), at.Type, parameter) })
		at.Ties = query.Ties()
	} else if query.TieBy(at.Ties) != nil {
		return errCursor
	}
	walk := walk{front: f, session: s, query: query, out: out, left: count, limited: true, given: make(map[string]bool)}
	self := f.public + "/" + at.Type
	if at.Query != "" {
		self += "?" + at.Query
	}
	links := []link{{"self", self}}
	searches := query.Searches(max(count, leastPage))
	if at.Search < 0 || at.Search >= len(searches) {
		return errCursor
	}
	for ; at.Search < len(searches) && walk.more == nil; at.Search++ {
		fresh := at.At == ""
		if fresh {
			at.At = at.Type + "?" + searches[at.Search]
		}
		if err := walk.all(r.Context(), at, fresh); err != nil {
			return out.fail(err)
		}
		at.At, at.Skip = "", 0
	}
	if walk.more != nil {
		sealed, err := f.seal(s, *walk.more)
		if err != nil {
			return out.fail(err)
		}
		links = append(links, link{"next", f.public + "/?" + pageParameter + "=" + sealed})
	}
	return out.end(links, first && walk.more == nil)
}

// walk goes through searches of the FHIR server.
type walk struct {
	front   *front
	session *session
	query   *fhir.Query
	out     *bundle
	limited bool    // to as many matches as are left
	left    int     // matches that the answer has room for
	more    *cursor // the first match that it has no room for
	pages   int
	given   map[string]bool // what was released, where resources are included
}

const (
	// peek is how many resources at least are judged together, where there is room
	// for few or it is only to be known whether there is one more.
	peek = 8
	// leastPage is how many the FHIR server is asked for at least: where much is
	// withheld, a short page takes many of them.
	leastPage = 20
)

// all goes through the pages of a search of the FHIR server, from a cursor on,
// until there is more than the answer has room for. A fresh search of a type that
// the server does not have finds nothing.
func (w *walk) all(ctx context.Context, at cursor, fresh bool) error {
	for at.At != "" && w.more == nil {
		if w.pages++; w.pages > pagesAtMost {
			return fmt.Errorf("%w: its answer has no end", errUpstream)
		}
		next, err := w.page(ctx, at)
		if fresh && errors.Is(err, errNoSearch) {
			return nil
		}
		if err != nil {
			return err
		}
		fresh = false
		if next == at.At {
			return fmt.Errorf("%w: a page of it leads to itself", errUpstream)
		}
		at.At, at.Skip = next, 0
	}
	return nil
}

// candidate is a resource that a scope would admit by itself.
type candidate struct {
	*fhir.Resource
	index    int // of its entry in the page
	included bool
	admitted bool
}

// page goes through one page of the FHIR server, a window at a time, and to its
// end, where the link to the next one may stand.
func (w *walk) page(ctx context.Context, at cursor) (next string, err error) {
	page, err := w.front.upstream.search(ctx, at.At)
	if err != nil {
		return "", err
	}
	defer page.close()
	around := vicinity{released: make(map[string]bool), referred: make(map[string]bool)}
	for index, ended := 0, false; !ended; {
		excerpt := fhir.NewExcerpt(w.session.patient, w.front.upstream.base)
		var found []candidate
		labelled := false
		for size := 0; size < windowBytes && len(found) < w.lookahead(); index++ {
			e, err := page.read()
			if err == io.EOF {
				ended = true
				break
			}
			if err != nil {
				return "", fmt.Errorf("%w: %w", errUpstream, err)
			}
			if index < at.Skip || len(e.Resource) == 0 || w.more != nil && !w.query.Includes {
				continue
			}
			if !labelled && page.meta != nil {
				if err := excerpt.Label(page.meta); err != nil {
					return "", fmt.Errorf("%w: %w", errUpstream, err)
				}
				labelled = true
			}
			if c, ok := w.candidate(ctx, excerpt, e, at.Search); ok {
				c.index = index
				found = append(found, c)
				size += len(e.Resource)
			}
		}
		if err := w.judge(ctx, excerpt, found, page.meta, nil); err != nil {
			return "", err
		}
		if err := w.release(found, at, &around); err != nil {
			return "", err
		}
	}
	return page.next, nil
}

// judge finds out which candidates of an excerpt are admitted. Where more has to be
// looked up than is for all of them together, they are judged in halves, down to
// each by itself, as one that is read: no verdict depends on what else is found.
func (w *walk) judge(ctx context.Context, excerpt *fhir.Excerpt, found []candidate, labels []byte, known map[string][]byte) error {
	if err := w.front.upstream.settle(ctx, excerpt, known); err != nil {
		return err
	}
	if excerpt.Exceeded() && len(found) > 1 {
		return w.judgeHalves(ctx, found, labels, excerpt.LookedUp())
	}
	if excerpt.Exceeded() {
		w.front.complain(ctx, "search", errExceeded)
	}
	for i := range found {
		found[i].admitted = excerpt.Admits(w.session.rules, consent.Search, found[i].Resource)
	}
	return nil
}

// judgeHalves knows what was looked up for both.
func (w *walk) judgeHalves(ctx context.Context, found []candidate, labels []byte, known map[string][]byte) error {
	for _, half := range [][]candidate{found[:len(found)/2], found[len(found)/2:]} {
		excerpt := fhir.NewExcerpt(w.session.patient, w.front.upstream.base)
		if labels != nil {
			if err := excerpt.Label(labels); err != nil {
				return err
			}
		}
		for i := range half {
			var err error
			if half[i].Resource, err = excerpt.Read(half[i].Raw()); err == nil {
				err = excerpt.Add(half[i].Resource)
			}
			if err != nil {
				return err
			}
		}
		if err := w.judge(ctx, excerpt, half, labels, known); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) lookahead() int {
	if w.limited && w.more == nil {
		return min(window, max(peek, w.left))
	}
	return window
}

// candidate takes an entry in, if it is what was asked for or may be included,
// and a scope would admit it by itself.
func (w *walk) candidate(ctx context.Context, excerpt *fhir.Excerpt, e entry, search int) (c candidate, ok bool) {
	if e.Search.Mode == "outcome" {
		return c, false
	}
	var err error
	if c.Resource, err = excerpt.Read(e.Resource); err != nil {
		w.front.complain(ctx, "search", errUnreadable)
		return c, false
	}
	if c.ID() == "" {
		return c, false
	}
	if e.Search.Mode == "include" || !w.query.Matches(c.Resource, search) {
		if c.included = true; !w.query.Includes || e.Search.Mode != "include" && c.Type() == w.query.Type {
			return c, false
		}
	}
	if !excerpt.AdmitsAlone(w.session.rules, consent.Search, c.Resource) {
		return c, false
	}
	if err := excerpt.Add(c.Resource); err != nil {
		w.front.complain(ctx, "search", errUnreadable)
		return c, false
	}
	return c, true
}

// vicinity is what on a page stands beside matches that were released. Only
// that is included: the rest would tell of matches that were withheld.
type vicinity struct {
	released map[string]bool // the matches
	referred map[string]bool // what they refer to
}

func (w *walk) release(found []candidate, at cursor, around *vicinity) error {
	for _, c := range found {
		if c.included || !c.admitted {
			continue
		}
		if w.limited && w.left == 0 {
			if w.more == nil {
				at.Skip = c.index
				w.more = &at
			}
			continue
		}
		w.left--
		w.out.matches++
		if !w.given[c.Name()] { // it may have been included
			if err := w.out.add(c.Resource, "match"); err != nil {
				return err
			}
		}
		if w.query.Includes {
			w.given[c.Name()], around.released[c.Name()] = true, true
			for _, name := range c.Refers() {
				around.referred[name] = true
			}
		}
	}
	for _, c := range found {
		if !c.included || w.given[c.Name()] {
			continue
		}
		if !around.referred[c.Name()] && !slices.ContainsFunc(c.Refers(), func(name string) bool { return around.released[name] }) {
			continue
		}
		if !c.admitted {
			continue
		}
		w.given[c.Name()] = true
		if err := w.out.add(c.Resource, "include"); err != nil {
			return err
		}
	}
	return nil
}

// link is one of a Bundle.
type link struct {
	Relation string `json:"relation"`
	URL      string `json:"url"`
}

// bundle writes a searchset, a window at a time: each is in the log before it
// is sent.
type bundle struct {
	front   *front
	w       http.ResponseWriter
	ctx     context.Context
	session *session
	asked   *asked
	buffer  bytes.Buffer
	waiting map[string]int // resources in the buffer, by type
	number  int            // of them
	entries int            // those that were sent included
	matches int            // those that were included before they were matched among them
	sent    bool
}

func (f *front) bundle(w http.ResponseWriter, r *http.Request, s *session, what *asked) *bundle {
	b := &bundle{front: f, w: w, ctx: r.Context(), session: s, asked: what, waiting: make(map[string]int)}
	b.buffer.WriteString(`{"resourceType":"Bundle","type":"searchset"`)
	return b
}

func (b *bundle) add(r *fhir.Resource, mode string) error {
	if b.number == window || b.buffer.Len() > windowBytes {
		if err := b.flush(); err != nil {
			return err
		}
	}
	if b.entries == 0 {
		b.buffer.WriteString(`,"entry":[`) // FHIR has no empty lists
	} else {
		b.buffer.WriteByte(',')
	}
	// A type, an id and a URL have nothing that JSON escapes.
	b.buffer.WriteString(`{"fullUrl":"` + b.front.public + "/" + r.Name() + `","resource":`)
	b.buffer.Write(r.Raw())
	b.buffer.WriteString(`,"search":{"mode":"` + mode + `"}}`)
	b.waiting[r.Type()]++
	b.number++
	b.entries++
	return nil
}

func (b *bundle) flush() error {
	if err := b.front.goOn(b.ctx, b.session, b.asked); err != nil {
		return err
	}
	n := notice{Interaction: b.asked.interaction, Target: b.asked.target, Outcome: fhir.Permitted, Request: servedOf(b.ctx).id, Released: maps.Clone(b.waiting)}
	if err := b.front.note(b.ctx, b.session, n); err != nil {
		return b.front.unlogged(b.ctx, err)
	}
	if !b.sent {
		b.w.Header().Set("Content-Type", fhirJSON)
		b.sent = true
	}
	if _, err := b.w.Write(b.buffer.Bytes()); err != nil {
		return err
	}
	b.buffer.Reset()
	clear(b.waiting)
	b.number = 0
	return nil
}

// end ends the Bundle. Its matches (FHIR R4, Bundle.total) are counted only where it
// is whole: a count of what follows would have to be of what is released.
func (b *bundle) end(links []link, whole bool) error {
	if b.entries > 0 {
		b.buffer.WriteByte(']')
	}
	if len(links) > 0 {
		text, err := json.Marshal(links)
		if err != nil {
			return b.fail(err)
		}
		b.buffer.WriteString(`,"link":`)
		b.buffer.Write(text)
	}
	if whole {
		b.buffer.WriteString(`,"total":` + strconv.Itoa(b.matches))
	}
	b.buffer.WriteByte('}')
	b.asked.roundUp(b.ctx)
	if err := b.flush(); err != nil {
		return b.fail(err)
	}
	return nil
}

// fail gives the error back, as long as nothing has left. After that the answer
// breaks off, so that nobody takes it for whole.
func (b *bundle) fail(err error) error {
	if entry, inner := b.w.(*entryAnswer); inner { // the log has more of it than is given
		entry.reset()
		return err
	}
	if b.sent {
		b.front.complain(b.ctx, "an answer breaks off", err)
		n := notice{Interaction: b.asked.interaction, Target: b.asked.target, Outcome: "BrokenOff", Clause: "the answer broke off after what was logged before", Request: servedOf(b.ctx).id}
		if err := b.front.note(context.WithoutCancel(b.ctx), b.session, n); err != nil {
			b.front.complain(b.ctx, "log", err)
		}
		panic(http.ErrAbortHandler)
	}
	return err
}

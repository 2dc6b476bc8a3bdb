package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assent-wallet/assent/consent/fhir"
)

// upstream is the FHIR server behind the gateway. Nothing else speaks to it, and
// nothing of a requester's headers reaches it. What it says is checked by
// whoever asks.
type upstream struct {
	base   string // without a slash at its end
	root   string // the path of base
	secret string // the Authorization header of each request; may be empty
	client *http.Client
	shared *lru.Cache[string, shared]

	statement struct {
		sync.Mutex
		until time.Time
		types map[string][]string // search parameters by resource type; nil: not known
	}
}

// Limits of what the FHIR server may answer.
const (
	maxEntry      = 16 << 20    // bytes of a resource, or of an entry of a Bundle
	maxLink       = 4 << 10     // bytes of a link to the next page
	upstreamLimit = time.Minute // for one answer, its body included
	upstreamIdle  = 512         // connections
)

func newUpstream(base *url.URL, credentials string) *upstream {
	u := *base
	u.RawQuery, u.Fragment = "", ""
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return &upstream{
		base: u.String(), root: u.EscapedPath(), secret: credentials,
		shared: lru.NewCache[string, shared](sharedCount),
		client: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
				TLSHandshakeTimeout: 5 * time.Second,
				MaxIdleConns:        upstreamIdle, MaxIdleConnsPerHost: upstreamIdle, IdleConnTimeout: time.Minute,
				DisableCompression: true, ForceAttemptHTTP2: true,
			},
			// Where it leads elsewhere, it has not answered.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       upstreamLimit,
		},
	}
}

// errUpstream is wrapped by every error that is the FHIR server's.
var errUpstream = errors.New("the FHIR server gave no usable answer")

// send makes a request of its own. path is relative to the base, and may have a
// query.
func (u *upstream) send(ctx context.Context, method, path string, body []byte, match string) (*http.Response, error) {
	at := u.base
	if path != "" && path[0] != '?' {
		at += "/"
	}
	at += path
	r, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	r.Header.Set("Accept", fhirJSON)
	r.Header.Set("User-Agent", "assent-gateway")
	if len(body) > 0 {
		r.Header.Set("Content-Type", fhirJSON)
		r.Header.Set("Prefer", "return=representation")
	}
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	if u.secret != "" {
		r.Header.Set("Authorization", u.secret)
	}
	answer, err := u.client.Do(r)
	if err != nil {
		// Its URL says what was asked for, which no log of the operator's has to know.
		if at, ok := errors.AsType[*url.Error](err); ok {
			err = at.Err
		}
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	return answer, nil
}

// get reads one resource, or nil where the server has none or has it no more.
func (u *upstream) get(ctx context.Context, path string) ([]byte, error) {
	answer, err := u.send(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return nil, err
	}
	body, err := whole(answer)
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode == http.StatusOK:
		return body, nil
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone:
		return nil, nil
	}
	return nil, fmt.Errorf("%w: it answers a read with %w", errUpstream, statusError(answer.StatusCode))
}

// statusError is a status of HTTP that is no success.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("%d %s", int(s), http.StatusText(int(s))) }

// ofResource tells whether the status may have to do with the resource that was
// asked for, and not with the gateway or the state of the server.
func (s statusError) ofResource() bool {
	switch s {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusUnavailableForLegalReasons:
		return true
	}
	return false
}

// whole reads an answer to its end, so that the connection serves again.
func whole(answer *http.Response) ([]byte, error) {
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxEntry+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	case len(body) > maxEntry:
		return nil, fmt.Errorf("%w: it is longer than %d bytes", errUpstream, maxEntry)
	}
	return body, nil
}

// searchset is an answer to a search that is read entry by entry, so that none
// of it stays in memory.
type searchset struct {
	upstream *upstream
	body     io.ReadCloser
	rest     *allowance
	dec      *jsontext.Decoder
	state    searchsetState
	isBundle bool
	seen     bool // an entry was read

	meta []byte // of the Bundle, where it stood before the entries
	next string // path and query of the next page relative to the base; known at the end
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

// errNoSearch is for a page that is not there: of a type that the server does not
// have, or one that is over.
var errNoSearch = fmt.Errorf("%w: it answers a search with %d", errUpstream, http.StatusNotFound)

// search asks for a page of a search. Whoever has it closes it.
func (u *upstream) search(ctx context.Context, path string) (*searchset, error) {
	answer, err := u.send(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_, _ = whole(answer)
		if answer.StatusCode == http.StatusNotFound {
			return nil, errNoSearch
		}
		return nil, fmt.Errorf("%w: it answers a search with %s", errUpstream, answer.Status)
	}
	p := &searchset{upstream: u, body: answer.Body, rest: &allowance{answer.Body, maxEntry}}
	p.dec = jsontext.NewDecoder(p.rest)
	if token, err := p.dec.ReadToken(); err != nil || token.Kind() != '{' {
		p.close()
		return nil, fmt.Errorf("%w: it answers a search with what is no Bundle", errUpstream)
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
		case err == io.EOF && p.state != atEnd:
			return entry{}, fmt.Errorf("%w: its Bundle is cut short", errUpstream)
		case err != nil && err != io.EOF:
			return entry{}, fmt.Errorf("%w: its Bundle cannot be read: %w", errUpstream, err)
		case err == io.EOF && !p.isBundle:
			return entry{}, fmt.Errorf("%w: it answers a search with what is no Bundle", errUpstream)
		case err != nil || !more:
			return e, err
		}
	}
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
		if err := json.Unmarshal(text, &e); err != nil {
			return entry{}, false, err
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
		if err == nil && p.seen && bytes.Contains(meta, []byte("security")) {
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
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}
	for _, link := range links {
		if link.Relation != "next" {
			continue
		}
		next, err := p.upstream.rebase(link.URL)
		if err != nil {
			return err
		}
		p.next = next
	}
	return nil
}

// rebase reads a link to another page. Whatever host it names, as a server
// behind a proxy names its own, the gateway asks the one that it knows; and
// nothing beside its base.
func (u *upstream) rebase(link string) (string, error) {
	to, err := url.Parse(link)
	if err != nil || len(link) > maxLink || to.Opaque != "" {
		return "", errors.New("its link to the next page is no URL, or too long")
	}
	path := to.EscapedPath()
	if to.Host == "" && !strings.HasPrefix(path, "/") {
		path = u.root + "/" + path
	}
	rest, within := strings.CutPrefix(path, u.root)
	rest = strings.TrimPrefix(rest, "/")
	if !within || strings.Contains(rest, "//") || strings.Contains(rest, "%") || strings.Contains("/"+rest+"/", "/../") || strings.Contains("/"+rest+"/", "/./") {
		return "", errors.New("its link to the next page leads elsewhere")
	}
	if kind, _, _ := strings.Cut(rest, "/"); kind != "" && !fhir.IsType(kind) {
		return "", errors.New("its link to the next page leads to no resource type")
	}
	return rest + "?" + to.RawQuery, nil
}

// answers tells whether the FHIR server is there at all.
func (u *upstream) answers(ctx context.Context) error {
	answer, err := u.send(ctx, http.MethodGet, "metadata?_summary=true", nil, "")
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%w: it answers with %s", errUpstream, answer.Status)
	}
	return nil
}

const (
	statementFor   = 10 * time.Minute
	statementRetry = time.Minute
)

// has tells whether the FHIR server has the resource type and, where one is
// given, the search parameter for it, by its CapabilityStatement. Where that does
// not say, it is taken to have them.
func (u *upstream) has(ctx context.Context, kind, parameter string) bool {
	u.statement.Lock()
	defer u.statement.Unlock()
	if now := time.Now(); now.After(u.statement.until) {
		types, err := u.capabilities(context.WithoutCancel(ctx))
		u.statement.types, u.statement.until = types, now.Add(statementFor)
		if err != nil {
			u.statement.until = now.Add(statementRetry)
		}
	}
	parameters, known := u.statement.types[kind]
	return len(u.statement.types) == 0 || known && (parameter == "" || len(parameters) == 0 || slices.Contains(parameters, parameter))
}

func (u *upstream) capabilities(ctx context.Context) (map[string][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := u.get(ctx, "metadata")
	if err != nil {
		return nil, err
	}
	var statement struct {
		Rest []struct {
			Mode     string `json:"mode"`
			Resource []struct {
				Type        string `json:"type"`
				SearchParam []struct {
					Name string `json:"name"`
				} `json:"searchParam"`
			} `json:"resource"`
		} `json:"rest"`
	}
	if err := json.Unmarshal(text, &statement); err != nil {
		return nil, err
	}
	types := make(map[string][]string)
	for _, rest := range statement.Rest {
		for _, resource := range rest.Resource {
			names := []string{}
			for _, p := range resource.SearchParam {
				names = append(names, p.Name)
			}
			types[resource.Type] = names
		}
	}
	return types, nil
}

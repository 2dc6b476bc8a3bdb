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

	statement statement
}

// statement is what the FHIR server says of itself.
type statement struct {
	sync.Mutex
	types  map[string][]string // search parameters by resource type; nil: not known
	until  time.Time           // when it is asked for again
	asking bool
	first  chan struct{} // closed once it was asked for, whatever came of it
}

// Limits of what the FHIR server may answer.
const (
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
		shared:    lru.NewCache[string, shared](sharedCount),
		statement: statement{first: make(chan struct{})},
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
	page, err := newSearchset(answer.Body, u.rebase)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	return page, nil
}

// errNoSearch is for a page that is not there: of a type that the server does not
// have, or one that is over.
var errNoSearch = fmt.Errorf("%w: it answers a search with %d", errUpstream, http.StatusNotFound)

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
	statementFor     = 10 * time.Minute
	statementRetry   = time.Minute
	statementTimeout = 10 * time.Second
)

// has tells whether the FHIR server has the resource type and, where one is
// given, the search parameter for it, by its CapabilityStatement. Where that does
// not say, it is taken to have them.
func (u *upstream) has(ctx context.Context, kind, parameter string) bool {
	types := u.types(ctx)
	parameters, known := types[kind]
	return len(types) == 0 || known && (parameter == "" || len(parameters) == 0 || slices.Contains(parameters, parameter))
}

// types gives what the server last said. Nobody waits for it but for the first
// time: where it is old, it is asked for meanwhile.
func (u *upstream) types(ctx context.Context) map[string][]string {
	s := &u.statement
	s.Lock()
	if !s.asking && time.Now().After(s.until) {
		s.asking = true
		go u.state()
	}
	s.Unlock()
	select {
	case <-s.first:
	case <-ctx.Done():
	}
	s.Lock()
	defer s.Unlock()
	return s.types
}

// state asks for the statement. Where none comes, the one before holds.
func (u *upstream) state() {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	types, err := u.capabilities(ctx)
	s := &u.statement
	s.Lock()
	defer s.Unlock()
	s.asking, s.until = false, time.Now().Add(statementRetry)
	if err == nil {
		s.types, s.until = types, time.Now().Add(statementFor)
	}
	select {
	case <-s.first:
	default:
		close(s.first)
	}
}

func (u *upstream) capabilities(ctx context.Context) (map[string][]string, error) {
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

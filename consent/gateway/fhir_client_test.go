package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// client is one of the clinic, under a grant, at the world's gateway.
func (w *world) client(d *consent.GrantDocument) (c *Client, exchanged *int) {
	w.Helper()
	c, err := NewClient(w.server.URL)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Close)
	exchanged = new(int)
	c.Access = func(_ context.Context, binding common.Hash) (*consent.AccessDocument, error) {
		*exchanged++
		return w.access(d, func(a *consent.AccessDocument) { a.Access.Binding = binding }, laboratory), nil
	}
	return c, exchanged
}

// TestClientPagesOutliveTheToken: a search over several pages takes longer than a
// token, and goes on with the next one.
func TestClientPagesOutliveTheToken(t *testing.T) {
	const pages = 4
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.clock.now = time.Now()
	base, err := url.Parse(w.record(pages, func(*http.Request) {}).URL)
	if err != nil {
		t.Fatal(err)
	}
	w.start(func(c *Config) { c.Upstream = base })
	client, exchanged := w.client(w.grant(address(w.clinic), laboratory))
	found := make(map[string]bool)
	got, err := client.Search(t.Context(), "Observation?category=laboratory&_count=100", func(r Resource) error {
		if found[r.ID] = true; len(found) == window || len(found) == 3*window {
			w.clock.pass((tokenLife + 1) * time.Second)
		}
		return nil
	})
	if err != nil || got != pages || len(found) != pages*window || *exchanged < 3 {
		t.Errorf("%d resources in %d pages with %d tokens, %v", len(found), got, *exchanged, err)
	}
}

// answering is a data holder that answers every request alike.
type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }

// paced gives a few bytes after each pause, until the request is over.
type paced struct {
	io.Reader
	ctx   context.Context
	pause time.Duration
	bytes int
}

func (s *paced) Read(p []byte) (int, error) {
	select {
	case <-time.After(s.pause):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	return s.Reader.Read(p[:min(len(p), s.bytes)])
}

// TestClientTakesNoSlowAnswers: an answer may take as long as it is long, and none
// for ever.
func TestClientTakesNoSlowAnswers(t *testing.T) {
	long := `{"resourceType":"Bundle","entry":[{}` + strings.Repeat(`,{"fullUrl":"`+strings.Repeat("x", 1<<20)+`"}`, 30) + `]}`
	for name, c := range map[string]struct {
		rest *paced
		want error
	}{
		"for ever":      {&paced{pause: time.Minute, bytes: 1}, errSlow},
		"slow and long": {&paced{pause: time.Second / 2, bytes: 32 << 10}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := NewClient("http://127.0.0.1:1")
				if err != nil {
					t.Fatal(err)
				}
				client.token.text = "token"
				client.http.Transport = answering(func(r *http.Request) *http.Response {
					c.rest.Reader, c.rest.ctx = strings.NewReader(long), r.Context()
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {fhirJSON}}, Body: io.NopCloser(c.rest), Request: r}
				})
				began := time.Now()
				_, err = client.Search(t.Context(), "Observation", func(Resource) error { return nil })
				if took := time.Since(began); !errors.Is(err, c.want) || c.want == nil && took < answerLimit*3/2 || c.want != nil && took > answerLimit+time.Second {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}

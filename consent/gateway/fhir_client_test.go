package gateway

import (
	"context"
	"net/http"
	"net/url"
	"testing"
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

package gateway

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
)

// mirrored is a ledger of a real chain.
type mirrored struct {
	*registry.Mirror
	client *registry.Client
}

func (m *mirrored) Anchor(ctx context.Context, root common.Hash) error {
	_, err := m.client.Anchor(ctx, root)
	return err
}

// embedded gives the embedded chain with the registry, and a copy of that which
// follows it until the test ends.
func embedded(t *testing.T) (*mirrored, consent.Domain) {
	chain, err := devchain.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Network{
		Name: "test", Endpoints: []registry.Endpoint{{Name: "the embedded chain", Dial: chain.Dial}}, ChainID: chain.ChainID(), OnDemand: true,
	}, registry.KeyPayer(chain.Key()))
	if _, err := client.Deploy(t.Context()); err != nil {
		t.Fatal(err)
	}
	mirror, err := registry.OpenMirror(t.Context(), t.TempDir()+"/mirror.db", client)
	if err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		mirror.Follow(following)
		close(ended)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		mirror.Close()
		client.Close()
		chain.Close()
	})
	return &mirrored{mirror, client}, consent.Domain{ChainID: chain.ChainID(), Registry: registry.Address}
}

// TestRevocationEndsTokens measures, on the embedded chain, how long a token
// lives on once its grant is revoked there: at most one block, and a second.
func TestRevocationEndsTokens(t *testing.T) {
	ledger, domain := embedded(t)
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.clock.now = time.Now()
	w.books = ledger
	w.anchor = func(root common.Hash) {
		if _, err := ledger.client.Anchor(t.Context(), root); err != nil {
			t.Fatal(err)
		}
	}
	w.start(func(c *Config) { c.Domain, c.Now = domain, time.Now })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := ledger.State(t.Context(), consent.Entries{}); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	until := func(what string, a func() *said, want int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if s := a(); s.status == want {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: %d %s", what, s.status, s.body)
			}
		}
	}
	var worst, sum time.Duration
	const times = 3
	for range times {
		d := w.grant(address(w.clinic), laboratory)
		var token string
		until("the anchor is not seen", func() *said {
			s := w.exchange(w.access(d, nil, laboratory))
			token = s.Token
			return s
		}, http.StatusOK)
		w.counts(token)
		began := time.Now()
		posted := make(chan time.Duration, 1)
		go func() {
			if _, err := ledger.client.Revoke(context.Background(), []common.Hash{secretOf(d.Grant.Provisions)}); err != nil {
				t.Error(err)
			}
			posted <- time.Since(began)
		}()
		var refused *said
		until("it lives on", func() *said {
			refused = w.ask(token, nil)
			return refused
		}, http.StatusUnauthorized)
		took := time.Since(began)
		w.denied(refused, "Revoked")
		confirmed := <-posted
		if took > confirmed+time.Second {
			t.Errorf("the token lived %s, and the revocation was confirmed after %s", took, confirmed)
		}
		t.Logf("posted and in a block after %s, denied after %s", confirmed.Round(time.Millisecond), took.Round(time.Millisecond))
		worst, sum = max(worst, took), sum+took
	}
	t.Logf("from posting to denial: %s on average, %s at worst", (sum / times).Round(time.Millisecond), worst.Round(time.Millisecond))

	// Handed over directly, it counts at once.
	d := w.grant(address(w.clinic), laboratory)
	var token string
	until("the anchor is not seen", func() *said {
		s := w.exchange(w.access(d, nil, laboratory))
		token = s.Token
		return s
	}, http.StatusOK)
	if err := ledger.Reveal(t.Context(), secretOf(d.Grant.Provisions)); err != nil {
		t.Fatal(err)
	}
	w.denied(w.ask(token, nil), "Revoked")

	// The log's root goes to the same chain.
	if anchored, err := w.checkpoint(t.Context()); err != nil || !anchored {
		t.Fatal(anchored, err)
	}
	found, err := CheckAudit(t.Context(), w.db)
	if err != nil {
		t.Fatal(err)
	}
	state, err := ledger.client.Read(t.Context(), consent.Entries{Anchors: []common.Hash{found.Root}})
	if err != nil || state.Anchored[found.Root] == 0 {
		t.Errorf("the root is not on chain: %v", err)
	}
}

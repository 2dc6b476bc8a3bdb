package gateway

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/registry/anviltest"
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

// embedded gives the embedded chain with the registry, and a copy of that.
func embedded(t *testing.T) (*mirrored, consent.Domain) {
	chain, err := devchain.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chain.Close() })
	return copied(t, registry.Network{
		Name: "test", Endpoints: []registry.Endpoint{{Name: "the embedded chain", Dial: chain.Dial}}, ChainID: chain.ChainID(), OnDemand: true,
	}, registry.KeyPayer(chain.Key()))
}

// copied gives the registry of a network, which is deployed there, and a copy of
// it that follows it until the test ends.
func copied(t *testing.T, network registry.Network, payer registry.Payer) (*mirrored, consent.Domain) {
	t.Helper()
	client := registry.New(network, payer)
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
	})
	poll(t, func() error {
		_, err := mirror.State(t.Context(), consent.Entries{})
		return err
	})
	return &mirrored{mirror, client}, consent.Domain{ChainID: network.ChainID, Registry: registry.Address}
}

// on gives a world on a real chain, whose clock is that of the computer.
func on(t *testing.T, ledger *mirrored, domain consent.Domain) *world {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.clock.now = time.Now()
	w.books = ledger
	w.anchor = func(root common.Hash) {
		if _, err := ledger.client.Anchor(t.Context(), root); err != nil {
			t.Fatal(err)
		}
	}
	w.start(func(c *Config) { c.Domain, c.Now = domain, time.Now })
	return w
}

// until asks again until the answer has a status.
func (w *world) until(what string, status int, ask func() *said) (s *said) {
	w.Helper()
	poll(w, func() error {
		if s = ask(); s.status != status {
			return fmt.Errorf("%s: %d %s", what, s.status, s.body)
		}
		return nil
	})
	return s
}

// poll tries again until nothing is wrong, or tells what still is after 20 s.
func poll(t testing.TB, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := try(); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestAttackReorganisation: on a real chain that is reorganised, what was anchored
// in the blocks that are gone does not count any more, and what was revoked in
// them stays revoked.
func TestAttackReorganisation(t *testing.T) {
	url, node := anviltest.Start(t, "--accounts", "1")
	network := registry.Network{Name: "anvil", ChainID: anviltest.ChainID, Endpoints: []registry.Endpoint{registry.URL(url)}, OnDemand: true}
	ledger, domain := copied(t, network, nil)
	w := on(t, ledger, domain)
	tokenOf := func(d *consent.GrantDocument) string {
		return w.until("the anchor is not seen", http.StatusOK, func() *said { return w.exchange(w.access(d, nil, laboratory)) }).Token
	}
	kept := w.grant(address(w.clinic), laboratory)
	token := tokenOf(kept)
	for range 3 {
		if err := node.CallContext(t.Context(), nil, "evm_mine"); err != nil {
			t.Fatal(err)
		}
	}
	lost := w.grant(address(w.clinic), laboratory)
	losing := tokenOf(lost)
	w.counts(token)
	w.counts(losing)
	if _, err := ledger.client.Revoke(t.Context(), []common.Hash{secretOf(kept.Grant.Provisions)}); err != nil {
		t.Fatal(err)
	}
	w.denied(w.until("the revocation is not seen", http.StatusUnauthorized, func() *said { return w.ask(token, nil) }), "Revoked")
	if err := node.CallContext(t.Context(), nil, "anvil_reorg", 2, []any{}); err != nil {
		t.Fatal(err)
	}
	w.denied(w.until("the anchor is gone, and the token lives on", http.StatusUnauthorized, func() *said { return w.ask(losing, nil) }), "NotAnchored")
	w.refused(w.exchange(w.access(lost, nil, laboratory)), http.StatusBadRequest, "invalid_grant", "NotAnchored")
	w.refused(w.exchange(w.access(kept, nil, laboratory)), http.StatusBadRequest, "invalid_grant", "Revoked")
}

// TestRevocationEndsTokens measures, on the embedded chain, how long a token
// lives on once its grant is revoked there: at most one block, and a second.
func TestRevocationEndsTokens(t *testing.T) {
	ledger, domain := embedded(t)
	w := on(t, ledger, domain)
	var worst, sum time.Duration
	const times = 3
	for range times {
		d := w.grant(address(w.clinic), laboratory)
		token := w.until("the anchor is not seen", http.StatusOK, func() *said { return w.exchange(w.access(d, nil, laboratory)) }).Token
		w.counts(token)
		began := time.Now()
		posted := make(chan time.Duration, 1)
		go func() {
			if _, err := ledger.client.Revoke(context.Background(), []common.Hash{secretOf(d.Grant.Provisions)}); err != nil {
				t.Error(err)
			}
			posted <- time.Since(began)
		}()
		refused := w.until("it lives on", http.StatusUnauthorized, func() *said { return w.ask(token, nil) })
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
	token := w.until("the anchor is not seen", http.StatusOK, func() *said { return w.exchange(w.access(d, nil, laboratory)) }).Token
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

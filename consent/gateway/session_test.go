package gateway

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
)

func TestTokensOutliveTheirGateway(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		token, d := w.session()
		first := w.Gateway
		w.start(func(*Config) {}) // another gateway on the same database, or the same one after a restart
		w.counts(token)
		w.Gateway = first // its address is another one, and proofs are made for it
		w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
		w.denied(w.ask(token, nil), "Revoked")
		w.start(func(*Config) {})
		w.denied(w.ask(token, nil), "NoSession")
	})
}

// Nothing is asked of the chain as long as nothing can have changed.
func TestDecidesAgainOnlyWhereItMatters(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	token, _ := w.session()
	asks := func() int {
		w.chain.Lock()
		before := w.chain.asked
		w.chain.Unlock()
		w.counts(token)
		w.chain.Lock()
		defer w.chain.Unlock()
		return w.chain.asked - before
	}
	for name, c := range map[string]struct {
		change func()
		want   int
	}{
		"nothing":                {func() {}, 0},
		"a block":                {func() { w.chain.change(func() {}) }, 1},
		"a second":               {func() { w.clock.pass(time.Second) }, 0},
		"the age limit":          {func() { w.clock.pass(61 * time.Second) }, 1},
		"an enrollment":          {func() { w.enroll(newKey(t), "samira") }, 1},
		"a clock that went back": {func() { w.clock.pass(-10 * time.Second) }, 1},
	} {
		asks() // so that nothing is left of another change
		c.change()
		if got := asks(); got != c.want {
			t.Errorf("%s: asked %d times, want %d", name, got, c.want)
		}
		if got := asks(); got != 0 {
			t.Errorf("%s: asked again", name)
		}
	}
}

// What a contract says of its account is asked each time.
func TestContractAccountsAreAskedEachTime(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	contract := common.Address{0xc0}
	d := w.grant(contract, laboratory)
	a := w.access(d, nil, laboratory)
	a.Signature = []byte("whatever the contract takes")
	query := consent.SignatureQuery{Account: contract, Digest: a.Access.Digest(testDomain), Signature: string(a.Signature)}
	w.refused(w.exchange(a), http.StatusBadRequest, "invalid_grant", "BadAccessSignature")
	w.chain.Lock()
	w.chain.signed[query] = true // in no new block
	w.chain.Unlock()
	token := w.token(a)
	w.counts(token)
	w.chain.Lock()
	w.chain.signed[query] = false
	w.chain.Unlock()
	w.denied(w.ask(token, nil), "BadAccessSignature")
}

// However many requests go on at once, none is let through once the revocation is
// known.
func TestRevocationAmongManyRequests(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		token, d := w.session()
		revoked := make(chan struct{})
		var ready, workers sync.WaitGroup
		for range 8 {
			ready.Add(1)
			workers.Go(func() {
				for range 5 {
					w.counts(token)
				}
				ready.Done()
				<-revoked
				for range 5 {
					if s := w.ask(token, nil); s.status != http.StatusUnauthorized {
						t.Errorf("%d %s", s.status, s.body)
					}
				}
			})
		}
		ready.Wait()
		w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
		close(revoked)
		workers.Wait()
		if n := len(w.log(address(w.patient))); n < 1+8*5+1 {
			t.Errorf("%d entries", n)
		}
	})
}

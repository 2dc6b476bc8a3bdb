package relay_test

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"go.uber.org/goleak"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/relay"
)

func TestRootsAreAnchored(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		chain := newLedger()
		o := options(location)
		o.Interval = time.Second
		c := start(t, chain, o).client(t)
		roots := make([]common.Hash, 300)
		got := make([]*relay.Anchored, len(roots))
		var all sync.WaitGroup
		for i := range roots {
			roots[i] = random()
			all.Go(func() {
				if err := c.Submit(t.Context(), roots[i]); err != nil {
					t.Error(err)
					return
				}
				var err error
				if got[i], err = c.Anchored(t.Context(), roots[i], patience); err != nil || got[i] == nil {
					t.Errorf("root %d: %v, %v", i, got[i], err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		trees := map[common.Hash]int{}
		for i, a := range got {
			trees[a.Root]++
			if consent.Root(roots[i], a.Siblings) != a.Root || !chain.has(a.Root) {
				t.Errorf("root %d is not proven", i)
			}
		}
		if sent, _ := chain.counted(); sent != len(trees) || len(trees) > len(roots)/4 {
			t.Errorf("%d transactions for %d trees of %d roots", sent, len(trees), len(roots))
		}
		// The same again changes nothing.
		if err := c.Submit(t.Context(), roots[7]); err != nil {
			t.Fatal(err)
		}
		again, err := c.Anchored(t.Context(), roots[7], 0)
		if err != nil || again == nil || again.Root != got[7].Root || !slices.Equal(again.Siblings, got[7].Siblings) {
			t.Errorf("handed in again: %v, %v", again, err)
		}
		if _, err := c.Anchored(t.Context(), random(), 0); !relay.IsNotFound(err) {
			t.Errorf("a root that nobody handed in: %v", err)
		}
	})
}

func TestOneRootIsATreeByItself(t *testing.T) {
	chain := newLedger()
	c := start(t, chain, options(t.TempDir()+"/relay.db")).client(t)
	root := random()
	if err := c.Submit(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	a, err := c.Anchored(t.Context(), root, patience)
	if err != nil || a == nil || a.Root != root || len(a.Siblings) != 0 {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestSecretsAreRevealed(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		chain := newLedger()
		c := start(t, chain, options(location)).client(t)
		secrets := make([]common.Hash, 1200)
		for i := range secrets {
			secrets[i] = random()
		}
		secrets[1] = secrets[0] // twice in one
		for part := range slices.Chunk(secrets, relay.MaxSecrets) {
			if err := c.Revoke(t.Context(), part); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all secrets are on chain", func() (done bool) {
			chain.set(func() {
				done = !slices.ContainsFunc(secrets, func(s common.Hash) bool { return chain.revoked[consent.Revocation(s)] == 0 })
			})
			return done
		})
		if _, sent := chain.counted(); sent > 10 {
			t.Errorf("%d transactions for %d secrets", sent, len(secrets))
		}
		if err := c.Revoke(t.Context(), make([]common.Hash, relay.MaxSecrets+1)); err == nil {
			t.Error("too many are taken")
		}
	})
}

// However many trees wait for a block, a secret waits for none of them.
func TestSecretsPassTrees(t *testing.T) {
	chain := newLedger()
	chain.gate, chain.only = make(chan struct{}), "anchor"
	c := start(t, chain, options(t.TempDir()+"/relay.db")).client(t)
	const trees = 16
	for i := range trees {
		if err := c.Submit(t.Context(), random()); err != nil {
			t.Fatal(err)
		}
		until(t, "one more tree is under way", func() (under bool) {
			chain.set(func() { under = chain.held == i+1 })
			return under
		})
	}
	secret := random()
	if err := c.Revoke(t.Context(), []common.Hash{secret}); err != nil {
		t.Fatal(err)
	}
	until(t, "the secret is on chain", func() (there bool) {
		chain.set(func() { there = chain.revoked[consent.Revocation(secret)] != 0 })
		return there
	})
}

// What a reorganisation drops is sent again until it is final, whoever took it.
func TestReorganisationIsMended(t *testing.T) {
	chain := newLedger()
	c := start(t, chain, options(t.TempDir()+"/relay.db")).client(t)
	root, secret := random(), random()
	if err := c.Submit(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), []common.Hash{secret}); err != nil {
		t.Fatal(err)
	}
	there := func() (both bool) {
		chain.set(func() { both = chain.anchored[root] != 0 && chain.revoked[consent.Revocation(secret)] != 0 })
		return both
	}
	until(t, "both are on chain", there)
	if a, err := c.Anchored(t.Context(), root, patience); err != nil || a == nil {
		t.Fatal(a, err)
	}
	chain.set(func() {
		delete(chain.anchored, root)
		delete(chain.revoked, consent.Revocation(secret))
	})
	until(t, "both are on chain again", there)
}

// What was taken and not sent is sent by the next process, and what was sent
// is known.
func TestRestartLosesNothing(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		chain := newLedger()
		chain.gate = make(chan struct{}) // no transaction gets into a block
		first := start(t, chain, options(location))
		c := first.client(t)
		roots, secret := []common.Hash{random(), random(), random()}, random()
		for _, root := range roots {
			if err := c.Submit(t.Context(), root); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Revoke(t.Context(), []common.Hash{secret}); err != nil {
			t.Fatal(err)
		}
		if a, err := c.Anchored(t.Context(), roots[0], time.Second); a != nil || err != nil {
			t.Fatalf("no block holds it: %v, %v", a, err)
		}
		first.stop()
		if err := c.Submit(t.Context(), random()); err == nil {
			t.Error("a relay that has ended takes a root")
		}
		chain.set(func() { chain.gate = nil })
		c = start(t, chain, options(location)).client(t)
		for _, root := range roots {
			if a, err := c.Anchored(t.Context(), root, patience); err != nil || a == nil || !chain.has(a.Root) {
				t.Errorf("%v, %v", a, err)
			}
		}
		until(t, "the secret is on chain", func() (there bool) {
			chain.set(func() { there = chain.revoked[consent.Revocation(secret)] != 0 })
			return there
		})
	})
}

// Processes that share a database serve alike, and one of them sends.
func TestProcessesShareTheWork(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		chain := newLedger()
		a, b := start(t, chain, options(location)), start(t, chain, options(location))
		both := []*relay.Client{a.client(t), b.client(t)}
		pass := func(clients []*relay.Client) {
			trees := map[common.Hash]bool{}
			var mu sync.Mutex
			var all sync.WaitGroup
			before, _ := chain.counted()
			for i := range 40 {
				all.Go(func() {
					root := random()
					if err := clients[i%len(clients)].Submit(t.Context(), root); err != nil {
						t.Error(err)
						return
					}
					// The other one knows as well.
					got, err := clients[(i+1)%len(clients)].Anchored(t.Context(), root, patience)
					if err != nil || got == nil {
						t.Errorf("%v, %v", got, err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					trees[got.Root] = true
				})
			}
			all.Wait()
			if after, _ := chain.counted(); after-before != len(trees) {
				t.Errorf("%d transactions for %d trees", after-before, len(trees))
			}
		}
		pass(both)
		a.stop() // whichever of the two sent, the other does now
		pass(both[1:])
	})
}

// Roots are forgotten 90 days after their tree was made, but for the newest.
func TestOldRootsAreForgotten(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		chain := newLedger()
		var passed clock
		o := options(location)
		o.Now = passed.now
		r := start(t, chain, o)
		old, newest := random(), random()
		for _, root := range []common.Hash{old, newest} {
			if err := r.client(t).Submit(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			if a, err := r.client(t).Anchored(t.Context(), root, patience); err != nil || a == nil {
				t.Fatal(a, err)
			}
		}
		chain.set(func() { chain.block += o.Finality })
		db, err := database.Open(t.Context(), location, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		until(t, "both are final", func() bool {
			var final int
			if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM trees WHERE final = 1").Scan(&final); err != nil {
				t.Fatal(err)
			}
			return final == 2
		})
		r.stop()
		passed.Add(int64(91 * 24 * time.Hour))
		c := start(t, chain, o).client(t) // which sweeps as it starts
		until(t, "the old one is forgotten", func() bool {
			_, err := c.Anchored(t.Context(), old, 0)
			return relay.IsNotFound(err)
		})
		if a, err := c.Anchored(t.Context(), newest, 0); err != nil || a == nil {
			t.Errorf("the newest: %v, %v", a, err)
		}
		after := random()
		if err := c.Submit(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		if a, err := c.Anchored(t.Context(), after, patience); err != nil || a == nil || a.Root != after {
			t.Errorf("the next: %v, %v", a, err)
		}
	})
}

func TestSilentChainIsWaitedFor(t *testing.T) {
	chain := newLedger()
	chain.err = errors.New("no endpoint answers")
	r := start(t, chain, options(t.TempDir()+"/relay.db"))
	c := r.client(t)
	root := random()
	if err := c.Submit(t.Context(), root); err != nil {
		t.Fatalf("what needs no chain is refused: %v", err)
	}
	if got := get(t, r.url+"/ready"); got != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", got)
	}
	if got := get(t, r.url+"/health"); got != http.StatusOK {
		t.Errorf("health: %d", got)
	}
	chain.set(func() { chain.err = nil })
	if a, err := c.Anchored(t.Context(), root, patience); err != nil || a == nil {
		t.Errorf("%v, %v", a, err)
	}
	until(t, "it is ready", func() bool { return get(t, r.url+"/ready") == http.StatusOK })
}

// Whoever asks whether it is ready, and however often, costs a call of the chain
// each second at most.
func TestReadyIsRemembered(t *testing.T) {
	chain := newLedger()
	r := start(t, chain, options(t.TempDir()+"/relay.db"))
	began := time.Now()
	for range 200 {
		if got := get(t, r.url+"/ready"); got != http.StatusOK {
			t.Fatalf("ready: %d", got)
		}
	}
	most := 1 + int(time.Since(began)/time.Second)
	chain.set(func() {
		if chain.reads > most {
			t.Errorf("the chain was asked %d times, want at most %d", chain.reads, most)
		}
	})
}

func get(t *testing.T, url string) (status int) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// A relay that is stopped finishes what was handed in, and leaves nothing
// running, however many wait for an answer.
func TestStopIsGraceful(t *testing.T) {
	before := goleak.IgnoreCurrent()
	chain := newLedger()
	chain.gate = make(chan struct{}) // nothing gets into a block
	o := options(t.TempDir() + "/relay.db")
	r := start(t, chain, o)
	c := r.client(t)
	patient := published(t, c)
	box := mailbox(t, c, patient)
	root := random()
	if err := c.Submit(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if a, err := c.Anchored(t.Context(), root, time.Minute); err == nil || a != nil {
			t.Errorf("it is not anchored: %v", a)
		}
	})
	listening := make(chan struct{})
	waiting.Go(func() {
		for range box.Events(t.Context()) {
			close(listening)
		}
	})
	if err := c.Send(t.Context(), patient.Address(), []byte("a letter")); err != nil {
		t.Fatal(err)
	}
	<-listening
	r.Stop()
	waiting.Wait() // both ended by themselves
	late := random()
	if err := c.Submit(t.Context(), late); err != nil {
		t.Errorf("while it stops, what is handed in is still taken: %v", err)
	}
	c.Close()
	r.stop()
	goleak.VerifyNone(t, before)
	chain.set(func() { chain.gate = nil })
	c = start(t, chain, o).client(t)
	for _, root := range []common.Hash{root, late} {
		if a, err := c.Anchored(t.Context(), root, patience); err != nil || a == nil {
			t.Errorf("%v, %v", a, err)
		}
	}
}

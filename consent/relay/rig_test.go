package relay_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

const patience = 20 * time.Second

var (
	domain = consent.Domain{ChainID: 1337, Registry: common.HexToAddress("0x219CF75AdA58E6B6a07e0F9FdDA14b70e768bad1")}
)

// ledger is a chain in memory.
type ledger struct {
	mu       sync.Mutex
	block    uint64
	anchored map[common.Hash]uint64
	revoked  map[common.Hash]uint64
	retired  map[common.Address]uint64
	anchors  int // how many transactions of each kind it saw
	reveals  int
	err      error
	gate     chan struct{} // nil: open
	only     string        // what the gate is for: "anchor", or empty for both
	held     int           // how many transactions came to the gate
	reads    int
}

func newLedger() *ledger {
	return &ledger{block: 1, anchored: map[common.Hash]uint64{}, revoked: map[common.Hash]uint64{}, retired: map[common.Address]uint64{}}
}

func (l *ledger) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *ledger) has(root common.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.anchored[root] != 0
}

// counted gives how many transactions of each kind there were.
func (l *ledger) counted() (anchors, reveals int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.anchors, l.reveals
}

func (l *ledger) post(ctx context.Context, kind string, do func()) error {
	l.mu.Lock()
	gate := l.gate
	if l.only != "" && l.only != kind {
		gate = nil
	}
	if gate != nil {
		l.held++
	}
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.block++
	do()
	return nil
}

func (l *ledger) Anchor(ctx context.Context, root common.Hash) error {
	return l.post(ctx, "anchor", func() {
		if l.anchored[root] == 0 {
			l.anchored[root] = uint64(time.Now().Unix())
			l.anchors++
		}
	})
}

func (l *ledger) Revoke(ctx context.Context, secrets []common.Hash) error {
	if len(secrets) > relay.MaxSecrets {
		return errors.New("too many secrets for one transaction")
	}
	return l.post(ctx, "revoke", func() {
		l.reveals++
		for _, secret := range secrets {
			l.revoked[consent.Revocation(secret)] = uint64(time.Now().Unix())
		}
	})
}

func (l *ledger) Read(_ context.Context, need consent.Entries) (consent.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.err != nil {
		return consent.State{}, l.err
	}
	s := consent.State{Block: l.block, Time: uint64(time.Now().Unix()), Anchored: map[common.Hash]uint64{}, Revoked: map[common.Hash]uint64{}, Retired: map[common.Address]uint64{}, Signed: map[consent.SignatureQuery]bool{}}
	for _, root := range need.Anchors {
		s.Anchored[root] = l.anchored[root]
	}
	for _, hash := range need.Revocations {
		s.Revoked[hash] = l.revoked[hash]
	}
	for _, account := range need.Accounts {
		s.Retired[account] = l.retired[account]
	}
	for _, query := range need.Signatures {
		s.Signed[query] = false // no account here has code
	}
	return s, nil
}

// rig is a relay that serves on this computer.
type rig struct {
	*relay.Relay
	url  string
	stop func() // ends it, as a kill would but for what is in memory
}

func options(location string) relay.Options {
	return relay.Options{Database: location, Account: common.Address{0xaa}, Domain: domain, Interval: 50 * time.Millisecond, Finality: 5}
}

func start(t testing.TB, chain relay.Chain, o relay.Options) *rig {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.URL = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := relay.Open(ctx, chain, o)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r.Handler()}
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { server.Serve(listener) })
	var once sync.Once
	stop := func() {
		once.Do(func() {
			server.Close()
			cancel()
			running.Wait()
			r.Close()
		})
	}
	t.Cleanup(stop)
	return &rig{r, o.URL, stop}
}

func (r *rig) client(t testing.TB) *relay.Client {
	t.Helper()
	c, err := relay.NewClient(r.url, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newKey(t testing.TB) *wallet.Key {
	t.Helper()
	entropy := make([]byte, 16)
	rand.Read(entropy)
	k, err := wallet.NewKey(entropy)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func cardOf(t testing.TB, k *wallet.Key, at time.Time) *consent.CardDocument {
	t.Helper()
	card, err := k.SignCard(domain, consent.Card{Name: "somebody", Time: uint64(at.Unix())})
	if err != nil {
		t.Fatal(err)
	}
	return card
}

func proving(k *wallet.Key, d consent.Domain, at time.Time) func(common.Address, common.Hash, common.Hash) (*consent.AccessDocument, error) {
	return func(holder common.Address, challenge, binding common.Hash) (*consent.AccessDocument, error) {
		return k.SignProofOfAddress(d, holder, challenge, binding, uint64(at.Unix()))
	}
}

// published is a person with a card at the relay.
func published(t testing.TB, c *relay.Client) *wallet.Key {
	t.Helper()
	k := newKey(t)
	if err := c.PutCard(t.Context(), cardOf(t, k, time.Now())); err != nil {
		t.Fatal(err)
	}
	return k
}

func mailbox(t testing.TB, c *relay.Client, k *wallet.Key) *relay.Mailbox {
	t.Helper()
	m, err := c.Mailbox(t.Context(), k.Address(), domain, proving(k, domain, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func random() (h common.Hash) {
	rand.Read(h[:])
	return h
}

// clock is the time, and what has passed besides, in nanoseconds.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.Load())) }

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	within(t, patience, what, done)
}

// within asks again until it is done.
func within(t testing.TB, patience time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func httpServer(t *testing.T, do http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(do)
	t.Cleanup(server.Close)
	return server.URL
}

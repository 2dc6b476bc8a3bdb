package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

// fakeRelay answers as an honest, a lying or a silent relay would.
type fakeRelay struct {
	patience time.Duration // with it
	chain    *chain
	honest   bool // anchors what it says
	answer   func(root common.Hash) relay.Anchored
	asked    atomic.Int64
}

func (f *fakeRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.asked.Add(1)
	switch {
	case req.Method == http.MethodPost:
		w.WriteHeader(http.StatusAccepted)
	case f.answer == nil:
		w.WriteHeader(http.StatusAccepted)
	default:
		a := f.answer(common.HexToHash(strings.TrimPrefix(req.URL.Path, "/anchor/")))
		if f.honest {
			if _, err := f.chain.Client.Anchor(req.Context(), a.Root); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		json.NewEncoder(w).Encode(a)
	}
}

func (f *fakeRelay) serve(t *testing.T) networkRelay {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c, err := relay.NewClient(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return networkRelay{c, f.patience}
}

// A wallet calls nothing anchored that it has not seen on chain itself, whatever
// relays say, and goes another way where they keep it waiting.
func TestRelaysAreNotBelieved(t *testing.T) {
	var talk strings.Builder
	c := deployed(t, &app{stderr: &talk, verbose: true})
	sibling := common.Hash{7}
	in := func(root common.Hash) relay.Anchored {
		return relay.Anchored{Root: consent.Root(root, []common.Hash{sibling}), Siblings: []common.Hash{sibling}}
	}
	tall := func(root common.Hash) relay.Anchored {
		siblings := make([]common.Hash, maxSiblings+1)
		return relay.Anchored{Root: consent.Root(root, siblings), Siblings: siblings}
	}
	elsewhere := func(common.Hash) relay.Anchored {
		return relay.Anchored{Root: common.Hash{9}, Siblings: []common.Hash{sibling}}
	}
	// Enough for the slowest machine, and as little as a test wants to wait.
	const long, short = 20 * time.Second, 500 * time.Millisecond
	for _, test := range []struct {
		name     string
		relays   []*fakeRelay
		siblings int
		says     string
	}{
		{"honest", []*fakeRelay{{patience: long, honest: true, answer: in}}, 1, ""},
		{"silent", []*fakeRelay{{patience: short}}, 0, "did not do it within"},
		{"says that it is anchored, and it is not", []*fakeRelay{{patience: short, answer: in}}, 0, "did not do it within"},
		{"siblings that lead elsewhere", []*fakeRelay{{patience: long, answer: elsewhere}}, 0, "do not lead"},
		{"a proof beyond all measure", []*fakeRelay{{patience: long, answer: tall}}, 0, "want at most"},
		{"silent, then honest", []*fakeRelay{{patience: short}, {patience: long, honest: true, answer: in}}, 1, "going on without it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			talk.Reset()
			c.relays = nil
			for _, f := range test.relays {
				f.chain = c
				c.relays = append(c.relays, f.serve(t))
			}
			root := randomHash()
			siblings, err := c.Anchor(t.Context(), root)
			if err != nil || len(siblings) != test.siblings {
				t.Fatalf("%v, %v", siblings, err)
			}
			at := consent.Root(root, siblings)
			state, err := c.Read(t.Context(), consent.Entries{Anchors: []common.Hash{at}})
			if err != nil || state.Anchored[at] == 0 {
				t.Errorf("it is not on chain: %v", err)
			}
			if !strings.Contains(talk.String(), test.says) {
				t.Errorf("it says %q, not %q", talk.String(), test.says)
			}
		})
	}
	t.Run("secrets", func(t *testing.T) {
		silent := &fakeRelay{patience: short}
		var secrets []common.Hash
		// A slow chain may use up the patience before the relay is asked.
		for ; silent.asked.Load() == 0 && silent.patience < long; silent.patience *= 2 {
			c.relays = []networkRelay{silent.serve(t)}
			secrets = []common.Hash{randomHash(), randomHash()}
			if err := c.Revoke(t.Context(), secrets); err != nil {
				t.Fatal(err)
			}
		}
		if silent.asked.Load() == 0 {
			t.Error("the relay was not asked")
		}
		settled, err := c.Settled(t.Context(), []common.Hash{consent.Revocation(secrets[0]), consent.Revocation(secrets[1])})
		if err != nil || slices.Contains([]uint64{settled[consent.Revocation(secrets[0])], settled[consent.Revocation(secrets[1])]}, 0) {
			t.Errorf("%v, %v", settled, err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		c.relays = []networkRelay{(&fakeRelay{patience: time.Minute}).serve(t)}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := c.Anchor(ctx, randomHash()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func randomHash() (h common.Hash) {
	rand.Read(h[:])
	return h
}

// deployed is an embedded chain of the test, with the registry.
func deployed(t *testing.T, a *app) *chain {
	t.Helper()
	embedded, err := devchain.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := embeddedChain(a, embedded)
	t.Cleanup(c.close)
	if _, err := c.Deploy(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// walletsOn gives what makes wallets on a chain, all with one store in a folder.
func walletsOn(t *testing.T, c *chain, folder string) (newWallet func() *wallet.Wallet) {
	t.Helper()
	store, err := wallet.OpenStore(t.Context(), filepath.Join(folder, wallet.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return func() *wallet.Wallet {
		t.Helper()
		entropy := randomHash()
		key, err := wallet.NewKey(entropy[:16])
		if err != nil {
			t.Fatal(err)
		}
		documents, err := store.Documents(key)
		if err != nil {
			t.Fatal(err)
		}
		return &wallet.Wallet{Signer: key, Documents: documents, Registry: c, Domain: c.domain, Now: time.Now}
	}
}

// The terminal app waits for letters at all relays at once, whichever of them
// does not answer.
func TestLettersAreAwaited(t *testing.T) {
	c := deployed(t, &app{stderr: io.Discard})
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	running, stop := context.WithCancel(context.Background())
	r, err := relay.Open(running, sponsor{c.latest}, relay.Options{
		Database: filepath.Join(t.TempDir(), "relay.db"), Account: common.Address{1}, Domain: c.domain, URL: url, Interval: time.Second, Finality: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { r.Run(running) })
	listened, handler := make(chan struct{}, 1), r.Handler()
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/mail/events" {
			listened <- struct{}{}
		}
		handler.ServeHTTP(w, req)
	})
	server.Start()
	defer func() {
		r.Stop()
		server.Close()
		stop()
		all.Wait()
		r.Close()
	}()
	client, err := relay.NewClient(url, "")
	if err != nil {
		t.Fatal(err)
	}
	c.relays = []networkRelay{{client, relayPatience}}

	newWallet := walletsOn(t, c, t.TempDir())
	patient, clinic := newWallet(), newWallet()
	if came, err := collect(t.Context(), patient, c.postOffices()); err != nil || len(came) != 0 {
		t.Fatal(came, err)
	}
	send := func(letter *consent.Letter) {
		t.Helper()
		if _, err := clinic.Send(t.Context(), c.mailboxes(), patient.Signer.Address(), letter); err != nil {
			t.Fatal(err)
		}
	}
	request, err := clinic.Request(t.Context(), consent.Request{
		Patient: patient.Signer.Address(), Holders: []common.Address{{}}, Expires: uint64(time.Now().Add(time.Hour).Unix()),
		Scopes: []consent.Scope{{Resource: "Observation", Interactions: consent.Read, Purpose: "TREAT"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	asks := &consent.Letter{Requests: []consent.RequestDocument{*request}}
	type outcome struct {
		came int
		err  error
	}
	// awaited sends a letter when the patient waits for one, and gives what she
	// hears of.
	awaited := func() (int, error) {
		t.Helper()
		heard := make(chan outcome, 1)
		all.Go(func() {
			n, err := c.letters(t.Context(), patient, true)
			heard <- outcome{n, err}
		})
		limit := time.After(20 * time.Second)
		select {
		case <-listened:
		case o := <-heard:
			t.Fatalf("nobody waits for letters: %d came, %v", o.came, o.err)
		case <-limit:
			t.Fatal("nobody waits for letters")
		}
		send(asks)
		select {
		case o := <-heard:
			return o.came, o.err
		case <-limit:
			t.Fatal("nobody was told of the letter")
		}
		return 0, nil
	}
	if n, err := awaited(); n != 1 || err != nil {
		t.Errorf("%d came, %v", n, err)
	}
	if waiting, err := patient.Waiting(t.Context()); err != nil || len(waiting) != 1 {
		t.Errorf("%v, %v", waiting, err)
	}

	// A letter that waits in the mailbox, since the grant in it is not anchored,
	// and may never be, is no trouble and ends no waiting.
	now := uint64(time.Now().Unix())
	grant, err := clinic.Grant(t.Context(), &wallet.Draft{
		Grantee: patient.Signer.Address(), NotBefore: now, Expires: now + 3600, Provisions: wallet.Provide(request.Request.Scopes, request.Request.Holders),
	})
	if err != nil {
		t.Fatal(err)
	}
	grant.AnchorProof = []common.Hash{{1}}
	send(&consent.Letter{Grants: []consent.GrantDocument{*grant}})
	received, err := collect(t.Context(), patient, c.postOffices())
	if err != nil || len(received) != 1 || received[0].Err == nil || !strings.Contains(received[0].Err.Error(), "not anchored yet") {
		t.Errorf("%+v, %v", received, err)
	}
	if n, err := awaited(); n != 1 || err != nil {
		t.Errorf("beside a letter that waits: %d came, %v", n, err)
	}

	// With one relay away, the other is waited at, and it is said.
	gone, err := relay.NewClient("http://127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	c.relays = []networkRelay{{gone, relayPatience}, {client, relayPatience}}
	if n, err := awaited(); n != 1 || err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("with one relay away: %d came, %v", n, err)
	}
	c.relays = c.relays[:1]
	if n, err := c.letters(t.Context(), patient, true); n != 0 || err == nil {
		t.Errorf("with all relays away: %d came, %v", n, err)
	}
}

// A token that admits to one relay is shown to no other, also where an older
// version kept one for all of them.
func TestRelayTokens(t *testing.T) {
	shown := make(chan string, 100) // "name token", of each request
	var urls []string
	for _, name := range []string{"first", "second", "third"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			shown <- name + " " + r.Header.Get(relay.TokenHeader)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	h := newHome(t)
	for file, token := range map[string]string{"one.token": "A7", "two.token": "B8"} {
		if err := os.WriteFile(h.path(file), []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) error {
		t.Helper()
		_, err := h.do(t.Context(), args...)
		return err
	}
	add := func(relays int, tokens ...string) error {
		t.Helper()
		args := []string{"network", "add", "net", "--rpc", "http://127.0.0.1:1", "--chain-id", "1"}
		for _, url := range urls[:relays] {
			args = append(args, "--relay", url)
		}
		for _, token := range tokens {
			args = append(args, "--token-file", token)
		}
		return do(args...)
	}
	if err := do("init", "patient"); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]string{{"one.token"}, {urls[2] + "=one.token"}, {urls[0] + "=one.token", urls[0] + "=two.token"}} {
		if err := add(2, wrong...); err == nil || !strings.Contains(err.Error(), "exit code 2") {
			t.Errorf("two relays with the tokens %s: %v", wrong, err)
		}
	}
	tokens := func(what string, want ...string) {
		t.Helper()
		if err := do("inbox", "--network", "net"); err == nil {
			t.Fatal("a relay that is out of order gave letters")
		}
		seen := make(map[string]bool)
		for len(shown) > 0 {
			seen[<-shown] = true
		}
		if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	if err := add(3, urls[1]+"=two.token", urls[0]+"=one.token"); err != nil {
		t.Fatal(err)
	}
	tokens("two of three", "first A7", "second B8", "third ")
	if err := add(1, "one.token"); err != nil {
		t.Fatal(err)
	}
	tokens("one", "first A7")

	// As settings once had it.
	settings := h.path(filepath.Join("config", "assent", "settings.toml"))
	if err := add(2); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settings, append(text, "relay_token = 'C9'\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens("of an older version", "first C9", "second ")
}

// A letter that another process of the wallet took meanwhile is none, and not the
// relay's failure.
func TestLetterTakenMeanwhile(t *testing.T) {
	status := http.StatusNotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	client, err := relay.NewClient(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	box := mailbox{&relay.Mailbox{Client: client}, new(postOffice)}
	if sealed, err := box.Read(t.Context(), "00"); sealed != nil || err != nil {
		t.Errorf("%x, %v", sealed, err)
	}
	status = http.StatusServiceUnavailable
	if _, err := box.Read(t.Context(), "00"); err == nil {
		t.Errorf("out of order: %v", err)
	}
}

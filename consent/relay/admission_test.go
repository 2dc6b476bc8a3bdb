package relay_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent/relay"
)

// Names that nobody has are no way to fill the table of limits.
func TestLettersToNobodyAreNotCounted(t *testing.T) {
	r := start(t, newLedger(), options(t.TempDir()+"/relay.db"))
	d := &door{t, r.url}
	for i := range 30 { // more than the letters of one client to one mailbox
		if status, text := d.ask("POST", "/mail/"+common.Address{7}.Hex(), []byte("x")); status != http.StatusNotFound {
			t.Fatalf("letter %d to an account without a mailbox: HTTP status %d %s", i, status, text)
		}
	}
}

// One client keeps no other from being counted, however many names it brings.
func TestOneClientFillsNoLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := relay.NewLimits(1./60, 20)
		brought := func(client string) (n int) {
			for l.Allow(client, fmt.Sprint(client, " ", n), 1) {
				n++
			}
			return n
		}
		if n := brought("a"); n != relay.MaxOfClient {
			t.Errorf("a client brings %d names, want %d", n, relay.MaxOfClient)
		}
		if !l.Allow("a", "a 0", 1) {
			t.Error("a name that is counted is not any more")
		}
		if n := brought("b"); n != relay.MaxOfClient {
			t.Errorf("another client brings %d names beside them, want %d", n, relay.MaxOfClient)
		}
		time.Sleep(time.Minute)
		l.Forget()
		if n := brought("c"); n != relay.MaxOfClient {
			t.Errorf("a third one brings %d names, want %d", n, relay.MaxOfClient)
		}
		if n := brought("a"); n != relay.MaxOfClient {
			t.Errorf("a minute later a client brings %d names, want %d again", n, relay.MaxOfClient)
		}
	})
}

// A limit that was used up is as it was, and no higher, after what is not in
// use was forgotten.
func TestForgottenLimitsAreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := relay.NewLimits(1, 2_000)
		if !l.Allow("a", "a", 2_000) || l.Allow("a", "a", 1) {
			t.Fatal("want 2,000 at once")
		}
		time.Sleep(31 * time.Minute)
		l.Forget()
		if l.Allow("a", "a", 1_861) {
			t.Error("after 31 minutes more than 1,860 are allowed")
		}
		time.Sleep(3 * time.Minute)
		l.Forget()
		if !l.Allow("a", "a", 2_000) {
			t.Error("after all that time it is not full")
		}
	})
}

// A page in somebody's browser spends none of the relay's coins, though it comes
// from a computer that is admitted.
func TestForeignPagesAreRefused(t *testing.T) {
	chain := newLedger()
	r := start(t, chain, options(t.TempDir()+"/relay.db"))
	d := &door{t, r.url}
	root, secrets := []byte(`{"root":"`+random().Hex()+`"}`), []byte(`{"secrets":["`+random().Hex()+`"]}`)
	for name, headers := range map[string][]string{
		"another site":                          {"Origin", "https://attacker.example", "Sec-Fetch-Site", "cross-site"},
		"another site, in an old browser":       {"Origin", "https://attacker.example"},
		"a page without an origin":              {"Origin", "null"},
		"another port of this very computer":    {"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"},
		"a name that was moved to this address": {"Origin", "http://attacker.example", "Host", "attacker.example"},
	} {
		headers = append(headers, "Content-Type", "text/plain")
		for path, body := range map[string][]byte{"/anchor": root, "/revoke": secrets} {
			if status, text := d.ask("POST", path, body, headers...); status != http.StatusForbidden || !strings.HasPrefix(text, `{"error":"`) {
				t.Errorf("POST %s of %s: HTTP status %d %s", path, name, status, text)
			}
		}
	}
	for path, body := range map[string][]byte{"/anchor": root, "/revoke": secrets} {
		if status, text := d.ask("POST", path, body); status != http.StatusAccepted {
			t.Errorf("POST %s of a wallet: HTTP status %d %s", path, status, text)
		}
	}
}

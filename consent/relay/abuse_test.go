package relay_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

func isStatus(err error, status int) bool {
	said, _ := errors.AsType[*relay.StatusError](err)
	return said != nil && said.Status == status
}

// However many mailboxes a client opens, what it may put into them all has an
// end.
func TestOneClientFillsNoDisk(t *testing.T) {
	c := start(t, newLedger(), options(t.TempDir()+"/relay.db")).client(t)
	letter := make([]byte, relay.MaxLetter)
	sent := 0
	for range 5 {
		to := published(t, c).Address()
		for i := range 16 { // fewer than one client may send to one mailbox
			copy(letter, fmt.Sprint(to, i))
			err := c.Send(t.Context(), to, letter)
			if err != nil && !isStatus(err, http.StatusTooManyRequests) {
				t.Fatal(err)
			}
			if err == nil {
				sent++
			}
		}
	}
	if sent != 64 {
		t.Errorf("%d letters of 1 MiB are taken, want 64", sent)
	}
}

// New mailboxes of one client have an end, while those that are there stay its
// own to renew.
func TestOneClientOpensFewMailboxes(t *testing.T) {
	c := start(t, newLedger(), options(t.TempDir()+"/relay.db")).client(t)
	var first *consent.CardDocument
	opened := 0
	for range 210 {
		card := cardOf(t, newKey(t), time.Now())
		if first == nil {
			first = card
		}
		err := c.PutCard(t.Context(), card)
		if err != nil && !isStatus(err, http.StatusTooManyRequests) {
			t.Fatal(err)
		}
		if err == nil {
			opened++
		}
	}
	if opened < 200 || opened > 202 { // a new one each half minute
		t.Errorf("%d cards are taken, want 200", opened)
	}
	if err := c.PutCard(t.Context(), first); err != nil {
		t.Errorf("a card that is there: %v", err)
	}
}

// A card goes half a year after its owner was last seen, and comes back with her.
func TestCardsExpire(t *testing.T) {
	var passed clock
	o := options(t.TempDir() + "/relay.db")
	o.Now = passed.now
	r := start(t, newLedger(), o)
	c := r.client(t)
	gone, reader, publisher, witness := published(t, c), published(t, c), published(t, c), published(t, c)
	cardThere := func(k *wallet.Key) *consent.CardDocument {
		t.Helper()
		card, err := c.Card(t.Context(), k.Address())
		if err != nil {
			t.Fatal(err)
		}
		return card
	}
	open := func(k *wallet.Key) *relay.Mailbox {
		t.Helper()
		box, err := c.Mailbox(t.Context(), k.Address(), domain, proving(k, domain, passed.now()))
		if err != nil {
			t.Fatal(err)
		}
		return box
	}
	again := func() { // which sweeps as it starts
		r.stop()
		r = start(t, newLedger(), o)
		c = r.client(t)
	}
	const day = 24 * time.Hour
	card := cardThere(gone)
	if err := c.Send(t.Context(), witness.Address(), []byte("that it was swept")); err != nil {
		t.Fatal(err)
	}
	passed.Add(int64(100 * day))
	open(reader)
	if err := c.PutCard(t.Context(), cardThere(publisher)); err != nil {
		t.Fatal(err)
	}
	passed.Add(int64(79 * day))
	again()
	until(t, "the old letter has expired", func() bool {
		list, err := open(witness).List(t.Context())
		return err == nil && len(list) == 0
	})
	if cardThere(gone) == nil {
		t.Error("a card is gone after 179 days")
	}
	passed.Add(int64(2 * day))
	again()
	until(t, "the card has expired", func() bool { return cardThere(gone) == nil })
	if cardThere(reader) == nil || cardThere(publisher) == nil {
		t.Error("the card of somebody who was here since is gone")
	}
	if err := c.Send(t.Context(), gone.Address(), []byte("x")); !relay.IsNotFound(err) {
		t.Errorf("a letter to whom it expired for: %v", err)
	}
	if err := c.PutCard(t.Context(), card); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), gone.Address(), []byte("x")); err != nil {
		t.Errorf("after it was published again: %v", err)
	}
}

// What a relay of before kept does not go at once.
func TestCardsOfOldAreKept(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		db, err := database.Open(t.Context(), location, "relay", relay.Schema[:1])
		if err != nil {
			t.Fatal(err)
		}
		k := newKey(t)
		card := cardOf(t, k, time.Now())
		text, err := json.Marshal(card)
		if err != nil {
			t.Fatal(err)
		}
		account := k.Address()
		err = db.Change(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), "INSERT INTO cards (account, time, document) VALUES ($1, $2, $3)", account[:], int64(card.Card.Time), text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		later := func(d time.Duration) *rig {
			o := options(location)
			o.Now = func() time.Time { return time.Now().Add(d) }
			return start(t, newLedger(), o)
		}
		there := func(r *rig) bool {
			card, err := r.client(t).Card(t.Context(), account)
			if err != nil {
				t.Fatal(err)
			}
			return card != nil
		}
		r := later(0)
		until(t, "it was swept", func() bool {
			var used int64
			if err := db.QueryRowContext(t.Context(), "SELECT used FROM cards").Scan(&used); err != nil {
				t.Fatal(err)
			}
			return used > 0
		})
		if !there(r) {
			t.Error("it is gone")
		}
		r.stop()
		r = later(181 * 24 * time.Hour)
		until(t, "the card has expired", func() bool { return !there(r) })
		r.stop()
		db.Close()
	})
}

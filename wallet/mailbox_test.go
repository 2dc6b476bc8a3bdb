package wallet_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// cardBoard is a relay that keeps cards alone.
type cardBoard struct {
	wallet.Relay
	card *consent.CardDocument
	err  error
	puts int
}

func (b *cardBoard) URL() string { return "https://relay.example" }

func (b *cardBoard) Card(context.Context, common.Address) (*consent.CardDocument, error) {
	return b.card, b.err
}

func (b *cardBoard) PutCard(_ context.Context, card *consent.CardDocument) error {
	if b.err == nil {
		b.card = card
		b.puts++
	}
	return b.err
}

// That the card was published is remembered for the one network, whatever
// published it, and of nothing else.
func TestPublished(t *testing.T) {
	w := newWorld(t)
	ctx, patient := t.Context(), w.wallet(nil)
	published := func(by *wallet.Wallet, want bool) {
		t.Helper()
		if got, err := by.Published(ctx); err != nil || got != want {
			t.Fatalf("published: %v, %v", got, err)
		}
	}
	published(patient, false)
	if _, err := patient.Card(ctx, "Patient"); err != nil {
		t.Fatal(err)
	}
	board := &cardBoard{err: errors.New("it is away")}
	if err := patient.Publish(ctx, board); !errors.Is(err, board.err) {
		t.Fatal(err)
	}
	if _, err := patient.Send(ctx, []wallet.Relay{board}, common.Address{7}, new(consent.Letter)); !errors.Is(err, board.err) {
		t.Fatal(err)
	}
	published(patient, false)
	board.err = nil
	for range 2 {
		if err := patient.Publish(ctx, board); err != nil || board.puts != 1 {
			t.Fatal(err, board.puts)
		}
		published(patient, true)
	}
	db, err := sql.Open("sqlite", w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE documents SET sealed = x'00' WHERE rowid = (SELECT max(rowid) FROM documents)"); err != nil {
		t.Fatal(err)
	}
	if got, err := patient.Published(ctx); !errors.Is(err, wallet.ErrDamaged) || got {
		t.Fatalf("where its row is damaged: %v, %v", got, err)
	}
	if err := patient.Publish(ctx, board); err != nil {
		t.Fatal(err)
	}
	published(patient, true)

	elsewhere, other := *patient, w.wallet(nil)
	elsewhere.Domain.ChainID++
	published(&elsewhere, false)
	published(other, false)

	// The same key on another computer, which finds its card there.
	again := *patient
	again.Documents = other.Documents
	card, err := patient.Card(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Meet(ctx, card); err != nil {
		t.Fatal(err)
	}
	published(&again, false)
	if err := again.Publish(ctx, board); err != nil || board.puts != 1 {
		t.Fatal(err, board.puts)
	}
	published(&again, true)

	at := w.relay()
	published(other, false)
	if _, err := other.Collect(ctx, at); err != nil {
		t.Fatal(err)
	}
	published(other, true)
}

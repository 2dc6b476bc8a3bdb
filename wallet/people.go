package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// Kinds of records about people. Both are found like the card of the account.
const (
	kindMet      = "met"      // when a card of the account was first seen
	kindVerified = "verified" // the name that was on the card when its person vouched for it
)

// Person is somebody whose card the wallet has.
type Person struct {
	Account  common.Address
	Name     string // what the key calls itself: foreign text
	Since    uint64 // when a card of it was first seen, unix seconds
	Verified uint64 // when the wallet's person compared the address of a key of this very name; unix seconds, 0: never
}

// met remembers when a card of the account was first seen.
func (w *Wallet) met(ctx context.Context, account common.Address) error {
	return w.Documents.Put(ctx, Record{Kind: kindMet, ID: w.cardID(account), Time: w.now(), Document: account[:]})
}

// Verify remembers that the wallet's person compared the address on a card with
// the one that its owner read to them. It holds for the name on that card: a
// key that changes its name has to be compared again.
func (w *Wallet) Verify(ctx context.Context, account common.Address) error {
	card, err := w.card(ctx, account)
	if err != nil {
		return err
	}
	if card == nil {
		return fmt.Errorf("there is no card of %s: take one in first", account)
	}
	return w.Documents.Renew(ctx, Record{Kind: kindVerified, ID: w.cardID(account), Time: w.now(), Document: []byte(card.Card.Name)})
}

// People lists those whose cards the wallet has on this network, but for its
// own, in the order in which they were met. Where rows of the store are
// damaged, it gives the others and an error that names them.
func (w *Wallet) People(ctx context.Context) ([]Person, error) {
	records, damaged := w.Documents.List(ctx, consent.KindCard)
	if damaged != nil && !errors.Is(damaged, ErrDamaged) {
		return nil, damaged
	}
	var people []Person
	for _, record := range records {
		card, err := consent.ReadCard(bytes.NewReader(record.Document))
		if err != nil {
			return nil, fmt.Errorf("a stored card: %w", err)
		}
		if card.Domain != w.Domain || card.Card.Account == w.Signer.Address() {
			continue
		}
		person := Person{Account: card.Card.Account, Name: card.Card.Name, Since: card.Card.Time}
		met, err := w.Documents.Get(ctx, kindMet, record.ID)
		if err == nil {
			person.Since = met.Time
		} else if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		verified, err := w.Documents.Get(ctx, kindVerified, record.ID)
		if err == nil && string(verified.Document) == person.Name {
			person.Verified = verified.Time
		} else if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		people = append(people, person)
	}
	return people, damaged
}

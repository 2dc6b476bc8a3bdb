package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// kindHolder is the kind of record of where a data holder is reached: a cover
// note of it alone, found like its card. It is sealed like every document, since
// it tells where somebody is a patient.
const kindHolder = "holder"

// AddHolder puts a data holder into the wallet's address book for this network,
// or changes its entry.
func (w *Wallet) AddHolder(ctx context.Context, holder consent.Gateway) error {
	record, err := w.record(kindHolder, w.cardID(holder.Account), consent.Cover{Holders: []consent.Gateway{holder}})
	if err != nil {
		return err
	}
	return w.Documents.Renew(ctx, record)
}

// RemoveHolder takes a data holder out of the address book. The error wraps
// ErrNotFound where it is not in it.
func (w *Wallet) RemoveHolder(ctx context.Context, account common.Address) error {
	err := w.Documents.remove(ctx, kindHolder, w.cardID(account))
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the data holder %s: %w", account, ErrNotFound)
	}
	return err
}

// Holders lists the address book for this network, in the order in which its
// entries came. Where rows of the store are damaged, it gives the others and an
// error that names them.
func (w *Wallet) Holders(ctx context.Context) ([]consent.Gateway, error) {
	records, damaged := w.Documents.List(ctx, kindHolder)
	if damaged != nil && !errors.Is(damaged, ErrDamaged) {
		return nil, damaged
	}
	var holders []consent.Gateway
	for i := range records {
		entry, err := consent.ReadCover(bytes.NewReader(records[i].Document))
		if err != nil {
			return nil, fmt.Errorf("an entry of the address book: %w", err)
		}
		if holder := entry.Holders[0]; w.cardID(holder.Account) == records[i].ID { // on this network
			holders = append(holders, holder)
		}
	}
	return holders, damaged
}

// ErrNoHolder says that nobody told the wallet where a data holder is reached.
var ErrNoHolder = errors.New("it is not in the address book: add it with “assent holder add”")

// Holder gives the entry of the address book for a data holder. The error wraps
// ErrNoHolder where there is none.
func (w *Wallet) Holder(ctx context.Context, account common.Address) (consent.Gateway, error) {
	record, err := w.Documents.Get(ctx, kindHolder, w.cardID(account))
	if errors.Is(err, ErrNotFound) {
		return consent.Gateway{}, fmt.Errorf("the data holder %s: %w", account, ErrNoHolder)
	} else if err != nil {
		return consent.Gateway{}, err
	}
	entry, err := consent.ReadCover(bytes.NewReader(record.Document))
	if err != nil {
		return consent.Gateway{}, fmt.Errorf("an entry of the address book: %w", err)
	}
	return entry.Holders[0], nil
}

// HoldersOf gives the data holders that a grant names, each once; the zero
// address, where it is among them, stands for any.
func HoldersOf(provisions []consent.Opening) []common.Address {
	var named []common.Address
	for i := range provisions {
		if holder := provisions[i].Provision.Holder; !slices.Contains(named, holder) {
			named = append(named, holder)
		}
	}
	return named
}

// Cover gives the cover note of a grant that is to name these data holders. The
// error wraps ErrNoHolder where one is not in the address book.
func (w *Wallet) Cover(ctx context.Context, named []common.Address) (*consent.Cover, error) {
	note := &consent.Cover{}
	for _, account := range named {
		if account == (common.Address{}) {
			continue
		}
		holder, err := w.Holder(ctx, account)
		if err != nil {
			return nil, err
		}
		note.Holders = append(note.Holders, holder)
	}
	if len(note.Holders) == 0 {
		return nil, errors.New("the grant names no data holder, so there is none to say where it is reached: name one with --holder")
	}
	return note, nil
}

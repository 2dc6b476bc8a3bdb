package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// Kinds of records about requests beside consent.KindRequest, which is of those
// that were answered with a grant.
const (
	kindInbox  = "inbox"  // a request as it came in
	kindDenial = "denial" // the same, where it was denied
)

// Waiting is a request that nobody answered yet.
type Waiting struct {
	Document *consent.RequestDocument
	ID       common.Hash // its EIP-712 digest
	Since    uint64      // when it came in, unix seconds
	First    bool        // no other request of this key came in before it
}

// DeniedError says that a request was denied before.
type DeniedError struct{ At uint64 } // unix seconds

func (e *DeniedError) Error() string {
	return fmt.Sprintf("you denied this request on %s: ask whoever sent it for a new one",
		time.Unix(int64(e.At), 0).UTC().Format("2 January 2006, 15:04 UTC"))
}

// Take receives a request (see Receive) and keeps it until it is answered. One
// that waits already stays as it is. The error is a *DeniedError where it was
// denied before.
func (w *Wallet) Take(ctx context.Context, request *consent.RequestDocument) (common.Hash, error) {
	id := request.Request.Digest(request.Domain)
	denial, err := w.Documents.Get(ctx, kindDenial, id)
	if err == nil {
		return id, &DeniedError{denial.Time}
	} else if !errors.Is(err, ErrNotFound) {
		return id, err
	}
	if err := w.Receive(ctx, request); err != nil {
		return id, err
	}
	record, err := w.record(kindInbox, id, request)
	if err != nil {
		return id, err
	}
	// The signature of the same request may have been made twice.
	if err := w.Documents.Put(ctx, record); err != nil && !errors.Is(err, ErrConflict) {
		return id, err
	}
	return id, nil
}

// Deny answers a request with no, for this wallet alone: nothing is signed and
// nobody is told. A request that a grant answered cannot be denied.
func (w *Wallet) Deny(ctx context.Context, request *consent.RequestDocument) error {
	answer, err := w.answer(ctx, request)
	if err != nil {
		return err
	}
	if answer != nil {
		return &AnsweredError{answer}
	}
	record, err := w.record(kindDenial, request.Request.Digest(request.Domain), request)
	if err != nil {
		return err
	}
	err = w.Documents.Put(ctx, record)
	if errors.Is(err, ErrConflict) {
		return nil // denied before
	}
	return err
}

// Waiting lists the requests on this network that came in and were neither
// answered nor denied, oldest first. Where rows of the store are damaged, it
// gives the others and an error that names them.
func (w *Wallet) Waiting(ctx context.Context) ([]Waiting, error) {
	records, damaged := w.Documents.List(ctx, kindInbox)
	if damaged != nil && !errors.Is(damaged, ErrDamaged) {
		return nil, damaged
	}
	asked := make(map[common.Address]bool)
	var waiting []Waiting
	for _, record := range records {
		request, err := consent.ReadRequest(bytes.NewReader(record.Document))
		if err != nil {
			return nil, fmt.Errorf("the stored request %s: %w", record.ID, err)
		}
		if request.Domain != w.Domain {
			continue
		}
		first := !asked[request.Request.Requester]
		asked[request.Request.Requester] = true
		open, err := w.open(ctx, record.ID)
		if err != nil {
			return nil, err
		}
		if open {
			waiting = append(waiting, Waiting{request, record.ID, record.Time, first})
		}
	}
	return waiting, damaged
}

// open tells whether a request was neither answered nor denied.
func (w *Wallet) open(ctx context.Context, id common.Hash) (bool, error) {
	for _, kind := range []string{consent.KindRequest, kindDenial} {
		_, err := w.Documents.Get(ctx, kind, id)
		if err == nil {
			return false, nil
		} else if !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

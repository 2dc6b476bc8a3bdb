package wallet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// aged is a relay whose letters came a day earlier than it is.
type aged struct{ post }

func (a aged) Mailbox(ctx context.Context, account common.Address, domain consent.Domain, prove wallet.Prove) (wallet.Mailbox, error) {
	box, err := a.post.Mailbox(ctx, account, domain, prove)
	return agedBox{box}, err
}

type agedBox struct{ wallet.Mailbox }

func (a agedBox) Letters(ctx context.Context) ([]wallet.Sealed, error) {
	letters, err := a.Mailbox.Letters(ctx)
	for i := range letters {
		letters[i].Received -= 25 * 60 * 60
	}
	return letters, err
}

// unread is a chain that cannot be read, after it was some times.
type unread struct {
	wallet.Registry
	times *int
}

func (u unread) Read(ctx context.Context, need consent.Entries) (consent.State, error) {
	if *u.times--; *u.times < 0 {
		return consent.State{}, errCut
	}
	return u.Registry.Read(ctx, need)
}

// What counts a minute later is not refused, nor lost: not the request of
// somebody whose clock is fast, and not a letter that lay there for long while
// the chain is away.
func TestLettersThatWait(t *testing.T) {
	w := newWorld(t)
	ctx, at := t.Context(), w.relay()
	patient, clinic, study := w.wallet(nil), w.wallet(nil), w.wallet(nil)
	if _, err := patient.Collect(ctx, at); err != nil {
		t.Fatal(err)
	}
	if _, err := clinic.Card(ctx, "Clinic"); err != nil {
		t.Fatal(err)
	}
	clinic.Now = func() time.Time { return time.Now().Add(6 * time.Minute) }
	study.Now = clinic.Now
	send := func(letter *consent.Letter) {
		t.Helper()
		if _, err := clinic.Send(ctx, []wallet.Relay{at}, patient.Signer.Address(), letter); err != nil {
			t.Fatal(err)
		}
	}
	request, err := clinic.Request(ctx, consent.Request{
		Patient: patient.Signer.Address(), Scopes: []consent.Scope{w.scope("patient/Observation.rs")}, Holders: []common.Address{{}},
		Expires: uint64(time.Now().Unix()) + 3600,
	})
	if err != nil {
		t.Fatal(err)
	}
	card, err := study.Card(ctx, "Study")
	if err != nil {
		t.Fatal(err)
	}
	send(&consent.Letter{Requests: []consent.RequestDocument{*request}})
	send(&consent.Letter{Cards: []consent.CardDocument{*card}})
	waits := func(err error) bool {
		_, is := errors.AsType[*wallet.UndecidedError](err)
		return is
	}
	if received, err := patient.Collect(ctx, at); !waits(err) || !errors.Is(err, consent.ErrAhead) || len(received) != 0 {
		t.Fatalf("six minutes ahead: %+v, %v", received, err)
	}
	// What waits hides nothing that failed beside it.
	read := 0
	first := func(wallet.Mailbox, string) error {
		if read++; read == 1 {
			return errCut
		}
		return nil
	}
	if _, err := patient.Collect(ctx, meddled{at, first}); waits(err) || !errors.Is(err, consent.ErrAhead) || !errors.Is(err, errCut) {
		t.Errorf("beside a letter that cannot be fetched: %v", err)
	}
	chain := patient.Registry
	patient.Registry = unread{chain, new(1)}
	if _, err := patient.Collect(ctx, at); waits(err) || !errors.Is(err, consent.ErrAhead) || !errors.Is(err, errCut) {
		t.Errorf("while the chain goes away: %v", err)
	}
	patient.Registry = unread{chain, new(0)}
	if received, err := patient.Collect(ctx, aged{at}); !errors.Is(err, errCut) || len(received) != 0 {
		t.Fatalf("while the chain is away: %+v, %v", received, err)
	}
	patient.Registry = chain
	patient.Now = func() time.Time { return time.Now().Add(2 * time.Minute) } // as far as the relay believes it
	received, err := patient.Collect(ctx, at)
	if err != nil || len(received) != 2 || received[0].Err != nil || received[1].Err != nil {
		t.Errorf("two minutes later: %+v, %v", received, err)
	}
	patient.Now = time.Now

	// What lay there for a day and still cannot count is given up.
	study.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if card, err = study.Card(ctx, "Study of tomorrow"); err != nil {
		t.Fatal(err)
	}
	send(&consent.Letter{Cards: []consent.CardDocument{*card}})
	if received, err = patient.Collect(ctx, aged{at}); err != nil || len(received) != 1 || !errors.Is(received[0].Err, consent.ErrAhead) {
		t.Errorf("a day later: %+v, %v", received, err)
	}
}

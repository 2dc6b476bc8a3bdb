package wallet_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// A broken document of a grant has the id of the whole one, and neither keeps it
// out of the store nor takes its place.
func TestBrokenCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	patient, clinic := w.wallet(nil), w.wallet(nil)
	draft := w.draft(clinic.Signer.Address(), "patient/Observation.rs")
	draft.Provisions = wallet.Provide([]consent.Scope{w.scope("patient/Observation.rs"), w.scope("patient/Condition.rs")}, []common.Address{{7}})
	whole, err := patient.Grant(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	copied := func(damage func(*consent.GrantDocument)) *consent.GrantDocument {
		d := *whole
		d.Signature = slices.Clone(whole.Signature)
		damage(&d)
		return &d
	}
	unanchored := copied(func(d *consent.GrantDocument) { d.AnchorProof, d.Signature[7] = []common.Hash{{1}}, d.Signature[7]^1 })
	unsigned := copied(func(d *consent.GrantDocument) { d.Signature[7] ^= 1 })
	narrow := copied(func(d *consent.GrantDocument) { d.Provisions = d.Provisions[:1] })

	access := func(d *consent.GrantDocument) error {
		_, err := clinic.Access(ctx, d, common.Address{7}, []consent.Scope{w.scope("patient/Observation.rs")}, common.Hash{})
		return err
	}
	stored := func(want *consent.GrantDocument) {
		t.Helper()
		found, err := clinic.Find(ctx, whole.ID().Hex())
		switch {
		case want == nil && !errors.Is(err, wallet.ErrNotFound):
			t.Errorf("stored is %+v, %v", found, err)
		case want != nil && (err != nil || !bytes.Equal(mustJSON(found), mustJSON(want))):
			t.Errorf("stored is %+v, %v, want %+v", found, err, want)
		}
	}
	// What is not anchored may be so soon, and can be used by then; it is not kept.
	if err := access(unanchored); err != nil {
		t.Error(err)
	}
	stored(nil)
	if err := access(unsigned); err == nil {
		t.Error("what is not signed is used")
	}
	stored(nil)

	// However a broken one came into the store, the whole one takes its place.
	for _, broken := range []*consent.GrantDocument{unanchored, unsigned} {
		clinic := w.wallet(nil)
		draft := *draft
		draft.Grantee = clinic.Signer.Address()
		whole, err := patient.Grant(ctx, &draft)
		if err != nil {
			t.Fatal(err)
		}
		copied := *whole
		copied.AnchorProof, copied.Signature = broken.AnchorProof, broken.Signature
		if err := clinic.Documents.Put(ctx, wallet.Record{Kind: consent.KindGrant, ID: whole.ID(), State: wallet.Anchored, Document: mustJSON(&copied)}); err != nil {
			t.Fatal(err)
		}
		if _, err := clinic.Access(ctx, whole, common.Address{7}, []consent.Scope{w.scope("patient/Condition.rs")}, common.Hash{}); err != nil {
			t.Fatal(err)
		}
		grants, err := clinic.Grants(ctx)
		if err != nil || len(grants) != 1 || grants[0].Verdict.Outcome != consent.Permit || grants[0].State != wallet.Anchored {
			t.Errorf("%+v, %v", grants, err)
		}
	}
	if err := access(narrow); err != nil {
		t.Error(err)
	}
	stored(narrow)
	if err := access(whole); err != nil {
		t.Error(err)
	}
	stored(narrow)

	// Before a grant begins its signature is looked at as well.
	draft.NotBefore += 600
	later, err := patient.Grant(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	if err := access(later); err != nil {
		t.Error(err)
	}
	forged := *later
	forged.Signature = unsigned.Signature
	if err := access(&forged); err == nil {
		t.Error("what begins later and is not signed is used")
	}
}

// By letter as well, a broken copy does not keep the whole one out.
func TestBrokenCopyByLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, at := t.Context(), w.relay()
	patient, clinic := w.wallet(nil), w.wallet(nil)
	if _, err := clinic.Collect(ctx, at); err != nil {
		t.Fatal(err)
	}
	draft := w.draft(clinic.Signer.Address(), "patient/Observation.rs")
	draft.NotBefore = uint64(time.Now().Unix()) + 600
	whole, err := patient.Grant(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	forged := *whole
	forged.Signature = slices.Clone(whole.Signature)
	forged.Signature[7] ^= 1
	collect := func(d *consent.GrantDocument) wallet.Received {
		t.Helper()
		if _, err := patient.Send(ctx, []wallet.Relay{at}, clinic.Signer.Address(), &consent.Letter{Grants: []consent.GrantDocument{*d}}); err != nil {
			t.Fatal(err)
		}
		received, err := clinic.Collect(ctx, at)
		if err != nil || len(received) != 1 {
			t.Fatalf("%+v, %v", received, err)
		}
		return received[0]
	}
	if r := collect(&forged); r.Err == nil {
		t.Error("a grant that nobody signed is taken before it begins")
	}
	if r := collect(whole); r.Err != nil {
		t.Error(r.Err)
	}
	if found, err := clinic.Find(ctx, whole.ID().Hex()); err != nil || !bytes.Equal(mustJSON(found), mustJSON(whole)) {
		t.Errorf("%+v, %v", found, err)
	}
}

package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assent-wallet/assent/consent"
	"github.com/ethereum/go-ethereum/common"
)

// AnsweredError says that a request was answered before, and by which grant.
type AnsweredError struct{ Grant *consent.GrantDocument }

func (e *AnsweredError) Error() string {
	return "the request was answered before, by the grant " + e.Grant.ID().Hex()
}

// Receive takes a request in: it checks that it counts, and keeps it and its
// card. The error is an *AnsweredError where it was answered before.
func (w *Wallet) Receive(ctx context.Context, request *consent.RequestDocument) error {
	answer, err := w.answer(ctx, request)
	if err != nil {
		return err
	}
	if answer != nil {
		return &AnsweredError{answer}
	}
	reception, err := w.reception(ctx, request.Entries(), request.Request.Requester)
	if err != nil {
		return err
	}
	if err := request.Counts(reception); err != nil {
		return refused(err)
	}
	return w.keepCard(ctx, &request.Card)
}

// Meet takes a card in: it checks that it is to be taken, and keeps it.
func (w *Wallet) Meet(ctx context.Context, card *consent.CardDocument) error {
	reception, err := w.reception(ctx, card.Entries(), card.Card.Account)
	if err != nil {
		return err
	}
	if err := card.Accept(reception); err != nil {
		return refused(err)
	}
	return w.keepCard(ctx, card)
}

// refused tells a refusal that stays from one that passes.
func refused(why error) error {
	if errors.Is(why, consent.ErrAhead) {
		return &UndecidedError{why}
	}
	return &RefusedError{why}
}

func (w *Wallet) reception(ctx context.Context, need consent.Entries, account common.Address) (consent.Reception, error) {
	r := consent.Reception{Domain: w.Domain, Account: w.Signer.Address(), Now: w.now()}
	known, err := w.card(ctx, account)
	if err != nil {
		return r, err
	}
	if known != nil {
		r.NewestCard = known.Card.Time
	}
	r.State, err = w.Registry.Read(ctx, need)
	return r, err
}

// Grant signs the draft, stores it, posts it and waits until it is anchored.
// Where an error comes after signing, the grant is in the store, and Resume
// goes on with it; but where the error is an *AnsweredError, the request was
// answered by another one meanwhile, and nothing is kept of this one.
func (w *Wallet) Grant(ctx context.Context, d *Draft) (*consent.GrantDocument, error) {
	document, err := w.Sign(ctx, d)
	if err != nil {
		return nil, err
	}
	return document, w.Post(ctx, document)
}

// Sign signs a draft and stores the grant: the first half of Grant, with its
// errors.
func (w *Wallet) Sign(ctx context.Context, d *Draft) (*consent.GrantDocument, error) {
	if err := d.Check(w.Signer.Address(), w.now()); err != nil {
		return nil, err
	}
	epochs, err := w.epochs(ctx, d.Grantee)
	if err != nil {
		return nil, err
	}
	document, err := w.Signer.SignGrant(w.Domain, *d.grant(), d.Provisions, d.parents(), epochs)
	if err != nil {
		return nil, err
	}
	record, err := w.record(consent.KindGrant, document.ID(), document)
	if err != nil {
		return nil, err
	}
	record.State, record.Given = Signed, true
	if d.Answers == nil {
		return document, w.Documents.Put(ctx, record)
	}
	answered, err := w.record(consent.KindRequest, d.Answers.Request.Digest(d.Answers.Domain), d.Answers)
	if err != nil {
		return nil, err
	}
	answered.Answer = record.ID
	err = w.Documents.Put(ctx, record, answered)
	if errors.Is(err, ErrConflict) { // somebody answered it since it was received
		first, failed := w.answer(ctx, d.Answers)
		if failed == nil && first != nil {
			err = &AnsweredError{first}
		}
	}
	return document, err
}

// Post anchors a grant that is stored and waits until it is confirmed: the other
// half of Grant. Resume does it where it never came to that. Where a relay
// anchored it together with others, the document's anchor proof grows by the
// siblings, here and in the store.
func (w *Wallet) Post(ctx context.Context, d *consent.GrantDocument) error {
	id := d.ID()
	if err := w.Documents.SetState(ctx, consent.KindGrant, id, Posted); err != nil {
		return err
	}
	siblings, err := w.Registry.Anchor(ctx, d.Root())
	if err != nil {
		return fmt.Errorf("the grant is signed and kept, and not anchored yet: %w", err)
	}
	if len(siblings) == 0 {
		return w.Documents.SetState(ctx, consent.KindGrant, id, Anchored)
	}
	// The root of the longer proof is on chain, and would have no siblings when the
	// document is posted again: it grows when the store has them.
	whole := *d
	whole.AnchorProof = slices.Concat(d.AnchorProof, siblings)
	text, err := whole.MarshalJSON()
	if err != nil {
		return err
	}
	if err := w.Documents.Change(ctx, consent.KindGrant, id, func(r *Record) error {
		r.Document, r.State = text, Anchored
		return nil
	}); err != nil {
		return err
	}
	d.AnchorProof = whole.AnchorProof
	return nil
}

// Resume posts the grants that were signed and never seen anchored, unless they
// ended meanwhile, and gives how many it posted.
func (w *Wallet) Resume(ctx context.Context) (int, error) {
	// What is damaged is Grants' to tell: it keeps nobody from going on.
	records, err := w.Documents.List(ctx, consent.KindGrant)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return 0, err
	}
	posted := 0
	for _, record := range records {
		if !record.Given || record.State != Signed && record.State != Posted {
			continue
		}
		document, err := readStored(&record)
		if err != nil {
			return posted, err
		}
		if document.Domain != w.Domain || document.Grant.Expires <= w.now() {
			continue
		}
		if err := w.Post(ctx, document); err != nil {
			return posted, err
		}
		posted++
	}
	return posted, nil
}

// answer gives the grant that answered the request, or nil where none did.
func (w *Wallet) answer(ctx context.Context, request *consent.RequestDocument) (*consent.GrantDocument, error) {
	record, err := w.Documents.Get(ctx, consent.KindRequest, request.Request.Digest(request.Domain))
	if errors.Is(err, ErrNotFound) || err == nil && record.Answer == (common.Hash{}) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	answer, err := w.Documents.Get(ctx, consent.KindGrant, record.Answer)
	if err != nil {
		return nil, err
	}
	return consent.ReadGrant(bytes.NewReader(answer.Document))
}

// Standing is a grant in the wallet with what the chain says of it.
type Standing struct {
	Document *consent.GrantDocument
	Given    bool // by this wallet; else received
	State    State
	Time     uint64 // when it was stored, unix seconds
	Verdict  consent.Verdict
}

// Grants lists the grants given and received on this network, oldest first,
// each with the verdict on it at this moment. Where rows of the store are
// damaged, it gives the others and an error that names them.
func (w *Wallet) Grants(ctx context.Context) ([]Standing, error) {
	grants, damaged := w.stored(ctx)
	examinations := make([]*consent.Examination, len(grants))
	err := eachOf(ctx, len(grants), func(i int) error {
		examinations[i] = consent.ExamineGrant(grants[i].Document)
		return nil
	})
	if err != nil {
		return nil, err
	}
	state, err := w.read(ctx, examinations)
	if err != nil {
		return nil, err
	}
	for i := range grants {
		if grants[i].Verdict, err = examinations[i].Decide(state, w.now()); err != nil {
			return nil, err
		}
	}
	return grants, damaged
}

// readAtOnce is how many entries are read at once: a node answers for so many in
// time.
const readAtOnce = 4000

// read reads what all the examinations need: at once, so that they are decided on
// one block, unless it is too much for that. Then the state is of the first of
// the blocks. An entry is never taken back, so that what a later one had was
// there as well or came since, as if these grants had been asked about later.
func (w *Wallet) read(ctx context.Context, examinations []*consent.Examination) (consent.State, error) {
	var need consent.Entries
	for _, e := range examinations {
		entries := e.Entries()
		need.Anchors = append(need.Anchors, entries.Anchors...)
		need.Revocations = append(need.Revocations, entries.Revocations...)
		need.Accounts = append(need.Accounts, entries.Accounts...)
		need.Signatures = append(need.Signatures, entries.Signatures...)
	}
	need.Anchors, need.Revocations, need.Accounts = once(need.Anchors), once(need.Revocations), once(need.Accounts)
	if len(need.Anchors)+len(need.Revocations)+len(need.Accounts)+len(need.Signatures) <= readAtOnce {
		return w.Registry.Read(ctx, need)
	}
	var pieces []consent.Entries
	for some := range slices.Chunk(need.Anchors, readAtOnce) {
		pieces = append(pieces, consent.Entries{Anchors: some})
	}
	for some := range slices.Chunk(need.Revocations, readAtOnce) {
		pieces = append(pieces, consent.Entries{Revocations: some})
	}
	for some := range slices.Chunk(need.Accounts, readAtOnce) {
		pieces = append(pieces, consent.Entries{Accounts: some})
	}
	for some := range slices.Chunk(need.Signatures, readAtOnce) {
		pieces = append(pieces, consent.Entries{Signatures: some})
	}
	state, err := w.Registry.Read(ctx, pieces[0])
	for i := 1; i < len(pieces) && err == nil; i++ {
		var more consent.State
		more, err = w.Registry.Read(ctx, pieces[i])
		maps.Copy(state.Anchored, more.Anchored)
		maps.Copy(state.Revoked, more.Revoked)
		maps.Copy(state.Retired, more.Retired)
		maps.Copy(state.Signed, more.Signed)
	}
	return state, err
}

// once leaves each entry once.
func once[T interface {
	comparable
	Cmp(T) int
}](entries []T) []T {
	slices.SortFunc(entries, T.Cmp)
	return slices.Compact(entries)
}

// ErrAmbiguous says that several grants begin as the id that was given.
var ErrAmbiguous = errors.New("several grants begin like that: give more of the id")

// Find gives the grant whose id begins with prefix, hexadecimal with 0x.
func (w *Wallet) Find(ctx context.Context, prefix string) (*consent.GrantDocument, error) {
	if len(prefix) == 2+2*common.HashLength {
		record, err := w.Documents.Get(ctx, consent.KindGrant, common.HexToHash(prefix))
		if err != nil {
			return nil, err
		}
		if document, err := readStored(&record); err != nil || document.Domain == w.Domain {
			return document, err
		}
		return nil, fmt.Errorf("the grant %s: %w", prefix, ErrNotFound)
	}
	records, err := w.Documents.List(ctx, consent.KindGrant)
	var found *consent.GrantDocument
	for _, record := range records {
		if !strings.HasPrefix(record.ID.Hex(), prefix) {
			continue
		}
		document, err := readStored(&record)
		if err != nil {
			return nil, err
		}
		if document.Domain != w.Domain {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("the grant %s: %w", prefix, ErrAmbiguous)
		}
		found = document
	}
	if found == nil {
		return nil, errors.Join(fmt.Errorf("the grant %s: %w", prefix, ErrNotFound), err)
	}
	return found, nil
}

// Judge decides whether a grant counts now, by itself, without an access.
func (w *Wallet) Judge(ctx context.Context, d *consent.GrantDocument) (consent.Verdict, consent.State, error) {
	return w.judge(ctx, d, w.now())
}

func (w *Wallet) judge(ctx context.Context, d *consent.GrantDocument, at uint64) (consent.Verdict, consent.State, error) {
	examination := consent.ExamineGrant(d)
	state, err := w.Registry.Read(ctx, examination.Entries())
	if err != nil {
		return consent.Verdict{}, state, err
	}
	verdict, err := examination.Decide(state, at)
	return verdict, state, err
}

// appraise judges a grant that somebody gave as of the first moment from now on
// at which it may count: before that, nobody looks at its signature (row 6 of
// section 7). Where the outcome is Permit, the document is whole.
func (w *Wallet) appraise(ctx context.Context, d *consent.GrantDocument) (consent.Verdict, error) {
	at := max(w.now(), d.Grant.NotBefore)
	for i := range d.Parents {
		at = max(at, d.Parents[i].Grant.NotBefore)
	}
	verdict, _, err := w.judge(ctx, d, at)
	return verdict, err
}

func (w *Wallet) stored(ctx context.Context) ([]Standing, error) {
	records, damaged := w.Documents.List(ctx, consent.KindGrant)
	documents := make([]*consent.GrantDocument, len(records))
	err := eachOf(ctx, len(records), func(i int) (err error) {
		documents[i], err = readStored(&records[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	var grants []Standing
	for i, document := range documents {
		if document.Domain == w.Domain {
			grants = append(grants, standing(&records[i], document))
		}
	}
	return grants, damaged
}

func readStored(r *Record) (*consent.GrantDocument, error) {
	document, err := consent.ReadGrant(bytes.NewReader(r.Document))
	if err != nil {
		return nil, fmt.Errorf("the stored grant %s: %w", r.ID, err)
	}
	return document, nil
}

func standing(r *Record, d *consent.GrantDocument) Standing {
	return Standing{Document: d, Given: r.Given, State: r.State, Time: r.Time}
}

// keepReceived keeps a grant that somebody gave to this wallet. Of two documents
// of one grant the first stays, which may open other provisions; but one that is
// whole (see appraise) takes the place of one that is not.
func (w *Wallet) keepReceived(ctx context.Context, d *consent.GrantDocument, whole bool) error {
	record, err := w.record(consent.KindGrant, d.ID(), d)
	if err != nil {
		return err
	}
	record.State = Anchored
	err = w.Documents.Put(ctx, record)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	if !whole {
		return nil
	}
	there, err := w.Documents.Get(ctx, consent.KindGrant, record.ID)
	if err != nil {
		return err
	}
	first, err := readStored(&there)
	if err != nil {
		return err
	}
	if verdict, err := w.appraise(ctx, first); err != nil || verdict.Outcome == consent.Permit {
		return err
	}
	return w.Documents.Change(ctx, consent.KindGrant, record.ID, func(r *Record) error {
		if bytes.Equal(r.Document, there.Document) {
			r.Document = record.Document
		}
		return nil
	})
}

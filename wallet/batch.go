package wallet

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// MaxReference is the most bytes that the reference of a row may have.
const MaxReference = 64

// Position is where something stands in the file of a batch.
type Position struct {
	Line   int `json:"line"`   // the first is 1
	Column int `json:"column"` // in characters; the first is 1
}

// Problem is why a row of a batch cannot be given.
type Problem struct {
	Position
	Field string `json:"field"` // empty: the row as a whole
	Text  string `json:"problem"`
}

// BatchRow is one row of the file of a batch.
type BatchRow struct {
	Position  Position          // where its reference stands
	Reference string            // what names it, to whoever made the file
	Content   [sha256.Size]byte // the hash of what it says, as it is written
	Draft     *Draft            // nil where there are problems
	Problems  []Problem
}

// BatchRows reads the file of a batch from its beginning. It hands chunks of n
// rows to put in their order, each as a function that works them out, which may
// be called at any time and by any goroutine.
type BatchRows func(ctx context.Context, put func(n int, rows func() []BatchRow) error) error

// BatchID gives the id of the batch that a file makes: its SHA-256.
func BatchID(file io.Reader) (id common.Hash, err error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return id, fmt.Errorf("read the batch: %w", err)
	}
	return common.Hash(hash.Sum(nil)), nil
}

// What may be wrong with a batch as a whole.
var (
	ErrBatchBusy    = errors.New("another process works on a batch of this computer: try again when it is done")
	ErrBatchRevoked = errors.New("this batch was taken back: what it gave does not count any more; a row that is given again needs a reference of its own")
	ErrBatchChanged = errors.New("the file does not say any more what it said: nothing was given of it; begin again")
)

// Phases of a batch, in their order. Before the first one nothing is known of it
// but by the process that works on it, and nothing was signed.
const (
	batchPosted   = "posted"   // its root is on its way to the chain
	batchAnchored = "anchored" // its root was seen on chain
	batchStored   = "stored"   // each of its grants is in the store
)

const kindBatch = "batch"

// journal is what has to be kept of a batch so that whatever was cut off comes
// out the same: all else follows from it, from the file and from the key.
type journal struct {
	Phase    string                    `json:"phase"`
	Batch    common.Hash               `json:"batch"`
	Time     uint64                    `json:"time"` // the now of its rows, unix seconds
	Grants   int                       `json:"grants"`
	Names    consent.Names             `json:"names"`    // of the cards that its rows may name
	All      uint64                    `json:"all"`      // epoch of the switch for everything
	Grantees map[common.Address]uint64 `json:"grantees"` // epochs of the switches for grantees, but for 0
	Root     common.Hash               `json:"root"`
	Siblings []common.Hash             `json:"siblings"` // see Registry.Anchor
}

// Batch is a file of many grants that this wallet gives. One process works on
// one at a time.
type Batch struct {
	ID common.Hash
	// Time is the now that its rows count from, unix seconds, and Names the cards
	// that they may name: those of the moment in which it was first given.
	Time  uint64
	Names consent.Names
	// Finished tells that all of it was given before. Begun tells that it was
	// agreed to before and cut off, so that there is nothing to ask any more.
	Finished, Begun bool

	wallet  *Wallet
	read    BatchRows
	unlock  func()
	journal journal
	others  map[macOf]other // by the keyed hash of their ids
	leaf    []int32         // of each row its leaf in the tree; -1: another batch gave it before
	fresh   int             // rows that no other gave
}

// other is another batch of this wallet.
type other struct {
	id      common.Hash
	phase   string
	revoked bool // as a whole; not known before Check
}

// OpenBatch opens the batch with this id (see BatchID), whose rows read reads;
// read is called again for each pass over the file.
func (w *Wallet) OpenBatch(ctx context.Context, id common.Hash, read func(*Batch) BatchRows) (*Batch, error) {
	unlock, err := lock(ctx, w.Documents.store.path+".batch", time.Second)
	if errors.Is(err, errLocked) {
		return nil, ErrBatchBusy
	} else if err != nil {
		return nil, err
	}
	b := &Batch{ID: id, Time: w.now(), wallet: w, unlock: unlock, others: make(map[macOf]other)}
	if err := b.open(ctx); err != nil {
		unlock()
		return nil, err
	}
	b.read = read(b)
	return b, nil
}

// Close ends the work on the batch.
func (b *Batch) Close() { b.unlock() }

func (b *Batch) open(ctx context.Context) (err error) {
	w := b.wallet
	journals, err := w.journals(ctx)
	if err != nil {
		return err
	}
	for _, j := range journals {
		if j.Batch != b.ID {
			b.others[w.batchMAC(j.Batch)] = other{id: j.Batch, phase: j.Phase}
			continue
		}
		b.journal, b.Time, b.Names = j, j.Time, j.Names
		b.Finished = j.Phase == batchStored
		b.Begun = !b.Finished
		return nil
	}
	b.Names, err = w.Names(ctx)
	return err
}

// journals gives the journals of the batches on this network.
func (w *Wallet) journals(ctx context.Context) ([]journal, error) {
	records, err := w.Documents.List(ctx, kindBatch)
	if err != nil {
		return nil, err
	}
	var journals []journal
	for _, record := range records {
		var j journal
		if err := json.Unmarshal(record.Document, &j); err != nil {
			return nil, fmt.Errorf("the stored journal of a batch: %w", err)
		}
		if record.ID == w.journalID(j.Batch) {
			journals = append(journals, j)
		}
	}
	return journals, nil
}

func (w *Wallet) journalID(batch common.Hash) common.Hash {
	separator := w.Domain.Separator()
	return sha256.Sum256(append(separator[:], batch[:]...))
}

// BatchStage is a part of the work on a batch.
type BatchStage string

// The stages of a batch, in their order.
const (
	BatchChecked  BatchStage = "checked"
	BatchPrepared BatchStage = "prepared" // its ids are in the tree
	BatchAnchored BatchStage = "anchored"
	BatchSigned   BatchStage = "signed and stored"
)

// BatchCheck is what a file of a batch comes to.
type BatchCheck struct {
	Rows     int
	Problems int             // none: it can be given
	Given    int             // rows that an earlier batch gave, word by word
	Summary  consent.Summary // of all other rows
}

// Check reads the whole file, tells every problem of every row in the order of
// the file, and what it would give. It signs nothing.
func (b *Batch) Check(ctx context.Context, problem func(Problem), progress func(BatchStage, int)) (*BatchCheck, error) {
	w := b.wallet
	if err := b.revoked(ctx); err != nil {
		return nil, err
	}
	lookup, err := w.Documents.lookup(ctx)
	if err != nil {
		return nil, err
	}
	defer lookup.close()
	check := new(BatchCheck)
	seen := make(map[macOf]int32) // lines
	b.leaf, b.fresh = nil, 0
	report := func(p Problem) {
		check.Problems++
		problem(p)
	}
	type row struct {
		BatchRow
		mac     macOf
		risks   []consent.Risk
		given   bool            // by an earlier batch
		refused *referenceError // nil: none
	}
	work := func(_ int, rows []BatchRow) ([]row, error) {
		checked := make([]row, len(rows))
		for i := range rows {
			r := &checked[i]
			r.BatchRow = rows[i]
			if r.Reference != "" {
				r.mac = w.referenceMAC(r.Reference)
			}
			if r.Draft == nil {
				continue
			}
			if err := r.Draft.Check(w.Signer.Address(), b.Time); err != nil {
				r.Problems = append(r.Problems, Problem{Position: r.Position, Text: err.Error()})
			}
			r.risks = r.Draft.Risks(false)
			if r.Reference == "" {
				continue
			}
			var err error
			r.given, err = b.before(ctx, lookup, &r.BatchRow, r.mac)
			var ok bool
			if r.refused, ok = errors.AsType[*referenceError](err); err != nil && !ok {
				return nil, err
			}
		}
		return checked, nil
	}
	take := func(rows []row) error {
		for i := range rows {
			r := &rows[i]
			check.Rows++
			b.leaf = append(b.leaf, -1)
			for _, p := range r.Problems {
				report(p)
			}
			if r.Reference == "" {
				continue
			}
			if line, twice := seen[r.mac]; twice {
				report(Problem{r.Position, "reference", fmt.Sprintf("line %d has the same reference %s", line, consent.Quote(r.Reference))})
				continue
			}
			seen[r.mac] = int32(r.Position.Line)
			if r.Draft == nil {
				continue
			}
			if r.refused != nil {
				report(Problem{r.Position, "reference", r.refused.Error()})
			}
			if r.given {
				check.Given++
				continue
			}
			b.leaf[len(b.leaf)-1] = int32(check.Summary.Grants)
			check.Summary.Add(r.Draft.grant(), r.Draft.openings(), r.risks)
		}
		progress(BatchChecked, check.Rows)
		return nil
	}
	if err := eachChunk(ctx, b.read, work, take); err != nil {
		return nil, err
	}
	if check.Problems > 0 {
		return check, nil
	}
	b.fresh = check.Summary.Grants
	if b.fresh > 0 && b.journal.Phase == "" {
		return check, b.meet(ctx, &check.Summary)
	}
	return check, nil
}

// referenceError is a reference that stands for something else already.
type referenceError struct{ text string }

func (e *referenceError) Error() string { return e.text }

// before tells whether an earlier batch gave the row, word by word. It refuses
// one whose grant has ended, in whichever batch: what is given counts.
func (b *Batch) before(ctx context.Context, lookup *lookup, r *BatchRow, reference macOf) (bool, error) {
	entry, err := lookup.find(ctx, reference)
	if err != nil || entry == nil {
		return false, err
	}
	w := b.wallet
	own, other := entry.batch == w.batchMAC(b.ID), b.others[entry.batch]
	switch {
	case entry.content != w.Documents.contentMAC(reference, entry.batch, entry.grant, r.Content):
		return false, &referenceError{fmt.Sprintf("the reference %s was given before and said something else: take that grant back and give this one under another reference", consent.Quote(r.Reference))}
	case own && !b.Finished:
		return false, nil // its grant may not be in the store yet
	case !own && other.phase != batchStored:
		return false, &referenceError{fmt.Sprintf("the reference %s is in another batch that was cut off: run that one to its end first, or take it back", consent.Quote(r.Reference))}
	}
	record, err := lookup.grant(ctx, reference)
	if err != nil {
		return false, fmt.Errorf("the grant of the row %s: %w", consent.Quote(r.Reference), err)
	}
	expires := r.Draft.Expires
	if !own { // the row may count from another day
		grant, err := readStored(&record)
		if err != nil {
			return false, err
		}
		expires = grant.Grant.Expires
	}
	switch {
	case other.revoked || record.State == Revoked:
		return false, &referenceError{fmt.Sprintf("the grant of the reference %s was taken back: give it another reference", consent.Quote(r.Reference))}
	case expires <= w.now():
		return false, &referenceError{fmt.Sprintf("the grant of the reference %s ended on %s: give it another reference",
			consent.Quote(r.Reference), time.Unix(int64(expires), 0).UTC().Format("2 January 2006, 15:04 UTC"))}
	}
	return !own, nil
}

// meet looks up what the chain says of those who get the grants: the epochs of
// their switches, and who of them is a contract.
func (b *Batch) meet(ctx context.Context, s *consent.Summary) (err error) {
	w := b.wallet
	if b.journal.All, err = w.epoch(ctx, w.allSwitch); err != nil {
		return err
	}
	b.journal.Grantees = make(map[common.Address]uint64)
	grantees := slices.SortedFunc(maps.Keys(s.Grantees), common.Address.Cmp)
	contracts := 0
	for some := range slices.Chunk(grantees, 2000) {
		hashes, contract := make([]common.Hash, len(some)), make([]bool, len(some))
		err := eachOf(ctx, len(some), func(i int) error {
			secret, err := w.Signer.RevocationSecret(consent.GranteeSwitch(w.Domain, some[i], 0))
			if err != nil {
				return err
			}
			hashes[i] = consent.Revocation(secret)
			contract[i], err = w.Registry.IsContract(ctx, some[i])
			return err
		})
		if err != nil {
			return err
		}
		state, err := w.Registry.Read(ctx, consent.Entries{Revocations: hashes})
		if err != nil {
			return err
		}
		for i, grantee := range some {
			if contract[i] {
				contracts += s.Grantees[grantee]
			}
			if state.Revoked[hashes[i]] == 0 {
				continue
			}
			if b.journal.Grantees[grantee], err = w.epoch(ctx, w.granteeSwitch(grantee)); err != nil {
				return err
			}
		}
	}
	if contracts > 0 {
		for _, risk := range consent.Risks(&consent.Grant{}, nil, true) {
			s.Mark(risk, contracts)
		}
	}
	return nil
}

// revoked looks up which of the batches were taken back as a whole. The error is
// ErrBatchRevoked where this one was.
func (b *Batch) revoked(ctx context.Context) error {
	w := b.wallet
	hash := func(id common.Hash) (common.Hash, error) {
		secret, err := w.Signer.RevocationSecret(consent.BatchSwitch(w.Domain, id))
		return consent.Revocation(secret), err
	}
	own, err := hash(b.ID)
	if err != nil {
		return err
	}
	hashes, of := []common.Hash{own}, make(map[common.Hash]macOf)
	for mac, other := range b.others {
		h, err := hash(other.id)
		if err != nil {
			return err
		}
		hashes, of[h] = append(hashes, h), mac
	}
	for some := range slices.Chunk(hashes, readAtOnce) {
		state, err := w.Registry.Read(ctx, consent.Entries{Revocations: some})
		if err != nil {
			return err
		}
		if state.Revoked[own] != 0 {
			return ErrBatchRevoked
		}
		for _, h := range some {
			if mac, is := of[h]; is && state.Revoked[h] != 0 {
				other := b.others[mac]
				other.revoked = true
				b.others[mac] = other
			}
		}
	}
	return nil
}

// Give anchors the batch, signs its grants and stores them, and hands the
// document of each row to emit, in the order of the file; rows that an earlier
// batch gave come with the document that it gave. Check must have found no
// problem. Whenever it is cut off, the same batch goes on where it was, and what
// it hands to emit is the same, byte for byte.
func (b *Batch) Give(ctx context.Context, emit func(reference string, document []byte) error, progress func(BatchStage, int)) error {
	if b.fresh > 0 && !b.Finished {
		tree, leaves, err := b.prepare(ctx, progress)
		if err != nil {
			return err
		}
		progress(BatchAnchored, 0)
		if b.journal.Phase == batchPosted {
			siblings, err := b.wallet.Registry.Anchor(ctx, b.journal.Root)
			if err != nil {
				return fmt.Errorf("the batch is not anchored yet: %w", err)
			}
			b.journal.Siblings = siblings
			if err := b.enter(ctx, batchAnchored); err != nil {
				return err
			}
		}
		progress(BatchAnchored, b.fresh)
		if err := b.hand(ctx, tree, leaves, emit, progress); err != nil {
			return err
		}
		if err := b.enter(ctx, batchStored); err != nil {
			return err
		}
		b.Begun, b.Finished = false, true
		return nil
	}
	return b.hand(ctx, nil, nil, emit, progress)
}

// prepare makes the tree of the batch, and gives its leaves. The first time, it
// enters the references of all rows together with the journal, in one step: from
// then on they stand for these grants.
func (b *Batch) prepare(ctx context.Context, progress func(BatchStage, int)) (*consent.Tree, []common.Hash, error) {
	w := b.wallet
	begun := b.journal.Phase != ""
	leaves := make([]common.Hash, b.fresh)
	var entries []entry
	if !begun {
		entries = make([]entry, b.fresh)
	}
	batch := w.batchMAC(b.ID)
	work := func(first int, rows []BatchRow) (int, error) {
		for i := range rows {
			r, at := &rows[i], b.leaf[first+i]
			if at < 0 {
				continue
			}
			id, err := w.Signer.BatchGrantID(w.Domain, *r.Draft.grant(), r.Draft.Provisions, b.epochs(r.Draft.Grantee), b.ID, r.Reference)
			if err != nil {
				return 0, err
			}
			leaves[at] = consent.AnchorLeaf(id)
			if !begun {
				e := entry{reference: w.referenceMAC(r.Reference), batch: batch, grant: [32]byte(w.Documents.row(consent.KindGrant, id))}
				e.content = w.Documents.contentMAC(e.reference, e.batch, e.grant, r.Content)
				entries[at] = e
			}
		}
		return len(rows), nil
	}
	done := 0
	take := func(rows int) error {
		done += rows
		progress(BatchPrepared, done)
		return nil
	}
	if err := eachChunk(ctx, b.read, again(b, work), take); err != nil {
		return nil, nil, err
	}
	if done != len(b.leaf) {
		return nil, nil, ErrBatchChanged
	}
	tree := consent.NewTree(leaves)
	if begun {
		if tree.Root() != b.journal.Root {
			return nil, nil, errors.New("the batch does not come out as it was begun: go on with the version of assent that began it, or take it back with “assent batch revoke”")
		}
		return tree, leaves, nil
	}
	b.journal.Batch, b.journal.Time, b.journal.Names, b.journal.Grants, b.journal.Root = b.ID, b.Time, b.Names, b.fresh, tree.Root()
	b.journal.Phase = batchPosted
	record, err := b.record()
	if err != nil {
		return nil, nil, err
	}
	if err := w.Documents.enterBatch(ctx, record, entries); err != nil {
		return nil, nil, err
	}
	b.Begun = true
	return tree, leaves, nil
}

func (b *Batch) epochs(grantee common.Address) Epochs {
	return Epochs{Grantee: b.journal.Grantees[grantee], All: b.journal.All}
}

func (b *Batch) record() (Record, error) {
	text, err := json.Marshal(b.journal)
	return Record{Kind: kindBatch, ID: b.wallet.journalID(b.ID), Time: b.Time, Document: text}, err
}

// enter keeps that the batch came to a phase.
func (b *Batch) enter(ctx context.Context, phase string) error {
	b.journal.Phase = phase
	record, err := b.record()
	if err != nil {
		return err
	}
	return b.wallet.Documents.Change(ctx, kindBatch, record.ID, func(r *Record) error {
		r.Document = record.Document
		return nil
	})
}

// hand signs and stores the grants of the tree, and hands on the documents of
// all rows. Without a tree all of them are in the store.
func (b *Batch) hand(ctx context.Context, tree *consent.Tree, leaves []common.Hash, emit func(string, []byte) error, progress func(BatchStage, int)) error {
	w := b.wallet
	lookup, err := w.Documents.lookup(ctx)
	if err != nil {
		return err
	}
	defer lookup.close()
	insert, err := w.Documents.addRows(ctx)
	if err != nil {
		return err
	}
	defer insert.close()
	type made struct {
		reference string
		document  []byte
		sealed    *sealedRow // nil: it is in the store
	}
	work := func(first int, rows []BatchRow) ([]made, error) {
		out := make([]made, len(rows))
		for i := range rows {
			r := &rows[i]
			out[i].reference = r.Reference
			at := b.leaf[first+i]
			if tree == nil || at < 0 {
				record, err := lookup.grant(ctx, w.referenceMAC(r.Reference))
				if err != nil {
					return nil, fmt.Errorf("the grant of the row %s: %w", consent.Quote(r.Reference), err)
				}
				out[i].document = record.Document
				continue
			}
			document, err := w.Signer.SignBatchGrant(w.Domain, *r.Draft.grant(), r.Draft.Provisions, b.epochs(r.Draft.Grantee), b.ID, r.Reference)
			if err != nil {
				return nil, err
			}
			id := document.ID()
			if consent.AnchorLeaf(id) != leaves[at] {
				return nil, ErrBatchChanged
			}
			document.AnchorProof = append(tree.Proof(int(at)), b.journal.Siblings...)
			if out[i].document, err = document.MarshalJSON(); err != nil {
				return nil, err
			}
			out[i].sealed, err = w.Documents.sealRow(&Record{
				Kind: consent.KindGrant, ID: id, State: Anchored, Given: true, Time: b.Time, Document: out[i].document,
			})
			if err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	done := 0
	take := func(rows []made) error {
		for _, r := range rows {
			if r.sealed != nil {
				if err := insert.add(ctx, r.sealed); err != nil {
					return err
				}
			}
			if err := emit(r.reference, r.document); err != nil {
				return err
			}
		}
		done += len(rows)
		progress(BatchSigned, done)
		return nil
	}
	if err := eachChunk(ctx, b.read, again(b, work), take); err != nil {
		return err
	}
	if done != len(b.leaf) {
		return ErrBatchChanged
	}
	return insert.commit()
}

// again reads the rows that were checked before, and no others.
func again[T any](b *Batch, work func(first int, rows []BatchRow) (T, error)) func(first int, rows []BatchRow) (T, error) {
	return func(first int, rows []BatchRow) (none T, err error) {
		if first+len(rows) > len(b.leaf) || slices.ContainsFunc(rows, func(r BatchRow) bool { return r.Draft == nil }) {
			return none, ErrBatchChanged
		}
		return work(first, rows)
	}
}

// eachChunk works out the chunks of a file on all processors, each with the
// number of rows before it, and takes what comes of them in their order.
func eachChunk[T any](ctx context.Context, read BatchRows, work func(first int, rows []BatchRow) (T, error), take func(T) error) error {
	return inOrder(ctx, func(ctx context.Context, put func(func() (T, error)) error) error {
		first := 0
		return read(ctx, func(n int, rows func() []BatchRow) error {
			before := first
			first += n
			return put(func() (T, error) { return work(before, rows()) })
		})
	}, take)
}

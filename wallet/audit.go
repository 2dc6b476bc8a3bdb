package wallet

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

// Kinds of records about the logs of data holders.
const (
	kindUse   = "use"   // an entry of a log, found by data holder and number
	kindTrail = "trail" // how far a log was followed, found like the holder's card
)

// auditScope is what a patient grants herself, to see what a data holder's log
// has of her.
var auditScope = consent.Scope{Resource: "AuditEvent", Interactions: consent.Read | consent.Search, Purpose: "PATRQT"}

// auditDays is how long such a grant lasts: less than what is named as a risk.
const auditDays = 364

// AuditDraft gives the grant to the wallet itself that opens the data holder's
// log of this patient.
func (w *Wallet) AuditDraft(holder common.Address) *Draft {
	return &Draft{
		Grantee: w.Signer.Address(), Provisions: Provide([]consent.Scope{auditScope}, []common.Address{holder}),
		NotBefore: w.now(), Expires: w.now() + auditDays*24*60*60,
	}
}

// opensLog tells whether the draft is what AuditDraft gives: the one grant to
// oneself that means anything.
func (d *Draft) opensLog() bool {
	return len(d.Provisions) == 1 && d.Provisions[0].Scope == auditScope && d.Provisions[0].Holder != (common.Address{}) && d.Parent == nil && d.Handoffs == 0
}

// AuditGrant gives the grant to the wallet itself that opens the data holder's
// log and counts now; nil: there is none.
func (w *Wallet) AuditGrant(ctx context.Context, holder common.Address) (*consent.GrantDocument, error) {
	own := w.Signer.Address()
	grants, err := w.stored(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	for _, g := range slices.Backward(grants) {
		d := g.Document
		if d.Grant.Grantor != own || d.Grant.Grantee != own || d.Grant.Expires <= w.now() {
			continue
		}
		if _, err := d.Open(holder, []consent.Scope{auditScope}); err != nil {
			continue
		}
		if verdict, _, err := w.Judge(ctx, d); err != nil {
			return nil, err
		} else if verdict.Outcome == consent.Permit {
			return d, nil
		}
	}
	return nil, nil
}

// AuditAccess signs an access with what AuditGrant gave: see Access.
func (w *Wallet) AuditAccess(ctx context.Context, grant *consent.GrantDocument, holder common.Address, binding common.Hash) (*consent.AccessDocument, error) {
	return w.Access(ctx, grant, holder, []consent.Scope{auditScope}, binding)
}

// Trail is how far the wallet followed a data holder's log.
type Trail struct {
	Seen     consent.AuditHead // the last entry that it saw
	Proven   consent.AuditHead // the last one that stands under a root which it saw on chain; zero: none
	Root     common.Hash       // that root
	Anchored uint64            // its block time, unix seconds
	Checked  uint64            // when the wallet last followed the log, unix seconds
	// Pending is the last entry under a root that the data holder named and that
	// is not on chain; 0: none.
	Pending uint64
}

// Log is where a data holder's log comes from, and who can read its events.
type Log struct {
	// Page gives the entries from a number on.
	Page func(ctx context.Context, from uint64) (*consent.AuditDocument, error)
	// Read reads an event, and gives the account whose record it is about. It
	// need not fill in Number.
	Read func(event []byte) (use Use, grantor common.Address, err error)
}

// maxFollowed is how many entries a log may have.
const maxFollowed = 200_000

// TamperedError says that a data holder's log is not the one that it was, or
// does not hold together.
type TamperedError struct{ What string }

func (e *TamperedError) Error() string { return "the log was tampered with: " + e.What }

func tampered(format string, args ...any) error { return &TamperedError{fmt.Sprintf(format, args...)} }

// Audit follows a data holder's log of this patient from its first entry to its
// last and keeps what it says. It checks the hash of each entry and that they
// make one chain, that this is the chain which was seen before, that what stood
// under a root which the wallet saw still does, and that the newest root is on
// chain. The error is a *TamperedError where one of these fails; then nothing is
// kept. Of entries that the wallet sees for the first time it proves that they
// are as they were when the chain took the newest root: under an older one, which
// only the data holder can name, others may have stood.
func (w *Wallet) Audit(ctx context.Context, holder common.Address, log Log) (Trail, error) {
	trail, err := w.trail(ctx, holder)
	if err != nil {
		return Trail{}, err
	}
	before := trail
	var at, under consent.AuditHead // under the newest checkpoint that was met
	var root common.Hash
	var uses []Use
	for from := uint64(1); from != 0; {
		d, err := log.Page(ctx, from)
		if err != nil {
			return before, err
		}
		if d.Domain != w.Domain || d.Holder != holder || d.Account != w.Signer.Address() {
			return before, fmt.Errorf("it answers with the log of account %s at the data holder %s on chain %d", d.Account, d.Holder, d.Domain.ChainID)
		}
		if n := d.Checkpoint.Head.Number; n < before.Proven.Number {
			return before, tampered("its checkpoint has %d entries, and one with %d was on the chain", n, before.Proven.Number)
		}
		to, proven, err := d.Check(at)
		if err != nil {
			return before, &TamperedError{err.Error()}
		}
		for i := range d.Entries {
			e := &d.Entries[i]
			for _, known := range []consent.AuditHead{before.Proven, before.Seen} {
				if e.Number == known.Number && e.Hash() != known.Hash {
					return before, tampered("entry %d or one before it is another than when it was first seen", e.Number)
				}
			}
			use, grantor, err := log.Read(e.Event)
			if err == nil {
				err = use.bound()
			}
			if err != nil {
				return before, fmt.Errorf("entry %d of the log: %w", e.Number, err)
			}
			if grantor != w.Signer.Address() || use.Holder != holder {
				return before, fmt.Errorf("entry %d of the log is not about this wallet's record at this data holder", e.Number)
			}
			use.Number = e.Number
			uses = append(uses, use)
		}
		if to.Number > maxFollowed {
			return before, fmt.Errorf("its log has more than %d entries", maxFollowed)
		}
		if proven != 0 {
			under, root = d.Checkpoint.Head, d.Checkpoint.Root
		}
		at, from = to, d.Next
	}
	if at.Number < before.Seen.Number {
		return before, tampered("it ends with entry %d, and had %d when it was last seen", at.Number, before.Seen.Number)
	}
	trail.Seen, trail.Checked, trail.Pending = at, w.now(), 0
	if under.Number != 0 {
		state, err := w.Registry.Read(ctx, consent.Entries{Anchors: []common.Hash{root}})
		if err != nil {
			return before, err
		}
		if anchored := state.Anchored[root]; anchored != 0 {
			trail.Proven, trail.Root, trail.Anchored = under, root, anchored
		} else {
			trail.Pending = under.Number
		}
	}
	return trail, w.keepTrail(ctx, holder, trail, uses)
}

func (w *Wallet) trail(ctx context.Context, holder common.Address) (t Trail, err error) {
	record, err := w.Documents.Get(ctx, kindTrail, w.cardID(holder))
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return Trail{}, nil // whoever can damage a row can also take it away
	} else if err != nil {
		return Trail{}, err
	}
	return t, json.Unmarshal(record.Document, &t)
}

// keepTrail keeps how far a log was followed, with what it says: all of it each
// time, so that what the store lost is there again.
func (w *Wallet) keepTrail(ctx context.Context, holder common.Address, t Trail, uses []Use) error {
	records := make([]Record, len(uses), len(uses)+1)
	for i := range uses {
		text, err := json.Marshal(&uses[i])
		if err != nil {
			return err
		}
		records[i] = Record{Kind: kindUse, ID: w.useID(holder, uses[i].Number), Time: uses[i].Time, Document: text}
	}
	text, err := json.Marshal(&t)
	if err != nil {
		return err
	}
	return w.Documents.restore(ctx, append(records, Record{Kind: kindTrail, ID: w.cardID(holder), Time: t.Checked, Document: text}))
}

// useID is where an entry of a data holder's log is kept.
func (w *Wallet) useID(holder common.Address, number uint64) common.Hash {
	id := w.cardID(holder)
	return crypto.Keccak256Hash(id[:], binary.BigEndian.AppendUint64(nil, number))
}

// Audited is what the wallet knows of a data holder's log.
type Audited struct {
	Holder common.Address
	Trail  Trail
	Uses   []Use // oldest first
}

// Audited gives what the wallet knows of the logs of data holders on this
// network, in the order of their addresses. Where rows of the store are damaged,
// it gives the others and an error that names them.
func (w *Wallet) Audited(ctx context.Context) ([]Audited, error) {
	return w.audited(ctx, math.MaxInt32)
}

// audited gives that, with the newest n entries that came.
func (w *Wallet) audited(ctx context.Context, n int) ([]Audited, error) {
	records, damaged := w.Documents.newest(ctx, kindUse, n)
	if damaged != nil && !errors.Is(damaged, ErrDamaged) {
		return nil, damaged
	}
	known := make(map[common.Address]*Audited)
	for i := range records {
		var use Use
		if err := json.Unmarshal(records[i].Document, &use); err != nil {
			return nil, fmt.Errorf("a stored entry of a log: %w", err)
		}
		if w.useID(use.Holder, use.Number) != records[i].ID {
			continue // of another network
		}
		if known[use.Holder] == nil {
			known[use.Holder] = &Audited{Holder: use.Holder}
		}
		known[use.Holder].Uses = append(known[use.Holder].Uses, use)
	}
	all := make([]Audited, 0, len(known))
	for holder, a := range known {
		var err error
		if a.Trail, err = w.trail(ctx, holder); err != nil {
			return nil, err
		}
		slices.SortFunc(a.Uses, func(x, y Use) int { return cmp.Compare(x.Number, y.Number) })
		all = append(all, *a)
	}
	slices.SortFunc(all, func(x, y Audited) int { return x.Holder.Cmp(y.Holder) })
	return all, damaged
}

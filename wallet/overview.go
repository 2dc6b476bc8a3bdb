package wallet

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// Overview is all that a person sees of their wallet at one moment, judged on
// one block.
type Overview struct {
	Time    uint64 // when it was made, unix seconds
	Block   uint64 // the block that it was judged on
	Grants  []Entry
	Waiting []Waiting
	People  []Person
	Names   consent.Names
	Events  []Event // newest first
	Damaged error   // names rows of the store that could not be read; nil: none
	Unread  error   // why the chain could not be read, so that nothing is known of any grant; nil: it was
}

// Entry is a grant of an overview.
type Entry struct {
	Standing
	ID       common.Hash
	Anchored uint64 // block time of its anchoring, unix seconds; 0: not anchored
	Revoked  uint64 // block time of the first reveal that ended it, or a grant above it; 0: none
}

// Act is what happened.
type Act string

// The acts that a wallet knows of. That somebody else used a grant only the
// data holder knows.
const (
	ActSigned   Act = "signed"   // this wallet signed a grant
	ActReceived Act = "received" // this wallet first used a grant that it was given
	ActAnchored Act = "anchored" // a grant was anchored on chain
	ActRevoked  Act = "revoked"  // a grant was revoked on chain
	ActExpired  Act = "expired"  // a grant came to its end
	ActAsked    Act = "asked"    // a request came in
	ActDenied   Act = "denied"   // a request was denied
)

// Event is one act at one time.
type Event struct {
	Time    uint64 // unix seconds
	Act     Act
	Grant   common.Hash // of acts on a grant: its id; else zero
	Other   common.Address
	Request *consent.RequestDocument // of acts on a request; else nil
}

// Overview gives all that a person sees of their wallet. Where the chain cannot
// be read it gives what the store holds, with no verdict on any grant.
func (w *Wallet) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{Time: w.now()}
	kept := func(err error) error { // an error that leaves the rest to be seen
		if errors.Is(err, ErrDamaged) {
			o.Damaged = errors.Join(o.Damaged, err)
			return nil
		}
		return err
	}
	grants, state, err := w.judged(ctx)
	if kept(err) != nil {
		o.Unread = err
		grants, err = w.stored(ctx)
		for i := range grants {
			grants[i].Verdict.Outcome = consent.Undecided
		}
	}
	if err := kept(err); err != nil {
		return nil, err
	}
	o.Block = state.Block
	for _, g := range grants {
		e := entry(g, &state)
		o.Grants = append(o.Grants, e)
		o.Events = append(o.Events, e.events(o.Time)...)
	}
	o.Waiting, err = w.Waiting(ctx)
	if err := kept(err); err != nil {
		return nil, err
	}
	o.People, err = w.People(ctx)
	if err := kept(err); err != nil {
		return nil, err
	}
	if o.Names, err = w.Names(ctx); err != nil {
		return nil, err
	}
	for kind, act := range map[string]Act{kindInbox: ActAsked, kindDenial: ActDenied} {
		events, err := w.requests(ctx, kind, act)
		if err := kept(err); err != nil {
			return nil, err
		}
		o.Events = append(o.Events, events...)
	}
	slices.SortStableFunc(o.Events, func(a, b Event) int {
		if a.Time != b.Time {
			return cmp.Compare(b.Time, a.Time)
		}
		return cmp.Compare(order[b.Act], order[a.Act])
	})
	return o, nil
}

// order is that of acts at the same second.
var order = map[Act]int{ActAsked: 1, ActDenied: 2, ActSigned: 3, ActReceived: 3, ActAnchored: 4, ActExpired: 5, ActRevoked: 5}

func entry(g Standing, state *consent.State) Entry {
	e := Entry{Standing: g, ID: g.Document.ID(), Anchored: state.Anchored[g.Document.Root()]}
	ends := func(d *consent.GrantDocument) {
		for _, hash := range d.Grant.Revocations {
			if at := state.Revoked[hash]; at != 0 && (e.Revoked == 0 || at < e.Revoked) {
				e.Revoked = at
			}
		}
	}
	ends(g.Document)
	for i := range g.Document.Parents {
		ends(&g.Document.Parents[i])
	}
	return e
}

func (e *Entry) events(now uint64) []Event {
	with := e.With()
	first := ActSigned
	if !e.Given {
		first = ActReceived
	}
	events := []Event{{Time: e.Time, Act: first, Grant: e.ID, Other: with}}
	if e.Anchored != 0 {
		events = append(events, Event{Time: e.Anchored, Act: ActAnchored, Grant: e.ID, Other: with})
	}
	expires := e.Document.Grant.Expires
	switch {
	case e.Revoked != 0:
		events = append(events, Event{Time: e.Revoked, Act: ActRevoked, Grant: e.ID, Other: with})
	case expires <= now && e.Verdict.Outcome != consent.Undecided:
		events = append(events, Event{Time: expires, Act: ActExpired, Grant: e.ID, Other: with})
	}
	return events
}

// With gives the account on the other side of the grant.
func (s *Standing) With() common.Address {
	if s.Given {
		return s.Document.Grant.Grantee
	}
	return s.Document.Grant.Grantor
}

// requests gives the acts on requests of a kind of record.
func (w *Wallet) requests(ctx context.Context, kind string, act Act) ([]Event, error) {
	records, damaged := w.Documents.List(ctx, kind)
	if damaged != nil && !errors.Is(damaged, ErrDamaged) {
		return nil, damaged
	}
	var events []Event
	for _, record := range records {
		request, err := consent.ReadRequest(bytes.NewReader(record.Document))
		if err != nil {
			return nil, err
		}
		if request.Domain == w.Domain {
			events = append(events, Event{Time: record.Time, Act: act, Other: request.Request.Requester, Request: request})
		}
	}
	return events, damaged
}

// Phase is where a grant stands, as a person thinks of it.
type Phase string

// The phases of a grant. Those before it is anchored are the states of the
// store.
const (
	PhaseActive      Phase = "active"
	PhaseNotYet      Phase = "not yet" // its window has not begun
	PhaseExpired     Phase = "expired"
	PhaseRevoked     Phase = "revoked"
	PhaseRetired     Phase = "retired" // a key in it was retired
	PhaseSigned      Phase = "signed"
	PhaseSent        Phase = "sent"
	PhaseNotAnchored Phase = "not anchored"
	PhaseInvalid     Phase = "invalid"
	PhaseUnknown     Phase = "unknown" // the chain could not be read
)

// Phase gives where the grant stands by the verdict on it.
func (s *Standing) Phase() Phase {
	switch s.Verdict.Outcome {
	case consent.Permit:
		return PhaseActive
	case consent.NotYetValid:
		return PhaseNotYet
	case consent.Expired:
		return PhaseExpired
	case consent.Revoked:
		return PhaseRevoked
	case consent.Retired:
		return PhaseRetired
	case consent.Undecided:
		return PhaseUnknown
	case consent.NotAnchored:
		switch s.State {
		case Signed:
			return PhaseSigned
		case Posted:
			return PhaseSent
		}
		return PhaseNotAnchored
	}
	return PhaseInvalid
}

// Sign signs a draft and stores the grant: the first half of Grant. Post is the
// other, and Resume goes on where it never came to that.
func (w *Wallet) Sign(ctx context.Context, d *Draft) (*consent.GrantDocument, error) {
	return w.sign(ctx, d)
}

// Post posts a grant that is stored, and waits until it is anchored.
func (w *Wallet) Post(ctx context.Context, d *consent.GrantDocument) error { return w.post(ctx, d) }

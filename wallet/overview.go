package wallet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

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
	Glance  bool    // only the newest grants are here, and nobody judged them yet: see Wallet.Glance
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

// The acts that a wallet knows of. That somebody else used a grant it knows from
// the logs of data holders, as far as it followed them (Wallet.Audit).
const (
	ActSigned   Act = "signed"   // this wallet signed a grant
	ActReceived Act = "received" // this wallet first used a grant that it was given
	ActAnchored Act = "anchored" // a grant was anchored on chain
	ActRevoked  Act = "revoked"  // a grant was revoked on chain
	ActExpired  Act = "expired"  // a grant came to its end
	ActAsked    Act = "asked"    // a request came in
	ActDenied   Act = "denied"   // a request was denied
	ActUsed     Act = "used"     // somebody used a grant at a data holder
	ActRefused  Act = "refused"  // a data holder refused it to somebody
)

// Event is one act at one time.
type Event struct {
	Time    uint64 // unix seconds
	Act     Act
	Grant   common.Hash // of acts on a grant: its id; else zero
	Other   common.Address
	Request *consent.RequestDocument // of acts on a request; else nil
	Told    *Told                    // of acts at a data holder, as it tells them; else nil
	Proven  uint64                   // of these: since when the chain has a root over them, unix seconds; 0: it has none
}

// Watch gives overviews of a wallet, one after the other. It remembers of each
// grant what its bytes alone decide: what they say, its hashes and which of its
// signatures a key made. The chain and the clock are asked each time, and so is
// a contract that signed. Several goroutines may use it.
type Watch struct {
	wallet *Wallet
	mu     sync.Mutex
	grants map[[sha256.Size]byte]*watched // by the hash of the bytes; never written to once it is here
}

type watched struct {
	document    *consent.GrantDocument
	id, root    common.Hash
	examination *consent.Examination
}

// Watch begins to watch the wallet.
func (w *Wallet) Watch() *Watch { return &Watch{wallet: w} }

// Overview gives all that a person sees of their wallet: see Watch.Overview.
func (w *Wallet) Overview(ctx context.Context) (*Overview, error) { return w.Watch().Overview(ctx) }

// Overview gives all that a person sees of their wallet. Where the chain cannot
// be read it gives what the store holds, with no verdict on any grant.
func (v *Watch) Overview(ctx context.Context) (*Overview, error) {
	w := v.wallet
	o := &Overview{Time: w.now()}
	records, err := w.Documents.List(ctx, consent.KindGrant)
	if err := o.kept(err); err != nil {
		return nil, err
	}
	all, err := v.watched(ctx, records)
	if err != nil {
		return nil, err
	}
	var grants []*watched // on this network: no other is told of the rest
	for i, g := range all {
		if g.document.Domain == w.Domain {
			grants = append(grants, g)
			o.Grants = append(o.Grants, Entry{Standing: standing(&records[i], g.document), ID: g.id})
		}
	}
	examinations := make([]*consent.Examination, len(grants))
	for i, g := range grants {
		examinations[i] = g.examination
	}
	state, err := w.read(ctx, examinations)
	verdicts := make([]consent.Verdict, len(grants))
	if err == nil {
		err = eachOf(ctx, len(grants), func(i int) (err error) {
			verdicts[i], err = grants[i].examination.Decide(state, o.Time)
			return err
		})
	}
	if o.Unread = err; err != nil {
		state = consent.State{}
	}
	o.Block = state.Block
	for i, g := range grants {
		e := &o.Grants[i]
		e.Verdict, e.Anchored, e.Revoked = verdicts[i], state.Anchored[g.root], ended(g.document, &state)
		if o.Unread != nil {
			e.Verdict = consent.Verdict{Outcome: consent.Undecided}
		}
	}
	return o, w.complete(ctx, o)
}

// watched gives what the bytes of each record decide, and forgets records that
// are not among them.
func (v *Watch) watched(ctx context.Context, records []Record) ([]*watched, error) {
	v.mu.Lock()
	known := v.grants
	v.mu.Unlock()
	grants, hashes := make([]*watched, len(records)), make([][sha256.Size]byte, len(records))
	err := eachOf(ctx, len(records), func(i int) error {
		hashes[i] = sha256.Sum256(records[i].Document)
		if grants[i] = known[hashes[i]]; grants[i] != nil {
			return nil
		}
		document, err := readStored(&records[i])
		if err != nil {
			return err
		}
		grants[i] = &watched{document, document.ID(), document.Root(), consent.ExamineGrant(document)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	fresh := make(map[[sha256.Size]byte]*watched, len(grants))
	for i, hash := range hashes {
		fresh[hash] = grants[i]
	}
	v.mu.Lock()
	v.grants = fresh
	v.mu.Unlock()
	return grants, nil
}

// eachOf does something n times on all processors, and gives one of its errors.
func eachOf(ctx context.Context, n int, do func(int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	workers := min(n, runtime.GOMAXPROCS(0))
	failed := make([]error, workers)
	for k := range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed[k] == nil; i = int(next.Add(1)) - 1 {
				if failed[k] = ctx.Err(); failed[k] == nil {
					failed[k] = do(i)
				}
			}
		})
	}
	group.Wait()
	return cmp.Or(failed...)
}

// Glance gives at once what the store knows, with the newest n grants and no
// verdict on any: nobody asked the chain yet, and no signature was verified.
func (w *Wallet) Glance(ctx context.Context, n int) (*Overview, error) {
	o := &Overview{Time: w.now(), Glance: true}
	records, err := w.Documents.newest(ctx, consent.KindGrant, n)
	if err := o.kept(err); err != nil {
		return nil, err
	}
	for i := range slices.Backward(records) {
		document, err := readStored(&records[i])
		if err != nil {
			return nil, err
		}
		if document.Domain == w.Domain {
			e := Entry{Standing: standing(&records[i], document), ID: document.ID()}
			e.Verdict.Outcome = consent.Undecided
			o.Grants = append(o.Grants, e)
		}
	}
	return o, w.complete(ctx, o)
}

// kept notes an error that leaves the rest to be seen, and gives any other.
func (o *Overview) kept(err error) error {
	if errors.Is(err, ErrDamaged) {
		o.Damaged = errors.Join(o.Damaged, err)
		return nil
	}
	return err
}

// complete adds all but the grants.
func (w *Wallet) complete(ctx context.Context, o *Overview) (err error) {
	for i := range o.Grants {
		o.Events = append(o.Events, o.Grants[i].events(o.Time)...)
	}
	o.Waiting, err = w.Waiting(ctx)
	if err := o.kept(err); err != nil {
		return err
	}
	o.People, err = w.People(ctx)
	if err := o.kept(err); err != nil {
		return err
	}
	if o.Names, err = w.Names(ctx); err != nil {
		return err
	}
	for kind, act := range map[string]Act{kindInbox: ActAsked, kindDenial: ActDenied} {
		events, err := w.requests(ctx, kind, act)
		if err := o.kept(err); err != nil {
			return err
		}
		o.Events = append(o.Events, events...)
	}
	logs, err := w.audited(ctx, shownUses)
	if err := o.kept(err); err != nil {
		return err
	}
	for i := range logs {
		o.Events = append(o.Events, logs[i].events()...)
	}
	slices.SortStableFunc(o.Events, func(a, b Event) int {
		if a.Time != b.Time {
			return cmp.Compare(b.Time, a.Time)
		}
		return cmp.Compare(order[b.Act], order[a.Act])
	})
	return nil
}

// order is that of acts at the same second.
var order = map[Act]int{ActAsked: 1, ActDenied: 2, ActSigned: 3, ActReceived: 3, ActAnchored: 4, ActUsed: 5, ActRefused: 5, ActExpired: 6, ActRevoked: 6}

// shownUses is how many of the newest entries of logs an overview tells.
const shownUses = 2000

// events gives what a data holder's log tells. Its times are the holder's.
func (a *Audited) events() []Event {
	var events []Event
	for _, t := range Tell(a.Uses) {
		e := Event{Time: t.Time, Act: ActUsed, Grant: t.Grant, Other: t.Grantee, Told: &t}
		if t.Denied {
			e.Act = ActRefused
		}
		if t.Last <= a.Trail.Proven.Number {
			e.Proven = a.Trail.Anchored
		}
		events = append(events, e)
	}
	return events
}

// ended gives the block time of the first reveal that ended the grant or one
// above it; 0: none.
func ended(d *consent.GrantDocument, state *consent.State) (first uint64) {
	ends := func(g *consent.Grant) {
		for _, hash := range g.Revocations {
			if at := state.Revoked[hash]; at != 0 && (first == 0 || at < first) {
				first = at
			}
		}
	}
	ends(&d.Grant)
	for i := range d.Parents {
		ends(&d.Parents[i].Grant)
	}
	return first
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

package tui

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// soonDays is how near the end of a grant is said.
const soonDays = 3

// state is all that the screens show, as it was at one moment.
type state struct {
	*wallet.Overview
	mailbox bool                                          // the card is published, so that letters may come
	rows    []row                                         // of Access, in its order
	hays    struct{ waiting, rows, events, people []hay } // of each list, in its order
	active  int                                           // grants that count now
	soon    int                                           // of these, those that end within soonDays
	unsent  int                                           // grants that were signed and are not seen anchored
	next    uint64                                        // when a window begins or ends next, unix seconds; 0: never
}

// row is a grant of the list on Access.
type row struct {
	*wallet.Entry
	phase wallet.Phase
	what  string // its data in plain words
}

// hay is what a filter searches of one line of a list.
type hay struct {
	words string
	hex   string // for what begins with 0x
}

func hayOf(hex string, words ...string) hay {
	return hay{strings.ToLower(strings.Join(words, " ")), strings.ToLower(hex)}
}

// phaseChecking is of a grant that a glance shows: nobody judged it yet.
const phaseChecking wallet.Phase = "checking"

// rank is the order of phases in the list.
var rank = map[wallet.Phase]int{
	wallet.PhaseSigned: 0, wallet.PhaseSent: 0, wallet.PhaseNotAnchored: 0, wallet.PhaseUnknown: 0, phaseChecking: 0,
	wallet.PhaseActive: 1, wallet.PhaseNotYet: 2, wallet.PhaseExpired: 3,
	wallet.PhaseRevoked: 4, wallet.PhaseRetired: 4, wallet.PhaseInvalid: 5,
}

func newState(o *wallet.Overview) *state {
	s := &state{Overview: o}
	for i := range o.Grants {
		e := &o.Grants[i]
		r := row{Entry: e, phase: e.Phase(), what: whatOf(e.Document.Provisions)}
		if o.Glance {
			r.phase = phaseChecking
		}
		s.rows = append(s.rows, r)
		g := &e.Document.Grant
		if e.Given && (r.phase == wallet.PhaseSigned || r.phase == wallet.PhaseSent) {
			s.unsent++
		}
		if r.phase == wallet.PhaseActive {
			s.active++
			if ending(g.Expires, o.Time) {
				s.soon++
			}
		}
		for _, at := range []uint64{g.NotBefore, g.Expires} {
			if at > o.Time && (s.next == 0 || at < s.next) && e.Revoked == 0 {
				s.next = at
			}
		}
	}
	slices.SortStableFunc(s.rows, func(a, b row) int {
		if d := rank[a.phase] - rank[b.phase]; d != 0 {
			return d
		}
		x, y := a.Document.Grant.Expires, b.Document.Grant.Expires
		if a.phase != wallet.PhaseActive && a.phase != wallet.PhaseNotYet {
			x, y = y, x // of what is over, the latest first
		}
		return cmp.Compare(x, y)
	})
	s.gather()
	return s
}

// state gives what the screens show of an overview.
func (s *Session) state(ctx context.Context, overview func(context.Context) (*wallet.Overview, error)) (*state, error) {
	o, err := overview(ctx)
	if err != nil {
		return nil, err
	}
	shown := newState(o)
	shown.mailbox, err = s.Wallet.Published(ctx)
	if errors.Is(err, wallet.ErrDamaged) {
		o.Damaged, err = errors.Join(o.Damaged, err), nil
	}
	return shown, err
}

// gather writes down what filters search.
func (s *state) gather() {
	called := make(map[common.Address]string) // many lines are of few accounts
	name := func(account common.Address) string {
		text, known := called[account]
		if !known {
			text = consent.Quote(s.Names[account])
			called[account] = text
		}
		return text
	}
	asked := func(d *consent.RequestDocument, more ...string) hay {
		words := append(more, consent.Quote(d.Card.Card.Name), consent.Quote(d.Request.Reason))
		for i := range d.Request.Scopes {
			words = append(words, d.Request.Scopes[i].What())
		}
		return hayOf(d.Request.Requester.Hex(), words...)
	}
	for i := range s.Waiting {
		first := ""
		if s.Waiting[i].First {
			first = "first request"
		}
		s.hays.waiting = append(s.hays.waiting, asked(s.Waiting[i].Document, first))
	}
	for i := range s.rows {
		r := &s.rows[i]
		s.hays.rows = append(s.hays.rows, hayOf(r.With().Hex()+" "+r.ID.Hex(), string(r.phase), name(r.With()), r.what, direction(r.Entry)))
	}
	for i := range s.Events {
		e := &s.Events[i]
		if e.Told != nil {
			s.hays.events = append(s.hays.events, hayOf(e.Other.Hex()+" "+e.Grant.Hex()+" "+e.Told.Holder.Hex(), acts[e.Act], provenWord(e), name(e.Other), e.Told.Did, name(e.Told.Holder), date(e.Time)))
		} else if e.Request != nil {
			s.hays.events = append(s.hays.events, asked(e.Request, acts[e.Act], date(e.Time)))
		} else {
			s.hays.events = append(s.hays.events, hayOf(e.Other.Hex()+" "+e.Grant.Hex(), acts[e.Act], name(e.Other), date(e.Time)))
		}
	}
	for i := range s.People {
		p := &s.People[i]
		s.hays.people = append(s.hays.people, hayOf(p.Account.Hex(), consent.Quote(p.Name), verification(p)))
	}
}

func ending(expires, now uint64) bool { return expires > now && expires-now <= soonDays*24*60*60 }

func direction(e *wallet.Entry) string {
	if e.Given {
		return "to"
	}
	return "from"
}

// whatOf names the data of provisions, each once.
func whatOf(openings []consent.Opening) string {
	var words []string
	for i := range openings {
		if what := openings[i].Provision.Scope.What(); !slices.Contains(words, what) {
			words = append(words, what)
		}
	}
	return strings.Join(words, ", ")
}

// search gives the lines that a filter leaves, each word of it somewhere.
func search[T any](all []T, hays []hay, filter string) []*T {
	words := strings.Fields(strings.ToLower(filter))
	found := make([]*T, 0, len(all))
	for i := range all {
		if hays[i].has(words) {
			found = append(found, &all[i])
		}
	}
	return found
}

func (h *hay) has(words []string) bool {
	for _, word := range words {
		in := h.words
		if strings.HasPrefix(word, "0x") {
			in = h.hex
		}
		if !strings.Contains(in, word) {
			return false
		}
	}
	return true
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

func date(t uint64) string { return format(t, "2 Jan 2006") }

func moment(t uint64) string { return format(t, "2 Jan 2006 15:04 UTC") }

func format(t uint64, layout string) string {
	if t > maxDate {
		return "after the year 9999"
	}
	return time.Unix(int64(t), 0).UTC().Format(layout)
}

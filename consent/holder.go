package consent

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// NonceLifetime is how long after its time the nonce of an access is kept, in
// seconds.
const NonceLifetime = 600

// ErrUnknownPatient is what Holder.Patient returns for a grantor that is not
// bound to exactly one patient record.
var ErrUnknownPatient = errors.New("the patient is not enrolled here")

// Holder is a data holder: who it is, and how it looks things up. Its functions
// may be called by several goroutines at once.
type Holder struct {
	Domain  Domain
	Account common.Address
	MaxAge  uint64 // seconds; the oldest view of the chain that it decides on

	// Verified remembers the signatures of grants, for those that come again; nil
	// verifies each time.
	Verified *Verified

	// Patient gives the one patient record that the holder's own identity check
	// bound to the grantor, or ErrUnknownPatient.
	Patient func(ctx context.Context, grantor common.Address) (record string, err error)
	// View reads the entries, as of the confirmed and the latest block (see
	// Memory.State).
	View func(ctx context.Context, need Entries) (State, error)
	// Evaluable tells why a scope of the access cannot be evaluated exactly, or
	// nil.
	Evaluable func(*Access) error
	// Remember looks (grantee, nonce) up and records it until then, unix
	// seconds, in one durable step; fresh is false where it was there before.
	Remember func(ctx context.Context, grantee common.Address, nonce common.Hash, until uint64) (fresh bool, err error)
}

// Answer is a data holder's answer to an access.
type Answer struct {
	Verdict
	Patient string // the record; for Permit only
	State   State  // what was decided on; zero where the chain was not asked
}

// Answer answers an access at the time now, in unix seconds: the checks of a
// data holder in their order, with the decision in their midst (Assent
// protocol, section 7). binding is the thumbprint of the key that the request
// proves, zero where it proves none. An error is no answer, and its outcome is
// Undecided: nothing may be released on it.
func (h *Holder) Answer(ctx context.Context, d *AccessDocument, binding common.Hash, now uint64) (Answer, error) {
	undecided := Answer{Verdict: Verdict{Outcome: Undecided}}
	deny := func(o Outcome, format string, args ...any) (Answer, error) {
		return Answer{Verdict: Verdict{o, 0, fmt.Sprintf(format, args...)}}, nil
	}
	if d.Domain != h.Domain {
		return deny(WrongDomain, "the access is for chain %d and registry %s", d.Domain.ChainID, d.Domain.Registry)
	}
	if d.Access.Holder != h.Account {
		return deny(WrongHolder, "the access is for the data holder %s", d.Access.Holder)
	}
	if len(d.Links) == 0 {
		return deny(UnknownPatient, "the access has no links, so no patient")
	}
	grantor := d.Links[0].Grant.Grantor
	patient, err := h.Patient(ctx, grantor)
	if errors.Is(err, ErrUnknownPatient) {
		return deny(UnknownPatient, "the account %s is not bound to exactly one patient record", grantor)
	} else if err != nil {
		return undecided, err
	}

	examination := Examine(d, h.Verified)
	state, err := h.View(ctx, examination.Entries())
	if err != nil {
		return undecided, err
	}
	answer := Answer{State: state}
	if state.Age > h.MaxAge {
		answer.Verdict = Verdict{ChainTooOld, 0, fmt.Sprintf("block %d is %d s old: want at most %d s", state.Block, state.Age, h.MaxAge)}
		return answer, nil
	}
	if answer.Verdict, err = examination.Decide(state, now); err != nil || answer.Outcome != Permit {
		return answer, err
	}
	if err := h.Evaluable(&d.Access); err != nil {
		answer.Verdict = Verdict{Unsupported, 0, err.Error()}
		return answer, nil
	}
	if d.Access.Binding != binding {
		answer.Verdict = Verdict{WrongBinding, 0, "the access is bound to another key than the request proves"}
		return answer, nil
	}
	fresh, err := h.Remember(ctx, examination.grantee(), d.Access.Nonce, d.Access.Time+NonceLifetime)
	if err != nil {
		return undecided, err
	}
	if !fresh {
		answer.Verdict = Verdict{Replayed, 0, "the access was used before: sign a new one"}
		return answer, nil
	}
	answer.Patient = patient
	return answer, nil
}

// Memory is what a data holder never forgets again, even where a reorg drops
// it from the chain: revocations and retirements that it saw once, on chain or
// handed to it. The zero Memory has seen nothing. It is not for several
// goroutines at once, and lasts only if its owner keeps it on disk.
type Memory struct {
	Revoked map[common.Hash]uint64    // hash of the secret → when it was seen, unix seconds
	Retired map[common.Address]uint64 // account → the same
}

// State gives the state to decide on: anchors and the words of contracts as of
// the confirmed block, revocations and retirements as of the latest block or
// any time before (Assent protocol, section 7, "Which block"). What either
// block shows of these is remembered. The block is the confirmed one.
func (m *Memory) State(confirmed, latest State) State {
	s := confirmed
	remember(&m.Revoked, confirmed.Revoked)
	remember(&m.Retired, confirmed.Retired)
	s.Revoked = remember(&m.Revoked, latest.Revoked)
	s.Retired = remember(&m.Retired, latest.Retired)
	return s
}

// Reveal remembers a revocation secret that was handed over directly: it proves
// itself. seen is unix seconds.
func (m *Memory) Reveal(secret common.Hash, seen uint64) {
	remember(&m.Revoked, map[common.Hash]uint64{Revocation(secret): max(seen, 1)})
}

// Retire remembers a retirement that was handed over directly, if the key of
// its account signed it in the domain: then it proves itself, and it tells so.
// That of a contract account counts only on chain. seen is unix seconds.
func (m *Memory) Retire(d Domain, r Retirement, signature []byte, seen uint64) bool {
	proven := SignatureQuery{r.Account, r.Digest(d), string(signature)}.recovers()
	if proven {
		remember(&m.Retired, map[common.Address]uint64{r.Account: max(seen, 1)})
	}
	return proven
}

// remember adds the entries that are there to the memory, and gives the
// entries as they are with it.
func remember[K comparable](memory *map[K]uint64, entries map[K]uint64) map[K]uint64 {
	if *memory == nil {
		*memory = make(map[K]uint64)
	}
	with := make(map[K]uint64, len(entries))
	for key, at := range entries {
		if at == 0 {
			at = (*memory)[key]
		} else if _, known := (*memory)[key]; !known {
			(*memory)[key] = at
		}
		with[key] = at
	}
	return with
}

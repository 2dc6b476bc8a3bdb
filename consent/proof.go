package consent

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// ProofOfAddress is the access that an account signs to show whoever asked,
// the holder, that it is there now: it uses no grant and names no scope, so that
// it opens nothing anywhere (row Malformed of section 7), and its nonce is the
// fresh challenge that the holder gave out. time is unix seconds. binding is zero
// for a data holder's identity check, which a person answers by hand; whoever
// asks for proofs without a person has one of its own, so that no challenge that
// it passes on is answered for another.
func ProofOfAddress(holder common.Address, challenge, binding common.Hash, time uint64) Access {
	return Access{Holder: holder, Scopes: []Scope{}, Binding: binding, Time: time, Nonce: challenge}
}

// ProofEntries lists what of the chain is needed to tell whether the document
// proves the account.
func (d *AccessDocument) ProofEntries(account common.Address) Entries {
	need := Entries{Accounts: []common.Address{account}}
	need.addCheck(d.provenBy(account))
	return need
}

func (d *AccessDocument) provenBy(account common.Address) check {
	var none *Verified
	return none.check(account, d.Access.Digest(d.Domain), d.Signature)
}

// Proves tells why the document, a ProofOfAddress, does not show that the
// account signed the challenge of this holder, with just this binding, just now,
// or nil. That the challenge was given out, and not used before, is the holder's
// to know.
func (d *AccessDocument) Proves(account common.Address, domain Domain, holder common.Address, challenge, binding common.Hash, s State, now uint64) error {
	a := &d.Access
	switch {
	case d.Domain != domain:
		return errors.New("the proof is for another chain or registry")
	case len(d.Links) != 0 || len(a.Scopes) != 0 || a.Grant != (common.Hash{}):
		return errors.New("it is an access that uses a grant, not a proof of address")
	case a.Holder != holder:
		return fmt.Errorf("the proof is for %s", a.Holder)
	case a.Nonce != challenge:
		return errors.New("the proof answers another challenge")
	case a.Binding != binding:
		return errors.New("the proof is bound to another use than this one: sign the challenge anew, for this alone")
	case max(a.Time, now)-min(a.Time, now) > MaxClockSkew:
		return fmt.Errorf("the proof is of %s, more than %d s from now", timestamp(a.Time), MaxClockSkew)
	}
	if signed, err := d.provenBy(account).decide(&s); err != nil {
		return err
	} else if !signed {
		return fmt.Errorf("the proof is not signed by the account %s", account)
	}
	if at, err := find(s.Retired, account); err != nil {
		return err
	} else if at != 0 {
		return fmt.Errorf("the account %s is retired since %s", account, timestamp(at))
	}
	return nil
}

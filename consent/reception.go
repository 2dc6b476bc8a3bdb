package consent

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

const (
	maxRequestAge = 30 * 24 * 60 * 60 // seconds

	sealingKeySize = 1216 // bytes of an HPKE public key for MLKEM768-X25519
	sealingVersion = 0x01
)

// ErrAhead says that a document is of a time which has not come yet: unlike
// whatever else keeps one from counting, it passes.
var ErrAhead = fmt.Errorf("more than %d s ahead of the clock", MaxClockSkew)

// Reception is what one knows when a card or a request comes in.
type Reception struct {
	Domain     Domain         // one's own
	Account    common.Address // one's own; not needed for a card
	Now        uint64         // unix seconds
	NewestCard uint64         // time of the newest card seen of that account, unix seconds; 0: none
	Answered   bool           // (requester, nonce) was answered before
	State      State          // of the document's Entries
}

// Entries lists what of the chain is needed to accept the card.
func (d *CardDocument) Entries() Entries {
	need := Entries{Accounts: []common.Address{d.Card.Account}}
	need.addCheck(d.signed())
	return need
}

func (d *CardDocument) signed() check {
	var none *Verified
	return none.check(d.Card.Account, d.Card.Digest(d.Domain), d.Signature)
}

// Signed tells whether the account signed the card, in the domain that the card
// names.
func (d *CardDocument) Signed(s State) (bool, error) { return d.signed().decide(&s) }

// Accept tells why the card is not taken, or nil (Assent protocol, section 8).
// A card proves a key, never a name.
func (d *CardDocument) Accept(r Reception) error {
	if d.Domain != r.Domain {
		return errors.New("the card is for another chain or registry")
	}
	if signed, err := d.Signed(r.State); err != nil {
		return err
	} else if !signed {
		return fmt.Errorf("the card is not signed by its account %s", d.Card.Account)
	}
	if at, err := find(r.State.Retired, d.Card.Account); err != nil {
		return err
	} else if at != 0 {
		return fmt.Errorf("the account %s is retired since %s", d.Card.Account, timestamp(at))
	}
	return d.Card.Check(r.Now, r.NewestCard)
}

// Check tells why a card with a good signature is not taken at the time now
// where newest is the time of the newest card seen of its account. A sealing is
// 0x01 and an HPKE public key (RFC 9180) for MLKEM768-X25519; where it is
// empty, nothing can be sealed to the account.
func (c *Card) Check(now, newest uint64) error {
	switch {
	case c.Time < newest:
		return fmt.Errorf("the card is of %s, older than one seen before, of %s", timestamp(c.Time), timestamp(newest))
	case c.Time > now && c.Time-now > MaxClockSkew:
		return fmt.Errorf("the card is of %s, %w", timestamp(c.Time), ErrAhead)
	case len(c.Name) > MaxName:
		return fmt.Errorf("the card's name has %d bytes: want at most %d", len(c.Name), MaxName)
	case len(c.Sealing) > 0 && (len(c.Sealing) != 1+sealingKeySize || c.Sealing[0] != sealingVersion):
		return errors.New("the card's sealing is of an unknown form")
	}
	return nil
}

// Entries lists what of the chain is needed to tell whether the request counts.
func (d *RequestDocument) Entries() Entries {
	need := d.Card.Entries()
	need.Accounts = addOnce(need.Accounts, d.Request.Requester)
	need.addCheck(d.signed())
	return need
}

func (d *RequestDocument) signed() check {
	var none *Verified
	return none.check(d.Request.Requester, d.Request.Digest(d.Domain), d.Signature)
}

// Counts tells why the request does not count, or nil (Assent protocol,
// section 8).
func (d *RequestDocument) Counts(r Reception) error {
	request := &d.Request
	if d.Domain != r.Domain {
		return errors.New("the request is for another chain or registry")
	}
	if request.Patient != r.Account {
		return fmt.Errorf("the request is to the patient %s", request.Patient)
	}
	if signed, err := d.signed().decide(&r.State); err != nil {
		return err
	} else if !signed {
		return fmt.Errorf("the request is not signed by the requester %s", request.Requester)
	}
	if d.Card.Card.Account != request.Requester {
		return fmt.Errorf("the card is of another account, %s", d.Card.Card.Account)
	}
	if err := d.Card.Accept(r); err != nil {
		return err
	}
	if err := request.Check(); err != nil {
		return err
	}
	switch {
	case request.Time > r.Now && request.Time-r.Now > MaxClockSkew:
		return fmt.Errorf("the request is of %s, %w", timestamp(request.Time), ErrAhead)
	case r.Now > request.Time && r.Now-request.Time > maxRequestAge:
		return fmt.Errorf("the request is of %s, more than 30 days old", timestamp(request.Time))
	case r.Now >= request.Expires:
		return fmt.Errorf("what the request asks for ended at %s", timestamp(request.Expires))
	case r.Answered:
		return errors.New("the request was answered before")
	}
	return nil
}

// Check tells what of the request is out of its limits, or nil.
func (r *Request) Check() error {
	switch {
	case len(r.Scopes) < 1 || len(r.Scopes) > MaxScopes:
		return fmt.Errorf("the request has %d scopes: want 1 to %d", len(r.Scopes), MaxScopes)
	case len(r.Holders) < 1 || len(r.Holders) > MaxHolders:
		return fmt.Errorf("the request has %d data holders: want 1 to %d", len(r.Holders), MaxHolders)
	case len(r.Reason) > MaxReason:
		return fmt.Errorf("the request's reason has %d bytes: want at most %d", len(r.Reason), MaxReason)
	}
	for i := range r.Scopes {
		if field := r.Scopes[i].malformed(); field != "" {
			return fmt.Errorf("scope %d of the request: %s is out of bounds", i, field)
		}
	}
	return nil
}

package wallet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/ethereum/go-ethereum/common"
)

const (
	epochsAtOnce   = 8 // how many epochs are looked up in one read
	restoredEpochs = 3 // how many a restored wallet reveals (Assent protocol, section 5)
)

// ErrNotSettled says that a switch was thrown and is not confirmed yet, so that
// neither its epoch nor the next can be signed with.
var ErrNotSettled = errors.New("a revocation by this wallet is not confirmed yet: try again in a minute")

// epoch gives the smallest epoch of a switch whose hash is not on chain.
func (w *Wallet) epoch(ctx context.Context, of func(epoch uint64) consent.Switch) (uint64, error) {
	for from := uint64(0); ; from += epochsAtOnce {
		hashes := make([]common.Hash, epochsAtOnce)
		for i := range hashes {
			secret, err := w.Signer.RevocationSecret(of(from + uint64(i)))
			if err != nil {
				return 0, err
			}
			hashes[i] = consent.Revocation(secret)
		}
		state, err := w.Registry.Read(ctx, consent.Entries{Revocations: hashes})
		if err != nil {
			return 0, err
		}
		settled, err := w.Registry.Settled(ctx, hashes)
		if err != nil {
			return 0, err
		}
		for i, hash := range hashes {
			if (state.Revoked[hash] == 0) != (settled[hash] == 0) {
				return 0, ErrNotSettled
			}
			if state.Revoked[hash] == 0 {
				return from + uint64(i), nil
			}
		}
	}
}

func (w *Wallet) granteeSwitch(grantee common.Address) func(uint64) consent.Switch {
	return func(epoch uint64) consent.Switch { return consent.GranteeSwitch(w.Domain, grantee, epoch) }
}

func (w *Wallet) allSwitch(epoch uint64) consent.Switch { return consent.AllSwitch(w.Domain, epoch) }

// epochs gives the epochs of the switches of a new grant.
func (w *Wallet) epochs(ctx context.Context, grantee common.Address) (e Epochs, err error) {
	if e.Grantee, err = w.epoch(ctx, w.granteeSwitch(grantee)); err != nil {
		return e, err
	}
	e.All, err = w.epoch(ctx, w.allSwitch)
	return e, err
}

// Revocation is what would be ended, so that a person can be told before.
type Revocation struct {
	Grants  []Standing // the active grants that it ends, as far as this wallet knows
	secrets []common.Hash
}

// RevokeGrant prepares the end of one grant that this key gave.
func (w *Wallet) RevokeGrant(ctx context.Context, d *consent.GrantDocument) (*Revocation, error) {
	if d.Grant.Grantor != w.Signer.Address() {
		return nil, fmt.Errorf("the grant was given by %s: only that key can revoke it", d.Grant.Grantor)
	}
	if d.Domain != w.Domain {
		return nil, fmt.Errorf("the grant is on chain %d, and this network is chain %d: choose its network with --network", d.Domain.ChainID, w.Domain.ChainID)
	}
	// Of a document that somebody altered, another switch would be thrown, and
	// the grant would go on.
	of := consent.GrantSwitch(w.Domain, d.Grant.Provisions)
	secret, err := w.Signer.RevocationSecret(of)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(d.Grant.Revocations, consent.Revocation(secret)) {
		return nil, errors.New("the document is not as this wallet signed it, so that nothing would end: name the grant by its id as “assent grants” lists it, or use --grantee or --everything")
	}
	r := &Revocation{secrets: []common.Hash{secret}}
	record, err := w.Documents.Get(ctx, consent.KindGrant, d.ID())
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) || errors.Is(err, database.ErrDamaged) {
		return r, nil
	} else if err != nil {
		return nil, err
	}
	s := standing(&record, d)
	if s.Verdict, _, err = w.Judge(ctx, d); err != nil {
		return nil, err
	}
	if s.Given && s.counts() {
		r.Grants = append(r.Grants, s)
	}
	return r, nil
}

// RevokeGrantee prepares the end of everything that this key gave to one
// grantee.
func (w *Wallet) RevokeGrantee(ctx context.Context, grantee common.Address) (*Revocation, error) {
	switches, err := w.switches(ctx, w.granteeSwitch(grantee))
	if err != nil {
		return nil, err
	}
	return w.revocation(ctx, func(s *Standing) bool { return s.Document.Grant.Grantee == grantee }, switches...)
}

// RevokeEverything prepares the end of everything that this key ever gave; it
// needs nothing but the key and the network.
func (w *Wallet) RevokeEverything(ctx context.Context) (*Revocation, error) {
	switches, err := w.switches(ctx, w.allSwitch)
	if err != nil {
		return nil, err
	}
	return w.revocation(ctx, func(*Standing) bool { return true }, switches...)
}

// switches gives the switches to throw: the one of the smallest epoch, and in a
// restored wallet the two after it.
func (w *Wallet) switches(ctx context.Context, of func(uint64) consent.Switch) ([]consent.Switch, error) {
	epoch, err := w.epoch(ctx, of)
	if err != nil {
		return nil, err
	}
	switches := []consent.Switch{of(epoch)}
	if w.Restored {
		for i := uint64(1); i < restoredEpochs; i++ {
			switches = append(switches, of(epoch+i))
		}
	}
	return switches, nil
}

func (w *Wallet) revocation(ctx context.Context, ends func(*Standing) bool, switches ...consent.Switch) (*Revocation, error) {
	r := new(Revocation)
	for _, s := range switches {
		secret, err := w.Signer.RevocationSecret(s)
		if err != nil {
			return nil, err
		}
		r.secrets = append(r.secrets, secret)
	}
	// What is damaged in the store keeps nobody from ending what the chain knows.
	grants, err := w.Grants(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, database.ErrDamaged) {
		return nil, err
	}
	for _, g := range grants {
		if g.Given && g.counts() && ends(&g) {
			r.Grants = append(r.Grants, g)
		}
	}
	return r, nil
}

// counts tells whether the grant counts now, or may still come to.
func (s *Standing) counts() bool {
	switch s.Verdict.Outcome {
	case consent.Permit, consent.NotYetValid, consent.NotAnchored:
		return true
	}
	return false
}

// Revoke posts the revocation and waits until it is confirmed. It takes effect
// in the block that it gets into.
func (w *Wallet) Revoke(ctx context.Context, r *Revocation) error {
	if err := w.Registry.Revoke(ctx, r.secrets); err != nil {
		return err
	}
	rows := make([][32]byte, len(r.Grants))
	for i, g := range r.Grants {
		rows[i] = [32]byte(w.Documents.row(consent.KindGrant, g.Document.ID()))
	}
	return w.Documents.setStates(ctx, rows, Revoked)
}

// Retire ends the account for ever: nothing that it signed counts any more, and
// nothing that it will sign. It cannot be undone, and it shows the account on
// chain.
func (w *Wallet) Retire(ctx context.Context) error {
	signature, err := w.Signer.SignRetirement(w.Domain)
	if err != nil {
		return err
	}
	return w.Registry.Retire(ctx, w.Signer.Address(), signature)
}

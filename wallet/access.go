package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assent-wallet/assent/consent"
	"github.com/ethereum/go-ethereum/common"
)

// Card gives the wallet's own card on this network: the newest one, or a new
// one where there is none, or where name is not empty and not the name on it.
func (w *Wallet) Card(ctx context.Context, name string) (*consent.CardDocument, error) {
	card, err := w.card(ctx, w.Signer.Address())
	if err != nil {
		return nil, err
	}
	if card != nil && (name == "" || name == card.Card.Name) {
		return card, nil
	}
	card, err = w.Signer.SignCard(w.Domain, consent.Card{Name: name, Time: w.now()})
	if err != nil {
		return nil, err
	}
	return card, w.keepCard(ctx, card)
}

// card gives the newest card of an account that the wallet knows on this
// network, or nil.
func (w *Wallet) card(ctx context.Context, account common.Address) (*consent.CardDocument, error) {
	record, err := w.Documents.Get(ctx, consent.KindCard, w.cardID(account))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return consent.ReadCard(bytes.NewReader(record.Document))
}

// keepCard keeps the newest card of an account.
func (w *Wallet) keepCard(ctx context.Context, card *consent.CardDocument) error {
	record, err := w.record(consent.KindCard, w.cardID(card.Card.Account), card)
	if err != nil {
		return err
	}
	record.Time = card.Card.Time
	if err := w.Documents.Renew(ctx, record); err != nil {
		return err
	}
	return w.met(ctx, card.Card.Account)
}

// cardID is where the newest card of an account is kept: one for each account
// and network.
func (w *Wallet) cardID(account common.Address) common.Hash {
	retirement := consent.Retirement{Account: account}
	return retirement.Digest(w.Domain)
}

// Names gives what the keys that the wallet knows call themselves.
func (w *Wallet) Names(ctx context.Context) (consent.Names, error) {
	// A card that is damaged leaves a key without a name, no more.
	records, err := w.Documents.List(ctx, consent.KindCard)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	names := make(consent.Names)
	for _, record := range records {
		card, err := consent.ReadCard(bytes.NewReader(record.Document))
		if err != nil {
			return nil, fmt.Errorf("a stored card: %w", err)
		}
		if card.Domain == w.Domain {
			names[card.Card.Account] = card.Card.Name
		}
	}
	return names, nil
}

// Request signs a request with the wallet's own card. Of request it takes
// everything but Requester, Time and Nonce.
func (w *Wallet) Request(ctx context.Context, request consent.Request) (*consent.RequestDocument, error) {
	card, err := w.Card(ctx, "")
	if err != nil {
		return nil, err
	}
	request.Time = w.now()
	return w.Signer.SignRequest(w.Domain, request, *card)
}

// Access signs an access of these scopes at the holder with a grant that the
// wallet received, and keeps the grant where it is anchored. binding is zero, or the thumbprint of
// the DPoP key that the session will prove.
func (w *Wallet) Access(ctx context.Context, grant *consent.GrantDocument, holder common.Address, scopes []consent.Scope, binding common.Hash) (*consent.AccessDocument, error) {
	if grant.Domain != w.Domain {
		return nil, fmt.Errorf("the grant is on chain %d, and this network is chain %d: choose its network with --network", grant.Domain.ChainID, w.Domain.ChainID)
	}
	links, err := grant.Open(holder, scopes)
	if err != nil {
		return nil, err
	}
	// Time may pass, and the chain move; but what was never whole never will be.
	verdict, err := w.appraise(ctx, grant)
	if err != nil {
		return nil, err
	}
	switch verdict.Outcome {
	case consent.BrokenChain, consent.BadGrantSignature, consent.NotPermitted:
		return nil, fmt.Errorf("the grant is not as it was signed: %s (%s, link %d): ask whoever gave it for the document again", verdict.Clause, verdict.Outcome, verdict.Link)
	}
	access, err := w.Signer.SignAccess(w.Domain, consent.Access{Holder: holder, Scopes: scopes, Binding: binding, Time: w.now()}, links)
	if err != nil {
		return nil, err
	}
	if verdict.Outcome == consent.NotAnchored { // its signature was not looked at
		return access, nil
	}
	return access, w.keepReceived(ctx, grant, verdict.Outcome == consent.Permit)
}

// ProveAddress signs the challenge that a data holder gave out, to show it that
// the account is there now. It opens nothing (consent.ProofOfAddress).
func (w *Wallet) ProveAddress(holder common.Address, challenge, binding common.Hash) (*consent.AccessDocument, error) {
	return w.Signer.SignProofOfAddress(w.Domain, holder, challenge, binding, w.now())
}

// Wish is what a grantee wants to use or pass on of a grant.
type Wish struct {
	Scopes        []string // in text form; none: all that the grant permits
	Purpose       string   // empty: the grant's
	DataFrom      uint64   // unix seconds; the grant's window narrows it
	DataUntil     uint64   // the same; 0: open
	Sensitivities consent.Sensitivities
	Holders       []common.Address // none: all that the grant names
}

// Fit gives the provisions that the wish comes to within what a grant permits:
// each scope with the purpose and within the dates of the provision that covers
// it, at the holders that it names. The error names the first scope that the
// grant does not permit.
func (want *Wish) Fit(grant *consent.GrantDocument) ([]consent.Provision, error) {
	texts := want.Scopes
	if len(texts) == 0 {
		for _, o := range grant.Provisions {
			if text := o.Provision.Scope.String(); !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	var fitting []consent.Provision
	for _, text := range texts {
		before := len(fitting)
		for _, o := range grant.Provisions {
			scope, err := want.within(text, &o.Provision.Scope)
			if err != nil {
				return nil, err
			}
			if !o.Provision.Scope.Covers(scope) || consent.CheckScope(scope) != nil { // the dates may leave nothing
				continue
			}
			for _, holder := range want.holders(o.Provision.Holder) {
				if p := (consent.Provision{Holder: holder, Scope: scope}); !slices.Contains(fitting, p) {
					fitting = append(fitting, p)
				}
			}
		}
		if len(fitting) == before && len(want.Scopes) > 0 {
			return nil, fmt.Errorf("the grant does not permit %s%s", text, want.beyond())
		}
	}
	if len(fitting) == 0 {
		return nil, fmt.Errorf("the grant permits nothing%s", want.beyond())
	}
	return fitting, nil
}

// within narrows a scope in text form to the purpose and window of a provision.
func (want *Wish) within(text string, p *consent.Scope) (consent.Scope, error) {
	purpose := p.Purpose
	if want.Purpose != "" {
		purpose = want.Purpose
	}
	scope, err := consent.ParseScope(text, purpose)
	if err != nil {
		return scope, err
	}
	scope.Sensitivities = want.Sensitivities
	scope.DataFrom = max(want.DataFrom, p.DataFrom)
	scope.DataUntil = want.DataUntil
	if p.DataUntil != 0 && (scope.DataUntil == 0 || p.DataUntil < scope.DataUntil) {
		scope.DataUntil = p.DataUntil
	}
	return scope, nil
}

// holders gives the holders that are wanted of those that a provision is for.
func (want *Wish) holders(provision common.Address) []common.Address {
	switch {
	case len(want.Holders) == 0 || slices.Contains(want.Holders, provision):
		return []common.Address{provision}
	case provision == (common.Address{}):
		return want.Holders
	}
	return nil
}

// beyond says what else of the wish may be why nothing fits.
func (want *Wish) beyond() string {
	var text string
	if want.Purpose != "" {
		text += " for " + want.Purpose
	}
	if want.Sensitivities != 0 {
		text += " with " + want.Sensitivities.String()
	}
	if len(want.Holders) > 0 {
		text += " at the data holder that you name"
	}
	return text
}

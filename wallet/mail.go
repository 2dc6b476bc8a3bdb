package wallet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/hpke"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// A sealed letter is 0x01 ‖ the encapsulated key ‖ the ciphertext of a letter/1,
// by HPKE (RFC 9180) to the key of a card (Assent protocol, section 8), with the
// recipient's address as additional data.
const (
	sealInfo        = "assent/seal/1"
	encapsulated    = 1120 // bytes, of MLKEM768-X25519
	maxSealed       = 1 << 20
	smallPadding    = 4 << 10 // a letter is as long as a multiple of it, so that its size tells little
	largePadding    = 64 << 10
	sealingOverhead = 1 + encapsulated + 16
)

// ErrSealed says that a letter cannot be opened.
var ErrSealed = errors.New("the letter is not sealed to this wallet, or was altered on its way")

// Seal seals a letter to the account of a card that was accepted.
func Seal(card *consent.Card, letter *consent.Letter) ([]byte, error) {
	if len(card.Sealing) == 0 {
		return nil, fmt.Errorf("the card of %s has no key to seal to: ask for a new one", card.Account)
	}
	if err := card.Check(card.Time, 0); err != nil {
		return nil, fmt.Errorf("seal a letter: %w", err)
	}
	text, err := letter.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("seal a letter: %w", err)
	}
	step := smallPadding
	if len(text) > largePadding {
		step = largePadding
	}
	size := (len(text) + step - 1) / step * step
	if size+sealingOverhead > maxSealed {
		return nil, fmt.Errorf("seal a letter: its documents have %d bytes, which no relay takes: hand them over as files", len(text))
	}
	text = append(text, bytes.Repeat([]byte(" "), size-len(text))...)
	public, err := hpke.MLKEM768X25519().NewPublicKey(card.Sealing[1:])
	if err != nil {
		return nil, fmt.Errorf("seal a letter to the card of %s: %w", card.Account, err)
	}
	key, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(sealInfo))
	if err != nil {
		return nil, fmt.Errorf("seal a letter: %w", err)
	}
	sealed, err := sender.Seal(card.Account[:], text)
	if err != nil {
		return nil, fmt.Errorf("seal a letter: %w", err)
	}
	return append(append([]byte{sealingVersion}, key...), sealed...), nil
}

// OpenLetter opens a letter: see Signer.
func (k *Key) OpenLetter(sealed []byte) (*consent.Letter, error) {
	if len(sealed) <= sealingOverhead || sealed[0] != sealingVersion {
		return nil, ErrSealed
	}
	private, err := k.sealing()
	if err != nil {
		return nil, err
	}
	key, sealed := sealed[1:1+encapsulated], sealed[1+encapsulated:]
	recipient, err := hpke.NewRecipient(key, private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(sealInfo))
	if err != nil {
		return nil, ErrSealed
	}
	text, err := recipient.Open(k.address[:], sealed)
	if err != nil {
		return nil, ErrSealed
	}
	return consent.ReadLetter(bytes.NewReader(text))
}

// sealing derives the key pair of the account's card.
func (k *Key) sealing() (hpke.PrivateKey, error) {
	return use(k, func(private *ecdsa.PrivateKey) (hpke.PrivateKey, error) {
		seed := consent.SealingSeed(private)
		defer clear(seed[:])
		return hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	})
}

// Relay is a relay's mailboxes as the use cases need them. Nothing that it gives
// is believed unchecked.
type Relay interface {
	// URL names it.
	URL() string
	// Card gives the card that an account published there; nil: none.
	Card(ctx context.Context, account common.Address) (*consent.CardDocument, error)
	// PutCard publishes a card.
	PutCard(ctx context.Context, card *consent.CardDocument) error
	// Send puts a sealed letter into the mailbox of an account.
	Send(ctx context.Context, to common.Address, sealed []byte) error
	// Mailbox opens the mailbox of an account with a proof of address.
	Mailbox(ctx context.Context, account common.Address, domain consent.Domain, prove Prove) (Mailbox, error)
}

// Prove signs a proof of address: see consent.ProofOfAddress.
type Prove func(holder common.Address, challenge, binding common.Hash) (*consent.AccessDocument, error)

// Mailbox is a mailbox that is open to its owner.
type Mailbox interface {
	// Letters lists the letters, oldest first.
	Letters(ctx context.Context) ([]Sealed, error)
	// Read gives a sealed letter; nil: it is not there any more.
	Read(ctx context.Context, id string) (sealed []byte, err error)
	// Delete takes a letter away, for ever.
	Delete(ctx context.Context, id string) error
}

// Sealed is a letter in a mailbox.
type Sealed struct {
	ID       string
	Received uint64 // when it came there, unix seconds
}

// undecidedFor is how long, in seconds, a letter is left in the mailbox with a
// document that is undecided. One that this wallet could not look at, such as
// while the chain is away, is left there until it can.
const undecidedFor = 24 * 60 * 60

// ErrNoRelay says that the network in use has no relay.
var ErrNoRelay = errors.New("this network has no relay: name one with “assent network add --relay”")

// kindPublished is of a network where the wallet's card was published. It is
// found like that card.
const kindPublished = "published"

// Publish puts the wallet's card on a relay, which gives it a mailbox there, and
// remembers that: see Published.
func (w *Wallet) Publish(ctx context.Context, relay Relay) error {
	card, err := w.Card(ctx, "")
	if err != nil {
		return err
	}
	account := card.Card.Account
	there, err := relay.Card(ctx, account)
	if err != nil || there == nil || there.Card.Time < card.Card.Time {
		if err := relay.PutCard(ctx, card); err != nil {
			return err
		}
	}
	if already, err := w.Published(ctx); err == nil && already {
		return nil
	}
	return w.Documents.restore(ctx, []Record{{Kind: kindPublished, ID: w.cardID(account), Time: w.now(), Document: account[:]}})
}

// Published tells whether this wallet ever put its card on a relay of the
// network. Where it did not, its person was not asked whether the relays, and
// whoever has the address, may know of it.
func (w *Wallet) Published(ctx context.Context) (bool, error) {
	_, err := w.Documents.Get(ctx, kindPublished, w.cardID(w.Signer.Address()))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Send seals a letter to the newest card of an account and hands it to the first
// relay where that account has a mailbox. It gives the relay's URL. The relay is
// asked for nothing about the wallet itself, so that it does not learn who writes.
func (w *Wallet) Send(ctx context.Context, relays []Relay, to common.Address, letter *consent.Letter) (string, error) {
	if len(relays) == 0 {
		return "", ErrNoRelay
	}
	var why []error
	for _, relay := range relays {
		err := w.sendBy(ctx, relay, to, letter)
		if err == nil {
			return relay.URL(), nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		why = append(why, err)
	}
	return "", fmt.Errorf("the letter is not sent: %w", errors.Join(why...))
}

// Enclose gives the letter that takes a grant to its grantee, with a cover note
// where the address book has all data holders that the grant names.
func (w *Wallet) Enclose(ctx context.Context, grant *consent.GrantDocument) *consent.Letter {
	letter := &consent.Letter{Grants: []consent.GrantDocument{*grant}}
	if note, err := w.Cover(ctx, HoldersOf(grant.Provisions)); err == nil {
		letter.Covers = []consent.Cover{*note}
	}
	return letter
}

func (w *Wallet) sendBy(ctx context.Context, relay Relay, to common.Address, letter *consent.Letter) error {
	card, err := relay.Card(ctx, to)
	if err != nil {
		return err
	}
	if card == nil {
		return fmt.Errorf("%s has no mailbox at %s: its person opens one with “assent card --publish”", to, relay.URL())
	}
	// Where a newer card is known, the relay's is refused, and that one counts, if
	// its account is not retired since.
	if err := w.Meet(ctx, card); err != nil {
		known, failed := w.card(ctx, to)
		if failed != nil || known == nil || known.Card.Time <= card.Card.Time {
			return err
		}
		if err := w.Meet(ctx, known); err != nil {
			return err
		}
		card = known
	}
	sealed, err := Seal(&card.Card, letter)
	if err != nil {
		return err
	}
	return relay.Send(ctx, to, sealed)
}

// Received is a document that came by letter.
type Received struct {
	Kind string         // consent.KindRequest, KindGrant or KindCard; empty: a letter that came to nothing
	ID   common.Hash    // of a request or a grant
	From common.Address // who signed it; zero where it was not taken
	Name string         // what that key calls itself, where it is known: foreign text
	Err  error          // why it was not taken; nil: it was
}

// Collect opens the wallet's mailbox at a relay, with its card (see Publish), and
// takes in all letters in it: requests wait for an answer (see Waiting), grants
// and cards are kept. A letter is taken away from there once each of its
// documents is kept or refused for good; where that cannot be told now, it stays,
// and the error says why: an *UndecidedError where nothing else went wrong.
func (w *Wallet) Collect(ctx context.Context, relay Relay) ([]Received, error) {
	if err := w.Publish(ctx, relay); err != nil {
		return nil, err
	}
	box, err := relay.Mailbox(ctx, w.Signer.Address(), w.Domain, w.ProveAddress)
	if err != nil {
		return nil, err
	}
	letters, err := box.Letters(ctx)
	if err != nil {
		return nil, err
	}
	var all []Received
	var waits, failed, stuck []error
	for _, letter := range letters {
		sealed, err := box.Read(ctx, letter.ID)
		if err != nil {
			if stuck = append(stuck, err); silent(ctx, err) {
				break
			}
			continue
		}
		if sealed == nil {
			continue // another process of this wallet took it
		}
		received, undecided, err := w.unpack(ctx, sealed)
		all = append(all, received...)
		if err != nil || undecided != nil && w.now() < letter.Received+undecidedFor {
			waits, failed = append(waits, undecided), append(failed, err)
			continue
		}
		if undecided != nil {
			all = append(all, Received{Err: undecided})
		}
		if err := box.Delete(ctx, letter.ID); err != nil {
			if stuck = append(stuck, err); silent(ctx, err) {
				break
			}
		}
	}
	if len(stuck) > 0 {
		failed = append(failed, fmt.Errorf("%d of its letters cannot be fetched now, and stay: %w", len(stuck), stuck[0]))
	}
	undecided := errors.Join(waits...)
	if err := errors.Join(failed...); err != nil || undecided == nil {
		return all, errors.Join(undecided, err)
	}
	return all, &UndecidedError{undecided}
}

// silent tells whether the error says that nobody answers, or that nobody waits
// for an answer, rather than what is the matter with one letter.
func silent(ctx context.Context, err error) bool {
	_, lost := errors.AsType[net.Error](err)
	return lost || ctx.Err() != nil
}

// unpack takes in the documents of a letter. undecided says why some may count
// later, without being an *UndecidedError, and err what could not be looked at.
func (w *Wallet) unpack(ctx context.Context, sealed []byte) (all []Received, undecided, err error) {
	letter, err := w.Signer.OpenLetter(sealed)
	if errors.Is(err, ErrClosed) {
		return nil, nil, err
	}
	if err != nil {
		return []Received{{Err: err}}, nil, nil
	}
	var waits, failed []error
	add := func(r Received, err error) {
		later, undecided := errors.AsType[*UndecidedError](err)
		switch {
		case err == nil:
			all = append(all, r)
		case isRefusal(err):
			all = append(all, Received{Kind: r.Kind, ID: r.ID, Err: err}) // whom it names may not have signed it
		case undecided:
			waits = append(waits, later.Reason)
		default:
			failed = append(failed, err)
		}
	}
	for i := range letter.Cards {
		card := &letter.Cards[i]
		add(Received{Kind: consent.KindCard, From: card.Card.Account, Name: card.Card.Name}, w.Meet(ctx, card))
	}
	for i := range letter.Requests {
		request := &letter.Requests[i]
		id, err := w.Take(ctx, request)
		add(Received{Kind: consent.KindRequest, ID: id, From: request.Request.Requester, Name: request.Card.Card.Name}, err)
	}
	for i := range letter.Grants {
		grant := &letter.Grants[i]
		received := Received{Kind: consent.KindGrant, ID: grant.ID(), From: grant.Grant.Grantor}
		if names, err := w.Names(ctx); err == nil {
			received.Name = names[received.From]
		}
		add(received, w.receiveGrant(ctx, grant, letter.Covers))
	}
	return all, errors.Join(waits...), errors.Join(failed...)
}

// RefusedError says that a document is not taken, now or later.
type RefusedError struct{ Reason error }

func (e *RefusedError) Error() string { return e.Reason.Error() }

// Unwrap gives the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }

// UndecidedError says that a document does not count, and may later: nothing
// failed, and it is up to whoever sent it.
type UndecidedError struct{ Reason error }

func (e *UndecidedError) Error() string { return e.Reason.Error() }

// Unwrap gives the reason.
func (e *UndecidedError) Unwrap() error { return e.Reason }

func isRefusal(err error) bool {
	var (
		refused  *RefusedError
		denied   *DeniedError
		answered *AnsweredError
	)
	return errors.As(err, &refused) || errors.As(err, &denied) || errors.As(err, &answered) || errors.Is(err, ErrOlder)
}

// kindCover is of the cover note that came with a grant, found by the grant's id.
// It says where that grant is used, and is believed of no other: whoever sends a
// grant could else send a stranger's accesses to a place of her own.
const kindCover = "cover"

// receiveGrant keeps a grant that somebody gave to this wallet, and the cover
// notes that came with it.
func (w *Wallet) receiveGrant(ctx context.Context, grant *consent.GrantDocument, covers []consent.Cover) error {
	switch {
	case grant.Domain != w.Domain:
		return &RefusedError{errors.New("the grant is for another chain or registry")}
	case grant.Grant.Grantee != w.Signer.Address():
		return &RefusedError{fmt.Errorf("the grant is to %s", grant.Grant.Grantee)}
	}
	verdict, err := w.appraise(ctx, grant)
	if err != nil {
		return err
	}
	switch verdict.Outcome {
	case consent.Permit:
	case consent.NotAnchored:
		return &UndecidedError{fmt.Errorf("the grant %s is not anchored yet: look again later", grant.ID())}
	default:
		return &RefusedError{fmt.Errorf("the grant does not count: %s (%s, link %d)", verdict.Clause, verdict.Outcome, verdict.Link)}
	}
	note := consent.Cover{}
	named := HoldersOf(grant.Provisions)
	for _, cover := range covers {
		for _, holder := range cover.Holders {
			i := slices.Index(named, holder.Account)
			if i < 0 || len(note.Holders) == consent.MaxHolders {
				continue
			}
			named[i] = common.Address{} // each once
			note.Holders = append(note.Holders, holder)
		}
	}
	if len(note.Holders) > 0 {
		record, err := w.record(kindCover, grant.ID(), note)
		if err != nil {
			return err
		}
		if err := w.Documents.Renew(ctx, record); err != nil {
			return err
		}
	}
	return w.keepReceived(ctx, grant, true)
}

// CoverOf gives the cover note that came with a grant. The error wraps
// ErrNotFound where none did.
func (w *Wallet) CoverOf(ctx context.Context, grant common.Hash) (*consent.Cover, error) {
	record, err := w.Documents.Get(ctx, kindCover, grant)
	if err != nil {
		return nil, fmt.Errorf("the cover note of the grant %s: %w", grant, err)
	}
	return consent.ReadCover(bytes.NewReader(record.Document))
}

package wallet

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

// Signer signs for one account: one typed method per document, and none for a
// bare hash. It is the boundary to keys that are kept elsewhere, and to tests
// that look at what was signed; Key is the one that keeps its key in memory.
type Signer interface {
	// Address gives the account.
	Address() common.Address
	// SignGrant makes and signs a grant of the provisions. Of grant it takes
	// Grantee, NotBefore, Expires and Handoffs, and fills in the rest, whatever
	// stands there: Grantor, the root over the provisions (with fresh salts),
	// the three switches of the epochs, and Parent. parents are empty, or the
	// grants that this one hands on, root first; of their provisions only those
	// stay that it rests on.
	SignGrant(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, parents []consent.GrantDocument, epochs Epochs) (*consent.GrantDocument, error)
	// SignBatchGrant makes and signs a grant of a batch, as SignGrant does, with
	// the switch of the batch beside the three. Nothing in it is left to chance:
	// the same arguments give the same bytes, and others share nothing with them.
	// reference is what names the grant within the batch. So it can be known what
	// is to be anchored before anything is signed, by the id alone.
	SignBatchGrant(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, epochs Epochs, batch common.Hash, reference string) (*consent.GrantDocument, error)
	// BatchGrantID gives the id of the grant that SignBatchGrant signs.
	BatchGrantID(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, epochs Epochs, batch common.Hash, reference string) (common.Hash, error)
	// SignAccess signs an access with the links that a grant opens for it
	// (consent.GrantDocument.Open). It fills in Grant and a fresh Nonce.
	SignAccess(domain consent.Domain, access consent.Access, links []consent.Link) (*consent.AccessDocument, error)
	// SignProofOfAddress signs the challenge of whoever asks for a proof that the
	// account is there (consent.ProofOfAddress). It opens nothing.
	SignProofOfAddress(domain consent.Domain, holder common.Address, challenge, binding common.Hash, time uint64) (*consent.AccessDocument, error)
	// SignRequest signs a request with the account's own card. It fills in
	// Requester and a fresh Nonce.
	SignRequest(domain consent.Domain, request consent.Request, card consent.CardDocument) (*consent.RequestDocument, error)
	// SignCard signs a card. It fills in Account and Sealing.
	SignCard(domain consent.Domain, card consent.Card) (*consent.CardDocument, error)
	// SignRetirement signs the end of the account, for ever.
	SignRetirement(domain consent.Domain) ([]byte, error)
	// SignTransaction signs a transaction that calls a contract and moves no
	// coins, so that the account may pay for what it posts.
	SignTransaction(tx *types.Transaction, chainID *big.Int) (*types.Transaction, error)
	// OpenLetter opens a letter that is sealed to the account's card. The error is
	// ErrSealed where it is not, or was altered.
	OpenLetter(sealed []byte) (*consent.Letter, error)
	// RevocationSecret derives the secret of a switch. Whoever has it can end
	// what the switch ends, and nothing else.
	RevocationSecret(s consent.Switch) (common.Hash, error)
}

// Epochs are the epochs that the switches of a new grant are of: the smallest
// ones that are not on chain yet (Assent protocol, section 5).
type Epochs struct {
	Grantee uint64 // of the switch for the grantee
	All     uint64 // of the switch for everything
}

// ErrClosed is what a Key gives after Close.
var ErrClosed = errors.New("the wallet is locked: unlock it again")

// Key is an unlocked wallet: what its private key can do, without the key. It
// may be used by several goroutines at once.
type Key struct {
	address common.Address

	mu      sync.RWMutex
	private *ecdsa.PrivateKey // nil once closed
	store   [32]byte          // what the documents are sealed under

	shared *lru.Cache[sharedSwitches, []common.Hash] // their revocations
}

var _ Signer = (*Key)(nil)

// NewKey derives the key of the wallet that the entropy makes (see Phrase). The
// caller clears the entropy.
func NewKey(entropy []byte) (*Key, error) {
	private, err := derive(entropy)
	if err != nil {
		return nil, err
	}
	return newKey(private)
}

func newKey(private *ecdsa.PrivateKey) (*Key, error) {
	k := &Key{
		address: crypto.PubkeyToAddress(private.PublicKey), private: private,
		shared: lru.NewCache[sharedSwitches, []common.Hash](rememberedSwitches),
	}
	scalar := crypto.FromECDSA(private)
	defer clear(scalar)
	store, err := hkdf.Key(sha256.New, scalar, []byte("assent/v1"), "store", len(k.store))
	if err != nil {
		return nil, fmt.Errorf("derive the key of the store: %w", err)
	}
	defer clear(store)
	copy(k.store[:], store)
	return k, nil
}

// Close clears the key from memory, as far as Go's libraries made no copies.
func (k *Key) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.private == nil {
		return
	}
	//lint:ignore SA1019 the scalar has no other way to be cleared
	clear(k.private.D.Bits())
	k.private = nil
	clear(k.store[:])
}

// Address gives the account.
func (k *Key) Address() common.Address { return k.address }

// Format prints the account, whatever the verb: a key never prints its secret.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "wallet ", k.address.Hex()) }

// use lends the private key to do, and does not let Close clear it meanwhile.
func use[T any](k *Key, do func(*ecdsa.PrivateKey) (T, error)) (T, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.private == nil {
		var none T
		return none, ErrClosed
	}
	return do(k.private)
}

func (k *Key) sign(digest common.Hash) ([]byte, error) {
	return use(k, func(private *ecdsa.PrivateKey) ([]byte, error) { return consent.Sign(digest, private) })
}

// RevocationSecret derives the secret of a switch.
func (k *Key) RevocationSecret(s consent.Switch) (common.Hash, error) {
	return use(k, func(private *ecdsa.PrivateKey) (common.Hash, error) { return s.Secret(private), nil })
}

const (
	maxNumber      = 1<<53 - 1 // in a document (Assent protocol, section 8)
	randomBuffered = 576       // bytes: the salts, fillers and order of a usual grant in one read
)

// SignGrant makes and signs a grant: see Signer. It refuses what could never
// count or is out of form: no grantee, an empty window, no provision or more
// than 64, a scope that may not stand in a document, and a hand-off that is
// wider or lasts longer than what it hands on, or is not this account's to hand
// on.
func (k *Key) SignGrant(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, parents []consent.GrantDocument, epochs Epochs) (*consent.GrantDocument, error) {
	grant.Grantor = k.address
	if err := checkGrant(domain, &grant, provisions); err != nil {
		return nil, fmt.Errorf("sign the grant: %w", err)
	}
	grant.Parent = common.Hash{}
	var err error
	if len(parents) > 0 {
		if parents, err = handOff(domain, &grant, provisions, parents); err != nil {
			return nil, fmt.Errorf("sign the hand-off: %w", err)
		}
		grant.Parent = parents[len(parents)-1].ID()
	}
	document := &consent.GrantDocument{Domain: domain, Parents: parents}
	grant.Provisions, document.Provisions, err = consent.Disclose(bufio.NewReaderSize(rand.Reader, randomBuffered), provisions)
	if err != nil {
		return nil, fmt.Errorf("sign the grant: %w", err)
	}
	grant.Revocations = nil
	for _, s := range []consent.Switch{
		consent.GrantSwitch(domain, grant.Provisions),
		consent.GranteeSwitch(domain, grant.Grantee, epochs.Grantee),
		consent.AllSwitch(domain, epochs.All),
	} {
		secret, err := k.RevocationSecret(s)
		if err != nil {
			return nil, fmt.Errorf("sign the grant: %w", err)
		}
		grant.Revocations = append(grant.Revocations, consent.Revocation(secret))
	}
	document.Grant = grant
	if document.Signature, err = k.sign(grant.ID(domain)); err != nil {
		return nil, fmt.Errorf("sign the grant: %w", err)
	}
	return document, nil
}

func checkGrant(domain consent.Domain, grant *consent.Grant, provisions []consent.Provision) error {
	switch {
	case grant.Grantee == (common.Address{}):
		return errors.New("it names no grantee")
	case grant.Expires <= grant.NotBefore:
		return errors.New("it ends before it begins")
	case grant.Expires > maxNumber:
		return fmt.Errorf("it ends at %d: want at most %d", grant.Expires, uint64(maxNumber))
	case len(provisions) < 1 || len(provisions) > consent.MaxOpenings:
		return fmt.Errorf("it has %d provisions: want 1 to %d", len(provisions), consent.MaxOpenings)
	}
	for i := range provisions {
		if err := consent.CheckScope(provisions[i].Scope); err != nil {
			return fmt.Errorf("provision %d: %w", i, err)
		}
	}
	return checkDomain(domain)
}

// checkDomain requires a domain that a document can name.
func checkDomain(d consent.Domain) error {
	if d.ChainID == 0 || d.ChainID > maxNumber || d.Registry == (common.Address{}) {
		return fmt.Errorf("chain %d with the registry %s is no network: choose one with “assent network use”", d.ChainID, d.Registry)
	}
	return nil
}

// handOff gives the parents of the grant with only what is passed on, and tells
// why the grant may not hand on from them.
func handOff(domain consent.Domain, grant *consent.Grant, provisions []consent.Provision, parents []consent.GrantDocument) ([]consent.GrantDocument, error) {
	last := len(parents) - 1
	from := parents[last]
	from.Parents = parents[:last]
	for i := range parents {
		p := &parents[i].Grant
		switch {
		case parents[i].Domain != domain:
			return nil, fmt.Errorf("grant %d above it is of another chain or registry", i)
		case grant.NotBefore < p.NotBefore || grant.Expires > p.Expires:
			return nil, fmt.Errorf("it is for longer than the grant from %s", p.Grantor)
		}
	}
	switch {
	case from.Grant.Grantee != grant.Grantor:
		return nil, fmt.Errorf("the grant from %s is not to this wallet but to %s", from.Grant.Grantor, from.Grant.Grantee)
	case grant.Handoffs >= from.Grant.Handoffs && from.Grant.Handoffs > 0:
		return nil, fmt.Errorf("it may be passed on %d times: want fewer than the %d of the grant from %s", grant.Handoffs, from.Grant.Handoffs, from.Grant.Grantor)
	}
	return from.HandOff(provisions)
}

// SignAccess signs an access: see Signer. It refuses an access that its links
// do not open, or that is not this account's.
func (k *Key) SignAccess(domain consent.Domain, access consent.Access, links []consent.Link) (*consent.AccessDocument, error) {
	if err := k.checkAccess(domain, &access, links); err != nil {
		return nil, fmt.Errorf("sign the access: %w", err)
	}
	access.Grant = links[len(links)-1].Grant.ID(domain)
	if _, err := io.ReadFull(rand.Reader, access.Nonce[:]); err != nil {
		return nil, fmt.Errorf("sign the access: %w", err)
	}
	signature, err := k.sign(access.Digest(domain))
	if err != nil {
		return nil, fmt.Errorf("sign the access: %w", err)
	}
	return &consent.AccessDocument{Domain: domain, Links: links, Access: access, Signature: signature}, nil
}

func (k *Key) checkAccess(domain consent.Domain, access *consent.Access, links []consent.Link) error {
	switch {
	case access.Holder == (common.Address{}):
		return errors.New("it names no data holder")
	case len(access.Scopes) < 1 || len(access.Scopes) > consent.MaxScopes:
		return fmt.Errorf("it has %d scopes: want 1 to %d", len(access.Scopes), consent.MaxScopes)
	case len(links) < 1 || len(links) > consent.MaxLinks:
		return fmt.Errorf("it has %d grants: want 1 to %d", len(links), consent.MaxLinks)
	case links[len(links)-1].Grant.Grantee != k.address:
		return fmt.Errorf("the grant is not to this wallet but to %s", links[len(links)-1].Grant.Grantee)
	}
	for i := range access.Scopes {
		if err := consent.CheckScope(access.Scopes[i]); err != nil {
			return fmt.Errorf("scope %d: %w", i, err)
		}
	}
	for i := range links {
		if len(links[i].Openings) != len(access.Scopes) {
			return fmt.Errorf("grant %d opens %d provisions: want one for each of the %d scopes", i, len(links[i].Openings), len(access.Scopes))
		}
	}
	return checkDomain(domain)
}

// SignProofOfAddress signs a proof of address: see Signer.
func (k *Key) SignProofOfAddress(domain consent.Domain, holder common.Address, challenge, binding common.Hash, time uint64) (*consent.AccessDocument, error) {
	access := consent.ProofOfAddress(holder, challenge, binding, time)
	err := checkDomain(domain)
	switch {
	case holder == (common.Address{}):
		err = errors.New("it names nobody to prove the address to")
	case challenge == (common.Hash{}):
		err = errors.New("it answers no challenge")
	}
	var signature []byte
	if err == nil {
		signature, err = k.sign(access.Digest(domain))
	}
	if err != nil {
		return nil, fmt.Errorf("sign the proof of address: %w", err)
	}
	return &consent.AccessDocument{Domain: domain, Links: []consent.Link{}, Access: access, Signature: signature}, nil
}

// SignRequest signs a request: see Signer. It refuses one that could not count
// for the patient (Assent protocol, section 8).
func (k *Key) SignRequest(domain consent.Domain, request consent.Request, card consent.CardDocument) (*consent.RequestDocument, error) {
	request.Requester = k.address
	if err := checkRequest(domain, &request, &card); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	if _, err := io.ReadFull(rand.Reader, request.Nonce[:]); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	signature, err := k.sign(request.Digest(domain))
	if err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	return &consent.RequestDocument{Domain: domain, Request: request, Signature: signature, Card: card}, nil
}

func checkRequest(domain consent.Domain, request *consent.Request, card *consent.CardDocument) error {
	switch {
	case request.Patient == (common.Address{}):
		return errors.New("it names no patient")
	case request.Expires <= request.NotBefore:
		return errors.New("what it asks for ends before it begins")
	case request.Expires > maxNumber:
		return fmt.Errorf("what it asks for ends at %d: want at most %d", request.Expires, uint64(maxNumber))
	case request.Expires <= request.Time:
		return errors.New("what it asks for has ended")
	case !utf8.ValidString(request.Reason):
		return errors.New("its reason is not UTF-8")
	case card.Card.Account != request.Requester || card.Domain != domain:
		return errors.New("the card in it is not this wallet's on this network: make a new one with “assent card”")
	}
	for i := range request.Scopes {
		if err := consent.CheckScope(request.Scopes[i]); err != nil {
			return fmt.Errorf("scope %d: %w", i, err)
		}
	}
	if err := request.Check(); err != nil {
		return err
	}
	return checkDomain(domain)
}

// sealingVersion is the first byte of a card's sealing (Assent protocol,
// section 8).
const sealingVersion = 0x01

// SignCard signs a card: see Signer.
func (k *Key) SignCard(domain consent.Domain, card consent.Card) (*consent.CardDocument, error) {
	sealing, err := k.sealing()
	if err != nil {
		return nil, fmt.Errorf("sign the card: %w", err)
	}
	card.Account = k.address
	card.Sealing = append([]byte{sealingVersion}, sealing.PublicKey().Bytes()...)
	if err := checkDomain(domain); err != nil {
		return nil, fmt.Errorf("sign the card: %w", err)
	}
	if !utf8.ValidString(card.Name) {
		return nil, errors.New("sign the card: its name is not UTF-8")
	}
	if err := card.Check(card.Time, 0); err != nil {
		return nil, fmt.Errorf("sign the card: %w", err)
	}
	signature, err := k.sign(card.Digest(domain))
	if err != nil {
		return nil, fmt.Errorf("sign the card: %w", err)
	}
	return &consent.CardDocument{Domain: domain, Card: card, Signature: signature}, nil
}

// SignRetirement signs the end of the account, for ever.
func (k *Key) SignRetirement(domain consent.Domain) ([]byte, error) {
	if err := checkDomain(domain); err != nil {
		return nil, fmt.Errorf("sign the retirement: %w", err)
	}
	retirement := consent.Retirement{Account: k.address}
	signature, err := k.sign(retirement.Digest(domain))
	if err != nil {
		return nil, fmt.Errorf("sign the retirement: %w", err)
	}
	return signature, nil
}

// SignTransaction signs a transaction: see Signer. It refuses one that moves
// coins, that makes a contract, or that would count on any chain.
func (k *Key) SignTransaction(tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	switch {
	case chainID == nil || chainID.Sign() <= 0:
		return nil, errors.New("sign the transaction: it names no chain")
	case tx.To() == nil:
		return nil, errors.New("sign the transaction: it calls no contract")
	case tx.Value().Sign() != 0:
		return nil, errors.New("sign the transaction: it moves coins")
	}
	signed, err := use(k, func(private *ecdsa.PrivateKey) (*types.Transaction, error) {
		return types.SignTx(tx, types.LatestSignerForChainID(chainID), private)
	})
	if err != nil {
		return nil, fmt.Errorf("sign the transaction: %w", err)
	}
	return signed, nil
}

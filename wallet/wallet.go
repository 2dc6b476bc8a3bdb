// Package wallet is a person's wallet: the secret in the keyring of the
// operating system or in an encrypted file, the key derived from it, typed
// signing, the sealed store of documents, the settings, and the use cases
// (grant, revoke, request, access, list, batch) that the commands and the terminal app
// both call.
//
// It never decides whether an access is permitted: that is package consent's.
// It never lets a private key, the secret or a password out, into an error or
// into a log; it signs only documents of the Assent protocol and transactions
// that move no coins, never a bare hash; and it never falls back from one place
// of the secret to another.
package wallet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// Registry is the chain as the use cases need it. What it posts is confirmed
// when it returns; posting again what is there changes nothing.
type Registry interface {
	// Read gives the state of the entries: anchors as of the confirmed block,
	// revocations and retirements as of the latest.
	Read(ctx context.Context, need consent.Entries) (consent.State, error)
	// Settled gives the block times of revocations as of the confirmed block; 0
	// for those that are not there.
	Settled(ctx context.Context, revocations []common.Hash) (map[common.Hash]uint64, error)
	// IsContract tells whether the account has code.
	IsContract(ctx context.Context, account common.Address) (bool, error)
	// Anchor gives the siblings that lead from the root to the one that was
	// anchored, where a relay put it into a tree with others; none where the root
	// itself was.
	Anchor(ctx context.Context, root common.Hash) (siblings []common.Hash, err error)
	Revoke(ctx context.Context, secrets []common.Hash) error
	Retire(ctx context.Context, account common.Address, signature []byte) error
}

// Wallet is one person's wallet, open, on one network. Its methods are the use
// cases. They store a document before they post it, so that what was cut off
// can be taken up again (Resume).
type Wallet struct {
	Signer    Signer
	Documents *Documents
	Registry  Registry
	Domain    consent.Domain
	Now       func() time.Time
	// Restored tells that the wallet was made from its phrase, so that it may
	// have signed what its store does not know of.
	Restored bool
}

func (w *Wallet) now() uint64 { return uint64(w.Now().Unix()) }

// record makes the record of a document.
func (w *Wallet) record(kind string, id common.Hash, document json.Marshaler) (Record, error) {
	text, err := document.MarshalJSON()
	return Record{Kind: kind, ID: id, Time: w.now(), Document: text}, err
}

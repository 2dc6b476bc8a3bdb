// Package consent is the pure core of Assent: what a patient signs, and how a
// request is decided against it.
//
// It holds the scopes, provisions, grants, accesses, requests and cards of the
// Assent protocol, version 1; their Merkle trees; their EIP-712 hashes; their
// strict JSON documents; the decision (Examine, then Decide) with the data
// holder's checks around it (Holder); and the sentence in plain words that a
// person reads before signing (Describe).
//
// It never opens a network connection, a file or a keyring, never asks what
// time it is, and draws no randomness of its own: private keys, random bytes,
// the clock and the state of the chain come in as arguments. It tells which
// entries of the chain a decision needs (Entries) and decides on a State of
// just these, read at one block.
package consent

import (
	"github.com/ethereum/go-ethereum/common"
)

// Limits of the decision (Assent protocol, section 7, row Malformed).
const (
	MaxLinks       = 32   // links of one access
	MaxScopes      = 64   // scopes of one access or request
	MaxRevocations = 8    // revocations of one grant
	MaxProof       = 64   // hashes of one proof
	MaxOpenings    = 64   // openings of one link
	MaxSignature   = 4096 // bytes of one signature
	MaxHolders     = 64   // holders of one request (section 8)
	MaxName        = 128  // bytes of a card's name (section 8)
	MaxReason      = 1024 // bytes of a request's reason (section 8)
)

// Domain is where a signature counts: one registry on one chain. With the
// constant name "Assent" and version "1" it makes the EIP-712 domain (Assent
// protocol, section 2).
type Domain struct {
	ChainID  uint64 // EIP-155 chain id, below 2^53
	Registry common.Address
}

// Provision is one thing that a grant permits: a scope at one data holder
// (Assent protocol, section 4).
type Provision struct {
	Salt   common.Hash    // 32 random bytes, fresh for each provision
	Holder common.Address // zero: any holder
	Scope  Scope
}

// Grant is what a grantor signs: who may do what, from when, until when. It
// carries only the root of the tree of its provisions (Assent protocol,
// section 1).
type Grant struct {
	Grantor     common.Address
	Grantee     common.Address
	Provisions  common.Hash   // Merkle root of the provisions
	NotBefore   uint64        // unix seconds, inclusive
	Expires     uint64        // unix seconds, exclusive
	Revocations []common.Hash // 1 to 8; the grant ends when the secret of any is on chain
	Parent      common.Hash   // id of the grant that this one hands on; zero for a root grant
	Handoffs    uint8         // how many more times it may be handed on
}

// Opening discloses one provision with the siblings that lead from it to the
// root, from the leaf up.
type Opening struct {
	Provision Provision
	Proof     []common.Hash
}

// Link is one grant of a chain of hand-offs, as it is shown to a data holder:
// with its signature, the proof that it is anchored, and the provisions that
// the access needs, one per scope of the access.
type Link struct {
	Grant       Grant
	Signature   []byte
	AnchorProof []common.Hash
	Openings    []Opening
}

// Access is what a grantee signs to use a grant at one data holder once.
type Access struct {
	Grant   common.Hash    // id of the last link's grant
	Holder  common.Address // the data holder that is asked; never zero
	Scopes  []Scope
	Binding common.Hash // SHA-256 JWK thumbprint (RFC 7638) of a DPoP key; zero: none
	Time    uint64      // unix seconds
	Nonce   common.Hash
}

// Request is what a requester signs to ask a patient for a grant.
type Request struct {
	Requester common.Address
	Patient   common.Address
	Scopes    []Scope
	Holders   []common.Address // the zero address, said openly, for any holder
	NotBefore uint64           // of the grant asked for; unix seconds
	Expires   uint64           // of the grant asked for, and of the request; unix seconds
	Reason    string
	Time      uint64 // unix seconds
	Nonce     common.Hash
}

// Card tells others the address of a key and the name that it calls itself by.
// It proves the key, never the name.
type Card struct {
	Account common.Address
	Name    string
	Sealing []byte // see Card.Check; empty where nothing can be sealed to it
	Time    uint64 // unix seconds; the newest card of an account counts
}

// Retirement ends an account for ever: nothing that it signed counts any more.
type Retirement struct {
	Account common.Address
}

package consent

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/crypto"
)

// SignatureQuery asks whether an account signed a digest. It is comparable, so
// that answers can be kept by it.
type SignatureQuery struct {
	Account   common.Address
	Digest    common.Hash
	Signature string // the bytes as they are
}

// Sign signs a digest of this package with a key: 65 bytes r ‖ s ‖ v, v = 27
// or 28, s in the lower half of the order (Assent protocol, section 2).
func Sign(digest common.Hash, key *ecdsa.PrivateKey) ([]byte, error) {
	signature, err := crypto.Sign(digest[:], key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signature[64] += 27
	return signature, nil
}

// recovers tells whether the key of the account made the signature. Where it
// did not, the account may still be a contract that says so.
func (q SignatureQuery) recovers() bool {
	if len(q.Signature) != 65 || q.Account == (common.Address{}) {
		return false
	}
	signature := []byte(q.Signature)
	v := signature[64] - 27
	// crypto.SigToPub refuses neither an upper-half s, so that has to come first.
	if !crypto.ValidateSignatureValues(v, new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:64]), true) {
		return false
	}
	signature[64] = v
	key, err := crypto.Ecrecover(q.Digest[:], signature)
	if err != nil {
		return false
	}
	return common.BytesToAddress(crypto.Keccak256(key[1:])[12:]) == q.Account
}

// Verified remembers signatures of keys that were found good, so that a grant
// that comes again is not verified again. It never remembers the word of a
// contract. It may be used by several goroutines at once.
type Verified struct {
	good *lru.Cache[SignatureQuery, struct{}]
}

// NewVerified makes a memory for the last size signatures.
func NewVerified(size int) *Verified {
	return &Verified{lru.NewCache[SignatureQuery, struct{}](size)}
}

// recovers is like SignatureQuery's, through the memory; a nil v has none.
func (v *Verified) recovers(q SignatureQuery) bool {
	if v == nil {
		return q.recovers()
	}
	if v.good.Contains(q) {
		return true
	}
	good := q.recovers()
	if good {
		v.good.Add(q, struct{}{})
	}
	return good
}

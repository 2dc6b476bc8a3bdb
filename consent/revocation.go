package consent

import (
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// Switch is what one revocation secret ends, as the label that the secret is
// derived from (Assent protocol, section 5).
type Switch string

// GrantSwitch ends the one grant with these provisions.
func GrantSwitch(d Domain, provisions common.Hash) Switch {
	return d.label("grant") + Switch(fmt.Sprintf("/%#x", provisions))
}

// GranteeSwitch ends everything given to grantee in the epoch.
func GranteeSwitch(d Domain, grantee common.Address, epoch uint64) Switch {
	return d.label("grantee") + Switch(fmt.Sprintf("/%#x/%d", grantee, epoch))
}

// AllSwitch ends everything that the key ever gave in the epoch.
func AllSwitch(d Domain, epoch uint64) Switch {
	return d.label("all") + Switch(fmt.Sprintf("/%d", epoch))
}

// BatchSwitch ends the grants that were signed as one batch. Each of them lists
// four hashes: beside the three of section 5 that of the label
//
//	revoke/batch/<chain id>/<registry>/<batch id>
//
// in the form of the other labels, where the batch id is the SHA-256 of the file
// that the batch was made from. So whoever has the key and that file can end
// the batch with nothing else. It has no epoch: a file is given once. Whoever
// holds two grants of a batch sees by the hash that they are of one.
func BatchSwitch(d Domain, batch common.Hash) Switch {
	return d.label("batch") + Switch(fmt.Sprintf("/%#x", batch))
}

func (d Domain) label(what string) Switch {
	return Switch(fmt.Sprintf("revoke/%s/%d/%#x", what, d.ChainID, d.Registry))
}

// Secret derives the switch's revocation secret from the grantor's key.
// Whoever knows it can end what the switch ends, and nothing else.
func (s Switch) Secret(key *ecdsa.PrivateKey) common.Hash { return derive(key, string(s)) }

// Revocation gives the hash that stands in a grant for a revocation secret.
func Revocation(secret common.Hash) common.Hash { return crypto.Keccak256Hash(secret[:]) }

// SealingSeed derives the 32 bytes that a card's HPKE key pair is made from
// (Assent protocol, section 8).
func SealingSeed(key *ecdsa.PrivateKey) common.Hash { return derive(key, "seal") }

func derive(key *ecdsa.PrivateKey, info string) common.Hash {
	ikm := crypto.FromECDSA(key)
	defer clear(ikm)
	okm, err := hkdf.Key(sha256.New, ikm, []byte("assent/v1"), info, 32)
	if err != nil {
		panic(err) // only for lengths above 255 hashes
	}
	return common.Hash(okm)
}

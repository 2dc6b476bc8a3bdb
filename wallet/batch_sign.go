package wallet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

// BatchGrantID gives the id of the grant that SignBatchGrant signs: see Signer.
func (k *Key) BatchGrantID(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, epochs Epochs, batch common.Hash, reference string) (common.Hash, error) {
	document, err := k.batchGrant(domain, grant, provisions, epochs, batch, reference)
	if err != nil {
		return common.Hash{}, fmt.Errorf("sign the grant: %w", err)
	}
	return document.ID(), nil
}

// SignBatchGrant makes and signs a grant of a batch: see Signer. It refuses what
// SignGrant refuses.
func (k *Key) SignBatchGrant(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, epochs Epochs, batch common.Hash, reference string) (*consent.GrantDocument, error) {
	document, err := k.batchGrant(domain, grant, provisions, epochs, batch, reference)
	if err == nil {
		document.Signature, err = k.sign(document.ID())
	}
	if err != nil {
		return nil, fmt.Errorf("sign the grant: %w", err)
	}
	return document, nil
}

// batchGrant makes a grant of a batch, but for its signature.
func (k *Key) batchGrant(domain consent.Domain, grant consent.Grant, provisions []consent.Provision, epochs Epochs, batch common.Hash, reference string) (*consent.GrantDocument, error) {
	grant.Grantor, grant.Parent = k.address, common.Hash{}
	if err := checkGrant(domain, &grant, provisions); err != nil {
		return nil, err
	}
	random, err := k.batchRandom(domain, batch, batchContent(&grant, provisions, epochs, reference))
	if err != nil {
		return nil, err
	}
	document := &consent.GrantDocument{Domain: domain}
	if grant.Provisions, document.Provisions, err = consent.Disclose(random, provisions); err != nil {
		return nil, err
	}
	own, err := k.revocations(consent.GrantSwitch(domain, grant.Provisions))
	if err != nil {
		return nil, err
	}
	shared := sharedSwitches{domain, grant.Grantee, epochs, batch}
	others, known := k.shared.Get(shared)
	if !known {
		others, err = k.revocations(
			consent.GranteeSwitch(domain, grant.Grantee, epochs.Grantee),
			consent.AllSwitch(domain, epochs.All),
			consent.BatchSwitch(domain, batch),
		)
		if err != nil {
			return nil, err
		}
		k.shared.Add(shared, others)
	}
	grant.Revocations = append(own, others...)
	document.Grant = grant
	return document, nil
}

// sharedSwitches are those that the grants of a batch to one grantee have in
// common.
type sharedSwitches struct {
	domain  consent.Domain
	grantee common.Address
	epochs  Epochs
	batch   common.Hash
}

const rememberedSwitches = 4096

// revocations gives what stands in a grant for the switches. It is no secret.
func (k *Key) revocations(switches ...consent.Switch) (hashes []common.Hash, err error) {
	for _, s := range switches {
		secret, err := k.RevocationSecret(s)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, consent.Revocation(secret))
	}
	return hashes, nil
}

// batchContent gives the hash of all that a grant of a batch says.
func batchContent(grant *consent.Grant, provisions []consent.Provision, epochs Epochs, reference string) common.Hash {
	text := func(b []byte, s string) []byte {
		return append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b := text(make([]byte, 0, 256), reference)
	b = append(b, grant.Grantee[:]...)
	for _, n := range []uint64{grant.NotBefore, grant.Expires, uint64(grant.Handoffs), epochs.Grantee, epochs.All, uint64(len(provisions))} {
		b = binary.AppendUvarint(b, n)
	}
	for i := range provisions {
		p := &provisions[i]
		b = append(b, p.Holder[:]...)
		b = text(text(text(b, p.Scope.Resource), p.Scope.Filter), p.Scope.Purpose)
		for _, n := range []uint64{uint64(p.Scope.Interactions), p.Scope.DataFrom, p.Scope.DataUntil, uint64(p.Scope.Sensitivities)} {
			b = binary.AppendUvarint(b, n)
		}
	}
	return sha256.Sum256(b)
}

// batchRandom gives what is drawn by chance in a grant of a batch (salts,
// fillers and their order): the key stream of AES-256 in counter mode, from
// zero, under
//
//	HKDF-SHA256(private key, salt "assent/v1", info "batch/<chain id>/<registry>/<batch id>/<content>", 32)
//
// So a batch that was cut off comes out the same, byte for byte, and nothing of
// it has to be kept. To whoever has not the key it is as random as any; and what
// says something else, in whatever respect, or belongs to another batch, gets
// another stream.
func (k *Key) batchRandom(domain consent.Domain, batch, content common.Hash) (keyStream, error) {
	info := fmt.Sprintf("batch/%d/%#x/%#x/%#x", domain.ChainID, domain.Registry, batch, content)
	seed, err := use(k, func(private *ecdsa.PrivateKey) ([]byte, error) {
		scalar := crypto.FromECDSA(private)
		defer clear(scalar)
		return hkdf.Key(sha256.New, scalar, []byte("assent/v1"), info, 32)
	})
	if err != nil {
		return keyStream{}, err
	}
	defer clear(seed)
	block, err := aes.NewCipher(seed)
	if err != nil {
		return keyStream{}, err
	}
	return keyStream{cipher.NewCTR(block, make([]byte, aes.BlockSize))}, nil
}

// keyStream reads the key stream of a cipher.
type keyStream struct{ cipher.Stream }

func (s keyStream) Read(p []byte) (int, error) {
	clear(p)
	s.XORKeyStream(p, p)
	return len(p), nil
}

package registry_test

import (
	"crypto/ecdsa"
	"encoding/binary"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

// filler is the same 32 bytes at each run, and like random ones.
func filler(what string, i int) common.Hash {
	return crypto.Keccak256Hash([]byte(what), binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// key is the key of person i: the patient is 0, whoever gets a grant follows.
func key(t testing.TB, i int) *ecdsa.PrivateKey {
	t.Helper()
	k, err := crypto.ToECDSA(filler("key", i).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func account(i int) common.Address {
	k, err := crypto.ToECDSA(filler("key", i).Bytes())
	if err != nil {
		panic(err)
	}
	return crypto.PubkeyToAddress(k.PublicKey)
}

func sign(t testing.TB, i int, digest common.Hash) []byte {
	t.Helper()
	signature, err := consent.Sign(digest, key(t, i))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// fillers reads as random bytes, the same at each run.
type fillers struct{ n int }

func (f *fillers) Read(p []byte) (int, error) {
	for done := 0; done < len(p); f.n++ {
		h := filler("random", f.n)
		done += copy(p[done:], h[:])
	}
	return len(p), nil
}

// chainOf is a permitted access by n links: the patient's grant and n-1
// hand-offs of it, each of one provision, with three revocations.
func chainOf(t testing.TB, domain consent.Domain, n int, now uint64) *consent.AccessDocument {
	t.Helper()
	holder := common.Address(filler("holder", 0).Bytes()[:20])
	scope := consent.Scope{Resource: "Observation", Interactions: 18, Filter: "category=laboratory", Purpose: "TREAT"}
	d := &consent.AccessDocument{Domain: domain, Access: consent.Access{
		Holder: holder, Scopes: []consent.Scope{scope}, Binding: filler("binding", 0), Time: now, Nonce: filler("nonce", 0),
	}}
	random := new(fillers)
	for i := range n {
		root, openings, err := consent.Disclose(random, []consent.Provision{
			{Salt: filler("salt", i), Holder: holder, Scope: scope},
		})
		if err != nil {
			t.Fatal(err)
		}
		grant := consent.Grant{
			Grantor: account(i), Grantee: account(i + 1), Provisions: root, NotBefore: now - 86_400, Expires: now + 2_592_000,
			Revocations: []common.Hash{filler("grant", i), filler("grantee", i), filler("all", i)},
			Parent:      d.Access.Grant, Handoffs: uint8(n - 1 - i),
		}
		id := grant.ID(domain)
		d.Links = append(d.Links, consent.Link{Grant: grant, Signature: sign(t, i, id), Openings: openings})
		d.Access.Grant = id
	}
	d.Signature = sign(t, n, d.Access.Digest(domain))
	return d
}

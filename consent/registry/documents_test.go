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

// keys are people's: the patient's is the first, those who get grants follow.
var keys = func() (keys [consent.MaxLinks + 2]*ecdsa.PrivateKey) {
	for i := range keys {
		key, err := crypto.ToECDSA(filler("key", i).Bytes())
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
}()

var keyOf = func() map[common.Address]*ecdsa.PrivateKey {
	of := make(map[common.Address]*ecdsa.PrivateKey)
	for i, key := range keys {
		of[account(i)] = key
	}
	return of
}()

func account(i int) common.Address { return crypto.PubkeyToAddress(keys[i].PublicKey) }

func sign(t testing.TB, key *ecdsa.PrivateKey, digest common.Hash) []byte {
	t.Helper()
	signature, err := consent.Sign(digest, key)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// seal makes a document that was changed whole again: parents, signatures, and
// the id in the access. What has no key here keeps its signature.
func seal(t testing.TB, d *consent.AccessDocument) {
	t.Helper()
	var id common.Hash
	var grantee common.Address
	for i := range d.Links {
		grant := &d.Links[i].Grant
		grant.Parent = id
		id, grantee = grant.ID(d.Domain), grant.Grantee
		if key := keyOf[grant.Grantor]; key != nil {
			d.Links[i].Signature = sign(t, key, id)
		}
	}
	d.Access.Grant = id
	if key := keyOf[grantee]; key != nil {
		d.Signature = sign(t, key, d.Access.Digest(d.Domain))
	}
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
		d.Links = append(d.Links, consent.Link{Openings: openings, Grant: consent.Grant{
			Grantor: account(i), Grantee: account(i + 1), Provisions: root, NotBefore: now - 86_400, Expires: now + 2_592_000,
			Revocations: []common.Hash{filler("grant", i), filler("grantee", i), filler("all", i)},
			Handoffs:    uint8(n - 1 - i),
		}})
	}
	seal(t, d)
	return d
}

// anchors are the calls that anchor each grant of a document by itself.
func anchors(t testing.TB, d *consent.AccessDocument) (calls [][]byte) {
	for _, l := range d.Links {
		calls = append(calls, pack(t, "anchor", consent.AnchorLeaf(l.Grant.ID(d.Domain))))
	}
	return calls
}

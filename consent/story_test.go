package consent

import (
	"crypto/ecdsa"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"
)

// now is the clock of these tests: 22 June 2026, 10:00 UTC.
const now = 1782122400

var (
	testDomain = Domain{1337, common.HexToAddress("0x5fbdb2315678afecb367f032d93f642f64180aa3")}
	laboratory = addressOf(testKey("laboratory"))
	laboratoryScope,
	conditionScope = mustScope("patient/Observation.rs?category=laboratory"), mustScope("patient/Condition.rs")
)

func mustScope(text string) Scope {
	s, err := ParseScope(text, "TREAT")
	if err != nil {
		panic(err)
	}
	return s
}

// testKey makes the private key of a person of these tests.
func testKey(name string) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte(name)))
	if err != nil {
		panic(err)
	}
	return key
}

func addressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// testRandom gives the same bytes for the same seed.
func testRandom(seed uint64) *rand.ChaCha8 {
	return rand.NewChaCha8(crypto.Keccak256Hash(fmt.Append(nil, seed)))
}

// grantTo makes a signed grant from one key to another, below parents.
func grantTo(t rapid.TB, from *ecdsa.PrivateKey, to common.Address, parents []GrantDocument, handoffs uint8, provisions []Provision, seed uint64) *GrantDocument {
	t.Helper()
	root, openings, err := Disclose(testRandom(seed), provisions)
	if err != nil {
		t.Fatal(err)
	}
	d := &GrantDocument{
		Domain: testDomain,
		Grant: Grant{
			Grantor: addressOf(from), Grantee: to, Provisions: root, NotBefore: now - 3600, Expires: now + 30*24*3600,
			Revocations: []common.Hash{
				Revocation(GrantSwitch(testDomain, root).Secret(from)),
				Revocation(GranteeSwitch(testDomain, to, 0).Secret(from)),
				Revocation(AllSwitch(testDomain, 0).Secret(from)),
			},
			Handoffs: handoffs,
		},
		Provisions: openings,
		Parents:    parents,
	}
	if len(parents) > 0 {
		d.Grant.Parent = parents[len(parents)-1].ID()
	}
	// One of a batch of three.
	id := d.ID()
	tree := NewTree([]common.Hash{crypto.Keccak256Hash([]byte("another")), AnchorLeaf(id), crypto.Keccak256Hash([]byte("a third"))})
	d.AnchorProof = tree.Proof(1)
	if d.Signature, err = Sign(id, from); err != nil {
		t.Fatal(err)
	}
	return d
}

// accessBy makes a signed access with the grant.
func accessBy(t rapid.TB, d *GrantDocument, grantee *ecdsa.PrivateKey, holder common.Address, scopes []Scope) *AccessDocument {
	t.Helper()
	links, err := d.Open(holder, scopes)
	if err != nil {
		t.Fatal(err)
	}
	a := &AccessDocument{
		Domain: d.Domain,
		Links:  links,
		Access: Access{Grant: d.ID(), Holder: holder, Scopes: scopes, Time: now, Nonce: crypto.Keccak256Hash([]byte("nonce"))},
	}
	if a.Signature, err = Sign(a.Access.Digest(a.Domain), grantee); err != nil {
		t.Fatal(err)
	}
	return a
}

// handedOn makes a grant of these provisions that went through so many hands,
// whole, and gives the key of the last grantee.
func handedOn(t rapid.TB, links int, provisions []Provision) (*GrantDocument, *ecdsa.PrivateKey) {
	t.Helper()
	var d *GrantDocument
	from := testKey("patient")
	for i := range links {
		var parents []GrantDocument
		if d != nil {
			var err error
			if parents, err = d.HandOff(provisions); err != nil {
				t.Fatal(err)
			}
		}
		to := testKey(fmt.Sprint("grantee ", i))
		d = grantTo(t, from, addressOf(to), parents, uint8(links-1-i), provisions, uint64(i))
		from = to
	}
	return d, from
}

// anchors is a chain on which all these grants are anchored and nothing ended.
func anchors(d *AccessDocument) chainVector {
	var c chainVector
	for i := range d.Links {
		c.Anchored = append(c.Anchored, Root(AnchorLeaf(d.Links[i].Grant.ID(d.Domain)), d.Links[i].AnchorProof))
	}
	return c
}

// fourProvisions are such as a wallet makes: sensitive ones beside plain ones.
func fourProvisions() []Provision {
	sensitive := laboratoryScope
	sensitive.Sensitivities = HIV | STD
	return []Provision{
		{Holder: laboratory, Scope: laboratoryScope}, {Holder: laboratory, Scope: sensitive},
		{Scope: conditionScope}, {Holder: addressOf(testKey("hospital")), Scope: laboratoryScope},
	}
}

// Generators, of few values each, so that scopes often cover one another.

var (
	anyHash = rapid.Custom(func(t *rapid.T) common.Hash {
		return crypto.Keccak256Hash(fmt.Append(nil, rapid.Uint64().Draw(t, "hash")))
	})
	anyAddress = rapid.Custom(func(t *rapid.T) common.Address { return common.BytesToAddress(anyHash.Draw(t, "address").Bytes()) })
	anyHashes  = rapid.SliceOfN(anyHash, 0, 5)
	anyNumber  = rapid.Uint64Range(0, maxInteger)
	anyHolder  = rapid.SampledFrom([]common.Address{{}, laboratory, addressOf(testKey("hospital"))})

	anyScope = rapid.Custom(func(t *rapid.T) Scope {
		s := Scope{
			Resource:      rapid.SampledFrom([]string{"*", "Observation", "Condition"}).Draw(t, "resource"),
			Interactions:  Interactions(rapid.Uint8Range(1, 31).Draw(t, "interactions")),
			Filter:        rapid.SampledFrom([]string{"", "", "_tag=a", "_id=1&_tag=a"}).Draw(t, "filter"),
			DataFrom:      rapid.Uint64Range(0, 3).Draw(t, "from"),
			Purpose:       rapid.SampledFrom([]string{"TREAT", "TREAT", "HRESCH"}).Draw(t, "purpose"),
			Sensitivities: Sensitivities(rapid.SampledFrom([]uint64{0, 0, 1, 2, 3, 255}).Draw(t, "sensitivities")),
		}
		if rapid.Bool().Draw(t, "bounded") {
			s.DataUntil = s.DataFrom + rapid.Uint64Range(1, 3).Draw(t, "until")
		}
		return s
	})
	anyProvision = rapid.Custom(func(t *rapid.T) Provision {
		return Provision{anyHash.Draw(t, "salt"), anyHolder.Draw(t, "holder"), anyScope.Draw(t, "scope")}
	})
	anyOpening = rapid.Custom(func(t *rapid.T) Opening {
		return Opening{anyProvision.Draw(t, "provision"), anyHashes.Draw(t, "proof")}
	})
	anyDomain = rapid.Custom(func(t *rapid.T) Domain { return Domain{anyNumber.Draw(t, "chain"), anyAddress.Draw(t, "registry")} })
	anyBytes  = rapid.SliceOfN(rapid.Byte(), 0, 100)
	anyGrant  = rapid.Custom(func(t *rapid.T) Grant {
		return Grant{
			Grantor: anyAddress.Draw(t, "grantor"), Grantee: anyAddress.Draw(t, "grantee"), Provisions: anyHash.Draw(t, "provisions"),
			NotBefore: anyNumber.Draw(t, "notBefore"), Expires: anyNumber.Draw(t, "expires"), Revocations: anyHashes.Draw(t, "revocations"),
			Parent: anyHash.Draw(t, "parent"), Handoffs: rapid.Uint8().Draw(t, "handoffs"),
		}
	})
	anyLink = rapid.Custom(func(t *rapid.T) Link {
		return Link{anyGrant.Draw(t, "grant"), anyBytes.Draw(t, "signature"), anyHashes.Draw(t, "anchorProof"), rapid.SliceOfN(anyOpening, 0, 3).Draw(t, "openings")}
	})
	anyGrantDocument = rapid.Custom(func(t *rapid.T) *GrantDocument {
		document := func(domain Domain) GrantDocument {
			l := anyLink.Draw(t, "link")
			return GrantDocument{Domain: domain, Grant: l.Grant, Signature: l.Signature, AnchorProof: l.AnchorProof, Provisions: l.Openings}
		}
		d := document(anyDomain.Draw(t, "domain"))
		for range rapid.IntRange(0, 3).Draw(t, "parents") {
			d.Parents = append(d.Parents, document(d.Domain))
		}
		return &d
	})
	anyAccess = rapid.Custom(func(t *rapid.T) Access {
		return Access{
			anyHash.Draw(t, "grant"), anyAddress.Draw(t, "holder"), rapid.SliceOfN(anyScope, 0, 4).Draw(t, "scopes"),
			anyHash.Draw(t, "binding"), anyNumber.Draw(t, "time"), anyHash.Draw(t, "nonce"),
		}
	})
	anyAccessDocument = rapid.Custom(func(t *rapid.T) *AccessDocument {
		return &AccessDocument{anyDomain.Draw(t, "domain"), rapid.SliceOfN(anyLink, 0, 3).Draw(t, "links"), anyAccess.Draw(t, "access"), anyBytes.Draw(t, "signature")}
	})
	anyRequest = rapid.Custom(func(t *rapid.T) Request {
		return Request{
			anyAddress.Draw(t, "requester"), anyAddress.Draw(t, "patient"), rapid.SliceOfN(anyScope, 0, 4).Draw(t, "scopes"),
			rapid.SliceOfN(anyHolder, 0, 4).Draw(t, "holders"), anyNumber.Draw(t, "notBefore"), anyNumber.Draw(t, "expires"),
			rapid.String().Draw(t, "reason"), anyNumber.Draw(t, "time"), anyHash.Draw(t, "nonce"),
		}
	})
	anyCard = rapid.Custom(func(t *rapid.T) Card {
		return Card{anyAddress.Draw(t, "account"), rapid.String().Draw(t, "name"), anyBytes.Draw(t, "sealing"), anyNumber.Draw(t, "time")}
	})
	anyCardDocument = rapid.Custom(func(t *rapid.T) *CardDocument {
		return &CardDocument{anyDomain.Draw(t, "domain"), anyCard.Draw(t, "card"), anyBytes.Draw(t, "signature")}
	})
	anyRequestDocument = rapid.Custom(func(t *rapid.T) *RequestDocument {
		return &RequestDocument{anyDomain.Draw(t, "domain"), anyRequest.Draw(t, "request"), anyBytes.Draw(t, "signature"), *anyCardDocument.Draw(t, "card")}
	})
)

// narrowed gives a scope that s covers.
func narrowed(t *rapid.T, s Scope) Scope {
	if s.Resource == AnyResource && rapid.Bool().Draw(t, "narrow resource") {
		s.Resource = "Observation"
	}
	if fewer := s.Interactions & Interactions(rapid.Uint8Range(1, 31).Draw(t, "narrow interactions")); fewer != 0 {
		s.Interactions = fewer
	}
	if s.Filter == "" && rapid.Bool().Draw(t, "narrow filter") {
		s.Filter = "_tag=b"
	}
	if rapid.Bool().Draw(t, "narrow dates") && (s.DataUntil == 0 || s.DataUntil > s.DataFrom+1) {
		s.DataFrom++
		if s.DataUntil == 0 {
			s.DataUntil = s.DataFrom + 5
		}
	}
	s.Sensitivities &= Sensitivities(rapid.Uint64Range(0, 255).Draw(t, "narrow sensitivities"))
	return s
}

func requirePlain(t rapid.TB, text string) {
	t.Helper()
	if i := slices.IndexFunc([]rune(text), func(r rune) bool { return r < ' ' || r > '~' && !isShown(r) }); i >= 0 {
		t.Errorf("rune %d of %q is not to be shown to a person", i, text)
	}
}

// requestOf makes a signed request of the clinic to the patient, for any
// holder, with the clinic's card.
func requestOf(name, reason string, scopes ...Scope) *RequestDocument {
	clinic := testKey("clinic")
	d := &RequestDocument{
		Domain: testDomain,
		Request: Request{
			Requester: addressOf(clinic), Patient: addressOf(testKey("patient")), Scopes: scopes, Holders: []common.Address{{}},
			NotBefore: now, Expires: now + 30*24*3600, Reason: reason, Time: now, Nonce: common.Hash{1},
		},
		Card: CardDocument{Domain: testDomain, Card: Card{Account: addressOf(clinic), Name: name, Time: now}},
	}
	var err error
	if d.Signature, err = Sign(d.Request.Digest(testDomain), clinic); err != nil {
		panic(err)
	}
	if d.Card.Signature, err = Sign(d.Card.Card.Digest(testDomain), clinic); err != nil {
		panic(err)
	}
	return d
}

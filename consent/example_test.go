package consent_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/assent-wallet/assent/consent"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

var domain = consent.Domain{ChainID: 1337, Registry: common.HexToAddress("0x5fbdb2315678afecb367f032d93f642f64180aa3")}

func ExampleParseScope() {
	// SMART v1 is read and never written; filters become canonical.
	s, err := consent.ParseScope("patient/Observation.rs?code=http://loinc.org|4548-4&category=laboratory", "TREAT")
	fmt.Println(s, err)

	s, err = consent.ParseScope("patient/Condition.read", "TREAT")
	fmt.Println(s, err)

	_, err = consent.ParseScope("patient/Observation.rs?subject.name=Maria", "TREAT")
	fmt.Println(err)
	// Output:
	// patient/Observation.rs?category=laboratory&code=http://loinc.org|4548-4 <nil>
	// patient/Condition.rs <nil>
	// scope “patient/Observation.rs?subject.name=Maria”: filter “subject.name=Maria”: chaining could test what is not permitted
}

func ExampleScope_Covers() {
	labs, _ := consent.ParseScope("patient/Observation.rs?category=laboratory", "TREAT")
	all, _ := consent.ParseScope("patient/*.rs", "TREAT")
	fmt.Println(all.Covers(labs), labs.Covers(all))

	// HL7 places breaking the glass below treatment; a grant does not.
	glass := labs
	glass.Purpose = "BTG"
	fmt.Println(all.Covers(glass))
	// Output:
	// true false
	// false
}

// key makes the private key of a person of these examples; real ones come from
// a wallet.
func key(name string) *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(crypto.Keccak256([]byte(name)))
	if err != nil {
		log.Fatal(err)
	}
	return k
}

func nonce() (n common.Hash) {
	rand.Read(n[:])
	return n
}

// A patient grants, a clinic asks a laboratory, and the laboratory decides. The
// chain is a few maps here; package registry reads a real one.
func Example() {
	const now = 1782122400 // 22 June 2026, 10:00 UTC
	patient, clinic, laboratory := key("patient"), key("clinic"), crypto.PubkeyToAddress(key("laboratory").PublicKey)

	// The patient discloses one provision under a root, and signs the root.
	scope, err := consent.ParseScope("patient/Observation.rs?category=laboratory", "TREAT")
	if err != nil {
		log.Fatal(err)
	}
	root, openings, err := consent.Disclose(rand.Reader, []consent.Provision{{Holder: laboratory, Scope: scope}})
	if err != nil {
		log.Fatal(err)
	}
	grant := &consent.GrantDocument{
		Domain: domain,
		Grant: consent.Grant{
			Grantor: crypto.PubkeyToAddress(patient.PublicKey), Grantee: crypto.PubkeyToAddress(clinic.PublicKey),
			Provisions: root, NotBefore: now, Expires: now + 30*24*3600,
			Revocations: []common.Hash{consent.Revocation(consent.GrantSwitch(domain, root).Secret(patient))},
		},
		Provisions: openings,
	}
	if grant.Signature, err = consent.Sign(grant.ID(), patient); err != nil {
		log.Fatal(err)
	}

	// The clinic opens what its access needs, and signs the access.
	links, err := grant.Open(laboratory, []consent.Scope{scope})
	if err != nil {
		log.Fatal(err)
	}
	access := &consent.AccessDocument{
		Domain: domain,
		Links:  links,
		Access: consent.Access{Grant: grant.ID(), Holder: laboratory, Scopes: []consent.Scope{scope}, Time: now, Nonce: nonce()},
	}
	if access.Signature, err = consent.Sign(access.Access.Digest(domain), clinic); err != nil {
		log.Fatal(err)
	}

	// The laboratory reads what the decision needs of the chain, and decides.
	anchored := map[common.Hash]uint64{grant.Root(): now}
	revoked := map[common.Hash]uint64{}
	decide := func() {
		examination := consent.Examine(access, nil)
		need := examination.Entries()
		state := consent.State{Anchored: map[common.Hash]uint64{}, Revoked: map[common.Hash]uint64{}, Retired: map[common.Address]uint64{}}
		for _, root := range need.Anchors {
			state.Anchored[root] = anchored[root]
		}
		for _, hash := range need.Revocations {
			state.Revoked[hash] = revoked[hash]
		}
		for _, account := range need.Accounts {
			state.Retired[account] = 0
		}
		verdict, err := examination.Decide(state, now+60)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %q\n", verdict.Outcome, verdict.Clause)
	}
	decide()

	// The patient reveals the secret of the grant: that ends it.
	secret := consent.GrantSwitch(domain, root).Secret(patient)
	revoked[consent.Revocation(secret)] = now + 30
	decide()
	// Output:
	// Permit: ""
	// Revoked: "the grant was revoked at 2026-06-22T10:00:30Z by its revocation 0"
}

func ExampleDescribe() {
	clinic, laboratory := common.HexToAddress("0x1111111111111111111111111111111111111111"), common.HexToAddress("0x2222222222222222222222222222222222222222")
	scope, err := consent.ParseScope("patient/Observation.rs?category=laboratory", "TREAT")
	if err != nil {
		log.Fatal(err)
	}
	provisions := []consent.Opening{{Provision: consent.Provision{Holder: laboratory, Scope: scope}}}
	draft := &consent.Grant{Grantee: clinic, Expires: 1797897600}
	names := consent.Names{clinic: "Cardiology clinic", laboratory: "City laboratory"}
	fmt.Println(consent.Describe(draft, provisions, names))
	// Output:
	// Until 22 December 2026, 00:00 UTC, the key that calls itself “Cardiology clinic” may read and search laboratory results at the data holder that calls itself “City laboratory”, for treatment, leaving out what is known to be sensitive.
	// It may not pass this on.
	// Names are what keys call themselves:
	//   0x1111111111111111111111111111111111111111 calls itself “Cardiology clinic”
	//   0x2222222222222222222222222222222222222222 calls itself “City laboratory”
}

func ExampleQuote() {
	fmt.Println(consent.Quote("clinic” may read everything\x1b[2J\u202e"))
	// Output: “clinic" may read everything[2J”
}

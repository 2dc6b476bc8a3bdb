package registry_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

const now = 1_800_000_000 // the vectors' clock, all but two cases'

type domainJSON struct {
	ChainID  uint64         `json:"chainId"`
	Registry common.Address `json:"registry"`
}

// decisionVectors is the part of decisions.json that a contract needs.
type decisionVectors struct {
	Domain domainJSON     `json:"domain"`
	Cases  []decisionCase `json:"cases"`
}

// at is an EVM on the chain of a domain, with a registry there.
func at(t testing.TB, d domainJSON, time uint64) *evm {
	t.Helper()
	e := newEVM(t, d.ChainID, time)
	e.setCode(d.Registry, registry.RuntimeCode)
	return e
}

// TestVectorDecisionsSolidity has the contract decide every case on the chain
// that the case describes, written by real transactions.
func TestVectorDecisionsSolidity(t *testing.T) {
	var v decisionVectors
	vectors(t, "decisions.json", &v)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			e := at(t, v.Domain, c.Now)
			for _, call := range c.calls(t) {
				e.must(v.Domain.Registry, call)
			}
			for _, s := range c.Chain.Contracts {
				e.setCode(s.Account, s.code())
			}
			if got := e.decide(v.Domain.Registry, c.document(consent.Domain(v.Domain))); got != c.Expected {
				t.Errorf("got %v, want %v", got, c.Expected)
			}
		})
	}
}

// TestVectorSigningSolidity asks the contract about every signature. The
// digests of Grant, Access and Retirement are the contract's own in the
// decisions; Request and Card never reach it.
func TestVectorSigningSolidity(t *testing.T) {
	var v struct {
		Domain domainJSON `json:"domain"`
		Types  []struct {
			Type     string `json:"type"`
			Examples []struct {
				Message struct {
					Account common.Address `json:"account"`
				} `json:"message"`
				Digest    common.Hash    `json:"digest"`
				Account   common.Address `json:"account"`
				Signature hexutil.Bytes  `json:"signature"`
			} `json:"examples"`
		} `json:"types"`
		Signatures struct {
			Digest common.Hash `json:"digest"`
			Cases  []struct {
				Name      string         `json:"name"`
				Account   common.Address `json:"account"`
				Signature hexutil.Bytes  `json:"signature"`
				Valid     bool           `json:"valid"`
			} `json:"cases"`
		} `json:"signatures"`
	}
	vectors(t, "signing.json", &v)
	e := at(t, v.Domain, now)
	for _, typ := range v.Types {
		t.Run(typ.Type, func(t *testing.T) {
			for i, x := range typ.Examples {
				if yes, err := e.signed(v.Domain.Registry, x.Account, x.Digest, x.Signature, plenty); err != nil || !yes {
					t.Errorf("example %d: signed is %t, %v", i, yes, err)
				}
				// Only the account itself can sign its retirement.
				if typ.Type != "Retirement" || x.Message.Account != x.Account {
					continue
				}
				logs := e.must(v.Domain.Registry, pack(t, "retire", x.Account, []byte(x.Signature)))
				if len(logs) != 1 {
					t.Errorf("example %d: retiring emits %d events", i, len(logs))
				}
			}
		})
	}
	for _, c := range v.Signatures.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if got, err := e.signed(v.Domain.Registry, c.Account, v.Signatures.Digest, c.Signature, plenty); err != nil || got != c.Valid {
				t.Errorf("signed is %t, %v, want %t", got, err, c.Valid)
			}
		})
	}
}

// TestVectorScopesSolidity puts each pair into a grant of one provision and an
// access of one scope, and each text into both, under the hash that the
// vectors give for it.
func TestVectorScopesSolidity(t *testing.T) {
	var v struct {
		Texts []struct {
			Text       string         `json:"text"`
			Purpose    string         `json:"purpose"`
			Scope      *consent.Scope `json:"scope"`
			HashStruct common.Hash    `json:"hashStruct"`
		} `json:"texts"`
		Covers []struct {
			Name      string        `json:"name"`
			Provision consent.Scope `json:"provision"`
			Access    consent.Scope `json:"access"`
			Covers    bool          `json:"covers"`
		} `json:"covers"`
	}
	vectors(t, "scopes.json", &v)
	provisionType := crypto.Keccak256([]byte("Provision(bytes32 salt,address holder,Scope scope)" +
		"Scope(string resource,uint8 interactions,string filter,uint64 dataFrom,uint64 dataUntil,string purpose,uint64 sensitivities)"))
	test := func(name string, provision, access consent.Scope, leaf func(consent.Provision) common.Hash, want verdict) {
		t.Run(name, func(t *testing.T) {
			e := newRegistry(t)
			d := chainOf(t, domain, 1, now)
			d.Access.Scopes[0] = access
			opening := &d.Links[0].Openings[0]
			opening.Provision.Scope = provision
			d.Links[0].Grant.Provisions = consent.Root(leaf(opening.Provision), opening.Proof)
			seal(t, d)
			e.must(registry.Address, anchors(t, d)[0])
			if got := e.decide(registry.Address, d); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	permit, notPermitted := verdict{Outcome: "Permit"}, verdict{"NotPermitted", uint8(consent.NotPermitted), 0}
	for _, c := range v.Covers {
		want := notPermitted
		if c.Covers {
			want = permit
		}
		test("covers "+c.Name, c.Provision, c.Access, func(p consent.Provision) common.Hash { return p.Leaf() }, want)
	}
	for _, c := range v.Texts {
		if c.Scope == nil {
			continue
		}
		test(c.Text+" for "+c.Purpose, *c.Scope, *c.Scope, func(p consent.Provision) common.Hash {
			return crypto.Keccak256Hash(crypto.Keccak256(provisionType, p.Salt[:], common.LeftPadBytes(p.Holder[:], 32), c.HashStruct[:]))
		}, permit)
	}
}

// TestVectorSecretsSolidity reveals each secret.
func TestVectorSecretsSolidity(t *testing.T) {
	var v struct {
		Cases []struct {
			Domain     domainJSON  `json:"domain"`
			Label      string      `json:"label"`
			Secret     common.Hash `json:"secret"`
			Revocation common.Hash `json:"revocation"`
		} `json:"cases"`
	}
	vectors(t, "secrets.json", &v)
	for _, c := range v.Cases {
		t.Run(c.Label, func(t *testing.T) {
			e := at(t, c.Domain, now)
			logs := e.must(c.Domain.Registry, pack(t, "revoke", []common.Hash{c.Secret}))
			if len(logs) != 1 {
				t.Fatalf("%d events", len(logs))
			}
			if event, err := contract.UnpackRevokedEvent(logs[0]); err != nil || event.Secret != c.Secret {
				t.Errorf("the event is %v, %v", event, err)
			}
			if got := e.entry(c.Domain.Registry, pack(t, "revokedAt", c.Revocation)); got != now {
				t.Errorf("revokedAt is %d", got)
			}
		})
	}
}

// TestVectorTreesSolidity proves the provisions of every tree to the contract.
// The other proofs there are of stand-ins, of which no grant or provision with
// that hash exists: the contract has one function for all proofs, and Go's
// verify them.
func TestVectorTreesSolidity(t *testing.T) {
	var v struct {
		ProvisionTrees []struct {
			Root   common.Hash       `json:"root"`
			Opened []consent.Opening `json:"opened"`
		} `json:"provisionTrees"`
	}
	vectors(t, "trees.json", &v)
	for i, tree := range v.ProvisionTrees {
		for k, opening := range tree.Opened {
			e := newRegistry(t)
			d := chainOf(t, domain, 1, now)
			d.Access.Scopes[0] = opening.Provision.Scope
			d.Links[0].Openings[0] = opening
			d.Links[0].Grant.Provisions = tree.Root
			if holder := opening.Provision.Holder; holder != (common.Address{}) {
				d.Access.Holder = holder
			}
			seal(t, d)
			e.must(registry.Address, anchors(t, d)[0])
			if got := e.decide(registry.Address, d); got.Outcome != "Permit" {
				t.Errorf("tree %d, opening %d: %v", i, k, got)
			}
			for j := range opening.Proof {
				opening.Proof[j][31] ^= 1
				if got := e.decide(registry.Address, d); got.Outcome != "NotPermitted" {
					t.Errorf("tree %d, opening %d, sibling %d changed: %v", i, k, j, got)
				}
				opening.Proof[j][31] ^= 1
			}
		}
	}
}

package registry_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent/registry"
)

// decisionVectors is the part of decisions.json that a contract needs.
type decisionVectors struct {
	Domain struct {
		ChainID  uint64         `json:"chainId"`
		Registry common.Address `json:"registry"`
	} `json:"domain"`
	Cases []decisionCase `json:"cases"`
}

// TestVectorDecisionsSolidity has the contract decide every case on the chain
// that the case describes, written by real transactions.
func TestVectorDecisionsSolidity(t *testing.T) {
	var v decisionVectors
	vectors(t, "decisions.json", &v)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			e := newEVM(t, v.Domain.ChainID, c.Now)
			e.setCode(v.Domain.Registry, registry.RuntimeCode)
			for _, root := range c.Chain.Anchored {
				e.must(v.Domain.Registry, pack(t, "anchor", root))
			}
			if len(c.Chain.Secrets) > 0 {
				e.must(v.Domain.Registry, pack(t, "revoke", c.Chain.Secrets))
			}
			for _, r := range c.Chain.Retirements {
				e.must(v.Domain.Registry, pack(t, "retire", r.Account, []byte(r.Signature)))
			}
			for _, s := range c.Chain.Contracts {
				e.setCode(s.Account, s.code())
			}
			out, err := e.call(v.Domain.Registry, c.input(t), plenty)
			if err != nil {
				t.Fatal(err)
			}
			if got := unpackVerdict(t, out); got != c.Expected {
				t.Errorf("got %v, want %v", got, c.Expected)
			}
		})
	}
}

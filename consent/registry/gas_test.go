package registry_test

import (
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

var update = flag.Bool("update", false, "rewrite testdata/gas.json")

// TestGas holds the contract to the committed table of what each call costs as
// a transaction, all in. The figures are exact for the bytecode and these
// inputs.
func TestGas(t *testing.T) {
	got := make(map[string]uint64)
	measure := func(name string, to *common.Address, data []byte, before ...[]byte) {
		t.Helper()
		e := newRegistry(t)
		for _, data := range before {
			e.must(registry.Address, data)
		}
		result, _, err := e.send(to, data, params.MaxTxGas)
		if err != nil {
			t.Fatal(name, err)
		}
		got[name] = result.UsedGas
	}
	secrets := make([]common.Hash, 100)
	for i := range secrets {
		secrets[i] = filler("secret", i)
	}
	anchor := pack(t, "anchor", common.MaxHash) // zero bytes would be cheaper
	measure("deploy", nil, registry.InitCode)
	measure("anchor", &registry.Address, anchor)
	measure("anchor again", &registry.Address, anchor, anchor)
	measure("revoke 1", &registry.Address, pack(t, "revoke", []common.Hash{common.MaxHash}))
	measure("revoke 100", &registry.Address, pack(t, "revoke", secrets))
	retirement := consent.Retirement{Account: account(0)}
	measure("retire", &registry.Address, pack(t, "retire", account(0), sign(t, keys[0], retirement.Digest(domain))))
	for _, n := range []int{1, 4, 16} {
		d := chainOf(t, domain, n, now)
		measure("check "+big.NewInt(int64(n)).String(), &registry.Address, pack(t, "check", d.Links, d.Access, d.Signature), anchors(t, d)...)
	}

	for name, limit := range map[string]uint64{"anchor": 45_200, "revoke 1": 46_100, "check 1": 98_000, "check 16": 950_000} {
		if got[name] > limit {
			t.Errorf("%s costs %d gas: the design allows %d", name, got[name], limit)
		}
	}
	table, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	table = append(table, '\n')
	path := filepath.Join("testdata", "gas.json")
	if *update {
		if err := os.WriteFile(path, table, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(table) != string(want) {
		t.Errorf("gas changed (go test -run TestGas -update rewrites the table): got %s", table)
	}
}

package registry_test

import (
	"context"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/registry/anviltest"
)

// embedded is a fresh embedded chain and its network, with the account that
// pays there.
func embedded(t testing.TB) (registry.Network, registry.Payer) {
	t.Helper()
	chain, err := devchain.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	return registry.Network{
		Name: "local", ChainID: chain.ChainID(), OnDemand: true,
		Endpoints: []registry.Endpoint{{Name: "embedded chain", Dial: chain.Dial}},
	}, registry.KeyPayer(chain.Key())
}

// anvil is a fresh Foundry node and its network. The first three of payerOf have
// ether there.
func anvil(t testing.TB, args ...string) (registry.Network, *rpc.Client) {
	t.Helper()
	url, r := anviltest.Start(t, args...)
	for i := range keys[:3] {
		do(t, r, nil, "anvil_setBalance", account(i), (*hexutil.Big)(big.NewInt(1e18)))
	}
	return registry.Network{Name: "anvil", ChainID: anviltest.ChainID, Endpoints: []registry.Endpoint{registry.URL(url)}}, r
}

func payerOf(i int) registry.Payer { return registry.KeyPayer(keys[i]) }

// client is one of the network, closed at the end of the test.
func client(t testing.TB, n registry.Network, p registry.Payer) *registry.Client {
	t.Helper()
	c := registry.New(n, p)
	t.Cleanup(c.Close)
	return c
}

// deployed is a client of a network where the registry was put.
func deployed(t testing.TB, n registry.Network, p registry.Payer) *registry.Client {
	t.Helper()
	c := client(t, n, p)
	if _, err := c.Deploy(limited(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// placed is a client of anvil with the registry's code put at its address.
func placed(t testing.TB, n registry.Network, r *rpc.Client, p registry.Payer) *registry.Client {
	t.Helper()
	do(t, r, nil, "anvil_setCode", registry.Address, hexutil.Bytes(registry.RuntimeCode))
	return client(t, n, p)
}

// limited is a context that ends what would otherwise hang.
func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func do(t testing.TB, r *rpc.Client, result any, method string, args ...any) {
	t.Helper()
	if err := r.CallContext(limited(t), result, method, args...); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// eventually looks until there is what is looked for.
func eventually(t testing.TB, what string, there func() bool) {
	t.Helper()
	deadline, again := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for !there() {
		select {
		case <-deadline:
			t.Fatalf("never saw %s", what)
		case <-again.C:
		}
	}
}

func nonceOf(t testing.TB, n registry.Network, p registry.Payer) uint64 {
	t.Helper()
	r, err := n.Endpoints[0].Dial(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var nonce hexutil.Uint64
	do(t, r, &nonce, "eth_getTransactionCount", p.Address(), "latest")
	return uint64(nonce)
}

// waiting is the hash and gas fee cap of the one transaction in anvil's pool.
type waiting struct {
	Hash      common.Hash    `json:"hash"`
	Nonce     hexutil.Uint64 `json:"nonce"`
	GasFeeCap *hexutil.Big   `json:"maxFeePerGas"`
}

func pool(t testing.TB, r *rpc.Client) []waiting {
	t.Helper()
	var content struct {
		Pending map[string]map[string]waiting `json:"pending"`
	}
	do(t, r, &content, "txpool_content")
	var all []waiting
	for _, account := range content.Pending {
		for _, tx := range account {
			all = append(all, tx)
		}
	}
	return all
}

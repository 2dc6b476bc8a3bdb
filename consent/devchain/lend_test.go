package devchain

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

func TestLendsAccountForPayingOnly(t *testing.T) {
	t.Parallel()
	chain := opened(t, t.TempDir())
	client := dialed(t, chain)
	var accounts []common.Address
	if err := client.Call(&accounts, "eth_accounts"); err != nil || len(accounts) != 1 || accounts[0] != crypto.PubkeyToAddress(chain.Key().PublicKey) {
		t.Fatalf("eth_accounts: %v, %v, want the funded account", accounts, err)
	}
	order := func(change string, value any) map[string]any {
		o := map[string]any{"from": accounts[0], "to": proxy, "input": "0x", "gas": "0x10000", "nonce": "0x0", "maxFeePerGas": "0x2540be400", "maxPriorityFeePerGas": "0x1"}
		if value == nil {
			delete(o, change)
		} else {
			o[change] = value
		}
		return o
	}
	for change, value := range map[string]any{"value": "0x1", "from": proxy, "maxFeePerGas": nil} {
		var raw hexutil.Bytes
		if err := client.Call(&raw, "eth_signTransaction", order(change, value)); err == nil {
			t.Errorf("signed with %s %v", change, value)
		}
	}
	// 32 bytes of salt and no init code: the proxy makes an empty contract.
	var raw hexutil.Bytes
	if err := client.Call(&raw, "eth_signTransaction", order("input", common.Hash{7})); err != nil {
		t.Fatal(err)
	}
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil || tx.Value().Sign() != 0 || tx.ChainId().Uint64() != chain.ChainID() {
		t.Fatalf("signed %+v, %v", &tx, err)
	}
	if err := confirm(deadline(t), client, &tx); err != nil {
		t.Error(err)
	}
}

package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

var domain = consent.Domain{ChainID: 1337, Registry: registry.Address}

func newRegistry(t testing.TB) *evm {
	return at(t, domainJSON(domain), now)
}

// TestAddress pins what everybody's documents name.
func TestAddress(t *testing.T) {
	if want := common.HexToAddress("0xa6cA322d4601DA345525c7679DA151454f4092F2"); registry.Address != want {
		t.Errorf("the registry's address is %s, not %s: every document in the world names the old one", registry.Address, want)
	}
	if want := common.HexToAddress("0x4e59b44847b379578588920cA78FbF26c0B4956C"); registry.Proxy != want {
		t.Errorf("the proxy is %s", registry.Proxy)
	}
	e := newEVM(t, 1337, now)
	e.setCode(registry.Proxy, registry.ProxyCode)
	e.must(registry.Proxy, append(make([]byte, 32), registry.InitCode...))
	if !bytes.Equal(e.state.GetCode(registry.Address), registry.RuntimeCode) {
		t.Error("the proxy does not deploy the registry's code at its address")
	}
}

// TestABI holds the ABI to the protocol, section 1.
func TestABI(t *testing.T) {
	const scope = "(string,uint8,string,uint64,uint64,string,uint64)"
	const link = "((address,address,bytes32,uint64,uint64,bytes32[],bytes32,uint8),bytes,bytes32[],((bytes32,address," + scope + "),bytes32[])[])"
	const access = "(bytes32,address," + scope + "[],bytes32,uint64,bytes32)"
	want := map[string]string{
		"anchor(bytes32)":                            "nonpayable ",
		"revoke(bytes32[])":                          "nonpayable ",
		"retire(address,bytes)":                      "nonpayable ",
		"anchoredAt(bytes32)":                        "view uint256",
		"revokedAt(bytes32)":                         "view uint256",
		"retiredAt(address)":                         "view uint256",
		"signed(address,bytes32,bytes)":              "view bool",
		"check(" + link + "[]," + access + ",bytes)": "view uint8,uint256",
	}
	for _, m := range registry.ABI.Methods {
		if got := m.StateMutability + " " + typesOf(m.Outputs); want[m.Sig] != got {
			t.Errorf("%s is %q, want %q", m.Sig, got, want[m.Sig])
		}
		delete(want, m.Sig)
	}
	for sig := range want {
		t.Errorf("%s is missing", sig)
	}
	events := map[string]bool{"Anchored(bytes32)": true, "Revoked(bytes32)": true, "Retired(address)": true}
	for _, e := range registry.ABI.Events {
		if !events[e.Sig] || !e.Inputs[0].Indexed {
			t.Errorf("event %s", e.Sig)
		}
		delete(events, e.Sig)
	}
	if len(events) != 0 || len(registry.ABI.Errors) != 1 || registry.ABI.Errors["BadSignature"].Sig != "BadSignature()" {
		t.Errorf("events are missing: %v; errors: %v", events, registry.ABI.Errors)
	}
	if registry.ABI.Constructor.Inputs != nil || registry.ABI.HasFallback() || registry.ABI.HasReceive() {
		t.Error("there is a constructor with arguments, a fallback or a receive function")
	}
}

func typesOf(args abi.Arguments) string {
	var s string
	for i, a := range args {
		if i > 0 {
			s += ","
		}
		s += a.Type.String()
	}
	return s
}

// TestEntries writes each kind of entry, once, twice and at a later time.
func TestEntries(t *testing.T) {
	retirement := consent.Retirement{Account: account(1)}
	secret := filler("secret", 0)
	for _, c := range []struct {
		name        string
		write, read []byte
		topic       common.Hash
	}{
		{"anchor", pack(t, "anchor", filler("root", 0)), pack(t, "anchoredAt", filler("root", 0)), filler("root", 0)},
		{"revoke", pack(t, "revoke", []common.Hash{secret}), pack(t, "revokedAt", consent.Revocation(secret)), secret},
		{"retire", pack(t, "retire", account(1), sign(t, keys[1], retirement.Digest(domain))), pack(t, "retiredAt", account(1)), common.BytesToHash(account(1).Bytes())},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newRegistry(t)
			if got := e.entry(registry.Address, c.read); got != 0 {
				t.Errorf("before: %d", got)
			}
			logs := e.must(registry.Address, c.write)
			if len(logs) != 1 || len(logs[0].Topics) != 2 || logs[0].Topics[1] != c.topic || len(logs[0].Data) != 0 {
				t.Errorf("events: %v", logs)
			}
			e.time++
			if logs := e.must(registry.Address, c.write); len(logs) != 0 {
				t.Errorf("a repeat emits %v", logs)
			}
			if got := e.entry(registry.Address, c.read); got != now {
				t.Errorf("after: %d, want %d", got, now)
			}
		})
	}
}

// TestRevokeMany has new, old and repeated secrets in one call.
func TestRevokeMany(t *testing.T) {
	e := newRegistry(t)
	a, b, c := filler("secret", 0), filler("secret", 1), filler("secret", 2)
	e.must(registry.Address, pack(t, "revoke", []common.Hash{a}))
	var got []common.Hash
	for _, l := range e.must(registry.Address, pack(t, "revoke", []common.Hash{b, a, b, c})) {
		got = append(got, l.Topics[1])
	}
	if len(got) != 2 || got[0] != b || got[1] != c {
		t.Errorf("revealed %v", got)
	}
	if logs := e.must(registry.Address, pack(t, "revoke", []common.Hash{})); len(logs) != 0 {
		t.Errorf("no secrets reveal %v", logs)
	}
}

// TestRetireBadSignature refuses what the account did not sign, each time.
func TestRetireBadSignature(t *testing.T) {
	e := newRegistry(t)
	elsewhere := domain
	elsewhere.ChainID++
	retirement := consent.Retirement{Account: account(1)}
	good := sign(t, keys[1], retirement.Digest(domain))
	yes := signerContract{Account: common.Address{1}, Accepts: []common.Hash{(&consent.Retirement{Account: common.Address{1}}).Digest(domain)}}
	e.setCode(yes.Account, yes.code())
	refused := func(account common.Address, signature []byte) {
		t.Helper()
		result, _, err := e.send(&registry.Address, pack(t, "retire", account, signature), params.MaxTxGas)
		if !errors.Is(err, vm.ErrExecutionReverted) {
			t.Fatalf("got %v", err)
		}
		if id := registry.ContractBadSignatureErrorID(); !bytes.Equal(result.Revert(), id[:4]) {
			t.Errorf("reverts with %x", result.Revert())
		}
	}
	refused(account(1), nil)
	refused(account(1), sign(t, keys[2], retirement.Digest(domain)))
	refused(account(1), sign(t, keys[1], retirement.Digest(elsewhere)))
	refused(account(2), good)
	refused(common.Address{}, good)
	refused(yes.Account, make([]byte, consent.MaxSignature+1))
	e.must(registry.Address, pack(t, "retire", account(1), good))
	refused(account(1), nil)
	if logs := e.must(registry.Address, pack(t, "retire", yes.Account, make([]byte, consent.MaxSignature))); len(logs) != 1 {
		t.Errorf("a contract account's retirement emits %v", logs)
	}
}

// TestNoEther refuses ether and calls of what is not there.
func TestNoEther(t *testing.T) {
	e := newRegistry(t)
	for _, data := range [][]byte{nil, {1, 2, 3, 4}} {
		if _, err := e.call(registry.Address, data, plenty); err == nil {
			t.Errorf("a call with data %x succeeds", data)
		}
	}
	config := e.runtime(plenty)
	config.Value = big.NewInt(1)
	for _, data := range [][]byte{nil, pack(t, "anchor", filler("root", 0)), pack(t, "revoke", []common.Hash{}), pack(t, "retire", account(0), []byte{})} {
		if err := callWith(registry.Address, data, config); err == nil {
			t.Errorf("ether is taken with %x", data)
		}
	}
}

// TestAnswerGas: a contract account is asked with exactly 500,000 gas, whatever
// the gas of the call, or the call reverts; and what it returns cannot make the
// asking dear.
func TestAnswerGas(t *testing.T) {
	asked := common.Address{0xac}
	var exact assembler // answers yes if it starts with 500,000 gas: GAS itself costs 2
	exact.op(vm.GAS).push([]byte{0x07, 0xa1, 0x1e}).op(vm.EQ).push([]byte{0x16, 0x26, 0xba, 0x7e}).op(vm.MUL)
	exact.push([]byte{0xe0}).op(vm.SHL).push([]byte{0}).op(vm.MSTORE).push([]byte{32}).push([]byte{0}).op(vm.RETURN)
	for _, account := range []struct {
		name string
		code func(e *evm)
	}{
		{"contract", func(e *evm) { e.setCode(asked, exact.assemble()) }},
		{"delegated", func(e *evm) { // EIP-7702: the call pays for the delegate as well
			delegate := common.Address{0xde}
			e.setCode(delegate, exact.assemble())
			e.setCode(asked, types.AddressToDelegation(delegate))
		}},
	} {
		t.Run(account.name, func(t *testing.T) {
			e := newRegistry(t)
			account.code(e)
			for _, signature := range [][]byte{nil, make([]byte, 65), make([]byte, consent.MaxSignature)} {
				refused := 0
				for gas := uint64(500_000); gas < 540_000; gas += 61 {
					yes, err := e.signed(registry.Address, asked, filler("digest", 0), signature, gas)
					switch {
					case err != nil:
						refused++
					case !yes:
						t.Fatalf("with %d gas the account is asked with other than 500,000", gas)
					}
				}
				if limit := 20_000 / 61; refused > limit {
					t.Errorf("refused %d times: the call asks for more gas than it needs", refused)
				}
			}
			if yes, err := e.signed(registry.Address, asked, filler("digest", 0), nil, plenty); err != nil || !yes {
				t.Errorf("with plenty of gas: %t, %v", yes, err)
			}
		})
	}
	t.Run("spends all", func(t *testing.T) {
		e := newRegistry(t)
		e.setCode(asked, []byte{byte(vm.INVALID)})
		if yes, err := e.signed(registry.Address, asked, filler("digest", 0), nil, 530_000); err != nil || yes {
			t.Errorf("got %t, %v", yes, err)
		}
	})
	t.Run("returns much", func(t *testing.T) {
		e := newRegistry(t)
		var bomb assembler // 256 KB; copying them would cost over 150,000 gas
		bomb.push([]byte{4, 0, 0}).push([]byte{0}).op(vm.RETURN)
		e.setCode(asked, bomb.assemble())
		if yes, err := e.signed(registry.Address, asked, filler("digest", 0), nil, 530_000); err != nil || yes {
			t.Errorf("got %t, %v", yes, err)
		}
	})
	t.Run("writes", func(t *testing.T) {
		e := newRegistry(t)
		var write assembler
		write.push([]byte{1}).push([]byte{1}).op(vm.SSTORE)
		e.setCode(asked, append(write.assemble(), exact.assemble()...))
		if yes, err := e.signed(registry.Address, asked, filler("digest", 0), nil, plenty); err != nil || yes {
			t.Errorf("got %t, %v", yes, err)
		}
	})
}

// onlyFor is code that answers yes if it is asked this digest and signature, in
// the very bytes of an ABI-encoded call of isValidSignature.
func onlyFor(t *testing.T, digest common.Hash, signature []byte) []byte {
	t.Helper()
	args, err := abi.Arguments{{Type: bytes32Type}, {Type: bytesType}}.Pack(digest, signature)
	if err != nil {
		t.Fatal(err)
	}
	want := crypto.Keccak256([]byte{0x16, 0x26, 0xba, 0x7e}, args)
	var a assembler
	a.op(vm.CALLDATASIZE).push([]byte{0}).push([]byte{0}).op(vm.CALLDATACOPY)
	a.op(vm.CALLDATASIZE).push([]byte{0}).op(vm.KECCAK256)
	a.push(want).op(vm.EQ).push([]byte{0x16, 0x26, 0xba, 0x7e}).op(vm.MUL)
	a.push([]byte{0xe0}).op(vm.SHL).push([]byte{0}).op(vm.MSTORE).push([]byte{32}).push([]byte{0}).op(vm.RETURN)
	return a.assemble()
}

// TestAnswerCall: a contract account gets the digest and the signature's bytes
// as they are, whatever the contract's memory held before.
func TestAnswerCall(t *testing.T) {
	asked := common.Address{0xac}
	for _, n := range []int{0, 1, 31, 32, 33, 64, 65, 66, 4095, consent.MaxSignature} {
		signature := bytes.Repeat([]byte{0xa5}, n)
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := newRegistry(t)
			e.setCode(asked, onlyFor(t, filler("digest", 0), signature))
			if yes, err := e.signed(registry.Address, asked, filler("digest", 0), signature, plenty); err != nil || !yes {
				t.Errorf("signed is %t, %v", yes, err)
			}
			d := chainOf(t, domain, 2, now)
			d.Links[0].Grant.Grantee, d.Links[1].Grant.Grantor, d.Links[1].Signature = asked, asked, signature
			seal(t, d)
			for _, call := range anchors(t, d) {
				e.must(registry.Address, call)
			}
			e.setCode(asked, onlyFor(t, d.Links[1].Grant.ID(domain), signature))
			if got := e.decide(registry.Address, d); got.Outcome != "Permit" {
				t.Errorf("check says %v", got)
			}
		})
	}
	t.Run("4097", func(t *testing.T) {
		e := newRegistry(t)
		yes := signerContract{Account: asked, Accepts: []common.Hash{filler("digest", 0)}}
		e.setCode(asked, yes.code())
		if yes, err := e.signed(registry.Address, asked, filler("digest", 0), make([]byte, consent.MaxSignature+1), plenty); err != nil || yes {
			t.Errorf("got %t, %v", yes, err)
		}
	})
}

// TestHalfOrder: the largest s that is taken is half the order of the curve.
func TestHalfOrder(t *testing.T) {
	e := newRegistry(t)
	digest := filler("digest", 0)
	for above, want := range []bool{true, false} {
		// Of any r and s that are in range some key's signature is made.
		signature := sign(t, keys[0], digest)
		s := new(big.Int).Rsh(crypto.S256().Params().N, 1)
		s.Add(s, big.NewInt(int64(above))).FillBytes(signature[32:64])
		signature[64] -= 27
		key, err := crypto.SigToPub(digest[:], signature)
		if err != nil {
			t.Fatal(err)
		}
		signature[64] += 27
		if got, err := e.signed(registry.Address, crypto.PubkeyToAddress(*key), digest, signature, plenty); err != nil || got != want {
			t.Errorf("with s %d above half the order: %t, %v", above, got, err)
		}
	}
}

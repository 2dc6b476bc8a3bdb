package registry_test

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

var contract = registry.NewContract()

// require skips a test whose component is missing, or fails it where
// ASSENT_TEST_REQUIRE lists the component.
func require(t testing.TB, component, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), component) {
		t.Fatalf("%s is required: %s", component, reason)
	}
	t.Skipf("no %s: %s", component, reason)
}

// vectors reads a file of test vectors.
func vectors(t testing.TB, name string, into any) {
	t.Helper()
	folder := os.Getenv("ASSENT_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	content, err := os.ReadFile(filepath.Join(folder, name))
	if os.IsNotExist(err) {
		require(t, "vectors", err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

func pack(t testing.TB, method string, args ...any) []byte {
	t.Helper()
	data, err := registry.ABI.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// payer is an account with ether; block is where its transactions run.
var (
	payer    = common.HexToAddress("0x00000000000000000000000000000000000a11ce")
	coinbase = common.HexToAddress("0x00000000000000000000000000000000000c0fee")
)

// An evm is an Ethereum virtual machine without a chain: the forks through
// Osaka, a state, and the time of a block.
type evm struct {
	t      testing.TB
	state  *state.StateDB
	config *params.ChainConfig
	time   uint64
	nonce  uint64
}

func newEVM(t testing.TB, chainID, time uint64) *evm {
	t.Helper()
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	config := *params.MergedTestChainConfig
	config.ChainID = new(big.Int).SetUint64(chainID)
	e := &evm{t: t, state: db, config: &config, time: time}
	db.AddBalance(payer, uint256.NewInt(1e18), tracing.BalanceChangeUnspecified)
	return e
}

func (e *evm) setCode(account common.Address, code []byte) {
	e.state.SetCode(account, code, tracing.CodeChangeUnspecified)
}

func (e *evm) runtime(gas uint64) *runtime.Config {
	return &runtime.Config{
		ChainConfig: e.config,
		Origin:      payer,
		Coinbase:    coinbase,
		BlockNumber: big.NewInt(1),
		Time:        e.time,
		GasLimit:    gas,
		BaseFee:     new(big.Int),
		State:       e.state,
	}
}

// call is an eth_call with this much gas; the state stays as it was.
func (e *evm) call(to common.Address, data []byte, gas uint64) ([]byte, error) {
	defer e.state.RevertToSnapshot(e.state.Snapshot())
	out, _, err := runtime.Call(to, data, e.runtime(gas))
	return out, err
}

// send is a transaction in a block of its own.
func (e *evm) send(to *common.Address, data []byte, gas uint64) (*core.ExecutionResult, []*types.Log, error) {
	e.t.Helper()
	hash := common.BigToHash(new(big.Int).SetUint64(e.nonce + 1))
	e.state.SetTxContext(hash, 0, 0)
	result, err := core.ApplyMessage(runtime.NewEnv(e.runtime(30_000_000)), &core.Message{
		From: payer, To: to, Nonce: e.nonce, Value: new(uint256.Int), GasLimit: gas, Data: data,
		GasPrice: new(uint256.Int), GasFeeCap: new(uint256.Int), GasTipCap: new(uint256.Int),
	}, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	e.nonce++
	logs := e.state.GetLogs(hash, 1, common.Hash{}, e.time)
	e.state.Finalise(e.config.Rules(big.NewInt(1), true, e.time))
	return result, logs, result.Err
}

// decide is a call of check at the registry.
func (e *evm) decide(at common.Address, d *consent.AccessDocument) verdict {
	e.t.Helper()
	out, err := e.call(at, pack(e.t, "check", d.Links, d.Access, d.Signature), plenty)
	if err != nil {
		e.t.Fatal(err)
	}
	return unpackVerdict(e.t, out)
}

// entry is a call of anchoredAt, revokedAt or retiredAt at the registry.
func (e *evm) entry(at common.Address, data []byte) uint64 {
	e.t.Helper()
	out, err := e.call(at, data, plenty)
	if err != nil {
		e.t.Fatal(err)
	}
	return new(big.Int).SetBytes(out).Uint64()
}

// signed is a call of signed at the registry.
func (e *evm) signed(at, account common.Address, digest common.Hash, signature []byte, gas uint64) (bool, error) {
	e.t.Helper()
	out, err := e.call(at, pack(e.t, "signed", account, digest, signature), gas)
	if err != nil {
		return false, err
	}
	yes, err := contract.UnpackSigned(out)
	if err != nil {
		e.t.Fatal(err)
	}
	return yes, nil
}

// must is a transaction that succeeds.
func (e *evm) must(to common.Address, data []byte) []*types.Log {
	e.t.Helper()
	_, logs, err := e.send(&to, data, params.MaxTxGas)
	if err != nil {
		e.t.Fatal(err)
	}
	return logs
}

const plenty = 1 << 32 // gas for any call of check

func callWith(to common.Address, data []byte, config *runtime.Config) error {
	_, _, err := runtime.Call(to, data, config)
	return err
}

var (
	bytes32Type, _ = abi.NewType("bytes32", "", nil)
	bytesType, _   = abi.NewType("bytes", "", nil)
)

// verdict is what check says, or what the vectors expect of it.
type verdict struct {
	Outcome string `json:"outcome"`
	Code    uint8  `json:"code"`
	Link    uint64 `json:"link"`
}

type decisionCase struct {
	Name  string `json:"name"`
	Now   uint64 `json:"now"`
	Chain struct {
		Anchored    []common.Hash    `json:"anchored"`
		Revoked     []common.Hash    `json:"revoked"`
		Retired     []common.Address `json:"retired"`
		Secrets     []common.Hash    `json:"secrets"`
		Retirements []struct {
			Account   common.Address `json:"account"`
			Signature hexutil.Bytes  `json:"signature"`
		} `json:"retirements"`
		Contracts []signerContract `json:"contracts"`
	} `json:"chain"`
	Document struct {
		Links     []linkJSON     `json:"links"`
		Access    consent.Access `json:"access"`
		Signature hexutil.Bytes  `json:"signature"`
	} `json:"document"`
	Expected verdict `json:"expected"`
}

// linkJSON is a link of a document, read without a document's rules: the
// decision takes any.
type linkJSON struct {
	Grant       consent.Grant
	Signature   hexutil.Bytes
	AnchorProof []common.Hash
	Openings    []consent.Opening
}

func (c *decisionCase) document(domain consent.Domain) *consent.AccessDocument {
	d := &consent.AccessDocument{Domain: domain, Access: c.Document.Access, Signature: c.Document.Signature}
	for _, l := range c.Document.Links {
		d.Links = append(d.Links, consent.Link{Grant: l.Grant, Signature: l.Signature, AnchorProof: l.AnchorProof, Openings: l.Openings})
	}
	return d
}

// calls are the transactions that write the chain of the case.
func (c *decisionCase) calls(t testing.TB) (calls [][]byte) {
	t.Helper()
	for _, root := range c.Chain.Anchored {
		calls = append(calls, pack(t, "anchor", root))
	}
	if len(c.Chain.Secrets) > 0 {
		calls = append(calls, pack(t, "revoke", c.Chain.Secrets))
	}
	for _, r := range c.Chain.Retirements {
		calls = append(calls, pack(t, "retire", r.Account, []byte(r.Signature)))
	}
	return calls
}

func unpackVerdict(t testing.TB, out []byte) verdict {
	t.Helper()
	decided, err := contract.UnpackCheck(out)
	if err != nil {
		t.Fatal(err)
	}
	return verdict{consent.Outcome(decided.Outcome).String(), decided.Outcome, decided.Link.Uint64()}
}

// signerContract is an account with code, as the vectors describe it.
type signerContract struct {
	Account common.Address `json:"account"`
	Accepts []common.Hash  `json:"accepts"`
	Returns *hexutil.Bytes `json:"returns"`
	Reverts bool           `json:"reverts"`
}

// code answers isValidSignature as the contract says: for a digest of Accepts
// with Returns (the magic value, if there is none), for another with 32 bytes
// 0xff, and for what is not such a call with a revert.
func (c *signerContract) code() []byte {
	answer := common.RightPadBytes([]byte{0x16, 0x26, 0xba, 0x7e}, 32)
	if c.Returns != nil {
		answer = *c.Returns
	}
	var a assembler
	a.push([]byte{0}).op(vm.CALLDATALOAD).push([]byte{0xe0}).op(vm.SHR).push([]byte{0x16, 0x26, 0xba, 0x7e})
	a.op(vm.EQ, vm.ISZERO).jump("refuse", vm.JUMPI)
	for _, digest := range c.Accepts {
		a.push([]byte{4}).op(vm.CALLDATALOAD).push(digest[:]).op(vm.EQ).jump("accept", vm.JUMPI)
	}
	a.push(common.MaxHash[:]).push([]byte{0}).op(vm.MSTORE).push([]byte{32}).push([]byte{0}).op(vm.RETURN)
	a.label("accept")
	for i := 0; i < len(answer); i += 32 {
		a.push(common.RightPadBytes(answer[i:min(i+32, len(answer))], 32)).push([]byte{byte(i)}).op(vm.MSTORE)
	}
	a.push([]byte{byte(len(answer))}).push([]byte{0})
	if c.Reverts {
		a.op(vm.REVERT)
	} else {
		a.op(vm.RETURN)
	}
	a.label("refuse").push([]byte{0}).push([]byte{0}).op(vm.REVERT)
	return a.assemble()
}

// assembler builds bytecode with named jump destinations.
type assembler struct {
	code   []byte
	labels map[string]int
	jumps  map[int]string
}

func (a *assembler) op(ops ...vm.OpCode) *assembler {
	for _, op := range ops {
		a.code = append(a.code, byte(op))
	}
	return a
}

func (a *assembler) push(value []byte) *assembler {
	a.code = append(a.code, byte(vm.PUSH1)+byte(len(value)-1))
	a.code = append(a.code, value...)
	return a
}

func (a *assembler) jump(label string, op vm.OpCode) *assembler {
	if a.jumps == nil {
		a.jumps = make(map[int]string)
	}
	a.push([]byte{0, 0})
	a.jumps[len(a.code)-2] = label
	return a.op(op)
}

func (a *assembler) label(name string) *assembler {
	if a.labels == nil {
		a.labels = make(map[string]int)
	}
	a.labels[name] = len(a.code)
	return a.op(vm.JUMPDEST)
}

func (a *assembler) assemble() []byte {
	for at, label := range a.jumps {
		a.code[at], a.code[at+1] = byte(a.labels[label]>>8), byte(a.labels[label])
	}
	return a.code
}

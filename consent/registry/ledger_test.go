package registry_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

// ledger is a chain whose every block the test makes, with what the registry
// does on it, served by JSON-RPC: for what real nodes do only once in a while.
type ledger struct {
	mu     sync.Mutex
	blocks []*ledgerBlock
	sent   map[common.Hash]hexutil.Bytes // input of transactions
	all    map[common.Hash]*ledgerBlock  // those that were dropped among them, which nodes keep for a while
	made   uint64                        // blocks, so that none is like another

	most  uint64 // blocks that one range may have; 0 is any number
	calls int    // that were answered
	fails int    // after how many calls it fails; 0 is never
	when  int    // before which call then is done; 0 is none
	then  func()
	mute  chan struct{} // not nil: it does not answer before this is closed

	estimated []hexutil.Bytes // input of what it was asked the gas of
}

type ledgerBlock struct {
	number, time uint64
	hash, parent common.Hash
	logs         []types.Log
	entries      map[string]uint64 // all up to this block → block time
}

// newLedger is a chain with a first block, now.
func newLedger() *ledger {
	l := &ledger{sent: make(map[common.Hash]hexutil.Bytes), all: make(map[common.Hash]*ledgerBlock)}
	l.mine()
	return l
}

// fork is another chain with the same blocks.
func (l *ledger) fork(salt uint64) *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &ledger{blocks: slices.Clone(l.blocks), sent: maps.Clone(l.sent), all: maps.Clone(l.all), made: l.made + salt<<32}
}

func (l *ledger) serve(name string) registry.Endpoint {
	server := rpc.NewServer()
	if err := server.RegisterName("eth", (*ledgerService)(l)); err != nil {
		panic(err)
	}
	return registry.Endpoint{Name: name, Dial: func(context.Context) (*rpc.Client, error) { return rpc.DialInProc(server), nil }}
}

func (l *ledger) network(confirmations uint64) registry.Network {
	return registry.Network{Name: "ledger", ChainID: 7, Endpoints: []registry.Endpoint{l.serve("ledger")}, Confirmations: confirmations}
}

// mine adds a block, with a transaction for each call of the registry.
func (l *ledger) mine(calls ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	b := &ledgerBlock{time: uint64(time.Now().Unix()), entries: make(map[string]uint64)}
	b.hash = crypto.Keccak256Hash(binary.BigEndian.AppendUint64([]byte("block"), l.made))
	if n := len(l.blocks); n > 0 {
		b.number, b.parent, b.entries = uint64(n), l.blocks[n-1].hash, maps.Clone(l.blocks[n-1].entries)
	}
	for i, input := range calls {
		tx := crypto.Keccak256Hash(b.hash[:], []byte{byte(i)})
		l.sent[tx] = input
		for _, e := range entriesOf(input) {
			if b.entries[e.of] != 0 {
				continue
			}
			b.entries[e.of] = b.time
			b.logs = append(b.logs, types.Log{
				Address: registry.Address, Topics: []common.Hash{registry.ABI.Events[e.event].ID, e.topic}, Data: []byte{},
				BlockNumber: b.number, BlockHash: b.hash, TxHash: tx, TxIndex: uint(i), Index: uint(len(b.logs)),
			})
		}
	}
	l.blocks = append(l.blocks, b)
	l.all[b.hash] = b
}

// above gives the entries of a block so many below the one with this hash.
func (l *ledger) above(hash common.Hash, depth uint64) map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.all[hash]
	for ; depth > 0 && b.number > 0; depth-- {
		b = l.all[b.parent]
	}
	return b.entries
}

func (l *ledger) mineEmpty(n int) {
	for range n {
		l.mine()
	}
}

// drop takes blocks away from the end.
func (l *ledger) drop(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks = l.blocks[:len(l.blocks)-n]
}

func (l *ledger) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blocks)
}

// silence keeps it from answering until speak is called, at the end of the test
// at the latest.
func (l *ledger) silence(t testing.TB) (speak func()) {
	mute := make(chan struct{})
	l.set(func(l *ledger) { l.mute = mute })
	speak = sync.OnceFunc(func() {
		l.set(func(l *ledger) { l.mute = nil })
		close(mute)
	})
	t.Cleanup(speak)
	return speak
}

func (l *ledger) set(change func(l *ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// ledgerEntry is what a call of the registry puts there.
type ledgerEntry struct {
	event string
	topic common.Hash
	of    string // how it is asked for: method and argument
}

func entriesOf(input []byte) (entries []ledgerEntry) {
	method, err := registry.ABI.MethodById(input)
	if err != nil {
		panic(err)
	}
	args, err := method.Inputs.Unpack(input[4:])
	if err != nil {
		panic(err)
	}
	switch method.Name {
	case "anchor":
		root := common.Hash(args[0].([32]byte))
		entries = append(entries, ledgerEntry{"Anchored", root, "anchoredAt" + root.Hex()})
	case "revoke":
		for _, secret := range args[0].([][32]byte) {
			entries = append(entries, ledgerEntry{"Revoked", secret, "revokedAt" + consent.Revocation(secret).Hex()})
		}
	case "retire":
		account := common.BytesToHash(args[0].(common.Address).Bytes())
		entries = append(entries, ledgerEntry{"Retired", account, "retiredAt" + account.Hex()})
	}
	return entries
}

// ledgerService are the methods that a mirror and a client call.
type ledgerService ledger

var errLedger = errors.New("the node fails")

func (s *ledgerService) enter(ctx context.Context) (leave func(), err error) {
	s.mu.Lock()
	if mute := s.mute; mute != nil {
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-mute:
		}
		s.mu.Lock()
	}
	s.calls++
	if s.calls == s.when {
		s.mu.Unlock()
		s.then()
		s.mu.Lock()
	}
	if s.fails > 0 && s.calls > s.fails {
		s.mu.Unlock()
		return nil, errLedger
	}
	return s.mu.Unlock, nil
}

func (s *ledgerService) ChainId() hexutil.Uint64 { return 7 }

func (s *ledgerService) GetCode(common.Address, string) hexutil.Bytes { return registry.RuntimeCode }

func (b *ledgerBlock) json() map[string]any {
	return map[string]any{"number": hexutil.Uint64(b.number), "hash": b.hash, "parentHash": b.parent, "timestamp": hexutil.Uint64(b.time)}
}

func (s *ledgerService) find(block rpc.BlockNumberOrHash) *ledgerBlock {
	hash, byHash := block.Hash()
	number, _ := block.Number()
	if number == rpc.LatestBlockNumber {
		return s.blocks[len(s.blocks)-1]
	}
	if byHash {
		return s.all[hash]
	}
	if number < 0 || int(number) >= len(s.blocks) {
		return nil
	}
	return s.blocks[number]
}

func (s *ledgerService) GetBlockByNumber(ctx context.Context, number rpc.BlockNumber, _ bool) (map[string]any, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if b := s.find(rpc.BlockNumberOrHashWithNumber(number)); b != nil {
		return b.json(), nil
	}
	return nil, nil
}

func (s *ledgerService) GetTransactionByHash(ctx context.Context, hash common.Hash) (map[string]any, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return map[string]any{"to": registry.Address, "input": s.sent[hash]}, nil
}

func (s *ledgerService) GetLogs(ctx context.Context, filter struct {
	Address            common.Address
	BlockHash          *common.Hash
	FromBlock, ToBlock hexutil.Uint64
}) ([]types.Log, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	logs := []types.Log{}
	if filter.BlockHash != nil {
		b := s.find(rpc.BlockNumberOrHashWithHash(*filter.BlockHash, false))
		if b == nil {
			return nil, errors.New("unknown block")
		}
		return append(logs, b.logs...), nil
	}
	if s.most > 0 && uint64(filter.ToBlock-filter.FromBlock) >= s.most {
		return nil, fmt.Errorf("at most %d blocks", s.most)
	}
	for _, b := range s.blocks {
		if b.number >= uint64(filter.FromBlock) && b.number <= uint64(filter.ToBlock) {
			logs = append(logs, b.logs...)
		}
	}
	return logs, nil
}

func (s *ledgerService) Call(ctx context.Context, call struct{ Input hexutil.Bytes }, block rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	b := s.find(block)
	if b == nil {
		return nil, errors.New("header not found")
	}
	method, err := registry.ABI.MethodById(call.Input)
	if err != nil {
		return nil, err
	}
	if method.Name == "signed" { // says which block it was asked at
		return common.BigToHash(common.Big1).Bytes(), nil
	}
	at := b.entries[method.Name+common.BytesToHash(call.Input[4:]).Hex()]
	return binary.BigEndian.AppendUint64(make([]byte, 24), at), nil
}

func (s *ledgerService) GetBalance(common.Address, string) hexutil.Uint64 { return 1 }

func (s *ledgerService) GasPrice() hexutil.Uint64 { return 1 }

// EstimateGas says that the registry takes no signature.
func (s *ledgerService) EstimateGas(call struct{ Input hexutil.Bytes }) (hexutil.Uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.estimated = append(s.estimated, call.Input)
	return 0, badSignature{}
}

type badSignature struct{}

func (badSignature) Error() string { return "execution reverted" }

func (badSignature) ErrorData() any {
	id := registry.ABI.Errors["BadSignature"].ID
	return hexutil.Encode(id[:4])
}

// anchoring, revealing and retiring are calls of the registry; retiringUnproven
// is as that of a contract account, and as a forged one: no key signed it.
func anchoring(t testing.TB, i int) []byte { return pack(t, "anchor", filler("root", i)) }

func revealing(t testing.TB, i int) []byte {
	return pack(t, "revoke", [][32]byte{filler("secret", i)})
}

func retiring(t testing.TB, i int) []byte {
	retirement := consent.Retirement{Account: account(i)}
	return pack(t, "retire", account(i), sign(t, keys[i], retirement.Digest(consent.Domain{ChainID: 7, Registry: registry.Address})))
}

func retiringUnproven(t testing.TB, i int) []byte {
	return pack(t, "retire", account(i), []byte{1, 2, byte(i)})
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
)

// Block is a block of the chain.
type Block struct {
	Number uint64
	Hash   common.Hash
	Time   uint64 // unix seconds
}

// header is a block as JSON-RPC gives it, as far as it is used.
type header struct {
	Number    hexutil.Uint64 `json:"number"`
	Hash      common.Hash    `json:"hash"`
	Parent    common.Hash    `json:"parentHash"`
	Timestamp hexutil.Uint64 `json:"timestamp"`
	BaseFee   *hexutil.Big   `json:"baseFeePerGas"` // nil before EIP-1559
}

func (h *header) block() Block { return Block{uint64(h.Number), h.Hash, uint64(h.Timestamp)} }

// confirmed is the last block that is deep enough, below the head h.
func (c *Client) confirmed(h *header) hexutil.Uint64 {
	return hexutil.Uint64(c.below(uint64(h.Number)))
}

// below is the number of the last block that is deep enough below a head.
func (c *Client) below(head uint64) uint64 { return head - min(c.network.Confirmations-1, head) }

// Head gives the latest block.
func (c *Client) Head(ctx context.Context) (Block, error) {
	var h *header
	err := c.do(ctx, anyCode, func(ctx context.Context, r *rpc.Client) (err error) {
		h, err = head(ctx, r)
		return err
	})
	if err != nil {
		return Block{}, err
	}
	return h.block(), nil
}

func head(ctx context.Context, r *rpc.Client) (h *header, err error) {
	if err = r.CallContext(ctx, &h, "eth_getBlockByNumber", "latest", false); err == nil && h == nil {
		err = errNoHead
	}
	return h, err
}

var errNoHead = errors.New("it has no block: wait until it has synchronised")

// Read gives the state of the entries that a decision needs: revocations,
// retirements and the words of contract accounts at the latest block, which the
// state names, and anchors at the confirmed one. All of one state are of one
// endpoint, and of one block each.
func (c *Client) Read(ctx context.Context, need consent.Entries) (consent.State, error) {
	var state consent.State
	err := c.do(ctx, registryCode, func(ctx context.Context, r *rpc.Client) error {
		h, err := head(ctx, r)
		if err != nil {
			return err
		}
		state = consent.State{
			Block: uint64(h.Number), BlockHash: h.Hash, Time: uint64(h.Timestamp), Age: c.age(h),
			Anchored: make(map[common.Hash]uint64, len(need.Anchors)),
			Revoked:  make(map[common.Hash]uint64, len(need.Revocations)),
			Retired:  make(map[common.Address]uint64, len(need.Accounts)),
			Signed:   make(map[consent.SignatureQuery]bool, len(need.Signatures)),
		}
		latest, confirmed := pinned(h.Hash), any(c.confirmed(h))
		if c.network.Confirmations == 1 {
			confirmed = latest
		}
		var q query
		for _, root := range need.Anchors {
			q.entry(c.network.Registry, codec.PackAnchoredAt(root), confirmed, func(time uint64) { state.Anchored[root] = time })
		}
		for _, revocation := range need.Revocations {
			q.entry(c.network.Registry, codec.PackRevokedAt(revocation), latest, func(time uint64) { state.Revoked[revocation] = time })
		}
		for _, account := range need.Accounts {
			q.entry(c.network.Registry, codec.PackRetiredAt(account), latest, func(time uint64) { state.Retired[account] = time })
		}
		for _, s := range need.Signatures {
			q.signed(c.network.Registry, s, latest, state.Signed)
		}
		return q.ask(ctx, r)
	})
	if err != nil {
		return consent.State{}, fmt.Errorf("read the registry: %w", err)
	}
	return state, nil
}

// age is for how long the chain may have gone on unseen, in seconds.
func (c *Client) age(h *header) uint64 {
	if c.network.OnDemand {
		return 0 // there is nothing newer than what it just answered
	}
	return uint64(max(time.Now().Unix()-int64(h.Timestamp), 0))
}

// Settled gives the block times of revocations at the confirmed block, 0 for
// those that are not there yet.
func (c *Client) Settled(ctx context.Context, revocations []common.Hash) (map[common.Hash]uint64, error) {
	settled := make(map[common.Hash]uint64, len(revocations))
	err := c.do(ctx, registryCode, func(ctx context.Context, r *rpc.Client) error {
		h, err := head(ctx, r)
		if err != nil {
			return err
		}
		var q query
		for _, revocation := range revocations {
			q.entry(c.network.Registry, codec.PackRevokedAt(revocation), c.confirmed(h), func(time uint64) { settled[revocation] = time })
		}
		return q.ask(ctx, r)
	})
	if err != nil {
		return nil, fmt.Errorf("read the registry: %w", err)
	}
	return settled, nil
}

// pinned names a block by its hash (EIP-1898), so that all calls see the same.
func pinned(hash common.Hash) any { return map[string]any{"blockHash": hash} }

// query is calls of the contract, each for one word.
type query struct {
	calls   []rpc.BatchElem
	answers []func(word uint64) error
}

var errWord = errors.New("it answers a call of the registry with what the registry never says")

func (q *query) call(to common.Address, data []byte, block any, answer func(word uint64) error) {
	q.calls = append(q.calls, rpc.BatchElem{
		Method: "eth_call", Args: []any{callOf(to, data), block}, Result: new(hexutil.Bytes),
	})
	q.answers = append(q.answers, answer)
}

func (q *query) entry(to common.Address, data []byte, block any, answer func(time uint64)) {
	q.call(to, data, block, func(word uint64) error { answer(word); return nil })
}

func (q *query) signed(to common.Address, s consent.SignatureQuery, block any, signed map[consent.SignatureQuery]bool) {
	q.call(to, codec.PackSigned(s.Account, s.Digest, []byte(s.Signature)), block, func(word uint64) error {
		if word > 1 {
			return errWord
		}
		signed[s] = word == 1
		return nil
	})
}

func callOf(to common.Address, data []byte) any {
	return map[string]any{"to": to, "input": hexutil.Bytes(data)}
}

func (q *query) ask(ctx context.Context, r *rpc.Client) error {
	if err := batch(ctx, r, q.calls); err != nil {
		return err
	}
	for i, answer := range q.answers {
		word, err := wordOf(*q.calls[i].Result.(*hexutil.Bytes))
		if err == nil {
			err = answer(word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wordOf reads 32 bytes that hold a number below 2^64.
func wordOf(b []byte) (uint64, error) {
	if len(b) != 32 {
		return 0, errWord
	}
	word := common.BytesToHash(b).Big()
	if !word.IsUint64() {
		return 0, errWord
	}
	return word.Uint64(), nil
}

// Check has the contract decide an access, at the latest block, or as if that
// block were of the time given (unix seconds, 0 for its own; not every node
// can). It is a second opinion on consent.Decide: the outcome and the link are
// the same for the same state.
func (c *Client) Check(ctx context.Context, d *consent.AccessDocument, time uint64) (outcome consent.Outcome, link int, err error) {
	// Packed as they are: the types of package consent have the ABI's shape.
	data, err := ABI.Pack("check", d.Links, d.Access, d.Signature)
	if err != nil {
		return 0, 0, fmt.Errorf("check an access: %w", err)
	}
	args := []any{callOf(c.network.Registry, data), "latest"}
	if time != 0 {
		args = append(args, map[string]any{}, map[string]any{"time": hexutil.Uint64(time)})
	}
	err = c.do(ctx, registryCode, func(ctx context.Context, r *rpc.Client) error {
		var out hexutil.Bytes
		if err := r.CallContext(ctx, &out, "eth_call", args...); err != nil {
			return err
		}
		decided, err := codec.UnpackCheck(out)
		if err != nil || decided.Outcome > uint8(consent.Stale) || !decided.Link.IsUint64() || decided.Link.Uint64() >= consent.MaxLinks {
			return errWord
		}
		outcome, link = consent.Outcome(decided.Outcome), int(decided.Link.Uint64())
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("check an access: %w", err)
	}
	return outcome, link, nil
}

// Event is what anybody can see of one entry.
type Event struct {
	Name        string      // Anchored, Revoked or Retired
	Key         common.Hash // the root, the secret itself, or the account in the last 20 bytes
	Block       uint64
	Time        uint64 // of the block, unix seconds
	Transaction common.Hash
	Sender      common.Address // who paid
}

// logRange is how many blocks are asked for at once; a node that finds them too
// many is asked for fewer.
const logRange = 2_000

// Events gives all events from a block on, to the latest at the time of the
// call, oldest first. It ends at the first error.
func (c *Client) Events(ctx context.Context, from uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		last, err := c.Head(ctx)
		if err != nil {
			yield(Event{}, fmt.Errorf("read the registry's events: %w", err))
			return
		}
		for size := uint64(logRange); from <= last.Number; {
			to := min(from+size-1, last.Number)
			var events []Event
			err := c.do(ctx, registryCode, func(ctx context.Context, r *rpc.Client) (err error) {
				events, err = c.events(ctx, r, from, to)
				return err
			})
			var word rpc.Error
			if errors.As(err, &word) && to > from {
				size = (to - from + 1) / 2
				continue
			}
			if err != nil {
				yield(Event{}, fmt.Errorf("read the registry's events of blocks %d to %d: %w", from, to, err))
				return
			}
			for _, event := range events {
				if !yield(event, nil) {
					return
				}
			}
			from = to + 1
		}
	}
}

func (c *Client) events(ctx context.Context, r *rpc.Client, from, to uint64) ([]Event, error) {
	var logs []types.Log
	if err := r.CallContext(ctx, &logs, "eth_getLogs", c.filter(from, to)); err != nil {
		return nil, err
	}
	events := make([]Event, len(logs))
	type transaction struct {
		From common.Address `json:"from"`
	}
	var (
		calls   []rpc.BatchElem
		blocks  = make(map[uint64]*header)
		senders = make(map[common.Hash]*transaction)
	)
	for i, log := range logs {
		event, err := eventOf(&log)
		if err != nil || log.Removed || log.BlockNumber < from || log.BlockNumber > to || log.Address != c.network.Registry {
			return nil, errWord
		}
		events[i] = event
		if blocks[log.BlockNumber] == nil {
			blocks[log.BlockNumber] = new(header)
			calls = append(calls, rpc.BatchElem{Method: "eth_getBlockByHash", Args: []any{log.BlockHash, false}, Result: blocks[log.BlockNumber]})
		}
		if senders[log.TxHash] == nil {
			senders[log.TxHash] = new(transaction)
			calls = append(calls, rpc.BatchElem{Method: "eth_getTransactionByHash", Args: []any{log.TxHash}, Result: senders[log.TxHash]})
		}
	}
	if err := batch(ctx, r, calls); err != nil {
		return nil, err
	}
	for i := range events {
		events[i].Time = uint64(blocks[events[i].Block].Timestamp)
		events[i].Sender = senders[events[i].Transaction].From
		if events[i].Time == 0 || events[i].Sender == (common.Address{}) {
			return nil, errors.New("it does not have the block of an event any more: try again")
		}
	}
	return events, nil
}

// filter asks for the registry's logs of a range of blocks.
func (c *Client) filter(from, to uint64) any {
	return map[string]any{"address": c.network.Registry, "fromBlock": hexutil.Uint64(from), "toBlock": hexutil.Uint64(to)}
}

func eventOf(log *types.Log) (Event, error) {
	if len(log.Topics) != 2 {
		return Event{}, errWord
	}
	event, err := ABI.EventByID(log.Topics[0])
	if err != nil {
		return Event{}, err
	}
	return Event{Name: event.Name, Key: log.Topics[1], Block: log.BlockNumber, Transaction: log.TxHash}, nil
}

// IsContract tells whether the account has code, at the latest block.
func (c *Client) IsContract(ctx context.Context, account common.Address) (bool, error) {
	var code hexutil.Bytes
	err := c.do(ctx, anyCode, func(ctx context.Context, r *rpc.Client) error {
		return r.CallContext(ctx, &code, "eth_getCode", account, "latest")
	})
	if err != nil {
		return false, fmt.Errorf("read the code of account %s: %w", account, err)
	}
	return len(code) > 0, nil
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
)

// Posted is an entry that is on chain, confirmed.
type Posted struct {
	// Already: the entry was there, or somebody else's transaction brought it
	// first, so that there is no transaction of ours to name.
	Already     bool
	Transaction common.Hash
	Block       Block // of Transaction; of an entry that was there, only Time, the entry's

	Confirmations uint64         // how many blocks hold it now, its own among them; 0 where Already
	Fee           *big.Int       // wei that Transaction cost; 0 where Already
	Contract      common.Address // what DeployPlain made
}

// MaxSecrets is how many secrets one transaction reveals.
const MaxSecrets = 500

// Anchor puts a root on chain, unless it is there, and waits until it is
// confirmed. The error is an UnconfirmedError if the context ends first.
func (c *Client) Anchor(ctx context.Context, root common.Hash) (Posted, error) {
	return c.post(ctx, &job{
		what: "anchor a root", to: &c.network.Registry, registry: true,
		missing: c.entries(codec.PackAnchoredAt(root)),
		data:    func([]int) []byte { return codec.PackAnchor(root) },
	})
}

// Revoke reveals those of at most MaxSecrets secrets that are not revealed, in
// one transaction, and waits until all are confirmed.
func (c *Client) Revoke(ctx context.Context, secrets []common.Hash) (Posted, error) {
	if len(secrets) > MaxSecrets {
		return Posted{}, fmt.Errorf("reveal %d secrets: one transaction takes %d: reveal fewer at once", len(secrets), MaxSecrets)
	}
	var entries [][]byte
	for _, secret := range secrets {
		entries = append(entries, codec.PackRevokedAt(consent.Revocation(secret)))
	}
	return c.post(ctx, &job{
		what: "reveal secrets", to: &c.network.Registry, registry: true,
		missing: c.entries(entries...),
		data: func(missing []int) []byte {
			reveal := make([][32]byte, len(missing))
			for k, i := range missing {
				reveal[k] = secrets[i]
			}
			return codec.PackRevoke(reveal)
		},
	})
}

// Retire retires an account with its signature of consent.Retirement, and waits
// until that is confirmed. It is ErrBadSignature if the account did not sign.
func (c *Client) Retire(ctx context.Context, account common.Address, signature []byte) (Posted, error) {
	return c.post(ctx, &job{
		what: "retire an account", to: &c.network.Registry, registry: true,
		missing: c.entries(codec.PackRetiredAt(account)),
		data:    func([]int) []byte { return codec.PackRetire(account, signature) },
	})
}

// job is something that is to be on chain.
type job struct {
	what     string
	to       *common.Address // nil makes a contract
	registry bool            // whether the registry has to be there for it
	missing  missing
	data     func(missing []int) []byte
}

// missing tells which parts of a job are not there at a block, and the latest
// block time of the entries that are.
type missing func(ctx context.Context, r *rpc.Client, block any) (parts []int, last uint64, err error)

// entries are calls of the registry that give the block time of an entry.
func (c *Client) entries(calls ...[]byte) missing {
	return func(ctx context.Context, r *rpc.Client, block any) (parts []int, last uint64, err error) {
		var q query
		for i, call := range calls {
			q.entry(c.network.Registry, call, block, func(time uint64) {
				if last = max(last, time); time == 0 {
					parts = append(parts, i)
				}
			})
		}
		err = q.ask(ctx, r)
		return parts, last, err
	}
}

const (
	firstPoll = 20 * time.Millisecond
	soonPoll  = 250 * time.Millisecond // at most in the first seconds, when somebody may watch
	lastPoll  = 2 * time.Second
	soon      = 3 * time.Second

	stuckAfter  = 3  // blocks that went by without a transaction
	maxAttempts = 12 // of one job: first sendings and replacements
	maxReverts  = 3  // estimates in a row
	maxFailures = 10 // polls in a row that no endpoint answers
)

// post sees a job through.
func (c *Client) post(ctx context.Context, j *job) (Posted, error) {
	p := posting{client: c, job: j}
	posted, err := p.run(ctx)
	if err != nil {
		return Posted{}, fmt.Errorf("%s: %w", j.what, err)
	}
	return *posted, nil
}

// posting is a job under way.
type posting struct {
	client *Client
	job    *job
	payer  Payer                // who pays; nil until something has to be sent
	sent   []*types.Transaction // what may still get into a block, the last sent last
	tries  int
	head   uint64 // number of the latest block when the last was sent
	fees   fees
}

// run is a loop over what the chain shows, so that it does not matter what was
// sent before, by whom, and what became of it.
func (p *posting) run(ctx context.Context) (*Posted, error) {
	failures := 0
	for poll, began := firstPoll, time.Now(); ; poll = min(poll*3/2, lastPoll) {
		if time.Since(began) < soon {
			poll = min(poll, soonPoll)
		}
		v, err := p.look(ctx)
		var posted *Posted
		if err == nil {
			posted, err = p.step(ctx, v)
		}
		switch {
		case posted != nil:
			return posted, nil
		case err == nil:
			failures = 0
		case len(p.sent) > 0 && errors.Is(err, ErrUnreachable) && failures < maxFailures:
			failures++ // the transaction is on its way: that the network is away for a moment does not matter
		default:
			return nil, p.gaveUp(err)
		}
		if err := pause(ctx, poll); err != nil {
			return nil, p.gaveUp(err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// gaveUp names the transaction that may still get into a block.
func (p *posting) gaveUp(err error) error {
	var failed *TransactionError
	if len(p.sent) == 0 || errors.As(err, &failed) {
		return err
	}
	return &UnconfirmedError{p.sent[len(p.sent)-1].Hash(), err}
}

// receipt is a transaction's as JSON-RPC gives it, as far as it is used.
type receipt struct {
	Transaction common.Hash     `json:"transactionHash"`
	Status      hexutil.Uint64  `json:"status"`
	BlockNumber hexutil.Uint64  `json:"blockNumber"`
	BlockHash   common.Hash     `json:"blockHash"`
	GasUsed     hexutil.Uint64  `json:"gasUsed"`
	GasPrice    *hexutil.Big    `json:"effectiveGasPrice"` // nil on some old networks
	Contract    *common.Address `json:"contractAddress"`
}

// view is what one endpoint shows of a posting.
type view struct {
	head      *header
	receipt   *receipt // of one of ours; nil while none is in a block
	block     *header  // the receipt's
	known     bool     // the last sent is in a block or waits for one
	nonce     uint64   // the payer's next, by what is in blocks
	pending   uint64   // and by what waits for one without a gap before it
	missing   []int    // at the head
	confirmed bool     // nothing is missing at the confirmed block
	entry     uint64   // block time of the last entry
}

func (p *posting) look(ctx context.Context) (v *view, err error) {
	c := p.client
	err = c.do(ctx, p.job.registry, func(ctx context.Context, r *rpc.Client) error {
		v = new(view)
		if v.head, err = head(ctx, r); err != nil {
			return err
		}
		if v.missing, v.entry, err = p.job.missing(ctx, r, pinned(v.head.Hash)); err != nil {
			return err
		}
		if len(v.missing) == 0 {
			missing, _, err := p.job.missing(ctx, r, c.confirmed(v.head))
			if err != nil {
				return err
			}
			v.confirmed = len(missing) == 0
		}
		if len(p.sent) == 0 {
			return nil
		}
		// The nonce first: if it is used up and there is still no receipt
		// afterwards, another transaction has it.
		var nonce hexutil.Uint64
		if err := r.CallContext(ctx, &nonce, "eth_getTransactionCount", p.payer.Address(), "latest"); err != nil {
			return err
		}
		v.nonce = uint64(nonce)
		if err := r.CallContext(ctx, &nonce, "eth_getTransactionCount", p.payer.Address(), "pending"); err != nil {
			return err
		}
		v.pending = uint64(nonce)
		return p.find(ctx, r, v)
	})
	return v, err
}

// find looks for what was sent.
func (p *posting) find(ctx context.Context, r *rpc.Client, v *view) error {
	receipts := make([]*receipt, len(p.sent))
	var waiting *struct{}
	calls := []rpc.BatchElem{{Method: "eth_getTransactionByHash", Args: []any{p.sent[len(p.sent)-1].Hash()}, Result: &waiting}}
	for i, tx := range p.sent {
		calls = append(calls, rpc.BatchElem{Method: "eth_getTransactionReceipt", Args: []any{tx.Hash()}, Result: &receipts[i]})
	}
	if err := batch(ctx, r, calls); err != nil {
		return err
	}
	v.known = waiting != nil
	for _, receipt := range receipts {
		if receipt == nil || receipt.BlockHash == (common.Hash{}) {
			continue
		}
		v.receipt = receipt
		if err := r.CallContext(ctx, &v.block, "eth_getBlockByHash", receipt.BlockHash, false); err != nil {
			return err
		}
		if v.block == nil { // a reorganisation took it away just now
			v.receipt = nil
		}
	}
	return nil
}

// step does what the view asks for; it gives the result once there is nothing
// more to do.
func (p *posting) step(ctx context.Context, v *view) (*Posted, error) {
	c := p.client
	switch {
	case v.receipt != nil && v.receipt.Status == 1:
		if v.head.Number < v.receipt.BlockNumber {
			return nil, nil
		}
		depth := uint64(v.head.Number-v.receipt.BlockNumber) + 1
		if depth < c.network.Confirmations {
			return nil, nil
		}
		posted := &Posted{Transaction: v.receipt.Transaction, Block: v.block.block(), Confirmations: depth, Fee: p.fee(v.receipt)}
		if v.receipt.Contract != nil {
			posted.Contract = *v.receipt.Contract
		}
		return posted, nil
	case v.confirmed:
		return &Posted{Already: true, Block: Block{Time: v.entry}, Fee: new(big.Int)}, nil
	case len(v.missing) == 0: // it is there, and only has to get deeper
		return nil, nil
	case v.receipt != nil:
		return nil, &TransactionError{v.receipt.Transaction, "the contract refused it"}
	}
	if len(p.sent) > 0 {
		last := p.sent[len(p.sent)-1]
		switch {
		case v.nonce > last.Nonce(): // another process paid with the same key and took the nonce
		case v.pending < last.Nonce(): // one before it was lost, and it would wait for ever
		case !v.known: // dropped, or this endpoint never heard of it
			switch err := p.broadcast(ctx, last); {
			case errors.Is(err, errTooLow):
				return nil, p.replace(ctx, v, last)
			case !refused(err):
				return nil, err
			}
			return nil, nil // what took its place is seen at the next look
		case uint64(v.head.Number) >= p.head+stuckAfter:
			return nil, p.replace(ctx, v, last)
		default:
			return nil, nil
		}
	}
	if p.payer == nil {
		var err error
		if p.payer, err = c.choosePayer(ctx); err != nil {
			return nil, err
		}
	}
	return nil, p.send(ctx, v)
}

func (p *posting) fee(r *receipt) *big.Int {
	price := (*big.Int)(r.GasPrice)
	if price == nil {
		for _, tx := range p.sent {
			if tx.Hash() == r.Transaction {
				price = tx.GasPrice()
			}
		}
	}
	return new(big.Int).Mul(price, new(big.Int).SetUint64(uint64(r.GasUsed)))
}

// What a node says to a transaction that it does not take.
var (
	errUsed   = errors.New("its nonce is used up")
	errTaken  = errors.New("its nonce is that of another, which waits")
	errTooLow = errors.New("its fee is too low")
)

// Texts of go-ethereum, Erigon, Nethermind, Besu, reth and anvil, in lower
// case; the first that is found counts.
var refusals = []struct {
	text string
	err  error
}{
	{"already known", nil}, {"known transaction", nil}, {"already imported", nil}, {"alreadyknown", nil},
	{"nonce too low", errUsed}, {"nonce is too low", errUsed}, {"nonce too small", errUsed}, {"oldnonce", errUsed},
	{"replac", errTaken}, {"underpriced", errTooLow}, {"fee too low", errTooLow}, {"feetoolow", errTooLow},
	{"max fee per gas less than block base fee", errTooLow}, {"gas price too low", errTooLow},
}

// What no other endpoint takes either: where the account has too few coins, and
// else.
var (
	poor     = []string{"insufficient funds", "insufficient balance", "insufficientfunds"}
	hopeless = []string{"block gas limit", "intrinsic gas too low", "fee cap", "tx fee"}
)

// broadcast hands a signed transaction to an endpoint. It may be handed in more
// than once: it is the same transaction.
func (p *posting) broadcast(ctx context.Context, tx *types.Transaction) error {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return err
	}
	return p.client.do(ctx, p.job.registry, func(ctx context.Context, r *rpc.Client) error {
		err := r.CallContext(ctx, nil, "eth_sendRawTransaction", hexutil.Bytes(raw))
		var word rpc.Error
		if !errors.As(err, &word) {
			return err
		}
		text := strings.ToLower(word.Error())
		for _, refusal := range refusals {
			if strings.Contains(text, refusal.text) {
				if refusal.err == nil {
					return nil
				}
				return final{refusal.err}
			}
		}
		says := func(part string) bool { return strings.Contains(text, part) }
		switch {
		case slices.ContainsFunc(poor, says):
			return final{&NoCoinsError{p.payer.Address()}}
		case slices.ContainsFunc(hopeless, says):
			return final{&TransactionError{Reason: fmt.Sprintf("the node says %s to the paying account %s", consent.Quote(word.Error()), p.payer.Address())}}
		}
		return err
	})
}

func refused(err error) bool {
	return errors.Is(err, errUsed) || errors.Is(err, errTaken) || errors.Is(err, errTooLow)
}

// fees are what a transaction offers: a legacy price, or a tip and a cap.
type fees struct {
	price *big.Int // on a chain without EIP-1559
	tip   *big.Int
	cap   *big.Int
}

var gwei = big.NewInt(1_000_000_000)

// fees asks what to offer now. The cap has a floor: the base fee of an idle
// chain decays to nearly nothing, from which twice its value is soon overtaken.
func (c *Client) fees(ctx context.Context, r *rpc.Client, h *header) (f fees, err error) {
	if h.BaseFee == nil {
		var price hexutil.Big
		err = r.CallContext(ctx, &price, "eth_gasPrice")
		return fees{price: (*big.Int)(&price)}, err
	}
	var tip hexutil.Big
	err = r.CallContext(ctx, &tip, "eth_maxPriorityFeePerGas")
	var word rpc.Error
	if errors.As(err, &word) { // not every node has the method
		tip, err = hexutil.Big(*gwei), nil
	}
	f = fees{tip: (*big.Int)(&tip)}
	f.cap = new(big.Int).Lsh((*big.Int)(h.BaseFee), 1)
	f.cap.Add(f.cap, f.tip)
	f.cap = larger(f.cap, gwei)
	return f, err
}

// raised are fees an eighth higher: a node wants a tenth to replace a transaction.
func (f fees) raised() fees {
	raise := func(x *big.Int) *big.Int {
		if x == nil {
			return nil
		}
		more := new(big.Int).Rsh(x, 3)
		return more.Add(more.Add(more, x), common.Big1)
	}
	return fees{raise(f.price), raise(f.tip), raise(f.cap)}
}

// over takes the higher of two fees, part by part.
func (f fees) over(other fees) fees {
	return fees{larger(f.price, other.price), larger(f.tip, other.tip), larger(f.cap, other.cap)}
}

func larger(a, b *big.Int) *big.Int {
	if a == nil || b != nil && b.Cmp(a) > 0 {
		return b
	}
	return a
}

// transaction is the job's, signed.
func (p *posting) transaction(f fees, nonce, gas uint64, data []byte) (*types.Transaction, error) {
	c := p.client
	id := new(big.Int).SetUint64(c.network.ChainID)
	var tx *types.Transaction
	if f.price != nil {
		tx = types.NewTx(&types.LegacyTx{Nonce: nonce, GasPrice: f.price, Gas: gas, To: p.job.to, Data: data})
	} else {
		tx = types.NewTx(&types.DynamicFeeTx{ChainID: id, Nonce: nonce, GasTipCap: f.tip, GasFeeCap: f.cap, Gas: gas, To: p.job.to, Data: data})
	}
	signed, err := p.payer.SignTransaction(tx, id)
	if err != nil {
		return nil, fmt.Errorf("sign a transaction: %w", err)
	}
	return signed, nil
}

// send pays for what is missing with a fresh nonce.
func (p *posting) send(ctx context.Context, v *view) error {
	c := p.client
	data := p.job.data(v.missing)
	var gas uint64
	err := c.do(ctx, p.job.registry, func(ctx context.Context, r *rpc.Client) (err error) {
		if p.fees, err = c.fees(ctx, r, v.head); err == nil {
			gas, err = p.estimate(ctx, r, data)
		}
		return err
	})
	if errors.Is(err, errReverts) && p.tries < maxReverts {
		p.tries++ // somebody else may have brought it since: look again
		return nil
	}
	if err != nil {
		return err
	}
	c.paying.Lock()
	defer c.paying.Unlock()
	for poll := firstPoll; ; poll *= 2 {
		if p.tries++; p.tries > maxAttempts {
			return &TransactionError{Reason: fmt.Sprintf("%d attempts were refused or lost: others pay with the account %s as well, or its fees are too low: try again later", maxAttempts, p.payer.Address())}
		}
		var nonce hexutil.Uint64
		err := c.do(ctx, p.job.registry, func(ctx context.Context, r *rpc.Client) error {
			return r.CallContext(ctx, &nonce, "eth_getTransactionCount", p.payer.Address(), "pending")
		})
		if err != nil {
			return err
		}
		tx, err := p.transaction(p.fees, uint64(nonce), gas, data)
		if err != nil {
			return err
		}
		err = p.broadcast(ctx, tx)
		switch {
		case err == nil:
			p.sent, p.head = append(p.sent, tx), uint64(v.head.Number)
			return nil
		case errors.Is(err, errTooLow):
			p.fees = p.fees.raised()
		case !refused(err):
			return err
		}
		// Another took the nonce, and the node may need a moment to count it.
		if err := pause(ctx, poll); err != nil {
			return err
		}
	}
}

// errReverts: the contract would refuse the transaction.
var errReverts = &TransactionError{Reason: "the contract refuses it"}

// estimate asks the node for the gas of a call, and adds a quarter.
func (p *posting) estimate(ctx context.Context, r *rpc.Client, data []byte) (uint64, error) {
	call := map[string]any{"from": p.payer.Address(), "input": hexutil.Bytes(data)}
	if p.job.to != nil {
		call["to"] = p.job.to
	}
	var gas hexutil.Uint64
	err := r.CallContext(ctx, &gas, "eth_estimateGas", call)
	var reverted rpc.DataError
	if errors.As(err, &reverted) && reverted.ErrorData() != nil {
		if id := ContractBadSignatureErrorID(); strings.HasPrefix(fmt.Sprint(reverted.ErrorData()), hexutil.Encode(id[:4])) {
			return 0, final{ErrBadSignature}
		}
	}
	if err != nil && strings.Contains(strings.ToLower(err.Error()), "revert") {
		return 0, final{errReverts}
	}
	return uint64(gas) + uint64(gas)/4, err
}

// replace offers more for a transaction that is stuck.
func (p *posting) replace(ctx context.Context, v *view, stuck *types.Transaction) error {
	c := p.client
	if p.tries++; p.tries > maxAttempts {
		return &TransactionError{stuck.Hash(), fmt.Sprintf("it is stuck, and so were all of %d attempts", maxAttempts)}
	}
	var now fees
	err := c.do(ctx, p.job.registry, func(ctx context.Context, r *rpc.Client) (err error) {
		now, err = c.fees(ctx, r, v.head)
		return err
	})
	if err != nil {
		return err
	}
	p.fees = p.fees.raised().over(now)
	tx, err := p.transaction(p.fees, stuck.Nonce(), stuck.Gas(), stuck.Data())
	if err != nil {
		return err
	}
	err = p.broadcast(ctx, tx)
	if refused(err) { // in a block just now, or the next step offers still more
		return nil
	}
	if err == nil {
		p.sent, p.head = append(p.sent, tx), uint64(v.head.Number)
	}
	return err
}

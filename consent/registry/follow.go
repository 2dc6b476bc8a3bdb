package registry

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

const (
	// followEvery is how often the endpoints are asked for their latest block, and
	// followAtMost how often where somebody waits for it.
	followEvery, followAtMost = 500 * time.Millisecond, 50 * time.Millisecond

	// unsafe is how many blocks below the head are read one by one, by hash, so
	// that no reorganisation and no endpoint that is behind can hide an entry.
	// Those below are read in ranges.
	unsafe = 64

	// keptBlocks is how many blocks are kept to compare with; of those before
	// them each sparse one.
	keptBlocks, sparse = 256, 1024

	maxRange = 1 << 16 // blocks asked for at once

	// standstill is the age of the latest block from which on an endpoint that
	// is behind is taken for broken.
	standstill = time.Minute

	// roundPatience is how long others wait for an endpoint that is slow.
	roundPatience = time.Second

	firstRetry, lastRetry = time.Second, 5 * time.Minute // of what could not be posted
)

// DisagreementError: endpoints of one network have different blocks where all
// should have the same. One of them lies, or follows another chain; which one
// cannot be told, so the copy is not moved on.
type DisagreementError struct {
	Network string
	Number  uint64
	Blocks  []EndpointBlock
}

// EndpointBlock is the hash of a block as an endpoint has it.
type EndpointBlock struct {
	Endpoint string // its name
	Hash     common.Hash
}

func (e *DisagreementError) Error() string {
	who := make([]string, len(e.Blocks))
	for i, b := range e.Blocks {
		who[i] = fmt.Sprintf("%s has %s", b.Endpoint, b.Hash)
	}
	return fmt.Sprintf("the endpoints of network %s disagree on block %d: %s: find out which one is right, and take the other out of the settings", e.Network, e.Number, strings.Join(who, ", "))
}

var (
	errMoved  = errors.New("its chain changed while it was read: it is read again")
	errBehind = errors.New("it is behind")
	errSlow   = errors.New("it is slow to answer")

	// errOvertaken: another process of the same file moved the copy on first.
	errOvertaken = errors.New("another process moved the copy on")
)

// Follow keeps the copy level with the chain, and posts what waits for it, until
// the context ends, whose error it returns. Whatever else fails is tried again,
// told by Status, and shows in the age of each State meanwhile.
func (m *Mirror) Follow(ctx context.Context) error {
	f := m.follower()
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer f.group.Wait()
	defer cancel()
	group.Go(func() { m.postPending(ctx) })
	m.running(true)
	defer m.running(false)
	for {
		earliest := time.After(followAtMost)
		m.mu.Lock()
		m.began++
		m.mu.Unlock()
		level, err := f.round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.mu.Lock()
		m.failure = err
		m.mu.Unlock()
		m.roundEnded()
		if err == nil && !level {
			continue // there is more to read
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-earliest:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.nudge:
		case <-time.After(followEvery - followAtMost):
		}
	}
}

func (m *Mirror) running(is bool) {
	m.mu.Lock()
	m.following = is
	m.mu.Unlock()
	m.roundEnded()
}

// roundEnded tells those who wait for it.
func (m *Mirror) roundEnded() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = m.began
	close(m.roundEnds)
	m.roundEnds = make(chan struct{})
}

// follower is what Follow knows between two rounds.
type follower struct {
	*Mirror
	size, limit uint64 // how many blocks are asked for at once, and how many not any more

	group    sync.WaitGroup // of what is asked
	sighting sync.Mutex
	sights   []sight // by endpoint, since the last round
	asking   []bool

	agreed []common.Hash // what was asked of the endpoints when they last agreed
}

func (m *Mirror) follower() *follower {
	endpoints := len(m.client.network.Endpoints)
	return &follower{Mirror: m, size: logRange, limit: maxRange, sights: make([]sight, endpoints), asking: make([]bool, endpoints)}
}

// sight is the latest block of an endpoint.
type sight struct {
	head  *header // nil where it has not answered, for err
	asked time.Time
	err   error
}

// look asks all endpoints for their latest blocks. One that is slow is left to
// answer until a later round.
func (f *follower) look(ctx context.Context) []sight {
	endpoints := len(f.sights)
	done := make(chan struct{}, endpoints)
	f.sighting.Lock()
	asked := 0
	for i := range endpoints {
		if f.asking[i] {
			continue
		}
		f.asking[i] = true
		asked++
		f.group.Go(func() {
			s := sight{asked: time.Now().Round(0)} // by the clock that goes on while the computer sleeps
			s.err = f.client.try(ctx, i, registryCode, func(ctx context.Context, r *rpc.Client) (err error) {
				s.head, err = head(ctx, r)
				return err
			})
			f.sighting.Lock()
			f.sights[i], f.asking[i] = s, false
			f.sighting.Unlock()
			done <- struct{}{}
		})
	}
	f.sighting.Unlock()
	patience := time.NewTimer(roundPatience)
	defer patience.Stop()
	for waiting := true; waiting && asked > 0; {
		select {
		case <-done:
			asked--
		case <-patience.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	f.sighting.Lock()
	defer f.sighting.Unlock()
	sights := slices.Clone(f.sights)
	for i := range sights {
		f.sights[i] = sight{}
		if sights[i].head == nil && sights[i].err == nil {
			sights[i].err = errSlow
		}
	}
	return sights
}

// round reads the next part of the chain from the endpoint that has most of it,
// and tells whether the copy is level with that then.
func (f *follower) round(ctx context.Context) (level bool, err error) {
	p, err := f.position(ctx)
	if err != nil {
		return false, err
	}
	sights := f.look(ctx)
	failed := make([]EndpointError, len(sights))
	var (
		order   []int
		highest uint64
	)
	for i, s := range sights {
		failed[i].Endpoint = f.client.network.Endpoints[i].Name
		if s.err != nil {
			failed[i].Err = printable(s.err)
			continue
		}
		order = append(order, i)
		highest = max(highest, uint64(s.head.Number))
	}
	f.mu.Lock()
	f.head = highest
	f.mu.Unlock()
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sights[b].head.Number, sights[a].head.Number) })
	for _, i := range order {
		level, err := f.advance(ctx, p, i, sights)
		if err == nil || errors.Is(err, errOvertaken) {
			return level, nil
		}
		_, apart := errors.AsType[*DisagreementError](err)
		_, ours := errors.AsType[*database.Error](err)
		if apart || ours || ctx.Err() != nil {
			return false, err
		}
		failed[i].Err = printable(err)
	}
	return false, &UnreachableError{f.client.network.Name, failed}
}

// advance moves the copy on with what endpoint i has.
func (f *follower) advance(ctx context.Context, p position, i int, sights []sight) (level bool, err error) {
	head := sights[i].head
	var c *change
	err = f.client.try(ctx, i, registryCode, func(ctx context.Context, r *rpc.Client) (err error) {
		c, err = f.read(ctx, r, p, head)
		return err
	})
	if err != nil {
		return false, err
	}
	if err := f.agree(ctx, i, c.to.Number, sights); err != nil {
		return false, errors.Join(err, f.keep(ctx, c.entries))
	}
	var asked time.Time
	if level = c.to.Hash == head.Hash; level {
		asked = sights[i].asked
	}
	if p.empty || c.to.Hash != p.Hash {
		if err := f.commit(ctx, p, c, asked); err != nil {
			return false, err
		}
	}
	if level {
		f.mu.Lock()
		f.level = asked
		f.mu.Unlock()
	}
	return level, nil
}

// change is what an endpoint has past a block of the copy.
type change struct {
	base    position // the last block that both have; empty where there is none
	to      Block    // what the copy is of with it
	blocks  []Block  // to keep
	entries []entry  // of the blocks after base, up to to
}

// read reads on from where the copy stands, or from where the endpoint's chain
// leaves it, as far as one goes at once.
func (f *follower) read(ctx context.Context, r *rpc.Client, p position, h *header) (*change, error) {
	base, err := f.common(ctx, r, p, h)
	if err != nil {
		return nil, err
	}
	c := &change{base: base, to: base.Block}
	from := base.Number + 1
	if base.empty {
		from = 0
	}
	switch number := uint64(h.Number); {
	case from > number:
		return c, nil
	case number-from >= unsafe:
		return c, f.readRange(ctx, r, c, from, number-unsafe)
	}
	return c, f.readBlocks(ctx, r, c, from, h)
}

// common gives the last block of the copy that the endpoint has as well.
func (f *follower) common(ctx context.Context, r *rpc.Client, p position, h *header) (position, error) {
	switch number := uint64(h.Number); {
	case p.empty || h.Hash == p.Hash || h.Parent == p.Hash && number == p.Number+1:
		return p, nil
	case number > p.Number:
		same, err := has(ctx, r, []Block{p.Block})
		if err != nil || len(same) > 0 {
			return p, err
		}
	}
	highest := min(uint64(h.Number), p.Number)
	for below := highest; ; {
		blocks, err := f.keptFrom(ctx, below)
		if err != nil {
			return position{}, final{f.db.Failure(err)} // not the endpoint's
		}
		if len(blocks) == 0 {
			return position{empty: true}, nil
		}
		same, err := has(ctx, r, blocks)
		switch {
		case err != nil:
			return position{}, err
		case len(same) == 0 && blocks[len(blocks)-1].Number == 0:
			return position{empty: true}, nil
		case len(same) == 0:
			below = blocks[len(blocks)-1].Number - 1
			continue
		case highest < p.Number && same[0].Number == highest:
			return position{}, fmt.Errorf("%w: its latest block is %d, and the copy has %d", errBehind, uint64(h.Number), p.Number)
		}
		return position{Block: same[0]}, nil
	}
}

// keptFrom gives the blocks that were kept from a number down, some at a time.
func (f *follower) keptFrom(ctx context.Context, below uint64) (blocks []Block, err error) {
	rows, err := f.db.QueryContext(ctx, "SELECT number, hash, time FROM blocks WHERE number <= $1 ORDER BY number DESC LIMIT 100", int64(below))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			number, at int64
			hash       []byte
		)
		if err := rows.Scan(&number, &hash, &at); err != nil {
			return nil, err
		}
		blocks = append(blocks, Block{uint64(number), common.BytesToHash(hash), uint64(at)})
	}
	return blocks, rows.Err()
}

// has gives those of the blocks that are in the endpoint's chain.
func has(ctx context.Context, r *rpc.Client, blocks []Block) (same []Block, err error) {
	numbers := make([]uint64, len(blocks))
	for i, b := range blocks {
		numbers[i] = b.Number
	}
	headers, err := headersOf(ctx, r, numbers)
	if err != nil {
		return nil, err
	}
	for i, b := range blocks {
		if headers[i] != nil && headers[i].Hash == b.Hash {
			same = append(same, b)
		}
	}
	return same, nil
}

// headersOf asks for blocks by number; those that are not there are nil.
func headersOf(ctx context.Context, r *rpc.Client, numbers []uint64) ([]*header, error) {
	headers := make([]*header, len(numbers))
	calls := make([]rpc.BatchElem, len(numbers))
	for i, number := range numbers {
		calls[i] = rpc.BatchElem{Method: "eth_getBlockByNumber", Args: []any{hexutil.Uint64(number), false}, Result: &headers[i]}
	}
	if err := batch(ctx, r, calls); err != nil {
		return nil, err
	}
	for i, h := range headers {
		if h != nil && uint64(h.Number) != numbers[i] {
			return nil, errWord
		}
	}
	return headers, nil
}

// readRange reads blocks that are deep below the head, from a number on and at
// most to last, by ranges, which end at sparse blocks.
func (f *follower) readRange(ctx context.Context, r *rpc.Client, c *change, from, last uint64) error {
	var (
		to     uint64
		before []*header
		logs   []types.Log
	)
	for again := true; again; {
		to = min(from+f.size-1, last)
		if whole := to - to%sparse; whole >= from {
			to = whole
		}
		var err error
		if before, err = headersOf(ctx, r, []uint64{to}); err != nil {
			return err
		}
		err = r.CallContext(ctx, &logs, "eth_getLogs", f.client.filter(from, to))
		if again = f.refused(ctx, to-from+1, err) && ctx.Err() == nil; err != nil && !again {
			return err
		}
	}
	// Where the logs are from is looked up after them, with where they begin and end;
	// and where they end before them as well, or they could be of a chain that had
	// none where the one that is there now has some.
	numbers := []uint64{to}
	if !c.base.empty {
		numbers = append(numbers, c.base.Number)
	}
	ends := len(numbers)
	for _, log := range logs {
		if log.BlockNumber < from || log.BlockNumber > to {
			return errWord
		}
		if numbers[len(numbers)-1] != log.BlockNumber || len(numbers) == ends {
			numbers = append(numbers, log.BlockNumber)
		}
	}
	headers, err := headersOf(ctx, r, numbers)
	if err != nil {
		return err
	}
	blocks := make(map[uint64]*header, len(numbers))
	for i, h := range headers {
		if h == nil || i == 0 && (before[0] == nil || h.Hash != before[0].Hash) || i == 1 && !c.base.empty && h.Hash != c.base.Hash {
			return errMoved
		}
		blocks[numbers[i]] = h
	}
	if c.entries, err = f.entriesOf(ctx, r, logs, blocks); err != nil {
		return err
	}
	c.to = headers[0].block()
	c.blocks = []Block{c.to}
	return nil
}

// refused tells whether the number of blocks may be what an endpoint minds, and
// has fewer asked for from now on; more, as long as it minds none.
func (f *follower) refused(ctx context.Context, blocks uint64, err error) bool {
	if err == nil {
		f.size = min(2*f.size, f.limit)
		f.limit = min(f.limit+f.limit/8+1, maxRange)
		return false
	}
	_, word := errors.AsType[rpc.Error](err)
	_, status := errors.AsType[rpc.HTTPError](err)
	if blocks == 1 || !word && !status && ctx.Err() == nil {
		return false
	}
	f.limit, f.size = blocks, blocks/2
	return true
}

// readBlocks reads the blocks from a number on to the head, each by its hash.
func (f *follower) readBlocks(ctx context.Context, r *rpc.Client, c *change, from uint64, h *header) error {
	var numbers []uint64
	for number := from; number < uint64(h.Number); number++ {
		numbers = append(numbers, number)
	}
	headers, err := headersOf(ctx, r, numbers)
	if err != nil {
		return err
	}
	headers = append(headers, h)
	blocks := make(map[uint64]*header, len(headers))
	found := make([][]types.Log, len(headers))
	calls := make([]rpc.BatchElem, len(headers))
	before := c.base.Hash
	for i, h := range headers {
		if h == nil || h.Parent != before && (i > 0 || !c.base.empty) {
			return errMoved
		}
		before = h.Hash
		blocks[uint64(h.Number)] = h
		c.blocks = append(c.blocks, h.block())
		calls[i] = rpc.BatchElem{
			Method: "eth_getLogs", Result: &found[i],
			Args: []any{map[string]any{"address": f.client.network.Registry, "blockHash": h.Hash}},
		}
	}
	if err := batch(ctx, r, calls); err != nil {
		return err
	}
	if c.entries, err = f.entriesOf(ctx, r, slices.Concat(found...), blocks); err != nil {
		return err
	}
	c.to = h.block()
	return nil
}

// entriesOf makes entries of logs, which must all be of these blocks.
func (f *follower) entriesOf(ctx context.Context, r *rpc.Client, logs []types.Log, blocks map[uint64]*header) ([]entry, error) {
	entries := make([]entry, len(logs))
	var retirements []*entry
	var transactions []common.Hash
	for i, log := range logs {
		event, err := eventOf(&log)
		h := blocks[log.BlockNumber]
		switch {
		case err != nil || h == nil || h.Timestamp == 0 || log.Address != f.client.network.Registry:
			return nil, errWord // the registry takes the time 0 for "not there"
		case log.Removed || log.BlockHash != h.Hash:
			return nil, errMoved
		}
		e := entry{block: event.Block, time: uint64(h.Timestamp), proof: []byte{}}
		switch event.Name {
		case ContractAnchoredEventName:
			e.key = keyOf(anchorKind, event.Key[:])
		case ContractRevokedEventName:
			revocation := consent.Revocation(event.Key)
			e.key, e.proof = keyOf(revocationKind, revocation[:]), event.Key[:]
		case ContractRetiredEventName:
			account := common.BytesToAddress(event.Key[:])
			if common.BytesToHash(account[:]) != event.Key {
				return nil, errWord
			}
			e.key = keyOf(retirementKind, account[:])
			retirements = append(retirements, &entries[i])
			transactions = append(transactions, log.TxHash)
		}
		entries[i] = e
	}
	return entries, f.findSignatures(ctx, r, retirements, transactions)
}

// findSignatures looks for the signatures of retirements in the transactions
// that brought them. One that came by way of another contract is not found.
func (f *follower) findSignatures(ctx context.Context, r *rpc.Client, retirements []*entry, transactions []common.Hash) error {
	type transaction struct {
		To    *common.Address `json:"to"`
		Input hexutil.Bytes   `json:"input"`
	}
	sent := make([]transaction, len(transactions))
	calls := make([]rpc.BatchElem, len(transactions))
	for i, hash := range transactions {
		calls[i] = rpc.BatchElem{Method: "eth_getTransactionByHash", Args: []any{hash}, Result: &sent[i]}
	}
	if err := batch(ctx, r, calls); err != nil {
		return err
	}
	retire := ABI.Methods["retire"]
	for i, tx := range sent {
		if tx.To == nil || *tx.To != f.client.network.Registry || !bytes.HasPrefix(tx.Input, retire.ID) {
			continue
		}
		if said, err := retire.Inputs.Unpack(tx.Input[len(retire.ID):]); err == nil {
			retirements[i].proof = said[1].([]byte)
		}
	}
	return nil
}

// agree asks the endpoints for the block that is confirmed once the copy is of
// the block with this number. The copy is moved on only if none of them has
// another there, and one has it besides endpoint i, unless none can be asked.
func (f *follower) agree(ctx context.Context, i int, number uint64, sights []sight) error {
	number = f.client.below(number)
	asked := []common.Hash{common.BigToHash(new(big.Int).SetUint64(number))}
	usable := 0
	for _, s := range sights {
		asked = append(asked, common.Hash{})
		if s.head != nil {
			asked[len(asked)-1] = s.head.Hash
			usable++
		}
	}
	if usable < 2 || slices.Equal(asked, f.agreed) {
		return nil
	}
	headers := make([]*header, len(sights))
	errs := make([]error, len(sights))
	var group sync.WaitGroup
	for j, s := range sights {
		if s.head == nil {
			continue
		}
		group.Go(func() {
			limited, cancel := context.WithTimeout(ctx, roundPatience)
			defer cancel()
			errs[j] = f.client.try(limited, j, registryCode, func(ctx context.Context, r *rpc.Client) error {
				found, err := headersOf(ctx, r, []uint64{number})
				if err == nil {
					headers[j] = found[0]
				}
				return err
			})
		})
	}
	group.Wait()
	switch {
	case errs[i] != nil:
		return errs[i]
	case headers[i] == nil:
		return errMoved
	}
	others, agree := 0, 0
	var blocks []EndpointBlock
	for j, h := range headers {
		if h != nil {
			blocks = append(blocks, EndpointBlock{f.client.network.Endpoints[j].Name, h.Hash})
		}
		switch {
		case j == i || sights[j].head == nil || errs[j] != nil:
		case h == nil && f.standsStill(sights[j].head):
		case h == nil:
			others++
		default:
			others++
			agree++
		}
	}
	for _, b := range blocks {
		if b.Hash != headers[i].Hash {
			return &DisagreementError{f.client.network.Name, number, blocks}
		}
	}
	if others > 0 && agree == 0 {
		return fmt.Errorf("no other endpoint has its block %d yet", number)
	}
	f.agreed = asked
	return nil
}

// standsStill tells whether an endpoint shows no new blocks any more.
func (f *follower) standsStill(h *header) bool {
	return !f.client.network.OnDemand && time.Since(time.Unix(int64(h.Timestamp), 0)) > standstill
}

const (
	insertEntry = "INSERT INTO entries (key, block, time, proof) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO "
	provenNow   = "UPDATE SET proof = excluded.proof WHERE entries.proof <> excluded.proof" // as it may not have been before
)

// commit puts a change into the copy, entries and position in one transaction.
// asked is when the endpoint was asked that the copy is level with now, zero if
// it is not.
func (f *follower) commit(ctx context.Context, p position, c *change, asked time.Time) error {
	base, was, deep := int64(-1), int64(-1), int64(-1)
	if !c.base.empty {
		base = int64(c.base.Number)
	}
	hash := []byte{}
	if !p.empty {
		was, hash, deep = int64(p.Number), p.Hash[:], int64(f.client.below(p.Number))
	}
	var level int64
	if !asked.IsZero() {
		level = asked.Unix()
	}
	var version uint64
	err := f.db.Change(ctx, func(tx *sql.Tx) error {
		var confirmed int64
		err := tx.QueryRowContext(ctx, "UPDATE ledger SET number = $1, hash = $2, time = $3, level = MAX(level, $4), version = version + 1 WHERE number = $5 AND hash = $6 RETURNING version, confirmed",
			int64(c.to.Number), c.to.Hash[:], int64(c.to.Time), level, was, hash).Scan(&version, &confirmed)
		if errors.Is(err, sql.ErrNoRows) {
			return errOvertaken
		}
		if err != nil {
			return err
		}
		// Where the chain was made shorter, more is confirmed than is deep now.
		confirmed = max(confirmed, deep)
		// What was above the last common block is gone: anchors do not count any
		// more; the others do, and wait to be posted unless they are found again.
		if err := f.forgetUnproven(ctx, tx, max(base, confirmed)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE ledger SET confirmed = $1", min(base, confirmed)); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM entries WHERE block > $1 AND substr(key, 1, 1) = x'61'",
			"UPDATE entries SET block = 0 WHERE block > $1",
			"DELETE FROM blocks WHERE number > $1",
		} {
			if _, err := tx.ExecContext(ctx, statement, base); err != nil {
				return err
			}
		}
		// The registry has each but once: whoever shows one again that is on a
		// block is wrong. One that does not prove itself and counts already stays
		// on none, or it would go with a block that is not confirmed.
		for _, e := range c.entries {
			_, err := tx.ExecContext(ctx, insertEntry+`UPDATE SET time = excluded.time,
				block = CASE WHEN $5 THEN excluded.block ELSE 0 END,
				proof = CASE WHEN $5 OR length(entries.proof) = 0 THEN excluded.proof ELSE entries.proof END WHERE entries.block = 0`,
				e.key, int64(e.block), int64(e.time), e.proof, f.proven(e))
			if err != nil {
				return err
			}
		}
		for _, b := range c.blocks {
			if _, err := tx.ExecContext(ctx, "INSERT INTO blocks (number, hash, time) VALUES ($1, $2, $3)", int64(b.Number), b.Hash[:], int64(b.Time)); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM blocks WHERE number > $1 AND number <= $2 AND number % $3 <> 0",
			base-keptBlocks, int64(c.to.Number)-keptBlocks, sparse)
		return err
	})
	if err != nil {
		return err
	}
	f.changed(version)
	if was > base {
		f.wake()
	}
	return nil
}

// forgetUnproven forgets the retirements above a block that do not prove
// themselves: those that were never confirmed may be any endpoint's invention.
func (f *follower) forgetUnproven(ctx context.Context, tx *sql.Tx, above int64) error {
	rows, err := tx.QueryContext(ctx, "SELECT key, proof FROM entries WHERE block > $1 AND substr(key, 1, 1) = x'74'", above)
	if err != nil {
		return err
	}
	defer rows.Close()
	var unproven [][]byte
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.key, &e.proof); err != nil {
			return err
		}
		if !f.proven(e) {
			unproven = append(unproven, e.key)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, key := range unproven {
		if _, err := tx.ExecContext(ctx, "DELETE FROM entries WHERE key = $1", key); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps the revocations and retirements that prove themselves among entries
// of blocks on which the endpoints do not agree yet.
func (f *follower) keep(ctx context.Context, entries []entry) error {
	if len(entries) == 0 {
		return nil
	}
	var version uint64
	err := f.db.Change(ctx, func(tx *sql.Tx) error {
		news := int64(0)
		for _, e := range entries {
			if !f.proven(e) {
				continue
			}
			done, err := tx.ExecContext(ctx, insertEntry+provenNow, e.key, int64(e.block), int64(e.time), e.proof)
			if err != nil {
				return err
			}
			n, err := done.RowsAffected()
			if err != nil {
				return err
			}
			news += n
		}
		if news == 0 {
			return nil
		}
		return tx.QueryRowContext(ctx, "UPDATE ledger SET version = version + 1 RETURNING version").Scan(&version)
	})
	if err == nil && version > 0 {
		f.changed(version)
	}
	return err
}

// postPending posts what waits for it, until the context ends. What fails is
// tried again later.
func (m *Mirror) postPending(ctx context.Context) {
	for retry := firstRetry; ctx.Err() == nil; {
		err := m.post(ctx)
		m.mu.Lock()
		m.unposted = err
		m.mu.Unlock()
		wait := lastRetry
		if err != nil {
			wait, retry = retry, min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-m.pending:
		}
		timer.Stop()
	}
}

// post posts the entries that are on no block.
func (m *Mirror) post(ctx context.Context) error {
	var failed error
	for after := []byte{}; ; {
		waiting, err := m.waiting(ctx, after)
		if err != nil || len(waiting) == 0 {
			return errors.Join(failed, m.db.Failure(err))
		}
		after = waiting[len(waiting)-1].key
		var secrets []common.Hash
		for _, e := range waiting {
			switch e.key[0] {
			case revocationKind:
				secrets = append(secrets, common.BytesToHash(e.proof))
			case retirementKind:
				_, err := m.client.Retire(ctx, common.BytesToAddress(e.key[1:]), e.proof)
				if errors.Is(err, ErrBadSignature) && !m.proven(e) { // nor will it ever be accepted
					err = m.db.Change(ctx, func(tx *sql.Tx) error {
						_, err := tx.ExecContext(ctx, "UPDATE entries SET proof = $1 WHERE key = $2", []byte{}, e.key)
						return err
					})
				}
				failed = errors.Join(failed, err)
			}
		}
		if len(secrets) > 0 {
			_, err = m.client.Revoke(ctx, secrets)
			failed = errors.Join(failed, err)
		}
	}
}

// waiting gives entries that wait to be posted, with keys after this one, as
// many as go into one transaction.
func (m *Mirror) waiting(ctx context.Context, after []byte) (waiting []entry, err error) {
	rows, err := m.db.QueryContext(ctx, "SELECT key, proof FROM entries WHERE block = 0 AND length(proof) > 0 AND key > $1 ORDER BY key LIMIT $2", after, MaxSecrets)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.key, &e.proof); err != nil {
			return nil, err
		}
		waiting = append(waiting, e)
	}
	return waiting, rows.Err()
}

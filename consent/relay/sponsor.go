package relay

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

const (
	maxLeaves = 1 << 16 // of one tree
	inFlight  = 16      // transactions of one kind that wait for a block at once

	pollEvery  = time.Second // for what other processes took in
	firstRetry = time.Second
	lastRetry  = 30 * time.Second

	// Where blocks are further apart than aligned, a tree is made lead before
	// the next one is due: what comes later is in the one after it, and so on
	// chain within one interval and lead, and up to a second more: the time of a
	// block has whole seconds.
	aligned = 2 * time.Second
	lead    = 600 * time.Millisecond
)

// send sends what waits, in one process at a time.
func (r *Relay) send(ctx context.Context) {
	for {
		err := r.sender.hold(ctx, func(ctx context.Context) {
			s := &sending{Relay: r, sent: make(map[common.Hash]bool), planted: make(chan struct{}, inFlight), revealing: make(chan struct{}, inFlight)}
			r.metrics.sending.Set(1)
			defer r.metrics.sending.Set(0)
			s.all.Go(func() { s.plant(ctx) })
			s.all.Go(func() { s.reveal(ctx) })
			s.all.Go(func() { s.watch(ctx) })
			s.all.Wait()
		})
		if err != nil && ctx.Err() == nil {
			r.options.Log.Warn("the lock of the sender", "error", err)
		}
		if !pause(ctx, lockEvery) {
			return
		}
	}
}

// sending is the work of the process that sends.
type sending struct {
	*Relay
	all sync.WaitGroup

	// Taken by what waits for a block: secrets wait behind no trees.
	planted, revealing chan struct{}

	mu   sync.Mutex
	sent map[common.Hash]bool // roots of trees, and secrets, that wait for a block
}

// begin tells whether it is not under way, and takes note that it is.
func (s *sending) begin(what common.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent[what] {
		return false
	}
	s.sent[what] = true
	return true
}

func (s *sending) end(what ...common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range what {
		delete(s.sent, one)
	}
}

// plant makes one tree in each interval over all roots that wait, and anchors
// it.
func (s *sending) plant(ctx context.Context) {
	last := time.Now().Add(-s.options.Interval) // when the last tree was made
	for {
		rung := s.waiting.next()
		if some, err := s.anyRoot(ctx); err != nil {
			s.failed(ctx, "look for roots", err)
		} else if some {
			if !pause(ctx, s.untilDue(ctx, last)) {
				return
			}
			last = time.Now()
			if err := s.makeTree(ctx); err != nil {
				s.failed(ctx, "make a tree", err)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-rung:
		case <-time.After(pollEvery):
		}
	}
}

// untilDue is how long the next tree is waited for.
func (s *sending) untilDue(ctx context.Context, last time.Time) time.Duration {
	interval := s.options.Interval
	sinceLast := time.Since(last)
	if interval <= aligned {
		return max(interval-sinceLast, 0)
	}
	state, err := s.chain.Read(ctx, consent.Entries{})
	if err != nil {
		return interval
	}
	now := s.options.Now()
	due := time.Unix(int64(state.Time), 0).Add(interval - lead)
	if late := now.Sub(due); late > 0 { // blocks are missing, or none is made without need
		due = due.Add((late/interval + 1) * interval)
	}
	wait := due.Sub(now)
	if sinceLast+wait < interval-lead {
		wait += interval // the block for which the last tree was made is not there yet
	}
	return wait
}

func (s *sending) anyRoot(ctx context.Context) (some bool, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM roots WHERE number > (SELECT coalesce(max(last), 0) FROM trees))").Scan(&some)
	return some, err
}

// makeTree makes the tree durable before it is sent, so that it is the same one
// that is sent after a crash.
func (s *sending) makeTree(ctx context.Context) error {
	leaves, first, last, err := s.leaves(ctx, "SELECT root, number FROM roots WHERE number > (SELECT coalesce(max(last), 0) FROM trees) ORDER BY number LIMIT $1", maxLeaves)
	if err != nil || len(leaves) == 0 {
		return err
	}
	tree := s.trees.put(last, leaves)
	root := tree.Root()
	err = s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO trees (last, first, root, made, block, final) VALUES ($1, $2, $3, $4, 0, 0)", last, first, root[:], s.now())
		return err
	})
	if err != nil {
		return err
	}
	s.metrics.trees.Inc()
	s.metrics.leaves.Observe(float64(len(leaves)))
	s.anchor(ctx, root)
	return nil
}

func (r *Relay) leaves(ctx context.Context, query string, args ...any) (leaves []common.Hash, first, last int64, err error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var root sql.RawBytes
		if err := rows.Scan(&root, &last); err != nil {
			return nil, 0, 0, err
		}
		if len(leaves) == 0 {
			first = last
		}
		leaves = append(leaves, common.BytesToHash(root))
	}
	return leaves, first, last, rows.Err()
}

// anchor sends a tree, and writes down the block in which it was seen.
func (s *sending) anchor(ctx context.Context, root common.Hash) {
	if !s.begin(root) {
		return
	}
	s.start(ctx, s.planted, func() {
		defer s.end(root)
		began := time.Now()
		done := s.persist(ctx, "anchor a tree", func() error {
			if err := s.chain.Anchor(ctx, root); err != nil {
				return err
			}
			state, err := s.chain.Read(ctx, consent.Entries{Anchors: []common.Hash{root}})
			if err != nil {
				return err
			}
			if state.Anchored[root] == 0 {
				return errDropped
			}
			return s.change(ctx, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "UPDATE trees SET block = $1 WHERE root = $2 AND final = 0", state.Block, root[:])
				return err
			})
		})
		if done {
			s.metrics.anchoring.Observe(time.Since(began).Seconds())
			s.anchored.ring()
		}
	})
}

// errDropped: it was in a block, and a reorganisation or another node's view
// took it away.
var errDropped = errors.New("the chain does not show it any more")

// start runs do once it has one of the slots, each of which something holds that
// waits for a block.
func (s *sending) start(ctx context.Context, slots chan struct{}, do func()) {
	s.all.Go(func() {
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		defer func() { <-slots }()
		do()
	})
}

// persist tries until it is done, or the context ends.
func (s *sending) persist(ctx context.Context, what string, do func() error) bool {
	for retry := firstRetry; ; retry = min(retry*2, lastRetry) {
		err := do()
		if err == nil {
			return true
		}
		s.failed(ctx, what, err)
		if !pause(ctx, retry) {
			return false
		}
	}
}

func (s *sending) failed(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.metrics.failures.WithLabelValues(what).Inc()
	s.options.Log.Warn(what, "error", err)
}

// reveal sends secrets as soon as they are durable.
func (s *sending) reveal(ctx context.Context) {
	for {
		rung := s.revealed.next()
		if err := s.revealAll(ctx); err != nil {
			s.failed(ctx, "look for secrets", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-rung:
		case <-time.After(pollEvery):
		}
	}
}

func (s *sending) revealAll(ctx context.Context) error {
	all, err := s.hashes(ctx, "SELECT secret FROM secrets WHERE block = 0")
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(secret common.Hash) bool { return !s.begin(secret) })
	for secrets := range slices.Chunk(all, MaxSecrets) {
		s.start(ctx, s.revealing, func() {
			defer s.end(secrets...)
			s.persist(ctx, "reveal secrets", func() error { return s.revealOnce(ctx, secrets) })
		})
	}
	return nil
}

func (s *sending) revealOnce(ctx context.Context, secrets []common.Hash) error {
	if err := s.chain.Revoke(ctx, secrets); err != nil {
		return err
	}
	state, err := s.chain.Read(ctx, consent.Entries{Revocations: revocations(secrets)})
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		for _, secret := range secrets {
			if state.Revoked[consent.Revocation(secret)] == 0 {
				return errDropped
			}
			if _, err := tx.ExecContext(ctx, "UPDATE secrets SET block = $1 WHERE secret = $2", state.Block, secret[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

func revocations(secrets []common.Hash) []common.Hash {
	hashes := make([]common.Hash, len(secrets))
	for i, secret := range secrets {
		hashes[i] = consent.Revocation(secret)
	}
	return hashes
}

func (r *Relay) hashes(ctx context.Context, query string) (hashes []common.Hash, err error) {
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var hash sql.RawBytes
		if err := rows.Scan(&hash); err != nil {
			return nil, err
		}
		hashes = append(hashes, common.BytesToHash(hash))
	}
	return hashes, rows.Err()
}

// watch sends again what a crash left behind, and what a reorganisation drops
// before it is final.
func (s *sending) watch(ctx context.Context) {
	for {
		if err := s.watchTrees(ctx); err != nil {
			s.failed(ctx, "watch trees", err)
		}
		if err := s.watchSecrets(ctx); err != nil {
			s.failed(ctx, "watch secrets", err)
		}
		if !pause(ctx, max(s.options.Interval, pollEvery)) {
			return
		}
	}
}

// seen is an entry that was on chain in a block.
type seen struct {
	key   common.Hash
	block uint64
}

func (s *sending) seen(ctx context.Context, query string) (entries []seen, err error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		var e seen
		if err := rows.Scan(&key, &e.block); err != nil {
			return nil, err
		}
		e.key = common.BytesToHash(key)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

func (s *sending) watchTrees(ctx context.Context) error {
	trees, err := s.seen(ctx, "SELECT root, block FROM trees WHERE final = 0")
	if err != nil || len(trees) == 0 {
		return err
	}
	var need consent.Entries
	for _, tree := range trees {
		if tree.block == 0 {
			s.anchor(ctx, tree.key)
		} else {
			need.Anchors = append(need.Anchors, tree.key)
		}
	}
	state, err := s.chain.Read(ctx, need)
	if err != nil {
		return err
	}
	return s.settle(ctx, trees, state.Block, func(root common.Hash) bool { return state.Anchored[root] != 0 },
		"UPDATE trees SET block = 0 WHERE root = $1 AND final = 0", "UPDATE trees SET final = 1 WHERE root = $1 AND final = 0")
}

func (s *sending) watchSecrets(ctx context.Context) error {
	secrets, err := s.seen(ctx, "SELECT secret, block FROM secrets WHERE block > 0")
	if err != nil || len(secrets) == 0 {
		return err
	}
	var need consent.Entries
	for _, secret := range secrets {
		need.Revocations = append(need.Revocations, consent.Revocation(secret.key))
	}
	state, err := s.chain.Read(ctx, need)
	if err != nil {
		return err
	}
	return s.settle(ctx, secrets, state.Block, func(secret common.Hash) bool { return state.Revoked[consent.Revocation(secret)] != 0 },
		"UPDATE secrets SET block = 0 WHERE secret = $1", "DELETE FROM secrets WHERE secret = $1")
}

// settle writes down what became of entries that were on chain.
func (s *sending) settle(ctx context.Context, entries []seen, head uint64, there func(common.Hash) bool, dropped, final string) error {
	type change struct {
		statement string
		key       common.Hash
	}
	var changes []change
	for _, e := range entries {
		switch {
		case e.block == 0: // under way
		case !there(e.key):
			changes = append(changes, change{dropped, e.key})
		case head >= e.block+s.options.Finality:
			changes = append(changes, change{final, e.key})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		for _, c := range changes {
			if c.statement == dropped {
				s.metrics.dropped.Inc()
				s.options.Log.Warn("a reorganisation dropped an entry: it is sent again")
			}
			if _, err := tx.ExecContext(ctx, c.statement, c.key[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// listen wakes those who wait here for what another process anchored.
func (r *Relay) listen(ctx context.Context) {
	var known string
	for pause(ctx, pollEvery) {
		var those string // that are on chain: it changes whenever one more is
		err := r.db.QueryRowContext(ctx, "SELECT coalesce(sum(last), 0) FROM trees WHERE final = 0 AND block > 0").Scan(&those)
		if err == nil && those != known {
			known = those
			r.anchored.ring()
		}
	}
}

// trees are the last trees that somebody asked for, by their last number.
type trees struct {
	mu    sync.Mutex
	order []int64
	made  map[int64]*planted
}

type planted struct {
	*consent.Tree
	place map[common.Hash]int
}

const treesKept = 8

func (t *trees) get(last int64) *planted {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.made[last]
}

func (t *trees) put(last int64, leaves []common.Hash) *planted {
	p := &planted{consent.NewTree(leaves), make(map[common.Hash]int, len(leaves))}
	for i, leaf := range leaves {
		p.place[leaf] = i
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil {
		t.made = make(map[int64]*planted)
	}
	if t.made[last] == nil {
		t.order = append(t.order, last)
	}
	t.made[last] = p
	if len(t.order) > treesKept {
		delete(t.made, t.order[0])
		t.order = t.order[1:]
	}
	return p
}

// Anchored is what became of a root.
type Anchored struct {
	Root     common.Hash   `json:"anchored"` // of the tree that is on chain
	Siblings []common.Hash `json:"siblings"` // that lead to it
}

// errUnknownRoot: nobody handed it in, or it was long ago.
var errUnknownRoot = errors.New("nobody handed in this root here: hand it in first")

// lookUp tells what became of a root; nil where no block holds it yet.
func (r *Relay) lookUp(ctx context.Context, root common.Hash) (*Anchored, error) {
	var number, last, first int64
	err := r.db.QueryRowContext(ctx, "SELECT number FROM roots WHERE root = $1", root[:]).Scan(&number)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errUnknownRoot
	} else if err != nil {
		return nil, err
	}
	var treeRoot []byte
	var block uint64
	err = r.db.QueryRowContext(ctx, "SELECT last, first, root, block FROM trees WHERE last >= $1 ORDER BY last LIMIT 1", number).Scan(&last, &first, &treeRoot, &block)
	if errors.Is(err, sql.ErrNoRows) || err == nil && block == 0 {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	tree := r.trees.get(last)
	if tree == nil {
		leaves, _, _, err := r.leaves(ctx, "SELECT root, number FROM roots WHERE number BETWEEN $1 AND $2 ORDER BY number", first, last)
		if err != nil {
			return nil, err
		}
		if len(leaves) > 0 {
			tree = r.trees.put(last, leaves)
		}
	}
	if tree == nil || tree.Root() != common.BytesToHash(treeRoot) {
		return nil, errors.New("the leaves of a tree are not those that it was made of")
	}
	return &Anchored{tree.Root(), tree.Proof(tree.place[root])}, nil
}

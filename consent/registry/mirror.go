package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// Mirror is one's own copy of all entries of a registry, in an SQLite file. Who
// answers from it tells no node which entries it cares about, and needs none to
// answer. Several goroutines may use it, and several processes of a machine the
// same file.
//
// Anchors count at the confirmed block; revocations and retirements as soon as
// they were seen, and for ever: where a reorganisation takes one away it stays
// in the copy, and is posted again (Assent protocol, section 7, "Which block").
// A retirement that no key signed, as that of a contract account, stays once it
// was confirmed; before that it goes with its block.
type Mirror struct {
	client  *Client
	db      *database.DB
	version atomic.Uint64
	pending chan struct{} // something waits to be posted
	nudge   chan struct{} // somebody waits for the next round of Follow

	mu       sync.Mutex
	lookups  map[int]*sql.Stmt // by how many keys they take
	level    time.Time         // when an endpoint was last asked that showed nothing newer
	head     uint64            // the highest block that an endpoint showed
	failure  error             // why it is not level; nil when it is
	unposted error             // why what waits is not posted; nil when nothing waits

	following    bool // Follow runs
	began, ended int  // rounds of it
	roundEnds    chan struct{}
}

// The copy. What is looked up by key is a kind and a hash or an address. An
// entry of block 0 was handed over, or dropped by a reorganisation, and is on
// no block that is known: it waits to be posted. The proof of a revocation is
// its secret, that of a retirement the account's signature, empty where it was
// not to be had; anchors need none. Of blocks, the newest are kept, and now and
// then an older one, to find where a reorganisation began. The one row of
// ledger is the block that the copy is of, with the number -1 before the first.
// Its blocks up to confirmed were deep enough once, also where they are not now.
var mirrorSchema = []string{`
CREATE TABLE entries (key BYTEA NOT NULL PRIMARY KEY, block BIGINT NOT NULL, time BIGINT NOT NULL, proof BYTEA NOT NULL) WITHOUT ROWID;
CREATE INDEX entries_by_block ON entries (block);
CREATE TABLE blocks (number BIGINT NOT NULL PRIMARY KEY, hash BYTEA NOT NULL, time BIGINT NOT NULL);
CREATE TABLE ledger (chain TEXT NOT NULL, number BIGINT NOT NULL, hash BYTEA NOT NULL, time BIGINT NOT NULL, level BIGINT NOT NULL, version BIGINT NOT NULL);
`, `
ALTER TABLE ledger ADD COLUMN confirmed BIGINT NOT NULL DEFAULT -1;
`}

// Kinds of entries.
const (
	anchorKind     = 'a'
	revocationKind = 'r'
	retirementKind = 't'
)

func keyOf(kind byte, of []byte) []byte { return append([]byte{kind}, of...) }

// OpenMirror opens the copy at a path, or makes an empty one, for the network
// of the client. The client stays its caller's to close, after the mirror.
func OpenMirror(ctx context.Context, path string, c *Client) (*Mirror, error) {
	db, err := database.Open(ctx, path, "mirror", mirrorSchema)
	if err != nil {
		return nil, fmt.Errorf("open the copy of the registry: %w", err)
	}
	m := &Mirror{client: c, db: db, lookups: make(map[int]*sql.Stmt), pending: make(chan struct{}, 1), nudge: make(chan struct{}, 1), roundEnds: make(chan struct{})}
	if err := m.identify(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the copy of the registry in %s: %w", path, err)
	}
	return m, nil
}

// identify sees to it that the copy is of the client's network.
func (m *Mirror) identify(ctx context.Context) error {
	want, is := fmt.Sprintf("chain %d, registry %s", m.client.network.ChainID, m.client.network.Registry), ""
	err := m.db.Change(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT chain FROM ledger").Scan(&is)
		if errors.Is(err, sql.ErrNoRows) {
			is = want
			_, err = tx.ExecContext(ctx, "INSERT INTO ledger (chain, number, hash, time, level, version) VALUES ($1, -1, $2, 0, 0, 1)", want, []byte{})
		}
		return err
	})
	if err != nil {
		return err
	}
	if is != want {
		return fmt.Errorf("it is of %s, not of %s: give each network a file of its own", is, want)
	}
	_, err = m.position(ctx)
	return err
}

// Close closes the file. Follow has to have ended.
func (m *Mirror) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, lookup := range m.lookups {
		lookup.Close()
	}
	clear(m.lookups)
	return m.db.Close()
}

// position is where the copy stands.
type position struct {
	Block
	empty bool      // before the first block
	level time.Time // when it last was level with the chain, by the file; zero for never
}

// position reads where the copy stands, and takes over the version.
func (m *Mirror) position(ctx context.Context) (p position, err error) {
	var (
		number, at, level int64
		version           uint64
		hash              []byte
	)
	err = m.db.QueryRowContext(ctx, "SELECT number, hash, time, level, version FROM ledger").Scan(&number, &hash, &at, &level, &version)
	if err != nil {
		return p, m.db.Failure(err)
	}
	m.changed(version)
	return positionOf(number, hash, at, level), nil
}

func positionOf(number int64, hash []byte, at, level int64) position {
	p := position{empty: number < 0}
	if !p.empty {
		p.Block = Block{uint64(number), common.BytesToHash(hash), uint64(at)}
	}
	if level > 0 {
		p.level = time.Unix(level, 0)
	}
	return p
}

// Version changes whenever any State may differ from before, its age apart: with
// each block, and with what is handed over. It is never the same again, in later
// processes neither. It is read before the State that is to be kept with it.
func (m *Mirror) Version() uint64 { return m.version.Load() }

// MirrorStatus is how far the copy is.
type MirrorStatus struct {
	Block Block         // that it is of
	Head  uint64        // the highest block that an endpoint showed when last asked; 0 where none did
	Age   time.Duration // since the copy was level with the chain, see Mirror.State
	Err   error         // why it is not level now, as far as is known; nil when it is

	// Unposted is why revocations or retirements that were handed over, or
	// dropped by a reorganisation, could not be posted; nil when all are.
	Unposted error
}

// ErrNoCopy: the mirror was never level with the chain, so that it cannot tell
// what is not there.
var ErrNoCopy = errors.New("the copy of the registry is not complete yet: wait until it has read the chain once")

// Status tells how far the copy is. The error is ErrNoCopy before it was level
// for the first time.
func (m *Mirror) Status(ctx context.Context) (MirrorStatus, error) {
	m.mu.Lock()
	s, level := MirrorStatus{Head: m.head, Err: m.failure, Unposted: m.unposted}, m.level
	m.mu.Unlock()
	p, err := m.position(ctx)
	if err != nil {
		return s, fmt.Errorf("read the copy of the registry: %w", err)
	}
	s.Block = p.Block
	s.Age, err = m.age(p, level)
	return s, err
}

// age is for how long the chain may have gone on unseen: since an endpoint was
// last asked and showed nothing newer, and where blocks are made all the time,
// since the time of the last.
func (m *Mirror) age(p position, level time.Time) (time.Duration, error) {
	if level.IsZero() {
		level = p.level
	}
	age := time.Since(level)
	if p.empty || level.IsZero() || age < 0 { // or the clock was set back, so that nobody knows
		return 0, ErrNoCopy
	}
	if !m.client.network.OnDemand {
		age = max(age, time.Since(time.Unix(int64(p.Time), 0)))
	}
	return age, nil
}

// State gives the entries that a decision needs, from the copy, all as of one
// block, which the state names: anchors that are confirmed at it, revocations
// and retirements that were ever seen. What contract accounts say is asked of an
// endpoint at this very block. The age counts from when an endpoint was last
// asked that showed nothing newer; on networks that make blocks all the time,
// from the block's own time where that is longer ago. Where an anchor is not
// there while Follow runs, the chain is looked at once more first, since it may
// have been confirmed a moment ago.
//
// The error is ErrNoCopy before the copy was complete for the first time, a
// database.Error, or one of Client.Read.
func (m *Mirror) State(ctx context.Context, need consent.Entries) (consent.State, error) {
	for looked := false; ; {
		version := m.Version()
		state, err := m.copied(ctx, need)
		if err == nil && !looked && slices.Contains(slices.Collect(maps.Values(state.Anchored)), 0) {
			m.waitForRound(ctx)
			looked = true
			continue
		}
		if err != nil || len(need.Signatures) == 0 {
			return state, err
		}
		if err = m.client.signed(ctx, need.Signatures, &state); err == nil {
			return state, nil
		}
		if ctx.Err() != nil || m.Version() == version {
			return consent.State{}, err
		}
		// The block may be gone, and the copy went on.
	}
}

// waitForRound waits for a round of Follow that begins from now on, where it runs
// and is not too slow.
func (m *Mirror) waitForRound(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	patience := time.NewTimer(roundPatience)
	defer patience.Stop()
	for before := m.began; m.following && m.ended <= before; {
		select {
		case m.nudge <- struct{}{}:
		default:
		}
		ends := m.roundEnds
		m.mu.Unlock()
		waits := true
		select {
		case <-ends:
		case <-patience.C:
			waits = false
		case <-ctx.Done():
			waits = false
		}
		m.mu.Lock()
		if !waits {
			return
		}
	}
}

// signed asks for the words of contract accounts at the state's block.
func (c *Client) signed(ctx context.Context, queries []consent.SignatureQuery, state *consent.State) error {
	err := c.do(ctx, registryCode, func(ctx context.Context, r *rpc.Client) error {
		var q query
		for _, s := range queries {
			q.signed(c.network.Registry, s, pinned(state.BlockHash), state.Signed)
		}
		return q.ask(ctx, r)
	})
	if err != nil {
		return fmt.Errorf("ask contract accounts at block %d: %w", state.Block, err)
	}
	return nil
}

// copied is the part of a state that is in the copy.
func (m *Mirror) copied(ctx context.Context, need consent.Entries) (consent.State, error) {
	state := consent.State{
		Anchored: make(map[common.Hash]uint64, len(need.Anchors)),
		Revoked:  make(map[common.Hash]uint64, len(need.Revocations)),
		Retired:  make(map[common.Address]uint64, len(need.Accounts)),
		Signed:   make(map[consent.SignatureQuery]bool, len(need.Signatures)),
	}
	var keys []any
	for _, root := range need.Anchors {
		state.Anchored[root] = 0
		keys = append(keys, keyOf(anchorKind, root[:]))
	}
	for _, revocation := range need.Revocations {
		state.Revoked[revocation] = 0
		keys = append(keys, keyOf(revocationKind, revocation[:]))
	}
	for _, account := range need.Accounts {
		state.Retired[account] = 0
		keys = append(keys, keyOf(retirementKind, account[:]))
	}
	m.mu.Lock()
	level := m.level // before the copy is read, so that it never looks newer than it is
	m.mu.Unlock()
	p, found, err := m.lookup(ctx, keys)
	var age time.Duration
	if err == nil {
		age, err = m.age(p, level)
	}
	if err != nil {
		return consent.State{}, fmt.Errorf("read the copy of the registry: %w", m.db.Failure(err))
	}
	state.Block, state.BlockHash, state.Time, state.Age = p.Number, p.Hash, p.Time, uint64(age/time.Second)
	confirmed := m.client.below(p.Number)
	for _, e := range found {
		switch of := e.key[1:]; e.key[0] {
		case anchorKind:
			if e.block <= confirmed {
				state.Anchored[common.BytesToHash(of)] = e.time
			}
		case revocationKind:
			state.Revoked[common.BytesToHash(of)] = e.time
		case retirementKind:
			state.Retired[common.BytesToAddress(of)] = e.time
		}
	}
	return state, nil
}

// entry is one of the registry's, as the copy has it.
type entry struct {
	key         []byte
	block, time uint64
	proof       []byte
}

// lookup gives those of the entries that are there, and where the copy stands.
// It is one statement, so that both belong together.
func (m *Mirror) lookup(ctx context.Context, keys []any) (p position, found []entry, err error) {
	size := max(8, 1<<bits.Len(uint(len(keys)))) // so that there are few statements
	statement, err := m.prepared(ctx, size)
	if err != nil {
		return p, nil, err
	}
	// To watch a context costs more than to look up.
	rows, err := statement.QueryContext(context.WithoutCancel(ctx), append(keys, make([]any, size-len(keys))...)...)
	if err != nil {
		return p, nil, err
	}
	defer rows.Close()
	stands := false
	for rows.Next() {
		var (
			key, hash         []byte
			number, at, level int64
		)
		if err := rows.Scan(&key, &number, &at, &hash, &level); err != nil {
			return p, nil, err
		}
		if key != nil {
			found = append(found, entry{key: key, block: uint64(number), time: uint64(at)})
			continue
		}
		p, stands = positionOf(number, hash, at, level), true
	}
	if err := rows.Err(); err != nil {
		return p, nil, err
	}
	if !stands {
		return p, nil, database.ErrDamaged
	}
	return p, found, nil
}

func (m *Mirror) prepared(ctx context.Context, size int) (*sql.Stmt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if statement := m.lookups[size]; statement != nil {
		return statement, nil
	}
	var places strings.Builder
	for i := range size {
		fmt.Fprintf(&places, ",$%d", i+1)
	}
	statement, err := m.db.PrepareContext(ctx, "SELECT key, block, time, NULL, 0 FROM entries WHERE key IN ("+places.String()[1:]+
		") UNION ALL SELECT NULL, number, time, hash, level FROM ledger")
	if err == nil {
		m.lookups[size] = statement
	}
	return statement, err
}

// Reveal takes a revocation secret that was handed over directly: it proves
// itself, counts from now on, and is posted while Follow runs. Whoever calls it
// sees to it that the secret ends a grant that matters here, or else anybody
// could have the payer pay for anything.
func (m *Mirror) Reveal(ctx context.Context, secret common.Hash) error {
	revocation := consent.Revocation(secret)
	if err := m.take(ctx, entry{key: keyOf(revocationKind, revocation[:]), proof: secret[:]}); err != nil {
		return fmt.Errorf("keep a revocation secret: %w", err)
	}
	return nil
}

// Retire takes a retirement that was handed over directly, as Reveal does, if
// the key of its account signed it, and tells whether it did. That of a contract
// account counts only on chain.
func (m *Mirror) Retire(ctx context.Context, r consent.Retirement, signature []byte) (bool, error) {
	e := entry{key: keyOf(retirementKind, r.Account[:]), proof: signature}
	if !m.proven(e) {
		return false, nil
	}
	if err := m.take(ctx, e); err != nil {
		return false, fmt.Errorf("keep the retirement of %s: %w", r.Account, err)
	}
	return true, nil
}

// proven tells whether an entry proves itself, whoever shows it: a secret does,
// and a retirement that the key of its account signed.
func (m *Mirror) proven(e entry) bool {
	switch e.key[0] {
	case revocationKind:
		return true
	case retirementKind:
		domain := consent.Domain{ChainID: m.client.network.ChainID, Registry: m.client.network.Registry}
		return new(consent.Memory).Retire(domain, consent.Retirement{Account: common.BytesToAddress(e.key[1:])}, e.proof, 0)
	}
	return false
}

// take keeps an entry that was handed over, and that proves itself. Where it is
// there with this proof, nothing changes: a secret that is on chain is known to
// everybody, and may come any number of times.
func (m *Mirror) take(ctx context.Context, e entry) error {
	var version uint64
	var taken int64
	err := m.db.Change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, insertEntry+provenNow, e.key, 0, time.Now().Unix(), e.proof)
		if err != nil {
			return err
		}
		if taken, err = done.RowsAffected(); err != nil {
			return err
		}
		if taken == 0 { // maybe by another process, since the version was last read
			return tx.QueryRowContext(ctx, "SELECT version FROM ledger").Scan(&version)
		}
		return tx.QueryRowContext(ctx, "UPDATE ledger SET version = version + 1 RETURNING version").Scan(&version)
	})
	if err != nil {
		return err
	}
	m.changed(version)
	if taken > 0 {
		m.wake()
	}
	return nil
}

// changed takes over a version, unless a later one was taken over meanwhile.
func (m *Mirror) changed(version uint64) {
	for {
		known := m.version.Load()
		if known >= version || m.version.CompareAndSwap(known, version) {
			return
		}
	}
}

// wake has what waits posted.
func (m *Mirror) wake() {
	select {
	case m.pending <- struct{}{}:
	default:
	}
}

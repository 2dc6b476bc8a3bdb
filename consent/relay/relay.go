// Package relay lets people use a network without coins and without being
// there at the same time. Its sponsor takes the roots of grants and the secrets
// of revocations from many wallets and pays for them: one tree, one transaction
// for each block interval. Its mailbox keeps sealed letters, and signed cards,
// for whoever proves an address. Client is a wallet's side of both.
//
// It never sees a grant, a record or a key: 32 opaque bytes at the sponsor,
// sealed bytes in the mailbox. It acknowledges nothing before it is durable, it
// writes no address and no letter to its log, and nobody has to believe it: what
// it says of the chain a wallet reads there itself.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// Chain is the network as the relay needs it. Nonces, fees and the replacement
// of what is stuck are its affair.
type Chain interface {
	// Anchor puts a root on chain, unless it is there, and returns once a block
	// holds it.
	Anchor(ctx context.Context, root common.Hash) error
	// Revoke reveals those of at most MaxSecrets secrets that are not revealed,
	// in one transaction, and returns once a block holds them.
	Revoke(ctx context.Context, secrets []common.Hash) error
	// Read gives the state of the entries as of the latest block.
	Read(ctx context.Context, need consent.Entries) (consent.State, error)
}

const (
	secretRate  = 1     // secrets a second of one client
	secretBurst = 2_000 // secrets at once of one client
)

// MaxSecrets is how many secrets are handed in, and revealed, at once.
const MaxSecrets = 500

// Options of a relay.
type Options struct {
	Database string         // see database.Open
	Account  common.Address // the relay's own, which proofs of address name
	Domain   consent.Domain
	URL      string // the one by which wallets name it; proofs of address are bound to it (Origin)

	// Interval is the time between two blocks of the chain: one tree is made in
	// each. Where it is above 2 seconds, the tree is made shortly before the
	// block is due.
	Interval time.Duration
	// Finality is how many blocks above an entry's make it final. Until then
	// what a reorganisation drops is sent again.
	Finality uint64

	Admission Admission
	// Rate is how many requests one client may make in a second, ten times as
	// many at once; 0: no limit.
	Rate float64

	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Relay is a relay's service. Several processes may share one database: each
// serves, and one of them at a time sends.
type Relay struct {
	options Options
	chain   Chain
	db      *database.DB
	sender  *lock
	metrics *metrics

	writing  sync.Mutex // of SQLite, which has one writer
	roots    group[common.Hash]
	secrets  group[common.Hash]
	trees    trees
	anchored bell // a tree is on chain
	waiting  bell // there are new roots
	revealed bell // there are new secrets
	clients  limits
	reveals  limits // secrets of one client
	opened   limits // new mailboxes of one client
	sizes    limits // bytes of letters of one client
	boxes    limits // letters to one mailbox
	pairs    limits // letters of one client to one mailbox
	streams  streams

	readiness struct {
		sync.Mutex
		at time.Time // when it was looked at; zero: never
		is bool
	}
	stopped chan struct{} // closed by Stop
	stop    sync.Once
}

// schema leads from nothing to the tables; see database.Open.
var schema = []string{`
CREATE TABLE roots (
	root   BYTEA NOT NULL PRIMARY KEY,
	number BIGINT NOT NULL UNIQUE          -- in the order in which they were committed
);
CREATE TABLE trees (
	last   BIGINT NOT NULL PRIMARY KEY,    -- the leaves are the roots of the numbers from first to last
	first  BIGINT NOT NULL,
	root   BYTEA NOT NULL,
	made   BIGINT NOT NULL,                -- unix seconds
	block  BIGINT NOT NULL,                -- where it was seen on chain; 0: nowhere
	final  BIGINT NOT NULL                 -- 1: no reorganisation can drop it
);
CREATE INDEX trees_not_final ON trees (last) WHERE final = 0;
CREATE TABLE secrets (
	secret BYTEA NOT NULL PRIMARY KEY,     -- goes away once it is final
	block  BIGINT NOT NULL
);
CREATE TABLE cards (
	account  BYTEA NOT NULL PRIMARY KEY,
	time     BIGINT NOT NULL,
	document BYTEA NOT NULL
);
CREATE TABLE mail (
	id       BYTEA NOT NULL PRIMARY KEY,   -- of account and sealed: the same letter is there once
	account  BYTEA NOT NULL,
	received BIGINT NOT NULL,              -- unix seconds
	sealed   BYTEA NOT NULL
);
CREATE INDEX mail_by_account ON mail (account, received);
CREATE INDEX mail_by_time ON mail (received);
CREATE TABLE challenges (
	challenge BYTEA NOT NULL PRIMARY KEY,
	expires   BIGINT NOT NULL
);
CREATE TABLE sessions (
	token   BYTEA NOT NULL PRIMARY KEY,    -- SHA-256 of it
	account BYTEA NOT NULL,
	expires BIGINT NOT NULL
);
`, `
-- Unix seconds when its owner published it or opened the mailbox; 0: not since
-- that is noted.
ALTER TABLE cards ADD COLUMN used BIGINT NOT NULL DEFAULT 0;
CREATE INDEX cards_by_use ON cards (used);
`, `
CREATE INDEX trees_by_time ON trees (made);
`}

// Open opens a relay. It does nothing by itself before Run.
func Open(ctx context.Context, chain Chain, o Options) (*Relay, error) {
	switch {
	case o.Account == (common.Address{}):
		return nil, errors.New("open the relay: it has no account that proofs of address could name")
	case o.Interval <= 0:
		return nil, errors.New("open the relay: the time between two blocks is not above zero")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db, err := database.Open(ctx, o.Database, "relay", schema)
	if err != nil {
		return nil, fmt.Errorf("open the relay: %w", err)
	}
	// What was taken for one network must not be posted on another.
	if err := db.Claim(ctx, "relay", fmt.Sprintf("chain %d, registry %s", o.Domain.ChainID, o.Domain.Registry)); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the relay: %w", err)
	}
	r := &Relay{options: o, chain: chain, db: db, stopped: make(chan struct{}), sender: newLock(db, o.Database+".sender"), metrics: newMetrics()}
	if o.Metrics != nil {
		if err := r.metrics.register(o.Metrics); err != nil {
			db.Close()
			return nil, fmt.Errorf("open the relay: %w", err)
		}
	}
	r.roots.entries, r.secrets.entries = make(chan *entry[common.Hash], maxGroup), make(chan *entry[common.Hash], maxGroup)
	r.clients.init(o.Rate, o.Rate*10)
	r.reveals.init(secretRate, secretBurst)
	r.opened.init(cardRate, cardBurst)
	r.sizes.init(sizeRate, sizeBurst)
	r.boxes.init(mailRate, mailBurst)
	r.pairs.init(pairRate, pairBurst)
	return r, nil
}

// Close closes the database, after Run has returned.
func (r *Relay) Close() error { return r.db.Close() }

// Run makes durable what is handed in, sends it, and forgets what has expired,
// until the context ends. What was not sent by then is sent by the next Run.
func (r *Relay) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { r.roots.run(ctx, r.keepRoots) })
	all.Go(func() { r.secrets.run(ctx, r.keepSecrets) })
	all.Go(func() { r.send(ctx) })
	all.Go(func() { r.listen(ctx) })
	all.Go(func() { r.sweep(ctx) })
	all.Wait()
}

// Stop ends the requests that only wait, so that a server which is to stop
// gracefully can. All others are served as before.
func (r *Relay) Stop() { r.stop.Do(func() { close(r.stopped) }) }

// Handler serves wallets. Bodies are JSON objects, or documents of the Assent
// protocol (section 8), or a letter's bytes as they are.
//
//	GET    /relay                who the relay is: Information
//	POST   /anchor               {"root": "0x…"}: 202 once it is on disk, also for one that is
//	GET    /anchor/{root}?wait=s Anchored, or 202 where no block holds it yet
//	POST   /revoke               {"secrets": ["0x…"]}, at most MaxSecrets: 202 once they are on disk
//	PUT    /cards/{address}      a card/1 in place of an older one, signed by the address; it is kept until 180 days
//	                             after that, or after the last session of its owner
//	GET    /cards/{address}      that card/1
//	POST   /mail/{address}       a sealed letter, at most MaxLetter bytes: 202 once it is on disk
//	POST   /challenges           {"challenge": "0x…"}, for one proof within two minutes
//	POST   /sessions/{address}   an access/1 that is a consent.ProofOfAddress to the relay's account, bound to
//	                             Origin of its URL: {"token": "…", "expires": unix seconds}
//	GET    /health, /ready       whether it lives; whether database and chain answer
//
// and with a session's token as Authorization: Bearer, for the owner's mailbox alone:
//
//	GET    /mail                 {"mail": [Letter]}
//	GET    /mail/{id}            the sealed letter
//	DELETE /mail/{id}            takes it away; to take away what is gone is no error
//	GET    /mail/events          server-sent events: mail, with the id of each letter
//
// Where admission wants a token, each request has it as TokenHeader. An error is
// {"error": "…"}.
func (r *Relay) Handler() http.Handler { return r.handler() }

func (r *Relay) now() int64 { return r.options.Now().Unix() }

// pause waits, or tells that the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bell wakes all that wait for it.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// next gives what is closed when the bell rings next.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}

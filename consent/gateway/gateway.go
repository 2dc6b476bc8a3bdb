// Package gateway is a data holder's HTTP service in front of a FHIR R4 server:
// it lets through exactly what grants on the chain permit, and keeps a log of
// every decision that each patient can read and nobody can rewrite.
//
// A client exchanges an access for a short-lived token (RFC 8693) that works
// only with proofs of its key (DPoP, RFC 9449), and then speaks FHIR. The grants
// behind a token are decided again at every request, as far as anything could
// have changed.
//
// It never takes the patient from a request, never trusts what the FHIR server
// returns, never lets anything out before it is in the log, never goes on
// with a view of the chain that is too old, and writes no health data into
// its own logs and metrics.
package gateway

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"golang.org/x/time/rate"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/fhir"
)

// Config says who the data holder is and where its FHIR server stands.
type Config struct {
	Domain      consent.Domain
	Holder      common.Address // the data holder's account, which accesses name
	Upstream    *url.URL       // base URL of the FHIR server
	Credentials string         // the Authorization header that the FHIR server wants, such as "Bearer …"; empty: none
	Public      *url.URL       // base URL of the gateway as clients reach it, without a slash at its end
	MaxAge      uint64         // seconds; the oldest view of the chain that is decided on
	AllowBearer bool           // also take accesses that are bound to no key
	AuditEvery  time.Duration  // how often the log's root is anchored, where it changed
	Log         *slog.Logger
	Now         func() time.Time // nil: time.Now
}

// Ledger is the data holder's view of the registry. Its methods may be called by
// several goroutines at once.
type Ledger interface {
	// State gives the entries as the protocol has it ("Which block"): anchors at
	// the confirmed block, revocations and retirements as soon as they were seen,
	// and for good.
	State(ctx context.Context, need consent.Entries) (consent.State, error)
	// Version is another one whenever a State may differ from one given before.
	Version() uint64
	// Anchor puts a root on chain and waits until it is confirmed.
	Anchor(ctx context.Context, root common.Hash) error
	// Reveal remembers a revocation secret that was handed over directly, for good,
	// and posts it.
	Reveal(ctx context.Context, secret common.Hash) error
	// Retire does so with a retirement, if its account signed it, and tells so.
	Retire(ctx context.Context, r consent.Retirement, signature []byte) (bool, error)
}

// Gateway is the service. It is an http.Handler.
type Gateway struct {
	Config
	db       *database.DB
	ledger   Ledger
	key      [32]byte
	public   string // Public, as text
	base     string // its path
	holder   consent.Holder
	verified *consent.Verified
	journal  *journal
	upstream *upstream
	metrics  *metrics

	findPatient, findSession *sql.Stmt

	sessions  *lru.Cache[string, *session] // by id
	proofKeys *lru.Cache[string, *proofKey]
	limiters  *lru.Cache[string, *rate.Limiter] // by network address
	places    *places                           // of requests
	exchanges chan struct{}
	long      *places // of long requests for a token

	bodyPatience   time.Duration // how long a client may take to send a body
	writePatience  time.Duration // how long it may take to receive what was written
	handedOverRoom int           // how much that concerns nobody is kept

	anchoring uint64 // the checkpoint that this gateway was last at
	shown     struct {
		sync.Mutex
		checkpoint *shownCheckpoint
	}
	readiness struct {
		sync.Mutex
		at  time.Time
		why string // not ready; empty: ready
	}
}

// How much is kept in memory of what the database has, or what can be worked out
// again.
const (
	cachedSessions  = 10_000
	cachedDocument  = 64 << 10 // bytes of the access of a session; they have some 2,000
	cachedKeys      = 10_000
	cachedVerified  = 10_000
	leastAuditEvery = time.Second
)

// New makes a gateway on an open database (OpenDatabase). The key, which all
// gateways of the data holder share, authenticates what they hand out. Run has to
// run for the log to be anchored.
func New(config Config, db *database.DB, ledger Ledger, key [32]byte) (*Gateway, error) {
	switch {
	case config.Holder == common.Address{}:
		return nil, errors.New("a gateway needs the account of its data holder")
	case config.Public == nil || config.Public.Host == "" || config.Public.RawQuery != "" || config.Public.Fragment != "" || config.Public.User != nil:
		return nil, errors.New("a gateway needs the base URL at which clients reach it")
	case config.Upstream == nil || config.Upstream.Host == "" || config.Upstream.RawQuery != "" || config.Upstream.Fragment != "" || config.Upstream.User != nil:
		return nil, errors.New("a gateway needs the base URL of the FHIR server that it stands before")
	case config.AuditEvery < leastAuditEvery:
		return nil, fmt.Errorf("the log is anchored every %s: want at least %s", config.AuditEvery, leastAuditEvery)
	case key == [32]byte{}:
		return nil, errors.New("a gateway needs a key")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	g := &Gateway{
		Config: config, db: db, ledger: ledger, key: key,
		public:    strings.TrimSuffix(config.Public.String(), "/"),
		base:      strings.TrimSuffix(config.Public.EscapedPath(), "/"),
		verified:  consent.NewVerified(cachedVerified),
		journal:   openJournal(db),
		upstream:  newUpstream(config.Upstream, config.Credentials),
		sessions:  lru.NewCache[string, *session](cachedSessions),
		proofKeys: lru.NewCache[string, *proofKey](cachedKeys),
		limiters:  lru.NewCache[string, *rate.Limiter](clients),
		places:    newPlaces(concurrent, concurrentByOne),
		exchanges: make(chan struct{}, exchanges),
		long:      newPlaces(longExchanges, longByOne),

		bodyPatience: bodyPatience, writePatience: writePatience, handedOverRoom: handedOverRoom,
	}
	g.holder = consent.Holder{
		Domain: config.Domain, Account: config.Holder, MaxAge: config.MaxAge, Verified: g.verified,
		Patient: g.patientOf, View: ledger.State, Evaluable: fhir.Evaluable, Remember: g.remember,
	}
	var err error
	if g.findPatient, err = db.Prepare("SELECT patient FROM gateway_enrollments WHERE account = $1 AND ended = 0"); err != nil {
		return nil, err
	}
	if g.findSession, err = db.Prepare("SELECT patient, access, ends FROM gateway_sessions WHERE id = $1"); err != nil {
		g.findPatient.Close()
		return nil, err
	}
	g.metrics = newMetrics(g)
	go g.journal.run()
	return g, nil
}

// now is the time in unix seconds.
func (g *Gateway) now() uint64 { return uint64(g.Now().Unix()) }

// Run anchors the log and forgets what is over, until ctx is done.
func (g *Gateway) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() {
		every(ctx, min(g.AuditEvery/4, time.Minute), func() {
			anchored, err := g.checkpoint(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				g.metrics.anchors.WithLabelValues("failed").Inc()
				g.Log.ErrorContext(ctx, "the log is not anchored, and will be tried again", "error", err)
			case anchored:
				g.metrics.anchors.WithLabelValues("anchored").Inc()
				g.Log.InfoContext(ctx, "the log is anchored")
			}
		})
	})
	tasks.Go(func() {
		every(ctx, time.Second, func() { // so often that there is never much
			err := g.journal.forget(ctx, g.now())
			if err == nil {
				err = g.makeRoom(ctx)
			}
			if err != nil && ctx.Err() == nil {
				g.Log.ErrorContext(ctx, "what is over is not forgotten", "error", err)
			}
		})
	})
	tasks.Wait()
}

func every(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// Close writes what requests wait for, and ends the gateway. The database stays
// its caller's to close.
func (g *Gateway) Close() {
	g.journal.close()
	g.findPatient.Close()
	g.findSession.Close()
}

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
	"log/slog"
	"net/url"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// Config says who the data holder is and where its FHIR server stands.
type Config struct {
	Domain      consent.Domain
	Holder      common.Address // the data holder's account, which accesses name
	Upstream    *url.URL       // base URL of the FHIR server
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
	db     *database.DB
	ledger Ledger
	key    [32]byte
}

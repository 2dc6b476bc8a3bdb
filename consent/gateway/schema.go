package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// schema is what the database holds. Accounts are 20 bytes, hashes 32, times
// unix seconds.
var schema = []string{`
	-- What counts once: proofs of a key, and nonces of accesses.
	CREATE TABLE gateway_seen (key BYTEA NOT NULL PRIMARY KEY, until BIGINT NOT NULL);
	CREATE INDEX gateway_seen_until ON gateway_seen (until);

	CREATE TABLE gateway_sessions (id BYTEA NOT NULL PRIMARY KEY, patient TEXT NOT NULL, access BYTEA NOT NULL, ends BIGINT NOT NULL);
	CREATE INDEX gateway_sessions_ends ON gateway_sessions (ends);

	-- Revocations and accounts of grants that were used here.
	CREATE TABLE gateway_used (key BYTEA NOT NULL PRIMARY KEY, until BIGINT NOT NULL);
	CREATE INDEX gateway_used_until ON gateway_used (until);

	CREATE TABLE gateway_challenges (challenge BYTEA NOT NULL PRIMARY KEY, until BIGINT NOT NULL);
	CREATE TABLE gateway_enrollments (
		account BYTEA NOT NULL, patient TEXT NOT NULL, proof BYTEA NOT NULL,
		since BIGINT NOT NULL, ended BIGINT NOT NULL, why TEXT NOT NULL);
	CREATE UNIQUE INDEX gateway_enrollments_account ON gateway_enrollments (account) WHERE ended = 0;
	CREATE UNIQUE INDEX gateway_enrollments_patient ON gateway_enrollments (patient) WHERE ended = 0;
	-- How often these changed.
	CREATE TABLE gateway_enrollment_changes (count BIGINT NOT NULL);
	INSERT INTO gateway_enrollment_changes (count) VALUES (0);

	CREATE TABLE gateway_log (
		account BYTEA NOT NULL, number BIGINT NOT NULL, previous BYTEA NOT NULL, hash BYTEA NOT NULL, event BYTEA NOT NULL,
		PRIMARY KEY (account, number));
	CREATE TABLE gateway_log_heads (account BYTEA NOT NULL PRIMARY KEY, number BIGINT NOT NULL, hash BYTEA NOT NULL);
	CREATE TABLE gateway_checkpoints (
		number BIGINT NOT NULL PRIMARY KEY, previous BYTEA NOT NULL, root BYTEA NOT NULL,
		entries BIGINT NOT NULL, made BIGINT NOT NULL, anchored BIGINT NOT NULL);
	CREATE TABLE gateway_checkpoint_heads (
		checkpoint BIGINT NOT NULL, account BYTEA NOT NULL, number BIGINT NOT NULL, hash BYTEA NOT NULL,
		PRIMARY KEY (checkpoint, account));
`, `
	-- Revocations and accounts that were handed over and stand in no grant that was
	-- used here, with the secret or the signature, by the network that they came from,
	-- which only tells one from another.
	CREATE TABLE gateway_handed_over (
		key BYTEA NOT NULL, network BYTEA NOT NULL, proof BYTEA NOT NULL, until BIGINT NOT NULL,
		PRIMARY KEY (key, network));
	CREATE INDEX gateway_handed_over_until ON gateway_handed_over (until);
`, `
	-- Proofs of a key, which were among gateway_seen: each begins with when it may be
	-- forgotten (8 bytes, big-endian), so that they come and go in order.
	CREATE TABLE gateway_proofs (proof BYTEA NOT NULL PRIMARY KEY) WITHOUT ROWID;
	INSERT INTO gateway_proofs (proof) SELECT key FROM gateway_seen WHERE length(key) = 40;
	DELETE FROM gateway_seen WHERE length(key) = 40;
`}

// OpenDatabase opens the gateway's database at a location that database.Open
// takes. All gateways of a data holder share one.
func OpenDatabase(ctx context.Context, location string) (*database.DB, error) {
	db, err := database.Open(ctx, location, "gateway", schema)
	if err == nil && !db.Postgres() {
		// A connection that is made anew costs more than what is asked of it.
		db.SetMaxOpenConns(readers)
		db.SetMaxIdleConns(readers)
	}
	return db, err
}

// Claim makes sure that a database is that of a data holder on a network: accounts
// that one enrolled open no records of another, and no log is of two.
func Claim(ctx context.Context, db *database.DB, domain consent.Domain, holder common.Address) error {
	return db.Claim(ctx, "gateway", fmt.Sprintf("the data holder %s on chain %d, registry %s", holder, domain.ChainID, domain.Registry))
}

// readers is how many connections to SQLite there are: few, as each keeps pages in
// memory, and no look takes long.
const readers = 8

// rows gives the placeholders of n rows of a statement: ($1,$2),($3,$4).
func rows(n, columns int) string {
	var b strings.Builder
	for i := range n {
		for k := range columns {
			switch {
			case k > 0:
				b.WriteByte(',')
			case i > 0:
				b.WriteString("),(")
			default:
				b.WriteByte('(')
			}
			fmt.Fprintf(&b, "$%d", i*columns+k+1)
		}
	}
	return b.String() + ")"
}

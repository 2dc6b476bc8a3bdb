package wallet

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// StoreFile is the name of the store in the folder of the data.
const StoreFile = "assent.db"

// Store is the one database file of all wallets of a person on a machine, with
// what a data holder has to keep. Several processes may have it open at once,
// and several goroutines may use it. Every change is durable when the method
// that makes it returns. Where the store as a whole is what failed, the error wraps
// a *database.Error.
type Store struct {
	path string
	db   *database.DB
}

// storeSchema are the versions of the schema: see database.Open. The first one
// finds its tables in a store that was made before the version stood in the
// store's table of versions.
//
// The documents are sealed, and found by keyed hashes: see Documents. What a
// data holder keeps is not: nonces are hashed, and the rest is on chain anyway.
var storeSchema = []string{`
CREATE TABLE IF NOT EXISTS documents (
	list   BLOB NOT NULL,    -- which wallet's, and of which kind
	id     BLOB NOT NULL PRIMARY KEY,
	sealed BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS documents_by_list ON documents (list);
CREATE TABLE IF NOT EXISTS nonces (
	nonce BLOB NOT NULL PRIMARY KEY, -- SHA-256(grantee ‖ nonce)
	until INTEGER NOT NULL           -- unix seconds
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonces_by_until ON nonces (until);
CREATE TABLE IF NOT EXISTS seen (
	domain BLOB NOT NULL,            -- EIP-712 domain separator
	entry  BLOB NOT NULL,            -- hash of a revocation secret, or a retired account
	at     INTEGER NOT NULL,         -- unix seconds
	PRIMARY KEY (domain, entry)
) WITHOUT ROWID;
` + batchSchema}

// OpenStore opens the database file, and makes it, readable by its owner alone,
// where there is none. It is always a file of this machine, whatever the path
// looks like. The error wraps a *database.Error.
func OpenStore(ctx context.Context, path string) (*Store, error) {
	file, err := filepath.Abs(path) // never the URL of a server
	if err != nil {
		return nil, &database.Error{Name: path, Reason: err}
	}
	db, err := database.Open(ctx, file, "wallet", storeSchema)
	if err != nil {
		return nil, advise(err)
	}
	return &Store{file, db}, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.failed(s.db.Close()) }

// change runs do in one transaction, which begins with the right to write.
func (s *Store) change(ctx context.Context, do func(*sql.Tx) error) error {
	return advise(s.db.Change(ctx, do))
}

// failed gives the error of a read as change gives those of changes.
func (s *Store) failed(err error) error { return advise(s.db.Failure(err)) }

// damaged says that the store holds what none was ever given.
func (s *Store) damaged() error {
	return advise(&database.Error{Name: s.path, Reason: database.ErrDamaged})
}

// advise says of a damaged store what a wallet can do without a copy of it.
func advise(err error) error {
	if errors.Is(err, database.ErrDamaged) {
		return fmt.Errorf("%w, or move it aside, begin anew and let “assent wallet recover” make the wallet again", err)
	}
	return err
}

// Remember records that grantee used the nonce, until then, in unix seconds:
// one durable step, as a data holder needs it (consent.Holder). fresh is false
// where it was recorded before. What is past is forgotten.
func (s *Store) Remember(ctx context.Context, grantee common.Address, nonce common.Hash, until uint64) (fresh bool, err error) {
	key := sha256.Sum256(append(grantee[:], nonce[:]...))
	err = s.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM nonces WHERE until < ?", time.Now().Unix()); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, "INSERT INTO nonces (nonce, until) VALUES (?, ?) ON CONFLICT DO NOTHING", key[:], until)
		if err != nil {
			return err
		}
		added, err := done.RowsAffected()
		fresh = added == 1
		return err
	})
	return fresh && err == nil, err
}

// Memory gives what a data holder saw of the entries before, on this network,
// and never forgets: revocations and retirements.
func (s *Store) Memory(ctx context.Context, domain consent.Domain, need consent.Entries) (*consent.Memory, error) {
	separator := domain.Separator()
	memory := &consent.Memory{Revoked: make(map[common.Hash]uint64), Retired: make(map[common.Address]uint64)}
	seen, err := s.db.PrepareContext(ctx, "SELECT at FROM seen WHERE domain = ? AND entry = ?")
	if err != nil {
		return nil, s.failed(err)
	}
	defer seen.Close()
	at := func(entry []byte) (at uint64, err error) {
		err = seen.QueryRowContext(ctx, separator[:], entry).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, nil
		}
		return at, err
	}
	for _, hash := range need.Revocations {
		if err := load(memory.Revoked, hash, hash[:], at); err != nil {
			return nil, s.failed(err)
		}
	}
	for _, account := range need.Accounts {
		if err := load(memory.Retired, account, account[:], at); err != nil {
			return nil, s.failed(err)
		}
	}
	return memory, nil
}

func load[K comparable](into map[K]uint64, key K, entry []byte, at func([]byte) (uint64, error)) error {
	seen, err := at(entry)
	if seen != 0 {
		into[key] = seen
	}
	return err
}

// SaveMemory keeps what a data holder saw, on this network; what was seen
// before stays as it was.
func (s *Store) SaveMemory(ctx context.Context, domain consent.Domain, memory *consent.Memory) error {
	separator := domain.Separator()
	return s.change(ctx, func(tx *sql.Tx) error {
		save := func(entry []byte, at uint64) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO seen (domain, entry, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", separator[:], entry, at)
			return err
		}
		for hash, at := range memory.Revoked {
			if err := save(hash[:], at); err != nil {
				return err
			}
		}
		for account, at := range memory.Retired {
			if err := save(account[:], at); err != nil {
				return err
			}
		}
		return nil
	})
}

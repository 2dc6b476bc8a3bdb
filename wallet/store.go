package wallet

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/assent-wallet/assent/consent"
)

// StoreFile is the name of the store in the folder of the data.
const StoreFile = "assent.db"

// What may be wrong with the store as a whole.
var (
	ErrStoreBusy    = errors.New("another process keeps it busy: try again in a moment")
	ErrStoreDamaged = errors.New("it is damaged: move it aside, put a copy of it back, or begin anew and let “assent wallet recover” make the wallet again")
	ErrStoreFolder  = errors.New("it cannot be written: look at the owner and the rights of its folder, and at the space left")
	ErrStoreNewer   = errors.New("a newer version of assent made it: use that version")
)

// StoreError is a failure of the store. Reason is one of ErrStoreBusy,
// ErrStoreDamaged, ErrStoreFolder and ErrStoreNewer, or what the database said.
type StoreError struct {
	Path   string
	Reason error
	Detail string // what the database said; may be empty
}

func (e *StoreError) Error() string {
	text := fmt.Sprintf("the store %s: %v", e.Path, e.Reason)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Unwrap gives the reason.
func (e *StoreError) Unwrap() error { return e.Reason }

// Store is the one database file of all wallets of a person on a machine, with
// what a data holder has to keep. Several processes may have it open at once,
// and several goroutines may use it. Every change is durable when the method
// that makes it returns.
type Store struct {
	path string
	db   *sql.DB
}

const (
	storeVersion = 1               // of the schema, as PRAGMA user_version
	patience     = 5 * time.Second // for another process that writes
)

// The documents are sealed, and found by keyed hashes: see Documents. What a
// data holder keeps is not: nonces are hashed, and the rest is on chain anyway.
const storeSchema = `
CREATE TABLE documents (
	list   BLOB NOT NULL,    -- which wallet's, and of which kind
	id     BLOB NOT NULL PRIMARY KEY,
	sealed BLOB NOT NULL
);
CREATE INDEX documents_by_list ON documents (list);
CREATE TABLE nonces (
	nonce BLOB NOT NULL PRIMARY KEY, -- SHA-256(grantee ‖ nonce)
	until INTEGER NOT NULL           -- unix seconds
) WITHOUT ROWID;
CREATE INDEX nonces_by_until ON nonces (until);
CREATE TABLE seen (
	domain BLOB NOT NULL,            -- EIP-712 domain separator
	entry  BLOB NOT NULL,            -- hash of a revocation secret, or a retired account
	at     INTEGER NOT NULL,         -- unix seconds
	PRIMARY KEY (domain, entry)
) WITHOUT ROWID;
`

// OpenStore opens the database file, and makes it, readable by its owner alone,
// where there is none. The error is a *StoreError.
func OpenStore(ctx context.Context, path string) (*Store, error) {
	return openStore(ctx, path, patience)
}

func openStore(ctx context.Context, path string, patience time.Duration) (*Store, error) {
	s := &Store{path: path}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, s.failed(err)
	}
	// Two processes that make the database at once would be in each other's way.
	unlock, err := lock(ctx, path+".lock", patience)
	if errors.Is(err, errLocked) {
		return nil, &StoreError{Path: path, Reason: ErrStoreBusy}
	} else if err != nil {
		return nil, s.failed(err)
	}
	defer unlock()
	// SQLite gives its other files the rights of this one.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, s.failed(err)
	}
	if err := file.Close(); err != nil {
		return nil, s.failed(err)
	}
	if s.db, err = sql.Open("sqlite", storeName(path, patience)); err != nil {
		return nil, s.failed(err)
	}
	if err := s.prepare(ctx); err != nil {
		s.db.Close()
		return nil, s.failed(err)
	}
	return s, nil
}

// storeName gives the database's name with what each connection to it sets.
func storeName(path string, patience time.Duration) string {
	path = filepath.ToSlash(path)
	if filepath.VolumeName(path) != "" {
		path = "/" + path
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()), "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}.Encode()}
	if !filepath.IsAbs(path) {
		name.Path, name.Opaque = "", (&url.URL{Path: path}).EscapedPath()
	}
	return name.String()
}

// prepare brings the database to the schema of this version.
func (s *Store) prepare(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	var version int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version > storeVersion:
		return &StoreError{Path: s.path, Reason: ErrStoreNewer}
	case version == storeVersion:
		return nil
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, storeSchema+fmt.Sprintf("PRAGMA user_version = %d;", storeVersion))
		return err
	})
}

// Close closes the database.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return s.failed(err)
	}
	return nil
}

// change runs do in one transaction, which begins with the right to write.
func (s *Store) change(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.failed(err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return s.failed(err)
	}
	if err := tx.Commit(); err != nil {
		return s.failed(err)
	}
	return nil
}

// failed makes a StoreError of what the database or the system said; what is no
// word of theirs stays as it is.
func (s *Store) failed(err error) error {
	e := &StoreError{Path: s.path, Reason: err}
	if said, ok := errors.AsType[*sqlite.Error](err); ok {
		switch said.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			e.Reason = ErrStoreBusy
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			e.Reason = ErrStoreDamaged
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
			e.Reason = ErrStoreFolder
		}
		if e.Reason != err {
			e.Detail = said.Error()
		}
		return e
	}
	if said, ok := errors.AsType[*fs.PathError](err); ok {
		e.Reason, e.Detail = ErrStoreFolder, said.Err.Error()
		return e
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

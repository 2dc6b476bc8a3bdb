// Package database opens the database of a service: one SQLite file, which
// several processes of a machine may share, or PostgreSQL by URL, which
// processes of several machines share. Both take the same statements: "$1" for
// the first argument, and types that both know (BIGINT, TEXT, BYTEA).
//
// It never makes a weaker promise than the caller was told: when Change returns
// nil, what it wrote survives the end of the process and of the machine, and when
// ChangeSoon does, that of the process, and a moment later that of the machine. It
// knows nothing of what is kept, and puts no password into an error.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What may be wrong with a database as a whole. Error texts say what to do next.
var (
	ErrBusy        = errors.New("another process keeps it busy: try again in a moment")
	ErrDamaged     = errors.New("it is damaged: put a copy of it back")
	ErrNotWritable = errors.New("it cannot be written: look at the owner and the rights of its folder, and at the space left")
	ErrNewer       = errors.New("a newer version of assent made it: use that version")
	ErrOthers      = errors.New("it belongs to another: give this one a database of its own")
	ErrUnreachable = errors.New("it does not answer: look whether it runs, and at the address and the rights of its user")
)

// Error is a failure of a database. Reason is one of the errors above, or what
// the database said.
type Error struct {
	Name   string // the file, or the host and name of the database; no password
	Reason error
	Detail string // what the database said; may be empty
}

func (e *Error) Error() string {
	text := fmt.Sprintf("the database %s: %v", e.Name, e.Reason)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Reason }

// DB is an open database. Several goroutines may use it.
type DB struct {
	*sql.DB
	name     string
	postgres bool
	log      *writeAhead // of SQLite
}

// patience is how long a process waits for another that writes.
const patience = 10 * time.Second

// Open opens the database at a location, postgres://… or the path of an SQLite
// file (made, readable by its owner alone, where there is none), and brings it
// to the newest schema: versions are the statements that lead from each
// version to the next, the first from nothing, and are never changed once they
// were used. service names whose tables they are. WITHOUT ROWID, which makes one
// B-tree of a table of SQLite and its key, is left out for PostgreSQL. The error is
// an *Error.
func Open(ctx context.Context, location, service string, versions []string) (*DB, error) {
	db, err := open(location)
	if err != nil {
		return nil, err
	}
	if err := db.prepare(ctx, service, versions); err != nil {
		db.Close()
		return nil, db.Failure(err)
	}
	return db, nil
}

func open(location string) (*DB, error) {
	if strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://") {
		return openPostgres(location)
	}
	db := &DB{name: location}
	if err := os.MkdirAll(filepath.Dir(location), 0o700); err != nil {
		return nil, db.Failure(err)
	}
	// SQLite gives its other files the rights of this one.
	file, err := os.OpenFile(location, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return nil, db.Failure(err)
	}
	path, err := filepath.Abs(location)
	if err != nil {
		return nil, db.Failure(err)
	}
	// SQLite's other files are beside the one that a link leads to.
	there, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, db.Failure(err)
	}
	db.log = newWriteAhead(there + "-wal")
	if path = filepath.ToSlash(path); !strings.HasPrefix(path, "/") {
		path = "/" + path // a drive of Windows
	}
	source := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()), "synchronous(FULL)", fmt.Sprintf("wal_autocheckpoint(%d)", logPages)},
		"_txlock": {"immediate"},
	}.Encode()}
	if db.DB, err = sql.Open("sqlite", source.String()); err != nil {
		return nil, db.Failure(err)
	}
	return db, nil
}

func openPostgres(location string) (*DB, error) {
	if os.Getenv("PGPASSWORD") != "" {
		return nil, &Error{Name: "named by the URL", Reason: errors.New("its password stands in the environment (PGPASSWORD): put it into the file ~/.pgpass instead")}
	}
	config, err := pgx.ParseConfig(location)
	if err != nil {
		return nil, &Error{Name: "named by the URL", Reason: errors.New("the URL is not one of PostgreSQL: want postgres://user@host:port/name")} // err quotes it
	}
	// What a transaction acknowledged must survive, whatever the server's default.
	config.RuntimeParams["synchronous_commit"] = "on"
	db := &DB{
		DB: stdlib.OpenDB(*config), postgres: true,
		name: fmt.Sprintf("%s of PostgreSQL at %s:%d", config.Database, config.Host, config.Port),
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db, nil
}

// prepare brings the schema to the newest version. Processes that start at once
// wait for each other.
func (db *DB) prepare(ctx context.Context, service string, versions []string) error {
	if !db.postgres {
		if err := db.useWAL(ctx); err != nil {
			return err
		}
	}
	// Most often it is there, and nobody who writes at this moment is waited for.
	if version, err := schemaVersion(ctx, db, service); err == nil && version == len(versions) {
		return nil
	}
	return db.change(ctx, false, func(tx *sql.Tx) error {
		if err := db.Lock(ctx, tx, "schema"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schemas (service TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL)"); err != nil {
			return err
		}
		version, err := schemaVersion(ctx, tx, service)
		if err != nil {
			return err
		}
		switch {
		case version > len(versions):
			return ErrNewer
		case version == len(versions):
			return nil
		}
		for _, statements := range versions[version:] {
			if db.postgres {
				statements = strings.ReplaceAll(statements, " WITHOUT ROWID", "")
			}
			if _, err := tx.ExecContext(ctx, statements); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO schemas (service, version) VALUES ($1, $2) ON CONFLICT (service) DO UPDATE SET version = excluded.version",
			service, len(versions))
		return err
	})
}

// schemaVersion gives the version of the schema; 0: there is none yet.
func schemaVersion(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, service string) (version int, err error) {
	err = q.QueryRowContext(ctx, "SELECT version FROM schemas WHERE service = $1", service).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

// Claim makes sure that what a service keeps here belongs to owner, and says so for
// good where nothing did yet. The error is an *Error; its reason is ErrOthers where
// it belongs to another.
func (db *DB) Claim(ctx context.Context, service, owner string) error {
	var is string
	err := db.Change(ctx, func(tx *sql.Tx) error {
		if err := db.Lock(ctx, tx, "schema"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS owners (service TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL)"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO owners (service, owner) VALUES ($1, $2) ON CONFLICT DO NOTHING", service, owner); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT owner FROM owners WHERE service = $1", service).Scan(&is)
	})
	if err == nil && is != owner {
		err = &Error{Name: db.name, Reason: ErrOthers, Detail: "it is of " + is + ", not of " + owner}
	}
	return err
}

// useWAL makes readers and the writer independent of each other; the file
// remembers it. SQLite does not wait by itself for another process that does
// the same at this moment.
func (db *DB) useWAL(ctx context.Context) error {
	for deadline := time.Now().Add(patience); ; {
		_, err := db.ExecContext(ctx, "PRAGMA journal_mode = WAL")
		if said, ok := errors.AsType[*sqlite.Error](err); !ok || said.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Close closes the database.
func (db *DB) Close() (err error) {
	if !db.postgres {
		err = db.Failure(db.log.stop())
	}
	return errors.Join(err, db.DB.Close())
}

// Postgres tells whether it is PostgreSQL.
func (db *DB) Postgres() bool { return db.postgres }

// Change runs do in one transaction and makes it durable. In SQLite it begins
// with the right to write, so that one runs at a time; in PostgreSQL do takes a
// Lock where that matters. An error of do rolls it back and is given as it is.
func (db *DB) Change(ctx context.Context, do func(*sql.Tx) error) error {
	return db.Failure(db.change(ctx, false, do))
}

// ChangeSoon is Change for what need not wait for the disk. What it wrote survives
// the end of the process once it returns nil. SQLite begins to make it durable against
// that of the machine 10 ms later, and never after what was written after it; where
// anything waits for the disk longer than 50 ms, all changes wait with it, and where
// the disk fails, they fail. With PostgreSQL it is Change, which costs those who wait at once the disk
// once.
func (db *DB) ChangeSoon(ctx context.Context, do func(*sql.Tx) error) error {
	return db.Failure(db.change(ctx, !db.postgres, do))
}

// Sync makes durable now whatever can be read here, ChangeSoon of another process
// among it.
func (db *DB) Sync(ctx context.Context) error {
	if db.postgres {
		return nil
	}
	return db.Failure(db.log.syncAll(ctx, db.DB))
}

func (db *DB) change(ctx context.Context, soon bool, do func(*sql.Tx) error) (err error) {
	if !db.postgres {
		if err := db.log.begin(ctx); err != nil {
			return err
		}
		defer db.log.end(db.DB)
	}
	var tx *sql.Tx
	if soon {
		tx, err = db.log.beginSoon(ctx, db.DB)
	} else {
		tx, err = db.BeginTx(ctx, nil)
	}
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if soon {
		db.log.written()
	}
	return nil
}

// Lock makes the transaction the only one that holds the lock of this name,
// in all processes, until it ends.
func (db *DB) Lock(ctx context.Context, tx *sql.Tx, name string) error {
	if !db.postgres {
		return nil // it is the only one that writes
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "assent/"+name)
	return err
}

// Failure gives the error of a read as Change gives those of changes: an *Error
// of what the database or the system said; what is no word of theirs stays as it
// is.
func (db *DB) Failure(err error) error {
	var (
		known      *Error
		file       *os.PathError
		lite       *sqlite.Error
		said       *pgconn.PgError
		connection *pgconn.ConnectError
	)
	e := &Error{Name: db.name, Reason: err}
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, ErrNewer):
	case errors.As(err, &file):
		e.Reason, e.Detail = ErrNotWritable, file.Err.Error()
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			e.Reason = ErrBusy
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			e.Reason = ErrDamaged
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
			e.Reason = ErrNotWritable
		}
		if e.Reason != err {
			e.Detail = lite.Error()
		}
	case errors.As(err, &connection):
		e.Reason = ErrUnreachable // its text names user and database, and may name more
	case errors.As(err, &said):
	default:
		return err
	}
	return e
}

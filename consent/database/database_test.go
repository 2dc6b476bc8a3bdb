package database_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/database/databasetest"
)

var schema = []string{
	"CREATE TABLE entries (key BYTEA NOT NULL PRIMARY KEY, at BIGINT NOT NULL, name TEXT NOT NULL);",
	"CREATE TABLE counter (value BIGINT NOT NULL); INSERT INTO counter (value) VALUES (0);",
}

func TestSameStatementsOnBoth(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		ctx := t.Context()
		db := open(t, location, schema)
		for _, fresh := range []bool{true, false} {
			err := db.Change(ctx, func(tx *sql.Tx) error {
				done, err := tx.ExecContext(ctx, "INSERT INTO entries (key, at, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", []byte{0, 1, 255}, int64(1)<<52, "an entry")
				if err != nil {
					return err
				}
				if n, err := done.RowsAffected(); err != nil || (n == 1) != fresh {
					t.Errorf("%d rows, %v; fresh: %v", n, err, fresh)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var key []byte
		var at int64
		// The second argument first: they go by number.
		if err := db.QueryRowContext(ctx, "SELECT key, at FROM entries WHERE name = $2 AND key = $1", []byte{0, 1, 255}, "an entry").Scan(&key, &at); err != nil || len(key) != 3 || at != 1<<52 {
			t.Errorf("got %x, %d, %v", key, at, err)
		}
	})
}

func TestReadsFailAsChangesDo(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		db := open(t, location, schema)
		_, err := db.QueryContext(t.Context(), "SELECT key FROM nothing")
		said, is := errors.AsType[*database.Error](db.Failure(err))
		if err == nil || !is || said.Name == "" || !errors.Is(said, err) {
			t.Errorf("a read of no table: %v", db.Failure(err))
		}
		if mine := errors.New("mine"); db.Failure(mine) != mine || db.Failure(sql.ErrNoRows) != sql.ErrNoRows || db.Failure(nil) != nil {
			t.Error("what is no word of the database is made one")
		}
	})
}

func TestWhatFailsIsRolledBack(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		ctx, db := t.Context(), open(t, location, schema)
		mine := errors.New("mine")
		err := db.Change(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, "UPDATE counter SET value = 7"); err != nil {
				return err
			}
			return mine
		})
		if !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
		if got := count(t, db); got != 0 {
			t.Errorf("%d is left of it", got)
		}
	})
}

func TestLockedChangesDoNotOverlap(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		const workers, each = 4, 10
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				db := open(t, location, schema) // as other processes do, all at once
				for range each {
					err := db.Change(t.Context(), func(tx *sql.Tx) error {
						if err := db.Lock(t.Context(), tx, "counter"); err != nil {
							return err
						}
						var value int
						if err := tx.QueryRow("SELECT value FROM counter").Scan(&value); err != nil {
							return err
						}
						_, err := tx.Exec("UPDATE counter SET value = $1", value+1)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if got := count(t, open(t, location, schema)); got != workers*each {
			t.Errorf("counted %d of %d", got, workers*each)
		}
	})
}

func TestSchemaGrowsAndNeverShrinks(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		db := open(t, location, schema[:1])
		if _, err := db.Exec("INSERT INTO entries (key, at, name) VALUES ($1, 1, 'kept')", []byte{1}); err != nil {
			t.Fatal(err)
		}
		var kept int
		if err := open(t, location, schema).QueryRow("SELECT count(*) FROM entries, counter").Scan(&kept); err != nil || kept != 1 {
			t.Errorf("%d kept, %v", kept, err)
		}
		if _, err := database.Open(t.Context(), location, "test", schema[:1]); !errors.Is(err, database.ErrNewer) {
			t.Errorf("an older version opens it: %v", err)
		}
	})
}

// Whoever opens it to read waits for nobody who writes.
func TestOpensBesideAWriter(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		err := open(t, location, schema).Change(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.Exec("UPDATE counter SET value = 7"); err != nil {
				return err
			}
			if got := count(t, open(t, location, schema)); got != 0 {
				t.Errorf("it reads %d, which is not committed", got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestErrorsSayWhatToDo(t *testing.T) {
	folder := t.TempDir()
	damaged := filepath.Join(folder, "damaged.db")
	if err := os.WriteFile(damaged, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		location string
		want     error
	}{
		{damaged, database.ErrDamaged},
		{folder, database.ErrNotWritable},
		{filepath.Join(damaged, "below.db"), database.ErrNotWritable},
		{"postgres://someone:SECRET@127.0.0.1:1/none", database.ErrUnreachable},
		{"postgres://someone:SECRET@[/none", nil},
	} {
		_, err := database.Open(t.Context(), test.location, "test", schema)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v, want %v", test.location, err, test.want)
		}
	}
}

func TestNoPasswordFromTheEnvironment(t *testing.T) {
	t.Setenv("PGPASSWORD", "SECRET")
	_, err := database.Open(t.Context(), "postgres://someone@127.0.0.1:1/none", "test", schema)
	if err == nil || !strings.Contains(err.Error(), ".pgpass") || strings.Contains(err.Error(), "SECRET") {
		t.Error(err)
	}
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "service.db")
	open(t, path, schema)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func open(t *testing.T, location string, versions []string) *database.DB {
	t.Helper()
	db, err := database.Open(context.Background(), location, "test", versions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func count(t *testing.T, db *database.DB) (value int) {
	t.Helper()
	if err := db.QueryRow("SELECT value FROM counter").Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestClaim(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		for range 2 {
			db := open(t, location, schema)
			if err := db.Claim(t.Context(), "test", "the first"); err != nil {
				t.Error(err)
			}
			if err := db.Claim(t.Context(), "another", "the second"); err != nil {
				t.Error(err)
			}
			err := db.Claim(t.Context(), "test", "the second")
			if !errors.Is(err, database.ErrOthers) || !strings.Contains(err.Error(), "the first") {
				t.Errorf("got %v", err)
			}
		}
	})
}

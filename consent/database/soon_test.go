package database

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// soonDatabase is one whose log is flushed as a test says. It counts on its way.
func soonDatabase(t *testing.T, flush func() error) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "soon.db"), "test", []string{"CREATE TABLE counter (value BIGINT NOT NULL); INSERT INTO counter (value) VALUES (0)"})
	if err != nil {
		t.Fatal(err)
	}
	if really := db.log.flush; flush != nil {
		db.log.flush = func(log *os.File) error {
			if err := really(log); err != nil { // there is something to flush
				t.Error(err)
			}
			return flush()
		}
	}
	return db
}

func add(ctx context.Context, change func(context.Context, func(*sql.Tx) error) error) error {
	return change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE counter SET value = value + 1")
		return err
	})
}

func value(t *testing.T, db *DB) (n int) {
	t.Helper()
	if err := db.QueryRow("SELECT value FROM counter").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What is changed soon is synced once for all that was written meanwhile, and not
// again where nothing was.
func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flushed atomic.Int32
		db := soonDatabase(t, func() error { flushed.Add(1); return nil })
		for range 3 {
			if err := add(t.Context(), db.ChangeSoon); err != nil {
				t.Fatal(err)
			}
		}
		if flushed.Load() != 0 || value(t, db) != 3 {
			t.Errorf("%d flushes, value %d", flushed.Load(), value(t, db))
		}
		time.Sleep(syncEvery)
		synctest.Wait()
		if flushed.Load() != 1 {
			t.Errorf("%d flushes in time", flushed.Load())
		}
		time.Sleep(time.Hour)
		if flushed.Load() != 1 {
			t.Errorf("%d flushes of what is durable", flushed.Load())
		}
		if err := add(t.Context(), db.ChangeSoon); err != nil {
			t.Fatal(err)
		}
		if err := db.Sync(t.Context()); err != nil || flushed.Load() != 2 {
			t.Error(err, flushed.Load())
		}
		if err := add(t.Context(), db.ChangeSoon); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil || flushed.Load() != 3 {
			t.Error(err, flushed.Load())
		}
	})
}

// However often it is synced in between, it goes on as often by itself as before.
func TestSoonKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flushed atomic.Int32
		db := soonDatabase(t, func() error { flushed.Add(1); time.Sleep(time.Millisecond); return nil })
		write := func(lasts time.Duration) (flushes int32) {
			before := flushed.Load()
			for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Millisecond / 3) {
				if err := add(t.Context(), db.ChangeSoon); err != nil {
					t.Fatal(err)
				}
			}
			return flushed.Load() - before
		}
		before := write(time.Second)
		for range 20 {
			if err := db.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			write(5 * time.Millisecond)
		}
		if after := write(time.Second); after > before+2 || after < before-2 {
			t.Errorf("%d flushes in a second, before %d", after, before)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Sync is for all that can be read, whoever wrote it.
func TestSyncOfAnothers(t *testing.T) {
	var flushed atomic.Int32
	db := soonDatabase(t, func() error { flushed.Add(1); return nil })
	defer db.Close()
	if err := db.Sync(t.Context()); err != nil || flushed.Load() != 1 {
		t.Error(err, flushed.Load())
	}
}

// A link to a database leads to its log as well.
func TestSoonByALink(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(folder, "link.db")
	if err := os.Symlink(filepath.Join(t.TempDir(), "there.db"), link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	db, err := Open(t.Context(), link, "test", []string{"CREATE TABLE counter (value BIGINT NOT NULL); INSERT INTO counter (value) VALUES (0)"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := add(t.Context(), db.ChangeSoon); err != nil {
			t.Error(err)
		}
		if err := db.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// After the end nothing is changed, least of all by the connection that does not
// sync.
func TestNothingAfterClose(t *testing.T) {
	db := soonDatabase(t, nil)
	if err := add(t.Context(), db.ChangeSoon); err != nil {
		t.Fatal(err)
	}
	db.log.turn <- struct{}{} // somebody changes it
	ended := make(chan error, 2)
	go func() { ended <- db.log.stop() }()
	<-db.log.turn
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, change := range []func(context.Context, func(*sql.Tx) error) error{db.Change, db.ChangeSoon} {
		if err := add(t.Context(), change); !errors.Is(err, errClosed) {
			t.Error(err)
		}
	}
	for range 3 {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var is int
		if err := c.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&is); err != nil || is != 2 {
			t.Errorf("a connection with synchronous %d is left, %v", is, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// Only the changes that said so leave what they wrote to the system.
func TestOnlySoonIsNotSynced(t *testing.T) {
	db := soonDatabase(t, nil)
	defer db.Close()
	const normal, full = 1, 2 // https://sqlite.org/pragma.html#pragma_synchronous
	for range 3 {
		for _, c := range []struct {
			change func(context.Context, func(*sql.Tx) error) error
			want   int
		}{{db.ChangeSoon, normal}, {db.Change, full}} {
			var is int
			if err := c.change(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("PRAGMA synchronous").Scan(&is) }); err != nil || is != c.want {
				t.Errorf("synchronous is %d, want %d, %v", is, c.want, err)
			}
		}
	}
}

// Where the disk does not keep up, changes wait for it.
func TestSoonWaitsForASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = time.Second
		db := soonDatabase(t, func() error { time.Sleep(slow); return nil })
		began := time.Now()
		var last time.Duration
		for n := 0; time.Since(began) < 3*slow; n++ {
			before := time.Since(began)
			if err := add(t.Context(), db.ChangeSoon); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began) - before; took > last {
				last = took
			}
			db.log.mu.Lock()
			unsynced := time.Since(db.log.unsynced)
			db.log.mu.Unlock()
			if unsynced > slow+syncPatience+syncEvery {
				t.Fatalf("after %v nothing is synced for %v, and changes go on", time.Since(began), unsynced)
			}
			time.Sleep(time.Millisecond)
		}
		if last < slow/2 {
			t.Errorf("nobody waited longer than %v", last)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Where the disk fails, nothing goes on as if it had not.
func TestSoonFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := soonDatabase(t, func() error { return &fs.PathError{Op: "sync", Path: "log", Err: errors.New("input/output error")} })
		if err := add(t.Context(), db.ChangeSoon); err != nil {
			t.Fatal(err)
		}
		time.Sleep(syncEvery)
		synctest.Wait()
		for name, change := range map[string]func(context.Context, func(*sql.Tx) error) error{"soon": db.ChangeSoon, "at once": db.Change} {
			if err := add(t.Context(), change); !errors.Is(err, ErrNotWritable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := db.Sync(t.Context()); !errors.Is(err, ErrNotWritable) {
			t.Error(err)
		}
		if n := value(t, db); n != 1 {
			t.Errorf("value %d", n)
		}
		if err := db.Close(); !errors.Is(err, ErrNotWritable) {
			t.Error(err)
		}
	})
}

// A connection that broke does not end it, nor does a caller that gives up.
func TestSoonGoesOn(t *testing.T) {
	db := soonDatabase(t, nil)
	defer db.Close()
	if err := add(t.Context(), db.ChangeSoon); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := add(ended, db.ChangeSoon); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// As when no more files can be opened.
	if err := db.log.disconnect(); err != nil {
		t.Fatal(err)
	}
	file := db.log.file
	db.log.file = file + "s"
	if err := add(t.Context(), db.ChangeSoon); !errors.Is(err, ErrNotWritable) {
		t.Error(err)
	}
	db.log.file = file
	if err := add(t.Context(), db.ChangeSoon); err != nil {
		t.Fatal(err)
	}
	// As when a transaction cannot even be rolled back.
	if _, err := db.log.soon.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if err := add(t.Context(), db.ChangeSoon); err == nil {
		t.Error("it went on within another transaction")
	}
	if err := add(t.Context(), db.ChangeSoon); err != nil {
		t.Error(err)
	}
	if n := value(t, db); n != 3 {
		t.Errorf("value %d", n)
	}
}

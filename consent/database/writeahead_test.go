package database_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// SQLite's write-ahead log begins anew while changes never pause, so that it does
// not grow without end, and nothing is lost by it.
func TestLogBeginsAnew(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "busy.db")
	db := open(t, file, schema)
	changing, stop := context.WithCancel(ctx)
	var writers sync.WaitGroup
	var changes [2]int
	for i := range changes {
		writers.Go(func() {
			for changing.Err() == nil {
				if err := db.Change(ctx, func(tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, "UPDATE counter SET value = value + 1")
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				changes[i]++
			}
		})
	}
	first := logSequence(t, file)
	for logSequence(t, file) < first+2 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the log has not begun anew")
		}
	}
	stop()
	writers.Wait()
	if got := count(t, db); got != changes[0]+changes[1] {
		t.Errorf("%d changes are there of %d", got, changes[0]+changes[1])
	}
}

// logSequence is how often a log has begun anew
// (https://sqlite.org/fileformat2.html, section 4.1).
func logSequence(t *testing.T, file string) uint32 {
	t.Helper()
	log, err := os.Open(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var header [16]byte
	if _, err := log.ReadAt(header[:], 0); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint32(header[12:])
}

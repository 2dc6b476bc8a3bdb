package database

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

// writeAhead has SQLite's write-ahead log moved into the database's file while
// changes go on. SQLite itself does so within a commit, whenever the log has
// grown to a size, and whoever writes waits for it. Here they wait for the rest
// alone that came while most was moved: SQLite begins the log anew once there is
// none (https://sqlite.org/wal.html, section 6).
type writeAhead struct {
	turn chan struct{} // held by whoever changes the database

	mu      sync.Mutex
	due     *time.Timer // nil: nothing was written since it was moved
	stopped bool
	moving  sync.WaitGroup
}

const (
	// moveEvery is how long what was written stays in the log: what is written
	// again meanwhile is moved once.
	moveEvery = 500 * time.Millisecond
	// passes is how often it is moved while changes go on, before they wait: the
	// second time there is a tenth of it.
	passes = 2
	// logPages is the size of the log from which on SQLite does it itself.
	logPages = 20_000
)

func newWriteAhead() *writeAhead { return &writeAhead{turn: make(chan struct{}, 1)} }

// begin waits until nobody in this process changes the database.
func (l *writeAhead) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end is for who changed it.
func (l *writeAhead) end(db *sql.DB) {
	<-l.turn
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due == nil && !l.stopped {
		l.due = time.AfterFunc(moveEvery, func() { l.move(db) })
	}
}

// move moves what is in the log. Nobody reads less or waits longer where it
// cannot: then it is done later.
func (l *writeAhead) move(db *sql.DB) {
	l.mu.Lock()
	l.due = nil
	if l.stopped {
		l.mu.Unlock()
		return
	}
	l.moving.Add(1)
	l.mu.Unlock()
	defer l.moving.Done()
	move := func() error {
		_, err := db.Exec("PRAGMA wal_checkpoint(PASSIVE)")
		return err
	}
	for range passes { // each leaves what came while it ran
		if move() != nil {
			return
		}
	}
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	_ = move()
}

// stop ends it; SQLite moves the rest when the last connection closes.
func (l *writeAhead) stop() {
	l.mu.Lock()
	l.stopped = true
	if l.due != nil {
		l.due.Stop()
	}
	l.mu.Unlock()
	l.moving.Wait()
}

package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
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

	// soon is the one connection that does not sync what it commits; nil: none yet.
	// Whoever holds the turn has it.
	soon *sql.Conn
	// flush makes durable what is in the log.
	flush    func() error
	flushing chan struct{} // held by whoever does

	mu      sync.Mutex
	due     *time.Timer // nil: nothing was written since it was moved
	stopped bool
	moving  sync.WaitGroup

	unsynced time.Time // when the oldest change was written that is not durable; zero: all are
	later    time.Time // the same of those since the last sync began
	broken   error     // of a sync: what it left nobody knows
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

	// syncEvery is how long ChangeSoon leaves what it wrote to the system's memory.
	syncEvery = 10 * time.Millisecond
	// syncPatience is how long the disk may take for it, before changes wait.
	syncPatience = 50 * time.Millisecond
)

func newWriteAhead(file string) *writeAhead {
	return &writeAhead{turn: make(chan struct{}, 1), flushing: make(chan struct{}, 1), flush: func() error {
		// A lock that SQLite has on it would be lost when it is closed here; those are
		// on other files (https://sqlite.org/walformat.html, section 2.3).
		log, err := os.OpenFile(file+"-wal", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer log.Close()
		return log.Sync()
	}}
}

// begin waits until nobody in this process changes the database.
func (l *writeAhead) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	err, late := l.broken, !l.unsynced.IsZero() && time.Since(l.unsynced) > syncPatience
	l.mu.Unlock()
	if late {
		err = l.sync()
	}
	if err != nil {
		<-l.turn
	}
	return err
}

// beginSoon begins a transaction of ChangeSoon.
func (l *writeAhead) beginSoon(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	if l.soon == nil {
		c, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := c.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
			c.Close()
			return nil, err
		}
		l.soon = c
	}
	tx, err := l.soon.BeginTx(ctx, nil)
	if err != nil && ctx.Err() == nil {
		// The next one has another; this one must not come among those that sync.
		_ = l.soon.Raw(func(any) error { return driver.ErrBadConn })
		l.soon = nil
	}
	return tx, err
}

// written is for who committed what nobody synced.
func (l *writeAhead) written() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.unsynced.IsZero() {
		l.unsynced = now
		l.syncLater()
	}
	if l.later.IsZero() {
		l.later = now
	}
}

func (l *writeAhead) syncLater() { time.AfterFunc(syncEvery, func() { _ = l.sync() }) }

// sync makes durable what was written. Where it fails, all changes fail from then
// on: the system may have dropped what it could not write, and would not say so
// again.
func (l *writeAhead) sync() error {
	l.flushing <- struct{}{}
	defer func() { <-l.flushing }()
	l.mu.Lock()
	if l.unsynced.IsZero() || l.broken != nil {
		defer l.mu.Unlock()
		return l.broken
	}
	l.later = time.Time{}
	l.mu.Unlock()
	err := l.flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	if l.unsynced = l.later; !l.unsynced.IsZero() {
		l.syncLater()
	}
	return err
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

// stop ends it, with everything durable; SQLite moves the rest when the last
// connection closes.
func (l *writeAhead) stop() error {
	l.mu.Lock()
	l.stopped = true
	if l.due != nil {
		l.due.Stop()
	}
	l.mu.Unlock()
	l.moving.Wait()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	err := l.sync()
	if l.soon != nil {
		l.soon.Close()
	}
	return err
}

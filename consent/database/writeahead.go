package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"sync"
	"time"
)

// writeAhead looks after SQLite's write-ahead log, and after whose turn it is to
// write.
//
// It has the log moved into the database's file while changes go on. SQLite itself
// does so within a commit, whenever the log has grown to a size, and whoever writes
// waits for it. Here they wait for the rest alone that came while most was moved:
// SQLite begins the log anew once there is none (https://sqlite.org/wal.html,
// section 6). And it syncs what ChangeSoon wrote, which SQLite does not on a
// connection with synchronous NORMAL (https://sqlite.org/pragma.html#pragma_synchronous).
type writeAhead struct {
	turn chan struct{} // held by whoever changes the database

	// soon is the one connection that does not sync what it commits, and log the file
	// that it writes to; nil: none yet. Whoever holds the turn has them. The file stays
	// open: the system tells each that opened it once of what it could not write,
	// whoever else it told of that.
	soon *sql.Conn
	log  *os.File
	// file is the log's name.
	file string
	// flush makes durable what is in the log.
	flush    func(log *os.File) error
	flushing chan struct{} // held by whoever does

	mu      sync.Mutex
	due     *time.Timer // nil: nothing was written since it was moved
	stopped bool
	moving  sync.WaitGroup

	unsynced time.Time // when the oldest change was written that is not durable; zero: all are
	later    time.Time // the same of those since the last sync began
	pending  bool      // a sync will begin by itself
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
	return &writeAhead{turn: make(chan struct{}, 1), flushing: make(chan struct{}, 1), file: file, flush: (*os.File).Sync}
}

var errClosed = errors.New("the database is closed")

// begin waits until nobody in this process changes the database.
func (l *writeAhead) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	err, late := l.broken, !l.unsynced.IsZero() && time.Since(l.unsynced) > syncPatience
	if l.stopped && err == nil {
		err = errClosed
	}
	l.mu.Unlock()
	if late && err == nil {
		err = l.sync(false)
	}
	if err != nil {
		<-l.turn
	}
	return err
}

// connect sees to it that there is a connection of ChangeSoon.
func (l *writeAhead) connect(ctx context.Context, db *sql.DB) error {
	if l.soon != nil {
		return nil
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	l.soon = c
	var tables int
	_, err = c.ExecContext(ctx, "PRAGMA synchronous = NORMAL")
	if err == nil { // whoever reads has the log, which stays while there is a connection
		err = c.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables)
	}
	if err == nil {
		l.log, err = os.OpenFile(l.file, os.O_RDWR, 0)
	}
	if err != nil {
		err = errors.Join(err, l.disconnect())
	}
	return err
}

// disconnect ends the connection of ChangeSoon, which must not come among those
// that sync, once what it wrote is durable.
func (l *writeAhead) disconnect() error {
	if l.soon == nil {
		return nil
	}
	err := l.sync(false)
	if l.log != nil {
		l.flushing <- struct{}{}
		l.log.Close()
		l.log = nil
		<-l.flushing
	}
	_ = l.soon.Raw(func(any) error { return driver.ErrBadConn })
	l.soon = nil
	return err
}

// beginSoon begins a transaction of ChangeSoon.
func (l *writeAhead) beginSoon(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	if err := l.connect(ctx, db); err != nil {
		return nil, err
	}
	tx, err := l.soon.BeginTx(ctx, nil)
	if err != nil && ctx.Err() == nil { // whatever it is, the next one has another connection
		err = errors.Join(err, l.disconnect())
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

// syncLater has it synced in a moment, once.
func (l *writeAhead) syncLater() {
	if l.pending {
		return
	}
	l.pending = true
	time.AfterFunc(syncEvery, func() {
		l.mu.Lock()
		l.pending = false
		l.mu.Unlock()
		_ = l.sync(false)
	})
}

// sync makes durable what is in the log, if this process wrote something that is
// not, or always. Where it fails, all changes fail from then on: the system may have
// dropped what it could not write, and would not say so again.
func (l *writeAhead) sync(always bool) error {
	l.flushing <- struct{}{}
	defer func() { <-l.flushing }()
	l.mu.Lock()
	if l.broken != nil || l.unsynced.IsZero() && !always {
		defer l.mu.Unlock()
		return l.broken
	}
	l.later = time.Time{}
	l.mu.Unlock()
	err := l.flush(l.log)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	if l.unsynced = l.later; !l.unsynced.IsZero() {
		l.syncLater()
	}
	return err
}

// syncAll makes durable whatever can be read now, whoever wrote it.
func (l *writeAhead) syncAll(ctx context.Context, db *sql.DB) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer func() { <-l.turn }()
	if err := l.connect(ctx, db); err != nil {
		return err
	}
	return l.sync(true)
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
	return l.disconnect()
}

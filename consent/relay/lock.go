package relay

import (
	"context"
	"database/sql"
	"time"

	"github.com/gofrs/flock"

	"github.com/assent-wallet/assent/consent/database"
)

const (
	lockEvery = time.Second     // between two tries, and between two looks whether it is still held
	lockLimit = 5 * time.Second // of one look
)

// lock is held by one process at a time, and is free as soon as that process
// ends: a lock of a session of PostgreSQL, or of a file beside that of SQLite.
type lock struct {
	db   *database.DB
	file *flock.Flock // nil: PostgreSQL
}

func newLock(db *database.DB, path string) *lock {
	l := &lock{db: db}
	if !db.Postgres() {
		l.file = flock.New(path, flock.SetPermissions(0o600))
	}
	return l
}

// hold runs do while the lock is held, as soon as it can be; the context of do
// ends when the lock is lost.
func (l *lock) hold(ctx context.Context, do func(context.Context)) error {
	if l.file != nil {
		if _, err := l.file.TryLockContext(ctx, lockEvery/10); err != nil {
			return err
		}
		defer l.file.Unlock()
		do(ctx)
		return nil
	}
	session, err := l.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		var held bool
		if err := session.QueryRowContext(ctx, "SELECT pg_try_advisory_lock(hashtextextended('assent/relay/sender', 0))").Scan(&held); err != nil {
			return err
		}
		if held {
			break
		}
		if !pause(ctx, lockEvery) {
			return ctx.Err()
		}
	}
	// The session goes back to the pool, where it must not keep the lock.
	defer func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockLimit)
		defer cancel()
		session.ExecContext(limited, "SELECT pg_advisory_unlock_all()")
	}()
	held, lost := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer lost()
		for pause(held, lockEvery) {
			if !l.alive(held, session) {
				return
			}
		}
	}()
	do(held)
	lost()
	<-watched
	return nil
}

func (l *lock) alive(ctx context.Context, session *sql.Conn) bool {
	limited, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	return session.PingContext(limited) == nil
}

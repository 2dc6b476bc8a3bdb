package gateway

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// journal is the one place where requests write to the database. What waits is
// written in one transaction, so that many requests share the price of making it
// durable.
type journal struct {
	db     *database.DB
	queue  chan *record
	stop   sync.Once
	closed chan struct{} // no more records are taken
	ended  chan struct{} // all that were taken are written
	batch  func(records int, took time.Duration)
}

// record is what one request wants to have written, all of it or nothing.
type record struct {
	// key is looked up, and kept until then (unix seconds); fresh tells that it
	// was not there.
	key   []byte
	until uint64
	fresh bool

	// event goes to the log of the account.
	account common.Address
	event   []byte

	// change does whatever else there is.
	change func(context.Context, *sql.Tx) error

	// enrollments is how often enrollments had changed.
	enrollments uint64

	done chan error
}

const (
	journalQueue = 1024
	journalBatch = 256
	// journalPatience is how long a batch may take.
	journalPatience = 15 * time.Second
)

// journalLock is held by whoever writes to the log, and by all journals, so that
// two of them never wait for each other in a circle.
const journalLock = "gateway journal"

var errJournalClosed = errors.New("the gateway is being stopped")

func openJournal(db *database.DB) *journal {
	return &journal{
		db: db, queue: make(chan *record, journalQueue), closed: make(chan struct{}), ended: make(chan struct{}),
		batch: func(int, time.Duration) {},
	}
}

// write puts a record into the database, durably once it returns nil. Where ctx
// is done before, it may be written or not.
func (j *journal) write(ctx context.Context, r *record) error {
	r.done = make(chan error, 1)
	select {
	case j.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-j.closed:
		return errJournalClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-j.ended:
		select {
		case err := <-r.done:
			return err
		default:
			return errJournalClosed
		}
	}
}

// run writes what comes until the journal is closed, and what had come by then.
func (j *journal) run() {
	defer close(j.ended)
	for {
		var batch []*record
		select {
		case r := <-j.queue:
			batch = append(batch, r)
		case <-j.closed:
			select {
			case r := <-j.queue:
				batch = append(batch, r)
			default:
				return
			}
		}
	more:
		for len(batch) < journalBatch {
			select {
			case r := <-j.queue:
				batch = append(batch, r)
			default:
				break more
			}
		}
		began := time.Now()
		err := j.commit(batch)
		for _, r := range batch {
			r.done <- err
		}
		j.batch(len(batch), time.Since(began))
	}
}

func (j *journal) close() {
	j.stop.Do(func() { close(j.closed) })
	<-j.ended
}

func (j *journal) commit(batch []*record) error {
	ctx, cancel := context.WithTimeout(context.Background(), journalPatience)
	defer cancel()
	return j.db.Change(ctx, func(tx *sql.Tx) error {
		if err := j.db.Lock(ctx, tx, journalLock); err != nil {
			return err
		}
		for _, r := range batch {
			if r.change != nil {
				if err := r.change(ctx, tx); err != nil {
					return err
				}
			}
		}
		if err := lookUp(ctx, tx, batch); err != nil {
			return err
		}
		if err := appendEvents(ctx, tx, batch); err != nil {
			return err
		}
		var enrollments uint64
		if err := tx.QueryRowContext(ctx, "SELECT count FROM gateway_enrollment_changes").Scan(&enrollments); err != nil {
			return err
		}
		for _, r := range batch {
			r.enrollments = enrollments
		}
		return nil
	})
}

// lookUp records the keys of a batch, and says of each whether it is fresh.
func lookUp(ctx context.Context, tx *sql.Tx, batch []*record) error {
	waiting := make(map[string]*record, len(batch))
	var args []any
	for _, r := range batch {
		r.fresh = false
		if _, twice := waiting[string(r.key)]; len(r.key) > 0 && !twice {
			waiting[string(r.key)] = r
			args = append(args, r.key, int64(r.until))
		}
	}
	if len(args) == 0 {
		return nil
	}
	added, err := tx.QueryContext(ctx, "INSERT INTO gateway_seen (key, until) VALUES "+rows(len(waiting), 2)+" ON CONFLICT DO NOTHING RETURNING key", args...)
	if err != nil {
		return err
	}
	defer added.Close()
	for added.Next() {
		var key []byte
		if err := added.Scan(&key); err != nil {
			return err
		}
		waiting[string(key)].fresh = true
	}
	return added.Err()
}

// appendEvents puts the events of a batch at the ends of their accounts' chains.
func appendEvents(ctx context.Context, tx *sql.Tx, batch []*record) error {
	heads := make(map[common.Address]*consent.AuditHead)
	var accounts []any
	events := 0
	for _, r := range batch {
		if r.event == nil {
			continue
		}
		events++
		if heads[r.account] == nil {
			heads[r.account] = new(consent.AuditHead)
			accounts = append(accounts, slices.Clone(r.account[:]))
		}
	}
	if events == 0 {
		return nil
	}
	known, err := tx.QueryContext(ctx, "SELECT account, number, hash FROM gateway_log_heads WHERE account IN "+rows(1, len(accounts)), accounts...)
	if err != nil {
		return err
	}
	defer known.Close()
	for known.Next() {
		var account, hash []byte
		var number uint64
		if err := known.Scan(&account, &number, &hash); err != nil {
			return err
		}
		*heads[common.BytesToAddress(account)] = consent.AuditHead{Number: number, Hash: common.BytesToHash(hash)}
	}
	if err := known.Err(); err != nil {
		return err
	}
	args := make([]any, 0, 5*events)
	for _, r := range batch {
		if r.event == nil {
			continue
		}
		head := heads[r.account]
		entry := consent.AuditEntry{Number: head.Number + 1, Previous: head.Hash, Event: r.event}
		hash := entry.Hash()
		args = append(args, slices.Clone(r.account[:]), int64(entry.Number), slices.Clone(entry.Previous[:]), hash.Bytes(), entry.Event)
		*head = consent.AuditHead{Number: entry.Number, Hash: hash}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO gateway_log (account, number, previous, hash, event) VALUES "+rows(events, 5), args...); err != nil {
		return err
	}
	args = args[:0]
	for account, head := range heads {
		args = append(args, slices.Clone(account[:]), int64(head.Number), head.Hash.Bytes())
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO gateway_log_heads (account, number, hash) VALUES "+rows(len(heads), 3)+
		" ON CONFLICT (account) DO UPDATE SET number = excluded.number, hash = excluded.hash", args...)
	return err
}

// forgetting says what may be forgotten once its time is over, and by which
// column it is known.
var forgetting = []struct{ table, key, until string }{
	{"gateway_seen", "key", "until"},
	{"gateway_sessions", "id", "ends"},
	{"gateway_used", "key", "until"},
	{"gateway_challenges", "challenge", "until"},
}

// forget deletes what is over at the time now, in unix seconds: few rows at a
// time, so that nobody waits for long.
func (j *journal) forget(ctx context.Context, now uint64) error {
	for _, f := range forgetting {
		statement := "DELETE FROM " + f.table + " WHERE " + f.key + " IN (SELECT " + f.key + " FROM " + f.table + " WHERE " + f.until + " < $1 LIMIT 500)"
		for deleted := int64(500); deleted == 500; {
			err := j.write(ctx, &record{change: func(ctx context.Context, tx *sql.Tx) error {
				done, err := tx.ExecContext(ctx, statement, int64(now))
				if err != nil {
					return err
				}
				deleted, err = done.RowsAffected()
				return err
			}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

package gateway

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// journal is the one place where requests write to the database. What waits is
// written in one transaction, so that many requests share the price of it.
type journal struct {
	db     *database.DB
	queue  chan *record
	stop   sync.Once
	closed chan struct{} // no more records are taken
	ended  chan struct{} // all that were taken are written
	batch  func(records int, took time.Duration)

	prepared map[statementKey]*sql.Stmt // of whoever runs it

	enrollments atomic.Uint64 // how often these had changed when it last wrote
}

// record is what one request wants to have written, all of it or nothing.
type record struct {
	// proof or nonce, if any, is looked up, and kept until then (unix seconds, which
	// a proof begins with); fresh tells that it was not there.
	proof []byte
	nonce []byte
	until uint64
	fresh bool

	// event goes to the log of the account; not so where these are not fresh, where
	// enrollments changed since they had changed as often as decided says, or where
	// change says that it is void.
	account common.Address
	event   *packed
	decided *uint64

	// soon says that it need not wait for the disk (database.ChangeSoon).
	soon bool

	// change does whatever else there is.
	change func(context.Context, *sql.Tx) error
	void   bool

	// enrollments is how often enrollments had changed.
	enrollments uint64

	done chan error
}

// appends tells whether the record's event goes to the log, once it was looked up
// what has to be fresh, and how often enrollments had changed.
func (r *record) appends() bool {
	return r.event != nil && !r.void && (r.proof == nil && r.nonce == nil || r.fresh) && (r.decided == nil || *r.decided == r.enrollments)
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
		batch: func(int, time.Duration) {}, prepared: make(map[statementKey]*sql.Stmt),
	}
}

// statementKey is a statement for so many rows of so many columns.
type statementKey struct {
	text          string // with a %s for their placeholders
	rows, columns int
}

// statement gives a statement of the transaction, which is prepared once.
func (j *journal) statement(ctx context.Context, tx *sql.Tx, text string, n, columns int) (*sql.Stmt, error) {
	key := statementKey{text, n, columns}
	s := j.prepared[key]
	if s == nil {
		var err error
		if s, err = j.db.PrepareContext(ctx, fmt.Sprintf(text, rows(n, columns))); err != nil {
			return nil, err
		}
		j.prepared[key] = s
	}
	return tx.StmtContext(ctx, s), nil
}

// inParts calls do with the arguments of so many rows at a time that there are
// few different statements: a power of two, since each costs a message to
// PostgreSQL and back; and one for SQLite, which makes a journal of its own for
// each statement that changes several.
func (j *journal) inParts(args []any, columns int, do func(rows int, args []any) error) error {
	for len(args) > 0 {
		n := 1
		if j.db.Postgres() {
			n <<= bits.Len(uint(len(args)/columns)) - 1
		}
		if err := do(n, args[:n*columns]); err != nil {
			return err
		}
		args = args[n*columns:]
	}
	return nil
}

// write puts a record into the database; it is there once write returns nil. Where
// ctx is done before, it may be written or not.
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
	defer func() {
		for _, s := range j.prepared {
			s.Close()
		}
	}()
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
	ctx := context.Background()
	if j.db.Postgres() { // SQLite has a limit of its own, and a context that may end costs it
		limited, cancel := context.WithTimeout(ctx, journalPatience)
		defer cancel()
		ctx = limited
	}
	change := j.db.ChangeSoon
	if slices.ContainsFunc(batch, func(r *record) bool { return !r.soon }) {
		change = j.db.Change
	}
	return change(ctx, func(tx *sql.Tx) error {
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
		if err := j.lookUp(ctx, tx, batch, "INSERT INTO gateway_proofs (proof) VALUES %s ON CONFLICT DO NOTHING RETURNING proof",
			func(r *record) []any { return only(r.proof) }); err != nil {
			return err
		}
		if err := j.lookUp(ctx, tx, batch, "INSERT INTO gateway_seen (key, until) VALUES %s ON CONFLICT DO NOTHING RETURNING key",
			func(r *record) []any { return only(r.nonce, int64(r.until)) }); err != nil {
			return err
		}
		heads, enrollments, err := j.read(ctx, tx, batch)
		if err != nil {
			return err
		}
		for _, r := range batch {
			r.enrollments = enrollments
		}
		j.enrollments.Store(enrollments)
		return j.appendEvents(ctx, tx, batch, heads)
	})
}

// only gives the columns of a row, or none without a key.
func only(key []byte, others ...any) []any {
	if key == nil {
		return nil
	}
	return append([]any{key}, others...)
}

// lookUp records keys of a batch by an insert that gives those back that were not
// there, and says of each whether it was. rowOf gives the row of a record, its key
// first, or nil.
func (j *journal) lookUp(ctx context.Context, tx *sql.Tx, batch []*record, insert string, rowOf func(*record) []any) error {
	waiting := make(map[string]*record, len(batch))
	var args []any
	columns := 0
	for _, r := range batch {
		row := rowOf(r)
		if row == nil {
			continue
		}
		r.fresh, columns = false, len(row)
		key := string(row[0].([]byte))
		if _, twice := waiting[key]; !twice {
			waiting[key] = r
			args = append(args, row...)
		}
	}
	return j.inParts(args, columns, func(n int, args []any) error {
		insert, err := j.statement(ctx, tx, insert, n, columns)
		if err != nil {
			return err
		}
		added, err := insert.QueryContext(ctx, args...)
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
	})
}

// read reads what the events of a batch are appended to, and how often enrollments
// had changed.
func (j *journal) read(ctx context.Context, tx *sql.Tx, batch []*record) (heads map[common.Address]*consent.AuditHead, enrollments uint64, err error) {
	heads = make(map[common.Address]*consent.AuditHead)
	var accounts []any
	for _, r := range batch {
		if r.event != nil && heads[r.account] == nil {
			heads[r.account] = new(consent.AuditHead)
			accounts = append(accounts, slices.Clone(r.account[:]))
		}
	}
	// One statement reads it all, most often, as accounts are filled up to a power of
	// two with NULL, which none is.
	if n := len(accounts); n > 0 {
		accounts = append(accounts, make([]any, 1<<bits.Len(uint(n-1))-n)...)
	} else {
		accounts = make([]any, 1)
	}
	read, err := j.statement(ctx, tx, "SELECT c.count, h.account, h.number, h.hash FROM gateway_enrollment_changes AS c LEFT JOIN gateway_log_heads AS h ON h.account IN %s", 1, len(accounts))
	if err != nil {
		return nil, 0, err
	}
	known, err := read.QueryContext(ctx, accounts...)
	if err != nil {
		return nil, 0, err
	}
	defer known.Close()
	for known.Next() {
		var account, hash []byte
		var number sql.Null[uint64]
		if err := known.Scan(&enrollments, &account, &number, &hash); err != nil {
			return nil, 0, err
		}
		if number.Valid {
			*heads[common.BytesToAddress(account)] = consent.AuditHead{Number: number.V, Hash: common.BytesToHash(hash)}
		}
	}
	return heads, enrollments, known.Err()
}

// appendEvents puts the events of a batch at the ends of their accounts' chains.
func (j *journal) appendEvents(ctx context.Context, tx *sql.Tx, batch []*record, heads map[common.Address]*consent.AuditHead) error {
	var args []any
	moved := make(map[common.Address]*consent.AuditHead)
	for _, r := range batch {
		if !r.appends() {
			continue
		}
		head := heads[r.account]
		next := consent.AuditHead{Number: head.Number + 1, Hash: consent.AuditHash(head.Number+1, head.Hash, r.event.hash)}
		args = append(args, slices.Clone(r.account[:]), int64(next.Number), head.Hash.Bytes(), next.Hash.Bytes(), r.event.text)
		*head = next
		moved[r.account] = head
	}
	insert := func(text string, columns int) func(int, []any) error {
		return func(n int, args []any) error {
			statement, err := j.statement(ctx, tx, text, n, columns)
			if err == nil {
				_, err = statement.ExecContext(ctx, args...)
			}
			return err
		}
	}
	if err := j.inParts(args, 5, insert("INSERT INTO gateway_log (account, number, previous, hash, event) VALUES %s", 5)); err != nil {
		return err
	}
	args = args[:0]
	for account, head := range moved {
		args = append(args, slices.Clone(account[:]), int64(head.Number), head.Hash.Bytes())
	}
	return j.inParts(args, 3, insert("INSERT INTO gateway_log_heads (account, number, hash) VALUES %s ON CONFLICT (account) DO UPDATE SET number = excluded.number, hash = excluded.hash", 3))
}

// forgetting says what may be forgotten once its time is over, and by which
// column it is known; proofs begin with theirs.
var forgetting = []struct{ table, key, until string }{
	{"gateway_proofs", "proof", "proof"},
	{"gateway_seen", "key", "until"},
	{"gateway_sessions", "id", "ends"},
	{"gateway_used", "key", "until"},
	{"gateway_handed_over", "key", "until"},
	{"gateway_challenges", "challenge", "until"},
}

// forgetAtOnce is how many rows are deleted in one transaction: so few that nobody
// waits for long.
const forgetAtOnce = 100

// forget deletes what is over at the time now, in unix seconds.
func (j *journal) forget(ctx context.Context, now uint64) error {
	for _, f := range forgetting {
		over := any(int64(now))
		if f.until == f.key {
			over = binary.BigEndian.AppendUint64(nil, now)
		}
		statement := "DELETE FROM " + f.table + " WHERE " + f.key + " IN (SELECT " + f.key + " FROM " + f.table + " WHERE " + f.until + " < $1 LIMIT $2) AND " + f.until + " < $1"
		for deleted := int64(forgetAtOnce); deleted == forgetAtOnce; {
			err := j.write(ctx, &record{soon: true, change: func(ctx context.Context, tx *sql.Tx) error {
				done, err := tx.ExecContext(ctx, statement, over, forgetAtOnce)
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

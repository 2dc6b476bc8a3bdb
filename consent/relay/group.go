package relay

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
)

// maxGroup is how many submissions share a transaction.
const maxGroup = 2_000

// errStopping is what is said of a submission when the relay ends: it may be
// durable or not.
var errStopping = errors.New("the relay is stopping: hand it in again")

// group makes what many hand in durable together: while one transaction is
// written to disk, the next one fills.
type group[T any] struct {
	entries chan *entry[T]
}

type entry[T any] struct {
	items []T
	done  chan error
}

// add returns once the items are durable.
func (g *group[T]) add(ctx context.Context, items ...T) error {
	e := &entry[T]{items, make(chan error, 1)}
	select {
	case g.entries <- e:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *group[T]) run(ctx context.Context, keep func(context.Context, []T) error) {
	for {
		var batch []*entry[T]
		select {
		case <-ctx.Done():
			g.refuse()
			return
		case first := <-g.entries:
			batch = append(batch, first)
		}
		items := batch[0].items
	filling:
		for len(items) < maxGroup {
			select {
			case e := <-g.entries:
				batch, items = append(batch, e), append(items, e.items...)
			default:
				break filling
			}
		}
		err := keep(ctx, items)
		for _, e := range batch {
			e.done <- err
		}
	}
}

// refuse answers those that came too late.
func (g *group[T]) refuse() {
	for {
		select {
		case e := <-g.entries:
			e.done <- errStopping
		default:
			return
		}
	}
}

// change runs do in one durable transaction. SQLite has one writer, for which
// the writers of this process wait here, in turn.
func (r *Relay) change(ctx context.Context, do func(*sql.Tx) error) error {
	if !r.db.Postgres() {
		r.writing.Lock()
		defer r.writing.Unlock()
	}
	return r.db.Change(ctx, do)
}

// rowsAtOnce is how many rows one statement inserts.
const rowsAtOnce = 100

// keepRoots numbers the roots in the order in which they are committed, so that
// whoever reads sees the numbers without a gap that is filled later. One that
// is there keeps its number.
func (r *Relay) keepRoots(ctx context.Context, roots []common.Hash) error {
	err := r.change(ctx, func(tx *sql.Tx) error {
		if err := r.db.Lock(ctx, tx, "relay/roots"); err != nil {
			return err
		}
		var last int64
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(n), 0) FROM (SELECT max(number) AS n FROM roots UNION ALL SELECT max(last) FROM trees) AS numbers").Scan(&last); err != nil {
			return err
		}
		return insert(ctx, tx, "INSERT INTO roots (root, number) VALUES ", roots, 2, func(i int) []any { return []any{roots[i][:], last + 1 + int64(i)} })
	})
	if err == nil {
		r.metrics.submitted.Add(float64(len(roots)))
		r.waiting.ring()
	}
	return err
}

func (r *Relay) keepSecrets(ctx context.Context, secrets []common.Hash) error {
	err := r.change(ctx, func(tx *sql.Tx) error {
		if err := r.db.Lock(ctx, tx, "relay/secrets"); err != nil {
			return err
		}
		return insert(ctx, tx, "INSERT INTO secrets (secret, block) VALUES ", secrets, 2, func(i int) []any { return []any{secrets[i][:], 0} })
	})
	if err == nil {
		r.metrics.secrets.Add(float64(len(secrets)))
		r.revealed.ring()
	}
	return err
}

// insert inserts those of the rows that are not there.
func insert[T any](ctx context.Context, tx *sql.Tx, into string, rows []T, columns int, row func(int) []any) error {
	var whole *sql.Stmt // of rowsAtOnce
	for from := 0; from < len(rows); from += rowsAtOnce {
		n := min(rowsAtOnce, len(rows)-from)
		args := make([]any, 0, n*columns)
		for i := range n {
			args = append(args, row(from+i)...)
		}
		if n < rowsAtOnce || len(rows) == rowsAtOnce {
			if _, err := tx.ExecContext(ctx, statement(into, n, columns), args...); err != nil {
				return err
			}
			continue
		}
		if whole == nil {
			var err error
			if whole, err = tx.PrepareContext(ctx, statement(into, n, columns)); err != nil {
				return err
			}
			defer whole.Close()
		}
		if _, err := whole.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func statement(into string, rows, columns int) string {
	var b strings.Builder
	b.WriteString(into)
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteString(") ON CONFLICT DO NOTHING")
	return b.String()
}

package wallet

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// batchSchema is part of storeSchema. All of it are keyed hashes. The last one
// binds the others, and what the row says, to each other.
const batchSchema = `
CREATE TABLE IF NOT EXISTS batch_rows (
	reference BLOB NOT NULL PRIMARY KEY, -- of the row, on a network
	batch     BLOB NOT NULL,             -- that gave it
	document  BLOB NOT NULL,             -- documents.id of its grant
	content   BLOB NOT NULL
) WITHOUT ROWID;
`

// macOf is a keyed hash of what a row of a batch is found by, cut to 128 bits.
type macOf [16]byte

// entry is a row of the table batch_rows.
type entry struct {
	reference, batch macOf
	grant            [32]byte
	content          macOf
}

func (w *Wallet) referenceMAC(reference string) macOf {
	separator := w.Domain.Separator()
	return macOf(w.Documents.hash("reference", append(separator[:], reference...)))
}

func (w *Wallet) batchMAC(id common.Hash) macOf {
	separator := w.Domain.Separator()
	return macOf(w.Documents.hash("batch", append(separator[:], id[:]...)))
}

func (d *Documents) contentMAC(reference, batch macOf, grant, content [32]byte) macOf {
	return macOf(d.hash("row", slices.Concat(reference[:], batch[:], grant[:], content[:])))
}

// enterBatch keeps the journal of a batch and its rows, in one step.
func (d *Documents) enterBatch(ctx context.Context, journal Record, entries []entry) error {
	// In the order of the key pages are filled one after the other.
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.reference[:], b.reference[:]) })
	return d.store.change(ctx, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, "INSERT INTO batch_rows (reference, batch, document, content) VALUES (?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for i := range entries {
			e := &entries[i]
			if _, err := insert.ExecContext(ctx, e.reference[:], e.batch[:], e.grant[:], e.content[:]); err != nil {
				return err
			}
		}
		return d.insert(ctx, tx, &journal)
	})
}

// lookup finds rows of batches. Several goroutines may use it.
type lookup struct {
	documents    *Documents
	entry, whole *sql.Stmt
}

func (d *Documents) lookup(ctx context.Context) (*lookup, error) {
	l := &lookup{documents: d}
	var err error
	if l.entry, err = d.store.db.PrepareContext(ctx, "SELECT batch, document, content FROM batch_rows WHERE reference = ?"); err != nil {
		return nil, d.store.failed(err)
	}
	l.whole, err = d.store.db.PrepareContext(ctx, "SELECT documents.rowid, id, sealed FROM batch_rows JOIN documents ON id = document WHERE reference = ?")
	if err != nil {
		l.close()
		return nil, d.store.failed(err)
	}
	return l, nil
}

func (l *lookup) close() {
	l.entry.Close()
	if l.whole != nil {
		l.whole.Close()
	}
}

// find gives the entry of a reference, or nil.
func (l *lookup) find(ctx context.Context, reference macOf) (*entry, error) {
	var batch, grant, content []byte
	err := l.entry.QueryRowContext(ctx, reference[:]).Scan(&batch, &grant, &content)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, l.documents.store.failed(err)
	}
	if len(batch) != 16 || len(grant) != 32 || len(content) != 16 {
		return nil, l.documents.store.damaged()
	}
	return &entry{reference, macOf(batch), [32]byte(grant), macOf(content)}, nil
}

// grant gives the record of the grant that was given for a reference. The error
// wraps ErrNotFound or ErrDamaged.
func (l *lookup) grant(ctx context.Context, reference macOf) (Record, error) {
	var number int64
	var row, sealed []byte
	err := l.whole.QueryRowContext(ctx, reference[:]).Scan(&number, &row, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, &DocumentError{Kind: consent.KindGrant, Reason: ErrNotFound}
	} else if err != nil {
		return Record{}, l.documents.store.failed(err)
	}
	return l.documents.opened(consent.KindGrant, number, row, sealed)
}

// sealedRow is a row of the table documents.
type sealedRow struct{ list, id, sealed []byte }

func (d *Documents) sealRow(r *Record) (*sealedRow, error) {
	sealed, err := d.sealed(r)
	return &sealedRow{d.list(r.Kind), d.row(r.Kind, r.ID), sealed}, err
}

const (
	bulkRows  = 10_000   // rows of one transaction
	bulkCache = 64 << 10 // KiB of pages; the keys of the rows come in no order
)

// bulk changes many rows in few transactions, on a connection of its own.
type bulk struct {
	documents *Documents
	conn      *sql.Conn
	queries   []string
	tx        *sql.Tx     // nil: none is open
	prepared  []*sql.Stmt // the queries, in tx
	rows      int         // in tx
}

func (d *Documents) bulk(ctx context.Context, queries ...string) (*bulk, error) {
	conn, err := d.store.db.Conn(ctx)
	if err != nil {
		return nil, d.store.failed(err)
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA cache_size = -%d", bulkCache)); err != nil {
		conn.Close()
		return nil, d.store.failed(err)
	}
	return &bulk{documents: d, conn: conn, queries: queries}, nil
}

// begin opens a transaction, where none is open.
func (b *bulk) begin(ctx context.Context) error {
	if b.tx != nil {
		return nil
	}
	tx, err := b.conn.BeginTx(ctx, nil)
	if err != nil {
		return b.documents.store.failed(err)
	}
	b.prepared = nil
	for _, query := range b.queries {
		statement, err := tx.PrepareContext(ctx, query)
		if err != nil {
			tx.Rollback()
			return b.documents.store.failed(err)
		}
		b.prepared = append(b.prepared, statement)
	}
	b.tx = tx
	return nil
}

// next says that a row is done, and commits the transaction when it is full.
func (b *bulk) next() error {
	if b.rows++; b.rows < bulkRows {
		return nil
	}
	return b.commit()
}

// commit makes last what was changed.
func (b *bulk) commit() error {
	if b.tx == nil {
		return nil
	}
	err := b.tx.Commit()
	b.tx, b.rows = nil, 0
	return b.documents.store.failed(err)
}

// close gives up what was not committed.
func (b *bulk) close() {
	if b.tx != nil {
		b.tx.Rollback()
	}
	// Another connection takes its place, with a cache of the usual size.
	_ = b.conn.Raw(func(any) error { return driver.ErrBadConn })
	b.conn.Close()
}

// addRows adds rows, unless they are there.
func (d *Documents) addRows(ctx context.Context) (*bulk, error) {
	return d.bulk(ctx, "INSERT INTO documents (list, id, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
}

func (b *bulk) add(ctx context.Context, r *sealedRow) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	if _, err := b.prepared[0].ExecContext(ctx, r.list, r.id, r.sealed); err != nil {
		return b.documents.store.failed(err)
	}
	return b.next()
}

// setStates moves grants on to a state, in few transactions: what another
// process changes of one of them it changes before or after. What is not there,
// is damaged, or may not go there, stays as it is.
func (d *Documents) setStates(ctx context.Context, ids [][32]byte, to State) error {
	b, err := d.bulk(ctx, "SELECT rowid, sealed FROM documents WHERE id = ?", "UPDATE documents SET sealed = ? WHERE id = ?")
	if err != nil {
		return err
	}
	defer b.close()
	for _, id := range ids {
		if err := b.begin(ctx); err != nil {
			return err
		}
		if err := b.setState(ctx, id, to); err != nil {
			return d.store.failed(err)
		}
		if err := b.next(); err != nil {
			return err
		}
	}
	return b.commit()
}

func (b *bulk) setState(ctx context.Context, id [32]byte, to State) error {
	var number int64
	var sealed []byte
	err := b.prepared[0].QueryRowContext(ctx, id[:]).Scan(&number, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return err
	}
	r, err := b.documents.opened(consent.KindGrant, number, id[:], sealed)
	if err != nil || r.State == to || !r.State.leadsTo(to) {
		return nil
	}
	r.State = to
	row, err := b.documents.sealRow(&r)
	if err != nil {
		return err
	}
	_, err = b.prepared[1].ExecContext(ctx, row.sealed, row.id)
	return err
}

package wallet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// BatchRevocation is what of a batch would be ended, so that a person can be
// told before.
type BatchRevocation struct {
	Grants  int // how many, as far as this wallet knows
	secrets []common.Hash
	rows    [][32]byte // of the store
	drops   *journal   // a batch that was cut off, and does not go on any more
}

// RevokeBatch prepares the end of all grants that were given in one batch; it
// needs nothing but the key, the network and the batch's id.
func (w *Wallet) RevokeBatch(ctx context.Context, id common.Hash) (*BatchRevocation, error) {
	secret, err := w.Signer.RevocationSecret(consent.BatchSwitch(w.Domain, id))
	if err != nil {
		return nil, err
	}
	r := &BatchRevocation{secrets: []common.Hash{secret}}
	// What is damaged in the store keeps nobody from ending what the chain knows.
	damaged := func(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, database.ErrDamaged) }
	r.rows, err = w.Documents.batchRows(ctx, w.batchMAC(id))
	if err != nil && !damaged(err) {
		return nil, err
	}
	r.Grants = len(r.rows)
	journals, err := w.journals(ctx)
	if err != nil && !damaged(err) {
		return nil, err
	}
	for _, j := range journals {
		if j.Batch == id && j.Phase != batchStored {
			r.drops = &j
		}
	}
	return r, nil
}

// RevokeRows prepares the end of single grants of a batch, by the references of
// their rows.
func (w *Wallet) RevokeRows(ctx context.Context, id common.Hash, references []string) (*BatchRevocation, error) {
	lookup, err := w.Documents.lookup(ctx)
	if err != nil {
		return nil, err
	}
	defer lookup.close()
	r := new(BatchRevocation)
	for _, reference := range references {
		mac := w.referenceMAC(reference)
		entry, err := lookup.find(ctx, mac)
		if err != nil {
			return nil, err
		}
		if entry == nil || entry.batch != w.batchMAC(id) {
			return nil, fmt.Errorf("the row %s: this wallet did not give it in that batch", consent.Quote(reference))
		}
		record, err := lookup.grant(ctx, mac)
		if err != nil {
			return nil, fmt.Errorf("the grant of the row %s: %w", consent.Quote(reference), err)
		}
		grant, err := readStored(&record)
		if err != nil {
			return nil, err
		}
		secret, err := w.Signer.RevocationSecret(consent.GrantSwitch(w.Domain, grant.Grant.Provisions))
		if err != nil {
			return nil, err
		}
		r.secrets = append(r.secrets, secret)
		r.rows = append(r.rows, entry.grant)
		r.Grants++
	}
	return r, nil
}

// EndBatch posts the revocation and waits until it is confirmed. The references
// of a batch that was cut off are free for others then.
func (w *Wallet) EndBatch(ctx context.Context, r *BatchRevocation) error {
	if err := w.Registry.Revoke(ctx, r.secrets); err != nil {
		return err
	}
	if err := w.Documents.setStates(ctx, r.rows, Revoked); err != nil || r.drops == nil {
		return err
	}
	batch := w.batchMAC(r.drops.Batch)
	return w.Documents.store.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM batch_rows WHERE batch = ?", batch[:]); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM documents WHERE id = ?", w.Documents.row(kindBatch, w.journalID(r.drops.Batch)))
		return err
	})
}

// batchRows gives what the grants of a batch are found by in the table
// documents.
func (d *Documents) batchRows(ctx context.Context, batch macOf) (rows [][32]byte, err error) {
	found, err := d.store.db.QueryContext(ctx, "SELECT document FROM batch_rows WHERE batch = ?", batch[:])
	if err != nil {
		return nil, d.store.failed(err)
	}
	defer found.Close()
	for found.Next() {
		var row sql.RawBytes
		if err := found.Scan(&row); err != nil {
			return nil, d.store.failed(err)
		}
		if len(row) != 32 {
			return nil, d.store.damaged()
		}
		rows = append(rows, [32]byte(row))
	}
	return rows, d.store.failed(found.Err())
}

package wallet

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// State is how far a grant has come. That it is expired is worked out from the
// clock, never stored.
type State string

// The states of a grant, in their order. Other documents have none.
const (
	Signed   State = "signed"   // signed and stored
	Posted   State = "posted"   // on its way to the chain
	Anchored State = "anchored" // seen anchored on chain
	Revoked  State = "revoked"  // for ever
)

// states that may follow another. An anchored grant whose block the chain
// dropped is posted again.
var next = map[State][]State{
	Signed:   {Posted, Anchored, Revoked},
	Posted:   {Anchored, Revoked},
	Anchored: {Posted, Revoked},
}

// Record is a document in the store, with what the wallet knows of it.
type Record struct {
	Kind     string      // consent.KindGrant and so on
	ID       common.Hash // of a grant its id; of others whatever names them
	State    State       // of a grant; empty for other kinds
	Given    bool        // made by this wallet; else received
	Time     uint64      // unix seconds
	Answer   common.Hash // of a request: the grant that answered it; zero: none
	Document []byte      // kept to the byte
}

// What may be wrong with one document.
var (
	ErrNotFound = errors.New("it is not in the wallet's store")
	ErrConflict = errors.New("the store has another one with the same id")
	ErrOlder    = errors.New("the store has a newer one")
	ErrDamaged  = errors.New("its row in the store was changed or damaged")
)

// DocumentError is a failure with one document. Reason is one of ErrNotFound,
// ErrConflict, ErrOlder and ErrDamaged, or a *StateError.
type DocumentError struct {
	Kind   string
	ID     common.Hash // zero where the row cannot be read
	Row    int64       // of the table documents, for ErrDamaged
	Reason error
}

func (e *DocumentError) Error() string {
	if errors.Is(e.Reason, ErrDamaged) {
		return fmt.Sprintf("a document of kind %s: %v (row %d)", e.Kind, e.Reason, e.Row)
	}
	return fmt.Sprintf("the document %s of kind %s: %v", e.ID, e.Kind, e.Reason)
}

// Unwrap gives the reason.
func (e *DocumentError) Unwrap() error { return e.Reason }

// StateError says that one state may not follow the other.
type StateError struct{ From, To State }

func (e *StateError) Error() string {
	return fmt.Sprintf("it is %s and cannot become %s", e.From, e.To)
}

// Documents are the documents of one wallet. Each is sealed under a key that
// only the wallet's own gives, and found by keyed hashes of its kind and id: who
// reads the file learns how many there are, how long, and which are of one
// kind; who writes to it can take documents away or put back older states of
// them, and can neither make nor exchange any.
type Documents struct {
	store *Store
	seal  cipher.AEAD
	index []byte // key of the hashes
}

// Documents opens the documents of the wallet with this key.
func (s *Store) Documents(k *Key) (*Documents, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.private == nil {
		return nil, ErrClosed
	}
	key := func(info string) ([]byte, error) { return hkdf.Expand(sha256.New, k.store[:], info, 32) }
	sealing, err := key("documents/seal")
	if err != nil {
		return nil, err
	}
	defer clear(sealing)
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, err
	}
	d := &Documents{store: s}
	if d.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	d.index, err = key("documents/index")
	return d, err
}

// list gives what the documents of a kind have in common in the table.
func (d *Documents) list(kind string) []byte { return d.hash("list", []byte(kind)) }

// row gives what a document is found by in the table.
func (d *Documents) row(kind string, id common.Hash) []byte {
	return d.hash("id", append([]byte(kind), id[:]...))
}

func (d *Documents) hash(what string, of []byte) []byte {
	mac := hmac.New(sha256.New, d.index)
	mac.Write([]byte(what + "/"))
	mac.Write(of)
	return mac.Sum(nil)
}

// header is what of a record is sealed before its document, on a line.
type header struct {
	Kind   string      `json:"kind"`
	ID     common.Hash `json:"id"`
	State  State       `json:"state"`
	Given  bool        `json:"given"`
	Time   uint64      `json:"time"`
	Answer common.Hash `json:"answer"`
}

// sealed gives the record as it stands in the table. The row that it belongs in
// is bound to it.
func (d *Documents) sealed(r *Record) ([]byte, error) {
	line, err := json.Marshal(header{r.Kind, r.ID, r.State, r.Given, r.Time, r.Answer})
	if err != nil {
		return nil, err
	}
	plain := append(append(line, '\n'), r.Document...)
	return d.seal.Seal(nil, nil, plain, d.bound(r.Kind, r.ID)), nil
}

func (d *Documents) bound(kind string, id common.Hash) []byte {
	return append(d.list(kind), d.row(kind, id)...)
}

// opened gives the record in a row of the table, or an error that wraps
// ErrDamaged.
func (d *Documents) opened(kind string, number int64, row, sealed []byte) (Record, error) {
	damaged := &DocumentError{Kind: kind, Row: number, Reason: ErrDamaged}
	plain, err := d.seal.Open(nil, nil, sealed, append(d.list(kind), row...))
	if err != nil {
		return Record{}, damaged
	}
	line, document, found := bytes.Cut(plain, []byte("\n"))
	var h header
	if err := json.Unmarshal(line, &h); err != nil || !found {
		return Record{}, damaged
	}
	return Record{h.Kind, h.ID, h.State, h.Given, h.Time, h.Answer, document}, nil
}

// Put keeps records, all of them or none, in one step. A record that is there
// already, with the same document and answer, stays as it is; where they differ
// the error wraps ErrConflict. So two processes cannot both answer a request.
func (d *Documents) Put(ctx context.Context, records ...Record) error {
	return d.store.change(ctx, func(tx *sql.Tx) error {
		for i := range records {
			r := &records[i]
			there, err := d.get(ctx, tx, r.Kind, r.ID)
			if errors.Is(err, ErrNotFound) {
				err = d.insert(ctx, tx, r)
			} else if err == nil && (!bytes.Equal(there.Document, r.Document) || there.Answer != r.Answer) {
				err = &DocumentError{Kind: r.Kind, ID: r.ID, Reason: ErrConflict}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Renew keeps a record in place of an older one with the same id, such as a
// newer card of an account. Where the one that is there has a later time, the
// error wraps ErrOlder.
func (d *Documents) Renew(ctx context.Context, r Record) error {
	return d.store.change(ctx, func(tx *sql.Tx) error {
		there, err := d.get(ctx, tx, r.Kind, r.ID)
		switch {
		case errors.Is(err, ErrNotFound):
			return d.insert(ctx, tx, &r)
		case err != nil:
			return err
		case there.Time > r.Time:
			return &DocumentError{Kind: r.Kind, ID: r.ID, Reason: ErrOlder}
		}
		return d.update(ctx, tx, &r)
	})
}

// restore keeps records that their source can give again, in one step, whatever
// stands in their places: nothing is lost where it is damaged.
func (d *Documents) restore(ctx context.Context, records []Record) error {
	return d.store.change(ctx, func(tx *sql.Tx) error {
		for i := range records {
			r := &records[i]
			there, err := d.get(ctx, tx, r.Kind, r.ID)
			switch {
			case errors.Is(err, ErrNotFound):
				err = d.insert(ctx, tx, r)
			case errors.Is(err, ErrDamaged), err == nil && !bytes.Equal(there.Document, r.Document):
				err = d.update(ctx, tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// remove takes a record away that is of no document: what was signed stays. The
// error wraps ErrNotFound.
func (d *Documents) remove(ctx context.Context, kind string, id common.Hash) error {
	return d.store.change(ctx, func(tx *sql.Tx) error {
		if _, err := d.get(ctx, tx, kind, id); errors.Is(err, ErrNotFound) {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM documents WHERE id = ?", d.row(kind, id))
		return err
	})
}

// Get gives the record of a kind with the id. The error wraps ErrNotFound or
// ErrDamaged.
func (d *Documents) Get(ctx context.Context, kind string, id common.Hash) (Record, error) {
	r, err := d.get(ctx, d.store.db, kind, id)
	if err != nil {
		return Record{}, d.store.failed(err)
	}
	return r, nil
}

// List gives the records of a kind in the order in which they came. The
// records that can be read are given even where the error, which then wraps
// ErrDamaged, names others that cannot.
func (d *Documents) List(ctx context.Context, kind string) ([]Record, error) {
	return d.records(ctx, kind, "SELECT rowid, id, sealed FROM documents WHERE list = ? ORDER BY rowid", d.list(kind))
}

// newest gives the last n records of a kind, the newest first; for the rest it
// is like List.
func (d *Documents) newest(ctx context.Context, kind string, n int) ([]Record, error) {
	return d.records(ctx, kind, "SELECT rowid, id, sealed FROM documents WHERE list = ? ORDER BY rowid DESC LIMIT ?", d.list(kind), n)
}

// records opens the rows of a kind that a query gives.
func (d *Documents) records(ctx context.Context, kind, query string, args ...any) ([]Record, error) {
	rows, err := d.store.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, d.store.failed(err)
	}
	defer rows.Close()
	var records []Record
	var damaged []error
	for rows.Next() {
		var number int64
		var row, sealed []byte
		if err := rows.Scan(&number, &row, &sealed); err != nil {
			return nil, d.store.failed(err)
		}
		r, err := d.opened(kind, number, row, sealed)
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		records = append(records, r)
	}
	if err := rows.Err(); err != nil {
		return nil, d.store.failed(err)
	}
	return records, errors.Join(damaged...)
}

// SetState moves a grant on to a state; to the one that it has is no change.
// The error wraps ErrNotFound, ErrDamaged or a *StateError, which says that it
// may not go there: from revoked, to signed.
func (d *Documents) SetState(ctx context.Context, kind string, id common.Hash, to State) error {
	return d.Change(ctx, kind, id, func(r *Record) error {
		r.State = to
		return nil
	})
}

// Change lets do change a stored record, in one step that no other process
// comes between: its state, where one may follow the other, its time, its
// document (as when a relay completes the proof of its anchor) or its answer,
// where it has none.
func (d *Documents) Change(ctx context.Context, kind string, id common.Hash, do func(*Record) error) error {
	return d.store.change(ctx, func(tx *sql.Tx) error {
		was, err := d.get(ctx, tx, kind, id)
		if err != nil {
			return err
		}
		r := was
		r.Document = bytes.Clone(was.Document)
		if err := do(&r); err != nil {
			return err
		}
		r.Kind, r.ID = kind, id
		switch {
		case !was.State.leadsTo(r.State):
			return &DocumentError{Kind: kind, ID: id, Reason: &StateError{was.State, r.State}}
		case was.Answer != r.Answer && was.Answer != (common.Hash{}):
			return &DocumentError{Kind: kind, ID: id, Reason: ErrConflict}
		}
		return d.update(ctx, tx, &r)
	})
}

func (s State) leadsTo(to State) bool {
	for _, follows := range next[s] {
		if follows == to {
			return true
		}
	}
	return s == to
}

// querier is the database, or a transaction on it.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (d *Documents) get(ctx context.Context, q querier, kind string, id common.Hash) (Record, error) {
	var number int64
	var sealed []byte
	row := d.row(kind, id)
	err := q.QueryRowContext(ctx, "SELECT rowid, sealed FROM documents WHERE id = ?", row).Scan(&number, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, &DocumentError{Kind: kind, ID: id, Reason: ErrNotFound}
	} else if err != nil {
		return Record{}, err
	}
	return d.opened(kind, number, row, sealed)
}

func (d *Documents) insert(ctx context.Context, tx *sql.Tx, r *Record) error {
	sealed, err := d.sealed(r)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO documents (list, id, sealed) VALUES (?, ?, ?)", d.list(r.Kind), d.row(r.Kind, r.ID), sealed)
	return err
}

func (d *Documents) update(ctx context.Context, tx *sql.Tx, r *Record) error {
	sealed, err := d.sealed(r)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE documents SET sealed = ? WHERE id = ?", sealed, d.row(r.Kind, r.ID))
	return err
}

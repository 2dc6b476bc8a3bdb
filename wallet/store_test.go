package wallet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

func storeAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newTestStore(t testing.TB) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data", StoreFile)
	return storeAt(t, path), path
}

func documentsOf(t testing.TB, s *Store, k *Key) *Documents {
	t.Helper()
	d, err := s.Documents(k)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func record(i int) Record {
	return Record{Kind: consent.KindGrant, ID: common.Hash{31: byte(i), 30: byte(i >> 8)}, State: Signed, Given: true, Time: 1_700_000_000 + uint64(i),
		Document: fmt.Appendf(nil, `{"assent":"grant/1","for":"a clinic","number":%d}`, i)}
}

func same(a, b Record) bool {
	return a.Kind == b.Kind && a.ID == b.ID && a.State == b.State && a.Given == b.Given && a.Time == b.Time && a.Answer == b.Answer && bytes.Equal(a.Document, b.Document)
}

func TestDocumentsOutliveTheProcessThatPutThem(t *testing.T) {
	s, path := newTestStore(t)
	k := newTestKey(t)
	d := documentsOf(t, s, k)
	want := []Record{record(1), record(2), record(3)}
	want[1].Answer, want[1].Given, want[1].State = common.Hash{9}, false, ""
	want[2].Document = []byte("two\nlines\x00and any byte \xff\n")
	if err := d.Put(t.Context(), want...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d = documentsOf(t, storeAt(t, path), k)
	got, err := d.List(t.Context(), consent.KindGrant)
	if err != nil || !slices.EqualFunc(got, want, same) {
		t.Errorf("%+v, %v: want %+v", got, err, want)
	}
	for _, r := range want {
		if got, err := d.Get(t.Context(), r.Kind, r.ID); err != nil || !same(got, r) {
			t.Errorf("%+v, %v: want %+v", got, err, r)
		}
	}
	if got, err := d.List(t.Context(), consent.KindCard); len(got) != 0 || err != nil {
		t.Errorf("%d cards, %v: want none", len(got), err)
	}
	if _, err := d.Get(t.Context(), consent.KindCard, want[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v: want ErrNotFound", err)
	}
}

func TestWalletsDoNotSeeEachOthersDocuments(t *testing.T) {
	s, _ := newTestStore(t)
	hers, his := documentsOf(t, s, newTestKey(t)), documentsOf(t, s, newTestKey(t))
	r := record(1)
	if err := hers.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got, err := his.List(t.Context(), r.Kind); len(got) != 0 || err != nil {
		t.Errorf("%v, %v: want none", got, err)
	}
	if _, err := his.Get(t.Context(), r.Kind, r.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v: want ErrNotFound", err)
	}
	// The same grant may be in both, given in one and received in the other.
	r.Given = false
	if err := his.Put(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestPutIsAllOrNothing(t *testing.T) {
	s, _ := newTestStore(t)
	d := documentsOf(t, s, newTestKey(t))
	answered := Record{Kind: consent.KindRequest, ID: common.Hash{1}, Document: []byte("request"), Answer: record(1).ID}
	if err := d.Put(t.Context(), record(1), answered); err != nil {
		t.Fatal(err)
	}
	moved := record(1)
	moved.State, moved.Time = Revoked, 0
	if err := d.Put(t.Context(), record(1), moved, answered); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if r, err := d.Get(t.Context(), consent.KindGrant, record(1).ID); err != nil || !same(r, record(1)) {
		t.Errorf("%+v, %v: want it as it was", r, err)
	}
	// A second answer to the request takes its grant down with it.
	twice := answered
	twice.Answer = record(2).ID
	err := d.Put(t.Context(), record(2), twice)
	if failed, ok := errors.AsType[*DocumentError](err); !ok || failed.Reason != ErrConflict || failed.ID != twice.ID {
		t.Errorf("%v: want ErrConflict of the request", err)
	}
	if _, err := d.Get(t.Context(), consent.KindGrant, record(2).ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v: want ErrNotFound", err)
	}
	other := record(1)
	other.Document = []byte("another")
	if err := d.Put(t.Context(), other); !errors.Is(err, ErrConflict) {
		t.Errorf("%v: want ErrConflict", err)
	}
}

// The states of many are set in steps that no other process comes between: what
// it changes at that moment stays.
func TestStatesAndChangesAtOnce(t *testing.T) {
	s, path := newTestStore(t)
	k := newTestKey(t)
	d, other := documentsOf(t, s, k), documentsOf(t, storeAt(t, path), k)
	for i := range 50 {
		r := record(i)
		r.State = Anchored
		if err := d.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		want := r
		want.State, want.Document = Revoked, []byte("with a longer proof")
		var both sync.WaitGroup
		both.Go(func() {
			if err := other.Change(t.Context(), r.Kind, r.ID, func(r *Record) error { r.Document = want.Document; return nil }); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := d.setStates(t.Context(), [][32]byte{[32]byte(d.row(r.Kind, r.ID))}, Revoked); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if got, err := d.Get(t.Context(), r.Kind, r.ID); err != nil || !same(got, want) {
			t.Fatalf("the %dth time %+v, %v", i, got, err)
		}
	}
}

func TestRenewKeepsTheNewest(t *testing.T) {
	s, _ := newTestStore(t)
	d := documentsOf(t, s, newTestKey(t))
	card := func(time uint64, name string) Record {
		return Record{Kind: consent.KindCard, ID: common.Hash{7}, Time: time, Document: []byte(name)}
	}
	for _, step := range []struct {
		put  Record
		want error
		name string
	}{
		{card(10, "first"), nil, "first"},
		{card(20, "newer"), nil, "newer"},
		{card(15, "older"), ErrOlder, "newer"},
		{card(20, "as new"), nil, "as new"},
	} {
		if err := d.Renew(t.Context(), step.put); !errors.Is(err, step.want) {
			t.Errorf("%s: %v: want %v", step.put.Document, err, step.want)
		}
		if got, err := d.List(t.Context(), consent.KindCard); err != nil || len(got) != 1 || string(got[0].Document) != step.name {
			t.Errorf("%v, %v: want one card, %s", got, err, step.name)
		}
	}
}

func TestSetState(t *testing.T) {
	s, _ := newTestStore(t)
	d := documentsOf(t, s, newTestKey(t))
	states := []State{Signed, Posted, Anchored, Revoked}
	allowed := []string{
		"signed signed", "signed posted", "signed anchored", "signed revoked",
		"posted posted", "posted anchored", "posted revoked",
		"anchored anchored", "anchored posted", "anchored revoked",
		"revoked revoked",
	}
	for i, from := range states {
		for j, to := range append(states, "", "denied") {
			r := record(10*i + j)
			r.State = from
			if err := d.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			err := d.SetState(t.Context(), r.Kind, r.ID, to)
			want := to
			if slices.Contains(allowed, string(from+" "+to)) {
				if err != nil {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			} else {
				want = from
				if refused, ok := errors.AsType[*StateError](err); !ok || *refused != (StateError{from, to}) {
					t.Errorf("%s to %s: %v: want a StateError", from, to, err)
				}
			}
			r.State = want
			if got, err := d.Get(t.Context(), r.Kind, r.ID); err != nil || !same(got, r) {
				t.Errorf("%s to %s: %+v, %v: want %+v", from, to, got, err, r)
			}
		}
	}
	if err := d.SetState(t.Context(), consent.KindGrant, common.Hash{1}, Posted); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v: want ErrNotFound", err)
	}
}

func TestChange(t *testing.T) {
	s, _ := newTestStore(t)
	d := documentsOf(t, s, newTestKey(t))
	r := record(1)
	if err := d.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	change := func(do func(*Record) error) error { return d.Change(t.Context(), r.Kind, r.ID, do) }
	if err := change(func(r *Record) error {
		r.State, r.Document, r.Answer = Anchored, []byte("with a proof"), common.Hash{5}
		r.Kind, r.ID = "another", common.Hash{} // where it stands cannot change
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.State, r.Document, r.Answer = Anchored, []byte("with a proof"), common.Hash{5}
	if err := change(func(r *Record) error { r.Answer = common.Hash{6}; return nil }); !errors.Is(err, ErrConflict) {
		t.Errorf("%v: want ErrConflict", err)
	}
	refused := errors.New("refused")
	if err := change(func(r *Record) error { r.State = Revoked; copy(r.Document, "xxx"); return refused }); !errors.Is(err, refused) {
		t.Errorf("%v: want %v", err, refused)
	}
	if got, err := d.Get(t.Context(), r.Kind, r.ID); err != nil || !same(got, r) {
		t.Errorf("%+v, %v: want %+v", got, err, r)
	}
}

// A reader of the disk learns nothing of what is in the store.
func TestTheFileTellsNothing(t *testing.T) {
	s, path := newTestStore(t)
	patient, clinic := newTestKey(t), newTestKey(t)
	grant, err := patient.SignGrant(domain, window(clinic.Address()), provisions(t, "patient/Observation.rs?category=laboratory"), nil, Epochs{})
	if err != nil {
		t.Fatal(err)
	}
	document, err := grant.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	id, p, c, root := grant.ID(), patient.Address(), clinic.Address(), grant.Root()
	answer := common.Hash{1: 77, 2: 78, 3: 79, 4: 80}
	d := documentsOf(t, s, patient)
	if err := d.Put(t.Context(), Record{Kind: consent.KindGrant, ID: id, State: Signed, Given: true, Document: document, Answer: answer}); err != nil {
		t.Fatal(err)
	}
	nonce := common.Hash{5, 6, 7, 8, 9, 10}
	if _, err := s.Remember(t.Context(), c, nonce, uint64(time.Now().Unix()+600)); err != nil {
		t.Fatal(err)
	}
	check := func() (read int) {
		t.Helper()
		files, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			read += len(content)
			for name, secret := range map[string][]byte{
				"scope": []byte("Observation"), "kind": []byte("grant/1"), "state": []byte("signed"), "id": id[:], "root": root[:],
				"patient": p[:], "clinic": c[:], "provisions": grant.Grant.Provisions[:], "signature": grant.Signature, "answer": answer[:],
				"nonce": nonce[:], "key": crypto.FromECDSA(patient.private), "store's key": patient.store[:], "index": d.index,
			} {
				lower := bytes.ToLower(content)
				if bytes.Contains(content, secret) || bytes.Contains(lower, bytes.ToLower(secret)) || bytes.Contains(lower, []byte(hex.EncodeToString(secret))) {
					t.Errorf("%s shows the %s", filepath.Base(file), name)
				}
			}
		}
		return read
	}
	if check() < len(document) {
		t.Error("the document is not in the files that were looked at")
	}
	if err := s.Close(); err != nil { // the log goes into the file
		t.Fatal(err)
	}
	check()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v: want 0600", path, info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v: want 0700", info.Mode(), err)
	}
}

func TestFilesBesideTheDatabaseAreTheOwnersAlone(t *testing.T) {
	s, path := newTestStore(t)
	if err := documentsOf(t, s, newTestKey(t)).Put(t.Context(), record(1)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v: want 0600", file, info, err)
		}
	}
}

// What is acknowledged outlives a loss of power: no test can pull the plug.
func TestCommitsAreSyncedToTheDisk(t *testing.T) {
	s, _ := newTestStore(t)
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal"} { // 2: FULL
		for range 2 { // connections of the pool
			conn, err := s.db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s, %v: want %s", pragma, got, err, want)
			}
		}
	}
}

func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	name := url.URL{Scheme: "file", Path: path, RawQuery: "_txlock=immediate&_pragma=busy_timeout(1000)"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Whoever writes to the file can neither change nor exchange documents unseen;
// the others stay readable.
func TestTamperedRowsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name, statement string
		damaged         []int64
	}{
		{"a bit", "UPDATE documents SET sealed = CAST(substr(sealed, 1, 40) || x'00' || substr(sealed, 42) AS BLOB) WHERE rowid = 2", []int64{2}},
		{"cut", "UPDATE documents SET sealed = substr(sealed, 1, 20) WHERE rowid = 2", []int64{2}},
		{"empty", "UPDATE documents SET sealed = x'' WHERE rowid = 2", []int64{2}},
		{"text", "UPDATE documents SET sealed = 'x' WHERE rowid = 2", []int64{2}},
		{"exchanged", "UPDATE documents SET sealed = was FROM (SELECT rowid AS number, sealed AS was FROM documents) WHERE number = 3 - documents.rowid AND documents.rowid < 3", []int64{1, 2}},
		{"copied over", "UPDATE documents SET sealed = (SELECT sealed FROM documents WHERE rowid = 1) WHERE rowid = 2", []int64{2}},
		{"from another kind", "UPDATE documents SET list = (SELECT list FROM documents WHERE rowid = 1) WHERE rowid = 4", []int64{4}},
		{"from another wallet", "UPDATE documents SET list = (SELECT list FROM documents WHERE rowid = 1) WHERE rowid = 5", []int64{5}},
		{"renamed", "UPDATE documents SET id = zeroblob(32) WHERE rowid = 2", []int64{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, path := newTestStore(t)
			k := newTestKey(t)
			d := documentsOf(t, s, k)
			card := Record{Kind: consent.KindCard, ID: record(1).ID, Document: []byte("card")}
			if err := d.Put(t.Context(), record(1), record(2), record(3), card); err != nil {
				t.Fatal(err)
			}
			if err := documentsOf(t, s, newTestKey(t)).Put(t.Context(), record(1)); err != nil {
				t.Fatal(err)
			}
			if done, err := raw(t, path).Exec(c.statement); err != nil {
				t.Fatal(err)
			} else if n, _ := done.RowsAffected(); n == 0 {
				t.Fatal("nothing was changed")
			}
			records, err := d.List(t.Context(), consent.KindGrant)
			var damaged []int64
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				failed, ok := errors.AsType[*DocumentError](e)
				if !ok || failed.Reason != ErrDamaged || failed.Kind != consent.KindGrant {
					t.Fatalf("%v: want ErrDamaged", e)
				}
				damaged = append(damaged, failed.Row)
			}
			if !slices.Equal(damaged, c.damaged) {
				t.Errorf("rows %v are damaged: want %v", damaged, c.damaged)
			}
			for i := 1; i <= 3; i++ {
				listed := slices.ContainsFunc(records, func(r Record) bool { return same(r, record(i)) })
				if listed == slices.Contains(c.damaged, int64(i)) {
					t.Errorf("grant %d listed: %t", i, listed)
				}
				got, err := d.Get(t.Context(), consent.KindGrant, record(i).ID)
				if err == nil && !same(got, record(i)) {
					t.Errorf("grant %d came as %+v", i, got)
				}
				if slices.Contains(c.damaged, int64(i)) == (err == nil) {
					t.Errorf("grant %d: %v", i, err)
				}
			}
		})
	}
}

func TestDamagedGrantIsNotOverwritten(t *testing.T) {
	s, path := newTestStore(t)
	d := documentsOf(t, s, newTestKey(t))
	if err := d.Put(t.Context(), record(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, path).Exec("UPDATE documents SET sealed = x'00'"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"put":   d.Put(t.Context(), record(1)),
		"renew": d.Renew(t.Context(), record(1)),
		"state": d.SetState(t.Context(), consent.KindGrant, record(1).ID, Posted),
	} {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v: want ErrDamaged", name, err)
		}
	}
}

func TestStoreErrors(t *testing.T) {
	folder := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(folder, name, StoreFile)
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	made := storeAt(t, filepath.Join(folder, "made", StoreFile))
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(made.path)
	if err != nil {
		t.Fatal(err)
	}
	newer := file("newer", good)
	if _, err := raw(t, newer).Exec("UPDATE schemas SET version = 2"); err != nil {
		t.Fatal(err)
	}
	broken := slices.Clone(good)
	clear(broken[100:4096]) // the schema
	for _, c := range []struct {
		name, path string
		want       error
	}{
		{"no database", file("text", bytes.Repeat([]byte("no database\n"), 100)), database.ErrDamaged},
		{"broken schema", file("broken", broken), database.ErrDamaged},
		{"cut", file("cut", good[:4096]), database.ErrDamaged},
		{"newer version", newer, database.ErrNewer},
		{"file for a folder", filepath.Join(newer, StoreFile), database.ErrNotWritable},
		{"folder for a file", folder, database.ErrNotWritable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := OpenStore(t.Context(), c.path)
			if err == nil { // damage may show only where it is read
				_, err = documentsOf(t, s, newTestKey(t)).List(t.Context(), consent.KindGrant)
				s.Close()
			}
			failed, ok := errors.AsType[*database.Error](err)
			if !ok || failed.Reason != c.want || failed.Name != c.path {
				t.Fatalf("%v: want %v", err, c.want)
			}
			if n := strings.Count(err.Error(), "assent wallet recover"); n > 1 || (n == 1) != (c.want == database.ErrDamaged) {
				t.Errorf("%v: the advice stands there %d times", err, n)
			}
		})
	}
}

func TestStorePathsWithSpecialCharacters(t *testing.T) {
	for _, name := range []string{"a b", "what?mode=memory", "50%", "#1", "ü & ø"} {
		path := filepath.Join(t.TempDir(), name, StoreFile)
		s := storeAt(t, path)
		if err := documentsOf(t, s, newTestKey(t)).Put(t.Context(), record(1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v: the store is elsewhere", name, err)
		}
	}
	t.Chdir(t.TempDir())
	for _, path := range []string{filepath.Join("re lative?", StoreFile), "postgres://someone@127.0.0.1:1/none", "postgresql://127.0.0.1:1/none"} {
		storeAt(t, path)
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v: the store is elsewhere", path, err)
		}
	}
}

// olderSchema is what stores were made by before their version stood in the
// table of versions, with what the first batch added.
const olderSchema = `
CREATE TABLE documents (
	list   BLOB NOT NULL,    -- which wallet's, and of which kind
	id     BLOB NOT NULL PRIMARY KEY,
	sealed BLOB NOT NULL
);
CREATE INDEX documents_by_list ON documents (list);
CREATE TABLE nonces (
	nonce BLOB NOT NULL PRIMARY KEY, -- SHA-256(grantee ‖ nonce)
	until INTEGER NOT NULL           -- unix seconds
) WITHOUT ROWID;
CREATE INDEX nonces_by_until ON nonces (until);
CREATE TABLE seen (
	domain BLOB NOT NULL,            -- EIP-712 domain separator
	entry  BLOB NOT NULL,            -- hash of a revocation secret, or a retired account
	at     INTEGER NOT NULL,         -- unix seconds
	PRIMARY KEY (domain, entry)
) WITHOUT ROWID;
PRAGMA user_version = 1;
`

const olderBatchSchema = `
CREATE TABLE IF NOT EXISTS batch_rows (
	reference BLOB NOT NULL PRIMARY KEY, -- of the row, on a network
	batch     BLOB NOT NULL,             -- that gave it
	document  BLOB NOT NULL,             -- documents.id of its grant
	content   BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO batch_rows VALUES (zeroblob(16), x'01', zeroblob(32), zeroblob(16));
`

func TestOlderStoresAreOpened(t *testing.T) {
	k := newTestKey(t)
	for name, schema := range map[string]string{"no batch": olderSchema, "a batch": olderSchema + olderBatchSchema} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), StoreFile)
			older := raw(t, path)
			if _, err := older.Exec("PRAGMA journal_mode = WAL; " + schema); err != nil {
				t.Fatal(err)
			}
			sealing := documentsOf(t, new(Store), k)
			for i := range 3 {
				r := record(i)
				row, err := sealing.sealRow(&r)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := older.Exec("INSERT INTO documents (list, id, sealed) VALUES (?, ?, ?)", row.list, row.id, row.sealed); err != nil {
					t.Fatal(err)
				}
			}
			if err := older.Close(); err != nil {
				t.Fatal(err)
			}
			for i := 3; i < 5; i++ { // at once, and once more
				s := storeAt(t, path)
				d := documentsOf(t, s, k)
				if err := d.Put(t.Context(), record(i)); err != nil {
					t.Error(err)
				}
				records, err := d.List(t.Context(), consent.KindGrant)
				if err != nil || len(records) != i+1 {
					t.Errorf("%d records, %v: want %d", len(records), err, i+1)
				}
				for i := range records {
					if !same(records[i], record(i)) {
						t.Errorf("%+v: want %+v", records[i], record(i))
					}
				}
				var version, rows int
				if err := s.db.QueryRow("SELECT version, (SELECT count(*) FROM batch_rows) FROM schemas WHERE service = 'wallet'").Scan(&version, &rows); err != nil || version != 1 || (rows == 1) != (name == "a batch") {
					t.Errorf("version %d, %d rows of batches, %v", version, rows, err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestBusyStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	s := storeAt(t, path)
	s.db.SetMaxOpenConns(1)
	if _, err := s.db.Exec("PRAGMA busy_timeout = 50"); err != nil { // of that connection
		t.Fatal(err)
	}
	d := documentsOf(t, s, newTestKey(t))
	if err := d.Put(t.Context(), record(1)); err != nil {
		t.Fatal(err)
	}
	writing, err := raw(t, path).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), record(2)); !errors.Is(err, database.ErrBusy) {
		t.Errorf("%v: want database.ErrBusy", err)
	}
	if r, err := d.Get(t.Context(), consent.KindGrant, record(1).ID); err != nil || !same(r, record(1)) {
		t.Errorf("reading beside a writer: %v", err)
	}
	if err := writing.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), record(2)); err != nil {
		t.Error(err)
	}

	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenStore(over, path); !errors.Is(err, context.Canceled) {
		t.Errorf("%v: want context.Canceled", err)
	}
	if err := d.Put(over, record(3)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v: want context.Canceled", err)
	}
}

func TestDocumentsOfAClosedKey(t *testing.T) {
	s, _ := newTestStore(t)
	k := newTestKey(t)
	k.Close()
	if _, err := s.Documents(k); !errors.Is(err, ErrClosed) {
		t.Errorf("%v: want ErrClosed", err)
	}
}

func TestRemember(t *testing.T) {
	s, path := newTestStore(t)
	later := uint64(time.Now().Unix() + 600)
	remember := func(s *Store, grantee common.Address, nonce common.Hash, until uint64) bool {
		t.Helper()
		fresh, err := s.Remember(t.Context(), grantee, nonce, until)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	if !remember(s, grantee, common.Hash{1}, later) || remember(s, grantee, common.Hash{1}, later+1) {
		t.Error("a nonce is fresh once")
	}
	if !remember(s, grantee, common.Hash{2}, later) || !remember(s, holder, common.Hash{1}, later) {
		t.Error("another nonce, and that of another, is fresh")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storeAt(t, path)
	if remember(s, grantee, common.Hash{1}, later) {
		t.Error("a nonce is forgotten when the store is closed")
	}
	if !remember(s, grantee, common.Hash{3}, 1) || !remember(s, grantee, common.Hash{4}, later) {
		t.Error("a nonce is fresh once")
	}
	var kept int
	if err := s.db.QueryRow("SELECT count(*) FROM nonces").Scan(&kept); err != nil || kept != 4 {
		t.Errorf("%d nonces are kept, %v: want 4, the past one forgotten", kept, err)
	}
}

// As consent.Holder needs it: of many at once, one is first.
func TestRememberIsOneStep(t *testing.T) {
	_, path := newTestStore(t)
	later := uint64(time.Now().Unix() + 600)
	const rounds = 20
	var fresh [rounds]atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		s := storeAt(t, path) // a handle of its own, as another process has
		all.Go(func() {
			for i := range rounds {
				first, err := s.Remember(t.Context(), grantee, common.Hash{byte(i)}, later)
				if err != nil {
					t.Error(err)
				}
				if first {
					fresh[i].Add(1)
				}
			}
		})
	}
	all.Wait()
	for i := range fresh {
		if n := fresh[i].Load(); n != 1 {
			t.Errorf("nonce %d was fresh %d times", i, n)
		}
	}
}

func TestMemory(t *testing.T) {
	s, path := newTestStore(t)
	other := consent.Domain{ChainID: 1, Registry: domain.Registry}
	saw := &consent.Memory{
		Revoked: map[common.Hash]uint64{{1}: 100, {2}: 200},
		Retired: map[common.Address]uint64{grantee: 300},
	}
	if err := s.SaveMemory(t.Context(), domain, saw); err != nil {
		t.Fatal(err)
	}
	again := &consent.Memory{Revoked: map[common.Hash]uint64{{1}: 999, {3}: 400}}
	if err := s.SaveMemory(t.Context(), domain, again); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storeAt(t, path)
	need := consent.Entries{Revocations: []common.Hash{{1}, {3}, {4}}, Accounts: []common.Address{grantee, holder}}
	memory, err := s.Memory(t.Context(), domain, need)
	if err != nil {
		t.Fatal(err)
	}
	if len(memory.Revoked) != 2 || memory.Revoked[common.Hash{1}] != 100 || memory.Revoked[common.Hash{3}] != 400 {
		t.Errorf("revoked %v", memory.Revoked)
	}
	if len(memory.Retired) != 1 || memory.Retired[grantee] != 300 {
		t.Errorf("retired %v", memory.Retired)
	}
	// A reorg that drops a revocation changes nothing.
	state := memory.State(consent.State{}, consent.State{Revoked: map[common.Hash]uint64{{1}: 0}, Retired: map[common.Address]uint64{grantee: 0}})
	if state.Revoked[common.Hash{1}] == 0 || state.Retired[grantee] == 0 {
		t.Errorf("forgotten: %+v", state)
	}
	if memory, err := s.Memory(t.Context(), other, need); err != nil || len(memory.Revoked)+len(memory.Retired) != 0 {
		t.Errorf("%+v on another network, %v", memory, err)
	}
}

// child starts this binary as a process of its own.
func child(t *testing.T, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], arguments...)
	c.Env = append(os.Environ(), childVariable+"="+name)
	c.Stderr = os.Stderr
	return c
}

func init() {
	children["write"] = writeForEver
	children["open"] = func() error {
		s, err := OpenStore(context.Background(), os.Args[1])
		if err != nil {
			return err
		}
		return s.Close()
	}
}

// writeForEver puts grants from number os.Args[3] on into the store os.Args[1]
// of the wallet os.Args[2], moves each to posted, and names each on a line once
// it has.
func writeForEver() error {
	ctx := context.Background()
	entropy, err := hex.DecodeString(os.Args[2])
	if err != nil {
		return err
	}
	k, err := NewKey(entropy)
	if err != nil {
		return err
	}
	s, err := OpenStore(ctx, os.Args[1])
	if err != nil {
		return err
	}
	d, err := s.Documents(k)
	if err != nil {
		return err
	}
	from, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	for i := from; ; i++ {
		if err := d.Put(ctx, record(i)); err != nil {
			return err
		}
		if err := d.SetState(ctx, consent.KindGrant, record(i).ID, Posted); err != nil {
			return err
		}
		if _, err := fmt.Println(i); err != nil {
			return err
		}
	}
}

// Processes that write at once are killed at any point: whatever they said was
// done is there, and everything that is there is whole.
func TestKilledWritersLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	entropy, err := NewEntropy(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(entropy)
	if err != nil {
		t.Fatal(err)
	}
	done := make(map[int]bool)
	var mu sync.Mutex
	next := 0
	for range 6 {
		var both sync.WaitGroup
		for range 2 {
			writer := child(t, "write", path, hex.EncodeToString(entropy), strconv.Itoa(next))
			next += 1000
			out, err := writer.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := writer.Start(); err != nil {
				t.Fatal(err)
			}
			last := 1 + mathrand.IntN(25)
			both.Go(func() {
				defer writer.Wait()
				lines := bufio.NewScanner(out)
				for n := 0; lines.Scan(); n++ {
					i, err := strconv.Atoi(lines.Text())
					if err != nil {
						t.Errorf("a writer says %q", lines.Text())
						return
					}
					mu.Lock()
					done[i] = true
					mu.Unlock()
					if n == last {
						writer.Process.Kill() // what it says before it is gone still counts
					}
				}
			})
		}
		both.Wait()
	}
	if len(done) < 12 {
		t.Fatalf("only %d writes were made", len(done))
	}
	records, err := documentsOf(t, storeAt(t, path), k).List(t.Context(), consent.KindGrant)
	if err != nil {
		t.Fatal(err)
	}
	stored := make(map[common.Hash]Record)
	for _, r := range records {
		stored[r.ID] = r
	}
	if len(stored) != len(records) {
		t.Errorf("%d records of %d grants", len(records), len(stored))
	}
	for i := range done {
		want := record(i)
		want.State = Posted
		if !same(stored[want.ID], want) {
			t.Errorf("grant %d is %+v: want %+v", i, stored[want.ID], want)
		}
	}
	t.Logf("%d writes acknowledged, %d records found, by 12 killed processes", len(done), len(records))
}

// Many processes that make the store at the same moment all succeed.
func TestProcessesMakeTheStoreAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", StoreFile)
	var all sync.WaitGroup
	for range 6 {
		opener := child(t, "open", path)
		all.Go(func() {
			if said, err := opener.Output(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
	all.Wait()
	storeAt(t, path)
}

// The test runs as an ordinary user, also where it is started by root, whom no
// rights hold back.
func TestReadOnlyFolder(t *testing.T) {
	folder, err := os.MkdirTemp("", "assent-read-only-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Chmod(folder, 0o700)
		os.RemoveAll(folder)
	})
	opener := child(t, "open", filepath.Join(folder, StoreFile))
	if err := asOrdinaryUser(opener, folder); err != nil {
		missing(t, "ordinary-user", err.Error())
	}
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	said, err := opener.Output()
	if err == nil || !strings.Contains(string(said), database.ErrNotWritable.Error()) || !strings.Contains(string(said), folder) {
		t.Errorf("%v: %s: want %q", err, said, database.ErrNotWritable)
	}
}

// copyProgram copies the program that a command runs into a folder.
func copyProgram(c *exec.Cmd, folder string) error {
	from, err := os.Open(c.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(folder, "program"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	c.Path = to.Name()
	return to.Close()
}

func BenchmarkPut(b *testing.B) {
	s, _ := newTestStore(b)
	k := newTestKey(b)
	d := documentsOf(b, s, k)
	document := bytes.Repeat([]byte("x"), 4096)
	for i := 0; b.Loop(); i++ {
		if err := d.Put(b.Context(), Record{Kind: consent.KindGrant, ID: common.Hash{byte(i), byte(i >> 8), byte(i >> 16)}, Document: document}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListThousand(b *testing.B) {
	s, _ := newTestStore(b)
	d := documentsOf(b, s, newTestKey(b))
	var records []Record
	for i := range 1000 {
		r := record(i)
		r.Document = bytes.Repeat([]byte("x"), 4096)
		records = append(records, r)
	}
	if err := d.Put(b.Context(), records...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.List(b.Context(), consent.KindGrant); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenStore(b *testing.B) {
	_, path := newTestStore(b)
	for b.Loop() {
		s, err := OpenStore(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

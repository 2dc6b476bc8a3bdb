package gateway

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/fhir"
)

// ownAccess is a token of the patient, for her own log.
func (w *world) ownAccess() string {
	w.Helper()
	d := w.grant(address(w.patient), ownLog)
	return w.token(w.accessAs(w.patient, d, nil, ownLog))
}

func (w *world) readLog(token string, from uint64) *consent.AuditDocument {
	w.Helper()
	s := w.askAt(fmt.Sprintf("/audit?from=%d", from), token, nil)
	if s.status != http.StatusOK || s.header.Get("Content-Type") != "application/json" {
		w.Fatalf("%d %s", s.status, s.body)
	}
	d, err := consent.ReadAudit(bytes.NewReader(s.body))
	if err != nil {
		w.Fatal(err)
	}
	return d
}

func TestPatientReadsHerLog(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		clinic, _ := w.session()
		w.counts(clinic)
		own := w.ownAccess()

		// Before there is a checkpoint.
		d := w.readLog(own, 1)
		head, proven, err := d.Check(consent.AuditHead{})
		if err != nil || proven != 0 || d.Next != 0 || d.Checkpoint.Head.Number != 0 || d.Account != address(w.patient) || d.Holder != testHolder || d.Domain != testDomain {
			t.Fatalf("%+v, %d, %v", d, proven, err)
		}
		var outcomes []string
		for _, e := range d.Entries {
			r, err := fhir.ReadAuditEvent(e.Event)
			if err != nil {
				t.Fatal(err)
			}
			outcomes = append(outcomes, r.Interaction+" "+r.Outcome)
		}
		if want := []string{"token permit", "search-type NotOwnLog", "token permit", "search-type permit"}; !slices.Equal(outcomes, want) {
			t.Errorf("%q", outcomes)
		}

		// Another patient's entries are in the same tree, and in no answer to this one.
		samira := newKey(t)
		w.enroll(samira, "samira")
		theirs := w.grantAs(samira, address(samira), func(*consent.Grant) {}, ownLog)
		w.token(w.accessAs(samira, theirs, nil, ownLog))
		if anchored, err := w.checkpoint(t.Context()); err != nil || !anchored || len(w.chain.roots) != 1 {
			t.Fatal(anchored, err)
		}
		d = w.readLog(own, head.Number+1)
		if _, proven, err := d.Check(head); err != nil || proven != head.Number || d.Checkpoint.Root != w.chain.roots[0] || d.Checkpoint.Time != w.now() {
			t.Errorf("%+v, %d, %v", d, proven, err)
		}
		if whole := w.readLog(own, 1); len(whole.Entries) != int(head.Number)+2 {
			t.Errorf("%d entries", len(whole.Entries))
		}
		if anchored, err := w.checkpoint(t.Context()); err != nil || anchored {
			t.Error("again, before its time", anchored, err)
		}
		w.clock.pass(time.Minute)
		if anchored, err := w.checkpoint(t.Context()); err != nil || !anchored || w.chain.roots[1] == w.chain.roots[0] {
			t.Error(anchored, err)
		}
		if _, proven, err := w.readLog(own, 1).Check(consent.AuditHead{}); err != nil || proven != head.Number+2 {
			t.Error(proven, err)
		}
		if found, err := CheckAudit(t.Context(), w.db); err != nil || found.Checkpoints != 2 || found.Unanchored != 0 || found.Accounts != 2 || found.Root != w.chain.roots[1] || found.Uncovered != 1 {
			t.Errorf("%+v, %v", found, err)
		}
		// Nothing changed but that this was read: once a day all the same.
		if _, err := w.checkpoint(t.Context()); err != nil {
			t.Error(err)
		}
		w.clock.pass(time.Minute)
		w.checkpoint(t.Context())
		before := len(w.chain.roots)
		w.clock.pass(heartbeat - time.Second)
		if anchored, err := w.checkpoint(t.Context()); err != nil || anchored {
			t.Error(anchored, err)
		}
		w.clock.pass(time.Second)
		if anchored, err := w.checkpoint(t.Context()); err != nil || !anchored || len(w.chain.roots) != before+1 {
			t.Error(anchored, err)
		}
	})
}

func TestLogComesInPages(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	own := w.ownAccess()
	s := sessionOf(w.accessAs(w.patient, w.grant(address(w.patient), ownLog), nil, ownLog))
	s.patient = patientID
	const entries = auditPage*2 + 100
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range entries / 10 {
				if err := w.note(context.Background(), s, notice{Interaction: "read", Outcome: fhir.Permitted, Target: "Observation/1"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	w.checkpoint(t.Context())
	var head consent.AuditHead
	var pages, read int
	var under uint64
	for from := uint64(1); from != 0; pages++ {
		d := w.readLog(own, from)
		to, proven, err := d.Check(head)
		if err != nil {
			t.Fatal(err)
		}
		head, from, under = to, d.Next, max(under, proven)
		read += len(d.Entries)
	}
	if pages != 3 || read != 1+entries+3 || under != 1+entries {
		t.Errorf("%d entries on %d pages, proven up to %d", read, pages, under)
	}
	// Beyond the end there is nothing, and no error.
	if d := w.readLog(own, 1<<40); len(d.Entries) != 0 || d.Next != 0 {
		t.Error(d)
	}
}

func TestAttackAudit(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	own := w.ownAccess()
	for _, query := range []string{"from=0", "from=-1", "from=x", "from=1&from=2", "from=99999999999999999999", "account=" + address(w.clinic).Hex(), "from=%zz", "from=1;from=2"} {
		w.refused(w.askAt("/audit?"+query, own, nil), http.StatusBadRequest, "", "BadRequest")
	}
	w.refused(w.askAt("/audit", own, func(r *http.Request) {
		r.Method = "POST"
		r.Header.Set("DPoP", w.prover.proof("POST", w.public+"/audit", own, w.Now(), nil))
	}), http.StatusMethodNotAllowed, "", "Unsupported")
	narrow := func(change func(*consent.Scope)) consent.Scope {
		scope := ownLog
		change(&scope)
		return scope
	}
	for name, scope := range map[string]consent.Scope{
		"another purpose": narrow(func(s *consent.Scope) { s.Purpose = "TREAT" }),
		"another type":    narrow(func(s *consent.Scope) { s.Resource = "Observation" }),
		"any type":        narrow(func(s *consent.Scope) { s.Resource = "*" }),
		"read alone":      narrow(func(s *consent.Scope) { s.Interactions = consent.Read }),
		"a window":        narrow(func(s *consent.Scope) { s.DataFrom = 1 }),
		"one entry":       narrow(func(s *consent.Scope) { s.Filter = "_id=1" }),
	} {
		token := w.token(w.accessAs(w.patient, w.grant(address(w.patient), scope), nil, scope))
		if s := w.ask(token, nil); s.status != http.StatusForbidden || s.outcome() != "NotOwnLog" {
			t.Errorf("%s: %d %s", name, s.status, s.body)
		}
	}
	// The very scope, given to somebody else.
	token := w.token(w.access(w.grant(address(w.clinic), ownLog), nil, ownLog))
	if s := w.ask(token, nil); s.status != http.StatusForbidden || s.outcome() != "NotOwnLog" {
		t.Errorf("%d %s", s.status, s.body)
	}
	// A patient's token opens her own log alone, whoever asks for whatever.
	samira := newKey(t)
	w.enroll(samira, "samira")
	d := w.grantAs(samira, address(samira), func(*consent.Grant) {}, ownLog)
	theirs := w.token(w.accessAs(samira, d, nil, ownLog))
	if d := w.readLog(theirs, 1); d.Account != address(samira) || len(d.Entries) != 2 {
		t.Errorf("%+v", d)
	}
}

// A checkpoint that was not anchored is anchored as it was made, by whoever comes
// next.
func TestCheckpointSurvivesACrash(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		token, _ := w.session()
		w.chain.Lock()
		w.chain.err = errBroken
		w.chain.Unlock()
		if anchored, err := w.checkpoint(t.Context()); err == nil || anchored {
			t.Fatal(anchored, err)
		}
		w.chain.Lock()
		w.chain.err = nil
		w.chain.Unlock()
		w.counts(token) // which is after it
		found, err := CheckAudit(t.Context(), w.db)
		if err != nil || found.Unanchored != 1 || found.Checkpoints != 1 || found.Uncovered != 1 || found.Root != (common.Hash{}) {
			t.Fatalf("%+v, %v", found, err)
		}
		first := w.Gateway
		w.start(func(*Config) {})
		if anchored, err := w.checkpoint(t.Context()); err != nil || anchored {
			t.Error("another gateway may be at it", anchored, err)
		}
		w.clock.pass(time.Minute)
		if anchored, err := w.checkpoint(t.Context()); err != nil || !anchored {
			t.Error(anchored, err)
		}
		if anchored, err := first.checkpoint(t.Context()); err != nil || !anchored {
			t.Error("the next, of what came meanwhile", anchored, err)
		}
		found, err = CheckAudit(t.Context(), w.db)
		if err != nil || found.Unanchored != 0 || found.Checkpoints != 2 || found.Uncovered != 0 || found.Root != w.chain.roots[1] {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

// Two gateways write to one log, each entry once and in one chain.
func TestTwoGatewaysOneLog(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		s := sessionOf(w.access(w.grant(address(w.clinic), laboratory), nil, laboratory))
		s.patient = patientID
		gateways := []*Gateway{w.Gateway}
		w.start(func(*Config) {})
		gateways = append(gateways, w.Gateway)
		const each = 50
		var group sync.WaitGroup
		for i, g := range gateways {
			for k := range 4 {
				group.Go(func() {
					for n := range each {
						if err := g.note(context.Background(), s, notice{Interaction: "read", Outcome: fhir.Permitted, Target: fmt.Sprintf("Observation/%d-%d-%d", i, k, n)}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		group.Wait()
		seen := make(map[string]bool)
		for _, e := range w.log(address(w.patient)) {
			r, err := fhir.ReadAuditEvent(e.Event)
			if err != nil {
				t.Fatal(err)
			}
			seen[r.Target] = true
		}
		if len(seen) != 2*4*each {
			t.Errorf("%d of %d notes", len(seen), 2*4*each)
		}
		if found, err := CheckAudit(t.Context(), w.db); err != nil || found.Entries != 2*4*each {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

// Whoever alters the database is found out by its operator, and by the patient
// where it was anchored.
func TestAttackDatabase(t *testing.T) {
	account := func(w *world) []byte { return address(w.patient).Bytes() }
	for name, c := range map[string]struct {
		statement string
		args      func(*world) []any
		patient   string // what she finds; empty: nothing, which is right where no entry of hers changed
	}{
		"altered event":      {"UPDATE gateway_log SET event = $1 WHERE account = $2 AND number = 2", func(w *world) []any { return []any{[]byte(`{}`), account(w)} }, "does not follow"},
		"altered last event": {"UPDATE gateway_log SET event = $1 WHERE account = $2 AND number = 4", func(w *world) []any { return []any{[]byte(`{}`), account(w)} }, "checkpoint"},
		"dropped":            {"DELETE FROM gateway_log WHERE account = $1 AND number = 2", func(w *world) []any { return []any{account(w)} }, "comes entry"},
		"last dropped":       {"DELETE FROM gateway_log WHERE account = $1 AND number = 4", func(w *world) []any { return []any{account(w)} }, "comes entry"},
		"all dropped":        {"DELETE FROM gateway_log WHERE account = $1", func(w *world) []any { return []any{account(w)} }, "comes entry"},
		"altered head":       {"UPDATE gateway_log_heads SET hash = $1 WHERE account = $2", func(w *world) []any { return []any{make([]byte, 32), account(w)} }, "does not follow"},
		"altered checkpoint": {"UPDATE gateway_checkpoints SET root = $1", func(w *world) []any { return []any{make([]byte, 32)} }, "unavailable"},
		"altered leaf":       {"UPDATE gateway_checkpoint_heads SET number = 3 WHERE account = $1", func(w *world) []any { return []any{account(w)} }, "unavailable"},
		"checkpoint dropped": {"DELETE FROM gateway_checkpoints WHERE number = 1", func(w *world) []any { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, location string) {
				w := newWorld(t, location)
				token, _ := w.session()
				w.counts(token)
				w.counts(token)
				own := w.ownAccess()
				w.checkpoint(t.Context())
				w.clock.pass(time.Minute)
				w.note(t.Context(), &session{access: &consent.AccessDocument{}}, notice{Interaction: "read", Outcome: "x"})
				w.checkpoint(t.Context())
				if found, err := CheckAudit(t.Context(), w.db); err != nil || found.Entries != 5 || found.Checkpoints != 2 {
					t.Fatalf("%+v, %v", found, err)
				}
				if _, err := w.db.Exec(c.statement, c.args(w)...); err != nil {
					t.Fatal(err)
				}
				if found, err := CheckAudit(t.Context(), w.db); err == nil {
					t.Errorf("nothing is found: %+v", found)
				}
				w.start(func(*Config) {}) // nothing is in memory
				s := w.askAt("/audit", own, nil)
				if c.patient == "unavailable" {
					w.refused(s, http.StatusServiceUnavailable, "", "Unavailable")
					return
				}
				d, err := consent.ReadAudit(bytes.NewReader(s.body))
				if err != nil {
					t.Fatalf("%s: %v", s.body, err)
				}
				_, _, err = d.Check(consent.AuditHead{})
				if c.patient == "" && err != nil || c.patient != "" && (err == nil || !strings.Contains(err.Error(), c.patient)) {
					t.Errorf("the patient finds %v, want %s", err, c.patient)
				}
			})
		})
	}
}

// Nothing is said to be written that is not, whatever ends the gateway.
func TestJournalEnds(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		s := sessionOf(w.access(w.grant(address(w.clinic), laboratory), nil, laboratory))
		s.patient = patientID
		written := make(chan string, 1000)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for n := 0; ; n++ {
					target := fmt.Sprintf("Observation/%d-%d", i, n)
					if w.note(context.Background(), s, notice{Interaction: "read", Outcome: fhir.Permitted, Target: target}) != nil {
						return
					}
					written <- target
				}
			})
		}
		for range 100 {
			<-written
		}
		go func() { // so that nobody waits for the test
			for range written {
			}
		}()
		w.Close()
		group.Wait()
		close(written)
		if err := w.journal.write(t.Context(), new(record)); err == nil {
			t.Error("it is taken after the end")
		}
		if found, err := CheckAudit(t.Context(), w.db); err != nil || found.Entries < 100 {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

// What is written together goes each to its own account's chain, however many there
// are of them.
func TestJournalOfManyAccounts(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		written := 0
		for _, n := range []int{1, 3, 1, 5, 8, 2, 70} {
			var batch []*record
			for i := range n {
				for k := range 1 + i%2 {
					event := pack(fmt.Appendf(nil, `{"of":%d,"as":%d,"among":%d}`, i, k, n))
					batch = append(batch, &record{account: common.BytesToAddress([]byte{byte(i)}), event: &event, proof: fmt.Appendf(nil, "%d %d", written, len(batch)), soon: n%2 == 0})
				}
			}
			slices.Reverse(batch)
			if err := w.journal.commit(batch); err != nil {
				t.Fatal(err)
			}
			written += len(batch)
		}
		if found, err := CheckAudit(t.Context(), w.db); err != nil || found.Accounts != 70 || found.Entries != uint64(written) {
			t.Errorf("%+v of %d, %v", found, written, err)
		}
		read := 0
		if err := ReadLog(t.Context(), w.db, func(account common.Address, e consent.AuditEntry) error {
			read++
			if of := fmt.Sprintf(`{"of":%d,`, account[len(account)-1]); !strings.HasPrefix(string(e.Event), of) {
				return fmt.Errorf("%s stands in the log of %s", e.Event, account)
			}
			return nil
		}); err != nil || read != written || read <= logPage {
			t.Error(read, err)
		}
	})
}

// A transaction that fails fails for all who wait for it, and leaves nothing.
func TestJournalFails(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		err := w.journal.commit([]*record{
			{account: address(w.patient), event: &packed{text: []byte(`{}`)}, nonce: []byte("one"), until: 1},
			{change: func(context.Context, *sql.Tx) error { return errBroken }},
		})
		if err != errBroken {
			t.Error(err)
		}
		if n := len(w.log(address(w.patient))); n != 0 {
			t.Errorf("%d entries are left of it", n)
		}
		again := &record{nonce: []byte("one"), until: 1}
		twice := &record{nonce: []byte("one"), until: 1}
		if err := w.journal.commit([]*record{again, twice}); err != nil || !again.fresh || twice.fresh {
			t.Error(err, again.fresh, twice.fresh)
		}
		if err := w.journal.commit([]*record{again}); err != nil || again.fresh {
			t.Error(err, again.fresh)
		}
	})
}

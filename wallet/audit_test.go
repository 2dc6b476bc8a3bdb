package wallet_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// holderLog is a data holder's log of one patient, as honest as its test.
type holderLog struct {
	*world
	of         *wallet.Wallet
	holder     common.Address
	entries    []consent.AuditEntry
	checkpoint consent.AuditCheckpoint
	asked      []uint64 // from which entries on it was asked
}

const pageOf = 2

// add adds entries, in each of which some observations were read.
func (l *holderLog) add(n int) {
	for range n {
		number := len(l.entries) + 1
		event, err := json.Marshal(wallet.Use{
			Holder: l.holder, Time: uint64(1_800_000_000 + number), Grantee: common.Address{9}, Interaction: "search-type",
			Target: "Observation?category=laboratory", Outcome: wallet.UsePermitted, Purpose: "TREAT", Released: map[string]int{"Observation": number},
		})
		if err != nil {
			l.Fatal(err)
		}
		l.entries = append(l.entries, consent.AuditEntry{Number: uint64(number), Event: event})
	}
	l.chain()
}

// chain makes the entries into one chain.
func (l *holderLog) chain() {
	var previous common.Hash
	for i := range l.entries {
		l.entries[i].Previous = previous
		previous = l.entries[i].Hash()
	}
}

// seal makes a checkpoint over all entries, with another patient's beside it.
func (l *holderLog) seal(anchored bool) {
	last := l.entries[len(l.entries)-1]
	head := consent.AuditHead{Number: last.Number, Hash: last.Hash()}
	tree := consent.NewTree([]common.Hash{head.Leaf(l.of.Signer.Address()), consent.AuditHead{Number: 1}.Leaf(common.Address{7})})
	l.checkpoint = consent.AuditCheckpoint{Head: head, Time: last.Number, Proof: tree.Proof(0), Root: tree.Root()}
	if anchored {
		if _, err := l.of.Registry.Anchor(l.Context(), tree.Root()); err != nil {
			l.Fatal(err)
		}
	}
}

func (l *holderLog) page(_ context.Context, from uint64) (*consent.AuditDocument, error) {
	l.asked = append(l.asked, from)
	d := &consent.AuditDocument{Domain: l.of.Domain, Holder: l.holder, Account: l.of.Signer.Address(), Checkpoint: l.checkpoint}
	rest := l.entries[min(int(from)-1, len(l.entries)):]
	d.Entries = rest[:min(pageOf, len(rest))]
	if len(rest) > pageOf {
		d.Next = from + pageOf
	}
	return d, nil
}

func (l *holderLog) audit() (wallet.Trail, error) {
	l.asked = nil
	return l.of.Audit(l.Context(), l.holder, wallet.Log{Page: l.page, Read: func(event []byte) (use wallet.Use, grantor common.Address, err error) {
		return use, l.of.Signer.Address(), json.Unmarshal(event, &use)
	}})
}

// honest gives a log whose first three entries of five are proven on chain, and
// which the patient followed.
func honest(w *world) *holderLog {
	w.Helper()
	l := &holderLog{world: w, of: w.wallet(nil), holder: common.Address{5}}
	l.add(3)
	l.seal(true)
	l.add(2)
	trail, err := l.audit()
	if err != nil || trail.Seen.Number != 5 || trail.Proven.Number != 3 || trail.Anchored == 0 {
		w.Fatal(trail, err)
	}
	return l
}

// What a data holder rewrote before the patient looked for the first time is
// proven since the root over that, and no longer, whatever stood under a root
// before.
func TestAuditSince(t *testing.T) {
	w := newWorld(t)
	l := &holderLog{world: w, of: w.wallet(nil), holder: common.Address{5}}
	l.add(3)
	l.seal(true)
	first := l.checkpoint.Root
	l.entries = slices.Delete(l.entries, 0, 1)
	for i := range l.entries {
		l.entries[i].Number = uint64(i + 1)
	}
	l.add(1)
	l.seal(true)
	trail, err := l.audit()
	if err != nil || trail.Proven.Number != 3 {
		t.Fatal(trail, err)
	}
	state, err := l.of.Registry.Read(t.Context(), consent.Entries{Anchors: []common.Hash{first, trail.Root}})
	if err != nil || trail.Anchored != state.Anchored[trail.Root] || trail.Anchored <= state.Anchored[first] {
		t.Errorf("%+v, %v: the first root is of %d", trail, err, state.Anchored[first])
	}
}

func TestAudit(t *testing.T) {
	w := newWorld(t)
	l := honest(w)
	if want := []uint64{1, 3, 5}; !slices.Equal(l.asked, want) {
		t.Errorf("it was asked for the entries from %v on, want %v", l.asked, want)
	}
	// A root that is named and not anchored proves nothing.
	l.add(1)
	l.seal(false)
	trail, err := l.audit()
	if err != nil || trail.Seen.Number != 6 || trail.Proven.Number != 3 || trail.Pending != 6 {
		t.Errorf("under a root that is not on chain: %+v, %v", trail, err)
	}
	l.seal(true)
	if trail, err = l.audit(); err != nil || trail.Proven.Number != 6 || trail.Pending != 0 || trail.Root != l.checkpoint.Root {
		t.Errorf("under a root on chain: %+v, %v", trail, err)
	}
	all, err := l.of.Audited(t.Context())
	if err != nil || len(all) != 1 || all[0].Holder != l.holder || all[0].Trail != trail || len(all[0].Uses) != 6 || all[0].Uses[5].Number != 6 {
		t.Errorf("the wallet keeps %+v, %v", all, err)
	}
	// What the store lost is there again once the log was followed.
	db, err := sql.Open("sqlite", w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DELETE FROM documents WHERE rowid % 2 = 0; UPDATE documents SET sealed = x'00'"); err != nil {
		t.Fatal(err)
	}
	if again, err := l.audit(); err != nil || again.Proven != trail.Proven || again.Seen != trail.Seen {
		t.Errorf("after a loss: %+v, %v", again, err)
	}
	if all, err := l.of.Audited(t.Context()); err != nil || len(all) != 1 || len(all[0].Uses) != 6 {
		t.Errorf("after a loss the wallet keeps %+v, %v", all, err)
	}
	// Nobody else's wallet knows of it.
	if others, err := w.wallet(nil).Audited(t.Context()); err != nil || len(others) != 0 {
		t.Error(others, err)
	}
}

// TestAuditShowsTampering: whatever a data holder does to a log that was seen,
// the patient sees, and keeps what she knew.
func TestAuditShowsTampering(t *testing.T) {
	seen := honest(newWorld(t))
	for _, c := range []struct {
		name, want string
		do         func(l *holderLog)
	}{
		{"an entry after the root rewritten", "another than when it was first seen", func(l *holderLog) {
			l.entries[3].Event = []byte(strings.Replace(string(l.entries[3].Event), "TREAT", "HMARKT", 1))
			l.chain()
		}},
		{"an entry under the root altered in place", "does not follow", func(l *holderLog) {
			l.entries[1].Event = []byte(strings.Replace(string(l.entries[1].Event), "TREAT", "HMARKT", 1))
		}},
		{"an entry under the root rewritten", "not the one whose hash", func(l *holderLog) {
			l.entries[1].Event = []byte(strings.Replace(string(l.entries[1].Event), "TREAT", "HMARKT", 1))
			l.chain()
		}},
		{"an entry dropped", "comes entry", func(l *holderLog) { l.entries = slices.Delete(l.entries, 3, 4) }},
		{"the end cut off", "ends with entry 4", func(l *holderLog) { l.entries = l.entries[:4] }},
		{"all cut off", "ends with entry 3", func(l *holderLog) { l.entries = l.entries[:3] }},
		{"the checkpoint gone", "checkpoint has 0 entries", func(l *holderLog) { l.checkpoint = consent.AuditCheckpoint{} }},
		{"the checkpoint of another", "not proven under the root", func(l *holderLog) { l.checkpoint.Proof[0][0] ^= 1 }},
		{"all rewritten, with a new root", "another than when it was first seen", func(l *holderLog) {
			l.entries[1].Event = []byte(strings.Replace(string(l.entries[1].Event), "TREAT", "HMARKT", 1))
			l.chain()
			l.seal(false)
		}},
		{"a new root over another log", "not the one whose hash", func(l *holderLog) {
			l.add(1)
			l.seal(false)
			l.entries[5].Event = []byte(strings.Replace(string(l.entries[5].Event), "TREAT", "HMARKT", 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := *seen
			l.entries, l.checkpoint.Proof = slices.Clone(seen.entries), slices.Clone(seen.checkpoint.Proof)
			before, err := l.of.Audited(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.do(&l)
			_, err = l.audit()
			if tampered, ok := errors.AsType[*wallet.TamperedError](err); !ok || !strings.Contains(tampered.What, c.want) {
				t.Errorf("it says %v, want tampering with %q", err, c.want)
			}
			after, err := l.of.Audited(t.Context())
			if err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("what it knew is now %+v, %v", after, err)
			}
		})
	}
	long := *seen
	long.entries = append(slices.Clone(seen.entries), consent.AuditEntry{Number: 6, Event: []byte(`{"Holder":"` + seen.holder.Hex() + `","Outcome":"` + strings.Repeat("x", 1000) + `"}`)})
	long.chain()
	if _, err := long.audit(); err == nil || !strings.Contains(err.Error(), "entry 6 of the log: it says more") {
		t.Errorf("an entry that says too much: %v", err)
	}
	// Whoever asks for many purposes, and is denied, closes nobody's log by it.
	many := *seen
	many.entries = append(slices.Clone(seen.entries), consent.AuditEntry{Number: 6, Event: []byte(`{"Holder":"` + seen.holder.Hex() + `","Purpose":"` + strings.Repeat("TREAT HRESCH ", 1000) + `"}`)})
	many.chain()
	if _, err := many.audit(); err != nil {
		t.Errorf("an entry with many purposes: %v", err)
	}
	l := *seen
	l.holder = common.Address{6}
	if _, err := l.audit(); err == nil || !strings.Contains(err.Error(), "not about this wallet's record") {
		t.Errorf("events of another data holder: %v", err)
	}
	_, err := l.of.Audit(t.Context(), common.Address{8}, wallet.Log{Page: l.page})
	if err == nil || !strings.Contains(err.Error(), "answers with the log of account") {
		t.Errorf("the log of another data holder: %v", err)
	}
}

// TestAuditGrant: the grant to oneself that opens a log is the only one to
// oneself that can be made, and is found again while it counts.
func TestAuditGrant(t *testing.T) {
	w := newWorld(t)
	of, holder := w.wallet(nil), common.Address{5}
	own := w.draft(of.Signer.Address(), "patient/Observation.rs")
	if _, err := of.Grant(t.Context(), own); err == nil || !strings.Contains(err.Error(), "this wallet itself") {
		t.Errorf("a grant of one's record to oneself: %v", err)
	}
	if found, err := of.AuditGrant(t.Context(), holder); found != nil || err != nil {
		t.Error(found, err)
	}
	draft := of.AuditDraft(holder)
	if risks := draft.Risks(false); len(risks) > 0 {
		t.Errorf("its risks are %v", risks)
	}
	grant, err := of.Grant(t.Context(), draft)
	if err != nil {
		t.Fatal(err)
	}
	found, err := of.AuditGrant(t.Context(), holder)
	if err != nil || found == nil || found.ID() != grant.ID() {
		t.Fatal(found, err)
	}
	if elsewhere, err := of.AuditGrant(t.Context(), common.Address{6}); elsewhere != nil || err != nil {
		t.Error("at another data holder it is", elsewhere, err)
	}
	access, err := of.AuditAccess(t.Context(), found, holder, common.Hash{1})
	if err != nil || access.Access.Binding != (common.Hash{1}) {
		t.Fatal(access, err)
	}
	examination := consent.Examine(access, nil)
	state, err := of.Registry.Read(t.Context(), examination.Entries())
	if err != nil {
		t.Fatal(err)
	}
	if verdict, err := examination.Decide(state, uint64(time.Now().Unix())); err != nil || verdict.Outcome != consent.Permit {
		t.Error(verdict, err)
	}
	end, err := of.RevokeGrant(t.Context(), grant)
	if err == nil {
		err = of.Revoke(t.Context(), end)
	}
	if err != nil {
		t.Fatal(err)
	}
	if found, err := of.AuditGrant(t.Context(), holder); found != nil || err != nil {
		t.Error("revoked, and found", found, err)
	}
}

func TestTell(t *testing.T) {
	labs := wallet.Use{Interaction: "search-type", Target: "Observation?category=laboratory&_count=100", Outcome: wallet.UsePermitted, Released: map[string]int{"Observation": 26}, Purpose: "TREAT", Time: 1000}
	with := func(change func(*wallet.Use)) wallet.Use {
		u := labs
		change(&u)
		return u
	}
	for _, c := range []struct {
		use  wallet.Use
		want string
	}{
		{labs, "read 26 laboratory results"},
		{with(func(u *wallet.Use) { u.Target = "Patient/p1/Observation?category=laboratory" }), "read 26 laboratory results"},
		{with(func(u *wallet.Use) { u.Target = "Observation" }), "read 26 measurements and observations"},
		{with(func(u *wallet.Use) { u.Target, u.Interaction = "Patient/p1/$everything", "operation" }), "read 26 measurements and observations"},
		{with(func(u *wallet.Use) { u.Released = map[string]int{"Condition": 2, "Observation": 3} }), "read 3 laboratory results, 2 conditions"},
		{with(func(u *wallet.Use) { u.Released = map[string]int{"Observation": -3, "\x1b[2J": 2} }), "read 2 records of the kind “[2J”"},
		{with(func(u *wallet.Use) { u.Released = nil }), "looked for laboratory results and was shown nothing"},
		{with(func(u *wallet.Use) {
			u.Target, u.Interaction, u.Released = "Observation/1", "read", map[string]int{"Observation": 1}
		}), "read one of the measurements and observations"},
		{with(func(u *wallet.Use) {
			u.Target, u.Interaction, u.Released = "Patient/1", "read", map[string]int{"Patient": 1}
		}), "read name, birth date, address and other personal details"},
		{with(func(u *wallet.Use) { u.Target, u.Interaction, u.Released = "Condition/1", "delete", nil }), "deleted conditions"},
		{with(func(u *wallet.Use) { u.Outcome = "Revoked" }), "asked for laboratory results and was denied: the grant had been taken back"},
		{with(func(u *wallet.Use) {
			u.Outcome, u.Interaction, u.Target = "Revoked", wallet.UseToken, "patient/Observation.rs?category=laboratory patient/Condition.rs"
		}), "asked for laboratory results, conditions and was denied: the grant had been taken back"},
		{with(func(u *wallet.Use) {
			u.Outcome, u.Interaction, u.Target = "Revoked", wallet.UseToken, "patient/Condition.rs patient/Obser"
		}), "asked for conditions and was denied: the grant had been taken back"},
		{with(func(u *wallet.Use) { u.Outcome = "UpstreamFailed" }), "asked for laboratory results and was denied: the data holder could not answer"},
		{with(func(u *wallet.Use) { u.Target, u.Outcome = "\x1b[31m\n", "x\n”y" }), "asked for “[31m ” and was denied: “x \"y”"},
	} {
		told := wallet.Tell([]wallet.Use{c.use})
		if len(told) != 1 || told[0].Did != c.want || strings.ContainsAny(told[0].Did, "\n\x1b") {
			t.Errorf("%+v is told as %+v, want %q", c.use, told, c.want)
		}
	}
	for purpose, want := range map[string]string{"TREAT": "treatment", "TREAT HRESCH": "treatment, research", "SPYING TREAT": "“SPYING”, treatment"} {
		told := wallet.Tell([]wallet.Use{with(func(u *wallet.Use) { u.Purpose = purpose })})
		if got := told[0].For(); got != want {
			t.Errorf("%s is told as for %s, want %s", purpose, got, want)
		}
	}
	token := with(func(u *wallet.Use) { u.Interaction = wallet.UseToken })
	later := with(func(u *wallet.Use) { u.Time, u.Number = 1300, 3 })
	much := with(func(u *wallet.Use) { u.Time = 5000 })
	own := with(func(u *wallet.Use) { u.Target, u.Released = "AuditEvent", nil })
	told := wallet.Tell([]wallet.Use{token, labs, own, later, much})
	if len(told) != 2 || told[0].Did != "read 52 laboratory results" || told[0].Entries != 2 || told[0].Last != 3 || told[1].Did != "read 26 laboratory results" {
		t.Errorf("pages of an answer are told as %+v", told)
	}
	if labs.Released["Observation"] != 26 {
		t.Error("telling it changed it")
	}
}

package tui

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

const (
	labs = "patient/Observation.rs?category=laboratory"
	meds = "patient/MedicationRequest.rs"
	cond = "patient/Condition.rs"
)

// The thread of the app: a request is narrowed and signed, seen anchored, and
// taken back.
func TestApproveNarrowedThenRevoke(t *testing.T) {
	r := newRig(t, Look{})
	clinic := r.other("Cardiology clinic")
	request := r.asks(clinic, "pre-operative review", nil, labs, meds, cond)
	r.start().see("You gave nobody access", "block 1,204", "local")
	r.keys("1").see("Nobody asks for anything")
	r.paste(textOf(t, request)).see("the request waits", "“Cardiology clinic”", "first request from this key", "Requests 1")
	r.keys("enter").see("“pre-operative review”", "[x] read and search laboratory results", "until: ◂ 22 Dec 2026", "(as asked)", "may pass it on: no")
	r.keys("down", "down", " ").see("[ ] not given: read and search conditions")
	r.keys("up", "enter").see("Narrow: ", "only dated from: the beginning")
	r.keys("down", "down", "enter").see("Only data dated from which day on?")
	r.text("2025-13-01").keys("enter").see("want a day such as")
	r.keys("ctrl+u").text("2025-01-01").keys("enter").see("only dated from: 1 Jan 2025")
	r.keys("esc", "down", "down", "down", "left").see("(90 days)") // beyond what was asked: no later than that
	r.keys("left", "left").see("◂ 29 Nov 2026 ▸ (7 days)")
	if len(r.door.signer.signed()) != 0 {
		t.Fatal("signed without a confirmation")
	}
	r.keys("s").see("You would sign", "▸ No", "dated 1 January 2025 or later")
	r.keys("enter").see("nothing was done: the answer was no", "until: ◂ 29 Nov 2026")
	if len(r.door.signer.signed()) != 0 {
		t.Fatal("signed though the answer was no")
	}
	gate := make(chan struct{})
	r.door.ledger.gate = gate
	r.keys("s", "right")
	r.step(keyMsg("enter"))
	r.settleBut("post")
	r.see("✓ signing", "… sent: waiting for the chain", "It does not count before it is anchored").unseen("✓ anchored", "It counts from now on")
	close(gate)
	r.settle()
	r.see("✓ sent", "✓ anchored in block 1,205 (1 confirmation)", "It counts from now on")
	r.door.ledger.set(func(l *ledger) { l.block += 2 })
	r.step(tickMsg{})
	r.settle()
	r.see("(3 confirmations)")
	r.keys("w").see("written to /home/pat/0x")

	signed := r.door.signer.signed()
	if len(signed) != 1 {
		t.Fatalf("%d grants were signed", len(signed))
	}
	g := signed[0]
	if g.Grant.Grantee != clinic.Signer.Address() || g.Grant.Expires != uint64(began.Add(7*dayLong).Unix()) || len(g.Provisions) != 2 {
		t.Errorf("signed: %+v", g)
	}
	for _, o := range g.Provisions {
		if o.Provision.Scope.Resource == "MedicationRequest" && o.Provision.Scope.DataFrom != uint64(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Unix()) {
			t.Errorf("signed without the date: %+v", o.Provision.Scope)
		}
	}
	r.keys("esc", "2").see("active", "“Cardiology cli…”", "laboratory results").unseen("Requests 1")
	r.keys("r").see("Take back?", "1 grant that count", "next block", "▸ No")
	r.keys("right", "enter").see("revoked", "Ended the grant to", "1 grant")
	r.keys("esc").see("revoked")
	r.keys("r").see("it is revoked already")
	r.keys("3").see("revoked: the grant with “Cardiology clinic”", "anchored", "you signed a grant to", "asked you:")
	if got := r.grants()[0].Verdict.Outcome; got != consent.Revoked {
		t.Errorf("the grant is %v", got)
	}
}

func TestDeny(t *testing.T) {
	r := newRig(t, Look{})
	request := r.asks(r.other("School"), "", nil, labs)
	r.takes(request)
	r.start().keys("1", "d").see("Deny?", "Nothing is signed").keys("right", "enter").see("denied: nothing was signed", "Nobody asks")
	r.paste(textOf(t, request)).see("not taken: you denied this request on 22 November 2026")
	r.keys("3").see("you denied a request of “School”")
	if len(r.door.signer.signed()) != 0 {
		t.Error("a denial was signed")
	}
}

func TestWideScopesNeedTheWord(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Study"), "", func(q *consent.Request) {
		q.Scopes[0].Sensitivities = consent.Genetic | consent.HIV
		q.Holders = []common.Address{{}}
	}, "patient/*.rs"))
	r.start().keys("1", "enter").see("sensitive: 0 of the 2 asked for", "[x] any data holder")
	r.keys("enter").see("[ ] sensitive: HIV/AIDS", "[ ] sensitive: genetic disease").unseen("alcohol")
	r.keys("end", " ", "esc").see("sensitive: 1 of the 2")
	r.keys("s").size(80, 50).see("Risk any-resource", "Risk genetic", "Risk any-holder").unseen("Risk hiv")
	r.keys("right").see("Type “accept”")
	for _, word := range []string{"", "yes", "accep", "acceptt"} {
		r.keys("ctrl+u").text(word).keys("enter").see("type accept first")
	}
	if len(r.door.signer.signed()) != 0 {
		t.Fatal("signed without the word")
	}
	r.keys("ctrl+u").text("accept").keys("enter").see("✓ anchored")
	if n := len(r.door.signer.signed()); n != 1 {
		t.Errorf("%d grants were signed", n)
	}
}

func TestAConfirmationIsReadToItsEnd(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Clinic"), "", func(q *consent.Request) {
		for range 40 {
			q.Scopes = append(q.Scopes, q.Scopes[0])
		}
		for i := range q.Scopes {
			q.Scopes[i].DataFrom = uint64(1000 + i)
		}
	}, labs))
	r.start().size(60, 16).keys("1", "enter", "s").see("more below")
	r.keys("right").see("read it to the end first").see("▸ No")
	r.keys("enter").see("the answer was no")
	if len(r.door.signer.signed()) != 0 {
		t.Fatal("signed unread")
	}
	r.keys("s")
	for range 60 {
		r.keys("pgdown")
	}
	r.keys("right").see("▸ Yes, sign").keys("enter").see("✓ anchored")
}

func TestRevokeOnePersonAndEverything(t *testing.T) {
	r := newRig(t, Look{})
	a, b := r.other("Ada"), r.other("Ben")
	for range 3 {
		r.gives(a, -1, 30, labs)
	}
	r.gives(b, -1, 40, meds)
	r.gives(b, 3, 40, meds)
	r.start().see("Access 4", "not yet")
	r.keys("p").see("everything that you gave to", "“Ada”", "3 grants", "laboratory results, until 22 Dec 2026").keys("right", "enter").see("revoked", "3 grants")
	r.keys("esc").see("Access 1")
	r.keys("E").see("everything that you ever gave, to anybody", "2 grants").keys("right", "enter", "esc").unseen("active")
	for _, g := range r.grants() {
		if g.Verdict.Outcome != consent.Revoked {
			t.Errorf("a grant is %v", g.Verdict.Outcome)
		}
	}
}

func TestGrantOnYourOwn(t *testing.T) {
	r := newRig(t, Look{})
	card, err := r.other("Eye clinic").Card(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	r.start().keys("4").see("Nobody is known yet").paste(textOf(t, card)).see("“Eye clinic”", "not verified", "the card is kept")
	r.keys("v").see("compare every digit", card.Card.Account.Hex()).keys("right", "enter").see("verified", "You compared its address on 22 Nov 2026")
	r.keys("2", "n").see("Give to whom?", "“Eye clinic”").keys("enter").see("laboratory results", "patient/Observation.rs?category=laboratory", "everything that is not sensitive", "for: ◂ treatment ▸")
	r.keys("enter").see("choose with space").keys("right", " ", "down", "down", " ", "enter").see("coordination of care", "[x] read and search allergies", "(30 days)")
	r.keys("s").see("Risk any-holder").keys("right").text("accept").keys("enter").see("✓ anchored")
	g := r.door.signer.signed()[0]
	if len(g.Provisions) != 2 || g.Provisions[0].Provision.Scope.Purpose != "COC" || g.Grant.Expires != uint64(began.Add(30*dayLong).Unix()) {
		t.Errorf("signed: %+v", g.Grant)
	}
}

func TestFirstRun(t *testing.T) {
	r := newRig(t, Look{})
	r.door.wallet, r.door.status.Wallet, r.door.status.Profile = nil, "", wallet.Profile{}
	r.start().see("Welcome to Assent", "What it is:").size(80, 40).see("What it is not", "m makes a wallet")
	r.keys("N").see("Which network?", "local (in use)").keys("down", "enter").see("network: clinic")
	r.keys("N", "up", "enter").see("network: local")
	r.keys("m").see("in the keyring of this computer").keys("enter").see("Write these words on paper", "24 ")
	phrase, err := wallet.Phrase(r.door.kept)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(phrase)
	r.see(words[0], words[23]).keys("q").see("write the words down first")
	if r.ended {
		t.Fatal("q quits over the words")
	}
	r.keys("enter").see("Word 3").text("noword").keys("enter").see("That is another word").unseen(words[5])
	r.keys("esc").see(words[23]).keys("enter")
	for _, i := range []int{2, 12, 22} {
		r.text(words[i]).keys("enter")
	}
	if !r.door.backedUp {
		t.Error("the backup was not remembered")
	}
	r.see("the phrase is on paper", "You gave nobody access").keys("5").see("done: the phrase is on paper", "unlocked").unseen(words[0] + " ")
	if n := len(r.door.signer.signed()); n != 0 {
		t.Errorf("%d grants were signed", n)
	}
}

func TestBackUpLater(t *testing.T) {
	r := newRig(t, Look{})
	r.door.wallet, r.door.status.Wallet, r.door.status.Profile = nil, "", wallet.Profile{}
	r.start().keys("m", "enter", "L").see("no backup yet").keys("5").see("not done: press b")
	r.keys("b").see("Show the recovery phrase?").keys("enter").see("the answer was no")
	phrase, err := wallet.Phrase(r.door.kept)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(phrase)
	r.keys("b", "right", "enter").see(words[0], words[23]).keys("enter")
	for _, i := range []int{2, 12, 22} {
		r.text(words[i]).keys("enter")
	}
	r.see("done: the phrase is on paper").keys("b").see("the phrase is on paper; “assent wallet export”")
}

func TestRestoreInAFile(t *testing.T) {
	r := newRig(t, Look{})
	r.door.wallet, r.door.status.Wallet, r.door.status.Profile = nil, "", wallet.Profile{}
	phrase, err := wallet.Phrase(seed("patient"))
	if err != nil {
		t.Fatal(err)
	}
	r.start().keys("r").text("one two three").keys("enter").see("has 3 words")
	r.keys("ctrl+u").paste(phrase).keys("enter", "down", "enter").see("A password for the file")
	r.text("short").keys("enter").see("at least 8").keys("ctrl+u").text("long enough").see("•••").unseen("long enough").keys("enter")
	r.text("long enoug").keys("enter").see("another one").text("h").keys("enter")
	r.see("The password of the wallet default").text("guess").keys("enter").see("the password is wrong")
	r.keys("u").text("long enough").keys("enter").see("You gave nobody access")
	if !r.door.restored {
		t.Error("it is not known to be restored")
	}
}

func TestKeysThatCannotActSayWhy(t *testing.T) {
	r := newRig(t, Look{})
	r.start()
	for _, c := range []struct{ screen, key, why string }{
		{"1", "enter", "nobody asks for anything"},
		{"1", "d", "nobody asks for anything"},
		{"2", "enter", "no grant is chosen"},
		{"2", "r", "no grant is chosen"},
		{"2", "p", "no grant is chosen"},
		{"3", "enter", "nothing happened yet"},
		{"4", "v", "nobody is known yet"},
	} {
		r.keys(c.screen, c.key).see(c.why)
	}
	r.keys("2", "?").see("All keys here", "take back everything", "not now: no grant is chosen").keys("?").unseen("All keys here")
	r.keys("tab").see("[Activity]").keys("shift+tab", "shift+tab").see("[Requests]")
	r.keys("q").quits()
}

func TestLettersAreTypedAndNotKeys(t *testing.T) {
	r := newRig(t, Look{})
	r.gives(r.other("Quinn"), -1, 30, labs)
	r.gives(r.other("Ada"), -1, 30, meds)
	r.start().keys("/").text("q").see("“Quinn”", "1 of 2").unseen("“Ada”")
	if r.ended {
		t.Fatal("q quits while typing")
	}
	r.text("?1").see("0 of 2", "No grant is like that").keys("esc").see("“Ada”").unseen("of 2")
	r.keys("/").text("MEDIC active").see("“Ada”").unseen("“Quinn”").keys("enter", "r").see("the grant to the key that calls itself “Ada”")
	r.keys("esc", "esc").see("“Quinn”").keys("/", "ctrl+c").quits()
}

func TestExpiryIsSeenWithoutAKey(t *testing.T) {
	r := newRig(t, Look{})
	r.gives(r.other("Ada"), -1, 2, labs)
	r.gives(r.other("Ben"), 1, 30, labs)
	r.start().see("ends in 2 d", "not yet", "Access 1 (1 soon)")
	r.pass(25 * time.Hour)
	r.step(tickMsg{})
	r.settle()
	r.see("Access 2 (1 soon)", "ends in 23 h", "active").unseen("not yet")
	r.pass(24 * time.Hour)
	r.step(tickMsg{})
	r.settle()
	r.see("expired", "Access 1").unseen("soon")
}

func TestARevocationElsewhereIsSeenWithoutAKey(t *testing.T) {
	r := newRig(t, Look{})
	grant := r.gives(r.other("Ada"), -1, 30, labs)
	r.start().see("active")
	elsewhere, err := r.door.wallet.RevokeGrant(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.door.wallet.Registry.Revoke(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := r.door.wallet.Revoke(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Minute)
	r.step(tickMsg{})
	r.settle()
	r.see("revoked", "block 1,207")
}

func TestADeadChainFreezesNothing(t *testing.T) {
	r := newRig(t, Look{})
	r.gives(r.other("Ada"), -1, 30, labs)
	r.start()
	r.door.ledger.set(func(l *ledger) { l.err = errDown })
	r.pass(time.Minute)
	r.step(tickMsg{})
	r.settle()
	r.see("does not answer: it is down", "“Ada”", "active") // what was known stays
	r.keys("r").see("nothing was taken back: it is down")
	r.door.ledger.set(func(l *ledger) { l.err, l.silent = nil, true })
	r.step(keyMsg("r")) // nobody answers
	r.see("finding out what that ends")
	for range 5 {
		r.step(keyMsg("tab"))
		r.step(keyMsg("down"))
	}
	r.step(keyMsg("?"))
	r.see("All keys here")
	r.step(keyMsg("?"))
	r.m.giveUp("revoke")
	r.door.ledger.set(func(l *ledger) { l.silent = false })
	r.pass(time.Minute)
	r.step(tickMsg{})
	r.settle()
	r.unseen("does not answer")
}

func TestADeadChainAtTheStart(t *testing.T) {
	r := newRig(t, Look{})
	r.gives(r.other("Ada"), -1, 30, labs)
	r.door.ledger.set(func(l *ledger) { l.err = errDown })
	r.start().see("unknown", "“Ada”", "nothing is known of any grant: it is down").unseen("active", "Access 1")
	r.keys("enter").see("unknown").keys("esc", "r").see("nothing was taken back: it is down")
	r.door.ledger.set(func(l *ledger) { l.err = nil })
	r.pass(time.Minute)
	r.step(tickMsg{})
	r.settle()
	r.see("active", "Access 1").unseen("nothing is known", "unknown")
}

func TestARequestThatIsTooLate(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.pass(31 * dayLong)
	r.start().see("too late: what it asks for ended on 22 Dec 2026").keys("enter", "s").see("the grant would have ended already")
}

func TestAKeyringThatNobodyAnswersFreezesNothing(t *testing.T) {
	r := newRig(t, Look{})
	r.door.stuck = make(chan struct{})
	r.run(r.m.Init())
	r.settleBut("open")
	r.see("waiting for the keyring: a window may ask")
	r.step(keyMsg("n"))
	r.see("the wallet is still being unlocked")
	r.step(keyMsg("5"))
	r.see("waiting for it")
	r.step(keyMsg("u"))
	r.see("it is being unlocked: look for a window")
	// The answer that comes after it was given up is closed and shown nowhere.
	r.m.giveUp("open")
	close(r.door.stuck)
	limit := time.After(patience)
	for closed := 0; closed == 0; {
		select {
		case msg := <-r.msgs:
			r.step(msg)
		case <-limit:
			t.Fatal("the session of a stale answer stays open")
		default:
		}
		r.door.mu.Lock()
		closed = r.door.closed
		r.door.mu.Unlock()
	}
	if r.m.session != nil {
		t.Error("a stale answer was taken")
	}
}

func TestALockedKeyringSaysWhatToDo(t *testing.T) {
	r := newRig(t, Look{})
	r.door.keyErr = &wallet.SecretError{Place: "the keyring", Wallet: "default", Reason: wallet.ErrLocked}
	r.start().size(120, 24).see("the keyring is locked: unlock it", "press u to unlock")
	r.door.keyErr = nil
	r.keys("u").see("You gave nobody access")
}

func TestStaleAnswersAreDropped(t *testing.T) {
	r := newRig(t, Look{})
	r.start()
	before := r.m.state
	r.step(answer{name: "load", id: 1, value: &state{}, err: nil})
	if r.m.state != before {
		t.Error("an answer of an old id was taken")
	}
	closed := r.door.closed
	s, err := r.door.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.step(answer{name: "open", id: 9999, value: s})
	if r.door.closed != closed+1 || r.m.session == s {
		t.Error("a stale session was taken or left open")
	}
	secret := []byte("entropy")
	if r.step(answer{name: "secret", id: 9999, value: secret}); !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Errorf("a stale secret stays in memory: %q", secret)
	}
}

func TestAGrantThatIsNotAnchoredIsKeptAndTriedAgain(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.start().keys("1", "enter", "s", "right")
	gate := make(chan struct{})
	r.door.ledger.gate = gate
	r.step(keyMsg("enter"))
	r.settleBut("post")
	r.door.ledger.set(func(l *ledger) { l.err = errDown })
	close(gate)
	r.settle()
	r.see("It is not anchored, so it does not count yet", "it is down", "It is kept").unseen("✓ anchored")
	r.keys("w").see("not anchored yet")
	r.door.ledger.set(func(l *ledger) { l.err = nil })
	r.keys("t").see("✓ anchored")
	if n := len(r.door.signer.signed()); n != 1 {
		t.Errorf("%d grants were signed", n)
	}
}

func TestWhatWasSignedBeforeIsSentByItself(t *testing.T) {
	r := newRig(t, Look{})
	request := r.asks(r.other("Ada"), "", nil, labs)
	draft, err := wallet.DraftWithin(request, wallet.ChoiceOf(&request.Request))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.door.wallet.Sign(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	r.door.ledger.gate = make(chan struct{})
	r.run(r.m.Init())
	r.settleBut("resume")
	r.unseen("active") // signed, or sent already
	r.m.giveUp("resume")
	close(r.door.ledger.gate)
	r.step(tickMsg{})
	r.settle()
	r.unseen("active") // it rests
	r.pass(time.Minute)
	r.step(tickMsg{})
	r.settle()
	r.see("active", "anchored what was signed before: 1 grant")
}

func TestRequestsComeFirst(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.start().see("[Requests 1]").keys("z").see("“z” does nothing here: ? shows the keys")
}

func TestHurriedKeysAreKeysAndPastesAreNot(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.start().keys("2", "13").see("[Activity]") // two keys that came as one
	r.keys("1333").see("“1333” does nothing here")
	r.keys("1", "enter", "s", "yy").see("▸ No", "“yy” does nothing here")
	r.keys("yyyyyyyyyy", "enter").see("the answer was no")
	if len(r.door.signer.signed()) != 0 {
		t.Error("a paste signed something")
	}
}

func TestPagesThatWereLeft(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.start().keys("1", "enter", "s", "right")
	gate := make(chan struct{})
	r.door.ledger.gate = gate
	r.step(keyMsg("enter"))
	r.settleBut("post")
	r.step(keyMsg("esc"))
	close(gate)
	r.settle()
	r.see("anchored: the grant to the key that calls itself “Ada”")
	gate = make(chan struct{})
	r.keys("2", "r", "right")
	r.door.ledger.gate = gate
	r.step(keyMsg("enter"))
	r.settleBut("revoke")
	r.step(keyMsg("esc"))
	r.step(keyMsg("r"))
	r.see("active", "something is being taken back")
	close(gate)
	r.settle()
	r.see("revoked: the grant to", "revoked  ")
}

// What nobody can see nobody agrees to.
func TestKeysDoNothingWhereNothingIsSeen(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.start().keys("1", "enter", "s", "right").see("▸ Yes, sign").size(30, 5).keys("enter", "s", "y").size(80, 24).see("▸ Yes, sign")
	if len(r.door.signer.signed()) != 0 {
		t.Error("it was signed unseen")
	}
	r.size(30, 5).keys("q").quits()
}

func TestTooSmall(t *testing.T) {
	r := newRig(t, Look{})
	r.start().size(39, 12).see("This window is 39×12.", "Make it 40×12 at least").size(40, 11).see("at least").size(40, 12).unseen("at least").size(1, 1).screen()
}

func TestPathsAsTerminalsDropThem(t *testing.T) {
	for dropping, want := range map[string]string{
		"/home/pat/a.json": "/home/pat/a.json", `/home/pat/a\ b.json`: "/home/pat/a b.json", "'/home/pat/a b.json' ": "/home/pat/a b.json",
		`"/home/pat/a.json"`: "/home/pat/a.json", "file:///home/pat/a.json": "/home/pat/a.json", "'": "'",
	} {
		if got := dropped(dropping); got != want {
			t.Errorf("dropped(%q) = %q, want %q", dropping, got, want)
		}
	}
	r := newRig(t, Look{})
	r.start().keys("1", "a").text("/nowhere").keys("enter").see("not taken: open the request", "no such file")
	r.keys("a").text(t.TempDir()).keys("enter").see("not taken")
	r.keys("a").paste(`{"assent":"request/1"}`).see("not taken")
}

// From a page that only shows something the screens are one key away; where
// something would be lost, the key says what.
func TestScreensFromADetailPage(t *testing.T) {
	r := furnished(t, Look{}).start()
	r.keys("2", "enter").see("You gave this").keys("3").see("[Activity]", "asked you:")
	r.keys("down", "enter").keys("tab").see("[People]", "“School nurse”")
	r.keys("3", "end", "enter", "shift+tab").see("[Access").keys("?", "5").see("[Wallet]", "address")
	r.keys("N", "2").see("[Access", "who")
	for _, c := range []struct {
		keys []string
		why  string
	}{
		{[]string{"1", "enter"}, "what you chose here"},
		{[]string{"1", "enter", "enter"}, "what you chose here"},
		{[]string{"1", "enter", "f"}, "what you chose here"},
		{[]string{"2", "n", "enter"}, "what you chose here"},
		{[]string{"1", "d"}, "the question before you"},
		{[]string{"2", "E"}, "the question before you"},
		{[]string{"5", "n"}, ""},
	} {
		r.keys(c.keys...)
		tab, over := r.m.tab, len(r.m.over)
		for _, key := range []string{"4", "tab", "shift+tab"} {
			r.keys(key)
			if c.why != "" {
				r.see("another screen would lose " + c.why)
			}
			if r.m.tab != tab || len(r.m.over) != over {
				t.Errorf("%q after %q leaves the page:\n%s", key, c.keys, r.screen())
			}
		}
		for len(r.m.over) > 0 {
			r.keys("esc")
		}
	}
	r.keys("2", "n", "4").see("[People]") // nothing is chosen yet
	if len(r.door.signer.signed()) != 6 {
		t.Error("something was signed")
	}
}

func TestAHolderWithoutANameIsShownOnce(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Ada"), "", nil, labs))
	r.start().keys("enter").see("[x] " + short(holder))
	if n := strings.Count(r.screen(), short(holder)); n != 1 {
		t.Errorf("its address is shown %d times:\n%s", n, r.screen())
	}
}

func TestTheFooterHasNoEmptyEntry(t *testing.T) {
	r := newRig(t, Look{})
	r.door.wallet, r.door.status.Wallet, r.door.status.Profile = nil, "", wallet.Profile{}
	r.start().size(250, 40).keys("m", "enter").see("Write these words on paper", "enter they are on paper · L later").see("ctrl+c quit, always").unseen("q  ·", "q quit")
	r.keys("?").see("not now: write the words down first").unseen("q           quit")
}

package tui

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// Requests come in by themselves while the screen is open, and the grant goes
// back by letter.
func TestRequestsComeByLetter(t *testing.T) {
	r := newRig(t, Look{})
	r.publishes(new(board))
	r.start()
	clinic := r.other("Cardiology clinic")
	letters := make(chan *consent.RequestDocument, 1)
	var asked atomic.Int32
	r.m.session.Collect = func(ctx context.Context, _ bool) (int, error) {
		asked.Add(1)
		select {
		case request := <-letters:
			_, err := r.door.wallet.Take(ctx, request)
			return 1, err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	var sent *consent.GrantDocument
	r.m.session.Deliver = func(_ context.Context, grant *consent.GrantDocument) (string, error) {
		if sent == nil {
			sent = grant
			return "", errors.New("it has no mailbox")
		}
		return "https://relay.example", nil
	}
	r.keys("1")
	r.see("Nobody asks for anything", "by letter is shown by itself")
	r.pass(mailRest)
	r.step(tickMsg{})
	r.settleBut("mail")
	r.see("Nobody asks for anything") // the app goes on while it waits
	letters <- r.asks(clinic, "pre-operative review", nil, "patient/Observation.rs")
	r.settle()
	r.see("1 document came by letter", "Cardiology clinic")
	r.step(tickMsg{})
	r.settle()
	if n := asked.Load(); n != 1 {
		t.Errorf("it looks %d times without a rest", n)
	}
	r.keys("enter", "s", "right", "enter")
	r.see("✓ anchored", "s sends it to whoever may use it")
	r.keys("s").see("not sent: it has no mailbox")
	r.keys("s").see("sent, sealed, to the mailbox of", "finds it in the mailbox at", "“https://relay.example”")
	r.keys("s").see("it is sent")
	if sent == nil || sent.Grant.Grantee != clinic.Signer.Address() {
		t.Errorf("sent %v", sent)
	}
}

// A mailbox that does not answer is said once it is known, and forgotten once it
// answers.
func TestSilentMailbox(t *testing.T) {
	r := newRig(t, Look{})
	r.publishes(new(board))
	r.start()
	trouble := errors.New("the relay is away")
	r.m.session.Collect = func(context.Context, bool) (int, error) { return 0, trouble }
	look := func() {
		r.pass(mailRest + time.Second)
		r.step(tickMsg{})
		r.settle()
	}
	look()
	r.see("the mailbox: the relay is away")
	trouble = nil
	look()
	r.unseen("the mailbox")
}

// mailDoor opens to a network that has a relay.
type mailDoor struct {
	*testDoor
	collect func(ctx context.Context, wait bool) (int, error)
	deliver func(ctx context.Context, grant *consent.GrantDocument) (string, error)
}

func (d *mailDoor) Open(ctx context.Context, password []byte) (*Session, error) {
	s, err := d.testDoor.Open(ctx, password)
	if err == nil {
		s.Collect, s.Deliver = d.collect, d.deliver
	}
	return s, err
}

// board is a relay that keeps cards alone.
type board struct {
	wallet.Relay
	mu    sync.Mutex
	cards []*consent.CardDocument
	err   error
}

func (b *board) Card(context.Context, common.Address) (*consent.CardDocument, error) { return nil, nil }

func (b *board) PutCard(_ context.Context, card *consent.CardDocument) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.cards = append(b.cards, card)
	}
	return b.err
}

// publishes has the patient publish her card at a relay.
func (r *rig) publishes(at *board) {
	r.t.Helper()
	if err := r.door.wallet.Publish(r.t.Context(), at); err != nil {
		r.t.Fatal(err)
	}
}

// letterbox opens to a network with a relay, and looks into the mailbox there as
// the program does.
func (r *rig) letterbox(at *board) *mailDoor {
	return &mailDoor{testDoor: r.door, collect: func(ctx context.Context, _ bool) (int, error) {
		return 0, r.door.wallet.Publish(ctx, at)
	}}
}

// ownCards gives how many cards the patient signed.
func (r *rig) ownCards() (n int) {
	r.t.Helper()
	cards, err := r.door.wallet.Documents.List(r.t.Context(), consent.KindCard)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, record := range cards {
		if strings.Contains(string(record.Document), r.door.status.Profile.Address.Hex()) {
			n++
		}
	}
	return n
}

// Nothing is signed and nothing published for letters before its person was
// asked and said yes; then they come.
func TestAMailboxIsAskedFor(t *testing.T) {
	r := newRig(t, Look{})
	relay := &board{err: errors.New("the relay is away")}
	r.m.door = r.letterbox(relay)
	tick := func() {
		r.pass(mailRest + time.Second)
		r.step(tickMsg{})
		r.settle()
	}
	r.start()
	tick()
	r.keys("1").see("Nobody asks for anything", "Requests can come by themselves", "m open a mailbox").unseen("shown by itself")
	r.keys("?").see("open a mailbox").keys("esc")
	r.keys("m").see("Open a mailbox?", "▸ No", "Yes, open it", "your card is published", "at the relays of the network local",
		r.door.status.Profile.Address.Hex(), "now none", "Whoever knows your address", "never what is in them")
	r.keys("enter").see("nothing was done: the answer was no")
	r.keys("m", "right", "esc").see("nothing was done: the answer was no")
	tick()
	if len(relay.cards) != 0 || r.ownCards() != 0 || r.door.signer.others != 0 {
		t.Fatalf("unasked: %d cards were published, %d signed, and %d other things", len(relay.cards), r.ownCards(), r.door.signer.others)
	}
	r.keys("m", "right", "enter").see("no mailbox is known to be open: the relay is away", "Requests can come by themselves")
	tick()
	r.unseen("! the mailbox")
	relay.err = nil
	r.keys("m", "right", "enter").see("the mailbox is open", "shown by itself").unseen("Requests can come by themselves", "open a mailbox")
	if len(relay.cards) != 1 || r.ownCards() != 1 {
		t.Fatalf("%d cards were published, %d signed", len(relay.cards), r.ownCards())
	}
	tick()
	if len(relay.cards) != 2 {
		t.Error("nobody looks into the mailbox")
	}
	r.keys("m").see("does nothing here")
}

// What another process published is seen, and a list of requests says as well
// that more could come by themselves.
func TestAMailboxOfACommand(t *testing.T) {
	r := newRig(t, Look{})
	relay := new(board)
	r.m.door = r.letterbox(relay)
	r.takes(r.asks(r.other("Cardiology clinic"), "pre-operative review", nil, labs))
	if _, err := r.door.wallet.Card(t.Context(), "Pat"); err != nil {
		t.Fatal(err)
	}
	r.start().see("Cardiology clinic", "Requests can come by themselves")
	r.keys("m").see("“Pat”").keys("esc")
	r.publishes(relay)
	r.keys("f5").see("Cardiology clinic").unseen("Requests can come by themselves", "open a mailbox")
	r.pass(mailRest)
	r.step(tickMsg{})
	r.settle()
	if len(relay.cards) != 2 {
		t.Error("nobody looks into the mailbox")
	}
}

// Without a relay there is nothing to open.
func TestNoMailboxWithoutARelay(t *testing.T) {
	newRig(t, Look{}).start().keys("1").see("Nobody asks for anything").unseen("come by themselves", "mailbox").keys("m").see("does nothing here")
}

// Plain lines ask as well.
func TestLinesAskForAMailbox(t *testing.T) {
	r := newRig(t, Look{})
	relay := &board{err: errors.New("the relay is away")}
	door := r.letterbox(relay)
	out := r.answersAt(door, "10", "", "10", "n", "2", "11")
	said(t, out, "10. Open a mailbox", "11. Quit", "your card is published at the relays of the network local", "Open a mailbox? [y/N]", "Nobody asks for anything.")
	if len(relay.cards) != 0 || r.ownCards() != 0 {
		t.Fatalf("unasked: %d cards were published, %d signed", len(relay.cards), r.ownCards())
	}
	said(t, r.answersAt(door, "10", "y", "11"), "Open a mailbox? [y/N]", "No mailbox is known to be open: the relay is away.", "11. Quit")
	relay.err = nil
	out = r.answersAt(door, "10", "y", "10")
	said(t, out, "Open a mailbox? [y/N]", "The mailbox is open: requests come by themselves.", "10. Quit")
	if said(t, r.answersAt(door, "10"), "10. Quit"); len(relay.cards) < 2 {
		t.Error("nobody looks into the mailbox")
	}
}

// What was begun on one network does not go on on another, where its answer
// would be taken for one of that network.
func TestAnotherNetworkEndsWhatWasBegun(t *testing.T) {
	r := newRig(t, Look{})
	r.publishes(new(board))
	began, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	r.m.door = &mailDoor{testDoor: r.door, collect: func(ctx context.Context, _ bool) (int, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return 0, errors.New("the store is closed")
	}}
	r.takes(r.asks(r.other("Cardiology clinic"), "pre-operative review", nil, labs))
	r.start()
	r.pass(mailRest)
	r.step(tickMsg{})
	r.happens("a look into the mailbox", began)
	r.door.ledger.set(func(l *ledger) { l.silent = true })
	for _, key := range []string{"1", "enter", "s", "esc", "3", "w", "5", "N", "down"} {
		r.step(keyMsg(key))
	}
	r.see("Which network?", "▸ clinic")
	old := maps.Clone(r.m.jobs)
	for _, name := range []string{"mail", "prepare", "logs"} {
		if old[name] == nil {
			t.Fatalf("%s is not under way", name)
		}
	}
	r.step(keyMsg("enter"))
	r.settleBut("head", "load")
	r.see("clinic", "unlocked").unseen("mailbox")
	for name, job := range r.m.jobs {
		if old[name] == job {
			t.Errorf("%s goes on", name)
		}
	}
	r.happens("the end of that look", ended)
	r.pass(mailRest)
	r.step(tickMsg{})
	r.happens("a look into the mailbox on the other network", began)
}

// A letter that is being sent is waited for.
func TestAnotherNetworkWaitsForALetter(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Cardiology clinic"), "pre-operative review", nil, labs))
	r.start()
	gate := make(chan struct{})
	r.m.session.Deliver = func(context.Context, *consent.GrantDocument) (string, error) {
		<-gate
		return "https://relay.example", nil
	}
	r.keys("1", "enter", "s", "right", "enter").see("✓ anchored")
	for _, key := range []string{"s", "esc", "5", "N", "down", "enter"} {
		r.step(keyMsg(key))
	}
	r.see("something is on its way", "Which network?")
	close(gate)
	r.settle()
	r.see("sent, sealed, to the mailbox of").keys("enter").see("clinic", "unlocked")
}

// In plain lines, letters are taken in before each question.
func TestLinesTakeLetters(t *testing.T) {
	r := newRig(t, Look{})
	request := r.asks(r.other("Cardiology clinic"), "pre-operative review", nil, labs)
	r.publishes(new(board))
	looks := 0
	out := r.answersAt(&mailDoor{testDoor: r.door, collect: func(ctx context.Context, wait bool) (int, error) {
		if wait {
			t.Error("a person waits for letters that may never come")
		}
		if looks++; looks > 1 {
			return 0, errors.New("the relay is away")
		}
		_, err := r.door.wallet.Take(ctx, request)
		return 1, err
	}}, "1", "1", "10")
	said(t, out, "1 document came by letter", "Answer a request (1 waiting)", "The mailbox does not answer: the relay is away")
}

// In plain lines, a grant goes back by letter as well, if its person says so.
func TestLinesSendByLetter(t *testing.T) {
	r := newRig(t, Look{})
	clinic := r.other("Cardiology clinic")
	var sent []*consent.GrantDocument
	d := &mailDoor{testDoor: r.door, deliver: func(_ context.Context, grant *consent.GrantDocument) (string, error) {
		if sent = append(sent, grant); len(sent) == 1 {
			return "", errors.New("it has no mailbox")
		}
		return "https://relay.example", nil
	}}
	give := func(letter string) string {
		r.takes(r.asks(clinic, "review "+letter, nil, labs))
		return r.answersAt(d, "2", "2", "2", "y", letter, "n", "10")
	}
	if out := give(""); len(sent) != 0 {
		t.Fatalf("a letter that nobody asked for was sent:\n%s", out)
	}
	said(t, give("y"), "Anchored: it counts", "Send it by letter?", "Not sent: it has no mailbox.", "Write it to a file")
	said(t, give("y"), "Anchored: it counts", "Send it by letter?", "Sent, sealed, to the mailbox of the key that calls itself “Cardiology clinic”", "“https://relay.example”", "Write it to a file")
	if len(sent) != 2 || sent[1].Grant.Grantee != clinic.Signer.Address() {
		t.Errorf("sent %v", sent)
	}
	if files, err := os.ReadDir(r.door.folder); err != nil || len(files) != 0 {
		t.Errorf("written though the answer was no: %v, %v", files, err)
	}
}

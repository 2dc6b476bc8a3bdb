package tui

import (
	"context"
	"errors"
	"maps"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
)

// Requests come in by themselves while the screen is open, and the grant goes
// back by letter.
func TestRequestsComeByLetter(t *testing.T) {
	r := newRig(t, Look{}).start()
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
	r := newRig(t, Look{}).start()
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

// What was begun on one network does not go on on another, where its answer
// would be taken for one of that network.
func TestAnotherNetworkEndsWhatWasBegun(t *testing.T) {
	r := newRig(t, Look{})
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

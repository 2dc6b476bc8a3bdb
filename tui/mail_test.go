package tui

import (
	"bytes"
	"context"
	"errors"
	"strings"
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
}

func (d *mailDoor) Open(ctx context.Context, password []byte) (*Session, error) {
	s, err := d.testDoor.Open(ctx, password)
	if err == nil {
		s.Collect = d.collect
	}
	return s, err
}

// In plain lines, letters are taken in before each question.
func TestLinesTakeLetters(t *testing.T) {
	r := newRig(t, Look{})
	request := r.asks(r.other("Cardiology clinic"), "pre-operative review", nil, labs)
	looks := 0
	d := &mailDoor{r.door, func(ctx context.Context, wait bool) (int, error) {
		if wait {
			t.Error("a person waits for letters that may never come")
		}
		if looks++; looks > 1 {
			return 0, errors.New("the relay is away")
		}
		_, err := r.door.wallet.Take(ctx, request)
		return 1, err
	}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	if err := RunLines(ctx, d, Options{Now: r.now, Tick: time.Hour}, strings.NewReader("1\n1\n10\n"), &out); err != nil {
		t.Fatal(err, out.String())
	}
	said(t, out.String(), "1 document came by letter", "Answer a request (1 waiting)", "The mailbox does not answer: the relay is away")
}

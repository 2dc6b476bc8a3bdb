package tui

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// answers runs the app in plain lines with these answers, and gives what it
// said.
func (r *rig) answers(lines ...string) string {
	r.t.Helper()
	return r.answersAt(r.door, lines...)
}

// answersAt is answers by another door.
func (r *rig) answersAt(door Door, lines ...string) string {
	r.t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := RunLines(ctx, door, Options{Now: r.now, Tick: time.Hour}, strings.NewReader(strings.Join(lines, "\n")+"\n"), &out)
	if err != nil {
		r.t.Fatalf("%v\n%s", err, out.String())
	}
	for _, c := range out.String() {
		if c < ' ' && c != '\n' {
			r.t.Fatalf("a control character in plain lines: %q", out.String())
		}
	}
	return out.String()
}

func said(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		at := strings.Index(out, text)
		if at < 0 {
			t.Fatalf("%q was not said, or not there:\n%s", text, out)
		}
		out = out[at+len(text):]
	}
}

func TestLinesApproveNarrowedThenRevoke(t *testing.T) {
	r := newRig(t, Look{})
	path := filepath.Join(t.TempDir(), "a request.json")
	request := r.asks(r.other("Cardiology clinic"), "pre-operative review", nil, labs, meds)
	if err := os.WriteFile(path, []byte(textOf(t, request)), 0o600); err != nil {
		t.Fatal(err)
	}
	out := r.answers(
		"3", "/nowhere",
		"3", "'"+path+"'",
		"2", "2", // the request
		"6",           // medications: give or not
		"5", "2", "1", // laboratory results: not read, only search; then done
		"9",      // 7 days
		"2", "y", // sign
		"y", // write it to a file
		"4", "2", "2", "n",
		"4", "2", "2", "y",
		"6", "10")
	said(t, out, "Answer a request (0 waiting)", "Not taken: open the request", "The request waits for your answer", "“Cardiology clinic”", "first request from this key",
		"“pre-operative review”", "Not given: read and search", "You would sign:", "Sign this?", "Sent: waiting for the chain.", "Anchored: it counts from now on.",
		"Written to /home/pat/0x", "See who has access (1 active", "1 grant that counts now", "Revoked: 1 grant ended.", "revoked: the grant with “Cardiology clinic”")
	signed := r.door.signer.signed()
	if len(signed) != 1 || len(signed[0].Provisions) != 1 || signed[0].Grant.Expires != uint64(began.Add(7*dayLong).Unix()) {
		t.Fatalf("signed: %v", signed)
	}
	if s := signed[0].Provisions[0].Provision.Scope; s.Interactions != consent.Search {
		t.Errorf("signed: %v", s)
	}
	if got := r.grants()[0].Verdict.Outcome; got != consent.Revoked {
		t.Errorf("the grant is %v", got)
	}
}

func TestLinesSignNothingByThemselves(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Study"), "", func(q *consent.Request) { q.Holders = []common.Address{{}} }, labs))
	for _, word := range []string{"", "y", "yes", "accept it"} {
		said(t, r.answers("2", "2", "2", word, "1", "10"), "Risk any-holder", "Nothing was signed: the answer was no.")
	}
	r.answers("2", "2", "2") // the input ends
	if len(r.door.signer.signed()) != 0 {
		t.Fatal("something was signed")
	}
	said(t, r.answers("2", "2", "3", "y", "6", "10"), "Denied: nothing was signed.", "you denied a request of “Study”")
	said(t, r.answers("2", "10"), "Nobody asks for anything.")
}

func TestLinesGiveAndVerify(t *testing.T) {
	r := newRig(t, Look{})
	card, err := r.other("Eye clinic").Card(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	out := r.answers("7", "2", textOf(t, card), "7", "3", "y", // people
		"5", "3", "1", "y", "n", "n", "n", "n", "n", "n", "2", "accept", "n", // give
		"8", "3", "Pat", "8", "2", "8", "1", "10")
	said(t, out, "“Eye clinic”", "not verified", card.Card.Account.Hex(), "Verified.", "verified", "Give laboratory results (patient/Observation.rs?category=laboratory)?",
		"Risk any-holder", "Anchored", "network         local", "Your card is in /home/pat/0x", "calls itself    “Pat”")
	if n := len(r.door.signer.signed()); n != 1 {
		t.Errorf("%d grants were signed", n)
	}
}

func TestLinesFirstRun(t *testing.T) {
	r := newRig(t, Look{})
	r.door.wallet, r.door.status.Wallet, r.door.status.Profile = nil, "", wallet.Profile{}
	phrase, err := wallet.Phrase(seed("patient"))
	if err != nil {
		t.Fatal(err)
	}
	said(t, r.answers("1"), "Welcome to Assent", "What it is not")
	said(t, r.answers("3", "2", "one two", phrase, "1", "10"), "has 2 words", "Network clinic", "See who has access (0 active")
	if !r.door.restored {
		t.Error("it is not known to be restored")
	}
	words := strings.Fields(phrase)
	said(t, r.answers("8", "4", "n", "8", "4", "y", words[2], "noword", words[12], words[22], "8", "5", "2", "10"),
		"Write these 24 words", "24 "+words[23], "That is another word", "done: the phrase is on paper", "Which network?", "Network local")
	if !r.door.backedUp {
		t.Error("the backup was not remembered")
	}
}

// The network in use stays unless another is named, and one that cannot be used
// changes nothing.
func TestLinesAnotherNetwork(t *testing.T) {
	r := newRig(t, Look{})
	r.door.status.Network = "clinic"
	out := r.answers("8", "5", "", "10")
	said(t, out, "Which network?", "1. Stay with clinic", "2. local", "Network clinic")
	if n := strings.Count(out, "Opening the wallet"); n != 1 || r.door.closed != 1 {
		t.Errorf("the wallet was opened %d times and closed %d times though nothing changed:\n%s", n, r.door.closed, out)
	}
	r.door.networkErr = errors.New("the settings cannot be written")
	said(t, r.answers("8", "5", "2", "10"), "Which network?", "Not changed: the settings cannot be written.", "Network clinic")
	r.door.networkErr = nil
	said(t, r.answers("8", "5", "2", "10"), "Which network?", "Opening the wallet", "Network local")
}

// Wherever the input ends, after whatever answer, the app ends.
func TestLinesEndWithTheirInput(t *testing.T) {
	r := newRig(t, Look{})
	r.takes(r.asks(r.other("Study"), "", nil, labs))
	for _, lines := range [][]string{{"99"}, {"0"}, {"one"}, {"2", "2", "-1"}, {"2", "2", "2", "perhaps"}} {
		r.answers(lines...)
	}
	if len(r.door.signer.signed()) != 0 {
		t.Error("something was signed")
	}
}

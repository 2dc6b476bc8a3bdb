package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/assent-wallet/assent/wallet"
)

// What a person sees and answers at a terminal. The stories have none.

var phraseWord = regexp.MustCompile(`\d+ ([a-z]{3,8}) `)

// initAtTerminal makes a wallet at a terminal, gives one wrong word and then
// the right ones, and gives the words of its phrase.
func initAtTerminal(t *testing.T, h *home) []string {
	t.Helper()
	c := h.talk(t, "init")
	words := c.phrase(t)
	c.expect(t, `Word 3, as you wrote it \(or “later”\): `)
	c.send(t, "noword\n")
	c.expect(t, `That is another word`)
	for _, i := range []int{3, 13, 23} {
		c.expect(t, fmt.Sprintf(`Word %d, .*: `, i))
		c.send(t, words[i-1]+"\n")
	}
	c.end(t, exitDone)
	if !strings.HasPrefix(c.stdout.String(), "wallet default: 0x") {
		t.Errorf("init printed %q", c.stdout.String())
	}
	c.keepsQuiet(t, words)
	return words
}

func TestTerminalInit(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	words := initAtTerminal(t, h)
	if list := must(t)(h.do(t.Context(), "wallet", "list")); !regexp.MustCompile(`\* +default .* keyring +yes\n`).MatchString(list) {
		t.Errorf("the phrase is not on paper:\n%s", list)
	}

	// The same words once more, if she wants to see them.
	c := h.talk(t, "wallet", "export")
	c.expect(t, `Show it now\? \[y/N\] `)
	c.send(t, "\n")
	c.end(t, exitFailed)
	if phraseWord.MatchString(c.heard) {
		t.Error("the phrase was shown after a no")
	}
	c = h.talk(t, "wallet", "export")
	c.expect(t, `Show it now\? \[y/N\] `)
	c.send(t, "y\n")
	if again := c.phrase(t); strings.Join(again, " ") != strings.Join(words, " ") {
		t.Error("export shows other words than init did")
	}
	c.expect(t, `Word 3, .*: `)
	c.send(t, "later\n")
	c.end(t, exitDone)
	c.keepsQuiet(t, words)
	if strings.Contains(c.stderr.String(), "no backup") {
		t.Error("export says that there is no backup, and there is")
	}

	// Interrupted, there is the wallet, and no backup yet.
	c = h.talk(t, "init", "second")
	c.expect(t, `Word 3, .*: `)
	c.send(t, "\x03")
	c.end(t, exitInterrupted)
	if list := must(t)(h.do(t.Context(), "wallet", "list")); !regexp.MustCompile(`second .* keyring +no\n`).MatchString(list) {
		t.Errorf("the second wallet is not there without a backup:\n%s", list)
	}
}

func TestTerminalRecover(t *testing.T) {
	t.Parallel()
	h, restored := newHome(t), newHome(t)
	words := initAtTerminal(t, h)
	card := must(t)(h.do(t.Context(), "wallet", "list", "--json"))
	address := regexp.MustCompile(`0x[0-9a-fA-F]{40}`).FindString(card)

	c := restored.talk(t, "wallet", "recover")
	c.expect(t, `they are not shown\): `)
	c.silent(t, true)
	c.send(t, "\x03")
	c.end(t, exitInterrupted)
	c.silent(t, false)

	c = restored.talk(t, "wallet", "recover")
	c.expect(t, `they are not shown\): `)
	c.silent(t, true)
	c.send(t, strings.Join(words, " ")+"\n")
	c.end(t, exitDone)
	c.keepsQuiet(t, words)
	for i := range len(words) - 1 {
		if strings.Contains(c.heard, words[i]+" "+words[i+1]) {
			t.Fatal("the terminal shows the words that were typed")
		}
	}
	if want := "wallet default: " + address + "\n"; c.stdout.String() != want {
		t.Errorf("recover printed %q, want %q", c.stdout.String(), want)
	}
	if list := must(t)(restored.do(t.Context(), "wallet", "list")); !regexp.MustCompile(`default .* keyring +yes\n`).MatchString(list) {
		t.Errorf("the phrase is not on paper:\n%s", list)
	}
}

// A word of the phrase may be “later”.
func TestTerminalWordLater(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	entropy := make([]byte, 32)
	var words []string
	for n := 0; len(words) == 0 || words[2] != "later"; n++ { // the third word is of the bits from the 22nd on
		entropy[2], entropy[3], entropy[4] = byte(n>>9)&3, byte(n>>1), byte(n<<7)
		phrase, err := wallet.Phrase(entropy)
		if err != nil {
			t.Fatal(err)
		}
		words = strings.Fields(phrase)
	}
	c := h.talk(t, "wallet", "recover")
	c.expect(t, `they are not shown\): `)
	c.silent(t, true)
	c.send(t, strings.Join(words, " ")+"\n")
	c.end(t, exitDone)
	c = h.talk(t, "wallet", "export")
	c.expect(t, `Show it now\? \[y/N\] `)
	c.send(t, "y\n")
	for _, i := range []int{3, 13, 23} {
		c.expect(t, fmt.Sprintf(`Word %d, .*: `, i))
		c.send(t, words[i-1]+"\n")
	}
	c.end(t, exitDone)
}

// asked makes a home in which a clinic has asked a patient for something that
// has one risk.
func asked(t *testing.T) *home {
	t.Helper()
	h := newHome(t)
	ctx := t.Context()
	for _, args := range [][]string{{"init", "patient"}, {"init", "clinic"}} {
		must(t)(h.do(ctx, args...))
	}
	err := h.keep(ctx, "patient.card.json", "card", "--wallet", "patient")
	if err == nil {
		err = h.keep(ctx, "request.json", "request", "--wallet", "clinic", "--patient", "patient.card.json",
			"--scope", "patient/Observation.rs", "--for", "30d", "--reason", "pre-operative review")
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// nothingSigned requires that there is no grant, in the wallet or on the chain.
func nothingSigned(t *testing.T, h *home) {
	t.Helper()
	for _, args := range [][]string{{"grants", "--json"}, {"observe", "--json"}} {
		if list := must(t)(h.do(t.Context(), args...)); list != "[]\n" {
			t.Errorf("%s: %s", args[0], list)
		}
	}
}

func TestTerminalGrant(t *testing.T) {
	t.Parallel()
	const risk, question = `Do you accept that\? \[y/N\] `, `Sign this\? \[y/N\] `
	answer := []string{"grant", "--request", "request.json"}
	h := asked(t)
	for _, c := range []struct {
		name    string
		answers map[string]string // by question
		code    int
		says    string
	}{
		{"nothing at the risk", map[string]string{risk: "\n"}, exitFailed, "nothing was done: the answer was no"},
		{"n at the risk", map[string]string{risk: "n\n"}, exitFailed, "nothing was done: the answer was no"},
		{"nothing", map[string]string{risk: "y\n", question: "\n"}, exitFailed, "nothing was done: the answer was no"},
		{"n", map[string]string{risk: "y\n", question: "n\n"}, exitFailed, "nothing was done: the answer was no"},
		{"another word", map[string]string{risk: "y\n", question: "yess\n"}, exitFailed, "nothing was done: the answer was no"},
		{"end of the input", map[string]string{risk: "y\n", question: "\x04"}, exitFailed, "the terminal was closed before an answer"},
		{"y without a line", map[string]string{risk: "y\n", question: "y\x04\x04"}, exitFailed, "the terminal was closed before an answer"},
		{"interrupt at the risk", map[string]string{risk: "\x03"}, exitInterrupted, "interrupted"},
		{"interrupt", map[string]string{risk: "y\n", question: "\x03"}, exitInterrupted, "interrupted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			talk := h.talk(t, answer...)
			for _, q := range []string{risk, question} {
				if c.answers[q] != "" {
					talk.expect(t, q)
					talk.send(t, c.answers[q])
				}
			}
			talk.end(t, c.code)
			if talk.stdout.Len() > 0 || !strings.HasSuffix(talk.stderr.String(), "assent: "+c.says+"\n") {
				t.Errorf("printed %q, said %q, want it to end with %q", talk.stdout.String(), talk.stderr.String(), c.says)
			}
			nothingSigned(t, h)
		})
	}
	t.Run("the terminal goes away", func(t *testing.T) {
		talk := h.talk(t, answer...)
		talk.expect(t, risk)
		talk.send(t, "y\n")
		talk.expect(t, question)
		talk.tty.Close()
		select {
		case err := <-talk.ended:
			if err == nil {
				t.Error("grant did not fail")
			}
		case <-time.After(patienceOfTests):
			t.Fatal("grant waits for ever")
		}
		nothingSigned(t, h)
	})
	t.Run("yes", func(t *testing.T) {
		talk := h.talk(t, answer...)
		talk.expect(t, risk)
		talk.send(t, "y\n")
		talk.expect(t, question)
		talk.send(t, "y\n")
		talk.end(t, exitDone)
		if said := talk.stderr.String(); !strings.Contains(said, "Risk any-holder") || !strings.Contains(said, "You would sign") {
			t.Errorf("said %q", said)
		}
		var grants []listed
		if err := h.read(t.Context(), &grants, "grants", "--json"); err != nil {
			t.Fatal(err)
		}
		if len(grants) != 1 || grants[0].State != "active" || !strings.Contains(talk.stdout.String(), `"assent":"grant/1"`) {
			t.Errorf("the grants are %v, and %q was printed", grants, talk.stdout.String())
		}
	})
}

// Where nobody can be asked, the error names the flag that answers instead, and
// nothing is done.
func TestTerminalMissing(t *testing.T) {
	t.Parallel()
	h := asked(t)
	dumb := *h
	dumb.env = append(dumb.env, "TERM=dumb")
	for _, c := range []struct {
		line, says string
	}{
		{"grant --request request.json", "for a confirmation: give --yes"},
		{"grant --request request.json --accept-risk any-holder", "for a confirmation: give --yes"},
		{"revoke --everything", "for a confirmation: give --yes"},
		{"wallet retire", "for a confirmation: give --yes"},
		{"wallet recover other", "for the recovery phrase: give --phrase-file"},
		{"init other --keystore file", "for a password: give --password-file"},
		{"wallet export", "the recovery phrase is shown on a terminal only, and there is none here"},
	} {
		t.Run(c.line, func(t *testing.T) {
			stdout, stderr, code, err := h.try(t.Context(), strings.Fields(c.line)...)
			if err != nil {
				t.Fatal(err)
			}
			talk := dumb.talk(t, strings.Fields(c.line)...)
			talk.end(t, exitUsage)
			for _, said := range []string{stderr, talk.stderr.String()} {
				if !strings.HasSuffix(said, c.says+"\n") {
					t.Errorf("said %q, want it to end with %q", said, c.says)
				}
			}
			if code != exitUsage || stdout != "" || talk.stdout.Len() > 0 || talk.heard != "" {
				t.Errorf("exit code %d, printed %q, %q and, at the terminal, %q", code, stdout, talk.stdout.String(), talk.heard)
			}
		})
	}
	nothingSigned(t, h)
	if list := must(t)(h.do(t.Context(), "wallet", "list", "--json")); strings.Contains(list, "other") {
		t.Errorf("a wallet was made: %s", list)
	}
}

// TestTerminalTmux answers a request as a patient does: in a terminal, reading
// what stands there.
func TestTerminalTmux(t *testing.T) {
	need(t, "tmux", "tmux")
	t.Parallel()
	h := asked(t)
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "tmux", append([]string{"-u", "-f", "/dev/null", "-S", h.path("tmux")}, args...)...)
		cmd.Dir, cmd.Env = h.folder, h.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "100", "-y", "40", "sh")
	t.Cleanup(func() {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "tmux", "-S", h.path("tmux"), "kill-server")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("tmux kill-server: %v\n%s", err, out)
		}
	})
	see := func(text string) {
		t.Helper()
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for deadline := time.After(patienceOfTests); ; {
			screen := tmux("capture-pane", "-p", "-J")
			if strings.Contains(screen, text) {
				return
			}
			select {
			case <-look.C:
			case <-deadline:
				t.Fatalf("the terminal never shows %q:\n%s", text, screen)
			}
		}
	}
	tmux("send-keys", h.program+" grant --request request.json > labs.grant.json; echo ended with $?", "Enter")
	see("Reason that it gives: “pre-operative review”.")
	see("You would sign:")
	see("Risk any-holder:")
	see("Do you accept that? [y/N]")
	tmux("send-keys", "y", "Enter")
	see("Sign this? [y/N]")
	tmux("send-keys", "y", "Enter")
	see("anchored: ")
	see("ended with 0")
	if said := must(t)(h.do(t.Context(), "show", "labs.grant.json")); !strings.Contains(said, "State: active") {
		t.Errorf("the grant is not active:\n%s", said)
	}
}

// patienceOfTests is how long a test waits for what takes a second at most.
const patienceOfTests = 30 * time.Second

// conversation is a command that talks with a person at a terminal. What it
// prints and says goes elsewhere, so that the terminal shows only questions.
type conversation struct {
	stdout, stderr bytes.Buffer // once it ended
	tty            *os.File
	chunks         chan []byte
	ended          chan error
	heard          string // all that the terminal showed so far
	passed         int    // of it, what expect went past
}

// talk starts a command at a terminal.
func (h *home) talk(t *testing.T, args ...string) *conversation {
	t.Helper()
	c := &conversation{chunks: make(chan []byte), ended: make(chan error, 1)}
	cmd := h.command(t.Context(), args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &c.stdout, &c.stderr, nil
	var err error
	if c.tty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	// A read that waits would keep Close from closing it.
	if err := unix.SetNonblock(int(c.tty.Fd()), true); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.chunks)
		for {
			chunk := make([]byte, 4096)
			n, err := c.tty.Read(chunk)
			if err != nil {
				return // the command ended
			}
			select {
			case c.chunks <- chunk[:n]:
			case <-t.Context().Done():
				return
			}
		}
	}()
	go func() { c.ended <- cmd.Wait() }()
	t.Cleanup(func() { c.tty.Close() })
	return c
}

// expect waits until the terminal shows what matches, past what was matched
// before, and gives what it passed.
func (c *conversation) expect(t *testing.T, pattern string) (passed string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	deadline := time.After(patienceOfTests)
	for {
		if at := want.FindStringIndex(c.heard[c.passed:]); at != nil {
			passed = c.heard[c.passed : c.passed+at[1]]
			c.passed += at[1]
			return passed
		}
		select {
		case chunk, more := <-c.chunks:
			c.heard += string(chunk)
			if !more {
				t.Fatalf("the terminal was given up without %q:\n%s", pattern, c.heard)
			}
		case <-deadline:
			t.Fatalf("the terminal never shows %q:\n%s", pattern, c.heard)
		}
	}
}

func (c *conversation) send(t *testing.T, keys string) {
	t.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// phrase reads the 24 words that the terminal shows.
func (c *conversation) phrase(t *testing.T) []string {
	t.Helper()
	var words []string
	for _, match := range phraseWord.FindAllStringSubmatch(c.expect(t, `Whoever reads it has the wallet`), -1) {
		words = append(words, match[1])
	}
	if len(words) != 24 {
		t.Fatalf("the terminal shows %d words of a phrase", len(words))
	}
	return words
}

// silent waits until the terminal shows what is typed no longer, or again.
func (c *conversation) silent(t *testing.T, want bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for deadline := time.After(patienceOfTests); ; {
		conn, err := c.tty.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var mode *unix.Termios
		var asked error
		err = conn.Control(func(fd uintptr) { mode, asked = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
		if err := errors.Join(err, asked); err != nil {
			t.Fatal(err)
		}
		if (mode.Lflag&unix.ECHO == 0) == want {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("the terminal is never silent: %t", want)
		}
	}
}

// end requires that the command ends with the exit code.
func (c *conversation) end(t *testing.T, want int) {
	t.Helper()
	deadline := time.After(patienceOfTests)
	for c.chunks != nil {
		select {
		case chunk, more := <-c.chunks:
			c.heard += string(chunk)
			if !more {
				c.chunks = nil
			}
		case <-deadline:
			t.Fatalf("the command does not end:\n%s", c.heard)
		}
	}
	select {
	case err := <-c.ended:
		code := 0
		if ended, ok := errors.AsType[*exec.ExitError](err); ok {
			code = ended.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != want {
			t.Fatalf("exit code %d, want %d\n%s\n%s", code, want, c.heard, c.stderr.String())
		}
	case <-deadline:
		t.Fatalf("the command does not end:\n%s", c.heard)
	}
}

// keepsQuiet requires that no words of a phrase went where they may be kept.
func (c *conversation) keepsQuiet(t *testing.T, words []string) {
	t.Helper()
	for _, text := range []string{c.stdout.String(), c.stderr.String()} {
		for i := range len(words) - 1 {
			if strings.Contains(text, words[i]+" "+words[i+1]) || phraseWord.MatchString(text) {
				t.Fatalf("words of the recovery phrase went elsewhere than to the terminal: %q", text)
			}
		}
	}
}

// must gives what a command printed.
func must(t *testing.T) func(string, error) string {
	return func(printed string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return printed
	}
}

//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// terminalScreen is a terminal that the app runs on.
type terminalScreen interface {
	press(keys ...string) // by name, or its character
	write(text string)    // as it is: a word of a phrase may be the name of a key
	resize(w, h int)
	text() string
	changed() <-chan struct{} // may tell that text is another
}

const storyPatience = 60 * time.Second

// await waits until all texts are on the screen.
func await(t *testing.T, s terminalScreen, texts ...string) string {
	t.Helper()
	for deadline := time.After(storyPatience); ; {
		screen := s.text()
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(screen, text) }) {
			return screen
		}
		select {
		case <-s.changed():
		case <-deadline:
			t.Fatalf("%q does not come:\n%s", texts, screen)
		}
	}
}

// ptyScreen is a pseudo-terminal whose screen vt10x draws.
type ptyScreen struct {
	t        *testing.T
	file     *os.File
	terminal vt10x.Terminal
	drawn    chan struct{}
	command  *exec.Cmd
	mu       sync.Mutex
	raw      []byte // all that the program wrote
}

func openPTY(t *testing.T, command *exec.Cmd, w, h int) *ptyScreen {
	t.Helper()
	command.SysProcAttr = nil
	file, err := pty.StartWithSize(command, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)})
	if err != nil {
		t.Fatal(err)
	}
	s := &ptyScreen{t: t, file: file, terminal: vt10x.New(vt10x.WithSize(w, h), vt10x.WithWriter(file)), drawn: make(chan struct{}, 1), command: command}
	go func() {
		chunk := make([]byte, 4096)
		for {
			n, err := file.Read(chunk)
			s.terminal.Write(chunk[:n])
			s.mu.Lock()
			s.raw = append(s.raw, chunk[:n]...)
			s.mu.Unlock()
			select {
			case s.drawn <- struct{}{}:
			default:
			}
			if err != nil {
				close(s.drawn)
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		file.Close()
	})
	return s
}

var ptyKeys = map[string]string{
	"enter": "\r", "esc": "\x1b", "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "pgdown": "\x1b[6~", "space": " ",
}

func (s *ptyScreen) press(keys ...string) {
	for _, key := range keys {
		if code, named := ptyKeys[key]; named {
			key = code
		}
		s.write(key)
	}
}

func (s *ptyScreen) write(text string) {
	if _, err := s.file.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *ptyScreen) resize(w, h int) {
	s.terminal.Resize(w, h)
	if err := pty.Setsize(s.file, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *ptyScreen) text() string { return s.terminal.String() }

func (s *ptyScreen) changed() <-chan struct{} { return s.drawn }

// ends waits for the program to end, with exit code 0.
func (s *ptyScreen) ends() {
	s.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.command.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			s.t.Errorf("%v\n%s", err, s.text())
		}
	case <-time.After(storyPatience):
		s.t.Fatalf("the app does not end:\n%s", s.text())
	}
}

// tmuxScreen is a window of tmux.
type tmuxScreen struct {
	t      *testing.T
	socket string
	env    []string
	ticks  *time.Ticker
}

func openTmux(t *testing.T, h *home) *tmuxScreen {
	t.Helper()
	s := &tmuxScreen{t, h.path("tmux"), slices.Clone(h.env), time.NewTicker(50 * time.Millisecond)}
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", h.folder, h.program, "tui")
	t.Cleanup(func() {
		s.ticks.Stop()
		kill := exec.Command("tmux", "-S", s.socket, "kill-server")
		kill.Env = s.env
		_ = kill.Run() // it is gone where the story came to its end
	})
	return s
}

func (s *tmuxScreen) tmux(args ...string) string {
	s.t.Helper()
	command := exec.Command("tmux", append([]string{"-u", "-S", s.socket}, args...)...)
	command.Env = s.env
	out, err := command.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

var tmuxKeys = map[string]string{
	"enter": "Enter", "esc": "Escape", "up": "Up", "down": "Down", "right": "Right", "left": "Left", "pgdown": "PageDown", "space": "Space",
}

func (s *tmuxScreen) press(keys ...string) {
	for _, key := range keys {
		if name, named := tmuxKeys[key]; named {
			s.tmux("send-keys", name)
		} else {
			s.write(key)
		}
	}
}

func (s *tmuxScreen) write(text string) { s.tmux("send-keys", "-l", text) }

func (s *tmuxScreen) resize(w, h int) {
	s.tmux("resize-window", "-x", fmt.Sprint(w), "-y", fmt.Sprint(h))
}

func (s *tmuxScreen) text() string { return s.tmux("capture-pane", "-p") }

func (s *tmuxScreen) changed() <-chan struct{} {
	tick := make(chan struct{}, 1)
	go func() {
		<-s.ticks.C
		tick <- struct{}{}
	}()
	return tick
}

// prepareStory makes a patient, a clinic, and the clinic's request.
func prepareStory(t *testing.T, h *home) {
	t.Helper()
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.do(t.Context(), "init", "patient")
	step(err)
	_, err = h.do(t.Context(), "init", "clinic")
	step(err)
	step(h.keep(t.Context(), "patient.card.json", "card", "--wallet", "patient"))
	step(h.keep(t.Context(), "clinic.card.json", "card", "--wallet", "clinic", "--name", "Cardiology clinic"))
	step(h.keep(t.Context(), "request.json", "request", "--wallet", "clinic", "--patient", "patient.card.json",
		"--scope", "patient/Observation.rs?category=laboratory", "--scope", "patient/Condition.rs", "--for", "30d", "--reason", "pre-operative review"))
}

// theStory is start, approve narrowed, see anchored, revoke, see revoked.
func theStory(t *testing.T, h *home, s terminalScreen) {
	t.Helper()
	await(t, s, "You gave nobody access", "[Access]", "local · block")
	s.press("1")
	await(t, s, "Nobody asks for anything")
	s.press("a")
	await(t, s, "The path of a request")
	s.write("request.json")
	await(t, s, "> request.json")
	s.press("enter")
	await(t, s, "“Cardiology clinic”", "first request from this key")
	s.press("enter")
	await(t, s, "reason: “pre-operative review”", "[x] read and search laboratory results")
	s.press("down")
	await(t, s, "▸ [x] read and search conditions")
	s.press("space")
	await(t, s, "▸ [ ] not given: read and search conditions")
	s.press("down", "down", "right")
	await(t, s, "(7 days)")
	s.press("s")
	await(t, s, "You would sign", "▸ No")
	s.press("pgdown", "pgdown", "pgdown", "right")
	await(t, s, "▸ Yes, sign", "Type “accept”")
	s.write("accept")
	await(t, s, "accept▏")
	s.press("enter")
	await(t, s, "✓ anchored in block", "1 confirmation", "It counts from now on")
	s.press("esc")
	await(t, s, "Nobody asks for anything")
	s.press("2")
	await(t, s, "active", "“Cardiology cli", "laboratory results")
	s.resize(140, 40)
	await(t, s, "Given by the key", "│")
	s.resize(40, 12)
	await(t, s, "until", "active")
	s.resize(80, 24)
	await(t, s, "[Access 1]", "active")

	var grants []listed
	if err := h.read(t.Context(), &grants, "grants", "--json"); err != nil || len(grants) != 1 || grants[0].State != "active" {
		t.Fatalf("the commands see %v, %v", grants, err)
	}
	s.press("r")
	await(t, s, "Take back?", "1 grant that count", "takes effect in the next block")
	s.press("pgdown", "right")
	await(t, s, "▸ Yes, take back")
	s.press("enter")
	await(t, s, "revoked", "Seen on chain")
	s.press("esc")
	await(t, s, "revoked", "✕")
	if err := h.read(t.Context(), &grants, "grants", "--json"); err != nil || len(grants) != 1 || grants[0].State != "revoked" {
		t.Fatalf("the commands see %v, %v", grants, err)
	}
}

// The real program on a pseudo-terminal, with the embedded chain.
func TestAppOnAPseudoTerminal(t *testing.T) {
	h := newHome(t)
	prepareStory(t, h)
	s := openPTY(t, h.command(t.Context(), "tui"), 80, 24)
	await(t, s, "You gave nobody access")
	s.press("1")
	s.write("\x1b[200~'/nowhere/a request.json'\x1b[201~") // as a terminal drops a file
	await(t, s, "not taken: open the request", "no such file")
	s.press("2")
	theStory(t, h, s)
	s.press("q")
	s.ends()
}

// The same in tmux, with a real Secret Service.
func TestAppInTmux(t *testing.T) {
	need(t, "tmux", "tmux")
	need(t, "secret-service", "dbus-daemon", "gnome-keyring-daemon")
	k := newKeyringHome(t)
	k.startBus(t)
	k.startService(t)
	prepareStory(t, k.home)
	theStory(t, k.home, openTmux(t, k.home))
	k.discreet(t, k.secret(t, "patient"), k.secret(t, "clinic"))
}

// Somebody new makes a wallet, and finds it again the next time.
func TestAppMakesAWallet(t *testing.T) {
	h := newHome(t)
	s := openPTY(t, h.command(t.Context(), "tui"), 80, 24)
	await(t, s, "Welcome to Assent")
	s.press("m")
	await(t, s, "Where shall the key be kept?")
	s.press("enter")
	screen := await(t, s, "Write these words on paper", "24 ")
	words := make(map[string]string)
	for _, found := range regexp.MustCompile(`(\d+) ([a-z]+)`).FindAllStringSubmatch(screen, -1) {
		words[found[1]] = found[2]
	}
	s.press("enter")
	for _, i := range []string{"3", "13", "23"} {
		await(t, s, "Word "+i+", as you wrote it", "> ▏")
		s.write(words[i])
		await(t, s, words[i]+"▏")
		s.press("enter")
	}
	await(t, s, "the phrase is on paper", "You gave nobody access", "block")
	s.press("5")
	await(t, s, "done: the phrase is on paper", "unlocked")
	s.press("c")
	await(t, s, "your card is in")
	s.press("q")
	s.ends()
	if cards, err := os.ReadDir(h.folder); err != nil || !slices.ContainsFunc(cards, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".card.json") }) {
		t.Errorf("no card was written: %v, %v", cards, err)
	}
	again := openPTY(t, h.command(t.Context(), "tui"), 80, 24)
	await(t, again, "You gave nobody access")
	again.press("\x03")
	again.ends()
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*(3[0-7]|9[0-7])m")

// coloured tells whether the program wrote in colours.
func (s *ptyScreen) coloured() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return colour.Match(s.raw)
}

func TestNoColour(t *testing.T) {
	for variable, want := range map[string]bool{"NO_COLOR=": true, "NO_COLOR=1": false} {
		h := newHome(t)
		h.env = append(h.env, variable)
		s := openPTY(t, h.command(t.Context(), "tui"), 80, 24)
		await(t, s, "Welcome to Assent", "? keys")
		s.press("q")
		s.ends()
		if got := s.coloured(); got != want {
			t.Errorf("with %s it wrote in colours: %v", variable, got)
		}
	}
}

// An endpoint that takes calls and never answers holds up no key.
func TestAppWithADeadEndpoint(t *testing.T) {
	h := newHome(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	for _, args := range [][]string{
		{"init", "patient"},
		{"network", "add", "dead", "--rpc", "http://" + dead.Addr().String(), "--chain-id", "5"},
		{"network", "use", "dead"},
	} {
		if _, err := h.do(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	s := openPTY(t, h.command(t.Context(), "tui"), 80, 24)
	await(t, s, "Still reading what the wallet holds", "checking every grant with the chain", "dead")
	s.press("5")
	await(t, s, "[Wallet]", "unlocked")
	s.press("2", "r")
	await(t, s, "no grant is chosen")
	s.press("?")
	await(t, s, "All keys here")
	s.press("q")
	s.ends()
}

// Without a terminal the app says what to do instead.
func TestAppWithoutATerminal(t *testing.T) {
	h := newHome(t)
	_, stderr, code, err := h.try(t.Context(), "tui")
	if err != nil || code != exitUsage || !strings.Contains(stderr, "ACCESSIBLE=1") {
		t.Errorf("exit code %d, %v: %s", code, err, stderr)
	}
	h.env = append(h.env, "ACCESSIBLE=1")
	stdout, stderr, code, err := h.try(t.Context(), "tui")
	if err != nil || code != exitDone || !strings.Contains(stdout, "Welcome to Assent") {
		t.Errorf("in plain lines: exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
}

// No command asks the terminal for its colours, which it might not answer.
func TestCommandsLeaveTheTerminalAlone(t *testing.T) {
	h := newHome(t)
	command := h.command(t.Context(), "network", "list")
	command.SysProcAttr = nil
	file, err := pty.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out []byte
	for chunk := make([]byte, 4096); err == nil; {
		var n int
		n, err = file.Read(chunk)
		out = append(out, chunk[:n]...)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	if text := string(out); !strings.Contains(text, "local") || strings.Contains(text, "\x1b") {
		t.Errorf("the terminal was sent %q", text)
	}
}

package tui

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
)

// attacks are texts that somebody puts on a card, or in a request, to mislead
// the person who reads it.
var attacks = map[string]string{
	"clear the screen":       "\x1b[2J\x1b[HClinic",
	"move up and overwrite":  "\x1b[5A\x1b[2KYou would sign nothing",
	"title and clipboard":    "\x1b]0;owned\a\x1b]52;c;ZXZpbA==\a",
	"eight-bit controls":     "\u009b2J\u009d0;x\u009c",
	"colour that hides":      "\x1b[8mhidden\x1b[0m",
	"hyperlink":              "\x1b]8;;http://evil.example\x1b\\Clinic\x1b]8;;\x1b\\",
	"right-to-left override": "\u202eevil\u202c \u2066x\u2069 \u200f",
	"newlines":               "Clinic\n  [x] may pass it on: yes\r\n▸ Yes, sign",
	"carriage return":        "Clinic\rSigned by your bank",
	"tabs and backspaces":    "Clinic\t\t\b\b\b\bBank\v\f",
	"closing the quotation":  "Clinic” (verified by the hospital) “",
	"a box of its own":       "╰────╯ ╭ you would sign ╮ │ nothing │",
	"combining marks":        "C" + strings.Repeat("\u0301", 40) + "linic",
	"wide":                   strings.Repeat("診", 40),
	"emoji and joiners":      "👩\u200d⚕\ufe0f👩🏽\u200d👩🏽\u200d👧🏽\u200d👦🏽🇩🇪" + strings.Repeat("\u200b", 20),
	"long":                   strings.Repeat("A", 120),
	"blanks":                 strings.Repeat("\u00a0\u2003\u3000\u2800", 10),
	"nothing but controls":   "\x00\x01\x7f\u0085\u2028\u2029",
}

var plainScreen = regexp.MustCompile(`[\x00-\x09\x0b-\x1f\x7f-\x{9f}]`)

// clean checks that a frame of a look without colours holds nothing that a
// terminal acts on or that turns its writing around.
func clean(t *testing.T, m *Model) string {
	t.Helper()
	screen := fits(t, m)
	view := m.View()
	if at := plainScreen.FindStringIndex(view); at != nil {
		t.Fatalf("a control character is on the screen: %q", view[at[0]:at[1]])
	}
	for _, r := range view {
		if r != '\n' && (unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
			t.Fatalf("a character that cannot be seen is on the screen: %q", r)
		}
	}
	return screen
}

func TestHostileText(t *testing.T) {
	for name, text := range attacks {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Look{})
			mallory := r.other(text)
			longer := text
			for len(longer)+len(text) <= 1000 {
				longer += text
			}
			r.takes(r.asks(mallory, longer, nil, labs, meds, cond))
			r.gives(mallory, -1, 30, labs)
			r.start()
			sizes := [][2]int{{80, 24}, {40, 12}, {140, 40}, {100, 30}}
			look := func() {
				for _, size := range sizes {
					r.size(size[0], size[1])
					clean(t, r.m)
				}
				r.size(80, 24)
			}
			for _, keys := range [][]string{{"1"}, {"2"}, {"2", "enter"}, {"2", "r"}, {"2", "p"}, {"3"}, {"3", "enter"}, {"4"}, {"4", "v"}, {"2", "n"}, {"2", "n", "enter"}, {"1", "enter", "f"}, {"1", "d"}} {
				r.keys(keys...)
				look()
				r.m.over = nil
			}

			// The review shows just the checkboxes that are its own, and all of them.
			r.keys("1", "enter").size(80, 40)
			screen := clean(t, r.m)
			boxes := 0
			for _, line := range strings.Split(screen, "\n") {
				line = strings.TrimLeft(line, " ▸")
				if strings.HasPrefix(line, "[x]") {
					boxes++
				}
				if strings.HasPrefix(line, "may pass it on: yes") || strings.HasPrefix(line, "Signed by") || strings.HasPrefix(line, "You would sign nothing") {
					t.Errorf("a line of theirs: %q", line)
				}
			}
			if boxes != 4 { // three scopes, one data holder
				t.Errorf("%d checkboxes:\n%s", boxes, screen)
			}
			for _, what := range []string{"laboratory results", "conditions", "may pass it on: no", "╭ you would sign ─"} {
				if !strings.Contains(screen, what) {
					t.Errorf("%q is hidden:\n%s", what, screen)
				}
			}

			// The sentence to sign holds every scope, and its quotation marks are ours.
			r.keys("s")
			confirm := r.m.top().(*confirmPage)
			if got := strings.Count(confirm.text, "read and search"); got != 3 {
				t.Errorf("%d scopes in %q", got, confirm.text)
			}
			if strings.Count(confirm.text, "“") != strings.Count(confirm.text, "”") {
				t.Errorf("quotation marks that do not match: %q", confirm.text)
			}
			look()
			r.keys("esc")
			if len(r.door.signer.signed()) != 1 { // the one of gives
				t.Error("something was signed")
			}
		})
	}
}

// What is longer than a card may hold is refused, and what says so is clean.
func TestHostileDocuments(t *testing.T) {
	r := newRig(t, Look{})
	clinic := r.other("Clinic")
	good := textOf(t, r.asks(clinic, "why", nil, labs))
	r.start().keys("1")
	for name, text := range map[string]string{
		"a name of 10,000 characters": strings.Replace(good, `"name":"Clinic"`, `"name":"`+strings.Repeat("x", 10_000)+`"`, 1),
		"a name that was exchanged":   strings.Replace(good, `"name":"Clinic"`, `"name":"Your bank\u001b[2J"`, 1),
		"a reason that was exchanged": strings.Replace(good, `"reason":"why"`, `"reason":"\u202eyhw"`, 1),
		"an escape as a member":       `{"assent":"request/1","\u001b[2J\u202e` + strings.Repeat("y", 5000) + `":1}`,
		"an escape as a kind":         `{"assent":"\u001b[2Jrequest/1"}`,
		"no document":                 "{\x1b[2J\u202e",
		"a path of escapes":           "/tmp/\x1b[2J\u202e\n/no" + strings.Repeat("z", 10_000),
		"a control as a path":         "\x00",
	} {
		r.paste(text)
		if screen := clean(t, r.m); !strings.Contains(screen, "not taken") {
			t.Errorf("%s: it was taken:\n%s", name, screen)
		}
	}
	if len(r.m.state.Waiting) != 0 {
		t.Error("something waits")
	}
}

// What is typed or pasted hides nothing in a line.
func TestHostilePaste(t *testing.T) {
	r := newRig(t, Look{})
	r.gives(r.other("Ada"), -1, 30, labs)
	r.start().keys("/")
	for _, text := range attacks {
		r.step(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text), Paste: true})
		clean(t, r.m)
	}
	r.keys("esc", "1", "a")
	for _, text := range attacks {
		r.step(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text), Paste: true})
		clean(t, r.m)
		r.keys("left", "left", "delete", "backspace", "home", "end")
		clean(t, r.m)
	}
}

// Plain lines are as clean.
func TestHostileLines(t *testing.T) {
	for name, text := range attacks {
		r := newRig(t, Look{})
		mallory := r.other(text)
		r.takes(r.asks(mallory, text, nil, labs))
		r.gives(mallory, -1, 30, labs)
		out := r.answers("1", "2", "n", "2", "2", "2", "n", "1", "4", "2", "2", "n", "6", "7", "1", "9")
		if at := plainScreen.FindString(out); at != "" {
			t.Errorf("%s: a control character was said: %q", name, at)
		}
		for _, c := range out {
			if unicode.Is(unicode.Cf, c) {
				t.Errorf("%s: a character that cannot be seen was said: %q", name, c)
			}
		}
		said(t, out, "active, to", "You would sign:", "This ends the grant to", "asked you:")
	}
}

// Two keys of one name are told apart by their addresses.
func TestTheSameNameTwice(t *testing.T) {
	r := newRig(t, Look{})
	a, b := r.other("Clinic"), walletOf(t, keyOf(t, seed("mallory")), keyOf(t, seed("mallory")), r.door.ledger)
	if _, err := b.Card(t.Context(), "Clinic"); err != nil {
		t.Fatal(err)
	}
	r.gives(a, -1, 30, labs)
	r.gives(b, -1, 31, labs)
	r.start().see(short(a.Signer.Address()), short(b.Signer.Address())).unseen("“Clinic”")
	r.keys("r").see(r.m.state.rows[0].With().Hex())
}

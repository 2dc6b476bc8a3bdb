package tui

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

var update = flag.Bool("update", false, "write the frames in testdata anew")

// furnished is a rig as a patient has it after some months.
func furnished(t testing.TB, look Look) *rig {
	r := newRig(t, look)
	r.clock = began.AddDate(0, 0, -80)
	cardiology, riverside, school, oximeter := r.other("Cardiology clinic"), r.other("Riverside Hospital"), r.other("School nurse"), r.other("Oximeter bridge")
	r.gives(school, 0, 40, "patient/Immunization.rs")
	r.gives(riverside, 0, 300, "patient/AllergyIntolerance.rs", "patient/Condition.rs")
	bridge := r.gives(oximeter, 0, 200, "patient/Observation.rs?category=vital-signs")
	r.clock = began.AddDate(0, 0, -30)
	end, err := r.door.wallet.RevokeGrant(t.Context(), bridge)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.door.wallet.Revoke(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	r.clock = began.AddDate(0, 0, -10)
	given := r.gives(cardiology, 0, 40, labs, meds)
	r.gives(school, 0, 12, "patient/Immunization.rs")
	r.gives(oximeter, 15, 45, "patient/Observation.rs?category=vital-signs")
	if err := r.door.wallet.Verify(t.Context(), riverside.Signer.Address()); err != nil {
		t.Fatal(err)
	}
	r.clock = began
	refused := r.used(bridge, 95, 0)
	refused.Interaction, refused.Target, refused.Outcome, refused.Released = wallet.UseToken, "patient/Observation.rs?category=vital-signs", "Revoked", nil
	r.tells(1, r.used(given, 3*24*60, 26), refused)
	if _, err := r.door.logs(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.takes(r.asks(cardiology, "pre-operative review", func(q *consent.Request) {
		q.Holders = []common.Address{riverside.Signer.Address()}
		q.Scopes[0].Sensitivities = consent.Genetic
	}, labs, meds, cond))
	r.takes(r.asks(r.other("Sleep study"), "", func(q *consent.Request) { q.Holders = []common.Address{{}} }, "patient/*.rs"))
	return r
}

var shots = []struct {
	name string
	keys []string
}{
	{"requests", []string{"1"}},
	{"review", []string{"1", "enter", "down", "down", " "}},
	{"narrow", []string{"1", "enter", "enter"}},
	{"confirm", []string{"1", "enter", "s"}},
	{"wide", []string{"1", "down", "enter", "s", "pgdown", "pgdown", "pgdown", "right"}},
	{"anchored", []string{"1", "enter", "s", "pgdown", "pgdown", "right", "enter"}},
	{"access", []string{"2"}},
	{"filter", []string{"2", "/", "s", "c", "h"}},
	{"grant", []string{"2", "down", "enter"}},
	{"revoke", []string{"2", "down", "p"}},
	{"activity", []string{"3"}},
	{"people", []string{"4", "down"}},
	{"give", []string{"2", "n", "enter", "down", " "}},
	{"wallet", []string{"5"}},
	{"help", []string{"2", "?"}},
}

var sizes = []struct{ w, h int }{{80, 24}, {40, 12}, {140, 40}}

// ids are drawn anew each time: a frame shows them as dots.
var ids = regexp.MustCompile(`id 0x[0-9a-f…]+`)

// TestFrames compares the screens with those in testdata; -update writes them.
// Without colours all of them, with colours the five that one lives in.
func TestFrames(t *testing.T) {
	for _, look := range []struct {
		name string
		Look
	}{{"plain", Look{}}, {"dark", Look{Colour: true, Dark: true}}, {"light", Look{Colour: true}}} {
		for _, shot := range shots {
			if look.Colour && !strings.Contains(strings.ToLower(strings.Join(tabNames, " ")), shot.name) {
				continue
			}
			t.Run(look.name+"/"+shot.name, func(t *testing.T) {
				r := furnished(t, look.Look).start()
				r.keys(shot.keys...)
				for _, size := range sizes {
					r.size(size.w, size.h)
					frame := ids.ReplaceAllStringFunc(r.m.View(), func(id string) string { return "id " + strings.Repeat("·", len([]rune(id))-3) })
					compare(t, fmt.Sprintf("%s-%s-%dx%d.txt", shot.name, look.name, size.w, size.h), frame)
				}
			})
		}
	}
}

func TestWelcomeFrames(t *testing.T) {
	r := newRig(t, Look{})
	r.door.wallet, r.door.status.Wallet, r.door.status.Profile = nil, "", wallet.Profile{}
	r.start()
	for _, size := range sizes {
		r.size(size.w, size.h)
		compare(t, fmt.Sprintf("welcome-plain-%dx%d.txt", size.w, size.h), r.m.View())
	}
}

// TestMailboxFrames compares what is seen where a network has a relay and no
// mailbox was opened.
func TestMailboxFrames(t *testing.T) {
	for _, shot := range []struct {
		name string
		rig  *rig
		keys []string
	}{
		{"no-mailbox", newRig(t, Look{}), []string{"1"}},
		{"requests-no-mailbox", furnished(t, Look{}), []string{"1"}},
		{"mailbox", furnished(t, Look{}), []string{"1", "m"}},
	} {
		shot.rig.m.door = shot.rig.letterbox(new(board))
		shot.rig.start().keys(shot.keys...)
		for _, size := range sizes {
			shot.rig.size(size.w, size.h)
			compare(t, fmt.Sprintf("%s-plain-%dx%d.txt", shot.name, size.w, size.h), shot.rig.m.View())
		}
	}
}

func compare(t *testing.T, name, frame string) {
	t.Helper()
	path := filepath.Join("testdata", "frames", name)
	lines := strings.Split(frame, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	frame = strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(frame), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if frame != string(want) {
		t.Errorf("%s is another; run the test with -update if it shall be:\n%s", name, frame)
	}
}

// Only the 16 colours of the terminal's own palette are used, and none where
// none shall be; and a frame says without colours what it says with them.
func TestColours(t *testing.T) {
	other := regexp.MustCompile("\x1b\\[[0-9;]*(38|48)[;:]")
	plain := furnished(t, Look{}).start()
	for _, look := range []Look{{Colour: true, Dark: true}, {Colour: true}} {
		r := furnished(t, look).start()
		for _, tab := range []string{"1", "2", "3", "4", "5"} {
			r.keys(tab)
			plain.keys(tab)
			view := r.m.View()
			if other.MatchString(view) {
				t.Errorf("a colour beyond the 16: %q", view)
			}
			if !strings.Contains(view, "\x1b[") {
				t.Error("no colour at all")
			}
			if r.screen() != plain.screen() {
				t.Errorf("without colours another text:\n%s\n%s", r.screen(), plain.screen())
			}
			if strings.Contains(plain.m.View(), "\x1b") {
				t.Error("an escape sequence where there shall be no colour")
			}
		}
	}
}

// TestTimelineAtEveryWidth: each grant's window is drawn against today wherever
// there is room for a list of columns, with its detail beside it or without.
func TestTimelineAtEveryWidth(t *testing.T) {
	r := furnished(t, Look{}).start().keys("2")
	for w := 60; w <= 160; w += 4 {
		if screen := r.size(w, 24).screen(); strings.Count(screen, "▐") < 3 || !strings.Contains(screen, "┿") {
			t.Errorf("at %d columns there is no time line:\n%s", w, screen)
		}
	}
	for w := 10; w <= 60; w++ {
		months := newTimeline(uint64(began.Unix()), w).months()
		for _, name := range strings.FieldsFunc(months, func(r rune) bool { return r == ' ' || r == '│' }) {
			if _, err := time.Parse("Jan", name); err != nil {
				t.Errorf("over %d cells a month is called %q: %q", w, name, months)
			}
		}
	}
}

package tui

import (
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// pressed are the keys of the fuzz test: each byte stands for one, or for a
// size of the terminal.
var pressed = []string{
	"enter", "esc", "up", "down", "left", "right", "tab", "shift+tab", "backspace", "pgup", "pgdown", "home", "end", "delete", "f5",
	" ", "1", "2", "3", "4", "5", "/", "?", "a", "c", "d", "e", "f", "g", "h", "j", "k", "l", "n", "p", "r", "s", "t", "u", "v", "w", "y", "E", "N", "L", "G",
	"enter", "enter", "right", "down", " ", "s", "accept", "0x7e3A10D13DE11Eb94d53d775E85e93E6c765ef50", "2027-01-31", "ä", "診", "\u202e", "\x1b[2J",
}

// confirmed tells, from what is on the screen alone, whether enter would sign.
func confirmed(screen string) bool {
	return strings.Contains(screen, "You would sign") && strings.Contains(screen, "▸ Yes, sign") &&
		(!strings.Contains(screen, "Type “accept”") || strings.Contains(screen, "above: accept▏"))
}

// FuzzKeys presses keys and resizes the terminal. Nothing panics, no frame is
// wider or higher than the terminal, and nothing is signed but by enter on a
// confirmation that says yes.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("a request"), uint8(0))
	f.Add([]byte{16, 0, 36, 9, 10, 10, 10, 10, 5, 0, 1, 17, 35, 5, 0}, uint8(1))
	f.Add([]byte{17, 33, 0, 15, 0, 36, 10, 10, 10, 5, 52, 0}, uint8(2))
	f.Add([]byte{200, 16, 230, 0, 255, 36, 250, 5, 0, 240, 34, 5, 0, 0}, uint8(0))
	f.Fuzz(func(t *testing.T, input []byte, start uint8) {
		r := newRig(t, Look{Colour: start%2 == 0})
		clinic := r.other("Cardiology clinic")
		if start%3 != 1 {
			r.gives(clinic, -1, 30, labs)
			r.takes(r.asks(clinic, "why", func(q *consent.Request) { q.Holders = []common.Address{{}} }, labs, meds))
		}
		r.takes(r.asks(clinic, "why", nil, labs, cond))
		r.start()
		if len(input) > 400 {
			input = input[:400]
		}
		screen := r.screen()
		for _, b := range input {
			if b >= 192 {
				r.size(int(b-192)*3+1, int(b)%60+1)
				screen = r.screen()
				continue
			}
			name := pressed[int(b)%len(pressed)]
			before, may := len(r.door.signer.signed()), confirmed(screen) && name == "enter"
			msg := keyMsg(name)
			msg.Paste = b >= 160 && msg.Type == tea.KeyRunes
			r.step(msg)
			r.settle()
			screen = r.screen()
			if after := len(r.door.signer.signed()); after > before && !may {
				t.Fatalf("%q signed something on:\n%s", name, screen)
			}
		}
		if r.door.signer.others > 0 {
			t.Fatal("something other than a grant was signed")
		}
	})
}

package tui

import (
	"slices"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// maxEntry is how many characters one may type or paste: a request document is
// at most 4 MiB.
const maxEntry = 4 << 20

// entry is a line that a person types. It takes visible characters alone, so
// that what was pasted cannot hide in it.
type entry struct {
	text   []rune
	at     int
	secret bool // shown as dots
}

func (e *entry) String() string { return string(e.text) }

func (e *entry) key(msg tea.KeyMsg) {
	switch msg.Type {
	case tea.KeyRunes, tea.KeySpace:
		var typed []rune
		for _, r := range msg.Runes {
			if unicode.IsSpace(r) {
				r = ' '
			}
			if unicode.IsPrint(r) && len(e.text)+len(typed) < maxEntry {
				typed = append(typed, r)
			}
		}
		e.text = slices.Insert(e.text, e.at, typed...)
		e.at += len(typed)
	case tea.KeyBackspace:
		if e.at > 0 {
			e.text = slices.Delete(e.text, e.at-1, e.at)
			e.at--
		}
	case tea.KeyDelete:
		if e.at < len(e.text) {
			e.text = slices.Delete(e.text, e.at, e.at+1)
		}
	case tea.KeyLeft:
		e.at = max(0, e.at-1)
	case tea.KeyRight:
		e.at = min(len(e.text), e.at+1)
	case tea.KeyHome, tea.KeyCtrlA:
		e.at = 0
	case tea.KeyEnd, tea.KeyCtrlE:
		e.at = len(e.text)
	case tea.KeyCtrlU:
		e.text, e.at = slices.Delete(e.text, 0, e.at), 0
	}
}

// view shows the end of the line up to the cursor, in w cells.
func (e *entry) view(w int) string {
	before, after := e.text[:e.at], e.text[e.at:]
	before = before[max(0, len(before)-w):]
	after = after[:min(len(after), w)]
	if e.secret {
		dots := func(n int) []rune { return slices.Repeat([]rune{'•'}, n) }
		before, after = dots(len(before)), dots(len(after))
	}
	left := string(before)
	if over := ansi.StringWidth(left) + 1 - w; over > 0 {
		left = ansi.TruncateLeft(left, over, "")
	}
	return cut(left+"▏"+string(after), w)
}

// askPage asks for one line.
type askPage struct {
	entry
	question string
	hint     string
	wrong    string
	// done takes the line; what it says in the error is shown, and the page
	// stays.
	done func(string) (tea.Cmd, error)
}

func (p *askPage) typing() *entry { return &p.entry }

func (p *askPage) actions(m *Model) []action {
	return []action{
		on([]string{"enter"}, "enter", "take it", func() tea.Cmd {
			m.drop(p)
			cmd, err := p.done(p.String())
			if err != nil {
				p.wrong = err.Error()
				m.open(p)
			}
			return cmd
		}),
		m.back(),
	}
}

func (p *askPage) view(m *Model, w, h int) []string {
	lines := paint(m.styles.title, p.question, w)
	lines = append(lines, "", "> "+p.entry.view(w-2), "")
	lines = append(lines, paint(m.styles.broken, p.wrong, w)...)
	return append(lines, paint(m.styles.dim, p.hint, w)...)
}

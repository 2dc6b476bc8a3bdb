package tui

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// action is a key that acts, with the words that document it: the same binding
// does both.
type action struct {
	key.Binding
	// why tells why it cannot act now; nil or "" means that it can.
	why func() string
	do  func() tea.Cmd
}

// on makes an action. keys are as Bubble Tea names them, shown as a person
// reads them.
func on(keys []string, shown, words string, do func() tea.Cmd) action {
	return action{Binding: key.NewBinding(key.WithKeys(keys...), key.WithHelp(shown, words)), do: do}
}

// unless gives the action with a reason why it may not act.
func (a action) unless(why func() string) action {
	a.why = why
	return a
}

// press runs the first action that the key stands for, or says why it cannot.
func (m *Model) press(msg tea.KeyMsg, actions []action) (cmd tea.Cmd, known bool) {
	for _, a := range actions {
		if !key.Matches(msg, a.Binding) {
			continue
		}
		m.note = ""
		if a.why != nil {
			if why := a.why(); why != "" {
				m.note = why
				return nil, true
			}
		}
		return a.do(), true
	}
	return nil, false
}

// footer shows as many keys as there is room for, and how to see all.
func (m *Model) footer(actions []action) string {
	const more = "? keys"
	var b strings.Builder
	room := m.width - 2 - len(more)
	seen := make(map[string]bool) // the first action of a key is the one that acts
	for _, a := range actions {
		help := a.Help()
		if help.Key == "" || help.Key == "?" || seen[help.Key] {
			continue
		}
		seen[help.Key] = true
		if help.Desc == "" {
			continue
		}
		item := help.Key + " " + help.Desc
		if width := ansi.StringWidth(item) + 3; width <= room {
			b.WriteString(m.styles.key.Render(help.Key) + " " + help.Desc + " · ")
			room -= width
		}
	}
	return " " + b.String() + m.styles.key.Render("?") + " keys"
}

// helpPage shows every key of the page below it, and what its signs mean.
type helpPage struct {
	scroll
	of     []action
	legend string
}

// signed is a page that draws signs of its own.
type signed interface{ legend() string }

func (p *helpPage) actions(m *Model) []action {
	return append(p.scroll.actions(m), m.back())
}

func (p *helpPage) view(m *Model, w, h int) []string {
	lines := []string{m.styles.title.Render("All keys here"), ""}
	if p.legend != "" {
		lines = append(append(lines, wrap(p.legend, w)...), "")
	}
	seen := make(map[string]bool)
	for _, a := range p.of {
		if help := a.Help(); help.Key != "" && !seen[help.Key] {
			seen[help.Key] = true
			line := fit(help.Key, 12) + help.Desc
			if a.why != nil {
				if why := a.why(); why != "" {
					line += m.styles.dim.Render("  (not now: " + why + ")")
				}
			}
			lines = append(lines, cut("  "+line, w))
		}
	}
	return p.lines(lines, h)
}

// scroll is the place in a text that is longer than the screen.
type scroll struct {
	top     int
	length  int  // of the text when it was last shown
	height  int  // of the screen then
	reached bool // the end was seen
}

// lines gives the part of a text that is on the screen.
func (s *scroll) lines(all []string, h int) []string {
	s.length, s.height = len(all), h
	s.top = max(0, min(s.top, len(all)-h))
	if s.top+h >= len(all) {
		s.reached = true
	}
	return all[s.top:min(len(all), s.top+h)]
}

func (s *scroll) by(n int) tea.Cmd {
	s.top = max(0, min(s.top+n, s.length-s.height))
	return nil
}

func (s *scroll) actions(*Model) []action {
	return []action{
		on([]string{"up", "k"}, "↑/k", "up", func() tea.Cmd { return s.by(-1) }),
		on([]string{"down", "j"}, "↓/j", "down", func() tea.Cmd { return s.by(1) }),
		on([]string{"pgup", "b"}, "pgup", "a page up", func() tea.Cmd { return s.by(-s.height) }),
		on([]string{"pgdown", " "}, "pgdn", "a page down", func() tea.Cmd { return s.by(s.height) }),
	}
}

// cursor is the line of a list that keys act on.
type cursor struct{ at int }

func (c *cursor) move(by, n int) tea.Cmd {
	c.at = max(0, min(c.at+by, n-1))
	return nil
}

// keep keeps the cursor within n lines.
func (c *cursor) keep(n int) int {
	c.at = max(0, min(c.at, n-1))
	return c.at
}

func (c *cursor) actions(n func() int) []action {
	return []action{
		on([]string{"up", "k"}, "↑/k", "up", func() tea.Cmd { return c.move(-1, n()) }),
		on([]string{"down", "j"}, "↓/j", "down", func() tea.Cmd { return c.move(1, n()) }),
		on([]string{"pgup"}, "pgup", "ten up", func() tea.Cmd { return c.move(-10, n()) }),
		on([]string{"pgdown"}, "pgdn", "ten down", func() tea.Cmd { return c.move(10, n()) }),
		on([]string{"home", "g"}, "home/g", "first", func() tea.Cmd { return c.move(-n(), n()) }),
		on([]string{"end", "G"}, "end/G", "last", func() tea.Cmd { return c.move(n(), n()) }),
	}
}

package tui

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// filtered is a list of which a typed filter leaves some lines.
type filtered struct {
	cursor
	filter    entry
	filtering bool
}

func (f *filtered) typing() *entry {
	if f.filtering {
		return &f.filter
	}
	return nil
}

// whileTyping gives the only keys that are not letters of the filter.
func (f *filtered) whileTyping() []action {
	stop := func(clear bool) func() tea.Cmd {
		return func() tea.Cmd {
			f.filtering = false
			if clear {
				f.filter = entry{}
			}
			return nil
		}
	}
	return []action{
		on([]string{"enter"}, "enter", "keep the filter", stop(false)),
		on([]string{"esc"}, "esc", "no filter", stop(true)),
	}
}

// filterActions begin to type a filter, and take it away.
func (f *filtered) filterActions(m *Model) []action {
	actions := []action{on([]string{"/"}, "/", "filter", func() tea.Cmd { f.filtering = true; return nil }).unless(m.loaded)}
	if f.filter.String() != "" {
		actions = append(actions, on([]string{"esc"}, "esc", "no filter", func() tea.Cmd { f.filter = entry{}; return nil }))
	}
	return actions
}

// none tells why nothing is chosen: the list is empty, or the filter makes it so.
func (f *filtered) none(empty string) string {
	if f.filter.String() != "" {
		return "the filter leaves nothing: esc takes it away"
	}
	return empty
}

// pasted takes what is pasted while the filter is typed.
func (f *filtered) pasted(text string) bool {
	if f.filtering {
		f.filter.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text)})
	}
	return f.filtering
}

// filterLine shows the filter, where there is one, and how much it leaves.
func (f *filtered) filterLine(m *Model, left, all, w int) []string {
	if !f.filtering && f.filter.String() == "" {
		return nil
	}
	return []string{m.styles.key.Render("/") + " " + f.filter.view(w-20) + m.styles.dim.Render(fmt.Sprintf("  %s of %s", thousands(uint64(left)), thousands(uint64(all))))}
}

// columns gives how wide a list is, and the detail beside it: 0 where there is
// no room for one.
func columns(w, detail int) (list, side int) {
	if w+2 < sideWidth {
		return w, 0
	}
	return w - detail, detail
}

// beside puts a detail beside a list, h lines high.
func (m *Model) beside(lines, detail []string, list, h int) []string {
	for i := range h {
		for i >= len(lines) {
			lines = append(lines, "")
		}
		lines[i] = fit(lines[i], list) + m.styles.dim.Render(" │ ")
		if i < len(detail) {
			lines[i] += detail[i]
		}
	}
	return lines
}

// part gives the lines of a list of n that are on a screen with room for some:
// from top, before end.
func part(at, n, room int) (top, end int) {
	if n > room {
		top = min(max(0, at-room/2), n-room)
	}
	return top, min(n, top+room)
}

// sideBreadth is how wide text is in the column beside a list.
func sideBreadth(side int) int { return side - ansi.StringWidth(" │ ") }

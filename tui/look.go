package tui

import (
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/muesli/termenv"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// Look is how the app paints: with the 16 colours of the terminal's own palette
// or with none, on a dark or a light background.
type Look struct {
	Colour bool
	Dark   bool
}

// styles are what the screens paint with. A style never carries meaning that a
// word beside it does not carry as well.
type styles struct {
	title, dim, strong, chosen, key    lipgloss.Style
	good, soon, waiting, ended, broken lipgloss.Style
}

func newStyles(l Look) styles {
	r := lipgloss.NewRenderer(io.Discard)
	r.SetHasDarkBackground(l.Dark)
	r.SetColorProfile(termenv.Ascii)
	if l.Colour {
		r.SetColorProfile(termenv.ANSI)
	}
	colour := func(light, dark string) lipgloss.Style {
		return r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	// Colours that can be read on the other background as well: not every terminal
	// tells which it has.
	faint := r.NewStyle().Faint(true)
	return styles{
		title: colour("4", "6").Bold(true), dim: faint, strong: r.NewStyle().Bold(true),
		chosen: r.NewStyle().Bold(true).Reverse(true), key: colour("4", "6"),
		good: colour("2", "2"), soon: colour("5", "3"), waiting: colour("4", "6"), ended: faint, broken: colour("1", "1"),
	}
}

// phase gives the style of a grant's phase.
func (s *styles) phase(p wallet.Phase) lipgloss.Style {
	switch p {
	case wallet.PhaseActive:
		return s.good
	case wallet.PhaseNotYet, wallet.PhaseSigned, wallet.PhaseSent, wallet.PhaseNotAnchored, wallet.PhaseUnknown, phaseChecking:
		return s.waiting
	case wallet.PhaseExpired:
		return s.ended
	}
	return s.broken
}

// cut makes a line of ours at most w cells wide.
func cut(line string, w int) string {
	if w <= 0 {
		return ""
	}
	return ansi.Truncate(line, w, "…")
}

// fit makes a line of ours exactly w cells wide.
func fit(line string, w int) string {
	line = cut(line, w)
	return line + strings.Repeat(" ", max(0, w-ansi.StringWidth(line)))
}

// quoted shows foreign text in at most w cells, its quotation marks closed.
func quoted(foreign string, w int) string { return clip(consent.Quote(foreign), w) }

// clip cuts what is in quotation marks and closes them again.
func clip(quoted string, w int) string {
	if ansi.StringWidth(quoted) <= w {
		return quoted
	}
	if w < 3 {
		return strings.Repeat("…", min(w, 1))
	}
	return ansi.Truncate(quoted, w, "…”")
}

// wrap breaks text of ours, with what is quoted in it, into lines of at most w
// cells. What is indented stays so.
func wrap(text string, w int) []string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if strings.HasPrefix(line[indent:], "- ") {
			indent += 2
		}
		if indent*2 > w {
			indent = 0
		}
		for i, part := range strings.Split(ansi.Wrap(strings.TrimLeft(line, " "), max(1, w-indent), ""), "\n") {
			if i == 0 {
				part = line[:len(line)-len(strings.TrimLeft(line, " "))] + part
			} else {
				part = strings.Repeat(" ", indent) + part
			}
			lines = append(lines, cut(part, w))
		}
	}
	return lines
}

// paint wraps text and paints each line, so that no style runs over an end of
// a line.
func paint(style lipgloss.Style, text string, w int) []string {
	lines := wrap(text, w)
	for i := range lines {
		lines[i] = style.Render(lines[i])
	}
	return lines
}

// box draws lines in a frame with a title.
func box(title string, lines []string, w int) []string {
	inner := max(1, w-4)
	head := cut("╭ "+title+" ", w-1)
	framed := []string{head + strings.Repeat("─", max(0, w-1-ansi.StringWidth(head))) + "╮"}
	for _, line := range lines {
		framed = append(framed, "│ "+fit(line, inner)+" │")
	}
	return append(framed, "╰"+strings.Repeat("─", max(0, w-2))+"╯")
}

// window gives the h lines around the one that has to be seen.
func window(lines []string, focus, h int) []string {
	if len(lines) <= h {
		return lines
	}
	top := min(max(0, focus-h/2), len(lines)-h)
	return lines[top : top+h]
}

// short is an address for a list. Where it matters the whole address stands.
func short(a common.Address) string {
	if a == (common.Address{}) {
		return "any data holder"
	}
	text := a.Hex()
	return text[:6] + "…" + text[len(text)-4:]
}

// mark is the checkbox of a choice.
func mark(on bool) string {
	if on {
		return "[x]"
	}
	return "[ ]"
}

// pointer marks the line that keys act on.
func pointer(here bool) string {
	if here {
		return "▸ "
	}
	return "  "
}

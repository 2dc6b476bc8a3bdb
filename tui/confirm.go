package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/consent"
)

// acceptWord is what a person types where what they sign is wide.
const acceptWord = "accept"

// confirmPage asks before anything is signed or ended. The answer that does
// nothing is the default, and the other can be given only once the text was
// seen to its end.
type confirmPage struct {
	scroll
	heading string
	text    string
	list    []string // lines of ours that belong to the text
	risks   []consent.Risk
	yes     string // what the other answer does
	do      func() tea.Cmd

	agreed bool // the other answer is chosen
	word   entry
}

// typing is the word that wide scopes need, once yes is chosen.
func (p *confirmPage) typing() *entry {
	if p.agreed && len(p.risks) > 0 {
		return &p.word
	}
	return nil
}

// loses names what leaving the page gives up.
func (p *confirmPage) loses() string { return "the question before you" }

func (p *confirmPage) actions(m *Model) []action {
	unseen := func() string {
		if !p.reached {
			return "read it to the end first: ↓"
		}
		return ""
	}
	choose := func(yes bool) func() tea.Cmd {
		return func() tea.Cmd { p.agreed = yes; return nil }
	}
	answer := on([]string{"enter"}, "enter", "answer", func() tea.Cmd {
		m.drop(p)
		if !p.agreed {
			m.note = "nothing was done: the answer was no"
			return nil
		}
		return p.do()
	}).unless(func() string {
		if p.agreed && len(p.risks) > 0 && strings.TrimSpace(p.word.String()) != acceptWord {
			return "type " + acceptWord + " first, or esc for no"
		}
		return ""
	})
	no := on([]string{"esc"}, "esc", "no", func() tea.Cmd {
		m.drop(p)
		m.note = "nothing was done: the answer was no"
		return nil
	})
	if p.typing() != nil {
		return []action{answer, no, on([]string{"left", "shift+tab"}, "←", "no", choose(false))}
	}
	actions := []action{
		answer,
		on([]string{"left", "h", "n"}, "←", "choose no", choose(false)),
		on([]string{"right", "l", "y"}, "→", "choose yes, "+p.yes, choose(true)).unless(unseen),
		no,
	}
	return append(actions, p.scroll.actions(m)...)
}

func (p *confirmPage) view(m *Model, w, h int) []string {
	head := []string{m.styles.title.Render(cut(p.heading, w)), ""} // stays while the text moves
	text := wrap(p.text, w)
	for _, line := range p.list {
		text = append(text, wrap(line, w)...)
	}
	for _, risk := range p.risks {
		text = append(text, paint(m.styles.broken, "Risk "+risk.Name+": "+risk.Words, w)...)
	}
	choices := [2]string{" No ", " Yes, " + p.yes + " "}
	chosen := 0
	if p.agreed {
		chosen = 1
	}
	choices[chosen] = m.styles.chosen.Render("▸" + choices[chosen])
	foot := []string{"", choices[0] + "   " + choices[1]}
	if p.typing() != nil {
		foot = append(foot, cut("Type “"+acceptWord+"” for the risks above: "+p.word.view(max(1, w-40)), w))
	} else if len(text) > h-len(head)-len(foot)-1 && !p.reached {
		foot = append(foot, m.styles.waiting.Render("more below: ↓"))
	} else {
		foot = append(foot, "")
	}
	return append(append(head, p.lines(text, max(1, h-len(head)-len(foot)))...), foot...)
}

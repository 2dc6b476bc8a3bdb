package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// givePage builds a grant that nobody asked for: to whom, what, and for what.
type givePage struct {
	cursor
	to      common.Address // zero: not chosen yet
	offers  []bool         // one for each of wallet.Offers
	purpose int
}

// givePurposes are what a person may give for, HL7 codes.
var givePurposes = []string{"TREAT", "COC", "FAMRQT", "PWATRNY", "PATRQT", "HRESCH"}

// loses names what leaving the page gives up.
func (p *givePage) loses() string {
	if p.to == (common.Address{}) {
		return ""
	}
	return "what you chose here"
}

func (p *givePage) actions(m *Model) []action {
	if p.to == (common.Address{}) {
		return append([]action{
			on([]string{"enter", " "}, "enter", "to this person", func() tea.Cmd {
				p.to = m.state.People[p.keep(len(m.state.People))].Account
				p.cursor.at, p.offers = 0, make([]bool, len(wallet.Offers))
				return nil
			}).unless(func() string {
				if len(m.state.People) == 0 {
					return "nobody is known yet: a takes an address or a card"
				}
				return ""
			}),
			on([]string{"a"}, "a", "an address or a card", func() tea.Cmd {
				m.open(m.askParty(func(account common.Address) {
					p.to, p.cursor.at, p.offers = account, 0, make([]bool, len(wallet.Offers))
				}))
				return nil
			}),
			m.back(),
		}, p.cursor.actions(func() int { return len(m.state.People) })...)
	}
	turn := func(by int) func() tea.Cmd {
		return func() tea.Cmd { p.purpose = (p.purpose + by + len(givePurposes)) % len(givePurposes); return nil }
	}
	actions := []action{
		on([]string{" "}, "space", "give or not", func() tea.Cmd { p.offers[p.keep(len(p.offers))] = !p.offers[p.cursor.at]; return nil }),
		on([]string{"enter"}, "enter", "go on", func() tea.Cmd {
			var scopes []consent.Scope
			for i, offer := range wallet.Offers {
				if !p.offers[i] {
					continue
				}
				more, err := offer.For(givePurposes[p.purpose])
				if err != nil {
					m.note = plain(err)
					return nil
				}
				scopes = append(scopes, more...)
			}
			m.open(newGift(m, p.to, scopes))
			return nil
		}).unless(func() string {
			if !slices.Contains(p.offers, true) {
				return "choose with space what you would give"
			}
			return ""
		}),
		on([]string{"left", "h"}, "←", "another purpose", turn(-1)),
		on([]string{"right", "l"}, "→", "another purpose", turn(1)),
		on([]string{"esc"}, "esc", "back", func() tea.Cmd { p.to = common.Address{}; p.cursor.at = 0; return nil }),
	}
	return append(actions, p.cursor.actions(func() int { return len(p.offers) })...)
}

func (p *givePage) view(m *Model, w, h int) []string {
	if p.to == (common.Address{}) {
		lines := append(paint(m.styles.title, "Give to whom?", w), "")
		if len(m.state.People) == 0 {
			return append(lines, wrap("Nobody is known yet. People are known by their cards: a takes the path of a card, or an address.", w)...)
		}
		at := p.keep(len(m.state.People))
		for i := range m.state.People {
			lines = append(lines, pointer(i == at)+m.person(&m.state.People[i], w-2))
		}
		return window(lines, at+2, h)
	}
	lines := append(paint(m.styles.title, "Give what to "+m.who(p.to, max(8, w-16))+"?", w), "")
	at := p.keep(len(p.offers))
	for i, offer := range wallet.Offers {
		line := pointer(i == at) + mark(p.offers[i]) + " " + offer.Name
		if w >= 70 {
			line = fit(line, 39) + m.styles.dim.Render(strings.Join(offer.Scopes, " "))
		}
		lines = append(lines, cut(line, w))
	}
	lines = append(lines, "", cut("    for: ◂ "+m.styles.strong.Render(consent.PurposeWords(givePurposes[p.purpose]))+" ▸", w), "")
	lines = append(lines, wrap("SMART: "+strings.Join(wallet.Offers[at].Scopes, " "), w)...)
	lines = append(lines, wrap("What is known to be sensitive is left out. On the next page you say where, since when, and for how long.", w)...)
	return window(lines, at+2, h)
}

// person is a line about somebody, at most w cells wide.
func (m *Model) person(p *wallet.Person, w int) string {
	word, style := verification(p), m.styles.waiting
	if p.Verified != 0 {
		style = m.styles.good
	}
	name := max(8, min(30, w-29))
	line := fit(quoted(p.Name, name), name+1) + fit(short(p.Account), 13) + style.Render(fit(word, 13))
	if w > name+45 {
		line += "since " + date(p.Since)
	}
	return cut(line, w)
}

func verification(p *wallet.Person) string {
	if p.Verified != 0 {
		return "verified"
	}
	return "not verified"
}

// askParty asks for somebody: by an address, or by a card.
func (m *Model) askParty(chosen func(common.Address)) *askPage {
	return &askPage{
		question: "An address, or the path of a card",
		hint:     "Drop the card's file on this window, or type. A card proves a key, never a name: compare the address with the one that its owner reads to you.",
		done: func(text string) (tea.Cmd, error) {
			text = strings.TrimSpace(text)
			if strings.HasPrefix(text, "0x") {
				account, err := consent.ParseAddress(text)
				if err == nil && account == (common.Address{}) {
					err = fmt.Errorf("that is nobody's address")
				}
				if err != nil {
					return nil, err
				}
				chosen(account)
				return nil, nil
			}
			return m.meet(text, chosen), nil
		},
	}
}

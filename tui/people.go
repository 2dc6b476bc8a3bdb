package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// peoplePage lists whose cards the wallet has.
type peoplePage struct{ filtered }

// people gives those that the filter leaves.
func (p *peoplePage) people(m *Model) []*wallet.Person {
	if m.state == nil {
		return nil
	}
	return search(m.state.People, m.state.hays.people, p.filter.String())
}

func (p *peoplePage) chosen(m *Model) *wallet.Person {
	people := p.people(m)
	if len(people) == 0 {
		return nil
	}
	return people[p.keep(len(people))]
}

func (p *peoplePage) actions(m *Model) []action {
	if p.filtering {
		return p.whileTyping()
	}
	some := func() string {
		if why := m.loaded(); why != "" {
			return why
		}
		if p.chosen(m) == nil {
			return p.none("nobody is known yet")
		}
		return ""
	}
	actions := []action{
		on([]string{"v"}, "v", "verify", func() tea.Cmd { return m.verify(p.chosen(m)) }).unless(some),
		on([]string{"a"}, "a", "add", func() tea.Cmd {
			m.open(m.askParty(func(common.Address) {}))
			return nil
		}).unless(m.loaded),
		on([]string{"n"}, "n", "give", func() tea.Cmd {
			m.open(&givePage{to: p.chosen(m).Account, offers: make([]bool, len(wallet.Offers))})
			return nil
		}).unless(some),
		on([]string{"p"}, "p", "take back all", func() tea.Cmd {
			account, w := p.chosen(m).Account, m.session.Wallet
			return m.takeBack("everything that you gave to "+m.party(account), func(ctx context.Context) (*wallet.Revocation, error) {
				return w.RevokeGrantee(ctx, account)
			})
		}).unless(func() string {
			if m.busy("revoke") {
				return "something is being taken back: wait until that is done"
			}
			return some()
		}),
	}
	actions = append(actions, p.filterActions(m)...)
	if m.session == nil {
		actions = append([]action{m.unlocking()}, actions...)
	}
	return append(actions, p.cursor.actions(func() int { return len(p.people(m)) })...)
}

// paste takes a card that was dropped or pasted on the list.
func (p *peoplePage) paste(m *Model, text string) tea.Cmd {
	if p.pasted(text) {
		return nil
	}
	if why := m.loaded(); why != "" {
		m.note = why
		return nil
	}
	return m.meet(text, func(common.Address) {})
}

func (p *peoplePage) view(m *Model, w, h int) []string {
	if m.state == nil {
		return m.empty("Whom the wallet knows is shown here.", w)
	}
	people := p.people(m)
	lines := p.filterLine(m, len(people), len(m.state.People), w)
	if len(m.state.People) == 0 {
		return append(lines, wrap("Nobody is known yet.\n\nWhoever sends you a request is known by the card in it. Drop the file of a card on this window, or press a, to know somebody beforehand.", w)...)
	}
	if len(people) == 0 {
		return append(lines, wrap("Nobody is like that. esc takes the filter away.", w)...)
	}
	at := p.keep(len(people))
	list, side := columns(w, w*2/5)
	var about []string
	if side == 0 {
		about = append([]string{""}, wrap(m.about(people[at]), w)...)
	}
	top, end := part(at, len(people), max(1, h-len(lines)-len(about)))
	for i := top; i < end; i++ {
		lines = append(lines, pointer(i == at)+m.person(people[i], list-2))
	}
	if side == 0 {
		return append(lines, about...)
	}
	return m.beside(lines, wrap(m.about(people[at]), sideBreadth(side)), list, h)
}

// about says all about somebody.
func (m *Model) about(p *wallet.Person) string {
	active := 0
	for i := range m.state.rows {
		r := &m.state.rows[i]
		if r.Given && r.With() == p.Account && r.phase == wallet.PhaseActive {
			active++
		}
	}
	uses := "May use " + count(active, "grant") + " of yours now."
	if m.state.Glance {
		uses = "What it may use is being checked."
	}
	text := fmt.Sprintf("%s\nThis key calls itself %s. Known since %s. %s", p.Account, consent.Quote(p.Name), date(p.Since), uses)
	if p.Verified != 0 {
		return text + fmt.Sprintf(" You compared its address on %s.", date(p.Verified))
	}
	return text + " Nobody has compared its address yet."
}

// verify has a person compare an address.
func (m *Model) verify(p *wallet.Person) tea.Cmd {
	account, w := p.Account, m.session.Wallet
	m.open(&confirmPage{
		heading: "The same address?",
		text: fmt.Sprintf("Let the person who calls this key theirs read its address to you, by telephone or face to face, and compare every digit:\n\n  %s\n\n"+
			"The key calls itself %s. If it takes another name, it has to be compared again.", account, consent.Quote(p.Name)),
		yes: "it is the same",
		do: func() tea.Cmd {
			return start(m, "verify", fileLimit, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, w.Verify(ctx, account)
			}, func(_ struct{}, err error) tea.Cmd {
				m.note = "verified"
				if err != nil {
					m.note = "not remembered: " + plain(err)
				}
				return m.reload()
			})
		},
	})
	return nil
}

// meet takes in a card: the document itself, or the path of its file.
func (m *Model) meet(text string, chosen func(common.Address)) tea.Cmd {
	s := m.session
	m.note = "reading the card"
	return start(m, "meet", fileLimit+loadLimit, func(ctx context.Context) (common.Address, error) { return s.meet(ctx, text) }, func(account common.Address, err error) tea.Cmd {
		if err != nil {
			m.note = "not taken: " + plain(err)
			return nil
		}
		m.note = "the card is kept: v on People (4) compares its address"
		chosen(account)
		return m.reload()
	})
}

// meet takes in the card of somebody else, and gives its account.
func (s *Session) meet(ctx context.Context, text string) (common.Address, error) {
	card, err := readDocument(strings.TrimSpace(text), "card", consent.ReadCard)
	if err != nil {
		return common.Address{}, err
	}
	if card.Card.Account == s.Wallet.Signer.Address() {
		return common.Address{}, errors.New("that is your own card")
	}
	return card.Card.Account, s.Wallet.Meet(ctx, card)
}

// readDocument reads a document: the text itself, or the path of its file as a
// terminal drops it.
func readDocument[T any](text, kind string, read func(io.Reader) (*T, error)) (*T, error) {
	if strings.HasPrefix(text, "{") {
		return read(strings.NewReader(text))
	}
	path := dropped(text)
	// What is no file may keep its reader waiting for ever.
	if about, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the %s: %w", kind, err)
	} else if !about.Mode().IsRegular() {
		return nil, fmt.Errorf("open the %s %s: it is no file", kind, path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the %s: %w", kind, err)
	}
	defer file.Close()
	document, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return document, nil
}

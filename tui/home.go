package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// walletPage says what the wallet is, and where it stands.
type walletPage struct{ scroll }

func (p *walletPage) actions(m *Model) []action {
	var actions []action
	if m.session == nil {
		actions = append(actions, m.unlocking())
	}
	actions = append(actions,
		on([]string{"c"}, "c", "write your card", func() tea.Cmd { return m.card("") }).unless(m.closed),
		on([]string{"n"}, "n", "rename your card", func() tea.Cmd {
			m.open(&askPage{
				question: "What shall your key call itself?",
				hint:     "Everybody who gets your card or a request of yours reads it. It proves nothing.",
				done:     func(name string) (tea.Cmd, error) { return m.card(name), nil },
			})
			return nil
		}).unless(m.closed),
		on([]string{"b"}, "b", "back up", m.backUp).unless(func() string {
			switch {
			case m.status.Wallet == "":
				return "there is no wallet yet"
			case m.status.Profile.Backup:
				return "the phrase is on paper; “assent wallet export” shows it again"
			case m.busy("secret"):
				return "the keyring is being asked: look for a window"
			}
			return ""
		}),
		on([]string{"N"}, "N", "another network", func() tea.Cmd {
			m.open(newNetworkPage(m))
			return nil
		}),
	)
	return append(actions, p.scroll.actions(m)...)
}

// backUp shows the recovery phrase of a wallet that has no backup yet, after it
// was asked about.
func (m *Model) backUp() tea.Cmd {
	m.open(&confirmPage{
		heading: "Show the recovery phrase?",
		text:    "Have pen and paper at hand. Whoever sees the words has the wallet: see that nobody looks on, and no camera.",
		yes:     "show it",
		do: func() tea.Cmd {
			if m.status.Profile.Secret != wallet.InFile {
				return m.showPhrase(nil)
			}
			m.open(&askPage{
				entry: entry{secret: true}, question: "The password of the wallet " + m.status.Wallet,
				done: func(password string) (tea.Cmd, error) { return m.showPhrase([]byte(password)), nil },
			})
			return nil
		},
	})
	return nil
}

func (m *Model) showPhrase(password []byte) tea.Cmd {
	return start(m, "secret", openLimit, func(ctx context.Context) ([]byte, error) {
		defer clear(password)
		return m.door.Secret(ctx, password)
	}, func(entropy []byte, err error) tea.Cmd {
		defer clear(entropy)
		phrase := ""
		if err == nil {
			phrase, err = wallet.Phrase(entropy)
		}
		if err != nil {
			m.note = "the phrase cannot be shown: " + plain(err)
			return nil
		}
		m.open(&phrasePage{words: strings.Fields(phrase)})
		return nil
	})
}

// card writes the wallet's own card to a file, under a new name where one is
// given.
func (m *Model) card(name string) tea.Cmd {
	w := m.session.Wallet
	return start(m, "card", fileLimit, func(ctx context.Context) (string, error) {
		card, err := w.Card(ctx, name)
		if err != nil {
			return "", err
		}
		return m.door.Save(ctx, card.Card.Account.Hex()[:10]+".card.json", card)
	}, func(path string, err error) tea.Cmd {
		if err != nil {
			m.note = "not written: " + plain(err)
			return nil
		}
		m.note = "your card is in " + plain(fmt.Errorf("%s", path)) + ": give it to whoever shall ask you"
		return m.reload()
	})
}

func (p *walletPage) view(m *Model, w, h int) []string {
	s := &m.status
	var lines []string
	add := func(label, text string) {
		for i, line := range wrap(text, max(1, w-16)) {
			if i > 0 {
				label = ""
			}
			lines = append(lines, m.styles.dim.Render(fit(label, 16))+line)
		}
	}
	if s.Wallet == "" {
		return m.empty("The wallet is shown here.", w)
	}
	add("wallet", s.Wallet)
	add("address", s.Profile.Address.Hex())
	if m.state != nil {
		if name, known := m.state.Names[s.Profile.Address]; known && name != "" {
			add("calls itself", consent.Quote(name))
		}
	}
	state := "locked"
	switch {
	case m.session != nil:
		state = "unlocked"
	case m.busy("open"):
		state = "waiting for it"
	}
	place := map[string]string{"keyring": "the keyring of this computer", "file": "an encrypted file"}[string(s.Profile.Secret)]
	add("key", "in "+place+", "+state)
	backup := m.styles.good.Render("done: the phrase is on paper")
	if !s.Profile.Backup {
		backup = m.styles.broken.Render("not done: press b, with pen and paper at hand")
	}
	add("backup", backup)
	add("network", s.Network)
	if m.state != nil {
		add("registry", fmt.Sprintf("%s on chain %d", m.session.Wallet.Domain.Registry, m.session.Wallet.Domain.ChainID))
		head := "no block seen yet"
		if m.head.Block != 0 {
			head = "block " + thousands(m.head.Block)
		}
		if now := uint64(m.now().Unix()); m.head.Time != 0 && now >= m.head.Time {
			head += ", " + ago(now-m.head.Time)
		}
		add("chain", head)
		if m.state.Glance {
			return p.lines(lines, h)
		}
		add("known", fmt.Sprintf("%s, %s, %s waiting", count(len(m.state.Grants), "grant"), count(len(m.state.People), "key"), count(len(m.state.Waiting), "request")))
	}
	if m.trouble != "" {
		lines = append(lines, "")
		lines = append(lines, paint(m.styles.broken, m.trouble, w)...)
	}
	return p.lines(lines, h)
}

func ago(seconds uint64) string {
	if seconds < 60 {
		return "less than a minute old"
	}
	return left(seconds) + " old"
}

// networkPage chooses the network.
type networkPage struct{ cursor }

func (p *networkPage) actions(m *Model) []action {
	actions := []action{
		on([]string{"enter"}, "enter", "use it", func() tea.Cmd {
			name := m.status.Networks[p.keep(len(m.status.Networks))]
			m.drop(p)
			return start(m, "network", lookLimit, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, m.door.UseNetwork(ctx, name)
			}, func(_ struct{}, err error) tea.Cmd {
				if err != nil {
					m.note = "not changed: " + plain(err)
					return nil
				}
				return m.reopen()
			})
		}).unless(func() string {
			switch {
			case len(m.status.Networks) == 0:
				return "no network is known yet"
			case slices.ContainsFunc([]string{"sign", "post", "revoke", "deliver", "keep", "secret", "backup"}, m.busy):
				return "something is on its way: wait until that is done"
			}
			return ""
		}),
		m.back(),
	}
	return append(actions, p.cursor.actions(func() int { return len(m.status.Networks) })...)
}

// reopen closes the session and opens it again, as after a change of network.
// Whatever is under way is of the session before.
func (m *Model) reopen() tea.Cmd {
	for name := range m.jobs {
		m.giveUp(name)
	}
	m.trouble = ""
	if m.session != nil {
		old := m.session
		m.session, m.watch, m.state, m.head, m.over = nil, nil, nil, Head{}, nil
		return tea.Sequence(func() tea.Msg { old.Close(); return nil }, m.look())
	}
	return m.look()
}

func (p *networkPage) view(m *Model, w, h int) []string {
	lines := append(paint(m.styles.title, "Which network?", w), "")
	at := p.keep(len(m.status.Networks))
	for i, name := range m.status.Networks {
		text := name
		if name == m.status.Network {
			text += " (in use)"
		}
		lines = append(lines, pointer(i == at)+cut(text, w-2))
	}
	lines = append(lines, "")
	lines = append(lines, wrap("“local” is the chain inside this program: it needs nothing and nobody. Others are added with “assent network add”; choose the one that whoever treats you uses.", w)...)
	return window(lines, at+2, max(1, min(h, len(lines))))
}

// newNetworkPage puts the cursor on the network in use.
func newNetworkPage(m *Model) *networkPage {
	return &networkPage{cursor{max(0, slices.Index(m.status.Networks, m.status.Network))}}
}

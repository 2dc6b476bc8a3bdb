package tui

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/wallet"
)

// welcomePage is what somebody new sees: what this is, and what it is not.
type welcomePage struct{ scroll }

const welcome = `This is a consent wallet. With it you say who may read what of your health record, for what and until when, and you take that back at any time.

What it is: a key of your own, kept in this computer's keyring. With it you sign who may see what. Only meaningless numbers go to a chain. Whoever holds your record looks there, and lets nobody in whom you did not allow.

What it is not: it holds no health data. It cannot make anybody forget what they have read. It cannot help where a hospital does not ask it. Nobody can give your key back to you, we cannot either: the words that you are about to write on paper are the only copy.`

// loses names what leaving the page gives up.
func (p *welcomePage) loses() string { return "the way to a wallet" }

func (p *welcomePage) actions(m *Model) []action {
	idle := func() string {
		if m.busy("keep") {
			return "the wallet is being made"
		}
		return ""
	}
	return append([]action{
		on([]string{"m"}, "m", "make a wallet", func() tea.Cmd {
			entropy, err := wallet.NewEntropy(rand.Reader)
			if err != nil {
				m.note = plain(err)
				return nil
			}
			m.open(&placePage{entropy: entropy})
			return nil
		}).unless(idle),
		on([]string{"r"}, "r", "restore one", func() tea.Cmd {
			m.open(&askPage{
				question: "The recovery phrase", entry: entry{},
				hint: "12 to 24 words with a space between them. See that nobody looks on.",
				done: func(text string) (tea.Cmd, error) {
					entropy, err := wallet.ParsePhrase(text)
					if err != nil {
						return nil, err
					}
					m.open(&placePage{entropy: entropy, restored: true})
					return nil, nil
				},
			})
			return nil
		}).unless(idle),
		on([]string{"N"}, "N", "choose the network", func() tea.Cmd { m.open(newNetworkPage(m)); return nil }),
	}, p.scroll.actions(m)...)
}

func (p *welcomePage) view(m *Model, w, h int) []string {
	lines := append(paint(m.styles.title, "Welcome to Assent", w), "")
	lines = append(lines, wrap(welcome, w)...)
	lines = append(lines, "", m.styles.strong.Render("m")+" makes a wallet · "+m.styles.strong.Render("r")+" restores one", cut("network: "+m.status.Network+" (N chooses)", w))
	return p.lines(lines, h)
}

// placePage chooses where the key is kept.
type placePage struct {
	cursor
	entropy  []byte
	restored bool
}

// loses names what leaving the page gives up.
func (p *placePage) loses() string { return "the wallet that is being made" }

func (p *placePage) actions(m *Model) []action {
	return append([]action{
		on([]string{"enter"}, "enter", "keep it there", func() tea.Cmd {
			if p.keep(2) == 0 {
				return m.keepWallet(p, nil)
			}
			m.open(&askPage{
				entry: entry{secret: true}, question: "A password for the file",
				hint: "At least 8 characters. You type it each time that you open the wallet.",
				done: func(password string) (tea.Cmd, error) {
					if len([]rune(password)) < 8 {
						return nil, errors.New("that is too short: want at least 8 characters")
					}
					m.open(&askPage{
						entry: entry{secret: true}, question: "The same password once more",
						done: func(again string) (tea.Cmd, error) {
							if again != password {
								return nil, errors.New("that is another one: esc goes back")
							}
							return m.keepWallet(p, []byte(password)), nil
						},
					})
					return nil, nil
				},
			})
			return nil
		}).unless(func() string {
			if m.busy("keep") {
				return "it is being kept: a window may ask you to unlock the keyring"
			}
			return ""
		}),
		on([]string{"esc"}, "esc", "back", func() tea.Cmd {
			m.giveUp("keep")
			m.drop(p)
			return nil
		}),
	}, p.cursor.actions(func() int { return 2 })...)
}

func (p *placePage) view(m *Model, w, h int) []string {
	at := p.keep(2)
	lines := append(paint(m.styles.title, "Where shall the key be kept?", w), "",
		pointer(at == 0)+"in the keyring of this computer",
		pointer(at == 1)+"in a file that a password encrypts", "")
	text := "The keyring opens when you log in. This is the usual choice."
	if at == 1 {
		text = "For computers without a keyring. Without the password nobody can open the file, not even you."
	}
	lines = append(lines, wrap(text, w)...)
	if m.busy("keep") {
		lines = append(append(lines, ""), paint(m.styles.waiting, "keeping it: a window may ask you to unlock the keyring", w)...)
	}
	return window(lines, at+2, h)
}

// keepWallet makes the wallet, and shows the phrase of a new one.
func (m *Model) keepWallet(p *placePage, password []byte) tea.Cmd {
	m.note = ""
	return start(m, "keep", openLimit, func(ctx context.Context) (struct{}, error) {
		defer clear(password)
		return struct{}{}, m.door.Keep(ctx, p.entropy, password, p.restored)
	}, func(_ struct{}, err error) tea.Cmd {
		if err != nil {
			m.note = "no wallet was made: " + plain(err)
			return nil
		}
		m.over = nil
		if p.restored {
			clear(p.entropy)
			m.note = "the wallet is restored"
			return m.look()
		}
		phrase, err := wallet.Phrase(p.entropy)
		clear(p.entropy)
		if err != nil {
			m.note = plain(err)
			return m.look()
		}
		m.open(&phrasePage{words: strings.Fields(phrase)})
		return m.look()
	})
}

// phrasePage shows the recovery phrase, once, and has three of its words typed
// back.
type phrasePage struct {
	scroll
	words  []string
	asking int // how many were asked so far; the words are hidden from 1 on
	entry
	wrong string
}

// asked are the places of the words that are asked back, from 0.
func (p *phrasePage) asked() [3]int { return [3]int{2, len(p.words) / 2, len(p.words) - 2} }

func (p *phrasePage) typing() *entry {
	if p.asking > 0 {
		return &p.entry
	}
	return nil
}

// loses names what leaving the page gives up.
func (p *phrasePage) loses() string { return "the words" }

func (p *phrasePage) actions(m *Model) []action {
	if p.asking > 0 {
		return []action{
			on([]string{"enter"}, "enter", "go on", func() tea.Cmd { return p.check(m) }),
			on([]string{"esc"}, "esc", "look at the words again", func() tea.Cmd {
				p.asking, p.wrong, p.entry = 0, "", entry{}
				return nil
			}),
		}
	}
	return append([]action{
		on([]string{"enter"}, "enter", "they are on paper", func() tea.Cmd { p.asking = 1; return nil }).unless(func() string {
			if !p.reached {
				return "there are more words below: ↓"
			}
			return ""
		}),
		on([]string{"L"}, "L", "later", func() tea.Cmd {
			p.forget(m)
			m.note = "no backup yet: b on Wallet (5) shows the words again"
			return m.look()
		}),
		on([]string{"q"}, "q", "", nil).unless(func() string { return "write the words down first; L leaves that for later" }),
	}, p.scroll.actions(m)...)
}

func (p *phrasePage) check(m *Model) tea.Cmd {
	if strings.ToLower(strings.TrimSpace(p.String())) != p.words[p.asked()[p.asking-1]] {
		p.wrong, p.entry = "That is another word. Look at your paper; esc shows the words again.", entry{}
		return nil
	}
	p.wrong, p.entry = "", entry{}
	if p.asking++; p.asking <= len(p.asked()) {
		return nil
	}
	p.forget(m)
	return start(m, "backup", fileLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, m.door.BackedUp(ctx)
	}, func(_ struct{}, err error) tea.Cmd {
		m.note = "the phrase is on paper"
		if err != nil {
			m.note = "that it has a backup was not remembered: " + plain(err)
		}
		return m.look()
	})
}

// forget takes the words off the screen and out of the page.
func (p *phrasePage) forget(m *Model) {
	clear(p.words)
	p.words = nil
	m.drop(p)
}

func (p *phrasePage) view(m *Model, w, h int) []string {
	if p.asking > 0 {
		lines := paint(m.styles.title, fmt.Sprintf("Word %d, as you wrote it", p.asked()[p.asking-1]+1), w)
		lines = append(lines, "", "> "+p.entry.view(w-2), "")
		return append(lines, paint(m.styles.broken, p.wrong, w)...)
	}
	lines := append(paint(m.styles.title, "Write these words on paper, in this order", w), "")
	columns := max(1, min(4, w/17))
	for i := 0; i < len(p.words); i += columns {
		line := ""
		for j := i; j < min(len(p.words), i+columns); j++ {
			line += fmt.Sprintf("%2d %-12s  ", j+1, p.words[j])
		}
		lines = append(lines, cut(line, w))
	}
	lines = append(lines, "")
	lines = append(lines, wrap("Whoever reads them has the wallet. They are shown this once. Enter goes on when they are on paper.", w)...)
	return p.lines(lines, h)
}

package tui

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// requestsPage lists who asks, and takes requests in.
type requestsPage struct{ filtered }

// waiting gives the requests that the filter leaves.
func (p *requestsPage) waiting(m *Model) []*wallet.Waiting {
	if m.state == nil {
		return nil
	}
	return search(m.state.Waiting, m.state.hays.waiting, p.filter.String())
}

func (p *requestsPage) chosen(m *Model) *wallet.Waiting {
	waiting := p.waiting(m)
	if len(waiting) == 0 {
		return nil
	}
	return waiting[p.keep(len(waiting))]
}

func (p *requestsPage) actions(m *Model) []action {
	if p.filtering {
		return p.whileTyping()
	}
	some := func() string {
		if why := m.loaded(); why != "" {
			return why
		}
		if p.chosen(m) == nil {
			return p.none("nobody asks for anything")
		}
		return ""
	}
	actions := []action{
		on([]string{"enter"}, "enter", "open", func() tea.Cmd {
			m.open(newReview(m, p.chosen(m)))
			return nil
		}).unless(some),
		on([]string{"a"}, "a", "add", func() tea.Cmd {
			m.open(&addPage{askPage{
				question: "The path of a request, or the request itself",
				hint:     "Drop the file on this window, or type its path, or paste the whole document. Then enter.",
				done:     func(text string) (tea.Cmd, error) { return m.take(text), nil },
			}})
			return nil
		}).unless(m.loaded),
		m.denying(func() *wallet.Waiting { return p.chosen(m) }).unless(some),
	}
	if m.noMailbox() {
		actions = append(actions, m.mailboxing())
	}
	actions = append(actions, p.filterActions(m)...)
	if m.session == nil {
		actions = append([]action{m.unlocking()}, actions...)
	}
	return append(actions, p.cursor.actions(func() int { return len(p.waiting(m)) })...)
}

// paste takes what was dropped or pasted on the list.
func (p *requestsPage) paste(m *Model, text string) tea.Cmd {
	if p.pasted(text) {
		return nil
	}
	if why := m.loaded(); why != "" {
		m.note = why
		return nil
	}
	return m.take(text)
}

// addPage asks for a request. What is pasted there is taken at once where it is
// a whole document.
type addPage struct{ askPage }

func (p *addPage) actions(m *Model) []action {
	actions := p.askPage.actions(m)
	actions[0].do = func() tea.Cmd {
		m.drop(p)
		return m.take(p.String())
	}
	return actions
}

func (p *addPage) paste(m *Model, text string) tea.Cmd {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		m.drop(p)
		return m.take(text)
	}
	p.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text)})
	return nil
}

// take takes in a request: the document itself, or the path of its file as a
// terminal drops it.
func (m *Model) take(text string) tea.Cmd {
	text = strings.TrimSpace(text)
	if text == "" {
		m.note = "nothing was given: drop a file, or paste a request"
		return nil
	}
	w := m.session.Wallet
	m.note = "reading the request"
	return start(m, "take", fileLimit+loadLimit, func(ctx context.Context) (common.Hash, error) {
		request, err := readDocument(text, "request", consent.ReadRequest)
		if err != nil {
			return common.Hash{}, err
		}
		return w.Take(ctx, request)
	}, func(_ common.Hash, err error) tea.Cmd {
		m.note = "the request waits for your answer"
		if err != nil {
			m.note = "not taken: " + plain(err)
		}
		return m.reload()
	})
}

// dropped gives the path that a terminal writes where a file is dropped on it:
// in quotation marks, with backslashes, or as a file URL.
func dropped(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 1 && (text[0] == '\'' || text[0] == '"') && text[len(text)-1] == text[0] {
		return text[1 : len(text)-1]
	}
	text = strings.TrimPrefix(text, "file://")
	if os.PathSeparator != '\\' {
		var b strings.Builder
		for i := 0; i < len(text); i++ {
			if text[i] == '\\' && i+1 < len(text) {
				i++
			}
			b.WriteByte(text[i])
		}
		text = b.String()
	}
	if rest, found := strings.CutPrefix(text, "~/"); found {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return text
}

// denying says no to a request, after it was asked about.
func (m *Model) denying(chosen func() *wallet.Waiting) action {
	return on([]string{"d"}, "d", "deny", func() tea.Cmd {
		asked, w := chosen(), m.session.Wallet
		m.open(&confirmPage{
			heading: "Deny?",
			text: fmt.Sprintf("The request of %s is put away. Nothing is signed, and nobody is told.",
				m.requester(asked)),
			yes: "deny",
			do: func() tea.Cmd {
				return start(m, "deny", fileLimit, func(ctx context.Context) (struct{}, error) {
					return struct{}{}, w.Deny(ctx, asked.Document)
				}, func(_ struct{}, err error) tea.Cmd {
					m.note = "denied: nothing was signed"
					if err != nil {
						m.note = "not denied: " + plain(err)
					}
					m.closeReview(asked.ID)
					return m.reload()
				})
			},
		})
		return nil
	}).unless(func() string {
		if why := m.loaded(); why != "" {
			return why
		}
		if chosen() == nil {
			return "nobody asks for anything"
		}
		return ""
	})
}

// requester names who signed a request, by the card that came with it.
func (m *Model) requester(asked *wallet.Waiting) string {
	return fmt.Sprintf("the key that calls itself %s (address %s)", consent.Quote(asked.Document.Card.Card.Name), asked.Document.Request.Requester)
}

func (p *requestsPage) view(m *Model, w, h int) []string {
	if m.state == nil {
		return m.empty("Who asks to see what of your record is shown here.", w)
	}
	waiting := p.waiting(m)
	head := p.filterLine(m, len(waiting), len(m.state.Waiting), w)
	if len(m.state.Waiting) == 0 {
		byLetter := ""
		if m.noMailbox() {
			byLetter = " " + couldCome
		} else if m.session != nil && m.session.Collect != nil {
			byLetter = " What comes by letter is shown by itself."
		}
		return append(head, wrap("Nobody asks for anything."+byLetter+"\n\nWhen somebody gives you a request, drop its file on this window, or press a and type its path, or paste the whole document.", w)...)
	}
	if len(waiting) == 0 {
		return append(head, wrap("No request is like that. esc takes the filter away.", w)...)
	}
	at := p.keep(len(waiting))
	list, side := columns(w, w/2)
	var lines []string
	focus := 0
	for i, asked := range waiting {
		r := &asked.Document.Request
		name := quoted(asked.Document.Card.Card.Name, max(8, list-30))
		if i == at {
			name, focus = m.styles.strong.Render(name), len(lines)
		}
		lines = append(lines,
			cut(pointer(i == at)+name+"  "+short(r.Requester)+"  asked "+date(r.Time), list),
			cut("    "+count(len(r.Scopes), "kind")+" of data, until "+date(r.Expires)+m.newcomer(asked), list))
		if r.Expires <= m.state.Time {
			lines[len(lines)-1] = cut("    "+m.styles.ended.Render("too late")+": what it asks for ended on "+date(r.Expires), list)
		}
	}
	var foot []string
	if m.noMailbox() {
		foot = append([]string{""}, paint(m.styles.dim, couldCome, list)...)
	}
	lines = append(append(head, window(lines, focus, max(1, h-len(head)-len(foot)))...), foot...)
	if side == 0 {
		return lines
	}
	return m.beside(lines, wrap(consent.DescribeRequest(waiting[at].Document), sideBreadth(side)), list, h)
}

// couldCome is what Requests says where there is no mailbox.
const couldCome = "Requests can come by themselves once a mailbox is open: m asks first."

func (m *Model) newcomer(asked *wallet.Waiting) string {
	if asked.First {
		return m.styles.soon.Render(" · first request from this key")
	}
	return ""
}

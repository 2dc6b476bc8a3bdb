package tui

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// activityPage lists what happened, newest first.
type activityPage struct{ filtered }

// events gives what the filter leaves.
func (p *activityPage) events(m *Model) []*wallet.Event {
	if m.state == nil {
		return nil
	}
	return search(m.state.Events, m.state.hays.events, p.filter.String())
}

func (p *activityPage) actions(m *Model) []action {
	if p.filtering {
		return p.whileTyping()
	}
	actions := []action{
		on([]string{"enter"}, "enter", "open", func() tea.Cmd {
			events := p.events(m)
			e := events[p.keep(len(events))]
			if e.Told != nil {
				m.open(&textPage{text: m.useText(e)})
			} else if e.Request != nil {
				m.open(&textPage{text: consent.DescribeRequest(e.Request)})
			} else {
				m.open(&grantPage{id: e.Grant})
			}
			return nil
		}).unless(func() string {
			if why := m.loaded(); why != "" {
				return why
			}
			if len(p.events(m)) == 0 {
				return p.none("nothing happened yet")
			}
			return ""
		}),
	}
	actions = append(actions, on([]string{"w"}, "w", "ask who looked", m.followLogs).unless(func() string {
		if m.busy("logs") {
			return "the data holders are still being asked"
		}
		return m.closed()
	}))
	actions = append(actions, p.filterActions(m)...)
	if m.session == nil {
		actions = append([]action{m.unlocking()}, actions...)
	}
	return append(actions, p.cursor.actions(func() int { return len(p.events(m)) })...)
}

// acts are what happened in words, with the other side after them.
var acts = map[wallet.Act]string{
	wallet.ActSigned: "you signed a grant to", wallet.ActReceived: "you used a grant of",
	wallet.ActAnchored: "anchored: the grant with", wallet.ActRevoked: "revoked: the grant with",
	wallet.ActExpired: "came to its end: the grant with", wallet.ActAsked: "asked you:", wallet.ActDenied: "you denied a request of",
	wallet.ActUsed: "used", wallet.ActRefused: "refused",
}

// provenWord says whether what a data holder tells is proven on chain.
func provenWord(e *wallet.Event) string {
	if e.Proven != 0 {
		return "proven"
	}
	return "not proven yet"
}

// followLogs asks the data holders who used the record.
func (m *Model) followLogs() tea.Cmd {
	m.note = "asking the data holders who looked"
	return start(m, "logs", logsLimit, m.session.Audit, func(followed int, err error) tea.Cmd {
		m.note = "read " + count(followed, "log")
		if err != nil {
			m.note += "; " + plain(err)
		}
		return m.reload()
	})
}

// usesOf tells what was last done with a grant, as far as data holders told.
func (m *Model) usesOf(grant common.Hash) []string {
	const shown = 3
	var lines []string
	for i := range m.state.Events {
		e := &m.state.Events[i]
		if e.Told == nil || e.Grant != grant {
			continue
		}
		if len(lines) == shown {
			return append(lines, "And more before: see Activity.")
		}
		lines = append(lines, fmt.Sprintf("%s: %s %s, %s.", moment(e.Time), m.useWho(e, wide), e.Told.Did, provenWord(e)))
	}
	return lines
}

// useText says all about an act at a data holder.
func (m *Model) useText(e *wallet.Event) string {
	t := e.Told
	who := m.useWho(e, wide)
	if who == "you" {
		who = "You"
	}
	text := fmt.Sprintf("%s %s.\n\nSo says the log of the data holder %s, of %s", who, t.Did, m.named(t.Holder, wide), moment(t.Time))
	if t.Purpose != "" {
		text += ", for " + t.For()
	}
	text += ".\n\n"
	if e.Proven != 0 {
		text += fmt.Sprintf("Proven: the chain has a root over this entry of the log since %s, so that it was not altered since.", moment(e.Proven))
	} else {
		text += "Not proven yet: the chain has no root over this entry of the log. It may still be altered, which you would see."
	}
	if r := m.state.find(t.Grant); r != nil {
		text += "\n\nThe grant is " + string(r.phase) + ". " + consent.Describe(&r.Document.Grant, r.Document.Provisions, m.state.Names)
	} else {
		text += "\n\nThe grant " + t.Grant.Hex() + " is not in this wallet."
	}
	return text
}

func (p *activityPage) view(m *Model, w, h int) []string {
	if m.state == nil {
		return m.empty("What happened is shown here.", w)
	}
	events := p.events(m)
	lines := p.filterLine(m, len(events), len(m.state.Events), w)
	switch {
	case len(events) > 0:
	case m.state.Glance:
		return append(lines, m.checking(w)...)
	case len(m.state.Events) > 0:
		return append(lines, wrap("Nothing is like that. esc takes the filter away.", w)...)
	default:
		return append(lines, wrap("Nothing happened yet.\n\nWhat you sign, what is anchored and what ends stands here. Who looked at your record with a grant, the data holders tell: w asks those in your address book.", w)...)
	}
	at := p.keep(len(events))
	list, side := columns(w, w/2)
	top, end := part(at, len(events), h-len(lines))
	for i := top; i < end; i++ {
		e := events[i]
		style := m.styles.dim
		switch e.Act {
		case wallet.ActAnchored:
			style = m.styles.good
		case wallet.ActRevoked, wallet.ActDenied, wallet.ActRefused:
			style = m.styles.broken
		case wallet.ActSigned, wallet.ActReceived, wallet.ActAsked, wallet.ActUsed:
			style = m.styles.waiting
		}
		when := format(e.Time, "2 Jan 15:04")
		if list >= 60 {
			when = format(e.Time, "2 Jan 2006 15:04")
		}
		line := pointer(i == at) + fit(when, len(when)+2)
		if e.Told != nil {
			lines = append(lines, cut(line+style.Render(acts[e.Act]+", "+provenWord(e)+":")+" "+m.useWho(e, max(8, list/4))+" "+e.Told.Did+" at "+m.who(e.Told.Holder, list), list))
			continue
		}
		line += style.Render(acts[e.Act]) + " "
		lines = append(lines, cut(line+m.eventWho(e, max(8, list-len(when)-len(acts[e.Act])-6)), list))
	}
	if side == 0 {
		return lines
	}
	var detail []string
	if e := events[at]; e.Told != nil {
		detail = wrap(m.useText(e), sideBreadth(side))
	} else if e.Request != nil {
		detail = wrap(consent.DescribeRequest(e.Request), sideBreadth(side))
	} else if r := m.state.find(e.Grant); r != nil {
		detail = m.describe(r, sideBreadth(side))
	}
	return m.beside(lines, detail, list, h)
}

func (m *Model) useWho(e *wallet.Event, w int) string {
	if e.Other == m.status.Profile.Address {
		return "you"
	}
	return m.who(e.Other, w)
}

func (m *Model) eventWho(e *wallet.Event, w int) string {
	if e.Request != nil {
		return quoted(e.Request.Card.Card.Name, w)
	}
	if e.Other == (common.Address{}) {
		return "nobody"
	}
	return m.who(e.Other, w)
}

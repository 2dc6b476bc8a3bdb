package tui

import (
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
			if e.Request != nil {
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
		return append(lines, wrap("Nothing happened yet.\n\nWhat you sign, what is anchored and what ends stands here. Who looked at your record with a grant, only the data holder can tell: ask for its audit events.", w)...)
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
		case wallet.ActRevoked, wallet.ActDenied:
			style = m.styles.broken
		case wallet.ActSigned, wallet.ActReceived, wallet.ActAsked:
			style = m.styles.waiting
		}
		when := format(e.Time, "2 Jan 15:04")
		if list >= 60 {
			when = format(e.Time, "2 Jan 2006 15:04")
		}
		line := pointer(i == at) + fit(when, len(when)+2) + style.Render(acts[e.Act]) + " "
		lines = append(lines, cut(line+m.eventWho(e, max(8, list-len(when)-len(acts[e.Act])-6)), list))
	}
	if side == 0 {
		return lines
	}
	var detail []string
	if e := events[at]; e.Request != nil {
		detail = wrap(consent.DescribeRequest(e.Request), sideBreadth(side))
	} else if r := m.state.find(e.Grant); r != nil {
		detail = m.describe(r, sideBreadth(side))
	}
	return m.beside(lines, detail, list, h)
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

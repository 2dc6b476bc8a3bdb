package tui

import (
	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// activityPage lists what happened, newest first.
type activityPage struct{ cursor }

func (p *activityPage) actions(m *Model) []action {
	n := func() int {
		if m.state == nil {
			return 0
		}
		return len(m.state.Events)
	}
	actions := []action{
		on([]string{"enter"}, "enter", "open", func() tea.Cmd {
			e := &m.state.Events[p.keep(n())]
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
			if n() == 0 {
				return "nothing happened yet"
			}
			return ""
		}),
	}
	if m.session == nil {
		actions = append([]action{m.unlocking()}, actions...)
	}
	return append(actions, p.cursor.actions(n)...)
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
	events := m.state.Events
	if len(events) == 0 && m.state.Glance {
		return m.checking(w)
	}
	if len(events) == 0 {
		return wrap("Nothing happened yet.\n\nWhat you sign, what is anchored and what ends stands here. Who looked at your record with a grant, only the data holder can tell: ask for its audit events.", w)
	}
	at := p.keep(len(events))
	top := 0
	if len(events) > h {
		top = min(max(0, at-h/2), len(events)-h)
	}
	var lines []string
	for i := top; i < min(len(events), top+h); i++ {
		e := &events[i]
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
		if w >= 60 {
			when = format(e.Time, "2 Jan 2006 15:04")
		}
		line := pointer(i == at) + fit(when, len(when)+2) + style.Render(acts[e.Act]) + " "
		lines = append(lines, cut(line+m.eventWho(e, max(8, w-len(when)-len(acts[e.Act])-6)), w))
	}
	return lines
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

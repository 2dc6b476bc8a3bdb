package tui

import (
	"context"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// accessPage lists who can see what now, and could before.
type accessPage struct {
	filtered
	chosen common.Hash // the grant under the cursor, wherever a load moves it
}

func (p *accessPage) legend() string {
	return "The bars: █ when it counts, │ today, ▶ and ◀ where it goes on beyond, ✕ where it was taken back. ← stands before who gave something to you."
}

// rows gives the rows that the filter leaves, and puts the cursor on the grant
// that was chosen.
func (p *accessPage) rows(m *Model) []*row {
	if m.state == nil {
		return nil
	}
	rows := search(m.state.rows, m.state.hays.rows, p.filter.String())
	if p.keep(len(rows)) < len(rows) && rows[p.at].ID != p.chosen {
		for i := range rows {
			if rows[i].ID == p.chosen {
				p.at = i
				break
			}
		}
	}
	return rows
}

// row gives the row under the cursor, or nil.
func (p *accessPage) row(m *Model) *row {
	rows := p.rows(m)
	if len(rows) == 0 {
		return nil
	}
	return rows[p.keep(len(rows))]
}

func (p *accessPage) actions(m *Model) []action {
	if p.filtering {
		return p.whileTyping()
	}
	some := func() string {
		if why := m.loaded(); why != "" {
			return why
		}
		if p.row(m) == nil {
			return p.none("no grant is chosen")
		}
		return ""
	}
	move := p.cursor.actions(func() int { return len(p.rows(m)) })
	for i := range move {
		do := move[i].do
		move[i].do = func() tea.Cmd {
			p.chosen = common.Hash{}
			cmd := do()
			if r := p.row(m); r != nil {
				p.chosen = r.ID
			}
			return cmd
		}
	}
	actions := []action{
		on([]string{"enter"}, "enter", "open", func() tea.Cmd {
			m.open(&grantPage{id: p.row(m).ID})
			return nil
		}).unless(some),
	}
	actions = append(actions, revoking(m, func() *row { return p.row(m) })...)
	actions = append(actions, on([]string{"n"}, "n", "give", func() tea.Cmd { m.open(&givePage{}); return nil }).unless(m.loaded))
	actions = append(actions, p.filterActions(m)...)
	if m.session == nil {
		actions = append([]action{m.unlocking()}, actions...)
	}
	return append(actions, move...)
}

// unlocking is the action that opens the wallet.
func (m *Model) unlocking() action {
	return on([]string{"u"}, "u", "unlock the wallet", m.look).unless(func() string {
		if m.busy("open") || m.busy("look") {
			return "it is being unlocked: look for a window that asks for it"
		}
		return ""
	})
}

func (p *accessPage) view(m *Model, w, h int) []string {
	if m.state == nil {
		return m.empty("Who can see what of your record is shown here.", w)
	}
	rows := p.rows(m)
	lines := p.filterLine(m, len(rows), len(m.state.rows), w)
	if len(rows) == 0 {
		if m.state.Glance {
			return append(lines, m.checking(w)...)
		}
		text := "You gave nobody access, and nobody gave you any.\n\nRequests (1) shows who asks; n gives on your own."
		if len(m.state.rows) > 0 {
			text = "No grant is like that. esc takes the filter away."
		}
		return append(lines, wrap(text, w)...)
	}
	at := p.keep(len(rows))
	list, side := columns(w, w*2/5)
	cells := layoutOf(list)
	line := newTimeline(m.state.Time, cells.bar)
	lines = append(lines, m.styles.dim.Render(cells.head(line)))
	top, end := part(at, len(rows), h-len(lines))
	for i := top; i < end; i++ {
		lines = append(lines, cells.row(m, rows[i], line, i == at))
	}
	if side == 0 {
		return lines
	}
	return m.beside(lines, m.describe(rows[at], sideBreadth(side)), list, h)
}

// empty says what a screen is for while there is nothing to show on it.
func (m *Model) empty(what string, w int) []string {
	lines := wrap(what, w)
	if why := m.loaded(); why != "" {
		lines = append(append(lines, ""), wrap("Now: "+why+".", w)...)
	}
	return lines
}

// checking is what a list that is empty at a glance says: there may be more.
func (m *Model) checking(w int) []string { return wrap("Still reading what the wallet holds.", w) }

// layout is how wide the columns of the list are.
type layout struct{ phase, who, what, bar, end int }

func layoutOf(w int) layout {
	l := layout{phase: 13, who: 18, end: 13}
	switch {
	case w >= 58: // what a list has left beside its detail, from 100 columns on
		l.bar = w / 4
		if w >= 78 {
			l.bar = min(w*3/10, 40)
		}
		l.what = w - 2 - l.phase - l.who - l.bar
		l.end = 0
	default:
		l.phase, l.end = 12, 11
		l.who = max(4, w-2-l.phase-l.end)
	}
	return l
}

func (l layout) head(t timeline) string {
	head := fit("  state", 2+l.phase) + fit("who", l.who)
	if l.what > 0 {
		head += fit("what", l.what)
	}
	if l.end > 0 {
		head += fit("until", l.end)
	}
	return head + t.months()
}

func (l layout) row(m *Model, r *row, t timeline, here bool) string {
	style := m.styles.phase(r.phase)
	g := &r.Document.Grant
	word := string(r.phase)
	soon := r.phase == wallet.PhaseActive && ending(g.Expires, m.state.Time)
	if soon {
		word, style = "ends in "+left(g.Expires-m.state.Time), m.styles.soon
	}
	who := m.who(r.With(), l.who-1)
	if !r.Given {
		who = clip("← "+who, l.who-1)
	}
	if here {
		who = m.styles.strong.Render(who)
	}
	line := pointer(here) + style.Render(fit(word, l.phase)) + fit(who, l.who)
	if l.what > 0 {
		line += fit(cut(r.what, l.what-1), l.what)
	}
	if l.end > 0 {
		end := g.Expires
		if r.Revoked != 0 {
			end = min(end, r.Revoked)
		}
		line += fit(date(end), l.end)
	}
	return line + style.Render(t.bar(g.NotBefore, g.Expires, r.Revoked))
}

// left says how long something lasts yet.
func left(seconds uint64) string {
	switch {
	case seconds >= 24*60*60:
		return fmt.Sprintf("%d d", seconds/(24*60*60))
	case seconds >= 60*60:
		return fmt.Sprintf("%d h", seconds/(60*60))
	}
	return fmt.Sprintf("%d min", seconds/60+1)
}

// who names an account in at most w cells: what it calls itself, or its address
// where it does not, or where another calls itself so. Nobody's name can look like
// the word for the wallet's own, since names are in quotation marks.
func (m *Model) who(account common.Address, w int) string {
	if m.session != nil && account == m.session.Wallet.Signer.Address() {
		return cut("yourself", w)
	}
	name := m.state.Names[account]
	if strings.Trim(consent.Quote(name), "“ ”") == "" {
		return cut(short(account), w)
	}
	for other, called := range m.state.Names {
		if other != account && consent.Quote(called) == consent.Quote(name) {
			return cut(short(account), w)
		}
	}
	return quoted(name, w)
}

// named names an account in about w cells, and gives its address, once.
func (m *Model) named(account common.Address, w int) string {
	name, address := m.who(account, w), short(account)
	if name == address {
		return address
	}
	return name + "  " + address
}

// describe says all about a grant.
func (m *Model) describe(r *row, w int) []string {
	g := &r.Document.Grant
	word := m.styles.phase(r.phase).Render(string(r.phase))
	if r.phase == wallet.PhaseActive && ending(g.Expires, m.state.Time) {
		word += m.styles.soon.Render(", ends in " + left(g.Expires-m.state.Time))
	}
	given := "You gave this"
	if !r.Given {
		given = "You were given this"
	}
	lines := []string{word + ". " + given + " on " + date(r.Time) + "."}
	switch {
	case r.Revoked != 0:
		lines = append(lines, "Ended on "+moment(r.Revoked)+".")
	case r.Anchored != 0:
		text := "Anchored on " + moment(r.Anchored)
		if block, known := m.session.Posted(r.Document.Root()); known {
			text += fmt.Sprintf(", block %s, %s", thousands(block), count(int(m.head.Block-min(block, m.head.Block))+1, "confirmation"))
		}
		lines = append(lines, wrap(text+".", w)...)
	}
	if r.Verdict.Outcome != consent.Permit && r.Verdict.Clause != "" {
		lines = append(lines, paint(m.styles.dim, "It does not count: "+plain(fmt.Errorf("%s", r.Verdict.Clause))+".", w)...)
	}
	lines = append(lines, "")
	lines = append(lines, wrap(consent.Describe(g, r.Document.Provisions, m.state.Names), w)...)
	if uses := m.usesOf(r.ID); len(uses) > 0 {
		lines = append(lines, "")
		lines = append(lines, wrap(strings.Join(uses, "\n"), w)...)
	}
	return append(lines, "", m.styles.dim.Render(cut("id "+r.ID.Hex(), w)))
}

// find gives the row of a grant, or nil where it is not among them.
func (s *state) find(id common.Hash) *row {
	for i := range s.rows {
		if s.rows[i].ID == id {
			return &s.rows[i]
		}
	}
	return nil
}

// grantPage shows one grant whole.
type grantPage struct {
	scroll
	id common.Hash
}

func (p *grantPage) actions(m *Model) []action {
	r := func() *row { return m.state.find(p.id) }
	actions := append(revoking(m, r), m.saving(r), m.back())
	return append(actions, p.scroll.actions(m)...)
}

func (p *grantPage) view(m *Model, w, h int) []string {
	r := m.state.find(p.id)
	if r == nil {
		return []string{"This grant is not in the wallet any more."}
	}
	return p.lines(m.describe(r, w), h)
}

// saving writes a grant to a file, for whoever it was given to.
func (m *Model) saving(r func() *row) action {
	return on([]string{"w"}, "w", "write to a file", func() tea.Cmd {
		return m.save(r().Document)
	}).unless(func() string {
		switch {
		case m.busy("save"):
			return "it is being written"
		case r() == nil:
			return "no grant is chosen"
		case m.state.Glance:
			return "it is still being checked: wait a moment"
		case r().Anchored == 0:
			return "it is not anchored yet, so it does not count"
		}
		return ""
	})
}

func (m *Model) save(d *consent.GrantDocument) tea.Cmd {
	name := d.ID().Hex()[:10] + ".grant.json"
	return start(m, "save", fileLimit, func(ctx context.Context) (string, error) {
		return m.door.Save(ctx, name, d)
	}, func(path string, err error) tea.Cmd {
		if err != nil {
			m.note = "not written: " + plain(err)
			return nil
		}
		m.note = "written to " + plain(fmt.Errorf("%s", path)) + ": give that file to them"
		return nil
	})
}

package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// reviewPage is where a person narrows what they would give, and signs it: in
// answer to a request, or on their own.
type reviewPage struct {
	cursor
	asked   *wallet.Waiting // nil: on their own
	grantee common.Address

	limits  []consent.Scope  // what was asked for, or may be given
	given   []bool           // one for each of limits
	scopes  []consent.Scope  // each within its limit
	offered []common.Address // data holders
	at      []bool           // one for each of offered
	span    int              // of spans; len(spans): as asked, or the date below
	until   uint64           // an own date; 0: as asked for
	latest  uint64           // the latest end; 0: any
	begins  uint64
}

// spans are the lengths of time to choose from, in days.
var spans = []uint64{7, 30, 90}

func newReview(m *Model, asked *wallet.Waiting) *reviewPage {
	r := &asked.Document.Request
	p := &reviewPage{
		asked: asked, grantee: r.Requester, limits: r.Scopes, offered: r.Holders,
		span: len(spans), latest: r.Expires, begins: r.NotBefore,
	}
	p.scopes = wallet.ChoiceOf(r).Scopes
	p.given = slices.Repeat([]bool{true}, len(p.scopes))
	// Where any data holder is asked for, those that are known may be named instead.
	if slices.Contains(p.offered, common.Address{}) {
		for _, person := range m.state.People {
			if !slices.Contains(p.offered, person.Account) && person.Account != r.Requester {
				p.offered = append(slices.Clone(p.offered), person.Account)
			}
		}
	}
	p.at = make([]bool, len(p.offered))
	for i := range p.at {
		p.at[i] = slices.Contains(r.Holders, p.offered[i])
	}
	return p
}

// newGift is a review of what a person gives on their own.
func newGift(m *Model, grantee common.Address, scopes []consent.Scope) *reviewPage {
	p := &reviewPage{grantee: grantee, scopes: scopes, span: 1, begins: uint64(m.now().Unix()), offered: []common.Address{{}}}
	for _, scope := range scopes {
		scope.Sensitivities = consent.AllSensitivities
		p.limits = append(p.limits, scope)
	}
	p.given = slices.Repeat([]bool{true}, len(scopes))
	for _, person := range m.state.People {
		if person.Account != grantee {
			p.offered = append(p.offered, person.Account)
		}
	}
	p.at = make([]bool, len(p.offered))
	p.at[0] = true
	return p
}

// expires gives the end that is chosen.
func (p *reviewPage) expires(now time.Time) uint64 {
	switch {
	case p.span < len(spans):
		end := max(uint64(now.Unix()), p.begins) + spans[p.span]*24*60*60
		if p.latest != 0 {
			end = min(end, p.latest)
		}
		return end
	case p.until != 0:
		return p.until
	}
	return p.latest
}

// draft gives what would be signed.
func (p *reviewPage) draft(m *Model) (*wallet.Draft, error) {
	c := &wallet.Choice{Scopes: slices.Clone(p.scopes), NotBefore: p.begins, Expires: p.expires(m.now())}
	for i := range c.Scopes {
		if !p.given[i] {
			c.Scopes[i].Interactions = 0
		}
	}
	for i, holder := range p.offered {
		if p.at[i] {
			c.Holders = append(c.Holders, holder)
		}
	}
	var d *wallet.Draft
	var err error
	if p.asked != nil {
		d, err = wallet.DraftWithin(p.asked.Document, c)
	} else {
		d, err = wallet.DraftTo(p.grantee, c)
	}
	if err != nil {
		return nil, err
	}
	return d, d.Check(m.session.Wallet.Signer.Address(), uint64(m.now().Unix()))
}

// The lines that keys act on: first the scopes, then the data holders, then the
// length of time.
func (p *reviewPage) lines() int { return len(p.limits) + len(p.offered) + 1 }

func (p *reviewPage) onScope() bool { return p.cursor.at < len(p.limits) }

func (p *reviewPage) onSpan() bool { return p.cursor.at == p.lines()-1 }

func (p *reviewPage) actions(m *Model) []action {
	turn := func(by int) func() tea.Cmd {
		return func() tea.Cmd {
			n := len(spans)
			if p.latest != 0 || p.until != 0 {
				n++
			}
			p.span = (p.span + by + n) % n
			return nil
		}
	}
	notSpan := func() string {
		if !p.onSpan() {
			return "left and right choose how long: go down to “until” first"
		}
		return ""
	}
	actions := []action{
		on([]string{" "}, "space", "give or not", func() tea.Cmd {
			if p.onScope() {
				p.given[p.cursor.at] = !p.given[p.cursor.at]
			} else {
				i := p.cursor.at - len(p.limits)
				p.at[i] = !p.at[i]
			}
			return nil
		}).unless(func() string {
			if p.onSpan() {
				return "left and right choose how long it lasts, enter names a day"
			}
			return ""
		}),
		on([]string{"enter"}, "enter", "narrow", func() tea.Cmd {
			switch {
			case p.onScope():
				m.open(&narrowPage{of: p, i: p.cursor.at})
			case p.onSpan():
				m.open(p.askUntil(m))
			}
			return nil
		}).unless(func() string {
			if !p.onScope() && !p.onSpan() {
				return "a data holder is chosen with space"
			}
			return ""
		}),
		on([]string{"s"}, "s", "sign", func() tea.Cmd { return m.prepare(p) }).unless(func() string {
			if m.busy("prepare") || m.busy("sign") || m.busy("post") {
				return "something is being signed: wait until that is done"
			}
			if _, err := p.draft(m); err != nil {
				return plain(err)
			}
			return ""
		}),
	}
	if p.asked != nil {
		actions = append(actions, m.denying(func() *wallet.Waiting { return p.asked }))
	}
	actions = append(actions, m.back(),
		on([]string{"left", "h"}, "←", "shorter", turn(-1)).unless(notSpan),
		on([]string{"right", "l"}, "→", "longer", turn(1)).unless(notSpan),
		on([]string{"f"}, "f", "the whole text", func() tea.Cmd {
			m.open(&textPage{text: p.whole(m)})
			return nil
		}))
	return append(actions, p.cursor.actions(p.lines)...)
}

// loses names what leaving the page gives up.
func (p *reviewPage) loses() string { return "what you chose here" }

// askUntil asks for an end of one's own.
func (p *reviewPage) askUntil(m *Model) *askPage {
	return &askPage{
		question: "Until which day?",
		hint:     "For example 2027-01-31. It ends as that day begins, in UTC.",
		done: func(text string) (tea.Cmd, error) {
			at, err := parseDay(text)
			switch {
			case err != nil:
				return nil, err
			case at <= uint64(m.now().Unix()):
				return nil, errors.New("that day has begun already: name a later one")
			case p.latest != 0 && at > p.latest:
				return nil, errors.New("that is later than was asked for: until " + moment(p.latest))
			}
			p.until, p.span = at, len(spans)
			return nil, nil
		},
	}
}

func parseDay(text string) (uint64, error) {
	t, err := time.Parse(time.DateOnly, strings.TrimSpace(text))
	if err != nil || t.Unix() <= 0 {
		return 0, errors.New("want a day such as 2027-01-31")
	}
	return uint64(t.Unix()), nil
}

// whole is the request, or what is given, in full sentences.
func (p *reviewPage) whole(m *Model) string {
	text := "On your own, without a request."
	if p.asked != nil {
		text = "The request:\n\n" + consent.DescribeRequest(p.asked.Document)
	}
	if d, err := p.draft(m); err != nil {
		text += "\n\nAs it stands nothing can be signed: " + plain(err) + "."
	} else {
		text += "\n\nYou would sign:\n\n" + d.Describe(m.state.Names)
	}
	return text
}

func (p *reviewPage) view(m *Model, w, h int) []string {
	var lines []string
	add := func(more ...string) { lines = append(lines, more...) }
	if p.asked != nil {
		r := &p.asked.Document.Request
		add(m.styles.title.Render(quoted(p.asked.Document.Card.Card.Name, w-16)) + "  " + short(r.Requester))
		add(cut("asked "+moment(r.Time)+m.newcomer(p.asked), w))
		if r.Reason != "" {
			add(cut("reason: "+quoted(r.Reason, w-8), w))
		}
	} else {
		add(cut(m.styles.title.Render("to "+m.named(p.grantee, w-20)), w))
	}
	add("")
	focus := 0
	place := func(i int, first string, rest ...string) {
		if i == p.cursor.at {
			focus = len(lines)
		}
		add(cut(pointer(i == p.cursor.at)+first, w))
		for _, line := range rest {
			add("      " + line)
		}
	}
	for i := range p.limits {
		words := wrap(p.scopes[i].Words(), w-6)
		if !p.given[i] {
			words = paint(m.styles.dim, "not given: "+p.limits[i].Words(), w-6)
		}
		if asked := p.limits[i].Sensitivities; p.asked != nil && asked != 0 {
			words = append(words, paint(m.styles.soon, fmt.Sprintf("sensitive: %d of the %d asked for (enter names them)",
				len(p.scopes[i].Sensitivities.Categories()), len(asked.Categories())), w-6)...)
		}
		place(i, mark(p.given[i])+" "+words[0], words[1:]...)
	}
	add(m.styles.dim.Render("held by"))
	for i, holder := range p.offered {
		name := "any data holder"
		if holder != (common.Address{}) {
			name = m.named(holder, w-24)
		}
		place(len(p.limits)+i, mark(p.at[i])+" "+name)
	}
	place(p.lines()-1, "until: ◂ "+m.styles.strong.Render(date(p.expires(m.now())))+" ▸ "+p.spanWords())
	add(m.styles.dim.Render("  may pass it on: no"), "")
	if d, err := p.draft(m); err != nil {
		add(paint(m.styles.waiting, "nothing to sign yet: "+plain(err), w)...)
	} else {
		add(box("you would sign", wrap(d.Describe(m.state.Names), w-4), w)...)
	}
	return window(lines, focus, h)
}

func (p *reviewPage) spanWords() string {
	switch {
	case p.span < len(spans):
		return fmt.Sprintf("(%d days)", spans[p.span])
	case p.until != 0:
		return "(your own date)"
	}
	return "(as asked)"
}

// textPage shows a text.
type textPage struct {
	scroll
	text string
}

func (p *textPage) actions(m *Model) []action {
	return append([]action{m.back()}, p.scroll.actions(m)...)
}

func (p *textPage) view(_ *Model, w, h int) []string { return p.lines(wrap(p.text, w), h) }

// closeReview takes the review of a request away, and what lies over it.
func (m *Model) closeReview(id common.Hash) {
	for _, p := range m.over {
		if r, ok := p.(*reviewPage); ok && r.asked != nil && r.asked.ID == id {
			m.drop(p)
			return
		}
	}
}

// prepared is what a person has to know before they sign.
type prepared struct {
	contract bool
	names    consent.Names
}

// prepare looks once more whether the request counts, and asks.
func (m *Model) prepare(p *reviewPage) tea.Cmd {
	draft, err := p.draft(m)
	if err != nil {
		m.note = plain(err)
		return nil
	}
	s := m.session
	m.note = "looking whether it still counts"
	return start(m, "prepare", loadLimit, func(ctx context.Context) (prepared, error) { return s.know(ctx, draft) }, func(know prepared, err error) tea.Cmd {
		m.note = ""
		if err != nil {
			m.note = "nothing is signed: " + plain(err)
			return nil
		}
		m.open(&confirmPage{
			heading: "You would sign",
			text:    draft.Describe(know.names),
			risks:   draft.Risks(know.contract),
			yes:     "sign",
			do: func() tea.Cmd {
				m.drop(p)
				return m.sign(draft)
			},
		})
		return nil
	})
}

// know looks whether what a draft answers still counts, and who it is for.
func (s *Session) know(ctx context.Context, draft *wallet.Draft) (know prepared, err error) {
	if draft.Answers != nil {
		if err = s.Wallet.Receive(ctx, draft.Answers); err != nil {
			return know, err
		}
	}
	if know.contract, err = s.Wallet.Registry.IsContract(ctx, draft.Grantee); err != nil {
		return know, err
	}
	know.names, err = s.Wallet.Names(ctx)
	return know, err
}

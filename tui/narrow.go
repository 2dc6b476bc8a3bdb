package tui

import (
	"errors"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/consent"
)

// narrowPage narrows one scope: what may be done, which category, which dates,
// and which sensitive categories, each by its name.
type narrowPage struct {
	cursor
	of *reviewPage
	i  int
}

// knob is one thing that can be narrowed.
type knob struct {
	label string
	value string
	set   bool   // shown as a checkbox
	on    bool   // of a checkbox
	why   string // why it cannot change
	turn  func() tea.Cmd
}

// categories to narrow a whole resource type to: HL7 observation-category and
// condition-category.
var categories = map[string][]string{
	"Observation": {"laboratory", "vital-signs", "social-history", "survey", "exam", "imaging", "procedure", "therapy", "activity"},
	"Condition":   {"problem-list-item", "encounter-diagnosis"},
}

var interactions = []struct {
	bit   consent.Interactions
	words string
}{
	{consent.Read, "read one item that is known"},
	{consent.Search, "search, and read what is found"},
	{consent.Create, "add"}, {consent.Update, "change"}, {consent.Delete, "delete"},
}

func (p *narrowPage) knobs(m *Model) []knob {
	limit, scope := &p.of.limits[p.i], &p.of.scopes[p.i]
	var knobs []knob
	for _, it := range interactions {
		if limit.Interactions&it.bit == 0 {
			continue
		}
		k := knob{label: "may " + it.words, set: true, on: scope.Interactions&it.bit != 0}
		if scope.Interactions == it.bit {
			k.why = "it must be allowed at least one thing: leave the whole out with space, one page back"
		}
		k.turn = func() tea.Cmd { scope.Interactions ^= it.bit; return nil }
		knobs = append(knobs, k)
	}
	if names := categories[limit.Resource]; names != nil {
		k := knob{label: "only of the category", value: "all"}
		if scope.Filter != "" {
			k.value = consent.Quote(scope.Filter)
		}
		if limit.Filter != "" {
			k.why = "the category was asked for, and a narrower one is not the same"
		}
		k.turn = func() tea.Cmd {
			at := slices.IndexFunc(names, func(name string) bool { return scope.Filter == "category="+name }) + 1
			if scope.Filter = ""; at < len(names) {
				scope.Filter = "category=" + names[at]
			}
			return nil
		}
		knobs = append(knobs, k)
	}
	knobs = append(knobs,
		knob{label: "only dated from", value: dayOr(scope.DataFrom, "the beginning"), turn: p.askDay(m, "Only data dated from which day on?", limit.DataFrom, func(t uint64) error {
			if t < limit.DataFrom {
				return errors.New("that is earlier than was asked for: from " + date(limit.DataFrom))
			}
			return p.dates(t, scope.DataUntil)
		})},
		knob{label: "only dated before", value: dayOr(scope.DataUntil, "no end"), turn: p.askDay(m, "Only data dated before which day?", limit.DataUntil, func(t uint64) error {
			if limit.DataUntil != 0 && (t == 0 || t > limit.DataUntil) {
				return errors.New("that is later than was asked for: before " + date(limit.DataUntil))
			}
			return p.dates(scope.DataFrom, t)
		})},
	)
	for _, c := range limit.Sensitivities.Categories() {
		knobs = append(knobs, knob{
			label: "sensitive: " + c.Words, set: true, on: scope.Sensitivities&c.Bit != 0,
			turn: func() tea.Cmd { scope.Sensitivities ^= c.Bit; return nil },
		})
	}
	return knobs
}

func (p *narrowPage) dates(from, until uint64) error {
	if until != 0 && until <= from {
		return errors.New("that leaves no day: it would end before it begins")
	}
	p.of.scopes[p.i].DataFrom, p.of.scopes[p.i].DataUntil = from, until
	return nil
}

func (p *narrowPage) askDay(m *Model, question string, limit uint64, set func(uint64) error) func() tea.Cmd {
	return func() tea.Cmd {
		m.open(&askPage{
			question: question, hint: "For example 2025-01-31; nothing for as it was asked.",
			done: func(text string) (tea.Cmd, error) {
				if text == "" {
					return nil, set(limit)
				}
				t, err := parseDay(text)
				if err != nil {
					return nil, err
				}
				return nil, set(t)
			},
		})
		return nil
	}
}

func dayOr(t uint64, none string) string {
	if t == 0 {
		return none
	}
	return date(t)
}

func (p *narrowPage) actions(m *Model) []action {
	knobs := p.knobs(m)
	at := func() *knob { return &knobs[p.keep(len(knobs))] }
	turn := func() tea.Cmd { return at().turn() }
	why := func() string { return at().why }
	actions := []action{
		on([]string{" ", "enter"}, "space", "change", turn).unless(why),
		m.back(),
	}
	return append(actions, p.cursor.actions(func() int { return len(knobs) })...)
}

func (p *narrowPage) view(m *Model, w, h int) []string {
	lines := paint(m.styles.title, "Narrow: "+p.of.limits[p.i].What(), w)
	lines = append(lines, "")
	focus := 0
	knobs := p.knobs(m)
	p.keep(len(knobs))
	for i, k := range knobs {
		if i == p.at {
			focus = len(lines)
		}
		text := k.label + ": " + k.value
		if k.set {
			text = mark(k.on) + " " + k.label
		}
		lines = append(lines, cut(pointer(i == p.at)+text, w))
	}
	lines = append(lines, "")
	lines = append(lines, wrap("It may "+p.of.scopes[p.i].Words()+".", w)...)
	lines = append(lines, m.styles.dim.Render(cut("SMART: "+consent.Quote(p.of.scopes[p.i].String()), w)))
	return window(lines, focus, h)
}

package consent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
)

// Limits of what a summary tells one by one. What is beyond them is counted.
const (
	summaryKinds = 1000 // scopes, and data holders, that are told apart
	summaryShown = 20   // of them that a person is shown; so with grantees
)

// Summary says in plain words what many grants permit together, made like the
// words of each only from what is signed. The zero value has none yet.
type Summary struct {
	Grants    int
	Grantees  map[common.Address]int // how many grants each gets
	NotBefore uint64                 // the earliest, unix seconds
	Expires   uint64                 // the latest, unix seconds
	Handoffs  uint8                  // the most
	HandedOn  int                    // how many grants may be passed on at all

	kinds   map[Scope]int // how many grants permit it; Filter and dates tell kinds apart
	others  int           // grants with kinds beyond summaryKinds
	holders map[common.Address]int
	risks   map[Risk]int
	order   []Risk // of risks, as they came
}

// Add takes a grant in, with the provisions that it is shown: see Describe and
// Risks.
func (s *Summary) Add(g *Grant, provisions []Opening, risks []Risk) {
	if s.Grants == 0 {
		s.Grantees, s.kinds, s.holders, s.risks = make(map[common.Address]int), make(map[Scope]int), make(map[common.Address]int), make(map[Risk]int)
		s.NotBefore = g.NotBefore
	}
	s.Grants++
	s.Grantees[g.Grantee]++
	s.NotBefore, s.Expires, s.Handoffs = min(s.NotBefore, g.NotBefore), max(s.Expires, g.Expires), max(s.Handoffs, g.Handoffs)
	if g.Handoffs > 0 {
		s.HandedOn++
	}
	items, _ := permitted(g, provisions)
	var at []common.Address
	beyond := false
	for i := range items {
		beyond = !count(s.kinds, items[i].scope) || beyond
		at = addOnce(at, items[i].holders...)
	}
	for _, holder := range at {
		beyond = !count(s.holders, holder) || beyond
	}
	if beyond {
		s.others++
	}
	for _, risk := range risks {
		s.Mark(risk, 1)
	}
}

// Mark counts a risk of grants that were added.
func (s *Summary) Mark(risk Risk, grants int) {
	if s.risks[risk] == 0 {
		s.order = append(s.order, risk)
	}
	s.risks[risk] += grants
}

// count counts one more of a kind, unless it is one too many to tell apart.
func count[K comparable](of map[K]int, kind K) bool {
	if _, known := of[kind]; !known && len(of) == summaryKinds {
		return false
	}
	of[kind]++
	return true
}

// Risks names what is wide about any of the grants, each once, and says of how
// many it is.
func (s *Summary) Risks() []Risk {
	var risks []Risk
	for _, risk := range s.order {
		words := risk.Words
		if n := s.risks[risk]; n < s.Grants {
			words = fmt.Sprintf("of %d of the %s: ", n, plural(s.Grants, "grant")) + words
		}
		risks = append(risks, Risk{risk.Name, words})
	}
	return risks
}

// Describe says what the grants permit together, with the names on signed
// cards.
func (s *Summary) Describe(names Names) string {
	if s.Grants == 0 {
		return "There is nothing to give."
	}
	keys := newKeys(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s. None counts before %s, and none from %s on. Between them they permit to:",
		plural(s.Grants, "grant"), s.grantees(keys), moment(s.NotBefore), moment(s.Expires))
	for _, line := range shown(s.kinds, s.Grants, "more kind", func(scope Scope) string { return scope.words("") }) {
		b.WriteString("\n  - " + line)
	}
	b.WriteString("\nWhere:")
	for _, line := range shown(s.holders, s.Grants, "more data holder", func(holder common.Address) string { return "at " + keys.holders([]common.Address{holder}) }) {
		b.WriteString("\n  - " + line)
	}
	if s.others > 0 {
		fmt.Fprintf(&b, "\nBeside these, there is more in %s than is told apart here: look at the rows.", plural(s.others, "grant"))
	}
	if s.HandedOn == 0 {
		b.WriteString("\nNone of them may be passed on.")
	} else {
		fmt.Fprintf(&b, "\nOf them %s may be passed on, at most %s in a row.", plural(s.HandedOn, "grant"), plural(int(s.Handoffs), "time"))
	}
	return b.String() + keys.list()
}

// grantees says who gets the grants: few of them by name.
func (s *Summary) grantees(keys *keys) string {
	if len(s.Grantees) > summaryShown {
		return plural(len(s.Grantees), "key")
	}
	var grantees []common.Address
	for grantee := range s.Grantees {
		grantees = append(grantees, grantee)
	}
	slices.SortFunc(grantees, common.Address.Cmp)
	var named []string
	for _, grantee := range grantees {
		named = append(named, keys.name("key", grantee))
	}
	return join(named, "and")
}

// shown gives the most frequent kinds, most frequent first, in words. more is what
// one beyond them is called.
func shown[K comparable](kinds map[K]int, grants int, more string, words func(K) string) []string {
	type line struct {
		text string
		n    int
	}
	lines := make([]line, 0, len(kinds))
	for kind, n := range kinds {
		lines = append(lines, line{words(kind), n})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.text, b.text)) })
	var texts []string
	for i, l := range lines {
		if i == summaryShown {
			texts = append(texts, "and "+plural(len(lines)-i, more))
			break
		}
		if l.n < grants {
			l.text += fmt.Sprintf(" (%s)", plural(l.n, "grant"))
		}
		texts = append(texts, l.text)
	}
	return texts
}

// plural says how many there are of what one is called.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

package consent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Names are what keys call themselves, from cards whose signature was checked.
type Names map[common.Address]string

// Describe says in plain words what a grant permits, made only from what is
// signed: the grant, the provisions that it is shown, and the names on signed
// cards. The same input gives the same words.
//
// A provision that is not proven under the grant's root is not described but
// named as foreign; a draft, whose root is still zero, has none. A provision
// beside another that differs in nothing but more sensitive categories permits
// nothing of its own and is left out. Whether a grant holds more provisions
// than it is shown, only those know who have them all.
func Describe(g *Grant, provisions []Opening, names Names) string {
	keys := newKeys(names)
	grantee := keys.name("key", g.Grantee)
	items, foreign := permitted(g, provisions)
	lines := make([]string, len(items))
	for i := range items {
		lines[i] = items[i].scope.words(" at " + keys.holders(items[i].holders))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s may%s", span(g.NotBefore, g.Expires), grantee, enumerate(lines))
	switch g.Handoffs {
	case 0:
		b.WriteString("\nIt may not pass this on.")
	case 1:
		b.WriteString("\nIt may pass all or part of this on to others; they may not pass it on.")
	default:
		fmt.Fprintf(&b, "\nIt may pass all or part of this on to others, and they to others again, at most %d times in a row.", g.Handoffs)
	}
	if g.Grantor != (common.Address{}) {
		fmt.Fprintf(&b, "\nGiven by %s.", keys.name("key", g.Grantor))
	}
	if g.Parent != (common.Hash{}) {
		fmt.Fprintf(&b, "\nThis passes on what another grant gave, and ends when that one ends: %s.", g.Parent)
	}
	if foreign > 0 {
		fmt.Fprintf(&b, "\nNot described, since no part of this grant: %d of %d provisions.", foreign, len(provisions))
	}
	return b.String() + keys.list()
}

// item is a scope with the holders at which it is permitted.
type item struct {
	scope   Scope
	holders []common.Address
}

// permitted gathers what the provisions permit, in their order, and counts
// those that are not proven under the grant's root.
func permitted(g *Grant, provisions []Opening) (items []item, foreign int) {
	type without struct { // a provision without its sensitive categories
		holder common.Address
		scope  Scope
	}
	key := func(p *Provision) without {
		w := without{p.Holder, p.Scope}
		w.scope.Sensitivities = 0
		return w
	}
	proven := make([]*Provision, 0, len(provisions))
	widest := make(map[without][]Sensitivities)
	for i := range provisions {
		p := &provisions[i].Provision
		if g.Provisions != (common.Hash{}) && Root(p.Leaf(), provisions[i].Proof) != g.Provisions {
			foreign++
			continue
		}
		proven = append(proven, p)
		widest[key(p)] = addOnce(widest[key(p)], p.Scope.Sensitivities)
	}
	at := make(map[Scope]int)
	listed := make(map[Provision]bool)
	for _, p := range proven {
		unsalted := Provision{Holder: p.Holder, Scope: p.Scope}
		wider := func(s Sensitivities) bool { return s != p.Scope.Sensitivities && p.Scope.Sensitivities&^s == 0 }
		if listed[unsalted] || slices.ContainsFunc(widest[key(p)], wider) {
			continue
		}
		listed[unsalted] = true
		i, known := at[p.Scope]
		if !known {
			i = len(items)
			at[p.Scope] = i
			items = append(items, item{scope: p.Scope})
		}
		items[i].holders = append(items[i].holders, p.Holder)
	}
	return items, foreign
}

// DescribeRequest says in plain words what a request asks for, made only from
// what is signed: the request and its card. Only a request that Counts has a
// card that its requester signed.
func DescribeRequest(d *RequestDocument) string {
	r := &d.Request
	keys := newKeys(Names{d.Card.Card.Account: d.Card.Card.Name})
	requester := keys.name("key", r.Requester)
	lines := make([]string, len(r.Scopes))
	for i := range r.Scopes {
		lines[i] = r.Scopes[i].words("")
	}
	return fmt.Sprintf("%s %s asks that it may%s\nWhere: at %s.\nReason that it gives: %s.\nAsked on %s, of the key %s.",
		span(r.NotBefore, r.Expires), requester, enumerate(lines), keys.holders(r.Holders), Quote(r.Reason), moment(r.Time), r.Patient) + keys.list()
}

// enumerate ends a sentence with one line, or with a list of several.
func enumerate(lines []string) string {
	switch len(lines) {
	case 0:
		return " do nothing that is shown here."
	case 1:
		return " " + lines[0] + "."
	}
	return ":\n  - " + strings.Join(lines, "\n  - ")
}

// keys names keys in a text, and gathers the addresses of those that it calls
// by their names alone.
type keys struct {
	quoted map[common.Address]string
	alike  map[string]int // how many keys call themselves so
	called []common.Address
}

func newKeys(names Names) *keys {
	k := &keys{quoted: make(map[common.Address]string), alike: make(map[string]int)}
	for account, name := range names {
		if quoted := Quote(name); strings.Trim(quoted, "“ ”") != "" {
			k.quoted[account] = quoted
			k.alike[quoted]++
		}
	}
	return k
}

// name names a key. Foreign text is followed by words of ours, never by digits,
// which a name written from right to left would draw to its other side.
func (k *keys) name(kind string, account common.Address) string {
	quoted, known := k.quoted[account]
	switch {
	case !known:
		return fmt.Sprintf("the %s %s", kind, account)
	case k.alike[quoted] > 1:
		return fmt.Sprintf("the %s %s that calls itself %s", kind, account, quoted)
	}
	k.called = addOnce(k.called, account)
	return fmt.Sprintf("the %s that calls itself %s", kind, quoted)
}

func (k *keys) holders(accounts []common.Address) string {
	words := make([]string, len(accounts))
	for i, account := range accounts {
		if account == (common.Address{}) {
			words[i] = "any data holder"
		} else {
			words[i] = k.name("data holder", account)
		}
	}
	return join(words, "or")
}

// list tells which keys those are that were called by their names.
func (k *keys) list() string {
	if len(k.called) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nNames are what keys call themselves:")
	for _, account := range k.called {
		fmt.Fprintf(&b, "\n  %s calls itself %s", account, k.quoted[account])
	}
	return b.String()
}

// words says what a scope permits, and where.
func (s *Scope) words(where string) string {
	if field := s.malformed(); field != "" {
		return fmt.Sprintf("do nothing%s (void: %s out of bounds)", where, field)
	}
	var verbs []string
	for _, verb := range []struct {
		bit  Interactions
		word string
	}{{Read, "read"}, {Search, "search"}, {Create, "add"}, {Update, "change"}, {Delete, "delete"}} {
		if s.Interactions&verb.bit != 0 {
			verbs = append(verbs, verb.word)
		}
	}
	words := join(verbs, "and") + " " + s.what() + where
	switch {
	case s.DataFrom != 0 && s.DataUntil != 0:
		words += fmt.Sprintf(", dated %s or later and before %s", day(s.DataFrom), day(s.DataUntil))
	case s.DataFrom != 0:
		words += fmt.Sprintf(", dated %s or later", day(s.DataFrom))
	case s.DataUntil != 0:
		words += fmt.Sprintf(", dated before %s", day(s.DataUntil))
	}
	if purpose, known := purposes[s.Purpose]; known {
		words += ", for " + purpose
	} else {
		words += ", for a purpose that HL7 does not define, " + Quote(s.Purpose)
	}
	if s.Sensitivities == 0 {
		return words + ", leaving out what is known to be sensitive"
	}
	var sensitive []string
	for _, c := range s.Sensitivities.Categories() {
		sensitive = append(sensitive, c.Words)
	}
	return words + fmt.Sprintf(", including what is sensitive (%s)", strings.Join(sensitive, "; "))
}

// what names the data of a scope: its resource type, as narrowed by its filter.
func (s *Scope) what() string {
	name, known := resources[s.Resource]
	if !known {
		name = "records of the kind " + Quote(s.Resource)
	}
	criteria, err := ParseFilter(s.Resource, s.Filter)
	if err != nil {
		return name + " matching " + quote(s.Filter, maxFilter)
	}
	if s.Resource == "Observation" {
		// One category makes another name; any further criterion stays.
		at := slices.IndexFunc(criteria, func(c Criterion) bool { return c.Name == "category" && observations[c.Value] != "" })
		if at >= 0 {
			name = observations[criteria[at].Value]
			criteria = slices.Delete(criteria, at, at+1)
		}
	}
	if len(criteria) == 0 {
		return name
	}
	matching := make([]string, len(criteria))
	for i, c := range criteria {
		matching[i] = quote(c.String(), maxFilter) // not cut: values after a comma widen
	}
	return name + " matching " + join(matching, "and")
}

// resources are FHIR R4 resource types in the words that a person reads.
var resources = map[string]string{
	AnyResource:                "everything in the record",
	"AllergyIntolerance":       "allergies",
	"Appointment":              "appointments",
	"AuditEvent":               "the log of who used the record",
	"CarePlan":                 "care plans",
	"CareTeam":                 "care teams",
	"Claim":                    "insurance claims",
	"Condition":                "conditions",
	"Consent":                  "consents",
	"Coverage":                 "insurance coverage",
	"Device":                   "devices",
	"DiagnosticReport":         "diagnostic reports",
	"DocumentReference":        "documents",
	"Encounter":                "visits",
	"ExplanationOfBenefit":     "insurance settlements",
	"FamilyMemberHistory":      "family history",
	"Goal":                     "care goals",
	"ImagingStudy":             "imaging studies",
	"Immunization":             "immunizations",
	"MedicationAdministration": "administered medications",
	"MedicationDispense":       "dispensed medications",
	"MedicationRequest":        "prescribed medications",
	"MedicationStatement":      "medications that are taken",
	"NutritionOrder":           "diets ordered",
	"Observation":              "measurements and observations",
	"Patient":                  "name, birth date, address and other personal details",
	"Procedure":                "procedures",
	"QuestionnaireResponse":    "questionnaires filled in",
	"RelatedPerson":            "relatives and other contacts",
	"RiskAssessment":           "risk assessments",
	"ServiceRequest":           "orders and referrals",
	"Specimen":                 "specimens",
}

// observations are categories of Observation (HL7 observation-category).
var observations = map[string]string{
	"activity":       "activity measurements",
	"exam":           "examination findings",
	"imaging":        "imaging findings",
	"laboratory":     "laboratory results",
	"procedure":      "measurements made in procedures",
	"social-history": "social history",
	"survey":         "answers to questionnaires",
	"therapy":        "observations on therapy",
	"vital-signs":    "vital signs",
}

// Risk is something about a grant that a person should have agreed to by name.
type Risk struct {
	Name  string // as commands take it
	Words string
}

const yearInSeconds = 366 * 24 * 60 * 60

// Risks names what is wide about a grant with these provisions, each once, in a
// fixed order. contract tells whether the grantee's account has code.
func Risks(g *Grant, provisions []Opening, contract bool) []Risk {
	var anyResource, write, anyHolder, emergency, unknown bool
	var sensitive Sensitivities
	for i := range provisions {
		p := &provisions[i].Provision
		anyResource = anyResource || p.Scope.Resource == AnyResource
		write = write || p.Scope.Interactions&(Create|Update|Delete) != 0
		anyHolder = anyHolder || p.Holder == (common.Address{})
		emergency = emergency || isEmergency(p.Scope.Purpose)
		unknown = unknown || !knownPurpose(p.Scope.Purpose)
		sensitive |= p.Scope.Sensitivities
	}
	var risks []Risk
	add := func(when bool, name, words string) {
		if when {
			risks = append(risks, Risk{name, words})
		}
	}
	add(anyResource, "any-resource", "it opens every kind of data in the record")
	add(write, "write", "it allows adding, changing or deleting, not only reading")
	for _, c := range sensitive.Categories() {
		add(true, c.Name, "it shows what is sensitive: "+c.Words)
	}
	add(anyHolder, "any-holder", "it counts at every data holder, not only at one that you name")
	add(g.Expires > g.NotBefore && g.Expires-g.NotBefore > yearInSeconds, "over-a-year", "it lasts longer than a year")
	add(emergency, "emergency", "it is for emergencies, where nobody asks you again")
	add(unknown, "unknown-purpose", "its purpose is not one that HL7 defines")
	add(g.Handoffs > 0, "handoffs", "whoever gets it may pass it on to others")
	add(contract, "contract", "whoever gets it is a program on the chain, whose rules may change")
	return risks
}

// span says when something counts: from notBefore, but not at expires itself.
func span(notBefore, expires uint64) string {
	switch {
	case expires <= notBefore:
		return fmt.Sprintf("At no time (from %s, but only until %s)", moment(notBefore), moment(expires))
	case notBefore == 0:
		return fmt.Sprintf("Until %s,", moment(expires))
	}
	return fmt.Sprintf("From %s, until %s,", moment(notBefore), moment(expires))
}

// maxDate is the last second that a date of four-digit years can tell.
const maxDate = 253402300799

// moment writes a time as a person reads it, in UTC, to the second. A day alone
// would leave open whether it counts itself.
func moment(t uint64) string {
	layout := "2 January 2006, 15:04 UTC"
	switch {
	case t > maxDate:
		return fmt.Sprintf("second %d of Unix time, after the year 9999", t)
	case t%60 != 0:
		layout = "2 January 2006, 15:04:05 UTC"
	}
	return time.Unix(int64(t), 0).UTC().Format(layout)
}

// day writes a bound of clinical dates: its day alone where that says it all.
func day(t uint64) string {
	if t > maxDate || t%(24*60*60) != 0 {
		return moment(t)
	}
	return time.Unix(int64(t), 0).UTC().Format("2 January 2006")
}

// timestamp writes a time for an error.
func timestamp(t uint64) string {
	if t > maxDate {
		return moment(t)
	}
	return time.Unix(int64(t), 0).UTC().Format(time.RFC3339)
}

// join joins words as a sentence does, with "and" or "or" before the last.
func join(words []string, conjunction string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

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
// signed: the grant, the provisions that are under its root, and the names on
// signed cards. The same input gives the same words.
func Describe(g *Grant, provisions []Opening, names Names) string {
	items := make([]string, len(provisions))
	for i := range provisions {
		p := &provisions[i].Provision
		items[i] = fmt.Sprintf("%s, held by %s", p.Scope.words(), names.holder(p.Holder))
	}
	sentence := span(g.NotBefore, g.Expires) + " " + names.key(g.Grantee) + " may " + join(items)
	switch g.Handoffs {
	case 0:
		return sentence + "\nIt may not pass this on, and may do nothing else."
	case 1:
		return sentence + "\nIt may pass this on once, no wider, and may do nothing else."
	default:
		return sentence + fmt.Sprintf("\nIt may pass this on, %d times in a row, no wider, and may do nothing else.", g.Handoffs)
	}
}

// DescribeRequest says in plain words what a request asks for, made only from
// what is signed: the request and its card.
func DescribeRequest(d *RequestDocument) string {
	r := &d.Request
	names := Names{d.Card.Card.Account: d.Card.Card.Name}
	items := make([]string, len(r.Scopes))
	for i := range r.Scopes {
		items[i] = r.Scopes[i].words()
	}
	holders := make([]string, len(r.Holders))
	for i, h := range r.Holders {
		holders[i] = names.holder(h)
	}
	capital := names.key(r.Requester)
	return fmt.Sprintf("%s%s asks, %s, to %s\nHeld by: %s\nReason: %s",
		strings.ToUpper(capital[:1]), capital[1:], lowerFirst(span(r.NotBefore, r.Expires)), join(items), strings.Join(holders, "; "), Quote(r.Reason))
}

// join makes one sentence of one item, and a list of several.
func join(items []string) string {
	if len(items) == 1 {
		return items[0] + "."
	}
	return "\n  - " + strings.Join(items, "\n  - ")
}

func (n Names) key(a common.Address) string {
	if name, known := n[a]; known && name != "" {
		return fmt.Sprintf("the key %s that calls itself %s", a, Quote(name))
	}
	return fmt.Sprintf("the key %s", a)
}

func (n Names) holder(a common.Address) string {
	if a == (common.Address{}) {
		return "any data holder"
	}
	return n.key(a)
}

// words says what a scope permits.
func (s *Scope) words() string {
	var verbs []string
	for _, verb := range []struct {
		bit  Interactions
		word string
	}{{Read, "read"}, {Search, "search"}, {Create, "add"}, {Update, "change"}, {Delete, "delete"}} {
		if s.Interactions&verb.bit != 0 {
			verbs = append(verbs, verb.word)
		}
	}
	words := and(verbs) + " " + s.what()
	switch {
	case s.DataFrom != 0 && s.DataUntil != 0:
		words += fmt.Sprintf(" dated from %s and before %s", date(s.DataFrom), date(s.DataUntil))
	case s.DataFrom != 0:
		words += " dated from " + date(s.DataFrom)
	case s.DataUntil != 0:
		words += " dated before " + date(s.DataUntil)
	}
	if s.Sensitivities == 0 {
		words += ", nothing marked as sensitive"
	} else {
		var sensitive []string
		for _, c := range s.Sensitivities.Categories() {
			sensitive = append(sensitive, c.Words)
		}
		words += ", also what is sensitive: " + and(sensitive)
	}
	if purpose, known := purposes[s.Purpose]; known {
		return words + ", for " + purpose
	}
	return words + ", for a purpose that is not known here: " + Quote(s.Purpose)
}

// what names the data of a scope: its resource type, as narrowed by its filter.
func (s *Scope) what() string {
	criteria, err := ParseFilter(s.Resource, s.Filter)
	if err != nil {
		return fmt.Sprintf("what the filter %s of %s selects", Quote(s.Filter), Quote(s.Resource))
	}
	if s.Resource == "Observation" {
		// One category makes another name; any further criterion stays.
		at := slices.IndexFunc(criteria, func(c Criterion) bool { return c.Name == "category" && observations[c.Value] != "" })
		if at >= 0 {
			return observations[criteria[at].Value] + matching(slices.Delete(slices.Clone(criteria), at, at+1))
		}
	}
	name, known := resources[s.Resource]
	if !known {
		name = "records of the kind " + Quote(s.Resource)
	}
	return name + matching(criteria)
}

func matching(criteria []Criterion) string {
	if len(criteria) == 0 {
		return ""
	}
	var all []string
	for _, c := range criteria {
		all = append(all, Quote(c.Name+" = "+c.Value))
	}
	return " with " + and(all)
}

// resources are FHIR R4 resource types in the words that a person reads.
var resources = map[string]string{
	AnyResource:                "everything in the record",
	"AllergyIntolerance":       "allergies",
	"Appointment":              "appointments",
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
	"MedicationAdministration": "medications given",
	"MedicationDispense":       "medications handed out",
	"MedicationRequest":        "medications prescribed",
	"MedicationStatement":      "medications taken",
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
		unknown = unknown || !KnownPurpose(p.Scope.Purpose)
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

// span says when something counts.
func span(notBefore, expires uint64) string {
	return "From " + date(notBefore) + " until " + date(expires)
}

// maxDate is the last second that a date of four-digit years can tell.
const maxDate = 253402300799

// date writes a day, with the time of day where it is not midnight; in UTC.
func date(t uint64) string {
	switch {
	case t > maxDate:
		return "the year 10000 or later"
	case t%(24*60*60) == 0:
		return time.Unix(int64(t), 0).UTC().Format("2 January 2006")
	}
	return time.Unix(int64(t), 0).UTC().Format("2 January 2006, 15:04:05 UTC")
}

// timestamp writes a time for an error.
func timestamp(t uint64) string {
	if t > maxDate {
		return date(t)
	}
	return time.Unix(int64(t), 0).UTC().Format(time.RFC3339)
}

// and joins words as a sentence does.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

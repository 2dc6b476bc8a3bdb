package fhir

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/assent-wallet/assent/consent"
)

// Limits of a search.
const (
	maxParameters = 64
	maxQuery      = 8 << 10 // bytes of all names and values
)

// Query is a search of one resource type in one patient's record, with nothing
// in it but what is evaluated here or cannot tell more than what is released:
//
//   - the tokens, dates and ids that a scope's filter may have as well (see
//     Evaluable), without modifiers;
//   - the parameters of the patient compartment, as long as they name the
//     patient of the record ("x" or "Patient/x");
//   - _sort by the parameters of the first kind, _count, _format for JSON;
//   - _include and _revinclude of one step, "Type:parameter" or
//     "Type:parameter:Target".
//
// All else is refused: a chained search, _has and _filter test what may be
// withheld, _summary and _elements take away the labels by which a resource is
// judged, and what is unknown may be anything.
type Query struct {
	Type     string
	Count    int  // 0 where none was asked for
	Includes bool // the answer may have resources of other types

	criteria []criterion
	ties     []compartmentParameter // any of which has to name the patient
	passed   url.Values
	patient  tie
}

// compartmentParameter is a search parameter that ties a resource to a patient.
type compartmentParameter struct {
	name  string
	paths string // divided by ","
}

// ErrOtherPatient is the refusal of a search in another patient's record.
var ErrOtherPatient = errors.New("it names another patient than that of the token")

// NewQuery reads the search parameters for the type, in the record of the
// patient with the logical id at the server with the base URL. The error names
// the parameter; it wraps ErrOtherPatient where that is why.
func NewQuery(kind string, parameters url.Values, patient, base string) (*Query, error) {
	if !isType(kind) {
		return nil, fmt.Errorf("FHIR R4 has no resource type %s", consent.Quote(kind))
	}
	q := &Query{Type: kind, passed: make(url.Values), patient: newTie(patient, base+"/Patient/"+patient)}
	count, size := 0, 0
	for name, values := range parameters {
		for _, value := range values {
			if count, size = count+1, size+len(name)+len(value); count > maxParameters || size > maxQuery {
				return nil, fmt.Errorf("more than %d search parameters or %d bytes of them", maxParameters, maxQuery)
			}
			if err := q.add(name, value); err != nil {
				return nil, fmt.Errorf("search parameter %s of %s: %w", consent.Quote(name), kind, err)
			}
		}
	}
	if q.ties == nil {
		q.ties = compartmentParameters(kind)
	}
	return q, nil
}

func (q *Query) add(name, value string) error {
	switch name {
	case "_count":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || q.Count != 0 {
			return errors.New("want one number from 1")
		}
		q.Count = n
		return nil
	case "_format":
		if !IsJSON(value) {
			return errors.New("only JSON is written here")
		}
		return nil
	case "_sort":
		return q.sort(value)
	case "_include", "_revinclude":
		return q.include(name, value)
	case "_summary":
		if value == "false" {
			return nil
		}
		return errors.New("resources are given whole or not at all")
	case "_elements":
		return errors.New("resources are given whole or not at all")
	case "_total":
		if value == "none" {
			return nil
		}
		return errors.New("a total would count what is withheld")
	}
	if tied, ok := q.tie(name); ok {
		return q.pin(tied, value)
	}
	c, err := newCriterion(q.Type, consent.Criterion{Name: name, Value: value})
	if err != nil {
		return err
	}
	q.criteria = append(q.criteria, c)
	q.passed.Add(name, value)
	return nil
}

// synonyms are the search parameters that are the same where R4 has both for a
// type. Many servers have but one of them.
var synonyms = map[string]string{"patient": "subject", "subject": "patient"}

// tie finds a parameter of the compartment. The modifier of one may say that it is
// a Patient.
func (q *Query) tie(name string) (compartmentParameter, bool) {
	name = strings.TrimSuffix(name, ":Patient")
	for _, p := range compartmentParameters(q.Type) {
		if p.name == name || p.name == synonyms[name] {
			return p, true
		}
	}
	return compartmentParameter{}, false
}

func (q *Query) pin(p compartmentParameter, value string) error {
	if value != q.patient.id && !q.patient.is(value, q.patient.base) {
		return ErrOtherPatient
	}
	if q.ties != nil && q.ties[0] != p {
		return errors.New("one parameter that names the patient is enough")
	}
	q.ties = []compartmentParameter{p}
	return nil
}

// compartmentParameters are the search parameters that tie a type to a patient,
// each with other paths than those before. A Patient is tied by being it.
func compartmentParameters(kind string) (all []compartmentParameter) {
	if kind == "Patient" {
		return []compartmentParameter{{"_id", "id"}}
	}
	for parameter := range strings.FieldsSeq(compartment[kind]) {
		name, paths, renamed := strings.Cut(parameter, "=")
		if !renamed {
			paths = name
		}
		if !slices.ContainsFunc(all, func(p compartmentParameter) bool { return p.paths == paths }) {
			all = append(all, compartmentParameter{name, paths})
		}
	}
	return all
}

func (q *Query) sort(value string) error {
	if q.passed.Has("_sort") {
		return errors.New("want it once, with all that it sorts by, divided by commas")
	}
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimPrefix(name, "-")
		if _, known := parameter(q.Type, name); !known {
			return fmt.Errorf("%s is not evaluated here", consent.Quote(name))
		}
	}
	q.passed.Set("_sort", value)
	return nil
}

func (q *Query) include(name, value string) error {
	parts := strings.Split(value, ":")
	for i, part := range parts {
		if i == 1 && strings.Trim(part, "abcdefghijklmnopqrstuvwxyz-") != "" || i != 1 && !isType(part) || part == "" {
			return errors.New(`want "Type:parameter" or "Type:parameter:Target"`)
		}
	}
	switch {
	case len(parts) < 2 || len(parts) > 3:
		return errors.New(`want "Type:parameter" or "Type:parameter:Target"`)
	case name == "_include" && parts[0] != q.Type:
		return fmt.Errorf("want a parameter of %s", q.Type)
	case name == "_revinclude" && len(parts) == 3 && parts[2] != q.Type:
		return fmt.Errorf("want what refers to %s", q.Type)
	}
	q.Includes = true
	q.passed.Add(name, value)
	return nil
}

// Searches are the queries for the server, each without "?" and with the
// patient pinned in another way: together they find the whole of what is asked
// for, some of it more than once (see Matches).
func (q *Query) Searches(count int) []string {
	searches := make([]string, len(q.ties))
	for i, tied := range q.ties {
		parameters := make(url.Values, len(q.passed)+2)
		for name, values := range q.passed {
			parameters[name] = values
		}
		if tied.name == "_id" {
			parameters["_id"] = []string{q.patient.id}
		} else {
			parameters.Set(tied.name, "Patient/"+q.patient.id)
		}
		parameters.Set("_count", strconv.Itoa(count))
		searches[i] = parameters.Encode()
	}
	return searches
}

// Restrict leaves out searches by parameters of the compartment that the server
// does not have, but for the first one. Where it has patient and not subject, or the
// other way round, it is asked by what it has.
func (q *Query) Restrict(has func(parameter string) bool) {
	for i := len(q.ties) - 1; i >= 0; i-- {
		tied := &q.ties[i]
		if has(tied.name) {
			continue
		}
		if synonym := synonyms[tied.name]; synonym != "" && has(synonym) {
			tied.name = synonym
		} else if i > 0 {
			q.ties = slices.Delete(q.ties, i, i+1)
		}
	}
}

// Ties are the search parameters that pin the patient, one for each of the
// Searches.
func (q *Query) Ties() (names []string) {
	for _, p := range q.ties {
		names = append(names, p.name)
	}
	return names
}

// TieBy makes the Searches those of the Ties that a query like this one had,
// whatever the server has by now.
func (q *Query) TieBy(names []string) error {
	var ties []compartmentParameter
	for _, name := range names {
		p, ok := q.tie(name)
		if !ok {
			return fmt.Errorf("%s does not tie %s to a patient", consent.Quote(name), q.Type)
		}
		p.name = name
		ties = append(ties, p)
	}
	if len(ties) == 0 {
		return errors.New("nothing ties it to a patient")
	}
	q.ties = ties
	return nil
}

// Matches tells whether a resource that the server gave for one of the Searches
// is what was asked for, and was not found by one of those before: whatever the
// server ignored is evaluated again. Whose it is, the rules say.
func (q *Query) Matches(r *Resource, search int) bool {
	if r.of.kind != q.Type || slices.ContainsFunc(q.ties[:search], func(p compartmentParameter) bool { return q.tied(r, p) }) || !q.tied(r, q.ties[search]) {
		return false
	}
	for i := range q.criteria {
		if !q.criteria[i].matches(r.of.value) {
			return false
		}
	}
	return true
}

func (q *Query) tied(r *Resource, p compartmentParameter) bool {
	if p.name == "_id" {
		return r.ID() == q.patient.id
	}
	for path := range strings.SplitSeq(p.paths, ",") {
		for _, v := range r.of.value.find(path) {
			if q.patient.is(v.string("reference"), r.of.base) {
				return true
			}
		}
	}
	return false
}

// IsJSON tells whether a media type, as _format or a header has it, is the JSON
// form of FHIR.
func IsJSON(mediaType string) bool {
	mediaType, parameters, _ := strings.Cut(mediaType, ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "json", "application/json", "application/fhir+json":
	default:
		return false
	}
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		switch value = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`)); strings.ToLower(strings.TrimSpace(name)) {
		case "fhirversion":
			if value != "4.0" {
				return false
			}
		case "charset":
			if value != "utf-8" {
				return false
			}
		}
	}
	return true
}

// IsType tells whether FHIR R4 has the resource type.
func IsType(kind string) bool { return isType(kind) }

// IsPatientType tells whether resources of the type can be a patient's own.
func IsPatientType(kind string) bool {
	_, own := compartment[kind]
	return own
}

// IsID tells whether s is a logical id, or the id of a version.
func IsID(s string) bool { return isID(s) }

// PatientTypes are the resource types that can be a patient's own, sorted.
func PatientTypes() []string { return slices.Sorted(maps.Keys(compartment)) }

// SearchParameter is one that a Query may have.
type SearchParameter struct {
	Name, Type string // a name and a type of FHIR
}

// SearchParameters are the search parameters of a resource type, sorted by name,
// but for those that say how the answer is to be.
func SearchParameters(kind string) (all []SearchParameter) {
	of := searchParameters[kind]
	for _, group := range [][2]string{{of.concept, "token"}, {of.code, "token"}, {of.identifier, "token"}, {of.date, "date"}} {
		for entry := range strings.FieldsSeq(group[0]) {
			name, _, _ := strings.Cut(entry, "=")
			all = append(all, SearchParameter{name, group[1]})
		}
	}
	for name, c := range everyType {
		typed := SearchParameter{name, "token"}
		switch c.kind {
		case date:
			typed.Type = "date"
		case exact:
			typed.Type = "uri"
			if name == "_id" {
				typed.Type = "token"
			}
		}
		all = append(all, typed)
	}
	for _, p := range compartmentParameters(kind) {
		if !slices.ContainsFunc(all, func(s SearchParameter) bool { return s.Name == p.name }) {
			all = append(all, SearchParameter{p.name, "reference"})
		}
	}
	slices.SortFunc(all, func(a, b SearchParameter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

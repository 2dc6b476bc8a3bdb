package consent

import (
	"errors"
	"fmt"
	"strings"
)

// Interactions is the set of FHIR interactions of a scope, as the letters of
// SMART App Launch v2 stand for them: a bit mask below 32.
type Interactions uint8

// The interactions of SMART App Launch v2, "Scopes for requesting FHIR
// Resources".
const (
	Create Interactions = 1 << iota // c
	Read                            // r: read, vread, instance history
	Update                          // u: update, patch
	Delete                          // d
	Search                          // s: search and history of a type
)

const (
	letters         = "cruds"
	allInteractions = Create | Read | Update | Delete | Search
)

// String gives the letters of SMART v2, in their order.
func (i Interactions) String() string {
	var b strings.Builder
	for bit, letter := range letters {
		if i&(1<<bit) != 0 {
			b.WriteRune(letter)
		}
	}
	return b.String()
}

// Scope is a SMART App Launch v2 clinical scope for one patient, with the
// purpose and the limits that FHIR Consent adds. It is the one thing that is
// compared (Assent protocol, section 3).
type Scope struct {
	Resource      string       // FHIR R4 resource type, or "*" for any
	Interactions  Interactions // at least one
	Filter        string       // FHIR search parameters in canonical form; empty: none
	DataFrom      uint64       // clinical date of the data, unix seconds, inclusive; 0: open
	DataUntil     uint64       // the same, exclusive; 0: open
	Purpose       string       // HL7 v3 PurposeOfUse code
	Sensitivities Sensitivities
}

// AnyResource is the resource of a scope for every FHIR resource type.
const AnyResource = "*"

// Limits of a well-formed scope, in bytes (Assent protocol, section 3).
const (
	maxResource = 64
	maxFilter   = 512
	maxPurpose  = 32
)

// Covers tells whether whoever holds p may use a: a narrows p or equals it in
// every respect. It is reflexive and transitive. Purposes are compared as they
// are, without HL7's hierarchy: a grant for TREAT does not open BTG.
func (p Scope) Covers(a Scope) bool { return p.uncovered(&a) == "" }

// uncovered names the first respect in which a goes beyond p.
func (p *Scope) uncovered(a *Scope) string {
	switch {
	case p.Resource != a.Resource && p.Resource != AnyResource:
		return "resource"
	case a.Interactions&^p.Interactions != 0:
		return "interactions"
	case p.Filter != "" && p.Filter != a.Filter:
		return "filter"
	case a.DataFrom < p.DataFrom:
		return "dataFrom"
	case p.DataUntil != 0 && (a.DataUntil == 0 || a.DataUntil > p.DataUntil):
		return "dataUntil"
	case p.Purpose != a.Purpose:
		return "purpose"
	case a.Sensitivities&^p.Sensitivities != 0:
		return "sensitivities"
	}
	return ""
}

// malformed names the first field that makes s not well-formed, and is empty
// for a well-formed scope.
func (s *Scope) malformed() string {
	switch {
	case len(s.Resource) < 1 || len(s.Resource) > maxResource:
		return "resource"
	case s.Interactions < 1 || s.Interactions > allInteractions:
		return "interactions"
	case len(s.Filter) > maxFilter:
		return "filter"
	case len(s.Purpose) < 1 || len(s.Purpose) > maxPurpose:
		return "purpose"
	case s.Sensitivities > AllSensitivities:
		return "sensitivities"
	case s.DataUntil != 0 && s.DataUntil <= s.DataFrom:
		return "dataUntil"
	}
	return ""
}

// checkForm requires what is required of a scope wherever a document is made
// or read: the alphabets, and the filter in canonical form.
func (s *Scope) checkForm() error {
	if !isResource(s.Resource) {
		return fmt.Errorf("resource %s: want a FHIR resource type or *", Quote(s.Resource))
	}
	if !isPurpose(s.Purpose) {
		return fmt.Errorf("purpose %s: want a PurposeOfUse code such as TREAT", Quote(s.Purpose))
	}
	canonical, err := CanonicalFilter(s.Resource, s.Filter)
	if err != nil {
		return err
	}
	if canonical != s.Filter {
		return fmt.Errorf("filter %s is not canonical: write %s", Quote(s.Filter), Quote(canonical))
	}
	return nil
}

// CheckScope tells why s may not stand in a document that is made: it is not
// well-formed, is outside the alphabets, or its filter is not canonical.
func CheckScope(s Scope) error {
	if err := s.checkForm(); err != nil {
		return err
	}
	if field := s.malformed(); field != "" {
		return fmt.Errorf("scope %s: %s is out of bounds", Quote(s.String()), field)
	}
	return nil
}

func isResource(s string) bool {
	if s == AnyResource {
		return true
	}
	if len(s) < 1 || len(s) > maxResource || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

func isPurpose(s string) bool {
	if len(s) < 1 || len(s) > maxPurpose {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// String gives the text form of SMART v2, "patient/Observation.rs?category=laboratory".
// Purpose, dates and sensitive categories are no part of it.
func (s Scope) String() string {
	text := "patient/" + s.Resource + "." + s.Interactions.String()
	if s.Filter != "" {
		text += "?" + s.Filter
	}
	return text
}

// ParseScope reads the text form of SMART v2, or of SMART v1 without a filter,
// with the purpose that stands beside it. The filter is made canonical; dates
// and sensitivities are zero. The error names what is wrong.
func ParseScope(text, purpose string) (Scope, error) {
	s, err := parseScope(text)
	if err != nil {
		return Scope{}, fmt.Errorf("scope %s: %w", Quote(text), err)
	}
	s.Purpose = purpose
	if err := CheckScope(s); err != nil {
		return Scope{}, err
	}
	return s, nil
}

func parseScope(text string) (Scope, error) {
	context, rest, found := strings.Cut(text, "/")
	if !found || context != "patient" {
		return Scope{}, fmt.Errorf("context %s: only patient/ is known here", Quote(context))
	}
	rest, filter, filtered := strings.Cut(rest, "?")
	if filtered && filter == "" {
		return Scope{}, errors.New(`nothing stands after "?"`)
	}
	resource, access, found := strings.Cut(rest, ".")
	if !isResource(resource) {
		return Scope{}, fmt.Errorf("resource %s: want a FHIR resource type or *", Quote(resource))
	}
	if !found || access == "" {
		return Scope{}, errors.New("no interactions: end it in letters of cruds, as in patient/Observation.rs")
	}
	interactions, v1 := map[string]Interactions{
		"read":  Read | Search,
		"write": Create | Update | Delete,
		"*":     allInteractions,
	}[access]
	if v1 && filtered {
		return Scope{}, fmt.Errorf("%s is SMART v1, which has no filters: write .%s", Quote("."+access), interactions)
	}
	if !v1 {
		at := 0
		for _, letter := range access {
			bit := strings.IndexRune(letters, letter)
			switch {
			case bit < 0:
				return Scope{}, fmt.Errorf("interaction %s: want letters of cruds", Quote(string(letter)))
			case bit < at:
				return Scope{}, fmt.Errorf("interactions %s: want each letter once, in the order of cruds", Quote(access))
			}
			at = bit + 1
			interactions |= 1 << bit
		}
	}
	canonical, err := CanonicalFilter(resource, filter)
	if err != nil {
		return Scope{}, err
	}
	return Scope{Resource: resource, Interactions: interactions, Filter: canonical}, nil
}

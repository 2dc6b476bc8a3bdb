package fhir

import (
	"fmt"
	"maps"
	"slices"

	"github.com/assent-wallet/assent/consent"
)

// Rules are the scopes of an access, ready to be asked about single resources
// of a record (an Excerpt), for each interaction by itself: read and vread need
// r, a search s, a create c, an update u, a delete d (SMART App Launch v2,
// "Scopes for requesting FHIR Resources").
type Rules struct {
	rules []rule
}

// NewRules gives the rules of the scopes, or why one of them is not Evaluable.
func NewRules(scopes []consent.Scope) (*Rules, error) {
	rules, err := newRules(scopes)
	if err != nil {
		return nil, err
	}
	return &Rules{rules}, nil
}

// Allow tells whether any scope has the interaction for the resource type, and
// the type can be a patient's own: whether it is worth looking.
func (r *Rules) Allow(interaction consent.Interactions, kind string) bool {
	_, own := compartment[kind]
	return own && slices.ContainsFunc(r.rules, func(rule rule) bool {
		return rule.Interactions&interaction != 0 && rule.admitsType(kind)
	})
}

// Types are the resource types, sorted, that the rules allow in the interaction.
func (r *Rules) Types(interaction consent.Interactions) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(compartment)), func(kind string) bool { return !r.Allow(interaction, kind) })
}

// rule is a scope, ready to be asked.
type rule struct {
	*consent.Scope
	criteria []criterion
	reads    bool // the scope can release something from a bundle
}

func newRules(scopes []consent.Scope) ([]rule, error) {
	rules := make([]rule, len(scopes))
	for k := range scopes {
		scope := &scopes[k]
		if scope.Resource != consent.AnyResource && !isType(scope.Resource) {
			return nil, fmt.Errorf("scope %s: FHIR R4 has no resource type %s", consent.Quote(scope.String()), consent.Quote(scope.Resource))
		}
		criteria, err := consent.ParseFilter(scope.Resource, scope.Filter)
		if err != nil {
			return nil, fmt.Errorf("scope %s: %w", consent.Quote(scope.String()), err)
		}
		r := rule{Scope: scope, reads: scope.Interactions&consent.Search != 0}
		for _, c := range criteria {
			criterion, err := newCriterion(scope.Resource, c)
			if err != nil {
				return nil, fmt.Errorf("scope %s: %w", consent.Quote(scope.String()), err)
			}
			r.criteria = append(r.criteria, criterion)
			if c.Name == "_id" && scope.Interactions&consent.Read != 0 {
				r.reads = true
			}
		}
		rules[k] = r
	}
	return rules, nil
}

// admits tells whether the scope admits the resource wholly, in whatever
// interaction.
func (r *rule) admits(rec *record, res *resource) bool {
	if !r.admitsAlone(res) {
		return false
	}
	for _, listed := range rec.listed(res) {
		if _, clinical := compartment[listed.kind]; clinical && !r.admitsAlone(listed) {
			return false
		}
	}
	return true
}

func (r *rule) admitsAlone(res *resource) bool {
	if !res.own || !r.admitsType(res.kind) || res.sensitivities&^r.Sensitivities != 0 {
		return false
	}
	for i := range r.criteria {
		if !r.criteria[i].matches(res.value) {
			return false
		}
	}
	if r.bounded() && !(res.dated && res.date.within(r.DataFrom, r.DataUntil)) {
		return false
	}
	for _, contained := range res.contained {
		if !r.admitsContained(contained) {
			return false
		}
	}
	return true
}

func (r *rule) admitsType(kind string) bool {
	return r.Resource == consent.AnyResource || r.Resource == kind
}

func (r *rule) bounded() bool { return r.DataFrom != 0 || r.DataUntil != 0 }

func (r *rule) admitsContained(contained *value) bool {
	kind := contained.string("resourceType")
	if _, clinical := compartment[kind]; !clinical {
		return true
	}
	if !r.admitsType(kind) {
		return false
	}
	for i := range r.criteria {
		if c := &r.criteria[i]; c.name[0] != '_' && !c.matches(contained) {
			return false
		}
	}
	date, dated := clinicalDate(contained, kind)
	return !dated || date.within(r.DataFrom, r.DataUntil)
}

package wallet

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// Choice is what a person gives of what a request asks for: the same or less,
// never more.
type Choice struct {
	Scopes    []consent.Scope  // one for each scope of the request, within it; no interactions: not given
	Holders   []common.Address // of those asked for; where any is asked for (zero), whichever
	NotBefore uint64           // unix seconds, no earlier than asked for
	Expires   uint64           // unix seconds, no later than asked for
}

// ChoiceOf gives the choice of everything that a request asks for but for the
// sensitive categories, which a person names one by one.
func ChoiceOf(request *consent.Request) *Choice {
	c := &Choice{Holders: slices.Clone(request.Holders), NotBefore: request.NotBefore, Expires: request.Expires}
	for _, scope := range request.Scopes {
		scope.Sensitivities = 0
		c.Scopes = append(c.Scopes, scope)
	}
	return c
}

// DraftWithin gives the grant of a choice, in answer to the request. It fails
// where the choice is wider than the request, and where it gives nothing.
func DraftWithin(request *consent.RequestDocument, c *Choice) (*Draft, error) {
	r := &request.Request
	if len(c.Scopes) != len(r.Scopes) {
		return nil, fmt.Errorf("the choice has %d scopes: want the %d of the request", len(c.Scopes), len(r.Scopes))
	}
	var given []consent.Scope
	for i, scope := range c.Scopes {
		if scope.Interactions == 0 {
			continue
		}
		if err := consent.CheckScope(scope); err != nil {
			return nil, err
		}
		if !r.Scopes[i].Covers(scope) {
			return nil, fmt.Errorf("%s is more than was asked for", consent.Quote(scope.String()))
		}
		given = append(given, scope)
	}
	for _, holder := range c.Holders {
		if !slices.Contains(r.Holders, holder) && !slices.Contains(r.Holders, common.Address{}) {
			return nil, fmt.Errorf("the data holder %s was not asked for", holder)
		}
	}
	switch {
	case len(given) == 0:
		return nil, errors.New("nothing is chosen yet that you would give")
	case len(c.Holders) == 0:
		return nil, errors.New("no data holder is chosen yet")
	case c.NotBefore < r.NotBefore || c.Expires > r.Expires:
		return nil, errors.New("it is for longer than was asked for")
	}
	return &Draft{
		Grantee: r.Requester, Provisions: Provide(given, c.Holders),
		NotBefore: c.NotBefore, Expires: c.Expires, Answers: request,
	}, nil
}

// Offer is a part of a record by its plain name.
type Offer struct {
	Name   string
	Scopes []string // in SMART's text form
}

// Offers are what a person may give on their own, by plain names.
var Offers = []Offer{
	{"laboratory results", []string{"patient/Observation.rs?category=laboratory"}},
	{"medications", []string{"patient/MedicationRequest.rs", "patient/MedicationStatement.rs"}},
	{"allergies", []string{"patient/AllergyIntolerance.rs"}},
	{"immunizations", []string{"patient/Immunization.rs"}},
	{"vital signs", []string{"patient/Observation.rs?category=vital-signs"}},
	{"conditions", []string{"patient/Condition.rs"}},
	{"everything that is not sensitive", []string{"patient/*.rs"}},
}

// For gives the scopes of the offer for a purpose, without what is sensitive.
func (o Offer) For(purpose string) ([]consent.Scope, error) {
	var scopes []consent.Scope
	for _, text := range o.Scopes {
		scope, err := consent.ParseScope(text, purpose)
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, scope)
	}
	return scopes, nil
}

// DraftTo gives the grant of a choice to somebody who did not ask for it. It
// fails where the choice gives nothing.
func DraftTo(grantee common.Address, c *Choice) (*Draft, error) {
	var given []consent.Scope
	for _, scope := range c.Scopes {
		if scope.Interactions == 0 {
			continue
		}
		if err := consent.CheckScope(scope); err != nil {
			return nil, err
		}
		given = append(given, scope)
	}
	switch {
	case len(given) == 0:
		return nil, errors.New("nothing is chosen yet that you would give")
	case len(c.Holders) == 0:
		return nil, errors.New("no data holder is chosen yet")
	}
	return &Draft{Grantee: grantee, Provisions: Provide(given, c.Holders), NotBefore: c.NotBefore, Expires: c.Expires}, nil
}

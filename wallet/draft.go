package wallet

import (
	"errors"
	"fmt"
	"slices"

	"github.com/assent-wallet/assent/consent"
	"github.com/ethereum/go-ethereum/common"
)

// Draft is a grant before it is signed: what a person looks at, narrows and
// agrees to. Signing it adds nothing but salts, revocations and the grantor.
type Draft struct {
	Grantee    common.Address
	Provisions []consent.Provision // see Provide; salts are drawn when it is signed
	NotBefore  uint64              // unix seconds
	Expires    uint64              // unix seconds
	Handoffs   uint8
	Parent     *consent.GrantDocument   // of a hand-off: the grant that is handed on
	Answers    *consent.RequestDocument // the request that it answers, or nil
}

// DraftFor gives the grant that a request asks for, but for the sensitive
// categories, which it never takes over by itself: see Provide. Which they are
// is in the request's scopes.
func DraftFor(request *consent.RequestDocument) *Draft {
	r := &request.Request
	d := &Draft{Grantee: r.Requester, NotBefore: r.NotBefore, Expires: r.Expires, Answers: request}
	var plain []consent.Scope
	for _, scope := range r.Scopes {
		scope.Sensitivities = 0
		plain = append(plain, scope)
	}
	d.Provisions = Provide(plain, r.Holders)
	return d
}

// Provide makes the provisions of scopes at holders (zero: any). Sensitive
// categories get provisions of their own, for each category and for all of the
// scope's together, beside the same scope without any, so that opening one does
// not show the others (Assent protocol, section 4).
func Provide(scopes []consent.Scope, holders []common.Address) []consent.Provision {
	var provisions []consent.Provision
	add := func(p consent.Provision) {
		if !slices.Contains(provisions, p) {
			provisions = append(provisions, p)
		}
	}
	for _, holder := range holders {
		for _, scope := range scopes {
			all := scope.Sensitivities
			scope.Sensitivities = 0
			add(consent.Provision{Holder: holder, Scope: scope})
			for _, category := range all.Categories() {
				scope.Sensitivities = category.Bit
				add(consent.Provision{Holder: holder, Scope: scope})
			}
			scope.Sensitivities = all
			add(consent.Provision{Holder: holder, Scope: scope})
		}
	}
	return provisions
}

// grant gives the grant as far as it is known before it is signed.
func (d *Draft) grant() *consent.Grant {
	return &consent.Grant{Grantee: d.Grantee, NotBefore: d.NotBefore, Expires: d.Expires, Handoffs: d.Handoffs}
}

func (d *Draft) openings() []consent.Opening {
	openings := make([]consent.Opening, len(d.Provisions))
	for i, p := range d.Provisions {
		openings[i].Provision = p
	}
	return openings
}

// Holders gives the data holders that the grant would name: see HoldersOf.
func (d *Draft) Holders() []common.Address { return HoldersOf(d.openings()) }

// Describe says in plain words what would be signed.
func (d *Draft) Describe(names consent.Names) string {
	return consent.Describe(d.grant(), d.openings(), names)
}

// Risks names what is wide about it. contract tells whether the grantee's
// account has code.
func (d *Draft) Risks(contract bool) []consent.Risk {
	return consent.Risks(d.grant(), d.openings(), contract)
}

// Check tells why the draft is not worth asking the grantor about at the time
// now, in unix seconds, or nil. Whoever signs it checks it whole.
func (d *Draft) Check(grantor common.Address, now uint64) error {
	switch {
	case len(d.Provisions) == 0:
		return errors.New("nothing is chosen that the grant would permit")
	case len(d.Provisions) > consent.MaxOpenings:
		return fmt.Errorf("the grant would have %d provisions, for each scope at each data holder, with and without each sensitive category, and may have %d: choose fewer", len(d.Provisions), consent.MaxOpenings)
	case d.Grantee == (common.Address{}):
		return errors.New("the grant would go to nobody: the zero address has no key")
	case d.Grantee == grantor && !d.opensLog():
		return fmt.Errorf("the grant would go to this wallet itself, %s", grantor)
	case d.Expires <= now:
		return errors.New("the grant would have ended already")
	case d.Expires <= d.NotBefore:
		return errors.New("the grant would end before it begins")
	case d.Parent == nil:
		return nil
	case d.Parent.Grant.Grantee != grantor:
		return fmt.Errorf("the grant is to %s: only that key can pass it on", d.Parent.Grant.Grantee)
	}
	_, err := d.Parent.HandOff(d.Provisions)
	return err
}

// parents gives the grants that this one would hand on, root first.
func (d *Draft) parents() []consent.GrantDocument {
	if d.Parent == nil {
		return nil
	}
	parent := *d.Parent
	parent.Parents = nil
	return append(slices.Clone(d.Parent.Parents), parent)
}

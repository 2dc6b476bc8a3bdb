package consent

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// ID gives the id of the document's grant.
func (d *GrantDocument) ID() common.Hash { return d.Grant.ID(d.Domain) }

// Root gives the root that has to be anchored for the grant to count.
func (d *GrantDocument) Root() common.Hash { return Root(AnchorLeaf(d.ID()), d.AnchorProof) }

// chain gives the grants of the document from the root grant to its own.
func (d *GrantDocument) chain() []*GrantDocument {
	chain := make([]*GrantDocument, 0, len(d.Parents)+1)
	for i := range d.Parents {
		chain = append(chain, &d.Parents[i])
	}
	return append(chain, d)
}

// links gives the grants with everything that the document opens.
func (d *GrantDocument) links() []Link {
	var links []Link
	for _, g := range d.chain() {
		links = append(links, Link{g.Grant, g.Signature, g.AnchorProof, g.Provisions})
	}
	return links
}

// Open gives the links for an access of these scopes at the holder: of each
// grant, for each scope, the one provision that covers it and shows the fewest
// sensitive categories. It fails where a scope is not covered, naming it.
func (d *GrantDocument) Open(holder common.Address, scopes []Scope) ([]Link, error) {
	var links []Link
	for _, g := range d.chain() {
		link := Link{g.Grant, g.Signature, g.AnchorProof, nil}
		for _, scope := range scopes {
			opening := narrowest(g.Provisions, Provision{Holder: holder, Scope: scope})
			if opening == nil {
				return nil, fmt.Errorf("the grant from %s does not permit %s for %s at the data holder %s", g.Grant.Grantor, Quote(scope.String()), Quote(scope.Purpose), holder)
			}
			link.Openings = append(link.Openings, *opening)
		}
		links = append(links, link)
	}
	return links, nil
}

// HandOff gives the parents of a grant that hands on part of this one: the
// grants above it, each with only those provisions that the hand-off rests on.
// It fails where a provision goes beyond what this grant permits, naming it.
func (d *GrantDocument) HandOff(provisions []Provision) ([]GrantDocument, error) {
	if d.Grant.Handoffs == 0 {
		return nil, fmt.Errorf("the grant from %s may not be passed on", d.Grant.Grantor)
	}
	if len(d.Parents)+2 > MaxLinks {
		return nil, fmt.Errorf("the grant was passed on %d times: that is the most", len(d.Parents))
	}
	var parents []GrantDocument
	for _, g := range d.chain() {
		parent := *g
		parent.Parents, parent.Provisions = nil, nil
		passed := make(map[*Opening]bool) // by place: nothing keeps salts from being equal
		for _, p := range provisions {
			opening := narrowest(g.Provisions, p)
			if opening == nil {
				return nil, fmt.Errorf("the grant from %s does not permit to pass on %s for %s", g.Grant.Grantor, Quote(p.Scope.String()), Quote(p.Scope.Purpose))
			}
			if !passed[opening] {
				passed[opening] = true
				parent.Provisions = append(parent.Provisions, *opening)
			}
		}
		parents = append(parents, parent)
	}
	return parents, nil
}

// narrowest gives the opening that covers want at its holder with the fewest
// sensitive categories, or nil.
func narrowest(openings []Opening, want Provision) *Opening {
	var best *Opening
	for i := range openings {
		p := &openings[i].Provision
		if p.Holder != (common.Address{}) && p.Holder != want.Holder || !p.Scope.Covers(want.Scope) {
			continue
		}
		if best == nil || len(p.Scope.Sensitivities.Categories()) < len(best.Provision.Scope.Sensitivities.Categories()) {
			best = &openings[i]
		}
	}
	return best
}

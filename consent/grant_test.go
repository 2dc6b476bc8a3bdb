package consent

import (
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// permits tells whether any of the provisions permits the scope at the holder.
func permits(provisions []Provision, holder common.Address, s Scope) bool {
	return slices.ContainsFunc(provisions, func(p Provision) bool {
		return (p.Holder == common.Address{} || p.Holder == holder) && p.Scope.Covers(s)
	})
}

// Whatever goes through how many hands: what can be opened is permitted, what
// the last provisions permit can be opened, and nothing is permitted that the
// first grant does not permit.
func TestHandOffOnlyNarrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hands := rapid.IntRange(1, 4).Draw(t, "hands")
		first := rapid.SliceOfN(anyProvision, 1, 4).Draw(t, "provisions")
		from, provisions := testKey("patient"), first
		var d *GrantDocument
		for i := range hands {
			var parents []GrantDocument
			if i > 0 {
				provisions = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Provision {
					p := rapid.SampledFrom(provisions).Draw(t, "provision")
					p.Scope = narrowed(t, p.Scope)
					if p.Holder == (common.Address{}) {
						p.Holder = anyHolder.Draw(t, "holder")
					}
					return p
				}), 1, 4).Draw(t, "handed on")
				var err error
				if parents, err = d.HandOff(provisions); err != nil {
					t.Fatal(err)
				}
			}
			to := testKey("grantee" + string(rune('0'+i)))
			d = grantTo(t, from, addressOf(to), parents, uint8(hands-1-i), provisions, uint64(i))
			from = to
		}
		holder := rapid.SampledFrom([]common.Address{laboratory, addressOf(testKey("hospital"))}).Draw(t, "at")
		scope := anyScope.Draw(t, "scope")
		if rapid.Bool().Draw(t, "likely") {
			scope = narrowed(t, rapid.SampledFrom(provisions).Draw(t, "of").Scope)
		}
		permitted := permits(provisions, holder, scope)
		if permitted && !permits(first, holder, scope) {
			t.Fatal("the hand-off widens")
		}
		if _, err := d.Open(holder, []Scope{scope}); (err == nil) != permitted {
			t.Fatalf("permitted: %v, opened: %v", permitted, err)
		}
		if !permitted {
			return
		}
		a := accessBy(t, d, from, holder, []Scope{scope})
		chain := anchors(a)
		e := Examine(a, nil)
		if v, err := e.Decide(chain.state(e.Entries()), now); err != nil || v.Outcome != Permit {
			t.Fatalf("%s (%s), %v", v.Outcome, v.Clause, err)
		}
	})
}

func TestHandOffRefuses(t *testing.T) {
	provisions := []Provision{{Holder: laboratory, Scope: laboratoryScope}}
	d, _ := handedOn(t, 1, provisions)
	if _, err := d.HandOff(provisions); err == nil {
		t.Error("a grant without hand-offs is passed on")
	}
	d.Grant.Handoffs = 255
	wider := func(change func(*Provision)) []Provision {
		p := provisions[0]
		change(&p)
		return []Provision{provisions[0], p}
	}
	for name, wide := range map[string][]Provision{
		"any holder":     wider(func(p *Provision) { p.Holder = common.Address{} }),
		"another holder": wider(func(p *Provision) { p.Holder[0]++ }),
		"no filter":      wider(func(p *Provision) { p.Scope.Filter = "" }),
		"to write":       wider(func(p *Provision) { p.Scope.Interactions |= Update }),
		"sensitive":      wider(func(p *Provision) { p.Scope.Sensitivities = HIV }),
		"purpose":        wider(func(p *Provision) { p.Scope.Purpose = "BTG" }),
	} {
		if _, err := d.HandOff(wide); err == nil {
			t.Errorf("%s: passed on", name)
		} else {
			requirePlain(t, err.Error())
		}
	}
	d.Parents = make([]GrantDocument, MaxLinks-1)
	if _, err := d.HandOff(nil); err == nil {
		t.Error("a link too many")
	}
}

// Nothing keeps a grantor from using a salt twice; what rests on either
// provision is still passed on.
func TestHandOffOfEqualSalts(t *testing.T) {
	provisions := []Provision{{Salt: common.Hash{1}, Scope: laboratoryScope}, {Salt: common.Hash{1}, Scope: conditionScope}}
	d, _ := handedOn(t, 1, provisions)
	d.Grant.Handoffs = 1
	for i := range provisions {
		d.Provisions[i].Provision.Salt = common.Hash{1}
	}
	parents, err := d.HandOff(provisions)
	if err != nil || len(parents[0].Provisions) != 2 {
		t.Errorf("%d provisions passed on, %v", len(parents[0].Provisions), err)
	}
}

// An access opens the provision that shows the least, and just that.
func TestOpenShowsTheLeast(t *testing.T) {
	d, _ := handedOn(t, 2, fourProvisions())
	links, err := d.Open(laboratory, []Scope{laboratoryScope})
	if err != nil {
		t.Fatal(err)
	}
	for i, link := range links {
		if len(link.Openings) != 1 || link.Openings[0].Provision.Scope != laboratoryScope {
			t.Errorf("link %d opens %+v", i, link.Openings)
		}
	}
	lab := Provision{Holder: laboratory, Scope: laboratoryScope}
	parents, err := d.Parents[0].HandOff([]Provision{lab, lab})
	if err != nil || len(parents) != 1 || len(parents[0].Provisions) != 1 {
		t.Errorf("%d provisions are passed on, %v", len(parents[0].Provisions), err)
	}
	if len(d.Parents[0].Provisions) != len(fourProvisions()) {
		t.Error("passing on changed the grant")
	}
}

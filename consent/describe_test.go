package consent

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

var (
	clinicAddress   = common.HexToAddress("0x1111111111111111111111111111111111111111")
	labAddress      = common.HexToAddress("0x2222222222222222222222222222222222222222")
	hospitalAddress = common.HexToAddress("0x3333333333333333333333333333333333333333")
	patientAddress  = common.HexToAddress("0x4444444444444444444444444444444444444444")
	testNames       = Names{clinicAddress: "Cardiology clinic", labAddress: "City laboratory", patientAddress: "Maria"}
)

const (
	june22     = 1782086400 // 22 June 2026, 00:00 UTC
	december22 = 1797897600 // 22 December 2026, 00:00 UTC
)

func opened(provisions ...Provision) []Opening {
	openings := make([]Opening, len(provisions))
	for i, p := range provisions {
		openings[i].Provision = p
	}
	return openings
}

func TestDescribe(t *testing.T) {
	scope := func(text, purpose string, change func(*Scope)) Scope {
		s, err := ParseScope(text, purpose)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	labs := scope("patient/Observation.rs?category=laboratory", "TREAT", nil)
	sensitive := func(bits Sensitivities) Scope {
		s := labs
		s.Sensitivities = bits
		return s
	}
	for _, c := range []struct {
		name       string
		grant      Grant
		provisions []Provision
		want       string
	}{
		{"the plainest", Grant{Grantee: clinicAddress, Expires: december22}, []Provision{{Holder: labAddress, Scope: labs}}, `
Until 22 December 2026, 00:00 UTC, the key that calls itself “Cardiology clinic” may read and search laboratory results at the data holder that calls itself “City laboratory”, for treatment, leaving out what is known to be sensitive.
It may not pass this on.
Names are what keys call themselves:
  0x1111111111111111111111111111111111111111 calls itself “Cardiology clinic”
  0x2222222222222222222222222222222222222222 calls itself “City laboratory”`},

		{"without names", Grant{Grantee: hospitalAddress, NotBefore: june22 + 36000, Expires: december22 + 1, Handoffs: 1}, []Provision{{Scope: labs}}, `
From 22 June 2026, 10:00 UTC, until 22 December 2026, 00:00:01 UTC, the key 0x3333333333333333333333333333333333333333 may read and search laboratory results at any data holder, for treatment, leaving out what is known to be sensitive.
It may pass all or part of this on to others; they may not pass it on.`},

		{"everything at once", Grant{Grantor: patientAddress, Grantee: clinicAddress, NotBefore: june22, Expires: december22, Handoffs: 3, Parent: common.Hash{31: 9}}, []Provision{
			{Holder: labAddress, Scope: sensitive(0)}, {Holder: labAddress, Scope: sensitive(HIV)}, {Holder: labAddress, Scope: sensitive(HIV | Violence)}, {Holder: hospitalAddress, Scope: sensitive(0)},
			{Scope: scope("patient/Condition.cruds?clinical-status=active&code=http://snomed.info/sct|38341003,73211009", "HRESCH", func(s *Scope) { s.DataFrom, s.DataUntil = june22, december22+60 })},
			{Holder: labAddress, Scope: scope("patient/*.r", "BTG", func(s *Scope) { s.DataFrom = june22 })},
			{Holder: hospitalAddress, Scope: scope("patient/*.r", "BTG", func(s *Scope) { s.DataFrom = june22 })},
			{Holder: clinicAddress, Scope: scope("patient/*.r", "BTG", func(s *Scope) { s.DataFrom = june22 })},
			{Scope: scope("patient/Basic.d?code=%E2%80%9D%20x", "XYZ", func(s *Scope) { s.DataUntil = december22 })},
		}, `
From 22 June 2026, 00:00 UTC, until 22 December 2026, 00:00 UTC, the key that calls itself “Cardiology clinic” may:
  - read and search laboratory results at the data holder that calls itself “City laboratory”, for treatment, including what is sensitive (HIV/AIDS; sexual assault, abuse and domestic violence)
  - read and search laboratory results at the data holder 0x3333333333333333333333333333333333333333, for treatment, leaving out what is known to be sensitive
  - read, search, add, change and delete conditions matching “clinical-status=active” and “code=http://snomed.info/sct|38341003,73211009” at any data holder, dated 22 June 2026 or later and before 22 December 2026, 00:01 UTC, for research, leaving out what is known to be sensitive
  - read everything in the record at the data holder that calls itself “City laboratory”, the data holder 0x3333333333333333333333333333333333333333 or the data holder that calls itself “Cardiology clinic”, dated 22 June 2026 or later, for breaking the glass in an emergency, leaving out what is known to be sensitive
  - delete records of the kind “Basic” matching “code=%E2%80%9D%20x” at any data holder, dated before 22 December 2026, for a purpose that HL7 does not define, “XYZ”, leaving out what is known to be sensitive
It may pass all or part of this on to others, and they to others again, at most 3 times in a row.
Given by the key that calls itself “Maria”.
This passes on what another grant gave, and ends when that one ends: 0x0000000000000000000000000000000000000000000000000000000000000009.
Names are what keys call themselves:
  0x1111111111111111111111111111111111111111 calls itself “Cardiology clinic”
  0x2222222222222222222222222222222222222222 calls itself “City laboratory”
  0x4444444444444444444444444444444444444444 calls itself “Maria”`},

		{"what counts for nothing", Grant{Grantee: clinicAddress, NotBefore: 1 << 40, Expires: 1 << 39}, []Provision{
			{Scope: Scope{Resource: "Observation", Purpose: "TREAT"}}, {Scope: sensitive(1 << 8)}, {Scope: Scope{Resource: "*", Interactions: Read, Purpose: "TREAT", Filter: "\x1b[2J"}},
		}, `
At no time (from second 1099511627776 of Unix time, after the year 9999, but only until second 549755813888 of Unix time, after the year 9999) the key that calls itself “Cardiology clinic” may:
  - do nothing at any data holder (void: interactions out of bounds)
  - do nothing at any data holder (void: sensitivities out of bounds)
  - read everything in the record matching “[2J” at any data holder, for treatment, leaving out what is known to be sensitive
It may not pass this on.
Names are what keys call themselves:
  0x1111111111111111111111111111111111111111 calls itself “Cardiology clinic”`},

		{"nothing shown", Grant{Grantee: clinicAddress, Provisions: common.Hash{1}, Expires: december22}, []Provision{{Scope: labs}}, `
Until 22 December 2026, 00:00 UTC, the key that calls itself “Cardiology clinic” may do nothing that is shown here.
It may not pass this on.
Not described, since no part of this grant: 1 of 1 provisions.
Names are what keys call themselves:
  0x1111111111111111111111111111111111111111 calls itself “Cardiology clinic”`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Describe(&c.grant, opened(c.provisions...), testNames); got != c.want[1:] {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

func TestDescribeRequest(t *testing.T) {
	d := requestOf("Cardiology” may read everything. “", "pre-operative\nreview\u202e", laboratoryScope)
	d.Request.Requester, d.Request.Patient, d.Card.Card.Account = clinicAddress, patientAddress, clinicAddress
	d.Request.Expires = december22
	d.Request.Holders = []common.Address{labAddress, {}}
	want := `
From 22 June 2026, 10:00 UTC, until 22 December 2026, 00:00 UTC, the key that calls itself “Cardiology" may read everything. "” asks that it may read and search laboratory results, for treatment, leaving out what is known to be sensitive.
Where: at the data holder 0x2222222222222222222222222222222222222222 or any data holder.
Reason that it gives: “pre-operative review”.
Asked on 22 June 2026, 10:00 UTC, of the key 0x4444444444444444444444444444444444444444.
Names are what keys call themselves:
  0x1111111111111111111111111111111111111111 calls itself “Cardiology" may read everything. "”`
	if got := DescribeRequest(d); got != want[1:] {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
	// A card of another names nobody here.
	d.Card.Card.Account = hospitalAddress
	if got := DescribeRequest(d); strings.Contains(got, "Cardiology") {
		t.Errorf("got\n%s", got)
	}
}

// Two keys of one name are told apart where they are named.
func TestDescribeTellsKeysApart(t *testing.T) {
	names := Names{clinicAddress: "Clinic", labAddress: "Clin\u200bic", hospitalAddress: " \u200b "}
	got := Describe(&Grant{Grantee: clinicAddress, Expires: december22}, opened(Provision{Holder: labAddress, Scope: laboratoryScope}, Provision{Holder: hospitalAddress, Scope: laboratoryScope}), names)
	for _, want := range []string{
		"the key 0x1111111111111111111111111111111111111111 that calls itself “Clinic” may",
		"the data holder 0x2222222222222222222222222222222222222222 that calls itself “Clinic” or",
		"the data holder 0x3333333333333333333333333333333333333333, for",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// What differs in anything that is signed, is described differently: two grants
// of the same words permit the same.
func TestDescribeIsUnambiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := anyProvision.Draw(t, "one"), anyProvision.Draw(t, "other")
		if rapid.Bool().Draw(t, "alike") { // one field apart at most
			q = p
			other := anyScope.Draw(t, "other scope")
			switch rapid.IntRange(0, 7).Draw(t, "field") {
			case 0:
				q.Scope.Resource = other.Resource
			case 1:
				q.Scope.Interactions = other.Interactions
			case 2:
				q.Scope.Filter = other.Filter
			case 3:
				q.Scope.DataFrom = other.DataFrom
			case 4:
				q.Scope.DataUntil = other.DataUntil
			case 5:
				q.Scope.Purpose = other.Purpose
			case 6:
				q.Scope.Sensitivities = other.Sensitivities
			case 7:
				q.Holder = anyHolder.Draw(t, "other holder")
			}
		}
		g := Grant{Grantee: clinicAddress, Expires: december22}
		one, other := Describe(&g, opened(p), testNames), Describe(&g, opened(q), testNames)
		p.Salt = q.Salt
		if p.Scope.malformed() == "" && q.Scope.malformed() == "" && (one == other) != (p == q) {
			t.Fatalf("%+v and %+v:\n%s\n%s", p, q, one, other)
		}
	})
}

// The same provisions, however many times, give a sentence that says each
// scope at each holder once, and the same sentence each time.
func TestDescribeIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		provisions := rapid.SliceOfN(anyProvision, 1, 8).Draw(t, "provisions")
		g := Grant{Grantee: clinicAddress, Expires: december22}
		words := Describe(&g, opened(provisions...), testNames)
		for range 3 {
			if again := Describe(&g, opened(provisions...), testNames); again != words {
				t.Fatalf("%s\nthen\n%s", words, again)
			}
		}
		if twice := Describe(&g, opened(append(slices.Clone(provisions), provisions...)...), testNames); twice != words {
			t.Fatalf("%s\ntwice\n%s", words, twice)
		}
		requirePlain(t, strings.ReplaceAll(words, "\n", " "))
		// What is permitted before and after leaving out what adds nothing.
		items, _ := permitted(&g, opened(provisions...))
		var kept []Provision
		for _, item := range items {
			for _, holder := range item.holders {
				kept = append(kept, Provision{Holder: holder, Scope: item.scope})
			}
		}
		holder, scope := anyHolder.Draw(t, "holder"), anyScope.Draw(t, "scope")
		if permits(provisions, holder, scope) != permits(kept, holder, scope) {
			t.Fatalf("%v at %s: said otherwise than permitted", scope, holder)
		}
	})
}

func TestWordsAreDistinct(t *testing.T) {
	for name, words := range map[string][]string{
		"purposes":  slices.Collect(values(purposes)),
		"resources": append(slices.Collect(values(resources)), slices.Collect(values(observations))...),
	} {
		slices.Sort(words)
		if distinct := slices.Compact(slices.Clone(words)); len(distinct) != len(words) {
			t.Errorf("%s: two of the same words among %q", name, words)
		}
	}
}

func values(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestRisks(t *testing.T) {
	plain := Provision{Holder: labAddress, Scope: laboratoryScope}
	base := Grant{Grantee: clinicAddress, NotBefore: june22, Expires: december22}
	with := func(change func(*Grant, *Provision)) (Grant, Provision) {
		g, p := base, plain
		change(&g, &p)
		return g, p
	}
	for want, change := range map[string]func(*Grant, *Provision){
		"":                func(*Grant, *Provision) {},
		"any-resource":    func(_ *Grant, p *Provision) { p.Scope.Resource, p.Scope.Filter = "*", "" },
		"write":           func(_ *Grant, p *Provision) { p.Scope.Interactions |= Delete },
		"hiv genetic":     func(_ *Grant, p *Provision) { p.Scope.Sensitivities = HIV | Genetic },
		"any-holder":      func(_ *Grant, p *Provision) { p.Holder = common.Address{} },
		"over-a-year":     func(g *Grant, _ *Provision) { g.Expires = g.NotBefore + yearInSeconds + 1 },
		"emergency":       func(_ *Grant, p *Provision) { p.Scope.Purpose = "BTG" },
		"unknown-purpose": func(_ *Grant, p *Provision) { p.Scope.Purpose = "XYZ" },
		"handoffs":        func(g *Grant, _ *Provision) { g.Handoffs = 1 },
	} {
		g, p := with(change)
		// Beside a plain one, before and after: one is enough.
		for _, provisions := range [][]Provision{{p}, {plain, p}, {p, plain}} {
			var names []string
			for _, r := range Risks(&g, opened(provisions...), false) {
				names = append(names, r.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	if r := Risks(&base, opened(plain), true); len(r) != 1 || r[0].Name != "contract" {
		t.Errorf("got %v", r)
	}
}

func BenchmarkDescribe(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	provisions := make([]Provision, 1000)
	for i := range provisions {
		provisions[i] = fourProvisions()[random.IntN(4)]
		provisions[i].Holder = common.Address{byte(i), byte(i >> 8)}
	}
	openings := opened(provisions...)
	g := Grant{Grantee: clinicAddress, Expires: december22}
	for b.Loop() {
		Describe(&g, openings, testNames)
	}
}

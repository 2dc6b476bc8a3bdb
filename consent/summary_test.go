package consent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func summed(t *testing.T, s *Summary, grantee common.Address, notBefore, expires uint64, handoffs uint8, holder common.Address, texts ...string) {
	t.Helper()
	g := &Grant{Grantee: grantee, NotBefore: notBefore, Expires: expires, Handoffs: handoffs}
	var openings []Opening
	for _, text := range texts {
		scope, err := ParseScope(text, "HRESCH")
		if err != nil {
			t.Fatal(err)
		}
		openings = append(openings, Opening{Provision: Provision{Holder: holder, Scope: scope}})
	}
	s.Add(g, openings, Risks(g, openings, false))
}

func TestSummary(t *testing.T) {
	var s Summary
	if got := s.Describe(nil); got != "There is nothing to give." {
		t.Error(got)
	}
	one, two, hospital := common.HexToAddress("0xa1"), common.HexToAddress("0xa2"), common.HexToAddress("0xb1")
	summed(t, &s, one, 1767225600, 1769904000, 0, hospital, "patient/Observation.rs?category=laboratory")
	summed(t, &s, two, 1767139200, 1769904000, 2, hospital, "patient/Observation.rs?category=laboratory", "patient/Condition.crs")
	summed(t, &s, two, 1767225600, 1772323200, 0, common.Address{}, "patient/Observation.rs?category=laboratory")
	s.Mark(Risk{"contract", "it is a program"}, 2)
	want := `3 grants to the key that calls itself “Clinic” and the key 0x00000000000000000000000000000000000000a2. None counts before 31 December 2025, 00:00 UTC, and none from 1 March 2026, 00:00 UTC on. Between them they permit to:
  - read and search laboratory results, for research, leaving out what is known to be sensitive
  - read, search and add conditions, for research, leaving out what is known to be sensitive (1 grant)
Where:
  - at the data holder 0x00000000000000000000000000000000000000B1 (2 grants)
  - at any data holder (1 grant)
Of them 1 grant may be passed on, at most 2 times in a row.
Names are what keys call themselves:
  0x00000000000000000000000000000000000000A1 calls itself “Clinic”`
	want = strings.ReplaceAll(want, "0x00000000000000000000000000000000000000a2", two.Hex())
	if got := s.Describe(Names{one: "Clinic"}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	risks := []Risk{
		{"write", "of 1 of the 3 grants: it allows adding, changing or deleting, not only reading"},
		{"handoffs", "of 1 of the 3 grants: whoever gets it may pass it on to others"},
		{"any-holder", "of 1 of the 3 grants: it counts at every data holder, not only at one that you name"},
		{"contract", "of 2 of the 3 grants: it is a program"},
	}
	if got := s.Risks(); !slices.Equal(got, risks) {
		t.Errorf("risks %q", got)
	}
}

// Whatever a file says, what is told of it has an end, and says that it has.
func TestSummaryIsBounded(t *testing.T) {
	var s Summary
	for i := range 2 * summaryKinds {
		summed(t, &s, common.Address{byte(i), byte(i >> 8), 1}, 1, 2, 0, common.Address{1}, fmt.Sprintf("patient/Observation.rs?code=%d", i))
	}
	text := s.Describe(nil)
	if n := strings.Count(text, "\n"); n > summaryShown+10 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	for _, want := range []string{"2000 grants to 2000 keys", "and 980 more kinds", "there is more in 1000 grants than is told apart"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	for more, want := range map[int]string{1: "and 1 more data holder\n", 3: "and 3 more data holders\n"} {
		var s Summary
		for i := range summaryShown + more {
			summed(t, &s, common.Address{1}, 1, 2, 0, common.Address{byte(i), 1}, "patient/Observation.rs")
		}
		if text := s.Describe(nil); !strings.Contains(text, want) || strings.Contains(text, "more kind") {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

package consent

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCoversIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyScope.Draw(t, "a"), anyScope.Draw(t, "b"), anyScope.Draw(t, "c")
		if !a.Covers(a) {
			t.Fatal("not reflexive")
		}
		if a.Covers(b) && b.Covers(c) && !a.Covers(c) {
			t.Fatal("not transitive")
		}
		if a.Covers(b) && b.Covers(a) && a != b {
			t.Fatal("two scopes cover each other")
		}
	})
}

// Independent draws seldom cover each other in a row: here they do.
func TestCoversWhatIsNarrower(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyScope.Draw(t, "a")
		b := narrowed(t, a)
		c := narrowed(t, b)
		if !a.Covers(b) || !b.Covers(c) || !a.Covers(c) {
			t.Fatalf("%+v, %+v, %+v", a, b, c)
		}
		if b != a && b.Covers(a) {
			t.Fatalf("%+v covers the wider %+v", b, a)
		}
		for _, s := range []*Scope{&b, &c} {
			if field := s.malformed(); field != "" {
				t.Fatalf("%s of %+v", field, *s)
			}
		}
	})
}

// Covers holds what scopes are for: what a narrower one admits, the wider one
// admits as well. Here each is asked of single pieces of data.
func TestCoversMeansAdmits(t *testing.T) {
	admits := func(s *Scope, resource string, i Interactions, date uint64, sensitive Sensitivities) bool {
		return (s.Resource == AnyResource || s.Resource == resource) && s.Interactions&i != 0 &&
			date >= s.DataFrom && (s.DataUntil == 0 || date < s.DataUntil) && sensitive&^s.Sensitivities == 0
	}
	rapid.Check(t, func(t *rapid.T) {
		p, a := anyScope.Draw(t, "provision"), anyScope.Draw(t, "access")
		if rapid.Bool().Draw(t, "alike") { // but for the dates
			p, a.DataFrom, a.DataUntil = a, p.DataFrom, p.DataUntil
		}
		wider := p.Purpose != a.Purpose || p.Filter != "" && p.Filter != a.Filter || a.Resource == AnyResource && p.Resource != AnyResource
		for _, resource := range []string{"Observation", "Condition"} {
			for i := Create; i <= Search; i <<= 1 {
				for date := range uint64(9) {
					for _, sensitive := range []Sensitivities{0, 1, 2, 4} {
						wider = wider || admits(&a, resource, i, date, sensitive) && !admits(&p, resource, i, date, sensitive)
					}
				}
			}
		}
		if p.Covers(a) && wider {
			t.Fatalf("%+v covers %+v, which admits more", p, a)
		}
	})
}

func TestScopeText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyScope.Draw(t, "scope")
		read, err := ParseScope(s.String(), s.Purpose)
		if err != nil {
			t.Fatal(err)
		}
		s.DataFrom, s.DataUntil, s.Sensitivities = 0, 0, 0
		if read != s {
			t.Fatalf("%s is read as %+v", s, read)
		}
	})
}

func TestScopeTextV1IsNeverWritten(t *testing.T) {
	for v1, want := range map[string]string{"read": "rs", "write": "cud", "*": "cruds"} {
		s, err := ParseScope("patient/Observation."+v1, "TREAT")
		if err != nil || s.String() != "patient/Observation."+want {
			t.Errorf("%s: %s, %v", v1, s, err)
		}
	}
}

func TestScopeErrors(t *testing.T) {
	for text, want := range map[string]string{
		"user/Observation.rs":                                     "context “user”",
		"patient/observation.rs":                                  "resource “observation”",
		"patient/Observation":                                     "no interactions",
		"patient/Observation.sr":                                  "in the order of cruds",
		"patient/Observation.rr":                                  "each letter once",
		"patient/Observation.rx":                                  "interaction “x”",
		"patient/Observation.rs?":                                 "nothing stands after",
		"patient/Observation.read?code=1":                         "SMART v1",
		"patient/Observation.rs?code":                             "name=value",
		"patient/Observation.rs?code=%4":                          "cut short",
		"patient/Observation.rs?code=%zz":                         "not hexadecimal",
		"patient/Observation.rs?code=%ff":                         "not UTF-8",
		"patient/Observation.rs?code=1&code=%31":                  "the same pair twice",
		"patient/Observation.rs?_%1b[2J=1":                        "“_[2J” does not narrow",
		"patient/Observation.rs?_include=x":                       "“_include” does not narrow",
		"patient/Observation.rs?subject.name=x":                   "chaining",
		"patient/*.rs?category=laboratory":                        "with resource *",
		"patient/Observation.rs?code=1&:in=2":                     "want a name",
		"patient/Observation.rs\x1b[31m":                          "interaction",
		"patient/Observation.rs?code=" + strings.Repeat("x", 600): "filter is out of bounds",
	} {
		_, err := ParseScope(text, "TREAT")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		} else {
			requirePlain(t, err.Error())
		}
	}
	if _, err := ParseScope("patient/Observation.rs", "treat\x1b[m"); err == nil || !strings.Contains(err.Error(), "purpose “treat[m”") {
		t.Errorf("purpose: %v", err)
	}
}

func TestCanonicalFilterIsIdempotent(t *testing.T) {
	// Decoded names and values of the letters that matter, in any order.
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab_:%&=+ é,|/\"")), 1, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Criterion {
			return Criterion{"n" + text.Draw(t, "name") + "n", text.Draw(t, "value")}
		}), 1, 5).Draw(t, "pairs")
		written := make([]string, len(pairs))
		for i, p := range pairs {
			written[i] = p.String()
		}
		canonical, err := CanonicalFilter("Observation", strings.Join(written, "&"))
		if err != nil {
			return // twice the same pair
		}
		if again, err := CanonicalFilter("Observation", canonical); err != nil || again != canonical {
			t.Fatalf("%q, then %q, %v", canonical, again, err)
		}
		// Nothing is lost, and the order of writing does not matter.
		criteria, err := ParseFilter("Observation", canonical)
		if err != nil || len(criteria) != len(pairs) {
			t.Fatalf("%d of %d criteria, %v", len(criteria), len(pairs), err)
		}
		shuffled := rapid.Permutation(written).Draw(t, "shuffled")
		if other, err := CanonicalFilter("Observation", strings.Join(shuffled, "&")); err != nil || other != canonical {
			t.Fatalf("%q, in another order %q, %v", canonical, other, err)
		}
	})
}

func FuzzParseScope(f *testing.F) {
	for _, text := range []string{"patient/Observation.rs?category=laboratory&code=http://loinc.org%7C4548-4", "patient/*.*", "patient/Condition.cruds?_id=%c3%a9", "user/A.r"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScope(text, "TREAT")
		if err != nil {
			requirePlain(t, err.Error())
			return
		}
		if again, err := ParseScope(s.String(), "TREAT"); err != nil || again != s {
			t.Errorf("%q is read as %+v, and that as %+v, %v", text, s, again, err)
		}
	})
}

func FuzzCanonicalFilter(f *testing.F) {
	for _, text := range []string{"", "code=a,b&category=laboratory", "code:in=%20", "_lastUpdated=ge2020-01-01", "a=%ZZ", "=", "a.b=c"} {
		f.Add("Observation", text)
	}
	f.Add("*", "_tag=a")
	f.Fuzz(func(t *testing.T, resource, text string) {
		canonical, err := CanonicalFilter(resource, text)
		if err != nil {
			requirePlain(t, err.Error())
			return
		}
		if again, err := CanonicalFilter(resource, canonical); err != nil || again != canonical {
			t.Errorf("%q becomes %q, and that %q, %v", text, canonical, again, err)
		}
	})
}

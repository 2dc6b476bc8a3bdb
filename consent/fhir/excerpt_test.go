package fhir

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/assent-wallet/assent/consent"
)

// server is a FHIR server as an Excerpt sees it: resources by name, and those
// that it fails to give.
type server struct {
	resources map[string]string
	failing   map[string]bool
	asked     []string
}

// judge gives the verdict on each of the names, together, as one excerpt.
func (s *server) judge(t testing.TB, rules *Rules, interaction consent.Interactions, patient string, names ...string) string {
	t.Helper()
	e := NewExcerpt(patient, "https://h.example/fhir")
	var judged []*Resource
	for _, name := range names {
		r, err := e.Read([]byte(s.resources[name]))
		if err == nil {
			err = e.Add(r)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		judged = append(judged, r)
	}
	for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
		for _, name := range missing {
			s.asked = append(s.asked, name)
			switch text, found := s.resources[name]; {
			case s.failing[name]:
				e.Fail(name)
			case found:
				e.Supply(name, []byte(text))
			default:
				e.Supply(name, nil)
			}
		}
	}
	var admitted []string
	for _, r := range judged {
		if e.Admits(rules, interaction, r) {
			if !e.AdmitsAlone(rules, interaction, r) {
				t.Errorf("%s is admitted, but not alone", r.Name())
			}
			admitted = append(admitted, r.ID())
		}
	}
	return strings.Join(admitted, " ")
}

func newServer(t testing.TB, resources ...string) *server {
	t.Helper()
	s := &server{resources: make(map[string]string), failing: make(map[string]bool)}
	for _, text := range resources {
		name, err := Name([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.resources[name] = text
	}
	return s
}

func rulesOf(t testing.TB, sensitivities consent.Sensitivities, scopes ...string) *Rules {
	t.Helper()
	rules, err := NewRules(access(t, sensitivities, 0, 0, scopes...).Scopes)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// A record that is judged in pieces, however it is cut, is judged as a whole.
func TestExcerptIsRelease(t *testing.T) {
	kinds := []string{"Observation", "Condition", "Claim", "Medication", "Practitioner", "List", "Encounter"}
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.IntRange(1, 12).Draw(t, "resources")
		names := make([]string, number)
		for i := range names {
			names[i] = fmt.Sprintf("%s/r%d", rapid.SampledFrom(kinds).Draw(t, "type"), i)
		}
		resources := []string{patientP}
		for _, name := range names {
			kind, id, _ := strings.Cut(name, "/")
			whose := rapid.SampledFrom([]string{"Patient/p", "Patient/p", "Patient/p", "https://h.example/fhir/Patient/p", "Patient/q"}).Draw(t, "patient")
			resource := map[string]any{"resourceType": kind, "id": id, "subject": map[string]any{"reference": whose}, "patient": map[string]any{"reference": whose}}
			if rapid.IntRange(0, 3).Draw(t, "labelled") == 0 {
				resource["meta"] = map[string]any{"security": []any{map[string]any{"code": rapid.SampledFrom([]string{"HIV", "STD", "R"}).Draw(t, "label")}}}
			}
			for _, element := range []string{"focus", "basedOn", "encounter"} {
				if rapid.Bool().Draw(t, element) {
					to := rapid.SampledFrom(append(names, "Observation/nowhere", "Patient/p")).Draw(t, "to")
					resource[element] = []any{map[string]any{"reference": rapid.SampledFrom([]string{"", "https://h.example/fhir/", "https://other.example/"}).Draw(t, "base") + to + rapid.SampledFrom([]string{"", "/_history/1"}).Draw(t, "version")}}
				}
			}
			if kind == "List" {
				resource["entry"] = []any{map[string]any{"item": map[string]any{"reference": rapid.SampledFrom(names).Draw(t, "item")}}}
			}
			text, err := json.Marshal(resource)
			if err != nil {
				t.Fatal(err)
			}
			resources = append(resources, string(text))
		}
		a := &consent.Access{Scopes: []consent.Scope{
			{Resource: rapid.SampledFrom([]string{"*", "Observation", "List"}).Draw(t, "scope"), Interactions: consent.Search, Sensitivities: consent.Sensitivities(rapid.SampledFrom([]int{0, 4, 8, 12, 255}).Draw(t, "categories"))},
			{Resource: "Claim", Interactions: consent.Search},
		}}
		released, err := Release(collection(resources...), "p", a)
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Entry []struct {
				Resource struct{ ResourceType, ID string }
			}
		}
		if err := json.Unmarshal(released.Bundle, &want); err != nil {
			t.Fatal(err)
		}
		opened := make(map[string]bool)
		for _, e := range want.Entry {
			opened[e.Resource.ResourceType+"/"+e.Resource.ID] = true
		}
		rules, err := NewRules(a.Scopes)
		if err != nil {
			t.Fatal(err)
		}
		// The lists that a Release follows are of the record alone; a server has
		// other patients' as well, so that both must have the same.
		s := &server{resources: make(map[string]string)}
		for _, text := range resources {
			name, err := Name([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			s.resources[name] = text
		}
		all := slices.Sorted(maps.Keys(s.resources))
		size := rapid.IntRange(1, 5).Draw(t, "size")
		got := make(map[string]bool)
		for chunk := range slices.Chunk(rapid.Permutation(all).Draw(t, "order"), size) {
			e := NewExcerpt("p", "https://h.example/fhir")
			var judged []*Resource
			for _, name := range chunk {
				r, err := e.Read([]byte(s.resources[name]))
				if err == nil {
					err = e.Add(r)
				}
				if err != nil {
					t.Fatal(err)
				}
				judged = append(judged, r)
			}
			for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
				for _, name := range missing {
					if text, found := s.resources[name]; found {
						e.Supply(name, []byte(text))
					} else {
						e.Supply(name, nil)
					}
				}
			}
			for _, r := range judged {
				if e.Admits(rules, consent.Search, r) {
					got[r.Name()] = true
				}
			}
		}
		if !maps.Equal(got, opened) {
			t.Fatalf("in pieces of %d it opens %v, as a whole %v\n%s", size, got, opened, strings.Join(resources, "\n"))
		}
	})
}

// Each interaction needs its own letter.
func TestRulesByInteraction(t *testing.T) {
	s := newServer(t, patientP, observation("a", ""))
	for text, want := range map[string]string{"patient/Observation.c": "c", "patient/Observation.r": "r", "patient/*.ud": "ud", "patient/Observation.s": "s", "patient/Observation.cruds": "cruds", "patient/Condition.cruds": "", "patient/*.cruds?_id=b": ""} {
		got := ""
		rules := rulesOf(t, 0, text)
		for _, letter := range []struct {
			of   consent.Interactions
			name string
		}{{consent.Create, "c"}, {consent.Read, "r"}, {consent.Update, "u"}, {consent.Delete, "d"}, {consent.Search, "s"}} {
			if s.judge(t, rules, letter.of, "p", "Observation/a") == "a" {
				got += letter.name
				if !rules.Allow(letter.of, "Observation") || !slices.Contains(rules.Types(letter.of), "Observation") {
					t.Errorf("%s admits in %s what it does not allow", text, letter.name)
				}
			}
		}
		if got != want {
			t.Errorf("%s admits in %q, want %q", text, got, want)
		}
	}
	if rulesOf(t, 0, "patient/*.rs").Allow(consent.Read, "Practitioner") {
		t.Error("what is nobody's own is allowed")
	}
	if _, err := NewRules(access(t, 0, 0, 0, "patient/Observation.rs?code:in=x").Scopes); err == nil {
		t.Error("rules that cannot be evaluated")
	}
}

// What an excerpt asks for, and what happens where it does not get it.
func TestExcerptLooksUp(t *testing.T) {
	all := rulesOf(t, consent.AllSensitivities, "patient/*.rs")
	s := newServer(t, patientP,
		observation("a", `"encounter":{"reference":"Encounter/e"},"focus":[{"reference":"Observation/b"},{"reference":"Patient/p"},{"reference":"#c"},{"reference":"urn:uuid:1"},{"reference":"Practitioner?name=x"},{"reference":"Nothing/1"}]`),
		observation("b", `"performer":[{"reference":"Practitioner/d"},{"reference":"Organization/o"}]`), `{"resourceType":"Practitioner","id":"d"}`)
	if got := s.judge(t, all, consent.Read, "p", "Observation/a"); got != "a" {
		t.Errorf("admitted %q", got)
	}
	if want := []string{"Observation/b", "Organization/o", "Practitioner/d"}; !slices.Equal(s.asked, want) {
		t.Errorf("it asked for %v, want %v", s.asked, want)
	}
	s.failing["Practitioner/d"] = true
	if got := s.judge(t, all, consent.Read, "p", "Observation/a", "Observation/b", "Patient/p"); got != "p" {
		t.Errorf("without Practitioner/d admitted %q", got)
	}
	e := NewExcerpt("p", "https://h.example/fhir")
	r, err := e.Read([]byte(s.resources["Observation/a"]))
	if err != nil || e.Add(r) != nil {
		t.Fatal(err)
	}
	if e.Admits(all, consent.Read, r) {
		t.Error("admitted before all was looked up")
	}
	if err := e.Add(r); err == nil {
		t.Error("added twice")
	}
	e.Supply("Observation/b", []byte(observation("c", "")))
	if len(e.Missing()) != 0 || e.Admits(all, consent.Read, r) {
		t.Error("another resource was taken for the one that was asked for")
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"resourceType":"Nothing"}`, `{"resourceType":"Observation","id":"a/b"}`, `{"resourceType":"Observation","id":1}`, observation("a", "") + `{}`, observation("a", `"x":[`+strings.Repeat("0,", maxValues)+`0]`)} {
		if _, err := e.Read([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// An excerpt has limits, beyond which it withholds.
func TestExcerptEnds(t *testing.T) {
	all := rulesOf(t, consent.AllSensitivities, "patient/*.rs")
	s := newServer(t, observation("o0", `"focus":[{"reference":"Observation/o1"}]`))
	for i := 1; i <= maxLookups+1; i++ {
		s.resources[fmt.Sprintf("Observation/o%d", i)] = observation(fmt.Sprintf("o%d", i), fmt.Sprintf(`"focus":[{"reference":"Observation/o%d"}]`, i+1))
	}
	delete(s.resources, "Observation/o1800")
	if got := s.judge(t, all, consent.Read, "p", "Observation/o0"); got != "o0" {
		t.Errorf("over %d others admitted %q", len(s.asked), got)
	}
	s.resources["Observation/o1800"] = observation("o1800", `"focus":[{"reference":"Observation/o1801"}]`)
	s.asked = nil
	if got := s.judge(t, all, consent.Read, "p", "Observation/o0"); got != "" || len(s.asked) > maxLookups {
		t.Errorf("over %d others admitted %q", len(s.asked), got)
	}
	// It says so, and what it has, for whoever judges less at once.
	e := NewExcerpt("p", "https://h.example/fhir")
	far, err := e.Read([]byte(observation("far", `"focus":[{"reference":"Observation/o1"},{"reference":"Observation/none"},{"reference":"Observation/failing"}]`)))
	if err != nil || e.Add(far) != nil {
		t.Fatal(err)
	}
	for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
		if e.Exceeded() {
			t.Fatal("it is exceeded before it is")
		}
		for _, name := range missing {
			switch name {
			case "Observation/failing":
				e.Fail(name)
			case "Observation/none":
				e.Supply(name, nil)
			default:
				e.Supply(name, []byte(s.resources[name]))
			}
		}
	}
	known := e.LookedUp()
	if _, found := known["Observation/far"]; !e.Exceeded() || found || len(known) < maxLookups-2 || string(known["Observation/o1"]) != s.resources["Observation/o1"] {
		t.Errorf("exceeded: %v, with %d that are known", e.Exceeded(), len(known))
	}
	if text, found := known["Observation/none"]; !found || text != nil {
		t.Error("it does not know what is not there")
	}
	if _, found := known["Observation/failing"]; found {
		t.Error("it knows what failed")
	}
}

// So much is in memory and no more, of which one resource by itself has more than
// several together.
func TestExcerptEndsByLength(t *testing.T) {
	all := rulesOf(t, consent.AllSensitivities, "patient/*.rs")
	const size = maxLookupBytes/4 + 1
	s := newServer(t, observation("none", ""))
	for _, number := range []int{3, 4, 15, 16} {
		var references []string
		for i := range number {
			references = append(references, fmt.Sprintf(`{"reference":"Observation/o%d-%d"}`, number, i))
			s.resources[fmt.Sprintf("Observation/o%d-%d", number, i)] = observation(fmt.Sprintf("o%d-%d", number, i), `"note":"`+strings.Repeat("x", size)+`"`)
		}
		s.resources[fmt.Sprintf("Observation/o%d", number)] = observation(fmt.Sprint("o", number), `"focus":[`+strings.Join(references, ",")+`]`)
	}
	for _, c := range []struct{ judged, want string }{
		{"o3", "o3"}, {"o4", "o4"}, {"o15", "o15"}, {"o16", ""}, {"o3 none", "o3 none"}, {"o4 none", "none"}, {"o15 none", "none"},
	} {
		var names []string
		for id := range strings.FieldsSeq(c.judged) {
			names = append(names, "Observation/"+id)
		}
		if got := s.judge(t, all, consent.Read, "p", names...); got != c.want {
			t.Errorf("of %s are admitted %q", c.judged, got)
		}
	}
}

// Whoever writes cannot learn from the verdict what they may not read.
func TestReaches(t *testing.T) {
	s := newServer(t, patientP, observation("open", ""), observation("hidden", `"meta":{"security":[{"code":"HIV"}]}`), `{"resourceType":"Practitioner","id":"d"}`)
	rules := rulesOf(t, 0, "patient/Observation.crus")
	for reference, want := range map[string]bool{"Observation/open": true, "Observation/hidden": false, "Observation/missing": false, "Condition/missing": false,
		"Practitioner/d": true, "Practitioner/missing": true, "Patient/p": true, "Patient/q": false, "Practitioner?identifier=1": false, "#contained": true, "urn:uuid:1": true, "https://h.example/fhir/Observation/hidden": false,
		// What some server may still read as a reference.
		"/Observation/hidden": false, "Observation//hidden": false, "./Observation/hidden": false, "Observation/hidden/": false, " Observation/hidden": false,
		"Observation/%68idden": false, "observation/hidden": false, "https://h.example/fhir//Observation/hidden/": false, "/Patient/q": false, "Observation/hidden/_history/": false} {
		e := NewExcerpt("p", "https://h.example/fhir")
		before, err := e.Read([]byte(observation("x", `"focus":[{"reference":"`+reference+`"}]`)))
		if err != nil {
			t.Fatal(err)
		}
		after, err := e.Read([]byte(observation("x", `"focus":[{"reference":"`+reference+`"}]`)))
		if err != nil || e.Add(after) != nil {
			t.Fatal(err)
		}
		for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
			for _, name := range missing {
				if text, found := s.resources[name]; found {
					e.Supply(name, []byte(text))
				} else {
					e.Supply(name, nil)
				}
			}
		}
		if got := e.Occasions(after, nil); len(got) > 0 {
			t.Errorf("%s is an occasion: %v", reference, got)
		}
		if got := e.Reaches(rules, after, nil); got != want {
			t.Errorf("%s: reaches is %v", reference, got)
		}
		if !strings.Contains(reference, "?") && !e.Reaches(rules, after, before) {
			t.Errorf("%s was there before and is not reached", reference)
		}
	}
}

func TestOccasions(t *testing.T) {
	e := NewExcerpt("p", "https://h.example/fhir")
	var both [2]*Resource
	for i, more := range []string{`"encounter":{"reference":"Encounter/a"}`, `"encounter":{"reference":"Encounter/a"},"context":[{"reference":"https://h.example/fhir/EpisodeOfCare/b/_history/1"},{"reference":"Patient/q"},{"reference":"Location/l"}],"focus":[{"reference":"Encounter/c"}]`} {
		r, err := e.Read([]byte(observation("x", more)))
		if err != nil {
			t.Fatal(err)
		}
		both[i] = r
	}
	if got := e.Occasions(both[1], nil); !slices.Equal(got, []string{"Encounter/a", "EpisodeOfCare/b"}) {
		t.Errorf("the occasions are %v", got)
	}
	if got := e.Occasions(both[1], both[0]); !slices.Equal(got, []string{"EpisodeOfCare/b"}) {
		t.Errorf("the new occasions are %v", got)
	}
}

func TestResource(t *testing.T) {
	e := NewExcerpt("p", "https://h.example/fhir")
	const text = ` {"id" : "a\u0062", "resourceType":"Observation","meta":{"versionId":"7","lastUpdated":"2024-05-01T12:00:00.5+02:00"}, "note":[{"id":"n"}] ,"focus":[{"reference":"https://h.example/fhir/Condition/1/_history/2"}]} `
	r, err := e.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	at, known := r.Updated()
	if r.Name() != "Observation/ab" || r.Type() != "Observation" || r.ID() != "ab" || r.Version() != "7" || !known || at.UTC().Format("15:04:05.0") != "10:00:00.5" {
		t.Errorf("%s %s %s %s %s", r.Name(), r.Type(), r.ID(), r.Version(), at)
	}
	if got := string(r.Raw()); got != strings.TrimSpace(text) {
		t.Errorf("raw is %s", got)
	}
	if got, want := string(r.WithoutID()), `{"resourceType":"Observation","meta":{"versionId":"7","lastUpdated":"2024-05-01T12:00:00.5+02:00"},"note":[{"id":"n"}],"focus":[{"reference":"https://h.example/fhir/Condition/1/_history/2"}]}`; got != want {
		t.Errorf("without its id it is\n%s, want\n%s", got, want)
	}
	if got := r.Refers(); !slices.Equal(got, []string{"Condition/1"}) {
		t.Errorf("it refers to %v", got)
	}
	for _, odd := range []string{`{"resourceType":"Observation","meta":{"versionId":"a b","lastUpdated":"2024"}}`, `{"resourceType":"Observation","meta":{"versionId":7}}`} {
		r, err := e.Read([]byte(odd))
		if err != nil {
			t.Fatal(err)
		}
		if _, known := r.Updated(); known || r.Version() != "" || r.Name() != "" || string(r.WithoutID()) != odd {
			t.Errorf("%s has a version, a time or a name", odd)
		}
	}
}

func TestQuery(t *testing.T) {
	const base = "https://h.example/fhir"
	for _, c := range []struct{ kind, query, searches string }{
		{"Observation", "", "_count=9&subject=Patient%2Fp | _count=9&performer=Patient%2Fp"},
		{"Observation", "category=laboratory&date=ge2020&date=lt2021&_sort=-date,_id", "_count=9&_sort=-date%2C_id&category=laboratory&date=ge2020&date=lt2021&subject=Patient%2Fp | _count=9&_sort=-date%2C_id&category=laboratory&date=ge2020&date=lt2021&performer=Patient%2Fp"},
		{"Observation", "patient=p", "_count=9&subject=Patient%2Fp"},
		{"Observation", "patient=Patient/p&subject=p&_count=3&_format=json&_summary=false&_total=none", "_count=9&subject=Patient%2Fp"},
		{"Observation", "performer=" + base + "/Patient/p", "_count=9&performer=Patient%2Fp"},
		{"Flag", "subject:Patient=p", "_count=9&patient=Patient%2Fp"},
		{"Patient", "gender=female", "_count=9&_id=p&gender=female"},
		{"Patient", "_id=p", "_count=9&_id=p"},
		{"Invoice", "", "_count=9&subject=Patient%2Fp | _count=9&recipient=Patient%2Fp"},
		{"Encounter", "_include=Encounter:service-provider:Organization&_revinclude=Observation:encounter", "_count=9&_include=Encounter%3Aservice-provider%3AOrganization&_revinclude=Observation%3Aencounter&subject=Patient%2Fp"},
	} {
		parameters, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		q, err := NewQuery(c.kind, parameters, "p", base)
		if err != nil {
			t.Errorf("%s?%s: %v", c.kind, c.query, err)
			continue
		}
		if got := strings.Join(q.Searches(9), " | "); got != c.searches {
			t.Errorf("%s?%s: searches\n%s, want\n%s", c.kind, c.query, got, c.searches)
		}
	}
	for _, c := range []struct{ kind, query, has, searches string }{
		{"Communication", "", "recipient", "subject=Patient%2Fp | recipient=Patient%2Fp"},
		{"Communication", "", "", "subject=Patient%2Fp"},
		// Servers need have but one of patient and subject.
		{"Observation", "", "patient", "patient=Patient%2Fp"},
		{"Observation", "", "patient performer", "patient=Patient%2Fp | performer=Patient%2Fp"},
		{"Observation", "subject=p", "patient", "patient=Patient%2Fp"},
		{"Observation", "patient=p", "patient", "patient=Patient%2Fp"},
		{"Observation", "patient=p", "patient subject", "subject=Patient%2Fp"},
		{"Encounter", "", "patient", "patient=Patient%2Fp"},
		{"MedicationDispense", "", "patient receiver", "patient=Patient%2Fp | receiver=Patient%2Fp"},
		{"Flag", "", "subject", "subject=Patient%2Fp"},
		{"Coverage", "", "patient", "policy-holder=Patient%2Fp"},
		{"Patient", "", "patient", "_id=p"},
	} {
		parameters, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		restricted := func() *Query {
			q, err := NewQuery(c.kind, parameters, "p", base)
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		searches := func(q *Query) string { return strings.ReplaceAll(strings.Join(q.Searches(9), " | "), "_count=9&", "") }
		q := restricted()
		q.Restrict(func(parameter string) bool { return slices.Contains(strings.Fields(c.has), parameter) })
		if got := searches(q); got != c.searches {
			t.Errorf("%s at a server with %q searches %s, want %s", c.kind, c.has, got, c.searches)
		}
		again := restricted()
		if err := again.TieBy(q.Ties()); err != nil || searches(again) != c.searches {
			t.Errorf("%s goes on with %s, %v, want %s", c.kind, searches(again), err, c.searches)
		}
		for _, bad := range [][]string{nil, {"code"}, {"nothing"}} {
			if restricted().TieBy(bad) == nil {
				t.Errorf("%s is tied by %q", c.kind, bad)
			}
		}
	}
	e := NewExcerpt("p", base)
	q, err := NewQuery("Observation", url.Values{"code": {"x"}}, "p", base)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][2]bool{
		observation("a", `"code":{"coding":[{"code":"x"}]}`):                                                      {true, false},
		observation("a", `"code":{"coding":[{"code":"x"}]},"performer":[{"reference":"Patient/p"}]`):              {true, false},
		observation("a", `"code":{"coding":[{"code":"y"}]}`):                                                      {false, false},
		`{"resourceType":"Observation","code":{"coding":[{"code":"x"}]},"performer":[{"reference":"Patient/p"}]}`: {false, true},
		`{"resourceType":"Observation","code":{"coding":[{"code":"x"}]},"subject":{"reference":"Patient/q"}}`:     {false, false},
		`{"resourceType":"Flag","code":{"coding":[{"code":"x"}]},"subject":{"reference":"Patient/p"}}`:            {false, false},
	} {
		r, err := e.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{q.Matches(r, 0), q.Matches(r, 1)}; got != want {
			t.Errorf("%s matches %v, want %v", text, got, want)
		}
	}
	if _, err := NewQuery("Nothing", nil, "p", base); err == nil {
		t.Error("a search of no type")
	}
	for _, kind := range PatientTypes() {
		if q, err := NewQuery(kind, nil, "p", base); err != nil || len(q.Searches(1)) == 0 {
			t.Errorf("%s cannot be searched: %v", kind, err)
		}
		for _, p := range SearchParameters(kind) {
			value := map[string]string{"token": "x", "date": "2020", "uri": "x", "reference": "Patient/p"}[p.Type]
			if kind == "Patient" && p.Name == "_id" {
				value = "p"
			}
			if _, err := NewQuery(kind, url.Values{p.Name: {value}}, "p", base); err != nil {
				t.Errorf("%s is said to be searched by %s, but: %v", kind, p.Name, err)
			}
		}
	}
}

func TestIsJSON(t *testing.T) {
	for mediaType, want := range map[string]bool{
		"application/fhir+json": true, "application/json": true, "json": true, "Application/FHIR+JSON; charset=UTF-8": true, `application/fhir+json; fhirVersion="4.0"`: true, "application/json;q=0.5": true,
		"application/fhir+json; fhirVersion=3.0": false, "application/json; charset=latin1": false, "application/fhir+xml": false, "text/json": false, "": false, "*/*": false,
	} {
		if IsJSON(mediaType) != want {
			t.Errorf("%q: %v", mediaType, !want)
		}
	}
}

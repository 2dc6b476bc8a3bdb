package fhir

import (
	"strings"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
)

func TestParseDate(t *testing.T) {
	for text, want := range map[string][2]string{
		"2020":                           {"2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"},
		"2020-02":                        {"2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z"},
		"2020-02-29":                     {"2020-02-29T00:00:00Z", "2020-03-01T00:00:00Z"},
		"2020-12-31":                     {"2020-12-31T00:00:00Z", "2021-01-01T00:00:00Z"},
		"2020-02-29T23:59Z":              {"2020-02-29T23:59:00Z", "2020-03-01T00:00:00Z"},
		"2020-02-29T23:59:59Z":           {"2020-02-29T23:59:59Z", "2020-03-01T00:00:00Z"},
		"2020-01-01T00:00:00+14:00":      {"2019-12-31T10:00:00Z", "2019-12-31T10:00:01Z"},
		"2020-01-01T00:00:00-05:00":      {"2020-01-01T05:00:00Z", "2020-01-01T05:00:01Z"},
		"2020-01-01T00:00:00.5Z":         {"2020-01-01T00:00:00.5Z", "2020-01-01T00:00:00.6Z"},
		"2020-01-01T00:00:00.123Z":       {"2020-01-01T00:00:00.123Z", "2020-01-01T00:00:00.124Z"},
		"2020-01-01T00:00:00.123456789Z": {"2020-01-01T00:00:00.123456789Z", "2020-01-01T00:00:00.12345679Z"},
	} {
		i, err := parseDate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := [2]string{i.from.UTC().Format(time.RFC3339Nano), i.until.UTC().Format(time.RFC3339Nano)}; got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "20", "0000", "202O", "2020-1", "2020-13", "2020-02-30", "2020-02-3", "2020-02-03T", "2020-02-03T10Z", "2020-02-03T10:00",
		"2020-02-03T10:00:00", "2020-02-03T1:00:00Z", "2020-02-03T24:00:00Z", "2020-02-03T10:00:60Z", "2020-02-03T10:00:00.Z", "2020-02-03T10:00:00,5Z",
		"2020-02-03T10:00:00+2:00", "2020-02-03T10:00:00+0200", "2020-02-03T10:00:00z", "2020-02-03 10:00:00Z", "2020-02-03Z", "2020Z", "-2020", "2020-02-03T10:00.5Z",
		"2020-02-03T10:00:00ZZ", "2020-02-03T10:00:00+25:00", " 2020", "2020 ", "10000", "2020.5"} {
		if i, err := parseDate(text); err == nil {
			t.Errorf("%q was read as %v", text, i)
		}
	}
}

func TestDateSearch(t *testing.T) {
	at := func(effective string) string { return observation("a", effective) }
	for _, c := range []struct{ effective, matching, not string }{
		{`"effectiveDateTime":"2020-05-05"`,
			"2020 2020-05 2020-05-05 ge2020 ge2020-05-05 ge2019 gt2019 gt2020-05-04 le2020 le2020-05-05 lt2021 lt2020-05-06 lt2020-05-05T12:00:00Z gt2020-05-05T12:00:00Z ge2020-05-05T12:00:00Z 2019,2020",
			"2019 2020-05-04 2020-05-05T00:00:00Z gt2020 gt2020-05-05 lt2020 lt2020-05-05 ge2021 le2019 ge2020-05-06 le2020-05-04 eq2021 2018,2019"},
		{`"effectiveDateTime":"2020-05-05T23:30:00-05:00"`,
			"2020-05-06 ge2020-05-06 2020-05-06T04:30:00Z 2020-05-05T23:30:00-05:00",
			"2020-05-05 lt2020-05-06 2020-05-06T04:30:00.5Z"},
		{`"effectiveInstant":"2020-05-05T10:00:00.250Z"`, "2020-05-05T10:00:00Z gt2020-05-05T10:00:00.1Z", "gt2020-05-05T10:00:00Z lt2020-05-05T10:00:00.250Z"},
		{`"effectivePeriod":{"start":"2020-05-01","end":"2020-05-31"}`,
			"2020 2020-05 ge2020-05-30 gt2020-05-30 lt2020-05-02 le2020-05-02 ge2020-04 lt2020-06",
			"2020-05-15 gt2020-05-31 lt2020-05-01 ge2020-06 le2020-04 ge2020-05-31 le2020-05-01"},
		{`"effectivePeriod":{"start":"2020-05-01"}`, "ge2020 gt2999 ge2020-04 lt2020-06 le2020-06", "2020 eq2999 lt2020-05 le2020-05 le2020-04"},
		{`"effectivePeriod":{"end":"2020-05-01"}`, "le2020 lt1900 ge2020-04 gt2020-04", "2020 ge2020-05 gt2020-05 ge2020-06"},
		{`"effectivePeriod":{}`, "", "ge1900 le2999"},
		{`"effectivePeriod":{"start":"soon","end":"2020"}`, "", "ge1900 le2999"},
		{`"effectiveTiming":{"event":["2020-05-05"]}`, "", "2020 ge1900 le2999"},
		{`"effectiveDateTime":"soon"`, "", "ge1900 le2999"},
		{`"effectiveDateTime":null`, "", "ge1900 le2999"},
		{``, "", "ge1900 le2999"},
	} {
		for filters, want := range map[string]string{c.matching: "a", c.not: ""} {
			for filter := range strings.FieldsSeq(filters) {
				if got := ids(t, access(t, 0, 0, 0, "patient/Observation.rs?date="+filter), at(c.effective)); got != want {
					t.Errorf("%s, date=%s: released %q, want %q", c.effective, filter, got, want)
				}
			}
		}
	}
	// Each type by its own name of the parameter.
	for _, c := range []struct{ scope, resource string }{
		{"Condition.rs?onset-date=2020", `"resourceType":"Condition","onsetDateTime":"2020-01-01","subject":{"reference":"Patient/p"}`},
		{"Condition.rs?recorded-date=2020", `"resourceType":"Condition","recordedDate":"2020-01-01","subject":{"reference":"Patient/p"}`},
		{"MedicationRequest.rs?authoredon=2020", `"resourceType":"MedicationRequest","authoredOn":"2020-01-01","subject":{"reference":"Patient/p"}`},
		{"Procedure.rs?date=2020", `"resourceType":"Procedure","performedPeriod":{"start":"2020-01-01","end":"2020-01-02"},"subject":{"reference":"Patient/p"}`},
		{"Immunization.rs?date=2020", `"resourceType":"Immunization","occurrenceDateTime":"2020-01-01","patient":{"reference":"Patient/p"}`},
		{"Encounter.rs?date=2020", `"resourceType":"Encounter","period":{"start":"2020-01-01","end":"2020-01-02"},"subject":{"reference":"Patient/p"}`},
		{"AllergyIntolerance.rs?date=2020", `"resourceType":"AllergyIntolerance","recordedDate":"2020","patient":{"reference":"Patient/p"}`},
		{"DiagnosticReport.rs?date=2020", `"resourceType":"DiagnosticReport","effectiveDateTime":"2020","subject":{"reference":"Patient/p"}`},
		{"DocumentReference.rs?date=2020", `"resourceType":"DocumentReference","date":"2020-01-01T00:00:00Z","subject":{"reference":"Patient/p"}`},
		{"CarePlan.rs?date=2020", `"resourceType":"CarePlan","period":{"start":"2020-01-01","end":"2020-01-02"},"subject":{"reference":"Patient/p"}`},
		{"MedicationStatement.rs?effective=2020", `"resourceType":"MedicationStatement","effectiveDateTime":"2020","subject":{"reference":"Patient/p"}`},
	} {
		if got := ids(t, access(t, 0, 0, 0, "patient/"+c.scope), `{"id":"a",`+c.resource+`}`); got != "a" {
			t.Errorf("%s: released %q", c.scope, got)
		}
	}
}

func TestWindow(t *testing.T) {
	const jan2020, feb2020, jan2021 = 1577836800, 1580515200, 1609459200
	type window struct{ from, until uint64 }
	open, in2020, since2020, before2021, january := window{}, window{jan2020, jan2021}, window{jan2020, 0}, window{0, jan2021}, window{jan2020, feb2020}
	for _, c := range []struct {
		resource string
		windows  map[window]bool
	}{
		{`"resourceType":"Observation","effectiveDateTime":"2020"`, map[window]bool{open: true, in2020: true, since2020: true, before2021: true, january: false}},
		{`"resourceType":"Observation","effectiveDateTime":"2020-01"`, map[window]bool{in2020: true, january: true}},
		{`"resourceType":"Observation","effectiveDateTime":"2019-12-31"`, map[window]bool{in2020: false, since2020: false, before2021: true}},
		{`"resourceType":"Observation","effectiveDateTime":"2020-01-01T00:00:00Z"`, map[window]bool{in2020: true}},
		{`"resourceType":"Observation","effectiveDateTime":"2020-01-01T00:00:00+01:00"`, map[window]bool{in2020: false}},
		{`"resourceType":"Observation","effectiveDateTime":"2020-12-31T23:59:59Z"`, map[window]bool{in2020: true}},
		{`"resourceType":"Observation","effectiveDateTime":"2020-12-31T23:59:59-01:00"`, map[window]bool{in2020: false}},
		{`"resourceType":"Observation","effectiveDateTime":"2021-01-01T00:00:00.000Z"`, map[window]bool{in2020: false, since2020: true}},
		{`"resourceType":"Observation","effectiveDateTime":"1960"`, map[window]bool{since2020: false, before2021: true, open: true}},
		{`"resourceType":"Observation","issued":"2020-05-05T00:00:00Z"`, map[window]bool{open: true, in2020: false, since2020: false, before2021: false}},
		{`"resourceType":"Observation","effectiveTiming":{"event":["2020-05-05"]}`, map[window]bool{open: true, in2020: false}},
		{`"resourceType":"Observation","effectiveString":"2020"`, map[window]bool{open: true, in2020: false}},
		{`"resourceType":"Observation","effectivePeriod":{"start":"2020-02","end":"2020-03"}`, map[window]bool{in2020: true, january: false}},
		{`"resourceType":"Observation","effectivePeriod":{"start":"2020-02"}`, map[window]bool{in2020: false, since2020: true, before2021: false}},
		{`"resourceType":"Observation","effectivePeriod":{"end":"2020-02"}`, map[window]bool{in2020: false, since2020: false, before2021: true}},
		{`"resourceType":"Observation","effectivePeriod":{"start":"2019-02","end":"2020-03"}`, map[window]bool{in2020: false, before2021: true}},
		{`"resourceType":"Condition","onsetDateTime":"2010","recordedDate":"2020-05-05"`, map[window]bool{in2020: false, before2021: true}},
		{`"resourceType":"Condition","recordedDate":"2020-05-05"`, map[window]bool{in2020: true}},
		{`"resourceType":"Condition","onsetAge":{"value":5},"recordedDate":"2020-05-05"`, map[window]bool{in2020: false, open: true}},
		{`"resourceType":"Condition","onsetString":"2020","recordedDate":"2020-05-05"`, map[window]bool{in2020: false}},
		{`"resourceType":"Claim","billablePeriod":{"start":"2020-05","end":"2020-05"},"item":[{"servicedDate":"2020-05-05"}]`, map[window]bool{in2020: true}},
		{`"resourceType":"Claim","billablePeriod":{"start":"2020-05","end":"2020-05"},"item":[{"servicedDate":"2020-05-05"},{"servicedPeriod":{"start":"2019","end":"2019"}}]`, map[window]bool{in2020: false, before2021: true}},
		{`"resourceType":"Claim","created":"2020-05-05"`, map[window]bool{in2020: true}},
		{`"resourceType":"RelatedPerson","period":{"start":"2020-05","end":"2020-05"}`, map[window]bool{in2020: false, open: true}},
	} {
		for w, want := range c.windows {
			resource := `{"id":"a",` + c.resource + `,"subject":{"reference":"Patient/p"},"patient":{"reference":"Patient/p"}}`
			want := map[bool]string{true: "a"}[want]
			if w == open {
				want = "p " + want
			}
			if got := ids(t, access(t, 0, w.from, w.until, "patient/*.rs"), resource); got != want {
				t.Errorf("%s in %v: released %q, want %q", c.resource, w, got, want)
			}
		}
	}
	// Bounds beyond what time.Time can hold.
	a := access(t, 0, 0, 0, "patient/*.rs")
	a.Scopes[0] = consent.Scope{Resource: "*", Interactions: consent.Search, DataFrom: 1 << 63, DataUntil: 1<<64 - 1}
	if got := ids(t, a, observation("a", `"effectiveDateTime":"2020"`)); got != "" {
		t.Errorf("released %q from the far future", got)
	}
	a.Scopes[0].DataFrom = 0
	if got := ids(t, a, observation("a", `"effectiveDateTime":"2020"`)); got != "a" {
		t.Errorf("released %q until the far future", got)
	}
}

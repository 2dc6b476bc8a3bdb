package fhir

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent"
)

const patientP = `{"resourceType":"Patient","id":"p","active":true}`

// collection wraps resources, each under a fullUrl of the same server where it
// has an id.
func collection(resources ...string) []byte {
	var entries []string
	for _, r := range resources {
		var named struct{ ResourceType, ID string }
		if json.Unmarshal([]byte(r), &named) == nil && named.ID != "" {
			entries = append(entries, `{"fullUrl":"https://h.example/fhir/`+named.ResourceType+`/`+named.ID+`","resource":`+r+`}`)
		} else {
			entries = append(entries, `{"resource":`+r+`}`)
		}
	}
	return []byte(`{"resourceType":"Bundle","type":"collection","entry":[` + strings.Join(entries, ",") + `]}`)
}

// ids gives the ids that an access opens in a collection of the patient p and
// the resources.
func ids(tb testing.TB, a *consent.Access, resources ...string) string {
	tb.Helper()
	var out struct {
		Entry []struct{ Resource struct{ ID string } }
	}
	bundle := collection(slices.Concat([]string{patientP}, resources)...)
	if err := json.Unmarshal(release(tb, bundle, "p", a).Bundle, &out); err != nil {
		tb.Fatal(err)
	}
	var ids []string
	for _, e := range out.Entry {
		ids = append(ids, e.Resource.ID)
	}
	return strings.Join(ids, " ")
}

// observation is one of p with more members.
func observation(id, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"resourceType":"Observation","id":"` + id + `","status":"final","subject":{"reference":"Patient/p"}` + more + `}`
}

func TestInteractions(t *testing.T) {
	for scope, want := range map[string]string{
		"patient/Observation.rs":               "a b",
		"patient/Observation.s":                "a b",
		"patient/Observation.cruds":            "a b",
		"patient/Observation.read":             "a b",
		"patient/Observation.r?_id=b":          "b",
		"patient/Observation.r?_id=a,b":        "a b",
		"patient/Observation.rs?_id=b":         "b",
		"patient/Observation.r?_id=nobody":     "",
		"patient/Observation.s?_id=a&_tag=x":   "",
		"patient/Patient.rs":                   "p",
		"patient/*.rs":                         "p a b",
		"patient/*.r?_id=p":                    "p",
		"patient/Condition.rs?code=1":          "",
		"patient/Practitioner.rs":              "",
		"patient/Bundle.rs":                    "",
		"patient/Observation.rs?status=final":  "a b",
		"patient/Observation.rs?status=FINAL":  "",
		"patient/Observation.rs?_profile=none": "",
	} {
		if got := ids(t, access(t, 0, 0, 0, scope), observation("a", ""), observation("b", ""), `{"resourceType":"Practitioner","id":"c"}`); got != want {
			t.Errorf("%s: released %q, want %q", scope, got, want)
		}
	}
	for _, scope := range []string{"patient/Observation.r", "patient/Observation.cud", "patient/Observation.c?_id=a", "patient/*.r?_tag=x"} {
		if _, err := Release(collection(patientP), "p", access(t, 0, 0, 0, scope)); err == nil {
			t.Errorf("%s: nothing in it reads a record, but there is no error", scope)
		}
		if err := Evaluable(access(t, 0, 0, 0, scope)); err != nil {
			t.Errorf("%s: %v", scope, err)
		}
	}
	// A write scope beside a reading one adds nothing.
	if got := ids(t, access(t, 0, 0, 0, "patient/Condition.rs", "patient/Observation.cud"), observation("a", "")); got != "" {
		t.Errorf("a write scope released %q", got)
	}
}

// One scope must admit a resource wholly: two that each do in part do not.
func TestScopesAreNotCombined(t *testing.T) {
	sensitive := observation("a", `"effectiveDateTime":"2020","code":{"coding":[{"system":"http://loinc.org","code":"44249-1"}]}`)
	a := access(t, 0, 0, 0, "patient/Observation.rs", "patient/Observation.rs")
	a.Scopes[0].Sensitivities = consent.MentalHealth
	a.Scopes[0].DataUntil = 1 // nothing is that old
	if got := ids(t, a, sensitive); got != "" {
		t.Errorf("released %q", got)
	}
	a.Scopes[0].DataUntil = 1609459200
	if got := ids(t, a, sensitive); got != "a" {
		t.Errorf("released %q, want a", got)
	}
}

func TestEvaluable(t *testing.T) {
	for scope, want := range map[string]string{
		"patient/Observation.rs?category=laboratory":                                     "",
		"patient/Observation.rs?category:in=http://x":                                    "category:in",
		"patient/Observation.rs?category:not=laboratory":                                 "category:not",
		"patient/Observation.rs?subject=Patient/q":                                       "subject",
		"patient/Observation.rs?patient=q":                                               "patient",
		"patient/Observation.rs?value-quantity=gt5":                                      "value-quantity",
		"patient/Observation.rs?clinical-status=active":                                  "clinical-status",
		"patient/Condition.rs?category=a&code=http://snomed.info/sct|1&onset-date=2020":  "",
		"patient/Condition.rs?onset-age=gt5":                                             "onset-age",
		"patient/Observation.rs?date=ne2020":                                             "date",
		"patient/Observation.rs?date=sa2020":                                             "date",
		"patient/Observation.rs?date=eb2020":                                             "date",
		"patient/Observation.rs?date=ap2020":                                             "date",
		"patient/Observation.rs?date=GE2020":                                             "date",
		"patient/Observation.rs?date=20":                                                 "date",
		"patient/Observation.rs?date=2020-02-30":                                         "date",
		"patient/Observation.rs?date=2020-02-03T10:00:00":                                "date",
		"patient/Observation.rs?date=2020-02-03T10:00:00%2B02:00":                        "",
		"patient/Observation.rs?date=2020-02-03T10:00Z":                                  "",
		"patient/Observation.rs?date=2020,":                                              "date",
		"patient/Observation.rs?date=ge":                                                 "date",
		"patient/Observation.rs?code=a,":                                                 "code",
		"patient/Observation.rs?code=|":                                                  "code",
		"patient/Observation.rs?code=a|b|c":                                              "code",
		"patient/Observation.rs?code=a%5C":                                               "code",
		"patient/Observation.rs?code=a%5Cb":                                              "code",
		"patient/Observation.rs?code=a%5C,b":                                             "",
		"patient/Observation.rs?status=http://hl7.org/fhir/observation-status|final":     "status",
		"patient/Observation.rs?status=|final":                                           "status",
		"patient/Practitioner.rs?name=a":                                                 "name",
		"patient/Binary.rs?contenttype=a":                                                "contenttype",
		"patient/Observations.rs":                                                        "Observations",
		"patient/observation.rs":                                                         "parse",
		"patient/*.rs?_id=a&_lastUpdated=ge2020&_profile=a&_security=R&_source=a&_tag=a": "",
		"patient/*.rs?_lastUpdated=soon":                                                 "_lastUpdated",
		"patient/*.rs?_tag:not=a":                                                        "_tag:not",
	} {
		if want == "parse" {
			continue
		}
		err := Evaluable(access(t, 0, 0, 0, scope))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), "“"+want+"”") {
			t.Errorf("%s: error %v, want one that names %q", scope, err, want)
		}
		if _, releaseErr := Release(collection(patientP), "p", access(t, 0, 0, 0, scope)); (releaseErr == nil) != (err == nil) {
			t.Errorf("%s: Evaluable says %v, Release %v", scope, err, releaseErr)
		}
	}
	// A filter that was never made canonical is read all the same, and strictly.
	a := &consent.Access{Scopes: []consent.Scope{{Resource: "Observation", Interactions: consent.Search, Filter: "code"}}}
	if Evaluable(a) == nil {
		t.Error("a filter that cannot be read is evaluable")
	}
	for kind, of := range searchParameters {
		if !isType(kind) {
			t.Errorf("%s is no type", kind)
		}
		for _, names := range []string{of.concept, of.code, of.identifier, of.date} {
			for entry := range strings.FieldsSeq(names) {
				name, _, _ := strings.Cut(entry, "=")
				if c, ok := parameter(kind, name); !ok || c.paths == "" {
					t.Errorf("%s.%s is not found", kind, name)
				}
			}
		}
	}
	for kind := range clinicalDates {
		if _, own := compartment[kind]; !own {
			t.Errorf("%s has a clinical date and is nobody's", kind)
		}
	}
}

func TestTokens(t *testing.T) {
	coded := observation("a", `"code":{"coding":[{"system":"http://s","code":"x"},{"code":"y"}],"text":"z"},
		"category":[{"coding":[{"system":"http://s","code":"c,|1"}]}],"identifier":[{"system":"http://i","value":"7"},{"value":"8"}],
		"meta":{"tag":[{"system":"http://t","code":"t"}],"profile":["http://p|1"],"source":"http://src","lastUpdated":"2020-05-01T10:00:00Z"}`)
	for filter, want := range map[string]bool{
		"code=x": true, "code=http://s|x": true, "code=|x": false, "code=http://s|": true, "code=http://other|": false,
		"code=y": true, "code=|y": true, "code=http://s|y": false, "code=z": false, "code=X": false, "code=http://S|x": false,
		"code=q,x": true, "code=q,r": false, "code=x&code=y": true, "code=x&code=q": false,
		"category=c%5C,%5C|1": true, "category=http://s|c%5C,%5C|1": true, "category=c,|1": false,
		"identifier=7": true, "identifier=http://i|7": true, "identifier=|8": true, "identifier=|7": false, "identifier=http://i|": true,
		"method=x": false, "status=final,amended": true,
		"_tag=t": true, "_tag=http://t|t": true, "_tag=|t": false, "_security=R": false, "_source=http://src": true, "_source=http://sr": false,
		"_profile=http://p|1": true, "_profile=http://p": false,
		"_lastUpdated=2020": true, "_lastUpdated=ge2020-05-01T10:00:00Z": true, "_lastUpdated=gt2020-05-01T10:00:00Z": false, "_lastUpdated=lt2020-05": false,
		"_id=a": true, "_id=A": false,
	} {
		if got := ids(t, access(t, 0, 0, 0, "patient/Observation.rs?"+filter), coded) == "a"; got != want {
			t.Errorf("%s: matches %v, want %v", filter, got, want)
		}
	}
	// Elements of another form than R4's match nothing.
	odd := observation("a", `"code":"x","category":"x","identifier":["7"],"meta":{"tag":"t"},"component":[{"code":[["x"]]},null,3]`)
	for _, filter := range []string{"code=x", "category=x", "identifier=7", "_tag=t", "component-code=x", "date=ge1900"} {
		if got := ids(t, access(t, 0, 0, 0, "patient/Observation.rs?"+filter), odd); got != "" {
			t.Errorf("%s matches an element of another form", filter)
		}
	}
	if got := ids(t, access(t, 0, 0, 0, "patient/Patient.rs?active=true")); got != "p" {
		t.Errorf("active=true: released %q", got)
	}
}

func TestCompartmentDefinition(t *testing.T) {
	var definition struct {
		Resource []struct {
			Code  string
			Param []string
		}
	}
	if err := json.Unmarshal(readData(t, "codes/compartmentdefinition-patient.json"), &definition); err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, r := range definition.Resource {
		var params []string
		for parameter := range strings.FieldsSeq(compartment[r.Code]) {
			name, _, _ := strings.Cut(parameter, "=")
			params = append(params, name)
		}
		if !slices.Equal(params, r.Param) {
			t.Errorf("%s: parameters %v, the definition has %v", r.Code, params, r.Param)
		}
		if len(r.Param) > 0 {
			own++
		}
		if !isType(r.Code) {
			t.Errorf("%s is no type", r.Code)
		}
	}
	if own != len(compartment) || len(definition.Resource) != len(compartment)+len(strings.Fields(outside)) {
		t.Errorf("the definition has %d types, %d of them a patient's own", len(definition.Resource), own)
	}
}

func TestCompartment(t *testing.T) {
	all := access(t, consent.AllSensitivities, 0, 0, "patient/*.rs")
	const q = `{"resourceType":"Patient","id":"q"}`
	for _, c := range []struct {
		name, resource string
		want           bool
	}{
		{"subject", `"resourceType":"Observation","subject":{"reference":"Patient/p"}`, true},
		{"subject by URL", `"resourceType":"Observation","subject":{"reference":"https://h.example/fhir/Patient/p"}`, true},
		{"a version", `"resourceType":"Observation","subject":{"reference":"Patient/p/_history/3"}`, true},
		{"another server", `"resourceType":"Observation","subject":{"reference":"https://other.example/fhir/Patient/p"}`, false},
		{"another patient", `"resourceType":"Observation","subject":{"reference":"Patient/q"}`, false},
		{"case", `"resourceType":"Observation","subject":{"reference":"patient/p"}`, false},
		{"another type", `"resourceType":"Observation","subject":{"reference":"Group/p"}`, false},
		{"a path", `"resourceType":"Observation","subject":{"reference":"x/Patient/p"}`, false},
		{"a search", `"resourceType":"Observation","subject":{"reference":"Patient?_id=p"}`, false},
		{"an identifier", `"resourceType":"Observation","subject":{"identifier":{"value":"p"}}`, false},
		{"a bare string", `"resourceType":"Observation","subject":"Patient/p"`, false},
		{"nobody", `"resourceType":"Observation"`, false},
		{"performer only", `"resourceType":"Observation","performer":[{"reference":"Patient/p"}]`, true},
		{"performer for another", `"resourceType":"Observation","subject":{"reference":"Patient/q"},"performer":[{"reference":"Patient/p"}]`, false},
		{"performer for a group", `"resourceType":"Observation","subject":{"reference":"Group/g"},"performer":[{"reference":"Patient/p"}]`, false},
		{"performed by another", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"performer":[{"reference":"Patient/q"}]`, false},
		{"another in an extension", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"extension":[{"url":"u","valueReference":{"reference":"Patient/q"}}]`, false},
		{"another by its fullUrl", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"focus":[{"reference":"https://h.example/fhir/Patient/q"}]`, false},
		{"another by its type as a URL", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"focus":[{"type":"http://hl7.org/fhir/StructureDefinition/Patient","identifier":{"value":"1"}}]`, false},
		{"with its type", `"resourceType":"Observation","subject":{"type":"Patient","reference":"Patient/p"}`, true},
		{"another by its type", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"focus":[{"type":"Patient","identifier":{"value":"1"}}]`, false},
		{"a practitioner", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"performer":[{"reference":"Practitioner/1"}]`, true},
		{"two subjects", `"resourceType":"Account","subject":[{"reference":"Patient/p"},{"reference":"Patient/q"}]`, false},
		{"a group with others", `"resourceType":"Group","member":[{"entity":{"reference":"Patient/p"}},{"entity":{"reference":"Patient/q"}}]`, false},
		{"an appointment", `"resourceType":"Appointment","participant":[{"actor":{"reference":"Patient/p"}},{"actor":{"reference":"Location/1"}}]`, true},
		{"a group session", `"resourceType":"Appointment","participant":[{"actor":{"reference":"Patient/p"}},{"actor":{"reference":"Patient/q"}}]`, false},
		{"beneficiary", `"resourceType":"Coverage","beneficiary":{"reference":"Patient/p"}`, true},
		{"paying for another", `"resourceType":"Coverage","beneficiary":{"reference":"Patient/q"},"subscriber":{"reference":"Patient/p"}`, false},
		{"subscriber", `"resourceType":"Coverage","subscriber":{"reference":"Patient/p"}`, true},
		{"claim", `"resourceType":"Claim","patient":{"reference":"Patient/p"}`, true},
		{"task", `"resourceType":"Task","for":{"reference":"Patient/p"}`, true},
		{"provenance", `"resourceType":"Provenance","target":[{"reference":"Patient/p"}]`, true},
		{"another linked", `"resourceType":"Patient","link":[{"other":{"reference":"Patient/p"}}]`, false},
		{"organization", `"resourceType":"Organization"`, false},
		{"medication", `"resourceType":"Medication"`, false},
		{"device", `"resourceType":"Device","patient":{"reference":"Patient/p"}`, false},
		{"nested bundle", `"resourceType":"Bundle","type":"collection","entry":[{"resource":` + observation("z", "") + `}]`, false},
		{"parameters", `"resourceType":"Parameters","parameter":[{"name":"x","resource":` + observation("z", "") + `}]`, false},
		{"binary", `"resourceType":"Binary","data":"AA=="`, false},
		{"a resource within", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"extension":[{"resource":` + observation("z", "") + `}]`, false},
		{"contained subject", `"resourceType":"Observation","subject":{"reference":"#p"},"contained":[` + patientP + `]`, false},
		{"contained patient", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"contained":[{"resourceType":"Patient","id":"x"}]`, false},
		{"contained within contained", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"contained":[{"resourceType":"Organization","contained":[{"resourceType":"Organization"}]}]`, false},
		{"contained bundle", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"contained":[{"resourceType":"Bundle"}]`, false},
		{"contained without type", `"resourceType":"Observation","subject":{"reference":"Patient/p"},"contained":[{"id":"x"}]`, false},
	} {
		if got := ids(t, all, `{"id":"a",`+c.resource+`}`, q) == "p a"; got != c.want {
			t.Errorf("%s: released is %v, want %v", c.name, got, c.want)
		}
	}
}

// Every path of the table leads somewhere: a resource that has but this
// reference is the patient's own.
func TestCompartmentPaths(t *testing.T) {
	for kind, parameters := range compartment {
		if kind == "Patient" {
			continue
		}
		for parameter := range strings.FieldsSeq(parameters) {
			for path := range strings.SplitSeq(parameter[strings.IndexByte(parameter, '=')+1:], ",") {
				resource := `{"reference":"Patient/p"}`
				names := strings.Split(path, ".")
				for _, name := range slices.Backward(names) {
					resource = `{"` + name + `":[` + resource + `]}`
				}
				resource = `{"resourceType":"` + kind + `","id":"a",` + resource[1:]
				if got := ids(t, access(t, 0, 0, 0, "patient/"+kind+".rs"), resource); got != "a" {
					t.Errorf("%s.%s: released %q", kind, path, got)
				}
			}
		}
	}
}

// The patient's record by urn:uuid, as Synthea writes it, and in other ways.
func TestWhoseRecord(t *testing.T) {
	const urn = `{"resourceType":"Bundle","type":"transaction","entry":[
		{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}},
		{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Patient","id":"two"}},
		{"fullUrl":"urn:uuid:3","resource":{"resourceType":"Flag","id":"of1","subject":{"reference":"urn:uuid:1"}}},
		{"fullUrl":"urn:uuid:4","resource":{"resourceType":"Flag","id":"of2","subject":{"reference":"urn:uuid:2"}}},
		{"fullUrl":"urn:uuid:5","resource":{"resourceType":"Flag","id":"two-by-id","subject":{"reference":"Patient/two"}}},
		{"fullUrl":"urn:uuid:6","resource":{"resourceType":"Flag","id":"both","subject":{"reference":"urn:uuid:1"},"author":{"reference":"urn:uuid:2"}}},
		{"response":{"status":"200"}}]}`
	all := access(t, 0, 0, 0, "patient/*.rs")
	for patient, want := range map[string]string{"urn:uuid:1": "Flag 1 Patient 1", "urn:uuid:2": "Flag 2 Patient 1", "two": "Flag 2 Patient 1"} {
		if got := words(release(t, []byte(urn), patient, all).Counts); got != want {
			t.Errorf("record of %s: released %s, want %s", patient, got, want)
		}
	}
	for _, patient := range []string{"", "urn:uuid:3", "three", "Patient/two", "Two"} {
		if _, err := Release([]byte(urn), patient, all); err == nil {
			t.Errorf("patient %q: no error", patient)
		}
	}
	none := collection(`{"resourceType":"Flag","id":"a","subject":{"reference":"https://h.example/fhir/Patient/p"}}`)
	for patient, want := range map[string]string{"p": "Flag 1", "https://h.example/fhir/Patient/p": "Flag 1", "q": "", "https://x.example/Patient/p": ""} {
		if got := words(release(t, none, patient, all).Counts); got != want {
			t.Errorf("record of %s: released %s, want %s", patient, got, want)
		}
	}
	flag := func(fullURL, subject string) string {
		return `{"fullUrl":"` + fullURL + `","resource":{"resourceType":"Flag","subject":{"reference":"` + subject + `"}}}`
	}
	for _, c := range []struct{ patient, flag, want string }{
		// A relative reference is to the server that its entry is of.
		{"https://h.example/fhir/Patient/p", flag("https://h.example/fhir/Flag/1", "Patient/p"), "Flag 1 Patient 1"},
		{"https://h.example/fhir/Patient/p", flag("https://other.example/fhir/Flag/1", "Patient/p"), "Patient 1"},
		{"https://h.example/fhir/Patient/p", flag("urn:uuid:1", "Patient/p"), "Flag 1 Patient 1"},
		{"urn:uuid:2", flag("https://h.example/fhir/Flag/1", "Patient/p"), "Flag 1 Patient 1"},
		{"urn:uuid:2", flag("https://h.example/fhir/Flag/1", "https://h.example/fhir/Patient/p"), "Flag 1 Patient 1"},
		{"urn:uuid:2", flag("https://h.example/fhir/Flag/1", "https://other.example/fhir/Patient/p"), "Patient 1"},
		{"urn:uuid:2", flag("urn:uuid:1", "https://h.example/fhir/Patient/p"), "Patient 1"},
		{"#p", flag("urn:uuid:1", "#p"), "Patient 1"},
	} {
		bundle := `{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"` + c.patient + `","resource":` + patientP + `},` + c.flag + `]}`
		if got := words(release(t, []byte(bundle), "p", all).Counts); got != c.want {
			t.Errorf("patient %s, %s: released %s, want %s", c.patient, c.flag, got, c.want)
		}
	}
	for _, patient := range []string{"", "a b", "https://x", "Patient/p"} {
		if _, err := Release(none, patient, all); err == nil {
			t.Errorf("patient %q of a record without Patient: no error", patient)
		}
	}
}

func TestContained(t *testing.T) {
	of := func(contained string) string {
		return observation("a", `"effectiveDateTime":"2020-01-01","category":[{"coding":[{"code":"laboratory"}]}],"contained":[`+contained+`]`)
	}
	coded := func(kind, code string) string {
		return `{"resourceType":"` + kind + `","id":"c","code":{"coding":[{"system":"http://loinc.org","code":"` + code + `"}]}}`
	}
	const from2020 = 1577836800
	for _, c := range []struct {
		name      string
		access    *consent.Access
		contained string
		want      bool
	}{
		{"part of the content", access(t, 0, 0, 0, "patient/Observation.rs"), `{"resourceType":"Practitioner"},{"resourceType":"Medication"},{"resourceType":"Organization"}`, true},
		{"another type", access(t, 0, 0, 0, "patient/Observation.rs"), coded("Condition", "1"), false},
		{"another type, any", access(t, 0, 0, 0, "patient/*.rs"), coded("Condition", "1"), true},
		{"another type, two scopes", access(t, 0, 0, 0, "patient/Observation.rs", "patient/Condition.rs"), coded("Condition", "1"), false},
		{"the same type", access(t, 0, 0, 0, "patient/Observation.rs"), coded("Observation", "1"), true},
		{"the same type, filtered", access(t, 0, 0, 0, "patient/Observation.rs?category=laboratory"), coded("Observation", "1"), false},
		{"the same type, named", access(t, 0, 0, 0, "patient/Observation.rs?_id=a"), coded("Observation", "1"), true},
		{"sensitive", access(t, 0, 0, 0, "patient/*.rs"), coded("Observation", "44249-1"), false},
		{"sensitive medication", access(t, 0, 0, 0, "patient/*.rs"), coded("Medication", "44249-1"), false},
		{"sensitive, with the bit", access(t, consent.MentalHealth, 0, 0, "patient/*.rs"), coded("Medication", "44249-1"), true},
		{"labelled", access(t, 0, 0, 0, "patient/*.rs"), `{"resourceType":"Medication","meta":{"security":[{"code":"HIV"}]}}`, false},
		{"too old", access(t, 0, from2020, 0, "patient/*.rs"), `{"resourceType":"Condition","onsetDateTime":"2019"}`, false},
		{"in the window", access(t, 0, from2020, 0, "patient/*.rs"), `{"resourceType":"Condition","onsetDateTime":"2021"}`, true},
		{"undated", access(t, 0, from2020, 0, "patient/*.rs"), `{"resourceType":"Condition"}`, true},
		{"of another", access(t, 0, 0, 0, "patient/*.rs"), `{"resourceType":"Condition","subject":{"reference":"Patient/q"}}`, false},
	} {
		if got := strings.Contains(ids(t, c.access, of(c.contained)), "a"); got != c.want {
			t.Errorf("%s: released is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestListed(t *testing.T) {
	composition := `{"resourceType":"Composition","id":"c","date":"2020-01-01","subject":{"reference":"Patient/p"},"section":[
		{"entry":[{"reference":"Observation/a"}],"section":[{"entry":[{"reference":"Condition/b"},{"reference":"Organization/o"}]}]}]}`
	list := `{"resourceType":"List","id":"l","subject":{"reference":"Patient/p"},"entry":[{"item":{"reference":"Condition/b"}}]}`
	record := []string{composition, list, observation("a", `"effectiveDateTime":"2020-01-01"`),
		`{"resourceType":"Condition","id":"b","onsetDateTime":"2010","subject":{"reference":"Patient/p"}}`, `{"resourceType":"Organization","id":"o"}`}
	for _, c := range []struct {
		access *consent.Access
		want   string
	}{
		{access(t, 0, 0, 0, "patient/*.rs"), "p c l a b"},
		{access(t, 0, 0, 0, "patient/Composition.rs", "patient/List.rs", "patient/Observation.rs", "patient/Condition.rs"), "a b"},
		{access(t, 0, 1577836800, 0, "patient/*.rs"), "a"},
	} {
		if got := ids(t, c.access, record...); got != c.want {
			t.Errorf("%v: released %q, want %q", c.access.Scopes, got, c.want)
		}
	}
}

func TestSensitivities(t *testing.T) {
	coding := func(system, code string) string {
		return observation("a", `"component":[{"valueCodeableConcept":{"coding":[{"system":"`+system+`","code":"`+code+`"}]}}]`)
	}
	security := func(system, code string) string {
		return observation("a", `"meta":{"security":[{"system":"`+system+`","code":"`+code+`"}]}`)
	}
	const actCodes, confidentialities = "http://terminology.hl7.org/CodeSystem/v3-ActCode", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
	for _, c := range []struct {
		name, resource string
		want           consent.Sensitivities
	}{
		{"plain", coding("http://loinc.org", "8302-2"), 0},
		{"LOINC", coding("http://loinc.org", "44260-8"), consent.MentalHealth},
		{"LOINC by OID", coding("urn:oid:2.16.840.1.113883.6.1", "44260-8"), consent.MentalHealth},
		{"LOINC, https", coding("https://loinc.org/", "44260-8"), consent.MentalHealth},
		{"LOINC code elsewhere", coding("http://other.example", "44260-8"), 0},
		{"no system", observation("a", `"code":{"coding":[{"code":"44260-8"}]}`), consent.MentalHealth},
		{"SNOMED CT", coding("http://snomed.info/sct", "72892002"), consent.Reproductive},
		{"SNOMED CT edition", coding("http://snomed.info/sct/731000124108", "72892002"), consent.Reproductive},
		{"RxNorm", coding("http://www.nlm.nih.gov/research/umls/rxnorm", "749762"), consent.Reproductive},
		{"antiretroviral", coding("http://www.nlm.nih.gov/research/umls/rxnorm", "1999667"), consent.HIV},
		{"ICD-10-CM", coding("http://hl7.org/fhir/sid/icd-10-cm", "F10.20"), consent.SubstanceUse},
		{"ICD-10-CM undotted", coding("http://hl7.org/fhir/sid/icd-10-cm", "F1020"), consent.SubstanceUse},
		{"ICD-10-CM block", coding("http://hl7.org/fhir/sid/icd-10-cm", "F32.1"), consent.MentalHealth},
		{"ICD-10-CM first of a block", coding("http://hl7.org/fhir/sid/icd-10-cm", "F01.50"), consent.MentalHealth},
		{"ICD-10-CM last of a block", coding("http://hl7.org/fhir/sid/icd-10-cm", "F99"), consent.MentalHealth},
		{"ICD-10", coding("http://hl7.org/fhir/sid/icd-10", "b20"), consent.HIV},
		{"ICD-10-GM", coding("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "B20"), consent.HIV},
		{"two categories", coding("http://hl7.org/fhir/sid/icd-10-cm", "O98.711"), consent.HIV | consent.Reproductive},
		{"sexually transmitted in pregnancy", coding("http://hl7.org/fhir/sid/icd-10-cm", "O98.111"), consent.STD | consent.Reproductive},
		{"sexually transmitted", coding("http://hl7.org/fhir/sid/icd-10-cm", "A54.9"), consent.STD},
		{"violence", coding("http://hl7.org/fhir/sid/icd-10-cm", "T74.11XA"), consent.Violence},
		{"sickle cell", coding("http://hl7.org/fhir/sid/icd-10-cm", "D57.1"), consent.SickleCell},
		{"genetic", coding("http://hl7.org/fhir/sid/icd-10-cm", "Q90.9"), consent.Genetic},
		{"ICD-10-CM beside a block", coding("http://hl7.org/fhir/sid/icd-10-cm", "E11.9"), 0},
		{"ICD-10-CM short", coding("http://hl7.org/fhir/sid/icd-10-cm", "F1"), 0},

		{"label", security(actCodes, "PSY"), consent.MentalHealth},
		{"label of an old system", security("http://hl7.org/fhir/v3/ActCode", "ETH"), consent.SubstanceUse},
		{"label of any system", security("urn:x", "hiv"), consent.HIV},
		{"label without system", observation("a", `"meta":{"security":[{"code":"SCA"}]}`), consent.SickleCell},
		{"label elsewhere", coding(actCodes, "SDV"), consent.Violence},
		{"restricted elsewhere", coding(confidentialities, "R"), consent.AllSensitivities},
		{"other ActCode", coding(actCodes, "AMB"), 0},
		{"normal", security(confidentialities, "N"), 0},
		{"restricted", security(confidentialities, "R"), consent.AllSensitivities},
		{"very restricted", security(confidentialities, "V"), consent.AllSensitivities},
		{"restricted by OID", security("urn:oid:2.16.840.1.113883.5.25", "R"), consent.AllSensitivities},
		{"restricted and labelled", observation("a", `"meta":{"security":[{"system":"`+confidentialities+`","code":"R"},{"system":"`+actCodes+`","code":"STD"}]}`), consent.STD},
		{"restricted and recognised", observation("a", `"meta":{"security":[{"system":"`+confidentialities+`","code":"R"}]},"code":{"coding":[{"system":"http://loinc.org","code":"20447-9"}]}`), consent.HIV},
		{"escaped name", observation("a", `"m\u0065ta":{"security":[{"code":"HIV"}]}`), consent.HIV},
		{"no list", observation("a", `"meta":{"security":{"code":"HIV"}}`), consent.HIV},
		{"document label", `{"resourceType":"DocumentReference","id":"a","subject":{"reference":"Patient/p"},"securityLabel":[{"coding":[{"code":"GDIS"}]}]}`, consent.Genetic},
		{"composition", `{"resourceType":"Composition","id":"a","subject":{"reference":"Patient/p"},"confidentiality":"R"}`, consent.AllSensitivities},
	} {
		for bit := range 8 {
			without := consent.AllSensitivities &^ consent.Sensitivities(1<<bit)
			want := c.want&(1<<bit) == 0
			if got := strings.Contains(ids(t, access(t, without, 0, 0, "patient/*.rs"), c.resource), "a"); got != want {
				t.Errorf("%s without the category %q: released is %v", c.name, consent.Sensitivities(1<<bit), got)
			}
		}
		if got := ids(t, access(t, c.want, 0, 0, "patient/*.rs"), c.resource); got != "p a" {
			t.Errorf("%s with the categories %q: released %q", c.name, c.want, got)
		}
	}
}

// A label on the bundle counts for what has none of its own.
func TestLabelledBundle(t *testing.T) {
	bundle := `{"resourceType":"Bundle","meta":{"security":[{"code":"HIV"}]},"type":"collection","entry":[{"resource":` +
		patientP + `},{"resource":` + observation("a", "") + `},{"resource":` + observation("b", `"meta":{"security":[{"code":"N"}]}`) + `},{"resource":` +
		observation("c", `"meta":{"security":[]},"extension":[{"security":{"code":"N"}}]`) + `}]}`
	for sensitivities, want := range map[consent.Sensitivities]string{0: "Observation 1", consent.HIV: "Observation 3 Patient 1"} {
		if got := words(release(t, []byte(bundle), "", access(t, sensitivities, 0, 0, "patient/*.rs")).Counts); got != want {
			t.Errorf("with the categories %q: released %s, want %s", sensitivities, got, want)
		}
	}
}

// What refers to something sensitive is sensitive, but for the occasion.
func TestSpread(t *testing.T) {
	record := []string{
		`{"resourceType":"Condition","id":"reason","subject":{"reference":"Patient/p"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"72892002"}]}}`,
		`{"resourceType":"Procedure","id":"by-reason","subject":{"reference":"Patient/p"},"reasonReference":[{"reference":"Condition/reason"}]}`,
		`{"resourceType":"Claim","id":"by-procedure","patient":{"reference":"Patient/p"},"procedure":[{"procedureReference":{"reference":"https://h.example/fhir/Procedure/by-reason/_history/1"}}]}`,
		`{"resourceType":"ExplanationOfBenefit","id":"by-claim","patient":{"reference":"Patient/p"},"claim":{"reference":"Claim/by-procedure"}}`,
		`{"resourceType":"Encounter","id":"occasion","subject":{"reference":"Patient/p"},"reasonReference":[{"reference":"Condition/reason"}]}`,
		observation("there", `"encounter":{"reference":"Encounter/occasion"}`),
		`{"resourceType":"Medication","id":"pill","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"749762"}]}}`,
		`{"resourceType":"MedicationStatement","id":"takes","subject":{"reference":"Patient/p"},"context":{"reference":"Encounter/occasion"},"medicationReference":{"reference":"Medication/pill"}}`,
		`{"resourceType":"DocumentReference","id":"document","subject":{"reference":"Patient/p"},"context":{"encounter":[{"reference":"Encounter/occasion"}],"related":[{"reference":"Condition/reason"}]}}`,
		`{"resourceType":"DocumentReference","id":"other-document","subject":{"reference":"Patient/p"},"context":{"encounter":[{"reference":"Encounter/occasion"}]}}`,
		`{"resourceType":"MedicationStatement","id":"takes-other","subject":{"reference":"Patient/p"},"context":{"reference":"Encounter/occasion"}}`,
		observation("in", `"hasMember":[{"reference":"Observation/circle"}]`),
		observation("circle", `"derivedFrom":[{"reference":"Observation/in"}]`),
	}
	if got := ids(t, access(t, 0, 0, 0, "patient/*.rs"), record...); got != "p there other-document takes-other in circle" {
		t.Errorf("released %q", got)
	}
	if got := ids(t, access(t, consent.Reproductive, 0, 0, "patient/*.rs"), record...); got != "p reason by-reason by-procedure by-claim occasion there takes document other-document takes-other in circle" {
		t.Errorf("with the category: released %q", got)
	}
}

// A sensitive Patient is withheld; the record is not, since all refers to it.
func TestSensitivePatient(t *testing.T) {
	bundle := collection(`{"resourceType":"Patient","id":"p","meta":{"security":[{"code":"R"}]},"generalPractitioner":[{"reference":"Organization/o"}]}`,
		observation("a", ""), `{"resourceType":"Organization","id":"o","type":[{"coding":[{"system":"http://loinc.org","code":"44249-1"}]}]}`)
	if got := words(release(t, bundle, "", access(t, 0, 0, 0, "patient/*.rs")).Counts); got != "Observation 1" {
		t.Errorf("released %s", got)
	}
}

func TestBadBundles(t *testing.T) {
	all := access(t, 0, 0, 0, "patient/*.rs")
	zeros := func(n int) string { return `"x":[0` + strings.Repeat(",0", n-1) + `]` }
	deep := strings.Repeat(`[`, 200) + strings.Repeat(`]`, 200)
	var wide strings.Builder
	for i := range 300 {
		wide.WriteString(`"m` + strings.Repeat("x", i) + `":1,`)
	}
	for name, c := range map[string]struct{ bundle, want string }{
		"nothing":               {``, "cut short"},
		"cut short":             {`{"resourceType":"Bundle","type":"coll`, "cut short"},
		"no JSON":               {`<Bundle/>`, "strict JSON"},
		"no object":             {`[]`, "no FHIR Bundle"},
		"more after it":         {string(collection(patientP)) + `{}`, "after the bundle"},
		"not UTF-8":             {string(collection(patientP, observation("a", "\"x\":\"\xff\""))), "strict JSON"},
		"lone surrogate":        {string(collection(patientP, observation("a", `"x":"\ud800"`))), "strict JSON"},
		"member twice":          {string(collection(patientP, observation("a", `"meta":{},"meta":{}`))), "strict JSON"},
		"member twice, escaped": {string(collection(patientP, observation("a", `"meta":{},"m\u0065ta":{}`))), "strict JSON"},
		"member in two cases":   {string(collection(patientP, observation("a", `"meta":{},"Meta":{}`))), "only in case"},
		"deep":                  {string(collection(patientP, observation("a", `"x":`+deep))), "within each other"},
		"wide":                  {string(collection(patientP, observation("a", wide.String()+`"z":1`))), "members in one object"},
		"many values":           {string(collection(patientP, observation("a", zeros(maxValues)))), "entry 1 of the bundle: more than 65536 values"},
		"many values in all":    {string(collection(slices.Repeat([]string{observation("a", zeros(maxValues-20))}, maxBundleValues/maxValues+1)...)), "more than 4194304 values"},
		"too long":              {string(collection(patientP)) + strings.Repeat(" ", MaxBundle), "longer than"},
		"a resource":            {patientP, "no FHIR Bundle"},
		"other case":            {`{"resourceType":"bundle","type":"collection"}`, "no FHIR Bundle"},
		"a history":             {`{"resourceType":"Bundle","type":"history"}`, "“history”"},
		"a response":            {`{"resourceType":"Bundle","type":"transaction-response"}`, "“transaction-response”"},
		"no type":               {`{"resourceType":"Bundle"}`, "of type"},
		"unknown type":          {string(collection(patientP, `{"resourceType":"observation"}`)), "entry 1"},
		"no resource type":      {string(collection(patientP, `{"id":"a"}`)), "entry 1"},
		"resource no object":    {string(collection(patientP, `"Observation"`)), "entry 1"},
		"the same id twice":     {string(collection(patientP, observation("a", ""), observation("a", ""))), "twice"},
		"the same id at two servers": {`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"https://a.example/Patient/p","resource":` + patientP +
			`},{"fullUrl":"https://b.example/Patient/p","resource":` + patientP + `}]}`, "twice"},
		"the same fullUrl twice": {`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:1","resource":` + patientP +
			`},{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Flag"}}]}`, "twice"},
		"fullUrl no text": {`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":1,"resource":` + patientP + `}]}`, "fullUrl"},
		"a deletion":      {`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":` + patientP + `,"request":{"method":"DELETE"}}]}`, "DELETE"},
		"no patient":      {`{"resourceType":"Bundle","type":"collection"}`, "0 Patients"},
		"two patients":    {string(collection(patientP, `{"resourceType":"Patient","id":"q"}`)), "2 Patients"},
	} {
		released, err := Release([]byte(c.bundle), "", all)
		if err == nil || released != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// What is withheld leaves no trace: the answer is the same as from a record
// that never had it.
func TestNoTrace(t *testing.T) {
	const head = `{"resourceType":"Bundle","id":"all","meta":{"lastUpdated":"2020-01-01T00:00:00Z"},"identifier":{"value":"1"},"type":"searchset","total":7,
		"link":[{"relation":"next","url":"https://h.example/?page=2"}],"entry":[`
	entry := func(r string) string {
		return `{"fullUrl" : "urn:uuid:\u0031` + r[len(r)-3:len(r)-2] + `", "link":[{"relation":"a","url":"u"}],"search":{"mode":"include","score":1},"resource" : ` + r + `}`
	}
	plain := observation("a", `"note":[{"text":"1"}]`)
	secret := observation("b", `"meta":{"security":[{"code":"HIV"}]},"note":[{"text":"2"}]`)
	a := access(t, 0, 0, 0, "patient/*.rs")
	with := []byte(head + entry(plain) + "," + `{"resource":` + secret + `}` + "]}")
	without := []byte(`{"resourceType":"Bundle","type":"collection","entry":[` + entry(plain) + `]}`)
	got, want := release(t, with, "p", a), release(t, without, "p", a)
	if string(got.Bundle) != string(want.Bundle) {
		t.Errorf("released\n%s\nand from a record without it\n%s", got.Bundle, want.Bundle)
	}
	if words(got.Withheld) != "Observation 1" || words(got.Counts) != "Observation 1" {
		t.Errorf("counts %v, withheld %v", got.Counts, got.Withheld)
	}
	nothing := release(t, with, "p", access(t, 0, 0, 0, "patient/Condition.rs"))
	if want := `{"resourceType":"Bundle","type":"searchset","total":0}`; string(nothing.Bundle) != want {
		t.Errorf("released %s, want %s", nothing.Bundle, want)
	}
}

func FuzzRelease(f *testing.F) {
	f.Add(collection(patientP, observation("a", `"meta":{"security":[{"code":"HIV"}]}`)), "", "Observation", "", uint64(0), uint64(0), uint64(0))
	f.Add(collection(patientP, observation("a", `"effectivePeriod":{"start":"2020"},"code":{"coding":[{"system":"http://loinc.org","code":"1"}]}`)), "p", "*", "_tag=a", uint64(255), uint64(1), uint64(2))
	f.Add(collection(patientP, `{"resourceType":"List","id":"l","contained":[{"resourceType":"Flag"}],"subject":{"reference":"Patient/p"},"entry":[{"item":{"reference":"List/l"}}]}`),
		"https://h.example/fhir/Patient/p", "List", "date=ge2020&code=a|b", uint64(1), uint64(0), uint64(9))
	f.Fuzz(func(t *testing.T, bundle []byte, patient, resource, filter string, sensitivities, from, until uint64) {
		a := &consent.Access{Scopes: []consent.Scope{{Resource: resource, Interactions: consent.Read | consent.Search, Filter: filter,
			Sensitivities: consent.Sensitivities(sensitivities), DataFrom: from, DataUntil: until}}}
		evaluable := Evaluable(a)
		released, err := Release(bundle, patient, a)
		if err != nil {
			if released != nil {
				t.Fatal("an error with an answer")
			}
			return
		}
		if evaluable != nil {
			t.Fatalf("released what is not evaluable: %v", evaluable)
		}
		checkReleased(t, bundle, released)
		for kind := range released.Counts {
			if _, own := compartment[kind]; !own || resource != "*" && kind != resource {
				t.Fatalf("released a %s through a scope for %s", kind, resource)
			}
		}
		// Whoever may see less sees no more.
		a.Scopes[0].Sensitivities = 0
		less := 0
		narrower, err := Release(bundle, patient, a)
		if err != nil {
			t.Fatal(err)
		}
		for kind, n := range narrower.Counts {
			if less += n; n > released.Counts[kind] {
				t.Fatalf("without categories %d of %s, with them %d", n, kind, released.Counts[kind])
			}
		}
	})
}

package fhir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent"
)

// data gives the path of a file of the shared data.
func data(tb testing.TB, name string) string {
	tb.Helper()
	folder := os.Getenv("ASSENT_DATA")
	if folder == "" {
		folder = "../../../shared/data"
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), "data") {
			tb.Fatalf("the shared data is required: %v", err)
		}
		tb.Skipf("the shared data is not there: %v", err)
	}
	return path
}

func readData(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(data(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func synthea(tb testing.TB, name string) []byte {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(data(tb, "synthea"), name+"_*.json"))
	if err != nil || len(found) != 1 {
		tb.Fatalf("%s: found %v, %v", name, found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// access is an access with scopes in their text form, all with the same
// categories and window.
func access(tb testing.TB, sensitivities consent.Sensitivities, from, until uint64, scopes ...string) *consent.Access {
	tb.Helper()
	a := new(consent.Access)
	for _, text := range scopes {
		s, err := consent.ParseScope(text, "TREAT")
		if err != nil {
			tb.Fatal(err)
		}
		s.Sensitivities, s.DataFrom, s.DataUntil = sensitivities, from, until
		a.Scopes = append(a.Scopes, s)
	}
	return a
}

func release(tb testing.TB, bundle []byte, patient string, a *consent.Access) *Released {
	tb.Helper()
	released, err := Release(bundle, patient, a)
	if err != nil {
		tb.Fatal(err)
	}
	checkReleased(tb, bundle, released)
	return released
}

type bundleJSON struct {
	ResourceType, Type string
	Total              *int
	Entry              []struct {
		FullURL  json.RawMessage `json:"fullUrl"`
		Resource json.RawMessage
		Search   struct{ Mode string }
	}
}

// checkReleased holds for every release: a searchset of nothing but entries
// that stood in the bundle, byte for byte, counted right.
func checkReleased(tb testing.TB, bundle []byte, released *Released) {
	tb.Helper()
	var in, out bundleJSON
	if err := json.Unmarshal(bundle, &in); err != nil {
		tb.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(released.Bundle))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&out); err != nil {
		tb.Fatal(err)
	}
	if out.ResourceType != "Bundle" || out.Type != "searchset" || out.Total == nil || *out.Total != len(out.Entry) {
		tb.Fatalf("the released bundle has type %s and total %v for %d entries", out.Type, out.Total, len(out.Entry))
	}
	counts := make(map[string]int)
	at := 0
	for _, entry := range out.Entry {
		for at < len(in.Entry) && !(bytes.Equal(in.Entry[at].Resource, entry.Resource) && bytes.Equal(in.Entry[at].FullURL, entry.FullURL)) {
			at++
		}
		if at == len(in.Entry) {
			tb.Fatalf("a released resource is none of the bundle, in its order: %.200s", entry.Resource)
		}
		at++
		var resource struct{ ResourceType string }
		if err := json.Unmarshal(entry.Resource, &resource); err != nil {
			tb.Fatal(err)
		}
		counts[resource.ResourceType]++
	}
	if !maps.Equal(counts, released.Counts) {
		tb.Fatalf("counts are %v, the bundle has %v", released.Counts, counts)
	}
}

func words(counts map[string]int) string {
	var s []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		s = append(s, fmt.Sprintf("%s %d", kind, counts[kind]))
	}
	return strings.Join(s, " ")
}

// recordCounts were worked out with jq alone, one record at a time:
//
//	jq -f testdata/counts.jq SYNTHEA_RECORD.json
var recordCounts = map[string]map[string]string{
	"*, every category": {
		"Eboni":  "AllergyIntolerance 2 CarePlan 1 Claim 28 Condition 3 DiagnosticReport 2 Encounter 19 ExplanationOfBenefit 19 Immunization 10 MedicationRequest 9 Observation 58 Patient 1 Procedure 8",
		"Louis":  "AllergyIntolerance 1 CarePlan 4 Claim 16 Condition 3 DiagnosticReport 3 Encounter 12 ExplanationOfBenefit 12 ImagingStudy 1 Immunization 9 MedicationRequest 4 Observation 50 Patient 1 Procedure 4",
		"Luigi":  "Claim 4 DiagnosticReport 1 Encounter 4 ExplanationOfBenefit 4 Immunization 12 Observation 31 Patient 1 Procedure 2",
		"Marcos": "AllergyIntolerance 7 CarePlan 3 Claim 13 Condition 4 DiagnosticReport 6 Encounter 9 ExplanationOfBenefit 9 Goal 5 Immunization 7 MedicationRequest 4 Observation 82 Patient 1 Procedure 4",
		"Samira": "CarePlan 1 Claim 35 Condition 11 DiagnosticReport 2 Encounter 28 ExplanationOfBenefit 28 Immunization 4 MedicationRequest 7 Observation 35 Patient 1 Procedure 41",
	},
	"*": {
		"Eboni":  "AllergyIntolerance 2 CarePlan 1 Claim 17 DiagnosticReport 2 Encounter 17 ExplanationOfBenefit 15 Immunization 10 MedicationRequest 2 Observation 58 Patient 1 Procedure 2",
		"Louis":  "AllergyIntolerance 1 CarePlan 4 Claim 16 Condition 3 DiagnosticReport 3 Encounter 12 ExplanationOfBenefit 12 ImagingStudy 1 Immunization 9 MedicationRequest 4 Observation 50 Patient 1 Procedure 4",
		"Luigi":  "Claim 4 DiagnosticReport 1 Encounter 4 ExplanationOfBenefit 4 Immunization 12 Observation 31 Patient 1 Procedure 2",
		"Marcos": "AllergyIntolerance 7 CarePlan 3 Claim 13 Condition 4 DiagnosticReport 6 Encounter 9 ExplanationOfBenefit 9 Goal 5 Immunization 7 MedicationRequest 4 Observation 82 Patient 1 Procedure 4",
		"Samira": "CarePlan 1 Claim 14 Condition 3 DiagnosticReport 2 Encounter 15 ExplanationOfBenefit 13 Immunization 4 MedicationRequest 1 Observation 35 Patient 1 Procedure 5",
	},
	"*, reproductive": {
		"Eboni":  "AllergyIntolerance 2 CarePlan 1 Claim 27 Condition 3 DiagnosticReport 2 Encounter 19 ExplanationOfBenefit 18 Immunization 10 MedicationRequest 9 Observation 58 Patient 1 Procedure 7",
		"Louis":  "AllergyIntolerance 1 CarePlan 4 Claim 16 Condition 3 DiagnosticReport 3 Encounter 12 ExplanationOfBenefit 12 ImagingStudy 1 Immunization 9 MedicationRequest 4 Observation 50 Patient 1 Procedure 4",
		"Luigi":  "Claim 4 DiagnosticReport 1 Encounter 4 ExplanationOfBenefit 4 Immunization 12 Observation 31 Patient 1 Procedure 2",
		"Marcos": "AllergyIntolerance 7 CarePlan 3 Claim 13 Condition 4 DiagnosticReport 6 Encounter 9 ExplanationOfBenefit 9 Goal 5 Immunization 7 MedicationRequest 4 Observation 82 Patient 1 Procedure 4",
		"Samira": "CarePlan 1 Claim 30 Condition 11 DiagnosticReport 2 Encounter 28 ExplanationOfBenefit 23 Immunization 4 MedicationRequest 7 Observation 35 Patient 1 Procedure 36",
	},
	"*, mental-health": {
		"Eboni":  "AllergyIntolerance 2 CarePlan 1 Claim 17 DiagnosticReport 2 Encounter 17 ExplanationOfBenefit 15 Immunization 10 MedicationRequest 2 Observation 58 Patient 1 Procedure 2",
		"Louis":  "AllergyIntolerance 1 CarePlan 4 Claim 16 Condition 3 DiagnosticReport 3 Encounter 12 ExplanationOfBenefit 12 ImagingStudy 1 Immunization 9 MedicationRequest 4 Observation 50 Patient 1 Procedure 4",
		"Luigi":  "Claim 4 DiagnosticReport 1 Encounter 4 ExplanationOfBenefit 4 Immunization 12 Observation 31 Patient 1 Procedure 2",
		"Marcos": "AllergyIntolerance 7 CarePlan 3 Claim 13 Condition 4 DiagnosticReport 6 Encounter 9 ExplanationOfBenefit 9 Goal 5 Immunization 7 MedicationRequest 4 Observation 82 Patient 1 Procedure 4",
		"Samira": "CarePlan 1 Claim 14 Condition 3 DiagnosticReport 2 Encounter 15 ExplanationOfBenefit 13 Immunization 4 MedicationRequest 1 Observation 35 Patient 1 Procedure 5",
	},
	"Observation?category=laboratory": {
		"Eboni":  "Observation 22",
		"Louis":  "Observation 26",
		"Luigi":  "Observation 11",
		"Marcos": "Observation 58",
		"Samira": "Observation 15",
	},
	"Observation?code=http://loinc.org|8302-2,http://loinc.org|29463-7": {
		"Eboni":  "Observation 12",
		"Louis":  "Observation 8",
		"Luigi":  "Observation 8",
		"Marcos": "Observation 8",
		"Samira": "Observation 6",
	},
	"Observation?date=ge2015&date=lt2017": {
		"Eboni":  "",
		"Louis":  "Observation 6",
		"Luigi":  "",
		"Marcos": "Observation 26",
		"Samira": "Observation 17",
	},
	"Condition?clinical-status=active": {
		"Eboni":  "",
		"Louis":  "",
		"Luigi":  "",
		"Marcos": "Condition 3",
		"Samira": "",
	},
	"Condition?clinical-status=resolved, every category": {
		"Eboni":  "Condition 2",
		"Louis":  "Condition 3",
		"Luigi":  "",
		"Marcos": "Condition 1",
		"Samira": "Condition 10",
	},
	"MedicationRequest?status=stopped, every category": {
		"Eboni":  "MedicationRequest 7",
		"Louis":  "MedicationRequest 2",
		"Luigi":  "",
		"Marcos": "MedicationRequest 1",
		"Samira": "MedicationRequest 6",
	},
	"MedicationRequest?authoredon=ge2010, every category": {
		"Eboni":  "MedicationRequest 7",
		"Louis":  "MedicationRequest 2",
		"Luigi":  "",
		"Marcos": "MedicationRequest 2",
		"Samira": "MedicationRequest 5",
	},
	"Encounter?class=http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER": {
		"Eboni":  "",
		"Louis":  "Encounter 1",
		"Luigi":  "",
		"Marcos": "Encounter 1",
		"Samira": "",
	},
	"Immunization?vaccine-code=140": {
		"Eboni":  "Immunization 6",
		"Louis":  "Immunization 5",
		"Luigi":  "",
		"Marcos": "Immunization 4",
		"Samira": "Immunization 3",
	},
	"ExplanationOfBenefit": {
		"Eboni":  "",
		"Louis":  "",
		"Luigi":  "",
		"Marcos": "",
		"Samira": "",
	},
	"Patient": {
		"Eboni":  "Patient 1",
		"Louis":  "Patient 1",
		"Luigi":  "Patient 1",
		"Marcos": "Patient 1",
		"Samira": "Patient 1",
	},
	"Practitioner": {
		"Eboni":  "",
		"Louis":  "",
		"Luigi":  "",
		"Marcos": "",
		"Samira": "",
	},
	"clinical types, 2014 to 2016": {
		"Eboni":  "Encounter 4 Immunization 1 Observation 6 Procedure 1",
		"Louis":  "Condition 1 Encounter 3 Immunization 2 MedicationRequest 1 Observation 6 Procedure 2",
		"Luigi":  "",
		"Marcos": "DiagnosticReport 2 Encounter 1 Immunization 4 Observation 26 Procedure 1",
		"Samira": "DiagnosticReport 1 Encounter 3 Immunization 1 Observation 17 Procedure 1",
	},
}

func TestRecords(t *testing.T) {
	const any, all, jan2014, jan2017 = "patient/*.rs", consent.AllSensitivities, 1388534400, 1483228800
	accesses := map[string]*consent.Access{
		"*, every category": access(t, all, 0, 0, any),
		"*":                 access(t, 0, 0, 0, any),
		"*, reproductive":   access(t, consent.Reproductive, 0, 0, any),
		"*, mental-health":  access(t, consent.MentalHealth, 0, 0, any),

		"Observation?category=laboratory":                                   access(t, 0, 0, 0, "patient/Observation.rs?category=laboratory"),
		"Observation?code=http://loinc.org|8302-2,http://loinc.org|29463-7": access(t, 0, 0, 0, "patient/Observation.s?code=http://loinc.org|8302-2,http://loinc.org|29463-7"),
		"Observation?date=ge2015&date=lt2017":                               access(t, 0, 0, 0, "patient/Observation.rs?date=ge2015&date=lt2017"),
		"Condition?clinical-status=active":                                  access(t, 0, 0, 0, "patient/Condition.rs?clinical-status=active"),
		"Condition?clinical-status=resolved, every category":                access(t, all, 0, 0, "patient/Condition.rs?clinical-status=resolved"),
		"MedicationRequest?status=stopped, every category":                  access(t, all, 0, 0, "patient/MedicationRequest.rs?status=stopped"),
		"MedicationRequest?authoredon=ge2010, every category":               access(t, all, 0, 0, "patient/MedicationRequest.rs?authoredon=ge2010"),
		"Encounter?class=http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER": access(t, 0, 0, 0,
			"patient/Encounter.rs?class=http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER"),
		"Immunization?vaccine-code=140": access(t, 0, 0, 0, "patient/Immunization.rs?vaccine-code=140"),
		// Each has a ServiceRequest and a Coverage within.
		"ExplanationOfBenefit": access(t, all, 0, 0, "patient/ExplanationOfBenefit.rs"),
		"Patient":              access(t, 0, 0, 0, "patient/Patient.rs"),
		"Practitioner":         access(t, all, 0, 0, "patient/Practitioner.rs"),
		"clinical types, 2014 to 2016": access(t, 0, jan2014, jan2017, "patient/Observation.rs", "patient/DiagnosticReport.rs", "patient/Condition.rs",
			"patient/Procedure.rs", "patient/Immunization.rs", "patient/MedicationRequest.rs", "patient/AllergyIntolerance.rs", "patient/Encounter.rs",
			"patient/CarePlan.rs", "patient/ImagingStudy.rs", "patient/Patient.rs", "patient/Goal.rs"),
	}
	if len(accesses) != len(recordCounts) {
		t.Fatalf("%d accesses for %d rows", len(accesses), len(recordCounts))
	}
	for scope, byPatient := range recordCounts {
		for patient, want := range byPatient {
			t.Run(scope+"/"+patient, func(t *testing.T) {
				bundle := synthea(t, patient)
				released := release(t, bundle, "", accesses[scope])
				if got := words(released.Counts); got != want {
					t.Errorf("released %s, want %s", got, want)
				}
				before := 0
				for _, n := range released.Counts {
					before += n
				}
				for _, n := range released.Withheld {
					before += n
				}
				if in := bytes.Count(bundle, []byte(`"fullUrl"`)); before != in {
					t.Errorf("released and withheld are %d, the record has %d", before, in)
				}
			})
		}
	}
}

// The counts are those of:
//
//	jq '[.entry[].resource.resourceType]|group_by(.)|map({(.[0]):length})|add' FILE
//
// without Organization, Practitioner, PractitionerRole and Medication.
func TestSummaries(t *testing.T) {
	for name, want := range map[string]string{
		"Bundle-IPS-examples-Bundle-01":    "AllergyIntolerance 1 Composition 1 Condition 2 MedicationStatement 2 Observation 7 Patient 1",
		"bundle-minimal":                   "AllergyIntolerance 1 Composition 1 Condition 1 MedicationStatement 1 Patient 1",
		"bundle-no-info-required-sections": "AllergyIntolerance 1 Composition 1 Condition 1 Immunization 2 MedicationStatement 1 Patient 1",
	} {
		t.Run(name, func(t *testing.T) {
			bundle := readData(t, "ips/"+name+".json")
			if got := words(release(t, bundle, "", access(t, 0, 0, 0, "patient/*.rs")).Counts); got != want {
				t.Errorf("released %s, want %s", got, want)
			}
			// Its text repeats what it lists, which this scope does not open.
			if got := words(release(t, bundle, "", access(t, 0, 0, 0, "patient/Composition.rs")).Counts); got != "" {
				t.Errorf("released %s through a scope for Composition", got)
			}
		})
	}
}

// The counts are those of:
//
//	jq '[.entry[].resource.subject.reference]|group_by(.)|map({(.[0]):length})|add' bundle-continuousnonin.json
//	jq '[.entry[].resource|select(any(.category[].coding[]?;.code=="vital-signs"))]|length' bundle-continuousnonin.json
func TestDevices(t *testing.T) {
	bundle := readData(t, "devices/bundle-continuousnonin.json")
	for _, c := range []struct{ patient, scope, want string }{
		{"patientExample-1", "patient/Observation.rs", "Observation 47"},
		{"patientExample-1", "patient/Observation.rs?category=vital-signs", "Observation 24"},
		{"patientExample-2", "patient/Observation.rs", ""},
	} {
		if got := words(release(t, bundle, c.patient, access(t, 0, 0, 0, c.scope)).Counts); got != c.want {
			t.Errorf("%s of %s: released %s, want %s", c.scope, c.patient, got, c.want)
		}
	}
	if _, err := Release(bundle, "", access(t, 0, 0, 0, "patient/Observation.rs")); err == nil {
		t.Error("a record without Patient was released without saying whose it is")
	}
}

func TestUSCore(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(data(t, "us-core"), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	need := map[string]consent.Sensitivities{
		"Observation-PHQ9-item-example-44260-8.json":  consent.MentalHealth,
		"Observation-PHQ9-panel-example-44249-1.json": consent.MentalHealth,
		"Observation-TAPS-panel-example-96841-2.json": consent.SubstanceUse,
		"Observation-alcohol-use-status.json":         consent.SubstanceUse,
		"Observation-substance-use-status.json":       consent.SubstanceUse,
	}
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bundle := collection(string(text))
		for _, c := range []struct {
			sensitivities consent.Sensitivities
			want          bool
		}{
			{consent.AllSensitivities, true},
			{need[name], true},
			{0, need[name] == 0},
			{consent.AllSensitivities &^ need[name], need[name] == 0},
		} {
			released := release(t, bundle, "example", access(t, c.sensitivities, 0, 0, "patient/*.rs"))
			if got := len(released.Counts) == 1; got != c.want {
				t.Errorf("%s with the categories %q: released is %v", name, c.sensitivities, got)
			}
		}
	}
}

func BenchmarkRelease(b *testing.B) {
	bundle := synthea(b, "Samira")
	a := access(b, 0, 1388534400, 0, "patient/Observation.rs?category=laboratory", "patient/*.rs")
	b.SetBytes(int64(len(bundle)))
	for b.Loop() {
		if _, err := Release(bundle, "", a); err != nil {
			b.Fatal(err)
		}
	}
}

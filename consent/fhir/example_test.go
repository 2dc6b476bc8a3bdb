package fhir_test

import (
	"fmt"
	"log"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// A laboratory scope opens the laboratory result of the record, and nothing
// shows that there is more.
func ExampleRelease() {
	record := []byte(`{"resourceType": "Bundle", "type": "collection", "entry": [
		{"resource": {"resourceType": "Patient", "id": "anna"}},
		{"resource": {"resourceType": "Observation", "id": "sodium", "subject": {"reference": "Patient/anna"},
			"category": [{"coding": [{"code": "laboratory"}]}]}},
		{"resource": {"resourceType": "Observation", "id": "mood", "subject": {"reference": "Patient/anna"},
			"category": [{"coding": [{"code": "survey"}]}]}}]}`)
	scope, err := consent.ParseScope("patient/Observation.rs?category=laboratory", "TREAT")
	if err != nil {
		log.Fatal(err)
	}
	released, err := fhir.Release(record, "anna", &consent.Access{Scopes: []consent.Scope{scope}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(released.Counts, "released;", released.Withheld, "withheld, for the log of the data holder")
	// Output: map[Observation:1] released; map[Observation:1 Patient:1] withheld, for the log of the data holder
}

// A search that cannot be evaluated exactly is refused, with its name.
func ExampleEvaluable() {
	scope, err := consent.ParseScope("patient/Observation.rs?code:in=http://example.org/labs", "TREAT")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(fhir.Evaluable(&consent.Access{Scopes: []consent.Scope{scope}}))
	// Output: scope “patient/Observation.rs?code:in=http://example.org/labs”: search parameter “code:in” of Observation: no modifier is evaluated here
}

// A resource of a server is judged with what it refers to, which the caller
// fetches.
func ExampleExcerpt() {
	server := map[string]string{
		"Observation/a": `{"resourceType": "Observation", "id": "a", "subject": {"reference": "Patient/anna"}, "focus": [{"reference": "Condition/b"}]}`,
		"Condition/b":   `{"resourceType": "Condition", "id": "b", "subject": {"reference": "Patient/anna"}, "meta": {"security": [{"code": "HIV"}]}}`,
	}
	scope, err := consent.ParseScope("patient/Observation.rs", "TREAT")
	if err != nil {
		log.Fatal(err)
	}
	rules, err := fhir.NewRules([]consent.Scope{scope})
	if err != nil {
		log.Fatal(err)
	}
	e := fhir.NewExcerpt("anna", "https://hospital.example/fhir")
	r, err := e.Read([]byte(server["Observation/a"]))
	if err == nil {
		err = e.Add(r)
	}
	if err != nil {
		log.Fatal(err)
	}
	for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
		for _, name := range missing {
			fmt.Println("look up", name)
			e.Supply(name, []byte(server[name]))
		}
	}
	fmt.Println(e.Admits(rules, consent.Read, r))
	// Output:
	// look up Condition/b
	// false
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// The record that the stub has: so many patients with so many observations each.
const (
	patients     = 64
	observations = 16
)

func patientOf(p int) string { return fmt.Sprintf("p%d", p) }

func observationOf(p, o int) string { return fmt.Sprintf("p%d-o%d", p, o) }

// observation is a resource as the stub has it.
func observation(p, o int) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":%q,"meta":{"versionId":"1","lastUpdated":"2026-03-01T09:30:00Z"},`+
		`"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}]}],`+
		`"code":{"coding":[{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin [Mass/volume] in Blood"}],"text":"Hemoglobin"},`+
		`"subject":{"reference":"Patient/%s"},"effectiveDateTime":"2026-02-%02dT08:00:00Z","issued":"2026-02-%02dT10:00:00Z",`+
		`"valueQuantity":{"value":1%d.%d,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"},`+
		`"interpretation":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"N","display":"Normal"}],"text":"Normal"}],`+
		`"referenceRange":[{"low":{"value":12,"unit":"g/dL"},"high":{"value":17.5,"unit":"g/dL"},"text":"12 to 17.5 g/dL"}]}`,
		observationOf(p, o), patientOf(p), o+1, o+1, p%10, o%10)
}

// serveUpstream serves the record by reads, and tells its URL.
func serveUpstream(ctx context.Context) error {
	record := make(map[string][]byte)
	for p := range patients {
		record["Patient/"+patientOf(p)] = fmt.Appendf(nil, `{"resourceType":"Patient","id":%q,"meta":{"versionId":"1"},"active":true}`, patientOf(p))
		for o := range observations {
			record["Observation/"+observationOf(p, o)] = []byte(observation(p, o))
		}
	}
	listener, url, err := listen()
	if err == nil {
		err = say(url)
	}
	if err != nil {
		return err
	}
	return serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource, has := record[strings.TrimPrefix(r.URL.Path, "/")]
		if !has || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write(resource)
	}))
}

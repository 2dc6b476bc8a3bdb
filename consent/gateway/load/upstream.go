package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
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

// serveUpstream serves the record by reads, and tells its URL. It does not take
// more of the processors than it must, as the gateway has to share them: answers
// are made beforehand, and each connection has one goroutine.
func serveUpstream(ctx context.Context) error {
	answers := make(map[string][]byte)
	answer := func(path, resource string) {
		answers["/"+path] = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n%s", len(resource), resource)
	}
	for p := range patients {
		answer("Patient/"+patientOf(p), fmt.Sprintf(`{"resourceType":"Patient","id":%q,"meta":{"versionId":"1"},"active":true}`, patientOf(p)))
		for o := range observations {
			answer("Observation/"+observationOf(p, o), observation(p, o))
		}
	}
	listener, url, err := listen()
	if err == nil {
		err = say(url)
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		connection, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		go serveRecord(connection, answers)
	}
}

// serveRecord answers the requests of a connection until it ends, or one is
// anything but a read of what there is.
func serveRecord(connection net.Conn, answers map[string][]byte) {
	defer connection.Close()
	for in := bufio.NewReader(connection); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		answer := answers[r.URL.Path]
		if r.Method != http.MethodGet || r.ContentLength != 0 || answer == nil {
			answer = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		if _, err := connection.Write(answer); err != nil || answer[9] != '2' {
			return
		}
	}
}

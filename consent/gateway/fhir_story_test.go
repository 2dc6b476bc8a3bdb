package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/assent-wallet/assent/consent/fhir"
)

// One result through its life at a real server: created, read, read under
// conditions, changed, changed too late, found, deleted.
func TestWrites(t *testing.T) {
	base := fhirServer(t)
	record, patient, _ := syntheaRecord(t, "Luigi", base)
	load(t, base, record)
	d := newDesk(t, base).as("session", patient, scoped(t, 0, 0, 0, "patient/Observation.cruds?category=laboratory"))
	result := func(id, status, more string) string {
		if id != "" {
			id = `"id":"` + id + `",`
		}
		return `{"resourceType":"Observation",` + id + `"status":"` + status + `","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],` +
			`"code":{"coding":[{"system":"http://loinc.org","code":"2951-2"}]},"subject":{"reference":"Patient/` + patient + `"}` + more + `}`
	}
	asJSON := []string{"Content-Type", "application/fhir+json; charset=utf-8"}

	created := d.do("POST", "Observation", result("mine", "preliminary", ""), asJSON...)
	name, err := fhir.Name(created.body)
	if created.status != http.StatusCreated || err != nil || name == "Observation/mine" {
		t.Fatalf("create: %d %v %s", created.status, err, created.body)
	}
	tag, location := created.header.Get("Etag"), created.header.Get("Location")
	version := strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	if location != d.public+"/"+name+"/_history/"+version {
		t.Errorf("it is at %s, of the version %s", location, tag)
	}
	if last := d.notices[len(d.notices)-1]; last.Resources[0] != name || last.Interaction != "create" {
		t.Errorf("the log has %+v", last)
	}

	read := d.do("GET", name, "", "Accept", "application/json")
	if read.status != http.StatusOK || read.header.Get("Etag") != tag || read.header.Get("Last-Modified") == "" || read.header.Get("Content-Type") != fhirJSON {
		t.Errorf("read: %d %v", read.status, read.header)
	}
	for _, c := range []struct {
		header, value string
		status        int
	}{
		{"If-None-Match", tag, 304}, {"If-None-Match", `"x", ` + tag, 304}, {"If-None-Match", `W/"x"`, 200}, {"If-None-Match", "*", 304},
		{"If-Modified-Since", read.header.Get("Last-Modified"), 304}, {"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT", 200}, {"If-Modified-Since", "soon", 200},
	} {
		answer := d.do("GET", name, "", c.header, c.value)
		if answer.status != c.status || c.status == 304 && len(answer.body) > 0 || answer.header.Get("Etag") != tag {
			t.Errorf("%s: %s: %d with %d bytes", c.header, c.value, answer.status, len(answer.body))
		}
	}
	if head := d.do("HEAD", name, ""); head.status != http.StatusOK || len(head.body) > 0 || head.header.Get("Etag") != tag {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}

	changedTo := result(strings.TrimPrefix(name, "Observation/"), "final", "")
	updated := d.do("PUT", name, changedTo, append([]string{"If-Match", tag}, asJSON...)...)
	if updated.status != http.StatusOK || updated.header.Get("Etag") == tag || !strings.Contains(string(updated.body), `"final"`) {
		t.Errorf("update: %d %v %s", updated.status, updated.header, updated.body)
	}
	if late := d.do("PUT", name, changedTo, append([]string{"If-Match", tag}, asJSON...)...); late.status != http.StatusPreconditionFailed {
		t.Errorf("update of the version before: %d", late.status)
	}
	if quiet := d.do("PUT", name, changedTo, append([]string{"Prefer", "return=minimal"}, asJSON...)...); quiet.status != http.StatusOK || len(quiet.body) > 0 {
		t.Errorf("update that asks for no answer: %d %s", quiet.status, quiet.body)
	}
	if moved := d.do("PUT", name, strings.Replace(changedTo, `"laboratory"`, `"vital-signs"`, 1), asJSON...); moved.status != http.StatusForbidden {
		t.Errorf("update out of the filter: %d", moved.status)
	}
	if old := d.do("GET", name+"/_history/"+version, ""); old.status != http.StatusOK || !strings.Contains(string(old.body), `"preliminary"`) {
		t.Errorf("vread: %d %s", old.status, old.body)
	}
	if never := d.do("GET", name+"/_history/never", ""); never.status != http.StatusNotFound {
		t.Errorf("vread of no version: %d", never.status)
	}
	if found := d.found("Observation?code=http://loinc.org|2951-2&patient=" + patient + "&_sort=-date&_count=2"); !found[name] {
		t.Errorf("a search finds %v", found)
	}
	if found := d.found("Patient/" + patient + "/Observation?_id=" + strings.TrimPrefix(name, "Observation/")); len(found) != 1 {
		t.Errorf("a search of the compartment finds %v", found)
	}

	d.as("reader", patient, scoped(t, 0, 0, 0, "patient/Observation.rs"))
	if refused := d.do("DELETE", name, ""); refused.status != http.StatusForbidden {
		t.Errorf("delete by a reader: %d", refused.status)
	}
	d.as("session", patient, scoped(t, 0, 0, 0, "patient/Observation.d"))
	if deleted := d.do("DELETE", name, ""); deleted.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", deleted.status, deleted.body)
	}
	d.as("reader", patient, scoped(t, 0, 0, 0, "patient/Observation.rs"))
	if gone, old := d.do("GET", name, ""), d.do("GET", name+"/_history/"+version, ""); gone.status != http.StatusNotFound || old.status != http.StatusNotFound {
		t.Errorf("after the delete: %d and %d", gone.status, old.status)
	}
}

// A server need not answer a write with what it wrote. What was done is not done
// again, whatever it answers.
func TestWritesThatAreNotAnswered(t *testing.T) {
	const made = "Observation/made"
	location := func(at string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Location", at)
			w.WriteHeader(http.StatusCreated)
		}
	}
	for name, c := range map[string]struct {
		method  string
		answer  func(http.ResponseWriter)
		reading int // status of a read of it
		status  int
		body    bool
	}{
		"with a Location":              {"POST", location("https://public.example/r4/Observation/made/_history/7"), 200, 201, true},
		"with a Location within":       {"POST", location("Observation/made"), 200, 201, true},
		"with a Location that is gone": {"POST", location("/fhir/Observation/made"), 404, 201, false},
		"with a Location that fails":   {"POST", location("/fhir/Observation/made"), 500, 201, false},
		"with another Location":        {"POST", location("/fhir/Condition/made"), 200, 500, false},
		"with the Location of no id":   {"POST", location("/fhir/Observation/?made"), 200, 500, false},
		"with neither":                 {"POST", func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) }, 200, 500, false},
		"with a failure":               {"POST", func(w http.ResponseWriter) { w.WriteHeader(http.StatusGatewayTimeout) }, 200, 500, false},
		"with nothing":                 {"POST", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 200, 500, false},
		"with another resource":        {"POST", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"resourceType":"Patient","id":"made"}`) }, 200, 500, false},
		"with an outcome and a Location": {"POST", func(w http.ResponseWriter) {
			location("/fhir/Observation/made")(w)
			_, _ = io.WriteString(w, `{"resourceType":"OperationOutcome"}`)
		}, 200, 201, true},
		"an update with nothing to read":  {"PUT", func(w http.ResponseWriter) {}, 200, 200, true},
		"an update that cannot be read":   {"PUT", func(w http.ResponseWriter) {}, 500, 200, false},
		"an update with an outcome":       {"PUT", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"resourceType":"OperationOutcome"}`) }, 200, 200, true},
		"an update with another resource": {"PUT", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"resourceType":"Patient","id":"made"}`) }, 200, 502, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := newCareless(t, observed("made", "anna", ""))
			var written atomic.Int32
			server.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					if written.Load() > 0 && c.reading != http.StatusOK {
						w.WriteHeader(c.reading)
						return true
					}
					return false
				}
				written.Add(1)
				c.answer(w)
				return true
			}
			d := newDesk(t, server.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
			path, sent := "Observation", goodBody
			if c.method == "PUT" {
				path, sent = made, changed("made", `"code":{}`)
			}
			answer := d.do(c.method, path, sent, "Content-Type", fhirJSON)
			if answer.status != c.status || written.Load() != 1 || (answer.header.Get("Retry-After") != "") != (c.status == http.StatusBadGateway) {
				t.Fatalf("%d %v %s", answer.status, answer.header, answer.body)
			}
			if got := answer.status < 400 && string(answer.body) == server.resources[made]; got != c.body || c.body && answer.header.Get("Etag") != `W/"7"` || !c.body && answer.status < 400 && len(answer.body) > 0 {
				t.Errorf("it is answered with %v %s", answer.header, answer.body)
			}
			switch answer.status {
			case http.StatusCreated:
				want := d.public + "/" + made
				if c.body {
					want += "/_history/7"
				}
				if got := answer.header.Get("Location"); got != want || !slices.Equal(d.last().Resources, []string{made}) {
					t.Errorf("it is at %s, logged as %+v", got, d.last())
				}
			case http.StatusInternalServerError:
				if d.last().Outcome != "Unconfirmed" {
					t.Errorf("it is logged as %+v", d.last())
				}
			}
		})
	}
	t.Run("that were not sent", func(t *testing.T) {
		server := newCareless(t)
		d := newDesk(t, server.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
		server.Close()
		if answer := d.do("POST", "Observation", goodBody, "Content-Type", fhirJSON); answer.status != http.StatusBadGateway || answer.header.Get("Retry-After") == "" {
			t.Errorf("%d %v", answer.status, answer.header)
		}
	})
	t.Run("that cannot be logged in the end", func(t *testing.T) {
		server := newCareless(t)
		d := newDesk(t, server.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
		logged := 0
		d.note = func(context.Context, *session, notice) error {
			if logged++; logged > 1 {
				return errLog
			}
			return nil
		}
		if answer := d.do("POST", "Observation", goodBody, "Content-Type", fhirJSON); answer.status != http.StatusInternalServerError || len(server.writes) != 1 || answer.header.Get("Retry-After") != "" {
			t.Errorf("%d %v", answer.status, answer.header)
		}
	})
}

// A batch does each of its requests by itself.
func TestBatch(t *testing.T) {
	base := fhirServer(t)
	record, patient, names := syntheaRecord(t, "Luigi", base)
	load(t, base, record)
	d := newDesk(t, base).as("session", patient, scoped(t, 0, 0, 0, "patient/*.cruds"))
	var open string
	for name := range released(t, record, patient, scoped(t, 0, 0, 0, "patient/*.rs")) {
		if strings.HasPrefix(name, "Observation/") {
			open = name
		}
	}
	flag := `{"resourceType":"Flag","status":"active","code":{"text":"allergic to latex"},"subject":{"reference":"Patient/` + patient + `"}}`
	answer := d.do("POST", "", batchOf(get(open), get("Observation?_count=3"), get(names[0]+"x"), `{"resource":`+flag+`,"request":{"method":"POST","url":"Flag"}}`,
		get("Practitioner/1")), "Content-Type", "application/json")
	var bundle struct {
		Type  string
		Entry []struct {
			Resource map[string]json.RawMessage
			Response struct {
				Status, Location, Etag, LastModified string
				Outcome                              struct{ ResourceType string }
			}
		}
	}
	if err := json.Unmarshal(answer.body, &bundle); err != nil || bundle.Type != "batch-response" || len(bundle.Entry) != 5 {
		t.Fatalf("%d %v %s", answer.status, err, answer.body)
	}
	e := bundle.Entry
	if e[0].Response.Status != "200 OK" || e[0].Response.Etag == "" || e[0].Response.LastModified == "" || string(e[0].Resource["resourceType"]) != `"Observation"` {
		t.Errorf("the read: %+v", e[0].Response)
	}
	var page searchsetOf
	if text, err := json.Marshal(e[1].Resource); err != nil || json.Unmarshal(text, &page) != nil || len(page.Entry) != 3 || len(page.Link) != 2 {
		t.Errorf("the search: %+v", page)
	} else if more := d.found(strings.TrimPrefix(page.Link[1].URL, d.public+"/")); len(more) == 0 {
		t.Error("its next page has nothing")
	}
	if e[2].Response.Status != "404 Not Found" || e[2].Response.Outcome.ResourceType != "OperationOutcome" || e[2].Resource != nil {
		t.Errorf("the miss: %+v", e[2])
	}
	if e[3].Response.Status != "201 Created" || !strings.HasPrefix(e[3].Response.Location, d.public+"/Flag/") {
		t.Errorf("the create: %+v", e[3].Response)
	}
	if e[4].Response.Status != "403 Forbidden" {
		t.Errorf("what no scope has: %+v", e[4].Response)
	}
	if empty := d.do("POST", "", batchOf(), "Content-Type", "application/json"); string(empty.body) != `{"resourceType":"Bundle","type":"batch-response"}` {
		t.Errorf("an empty batch: %d %s", empty.status, empty.body)
	}
	log := make(map[string]int)
	for _, n := range d.notices {
		log[n.Interaction+" "+n.Outcome]++
	}
	if log["read permit"] != 1 || log["read NotFound"] != 1 || log["create permit"] != 2 || log["read NoScope"] != 1 || log["search-type permit"] < 2 {
		t.Errorf("the log has %v", log)
	}
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

func TestRebase(t *testing.T) {
	for _, c := range []struct{ base, link, want string }{
		{"http://h/fhir", "http://h/fhir/Observation?page=2", "Observation?page=2"},
		{"http://h/fhir/", "http://h/fhir/Observation?page=2", "Observation?page=2"},
		{"http://h/fhir", "https://public.example/fhir?_getpages=1&x=%2F", "?_getpages=1&x=%2F"},
		{"http://h/fhir", "/fhir/Observation?page=2", "Observation?page=2"},
		{"http://h/fhir", "Observation?page=2", "Observation?page=2"},
		{"http://h/fhir", "?page=2", "?page=2"},
		{"http://h", "http://h/Observation?page=2", "Observation?page=2"},
		{"http://h/fhir", "http://h/Observation?page=2", ""},
		{"http://h/fhir", "http://h/fhirs/Observation?page=2", ""},
		{"http://h/fhir", "http://h/fhir/../Observation?page=2", ""},
		{"http://h/fhir", "http://h/fhir/%2e%2e/Observation?page=2", ""},
		{"http://h/fhir", "http://h/fhir/Observation//?page=2", ""},
		{"http://h/fhir", "http://h/fhir/$export?page=2", ""},
		{"http://h/fhir", "mailto:somebody", ""},
		{"http://h/fhir", "http://h/fhir/Observation?" + strings.Repeat("x", maxLink), ""},
		{"http://h/fhir", "http://h:port/fhir", ""},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := newUpstream(base, "").rebase(c.link)
		if (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("%.60s at %s leads to %q, %v; want %q", c.link, c.base, got, err, c.want)
		}
	}
}

// The FHIR server gets its own credentials, whatever the requester sent, and a
// server that the answer leads to gets none.
func TestUpstreamGetsItsOwnCredentials(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Values("Authorization")...)
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, credentials := range []string{"Bearer of-the-gateway", ""} {
		got = nil
		d := newDesk(t, server.URL)
		d.front.upstream = newUpstream(base, credentials)
		d.as("1", "eboni", []consent.Scope{{Resource: "Observation", Interactions: consent.Read, Purpose: "TREAT"}})
		d.do(http.MethodGet, "Observation/1", "", "Authorization", "DPoP of-the-requester")
		want := []string{credentials}
		if credentials == "" {
			want = nil
		}
		if !slices.Equal(got, want) || len(elsewhere) != 0 {
			t.Errorf("the FHIR server got %q, another %q; want %q", got, elsewhere, want)
		}
	}
}

// A server may give its pages at its base, under another name than the gateway
// knows it by, with as many entries as it likes, and a last page without any.
func TestPagesOfOtherServers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("_getpages"), &page)
		switch {
		case r.URL.Query().Has("performer"):
			_, _ = io.WriteString(w, searchsetText(""))
		case page > 0 && r.URL.Path != "/fhir", page == 0 && r.URL.Path != "/fhir/Observation":
			w.WriteHeader(http.StatusNotFound)
		case page == 5:
			_, _ = io.WriteString(w, searchsetText(""))
		default:
			var entries []string
			for i := range page % 3 * 4 {
				entries = append(entries, `{"resource":`+observed(fmt.Sprintf("o%d-%d", page, i), "anna", "")+`}`)
			}
			_, _ = io.WriteString(w, searchsetText(fmt.Sprintf("https://public.example/fhir?_getpages=%d", page+1), entries...))
		}
	}))
	t.Cleanup(server.Close)
	d := newDesk(t, server.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.s"))
	for _, path := range []string{"Observation", "Observation?_count=1", "Observation?_count=5", "Patient/anna/$everything"} {
		if got := d.found(path); len(got) != 16 {
			t.Errorf("%s finds %d", path, len(got))
		}
	}
	for _, n := range d.notices {
		if n.Outcome != fhir.Permitted {
			t.Errorf("the log has %+v", n)
		}
	}
}

// A server need not have all types of R4 nor all search parameters, and says so;
// or says nothing, and answers a search of what it does not have with 404.
func TestLesserServers(t *testing.T) {
	statement := func(resources string) string {
		return `{"resourceType":"CapabilityStatement","rest":[{"mode":"server","resource":[` + resources + `]}]}`
	}
	const observations = `{"type":"Observation","searchParam":[{"name":"subject","type":"reference"}]}`
	for name, c := range map[string]struct {
		metadata string
		searches int // of everything
	}{
		"one that says all":     {statement(observations + `,{"type":"Flag"}`), 2},
		"one that says nothing": {`{"resourceType":"CapabilityStatement"}`, 0},
		"one that is no FHIR":   {`<html>`, 0},
		"one without":           {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kind := strings.TrimPrefix(r.URL.Path, "/")
				if kind == "metadata" && c.metadata != "" {
					_, _ = io.WriteString(w, c.metadata)
					return
				}
				asked = append(asked, kind)
				switch {
				case kind == "Observation" && r.URL.Query().Has("subject"):
					_, _ = io.WriteString(w, searchsetText("", `{"resource":`+observed("a", "anna", "")+`}`))
				case kind == "Observation" && c.searches > 0:
					w.WriteHeader(http.StatusBadRequest) // it has no such parameter
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}))
			t.Cleanup(server.Close)
			d := newDesk(t, server.URL).as("session", "anna", scoped(t, 0, 0, 0, "patient/*.s"))
			if got := d.found("Patient/anna/$everything"); len(got) != 1 || c.searches > 0 && len(asked) != c.searches || c.searches == 0 && len(asked) < 60 {
				t.Errorf("everything is %v, by %d searches", got, len(asked))
			}
			if got := d.found("Observation"); len(got) != 1 {
				t.Errorf("the observations are %v", got)
			}
			if got := d.found("Goal"); len(got) != 0 {
				t.Errorf("the goals are %v", got)
			}
		})
	}
	// A page that is over is not the end.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("page") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, searchsetText("Observation?page=2", `{"resource":`+observed("a", "anna", "")+`}`))
	}))
	t.Cleanup(server.Close)
	d := newDesk(t, server.URL).as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.s"))
	if answer := d.do("GET", "Observation", ""); answer.status != http.StatusBadGateway {
		t.Errorf("an answer that is cut short is answered with %d", answer.status)
	}
}

// stating is a CapabilityStatement with search parameters of one type.
func stating(kind string, parameters ...string) string {
	var known []string
	for _, name := range parameters {
		known = append(known, `{"name":"`+name+`","type":"reference"}`)
	}
	return `{"resourceType":"CapabilityStatement","rest":[{"mode":"server","resource":[{"type":"` + kind + `","searchParam":[` + strings.Join(known, ",") + `]}]}]}`
}

// A server need know but one of patient and subject, and refuses the other or
// overlooks it.
func TestServersThatKnowPatientAlone(t *testing.T) {
	for _, strict := range []bool{true, false} {
		var others int
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/metadata":
				_, _ = io.WriteString(w, stating("Encounter", "patient", "date"))
			case r.URL.Path != "/Encounter":
				w.WriteHeader(http.StatusNotFound)
			case r.URL.Query().Get("patient") == "Patient/anna":
				_, _ = io.WriteString(w, searchsetText("", `{"resource":{"resourceType":"Encounter","id":"e","subject":{"reference":"Patient/anna"}}}`))
			case strict:
				w.WriteHeader(http.StatusBadRequest)
			default:
				others++
				_, _ = io.WriteString(w, searchsetText(""))
			}
		}))
		t.Cleanup(server.Close)
		d := newDesk(t, server.URL).as("session", "anna", scoped(t, 0, 0, 0, "patient/Encounter.rs"))
		for _, path := range []string{"Encounter", "Encounter?subject=anna", "Encounter?patient=anna", "Patient/anna/$everything"} {
			if answer := d.do("GET", path, ""); answer.status != http.StatusOK || !strings.Contains(string(answer.body), `"id":"e"`) || others > 0 {
				t.Errorf("%s: %d %s, and other patients' are searched %d times", path, answer.status, answer.body, others)
			}
		}
	}
}

// A search goes on as it began, whatever the server says of itself meanwhile.
func TestPagesThroughOneStatement(t *testing.T) {
	const number = 6
	var statement atomic.Value
	statement.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metadata" {
			_, _ = io.WriteString(w, statement.Load().(string))
			return
		}
		var entries []string
		for i := range number {
			if r.URL.Query().Has("sender") {
				entries = append(entries, fmt.Sprintf(`{"resource":{"resourceType":"Communication","id":"c%d","sender":{"reference":"Patient/anna"}}}`, i))
			}
		}
		_, _ = io.WriteString(w, searchsetText("", entries...))
	}))
	t.Cleanup(server.Close)
	d := newDesk(t, server.URL).as("session", "anna", scoped(t, 0, 0, 0, "patient/Communication.rs"))
	var page searchsetOf
	if answer := d.do("GET", "Communication?_count=2", ""); json.Unmarshal(answer.body, &page) != nil || len(page.Entry) != 2 || len(page.Link) != 2 {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	statement.Store(stating("Communication", "subject", "recipient"))
	d.restate(func() bool { return !d.upstream.has(t.Context(), "Communication", "sender") })
	if rest := d.found(strings.TrimPrefix(page.Link[1].URL, d.public+"/")); len(rest) != number-2 {
		t.Errorf("the rest is %v", rest)
	}
}

// restate has the server asked again what it says of itself, until something holds.
func (d *desk) restate(holds func() bool) {
	d.Helper()
	s := &d.upstream.statement
	s.Lock()
	s.until = time.Time{}
	s.Unlock()
	poll(d, func() error {
		if !holds() {
			return errors.New("the server is not asked again")
		}
		return nil
	})
}

// Nobody waits for a server that does not say what it is, and what it said before
// holds.
func TestStatementThatDoesNotCome(t *testing.T) {
	answers, asked, end := make(chan func(http.ResponseWriter), 10), make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metadata":
			asked <- struct{}{}
			(<-answers)(w)
		case r.URL.Query().Has("sender") || r.URL.Query().Has("subject"):
			_, _ = io.WriteString(w, searchsetText(""))
		default:
			w.WriteHeader(http.StatusBadRequest) // it has no such parameter
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(end) })
	d := newDesk(t, server.URL).as("session", "anna", scoped(t, 0, 0, 0, "patient/Communication.rs"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if !d.upstream.has(gone, "Communication", "anything") {
		t.Error("what is not known yet is denied")
	}
	known := func() {
		t.Helper()
		began := time.Now()
		if !d.upstream.has(t.Context(), "Communication", "sender") || d.upstream.has(t.Context(), "Communication", "recipient") {
			t.Error("what the server said is not known")
		}
		d.found("Communication")
		if took := time.Since(began); took > statementTimeout/2 {
			t.Errorf("a search waits %s", took)
		}
	}
	answers <- func(w http.ResponseWriter) { _, _ = io.WriteString(w, stating("Communication", "sender")) }
	known()
	<-asked

	answers <- func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }
	d.restate(func() bool {
		known()
		d.upstream.statement.Lock()
		defer d.upstream.statement.Unlock()
		return !d.upstream.statement.until.IsZero()
	})
	<-asked

	answers <- func(http.ResponseWriter) { <-end }
	d.restate(func() bool {
		known()
		return len(asked) > 0
	})
	known()
}

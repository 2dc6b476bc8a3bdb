package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

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

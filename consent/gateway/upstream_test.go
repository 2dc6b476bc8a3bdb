package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

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
		got, err := newUpstream(base).rebase(c.link)
		if (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("%.60s at %s leads to %q, %v; want %q", c.link, c.base, got, err, c.want)
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

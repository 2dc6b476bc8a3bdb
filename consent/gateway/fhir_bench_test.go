package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent/fhir"
)

// instant is a FHIR server that has its answers ready.
func instant(b *testing.B, resources ...string) *httptest.Server {
	answers := make(map[string]string)
	for _, text := range resources {
		name, err := fhir.Name([]byte(text))
		if err != nil {
			b.Fatal(err)
		}
		answers["/fhir/"+name] = text
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, found := answers[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", fhirJSON)
		_, _ = io.WriteString(w, text)
	}))
	b.Cleanup(server.Close)
	return server
}

// What the front costs for a read, its request to the FHIR server over loopback
// included: of a resource that refers to nothing that has to be looked up, and of
// one that does.
func BenchmarkRead(b *testing.B) {
	resources := []string{
		observed("plain", "anna", `"code":{"coding":[{"system":"http://loinc.org","code":"2951-2"}]},"encounter":{"reference":"Encounter/visit"}`),
		observed("performed", "anna", `"code":{"coding":[{"system":"http://loinc.org","code":"2951-2"}]},"performer":[{"reference":"Practitioner/doc"},{"reference":"Organization/lab"}]`),
		`{"resourceType":"Practitioner","id":"doc"}`, `{"resourceType":"Organization","id":"lab"}`,
	}
	server := instant(b, resources...)
	base, err := url.Parse(server.URL + "/fhir")
	if err != nil {
		b.Fatal(err)
	}
	s := sessionFor(b, "anna", scoped(b, 0, 0, 0, "patient/Observation.rs"))
	f := &front{upstream: newUpstream(base, ""), note: func(context.Context, *session, notice) error { return nil }, goOn: func(context.Context, *session, *asked) error { return nil }, complain: func(context.Context, string, error) {}}
	for _, id := range []string{"plain", "performed"} {
		b.Run(id, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					w := httptest.NewRecorder()
					f.serve(w, httptest.NewRequest("GET", "/Observation/"+id, nil), s)
					if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), id) {
						b.Errorf("%d %s", w.Code, w.Body)
						return
					}
				}
			})
		})
	}
}

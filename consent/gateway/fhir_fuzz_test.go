package gateway

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Whatever is asked for, nothing comes that is withheld, and nothing breaks.
func FuzzFront(f *testing.F) {
	for _, a := range attacks() {
		if a.lie == nil && len(a.body) < 1<<10 {
			header := append(a.header, "", "")
			f.Add(a.method, "/"+a.path, a.body, header[0], header[1])
		}
	}
	c := attackedServer(f)
	base, err := url.Parse(c.URL + "/fhir")
	if err != nil {
		f.Fatal(err)
	}
	s := sessionFor(f, "anna", scoped(f, 0, 0, 0, "patient/Observation.rs"))
	noted := 0
	desk := &front{upstream: newUpstream(base, ""), public: "https://gateway.example", large: newPlaces(largeAtOnce, largeByOne), complain: func(context.Context, string, error) {},
		goOn: func(context.Context, *session, *asked) error { return nil },
		note: func(context.Context, *session, notice) error { noted++; return nil }}
	f.Fuzz(func(t *testing.T, method, target, body, name, value string) {
		at, err := url.ParseRequestURI(target)
		if err != nil || strings.ContainsAny(method, " \r\n") {
			return
		}
		r := &http.Request{Method: method, URL: at, Header: http.Header{http.CanonicalHeaderKey(name): {value}}, Body: http.NoBody}
		if body != "" {
			r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Method, r.URL = method, at
			r.Header = http.Header{http.CanonicalHeaderKey(name): {value}}
		}
		noted = 0
		w := httptest.NewRecorder()
		desk.serve(w, r, s)
		if bytes.Contains(w.Body.Bytes(), []byte("SECRET")) && !strings.Contains(target+body+value, "SECRET") {
			t.Fatalf("%s %s: %s", method, target, w.Body)
		}
		if noted == 0 || w.Code >= http.StatusInternalServerError && w.Code != http.StatusNotImplemented {
			t.Fatalf("%s %s: %d, with %d notices: %s", method, target, w.Code, noted, w.Body)
		}
		if len(c.writes) > 0 {
			t.Fatalf("%s %s: the server was told %q", method, target, c.writes)
		}
	})
}

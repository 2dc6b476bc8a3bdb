package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const observation = `{"resourceType":"Observation","id":"o1","meta":{"versionId":"1"},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},"subject":{"reference":"Patient/` + patientID + `"},"effectiveDateTime":"2026-01-02T03:04:05Z"}`

// upstreamOf is a FHIR server that has one Observation.
func upstreamOf(t testing.TB) *url.URL {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		if r.URL.Path != "/Observation/o1" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, observation)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// waiting is how many requests wait for their answers at once, for each core.
const waiting = 64

// BenchmarkRequest measures what a permitted read costs, all in: the proof, the
// decision, the log, and the FHIR server, which is in the same process.
func BenchmarkRequest(b *testing.B) {
	for _, at := range []struct{ name, path string }{{"resource", "/Observation/o1"}, {"own", "/audit?from=1000000000"}} {
		b.Run(at.name, func(b *testing.B) {
			w := newWorld(b, filepath.Join(b.TempDir(), "gateway.db"))
			w.start(func(c *Config) { c.Upstream = upstreamOf(b) })
			d, scope, key := w.grant(address(w.clinic), laboratory), laboratory, w.clinic
			if at.name == "own" {
				d, scope, key = w.grant(address(w.patient), ownLog), ownLog, w.patient
			}
			token := w.token(w.accessAs(key, d, nil, scope))
			path, _, _ := strings.Cut(at.path, "?")
			requests := make([]*http.Request, b.N)
			for i := range requests {
				requests[i] = httptest.NewRequest("GET", at.path, nil)
				requests[i].Header.Set("Authorization", "DPoP "+token)
				requests[i].Header.Set("DPoP", w.prover.proof("GET", w.public+path, token, w.Now(), nil))
			}
			w.served(b, requests)
		})
	}
}

// BenchmarkExchange measures what it costs to exchange an access for a token.
func BenchmarkExchange(b *testing.B) {
	w := newWorld(b, filepath.Join(b.TempDir(), "gateway.db"))
	d := w.grant(address(w.clinic), laboratory)
	requests := make([]*http.Request, b.N)
	for i := range requests {
		sent := w.exchangeRequest(w.access(d, nil, laboratory), nil)
		requests[i] = httptest.NewRequest("POST", "/token", sent.Body)
		requests[i].Header = sent.Header
	}
	w.served(b, requests)
}

func (w *world) served(b *testing.B, requests []*http.Request) {
	b.ReportAllocs()
	b.SetParallelism(waiting)
	b.ResetTimer()
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			answer := httptest.NewRecorder()
			w.Gateway.ServeHTTP(answer, requests[next.Add(1)-1])
			if answer.Code != http.StatusOK {
				b.Fatalf("%d %s", answer.Code, answer.Body)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// outcomes counts what the patient's log says of reads.
func (w *world) outcomes() map[string]int {
	w.Helper()
	count := make(map[string]int)
	for _, e := range w.log(address(w.patient)) {
		record, err := fhir.ReadAuditEvent(e.Event)
		if err != nil {
			w.Fatal(err)
		}
		if record.Interaction == "read" {
			count[record.Outcome]++
		}
	}
	return count
}

// TestAttackReadAgain: of a read the proof is recorded together with what was
// read, and counts once all the same.
func TestAttackReadAgain(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "gateway.db"))
	w.start(func(c *Config) { c.Upstream = upstreamOf(t) })
	first := w.Gateway
	w.start(func(c *Config) { c.Upstream, c.Public = upstreamOf(t), first.Public }) // of the same data holder
	token, _ := w.session()
	shown := func(path, proof string) *said {
		return w.askAt(path, token, func(r *http.Request) { r.Header.Set("DPoP", proof) })
	}
	proofOf := func(path string) string { return w.prover.proof("GET", w.public+path, token, w.Now(), nil) }

	proof := proofOf("/Observation/o1")
	if s := shown("/Observation/o1", proof); s.status != http.StatusOK || string(s.body) != observation {
		t.Fatalf("%d %s", s.status, s.body)
	}
	w.denied(shown("/Observation/o1", proof), "InvalidProof")
	missed := proofOf("/Observation/none")
	if s := shown("/Observation/none", missed); s.status != http.StatusNotFound {
		t.Errorf("%d %s", s.status, s.body)
	}
	began := time.Now()
	w.denied(shown("/Observation/none", missed), "InvalidProof")
	if took := time.Since(began); took < timeStep { // what is withheld would take another time than what is not there
		t.Errorf("a miss with a proof that was used takes %s", took)
	}
	if got := w.outcomes(); got[fhir.Permitted] != 1 || got["NotFound"] != 1 || got["InvalidProof"] != 2 {
		t.Errorf("the log has %v", got)
	}

	// Nor may one be used again for what looks like a read.
	everything := proofOf("/Patient/$everything")
	if s := shown("/Patient/$everything", everything); s.status != http.StatusOK || !strings.Contains(string(s.body), `"Bundle"`) {
		t.Errorf("%d %s", s.status, s.body)
	}
	w.denied(shown("/Patient/$everything", everything), "InvalidProof")

	// Many at once, at two gateways.
	const times = 24
	proof = proofOf("/Observation/o1")
	var group sync.WaitGroup
	answers := make(chan *said, times)
	second := w.Gateway
	for i := range times {
		g := first
		if i%2 == 0 {
			g = second
		}
		group.Go(func() {
			r := httptest.NewRequest("GET", "/Observation/o1", nil)
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", proof)
			answer := httptest.NewRecorder()
			g.ServeHTTP(answer, r)
			answers <- &said{status: answer.Code, body: answer.Body.Bytes()}
		})
	}
	group.Wait()
	close(answers)
	permitted := 0
	for s := range answers {
		switch {
		case s.status == http.StatusOK:
			permitted++
		case s.status != http.StatusUnauthorized || strings.Contains(string(s.body), "718-7"):
			t.Errorf("%d %s", s.status, s.body)
		}
	}
	if got := w.outcomes(); permitted != 1 || got[fhir.Permitted] != 2 || got["InvalidProof"] != 2+times-1 {
		t.Errorf("%d were permitted, and the log has %v", permitted, got)
	}
}

// TestAttackWhileTheServerTakesItsTime: a grant that is revoked before the FHIR
// server has answered ends the request: nothing is read or deleted under it.
func TestAttackWhileTheServerTakesItsTime(t *testing.T) {
	laboratory := laboratory
	laboratory.Interactions |= consent.Delete
	for _, c := range []struct{ method, path string }{
		{"GET", "/Observation/1"}, {"HEAD", "/Observation/1"}, {"GET", "/Observation/1/_history/1"}, {"DELETE", "/Observation/1"},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			w := newWorld(t, t.TempDir()+"/gateway.db")
			d := w.grant(address(w.clinic), laboratory)
			var methods []string
			base, err := url.Parse(w.record(1, func(r *http.Request) {
				methods = append(methods, r.Method)
				w.chain.Reveal(context.Background(), secretOf(d.Grant.Provisions))
			}).URL)
			if err != nil {
				t.Fatal(err)
			}
			w.start(func(c *Config) { c.Upstream = base })
			token := w.token(w.access(d, nil, laboratory))
			s := w.askAt(c.path, token, func(r *http.Request) {
				r.Method = c.method
				r.Header.Set("DPoP", w.prover.proof(c.method, w.public+c.path, token, w.Now(), nil))
			})
			if s.status != http.StatusUnauthorized || strings.Contains(string(s.body), "718-7") || s.header.Get("Etag") != "" {
				t.Errorf("%d %v %s", s.status, s.header, s.body)
			}
			if slices.Contains(methods, "DELETE") {
				t.Errorf("the FHIR server was told %q", methods)
			}
			log := w.log(address(w.patient))
			last, err := fhir.ReadAuditEvent(log[len(log)-1].Event)
			if err != nil || len(log) != 2 || last.Outcome != "Revoked" || len(last.Resources) > 0 {
				t.Errorf("of %d entries the last is %+v, %v", len(log), last, err)
			}
		})
	}
}

// TestAttackReadAfterTheEnd: that the patient's enrollment ended while a read was
// under way is seen before anything is answered.
func TestAttackReadAfterTheEnd(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "gateway.db"))
	upstream := upstreamOf(t)
	w.start(func(c *Config) { c.Upstream = upstream })
	token, _ := w.session()
	if s := w.askAt("/Observation/o1", token, nil); s.status != http.StatusOK {
		t.Fatalf("%d %s", s.status, s.body)
	}
	// Another process ends it: this one does not know yet.
	if ended, err := w.enrollments().End(context.Background(), address(w.patient), "test"); err != nil || !ended {
		t.Fatal(ended, err)
	}
	s := w.askAt("/Observation/o1", token, nil)
	w.denied(s, "UnknownPatient")
	if strings.Contains(string(s.body), "718-7") {
		t.Error("the answer holds what was read")
	}
	if got := w.outcomes(); got[fhir.Permitted] != 1 || got["UnknownPatient"] != 1 {
		t.Errorf("the log has %v", got)
	}
}

package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"go.uber.org/goleak"

	"github.com/assent-wallet/assent/consent"
)

// synced is a buffer that several goroutines may use.
type synced struct {
	sync.Mutex
	bytes.Buffer
}

func (s *synced) Write(b []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.Write(b)
}

func (s *synced) String() string {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.String()
}

// TestLogsAndMetricsTellNothingOfPatients: whatever is asked, and however it ends.
func TestLogsAndMetricsTellNothingOfPatients(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	var out synced
	w.start(func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Upstream = upstreamOf(t)
	})
	d := w.grant(address(w.clinic), laboratory)
	s := w.exchange(w.access(d, nil, laboratory))
	ids := []string{s.header.Get("X-Request-Id")}
	for _, path := range []string{
		"/Observation/o1", "/Observation/hidden", "/Observation?code=718-7", "/Patient/" + patientID, "/Patient/" + patientID + "/$everything", "/Bogus", "/audit",
		"/Observation?code:in=sensitive", "/Observation?_unknown=sensitive",
	} {
		ids = append(ids, w.askAt(path, s.Token, nil).header.Get("X-Request-Id"))
	}
	w.exchange(w.access(d, func(a *consent.AccessDocument) { a.Access.Scopes[0].Filter = "category=imaging" }, laboratory))
	w.ask("sensitive", nil)
	w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
	w.ask(s.Token, nil)

	metrics := httptest.NewRecorder()
	w.Metrics().ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
	for _, said := range []string{out.String(), metrics.Body.String()} {
		for _, never := range []string{patientID, "sensitive", "718-7", "observation", "hidden", "laboratory", "imaging", s.Token, "subject", address(w.patient).Hex()} {
			if strings.Contains(strings.ToLower(said), strings.ToLower(never)) {
				t.Errorf("it tells %s:\n%s", never, said)
			}
		}
	}
	for _, id := range ids {
		if id == "" || !strings.Contains(out.String(), "request="+id) {
			t.Errorf("the request %q is not logged", id)
		}
	}
	for _, want := range []string{
		`assent_gateway_requests_total{outcome="permit",route="/token"} 1`, `assent_gateway_requests_total{outcome="permit",route="fhir"}`,
		`assent_gateway_requests_total{outcome="NotPermitted",route="/token"} 1`, `assent_gateway_requests_total{outcome="Revoked",route="/audit"} 1`,
		`assent_gateway_decisions_total{outcome="Permit"} 1`, `assent_gateway_chain_age_seconds 0`, `assent_gateway_journal_queue 0`,
	} {
		if !strings.Contains(metrics.Body.String(), want) {
			t.Errorf("the metrics lack %s:\n%s", want, metrics.Body)
		}
	}
}

func TestReady(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.start(func(c *Config) { c.Upstream = upstreamOf(t) })
	ready := func(status int, outcome string) {
		t.Helper()
		w.readiness.at = time.Time{} // not what was found a moment ago
		if s := w.do(w.request("GET", "/ready", nil)); s.status != status || s.outcome() != outcome {
			t.Errorf("%d %s", s.status, s.body)
		}
		if s := w.do(w.request("GET", "/health", nil)); s.status != http.StatusOK {
			t.Errorf("it is alive all the same: %d %s", s.status, s.body)
		}
	}
	ready(200, "")
	w.chain.change(func() { w.chain.age = 61 })
	ready(503, "ChainTooOld")
	w.chain.change(func() { w.chain.err = errBroken })
	ready(503, "NoChain")
	w.chain.change(func() { w.chain.age, w.chain.err = 0, nil })
	ready(200, "")
	w.db.Close()
	ready(503, "NoDatabase")
}

// Below a path, as behind a proxy.
func TestPublicPath(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.start(func(c *Config) {
		c.Public = &url.URL{Scheme: "https", Host: "fhir.hospital.example", Path: "/r4"}
		c.Upstream = upstreamOf(t)
	})
	d := w.grant(address(w.clinic), laboratory)
	r := w.exchangeRequest(w.access(d, nil, laboratory), nil)
	if s := w.do(r); s.status != http.StatusNotFound {
		t.Errorf("beside the path: %d %s", s.status, s.body)
	}
	r = w.exchangeRequest(w.access(d, nil, laboratory), nil)
	r.URL.Path = "/r4/token"
	s := w.do(r)
	if s.status != http.StatusOK {
		t.Fatalf("%d %s", s.status, s.body)
	}
	for path, want := range map[string]int{"/r4/Observation/o1": 200, "/Observation/o1": 404, "/r4Observation/o1": 404, "/r4/../r4/Observation/o1": 400, "/r4%2fObservation/o1": 404} {
		at := strings.TrimPrefix(path, "/r4")
		got := w.askAt(path, s.Token, func(r *http.Request) { r.Header.Set("DPoP", w.prover.proof("GET", w.public+at, s.Token, w.Now(), nil)) })
		if got.status != want {
			t.Errorf("%s: %d %s, want %d", path, got.status, got.body, want)
		}
	}
}

// What breaks is answered, counted, and breaks nothing else.
func TestBrokenRequest(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.sessions.Add(string(make([]byte, sessionID)), nil)
	broken := w.Gateway.token(&session{id: string(make([]byte, sessionID)), ends: w.now() + 10})
	w.refused(w.ask(broken, nil), http.StatusInternalServerError, "", "Broken")
	token, _ := w.session()
	w.counts(token)
	if w.places.taken != 0 || len(w.places.by) != 0 {
		t.Errorf("%d places are not given back", w.places.taken)
	}
}

func TestConfigThatMakesNoGateway(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	for name, change := range map[string]func(*Config, *[32]byte){
		"no holder":     func(c *Config, _ *[32]byte) { c.Holder = common.Address{} },
		"no URL":        func(c *Config, _ *[32]byte) { c.Public = nil },
		"URL and query": func(c *Config, _ *[32]byte) { c.Public = &url.URL{Scheme: "https", Host: "x", RawQuery: "y"} },
		"no key":        func(_ *Config, key *[32]byte) { *key = [32]byte{} },
		"no interval":   func(c *Config, _ *[32]byte) { c.AuditEvery = 0 },
	} {
		config, key := w.Config, testKey
		change(&config, &key)
		if _, err := New(config, w.db, w.chain, key); err == nil {
			t.Error(name)
		}
	}
}

// Half an answer does not look like a whole one.
func TestAnswerThatBreaksOff(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	broken := httptest.NewRecorder()
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Errorf("it ends as if it were whole: %d %s", broken.Code, broken.Body)
		}
	}()
	w.Gateway.ServeHTTP(&breaking{ResponseRecorder: broken}, httptest.NewRequest("GET", "/health", nil))
}

// breaking is an answer that breaks once a part of it was written.
type breaking struct{ *httptest.ResponseRecorder }

func (b *breaking) Write(text []byte) (int, error) {
	b.ResponseRecorder.Write(text[:1])
	panic(errBroken)
}

func TestClientAddress(t *testing.T) {
	for _, c := range []struct{ remote, want, network string }{
		{"192.0.2.1:1234", "192.0.2.1", "192.0.2.1"},
		{"[2001:db8::1:2:3:4]:1234", "2001:db8::1:2:3:4", "2001:db8::/64"},
		{"[::ffff:127.0.0.1]:1234", "127.0.0.1", "127.0.0.1"},
		{"[fe80::1%eth0]:1234", "fe80::1", "fe80::/64"},
	} {
		if got := clientOf(&http.Request{RemoteAddr: c.remote}); got != c.want || network(got) != c.network {
			t.Errorf("%s: %s in %s", c.remote, got, network(got))
		}
	}
}

// Run anchors the log and forgets what is over, and once a gateway is closed
// nothing of it runs on.
func TestRun(t *testing.T) {
	location := t.TempDir() + "/gateway.db"
	w := newWorld(t, location)
	token, _ := w.session()
	w.counts(token)
	before := goleak.IgnoreCurrent()
	db, err := OpenDatabase(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	config := w.Config
	config.AuditEvery = leastAuditEvery
	g, err := New(config, db, w.chain, testKey)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		g.Run(ctx)
		close(ran)
	}()
	poll(t, func() error {
		found, err := CheckAudit(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if found.Checkpoints != 1 || found.Unanchored != 0 || found.Uncovered != 0 {
			return fmt.Errorf("%+v", found)
		}
		return nil
	})
	left := func() (n int) {
		t.Helper()
		if err := db.QueryRow("SELECT (SELECT count(*) FROM gateway_proofs) + (SELECT count(*) FROM gateway_seen) + (SELECT count(*) FROM gateway_sessions) + (SELECT count(*) FROM gateway_used)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := g.journal.forget(t.Context(), w.now()); err != nil || left() < 6 {
		t.Errorf("what counts is forgotten: %d are left, %v", left(), err)
	}
	for i := range 3 * forgetAtOnce { // in several parts
		if _, err := db.Exec("INSERT INTO gateway_seen (key, until) VALUES ($1, 1)", []byte{byte(i), byte(i >> 8)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.journal.forget(t.Context(), w.now()+24*3600); err != nil || left() != 0 {
		t.Errorf("%d are left, %v", left(), err)
	}
	stop()
	<-ran
	g.Close()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}

// eachHTTP runs the test with a server of each version of HTTP, and a client of it.
func eachHTTP(t *testing.T, handler http.Handler, test func(t *testing.T, server *httptest.Server)) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != version {
					t.Errorf("it is asked by %s", r.Proto)
				}
				handler.ServeHTTP(w, r)
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.EnableHTTP2 = version == 2
			server.StartTLS()
			defer server.Close()
			test(t, server)
		})
	}
}

// What is sent to a client that does not read ends.
func TestSlowReader(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	w.writePatience = 50 * time.Millisecond
	ended := make(chan error, 1)
	eachHTTP(t, http.HandlerFunc(func(a http.ResponseWriter, _ *http.Request) {
		slow := w.answerTo(a)
		for {
			if _, err := slow.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	}), func(t *testing.T, server *httptest.Server) {
		answer, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("it waits for ever")
		}
	})
}

// What a client receives as fast as it comes does not end, however long the FHIR
// server takes in between.
func TestSlowUpstream(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	slow := ""
	base, err := url.Parse(w.record(4, func(r *http.Request) {
		if r.URL.RequestURI() == slow {
			select {
			case <-r.Context().Done(): // the gateway gave up
			case <-time.After(5 * w.writePatience):
			}
		}
	}).URL)
	if err != nil {
		t.Fatal(err)
	}
	w.start(func(c *Config) { c.Upstream = base })
	w.writePatience = 50 * time.Millisecond
	token, _ := w.session()
	everything := "/Patient/" + patientID + "/$everything"
	for _, c := range []struct{ name, method, path, body, slow, last string }{
		{"a batch", "POST", "/", `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Observation/1"}},{"request":{"method":"GET","url":"Observation/2"}}]}`, "/Observation/2", `"id":"2"`},
		{"everything", "GET", everything, "", "/Observation?page=2", `"o3-99"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			slow = c.slow
			eachHTTP(t, w.Gateway, func(t *testing.T, server *httptest.Server) {
				r := w.request(c.method, c.path, strings.NewReader(c.body))
				if r.URL, err = url.Parse(server.URL + c.path); err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{"Authorization": {"DPoP " + token}, "Content-Type": {fhirJSON}, "Dpop": {w.prover.proof(c.method, w.public+c.path, token, w.Now(), nil)}}
				answer, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				text, err := io.ReadAll(answer.Body)
				if err != nil || !bytes.Contains(text, []byte(c.last)) {
					t.Errorf("it ends after %d bytes: %v", len(text), err)
				}
			})
		})
	}
}

package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
)

func TestTokensOutliveTheirGateway(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		token, d := w.session()
		first := w.Gateway
		w.start(func(*Config) {}) // another gateway on the same database, or the same one after a restart
		w.counts(token)
		w.Gateway = first // its address is another one, and proofs are made for it
		w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
		w.denied(w.ask(token, nil), "Revoked")
		w.start(func(*Config) {})
		w.denied(w.ask(token, nil), "NoSession")
	})
}

// Nothing is asked of the chain as long as nothing can have changed.
func TestDecidesAgainOnlyWhereItMatters(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	token, _ := w.session()
	asks := func() int {
		w.chain.Lock()
		before := w.chain.asked
		w.chain.Unlock()
		w.counts(token)
		w.chain.Lock()
		defer w.chain.Unlock()
		return w.chain.asked - before
	}
	for name, c := range map[string]struct {
		change func()
		want   int
	}{
		"nothing":                {func() {}, 0},
		"a block":                {func() { w.chain.change(func() {}) }, 1},
		"a second":               {func() { w.clock.pass(time.Second) }, 0},
		"the age limit":          {func() { w.clock.pass(61 * time.Second) }, 1},
		"an enrollment":          {func() { w.enroll(newKey(t), "samira") }, 1},
		"a clock that went back": {func() { w.clock.pass(-10 * time.Second) }, 1},
	} {
		asks() // so that nothing is left of another change
		c.change()
		if got := asks(); got != c.want {
			t.Errorf("%s: asked %d times, want %d", name, got, c.want)
		}
		if got := asks(); got != 0 {
			t.Errorf("%s: asked again", name)
		}
	}
}

// What a contract says of its account is asked each time.
func TestContractAccountsAreAskedEachTime(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	contract := common.Address{0xc0}
	d := w.grant(contract, laboratory)
	a := w.access(d, nil, laboratory)
	a.Signature = []byte("whatever the contract takes")
	query := consent.SignatureQuery{Account: contract, Digest: a.Access.Digest(testDomain), Signature: string(a.Signature)}
	w.refused(w.exchange(a), http.StatusBadRequest, "invalid_grant", "BadAccessSignature")
	w.chain.Lock()
	w.chain.signed[query] = true // in no new block
	w.chain.Unlock()
	token := w.token(a)
	w.counts(token)
	w.chain.Lock()
	w.chain.signed[query] = false
	w.chain.Unlock()
	w.denied(w.ask(token, nil), "BadAccessSignature")
}

// However many requests go on at once, none is let through once the revocation is
// known.
func TestRevocationAmongManyRequests(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		token, d := w.session()
		revoked := make(chan struct{})
		var ready, workers sync.WaitGroup
		for range 8 {
			ready.Add(1)
			workers.Go(func() {
				for range 5 {
					w.counts(token)
				}
				ready.Done()
				<-revoked
				for range 5 {
					if s := w.ask(token, nil); s.status != http.StatusUnauthorized {
						t.Errorf("%d %s", s.status, s.body)
					}
				}
			})
		}
		ready.Wait()
		w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
		close(revoked)
		workers.Wait()
		if n := len(w.log(address(w.patient))); n < 1+8*5+1 {
			t.Errorf("%d entries", n)
		}
	})
}

// record is a FHIR server with so many observations of the patient, which are
// found in pages of one window. Before it answers, a test may do something.
func (w *world) record(pages int, before func(r *http.Request)) *httptest.Server {
	observation := func(id string) string {
		return fmt.Sprintf(`{"resourceType":"Observation","id":%q,"meta":{"versionId":"1"},"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],"subject":{"reference":"Patient/%s"}}`, id, patientID)
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		before(r)
		if id, one := strings.CutPrefix(r.URL.Path, "/Observation/"); one {
			io.WriteString(a, observation(id))
			return
		}
		if r.URL.Path != "/Observation" {
			http.NotFound(a, r)
			return
		}
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		var entries []string
		for i := range window {
			entries = append(entries, `{"resource":`+observation(fmt.Sprintf("o%d-%d", page, i))+`}`)
		}
		next := ""
		if page+1 < pages {
			next = fmt.Sprintf(`,"link":[{"relation":"next","url":"Observation?page=%d"}]`, page+1)
		}
		fmt.Fprintf(a, `{"resourceType":"Bundle","type":"searchset","entry":[%s]%s}`, strings.Join(entries, ","), next)
	}))
	w.Cleanup(upstream.Close)
	return upstream
}

// A grant that ends in the midst of a long answer ends the answer, and what is
// left of a batch, and an enrollment that another process ends does so too; the
// end of the token alone does not.
func TestAttackLongRequest(t *testing.T) {
	for name, c := range map[string]struct {
		ends func(*world, *consent.GrantDocument)
		want string // empty: nothing ends
	}{
		"revoked": {func(w *world, d *consent.GrantDocument) {
			w.chain.Reveal(context.Background(), secretOf(d.Grant.Provisions))
		}, "Revoked"},
		"not enrolled any more": {func(w *world, _ *consent.GrantDocument) {
			w.enrollments().End(context.Background(), address(w.patient), "moved")
		}, "UnknownPatient"},
		"token over": {func(w *world, _ *consent.GrantDocument) { w.clock.pass(2 * tokenLife * time.Second) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ended := c.want != ""
			w := newWorld(t, t.TempDir()+"/gateway.db")
			var happens func(r *http.Request)
			base, err := url.Parse(w.record(4, func(r *http.Request) { happens(r) }).URL)
			if err != nil {
				t.Fatal(err)
			}
			w.start(func(c *Config) { c.Upstream = base })
			token, d := w.session()
			happens = func(r *http.Request) {
				if r.URL.Query().Get("page") == "2" {
					c.ends(w, d)
				}
			}
			path := "/Patient/" + patientID + "/$everything"
			r := w.request("GET", path, nil)
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", w.prover.proof("GET", w.public+path, token, w.Now(), nil))
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			// The second page waits for the first resource of the third.
			if got := bytes.Contains(text, []byte(`"o1-0"`)); (err != nil) != ended || got == ended || !bytes.Contains(text, []byte(`"o0-99"`)) {
				t.Errorf("%d bytes, with the second page: %v, %v", len(text), got, err)
			}

			if _, err := w.patientOf(t.Context(), address(w.patient)); err != nil {
				w.enroll(w.patient, patientID)
			}
			token, d = w.session()
			reads := 0
			happens = func(r *http.Request) {
				if reads++; reads == 1 {
					c.ends(w, d)
				}
			}
			batch := w.request("POST", "/", strings.NewReader(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Observation/1"}},{"request":{"method":"GET","url":"Observation/2"}}]}`))
			batch.Header = http.Header{"Authorization": {"DPoP " + token}, "Content-Type": {fhirJSON}, "Dpop": {w.prover.proof("POST", w.public+"/", token, w.Now(), nil)}}
			s := w.do(batch)
			if got := bytes.Contains(s.body, []byte(`"id":"2"`)); s.status != http.StatusOK || got == ended || ended && !bytes.Contains(s.body, []byte(`"`+c.want+`"`)) {
				t.Errorf("%d %s", s.status, s.body)
			}
			if log := w.log(address(w.patient)); ended && !bytes.Contains(log[len(log)-1].Event, []byte(`"outcomeDesc":"`+c.want)) {
				t.Errorf("the last entry is %s", log[len(log)-1].Event)
			}
		})
	}
}

// Sessions of long accesses count as others do, and take no memory in between.
func TestLongAccessIsNotKeptInMemory(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	token, _ := w.session()
	var scopes []consent.Scope
	for i := range 64 {
		scope := laboratory
		scope.Filter = "code=" + strings.Repeat("x", 480) + strconv.Itoa(i)
		scopes = append(scopes, scope)
	}
	long := w.token(w.access(w.grant(address(w.clinic), scopes...), nil, scopes...))
	for range 2 {
		w.counts(long)
		w.counts(token)
	}
	if n := w.sessions.Len(); n != 1 {
		t.Errorf("%d sessions are in memory", n)
	}
}

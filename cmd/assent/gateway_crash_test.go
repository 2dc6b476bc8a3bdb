//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/go-jose/go-jose/v4"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
	"github.com/assent-wallet/assent/consent/gateway"
)

// served is a home with a patient, and a hospital whose gateway runs in front of
// a stub of a FHIR server, on the embedded chain. The clinic is the test itself.
type served struct {
	*crashing
	t        *testing.T
	url      string
	upstream string
	database string
	gateway  *running

	domain consent.Domain
	holder common.Address
	clinic *ecdsa.PrivateKey
	grant  *consent.GrantDocument
}

const laboratoryScope = "patient/Observation.rs?category=laboratory"

// newServed enrolls the patient at the hospital and has her grant the clinic her
// laboratory results.
func newServed(ctx context.Context, t *testing.T) *served {
	t.Helper()
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, found := strings.CutPrefix(r.URL.Path, "/Observation/")
		if !found || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		category, patient := "laboratory", "p1"
		if strings.HasPrefix(id, "vital") {
			category = "vital-signs"
		}
		if strings.HasPrefix(id, "other") {
			patient = "p2"
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		fmt.Fprintf(w, `{"resourceType":"Observation","id":%q,"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":%q}]}],"code":{"text":"x"},"subject":{"reference":"Patient/%s"}}`, id, category, patient)
	}))
	t.Cleanup(stub.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	h := newHome(t)
	s := &served{crashing: &crashing{home: h}, t: t, url: "http://" + address, upstream: stub.URL, database: h.path("hospital.db")}
	for _, name := range []string{"patient", "hospital"} {
		s.must(h.do(ctx, "init", name))
		s.fatal(h.keep(ctx, name+".card.json", "card", "--wallet", name))
	}
	var card struct {
		Domain struct {
			ChainID  uint64
			Registry common.Address
		}
		Card struct{ Account common.Address }
	}
	text, err := os.ReadFile(h.path("hospital.card.json"))
	s.fatal(err)
	s.fatal(json.Unmarshal(text, &card))
	s.domain, s.holder = consent.Domain{ChainID: card.Domain.ChainID, Registry: card.Domain.Registry}, card.Card.Account

	s.run(ctx)
	t.Cleanup(func() { s.gateway.kill() })
	var challenge struct{ Challenge string }
	s.fatal(h.read(ctx, &challenge, "gateway", "enroll", "challenge", "--wallet", "hospital", "--database", s.database, "--json"))
	s.fatal(h.keep(ctx, "proof.json", "access", "--wallet", "patient", "--challenge", challenge.Challenge, "--holder", "hospital.card.json"))
	s.must(h.do(ctx, "gateway", "enroll", "bind", "proof.json", "--wallet", "hospital", "--database", s.database, "--account", "patient.card.json", "--patient", "p1"))
	s.clinic, err = ethcrypto.GenerateKey()
	s.fatal(err)
	s.fatal(h.keep(ctx, "labs.json", "grant", "--wallet", "patient", "--grantee", ethcrypto.PubkeyToAddress(s.clinic.PublicKey).Hex(),
		"--scope", laboratoryScope, "--holder", "hospital.card.json", "--for", "30d", "--yes"))
	granted, err := os.Open(h.path("labs.json"))
	s.fatal(err)
	defer granted.Close()
	s.grant, err = consent.ReadGrant(granted)
	s.fatal(err)
	return s
}

func (s *served) fatal(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *served) must(_ string, err error) {
	s.t.Helper()
	s.fatal(err)
}

// run starts the gateway and waits until it is ready.
func (s *served) run(ctx context.Context) {
	s.t.Helper()
	var err error
	s.gateway, err = s.start(ctx, "", "gateway", "--wallet", "hospital", "--fhir", s.upstream, "--listen", strings.TrimPrefix(s.url, "http://"),
		"--database", s.database, "--audit-every", "1s")
	s.fatal(err)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		answer, err := http.Get(s.url + "/ready")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if s.gateway.over() || time.Now().After(deadline) {
			s.gateway.kill()
			s.t.Fatalf("the gateway is not ready: %v, %v\n%s", err, s.gateway.err, s.gateway.stderr.String())
		}
	}
}

// asker is the clinic with a key for the proofs of one session (DPoP, RFC 9449).
type asker struct {
	*served
	http    *http.Client
	key     *ecdsa.PrivateKey
	signer  jose.Signer
	binding common.Hash
	token   string
	form    string // of the last exchange
}

func (s *served) asker() *asker {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.fatal(err)
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	s.fatal(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	s.fatal(err)
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &asker{served: s, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}, key: key, signer: signer, binding: common.Hash(thumbprint)}
}

// answered is what the gateway answered, as far as it came.
type answered struct {
	id     string // of the request
	status int
	body   []byte // may be cut short
}

// ask makes a request with a fresh proof. The error says that no answer has begun.
func (a *asker) ask(ctx context.Context, method, path, form string) (answered, error) {
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": a.url + path, "iat": time.Now().Unix()}
	if a.token != "" && form == "" {
		hash := sha256.Sum256([]byte(a.token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return answered{}, err
	}
	signed, err := a.signer.Sign(text)
	if err != nil {
		return answered{}, err
	}
	proof, err := signed.CompactSerialize()
	if err != nil {
		return answered{}, err
	}
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(form))
	if err != nil {
		return answered{}, err
	}
	r.Header.Set("DPoP", proof)
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r.Header.Set("Authorization", "DPoP "+a.token)
	}
	got, err := a.http.Do(r)
	if err != nil {
		return answered{}, err
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(got.Body) // a kill may cut it short: the answer has begun all the same
	return answered{got.Header.Get("X-Request-Id"), got.StatusCode, body}, nil
}

// exchange asks for a token by a fresh access, or by the last one again.
func (a *asker) exchange(ctx context.Context, again bool) (answered, error) {
	if !again {
		scope, err := consent.ParseScope(laboratoryScope, "TREAT")
		if err != nil {
			return answered{}, err
		}
		links, err := a.grant.Open(a.holder, []consent.Scope{scope})
		if err != nil {
			return answered{}, err
		}
		d := &consent.AccessDocument{Domain: a.domain, Links: links, Access: consent.Access{
			Grant: a.grant.ID(), Holder: a.holder, Scopes: []consent.Scope{scope}, Binding: a.binding, Time: uint64(time.Now().Unix()),
		}}
		rand.Read(d.Access.Nonce[:])
		if d.Signature, err = consent.Sign(d.Access.Digest(a.domain), a.clinic); err != nil {
			return answered{}, err
		}
		document, err := d.MarshalJSON()
		if err != nil {
			return answered{}, err
		}
		a.form = url.Values{
			"grant_type": {gateway.GrantType}, "subject_token_type": {gateway.SubjectTokenType},
			"subject_token": {base64.RawURLEncoding.EncodeToString(document)},
		}.Encode()
	}
	got, err := a.ask(ctx, http.MethodPost, "/token", a.form)
	if err == nil && got.status == http.StatusOK && !again {
		var said struct {
			Token string `json:"access_token"`
		}
		if json.Unmarshal(got.body, &said) == nil && said.Token != "" {
			a.token = said.Token
		}
	}
	return got, err
}

// TestGatewayKilled kills a gateway under load at random moments. Whatever it
// answered by then is in its log, and the log's chain of hashes is whole. How
// often it is killed is 3, or what the environment's ASSENT_GATEWAY_KILLS says.
func TestGatewayKilled(t *testing.T) {
	kills := 3
	if n := os.Getenv("ASSENT_GATEWAY_KILLS"); n != "" {
		var err error
		if kills, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*10*time.Second)
	defer cancel()
	s := newServed(ctx, t)
	var (
		mu    sync.Mutex
		ids   = map[string]string{} // of requests that were answered → what came
		wrong []string
	)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(ids)
	}
	loaded, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for i := range 32 {
		a, random := s.asker(), mathrand.New(mathrand.NewPCG(uint64(time.Now().UnixNano()), uint64(i)))
		load.Go(func() {
			for n := 0; loaded.Err() == nil; n++ {
				var (
					got  answered
					err  error
					what string
					want int
				)
				switch pick := random.IntN(10); {
				case a.token == "" || pick == 0:
					what, want = "exchange", http.StatusOK
					got, err = a.exchange(loaded, false)
				case pick == 1:
					what, want = "exchange again", http.StatusBadRequest
					got, err = a.exchange(loaded, true)
				case pick == 2:
					what, want = "read of what is withheld", http.StatusNotFound
					got, err = a.ask(loaded, http.MethodGet, fmt.Sprintf("/Observation/vital%d", n), "")
				case pick == 3:
					what, want = "read of another's", http.StatusNotFound
					got, err = a.ask(loaded, http.MethodGet, fmt.Sprintf("/Observation/other%d", n), "")
				case pick == 4:
					what, want = "read without a scope", http.StatusForbidden
					got, err = a.ask(loaded, http.MethodGet, fmt.Sprintf("/Condition/c%d", n), "")
				default:
					what, want = "read", http.StatusOK
					got, err = a.ask(loaded, http.MethodGet, fmt.Sprintf("/Observation/lab%d", n), "")
				}
				if err != nil { // it was killed: the token of an exchange that was cut off is not known
					a.token = ""
					select { // and asks again, until there is another
					case <-time.After(5 * time.Millisecond):
					case <-loaded.Done():
					}
					continue
				}
				mu.Lock()
				// An exchange whose answer never came may be used up.
				if fine := got.status == want || what == "exchange again" && got.status == http.StatusOK; !fine {
					wrong = append(wrong, fmt.Sprintf("%s: %d %s", what, got.status, got.body))
				}
				if got.id == "" {
					wrong = append(wrong, what+": no X-Request-Id")
				}
				ids[got.id] = fmt.Sprintf("%s: %d", what, got.status)
				mu.Unlock()
			}
		})
	}
	for k := range kills {
		before := count()
		for deadline := time.Now().Add(20 * time.Second); count() < before+50; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("kill %d: only %d answers in 20 s", k, count()-before)
			}
		}
		select { // at any moment
		case <-time.After(mathrand.N(300 * time.Millisecond)):
		case <-s.gateway.ended:
		}
		if !s.gateway.kill() {
			t.Fatalf("the gateway ended by itself: %v\n%s", s.gateway.err, s.gateway.stderr.String())
		}
		s.run(ctx)
	}
	stop()
	load.Wait()
	s.fatal(s.gateway.cmd.Process.Signal(syscall.SIGINT))
	<-s.gateway.ended
	if s.gateway.err != nil {
		t.Errorf("the gateway ended with %v\n%s", s.gateway.err, s.gateway.stderr.String())
	}
	if len(wrong) > 0 {
		t.Errorf("%d wrong answers, as %s", len(wrong), wrong[0])
	}
	logged := s.logged(ctx)
	missing := 0
	for id, what := range ids {
		if !logged[id] {
			if missing++; missing <= 5 {
				t.Errorf("request %s was answered and is not in the log: %s", id, what)
			}
		}
	}
	t.Logf("%d kills, %d answers, %d in the log, %d missing", kills, len(ids), len(logged), missing)
	s.must(s.do(ctx, "gateway", "log", "check", "--wallet", "hospital", "--database", s.database))
}

// logged gives the requests in the hospital's log, after making sure that each
// account's entries follow each other.
func (s *served) logged(ctx context.Context) map[string]bool {
	s.t.Helper()
	db, err := gateway.OpenDatabase(ctx, s.database)
	s.fatal(err)
	defer db.Close()
	requests := map[string]bool{}
	var (
		of   common.Address
		last consent.AuditHead
	)
	s.fatal(gateway.ReadLog(ctx, db, func(account common.Address, e consent.AuditEntry) error {
		if account != of {
			of, last = account, consent.AuditHead{}
		}
		if e.Number != last.Number+1 || e.Previous != last.Hash {
			return fmt.Errorf("entry %d of %s does not follow entry %d", e.Number, account, last.Number)
		}
		last = consent.AuditHead{Number: e.Number, Hash: e.Hash()}
		record, err := fhir.ReadAuditEvent(e.Event)
		requests[record.Request] = true
		return err
	}))
	return requests
}

// TestGatewayRevocation reads with a live token while the patient takes her grant
// back: no later than a second after the block, the token is worth nothing.
func TestGatewayRevocation(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := newServed(ctx, t)
	a := s.asker()
	if got, err := a.exchange(ctx, false); err != nil || got.status != http.StatusOK {
		t.Fatalf("exchange: %d %s, %v", got.status, got.body, err)
	}
	began := time.Now()
	type revoked struct {
		at  time.Time
		err error
	}
	done := make(chan revoked, 1)
	go func() {
		_, err := s.do(ctx, "revoke", "--wallet", "patient", "labs.json", "--yes")
		done <- revoked{time.Now(), err}
	}()
	var denied time.Time
	reads := 0
	for denied.IsZero() {
		got, err := a.ask(ctx, http.MethodGet, "/Observation/lab1", "")
		switch {
		case err != nil:
			t.Fatal(err)
		case got.status == http.StatusOK:
			reads++
		case got.status == http.StatusUnauthorized && bytes.Contains(got.body, []byte("Revoked")):
			denied = time.Now()
		default:
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	r := <-done
	s.fatal(r.err)
	if reads == 0 {
		t.Error("the token was worth nothing before")
	}
	late := denied.Sub(r.at)
	t.Logf("denied %v after the command began, %v after it had seen the revocation on chain; %d reads before", denied.Sub(began).Round(time.Millisecond), late.Round(time.Millisecond), reads)
	if late > time.Second {
		t.Errorf("the token was denied %v after the revocation was on chain", late)
	}
	if got, err := a.exchange(ctx, false); err != nil || got.status != http.StatusBadRequest || !bytes.Contains(got.body, []byte("Revoked")) {
		t.Errorf("a new token: %d %s, %v", got.status, got.body, err)
	}
}

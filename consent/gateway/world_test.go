package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-jose/go-jose/v4"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
)

// world is a data holder with a gateway, a patient who is enrolled, and a clinic,
// on a ledger and a clock that the test moves.
type world struct {
	testing.TB
	*Gateway
	server          *httptest.Server
	chain           *chain // the ledger, unless books is another
	books           Ledger
	anchor          func(root common.Hash)
	clock           *clock
	location        string
	patient, clinic *ecdsa.PrivateKey
	prover          *prover // of the clinic
}

const patientID = "eboni"

var testDomain = consent.Domain{ChainID: 1337, Registry: common.Address{9}}

type clock struct {
	sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.Lock()
	defer c.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.Lock()
	defer c.Unlock()
	c.now = c.now.Add(d)
}

// chain is a ledger that says what the test put into it.
type chain struct {
	sync.Mutex
	version  uint64
	age      uint64
	err      error
	anchored map[common.Hash]uint64
	memory   consent.Memory
	signed   map[consent.SignatureQuery]bool
	roots    []common.Hash // of the log
	asked    int
}

func (c *chain) change(do func()) {
	c.Lock()
	defer c.Unlock()
	do()
	c.version++
}

func (c *chain) State(_ context.Context, need consent.Entries) (consent.State, error) {
	c.Lock()
	defer c.Unlock()
	c.asked++
	s := consent.State{
		Block: c.version, Time: 1, Age: c.age, Anchored: make(map[common.Hash]uint64),
		Revoked: make(map[common.Hash]uint64), Retired: make(map[common.Address]uint64), Signed: make(map[consent.SignatureQuery]bool),
	}
	for _, root := range need.Anchors {
		s.Anchored[root] = c.anchored[root]
	}
	for _, revocation := range need.Revocations {
		s.Revoked[revocation] = 0
	}
	for _, account := range need.Accounts {
		s.Retired[account] = 0
	}
	for _, query := range need.Signatures {
		s.Signed[query] = c.signed[query]
	}
	return c.memory.State(s, s), c.err
}

func (c *chain) Version() uint64 {
	c.Lock()
	defer c.Unlock()
	return c.version
}

func (c *chain) Anchor(_ context.Context, root common.Hash) error {
	if c.err != nil {
		return c.err
	}
	c.change(func() { c.roots, c.anchored[root] = append(c.roots, root), 1 })
	return nil
}

func (c *chain) Reveal(_ context.Context, secret common.Hash) error {
	c.change(func() { c.memory.Reveal(secret, 1) })
	return nil
}

func (c *chain) Retire(_ context.Context, r consent.Retirement, signature []byte) (proven bool, err error) {
	c.change(func() { proven = c.memory.Retire(testDomain, r, signature, 1) })
	return proven, nil
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func address(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

var (
	testHolder = common.Address{7}
	testKey    = [32]byte{1}
)

func newWorld(t testing.TB, location string) *world {
	w := &world{
		TB: t, chain: &chain{version: 1, anchored: make(map[common.Hash]uint64), signed: make(map[consent.SignatureQuery]bool)},
		clock: &clock{now: time.Unix(1_800_000_000, 0)}, location: location, patient: newKey(t), clinic: newKey(t), prover: newProver(t),
	}
	w.books, w.anchor = w.chain, func(root common.Hash) { w.chain.change(func() { w.chain.anchored[root] = 1 }) }
	w.start(func(*Config) {})
	w.enroll(w.patient, patientID)
	return w
}

// start starts a gateway on the world's database.
func (w *world) start(configure func(*Config)) {
	w.Helper()
	db, err := OpenDatabase(context.Background(), w.location)
	if err != nil {
		w.Fatal(err)
	}
	w.open(db, configure)
}

func (w *world) open(db *database.DB, configure func(*Config)) {
	w.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) { w.Gateway.ServeHTTP(a, r) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	public, err := url.Parse(server.URL)
	if err != nil {
		w.Fatal(err)
	}
	config := Config{
		Domain: testDomain, Holder: testHolder, Public: public, Upstream: public.JoinPath("nowhere"), MaxAge: 60, AuditEvery: time.Minute,
		Log: slog.New(slog.DiscardHandler), Now: w.clock.Now,
	}
	configure(&config)
	g, err := New(config, db, w.books, testKey)
	if err != nil {
		w.Fatal(err)
	}
	w.Gateway, w.server = g, server
	w.Cleanup(func() {
		server.Close()
		g.Close()
		db.Close()
	})
}

func (w *world) enrollments() *Enrollments {
	return &Enrollments{DB: w.db, Domain: w.Domain, Holder: testHolder, State: w.books.State, MaxAge: 60, Now: w.clock.Now}
}

// proofOfAddress answers a challenge.
func (w *world) proofOfAddress(key *ecdsa.PrivateKey, challenge common.Hash) *consent.AccessDocument {
	return w.signed(key, &consent.AccessDocument{Domain: w.Domain, Access: consent.ProofOfAddress(testHolder, challenge, common.Hash{}, w.now())})
}

func (w *world) signed(key *ecdsa.PrivateKey, d *consent.AccessDocument) *consent.AccessDocument {
	w.Helper()
	var err error
	if d.Signature, err = consent.Sign(d.Access.Digest(d.Domain), key); err != nil {
		w.Fatal(err)
	}
	return d
}

func (w *world) enroll(key *ecdsa.PrivateKey, patient string) {
	w.Helper()
	challenge, _, err := w.enrollments().Challenge(context.Background())
	if err == nil {
		err = w.enrollments().Bind(context.Background(), address(key), patient, w.proofOfAddress(key, challenge))
	}
	if err != nil {
		w.Fatal(err)
	}
}

var laboratory = consent.Scope{Resource: "Observation", Interactions: consent.Read | consent.Search, Filter: "category=laboratory", Purpose: "TREAT"}

// ownLog is the scope of a patient's access to her own log.
var ownLog = consent.Scope{Resource: "AuditEvent", Interactions: consent.Read | consent.Search, Purpose: "PATRQT"}

// grant is a grant of the patient that is anchored.
func (w *world) grant(to common.Address, scopes ...consent.Scope) *consent.GrantDocument {
	return w.grantAs(w.patient, to, func(*consent.Grant) {}, scopes...)
}

func (w *world) grantAs(key *ecdsa.PrivateKey, to common.Address, change func(*consent.Grant), scopes ...consent.Scope) *consent.GrantDocument {
	w.Helper()
	var provisions []consent.Provision
	for _, scope := range scopes {
		provisions = append(provisions, consent.Provision{Scope: scope})
	}
	root, openings, err := consent.Disclose(rand.Reader, provisions)
	if err != nil {
		w.Fatal(err)
	}
	d := &consent.GrantDocument{Domain: w.Domain, Provisions: openings, Grant: consent.Grant{
		Grantor: address(key), Grantee: to, Provisions: root, NotBefore: w.now() - 10, Expires: w.now() + 3600,
		Revocations: []common.Hash{consent.Revocation(secretOf(root))},
	}}
	change(&d.Grant)
	if d.Signature, err = consent.Sign(d.Grant.ID(w.Domain), key); err != nil {
		w.Fatal(err)
	}
	w.anchor(d.Root())
	return d
}

// secretOf is the revocation secret of a test's grant.
func secretOf(provisions common.Hash) common.Hash {
	return common.Hash(crypto.Keccak256(provisions[:]))
}

// access is a fresh access under a grant, bound to the clinic's key.
func (w *world) access(d *consent.GrantDocument, change func(*consent.AccessDocument), scopes ...consent.Scope) *consent.AccessDocument {
	return w.accessAs(w.clinic, d, change, scopes...)
}

func (w *world) accessAs(key *ecdsa.PrivateKey, d *consent.GrantDocument, change func(*consent.AccessDocument), scopes ...consent.Scope) *consent.AccessDocument {
	w.Helper()
	links, err := d.Open(testHolder, scopes)
	if err != nil {
		w.Fatal(err)
	}
	a := &consent.AccessDocument{Domain: w.Domain, Links: links, Access: consent.Access{
		Grant: d.Grant.ID(w.Domain), Holder: testHolder, Scopes: slices.Clone(scopes), Binding: w.prover.binding, Time: w.now(),
	}}
	rand.Read(a.Access.Nonce[:])
	if change != nil {
		change(a)
	}
	return w.signed(key, a)
}

// prover makes proofs of a key, good ones or as a test wants them.
type prover struct {
	key     *ecdsa.PrivateKey
	jwk     json.RawMessage
	binding common.Hash
}

func newProver(t testing.TB) *prover {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.JSONWebKey{Key: &key.PublicKey}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	binding, err := consent.Binding(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return &prover{key, jwk, binding}
}

type members = map[string]any

// proof makes a proof for a request at the time now, whose header and claims the
// test may change.
func (p *prover) proof(method, at, token string, now time.Time, change func(header, claims members)) string {
	header := members{"typ": dpopType, "alg": "ES256", "jwk": p.jwk}
	claims := members{"jti": rand.Text(), "htm": method, "htu": at, "iat": now.Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	if change != nil {
		change(header, claims)
	}
	return p.sign(encoded(header) + "." + encoded(claims))
}

func (p *prover) sign(content string) string {
	digest := sha256.Sum256([]byte(content))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encoded(m members) string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// said is an answer of the gateway, as far as tests look at it.
type said struct {
	status      int
	header      http.Header
	body        []byte
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Token       string `json:"access_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	Patient     string `json:"patient"`
	Issue       []struct{ Diagnostics string }
}

// outcome is the stable code that the client is told.
func (s *said) outcome() string {
	if len(s.Issue) > 0 {
		return s.Issue[0].Diagnostics
	}
	return s.Description
}

func (w *world) do(r *http.Request) *said {
	w.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	s := &said{status: answer.StatusCode, header: answer.Header}
	if s.body, err = io.ReadAll(answer.Body); err != nil {
		w.Fatal(err)
	}
	json.Unmarshal(s.body, s)
	return s
}

func (w *world) request(method, path string, body io.Reader) *http.Request {
	w.Helper()
	r, err := http.NewRequest(method, w.server.URL+path, body)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// exchangeRequest asks for a token, with a form and headers that the test may
// change.
func (w *world) exchangeRequest(a *consent.AccessDocument, change func(url.Values, http.Header)) *http.Request {
	w.Helper()
	document, err := a.MarshalJSON()
	if err != nil {
		w.Fatal(err)
	}
	form := url.Values{"grant_type": {GrantType}, "subject_token_type": {SubjectTokenType}, "subject_token": {base64.RawURLEncoding.EncodeToString(document)}}
	header := http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"},
		"Dpop":         {w.prover.proof("POST", w.public+"/token", "", w.Now(), nil)},
	}
	if change != nil {
		change(form, header)
	}
	r := w.request("POST", "/token", strings.NewReader(form.Encode()))
	r.Header = header
	return r
}

func (w *world) exchange(a *consent.AccessDocument) *said {
	w.Helper()
	return w.do(w.exchangeRequest(a, nil))
}

// session gives a token of the clinic, on a fresh grant of the patient.
func (w *world) session() (token string, d *consent.GrantDocument) {
	w.Helper()
	d = w.grant(address(w.clinic), laboratory)
	return w.token(w.access(d, nil, laboratory)), d
}

func (w *world) token(a *consent.AccessDocument) string {
	w.Helper()
	s := w.exchange(a)
	if s.status != http.StatusOK {
		w.Fatalf("no token: %d %s", s.status, s.body)
	}
	return s.Token
}

// ask makes a request with a token and a good proof, both as the test may change
// them.
func (w *world) ask(token string, change func(*http.Request)) *said {
	w.Helper()
	return w.askAt("/audit", token, change)
}

func (w *world) askAt(path, token string, change func(*http.Request)) *said {
	w.Helper()
	r := w.request("GET", path, nil)
	at, _, _ := strings.Cut(w.public+path, "?")
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", w.prover.proof("GET", at, token, w.Now(), nil))
	if change != nil {
		change(r)
	}
	return w.do(r)
}

// counts requires that the token is taken: the clinic is let as far as to the
// scopes, which do not open the patient's log.
func (w *world) counts(token string) {
	w.Helper()
	if s := w.ask(token, nil); s.status != http.StatusForbidden || s.outcome() != "NotOwnLog" {
		w.Errorf("the token does not count: %d %s", s.status, s.body)
	}
}

// refused requires a status and a stable code.
func (w *world) refused(s *said, status int, code, outcome string) {
	w.Helper()
	if s.status != status || s.Error != code || s.outcome() != outcome {
		w.Errorf("got %d %s, want %d %s %s", s.status, bytes.TrimSpace(s.body), status, code, outcome)
	}
	if s.header.Get("Cache-Control") != "no-store" {
		w.Error("it may be cached")
	}
}

// denied requires that a token does not count, and why.
func (w *world) denied(s *said, outcome string) {
	w.Helper()
	w.refused(s, http.StatusUnauthorized, "", outcome)
	if challenge := s.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, proofAlgorithms) {
		w.Errorf("it is challenged by %q", challenge)
	}
}

// log gives the patient's log, checked.
func (w *world) log(account common.Address) []consent.AuditEntry {
	w.Helper()
	d, err := w.auditDocument(context.Background(), account, 1)
	if err != nil {
		w.Fatal(err)
	}
	if _, _, err := d.Check(consent.AuditHead{}); err != nil {
		w.Error(err)
	}
	return d.Entries
}

var errBroken = errors.New("broken")

package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/fhir"
)

// TestAttackAccess: accesses that open nothing here, each for its own reason.
func TestAttackAccess(t *testing.T) {
	thief := newKey(t)
	for _, c := range []struct {
		name, want string
		grant      func(*consent.Grant)
		access     func(*world, *consent.AccessDocument)
		after      func(*world, *consent.GrantDocument) // before it is exchanged
		by         bool                                 // signed by the thief
		raw        func(*consent.AccessDocument)        // after it is signed
	}{
		{name: "another holder", want: "WrongHolder", access: func(_ *world, a *consent.AccessDocument) { a.Access.Holder = common.Address{8} }},
		{name: "another chain", want: "WrongDomain", access: func(_ *world, a *consent.AccessDocument) { a.Domain.ChainID++ }},
		{name: "another registry", want: "WrongDomain", access: func(_ *world, a *consent.AccessDocument) { a.Domain.Registry[0]++ }},
		{name: "revoked", want: "Revoked", after: func(w *world, d *consent.GrantDocument) {
			w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
		}},
		{name: "not anchored", want: "NotAnchored", after: func(w *world, d *consent.GrantDocument) {
			w.chain.change(func() { delete(w.chain.anchored, d.Root()) })
		}},
		{name: "grantor retired", want: "Retired", after: func(w *world, _ *consent.GrantDocument) { w.retire(address(w.patient)) }},
		{name: "grantee retired", want: "Retired", after: func(w *world, _ *consent.GrantDocument) { w.retire(address(w.clinic)) }},
		{name: "expired", want: "Expired", grant: func(g *consent.Grant) { g.Expires = g.NotBefore + 10 }},
		{name: "not yet valid", want: "NotYetValid", grant: func(g *consent.Grant) { g.NotBefore += 11 }},
		{name: "enrollment ended", want: "UnknownPatient", after: func(w *world, _ *consent.GrantDocument) {
			w.enrollments().End(t.Context(), address(w.patient), "moved")
		}},
		{name: "no links", want: "UnknownPatient", access: func(_ *world, a *consent.AccessDocument) { a.Links = nil }},
		{name: "own grant of the thief", want: "UnknownPatient", grant: nil, access: func(w *world, a *consent.AccessDocument) {
			d := w.grantAs(thief, address(w.clinic), func(*consent.Grant) {}, laboratory)
			a.Links, _ = d.Open(testHolder, a.Access.Scopes)
			a.Access.Grant = d.Grant.ID(testDomain)
		}},
		{name: "wider filter", want: "NotPermitted", access: func(_ *world, a *consent.AccessDocument) { a.Access.Scopes[0].Filter = "" }},
		{name: "another type", want: "NotPermitted", access: func(_ *world, a *consent.AccessDocument) { a.Access.Scopes[0].Resource = "Condition" }},
		{name: "writing", want: "NotPermitted", access: func(_ *world, a *consent.AccessDocument) { a.Access.Scopes[0].Interactions |= consent.Update }},
		{name: "sensitive categories", want: "NotPermitted", access: func(_ *world, a *consent.AccessDocument) { a.Access.Scopes[0].Sensitivities = consent.HIV }},
		{name: "another purpose", want: "NotPermitted", access: func(_ *world, a *consent.AccessDocument) { a.Access.Scopes[0].Purpose = "HMARKT" }},
		{name: "one more scope", want: "NotPermitted", access: func(_ *world, a *consent.AccessDocument) {
			a.Access.Scopes = append(a.Access.Scopes, laboratory)
		}},
		{name: "no scope", want: "Malformed", access: func(_ *world, a *consent.AccessDocument) { a.Access.Scopes = nil }},
		{name: "altered provision", want: "NotPermitted", raw: func(a *consent.AccessDocument) { a.Links[0].Openings[0].Provision.Salt[0]++ }},
		{name: "altered grant", want: "NotAnchored", raw: func(a *consent.AccessDocument) { a.Links[0].Grant.Expires++ }},
		{name: "forged grant signature", want: "BadGrantSignature", raw: func(a *consent.AccessDocument) { a.Links[0].Signature[10]++ }},
		{name: "altered nonce", want: "BadAccessSignature", raw: func(a *consent.AccessDocument) { a.Access.Nonce[0]++ }},
		{name: "signed by a thief", want: "BadAccessSignature", by: true},
		{name: "another grant", want: "WrongGrant", access: func(_ *world, a *consent.AccessDocument) { a.Access.Grant[0]++ }},
		{name: "old", want: "Stale", access: func(_ *world, a *consent.AccessDocument) { a.Access.Time -= 301 }},
		{name: "of the future", want: "Stale", access: func(_ *world, a *consent.AccessDocument) { a.Access.Time += 301 }},
		{name: "key of another", want: "WrongBinding", access: func(_ *world, a *consent.AccessDocument) { a.Access.Binding[0]++ }},
		{name: "no key, shown with one", want: "WrongBinding", access: func(_ *world, a *consent.AccessDocument) { a.Access.Binding = common.Hash{} }},
		{name: "huge anchor proof", want: "Malformed", raw: func(a *consent.AccessDocument) { a.Links[0].AnchorProof = make([]common.Hash, 65) }},
		{name: "huge proof of a provision", want: "Malformed", raw: func(a *consent.AccessDocument) { a.Links[0].Openings[0].Proof = make([]common.Hash, 65) }},
		{name: "many links", want: "Malformed", raw: func(a *consent.AccessDocument) {
			for range 32 {
				a.Links = append(a.Links, a.Links[0])
			}
		}},
		{name: "many openings", want: "Malformed", raw: func(a *consent.AccessDocument) {
			for range 64 {
				a.Links[0].Openings = append(a.Links[0].Openings, a.Links[0].Openings[0])
			}
		}},
		{name: "link twice", want: "BrokenChain", raw: func(a *consent.AccessDocument) { a.Links = append(a.Links, a.Links[0]) }},
		{name: "many revocations", want: "Malformed", raw: func(a *consent.AccessDocument) { a.Links[0].Grant.Revocations = make([]common.Hash, 9) }},
		{name: "contract that does not sign", want: "BadAccessSignature", raw: func(a *consent.AccessDocument) { a.Signature = make([]byte, 4096) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, t.TempDir()+"/gateway.db")
			if c.grant == nil {
				c.grant = func(*consent.Grant) {}
			}
			d := w.grantAs(w.patient, address(w.clinic), c.grant, laboratory)
			key := w.clinic
			if c.by {
				key = thief
			}
			a := w.accessAs(key, d, func(a *consent.AccessDocument) {
				if c.access != nil {
					c.access(w, a)
				}
			}, laboratory)
			if c.raw != nil {
				c.raw(a)
			}
			if c.after != nil {
				c.after(w, d)
			}
			w.refused(w.exchange(a), http.StatusBadRequest, "invalid_grant", c.want)
			// It is in a log, of the patient where it names one who is enrolled.
			account := address(w.patient)
			if c.want == "UnknownPatient" || c.want == "WrongDomain" || c.want == "WrongHolder" {
				account = common.Address{}
			}
			entries := w.log(account)
			if len(entries) != 1 {
				t.Fatalf("%d entries", len(entries))
			}
			if r, err := fhir.ReadAuditEvent(entries[0].Event); err != nil || r.Outcome != c.want || r.Interaction != fhir.TokenDecision {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}

	t.Run("used before", func(t *testing.T) {
		databasetest.Each(t, func(t *testing.T, location string) {
			w := newWorld(t, location)
			a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
			w.token(a)
			w.refused(w.exchange(a), http.StatusBadRequest, "invalid_grant", "Replayed")
			w.start(func(*Config) {}) // another gateway, or the same after a restart
			w.refused(w.exchange(a), http.StatusBadRequest, "invalid_grant", "Replayed")
			w.clock.pass(301 * time.Second)
			if err := w.journal.forget(t.Context(), w.now()); err != nil {
				t.Fatal(err)
			}
			w.refused(w.exchange(a), http.StatusBadRequest, "invalid_grant", "Stale")
		})
	})
	t.Run("many at once", func(t *testing.T) {
		databasetest.Each(t, func(t *testing.T, location string) {
			w := newWorld(t, location)
			a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
			outcomes := make(chan string)
			for range 8 {
				request := w.exchangeRequest(a, nil)
				go func() { outcomes <- w.do(request).outcome() }()
			}
			count := make(map[string]int)
			for range 8 {
				count[<-outcomes]++
			}
			if count[""] != 1 || count["Replayed"] != 7 {
				t.Errorf("%v", count)
			}
		})
	})
	t.Run("room that it takes", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		d := w.grant(address(w.clinic), laboratory)
		stored := func() (bytes int) {
			t.Helper()
			if err := w.db.QueryRow("SELECT COALESCE(SUM(length(access)), 0) FROM gateway_sessions").Scan(&bytes); err != nil {
				t.Fatal(err)
			}
			for _, e := range w.log(address(w.patient)) {
				bytes += len(e.Event) // not packed, as not all packs as well as this
			}
			return bytes
		}
		// A permitted one, blown up with white space.
		text, err := w.access(d, nil, laboratory).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		padded := base64.RawURLEncoding.EncodeToString(append(text, bytes.Repeat([]byte(" "), 500_000)...))
		if s := w.do(w.exchangeRequest(w.access(d, nil, laboratory), func(f url.Values, _ http.Header) { f.Set("subject_token", padded) })); s.status != http.StatusOK {
			t.Fatalf("%d %s", s.status, s.body)
		}
		if n := stored(); n > 20_000 {
			t.Errorf("it takes %d bytes", n)
		}
		// Refused ones, as long as they can be written: anybody may have that written,
		// over and over, into the log of a patient whose account is known.
		for _, c := range []struct {
			name, code, want string
			entries          int
			change           func(*consent.AccessDocument)
			purpose          string // in the place of the one that was signed
		}{
			{name: "long filter", code: "invalid_grant", want: "Malformed", entries: 1, change: func(a *consent.AccessDocument) {
				a.Access.Scopes[0].Filter = "category=" + strings.Repeat("x", 700_000)
			}},
			{name: "long purpose", code: "invalid_request", want: "BadRequest", purpose: strings.Repeat("X", 300_000)},
			{name: "many purposes", code: "invalid_grant", want: "Malformed", entries: 1, change: func(a *consent.AccessDocument) {
				a.Access.Scopes = distinct(4_000)
			}},
			{name: "as many purposes as there may be", code: "invalid_grant", want: "NotPermitted", entries: 1, change: func(a *consent.AccessDocument) {
				a.Access.Scopes = distinct(consent.MaxScopes)
			}},
		} {
			before, entries := stored(), len(w.log(address(w.patient)))
			s := w.do(w.exchangeRequest(w.access(d, c.change, laboratory), func(f url.Values, _ http.Header) {
				if c.purpose != "" {
					text, _ := base64.RawURLEncoding.DecodeString(f.Get("subject_token"))
					f.Set("subject_token", base64.RawURLEncoding.EncodeToString(bytes.ReplaceAll(text, []byte("TREAT"), []byte(c.purpose))))
				}
			}))
			w.refused(s, http.StatusBadRequest, c.code, c.want)
			if n := stored() - before; n < 1000*c.entries || n > 8<<10*c.entries {
				t.Errorf("%s: it takes %d bytes", c.name, n)
			}
			if n := len(w.log(address(w.patient))) - entries; n != c.entries {
				t.Errorf("%s: %d entries", c.name, n)
			}
		}
	})
	t.Run("not evaluable", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		scope := laboratory
		scope.Filter = "value-string=x"
		w.refused(w.exchange(w.access(w.grant(address(w.clinic), scope), nil, scope)), http.StatusBadRequest, "invalid_grant", "Unsupported")
	})
	t.Run("bearer", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		a := w.access(w.grant(address(w.clinic), laboratory), func(a *consent.AccessDocument) { a.Access.Binding = common.Hash{} }, laboratory)
		w.refused(w.do(w.exchangeRequest(a, func(_ url.Values, h http.Header) { h.Del("DPoP") })), http.StatusBadRequest, "invalid_dpop_proof", "WantProof")
	})
	t.Run("stale chain", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
		w.chain.change(func() { w.chain.age = 61 })
		s := w.exchange(a)
		w.refused(s, http.StatusServiceUnavailable, "temporarily_unavailable", "ChainTooOld")
		if s.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
		w.chain.change(func() { w.chain.age = 60 })
		w.token(a) // nothing was used up
	})
	t.Run("chain that cannot be read", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
		w.chain.change(func() { w.chain.err = errBroken })
		w.refused(w.exchange(a), http.StatusServiceUnavailable, "temporarily_unavailable", "Unavailable")
	})
}

// distinct gives so many scopes, each for a purpose of its own.
func distinct(n int) []consent.Scope {
	all := make([]consent.Scope, n)
	for i := range all {
		all[i] = laboratory
		all[i].Purpose = fmt.Sprintf("%032d", i)
	}
	return all
}

func (w *world) retire(account common.Address) {
	w.chain.change(func() {
		if w.chain.memory.Retired == nil {
			w.chain.memory.Retired = make(map[common.Address]uint64)
		}
		w.chain.memory.Retired[account] = 1
	})
}

// TestAttackTokenRequest: requests for a token that are not what RFC 8693 and RFC
// 9449 have, and spend nothing.
func TestAttackTokenRequest(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
	document, err := a.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	subject := func(text string) func(url.Values, http.Header) {
		return func(f url.Values, _ http.Header) {
			f.Set("subject_token", base64.RawURLEncoding.EncodeToString([]byte(text)))
		}
	}
	with := func(name, value string) func(url.Values, http.Header) {
		return func(f url.Values, _ http.Header) { f.Set(name, value) }
	}
	twice := func(name string) func(url.Values, http.Header) {
		return func(f url.Values, _ http.Header) { f.Add(name, f.Get(name)) }
	}
	header := func(name string, values ...string) func(url.Values, http.Header) {
		return func(_ url.Values, h http.Header) { h[name] = values }
	}
	form := "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, code string
		status     int
		change     func(url.Values, http.Header)
	}{
		{"duplicate member", "invalid_request", 400, subject(strings.Replace(string(document), `"links":`, `"links":[],"links":`, 1))},
		{"unknown member", "invalid_request", 400, subject(strings.Replace(string(document), `"links":`, `"more":1,"links":`, 1))},
		{"member in capitals", "invalid_request", 400, subject(strings.Replace(string(document), `"links":`, `"Links":`, 1))},
		{"two documents", "invalid_request", 400, subject(string(document) + string(document))},
		{"a grant", "invalid_request", 400, subject(strings.Replace(string(document), "access/1", "grant/1", 1))},
		{"deep nesting", "invalid_request", 400, subject(strings.Repeat("[", 20000))},
		{"not UTF-8", "invalid_request", 400, subject("{\"assent\":\"\xff\"}")},
		{"byte order mark", "invalid_request", 400, subject("\ufeff" + string(document))},
		{"padded", "invalid_request", 400, with("subject_token", base64.URLEncoding.EncodeToString([]byte(" "+string(document)+" "))+"=")},
		{"line breaks", "invalid_request", 400, func(f url.Values, _ http.Header) { f.Set("subject_token", f.Get("subject_token")+"\n") }},
		{"no token", "invalid_request", 400, func(f url.Values, _ http.Header) { f.Del("subject_token") }},
		{"subject_token twice", "invalid_request", 400, twice("subject_token")},
		{"grant_type twice", "invalid_request", 400, twice("grant_type")},
		{"grant_type", "unsupported_grant_type", 400, with("grant_type", "client_credentials")},
		{"subject_token_type", "invalid_request", 400, with("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")},
		{"requested_token_type", "invalid_request", 400, with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")},
		{"scope", "invalid_scope", 400, with("scope", "patient/*.cruds")},
		{"actor", "invalid_request", 400, with("actor_token", "x")},
		{"audience", "invalid_target", 400, with("audience", "https://elsewhere.example")},
		{"JSON", "invalid_request", 400, header("Content-Type", "application/json")},
		{"two types", "invalid_request", 400, header("Content-Type", form, form)},
		{"no type", "invalid_request", 400, header("Content-Type")},
		{"compressed", "invalid_request", 400, header("Content-Encoding", "gzip")},
		{"oversize", "invalid_request", 413, with("subject_token", strings.Repeat("A", maxTokenRequest))},
		{"no proof", "invalid_dpop_proof", 400, header("Dpop")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.do(w.exchangeRequest(a, c.change))
			if s.status != c.status || s.Error != c.code || s.Token != "" {
				t.Errorf("got %d %s, want %d %s", s.status, s.body, c.status, c.code)
			}
		})
	}
	t.Run("in the query", func(t *testing.T) {
		r := w.exchangeRequest(a, nil)
		r.URL.RawQuery = "grant_type=" + url.QueryEscape(GrantType)
		w.refused(w.do(r), 400, "invalid_request", "BadRequest")
	})
	t.Run("by GET", func(t *testing.T) {
		r := w.exchangeRequest(a, nil)
		r.Method, r.Body, r.ContentLength = "GET", nil, 0
		w.refused(w.do(r), 405, "invalid_request", "BadRequest")
	})
	w.token(a) // nothing was used up
	if n := len(w.log(address(w.patient))) + len(w.log(common.Address{})); n != 1 {
		t.Errorf("%d entries in the log: only what is decided belongs there", n)
	}
}

// TestAttackProof: proofs of a key that do not hold for this request.
func TestAttackProof(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/gateway.db")
	token, _ := w.session()
	other := newProver(t)
	claim := func(name string, value any) func(*prover, string) string {
		return func(p *prover, at string) string {
			return p.proof("GET", at, token, w.Now(), func(_, claims members) {
				if claims[name] = value; value == nil {
					delete(claims, name)
				}
			})
		}
	}
	head := func(name string, value any) func(*prover, string) string {
		return func(p *prover, at string) string {
			return p.proof("GET", at, token, w.Now(), func(header, _ members) {
				if header[name] = value; value == nil {
					delete(header, name)
				}
			})
		}
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: w.prover.key})
	if err != nil {
		t.Fatal(err)
	}
	used := w.prover.proof("GET", w.public+"/audit", token, w.Now(), nil)
	w.ask(token, func(r *http.Request) { r.Header.Set("DPoP", used) })
	hash := sha256.Sum256([]byte("another"))
	for _, c := range []struct {
		name  string
		proof func(*prover, string) string
		code  string // empty: invalid_dpop_proof
	}{
		{"used before", func(*prover, string) string { return used }, ""},
		{"another URL", claim("htu", w.public+"/Observation"), ""},
		{"another host", claim("htu", "http://elsewhere.example/audit"), ""},
		{"path that leads here", claim("htu", w.public+"/x/../audit"), ""},
		{"user in the URL", claim("htu", strings.Replace(w.public, "//", "//a@", 1)+"/audit"), ""},
		{"another method", claim("htm", "POST"), ""},
		{"method in lower case", claim("htm", "get"), ""},
		{"another token", claim("ath", base64.RawURLEncoding.EncodeToString(hash[:])), ""},
		{"no token", claim("ath", nil), ""},
		{"no jti", claim("jti", nil), ""},
		{"huge jti", claim("jti", strings.Repeat("x", 257)), ""},
		{"jti a number", claim("jti", 7), ""},
		{"no iat", claim("iat", nil), ""},
		{"iat of no time", claim("iat", 1e300), ""},
		{"old", claim("iat", w.Now().Unix()-61), "use_dpop_nonce"},
		{"of the future", claim("iat", w.Now().Unix()+61), "use_dpop_nonce"},
		{"forged nonce", claim("nonce", base64.RawURLEncoding.EncodeToString(make([]byte, 40))), "use_dpop_nonce"},
		{"type", head("typ", "JWT"), ""},
		{"no type", head("typ", nil), ""},
		{"algorithm none", func(p *prover, at string) string {
			signed := head("alg", "none")(p, at)
			return signed[:strings.LastIndexByte(signed, '.')+1]
		}, ""},
		{"algorithm none, signed", head("alg", "none"), ""},
		{"algorithm of another key", head("alg", "EdDSA"), ""},
		{"algorithm ES384", head("alg", "ES384"), ""},
		{"HS256 with the public key", func(p *prover, at string) string {
			signed := head("alg", "HS256")(p, at)
			content := signed[:strings.LastIndexByte(signed, '.')]
			mac := hmac.New(sha256.New, p.jwk)
			mac.Write([]byte(content))
			return content + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}, ""},
		{"symmetric key", head("jwk", json.RawMessage(`{"kty":"oct","k":"AAAA"}`)), ""},
		{"private key", head("jwk", json.RawMessage(private)), ""},
		{"no key", head("jwk", nil), ""},
		{"key of another", func(_ *prover, at string) string { return other.proof("GET", at, token, w.Now(), nil) }, ""},
		{"another's signature", func(p *prover, at string) string {
			return other.proof("GET", at, token, w.Now(), func(header, _ members) { header["jwk"] = p.jwk })
		}, ""},
		{"RSA", func(_ *prover, at string) string {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			jwk, err := json.Marshal(jose.JSONWebKey{Key: &key.PublicKey})
			if err != nil {
				t.Fatal(err)
			}
			return other.proof("GET", at, token, w.Now(), func(header, _ members) { header["alg"], header["jwk"] = "RS256", json.RawMessage(jwk) })
		}, ""},
		{"critical", head("crit", []string{"b64"}), ""},
		{"altered claims", func(p *prover, at string) string {
			parts := strings.Split(p.proof("GET", at, token, w.Now(), nil), ".")
			parts[1] = encoded(members{"jti": "x", "htm": "GET", "htu": at, "iat": w.Now().Unix()})
			return strings.Join(parts, ".")
		}, ""},
		{"duplicate claim", func(p *prover, at string) string {
			h := sha256.Sum256([]byte(token))
			text := fmt.Sprintf(`{"jti":"y","htm":"GET","htm":"GET","htu":%q,"iat":%d,"ath":%q}`, at, w.Now().Unix(), base64.RawURLEncoding.EncodeToString(h[:]))
			return p.sign(encoded(members{"typ": dpopType, "alg": "ES256", "jwk": p.jwk}) + "." + base64.RawURLEncoding.EncodeToString([]byte(text)))
		}, ""},
		{"signature in ASN.1", func(p *prover, at string) string { return p.proof("GET", at, token, w.Now(), nil) + "AAAA" }, ""},
		{"two parts", func(*prover, string) string { return "e30.e30" }, ""},
		{"four parts", func(p *prover, at string) string { return "e30." + p.proof("GET", at, token, w.Now(), nil) }, ""},
		{"padding", func(p *prover, at string) string { return p.proof("GET", at, token, w.Now(), nil) + "=" }, ""},
		{"huge", func(p *prover, at string) string { return claim("more", strings.Repeat("x", maxProof))(p, at) }, ""},
		{"nothing", func(*prover, string) string { return "" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.ask(token, func(r *http.Request) { r.Header.Set("DPoP", c.proof(w.prover, w.public+"/audit")) })
			if c.code == "" {
				w.denied(s, "InvalidProof")
				if !strings.Contains(s.header.Get("WWW-Authenticate"), `error="invalid_dpop_proof"`) {
					t.Error(s.header)
				}
				return
			}
			w.denied(s, "WantNonce")
			nonce := s.header.Get("DPoP-Nonce")
			if nonce == "" || !strings.Contains(s.header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
				t.Error(s.header)
			}
			// With the nonce the client's clock does not matter, for a while.
			again := func() *said {
				return w.ask(token, func(r *http.Request) {
					r.Header.Set("DPoP", w.prover.proof("GET", w.public+"/audit", token, time.Unix(5, 0), func(_, claims members) { claims["nonce"] = nonce }))
				})
			}
			if s := again(); s.status != http.StatusForbidden {
				t.Errorf("%d %s", s.status, s.body)
			}
		})
	}
	t.Run("two proofs", func(t *testing.T) {
		w.denied(w.ask(token, func(r *http.Request) {
			r.Header.Add("DPoP", w.prover.proof("GET", w.public+"/audit", token, w.Now(), nil))
		}), "InvalidProof")
	})
	t.Run("no proof", func(t *testing.T) {
		w.denied(w.ask(token, func(r *http.Request) { r.Header.Del("DPoP") }), "InvalidProof")
	})
	t.Run("used at another gateway", func(t *testing.T) {
		databasetest.Each(t, func(t *testing.T, location string) {
			w := newWorld(t, location)
			token, _ := w.session()
			first, proof := w.Gateway, ""
			w.ask(token, func(r *http.Request) { proof = r.Header.Get("DPoP") })
			w.start(func(c *Config) { c.Public = first.Public })
			w.denied(w.ask(token, func(r *http.Request) { r.Header.Set("DPoP", proof) }), "InvalidProof")
			w.counts(token)
		})
	})
	t.Run("at the token endpoint", func(t *testing.T) {
		a := func() *consent.AccessDocument {
			return w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
		}
		var proof string
		w.token(a())
		w.do(w.exchangeRequest(a(), func(_ url.Values, h http.Header) { proof = h.Get("DPoP") }))
		w.refused(w.do(w.exchangeRequest(a(), func(_ url.Values, h http.Header) { h.Set("DPoP", proof) })), 400, "invalid_dpop_proof", "InvalidProof")
		s := w.do(w.exchangeRequest(a(), func(_ url.Values, h http.Header) {
			h.Set("DPoP", w.prover.proof("POST", w.public+"/token", "", w.Now().Add(-time.Hour), nil))
		}))
		w.refused(s, 400, "use_dpop_nonce", "WantNonce")
		nonce := s.header.Get("DPoP-Nonce")
		with := func(_ url.Values, h http.Header) {
			h.Set("DPoP", w.prover.proof("POST", w.public+"/token", "", w.Now(), func(_, claims members) { claims["nonce"] = nonce }))
		}
		if s := w.do(w.exchangeRequest(a(), with)); s.status != http.StatusOK {
			t.Errorf("%d %s", s.status, s.body)
		}
		w.clock.pass(nonceWindow + time.Second)
		w.refused(w.do(w.exchangeRequest(a(), with)), 400, "use_dpop_nonce", "WantNonce")
	})
	t.Run("Ed25519 is taken", func(t *testing.T) {
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := json.Marshal(jose.JSONWebKey{Key: public})
		if err != nil {
			t.Fatal(err)
		}
		binding, err := consent.Binding(jwk)
		if err != nil {
			t.Fatal(err)
		}
		content := encoded(members{"typ": dpopType, "alg": "EdDSA", "jwk": json.RawMessage(jwk)}) + "." +
			encoded(members{"jti": "ed", "htm": "POST", "htu": w.public + "/token", "iat": w.Now().Unix()})
		proof := content + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(content)))
		a := w.access(w.grant(address(w.clinic), laboratory), func(a *consent.AccessDocument) { a.Access.Binding = binding }, laboratory)
		if s := w.do(w.exchangeRequest(a, func(_ url.Values, h http.Header) { h.Set("DPoP", proof) })); s.status != http.StatusOK {
			t.Errorf("%d %s", s.status, s.body)
		}
	})
}

// TestAttackToken: tokens that do not count, or not any more.
func TestAttackToken(t *testing.T) {
	for _, c := range []struct {
		name, want string
		do         func(w *world, token string, d *consent.GrantDocument) *said
	}{
		{"shown as bearer", "WantProof", func(w *world, token string, _ *consent.GrantDocument) *said {
			return w.ask(token, func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Del("DPoP")
			})
		}},
		{"shown as bearer, with a proof", "WantProof", func(w *world, token string, _ *consent.GrantDocument) *said {
			return w.ask(token, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
		}},
		{"forged", "NoSession", func(w *world, token string, _ *consent.GrantDocument) *said {
			b, _ := base64.RawURLEncoding.DecodeString(token)
			b[1+sessionID]++ // a later end
			return w.ask(base64.RawURLEncoding.EncodeToString(b), nil)
		}},
		{"another session's id", "NoSession", func(w *world, token string, _ *consent.GrantDocument) *said {
			b, _ := base64.RawURLEncoding.DecodeString(token)
			b[1]++
			return w.ask(base64.RawURLEncoding.EncodeToString(b), nil)
		}},
		{"cut", "NoSession", func(w *world, token string, _ *consent.GrantDocument) *said { return w.ask(token[:len(token)-4], nil) }},
		{"nonsense", "NoSession", func(w *world, _ string, _ *consent.GrantDocument) *said { return w.ask("nonsense", nil) }},
		{"of another key", "NoSession", func(w *world, _ string, _ *consent.GrantDocument) *said {
			b := append([]byte{tokenVersion}, make([]byte, sessionID+8+sha256.Size)...)
			return w.ask(base64.RawURLEncoding.EncodeToString(b), nil)
		}},
		{"of another gateway", "NoSession", func(w *world, token string, _ *consent.GrantDocument) *said {
			other := newWorld(t, t.TempDir()+"/gateway.db")
			return other.ask(token, nil)
		}},
		{"of another holder with the same key and database", "NoSession", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.start(func(c *Config) { c.Holder = common.Address{8} })
			return w.ask(token, nil)
		}},
		{"over", "NoSession", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.clock.pass(300 * time.Second)
			return w.ask(token, nil)
		}},
		{"revoked", "Revoked", func(w *world, token string, d *consent.GrantDocument) *said {
			w.chain.Reveal(t.Context(), secretOf(d.Grant.Provisions))
			return w.ask(token, nil)
		}},
		{"grantor retired", "Retired", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.retire(address(w.patient))
			return w.ask(token, nil)
		}},
		{"grantee retired", "Retired", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.retire(address(w.clinic))
			return w.ask(token, nil)
		}},
		{"anchor lost in a reorganisation", "NotAnchored", func(w *world, token string, d *consent.GrantDocument) *said {
			w.chain.change(func() { delete(w.chain.anchored, d.Root()) })
			return w.ask(token, nil)
		}},
		{"patient not enrolled any more", "UnknownPatient", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.enrollments().End(t.Context(), address(w.patient), "moved")
			return w.ask(token, nil)
		}},
		{"patient bound to another record", "UnknownPatient", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.enrollments().End(t.Context(), address(w.patient), "mistaken")
			w.enroll(w.patient, "somebody-else")
			return w.ask(token, nil)
		}},
		{"stale chain", "ChainTooOld", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.chain.change(func() { w.chain.age = 61 })
			return w.ask(token, nil)
		}},
		{"chain that went stale without a word", "ChainTooOld", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.chain.Lock()
			w.chain.age = 61
			w.chain.Unlock()
			w.clock.pass(61 * time.Second)
			return w.ask(token, nil)
		}},
		{"chain that cannot be read", "Unavailable", func(w *world, token string, _ *consent.GrantDocument) *said {
			w.chain.change(func() { w.chain.err = errBroken })
			return w.ask(token, nil)
		}},
		{"in the query", "NoToken", func(w *world, token string, _ *consent.GrantDocument) *said {
			return w.askAt("/audit?access_token="+token, token, func(r *http.Request) { r.Header.Del("Authorization") })
		}},
		{"shown twice", "BadAuthorization", func(w *world, token string, _ *consent.GrantDocument) *said {
			return w.ask(token, func(r *http.Request) { r.Header.Add("Authorization", "DPoP "+token) })
		}},
		{"as a password", "BadAuthorization", func(w *world, token string, _ *consent.GrantDocument) *said {
			return w.ask(token, func(r *http.Request) { r.SetBasicAuth("DPoP", token) })
		}},
		{"another patient's log", "NotOwnLog", func(w *world, token string, _ *consent.GrantDocument) *said { return w.ask(token, nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, t.TempDir()+"/gateway.db")
			token, d := w.session()
			w.counts(token)
			before := len(w.log(address(w.patient)))
			s := c.do(w, token, d)
			want := map[string]int{"ChainTooOld": 503, "Unavailable": 503, "BadAuthorization": 400, "NotOwnLog": 403}[c.want]
			if want == 0 {
				w.denied(s, c.want)
			} else {
				w.refused(s, want, "", c.want)
			}
			// What is decided on a session is in its patient's log.
			decided := !slices.Contains([]string{"NoSession", "NoToken", "BadAuthorization", "Unavailable"}, c.want)
			if after := len(w.log(address(w.patient))); (after > before) != decided && c.name != "of another gateway" {
				t.Errorf("%d entries, %d before", after, before)
			}
			// What ended stays ended, and what was in the way may be put right.
			w.chain.change(func() { w.chain.age, w.chain.err, w.chain.memory = 0, nil, consent.Memory{} })
			w.chain.change(func() { w.chain.anchored[d.Root()] = 1 })
			ended := slices.Contains([]string{"Revoked", "Retired", "NotAnchored", "UnknownPatient"}, c.want)
			if again := w.ask(token, nil); ended {
				w.denied(again, "NoSession")
			} else if want == 503 {
				w.counts(token)
			}
		})
	}
	t.Run("expires with the grant", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		d := w.grantAs(w.patient, address(w.clinic), func(g *consent.Grant) { g.Expires = w.now() + 30 }, laboratory)
		s := w.exchange(w.access(d, nil, laboratory))
		if s.ExpiresIn != 30 {
			t.Errorf("it lasts %d s", s.ExpiresIn)
		}
		w.counts(s.Token)
		w.clock.pass(30 * time.Second)
		w.denied(w.ask(s.Token, nil), "NoSession")
	})
	t.Run("bearer where that is allowed", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		w.start(func(c *Config) { c.AllowBearer = true })
		a := w.access(w.grant(address(w.clinic), laboratory), func(a *consent.AccessDocument) { a.Access.Binding = common.Hash{} }, laboratory)
		s := w.do(w.exchangeRequest(a, func(_ url.Values, h http.Header) { h.Del("DPoP") }))
		if s.status != http.StatusOK || s.Type != "Bearer" {
			t.Fatalf("%d %s", s.status, s.body)
		}
		bearer := func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+s.Token)
			r.Header.Del("DPoP")
		}
		if got := w.ask(s.Token, bearer); got.outcome() != "NotOwnLog" {
			t.Errorf("%d %s", got.status, got.body)
		}
		w.denied(w.ask(s.Token, nil), "WantProof")
		bound, _ := w.session()
		w.denied(w.ask(bound, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+bound)
			r.Header.Del("DPoP")
		}), "WantProof")
		w.start(func(*Config) {}) // which does not allow it any more
		w.denied(w.ask(s.Token, bearer), "WantProof")
	})
}

// TestAttackLoad: bodies that are slow, and clients that ask again and again.
func TestAttackLoad(t *testing.T) {
	t.Run("slow body", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		w.bodyPatience = 50 * time.Millisecond
		connection, err := net.Dial("tcp", w.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprintf(connection, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nsubject_token=")
		connection.SetReadDeadline(time.Now().Add(10 * time.Second))
		answer := make([]byte, 12)
		if _, err := connection.Read(answer); err != nil || string(answer) != "HTTP/1.1 400" {
			t.Errorf("%q, %v", answer, err)
		}
	})
	t.Run("many slow bodies", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		for range exchanges + 10 {
			connection, err := net.Dial("tcp", w.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			fmt.Fprintf(connection, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nsubject_token=")
		}
		poll(t, func() error {
			w.places.Lock()
			defer w.places.Unlock()
			if w.places.taken != exchanges+10 {
				return fmt.Errorf("%d are there", w.places.taken)
			}
			return nil
		})
		began := time.Now()
		w.session()
		if took := time.Since(began); took > bodyPatience/2 {
			t.Errorf("others wait %s for them", took)
		}
	})
	t.Run("many long bodies", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		long := func() net.Conn {
			connection, err := net.Dial("tcp", w.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { connection.Close() })
			fmt.Fprintf(connection, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
				maxTokenRequest, strings.Repeat("x", shortExchange+1))
			return connection
		}
		for range longByOne {
			long()
		}
		poll(t, func() error {
			w.long.Lock()
			defer w.long.Unlock()
			if w.long.taken != longByOne {
				return fmt.Errorf("%d are there", w.long.taken)
			}
			return nil
		})
		one := long()
		one.SetReadDeadline(time.Now().Add(bodyPatience / 2))
		answer := make([]byte, 12)
		if _, err := io.ReadFull(one, answer); err != nil || string(answer) != "HTTP/1.1 503" {
			t.Errorf("one more long body of this client is read: %q, %v", answer, err)
		}
		// Others send long ones as before, and this client short ones.
		w.session()
		a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
		text, err := a.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		padded := base64.RawURLEncoding.EncodeToString(append(text, bytes.Repeat([]byte(" "), 2*shortExchange)...))
		for range longByOne + 1 {
			r := w.exchangeRequest(a, func(f url.Values, _ http.Header) { f.Set("subject_token", padded) })
			r.RemoteAddr = "198.51.100.7:1"
			answer := httptest.NewRecorder()
			if w.ServeHTTP(answer, r); answer.Code != http.StatusOK && !strings.Contains(answer.Body.String(), "Replayed") {
				t.Errorf("%d %s", answer.Code, answer.Body)
			}
		}
	})
	t.Run("no place to take an access apart", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		synctest.Test(t, func(t *testing.T) {
			w.exchanges = make(chan struct{}, 1)
			w.exchanges <- struct{}{}
			r := httptest.NewRequest("POST", "/token", strings.NewReader("%"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer := httptest.NewRecorder()
			go w.ServeHTTP(answer, r)
			synctest.Wait()
			if answer.Body.Len() > 0 {
				t.Errorf("it was taken apart without one: %s", answer.Body)
			}
			<-w.exchanges
			synctest.Wait()
			if !strings.Contains(answer.Body.String(), "BadRequest") {
				t.Errorf("%d %s", answer.Code, answer.Body)
			}
		})
	})
	t.Run("requests that two servers read in two ways", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		token, _ := w.session()
		head := "Host: x\r\nAuthorization: DPoP " + token + "\r\nDPoP: " + w.prover.proof("GET", w.public+"/audit", token, w.Now(), nil) + "\r\n"
		for name, text := range map[string]string{
			"two lengths":        "GET /audit HTTP/1.1\r\n" + head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
			"signed length":      "GET /audit HTTP/1.1\r\n" + head + "Content-Length: +5\r\n\r\nhello",
			"unknown encoding":   "GET /audit HTTP/1.1\r\n" + head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
			"encoding twice":     "GET /audit HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
			"space before colon": "GET /audit HTTP/1.1\r\n" + head + "X : y\r\n\r\n",
			"line feed in name":  "GET /audit HTTP/1.1\r\n" + head + "X\n: y\r\n\r\n",
			"null":               "GET /audit HTTP/1.1\r\n" + head + "X: \x00\r\n\r\n",
			"two hosts":          "GET /audit HTTP/1.1\r\n" + head + "Host: y\r\n\r\n",
			"huge header":        "GET /audit HTTP/1.1\r\n" + head + "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		} {
			connection, err := net.Dial("tcp", w.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			go io.WriteString(connection, text)
			connection.SetReadDeadline(time.Now().Add(10 * time.Second))
			answer := make([]byte, 13)
			if _, err := io.ReadFull(connection, answer); err != nil || string(answer[:10]) != "HTTP/1.1 4" && string(answer[:10]) != "HTTP/1.1 5" || string(answer[9:12]) == "403" {
				t.Errorf("%s: %q, %v", name, answer, err)
			}
			connection.Close()
		}
		if n := len(w.log(address(w.patient))); n != 1 {
			t.Errorf("%d entries: one of them was let in", n)
		}
	})
	t.Run("too many at once", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		health := w.request("GET", "/health", nil)
		for i := range concurrent {
			if !w.places.enter(fmt.Sprintf("192.0.2.%d", i%200)) {
				t.Fatalf("place %d is taken", i)
			}
		}
		w.refused(w.do(health), 503, "", "Busy")
		w.places.leave("192.0.2.0")
		if s := w.do(health); s.status != http.StatusOK {
			t.Errorf("%d %s", s.status, s.body)
		}
	})
	t.Run("too many of one", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		for i := range concurrentByOne {
			if !w.places.enter(fmt.Sprintf("2001:db8::%x", i)) {
				t.Fatalf("place %d is taken", i)
			}
		}
		if w.places.enter("2001:db8::ffff") || !w.places.enter("2001:db8:0:1::1") {
			t.Error("a client takes the places of others, or gets none for others")
		}
		w.places.leave("2001:db8::1")
		if !w.places.enter("2001:db8::ffff") {
			t.Error("a place is not given back")
		}
	})
	t.Run("guessing", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		w.limiters.Add("127.0.0.1", rate.NewLimiter(0, refusalBurst)) // which forgives nothing while the test runs
		a := w.access(w.grant(address(w.clinic), laboratory), nil, laboratory)
		busy := false
		for range refusalBurst + 1 {
			r := w.request("POST", "/token", nil)
			if s := w.do(r); s.status == http.StatusTooManyRequests {
				busy = s.header.Get("Retry-After") != ""
				break
			}
		}
		if !busy {
			t.Error("it goes on for ever")
		}
		w.refused(w.exchange(a), http.StatusTooManyRequests, "temporarily_unavailable", "TooManyRefusals")
	})
}

// hand hands secrets, or the retirement of an account, over directly.
func (w *world) hand(path string, body any) *said {
	w.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	r := w.request("POST", path, bytes.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	return w.do(r)
}

func (w *world) handSecrets(secrets ...common.Hash) *said {
	w.Helper()
	return w.hand("/revocations", members{"secrets": secrets})
}

func (w *world) handRetirement(key *ecdsa.PrivateKey) *said {
	w.Helper()
	r := consent.Retirement{Account: address(key)}
	signature, err := consent.Sign(r.Digest(testDomain), key)
	if err != nil {
		w.Fatal(err)
	}
	return w.hand("/retirements", members{"account": r.Account.Hex(), "signature": hexutil.Encode(signature)})
}

// TestAttackHandedOver: what is handed over directly counts only if it proves
// itself, and is posted only if it concerns this data holder.
func TestAttackHandedOver(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		token, d := w.session()
		post := func(path, body string) *said {
			r := w.request("POST", path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			return w.do(r)
		}
		secret := secretOf(d.Grant.Provisions)
		many := make([]common.Hash, consent.MaxRevocations+1)
		for i := range many {
			many[i][0] = byte(i)
		}
		for name, body := range map[string]string{
			"no JSON": "secret", "short": `{"secrets":["0x00"]}`, "capitals": `{"secrets":["0x` + strings.Repeat("AB", 32) + `"]}`,
			"unknown member": `{"secrets":[],"more":1}`, "duplicate member": `{"secrets":[],"secrets":[]}`,
			"large": `{"secrets":["` + strings.Repeat("0", maxHandedOver) + `"]}`,
		} {
			if s := post("/revocations", body); s.status != 400 && s.status != 413 {
				t.Errorf("%s: %d %s", name, s.status, s.body)
			}
		}
		w.refused(w.handSecrets(many...), 400, "", "BadRequest")
		// What is on chain is known to everybody: the answer must not tell where a grant
		// was used.
		unmoved := func(s *said) {
			t.Helper()
			if s.status != http.StatusNoContent || len(s.body) > 0 {
				t.Errorf("%d %s", s.status, s.body)
			}
		}
		version := w.chain.Version()
		unmoved(w.handSecrets(many[:consent.MaxRevocations]...))
		if w.chain.Version() != version {
			t.Error("secrets that concern nobody are posted")
		}
		w.counts(token)
		unmoved(w.handSecrets(common.Hash{1}, secret, secret, secret, secret, secret, secret, secret, secret))
		if w.chain.Version() != version+1 {
			t.Errorf("one secret is posted %d times", w.chain.Version()-version)
		}
		w.denied(w.ask(token, nil), "Revoked")

		token, _ = w.session()
		bad := `"signature":"0x` + strings.Repeat("17", 65) + `"}`
		w.refused(post("/retirements", fmt.Sprintf(`{"account":%q,`, address(w.clinic).Hex())+bad), 400, "", "BadSignature")
		stranger := newKey(t)
		version = w.chain.Version()
		unmoved(w.handRetirement(stranger))
		if w.chain.Version() != version {
			t.Error("the retirement of a stranger is posted")
		}
		w.refused(post("/retirements", fmt.Sprintf(`{"account":%q,`, address(stranger).Hex())+bad), 400, "", "BadSignature")
		w.counts(token)
		unmoved(w.handRetirement(w.clinic))
		w.denied(w.ask(token, nil), "Retired")
	})

	// What is handed over before anything was used here counts as well, and is posted
	// once a grant that is good but for it is shown.
	for _, c := range []struct {
		name, want string
		hand       func(*world, *consent.GrantDocument) *said
		known      bool // before
	}{
		{"retirement of the patient", "Retired", func(w *world, _ *consent.GrantDocument) *said { return w.handRetirement(w.patient) }, true},
		{"retirement of the clinic", "Retired", func(w *world, _ *consent.GrantDocument) *said { return w.handRetirement(w.clinic) }, false},
		{"secret", "Revoked", func(w *world, d *consent.GrantDocument) *said { return w.handSecrets(secretOf(d.Grant.Provisions)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, location string) {
				w := newWorld(t, location)
				d := w.grant(address(w.clinic), laboratory)
				version := w.chain.Version()
				if s := c.hand(w, d); s.status != http.StatusNoContent {
					t.Fatalf("%d %s", s.status, s.body)
				}
				if posted := w.chain.Version() != version; posted != c.known {
					t.Errorf("posted: %v", posted)
				}
				// A grant that is not good has nothing posted.
				forged := w.access(d, nil, laboratory)
				forged.Links[0].Signature = append(bytes.Clone(forged.Links[0].Signature[:64]), 29)
				if s := w.exchange(forged); s.status != http.StatusBadRequest || w.chain.Version() != version && !c.known {
					t.Errorf("%d %s", s.status, s.body)
				}
				w.start(func(*Config) {}) // another gateway, or the same one after a restart
				for range 2 {
					w.refused(w.exchange(w.access(d, nil, laboratory)), http.StatusBadRequest, "invalid_grant", c.want)
				}
				if w.chain.Version() != version+1 {
					t.Errorf("it is posted %d times", w.chain.Version()-version)
				}
				log := w.log(address(w.patient))
				if len(log) != 3 || bytes.Contains(log[1].Event, []byte(`"outcome":"0"`)) || !bytes.Contains(log[1].Event, []byte(`"outcomeDesc":"`+c.want)) {
					t.Errorf("the log has %d entries, the second is %s", len(log), log[1].Event)
				}
			})
		})
	}
	t.Run("while an access is decided", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		meanwhile := &meanwhile{chain: w.chain}
		w.books = meanwhile
		w.start(func(*Config) {})
		d := w.grant(address(w.clinic), laboratory)
		meanwhile.do = sync.OnceFunc(func() { w.handSecrets(secretOf(d.Grant.Provisions)) })
		w.refused(w.exchange(w.access(d, nil, laboratory)), http.StatusBadRequest, "invalid_grant", "Revoked")
	})
	t.Run("before the account is bound", func(t *testing.T) {
		databasetest.Each(t, func(t *testing.T, location string) {
			w := newWorld(t, location)
			stolen := newKey(t)
			w.handRetirement(stolen)
			challenge, _, err := w.enrollments().Challenge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.enrollments().Bind(t.Context(), address(stolen), "samira", w.proofOfAddress(stolen, challenge)); err == nil || !strings.Contains(err.Error(), "retired") {
				t.Errorf("a retired account is bound: %v", err)
			}
		})
	})
	t.Run("again and again", func(t *testing.T) {
		w := newWorld(t, t.TempDir()+"/gateway.db")
		_, d := w.session()
		for name, hand := range map[string]func() *said{
			"a secret that is known": func() *said { return w.handSecrets(secretOf(d.Grant.Provisions)) },
			"one that is not":        func() *said { return w.handSecrets(common.Hash{1}) },
			"a retirement":           func() *said { return w.handRetirement(w.clinic) },
		} {
			w.limiters.Add("127.0.0.1", rate.NewLimiter(0, 2))
			for range 2 {
				if s := hand(); s.status != http.StatusNoContent {
					t.Errorf("%s: %d %s", name, s.status, s.body)
				}
			}
			w.refused(hand(), http.StatusTooManyRequests, "", "TooManyRefusals")
		}
	})
	t.Run("a flood", func(t *testing.T) {
		databasetest.Each(t, func(t *testing.T, location string) {
			w := newWorld(t, location)
			w.handedOverRoom = 10
			hand := func(network string, n int) (all []handedOver) {
				t.Helper()
				for range n {
					h := handedOver{key: make([]byte, 32), proof: make([]byte, 32)}
					rand.Read(h.key)
					if known, err := w.take(t.Context(), []handedOver{h}, network); err != nil || len(known) > 0 {
						t.Fatal(known, err)
					}
					all = append(all, h)
					w.clock.pass(time.Second)
				}
				return all
			}
			kept := func(all []handedOver) (n int) {
				t.Helper()
				for _, h := range all {
					found, err := w.handedOver(t.Context(), []any{h.key})
					if err != nil {
						t.Fatal(err)
					}
					n += len(found)
				}
				return n
			}
			early, flood, late := hand("192.0.2.1", 2), hand("198.51.100.7", 300), hand("203.0.113.9", 1)
			if err := w.journal.forget(t.Context(), w.now()); err != nil {
				t.Fatal(err)
			}
			if err := w.makeRoom(t.Context()); err != nil {
				t.Fatal(err)
			}
			if kept(early) != 2 || kept(late) != 1 || kept(flood) != 7 || kept(flood[293:]) != 7 {
				t.Errorf("of others %d and %d are kept, of the flood %d, of its newest %d", kept(early), kept(late), kept(flood), kept(flood[293:]))
			}
			w.clock.pass(handedOverFor)
			if err := w.journal.forget(t.Context(), w.now()); err != nil || kept(early)+kept(late)+kept(flood) != 0 {
				t.Errorf("it is kept for ever: %v", err)
			}
		})
	})
}

// meanwhile is a ledger beside which something happens when it has answered.
type meanwhile struct {
	*chain
	do func()
}

func (m *meanwhile) State(ctx context.Context, need consent.Entries) (consent.State, error) {
	state, err := m.chain.State(ctx, need)
	if m.do != nil && len(need.Revocations) > 0 {
		m.do()
	}
	return state, err
}

// What one grant has in common with another is known until both have expired,
// however the one came before the other, and however often it stands in one.
func TestHandedOverWhileAnyGrantLasts(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		everything := common.Hash{0xe}
		for _, life := range []uint64{60, 3600, 30} {
			d := w.grantAs(w.patient, address(w.clinic), func(g *consent.Grant) {
				g.Expires = w.now() + life
				g.Revocations = append(g.Revocations, consent.Revocation(everything), consent.Revocation(everything))
			}, laboratory)
			w.token(w.access(d, nil, laboratory))
		}
		w.clock.pass(2 * time.Minute)
		if err := w.journal.forget(t.Context(), w.now()); err != nil {
			t.Fatal(err)
		}
		if s := w.handSecrets(everything); w.chain.memory.Revoked[consent.Revocation(everything)] == 0 {
			t.Errorf("%d %s", s.status, s.body)
		}
	})
}

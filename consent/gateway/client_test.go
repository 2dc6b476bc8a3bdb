package gateway_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-jose/go-jose/v4"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/gateway"
)

// stranger is a data holder that nobody knows, and that does what a test makes
// it do. It checks each proof as RFC 9449 has it.
type stranger struct {
	*testing.T
	*httptest.Server
	mux    *http.ServeMux
	nonce  string // wanted in each proof; empty: none
	tokens int    // given out so far
	jtis   map[string]bool
	answer func(w http.ResponseWriter, r *http.Request) // at /token; nil: a token
}

func newStranger(t *testing.T) *stranger {
	s := &stranger{T: t, mux: http.NewServeMux(), jtis: make(map[string]bool)}
	s.Server = httptest.NewServer(s.mux)
	t.Cleanup(s.Close)
	s.mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if s.answer != nil {
			s.answer(w, r)
			return
		}
		thumbprint, ok := s.proven(w, r, "")
		if !ok {
			return
		}
		document, err := base64.RawURLEncoding.DecodeString(r.FormValue("subject_token"))
		if err != nil {
			t.Error(err)
		}
		access, err := consent.ReadAccess(strings.NewReader(string(document)))
		if err != nil || access.Access.Binding != thumbprint {
			t.Errorf("the access is bound to %v, and the key is %v: %v", access, thumbprint, err)
		}
		if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || r.FormValue("subject_token_type") != "urn:assent:params:oauth:token-type:access-1" {
			t.Errorf("the form is %v", r.Form)
		}
		s.tokens++
		reply(w, http.StatusOK, fmt.Sprintf(`{"access_token":%q,"token_type":"DPoP","expires_in":300,"scope":"patient/Observation.rs","patient":"p1"}`, s.token()))
	})
	return s
}

func (s *stranger) token() string { return fmt.Sprintf("token-%d", s.tokens) }

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// proven checks the proof of a request, and gives the thumbprint of its key.
func (s *stranger) proven(w http.ResponseWriter, r *http.Request, token string) (common.Hash, bool) {
	jws, err := jose.ParseSignedCompact(r.Header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		s.Errorf("the proof %q: %v", r.Header.Get("DPoP"), err)
		return common.Hash{}, false
	}
	header := jws.Signatures[0].Protected
	payload, err := jws.Verify(header.JSONWebKey)
	if err != nil || header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" || !header.JSONWebKey.IsPublic() {
		s.Errorf("the proof's header is %v: %v", header, err)
	}
	var claims struct {
		JTI, HTM, HTU, ATH, Nonce string
		IAT                       int64
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		s.Error(err)
	}
	hash := ""
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		hash = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if claims.HTM != r.Method || claims.HTU != s.URL+r.URL.Path || claims.ATH != hash || claims.JTI == "" || s.jtis[claims.JTI] || time.Since(time.Unix(claims.IAT, 0)).Abs() > time.Minute {
		s.Errorf("the proof of %s %s claims %s", r.Method, r.URL, payload)
	}
	s.jtis[claims.JTI] = true
	if claims.Nonce != s.nonce {
		w.Header().Set("DPoP-Nonce", s.nonce)
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		status := http.StatusUnauthorized
		if token == "" {
			status = http.StatusBadRequest
		}
		reply(w, status, `{"error":"use_dpop_nonce"}`)
		return common.Hash{}, false
	}
	thumbprint, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		s.Error(err)
	}
	return common.Hash(thumbprint), true
}

// serve answers requests that carry the newest token and a proof.
func (s *stranger) serve(pattern string, answer func(w http.ResponseWriter, r *http.Request)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
		if token != s.token() {
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
			reply(w, http.StatusUnauthorized, `{}`)
			return
		}
		if _, ok := s.proven(w, r, token); ok {
			answer(w, r)
		}
	})
}

func (s *stranger) client() *gateway.Client {
	s.Helper()
	c, err := gateway.NewClient(s.URL)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	c.Access = func(_ context.Context, binding common.Hash) (*consent.AccessDocument, error) {
		return &consent.AccessDocument{Domain: consent.Domain{ChainID: 1}, Access: consent.Access{Holder: common.Address{1}, Binding: binding}}, nil
	}
	return c
}

func bundle(next string, entries ...string) string {
	link := ""
	if next != "" {
		link = fmt.Sprintf(`"link":[{"relation":"self","url":"x"},{"relation":"next","url":%q}],`, next)
	}
	return `{"resourceType":"Bundle",` + link + `"entry":[` + strings.Join(entries, ",") + `]}`
}

func observation(id string) string {
	return fmt.Sprintf(`{"resource":{"resourceType":"Observation","id":%q}}`, id)
}

// ids searches, and gives the ids that come.
func ids(t *testing.T, c *gateway.Client) ([]string, error) {
	var got []string
	_, err := c.Search(t.Context(), "Observation?category=laboratory", func(r gateway.Resource) error {
		got = append(got, r.Type+"/"+r.ID)
		return nil
	})
	return got, err
}

// TestClientPages: a search over pages, with all that may come between: proofs
// that need a nonce, a busy server, a token that ends.
func TestClientPages(t *testing.T) {
	s := newStranger(t)
	s.nonce = "first"
	busy := 2
	s.serve("GET /Observation", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "category=laboratory":
			if busy--; busy >= 0 {
				w.Header().Set("Retry-After", "0")
				reply(w, http.StatusServiceUnavailable, `{}`)
				return
			}
			reply(w, http.StatusOK, bundle(s.URL+"/Observation?page=2", observation("a"), `{"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}}`))
			s.tokens++ // the one it has does not count any more
			s.nonce = "second"
		case "page=2":
			reply(w, http.StatusOK, bundle("Observation?page=3", observation("b")))
		default:
			reply(w, http.StatusOK, bundle("", observation("c")))
		}
	})
	got, err := ids(t, s.client())
	if err != nil || strings.Join(got, " ") != "Observation/a Observation/b Observation/c" {
		t.Fatal(got, err)
	}
	if s.tokens != 3 {
		t.Errorf("%d tokens were asked for", s.tokens-1)
	}
}

// TestClientTakesLongAnswers: a Bundle may be longer than anything that is kept in
// memory, since it is read entry by entry. One entry may not.
func TestClientTakesLongAnswers(t *testing.T) {
	const entries, size = 9, 8 << 20 // 72 MiB
	text := strings.Repeat("x", size)
	entry := func(id string, texts int) string {
		return fmt.Sprintf(`{"resource":{"resourceType":"Observation","id":%q,"note":[{"text":"%s"}]}}`, id, strings.Repeat(text, texts))
	}
	s := newStranger(t)
	s.serve("GET /Patient/p1/$everything", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, `{"resourceType":"Bundle","type":"searchset"`)
		for i := range entries {
			io.WriteString(w, map[bool]string{true: `,"entry":[`, false: `,`}[i == 0]+entry(fmt.Sprint("o", i), 1))
		}
		io.WriteString(w, `],"link":[{"relation":"self","url":"x"}]}`)
	})
	s.serve("GET /Observation", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, bundle("", entry("a", 2))) })
	c := s.client()
	var got int
	pages, err := c.Everything(t.Context(), func(r gateway.Resource) error {
		if r.ID == fmt.Sprint("o", got) && len(r.JSON) > size {
			got++
		}
		return nil
	})
	if err != nil || pages != 1 || got != entries {
		t.Errorf("%d entries in %d pages, %v", got, pages, err)
	}
	if got, err := ids(t, c); err == nil || !strings.Contains(err.Error(), "longer than") || len(got) > 0 {
		t.Errorf("a long entry gives %v, %v", got, err)
	}
}

// TestClientTakesWhatCame: an answer that breaks off is an error, after what came
// of it.
func TestClientTakesWhatCame(t *testing.T) {
	s := newStranger(t)
	s.serve("GET /Observation", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		reply(w, http.StatusOK, `{"resourceType":"Bundle","entry":[`+observation("a")+`,`)
	})
	if got, err := ids(t, s.client()); len(got) != 1 || err == nil || !strings.Contains(err.Error(), "breaks off") {
		t.Errorf("%v, %v", got, err)
	}
}

// TestClientRefusesHostileAnswers: what a data holder may answer, and what
// becomes of it.
func TestClientRefusesHostileAnswers(t *testing.T) {
	for _, c := range []struct {
		name, want string
		answer     func(w http.ResponseWriter, r *http.Request)
	}{
		{"redirect", "302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }},
		{"page", "not with JSON", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, bundle(""))
		}},
		{"link to another host", "leads elsewhere", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, bundle("http://localhost.example/Observation?page=2"))
		}},
		{"link without TLS", "leads elsewhere", func(w http.ResponseWriter, r *http.Request) {
			reply(w, 200, bundle("https://"+r.Host+"/Observation?page=2"))
		}},
		{"link in a circle", "lead back", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, bundle("Observation?category=laboratory")) }},
		{"link with a user", "leads elsewhere", func(w http.ResponseWriter, r *http.Request) {
			reply(w, 200, bundle("http://user@"+r.Host+"/Observation?page=2"))
		}},
		{"no resource", "no FHIR resource", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, bundle("", `{"resource":[1]}`)) }},
		{"hostile type", "no FHIR resource", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, bundle("", `{"resource":{"resourceType":"Observation\u001b[2J","id":"a"}}`))
		}},
		{"id that is a path", "no FHIR resource", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, bundle("", observation("../x"))) }},
		{"hostile member", "strict JSON at byte", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, `{"resourceType":"Bundle","\u009b\u202e":1,"\u009b\u202e":2}`)
		}},
		{"hostile entry", "no entry of FHIR", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, bundle("", `{"search":"\u009b\u202e"}`))
		}},
		{"hostile link", "no links of FHIR", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, `{"resourceType":"Bundle","link":"\u009b\u202e"}`)
		}},
		{"no object", "no Bundle", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `[`+bundle("")+`]`) }},
		{"no bundle", "no Bundle", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"resourceType":"Patient"}`) }},
		{"cut", "breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			reply(w, 200, bundle("")[:10])
		}},
		{"long wait", "503", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			reply(w, 503, `{"error":"temporarily_unavailable","error_description":"ChainTooOld"}`)
		}},
		{"hostile reason", "“[31mRevoked ”", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 403, `{"resourceType":"OperationOutcome","issue":[{"code":"forbidden","diagnostics":"\u001b[31mRevoked\n"}]}`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStranger(t)
			s.serve("GET /Observation", c.answer)
			s.mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { t.Error("the client went elsewhere") })
			got, err := ids(t, s.client())
			if err == nil || len(got) > 0 || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\u009b\u202e") {
				t.Errorf("it gives %v, %v: want an error with %q", got, err, c.want)
			}
		})
	}
}

func TestClientRefusesHostileTokens(t *testing.T) {
	for name, answer := range map[string]string{
		"bearer": `{"access_token":"a","token_type":"Bearer"}`,
		"header": `{"access_token":"a\r\nX: y","token_type":"DPoP"}`,
		"none":   `{"token_type":"DPoP"}`,
		"text":   `token`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStranger(t)
			s.answer = func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, answer) }
			s.mux.HandleFunc("GET /Observation", func(_ http.ResponseWriter, r *http.Request) {
				t.Errorf("it shows %q", r.Header.Get("Authorization"))
			})
			if _, err := ids(t, s.client()); err == nil {
				t.Error("it takes it")
			}
		})
	}
}

// TestClientDenied: a denial is told from a failure, a token that never counts
// is asked for twice and no more.
func TestClientDenied(t *testing.T) {
	s := newStranger(t)
	s.answer = func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Revoked"}`)
	}
	_, err := ids(t, s.client())
	refused, ok := errors.AsType[*gateway.RefusedError](err)
	if !ok || !refused.Denied() || refused.Reason != "Revoked" || refused.ChainTooOld() {
		t.Errorf("a denial is %v", err)
	}
	s.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		reply(w, http.StatusServiceUnavailable, `{"error":"temporarily_unavailable","error_description":"ChainTooOld"}`)
	}
	_, err = ids(t, s.client())
	if refused, ok = errors.AsType[*gateway.RefusedError](err); !ok || refused.Denied() || !refused.ChainTooOld() {
		t.Errorf("a chain that is too old is %v", err)
	}

	never := newStranger(t)
	never.mux.HandleFunc("GET /Observation", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusUnauthorized, `{}`) })
	_, err = ids(t, never.client())
	if refused, ok = errors.AsType[*gateway.RefusedError](err); !ok || !refused.Denied() || never.tokens != 2 {
		t.Errorf("a token that never counts: %v, after %d tokens", err, never.tokens)
	}
}

// TestClientVerifiesTLS: a certificate that nobody vouches for is refused.
func TestClientVerifiesTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := gateway.NewClient(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.SMARTConfiguration(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("it says %v", err)
	}
}

// TestClientHostileCertificate: what a certificate says cannot move the cursor.
func TestClientHostileCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"evil\x1b[2J.example"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := gateway.NewClient(strings.Replace(server.URL, "127.0.0.1", "localhost", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, err = c.SMARTConfiguration(t.Context())
	if err == nil || !strings.Contains(err.Error(), "evil[2J.example") {
		t.Errorf("it says %q", err)
	}
}

func TestClientCancelled(t *testing.T) {
	s := newStranger(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.answer = func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.Header().Set("Retry-After", "20")
		reply(w, http.StatusTooManyRequests, `{}`)
	}
	if _, err := s.client().Person(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it says %v", err)
	}
}

package relay_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent/relay"
)

// Whatever is sent to a relay, it answers with what is the client's fault, and
// gives nobody's letter out.
func FuzzHandler(f *testing.F) {
	r := start(f, newLedger(), options(f.TempDir()+"/relay.db"))
	c := r.client(f)
	patient, attacker := published(f, c), published(f, c)
	const secret = "what only the patient may fetch"
	if err := c.Send(f.Context(), patient.Address(), []byte(secret)); err != nil {
		f.Fatal(err)
	}
	box := mailbox(f, c, patient)
	list, err := box.List(f.Context())
	if err != nil || len(list) != 1 {
		f.Fatal(list, err)
	}
	handler := r.Handler()
	for _, path := range []string{"/relay", "/anchor", "/anchor/" + common.Hash{1}.Hex() + "?wait=0", "/revoke", "/cards/" + patient.Address().Hex(),
		"/mail/" + attacker.Address().Hex(), "/mail/" + list[0].ID, "/mail", "/challenges", "/sessions/" + patient.Address().Hex(), "/health", "//", "/%2e%2e/mail"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			f.Add(method, path, "Bearer x", []byte(`{"root":"`+common.Hash{1}.Hex()+`"}`))
		}
	}
	f.Fuzz(func(t *testing.T, method, path, authorization string, body []byte) {
		if strings.Contains(path, "wait=") && !strings.HasSuffix(path, "wait=0") {
			t.Skip("it waits")
		}
		request, err := http.NewRequest(method, "http://relay.example", strings.NewReader(string(body)))
		if err != nil {
			t.Skip(err)
		}
		if request.URL, err = request.URL.Parse(path); err != nil {
			t.Skip(err)
		}
		request.RemoteAddr = "127.0.0.1:1"
		request.Header.Set("Authorization", authorization)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code >= 500 {
			t.Errorf("%s %s: HTTP status %d: %s", method, path, answer.Code, answer.Body)
		}
		if strings.Contains(answer.Body.String(), secret) {
			t.Errorf("%s %s gives a letter out", method, path)
		}
	})
}

func FuzzReadTokens(f *testing.F) {
	f.Add("# remark\n" + relay.TokenHash("x") + " # name\n")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := relay.ReadTokens(strings.NewReader(text))
		for token := range tokens {
			if err == nil && (len(token) != 64 || strings.ToLower(token) != token) {
				t.Errorf("%q is a hash", token)
			}
		}
	})
}

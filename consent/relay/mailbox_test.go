package relay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

func TestMailIsDelivered(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		r := start(t, newLedger(), options(location))
		c, ctx := r.client(t), t.Context()
		patient, clinic := published(t, c), published(t, c)

		if card, err := c.Card(ctx, patient.Address()); err != nil || card == nil || card.Card.Account != patient.Address() {
			t.Errorf("the card: %v, %v", card, err)
		}
		if card, err := c.Card(ctx, common.Address{9}); err != nil || card != nil {
			t.Errorf("a card that nobody published: %v, %v", card, err)
		}
		letters := [][]byte{[]byte("first"), []byte("second")}
		for _, sealed := range append(letters, letters[0]) { // the first one twice, as when an answer is lost
			if err := c.Send(ctx, patient.Address(), sealed); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Send(ctx, clinic.Address(), []byte("another's")); err != nil {
			t.Fatal(err)
		}
		box := mailbox(t, c, patient)
		list, err := box.List(ctx)
		if err != nil || len(list) != 2 {
			t.Fatalf("%v, %v", list, err)
		}
		got := map[string]bool{}
		for _, l := range list {
			sealed, err := box.Read(ctx, l.ID)
			if err != nil || l.Size != len(sealed) || l.Received == 0 {
				t.Errorf("%+v: %q, %v", l, sealed, err)
			}
			got[string(sealed)] = true
			for range 2 { // to take away what is gone is no error
				if err := box.Delete(ctx, l.ID); err != nil {
					t.Error(err)
				}
			}
			if _, err := box.Read(ctx, l.ID); !relay.IsNotFound(err) {
				t.Errorf("after it was taken away: %v", err)
			}
		}
		if !got["first"] || !got["second"] || len(got) != 2 {
			t.Errorf("got %v", got)
		}
		if list, err := box.List(ctx); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// New mail is told at once, also what another process took.
func TestEventsTellOfMail(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		chain := newLedger()
		first := start(t, chain, options(location))
		second := start(t, chain, options(location))
		c := first.client(t)
		patient := published(t, c)
		if err := c.Send(t.Context(), patient.Address(), []byte("there before")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		box := mailbox(t, c, patient)
		var told []string
		for id, err := range box.Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := box.Read(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, string(sealed))
			switch len(told) {
			case 1:
				err = c.Send(ctx, patient.Address(), []byte("by this one"))
			case 2:
				err = second.client(t).Send(ctx, patient.Address(), []byte("by the other"))
			case 3:
				cancel()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(told, ", "); got != "there before, by this one, by the other" {
			t.Errorf("told of %s", got)
		}
	})
}

// door is a relay seen by an attacker who can send whatever bytes she likes.
type door struct {
	t   *testing.T
	url string
}

func (d *door) ask(method, path string, body []byte, headers ...string) (status int, text string) {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.url, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.URL.Opaque = path // as it is, not cleaned
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	request.Host = request.Header.Get("Host")
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// session opens a session with a proof that tamper may change or make anew.
func (d *door) session(account common.Address, proof *consent.AccessDocument) (status int, token string) {
	d.t.Helper()
	text, err := json.Marshal(proof)
	if err != nil {
		d.t.Fatal(err)
	}
	status, answer := d.ask("POST", "/sessions/"+account.Hex(), text)
	var session struct{ Token string }
	if status == http.StatusCreated {
		if err := json.Unmarshal([]byte(answer), &session); err != nil {
			d.t.Fatal(err)
		}
	}
	return status, session.Token
}

func (d *door) challenge() common.Hash {
	d.t.Helper()
	status, answer := d.ask("POST", "/challenges", nil)
	var given struct{ Challenge common.Hash }
	if err := json.Unmarshal([]byte(answer), &given); err != nil || status != http.StatusCreated || given.Challenge == (common.Hash{}) {
		d.t.Fatal(status, answer, err)
	}
	return given.Challenge
}

func prove(t *testing.T, k *wallet.Key, d consent.Domain, holder common.Address, challenge, binding common.Hash, at time.Time) *consent.AccessDocument {
	t.Helper()
	proof, err := k.SignProofOfAddress(d, holder, challenge, binding, uint64(at.Unix()))
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// Each attack on a mailbox that has one letter is refused, and the letter is
// there for its owner, and for nobody else, afterwards.
func TestMailboxAttacks(t *testing.T) {
	const secret = "what only the patient may fetch"
	now := time.Now()
	clock := func() time.Time { return now }
	type scene struct {
		*door
		chain             *ledger
		relay             common.Address
		origin            common.Hash
		patient, attacker *wallet.Key
		letter            string // its id
		attackers         string // a session of the attacker's own
	}
	fresh := func(s *scene, k *wallet.Key) *consent.AccessDocument {
		return prove(s.t, k, domain, s.relay, s.challenge(), s.origin, now)
	}
	attacks := []struct {
		name string
		try  func(s *scene) (status int)
		want int
	}{
		{"reading another's mail with a session of one's own", func(s *scene) int {
			status, text := s.ask("GET", "/mail/"+s.letter, nil, "Authorization", "Bearer "+s.attackers)
			if strings.Contains(text, secret) {
				s.t.Error("it is given out")
			}
			return status
		}, http.StatusNotFound},
		{"deleting another's mail", func(s *scene) int { // whether there is such a letter is not told
			status, _ := s.ask("DELETE", "/mail/"+s.letter, nil, "Authorization", "Bearer "+s.attackers)
			return status
		}, http.StatusNoContent},
		{"deleting without a session", func(s *scene) int {
			status, _ := s.ask("DELETE", "/mail/"+s.letter, nil)
			return status
		}, http.StatusUnauthorized},
		{"listing without a session", func(s *scene) int { status, _ := s.ask("GET", "/mail", nil); return status }, http.StatusUnauthorized},
		{"events without a session", func(s *scene) int { status, _ := s.ask("GET", "/mail/events", nil); return status }, http.StatusUnauthorized},
		{"a made-up session", func(s *scene) int {
			status, _ := s.ask("GET", "/mail", nil, "Authorization", "Bearer "+rand.Text())
			return status
		}, http.StatusUnauthorized},
		{"the hash of a session, as the database has it", func(s *scene) int {
			status, _ := s.ask("GET", "/mail", nil, "Authorization", "Bearer "+relay.TokenHash(s.attackers))
			return status
		}, http.StatusUnauthorized},
		{"a proof replayed", func(s *scene) int {
			proof := fresh(s, s.patient)
			if status, _ := s.session(s.patient.Address(), proof); status != http.StatusCreated {
				s.t.Fatal(status)
			}
			status, _ := s.session(s.patient.Address(), proof)
			return status
		}, http.StatusUnauthorized},
		{"a challenge answered twice, by two proofs", func(s *scene) int {
			challenge := s.challenge()
			s.session(s.attacker.Address(), prove(s.t, s.attacker, domain, s.relay, challenge, s.origin, now))
			status, _ := s.session(s.patient.Address(), prove(s.t, s.patient, domain, s.relay, challenge, s.origin, now))
			return status
		}, http.StatusUnauthorized},
		{"a challenge that nobody gave out", func(s *scene) int {
			status, _ := s.session(s.patient.Address(), prove(s.t, s.patient, domain, s.relay, random(), s.origin, now))
			return status
		}, http.StatusUnauthorized},
		{"the owner's proof for another account", func(s *scene) int {
			status, _ := s.session(s.attacker.Address(), fresh(s, s.patient))
			return status
		}, http.StatusUnauthorized},
		{"the attacker's proof for the owner's account", func(s *scene) int {
			status, _ := s.session(s.patient.Address(), fresh(s, s.attacker))
			return status
		}, http.StatusUnauthorized},
		{"a proof for another relay's account", func(s *scene) int {
			status, _ := s.session(s.patient.Address(), prove(s.t, s.patient, domain, common.Address{0xbb}, s.challenge(), s.origin, now))
			return status
		}, http.StatusUnauthorized},
		{"a proof that a relay in between had the owner sign for its own URL", func(s *scene) int {
			status, _ := s.session(s.patient.Address(), prove(s.t, s.patient, domain, s.relay, s.challenge(), relay.Origin("https://relay.attacker.example"), now))
			return status
		}, http.StatusUnauthorized},
		{"a proof for another chain", func(s *scene) int {
			other := consent.Domain{ChainID: domain.ChainID + 1, Registry: domain.Registry}
			status, _ := s.session(s.patient.Address(), prove(s.t, s.patient, other, s.relay, s.challenge(), s.origin, now))
			return status
		}, http.StatusUnauthorized},
		{"a proof signed long before", func(s *scene) int {
			status, _ := s.session(s.patient.Address(), prove(s.t, s.patient, domain, s.relay, s.challenge(), s.origin, now.Add(-time.Hour)))
			return status
		}, http.StatusUnauthorized},
		{"a proof of a retired account", func(s *scene) int {
			s.chain.set(func() { s.chain.retired[s.patient.Address()] = 1 })
			defer s.chain.set(func() { delete(s.chain.retired, s.patient.Address()) })
			status, _ := s.session(s.patient.Address(), fresh(s, s.patient))
			return status
		}, http.StatusUnauthorized},
		{"a real access in place of a proof", func(s *scene) int {
			proof := fresh(s, s.patient)
			proof.Access.Scopes = []consent.Scope{{Resource: "Observation", Interactions: consent.Read, Purpose: "TREAT"}}
			status, _ := s.session(s.patient.Address(), proof)
			return status
		}, http.StatusUnauthorized},
		{"a proof with one bit changed", func(s *scene) int {
			proof := fresh(s, s.patient)
			proof.Signature[10] ^= 1
			status, _ := s.session(s.patient.Address(), proof)
			return status
		}, http.StatusUnauthorized},
		{"a forged card", func(s *scene) int {
			card := cardOf(s.t, s.attacker, now)
			card.Card.Account = s.patient.Address()
			text, _ := json.Marshal(card)
			status, _ := s.ask("PUT", "/cards/"+s.patient.Address().Hex(), text)
			return status
		}, http.StatusBadRequest},
		{"a card with the attacker's sealing", func(s *scene) int {
			card := cardOf(s.t, s.patient, now)
			card.Card.Sealing = cardOf(s.t, s.attacker, now).Card.Sealing
			text, _ := json.Marshal(card)
			status, _ := s.ask("PUT", "/cards/"+s.patient.Address().Hex(), text)
			return status
		}, http.StatusBadRequest},
		{"one's own card in another's place", func(s *scene) int {
			text, _ := json.Marshal(cardOf(s.t, s.attacker, now))
			status, _ := s.ask("PUT", "/cards/"+s.patient.Address().Hex(), text)
			return status
		}, http.StatusBadRequest},
		{"an older card", func(s *scene) int {
			text, _ := json.Marshal(cardOf(s.t, s.patient, now.Add(-time.Minute)))
			status, _ := s.ask("PUT", "/cards/"+s.patient.Address().Hex(), text)
			return status
		}, http.StatusConflict},
		{"a card from the future, which nothing would replace", func(s *scene) int {
			text, _ := json.Marshal(cardOf(s.t, s.patient, now.Add(time.Hour)))
			status, _ := s.ask("PUT", "/cards/"+s.patient.Address().Hex(), text)
			return status
		}, http.StatusBadRequest},
		{"a letter that is too long", func(s *scene) int {
			status, _ := s.ask("POST", "/mail/"+s.patient.Address().Hex(), make([]byte, relay.MaxLetter+1))
			return status
		}, http.StatusRequestEntityTooLarge},
		{"an empty letter", func(s *scene) int {
			status, _ := s.ask("POST", "/mail/"+s.patient.Address().Hex(), nil)
			return status
		}, http.StatusBadRequest},
		{"a letter to an account without a mailbox", func(s *scene) int {
			status, _ := s.ask("POST", "/mail/"+common.Address{7}.Hex(), []byte("x"))
			return status
		}, http.StatusNotFound},
		{"a flood of letters", func(s *scene) int {
			var status int
			for range 200 {
				if status, _ = s.ask("POST", "/mail/"+s.attacker.Address().Hex(), []byte(rand.Text())); status != http.StatusAccepted {
					break
				}
			}
			return status
		}, http.StatusTooManyRequests},
		{"a flood of made-up secrets, which somebody would pay for", func(s *scene) int {
			for range 10 {
				secrets := make([]common.Hash, relay.MaxSecrets)
				for i := range secrets {
					secrets[i] = random()
				}
				text, _ := json.Marshal(map[string][]common.Hash{"secrets": secrets})
				if status, _ := s.ask("POST", "/revoke", text); status != http.StatusAccepted {
					return status
				}
			}
			return 0
		}, http.StatusTooManyRequests},
		{"path tricks: up and down again", func(s *scene) int {
			status, text := s.ask("GET", "/mail/../mail/"+s.letter, nil, "Authorization", "Bearer "+s.attackers)
			if strings.Contains(text, secret) {
				s.t.Error("it is given out")
			}
			if status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect { // to the plain path, where the same is asked again
				status, _ = s.ask("GET", "/mail/"+s.letter, nil, "Authorization", "Bearer "+s.attackers)
			}
			return status
		}, http.StatusNotFound},
		{"path tricks: an encoded slash", func(s *scene) int {
			status, _ := s.ask("GET", "/mail/"+s.patient.Address().Hex()+"%2f"+s.letter, nil, "Authorization", "Bearer "+s.attackers)
			return status
		}, http.StatusNotFound},
		{"path tricks: an id in capitals", func(s *scene) int {
			status, _ := s.ask("GET", "/mail/"+strings.ToUpper(s.letter)+"%00", nil, "Authorization", "Bearer "+s.attackers)
			return status
		}, http.StatusNotFound},
		{"path tricks: SQL in an id", func(s *scene) int {
			status, _ := s.ask("GET", "/mail/'%20OR%20'1'='1", nil, "Authorization", "Bearer "+s.attackers)
			return status
		}, http.StatusNotFound},
		{"path tricks: SQL in an address", func(s *scene) int {
			status, _ := s.ask("GET", "/cards/'%20OR%20'1'='1", nil)
			return status
		}, http.StatusBadRequest},
		{"another method", func(s *scene) int {
			status, _ := s.ask("PATCH", "/mail/"+s.letter, []byte("x"), "Authorization", "Bearer "+s.attackers)
			return status
		}, http.StatusMethodNotAllowed},
		{"a body with one member more", func(s *scene) int {
			status, _ := s.ask("POST", "/anchor", []byte(`{"root":"`+random().Hex()+`","more":1}`))
			return status
		}, http.StatusBadRequest},
		{"a body with a member twice", func(s *scene) int {
			status, _ := s.ask("POST", "/anchor", []byte(`{"root":"`+random().Hex()+`","root":"`+random().Hex()+`"}`))
			return status
		}, http.StatusBadRequest},
		{"no root", func(s *scene) int {
			status, _ := s.ask("POST", "/anchor", []byte(`{}`))
			return status
		}, http.StatusBadRequest},
		// One byte more, which is read: of what is not, the answer may come too late
		// for who is still sending.
		{"a body beyond the limit", func(s *scene) int {
			status, _ := s.ask("POST", "/revoke", bytes.Repeat([]byte(" "), relay.MaxBody+1))
			return status
		}, http.StatusRequestEntityTooLarge},
	}
	for _, attack := range attacks {
		t.Run(strings.ReplaceAll(attack.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			chain := newLedger()
			o := options(t.TempDir() + "/relay.db")
			o.Now = clock
			r := start(t, chain, o)
			c := r.client(t)
			s := &scene{door: &door{t, r.url}, chain: chain, relay: o.Account, origin: relay.Origin(r.url), patient: newKey(t), attacker: published(t, c)}
			if err := c.PutCard(t.Context(), cardOf(t, s.patient, now)); err != nil {
				t.Fatal(err)
			}
			if err := c.Send(t.Context(), s.patient.Address(), []byte(secret)); err != nil {
				t.Fatal(err)
			}
			box := mailbox(t, c, s.patient)
			list, err := box.List(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			s.letter = list[0].ID
			status, token := s.session(s.attacker.Address(), fresh(s, s.attacker))
			if s.attackers = token; status != http.StatusCreated {
				t.Fatal(status)
			}

			if got := attack.try(s); got != attack.want {
				t.Errorf("HTTP status %d, want %d", got, attack.want)
			}

			if sealed, err := box.Read(t.Context(), s.letter); err != nil || string(sealed) != secret {
				t.Errorf("afterwards the owner reads %q, %v", sealed, err)
			}
			card, err := c.Card(t.Context(), s.patient.Address())
			if err != nil || !bytes.Equal(card.Card.Sealing, cardOf(t, s.patient, now).Card.Sealing) {
				t.Errorf("afterwards the card is another: %v", err)
			}
		})
	}
}

// A session ends by itself, and so do letters and challenges.
func TestWhatExpiresIsForgotten(t *testing.T) {
	var passed clock
	o := options(t.TempDir() + "/relay.db")
	o.Now = passed.now
	r := start(t, newLedger(), o)
	c := r.client(t)
	patient := published(t, c)
	if err := c.Send(t.Context(), patient.Address(), []byte("a letter")); err != nil {
		t.Fatal(err)
	}
	d := &door{t, r.url}
	late := d.challenge()
	box := mailbox(t, c, patient)
	passed.Add(int64(16 * time.Minute))
	_, err := box.List(t.Context())
	if said, _ := errors.AsType[*relay.StatusError](err); said == nil || said.Status != http.StatusUnauthorized {
		t.Errorf("a session of long ago: %v", err)
	}
	proof := prove(t, patient, domain, o.Account, late, relay.Origin(r.url), passed.now())
	if status, _ := d.session(patient.Address(), proof); status != http.StatusUnauthorized {
		t.Errorf("a challenge of long ago: %d", status)
	}
	r.stop() // the next one sweeps as it starts
	passed.Add(int64(31 * 24 * time.Hour))
	c = start(t, newLedger(), o).client(t)
	until(t, "the letter has expired", func() bool {
		box, err := c.Mailbox(t.Context(), patient.Address(), domain, proving(patient, domain, passed.now()))
		if err != nil {
			t.Fatal(err)
		}
		list, err := box.List(t.Context())
		return err == nil && len(list) == 0
	})
}

func TestAdmission(t *testing.T) {
	token := rand.Text()
	tokens, err := relay.ReadTokens(strings.NewReader("# wallets of the clinic\n" + relay.TokenHash(token) + " # cardiology\n\n"))
	if err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
	if _, err := relay.ReadTokens(strings.NewReader(token)); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("a token in place of its hash: %v", err)
	}
	for _, test := range []struct {
		name      string
		admission relay.Admission
		token     string
		want      bool
	}{
		{"open", relay.Admission{}, "", true},
		{"the token", relay.Admission{Tokens: tokens}, token, true},
		{"no token", relay.Admission{Tokens: tokens}, "", false},
		{"another token", relay.Admission{Tokens: tokens}, rand.Text(), false},
		{"the hash of the token", relay.Admission{Tokens: tokens}, relay.TokenHash(token), false},
		{"no tokens at all", relay.Admission{Tokens: map[string]bool{}}, "", false},
		{"the network", relay.Admission{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "", true},
		{"another network", relay.Admission{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "", false},
		{"another network with the token", relay.Admission{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Tokens: tokens}, token, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(t.TempDir() + "/relay.db")
			o.Admission = test.admission
			r := start(t, newLedger(), o)
			c, err := relay.NewClient(r.url, test.token)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Submit(t.Context(), random())
			said, _ := errors.AsType[*relay.StatusError](err)
			if test.want != (err == nil) || err != nil && (said == nil || said.Status != http.StatusForbidden) {
				t.Errorf("got %v", err)
			}
			if get(t, r.url+"/health") != http.StatusOK {
				t.Error("health needs no admission")
			}
		})
	}
}

func TestClientsAreLimited(t *testing.T) {
	o := options(t.TempDir() + "/relay.db")
	o.Rate = 1
	c := start(t, newLedger(), o).client(t)
	refused := 0
	for range 30 {
		if err := c.Submit(t.Context(), random()); err != nil {
			said, _ := errors.AsType[*relay.StatusError](err)
			if said == nil || said.Status != http.StatusTooManyRequests {
				t.Fatal(err)
			}
			refused++
		}
	}
	if refused < 10 || refused > 20 {
		t.Errorf("%d of 30 are refused, where 10 at once are allowed", refused)
	}
}

// A client believes no relay that is wrong about itself or about a proof.
func TestClientDistrustsItsRelay(t *testing.T) {
	r := start(t, newLedger(), options(t.TempDir()+"/relay.db"))
	k := newKey(t)
	c, err := relay.NewClient(strings.Replace(r.url, "127.0.0.1", "localhost", 1), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mailbox(t.Context(), k.Address(), domain, proving(k, domain, time.Now())); err == nil || !strings.Contains(err.Error(), "calls itself") {
		t.Errorf("a relay of another name: %v", err)
	}
	other := consent.Domain{ChainID: 2, Registry: domain.Registry}
	if _, err := r.client(t).Mailbox(t.Context(), k.Address(), other, proving(k, other, time.Now())); err == nil || !strings.Contains(err.Error(), "not the network in use") {
		t.Errorf("a relay of another chain: %v", err)
	}
	for _, url := range []string{"http://relay.example", "https://user:password@relay.example", "ftp://relay.example", "relay.example"} {
		if _, err := relay.NewClient(url, ""); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
	liar := httpServer(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case strings.HasPrefix(req.URL.Path, "/anchor/"):
			io.WriteString(w, `{"anchored":"`+random().Hex()+`","siblings":["`+random().Hex()+`"]}`)
		case strings.HasPrefix(req.URL.Path, "/cards/"):
			text, _ := json.Marshal(cardOf(t, k, time.Now()))
			w.Write(text)
		case req.URL.Path == "/relay":
			http.Redirect(w, req, r.url+"/relay", http.StatusFound)
		}
	})
	if c, err = relay.NewClient(liar, ""); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Anchored(t.Context(), random(), 0); err == nil {
		t.Errorf("siblings that lead elsewhere: %v", a)
	}
	if card, err := c.Card(t.Context(), common.Address{5}); err == nil {
		t.Errorf("another's card: %v", card)
	}
	if i, err := c.Information(t.Context()); err == nil {
		t.Errorf("a redirect is followed: %v", i)
	}
}

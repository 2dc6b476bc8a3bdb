package wallet_test

import (
	"bytes"
	"context"
	"crypto/hpke"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

// post is a relay as wallets use it.
type post struct{ *relay.Client }

func (p post) Mailbox(ctx context.Context, account common.Address, domain consent.Domain, prove wallet.Prove) (wallet.Mailbox, error) {
	m, err := p.Client.Mailbox(ctx, account, domain, prove)
	return postbox{m}, err
}

type postbox struct{ *relay.Mailbox }

func (p postbox) Read(ctx context.Context, id string) ([]byte, error) {
	sealed, err := p.Mailbox.Read(ctx, id)
	if relay.IsNotFound(err) {
		return nil, nil
	}
	return sealed, err
}

func (p postbox) Letters(ctx context.Context) (sealed []wallet.Sealed, err error) {
	letters, err := p.List(ctx)
	for _, l := range letters {
		sealed = append(sealed, wallet.Sealed{ID: l.ID, Received: l.Received})
	}
	return sealed, err
}

// payer posts for a relay.
type payer struct{ *chain }

func (p payer) Anchor(ctx context.Context, root common.Hash) error {
	_, err := p.chain.Anchor(ctx, root)
	return err
}

// relay serves a relay of the world's chain.
func (w *world) relay() post {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := relay.Open(ctx, payer{&chain{Client: w.client(1)}}, relay.Options{
		Database: filepath.Join(w.TempDir(), "relay.db"), Account: common.Address{0xaa}, URL: url, Interval: time.Second, Finality: 10,
		Domain: w.wallet(nil).Domain,
	})
	if err != nil {
		w.Fatal(err)
	}
	server := &http.Server{Handler: r.Handler()}
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { server.Serve(listener) })
	client, err := relay.NewClient(url, "")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		client.Close()
		server.Close()
		cancel()
		running.Wait()
		r.Close()
	})
	return post{client}
}

// A request goes to the patient by letter, and the grant comes back.
func TestLetters(t *testing.T) {
	w := newWorld(t)
	ctx, at := t.Context(), w.relay()
	patient, clinic := w.wallet(nil), w.wallet(nil)
	if _, err := patient.Card(ctx, "Patient"); err != nil {
		t.Fatal(err)
	}
	ask := func() *consent.RequestDocument {
		request, err := clinic.Request(ctx, consent.Request{
			Patient: patient.Signer.Address(), Scopes: []consent.Scope{w.scope("patient/Observation.rs")}, Holders: []common.Address{{7}},
			Expires: uint64(time.Now().Unix()) + 3600, Reason: "a reason",
		})
		if err != nil {
			t.Fatal(err)
		}
		return request
	}
	request := ask()
	letter := &consent.Letter{Requests: []consent.RequestDocument{*request}}
	if _, err := clinic.Send(ctx, nil, patient.Signer.Address(), letter); !errors.Is(err, wallet.ErrNoRelay) {
		t.Errorf("without a relay: %v", err)
	}
	if _, err := clinic.Send(ctx, []wallet.Relay{at}, patient.Signer.Address(), letter); err == nil || !strings.Contains(err.Error(), "no mailbox") {
		t.Errorf("to somebody without a mailbox: %v", err)
	}
	if received, err := patient.Collect(ctx, at); err != nil || len(received) != 0 { // opens the mailbox
		t.Fatal(received, err)
	}
	if url, err := clinic.Send(ctx, []wallet.Relay{at}, patient.Signer.Address(), letter); err != nil || url != at.URL() {
		t.Fatal(url, err)
	}
	received, err := patient.Collect(ctx, at)
	if err != nil || len(received) != 1 || received[0].Err != nil || received[0].Kind != consent.KindRequest || received[0].From != clinic.Signer.Address() {
		t.Fatalf("%+v, %v", received, err)
	}
	waiting, err := patient.Waiting(ctx)
	if err != nil || len(waiting) != 1 || waiting[0].ID != received[0].ID {
		t.Fatalf("%+v, %v", waiting, err)
	}
	draft := wallet.DraftFor(waiting[0].Document)
	grant, err := patient.Grant(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	if err := clinic.Publish(ctx, at); err != nil {
		t.Fatal(err)
	}
	answer := &consent.Letter{Grants: []consent.GrantDocument{*grant}, Covers: []consent.Cover{{Holders: []consent.Gateway{
		{Account: common.Address{7}, URL: "https://hospital.example"},
		{Account: common.Address{8}, URL: "https://elsewhere.example"}, // which the grant does not name
	}}}}
	if _, err := patient.Send(ctx, []wallet.Relay{at}, clinic.Signer.Address(), answer); err != nil {
		t.Fatal(err)
	}
	received, err = clinic.Collect(ctx, at)
	if err != nil || len(received) != 1 || received[0].Err != nil || received[0].ID != grant.ID() || received[0].Name != "Patient" {
		t.Fatalf("%+v, %v", received, err)
	}
	grants, err := clinic.Grants(ctx)
	if err != nil || len(grants) != 1 || grants[0].Verdict.Outcome != consent.Permit || grants[0].Given {
		t.Errorf("%+v, %v", grants, err)
	}
	cover, err := clinic.CoverOf(ctx, grant.ID())
	if err != nil || len(cover.Holders) != 1 || cover.Holders[0].URL != "https://hospital.example" {
		t.Errorf("%+v, %v", cover, err)
	}
	if holders, err := clinic.Holders(ctx); err != nil || len(holders) != 0 {
		t.Errorf("a letter changed the address book: %v, %v", holders, err)
	}
	// The same letter again brings nothing new, and what was answered stays so.
	if _, err := clinic.Send(ctx, []wallet.Relay{at}, patient.Signer.Address(), letter); err != nil {
		t.Fatal(err)
	}
	received, err = patient.Collect(ctx, at)
	if err != nil || len(received) != 1 || received[0].Err == nil {
		t.Errorf("%+v, %v", received, err)
	}
}

// meddled is a relay where something happens before each letter is read.
type meddled struct {
	post
	before func(box wallet.Mailbox, id string) error
}

func (m meddled) Mailbox(ctx context.Context, account common.Address, domain consent.Domain, prove wallet.Prove) (wallet.Mailbox, error) {
	box, err := m.post.Mailbox(ctx, account, domain, prove)
	return meddledBox{box, m.before}, err
}

type meddledBox struct {
	wallet.Mailbox
	before func(box wallet.Mailbox, id string) error
}

func (m meddledBox) Read(ctx context.Context, id string) ([]byte, error) {
	if err := m.before(m.Mailbox, id); err != nil {
		return nil, err
	}
	return m.Mailbox.Read(ctx, id)
}

// A letter that cannot be read stays, and keeps back none of the others; one that
// somebody else took meanwhile is nobody's trouble; and a relay that does not
// answer any more is asked no further.
func TestUnreadableLetter(t *testing.T) {
	w := newWorld(t)
	ctx, at := t.Context(), w.relay()
	patient, clinic := w.wallet(nil), w.wallet(nil)
	if _, err := patient.Collect(ctx, at); err != nil {
		t.Fatal(err)
	}
	card, err := clinic.Card(ctx, "Clinic")
	if err != nil {
		t.Fatal(err)
	}
	send := func(n int) {
		for range n {
			if _, err := clinic.Send(ctx, []wallet.Relay{at}, patient.Signer.Address(), &consent.Letter{Cards: []consent.CardDocument{*card}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(5)
	asked := 0
	received, err := patient.Collect(ctx, meddled{at, func(box wallet.Mailbox, id string) error {
		switch asked++; asked {
		case 1, 3:
			return fmt.Errorf("letter %d is not as it was taken", asked)
		case 2:
			return box.Delete(ctx, id)
		}
		return nil
	}})
	if asked != 5 || len(received) != 2 || received[0].Err != nil || err == nil || !strings.Contains(err.Error(), "2 of its letters cannot be fetched now, and stay: letter 1 is not as") {
		t.Errorf("asked for %d letters: %+v, %v", asked, received, err)
	}
	if received, err := patient.Collect(ctx, at); err != nil || len(received) != 2 {
		t.Errorf("of two that stayed: %+v, %v", received, err)
	}
	send(3)
	asked = 0
	lost := &net.OpError{Op: "read", Err: errors.New("connection reset")}
	if received, err := patient.Collect(ctx, meddled{at, func(wallet.Mailbox, string) error { asked++; return lost }}); !errors.Is(err, lost) || asked != 1 {
		t.Errorf("a relay that went away was asked for %d letters: %+v, %v", asked, received, err)
	}
}

// answering answers with a card of its own, whoever's is asked for.
type answering struct {
	post
	card *consent.CardDocument
}

func (a answering) Card(context.Context, common.Address) (*consent.CardDocument, error) {
	return a.card, nil
}

// Where a newer card is known than the one that a relay gives, a letter is
// sealed to that one; but to a retired account none is, whatever the relay gives.
func TestKnownCard(t *testing.T) {
	w := newWorld(t)
	ctx, at := t.Context(), w.relay()
	patient, clinic := w.wallet(nil), w.wallet(nil)
	if _, err := clinic.Collect(ctx, at); err != nil {
		t.Fatal(err)
	}
	older, err := at.Card(ctx, clinic.Signer.Address())
	if err != nil {
		t.Fatal(err)
	}
	clinic.Now = func() time.Time { return time.Now().Add(10 * time.Second) }
	newer, err := clinic.Card(ctx, "Clinic")
	if err != nil || newer.Card.Time <= older.Card.Time {
		t.Fatal(newer, err)
	}
	clinic.Now = time.Now
	if err := patient.Meet(ctx, newer); err != nil {
		t.Fatal(err)
	}
	forged := *older
	forged.Card.Time = 0
	card, err := patient.Card(ctx, "Patient")
	if err != nil {
		t.Fatal(err)
	}
	letter := &consent.Letter{Cards: []consent.CardDocument{*card}}
	cards := map[string]*consent.CardDocument{"an older card": older, "a forged card": &forged}
	for what, card := range cards {
		if _, err := patient.Send(ctx, []wallet.Relay{answering{at, card}}, clinic.Signer.Address(), letter); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if received, err := clinic.Collect(ctx, at); err != nil || len(received) != len(cards) || received[0].Err != nil {
		t.Errorf("%+v, %v", received, err)
	}
	if err := clinic.Retire(ctx); err != nil {
		t.Fatal(err)
	}
	cards["the newest card"] = newer
	for what, card := range cards {
		if _, err := patient.Send(ctx, []wallet.Relay{answering{at, card}}, clinic.Signer.Address(), letter); err == nil || !strings.Contains(err.Error(), "retired") {
			t.Errorf("%s of a retired account: %v", what, err)
		}
	}
}

// Whatever is done to a sealed letter, it opens for its recipient as it was, or
// not at all.
func TestSealedLetterAttacks(t *testing.T) {
	w := newWorld(t)
	patient, other := w.wallet(nil), w.wallet(nil)
	card, err := patient.Card(t.Context(), "Patient")
	if err != nil {
		t.Fatal(err)
	}
	othersCard, err := other.Card(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	letter := &consent.Letter{Cards: []consent.CardDocument{*othersCard}}
	sealed, err := wallet.Seal(&card.Card, letter)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := patient.Signer.OpenLetter(sealed); err != nil || len(opened.Cards) != 1 {
		t.Fatal(opened, err)
	}
	if bytes.Contains(sealed, []byte("Other")) || (len(sealed)-1137)%4096 != 0 {
		t.Errorf("a letter of %d bytes tells what is in it", len(sealed))
	}
	again, err := wallet.Seal(&card.Card, letter)
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("two letters with the same documents are the same, %v", err)
	}
	refused := func(what string, sealed []byte, by *wallet.Wallet) {
		t.Helper()
		if opened, err := by.Signer.OpenLetter(sealed); !errors.Is(err, wallet.ErrSealed) || opened != nil {
			t.Errorf("%s: %v, %v", what, opened, err)
		}
	}
	refused("opened by another", sealed, other)
	refused("nothing", nil, patient)
	refused("the form alone", sealed[:1137], patient)
	for range 300 {
		changed := slices.Clone(sealed)
		bit := rand.IntN(8 * len(changed))
		changed[bit/8] ^= 1 << (bit % 8)
		refused("one bit changed", changed, patient)
		refused("cut short", sealed[:rand.IntN(len(sealed))], patient)
	}
	refused("longer", append(slices.Clone(sealed), 0), patient)
	refused("the key of one with the text of another", append(slices.Clone(sealed[:1121]), again[1121:]...), patient)

	// Sealed to the patient's key, but addressed to somebody else.
	public, err := hpke.MLKEM768X25519().NewPublicKey(card.Card.Sealing[1:])
	if err != nil {
		t.Fatal(err)
	}
	text, err := letter.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	sealTo := func(info string, address common.Address, text []byte) []byte {
		key, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(info))
		if err != nil {
			t.Fatal(err)
		}
		ciphertext, err := sender.Seal(address[:], text)
		if err != nil {
			t.Fatal(err)
		}
		return append(append([]byte{1}, key...), ciphertext...)
	}
	mine := patient.Signer.Address()
	refused("addressed to another", sealTo("assent/seal/1", other.Signer.Address(), text), patient)
	refused("for another purpose", sealTo("assent/seal/2", mine, text), patient)
	if _, err := patient.Signer.OpenLetter(sealTo("assent/seal/1", mine, text)); err != nil {
		t.Errorf("by hand: %v", err)
	}
	for _, hostile := range []string{"", "{}", strings.Repeat("[", 100_000), `{"assent":"letter/1"}`, string(text) + string(text)} {
		if _, err := patient.Signer.OpenLetter(sealTo("assent/seal/1", mine, []byte(hostile))); err == nil {
			t.Errorf("%.30q is taken", hostile)
		}
	}
}

// What an attacker puts into a mailbox changes nothing, and is taken away.
func TestHostileLetters(t *testing.T) {
	w := newWorld(t)
	ctx, at := t.Context(), w.relay()
	patient, clinic, attacker := w.wallet(nil), w.wallet(nil), w.wallet(nil)
	if _, err := patient.Collect(ctx, at); err != nil {
		t.Fatal(err)
	}
	card, err := patient.Card(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	request := func(from *wallet.Wallet, patient common.Address) consent.RequestDocument {
		d, err := from.Request(ctx, consent.Request{
			Patient: patient, Scopes: []consent.Scope{w.scope("patient/Observation.rs")}, Holders: []common.Address{{}},
			Expires: uint64(time.Now().Unix()) + 3600,
		})
		if err != nil {
			t.Fatal(err)
		}
		return *d
	}
	forged := request(attacker, patient.Signer.Address())
	forged.Request.Requester = clinic.Signer.Address()
	notMine := w.grant(attacker, clinic, "patient/Observation.rs")
	altered := *w.grant(attacker, patient, "patient/Observation.rs")
	altered.Grant.Expires++
	letters := map[string]*consent.Letter{
		"a forged request":     {Requests: []consent.RequestDocument{forged}},
		"another's request":    {Requests: []consent.RequestDocument{request(attacker, clinic.Signer.Address())}},
		"another's grant":      {Grants: []consent.GrantDocument{*notMine}},
		"a grant with one bit": {Grants: []consent.GrantDocument{altered}},
	}
	want := 0
	for what, letter := range letters {
		sealed, err := wallet.Seal(&card.Card, letter)
		if err == nil {
			err = at.Send(ctx, card.Card.Account, sealed)
		}
		if err != nil {
			t.Fatal(what, err)
		}
		if what != "a grant with one bit" { // as if it were not anchored yet
			want++
		}
	}
	if err := at.Send(ctx, card.Card.Account, []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	want++
	received, err := patient.Collect(ctx, at)
	if err == nil || !strings.Contains(err.Error(), "not anchored") || len(received) != want {
		t.Errorf("%d of %d, %v", len(received), want, err)
	}
	for _, r := range received {
		if r.Err == nil || r.From != (common.Address{}) || r.Name != "" {
			t.Errorf("taken, or from somebody: %+v", r)
		}
	}
	if waiting, err := patient.Waiting(ctx); err != nil || len(waiting) != 0 {
		t.Errorf("%v, %v", waiting, err)
	}
	if grants, err := patient.Grants(ctx); err != nil || len(grants) != 0 {
		t.Errorf("%v, %v", grants, err)
	}
	if received, _ := patient.Collect(ctx, at); len(received) != 0 {
		t.Errorf("some are still there: %+v", received)
	}
	patient.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	if received, err := patient.Collect(ctx, at); err == nil {
		t.Errorf("with a clock that is a day ahead the proof of address is accepted: %+v", received)
	}
}

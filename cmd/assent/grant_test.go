package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

// A grant that cannot be sent is printed, with the note that goes with it: it
// counts. Where it is clear beforehand that it cannot be, nothing is signed.
func TestGrantThatCannotBeSent(t *testing.T) {
	var printed bytes.Buffer
	a := &app{stdout: &printed, stderr: io.Discard, now: time.Now}
	c := deployed(t, a)
	newWallet := walletsOn(t, c, t.TempDir())
	patient, clinic := newWallet(), newWallet()
	hospital := consent.Gateway{Account: common.Address{7}, URL: "https://fhir.hospital.example"}
	if err := patient.AddHolder(t.Context(), hospital); err != nil {
		t.Fatal(err)
	}
	cover := filepath.Join(t.TempDir(), "cover.json")
	grant := func() error {
		o := &grantOptions{consentOptions: consentOptions{app: a, yes: true, send: true}, cover: cover}
		now := uint64(time.Now().Unix())
		return o.ask(t.Context(), patient, &wallet.Draft{
			Grantee: clinic.Signer.Address(), NotBefore: now, Expires: now + 3600,
			Provisions: wallet.Provide([]consent.Scope{{Resource: "Observation", Interactions: consent.Read, Purpose: "TREAT"}}, []common.Address{hospital.Account}),
		})
	}

	if err := grant(); !errors.Is(err, wallet.ErrNoRelay) {
		t.Errorf("without a relay: %v", err)
	}
	if grants, err := patient.Grants(t.Context()); err != nil || len(grants) != 0 || printed.Len() > 0 {
		t.Errorf("without a relay something was signed: %v, %v, %s", grants, err, printed.String())
	}

	gone, err := relay.NewClient("http://127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	c.relays = []networkRelay{{gone, relayPatience}}
	if err := grant(); err == nil || !strings.Contains(err.Error(), "the letter is not sent") {
		t.Errorf("with the relay away: %v", err)
	}
	grants, err := patient.Grants(t.Context())
	if err != nil || len(grants) != 1 || grants[0].Verdict.Outcome != consent.Permit {
		t.Fatalf("%+v, %v", grants, err)
	}
	if document, err := consent.ReadGrant(&printed); err != nil || document.ID() != grants[0].Document.ID() {
		t.Errorf("the grant was not printed: %v", err)
	}
	file, err := os.Open(cover)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if note, err := consent.ReadCover(file); err != nil || len(note.Holders) != 1 || note.Holders[0].URL != hospital.URL {
		t.Errorf("the note: %+v, %v", note, err)
	}
}

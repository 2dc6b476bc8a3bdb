package wallet_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

func TestHolders(t *testing.T) {
	w := newWorld(t)
	of := w.wallet(nil)
	hospital := consent.Gateway{Account: common.Address{1}, Name: "Hospital", URL: "https://fhir.hospital.example"}
	lab := consent.Gateway{Account: common.Address{2}, URL: "http://127.0.0.1:8443"}
	for _, h := range []consent.Gateway{hospital, lab} {
		if err := of.AddHolder(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	hospital.URL = "https://hospital.example/fhir"
	if err := of.AddHolder(t.Context(), hospital); err != nil {
		t.Fatal(err)
	}
	if err := of.AddHolder(t.Context(), consent.Gateway{Account: common.Address{3}, URL: "http://hospital.example"}); err == nil {
		t.Error("a URL without TLS is kept")
	}
	list := func() []consent.Gateway {
		holders, err := of.Holders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return holders
	}
	if diff := cmp.Diff([]consent.Gateway{hospital, lab}, list()); diff != "" {
		t.Error(diff)
	}

	// A note passes on those that a grant names, and no others.
	note, err := of.Cover(t.Context(), []common.Address{{}, lab.Account})
	if err != nil || len(note.Holders) != 1 || note.Holders[0] != lab {
		t.Error(note, err)
	}
	if _, err := of.Cover(t.Context(), []common.Address{{3}}); !errors.Is(err, wallet.ErrNoHolder) {
		t.Error("a data holder that nobody knows:", err)
	}
	if note, err := of.Cover(t.Context(), []common.Address{{}}); err == nil {
		t.Error("of no data holder:", note)
	}

	// It is of this network and this wallet, and the file does not show it.
	elsewhere := *of
	elsewhere.Domain.ChainID++
	if holders, err := elsewhere.Holders(t.Context()); err != nil || len(holders) != 0 {
		t.Error("on another network:", holders, err)
	}
	if holders, err := w.wallet(nil).Holders(t.Context()); err != nil || len(holders) != 0 {
		t.Error("in another wallet:", holders, err)
	}
	for _, file := range []string{w.path, w.path + "-wal"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("hospital")) || bytes.Contains(text, []byte(strings.ToLower(hospital.Account.Hex()))) {
			t.Errorf("%s shows the address book", file)
		}
	}

	if err := of.RemoveHolder(t.Context(), hospital.Account); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]consent.Gateway{lab}, list()); diff != "" {
		t.Error(diff)
	}
	if err := of.RemoveHolder(t.Context(), hospital.Account); !errors.Is(err, wallet.ErrNotFound) {
		t.Error("removed twice:", err)
	}
}

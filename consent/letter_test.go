package consent_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"

	"github.com/assent-wallet/assent/consent"
)

func TestLetter(t *testing.T) {
	domain := consent.Domain{ChainID: 1337, Registry: common.Address{9}}
	letter := consent.Letter{
		Requests: []consent.RequestDocument{{
			Domain: domain, Request: consent.Request{Requester: common.Address{1}, Patient: common.Address{2}, Reason: "a reason", Scopes: []consent.Scope{{Resource: "Observation", Interactions: consent.Read, Purpose: "TREAT"}}},
			Card: consent.CardDocument{Domain: domain, Card: consent.Card{Account: common.Address{1}, Name: "clinic"}},
		}},
		Grants: []consent.GrantDocument{{Domain: domain, Grant: consent.Grant{Grantor: common.Address{2}, Revocations: []common.Hash{{5}}}, Signature: []byte{1, 2}}},
		Covers: []consent.Cover{{Holders: []consent.Gateway{{Account: common.Address{3}, Name: "laboratory", URL: "https://laboratory.example"}}}},
		Cards:  []consent.CardDocument{{Domain: domain, Card: consent.Card{Account: common.Address{2}, Name: "patient"}, Signature: []byte{3}}},
	}
	text, err := letter.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	read, err := consent.ReadLetter(bytes.NewReader(append(text, bytes.Repeat([]byte(" "), 1000)...)))
	if err != nil {
		t.Fatal(err)
	}
	again, err := read.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(again)); diff != "" {
		t.Error(diff)
	}
	if len(read.Requests) != 1 || len(read.Grants) != 1 || len(read.Covers) != 1 || len(read.Cards) != 1 || read.Requests[0].Request.Reason != "a reason" {
		t.Errorf("read %+v", read)
	}
	for _, c := range []struct{ name, text, want string }{
		{"padding that is none", string(text) + "x", "at start of value"},
		{"a second letter", string(text) + string(text), "after the document"},
		{"another kind", strings.Replace(string(text), "letter/1", "letter/2", 1), "letter/1"},
		{"an unknown member", strings.Replace(string(text), `"cards"`, `"more":1,"cards"`, 1), "unknown member"},
		{"an unknown member within", strings.Replace(string(text), `"reason"`, `"more":1,"reason"`, 1), "unknown member"},
		{"a missing member", `{"assent":"letter/1","requests":[],"grants":[],"cards":[]}`, "missing"},
		{"no documents", `{"assent":"letter/1","requests":[],"grants":[],"covers":[],"cards":[]}`, "0 documents"},
	} {
		if _, err := consent.ReadLetter(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	letter.Cards = make([]consent.CardDocument, consent.MaxEnclosed)
	if _, err := letter.MarshalJSON(); err == nil {
		t.Error("too many documents are written")
	}
}

package consent

import (
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func TestRequestCounts(t *testing.T) {
	clinic := testKey("clinic")
	scopes := func(n int) []Scope {
		many := make([]Scope, n)
		for i := range many {
			many[i] = laboratoryScope
		}
		return many
	}
	for _, c := range []struct {
		name   string
		change func(*RequestDocument, *Reception) // before the clinic signs again
		want   string                             // of the error; empty: it counts
	}{
		{"as it is", func(*RequestDocument, *Reception) {}, ""},
		{"another chain", func(_ *RequestDocument, r *Reception) { r.Domain.ChainID++ }, "another chain"},
		{"another patient", func(_ *RequestDocument, r *Reception) { r.Account = laboratory }, "to the patient"},
		{"in its last second", func(d *RequestDocument, r *Reception) { d.Request.Expires = r.Now + 1 }, ""},
		{"at its end", func(d *RequestDocument, r *Reception) { d.Request.Expires = r.Now }, "ended at"},
		{"300 s ahead", func(d *RequestDocument, r *Reception) { d.Request.Time = r.Now + 300 }, ""},
		{"301 s ahead", func(d *RequestDocument, r *Reception) { d.Request.Time = r.Now + 301 }, "ahead of the clock"},
		{"far ahead", func(d *RequestDocument, _ *Reception) { d.Request.Time = 1<<64 - 1 }, "ahead of the clock"},
		{"30 days old", func(d *RequestDocument, r *Reception) { d.Request.Time = r.Now - 30*24*3600 }, ""},
		{"older", func(d *RequestDocument, r *Reception) { d.Request.Time = r.Now - 30*24*3600 - 1 }, "30 days old"},
		{"answered", func(_ *RequestDocument, r *Reception) { r.Answered = true }, "answered before"},
		{"64 scopes", func(d *RequestDocument, _ *Reception) { d.Request.Scopes = scopes(64) }, ""},
		{"65 scopes", func(d *RequestDocument, _ *Reception) { d.Request.Scopes = scopes(65) }, "65 scopes"},
		{"no scope", func(d *RequestDocument, _ *Reception) { d.Request.Scopes = nil }, "0 scopes"},
		{"void scope", func(d *RequestDocument, _ *Reception) { d.Request.Scopes[0].Interactions = 0 }, "interactions"},
		{"64 holders", func(d *RequestDocument, _ *Reception) { d.Request.Holders = make([]common.Address, 64) }, ""},
		{"65 holders", func(d *RequestDocument, _ *Reception) { d.Request.Holders = make([]common.Address, 65) }, "65 data holders"},
		{"no holder", func(d *RequestDocument, _ *Reception) { d.Request.Holders = nil }, "0 data holders"},
		{"long reason", func(d *RequestDocument, _ *Reception) { d.Request.Reason = strings.Repeat("a", 1024) }, ""},
		{"longer reason", func(d *RequestDocument, _ *Reception) { d.Request.Reason = strings.Repeat("a", 1025) }, "1025 bytes"},
		{"long name", func(d *RequestDocument, _ *Reception) { d.Card.Card.Name = strings.Repeat("a", 128) }, ""},
		{"longer name", func(d *RequestDocument, _ *Reception) { d.Card.Card.Name = strings.Repeat("a", 129) }, "129 bytes"},
		{"card as old as one seen", func(d *RequestDocument, r *Reception) { r.NewestCard = d.Card.Card.Time }, ""},
		{"older card", func(d *RequestDocument, r *Reception) { r.NewestCard = d.Card.Card.Time + 1 }, "older than one seen"},
		{"card 301 s ahead", func(d *RequestDocument, r *Reception) { d.Card.Card.Time = r.Now + 301 }, "ahead of the clock"},
		{"card of another", func(d *RequestDocument, _ *Reception) { d.Card.Card.Account = laboratory }, "of another account"},
		{"card of another chain", func(d *RequestDocument, _ *Reception) { d.Card.Domain.ChainID++ }, "another chain"},
		{"sealing", func(d *RequestDocument, _ *Reception) { d.Card.Card.Sealing = append([]byte{1}, make([]byte, 1216)...) }, ""},
		{"short sealing", func(d *RequestDocument, _ *Reception) { d.Card.Card.Sealing = append([]byte{1}, make([]byte, 1215)...) }, "unknown form"},
		{"other sealing", func(d *RequestDocument, _ *Reception) { d.Card.Card.Sealing = append([]byte{2}, make([]byte, 1216)...) }, "unknown form"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := requestOf("Cardiology clinic", "review", laboratoryScope)
			r := Reception{Domain: testDomain, Account: d.Request.Patient, Now: now}
			c.change(d, &r)
			var err error
			if d.Signature, err = Sign(d.Request.Digest(d.Domain), clinic); err != nil {
				t.Fatal(err)
			}
			if d.Card.Signature, err = Sign(d.Card.Card.Digest(d.Card.Domain), clinic); err != nil {
				t.Fatal(err)
			}
			var chain chainVector
			r.State = chain.state(d.Entries())
			expectError(t, d.Counts(r), c.want)
			if c.want != "" {
				return
			}
			// Retired, or changed after signing, it counts no more.
			retired := chainVector{Retired: []common.Address{d.Request.Requester}}
			r.State = retired.state(d.Entries())
			expectError(t, d.Counts(r), "retired")
			r.State = State{}
			if d.Counts(r) == nil {
				t.Error("counts on a chain that was not read")
			}
			d.Request.Reason += "."
			r.State = chain.state(d.Entries())
			expectError(t, d.Counts(r), "not signed by the requester")
			d.Request.Reason = strings.TrimSuffix(d.Request.Reason, ".")
			d.Card.Card.Name += "."
			r.State = chain.state(d.Entries())
			expectError(t, d.Counts(r), "not signed by its account")
		})
	}
}

func expectError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err != nil {
		requirePlain(t, err.Error())
	}
}

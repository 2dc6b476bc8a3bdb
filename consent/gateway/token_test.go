package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/fhir"
)

func TestToken(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		d := w.grant(address(w.clinic), laboratory)
		s := w.exchange(w.access(d, nil, laboratory))
		if s.status != http.StatusOK || s.Type != "DPoP" || s.ExpiresIn != 300 || s.Scope != "patient/Observation.rs?category=laboratory" || s.Patient != patientID {
			t.Fatalf("%d %s", s.status, s.body)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff"} {
			if got := s.header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		w.counts(s.Token)
		w.counts(s.Token)
		entries := w.log(address(w.patient))
		if len(entries) != 3 {
			t.Fatalf("%d entries", len(entries))
		}
		for i, want := range []fhir.AuditRecord{
			{Interaction: fhir.TokenDecision, Outcome: fhir.Permitted, Target: s.Scope},
			{Interaction: "search-type", Outcome: "NotOwnLog", Target: "AuditEvent"},
		} {
			got, err := fhir.ReadAuditEvent(entries[i].Event)
			if err != nil {
				t.Fatal(err)
			}
			if got.Interaction != want.Interaction || got.Outcome != want.Outcome || got.Target != want.Target || got.Patient != patientID || !slices.Equal(got.Purposes, []string{"TREAT"}) ||
				got.Grantor != address(w.patient) || got.Grantee != address(w.clinic) || got.Grant != d.Grant.ID(testDomain) || got.Holder != testHolder || got.Client != "127.0.0.1" {
				t.Errorf("entry %d: %+v", i+1, got)
			}
		}
		// A denial is in the log of the patient as well, with the clause that the clinic
		// is not told.
		w.refused(w.exchange(w.access(d, func(a *consent.AccessDocument) { a.Access.Time -= 301 }, laboratory)), http.StatusBadRequest, "invalid_grant", "Stale")
		entries = w.log(address(w.patient))
		got, err := fhir.ReadAuditEvent(entries[len(entries)-1].Event)
		if err != nil || got.Outcome != "Stale" || !strings.Contains(got.Clause, "300 s") {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

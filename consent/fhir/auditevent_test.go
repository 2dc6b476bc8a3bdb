package fhir

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var aRead = AuditRecord{
	ID: "3f0c1c9e-6a0e-4b57-8a8e-0d6a4b4f9a11", Time: time.Date(2026, 3, 3, 9, 30, 0, 120_000_000, time.UTC),
	Interaction: "read", Outcome: Permitted, Patient: "anna", Grantor: common.HexToAddress("0x11"), Grantee: common.HexToAddress("0x22"),
	Holder: common.HexToAddress("0x33"), Grant: common.HexToHash("0x44"), Purposes: []string{"TREAT"}, Target: "Observation/1",
	Released: map[string]int{"Observation": 1}, Resources: []string{"Observation/1"}, Request: "r-1", Client: "192.0.2.7", Block: 12,
}

// The event says what IHE's Basic Audit Log Patterns ask for, seen by another
// reader.
func TestAuditEvent(t *testing.T) {
	query, denied, token, create, purposes := aRead, aRead, aRead, aRead, aRead
	query.Interaction, query.Target, query.Resources = "search-type", "Observation?category=laboratory", nil
	query.Released = map[string]int{"Observation": 26, "Patient": 1}
	denied.Outcome, denied.Released, denied.Resources = "NotFound", nil, nil
	token.Interaction, token.Outcome, token.Clause, token.Target = TokenDecision, "Expired", "link 0: it expired: on Monday", "patient/Observation.rs"
	token.Released, token.Resources = nil, nil
	create.Interaction, create.Target = "create", "Observation"
	purposes.Purposes = []string{"TREAT", "HRESCH"}
	for _, c := range []struct {
		name   string
		record AuditRecord
		paths  map[string]string
	}{
		{"read", aRead, map[string]string{
			"type.code": "rest", "subtype.code": "read", "action": "R", "outcome": "0", "outcomeDesc": "permit", "recorded": "2026-03-03T09:30:00.12Z",
			"agent.type.coding.code": "110152 110153 IRCP", "agent.purposeOfUse.coding.code": "TREAT", "agent.network.address": "192.0.2.7",
			"source.type.code": "4", "entity.role.code": "1 4", "entity.what.reference": "Patient/anna Observation/1", "entity.detail.type": "released Observation block",
		}},
		{"query", query, map[string]string{
			"subtype.code": "search-type", "action": "E", "agent.type.coding.code": "110153 110152 IRCP", "entity.role.code": "1 24",
			"entity.query": "T2JzZXJ2YXRpb24/Y2F0ZWdvcnk9bGFib3JhdG9yeQ==", "entity.detail.valueString": "26 1 12",
		}},
		{"denied", denied, map[string]string{"outcome": "4", "outcomeDesc": "NotFound", "entity.what.reference": "Patient/anna Observation/1", "entity.detail.type": "block"}},
		{"token", token, map[string]string{
			"type.code": "110113", "subtype.code": "AuthZ-Consent", "action": "E", "outcome": "8", "outcomeDesc": "Expired: link 0: it expired: on Monday",
			"agent.type.coding.code": "110150 authserver IRCP", "source.type.code": "6",
		}},
		{"two purposes", purposes, map[string]string{"agent.purposeOfUse.coding.code": "TREAT HRESCH"}},
		{"create", create, map[string]string{"action": "C", "entity.what.reference": "Patient/anna Observation Observation/1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			event, err := AuditEvent(c.record)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parse("event", event)
			if err != nil {
				t.Fatal(err)
			}
			for _, concept := range v.find("agent.purposeOfUse") {
				if codes := concept.find("coding.code"); len(codes) != 1 || strings.Contains(codes[0].text, " ") {
					t.Errorf("a purpose is no code: %s", event)
				}
			}
			for path, want := range c.paths {
				var got []string
				for _, found := range v.find(path) {
					got = append(got, found.text)
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%s is %q, want %q", path, got, want)
				}
			}
			if n := len(v.items("agent")); n != 3 || v.items("agent")[2].member("requestor").text != "true" {
				t.Errorf("%d agents, or the user is not the one who asked", n)
			}
			back, err := ReadAuditEvent(event)
			if diff := cmp.Diff(c.record, back); err != nil || diff != "" {
				t.Errorf("read back with %v:\n%s", err, diff)
			}
		})
	}
}

func TestAuditEventRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 20, -1)
		reference := rapid.StringMatching(`[A-Z][a-z]{0,9}/[a-z0-9]{1,9}`)
		r := AuditRecord{
			ID: rapid.StringMatching(`[a-zA-Z0-9.-]{1,64}`).Draw(t, "id"), Time: time.Unix(rapid.Int64Range(0, 1<<34).Draw(t, "time"), rapid.Int64Range(0, 999_999_999).Draw(t, "fraction")).UTC(),
			Interaction: rapid.SampledFrom([]string{"read", "vread", "search-type", "create", "update", "delete", "operation", "batch", TokenDecision}).Draw(t, "interaction"),
			Outcome:     rapid.StringMatching(`[A-Za-z]{1,20}`).Draw(t, "outcome"), Clause: text.Draw(t, "clause"), Patient: rapid.StringMatching(`[a-z0-9]{0,9}`).Draw(t, "patient"),
			Purposes: rapid.SliceOfN(text, 0, 3).Draw(t, "purposes"), Target: reference.Draw(t, "target"), Request: text.Draw(t, "request"), Client: text.Draw(t, "client"),
			Resources: rapid.SliceOfNDistinct(reference, 0, 4, rapid.ID).Draw(t, "resources"),
			Released:  rapid.MapOfN(rapid.StringMatching(`[A-Z][a-z]{0,9}`), rapid.IntRange(0, 9999), 0, 4).Draw(t, "released"), Block: rapid.Uint64().Draw(t, "block"),
		}
		copy(r.Grant[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "grant"))
		copy(r.Grantor[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "grantor"))
		copy(r.Grantee[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "grantee"))
		copy(r.Holder[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "holder"))
		if len(r.Purposes) == 0 {
			r.Purposes = nil
		}
		if len(r.Resources) == 0 {
			r.Resources = nil
		}
		if len(r.Released) == 0 {
			r.Released = nil
		}
		event, err := AuditEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ReadAuditEvent(event)
		if diff := cmp.Diff(r, back); err != nil || diff != "" {
			t.Fatalf("%s\nread back with %v:\n%s", event, err, diff)
		}
	})
}

// Before purposes were a list, several were written as one code.
func TestReadOldAuditEvent(t *testing.T) {
	old := aRead
	old.Purposes = []string{"TREAT HRESCH"}
	event, err := AuditEvent(aRead)
	if err != nil {
		t.Fatal(err)
	}
	event = []byte(strings.Replace(string(event), `"code":"TREAT"`, `"code":"TREAT HRESCH"`, 1))
	back, err := ReadAuditEvent(event)
	if diff := cmp.Diff(old, back); err != nil || diff != "" {
		t.Errorf("read with %v:\n%s", err, diff)
	}
}

// An event that a gateway did not write is not read: it may say more.
func TestReadAuditEventRefuses(t *testing.T) {
	event, err := AuditEvent(aRead)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAuditEvent(event); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"white space":   {`{"resourceType"`, `{ "resourceType"`},
		"a member more": {`"action":`, `"text":{},"action":`},
		"member twice":  {`"action":"R"`, `"action":"R","action":"R"`},
		"another type":  {`"AuditEvent"`, `"Observation"`},
		"a display":     {`"display":"Person"`, `"display":"Patient"`},
		"an agent less": {`"agent":[{`, `"agent":[],"x":[{`},
		"number":        {`"valueString":"12"`, `"valueString":"012"`},
		"an address":    {common.HexToAddress("0x22").Hex(), "0x22"},
		"time":          {`09:30:00.12Z`, `10:30:00.12+01:00`},
		"outcome":       {`"outcome":"0"`, `"outcome":"4"`},
	} {
		edited := strings.Replace(string(event), edit[0], edit[1], 1)
		if edited == string(event) {
			t.Fatalf("%s: nothing was edited", name)
		}
		if _, err := ReadAuditEvent([]byte(edited)); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
	for _, bad := range []AuditRecord{{ID: "a b", Interaction: "read", Outcome: "permit"}, {ID: "a", Outcome: "permit"}, {ID: "a", Interaction: "read"}, {ID: "a", Interaction: "read", Outcome: "a: b"}} {
		if _, err := AuditEvent(bad); err == nil {
			t.Errorf("%+v became an event", bad)
		}
	}
	// What is not UTF-8 is logged all the same.
	hostile := aRead
	hostile.Target, hostile.Request = "Observation/\xff", "\xff\x00\"\\"
	if event, err := AuditEvent(hostile); err != nil || !json.Valid(event) {
		t.Errorf("a hostile target became no event: %v", err)
	}
}

func BenchmarkAuditEvent(b *testing.B) {
	for b.Loop() {
		if _, err := AuditEvent(aRead); err != nil {
			b.Fatal(err)
		}
	}
}

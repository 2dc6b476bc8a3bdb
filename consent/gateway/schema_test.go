package gateway

import (
	"bytes"
	"testing"

	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/database/databasetest"
)

// What was used before proofs had a table of their own stays used.
func TestProofsMove(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		before, err := database.Open(t.Context(), location, "gateway", schema[:2])
		if err != nil {
			t.Fatal(err)
		}
		proof, nonce := append([]byte{0, 0, 0, 0, 0, 0, 0, 9}, bytes.Repeat([]byte{1}, 32)...), bytes.Repeat([]byte{2}, 32)
		for _, key := range [][]byte{proof, nonce} {
			if _, err := before.Exec("INSERT INTO gateway_seen (key, until) VALUES ($1, 9)", key); err != nil {
				t.Fatal(err)
			}
		}
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := OpenDatabase(t.Context(), location)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		j := openJournal(db)
		records := []*record{{proof: proof}, {nonce: nonce, until: 9}}
		if err := j.commit(records); err != nil || records[0].fresh || records[1].fresh {
			t.Error(err, records[0].fresh, records[1].fresh)
		}
		go j.run()
		defer j.close()
		if err := j.forget(t.Context(), 9); err != nil {
			t.Fatal(err)
		}
		if err := j.commit(records); err != nil || records[0].fresh || records[1].fresh {
			t.Error("forgotten too early", err, records[0].fresh, records[1].fresh)
		}
		if err := j.forget(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if err := j.commit(records); err != nil || !records[0].fresh || !records[1].fresh {
			t.Error("not forgotten", err, records[0].fresh, records[1].fresh)
		}
	})
}

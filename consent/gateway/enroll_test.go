package gateway

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
)

func TestEnrollment(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		e := w.enrollments()
		list := func() (live, ended []Enrollment) {
			t.Helper()
			all, err := e.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range all {
				if one.Ended.IsZero() {
					live = append(live, one)
				} else {
					ended = append(ended, one)
				}
			}
			return live, ended
		}
		if live, ended := list(); len(live) != 1 || len(ended) != 0 || live[0].Account != address(w.patient) || live[0].Patient != patientID || !live[0].Since.Equal(w.Now()) {
			t.Fatal(live, ended)
		}
		samira := newKey(t)
		w.enroll(samira, "samira")
		if was, err := e.End(t.Context(), address(samira), "moved away"); err != nil || !was {
			t.Error(was, err)
		}
		if was, err := e.End(t.Context(), address(samira), "moved away"); err != nil || was {
			t.Error("it ended twice", was, err)
		}
		if live, ended := list(); len(live) != 1 || len(ended) != 1 || ended[0].Why != "moved away" {
			t.Error(live, ended)
		}
		// Both may be bound again.
		w.enroll(samira, "another")
		w.enroll(newKey(t), "samira")

		// A retired account's binding ends, and its patient may have another.
		w.retire(address(w.patient))
		lost := newKey(t)
		w.enroll(lost, patientID)
		live, ended := list()
		if len(live) != 3 || len(ended) != 2 || !strings.Contains(ended[0].Why+ended[1].Why, "retired") {
			t.Error(live, ended)
		}
		if patient, err := w.patientOf(t.Context(), address(lost)); err != nil || patient != patientID {
			t.Error(patient, err)
		}
	})
}

func TestAttackEnrollment(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		e := w.enrollments()
		key := newKey(t)
		fresh := func() common.Hash {
			t.Helper()
			challenge, until, err := e.Challenge(t.Context())
			if err != nil || !until.Equal(w.Now().Add(10*time.Minute)) {
				t.Fatal(until, err)
			}
			return challenge
		}
		used := fresh()
		other := newKey(t)
		if err := e.Bind(t.Context(), address(other), "other", w.proofOfAddress(other, used)); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, want string
			patient    string
			proof      func() *consent.AccessDocument
		}{
			{"used challenge", "was used", "new", func() *consent.AccessDocument { return w.proofOfAddress(key, used) }},
			{"foreign challenge", "not given out here", "new", func() *consent.AccessDocument { return w.proofOfAddress(key, common.Hash{1}) }},
			{"challenge that is over", "is over", "new", func() *consent.AccessDocument {
				challenge := fresh()
				w.clock.pass(10*time.Minute + time.Second)
				return w.proofOfAddress(key, challenge)
			}},
			{"old proof", "300 s", "new", func() *consent.AccessDocument {
				proof := w.proofOfAddress(key, fresh())
				w.clock.pass(301 * time.Second)
				return proof
			}},
			{"proof of another account", "not signed", "new", func() *consent.AccessDocument { return w.proofOfAddress(other, fresh()) }},
			{"proof for another holder", "is for", "new", func() *consent.AccessDocument {
				return w.signed(key, &consent.AccessDocument{Domain: testDomain, Access: consent.ProofOfAddress(common.Address{8}, fresh(), common.Hash{}, w.now())})
			}},
			// A relay has its patients sign the challenges that it names, in the name that it gives itself.
			{"proof for a relay", "bound to another use", "new", func() *consent.AccessDocument {
				binding := crypto.Keccak256Hash([]byte("assent/relay/https://relay.example"))
				return w.signed(key, &consent.AccessDocument{Domain: testDomain, Access: consent.ProofOfAddress(testHolder, fresh(), binding, w.now())})
			}},
			{"proof on another chain", "another chain", "new", func() *consent.AccessDocument {
				return w.signed(key, &consent.AccessDocument{Domain: consent.Domain{ChainID: 1}, Access: consent.ProofOfAddress(testHolder, fresh(), common.Hash{}, w.now())})
			}},
			{"an access", "not a proof", "new", func() *consent.AccessDocument {
				d := w.grantAs(key, address(key), func(*consent.Grant) {}, ownLog)
				return w.accessAs(key, d, func(a *consent.AccessDocument) { a.Access.Nonce = fresh() }, ownLog)
			}},
			{"patient of another", "bound to the account", patientID, func() *consent.AccessDocument { return w.proofOfAddress(key, fresh()) }},
			{"no id", "logical id", "Patient/1", func() *consent.AccessDocument { return w.proofOfAddress(key, fresh()) }},
			{"id that leads elsewhere", "logical id", "a/../b", func() *consent.AccessDocument { return w.proofOfAddress(key, fresh()) }},
		} {
			if err := e.Bind(t.Context(), address(key), c.patient, c.proof()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		}
		if _, err := w.patientOf(t.Context(), address(key)); err == nil {
			t.Error("one of them was bound")
		}
		if err := e.Bind(t.Context(), address(other), "second", w.proofOfAddress(other, fresh())); err == nil || !strings.Contains(err.Error(), "another Patient") {
			t.Errorf("an account with two patients: %v", err)
		}
		w.retire(address(key))
		if err := e.Bind(t.Context(), address(key), "new", w.proofOfAddress(key, fresh())); err == nil || !strings.Contains(err.Error(), "retired") {
			t.Errorf("a retired account: %v", err)
		}
		w.chain.change(func() { w.chain.age = 61 })
		if err := e.Bind(t.Context(), address(key), "new", w.proofOfAddress(key, fresh())); err == nil || !strings.Contains(err.Error(), "61 s old") {
			t.Errorf("a stale chain: %v", err)
		}
	})
}

// Of two that answer one challenge, or claim one patient, at the same time one is
// bound.
func TestEnrollmentAtOnce(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, location string) {
		w := newWorld(t, location)
		for _, same := range []bool{true, false} {
			var group sync.WaitGroup
			bound := make(chan bool, 4)
			challenge, _, err := w.enrollments().Challenge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				key, patient := newKey(t), "claimed"
				if same {
					patient = string(rune('a' + i))
				} else if challenge, _, err = w.enrollments().Challenge(t.Context()); err != nil {
					t.Fatal(err)
				}
				proof := w.proofOfAddress(key, challenge)
				group.Go(func() { bound <- w.enrollments().Bind(t.Context(), address(key), patient, proof) == nil })
			}
			group.Wait()
			n := 0
			for range 4 {
				if <-bound {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d were bound", n)
			}
		}
	})
}

package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent/fhir"
)

// What was packed once can be read for good: neither the dictionary nor what is
// made of a frame changes.
func TestPackedEventsStayReadable(t *testing.T) {
	const dictionary = "b467b5c48a9a030584ae810ac59d3328989a918d8f9df94bb806cc5f2dfdb04c"
	if sum := sha256.Sum256(events); hex.EncodeToString(sum[:]) != dictionary {
		t.Errorf("the dictionary is another: %x", sum)
	}
	const frame = "28b52ffd6200804f09fd02004242080ec037667d096348c588fd7f11cf818466260f29e2d57a0077b5d79e79fc64270610004d4a3081f4401729093e0c48926025aa9004553d211254d91b5041a02141e5ee1158897204e91a149955122738a683feb900fac001c9888441"
	b, err := hex.DecodeString(frame)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unpack(b)
	if err != nil {
		t.Fatal(err)
	}
	if want := anEvent(t); !bytes.Equal(event, want) {
		t.Errorf("it gives %s, want %s", event, want)
	}
}

// anEvent is an AuditEvent of no gateway.
func anEvent(t *testing.T) []byte {
	t.Helper()
	event, err := fhir.AuditEvent(fhir.AuditRecord{
		ID: "an-event", Time: time.Date(2026, 11, 22, 18, 0, 0, 123, time.UTC), Interaction: "read", Outcome: fhir.Permitted, Patient: patientID,
		Target: "Observation/18", Resources: []string{"Observation/18"}, Released: map[string]int{"Observation": 1}, Purposes: []string{"ETREAT"},
		Request: "a-request", Client: "192.0.2.1", Block: 18,
	})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func TestPack(t *testing.T) {
	long := []byte(`{"text":"` + strings.Repeat("0123456789abcdef ü\\u0000", 40_000) + `"}`)
	for _, event := range [][]byte{anEvent(t), []byte("{}"), long} {
		p := pack(event)
		if p.hash != crypto.Keccak256Hash(event) {
			t.Errorf("its hash is %s", p.hash)
		}
		if back, err := unpack(p.text); err != nil || !bytes.Equal(back, event) {
			t.Errorf("%d bytes come back as %d, %v", len(event), len(back), err)
		}
	}
	if p := pack(anEvent(t)); len(p.text) > 300 {
		t.Errorf("an event takes %d bytes", len(p.text))
	}
	// As it was kept before.
	if plain, err := unpack([]byte(`{"a":1}`)); err != nil || string(plain) != `{"a":1}` {
		t.Errorf("%s, %v", plain, err)
	}
	whole := pack(anEvent(t)).text
	for _, broken := range [][]byte{nil, []byte("x"), whole[:len(whole)-1], whole[1:], append(bytes.Clone(whole), 'x')} {
		if event, err := unpack(broken); err == nil && len(event) > 0 {
			t.Errorf("%x is read as %s", broken, event)
		}
	}
	// A frame that says that it is longer than any event is not made room for.
	if _, err := unpack(eventPacker.EncodeAll(make([]byte, maxEvent+1), nil)); err == nil {
		t.Error("a frame of more than any event is read")
	}
}

func BenchmarkPack(b *testing.B) {
	event, err := fhir.AuditEvent(fhir.AuditRecord{ID: "a", Time: time.Now(), Interaction: "read", Outcome: fhir.Permitted, Target: "Observation/1", Purposes: []string{"TREAT"}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(event)))
	for b.Loop() {
		pack(event)
	}
}

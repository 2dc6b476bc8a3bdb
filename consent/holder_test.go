package consent

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// testHolder is the laboratory, which looks at the chain and has seen nothing.
func testHolder(chain chainVector) *Holder {
	var mu sync.Mutex
	seen := make(map[common.Hash]bool)
	return &Holder{
		Domain: testDomain, Account: laboratory, MaxAge: 60,
		Patient:   func(context.Context, common.Address) (string, error) { return "Patient/1", nil },
		View:      func(_ context.Context, need Entries) (State, error) { return chain.state(need), nil },
		Evaluable: func(*Access) error { return nil },
		Remember: func(_ context.Context, _ common.Address, nonce common.Hash, _ uint64) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			fresh := !seen[nonce]
			seen[nonce] = true
			return fresh, nil
		},
	}
}

// An error on the way is no answer: whoever overlooks it finds no Permit.
func TestHolderFailsClosed(t *testing.T) {
	d, grantee := handedOn(t, 1, fourProvisions())
	access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
	broken := errors.New("broken")
	for name, breakIt := range map[string]func(*Holder){
		"patient": func(h *Holder) {
			h.Patient = func(context.Context, common.Address) (string, error) { return "Patient/1", broken }
		},
		"view":    func(h *Holder) { h.View = func(context.Context, Entries) (State, error) { return State{}, broken } },
		"entries": func(h *Holder) { h.View = func(context.Context, Entries) (State, error) { return State{}, nil } },
		"nonce": func(h *Holder) {
			h.Remember = func(context.Context, common.Address, common.Hash, uint64) (bool, error) { return true, broken }
		},
	} {
		h := testHolder(anchors(access))
		breakIt(h)
		answer, err := h.Answer(t.Context(), access, common.Hash{}, now)
		if err == nil || answer.Outcome != Undecided || answer.Patient != "" {
			t.Errorf("%s: got %s for %q, %v", name, answer.Outcome, answer.Patient, err)
		}
	}
}

// Of many at once with one nonce, one is answered.
func TestHolderAnswersOnce(t *testing.T) {
	d, grantee := handedOn(t, 1, fourProvisions())
	access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
	h := testHolder(anchors(access))
	h.Verified = NewVerified(10)
	outcomes := make(chan Outcome)
	for range 8 {
		go func() {
			answer, err := h.Answer(context.Background(), access, common.Hash{}, now)
			if err != nil {
				t.Error(err)
			}
			outcomes <- answer.Outcome
		}()
	}
	count := make(map[Outcome]int)
	for range 8 {
		count[<-outcomes]++
	}
	if count[Permit] != 1 || count[Replayed] != 7 {
		t.Errorf("%v", count)
	}
}

func TestMemory(t *testing.T) {
	var m Memory
	secret, patient := common.Hash{7}, testKey("patient")
	entry, account := Revocation(secret), addressOf(patient)
	looks := func(revoked, retired uint64) State {
		return State{Revoked: map[common.Hash]uint64{entry: revoked}, Retired: map[common.Address]uint64{account: retired}}
	}
	expect := func(s State, revoked, retired bool) {
		t.Helper()
		if (s.Revoked[entry] != 0) != revoked || (s.Retired[account] != 0) != retired {
			t.Errorf("revoked at %d, retired at %d", s.Revoked[entry], s.Retired[account])
		}
	}
	expect(m.State(looks(0, 0), looks(0, 0)), false, false)
	// One block is enough, and both may forget again.
	expect(m.State(looks(5, 0), looks(0, 0)), true, false)
	expect(m.State(looks(0, 0), looks(0, 5)), true, true)
	expect(m.State(looks(0, 0), looks(0, 0)), true, true)
	if s := m.State(looks(0, 0), State{}); len(s.Revoked) != 0 || len(s.Retired) != 0 {
		t.Error("what the latest block was not asked counts as read")
	}

	m = Memory{}
	m.Reveal(secret, 0)
	expect(m.State(looks(0, 0), looks(0, 0)), true, false)
	r := Retirement{account}
	signature, err := Sign(r.Digest(testDomain), patient)
	if err != nil {
		t.Fatal(err)
	}
	other := testDomain
	other.ChainID++
	if m.Retire(other, r, signature, now) || m.Retire(testDomain, Retirement{laboratory}, signature, now) || m.Retire(testDomain, Retirement{}, nil, now) {
		t.Error("a retirement that its account did not sign")
	}
	expect(m.State(looks(0, 0), looks(0, 0)), true, false)
	if !m.Retire(testDomain, r, signature, now) {
		t.Error("a signed retirement is not taken")
	}
	expect(m.State(looks(0, 0), looks(0, 0)), true, true)
}

func TestBindingRefuses(t *testing.T) {
	for name, jwk := range map[string]string{
		"no JSON":     "\x1b[2J",
		"curve":       `{"kty":"EC","crv":"\u001b[2J\u202e","x":"AA","y":"AA"}`,
		"symmetric":   `{"kty":"oct","k":"AAAA"}`,
		"private":     `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`,
		"off a curve": `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`,
	} {
		if binding, err := Binding([]byte(jwk)); err == nil {
			t.Errorf("%s: %s", name, binding)
		} else {
			requirePlain(t, err.Error())
		}
	}
}

func TestSignatureForms(t *testing.T) {
	key, digest := testKey("patient"), crypto.Keccak256Hash([]byte("digest"))
	good, err := Sign(digest, key)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(signature []byte) bool {
		return SignatureQuery{addressOf(key), digest, string(signature)}.recovers()
	}
	if !valid(good) {
		t.Fatal("one's own signature does not hold")
	}
	for v := range 256 {
		if other := append(good[:64:64], byte(v)); valid(other) != (byte(v) == good[64]) {
			t.Errorf("v = %d", v)
		}
	}
	for n := range 130 {
		if n != 65 && valid(append(good[:min(n, 65):min(n, 65)], make([]byte, max(0, n-65))...)) {
			t.Errorf("%d bytes", n)
		}
	}
	if (SignatureQuery{common.Address{}, digest, string(make([]byte, 65))}).recovers() {
		t.Error("the zero address signs")
	}
}

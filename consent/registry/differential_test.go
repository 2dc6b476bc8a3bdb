package registry_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

// TestDifferentialDecide gives Go and the contract the same mutated accesses on
// the same state at the same time: outcome and link must be the same.
//
// ASSENT_TEST_DECISIONS is how many (500 where it is not set); a difference is
// reported with the seed that gives it again.
func TestDifferentialDecide(t *testing.T) {
	t.Parallel()
	n := 500
	if s := os.Getenv("ASSENT_TEST_DECISIONS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal("ASSENT_TEST_DECISIONS:", err)
		}
	}
	seen := make(map[consent.Outcome]int)
	for seed := range uint64(n) {
		seen[differ(t, seed)]++
	}
	for o := consent.Permit; o <= consent.Stale; o++ {
		if seen[o] == 0 {
			t.Errorf("%d decisions, and none of them is %s", n, o)
		}
	}
	t.Logf("%d decisions: %v", n, seen)
}

// FuzzDecide is the same for go test -fuzz.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { differ(t, seed) })
}

// differ makes, decides and compares the access of one seed.
func differ(t *testing.T, seed uint64) consent.Outcome {
	t.Helper()
	m := &mutator{t: t, Rand: rand.New(rand.NewPCG(seed, 1))}
	d := m.document()
	e := newRegistry(t)
	e.time = m.time(d)
	examination := consent.Examine(d, nil)
	state := m.state(e, examination.Entries())
	got, err := examination.Decide(state, e.time)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	want := e.decide(registry.Address, d)
	if got := (verdict{got.Outcome.String(), uint8(got.Outcome), uint64(got.Link)}); got != want {
		t.Fatalf("seed %d: Go says %v, the contract %v\nat %d on %+v:\n%+v", seed, got, want, e.time, state, d)
	}
	return got.Outcome
}

// mutator draws accesses that are nearly right.
type mutator struct {
	t *testing.T
	*rand.Rand
}

// one is true once in n times.
func (m *mutator) one(n int) bool { return m.IntN(n) == 0 }

// document is a permitted access, changed before and after it is signed.
func (m *mutator) document() *consent.AccessDocument {
	links := 1 + m.IntN(3)
	if m.one(50) {
		links = 30 + m.IntN(4)
	}
	d := chainOf(m.t, domain, min(links, consent.MaxLinks+1), now)
	m.scopes(d)
	for range m.IntN(3) {
		m.mutate(d)
	}
	if !m.one(20) {
		seal(m.t, d)
	}
	if m.one(3) {
		m.mutate(d)
	}
	if m.one(8) {
		m.batch(d)
	}
	return d
}

// scopes makes the access ask for several things, each permitted, often by a
// provision that is wider.
func (m *mutator) scopes(d *consent.AccessDocument) {
	n := 1 + m.IntN(3)
	if m.one(50) {
		n = 63 + m.IntN(3)
	}
	d.Access.Scopes = nil
	for range n {
		d.Access.Scopes = append(d.Access.Scopes, consent.Scope{
			Resource: pick(m, "Observation", "Condition", "*", strings.Repeat("R", consent.MaxOpenings)), Interactions: consent.Interactions(1 + m.IntN(31)),
			Filter: pick(m, "", "category=laboratory", strings.Repeat("f", 512)), DataFrom: pick[uint64](m, 0, 5, now), DataUntil: pick[uint64](m, 0, now+1, 1<<64-1),
			Purpose: pick(m, "TREAT", "ETREAT", strings.Repeat("P", 32)), Sensitivities: consent.Sensitivities(m.IntN(256)),
		})
	}
	for i := range d.Links {
		var provisions []consent.Provision
		for _, scope := range d.Access.Scopes {
			if m.one(3) {
				scope.Resource = consent.AnyResource
			}
			if m.one(3) {
				scope.Filter = ""
			}
			if m.one(3) {
				scope.DataFrom, scope.DataUntil = 0, 0
			}
			if m.one(3) {
				scope.Interactions, scope.Sensitivities = 31, 255
			}
			holder := d.Access.Holder
			if m.one(2) {
				holder = common.Address{}
			}
			provisions = append(provisions, consent.Provision{Salt: m.hash(), Holder: holder, Scope: scope})
		}
		root, openings, err := consent.Disclose(&fillers{m.IntN(1000)}, provisions)
		if err != nil {
			m.t.Fatal(err)
		}
		d.Links[i].Grant.Provisions, d.Links[i].Openings = root, openings
	}
}

// batch anchors the grants in one tree.
func (m *mutator) batch(d *consent.AccessDocument) {
	if len(d.Links) == 0 {
		return
	}
	var leaves []common.Hash
	for _, l := range d.Links {
		leaves = append(leaves, consent.AnchorLeaf(l.Grant.ID(d.Domain)))
	}
	tree := consent.NewTree(leaves)
	for i := range d.Links {
		d.Links[i].AnchorProof = tree.Proof(i)
	}
}

// mutate changes one thing somewhere in the document, whatever its type.
func (m *mutator) mutate(d *consent.AccessDocument) {
	var places []reflect.Value
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
			return
		case reflect.Slice:
			if v.Type().Elem().Kind() != reflect.Uint8 {
				for i := range v.Len() {
					walk(v.Index(i))
				}
			}
		}
		places = append(places, v)
	}
	walk(reflect.ValueOf(&d.Links).Elem())
	walk(reflect.ValueOf(&d.Access).Elem())
	walk(reflect.ValueOf(&d.Signature).Elem())
	place := places[m.IntN(len(places))]
	switch place.Kind() {
	case reflect.Uint8, reflect.Uint64:
		x := place.Uint()
		x = pick(m, x+1, x-1, x^1<<m.IntN(64), 0, 1, 32, 255, 256, 300, now, 1<<64-1)
		if place.Kind() == reflect.Uint8 {
			x &= 255
		}
		place.SetUint(x)
	case reflect.String:
		s := place.String()
		place.SetString(pick(m, "", "*", s+"x", s[:max(len(s), 1)-1], strings.Repeat("x", pick(m, 32, 33, 64, 65, 512, 513)), strings.ToLower(s), "category=laboratory", "TREAT"))
	case reflect.Array: // a hash or an address: another of the document, none, or one bit off
		var others []reflect.Value
		for _, p := range places {
			if p.Type() == place.Type() {
				others = append(others, p)
			}
		}
		switch m.IntN(3) {
		case 0:
			place.Set(others[m.IntN(len(others))])
		case 1:
			place.SetZero()
		case 2:
			b := place.Index(m.IntN(place.Len()))
			b.SetUint(b.Uint() ^ 1<<m.IntN(8))
		}
	case reflect.Slice:
		m.slice(place)
	default:
		m.t.Fatalf("nothing to change in a %s", place.Kind())
	}
}

// slice changes a list: its bytes, its order or its length.
func (m *mutator) slice(place reflect.Value) {
	n := place.Len()
	if place.Type().Elem().Kind() == reflect.Uint8 {
		b := append([]byte(nil), place.Bytes()...)
		switch m.IntN(4) {
		case 0:
			b = make([]byte, pick(m, 0, 64, 66, consent.MaxSignature, consent.MaxSignature+1))
		case 1:
			b = append(b, 0)
		case 2:
			b = highS(b)
		case 3:
			if n > 0 {
				b[m.IntN(n)] ^= 1 << m.IntN(8)
			}
		}
		place.SetBytes(b)
		return
	}
	at := func() int { return m.IntN(max(n, 1)) }
	list := reflect.MakeSlice(place.Type(), 0, n+1)
	switch list = reflect.AppendSlice(list, place); m.IntN(4) {
	case 0: // one less
		if n > 0 {
			i := at()
			list = reflect.AppendSlice(list.Slice(0, i), place.Slice(i+1, n))
		}
	case 1: // one twice, or one that is empty
		if n > 0 && !m.one(3) {
			list = reflect.Append(list, place.Index(at()))
		} else {
			list = reflect.Append(list, reflect.Zero(place.Type().Elem()))
		}
	case 2: // another order
		if n > 0 {
			reflect.Swapper(list.Interface())(at(), at())
		}
	case 3: // about as many as there may be
		for limit := pick(m, 8, 9, 32, 33, 64, 65); list.Len() < limit; {
			if n > 0 {
				list = reflect.Append(list, place.Index(at()))
			} else {
				list = reflect.Append(list, reflect.Zero(place.Type().Elem()))
			}
		}
	}
	place.Set(list)
}

// highS is the other signature of the same key, with s in the upper half.
func highS(signature []byte) []byte {
	if len(signature) != 65 {
		return signature
	}
	order := uint256.MustFromBig(crypto.S256().Params().N)
	s := new(uint256.Int).Sub(order, new(uint256.Int).SetBytes(signature[32:64])).Bytes32()
	copy(signature[32:], s[:])
	signature[64] ^= 27 ^ 28
	return signature
}

func (m *mutator) hash() (h common.Hash) {
	for i := range h {
		h[i] = byte(m.Uint32())
	}
	return h
}

func pick[T any](m *mutator, from ...T) T { return from[m.IntN(len(from))] }

// time is now, or at one of the limits that the document sets.
func (m *mutator) time(d *consent.AccessDocument) uint64 {
	if !m.one(4) {
		return now
	}
	limits := []uint64{d.Access.Time, d.Access.Time + 300, d.Access.Time - 300, 100}
	for _, l := range d.Links {
		limits = append(limits, l.Grant.NotBefore, l.Grant.Expires)
	}
	return limits[m.IntN(len(limits))] + pick[uint64](m, 0, 1, 1<<64-1)
}

// state writes the entries of a decision to the contract's storage, most of
// them as a permit wants them, and gives what the contract says of them.
func (m *mutator) state(e *evm, need consent.Entries) consent.State {
	state := consent.State{
		Anchored: make(map[common.Hash]uint64), Revoked: make(map[common.Hash]uint64),
		Retired: make(map[common.Address]uint64), Signed: make(map[consent.SignatureQuery]bool),
	}
	write := func(slot byte, key []byte, there bool) {
		if there {
			entry := crypto.Keccak256Hash(common.LeftPadBytes(key, 32), common.LeftPadBytes([]byte{slot}, 32))
			e.state.SetState(registry.Address, entry, common.BigToHash(common.Big1))
		}
	}
	for _, root := range need.Anchors {
		write(0, root[:], !m.one(40))
		state.Anchored[root] = e.entry(registry.Address, pack(m.t, "anchoredAt", root))
	}
	for _, revocation := range need.Revocations {
		write(1, revocation[:], m.one(100))
		state.Revoked[revocation] = e.entry(registry.Address, pack(m.t, "revokedAt", revocation))
	}
	for _, account := range need.Accounts {
		write(2, account[:], m.one(60))
		state.Retired[account] = e.entry(registry.Address, pack(m.t, "retiredAt", account))
	}
	for _, q := range need.Signatures {
		if m.one(2) {
			code := signerContract{Account: q.Account, Reverts: m.one(4)}
			if !m.one(4) {
				code.Accepts = append(code.Accepts, q.Digest)
			}
			e.setCode(q.Account, code.code())
		}
	}
	for _, q := range need.Signatures {
		yes, err := e.signed(registry.Address, q.Account, q.Digest, []byte(q.Signature), plenty)
		if err != nil {
			m.t.Fatal(fmt.Errorf("signed: %w", err))
		}
		state.Signed[q] = yes
	}
	return state
}

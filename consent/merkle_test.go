package consent

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"testing"
	"testing/iotest"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

func testLeaves(n int) []common.Hash {
	leaves := make([]common.Hash, n)
	for i := range leaves {
		leaves[i] = crypto.Keccak256Hash([]byte{byte(i), byte(i >> 8)})
	}
	return leaves
}

func TestTreeOfEverySize(t *testing.T) {
	for n := 1; n <= 200; n++ {
		leaves := testLeaves(n)
		tree := NewTree(leaves)
		for i, leaf := range leaves {
			proof := tree.Proof(i)
			if Root(leaf, proof) != tree.Root() {
				t.Fatalf("leaf %d of %d is not proven", i, n)
			}
			if most := bits.Len(uint(n - 1)); len(proof) > most || n&(n-1) == 0 && len(proof) != most {
				t.Fatalf("leaf %d of %d: a proof of %d, want at most %d", i, n, len(proof), most)
			}
			if n > 1 && Root(crypto.Keccak256Hash(leaf[:]), proof) == tree.Root() {
				t.Fatalf("the proof of leaf %d of %d proves another leaf", i, n)
			}
		}
	}
}

func TestTreeOwnsItsLeaves(t *testing.T) {
	leaves := testLeaves(5)
	tree := NewTree(leaves)
	root, leaf := tree.Root(), leaves[1]
	clear(leaves)
	if Root(leaf, tree.Proof(1)) != root {
		t.Error("the tree changes with the leaves it was made of")
	}
}

func TestTreeOverTrees(t *testing.T) {
	for n := 1; n <= 20; n++ {
		batch := NewTree(testLeaves(n))
		relay := NewTree([]common.Hash{{1}, batch.Root(), {2}})
		for i, leaf := range testLeaves(n) {
			if Root(leaf, append(batch.Proof(i), relay.Proof(1)...)) != relay.Root() {
				t.Fatalf("leaf %d of a batch of %d is not proven in the relay's tree", i, n)
			}
		}
	}
}

func TestDisclose(t *testing.T) {
	for n := 1; n <= 70; n++ {
		provisions := make([]Provision, n)
		for i := range provisions {
			provisions[i] = Provision{Holder: common.Address{byte(i)}, Scope: laboratoryScope}
		}
		root, openings, err := Disclose(testRandom(uint64(n)), provisions)
		if err != nil || len(openings) != n {
			t.Fatal(len(openings), err)
		}
		length := max(4, bits.Len(uint(n-1)))
		salts := make(map[common.Hash]bool)
		for i, o := range openings {
			if Root(o.Provision.Leaf(), o.Proof) != root || len(o.Proof) != length {
				t.Fatalf("provision %d of %d: a proof of %d that does not hold", i, n, len(o.Proof))
			}
			if o.Provision.Holder != provisions[i].Holder || o.Provision.Scope != provisions[i].Scope {
				t.Fatalf("provision %d of %d comes in another place", i, n)
			}
			salts[o.Provision.Salt] = true
		}
		if len(salts) != n || salts[common.Hash{}] {
			t.Fatalf("%d salts for %d provisions", len(salts), n)
		}
	}
	if _, _, err := Disclose(testRandom(0), nil); err == nil {
		t.Error("a grant of nothing")
	}
}

// A single provision comes to every place of its tree about as often: else its
// proof would tell the place, and with it more than it should.
func TestDiscloseInRandomOrder(t *testing.T) {
	const rounds = 3200
	random := testRandom(1)
	places := make(map[int]int)
	for range rounds {
		root, openings, err := Disclose(random, []Provision{{Scope: laboratoryScope}, {Scope: conditionScope}})
		if err != nil {
			t.Fatal(err)
		}
		// Sorted pairs hide left and right; what shows is how deep two proofs meet.
		a, b := openings[0].Proof, openings[1].Proof
		meet := 0
		for a[3-meet] == b[3-meet] {
			meet++
		}
		places[meet]++
		if Root(openings[0].Provision.Leaf(), a) != root {
			t.Fatal("not proven")
		}
	}
	// Of the 15 other places 8 meet at the root, 4 below it, then 2 and 1.
	for meet, share := range []int{8, 4, 2, 1} {
		want := rounds * share / 15
		if got := places[meet]; got < want*7/10 || got > want*13/10 {
			t.Errorf("%d of %d pairs meet %d below the root, want about %d", got, rounds, meet, want)
		}
	}
}

func TestDiscloseWithoutRandomness(t *testing.T) {
	broken := errors.New("broken")
	for _, r := range []io.Reader{iotest.ErrReader(broken), io.MultiReader(bytes.NewReader(make([]byte, 16*32)), iotest.ErrReader(broken))} {
		if _, openings, err := Disclose(r, fourProvisions()); !errors.Is(err, broken) || openings != nil {
			t.Errorf("got %v, %v", openings, err)
		}
	}
}

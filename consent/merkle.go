package consent

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// minProvisionLeaves is the size to which a tree of provisions is filled, so
// that a proof does not tell how few they are (Assent protocol, section 4).
const minProvisionLeaves = 16

// AnchorLeaf gives the leaf of a grant's id in the tree of a batch (Assent
// protocol, section 6).
func AnchorLeaf(id common.Hash) common.Hash { return crypto.Keccak256Hash(id[:]) }

// Root gives the root that a proof leads to from a leaf: each node is the hash
// of its two children, the smaller first.
func Root(leaf common.Hash, proof []common.Hash) common.Hash {
	for _, sibling := range proof {
		leaf = node(leaf, sibling)
	}
	return leaf
}

func node(a, b common.Hash) common.Hash {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	var pair [64]byte
	copy(pair[:32], a[:])
	copy(pair[32:], b[:])
	return crypto.Keccak256Hash(pair[:])
}

// Tree is a Merkle tree with sorted pairs. An odd node at the end of a level
// rises unpaired.
type Tree struct {
	levels [][]common.Hash // leaves first, root last
}

// NewTree makes the tree over leaves in their order; there must be at least
// one. The leaves of a relay's tree are the roots that it was handed.
func NewTree(leaves []common.Hash) *Tree {
	leaves = slices.Clone(leaves)
	levels := [][]common.Hash{leaves}
	for len(leaves) > 1 {
		above := make([]common.Hash, 0, (len(leaves)+1)/2)
		for i := 0; i+1 < len(leaves); i += 2 {
			above = append(above, node(leaves[i], leaves[i+1]))
		}
		if len(leaves)%2 == 1 {
			above = append(above, leaves[len(leaves)-1])
		}
		levels = append(levels, above)
		leaves = above
	}
	return &Tree{levels}
}

// Root gives the root of the tree.
func (t *Tree) Root() common.Hash { return t.levels[len(t.levels)-1][0] }

// Proof gives the siblings of leaf i from the leaf up; empty in a tree of one.
func (t *Tree) Proof(i int) []common.Hash {
	proof := make([]common.Hash, 0, len(t.levels)-1)
	for _, level := range t.levels[:len(t.levels)-1] {
		if sibling := i ^ 1; sibling < len(level) {
			proof = append(proof, level[sibling])
		}
		i /= 2
	}
	return proof
}

// Disclose makes the tree of a grant's provisions. It draws a fresh salt for
// each of them, fills the tree with random leaves to 16, or to the next power
// of two, puts all in random order, and gives the root for the grant and an
// opening of each provision, in the order given. random must be
// cryptographically secure. There must be at least one provision.
func Disclose(random io.Reader, provisions []Provision) (root common.Hash, openings []Opening, err error) {
	if len(provisions) == 0 {
		return common.Hash{}, nil, fmt.Errorf("a grant needs at least one provision")
	}
	size := minProvisionLeaves
	for size < len(provisions) {
		size *= 2
	}
	// Salts and fillers alike are 32 random bytes.
	leaves := make([]common.Hash, size)
	for i := range leaves {
		if _, err := io.ReadFull(random, leaves[i][:]); err != nil {
			return common.Hash{}, nil, fmt.Errorf("draw a salt: %w", err)
		}
	}
	openings = make([]Opening, len(provisions))
	place := make([]int, size) // leaf i of the unshuffled tree goes to place[i]
	for i := range place {
		place[i] = i
	}
	for i := size - 1; i > 0; i-- {
		j, err := rand.Int(random, big.NewInt(int64(i+1)))
		if err != nil {
			return common.Hash{}, nil, fmt.Errorf("shuffle the provisions: %w", err)
		}
		place[i], place[j.Int64()] = place[j.Int64()], place[i]
	}
	shuffled := make([]common.Hash, size)
	for i, leaf := range leaves {
		if i < len(provisions) {
			openings[i].Provision = provisions[i]
			openings[i].Provision.Salt = leaf
			leaf = openings[i].Provision.Leaf()
		}
		shuffled[place[i]] = leaf
	}
	tree := NewTree(shuffled)
	for i := range openings {
		openings[i].Proof = tree.Proof(place[i])
	}
	return tree.Root(), openings, nil
}

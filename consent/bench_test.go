package consent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// benchmarkDecide decides an access through so many links: from the decoded
// document to the verdict, the state of the chain read beforehand.
func benchmarkDecide(b *testing.B, links int, verified *Verified) {
	d, grantee := handedOn(b, links, fourProvisions())
	access := accessBy(b, d, grantee, laboratory, []Scope{laboratoryScope})
	chain := anchors(access)
	state := chain.state(Examine(access, verified).Entries())
	b.ReportAllocs()
	for b.Loop() {
		e := Examine(access, verified)
		if need := e.Entries(); len(need.Anchors) != links {
			b.Fatal("too few entries")
		}
		if v, err := e.Decide(state, now); err != nil || v.Outcome != Permit {
			b.Fatal(v, err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, links := range []int{1, 4, 16, 32} {
		b.Run(fmt.Sprintf("links=%d/cold", links), func(b *testing.B) { benchmarkDecide(b, links, nil) })
		b.Run(fmt.Sprintf("links=%d/verified", links), func(b *testing.B) { benchmarkDecide(b, links, NewVerified(64)) })
	}
}

// BenchmarkEntriesAtTheLimits is the most that an access can make Entries do.
func BenchmarkEntriesAtTheLimits(b *testing.B) {
	links := make([]Link, MaxLinks)
	for i := range links {
		links[i].Grant.Grantor = common.Address{byte(i)}
		links[i].Signature = make([]byte, MaxSignature)
		for k := range MaxRevocations {
			links[i].Grant.Revocations = append(links[i].Grant.Revocations, common.Hash{byte(i), byte(k), 1})
		}
	}
	d := &AccessDocument{Domain: testDomain, Links: links, Access: Access{Holder: laboratory, Scopes: []Scope{laboratoryScope}}}
	e := Examine(d, nil)
	b.ReportAllocs()
	for b.Loop() {
		if need := e.Entries(); len(need.Revocations) != MaxLinks*MaxRevocations {
			b.Fatal("too few entries")
		}
	}
}

func BenchmarkGrantID(b *testing.B) {
	d, _ := handedOn(b, 1, fourProvisions())
	b.ReportAllocs()
	for b.Loop() {
		d.Grant.ID(testDomain)
	}
}

func BenchmarkDisclose(b *testing.B) {
	random, provisions := testRandom(1), fourProvisions()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Disclose(random, provisions); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignGrant makes and signs a grant of four provisions, tree included.
func BenchmarkSignGrant(b *testing.B) {
	d, _ := handedOn(b, 1, fourProvisions())
	key, random, provisions := testKey("patient"), testRandom(1), fourProvisions()
	b.ReportAllocs()
	for b.Loop() {
		root, _, err := Disclose(random, provisions)
		if err != nil {
			b.Fatal(err)
		}
		d.Grant.Provisions = root
		if _, err := Sign(d.Grant.ID(testDomain), key); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkRead[T any](b *testing.B, document json.Marshaler, read func(*bytes.Reader) (T, error)) {
	text, err := document.MarshalJSON()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := read(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadGrant(b *testing.B) {
	d, _ := handedOn(b, 1, fourProvisions())
	benchmarkRead(b, d, func(r *bytes.Reader) (*GrantDocument, error) { return ReadGrant(r) })
}

func BenchmarkReadAccess(b *testing.B) {
	d, grantee := handedOn(b, 1, fourProvisions())
	benchmarkRead(b, accessBy(b, d, grantee, laboratory, []Scope{laboratoryScope}), func(r *bytes.Reader) (*AccessDocument, error) { return ReadAccess(r) })
}

func BenchmarkWriteGrant(b *testing.B) {
	d, _ := handedOn(b, 1, fourProvisions())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.MarshalJSON(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTree(b *testing.B) {
	leaves := testLeaves(1000)
	b.ReportAllocs()
	for b.Loop() {
		tree := NewTree(leaves)
		for i := range leaves {
			tree.Proof(i)
		}
	}
}

package wallet

import (
	"fmt"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func BenchmarkSignBatchGrant(b *testing.B) {
	k := newTestKey(b)
	one := provisions(b, "patient/Observation.rs?category=laboratory")
	b.Run("id", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := k.BatchGrantID(domain, window(grantee), one, Epochs{}, common.Hash{1}, fmt.Sprint(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signed", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := k.SignBatchGrant(domain, window(grantee), one, Epochs{}, common.Hash{1}, fmt.Sprint(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("document", func(b *testing.B) {
		d, err := k.SignBatchGrant(domain, window(grantee), one, Epochs{}, common.Hash{1}, "a")
		if err != nil {
			b.Fatal(err)
		}
		d.AnchorProof = make([]common.Hash, 17)
		for b.Loop() {
			if _, err := d.MarshalJSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

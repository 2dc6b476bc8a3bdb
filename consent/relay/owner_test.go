package relay_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/relay"
)

// What was taken for one network is never posted on another.
func TestDatabaseOfAnotherNetwork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.db")
	for _, c := range []struct {
		chain uint64
		want  error
	}{{1, nil}, {2, database.ErrOthers}, {1, nil}} {
		r, err := relay.Open(t.Context(), nil, relay.Options{
			Database: file, Account: common.Address{1}, Domain: consent.Domain{ChainID: c.chain, Registry: common.Address{2}}, Interval: time.Second,
		})
		if !errors.Is(err, c.want) {
			t.Errorf("chain %d: %v", c.chain, err)
		}
		if err == nil {
			r.Close()
		}
	}
}

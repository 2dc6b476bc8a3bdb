package registry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"path/filepath"

	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

// mirrored is a mirror of what the client reaches, with the file at path.
func mirrored(t testing.TB, c *registry.Client, path string) *registry.Mirror {
	t.Helper()
	m, err := registry.OpenMirror(t.Context(), path, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// copyOf is a mirror of the ledger, with a file of its own.
func copyOf(t testing.TB, n registry.Network) *registry.Mirror {
	t.Helper()
	return mirrored(t, client(t, n, nil), filepath.Join(t.TempDir(), "mirror.db"))
}

// following has the mirror follow until the test ends or stop is called.
func following(t testing.TB, m *registry.Mirror) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Follow(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("follow: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func catchUp(t testing.TB, m *registry.Mirror) {
	t.Helper()
	if err := m.CatchUp(limited(t)); err != nil {
		t.Fatal(err)
	}
}

func stateOf(t testing.TB, m *registry.Mirror, need consent.Entries) consent.State {
	t.Helper()
	state, err := m.State(limited(t), need)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// needs are the entries of the first roots, secrets and accounts.
func needs(n int) (need consent.Entries) {
	for i := range n {
		need.Anchors = append(need.Anchors, filler("root", i))
		need.Revocations = append(need.Revocations, consent.Revocation(filler("secret", i)))
		need.Accounts = append(need.Accounts, account(i))
	}
	return need
}

// TestMirrorIsTheLedger: whatever the chain does, and wherever the mirror is cut
// off and opened again, once it is level it says what the chain says, and
// remembers every revocation and retirement that it saw.
func TestMirrorIsTheLedger(t *testing.T) {
	t.Parallel()
	const kinds = 5
	outer := t
	need := needs(kinds)
	folder := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		l := newLedger()
		l.most = rapid.Uint64Range(0, 40).Draw(t, "most blocks of a range")
		c := registry.New(l.network(rapid.Uint64Range(1, 6).Draw(t, "confirmations")), nil)
		defer c.Close()
		files++
		path := filepath.Join(folder, fmt.Sprintf("%d.db", files))
		open := func() *registry.Mirror {
			m, err := registry.OpenMirror(ctx, path, c)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		m := open()
		defer func() { m.Close() }()
		seen := make(map[string]bool)     // was there when the mirror was level
		possible := make(map[string]bool) // was there at any time
		mine := func(t *rapid.T, blocks int) {
			for range blocks {
				var calls [][]byte
				for range rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "calls") {
					make := rapid.SampledFrom([]func(testing.TB, int) []byte{anchoring, revealing, retiring}).Draw(t, "call")
					calls = append(calls, make(outer, rapid.IntRange(0, kinds-1).Draw(t, "of")))
				}
				l.mine(calls...)
			}
			for key := range l.blocks[len(l.blocks)-1].entries {
				possible[key] = true
			}
		}
		version, last := m.Version(), ""
		compare := func() {
			if err := m.CatchUp(ctx); err != nil {
				t.Fatal(err)
			}
			want, err := c.Read(ctx, need)
			if err != nil {
				t.Fatal(err)
			}
			for key := range l.blocks[len(l.blocks)-1].entries {
				seen[key] = true
			}
			got, err := m.State(ctx, need)
			if err != nil {
				t.Fatal(err)
			}
			if got.Block != want.Block || got.BlockHash != want.BlockHash || got.Time != want.Time || got.Age > 2 {
				t.Fatalf("it is of block %d %s %d, age %d; want %d %s %d", got.Block, got.BlockHash, got.Time, got.Age, want.Block, want.BlockHash, want.Time)
			}
			if !maps.Equal(got.Anchored, want.Anchored) {
				t.Fatalf("anchored %v, want %v", got.Anchored, want.Anchored)
			}
			check := func(key string, got, want uint64) {
				switch {
				case want != 0 && got != want:
					t.Fatalf("%s: %d, want %d", key, got, want)
				case got == 0 && seen[key]:
					t.Fatalf("%s is forgotten", key)
				case got != 0 && !possible[key]:
					t.Fatalf("%s never was there", key)
				}
			}
			for revocation, at := range got.Revoked {
				check("revokedAt"+revocation.Hex(), at, want.Revoked[revocation])
			}
			for account, at := range got.Retired {
				check("retiredAt"+common.BytesToHash(account[:]).Hex(), at, want.Retired[account])
			}
			got.Age = 0
			if now := fmt.Sprint(got); now != last {
				if last != "" && m.Version() == version {
					t.Fatalf("the state changed and the version did not: %s, %s", last, now)
				}
				version, last = m.Version(), now
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"mine":     func(t *rapid.T) { mine(t, rapid.IntRange(1, 4).Draw(t, "blocks")) },
			"far":      func(t *rapid.T) { l.mineEmpty(rapid.IntRange(40, 200).Draw(t, "blocks")); mine(t, 2) },
			"catch up": func(*rapid.T) { compare() },
			"reorg": func(t *rapid.T) {
				n := rapid.IntRange(1, min(l.length()-1, 80)+1).Draw(t, "blocks") - 1
				l.drop(n)
				mine(t, rapid.IntRange(max(n-30, 1), n+2).Draw(t, "new blocks")) // it may be shorter than before
			},
			"cut": func(t *rapid.T) {
				l.set(func(l *ledger) { l.calls, l.fails = 0, rapid.IntRange(1, 30).Draw(t, "calls") })
				_ = m.CatchUp(ctx)
				l.set(func(l *ledger) { l.fails = 0 })
			},
			"restart": func(t *rapid.T) {
				before := m.Version()
				if err := m.Close(); err != nil {
					t.Fatal(err)
				}
				if m = open(); m.Version() < before {
					t.Fatal("an old version comes again")
				}
			},
		})
		compare()
		compare()
	})
}

// TestMirrorFollows is on the embedded chain.
func TestMirrorFollows(t *testing.T) {
	t.Parallel()
	n, p := embedded(t)
	c := deployed(t, n, p)
	m := mirrored(t, c, filepath.Join(t.TempDir(), "mirror.db"))
	if _, err := m.State(t.Context(), needs(1)); !errors.Is(err, registry.ErrNoCopy) {
		t.Errorf("before it has read anything: %v", err)
	}
	following(t, m)
	domain := consent.Domain{ChainID: n.ChainID, Registry: registry.Address}
	retirement := consent.Retirement{Account: account(0)}
	if _, err := c.Anchor(limited(t), filler("root", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(limited(t), []common.Hash{filler("secret", 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Retire(limited(t), account(0), sign(t, keys[0], retirement.Digest(domain))); err != nil {
		t.Fatal(err)
	}
	need := needs(2)
	query := consent.SignatureQuery{Account: account(1), Digest: filler("digest", 0), Signature: string(sign(t, keys[1], filler("digest", 0)))}
	other := query
	other.Account = account(2)
	need.Signatures = []consent.SignatureQuery{query, other}
	want, err := c.Read(limited(t), need)
	if err != nil {
		t.Fatal(err)
	}
	if want.Anchored[filler("root", 0)] == 0 || want.Retired[account(0)] == 0 || !want.Signed[query] || want.Signed[other] {
		t.Fatalf("the chain says %+v", want)
	}
	eventually(t, "the same state as the chain's", func() bool {
		got := stateOf(t, m, need)
		got.Age = 0
		return cmp.Equal(got, want)
	})
	if s, err := m.Status(t.Context()); err != nil || s.Block.Hash != want.BlockHash || s.Head != want.Block || s.Err != nil || s.Unposted != nil {
		t.Errorf("status %+v, %v", s, err)
	}
}

// TestMirrorReorg is on anvil, which takes five blocks back: an anchor in them
// does not count any more, while a revocation and a retirement do, and are
// posted again, also by a mirror that was opened since.
func TestMirrorReorg(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	n.Confirmations = 3
	c := placed(t, n, r, payerOf(0))
	path := filepath.Join(t.TempDir(), "mirror.db")
	m := mirrored(t, c, path)
	stop := following(t, m)
	domain := consent.Domain{ChainID: n.ChainID, Registry: registry.Address}
	retirement := consent.Retirement{Account: account(1)}
	signature := sign(t, keys[1], retirement.Digest(domain))

	do(t, r, nil, "anvil_mine", hexutil.Uint64(4))
	for _, post := range []func() (registry.Posted, error){
		func() (registry.Posted, error) { return c.Anchor(t.Context(), filler("root", 0)) },
		func() (registry.Posted, error) { return c.Revoke(t.Context(), []common.Hash{filler("secret", 0)}) },
		func() (registry.Posted, error) { return c.Retire(t.Context(), account(1), signature) },
	} {
		done := background(post)
		sent(t, r)
		do(t, r, nil, "evm_mine")
		do(t, r, nil, "anvil_mine", hexutil.Uint64(2))
		if got := <-done; got.err != nil {
			t.Fatal(got.err)
		}
	}
	need := needs(2)
	all := func(state consent.State) bool {
		return state.Anchored[filler("root", 0)] != 0 && state.Revoked[need.Revocations[0]] != 0 && state.Retired[account(1)] != 0
	}
	eventually(t, "all entries", func() bool {
		state, err := m.State(t.Context(), need)
		return err == nil && all(state)
	})
	before := stateOf(t, m, need)

	// All nine blocks go, so that the anchor does as well.
	do(t, r, nil, "anvil_reorg", 9, []any{})
	eventually(t, "the new chain", func() bool { return stateOf(t, m, need).BlockHash != before.BlockHash })
	state := stateOf(t, m, need)
	if state.Anchored[filler("root", 0)] != 0 {
		t.Error("an anchor that was dropped counts")
	}
	if state.Revoked[need.Revocations[0]] == 0 || state.Retired[account(1)] == 0 {
		t.Error("a revocation or a retirement that was dropped does not count any more")
	}
	if chain, err := c.Read(limited(t), need); err != nil || chain.Revoked[need.Revocations[0]] != 0 {
		t.Fatalf("the revocation was not dropped: %v, %v", chain, err)
	}
	stop()

	again := mirrored(t, c, path)
	following(t, again)
	eventually(t, "both on chain again", func() bool {
		do(t, r, nil, "evm_mine")
		chain, err := c.Read(limited(t), need)
		return err == nil && chain.Revoked[need.Revocations[0]] != 0 && chain.Retired[account(1)] != 0
	})
}

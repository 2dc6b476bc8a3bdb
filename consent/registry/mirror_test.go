package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"path/filepath"

	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
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
// remembers every revocation and retirement that it saw, where these do not prove
// themselves from when they were confirmed.
func TestMirrorIsTheLedger(t *testing.T) {
	t.Parallel()
	const kinds = 5
	outer := t
	need := needs(kinds)
	retire := func(t testing.TB, i int) []byte {
		if i%2 == 1 {
			return retiringUnproven(t, i)
		}
		return retiring(t, i)
	}
	unproven := func(key string) bool {
		return slices.ContainsFunc([]int{1, 3}, func(i int) bool { return key == "retiredAt"+common.BytesToHash(account(i).Bytes()).Hex() })
	}
	folder := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		l := newLedger()
		l.most = rapid.Uint64Range(0, 40).Draw(t, "most blocks of a range")
		confirmations := rapid.Uint64Range(1, 6).Draw(t, "confirmations")
		c := registry.New(l.network(confirmations), nil)
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
					make := rapid.SampledFrom([]func(testing.TB, int) []byte{anchoring, revealing, retire}).Draw(t, "call")
					calls = append(calls, make(outer, rapid.IntRange(0, kinds-1).Draw(t, "of")))
				}
				l.mine(calls...)
			}
			for key := range l.blocks[len(l.blocks)-1].entries {
				possible[key] = true
			}
		}
		// Whenever it is asked, what it says is of the block that it names.
		ofOneBlock := func() {
			state, err := m.State(ctx, need)
			if errors.Is(err, registry.ErrNoCopy) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			latest, confirmed := l.above(state.BlockHash, 0), l.above(state.BlockHash, confirmations-1)
			for root, at := range state.Anchored {
				if want := confirmed["anchoredAt"+root.Hex()]; at != want {
					t.Fatalf("at block %d %s root %s is anchored at %d, want %d", state.Block, state.BlockHash, root, at, want)
				}
			}
			for revocation, at := range state.Revoked {
				if latest["revokedAt"+revocation.Hex()] != 0 && at == 0 {
					t.Fatalf("at block %d %s a revocation is missing", state.Block, state.BlockHash)
				}
			}
		}
		reorg := func(t *rapid.T) {
			n := rapid.IntRange(1, min(l.length()-1, 80)+1).Draw(t, "blocks") - 1
			l.drop(n)
			mine(t, rapid.IntRange(max(n-30, 1), n+2).Draw(t, "new blocks")) // it may be shorter than before
		}
		version, last := m.Version(), ""
		compare := func() {
			if err := m.CatchUp(ctx); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			want, err := c.Read(ctx, need)
			if err != nil {
				t.Fatal(err)
			}
			confirmed := l.above(want.BlockHash, confirmations-1)
			for key := range l.blocks[len(l.blocks)-1].entries {
				if confirmed[key] != 0 || !unproven(key) {
					seen[key] = true
				}
			}
			got, err := m.State(ctx, need)
			if err != nil {
				t.Fatal(err)
			}
			if got.Block != want.Block || got.BlockHash != want.BlockHash || got.Time != want.Time || got.Age > want.Age+uint64(time.Since(began)/time.Second)+1 {
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
			"reorg":    reorg,
			"cut": func(t *rapid.T) {
				l.set(func(l *ledger) { l.calls, l.fails = 0, rapid.IntRange(1, 30).Draw(t, "calls") })
				_ = m.CatchUp(ctx)
				l.set(func(l *ledger) { l.fails = 0 })
				ofOneBlock()
			},
			"reorg meanwhile": func(t *rapid.T) {
				l.set(func(l *ledger) {
					l.calls, l.when, l.then = 0, rapid.IntRange(1, 12).Draw(t, "calls"), func() { reorg(t) }
				})
				_ = m.CatchUp(ctx)
				l.set(func(l *ledger) { l.when = 0 })
				ofOneBlock()
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

// TestMirrorReorgWhileRead: wherever a deep reorganisation comes while blocks are
// read in ranges, what the new chain has is not taken for absent because the old
// one had it not.
func TestMirrorReorgWhileRead(t *testing.T) {
	revocation := consent.Revocation(filler("secret", 0))
	key := "revokedAt" + revocation.Hex()
	reorganised := 0
	for call := 1; call <= 12; call++ {
		l := newLedger()
		l.mineEmpty(10)
		m := copyOf(t, l.network(1))
		catchUp(t, m)
		l.mineEmpty(200)
		l.set(func(l *ledger) {
			l.calls, l.when, l.then = 0, call, func() {
				reorganised++
				l.drop(190)
				l.mine(revealing(t, 0))
				l.mineEmpty(200)
			}
		})
		_ = m.CatchUp(limited(t))
		l.set(func(l *ledger) { l.when = 0 })
		for range 2 {
			state := stateOf(t, m, needs(1))
			if l.above(state.BlockHash, 0)[key] != 0 && state.Revoked[revocation] == 0 {
				t.Errorf("reorganised before call %d: at block %d the revocation is missing", call, state.Block)
			}
			catchUp(t, m)
		}
		if state := stateOf(t, m, needs(1)); (state.Revoked[revocation] == 0) != (l.above(state.BlockHash, 0)[key] == 0) {
			t.Errorf("reorganised before call %d: at the head the revocation is missing", call)
		}
	}
	if reorganised < 4 {
		t.Errorf("reorganised %d times", reorganised)
	}
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
	if state := stateOf(t, m, needs(1)); state.Anchored[filler("root", 0)] == 0 {
		t.Error("an anchor that is confirmed does not count at once")
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

// TestMirrorLooksAtOnce: an anchor that is not there is looked for again right
// away, not at the next turn.
func TestMirrorLooksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		m := copyOf(t, l.network(1))
		following(t, m)
		eventually(t, "the chain", func() bool { _, err := m.State(t.Context(), consent.Entries{}); return err == nil })
		began := time.Now()
		for range 10 {
			stateOf(t, m, needs(1))
		}
		if took := time.Since(began); took > 10*50*time.Millisecond {
			t.Errorf("ten states with an anchor that is not there took %v", took)
		}
	})
}

// TestMirrorReorg is on anvil, which takes nine blocks back: an anchor in them
// does not count any more, while a revocation and a retirement do, and are
// posted again, also by a mirror that was opened since.
func TestMirrorReorg(t *testing.T) {
	t.Parallel()
	t.Run("kept open", func(t *testing.T) { t.Parallel(); testMirrorReorg(t, false) })
	t.Run("opened again", func(t *testing.T) { t.Parallel(); testMirrorReorg(t, true) })
}

func testMirrorReorg(t *testing.T, reopen bool) {
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
	if reopen {
		stop()
		following(t, mirrored(t, c, path))
	}
	eventually(t, "both on chain again", func() bool {
		do(t, r, nil, "evm_mine")
		chain, err := c.Read(limited(t), need)
		return err == nil && chain.Revoked[need.Revocations[0]] != 0 && chain.Retired[account(1)] != 0
	})
}

// TestMirrorEndpoints: where several are configured, the copy is moved on with
// what they agree on.
func TestMirrorEndpoints(t *testing.T) {
	t.Parallel()
	need := needs(3)
	const confirmations = 2
	start := func(t *testing.T) (honest *ledger, n registry.Network) {
		honest = newLedger()
		honest.mine(anchoring(t, 0))
		honest.mineEmpty(3)
		n = honest.network(confirmations)
		return honest, n
	}
	t.Run("one is behind", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		behind := honest.fork(1)
		n.Endpoints = []registry.Endpoint{behind.serve("behind"), n.Endpoints[0]}
		m := copyOf(t, n)
		for i := range 3 {
			honest.mine(revealing(t, i))
			err := m.CatchUp(limited(t))
			state := stateOf(t, m, need)
			if state.Revoked[need.Revocations[i]] == 0 {
				t.Errorf("revocation %d does not count", i)
			}
			// It is as old as the other, so that which of them is wrong about the
			// confirmed block cannot be told, once it does not have that.
			if agree := i < confirmations-1; (err == nil) != agree || (state.Block == uint64(honest.length()-1)) != agree {
				t.Errorf("revocation %d: block %d of %d, %v", i, state.Block, honest.length()-1, err)
			}
		}
	})
	t.Run("one stands still", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		for _, b := range honest.blocks {
			b.time -= 1_000
		}
		still := honest.fork(1)
		n.Endpoints = []registry.Endpoint{still.serve("still"), n.Endpoints[0]}
		m := copyOf(t, n)
		for range 5 {
			honest.mine()
			catchUp(t, m)
		}
		before := stateOf(t, m, need)
		if before.Block != uint64(honest.length()-1) {
			t.Errorf("it is of block %d of %d", before.Block, honest.length()-1)
		}
		// The only one that is left: nothing goes back, and the view ages.
		honest.set(func(l *ledger) { l.fails = 1 })
		err := m.CatchUp(limited(t))
		if !errors.Is(err, registry.ErrUnreachable) || !strings.Contains(err.Error(), "still: it is behind: its latest block is 4, and the copy has 9") {
			t.Errorf("with an endpoint that is behind: %v", err)
		}
		if state := stateOf(t, m, need); state.BlockHash != before.BlockHash {
			t.Errorf("the copy went from block %d to %d", before.Block, state.Block)
		}
	})
	t.Run("one lies about its head", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		liar := honest.fork(2)
		liar.mine(anchoring(t, 1), revealing(t, 1))
		liar.mineEmpty(1_000)
		n.Endpoints = append(n.Endpoints, liar.serve("liar"))
		m := copyOf(t, n)
		catchUp(t, m)
		state := stateOf(t, m, need)
		if state.Block != uint64(honest.length()-1) || state.Anchored[need.Anchors[0]] == 0 || state.Anchored[need.Anchors[1]] != 0 {
			t.Errorf("it is of block %d, the honest chain of %d: %v", state.Block, honest.length()-1, state.Anchored)
		}
	})
	t.Run("they are apart", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		forked := honest.fork(3)
		n.Endpoints = append(n.Endpoints, forked.serve("forked"))
		m := copyOf(t, n)
		catchUp(t, m)
		before, version := stateOf(t, m, need), m.Version()
		honest.mine(revealing(t, 2))
		forked.mine(anchoring(t, 1), revealing(t, 1))
		catchUp(t, m) // not deep enough yet
		for range confirmations {
			honest.mine()
			forked.mine()
		}
		for range 2 {
			err := m.CatchUp(limited(t))
			apart, is := errors.AsType[*registry.DisagreementError](err)
			if !is || apart.Number <= before.Block || len(apart.Blocks) != 2 || apart.Blocks[0].Hash == apart.Blocks[1].Hash {
				t.Fatalf("with two chains: %v", err)
			}
			for _, name := range []string{"ledger has 0x", "forked has 0x"} {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%v does not say %s", err, name)
				}
			}
		}
		state := stateOf(t, m, need)
		if state.Anchored[need.Anchors[1]] != 0 {
			t.Error("an anchor on which they do not agree counts")
		}
		if state.Revoked[need.Revocations[2]] == 0 && state.Revoked[need.Revocations[1]] == 0 || m.Version() == version {
			t.Error("a revocation that one of them shows does not count")
		}
	})
	t.Run("one retires accounts", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		liar := honest.fork(5)
		n.Endpoints = append(n.Endpoints, liar.serve("liar"))
		m := copyOf(t, n)
		catchUp(t, m)
		// Where nobody contradicts it yet, whatever it shows counts, and goes
		// with the block unless it proves itself. What proved itself before does
		// not stand on the liar's word for it.
		retirement := consent.Retirement{Account: account(1)}
		if proven, err := m.Retire(limited(t), retirement, sign(t, keys[1], retirement.Digest(consent.Domain{ChainID: n.ChainID, Registry: registry.Address}))); !proven || err != nil {
			t.Fatal(proven, err)
		}
		liar.mine(retiringUnproven(t, 0), retiringUnproven(t, 1))
		catchUp(t, m)
		if state := stateOf(t, m, need); state.Retired[account(0)] == 0 || state.Retired[account(1)] == 0 {
			t.Errorf("retirements of the latest block do not count: %v", state.Retired)
		}
		honest.mineEmpty(confirmations)
		liar.set(func(l *ledger) { l.blocks = slices.Clone(honest.blocks) })
		catchUp(t, m)
		if state := stateOf(t, m, need); state.Retired[account(0)] != 0 || state.Retired[account(1)] == 0 {
			t.Errorf("retired %v, want the one alone that its key signed", state.Retired)
		}
		liar.mine(retiringUnproven(t, 0), retiring(t, 2))
		liar.mineEmpty(2 * confirmations)
		honest.mineEmpty(confirmations)
		if err := m.CatchUp(limited(t)); err == nil {
			t.Fatal("they do not disagree")
		} else if _, apart := errors.AsType[*registry.DisagreementError](err); !apart {
			t.Fatal(err)
		}
		if state := stateOf(t, m, need); state.Retired[account(0)] != 0 || state.Retired[account(2)] == 0 {
			t.Errorf("retired %v, want those alone that their keys signed", state.Retired)
		}
	})
	t.Run("one repeats entries", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		honest.mine(retiringUnproven(t, 0))
		honest.mineEmpty(confirmations)
		for _, b := range honest.blocks {
			b.time -= 1_000
		}
		liar := honest.fork(7)
		n.Endpoints = append(n.Endpoints, liar.serve("liar"))
		m := copyOf(t, n)
		catchUp(t, m)
		before := stateOf(t, m, need)
		if before.Anchored[need.Anchors[0]] == 0 || before.Retired[account(0)] == 0 {
			t.Fatalf("%+v", before)
		}
		liar.set(func(l *ledger) {
			head := *l.blocks[len(l.blocks)-1]
			head.entries = map[string]uint64{}
			l.blocks[len(l.blocks)-1] = &head
		})
		liar.mine(anchoring(t, 0), retiringUnproven(t, 0))
		catchUp(t, m)
		honest.mineEmpty(confirmations)
		liar.set(func(l *ledger) { l.blocks = slices.Clone(honest.blocks) })
		catchUp(t, m)
		state := stateOf(t, m, need)
		if state.Block != uint64(honest.length()-1) || !maps.Equal(state.Anchored, before.Anchored) || !maps.Equal(state.Retired, before.Retired) {
			t.Errorf("before %+v, and after what the liar showed went %+v", before, state)
		}
	})
	t.Run("one has a block of no time", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		liar := honest.fork(6)
		liar.mine(revealing(t, 2))
		liar.set(func(l *ledger) { l.blocks[len(l.blocks)-1].time = 0 })
		n.Endpoints = append(n.Endpoints, liar.serve("liar"))
		m := copyOf(t, n)
		catchUp(t, m)
		if err := m.Reveal(limited(t), filler("secret", 2)); err != nil {
			t.Fatal(err)
		}
		if state := stateOf(t, m, need); state.Revoked[need.Revocations[2]] == 0 {
			t.Error("a secret that was handed over does not count")
		}
	})
	t.Run("one is silent", func(t *testing.T) {
		t.Parallel()
		honest, n := start(t)
		silent := honest.fork(4)
		silent.silence(t)
		n.Endpoints = []registry.Endpoint{silent.serve("silent"), n.Endpoints[0]}
		n.Timeout = 3 * time.Second
		m := copyOf(t, n)
		following(t, m)
		eventually(t, "the chain", func() bool {
			state, err := m.State(t.Context(), need)
			return err == nil && state.Block == uint64(honest.length()-1) && state.Anchored[need.Anchors[0]] != 0
		})
	})
	t.Run("another chain", func(t *testing.T) {
		t.Parallel()
		_, n := start(t)
		m := copyOf(t, n)
		catchUp(t, m)
		other := newLedger()
		other.set(func(l *ledger) { l.made = 1 << 40 })
		other.mine(revealing(t, 0))
		other.mineEmpty(10)
		honest := needs(1)
		n.Endpoints = []registry.Endpoint{other.serve("other")}
		replaced := copyOf(t, n)
		catchUp(t, replaced)
		if state := stateOf(t, replaced, honest); state.Anchored[honest.Anchors[0]] != 0 || state.Revoked[honest.Revocations[0]] == 0 {
			t.Errorf("%+v", state)
		}
	})
}

// TestMirrorShorterChain: while the copy has but some of the blocks, a chain
// that a reorganisation made shorter is not taken for one that is behind.
func TestMirrorShorterChain(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.mineEmpty(200)
	m := copyOf(t, l.network(1))
	reached := func() uint64 {
		status, err := m.Status(t.Context())
		if !errors.Is(err, registry.ErrNoCopy) {
			t.Fatal(err)
		}
		return status.Block.Number
	}
	for calls := 1; reached() == 0; calls++ {
		l.set(func(l *ledger) { l.calls, l.fails = 0, calls })
		if err := m.CatchUp(limited(t)); err == nil {
			t.Fatal("it was not cut off")
		}
	}
	l.set(func(l *ledger) { l.fails = 0 })
	l.drop(l.length() - int(reached()) + 5)
	l.mine(anchoring(t, 0))
	catchUp(t, m)
	if state := stateOf(t, m, needs(1)); state.Block != uint64(l.length()-1) || state.Anchored[filler("root", 0)] == 0 {
		t.Errorf("it is of block %d of %d: %v", state.Block, l.length()-1, state.Anchored)
	}
}

// TestMirrorRetiredContract: what does not prove itself is not forgotten again
// once it was confirmed, however often it comes and goes after that.
func TestMirrorRetiredContract(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.mineEmpty(1)
	m := copyOf(t, l.network(2))
	retired := func() bool {
		catchUp(t, m)
		return stateOf(t, m, needs(1)).Retired[account(0)] != 0
	}
	l.mine(retiringUnproven(t, 0))
	if !retired() {
		t.Error("it does not count as soon as it is seen")
	}
	l.drop(1)
	l.mineEmpty(2)
	if retired() {
		t.Error("it counts after its block went, which was not confirmed")
	}
	l.mine(retiringUnproven(t, 0))
	l.mineEmpty(1)
	for range 2 {
		if !retired() {
			t.Error("it does not count")
		}
		l.drop(2)
		l.mineEmpty(3)
		if !retired() {
			t.Error("it is forgotten, though it was confirmed")
		}
		l.mine(retiringUnproven(t, 0))
		if !retired() {
			t.Error("it does not count")
		}
		l.drop(1)
		l.mineEmpty(2)
	}
}

// TestMirrorRetiredContractShorterChain: what was confirmed stays so where the
// chain was made shorter since, so that its block is near the head again.
func TestMirrorRetiredContractShorterChain(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.mineEmpty(1)
	c := client(t, l.network(3), nil)
	path := filepath.Join(t.TempDir(), "mirror.db")
	retired := func(i int) bool {
		m, err := registry.OpenMirror(t.Context(), path, c) // the file alone knows it
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		catchUp(t, m)
		return stateOf(t, m, needs(2)).Retired[account(i)] != 0
	}
	l.mine(retiringUnproven(t, 0))
	l.mineEmpty(5)
	for range 2 { // the second time from a chain that is short already
		if !retired(0) {
			t.Fatal("it does not count")
		}
		l.drop(l.length() - 3)
		l.mine(retiringUnproven(t, 1))
	}
	if !retired(0) || !retired(1) {
		t.Error("they do not count")
	}
	l.drop(l.length() - 2)
	l.mineEmpty(1)
	if !retired(0) {
		t.Error("it is forgotten, though it was confirmed")
	}
	if retired(1) {
		t.Error("it counts after its block went, which was not confirmed")
	}
	// Nor is what comes in its place confirmed because that was.
	l.mine(retiringUnproven(t, 1))
	if !retired(1) {
		t.Error("it does not count")
	}
	l.drop(1)
	l.mineEmpty(2)
	if !retired(0) || retired(1) {
		t.Error("the one that was confirmed counts, and the other does not")
	}
}

// TestMirrorAge: the view ages while no endpoint answers, and on a network that
// makes blocks all the time from the time of the last one.
func TestMirrorAge(t *testing.T) {
	t.Parallel()
	for _, onDemand := range []bool{true, false} {
		t.Run(fmt.Sprintf("on demand %t", onDemand), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testMirrorAge(t, onDemand) })
		})
	}
}

func testMirrorAge(t *testing.T, onDemand bool) {
	l := newLedger()
	l.set(func(l *ledger) { l.blocks[0].time -= 1_000 })
	n := l.network(1)
	n.OnDemand = onDemand
	n.Timeout = 200 * time.Millisecond
	path := filepath.Join(t.TempDir(), "mirror.db")
	m := mirrored(t, client(t, n, nil), path)
	following(t, m)
	eventually(t, "its age", func() bool {
		state, err := m.State(t.Context(), consent.Entries{})
		return err == nil && (state.Age < 1) == onDemand && (state.Age >= 1_000) == !onDemand
	})
	l.mine()
	eventually(t, "the new block", func() bool { return stateOf(t, m, consent.Entries{}).Block == 1 })
	if state := stateOf(t, m, consent.Entries{}); state.Age > 1 {
		t.Errorf("%d s old just after a block", state.Age)
	}
	speak := l.silence(t)
	eventually(t, "that it ages", func() bool { return stateOf(t, m, consent.Entries{}).Age >= 3 })
	status, err := m.Status(t.Context())
	if err != nil || !errors.Is(status.Err, registry.ErrUnreachable) || status.Age < 3*time.Second {
		t.Errorf("status %+v, %v", status, err)
	}
	// So it does for whoever opens it now.
	if state := stateOf(t, mirrored(t, client(t, n, nil), path), consent.Entries{}); state.Age < 3 || state.Age > 4 {
		t.Errorf("opened again it is %d s old", state.Age)
	}
	speak()
	if onDemand {
		eventually(t, "that it is young again", func() bool { return stateOf(t, m, consent.Entries{}).Age < 1 })
	}
}

// TestMirrorAgeAsleep: the age counts by the clock on the wall. Go's monotonic
// one, which a time has after " m=" in its text, stands still on Linux while the
// computer sleeps.
func TestMirrorAgeAsleep(t *testing.T) {
	t.Parallel()
	m := copyOf(t, newLedger().network(1))
	catchUp(t, m)
	if level := m.Level(); level.IsZero() || strings.Contains(level.String(), " m=") {
		t.Errorf("the age counts from %s", level)
	}
}

// TestMirrorFirst reads a long chain at a node that lists few blocks at once.
func TestMirrorFirst(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for i := range 3 {
		l.mineEmpty(1_500)
		l.mine(anchoring(t, i), revealing(t, i), retiring(t, i))
	}
	l.mineEmpty(10)
	l.most = 700
	m := copyOf(t, l.network(12))
	heights := []uint64{}
	for range 100 { // it is cut off again and again
		l.set(func(l *ledger) { l.calls, l.fails = 0, 12 })
		if err := m.CatchUp(limited(t)); err == nil {
			t.Fatal("it was not cut off")
		}
		status, err := m.Status(t.Context())
		if last := uint64(l.length() - 1); !errors.Is(err, registry.ErrNoCopy) || status.Head != 0 && status.Head != last {
			t.Fatalf("half way: %+v, %v", status, err)
		}
		if heights = append(heights, status.Block.Number); status.Block.Number+64 == uint64(l.length()-1) {
			break
		}
	}
	l.set(func(l *ledger) { l.fails = 0 })
	catchUp(t, m)
	if len(heights) < 3 || !slices.IsSorted(heights) {
		t.Errorf("it went over %d", heights)
	}
	need := needs(4)
	want, err := client(t, l.network(12), nil).Read(limited(t), need)
	if err != nil {
		t.Fatal(err)
	}
	got := stateOf(t, m, need)
	got.Age, want.Age = 0, 0
	if !cmp.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if want.Anchored[need.Anchors[1]] == 0 || want.Anchored[need.Anchors[2]] != 0 {
		t.Errorf("the chain has %v", want.Anchored)
	}
	l.set(func(l *ledger) { l.calls = 0 })
	catchUp(t, m)
	if l.calls > 1 {
		t.Errorf("%d calls where nothing is new", l.calls)
	}
}

// TestMirrorHandedOver: what proves itself counts at once, is kept, and is
// posted.
func TestMirrorHandedOver(t *testing.T) {
	t.Parallel()
	n, p := embedded(t)
	c := deployed(t, n, p)
	domain := consent.Domain{ChainID: n.ChainID, Registry: registry.Address}
	path := filepath.Join(t.TempDir(), "mirror.db")
	m := mirrored(t, c, path)
	catchUp(t, m)
	need := needs(3)
	version := m.Version()
	if err := m.Reveal(limited(t), filler("secret", 0)); err != nil {
		t.Fatal(err)
	}
	if m.Version() == version {
		t.Error("a reveal does not change the version")
	}
	version = m.Version()
	if err := m.Reveal(limited(t), filler("secret", 0)); err != nil || m.Version() != version {
		t.Errorf("what is known, as anybody may hand it over again and again, has all decided again: %v", err)
	}
	retirement := consent.Retirement{Account: account(1)}
	for signature, want := range map[string]bool{
		string(sign(t, keys[2], retirement.Digest(domain))):           false,
		string(sign(t, keys[1], retirement.Digest(consent.Domain{}))): false,
		string(sign(t, keys[1], retirement.Digest(domain))):           true,
		"": false,
	} {
		if proven, err := m.Retire(limited(t), retirement, []byte(signature)); err != nil || proven != want {
			t.Errorf("proven %t, %v; want %t", proven, err, want)
		}
		if state := stateOf(t, m, need); want && state.Retired[account(1)] == 0 {
			t.Error("a retirement that proves itself does not count")
		}
	}
	for _, m := range []*registry.Mirror{m, mirrored(t, c, path)} {
		state := stateOf(t, m, need)
		if state.Revoked[need.Revocations[0]] == 0 || state.Retired[account(1)] == 0 || state.Revoked[need.Revocations[1]] != 0 || state.Retired[account(2)] != 0 {
			t.Errorf("after it was handed over: %+v", state)
		}
	}

	following(t, m)
	eventually(t, "both on chain", func() bool {
		chain, err := c.Read(limited(t), need)
		return err == nil && chain.Revoked[need.Revocations[0]] != 0 && chain.Retired[account(1)] != 0
	})
	eventually(t, "nothing that waits", func() bool {
		chain, err := c.Read(limited(t), need)
		state := stateOf(t, m, need)
		s, failed := m.Status(t.Context())
		return err == nil && failed == nil && s.Unposted == nil && state.Revoked[need.Revocations[0]] == chain.Revoked[need.Revocations[0]]
	})
	if err := m.Post(limited(t)); err != nil {
		t.Error(err)
	}
}

// TestMirrorPostsWhatIsProven: no endpoint's word changes the signature with
// which an account is retired, or ends that it is posted.
func TestMirrorPostsWhatIsProven(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.mineEmpty(1)
	n := l.network(1)
	m := mirrored(t, client(t, n, payerOf(0)), filepath.Join(t.TempDir(), "mirror.db"))
	catchUp(t, m)
	retirement := consent.Retirement{Account: account(0)}
	signature := sign(t, keys[0], retirement.Digest(consent.Domain{ChainID: n.ChainID, Registry: registry.Address}))
	if proven, err := m.Retire(limited(t), retirement, signature); !proven || err != nil {
		t.Fatal(proven, err)
	}
	l.mine(retiringUnproven(t, 0), retiringUnproven(t, 1))
	catchUp(t, m)
	l.drop(1)
	l.mineEmpty(2)
	catchUp(t, m)
	for range 2 {
		if err := m.Post(limited(t)); !errors.Is(err, registry.ErrBadSignature) {
			t.Errorf("the registry takes no signature: %v", err)
		}
	}
	want := []hexutil.Bytes{pack(t, "retire", account(0), signature), retiringUnproven(t, 1), pack(t, "retire", account(0), signature)}
	if bytes.Compare(account(0).Bytes(), account(1).Bytes()) > 0 {
		want[0], want[1] = want[1], want[0]
	}
	if !cmp.Equal(l.estimated, want) {
		t.Errorf("posted %v, want %v", l.estimated, want)
	}
}

// TestMirrorTakesProofLater: a retirement that came by way of another contract,
// so that its signature was not to be seen, is posted once that is handed over.
func TestMirrorTakesProofLater(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.mineEmpty(1)
	n := l.network(1)
	m := copyOf(t, n)
	l.mine(retiring(t, 0))
	l.set(func(l *ledger) { clear(l.sent) })
	catchUp(t, m)
	l.drop(1)
	l.mineEmpty(2)
	following(t, m)
	eventually(t, "the new chain", func() bool { return stateOf(t, m, needs(1)).Block == 3 })
	if s, err := m.Status(t.Context()); err != nil || s.Unposted != nil {
		t.Errorf("without a signature: %+v, %v", s, err)
	}
	retirement := consent.Retirement{Account: account(0)}
	if proven, err := m.Retire(limited(t), retirement, sign(t, keys[0], retirement.Digest(consent.Domain{ChainID: n.ChainID, Registry: registry.Address}))); !proven || err != nil {
		t.Fatal(proven, err)
	}
	eventually(t, "why it is not posted", func() bool {
		s, err := m.Status(t.Context())
		return err == nil && errors.Is(s.Unposted, registry.ErrNoPayer)
	})
}

// TestMirrorNobodyPays: that something cannot be posted is told, and in the way
// of nothing.
func TestMirrorNobodyPays(t *testing.T) {
	t.Parallel()
	l := newLedger()
	m := copyOf(t, l.network(1))
	if err := m.Reveal(limited(t), filler("secret", 0)); err != nil {
		t.Fatal(err)
	}
	following(t, m)
	eventually(t, "why it is not posted", func() bool {
		s, err := m.Status(t.Context())
		return err == nil && errors.Is(s.Unposted, registry.ErrNoPayer)
	})
	need := needs(1)
	l.mine(anchoring(t, 0))
	eventually(t, "an anchor meanwhile", func() bool { return stateOf(t, m, need).Anchored[need.Anchors[0]] != 0 })
	// Somebody else posts it.
	l.mine(revealing(t, 0))
	eventually(t, "that nothing waits", func() bool {
		s, err := m.Status(t.Context())
		return err == nil && s.Unposted == nil
	})
}

// TestMirrorSignatures: the words of contract accounts are asked at the block
// of the state, each time, and what is not to be had is an error.
func TestMirrorSignatures(t *testing.T) {
	t.Parallel()
	l := newLedger()
	m := copyOf(t, l.network(1))
	catchUp(t, m)
	query := consent.SignatureQuery{Account: account(0), Signature: "x"}
	need := consent.Entries{Signatures: []consent.SignatureQuery{query}}
	calls := l.calls
	for range 2 {
		if state := stateOf(t, m, need); !state.Signed[query] {
			t.Error("the word is missing")
		}
	}
	if l.calls != calls+2 {
		t.Errorf("asked %d times", l.calls-calls)
	}
	l.set(func(l *ledger) { l.fails = 1 })
	if state, err := m.State(limited(t), need); !errors.Is(err, registry.ErrUnreachable) || state.Block != 0 {
		t.Errorf("when the node fails: %+v, %v", state, err)
	}
	if _, err := m.State(limited(t), needs(1)); err != nil {
		t.Errorf("what is in the copy needs no node: %v", err)
	}
	l.set(func(l *ledger) { l.fails = 0 })
	l.drop(1)
	l.set(func(l *ledger) { clear(l.all) })
	l.mine()
	if _, err := m.State(limited(t), need); err == nil {
		t.Error("asked at a block that is gone, it answers")
	}
}

// TestMirrorDamaged: what the database says is told as its word, and lays no
// blame on an endpoint.
func TestMirrorDamaged(t *testing.T) {
	t.Parallel()
	drop := func(t *testing.T, path, table string) {
		db, err := database.Open(t.Context(), path, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), "DROP TABLE "+table); err != nil {
			t.Fatal(err)
		}
	}
	for table, ask := range map[string]func(m *registry.Mirror, l *ledger) error{
		"entries": func(m *registry.Mirror, _ *ledger) error { _, err := m.State(t.Context(), needs(1)); return err },
		"ledger":  func(m *registry.Mirror, _ *ledger) error { _, err := m.Status(t.Context()); return err },
		"blocks": func(m *registry.Mirror, l *ledger) error {
			l.drop(1)
			l.mineEmpty(2)
			return m.CatchUp(t.Context())
		},
		"entries, which wait": func(m *registry.Mirror, _ *ledger) error { return m.Post(t.Context()) },
	} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			l := newLedger()
			l.mineEmpty(3)
			path := filepath.Join(t.TempDir(), "mirror.db")
			m := mirrored(t, client(t, l.network(1), nil), path)
			catchUp(t, m)
			name, _, _ := strings.Cut(table, ",")
			drop(t, path, name)
			err := ask(m, l)
			if _, is := errors.AsType[*database.Error](err); !is || errors.Is(err, registry.ErrUnreachable) {
				t.Errorf("%T: %v", err, err)
			}
		})
	}
}

// TestMirrorShared: which process of a file is first matters to none of them.
func TestMirrorShared(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.mineEmpty(3)
	n := l.network(1)
	path := filepath.Join(t.TempDir(), "mirror.db")
	first, second := mirrored(t, client(t, n, nil), path), mirrored(t, client(t, n, nil), path)
	catchUp(t, first)
	catchUp(t, second)
	l.mine(anchoring(t, 0))
	l.set(func(l *ledger) {
		l.calls, l.when, l.then = 0, 2, func() { catchUp(t, second) } // once the first has begun to read
	})
	catchUp(t, first)
	if l.calls <= 2 {
		t.Fatalf("%d calls: nobody was first", l.calls)
	}
	for _, m := range []*registry.Mirror{first, second} {
		if state := stateOf(t, m, needs(1)); state.Block != 4 || state.Anchored[filler("root", 0)] == 0 {
			t.Errorf("%+v", state)
		}
	}
}

// TestMirrorOfAnother: a file is of one network.
func TestMirrorOfAnother(t *testing.T) {
	t.Parallel()
	n := newLedger().network(1)
	path := filepath.Join(t.TempDir(), "mirror.db")
	mirrored(t, client(t, n, nil), path)
	other, elsewhere := n, n
	other.ChainID++
	elsewhere.Registry = account(0)
	for _, n := range []registry.Network{other, elsewhere} {
		if m, err := registry.OpenMirror(t.Context(), path, client(t, n, nil)); err == nil || !strings.Contains(err.Error(), "give each network a file of its own") {
			t.Errorf("%v, %v", m, err)
		}
	}
}

// TestMirrorEnds: nothing runs on when Follow has returned, not even where an
// endpoint does not answer.
func TestMirrorEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, silent := newLedger(), newLedger()
	defer silent.silence(t)()
	n := l.network(1)
	n.Endpoints = append(n.Endpoints, silent.serve("silent"))
	c := registry.New(n, nil)
	defer c.Close()
	m, err := registry.OpenMirror(t.Context(), filepath.Join(t.TempDir(), "mirror.db"), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Follow(ctx) }()
	eventually(t, "the chain", func() bool { _, err := m.State(t.Context(), needs(1)); return err == nil })
	if err := m.Reveal(t.Context(), filler("secret", 0)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkMirrorState is what an access of one link needs, among 100,000 other
// entries: an anchor, three revocations and two accounts.
func BenchmarkMirrorState(b *testing.B) {
	l := newLedger()
	for i := range 200 {
		secrets := make([][32]byte, 500)
		for k := range secrets {
			secrets[k] = filler("secret", i*500+k)
		}
		l.set(func(l *ledger) { l.blocks[len(l.blocks)-1].entries = map[string]uint64{} })
		l.mine(pack(b, "revoke", secrets))
	}
	l.mine(anchoring(b, 0))
	m := copyOf(b, l.network(1))
	catchUp(b, m)
	need := consent.Entries{
		Anchors:     []common.Hash{filler("root", 0)},
		Revocations: []common.Hash{filler("free", 0), filler("free", 1), filler("free", 2)},
		Accounts:    []common.Address{account(0), account(1)},
	}
	if state := stateOf(b, m, need); state.Anchored[need.Anchors[0]] == 0 {
		b.Fatal("the anchor is missing")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.State(b.Context(), need); err != nil {
			b.Fatal(err)
		}
	}
}

package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

func TestClientEmbedded(t *testing.T) {
	t.Parallel()
	n, p := embedded(t)
	testClient(t, n, p)
}

func TestClientAnvil(t *testing.T) {
	t.Parallel()
	n, _ := anvil(t, "--block-time", "1")
	n.Confirmations = 2
	testClient(t, n, payerOf(0))
}

// TestClientLegacy is on a chain without EIP-1559.
func TestClientLegacy(t *testing.T) {
	t.Parallel()
	n, _ := anvil(t, "--hardfork", "berlin")
	testClient(t, n, payerOf(0))
}

// testClient goes through everything once, on a network without a registry.
func testClient(t *testing.T, n registry.Network, p registry.Payer) {
	ctx := limited(t)
	c := client(t, n, p)
	domain := consent.Domain{ChainID: n.ChainID, Registry: registry.Address}

	if err := c.CheckCode(ctx); !errors.Is(err, registry.ErrNotDeployed) || !errors.Is(err, registry.ErrUnreachable) {
		t.Fatalf("before it is deployed: %v", err)
	}
	if _, err := c.Anchor(ctx, filler("root", 0)); !errors.Is(err, registry.ErrNotDeployed) {
		t.Fatalf("before it is deployed: %v", err)
	}
	if posted, err := c.Deploy(ctx); err != nil || posted.Already || posted.Contract != registry.Address {
		t.Fatalf("deploy: %+v, %v", posted, err)
	}

	retirement := consent.Retirement{Account: account(1)}
	signature := sign(t, keys[1], retirement.Digest(domain))
	secrets := []common.Hash{filler("secret", 0), filler("secret", 1)}
	for _, write := range []struct {
		name string
		call func() (registry.Posted, error)
	}{
		{"deploy", func() (registry.Posted, error) { return c.Deploy(ctx) }},
		{"anchor", func() (registry.Posted, error) { return c.Anchor(ctx, filler("root", 0)) }},
		{"revoke", func() (registry.Posted, error) { return c.Revoke(ctx, secrets) }},
		{"retire", func() (registry.Posted, error) { return c.Retire(ctx, account(1), signature) }},
	} {
		before := nonceOf(t, n, p)
		if write.name != "deploy" {
			posted, err := write.call()
			if err != nil {
				t.Fatal(write.name, err)
			}
			head, err := c.Head(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if posted.Already || posted.Transaction == (common.Hash{}) || posted.Block.Hash == (common.Hash{}) || posted.Confirmations < max(n.Confirmations, 1) ||
				posted.Block.Number+posted.Confirmations-1 > head.Number || posted.Fee.Sign() <= 0 {
				t.Errorf("%s: %+v at head %d", write.name, posted, head.Number)
			}
			if after := nonceOf(t, n, p); after != before+1 {
				t.Errorf("%s: nonce %d, then %d", write.name, before, after)
			}
			before++
		}
		posted, err := write.call()
		if err != nil || !posted.Already || posted.Fee.Sign() != 0 || write.name != "deploy" && posted.Block.Time == 0 {
			t.Errorf("%s again: %+v, %v", write.name, posted, err)
		}
		if after := nonceOf(t, n, p); after != before {
			t.Errorf("%s again: a transaction was sent", write.name)
		}
	}
	if posted, err := c.Revoke(ctx, nil); err != nil || !posted.Already {
		t.Errorf("reveal nothing: %+v, %v", posted, err)
	}
	if _, err := c.Revoke(ctx, make([]common.Hash, registry.MaxSecrets+1)); err == nil {
		t.Error("too many secrets are taken")
	}
	if _, err := c.Retire(ctx, account(2), signature); !errors.Is(err, registry.ErrBadSignature) || registry.IsChainError(err) {
		t.Errorf("retire with another's signature: %v", err)
	}

	query := consent.SignatureQuery{Account: account(1), Digest: retirement.Digest(domain), Signature: string(signature)}
	other := query
	other.Account = account(2)
	state, err := c.Read(ctx, consent.Entries{
		Anchors:     []common.Hash{filler("root", 0), filler("root", 1)},
		Revocations: []common.Hash{consent.Revocation(secrets[0]), secrets[0]},
		Accounts:    []common.Address{account(1), account(2)},
		Signatures:  []consent.SignatureQuery{query, other},
	})
	if err != nil {
		t.Fatal(err)
	}
	if state.Anchored[filler("root", 0)] == 0 || state.Revoked[consent.Revocation(secrets[0])] == 0 || state.Retired[account(1)] == 0 || !state.Signed[query] {
		t.Errorf("entries are missing: %+v", state)
	}
	if at, read := state.Anchored[filler("root", 1)]; at != 0 || !read || state.Revoked[secrets[0]] != 0 || state.Retired[account(2)] != 0 || state.Signed[other] {
		t.Errorf("there are entries that nobody made: %+v", state)
	}
	if state.Block == 0 || state.BlockHash == (common.Hash{}) || state.Time == 0 {
		t.Errorf("the state names no block: %+v", state)
	}
	if settled, err := c.Settled(ctx, []common.Hash{consent.Revocation(secrets[1]), secrets[1]}); err != nil || settled[consent.Revocation(secrets[1])] == 0 || settled[secrets[1]] != 0 || len(settled) != 2 {
		t.Errorf("settled: %v, %v", settled, err)
	}

	var names []string
	for event, err := range c.Events(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Sender != p.Address() || event.Block == 0 || event.Time == 0 {
			t.Errorf("%+v", event)
		}
		names = append(names, event.Name+" "+event.Key.Hex())
	}
	want := []string{"Anchored " + filler("root", 0).Hex(), "Revoked " + secrets[0].Hex(), "Revoked " + secrets[1].Hex(), "Retired " + common.BytesToHash(account(1).Bytes()).Hex()}
	if strings.Join(names, "\n") != strings.Join(want, "\n") {
		t.Errorf("events: %q", names)
	}
	testOutcomes(t, c, domain)
}

// testOutcomes has the network decide an access of each outcome, and Go on what
// it reads there.
func testOutcomes(t *testing.T, c *registry.Client, domain consent.Domain) {
	head, err := c.Head(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	now := head.Time
	outcomes := []struct {
		want   verdict
		change func(d *consent.AccessDocument) // before it is signed
		spoil  func(d *consent.AccessDocument) // afterwards
	}{
		{want: verdict{Outcome: "Permit"}},
		{want: verdict{"Malformed", 1, 0}, change: func(d *consent.AccessDocument) { d.Access.Holder = common.Address{} }},
		{want: verdict{"BrokenChain", 2, 1}, change: func(d *consent.AccessDocument) { d.Links[1].Grant.Handoffs = d.Links[0].Grant.Handoffs }},
		{want: verdict{"NotAnchored", 3, 2}, spoil: func(d *consent.AccessDocument) { d.Links[2].AnchorProof = []common.Hash{{}} }},
		{want: verdict{"Revoked", 4, 1}, change: func(d *consent.AccessDocument) {
			d.Links[1].Grant.Revocations[2] = consent.Revocation(filler("secret", 1))
		}},
		{want: verdict{"NotYetValid", 6, 1}, change: func(d *consent.AccessDocument) { d.Links[1].Grant.NotBefore = now + 3600 }},
		{want: verdict{"Expired", 7, 0}, change: func(d *consent.AccessDocument) { d.Links[0].Grant.Expires = now }},
		{want: verdict{"BadGrantSignature", 8, 2}, spoil: func(d *consent.AccessDocument) { d.Links[2].Signature[64] ^= 7 }},
		{want: verdict{"NotPermitted", 9, 0}, change: func(d *consent.AccessDocument) { d.Access.Scopes[0].Purpose = "ETREAT" }},
		{want: verdict{"WrongGrant", 10, 0}, spoil: func(d *consent.AccessDocument) { d.Access.Grant[0] ^= 1 }},
		{want: verdict{"BadAccessSignature", 11, 0}, spoil: func(d *consent.AccessDocument) { d.Access.Nonce[0] ^= 1 }},
		{want: verdict{"Stale", 12, 0}, change: func(d *consent.AccessDocument) { d.Access.Time = now + 3600 }},
		{want: verdict{"Retired", 5, 1}, change: func(d *consent.AccessDocument) { // account 1 was retired
			d.Links[0].Grant.Grantee, d.Links[1].Grant.Grantor = account(1), account(1)
		}},
	}
	var leaves []common.Hash
	documents := make([]*consent.AccessDocument, len(outcomes))
	for i, o := range outcomes {
		d := chainOf(t, domain, 3, now)
		// Nobody here is account 1, whose key is retired.
		d.Links[0].Grant.Grantee, d.Links[1].Grant.Grantor = account(5), account(5)
		if o.change != nil {
			o.change(d)
		}
		seal(t, d)
		for _, l := range d.Links {
			leaves = append(leaves, consent.AnchorLeaf(l.Grant.ID(domain)))
		}
		documents[i] = d
	}
	tree := consent.NewTree(leaves)
	if _, err := c.Anchor(limited(t), tree.Root()); err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		t.Run(o.want.Outcome, func(t *testing.T) {
			d := documents[i]
			for k := range d.Links {
				d.Links[k].AnchorProof = tree.Proof(i*len(d.Links) + k)
			}
			if o.spoil != nil {
				o.spoil(d)
			}
			outcome, link, err := c.Check(limited(t), d, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := (verdict{outcome.String(), uint8(outcome), uint64(link)}); got != o.want {
				t.Errorf("the network says %v, want %v", got, o.want)
			}
			examination := consent.Examine(d, nil)
			state, err := c.Read(limited(t), examination.Entries())
			if err != nil {
				t.Fatal(err)
			}
			decided, err := examination.Decide(state, state.Time)
			if got := (verdict{decided.Outcome.String(), uint8(decided.Outcome), uint64(decided.Link)}); got != o.want || err != nil {
				t.Errorf("Go says %v, %v, want %v", got, err, o.want)
			}
		})
	}
}

// TestVectorDecisionsAnvil has a real node decide every case, by JSON-RPC.
func TestVectorDecisionsAnvil(t *testing.T) {
	t.Parallel()
	var v decisionVectors
	vectors(t, "decisions.json", &v)
	n, r := anvil(t, "--accounts", "1", "--no-mining", "--timestamp", "1", "--disable-block-gas-limit", "--no-request-size-limit")
	n.Registry = v.Domain.Registry
	c := client(t, n, nil)
	do(t, r, nil, "anvil_setCode", v.Domain.Registry, hexutil.Bytes(registry.RuntimeCode))
	for _, decision := range v.Cases {
		t.Run(decision.Name, func(t *testing.T) {
			var snapshot hexutil.Uint64
			do(t, r, &snapshot, "evm_snapshot")
			defer func() {
				var back bool
				if do(t, r, &back, "evm_revert", snapshot); !back {
					t.Error("the chain does not go back")
				}
			}()
			transact(t, r, v.Domain.Registry, decision.calls(t))
			for _, s := range decision.Chain.Contracts {
				do(t, r, nil, "anvil_setCode", s.Account, hexutil.Bytes(s.code()))
			}
			outcome, link, err := c.Check(limited(t), decision.document(consent.Domain(v.Domain)), decision.Now)
			if err != nil {
				t.Fatal(err)
			}
			if got := (verdict{outcome.String(), uint8(outcome), uint64(link)}); got != decision.Expected {
				t.Errorf("got %v, want %v", got, decision.Expected)
			}
		})
	}
}

// transact sends transactions of anvil's own account, in one block, and sees
// that they succeed.
func transact(t testing.TB, r *rpc.Client, to common.Address, calls [][]byte) {
	t.Helper()
	var accounts []common.Address
	do(t, r, &accounts, "eth_accounts")
	hashes := make([]common.Hash, len(calls))
	for i, data := range calls {
		do(t, r, &hashes[i], "eth_sendTransaction", map[string]any{"from": accounts[0], "to": to, "input": hexutil.Bytes(data)})
	}
	do(t, r, nil, "evm_mine")
	for _, hash := range hashes {
		var receipt struct {
			Status hexutil.Uint64 `json:"status"`
		}
		if do(t, r, &receipt, "eth_getTransactionReceipt", hash); receipt.Status != 1 {
			t.Fatal("a transaction failed")
		}
	}
}

// TestEndpoints: of several endpoints the first that can be used is used, and
// where none can, each is named with its reason.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	good, p := embedded(t)
	deployed(t, good, p)
	elsewhere, _ := embedded(t)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := registry.URL("http://" + listener.Addr().String() + "/secret-of-dead")
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections into its backlog and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	slow := registry.URL("http://" + silent.Addr().String() + "/secret-of-slow")
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "over\x1b[2Jload", http.StatusTooManyRequests)
	}))
	t.Cleanup(broken.Close)
	overloaded := registry.URL(broken.URL)
	foreign := elsewhere.Endpoints[0]
	foreign.Name = "foreign"

	n := good
	n.Timeout = 200 * time.Millisecond
	n.Endpoints = []registry.Endpoint{dead, slow, foreign, overloaded, good.Endpoints[0]}
	c := client(t, n, p)
	if _, err := c.Anchor(limited(t), filler("root", 0)); err != nil {
		t.Errorf("with one good endpoint: %v", err)
	}

	n.Endpoints = n.Endpoints[:4]
	_, err = client(t, n, p).Anchor(limited(t), filler("root", 1))
	var unreachable *registry.UnreachableError
	if !errors.Is(err, registry.ErrUnreachable) || !errors.As(err, &unreachable) || !registry.IsChainError(err) {
		t.Fatalf("with no good endpoint: %v", err)
	}
	for i, part := range []string{"connection refused", "no answer within 200ms", "correct the endpoint or the chain id", "429"} {
		e := unreachable.Endpoints[i]
		if e.Endpoint != n.Endpoints[i].Name || !strings.Contains(e.Error(), part) {
			t.Errorf("endpoint %d: %v, want %q", i, e, part)
		}
	}
	if text := err.Error(); strings.Contains(text, "secret") || strings.ContainsAny(text, "\x1b\n") {
		t.Errorf("the error shows what it should not: %q", text)
	}
	var wrong *registry.WrongChainError
	if !errors.As(err, &wrong) || wrong.Want != good.ChainID || wrong.Got != elsewhere.ChainID {
		t.Errorf("the wrong chain is not told: %v", err)
	}
	if _, err := c.Read(limited(t), consent.Entries{}); err != nil {
		t.Errorf("the client that had a good endpoint lost it: %v", err)
	}
	for _, err := range client(t, n, nil).Events(limited(t), 0) {
		if !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("events: %v", err)
		}
	}

	n = good
	n.Registry = registry.Proxy
	var code *registry.WrongCodeError
	if _, err := client(t, n, p).Read(limited(t), consent.Entries{}); !errors.As(err, &code) || code.Registry != registry.Proxy || !registry.IsChainError(err) {
		t.Errorf("with other code at the registry's address: %v", err)
	}
	n.Endpoints = nil
	if _, err := client(t, n, p).Head(limited(t)); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("without endpoints: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, good, p).Head(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("after the context ended: %v", err)
	}
}

// TestReconnects: a connection that broke is dialled again.
func TestReconnects(t *testing.T) {
	t.Parallel()
	n, p := embedded(t)
	var dialled []*rpc.Client
	dial := n.Endpoints[0].Dial
	n.Endpoints[0].Dial = func(ctx context.Context) (*rpc.Client, error) {
		r, err := dial(ctx)
		dialled = append(dialled, r)
		return r, err
	}
	c := deployed(t, n, p)
	before := len(dialled)
	for range 2 {
		dialled[len(dialled)-1].Close()
		if _, err := c.Head(limited(t)); err != nil {
			t.Error(err)
		}
	}
	if len(dialled) != before+2 {
		t.Errorf("dialled %d times, then %d", before, len(dialled))
	}
}

// TestDeployedAtOnce: only the first of several deployments can succeed.
func TestDeployedAtOnce(t *testing.T) {
	t.Parallel()
	n, p := embedded(t)
	var group sync.WaitGroup
	for range 6 {
		c := client(t, n, p)
		group.Go(func() {
			if _, err := c.Deploy(limited(t)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// TestManyAtOnce has several clients with one key, as of several processes,
// each pay for several roots at once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		n, p := embedded(t)
		deployed(t, n, p)
		manyAtOnce(t, n, p)
	})
	t.Run("anvil", func(t *testing.T) {
		n, r := anvil(t, "--block-time", "1")
		placed(t, n, r, payerOf(0))
		manyAtOnce(t, n, payerOf(0))
	})
}

func manyAtOnce(t *testing.T, n registry.Network, p registry.Payer) {
	const clients, roots = 3, 8
	ctx := limited(t)
	var group sync.WaitGroup
	for k := range clients {
		c := client(t, n, p)
		for i := range roots {
			group.Go(func() {
				if posted, err := c.Anchor(ctx, filler("many", k*roots+i)); err != nil || posted.Already {
					t.Errorf("root %d of client %d: %+v, %v", i, k, posted, err)
				}
			})
		}
		// And what all of them want: one brings it, or several at once.
		group.Go(func() {
			if _, err := c.Anchor(ctx, filler("shared", 0)); err != nil {
				t.Errorf("the shared root, client %d: %v", k, err)
			}
		})
	}
	group.Wait()
	count := 0
	for event, err := range client(t, n, nil).Events(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Name == "Anchored" {
			count++
		}
	}
	if count != clients*roots+1 {
		t.Errorf("%d events", count)
	}
}

// result is what a posting in the background came to.
type result struct {
	registry.Posted
	err error
}

func background(post func() (registry.Posted, error)) chan result {
	done := make(chan result, 1)
	go func() {
		posted, err := post()
		done <- result{posted, err}
	}()
	return done
}

// sent waits for the one transaction in the pool that is not old.
func sent(t *testing.T, r *rpc.Client, old ...common.Hash) waiting {
	t.Helper()
	var tx waiting
	eventually(t, "a transaction", func() bool {
		for _, w := range pool(t, r) {
			fresh := true
			for _, hash := range old {
				fresh = fresh && w.Hash != hash
			}
			if fresh {
				tx = w
				return true
			}
		}
		return false
	})
	return tx
}

// TestStuckIsReplaced leaves a transaction out of blocks.
func TestStuckIsReplaced(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	c := placed(t, n, r, payerOf(0))
	done := background(func() (registry.Posted, error) { return c.Anchor(limited(t), filler("root", 0)) })
	first := sent(t, r)
	do(t, r, nil, "evm_setBlockGasLimit", hexutil.Uint64(50_000)) // it asks for more
	do(t, r, nil, "anvil_mine", hexutil.Uint64(3))
	do(t, r, nil, "evm_setBlockGasLimit", hexutil.Uint64(30_000_000))
	second := sent(t, r, first.Hash)
	offersMore(t, first, second)
	do(t, r, nil, "evm_mine")
	if got := <-done; got.err != nil || got.Transaction != second.Hash || got.Already {
		t.Errorf("got %+v, want transaction %s", got, second.Hash)
	}
	if nonce := nonceOf(t, n, payerOf(0)); nonce != 1 {
		t.Errorf("%d transactions are in blocks", nonce)
	}
}

func offersMore(t *testing.T, first, second waiting) {
	t.Helper()
	if second.Nonce != first.Nonce {
		t.Errorf("the replacement has nonce %d, not %d", second.Nonce, first.Nonce)
	}
	least := new(big.Int).Mul((*big.Int)(first.GasFeeCap), big.NewInt(110))
	if least.Div(least, big.NewInt(100)); (*big.Int)(second.GasFeeCap).Cmp(least) < 0 {
		t.Errorf("it offers %v after %v", second.GasFeeCap, first.GasFeeCap)
	}
}

// TestTooLowIsReplaced has the base fee rise above what a transaction offers;
// anvil drops it for that and does not take it again.
func TestTooLowIsReplaced(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	c := placed(t, n, r, payerOf(0))
	done := background(func() (registry.Posted, error) { return c.Anchor(limited(t), filler("root", 0)) })
	first := sent(t, r)
	do(t, r, nil, "anvil_setNextBlockBaseFeePerGas", (*hexutil.Big)(big.NewInt(50e9)))
	do(t, r, nil, "evm_mine")
	second := sent(t, r, first.Hash)
	offersMore(t, first, second)
	do(t, r, nil, "evm_mine")
	if got := <-done; got.err != nil || got.Transaction != second.Hash {
		t.Errorf("got %+v, want transaction %s", got, second.Hash)
	}
}

func TestDroppedIsSentAgain(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	c := placed(t, n, r, payerOf(0))
	done := background(func() (registry.Posted, error) { return c.Anchor(limited(t), filler("root", 0)) })
	first := sent(t, r)
	do(t, r, nil, "anvil_dropTransaction", first.Hash)
	if again := sent(t, r); again.Hash != first.Hash {
		t.Errorf("sent %s after %s", again.Hash, first.Hash)
	}
	do(t, r, nil, "evm_mine")
	if got := <-done; got.err != nil || got.Transaction != first.Hash {
		t.Errorf("got %+v", got)
	}
}

// TestNonceTaken: another process with the same key gets its transaction into
// the place of ours.
func TestNonceTaken(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	c := placed(t, n, r, payerOf(0))
	done := background(func() (registry.Posted, error) { return c.Anchor(limited(t), filler("root", 0)) })
	first := sent(t, r)
	do(t, r, nil, "anvil_dropTransaction", first.Hash)
	do(t, r, nil, "anvil_setNonce", account(0), hexutil.Uint64(1))
	second := sent(t, r, first.Hash)
	if second.Nonce != 1 {
		t.Errorf("sent with nonce %d", second.Nonce)
	}
	do(t, r, nil, "evm_mine")
	if got := <-done; got.err != nil || got.Transaction != second.Hash {
		t.Errorf("got %+v", got)
	}
}

// TestLostBefore: a node forgets a transaction that ours waits behind, as when
// it was somebody's who pays with the same key and is gone.
func TestLostBefore(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	placed(t, n, r, payerOf(0))
	gone, cancel := context.WithCancel(t.Context())
	other := registry.New(n, payerOf(0))
	t.Cleanup(other.Close)
	others := background(func() (registry.Posted, error) { return other.Anchor(gone, filler("root", 0)) })
	first := sent(t, r)
	cancel()
	<-others
	c := registry.New(n, payerOf(0))
	t.Cleanup(c.Close)
	done := background(func() (registry.Posted, error) { return c.Anchor(limited(t), filler("root", 1)) })
	second := sent(t, r, first.Hash)
	if second.Nonce != first.Nonce+1 {
		t.Fatalf("sent with nonce %d, after %d", second.Nonce, first.Nonce)
	}
	do(t, r, nil, "anvil_dropTransaction", first.Hash)
	third := sent(t, r, first.Hash, second.Hash)
	if third.Nonce != first.Nonce {
		t.Errorf("sent with nonce %d where %d is free", third.Nonce, first.Nonce)
	}
	do(t, r, nil, "evm_mine")
	if got := <-done; got.err != nil {
		t.Errorf("got %+v", got)
	}
}

// TestReorg takes the block of a transaction away before it is deep enough.
func TestReorg(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	n.Confirmations = 4
	c := placed(t, n, r, payerOf(0))
	do(t, r, nil, "evm_mine")
	root := filler("root", 0)
	done := background(func() (registry.Posted, error) { return c.Anchor(limited(t), root) })
	sent(t, r)
	do(t, r, nil, "evm_mine")
	do(t, r, nil, "evm_mine")
	need := consent.Entries{Anchors: []common.Hash{root}}
	if state, err := c.Read(limited(t), need); err != nil || state.Anchored[root] != 0 {
		t.Errorf("an anchor counts before it is confirmed: %+v, %v", state, err)
	}
	do(t, r, nil, "anvil_reorg", 2, []any{})
	sent(t, r)
	for range 4 {
		do(t, r, nil, "evm_mine")
	}
	got := <-done
	if got.err != nil || got.Confirmations < 4 {
		t.Fatalf("got %+v", got)
	}
	var block *struct {
		Hash common.Hash `json:"hash"`
	}
	do(t, r, &block, "eth_getBlockByNumber", hexutil.Uint64(got.Block.Number), false)
	if block.Hash != got.Block.Hash {
		t.Errorf("the result names a block that is gone")
	}
	if state, err := c.Read(limited(t), need); err != nil || state.Anchored[root] != got.Block.Time {
		t.Errorf("read: %+v, %v", state, err)
	}
}

// TestUnconfirmed ends the waiting early, and takes it up again.
func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--no-mining")
	c := placed(t, n, r, payerOf(0))
	ctx, cancel := context.WithCancel(limited(t))
	done := background(func() (registry.Posted, error) { return c.Anchor(ctx, filler("root", 0)) })
	tx := sent(t, r)
	cancel()
	got := <-done
	var unconfirmed *registry.UnconfirmedError
	if !errors.As(got.err, &unconfirmed) || unconfirmed.Transaction != tx.Hash || !errors.Is(got.err, context.Canceled) {
		t.Fatalf("got %v", got.err)
	}
	do(t, r, nil, "evm_mine")
	if posted, err := c.Anchor(limited(t), filler("root", 0)); err != nil || !posted.Already {
		t.Errorf("again: %+v, %v", posted, err)
	}
	if nonce := nonceOf(t, n, payerOf(0)); nonce != 1 {
		t.Errorf("%d transactions were sent", nonce)
	}
}

func TestNobodyPays(t *testing.T) {
	t.Parallel()
	n, r := anvil(t)
	if _, err := placed(t, n, r, nil).Anchor(limited(t), filler("root", 0)); !errors.Is(err, registry.ErrNoPayer) || !registry.IsChainError(err) {
		t.Errorf("without a payer: %v", err)
	}
	var noCoins *registry.NoCoinsError
	if _, err := client(t, n, payerOf(9)).Anchor(limited(t), filler("root", 0)); !errors.As(err, &noCoins) || noCoins.Account != account(9) || !registry.IsChainError(err) {
		t.Errorf("with a payer who has nothing: %v", err)
	}
	do(t, r, nil, "anvil_setBalance", account(9), (*hexutil.Big)(big.NewInt(1)))
	noCoins = nil
	if _, err := client(t, n, payerOf(9)).Anchor(limited(t), filler("root", 0)); !errors.As(err, &noCoins) || noCoins.Account != account(9) {
		t.Errorf("with a payer who has too little: %v", err)
	}
}

// TestLent: where a payer has no coins, an account of the node's pays.
func TestLent(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--accounts", "1")
	var lent []common.Address
	do(t, r, &lent, "eth_accounts")
	placed(t, n, r, nil)
	for i, p := range []registry.Payer{nil, payerOf(9)} {
		if posted, err := client(t, n, p).Anchor(limited(t), filler("root", i)); err != nil || posted.Already {
			t.Errorf("%+v, %v", posted, err)
		}
	}
	count := 0
	for event, err := range client(t, n, nil).Events(limited(t), 0) {
		if count++; err != nil || event.Sender != lent[0] {
			t.Errorf("%+v, %v", event, err)
		}
	}
	if count != 2 {
		t.Errorf("%d events", count)
	}
}

// TestLentOther: what a node signs must be what it was asked to sign.
func TestLentOther(t *testing.T) {
	t.Parallel()
	n, r := anvil(t, "--accounts", "1")
	placed(t, n, r, nil)
	for name, spoil := range map[string]func(tx map[string]any){
		"another root":    func(tx map[string]any) { tx["input"] = hexutil.Bytes(pack(t, "anchor", filler("root", 1))) },
		"another place":   func(tx map[string]any) { tx["to"] = account(1) },
		"another nonce":   func(tx map[string]any) { tx["nonce"] = "0x7" },
		"another value":   func(tx map[string]any) { tx["value"] = "0x1" },
		"another gas":     func(tx map[string]any) { tx["gas"] = "0x5208" },
		"another fee cap": func(tx map[string]any) { tx["maxFeePerGas"] = "0xffffffffff" },
	} {
		t.Run(name, func(t *testing.T) {
			node := httptest.NewServer(between(t, "http://"+n.Endpoints[0].Name, spoil))
			defer node.Close()
			n := n
			n.Endpoints = []registry.Endpoint{registry.URL(node.URL)}
			if _, err := client(t, n, nil).Anchor(limited(t), filler("root", 0)); err == nil || !strings.Contains(err.Error(), "does not pay") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// between passes JSON-RPC on to a node, and changes what that is asked to sign.
func between(t *testing.T, node string, spoil func(tx map[string]any)) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
			return
		}
		var call map[string]any // not of a batch, which stays as it is
		if json.Unmarshal(body, &call) == nil && call["method"] == "eth_signTransaction" {
			spoil(call["params"].([]any)[0].(map[string]any))
			if body, err = json.Marshal(call); err != nil {
				t.Error(err)
				return
			}
		}
		answer, err := http.Post(node, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", "application/json")
		if _, err := io.Copy(w, answer.Body); err != nil {
			t.Error(err)
		}
	}
}

// TestNoProxy is a network that lacks the deployment proxy.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	n, _ := anvil(t, "--disable-default-create2-deployer")
	c := client(t, n, payerOf(0))
	if _, err := c.Deploy(limited(t)); !errors.Is(err, registry.ErrNoProxy) {
		t.Fatalf("deploy: %v", err)
	}
	posted, err := c.DeployPlain(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	n.Registry = posted.Contract
	if err := client(t, n, nil).CheckCode(limited(t)); err != nil {
		t.Error(err)
	}
	if _, err := client(t, n, payerOf(0)).Deploy(limited(t)); err == nil || registry.IsChainError(err) {
		t.Errorf("deploy by the proxy with an address of its own: %v", err)
	}
}

// TestEventsOfManyBlocks asks for more blocks than are asked for at once.
func TestEventsOfManyBlocks(t *testing.T) {
	t.Parallel()
	n, r := anvil(t)
	c := placed(t, n, r, payerOf(0))
	for i := range 2 {
		if _, err := c.Anchor(limited(t), filler("root", i)); err != nil {
			t.Fatal(err)
		}
		do(t, r, nil, "anvil_mine", hexutil.Uint64(1_500), hexutil.Uint64(1))
	}
	next := 0
	var last registry.Event
	for event, err := range c.Events(limited(t), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Key != filler("root", next) {
			t.Errorf("event %d is %+v", next, event)
		}
		last = event
		next++
	}
	if next != 2 {
		t.Errorf("%d events", next)
	}
	for event, err := range c.Events(limited(t), last.Block) {
		if err != nil || event != last {
			t.Errorf("from its block on: %+v, %v", event, err)
		}
		next--
	}
	if next != 1 {
		t.Errorf("from the block of the last: %d events", 2-next)
	}
}

package relay_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

// BenchmarkWallets has as many wallets as it is told (-benchtime 10000x) each
// sign a grant, hand its root to a relay and get its proof, on a chain with a
// block each second. Then the contract's check decides an access with each of
// the grants, as its grantee signs it. It reports the time until the last proof,
// and the gas of all anchors for each grant, beside what one attestation of 32
// bytes costs with the Ethereum Attestation Service 1.4.1, by itself and among 71
// in a transaction, measured on the same node.
func BenchmarkWallets(b *testing.B) {
	m := measure(b, b.N, b.ResetTimer, b.StopTimer)
	b.ReportMetric(m.took.Seconds(), "s-to-last-proof")
	b.ReportMetric(float64(b.N)/m.took.Seconds(), "grants/s")
	b.ReportMetric(float64(m.trees), "trees")
	b.ReportMetric(float64(m.gas)/float64(b.N), "gas/grant")
	if m.attest > 0 {
		b.ReportMetric(float64(m.attest), "gas/EAS-attest")
		b.ReportMetric(float64(m.multiAttest), "gas/EAS-multiAttest")
	}
}

// Many wallets share what one anchor costs.
func TestWalletsShareOneAnchor(t *testing.T) {
	const wallets = 50
	nothing := func() {}
	m := measure(t, wallets, nothing, nothing)
	if m.trees < 1 || m.trees > wallets/5 || m.gas/wallets > 10_000 {
		t.Errorf("%d trees and %d gas for %d grants", m.trees, m.gas, wallets)
	}
	if m.attest > 0 && m.multiAttest > m.attest {
		t.Errorf("%d and %d gas is no measure of attestations", m.attest, m.multiAttest)
	}
}

// measured is what many wallets and one relay came to.
type measured struct {
	took                time.Duration // until the last proof
	trees               int
	gas                 uint64 // of all trees
	attest, multiAttest uint64 // of one attestation; 0: not measured
}

func measure(t testing.TB, wallets int, begin, end func()) (m measured) {
	t.Helper()
	client, r := anvil(t, "--block-time", "1", "--gas-limit", "30000000")
	o := options(t.TempDir() + "/relay.db")
	o.Domain = consent.Domain{ChainID: 1337, Registry: registry.Address}
	o.Interval = time.Second
	c := start(t, sponsor{client}, o).client(t)
	patients := make([]*wallet.Key, wallets)
	parallel(wallets, runtime.GOMAXPROCS(0), func(i int) { patients[i] = newKey(t) })
	clinic := newKey(t)
	grants := make([]*consent.GrantDocument, wallets)
	scope := consent.Scope{Resource: "Observation", Interactions: consent.Read | consent.Search, Filter: "category=laboratory", Purpose: "TREAT"}

	begin()
	began := time.Now()
	// A wallet waits for its proof most of the time: 1,000 at once.
	parallel(wallets, 1000, func(i int) {
		grant, err := postGrant(t.Context(), c, o.Domain, patients[i], clinic.Address(), scope)
		if err != nil {
			t.Error(err)
			return
		}
		grants[i] = grant
	})
	m.took = time.Since(began)
	end()
	if t.Failed() {
		t.FailNow()
	}
	parallel(wallets, 4*runtime.GOMAXPROCS(0), func(i int) {
		links, err := grants[i].Open(common.Address{7}, []consent.Scope{scope})
		if err != nil {
			t.Error(err)
			return
		}
		access, err := clinic.SignAccess(o.Domain, consent.Access{Holder: common.Address{7}, Scopes: []consent.Scope{scope}, Time: uint64(time.Now().Unix())}, links)
		if err != nil {
			t.Error(err)
			return
		}
		if outcome, _, err := client.Check(t.Context(), access, 0); err != nil || outcome != consent.Permit {
			t.Errorf("grant %d: %v, %v", i, outcome, err)
		}
	})
	m.trees, m.gas = gasOfAnchors(t, client, r)
	m.attest, m.multiAttest = gasOfEAS(t, r)
	return m
}

// postGrant is what a wallet does until its grant counts.
func postGrant(ctx context.Context, c *relay.Client, domain consent.Domain, from *wallet.Key, to common.Address, scope consent.Scope) (*consent.GrantDocument, error) {
	now := uint64(time.Now().Unix())
	grant, err := from.SignGrant(domain, consent.Grant{Grantee: to, NotBefore: now - 60, Expires: now + 3600}, wallet.Provide([]consent.Scope{scope}, []common.Address{{}}), nil, wallet.Epochs{})
	if err != nil {
		return nil, err
	}
	if err := c.Submit(ctx, grant.Root()); err != nil {
		return nil, err
	}
	a, err := c.Anchored(ctx, grant.Root(), time.Minute)
	if err != nil {
		return nil, err
	}
	grant.AnchorProof = a.Siblings
	return grant, nil
}

func parallel(n, workers int, do func(i int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, workers) {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// gasOfAnchors adds up what all anchors on the chain used.
func gasOfAnchors(b testing.TB, client *registry.Client, r *rpc.Client) (trees int, gas uint64) {
	b.Helper()
	for event, err := range client.Events(b.Context(), 0) {
		if err != nil {
			b.Fatal(err)
		}
		trees++
		gas += receiptOf(b, r, event.Transaction).GasUsed
	}
	return trees, gas
}

func receiptOf(b testing.TB, r *rpc.Client, hash common.Hash) *types.Receipt {
	b.Helper()
	var receipt *types.Receipt
	until(b, "a receipt", func() bool {
		return r.CallContext(b.Context(), &receipt, "eth_getTransactionReceipt", hash) == nil && receipt != nil
	})
	return receipt
}

// contractArtifact is a contract as the npm package of the Ethereum Attestation
// Service has it.
type contractArtifact struct {
	ABI      abi.ABI       `json:"abi"`
	Bytecode hexutil.Bytes `json:"bytecode"`
}

// gasOfEAS measures one attest, and one attestation of a multiAttest of 71, which
// is as many as fit into a transaction (EIP-7825); 0 where the package is not
// installed.
func gasOfEAS(b testing.TB, r *rpc.Client) (attest, multiAttest uint64) {
	b.Helper()
	read := func(name string) (a contractArtifact, err error) {
		text, err := os.ReadFile(filepath.Join("testdata", "eas", "node_modules", "@ethereum-attestation-service", "eas-contracts", "artifacts", "contracts", name+".sol", name+".json"))
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		return a, err
	}
	schemas, err := read("SchemaRegistry")
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), "eas") {
			b.Fatal(err)
		}
		b.Logf("without the Ethereum Attestation Service: npm ci in testdata/eas installs it: %v", err)
		return 0, 0
	}
	service, err := read("EAS")
	if err != nil {
		b.Fatal(err)
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	if err := r.Call(nil, "anvil_setBalance", crypto.PubkeyToAddress(key.PublicKey), (*hexutil.Big)(big.NewInt(1e18))); err != nil {
		b.Fatal(err)
	}
	p := &plainSender{b, r, key, 0}
	none := common.Address{}
	registryAt := p.send(nil, schemas.Bytecode).ContractAddress
	constructor, err := service.ABI.Pack("", registryAt)
	if err != nil {
		b.Fatal(err)
	}
	at := p.send(nil, append(service.Bytecode, constructor...)).ContractAddress
	const schema = "bytes32 grant"
	p.call(registryAt, schemas.ABI, "register", schema, none, true)
	uid := crypto.Keccak256Hash([]byte(schema), none[:], []byte{1})
	type data struct {
		Recipient      common.Address
		ExpirationTime uint64
		Revocable      bool
		RefUID         common.Hash
		Data           []byte
		Value          *big.Int
	}
	one := func() data {
		grant := random()
		return data{Revocable: true, Data: grant[:], Value: new(big.Int)}
	}
	type request struct {
		Schema common.Hash
		Data   data
	}
	type requests struct {
		Schema common.Hash
		Data   []data
	}
	p.call(at, service.ABI, "attest", request{uid, one()}) // what the first one costs more is not counted
	attest = p.call(at, service.ABI, "attest", request{uid, one()}).GasUsed
	const together = 71
	many := make([]data, together)
	for i := range many {
		many[i] = one()
	}
	return attest, p.call(at, service.ABI, "multiAttest", []requests{{uid, many}}).GasUsed / together
}

// plainSender sends transactions one after the other.
type plainSender struct {
	b     testing.TB
	r     *rpc.Client
	key   *ecdsa.PrivateKey
	nonce uint64
}

func (p *plainSender) call(to common.Address, of abi.ABI, method string, args ...any) *types.Receipt {
	p.b.Helper()
	input, err := of.Pack(method, args...)
	if err != nil {
		p.b.Fatal(method, err)
	}
	return p.send(&to, input)
}

func (p *plainSender) send(to *common.Address, input []byte) *types.Receipt {
	p.b.Helper()
	tx, err := types.SignNewTx(p.key, types.LatestSignerForChainID(big.NewInt(1337)), &types.LegacyTx{
		Nonce: p.nonce, GasPrice: big.NewInt(5e9), Gas: 1 << 24, To: to, Data: input,
	})
	if err != nil {
		p.b.Fatal(err)
	}
	p.nonce++
	raw, err := tx.MarshalBinary()
	if err != nil {
		p.b.Fatal(err)
	}
	if err := p.r.Call(nil, "eth_sendRawTransaction", hexutil.Bytes(raw)); err != nil {
		p.b.Fatal(err)
	}
	receipt := receiptOf(p.b, p.r, tx.Hash())
	if receipt.Status != types.ReceiptStatusSuccessful {
		p.b.Fatal("a transaction of the Ethereum Attestation Service failed")
	}
	return receipt
}

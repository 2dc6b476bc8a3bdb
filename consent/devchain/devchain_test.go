package devchain

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	gethlog "github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"
)

// childMode, in the environment, makes the test binary a process that uses the chain in the folder named after it.
const childMode = "DEVCHAIN_TEST_CHILD"

func TestMain(m *testing.M) {
	mode, dir, ok := strings.Cut(os.Getenv(childMode), " ")
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(mode, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child opens the chain, prints its id and whether it owns the node, and then, by mode: "hold" waits for the end of its
// input and closes the chain; "send" sends eight transactions at a time and prints each that is confirmed, for ever; "exit" ends as the library does when it cannot
// write.
func child(mode, dir string) error {
	ctx := context.Background()
	chain, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println(chain.ChainID(), chain.Owner())
	switch mode {
	case "exit":
		gethlog.Error("not said")
		gethlog.Crit("Failed to write", "err", "no space left")
	case "hold":
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
		return chain.Close()
	case "send":
		client, err := chain.Dial(ctx)
		if err != nil {
			return err
		}
		for {
			txs, err := signed(ctx, client, chain, 8)
			if err != nil {
				return err
			}
			var wg sync.WaitGroup
			errs := make([]error, len(txs))
			for i, tx := range txs {
				wg.Go(func() {
					if errs[i] = confirm(ctx, client, tx); errs[i] == nil {
						fmt.Println(tx.Hash())
					}
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("no such mode: %s", mode)
}

type process struct {
	*exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
	err   *strings.Builder
}

func startChild(t testing.TB, mode, dir string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), err: new(strings.Builder)}
	p.Env = append(os.Environ(), childMode+"="+mode+" "+dir)
	p.Stderr = p.err
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.lines = stdin, bufio.NewScanner(stdout)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.kill()
		}
	})
	return p
}

// ready reads what a child says of the chain it opened.
func (p *process) ready(t testing.TB) (id uint64, owner bool) {
	t.Helper()
	if !p.lines.Scan() {
		p.kill()
		t.Fatalf("child said nothing: %s", p.err)
	}
	if _, err := fmt.Sscan(p.lines.Text(), &id, &owner); err != nil {
		t.Fatalf("child said %q: %v", p.lines.Text(), err)
	}
	return id, owner
}

func (p *process) kill() {
	p.Process.Kill()
	p.Wait()
}

// quit lets a holding child close the chain and end; it has nothing to say on stderr.
func (p *process) quit(t testing.TB) {
	t.Helper()
	p.stdin.Close()
	if err := p.Wait(); err != nil || p.err.Len() != 0 {
		t.Fatalf("child ended with %v, stderr %q", err, p.err)
	}
}

// signed makes n transactions of the funded account, to itself, with the next nonces.
func signed(ctx context.Context, client *rpc.Client, chain *Chain, n int) ([]*types.Transaction, error) {
	from := crypto.PubkeyToAddress(chain.Key().PublicKey)
	nonce, err := ethclient.NewClient(client).PendingNonceAt(ctx, from)
	if err != nil {
		return nil, err
	}
	txs := make([]*types.Transaction, n)
	for i := range txs {
		txs[i] = sign(chain.Key(), chain.ChainID(), types.DynamicFeeTx{Nonce: nonce + uint64(i), To: &from, Gas: 21_000})
	}
	return txs, nil
}

func sign(key *ecdsa.PrivateKey, id uint64, tx types.DynamicFeeTx) *types.Transaction {
	if tx.GasFeeCap == nil {
		tx.GasFeeCap, tx.GasTipCap = big.NewInt(1e10), big.NewInt(1)
	}
	return types.MustSignNewTx(key, types.LatestSignerForChainID(new(big.Int).SetUint64(id)), &tx)
}

// confirm sends tx and waits until it is in a block.
func confirm(ctx context.Context, client *rpc.Client, tx *types.Transaction) error {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return err
	}
	var receipt *types.Receipt
	if err := client.CallContext(ctx, &receipt, "eth_sendRawTransactionSync", hexutil.Bytes(raw)); err != nil {
		return err
	}
	if receipt.Status != types.ReceiptStatusSuccessful {
		return fmt.Errorf("transaction %s failed", tx.Hash())
	}
	return nil
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// opened opens the chain in dir and closes it at the end of the test.
func opened(t testing.TB, dir string) *Chain {
	t.Helper()
	chain, err := Open(deadline(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chain.Close() })
	return chain
}

func dialed(t testing.TB, chain *Chain) *rpc.Client {
	t.Helper()
	client, err := chain.Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// send confirms one transaction to the account itself.
func send(t testing.TB, chain *Chain, client *rpc.Client) common.Hash {
	t.Helper()
	txs, err := signed(deadline(t), client, chain, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := confirm(deadline(t), client, txs[0]); err != nil {
		t.Fatal(err)
	}
	return txs[0].Hash()
}

func wantReceipts(t testing.TB, client *rpc.Client, hashes ...common.Hash) {
	t.Helper()
	for _, hash := range hashes {
		if _, err := ethclient.NewClient(client).TransactionReceipt(deadline(t), hash); err != nil {
			t.Errorf("confirmed transaction %s: %v", hash, err)
		}
	}
}

// wantNoReceipt asks for an unknown transaction, which is not an error.
func wantNoReceipt(t testing.TB, client *rpc.Client) {
	t.Helper()
	if _, err := ethclient.NewClient(client).TransactionReceipt(deadline(t), common.Hash{1}); !errors.Is(err, ethereum.NotFound) {
		t.Errorf("receipt of an unknown transaction: %v, want not found", err)
	}
}

func TestSurvivesReopening(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "chain")
	chain := opened(t, dir)
	if !chain.Owner() {
		t.Error("the only opener does not own the node")
	}
	if id := chain.ChainID(); id < 1<<31 || id > 1<<53-1 {
		t.Errorf("chain id %d is out of range", id)
	}
	wantNoReceipt(t, dialed(t, chain))
	hash := send(t, chain, dialed(t, chain))
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, settingsFile): 0o600, filepath.Join(dir, instance): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	id, key := chain.ChainID(), chain.Key()
	for range 2 {
		if err := chain.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Dial(deadline(t)); !errors.Is(err, ErrClosed) || !errors.Is(chain.Err(), ErrClosed) {
		t.Errorf("after Close: Dial %v, Err %v", err, chain.Err())
	}

	chain = opened(t, dir)
	client := dialed(t, chain)
	wantReceipts(t, client, hash)
	wantNoReceipt(t, client)
	if chain.ChainID() != id || !chain.Key().Equal(key) {
		t.Error("another chain id or key after reopening")
	}
	for _, block := range []string{"latest", "safe"} {
		var head struct{ Number hexutil.Uint64 }
		if err := client.Call(&head, "eth_getBlockByNumber", block, false); err != nil || head.Number != 1 {
			t.Errorf("%s block is %d (%v), want 1", block, head.Number, err)
		}
	}
	send(t, chain, client)
}

func TestTwoOpeners(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"same process", "child process"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var end func()
			var id uint64
			if where == "same process" {
				first := opened(t, dir)
				id, end = first.ChainID(), func() {
					if err := first.Close(); err != nil {
						t.Error(err)
					}
				}
			} else {
				first := startChild(t, "hold", dir)
				id, _ = first.ready(t)
				end = func() { first.quit(t) }
			}
			second := opened(t, dir)
			client := dialed(t, second)
			if second.Owner() || second.ChainID() != id || second.Done() != nil {
				t.Errorf("second: owner %v, chain %d, want false, %d", second.Owner(), second.ChainID(), id)
			}
			if _, err := Serve(deadline(t), dir, Options{}); !errors.Is(err, ErrInUse) {
				t.Errorf("Serve beside an owner: %v, want ErrInUse", err)
			}
			heads := make(chan *types.Header, 8)
			sub, err := client.EthSubscribe(deadline(t), heads, "newHeads")
			if err != nil {
				t.Fatal(err)
			}
			confirmed := send(t, second, client)
			select {
			case head := <-heads:
				if head.Number.Uint64() != 1 {
					t.Errorf("heard of block %d, want 1", head.Number)
				}
			case err := <-sub.Err():
				t.Fatal(err)
			case <-deadline(t).Done():
				t.Fatal("not told of a new block")
			}

			// What is pending when the owner closes is sealed first.
			txs, err := signed(deadline(t), client, second, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := ethclient.NewClient(client).SendTransaction(deadline(t), txs[0]); err != nil {
				t.Fatal(err)
			}
			end()
			client = dialed(t, second)
			if !second.Owner() || second.ChainID() != id {
				t.Errorf("after the owner's end: owner %v, chain %d, want true, %d", second.Owner(), second.ChainID(), id)
			}
			wantReceipts(t, client, confirmed, txs[0].Hash())
			send(t, second, client)
		})
	}
}

func TestTakeoverFromKilledOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner := startChild(t, "hold", dir)
	id, _ := owner.ready(t)
	chain := opened(t, dir)
	client := dialed(t, chain)
	hash := send(t, chain, client)
	owner.kill()
	if err := client.CallContext(deadline(t), nil, "eth_blockNumber"); err == nil {
		t.Fatal("a killed owner answers")
	}
	// Several callers whose connections broke dial at once.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			client, err := chain.Dial(deadline(t))
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			wantReceipts(t, client, hash)
		})
	}
	wg.Wait()
	if !chain.Owner() || chain.ChainID() != id {
		t.Errorf("owner %v, chain %d, want true, %d", chain.Owner(), chain.ChainID(), id)
	}
}

// TestKilled kills a process that sends transactions, at random moments, its start and the making of the chain
// included: whatever it had seen confirmed must be there afterwards.
func TestKilled(t *testing.T) {
	t.Parallel()
	lanes, kills := 4, 6
	if testing.Short() {
		kills = 2
	}
	if n := os.Getenv("ASSENT_DEVCHAIN_KILLS"); n != "" {
		if _, err := fmt.Sscan(n, &kills); err != nil {
			t.Fatalf("ASSENT_DEVCHAIN_KILLS=%q: %v", n, err)
		}
	}
	var mu sync.Mutex
	confirmed := 0
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				var id uint64
				var hashes []common.Hash
				for i := range kills {
					p := startChild(t, "send", dir)
					life := time.Duration(rand.IntN(1500)) * time.Millisecond
					if i == 0 { // while the chain is being made
						life = time.Duration(rand.IntN(150)) * time.Millisecond
					}
					timer := time.AfterFunc(life, func() { p.Process.Kill() })
					for p.lines.Scan() {
						var was uint64
						var owner bool
						if line := p.lines.Text(); strings.HasPrefix(line, "0x") {
							hashes = append(hashes, common.HexToHash(line))
						} else if _, err := fmt.Sscan(line, &was, &owner); err != nil || id != 0 && id != was {
							t.Errorf("child said %q, of chain %d", line, id)
						} else {
							id = was
						}
					}
					p.Wait()
					if timer.Stop() {
						t.Fatalf("child ended by itself: %s", p.err)
					}
				}
				chain := opened(t, dir)
				wantReceipts(t, dialed(t, chain), hashes...)
				mu.Lock()
				confirmed += len(hashes)
				mu.Unlock()
			})
		}
	})
	t.Logf("%d kills, %d confirmed transactions, all there", lanes*kills, confirmed)
	if confirmed == 0 {
		t.Error("no transaction was ever confirmed: the test shows nothing")
	}
}

func TestFreshFolderOpenedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	for range 3 {
		dir := filepath.Join(t.TempDir(), "chain")
		a, b := startChild(t, "hold", dir), startChild(t, "hold", dir)
		aID, aOwner := a.ready(t)
		bID, bOwner := b.ready(t)
		if aID != bID || aOwner == bOwner {
			t.Errorf("two openers at once: chain %d (owner %v) and %d (owner %v)", aID, aOwner, bID, bOwner)
		}
		a.quit(t)
		b.quit(t)
	}
}

func TestOwnerDiesWhileAnotherStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := opened(t, dir)
	id := first.ChainID()
	hash := send(t, first, dialed(t, first))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		owner := startChild(t, "hold", dir)
		owner.ready(t)
		next := startChild(t, "hold", dir)
		timer := time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { owner.Process.Kill() })
		if nextID, _ := next.ready(t); nextID != id {
			t.Fatalf("chain %d after the owner's death, want %d", nextID, id)
		}
		owner.Wait()
		timer.Stop()
		next.quit(t)
	}
	wantReceipts(t, dialed(t, opened(t, dir)), hash)
}

func TestClockNeverAhead(t *testing.T) {
	t.Parallel()
	chain := opened(t, t.TempDir())
	client := dialed(t, chain)
	for range 4 { // as fast as it goes
		txs, err := signed(deadline(t), client, chain, 20)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, tx := range txs {
			wg.Go(func() {
				if err := confirm(deadline(t), client, tx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	blocks, last := 0, uint64(0)
	for number := uint64(1); ; number++ {
		var head *types.Header
		if err := client.CallContext(deadline(t), &head, "eth_getBlockByNumber", hexutil.EncodeUint64(number), false); err != nil {
			t.Fatal(err)
		}
		if head == nil {
			break
		}
		blocks++
		if head.Time <= last {
			t.Errorf("block %d at %d is not after %d", head.Number, head.Time, last)
		}
		last = head.Time
	}
	if now := uint64(time.Now().Unix()); last > now {
		t.Errorf("the chain is at %d, the clock at %d", last, now)
	}
	if blocks < 4 || blocks > 20 {
		t.Errorf("%d blocks for 4 lots of 20 transactions: those of a lot do not share blocks", blocks)
	}
}

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := drawSettings()
	if err != nil {
		t.Fatal(err)
	}
	s.Time = uint64(time.Now().Add(time.Hour).Unix())
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(deadline(t), dir); err == nil || !strings.Contains(err.Error(), "set the clock right") {
		t.Errorf("open an hour before the last block: %v", err)
	}
}

func TestDeploysThroughProxy(t *testing.T) {
	t.Parallel()
	chain := opened(t, t.TempDir())
	client := dialed(t, chain)
	eth := ethclient.NewClient(client)
	code, err := eth.CodeAt(deadline(t), proxy, big.NewInt(0))
	if err != nil || hexutil.Encode(code) != "0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3" {
		t.Fatalf("proxy in the first block: %x, %v", code, err)
	}
	// Init code that logs topic 42 and leaves TIMESTAMP PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN as the contract.
	runtime := common.FromHex("4260005260206000f3")
	initCode := append(common.FromHex("602a60006000a1"+"68"+common.Bytes2Hex(runtime)+"600052"+"6009"+"6017"+"f3"), nil...)
	salt := common.Hash{}
	at := crypto.CreateAddress2(proxy, salt, crypto.Keccak256(initCode))
	tx := sign(chain.Key(), chain.ChainID(), types.DynamicFeeTx{To: &proxy, Gas: 200_000, Data: append(salt.Bytes(), initCode...)})
	if err := confirm(deadline(t), client, tx); err != nil {
		t.Fatal(err)
	}
	if code, err := eth.CodeAt(deadline(t), at, nil); err != nil || hexutil.Encode(code) != hexutil.Encode(runtime) {
		t.Errorf("code at %s: %x, %v", at, code, err)
	}
	logs, err := eth.FilterLogs(deadline(t), ethereum.FilterQuery{Addresses: []common.Address{at}, Topics: [][]common.Hash{{common.BigToHash(big.NewInt(42))}}})
	if err != nil || len(logs) != 1 || logs[0].TxHash != tx.Hash() {
		t.Errorf("logs: %v, %v", logs, err)
	}
	var result hexutil.Bytes
	err = client.CallContext(deadline(t), &result, "eth_call", map[string]any{"to": at}, "latest", map[string]any{}, map[string]any{"time": hexutil.Uint64(1234567)})
	if err != nil || new(big.Int).SetBytes(result).Uint64() != 1234567 {
		t.Errorf("call at an overridden time: %x, %v", result, err)
	}
}

// TestCheapTransaction shows that a fee cap under the base fee neither keeps a transaction out for ever nor makes
// empty blocks without end.
func TestCheapTransaction(t *testing.T) {
	t.Parallel()
	chain := opened(t, t.TempDir())
	client := dialed(t, chain)
	eth := ethclient.NewClient(client)
	head, err := eth.HeaderByNumber(deadline(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	limit := new(big.Int).Mul(head.BaseFee, big.NewInt(8))
	to := crypto.PubkeyToAddress(chain.Key().PublicKey)
	tx := sign(chain.Key(), chain.ChainID(), types.DynamicFeeTx{To: &to, Gas: 21_000, GasFeeCap: limit.Div(limit, big.NewInt(10)), GasTipCap: big.NewInt(1)})
	if err := confirm(deadline(t), client, tx); err != nil {
		t.Fatal(err)
	}
	head, err = eth.HeaderByNumber(deadline(t), nil)
	if err != nil || head.Number.Uint64() != 2 {
		t.Errorf("in block %v (%v), want 2: each block brings the base fee down by an eighth", head.Number, err)
	}
}

// TestUnpayableTransaction shows that a transaction below the lowest base fee there is makes an empty block, or
// a second if it came while the sealer was looking, but no more.
func TestUnpayableTransaction(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := drawSettings()
	if err != nil {
		t.Fatal(err)
	}
	s.Time -= 1000 // room for blocks, a second each, that bring the base fee down
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	chain := opened(t, dir)
	sealer := chain.node.sealer
	blocks := sealer.eth.BlockChain()
	if err := sealer.Stop(); err != nil { // the pool takes one sealer at a time
		t.Fatal(err)
	}
	for blocks.CurrentBlock().BaseFee.Uint64() > 7 {
		if err := sealer.beacon.AdjustTime(time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := sealer.Start(); err != nil {
		t.Fatal(err)
	}
	before := blocks.CurrentBlock().Number.Uint64()
	client := dialed(t, chain)
	eth := ethclient.NewClient(client)
	heads := make(chan *types.Header, 16)
	if _, err := eth.SubscribeNewHead(deadline(t), heads); err != nil {
		t.Fatal(err)
	}
	to := crypto.PubkeyToAddress(chain.Key().PublicKey)
	tx := types.DynamicFeeTx{To: &to, Gas: 21_000, GasFeeCap: big.NewInt(1), GasTipCap: big.NewInt(1)}
	if err := eth.SendTransaction(deadline(t), sign(chain.Key(), chain.ChainID(), tx)); err != nil {
		t.Fatal(err)
	}
	for silent := false; !silent; {
		select {
		case head := <-heads:
			if head.Number.Uint64() > before+2 {
				t.Fatalf("%d blocks, and no end, for a transaction that none can take in", head.Number.Uint64()-before)
			}
		case <-time.After(1500 * time.Millisecond):
			silent = true
		}
	}
	empty := blocks.CurrentBlock().Number.Uint64()
	tx.GasFeeCap, tx.GasTipCap = big.NewInt(1e10), big.NewInt(2) // replaced by one that pays
	if err := confirm(deadline(t), client, sign(chain.Key(), chain.ChainID(), tx)); err != nil {
		t.Fatal(err)
	}
	if after := blocks.CurrentBlock().Number.Uint64(); after != empty+1 {
		t.Errorf("%d blocks for the one that pays, want 1", after-empty)
	}
}

func TestNothingToldBeforeItIsOnDisk(t *testing.T) {
	t.Parallel()
	var g gate
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, instance), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir, gate: &g}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	client, err := rpc.DialContext(deadline(t), endpoint(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	g.Lock()
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := client.CallContext(short, nil, "rpc_modules"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an answer while a block is being made: %v", err)
	}
	g.Unlock()
	if err := client.CallContext(deadline(t), nil, "rpc_modules"); err != nil {
		t.Error(err)
	}
}

func TestSealsBehindTheGate(t *testing.T) {
	t.Parallel()
	chain := opened(t, t.TempDir())
	client := dialed(t, chain)
	txs, err := signed(deadline(t), client, chain, 1)
	if err != nil {
		t.Fatal(err)
	}
	sealer := chain.node.sealer
	sealer.gate.RLock()
	confirmed := make(chan error, 1)
	go func() { confirmed <- confirm(deadline(t), client, txs[0]) }()
	select {
	case err := <-confirmed:
		sealer.gate.RUnlock()
		t.Fatalf("confirmed past a gate that is held: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if pending, _ := sealer.eth.TxPool().Stats(); pending != 1 || sealer.eth.BlockChain().CurrentBlock().Number.Sign() != 0 {
		t.Errorf("%d transactions pending at block %d, want 1 at 0", pending, sealer.eth.BlockChain().CurrentBlock().Number)
	}
	sealer.gate.RUnlock()
	if err := <-confirmed; err != nil {
		t.Error(err)
	}
}

func TestFailedSealingLetsGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	chain := opened(t, dir)
	client := dialed(t, chain)
	confirmed := send(t, chain, client)
	done := chain.Done()
	chain.node.sealer.eth.BlockChain().InterruptInsert(true)
	txs, err := signed(deadline(t), client, chain, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := confirm(deadline(t), client, txs[0]); err == nil {
		t.Fatal("confirmed without a block")
	}
	select {
	case <-done:
	case <-deadline(t).Done():
		t.Fatal("the node goes on")
	}
	if err := chain.Err(); err == nil || !strings.Contains(err.Error(), "could not make a block") {
		t.Errorf("Err: %v", err)
	}
	client = dialed(t, chain)
	if !chain.Owner() || chain.Err() != nil {
		t.Errorf("after dialing again: owner %v, %v", chain.Owner(), chain.Err())
	}
	wantReceipts(t, client, confirmed)
	if err := confirm(deadline(t), client, txs[0]); err != nil {
		t.Error(err)
	}
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40), "chain")
	holder := startChild(t, "hold", dir)
	id, owner := holder.ready(t)
	if !owner {
		t.Error("the only opener does not own the node")
	}
	chain := opened(t, dir)
	if chain.Owner() || chain.ChainID() != id {
		t.Errorf("second: owner %v, chain %d, want false, %d", chain.Owner(), chain.ChainID(), id)
	}
	holder.kill()
	hash := send(t, chain, dialed(t, chain))
	if !chain.Owner() {
		t.Error("not taken over")
	}
	wantReceipts(t, dialed(t, opened(t, dir)), hash)
}

func TestUnfinishedFolderIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := drawSettings()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, instance, chaindata)
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CURRENT", "MANIFEST-000001", "000002.log", "marker.manifest.000001.MANIFEST-000001"} {
		if err := os.WriteFile(filepath.Join(half, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chain := opened(t, dir)
	if chain.ChainID() != s.ChainID {
		t.Errorf("chain %d, settings name %d", chain.ChainID(), s.ChainID)
	}
	send(t, chain, dialed(t, chain))
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, dir string) error{
		"truncated settings": func(t *testing.T, dir string) error {
			return os.Truncate(filepath.Join(dir, settingsFile), 40)
		},
		"empty settings": func(t *testing.T, dir string) error {
			return os.Truncate(filepath.Join(dir, settingsFile), 0)
		},
		"something after the settings": func(t *testing.T, dir string) error {
			return rewrite(dir, "}\n", "}{}")
		},
		"unknown member": func(t *testing.T, dir string) error { return rewrite(dir, `"time"`, `"tide"`) },
		"unknown layout": func(t *testing.T, dir string) error { return rewrite(dir, `"layout": 1`, `"layout": 2`) },
		"chain id out of range": func(t *testing.T, dir string) error {
			s, err := readSettings(dir)
			if err != nil {
				return err
			}
			s.ChainID = 1337
			return s.write(dir)
		},
		"another chain id": func(t *testing.T, dir string) error {
			s, err := readSettings(dir)
			if err != nil {
				return err
			}
			s.ChainID ^= 1
			return s.write(dir)
		},
		"another key": func(t *testing.T, dir string) error {
			return rewrite(dir, `"key": "0x`, `"key": "0x00`)
		},
		"settings of another chain": func(t *testing.T, dir string) error {
			other, err := drawSettings()
			if err != nil {
				return err
			}
			other.Genesis = common.Hash{1}
			return other.write(dir)
		},
		"settings gone": func(t *testing.T, dir string) error { return os.Remove(filepath.Join(dir, settingsFile)) },
		"blocks gone":   func(t *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, instance)) },
		"blocks of nothing": func(t *testing.T, dir string) error {
			manifests, err := filepath.Glob(filepath.Join(dir, instance, chaindata, "MANIFEST-*"))
			for _, path := range manifests {
				err = errors.Join(err, os.Truncate(path, 3))
			}
			return err
		},
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			chain := opened(t, dir)
			key := hexutil.Encode(crypto.FromECDSA(chain.Key()))[2:]
			if err := chain.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(t, dir); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first attempt must not hide the damage from the second, nor keep the folder
				_, err := Open(deadline(t), dir)
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "backup") {
					t.Errorf("error %v, want ErrDamaged naming the folder and a way out", err)
				}
				if err != nil && strings.Contains(err.Error(), key) {
					t.Error("the error shows the key")
				}
			}
		})
	}
}

func TestDiskErrorIsNoDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	chain := opened(t, dir)
	hash := send(t, chain, dialed(t, chain))
	if err := chain.Close(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, instance, chaindata, "LOCK")
	if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(deadline(t), dir); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), lock) {
		t.Errorf("error %v, want one naming %s, not damage", err, lock)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	wantReceipts(t, dialed(t, opened(t, dir)), hash)
}

// TestRoomIsGivenBack: what a process that was killed at the wrong moment left of its probe goes with the next one's.
func TestRoomIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, roomFile), make([]byte, roomSize/2), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := room(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLastWords(t *testing.T) {
	t.Parallel()
	p := startChild(t, "exit", t.TempDir())
	err := p.Wait()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("child ended with %v, want exit code 1", err)
	}
	if lines := strings.Split(strings.TrimSpace(p.err.String()), "\n"); len(lines) != 1 || !strings.Contains(lines[0], "no space left") {
		t.Errorf("stderr %q, want the one line that says why", lines)
	}
}

// rewrite replaces one text in the settings.
func rewrite(dir, from, to string) error {
	path := filepath.Join(dir, settingsFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(raw), from, to, 1)
	if changed == string(raw) {
		return fmt.Errorf("settings without %q: %s", from, raw)
	}
	return os.WriteFile(path, []byte(changed), 0o600)
}

func TestUnusableFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := t.TempDir()
	if err := os.Chmod(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		readOnly = "/sys/kernel" // where not even root makes folders
	}
	for name, c := range map[string]struct {
		dir  string
		want error
	}{
		"a file":       {file, nil},
		"in a file":    {filepath.Join(file, "chain"), nil},
		"not writable": {readOnly, fs.ErrPermission},
		"no name":      {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(c.dir); c.dir == "/sys/kernel" && err != nil {
				t.Skip("root can write everywhere here: no /sys")
			}
			_, err := Open(deadline(t), c.dir)
			if err == nil || !strings.Contains(err.Error(), c.dir) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want one naming %q, of %v", err, c.dir, c.want)
			}
		})
	}
}

func TestFrozenOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := opened(t, dir)
	first.node.sealer.gate.Lock()
	defer first.node.sealer.gate.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, dir); !errors.Is(err, ErrInUse) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dir) {
		t.Errorf("beside an owner that does not answer: %v", err)
	}
}

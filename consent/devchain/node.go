package devchain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethlog "github.com/ethereum/go-ethereum/log"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

const (
	instance  = "assent" // the node's name, and the folder of its data within the chain's
	chaindata = "chaindata"

	cacheMB  = 16
	handles  = 64
	gasLimit = 60_000_000
	roomSize = 1 << 20 // bytes that must still fit on the disk

	// clockSlack is by how much the wall clock may be behind the last block; sealing waits that long.
	clockSlack = time.Minute
)

// proxy is the deterministic deployment proxy, https://github.com/Arachnid/deterministic-deployment-proxy.
var (
	proxy     = common.HexToAddress("0x4e59b44847b379578588920cA78FbF26c0B4956C")
	proxyCode = common.FromHex("0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3")
)

// node is a running node that holds the lock on its folder.
type node struct {
	settings settings
	url      string
	stack    *gethnode.Node
	sealer   *sealer

	once    sync.Once
	stopped chan struct{}
	err     error // why it stopped, nil for close; to be read after stopped
}

// start takes the folder, or says ErrInUse, and runs the node on it; the first block is made if there is none.
func start(dir string, options Options) (_ *node, err error) {
	silence()
	address, err := httpAddress(options)
	if err != nil {
		return nil, err
	}
	p2pKey, err := crypto.GenerateKey() // of no use without a network, but else one would be written to a file
	if err != nil {
		return nil, err
	}
	stack, err := gethnode.New(&gethnode.Config{
		Name:        instance,
		DataDir:     dir,
		KeyStoreDir: filepath.Join(dir, instance), // no accounts are kept; else an empty folder would be made for them
		DBEngine:    rawdb.DBPebble,
		P2P:         p2p.Config{NoDiscovery: true, NoDial: true, PrivateKey: p2pKey},
	})
	if errors.Is(err, gethnode.ErrDatadirUsed) {
		return nil, fmt.Errorf("%w (folder %s)", ErrInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("take the embedded chain's folder %s: %w: make it writable, or name another", dir, err)
	}
	n := &node{stack: stack, stopped: make(chan struct{})}
	if err := n.run(dir, address); err != nil {
		if closing := stack.Close(); closing != nil && !errors.Is(closing, gethnode.ErrNodeStopped) {
			err = errors.Join(err, closing)
		}
		return nil, fmt.Errorf("open the embedded chain in %s: %w", dir, err)
	}
	return n, nil
}

func (n *node) run(dir string, address *net.TCPAddr) (err error) {
	n.stack.Server().Config.NodeDatabase = "" // no peers, hence no database of them
	if err := room(dir); err != nil {
		return err
	}
	s, err := loadSettings(dir)
	if err != nil {
		return err
	}
	fresh := s.Genesis == common.Hash{}
	config := ethConfig()
	if fresh {
		config.Genesis = genesis(s)
		if err := n.indexFromStart(); err != nil {
			return err
		}
	}
	backend, err := eth.New(n.stack, config)
	if err != nil {
		var system syscall.Errno // of the disk, the permissions, the limits: no reason to give up the data
		if fresh || errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return fmt.Errorf("%w: %w: restore %s from a backup, or move it away to begin a new chain", ErrDamaged, err, dir)
	}
	started := false
	defer func() {
		if !started {
			backend.TxPool().Close()
			backend.BlockChain().Stop()
		}
	}()
	chain := backend.BlockChain()
	if fresh {
		if err := backend.ChainDb().SyncKeyValue(); err != nil {
			return err
		}
		if err := syncFolder(filepath.Join(dir, instance)); err != nil {
			return err
		}
		s.Genesis = chain.Genesis().Hash()
		if err := s.write(dir); err != nil {
			return err
		}
	}
	if chain.Genesis().Hash() != s.Genesis || !chain.Config().ChainID.IsUint64() || chain.Config().ChainID.Uint64() != s.ChainID {
		return damagedSettings(filepath.Join(dir, settingsFile), "it names another chain than the data beside it")
	}
	head := chain.CurrentBlock()
	if last := time.Unix(int64(head.Time), 0); time.Until(last) > clockSlack {
		return fmt.Errorf("this computer's clock is behind the chain's last block, of %s: set the clock right and try again", last.UTC().Format(time.RFC3339))
	}
	beacon, err := catalyst.NewSimulatedBeacon(0, common.Address{}, backend)
	if err != nil {
		return err
	}
	chain.SetSafe(head) // as after each block; a restart alone would leave it at the last finalized one

	gate := new(gate)
	server := &server{dir: dir, gate: gate, apis: n.apis(backend, s), http: address}
	n.stack.RegisterLifecycle(server)
	n.sealer = &sealer{eth: backend, beacon: beacon, gate: gate, failed: func(err error) { n.close(err) }}
	n.stack.RegisterLifecycle(n.sealer)
	started = true // from here on, closing the stack stops all
	if err := n.stack.Start(); err != nil {
		return err
	}
	n.settings, n.url = s, server.url
	return nil
}

// indexFromStart notes in new data that the transactions of every block since the first are indexed, which is so.
// Without it the library answers a question for an unknown transaction with an error until there is a second block.
func (n *node) indexFromStart() error {
	db, err := n.stack.OpenDatabaseWithOptions(chaindata, gethnode.DatabaseOptions{Cache: cacheMB, Handles: handles})
	if err != nil {
		return err
	}
	rawdb.WriteTxIndexTail(db, 0)
	return db.Close()
}

// close stops the node for the reason given, seals what is pending unless sealing is what failed, and lets go of the
// folder. Only the first call counts; every call waits for the end.
func (n *node) close(reason error) (err error) {
	n.once.Do(func() {
		n.err = reason
		err = n.stack.Close()
		close(n.stopped)
	})
	return err
}

// loadSettings reads the folder's settings, or draws new ones where there is nothing at all. If a chain was being made
// when its process ended, what there is of its data goes: the settings alone decide what it becomes.
func loadSettings(dir string) (settings, error) {
	data := filepath.Join(dir, instance, chaindata)
	_, missing := os.Stat(data)
	if missing != nil && !errors.Is(missing, fs.ErrNotExist) {
		return settings{}, missing
	}
	s, err := readSettings(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && missing != nil:
		if s, err = drawSettings(); err != nil {
			return settings{}, err
		}
		return s, s.write(dir)
	case errors.Is(err, fs.ErrNotExist):
		return settings{}, damagedSettings(filepath.Join(dir, settingsFile), "it is gone")
	case err != nil:
		return settings{}, err
	case s.Genesis == common.Hash{}:
		return s, os.RemoveAll(data)
	case missing != nil:
		return settings{}, fmt.Errorf("%w: its blocks are gone from %s: restore them from a backup, or move the folder %s away to begin a new chain", ErrDamaged, data, dir)
	}
	return s, nil
}

// ethConfig holds the settings that survive a kill: with path-based state, or without the archive, an unclean end
// brings the chain back to its first block. The state scheme cannot be changed in a folder that exists.
func ethConfig() *ethconfig.Config {
	c := ethconfig.Defaults
	c.SyncMode = ethconfig.FullSync
	c.StateScheme = rawdb.HashScheme
	c.NoPruning = true
	c.SnapshotCache = 0
	c.TransactionHistory = 0 // all of it
	c.LogNoHistory = true    // logs are found block by block; an index would have to be mended after a kill
	c.DatabaseCache, c.DatabaseHandles = cacheMB, handles
	c.TrieCleanCache, c.TrieDirtyCache = cacheMB, 0
	c.TxPool.NoLocals, c.TxPool.Journal, c.TxPool.PriceLimit = true, "", 1
	c.BlobPool.Datadir = "" // in memory
	c.Miner.GasPrice, c.Miner.GasCeil = big.NewInt(1), gasLimit
	return &c
}

// genesis is the first block. Its rules are pinned here and, once it is made, kept with the data: a later version of
// this program or of the library does not change them.
func genesis(s settings) *core.Genesis {
	now := uint64(0)
	alloc := core.SystemContractAllocs()
	alloc[proxy] = types.Account{Nonce: 1, Code: proxyCode, Balance: new(big.Int)}
	alloc[crypto.PubkeyToAddress(s.key.PublicKey)] = types.Account{Balance: new(big.Int).Lsh(big.NewInt(1), 96)}
	return &core.Genesis{
		Config: &params.ChainConfig{
			ChainID:                 new(big.Int).SetUint64(s.ChainID),
			HomesteadBlock:          new(big.Int),
			EIP150Block:             new(big.Int),
			EIP155Block:             new(big.Int),
			EIP158Block:             new(big.Int),
			ByzantiumBlock:          new(big.Int),
			ConstantinopleBlock:     new(big.Int),
			PetersburgBlock:         new(big.Int),
			IstanbulBlock:           new(big.Int),
			MuirGlacierBlock:        new(big.Int),
			BerlinBlock:             new(big.Int),
			LondonBlock:             new(big.Int),
			ArrowGlacierBlock:       new(big.Int),
			GrayGlacierBlock:        new(big.Int),
			TerminalTotalDifficulty: new(big.Int),
			ShanghaiTime:            &now,
			CancunTime:              &now,
			PragueTime:              &now,
			OsakaTime:               &now,
			BlobScheduleConfig: &params.BlobScheduleConfig{
				Cancun: params.DefaultCancunBlobConfig,
				Prague: params.DefaultPragueBlobConfig,
			},
		},
		Timestamp:  s.Time,
		ExtraData:  []byte(instance),
		GasLimit:   gasLimit,
		Difficulty: new(big.Int),
		Alloc:      alloc,
	}
}

// roomFile is one name, so that what a kill leaves behind is gone with the next opening. The folder is locked by then.
const roomFile = "room"

// room makes sure that the disk takes something: where it is full, the library's database would try for ever to open.
func room(dir string) error {
	probe, err := os.OpenFile(filepath.Join(dir, roomFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(probe.Name())
	_, err = probe.Write(make([]byte, roomSize))
	return errors.Join(err, probe.Close())
}

// apis are the JSON-RPC modules eth, net and web3. The library's others could rewind the chain or stop the node.
func (n *node) apis(backend *eth.Ethereum, s settings) []rpc.API {
	apis := []rpc.API{
		{Namespace: "eth", Service: filters.NewFilterAPI(filters.NewFilterSystem(backend.APIBackend, filters.Config{}))},
		{Namespace: "web3", Service: web3{n.stack.Server().Name}},
	}
	for _, api := range backend.APIs() {
		if api.Namespace == "eth" || api.Namespace == "net" {
			apis = append(apis, api)
		}
	}
	// Last, so that its methods take the place of the library's.
	return append(apis, rpc.API{Namespace: "eth", Service: lending{s.key, new(big.Int).SetUint64(s.ChainID)}})
}

// silence keeps the library from ending the process without a word: it logs nothing by default, not even the reason
// for which it then exits (a full disk, say). That line alone goes to stderr, unless the program has a logger of its own.
var silence = sync.OnceFunc(func() {
	if gethlog.Root().Enabled(context.Background(), gethlog.LevelCrit) {
		return
	}
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: gethlog.LevelCrit})
	gethlog.SetDefault(lastWords{gethlog.NewLogger(handler)})
})

// lastWords is a type of its own because the library would make its own logger that of log/slog as well.
type lastWords struct{ gethlog.Logger }

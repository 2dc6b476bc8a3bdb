// Package devchain is the embedded chain: a real Ethereum node inside the process, with its data in one folder, so
// that what is anchored outlives the command that anchored it. Any number of processes may open the same folder: the
// first owns the node, the others talk to it through its socket, and when it goes away the next one to dial takes over.
//
// No answer leaves the node before the block it speaks of is on disk, so whatever a caller has seen confirmed survives
// a kill at any moment. The chain's clock never runs ahead of the wall clock.
//
// It never joins a network, never listens beyond this computer unless told so in plain words, knows nothing of consent
// or of the registry contract, and holds no key of a person: its funded account pays for transactions and signs nothing else.
package devchain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

var (
	// ErrClosed is returned by every use of a Chain after its Close.
	ErrClosed = errors.New("the embedded chain is closed")
	// ErrInUse says that another process has the folder open and either does not answer, or stands in the way of Serve.
	ErrInUse = errors.New("the embedded chain is open in another process")
	// ErrDamaged says that the folder does not hold a whole chain; the error around it names the folder and the way out.
	ErrDamaged = errors.New("the embedded chain is damaged")
)

const (
	dialPatience  = 15 * time.Second      // for an owner that is starting, or ending
	servePatience = 3 * time.Second       // for a short command to give the folder up
	retryAfter    = 20 * time.Millisecond // between two looks at a folder that is changing hands
)

// Options of Serve.
type Options struct {
	// HTTP is the host:port where JSON-RPC (modules eth, net and web3) is served besides the socket; empty for none.
	// Port 0 takes a free one, see [Chain.URL].
	HTTP string
	// AllowRemote permits an HTTP address that other computers can reach. There is no authentication: whoever reaches
	// it can read everything, send transactions, and have the funded account pay for them.
	AllowRemote bool
}

// Chain is the embedded chain of one folder. All methods may be called from several goroutines.
type Chain struct {
	dir     string
	serve   bool
	options Options
	quit    chan struct{} // closed by Close

	mu       sync.Mutex // held while a node is opened or closed
	settings settings   // zero until the folder's were read
	node     *node      // nil while another process owns the chain
	closed   bool
}

// Open opens the chain in dir, and makes it when dir is absent or empty. If another process, or another Chain, has dir
// open, the Chain returned talks to that one. It waits for a folder that is changing hands until ctx is done, at most
// 15 seconds.
//
// The error is ErrDamaged when dir does not hold a whole chain, ErrInUse when the owner does not answer, fs.ErrPermission
// where dir cannot be written.
func Open(ctx context.Context, dir string) (*Chain, error) {
	return open(ctx, dir, false, Options{})
}

// Serve opens the chain in dir as its owner, for other processes to use, over HTTP as well if options say so. The error
// is ErrInUse when another process keeps dir open for more than 3 seconds.
func Serve(ctx context.Context, dir string, options Options) (*Chain, error) {
	return open(ctx, dir, true, options)
}

func open(ctx context.Context, dir string, serve bool, options Options) (*Chain, error) {
	dir, err := folder(dir)
	if err != nil {
		return nil, err
	}
	c := &Chain{dir: dir, serve: serve, options: options, quit: make(chan struct{})}
	client, err := c.Dial(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	client.Close()
	return c, nil
}

// folder makes dir if it is not there and gives its one true name.
func folder(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("open the embedded chain: no folder is named")
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("make the embedded chain's folder %s: %w: name a folder that can be written", dir, err)
	}
	return dir, nil
}

// Dial gives a client of the chain as it can be reached now. If the process that owned the node is gone, this one
// opens the node itself: a caller whose connection broke dials again, looks whether its transaction is there, and
// sends it again if not. The caller closes the client.
func (c *Chain) Dial(ctx context.Context) (*rpc.Client, error) {
	patience := dialPatience
	if c.serve {
		patience = servePatience
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := c.own()
		if err == nil || errors.Is(err, ErrInUse) && !c.serve {
			var client *rpc.Client
			if client, err = c.connect(waiting); err == nil {
				return client, nil
			}
		}
		if !errors.Is(err, ErrInUse) {
			return nil, err
		}
		select {
		case <-c.quit:
			return nil, ErrClosed
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("reach the embedded chain in %s: %w (%w)", c.dir, ctx.Err(), err)
			}
			return nil, fmt.Errorf("%w: end that process and try again", err)
		case <-time.After(retryAfter):
		}
	}
}

// own makes sure that this Chain's node runs, unless another process has the folder, which is ErrInUse.
func (c *Chain) own() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.node != nil {
		select {
		case <-c.node.stopped: // failed: what it had confirmed is on disk, so open it anew
			c.node = nil
		default:
			return nil
		}
	}
	n, err := start(c.dir, c.options)
	if err != nil {
		return err
	}
	if err := c.learn(n.settings); err != nil {
		n.close(nil)
		return err
	}
	c.node = n
	return nil
}

// learn keeps the folder's settings and refuses another chain in the place of the first.
func (c *Chain) learn(s settings) error {
	if c.settings.ChainID != 0 && c.settings.ChainID != s.ChainID {
		return fmt.Errorf("%w: the folder %s held chain %d and now holds chain %d: open it anew", ErrDamaged, c.dir, c.settings.ChainID, s.ChainID)
	}
	c.settings = s
	return nil
}

// connect dials the socket of whoever owns the node. The error is ErrInUse when nobody answers there, which passes.
func (c *Chain) connect(ctx context.Context) (*rpc.Client, error) {
	var id hexutil.Uint64
	client, err := rpc.DialIPC(ctx, endpoint(c.dir))
	if err == nil {
		if err = client.CallContext(ctx, &id, "eth_chainId"); err != nil {
			client.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w, which does not answer on the socket of %s: %w", ErrInUse, c.dir, err)
	}
	s, err := readSettings(c.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && s.ChainID != uint64(id) {
		err = fmt.Errorf("%w: the process that has %s open runs chain %d, which is not the folder's: end that process and try again", ErrDamaged, c.dir, uint64(id))
	}
	if err == nil {
		c.mu.Lock()
		err = c.learn(s)
		c.mu.Unlock()
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// ChainID is the chain's EIP-155 id, drawn at random from 2³¹ … 2⁵³ − 1 when the chain was made.
func (c *Chain) ChainID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings.ChainID
}

// Key is the account that the chain's first block funded. Every process on the folder pays with it, so two may choose
// the same nonce: the one that is refused takes the next.
func (c *Chain) Key() *ecdsa.PrivateKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings.key
}

// Owner tells whether the node runs in this Chain, rather than in another process.
func (c *Chain) Owner() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node != nil
}

// URL is where JSON-RPC is served over HTTP, or empty.
func (c *Chain) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.node == nil {
		return ""
	}
	return c.node.url
}

// Done is closed once the node of an owner has stopped, by Close or by a failure that Err tells. Dial opens it again
// after a failure. It is nil while another process owns the node.
func (c *Chain) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.node == nil {
		return nil
	}
	return c.node.stopped
}

// Err is nil while the Chain is in order, ErrClosed after Close, or what stopped the node.
func (c *Chain) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.node != nil {
		select {
		case <-c.node.stopped:
			return c.node.err
		default:
		}
	}
	return nil
}

// Close gives the folder up. An owner first seals the transactions that are pending, if the clock allows it within two
// seconds; what stays out is lost, and its sender sends it again. Clients of other processes lose their connection and
// dial again. A second Close does nothing.
func (c *Chain) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	close(c.quit)
	if c.node == nil {
		return nil
	}
	if err := c.node.close(nil); err != nil {
		return fmt.Errorf("close the embedded chain in %s: %w", c.dir, err)
	}
	return nil
}

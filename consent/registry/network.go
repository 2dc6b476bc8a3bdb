package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// Network is a chain, the ways to it, and the registry there.
type Network struct {
	Name      string
	Endpoints []Endpoint // the next is tried when one fails
	ChainID   uint64

	// Registry is where the contract stands; zero is Address, as on every
	// chain that has the deployment Proxy.
	Registry common.Address

	// Confirmations is how many blocks must hold an entry before it counts,
	// its own among them; 0 is 1.
	Confirmations uint64

	// OnDemand says that blocks are only made when there is something to
	// put into them, so that an old head is no sign of an old view.
	OnDemand bool

	// Timeout limits each call of an endpoint; 0 is 10 seconds.
	Timeout time.Duration
}

// Endpoint is one way to a network.
type Endpoint struct {
	Name string // for errors; no secret, so not a whole URL
	Dial func(context.Context) (*rpc.Client, error)
}

// URL is the endpoint at an http, https, ws or wss address, or at a socket's
// path. It is named by its host alone: the path may hold a key.
func URL(address string) Endpoint {
	name := address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		name = u.Host
	}
	return Endpoint{Name: name, Dial: func(ctx context.Context) (*rpc.Client, error) {
		return rpc.DialContext(ctx, address)
	}}
}

const defaultTimeout = 10 * time.Second

// Client writes to the registry of one network and reads it. Its methods may be
// called from several goroutines. The errors of all of them are
// UnreachableError where no endpoint can be used, else the context's once it is
// done, else what the method says.
type Client struct {
	network Network
	payer   Payer // nil: none of its own, see choosePayer

	paying sync.Mutex // held from taking a nonce until it is used

	mu    sync.Mutex
	conns []*connection // by endpoint; nil where there is none
	used  int           // the endpoint that worked last
}

type connection struct {
	rpc     *rpc.Client
	checked bool // the registry's code was found there
}

// New makes a client, which connects when it is first used. Where the payer is
// nil or has no coins, an account that the node lends pays.
func New(network Network, payer Payer) *Client {
	if network.Registry == (common.Address{}) {
		network.Registry = Address
	}
	network.Confirmations = max(network.Confirmations, 1)
	if network.Timeout == 0 {
		network.Timeout = defaultTimeout
	}
	return &Client{network: network, payer: payer, conns: make([]*connection, len(network.Endpoints))}
}

// Close closes the connections. A client that is used again opens new ones.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, conn := range c.conns {
		if conn != nil {
			conn.rpc.Close()
		}
		c.conns[i] = nil
	}
}

// CheckCode compares the code at the registry's address with RuntimeCode,
// again. All other methods do so before they first use an endpoint. The error
// is ErrNotDeployed or a WrongCodeError within an UnreachableError.
func (c *Client) CheckCode(ctx context.Context) error {
	return c.do(ctx, anyCode, func(ctx context.Context, r *rpc.Client) error { return c.checkCode(ctx, r) })
}

func (c *Client) checkCode(ctx context.Context, r *rpc.Client) error {
	var code hexutil.Bytes
	if err := r.CallContext(ctx, &code, "eth_getCode", c.network.Registry, "latest"); err != nil {
		return err
	}
	switch {
	case len(code) == 0:
		return ErrNotDeployed
	case !bytes.Equal(code, RuntimeCode):
		return &WrongCodeError{c.network.Registry, len(code)}
	}
	return nil
}

// What do wants of an endpoint before it is used.
const (
	anyCode      = false
	registryCode = true
)

// final is an error that another endpoint would give as well.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// do calls an endpoint, and the next where that fails. An error that is final
// ends it. A call may be made more than once.
func (c *Client) do(ctx context.Context, checked bool, call func(context.Context, *rpc.Client) error) error {
	c.mu.Lock()
	first := c.used
	c.mu.Unlock()
	failed := make([]EndpointError, len(c.network.Endpoints)) // in the settings' order, whichever is tried first
	for n := range c.network.Endpoints {
		i := (first + n) % len(c.network.Endpoints)
		err := c.try(ctx, i, checked, call)
		var end final
		switch {
		case err == nil:
			c.mu.Lock()
			c.used = i
			c.mu.Unlock()
			return nil
		case errors.As(err, &end):
			return end.error
		case ctx.Err() != nil:
			return ctx.Err()
		}
		failed[i] = EndpointError{c.network.Endpoints[i].Name, printable(err)}
	}
	return &UnreachableError{c.network.Name, failed}
}

// maxDials is how often a call is made on one endpoint whose connections break.
const maxDials = 3

// try calls one endpoint. Where the connection breaks, as when the process that
// served it went away, it is dialled again.
func (c *Client) try(ctx context.Context, i int, checked bool, call func(context.Context, *rpc.Client) error) (err error) {
	for range maxDials {
		c.mu.Lock()
		conn := c.conns[i]
		c.mu.Unlock()
		if conn == nil {
			conn, err = c.connect(ctx, i)
		}
		if err == nil {
			err = c.within(ctx, conn, checked, call)
		}
		if err == nil || answered(err) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		if conn != nil {
			c.drop(i, conn)
		}
	}
	return err
}

// answered tells whether an error is the node's word, so that the connection is in order.
func answered(err error) bool {
	var (
		end  final
		word rpc.Error
		code *WrongCodeError
	)
	return errors.As(err, &end) || errors.As(err, &word) || errors.As(err, &code) ||
		errors.Is(err, ErrNotDeployed) || errors.Is(err, errWord) || errors.Is(err, errNoHead) ||
		errors.Is(err, errMoved) || errors.Is(err, errBehind)
}

func (c *Client) within(ctx context.Context, conn *connection, checked bool, call func(context.Context, *rpc.Client) error) error {
	limited, cancel := context.WithTimeout(ctx, c.network.Timeout)
	defer cancel()
	err := func() error {
		c.mu.Lock()
		wanted := checked && !conn.checked
		c.mu.Unlock()
		if wanted {
			if err := c.checkCode(limited, conn.rpc); err != nil {
				return err
			}
			c.mu.Lock()
			conn.checked = true
			c.mu.Unlock()
		}
		return call(limited, conn.rpc)
	}()
	return c.slow(ctx, limited, err)
}

// slow names the time limit where that is what ended a call.
func (c *Client) slow(ctx, limited context.Context, err error) error {
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("no answer within %s: %w", c.network.Timeout, context.DeadlineExceeded)
	}
	return err
}

// connect dials an endpoint and makes sure of its chain.
func (c *Client) connect(ctx context.Context, i int) (*connection, error) {
	limited, cancel := context.WithTimeout(ctx, c.network.Timeout)
	defer cancel()
	r, err := c.network.Endpoints[i].Dial(limited)
	if err != nil {
		return nil, c.slow(ctx, limited, err)
	}
	var id hexutil.Uint64
	if err = r.CallContext(limited, &id, "eth_chainId"); err == nil && uint64(id) != c.network.ChainID {
		err = &WrongChainError{Want: c.network.ChainID, Got: uint64(id)}
	}
	if err != nil {
		r.Close()
		return nil, c.slow(ctx, limited, err)
	}
	conn := &connection{rpc: r}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.conns[i]; other != nil { // dialled meanwhile
		r.Close()
		return other, nil
	}
	c.conns[i] = conn
	return conn, nil
}

func (c *Client) drop(i int, conn *connection) {
	conn.rpc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns[i] == conn {
		c.conns[i] = nil
	}
}

// batchSize is how many calls go into one batch; nodes refuse more than 1,000.
const batchSize = 500

// batch makes all calls, or gives the first error among them.
func batch(ctx context.Context, r *rpc.Client, calls []rpc.BatchElem) error {
	for part := range slices.Chunk(calls, batchSize) {
		if err := r.BatchCallContext(ctx, part); err != nil {
			return err
		}
		for _, call := range part {
			if call.Error != nil {
				return call.Error
			}
		}
	}
	return nil
}

// ChainID asks an endpoint which chain it is on.
func ChainID(ctx context.Context, e Endpoint) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	var id hexutil.Uint64
	r, err := e.Dial(ctx)
	if err == nil {
		defer r.Close()
		err = r.CallContext(ctx, &id, "eth_chainId")
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the chain id: %w", &UnreachableError{Network: "to be added", Endpoints: []EndpointError{{e.Name, printable(err)}}})
	}
	return uint64(id), nil
}

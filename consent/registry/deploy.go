package registry

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// Deploy puts the contract at Address through the deployment Proxy, unless it
// is there, and waits until it is confirmed. It is ErrNoProxy where the network
// lacks the proxy, and a WrongCodeError where something else is at the address.
func (c *Client) Deploy(ctx context.Context) (Posted, error) {
	if c.network.Registry != Address {
		return Posted{}, errors.New("deploy the registry: the settings name an address for it that is not the proxy's: leave the address out, or deploy without the proxy")
	}
	var proxy hexutil.Bytes
	err := c.do(ctx, anyCode, func(ctx context.Context, r *rpc.Client) error {
		return r.CallContext(ctx, &proxy, "eth_getCode", Proxy, "latest")
	})
	if err != nil {
		return Posted{}, err
	}
	switch err := c.CheckCode(ctx); {
	case err != nil && !errors.Is(err, ErrNotDeployed):
		return Posted{}, err
	case err != nil && len(proxy) == 0:
		return Posted{}, ErrNoProxy
	}
	posted, err := c.post(ctx, &job{
		what: "deploy the registry", to: &Proxy, missing: codeAt(Address),
		data: func([]int) []byte { return append(make([]byte, 32), InitCode...) },
	})
	if err != nil {
		return Posted{}, err
	}
	posted.Contract = Address
	return posted, c.CheckCode(ctx)
}

// codeAt misses a contract's code.
func codeAt(account common.Address) missing {
	return func(ctx context.Context, r *rpc.Client, block any) (parts []int, last uint64, err error) {
		var code hexutil.Bytes
		if err = r.CallContext(ctx, &code, "eth_getCode", account, block); err == nil && len(code) == 0 {
			parts = []int{0}
		}
		return parts, 0, err
	}
}

// DeployPlain makes a new contract on a network that lacks the deployment
// Proxy. Its address is in the result, and belongs into the settings. Each call
// makes another.
func (c *Client) DeployPlain(ctx context.Context) (Posted, error) {
	return c.post(ctx, &job{
		what:    "deploy the registry",
		missing: func(context.Context, *rpc.Client, any) ([]int, uint64, error) { return []int{0}, 0, nil },
		data:    func([]int) []byte { return InitCode },
	})
}

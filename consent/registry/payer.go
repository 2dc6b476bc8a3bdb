package registry

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// Payer pays for transactions. It need not be whoever the entries are about.
type Payer interface {
	Address() common.Address
	// SignTransaction signs what it is given for the chain (EIP-155).
	SignTransaction(tx *types.Transaction, chainID *big.Int) (*types.Transaction, error)
}

// KeyPayer pays with a key that the program holds, as the embedded chain's.
func KeyPayer(key *ecdsa.PrivateKey) Payer { return keyPayer{key} }

type keyPayer struct{ key *ecdsa.PrivateKey }

func (p keyPayer) Address() common.Address { return crypto.PubkeyToAddress(p.key.PublicKey) }

func (p keyPayer) SignTransaction(tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	return types.SignTx(tx, types.LatestSignerForChainID(chainID), p.key)
}

// choosePayer gives the client's own payer where it has coins; else the account
// that the network's node lends to everybody, as an embedded chain that is
// served and other nodes for closed networks do, so that a patient needs no
// coins.
func (c *Client) choosePayer(ctx context.Context) (Payer, error) {
	if c.payer != nil {
		var balance hexutil.Big
		err := c.do(ctx, anyCode, func(ctx context.Context, r *rpc.Client) error {
			return r.CallContext(ctx, &balance, "eth_getBalance", c.payer.Address(), "latest")
		})
		if err != nil || balance.ToInt().Sign() > 0 {
			return c.payer, err
		}
	}
	var lent []common.Address
	err := c.do(ctx, anyCode, func(ctx context.Context, r *rpc.Client) error {
		err := r.CallContext(ctx, &lent, "eth_accounts")
		var word rpc.Error
		if errors.As(err, &word) {
			return nil // a node that does not know the call lends nothing
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(lent) > 0:
		return lender{c, lent[0]}, nil
	case c.payer != nil:
		return nil, &NoCoinsError{c.payer.Address()}
	}
	return nil, ErrNoPayer
}

// lender pays with an account that the node keeps the key of. What the node
// signs has to be what it is asked to sign, to the last bit.
type lender struct {
	client  *Client
	account common.Address
}

func (l lender) Address() common.Address { return l.account }

func (l lender) SignTransaction(tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	args := map[string]any{
		"from": l.account, "to": tx.To(), "input": hexutil.Bytes(tx.Data()), "value": (*hexutil.Big)(tx.Value()),
		"gas": hexutil.Uint64(tx.Gas()), "nonce": hexutil.Uint64(tx.Nonce()), "chainId": (*hexutil.Big)(chainID),
	}
	if tx.Type() == types.LegacyTxType {
		args["gasPrice"] = (*hexutil.Big)(tx.GasPrice())
	} else {
		args["maxFeePerGas"] = (*hexutil.Big)(tx.GasFeeCap())
		args["maxPriorityFeePerGas"] = (*hexutil.Big)(tx.GasTipCap())
	}
	// The time limit is do's own, of each call.
	var signed signedTransaction
	err := l.client.do(context.Background(), anyCode, func(ctx context.Context, r *rpc.Client) error {
		return r.CallContext(ctx, &signed, "eth_signTransaction", args)
	})
	if err != nil {
		return nil, fmt.Errorf("the node's account %s does not pay: %w", l.account, err)
	}
	lent := new(types.Transaction)
	if err := lent.UnmarshalBinary(signed); err != nil {
		return nil, fmt.Errorf("the node's account %s does not pay: it answers with no transaction: %w", l.account, err)
	}
	signer := types.LatestSignerForChainID(chainID)
	if from, err := types.Sender(signer, lent); err != nil || from != l.account || signer.Hash(lent) != signer.Hash(tx) {
		return nil, fmt.Errorf("the node's account %s does not pay: the node signed another transaction than it was asked to", l.account)
	}
	return lent, nil
}

// signedTransaction is what eth_signTransaction answers: the bytes alone
// (Ethereum JSON-RPC, as anvil does), or in the member raw (go-ethereum).
type signedTransaction []byte

func (s *signedTransaction) UnmarshalJSON(text []byte) error {
	var answer struct{ Raw hexutil.Bytes }
	if len(text) > 0 && text[0] == '{' {
		err := json.Unmarshal(text, &answer)
		*s = signedTransaction(answer.Raw)
		return err
	}
	return (*hexutil.Bytes)(s).UnmarshalJSON(text)
}

package devchain

import (
	"crypto/ecdsa"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// lending answers eth_accounts and eth_signTransaction with the funded account, so that whoever reaches the chain from
// elsewhere can post to it without coins. It signs only transactions that move none.
type lending struct {
	key     *ecdsa.PrivateKey
	chainID *big.Int
}

// Accounts lists the one account that is lent.
func (l lending) Accounts() []common.Address {
	return []common.Address{crypto.PubkeyToAddress(l.key.PublicKey)}
}

// order is a transaction that somebody asks to have signed, complete.
type order struct {
	From     common.Address  `json:"from"`
	To       *common.Address `json:"to"`
	Input    hexutil.Bytes   `json:"input"`
	Value    *hexutil.Big    `json:"value"`
	Gas      hexutil.Uint64  `json:"gas"`
	Nonce    hexutil.Uint64  `json:"nonce"`
	GasPrice *hexutil.Big    `json:"gasPrice"`
	FeeCap   *hexutil.Big    `json:"maxFeePerGas"`
	TipCap   *hexutil.Big    `json:"maxPriorityFeePerGas"`
}

// SignTransaction signs a transaction and gives its bytes.
func (l lending) SignTransaction(o order) (hexutil.Bytes, error) {
	switch {
	case o.From != l.Accounts()[0]:
		return nil, errors.New("only the account of eth_accounts is lent")
	case o.Value != nil && o.Value.ToInt().Sign() != 0:
		return nil, errors.New("the account that is lent moves no coins")
	}
	var tx types.TxData
	switch {
	case o.GasPrice != nil:
		tx = &types.LegacyTx{Nonce: uint64(o.Nonce), GasPrice: o.GasPrice.ToInt(), Gas: uint64(o.Gas), To: o.To, Data: o.Input}
	case o.FeeCap != nil && o.TipCap != nil:
		tx = &types.DynamicFeeTx{
			ChainID: l.chainID, Nonce: uint64(o.Nonce), GasTipCap: o.TipCap.ToInt(), GasFeeCap: o.FeeCap.ToInt(),
			Gas: uint64(o.Gas), To: o.To, Data: o.Input,
		}
	default:
		return nil, errors.New("the transaction names no fee")
	}
	signed, err := types.SignNewTx(l.key, types.LatestSignerForChainID(l.chainID), tx)
	if err != nil {
		return nil, err
	}
	return signed.MarshalBinary()
}

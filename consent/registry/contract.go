package registry

import (
	_ "embed"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

//go:embed Registry.bin-runtime
var runtimeHex string

var (
	// InitCode deploys the contract; it takes no arguments.
	InitCode = common.FromHex(ContractMetaData.Bin)

	// RuntimeCode is what eth_getCode gives for a registry, on every chain.
	RuntimeCode = hexutil.MustDecode("0x" + runtimeHex)

	// Proxy is the deterministic deployment proxy.
	Proxy = common.HexToAddress("0x4e59b44847b379578588920cA78FbF26c0B4956C")

	// ProxyCode is the Proxy's runtime code.
	ProxyCode = common.FromHex("0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3")

	// Address is the registry's on every chain that has the Proxy: CREATE2 of
	// InitCode with salt zero (EIP-1014).
	Address = crypto.CreateAddress2(Proxy, [32]byte{}, crypto.Keccak256(InitCode))

	codec = NewContract()

	// ABI is the contract's. It packs values of package consent as they are.
	ABI = codec.GetABI()
)

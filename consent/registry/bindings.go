// Code generated via abigen V2 - DO NOT EDIT.
// This file is a generated binding and any manual changes will be lost.

package registry

import (
	"bytes"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Reference imports to suppress errors if they are not otherwise used.
var (
	_ = bytes.Equal
	_ = errors.New
	_ = big.NewInt
	_ = common.Big1
	_ = types.BloomLookup
	_ = abi.ConvertType
)

// Access is an auto generated low-level Go binding around an user-defined struct.
type Access struct {
	Grant   [32]byte
	Holder  common.Address
	Scopes  []Scope
	Binding [32]byte
	Time    uint64
	Nonce   [32]byte
}

// Grant is an auto generated low-level Go binding around an user-defined struct.
type Grant struct {
	Grantor     common.Address
	Grantee     common.Address
	Provisions  [32]byte
	NotBefore   uint64
	Expires     uint64
	Revocations [][32]byte
	Parent      [32]byte
	Handoffs    uint8
}

// Link is an auto generated low-level Go binding around an user-defined struct.
type Link struct {
	Grant       Grant
	Signature   []byte
	AnchorProof [][32]byte
	Openings    []Opening
}

// Opening is an auto generated low-level Go binding around an user-defined struct.
type Opening struct {
	Provision Provision
	Proof     [][32]byte
}

// Provision is an auto generated low-level Go binding around an user-defined struct.
type Provision struct {
	Salt   [32]byte
	Holder common.Address
	Scope  Scope
}

// Scope is an auto generated low-level Go binding around an user-defined struct.
type Scope struct {
	Resource      string
	Interactions  uint8
	Filter        string
	DataFrom      uint64
	DataUntil     uint64
	Purpose       string
	Sensitivities uint64
}

// ContractMetaData contains all meta data concerning the Contract contract.
var ContractMetaData = bind.MetaData{
	ABI: "[{\"inputs\":[],\"name\":\"BadSignature\",\"type\":\"error\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"}],\"name\":\"Anchored\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"Retired\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"secret\",\"type\":\"bytes32\"}],\"name\":\"Revoked\",\"type\":\"event\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"}],\"name\":\"anchor\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"}],\"name\":\"anchoredAt\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"time\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"grantor\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"grantee\",\"type\":\"address\"},{\"internalType\":\"bytes32\",\"name\":\"provisions\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"notBefore\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"expires\",\"type\":\"uint64\"},{\"internalType\":\"bytes32[]\",\"name\":\"revocations\",\"type\":\"bytes32[]\"},{\"internalType\":\"bytes32\",\"name\":\"parent\",\"type\":\"bytes32\"},{\"internalType\":\"uint8\",\"name\":\"handoffs\",\"type\":\"uint8\"}],\"internalType\":\"structGrant\",\"name\":\"grant\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"},{\"internalType\":\"bytes32[]\",\"name\":\"anchorProof\",\"type\":\"bytes32[]\"},{\"components\":[{\"components\":[{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"holder\",\"type\":\"address\"},{\"components\":[{\"internalType\":\"string\",\"name\":\"resource\",\"type\":\"string\"},{\"internalType\":\"uint8\",\"name\":\"interactions\",\"type\":\"uint8\"},{\"internalType\":\"string\",\"name\":\"filter\",\"type\":\"string\"},{\"internalType\":\"uint64\",\"name\":\"dataFrom\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"dataUntil\",\"type\":\"uint64\"},{\"internalType\":\"string\",\"name\":\"purpose\",\"type\":\"string\"},{\"internalType\":\"uint64\",\"name\":\"sensitivities\",\"type\":\"uint64\"}],\"internalType\":\"structScope\",\"name\":\"scope\",\"type\":\"tuple\"}],\"internalType\":\"structProvision\",\"name\":\"provision\",\"type\":\"tuple\"},{\"internalType\":\"bytes32[]\",\"name\":\"proof\",\"type\":\"bytes32[]\"}],\"internalType\":\"structOpening[]\",\"name\":\"openings\",\"type\":\"tuple[]\"}],\"internalType\":\"structLink[]\",\"name\":\"links\",\"type\":\"tuple[]\"},{\"components\":[{\"internalType\":\"bytes32\",\"name\":\"grant\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"holder\",\"type\":\"address\"},{\"components\":[{\"internalType\":\"string\",\"name\":\"resource\",\"type\":\"string\"},{\"internalType\":\"uint8\",\"name\":\"interactions\",\"type\":\"uint8\"},{\"internalType\":\"string\",\"name\":\"filter\",\"type\":\"string\"},{\"internalType\":\"uint64\",\"name\":\"dataFrom\",\"type\":\"uint64\"},{\"internalType\":\"uint64\",\"name\":\"dataUntil\",\"type\":\"uint64\"},{\"internalType\":\"string\",\"name\":\"purpose\",\"type\":\"string\"},{\"internalType\":\"uint64\",\"name\":\"sensitivities\",\"type\":\"uint64\"}],\"internalType\":\"structScope[]\",\"name\":\"scopes\",\"type\":\"tuple[]\"},{\"internalType\":\"bytes32\",\"name\":\"binding\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"time\",\"type\":\"uint64\"},{\"internalType\":\"bytes32\",\"name\":\"nonce\",\"type\":\"bytes32\"}],\"internalType\":\"structAccess\",\"name\":\"access\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"}],\"name\":\"check\",\"outputs\":[{\"internalType\":\"enumOutcome\",\"name\":\"outcome\",\"type\":\"uint8\"},{\"internalType\":\"uint256\",\"name\":\"link\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"}],\"name\":\"retire\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"retiredAt\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"time\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32[]\",\"name\":\"secrets\",\"type\":\"bytes32[]\"}],\"name\":\"revoke\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"revocation\",\"type\":\"bytes32\"}],\"name\":\"revokedAt\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"time\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"internalType\":\"bytes32\",\"name\":\"digest\",\"type\":\"bytes32\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"}],\"name\":\"signed\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"}]",
	ID:  "Contract",
	Bin: "0x60808060405234601557611751908161001b8239f35b600080fdfe608080604052600436101561001357600080fd5b60003560e01c908163098787ce146105435750806384542809146103d257806387428dd2146103615780639591a61014610317578063b6b36ac814610212578063d5d4b79d146101ad578063eecdf9271461013a5763ef8038cd1461007757600080fd5b346101355760207ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc3601126101355760043567ffffffffffffffff8111610135576100c69036906004016105da565b60005b8181106100d257005b806100e06001928486610dc2565b35806000526020600020600052826020526040600020805415610106575b5050016100c9565b4290557fe5af7daed5ab2a2dc5f98d53619f05089c0c14d11a6621f6b906a2366c9a7ab3600080a238806100fe565b600080fd5b346101355760207ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc36011261013557600435806000526000602052604060002080541561018357005b4290557fc8f7565859107929ba4b285bfb17dfba069f69ab64447f49d6fecb70f6bd552b600080a2005b346101355760207ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc3601126101355773ffffffffffffffffffffffffffffffffffffffff6101f9610589565b1660005260026020526020604060002054604051908152f35b346101355760607ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc3601126101355760043567ffffffffffffffff8111610135576102619036906004016105da565b60243567ffffffffffffffff81116101355760c07ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc8236030112610135576044359267ffffffffffffffff8411610135576102c36102cf9436906004016105ac565b939092600401916109d1565b60405190600d8310156102e85760409282526020820152f35b7f4e487b7100000000000000000000000000000000000000000000000000000000600052602160045260246000fd5b346101355760207ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc3601126101355760043560005260006020526020604060002054604051908152f35b346101355760607ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc36011261013557610398610589565b60443567ffffffffffffffff8111610135576020916103be6103c89236906004016105ac565b916024359061067b565b6040519015158152f35b346101355760407ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc36011261013557610409610589565b60243567ffffffffffffffff81116101355761042c6104d39136906004016105ac565b90610435610dd2565b936104cd60405195602087017f50d328408f78c20e2cac810d8b4b5d88b7e05b3e91895b1218489ba3be10486b815273ffffffffffffffffffffffffffffffffffffffff8416978860408201526040815261049160608261060b565b51902090604291604051917f19010000000000000000000000000000000000000000000000000000000000008352600283015260228201522090565b9061067b565b156105195780600052600260205260406000208054156104ef57005b4290557fda9d2e31afb0de4b09fe65662e5e025013186f59dd81d4946248587a2f77c6df600080a2005b7f5cd5d2330000000000000000000000000000000000000000000000000000000060005260046000fd5b346101355760207ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc36011261013557602090600435600052600182526040600020548152f35b6004359073ffffffffffffffffffffffffffffffffffffffff8216820361013557565b9181601f840112156101355782359167ffffffffffffffff8311610135576020838186019501011161013557565b9181601f840112156101355782359167ffffffffffffffff8311610135576020808501948460051b01011161013557565b90601f7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0910116810190811067ffffffffffffffff82111761064c57604052565b7f4e487b7100000000000000000000000000000000000000000000000000000000600052604160045260246000fd5b91909173ffffffffffffffffffffffffffffffffffffffff81168015801561087f575b6108755760418514610781575b50803b151593846106be575b5050505090565b9091929350604051937f1626ba7e0000000000000000000000000000000000000000000000000000000085526004850152604060248501528060448501527fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0601f8201169260006044858701015260648501376207d0005a1061013557602092600092838052606401916207a120fa7f1626ba7e0000000000000000000000000000000000000000000000000000000060005114601f3d111616388080806106b7565b846020116101355782359085604011610135576020840135918660401015610846577f7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a083111592836107e4575b5050506107db57386106ab565b50505050600190565b602092935060009160809160405191898352604089013560f81c868401526040830152606082015282805260015afa1561083a5773ffffffffffffffffffffffffffffffffffffffff60005116143880806107ce565b6040513d6000823e3d90fd5b7f4e487b7100000000000000000000000000000000000000000000000000000000600052603260045260246000fd5b5050505050600090565b50611000851161069e565b9035907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe181360301821215610135570180359067ffffffffffffffff821161013557602001918160051b3603831361013557565b91908110156108465760051b810135907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff8181360301821215610135570190565b9035907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff0181360301821215610135570190565b3573ffffffffffffffffffffffffffffffffffffffff811681036101355790565b3560ff811681036101355790565b3567ffffffffffffffff811681036101355790565b919082039182116109a257565b7f4e487b7100000000000000000000000000000000000000000000000000000000600052601160045260246000fd5b600095949293916109e58484878486610f7b565b15610db3576109f2610dd2565b90610a00604087018761088a565b9890610a0b8a61113f565b99610a196040519b8c61060b565b808b527fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0610a468261113f565b0160005b818110610d8f57505060005b818110610d66575050509060009160009460009060208a01915b848410610bcd575050505050853503610bbe5773ffffffffffffffffffffffffffffffffffffffff82166000526002602052604060002054610baf57604051875160051b60005b818110610b985750610b3a969798508160e0916104cd9493207f19a6cc0532e359d92584f4a0ee0caf2387f96503846e835dfdbb26ff82b42066825260c08a602084013760608201522090604291604051917f19010000000000000000000000000000000000000000000000000000000000008352600283015260228201522090565b15610b8f5767ffffffffffffffff610b57608061012c9301610980565b1642811015610b7f57610b6a9042610995565b11610b7757600090600090565b600c90600090565b610b8a904290610995565b610b6a565b50600b90600090565b80610100602080938d010151208185015201610ab7565b50505050509050600590600090565b50505050509050600a90600090565b909192939496610be7610be18688866108de565b8061091e565b9760c08901351491821592610d00575b5050610cf057610c89610120610c1060a089018961088a565b906040519160051b8091833781207f8adb75a65e7ef0c35ccdf88077ff8ae53cda58bdc1b9e877d700e3f3d78d905a82526101008a602084013760c08201522086604291604051917f19010000000000000000000000000000000000000000000000000000000000008352600283015260228201522090565b93610ca98c610c998684866108de565b87610ca387610951565b9161116b565b600d8110156102e85780610ce05750600160ff610cd460e0610ccd60208c01610951565b9a01610972565b16940192919093610a70565b9950505050975050505050509190565b5050975050505050505060029190565b85151592509082610d15575b50503880610bf7565b90915073ffffffffffffffffffffffffffffffffffffffff80610d378a610951565b921691161490811591610d4d575b503880610d0c565b905060ff610d5d60e08901610972565b16101538610d45565b80610d898d610d8283610d7c600196888a610e9d565b92611157565b5190611698565b01610a56565b6020908d82826101009260405193610da7818661060b565b36853701015201610a4a565b50505050509050600190600090565b91908110156108465760051b0190565b60405160208101907f8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f82527f170c8c0fd5b8357f87f086f3d5959e89d97a095b54209e3fdb9c948a77c1f97b60408201527fc89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc660608201524660808201523060a082015260a08152610e6460c08261060b565b51902090565b9035907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff2181360301821215610135570190565b9082101561084657610eb49160051b810190610e6a565b90565b9035907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe181360301821215610135570180359067ffffffffffffffff82116101355760200191813603831361013557565b91908110156108465760051b810135907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc181360301821215610135570190565b9035907fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa181360301821215610135570190565b9391909250610f8d604082018261088a565b91909284158015611135575b611087578215801561112b575b6110875761100010908115611100575b506110ba5760005b8181106110e55750505060005b818110610fda57505050600190565b610fe58183856108de565b610ffc610ff2828061091e565b60a081019061088a565b8015915081156110da575b506110ba5761100061101c6020830183610eb7565b90501180156110c3575b6110ba5780606061103892019061088a565b604081116108755760005b81811061105557505050600101610fcb565b611060818385610f08565b604061106f602083018361088a565b905011908115611092575b5061108757600101611043565b505050505050600090565b6110b391506110a4816110ae92610f48565b6040810190610e6a565b611560565b153861107a565b50505050600090565b5060406110d28183018361088a565b905011611026565b600891501138611007565b6110f36110ae828486610e9d565b1561087557600101610fbe565b73ffffffffffffffffffffffffffffffffffffffff915060206111239101610951565b161538610fb6565b5060408311610fa6565b5060208511610f99565b67ffffffffffffffff811161064c5760051b60200190565b80518210156108465760209160051b010190565b929092611178818061091e565b93611190611189604084018461088a565b9083611713565b600052600060205260406000205415611556576111b060a086018661088a565b60005b8181106115235750505073ffffffffffffffffffffffffffffffffffffffff6111db86610951565b1660005260026020526040600020546115195767ffffffffffffffff61120360608701610980565b16421061150f5767ffffffffffffffff61121f60808701610980565b16421015611505576112499061123486610951565b6112416020850185610eb7565b92909161067b565b156114fc5780606061125c92019061088a565b8291925181036114f2576040516101009594909361127a878661060b565b863686376020850195604001359260005b8181106112a057505050505050505050600090565b6112b46112ae828486610f08565b80610f48565b6020810173ffffffffffffffffffffffffffffffffffffffff6112d682610951565b16151590816114c6575b506114b7576113566080826113028b6112fd60408c970184610e6a565b611698565b60408051917f442acb00a08dde1d1c29523617623c2190a2285ab6ecb851d8dbc92caa4431b3835260208301378c8b20606082015220611350611346858789610f08565b602081019061088a565b91611713565b036113a8576113658187611157565b51885160208201511490811561148c575b81611477575b8161142f575b8161141b575b816113dd575b816113ca575b816113b6575b50156113a85760010161128b565b505050505050505050600990565b60e09150015160e08801511916153861139a565b905060c088015160c08201511490611394565b905060a088018051159081156113f5575b509061138e565b60a083018051151592508261140d575b5050386113ee565b519051101590503880611405565b905060808101516080890151111590611388565b9050606088017fc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470815114908115611468575b5090611382565b90505160608201511438611461565b9050604081015160408901511916159061137c565b89517f04994f67dc55b09e814ab7ffc8df3686b4afb2bb53e60eae97ef043fe03fb829149150611376565b50505050505050505050600990565b6114d09150610951565b73ffffffffffffffffffffffffffffffffffffffff80871691161415386112e0565b5050505050600990565b50505050600890565b5050505050600790565b5050505050600690565b5050505050600590565b61152e818385610dc2565b356000526001602052604060002054611549576001016111b3565b5050505050505050600490565b5050505050600390565b61156a8180610eb7565b91905061157a60a0820182610eb7565b9050821515928361168c575b5082611673575b82611658575b8261163c575b82611632575b82611626575b5081611604575b816115b5575090565b60808101915067ffffffffffffffff6115cd83610980565b16159182156115db57505090565b67ffffffffffffffff9192506115fd60606115f68493610980565b9401610980565b1691161190565b905061010067ffffffffffffffff61161e60c08401610980565b1610906115ac565b602010159150386115a5565b801515925061159f565b915061020061164e6040830183610eb7565b9050111591611599565b9150601f60ff61166a60208401610972565b16111591611593565b915060ff61168360208301610972565b1615159161158d565b60401015925038611586565b9060c0906116a68380610eb7565b9081604051918237206116bc6040850185610eb7565b908160405191823720906116d360a0860186610eb7565b9081604051918237209460e0602085019182377f10f345c8d1971f60c547e268f18b252805f4fa53dc3ddabfc3228b83b1bcb95f84525260608201520152565b92919260005260206000209260051b81015b808210611730575050565b9092602084359182811160051b90815218526020604060002093019061172556",
}

// Contract is an auto generated Go binding around an Ethereum contract.
type Contract struct {
	abi abi.ABI
}

// GetABI returns the ABI associated with this contract binding.
func (c *Contract) GetABI() abi.ABI {
	return c.abi
}

// NewContract creates a new instance of Contract.
func NewContract() *Contract {
	parsed, err := ContractMetaData.ParseABI()
	if err != nil {
		panic(errors.New("invalid ABI: " + err.Error()))
	}
	return &Contract{abi: *parsed}
}

// Instance creates a wrapper for a deployed contract instance at the given address.
// Use this to create the instance object passed to abigen v2 library functions Call, Transact, etc.
func (c *Contract) Instance(backend bind.ContractBackend, addr common.Address) *bind.BoundContract {
	return bind.NewBoundContract(addr, c.abi, backend, backend, backend)
}

// PackAnchor is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xeecdf927.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function anchor(bytes32 root) returns()
func (contract *Contract) PackAnchor(root [32]byte) []byte {
	enc, err := contract.abi.Pack("anchor", root)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAnchor is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xeecdf927.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function anchor(bytes32 root) returns()
func (contract *Contract) TryPackAnchor(root [32]byte) ([]byte, error) {
	return contract.abi.Pack("anchor", root)
}

// PackAnchoredAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9591a610.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function anchoredAt(bytes32 root) view returns(uint256 time)
func (contract *Contract) PackAnchoredAt(root [32]byte) []byte {
	enc, err := contract.abi.Pack("anchoredAt", root)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAnchoredAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9591a610.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function anchoredAt(bytes32 root) view returns(uint256 time)
func (contract *Contract) TryPackAnchoredAt(root [32]byte) ([]byte, error) {
	return contract.abi.Pack("anchoredAt", root)
}

// UnpackAnchoredAt is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x9591a610.
//
// Solidity: function anchoredAt(bytes32 root) view returns(uint256 time)
func (contract *Contract) UnpackAnchoredAt(data []byte) (*big.Int, error) {
	out, err := contract.abi.Unpack("anchoredAt", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackCheck is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb6b36ac8.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function check(((address,address,bytes32,uint64,uint64,bytes32[],bytes32,uint8),bytes,bytes32[],((bytes32,address,(string,uint8,string,uint64,uint64,string,uint64)),bytes32[])[])[] links, (bytes32,address,(string,uint8,string,uint64,uint64,string,uint64)[],bytes32,uint64,bytes32) access, bytes signature) view returns(uint8 outcome, uint256 link)
func (contract *Contract) PackCheck(links []Link, access Access, signature []byte) []byte {
	enc, err := contract.abi.Pack("check", links, access, signature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCheck is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb6b36ac8.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function check(((address,address,bytes32,uint64,uint64,bytes32[],bytes32,uint8),bytes,bytes32[],((bytes32,address,(string,uint8,string,uint64,uint64,string,uint64)),bytes32[])[])[] links, (bytes32,address,(string,uint8,string,uint64,uint64,string,uint64)[],bytes32,uint64,bytes32) access, bytes signature) view returns(uint8 outcome, uint256 link)
func (contract *Contract) TryPackCheck(links []Link, access Access, signature []byte) ([]byte, error) {
	return contract.abi.Pack("check", links, access, signature)
}

// CheckOutput serves as a container for the return parameters of contract
// method Check.
type CheckOutput struct {
	Outcome uint8
	Link    *big.Int
}

// UnpackCheck is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xb6b36ac8.
//
// Solidity: function check(((address,address,bytes32,uint64,uint64,bytes32[],bytes32,uint8),bytes,bytes32[],((bytes32,address,(string,uint8,string,uint64,uint64,string,uint64)),bytes32[])[])[] links, (bytes32,address,(string,uint8,string,uint64,uint64,string,uint64)[],bytes32,uint64,bytes32) access, bytes signature) view returns(uint8 outcome, uint256 link)
func (contract *Contract) UnpackCheck(data []byte) (CheckOutput, error) {
	out, err := contract.abi.Unpack("check", data)
	outstruct := new(CheckOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Outcome = *abi.ConvertType(out[0], new(uint8)).(*uint8)
	outstruct.Link = abi.ConvertType(out[1], new(big.Int)).(*big.Int)
	return *outstruct, nil
}

// PackRetire is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x84542809.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function retire(address account, bytes signature) returns()
func (contract *Contract) PackRetire(account common.Address, signature []byte) []byte {
	enc, err := contract.abi.Pack("retire", account, signature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRetire is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x84542809.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function retire(address account, bytes signature) returns()
func (contract *Contract) TryPackRetire(account common.Address, signature []byte) ([]byte, error) {
	return contract.abi.Pack("retire", account, signature)
}

// PackRetiredAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd5d4b79d.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function retiredAt(address account) view returns(uint256 time)
func (contract *Contract) PackRetiredAt(account common.Address) []byte {
	enc, err := contract.abi.Pack("retiredAt", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRetiredAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd5d4b79d.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function retiredAt(address account) view returns(uint256 time)
func (contract *Contract) TryPackRetiredAt(account common.Address) ([]byte, error) {
	return contract.abi.Pack("retiredAt", account)
}

// UnpackRetiredAt is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xd5d4b79d.
//
// Solidity: function retiredAt(address account) view returns(uint256 time)
func (contract *Contract) UnpackRetiredAt(data []byte) (*big.Int, error) {
	out, err := contract.abi.Unpack("retiredAt", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackRevoke is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xef8038cd.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function revoke(bytes32[] secrets) returns()
func (contract *Contract) PackRevoke(secrets [][32]byte) []byte {
	enc, err := contract.abi.Pack("revoke", secrets)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRevoke is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xef8038cd.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function revoke(bytes32[] secrets) returns()
func (contract *Contract) TryPackRevoke(secrets [][32]byte) ([]byte, error) {
	return contract.abi.Pack("revoke", secrets)
}

// PackRevokedAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x098787ce.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function revokedAt(bytes32 revocation) view returns(uint256 time)
func (contract *Contract) PackRevokedAt(revocation [32]byte) []byte {
	enc, err := contract.abi.Pack("revokedAt", revocation)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRevokedAt is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x098787ce.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function revokedAt(bytes32 revocation) view returns(uint256 time)
func (contract *Contract) TryPackRevokedAt(revocation [32]byte) ([]byte, error) {
	return contract.abi.Pack("revokedAt", revocation)
}

// UnpackRevokedAt is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x098787ce.
//
// Solidity: function revokedAt(bytes32 revocation) view returns(uint256 time)
func (contract *Contract) UnpackRevokedAt(data []byte) (*big.Int, error) {
	out, err := contract.abi.Unpack("revokedAt", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackSigned is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x87428dd2.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function signed(address account, bytes32 digest, bytes signature) view returns(bool)
func (contract *Contract) PackSigned(account common.Address, digest [32]byte, signature []byte) []byte {
	enc, err := contract.abi.Pack("signed", account, digest, signature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSigned is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x87428dd2.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function signed(address account, bytes32 digest, bytes signature) view returns(bool)
func (contract *Contract) TryPackSigned(account common.Address, digest [32]byte, signature []byte) ([]byte, error) {
	return contract.abi.Pack("signed", account, digest, signature)
}

// UnpackSigned is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x87428dd2.
//
// Solidity: function signed(address account, bytes32 digest, bytes signature) view returns(bool)
func (contract *Contract) UnpackSigned(data []byte) (bool, error) {
	out, err := contract.abi.Unpack("signed", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// ContractAnchored represents a Anchored event raised by the Contract contract.
type ContractAnchored struct {
	Root [32]byte
	Raw  *types.Log // Blockchain specific contextual infos
}

const ContractAnchoredEventName = "Anchored"

// ContractEventName returns the user-defined event name.
func (ContractAnchored) ContractEventName() string {
	return ContractAnchoredEventName
}

// UnpackAnchoredEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Anchored(bytes32 indexed root)
func (contract *Contract) UnpackAnchoredEvent(log *types.Log) (*ContractAnchored, error) {
	event := "Anchored"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != contract.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(ContractAnchored)
	if len(log.Data) > 0 {
		if err := contract.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range contract.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// ContractRetired represents a Retired event raised by the Contract contract.
type ContractRetired struct {
	Account common.Address
	Raw     *types.Log // Blockchain specific contextual infos
}

const ContractRetiredEventName = "Retired"

// ContractEventName returns the user-defined event name.
func (ContractRetired) ContractEventName() string {
	return ContractRetiredEventName
}

// UnpackRetiredEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Retired(address indexed account)
func (contract *Contract) UnpackRetiredEvent(log *types.Log) (*ContractRetired, error) {
	event := "Retired"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != contract.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(ContractRetired)
	if len(log.Data) > 0 {
		if err := contract.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range contract.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// ContractRevoked represents a Revoked event raised by the Contract contract.
type ContractRevoked struct {
	Secret [32]byte
	Raw    *types.Log // Blockchain specific contextual infos
}

const ContractRevokedEventName = "Revoked"

// ContractEventName returns the user-defined event name.
func (ContractRevoked) ContractEventName() string {
	return ContractRevokedEventName
}

// UnpackRevokedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Revoked(bytes32 indexed secret)
func (contract *Contract) UnpackRevokedEvent(log *types.Log) (*ContractRevoked, error) {
	event := "Revoked"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != contract.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(ContractRevoked)
	if len(log.Data) > 0 {
		if err := contract.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range contract.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// UnpackError attempts to decode the provided error data using user-defined
// error definitions.
func (contract *Contract) UnpackError(raw []byte) (any, error) {
	if bytes.Equal(raw[:4], contract.abi.Errors["BadSignature"].ID.Bytes()[:4]) {
		return contract.UnpackBadSignatureError(raw[4:])
	}
	return nil, errors.New("Unknown error")
}

// ContractBadSignature represents a BadSignature error raised by the Contract contract.
type ContractBadSignature struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error BadSignature()
func ContractBadSignatureErrorID() common.Hash {
	return common.HexToHash("0x5cd5d2335541c4f2ed05fbe44f397e8b79f8e2333157122d2dab06e378ef7685")
}

// UnpackBadSignatureError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error BadSignature()
func (contract *Contract) UnpackBadSignatureError(raw []byte) (*ContractBadSignature, error) {
	out := new(ContractBadSignature)
	if err := contract.abi.UnpackIntoInterface(out, "BadSignature", raw); err != nil {
		return nil, err
	}
	return out, nil
}

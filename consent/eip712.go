package consent

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// The types of the protocol as EIP-712 encodes them (Assent protocol, section 2).
const (
	scopeType      = "Scope(string resource,uint8 interactions,string filter,uint64 dataFrom,uint64 dataUntil,string purpose,uint64 sensitivities)"
	provisionType  = "Provision(bytes32 salt,address holder,Scope scope)" + scopeType
	grantType      = "Grant(address grantor,address grantee,bytes32 provisions,uint64 notBefore,uint64 expires,bytes32[] revocations,bytes32 parent,uint8 handoffs)"
	accessType     = "Access(bytes32 grant,address holder,Scope[] scopes,bytes32 binding,uint64 time,bytes32 nonce)" + scopeType
	requestType    = "Request(address requester,address patient,Scope[] scopes,address[] holders,uint64 notBefore,uint64 expires,string reason,uint64 time,bytes32 nonce)" + scopeType
	cardType       = "Card(address account,string name,bytes sealing,uint64 time)"
	retirementType = "Retirement(address account)"
	domainType     = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)

var (
	scopeTypeHash      = hashString(scopeType)
	provisionTypeHash  = hashString(provisionType)
	grantTypeHash      = hashString(grantType)
	accessTypeHash     = hashString(accessType)
	requestTypeHash    = hashString(requestType)
	cardTypeHash       = hashString(cardType)
	retirementTypeHash = hashString(retirementType)
	domainTypeHash     = hashString(domainType)

	domainName    = hashString("Assent")
	domainVersion = hashString("1")
)

// frequent are the hashes of what most scopes are made of: a decision hashes
// the strings of two scopes per link at least.
var frequent = func() map[string]common.Hash {
	hashes := map[string]common.Hash{"": hashString("")}
	for _, words := range []map[string]string{resources, purposes} {
		for code := range words {
			hashes[code] = hashString(code)
		}
	}
	return hashes
}()

// encoding is EIP-712's encodeData under construction: 32 bytes a member.
type encoding []byte

func (e *encoding) hash(h common.Hash)       { *e = append(*e, h[:]...) }
func (e *encoding) address(a common.Address) { *e = append(append(*e, make([]byte, 12)...), a[:]...) }
func (e *encoding) uint(n uint64) {
	*e = binary.BigEndian.AppendUint64(append(*e, make([]byte, 24)...), n)
}
func (e *encoding) string(s string) {
	h, known := frequent[s]
	if !known {
		h = hashString(s)
	}
	e.hash(h)
}
func (e *encoding) scopes(s []Scope) {
	e.array(len(s), func(i int) common.Hash { return s[i].HashStruct() })
}
func (e *encoding) sum() common.Hash  { return crypto.Keccak256Hash(*e) }
func encode(words int) encoding       { return make(encoding, 0, words*32) }
func hashString(s string) common.Hash { return crypto.Keccak256Hash([]byte(s)) }

// array adds the hash of an array's encoded elements.
func (e *encoding) array(n int, element func(int) common.Hash) {
	elements := encode(n)
	for i := range n {
		elements.hash(element(i))
	}
	e.hash(elements.sum())
}

// Separator gives the EIP-712 domain separator.
func (d Domain) Separator() common.Hash {
	e := encode(5)
	e.hash(domainTypeHash)
	e.hash(domainName)
	e.hash(domainVersion)
	e.uint(d.ChainID)
	e.address(d.Registry)
	return e.sum()
}

// digest gives what is signed: EIP-712's hash of a struct in the domain.
func (d Domain) digest(hashStruct common.Hash) common.Hash {
	return digest(d.Separator(), hashStruct)
}

// digest is Domain.digest for whoever has many in one domain.
func digest(separator, hashStruct common.Hash) common.Hash {
	e := make([]byte, 0, 66)
	e = append(e, 0x19, 0x01)
	e = append(e, separator[:]...)
	e = append(e, hashStruct[:]...)
	return crypto.Keccak256Hash(e)
}

// HashStruct gives EIP-712's hashStruct.
func (s *Scope) HashStruct() common.Hash {
	e := encode(8)
	e.hash(scopeTypeHash)
	e.string(s.Resource)
	e.uint(uint64(s.Interactions))
	e.string(s.Filter)
	e.uint(s.DataFrom)
	e.uint(s.DataUntil)
	e.string(s.Purpose)
	e.uint(uint64(s.Sensitivities))
	return e.sum()
}

// HashStruct gives EIP-712's hashStruct.
func (p *Provision) HashStruct() common.Hash {
	e := encode(4)
	e.hash(provisionTypeHash)
	e.hash(p.Salt)
	e.address(p.Holder)
	e.hash(p.Scope.HashStruct())
	return e.sum()
}

// Leaf gives the provision's leaf in the tree of its grant (Assent protocol,
// section 4).
func (p *Provision) Leaf() common.Hash {
	h := p.HashStruct()
	return crypto.Keccak256Hash(h[:])
}

// HashStruct gives EIP-712's hashStruct.
func (g *Grant) HashStruct() common.Hash {
	e := encode(9)
	e.hash(grantTypeHash)
	e.address(g.Grantor)
	e.address(g.Grantee)
	e.hash(g.Provisions)
	e.uint(g.NotBefore)
	e.uint(g.Expires)
	e.array(len(g.Revocations), func(i int) common.Hash { return g.Revocations[i] })
	e.hash(g.Parent)
	e.uint(uint64(g.Handoffs))
	return e.sum()
}

// ID gives the grant's id in the domain: its EIP-712 digest.
func (g *Grant) ID(d Domain) common.Hash { return d.digest(g.HashStruct()) }

// HashStruct gives EIP-712's hashStruct.
func (a *Access) HashStruct() common.Hash {
	e := encode(7)
	e.hash(accessTypeHash)
	e.hash(a.Grant)
	e.address(a.Holder)
	e.scopes(a.Scopes)
	e.hash(a.Binding)
	e.uint(a.Time)
	e.hash(a.Nonce)
	return e.sum()
}

// Digest gives what the grantee signs.
func (a *Access) Digest(d Domain) common.Hash { return d.digest(a.HashStruct()) }

// HashStruct gives EIP-712's hashStruct.
func (r *Request) HashStruct() common.Hash {
	e := encode(10)
	e.hash(requestTypeHash)
	e.address(r.Requester)
	e.address(r.Patient)
	e.scopes(r.Scopes)
	e.array(len(r.Holders), func(i int) common.Hash { return common.BytesToHash(r.Holders[i][:]) })
	e.uint(r.NotBefore)
	e.uint(r.Expires)
	e.string(r.Reason)
	e.uint(r.Time)
	e.hash(r.Nonce)
	return e.sum()
}

// Digest gives what the requester signs.
func (r *Request) Digest(d Domain) common.Hash { return d.digest(r.HashStruct()) }

// HashStruct gives EIP-712's hashStruct.
func (c *Card) HashStruct() common.Hash {
	e := encode(5)
	e.hash(cardTypeHash)
	e.address(c.Account)
	e.string(c.Name)
	e.hash(crypto.Keccak256Hash(c.Sealing))
	e.uint(c.Time)
	return e.sum()
}

// Digest gives what the account signs.
func (c *Card) Digest(d Domain) common.Hash { return d.digest(c.HashStruct()) }

// HashStruct gives EIP-712's hashStruct.
func (r *Retirement) HashStruct() common.Hash {
	e := encode(2)
	e.hash(retirementTypeHash)
	e.address(r.Account)
	return e.sum()
}

// Digest gives what the account signs.
func (r *Retirement) Digest(d Domain) common.Hash { return d.digest(r.HashStruct()) }

package consent

import (
	"strconv"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"pgregory.net/rapid"
)

// typed are the types of the protocol as go-ethereum's own EIP-712 takes them.
var typed = apitypes.Types{
	"EIP712Domain": {{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"}},
	"Scope": {{Name: "resource", Type: "string"}, {Name: "interactions", Type: "uint8"}, {Name: "filter", Type: "string"}, {Name: "dataFrom", Type: "uint64"},
		{Name: "dataUntil", Type: "uint64"}, {Name: "purpose", Type: "string"}, {Name: "sensitivities", Type: "uint64"}},
	"Provision": {{Name: "salt", Type: "bytes32"}, {Name: "holder", Type: "address"}, {Name: "scope", Type: "Scope"}},
	"Grant": {{Name: "grantor", Type: "address"}, {Name: "grantee", Type: "address"}, {Name: "provisions", Type: "bytes32"}, {Name: "notBefore", Type: "uint64"},
		{Name: "expires", Type: "uint64"}, {Name: "revocations", Type: "bytes32[]"}, {Name: "parent", Type: "bytes32"}, {Name: "handoffs", Type: "uint8"}},
	"Access": {{Name: "grant", Type: "bytes32"}, {Name: "holder", Type: "address"}, {Name: "scopes", Type: "Scope[]"}, {Name: "binding", Type: "bytes32"},
		{Name: "time", Type: "uint64"}, {Name: "nonce", Type: "bytes32"}},
	"Request": {{Name: "requester", Type: "address"}, {Name: "patient", Type: "address"}, {Name: "scopes", Type: "Scope[]"}, {Name: "holders", Type: "address[]"},
		{Name: "notBefore", Type: "uint64"}, {Name: "expires", Type: "uint64"}, {Name: "reason", Type: "string"}, {Name: "time", Type: "uint64"}, {Name: "nonce", Type: "bytes32"}},
	"Card":       {{Name: "account", Type: "address"}, {Name: "name", Type: "string"}, {Name: "sealing", Type: "bytes"}, {Name: "time", Type: "uint64"}},
	"Retirement": {{Name: "account", Type: "address"}},
}

func typedDigest(t *rapid.T, d Domain, primary string, message apitypes.TypedDataMessage) common.Hash {
	t.Helper()
	digest, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
		Types: typed, PrimaryType: primary, Message: message,
		Domain: apitypes.TypedDataDomain{Name: "Assent", Version: "1", ChainId: math.NewHexOrDecimal256(int64(d.ChainID)), VerifyingContract: d.Registry.Hex()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return common.Hash(digest)
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func typedScope(s Scope) map[string]any {
	return map[string]any{"resource": s.Resource, "interactions": number(uint64(s.Interactions)), "filter": s.Filter, "dataFrom": number(s.DataFrom),
		"dataUntil": number(s.DataUntil), "purpose": s.Purpose, "sensitivities": number(uint64(s.Sensitivities))}
}

func typedList[T any](items []T, typed func(T) any) []any {
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = typed(item)
	}
	return list
}

// The hashes made by hand are those of go-ethereum's reading of EIP-712.
func TestDigestsAreEIP712(t *testing.T) {
	hexScope := func(s Scope) any { return typedScope(s) }
	hexHash := func(h common.Hash) any { return h.Hex() }
	hexAddress := func(a common.Address) any { return a.Hex() }
	rapid.Check(t, func(t *rapid.T) {
		d := anyDomain.Draw(t, "domain")
		same := func(kind string, got common.Hash, message apitypes.TypedDataMessage) {
			if want := typedDigest(t, d, kind, message); got != want {
				t.Fatalf("%s: got %s, want %s", kind, got, want)
			}
		}
		s, p := anyScope.Draw(t, "scope"), anyProvision.Draw(t, "provision")
		s.Filter, s.Purpose = rapid.String().Draw(t, "filter"), rapid.String().Draw(t, "purpose")
		same("Scope", d.digest(s.HashStruct()), typedScope(s))
		same("Provision", d.digest(p.HashStruct()), apitypes.TypedDataMessage{"salt": p.Salt.Hex(), "holder": p.Holder.Hex(), "scope": typedScope(p.Scope)})
		g := anyGrant.Draw(t, "grant")
		same("Grant", g.ID(d), apitypes.TypedDataMessage{"grantor": g.Grantor.Hex(), "grantee": g.Grantee.Hex(), "provisions": g.Provisions.Hex(), "notBefore": number(g.NotBefore),
			"expires": number(g.Expires), "revocations": typedList(g.Revocations, hexHash), "parent": g.Parent.Hex(), "handoffs": number(uint64(g.Handoffs))})
		a := anyAccess.Draw(t, "access")
		same("Access", a.Digest(d), apitypes.TypedDataMessage{"grant": a.Grant.Hex(), "holder": a.Holder.Hex(), "scopes": typedList(a.Scopes, hexScope), "binding": a.Binding.Hex(),
			"time": number(a.Time), "nonce": a.Nonce.Hex()})
		r := anyRequest.Draw(t, "request")
		same("Request", r.Digest(d), apitypes.TypedDataMessage{"requester": r.Requester.Hex(), "patient": r.Patient.Hex(), "scopes": typedList(r.Scopes, hexScope),
			"holders": typedList(r.Holders, hexAddress), "notBefore": number(r.NotBefore), "expires": number(r.Expires), "reason": r.Reason, "time": number(r.Time), "nonce": r.Nonce.Hex()})
		c := anyCard.Draw(t, "card")
		same("Card", c.Digest(d), apitypes.TypedDataMessage{"account": c.Account.Hex(), "name": c.Name, "sealing": c.Sealing, "time": number(c.Time)})
		retirement := Retirement{c.Account}
		same("Retirement", retirement.Digest(d), apitypes.TypedDataMessage{"account": c.Account.Hex()})
	})
}

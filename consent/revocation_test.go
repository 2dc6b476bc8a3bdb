package consent

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// The facts are those of the protocol's vectors: secrets must be the same in
// every wallet that restores a phrase, for ever.
func TestSecretsNeverChange(t *testing.T) {
	key, err := crypto.HexToECDSA("f89ea5b82628a51d69876a001fb423fff17ab3b0ab42618579571f3498bdde65")
	if err != nil {
		t.Fatal(err)
	}
	d := Domain{1337, common.HexToAddress("0x219CF75AdA58E6B6a07e0F9FdDA14b70e768bad1")}
	provisions := common.HexToHash("0x544db4f4b18d4aa5a1243d42ddd65fbb920e2c6a3562c8c89543c00355fda4ea")
	grantee := common.HexToAddress("0x5A47Ca5ae6808F66082Ad903e405D79c980FBc4D")
	for _, c := range []struct {
		got                       Switch
		label, secret, revocation string
	}{
		{GrantSwitch(d, provisions), "revoke/grant/1337/0x219cf75ada58e6b6a07e0f9fdda14b70e768bad1/0x544db4f4b18d4aa5a1243d42ddd65fbb920e2c6a3562c8c89543c00355fda4ea",
			"0x53c408fbe0d57f7ae4bc67dca9f6304ab0ffb9c215b9c847b607e8006a165615", "0x935abd1c61aa5960b8f2151cd07c5af0be25f19dbd2cb373aee19ac77460071f"},
		{GranteeSwitch(d, grantee, 10), "revoke/grantee/1337/0x219cf75ada58e6b6a07e0f9fdda14b70e768bad1/0x5a47ca5ae6808f66082ad903e405d79c980fbc4d/10",
			"0x64297dce8587683b6a7aa16c2976c0e1f9c87b3c6d708a79fc18d522da6ccb33", "0xca448432af1dc13db5d6b49cf2d21fa5f181d085b93e23af10e78859b4784353"},
		{AllSwitch(d, 0), "revoke/all/1337/0x219cf75ada58e6b6a07e0f9fdda14b70e768bad1/0",
			"0x7a41a48e8e2d88405b5f1f826185c179164db671838bb7ca7fec98b2ed0d35e7", "0xc3d09f753cfe79fb12f5c68676c9101d3bbcc9cf667fefb783d8fc656e34724f"},
	} {
		secret := c.got.Secret(key)
		if string(c.got) != c.label || secret.Hex() != c.secret || Revocation(secret).Hex() != c.revocation {
			t.Errorf("%s: secret %s, revocation %s", c.got, secret, Revocation(secret))
		}
	}
	if seed := SealingSeed(key).Hex(); seed != "0x707ec4f5a2d14f21110d1265af2740547b0edaca394d3434355b81aec38a3b1b" {
		t.Errorf("sealing seed %s", seed)
	}
}

// The secret of a batch was worked out by another HKDF.
func TestBatchSecretNeverChanges(t *testing.T) {
	key, err := crypto.HexToECDSA("f89ea5b82628a51d69876a001fb423fff17ab3b0ab42618579571f3498bdde65")
	if err != nil {
		t.Fatal(err)
	}
	d := Domain{1337, common.HexToAddress("0x219CF75AdA58E6B6a07e0F9fdDA14b70e768bad1")}
	s := BatchSwitch(d, common.HexToHash("0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
	const label = "revoke/batch/1337/0x219cf75ada58e6b6a07e0f9fdda14b70e768bad1/0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if secret := s.Secret(key).Hex(); string(s) != label || secret != "0x734c4f91a3410373a1ef74f00c577fb15794aeb5a892f59c33c5abdbd935a7bd" {
		t.Errorf("%s: secret %s", s, secret)
	}
}

// A secret is its own: another key, chain, registry, grantee, grant or epoch
// has another.
func TestSecretsAreDistinct(t *testing.T) {
	seen := make(map[common.Hash]Switch)
	for _, key := range []string{"patient", "another"} {
		for _, d := range []Domain{testDomain, {1338, testDomain.Registry}, {1337, laboratory}} {
			switches := []Switch{GrantSwitch(d, common.Hash{}), GrantSwitch(d, common.Hash{1}), BatchSwitch(d, common.Hash{}), BatchSwitch(d, common.Hash{1})}
			for epoch := range uint64(3) {
				switches = append(switches, AllSwitch(d, epoch), GranteeSwitch(d, laboratory, epoch), GranteeSwitch(d, common.Address{}, epoch))
			}
			for _, s := range switches {
				secret := s.Secret(testKey(key))
				if other, known := seen[secret]; known {
					t.Errorf("%s and %s have one secret", s, other)
				}
				seen[secret] = s
			}
		}
	}
}

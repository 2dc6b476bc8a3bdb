package consent_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

func TestProofOfAddress(t *testing.T) {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	const now = 1_800_000_000
	var (
		account   = crypto.PubkeyToAddress(key.PublicKey)
		holder    = common.Address{7}
		challenge = common.Hash{1}
		binding   = common.Hash{2}
		domain    = consent.Domain{ChainID: 1337, Registry: common.Address{9}}
		state     = func(retired uint64) consent.State {
			return consent.State{Retired: map[common.Address]uint64{account: retired, holder: 0}}
		}
	)
	proof := consent.AccessDocument{Domain: domain, Links: []consent.Link{}, Access: consent.ProofOfAddress(holder, challenge, binding, now)}
	if proof.Signature, err = consent.Sign(proof.Access.Digest(domain), key); err != nil {
		t.Fatal(err)
	}
	text, err := proof.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	read, err := consent.ReadAccess(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if need := read.ProofEntries(account); len(need.Accounts) != 1 || len(need.Signatures) != 0 {
		t.Errorf("needs %v", need)
	}
	if need := read.ProofEntries(holder); len(need.Signatures) != 1 {
		t.Errorf("a signature that is not its key's is not asked of the account: %v", need)
	}
	if err := read.Proves(account, domain, holder, challenge, binding, state(0), now+300); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"another domain", "another chain", read.Proves(account, consent.Domain{ChainID: 1, Registry: domain.Registry}, holder, challenge, binding, state(0), now)},
		{"another holder", "is for", read.Proves(account, domain, account, challenge, binding, state(0), now)},
		{"another challenge", "another challenge", read.Proves(account, domain, holder, common.Hash{3}, binding, state(0), now)},
		{"another binding", "another use", read.Proves(account, domain, holder, challenge, common.Hash{3}, state(0), now)},
		{"no binding", "another use", read.Proves(account, domain, holder, challenge, common.Hash{}, state(0), now)},
		{"late", "300 s", read.Proves(account, domain, holder, challenge, binding, state(0), now+301)},
		{"early", "300 s", read.Proves(account, domain, holder, challenge, binding, state(0), now-301)},
		{"retired", "retired", read.Proves(account, domain, holder, challenge, binding, state(5), now)},
		{"retirement not read", "", read.Proves(account, domain, holder, challenge, binding, consent.State{}, now)},
		{"contract not asked", "", read.Proves(holder, domain, holder, challenge, binding, state(0), now)},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	changed := *read
	changed.Access.Binding = common.Hash{4}
	no := state(0)
	no.Signed = map[consent.SignatureQuery]bool{changed.ProofEntries(account).Signatures[0]: false}
	if err := changed.Proves(account, domain, holder, challenge, changed.Access.Binding, no, now); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Errorf("a binding that was not signed: %v", err)
	}
	used := *read
	used.Access.Scopes = []consent.Scope{{}}
	if err := used.Proves(account, domain, holder, challenge, binding, state(0), now); err == nil || !strings.Contains(err.Error(), "not a proof") {
		t.Errorf("with a scope: %v", err)
	}
}

package wallet

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

var (
	domain  = consent.Domain{ChainID: 1337, Registry: common.HexToAddress("0x219CF75AdA58E6B6a07e0F9FdDA14b70e768bad1")}
	holder  = common.HexToAddress("0x7e3A10D13DE11Eb94d53d775E85e93E6c765ef50")
	grantee = common.HexToAddress("0x5A47Ca5ae6808F66082Ad903e405D79c980FBc4D")
)

func newTestKey(t testing.TB) *Key {
	t.Helper()
	entropy, err := NewEntropy(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(entropy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func scope(t testing.TB, text string) consent.Scope {
	t.Helper()
	s, err := consent.ParseScope(text, "TREAT")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func provisions(t testing.TB, scopes ...string) []consent.Provision {
	t.Helper()
	var ps []consent.Provision
	for _, s := range scopes {
		ps = append(ps, consent.Provision{Holder: holder, Scope: scope(t, s)})
	}
	return ps
}

func window(to common.Address) consent.Grant {
	return consent.Grant{Grantee: to, NotBefore: 1_700_000_000, Expires: 1_800_000_000}
}

// permits decides as a data holder does, on a chain that holds just what the
// document needs.
func permits(t *testing.T, e *consent.Examination) {
	t.Helper()
	state := consent.State{Anchored: map[common.Hash]uint64{}, Revoked: map[common.Hash]uint64{}, Retired: map[common.Address]uint64{}}
	need := e.Entries()
	for _, root := range need.Anchors {
		state.Anchored[root] = 1
	}
	for _, hash := range need.Revocations {
		state.Revoked[hash] = 0
	}
	for _, account := range need.Accounts {
		state.Retired[account] = 0
	}
	verdict, err := e.Decide(state, 1_750_000_000)
	if err != nil || verdict.Outcome != consent.Permit {
		t.Fatalf("%s: %s, %v", verdict.Outcome, verdict.Clause, err)
	}
}

func TestSignGrant(t *testing.T) {
	k := newTestKey(t)
	asked := provisions(t, "patient/Observation.rs?category=laboratory", "patient/Condition.r")
	grant := window(grantee)
	// Whatever stands in these, the signer fills them in.
	grant.Grantor, grant.Provisions, grant.Parent = grantee, common.Hash{1}, common.Hash{2}
	grant.Revocations = []common.Hash{{3}}
	document, err := k.SignGrant(domain, grant, asked, nil, Epochs{Grantee: 4, All: 5})
	if err != nil {
		t.Fatal(err)
	}
	permits(t, consent.ExamineGrant(document))

	g := document.Grant
	if g.Grantor != k.Address() || g.Grantee != grantee || g.Parent != (common.Hash{}) || g.NotBefore != grant.NotBefore || g.Expires != grant.Expires {
		t.Errorf("signed %+v", g)
	}
	var revocations []common.Hash
	for _, s := range []consent.Switch{
		consent.GrantSwitch(domain, g.Provisions), consent.GranteeSwitch(domain, grantee, 4), consent.AllSwitch(domain, 5),
	} {
		secret, err := k.RevocationSecret(s)
		if err != nil {
			t.Fatal(err)
		}
		revocations = append(revocations, consent.Revocation(secret))
	}
	if !slices.Equal(g.Revocations, revocations) {
		t.Errorf("revocations %v: want those of the three switches, %v", g.Revocations, revocations)
	}
	for i, opening := range document.Provisions {
		if opening.Provision.Salt == (common.Hash{}) || opening.Provision.Scope != asked[i].Scope || opening.Provision.Holder != asked[i].Holder {
			t.Errorf("provision %d: %+v", i, opening.Provision)
		}
		if consent.Root(opening.Provision.Leaf(), opening.Proof) != g.Provisions {
			t.Errorf("provision %d is not under the root", i)
		}
	}
	again, err := k.SignGrant(domain, grant, asked, nil, Epochs{})
	if err != nil || again.Grant.Provisions == g.Provisions {
		t.Errorf("the same root twice, %v: want fresh salts", err)
	}
	text, err := document.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consent.ReadGrant(bytes.NewReader(text)); err != nil {
		t.Error(err)
	}
}

func TestSignGrantRefuses(t *testing.T) {
	k := newTestKey(t)
	good := provisions(t, "patient/Observation.rs")
	for _, c := range []struct {
		name, want string
		domain     consent.Domain
		change     func(*consent.Grant)
		provisions []consent.Provision
	}{
		{"no grantee", "no grantee", domain, func(g *consent.Grant) { g.Grantee = common.Address{} }, good},
		{"ends as it begins", "ends before it begins", domain, func(g *consent.Grant) { g.Expires = g.NotBefore }, good},
		{"ends before it begins", "ends before it begins", domain, func(g *consent.Grant) { g.Expires = 1 }, good},
		{"no JSON number", "want at most", domain, func(g *consent.Grant) { g.Expires = 1 << 53 }, good},
		{"no provisions", "0 provisions", domain, func(*consent.Grant) {}, nil},
		{"too many provisions", "65 provisions", domain, func(*consent.Grant) {}, slices.Repeat(good, 65)},
		{"scope out of form", "provision 1: resource", domain, func(*consent.Grant) {}, append(slices.Clone(good), consent.Provision{Scope: consent.Scope{Resource: "x"}})},
		{"scope out of bounds", "provision 0: scope", domain, func(*consent.Grant) {}, []consent.Provision{{Scope: consent.Scope{Resource: "Observation", Purpose: "TREAT"}}}},
		{"filter not canonical", "not canonical", domain, func(*consent.Grant) {}, []consent.Provision{{Scope: consent.Scope{Resource: "Observation", Interactions: 1, Purpose: "TREAT", Filter: "b=1&a=1"}}}},
		{"no registry", "no network", consent.Domain{ChainID: 1}, func(*consent.Grant) {}, good},
		{"no chain", "no network", consent.Domain{Registry: domain.Registry}, func(*consent.Grant) {}, good},
	} {
		t.Run(c.name, func(t *testing.T) {
			grant := window(grantee)
			c.change(&grant)
			document, err := k.SignGrant(c.domain, grant, c.provisions, nil, Epochs{})
			if document != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: want %q", err, c.want)
			}
		})
	}
}

func TestSignHandOff(t *testing.T) {
	patient, clinic, laboratory := newTestKey(t), newTestKey(t), newTestKey(t)
	root := window(clinic.Address())
	root.Handoffs = 2
	first, err := patient.SignGrant(domain, root, provisions(t, "patient/*.rs", "patient/Condition.cruds"), nil, Epochs{})
	if err != nil {
		t.Fatal(err)
	}
	narrow := provisions(t, "patient/Observation.rs?category=laboratory")
	grant := window(laboratory.Address())
	grant.Handoffs = 1
	second, err := clinic.SignGrant(domain, grant, narrow, []consent.GrantDocument{*first}, Epochs{})
	if err != nil {
		t.Fatal(err)
	}
	if second.Grant.Parent != first.ID() || len(second.Parents) != 1 || len(second.Parents[0].Provisions) != 1 {
		t.Fatalf("parent %s, %d parents, first with %d provisions", second.Grant.Parent, len(second.Parents), len(second.Parents[0].Provisions))
	}
	last := *second
	last.Parents = nil
	third, err := laboratory.SignGrant(domain, window(grantee), narrow, append(slices.Clone(second.Parents), last), Epochs{})
	if err != nil {
		t.Fatal(err)
	}
	permits(t, consent.ExamineGrant(third))

	for _, c := range []struct {
		name, want string
		signer     *Key
		change     func(*consent.Grant)
		provisions []consent.Provision
		parents    []consent.GrantDocument
	}{
		{"another's", "not to this wallet", patient, nil, narrow, []consent.GrantDocument{*first}},
		{"wider", "does not permit to pass on", clinic, nil, provisions(t, "patient/Observation.cruds"), []consent.GrantDocument{*first}},
		{"later", "longer than", clinic, func(g *consent.Grant) { g.Expires++ }, narrow, []consent.GrantDocument{*first}},
		{"earlier", "longer than", clinic, func(g *consent.Grant) { g.NotBefore-- }, narrow, []consent.GrantDocument{*first}},
		{"as many hand-offs", "2 times", clinic, func(g *consent.Grant) { g.Handoffs = 2 }, narrow, []consent.GrantDocument{*first}},
		{"no hand-offs left", "may not be passed on", &Key{address: grantee}, nil, narrow, append(slices.Clone(third.Parents), consent.GrantDocument{Domain: domain, Grant: third.Grant, Provisions: third.Provisions})},
		{"another chain", "another chain", clinic, nil, narrow, []consent.GrantDocument{{Domain: consent.Domain{ChainID: 1, Registry: domain.Registry}, Grant: first.Grant, Provisions: first.Provisions}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			grant := window(holder)
			if c.change != nil {
				c.change(&grant)
			}
			document, err := c.signer.SignGrant(domain, grant, c.provisions, c.parents, Epochs{})
			if document != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: want %q", err, c.want)
			}
		})
	}
}

func TestSignAccess(t *testing.T) {
	patient, clinic := newTestKey(t), newTestKey(t)
	grant, err := patient.SignGrant(domain, window(clinic.Address()), provisions(t, "patient/Observation.rs", "patient/Condition.rs"), nil, Epochs{})
	if err != nil {
		t.Fatal(err)
	}
	wanted := consent.Access{Holder: holder, Scopes: []consent.Scope{scope(t, "patient/Condition.r")}, Binding: common.Hash{7}, Time: 1_750_000_000}
	links, err := grant.Open(holder, wanted.Scopes)
	if err != nil {
		t.Fatal(err)
	}
	document, err := clinic.SignAccess(domain, wanted, links)
	if err != nil {
		t.Fatal(err)
	}
	permits(t, consent.Examine(document, nil))
	if document.Access.Grant != grant.ID() || document.Access.Nonce == (common.Hash{}) || document.Access.Binding != wanted.Binding {
		t.Errorf("signed %+v", document.Access)
	}
	again, err := clinic.SignAccess(domain, wanted, links)
	if err != nil || again.Access.Nonce == document.Access.Nonce {
		t.Errorf("the same nonce twice, %v", err)
	}

	for _, c := range []struct {
		name, want string
		signer     *Key
		change     func(*consent.Access)
		links      []consent.Link
	}{
		{"another's", "not to this wallet", patient, nil, links},
		{"no holder", "no data holder", clinic, func(a *consent.Access) { a.Holder = common.Address{} }, links},
		{"no scopes", "0 scopes", clinic, func(a *consent.Access) { a.Scopes = nil }, links},
		{"too many scopes", "65 scopes", clinic, func(a *consent.Access) { a.Scopes = slices.Repeat(a.Scopes, 65) }, links},
		{"scope out of form", "scope 0", clinic, func(a *consent.Access) { a.Scopes = []consent.Scope{{}} }, links},
		{"no grants", "0 grants", clinic, nil, nil},
		{"openings missing", "opens 1 provisions", clinic, func(a *consent.Access) { a.Scopes = slices.Repeat(a.Scopes, 2) }, links},
	} {
		t.Run(c.name, func(t *testing.T) {
			access := wanted
			if c.change != nil {
				c.change(&access)
			}
			document, err := c.signer.SignAccess(domain, access, c.links)
			if document != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: want %q", err, c.want)
			}
		})
	}
}

func TestSignCardAndRequest(t *testing.T) {
	const now = 1_750_000_000
	clinic, patient := newTestKey(t), newTestKey(t)
	card, err := clinic.SignCard(domain, consent.Card{Name: "Kardiologie “Nord”", Time: now})
	if err != nil {
		t.Fatal(err)
	}
	wanted := consent.Request{
		Patient: patient.Address(), Scopes: []consent.Scope{scope(t, "patient/Observation.rs")}, Holders: []common.Address{{}},
		NotBefore: now, Expires: now + 1000, Reason: "pre-operative review", Time: now,
	}
	request, err := clinic.SignRequest(domain, wanted, *card)
	if err != nil {
		t.Fatal(err)
	}
	err = request.Counts(consent.Reception{
		Domain: domain, Account: patient.Address(), Now: now,
		State: consent.State{Retired: map[common.Address]uint64{clinic.Address(): 0}},
	})
	if err != nil {
		t.Error(err)
	}
	again, err := clinic.SignRequest(domain, wanted, *card)
	if err != nil || again.Request.Nonce == request.Request.Nonce {
		t.Errorf("the same nonce twice, %v", err)
	}

	for _, c := range []struct {
		name, want string
		signer     *Key
		change     func(*consent.Request)
	}{
		{"no patient", "no patient", clinic, func(r *consent.Request) { r.Patient = common.Address{} }},
		{"empty window", "ends before", clinic, func(r *consent.Request) { r.NotBefore = r.Expires }},
		{"has ended", "has ended", clinic, func(r *consent.Request) { r.Time = r.Expires }},
		{"no JSON number", "want at most", clinic, func(r *consent.Request) { r.Expires = 1 << 53 }},
		{"reason not UTF-8", "not UTF-8", clinic, func(r *consent.Request) { r.Reason = "\xff" }},
		{"reason too long", "1025 bytes", clinic, func(r *consent.Request) { r.Reason = strings.Repeat("x", 1025) }},
		{"no holders", "0 data holders", clinic, func(r *consent.Request) { r.Holders = nil }},
		{"scope out of form", "scope 0", clinic, func(r *consent.Request) { r.Scopes = []consent.Scope{{}} }},
		{"card of another", "not this wallet's", patient, func(*consent.Request) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := wanted
			c.change(&r)
			document, err := c.signer.SignRequest(domain, r, *card)
			if document != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: want %q", err, c.want)
			}
		})
	}
	for name, c := range map[string]consent.Card{
		"name too long":  {Name: strings.Repeat("x", 129)},
		"name not UTF-8": {Name: "\xff"},
	} {
		if document, err := clinic.SignCard(domain, c); document != nil || err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// What is sealed to a card is opened with the key pair of section 8.
func TestCardSealingIsThePublicKeyOfTheSeed(t *testing.T) {
	k := newTestKey(t)
	card, err := k.SignCard(domain, consent.Card{Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	if card.Card.Sealing[0] != 0x01 || len(card.Card.Sealing) != 1217 {
		t.Fatalf("sealing begins with %#x and has %d bytes", card.Card.Sealing[0], len(card.Card.Sealing))
	}
	public, err := hpke.MLKEM768X25519().NewPublicKey(card.Card.Sealing[1:])
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("assent/seal/1"), []byte("a grant"))
	if err != nil {
		t.Fatal(err)
	}
	seed := consent.SealingSeed(k.private)
	private, err := hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	opened, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("assent/seal/1"), sealed)
	if err != nil || string(opened) != "a grant" {
		t.Errorf("%q, %v", opened, err)
	}
}

func TestSignProofOfAddress(t *testing.T) {
	k, holder, challenge := newTestKey(t), common.Address{7}, common.Hash{1}
	proof, err := k.SignProofOfAddress(domain, holder, challenge, common.Hash{}, 1_000)
	if err != nil {
		t.Fatal(err)
	}
	state := consent.State{Retired: map[common.Address]uint64{k.Address(): 0, holder: 0}}
	if err := proof.Proves(k.Address(), domain, holder, challenge, common.Hash{}, state, 1_300); err != nil {
		t.Error(err)
	}
	if err := proof.Proves(holder, domain, holder, challenge, common.Hash{}, state, 1_000); err == nil {
		t.Error("it proves another account")
	}
	if verdict, err := consent.Examine(proof, nil).Decide(state, 1_000); err != nil || verdict.Outcome != consent.Malformed {
		t.Errorf("as an access it is %s, %v", verdict.Outcome, err)
	}
	for _, wrong := range []func() (*consent.AccessDocument, error){
		func() (*consent.AccessDocument, error) {
			return k.SignProofOfAddress(domain, common.Address{}, challenge, common.Hash{}, 1)
		},
		func() (*consent.AccessDocument, error) {
			return k.SignProofOfAddress(domain, holder, common.Hash{}, common.Hash{}, 1)
		},
		func() (*consent.AccessDocument, error) {
			return k.SignProofOfAddress(consent.Domain{}, holder, challenge, common.Hash{}, 1)
		},
	} {
		if document, err := wrong(); err == nil || document != nil {
			t.Error("signed")
		}
	}
}

func TestSignRetirement(t *testing.T) {
	k := newTestKey(t)
	signature, err := k.SignRetirement(domain)
	if err != nil {
		t.Fatal(err)
	}
	retirement := consent.Retirement{Account: k.Address()}
	digest := retirement.Digest(domain)
	signature[64] -= 27
	public, err := crypto.SigToPub(digest[:], signature)
	if err != nil || crypto.PubkeyToAddress(*public) != k.Address() {
		t.Errorf("not signed by the account, %v", err)
	}
	if _, err := k.SignRetirement(consent.Domain{}); err == nil {
		t.Error("signed for no network")
	}
}

func TestSignTransaction(t *testing.T) {
	k := newTestKey(t)
	chain := big.NewInt(1337)
	call := types.DynamicFeeTx{ChainID: chain, To: &domain.Registry, Gas: 60_000, GasFeeCap: big.NewInt(2), GasTipCap: big.NewInt(1), Data: []byte{1, 2, 3, 4}}
	tx, err := k.SignTransaction(types.NewTx(&call), chain)
	if err != nil {
		t.Fatal(err)
	}
	if from, err := types.Sender(types.LatestSignerForChainID(chain), tx); from != k.Address() {
		t.Errorf("from %s, %v", from, err)
	}
	moves, creates := call, call
	moves.Value, creates.To = big.NewInt(1), nil
	for _, c := range []struct {
		name, want string
		tx         *types.Transaction
		chain      *big.Int
	}{
		{"moves coins", "moves coins", types.NewTx(&moves), chain},
		{"makes a contract", "calls no contract", types.NewTx(&creates), chain},
		{"of another chain", "chain", types.NewTx(&call), big.NewInt(1)},
		{"of any chain", "no chain", types.NewTx(&types.LegacyTx{To: &domain.Registry}), new(big.Int)},
		{"of no chain", "no chain", types.NewTx(&types.LegacyTx{To: &domain.Registry}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if tx, err := k.SignTransaction(c.tx, c.chain); tx != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: want %q", err, c.want)
			}
		})
	}
}

func TestClosedKeySignsNothing(t *testing.T) {
	k, other := newTestKey(t), newTestKey(t)
	card, err := k.SignCard(domain, consent.Card{Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	given, err := other.SignGrant(domain, window(k.Address()), provisions(t, "patient/Condition.r"), nil, Epochs{})
	if err != nil {
		t.Fatal(err)
	}
	scopes := []consent.Scope{scope(t, "patient/Condition.r")}
	links, err := given.Open(holder, scopes)
	if err != nil {
		t.Fatal(err)
	}
	private := k.private
	//lint:ignore SA1019 it is the memory that has to be cleared
	words := private.D.Bits()
	k.Close()
	k.Close() // again is no harm
	for _, word := range words {
		if word != 0 {
			t.Fatal("the private key is still in memory")
		}
	}
	if k.store != [32]byte{} {
		t.Error("the key of the store is still in memory")
	}
	for name, sign := range map[string]func() error{
		"grant": func() error {
			_, err := k.SignGrant(domain, window(grantee), provisions(t, "patient/Condition.r"), nil, Epochs{})
			return err
		},
		"access": func() error {
			_, err := k.SignAccess(domain, consent.Access{Holder: holder, Scopes: scopes}, links)
			return err
		},
		"proof": func() error {
			_, err := k.SignProofOfAddress(domain, holder, common.Hash{1}, common.Hash{}, 1)
			return err
		},
		"request": func() error {
			_, err := k.SignRequest(domain, consent.Request{Patient: holder, Scopes: scopes, Holders: []common.Address{{}}, Expires: 1}, *card)
			return err
		},
		"card":       func() error { _, err := k.SignCard(domain, consent.Card{}); return err },
		"retirement": func() error { _, err := k.SignRetirement(domain); return err },
		"secret":     func() error { _, err := k.RevocationSecret("revoke/all"); return err },
		"transaction": func() error {
			_, err := k.SignTransaction(types.NewTx(&types.LegacyTx{To: &holder}), big.NewInt(1))
			return err
		},
	} {
		if err := sign(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v: want ErrClosed", name, err)
		}
	}
}

func TestCloseWaitsForSignatures(t *testing.T) {
	k := newTestKey(t)
	var signing sync.WaitGroup
	for range 8 {
		signing.Go(func() {
			for range 20 {
				signature, err := k.SignRetirement(domain)
				if errors.Is(err, ErrClosed) {
					return
				}
				retirement := consent.Retirement{Account: k.Address()}
				digest := retirement.Digest(domain)
				signature[64] -= 27
				public, err := crypto.SigToPub(digest[:], signature)
				if err != nil || crypto.PubkeyToAddress(*public) != k.Address() {
					t.Errorf("signed by another key while closing, %v", err)
					return
				}
			}
		})
	}
	k.Close()
	signing.Wait()
}

// Nothing that prints a key prints the secret.
func TestKeyDoesNotPrintItsSecret(t *testing.T) {
	k := newTestKey(t)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("unlocked", "key", k)
	for _, text := range []string{fmt.Sprintf("%v", k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprintf("%x", k), fmt.Sprintf("%s", k)} {
		if text != "wallet "+k.Address().Hex() {
			t.Errorf("printed as %q", text)
		}
	}
	if !strings.HasSuffix(logged.String(), fmt.Sprintf("key=%q\n", "wallet "+k.Address().Hex())) {
		t.Errorf("logged as %q", logged.String())
	}
}

func TestVectorSecrets(t *testing.T) {
	var vectors struct {
		Cases []struct {
			PrivateKey string
			Domain     struct {
				ChainID  uint64
				Registry common.Address
			}
			Switch             string
			Provisions         common.Hash
			Grantee            common.Address
			Epoch              uint64
			Secret, Revocation common.Hash
		}
	}
	readVectors(t, "secrets.json", &vectors)
	for i, c := range vectors.Cases {
		t.Run(fmt.Sprint(i, " ", c.Switch), func(t *testing.T) {
			private, err := crypto.ToECDSA(common.FromHex(c.PrivateKey))
			if err != nil {
				t.Fatal(err)
			}
			k, err := newKey(private)
			if err != nil {
				t.Fatal(err)
			}
			d := consent.Domain{ChainID: c.Domain.ChainID, Registry: c.Domain.Registry}
			s := map[string]consent.Switch{
				"grant":   consent.GrantSwitch(d, c.Provisions),
				"grantee": consent.GranteeSwitch(d, c.Grantee, c.Epoch),
				"all":     consent.AllSwitch(d, c.Epoch),
			}[c.Switch]
			secret, err := k.RevocationSecret(s)
			if err != nil || secret != c.Secret || consent.Revocation(secret) != c.Revocation {
				t.Errorf("secret %s, %v: want %s", secret, err, c.Secret)
			}
		})
	}
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	folder := os.Getenv("ASSENT_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared", "vectors")
	}
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		missing(t, "vectors", err.Error())
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// missing skips a test whose component is not on this machine, or fails it
// where ASSENT_TEST_REQUIRE lists the component.
func missing(t *testing.T, component, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), component) {
		t.Fatalf("%s is required and missing: %s", component, reason)
	}
	t.Skipf("no %s: %s", component, reason)
}

func BenchmarkSignGrant(b *testing.B) {
	k := newTestKey(b)
	four := provisions(b, "patient/Observation.rs?category=laboratory", "patient/Condition.rs", "patient/MedicationRequest.rs", "patient/AllergyIntolerance.rs")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.SignGrant(domain, window(grantee), four, nil, Epochs{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignAccess(b *testing.B) {
	patient, clinic := newTestKey(b), newTestKey(b)
	grant, err := patient.SignGrant(domain, window(clinic.Address()), provisions(b, "patient/Observation.rs"), nil, Epochs{})
	if err != nil {
		b.Fatal(err)
	}
	access := consent.Access{Holder: holder, Scopes: []consent.Scope{scope(b, "patient/Observation.rs")}, Time: 1}
	links, err := grant.Open(holder, access.Scopes)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := clinic.SignAccess(domain, access, links); err != nil {
			b.Fatal(err)
		}
	}
}

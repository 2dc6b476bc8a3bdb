package wallet_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

// chain is a real registry on a real chain, as a wallet sees it. While it is
// cut, nothing can be posted.
type chain struct {
	*registry.Client
	cut bool
}

var errCut = errors.New("the way to the chain is cut")

func (c *chain) Anchor(ctx context.Context, root common.Hash) ([]common.Hash, error) {
	if c.cut {
		return nil, errCut
	}
	_, err := c.Client.Anchor(ctx, root)
	return nil, err
}

func (c *chain) Revoke(ctx context.Context, secrets []common.Hash) error {
	_, err := c.Client.Revoke(ctx, secrets)
	return err
}

func (c *chain) Retire(ctx context.Context, account common.Address, signature []byte) error {
	_, err := c.Client.Retire(ctx, account, signature)
	return err
}

// world is an embedded chain and a store that all wallets of a test share.
type world struct {
	*testing.T
	embedded *devchain.Chain
	store    *wallet.Store
	path     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	embedded, err := devchain.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { embedded.Close() })
	w := &world{T: t, embedded: embedded, path: filepath.Join(t.TempDir(), "assent.db")}
	if w.store, err = wallet.OpenStore(t.Context(), w.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if _, err := w.client(1).Deploy(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) client(confirmations uint64) *registry.Client {
	client := registry.New(registry.Network{
		Name: "test", Endpoints: []registry.Endpoint{{Name: "embedded", Dial: w.embedded.Dial}},
		ChainID: w.embedded.ChainID(), OnDemand: true, Confirmations: confirmations,
	}, registry.KeyPayer(w.embedded.Key()))
	w.Cleanup(client.Close)
	return client
}

// wallet opens the wallet that the entropy makes; nil draws a new one.
func (w *world) wallet(entropy []byte) *wallet.Wallet {
	w.Helper()
	if entropy == nil {
		var err error
		if entropy, err = wallet.NewEntropy(rand.Reader); err != nil {
			w.Fatal(err)
		}
	}
	key, err := wallet.NewKey(entropy)
	if err != nil {
		w.Fatal(err)
	}
	documents, err := w.store.Documents(key)
	if err != nil {
		w.Fatal(err)
	}
	return &wallet.Wallet{
		Signer: key, Documents: documents, Registry: &chain{Client: w.client(1)}, Now: time.Now,
		Domain: consent.Domain{ChainID: w.embedded.ChainID(), Registry: registry.Address},
	}
}

func (w *world) scope(text string) consent.Scope {
	w.Helper()
	scope, err := consent.ParseScope(text, "TREAT")
	if err != nil {
		w.Fatal(err)
	}
	return scope
}

// draft is a grant of one scope, for an hour, at any data holder.
func (w *world) draft(grantee common.Address, text string) *wallet.Draft {
	now := uint64(time.Now().Unix())
	return &wallet.Draft{
		Grantee: grantee, NotBefore: now, Expires: now + 3600,
		Provisions: wallet.Provide([]consent.Scope{w.scope(text)}, []common.Address{{}}),
	}
}

func (w *world) grant(from, to *wallet.Wallet, text string) *consent.GrantDocument {
	w.Helper()
	grant, err := from.Grant(w.Context(), w.draft(to.Signer.Address(), text))
	if err != nil {
		w.Fatal(err)
	}
	return grant
}

func (w *world) outcome(of *wallet.Wallet, grant *consent.GrantDocument) consent.Outcome {
	w.Helper()
	verdict, _, err := of.Judge(w.Context(), grant)
	if err != nil {
		w.Fatal(err)
	}
	return verdict.Outcome
}

// A grant that was signed and not posted is posted by whoever comes next, once,
// and a request that it answers is answered by no other.
func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient, clinic := w.wallet(nil), w.wallet(nil)
	request, err := clinic.Request(t.Context(), consent.Request{
		Patient: patient.Signer.Address(), Scopes: []consent.Scope{w.scope("patient/Observation.rs")}, Holders: []common.Address{{}},
		NotBefore: uint64(time.Now().Unix()), Expires: uint64(time.Now().Add(time.Hour).Unix()), Reason: "review",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := patient.Receive(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	patient.Registry.(*chain).cut = true
	signed, err := patient.Grant(t.Context(), wallet.DraftFor(request))
	if !errors.Is(err, errCut) {
		t.Fatalf("grant while the chain is away: %v", err)
	}
	if got := w.outcome(patient, signed); got != consent.NotAnchored {
		t.Errorf("the grant is %s", got)
	}
	answered, ok := errors.AsType[*wallet.AnsweredError](patient.Receive(t.Context(), request))
	if !ok || answered.Grant.ID() != signed.ID() {
		t.Errorf("the request again: %v", answered)
	}
	// A second answer by a process that does not know of the first.
	_, err = patient.Grant(t.Context(), wallet.DraftFor(request))
	if answered, ok := errors.AsType[*wallet.AnsweredError](err); !ok || answered.Grant.ID() != signed.ID() {
		t.Errorf("a second answer: %v", err)
	}

	patient.Registry.(*chain).cut = false
	for _, want := range []int{1, 0} {
		if posted, err := patient.Resume(t.Context()); err != nil || posted != want {
			t.Errorf("resumed %d, %v, want %d", posted, err, want)
		}
	}
	if got := w.outcome(patient, signed); got != consent.Permit {
		t.Errorf("afterwards the grant is %s", got)
	}
	grants, err := patient.Grants(t.Context())
	if err != nil || len(grants) != 1 || grants[0].Verdict.Outcome != consent.Permit || grants[0].State != wallet.Anchored {
		t.Errorf("the grants are %+v, %v", grants, err)
	}
}

// together anchors roots as a relay does, each in a tree with another, and calls
// then when that is on chain. What is on chain already needs no tree.
type together struct {
	*chain
	then func()
}

func (r *together) Anchor(ctx context.Context, root common.Hash) ([]common.Hash, error) {
	state, err := r.Read(ctx, consent.Entries{Anchors: []common.Hash{root}})
	if err != nil || state.Anchored[root] != 0 {
		return nil, err
	}
	siblings := []common.Hash{{1}}
	if _, err := r.Client.Anchor(ctx, consent.Root(root, siblings)); err != nil {
		return nil, err
	}
	r.then()
	return siblings, nil
}

// Where the store fails just when a relay's proof is to be kept, the same
// document can be posted again, and the proof is kept then.
func TestPostAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient, clinic := w.wallet(nil), w.wallet(nil)
	cut, cancel := context.WithCancel(t.Context())
	defer cancel()
	patient.Registry = &together{patient.Registry.(*chain), cancel}
	grant, err := patient.Sign(t.Context(), w.draft(clinic.Signer.Address(), "patient/Observation.rs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := patient.Post(cut, grant); !errors.Is(err, context.Canceled) {
		t.Fatalf("posted while the store fails: %v", err)
	}
	if err := patient.Post(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	grants, err := patient.Grants(t.Context())
	if err != nil || len(grants) != 1 || grants[0].State != wallet.Anchored || grants[0].Verdict.Outcome != consent.Permit {
		t.Errorf("the grants are %+v, %v", grants, err)
	}
	if got := w.outcome(clinic, grant); got != consent.Permit {
		t.Errorf("the document is %s", got)
	}
}

// Each switch ends what it is for and nothing else, and what is signed after it
// counts again.
func TestSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient, clinic, study := w.wallet(nil), w.wallet(nil), w.wallet(nil)
	one, two := w.grant(patient, clinic, "patient/Observation.rs"), w.grant(patient, clinic, "patient/Condition.rs")
	other := w.grant(patient, study, "patient/Observation.rs")
	revoke := func(r *wallet.Revocation, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := patient.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return len(r.Grants)
	}
	expect := func(want ...consent.Outcome) {
		t.Helper()
		if got := []consent.Outcome{w.outcome(patient, one), w.outcome(patient, two), w.outcome(patient, other)}; !slices.Equal(got, want) {
			t.Errorf("the grants are %v, want %v", got, want)
		}
	}
	if n := revoke(patient.RevokeGrant(t.Context(), one)); n != 1 {
		t.Errorf("one grant's switch ends %d", n)
	}
	expect(consent.Revoked, consent.Permit, consent.Permit)
	if n := revoke(patient.RevokeGrantee(t.Context(), clinic.Signer.Address())); n != 1 {
		t.Errorf("the clinic's switch ends %d", n)
	}
	expect(consent.Revoked, consent.Revoked, consent.Permit)
	if n := revoke(patient.RevokeEverything(t.Context())); n != 1 {
		t.Errorf("the switch of everything ends %d", n)
	}
	expect(consent.Revoked, consent.Revoked, consent.Revoked)

	again := w.grant(patient, clinic, "patient/Observation.rs")
	if got := w.outcome(patient, again); got != consent.Permit {
		t.Errorf("a grant of the next epoch is %s", got)
	}
	if _, err := clinic.RevokeGrant(t.Context(), again); err == nil {
		t.Error("the grantee could revoke")
	}
	if err := patient.Retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.outcome(patient, again); got != consent.Retired {
		t.Errorf("a grant of a retired key is %s", got)
	}
}

// A wallet that has only its phrase ends what it never heard of, also what was
// signed in the two epochs after the one that it sees.
func TestRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entropy := slices.Repeat([]byte{7}, 32)
	before, clinic := w.wallet(slices.Clone(entropy)), w.wallet(nil)
	grant := w.grant(before, clinic, "patient/Observation.rs")

	elsewhere := &world{T: t, embedded: w.embedded}
	var err error
	if elsewhere.store, err = wallet.OpenStore(t.Context(), filepath.Join(t.TempDir(), "new.db")); err != nil {
		t.Fatal(err)
	}
	defer elsewhere.store.Close()
	restored := elsewhere.wallet(slices.Clone(entropy))
	restored.Restored = true
	all, err := restored.RevokeEverything(t.Context())
	if err != nil || len(all.Grants) != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := restored.Revoke(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := w.outcome(before, grant); got != consent.Revoked {
		t.Errorf("the grant is %s", got)
	}
	var revealed []common.Hash
	for event, err := range w.client(1).Events(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Name == "Revoked" {
			revealed = append(revealed, event.Key)
		}
	}
	var want []common.Hash
	for epoch := range uint64(3) {
		secret, err := before.Signer.RevocationSecret(consent.AllSwitch(before.Domain, epoch))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, secret)
	}
	if !slices.Equal(revealed, want) {
		t.Errorf("revealed %v, want the secrets of the epochs 0 to 2, %v", revealed, want)
	}
	// The next grant is of epoch 3, so it counts.
	if got := w.outcome(before, w.grant(before, clinic, "patient/Observation.rs")); got != consent.Permit {
		t.Errorf("a grant afterwards is %s", got)
	}
}

// Between a reveal and its confirmation neither epoch can be signed with.
func TestNotSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient, clinic := w.wallet(nil), w.wallet(nil)
	secret, err := patient.Signer.RevocationSecret(consent.AllSwitch(patient.Domain, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client(1).Revoke(t.Context(), []common.Hash{secret}); err != nil {
		t.Fatal(err)
	}
	patient.Registry = &chain{Client: w.client(2)}
	if _, err := patient.Grant(t.Context(), w.draft(clinic.Signer.Address(), "patient/Observation.rs")); !errors.Is(err, wallet.ErrNotSettled) {
		t.Errorf("a grant between reveal and confirmation: %v", err)
	}
	if _, err := patient.RevokeEverything(t.Context()); !errors.Is(err, wallet.ErrNotSettled) {
		t.Errorf("another reveal: %v", err)
	}
}

// Sensitive categories stand in provisions of their own, so that opening the
// plain scope shows none of them, and one shows none of the others.
func TestProvide(t *testing.T) {
	scope := consent.Scope{Resource: "Condition", Interactions: consent.Read, Purpose: "TREAT", Sensitivities: consent.HIV | consent.MentalHealth}
	var masks []consent.Sensitivities
	for _, p := range wallet.Provide([]consent.Scope{scope, scope}, []common.Address{{1}}) {
		masks = append(masks, p.Scope.Sensitivities)
		if p.Holder != (common.Address{1}) {
			t.Errorf("at %s", p.Holder)
		}
	}
	if want := []consent.Sensitivities{0, consent.MentalHealth, consent.HIV, consent.HIV | consent.MentalHealth}; !slices.Equal(masks, want) {
		t.Errorf("got %v, want %v", masks, want)
	}
}

// What a grantee wishes comes to what the grant permits, or to an error that
// names what it does not.
// What cannot be signed is said before a person is asked to agree to it.
func TestDraftCheck(t *testing.T) {
	t.Parallel()
	grantor, grantee := common.Address{1}, common.Address{2}
	scope := consent.Scope{Resource: "Observation", Interactions: consent.Read, Purpose: "TREAT"}
	var holders []common.Address
	for i := range byte(64) {
		holders = append(holders, common.Address{3, i})
	}
	good := wallet.Draft{Grantee: grantee, NotBefore: 10, Expires: 20, Provisions: wallet.Provide([]consent.Scope{scope}, holders)}
	for name, test := range map[string]struct {
		alter func(*wallet.Draft)
		want  string // in the error; empty: none
	}{
		"good": {func(*wallet.Draft) {}, ""},
		"too many": {func(d *wallet.Draft) {
			d.Provisions = wallet.Provide([]consent.Scope{scope}, append(holders, common.Address{}))
		}, "65 provisions"},
		"nothing": {func(d *wallet.Draft) { d.Provisions = nil }, "nothing"},
		"nobody":  {func(d *wallet.Draft) { d.Grantee = common.Address{} }, "nobody"},
		"herself": {func(d *wallet.Draft) { d.Grantee = grantor }, "itself"},
		"window":  {func(d *wallet.Draft) { d.NotBefore = 20 }, "before it begins"},
		"ended":   {func(d *wallet.Draft) { d.Expires = 11 }, "ended already"},
	} {
		draft := good
		test.alter(&draft)
		err := draft.Check(grantor, 11)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestWish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hospital, laboratory := common.Address{1}, common.Address{2}
	labs := w.scope("patient/Observation.rs?category=laboratory")
	labs.DataFrom, labs.DataUntil = 1000, 2000
	conditions := w.scope("patient/Condition.rs")
	conditions.Purpose = "HRESCH"
	grant := &consent.GrantDocument{}
	for _, p := range append(wallet.Provide([]consent.Scope{labs}, []common.Address{hospital, laboratory}), wallet.Provide([]consent.Scope{conditions}, []common.Address{{}})...) {
		grant.Provisions = append(grant.Provisions, consent.Opening{Provision: p})
	}
	narrow := labs
	narrow.Interactions, narrow.DataFrom = consent.Read, 1500
	for name, c := range map[string]struct {
		wish wallet.Wish
		want []consent.Provision // nil: an error
	}{
		"all":             {wallet.Wish{}, []consent.Provision{{Holder: hospital, Scope: labs}, {Holder: laboratory, Scope: labs}, {Scope: conditions}}},
		"all of one":      {wallet.Wish{Holders: []common.Address{hospital}}, []consent.Provision{{Holder: hospital, Scope: labs}, {Holder: hospital, Scope: conditions}}},
		"narrower":        {wallet.Wish{Scopes: []string{"patient/Observation.r?category=laboratory"}, DataFrom: 1500, Holders: []common.Address{hospital}}, []consent.Provision{{Holder: hospital, Scope: narrow}}},
		"wider":           {wallet.Wish{Scopes: []string{"patient/Observation.rs"}}, nil},
		"another purpose": {wallet.Wish{Scopes: []string{"patient/Condition.rs"}, Purpose: "TREAT"}, nil},
		"sensitive":       {wallet.Wish{Scopes: []string{"patient/Condition.rs"}, Sensitivities: consent.HIV}, nil},
		"other dates":     {wallet.Wish{Scopes: []string{"patient/Observation.rs?category=laboratory"}, DataFrom: 2000}, nil},
		"another holder":  {wallet.Wish{Scopes: []string{"patient/Observation.rs?category=laboratory"}, Holders: []common.Address{{3}}}, nil},
		"one of two":      {wallet.Wish{Scopes: []string{"patient/Condition.rs", "patient/Immunization.rs"}}, nil},
	} {
		got, err := c.wish.Fit(grant)
		if (err != nil) != (c.want == nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

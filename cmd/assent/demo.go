package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
	"github.com/assent-wallet/assent/wallet"
)

// record is a small health record of the demo's own, with things in it that a
// cardiology clinic needs and others that are none of its business.
//
//go:embed record.json
var record []byte

type demoOptions struct {
	*app
	bundle string
}

func demoCommand(a *app) *cobra.Command {
	o := &demoOptions{app: a}
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the whole story once: asked, granted, anchored, used, taken back",
		Long: `Plays a patient, a clinic and a hospital on a chain of its own, with the real
parts of this program, in a temporary folder that is removed afterwards. It touches
neither your keyring nor your wallets.`,
		Example: `  assent demo
  assent demo --bundle record.json      # with a FHIR R4 Bundle of your own`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.bundle, "bundle", "", "a patient's record to use instead of the built-in one: the file of a FHIR R4 Bundle")
	return c
}

// step is what the demo tells of one step.
type step struct {
	Title        string   `json:"title"`
	Happened     []string `json:"happened"`
	Learned      []string `json:"learned"`
	Milliseconds int64    `json:"milliseconds"`
}

// demo is the story: the three who take part, and what they hand each other.
type demo struct {
	*app
	folder string
	bundle []byte

	chain                     *chain
	store                     *wallet.Store
	patient, clinic, hospital *wallet.Wallet
	request                   *consent.RequestDocument
	grant                     *consent.GrantDocument
}

func runDemo(ctx context.Context, o *demoOptions) (err error) {
	d := &demo{app: o.app, bundle: record}
	if o.bundle != "" {
		if d.bundle, err = os.ReadFile(o.bundle); err != nil {
			return fmt.Errorf("open the record: %w", err)
		}
	}
	if d.folder, err = os.MkdirTemp("", "assent-demo-"); err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer os.RemoveAll(d.folder)
	defer d.close()

	steps := []struct {
		title string
		do    func(context.Context, *step) error
	}{
		{"A chain of its own", d.start},
		{"Three keys, three cards", d.meet},
		{"The clinic asks", d.ask},
		{"The patient gives less", d.give},
		{"The clinic uses it, the hospital releases", d.use},
		{"Others try", d.attack},
		{"The patient takes it back", d.takeBack},
		{"What an outsider saw", d.observe},
	}
	started := time.Now()
	done := []step{}
	for i, s := range steps {
		told := step{Title: s.title, Happened: []string{}, Learned: []string{}}
		began := time.Now()
		if err := s.do(ctx, &told); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(s.title), err)
		}
		told.Milliseconds = time.Since(began).Milliseconds()
		done = append(done, told)
		if !o.json {
			told.print(o.stdout, i+1)
		}
	}
	total := time.Since(started)
	type story struct {
		Steps        []step `json:"steps"`
		Milliseconds int64  `json:"milliseconds"`
	}
	return o.result(story{done, total.Milliseconds()}, func(out io.Writer) {
		fmt.Fprintf(out, "All of it took %.1f s. Nothing of it is left on this computer.\n", total.Seconds())
	})
}

func (s *step) print(out io.Writer, number int) {
	fmt.Fprintf(out, "%d. %s  (%d ms)\n", number, s.Title, s.Milliseconds)
	for _, line := range s.Happened {
		fmt.Fprintf(out, "   %s\n", strings.ReplaceAll(line, "\n", "\n   "))
	}
	for _, line := range s.Learned {
		fmt.Fprintf(out, "   > %s\n", line)
	}
	fmt.Fprintln(out)
}

func (s *step) happened(format string, args ...any) {
	s.Happened = append(s.Happened, fmt.Sprintf(format, args...))
}

func (s *step) learned(who, format string, args ...any) {
	s.Learned = append(s.Learned, who+" learned: "+fmt.Sprintf(format, args...))
}

func (d *demo) close() {
	if d.store != nil {
		d.store.Close()
	}
	if d.chain != nil {
		d.chain.close()
	}
}

func (d *demo) start(ctx context.Context, s *step) (err error) {
	if d.chain, err = openEmbedded(ctx, d.app, filepath.Join(d.folder, "chain")); err != nil {
		return err
	}
	if d.store, err = wallet.OpenStore(ctx, filepath.Join(d.folder, "assent.db")); err != nil {
		return err
	}
	s.happened("An Ethereum node runs inside this program: chain %d.", d.chain.domain.ChainID)
	s.happened("The registry stands at %s, the same address on every chain.", d.chain.domain.Registry)
	return nil
}

func (d *demo) meet(ctx context.Context, s *step) (err error) {
	for _, who := range []struct {
		wallet **wallet.Wallet
		name   string
	}{{&d.patient, "Patient"}, {&d.clinic, "Cardiology clinic"}, {&d.hospital, "Hospital"}} {
		if *who.wallet, err = d.person(); err != nil {
			return err
		}
		card, err := (*who.wallet).Card(ctx, who.name)
		if err != nil {
			return err
		}
		s.happened("%-17s  %s", who.name, card.Card.Account)
		// Each shows the card to the others.
		for _, other := range []*wallet.Wallet{d.patient, d.clinic, d.hospital} {
			if other != nil && other != *who.wallet {
				if err := other.Meet(ctx, card); err != nil {
					return err
				}
				theirs, err := other.Card(ctx, "")
				if err != nil {
					return err
				}
				if err := (*who.wallet).Meet(ctx, theirs); err != nil {
					return err
				}
			}
		}
	}
	s.learned("The chain", "nothing.")
	return nil
}

// person makes a wallet whose secret is only in memory.
func (d *demo) person() (*wallet.Wallet, error) {
	entropy, err := wallet.NewEntropy(rand.Reader)
	if err != nil {
		return nil, err
	}
	defer clear(entropy)
	key, err := wallet.NewKey(entropy)
	if err != nil {
		return nil, err
	}
	documents, err := d.store.Documents(key)
	if err != nil {
		return nil, err
	}
	return &wallet.Wallet{Signer: key, Documents: documents, Registry: d.chain, Domain: d.chain.domain, Now: d.now}, nil
}

func (d *demo) ask(ctx context.Context, s *step) error {
	var asked []consent.Scope
	for _, text := range []string{"patient/Observation.rs?category=laboratory", "patient/MedicationRequest.rs", "patient/Condition.rs"} {
		scope, err := consent.ParseScope(text, "TREAT")
		if err != nil {
			return err
		}
		asked = append(asked, scope)
	}
	now := d.now()
	var err error
	d.request, err = d.clinic.Request(ctx, consent.Request{
		Patient: d.patient.Signer.Address(), Scopes: asked, Holders: []common.Address{{}},
		NotBefore: uint64(now.Unix()), Expires: uint64(now.AddDate(0, 0, 30).Unix()), Reason: "pre-operative review",
	})
	if err != nil {
		return err
	}
	if err := d.patient.Receive(ctx, d.request); err != nil {
		return err
	}
	s.happened("%s", consent.DescribeRequest(d.request))
	s.learned("The patient", "who asks, for what, and why; the signature is the clinic's.")
	s.learned("The chain", "nothing.")
	return nil
}

func (d *demo) give(ctx context.Context, s *step) error {
	draft := wallet.DraftFor(d.request)
	draft.Provisions = wallet.Provide(d.request.Request.Scopes[:2], []common.Address{d.hospital.Signer.Address()})
	names, err := d.patient.Names(ctx)
	if err != nil {
		return err
	}
	s.happened("No conditions, and only what the hospital holds. The patient signs:\n%s", draft.Describe(names))
	if d.grant, err = d.patient.Grant(ctx, draft); err != nil {
		return err
	}
	s.happened("Anchored on the chain: %s", d.grant.Root())
	s.learned("The clinic", "the grant, as a file.")
	s.learned("The chain", "these 32 bytes, which say neither who, nor whom, nor what.")
	return nil
}

// access has the clinic sign an access with what its grant permits.
func (d *demo) access(ctx context.Context, w *wallet.Wallet, scopes ...string) (*consent.AccessDocument, error) {
	holder := d.hospital.Signer.Address()
	wish := wallet.Wish{Scopes: scopes, Holders: []common.Address{holder}}
	fitting, err := wish.Fit(d.grant)
	if err != nil {
		return nil, err
	}
	var asked []consent.Scope
	for _, p := range fitting {
		asked = append(asked, p.Scope)
	}
	return w.Access(ctx, d.grant, holder, asked, common.Hash{})
}

// answer has the hospital answer an access, and the contract decide it as well.
func (d *demo) answer(ctx context.Context, access *consent.AccessDocument) (consent.Answer, error) {
	holder := consent.Holder{
		Domain: d.chain.domain, Account: d.hospital.Signer.Address(), MaxAge: defaultMaxAge,
		Patient: func(_ context.Context, grantor common.Address) (string, error) {
			if grantor != d.patient.Signer.Address() {
				return "", consent.ErrUnknownPatient
			}
			return "", nil
		},
		View: func(ctx context.Context, need consent.Entries) (consent.State, error) {
			return d.chain.remembered(ctx, d.store, need)
		},
		Evaluable: fhir.Evaluable,
		Remember:  d.store.Remember,
	}
	now := uint64(d.now().Unix())
	answer, err := holder.Answer(ctx, access, common.Hash{}, now)
	if err != nil {
		return answer, err
	}
	outcome, link, err := d.chain.Check(ctx, access, now)
	if err == nil && answer.Outcome < consent.WrongDomain && (outcome != answer.Outcome || link != answer.Link) {
		err = fmt.Errorf("the contract says %s at link %d, and this program %s at link %d", outcome, link, answer.Outcome, answer.Link)
	}
	return answer, err
}

func (d *demo) use(ctx context.Context, s *step) error {
	access, err := d.access(ctx, d.clinic)
	if err != nil {
		return err
	}
	answer, err := d.answer(ctx, access)
	if err != nil {
		return err
	}
	if answer.Outcome != consent.Permit {
		return deniedError{answer.Verdict, answer.State}
	}
	s.happened("The clinic signs an access; the hospital and the contract both decide: %s, on block %d.", answer.Outcome, answer.State.Block)
	released, err := fhir.Release(d.bundle, "", &access.Access)
	if err != nil {
		return err
	}
	before := maps.Clone(released.Withheld)
	for kind, n := range released.Counts {
		before[kind] += n
	}
	s.happened("The record has: %s", tally(before))
	s.happened("Released are:   %s", tally(released.Counts))
	s.learned("The clinic", "these resources, byte for byte, and not that there are others.")
	s.learned("The hospital", "of the grant just what the access uses.")
	s.learned("The chain", "nothing: deciding only reads.")

	replayed, err := d.answer(ctx, access)
	if err != nil {
		return err
	}
	s.happened("The same access again: %s.", replayed.Outcome)
	return nil
}

func (d *demo) attack(ctx context.Context, s *step) error {
	// Whoever steals the grant lacks the key that it names.
	thief, err := d.person()
	if err != nil {
		return err
	}
	if _, err := d.access(ctx, thief); err == nil {
		return errors.New("a stolen grant could be used")
	}
	stolen, err := d.access(ctx, d.clinic)
	if err != nil {
		return err
	}
	stolen.Access.Nonce[0] ^= 1
	answer, err := d.answer(ctx, stolen)
	if err != nil {
		return err
	}
	s.happened("An access that somebody altered on its way: %s.", answer.Outcome)

	// Whoever grants herself everything is no patient of the hospital's.
	wide := consent.Scope{Resource: consent.AnyResource, Interactions: consent.Read | consent.Search, Purpose: "TREAT", Sensitivities: consent.AllSensitivities}
	draft := &wallet.Draft{
		Grantee: d.clinic.Signer.Address(), Provisions: []consent.Provision{{Scope: wide}},
		NotBefore: d.request.Request.NotBefore, Expires: d.request.Request.Expires,
	}
	own := d.grant
	defer func() { d.grant = own }()
	if d.grant, err = thief.Grant(ctx, draft); err != nil {
		return err
	}
	access, err := d.clinic.Access(ctx, d.grant, d.hospital.Signer.Address(), []consent.Scope{wide}, common.Hash{})
	if err != nil {
		return err
	}
	if answer, err = d.answer(ctx, access); err != nil {
		return err
	}
	s.happened("A stranger's grant of everything, anchored and well signed: %s.", answer.Outcome)
	s.learned("They", "which rule failed, and nothing of the record.")
	return nil
}

func (d *demo) takeBack(ctx context.Context, s *step) error {
	revocation, err := d.patient.RevokeGrant(ctx, d.grant)
	if err != nil {
		return err
	}
	if err := d.patient.Revoke(ctx, revocation); err != nil {
		return err
	}
	s.happened("One secret is revealed on the chain: %s ended.", number(len(revocation.Grants), "grant"))
	access, err := d.access(ctx, d.clinic)
	if err != nil {
		return err
	}
	answer, err := d.answer(ctx, access)
	if err != nil {
		return err
	}
	s.happened("The clinic signs the same access anew; the hospital and the contract both decide: %s, on block %d.", answer.Outcome, answer.State.Block)
	s.learned("The chain", "32 random bytes.")
	if answer.Outcome != consent.Revoked {
		return fmt.Errorf("a revoked grant gave %s", answer.Outcome)
	}
	return nil
}

func (d *demo) observe(ctx context.Context, s *step) error {
	entries, err := d.chain.observe(ctx, 0)
	if err != nil {
		return err
	}
	for _, e := range entries {
		s.happened("block %d  %-8s  %s", e.Block, e.Event, e.Value)
	}
	s.happened("No name, no address of anybody here, no scope, no purpose, no date but the block's.")
	return nil
}

// tally counts resources in words, the most first.
func tally(counts map[string]int) string {
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	if len(kinds) == 0 {
		return "nothing"
	}
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	return strings.Join(parts, ", ")
}

package wallet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

// rows are a file of a batch.
type rows []wallet.BatchRow

func (r rows) id() common.Hash {
	hash := sha256.New()
	for _, row := range r {
		hash.Write(row.Content[:])
	}
	return common.Hash(hash.Sum(nil))
}

func (r rows) read(*wallet.Batch) wallet.BatchRows {
	return func(_ context.Context, put func(int, func() []wallet.BatchRow) error) error {
		for chunk := range slices.Chunk(r, 3) {
			if err := put(len(chunk), func() []wallet.BatchRow { return slices.Clone(chunk) }); err != nil {
				return err
			}
		}
		return nil
	}
}

// row is a row whose content is what it says.
func (w *world) row(line int, reference string, draft *wallet.Draft) wallet.BatchRow {
	return wallet.BatchRow{
		Position: wallet.Position{Line: line, Column: 1}, Reference: reference, Draft: draft,
		Content: sha256.Sum256(fmt.Append(nil, reference, *draft)),
	}
}

// started makes rows that are made one after the other say the same.
var started = uint64(time.Now().Unix())

// study is a file of n rows for the two grantees in turn, in which all that may
// differ from row to row does.
func (w *world) study(n int, grantees ...common.Address) rows {
	var file rows
	for i := range n {
		text := []string{"patient/Observation.rs?category=laboratory", "patient/Condition.rs", "patient/Immunization.r"}[i%3]
		scope := w.scope(text)
		scope.Sensitivities = []consent.Sensitivities{0, consent.HIV}[i%2]
		draft := w.draft(grantees[i%len(grantees)], text)
		draft.Provisions = wallet.Provide([]consent.Scope{scope}, []common.Address{{byte(i % 2)}})
		draft.Handoffs = uint8(i % 4)
		draft.NotBefore, draft.Expires = started, started+3600
		file = append(file, w.row(i+2, fmt.Sprint("row ", i), draft))
	}
	return file
}

func ignore(wallet.BatchStage, int) {}

// give gives a file, and what it handed out.
func (w *world) give(from *wallet.Wallet, file rows) (lines []string, check *wallet.BatchCheck, err error) {
	w.Helper()
	batch, err := from.OpenBatch(w.Context(), file.id(), file.read)
	if err != nil {
		return nil, nil, err
	}
	defer batch.Close()
	var problems []wallet.Problem
	check, err = batch.Check(w.Context(), func(p wallet.Problem) { problems = append(problems, p) }, ignore)
	if err != nil || check.Problems > 0 {
		return nil, check, errors.Join(err, problemsError(problems))
	}
	err = batch.Give(w.Context(), func(_ string, document []byte) error {
		lines = append(lines, string(document))
		return nil
	}, ignore)
	return lines, check, err
}

type problemsError []wallet.Problem

func (e problemsError) Error() string { return fmt.Sprint([]wallet.Problem(e)) }

func (w *world) mustGive(from *wallet.Wallet, file rows) []*consent.GrantDocument {
	w.Helper()
	lines, _, err := w.give(from, file)
	if err != nil {
		w.Fatal(err)
	}
	return w.documents(lines)
}

func (w *world) documents(lines []string) (documents []*consent.GrantDocument) {
	w.Helper()
	for _, line := range lines {
		d, err := consent.ReadGrant(strings.NewReader(line))
		if err != nil {
			w.Fatal(err)
		}
		documents = append(documents, d)
	}
	return documents
}

// counting counts what is anchored.
type counting struct {
	wallet.Registry
	anchors int
}

func (c *counting) Anchor(ctx context.Context, root common.Hash) ([]common.Hash, error) {
	c.anchors++
	return c.Registry.Anchor(ctx, root)
}

// Each row's grant counts by itself, for what its row says, with an access of
// its grantee that is decided on the chain as the contract decides it; and all
// of them are one entry on the chain.
func TestBatchGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient, clinic, study := w.wallet(nil), w.wallet(nil), w.wallet(nil)
	anchors := &counting{Registry: patient.Registry}
	patient.Registry = anchors
	file := w.study(10, clinic.Signer.Address(), study.Signer.Address())
	grants := w.mustGive(patient, file)
	if len(grants) != len(file) || anchors.anchors != 1 {
		t.Fatalf("%d grants of %d rows, with %d entries", len(grants), len(file), anchors.anchors)
	}
	salts := make(map[common.Hash]bool)
	client := w.client(1)
	for i, grant := range grants {
		draft := file[i].Draft
		g := &grant.Grant
		if g.Grantor != patient.Signer.Address() || g.Grantee != draft.Grantee || g.NotBefore != draft.NotBefore || g.Expires != draft.Expires || g.Handoffs != draft.Handoffs || len(g.Revocations) != 4 {
			t.Errorf("row %d gives %+v", i, g)
		}
		var given []consent.Provision
		for _, o := range grant.Provisions {
			if salts[o.Provision.Salt] {
				t.Errorf("row %d has a salt of another", i)
			}
			salts[o.Provision.Salt] = true
			o.Provision.Salt = common.Hash{}
			given = append(given, o.Provision)
		}
		if !slices.Equal(given, draft.Provisions) {
			t.Errorf("row %d gives %v", i, given)
		}
		user := []*wallet.Wallet{clinic, study}[i%2]
		p := draft.Provisions[len(draft.Provisions)-1]
		holder := p.Holder
		if holder == (common.Address{}) {
			holder = common.Address{9}
		}
		access, err := user.Access(t.Context(), grant, holder, []consent.Scope{p.Scope}, common.Hash{})
		if err != nil {
			t.Fatal(err)
		}
		examination := consent.Examine(access, nil)
		state, err := patient.Registry.Read(t.Context(), examination.Entries())
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := examination.Decide(state, uint64(time.Now().Unix()))
		if err != nil || verdict.Outcome != consent.Permit {
			t.Errorf("row %d: %+v, %v", i, verdict, err)
		}
		if outcome, _, err := client.Check(t.Context(), access, uint64(time.Now().Unix())); err != nil || outcome != consent.Permit {
			t.Errorf("row %d: the contract says %s, %v", i, outcome, err)
		}
	}
	// The wallet has them like any others.
	listed, err := patient.Grants(t.Context())
	if err != nil || len(listed) != len(file) {
		t.Fatalf("the wallet has %d grants, %v", len(listed), err)
	}
	for i := range listed {
		if listed[i].Verdict.Outcome != consent.Permit || !listed[i].Given || listed[i].State != wallet.Anchored || listed[i].Document.ID() != grants[i].ID() {
			t.Errorf("grant %d is %+v", i, listed[i])
		}
	}
	if found, err := patient.Find(t.Context(), grants[7].ID().Hex()[:20]); err != nil || found.ID() != grants[7].ID() {
		t.Errorf("found %v, %v", found, err)
	}
	if overview, err := patient.Overview(t.Context()); err != nil || len(overview.Grants) != len(file) {
		t.Errorf("the overview: %v", err)
	}
}

// Each way to take back ends what it is for, and nothing else.
func TestBatchRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	one, other := common.Address{1}, common.Address{2}
	file := w.study(6, one, other)
	grants := w.mustGive(patient, file)
	second := w.study(2, one)
	second[0].Reference, second[1].Reference = "second 0", "second 1"
	second[0].Content, second[1].Content = [32]byte{1}, [32]byte{2}
	another := w.mustGive(patient, second)
	alone, err := patient.Grant(t.Context(), w.draft(one, "patient/Observation.rs"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(map[common.Hash]bool)
	standing := func(what string) {
		t.Helper()
		for _, g := range slices.Concat(grants, another, []*consent.GrantDocument{alone}) {
			want := consent.Permit
			if ended[g.ID()] {
				want = consent.Revoked
			}
			if got := w.outcome(patient, g); got != want {
				t.Errorf("after %s the grant %s is %s, want %s", what, g.ID(), got, want)
			}
		}
	}
	standing("nothing")

	by, err := patient.RevokeRows(t.Context(), file.id(), []string{"row 1"})
	if err != nil || by.Grants != 1 {
		t.Fatal(by, err)
	}
	if err := patient.EndBatch(t.Context(), by); err != nil {
		t.Fatal(err)
	}
	ended[grants[1].ID()] = true
	standing("one row")

	single, err := patient.RevokeGrant(t.Context(), grants[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := patient.Revoke(t.Context(), single); err != nil {
		t.Fatal(err)
	}
	ended[grants[2].ID()] = true
	standing("one grant")

	if _, err := patient.RevokeRows(t.Context(), file.id(), []string{"second 0"}); err == nil {
		t.Error("a row of another batch was found in this one")
	}
	all, err := patient.RevokeBatch(t.Context(), file.id())
	if err != nil || all.Grants != len(file) {
		t.Fatal(all, err)
	}
	if err := patient.EndBatch(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, g := range grants {
		ended[g.ID()] = true
	}
	standing("the batch")
	records, err := patient.Documents.List(t.Context(), consent.KindGrant)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		if (record.State == wallet.Revoked) != ended[record.ID] {
			t.Errorf("the store has the grant %s as %s", record.ID, record.State)
		}
	}
	if _, _, err := w.give(patient, file); !errors.Is(err, wallet.ErrBatchRevoked) {
		t.Errorf("the batch again: %v", err)
	}

	// A wallet that never saw the batch ends it with the file alone.
	elsewhere := newWorld(t)
	restored := &wallet.Wallet{Signer: patient.Signer, Registry: patient.Registry, Domain: patient.Domain, Now: time.Now, Restored: true}
	if restored.Documents, err = elsewhere.store.Documents(patient.Signer.(*wallet.Key)); err != nil {
		t.Fatal(err)
	}
	blind, err := restored.RevokeBatch(t.Context(), second.id())
	if err != nil || blind.Grants != 0 {
		t.Fatal(blind, err)
	}
	if err := restored.EndBatch(t.Context(), blind); err != nil {
		t.Fatal(err)
	}
	for _, g := range another {
		ended[g.ID()] = true
	}
	standing("the second batch")
}

// What was given for a reference is not given again: not by the same file, and
// not by a longer one. Where a reference says something else, nothing is given.
func TestBatchReferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	anchors := &counting{Registry: patient.Registry}
	patient.Registry = anchors
	file := w.study(7, common.Address{1}, common.Address{2})
	first, _, err := w.give(patient, file)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := w.give(patient, file)
	if err != nil || !slices.Equal(first, again) {
		t.Errorf("the second time it is not the same, %v", err)
	}
	longer := slices.Concat(w.study(9, common.Address{1}, common.Address{2})[7:], file) // the new ones first
	lines, check, err := w.give(patient, longer)
	if err != nil || check.Given != 7 || check.Summary.Grants != 2 || !slices.Equal(lines[2:], first) {
		t.Errorf("a longer file: %+v, %v", check, err)
	}
	if anchors.anchors != 2 {
		t.Errorf("%d entries on the chain", anchors.anchors)
	}
	if grants, err := patient.Grants(t.Context()); err != nil || len(grants) != 9 {
		t.Errorf("%d grants in the wallet, %v", len(grants), err)
	}
	if _, err := patient.RevokeRows(t.Context(), longer.id(), []string{"row 8"}); err != nil {
		t.Error(err)
	}

	changed := slices.Clone(file)
	changed[3] = w.row(5, "row 3", w.draft(common.Address{1}, "patient/Device.r"))
	twice := append(slices.Clone(longer), w.row(99, "row 0", file[0].Draft))
	itself := append(slices.Clone(file), w.row(9, "to itself", w.draft(patient.Signer.Address(), "patient/Device.r")))
	broken := append(slices.Clone(file), wallet.BatchRow{Problems: []wallet.Problem{{Text: "broken"}}})
	for want, file := range map[string]rows{
		"{{5 1} reference the reference “row 3” was given before and said something else": changed,
		"{{99 1} reference line 2 has the same reference “row 0”":                         twice,
		"{{9 1}  the grant would go to this wallet itself":                                itself,
		"broken": broken,
	} {
		if _, check, err := w.give(patient, file); err == nil || !strings.Contains(err.Error(), want) || check.Problems != 1 {
			t.Errorf("%v: want %q", err, want)
		}
	}
	if anchors.anchors != 2 {
		t.Error("a file with problems was given")
	}
}

// A row whose grant does not count any more is not handed out as given, whichever
// way that was ended, and stays a problem until it has another reference.
func TestBatchGivenAndEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	all := w.study(8, common.Address{1}, common.Address{2})
	for i := range all { // as rows say it that name no dates
		all[i].Content = [32]byte{byte(i)}
	}
	file, longer := all[:6], all
	grants := w.mustGive(patient, file)
	refused := func(what string, file rows, want ...string) {
		t.Helper()
		lines, check, err := w.give(patient, file)
		if err == nil || len(lines) != 0 || check.Problems != len(want) {
			t.Errorf("%s: %d lines, %+v, %v", what, len(lines), check, err)
			return
		}
		for _, text := range want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want %s", what, err, text)
			}
		}
	}
	if err := patient.EndBatch(t.Context(), must(patient.RevokeRows(t.Context(), file.id(), []string{"row 1"}))); err != nil {
		t.Fatal(err)
	}
	if err := patient.Revoke(t.Context(), must(patient.RevokeGrant(t.Context(), grants[4]))); err != nil {
		t.Fatal(err)
	}
	two := []string{
		"{{3 1} reference the grant of the reference “row 1” was taken back: give it another reference}",
		"{{6 1} reference the grant of the reference “row 4” was taken back: give it another reference}",
	}
	refused("a longer file", longer, two...)
	refused("the same file", file, two...)
	rest := slices.Concat(longer[:1], longer[2:4], longer[5:])
	if lines, check, err := w.give(patient, rest); err != nil || check.Given != 4 || len(lines) != 6 {
		t.Errorf("without them: %+v, %v", check, err)
	}

	// The chain tells it of a whole batch, where this store does not.
	elsewhere := newWorld(t)
	restored := &wallet.Wallet{Signer: patient.Signer, Registry: patient.Registry, Domain: patient.Domain, Now: time.Now, Restored: true}
	var err error
	if restored.Documents, err = elsewhere.store.Documents(patient.Signer.(*wallet.Key)); err != nil {
		t.Fatal(err)
	}
	if err := restored.EndBatch(t.Context(), must(restored.RevokeBatch(t.Context(), rest.id()))); err != nil {
		t.Fatal(err)
	}
	refused("another file with two rows of it", longer[5:], "{{8 1} reference the grant of the reference “row 6” was taken back", "“row 7” was taken back")

	patient.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	refused("the same file two hours later", file, append(two, "“row 0” ended on ", "“row 2” ended on ", "“row 3” ended on ", "“row 5” ended on ")...)
	later := w.row(9, "row 9", w.draft(common.Address{1}, "patient/Device.r"))
	later.Draft.Expires += 3 * 3600
	again := longer[0]
	again.Draft = later.Draft
	refused("a row of two hours ago", rows{again, later}, "{{2 1} reference the grant of the reference “row 0” ended on ")
}

// Wherever a batch is cut off, it comes out the same in the end, and is one entry
// on the chain; another batch does not get in its way, but for its references.
func TestBatchCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	key := patient.Signer
	full := patient.Registry
	file := w.study(8, common.Address{1}, common.Address{2})
	overlapping := w.study(9, common.Address{1}, common.Address{2})[5:]

	stop := errors.New("cut off here")
	cutOff := func(file rows, at wallet.BatchStage, done int) (lines []string) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		batch, err := patient.OpenBatch(ctx, file.id(), file.read)
		if err != nil {
			t.Fatal(err)
		}
		defer batch.Close()
		if _, err := patient.OpenBatch(t.Context(), file.id(), file.read); !errors.Is(err, wallet.ErrBatchBusy) {
			t.Errorf("two at once: %v", err)
		}
		progress := func(stage wallet.BatchStage, n int) {
			if stage == at && n >= done {
				cancel(stop)
			}
		}
		if _, err := batch.Check(ctx, func(p wallet.Problem) { t.Error(p) }, progress); errors.Is(err, stop) {
			return nil
		} else if err != nil {
			t.Fatal(err)
		}
		err = batch.Give(ctx, func(_ string, document []byte) error {
			lines = append(lines, string(document))
			return nil
		}, progress)
		if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
			t.Fatalf("cut off at %s: %v", at, err)
		}
		return lines
	}
	cutOff(file, wallet.BatchChecked, 3)
	cutOff(file, wallet.BatchPrepared, 3)
	// Nothing is known of it yet, and nobody has to know it again.
	if _, check, err := w.give(patient, rows{overlapping[3]}); err != nil || check.Given != 0 {
		t.Fatal(err)
	}
	patient.Registry = &chain{Client: full.(*chain).Client, cut: true}
	if _, _, err := w.give(patient, file); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	patient.Registry = full
	if _, _, err := w.give(patient, overlapping); err == nil || !strings.Contains(err.Error(), "in another batch that was cut off") {
		t.Errorf("references of a batch that was cut off: %v", err)
	}
	// The clock has gone on: what it says stays what was agreed to.
	patient.Now = func() time.Time { return time.Now().Add(30 * time.Minute) }
	printed := cutOff(file, wallet.BatchSigned, 3)
	if len(printed) == 0 {
		t.Fatal("nothing was handed out before it was cut off")
	}
	whole, _, err := w.give(patient, file)
	if err != nil || !slices.Equal(whole[:len(printed)], printed) {
		t.Errorf("it went on as something else, %v", err)
	}
	again, _, err := w.give(patient, file)
	if err != nil || !slices.Equal(whole, again) {
		t.Errorf("afterwards it is not the same, %v", err)
	}
	roots := 0
	for event, err := range w.client(1).Events(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Name == "Anchored" && event.Key == w.documents(whole)[0].Root() {
			roots++
		}
	}
	if grants, err := patient.Grants(t.Context()); err != nil || len(grants) != 9 || roots != 1 {
		t.Errorf("%d grants, %d entries, %v", len(grants), roots, err)
	}

	// One that is taken back before it came to its end is over, and its
	// references are free.
	patient.Registry = &chain{Client: full.(*chain).Client, cut: true}
	dropped := w.study(12, common.Address{1})[9:]
	if _, _, err := w.give(patient, dropped); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	patient.Registry = full
	revocation, err := patient.RevokeBatch(t.Context(), dropped.id())
	if err != nil || revocation.Grants != 3 {
		t.Fatal(revocation, err)
	}
	if err := patient.EndBatch(t.Context(), revocation); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.give(patient, dropped); !errors.Is(err, wallet.ErrBatchRevoked) {
		t.Errorf("what was taken back: %v", err)
	}
	if lines, _, err := w.give(patient, dropped[1:]); err != nil || len(lines) != 2 {
		t.Errorf("its references in another file: %v", err)
	}
	if patient.Signer != key {
		t.Fatal("another key")
	}
}

// relayed is a chain behind a relay, which puts a root into a tree with others.
type relayed struct{ *chain }

func (r relayed) Anchor(ctx context.Context, root common.Hash) ([]common.Hash, error) {
	tree := consent.NewTree([]common.Hash{{1}, {2}, root})
	if _, err := r.chain.Anchor(ctx, tree.Root()); err != nil {
		return nil, err
	}
	return tree.Proof(2), nil
}

// Where a relay anchors the batch together with others, every proof leads to
// what is on the chain.
func TestBatchThroughRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	patient.Registry = relayed{patient.Registry.(*chain)}
	for _, grant := range w.mustGive(patient, w.study(5, common.Address{1})) {
		if got := w.outcome(patient, grant); got != consent.Permit {
			t.Errorf("the grant is %s", got)
		}
	}
}

// A file that changes while it is given is given up, whatever changes in it.
func TestBatchChangedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	file := w.study(5, common.Address{1})
	other := w.row(4, "row 2", w.draft(common.Address{9}, "patient/Device.r"))
	for name, changed := range map[string]rows{
		"shorter": file[:4],
		"longer":  append(slices.Clone(file), w.row(9, "row 9", file[0].Draft)),
		"other":   slices.Concat(file[:2], rows{other}, file[3:]),
	} {
		now := file
		read := func(b *wallet.Batch) wallet.BatchRows {
			return func(ctx context.Context, put func(int, func() []wallet.BatchRow) error) error {
				return now.read(b)(ctx, put)
			}
		}
		batch, err := patient.OpenBatch(t.Context(), sha256.Sum256([]byte(name)), read)
		if err != nil {
			t.Fatal(err)
		}
		if check, err := batch.Check(t.Context(), func(wallet.Problem) {}, ignore); err != nil || check.Problems > 0 {
			t.Fatal(check, err)
		}
		stage := func(s wallet.BatchStage, _ int) {
			if s == wallet.BatchAnchored && name == "other" {
				now = changed
			}
		}
		if name != "other" {
			now = changed
		}
		err = batch.Give(t.Context(), func(string, []byte) error { return nil }, stage)
		if !errors.Is(err, wallet.ErrBatchChanged) {
			t.Errorf("%s: %v", name, err)
		}
		batch.Close()
		if name != "other" {
			continue
		}
		now = file // and it goes on with what it was
		if batch, err = patient.OpenBatch(t.Context(), sha256.Sum256([]byte(name)), read); err != nil {
			t.Fatal(err)
		}
		if _, err := batch.Check(t.Context(), func(p wallet.Problem) { t.Error(p) }, ignore); err != nil {
			t.Fatal(err)
		}
		if err := batch.Give(t.Context(), func(string, []byte) error { return nil }, ignore); err != nil {
			t.Error(err)
		}
		batch.Close()
	}
}

// What is signed is the same for the same row, and shares no salt, no root and no
// secret with what differs from it in anything.
func TestBatchDerivation(t *testing.T) {
	key, err := wallet.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	domain := consent.Domain{ChainID: 1337, Registry: registry.Address}
	scope, err := consent.ParseScope("patient/Observation.rs", "TREAT")
	if err != nil {
		t.Fatal(err)
	}
	type said struct {
		domain     consent.Domain
		grant      consent.Grant
		provisions []consent.Provision
		epochs     wallet.Epochs
		batch      common.Hash
		reference  string
	}
	sign := func(t interface{ Fatal(...any) }, s said) *consent.GrantDocument {
		d, err := key.SignBatchGrant(s.domain, s.grant, s.provisions, s.epochs, s.batch, s.reference)
		if err != nil {
			t.Fatal(err)
		}
		id, err := key.BatchGrantID(s.domain, s.grant, s.provisions, s.epochs, s.batch, s.reference)
		if err != nil || id != d.ID() {
			t.Fatal("the id is another", err)
		}
		return d
	}
	base := said{
		domain: domain, grant: consent.Grant{Grantee: common.Address{1}, NotBefore: 1, Expires: 2},
		provisions: []consent.Provision{{Scope: scope}}, batch: common.Hash{1}, reference: "a",
	}
	changes := []func(*said){
		func(s *said) { s.domain.ChainID++ },
		func(s *said) { s.grant.Grantee[19]++ },
		func(s *said) { s.grant.NotBefore, s.grant.Expires = 0, s.grant.Expires+1 },
		func(s *said) { s.grant.Expires++ },
		func(s *said) { s.grant.Handoffs++ },
		func(s *said) { s.provisions[0].Holder[0]++ },
		func(s *said) { s.provisions[0].Scope.Resource = "Condition" },
		func(s *said) { s.provisions[0].Scope.Interactions = consent.Read },
		func(s *said) { s.provisions[0].Scope.Filter = "code=1" },
		func(s *said) { s.provisions[0].Scope.DataFrom++ },
		func(s *said) { s.provisions[0].Scope.DataUntil = s.provisions[0].Scope.DataFrom + 9 },
		func(s *said) { s.provisions[0].Scope.Purpose = "HRESCH" },
		func(s *said) { s.provisions[0].Scope.Sensitivities = 1 },
		func(s *said) { s.provisions = append(s.provisions, s.provisions[0]) },
		func(s *said) { s.epochs.Grantee++ },
		func(s *said) { s.epochs.All++ },
		func(s *said) { s.batch[31]++ },
		func(s *said) { s.reference += "b" },
	}
	rapid.Check(t, func(t *rapid.T) {
		s := base
		s.provisions = slices.Clone(base.provisions)
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(changes)-1), 0, 4).Draw(t, "before") {
			changes[i](&s)
		}
		first, second := sign(t, s), sign(t, s)
		one, _ := first.MarshalJSON()
		two, _ := second.MarshalJSON()
		if !bytes.Equal(one, two) {
			t.Fatalf("the same comes out as\n%s\nand\n%s", one, two)
		}
		s.provisions = slices.Clone(s.provisions)
		changes[rapid.IntRange(0, len(changes)-1).Draw(t, "change")](&s)
		other := sign(t, s)
		if slices.Equal(one, mustJSON(other)) {
			return // the change came to nothing
		}
		if other.Grant.Provisions == first.Grant.Provisions || other.Provisions[0].Provision.Salt == first.Provisions[0].Provision.Salt ||
			other.Grant.Revocations[0] == first.Grant.Revocations[0] {
			t.Fatal("what differs shares a salt, a root or a secret")
		}
	})
}

func mustJSON(d *consent.GrantDocument) []byte {
	text, err := d.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return text
}

// More grants than a node is asked about at once are listed and taken back all
// the same.
func TestBatchLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of grants")
	}
	t.Parallel()
	w := newWorld(t)
	patient := w.wallet(nil)
	file := w.study(4100, common.Address{1}, common.Address{2}, common.Address{3})
	grants := w.mustGive(patient, file)
	phases := func() map[wallet.Phase]int {
		t.Helper()
		listed, err := patient.Grants(t.Context())
		if err != nil || len(listed) != len(file) {
			t.Fatalf("%d grants, %v", len(listed), err)
		}
		overview, err := patient.Overview(t.Context())
		if err != nil || overview.Unread != nil || len(overview.Grants) != len(file) {
			t.Fatalf("the overview: %v, %v", err, overview.Unread)
		}
		count := make(map[wallet.Phase]int)
		for i := range listed {
			if phase := overview.Grants[i].Phase(); phase != listed[i].Phase() {
				t.Errorf("the list says %s, and the overview %s", listed[i].Phase(), phase)
			}
			count[listed[i].Phase()]++
		}
		return count
	}
	if got := phases(); got[wallet.PhaseActive] != len(file) {
		t.Errorf("the grants are %v", got)
	}
	found, err := patient.Find(t.Context(), grants[4000].ID().Hex())
	if err != nil || found.ID() != grants[4000].ID() {
		t.Fatal(found, err)
	}
	if _, err := patient.Find(t.Context(), common.Hash{1}.Hex()); !errors.Is(err, wallet.ErrNotFound) {
		t.Errorf("an id that nobody has: %v", err)
	}
	if err := patient.EndBatch(t.Context(), must(patient.RevokeRows(t.Context(), file.id(), []string{"row 4000", "row 0"}))); err != nil {
		t.Fatal(err)
	}
	if got := phases(); got[wallet.PhaseRevoked] != 2 || got[wallet.PhaseActive] != len(file)-2 {
		t.Errorf("two rows later the grants are %v", got)
	}
	// The switch of a grantee throws those of the batch as well.
	if err := patient.Revoke(t.Context(), must(patient.RevokeGrantee(t.Context(), common.Address{2}))); err != nil {
		t.Fatal(err)
	}
	if got := phases(); got[wallet.PhaseRevoked] != 2+4100/3 && got[wallet.PhaseRevoked] != 3+4100/3 {
		t.Errorf("one grantee later the grants are %v", got)
	}
	// What is given to it afterwards counts again, in a batch as well.
	later := rows{w.row(2, "later", w.draft(common.Address{2}, "patient/Device.r"))}
	if got := w.outcome(patient, w.mustGive(patient, later)[0]); got != consent.Permit {
		t.Errorf("what is given afterwards is %s", got)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

package wallet

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// ledger is a registry in memory: what is posted is there at once.
type ledger struct {
	block    uint64
	now      func() time.Time
	anchored map[common.Hash]uint64
	revoked  map[common.Hash]uint64
	err      error // of every call, where not nil
}

func newLedger(now func() time.Time) *ledger {
	return &ledger{block: 1, now: now, anchored: map[common.Hash]uint64{}, revoked: map[common.Hash]uint64{}}
}

func (l *ledger) Read(_ context.Context, need consent.Entries) (consent.State, error) {
	s := consent.State{Block: l.block, Time: uint64(l.now().Unix()), Anchored: map[common.Hash]uint64{}, Revoked: map[common.Hash]uint64{}, Retired: map[common.Address]uint64{}}
	for _, root := range need.Anchors {
		s.Anchored[root] = l.anchored[root]
	}
	for _, hash := range need.Revocations {
		s.Revoked[hash] = l.revoked[hash]
	}
	for _, account := range need.Accounts {
		s.Retired[account] = 0
	}
	for _, query := range need.Signatures { // no account is a contract
		if s.Signed == nil {
			s.Signed = make(map[consent.SignatureQuery]bool)
		}
		s.Signed[query] = false
	}
	return s, l.err
}

func (l *ledger) Settled(_ context.Context, hashes []common.Hash) (map[common.Hash]uint64, error) {
	settled := map[common.Hash]uint64{}
	for _, hash := range hashes {
		settled[hash] = l.revoked[hash]
	}
	return settled, l.err
}

func (l *ledger) IsContract(context.Context, common.Address) (bool, error) { return false, l.err }

func (l *ledger) Anchor(_ context.Context, root common.Hash) ([]common.Hash, error) {
	if l.err == nil {
		l.block++
		l.anchored[root] = uint64(l.now().Unix())
	}
	return nil, l.err
}

func (l *ledger) Revoke(_ context.Context, secrets []common.Hash) error {
	if l.err == nil {
		l.block++
		for _, secret := range secrets {
			l.revoked[consent.Revocation(secret)] = uint64(l.now().Unix())
		}
	}
	return l.err
}

func (l *ledger) Retire(context.Context, common.Address, []byte) error { return l.err }

// people are a patient and a clinic on one ledger, with a clock that tests move.
type people struct {
	patient, clinic *Wallet
	ledger          *ledger
	clock           time.Time
}

func newPeople(t *testing.T) *people {
	t.Helper()
	p := &people{clock: time.Unix(1_790_000_000, 0)}
	now := func() time.Time { return p.clock }
	p.ledger = newLedger(now)
	person := func() *Wallet {
		key := newTestKey(t)
		store, _ := newTestStore(t)
		return &Wallet{Signer: key, Documents: documentsOf(t, store, key), Registry: p.ledger, Domain: domain, Now: now}
	}
	p.patient, p.clinic = person(), person()
	if _, err := p.clinic.Card(t.Context(), "Cardiology clinic"); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *people) request(t *testing.T, scopes ...consent.Scope) *consent.RequestDocument {
	t.Helper()
	now := uint64(p.clock.Unix())
	request, err := p.clinic.Request(t.Context(), consent.Request{
		Patient: p.patient.Signer.Address(), Scopes: scopes, Holders: []common.Address{holder},
		NotBefore: now, Expires: now + 30*24*60*60, Reason: "pre-operative review",
	})
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestARequestWaitsUntilItIsAnswered(t *testing.T) {
	p := newPeople(t)
	labs := scope(t, "patient/Observation.rs?category=laboratory")
	first, second := p.request(t, labs), p.request(t, labs)
	for _, request := range []*consent.RequestDocument{first, first, second} {
		if _, err := p.patient.Take(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := p.patient.Waiting(t.Context())
	if err != nil || len(waiting) != 2 {
		t.Fatalf("waiting: %d, %v", len(waiting), err)
	}
	if !waiting[0].First || waiting[1].First {
		t.Errorf("first of its key: %v, %v", waiting[0].First, waiting[1].First)
	}

	draft, err := DraftWithin(first, ChoiceOf(&first.Request))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.patient.Grant(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	if err := p.patient.Deny(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if waiting, err = p.patient.Waiting(t.Context()); err != nil || len(waiting) != 0 {
		t.Errorf("waiting after both answers: %d, %v", len(waiting), err)
	}
	var denied *DeniedError
	if _, err := p.patient.Take(t.Context(), second); !errors.As(err, &denied) || denied.At != uint64(p.clock.Unix()) {
		t.Errorf("taking what was denied: %v", err)
	}
	var answered *AnsweredError
	if _, err := p.patient.Take(t.Context(), first); !errors.As(err, &answered) {
		t.Errorf("taking what was answered: %v", err)
	}
	if err := p.patient.Deny(t.Context(), first); !errors.As(err, &answered) {
		t.Errorf("denying what was answered: %v", err)
	}
	if err := p.patient.Deny(t.Context(), second); err != nil {
		t.Errorf("denying twice: %v", err)
	}
}

func TestARequestThatDoesNotCountIsNotKept(t *testing.T) {
	p := newPeople(t)
	request := p.request(t, scope(t, "patient/Immunization.rs"))
	request.Request.Reason = "another"
	if _, err := p.patient.Take(t.Context(), request); err == nil {
		t.Error("a request whose signature is of another text was taken")
	}
	if waiting, err := p.patient.Waiting(t.Context()); err != nil || len(waiting) != 0 {
		t.Errorf("waiting: %d, %v", len(waiting), err)
	}
}

func TestPeopleAreVerifiedByName(t *testing.T) {
	p := newPeople(t)
	clinic := p.clinic.Signer.Address()
	meet := func(name string) {
		t.Helper()
		card, err := p.clinic.Card(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.patient.Meet(t.Context(), card); err != nil {
			t.Fatal(err)
		}
	}
	who := func() Person {
		t.Helper()
		people, err := p.patient.People(t.Context())
		if err != nil || len(people) != 1 {
			t.Fatalf("people: %v, %v", people, err)
		}
		return people[0]
	}
	if err := p.patient.Verify(t.Context(), clinic); err == nil {
		t.Error("somebody without a card was verified")
	}
	began := uint64(p.clock.Unix())
	meet("Cardiology clinic")
	if got, want := who(), (Person{clinic, "Cardiology clinic", began, 0}); got != want {
		t.Errorf("met: %v, want %v", got, want)
	}
	p.clock = p.clock.Add(time.Hour)
	if err := p.patient.Verify(t.Context(), clinic); err != nil {
		t.Fatal(err)
	}
	if got := who(); got.Verified != began+3600 || got.Since != began {
		t.Errorf("verified: %+v", got)
	}
	p.clock = p.clock.Add(time.Hour)
	meet("Riverside Hospital")
	if got, want := who(), (Person{clinic, "Riverside Hospital", began, 0}); got != want {
		t.Errorf("under another name: %v, want %v", got, want)
	}
	if _, err := p.patient.Card(t.Context(), "me"); err != nil {
		t.Fatal(err)
	}
	who() // still one: oneself is not among them
}

func TestOverviewTellsWhatHappened(t *testing.T) {
	p := newPeople(t)
	request := p.request(t, scope(t, "patient/Observation.rs?category=laboratory"))
	if _, err := p.patient.Take(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	p.clock = p.clock.Add(time.Minute)
	draft, err := DraftWithin(request, ChoiceOf(&request.Request))
	if err != nil {
		t.Fatal(err)
	}
	grant, err := p.patient.Sign(t.Context(), draft)
	if err != nil {
		t.Fatal(err)
	}
	look := func() (*Overview, Entry) {
		t.Helper()
		o, err := p.patient.Overview(t.Context())
		if err != nil || len(o.Grants) != 1 {
			t.Fatalf("overview: %d grants, %v", len(o.Grants), err)
		}
		return o, o.Grants[0]
	}
	if o, e := look(); o.Unread != nil || e.Phase() != PhaseSigned || e.Anchored != 0 || e.With() != p.clinic.Signer.Address() {
		t.Errorf("signed: %s, anchored at %d", e.Phase(), e.Anchored)
	}
	p.clock = p.clock.Add(time.Minute)
	p.ledger.err = errors.New("the chain is down")
	if err := p.patient.Post(t.Context(), grant); err == nil {
		t.Error("posted without a chain")
	}
	if o, e := look(); o.Unread == nil || e.Phase() != PhaseUnknown || e.Anchored != 0 {
		t.Errorf("without a chain: %v, %s", o.Unread, e.Phase())
	}
	p.ledger.err = nil
	if _, e := look(); e.Phase() != PhaseSent {
		t.Errorf("sent: %s", e.Phase())
	}
	if err := p.patient.Post(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	if _, e := look(); e.Phase() != PhaseActive || e.Anchored != uint64(p.clock.Unix()) {
		t.Errorf("anchored: %s at %d", e.Phase(), e.Anchored)
	}
	p.clock = p.clock.Add(time.Minute)
	revocation, err := p.patient.RevokeGrant(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.patient.Revoke(t.Context(), revocation); err != nil {
		t.Fatal(err)
	}
	o, e := look()
	if e.Phase() != PhaseRevoked || e.Revoked != uint64(p.clock.Unix()) {
		t.Errorf("revoked: %s at %d", e.Phase(), e.Revoked)
	}
	var acts []Act
	for _, event := range o.Events {
		acts = append(acts, event.Act)
	}
	if want := []Act{ActRevoked, ActAnchored, ActSigned, ActAsked}; !slices.Equal(acts, want) {
		t.Errorf("acts: %v, want %v", acts, want)
	}
}

func TestAGrantThatWasUsedIsAmongWhatHappened(t *testing.T) {
	p := newPeople(t)
	labs := scope(t, "patient/Observation.rs?category=laboratory")
	draft, err := DraftTo(p.clinic.Signer.Address(), &Choice{Scopes: []consent.Scope{labs}, Holders: []common.Address{holder}, Expires: uint64(p.clock.Unix()) + 60})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := p.patient.Grant(t.Context(), draft)
	if err != nil {
		t.Fatal(err)
	}
	p.clock = p.clock.Add(time.Second)
	if _, err := p.clinic.Access(t.Context(), grant, holder, []consent.Scope{labs}, common.Hash{}); err != nil {
		t.Fatal(err)
	}
	p.clock = p.clock.Add(time.Hour)
	o, err := p.clinic.Overview(t.Context())
	if err != nil || len(o.Events) != 3 || len(o.Grants) != 1 {
		t.Fatalf("overview: %v, %v", o, err)
	}
	for i, want := range []Act{ActExpired, ActReceived, ActAnchored} {
		if e := o.Events[i]; e.Act != want || e.Grant != grant.ID() || e.Other != p.patient.Signer.Address() {
			t.Errorf("event %d: %+v, want %s", i, e, want)
		}
	}
	if e := o.Grants[0]; e.Given || e.Phase() != PhaseExpired {
		t.Errorf("the grant is given %v, %s", e.Given, e.Phase())
	}
}

func TestAPhaseForEveryVerdict(t *testing.T) {
	for outcome, want := range map[consent.Outcome]Phase{
		consent.Permit: PhaseActive, consent.NotYetValid: PhaseNotYet, consent.Expired: PhaseExpired,
		consent.Revoked: PhaseRevoked, consent.Retired: PhaseRetired, consent.NotAnchored: PhaseNotAnchored,
		consent.Undecided: PhaseUnknown, consent.BadGrantSignature: PhaseInvalid, consent.Malformed: PhaseInvalid, consent.BrokenChain: PhaseInvalid,
	} {
		s := Standing{State: Anchored, Verdict: consent.Verdict{Outcome: outcome}}
		if got := s.Phase(); got != want {
			t.Errorf("%s: %s, want %s", outcome, got, want)
		}
	}
}

func TestAChoiceNeverWidens(t *testing.T) {
	p := newPeople(t)
	labs := scope(t, "patient/Observation.rs?category=laboratory")
	labs.DataFrom, labs.Sensitivities = 1_600_000_000, consent.Genetic|consent.HIV
	request := p.request(t, labs, scope(t, "patient/Condition.r"))
	other := common.Address{9}
	for name, c := range map[string]struct {
		narrow func(*Choice)
		ok     bool
	}{
		"as asked":                {func(*Choice) {}, true},
		"search only":             {func(c *Choice) { c.Scopes[0].Interactions = consent.Search }, true},
		"one left out":            {func(c *Choice) { c.Scopes[1].Interactions = 0 }, true},
		"all left out":            {func(c *Choice) { c.Scopes[0].Interactions, c.Scopes[1].Interactions = 0, 0 }, false},
		"a category named":        {func(c *Choice) { c.Scopes[1].Filter = "category=problem-list-item" }, true},
		"another category":        {func(c *Choice) { c.Scopes[0].Filter = "category=imaging" }, false},
		"no filter":               {func(c *Choice) { c.Scopes[0].Filter = "" }, false},
		"later data":              {func(c *Choice) { c.Scopes[0].DataFrom++ }, true},
		"earlier data":            {func(c *Choice) { c.Scopes[0].DataFrom-- }, false},
		"a sensitive category":    {func(c *Choice) { c.Scopes[0].Sensitivities = consent.HIV }, true},
		"one that was not asked":  {func(c *Choice) { c.Scopes[0].Sensitivities = consent.STD }, false},
		"more may be done":        {func(c *Choice) { c.Scopes[1].Interactions |= consent.Search }, false},
		"another resource":        {func(c *Choice) { c.Scopes[1].Resource = "*" }, false},
		"another purpose":         {func(c *Choice) { c.Scopes[1].Purpose = "ETREAT" }, false},
		"shorter":                 {func(c *Choice) { c.Expires-- }, true},
		"longer":                  {func(c *Choice) { c.Expires++ }, false},
		"sooner":                  {func(c *Choice) { c.NotBefore-- }, false},
		"another holder":          {func(c *Choice) { c.Holders = []common.Address{other} }, false},
		"any holder":              {func(c *Choice) { c.Holders = []common.Address{{}} }, false},
		"no holder":               {func(c *Choice) { c.Holders = nil }, false},
		"a scope too few":         {func(c *Choice) { c.Scopes = c.Scopes[:1] }, false},
		"a filter out of form":    {func(c *Choice) { c.Scopes[1].Filter = "category" }, false},
		"dates the wrong way":     {func(c *Choice) { c.Scopes[0].DataUntil = 1 }, false},
		"an end where none stood": {func(c *Choice) { c.Scopes[1].DataUntil = 1_700_000_000 }, true},
	} {
		choice := ChoiceOf(&request.Request)
		c.narrow(choice)
		draft, err := DraftWithin(request, choice)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		for _, p := range draft.Provisions {
			if !slices.ContainsFunc(request.Request.Scopes, func(s consent.Scope) bool { return s.Covers(p.Scope) }) {
				t.Errorf("%s: %v is in the draft", name, p.Scope)
			}
		}
	}
	if choice := ChoiceOf(&request.Request); choice.Scopes[0].Sensitivities != 0 {
		t.Error("sensitive categories are taken over by themselves")
	}
	anywhere := p.request(t, labs)
	anywhere.Request.Holders = []common.Address{{}}
	choice := ChoiceOf(&anywhere.Request)
	choice.Holders = []common.Address{other}
	if _, err := DraftWithin(anywhere, choice); err != nil {
		t.Errorf("one holder of any: %v", err)
	}
}

func TestOffersAreScopesWithoutWhatIsSensitive(t *testing.T) {
	for _, offer := range Offers {
		scopes, err := offer.For("TREAT")
		if err != nil || len(scopes) != len(offer.Scopes) {
			t.Errorf("%s: %v", offer.Name, err)
			continue
		}
		for _, s := range scopes {
			if s.Sensitivities != 0 || s.Interactions&^(consent.Read|consent.Search) != 0 {
				t.Errorf("%s gives %v", offer.Name, s)
			}
		}
		draft, err := DraftTo(grantee, &Choice{Scopes: scopes, Holders: []common.Address{holder}, NotBefore: 1, Expires: 2})
		if err != nil || len(draft.Provisions) != len(scopes) {
			t.Errorf("%s: a draft of %v, %v", offer.Name, draft, err)
		}
	}
	if _, err := DraftTo(grantee, &Choice{Holders: []common.Address{holder}}); err == nil {
		t.Error("a draft of nothing")
	}
	if _, err := (Offer{Name: "bad", Scopes: []string{"user/*.rs"}}).For("TREAT"); err == nil {
		t.Error("an offer that is no scope")
	}
}

func TestMetIsRememberedOnce(t *testing.T) {
	p := newPeople(t)
	request := p.request(t, scope(t, "patient/Immunization.rs"))
	began := uint64(p.clock.Unix())
	for range 2 {
		if _, err := p.patient.Take(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		p.clock = p.clock.Add(time.Hour)
	}
	people, err := p.patient.People(t.Context())
	if err != nil || len(people) != 1 || people[0].Since != began {
		t.Errorf("people: %v, %v", people, err)
	}
	document, err := request.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	records, err := p.patient.Documents.List(t.Context(), kindInbox)
	if err != nil || len(records) != 1 || !bytes.Equal(records[0].Document, document) || records[0].Time != began {
		t.Errorf("the inbox has %d records, %v", len(records), err)
	}
}

// A watch remembers what the bytes of a grant say, and asks chain and clock anew.
func TestAWatchSeesWhatChanges(t *testing.T) {
	p := newPeople(t)
	give := func() *consent.GrantDocument {
		request := p.request(t, scope(t, "patient/Observation.rs"))
		draft, err := DraftWithin(request, ChoiceOf(&request.Request))
		if err != nil {
			t.Fatal(err)
		}
		grant, err := p.patient.Grant(t.Context(), draft)
		if err != nil {
			t.Fatal(err)
		}
		return grant
	}
	watch := p.patient.Watch()
	see := func(want ...Phase) {
		t.Helper()
		o, err := watch.Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []Phase
		for i := range o.Grants {
			got = append(got, o.Grants[i].Phase())
		}
		if !slices.Equal(got, want) {
			t.Errorf("the grants are %q: want %q", got, want)
		}
	}
	see()
	first := give()
	see(PhaseActive)
	give()
	see(PhaseActive, PhaseActive)
	p.ledger.err = errors.New("down")
	see(PhaseUnknown, PhaseUnknown)
	p.ledger.err = nil
	revocation, err := p.patient.RevokeGrant(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.patient.Revoke(t.Context(), revocation); err != nil {
		t.Fatal(err)
	}
	see(PhaseRevoked, PhaseActive)
	p.clock = p.clock.Add(31 * 24 * time.Hour)
	see(PhaseRevoked, PhaseExpired)

	// What is remembered is of those very bytes: another signature is not as good.
	changed := *first
	changed.Signature = bytes.Clone(first.Signature)
	changed.Signature[0] ^= 1
	p.clock = p.clock.Add(-31 * 24 * time.Hour)
	other := *p.patient
	other.Documents = documentsOf(t, p.patient.Documents.store, newTestKey(t))
	record, err := other.record(consent.KindGrant, changed.ID(), &changed)
	if err != nil {
		t.Fatal(err)
	}
	record.State = Anchored
	if err := other.Documents.Put(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	p.ledger.revoked = map[common.Hash]uint64{}
	watch.wallet = &other
	see(PhaseInvalid)
}

func TestAGlanceJudgesNothing(t *testing.T) {
	p := newPeople(t)
	for range 3 {
		request := p.request(t, scope(t, "patient/Observation.rs"))
		draft, err := DraftWithin(request, ChoiceOf(&request.Request))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.patient.Grant(t.Context(), draft); err != nil {
			t.Fatal(err)
		}
	}
	p.ledger.err = errors.New("down") // it is not asked
	all, err := p.patient.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.patient.Glance(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Glance || o.Unread != nil || len(o.Grants) != 2 || o.Grants[0].ID != all.Grants[1].ID || o.Grants[1].ID != all.Grants[2].ID {
		t.Errorf("a glance at the newest 2 of 3: %+v", o)
	}
	for i := range o.Grants {
		if e := &o.Grants[i]; e.Phase() != PhaseUnknown || e.Anchored != 0 {
			t.Errorf("judged at a glance: %+v", e)
		}
	}
	elsewhere := *p.patient
	elsewhere.Domain.ChainID++
	if o, err = elsewhere.Glance(t.Context(), 5); err != nil || len(o.Grants) != 0 {
		t.Errorf("a glance shows %d grants of another network, %v", len(o.Grants), err)
	}
}

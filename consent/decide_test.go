package consent

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// mutations calls visit with each place of a value and with what changes it
// there, one at a time; visit has to change it back, by the function it gets.
func mutations(path string, v reflect.Value, visit func(path string, change, undo func())) {
	set := func(name string, with reflect.Value) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		if reflect.DeepEqual(was.Interface(), with.Interface()) {
			return // "none" of what is none
		}
		visit(path+" "+name, func() { v.Set(with) }, func() { v.Set(was) })
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			mutations(path+"."+v.Type().Field(i).Name, v.Field(i), visit)
		}
	case reflect.Array: // an address or a hash
		other := reflect.New(v.Type()).Elem()
		other.Set(v)
		last := other.Index(other.Len() - 1)
		last.SetUint(last.Uint() ^ 1)
		set("with a bit turned", other)
		set("cleared", reflect.Zero(v.Type()))
	case reflect.Slice:
		if v.Len() > 0 {
			set("one shorter", v.Slice(0, v.Len()-1))
			set("with the last twice", reflect.Append(v, v.Index(v.Len()-1)))
		}
		set("empty", reflect.Zero(v.Type()))
		if v.Len() > 1 {
			swapped := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(swapped, v)
			swapped.Index(0).Set(v.Index(1))
			swapped.Index(1).Set(v.Index(0))
			set("with the first two swapped", swapped)
		}
		for i := range v.Len() {
			mutations(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit)
		}
	case reflect.String:
		set("longer", reflect.ValueOf(v.String()+"x").Convert(v.Type()))
		set("empty", reflect.Zero(v.Type()))
	case reflect.Uint8, reflect.Uint64:
		for name, n := range map[string]uint64{"one more": v.Uint() + 1, "one less": v.Uint() - 1, "a bit turned": v.Uint() ^ 4, "none": 0} {
			set(name, reflect.ValueOf(n).Convert(v.Type()))
		}
	default:
		panic(path + ": " + v.Kind().String())
	}
}

// Whatever single thing of a permitted access is changed, it is denied.
func TestDecideDeniesEveryMutation(t *testing.T) {
	for _, links := range []int{1, 3} {
		d, grantee := handedOn(t, links, fourProvisions())
		sensitive := laboratoryScope
		sensitive.Sensitivities = HIV
		sensitive.DataFrom, sensitive.DataUntil = 1000, 2000
		access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope, sensitive, conditionScope})
		chain := anchors(access)
		decide := func() Verdict {
			e := Examine(access, nil)
			v, err := e.Decide(chain.state(e.Entries()), now)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if v := decide(); v.Outcome != Permit {
			t.Fatalf("%d links: %s (%s)", links, v.Outcome, v.Clause)
		}
		tried := 0
		mutations("document", reflect.ValueOf(access).Elem(), func(path string, change, undo func()) {
			change()
			defer undo()
			tried++
			v := decide()
			if v.Outcome == Permit {
				t.Errorf("%s: %s", path, v.Outcome)
			}
			requirePlain(t, v.Clause)
			if v.Link < 0 || v.Link >= max(1, len(access.Links)) {
				t.Errorf("%s: link %d", path, v.Link)
			}
		})
		if want := 150 * links; tried < want {
			t.Errorf("%d links: only %d mutations, want at least %d", links, tried, want)
		}
		if v := decide(); v.Outcome != Permit {
			t.Errorf("undone: %s (%s)", v.Outcome, v.Clause)
		}
	}
}

// A dishonest grantee signs whatever she likes with her own key; here she does,
// in the last of three links, and all that she signs is anchored.
func TestDecideDeniesTheGrantee(t *testing.T) {
	hospital := addressOf(testKey("hospital"))
	provisions := []Provision{{Holder: laboratory, Scope: laboratoryScope}}
	wider := func(change func(*Provision)) func(*AccessDocument) {
		return func(a *AccessDocument) {
			change(&a.Links[2].Openings[0].Provision)
			a.Links[2].Grant.Provisions = Root(a.Links[2].Openings[0].Provision.Leaf(), a.Links[2].Openings[0].Proof)
			a.Access.Scopes[0], a.Access.Holder = a.Links[2].Openings[0].Provision.Scope, a.Links[2].Openings[0].Provision.Holder
		}
	}
	for _, c := range []struct {
		name   string
		change func(*AccessDocument)
		want   Outcome
		link   int
	}{
		{"nothing", func(*AccessDocument) {}, Permit, 0},
		{"at another holder", func(a *AccessDocument) { a.Access.Holder = hospital }, NotPermitted, 0},
		{"handed on to another holder", wider(func(p *Provision) { p.Holder = hospital }), NotPermitted, 0},
		{"any resource", wider(func(p *Provision) { p.Scope.Resource, p.Scope.Filter = "*", "" }), NotPermitted, 0},
		{"to delete", wider(func(p *Provision) { p.Scope.Interactions |= Delete }), NotPermitted, 0},
		{"any category", wider(func(p *Provision) { p.Scope.Filter = "" }), NotPermitted, 0},
		{"sensitive", wider(func(p *Provision) { p.Scope.Sensitivities = AllSensitivities }), NotPermitted, 0},
		{"in an emergency", wider(func(p *Provision) { p.Scope.Purpose = "BTG" }), NotPermitted, 0},
		{"as many hand-offs", func(a *AccessDocument) { a.Links[2].Grant.Handoffs = a.Links[1].Grant.Handoffs }, BrokenChain, 2},
		{"below another grant", func(a *AccessDocument) { a.Links[2].Grant.Parent = a.Links[1].Grant.Parent }, BrokenChain, 2},
		{"without the patient", func(a *AccessDocument) { a.Links = a.Links[1:] }, BrokenChain, 0},
		{"without the one between", func(a *AccessDocument) { a.Links = append(a.Links[:1:1], a.Links[2]) }, BrokenChain, 1},
		{"from another grantor", func(a *AccessDocument) { a.Links[2].Grant.Grantor = hospital }, BrokenChain, 2},
		{"for longer than it is", func(a *AccessDocument) { a.Links[2].Grant.Expires = now }, Expired, 2},
	} {
		d, grantee := handedOn(t, 3, provisions)
		access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
		c.change(access)
		var err error
		last := &access.Links[len(access.Links)-1]
		access.Access.Grant = last.Grant.ID(testDomain)
		if last.Signature, err = Sign(access.Access.Grant, testKey("grantee 1")); err != nil {
			t.Fatal(err)
		}
		if access.Signature, err = Sign(access.Access.Digest(testDomain), grantee); err != nil {
			t.Fatal(err)
		}
		chain := anchors(access)
		e := Examine(access, nil)
		if v, err := e.Decide(chain.state(e.Entries()), now); err != nil || v.Outcome != c.want || v.Link != c.link {
			t.Errorf("%s: got %s at link %d (%s), %v, want %s at link %d", c.name, v.Outcome, v.Link, v.Clause, err, c.want, c.link)
		}
	}
}

// What the chain says of any single entry that a decision needs, decides it;
// and where one was not read, nothing is decided.
func TestDecideNeedsEveryEntry(t *testing.T) {
	d, grantee := handedOn(t, 3, fourProvisions())
	access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
	access.Links[1].Signature[0] ^= 1 // a contract's, then
	chain := anchors(access)
	e := Examine(access, nil)
	need := e.Entries()
	if len(need.Anchors) != 3 || len(need.Revocations) != 9 || len(need.Accounts) != 4 || len(need.Signatures) != 1 {
		t.Fatalf("needs %d anchors, %d revocations, %d accounts, %d signatures", len(need.Anchors), len(need.Revocations), len(need.Accounts), len(need.Signatures))
	}
	state := func() State {
		s := chain.state(need)
		s.Signed[need.Signatures[0]] = true
		return s
	}
	if v, err := e.Decide(state(), now); err != nil || v.Outcome != Permit {
		t.Fatal(v, err)
	}
	expect := func(change func(*State), want Outcome) {
		t.Helper()
		s := state()
		change(&s)
		v, err := e.Decide(s, now)
		if v.Outcome != want || (err != nil) != (want == Undecided) {
			t.Errorf("got %s (%s), %v, want %s", v.Outcome, v.Clause, err, want)
		}
	}
	for _, h := range need.Anchors {
		expect(func(s *State) { s.Anchored[h] = 0 }, NotAnchored)
		expect(func(s *State) { delete(s.Anchored, h) }, Undecided)
	}
	for _, h := range need.Revocations {
		expect(func(s *State) { s.Revoked[h] = 1 }, Revoked)
		expect(func(s *State) { delete(s.Revoked, h) }, Undecided)
	}
	for _, a := range need.Accounts {
		expect(func(s *State) { s.Retired[a] = 1 }, Retired)
		expect(func(s *State) { delete(s.Retired, a) }, Undecided)
	}
	expect(func(s *State) { s.Signed[need.Signatures[0]] = false }, BadGrantSignature)
	expect(func(s *State) { delete(s.Signed, need.Signatures[0]) }, Undecided)
}

func TestDecideAtTheBounds(t *testing.T) {
	d, grantee := handedOn(t, 1, fourProvisions())
	for _, c := range []struct {
		signed, now uint64
		want        Outcome
	}{
		{now, now + MaxClockSkew, Permit}, {now, now + MaxClockSkew + 1, Stale},
		{now, now - MaxClockSkew, Permit}, {now, now - MaxClockSkew - 1, Stale},
		{0, now, Stale}, {1<<64 - 1, now, Stale},
		{now, d.Grant.NotBefore - 1, NotYetValid}, {d.Grant.NotBefore, d.Grant.NotBefore, Permit},
		{d.Grant.Expires, d.Grant.Expires - 1, Permit}, {d.Grant.Expires, d.Grant.Expires, Expired},
		{now, 0, NotYetValid}, {now, 1<<64 - 1, Expired},
	} {
		access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
		access.Access.Time = c.signed
		var err error
		if access.Signature, err = Sign(access.Access.Digest(testDomain), grantee); err != nil {
			t.Fatal(err)
		}
		chain := anchors(access)
		e := Examine(access, nil)
		if v, err := e.Decide(chain.state(e.Entries()), c.now); err != nil || v.Outcome != c.want {
			t.Errorf("signed at %d, now %d: got %s (%s), %v, want %s", c.signed, c.now, v.Outcome, v.Clause, err, c.want)
		}
	}
}

// The decision may see what no strict reader lets in; it says so in plain text.
func TestDecideQuotesForeignText(t *testing.T) {
	d, grantee := handedOn(t, 1, fourProvisions())
	for _, change := range []func(*AccessDocument){
		func(a *AccessDocument) { a.Access.Scopes[0].Resource = "\x1b[2J\u202e" },
		func(a *AccessDocument) { a.Access.Scopes[0].Filter = "\r\nPermit" },
		func(a *AccessDocument) { a.Links[0].Openings[0].Provision.Scope.Resource = "”\x00" },
		func(a *AccessDocument) { a.Links[0].Openings[0].Provision.Scope.Purpose = "\u2028" },
	} {
		access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
		change(access)
		chain := anchors(access)
		e := Examine(access, nil)
		v, err := e.Decide(chain.state(e.Entries()), now)
		if err != nil || v.Outcome != NotPermitted {
			t.Errorf("got %s, %v", v.Outcome, err)
		}
		requirePlain(t, v.Clause)
	}
	scope := Scope{Resource: "\x1b[2J", Interactions: Read, Purpose: "\u202e"}
	if _, err := d.Open(laboratory, []Scope{scope}); err == nil {
		t.Error("opened")
	} else {
		requirePlain(t, err.Error())
	}
}

func TestExamineGrant(t *testing.T) {
	d, _ := handedOn(t, 3, fourProvisions())
	decide := func() Verdict {
		e := ExamineGrant(d)
		var c chainVector
		for _, g := range d.chain() {
			c.Anchored = append(c.Anchored, g.Root())
		}
		v, err := e.Decide(c.state(e.Entries()), now)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := decide(); v.Outcome != Permit {
		t.Fatalf("%s (%s)", v.Outcome, v.Clause)
	}
	d.Parents[1].Provisions[0].Provision.Scope.Interactions |= Delete
	if v := decide(); v.Outcome != NotPermitted || v.Link != 1 {
		t.Errorf("a provision that is not in its grant: %s at link %d", v.Outcome, v.Link)
	}
}

// The verdict with remembered signatures is the verdict without, and the word
// of a contract is asked for each time.
func TestVerifiedRemembersKeysAlone(t *testing.T) {
	d, grantee := handedOn(t, 2, fourProvisions())
	access := accessBy(t, d, grantee, laboratory, []Scope{laboratoryScope})
	verified := NewVerified(10)
	for range 2 {
		if need := Examine(access, verified).Entries(); len(need.Signatures) != 0 {
			t.Errorf("asks for %d signatures", len(need.Signatures))
		}
	}
	if verified.good.Len() != 2 {
		t.Errorf("%d signatures remembered, want those of 2 grants", verified.good.Len())
	}
	access.Links[0].Signature = append([]byte(nil), access.Links[0].Signature...)
	access.Links[0].Signature[64] ^= 1
	for range 2 {
		need := Examine(access, verified).Entries()
		if len(need.Signatures) != 1 || need.Signatures[0].Account != access.Links[0].Grant.Grantor {
			t.Errorf("asks for %d signatures", len(need.Signatures))
		}
	}
	// A good signature of one account is none of another.
	access.Links[0].Grant.Grantor = common.Address{1}
	if need := Examine(access, verified).Entries(); len(need.Signatures) == 0 {
		t.Error("remembers another account's signature")
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for o := Permit; o <= Stale; o++ {
		seen[o.String()] = true
	}
	for o := WrongDomain; o <= Replayed; o++ {
		seen[o.String()] = true
	}
	if len(seen) != 20 || seen["Undecided"] || Undecided.String() != "Undecided" || Outcome(99).String() != "Outcome(99)" {
		t.Errorf("%d names", len(seen))
	}
}

package consent

import (
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Outcome is what a decision comes to. The values up to Stale are the enum
// Outcome of the contract; those from WrongDomain on are a data holder's own
// and never come from a contract (Assent protocol, sections 1 and 7).
type Outcome uint8

// The outcomes of a decision.
const (
	Permit Outcome = iota
	Malformed
	BrokenChain
	NotAnchored
	Revoked
	Retired
	NotYetValid
	Expired
	BadGrantSignature
	NotPermitted
	WrongGrant
	BadAccessSignature
	Stale
)

// The outcomes of a data holder's own checks.
const (
	WrongDomain Outcome = 128 + iota
	WrongHolder
	UnknownPatient
	ChainTooOld
	Unsupported
	WrongBinding
	Replayed
)

// Undecided comes with an error and stands for no verdict at all: whoever
// overlooks the error must not find the zero Outcome, which is Permit.
const Undecided Outcome = 255

var outcomes = map[Outcome]string{
	Permit: "Permit", Malformed: "Malformed", BrokenChain: "BrokenChain", NotAnchored: "NotAnchored",
	Revoked: "Revoked", Retired: "Retired", NotYetValid: "NotYetValid", Expired: "Expired",
	BadGrantSignature: "BadGrantSignature", NotPermitted: "NotPermitted", WrongGrant: "WrongGrant",
	BadAccessSignature: "BadAccessSignature", Stale: "Stale",
	WrongDomain: "WrongDomain", WrongHolder: "WrongHolder", UnknownPatient: "UnknownPatient",
	ChainTooOld: "ChainTooOld", Unsupported: "Unsupported", WrongBinding: "WrongBinding", Replayed: "Replayed",
	Undecided: "Undecided",
}

// String gives the outcome's name in the protocol.
func (o Outcome) String() string {
	if name, known := outcomes[o]; known {
		return name
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// MaxClockSkew is how far the time of an access may be from now, either way,
// in seconds.
const MaxClockSkew = 300

// Verdict is the answer to an access.
type Verdict struct {
	Outcome Outcome
	Link    int    // the failing link in rows 2 to 8 of section 7, else 0
	Clause  string // what failed, in words; empty for Permit
}

// Entries are the entries of the registry, and the words of contract accounts,
// that a decision needs.
type Entries struct {
	Anchors     []common.Hash    // roots
	Revocations []common.Hash    // hashes of revocation secrets
	Accounts    []common.Address // that may be retired
	Signatures  []SignatureQuery // to be asked of the contract's view signed
}

// State is what the chain says of Entries. An entry that is missing from a map
// was not read, and a decision that needs it fails; the value 0 says that it is
// not on chain.
type State struct {
	Block     uint64      // number of the block that the decision is made on
	BlockHash common.Hash // its hash
	Time      uint64      // its time, unix seconds
	Age       uint64      // seconds between this view of the chain and now

	Anchored map[common.Hash]uint64    // root → block time of the first anchoring
	Revoked  map[common.Hash]uint64    // hash → block time of the first reveal
	Retired  map[common.Address]uint64 // account → block time of retirement
	Signed   map[SignatureQuery]bool   // what contract accounts answered
}

// Examination is an access, or a grant by itself, whose hashes and signatures
// were worked out, once, so that its entries can be read and it can be decided.
type Examination struct {
	malformed string // not empty: row 1 of section 7
	links     []Link
	examined  []examinedLink // one for each of links
	access    *Access        // nil: a grant by itself
	signed    check          // of the access
}

type examinedLink struct {
	id, root common.Hash
	signed   check
}

// check is a signature that was found good, or else what to ask of a contract.
type check struct {
	good  bool
	query SignatureQuery
}

// Examine works out what is needed to decide the document, which must stay as
// it is until then. Signatures of grants that are found good are remembered in
// verified, which may be nil.
func Examine(d *AccessDocument, verified *Verified) *Examination {
	if malformed := d.malformed(); malformed != "" {
		return &Examination{malformed: malformed}
	}
	separator := d.Domain.Separator()
	e := examineLinks(separator, d.Links, verified)
	e.access = &d.Access
	// An access counts once: there is nothing to remember of its signature.
	e.signed = (*Verified)(nil).check(e.grantee(), digest(separator, d.Access.HashStruct()), d.Signature)
	return e
}

// ExamineGrant works out what is needed to tell whether a grant counts. Decide
// then gives Permit where it does: rows 2 to 7 and 10 of section 7 hold, and
// every provision that the document opens is in its grant.
func ExamineGrant(d *GrantDocument) *Examination {
	links := d.links()
	if malformed := malformedLinks(links); malformed != "" {
		return &Examination{malformed: malformed}
	}
	return examineLinks(d.Domain.Separator(), links, nil)
}

func examineLinks(separator common.Hash, links []Link, verified *Verified) *Examination {
	e := &Examination{links: links, examined: make([]examinedLink, len(links))}
	for i := range links {
		id := digest(separator, links[i].Grant.HashStruct())
		e.examined[i] = examinedLink{
			id:     id,
			root:   Root(AnchorLeaf(id), links[i].AnchorProof),
			signed: verified.check(links[i].Grant.Grantor, id, links[i].Signature),
		}
	}
	return e
}

func (e *Examination) grantee() common.Address { return e.links[len(e.links)-1].Grant.Grantee }

func (v *Verified) check(account common.Address, digest common.Hash, signature []byte) check {
	q := SignatureQuery{account, digest, string(signature)}
	return check{v.recovers(q), q}
}

// malformed is row 1 of section 7: empty, or what is out of bounds.
func (d *AccessDocument) malformed() string {
	if malformed := malformedLinks(d.Links); malformed != "" {
		return malformed
	}
	switch a := &d.Access; {
	case len(a.Scopes) < 1 || len(a.Scopes) > MaxScopes:
		return fmt.Sprintf("%d scopes: want 1 to %d", len(a.Scopes), MaxScopes)
	case a.Holder == (common.Address{}):
		return "the access names no data holder"
	case len(d.Signature) > MaxSignature:
		return fmt.Sprintf("the access has a signature of %d bytes: want at most %d", len(d.Signature), MaxSignature)
	}
	for k := range d.Access.Scopes {
		if field := d.Access.Scopes[k].malformed(); field != "" {
			return fmt.Sprintf("scope %d of the access: %s is out of bounds", k, field)
		}
	}
	return ""
}

func malformedLinks(links []Link) string {
	if len(links) < 1 || len(links) > MaxLinks {
		return fmt.Sprintf("%d links: want 1 to %d", len(links), MaxLinks)
	}
	for i := range links {
		link := &links[i]
		switch {
		case len(link.Grant.Revocations) < 1 || len(link.Grant.Revocations) > MaxRevocations:
			return fmt.Sprintf("link %d has %d revocations: want 1 to %d", i, len(link.Grant.Revocations), MaxRevocations)
		case len(link.Signature) > MaxSignature:
			return fmt.Sprintf("link %d has a signature of %d bytes: want at most %d", i, len(link.Signature), MaxSignature)
		case len(link.AnchorProof) > MaxProof:
			return fmt.Sprintf("link %d has an anchor proof of %d hashes: want at most %d", i, len(link.AnchorProof), MaxProof)
		case len(link.Openings) > MaxOpenings:
			return fmt.Sprintf("link %d has %d openings: want at most %d", i, len(link.Openings), MaxOpenings)
		}
		for k := range link.Openings {
			opening := &link.Openings[k]
			if len(opening.Proof) > MaxProof {
				return fmt.Sprintf("link %d, opening %d has a proof of %d hashes: want at most %d", i, k, len(opening.Proof), MaxProof)
			}
			if field := opening.Provision.Scope.malformed(); field != "" {
				return fmt.Sprintf("link %d, opening %d: %s is out of bounds", i, k, field)
			}
		}
	}
	return ""
}

// Entries lists what of the chain Decide needs, each entry once. A malformed
// document needs nothing.
func (e *Examination) Entries() Entries {
	var need Entries
	if e.malformed != "" {
		return need
	}
	for i, examined := range e.examined {
		grant := &e.links[i].Grant
		need.Anchors = addOnce(need.Anchors, examined.root)
		need.Revocations = addOnce(need.Revocations, grant.Revocations...)
		need.Accounts = addOnce(need.Accounts, grant.Grantor)
		need.addCheck(examined.signed)
	}
	need.Accounts = addOnce(need.Accounts, e.grantee())
	if e.access != nil {
		need.addCheck(e.signed)
	}
	return need
}

func addOnce[T comparable](to []T, entries ...T) []T {
	for _, entry := range entries {
		if !slices.Contains(to, entry) {
			to = append(to, entry)
		}
	}
	return to
}

func (n *Entries) addCheck(c check) {
	// The zero address never signs, so there is nothing to ask.
	if !c.good && c.query.Account != (common.Address{}) {
		n.Signatures = addOnce(n.Signatures, c.query)
	}
}

// Decide gives the verdict on the state at the time now, in unix seconds: the
// first row of section 7 that fails. It fails, with the outcome Undecided, where
// the state lacks one of Entries that the verdict depends on.
func (e *Examination) Decide(s State, now uint64) (Verdict, error) {
	v, err := e.decide(&s, now)
	if err != nil {
		return Verdict{Outcome: Undecided}, err
	}
	return v, nil
}

func (e *Examination) decide(s *State, now uint64) (Verdict, error) {
	if e.malformed != "" {
		return Verdict{Malformed, 0, e.malformed}, nil
	}
	for i := range e.links {
		if v, err := e.decideLink(i, s, now); err != nil || v.Outcome != Permit {
			return v, err
		}
	}
	if e.access != nil && e.access.Grant != e.examined[len(e.examined)-1].id {
		return Verdict{WrongGrant, 0, "the access is for another grant"}, nil
	}
	grantee := e.grantee()
	if at, err := find(s.Retired, grantee); err != nil || at != 0 {
		return Verdict{Retired, 0, fmt.Sprintf("the grantee %s is retired since %s", grantee, timestamp(at))}, err
	}
	if e.access == nil {
		return Verdict{Outcome: Permit}, nil
	}
	if signed, err := e.signed.decide(s); err != nil || !signed {
		return Verdict{BadAccessSignature, 0, fmt.Sprintf("the grantee %s did not sign the access", grantee)}, err
	}
	if at := e.access.Time; max(at, now)-min(at, now) > MaxClockSkew {
		return Verdict{Stale, 0, fmt.Sprintf("the access was signed at %s: more than %d s from now", timestamp(at), MaxClockSkew)}, nil
	}
	return Verdict{Outcome: Permit}, nil
}

// decideLink is rows 2 to 8 of section 7, for link i.
func (e *Examination) decideLink(i int, s *State, now uint64) (Verdict, error) {
	fail := func(o Outcome, format string, args ...any) (Verdict, error) {
		return Verdict{o, i, fmt.Sprintf(format, args...)}, nil
	}
	link, grant := &e.links[i], &e.links[i].Grant
	var parent common.Hash
	if i > 0 {
		parent = e.examined[i-1].id
	}
	if grant.Parent != parent {
		return fail(BrokenChain, "the parent of the grant is not the link before")
	}
	if i > 0 {
		before := &e.links[i-1].Grant
		if grant.Grantor != before.Grantee {
			return fail(BrokenChain, "the grantor is not the grantee of the link before")
		}
		if grant.Handoffs >= before.Handoffs {
			return fail(BrokenChain, "the link before allows %d hand-offs and this one %d: want fewer", before.Handoffs, grant.Handoffs)
		}
	}
	if at, err := find(s.Anchored, e.examined[i].root); err != nil {
		return Verdict{}, err
	} else if at == 0 {
		return fail(NotAnchored, "the grant is not anchored")
	}
	for k, revocation := range grant.Revocations {
		if at, err := find(s.Revoked, revocation); err != nil {
			return Verdict{}, err
		} else if at != 0 {
			return fail(Revoked, "the grant was revoked at %s by its revocation %d", timestamp(at), k)
		}
	}
	if at, err := find(s.Retired, grant.Grantor); err != nil {
		return Verdict{}, err
	} else if at != 0 {
		return fail(Retired, "the grantor %s is retired since %s", grant.Grantor, timestamp(at))
	}
	if now < grant.NotBefore {
		return fail(NotYetValid, "the grant begins at %s", timestamp(grant.NotBefore))
	}
	if now >= grant.Expires {
		return fail(Expired, "the grant ended at %s", timestamp(grant.Expires))
	}
	if signed, err := e.examined[i].signed.decide(s); err != nil {
		return Verdict{}, err
	} else if !signed {
		return fail(BadGrantSignature, "the grantor %s did not sign the grant", grant.Grantor)
	}
	if e.access != nil && len(link.Openings) != len(e.access.Scopes) {
		return fail(NotPermitted, "%d provisions are opened for %d scopes", len(link.Openings), len(e.access.Scopes))
	}
	for k := range link.Openings {
		provision := &link.Openings[k].Provision
		if Root(provision.Leaf(), link.Openings[k].Proof) != grant.Provisions {
			return fail(NotPermitted, "the provision %s is not in the grant", Quote(provision.Scope.String()))
		}
		if e.access == nil {
			continue
		}
		scope := &e.access.Scopes[k]
		if provision.Holder != (common.Address{}) && provision.Holder != e.access.Holder {
			return fail(NotPermitted, "the provision for scope %s is for the data holder %s", Quote(scope.String()), provision.Holder)
		}
		if field := provision.Scope.uncovered(scope); field != "" {
			return fail(NotPermitted, "scope %s goes beyond the provision in its %s", Quote(scope.String()), field)
		}
	}
	return Verdict{}, nil
}

func (c check) decide(s *State) (bool, error) {
	if c.good || c.query.Account == (common.Address{}) {
		return c.good, nil
	}
	signed, read := s.Signed[c.query]
	if !read {
		return false, fmt.Errorf("the state of the chain lacks the word of account %s", c.query.Account)
	}
	return signed, nil
}

// find looks an entry up. One that was not read is an error, never an absence.
func find[K interface {
	comparable
	fmt.Stringer
}](entries map[K]uint64, key K) (uint64, error) {
	at, read := entries[key]
	if !read {
		return 0, fmt.Errorf("the state of the chain lacks the entry %s", key)
	}
	return at, nil
}

package wallet

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// Use is an entry of a data holder's log: one decision on a token, or on one
// request. Its texts are the holder's, and foreign.
type Use struct {
	Holder      common.Address
	Number      uint64 // of the entry
	Time        uint64 // as the holder says, unix seconds
	Grantee     common.Address
	Grant       common.Hash
	Purpose     string         // HL7 v3 PurposeOfUse; several with spaces between
	Interaction string         // read, search-type, … as FHIR has them, or token
	Target      string         // "Observation/123", a query, or the scopes of a token
	Outcome     string         // see UsePermitted
	Released    map[string]int // numbers of resources by type
}

const (
	// UsePermitted is the outcome of what was permitted; any other names why not.
	UsePermitted = "permit"
	// UseToken is the interaction of a decision on a token.
	UseToken = "token"
)

// Limits of a use, whose texts a data holder chooses: bytes, and kinds of
// resources.
const (
	maxUseTarget  = 1024 // more is cut
	maxUsePurpose = 1024 // more is cut
	maxUseWord    = 128
	maxUseKinds   = 256
)

// bound cuts the use to its limits, or tells why it says more than an entry of a
// log has to say.
func (u *Use) bound() error {
	longest := max(len(u.Interaction), len(u.Outcome))
	for kind := range u.Released {
		longest = max(longest, len(kind))
	}
	if longest > maxUseWord || len(u.Released) > maxUseKinds {
		return errors.New("it says more than an entry of a log has to say")
	}
	u.Target = strings.ToValidUTF8(u.Target[:min(len(u.Target), maxUseTarget)], "")
	u.Purpose = strings.ToValidUTF8(u.Purpose[:min(len(u.Purpose), maxUsePurpose)], "")
	return nil
}

// maxPause is how long may lie between two uses that are told as one, in seconds:
// a long answer comes in many pages.
const maxPause = 10 * 60

// Told is one or more uses that a person would tell as one.
type Told struct {
	Holder   common.Address
	Grantee  common.Address
	Grant    common.Hash
	Time     uint64 // of the last one, unix seconds
	Did      string // “read 26 laboratory results”
	Denied   bool
	Purpose  string // HL7 v3 PurposeOfUse; several with spaces between
	Entries  int
	Last     uint64 // number of its last entry
	released map[string]int
	kind     string // the resource type that was asked for; empty: several
	what     string // the same in words, as narrowed by the query
	verb     string
	reason   string
}

// Tell gives what was done, oldest first: the pages of one answer as one; no
// tokens but those that were denied, since a token by itself shows nothing; and
// not that the patient, who alone may, read the log itself.
func Tell(uses []Use) []Told {
	var told []Told
	for i := range uses {
		u := &uses[i]
		denied := u.Outcome != UsePermitted
		kind, what := u.asked()
		if !denied && (u.Interaction == UseToken || kind == auditScope.Resource) {
			continue
		}
		t := Told{
			Holder: u.Holder, Grantee: u.Grantee, Grant: u.Grant, Time: u.Time, Denied: denied, Purpose: u.Purpose, Entries: 1, Last: u.Number,
			released: u.Released, verb: verbs[u.Interaction], kind: kind, what: what,
		}
		if t.verb == "" {
			t.verb = "read" // and searched
		}
		if denied {
			t.verb, t.reason = "asked for", u.Outcome
		}
		if len(told) > 0 && told[len(told)-1].joins(&t) {
			continue
		}
		told = append(told, t)
	}
	for i := range told {
		told[i].Did = told[i].words()
	}
	return told
}

// For says in words what it was done for: “treatment, research”.
func (t *Told) For() string {
	var words []string
	for code := range strings.FieldsSeq(t.Purpose) {
		words = append(words, consent.PurposeWords(code))
	}
	return strings.Join(words, ", ")
}

// verbs say what was done by an interaction.
var verbs = map[string]string{"create": "added", "update": "changed", "delete": "deleted"}

// joins adds a use to the one before where both would be told as one.
func (t *Told) joins(u *Told) bool {
	same := t.Grantee == u.Grantee && t.Grant == u.Grant && t.Purpose == u.Purpose && t.verb == u.verb && t.what == u.what && t.reason == u.reason
	if !same || u.Time < t.Time || u.Time-t.Time > maxPause {
		return false
	}
	sum := maps.Clone(t.released)
	if sum == nil {
		sum = make(map[string]int)
	}
	for kind, n := range u.released {
		sum[kind] += n
	}
	t.released, t.Time, t.Last = sum, u.Time, u.Last
	t.Entries++
	return true
}

// refusals says in words why a use was denied, by its outcome.
var refusals = map[string]string{
	consent.NotAnchored.String():  "the grant was not on the chain",
	consent.Revoked.String():      "the grant had been taken back",
	consent.Retired.String():      "a key had been retired",
	consent.NotYetValid.String():  "the grant had not begun",
	consent.Expired.String():      "the grant was over",
	consent.NotPermitted.String(): "the grant does not permit it",
	consent.ChainTooOld.String():  "the data holder's view of the chain was too old",
	consent.Replayed.String():     "it had been asked for before",
	"UpstreamFailed":              "the data holder could not answer",
	"Busy":                        "the data holder had too much to do",
	"TooManyReferences":           "it referred to too much else",
	"Unconfirmed":                 "the data holder cannot say whether it took it",
}

func (t *Told) words() string {
	if t.Denied {
		why, known := refusals[t.reason]
		if !known {
			why = consent.Quote(t.reason)
		}
		return fmt.Sprintf("asked for %s and was denied: %s", t.what, why)
	}
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(t.released), func(a, b string) int {
		return cmp.Or(t.released[b]-t.released[a], strings.Compare(a, b))
	}) {
		scope := consent.Scope{Resource: kind}
		what := scope.What()
		if kind == t.kind {
			what = t.what
		}
		switch n := t.released[kind]; {
		case n <= 0:
		case n == 1 && kind == "Patient":
			parts = append(parts, what)
		case n == 1:
			parts = append(parts, "one of the "+what)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	if len(parts) == 0 && t.verb == "read" {
		return "looked for " + t.what + " and was shown nothing"
	}
	if len(parts) == 0 {
		return t.verb + " " + t.what
	}
	return t.verb + " " + strings.Join(parts, ", ")
}

// asked gives the resource type that a target is about and that in words: the
// type of a path such as Observation/123, Patient/1/Observation or
// Observation?category=laboratory, as narrowed by its filter; or those of scopes.
func (u *Use) asked() (kind, what string) {
	if u.Interaction == UseToken {
		var words []string
		for text := range strings.FieldsSeq(u.Target) {
			scope, err := consent.ParseScope(text, "TREAT") // no purpose is shown
			if what := scope.What(); err == nil && !slices.Contains(words, what) {
				words = append(words, what)
			}
		}
		if len(words) == 0 {
			return "", "access"
		}
		return "", strings.Join(words, ", ")
	}
	path, query, _ := strings.Cut(u.Target, "?")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	kind = segments[0]
	if len(segments) > 2 && kind == "Patient" && segments[2] != "_history" {
		kind = segments[2]
	}
	if kind == "$everything" || kind == "" {
		kind = consent.AnyResource
	}
	scope, err := consent.ParseScope("patient/"+kind+".rs", "TREAT")
	if err != nil {
		return "", consent.Quote(u.Target)
	}
	var criteria []string
	for criterion := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(criterion, "=")
		if criterion == "" || strings.HasPrefix(name, "_") || name == "patient" || name == "subject" {
			continue // how it is to be answered, and of whom
		}
		criteria = append(criteria, criterion)
	}
	if len(criteria) > 0 {
		if narrowed, err := consent.ParseScope(scope.String()+"?"+strings.Join(criteria, "&"), "TREAT"); err == nil {
			scope = narrowed
		}
	}
	if kind == consent.AnyResource {
		kind = ""
	}
	return kind, scope.What()
}

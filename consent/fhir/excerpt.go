package fhir

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
)

// Limits of what an Excerpt looks up beyond the resources that are judged.
// Where they do not suffice, what they leave open is withheld.
const (
	maxLookups     = 2000     // resources
	maxLookupBytes = 8 << 20  // of resources, together, where several are judged
	maxBytesOfOne  = 32 << 20 // where one is
	maxResource    = 16 << 20 // bytes of one resource
)

// Excerpt is a part of one patient's record at a FHIR server: resources that
// are to be judged together, with what they refer to. It gives for each the
// verdict that Release gives on the whole record, because it asks for all that
// this verdict can depend on:
//
//	e := fhir.NewExcerpt(patient, base)
//	r, err := e.Read(resource)
//	err = e.Add(r)
//	for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
//		// for each: e.Supply, with nil where the server has none, or e.Fail
//	}
//	admitted := e.Admits(rules, consent.Read, r)
//
// What cannot be looked up counts as sensitive in a way that no scope opens.
// The occasion of a resource (its encounter) and patients are not looked up:
// Release does not count them.
type Excerpt struct {
	record  record
	tie     tie
	own     *resource // the patient's Patient resource, where it is here
	around  resource  // what the resources are labelled by what is around them
	missing map[string]bool
	absent  map[string]bool // "Type/id" that the server does not have
	judged  int             // resources
	lookups int
	bytes   int
	over    bool // the limits did not suffice
	settled bool // the sensitivities have been spread
}

// unseen is set beside the categories of a resource that refers to what could
// not be looked up. No scope has it.
const unseen consent.Sensitivities = consent.AllSensitivities + 1

// NewExcerpt begins an excerpt of the record of the patient with the logical id
// at the FHIR server with the base URL (without a slash at its end).
func NewExcerpt(patient, base string) *Excerpt {
	return &Excerpt{
		record:  record{named: make(map[string]*resource)},
		tie:     newTie(patient, base+"/Patient/"+patient),
		missing: make(map[string]bool),
		absent:  make(map[string]bool),
	}
}

// Label says what labels (the meta of a Bundle) stand around resources that
// are added from now on. They count for those without any.
func (e *Excerpt) Label(meta []byte) error {
	v, err := parse("meta", meta)
	if err != nil {
		return err
	}
	e.around = resource{}
	e.around.read(v, place{})
	return nil
}

// Resource is one resource of an Excerpt that can be judged.
type Resource struct {
	of *resource
}

// errTwice is returned for a resource that is in the excerpt already.
var errTwice = errors.New("it is in the excerpt twice")

// Read reads a resource that may be added: strict JSON, of a type of R4. A
// logical id is not required, as a resource that is to be created has none.
func (e *Excerpt) Read(text []byte) (*Resource, error) {
	r, err := e.read(text)
	if err != nil {
		return nil, err
	}
	return &Resource{r}, nil
}

// Add takes in a resource to be judged, which this excerpt has read. One name
// stands once among the resources that were added.
func (e *Excerpt) Add(r *Resource) error {
	name := r.Name()
	if old := e.record.named[name]; old != nil {
		if old.judged {
			return fmt.Errorf("%s: %w", consent.Quote(name), errTwice)
		}
		// It was looked up for another one before. Both keep counting.
		r.of.sensitivities |= old.sensitivities
	}
	r.of.judged = true
	e.judged++
	e.take(r.of, name)
	return nil
}

func (e *Excerpt) read(text []byte) (*resource, error) {
	if len(text) > maxResource {
		return nil, fmt.Errorf("the resource is longer than %d bytes", maxResource)
	}
	v, err := parse("resource", text)
	if err != nil {
		return nil, err
	}
	r := &resource{value: v, kind: v.string("resourceType"), base: e.tie.base}
	if !isType(r.kind) {
		return nil, fmt.Errorf("FHIR R4 has no resource type %s", consent.Quote(r.kind))
	}
	if id := v.member("id"); id != nil && (id.kind != '"' || !isID(id.text)) {
		return nil, errors.New("its id is no id of FHIR")
	}
	if r.kind == "Patient" && v.string("id") == e.tie.id {
		e.own = r
	}
	e.record.examine(r, &e.around, &e.tie, e.own)
	return r, nil
}

func (e *Excerpt) take(r *resource, name string) {
	e.settled = false
	e.record.resources = append(e.record.resources, r)
	if name != "" {
		e.record.named[name] = r
		delete(e.missing, name)
	}
	for _, ref := range r.references {
		if to, ok := ref.lookup(); ok && e.record.named[to] == nil && !e.absent[to] {
			e.missing[to] = true
		}
	}
}

// lookup gives what a reference names at this server, at whatever server it is
// said to be, as Release takes it, if it counts.
func (ref *reference) lookup() (name string, ok bool) {
	if ref.occasion || ref.patient {
		return "", false
	}
	_, kind, id, ok := splitReference(ref.to)
	return kind + "/" + id, ok && isType(kind)
}

// Missing gives what still has to be looked up at the server, as relative
// references ("Practitioner/1"), sorted; none once all can be judged. What is
// beyond the limits of an excerpt is given up, as by Fail.
func (e *Excerpt) Missing() []string {
	missing := slices.Sorted(maps.Keys(e.missing))
	e.over = e.over || e.lookups+len(missing) > maxLookups
	if !e.over {
		return missing
	}
	for _, name := range missing {
		e.Fail(name)
	}
	return nil
}

// Exceeded tells that something was given up for the limits of an excerpt. Where
// several resources are judged together, less at once may be judged; one by itself
// is withheld.
func (e *Excerpt) Exceeded() bool { return e.over }

// LookedUp gives what was supplied, by name: nil for what the server does not
// have.
func (e *Excerpt) LookedUp() map[string][]byte {
	known := make(map[string][]byte, len(e.record.named)+len(e.absent))
	for name, r := range e.record.named {
		if !r.judged && r.value.raw != nil {
			known[name] = r.value.raw
		}
	}
	for name := range e.absent {
		known[name] = nil
	}
	return known
}

// Supply takes in what the server has for one that is Missing, or nil where it
// has none. What is something else than was asked for fails.
func (e *Excerpt) Supply(name string, text []byte) {
	if !e.missing[name] {
		return
	}
	e.lookups++
	if text == nil {
		delete(e.missing, name)
		e.absent[name] = true
		return
	}
	most := maxBytesOfOne
	if e.judged > 1 {
		most = maxLookupBytes
	}
	if e.bytes += len(text); e.bytes > most {
		e.over = true
		e.Fail(name)
		return
	}
	around := e.around
	e.around = resource{} // it came by itself
	r, err := e.read(text)
	e.around = around
	if err != nil || r.name() != name {
		e.Fail(name)
		return
	}
	e.take(r, name)
}

// Fail says that one that is Missing could not be looked up. What refers to it
// is withheld.
func (e *Excerpt) Fail(name string) {
	if !e.missing[name] {
		return
	}
	kind, _, _ := strings.Cut(name, "/")
	e.take(&resource{value: new(value), kind: kind, sensitivities: unseen}, name)
}

// Admits tells whether one scope that has the interaction admits the resource
// wholly. As long as anything is Missing, none does.
func (e *Excerpt) Admits(rules *Rules, interaction consent.Interactions, r *Resource) bool {
	if len(e.missing) > 0 {
		return false
	}
	if !e.settled {
		e.record.spread(e.own)
		e.settled = true
	}
	return slices.ContainsFunc(rules.rules, func(rule rule) bool {
		return rule.Interactions&interaction != 0 && rule.admits(&e.record, r.of)
	})
}

// Reaches tells whether whoever writes the resource may refer to all that it
// refers to but its Occasions: to what is nobody's own; of what can be a
// patient's own, to the patient, to what the rules let them read or find, and to
// what the resource before the change referred to already (nil: there was none). Else
// the verdict on a resource that was made up would tell of what it names. To
// another patient nothing new may refer, the patient's own Patient among it, and
// nothing to whatever a search finds: a server that resolves that would tell, by
// taking the resource or not, what there is. So might one that reads as a
// reference what is none in the form of FHIR.
func (e *Excerpt) Reaches(rules *Rules, r, before *Resource) bool {
	var known []string
	if before != nil {
		known = before.Refers()
	}
	return !slices.ContainsFunc(r.of.references, func(ref reference) bool {
		_, kind, id, ok := splitReference(ref.to)
		switch {
		case strings.Contains(ref.to, "?"):
			return true
		case ref.patient && !e.tie.is(ref.to, r.of.base):
			return !ok || !slices.Contains(known, kind+"/"+id)
		case !ok && ref.to != "" && ref.to[0] != '#' && !strings.HasPrefix(ref.to, "urn:"):
			return before == nil || !slices.ContainsFunc(before.of.references, func(old reference) bool { return old.to == ref.to })
		}
		name, counts := ref.lookup()
		if _, clinical := compartment[kind]; !counts || !clinical || slices.Contains(known, name) {
			return false
		}
		to := e.record.named[name]
		return to == nil || !e.Admits(rules, consent.Read, &Resource{to}) && !e.Admits(rules, consent.Search, &Resource{to})
	})
}

// Occasions gives what the resource names as its occasion and the one before the
// change did not, as far as it can be a patient's own. Reaches leaves it out,
// since it is not looked up for a verdict; but a server that takes no reference
// to what it does not have would tell whether it is there.
func (e *Excerpt) Occasions(r, before *Resource) (names []string) {
	for _, ref := range r.of.references {
		_, kind, id, ok := splitReference(ref.to)
		if ok && ref.occasion && !ref.patient && IsPatientType(kind) && (before == nil || !slices.Contains(before.Refers(), kind+"/"+id)) {
			names = append(names, kind+"/"+id)
		}
	}
	return names
}

// AdmitsAlone tells whether some scope that has the interaction would admit the
// resource if nothing that it refers to mattered. Where it would not, nothing
// need be looked up.
func (e *Excerpt) AdmitsAlone(rules *Rules, interaction consent.Interactions, r *Resource) bool {
	return slices.ContainsFunc(rules.rules, func(rule rule) bool {
		return rule.Interactions&interaction != 0 && rule.admitsAlone(r.of)
	})
}

// name is "Type/id", or empty where it has no id.
func (r *resource) name() string {
	if id := r.value.string("id"); id != "" {
		return r.kind + "/" + id
	}
	return ""
}

// Name gives "Observation/1" for a resource that need not be read as a whole.
func Name(resource []byte) (string, error) {
	var named struct {
		ResourceType string `json:"resourceType"`
		ID           string `json:"id"`
	}
	if err := json.Unmarshal(resource, &named); err != nil {
		return "", err
	}
	if !isType(named.ResourceType) || !isID(named.ID) {
		return "", errors.New("it has no resource type of R4, or no id")
	}
	return named.ResourceType + "/" + named.ID, nil
}

// Name is "Observation/1", or empty where the resource has no id.
func (r *Resource) Name() string { return r.of.name() }

// Type is the resource type.
func (r *Resource) Type() string { return r.of.kind }

// ID is the logical id, or empty.
func (r *Resource) ID() string { return r.of.value.string("id") }

// Version is meta.versionId, or empty where there is none that is an id.
func (r *Resource) Version() string {
	if version := r.of.value.member("meta").string("versionId"); isID(version) {
		return version
	}
	return ""
}

// Updated is meta.lastUpdated, if it can be read.
func (r *Resource) Updated() (time.Time, bool) {
	at, err := parseDate(r.of.value.member("meta").string("lastUpdated"))
	return at.from, err == nil && !at.from.Equal(time.Time{}) && at.until.Sub(at.from) <= time.Minute
}

// Raw is the resource as it stood.
func (r *Resource) Raw() []byte { return r.of.value.raw }

// Refers gives what the resource refers to in whatever element, as relative
// references of this server.
func (r *Resource) Refers() (names []string) {
	for _, ref := range r.of.references {
		if _, kind, id, ok := splitReference(ref.to); ok {
			names = append(names, kind+"/"+id)
		}
	}
	return names
}

// WithoutID gives the resource as it stood but for its logical id.
func (r *Resource) WithoutID() []byte {
	if r.of.value.member("id") == nil {
		return r.Raw()
	}
	return r.of.value.without("id")
}

package fhir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-wallet/assent/consent"
)

// record is a bundle that was read: one patient's record.
type record struct {
	resources []*resource
	named     map[string]*resource // by fullUrl and by "Type/id"
}

// resource is one entry of the record, with all that a scope asks about.
type resource struct {
	value   *value
	fullURL *value // nil where there is none
	base    string // of a RESTful fullUrl, else empty
	kind    string // resource type
	own     bool   // the patient's own, about nobody else, and fit for release
	date    interval
	dated   bool

	contained  []*value
	unfit      bool // has something within that is never released
	references []reference
	restricted bool // a confidentiality label R or V
	judged     bool // of an Excerpt: it was added, not looked up

	// sensitivities are all categories that a scope needs to admit it.
	sensitivities consent.Sensitivities
}

// reference is a reference anywhere in a resource.
type reference struct {
	to       string // empty where it has but an identifier
	patient  bool   // it says itself that it is to a Patient
	occasion bool   // it names the encounter, so when and where, not what about
}

// bundleTypes are the types of a bundle that can be a record. A history has
// what is no longer so, a response is no record, and a message serves another
// purpose.
var bundleTypes = []string{"collection", "searchset", "document", "transaction", "batch"}

func readRecord(text []byte, patient string) (*record, error) {
	if len(text) > MaxBundle {
		return nil, fmt.Errorf("the bundle is longer than %d bytes", MaxBundle)
	}
	bundle, err := parseUpTo(maxBundleValues, "bundle", text)
	if err != nil {
		return nil, err
	}
	if bundle.string("resourceType") != "Bundle" {
		return nil, errors.New(`the record is no FHIR Bundle: wrap a single resource in one of type "collection"`)
	}
	if kind := bundle.string("type"); !slices.Contains(bundleTypes, kind) {
		return nil, fmt.Errorf("a bundle of type %s is no record: want one of %s", consent.Quote(kind), strings.Join(bundleTypes, ", "))
	}
	entries := bundle.items("entry")
	rec := &record{resources: make([]*resource, 0, len(entries)), named: make(map[string]*resource, 2*len(entries))}
	for i, entry := range entries {
		if err := rec.add(entry); err != nil {
			return nil, fmt.Errorf("entry %d of the bundle: %w", i, err)
		}
	}
	tied, own, err := rec.tie(patient)
	if err != nil {
		return nil, err
	}
	var around resource // what the bundle is labelled
	around.read(bundle.member("meta"), place{})
	for _, r := range rec.resources {
		rec.examine(r, &around, &tied, own)
	}
	rec.spread(own)
	return rec, nil
}

// examine finds out all that a scope asks about the resource by itself. around
// is what is around it, own the patient's Patient resource.
func (rec *record) examine(r, around *resource, tied *tie, own *resource) {
	r.read(r.value, place{resource: true, root: true})
	if len(r.value.find("meta.security")) == 0 {
		r.sensitivities |= around.sensitivities
		r.restricted = r.restricted || around.restricted
	}
	if r.restricted && r.sensitivities == 0 {
		r.sensitivities = consent.AllSensitivities
	}
	r.own = !r.unfit && (r == own || r.inCompartment(tied) && !rec.namesAnother(r, tied))
	r.date, r.dated = clinicalDate(r.value, r.kind)
}

// add takes an entry in. An entry without resource, as a response has it, says
// nothing.
func (rec *record) add(entry *value) error {
	v := entry.member("resource")
	if v == nil {
		return nil
	}
	r := &resource{value: v, kind: v.string("resourceType")}
	if !isType(r.kind) && r.kind != "Parameters" {
		return fmt.Errorf("FHIR R4 has no resource type %s", consent.Quote(r.kind))
	}
	if v.size() > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	if method := entry.member("request").string("method"); method == "DELETE" || method == "PATCH" {
		return fmt.Errorf("a %s is no part of a record", method)
	}
	var names []string
	if id := v.string("id"); id != "" {
		names = append(names, r.kind+"/"+id)
	}
	if r.fullURL = entry.member("fullUrl"); r.fullURL != nil {
		if r.fullURL.kind != '"' || r.fullURL.text == "" {
			return errors.New("its fullUrl is no text")
		}
		r.base, _, _, _ = splitReference(r.fullURL.text)
		if name := unversioned(r.fullURL.text); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	rec.resources = append(rec.resources, r)
	for _, name := range names {
		if rec.named[name] != nil {
			return fmt.Errorf("%s is in the bundle twice", consent.Quote(name))
		}
		rec.named[name] = r
	}
	return nil
}

func (r *resource) url() string {
	if r.fullURL == nil {
		return ""
	}
	return r.fullURL.text
}

// tie finds the patient whose record it is, and their Patient resource where
// the bundle has it.
func (rec *record) tie(patient string) (tie, *resource, error) {
	var patients []*resource
	for _, r := range rec.resources {
		if r.kind == "Patient" {
			patients = append(patients, r)
		}
	}
	if patient == "" && len(patients) != 1 {
		return tie{}, nil, fmt.Errorf("the bundle has %d Patients: name the one whose record it is", len(patients))
	}
	for _, r := range patients {
		if id := r.value.string("id"); patient == "" || patient == id || patient == r.url() {
			return newTie(id, r.url()), r, nil
		}
	}
	if len(patients) > 0 {
		return tie{}, nil, fmt.Errorf("the bundle is not the record of %s: its Patient is another", consent.Quote(patient))
	}
	if isID(patient) {
		return newTie(patient, ""), nil, nil
	}
	if t := newTie("", patient); t.base != "" || strings.HasPrefix(patient, "urn:") {
		return t, nil, nil
	}
	return tie{}, nil, fmt.Errorf("patient %s: want the logical id or the fullUrl of a Patient", consent.Quote(patient))
}

// find gives the resource of the record that a reference names, at whatever
// server, or nil.
func (rec *record) find(reference string) *resource {
	if r := rec.named[unversioned(reference)]; r != nil {
		return r
	}
	if _, kind, id, ok := splitReference(reference); ok {
		return rec.named[kind+"/"+id]
	}
	return nil
}

// namesAnother tells whether the resource refers to another patient anywhere.
func (rec *record) namesAnother(r *resource, t *tie) bool {
	return slices.ContainsFunc(r.references, func(ref reference) bool {
		if t.is(ref.to, r.base) {
			return false
		}
		if ref.patient {
			return true
		}
		to := rec.find(ref.to)
		return to != nil && to.kind == "Patient"
	})
}

// listed gives the resources of the record that a Composition or List lists.
func (rec *record) listed(r *resource) (listed []*resource) {
	var within func(v *value, path string)
	within = func(v *value, path string) {
		for _, entry := range v.find(path) {
			if to := rec.find(entry.string("reference")); to != nil && to != r {
				listed = append(listed, to)
			}
		}
		for _, section := range v.items("section") {
			within(section, path)
		}
	}
	switch r.kind {
	case "Composition":
		within(r.value, "entry")
	case "List":
		within(r.value, "entry.item")
	}
	return listed
}

// spread makes a resource as sensitive as all that it refers to, and those
// again refer to: a claim for a sensitive prescription, a procedure for a
// sensitive reason, a report of a sensitive result. Neither the patient nor
// the occasion (see reference) counts.
func (rec *record) spread(patient *resource) {
	referrers := make(map[*resource][]*resource)
	var changed []*resource
	for _, r := range rec.resources {
		for _, ref := range r.references {
			if to := rec.find(ref.to); to != nil && to != patient && !ref.occasion {
				referrers[to] = append(referrers[to], r)
			}
		}
		if r.sensitivities != 0 {
			changed = append(changed, r)
		}
	}
	for len(changed) > 0 {
		to := changed[len(changed)-1]
		changed = changed[:len(changed)-1]
		for _, r := range referrers[to] {
			if to.sensitivities&^r.sensitivities != 0 {
				r.sensitivities |= to.sensitivities
				changed = append(changed, r)
			}
		}
	}
}

// place is where in a resource its reading is.
type place struct {
	resource bool // at a resource: the one of the entry, or one that it contains
	root     bool // at that of the entry
	label    bool // within a security label
	occasion bool // at a reference to the encounter
}

// read collects what a resource says in whatever place: the codings and labels
// that make it sensitive, its references, and what makes it unfit for release.
func (r *resource) read(v *value, at place) {
	if v == nil || v.kind != '{' && v.kind != '[' {
		return
	}
	within := place{label: at.label}
	if v.kind == '[' {
		within.occasion = at.occasion
		for i := range v.parts {
			r.read(&v.parts[i].value, within)
		}
		return
	}
	var ref reference
	var system, code string
	for i := range v.parts {
		name, member := v.parts[i].name, &v.parts[i].value
		inside := within
		switch name {
		case "resourceType":
			r.unfit = r.unfit || !at.resource
		case "contained":
			r.contain(member, at)
			continue
		case "encounter", "context":
			inside.occasion = true
		case "security", "securityLabel":
			inside.label = true
		case "reference":
			ref.to = member.text
			ref.patient = ref.patient || isPatient(member.text)
		case "type":
			ref.patient = ref.patient || member.text == "Patient" || strings.HasSuffix(member.text, "/StructureDefinition/Patient")
		case "system":
			system = member.text
		case "code":
			code = member.text
		case "confidentiality": // of a Composition
			r.recognise("", member.text, true)
		}
		r.read(member, inside)
	}
	if ref.to != "" || ref.patient {
		ref.occasion = at.occasion
		r.references = append(r.references, ref)
	}
	if code != "" {
		r.recognise(system, code, at.label)
	}
}

// contain reads contained resources. Only the resource of the entry may have
// any.
func (r *resource) contain(member *value, at place) {
	for _, v := range appendItems(nil, member) {
		switch kind := v.string("resourceType"); kind {
		case "Patient", "Bundle", "Parameters", "Binary":
			r.unfit = true
		default:
			r.unfit = r.unfit || !at.root || !isType(kind)
		}
		r.contained = append(r.contained, v)
		r.read(v, place{resource: true})
	}
}

// isPatient tells whether a reference is to a Patient by its text alone.
func isPatient(reference string) bool {
	_, kind, _, ok := splitReference(reference)
	return ok && kind == "Patient" || strings.HasPrefix(reference, "Patient?")
}

// Package fhir is what a decision means for FHIR R4 resources: which resources
// of a patient's record the scopes of an access admit (Assent protocol,
// sections 3 and 9).
//
// It works on raw JSON: what it releases are the bytes that came in, never
// encoded again. A resource is released only if one scope of the access admits
// it wholly, and nothing in the answer tells that anything was withheld.
//
// Release takes a whole record in a Bundle. An Excerpt takes a part of a record
// at a server, asks for whatever else the verdict depends on, and gives the same
// verdict. AuditEvent writes down what was decided.
//
// It never decides whether an access is permitted (package consent does), never
// opens a file or a connection, never follows a reference by itself, and never
// recognises what only a person could read: see Unrecognised.
package fhir

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"github.com/assent-wallet/assent/consent"
)

// MaxBundle is the size limit of a bundle, in bytes.
const MaxBundle = 64 << 20

// Released is what of a record an access opens.
type Released struct {
	// Bundle is a FHIR R4 Bundle of type searchset: each resource as it stood,
	// in the order of the record, under the fullUrl that it had. It counts and
	// links nothing else, so that a record from which something was withheld
	// looks like one that never had it; a reference to what was withheld looks
	// like the reference to a practitioner or to another server.
	Bundle []byte
	// Counts are the numbers of resources in the bundle, by type.
	Counts map[string]int
	// Withheld are the numbers of resources that were withheld, by type, with
	// those that are nobody's own or another patient's. They are for the data
	// holder's own log and never for the requester.
	Withheld map[string]int
}

// Release gives the resources of the bundle that the scopes of the access
// admit. The bundle is one patient's record: a FHIR R4 Bundle of type
// collection, searchset, document, transaction or batch. patient is the record
// that the holder has bound to the grantor: the logical id of the Patient or
// the fullUrl of its entry; it may be empty where the bundle has exactly one
// Patient.
//
// # What one scope admits
//
//   - Type: the scope's, or any for "*"; and only what is the patient's own by
//     the compartment definition of R4, and the Patient. Organizations,
//     practitioners, locations and medications are nobody's own, and are never
//     released by themselves.
//   - Interaction: a release is the answer to a search. Search (s) suffices,
//     since a search returns whole resources (SMART App Launch v2, "Scopes for
//     requesting FHIR Resources"). Read (r) without search opens only
//     resources that the filter names by _id.
//   - Whose: the element that says whom it is about must be the patient, and no
//     reference anywhere in the resource may name another patient.
//   - Filter and dates: see Evaluable.
//   - Sensitive categories: the scope must have all that the resource is of, by
//     its security labels, by any coding in it or in what it contains, and by
//     what it refers to in the bundle, however far, except its encounter and
//     the patient. A confidentiality label R or V without a category that is
//     seen needs all eight. Labels of the bundle count for entries without any.
//     For what is not seen, see Unrecognised.
//   - Contained resources: a contained Patient, Bundle, Parameters or Binary
//     withholds the whole. One of a type that can be a patient's own must be
//     admitted by the same scope: by its type, by the parameters of the filter
//     that do not begin with "_" and, where it has a clinical date, by the
//     window. Any other (Medication, Practitioner, Organization …) is a part
//     of the resource that contains it.
//   - Composition and List: what they list in the bundle (section.entry,
//     entry.item) must be admitted by the same scope as well where it can be a
//     patient's own, because their text repeats it.
//
// Release fails, and releases nothing, where the bundle is not strict JSON, is
// over MaxBundle, nests or repeats beyond any real record, has a resource or
// fullUrl twice, or does not show whose record it is; and where a scope is not
// Evaluable or none of them can read.
func Release(bundle []byte, patient string, access *consent.Access) (*Released, error) {
	rules, err := newRules(access.Scopes)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rules, func(r rule) bool { return r.reads }) {
		return nil, errors.New("no scope of the access reads a record: ask for s, as in patient/Observation.rs, or for r with _id")
	}
	rec, err := readRecord(bundle, patient)
	if err != nil {
		return nil, err
	}
	released := &Released{Counts: make(map[string]int), Withheld: make(map[string]int)}
	var entries bytes.Buffer
	total := 0
	for _, r := range rec.resources {
		if !slices.ContainsFunc(rules, func(rule rule) bool { return rule.reads && rule.admits(rec, r) }) {
			released.Withheld[r.kind]++
			continue
		}
		released.Counts[r.kind]++
		if total++; total > 1 {
			entries.WriteByte(',')
		}
		entries.WriteByte('{')
		if r.fullURL != nil {
			entries.WriteString(`"fullUrl":`)
			entries.Write(r.fullURL.raw)
			entries.WriteByte(',')
		}
		entries.WriteString(`"resource":`)
		entries.Write(r.value.raw)
		entries.WriteString(`,"search":{"mode":"match"}}`)
	}
	released.Bundle = append(released.Bundle, `{"resourceType":"Bundle","type":"searchset","total":`+strconv.Itoa(total)...)
	if total > 0 { // FHIR has no empty lists
		released.Bundle = append(released.Bundle, `,"entry":[`...)
		released.Bundle = append(released.Bundle, entries.Bytes()...)
		released.Bundle = append(released.Bundle, ']')
	}
	released.Bundle = append(released.Bundle, '}')
	return released, nil
}

// Evaluable tells why a scope of the access cannot be evaluated exactly, or
// nil: a resource type that R4 does not have, or a search parameter, modifier,
// prefix or value that is not evaluated here, which the error names. It depends
// on the access alone. It is for consent.Holder.
//
// Evaluated are, by the names of R4: the six parameters of section 3 of the
// protocol that begin with "_", and of each type that can be a patient's own
// its tokens and dates, as far as they are listed in searchParameters. Tokens
// are code, system|code, |code and system|; dates have the prefixes eq, ge, gt,
// le and lt, and are compared as the intervals that they stand for; a comma is
// or, and parameters are and. A date with a time needs a time zone. An element
// that is missing, or a Timing, matches nothing.
//
// The window of a scope is compared with the clinical date of a resource,
// clinicalDates, that must lie wholly inside. A resource without one fails any
// window.
func Evaluable(access *consent.Access) error {
	_, err := newRules(access.Scopes)
	return err
}

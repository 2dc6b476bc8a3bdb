package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// read answers a read or, with a version, a vread. Conditions are evaluated
// here, once the resource is permitted: to somebody who may not read it, they
// say nothing.
func (f *front) read(w http.ResponseWriter, r *http.Request, s *session, what *asked, kind, id, version string) error {
	if err := unparametered(r); err != nil {
		return err
	}
	resource, err := f.current(r.Context(), s, consent.Read, kind, id)
	if err != nil {
		return err
	}
	if version != "" && version != resource.Version() {
		// What is withheld by now is withheld in all its versions.
		resource, err = f.judged(r.Context(), s, consent.Read, kind, id, kind+"/"+id+"/_history/"+version)
		if err != nil {
			return err
		}
		if resource.Version() != version {
			return errNotFound
		}
	}
	if err := f.goOn(r.Context(), s, what); err != nil { // the FHIR server may have been slow
		return err
	}
	n := notice{Interaction: what.interaction, Target: what.target, Outcome: fhir.Permitted, Request: servedOf(r.Context()).id,
		Released: map[string]int{kind: 1}, Resources: []string{resource.Name()}}
	if err := f.note(r.Context(), s, n); err != nil {
		return f.unlogged(r.Context(), err)
	}
	describe(w.Header(), resource)
	if unchanged(r, resource) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", fhirJSON)
	_, _ = w.Write(resource.Raw())
	return nil
}

// current gives a resource as the server has it now, if the rules admit it.
func (f *front) current(ctx context.Context, s *session, interaction consent.Interactions, kind, id string) (*fhir.Resource, error) {
	return f.judged(ctx, s, interaction, kind, id, kind+"/"+id)
}

// judged gives the resource with the name that stands at the path, if the rules
// admit it. All that is withheld is errNotFound.
func (f *front) judged(ctx context.Context, s *session, interaction consent.Interactions, kind, id, path string) (*fhir.Resource, error) {
	if !s.rules.Allow(interaction, kind) {
		return nil, errScope(interaction, kind)
	}
	text, err := f.upstream.get(ctx, path)
	if status, ok := errors.AsType[statusError](err); ok && status.ofResource() {
		// It would tell that something is there.
		f.complain(ctx, "read", err)
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, errNotFound
	}
	excerpt := fhir.NewExcerpt(s.patient, f.upstream.base)
	resource, err := excerpt.Read(text)
	if err != nil || resource.Name() != kind+"/"+id {
		f.complain(ctx, "read", errUnreadable)
		return nil, errNotFound
	}
	if !excerpt.AdmitsAlone(s.rules, interaction, resource) {
		return nil, errNotFound
	}
	if err := excerpt.Add(resource); err != nil {
		return nil, err
	}
	if err := f.upstream.settle(ctx, excerpt, nil); err != nil {
		return nil, err
	}
	if excerpt.Exceeded() {
		f.complain(ctx, "read", errExceeded)
	}
	if !excerpt.Admits(s.rules, interaction, resource) {
		return nil, errNotFound
	}
	return resource, nil
}

// errUnreadable says in the operator's log no more than that.
var errUnreadable = errors.New("a resource of the FHIR server is withheld, because it cannot be read, or is another one than it should be")

// describe says which version a resource is, as FHIR has it in headers.
func describe(header http.Header, r *fhir.Resource) {
	if version := r.Version(); version != "" {
		header.Set("Etag", etag(version))
	}
	if at, ok := r.Updated(); ok {
		header.Set("Last-Modified", at.UTC().Format(http.TimeFormat))
	}
}

func etag(version string) string { return `W/"` + version + `"` }

// unchanged evaluates If-None-Match and, without that, If-Modified-Since
// (RFC 9110, section 13).
func unchanged(r *http.Request, resource *fhir.Resource) bool {
	if tags := r.Header.Values("If-None-Match"); len(tags) > 0 {
		for tag := range strings.SplitSeq(strings.Join(tags, ","), ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || resource.Version() != "" && strings.TrimPrefix(tag, "W/") == `"`+resource.Version()+`"` {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	at, known := resource.Updated()
	return err == nil && known && !at.Truncate(time.Second).After(since)
}

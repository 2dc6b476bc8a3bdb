package gateway

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// maxReferences is how many others one resource may refer to that is written: each
// search that finds it looks them up.
const maxReferences = 500

var (
	errReferences = &decline{http.StatusUnprocessableEntity, "too-costly", "TooManyReferences", fmt.Sprintf("a resource that is written here refers to at most %d others", maxReferences)}
	// errUnconfirmed does not ask for another try, which might do it twice.
	errUnconfirmed = &decline{http.StatusInternalServerError, "exception", "Unconfirmed", "the FHIR server behind this gateway may have taken the resource: look for it before it is sent again"}
	errChanged     = &decline{http.StatusPreconditionFailed, "conflict", "Conflict", "the resource is of another version by now: read it again"}
	errNotAdmitted = &decline{http.StatusForbidden, "forbidden", "NotAdmitted", "no scope of the token admits the resource as it would be: whose it is, what it is of, its date, what it is labelled with, or what it refers to"}
)

// create answers a create. The server gives the id.
func (f *front) create(w http.ResponseWriter, r *http.Request, s *session, what *asked, kind string) error {
	what.target = kind
	if r.Header.Get("If-None-Exist") != "" {
		return unsupported("a conditional create is not done here: it would tell what is withheld")
	}
	if err := unparametered(r); err != nil {
		return err
	}
	if !s.rules.Allow(consent.Create, kind) {
		return errScope(consent.Create, kind)
	}
	after, err := f.proposed(w, r, s, consent.Create, kind, "", nil)
	if err != nil {
		return err
	}
	if err := f.goOn(r.Context(), s, what); err != nil { // the body may have been slow to come
		return err
	}
	if err := f.logWrite(r, s, what); err != nil {
		return err
	}
	text, location, err := f.write(r.Context(), http.MethodPost, kind, after.WithoutID(), "")
	if err != nil {
		return f.unconfirmed(r.Context(), err)
	}
	r = r.WithContext(context.WithoutCancel(r.Context())) // what was done is logged, whoever still waits
	name, err := created(kind, text, location)
	if err != nil {
		return f.unconfirmed(r.Context(), err)
	}
	made, readable := f.written(r.Context(), s, text, name)
	// Its id was not known before.
	if err := f.logWrite(r, s, what, name); err != nil {
		return errUnconfirmed
	}
	at := f.public + "/" + name
	if made != nil && made.Version() != "" {
		at += "/_history/" + made.Version()
	}
	w.Header().Set("Location", at)
	f.reply(w, r, http.StatusCreated, made, readable)
	return nil
}

// unconfirmed is what is said of a create that failed: unless the server refused
// it, or it was not even sent, it may have been done.
func (f *front) unconfirmed(ctx context.Context, err error) error {
	_, declined := errors.AsType[*decline](err)
	if failed, ok := errors.AsType[*net.OpError](err); declined || ok && failed.Op == "dial" {
		return err
	}
	f.complain(ctx, "create", err)
	return errUnconfirmed
}

// errUnnamed is a write that the server answers with something else.
var errUnnamed = fmt.Errorf("%w: it does not say what it wrote", errUpstream)

// created gives the name of what was created: by the resource in the server's
// answer or, as that need not be there (FHIR R4, RESTful API, create), by the Location.
// That may have the base by which others know the server.
func created(kind string, text []byte, location string) (name string, err error) {
	if name, err := fhir.Name(text); err == nil {
		if !strings.HasPrefix(name, kind+"/") {
			return "", errUnnamed
		}
		return name, nil
	}
	location, _, _ = strings.Cut(location, "/_history/")
	if rest, id, found := cutLast("/"+location, '/'); found && fhir.IsID(id) && strings.HasSuffix(rest, "/"+kind) {
		return kind + "/" + id, nil
	}
	return "", errUnnamed
}

// update answers an update of what is there: it never creates.
func (f *front) update(w http.ResponseWriter, r *http.Request, s *session, what *asked, kind, id string) error {
	if err := unparametered(r); err != nil {
		return err
	}
	before, err := f.versioned(r, s, consent.Update, kind, id)
	if err != nil {
		return err
	}
	after, err := f.proposed(w, r, s, consent.Update, kind, id, before)
	if err != nil {
		return err
	}
	if err := f.goOn(r.Context(), s, what); err != nil {
		return err
	}
	if err := f.logWrite(r, s, what, before.Name()); err != nil {
		return err
	}
	text, _, err := f.write(r.Context(), http.MethodPut, before.Name(), after.Raw(), etag(before.Version()))
	if err != nil {
		return err
	}
	if name, err := fhir.Name(text); err == nil && name != before.Name() {
		return errUnnamed
	}
	made, readable := f.written(r.Context(), s, text, before.Name())
	f.reply(w, r, http.StatusOK, made, readable)
	return nil
}

// delete answers a delete.
func (f *front) delete(w http.ResponseWriter, r *http.Request, s *session, what *asked, kind, id string) error {
	if err := unparametered(r); err != nil {
		return err
	}
	before, err := f.versioned(r, s, consent.Delete, kind, id)
	if err != nil {
		return err
	}
	if err := f.goOn(r.Context(), s, what); err != nil { // the FHIR server may have been slow
		return err
	}
	if err := f.logWrite(r, s, what, before.Name()); err != nil {
		return err
	}
	if _, _, err := f.write(r.Context(), http.MethodDelete, before.Name(), nil, etag(before.Version())); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// versioned gives the resource that is to be changed, if it is admitted as it
// is, and of the version that the requester expects. Without a version nobody
// could tell whether what is changed is what was judged.
func (f *front) versioned(r *http.Request, s *session, interaction consent.Interactions, kind, id string) (*fhir.Resource, error) {
	before, err := f.current(r.Context(), s, interaction, kind, id)
	if err != nil {
		return nil, err
	}
	if before.Version() == "" {
		return nil, fmt.Errorf("%w: it gives no versions, without which nothing is changed", errUpstream)
	}
	for _, match := range r.Header.Values("If-Match") {
		if match != "*" && strings.TrimPrefix(match, "W/") != `"`+before.Version()+`"` {
			return nil, errChanged
		}
	}
	if len(r.Header.Values("If-None-Match")) > 0 && unchanged(r, before) {
		return nil, errChanged // RFC 9110, section 13.1.2
	}
	return before, nil
}

// proposed reads the resource that is to be written, and judges it as if it
// stood in the record.
func (f *front) proposed(w http.ResponseWriter, r *http.Request, s *session, interaction consent.Interactions, kind, id string, before *fhir.Resource) (*fhir.Resource, error) {
	if !fhir.IsJSON(r.Header.Get("Content-Type")) {
		return nil, errContentType
	}
	body, err := wholeBody(w, r)
	if err != nil {
		return nil, err
	}
	excerpt := fhir.NewExcerpt(s.patient, f.upstream.base)
	after, err := excerpt.Read(body)
	switch {
	case err != nil:
		return nil, invalid(err)
	case after.Type() != kind:
		return nil, invalid(errors.New("the body is of another type than the URL"))
	case id != "" && after.ID() != id:
		return nil, invalid(errors.New("the body has another id than the URL"))
	case !excerpt.AdmitsAlone(s.rules, interaction, after):
		return nil, errNotAdmitted
	}
	if err := excerpt.Add(after); err != nil {
		return nil, err
	}
	if len(excerpt.Missing()) > maxReferences || excerpt.Exceeded() {
		return nil, errReferences
	}
	if err := f.upstream.settle(r.Context(), excerpt, nil); err != nil {
		return nil, err
	}
	if !excerpt.Reaches(s.rules, after, before) || !excerpt.Admits(s.rules, interaction, after) {
		return nil, errNotAdmitted
	}
	occasions := excerpt.Occasions(after, before)
	if len(occasions) > maxOccasions {
		return nil, errNotAdmitted
	}
	for _, name := range occasions {
		if err := f.opens(r.Context(), s, name); err != nil {
			return nil, err
		}
	}
	return after, nil
}

// maxOccasions is how many encounters one resource may newly refer to.
const maxOccasions = 8

// opens tells whether the session may read or find a resource, by errNotAdmitted
// where not.
func (f *front) opens(ctx context.Context, s *session, name string) error {
	kind, id, _ := strings.Cut(name, "/")
	for _, interaction := range []consent.Interactions{consent.Read, consent.Search} {
		_, err := f.current(ctx, s, interaction, kind, id)
		if _, withheld := errors.AsType[*decline](err); !withheld {
			return err
		}
	}
	return errNotAdmitted
}

// logWrite logs what is about to be written, or what was created.
func (f *front) logWrite(r *http.Request, s *session, what *asked, names ...string) error {
	n := notice{Interaction: what.interaction, Target: what.target, Outcome: fhir.Permitted, Request: servedOf(r.Context()).id, Resources: names}
	if err := f.note(r.Context(), s, n); err != nil {
		return f.unlogged(r.Context(), err)
	}
	return nil
}

// write has the FHIR server change something, and gives its answer and the Location
// in that. What was decided must not be cut short by whoever asked for it.
func (f *front) write(ctx context.Context, method, path string, body []byte, match string) (text []byte, location string, err error) {
	answer, err := f.upstream.send(context.WithoutCancel(ctx), method, path, body, match)
	if err != nil {
		return nil, "", err
	}
	text, err = whole(answer)
	switch {
	case answer.StatusCode == http.StatusPreconditionFailed, answer.StatusCode == http.StatusConflict:
		return nil, "", errChanged
	case answer.StatusCode == http.StatusBadRequest, answer.StatusCode == http.StatusUnprocessableEntity:
		// Why is not told: it may quote what is withheld.
		return nil, "", &decline{http.StatusUnprocessableEntity, "processing", "Rejected", "the FHIR server behind this gateway does not take the resource"}
	case answer.StatusCode/100 != 2:
		return nil, "", fmt.Errorf("%w: it answers a %s with %s", errUpstream, method, answer.Status)
	case err != nil:
		return nil, "", err
	}
	return text, answer.Header.Get("Location"), nil
}

// written gives what was written under a name, as the FHIR server's answer has it
// or else as it is read, and tells whether the session may read it. It is nil where
// it cannot be had.
func (f *front) written(ctx context.Context, s *session, text []byte, name string) (made *fhir.Resource, readable bool) {
	excerpt := fhir.NewExcerpt(s.patient, f.upstream.base)
	made, err := excerpt.Read(text)
	if err != nil || made.Name() != name {
		if text, err = f.upstream.get(ctx, name); err == nil {
			if made, err = excerpt.Read(text); err != nil || made.Name() != name {
				err = errUnreadable
			}
		}
		if err != nil {
			f.complain(ctx, "what was written", err)
			return nil, false
		}
	}
	if !excerpt.AdmitsAlone(s.rules, consent.Read, made) {
		return made, false
	}
	if err := excerpt.Add(made); err != nil {
		return made, false
	}
	if err := f.upstream.settle(ctx, excerpt, nil); err != nil {
		return made, false
	}
	return made, excerpt.Admits(s.rules, consent.Read, made)
}

// reply tells what was written, as far as that is known; the resource itself only to whoever may read it.
func (f *front) reply(w http.ResponseWriter, r *http.Request, status int, made *fhir.Resource, readable bool) {
	if made != nil {
		describe(w.Header(), made)
	}
	for _, preference := range r.Header.Values("Prefer") {
		if strings.Contains(preference, "return=minimal") || strings.Contains(preference, "return=OperationOutcome") {
			readable = false
		}
	}
	if !readable {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", fhirJSON)
	w.WriteHeader(status)
	_, _ = w.Write(made.Raw())
}

func mediaType(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

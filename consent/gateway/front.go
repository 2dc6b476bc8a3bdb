package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// front answers the FHIR requests of a session: each is judged by the session's
// rules, on what the FHIR server really has.
type front struct {
	upstream *upstream
	public   string   // base URL, without a slash at its end
	base     string   // its path
	key      [32]byte // that cursors are sealed with
	note     func(context.Context, *session, notice) error
	goOn     func(context.Context, *session, *asked) error     // where a request takes its time; a *denial is noted
	complain func(ctx context.Context, what string, err error) // to the operator's log
	deny     func(http.ResponseWriter, *http.Request, *denial)
	large    *places // for requests with large bodies
}

// decline is why a request is not carried out. It says nothing that depends on
// what is withheld.
type decline struct {
	status  int
	issue   string // code of FHIR's issue-type
	outcome string // stable code, for the log
	text    string // for a person
}

func (r *decline) Error() string { return r.outcome + ": " + r.text }

func invalid(err error) error {
	if errors.Is(err, fhir.ErrOtherPatient) {
		return errOtherPatient
	}
	return &decline{http.StatusBadRequest, "invalid", "Invalid", err.Error()}
}

func unsupported(text string) error {
	return &decline{http.StatusNotImplemented, "not-supported", "Unsupported", text}
}

var (
	// errNotFound is one answer for what does not exist and for what is withheld.
	errNotFound     = &decline{http.StatusNotFound, "not-found", "NotFound", "there is no such resource"}
	errOtherPatient = &decline{http.StatusForbidden, "forbidden", "OtherPatient", "the token is for another patient's record"}
	errUnavailable  = &decline{http.StatusBadGateway, "transient", "UpstreamFailed", "the FHIR server behind this gateway gave no usable answer: try again later"}
	errUnlogged     = &decline{http.StatusServiceUnavailable, "transient", "Unlogged", "the request could not be logged, so it was not answered: try again later"}
	errPath         = &decline{http.StatusBadRequest, "invalid", "Invalid", "want Type, Type/id, Type/id/_history/version, Patient/id/Type, Patient/id/$everything or Patient/$everything, unescaped"}
	errMethod       = &decline{http.StatusMethodNotAllowed, "not-supported", "Unsupported", "that method is not for this URL"}
	errType         = &decline{http.StatusNotFound, "not-supported", "Unsupported", "FHIR R4 has no such resource type"}
	errParameters   = &decline{http.StatusBadRequest, "invalid", "Invalid", "a single resource has no parameters but _format for JSON: it is given whole or not at all, and nothing is done under conditions but by headers"}
	errAccept       = &decline{http.StatusNotAcceptable, "not-supported", "Unsupported", "only JSON is written here: ask for application/fhir+json"}
	errContentType  = &decline{http.StatusUnsupportedMediaType, "not-supported", "Unsupported", "only JSON is read here: send application/fhir+json"}
	errBusy         = &decline{http.StatusServiceUnavailable, "throttled", "Busy", "too much is being sent at once: send it again later"}
	errTooLong      = &decline{http.StatusRequestEntityTooLarge, "too-long", "TooLong", "the body is longer than 4 MiB"}
)

// interactionWords are the interactions of a scope in words.
var interactionWords = map[consent.Interactions]string{
	consent.Create: "c (create)", consent.Read: "r (read)", consent.Update: "u (update)", consent.Delete: "d (delete)", consent.Search: "s (search)",
}

func errScope(interaction consent.Interactions, kind string) error {
	return &decline{http.StatusForbidden, "forbidden", "NoScope", "no scope of the token has " + interactionWords[interaction] + " for " + kind}
}

// asked is what a request asks for, as the log has it.
type asked struct {
	interaction string // code of FHIR's restful interactions
	target      string
	came        time.Time // when
}

// roundUp waits until the time since the request came is a whole number of steps.
func (a *asked) roundUp(ctx context.Context) {
	wait(ctx, timeStep-time.Since(a.came)%timeStep)
}

// timeStep is what the time of a miss and of a search is rounded up to, counted
// from when the request came. What is withheld is looked up and judged, and what
// does not exist is not: how long that takes is not seen where it takes less, and
// only in steps where it takes more. Searches are rounded whatever they find, as
// those that hide something would stand out else.
const timeStep = 20 * time.Millisecond

// overrides are headers that would make one method of another.
var overrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// serveFHIR answers a FHIR request of a session that was decided for this very
// request.
func (g *Gateway) serveFHIR(w http.ResponseWriter, r *http.Request, s *session) {
	g.front().serve(w, r, s)
}

func (g *Gateway) front() *front {
	return &front{upstream: g.upstream, public: g.public, base: g.base, key: g.key, note: g.note, goOn: g.goOn, deny: g.refuse, large: largeBodies, complain: func(ctx context.Context, what string, err error) {
		g.Log.ErrorContext(ctx, what, "request", servedOf(ctx).id, "error", err)
	}}
}

// serve answers a request of a session that was decided for this very request.
func (f *front) serve(w http.ResponseWriter, r *http.Request, s *session) {
	what := asked{interaction: "operation", came: time.Now(), target: targetOf(r, strings.TrimPrefix(r.URL.EscapedPath(), f.base))}
	if isLarge(r) && !inBatch(w) {
		client := client(r.Context())
		if !f.large.enter(client) {
			what.interaction = interactionOf(r.Method, strings.TrimPrefix(r.URL.EscapedPath(), f.base))
			f.serveError(w, r, s, what, errBusy)
			return
		}
		defer f.large.leave(client)
	}
	if err := f.route(w, r, s, &what); err != nil {
		f.serveError(w, r, s, what, err)
	}
}

// serveError logs why a request is not carried out, and answers so.
func (f *front) serveError(w http.ResponseWriter, r *http.Request, s *session, what asked, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // nobody waits
	}
	if denied, noted := errors.AsType[*denial](err); noted {
		f.deny(w, r, denied)
		return
	}
	declined, ok := errors.AsType[*decline](err)
	if !ok {
		f.complain(r.Context(), what.interaction, err)
		declined = errUnavailable
	}
	n := notice{Interaction: what.interaction, Target: what.target, Outcome: declined.outcome, Clause: declined.text, Request: servedOf(r.Context()).id}
	noted := f.note(r.Context(), s, n)
	if declined == errNotFound || declined == errNotAdmitted {
		what.roundUp(r.Context())
	}
	if denied, instead := errors.AsType[*denial](noted); instead {
		f.deny(w, r, denied)
		return
	}
	if noted != nil {
		f.complain(r.Context(), "log", noted)
		if declined != errUnconfirmed {
			declined = errUnlogged
		}
	}
	refuse(w, declined)
}

// unlogged is why a request is not answered that could not be noted.
func (f *front) unlogged(ctx context.Context, err error) error {
	if _, noted := errors.AsType[*denial](err); noted {
		return err
	}
	f.complain(ctx, "log", err)
	return errUnlogged
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// operationOutcome is FHIR's resource for what went wrong.
func operationOutcome(r *decline) []byte {
	type issue struct {
		Severity    string `json:"severity"`
		Code        string `json:"code"`
		Diagnostics string `json:"diagnostics"`
	}
	text, err := json.Marshal(struct {
		ResourceType string  `json:"resourceType"`
		Issue        []issue `json:"issue"`
	}{"OperationOutcome", []issue{{"error", r.issue, strings.ToValidUTF8(r.text, "\uFFFD")}}})
	if err != nil {
		return []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}`)
	}
	return text
}

func refuse(w http.ResponseWriter, r *decline) {
	w.Header().Set("Content-Type", fhirJSON)
	if r.status == http.StatusServiceUnavailable || r.status == http.StatusBadGateway {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(operationOutcome(r))
}

// route finds out what is asked for, and has it done. An error has not been
// answered yet.
func (f *front) route(w http.ResponseWriter, r *http.Request, s *session, what *asked) error {
	for _, name := range overrides {
		if r.Header.Get(name) != "" {
			return invalid(errors.New("a header that overrides the method is not followed"))
		}
	}
	if !acceptsJSON(r.Header.Values("Accept")) {
		return errAccept
	}
	parts, err := f.path(r.URL)
	if err != nil {
		return err
	}
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	post, put, del := r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodDelete
	switch {
	case len(parts) == 0 && inBatch(w):
		return errPath
	case len(parts) == 0 && post:
		what.interaction = "batch"
		return f.batch(w, r, s, what)
	case len(parts) == 0 && get && r.URL.Query().Has(pageParameter):
		what.interaction = "search-type"
		return f.resume(w, r, s, what)
	case len(parts) == 0 && get:
		return unsupported("a search of all types at once is not done here: search one type, or ask for Patient/id/$everything")
	case len(parts) == 0:
		w.Header().Set("Allow", "POST")
		return errMethod
	case !fhir.IsType(parts[0]):
		return errType
	case len(parts) == 1 && get, len(parts) == 2 && parts[1] == "_search" && post:
		what.interaction = "search-type"
		return f.search(w, r, s, what, parts[0])
	case len(parts) == 1 && post:
		what.interaction = "create"
		return f.create(w, r, s, what, parts[0])
	case len(parts) == 1 && (put || del || r.Method == http.MethodPatch):
		return unsupported("conditional updates and deletes are not done here: name the resource, as in Type/id")
	case len(parts) == 1:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return errMethod
	case len(parts) == 2 && parts[0] == "Patient" && parts[1] == "$everything" && get:
		what.target = strings.Join(parts, "/")
		return f.everything(w, r, s, what, s.patient) // of all patients that the token opens
	case !fhir.IsID(parts[1]):
		return errPath
	case r.Method == http.MethodPatch:
		return unsupported("a patch is not done here: update the whole resource, with If-Match")
	case len(parts) == 2 && get:
		what.interaction, what.target = "read", parts[0]+"/"+parts[1]
		return f.read(w, r, s, what, parts[0], parts[1], "")
	case len(parts) == 2 && put:
		what.interaction, what.target = "update", parts[0]+"/"+parts[1]
		return f.update(w, r, s, what, parts[0], parts[1])
	case len(parts) == 2 && del:
		what.interaction, what.target = "delete", parts[0]+"/"+parts[1]
		return f.delete(w, r, s, what, parts[0], parts[1])
	case len(parts) == 2:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		return errMethod
	case len(parts) == 4 && parts[2] == "_history" && get:
		if !fhir.IsID(parts[3]) {
			return errPath
		}
		what.interaction, what.target = "vread", strings.Join(parts, "/")
		return f.read(w, r, s, what, parts[0], parts[1], parts[3])
	case parts[2] == "_history":
		return unsupported("histories are not given here: read a version by Type/id/_history/version")
	case parts[0] != "Patient":
		return errPath
	case len(parts) == 3 && parts[2] == "$everything" && get:
		what.target = strings.Join(parts, "/")
		return f.everything(w, r, s, what, parts[1])
	case strings.HasPrefix(parts[2], "$"):
		return unsupported("of the operations only Patient/id/$everything is done here, by GET")
	case len(parts) == 3 && get && fhir.IsType(parts[2]), len(parts) == 4 && parts[3] == "_search" && post && fhir.IsType(parts[2]):
		what.interaction = "search-type"
		if parts[1] != s.patient {
			return errOtherPatient
		}
		return f.search(w, r, s, what, parts[2])
	}
	return errPath
}

// path takes the path of a request apart. What is escaped, empty or a way up is
// no path of FHIR, whatever another server on the way would make of it.
func (f *front) path(at *url.URL) ([]string, error) {
	path, within := strings.CutPrefix(at.EscapedPath(), f.base)
	path, rooted := strings.CutPrefix(path, "/")
	if !within || path != "" && !rooted || strings.ContainsAny(path, "%\\;:") {
		return nil, errPath
	}
	if path == "" {
		return nil, nil
	}
	parts := strings.Split(path, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return nil, errPath
		}
	}
	return parts, nil
}

// unparametered refuses all parameters for a single resource but _format.
func unparametered(r *http.Request) error {
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return errParameters
	}
	for name, values := range parameters {
		if name != "_format" || len(values) != 1 || !fhir.IsJSON(values[0]) {
			return errParameters
		}
	}
	return nil
}

// acceptsJSON tells whether one of the media types that are asked for is JSON.
func acceptsJSON(accept []string) bool {
	if len(accept) == 0 {
		return true
	}
	for media := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, _ := strings.Cut(strings.ToLower(media), ";")
		unwanted := false
		for parameter := range strings.SplitSeq(parameters, ";") {
			if name, q, _ := strings.Cut(strings.TrimSpace(parameter), "="); name == "q" && strings.Trim(q, "0.") == "" {
				unwanted = true
			}
		}
		switch strings.TrimSpace(kind) {
		case "*/*", "application/*":
			if !unwanted {
				return true
			}
		default:
			if !unwanted && fhir.IsJSON(media) {
				return true
			}
		}
	}
	return false
}

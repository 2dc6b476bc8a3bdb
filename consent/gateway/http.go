package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-wallet/assent/consent"
)

const (
	// concurrent is how many requests are served at once; others are asked to come
	// again.
	concurrent = 1024
	// concurrentByOne is how many of them may be of one client, so that whoever is
	// slow leaves places to others.
	concurrentByOne = 512
	// writePatience is how long the client may take to receive what was written.
	writePatience = 30 * time.Second
	// bodyPatience is how long it may take to send a body.
	bodyPatience = 15 * time.Second

	// exchanges is how many accesses are taken apart and decided at once. Others,
	// whose body has come, wait.
	exchanges = 128
	// longExchanges is how many of them may be long, from when they begin to come:
	// each may take a few megabytes.
	longExchanges = 32
	longByOne     = 16

	// A client that was refused, or handed something over, that often where anybody
	// may has to wait.
	refusalBurst = 200
	refusalRate  = 1 // a second
	clients      = 4096
)

// denial is why a request is not answered.
type denial struct {
	status  int    // of HTTP
	code    string // of OAuth; may be empty
	outcome string // stable: what the client is told
	clause  string // what exactly failed, for the log of decisions
}

func (d *denial) Error() string { return d.outcome + ": " + d.clause }

// outcomeUnavailable is the outcome where nothing could be decided, so that there is
// nothing to log of it either.
const outcomeUnavailable = "Unavailable"

// unavailable is a failure of what the gateway itself needs.
func unavailable(err error) *denial {
	return &denial{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", outcome: outcomeUnavailable, clause: err.Error()}
}

func tooOld(s consent.State) *denial {
	return &denial{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", outcome: consent.ChainTooOld.String(),
		clause: fmt.Sprintf("block %d is %d s old", s.Block, s.Age)}
}

// served is what is known of a request while it is served.
type served struct {
	id      string
	client  string // network address
	route   string
	outcome string // of the last note

	// proof is one that the first note records as used, together with what it
	// notes.
	proof *proof
}

type servedKey struct{}

func servedOf(ctx context.Context) *served {
	if s, ok := ctx.Value(servedKey{}).(*served); ok {
		return s
	}
	return new(served)
}

func client(ctx context.Context) string { return servedOf(ctx).client }

// answer is the response, with its status, and with a limit to how long a client
// may take to receive it.
type answer struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	status   int
}

func (g *Gateway) answerTo(w http.ResponseWriter) *answer {
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), patience: g.writePatience}
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.within(unlimited)
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.within(a.patience)
	n, err := a.ResponseWriter.Write(b)
	a.within(unlimited)
	return n, err
}

// end limits how long the client may take to receive what is left in buffers when
// the request was served.
func (a *answer) end() { a.within(a.patience) }

// unlimited is more than any request takes. It is no absence of a limit, since
// HTTP/2 would make its timer anew, maybe of a stream that is closed already, and
// reset that when the connection is at other things.
const unlimited = 24 * time.Hour

// within limits how long the client may take from now on. In HTTP/2 the stream ends
// when the time is over, whether anything is written then or not.
func (a *answer) within(patience time.Duration) { a.control.SetWriteDeadline(time.Now().Add(patience)) }

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// ServeHTTP serves one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s := &served{id: rand.Text(), client: clientOf(r), route: "unknown"}
	r = r.WithContext(context.WithValue(r.Context(), servedKey{}, s))
	a := g.answerTo(w)
	defer a.end()
	if r.ContentLength != 0 {
		a.control.SetReadDeadline(began.Add(g.bodyPatience))
	}
	header := w.Header()
	header.Set("X-Request-Id", s.id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Date", began.UTC().Format(http.TimeFormat))
	defer func() {
		broken := recover()
		if broken == http.ErrAbortHandler {
			s.outcome = "Aborted"
		} else if broken != nil {
			s.outcome = "Broken"
			g.Log.ErrorContext(r.Context(), "a request broke the gateway", "request", s.id, "panic", fmt.Sprintf("%T", broken), "at", string(debug.Stack()))
			if a.status == 0 {
				g.refuse(a, r, &denial{status: http.StatusInternalServerError, outcome: s.outcome})
				broken = nil
			}
		}
		if s.outcome == "" {
			s.outcome = strings.ReplaceAll(http.StatusText(max(a.status, http.StatusOK)), " ", "")
		}
		took := time.Since(began)
		g.metrics.requests.WithLabelValues(s.route, s.outcome).Inc()
		g.metrics.seconds.WithLabelValues(s.route).Observe(took.Seconds())
		level := slog.LevelDebug
		if a.status >= http.StatusBadRequest {
			level = slog.LevelInfo
		}
		// Neither path nor query: they tell of a patient.
		g.Log.LogAttrs(r.Context(), level, "request", slog.String("request", s.id), slog.String("route", s.route),
			slog.String("method", r.Method), slog.Int("status", a.status), slog.String("outcome", s.outcome), slog.Duration("took", took))
		if broken != nil { // half an answer must not look like a whole one
			panic(http.ErrAbortHandler)
		}
	}()
	if !g.places.enter(s.client) {
		g.refuse(a, r, errNoPlace)
		return
	}
	defer g.places.leave(s.client)
	if d := g.serve(a, r, s); d != nil {
		g.refuse(a, r, d)
	}
}

// places are as many as there are of something, and how many of them one client may
// take.
type places struct {
	all, share int

	sync.Mutex
	taken int
	by    map[string]int // network
}

func newPlaces(all, share int) *places {
	return &places{all: all, share: share, by: make(map[string]int)}
}

// enter takes a place for a client, if there is one.
func (p *places) enter(client string) bool {
	client = network(client)
	p.Lock()
	defer p.Unlock()
	if p.taken >= p.all || p.by[client] >= p.share {
		return false
	}
	p.taken++
	p.by[client]++
	return true
}

// leave gives it back.
func (p *places) leave(client string) {
	client = network(client)
	p.Lock()
	defer p.Unlock()
	p.taken--
	if p.by[client]--; p.by[client] == 0 {
		delete(p.by, client)
	}
}

// serve finds the route of a request. Paths are taken as they are: nothing is
// cleaned or redirected.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, s *served) *denial {
	path, below := strings.CutPrefix(r.URL.EscapedPath(), g.base)
	if !below || path != "" && path[0] != '/' {
		return &denial{status: http.StatusNotFound, outcome: "NotFound"}
	}
	switch path {
	case "/health":
		s.route = path
		return g.serveHealth(w, r)
	case "/.well-known/smart-configuration":
		s.route = path
		return g.serveSMARTConfiguration(w, r)
	case "/metadata":
		s.route = path
		return g.serveMetadata(w, r)
	case "/ready":
		s.route = path
		return g.serveReady(w, r)
	case "/token":
		s.route = path
		limit := g.limiter(s.client)
		if limit.Tokens() < 1 {
			return errTooMany
		}
		d := g.serveToken(w, r)
		if d != nil && d.status < 500 {
			limit.Allow()
		}
		return d
	case "/revocations", "/retirements":
		s.route = path
		// It costs something each time, and is never refused for what it says.
		if !g.limiter(s.client).Allow() {
			return errTooMany
		}
		if path == "/revocations" {
			return g.serveRevocations(w, r)
		}
		return g.serveRetirements(w, r)
	}
	s.route = "fhir"
	if path == "/audit" {
		s.route = path
	}
	read := (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Count(path, "/") == 2
	at, d := g.authenticate(r, g.public+path, read)
	if d != nil {
		if at == nil || d.outcome == outcomeUnavailable {
			return d
		}
		if err := g.note(r.Context(), at, notice{Interaction: interactionOf(r.Method, path), Target: targetOf(r, path), Outcome: d.outcome, Clause: d.clause, Request: s.id}); err != nil {
			if other, refused := errors.AsType[*denial](err); refused {
				return other
			}
			return unavailable(err)
		}
		return d
	}
	if path == "/audit" {
		return g.serveAudit(w, r, at)
	}
	g.serveFHIR(w, r, at)
	return nil
}

var (
	errNoPlace = &denial{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", outcome: "Busy", clause: "as much goes on as may at once"}
	errTooMany = &denial{status: http.StatusTooManyRequests, code: "temporarily_unavailable", outcome: "TooManyRefusals", clause: "others wait for whoever asks too often"}
)

// targetOf is what a request asked for, as the log has it.
func targetOf(r *http.Request, path string) string {
	text := strings.TrimPrefix(path, "/")
	if r.URL.RawQuery != "" {
		text += "?" + r.URL.RawQuery
	}
	return text[:min(len(text), maxRefused)]
}

// interactionOf is FHIR's name for what a request that was refused looked like.
func interactionOf(method, path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case strings.HasPrefix(last, "$"):
		return "operation"
	case last == "_search":
		return "search-type"
	case method == http.MethodGet && len(parts) == 2:
		return "read"
	case method == http.MethodGet && len(parts) == 4:
		return "vread"
	case method == http.MethodGet:
		return "search-type"
	case method == http.MethodPut:
		return "update"
	case method == http.MethodDelete:
		return "delete"
	case method == http.MethodPost && last == "":
		return "batch"
	case method == http.MethodPost:
		return "create"
	}
	return "operation"
}

// limiter is how often a client may still be refused, or hand something over.
func (g *Gateway) limiter(client string) *rate.Limiter {
	client = network(client)
	if l, known := g.limiters.Get(client); known {
		return l
	}
	l := rate.NewLimiter(refusalRate, refusalBurst)
	g.limiters.Add(client, l)
	return l
}

// clientOf is the network address that a request comes from.
func clientOf(r *http.Request) string {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return remote.Addr().Unmap().WithZone("").String()
}

// network is what a client can choose its addresses from: in IPv6, 64 bits of
// them.
func network(client string) string {
	if at, err := netip.ParseAddr(client); err == nil && at.Is6() {
		if prefix, err := at.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return client
}

// issueCodes are FHIR's for a status of HTTP.
var issueCodes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusUnauthorized: "login", http.StatusForbidden: "forbidden", http.StatusNotFound: "not-found",
	http.StatusMethodNotAllowed: "not-supported", http.StatusRequestEntityTooLarge: "too-long", http.StatusTooManyRequests: "throttled",
	http.StatusServiceUnavailable: "transient",
}

// refuse answers with a denial: as OAuth has it where tokens are asked for, else
// as an OperationOutcome.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, d *denial) {
	s := servedOf(r.Context())
	s.outcome = d.outcome
	if d.outcome == outcomeUnavailable && !errors.Is(r.Context().Err(), context.Canceled) {
		g.Log.ErrorContext(r.Context(), "a request cannot be decided", "request", s.id, "route", s.route, "error", d.clause)
	}
	header := w.Header()
	switch d.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		for _, scheme := range g.schemes() {
			header.Add("WWW-Authenticate", challenge(scheme, d))
		}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", "2")
	}
	if d.code == "use_dpop_nonce" {
		header.Set("DPoP-Nonce", g.nonce())
	}
	var body any
	if s.route == "/token" {
		header.Set("Content-Type", "application/json")
		header.Set("Pragma", "no-cache")
		body = map[string]string{"error": d.code, "error_description": d.outcome}
	} else {
		header.Set("Content-Type", fhirJSON)
		issue := issueCodes[d.status]
		if issue == "" {
			issue = "exception"
		}
		body = map[string]any{"resourceType": "OperationOutcome", "issue": []any{map[string]string{"severity": "error", "code": issue, "diagnostics": d.outcome}}}
	}
	w.WriteHeader(d.status)
	json.NewEncoder(w).Encode(body)
}

// schemes are how a token may be shown.
func (g *Gateway) schemes() []string {
	if g.AllowBearer {
		return []string{"DPoP", "Bearer"}
	}
	return []string{"DPoP"}
}

// challenge is one of WWW-Authenticate (RFC 9449, section 7.1; RFC 6750, section
// 3).
func challenge(scheme string, d *denial) string {
	text := scheme + ` realm="FHIR"`
	if scheme == "DPoP" {
		text += `, algs="` + proofAlgorithms + `"`
	}
	if d.code != "" {
		text += fmt.Sprintf(`, error=%q, error_description=%q`, d.code, d.outcome)
	}
	return text
}

// serveHealth tells that the process is alive.
func (g *Gateway) serveHealth(w http.ResponseWriter, _ *http.Request) *denial {
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "alive\n")
	return nil
}

// readyFor is how long it is taken that nothing has changed.
const readyFor = time.Second

// serveReady tells whether requests would be served: the view of the chain is
// new enough, and database and FHIR server answer.
func (g *Gateway) serveReady(w http.ResponseWriter, r *http.Request) *denial {
	g.readiness.Lock()
	defer g.readiness.Unlock()
	if time.Since(g.readiness.at) > readyFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
		defer cancel()
		g.readiness.why = g.unready(ctx)
		g.readiness.at = time.Now()
	}
	if g.readiness.why != "" {
		return &denial{status: http.StatusServiceUnavailable, outcome: g.readiness.why}
	}
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "ready\n")
	return nil
}

func (g *Gateway) unready(ctx context.Context) string {
	state, err := g.ledger.State(ctx, consent.Entries{})
	switch {
	case err != nil:
		g.Log.ErrorContext(ctx, "the chain cannot be read", "error", err)
		return "NoChain"
	case state.Age > g.MaxAge:
		return consent.ChainTooOld.String()
	}
	if err := g.db.PingContext(ctx); err != nil {
		g.Log.ErrorContext(ctx, "the database does not answer", "error", err)
		return "NoDatabase"
	}
	if err := g.upstream.answers(ctx); err != nil {
		g.Log.ErrorContext(ctx, "the FHIR server does not answer", "error", err)
		return "NoUpstream"
	}
	return ""
}

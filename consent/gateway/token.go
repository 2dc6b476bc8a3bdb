package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// What is exchanged at the token endpoint (RFC 8693).
const (
	GrantType        = "urn:ietf:params:oauth:grant-type:token-exchange"
	SubjectTokenType = "urn:assent:params:oauth:token-type:access-1" // an access/1, in base64url without padding
	issuedTokenType  = "urn:ietf:params:oauth:token-type:access_token"
)

// maxTokenRequest is the most bytes that a request for a token may have: sixteen
// links of sixteen scopes fit in a quarter of it.
const maxTokenRequest = 1 << 20

// shortExchange is up to how many bytes a request for a token is read without a
// place among the long ones: three links of sixteen scopes fit in it.
const shortExchange = 64 << 10

// plainDocument is up to how many bytes an access is kept as it came.
const plainDocument = 16 << 10

// serveToken exchanges an access for a token.
func (g *Gateway) serveToken(w http.ResponseWriter, r *http.Request) *denial {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &denial{status: http.StatusMethodNotAllowed, code: "invalid_request", outcome: "BadRequest", clause: "tokens are asked for by POST"}
	}
	if d := formed(r); d != nil {
		return d
	}
	content := http.MaxBytesReader(w, r.Body, maxTokenRequest)
	var body bytes.Buffer
	_, err := body.ReadFrom(io.LimitReader(content, shortExchange+1))
	if err == nil && body.Len() > shortExchange {
		from := client(r.Context())
		if !g.long.enter(from) {
			return errNoPlace
		}
		defer g.long.leave(from)
		_, err = body.ReadFrom(content)
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return &denial{status: http.StatusRequestEntityTooLarge, code: "invalid_request", outcome: "TooLarge", clause: "the request for a token is too large"}
	} else if err != nil {
		return badRequest("invalid_request", "the body breaks off")
	}
	select { // only now, so that nobody waits for a body that is slow to come
	case g.exchanges <- struct{}{}:
		defer func() { <-g.exchanges }()
	case <-r.Context().Done():
		return unavailable(r.Context().Err())
	}
	access, document, d := g.subject(body.String())
	if d != nil {
		return d
	}
	var binding common.Hash
	p, err := g.readProof(r, g.public+"/token", "")
	switch {
	case err != nil:
		d := invalidProof(err)
		d.status = http.StatusBadRequest // RFC 9449, section 5
		return d
	case p != nil:
		binding = p.binding
	case !g.AllowBearer:
		return &denial{status: http.StatusBadRequest, code: "invalid_dpop_proof", outcome: "WantProof", clause: "the request proves no key"}
	}
	enrollments, d := g.admit(r.Context(), p)
	if d != nil {
		if d.status == http.StatusUnauthorized {
			d.status = http.StatusBadRequest
		}
		return d
	}
	return g.exchange(w, r, access, document, binding, enrollments)
}

// exchange decides the access and answers with a token, or says why not.
func (g *Gateway) exchange(w http.ResponseWriter, r *http.Request, access *consent.AccessDocument, document []byte, binding common.Hash, enrollments uint64) *denial {
	ctx, version := r.Context(), g.ledger.Version()
	holder := g.holder
	s := sessionOf(access)
	n := notice{Interaction: fhir.TokenDecision, Target: scopes(access), Request: servedOf(ctx).id}
	// Noted in the log of the patient who is named, if she is enrolled.
	holder.Patient = func(ctx context.Context, grantor common.Address) (patient string, err error) {
		s.patient, err = g.patientOf(ctx, grantor)
		return s.patient, err
	}
	var need consent.Entries
	holder.View = func(ctx context.Context, all consent.Entries) (consent.State, error) {
		need = all
		return g.ledger.State(ctx, all)
	}
	now := g.now()
	for begun := false; !begun; { // at most twice, as the access was used then
		answer, err := holder.Answer(ctx, access, binding, now)
		if err != nil {
			return unavailable(err)
		}
		if answer.Outcome != consent.Permit {
			g.metrics.decisions.WithLabelValues(answer.Outcome.String()).Inc()
			d := &denial{status: http.StatusBadRequest, code: "invalid_grant", outcome: answer.Outcome.String(), clause: answer.Clause}
			if answer.Outcome == consent.ChainTooOld {
				d = tooOld(answer.State)
			}
			n.Outcome, n.Clause = d.outcome, d.clause
			if err := g.note(ctx, s, n); err != nil {
				return unavailable(err)
			}
			return d
		}
		if s, err = newSession(answer.Patient, access); err != nil {
			return unavailable(err)
		}
		s.need = need
		if len(document) > plainDocument {
			if document, err = access.MarshalJSON(); err != nil { // without white space
				return unavailable(err)
			}
		}
		n.Outcome = fhir.Permitted
		s.standing.Store(&standing{version, enrollments, now, min(s.expires(), now+tokenLife, now+g.MaxAge-answer.State.Age+1), answer.State.Block})
		if begun, err = g.begin(ctx, s, document, n); err != nil {
			return unavailable(err)
		}
	}
	g.metrics.decisions.WithLabelValues(consent.Permit.String()).Inc()
	servedOf(ctx).outcome = n.Outcome
	kind := "DPoP"
	if s.bearer() {
		kind = "Bearer"
	}
	body, err := json.Marshal(struct {
		AccessToken     string `json:"access_token"`
		IssuedTokenType string `json:"issued_token_type"`
		TokenType       string `json:"token_type"`
		ExpiresIn       uint64 `json:"expires_in"`
		Scope           string `json:"scope"`
		Patient         string `json:"patient"`
	}{g.token(s), issuedTokenType, kind, s.ends - now, n.Target, s.patient})
	if err != nil {
		return unavailable(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
	return nil
}

// scopes gives the scopes of an access as OAuth has them: SMART v2, each once,
// with spaces between; no more than there may be.
func scopes(access *consent.AccessDocument) string {
	var all []string
	asked := access.Access.Scopes
	for i := range asked[:min(len(asked), consent.MaxScopes)] {
		if text := asked[i].String(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, " ")
}

func badRequest(code, format string, args ...any) *denial {
	return &denial{status: http.StatusBadRequest, code: code, outcome: "BadRequest", clause: fmt.Sprintf(format, args...)}
}

// formed refuses a request for a token that is no form by what stands around it.
func formed(r *http.Request) *denial {
	kinds := r.Header.Values("Content-Type")
	if len(kinds) != 1 || r.Header.Get("Content-Encoding") != "" {
		return badRequest("invalid_request", "want one Content-Type, application/x-www-form-urlencoded, and no Content-Encoding")
	}
	if kind, _, err := mime.ParseMediaType(kinds[0]); err != nil || kind != "application/x-www-form-urlencoded" {
		return badRequest("invalid_request", "want the Content-Type application/x-www-form-urlencoded")
	}
	if r.URL.RawQuery != "" {
		return badRequest("invalid_request", "the parameters of a request for a token stand in its body")
	}
	return nil
}

// subject gives the access that the form of a request for a token is about, and its
// text.
func (g *Gateway) subject(text string) (*consent.AccessDocument, []byte, *denial) {
	fail := func(code, format string, args ...any) (*consent.AccessDocument, []byte, *denial) {
		return nil, nil, badRequest(code, format, args...)
	}
	form, err := parseForm(text, "")
	if err != nil {
		return fail("invalid_request", "%s", err)
	}
	switch {
	case form["grant_type"] != GrantType:
		return fail("unsupported_grant_type", "want grant_type %s", GrantType)
	case form["subject_token_type"] != SubjectTokenType:
		return fail("invalid_request", "want subject_token_type %s", SubjectTokenType)
	case form["requested_token_type"] != "" && form["requested_token_type"] != issuedTokenType:
		return fail("invalid_request", "want requested_token_type %s", issuedTokenType)
	case form["scope"] != "":
		return fail("invalid_scope", "the scopes stand in the access")
	case form["actor_token"] != "" || form["actor_token_type"] != "":
		return fail("invalid_request", "an access has no actor beside it")
	}
	for _, target := range []string{"audience", "resource"} {
		if form[target] != "" && strings.TrimSuffix(form[target], "/") != g.public {
			return fail("invalid_target", "want the %s %s", target, g.public)
		}
	}
	document, err := fromBase64(form["subject_token"])
	if err != nil {
		return fail("invalid_request", "subject_token: %s", err)
	}
	access, err := consent.ReadAccess(bytes.NewReader(document))
	if err != nil {
		return fail("invalid_request", "subject_token: %s", err)
	}
	return access, document, nil
}

// parseForm reads application/x-www-form-urlencoded, each name at most once;
// only names one that may be there, or is empty where others are not read.
func parseForm(text, only string) (map[string]string, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, errors.New("the parameters are not well encoded")
	}
	form := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) != 1 {
			return nil, fmt.Errorf("the parameter %s comes more than once", consent.Quote(name))
		}
		if only != "" && name != only {
			return nil, fmt.Errorf("the parameter %s is unknown", consent.Quote(name))
		}
		form[name] = all[0]
	}
	return form, nil
}

// remember is consent.Holder's Remember.
func (g *Gateway) remember(ctx context.Context, grantee common.Address, nonce common.Hash, until uint64) (bool, error) {
	once := sha256.Sum256(append(append([]byte("access"), grantee[:]...), nonce[:]...))
	r := &record{nonce: once[:], until: until}
	if err := g.journal.write(ctx, r); err != nil {
		return false, err
	}
	return r.fresh, nil
}

package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// session is what a token stands for: an access that was permitted.
type session struct {
	id       string // sessionID bytes; empty where the access was not permitted
	patient  string // logical id of the Patient at the upstream
	access   *consent.AccessDocument
	rules    *fhir.Rules
	grantor  common.Address // of the first link: the patient
	grantee  common.Address // of the last link: who asks
	purposes []string       // of its scopes, each once
	ends     uint64         // of the token, unix seconds

	need        consent.Entries
	examined    sync.Once
	examination *consent.Examination // once it was examined
	standing    atomic.Pointer[standing]
}

// standing is a decision on a session, and how long it holds.
type standing struct {
	version     uint64 // of the ledger
	enrollments uint64 // how often these had changed
	from, until uint64 // unix seconds; until is exclusive
	block       uint64
}

const (
	sessionID    = 16  // bytes
	tokenLife    = 300 // seconds
	tokenVersion = 1
)

func newSession(patient string, access *consent.AccessDocument) (*session, error) {
	rules, err := fhir.NewRules(access.Access.Scopes)
	if err != nil {
		return nil, err
	}
	s := sessionOf(access)
	s.patient, s.rules = patient, rules
	return s, nil
}

// sessionOf gives what an access says of itself, permitted or not.
func sessionOf(access *consent.AccessDocument) *session {
	s := &session{access: access}
	if n := len(access.Links); n > 0 {
		s.grantor, s.grantee = access.Links[0].Grant.Grantor, access.Links[n-1].Grant.Grantee
	}
	scopes := access.Access.Scopes
	for i := range scopes[:min(len(scopes), consent.MaxScopes)] {
		if purpose := scopes[i].Purpose; !slices.Contains(s.purposes, purpose) {
			s.purposes = append(s.purposes, purpose)
		}
	}
	return s
}

// block is the one that the session was last decided on.
func (s *session) block() uint64 {
	if at := s.standing.Load(); at != nil {
		return at.block
	}
	return 0
}

// bearer tells that the session is bound to no key.
func (s *session) bearer() bool { return s.access.Access.Binding == common.Hash{} }

// expires is when the first of the session's grants does, in unix seconds.
func (s *session) expires() uint64 {
	first := s.access.Links[0].Grant.Expires
	for i := range s.access.Links {
		first = min(first, s.access.Links[i].Grant.Expires)
	}
	return first
}

// token gives the token of a session: its id and end, and that a gateway of this
// data holder made it.
func (g *Gateway) token(s *session) string {
	b := binary.BigEndian.AppendUint64(append([]byte{tokenVersion}, s.id...), s.ends)
	return base64.RawURLEncoding.EncodeToString(append(b, g.mac("token", b)...))
}

var errNoToken = errors.New("the token is none of this data holder, or over")

// sessionOfToken gives the session of a token that is not over.
func (g *Gateway) sessionOfToken(ctx context.Context, token string) (*session, error) {
	b, err := fromBase64(token)
	if err != nil || len(b) != 1+sessionID+8+sha256.Size || b[0] != tokenVersion {
		return nil, errNoToken
	}
	content := b[:1+sessionID+8]
	if !hmac.Equal(b[len(content):], g.mac("token", content)) {
		return nil, errNoToken
	}
	if g.now() >= binary.BigEndian.Uint64(content[1+sessionID:]) {
		return nil, errNoToken
	}
	id := string(content[1 : 1+sessionID])
	if s, known := g.sessions.Get(id); known {
		return s, nil
	}
	var patient string
	var document []byte
	var ends uint64
	err = g.findSession.QueryRowContext(ctx, []byte(id)).Scan(&patient, &document, &ends)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoToken
	} else if err != nil {
		return nil, err
	}
	access, err := consent.ReadAccess(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	s, err := newSession(patient, access)
	if err != nil {
		return nil, err
	}
	s.id, s.ends = id, ends
	s.need = g.examine(s).Entries()
	g.keep(s, document)
	return s, nil
}

// examine gives what is needed to decide the session again. Many are never
// decided again.
func (g *Gateway) examine(s *session) *consent.Examination {
	s.examined.Do(func() { s.examination = consent.Examine(s.access, g.verified) })
	return s.examination
}

// begin gives the session an id and an end, and puts it into the database
// together with the note of it. document is its access. Where one of its grants or
// accounts was ended by what was handed over before anything here was known of it,
// the ledger is told instead, so that the next decision is another.
func (g *Gateway) begin(ctx context.Context, s *session, document []byte, n notice) (begun bool, err error) {
	id := make([]byte, sessionID)
	rand.Read(id)
	s.id, s.ends = string(id), min(g.now()+tokenLife, s.expires())
	r, err := g.logged(ctx, s, n)
	if err != nil {
		return false, err
	}
	until := make(map[string]uint64) // by revocation or account, the end of the last grant that has it
	for i := range s.access.Links {
		grant := &s.access.Links[i].Grant
		for _, revocation := range grant.Revocations {
			until[string(revocation[:])] = max(until[string(revocation[:])], grant.Expires)
		}
		for _, account := range []common.Address{grant.Grantor, grant.Grantee} {
			until[string(account[:])] = max(until[string(account[:])], grant.Expires)
		}
	}
	var keys, used []any
	for key, at := range until {
		keys = append(keys, []byte(key))
		used = append(used, []byte(key), int64(at))
	}
	r.change = func(ctx context.Context, tx *sql.Tx) error {
		k := len(keys)
		done, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO gateway_sessions (id, patient, access, ends) SELECT $%d, $%d, $%d, $%d"+
			" WHERE NOT EXISTS (SELECT 1 FROM gateway_handed_over WHERE key IN %s)", k+1, k+2, k+3, k+4, rows(1, k)),
			append(slices.Clip(keys), id, s.patient, document, int64(s.ends))...)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if r.void = n == 0; err != nil || r.void {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO gateway_used (key, until) VALUES "+rows(len(used)/2, 2)+
			" ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE excluded.until > gateway_used.until", used...)
		return err
	}
	if err := g.journal.write(ctx, r); err != nil {
		return false, err
	}
	if r.void {
		ended, err := g.handedOver(ctx, keys)
		if err == nil {
			err = g.post(ctx, ended)
		}
		return false, err
	}
	g.keep(s, document)
	return true, nil
}

// keep keeps a session in memory, unless its access is so long that many of them
// would fill it: these are read again for each request.
func (g *Gateway) keep(s *session, document []byte) {
	if len(document) <= cachedDocument {
		g.sessions.Add(s.id, s)
	}
}

// end ends a session for good.
func (g *Gateway) end(ctx context.Context, s *session) error {
	g.sessions.Remove(s.id)
	return g.journal.write(ctx, &record{change: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM gateway_sessions WHERE id = $1", []byte(s.id))
		return err
	}})
}

// authenticate gives the session that a request shows the token of, after all
// checks of this very request: the token, the proof of its key, and the grants
// behind it. Where it is refused, the session is given if it is known. Of a read,
// which changes nothing and is answered only once it is noted, the proof is
// recorded as used by that note.
func (g *Gateway) authenticate(r *http.Request, at string, read bool) (*session, *denial) {
	scheme, token, d := credentials(r)
	if d != nil {
		return nil, d
	}
	s, err := g.sessionOfToken(r.Context(), token)
	if errors.Is(err, errNoToken) {
		return nil, &denial{status: http.StatusUnauthorized, code: "invalid_token", outcome: "NoSession", clause: err.Error()}
	} else if err != nil {
		return nil, unavailable(err)
	}
	var p *proof
	switch {
	case !s.bearer() && scheme != "dpop":
		return s, &denial{status: http.StatusUnauthorized, code: "invalid_token", outcome: "WantProof", clause: "the token is bound to a key, and was shown without a proof of it"}
	case s.bearer() && (scheme != "bearer" || !g.AllowBearer):
		return s, &denial{status: http.StatusUnauthorized, code: "invalid_token", outcome: "WantProof", clause: "the token is bound to no key, and was shown as if it were or where such tokens are not taken"}
	case !s.bearer():
		if p, err = g.readProof(r, at, token); err != nil {
			return s, invalidProof(err)
		}
		if p == nil || p.binding != s.access.Access.Binding {
			return s, invalidProof(errors.New("the proof is missing, or of another key than the token is bound to"))
		}
	}
	if read && p != nil {
		servedOf(r.Context()).proof = p
		return s, g.decide(r.Context(), s, g.journal.enrollments.Load())
	}
	enrollments, d := g.admit(r.Context(), p)
	if d != nil {
		return s, d
	}
	return s, g.decide(r.Context(), s, enrollments)
}

// credentials reads the one Authorization header.
func credentials(r *http.Request) (scheme, token string, d *denial) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		// No error code where there was no attempt (RFC 6750, section 3).
		return "", "", &denial{status: http.StatusUnauthorized, outcome: "NoToken", clause: "the request has no Authorization header"}
	}
	scheme, token, found := strings.Cut(headers[0], " ")
	scheme = strings.ToLower(scheme)
	if len(headers) > 1 || !found || scheme != "dpop" && scheme != "bearer" {
		return "", "", &denial{status: http.StatusBadRequest, code: "invalid_request", outcome: "BadAuthorization", clause: "want one Authorization header: DPoP or Bearer, and the token"}
	}
	return scheme, token, nil
}

// decide decides the grants behind a session again, as far as anything could
// have changed since the last time.
func (g *Gateway) decide(ctx context.Context, s *session, enrollments uint64) *denial {
	if g.now() >= s.ends {
		return g.endFor(ctx, s, "NoSession", "the token is over")
	}
	return g.decideGrants(ctx, s, enrollments)
}

// decideGrants does so without regard to the end of the token.
func (g *Gateway) decideGrants(ctx context.Context, s *session, enrollments uint64) *denial {
	now, version := g.now(), g.ledger.Version()
	// What contracts say of their accounts may be another at any time.
	at := s.standing.Load()
	if at != nil && len(s.need.Signatures) == 0 && at.version == version && at.enrollments == enrollments && at.from <= now && now < at.until {
		return nil
	}
	if at == nil || at.enrollments != enrollments {
		patient, err := g.patientOf(ctx, s.grantor)
		if err != nil && !errors.Is(err, consent.ErrUnknownPatient) {
			return unavailable(err)
		}
		if err != nil || patient != s.patient {
			return g.endFor(ctx, s, consent.UnknownPatient.String(), "the patient's enrollment has ended")
		}
	}
	state, err := g.ledger.State(ctx, s.need)
	if err != nil {
		return unavailable(err)
	}
	if state.Age > g.MaxAge {
		return tooOld(state)
	}
	verdict, err := g.examine(s).Decide(state, now)
	if err != nil {
		return unavailable(err)
	}
	// Stale is the last row: all others hold, and the access was fresh when it was
	// exchanged.
	if verdict.Outcome != consent.Permit && verdict.Outcome != consent.Stale {
		return g.endFor(ctx, s, verdict.Outcome.String(), verdict.Clause)
	}
	s.standing.Store(&standing{version, enrollments, now, min(s.ends, s.expires(), now+g.MaxAge-state.Age+1), state.Block})
	return nil
}

// goOn decides the grants behind a session in the midst of a request, which may
// take a client as long as it likes to send or to receive. The error is a
// *denial, which is in the log. A token that was good when the request came is
// good to its end.
func (g *Gateway) goOn(ctx context.Context, s *session, what *asked) error {
	d := g.decideGrants(ctx, s, g.journal.enrollments.Load())
	if d == nil {
		return nil
	}
	if err := g.note(ctx, s, notice{Interaction: what.interaction, Target: what.target, Outcome: d.outcome, Clause: d.clause, Request: servedOf(ctx).id}); err != nil {
		if _, instead := errors.AsType[*denial](err); instead {
			return err
		}
		return unavailable(err)
	}
	return d
}

func (g *Gateway) endFor(ctx context.Context, s *session, outcome, clause string) *denial {
	if err := g.end(ctx, s); err != nil {
		return unavailable(err)
	}
	return &denial{status: http.StatusUnauthorized, code: "invalid_token", outcome: outcome, clause: clause}
}

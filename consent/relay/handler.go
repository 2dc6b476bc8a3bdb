package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
)

// What limits a request.
const (
	maxBody     = 256 << 10 // bytes, of all but letters
	maxWait     = 60        // seconds of GET /anchor/{root}?wait=
	answerLimit = 30 * time.Second
	readyLimit  = 5 * time.Second
	readyFor    = time.Second      // an answer of GET /ready counts
	heartbeat   = 15 * time.Second // between two signs of life of a stream
	lookEvery   = 2 * time.Second  // at mail that other processes took
)

// Information is what a relay says of itself.
type Information struct {
	Account  common.Address `json:"account"`
	URL      string         `json:"url"`
	ChainID  uint64         `json:"chainId"`
	Registry common.Address `json:"registry"`
}

// statusOf is the one place that tells which HTTP status an error has. What is
// not here is the relay's own trouble, of which nobody outside hears more.
func statusOf(err error) int {
	var (
		bad     badRequest
		refused cardRefused
		large   *http.MaxBytesError
	)
	for target, status := range map[error]int{
		errUnknownRoot: http.StatusNotFound, errNoCard: http.StatusNotFound, errNoBox: http.StatusNotFound, errNoMail: http.StatusNotFound,
		errFull: http.StatusTooManyRequests, errStreamed: http.StatusTooManyRequests, errTooMany: http.StatusTooManyRequests,
		errSession: http.StatusUnauthorized, errNoProof: http.StatusUnauthorized,
		errNotAdmitted: http.StatusForbidden, errOldCard: http.StatusConflict,
		errStopping: http.StatusServiceUnavailable,
	} {
		if errors.Is(err, target) {
			return status
		}
	}
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &bad), errors.As(err, &refused):
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

type badRequest struct{ error }

func badf(format string, args ...any) error { return badRequest{fmt.Errorf(format, args...)} }

var errTooMany = errors.New("too many requests: wait a moment")

func (r *Relay) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]bool{"alive": true}) })
	mux.HandleFunc("GET /ready", r.ready)
	for route, do := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /relay":               r.getRelay,
		"POST /anchor":             r.postAnchor,
		"GET /anchor/{root}":       r.getAnchor,
		"POST /revoke":             r.postRevoke,
		"PUT /cards/{address}":     r.putCards,
		"GET /cards/{address}":     r.getCards,
		"POST /mail/{address}":     r.postMail,
		"POST /challenges":         r.postChallenges,
		"POST /sessions/{address}": r.postSessions,
		"GET /mail":                r.owned(r.getMail),
		"GET /mail/events":         r.owned(r.getEvents),
		"GET /mail/{id}":           r.owned(r.getLetter),
		"DELETE /mail/{id}":        r.owned(r.deleteLetter),
	} {
		mux.HandleFunc(route, r.admitted(route, do))
	}
	var foreign http.CrossOriginProtection
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// Whoever does not read its answer keeps nothing busy for long.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxWait*time.Second + answerLimit)); err != nil {
			r.options.Log.Debug("the time limit of an answer", "error", err)
		}
		// No page in a browser is a wallet, nor one whose name leads here.
		if origin := req.Header.Get("Origin"); foreign.Check(req) != nil || origin != "" && origin != r.options.URL {
			answer(w, http.StatusForbidden, map[string]string{"error": "a page of another site sent this: use a wallet"})
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// admitted lets those in who may use the relay, as often as they may.
func (r *Relay) admitted(route string, do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	took := r.metrics.took.WithLabelValues(route)
	return func(w http.ResponseWriter, req *http.Request) {
		began := time.Now()
		client, err := r.options.Admission.admit(req)
		if err == nil && !r.clients.allow(client, client, 1) {
			err = errTooMany
		}
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		if err == nil {
			err = do(seen, req)
		}
		if err != nil && req.Context().Err() == nil {
			r.refuse(seen, route, err)
		}
		took.Observe(time.Since(began).Seconds())
		r.metrics.requests.WithLabelValues(route, strconv.Itoa(seen.status)).Inc()
	}
}

// refuse answers with what is wrong, where that is for the client to know.
func (r *Relay) refuse(w http.ResponseWriter, route string, err error) {
	status, text := statusOf(err), err.Error()
	switch status {
	case http.StatusServiceUnavailable:
		r.options.Log.Warn("a request failed", "route", route, "error", err)
		text = "the relay cannot do that at present: try again later, or another relay"
	case http.StatusUnauthorized:
		if errors.Is(err, errNoProof) {
			text = errNoProof.Error() // what was wrong with it helps nobody but an attacker
		}
	}
	answer(w, status, map[string]string{"error": text})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// body reads a JSON object with exactly the members of T.
func body[T any](w http.ResponseWriter, req *http.Request) (value T, err error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		return value, err
	}
	if err := jsonv2.Unmarshal(text, &value, jsonv2.RejectUnknownMembers(true)); err != nil {
		return value, badf("the body is not as it should be: %w", err)
	}
	return value, nil
}

// hash is 32 bytes as documents write them.
type hash common.Hash

func (h *hash) UnmarshalText(text []byte) error {
	read, err := parseHash(string(text))
	*h = hash(read)
	return err
}

func parseHash(s string) (common.Hash, error) {
	h := common.HexToHash(s)
	if h.Hex() != s || h == (common.Hash{}) {
		return common.Hash{}, badf("%s: want 0x and 64 hexadecimal digits in lower case, not all of them zero", consent.Quote(s))
	}
	return h, nil
}

func pathAddress(req *http.Request) (common.Address, error) {
	account, err := consent.ParseAddress(req.PathValue("address"))
	if err != nil || account == (common.Address{}) {
		return account, badf("%s is no address", consent.Quote(req.PathValue("address")))
	}
	return account, nil
}

// ready tells whether database and chain answer. Nobody has to be admitted to
// ask: it is looked at again once readyFor has passed.
func (r *Relay) ready(w http.ResponseWriter, req *http.Request) {
	r.readiness.Lock()
	defer r.readiness.Unlock()
	if time.Since(r.readiness.at) > readyFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), readyLimit)
		defer cancel()
		err := r.db.PingContext(ctx)
		if err == nil {
			_, err = r.chain.Read(ctx, consent.Entries{})
		}
		if err != nil {
			r.options.Log.Warn("not ready", "error", err)
		}
		r.readiness.is, r.readiness.at = err == nil, time.Now()
	}
	status := http.StatusOK
	if !r.readiness.is {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]bool{"ready": r.readiness.is})
}

func (r *Relay) getRelay(w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, Information{r.options.Account, r.options.URL, r.options.Domain.ChainID, r.options.Domain.Registry})
	return nil
}

func (r *Relay) postAnchor(w http.ResponseWriter, req *http.Request) error {
	in, err := body[struct {
		Root hash `json:"root"`
	}](w, req)
	switch {
	case err != nil:
		return err
	case in.Root == hash{}:
		return badf("there is no root")
	}
	if err := r.roots.add(req.Context(), common.Hash(in.Root)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (r *Relay) getAnchor(w http.ResponseWriter, req *http.Request) error {
	root, err := parseHash(req.PathValue("root"))
	if err != nil {
		return err
	}
	wait := 0
	if text := req.URL.Query().Get("wait"); text != "" {
		if wait, err = strconv.Atoi(text); err != nil || wait < 0 || wait > maxWait {
			return badf("wait=%s: want seconds from 0 to %d", consent.Quote(text), maxWait)
		}
	}
	limit := time.After(time.Duration(wait) * time.Second)
	for {
		rung := r.anchored.next()
		found, err := r.lookUp(req.Context(), root)
		if err != nil {
			return err
		}
		if found != nil {
			answer(w, http.StatusOK, found)
			return nil
		}
		select {
		case <-rung:
		case <-req.Context().Done():
			return req.Context().Err()
		case <-r.stopped:
			return errStopping
		case <-limit:
			answer(w, http.StatusAccepted, map[string]bool{"pending": true})
			return nil
		}
	}
}

func (r *Relay) postRevoke(w http.ResponseWriter, req *http.Request) error {
	in, err := body[struct {
		Secrets []hash `json:"secrets"`
	}](w, req)
	switch {
	case err != nil:
		return err
	case len(in.Secrets) < 1 || len(in.Secrets) > MaxSecrets:
		return badf("%d secrets: want 1 to %d", len(in.Secrets), MaxSecrets)
	}
	// Each costs, unlike roots, which share one transaction.
	client, err := r.options.Admission.admit(req)
	if err != nil {
		return err
	}
	if !r.reveals.allow(client, client, len(in.Secrets)) {
		return errTooMany
	}
	secrets := make([]common.Hash, len(in.Secrets))
	for i, secret := range in.Secrets {
		secrets[i] = common.Hash(secret)
	}
	if err := r.secrets.add(req.Context(), secrets...); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (r *Relay) putCards(w http.ResponseWriter, req *http.Request) error {
	account, err := pathAddress(req)
	if err != nil {
		return err
	}
	card, err := consent.ReadCard(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		return badBody(err)
	}
	if card.Card.Account != account {
		return badf("the card is of another account")
	}
	client, err := r.options.Admission.admit(req)
	if err != nil {
		return err
	}
	if has, err := r.hasCard(req.Context(), account); err != nil {
		return err
	} else if !has && !r.opened.allow(client, client, 1) {
		return errTooMany
	}
	if err := r.putCard(req.Context(), card); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// badBody keeps the size limit apart from what is wrong with a document.
func badBody(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return err
	}
	return badRequest{err}
}

func (r *Relay) getCards(w http.ResponseWriter, req *http.Request) error {
	account, err := pathAddress(req)
	if err != nil {
		return err
	}
	document, err := r.card(req.Context(), account)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(document)
	return nil
}

func (r *Relay) postMail(w http.ResponseWriter, req *http.Request) error {
	to, err := pathAddress(req)
	if err != nil {
		return err
	}
	sealed, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxLetter))
	if err != nil {
		return err
	}
	if len(sealed) == 0 {
		return badf("the letter is empty")
	}
	// Who makes up addresses is not to use up what is counted.
	if has, err := r.hasCard(req.Context(), to); err != nil {
		return err
	} else if !has {
		return errNoBox
	}
	client, err := r.options.Admission.admit(req)
	if err != nil {
		return err
	}
	if !r.pairs.allow(client, client+" "+to.Hex(), 1) || !r.boxes.allow(client, to.Hex(), 1) {
		return errFull
	}
	if !r.sizes.allow(client, client, len(sealed)) {
		return errTooMany
	}
	if err := r.post(req.Context(), to, sealed); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (r *Relay) postChallenges(w http.ResponseWriter, req *http.Request) error {
	challenge, err := r.challenge(req.Context())
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, map[string]common.Hash{"challenge": challenge})
	return nil
}

func (r *Relay) postSessions(w http.ResponseWriter, req *http.Request) error {
	account, err := pathAddress(req)
	if err != nil {
		return err
	}
	proof, err := consent.ReadAccess(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		return badBody(err)
	}
	token, expires, err := r.open(req.Context(), account, proof)
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, opened{token, expires})
	return nil
}

type opened struct {
	Token   string `json:"token"`
	Expires int64  `json:"expires"` // unix seconds
}

// ownedBy is a request to the mailbox of an account that was proven.
type ownedBy func(w http.ResponseWriter, req *http.Request, account common.Address, expires int64) error

// owned lets the owner of a mailbox in, and nobody else.
func (r *Relay) owned(do ownedBy) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, req *http.Request) error {
		token, is := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		if !is {
			return errSession
		}
		account, expires, err := r.session(req.Context(), token)
		if err != nil {
			return err
		}
		return do(w, req, account, expires)
	}
}

type mailList struct {
	Mail []Letter `json:"mail"`
}

func (r *Relay) getMail(w http.ResponseWriter, req *http.Request, account common.Address, _ int64) error {
	letters, err := r.letters(req.Context(), account)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, mailList{letters})
	return nil
}

func (r *Relay) getLetter(w http.ResponseWriter, req *http.Request, account common.Address, _ int64) error {
	sealed, err := r.letter(req.Context(), account, req.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(sealed)
	return nil
}

func (r *Relay) deleteLetter(w http.ResponseWriter, req *http.Request, account common.Address, _ int64) error {
	if err := r.remove(req.Context(), account, req.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// getEvents tells of each letter in the mailbox, those that are there first, as
// server-sent events (WHATWG HTML, section 9.2), until the session ends.
func (r *Relay) getEvents(w http.ResponseWriter, req *http.Request, account common.Address, expires int64) error {
	arrived, end, err := r.streams.begin(account)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(req.Context(), time.Duration(expires-r.now())*time.Second)
	defer cancel()
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	write := func(text string) error {
		if err := control.SetWriteDeadline(time.Now().Add(answerLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return control.Flush()
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	told := make(map[string]bool)
	for {
		rung := arrived.next()
		letters, err := r.letters(ctx, account)
		if err != nil {
			return nil // the stream is open already: it ends
		}
		for _, l := range letters {
			if told[l.ID] {
				continue
			}
			told[l.ID] = true
			if write("event: mail\ndata: "+l.ID+"\n\n") != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.stopped:
			return nil
		case <-rung:
		case <-look.C:
		case <-alive.C:
			if write(": alive\n\n") != nil {
				return nil
			}
		}
	}
}

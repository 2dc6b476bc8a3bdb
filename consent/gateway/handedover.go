package gateway

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	strict "github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
)

const (
	maxHandedOver = 16 << 10 // bytes of a request

	// handedOverStep is what the time of an answer is rounded up to: more than it
	// takes to keep and to post a whole request.
	handedOverStep = 250 * time.Millisecond

	// What concerns nobody here is kept for so long, and so much of it in all: its
	// grant may be shown later, and whoever handed it over has it posted meanwhile.
	handedOverFor  = 30 * 24 * time.Hour
	handedOverRoom = 50_000
)

// handedOver is a revocation or a retirement that was handed over directly and
// proves itself (Assent protocol, section 7, "Which block").
type handedOver struct {
	key   []byte // the revocation, 32 bytes, or the account, 20 bytes
	proof []byte // the secret, or the account's signature
}

// readHandedOver reads the body of a request in which something is handed over.
func readHandedOver(w http.ResponseWriter, r *http.Request, into any) *denial {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &denial{status: http.StatusMethodNotAllowed, code: "invalid_request", outcome: "BadRequest", clause: "it is handed over by POST"}
	}
	if kinds := r.Header.Values("Content-Type"); len(kinds) != 1 || kinds[0] != "application/json" {
		return badRequest("invalid_request", "want the Content-Type application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHandedOver))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return &denial{status: http.StatusRequestEntityTooLarge, code: "invalid_request", outcome: "TooLarge", clause: "the body is too large"}
	} else if err != nil {
		return badRequest("invalid_request", "the body breaks off")
	}
	if err := strict.Unmarshal(body, into, strict.RejectUnknownMembers(true)); err != nil {
		return badRequest("invalid_request", "the body is not strict JSON of the members that are wanted")
	}
	return nil
}

// hexBytes reads lower-case hexadecimal digits after 0x.
func hexBytes(text string) ([]byte, error) {
	digits, found := strings.CutPrefix(text, "0x")
	if !found || digits != strings.ToLower(digits) {
		return nil, errors.New("want 0x and lower-case hexadecimal digits")
	}
	return hex.DecodeString(digits)
}

// serveRevocations takes revocation secrets, no more than a grant has.
func (g *Gateway) serveRevocations(w http.ResponseWriter, r *http.Request) *denial {
	came := time.Now()
	var body struct {
		Secrets []string `json:"secrets"`
	}
	if d := readHandedOver(w, r, &body); d != nil {
		return d
	}
	slices.Sort(body.Secrets)
	body.Secrets = slices.Compact(body.Secrets)
	if len(body.Secrets) > consent.MaxRevocations {
		return badRequest("invalid_request", "%d secrets: want at most %d", len(body.Secrets), consent.MaxRevocations)
	}
	var all []handedOver
	for _, text := range body.Secrets {
		secret, err := hexBytes(text)
		if err != nil || len(secret) != common.HashLength {
			return badRequest("invalid_request", "a secret is not 0x and 64 lower-case hexadecimal digits")
		}
		all = append(all, handedOver{consent.Revocation(common.Hash(secret)).Bytes(), secret})
	}
	return g.takeAll(w, r, came, all)
}

// serveRetirements takes a signed retirement.
func (g *Gateway) serveRetirements(w http.ResponseWriter, r *http.Request) *denial {
	came := time.Now()
	var body struct {
		Account   string `json:"account"`
		Signature string `json:"signature"`
	}
	if d := readHandedOver(w, r, &body); d != nil {
		return d
	}
	account, err := consent.ParseAddress(body.Account)
	signature, malformed := hexBytes(body.Signature)
	if err != nil || malformed != nil || len(signature) > consent.MaxSignature {
		return badRequest("invalid_request", "want an account and a signature")
	}
	if !new(consent.Memory).Retire(g.Domain, consent.Retirement{Account: account}, signature, g.now()) {
		return &denial{status: http.StatusBadRequest, code: "invalid_request", outcome: "BadSignature", clause: "the account did not sign its retirement"}
	}
	return g.takeAll(w, r, came, []handedOver{{account[:], signature}})
}

// takeAll takes what was handed over. It says neither in words nor by the time it
// takes whether it concerns this data holder: what is on chain anybody can hand
// over.
func (g *Gateway) takeAll(w http.ResponseWriter, r *http.Request, came time.Time, all []handedOver) *denial {
	known, err := g.take(r.Context(), all, network(client(r.Context())))
	if err == nil {
		err = g.post(r.Context(), known)
	}
	if err != nil {
		return unavailable(err)
	}
	wait(r.Context(), handedOverStep-time.Since(came)%handedOverStep)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// take gives what concerns this data holder: revocations and accounts of grants
// that were used here, and accounts of patients. Nothing else is posted, or anybody
// could have the data holder pay for what concerns nobody; it is kept, in case that
// its grant is used or its account bound later.
func (g *Gateway) take(ctx context.Context, all []handedOver, network string) (known []handedOver, err error) {
	until, from := g.now()+uint64(handedOverFor/time.Second), g.mac("network", []byte(network))
	err = g.journal.write(ctx, &record{change: func(ctx context.Context, tx *sql.Tx) error {
		known = nil
		for _, h := range all {
			var concerns bool
			if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM gateway_used WHERE key = $1) OR EXISTS (SELECT 1 FROM gateway_enrollments WHERE account = $1 AND ended = 0)", h.key).Scan(&concerns); err != nil {
				return err
			}
			if concerns {
				known = append(known, h)
				continue
			}
			// Each network has rows of its own: that of another is no way to be pushed out.
			if _, err := tx.ExecContext(ctx, "INSERT INTO gateway_handed_over (key, network, proof, until) VALUES ($1, $2, $3, $4) ON CONFLICT (key, network) DO UPDATE SET until = excluded.until",
				h.key, from, h.proof, int64(until)); err != nil {
				return err
			}
		}
		return nil
	}})
	return known, err
}

// post hands the ledger what concerns this data holder: it counts once that
// returns nil.
func (g *Gateway) post(ctx context.Context, known []handedOver) error {
	for _, h := range known {
		var err error
		if len(h.key) == common.AddressLength {
			_, err = g.ledger.Retire(ctx, consent.Retirement{Account: common.BytesToAddress(h.key)}, h.proof)
		} else {
			err = g.ledger.Reveal(ctx, common.BytesToHash(h.proof))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// handedOver gives what was kept for any of the keys.
func (g *Gateway) handedOver(ctx context.Context, keys []any) (all []handedOver, err error) {
	kept, err := g.db.QueryContext(ctx, "SELECT DISTINCT key, proof FROM gateway_handed_over WHERE key IN "+rows(1, len(keys)), keys...)
	if err != nil {
		return nil, err
	}
	defer kept.Close()
	for kept.Next() {
		var h handedOver
		if err := kept.Scan(&h.key, &h.proof); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, kept.Err()
}

// makeRoom drops what is kept beyond what there is room for: the oldest of those
// who handed over the most, so that nobody pushes out others before oneself.
func (g *Gateway) makeRoom(ctx context.Context) error {
	var all int
	if err := g.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM gateway_handed_over").Scan(&all); err != nil || all <= g.handedOverRoom {
		return err
	}
	// Beside the journal, which does not wait for it.
	found, err := g.db.QueryContext(ctx, `SELECT key, network FROM
		(SELECT key, network, until, ROW_NUMBER() OVER (PARTITION BY network ORDER BY until DESC, key) AS place FROM gateway_handed_over) AS placed
		ORDER BY place DESC, until, key LIMIT $1`, all-g.handedOverRoom)
	if err != nil {
		return err
	}
	defer found.Close()
	var dropped [][2]any
	for found.Next() {
		var key, network []byte
		if err := found.Scan(&key, &network); err != nil {
			return err
		}
		dropped = append(dropped, [2]any{key, network})
	}
	if err := found.Err(); err != nil {
		return err
	}
	for part := range slices.Chunk(dropped, forgetAtOnce) {
		if err := g.journal.write(ctx, &record{change: func(ctx context.Context, tx *sql.Tx) error {
			for _, row := range part {
				if _, err := tx.ExecContext(ctx, "DELETE FROM gateway_handed_over WHERE key = $1 AND network = $2", row[:]...); err != nil {
					return err
				}
			}
			return nil
		}}); err != nil {
			return err
		}
	}
	return nil
}

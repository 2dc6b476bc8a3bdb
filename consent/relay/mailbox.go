package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
)

// The limits of a mailbox.
const (
	MaxLetter   = 1 << 20  // bytes of one sealed letter
	maxLetters  = 1_000    // in one mailbox
	maxMailbox  = 64 << 20 // bytes of all letters in one mailbox
	mailRate    = 2        // letters a second to one mailbox
	mailBurst   = 200      // letters at once to one mailbox
	pairRate    = 1. / 60  // letters a second of one client to one mailbox
	pairBurst   = 20       // letters at once of one client to one mailbox
	sizeRate    = 8 << 10  // bytes a second of all letters of one client: 20 GiB in mailKept
	sizeBurst   = 64 << 20 // bytes at once of all letters of one client
	cardRate    = 1. / 30  // new mailboxes a second of one client
	cardBurst   = 200      // new mailboxes at once of one client
	cardKept    = 180 * 24 * time.Hour
	mailKept    = 30 * 24 * time.Hour
	rootsKept   = 90 * 24 * time.Hour // after their tree was made
	sessionTime = 15 * time.Minute
	challenged  = 2 * time.Minute // to answer a challenge
	sweepEvery  = time.Minute
	maxStreams  = 4 // of new mail, for one mailbox at once
)

// Origin gives what binds a proof of address to the one relay that wallets name
// by this URL: the binding of consent.ProofOfAddress. A relay that passes on the
// challenge of another relay or of a data holder gets a proof that neither
// takes: both ask for the binding that is their own (consent.AccessDocument.Proves).
func Origin(url string) common.Hash { return crypto.Keccak256Hash([]byte("assent/relay/" + url)) }

// What a mailbox says. Whoever asks for what is not theirs hears that it is not
// there.
var (
	errNoCard   = errors.New("no card of this account is here")
	errNoBox    = errors.New("this account has no mailbox here: its person publishes a card first")
	errFull     = errors.New("the mailbox is full: try again later")
	errNoMail   = errors.New("no such letter is in this mailbox")
	errSession  = errors.New("no session, or it has ended: prove the address again")
	errNoProof  = errors.New("the proof of address is not accepted: ask for a new challenge and sign it for this relay")
	errOldCard  = errors.New("a newer card of this account is here")
	errStreamed = errors.New("this mailbox is listened to often enough")
)

// cardRefused is a card that is not taken, and why.
type cardRefused struct{ error }

// putCard keeps a card in place of an older one of its account, until cardKept
// after its owner published it or opened the mailbox, whichever was last. A
// wallet does both whenever it collects its letters.
func (r *Relay) putCard(ctx context.Context, card *consent.CardDocument) error {
	account := card.Card.Account
	state, err := r.chain.Read(ctx, card.Entries())
	if err != nil {
		return err
	}
	text, err := card.MarshalJSON()
	if err != nil {
		return err
	}
	if err := card.Accept(consent.Reception{Domain: r.options.Domain, Now: uint64(r.now()), State: state}); err != nil {
		return cardRefused{err}
	}
	return r.change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO cards (account, time, document, used) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account) DO UPDATE SET time = excluded.time, document = excluded.document, used = excluded.used WHERE excluded.time >= cards.time`,
			account[:], int64(card.Card.Time), text, r.now())
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errOldCard)
		}
		return nil
	})
}

func (r *Relay) card(ctx context.Context, account common.Address) (document []byte, err error) {
	err = r.db.QueryRowContext(ctx, "SELECT document FROM cards WHERE account = $1", account[:]).Scan(&document)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoCard
	}
	return document, err
}

// letterID names a letter in a mailbox: the same one, handed in again after an
// answer was lost, is there once.
func letterID(account common.Address, sealed []byte) []byte {
	h := sha256.New()
	h.Write(account[:])
	h.Write(sealed)
	return h.Sum(nil)[:16]
}

// hasCard tells whether an account has a card here, and so a mailbox.
func (r *Relay) hasCard(ctx context.Context, account common.Address) (has bool, err error) {
	err = r.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM cards WHERE account = $1)", account[:]).Scan(&has)
	return has, err
}

// post puts a letter into a mailbox.
func (r *Relay) post(ctx context.Context, to common.Address, sealed []byte) error {
	err := r.change(ctx, func(tx *sql.Tx) error {
		if err := r.db.Lock(ctx, tx, "relay/mail/"+to.Hex()); err != nil {
			return err
		}
		var letters, size int64
		if err := tx.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(length(sealed)), 0) FROM mail WHERE account = $1", to[:]).Scan(&letters, &size); err != nil {
			return err
		}
		if letters >= maxLetters || size+int64(len(sealed)) > maxMailbox {
			return errFull
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO mail (id, account, received, sealed) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			letterID(to, sealed), to[:], r.now(), sealed)
		return err
	})
	if err == nil {
		r.metrics.mail.WithLabelValues("taken").Inc()
		r.streams.ring(to)
	}
	return err
}

// challenge draws a challenge, which one proof of address may answer once.
func (r *Relay) challenge(ctx context.Context) (challenge common.Hash, err error) {
	rand.Read(challenge[:])
	return challenge, r.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO challenges (challenge, expires) VALUES ($1, $2)", challenge[:], r.now()+int64(challenged/time.Second))
		return err
	})
}

// open opens a session for the account that the proof proves. The challenge is
// used up in any case.
func (r *Relay) open(ctx context.Context, account common.Address, proof *consent.AccessDocument) (token string, expires int64, err error) {
	nonce := proof.Access.Nonce
	var given bool
	err = r.change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "DELETE FROM challenges WHERE challenge = $1 AND expires > $2", nonce[:], r.now())
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		given = n == 1
		return err
	})
	if err != nil {
		return "", 0, err
	}
	if !given {
		return "", 0, errNoProof
	}
	state, err := r.chain.Read(ctx, proof.ProofEntries(account))
	if err != nil {
		return "", 0, err
	}
	if err := proof.Proves(account, r.options.Domain, r.options.Account, nonce, Origin(r.options.URL), state, uint64(r.now())); err != nil {
		return "", 0, fmt.Errorf("%w: %w", errNoProof, err)
	}
	token, expires = rand.Text(), r.now()+int64(sessionTime/time.Second)
	return token, expires, r.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE cards SET used = $1 WHERE account = $2", r.now(), account[:]); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO sessions (token, account, expires) VALUES ($1, $2, $3)", hashed(token), account[:], expires)
		return err
	})
}

func hashed(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// session gives the account whose session the token is of, and when it ends.
func (r *Relay) session(ctx context.Context, token string) (account common.Address, expires int64, err error) {
	var of []byte
	err = r.db.QueryRowContext(ctx, "SELECT account, expires FROM sessions WHERE token = $1 AND expires > $2", hashed(token), r.now()).Scan(&of, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return account, 0, errSession
	}
	return common.BytesToAddress(of), expires, err
}

// Letter is a sealed letter in a mailbox.
type Letter struct {
	ID       string `json:"id"`
	Size     int    `json:"size"`     // bytes
	Received uint64 `json:"received"` // unix seconds
}

// letters lists a mailbox, oldest first.
func (r *Relay) letters(ctx context.Context, account common.Address) ([]Letter, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT id, length(sealed), received FROM mail WHERE account = $1 ORDER BY received, id", account[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	letters := []Letter{}
	for rows.Next() {
		var l Letter
		var id sql.RawBytes
		if err := rows.Scan(&id, &l.Size, &l.Received); err != nil {
			return nil, err
		}
		l.ID = hex.EncodeToString(id)
		letters = append(letters, l)
	}
	return letters, rows.Err()
}

// parseID reads the id of a letter in its one form.
func parseID(s string) ([]byte, error) {
	id, err := hex.DecodeString(s)
	if err != nil || len(id) != 16 || hex.EncodeToString(id) != s {
		return nil, errNoMail
	}
	return id, nil
}

func (r *Relay) letter(ctx context.Context, account common.Address, name string) (sealed []byte, err error) {
	id, err := parseID(name)
	if err != nil {
		return nil, err
	}
	err = r.db.QueryRowContext(ctx, "SELECT sealed FROM mail WHERE account = $1 AND id = $2", account[:], id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoMail
	}
	if err == nil && !bytes.Equal(letterID(account, sealed), id) {
		return nil, errors.New("a letter is not as it was taken")
	}
	return sealed, err
}

// remove takes a letter away. One that is not there is no error: its answer may
// have been lost.
func (r *Relay) remove(ctx context.Context, account common.Address, name string) error {
	id, err := parseID(name)
	if err != nil {
		return err
	}
	return r.change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "DELETE FROM mail WHERE account = $1 AND id = $2", account[:], id)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err == nil && n == 1 {
			r.metrics.mail.WithLabelValues("fetched").Inc()
		}
		return err
	})
}

// sweep forgets what has expired.
func (r *Relay) sweep(ctx context.Context) {
	for {
		if err := r.forget(ctx); err != nil && ctx.Err() == nil {
			r.metrics.failures.WithLabelValues("sweep").Inc()
			r.options.Log.Warn("sweep", "error", err)
		}
		r.clients.forget()
		r.reveals.forget()
		r.opened.forget()
		r.sizes.forget()
		r.boxes.forget()
		r.pairs.forget()
		if !pause(ctx, sweepEvery) {
			return
		}
	}
}

func (r *Relay) forget(ctx context.Context) error {
	now := r.now()
	return r.change(ctx, func(tx *sql.Tx) error {
		for _, old := range []struct {
			statement string
			before    int64
		}{
			{"DELETE FROM challenges WHERE expires <= $1", now},
			{"DELETE FROM sessions WHERE expires <= $1", now},
			{"UPDATE cards SET used = $1 WHERE used = 0", now},
			{"DELETE FROM cards WHERE used < $1", now - int64(cardKept/time.Second)},
			// The newest tree stays: it tells which number is the next.
			{"DELETE FROM trees WHERE final = 1 AND made < $1 AND last <> (SELECT max(last) FROM trees)", now - int64(rootsKept/time.Second)},
		} {
			if _, err := tx.ExecContext(ctx, old.statement, old.before); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM roots WHERE number < coalesce((SELECT first FROM trees ORDER BY last LIMIT 1), 0)"); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, "DELETE FROM mail WHERE received < $1", now-int64(mailKept/time.Second))
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		r.metrics.mail.WithLabelValues("expired").Add(float64(n))
		return err
	})
}

// streams are who listens to which mailbox.
type streams struct {
	mu   sync.Mutex
	open map[common.Address]*stream
}

type stream struct {
	listeners int
	arrived   bell
}

func (s *streams) begin(account common.Address) (arrived *bell, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[common.Address]*stream)
	}
	one := s.open[account]
	if one == nil {
		one = new(stream)
		s.open[account] = one
	}
	if one.listeners >= maxStreams {
		return nil, nil, errStreamed
	}
	one.listeners++
	return &one.arrived, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if one.listeners--; one.listeners == 0 {
			delete(s.open, account)
		}
	}, nil
}

// ring wakes those who listen to a mailbox.
func (s *streams) ring(account common.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.open[account]; one != nil {
		one.arrived.ring()
	}
}

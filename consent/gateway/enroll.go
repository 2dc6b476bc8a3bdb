package gateway

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/fhir"
)

// challengeLife is how long a challenge may be answered.
const challengeLife = 10 * time.Minute

// Enrollments binds accounts to patient records: one account to one Patient at a
// time, and one Patient to one account. That the person is the patient is the
// data holder's own check; that she has the account is proven here.
type Enrollments struct {
	DB     *database.DB
	Domain consent.Domain
	Holder common.Address
	State  func(context.Context, consent.Entries) (consent.State, error) // as of Ledger
	MaxAge uint64                                                        // seconds; the oldest view of the chain that counts
	Now    func() time.Time
}

// Enrollment is the binding of an account to a record.
type Enrollment struct {
	Account common.Address
	Patient string    // logical id of the Patient
	Since   time.Time // when it began
	Ended   time.Time // zero for one that counts
	Why     string    // it ended
}

// Challenge gives a fresh challenge for a proof of address (consent.ProofOfAddress),
// and until when it may be answered, once.
func (e *Enrollments) Challenge(ctx context.Context) (challenge common.Hash, until time.Time, err error) {
	rand.Read(challenge[:])
	until = e.Now().Add(challengeLife).Truncate(time.Second)
	_, err = e.DB.ExecContext(ctx, "INSERT INTO gateway_challenges (challenge, until) VALUES ($1, $2)", challenge[:], until.Unix())
	return challenge, until, err
}

// Bind binds the account to the Patient with the logical id, where it proves
// itself with the answer to a challenge that was given out and not used before.
func (e *Enrollments) Bind(ctx context.Context, account common.Address, patient string, proof *consent.AccessDocument) error {
	if !fhir.IsID(patient) {
		return fmt.Errorf("the patient %s: want the logical id of a Patient resource", consent.Quote(patient))
	}
	state, err := e.state(ctx, proof.ProofEntries(account))
	if err != nil {
		return err
	}
	now := e.Now()
	challenge := proof.Access.Nonce
	if err := proof.Proves(account, e.Domain, e.Holder, challenge, common.Hash{}, state, uint64(now.Unix())); err != nil {
		return err
	}
	if _, err := e.endRetired(ctx); err != nil {
		return err
	}
	document, err := proof.MarshalJSON()
	if err != nil {
		return err
	}
	return e.DB.Change(ctx, func(tx *sql.Tx) error {
		if err := e.lock(ctx, tx); err != nil {
			return err
		}
		// So that what is handed over meanwhile is seen, or sees the account bound.
		if err := e.DB.Lock(ctx, tx, journalLock); err != nil {
			return err
		}
		var retired bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM gateway_handed_over WHERE key = $1)", account[:]).Scan(&retired); err != nil {
			return err
		} else if retired {
			return fmt.Errorf("the account %s is retired: its retirement was handed over here", account)
		}
		used, err := tx.ExecContext(ctx, "DELETE FROM gateway_challenges WHERE challenge = $1 AND until > $2", challenge[:], now.Unix())
		if err != nil {
			return err
		}
		if n, err := used.RowsAffected(); err != nil {
			return err
		} else if n != 1 {
			return errors.New("the challenge was not given out here, was used, or is over: make a new one with “assent gateway enroll challenge”")
		}
		var of []byte
		var is string
		err = tx.QueryRowContext(ctx, "SELECT account, patient FROM gateway_enrollments WHERE ended = 0 AND (account = $1 OR patient = $2)", account[:], patient).Scan(&of, &is)
		switch {
		case err == nil && is == patient:
			return fmt.Errorf("the Patient %s is bound to the account %s already: end that first with “assent gateway enroll end”", consent.Quote(patient), common.BytesToAddress(of))
		case err == nil:
			return fmt.Errorf("the account %s is bound to another Patient already: end that first with “assent gateway enroll end”", account)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO gateway_enrollments (account, patient, proof, since, ended, why) VALUES ($1, $2, $3, $4, 0, '')",
			account[:], patient, document, now.Unix())
		return err
	})
}

// lock makes the transaction the only one that changes enrollments, and counts
// it.
func (e *Enrollments) lock(ctx context.Context, tx *sql.Tx) error {
	if err := e.DB.Lock(ctx, tx, "gateway enrollments"); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE gateway_enrollment_changes SET count = count + 1")
	return err
}

func (e *Enrollments) state(ctx context.Context, need consent.Entries) (consent.State, error) {
	state, err := e.State(ctx, need)
	if err == nil && state.Age > e.MaxAge {
		err = fmt.Errorf("the view of the chain is %d s old: want at most %d", state.Age, e.MaxAge)
	}
	return state, err
}

// List gives all enrollments, the oldest first; those of accounts that were
// retired meanwhile have ended.
func (e *Enrollments) List(ctx context.Context) ([]Enrollment, error) {
	if _, err := e.endRetired(ctx); err != nil {
		return nil, err
	}
	return e.list(ctx, "")
}

func (e *Enrollments) list(ctx context.Context, where string, args ...any) ([]Enrollment, error) {
	found, err := e.DB.QueryContext(ctx, "SELECT account, patient, since, ended, why FROM gateway_enrollments "+where+" ORDER BY since, patient", args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var all []Enrollment
	for found.Next() {
		var one Enrollment
		var account []byte
		var since, ended int64
		if err := found.Scan(&account, &one.Patient, &since, &ended, &one.Why); err != nil {
			return nil, err
		}
		one.Account, one.Since = common.BytesToAddress(account), time.Unix(since, 0)
		if ended != 0 {
			one.Ended = time.Unix(ended, 0)
		}
		all = append(all, one)
	}
	return all, found.Err()
}

// End ends the enrollment of an account, and tells whether there was one.
func (e *Enrollments) End(ctx context.Context, account common.Address, why string) (ended bool, err error) {
	err = e.DB.Change(ctx, func(tx *sql.Tx) error {
		if err := e.lock(ctx, tx); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, "UPDATE gateway_enrollments SET ended = $1, why = $2 WHERE account = $3 AND ended = 0", e.Now().Unix(), why, account[:])
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		ended = n > 0
		return err
	})
	return ended, err
}

// endRetired ends the enrollments of retired accounts: the decision denies these
// anyhow, and their patients may now be bound to another.
func (e *Enrollments) endRetired(ctx context.Context) (n int, err error) {
	live, err := e.list(ctx, "WHERE ended = 0")
	if err != nil || len(live) == 0 {
		return 0, err
	}
	var need consent.Entries
	for _, one := range live {
		need.Accounts = append(need.Accounts, one.Account)
	}
	state, err := e.state(ctx, need)
	if err != nil {
		return 0, err
	}
	for _, one := range live {
		if state.Retired[one.Account] == 0 {
			continue
		}
		if _, err := e.End(ctx, one.Account, "the account is retired"); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// patientOf is consent.Holder's Patient.
func (g *Gateway) patientOf(ctx context.Context, account common.Address) (patient string, err error) {
	err = g.findPatient.QueryRowContext(ctx, account[:]).Scan(&patient)
	if errors.Is(err, sql.ErrNoRows) {
		return "", consent.ErrUnknownPatient
	}
	return patient, err
}

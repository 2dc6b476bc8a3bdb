package gateway

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/fhir"
)

// notice is what the log has to know of one request, or of one window of its
// answer.
type notice struct {
	Interaction string         // code of FHIR's restful interactions: read, vread, search-type, create, update, delete, batch, operation
	Target      string         // "Observation/123", or the query as it was asked
	Outcome     string         // "permit", or a stable code of why not
	Clause      string         // what exactly failed, in words; empty where nothing did
	Released    map[string]int // number of resources by type
	Resources   []string       // "Observation/123" …, of reads and writes
	Request     string         // id of the HTTP request
}

// note puts what was decided into the patient's log; no end of the process takes it
// from there once it returns nil. Nothing of an answer may leave before that. Where
// something was changed, or may be, it is durable then; else a moment later, as a
// read waits for no disk (database.ChangeSoon). Where the request's proof is
// not recorded as used yet it does so as well. The error is a *denial, which is in
// the log in the place of the notice, if that was used before, or if something is
// permitted and the patient's enrollment has ended meanwhile.
func (g *Gateway) note(ctx context.Context, s *session, n notice) error {
	request := servedOf(ctx)
	request.outcome = n.Outcome
	r, err := g.logged(ctx, s, n)
	if err != nil {
		return err
	}
	switch n.Interaction {
	case "read", "vread", "search-type", "operation":
		r.soon = true
	}
	p := request.proof
	if p != nil {
		request.proof = nil
		r.proof = p.once
	}
	if at := s.standing.Load(); at != nil && n.Outcome == fhir.Permitted {
		r.decided = &at.enrollments
	}
	if err := g.journal.write(ctx, r); err != nil {
		return err
	}
	var d *denial
	switch {
	case p != nil && !r.fresh:
		d = invalidProof(errUsed)
	case r.decided != nil && r.enrollments != *r.decided:
		d = g.decideGrants(ctx, s, r.enrollments)
	default:
		return nil
	}
	if d == nil {
		return g.note(ctx, s, n)
	}
	n.Outcome, n.Clause, n.Released, n.Resources = d.outcome, d.clause, nil, nil
	if err := g.note(ctx, s, n); err != nil {
		return err
	}
	return d
}

// The most bytes of what was asked for, and purposes, that the log keeps: where it
// was permitted, more than all scopes of an access that is not malformed; where
// not, what tells one request from another, as anybody may ask, and the log is
// kept for good.
const (
	maxTarget          = 40 << 10
	maxRefused         = 1 << 10
	maxRefusedPurposes = 8
)

// logged is the notice as a record of the journal.
func (g *Gateway) logged(ctx context.Context, s *session, n notice) (*record, error) {
	most, purposes := maxTarget, s.purposes
	if n.Outcome != fhir.Permitted {
		most, purposes = maxRefused, purposes[:min(len(purposes), maxRefusedPurposes)]
	}
	if len(n.Target) > most {
		n.Target = strings.ToValidUTF8(n.Target[:most], "")
	}
	a := fhir.AuditRecord{
		ID: rand.Text(), Time: g.Now(), Interaction: n.Interaction, Outcome: n.Outcome, Clause: n.Clause,
		Patient: s.patient, Grantor: s.grantor, Grantee: s.grantee, Holder: g.Holder,
		Grant: s.access.Access.Grant, Purposes: purposes,
		Target: n.Target, Released: n.Released, Resources: n.Resources, Request: n.Request, Client: client(ctx), Block: s.block(),
	}
	event, err := fhir.AuditEvent(a)
	if err != nil {
		return nil, err
	}
	packed := pack(event)
	r := &record{event: &packed}
	if s.patient != "" {
		r.account = s.grantor
	}
	return r, nil
}

// heartbeat is how long the log may go without a checkpoint where nothing was
// added to it: a patient can tell from an old one that nothing is hidden behind
// it only so far.
const heartbeat = 24 * time.Hour

// checkpoint makes a root over the heads of all accounts, where it is time to,
// and anchors it, and tells whether it did. It is stored before it is anchored: where that fails, or the
// process ends, the next call goes on with it.
func (g *Gateway) checkpoint(ctx context.Context) (anchored bool, err error) {
	now := g.Now()
	var number uint64 // 0: there is nothing to anchor
	var root common.Hash
	err = g.db.Change(ctx, func(tx *sql.Tx) error {
		number = 0
		if err := g.db.Lock(ctx, tx, journalLock); err != nil {
			return err
		}
		last, err := lastCheckpoint(ctx, tx)
		if err != nil {
			return err
		}
		since := now.Sub(time.Unix(int64(last.made), 0))
		if last.number != 0 && !last.anchored {
			// Another gateway may be at it.
			if last.number == g.anchoring || since >= g.AuditEvery {
				number, root = last.number, last.root
			}
			return nil
		}
		var entries uint64
		if err := tx.QueryRowContext(ctx, "SELECT CAST(COALESCE(SUM(number), 0) AS BIGINT) FROM gateway_log_heads").Scan(&entries); err != nil {
			return err
		}
		if entries == 0 || since < g.AuditEvery || entries == last.entries && since < heartbeat {
			return nil
		}
		next := last.number + 1
		if _, err := tx.ExecContext(ctx, "INSERT INTO gateway_checkpoint_heads (checkpoint, account, number, hash) SELECT CAST($1 AS BIGINT), account, number, hash FROM gateway_log_heads", int64(next)); err != nil {
			return err
		}
		tree, _, err := checkpointTree(ctx, tx, next, last.root)
		if err != nil {
			return err
		}
		number, root = next, tree.Root()
		_, err = tx.ExecContext(ctx, "INSERT INTO gateway_checkpoints (number, previous, root, entries, made, anchored) VALUES ($1, $2, $3, $4, $5, 0)",
			int64(next), last.root[:], root[:], int64(entries), now.Unix())
		return err
	})
	if err != nil || number == 0 {
		return false, err
	}
	g.anchoring = number
	if err := g.ledger.Anchor(ctx, root); err != nil {
		return false, fmt.Errorf("anchor the log's checkpoint %d: %w", number, err)
	}
	return true, g.db.Change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE gateway_checkpoints SET anchored = 1 WHERE number = $1", int64(number)); err != nil {
			return err
		}
		// Nobody is shown the heads of an older one any more.
		_, err := tx.ExecContext(ctx, "DELETE FROM gateway_checkpoint_heads WHERE checkpoint < $1", int64(number))
		return err
	})
}

type checkpointRow struct {
	number, entries, made uint64
	previous, root        common.Hash
	anchored              bool
}

// snapshot is a transaction that sees the database as it was when it began, and
// keeps nobody from writing.
var snapshot = &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}

// querier is a database or a transaction of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

const checkpointColumns = "SELECT number, previous, root, entries, made, anchored FROM gateway_checkpoints"

func scanCheckpoint(scan func(...any) error) (c checkpointRow, err error) {
	var previous, root []byte
	var anchored int
	err = scan(&c.number, &previous, &root, &c.entries, &c.made, &anchored)
	c.previous, c.root, c.anchored = common.BytesToHash(previous), common.BytesToHash(root), anchored != 0
	return c, err
}

// lastCheckpoint gives the newest checkpoint; zero where there is none.
func lastCheckpoint(ctx context.Context, q querier) (checkpointRow, error) {
	c, err := scanCheckpoint(q.QueryRowContext(ctx, checkpointColumns+" ORDER BY number DESC LIMIT 1").Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return checkpointRow{}, nil
	}
	return c, err
}

// checkpointTree makes the tree of a checkpoint from the heads kept for it, which
// it gives by account, with the place of each in the tree.
func checkpointTree(ctx context.Context, q querier, number uint64, previous common.Hash) (*consent.Tree, map[common.Address]checkpointHead, error) {
	kept, err := q.QueryContext(ctx, "SELECT account, number, hash FROM gateway_checkpoint_heads WHERE checkpoint = $1 ORDER BY account", int64(number))
	if err != nil {
		return nil, nil, err
	}
	defer kept.Close()
	var leaves []common.Hash
	heads := make(map[common.Address]checkpointHead)
	for kept.Next() {
		var account, hash []byte
		var head consent.AuditHead
		if err := kept.Scan(&account, &head.Number, &hash); err != nil {
			return nil, nil, err
		}
		head.Hash = common.BytesToHash(hash)
		heads[common.BytesToAddress(account)] = checkpointHead{head, len(leaves)}
		leaves = append(leaves, head.Leaf(common.BytesToAddress(account)))
	}
	return consent.NewTree(append(leaves, consent.AnchorLeaf(previous))), heads, kept.Err()
}

type checkpointHead struct {
	consent.AuditHead
	place int
}

// shownCheckpoint is the newest checkpoint that is anchored, with its tree.
type shownCheckpoint struct {
	checkpointRow
	tree  *consent.Tree
	heads map[common.Address]checkpointHead
}

// newestAnchored gives the newest anchored checkpoint, of number 0 where there
// is none. Its tree is made once.
func (g *Gateway) newestAnchored(ctx context.Context) (*shownCheckpoint, error) {
	g.shown.Lock()
	defer g.shown.Unlock()
	// One transaction, so that no other gateway drops its heads meanwhile.
	tx, err := g.db.BeginTx(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	row, err := scanCheckpoint(tx.QueryRowContext(ctx, checkpointColumns+" WHERE anchored = 1 ORDER BY number DESC LIMIT 1").Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return new(shownCheckpoint), nil
	} else if err != nil {
		return nil, err
	}
	if g.shown.checkpoint == nil || g.shown.checkpoint.number != row.number {
		tree, heads, err := checkpointTree(ctx, tx, row.number, row.previous)
		if err != nil {
			return nil, err
		}
		if tree.Root() != row.root {
			return nil, fmt.Errorf("the heads kept of the log's checkpoint %d are not those that were anchored", row.number)
		}
		g.shown.checkpoint = &shownCheckpoint{row, tree, heads}
	}
	return g.shown.checkpoint, nil
}

// A page of the log ends after so many entries, or bytes of events.
const (
	auditPage  = 500
	auditBytes = 2 << 20
)

// auditDocument gives a page of the log of an account, from an entry on.
func (g *Gateway) auditDocument(ctx context.Context, account common.Address, from uint64) (*consent.AuditDocument, error) {
	// The checkpoint first: entries that come meanwhile are after it.
	checkpoint, err := g.newestAnchored(ctx)
	if err != nil {
		return nil, err
	}
	d := &consent.AuditDocument{Domain: g.Domain, Holder: g.Holder, Account: account}
	if head, there := checkpoint.heads[account]; there {
		d.Checkpoint = consent.AuditCheckpoint{Head: head.AuditHead, Time: checkpoint.made, Proof: checkpoint.tree.Proof(head.place), Root: checkpoint.root}
	}
	kept, err := g.db.QueryContext(ctx, "SELECT number, previous, event FROM gateway_log WHERE account = $1 AND number >= $2 ORDER BY number LIMIT $3",
		account[:], int64(from), auditPage+1)
	if err != nil {
		return nil, err
	}
	defer kept.Close()
	for bytes := 0; kept.Next(); {
		var e consent.AuditEntry
		var previous, text []byte
		if err := kept.Scan(&e.Number, &previous, &text); err != nil {
			return nil, err
		}
		if e.Event, err = unpack(text); err != nil {
			return nil, altered(account, e.Number)
		}
		if bytes += len(e.Event); len(d.Entries) == auditPage || bytes > auditBytes && len(d.Entries) > 0 {
			d.Next = e.Number
			break
		}
		e.Previous = common.BytesToHash(previous)
		d.Entries = append(d.Entries, e)
	}
	return d, kept.Err()
}

// serveAudit answers a patient with her own log.
func (g *Gateway) serveAudit(w http.ResponseWriter, r *http.Request, s *session) *denial {
	n := notice{Interaction: "search-type", Target: "AuditEvent", Outcome: fhir.Permitted, Request: servedOf(r.Context()).id}
	refuse := func(x *denial) *denial {
		n.Outcome, n.Clause = x.outcome, x.clause
		if err := g.note(r.Context(), s, n); err != nil {
			return unavailable(err)
		}
		return x
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return refuse(&denial{status: http.StatusMethodNotAllowed, outcome: "Unsupported", clause: "the log is only read"})
	}
	from, err := auditFrom(r)
	if err != nil {
		return refuse(&denial{status: http.StatusBadRequest, outcome: "BadRequest", clause: err.Error()})
	}
	if !s.readsOwnLog() {
		return refuse(&denial{status: http.StatusForbidden, code: "insufficient_scope", outcome: "NotOwnLog",
			clause: "the log is for its patient alone, on an access of her own with scope patient/AuditEvent.rs and purpose PATRQT"})
	}
	if err := g.note(r.Context(), s, n); err != nil {
		if d, instead := errors.AsType[*denial](err); instead {
			return d
		}
		return unavailable(err)
	}
	d, err := g.auditDocument(r.Context(), s.grantor, from)
	if err != nil {
		return unavailable(err)
	}
	text, err := d.MarshalJSON()
	if err == nil {
		err = g.db.Sync(r.Context()) // what she saw is not gone later
	}
	if err != nil {
		return unavailable(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
	return nil
}

// auditFrom gives the number of the entry that is asked for first.
func auditFrom(r *http.Request) (uint64, error) {
	if r.URL.RawQuery == "" {
		return 1, nil
	}
	query, err := parseForm(r.URL.RawQuery, "from")
	if err != nil {
		return 0, err
	}
	from, err := strconv.ParseUint(query["from"], 10, 53)
	if err != nil || from == 0 {
		return 0, errors.New("from is no number of an entry")
	}
	return from, nil
}

// readsOwnLog tells whether the session is the patient's own, for her log.
func (s *session) readsOwnLog() bool {
	if s.grantor != s.grantee {
		return false
	}
	for i := range s.access.Access.Scopes {
		scope := &s.access.Access.Scopes[i]
		if scope.Resource == "AuditEvent" && scope.Interactions&(consent.Read|consent.Search) == consent.Read|consent.Search &&
			scope.Filter == "" && scope.DataFrom == 0 && scope.DataUntil == 0 && scope.Purpose == "PATRQT" {
			return true
		}
	}
	return false
}

// AuditSummary is what CheckAudit found.
type AuditSummary struct {
	Accounts, Entries, Checkpoints uint64
	Unanchored                     uint64      // checkpoints that are not anchored yet: at most 1
	Uncovered                      uint64      // entries since the last checkpoint
	Root                           common.Hash // of the newest checkpoint that is anchored; zero for none
}

// CheckAudit goes through the whole log and tells where it was altered, or nil:
// each account's chain from its first entry to its head, and the checkpoints up to
// the newest, whose heads must be in the chains. That the roots are anchored is
// for the chain to tell.
func CheckAudit(ctx context.Context, db *database.DB) (summary AuditSummary, err error) {
	tx, err := db.BeginTx(ctx, snapshot)
	if err != nil {
		return summary, err
	}
	defer tx.Rollback()
	var last checkpointRow
	var anchored uint64
	checkpoints, err := tx.QueryContext(ctx, checkpointColumns+" ORDER BY number")
	if err != nil {
		return summary, err
	}
	defer checkpoints.Close()
	for checkpoints.Next() {
		c, err := scanCheckpoint(checkpoints.Scan)
		if err != nil {
			return summary, err
		}
		if c.number != last.number+1 || c.previous != last.root || c.entries < last.entries {
			return summary, fmt.Errorf("checkpoint %d of the log does not follow checkpoint %d", c.number, last.number)
		}
		if last = c; c.anchored {
			anchored++
			summary.Root = c.root
		}
	}
	if err := checkpoints.Err(); err != nil {
		return summary, err
	}
	summary.Checkpoints, summary.Unanchored = last.number, last.number-anchored
	under := make(map[common.Address]checkpointHead)
	if last.number != 0 {
		tree, heads, err := checkpointTree(ctx, tx, last.number, last.previous)
		if err != nil {
			return summary, err
		}
		if tree.Root() != last.root {
			return summary, fmt.Errorf("the heads kept of checkpoint %d of the log do not lead to its root", last.number)
		}
		under = heads
	}

	heads := make(map[common.Address]consent.AuditHead)
	kept, err := tx.QueryContext(ctx, "SELECT account, number, hash FROM gateway_log_heads")
	if err != nil {
		return summary, err
	}
	defer kept.Close()
	for kept.Next() {
		var account, hash []byte
		var number uint64
		if err := kept.Scan(&account, &number, &hash); err != nil {
			return summary, err
		}
		heads[common.BytesToAddress(account)] = consent.AuditHead{Number: number, Hash: common.BytesToHash(hash)}
	}
	if err := kept.Err(); err != nil {
		return summary, err
	}
	var account common.Address
	var head consent.AuditHead
	ends := func() error {
		if head.Number == 0 {
			return nil
		}
		if heads[account] != head {
			return fmt.Errorf("the log of %s ends with entry %d, and should with entry %d", account, head.Number, heads[account].Number)
		}
		delete(heads, account)
		summary.Accounts++
		return nil
	}
	err = readLog(ctx, tx, func(of common.Address, hash common.Hash, e consent.AuditEntry) error {
		if of != account || head.Number == 0 {
			if err := ends(); err != nil {
				return err
			}
			account, head = of, consent.AuditHead{}
		}
		if e.Number != head.Number+1 || e.Previous != head.Hash || e.Hash() != hash {
			return altered(account, e.Number)
		}
		head = consent.AuditHead{Number: e.Number, Hash: hash}
		if c, there := under[account]; there && c.Number == e.Number {
			if c.AuditHead != head {
				return fmt.Errorf("the log of %s up to entry %d is not the one of checkpoint %d", account, e.Number, last.number)
			}
			delete(under, account)
		}
		summary.Entries++
		return nil
	})
	if err == nil {
		err = ends()
	}
	if err != nil {
		return summary, err
	}
	for account, head := range heads {
		return summary, fmt.Errorf("the log of %s lacks its %d entries", account, head.Number)
	}
	for account, head := range under {
		return summary, fmt.Errorf("the log of %s lacks entry %d, which checkpoint %d has", account, head.Number, last.number)
	}
	summary.Uncovered = summary.Entries - last.entries
	return summary, nil
}

// ReadLog goes through all entries of the log, those of an account together and in
// order, and ends with the first error of each. It does not check them. Whatever
// each takes its time for, the database goes on meanwhile.
func ReadLog(ctx context.Context, db *database.DB, each func(account common.Address, e consent.AuditEntry) error) error {
	return readLog(ctx, db, func(account common.Address, _ common.Hash, e consent.AuditEntry) error { return each(account, e) })
}

// logPage is how many entries are read at once.
const logPage = 100

func readLog(ctx context.Context, q querier, each func(account common.Address, hash common.Hash, e consent.AuditEntry) error) error {
	for last := (logRow{account: []byte{}}); ; {
		page, err := pageOfLog(ctx, q, last)
		if err != nil {
			return err
		}
		for _, last = range page {
			account := common.BytesToAddress(last.account)
			event, err := unpack(last.text)
			if err != nil {
				return altered(account, last.number)
			}
			if err := each(account, common.BytesToHash(last.hash), consent.AuditEntry{Number: last.number, Previous: common.BytesToHash(last.previous), Event: event}); err != nil {
				return err
			}
		}
		if len(page) < logPage {
			return nil
		}
	}
}

type logRow struct {
	account, previous, hash, text []byte
	number                        uint64
}

// pageOfLog gives the entries after one.
func pageOfLog(ctx context.Context, q querier, after logRow) (page []logRow, err error) {
	kept, err := q.QueryContext(ctx, "SELECT account, number, previous, hash, event FROM gateway_log WHERE (account, number) > ($1, $2) ORDER BY account, number LIMIT $3",
		after.account, int64(after.number), logPage)
	if err != nil {
		return nil, err
	}
	defer kept.Close()
	for kept.Next() {
		var r logRow
		if err := kept.Scan(&r.account, &r.number, &r.previous, &r.hash, &r.text); err != nil {
			return nil, err
		}
		page = append(page, r)
	}
	return page, kept.Err()
}

func altered(account common.Address, number uint64) error {
	return fmt.Errorf("the log of %s was altered at entry %d", account, number)
}

//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// A patient answers requests while “grant”, “chain serve” or both are killed at
// moments spread over all of their work, and runs the same command again until
// it comes to its end. Several patients do so at once, each with a home and a
// chain of her own, since most of the time is spent waiting for blocks.
//
// However it goes, each request has one grant: what any run printed, what the
// wallet lists and what the chain holds are the same.
func TestCrash(t *testing.T) {
	patients, kills := 4, 15 // each
	if testing.Short() {
		patients, kills = 2, 6
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	total := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range patients {
		h := &crashing{
			home:   newHome(t),
			random: rand.New(rand.NewPCG(seed, uint64(i))),
			killed: map[string]int{}, answers: map[string]string{},
		}
		all.Go(func() {
			err := h.survive(ctx, kills)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("patient %d of seed %d: %v", i, seed, err)
			}
			for where, n := range h.killed {
				total[where] += n
			}
			total["requests"] += len(h.answers)
		})
	}
	all.Wait()
	for _, where := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%3d %s", total[where], where)
	}
	if n := total[killedGrant] + total[killedServe]; n < patients*kills {
		t.Errorf("%d kills, want %d", n, patients*kills)
	}
	if !testing.Short() && (total[beforeSigning] == 0 || total[afterSigning]+total[afterAnchoring] == 0 || total[killedServe] == 0) {
		t.Error("the kills were not spread over the work")
	}
}

// What is counted. Where a kill of “grant” hit is what the run after it tells.
const (
	killedGrant    = "kills of grant"
	killedServe    = "kills of chain serve"
	gaveUp         = "runs of grant that gave up when chain serve was killed"
	beforeSigning  = "kills of grant, before the grant was stored"
	afterSigning   = "kills of grant, after the grant was stored and before it was on the chain"
	afterAnchoring = "kills of grant, after the grant was on the chain and before the wallet knew"
	afterAll       = "kills of grant, after the wallet knew"
	untold         = "kills of grant, followed by another kill before it told where"
)

// crashing is a home with a patient and a clinic whose commands are killed.
type crashing struct {
	*home
	random  *rand.Rand
	whole   time.Duration // of a run that nothing disturbs
	serve   *running      // nil: nobody serves the chain
	killed  map[string]int
	answers map[string]string // by request: the one document of its grant
}

func (h *crashing) survive(ctx context.Context, kills int) (err error) {
	defer func() {
		if h.serve != nil {
			h.serve.kill()
		}
	}()
	for _, name := range []string{"patient", "clinic"} {
		if _, err := h.do(ctx, "init", name); err != nil {
			return err
		}
	}
	if err := h.keep(ctx, "patient.card.json", "card", "--wallet", "patient"); err != nil {
		return err
	}
	chainBefore, err := h.chainID(ctx)
	if err != nil {
		return err
	}

	// The first request is answered in peace.
	request, err := h.request(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := h.finish(ctx, request); err != nil {
		return err
	}
	h.whole = time.Since(began)

	moments := h.random.Perm(kills)
	for tries := 0; len(moments) > 0; {
		if request, err = h.request(ctx); err != nil {
			return err
		}
		for range 1 + h.random.IntN(3) {
			if tries++; tries > 20*kills {
				return fmt.Errorf("%d kills came too late", len(moments))
			}
			if len(moments) == 0 {
				break
			}
			moment := (float64(moments[0]) + h.random.Float64()) / float64(kills)
			n, err := h.disturb(ctx, request, moment)
			if err != nil {
				return err
			}
			moments = moments[min(n, len(moments)):]
		}
		if err := h.finish(ctx, request); err != nil {
			return err
		}
	}
	return h.check(ctx, chainBefore)
}

// request has the clinic ask once more.
func (h *crashing) request(ctx context.Context) (path string, err error) {
	path = fmt.Sprintf("%d.request.json", len(h.answers))
	return path, h.keep(ctx, path, "request", "--wallet", "clinic", "--patient", "patient.card.json",
		"--scope", "patient/Observation.rs", "--for", "30d", "--reason", fmt.Sprint("request ", len(h.answers)))
}

func (h *crashing) grant(ctx context.Context, request string) (*running, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	r, err := h.start(ctx, "You would sign", "grant", "--verbose", "--wallet", "patient", "--request", request, "--yes", "--accept-risk", "any-holder")
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		<-r.ended
		cancel()
	}()
	return r, nil
}

// disturb answers a request and kills who is at work, at a moment between 0 and
// 1 of the whole run. It gives the number of kills that were not too late.
func (h *crashing) disturb(ctx context.Context, request string, moment float64) (kills int, err error) {
	served := h.random.IntN(2) == 0
	if err := h.serving(ctx, served); err != nil {
		return 0, err
	}
	killServe := served && h.random.IntN(2) == 0
	killGrant := !killServe || h.random.IntN(2) == 0
	grant, err := h.grant(ctx, request)
	if err != nil {
		return 0, err
	}
	defer grant.kill()

	// The few milliseconds after the question are where most can go wrong: half
	// of the kills aim there.
	delay := time.Duration(moment * float64(h.whole))
	if h.random.IntN(2) == 0 {
		select {
		case <-grant.said:
			delay /= 4
		case <-grant.ended:
			delay = 0
		}
	}
	select {
	case <-time.After(delay):
	case <-grant.ended:
	}
	if killServe && !grant.over() {
		if h.serve.kill() {
			h.killed[killedServe]++
			kills++
		}
		if killGrant && h.random.IntN(2) == 0 {
			select {
			case <-time.After(time.Duration(h.random.Float64() * float64(h.whole))):
			case <-grant.ended:
			}
		}
	}
	if killGrant && grant.kill() {
		h.killed[killedGrant]++
		h.killed[untold]++
		kills++
	}
	<-grant.ended
	// Who loses the chain at an awkward moment may give up, and say so.
	if ended, ok := errors.AsType[*exec.ExitError](grant.err); ok && ended.ExitCode() == exitChain && killServe {
		h.killed[gaveUp]++
		grant.err = nil
	}
	return kills, h.heard(ctx, grant, request)
}

// finish answers a request without being killed.
func (h *crashing) finish(ctx context.Context, request string) error {
	grant, err := h.grant(ctx, request)
	if err != nil {
		return err
	}
	<-grant.ended
	if err := h.heard(ctx, grant, request); err != nil {
		return err
	}
	if h.answers[request] == "" {
		return fmt.Errorf("%s: grant printed nothing", request)
	}
	return nil
}

// heard takes in what a run said: whatever it printed is the one grant, and it
// ended well or by a kill.
func (h *crashing) heard(ctx context.Context, grant *running, request string) error {
	said := grant.stderr.String()
	if ctx.Err() != nil {
		return fmt.Errorf("grant has not come to its end: %w\n%s", ctx.Err(), said)
	}
	if grant.err != nil && !grant.killed {
		return fmt.Errorf("grant: %w\n%s", grant.err, said)
	}
	if printed := grant.stdout.String(); printed != "" {
		if _, err := consent.ReadGrant(strings.NewReader(printed)); err != nil {
			return fmt.Errorf("grant printed %q: %w", printed, err)
		}
		if before := h.answers[request]; before != "" && before != printed {
			return fmt.Errorf("%s was answered by\n%sand by\n%s", request, before, printed)
		}
		h.answers[request] = printed
	}

	// The kills before this run, where they hit.
	here := 0
	if grant.killed {
		here = 1
	}
	before := h.killed[untold] - here
	resumed := strings.Contains(said, "that an earlier command had signed")
	known := strings.Contains(said, "anchored before, on network")
	var where string
	switch {
	case resumed && known:
		where = afterAnchoring
	case resumed:
		where = afterSigning
	case strings.Contains(said, "answered before"):
		where = afterAll
	case strings.Contains(said, "You would sign"):
		where = beforeSigning
	default:
		return nil
	}
	h.killed[untold] -= before
	h.killed[where] += before
	return nil
}

// serving has the chain served by a process of its own, or not.
func (h *crashing) serving(ctx context.Context, served bool) error {
	if h.serve != nil && (!served || h.serve.over()) {
		h.serve.kill()
		h.serve = nil
	}
	if !served || h.serve != nil {
		return nil
	}
	var err error
	if h.serve, err = h.start(ctx, "interrupt it", "chain", "serve"); err != nil {
		return err
	}
	select {
	case <-h.serve.said:
		return nil
	case <-h.serve.ended:
		return fmt.Errorf("chain serve: %w\n%s", h.serve.err, h.serve.stderr.String())
	}
}

// check compares what the runs printed with what the wallet and the chain hold.
func (h *crashing) check(ctx context.Context, chainBefore uint64) error {
	if err := h.serving(ctx, false); err != nil {
		return err
	}
	var ids, roots []string
	for request, printed := range h.answers {
		document, err := consent.ReadGrant(strings.NewReader(printed))
		if err != nil {
			return err
		}
		ids = append(ids, document.ID().Hex())
		roots = append(roots, document.Root().Hex())
		if err := h.finish(ctx, request); err != nil { // prints the same once more
			return err
		}
	}
	if err := h.checkGiven(ctx, ids, roots); err != nil {
		return err
	}
	chainAfter, err := h.chainID(ctx)
	if err != nil {
		return err
	}
	if chainAfter != chainBefore {
		return fmt.Errorf("chain %d became chain %d", chainBefore, chainAfter)
	}
	return h.checkStore(ctx)
}

// same requires the same entries, each once.
func same(where string, got, want []string) error {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s holds\n%v\nand the runs printed\n%v", where, got, want)
	}
	return nil
}

func (h *crashing) checkStore(ctx context.Context) error {
	db, err := sql.Open("sqlite", h.path(filepath.Join("data", "assent", wallet.StoreFile)))
	if err != nil {
		return err
	}
	defer db.Close()
	var result string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("the store: %s", result)
	}
	return nil
}

func (h *crashing) chainID(ctx context.Context) (uint64, error) {
	var s status
	err := h.read(ctx, &s, "chain", "status", "--json")
	return s.ChainID, err
}

// checkGiven makes sure that the wallet lists just these grants, all active, and
// that the chain holds just these roots.
func (h *crashing) checkGiven(ctx context.Context, ids, roots []string) error {
	var grants []listed
	if err := h.read(ctx, &grants, "grants", "--wallet", "patient", "--json"); err != nil {
		return err
	}
	var stored []string
	for _, g := range grants {
		stored = append(stored, g.ID)
		if g.State != "active" {
			return fmt.Errorf("the grant %s is %s", g.ID, g.State)
		}
	}
	if err := same("the wallet", stored, ids); err != nil {
		return err
	}
	var events []observed
	if err := h.read(ctx, &events, "observe", "--json"); err != nil {
		return err
	}
	var anchored []string
	for _, e := range events {
		anchored = append(anchored, e.Value)
		if e.Event != "Anchored" {
			return fmt.Errorf("the chain holds %s %s", e.Event, e.Value)
		}
	}
	return same("the chain", anchored, roots)
}

// running is a command that runs, or has ended.
type running struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer  // once it ended
	stderr bytes.Buffer  // once it ended
	phrase string        // see said
	said   chan struct{} // closed once it said the phrase on stderr
	ended  chan struct{} // closed once it ended
	err    error         // once it ended: how
	killed bool          // by kill, rather than too late for it
}

// start starts a command in the home. said is closed when it says the phrase.
func (h *crashing) start(ctx context.Context, phrase string, args ...string) (*running, error) {
	r := &running{cmd: h.command(ctx, args...), phrase: phrase, said: make(chan struct{}), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, listener{r}
	// What takes too long says where it waits.
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGQUIT) }
	r.cmd.WaitDelay = 5 * time.Second
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		r.err = r.cmd.Wait()
		ended, ok := errors.AsType[*exec.ExitError](r.err)
		r.killed = ok && ended.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		close(r.ended)
	}()
	return r, nil
}

// listener collects what a command says.
type listener struct{ *running }

func (l listener) Write(said []byte) (int, error) {
	had := strings.Contains(l.stderr.String(), l.phrase)
	l.stderr.Write(said)
	if !had && strings.Contains(l.stderr.String(), l.phrase) {
		close(l.said)
	}
	return len(said), nil
}

func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// kill kills the command as a power cut would, and tells whether that, rather
// than its own end, ended it.
func (r *running) kill() bool {
	if r.over() {
		return false
	}
	_ = r.cmd.Process.Kill() // an error: it ended just now
	<-r.ended
	return r.killed
}

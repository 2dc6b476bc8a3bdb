//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
)

const (
	crashRows   = 400 // of a batch
	crashChecks = "rows checked in"
)

// A patient gives batches that are killed at moments spread over all of their
// work, and runs the same command again until it comes to its end. However it
// goes, what any run printed is the beginning of what the last one prints, the
// file is there whole or not at all, each batch is one entry on the chain, and
// no row is given twice.
func TestBatchCrash(t *testing.T) {
	t.Parallel()
	want := 24
	if testing.Short() {
		want = 8
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	h := &batchCrash{
		crashing: &crashing{home: newHome(t), random: rand.New(rand.NewPCG(seed, 0))},
		where:    map[string]int{},
		spread:   !testing.Short(),
	}
	if err := h.survive(ctx, want); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	for where, n := range h.where {
		t.Logf("%3d kills %s", n, where)
	}
}

// Where a kill hit is what the run after it tells.
const (
	beforeJournal = "before anything was kept"
	afterJournal  = "after the batch was kept"
	afterGiven    = "after all of it was given"
)

type batchCrash struct {
	*crashing
	files  int
	killed bool // the run before, of this file
	where  map[string]int
	spread bool // go on until kills have hit both sides of the journal
}

func (h *batchCrash) survive(ctx context.Context, want int) error {
	if _, err := h.do(ctx, "init", "patient"); err != nil {
		return err
	}
	// The first one makes the chain, the second is as long as any.
	for range 2 {
		began := time.Now()
		if err := h.finishBatch(ctx, h.newFile()); err != nil {
			return err
		}
		h.whole = time.Since(began)
	}
	for kills, tries := 0, 0; kills < want || h.spread && (h.where[beforeJournal] == 0 || h.where[afterJournal] == 0); {
		file := h.newFile()
		var printed []string
		for range 1 + h.random.IntN(4) {
			if tries++; tries > 20*want {
				return fmt.Errorf("%d kills came too late", tries-kills)
			}
			killed, out, err := h.disturbBatch(ctx, file)
			if err != nil {
				return err
			}
			printed = append(printed, out)
			if killed {
				kills++
			}
		}
		if err := h.finishBatch(ctx, file); err != nil {
			return err
		}
		whole, err := os.ReadFile(h.path(file + ".out"))
		if err != nil {
			return err
		}
		for _, out := range printed {
			if !strings.HasPrefix(string(whole), out) {
				return fmt.Errorf("%s: a run that was killed printed something else", file)
			}
		}
	}
	return h.checkBatches(ctx)
}

func (h *batchCrash) newFile() string {
	h.files++
	h.killed = false
	var b strings.Builder
	b.WriteString("reference,grantee,scopes,purpose,holder,for\n")
	for i := range crashRows {
		fmt.Fprintf(&b, "f%d-%d,0x%040x,patient/Observation.rs,TREAT,0x%040x,%dd\n", h.files, i, 0xa000+i%7, 0xb0, 1+i%300)
	}
	name := fmt.Sprintf("%d.csv", h.files)
	if err := os.WriteFile(h.path(name), []byte(b.String()), 0o600); err != nil {
		panic(err)
	}
	return name
}

// disturbBatch gives a batch and kills the command at some moment. It gives what
// was printed until then.
func (h *batchCrash) disturbBatch(ctx context.Context, file string) (killed bool, printed string, err error) {
	args := []string{"batch", file, "--yes"}
	toFile := h.random.IntN(2) == 0
	if toFile {
		args = append(args, "--out", file+".out")
	}
	r, err := h.start(ctx, crashChecks, args...)
	if err != nil {
		return false, "", err
	}
	defer r.kill()
	// A third of the kills aim at what comes before the rows are checked, and a
	// third at what comes after.
	delay := time.Duration(h.random.Float64() * float64(h.whole))
	switch h.random.IntN(3) {
	case 0:
		delay /= 3
	case 1:
		select {
		case <-r.said:
			delay /= 2
		case <-r.ended:
		}
	}
	select {
	case <-time.After(delay):
	case <-r.ended:
	}
	killed = r.kill()
	<-r.ended
	if r.err != nil && !r.killed {
		return false, "", fmt.Errorf("batch: %w\n%s", r.err, r.stderr.String())
	}
	h.told(r.stderr.String())
	h.killed = killed
	if !toFile {
		return killed, r.stdout.String(), nil
	}
	text, err := os.ReadFile(h.path(file + ".out"))
	if errors.Is(err, os.ErrNotExist) {
		return killed, "", nil
	}
	if n := strings.Count(string(text), "\n"); err == nil && n != crashRows {
		err = fmt.Errorf("%s.out has %d lines", file, n)
	}
	return killed, string(text), err
}

// told counts where the kill before a run hit.
func (h *batchCrash) told(said string) {
	switch {
	case !h.killed:
	case strings.Contains(said, "You would sign"):
		h.where[beforeJournal]++
	case strings.Contains(said, "Going on with the batch"):
		h.where[afterJournal]++
	case strings.Contains(said, "was given before"):
		h.where[afterGiven]++
	}
}

// finishBatch gives a batch to its end.
func (h *batchCrash) finishBatch(ctx context.Context, file string) error {
	_, said, code, err := h.try(ctx, "batch", file, "--yes", "--out", file+".out")
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if err != nil {
		return fmt.Errorf("batch: %w\n%s", err, said)
	}
	h.told(said)
	h.killed = false
	return nil
}

// checkBatches compares what was printed with what the wallet and the chain
// hold.
func (h *batchCrash) checkBatches(ctx context.Context) error {
	var ids, roots []string
	for i := range h.files {
		file := fmt.Sprintf("%d.csv", i+1)
		whole, err := os.ReadFile(h.path(file + ".out"))
		if err != nil {
			return err
		}
		again, err := h.do(ctx, "batch", file)
		if err != nil {
			return err
		}
		if again != string(whole) {
			return fmt.Errorf("%s: the last run printed something else", file)
		}
		for line := range strings.Lines(again) {
			grant, err := consent.ReadGrant(strings.NewReader(line))
			if err != nil {
				return err
			}
			ids = append(ids, grant.ID().Hex())
			if root := grant.Root().Hex(); len(roots) == i {
				roots = append(roots, root)
			} else if root != roots[i] {
				return fmt.Errorf("%s: two roots", file)
			}
		}
	}
	if err := h.checkGiven(ctx, ids, roots); err != nil {
		return err
	}
	return h.checkStore(ctx)
}

// An interrupted batch stops by itself and says how to go on, and going on gives
// all of it.
func TestBatchInterrupted(t *testing.T) {
	t.Parallel()
	h := &batchCrash{crashing: &crashing{home: newHome(t)}, where: map[string]int{}}
	if _, err := h.do(t.Context(), "init", "patient"); err != nil {
		t.Fatal(err)
	}
	for phrase, want := range map[string]string{
		"You would sign":   "", // nothing was signed, or it goes on: the moment decides
		"rows prepared in": "the same command goes on with it",
	} {
		interrupted := false
		for range 10 { // it may be done before it hears of it
			file := h.newFile()
			said, code, err := h.interrupt(t.Context(), phrase, "batch", file, "--yes")
			if err != nil {
				t.Fatal(err)
			}
			if err := h.finishBatch(t.Context(), file); err != nil {
				t.Error(err)
			}
			if interrupted = code != exitDone; !interrupted {
				continue
			}
			if code != exitInterrupted || !strings.Contains(said, want) || !strings.HasSuffix(said, "assent: interrupted\n") {
				t.Errorf("after %q: exit code %d\n%s", phrase, code, said)
			}
			break
		}
		if !interrupted {
			t.Errorf("nothing was interrupted after %q", phrase)
		}
	}
	if err := h.checkBatches(t.Context()); err != nil {
		t.Error(err)
	}
}

// interrupt interrupts a command when it says the phrase, and gives what it said
// until its end.
func (h *batchCrash) interrupt(ctx context.Context, phrase string, args ...string) (said string, code int, err error) {
	r, err := h.start(ctx, phrase, args...)
	if err != nil {
		return "", 0, err
	}
	select {
	case <-r.said:
		_ = r.cmd.Process.Signal(os.Interrupt) // an error: it ended just now
	case <-r.ended:
	}
	<-r.ended
	return r.stderr.String(), r.cmd.ProcessState.ExitCode(), nil
}

package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/assent-wallet/assent/wallet"
)

const (
	progressRedrawn = 100 * time.Millisecond // on a terminal
	progressSaid    = 10 * time.Second       // elsewhere
)

// batchProgress tells how far a batch has come: on a terminal in one line that
// changes, elsewhere now and then in a line of its own.
type batchProgress struct {
	app      *app
	terminal bool
	rows     int // 0: not known yet

	stage wallet.BatchStage
	done  int
	began time.Time // the stage
	told  time.Time
}

func (a *app) batchProgress() *batchProgress {
	file, ok := a.stderr.(*os.File)
	return &batchProgress{app: a, terminal: ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"}
}

// show takes in how many rows have come through a stage.
func (p *batchProgress) show(stage wallet.BatchStage, done int) {
	now := time.Now()
	if stage != p.stage {
		p.end()
		p.stage, p.began, p.told = stage, now, now
	}
	p.done = done
	switch {
	case p.terminal && now.Sub(p.told) >= progressRedrawn:
		p.told = now
		fmt.Fprintf(p.app.stderr, "%s%s", eraseLine, p.line(now))
	case !p.terminal && now.Sub(p.told) >= progressSaid:
		p.told = now
		p.app.say("%s", p.line(now))
	}
}

// line is such as “40,000 of 100,000 rows signed and stored, about 6 s to go”.
func (p *batchProgress) line(now time.Time) string {
	if p.rows == 0 || p.done >= p.rows || p.done == 0 {
		return fmt.Sprintf("%s %s", number(p.done, "row"), p.stage)
	}
	left := time.Duration(float64(now.Sub(p.began)) * float64(p.rows-p.done) / float64(p.done))
	return fmt.Sprintf("%d of %s %s, about %s to go", p.done, number(p.rows, "row"), p.stage, max(left.Round(time.Second), time.Second))
}

// clear makes room for another line.
func (p *batchProgress) clear() {
	if p.terminal && p.stage != "" {
		fmt.Fprint(p.app.stderr, eraseLine)
	}
}

// end ends a stage, and says what came of it.
func (p *batchProgress) end() {
	if p.stage == "" {
		return
	}
	p.clear()
	p.app.say("%s %s in %s", number(p.done, "row"), p.stage, time.Since(p.began).Round(10*time.Millisecond))
	p.stage = ""
}

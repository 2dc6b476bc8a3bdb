package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/assent-wallet/assent/consent/registry"
)

const (
	watchEvery = time.Second
	// lasting is how often in a row something has to be seen before it is told:
	// what is over at the next look is nobody's concern.
	lasting = 3
	// tellProgress is after how many looks it is told again how far the first
	// reading of the chain is.
	tellProgress = 10
)

// watch tells the operator, at each look until ctx is done, what keeps the copy of the registry
// from being level with the chain, what cannot be posted, and how far the first
// reading of the chain is.
func (l *ledger) watch(ctx context.Context, log *slog.Logger, looks <-chan time.Time) {
	level := &concern{log: log, begun: "the copy of the registry is not level with the chain: nothing is permitted once it is too old", over: "the copy of the registry is level with the chain again"}
	posted := &concern{log: log, begun: "revocations or retirements that are not on the chain cannot be posted", over: "revocations and retirements are posted"}
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-looks:
		}
		s, err := l.Status(ctx)
		if errors.Is(err, registry.ErrNoCopy) && s.Head > 0 && n%tellProgress == 0 {
			log.InfoContext(ctx, "reading the chain for the first time", "block", s.Block.Number, "of", s.Head)
		}
		if err != nil && !errors.Is(err, registry.ErrNoCopy) {
			s.Err = err
		}
		level.see(ctx, s.Err)
		posted.see(ctx, s.Unposted)
	}
}

// concern is something that is told when it has lasted, when it becomes another,
// and when it is over.
type concern struct {
	log         *slog.Logger
	begun, over string
	seen        int
	told        string // the error; empty: none
}

func (c *concern) see(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil && c.told != "":
		c.log.InfoContext(ctx, c.over)
		c.seen, c.told = 0, ""
	case err == nil:
		c.seen = 0
	case c.seen < lasting-1:
		c.seen++
	case c.told != err.Error():
		c.told = err.Error()
		c.log.WarnContext(ctx, c.begun, "error", err)
	}
}

package wallet

import (
	"context"
	"runtime"
	"sync"
)

// inOrder does the work that produce puts on all processors, and gives what
// comes of it to take in the order in which it was put. Only a few pieces of
// work are under way at once, however many there are. The first error ends it.
func inOrder[T any](ctx context.Context, produce func(ctx context.Context, put func(func() (T, error)) error) error, take func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	type piece struct {
		work func() (T, error)
		made T
		err  error
		done chan struct{}
	}
	workers := runtime.GOMAXPROCS(0)
	open := make(chan *piece)             // to be worked out
	queue := make(chan *piece, 4*workers) // to be taken
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel(nil)
	for range workers {
		group.Go(func() {
			for p := range open {
				p.made, p.err = p.work()
				close(p.done)
			}
		})
	}
	var failed error
	group.Go(func() {
		defer close(queue)
		defer close(open)
		failed = produce(ctx, func(work func() (T, error)) error {
			p := &piece{work: work, done: make(chan struct{})}
			for _, to := range []chan *piece{queue, open} {
				select {
				case to <- p:
				case <-ctx.Done():
					close(p.done)
					return context.Cause(ctx)
				}
			}
			return nil
		})
	})
	for p := range queue {
		select {
		case <-p.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := p.err
		if err == nil && ctx.Err() == nil {
			err = take(p.made)
		}
		if err != nil {
			cancel(err)
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return failed
}

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent/registry"
)

// shared is a log that is read while it is written.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestWatch: an operator is told what keeps the copy behind and what cannot be
// posted, once.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := registry.New(registry.Network{Name: "nowhere", ChainID: 1}, nil)
	defer client.Close()
	mirror, err := registry.OpenMirror(ctx, filepath.Join(t.TempDir(), "mirror.db"), client)
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	if err := mirror.Reveal(ctx, common.Hash{1}); err != nil {
		t.Fatal(err)
	}
	var said shared
	var running sync.WaitGroup
	running.Go(func() { _ = mirror.Follow(ctx) })
	looks := make(chan time.Time)
	running.Go(func() {
		(&ledger{Mirror: mirror}).watch(ctx, slog.New(slog.NewTextHandler(&said, nil)), looks)
	})
	look := func() { // which begins once the one before has ended
		select {
		case looks <- time.Time{}:
		case <-ctx.Done():
			t.Fatalf("no look within its time:\n%s", said.String())
		}
	}
	const why = "network nowhere has no endpoint"
	for strings.Count(said.String(), why) < 2 {
		look()
	}
	for range 20 * lasting { // nothing is told twice
		look()
	}
	cancel()
	running.Wait()
	text := said.String()
	for _, begun := range []string{"not level with the chain", "cannot be posted"} {
		if strings.Count(text, begun) != 1 {
			t.Errorf("%q is told %d times:\n%s", begun, strings.Count(text, begun), text)
		}
	}
}

func TestConcern(t *testing.T) {
	var said bytes.Buffer
	c := &concern{log: slog.New(slog.NewTextHandler(&said, nil)), begun: "begun", over: "over"}
	see := func(errs ...error) {
		for _, err := range errs {
			c.see(t.Context(), err)
		}
	}
	one, other := errors.New("one"), errors.New("other")
	see(one, one, nil, one, one) // none of them lasts
	if said.Len() > 0 {
		t.Errorf("said %q", said.String())
	}
	see(one, one, other, other, nil, nil)
	var lines []string
	for line := range strings.Lines(said.String()) {
		_, what, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		lines = append(lines, what)
	}
	if got, want := strings.Join(lines, "; "), "begun error=one; begun error=other; over"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

// A command that cannot see the chain says why, with the exit code of that.
func TestNotLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := registry.New(registry.Network{Name: "nowhere", ChainID: 1}, nil)
		defer client.Close()
		mirror, err := registry.OpenMirror(t.Context(), filepath.Join(t.TempDir(), "mirror.db"), client)
		if err != nil {
			t.Fatal(err)
		}
		defer mirror.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			_ = mirror.Follow(ctx)
			close(ended)
		}()
		defer func() { stop(); <-ended }()
		err = (&ledger{Mirror: mirror}).level(ctx, defaultMaxAge)
		if exitCode(err) != exitChain || !strings.Contains(err.Error(), "network nowhere has no endpoint") {
			t.Errorf("exit code %d: %v", exitCode(err), err)
		}
	})
}

package registry_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
)

// mirrored is a mirror of what the client reaches, with the file at path.
func mirrored(t testing.TB, c *registry.Client, path string) *registry.Mirror {
	t.Helper()
	m, err := registry.OpenMirror(t.Context(), path, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// following has the mirror follow until stop is called, which waits for it.
func following(t testing.TB, m *registry.Mirror) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Follow(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("follow: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestMirrorFollows(t *testing.T) {
	n, p := embedded(t)
	c := deployed(t, n, p)
	m := mirrored(t, c, filepath.Join(t.TempDir(), "mirror.db"))
	following(t, m)
	start := time.Now()
	if _, err := c.Anchor(limited(t), filler("root", 0)); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(start))
	eventually(t, "anchored", func() bool {
		s, err := m.State(t.Context(), consent.Entries{Anchors: []common.Hash{filler("root", 0)}})
		return err == nil && s.Anchored[filler("root", 0)] != 0
	})
	t.Log(time.Since(start))
	t.Log(m.Status(t.Context()))
}

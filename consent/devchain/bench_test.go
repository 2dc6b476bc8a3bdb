package devchain

import (
	"context"
	"testing"
)

// BenchmarkOpen is the time until the embedded chain answers its first request, and the time to give it up again.
func BenchmarkOpen(b *testing.B) {
	cycle := func(b *testing.B, dir string) {
		chain, err := Open(context.Background(), dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := chain.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dir := b.TempDir()
			b.StartTimer()
			cycle(b, dir)
		}
	})
	b.Run("reopened", func(b *testing.B) {
		dir := b.TempDir()
		chain, err := Open(context.Background(), dir)
		if err != nil {
			b.Fatal(err)
		}
		send(b, chain, dialed(b, chain))
		if err := chain.Close(); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			cycle(b, dir)
		}
	})
	b.Run("second", func(b *testing.B) {
		dir := b.TempDir()
		opened(b, dir)
		for b.Loop() {
			cycle(b, dir)
		}
	})
}

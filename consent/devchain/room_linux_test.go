package devchain

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk opens a chain whose disk has become full: an error at once, and
// the chain as it was when there is room again. Where no disk may be mounted it is
// skipped, or fails where ASSENT_TEST_REQUIRE lists "mount".
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), "mount") {
			t.Fatalf("make a small disk: %v", err)
		}
		t.Skipf("no small disk can be made here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	c, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	id := c.ChainID()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if _, err := Open(t.Context(), dir); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrDamaged) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if c, err = Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.ChainID() != id {
		t.Error("it is another chain")
	}
}

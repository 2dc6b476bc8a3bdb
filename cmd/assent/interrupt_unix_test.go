//go:build unix

package main

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"
)

// A command that waits for what nothing can wake it from, such as a pipe that
// nobody writes to, ends all the same when it is interrupted.
func TestInterruptedReader(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	if err := syscall.Mkfifo(h.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := h.command(t.Context(), "verify", "pipe")
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	writer, err := os.OpenFile(h.path("pipe"), os.O_WRONLY, 0) // opens when the command reads
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(grace + 15*time.Second):
		_ = cmd.Process.Kill()
		t.Fatal("the command goes on")
	}
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || said.String() != "assent: interrupted\n" {
		t.Errorf("exit code %d, %q", code, said.String())
	}
}

package wallet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

const (
	patience     = 5 * time.Second       // for another process that changes a file
	lockInterval = 20 * time.Millisecond // between two tries
)

// errLocked says that another process had a lock for too long.
var errLocked = errors.New("another process works on it: try again in a moment")

// lock takes a lock that only one process has at a time, and that the system
// gives back where the process ends. The lock's file stays.
func lock(ctx context.Context, path string, patience time.Duration) (unlock func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file := flock.New(path)
	_, err = file.TryLockContext(waiting, lockInterval)
	switch {
	case err == nil:
		return func() { file.Unlock() }, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		return nil, errLocked
	}
	return nil, err
}

// replace writes a file that only its owner may read, whole or not at all: a
// reader, and a machine that loses its power, sees the old one or the new one.
func replace(path string, content []byte) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(folder, filepath.Base(path)+".*.new") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncFolder(folder)
}

// syncFolder makes a rename in the folder last. Windows has no such call, and
// does so by itself.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

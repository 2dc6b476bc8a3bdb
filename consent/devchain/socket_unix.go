//go:build unix

package devchain

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxSocketPath is what fits into a socket's address everywhere: 104 bytes with the closing zero on Darwin and the BSDs.
const maxSocketPath = 103

// endpoint is where the owner of dir listens.
func endpoint(dir string) string {
	path := filepath.Join(dir, instance, "socket")
	if target, err := os.Readlink(path); err == nil {
		return target
	}
	return path
}

// listen opens the socket of dir, for this user alone: in the instance's folder, which is private, or, where that path
// is too long for a socket, in a private folder of the user's, with a symbolic link that leads there. Only the owner
// of dir calls it, so that what is left there by an earlier owner can go.
func listen(dir string) (net.Listener, error) {
	link := filepath.Join(dir, instance, "socket")
	path := link
	if len(path) > maxSocketPath {
		sum := sha256.Sum256([]byte(dir))
		short, err := shortFolder(hex.EncodeToString(sum[:8]))
		if err != nil {
			return nil, err
		}
		path = short
	}
	for _, stale := range []string{link, path} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	err = os.Chmod(path, 0o600)
	if err == nil && path != link {
		err = os.Symlink(path, link)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// shortFolder finds a private folder where a socket of this name has a path short enough.
func shortFolder(name string) (string, error) {
	user := "assent-" + strconv.Itoa(os.Geteuid())
	folders := []string{filepath.Join(os.TempDir(), user), filepath.Join("/tmp", user)}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		folders = append([]string{filepath.Join(runtime, "assent")}, folders...)
	}
	var errs error
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		err := private(folder)
		if len(path) > maxSocketPath {
			err = fmt.Errorf("%s is too long for a socket", path)
		}
		if err == nil {
			return path, nil
		}
		errs = errors.Join(errs, err)
	}
	return "", fmt.Errorf("no private folder for the socket: %w: name a chain folder with a shorter path", errs)
}

// private makes folder if it is not there, and refuses one that others can enter or own.
func private(folder string) error {
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || stat.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("%s is not a folder of this user alone", folder)
	}
	return nil
}

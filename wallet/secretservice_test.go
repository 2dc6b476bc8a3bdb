//go:build linux

package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// A session bus that starts no services by itself, neither a keyring nor a
// window that asks for a password.
const busSettings = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
`

// The real Secret Service, each time on a bus of its own and in a home folder of
// its own: the keyring of whoever runs the tests is out of reach.
func TestSecretService(t *testing.T) {
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "secret-service", err.Error())
		}
	}
	for _, c := range []struct {
		name     string
		sessions []string // one after the other, in the same home
	}{
		{"keeps", []string{"unlocked: keep", "unlocked: kept before"}},
		{"locked", []string{"unlocked: keep", "unlocked: lock", "wrong password: locked"}},
		{"no collection", []string{"never unlocked: no keyring"}},
		{"no service", []string{"no service: no keyring"}},
		{"hangs", []string{"unlocked: hang"}},
		{"goes away", []string{"unlocked: go away"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			for _, session := range c.sessions {
				inSession(t, home, session)
			}
		})
	}
}

// inSession runs a child in a session of its own.
func inSession(t *testing.T, home, name string) {
	t.Helper()
	settings := filepath.Join(home, "bus.conf")
	if err := os.WriteFile(settings, []byte(busSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(home, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		t.Fatal(err)
	}
	session := exec.CommandContext(t.Context(), "dbus-run-session", "--config-file="+settings, "--", os.Args[0])
	session.Env = append(sessionless(), childVariable+"="+name, "HOME="+home, "XDG_RUNTIME_DIR="+run, "XDG_DATA_HOME="+filepath.Join(home, "data"))
	if said, err := session.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, said)
	}
}

// sessionless gives the environment without the session of whoever runs the
// tests.
func sessionless() []string {
	var kept []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "GNOME_KEYRING_CONTROL", "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME":
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}

func TestNoSessionBus(t *testing.T) {
	for name, variables := range map[string][]string{
		"nothing": {"PATH=", "XDG_RUNTIME_DIR=" + t.TempDir()},
		"gone":    {"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(t.TempDir(), "bus")},
		"absurd":  {"DBUS_SESSION_BUS_ADDRESS=smoke:signals"},
	} {
		t.Run(name, func(t *testing.T) {
			c := child(t, "no bus")
			c.Stderr = nil
			c.Env = append(append(sessionless(), childVariable+"=no bus", "HOME="+t.TempDir()), variables...)
			if said, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}

const loginCollection = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")

func init() {
	k := Keyring{}
	ctx := context.Background()
	// with starts the daemon, and ends it after do.
	with := func(do func(daemon *os.Process) error, password string, arguments ...string) func() error {
		return func() error {
			daemon, err := startKeyring(password, arguments...)
			if err != nil {
				return err
			}
			defer daemon.Wait()
			defer daemon.Kill()
			return do(daemon)
		}
	}
	unlocked := func(do func(daemon *os.Process) error) func() error { return with(do, "test-password", "--unlock") }
	// all gives the errors of all calls, each of which has to be this one.
	all := func(k Keyring, want error) error {
		_, loading := k.Load(ctx, "first")
		for action, err := range map[string]error{"load": loading, "save": k.Save(ctx, "other", entropyA), "delete": k.Delete(ctx, "first")} {
			if failed, ok := errors.AsType[*SecretError](err); !ok || failed.Reason != want {
				return fmt.Errorf("%s: %w: want %w", action, err, want)
			}
		}
		return nil
	}
	children["unlocked: keep"] = unlocked(func(*os.Process) error {
		if _, err := k.Load(ctx, "first"); !errors.Is(err, ErrAbsent) {
			return fmt.Errorf("%w: want ErrAbsent", err)
		}
		if err := k.Delete(ctx, "first"); !errors.Is(err, ErrAbsent) {
			return fmt.Errorf("%w: want ErrAbsent", err)
		}
		if err := k.Save(ctx, "first", entropyA); err != nil {
			return err
		}
		return k.Save(ctx, "second", entropyB)
	})
	children["unlocked: kept before"] = unlocked(func(*os.Process) error {
		if got, err := k.Load(ctx, "first"); err != nil || !bytes.Equal(got, entropyA) {
			return fmt.Errorf("first: %x, %w", got, err)
		}
		if err := k.Save(ctx, "first", entropyB); !errors.Is(err, ErrExists) {
			return fmt.Errorf("%w: want ErrExists", err)
		}
		if err := k.Delete(ctx, "first"); err != nil {
			return err
		}
		if _, err := k.Load(ctx, "first"); !errors.Is(err, ErrAbsent) {
			return fmt.Errorf("%w: want ErrAbsent", err)
		}
		if got, err := k.Load(ctx, "second"); err != nil || !bytes.Equal(got, entropyB) {
			return fmt.Errorf("second: %x, %w", got, err)
		}
		return nil
	})
	children["unlocked: lock"] = unlocked(func(*os.Process) error {
		if _, err := k.Load(ctx, "first"); err != nil {
			return err
		}
		bus, err := dbus.SessionBus()
		if err != nil {
			return err
		}
		service := bus.Object("org.freedesktop.secrets", "/org/freedesktop/secrets")
		if err := service.Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{loginCollection}).Err; err != nil {
			return err
		}
		return all(k, ErrLocked)
	})
	children["wrong password: locked"] = with(func(*os.Process) error { return all(k, ErrLocked) }, "another password", "--unlock")
	children["never unlocked: no keyring"] = with(func(*os.Process) error { return all(k, ErrNoKeyring) }, "")
	children["no bus"] = func() error { return all(k, ErrNoBus) }
	children["no service: no keyring"] = func() error { return all(k, ErrNoKeyring) }
	children["unlocked: hang"] = unlocked(func(daemon *os.Process) (err error) {
		if err := daemon.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		began := time.Now()
		if err := all(Keyring{Patience: 100 * time.Millisecond}, ErrTimedOut); err != nil {
			return err
		}
		if waited := time.Since(began); waited < 300*time.Millisecond {
			return fmt.Errorf("gave up after %s: want 100 ms for each call", waited)
		}
		return nil
	})
	children["unlocked: go away"] = unlocked(func(daemon *os.Process) (err error) {
		if err := daemon.Kill(); err != nil {
			return err
		}
		// The bus notices in its own time.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			if err = all(k, ErrNoKeyring); err == nil {
				return nil
			}
		}
		return err
	})
}

// startKeyring starts the daemon and waits until it serves.
func startKeyring(password string, arguments ...string) (*os.Process, error) {
	daemon := exec.Command("gnome-keyring-daemon", append(arguments, "--components=secrets", "--foreground")...)
	daemon.Stdin = strings.NewReader(password)
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	bus, err := dbus.SessionBus()
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		var served bool
		if err := bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&served); err != nil {
			return nil, err
		}
		if served {
			return daemon.Process, nil
		}
	}
	return nil, errors.New("gnome-keyring-daemon does not serve after 10 s")
}

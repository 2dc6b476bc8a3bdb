//go:build linux

package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// The commands with a real Secret Service, each test on a session bus and in a
// home of its own: the keyring of whoever runs the tests is out of reach.
func TestSecretService(t *testing.T) {
	need(t, "secret-service", "dbus-daemon", "gnome-keyring-daemon")

	t.Run("grant", func(t *testing.T) {
		t.Parallel()
		k := newKeyringHome(t)
		k.startBus(t)
		k.startService(t)
		k.run(t, exitDone, "init", "patient")
		k.run(t, exitDone, "init", "clinic")
		k.file(t, "patient.card.json", k.run(t, exitDone, "card", "--wallet", "patient"))
		k.file(t, "request.json", k.run(t, exitDone, "request", "--wallet", "clinic", "--patient", "patient.card.json",
			"--scope", "patient/Observation.rs", "--for", "30d"))
		text := k.run(t, exitDone, "grant", "--wallet", "patient", "--request", "request.json", "--yes", "--accept-risk", "any-holder", "--verbose")
		if list := k.run(t, exitDone, "grants", "--wallet", "patient"); !strings.Contains(list, "active") {
			t.Errorf("the grant is not active:\n%s", list)
		}
		// What the keyring holds is what signed.
		grant, err := consent.ReadGrant(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		key, err := wallet.NewKey(k.secret(t, "patient"))
		if err != nil {
			t.Fatal(err)
		}
		defer key.Close()
		if grant.Grant.Grantor != key.Address() {
			t.Errorf("the grant is of %s, want %s", grant.Grant.Grantor, key.Address())
		}
		k.discreet(t, k.secret(t, "patient"), k.secret(t, "clinic"))
	})

	// Every failure has a message of its own, and none makes an encrypted file.
	for _, c := range []struct {
		name    string
		message string
		fail    func(t *testing.T, k *keyringHome)
	}{
		{"no D-Bus", "there is no D-Bus session", func(t *testing.T, k *keyringHome) {
			k.env = append(k.env, "PATH=") // nor dbus-launch, which would start one
		}},
		{"no service", "no keyring that is ready", func(t *testing.T, k *keyringHome) { k.startBus(t) }},
		{"locked", "the keyring is locked", func(t *testing.T, k *keyringHome) {
			k.startBus(t)
			k.startService(t)
			k.lock(t)
		}},
		{"hangs", "did not answer in time", func(t *testing.T, k *keyringHome) {
			k.startBus(t)
			k.startService(t)
			if err := k.service.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newKeyringHome(t)
			c.fail(t, k)
			k.fails(t, c.message, "init", "patient")
			if list := k.run(t, exitDone, "wallet", "list", "--json"); list != "[]\n" {
				t.Errorf("there is a wallet now: %s", list)
			}
			if _, err := os.Stat(k.path(filepath.Join("data", "assent", "keystore"))); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an encrypted file was made without being asked for: %v", err)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		k := newKeyringHome(t)
		k.startBus(t)
		k.startService(t)
		k.run(t, exitDone, "init", "patient")
		secret := k.secret(t, "patient")
		k.call(t, k.item(t, "patient"), "Item.Delete")
		k.fails(t, "it is not there", "card")
		k.fails(t, "it is not there", "grants")
		k.discreet(t, secret)
	})
	t.Run("locked later", func(t *testing.T) {
		t.Parallel()
		k := newKeyringHome(t)
		k.startBus(t)
		k.startService(t)
		k.run(t, exitDone, "init", "patient")
		secret := k.secret(t, "patient")
		k.lock(t)
		k.fails(t, "the keyring is locked", "card")
		k.fails(t, "the keyring is locked", "grant", "--grantee", "0x7e766e774678e89816d5c4c8408da0c822725d7b",
			"--scope", "patient/Observation.rs", "--for", "1d", "--yes", "--accept-risk", "any-holder")
		k.fails(t, "the keyring is locked", "init", "second")
		k.discreet(t, secret)
	})
}

// keyringHome is a home with a session bus of its own.
type keyringHome struct {
	*home
	bus     *dbus.Conn
	service *os.Process
	said    strings.Builder // all that its commands printed and said
}

func newKeyringHome(t *testing.T) *keyringHome {
	h := newHome(t)
	h.env = append(h.env, keyringFile+"=")
	return &keyringHome{home: h}
}

// A bus that starts no services by itself, neither a keyring nor a window that
// asks for a password.
const busSettings = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
`

func (k *keyringHome) startBus(t *testing.T) {
	t.Helper()
	k.file(t, "bus.conf", busSettings)
	daemon := exec.Command("dbus-daemon", "--config-file="+k.path("bus.conf"), "--nofork", "--print-address")
	daemon.Env = k.env
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, daemon)
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	k.env = append(k.env, "DBUS_SESSION_BUS_ADDRESS="+strings.TrimSpace(address))
	if k.bus, err = dbus.Connect(strings.TrimSpace(address)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.bus.Close() })
}

// startService starts the Secret Service, whose collection a password unlocks.
func (k *keyringHome) startService(t *testing.T) {
	t.Helper()
	owned := make(chan *dbus.Signal, 16)
	k.bus.Signal(owned)
	if err := k.bus.AddMatchSignal(dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, "org.freedesktop.secrets")); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("gnome-keyring-daemon", "--unlock", "--components=secrets", "--foreground")
	daemon.Env = k.env
	daemon.Stdin = strings.NewReader("test-password")
	start(t, daemon)
	k.service = daemon.Process
	for deadline := time.After(20 * time.Second); ; {
		select {
		case signal := <-owned:
			if signal.Name == "org.freedesktop.DBus.NameOwnerChanged" {
				return
			}
		case <-deadline:
			t.Fatal("gnome-keyring-daemon does not serve")
		}
	}
}

// start starts a daemon for the time of the test.
func start(t *testing.T, daemon *exec.Cmd) {
	t.Helper()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
}

// call calls a method of the Secret Service.
func (k *keyringHome) call(t *testing.T, object dbus.ObjectPath, method string, args ...any) *dbus.Call {
	t.Helper()
	call := k.bus.Object("org.freedesktop.secrets", object).CallWithContext(t.Context(), "org.freedesktop.Secret."+method, 0, args...)
	if call.Err != nil {
		t.Fatal(call.Err)
	}
	return call
}

func (k *keyringHome) lock(t *testing.T) {
	t.Helper()
	k.call(t, "/org/freedesktop/secrets", "Service.Lock", []dbus.ObjectPath{"/org/freedesktop/secrets/collection/login"})
}

// item finds what the keyring holds for a wallet: one item.
func (k *keyringHome) item(t *testing.T, name string) dbus.ObjectPath {
	t.Helper()
	var unlocked, locked []dbus.ObjectPath
	search := map[string]string{"service": "assent", "username": name}
	if err := k.call(t, "/org/freedesktop/secrets", "Service.SearchItems", search).Store(&unlocked, &locked); err != nil {
		t.Fatal(err)
	}
	if len(unlocked) != 1 || len(locked) != 0 {
		t.Fatalf("the keyring holds %v and %v for %s", unlocked, locked, name)
	}
	return unlocked[0]
}

// secret reads the secret of a wallet, which is hexadecimal, past the program.
func (k *keyringHome) secret(t *testing.T, name string) []byte {
	t.Helper()
	var none dbus.Variant
	var session dbus.ObjectPath
	if err := k.call(t, "/org/freedesktop/secrets", "Service.OpenSession", "plain", dbus.MakeVariant("")).Store(&none, &session); err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Session     dbus.ObjectPath
		Parameters  []byte
		Value       []byte
		ContentType string
	}
	if err := k.call(t, k.item(t, name), "Item.GetSecret", session).Store(&kept); err != nil {
		t.Fatal(err)
	}
	entropy, err := hex.DecodeString(string(kept.Value))
	if err != nil || len(entropy) != 32 {
		t.Fatalf("the keyring holds %d characters, want 64 hexadecimal digits", len(kept.Value))
	}
	return entropy
}

func (k *keyringHome) file(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(k.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a command, which has to end with the exit code, and gives what it
// printed.
func (k *keyringHome) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	stdout, stderr, code, err := k.try(t.Context(), args...)
	k.said.WriteString(stdout + stderr)
	if err != nil || code != want {
		t.Fatalf("%s: exit code %d, %v, want %d\n%s", strings.Join(args, " "), code, err, want, stderr)
	}
	return stdout
}

// fails runs a command that the keyring makes fail, with one line that holds
// the message.
func (k *keyringHome) fails(t *testing.T, message string, args ...string) {
	t.Helper()
	before := k.said.Len()
	if printed := k.run(t, exitKeyring, args...); printed != "" {
		t.Errorf("%s printed %s", strings.Join(args, " "), printed)
	}
	said := k.said.String()[before:]
	if !strings.HasPrefix(said, "assent: the secret of the wallet") || strings.Count(said, "\n") != 1 || !strings.Contains(said, message) {
		t.Errorf("%s said %q, want one line with %q", strings.Join(args, " "), said, message)
	}
}

// discreet requires that the secrets are nowhere but in the keyring: not in
// what commands printed and said, nor in files.
func (k *keyringHome) discreet(t *testing.T, secrets ...[]byte) {
	t.Helper()
	texts := map[string]string{"what commands said": k.said.String()}
	err := filepath.WalkDir(k.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		phrase, err := wallet.Phrase(secret)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(phrase)
		for where, text := range texts {
			if strings.Contains(text, string(secret)) || strings.Contains(strings.ToLower(text), hex.EncodeToString(secret)) {
				t.Errorf("%s holds the secret", where)
			}
			for i := range len(words) - 2 {
				if strings.Contains(text, strings.Join(words[i:i+3], " ")) {
					t.Errorf("%s holds words of the recovery phrase", where)
				}
			}
		}
	}
}

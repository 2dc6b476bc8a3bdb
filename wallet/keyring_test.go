package wallet

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
)

var entropyA, entropyB = bytes.Repeat([]byte{0xa1}, 32), bytes.Repeat([]byte{0xb2}, 16)

func TestKeyring(t *testing.T) {
	keyring.MockInit()
	keepsSecrets(t, Keyring{})
	if value, err := keyring.Get("assent", "first"); err != nil || value != hex.EncodeToString(entropyA) {
		t.Errorf("the entry is %q, %v: want the entropy and nothing else", value, err)
	}
}

// keepsSecrets holds a Keeper to what Keeper says; "first" is there afterwards.
func keepsSecrets(t *testing.T, k Keeper) {
	t.Helper()
	ctx := t.Context()
	for name, err := range map[string]error{
		"load":   func() error { _, err := k.Load(ctx, "first"); return err }(),
		"delete": k.Delete(ctx, "first"),
	} {
		if failed, ok := errors.AsType[*SecretError](err); !ok || failed.Reason != ErrAbsent || failed.Wallet != "first" {
			t.Errorf("%s: %v: want ErrAbsent", name, err)
		}
	}
	for name, entropy := range map[string][]byte{"first": entropyA, "second": entropyB} {
		if err := k.Save(ctx, name, entropy); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Save(ctx, "first", entropyA); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := k.Save(ctx, "first", entropyB); !errors.Is(err, ErrExists) {
		t.Errorf("%v: want ErrExists", err)
	}
	if err := k.Save(ctx, "third", make([]byte, 17)); err == nil {
		t.Error("kept what is no entropy")
	}
	for name, entropy := range map[string][]byte{"first": entropyA, "second": entropyB} {
		if got, err := k.Load(ctx, name); err != nil || !bytes.Equal(got, entropy) {
			t.Errorf("%s: %x, %v: want %x", name, got, err, entropy)
		}
	}
	if err := k.Delete(ctx, "second"); err != nil {
		t.Error(err)
	}
	if _, err := k.Load(ctx, "second"); !errors.Is(err, ErrAbsent) {
		t.Errorf("%v: want ErrAbsent", err)
	}
}

func TestKeyringEntriesOfOthersAreNotReplaced(t *testing.T) {
	for name, value := range map[string]string{"text": "not a secret of ours", "short": "a1b2", "odd": "a1b", "empty": "", "longer": strings.Repeat("a1", 33)} {
		t.Run(name, func(t *testing.T) {
			keyring.MockInit()
			if err := keyring.Set("assent", "first", value); err != nil {
				t.Fatal(err)
			}
			_, err := Keyring{}.Load(t.Context(), "first")
			if !errors.Is(err, ErrUnreadable) || value != "" && strings.Contains(err.Error(), value) {
				t.Errorf("%v: want ErrUnreadable, without the entry", err)
			}
			if err := (Keyring{}).Save(t.Context(), "first", entropyA); !errors.Is(err, ErrExists) {
				t.Errorf("%v: want ErrExists", err)
			}
			if kept, err := keyring.Get("assent", "first"); kept != value {
				t.Errorf("the entry is now %q, %v", kept, err)
			}
		})
	}
}

// What the keyring's library says, as it was seen on real systems.
func TestKeyringErrors(t *testing.T) {
	said := func(name string) error { return dbus.Error{Name: name, Body: []any{"words"}} }
	for _, c := range []struct {
		name string
		said error
		want error
	}{
		{"absent", keyring.ErrNotFound, ErrAbsent},
		{"too big", keyring.ErrSetDataTooBig, ErrTooBig},
		{"platform", keyring.ErrUnsupportedPlatform, ErrNoKeyring},
		{"no dbus-launch", &exec.Error{Name: "dbus-launch", Err: exec.ErrNotFound}, ErrNoBus},
		{"no socket", &net.OpError{Op: "dial", Net: "unix", Err: syscall.ENOENT}, ErrNoBus},
		{"no address", errors.New("dbus: couldn't determine address of session bus"), ErrNoBus},
		{"no service", said("org.freedesktop.DBus.Error.ServiceUnknown"), ErrNoKeyring},
		{"service does not start", said("org.freedesktop.DBus.Error.Spawn.ChildExited"), ErrNoKeyring},
		{"no collection", errors.New("failed to unlock correct collection '/org/freedesktop/secrets/aliases/default'"), ErrNoKeyring},
		{"locked", errors.New("failed to unlock correct collection '/org/freedesktop/secrets/collection/login'"), ErrLocked},
		{"locked, as an error", said("org.freedesktop.Secret.Error.IsLocked"), ErrLocked},
		{"no reply", said("org.freedesktop.DBus.Error.NoReply"), ErrTimedOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			keyring.MockInitWithError(c.said)
			_, loading := Keyring{}.Load(t.Context(), "first")
			for action, err := range map[string]error{
				"load": loading, "save": Keyring{}.Save(t.Context(), "first", entropyA), "delete": Keyring{}.Delete(t.Context(), "first"),
			} {
				failed, ok := errors.AsType[*SecretError](err)
				if !ok || failed.Reason != c.want || failed.Wallet != "first" || failed.Place != "the keyring" {
					t.Errorf("%s: %v: want %v", action, err, c.want)
				}
			}
		})
	}
	t.Run("unknown", func(t *testing.T) {
		keyring.MockInitWithError(errors.New("\x1b[2Jwords of a stranger"))
		_, err := Keyring{}.Load(t.Context(), "first")
		if failed, ok := errors.AsType[*SecretError](err); !ok || !strings.Contains(failed.Error(), "“[2Jwords of a stranger”") {
			t.Errorf("%v: want it quoted", err)
		}
	})
}

// Whatever fails says what to do next.
func TestSecretErrorsSayWhatToDo(t *testing.T) {
	for _, err := range []error{ErrAbsent, ErrExists, ErrLocked, ErrNoKeyring, ErrNoBus, ErrTimedOut, ErrTooBig, ErrWrongPassword, ErrUnreadable, ErrOtherWallet} {
		if _, advice, found := strings.Cut(err.Error(), ": "); !found || advice == "" {
			t.Errorf("%v: says only what failed", err)
		}
	}
}

func TestKeyringThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func() (string, error) {
			<-release
			return "late", nil
		}
		for _, c := range []struct{ patience, want time.Duration }{{0, 3 * time.Second}, {time.Minute, time.Minute}} {
			began := time.Now()
			value, err := within(t.Context(), c.patience, hang)
			if value != "" || !errors.Is(err, ErrTimedOut) || time.Since(began) != c.want {
				t.Errorf("%q, %v after %s: want ErrTimedOut after %s", value, err, time.Since(began), c.want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := within(ctx, 0, hang); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: want that of the context", err)
		}
		close(release) // those left to themselves end, and nobody waits for them
	})
}

func TestKeyringThatPanics(t *testing.T) {
	_, err := within(t.Context(), 0, func() (string, error) {
		var body []any
		return body[0].(string), nil
	})
	if err == nil {
		t.Error("no error")
	}
}

func TestKeyringGivesTheErrorOfTheContext(t *testing.T) {
	keyring.MockInitWithError(context.Canceled) // as within does
	if err := (Keyring{}).Delete(t.Context(), "first"); err != context.Canceled {
		t.Errorf("%v: want context.Canceled", err)
	}
}

func TestUnlock(t *testing.T) {
	keyring.MockInit()
	entropy, err := ParsePhrase(phrases[0].phrase)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Keyring{}).Save(t.Context(), "first", entropy); err != nil {
		t.Fatal(err)
	}
	account := common.HexToAddress(phrases[0].address)
	k, err := Unlock(t.Context(), Keyring{}, "first", account)
	if err != nil || k.Address() != account {
		t.Fatalf("%v, %v", k, err)
	}
	k.Close()
	if k, err := Unlock(t.Context(), Keyring{}, "first", grantee); k != nil || !errors.Is(err, ErrOtherWallet) {
		t.Errorf("%v: want ErrOtherWallet", err)
	}
	if k, err := Unlock(t.Context(), Keyring{}, "second", account); k != nil || !errors.Is(err, ErrAbsent) {
		t.Errorf("%v: want ErrAbsent", err)
	}
}

func ExampleSecretError() {
	fmt.Println(&SecretError{Place: "the keyring", Wallet: "first", Reason: ErrLocked})
	// Output: the secret of the wallet first in the keyring: the keyring is locked: unlock it, which logging in to the desktop does, and try again
}

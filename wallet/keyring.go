package wallet

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"github.com/assent-wallet/assent/consent"
)

// keyringService is what the entries are filed under; their account is the name
// of the wallet.
const keyringService = "assent"

// KeyringPatience is how long a keyring may take to answer where no person is
// asked.
const KeyringPatience = 3 * time.Second

// Keyring keeps secrets in the keyring of the operating system: the Secret
// Service, the macOS keychain or the Windows credential manager. An entry is
// the entropy in hexadecimal digits, and nothing else.
type Keyring struct {
	// Patience is how long one call may take: longer than KeyringPatience,
	// which 0 stands for, where a person is asked to unlock the keyring.
	Patience time.Duration
}

var _ Keeper = Keyring{}

// Save keeps the secret of a new wallet, and reads it back: see Keeper. After
// ErrTimedOut it may still come to be kept; saving it again does no harm.
func (k Keyring) Save(ctx context.Context, name string, entropy []byte) error {
	if !isEntropy(entropy) {
		return k.failed(name, ErrUnreadable)
	}
	there, err := k.Load(ctx, name)
	defer clear(there)
	switch {
	case err == nil && bytes.Equal(there, entropy):
		return nil
	case err == nil || errors.Is(err, ErrUnreadable):
		return k.failed(name, ErrExists)
	case !errors.Is(err, ErrAbsent):
		return err
	}
	value := hex.EncodeToString(entropy)
	_, err = within(ctx, k.Patience, func() (string, error) {
		return "", keyring.Set(keyringService, name, value)
	})
	if err != nil {
		return k.failed(name, err)
	}
	kept, err := k.Load(ctx, name)
	defer clear(kept)
	if err == nil && !bytes.Equal(kept, entropy) {
		return k.failed(name, errors.New("the keyring gives back another than it was given: choose an encrypted file with “--keystore file”"))
	}
	return err
}

// Load gives the secret of a wallet: see Keeper.
func (k Keyring) Load(ctx context.Context, name string) ([]byte, error) {
	value, err := within(ctx, k.Patience, func() (string, error) {
		return keyring.Get(keyringService, name)
	})
	if err != nil {
		return nil, k.failed(name, err)
	}
	entropy, err := hex.DecodeString(value)
	if err != nil || !isEntropy(entropy) {
		clear(entropy)
		return nil, k.failed(name, ErrUnreadable)
	}
	return entropy, nil
}

// Delete takes the secret of a wallet away for ever: see Keeper.
func (k Keyring) Delete(ctx context.Context, name string) error {
	_, err := within(ctx, k.Patience, func() (string, error) {
		return "", keyring.Delete(keyringService, name)
	})
	if err != nil {
		return k.failed(name, err)
	}
	return nil
}

func (k Keyring) failed(name string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &SecretError{"the keyring", name, reason(err)}
}

// within asks the keyring, and waits no longer than patience (0:
// KeyringPatience). The keyring's library knows neither contexts nor time
// limits, and waits for ever for a person who does not answer: its call is then
// left to itself.
func within(ctx context.Context, patience time.Duration, ask func() (string, error)) (string, error) {
	if patience == 0 {
		patience = KeyringPatience
	}
	type answer struct {
		value string
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		// The library trusts the form of what a Secret Service says.
		defer func() {
			if r := recover(); r != nil {
				answered <- answer{err: errors.New("an answer that makes no sense")}
			}
		}()
		value, err := ask()
		answered <- answer{value, err}
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-limit.C:
		return "", ErrTimedOut
	}
}

// What the macOS program “security” ends with: the low bytes of
// errSecInteractionNotAllowed, errSecAuthFailed and errSecUserCanceled.
var keychainLocked = map[int]bool{36: true, 51: true, 128: true}

// reason finds the reason in what the keyring's library says, most of which has
// no type. What it does not know is quoted, since it may come from anywhere.
func reason(err error) error {
	for _, known := range []error{ErrExists, ErrUnreadable, ErrTimedOut} {
		if errors.Is(err, known) {
			return known
		}
	}
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return ErrAbsent
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return ErrTooBig
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return ErrNoKeyring
	case errors.Is(err, exec.ErrNotFound): // dbus-launch
		return ErrNoBus
	}
	if said, ok := errors.AsType[dbus.Error](err); ok {
		switch {
		case said.Name == "org.freedesktop.Secret.Error.IsLocked":
			return ErrLocked
		case said.Name == "org.freedesktop.DBus.Error.ServiceUnknown",
			said.Name == "org.freedesktop.DBus.Error.NameHasNoOwner",
			said.Name == "org.freedesktop.Secret.Error.NoSuchObject",
			strings.HasPrefix(said.Name, "org.freedesktop.DBus.Error.Spawn."):
			return ErrNoKeyring
		case said.Name == "org.freedesktop.DBus.Error.NoReply",
			said.Name == "org.freedesktop.DBus.Error.Timeout",
			said.Name == "org.freedesktop.DBus.Error.TimedOut":
			return ErrTimedOut
		}
	}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		if runtime.GOOS != "darwin" { // dbus-launch
			return ErrNoBus
		}
		if keychainLocked[ended.ExitCode()] {
			return ErrLocked
		}
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return ErrNoBus
	}
	switch text := err.Error(); {
	case strings.HasPrefix(text, "dbus: couldn't determine address"),
		strings.HasPrefix(text, "dbus: invalid bus address"):
		return ErrNoBus
	case strings.Contains(text, "failed to unlock correct collection") && strings.Contains(text, "aliases/default"):
		return ErrNoKeyring
	case strings.Contains(text, "failed to unlock correct collection"):
		return ErrLocked
	}
	return fmt.Errorf("the keyring says %s: try again, or choose an encrypted file with “--keystore file”", consent.Quote(err.Error()))
}

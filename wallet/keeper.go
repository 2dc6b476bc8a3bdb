package wallet

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// Keeper is where the secrets of wallets are kept: Keyring, or Keystore by
// explicit choice. A secret is the 16 to 32 bytes of entropy that the recovery
// phrase stands for. All errors are *SecretError or the context's; none of
// them holds anything of a secret.
type Keeper interface {
	// Save keeps the secret of a new wallet. It never replaces one: where the
	// same is there already nothing changes, and another is ErrExists.
	Save(ctx context.Context, name string, entropy []byte) error
	// Load gives the secret of a wallet. The caller clears it.
	Load(ctx context.Context, name string) ([]byte, error)
	// Delete takes the secret of a wallet away for ever.
	Delete(ctx context.Context, name string) error
}

// What may be wrong with a secret, or with the place where it is kept.
var (
	ErrAbsent        = errors.New("it is not there: look at “assent wallet list”, or make it again from its phrase with “assent wallet recover”")
	ErrExists        = errors.New("there is one of that name already, of another wallet: choose another name")
	ErrLocked        = errors.New("the keyring is locked: unlock it, which logging in to the desktop does, and try again")
	ErrNoKeyring     = errors.New("this system has no keyring that is ready: start one, such as gnome-keyring or KWallet, and let it make its default collection; or choose an encrypted file with “--keystore file”")
	ErrNoBus         = errors.New("there is no D-Bus session, through which the keyring is asked: log in to a desktop, or start one with “dbus-run-session”; or choose an encrypted file with “--keystore file”")
	ErrTimedOut      = errors.New("the keyring did not answer in time: look for a window that asks to unlock it, perhaps on another screen, and try again")
	ErrTooBig        = errors.New("the keyring takes nothing as long: choose an encrypted file with “--keystore file”")
	ErrWrongPassword = errors.New("the password is wrong: try again")
	ErrUnreadable    = errors.New("what is there is not the secret of a wallet: make it again from its phrase with “assent wallet recover”")
	ErrOtherWallet   = errors.New("it is the secret of another wallet: make the right one again from its phrase with “assent wallet recover”")
)

// SecretError is a failure to keep or to give a wallet's secret. Reason is one
// of the errors above, or what the system said.
type SecretError struct {
	Place  string // "the keyring", or the file; empty: wherever it is
	Wallet string
	Reason error
}

func (e *SecretError) Error() string {
	if e.Place == "" {
		return fmt.Sprintf("the secret of the wallet %s: %v", e.Wallet, e.Reason)
	}
	return fmt.Sprintf("the secret of the wallet %s in %s: %v", e.Wallet, e.Place, e.Reason)
}

// Unwrap gives the reason.
func (e *SecretError) Unwrap() error { return e.Reason }

// Unlock gives the key of the wallet whose secret is kept. account is the
// wallet's, as it is known: the key of another is ErrOtherWallet.
func Unlock(ctx context.Context, keeper Keeper, name string, account common.Address) (*Key, error) {
	entropy, err := keeper.Load(ctx, name)
	if err != nil {
		return nil, err
	}
	defer clear(entropy)
	k, err := NewKey(entropy)
	if err != nil {
		return nil, &SecretError{"", name, ErrUnreadable}
	}
	if k.Address() != account {
		k.Close()
		return nil, &SecretError{"", name, ErrOtherWallet}
	}
	return k, nil
}

// isEntropy tells whether a phrase can stand for as many bytes.
func isEntropy(secret []byte) bool {
	return len(secret) >= 16 && len(secret) <= 32 && len(secret)%4 == 0
}

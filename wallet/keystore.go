package wallet

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/accounts/keystore"
)

// Keystore keeps secrets in files, each encrypted with a password as version 3
// of the Ethereum keystore does it (scrypt, AES-128-CTR, keccak-256). It is for
// systems without a keyring, and by explicit choice only.
type Keystore struct {
	// Folder is where the files are; it is made, for its owner alone, where
	// there is none.
	Folder string
	// Password asks a person for a password. Keystore clears what it gives.
	Password func(ctx context.Context, prompt string) ([]byte, error)

	scryptN int // 0: keystore.StandardScryptN
}

var _ Keeper = (*Keystore)(nil)

// keystoreKind names what the file is: the entropy of a phrase, which other
// programs must not take for a private key.
const keystoreKind = "keystore/1"

type keystoreFile struct {
	Assent string              `json:"assent"`
	Crypto keystore.CryptoJSON `json:"crypto"`
}

var errEmptyPassword = errors.New("the password is empty: choose one")

// Save keeps the secret of a new wallet: see Keeper. It asks for the password
// twice.
func (s *Keystore) Save(ctx context.Context, name string, entropy []byte) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if !isEntropy(entropy) {
		return &SecretError{path, name, ErrUnreadable}
	}
	if _, err := os.Stat(path); err == nil {
		return s.sameAs(ctx, path, name, entropy)
	}
	password, err := s.Password(ctx, fmt.Sprintf("A new password for the wallet %s: ", name))
	if err != nil {
		return err
	}
	defer clear(password)
	again, err := s.Password(ctx, "The same password again: ")
	if err != nil {
		return err
	}
	defer clear(again)
	switch {
	case len(password) == 0:
		return &SecretError{path, name, errEmptyPassword}
	case subtle.ConstantTimeCompare(password, again) == 0:
		return &SecretError{path, name, errors.New("the two passwords differ: try again")}
	}
	n := s.scryptN
	if n == 0 {
		n = keystore.StandardScryptN
	}
	sealed, err := keystore.EncryptDataV3(entropy, password, n, keystore.StandardScryptP)
	if err != nil {
		return &SecretError{path, name, err}
	}
	text, err := json.Marshal(keystoreFile{keystoreKind, sealed})
	if err != nil {
		return &SecretError{path, name, err}
	}
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		return &SecretError{path, name, err}
	}
	unlock, err := lock(ctx, filepath.Join(s.Folder, "keystore.lock"), patience)
	if err != nil {
		return &SecretError{path, name, err}
	}
	defer unlock()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return &SecretError{path, name, ErrExists} // another process was faster
	}
	if err := replace(path, text); err != nil {
		return &SecretError{path, name, err}
	}
	return nil
}

// sameAs tells whether the file that is there holds the entropy.
func (s *Keystore) sameAs(ctx context.Context, path, name string, entropy []byte) error {
	there, err := s.Load(ctx, name)
	defer clear(there)
	if errors.Is(err, ErrWrongPassword) || errors.Is(err, ErrUnreadable) || err == nil && !bytes.Equal(there, entropy) {
		return &SecretError{path, name, ErrExists}
	}
	return err
}

// Load gives the secret of a wallet: see Keeper. It asks for the password.
func (s *Keystore) Load(ctx context.Context, name string) ([]byte, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	sealed, err := readKeystore(path)
	if err != nil {
		return nil, &SecretError{path, name, err}
	}
	password, err := s.Password(ctx, fmt.Sprintf("The password of the wallet %s: ", name))
	if err != nil {
		return nil, err
	}
	defer clear(password)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entropy, err := keystore.DecryptDataV3(*sealed, string(password))
	switch {
	case errors.Is(err, keystore.ErrDecrypt):
		return nil, &SecretError{path, name, ErrWrongPassword}
	case err != nil || !isEntropy(entropy):
		clear(entropy)
		return nil, &SecretError{path, name, ErrUnreadable}
	}
	return entropy, nil
}

// Delete takes the secret of a wallet away for ever: see Keeper.
func (s *Keystore) Delete(_ context.Context, name string) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return &SecretError{path, name, ErrAbsent}
	case err != nil:
		return &SecretError{path, name, err}
	}
	return syncFolder(s.Folder)
}

func (s *Keystore) path(name string) (string, error) {
	return filepath.Join(s.Folder, name+".json"), CheckName(name)
}

const maxKeystore = 64 << 10 // bytes of a file

// readKeystore reads a file. go-ethereum panics on members that are missing or
// of another type, and takes as much memory as the file asks for: both are
// looked at before it is asked.
func readKeystore(path string) (*keystore.CryptoJSON, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrAbsent
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeystore))
	if err != nil {
		return nil, err
	}
	var f keystoreFile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil || f.Assent != keystoreKind {
		return nil, ErrUnreadable
	}
	c := &f.Crypto
	n, isNumber := c.KDFParams["n"].(float64)
	salt, isText := c.KDFParams["salt"].(string)
	switch {
	case c.Cipher != "aes-128-ctr" || c.KDF != "scrypt",
		!isNumber || n < 2 || n > keystore.StandardScryptN || int(n)&(int(n)-1) != 0,
		c.KDFParams["r"] != 8., c.KDFParams["p"] != float64(keystore.StandardScryptP), c.KDFParams["dklen"] != 32.,
		!isText || !isHex(salt, 32), !isHex(c.CipherParams.IV, 16), !isHex(c.MAC, 32):
		return nil, ErrUnreadable
	}
	return c, nil
}

func isHex(s string, size int) bool {
	decoded, err := hex.DecodeString(s)
	return err == nil && len(decoded) == size
}

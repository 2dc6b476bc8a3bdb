package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/keystore"
)

// newKeystore has a cheap scrypt, and a person who types the passwords in turn,
// the last one again and again.
func newKeystore(t *testing.T, passwords ...string) *Keystore {
	return &Keystore{
		Folder:   filepath.Join(t.TempDir(), "data", "keystore"),
		Password: typed(passwords...),
		scryptN:  2,
	}
}

func typed(passwords ...string) func(context.Context, string) ([]byte, error) {
	return func(context.Context, string) ([]byte, error) {
		password := passwords[0]
		if len(passwords) > 1 {
			passwords = passwords[1:]
		}
		return []byte(password), nil
	}
}

func TestKeystore(t *testing.T) {
	s := newKeystore(t, "correct horse")
	keepsSecrets(t, s)
	path := filepath.Join(s.Folder, "first.json")
	for file, mode := range map[string]fs.FileMode{s.Folder: 0o700 | fs.ModeDir, path: 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v: want %v", file, info, err, mode)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil || bytes.Contains(content, []byte("correct horse")) || bytes.Contains(content, []byte("a1a1a1a1")) {
		t.Errorf("%s, %v", content, err)
	}
	left, err := os.ReadDir(s.Folder)
	if err != nil || len(left) != 2 { // and the lock
		t.Errorf("%v, %v: want nothing left over", left, err)
	}
}

// The strength that files are made with, and another's file is read with.
func TestKeystoreIsAsStrongAsTheStandard(t *testing.T) {
	s := newKeystore(t, "correct horse")
	s.scryptN = 0
	if err := s.Save(t.Context(), "first", entropyA); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(s.Folder, "first.json"))
	if err != nil || !bytes.Contains(content, fmt.Appendf(nil, `"n":%d`, 1<<18)) {
		t.Errorf("%s, %v: want n = 2^18", content, err)
	}
	if got, err := s.Load(t.Context(), "first"); err != nil || !bytes.Equal(got, entropyA) {
		t.Errorf("%x, %v", got, err)
	}
}

func TestKeystorePasswords(t *testing.T) {
	s := newKeystore(t, "one", "another")
	if err := s.Save(t.Context(), "first", entropyA); err == nil || !strings.Contains(err.Error(), "differ") {
		t.Errorf("%v: want that they differ", err)
	}
	s.Password = typed("")
	if err := s.Save(t.Context(), "first", entropyA); !errors.Is(err, errEmptyPassword) {
		t.Errorf("%v: want errEmptyPassword", err)
	}
	var given [][]byte
	var prompts []string
	s.Password = func(_ context.Context, prompt string) ([]byte, error) {
		given, prompts = append(given, []byte("correct horse")), append(prompts, prompt)
		return given[len(given)-1], nil
	}
	if err := s.Save(t.Context(), "first", entropyA); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if len(prompts) != 3 || !strings.Contains(prompts[0], "first") || !strings.Contains(prompts[2], "first") {
		t.Errorf("asked %q", prompts)
	}
	for i, password := range given {
		if !bytes.Equal(password, make([]byte, len(password))) {
			t.Errorf("password %d is still in memory", i)
		}
	}

	s.Password = typed("wrong battery")
	_, err := s.Load(t.Context(), "first")
	failed, ok := errors.AsType[*SecretError](err)
	if !ok || failed.Reason != ErrWrongPassword || strings.Contains(err.Error(), "battery") {
		t.Errorf("%v: want ErrWrongPassword", err)
	}
	if err := s.Save(t.Context(), "first", entropyA); !errors.Is(err, ErrExists) {
		t.Errorf("%v: want ErrExists", err)
	}
	noTerminal := errors.New("no terminal")
	s.Password = func(context.Context, string) ([]byte, error) { return nil, noTerminal }
	if _, err := s.Load(t.Context(), "first"); !errors.Is(err, noTerminal) {
		t.Errorf("%v: want %v", err, noTerminal)
	}
	if err := s.Save(t.Context(), "second", entropyA); !errors.Is(err, noTerminal) {
		t.Errorf("%v: want %v", err, noTerminal)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Password = typed("correct horse")
	if _, err := s.Load(ctx, "first"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v: want context.Canceled", err)
	}
}

// Names do not lead out of the folder.
func TestKeystoreNames(t *testing.T) {
	s := newKeystore(t, "correct horse")
	for _, name := range []string{"../first", "a/b", "", ".."} {
		_, loading := s.Load(t.Context(), name)
		for action, err := range map[string]error{"load": loading, "save": s.Save(t.Context(), name, entropyA), "delete": s.Delete(t.Context(), name)} {
			if err == nil || !strings.Contains(err.Error(), "the name") {
				t.Errorf("%s %q: %v", action, name, err)
			}
		}
	}
}

func TestDamagedKeystoreFiles(t *testing.T) {
	s := newKeystore(t, "correct horse")
	if err := s.Save(t.Context(), "good", entropyA); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(s.Folder, "good.json"))
	if err != nil {
		t.Fatal(err)
	}
	good := string(content)
	between := func(from, to string) string {
		_, rest, _ := strings.Cut(good, from)
		value, _, _ := strings.Cut(rest, to)
		return value
	}
	ciphertext, iv, mac, salt := between(`"ciphertext":"`, `"`), between(`"iv":"`, `"`), between(`"mac":"`, `"`), between(`"salt":"`, `"`)
	for name, change := range map[string][2]string{
		"empty":              {good, ""},
		"not JSON":           {good, "{"},
		"cut":                {good[len(good)/2:], ""},
		"another kind":       {"keystore/1", "keystore/9"},
		"a private key":      {`"assent":"keystore/1"`, `"version":3`},
		"unknown member":     {`"assent"`, `"x":1,"assent"`},
		"cipher":             {"aes-128-ctr", "aes-256-gcm"},
		"kdf":                {"scrypt", "pbkdf2"},
		"no n":               {`"n":2`, `"m":2`},
		"n no power":         {`"n":2`, `"n":3`},
		"n takes all memory": {`"n":2`, `"n":1073741824`},
		"n is a text":        {`"n":2`, `"n":"2"`},
		"r":                  {`"r":8`, `"r":1000000`},
		"p":                  {`"p":1`, `"p":1000000`},
		"dklen":              {`"dklen":32`, `"dklen":8`},
		"no salt":            {`"salt":"` + salt, `"pepper":"` + salt},
		"salt is a number":   {`"salt":"` + salt + `"`, `"salt":1`},
		"short salt":         {salt, salt[2:]},
		"short iv":           {iv, iv[2:]},
		"iv not hex":         {iv, "zz" + iv[2:]},
		"short mac":          {mac, ""},
		"ciphertext not hex": {ciphertext, "zz" + ciphertext[2:]},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, change[0]) {
				t.Fatalf("%s has no %s", good, change[0])
			}
			if err := os.WriteFile(filepath.Join(s.Folder, "bad.json"), []byte(strings.Replace(good, change[0], change[1], 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Load(t.Context(), "bad"); got != nil || !errors.Is(err, ErrUnreadable) {
				t.Errorf("%x, %v: want ErrUnreadable", got, err)
			}
		})
	}
	flipped := "00"
	if strings.HasPrefix(ciphertext, flipped) {
		flipped = "01"
	}
	if err := os.WriteFile(filepath.Join(s.Folder, "bad.json"), []byte(strings.Replace(good, ciphertext, flipped+ciphertext[2:], 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context(), "bad"); got != nil || !errors.Is(err, ErrWrongPassword) {
		t.Errorf("%x, %v: want an error", got, err)
	}
	// Sealed well, and no entropy.
	sealed, err := keystore.EncryptDataV3([]byte("too short"), []byte("correct horse"), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"assent":"keystore/1","crypto":{"cipher":"aes-128-ctr","ciphertext":%q,"cipherparams":{"iv":%q},"kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"p":1,"r":8,"salt":%q},"mac":%q}}`,
		sealed.CipherText, sealed.CipherParams.IV, sealed.KDFParams["salt"], sealed.MAC)
	if err := os.WriteFile(filepath.Join(s.Folder, "bad.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context(), "bad"); got != nil || !errors.Is(err, ErrUnreadable) {
		t.Errorf("%x, %v: want ErrUnreadable", got, err)
	}
}

func TestKeystoreFolderThatIsNone(t *testing.T) {
	s := newKeystore(t, "correct horse")
	if err := os.MkdirAll(filepath.Dir(s.Folder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, loading := s.Load(t.Context(), "first")
	for action, err := range map[string]error{"load": loading, "save": s.Save(t.Context(), "first", entropyA), "delete": s.Delete(t.Context(), "first")} {
		if failed, ok := errors.AsType[*SecretError](err); !ok || failed.Place != filepath.Join(s.Folder, "first.json") {
			t.Errorf("%s: %v: want a SecretError that names the file", action, err)
		}
	}
}

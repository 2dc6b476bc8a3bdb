package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

type initOptions struct {
	*app
	keystore string
}

func initCommand(a *app) *cobra.Command {
	o := &initOptions{app: a}
	c := &cobra.Command{
		Use:   "init [NAME]",
		Short: "Make a wallet: a key of your own, kept in this computer's keyring",
		Long: `Makes a new key and keeps its secret in the keyring of the operating system. The
24 words of its recovery phrase are shown once, on the terminal: write them on
paper. Whoever has them has the wallet; with them alone you can restore it on
another computer and end everything that it gave.

Where there is no keyring, --keystore file keeps the secret in a file that a
password encrypts. It is never done without being asked for.`,
		Example: `  assent init
  assent init clinic --keystore file`,
		Args: atMostOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInit(cmd.Context(), o, nameOf(args))
		},
	}
	c.Flags().StringVar(&o.keystore, "keystore", string(wallet.InKeyring), "where the secret is kept: keyring, or file (encrypted with a password)")
	return c
}

// defaultWallet is the name of a wallet that was given none.
const defaultWallet = "default"

func nameOf(args []string) string {
	if len(args) == 0 {
		return defaultWallet
	}
	return args[0]
}

func atMostOneName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes at most one name: see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

func runInit(ctx context.Context, o *initOptions, name string) error {
	entropy, err := wallet.NewEntropy(rand.Reader)
	if err != nil {
		return err
	}
	defer clear(entropy)
	made, err := o.keep(ctx, name, o.keystore, entropy, false)
	if err != nil {
		return err
	}
	shown, err := o.showPhrase(ctx, name, entropy)
	if err != nil {
		return err
	}
	if !shown {
		o.say("the recovery phrase was not shown, since there is no terminal: run “assent wallet export” on one, soon")
	}
	return o.result(made, func(w io.Writer) {
		fmt.Fprintf(w, "wallet %s: %s\n", made.Name, made.Address)
	})
}

// made is a wallet as commands show it.
type made struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Secret   string `json:"secret"`
	BackedUp bool   `json:"backedUp"`
	Current  bool   `json:"current"`
}

// keep keeps a wallet's secret and enters it in the settings. The first wallet
// becomes the one in use.
func (a *app) keep(ctx context.Context, name, secret string, entropy []byte, restored bool) (*made, error) {
	place := wallet.Place(secret)
	if place != wallet.InKeyring && place != wallet.InFile {
		return nil, usagef("--keystore %s: want %s or %s", consent.Quote(secret), wallet.InKeyring, wallet.InFile)
	}
	key, err := wallet.NewKey(entropy)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	profile := wallet.Profile{Address: key.Address(), Secret: place, Created: uint64(a.now().Unix()), Backup: restored, Restored: restored}
	added := &made{Name: name, Address: profile.Address.Hex(), Secret: secret, BackedUp: restored}
	return added, a.home.Edit(ctx, func(s *wallet.Settings) error {
		if err := wallet.CheckName(name); err != nil {
			return usageError{err}
		}
		if _, taken := s.Wallets[name]; taken {
			return fmt.Errorf("there is a wallet %s already: choose another name", name)
		}
		if err := a.keeper(place).Save(ctx, name, entropy); err != nil {
			return err
		}
		s.AddWallet(name, profile)
		if s.Wallet == "" {
			s.Wallet = name
		}
		added.Current = s.Wallet == name
		return nil
	})
}

// keeper gives the keeper of the secrets in a place.
func (a *app) keeper(place wallet.Place) wallet.Keeper {
	if place == wallet.InFile {
		return a.home.Keystore(a.password)
	}
	return wallet.Keyring{}
}

// showPhrase shows the recovery phrase on the terminal, once, where there is
// one, and has three of its words asked back, so that it is on paper.
func (a *app) showPhrase(ctx context.Context, name string, entropy []byte) (shown bool, err error) {
	t, err := openTerminal("whether the recovery phrase is written down", "it another time, with “assent wallet export”")
	if err != nil {
		return false, nil
	}
	defer t.close()
	phrase, err := wallet.Phrase(entropy)
	if err != nil {
		return false, err
	}
	words := strings.Fields(phrase)
	fmt.Fprintf(t.out, "\nThe recovery phrase of the wallet %s. Write it on paper, in this order:\n\n", name)
	for i, word := range words {
		fmt.Fprintf(t.out, "  %2d %-10s", i+1, word)
		if i%4 == 3 {
			fmt.Fprintln(t.out)
		}
	}
	fmt.Fprintln(t.out, "\nWhoever reads it has the wallet. Nobody can give it to you again if this computer is lost.")
	for _, i := range []int{2, len(words) / 2, len(words) - 2} {
		for {
			answer, err := t.ask(ctx, fmt.Sprintf("Word %d, as you wrote it (or “later”): ", i+1))
			if err != nil {
				return false, err
			}
			answer = strings.ToLower(strings.TrimSpace(answer))
			if answer == words[i] { // which may be “later”
				break
			}
			if answer == "later" {
				settings, err := a.home.Settings()
				if err == nil && !settings.Wallets[name].Backup {
					a.say("the wallet has no backup yet: run “assent wallet export” when you have pen and paper")
				}
				return true, err
			}
			fmt.Fprintln(t.out, "That is another word. Look at the list again.")
		}
	}
	return true, a.home.Edit(ctx, func(s *wallet.Settings) error {
		_, profile, err := s.FindWallet(name)
		profile.Backup = true
		s.AddWallet(name, profile)
		return err
	})
}

// password asks for the password of an encrypted file, or reads it from
// --password-file.
func (a *app) password(ctx context.Context, prompt string) ([]byte, error) {
	if a.passwordFile != "" {
		file, err := a.open(a.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("open the password file: %w", err)
		}
		defer file.Close()
		password, err := io.ReadAll(io.LimitReader(file, 4096))
		if err != nil {
			return nil, fmt.Errorf("read the password file: %w", err)
		}
		for len(password) > 0 && (password[len(password)-1] == '\n' || password[len(password)-1] == '\r') {
			password = password[:len(password)-1]
		}
		if len(password) == 0 {
			return nil, errors.New("the password file is empty")
		}
		return password, nil
	}
	t, err := openTerminal("for a password", "--password-file")
	if err != nil {
		return nil, err
	}
	defer t.close()
	return t.secret(ctx, prompt)
}

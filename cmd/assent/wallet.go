package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/wallet"
)

func walletCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "wallet",
		Short: "List wallets, choose one, show its phrase, restore it, retire it",
		Example: `  assent wallet list
  assent wallet recover`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(walletListCommand(a), walletUseCommand(a), walletExportCommand(a), walletRecoverCommand(a), walletRetireCommand(a))
	return c
}

func walletListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the wallets on this computer",
		Example: `  assent wallet list --json`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			settings, err := a.home.Settings()
			if err != nil {
				return err
			}
			list := []made{}
			for _, name := range slices.Sorted(maps.Keys(settings.Wallets)) {
				w := settings.Wallets[name]
				list = append(list, made{name, w.Address.Hex(), string(w.Secret), w.Backup, name == settings.Wallet})
			}
			return a.result(list, func(out io.Writer) {
				rows := [][]string{{"", "NAME", "ADDRESS", "SECRET IN", "PHRASE ON PAPER"}}
				for _, w := range list {
					rows = append(rows, []string{mark(w.Current), w.Name, w.Address, w.Secret, yesNo(w.BackedUp)})
				}
				table(out, rows)
			})
		},
	}
}

func mark(current bool) string {
	if current {
		return "*"
	}
	return ""
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func walletUseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "use NAME",
		Short:   "Choose the wallet that commands use",
		Example: `  assent wallet use clinic`,
		Args:    exactly(1, "the name of a wallet"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var used struct {
				Wallet string `json:"wallet"`
			}
			if err := a.home.Edit(cmd.Context(), func(s *wallet.Settings) (err error) {
				s.Wallet, _, err = s.FindWallet(args[0])
				used.Wallet = s.Wallet
				return err
			}); err != nil {
				return err
			}
			return a.result(used, func(out io.Writer) { fmt.Fprintf(out, "wallet %s\n", used.Wallet) })
		},
	}
}

func walletExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Show the recovery phrase on the terminal, to write it on paper",
		Long: `Shows the 24 words on the terminal, never anywhere else. Whoever reads them has the
wallet: see that nobody looks on, and no camera.`,
		Example: `  assent wallet export`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runWalletExport(cmd.Context(), a) },
	}
}

func runWalletExport(ctx context.Context, a *app) error {
	name, profile, err := a.profile()
	if err != nil {
		return err
	}
	if err := a.yesNoQuestion(ctx, false, "Whoever sees the recovery phrase has the wallet. Show it now?"); err != nil {
		if usage := (usageError{}); errors.As(err, &usage) {
			return usagef("the recovery phrase is shown on a terminal only, and there is none here")
		}
		return err
	}
	entropy, err := a.keeper(profile.Secret).Load(ctx, name)
	if err != nil {
		return err
	}
	defer clear(entropy)
	_, err = a.showPhrase(ctx, name, entropy)
	return err
}

type walletRecoverOptions struct {
	*app
	keystore   string
	phraseFile string
}

func walletRecoverCommand(a *app) *cobra.Command {
	o := &walletRecoverOptions{app: a}
	c := &cobra.Command{
		Use:   "recover [NAME]",
		Short: "Restore a wallet from its recovery phrase",
		Long: `Makes a wallet again from its 12 to 24 words, and nothing else. What it gave before
is not on this computer, and still ends with “assent revoke --everything”.`,
		Example: `  assent wallet recover
  assent wallet recover old --phrase-file - < words.txt`,
		Args: atMostOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runWalletRecover(cmd.Context(), o, nameOf(args))
		},
	}
	c.Flags().StringVar(&o.keystore, "keystore", string(wallet.InKeyring), "where the secret is kept: keyring, or file (encrypted with a password)")
	c.Flags().StringVar(&o.phraseFile, "phrase-file", "", "read the words from this file, or from standard input for -, instead of the terminal")
	return c
}

func runWalletRecover(ctx context.Context, o *walletRecoverOptions, name string) error {
	phrase, err := o.phrase(ctx)
	if err != nil {
		return err
	}
	defer clear(phrase)
	entropy, err := wallet.ParsePhrase(string(phrase))
	if err != nil {
		return err
	}
	defer clear(entropy)
	restored, err := o.keep(ctx, name, o.keystore, entropy, true)
	if err != nil {
		return err
	}
	return o.result(restored, func(out io.Writer) {
		fmt.Fprintf(out, "wallet %s: %s\n", restored.Name, restored.Address)
	})
}

func (o *walletRecoverOptions) phrase(ctx context.Context) ([]byte, error) {
	if o.phraseFile != "" {
		file, err := o.open(o.phraseFile)
		if err != nil {
			return nil, fmt.Errorf("open the file of the recovery phrase: %w", err)
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, 4096))
	}
	t, err := openTerminal("for the recovery phrase", "--phrase-file")
	if err != nil {
		return nil, err
	}
	defer t.close()
	return t.secret(ctx, "The words of the recovery phrase, with spaces between them (they are not shown): ")
}

type walletRetireOptions struct {
	*app
	yes bool
}

func walletRetireCommand(a *app) *cobra.Command {
	o := &walletRetireOptions{app: a}
	c := &cobra.Command{
		Use:   "retire",
		Short: "End a key that was lost or stolen, for ever",
		Long: `Ends the account for ever: nothing that it signed counts any more, and nothing that
it, or a thief, ever signs. It cannot be undone, and it shows the account on the
chain. To end grants with a key that is still yours alone, use “assent revoke”.`,
		Example: `  assent wallet retire`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runWalletRetire(cmd.Context(), o) },
	}
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

func runWalletRetire(ctx context.Context, o *walletRetireOptions) error {
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		account := w.Signer.Address().Hex()
		o.say("This ends the account %s for ever, on this network. Nothing that it signs will ever count again.", account)
		if err := o.confirm(ctx, o.yes, "Type retire to do it: ", "retire"); err != nil {
			return err
		}
		if err := w.Retire(ctx); err != nil {
			return err
		}
		type retired struct {
			Account string `json:"account"`
		}
		return o.result(retired{account}, func(out io.Writer) { fmt.Fprintf(out, "retired %s\n", account) })
	})
}

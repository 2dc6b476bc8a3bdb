package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/gateway"
	"github.com/assent-wallet/assent/wallet"
)

func holderCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "holder",
		Short: "Keep the address book: where data holders are reached",
		Long: `The address book says at which URL each data holder answers. It is sealed with the
rest of what the wallet keeps. “assent grant --cover” passes on from it what a
grantee needs; “assent fetch” and “assent audit” use it.`,
		Example: `  assent holder add hospital.card.json https://fhir.hospital.example
  assent holder list`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(holderAddCommand(a), holderListCommand(a), holderRemoveCommand(a))
	return c
}

func holderAddCommand(a *app) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "add CARD|ADDRESS URL",
		Short: "Add a data holder, or change where it is reached",
		Long: `Adds a data holder by its card or address, with the URL of its gateway: https, or
http on this computer. The gateway is asked what it is before it is added.`,
		Example: `  assent holder add hospital.card.json https://fhir.hospital.example
  assent holder add 0x7E766e774678E89816d5C4C8408DA0c822725d7B https://lab.example/fhir --name Laboratory`,
		Args: exactly(2, "a data holder (an address, or the file of a card) and a URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runHolderAdd(cmd.Context(), a, args[0], args[1], name)
		},
	}
	c.Flags().StringVar(&name, "name", "", "what you call it (default as on its card)")
	return c
}

func runHolderAdd(ctx context.Context, a *app, who, at, name string) error {
	holder, err := a.party(who)
	if err != nil {
		return err
	}
	entry := consent.Gateway{Account: holder.account, Name: name, URL: at}
	if name == "" && holder.card != nil {
		entry.Name = holder.card.Card.Name
	}
	if err := entry.Check(); err != nil {
		return usageError{err}
	}
	return a.withWallet(ctx, func(w *wallet.Wallet) error {
		if err := meet(ctx, w, holder); err != nil {
			return err
		}
		said, err := whoIs(ctx, at)
		if err != nil {
			return err
		}
		if said.Holder != holder.account {
			return fmt.Errorf("the gateway at %s says that it is the data holder %s, not %s: ask the data holder for its URL", hostOf(at), said.Holder, holder.account)
		}
		if said.Domain != w.Domain {
			return fmt.Errorf("the gateway at %s follows another chain, %d, and this network is chain %d: choose its network with --network", hostOf(at), said.Domain.ChainID, w.Domain.ChainID)
		}
		if err := w.AddHolder(ctx, entry); err != nil {
			return err
		}
		return a.result(heldAt{entry.Account.Hex(), entry.Name, entry.URL}, func(out io.Writer) { fmt.Fprintf(out, "added %s\n", calledAt(nil, entry)) })
	})
}

// whoIs asks the gateway at a URL what it is.
func whoIs(ctx context.Context, at string) (*gateway.SMARTConfiguration, error) {
	client, err := gateway.NewClient(at)
	if err != nil {
		return nil, usageError{err}
	}
	defer client.Close()
	said, err := client.SMARTConfiguration(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway at %s what it is: %w", hostOf(at), err)
	}
	return said, nil
}

// hostOf gives the host that a URL of a gateway leads to, which a person is to
// see.
func hostOf(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return consent.Quote(at)
	}
	return u.Host
}

// calledAt says who a data holder is and where: its own name for itself comes
// before that in a note.
func calledAt(names consent.Names, g consent.Gateway) string {
	name := names[g.Account]
	if name == "" {
		name = g.Name
	}
	if name == "" {
		return fmt.Sprintf("%s at %s", g.Account, hostOf(g.URL))
	}
	return fmt.Sprintf("%s at %s", consent.Quote(name), hostOf(g.URL))
}

// heldAt is an entry of the address book as commands show it.
type heldAt struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	URL     string `json:"url"`
}

func holderListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the address book",
		Example: `  assent holder list`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withWallet(ctx, func(w *wallet.Wallet) error {
				holders, damaged := w.Holders(ctx)
				if damaged != nil && !errors.Is(damaged, wallet.ErrDamaged) {
					return damaged
				}
				list := []heldAt{}
				for _, h := range holders {
					list = append(list, heldAt{h.Account.Hex(), h.Name, h.URL})
				}
				return errors.Join(damaged, a.result(list, func(out io.Writer) {
					rows := [][]string{{"WHO", "URL"}}
					for _, h := range list {
						rows = append(rows, []string{nameAndAddress(h.Name, h.Account), h.URL})
					}
					table(out, rows)
				}))
			})
		},
	}
}

func holderRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "remove CARD|ADDRESS",
		Short:   "Take a data holder out of the address book",
		Example: `  assent holder remove hospital.card.json`,
		Args:    exactly(1, "a data holder: an address, or the file of a card"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			holder, err := a.party(args[0])
			if err != nil {
				return err
			}
			return a.withWallet(ctx, func(w *wallet.Wallet) error {
				if err := w.RemoveHolder(ctx, holder.account); err != nil {
					return err
				}
				type removed struct {
					Account string `json:"account"`
				}
				return a.result(removed{holder.account.Hex()}, func(out io.Writer) { fmt.Fprintf(out, "removed %s\n", holder.account) })
			})
		},
	}
}

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

type revokeOptions struct {
	*app
	grantee    string
	everything bool
	yes        bool
}

func revokeCommand(a *app) *cobra.Command {
	o := &revokeOptions{app: a}
	c := &cobra.Command{
		Use:   "revoke [GRANT]",
		Short: "Take back one grant, everything of one person, or everything",
		Long: `Ends grants for good, in the next block. --everything needs nothing but the wallet:
a wallet restored from its recovery phrase ends all that it ever gave, also what
this computer never saw.

It ends what was given on the network in use: repeat it with --network for each
other one. What was read before stays read: nobody can take that back.`,
		Example: `  assent revoke labs.grant.json
  assent revoke --grantee clinic.card.json
  assent revoke --everything`,
		Args: func(cmd *cobra.Command, args []string) error {
			given := len(args)
			if o.grantee != "" {
				given++
			}
			if o.everything {
				given++
			}
			if given != 1 {
				return usagef("say what to end: one grant, or --grantee, or --everything")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runRevoke(cmd.Context(), o, args) },
	}
	flags := c.Flags()
	flags.StringVar(&o.grantee, "grantee", "", "end everything given to this address, or to the account of this card")
	flags.BoolVar(&o.everything, "everything", false, "end everything that this wallet ever gave")
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

func runRevoke(ctx context.Context, o *revokeOptions, args []string) error {
	with := o.withStore
	if o.everything { // needs no store: a broken one keeps nobody from it
		with = o.withAnyStore
	}
	return o.withWalletOn(ctx, with, func(w *wallet.Wallet) error {
		network := w.Registry.(*chain).name
		revocation, what, err := o.prepare(ctx, w, args)
		if err != nil {
			return err
		}
		o.say("This ends %s, on the network %s: %s that this wallet knows of. It takes effect in the next block and cannot be undone.", what, network, number(len(revocation.Grants), "active grant"))
		if err := o.yesNoQuestion(ctx, o.yes, "End it?"); err != nil {
			return err
		}
		if err := w.Revoke(ctx, revocation); err != nil {
			return err
		}
		type ended struct {
			Grants []string `json:"grants"`
		}
		result := ended{Grants: []string{}}
		for _, g := range revocation.Grants {
			result.Grants = append(result.Grants, g.Document.ID().Hex())
		}
		return o.result(result, func(out io.Writer) {
			fmt.Fprintf(out, "ended %s, on the network %s: %s\n", what, network, number(len(result.Grants), "grant"))
		})
	})
}

// prepare gives the revocation, and what it ends in words.
func (o *revokeOptions) prepare(ctx context.Context, w *wallet.Wallet, args []string) (*wallet.Revocation, string, error) {
	switch {
	case o.everything:
		r, err := w.RevokeEverything(ctx)
		return r, "everything that this wallet ever gave", err
	case o.grantee != "":
		// Whatever became of the card: who it names can be cut off.
		grantee, err := o.party(o.grantee)
		if err != nil {
			return nil, "", err
		}
		r, err := w.RevokeGrantee(ctx, grantee.account)
		return r, fmt.Sprintf("everything given to %s", grantee.account), err
	}
	grant, err := o.grant(ctx, w, args[0])
	if err != nil {
		return nil, "", err
	}
	r, err := w.RevokeGrant(ctx, grant)
	return r, fmt.Sprintf("the grant to %s", grant.Grant.Grantee), err
}

// grant gives a grant by its file, or by its id where the wallet has it.
func (a *app) grant(ctx context.Context, w *wallet.Wallet, name string) (*consent.GrantDocument, error) {
	if id, ok := parseID(name); ok {
		return w.Find(ctx, id)
	}
	return readDocument(a, name, consent.ReadGrant)
}

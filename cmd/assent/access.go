package main

import (
	"context"
	"io"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

type accessOptions struct {
	*app
	grant, holder, binding, challenge string
	scopes                            scopes
}

func accessCommand(a *app) *cobra.Command {
	o := &accessOptions{app: a}
	c := &cobra.Command{
		Use:   "access",
		Short: "Use a grant that you were given, at one data holder, once",
		Long: `Prints an access, signed by your key, for a data holder to answer. It counts for
five minutes and once. It opens just those provisions of the grant that it needs.
Without --scope it asks for all that the grant permits there, but nothing
sensitive unless --sensitive names it.

With --challenge in place of a grant it prints a proof of address: that your key is
here now, for the data holder that gave out the challenge. It opens nothing.`,
		Example: `  assent access --grant labs.grant.json --holder hospital.card.json \
         --scope 'patient/Observation.rs?category=laboratory' > labs.access.json
  assent access --challenge 0x… --holder hospital.card.json > proof.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAccess(cmd.Context(), o) },
	}
	flags := c.Flags()
	flags.StringVar(&o.grant, "grant", "", "the grant to use: a file, or - for standard input")
	flags.StringVar(&o.holder, "holder", "", "whom to ask: the data holder's address, or the file of its card")
	flags.StringVar(&o.binding, "binding", "", "file of the public key (JWK) that the session will prove to hold (DPoP)")
	flags.StringVar(&o.challenge, "challenge", "", "prove your address instead: what the data holder gave you, 0x and 64 digits")
	o.scopes.add(flags, "")
	return c
}

func runAccess(ctx context.Context, o *accessOptions) error {
	if o.challenge != "" {
		return o.prove(ctx)
	}
	if o.grant == "" || o.holder == "" {
		return usagef("an access needs --grant and --holder")
	}
	grant, err := readDocument(o.app, o.grant, consent.ReadGrant)
	if err != nil {
		return err
	}
	wish, err := o.scopes.wish()
	if err != nil {
		return err
	}
	binding, err := o.readBinding()
	if err != nil {
		return err
	}
	holder, err := o.party(o.holder)
	if err != nil {
		return err
	}
	wish.Holders = []common.Address{holder.account}
	fitting, err := wish.Fit(grant)
	if err != nil {
		return err
	}
	var asked []consent.Scope
	for _, p := range fitting {
		asked = append(asked, p.Scope)
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		if err := meet(ctx, w, holder); err != nil {
			return err
		}
		access, err := w.Access(ctx, grant, holder.account, asked, binding)
		if err != nil {
			return err
		}
		return o.document(access)
	})
}

// prove answers the challenge of a data holder.
func (o *accessOptions) prove(ctx context.Context) error {
	switch {
	case o.holder == "":
		return usagef("a proof of address needs --holder: who gave out the challenge")
	case o.grant != "" || o.scopes.given():
		return usagef("--challenge is for a proof of address, which uses no grant and names no scope")
	case o.binding != "":
		return usagef("--binding is for an access: a proof of address opens no session")
	}
	var challenge common.Hash
	if err := challenge.UnmarshalText([]byte(o.challenge)); err != nil {
		return usagef("--challenge: want 0x and 64 hexadecimal digits, as the data holder gave them")
	}
	holder, err := o.party(o.holder)
	if err != nil {
		return err
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		if err := meet(ctx, w, holder); err != nil {
			return err
		}
		proof, err := w.ProveAddress(holder.account, challenge, common.Hash{})
		if err != nil {
			return err
		}
		return o.document(proof)
	})
}

func (o *accessOptions) readBinding() (common.Hash, error) {
	if o.binding == "" {
		return common.Hash{}, nil
	}
	file, err := o.open(o.binding)
	if err != nil {
		return common.Hash{}, err
	}
	defer file.Close()
	jwk, err := io.ReadAll(io.LimitReader(file, consent.MaxDocument))
	if err != nil {
		return common.Hash{}, err
	}
	return consent.Binding(jwk)
}

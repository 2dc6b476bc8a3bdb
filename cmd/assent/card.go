package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/wallet"
)

type cardOptions struct {
	*app
	name    string
	publish bool
}

func cardCommand(a *app) *cobra.Command {
	o := &cardOptions{app: a}
	c := &cobra.Command{
		Use:   "card",
		Short: "Print your card: the address of your key, and the name it calls itself by",
		Long: `Prints a card, signed by your key, for others to name you by: a clinic shows its
card to a patient, a patient shows hers to a clinic. A card proves a key, never a
name: compare the address with the one that the other person reads to you.`,
		Example: `  assent card --name 'Cardiology clinic' > clinic.card.json
  assent card --publish`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCard(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.name, "name", "", "what the key calls itself (default as on the last card)")
	c.Flags().BoolVar(&o.publish, "publish", false, "also put it on the relays of the network, so that others can write to you")
	return c
}

func runCard(ctx context.Context, o *cardOptions) error {
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		card, err := w.Card(ctx, o.name)
		if err != nil {
			return err
		}
		if err := o.document(card); err != nil || !o.publish {
			return err
		}
		return o.publishCard(ctx, w)
	})
}

// publishCard puts the card on all relays of the network.
func (o *cardOptions) publishCard(ctx context.Context, w *wallet.Wallet) error {
	relays := relaysOf(w)
	if len(relays) == 0 {
		return wallet.ErrNoRelay
	}
	for _, relay := range relays {
		if err := w.Publish(ctx, relay); err != nil {
			return fmt.Errorf("publish the card at %s: %w", relay.URL(), err)
		}
		o.say("published at %s", relay.URL())
	}
	return nil
}

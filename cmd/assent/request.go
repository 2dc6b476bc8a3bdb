package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

type requestOptions struct {
	*app
	patient string
	holders []string
	reason  string
	scopes  scopes
	span    span
	send    bool
}

func requestCommand(a *app) *cobra.Command {
	o := &requestOptions{app: a}
	c := &cobra.Command{
		Use:   "request",
		Short: "Ask a patient for a grant",
		Long: `Prints a request, signed by your key and with your card in it, for the patient to
answer. Ask for no more than you need: the patient sees each scope as a sentence
and may give less. With --send it also goes to the patient's mailbox; for the answer
to come to yours, open one with “assent card --publish”.`,
		Example: `  assent request --patient patient.card.json --scope 'patient/Observation.rs?category=laboratory' \
         --purpose TREAT --for 30d --reason 'pre-operative review' > labs.request.json
  assent request --patient patient.card.json --scope patient/Immunization.rs --for 8w --send`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRequest(cmd.Context(), o) },
	}
	flags := c.Flags()
	flags.StringVar(&o.patient, "patient", "", "whom to ask: an address, or the file of a card")
	flags.StringArrayVar(&o.holders, "holder", nil, "whose data: an address, or the file of a card (repeatable; default any data holder)")
	flags.BoolVar(&o.send, "send", false, "also send it to the patient's mailbox, sealed, by a relay of the network")
	flags.StringVar(&o.reason, "reason", "", "why, in words for the patient")
	o.scopes.add(flags, "TREAT")
	o.span.add(flags)
	return c
}

func runRequest(ctx context.Context, o *requestOptions) error {
	if o.patient == "" || len(o.scopes.texts) == 0 {
		return usagef("a request needs --patient and at least one --scope")
	}
	asked, err := o.scopes.resolve()
	if err != nil {
		return err
	}
	notBefore, expires, err := o.span.resolve(o.now())
	if err != nil {
		return err
	}
	patient, err := o.party(o.patient)
	if err != nil {
		return err
	}
	holders, err := o.parties(o.holders)
	if err != nil {
		return err
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		if err := meet(ctx, w, append(holders, patient)...); err != nil {
			return err
		}
		request, err := w.Request(ctx, consent.Request{
			Patient: patient.account, Scopes: asked, Holders: accounts(holders),
			NotBefore: notBefore, Expires: expires, Reason: o.reason,
		})
		if err != nil {
			return err
		}
		if err := o.document(request); err != nil || !o.send {
			return err
		}
		return o.deliver(ctx, w, patient.account, &consent.Letter{Requests: []consent.RequestDocument{*request}})
	})
}

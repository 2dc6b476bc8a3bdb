package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

type inboxOptions struct {
	*app
	document string
	cover    string
}

func inboxCommand(a *app) *cobra.Command {
	o := &inboxOptions{app: a}
	c := &cobra.Command{
		Use:   "inbox",
		Short: "Fetch your letters: requests to answer, grants that you were given",
		Long: `Opens your mailbox at each relay of the network, and takes in what is in it: requests
wait for your answer in the terminal app, grants and cards are kept, and the letters
are taken away from the relay. Nobody but you can open them. It also publishes your
card there, so that others can write to you.

--document prints a request that waits, for “assent grant --request”; “assent show ID
--document” prints a grant, and --cover the note that came with it and says where it
is used.`,
		Example: `  assent inbox
  assent inbox --document 0x07c4 > labs.request.json
  assent inbox --cover 0x1f2e > labs.cover.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInbox(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.document, "document", "", "print the request that waits and whose id begins like this")
	c.Flags().StringVar(&o.cover, "cover", "", "print the cover note that came with the grant whose id begins like this")
	return c
}

// receivedDocument is a document that came by letter, as commands show it.
type receivedDocument struct {
	Kind  string `json:"kind"` // grant/1, request/1, card/1; empty: a letter that came to nothing, or waits in the mailbox
	ID    string `json:"id"`   // of a grant or a request
	From  string `json:"from"` // the address that signed it; empty where it was not taken
	Name  string `json:"name"` // what that key calls itself
	Taken bool   `json:"taken"`
	Why   string `json:"why"` // it was not taken
}

func receivedAs(r *wallet.Received) receivedDocument {
	shown := receivedDocument{Kind: r.Kind, Name: r.Name, Taken: r.Err == nil}
	if r.ID != (common.Hash{}) {
		shown.ID = r.ID.Hex()
	}
	if r.From != (common.Address{}) {
		shown.From = r.From.Hex()
	}
	if r.Err != nil {
		shown.Why = strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	return shown
}

func runInbox(ctx context.Context, o *inboxOptions) error {
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		if o.document != "" {
			return o.print(ctx, w)
		}
		if o.cover != "" {
			grant, err := w.Find(ctx, o.cover)
			if err != nil {
				return err
			}
			note, err := w.CoverOf(ctx, grant.ID())
			if err != nil {
				return err
			}
			return o.app.document(note)
		}
		received, err := collect(ctx, w, w.Registry.(*chain).postOffices())
		list := make([]receivedDocument, len(received))
		for i := range received {
			list[i] = receivedAs(&received[i])
		}
		printed := o.result(list, func(out io.Writer) {
			if len(list) == 0 {
				fmt.Fprintln(out, "no letters")
				return
			}
			rows := [][]string{{"KIND", "ID", "FROM", "CALLS ITSELF", ""}}
			for _, r := range list {
				note := "taken"
				if !r.Taken {
					note = "not taken: " + r.Why
				}
				rows = append(rows, []string{r.Kind, r.ID, r.From, consent.Quote(r.Name), note})
			}
			table(out, rows)
		})
		return errors.Join(err, printed)
	})
}

// print prints a request that waits.
func (o *inboxOptions) print(ctx context.Context, w *wallet.Wallet) error {
	waiting, err := w.Waiting(ctx)
	if err != nil {
		return err
	}
	var found *consent.RequestDocument
	for i := range waiting {
		if !strings.HasPrefix(waiting[i].ID.Hex(), o.document) {
			continue
		}
		if found != nil {
			return fmt.Errorf("several requests begin with %s: give more of the id", consent.Quote(o.document))
		}
		found = waiting[i].Document
	}
	if found == nil {
		return fmt.Errorf("no request that waits begins with %s: look at “assent inbox” and the terminal app", consent.Quote(o.document))
	}
	return o.app.document(found)
}

// collect takes in the letters at all relays. What fails at one keeps nothing
// back of the others. A letter that waits there is among what came, not taken.
func collect(ctx context.Context, w *wallet.Wallet, relays []*postOffice) ([]wallet.Received, error) {
	if len(relays) == 0 {
		return nil, wallet.ErrNoRelay
	}
	var all []wallet.Received
	var failed []error
	for _, relay := range relays {
		received, err := w.Collect(ctx, relay)
		all = append(all, received...)
		if undecided, ok := errors.AsType[*wallet.UndecidedError](err); ok {
			all = append(all, wallet.Received{Err: undecided})
		} else if err != nil {
			failed = append(failed, fmt.Errorf("the mailbox at %s: %w", relay.URL(), err))
		}
	}
	return all, errors.Join(failed...)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

type showOptions struct {
	*app
	document bool
}

func showCommand(a *app) *cobra.Command {
	o := &showOptions{app: a}
	c := &cobra.Command{
		Use:   "show DOCUMENT",
		Short: "Say in plain words what a grant, request, access, card or note is",
		Long: `Reads a document and says what it means. Of a grant it also says whether it counts
now, as the chain has it. A grant that this wallet keeps can be named by its id or
the beginning of it, and printed again with --document.`,
		Example: `  assent show labs.request.json
  assent show 0x898500e9
  assent show 0x898500e9 --document > labs.grant.json`,
		Args: exactly(1, "one document: a file, - for standard input, or the id of a grant"),
		RunE: func(cmd *cobra.Command, args []string) error { return runShow(cmd.Context(), o, args[0]) },
	}
	c.Flags().BoolVar(&o.document, "document", false, "print a grant itself, as others read it, in place of words")
	return c
}

// shown is a document as show prints it.
type shown struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`    // of a grant, else empty
	State  string `json:"state"` // of a grant, else empty
	Clause string `json:"clause"`
	Words  string `json:"words"`
}

func runShow(ctx context.Context, o *showOptions, name string) error {
	a := o.app
	if o.document {
		return o.again(ctx, name)
	}
	if prefix, ok := parseID(name); ok {
		return a.withWallet(ctx, func(w *wallet.Wallet) error {
			grant, err := w.Find(ctx, prefix)
			if err != nil {
				return err
			}
			names, err := w.Names(ctx)
			if err != nil {
				return err
			}
			return a.showGrant(ctx, w.Registry, grant, names)
		})
	}
	file, err := a.open(name)
	if err != nil {
		return fmt.Errorf("open the document: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, consent.MaxDocument+1))
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	// Only to choose the strict reader, which reads everything again.
	var envelope struct{ Assent string }
	if json.Unmarshal(text, &envelope) != nil {
		envelope.Assent = consent.KindGrant
	}
	switch envelope.Assent {
	case consent.KindRequest:
		return show(a, name, text, consent.ReadRequest, func(d *consent.RequestDocument) error {
			return a.print(shown{Kind: consent.KindRequest, Words: consent.DescribeRequest(d)})
		})
	case consent.KindAccess:
		return show(a, name, text, consent.ReadAccess, func(d *consent.AccessDocument) error {
			return a.print(shown{Kind: consent.KindAccess, Words: describeAccess(d)})
		})
	case consent.KindCover:
		return show(a, name, text, consent.ReadCover, func(d *consent.Cover) error {
			return a.print(shown{Kind: consent.KindCover, Words: describeCover(d)})
		})
	case consent.KindCard:
		return show(a, name, text, consent.ReadCard, func(d *consent.CardDocument) error {
			return a.print(shown{Kind: consent.KindCard, Words: fmt.Sprintf("The key %s calls itself %s since %s. Compare the address with the person's own.",
				d.Card.Account, consent.Quote(d.Card.Name), time.Unix(int64(d.Card.Time), 0).UTC().Format(time.DateTime))})
		})
	}
	return show(a, name, text, consent.ReadGrant, func(d *consent.GrantDocument) error {
		return a.withChain(ctx, nil, func(c *chain) error { return a.showGrant(ctx, c, d, nil) })
	})
}

// again prints a grant that the wallet keeps.
func (o *showOptions) again(ctx context.Context, name string) error {
	prefix, ok := parseID(name)
	if o.json || !ok {
		return usagef("--document prints a grant that this wallet keeps, by its id, and always as JSON: leave --json out, or see “assent grants”")
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		grant, err := w.Find(ctx, prefix)
		if err != nil {
			return err
		}
		return o.app.document(grant)
	})
}

func show[T any](a *app, name string, text []byte, read func(io.Reader) (*T, error), print func(*T) error) error {
	document, err := read(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return print(document)
}

func (a *app) showGrant(ctx context.Context, registry wallet.Registry, d *consent.GrantDocument, names consent.Names) error {
	w := wallet.Wallet{Registry: registry, Now: a.now}
	verdict, _, err := w.Judge(ctx, d)
	if err != nil {
		return err
	}
	standing := wallet.Standing{Document: d, Verdict: verdict}
	return a.print(shown{
		Kind: consent.KindGrant, ID: d.ID().Hex(), State: stateName(standing.Phase()), Clause: verdict.Clause,
		Words: consent.Describe(&d.Grant, d.Provisions, names),
	})
}

func describeCover(d *consent.Cover) string {
	words := "A note, signed by nobody, says that these data holders are reached:"
	for _, g := range d.Holders {
		words += fmt.Sprintf("\n  - %s", g.Account)
		if g.Name != "" {
			words += ", which it calls " + consent.Quote(g.Name) + ","
		}
		words += " at " + g.URL
	}
	return words
}

func describeAccess(d *consent.AccessDocument) string {
	words := fmt.Sprintf("An access of %s at the data holder %s:", time.Unix(int64(d.Access.Time), 0).UTC().Format(time.DateTime), d.Access.Holder)
	for _, scope := range d.Access.Scopes {
		words += fmt.Sprintf("\n  - %s for %s", consent.Quote(scope.String()), consent.Quote(scope.Purpose))
	}
	return words
}

func (a *app) print(s shown) error {
	return a.result(s, func(out io.Writer) {
		fmt.Fprintln(out, s.Words)
		if s.State == "" {
			return
		}
		fmt.Fprintf(out, "State: %s", s.State)
		if s.Clause != "" {
			fmt.Fprintf(out, " (%s)", s.Clause)
		}
		fmt.Fprintln(out)
	})
}

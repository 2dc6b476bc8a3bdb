package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

const (
	problemsSaid   = 20 // to a person; --json lists all
	templateFormat = "csv"
)

type batchOptions struct {
	consentOptions
	template string
	schema   bool
	dryRun   bool
	out      string
	outDir   string
}

func batchCommand(a *app) *cobra.Command {
	o := &batchOptions{consentOptions: consentOptions{app: a}}
	c := &cobra.Command{
		Use:   "batch FILE",
		Short: "Give many grants from a file, at once",
		Long: `Reads rows from CSV (RFC 4180, with a header) or NDJSON, checks all of them, asks once
and gives a grant for each, with one entry on the chain for all together. Every grant
stands by itself afterwards, and can be taken back by itself, or with all of its batch.
FILE is - for standard input. The grants are printed one per line, in the order of the
rows, or written to a file or a folder.

Nothing is signed while any row has a problem. What was cut off goes on with the same
command, and gives the same bytes; what a reference was given for is never given again,
and a row whose grant was taken back or has ended needs another reference.`,
		Example: `  assent batch --template > study.csv
  assent batch study.csv --dry-run
  assent batch study.csv --yes --accept-risk any-holder --out study.grants.ndjson
  assent batch revoke study.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.template == "" && !o.schema:
				return exactly(1, "one file, or - for standard input")(cmd, args)
			case o.template == templateFormat && len(args) == 1: // as in --template ndjson
				return nil
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.schema:
				return o.document(rowSchema)
			case o.template != "" && len(args) == 1:
				return o.printTemplate(args[0])
			case o.template != "":
				return o.printTemplate(o.template)
			case o.out != "" && o.outDir != "":
				return usagef("--out and --out-dir are two places for the same grants: give one of them")
			case o.json && !o.dryRun && o.out == "" && o.outDir == "":
				return usagef("--json prints what became of the batch: say with --out or --out-dir where the grants go")
			}
			return runBatch(cmd.Context(), o, args[0])
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.template, "template", "", "print an example to begin with: csv or ndjson")
	flags.Lookup("template").NoOptDefVal = templateFormat // so that a value after a space comes as an argument
	flags.BoolVar(&o.schema, "schema", false, "print the JSON Schema of a row of NDJSON")
	flags.BoolVar(&o.dryRun, "dry-run", false, "check all rows, say what they would give, and sign nothing")
	flags.StringVar(&o.out, "out", "", "write the grants to this file, one per line")
	flags.StringVar(&o.outDir, "out-dir", "", "write each grant to a file of its own in this folder, named by its reference")
	flags.BoolVar(&o.yes, "yes", false, "sign without asking; every risk must be accepted by name")
	flags.StringArrayVar(&o.accepted, "accept-risk", nil, "accept this risk without asking (repeatable)")
	c.AddCommand(batchRevokeCommand(a))
	return c
}

// batchResult is what became of a batch, in JSON.
type batchResult struct {
	Batch    string           `json:"batch"` // its id
	Rows     int              `json:"rows"`
	Given    int              `json:"given"`    // grants that it gave
	Before   int              `json:"before"`   // rows that an earlier batch had given
	Grantees int              `json:"grantees"` // keys that the grants are to
	Expires  uint64           `json:"expires"`  // when the last of them ends, unix seconds
	Risks    []string         `json:"risks"`
	Problems []wallet.Problem `json:"problems"` // where there are any, nothing was done
	Out      string           `json:"out"`      // where the grants are; empty: they were not written
}

func runBatch(ctx context.Context, o *batchOptions, name string) error {
	file, err := o.openBatch(name)
	if err != nil {
		return err
	}
	defer file.close()
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		// Whoever opened an encrypted file left 256 MB behind (scrypt).
		debug.FreeOSMemory()
		batch, err := w.OpenBatch(ctx, file.id, file.rows)
		if err != nil {
			return err
		}
		defer batch.Close()
		progress := o.batchProgress()
		result := batchResult{Batch: file.id.Hex(), Risks: []string{}, Problems: []wallet.Problem{}}
		found := 0
		check, err := batch.Check(ctx, func(p wallet.Problem) {
			if found++; o.json {
				result.Problems = append(result.Problems, p)
			} else if found <= problemsSaid {
				progress.clear()
				o.say("%s", problemLine(name, p))
			}
		}, progress.show)
		progress.end()
		if err != nil {
			return o.stopped(ctx, batch, err)
		}
		result.Rows, result.Before, result.Grantees, result.Expires = check.Rows, check.Given, len(check.Summary.Grantees), check.Summary.Expires
		if check.Problems > 0 {
			return o.refuse(name, check, result)
		}
		risks := check.Summary.Risks()
		for _, risk := range risks {
			result.Risks = append(result.Risks, risk.Name)
		}
		if err := o.agree(ctx, batch, check, risks); err != nil {
			return err
		}
		if o.dryRun {
			return o.result(result, func(out io.Writer) {
				fmt.Fprintf(out, "%s: nothing is wrong with %s; nothing was signed\n", name, number(check.Rows, "row"))
			})
		}
		return o.give(ctx, batch, check, result)
	})
}

// refuse tells that there are problems.
func (o *batchOptions) refuse(name string, check *wallet.BatchCheck, result batchResult) error {
	if o.json {
		if err := o.document(result); err != nil {
			return err
		}
	} else if check.Problems > problemsSaid {
		o.say("and %d more: --json lists them all", check.Problems-problemsSaid)
	}
	return fmt.Errorf("%s: %s in %s: nothing was signed", name, number(check.Problems, "problem"), number(check.Rows, "row"))
}

func problemLine(name string, p wallet.Problem) string {
	field := p.Field
	if field != "" {
		field += ": "
	}
	return fmt.Sprintf("%s:%d:%d: %s%s", name, p.Line, p.Column, field, p.Text)
}

// agree shows what the batch would give, and asks, unless it was agreed to
// before or there is nothing to give.
func (o *batchOptions) agree(ctx context.Context, batch *wallet.Batch, check *wallet.BatchCheck, risks []consent.Risk) error {
	if check.Given > 0 {
		o.say("%s of it, word by word, an earlier batch gave: these are not given again.", number(check.Given, "row"))
	}
	switch {
	case batch.Finished:
		o.say("This batch was given before: here it is again.")
		return nil
	case batch.Begun:
		o.say("Going on with the batch that was agreed to at %s.", moment(batch.Time))
		return nil
	case check.Summary.Grants == 0:
		o.say("There is nothing to give.")
		return nil
	}
	o.say("You would sign:\n\n%s\n", check.Summary.Describe(batch.Names))
	if o.dryRun {
		for _, risk := range risks {
			o.say("Risk %s: %s", risk.Name, risk.Words)
		}
		return nil
	}
	if err := o.acceptRisks(ctx, risks); err != nil {
		return err
	}
	return o.yesNoQuestion(ctx, o.yes, fmt.Sprintf("Sign %s?", number(check.Summary.Grants, "grant")))
}

// give gives the batch and writes its grants.
func (o *batchOptions) give(ctx context.Context, batch *wallet.Batch, check *wallet.BatchCheck, result batchResult) error {
	out, err := o.openGrants()
	if err != nil {
		return err
	}
	defer out.abort()
	progress := o.batchProgress()
	progress.rows = check.Rows
	err = batch.Give(ctx, out.write, progress.show)
	progress.end()
	if err == nil {
		err = out.finish()
	}
	if err != nil {
		return o.stopped(ctx, batch, err)
	}
	result.Given, result.Out = check.Summary.Grants, o.out+o.outDir
	if o.out+o.outDir == "" {
		return nil // the grants are what was asked for
	}
	return o.result(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s, in %s\n", result.Batch, number(result.Rows, "grant"), result.Out)
	})
}

// stopped says how to go on where a batch was cut off.
func (o *batchOptions) stopped(ctx context.Context, batch *wallet.Batch, err error) error {
	switch {
	case batch.Finished:
		o.say("All of the batch is given and kept: the same command prints it again.")
	case batch.Begun:
		o.say("The batch was agreed to and is not finished: the same command goes on with it, and “assent batch revoke” takes it back.")
	case ctx.Err() != nil:
		o.say("Nothing was signed.")
	}
	return err
}

type batchRevokeOptions struct {
	*app
	references []string
	yes        bool
}

func batchRevokeCommand(a *app) *cobra.Command {
	o := &batchRevokeOptions{app: a}
	c := &cobra.Command{
		Use:   "revoke FILE",
		Short: "Take back all grants of a batch, or those of single rows",
		Long: `Ends what one batch gave, in the next block. FILE is what the batch was given from, to
the byte, or the id of the batch. It needs nothing else: with FILE, a wallet restored
from its recovery phrase ends a batch that this computer never saw.

--reference ends only the grants of the rows that it names.`,
		Example: `  assent batch revoke study.csv
  assent batch revoke study.csv --reference study-0001 --reference study-0002`,
		Args: exactly(1, "one batch: its file, - for standard input, or its id"),
		RunE: func(cmd *cobra.Command, args []string) error { return runBatchRevoke(cmd.Context(), o, args[0]) },
	}
	c.Flags().StringArrayVar(&o.references, "reference", nil, "end only the grant of this row (repeatable)")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

func runBatchRevoke(ctx context.Context, o *batchRevokeOptions, name string) error {
	if len(o.references) > registry.MaxSecrets {
		return usagef("%d references: at most %d can be ended at once", len(o.references), registry.MaxSecrets)
	}
	id, known := parseID(name)
	if known && len(id) != 66 {
		return usagef("%s is no whole id of a batch", id)
	}
	if !known {
		in, err := o.open(name)
		if err != nil {
			return fmt.Errorf("open the batch: %w", err)
		}
		defer in.Close()
		read, err := wallet.BatchID(in)
		if err != nil {
			return err
		}
		id = read.Hex()
	}
	with := o.withAnyStore // the batch's own switch needs no store
	if len(o.references) > 0 {
		with = o.withStore
	}
	return o.withWalletOn(ctx, with, func(w *wallet.Wallet) error {
		revocation, what, err := o.prepare(ctx, w, id)
		if err != nil {
			return err
		}
		o.say("This ends %s, on the network %s: %s that this wallet knows of. It takes effect in the next block and cannot be undone.",
			what, w.Registry.(*chain).name, number(revocation.Grants, "grant"))
		if revocation.Grants == 0 {
			o.say("This wallet never gave it on this network, as far as it knows: look at the file, the wallet and the network.")
		}
		if err := o.yesNoQuestion(ctx, o.yes, "End it?"); err != nil {
			return err
		}
		if err := w.EndBatch(ctx, revocation); err != nil {
			return err
		}
		result := struct {
			Batch  string `json:"batch"`
			Grants int    `json:"grants"`
		}{id, revocation.Grants}
		return o.result(result, func(out io.Writer) {
			fmt.Fprintf(out, "ended %s: %s\n", what, number(revocation.Grants, "grant"))
		})
	})
}

func (o *batchRevokeOptions) prepare(ctx context.Context, w *wallet.Wallet, id string) (*wallet.BatchRevocation, string, error) {
	batch := common.HexToHash(id)
	if len(o.references) == 0 {
		r, err := w.RevokeBatch(ctx, batch)
		return r, "the batch " + id, err
	}
	r, err := w.RevokeRows(ctx, batch, o.references)
	return r, fmt.Sprintf("%s of the batch %s", number(len(o.references), "row"), id), err
}

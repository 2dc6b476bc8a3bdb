package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
	"github.com/assent-wallet/assent/wallet"
)

// defaultMaxAge is how old a data holder's view of the chain may be, in seconds.
const defaultMaxAge = 120

type verifyOptions struct {
	*app
	holder string
	maxAge uint64
}

func verifyCommand(a *app) *cobra.Command {
	o := &verifyOptions{app: a}
	c := &cobra.Command{
		Use:   "verify ACCESS",
		Short: "Decide an access, without releasing anything",
		Long: `Decides an access against the grants on the chain, as the data holder that this
wallet is, or the one that --holder names. It uses nothing up: the same access may
still be used once. It does not know whose record is asked for, nor what key the
session proves. Exit code 0 is a permit, 3 a denial with its reason.

On a network that is reached through somebody else's node, that node learns which
grants are looked up.`,
		Example: `  assent verify labs.access.json
  assent verify - --json < labs.access.json`,
		Args: exactly(1, "one access, a file or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error { return runVerify(cmd.Context(), o, args[0]) },
	}
	o.add(c)
	return c
}

func (o *verifyOptions) add(c *cobra.Command) {
	c.Flags().StringVar(&o.holder, "holder", "", "the data holder that decides: an address, or the file of a card (default this wallet)")
	c.Flags().Uint64Var(&o.maxAge, "max-age", defaultMaxAge, "how old the view of the chain may be, in seconds")
}

// decided is an answer as commands show it.
type decided struct {
	Outcome   string `json:"outcome"`
	Link      int    `json:"link"`
	Clause    string `json:"clause"`
	Block     uint64 `json:"block"`     // 0: the chain was not asked
	BlockTime uint64 `json:"blockTime"` // unix seconds
	Age       uint64 `json:"age"`       // seconds
	Grantor   string `json:"grantor"`
	Grantee   string `json:"grantee"`
	Binding   string `json:"binding"` // thumbprint of the key that the session has to prove; empty: none
}

func runVerify(ctx context.Context, o *verifyOptions, path string) error {
	access, err := readDocument(o.app, path, consent.ReadAccess)
	if err != nil {
		return err
	}
	return o.withChain(ctx, nil, func(c *chain) error {
		return o.withStore(ctx, func(store *wallet.Store) error {
			holder, err := o.asHolder(c, store)
			if err != nil {
				return err
			}
			// Anybody's record, and nothing used up: only the decision is asked for.
			holder.Patient = func(context.Context, common.Address) (string, error) { return "", nil }
			holder.Remember = func(context.Context, common.Address, common.Hash, uint64) (bool, error) { return true, nil }
			answer, err := holder.Answer(ctx, access, access.Access.Binding, uint64(o.now().Unix()))
			if err != nil {
				return err
			}
			return o.show(access, &answer)
		})
	})
}

// asHolder gives the data holder that decides, with all that verify and release
// have in common.
func (o *verifyOptions) asHolder(c *chain, store *wallet.Store) (*consent.Holder, error) {
	h := &consent.Holder{Domain: c.domain, MaxAge: o.maxAge, Evaluable: fhir.Evaluable}
	h.View = func(ctx context.Context, need consent.Entries) (consent.State, error) {
		return c.remembered(ctx, store, need)
	}
	if o.holder != "" {
		named, err := o.party(o.holder)
		h.Account = named.account
		return h, err
	}
	_, profile, err := o.profile()
	h.Account = profile.Address
	return h, err
}

// show prints the answer; a denial is an error as well.
func (o *verifyOptions) show(access *consent.AccessDocument, answer *consent.Answer) error {
	d := decided{
		Outcome: answer.Outcome.String(), Link: answer.Link, Clause: answer.Clause,
		Block: answer.State.Block, BlockTime: answer.State.Time, Age: answer.State.Age,
	}
	if links := access.Links; len(links) > 0 {
		d.Grantor, d.Grantee = links[0].Grant.Grantor.Hex(), links[len(links)-1].Grant.Grantee.Hex()
	}
	if binding := access.Access.Binding; binding != (common.Hash{}) {
		d.Binding = binding.Hex()
	}
	if err := o.result(d, func(out io.Writer) {
		if answer.Outcome == consent.Permit {
			fmt.Fprintf(out, "permitted: %s may use the grant of %s; decided on block %d\n", d.Grantee, d.Grantor, d.Block)
			for _, scope := range access.Access.Scopes {
				fmt.Fprintf(out, "  %s for %s\n", consent.Quote(scope.String()), consent.Quote(scope.Purpose))
			}
			if d.Binding != "" {
				fmt.Fprintf(out, "  only in a session that proves the key %s\n", d.Binding)
			}
		}
	}); err != nil {
		return err
	}
	if answer.Outcome != consent.Permit {
		return deniedError{answer.Verdict, answer.State}
	}
	return nil
}

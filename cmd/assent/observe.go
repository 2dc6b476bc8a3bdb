package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"
)

type observeOptions struct {
	*app
	from uint64
}

func observeCommand(a *app) *cobra.Command {
	o := &observeOptions{app: a}
	c := &cobra.Command{
		Use:   "observe",
		Short: "Show all that an outsider can see of everybody's grants",
		Long: `Lists everything that the registry holds, as anybody can read it: opaque roots of
grants, secrets that ended some, and accounts that were retired. Not who gave what
to whom, nor how many grants a root stands for. The time of an entry and whoever
paid for it do show.`,
		Example: `  assent observe
  assent observe --json | jq length`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runObserve(cmd.Context(), o) },
	}
	c.Flags().Uint64Var(&o.from, "from-block", 0, "begin at this block")
	return c
}

// observed is one entry as an outsider sees it.
type observed struct {
	Block       uint64 `json:"block"`
	Time        uint64 `json:"time"`  // unix seconds
	Event       string `json:"event"` // Anchored, Revoked, Retired
	Value       string `json:"value"` // a root, a secret, an account
	Sender      string `json:"sender"`
	Transaction string `json:"transaction"`
}

func runObserve(ctx context.Context, o *observeOptions) error {
	return o.withChain(ctx, nil, func(c *chain) error {
		entries, err := c.observe(ctx, o.from)
		if err != nil {
			return err
		}
		return o.result(entries, func(out io.Writer) { printObserved(out, entries) })
	})
}

func (c *chain) observe(ctx context.Context, from uint64) ([]observed, error) {
	entries := []observed{}
	for event, err := range c.Events(ctx, from) {
		if err != nil {
			return nil, err
		}
		value := event.Key.Hex()
		if event.Name == "Retired" {
			value = common.BytesToAddress(event.Key[:]).Hex()
		}
		entries = append(entries, observed{event.Block, event.Time, event.Name, value, event.Sender.Hex(), event.Transaction.Hex()})
	}
	return entries, nil
}

func printObserved(out io.Writer, entries []observed) {
	rows := [][]string{{"BLOCK", "TIME", "EVENT", "VALUE", "PAID BY"}}
	for _, e := range entries {
		rows = append(rows, []string{fmt.Sprint(e.Block), time.Unix(int64(e.Time), 0).UTC().Format(time.DateTime), e.Event, e.Value, e.Sender})
	}
	table(out, rows)
}

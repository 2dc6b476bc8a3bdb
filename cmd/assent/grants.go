package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

func grantsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "grants",
		Short: "List the grants that you gave and were given, and which of them count",
		Example: `  assent grants
  assent grants --json | jq -r '.[] | select(.state == "active") | .id'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGrants(cmd.Context(), a) },
	}
}

// listed is a grant as commands show it.
type listed struct {
	ID        string `json:"id"`
	Direction string `json:"direction"` // given, received
	State     string `json:"state"`     // a wallet.Phase, see stateName
	With      string `json:"with"`      // the other account
	Name      string `json:"name"`      // what it calls itself; empty: unknown
	NotBefore uint64 `json:"notBefore"` // unix seconds
	Expires   uint64 `json:"expires"`   // unix seconds
	Handoffs  uint8  `json:"handoffs"`
	Scopes    int    `json:"scopes"` // provisions that the document opens
}

// stateName is a phase as scripts compare it: words with hyphens.
func stateName(p wallet.Phase) string { return strings.ReplaceAll(string(p), " ", "-") }

func runGrants(ctx context.Context, a *app) error {
	return a.withWallet(ctx, func(w *wallet.Wallet) error {
		// What cannot be posted now can be listed all the same.
		if err := a.resume(ctx, w); ctx.Err() != nil {
			return err
		} else if err != nil {
			a.say("%v", err)
		}
		grants, damaged := w.Grants(ctx)
		if damaged != nil && !errors.Is(damaged, wallet.ErrDamaged) {
			return damaged
		}
		names, err := w.Names(ctx)
		if err != nil {
			return err
		}
		list := []listed{}
		for i := range grants {
			list = append(list, listGrant(&grants[i], names))
		}
		return errors.Join(damaged, a.result(list, func(out io.Writer) {
			rows := [][]string{{"ID", "STATE", "", "WHO", "UNTIL", "SCOPES"}}
			for _, g := range list {
				who := nameAndAddress(g.Name, g.With)
				if g.With == w.Signer.Address().Hex() {
					who = "yourself"
				}
				rows = append(rows, []string{g.ID[:10], g.State, preposition[g.Direction], who, day(g.Expires), fmt.Sprint(g.Scopes)})
			}
			table(out, rows)
		}))
	})
}

func listGrant(g *wallet.Standing, names consent.Names) listed {
	with, direction := g.Document.Grant.Grantee, "given"
	if !g.Given {
		with, direction = g.Document.Grant.Grantor, "received"
	}
	return listed{
		ID: g.Document.ID().Hex(), Direction: direction, State: stateName(g.Phase()),
		With: with.Hex(), Name: names[with],
		NotBefore: g.Document.Grant.NotBefore, Expires: g.Document.Grant.Expires,
		Handoffs: g.Document.Grant.Handoffs, Scopes: len(g.Document.Provisions),
	}
}

var preposition = map[string]string{"given": "to", "received": "from"}

func nameAndAddress(name, address string) string {
	if name == "" {
		return address
	}
	return consent.Quote(name) + " " + address
}

func day(t uint64) string { return time.Unix(int64(t), 0).UTC().Format(time.DateOnly) }

// parseID reads the id of a grant, whole or its first 8 digits or more.
func parseID(s string) (prefix string, ok bool) {
	if len(s) < 10 || len(s) > 2+2*common.HashLength || s[:2] != "0x" {
		return "", false
	}
	for _, c := range s[2:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return s, true
}

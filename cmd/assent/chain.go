package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

func chainCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "chain",
		Short: "Serve the embedded chain, deploy the registry, see how a network is",
		Example: `  assent chain status
  assent chain serve --listen 127.0.0.1:8545`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(chainServeCommand(a), chainStatusCommand(a), chainDeployCommand(a))
	return c
}

type chainServeOptions struct {
	*app
	listen string
	remote bool
}

func chainServeCommand(a *app) *cobra.Command {
	o := &chainServeOptions{app: a}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Keep the embedded chain open, for other programs and computers",
		Long: `Keeps the embedded chain of this computer open until it is interrupted. Other
commands on this computer use it by themselves; with --listen, others can name it
as a network by its URL.`,
		Example: `  assent chain serve
  assent chain serve --listen 127.0.0.1:8545`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runChainServe(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.listen, "listen", "", "also serve JSON-RPC over HTTP on this host:port")
	c.Flags().BoolVar(&o.remote, "allow-remote", false, "let --listen be reached from other computers; whoever reaches it may read and post")
	return c
}

func runChainServe(ctx context.Context, o *chainServeOptions) error {
	embedded, err := devchain.Serve(ctx, o.chainFolder(), devchain.Options{HTTP: o.listen, AllowRemote: o.remote})
	if err != nil {
		return err
	}
	c := embeddedChain(o.app, embedded)
	defer c.close()
	if _, err := c.Deploy(ctx); err != nil {
		return err
	}
	type serving struct {
		ChainID  uint64 `json:"chainId"`
		Registry string `json:"registry"`
		URL      string `json:"url"` // empty: none
	}
	s := serving{c.domain.ChainID, c.domain.Registry.Hex(), embedded.URL()}
	if err := o.result(s, func(out io.Writer) {
		fmt.Fprintf(out, "serving chain %d with the registry %s", s.ChainID, s.Registry)
		if s.URL != "" {
			fmt.Fprintf(out, " at %s", s.URL)
		}
		fmt.Fprintln(out)
	}); err != nil {
		return err
	}
	o.say("interrupt it to end it")
	select {
	case <-ctx.Done():
		return nil
	case <-embedded.Done():
		return embedded.Err()
	}
}

func chainStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Say whether the network can be used, and how far it is",
		Example: `  assent chain status --network clinic`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runChainStatus(cmd.Context(), a) },
	}
}

// status is a network's state as commands show it.
type status struct {
	Network  string `json:"network"`
	ChainID  uint64 `json:"chainId"`
	Registry string `json:"registry"`
	Block    uint64 `json:"block"`
	Time     uint64 `json:"time"` // of the block, unix seconds
}

func runChainStatus(ctx context.Context, a *app) error {
	return a.withChain(ctx, nil, func(c *chain) error {
		if err := c.CheckCode(ctx); err != nil {
			return err
		}
		head, err := c.Head(ctx)
		if err != nil {
			return err
		}
		s := status{c.name, c.domain.ChainID, c.domain.Registry.Hex(), head.Number, head.Time}
		return a.result(s, func(out io.Writer) {
			fmt.Fprintf(out, "network %s: chain %d, block %d of %s\n", s.Network, s.ChainID, s.Block, time.Unix(int64(s.Time), 0).UTC().Format(time.DateTime))
			fmt.Fprintf(out, "registry %s: its code is this program's\n", s.Registry)
		})
	})
}

type chainDeployOptions struct {
	*app
	plain bool
}

func chainDeployCommand(a *app) *cobra.Command {
	o := &chainDeployOptions{app: a}
	c := &cobra.Command{
		Use:   "deploy",
		Short: "Put the registry on the network, where it is missing",
		Long: `Deploys the registry through the deterministic deployment proxy, so that its
address is the same on every network. The wallet in use pays. Where the network
lacks the proxy, --plain deploys without it; the address then belongs into the
settings of everybody who uses that network (network add --registry).`,
		Example: `  assent chain deploy --network clinic`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runChainDeploy(cmd.Context(), o) },
	}
	c.Flags().BoolVar(&o.plain, "plain", false, "deploy without the proxy, each time to a new address")
	return c
}

func runChainDeploy(ctx context.Context, o *chainDeployOptions) error {
	name, profile, err := o.profile()
	var payer registry.Payer
	switch {
	case err == nil:
		key, err := wallet.Unlock(ctx, o.keeper(profile.Secret), name, profile.Address)
		if err != nil {
			return err
		}
		defer key.Close()
		payer = key
	case !errors.Is(err, wallet.ErrNoWallet): // the embedded chain pays for itself
		return err
	}
	return o.withChain(ctx, payer, func(c *chain) error {
		deploy := c.Deploy
		if o.plain {
			deploy = c.DeployPlain
		}
		posted, err := deploy(ctx)
		if err != nil {
			return err
		}
		at := posted.Contract
		if at == (common.Address{}) {
			at = c.domain.Registry
		}
		type deployed struct {
			Registry    string `json:"registry"`
			Already     bool   `json:"already"`
			Transaction string `json:"transaction"`
		}
		return o.result(deployed{at.Hex(), posted.Already, posted.Transaction.Hex()}, func(out io.Writer) {
			fmt.Fprintf(out, "the registry stands at %s\n", at)
		})
	})
}

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

func networkCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "network",
		Short: "List networks, add one, choose one",
		Long: `A network is a chain, the ways to it, and the registry on it. The one named local
is the embedded chain of this computer and needs no settings.`,
		Example: `  assent network add clinic --rpc https://chain.example/rpc
  assent network use clinic`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(networkListCommand(a), networkAddCommand(a), networkUseCommand(a))
	return c
}

// network is a network as commands show it.
type network struct {
	Name          string   `json:"name"`
	Endpoints     []string `json:"endpoints"`
	ChainID       uint64   `json:"chainId"` // 0: the embedded chain, before it is opened
	Registry      string   `json:"registry"`
	Confirmations uint64   `json:"confirmations"`
	Relays        []string `json:"relays"` // in the order in which they are tried
	Current       bool     `json:"current"`
}

func networkListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the networks",
		Example: `  assent network list`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			settings, err := a.home.Settings()
			if err != nil {
				return err
			}
			list := []network{{Name: wallet.Local, Endpoints: []string{}, Relays: []string{}, Registry: registry.Address.Hex(), Confirmations: 1, Current: settings.Network == wallet.Local}}
			for _, name := range slices.Sorted(maps.Keys(settings.Networks)) {
				list = append(list, networkAs(name, settings.Networks[name], settings.Network == name))
			}
			return a.result(list, func(out io.Writer) {
				rows := [][]string{{"", "NAME", "CHAIN", "REGISTRY", "CONFIRMATIONS", "ENDPOINTS", "RELAYS"}}
				for _, n := range list {
					chain, endpoints := fmt.Sprint(n.ChainID), strings.Join(n.Endpoints, " ")
					if n.Name == wallet.Local {
						chain, endpoints = "its own", "embedded"
					}
					rows = append(rows, []string{mark(n.Current), n.Name, chain, n.Registry, fmt.Sprint(n.Confirmations), endpoints, strings.Join(n.Relays, " ")})
				}
				table(out, rows)
			})
		},
	}
}

// networkAs shows a network; of its endpoints no more than the host, since the
// rest may hold a key.
func networkAs(name string, n wallet.Network, current bool) network {
	shown := network{Name: name, ChainID: n.ChainID, Registry: registry.Address.Hex(), Confirmations: n.Confirmations, Current: current, Relays: append([]string{}, n.Relays...)}
	if n.Registry != registry.Address && n.Registry.Big().Sign() != 0 {
		shown.Registry = n.Registry.Hex()
	}
	for _, endpoint := range n.Endpoints {
		shown.Endpoints = append(shown.Endpoints, registry.URL(endpoint).Name)
	}
	return shown
}

type networkAddOptions struct {
	*app
	rpc           []string
	chainID       uint64
	registry      string
	confirmations uint64
	relays        []string
	relayTokens   []string
}

func networkAddCommand(a *app) *cobra.Command {
	o := &networkAddOptions{app: a}
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a network by its RPC endpoints",
		Long: `Adds a network, or changes one. The chain id is asked of the first endpoint unless
--chain-id gives it. The registry's address is the same on every network that has
the deployment proxy; only for one that lacks it, --registry names the address.

A relay pays for what wallets anchor and revoke, so that nobody needs coins, and
delivers sealed letters; with several, the next is tried where one does not answer
in time. It sees neither grants nor records. A relay that wants a token gives each
wallet one: --token-file takes its file, and it is shown to that relay alone.

On a public chain, let --confirmations be as many blocks as its reorganisations
are deep. A revocation counts at once in any case.`,
		Example: `  assent network add clinic --rpc https://chain.example/rpc --rpc https://spare.example/rpc --confirmations 12
  assent network add clinic --rpc https://chain.example/rpc --relay https://relay.example
  assent network add clinic --rpc https://chain.example/rpc \
         --relay https://relay.example --token-file https://relay.example=relay.token \
         --relay https://spare.example --token-file https://spare.example=spare.token`,
		Args: exactly(1, "the name of a network"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNetworkAdd(cmd.Context(), o, args[0])
		},
	}
	flags := c.Flags()
	flags.StringArrayVar(&o.rpc, "rpc", nil, "an endpoint: a URL (http, https, ws, wss) or a socket's path (repeatable, tried in order)")
	flags.Uint64Var(&o.chainID, "chain-id", 0, "the chain's id (default as the first endpoint says)")
	flags.StringVar(&o.registry, "registry", "", "the registry's address, only where the network lacks the deployment proxy")
	flags.Uint64Var(&o.confirmations, "confirmations", 1, "how many blocks must hold an entry before it counts")
	flags.StringArrayVar(&o.relays, "relay", nil, "the URL of a relay (repeatable, tried in order)")
	flags.StringArrayVar(&o.relayTokens, "token-file", nil, "`file` of the token that admits to the relay; with several relays URL=FILE (repeatable)")
	return c
}

func runNetworkAdd(ctx context.Context, o *networkAddOptions, name string) error {
	if len(o.rpc) == 0 {
		return usagef("a network needs at least one --rpc")
	}
	added := wallet.Network{Endpoints: o.rpc, ChainID: o.chainID, Confirmations: max(o.confirmations, 1), Relays: o.relays}
	var err error
	if o.registry != "" {
		if added.Registry, err = consent.ParseAddress(o.registry); err != nil {
			return usageError{err}
		}
	}
	if added.RelayTokens, err = o.readTokens(); err != nil {
		return err
	}
	if added.ChainID == 0 {
		if added.ChainID, err = registry.ChainID(ctx, registry.URL(o.rpc[0])); err != nil {
			return err
		}
	}
	if err := o.home.Edit(ctx, func(s *wallet.Settings) error {
		s.AddNetwork(name, added)
		return nil
	}); err != nil {
		return err
	}
	return o.result(networkAs(name, added, false), func(out io.Writer) {
		fmt.Fprintf(out, "network %s: chain %d\n", name, added.ChainID)
	})
}

// readTokens reads the tokens that admit to the relays, each for the one relay
// that it is named with: whoever has it can use that relay.
func (o *networkAddOptions) readTokens() (map[string]string, error) {
	tokens := make(map[string]string)
	for _, given := range o.relayTokens {
		of, file := "", given
		for _, url := range o.relays {
			if rest, named := strings.CutPrefix(given, url+"="); named {
				of, file = url, rest
			}
		}
		switch {
		case of == "" && len(o.relays) == 1:
			of = o.relays[0]
		case of == "":
			return nil, usagef("--token-file %s: say of which --relay it is: URL=FILE", consent.Quote(given))
		}
		if tokens[of] != "" {
			return nil, usagef("--token-file: the relay %s has two", of)
		}
		token, err := readToken(file)
		if err != nil {
			return nil, err
		}
		tokens[of] = token
	}
	return tokens, nil
}

func networkUseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "use NAME",
		Short:   "Choose the network that commands use",
		Example: `  assent network use local`,
		Args:    exactly(1, "the name of a network"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var used struct {
				Network string `json:"network"`
			}
			if err := a.home.Edit(cmd.Context(), func(s *wallet.Settings) (err error) {
				s.Network, _, err = s.FindNetwork(args[0])
				used.Network = s.Network
				return err
			}); err != nil {
				return err
			}
			return a.result(used, func(out io.Writer) { fmt.Fprintf(out, "network %s\n", used.Network) })
		},
	}
}

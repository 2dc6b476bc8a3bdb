package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

func relayCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "relay",
		Short: "Pay for what wallets anchor and revoke, and deliver sealed letters",
		Example: `  assent relay serve --listen 127.0.0.1:8600
  assent relay token wallets.tokens > cardiology.token`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(relayServeCommand(a), relayTokenCommand(a))
	return c
}

type relayServeOptions struct {
	*app
	serveOptions
	database string
	tokens   string
	allow    []string
	rate     float64
	interval time.Duration
	finality uint64
}

func relayServeCommand(a *app) *cobra.Command {
	o := &relayServeOptions{app: a}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve a relay until it is interrupted",
		Long: `Takes roots of grants and revocation secrets from wallets, and pays for them with
the wallet in use: all roots of one block interval together, secrets at once. It
answers only when they are on disk, and sends again what a crash or the chain lost.
It also keeps sealed letters for whoever proves an address, and can read none.

On this computer it is open to everybody. Where others can reach it, it needs TLS,
and either --tokens or --allow says who may use it. Its database is one SQLite file,
or PostgreSQL by URL (with the password in ~/.pgpass), which several relays share.
Behind a proxy on this computer, clients are told apart, and admitted, by the last
address in its X-Forwarded-For.`,
		Example: `  assent relay serve --listen 127.0.0.1:8600
  assent relay serve --listen :443 --public https://relay.example --tls-cert cert.pem --tls-key key.pem \
         --tokens wallets.tokens --database postgres://assent@db.internal/relay --metrics 127.0.0.1:9100`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRelayServe(cmd.Context(), o) },
	}
	o.serveOptions.add(c)
	flags := c.Flags()
	flags.StringVar(&o.database, "database", "", "an SQLite file, or the URL of PostgreSQL (default a file among the wallet's)")
	flags.StringVar(&o.tokens, "tokens", "", "file of the tokens that admit, as “assent relay token” writes it; it is read at the start")
	flags.StringArrayVar(&o.allow, "allow", nil, "admit this IP network without a token, such as 10.0.0.0/8 (repeatable)")
	flags.Float64Var(&o.rate, "rate", 50, "how many requests a second one client may make; 0 is any number")
	flags.DurationVar(&o.interval, "interval", 12*time.Second, "the time between two blocks of the network")
	flags.Uint64Var(&o.finality, "finality", 64, "after how many more blocks an entry is not looked after any more")
	return c
}

const maxRate = 1_000_000 // requests a second

// sponsor pays on a network, as a relay needs it.
type sponsor struct{ *registry.Client }

// Anchor puts a root on chain: see relay.Chain.
func (s sponsor) Anchor(ctx context.Context, root common.Hash) error {
	_, err := s.Client.Anchor(ctx, root)
	return err
}

// Revoke reveals secrets: see relay.Chain.
func (s sponsor) Revoke(ctx context.Context, secrets []common.Hash) error {
	_, err := s.Client.Revoke(ctx, secrets)
	return err
}

// check refuses numbers that make no sense.
func (o *relayServeOptions) check() error {
	switch {
	case !(o.rate >= 0 && o.rate <= maxRate): // or no number at all
		return usagef("--rate %v: want requests per second from 0, which is any number, to %d", o.rate, maxRate)
	case o.interval <= 0:
		return usagef("--interval %s: want the time between two blocks, such as 12s", o.interval)
	}
	return nil
}

func runRelayServe(ctx context.Context, o *relayServeOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	location, err := o.databaseAt(o.database, func(network string) (string, error) { return "relay." + network + ".db", nil })
	if err != nil {
		return err
	}
	name, profile, err := o.profile()
	if err != nil {
		return err
	}
	admission, err := o.admission()
	if err != nil {
		return err
	}
	key, err := wallet.Unlock(ctx, o.keeper(profile.Secret), name, profile.Address)
	if err != nil {
		return err
	}
	defer key.Close()
	log := o.serviceLog()
	return o.withChain(ctx, key, func(c *chain) error {
		if err := c.CheckCode(ctx); err != nil {
			return err
		}
		public, err := o.publicService(ctx, log)
		if err != nil {
			return err
		}
		defer public.listener.Close()
		at, err := o.publicURL(public)
		if err != nil {
			return err
		}
		// Or by what stands before it.
		remote := !isLoopback(public.listener.Addr()) || o.public != "" && at.Scheme == "https"
		if remote && admission.Open() {
			return usagef("others can reach the relay, and it would pay for all of them: say who may use it with --tokens or --allow")
		}
		known := prometheus.NewRegistry()
		r, err := relay.Open(ctx, sponsor{c.latest}, relay.Options{
			Database: location, Account: profile.Address, Domain: c.domain, URL: at.String(),
			Interval: o.interval, Finality: o.finality, Admission: admission, Rate: o.rate, Now: o.now, Log: log, Metrics: known,
		})
		if err != nil {
			return err
		}
		defer r.Close()
		public.server.Handler = fromProxy(r.Handler())
		metrics, err := o.metricsService(ctx, promhttp.HandlerFor(known, promhttp.HandlerOpts{}), log)
		if err != nil {
			return err
		}
		s := newServing(at.String(), metrics, profile.Address, c.domain)
		if err := o.result(s, func(out io.Writer) {
			fmt.Fprintf(out, "serving a relay for chain %d at %s, which the account %s pays for\n", s.ChainID, s.URL, s.Account)
		}); err != nil {
			return err
		}
		running, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		done := make(chan struct{})
		go func() { r.Run(running); close(done) }()
		// Requests that wait, and listeners, end first, so that what is handed in
		// meanwhile is still made durable.
		public.server.RegisterOnShutdown(r.Stop)
		err = o.serveUntil(ctx, public, metrics)
		stop()
		<-done
		return err
	})
}

// admission says who may use the relay.
func (o *relayServeOptions) admission() (relay.Admission, error) {
	var a relay.Admission
	for _, text := range o.allow {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return a, usagef("--allow %s: want an IP network such as 10.0.0.0/8", consent.Quote(text))
		}
		a.Networks = append(a.Networks, prefix.Masked())
	}
	if o.tokens != "" {
		file, err := os.Open(o.tokens)
		if err != nil {
			return a, fmt.Errorf("read the tokens: %w", err)
		}
		defer file.Close()
		if a.Tokens, err = relay.ReadTokens(file); err != nil {
			return a, fmt.Errorf("the tokens %s: %w", o.tokens, err)
		}
	}
	return a, nil
}

func relayTokenCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "token FILE",
		Short: "Draw a token that admits to a relay, and add its hash to the relay's file",
		Long: `Prints a new token for a wallet, which takes it with “assent network add” and
--token-file. The relay's file, which “assent relay serve” takes with --tokens,
gets nothing but its hash: whoever reads that file cannot use the relay. The relay
reads it when it starts: restart it, and it admits the new token.`,
		Example: `  assent relay token wallets.tokens > cardiology.token`,
		Args:    exactly(1, "the relay's file of tokens"),
		RunE: func(_ *cobra.Command, args []string) error {
			token := rand.Text()
			if err := appendLine(args[0], relay.TokenHash(token)); err != nil {
				return fmt.Errorf("add to the tokens: %w", err)
			}
			a.say("added to %s: a relay that is running admits it after a restart", args[0])
			type drawn struct {
				Token string `json:"token"`
			}
			return a.result(drawn{token}, func(out io.Writer) { fmt.Fprintln(out, token) })
		},
	}
}

// appendLine adds a line to a file that only its owner may read, also after a
// last line that was not ended.
func appendLine(path, line string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() > 0 {
		var last [1]byte
		if _, err = file.ReadAt(last[:], info.Size()-1); last[0] != '\n' {
			line = "\n" + line
		}
	}
	if err == nil {
		_, err = io.WriteString(file, line+"\n")
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

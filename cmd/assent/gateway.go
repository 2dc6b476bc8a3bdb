package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/gateway"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

type gatewayOptions struct {
	*app
	serveOptions
	database   string
	fhir       string
	fhirToken  string
	key        string
	bearer     bool
	maxAge     uint64
	auditEvery time.Duration
}

func gatewayCommand(a *app) *cobra.Command {
	o := &gatewayOptions{app: a}
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Stand in front of a FHIR server, and let through what grants permit",
		Long: `Serves FHIR R4 in front of a FHIR server, and lets through exactly what grants on the
chain permit; a token that it gave out ends with the grant. Every decision goes to a
log that each patient can read, and that nobody can alter unseen: it is anchored on
the chain, which this wallet pays for where the network wants coins. It is the data
holder whose wallet is in use. Which record a patient's account opens, you say with
“assent gateway enroll bind”.

Without TLS it listens on this computer alone. Its database is one SQLite file, or
PostgreSQL by URL: leave the password out of the URL and put it into the file
~/.pgpass, or the one that PGPASSFILE names. With SQLite, an answer to a read waits
until its entry in the log outlives the gateway, but not for the disk, which has it a
moment later: a loss of power may take the entries of that moment, and that proofs
were used in it. Several gateways of one data holder share a database and a key; they
are all of one version. Behind a proxy on this computer, clients are told apart by the
last address in its X-Forwarded-For.`,
		Example: `  assent gateway --fhir http://127.0.0.1:8080/fhir --listen 127.0.0.1:8443
  assent gateway --fhir http://fhir.internal:8080 --listen :443 --public https://fhir.hospital.example \
         --tls-cert cert.pem --tls-key key.pem --database postgres://assent@db.internal/gateway`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGateway(cmd.Context(), o) },
	}
	c.PersistentFlags().StringVar(&o.database, "database", "", "an SQLite file, or the URL of PostgreSQL (default a file among the wallet's)")
	o.serveOptions.add(c)
	flags := c.Flags()
	flags.StringVar(&o.fhir, "fhir", "", "the base URL of the FHIR server")
	flags.StringVar(&o.fhirToken, "fhir-token", "", "file of the bearer token that the FHIR server wants, if any")
	flags.StringVar(&o.key, "key", "", "file of the key of its tokens, made where there is none (default among the wallet's)")
	flags.BoolVar(&o.bearer, "allow-bearer", false, "also give out tokens that are bound to no key: whoever has one can use it")
	flags.Uint64Var(&o.maxAge, "max-age", defaultMaxAge, "how old the view of the chain may be, in seconds")
	flags.DurationVar(&o.auditEvery, "audit-every", 10*time.Minute, "how often the log is anchored, where it changed")
	c.AddCommand(gatewayEnrollCommand(o), gatewayAuditCommand(o))
	return c
}

// credentials gives the Authorization header for the FHIR server.
func (o *gatewayOptions) credentials(upstream *url.URL) (string, error) {
	if o.fhirToken == "" {
		return "", nil
	}
	if _, err := consent.ParseGatewayURL(upstream.String()); err != nil {
		return "", usagef("--fhir-token needs an https URL in --fhir, or this computer: others could read the token on its way")
	}
	token, err := readToken(o.fhirToken)
	return "Bearer " + token, err
}

func runGateway(ctx context.Context, o *gatewayOptions) (err error) {
	switch {
	case o.maxAge == 0:
		return usagef("--max-age 0: no view of the chain is that fresh: want seconds, such as %d", defaultMaxAge)
	case o.auditEvery < time.Second:
		return usagef("--audit-every %s: want a second at least", o.auditEvery)
	}
	upstream, err := baseURL("--fhir", o.fhir)
	if err != nil {
		return err
	}
	credentials, err := o.credentials(upstream)
	if err != nil {
		return err
	}
	name, profile, err := o.profile()
	if err != nil {
		return err
	}
	key, err := o.readKey()
	if err != nil {
		return err
	}
	log := o.serviceLog()
	db, err := o.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	payer, lock := o.payer(ctx, name, profile)
	defer lock()
	return o.withLedger(ctx, payer, func(l *ledger) error {
		if err := gateway.Claim(ctx, db, l.domain, profile.Address); err != nil {
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
		g, err := gateway.New(gateway.Config{
			Domain: l.domain, Holder: profile.Address, Upstream: upstream, Credentials: credentials, Public: at,
			MaxAge: o.maxAge, AllowBearer: o.bearer, AuditEvery: o.auditEvery, Log: log, Now: o.now,
		}, db, l, key)
		if err != nil {
			return err
		}
		defer g.Close()
		gateway.PrepareProcess()
		public.server.Handler = fromProxy(g)
		metrics, err := o.metricsService(ctx, g.Metrics(), log)
		if err != nil {
			return err
		}
		s := newServing(at.String(), metrics, profile.Address, l.domain)
		if err := o.result(s, func(out io.Writer) {
			fmt.Fprintf(out, "serving %s at %s for the data holder %s\n", o.fhir, s.URL, s.Account)
		}); err != nil {
			return err
		}
		running, stop := context.WithCancel(context.WithoutCancel(ctx)) // requests that have begun are still decided
		var tasks sync.WaitGroup
		tasks.Go(func() { g.Run(running) })
		looks := time.NewTicker(watchEvery)
		defer looks.Stop()
		tasks.Go(func() { l.watch(running, log, looks.C) })
		err = o.serveUntil(ctx, public, metrics)
		stop()
		tasks.Wait()
		return err
	})
}

// baseURL reads a URL that paths are put after.
func baseURL(flag, text string) (*url.URL, error) {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return nil, usagef("%s %s: want a URL such as https://fhir.hospital.example/fhir, without a password, query or fragment", flag, consent.Quote(text))
	}
	at.Path, at.RawPath = strings.TrimRight(at.Path, "/"), ""
	return at, nil
}

// openDatabase opens the gateway's database. Which data holder's it is, it knows by
// itself: see gateway.Claim.
func (o *gatewayOptions) openDatabase(ctx context.Context) (*database.DB, error) {
	location, err := o.databaseAt(o.database, func(network string) (string, error) {
		name, _, err := o.profile()
		return "gateway." + network + "." + name + ".db", err
	})
	if err != nil {
		return nil, err
	}
	return gateway.OpenDatabase(ctx, location)
}

// readKey reads the key that tokens are made with, or makes one.
func (o *gatewayOptions) readKey() (key [32]byte, err error) {
	path := o.key
	if path == "" {
		path = filepath.Join(o.home.Data, "gateway.key")
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		rand.Read(key[:])
		return key, o.writeKey(path, key)
	} else if err != nil {
		return key, fmt.Errorf("open the gateway's key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return key, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return key, fmt.Errorf("the gateway's key %s can be read by others: chmod 600 %s", path, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 2*int64(len(key))+2))
	if err != nil {
		return key, fmt.Errorf("read the gateway's key: %w", err)
	}
	read, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(read) != len(key) {
		return key, fmt.Errorf("the gateway's key %s: want 64 hexadecimal digits; without the file a new one is made", path)
	}
	return [32]byte(read), nil
}

func (o *gatewayOptions) writeKey(path string, key [32]byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the gateway's key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the gateway's key: %w", err)
	}
	_, err = fmt.Fprintf(file, "%x\n", key)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("make the gateway's key: %w", err)
	}
	o.say("made the key %s; other gateways of this data holder need a copy of it", path)
	return nil
}

// payer gives what pays for the log's anchors where the network wants that. The
// embedded chain does not; elsewhere a wallet that stays locked leaves it to the
// accounts that a node may lend.
func (o *gatewayOptions) payer(ctx context.Context, name string, profile wallet.Profile) (payer registry.Payer, lock func()) {
	settings, err := o.home.Settings()
	if err != nil {
		return nil, func() {}
	}
	if network, _, err := settings.FindNetwork(o.network); err != nil || network == wallet.Local {
		return nil, func() {}
	}
	key, err := wallet.Unlock(ctx, o.keeper(profile.Secret), name, profile.Address)
	if err != nil {
		o.say("the wallet stays locked, so that it pays for nothing: %v", err)
		return nil, func() {}
	}
	return key, func() { key.Close() }
}

// ledger is the data holder's own copy of the registry, and the chain that it is
// of. It is a gateway.Ledger.
type ledger struct {
	*registry.Mirror
	domain consent.Domain
	client *registry.Client
}

var _ gateway.Ledger = (*ledger)(nil)

// Anchor puts a root on chain and waits until it is confirmed.
func (l *ledger) Anchor(ctx context.Context, root common.Hash) error {
	_, err := l.client.Anchor(ctx, root)
	return err
}

// withLedger opens the chain in use and the copy of its registry, which follows it
// for the time of do.
func (a *app) withLedger(ctx context.Context, payer registry.Payer, do func(*ledger) error) error {
	return a.withChain(ctx, payer, func(c *chain) error {
		name := fmt.Sprintf("mirror-%d-%s.db", c.domain.ChainID, strings.ToLower(c.domain.Registry.Hex()))
		mirror, err := registry.OpenMirror(ctx, filepath.Join(a.home.Data, name), c.Client)
		if err != nil {
			return err
		}
		defer mirror.Close()
		following, stop := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() {
			mirror.Follow(following)
			close(ended)
		}()
		defer func() {
			stop()
			<-ended
		}()
		return do(&ledger{mirror, c.domain, c.Client})
	})
}

// levelPatience is how long a command waits for the copy of the registry to be
// level with the chain.
const levelPatience = 20 * time.Second

var errNotLevel = errors.New("the copy of the registry is not level with the chain")

// level waits until the copy is level with the chain.
func (l *ledger) level(ctx context.Context, maxAge uint64) error {
	limited, cancel := context.WithTimeout(ctx, levelPatience)
	defer cancel()
	for {
		state, err := l.State(limited, consent.Entries{})
		if err == nil && state.Age <= maxAge {
			return nil
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				err = fmt.Errorf("its block %d is %d s old", state.Block, state.Age)
			}
			if s, _ := l.Status(ctx); s.Err != nil {
				err = fmt.Errorf("%w: %w", err, s.Err)
			}
			return fmt.Errorf("%w: %w; try again later", errNotLevel, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func gatewayEnrollCommand(o *gatewayOptions) *cobra.Command {
	c := &cobra.Command{
		Use:   "enroll",
		Short: "Say which account opens which patient's record",
		Long: `Binds the account of a patient's wallet to her Patient resource, after she showed
you who she is. Give her a challenge; she answers it with her wallet, by “assent
access --challenge”; then bind the account that she proved.`,
		Example: `  assent gateway enroll challenge
  assent gateway enroll bind proof.json --account 0x7E766e774678E89816d5C4C8408DA0c822725d7B --patient eboni
  assent gateway enroll list`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(enrollChallengeCommand(o), enrollBindCommand(o), enrollListCommand(o), enrollEndCommand(o))
	return c
}

// withEnrollments opens the database and the copy of the registry, for the time
// of do.
func (o *gatewayOptions) withEnrollments(ctx context.Context, do func(*gateway.Enrollments) error) error {
	_, profile, err := o.profile()
	if err != nil {
		return err
	}
	db, err := o.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	return o.withLedger(ctx, nil, func(l *ledger) error {
		if err := gateway.Claim(ctx, db, l.domain, profile.Address); err != nil {
			return err
		}
		if err := l.level(ctx, defaultMaxAge); err != nil {
			return err
		}
		return do(&gateway.Enrollments{DB: db, Domain: l.domain, Holder: profile.Address, State: l.State, MaxAge: defaultMaxAge, Now: o.now})
	})
}

func enrollChallengeCommand(o *gatewayOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "challenge",
		Short:   "Make a fresh challenge for a patient, good once and for ten minutes",
		Example: `  assent gateway enroll challenge`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withEnrollments(cmd.Context(), func(e *gateway.Enrollments) error {
				challenge, until, err := e.Challenge(cmd.Context())
				if err != nil {
					return err
				}
				type made struct {
					Challenge string `json:"challenge"`
					Holder    string `json:"holder"`
					Until     int64  `json:"until"` // unix seconds
				}
				return o.result(made{challenge.Hex(), e.Holder.Hex(), until.Unix()}, func(out io.Writer) { fmt.Fprintln(out, challenge.Hex()) })
			})
		},
	}
}

func enrollBindCommand(o *gatewayOptions) *cobra.Command {
	var account, patient string
	c := &cobra.Command{
		Use:     "bind PROOF",
		Short:   "Bind the account that a patient proved to her Patient resource",
		Example: `  assent gateway enroll bind proof.json --account 0x7E766e774678E89816d5C4C8408DA0c822725d7B --patient eboni`,
		Args:    exactly(1, "the answer to a challenge, a file or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if account == "" || patient == "" {
				return usagef("give --account, the patient's, and --patient, the id of her Patient resource")
			}
			proof, err := readDocument(o.app, args[0], consent.ReadAccess)
			if err != nil {
				return err
			}
			who, err := o.party(account)
			if err != nil {
				return err
			}
			return o.withEnrollments(cmd.Context(), func(e *gateway.Enrollments) error {
				if err := e.Bind(cmd.Context(), who.account, patient, proof); err != nil {
					return fmt.Errorf("bind the account %s: %w", who.account, err)
				}
				type bound struct {
					Account string `json:"account"`
					Patient string `json:"patient"`
				}
				return o.result(bound{who.account.Hex(), patient}, func(out io.Writer) {
					fmt.Fprintf(out, "bound the account %s to the Patient %s\n", who.account, patient)
				})
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "the patient's account: an address, or the file of her card")
	c.Flags().StringVar(&patient, "patient", "", "the id of her Patient resource")
	return c
}

func enrollListCommand(o *gatewayOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the accounts that open a record, and those that did",
		Example: `  assent gateway enroll list --json`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withEnrollments(cmd.Context(), func(e *gateway.Enrollments) error {
				all, err := e.List(cmd.Context())
				if err != nil {
					return err
				}
				type enrollment struct {
					Account string `json:"account"`
					Patient string `json:"patient"`
					Since   int64  `json:"since"` // unix seconds
					Ended   int64  `json:"ended"` // 0: it counts
					Why     string `json:"why"`
				}
				shown, rows := []enrollment{}, [][]string{{"ACCOUNT", "PATIENT", "SINCE", "ENDED"}}
				for _, one := range all {
					s := enrollment{one.Account.Hex(), one.Patient, one.Since.Unix(), 0, one.Why}
					ended := ""
					if !one.Ended.IsZero() {
						s.Ended = one.Ended.Unix()
						ended = one.Ended.UTC().Format(time.DateOnly) + ": " + one.Why
					}
					shown = append(shown, s)
					rows = append(rows, []string{s.Account, s.Patient, one.Since.UTC().Format(time.DateOnly), ended})
				}
				return o.result(shown, func(out io.Writer) { table(out, rows) })
			})
		},
	}
}

func enrollEndCommand(o *gatewayOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "end ACCOUNT",
		Short:   "End what an account opens; tokens that it gave end with it",
		Example: `  assent gateway enroll end 0x7E766e774678E89816d5C4C8408DA0c822725d7B`,
		Args:    exactly(1, "an account: an address, or the file of a card"),
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := o.party(args[0])
			if err != nil {
				return err
			}
			db, err := o.openDatabase(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			e := &gateway.Enrollments{DB: db, Now: o.now} // the chain has no say in it
			ended, err := e.End(cmd.Context(), who.account, "ended by the data holder")
			if err != nil {
				return err
			}
			if !ended {
				return fmt.Errorf("the account %s opens nothing here: see “assent gateway enroll list”", who.account)
			}
			type over struct {
				Account string `json:"account"`
			}
			return o.result(over{who.account.Hex()}, func(out io.Writer) { fmt.Fprintf(out, "ended what the account %s opened\n", who.account) })
		},
	}
}

func gatewayAuditCommand(o *gatewayOptions) *cobra.Command {
	c := &cobra.Command{
		Use:     "log",
		Short:   "Look after the log of decisions",
		Example: `  assent gateway log check`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Go through the whole log, and tell whether it was altered",
		Long: `Works out the chain of every patient's entries again, and compares them with the
newest checkpoint and that with the chain.`,
		Example: `  assent gateway log check --json`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runGatewayCheck(cmd.Context(), o) },
	}, &cobra.Command{
		Use:   "export",
		Short: "Write the whole log as FHIR AuditEvents, one a line",
		Long: `Writes every entry of the log as it was written first: a FHIR R4 AuditEvent after
IHE's Basic Audit Log Patterns, one a line (NDJSON), those of a patient together and
in order. “gateway log check” tells whether they were altered.`,
		Example: `  assent gateway log export > decisions.ndjson`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runGatewayExport(cmd.Context(), o) },
	})
	return c
}

func runGatewayExport(ctx context.Context, o *gatewayOptions) error {
	db, err := o.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	out := bufio.NewWriter(o.stdout)
	err = gateway.ReadLog(ctx, db, func(_ common.Address, e consent.AuditEntry) error {
		_, err := out.Write(append(e.Event, '\n'))
		return err
	})
	return errors.Join(err, out.Flush())
}

func runGatewayCheck(ctx context.Context, o *gatewayOptions) error {
	db, err := o.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	found, err := gateway.CheckAudit(ctx, db)
	if err != nil {
		return err
	}
	if found.Root != (common.Hash{}) {
		if err := o.withChain(ctx, nil, func(c *chain) error {
			state, err := c.Read(ctx, consent.Entries{Anchors: []common.Hash{found.Root}})
			if err == nil && state.Anchored[found.Root] == 0 {
				err = fmt.Errorf("the log's newest checkpoint is said to be anchored, and is not on chain: its root is %s", found.Root)
			}
			return err
		}); err != nil {
			return err
		}
	}
	type checked struct {
		Accounts    uint64 `json:"accounts"`
		Entries     uint64 `json:"entries"`
		Checkpoints uint64 `json:"checkpoints"`
		Unanchored  uint64 `json:"unanchored"`
		Uncovered   uint64 `json:"uncovered"`
		Root        string `json:"root"` // of the newest checkpoint that is anchored; empty: none
	}
	s := checked{found.Accounts, found.Entries, found.Checkpoints, found.Unanchored, found.Uncovered, ""}
	if found.Root != (common.Hash{}) {
		s.Root = found.Root.Hex()
	}
	return o.result(s, func(out io.Writer) {
		fmt.Fprintf(out, "whole: %d entries of %d accounts, %d since the last of %d checkpoints\n", s.Entries, s.Accounts, s.Uncovered, s.Checkpoints)
	})
}

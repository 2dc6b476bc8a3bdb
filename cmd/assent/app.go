package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// How a command speaks:
//
//   - what it was asked for goes to stdout, and nothing else does: one JSON
//     value with --json, else a document, or a table for people
//   - talk goes to stderr, and nobody has to read it
//   - questions go to the terminal itself, so that they work in a pipe; the
//     answer that does nothing is the default; without a terminal the error
//     names the flag that answers instead
//   - errors are one line in lower case: what failed, on what, what to try
//   - foreign text is quoted by consent.Quote before anybody sees it

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdinUsed      bool // a second “-” would read nothing
	stdout, stderr io.Writer
	now            func() time.Time
	home           wallet.Home
	grace          *atomic.Int64 // nanoseconds that an interrupted command has to end by itself; nil in tests

	network      string // --network; empty: the one in use
	wallet       string // --wallet; empty: the one in use
	passwordFile string // --password-file
	json         bool
	verbose      bool
}

// grace is how long an interrupted command has to end by itself; a service has
// longer. Some cannot: one that reads standard input, or waits for a disk. A
// command may be killed at any moment and loses nothing by it.
const grace = 3 * time.Second

// run runs one command line and gives its exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now, home: wallet.DefaultHome(), grace: new(atomic.Int64)}
	a.grace.Store(int64(grace))
	defer context.AfterFunc(ctx, func() {
		time.Sleep(time.Duration(a.grace.Load()))
		report(a.stderr, context.Canceled)
		os.Exit(exitInterrupted)
	})()
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && err != nil {
		err = context.Canceled
	}
	if err != nil {
		report(a.stderr, err)
	}
	return exitCode(err)
}

// version is what the build recorded of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(version, s.Value[:12]) {
			version += " " + s.Value[:12]
		}
	}
	return version
}

// group names of the help, by who uses a command.
const (
	groupPatient   = "patient"
	groupClinician = "clinician"
	groupHolder    = "holder"
	groupOperator  = "operator"
)

// command makes the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "assent",
		Short: "A consent wallet: say who may read what of your health record, and take it back",
		Long: `Assent keeps your key in this computer's keyring and signs grants with it: who may
read what part of your health record, for what purpose and until when. Only
opaque hashes go to a chain. Whoever holds the record checks every request
against your grants, and you can end any of them at any time.`,
		Example: `  assent                       # the terminal app
  assent demo                  # see the whole story in a few seconds
  assent init                  # make a wallet of your own`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if onTerminal() {
				return runTUI(cmd.Context(), a)
			}
			return cmd.Help()
		},
	}
	cobra.EnableCommandSorting = false
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetVersionTemplate("assent {{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: groupPatient, Title: "For patients:"},
		&cobra.Group{ID: groupClinician, Title: "For clinicians:"},
		&cobra.Group{ID: groupHolder, Title: "For data holders:"},
		&cobra.Group{ID: groupOperator, Title: "For the network, and the wallet itself:"},
	)
	flags := root.PersistentFlags()
	flags.StringVar(&a.network, "network", "", "the network to use, by its name in the settings (default the one in use)")
	flags.StringVar(&a.wallet, "wallet", "", "the wallet to use, by its name (default the one in use)")
	flags.StringVar(&a.passwordFile, "password-file", "", "file that holds the password of a wallet in an encrypted file")
	flags.BoolVar(&a.json, "json", false, "print results as JSON")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "also say what happens on the chain")

	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupPatient, tuiCommand(a), initCommand(a), cardCommand(a), grantCommand(a), batchCommand(a), revokeCommand(a), grantsCommand(a), showCommand(a), auditCommand(a), holderCommand(a))
	add(groupClinician, requestCommand(a), inboxCommand(a), accessCommand(a), fetchCommand(a), handoffCommand(a))
	add(groupHolder, verifyCommand(a), releaseCommand(a), gatewayCommand(a))
	add(groupOperator, networkCommand(a), chainCommand(a), relayCommand(a), walletCommand(a), observeCommand(a), demoCommand(a), manCommand())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && cmd.HasSubCommands():
		return usagef("%s has no command %s: see %s --help", cmd.CommandPath(), consent.Quote(args[0]), cmd.CommandPath())
	case len(args) > 0:
		return usagef("%s takes no arguments: see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// exactly requires n arguments, called what.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %s: see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// result prints what a command was asked for: as JSON, or as people say.
func (a *app) result(value any, people func(io.Writer)) error {
	if !a.json {
		var text bytes.Buffer
		people(&text)
		_, err := text.WriteTo(a.stdout)
		return err
	}
	return a.document(value)
}

// document prints one JSON value on one line.
func (a *app) document(value any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// table prints rows in columns.
func table(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
}

// number says how many there are of what one is called.
func number(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// say talks to a person who may be there.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

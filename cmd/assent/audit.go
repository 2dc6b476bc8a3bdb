package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
	"github.com/assent-wallet/assent/consent/gateway"
	"github.com/assent-wallet/assent/wallet"
)

type auditOptions struct {
	*app
	holders []string
	from    string
	yes     bool
}

func auditCommand(a *app) *cobra.Command {
	o := &auditOptions{app: a}
	c := &cobra.Command{
		Use:   "audit",
		Short: "See who looked at your record, and whether the log of that was rewritten",
		Long: `Asks each data holder of the address book for its log of what was done with your
record, and says it in words. Every entry's hash is checked, that they make one
chain, that it is the chain you saw before, and that its newest root is on the
chain: what was altered or dropped since you looked shows, and the exit code then
is 1. Of entries that you see for the first time it shows that they are as they were
when the chain took that root, and not what they were before: look now and then.

The first time at a data holder you sign a grant to yourself that opens its log.`,
		Example: `  assent audit
  assent audit --holder hospital.card.json --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAudit(cmd.Context(), o) },
	}
	flags := c.Flags()
	flags.StringArrayVar(&o.holders, "holder", nil, "only this data holder: an address, or the file of a card (repeatable)")
	flags.StringVar(&o.from, "from", "", "the URL of one data holder that the address book has not")
	flags.BoolVar(&o.yes, "yes", false, "sign the grant to yourself without asking, where there is none")
	return c
}

func runAudit(ctx context.Context, o *auditOptions) error {
	if o.from != "" && len(o.holders) > 1 {
		return usagef("--from is the URL of one data holder: name one with --holder, or none")
	}
	holders, err := o.parties(o.holders)
	if err != nil {
		return err
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		if err := o.resume(ctx, w); err != nil {
			return err
		}
		if err := meet(ctx, w, holders...); err != nil {
			return err
		}
		return o.audit(ctx, w, holders)
	})
}

// audit asks the data holders and tells what they say. What is damaged in the
// address book keeps nothing back of the rest.
func (o *auditOptions) audit(ctx context.Context, w *wallet.Wallet, holders []party) error {
	sources, damaged := o.sources(ctx, w, holders)
	if damaged != nil && !errors.Is(damaged, wallet.ErrDamaged) {
		return damaged
	}
	names, err := w.Names(ctx)
	if err != nil {
		return err
	}
	for _, s := range sources {
		s.called = calledAt(names, s.Gateway)
		o.say("asking %s", s.called)
		if s.err = o.follow(ctx, w, s, names); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(damaged, o.tell(ctx, w, sources, names))
}

// sources gives the data holders to ask. Where rows of the address book are
// damaged, it gives the others and an error that names them.
func (o *auditOptions) sources(ctx context.Context, w *wallet.Wallet, holders []party) ([]*source, error) {
	if o.from != "" {
		said, err := whoIs(ctx, o.from)
		if err != nil {
			return nil, err
		}
		if len(holders) == 1 && holders[0].account != said.Holder {
			return nil, fmt.Errorf("the gateway at %s says that it is the data holder %s, not %s", hostOf(o.from), said.Holder, holders[0].account)
		}
		return []*source{{Gateway: consent.Gateway{Account: said.Holder, URL: o.from}}}, nil
	}
	var sources []*source
	for _, h := range holders {
		known, err := w.Holder(ctx, h.account)
		if err != nil {
			return nil, err
		}
		sources = append(sources, &source{Gateway: known})
	}
	if len(holders) > 0 {
		return sources, nil
	}
	known, err := w.Holders(ctx)
	for _, g := range known {
		sources = append(sources, &source{Gateway: g})
	}
	if len(sources) == 0 && err == nil {
		err = usagef("the address book is empty: add a data holder with “assent holder add”, or give --from")
	}
	return sources, err
}

// follow follows the log of one data holder, and has the grant signed first that
// opens it, where there is none.
func (o *auditOptions) follow(ctx context.Context, w *wallet.Wallet, s *source, names consent.Names) error {
	grant, err := w.AuditGrant(ctx, s.Account)
	if err != nil {
		return err
	}
	if grant == nil {
		draft := w.AuditDraft(s.Account)
		o.say("To see its log you grant that to yourself. You would sign:\n\n%s\n", draft.Describe(names))
		if err := o.yesNoQuestion(ctx, o.yes, "Sign this?"); err != nil {
			return err
		}
		if grant, err = w.Grant(ctx, draft); err != nil {
			return err
		}
	}
	return followLog(ctx, w, s.Gateway, grant)
}

// followLogs follows the logs of all data holders in the address book that a
// grant opens, side by side: see tui.Session. It signs no grant.
func followLogs(ctx context.Context, w *wallet.Wallet) (followed int, err error) {
	known, err := w.Holders(ctx)
	if err != nil && !errors.Is(err, wallet.ErrDamaged) {
		return 0, err
	}
	if len(known) == 0 {
		return 0, errors.New("the address book is empty: add a data holder with “assent holder add”")
	}
	names, err := w.Names(ctx)
	if err != nil {
		return 0, err
	}
	failed := make([]error, len(known))
	var group sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for i, at := range known {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			grant, err := w.AuditGrant(ctx, at.Account)
			if err == nil && grant == nil {
				err = errors.New("no grant opens its log: sign one with “assent audit”, once")
			}
			if err == nil {
				err = followLog(ctx, w, at, grant)
			}
			if err != nil {
				failed[i] = fmt.Errorf("%s: %w", calledAt(names, at), err)
			}
		})
	}
	group.Wait()
	for _, err := range failed {
		if err == nil {
			followed++
		}
	}
	return followed, errors.Join(failed...)
}

// followLog follows the log of a data holder with a grant that opens it.
func followLog(ctx context.Context, w *wallet.Wallet, at consent.Gateway, grant *consent.GrantDocument) error {
	client, err := gateway.NewClient(at.URL)
	if err != nil {
		return err
	}
	defer client.Close()
	client.Access = func(ctx context.Context, binding common.Hash) (*consent.AccessDocument, error) {
		return w.AuditAccess(ctx, grant, at.Account, binding)
	}
	_, err = w.Audit(ctx, at.Account, wallet.Log{Page: client.Audit, Read: readEvent})
	return err
}

// readEvent reads what an AuditEvent says.
func readEvent(event []byte) (use wallet.Use, grantor common.Address, err error) {
	r, err := fhir.ReadAuditEvent(event)
	if err != nil {
		return use, grantor, err
	}
	use = wallet.Use{
		Holder: r.Holder, Time: uint64(max(r.Time.Unix(), 0)), Grantee: r.Grantee, Grant: r.Grant, Purpose: strings.Join(r.Purposes, " "),
		Interaction: r.Interaction, Target: r.Target, Outcome: r.Outcome, Released: r.Released,
	}
	return use, r.Grantor, nil
}

// audited is what is known of a data holder's log, as --json prints it.
type audited struct {
	Account  string  `json:"account"`
	Name     string  `json:"name"`
	URL      string  `json:"url"`
	Error    string  `json:"error"`    // why it could not be followed to its end, or which check failed; empty: nothing
	Tampered bool    `json:"tampered"` // a check failed
	Seen     uint64  `json:"seen"`     // entries
	Head     string  `json:"head"`     // hash of the last one
	Proven   uint64  `json:"proven"`   // those up to this number stand under the root
	Root     string  `json:"root"`
	Anchored uint64  `json:"anchored"` // block time of the root, unix seconds; 0: none is on chain
	Entries  []entry `json:"entries"`
}

// entry is an entry of a log.
type entry struct {
	Number      uint64         `json:"number"`
	Time        uint64         `json:"time"` // unix seconds
	Grantee     string         `json:"grantee"`
	Name        string         `json:"name"` // what that key calls itself; empty: unknown
	Grant       string         `json:"grant"`
	Purpose     string         `json:"purpose"`
	Interaction string         `json:"interaction"`
	Target      string         `json:"target"`
	Outcome     string         `json:"outcome"`
	Released    map[string]int `json:"released"`
	Proven      bool           `json:"proven"`
}

// tell prints what is known of each log, also of one that could not be followed
// this time.
func (o *auditOptions) tell(ctx context.Context, w *wallet.Wallet, sources []*source, names consent.Names) error {
	all, damaged := w.Audited(ctx)
	if damaged != nil && !errors.Is(damaged, wallet.ErrDamaged) {
		return damaged
	}
	known := make(map[common.Address]wallet.Audited)
	for _, a := range all {
		known[a.Holder] = a
	}
	list := []audited{}
	failed := &holdersError{of: len(sources)}
	for _, s := range sources {
		a := known[s.Account]
		shown := audited{
			Account: s.Account.Hex(), Name: s.Name, URL: s.URL, Seen: a.Trail.Seen.Number, Head: a.Trail.Seen.Hash.Hex(),
			Proven: a.Trail.Proven.Number, Root: a.Trail.Root.Hex(), Anchored: a.Trail.Anchored, Entries: []entry{},
		}
		if s.err != nil {
			failed.sources = append(failed.sources, s)
			shown.Error = s.why()
			_, shown.Tampered = errors.AsType[*wallet.TamperedError](s.err)
		}
		for _, u := range a.Uses {
			e := entry{
				Number: u.Number, Time: u.Time, Grantee: u.Grantee.Hex(), Name: names[u.Grantee], Grant: u.Grant.Hex(), Purpose: u.Purpose,
				Interaction: u.Interaction, Target: u.Target, Outcome: u.Outcome, Released: u.Released, Proven: u.Number <= a.Trail.Proven.Number,
			}
			if e.Released == nil {
				e.Released = map[string]int{}
			}
			shown.Entries = append(shown.Entries, e)
		}
		list = append(list, shown)
	}
	if err := o.result(list, func(out io.Writer) {
		for i, s := range sources {
			if i > 0 {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "%s:\n", s.called)
			a := known[s.Account]
			if s.err != nil {
				fmt.Fprintf(out, "  %s\n", notFollowed(s.err, a.Trail.Checked))
			}
			if a.Trail.Checked == 0 {
				continue
			}
			for _, line := range inWords(&a, w.Signer.Address(), names) {
				fmt.Fprintf(out, "  %s\n", line)
			}
		}
	}); err != nil {
		return err
	}
	if len(failed.sources) > 0 {
		return errors.Join(damaged, failed)
	}
	return damaged
}

// notFollowed says that a log could not be followed this time, and of when that
// is what stands below.
func notFollowed(err error, checked uint64) string {
	text := "Its log could not be read."
	if _, ok := errors.AsType[*wallet.TamperedError](err); ok {
		text = "ITS LOG WAS TAMPERED WITH: " + err.Error() + "."
	}
	if checked != 0 {
		text += " It said on " + inFull(checked) + ":"
	}
	return text
}

func inFull(t uint64) string { return time.Unix(int64(t), 0).UTC().Format("2 January 2006, 15:04 UTC") }

// inWords tells what a log says, and how far it is proven.
func inWords(a *wallet.Audited, own common.Address, names consent.Names) []string {
	var lines []string
	for _, t := range wallet.Tell(a.Uses) {
		who := fmt.Sprintf("the key %s", t.Grantee)
		switch {
		case t.Grantee == own:
			who = "you"
		case names[t.Grantee] != "":
			who = "the key that calls itself " + consent.Quote(names[t.Grantee])
		}
		line := fmt.Sprintf("%s: %s %s", inFull(t.Time), who, t.Did)
		if t.Purpose != "" {
			line += ", for " + t.For()
		}
		if t.Last > a.Trail.Proven.Number {
			line += " (not on chain yet)"
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		lines = append(lines, "Nobody did anything with your record that its log tells.")
	}
	trail := a.Trail
	switch {
	case trail.Proven.Number > 0:
		lines = append(lines, fmt.Sprintf("Proven: entries 1 to %d of %d, unaltered since %s, when the chain took their root %s, or since you first saw them, if that is longer ago.",
			trail.Proven.Number, trail.Seen.Number, inFull(trail.Anchored), trail.Root))
	case trail.Seen.Number > 0:
		lines = append(lines, fmt.Sprintf("Nothing of its %s is proven on the chain yet.", plural(int(trail.Seen.Number), "entry", "entries")))
	}
	if trail.Pending > 0 {
		lines = append(lines, fmt.Sprintf("It names a root over entries 1 to %d that is not on the chain.", trail.Pending))
	}
	return lines
}

func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

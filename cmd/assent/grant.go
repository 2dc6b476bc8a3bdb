package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// consentOptions are those of the two commands that sign grants.
type consentOptions struct {
	*app
	scopes   scopes
	span     span
	holders  []string
	handoffs uint8
	yes      bool
	accepted []string
	send     bool
}

func (o *consentOptions) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&o.holders, "holder", nil, "only at this data holder: an address, or the file of a card (repeatable)")
	flags.Uint8Var(&o.handoffs, "handoffs", 0, "how many times in a row it may be passed on, each time no wider")
	flags.BoolVar(&o.yes, "yes", false, "sign without asking; every risk must be accepted by name")
	flags.StringArrayVar(&o.accepted, "accept-risk", nil, "accept this risk without asking (repeatable)")
	flags.BoolVar(&o.send, "send", false, "also send it to the mailbox of whoever gets it, sealed, by a relay of the network")
	o.span.add(flags)
}

type grantOptions struct {
	consentOptions
	request string
	grantee string
	only    []string
	cover   string

	purposeGiven bool                  // --purpose, which has a default
	left         consent.Sensitivities // asked for and not named by --sensitive
}

func grantCommand(a *app) *cobra.Command {
	o := &grantOptions{consentOptions: consentOptions{app: a}}
	c := &cobra.Command{
		Use:   "grant",
		Short: "Sign a grant: who may read what, for what, until when",
		Long: `Answers a request, or grants on your own. You see what you would sign as a
sentence made from the very bytes that are signed, with every risk by name, and
the answer that signs nothing is the default. The grant is printed once it is
anchored on the chain; before that it does not count.

A request can be narrowed: --only keeps what you name of it, --until or --for ends
it earlier, --holder limits it to one data holder, --data-from and --data-until to
a time. Sensitive categories are left out unless you name them with --sensitive.

A command that was cut off is taken up by the next one: a request is answered
once, and a grant without a request that was signed is anchored, kept, and printed
by “assent show ID --document”, so look at “assent grants” before you repeat it.`,
		Example: `  assent grant --request labs.request.json > labs.grant.json
  assent grant --request labs.request.json --cover labs.cover.json > labs.grant.json
  assent grant --request labs.request.json --only 'patient/Observation.rs?category=laboratory' --for 7d
  assent grant --grantee clinic.card.json --scope patient/Immunization.rs --holder hospital.card.json --for 30d`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.purposeGiven = cmd.Flags().Changed("purpose")
			return runGrant(cmd.Context(), o)
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.request, "request", "", "the request to answer: a file, or - for standard input")
	flags.StringVar(&o.grantee, "grantee", "", "instead of a request: to whom, an address or the file of a card")
	flags.StringArrayVar(&o.only, "only", nil, "of a request: only this scope, the same as asked for or narrower (repeatable)")
	flags.StringVar(&o.cover, "cover", "", "also write a note to this file that says where the data holders in it are reached")
	o.scopes.add(flags, "TREAT")
	o.add(c)
	return c
}

func runGrant(ctx context.Context, o *grantOptions) error {
	switch {
	case (o.request == "") == (o.grantee == ""):
		return usagef("give either --request, or --grantee with --scope")
	case o.request != "" && len(o.scopes.texts) > 0:
		return usagef("--scope is for a grant without a request: narrow a request with --only")
	case o.request != "" && o.purposeGiven:
		return usagef("--purpose is for a grant without a request: a request has its own")
	case o.grantee != "" && (len(o.only) > 0 || len(o.scopes.texts) == 0):
		return usagef("a grant without a request needs at least one --scope, and no --only")
	}
	draft, holders, err := o.read()
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
		err := o.ask(ctx, w, draft)
		if answered, ok := errors.AsType[*wallet.AnsweredError](err); ok {
			// Another command may have signed it just now.
			if err := o.resume(ctx, w); err != nil {
				return err
			}
			o.say("%v: here it is", answered)
			note, err := o.note(ctx, w, wallet.HoldersOf(answered.Grant.Provisions))
			if err != nil {
				return err
			}
			return o.handOver(ctx, w, answered.Grant, note)
		}
		return err
	})
}

// note makes the cover note of a grant, where one is to be written.
func (o *grantOptions) note(ctx context.Context, w *wallet.Wallet, holders []common.Address) (*consent.Cover, error) {
	if o.cover == "" {
		return nil, nil
	}
	note, err := w.Cover(ctx, holders)
	if err != nil {
		return nil, fmt.Errorf("the cover note: %w", err)
	}
	return note, nil
}

func (o *grantOptions) writeNote(note *consent.Cover) error {
	if note == nil {
		return nil
	}
	text, err := note.MarshalJSON()
	if err == nil {
		err = writeWhole(o.cover, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the cover note: %w", err)
	}
	return nil
}

// ask shows the request that the draft answers, if any, and signs.
func (o *grantOptions) ask(ctx context.Context, w *wallet.Wallet, draft *wallet.Draft) error {
	if draft.Answers != nil {
		if err := w.Receive(ctx, draft.Answers); err != nil {
			return err
		}
		o.say("%s\n", consent.DescribeRequest(draft.Answers))
	}
	if o.left != 0 {
		o.say("Asked for and left out, since it is sensitive: %s. To include it: --sensitive NAME.\n", o.left)
	}
	note, err := o.note(ctx, w, draft.Holders())
	if err != nil {
		return err
	}
	grant, err := o.sign(ctx, w, draft)
	if err != nil {
		return err
	}
	return o.handOver(ctx, w, grant, note)
}

// handOver prints a grant, writes its note and sends it. The grant counts: what
// fails keeps nothing back of the rest.
func (o *grantOptions) handOver(ctx context.Context, w *wallet.Wallet, grant *consent.GrantDocument, note *consent.Cover) error {
	return errors.Join(o.print(grant), o.writeNote(note), o.sendGrant(ctx, w, grant))
}

// resume goes on with what an earlier command did not finish.
func (a *app) resume(ctx context.Context, w *wallet.Wallet) error {
	posted, err := w.Resume(ctx)
	if posted > 0 {
		a.say("anchored %s that an earlier command had signed: “assent grants” lists it, “assent show ID --document” prints it", number(posted, "grant"))
	}
	return err
}

// read makes the draft that the flags say, and gives whose cards it names.
func (o *grantOptions) read() (*wallet.Draft, []party, error) {
	holders, err := o.parties(o.holders)
	if err != nil {
		return nil, nil, err
	}
	if o.request != "" {
		draft, err := o.answer(holders)
		return draft, holders, err
	}
	given, err := o.scopes.resolve()
	if err != nil {
		return nil, nil, err
	}
	draft := &wallet.Draft{Handoffs: o.handoffs, Provisions: wallet.Provide(given, accounts(holders))}
	if draft.NotBefore, draft.Expires, err = o.span.resolve(o.now()); err != nil {
		return nil, nil, err
	}
	grantee, err := o.party(o.grantee)
	draft.Grantee = grantee.account
	return draft, append(holders, grantee), err
}

// answer makes the draft that answers a request, narrowed as the flags say.
func (o *grantOptions) answer(holders []party) (*wallet.Draft, error) {
	request, err := readDocument(o.app, o.request, consent.ReadRequest)
	if err != nil {
		return nil, err
	}
	draft := wallet.DraftFor(request)
	if draft.NotBefore, draft.Expires, err = o.within(request); err != nil {
		return nil, err
	}
	given, err := o.narrowed(request.Request.Scopes)
	if err != nil {
		return nil, err
	}
	at := request.Request.Holders
	if len(holders) > 0 {
		for i, holder := range accounts(holders) {
			if !slices.Contains(at, holder) && !slices.Contains(at, common.Address{}) {
				return nil, usagef("--holder %s: that data holder was not asked for", o.holders[i])
			}
		}
		at = accounts(holders)
	}
	draft.Provisions = wallet.Provide(given, at)
	draft.Handoffs = o.handoffs
	return draft, nil
}

// within gives the window of the grant: as asked for, or as the flags say.
func (o *grantOptions) within(request *consent.RequestDocument) (notBefore, expires uint64, err error) {
	notBefore, expires = request.Request.NotBefore, request.Request.Expires
	if !o.span.given() {
		return notBefore, expires, nil
	}
	start := o.now()
	if begins := time.Unix(int64(notBefore), 0); begins.After(start) {
		start = begins // what --for counts from
	}
	from, until, err := o.span.resolve(start)
	if err != nil {
		return 0, 0, err
	}
	if until > expires {
		return 0, 0, usagef("it would end at %s, after %s, which was asked for: give less, or nothing for all of it", moment(until), moment(expires))
	}
	if o.span.from != "" {
		if from < notBefore {
			return 0, 0, usagef("--from: it would begin at %s, before %s, which was asked for", moment(from), moment(notBefore))
		}
		notBefore = from
	}
	return notBefore, until, nil
}

func moment(t uint64) string { return time.Unix(int64(t), 0).UTC().Format(time.RFC3339) }

// narrowed gives what is granted of the scopes that were asked for.
func (o *grantOptions) narrowed(asked []consent.Scope) ([]consent.Scope, error) {
	from, until, err := o.scopes.window()
	if err != nil {
		return nil, err
	}
	mask, err := o.scopes.mask()
	if err != nil {
		return nil, err
	}
	var given []consent.Scope
	extra := mask
	for _, scope := range asked {
		extra &^= scope.Sensitivities
		o.left |= scope.Sensitivities &^ mask
		scope.Sensitivities &= mask
		scope.DataFrom = max(scope.DataFrom, from)
		if until != 0 && (scope.DataUntil == 0 || until < scope.DataUntil) {
			scope.DataUntil = until
		}
		if err := consent.CheckScope(scope); err != nil {
			return nil, err
		}
		given = append(given, scope)
	}
	if extra != 0 {
		return nil, usagef("--sensitive %s: that was not asked for", extra)
	}
	if len(o.only) == 0 {
		return given, nil
	}
	var only []consent.Scope
	for _, text := range o.only {
		at := -1
		for i, scope := range given {
			narrow, err := consent.ParseScope(text, scope.Purpose)
			if err != nil {
				return nil, usagef("--only: %w", err)
			}
			narrow.DataFrom, narrow.DataUntil, narrow.Sensitivities = scope.DataFrom, scope.DataUntil, scope.Sensitivities
			if scope.Covers(narrow) {
				at = i
				only = append(only, narrow)
				break
			}
		}
		if at < 0 {
			return nil, usagef("--only %s: that was not asked for", text)
		}
	}
	return only, nil
}

// sign asks, signs and anchors.
func (o *consentOptions) sign(ctx context.Context, w *wallet.Wallet, draft *wallet.Draft) (*consent.GrantDocument, error) {
	if o.send && len(relaysOf(w)) == 0 {
		return nil, wallet.ErrNoRelay
	}
	if err := draft.Check(w.Signer.Address(), uint64(o.now().Unix())); err != nil {
		return nil, err
	}
	names, err := w.Names(ctx)
	if err != nil {
		return nil, err
	}
	contract, err := w.Registry.IsContract(ctx, draft.Grantee)
	if err != nil {
		return nil, err
	}
	o.say("You would sign:\n\n%s\n", draft.Describe(names))
	if err := o.acceptRisks(ctx, draft.Risks(contract)); err != nil {
		return nil, err
	}
	if err := o.yesNoQuestion(ctx, o.yes, "Sign this?"); err != nil {
		return nil, err
	}
	grant, err := w.Grant(ctx, draft)
	if err == nil {
		o.say("anchored: the chain has it, so it counts")
	}
	return grant, err
}

// print prints a grant that counts.
func (o *consentOptions) print(grant *consent.GrantDocument) error {
	if err := o.document(grant); err != nil {
		return fmt.Errorf("print the grant: %w; it counts and is kept: print it again with “assent show %s --document”", err, grant.ID())
	}
	return nil
}

// sendGrant sends a grant to whoever it is given to, where that is asked for.
func (o *consentOptions) sendGrant(ctx context.Context, w *wallet.Wallet, grant *consent.GrantDocument) error {
	if !o.send {
		return nil
	}
	if err := o.deliver(ctx, w, grant.Grant.Grantee, w.Enclose(ctx, grant)); err != nil {
		return fmt.Errorf("%w; the grant counts and is kept: hand it over as a file, which “assent show %s --document” prints", err, grant.ID())
	}
	return nil
}

// acceptRisks has every risk accepted by its name, or asks about it.
func (o *consentOptions) acceptRisks(ctx context.Context, risks []consent.Risk) error {
	for _, name := range o.accepted {
		if !slices.ContainsFunc(risks, func(r consent.Risk) bool { return r.Name == name }) {
			return usagef("--accept-risk %s: this grant does not have that risk", consent.Quote(name))
		}
	}
	var open []string
	for _, risk := range risks {
		o.say("Risk %s: %s", risk.Name, risk.Words)
		if slices.Contains(o.accepted, risk.Name) {
			continue
		}
		open = append(open, "--accept-risk "+risk.Name)
		if o.yes {
			continue
		}
		if err := o.yesNoQuestion(ctx, false, "Do you accept that?"); err != nil {
			return err
		}
	}
	if o.yes && len(open) > 0 {
		return usagef("--yes does not accept risks: if you mean it, add %s", strings.Join(open, " "))
	}
	return nil
}

type handoffOptions struct {
	consentOptions
	grant   string
	grantee string
}

func handoffCommand(a *app) *cobra.Command {
	o := &handoffOptions{consentOptions: consentOptions{app: a}}
	c := &cobra.Command{
		Use:   "handoff",
		Short: "Pass on part of a grant that you were given",
		Long: `Signs a grant that rests on one you were given: to someone else, for part of what
you may do, no longer and no wider. It ends when the grant above it ends. What you
do not pass on stays hidden from whoever gets it.`,
		Example: `  assent handoff --grant labs.grant.json --grantee laboratory.card.json \
         --scope 'patient/Observation.r?category=laboratory' --for 7d > labs.handoff.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHandoff(cmd.Context(), o) },
	}
	flags := c.Flags()
	flags.StringVar(&o.grant, "grant", "", "the grant to pass on: a file, or - for standard input")
	flags.StringVar(&o.grantee, "grantee", "", "to whom: an address, or the file of a card")
	o.scopes.add(flags, "")
	o.add(c)
	return c
}

func runHandoff(ctx context.Context, o *handoffOptions) error {
	if o.grant == "" || o.grantee == "" || len(o.scopes.texts) == 0 {
		return usagef("a hand-off needs --grant, --grantee and at least one --scope")
	}
	parent, err := readDocument(o.app, o.grant, consent.ReadGrant)
	if err != nil {
		return err
	}
	draft := &wallet.Draft{Parent: parent, Handoffs: o.handoffs, NotBefore: parent.Grant.NotBefore, Expires: parent.Grant.Expires}
	if o.span.given() {
		if draft.NotBefore, draft.Expires, err = o.span.resolve(o.now()); err != nil {
			return err
		}
	}
	wish, err := o.scopes.wish()
	if err != nil {
		return err
	}
	holders, err := o.parties(o.holders)
	if err != nil {
		return err
	}
	if len(holders) > 0 {
		wish.Holders = accounts(holders)
	}
	grantee, err := o.party(o.grantee)
	if err != nil {
		return err
	}
	draft.Grantee = grantee.account
	if draft.Provisions, err = wish.Fit(parent); err != nil {
		return err
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		if err := o.resume(ctx, w); err != nil {
			return err
		}
		if err := meet(ctx, w, append(holders, grantee)...); err != nil {
			return err
		}
		grant, err := o.sign(ctx, w, draft)
		if err != nil {
			return err
		}
		return errors.Join(o.print(grant), o.sendGrant(ctx, w, grant))
	})
}

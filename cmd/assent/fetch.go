package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/gateway"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

// sideBySide is how many data holders are asked at once.
const sideBySide = 4

type fetchOptions struct {
	*app
	grant, cover, out string
	from              []string
	ndjson            bool
	scopes            scopes
}

func fetchCommand(a *app) *cobra.Command {
	o := &fetchOptions{app: a}
	c := &cobra.Command{
		Use:   "fetch",
		Short: "Get the records that a grant permits, from every data holder in it",
		Long: `Asks each data holder that the grant names, side by side, and puts all that they
release into one FHIR Bundle, or with --ndjson one resource on each line. Every
holder is asked with a fresh access and a fresh key, so that nobody else can use
what is sent to it.

Where a holder is reached comes from --from, else from the cover note, else from
the address book. The host is shown: a note proves nothing. What fails keeps nothing
back of what came before it, from the same holder or another, and the exit code then
is 1; it is 3 where every holder denied, and 5 where the chain could not be followed.`,
		Example: `  assent fetch --grant labs.grant.json --out labs.json
  assent fetch --grant labs.grant.json --cover labs.cover.json --ndjson > labs.ndjson
  assent fetch --grant labs.grant.json --from https://fhir.hospital.example --scope patient/Immunization.rs`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFetch(cmd.Context(), o) },
	}
	flags := c.Flags()
	flags.StringVar(&o.grant, "grant", "", "the grant to use: a file, or - for standard input")
	flags.StringArrayVar(&o.from, "from", nil, "only from the data holder at this URL (repeatable)")
	flags.StringVar(&o.cover, "cover", "", "the cover note that says where the data holders are reached")
	flags.StringVar(&o.out, "out", "", "the file to write, whole or not at all (default standard output)")
	flags.BoolVar(&o.ndjson, "ndjson", false, "write one resource on each line, in place of a Bundle")
	o.scopes.add(flags, "")
	return c
}

func runFetch(ctx context.Context, o *fetchOptions) error {
	switch {
	case o.grant == "":
		return usagef("a fetch needs --grant")
	case o.json && o.out == "":
		return usagef("--json prints a summary, and the records go to standard output: give --out as well")
	case o.cover != "" && len(o.from) > 0:
		return usagef("--from and --cover say the same thing: give one of them")
	}
	grant, err := readDocument(o.app, o.grant, consent.ReadGrant)
	if err != nil {
		return err
	}
	note := new(consent.Cover)
	if o.cover != "" {
		if note, err = readDocument(o.app, o.cover, consent.ReadCover); err != nil {
			return err
		}
	}
	wish, err := o.scopes.wish()
	if err != nil {
		return err
	}
	return o.withWallet(ctx, func(w *wallet.Wallet) error {
		names, err := w.Names(ctx)
		if err != nil {
			return err
		}
		sources, err := o.sources(ctx, w, grant, note)
		if err != nil {
			return err
		}
		for _, s := range sources {
			s.called = calledAt(names, s.Gateway)
			if s.noted && s.Name != "" && names[s.Account] == "" {
				s.called = fmt.Sprintf("%s, which the note calls %s, at %s", s.Account, consent.Quote(s.Name), hostOf(s.URL))
			}
			s.ask(wish, grant)
		}
		return o.fetch(ctx, w, grant, sources)
	})
}

// source is one data holder of a fetch, and what came of it.
type source struct {
	consent.Gateway
	noted  bool   // where it is only a note says
	called string // who it is and where, for people
	scopes []consent.Scope
	counts map[string]int // resources that it released, by type
	pages  int
	err    error
}

// sources gives the data holders to ask: those at --from, else those that the
// grant names, with what is known of where they are.
func (o *fetchOptions) sources(ctx context.Context, w *wallet.Wallet, grant *consent.GrantDocument, note *consent.Cover) ([]*source, error) {
	named := wallet.HoldersOf(grant.Provisions)
	anyHolder := slices.Contains(named, common.Address{})
	var sources []*source
	if len(o.from) > 0 {
		for _, at := range o.from {
			said, err := whoIs(ctx, at)
			if err != nil {
				return nil, err
			}
			if !anyHolder && !slices.Contains(named, said.Holder) {
				return nil, fmt.Errorf("the gateway at %s says that it is the data holder %s, which the grant does not name", hostOf(at), said.Holder)
			}
			if slices.ContainsFunc(sources, func(s *source) bool { return s.Account == said.Holder }) {
				return nil, usagef("--from %s: the same data holder stands behind another --from", at)
			}
			sources = append(sources, &source{Gateway: consent.Gateway{Account: said.Holder, URL: at}})
		}
		return sources, nil
	}
	if anyHolder { // it counts everywhere: also where only the note says that there is a record
		for _, g := range note.Holders {
			if !slices.Contains(named, g.Account) {
				named = append(named, g.Account)
			}
		}
	}
	for _, account := range named {
		if account == (common.Address{}) {
			continue
		}
		s := &source{Gateway: consent.Gateway{Account: account}}
		if at := slices.IndexFunc(note.Holders, func(g consent.Gateway) bool { return g.Account == account }); at >= 0 {
			s.Gateway, s.noted = note.Holders[at], true
		} else if known, err := w.Holder(ctx, account); err == nil {
			s.Gateway = known
		} else {
			s.err = err
		}
		sources = append(sources, s)
	}
	if len(sources) == 0 {
		return nil, usagef("the grant counts at any data holder and names none: give --from, or a note with --cover")
	}
	return sources, nil
}

// ask works out which scopes to ask a data holder for.
func (s *source) ask(wish *wallet.Wish, grant *consent.GrantDocument) {
	if s.err != nil {
		return
	}
	want := *wish
	want.Holders = []common.Address{s.Account}
	fitting, err := want.Fit(grant)
	for _, p := range fitting {
		s.scopes = append(s.scopes, p.Scope)
	}
	s.err = err
}

// fetch asks all data holders, writes what they release and tells how it went.
func (o *fetchOptions) fetch(ctx context.Context, w *wallet.Wallet, grant *consent.GrantDocument, sources []*source) error {
	out, err := newRecordWriter(o.out, o.stdout, o.ndjson)
	if err != nil {
		return err
	}
	defer out.discard()
	shown := newProgress(o.stderr, len(sources))
	var group sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for _, s := range sources {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if s.err == nil {
				shown.say("asking %s", s.called)
				s.err = s.fetch(ctx, w, grant, out, shown)
			}
			shown.done(s)
		})
	}
	group.Wait()
	shown.clear()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := &holdersError{of: len(sources)}
	for _, s := range sources {
		if s.err != nil {
			failed.sources = append(failed.sources, s)
		}
	}
	kept := out.count > 0 || len(failed.sources) < len(sources)
	if kept {
		if err := out.close(); err != nil {
			return fmt.Errorf("write the records: %w", err)
		}
	}
	if kept && o.out != "" || o.json {
		summary := o.summary(out, sources)
		if !kept {
			summary.Out = ""
		}
		if err := o.result(summary, func(people io.Writer) {
			fmt.Fprintf(people, "%s in %s\n", number(out.count, "resource"), o.out)
		}); err != nil {
			return err
		}
	}
	if len(failed.sources) > 0 {
		return failed
	}
	return nil
}

// fetch gets from one data holder all that the access opens and that can be
// listed.
func (s *source) fetch(ctx context.Context, w *wallet.Wallet, grant *consent.GrantDocument, out *recordWriter, shown *progress) error {
	client, err := gateway.NewClient(s.URL)
	if err != nil {
		return err
	}
	defer client.Close()
	client.Access = func(ctx context.Context, binding common.Hash) (*consent.AccessDocument, error) {
		return w.Access(ctx, grant, s.Account, s.scopes, binding)
	}
	s.counts = make(map[string]int)
	take := func(r gateway.Resource) error {
		added, err := out.add(s.URL, r)
		if added {
			s.counts[r.Type]++
			shown.count()
		}
		return err
	}
	plan := planOf(s.scopes)
	if plan.everything {
		pages, err := client.Everything(ctx, take)
		s.pages += pages
		return err
	}
	for _, query := range plan.searches {
		pages, err := client.Search(ctx, query, take)
		s.pages += pages
		if err != nil {
			return err
		}
	}
	if plan.person {
		person, err := client.Person(ctx)
		if err == nil {
			err = take(person)
		}
		if err != nil {
			return err
		}
		s.pages++
	}
	if len(plan.unlisted) > 0 {
		return fmt.Errorf("%s permits reading by id and no search, so that nothing can be listed", strings.Join(plan.unlisted, ", "))
	}
	return nil
}

// plan is how to list what scopes open.
type plan struct {
	everything bool     // with Patient/$everything
	person     bool     // the Patient resource alone
	searches   []string // Type?parameters
	unlisted   []string // scopes that permit no search
}

// pageSize is how many resources a page is to have (FHIR R4, _count).
const pageSize = 100

func planOf(scopes []consent.Scope) plan {
	var p plan
	for i := range scopes {
		scope := &scopes[i]
		switch {
		case scope.Interactions&consent.Search == 0 && scope.Interactions&consent.Read != 0 && scope.Resource == "Patient":
			p.person = true
		case scope.Interactions&consent.Search == 0:
			p.unlisted = append(p.unlisted, scope.String())
		case scope.Resource == consent.AnyResource:
			p.everything = true
		default:
			query := scope.Resource + "?"
			if scope.Filter != "" {
				query += scope.Filter + "&"
			}
			if query += fmt.Sprintf("_count=%d", pageSize); !slices.Contains(p.searches, query) {
				p.searches = append(p.searches, query)
			}
		}
	}
	return p
}

// fetched is a fetch as --json prints it.
type fetched struct {
	Out       string        `json:"out"` // empty: nothing came and nothing was written
	Resources int           `json:"resources"`
	Holders   []fetchedFrom `json:"holders"`
}

type fetchedFrom struct {
	Account   string         `json:"account"`
	URL       string         `json:"url"`
	State     string         `json:"state"` // done, denied, failed
	Reason    string         `json:"reason"`
	Pages     int            `json:"pages"`
	Resources map[string]int `json:"resources"` // by type
}

func (o *fetchOptions) summary(out *recordWriter, sources []*source) fetched {
	f := fetched{Out: o.out, Resources: out.count}
	for _, s := range sources {
		from := fetchedFrom{Account: s.Account.Hex(), URL: s.URL, State: "done", Pages: s.pages, Resources: s.counts}
		if from.Resources == nil {
			from.Resources = map[string]int{}
		}
		if s.err != nil {
			from.State, from.Reason = "failed", s.why()
			if s.denied() {
				from.State = "denied"
			}
		}
		f.Holders = append(f.Holders, from)
	}
	return f
}

func (s *source) denied() bool {
	refused, ok := errors.AsType[*gateway.RefusedError](s.err)
	return ok && refused.Denied()
}

func (s *source) chain() bool {
	refused, ok := errors.AsType[*gateway.RefusedError](s.err)
	return ok && refused.ChainTooOld() || registry.IsChainError(s.err)
}

// why says on one line why a data holder released nothing, or not all.
func (s *source) why() string { return strings.ReplaceAll(s.err.Error(), "\n", "; ") }

// holdersError is that some data holders did not give what they were asked for,
// or none did.
type holdersError struct {
	sources []*source // those that did not
	of      int
}

func (e *holdersError) Error() string {
	var text []string
	for _, s := range e.sources {
		text = append(text, s.called+": "+s.why())
	}
	if e.of == 1 {
		return text[0]
	}
	return fmt.Sprintf("%d of %d data holders: %s", len(e.sources), e.of, strings.Join(text, "; "))
}

func (e *holdersError) exitCode() int {
	denied, chain := 0, 0
	for _, s := range e.sources {
		switch {
		case s.denied():
			denied++
		case s.chain():
			chain++
		}
	}
	switch {
	case denied == e.of:
		return exitDenied
	case chain > 0 && denied+chain == e.of:
		return exitChain
	}
	return exitFailed
}

// progress says how far a fetch is: one line that changes on a terminal, and
// else one for each data holder.
type progress struct {
	mu        sync.Mutex
	out       io.Writer
	moving    bool
	resources int
	ended, of int
}

func newProgress(out io.Writer, of int) *progress {
	file, ok := out.(*os.File)
	return &progress{out: out, of: of, moving: ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"}
}

const eraseLine = "\r\x1b[K"

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moving {
		fmt.Fprint(p.out, eraseLine)
	}
	fmt.Fprintf(p.out, format+"\n", args...)
	p.draw()
}

func (p *progress) draw() {
	if p.moving {
		fmt.Fprintf(p.out, "%s%d of %s, %s", eraseLine, p.ended, number(p.of, "data holder"), number(p.resources, "resource"))
	}
}

func (p *progress) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resources++; p.resources%pageSize == 0 {
		p.draw()
	}
}

func (p *progress) done(s *source) {
	p.mu.Lock()
	p.ended++
	p.mu.Unlock()
	if s.err == nil {
		p.say("%s: %s", s.called, tally(s.counts))
	}
}

func (p *progress) clear() {
	if p.moving {
		fmt.Fprint(p.out, eraseLine)
	}
}

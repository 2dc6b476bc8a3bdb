package tui

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/huh"
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// lines is the app as one plain question after the other, for screen readers:
// the same tasks by the same use cases, with nothing painted twice.
type lines struct {
	ctx context.Context
	m   *Model // what is known, and how it is said; it paints nothing here
	in  *oneLine
	out io.Writer
}

// RunLines runs the app in plain lines until its person ends it, or the input
// ends.
func RunLines(ctx context.Context, door Door, o Options, in io.Reader, out io.Writer) error {
	m := New(ctx, door, o)
	defer m.Close()
	l := &lines{ctx, m, &oneLine{reader: bufio.NewReader(in), fd: ^uintptr(0)}, out}
	if file, ok := in.(interface{ Fd() uintptr }); ok {
		l.in.fd = file.Fd()
	}
	err := l.run()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// oneLine gives one line to each reader, so that a question takes no more than
// its own answer.
type oneLine struct {
	reader *bufio.Reader
	rest   []byte
	ended  bool
	fd     uintptr
}

// Fd gives the terminal, for a password that is not shown.
func (r *oneLine) Fd() uintptr { return r.fd }

func (r *oneLine) Read(into []byte) (int, error) {
	if len(r.rest) == 0 {
		line, _ := r.reader.ReadBytes('\n')
		if len(line) == 0 {
			// Without an answer that it takes, a question would go on with the one
			// that it refused.
			r.ended, line = true, []byte("\n")
		}
		r.rest = line
	}
	n := copy(into, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// within calls the outside, and gives up after a while.
func within[T any](l *lines, limit time.Duration, do func(context.Context) (T, error)) (value T, err error) {
	cmd := start(l.m, "lines", limit, do, func(v T, e error) tea.Cmd {
		value, err = v, e
		return nil
	})
	l.m.Update(cmd())
	return value, err
}

func (l *lines) say(format string, args ...any) { fmt.Fprintf(l.out, format+"\n", args...) }

// choose asks for one of several; the first is the default.
func (l *lines) choose(question string, options ...string) (int, error) {
	chosen := 0
	var list []huh.Option[int]
	for i, option := range options {
		list = append(list, huh.NewOption(option, i))
	}
	l.say("")
	field := huh.NewSelect[int]().Title(question).Options(list...).Value(&chosen).WithTheme(new(huh.Theme))
	return chosen, l.ask(field)
}

// confirm asks yes or no; no is the default.
func (l *lines) confirm(question string) (bool, error) {
	var yes bool
	return yes, l.ask(huh.NewConfirm().Title(question).Value(&yes).WithTheme(new(huh.Theme)))
}

// line asks for a line.
func (l *lines) line(question string) (string, error) {
	var text string
	return text, l.ask(huh.NewInput().Title(question).Value(&text).WithTheme(new(huh.Theme)))
}

func (l *lines) ask(field huh.Field) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	if err := field.RunAccessible(l.out, l.in); err != nil {
		return err
	}
	if l.in.ended {
		return io.EOF // what the field answered then is its default
	}
	return l.ctx.Err()
}

// page puts the question of a page, and again until its answer will do, or is
// empty.
func (l *lines) page(p *askPage) error {
	l.m.over = nil
	for {
		l.say("%s", p.hint)
		text, err := l.line(p.question)
		if err != nil {
			return err
		}
		if _, err = p.done(text); err == nil || text == "" {
			return nil
		}
		l.say("%s.", plain(err))
	}
}

func (l *lines) run() error {
	status, err := within(l, lookLimit, l.m.door.Look)
	if err != nil {
		return err
	}
	l.m.status = status
	if status.Wallet == "" {
		if made, err := l.welcome(); err != nil || !made {
			return err
		}
	}
	if err := l.unlock(); err != nil {
		return err
	}
	for {
		l.collect()
		if err := l.load(); err != nil {
			l.say("The store does not answer: %s.", plain(err))
			if again, err := l.confirm("Try again?"); err != nil || !again {
				return err
			}
			continue
		}
		s := l.m.state
		options := []string{
			fmt.Sprintf("See who has access (%d active, %d end soon)", s.active, s.soon),
			fmt.Sprintf("Answer a request (%d waiting)", len(s.Waiting)),
			"Add a request", "Take access back", "Give access on your own",
			"See what happened", "See and verify people", "The wallet: card, backup, network",
			"Ask the data holders who looked at your record",
		}
		tasks := []func() error{l.access, l.answer, l.add, l.revoke, l.give, l.activity, l.people, l.wallet, l.whoLooked}
		if l.m.noMailbox() {
			options, tasks = append(options, "Open a mailbox, so that requests come by themselves"), append(tasks, l.mailbox)
		}
		task, err := l.choose(fmt.Sprintf("Network %s, block %s. What would you like to do?", l.m.status.Network, thousands(s.Block)), append(options, "Quit")...)
		if err != nil {
			return err
		}
		if task == len(tasks) {
			return nil
		}
		if err := tasks[task](); err != nil {
			return err
		}
	}
}

// unlock opens the wallet, and goes on with what was not finished.
func (l *lines) unlock() (err error) {
	var password []byte
	if l.m.status.Password {
		if password, err = l.password("The password of the wallet " + l.m.status.Wallet); err != nil {
			return err
		}
	}
	l.say("Opening the wallet %s. A window may ask you to unlock the keyring.", l.m.status.Wallet)
	l.m.session, err = within(l, openLimit, func(ctx context.Context) (*Session, error) {
		defer clear(password)
		return l.m.door.Open(ctx, password)
	})
	if err != nil {
		return err
	}
	l.m.watch = l.m.session.Wallet.Watch()
	if posted, err := within(l, postLimit, l.m.session.Wallet.Resume); err != nil {
		l.say("What was signed before is not anchored yet: %s.", plain(err))
	} else if posted > 0 {
		l.say("Anchored what was signed before: %s.", count(posted, "grant"))
	}
	return nil
}

// collect takes in what came by letter.
func (l *lines) collect() {
	collect := l.m.session.Collect
	if collect == nil {
		return
	}
	if open, err := within(l, fileLimit, l.m.session.Wallet.Published); err != nil || !open {
		return // what is wrong with the store the load says
	}
	came, err := within(l, sendLimit, func(ctx context.Context) (int, error) { return collect(ctx, false) })
	if came > 0 {
		l.say("%s came by letter.", count(came, "document"))
	}
	if err != nil {
		l.say("The mailbox does not answer: %s.", plain(err))
	}
}

// mailbox opens one, once its person was asked.
func (l *lines) mailbox() error {
	l.say("%s", l.m.aboutMailbox())
	yes, err := l.confirm("Open a mailbox?")
	if err != nil || !yes {
		return err
	}
	open, err := within(l, sendLimit, l.m.session.openMailbox)
	words := openedWords(open, err)
	l.say("%s.", strings.ToUpper(words[:1])+words[1:])
	return nil
}

func (l *lines) load() error {
	o, err := within(l, loadLimit, func(ctx context.Context) (*state, error) { return l.m.session.state(ctx, l.m.watch.Overview) })
	if err != nil {
		return err
	}
	l.m.state = o
	l.m.head.Block = o.Block
	if o.Unread != nil {
		l.say("The chain does not answer, so nothing is known of any grant: %s.", plain(o.Unread))
	}
	if o.Damaged != nil {
		l.say("Part of the store cannot be read: %s.", plain(o.Damaged))
	}
	return nil
}

// wide is as wide as a line needs: nothing is cut or wrapped here.
const wide = 10_000

func (l *lines) row(r *row) string {
	g := &r.Document.Grant
	word := string(r.phase)
	if r.phase == wallet.PhaseActive && ending(g.Expires, l.m.state.Time) {
		word += ", ends in " + left(g.Expires-l.m.state.Time)
	}
	return fmt.Sprintf("%s, %s %s, %s, until %s", word, direction(r.Entry), l.m.who(r.With(), wide), r.what, date(g.Expires))
}

// rows lists grants, those that a filter leaves.
func (l *lines) rows(question string, of func(*row) bool) (*row, error) {
	var filter string
	if len(l.m.state.rows) > 20 {
		var err error
		if filter, err = l.line("Only those with these words (nothing for all):"); err != nil {
			return nil, err
		}
	}
	var rows []*row
	options := []string{"Back"}
	for _, r := range search(l.m.state.rows, l.m.state.hays.rows, filter) {
		if of(r) {
			rows, options = append(rows, r), append(options, l.row(r))
		}
	}
	if len(rows) == 0 {
		l.say("There is no such grant.")
		return nil, nil
	}
	chosen, err := l.choose(question, options...)
	if err != nil || chosen == 0 {
		return nil, err
	}
	return rows[chosen-1], nil
}

func (l *lines) access() error {
	r, err := l.rows("Who has access. Which one would you see whole?", func(*row) bool { return true })
	if err != nil || r == nil {
		return err
	}
	l.say("%s", strings.Join(l.m.describe(r, wide), "\n"))
	if r.Anchored == 0 {
		return nil
	}
	return l.save(r.Document)
}

// send sends a grant to the mailbox of whoever it is given to, if its person
// says so.
func (l *lines) send(d *consent.GrantDocument) error {
	deliver := l.m.session.Deliver
	if deliver == nil {
		return nil
	}
	yes, err := l.confirm("Send it by letter?")
	if err != nil || !yes {
		return err
	}
	url, err := within(l, sendLimit, func(ctx context.Context) (string, error) { return deliver(ctx, d) })
	if err != nil {
		l.say("Not sent: %s.", plain(err))
		return nil
	}
	l.say("Sent, sealed, to the mailbox of %s at %s.", l.m.party(d.Grant.Grantee), consent.Quote(url))
	return nil
}

// save writes a grant to a file, if its person says so.
func (l *lines) save(d *consent.GrantDocument) error {
	write, err := l.confirm("Write it to a file, for whoever may use it?")
	if err != nil || !write {
		return err
	}
	path, err := within(l, fileLimit, func(ctx context.Context) (string, error) {
		return l.m.door.Save(ctx, d.ID().Hex()[:10]+".grant.json", d)
	})
	if err != nil {
		l.say("Not written: %s.", plain(err))
		return nil
	}
	l.say("Written to %s.", plain(errors.New(path)))
	return nil
}

func (l *lines) add() error {
	text, err := l.line("The path of a request, or the whole document on one line:")
	if err != nil || strings.TrimSpace(text) == "" {
		return err
	}
	if _, err = within(l, fileLimit+loadLimit, func(ctx context.Context) (common.Hash, error) {
		request, err := readDocument(strings.TrimSpace(text), "request", consent.ReadRequest)
		if err != nil {
			return common.Hash{}, err
		}
		return l.m.session.Wallet.Take(ctx, request)
	}); err != nil {
		l.say("Not taken: %s.", plain(err))
		return nil
	}
	l.say("The request waits for your answer.")
	return nil
}

func (l *lines) answer() error {
	options := []string{"Back"}
	for i := range l.m.state.Waiting {
		asked := &l.m.state.Waiting[i]
		text := fmt.Sprintf("%s, %s, asked %s", consent.Quote(asked.Document.Card.Card.Name), asked.Document.Request.Requester, date(asked.Document.Request.Time))
		if asked.First {
			text += ", first request from this key"
		}
		options = append(options, text)
	}
	if len(options) == 1 {
		l.say("Nobody asks for anything.")
		return nil
	}
	chosen, err := l.choose("Which request?", options...)
	if err != nil || chosen == 0 {
		return err
	}
	asked := &l.m.state.Waiting[chosen-1]
	l.say("%s", consent.DescribeRequest(asked.Document))
	return l.review(newReview(l.m, asked))
}

// review has a person narrow what they would give, and sign it.
func (l *lines) review(p *reviewPage) error {
	for {
		l.say("")
		for i := range p.scopes {
			word := "Given"
			if !p.given[i] {
				word = "Not given"
			}
			l.say("%s: %s.", word, p.scopes[i].Words())
		}
		l.say("Until %s.", moment(p.expires(l.m.now())))
		options := []string{"Back, and answer later", "Sign", "Deny"}
		var acts []func() error
		for i := range p.scopes {
			options = append(options, "Give or not: "+p.limits[i].What(), "Narrow: "+p.limits[i].What())
			acts = append(acts, func() error { p.given[i] = !p.given[i]; return nil }, func() error { return l.narrow(p, i) })
		}
		for i, holder := range p.offered {
			name, word := "any data holder", "Not at"
			if holder != (common.Address{}) {
				name = l.m.party(holder)
			}
			if p.at[i] {
				word = "At"
			}
			options = append(options, word+" "+name+" (changes it)")
			acts = append(acts, func() error { p.at[i] = !p.at[i]; return nil })
		}
		for i, days := range spans {
			options = append(options, fmt.Sprintf("Until %d days from now", days))
			acts = append(acts, func() error { p.span = i; return nil })
		}
		options = append(options, "Until a day of your own")
		acts = append(acts, func() error { return l.page(p.askUntil(l.m)) })
		chosen, err := l.choose("What would you do?", options...)
		switch {
		case err != nil || chosen == 0:
			return err
		case chosen == 1:
			if done, err := l.sign(p); err != nil || done {
				return err
			}
		case chosen == 2:
			return l.deny(p)
		default:
			if err := acts[chosen-3](); err != nil {
				return err
			}
		}
	}
}

func (l *lines) narrow(p *reviewPage, i int) error {
	page := &narrowPage{of: p, i: i}
	for {
		knobs := page.knobs(l.m)
		options := []string{"Done"}
		for _, k := range knobs {
			text := k.label + ": " + k.value
			if k.set {
				text = map[bool]string{true: "Yes: ", false: "No: "}[k.on] + k.label
			}
			options = append(options, text)
		}
		chosen, err := l.choose("Narrow what? It may "+p.scopes[i].Words()+".", options...)
		if err != nil || chosen == 0 {
			return err
		}
		k := knobs[chosen-1]
		if k.why != "" {
			l.say("%s.", k.why)
			continue
		}
		l.m.over = nil
		k.turn()
		if ask, ok := l.m.top().(*askPage); ok {
			if err := l.page(ask); err != nil {
				return err
			}
		}
	}
}

// sign says what would be signed, names its risks, and asks.
func (l *lines) sign(p *reviewPage) (done bool, err error) {
	draft, err := p.draft(l.m)
	if err != nil {
		l.say("Nothing can be signed yet: %s.", plain(err))
		return false, nil
	}
	know, err := within(l, loadLimit, func(ctx context.Context) (prepared, error) { return l.m.session.know(ctx, draft) })
	if err != nil {
		l.say("Nothing is signed: %s.", plain(err))
		return false, nil
	}
	l.say("\nYou would sign:\n\n%s", draft.Describe(know.names))
	risks := draft.Risks(know.contract)
	for _, risk := range risks {
		l.say("Risk %s: %s.", risk.Name, risk.Words)
	}
	if len(risks) > 0 {
		word, err := l.line("Type " + acceptWord + " to sign this with its risks; anything else is no:")
		if err != nil {
			return false, err
		}
		if strings.TrimSpace(word) != acceptWord {
			l.say("Nothing was signed: the answer was no.")
			return false, nil
		}
	} else if yes, err := l.confirm("Sign this?"); err != nil || !yes {
		if err == nil {
			l.say("Nothing was signed: the answer was no.")
		}
		return false, err
	}
	w := l.m.session.Wallet
	l.say("Signing.")
	d, err := within(l, signLimit, func(ctx context.Context) (*consent.GrantDocument, error) { return w.Sign(ctx, draft) })
	if err != nil {
		l.say("Nothing is known to be signed: %s.", plain(err))
		return true, nil
	}
	l.say("Sent: waiting for the chain.")
	if _, err = within(l, postLimit, func(ctx context.Context) (struct{}, error) { return struct{}{}, w.Post(ctx, d) }); err != nil {
		l.say("It is kept, and not anchored, so it does not count yet: %s.", plain(err))
		return true, nil
	}
	l.say("Anchored: it counts from now on.")
	if err := l.send(d); err != nil {
		return true, err
	}
	return true, l.save(d)
}

func (l *lines) deny(p *reviewPage) error {
	if p.asked == nil {
		l.say("There is no request to deny: go back instead.")
		return nil
	}
	yes, err := l.confirm("Deny it? Nothing is signed, and nobody is told.")
	if err != nil || !yes {
		return err
	}
	if _, err := within(l, fileLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.m.session.Wallet.Deny(ctx, p.asked.Document)
	}); err != nil {
		l.say("Not denied: %s.", plain(err))
		return nil
	}
	l.say("Denied: nothing was signed.")
	return nil
}

func (l *lines) revoke() error {
	w := l.m.session.Wallet
	how, err := l.choose("Take back what?", "Nothing", "One grant", "All from one person", "Everything that you ever gave")
	if err != nil || how == 0 {
		return err
	}
	var prepare func(context.Context) (*wallet.Revocation, error)
	what := "everything that you ever gave, to anybody"
	switch how {
	case 1:
		r, err := l.rows("Which grant?", func(r *row) bool { return r.Given && rank[r.phase] <= rank[wallet.PhaseNotYet] })
		if err != nil || r == nil {
			return err
		}
		what = "the grant to " + l.m.party(r.With())
		prepare = func(ctx context.Context) (*wallet.Revocation, error) { return w.RevokeGrant(ctx, r.Document) }
	case 2:
		r, err := l.rows("All from the person of which grant?", func(r *row) bool { return r.Given })
		if err != nil || r == nil {
			return err
		}
		what = "everything that you gave to " + l.m.party(r.With())
		prepare = func(ctx context.Context) (*wallet.Revocation, error) { return w.RevokeGrantee(ctx, r.With()) }
	default:
		prepare = w.RevokeEverything
	}
	revocation, err := within(l, loadLimit, prepare)
	if err != nil {
		l.say("Nothing was taken back: %s.", plain(err))
		return nil
	}
	l.say("This ends %s: %s.", what, counting(len(revocation.Grants)))
	for _, line := range l.m.ends(revocation) {
		l.say("%s", line)
	}
	yes, err := l.confirm("It takes effect in the next block and cannot be undone. Take it back?")
	if err != nil || !yes {
		return err
	}
	if _, err := within(l, postLimit, func(ctx context.Context) (struct{}, error) { return struct{}{}, w.Revoke(ctx, revocation) }); err != nil {
		l.say("It is not seen on chain, so it may not have ended: %s.", plain(err))
		return nil
	}
	l.say("Revoked: %s ended. Seen on chain.", count(len(revocation.Grants), "grant"))
	return nil
}

func (l *lines) give() error {
	options := []string{"Back", "Somebody new, by an address or a card"}
	for i := range l.m.state.People {
		options = append(options, l.m.person(&l.m.state.People[i], wide))
	}
	chosen, err := l.choose("Give to whom?", options...)
	if err != nil || chosen == 0 {
		return err
	}
	var to common.Address
	if chosen > 1 {
		to = l.m.state.People[chosen-2].Account
	} else if to, err = l.somebody(); err != nil || to == (common.Address{}) {
		return err
	}
	purposes := make([]string, len(givePurposes))
	for i, code := range givePurposes {
		purposes[i] = consent.PurposeWords(code)
	}
	purpose, err := l.choose("For what?", purposes...)
	if err != nil {
		return err
	}
	var scopes []consent.Scope
	for _, offer := range wallet.Offers {
		yes, err := l.confirm(fmt.Sprintf("Give %s (%s)?", offer.Name, strings.Join(offer.Scopes, " ")))
		if err != nil {
			return err
		}
		if yes {
			more, err := offer.For(givePurposes[purpose])
			if err != nil {
				return err
			}
			scopes = append(scopes, more...)
		}
	}
	if len(scopes) == 0 {
		l.say("Nothing was chosen.")
		return nil
	}
	return l.review(newGift(l.m, to, scopes))
}

// somebody asks for an address or a card; the zero address is nobody.
func (l *lines) somebody() (common.Address, error) {
	text, err := l.line("An address, or the path of a card:")
	if err != nil || strings.TrimSpace(text) == "" {
		return common.Address{}, err
	}
	text = strings.TrimSpace(text)
	account, err := within(l, fileLimit+loadLimit, func(ctx context.Context) (common.Address, error) {
		if strings.HasPrefix(text, "0x") {
			return consent.ParseAddress(text)
		}
		return l.m.session.meet(ctx, text)
	})
	if err != nil {
		l.say("Not taken: %s.", plain(err))
		return common.Address{}, nil
	}
	return account, nil
}

func (l *lines) activity() error {
	for i := range l.m.state.Events {
		e := &l.m.state.Events[i]
		if e.Told != nil {
			l.say("%s: %s, %s: %s %s at the data holder %s", moment(e.Time), acts[e.Act], provenWord(e), l.m.useWho(e, wide), e.Told.Did, l.m.who(e.Told.Holder, wide))
			continue
		}
		l.say("%s: %s %s", moment(e.Time), acts[e.Act], l.m.eventWho(e, wide))
	}
	if len(l.m.state.Events) == 0 {
		l.say("Nothing happened yet.")
	}
	return nil
}

// whoLooked asks the data holders, and says what they tell.
func (l *lines) whoLooked() error {
	followed, err := within(l, logsLimit, l.m.session.Audit)
	l.say("Read %s.", count(followed, "log"))
	if err != nil {
		l.say("Not all: %s.", plain(err))
	}
	if err := l.load(); err != nil {
		return err
	}
	return l.activity()
}

func (l *lines) people() error {
	options := []string{"Back", "Add a card"}
	for i := range l.m.state.People {
		options = append(options, l.m.person(&l.m.state.People[i], wide))
	}
	chosen, err := l.choose("Whose address would you compare?", options...)
	switch {
	case err != nil || chosen == 0:
		return err
	case chosen == 1:
		_, err := l.somebody()
		return err
	}
	person := &l.m.state.People[chosen-2]
	l.say("%s", l.m.about(person))
	yes, err := l.confirm("Let its owner read the address to you. Is every digit the same?")
	if err != nil || !yes {
		return err
	}
	if _, err := within(l, fileLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.m.session.Wallet.Verify(ctx, person.Account)
	}); err != nil {
		l.say("Not remembered: %s.", plain(err))
		return nil
	}
	l.say("Verified.")
	return nil
}

func (l *lines) wallet() error {
	page := new(walletPage)
	l.say("%s", strings.Join(page.view(l.m, wide, wide), "\n"))
	chosen, err := l.choose("What would you do with it?", "Back", "Write your card to a file", "Change the name on your card", "Back up: show the recovery phrase", "Choose another network")
	switch {
	case err != nil:
		return err
	case chosen == 1:
		return l.card("")
	case chosen == 2:
		name, err := l.line("What shall your key call itself?")
		if err != nil || name == "" {
			return err
		}
		return l.card(name)
	case chosen == 3:
		return l.backUp()
	case chosen == 4:
		if changed, err := l.network(); err != nil || !changed {
			return err
		}
		old := l.m.session
		l.m.session = nil
		old.Close()
		return l.unlock()
	}
	return nil
}

func (l *lines) card(name string) error {
	w := l.m.session.Wallet
	path, err := within(l, fileLimit, func(ctx context.Context) (string, error) {
		card, err := w.Card(ctx, name)
		if err != nil {
			return "", err
		}
		return l.m.door.Save(ctx, card.Card.Account.Hex()[:10]+".card.json", card)
	})
	if err != nil {
		l.say("Not written: %s.", plain(err))
		return nil
	}
	l.say("Your card is in %s: give it to whoever shall ask you.", plain(errors.New(path)))
	return nil
}

func (l *lines) backUp() error {
	yes, err := l.confirm("Whoever sees the words has the wallet. Is nobody looking on, and have you pen and paper?")
	if err != nil || !yes {
		return err
	}
	var password []byte
	if l.m.status.Profile.Secret == wallet.InFile {
		if password, err = l.password("The password of the wallet " + l.m.status.Wallet); err != nil {
			return err
		}
	}
	entropy, err := within(l, openLimit, func(ctx context.Context) ([]byte, error) {
		defer clear(password)
		return l.m.door.Secret(ctx, password)
	})
	if err != nil {
		l.say("The phrase cannot be shown: %s.", plain(err))
		return nil
	}
	defer clear(entropy)
	if err := l.showPhrase(entropy); err != nil {
		return err
	}
	l.m.status, err = within(l, lookLimit, l.m.door.Look)
	return err
}

// network chooses the network, and tells whether it is another one now.
func (l *lines) network() (changed bool, err error) {
	options := []string{"Stay with " + l.m.status.Network}
	for _, name := range l.m.status.Networks {
		if name != l.m.status.Network {
			options = append(options, name)
		}
	}
	chosen, err := l.choose("Which network? local is the chain inside this program.", options...)
	if err != nil || chosen == 0 {
		return false, err
	}
	if _, err := within(l, lookLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.m.door.UseNetwork(ctx, options[chosen])
	}); err != nil {
		l.say("Not changed: %s.", plain(err))
		return false, nil
	}
	l.m.status, err = within(l, lookLimit, l.m.door.Look)
	return err == nil, err
}

func (l *lines) password(question string) ([]byte, error) {
	var text string
	field := huh.NewInput().Title(question).EchoMode(huh.EchoModePassword).Value(&text).WithTheme(new(huh.Theme))
	if err := l.ask(field); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// welcome makes the first wallet, or restores it.
func (l *lines) welcome() (made bool, err error) {
	l.say("Welcome to Assent.\n\n%s", welcome)
	how, err := l.choose("What would you like to do?", "Quit", "Make a wallet", "Restore one from its phrase")
	if err != nil || how == 0 {
		return false, err
	}
	if len(l.m.status.Networks) > 1 {
		if _, err := l.network(); err != nil {
			return false, err
		}
	}
	var entropy []byte
	if how == 1 {
		entropy, err = wallet.NewEntropy(rand.Reader)
	} else {
		entropy, err = l.phrase()
	}
	if err != nil {
		return false, err
	}
	defer clear(entropy)
	where, err := l.choose("Where shall the key be kept?", "In the keyring of this computer", "In a file that a password encrypts")
	if err != nil {
		return false, err
	}
	var password []byte
	if where == 1 {
		for len([]rune(string(password))) < 8 {
			if password, err = l.password("A password of at least 8 characters:"); err != nil {
				return false, err
			}
		}
	}
	if _, err := within(l, openLimit, func(ctx context.Context) (struct{}, error) {
		defer clear(password)
		return struct{}{}, l.m.door.Keep(ctx, entropy, password, how == 2)
	}); err != nil {
		return false, err
	}
	if how == 1 {
		if err := l.showPhrase(entropy); err != nil {
			return false, err
		}
	}
	l.m.status, err = within(l, lookLimit, l.m.door.Look)
	return err == nil, err
}

func (l *lines) phrase() ([]byte, error) {
	for {
		text, err := l.line("The recovery phrase, on one line:")
		if err != nil {
			return nil, err
		}
		entropy, err := wallet.ParsePhrase(text)
		if err == nil {
			return entropy, nil
		}
		l.say("%s.", plain(err))
	}
}

// showPhrase shows the recovery phrase, once, and has three words typed back.
func (l *lines) showPhrase(entropy []byte) error {
	phrase, err := wallet.Phrase(entropy)
	if err != nil {
		return err
	}
	page := &phrasePage{words: strings.Fields(phrase)}
	defer clear(page.words)
	l.say("\nWrite these %d words on paper, in this order. Whoever reads them has the wallet.\n", len(page.words))
	for i, word := range page.words {
		l.say("%d %s", i+1, word)
	}
	for _, i := range page.asked() {
		for {
			word, err := l.line(fmt.Sprintf("Word %d, as you wrote it (or later):", i+1))
			if err != nil {
				return err
			}
			word = strings.ToLower(strings.TrimSpace(word))
			if word == page.words[i] { // which may be “later”
				break
			}
			if word == "later" {
				l.say("There is no backup yet: “assent wallet export” shows the words again.")
				return nil
			}
			l.say("That is another word. Look at your paper.")
		}
	}
	_, err = within(l, fileLimit, func(ctx context.Context) (struct{}, error) { return struct{}{}, l.m.door.BackedUp(ctx) })
	return err
}

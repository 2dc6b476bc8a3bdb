// Package tui is the terminal app that a patient lives in: who asks, who can see
// what, what happened, and how to give less and take back at once.
//
// It decides nothing: every question is put to a use case of package wallet.
// It never calls the keyring, the chain or the disk where the screen would wait
// for them; it shows foreign text only as consent.Quote gives it; and it calls
// nothing done that the wallet did not see on chain.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// How long the app waits before it says that something does not answer.
const (
	lookLimit = 5 * time.Second
	openLimit = 60 * time.Second // a person may be asked to unlock the keyring
	loadLimit = 30 * time.Second
	headLimit = 5 * time.Second
	signLimit = 20 * time.Second
	postLimit = 5 * time.Minute // relays may keep it waiting, one after the other
	fileLimit = 5 * time.Second
	mailLimit = 10 * time.Minute // it waits for letters
	sendLimit = time.Minute
	logsLimit = 2 * time.Minute // of all data holders
)

// The smallest terminal that the app draws in.
const (
	minWidth  = 40
	minHeight = 12
	sideWidth = 100 // from here on list and detail stand side by side
)

// page is one screen. It holds where its person is on it, and of what it shows
// nothing: that is the Model's.
type page interface {
	actions(m *Model) []action
	// view gives at most h lines; what is wider than w is cut.
	view(m *Model, w, h int) []string
}

// typist is a page where letters are typed and not keys.
type typist interface{ typing() *entry }

// paster is a page that takes what is pasted or dropped on it.
type paster interface {
	paste(m *Model, text string) tea.Cmd
}

// Options of the app.
type Options struct {
	Look Look
	Now  func() time.Time
	// Tick is how often the app looks at clock and chain; 0: each second.
	Tick time.Duration
}

// Model is the whole app.
type Model struct {
	ctx    context.Context
	door   Door
	now    func() time.Time
	every  time.Duration
	styles styles

	width, height int
	tab           int
	tabs          []page
	over          []page // what lies over the tab, the top one last
	note          string // one line that the next key takes away
	trouble       string // what does not answer at present

	status  Status
	session *Session
	watch   *wallet.Watch // of the session's wallet
	state   *state        // nil until it was loaded once
	head    Head
	slept   time.Time     // when the last load came in
	took    time.Duration // how long it took
	resumed time.Time     // when it was last tried to anchor what was not
	mailed  time.Time     // when letters were last waited for
	pressed bool          // a key was pressed

	jobs map[string]*job
	last uint64 // the id of the last job
}

// The screens, in the order of their keys.
const (
	tabRequests = iota
	tabAccess
	tabActivity
	tabPeople
	tabWallet
)

var tabNames = []string{"Requests", "Access", "Activity", "People", "Wallet"}

// New makes the app. It does nothing before it runs.
func New(ctx context.Context, door Door, o Options) *Model {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	m := &Model{
		ctx: ctx, door: door, now: o.Now, every: o.Tick, styles: newStyles(o.Look),
		width: 80, height: 24, jobs: make(map[string]*job), tab: tabAccess,
	}
	m.tabs = []page{&requestsPage{}, &accessPage{}, &activityPage{}, &peoplePage{}, &walletPage{}}
	return m
}

// Run runs the app on a terminal until its person quits.
func Run(ctx context.Context, door Door, o Options, in io.Reader, out io.Writer) error {
	m := New(ctx, door, o)
	defer m.Close()
	program := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithAltScreen())
	_, err := program.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Close closes the session. It is called once the app does not run any more.
func (m *Model) Close() {
	for _, j := range m.jobs {
		j.cancel()
	}
	if m.session != nil {
		m.session.Close()
		m.session = nil
	}
}

// Init begins with what there is.
func (m *Model) Init() tea.Cmd { return tea.Batch(m.look(), m.tick()) }

type tickMsg struct{}

func (m *Model) tick() tea.Cmd {
	return tea.Tick(m.every, func(time.Time) tea.Msg { return tickMsg{} })
}

// job is one call to the outside. Its id tells its answer from that of one that
// was given up.
type job struct {
	id     uint64
	cancel context.CancelFunc
	then   func(answer) tea.Cmd
}

type answer struct {
	name  string
	id    uint64
	value any
	err   error
}

// ErrSilent says that something did not answer in time.
var ErrSilent = errors.New("no answer")

// start begins a call to the outside, and gives up the one of the same name
// that may still be under way. then sees its answer, unless it was given up.
func start[T any](m *Model, name string, limit time.Duration, do func(context.Context) (T, error), then func(T, error) tea.Cmd) tea.Cmd {
	m.giveUp(name)
	ctx, cancel := context.WithTimeout(m.ctx, limit)
	m.last++
	id := m.last
	m.jobs[name] = &job{id, cancel, func(a answer) tea.Cmd {
		value, _ := a.value.(T)
		return then(value, a.err)
	}}
	return func() tea.Msg {
		defer cancel()
		done := make(chan answer, 1)
		go func() {
			value, err := do(ctx)
			done <- answer{name, id, value, err}
		}()
		select {
		case a := <-done:
			return a
		case <-ctx.Done():
		}
		// Some calls know no contexts: they are left to themselves.
		go func() { discard(<-done) }()
		err := ctx.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w within %v", ErrSilent, limit)
		}
		return answer{name: name, id: id, err: err}
	}
}

// discard closes what an answer that nobody waits for has opened, and clears the
// secret that it may be.
func discard(a answer) {
	switch value := a.value.(type) {
	case *Session:
		if value != nil && a.err == nil {
			value.Close()
		}
	case []byte:
		clear(value)
	}
}

func (m *Model) giveUp(name string) {
	if j := m.jobs[name]; j != nil {
		j.cancel()
		delete(m.jobs, name)
	}
}

func (m *Model) busy(name string) bool { return m.jobs[name] != nil }

// Update takes one message in.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		return m, tea.Batch(m.tick(), m.live())
	case answer:
		j := m.jobs[msg.name]
		if j == nil || j.id != msg.id {
			discard(msg)
			return m, nil
		}
		delete(m.jobs, msg.name)
		return m, j.then(msg)
	case tea.KeyMsg:
		return m, m.key(msg)
	}
	return m, nil
}

func (m *Model) key(msg tea.KeyMsg) tea.Cmd {
	if msg.Type == tea.KeyCtrlC {
		return tea.Quit
	}
	m.pressed = true
	if m.cramped() { // nobody can see what a key would do
		if msg.String() == "q" {
			return tea.Quit
		}
		return nil
	}
	top := m.top()
	if msg.Paste {
		if p, ok := top.(paster); ok {
			return p.paste(m, string(msg.Runes))
		}
	}
	if t, ok := top.(typist); ok && t.typing() != nil {
		if cmd, known := m.press(msg, top.actions(m)); known {
			return cmd
		}
		m.note = ""
		t.typing().key(msg)
		return nil
	}
	if split := hurried(msg, top); split != nil {
		var cmds []tea.Cmd
		for _, one := range split {
			cmds = append(cmds, m.key(one))
		}
		return tea.Batch(cmds...)
	}
	cmd, known := m.press(msg, m.all())
	if !known && !msg.Paste {
		m.note = consent.Quote(msg.String()) + " does nothing here: ? shows the keys"
	}
	return cmd
}

// maxHurried is how many keys somebody may press so quickly that they come as
// one message. More of them are a paste, by a terminal that does not say so.
const maxHurried = 3

// hurried gives the keys that came as one message, or nil. What is pasted must
// not press keys, and least of all answer a question.
func hurried(msg tea.KeyMsg, top page) []tea.KeyMsg {
	_, asking := top.(*confirmPage)
	if msg.Type != tea.KeyRunes || msg.Paste || msg.Alt || asking || len(msg.Runes) < 2 || len(msg.Runes) > maxHurried {
		return nil
	}
	var split []tea.KeyMsg
	for _, r := range msg.Runes {
		split = append(split, tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
	return split
}

// top is the page that keys go to.
func (m *Model) top() page {
	if len(m.over) > 0 {
		return m.over[len(m.over)-1]
	}
	return m.tabs[m.tab]
}

func (m *Model) open(p page) { m.over = append(m.over, p) }

// tell says how something ended whose page was left meanwhile.
func (m *Model) tell(p page, format string, args ...any) {
	for _, shown := range m.over {
		if shown == p {
			return
		}
	}
	m.note = fmt.Sprintf(format, args...)
}

// drop takes a page away, and what lies over it.
func (m *Model) drop(p page) {
	for i := range m.over {
		if m.over[i] == p {
			m.over = m.over[:i]
			return
		}
	}
}

// back is the action that takes the top page away.
func (m *Model) back() action {
	return on([]string{"esc"}, "esc", "back", func() tea.Cmd {
		m.drop(m.top())
		return nil
	})
}

// all gives the actions of all keys that act on the screen, those of the page first.
func (m *Model) all() []action {
	top := m.top()
	actions := top.actions(m)
	if t, ok := top.(typist); ok && t.typing() != nil {
		return actions
	}
	screens := []action{
		on([]string{"tab"}, "tab", "next screen", func() tea.Cmd { return m.show((m.tab + 1) % len(m.tabs)) }).unless(m.stays),
		on([]string{"shift+tab"}, "⇧tab", "screen before", func() tea.Cmd { return m.show((m.tab + len(m.tabs) - 1) % len(m.tabs)) }).unless(m.stays),
		on([]string{"f5"}, "f5", "look again", func() tea.Cmd { return m.load() }).unless(m.closed),
	}
	for i, name := range tabNames {
		digit := fmt.Sprint(i + 1)
		screens = append(screens, on([]string{digit}, digit, "to "+name, func() tea.Cmd { return m.show(i) }).unless(m.stays))
	}
	if len(m.over) == 0 {
		actions, screens = append(actions, screens...), nil
	}
	actions = append(actions,
		on([]string{"?"}, "?", "keys", func() tea.Cmd {
			if _, helping := top.(*helpPage); helping {
				m.drop(top)
			} else {
				help := &helpPage{of: m.all()}
				if s, ok := top.(signed); ok {
					help.legend = s.legend()
				}
				m.open(help)
			}
			return nil
		}),
		on([]string{"q"}, "q", "quit", func() tea.Cmd { return tea.Quit }),
		on([]string{"ctrl+c"}, "ctrl+c", "quit, always", func() tea.Cmd { return tea.Quit }),
	)
	return append(actions, screens...) // over a screen they matter least
}

// show shows another screen. What lies over the one before is gone: see stays.
func (m *Model) show(tab int) tea.Cmd {
	m.tab, m.over = tab, nil
	return nil
}

// stays tells why the screen cannot be left for another at once, or "": on some
// page over it something would be lost.
func (m *Model) stays() string {
	for _, p := range m.over {
		if s, ok := p.(interface{ loses() string }); ok {
			if lost := s.loses(); lost != "" {
				return "another screen would lose " + lost + ": esc goes back"
			}
		}
	}
	return ""
}

// closed tells why nothing can be done that needs the wallet, or "".
func (m *Model) closed() string {
	switch {
	case m.session != nil:
		return ""
	case m.status.Wallet == "":
		return "there is no wallet yet"
	case m.busy("open"):
		return "the wallet is still being unlocked"
	}
	return "the wallet is locked: press u to unlock it"
}

// loaded tells why nothing can be done that needs what the wallet holds, or "".
func (m *Model) loaded() string {
	if why := m.closed(); why != "" {
		return why
	}
	if m.state == nil {
		return "still reading what the wallet holds"
	}
	return ""
}

// look finds out what there is.
func (m *Model) look() tea.Cmd {
	return start(m, "look", lookLimit, m.door.Look, func(s Status, err error) tea.Cmd {
		if err != nil {
			m.trouble = plain(err)
			return nil
		}
		m.status = s
		switch {
		case s.Wallet == "":
			if len(m.over) == 0 {
				m.open(&welcomePage{})
			}
			return nil
		case m.session != nil:
			return nil
		}
		return m.unlock()
	})
}

// unlock opens the session, and asks for a password first where one is needed.
func (m *Model) unlock() tea.Cmd {
	if !m.status.Password {
		return m.openSession(nil)
	}
	if len(m.over) > 0 {
		return nil // the phrase of a new wallet is on the screen
	}
	m.open(&askPage{
		entry: entry{secret: true}, question: "The password of the wallet " + m.status.Wallet,
		hint: "It opens the encrypted file that holds the key.",
		done: func(password string) (tea.Cmd, error) { return m.openSession([]byte(password)), nil },
	})
	return nil
}

func (m *Model) openSession(password []byte) tea.Cmd {
	m.trouble = ""
	return start(m, "open", openLimit, func(ctx context.Context) (*Session, error) {
		defer clear(password)
		return m.door.Open(ctx, password)
	}, func(s *Session, err error) tea.Cmd {
		if err != nil {
			m.trouble = plain(err)
			return nil
		}
		m.trouble, m.session, m.watch = "", s, s.Wallet.Watch()
		return tea.Batch(m.glance(), m.lookAhead())
	})
}

// glanceGrants is how many grants the first look takes: more than fit on any
// screen, and few enough to be there at once.
const glanceGrants = 200

// glance shows at once what the store knows, as being checked; then it is.
func (m *Model) glance() tea.Cmd {
	session := m.session
	return start(m, "glance", loadLimit, func(ctx context.Context) (*state, error) {
		return session.state(ctx, func(ctx context.Context) (*wallet.Overview, error) { return session.Wallet.Glance(ctx, glanceGrants) })
	}, func(s *state, err error) tea.Cmd {
		if err == nil && m.state == nil { // what is wrong with the store the load says
			m.first(s)
		}
		return m.load()
	})
}

// first shows what is known for the first time.
func (m *Model) first(s *state) {
	if !m.pressed && len(s.Waiting) > 0 {
		m.tab = tabRequests // somebody waits for an answer
	}
	m.state = s
}

// resume goes on with grants that were signed and never seen anchored.
func (m *Model) resume() tea.Cmd {
	w := m.session.Wallet
	m.resumed = m.now()
	return start(m, "resume", postLimit, w.Resume, func(posted int, err error) tea.Cmd {
		if err != nil {
			m.trouble = plain(err)
			return nil
		}
		if posted == 0 {
			return nil
		}
		m.note = fmt.Sprintf("anchored what was signed before: %s", count(posted, "grant"))
		return m.reload()
	})
}

// live looks at clock and chain, and loads again where either moved on.
func (m *Model) live() tea.Cmd {
	if m.session == nil || m.state == nil {
		return nil
	}
	cmds := []tea.Cmd{m.lookAhead()}
	if next := m.state.next; next != 0 && uint64(m.now().Unix()) >= next {
		cmds = append(cmds, m.load())
	} else if m.rested() && m.now().Sub(m.slept) > idleLoad {
		cmds = append(cmds, m.load()) // another process may have changed the store
	}
	underWay := m.busy("resume") || m.busy("sign") || m.busy("post")
	if m.state.unsent > 0 && !underWay && m.now().Sub(m.resumed) > resumeRest {
		cmds = append(cmds, m.resume())
	}
	return tea.Batch(append(cmds, m.mail())...)
}

// lookAhead asks for the newest block.
func (m *Model) lookAhead() tea.Cmd {
	if m.busy("head") {
		return nil
	}
	return start(m, "head", headLimit, m.session.Head, func(h Head, err error) tea.Cmd {
		if err != nil && (m.state == nil || m.state.Unread == nil) {
			m.trouble = "the chain does not answer: " + plain(err)
		}
		if err != nil {
			return nil
		}
		if strings.HasPrefix(m.trouble, "the chain") {
			m.trouble = ""
		}
		m.head = h
		if m.state != nil && h.Block != m.state.Block && m.rested() {
			return m.load()
		}
		return nil
	})
}

const (
	resumeRest = 30 * time.Second
	idleLoad   = 15 * time.Second
	restRatio  = 10 // a load rests for as many times as long as it took
)

func (m *Model) rested() bool {
	return !m.busy("load") && m.now().Sub(m.slept) >= restRatio*m.took
}

// reload reads all that is shown after something was changed: what a load that
// is under way brings may be of before.
func (m *Model) reload() tea.Cmd {
	m.giveUp("load")
	return m.load()
}

// load reads all that is shown.
func (m *Model) load() tea.Cmd {
	if m.busy("load") || m.session == nil {
		return nil
	}
	session, watch, began := m.session, m.watch, m.now()
	return start(m, "load", loadLimit, func(ctx context.Context) (*state, error) { return session.state(ctx, watch.Overview) }, func(s *state, err error) tea.Cmd {
		m.slept = m.now()
		m.took = m.slept.Sub(began)
		if err != nil {
			m.trouble = "the chain or the store does not answer: " + plain(err)
			return nil
		}
		if s.Unread != nil && m.state != nil && m.state.Unread == nil && !m.state.Glance {
			m.trouble = "the chain does not answer: " + plain(s.Unread)
			return nil // what was known stays
		}
		first := m.state == nil || m.state.Glance
		if m.state == nil {
			m.first(s)
		}
		m.giveUp("glance")
		m.state, m.trouble = s, ""
		m.head.Block = max(m.head.Block, s.Block)
		if s.Damaged != nil {
			m.trouble = plain(s.Damaged)
		}
		if s.Unread != nil {
			m.trouble = "the chain does not answer, so nothing is known of any grant: " + plain(s.Unread)
		}
		if first {
			return m.resume()
		}
		return nil
	})
}

// cramped tells that the terminal is too small to draw in.
func (m *Model) cramped() bool { return m.width < minWidth || m.height < minHeight }

// View draws the screen: never wider or higher than the terminal.
func (m *Model) View() string {
	if m.cramped() {
		return m.frame([]string{
			fmt.Sprintf("This window is %d×%d.", m.width, m.height),
			fmt.Sprintf("Make it %d×%d at least (q quits).", minWidth, minHeight),
		})
	}
	message := m.message(max(1, m.height/8))
	body := m.height - 3 - len(message)
	lines := []string{m.header(), m.styles.dim.Render(strings.Repeat("─", m.width))}
	shown := m.top().view(m, m.width-2, body)
	for i := range body {
		line := ""
		if i < len(shown) {
			line = " " + shown[i]
		}
		lines = append(lines, line)
	}
	return m.frame(append(append(lines, message...), m.footer(m.all())))
}

// frame makes exactly as many lines as the terminal has, none too wide.
func (m *Model) frame(lines []string) string {
	var b strings.Builder
	for i := range max(m.height, 0) {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i < len(lines) {
			b.WriteString(cut(lines[i], m.width))
		}
	}
	return b.String()
}

// message is what stands over the keys, in 1 to most lines: what a key said, or
// what does not answer.
func (m *Model) message(most int) []string {
	text, style := "", m.styles.waiting
	switch {
	case m.note != "":
		text, style = m.note, m.styles.strong
	case m.trouble != "":
		text, style = "! "+m.trouble, m.styles.broken
	case m.busy("open"):
		text = "waiting for the keyring: a window may ask you to unlock it"
	case m.session != nil && m.state == nil:
		text = "reading what the wallet holds"
	case m.state != nil && m.state.Glance:
		text = "checking every grant with the chain: the newest are shown"
	}
	lines := wrap(text, m.width-2)
	if len(lines) > most {
		lines = append(lines[:most-1], cut(strings.Join(lines[most-1:], " "), m.width-2))
	}
	for i := range lines {
		lines[i] = " " + style.Render(lines[i])
	}
	return lines
}

// header names the screens, the network and its block.
func (m *Model) header() string {
	counts := [len("12345")]int{}
	if m.state != nil {
		counts[tabRequests], counts[tabAccess] = len(m.state.Waiting), m.state.active
	}
	var names, brief []string
	for i, name := range tabNames {
		if counts[i] > 0 {
			name += " " + thousands(uint64(counts[i]))
		}
		if i == tabAccess && m.state != nil && m.state.soon > 0 {
			name += " (" + thousands(uint64(m.state.soon)) + " soon)"
		}
		style, digit := m.styles.dim, fmt.Sprint(i+1)
		if i == m.tab {
			name = "[" + name + "]"
			style, digit = m.styles.chosen, name
		}
		names, brief = append(names, style.Render(name)), append(brief, style.Render(digit))
	}
	left := " " + m.styles.title.Render("Assent") + "  " + strings.Join(names, "  ")
	right := m.status.Network
	if m.head.Block > 0 {
		right += " · block " + thousands(m.head.Block)
	}
	// Where room is short the program's name goes first, then the screens' names.
	if ansi.StringWidth(left)+ansi.StringWidth(right)+3 > m.width {
		left = " " + strings.Join(names, "  ")
	}
	if ansi.StringWidth(left) > m.width {
		left = " " + strings.Join(brief, "  ")
	}
	if gap := m.width - ansi.StringWidth(left) - ansi.StringWidth(right) - 1; gap >= 2 {
		left += strings.Repeat(" ", gap) + right
	}
	return left
}

// plain gives an error for the screen: visible characters alone, on one line.
func plain(err error) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, err.Error())
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(uint64(n)) + " " + what + "s"
}

func thousands(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

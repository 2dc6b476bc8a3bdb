package tui

import (
	"context"
	"encoding/json"
	"errors"

	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

const patience = 20 * time.Second

var (
	domain  = consent.Domain{ChainID: 1337, Registry: common.HexToAddress("0x219CF75AdA58E6B6a07e0F9FdDA14b70e768bad1")}
	holder  = common.HexToAddress("0x7e3A10D13DE11Eb94d53d775E85e93E6c765ef50")
	began   = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	dayLong = 24 * time.Hour
)

// ledger is a registry in memory. What is posted is there once the gate, where
// there is one, lets it through.
type ledger struct {
	mu       sync.Mutex
	block    uint64
	now      func() time.Time
	anchored map[common.Hash]uint64
	revoked  map[common.Hash]uint64
	blocks   map[common.Hash]uint64
	gate     chan struct{} // nil: open
	silent   bool          // answers nothing before its caller gives up
	err      error
}

func (l *ledger) answer(ctx context.Context) error {
	l.mu.Lock()
	silent, err := l.silent, l.err
	l.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (l *ledger) set(change func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *ledger) Read(ctx context.Context, need consent.Entries) (consent.State, error) {
	if err := l.answer(ctx); err != nil {
		return consent.State{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := consent.State{Block: l.block, Time: uint64(l.now().Unix()), Anchored: map[common.Hash]uint64{}, Revoked: map[common.Hash]uint64{}, Retired: map[common.Address]uint64{}}
	for _, root := range need.Anchors {
		s.Anchored[root] = l.anchored[root]
	}
	for _, hash := range need.Revocations {
		s.Revoked[hash] = l.revoked[hash]
	}
	for _, account := range need.Accounts {
		s.Retired[account] = 0
	}
	return s, nil
}

func (l *ledger) Settled(ctx context.Context, hashes []common.Hash) (map[common.Hash]uint64, error) {
	state, err := l.Read(ctx, consent.Entries{Revocations: hashes})
	return state.Revoked, err
}

func (l *ledger) IsContract(ctx context.Context, _ common.Address) (bool, error) {
	return false, l.answer(ctx)
}

func (l *ledger) post(ctx context.Context, do func(now uint64)) error {
	if l.gate != nil {
		select {
		case <-l.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := l.answer(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.block++
	do(uint64(l.now().Unix()))
	return nil
}

func (l *ledger) Anchor(ctx context.Context, root common.Hash) ([]common.Hash, error) {
	return nil, l.post(ctx, func(now uint64) { l.anchored[root], l.blocks[root] = now, l.block })
}

func (l *ledger) Revoke(ctx context.Context, secrets []common.Hash) error {
	return l.post(ctx, func(now uint64) {
		for _, secret := range secrets {
			l.revoked[consent.Revocation(secret)] = now
		}
	})
}

func (l *ledger) Retire(ctx context.Context, _ common.Address, _ []byte) error { return l.answer(ctx) }

// recorder is a signer that remembers what it was made to sign.
type recorder struct {
	wallet.Signer
	mu     sync.Mutex
	grants []*consent.GrantDocument
	others int // all but grants and cards
}

func (r *recorder) SignGrant(d consent.Domain, g consent.Grant, p []consent.Provision, parents []consent.GrantDocument, e wallet.Epochs) (*consent.GrantDocument, error) {
	document, err := r.Signer.SignGrant(d, g, p, parents, e)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grants = append(r.grants, document)
	return document, err
}

func (r *recorder) SignProofOfAddress(d consent.Domain, holder common.Address, challenge, binding common.Hash, time uint64) (*consent.AccessDocument, error) {
	r.count()
	return r.Signer.SignProofOfAddress(d, holder, challenge, binding, time)
}

func (r *recorder) SignRetirement(d consent.Domain) ([]byte, error) {
	r.count()
	return r.Signer.SignRetirement(d)
}

func (r *recorder) SignTransaction(tx *types.Transaction, chain *big.Int) (*types.Transaction, error) {
	r.count()
	return r.Signer.SignTransaction(tx, chain)
}

func (r *recorder) SignAccess(d consent.Domain, a consent.Access, links []consent.Link) (*consent.AccessDocument, error) {
	r.count()
	return r.Signer.SignAccess(d, a, links)
}

func (r *recorder) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others++
}

func (r *recorder) signed() []*consent.GrantDocument {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.grants)
}

// testDoor is a door onto a real wallet and store, on a ledger in memory.
type testDoor struct {
	t          testing.TB
	folder     string
	status     Status
	ledger     *ledger
	signer     *recorder
	wallet     *wallet.Wallet
	stuck      chan struct{} // not nil: the keyring waits for it and knows no contexts
	keyErr     error
	kept       []byte // entropy
	restored   bool
	password   string
	backedUp   bool
	closed     int
	networkErr error
	logs       func(context.Context) (int, error)
	mu         sync.Mutex
}

func (d *testDoor) Look(context.Context) (Status, error) { return d.status, nil }

func (d *testDoor) Open(_ context.Context, password []byte) (*Session, error) {
	if d.stuck != nil {
		<-d.stuck
	}
	if d.keyErr != nil {
		return nil, d.keyErr
	}
	if d.password != "" && string(password) != d.password {
		return nil, wallet.ErrWrongPassword
	}
	if d.wallet == nil {
		d.openWallet()
	}
	return &Session{
		Wallet: d.wallet,
		Head: func(ctx context.Context) (Head, error) {
			if err := d.ledger.answer(ctx); err != nil {
				return Head{}, err
			}
			d.ledger.mu.Lock()
			defer d.ledger.mu.Unlock()
			return Head{Block: d.ledger.block, Time: uint64(began.Unix())}, nil
		},
		Posted: func(root common.Hash) (uint64, bool) {
			d.ledger.mu.Lock()
			defer d.ledger.mu.Unlock()
			block, known := d.ledger.blocks[root]
			return block, known
		},
		Audit: func(ctx context.Context) (int, error) {
			if err := d.ledger.answer(ctx); err != nil {
				return 0, err
			}
			return d.logs(ctx)
		},
		Shut: func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.closed++
		},
	}, nil
}

func (d *testDoor) openWallet() {
	key := keyOf(d.t, d.kept)
	d.signer = &recorder{Signer: key}
	d.wallet = walletOf(d.t, key, d.signer, d.ledger)
}

func (d *testDoor) Keep(_ context.Context, entropy, password []byte, restored bool) error {
	if d.keyErr != nil {
		return d.keyErr
	}
	d.kept, d.restored = slices.Clone(entropy), restored
	d.status.Wallet, d.status.Profile.Secret = "default", wallet.InKeyring
	d.status.Profile.Address = keyOf(d.t, entropy).Address()
	if password != nil {
		d.status.Profile.Secret, d.status.Password, d.password = wallet.InFile, true, string(password)
	}
	return nil
}

func (d *testDoor) Secret(_ context.Context, password []byte) ([]byte, error) {
	if d.password != "" && string(password) != d.password {
		return nil, wallet.ErrWrongPassword
	}
	if d.kept == nil {
		return seed("patient"), d.keyErr
	}
	return slices.Clone(d.kept), d.keyErr
}

func (d *testDoor) BackedUp(context.Context) error {
	d.backedUp, d.status.Profile.Backup = true, true
	return nil
}

func (d *testDoor) UseNetwork(_ context.Context, name string) error {
	if d.networkErr == nil {
		d.status.Network = name
	}
	return d.networkErr
}

func (d *testDoor) Save(_ context.Context, name string, document json.Marshaler) (string, error) {
	text, err := document.MarshalJSON()
	if err != nil {
		return "", err
	}
	return "/home/pat/" + name, os.WriteFile(filepath.Join(d.folder, name), text, 0o600)
}

// keyOf makes the key of some entropy; nil stands for the patient's.
func keyOf(t testing.TB, entropy []byte) *wallet.Key {
	t.Helper()
	if entropy == nil {
		entropy = seed("patient")
	}
	key, err := wallet.NewKey(slices.Clone(entropy))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Close)
	return key
}

func seed(who string) []byte { return crypto.Keccak256([]byte(who)) }

func walletOf(t testing.TB, key *wallet.Key, signer wallet.Signer, l *ledger) *wallet.Wallet {
	t.Helper()
	store, err := wallet.OpenStore(context.Background(), filepath.Join(t.TempDir(), wallet.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	documents, err := store.Documents(key)
	if err != nil {
		t.Fatal(err)
	}
	return &wallet.Wallet{Signer: signer, Documents: documents, Registry: l, Domain: domain, Now: l.now}
}

// rig drives the app without a terminal.
type rig struct {
	t     testing.TB
	m     *Model
	door  *testDoor
	clock time.Time
	msgs  chan tea.Msg
	ended bool
	mu    sync.Mutex
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
}

// newRig has a patient with a wallet and nothing in it.
func newRig(t testing.TB, look Look) *rig {
	t.Helper()
	r := &rig{t: t, clock: began, msgs: make(chan tea.Msg, 100)}
	l := &ledger{block: 1204, now: r.now, anchored: map[common.Hash]uint64{}, revoked: map[common.Hash]uint64{}, blocks: map[common.Hash]uint64{}}
	r.door = &testDoor{t: t, logs: func(context.Context) (int, error) { return 0, nil }, folder: t.TempDir(), ledger: l, status: Status{
		Wallet: "default", Network: "local", Networks: []string{"local", "clinic"},
		Profile: wallet.Profile{Address: keyOf(t, nil).Address(), Secret: wallet.InKeyring, Backup: true},
	}}
	r.door.openWallet()
	r.m = New(context.Background(), r.door, Options{Look: look, Now: r.now, Tick: time.Hour})
	t.Cleanup(r.m.Close)
	return r
}

// start runs the app until it has read all that there is.
func (r *rig) start() *rig {
	r.t.Helper()
	r.run(r.m.Init())
	r.settle()
	return r
}

func (r *rig) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		if msg := cmd(); msg != nil {
			r.msgs <- msg
		}
	}()
}

func (r *rig) step(msg tea.Msg) {
	switch msg := msg.(type) {
	case tea.BatchMsg:
		for _, cmd := range msg {
			r.run(cmd)
		}
		return
	case tea.QuitMsg:
		r.ended = true
		return
	}
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Slice && v.Type().Elem() == reflect.TypeFor[tea.Cmd]() {
		for i := range v.Len() { // tea.Sequence
			r.run(v.Index(i).Interface().(tea.Cmd))
		}
		return
	}
	_, cmd := r.m.Update(msg)
	r.run(cmd)
}

// settle waits for the answers to all calls that are under way.
func (r *rig) settle() {
	r.t.Helper()
	r.settleBut()
}

// settleBut does not wait for the calls of these names.
func (r *rig) settleBut(names ...string) {
	r.t.Helper()
	limit := time.After(patience)
	for {
		pending := 0
		for job := range r.m.jobs {
			if !slices.Contains(names, job) {
				pending++
			}
		}
		if pending == 0 {
			select {
			case msg := <-r.msgs:
				r.step(msg)
				continue
			default:
				return
			}
		}
		select {
		case msg := <-r.msgs:
			r.step(msg)
		case <-limit:
			r.t.Fatalf("calls that nobody answered: %v", r.m.jobs)
		}
	}
}

// happens runs the app until something happens outside it.
func (r *rig) happens(what string, told <-chan struct{}) {
	r.t.Helper()
	for limit := time.After(patience); ; {
		select {
		case <-told:
			return
		case msg := <-r.msgs:
			r.step(msg)
		case <-limit:
			r.t.Fatalf("%s does not come", what)
		}
	}
}

func keyMsg(name string) tea.KeyMsg {
	types := map[string]tea.KeyType{
		"enter": tea.KeyEnter, "esc": tea.KeyEsc, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight,
		"tab": tea.KeyTab, "shift+tab": tea.KeyShiftTab, "ctrl+c": tea.KeyCtrlC, "backspace": tea.KeyBackspace, "pgup": tea.KeyPgUp,
		"pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "delete": tea.KeyDelete, "f5": tea.KeyF5, "ctrl+u": tea.KeyCtrlU,
	}
	if kind, known := types[name]; known {
		return tea.KeyMsg{Type: kind}
	}
	if name == " " {
		return tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// keys presses keys, and waits for what each brings about.
func (r *rig) keys(names ...string) *rig {
	r.t.Helper()
	for _, name := range names {
		r.step(keyMsg(name))
		r.settle()
		r.screen()
	}
	return r
}

// quits waits for the app to end.
func (r *rig) quits() {
	r.t.Helper()
	limit := time.After(patience)
	for !r.ended {
		select {
		case msg := <-r.msgs:
			r.step(msg)
		case <-limit:
			r.t.Fatal("the app does not quit")
		}
	}
}

// text types a text.
func (r *rig) text(text string) *rig {
	r.t.Helper()
	for _, c := range text {
		r.keys(string(c))
	}
	return r
}

func (r *rig) paste(text string) *rig {
	r.t.Helper()
	r.step(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text), Paste: true})
	r.settle()
	return r
}

func (r *rig) size(w, h int) *rig {
	r.step(tea.WindowSizeMsg{Width: w, Height: h})
	r.screen()
	return r
}

// screen gives what is seen, as text, and checks that it fits.
func (r *rig) screen() string {
	r.t.Helper()
	return fits(r.t, r.m)
}

func fits(t testing.TB, m *Model) string {
	t.Helper()
	view := m.View()
	lines := strings.Split(view, "\n")
	if len(lines) != max(m.height, 1) {
		t.Fatalf("%d lines on a terminal of %d:\n%s", len(lines), m.height, view)
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > m.width {
			t.Fatalf("a line of %d cells on a terminal of %d: %q", w, m.width, line)
		}
	}
	return ansi.Strip(view)
}

func (r *rig) see(texts ...string) *rig {
	r.t.Helper()
	screen := r.screen()
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			r.t.Fatalf("%q is not seen:\n%s", text, screen)
		}
	}
	return r
}

func (r *rig) unseen(texts ...string) *rig {
	r.t.Helper()
	screen := r.screen()
	for _, text := range texts {
		if strings.Contains(screen, text) {
			r.t.Fatalf("%q is seen:\n%s", text, screen)
		}
	}
	return r
}

// other makes somebody else's wallet, on the same ledger.
func (r *rig) other(name string) *wallet.Wallet {
	r.t.Helper()
	key := keyOf(r.t, seed(name))
	w := walletOf(r.t, key, key, r.door.ledger)
	if _, err := w.Card(context.Background(), name); err != nil {
		r.t.Fatal(err)
	}
	return w
}

func scopeOf(t testing.TB, text string) consent.Scope {
	t.Helper()
	s, err := consent.ParseScope(text, "TREAT")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asks makes a request of somebody for these scopes, for 30 days at one holder.
func (r *rig) asks(from *wallet.Wallet, reason string, change func(*consent.Request), scopes ...string) *consent.RequestDocument {
	r.t.Helper()
	request := consent.Request{
		Patient: r.door.status.Profile.Address, Holders: []common.Address{holder}, Reason: reason,
		NotBefore: uint64(r.now().Unix()), Expires: uint64(r.now().Add(30 * dayLong).Unix()),
	}
	for _, text := range scopes {
		request.Scopes = append(request.Scopes, scopeOf(r.t, text))
	}
	if change != nil {
		change(&request)
	}
	document, err := from.Request(context.Background(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	return document
}

func textOf(t testing.TB, document json.Marshaler) string {
	t.Helper()
	text, err := document.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// takes puts a request into the patient's inbox.
func (r *rig) takes(request *consent.RequestDocument) {
	r.t.Helper()
	if _, err := r.door.wallet.Take(context.Background(), request); err != nil {
		r.t.Fatal(err)
	}
}

// gives makes a grant of the patient, some days from now until some other.
func (r *rig) gives(to *wallet.Wallet, from, until int, scopes ...string) *consent.GrantDocument {
	r.t.Helper()
	card, err := to.Card(context.Background(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.door.wallet.Meet(context.Background(), card); err != nil {
		r.t.Fatal(err)
	}
	d := &wallet.Draft{
		Grantee:   to.Signer.Address(),
		NotBefore: uint64(r.now().Add(time.Duration(from) * dayLong).Unix()),
		Expires:   uint64(r.now().Add(time.Duration(until) * dayLong).Unix()),
	}
	for _, text := range scopes {
		d.Provisions = append(d.Provisions, consent.Provision{Holder: holder, Scope: scopeOf(r.t, text)})
	}
	grant, err := r.door.wallet.Grant(context.Background(), d)
	if err != nil {
		r.t.Fatal(err)
	}
	return grant
}

var errDown = errors.New("it is down")

func (r *rig) grants() []wallet.Standing {
	r.t.Helper()
	grants, err := r.door.wallet.Grants(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return grants
}

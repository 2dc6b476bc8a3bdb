package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/tui"
	"github.com/assent-wallet/assent/tui/background"
	"github.com/assent-wallet/assent/wallet"
)

func tuiCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tui",
		Short: "Open the terminal app: see who asks, give less, take back at once",
		Long: `Opens the terminal app, as “assent” alone does on a terminal. ? shows its keys.

ACCESSIBLE=1 asks one plain line after the other instead and repaints nothing, for
screen readers. NO_COLOR turns colours off; COLORFGBG tells of a light background.`,
		Example: `  assent tui
  ACCESSIBLE=1 assent tui`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTUI(cmd.Context(), a) },
	}
}

// onTerminal tells whether a person can see and answer.
func onTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("TERM") != "dumb"
}

func runTUI(ctx context.Context, a *app) error {
	options := tui.Options{
		Look: tui.Look{Colour: os.Getenv("NO_COLOR") == "", Dark: background.Dark},
		Now:  a.now,
	}
	quiet := *a // what is said beside the screen would spoil it
	quiet.verbose = false
	if os.Getenv("ACCESSIBLE") != "" {
		return tui.RunLines(ctx, &door{&quiet}, options, a.stdin, a.stdout)
	}
	if !onTerminal() {
		return usagef("the terminal app needs a terminal: see assent --help for commands, or set ACCESSIBLE=1 for plain lines")
	}
	return tui.Run(ctx, &door{&quiet}, options, os.Stdin, os.Stdout)
}

// door opens to the terminal app what lies outside it.
type door struct{ *app }

var _ tui.Door = (*door)(nil)

// Look tells what there is: see tui.Door.
func (d *door) Look(context.Context) (tui.Status, error) {
	settings, err := d.home.Settings()
	if err != nil {
		return tui.Status{}, err
	}
	status := tui.Status{Networks: append([]string{wallet.Local}, slices.Sorted(maps.Keys(settings.Networks))...)}
	if status.Network, _, err = settings.FindNetwork(d.network); err != nil {
		return status, err
	}
	status.Wallet, status.Profile, err = settings.FindWallet(d.wallet)
	if errors.Is(err, wallet.ErrNoWallet) {
		err = nil
	}
	status.Password = status.Profile.Secret == wallet.InFile && d.passwordFile == ""
	return status, err
}

// patience is how long the keyring may take where a person may have to unlock it.
const patience = 50 * time.Second

func (d *door) keeperWith(password []byte) wallet.Keeper {
	if password == nil {
		return wallet.Keyring{Patience: patience}
	}
	return d.home.Keystore(func(context.Context, string) ([]byte, error) { return slices.Clone(password), nil })
}

// Open unlocks the wallet in use: see tui.Door.
func (d *door) Open(ctx context.Context, password []byte) (session *tui.Session, err error) {
	name, profile, err := d.profile()
	if err != nil {
		return nil, err
	}
	keeper := d.keeperWith(password)
	if password == nil && profile.Secret == wallet.InFile {
		keeper = d.keeper(wallet.InFile) // with the password file
	}
	key, err := wallet.Unlock(ctx, keeper, name, profile.Address)
	if err != nil {
		return nil, err
	}
	closing := []func(){key.Close}
	shut := func() {
		for _, f := range slices.Backward(closing) {
			f()
		}
	}
	defer func() {
		if err != nil {
			shut()
		}
	}()
	c, err := d.openChain(ctx, key)
	if err != nil {
		return nil, err
	}
	closing = append(closing, c.close)
	store, err := d.home.OpenStore(ctx)
	if err != nil {
		return nil, err
	}
	closing = append(closing, func() { store.Close() })
	documents, err := store.Documents(key)
	if err != nil {
		return nil, err
	}
	seen := &seenChain{chain: c, posted: make(map[common.Hash]uint64)}
	w := &wallet.Wallet{Signer: key, Documents: documents, Registry: seen, Domain: c.domain, Now: d.now, Restored: profile.Restored}
	session = &tui.Session{
		Wallet: w,
		Audit:  func(ctx context.Context) (int, error) { return followLogs(ctx, w) },
		Head: func(ctx context.Context) (tui.Head, error) {
			head, err := c.Head(ctx)
			return tui.Head{Block: head.Number, Time: head.Time}, err
		},
		Posted: seen.block,
		Shut:   shut,
	}
	if len(c.relays) > 0 {
		session.Collect = func(ctx context.Context, wait bool) (int, error) { return c.letters(ctx, w, wait) }
		session.Deliver = func(ctx context.Context, grant *consent.GrantDocument) (string, error) {
			return w.Send(ctx, c.mailboxes(), grant.Grant.Grantee, w.Enclose(ctx, grant))
		}
	}
	return session, nil
}

// seenChain remembers in which block it saw a root anchored.
type seenChain struct {
	*chain
	mu     sync.Mutex
	posted map[common.Hash]uint64
}

// Anchor posts a root and waits until it is confirmed.
func (c *seenChain) Anchor(ctx context.Context, root common.Hash) (siblings []common.Hash, err error) {
	siblings, posted, err := c.anchor(ctx, root)
	if err == nil && posted.Block.Number > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.posted[consent.Root(root, siblings)] = posted.Block.Number
	}
	return siblings, err
}

func (c *seenChain) block(root common.Hash) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	block, known := c.posted[root]
	return block, known
}

// Keep makes the wallet of the entropy: see tui.Door.
func (d *door) Keep(ctx context.Context, entropy, password []byte, restored bool) error {
	key, err := wallet.NewKey(entropy)
	if err != nil {
		return err
	}
	defer key.Close()
	name := d.wallet
	if name == "" {
		name = defaultWallet
	}
	place := wallet.InKeyring
	if password != nil {
		place = wallet.InFile
	}
	return d.home.Edit(ctx, func(s *wallet.Settings) error {
		if there, taken := s.Wallets[name]; taken && there.Address == key.Address() {
			return nil
		} else if taken {
			return fmt.Errorf("there is a wallet %s already: open the app anew", name)
		}
		if err := wallet.CheckName(name); err != nil {
			return err
		}
		if err := d.keeperWith(password).Save(ctx, name, entropy); err != nil {
			return err
		}
		s.AddWallet(name, wallet.Profile{Address: key.Address(), Secret: place, Created: uint64(d.now().Unix()), Backup: restored, Restored: restored})
		if s.Wallet == "" {
			s.Wallet = name
		}
		return nil
	})
}

// Secret gives the entropy of the wallet in use: see tui.Door.
func (d *door) Secret(ctx context.Context, password []byte) ([]byte, error) {
	name, _, err := d.profile()
	if err != nil {
		return nil, err
	}
	return d.keeperWith(password).Load(ctx, name)
}

// BackedUp remembers that the phrase is on paper: see tui.Door.
func (d *door) BackedUp(ctx context.Context) error {
	return d.home.Edit(ctx, func(s *wallet.Settings) error {
		name, profile, err := s.FindWallet(d.wallet)
		if err != nil {
			return err
		}
		profile.Backup = true
		s.AddWallet(name, profile)
		return nil
	})
}

// UseNetwork chooses the network: see tui.Door.
func (d *door) UseNetwork(ctx context.Context, name string) error {
	err := d.home.Edit(ctx, func(s *wallet.Settings) (err error) {
		s.Network, _, err = s.FindNetwork(name)
		return err
	})
	if err == nil {
		d.network = "" // what --network said is overruled
	}
	return err
}

// Save writes a document to a new file in the folder that the app was started
// in: see tui.Door. A file that is there stays, whoever wrote it.
func (d *door) Save(_ context.Context, name string, document json.Marshaler) (string, error) {
	text, err := document.MarshalJSON()
	if err != nil {
		return "", err
	}
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, name)
	extension := filepath.Ext(name)
	for i := 2; ; i++ {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) && i < 100 {
			path = filepath.Join(folder, fmt.Sprintf("%s-%d%s", name[:len(name)-len(extension)], i, extension))
			continue
		} else if err != nil {
			return "", err
		}
		_, err = file.Write(append(text, '\n'))
		return path, errors.Join(err, file.Close())
	}
}

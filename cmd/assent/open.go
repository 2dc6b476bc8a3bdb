package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

// chain is the network in use, open. It is a wallet.Registry.
type chain struct {
	*registry.Client
	app      *app
	name     string
	domain   consent.Domain
	embedded *devchain.Chain  // nil for a network elsewhere
	latest   *registry.Client // the same network, where one block is enough
	relays   []networkRelay
}

// openPatience is how long the embedded chain may take to open; a folder that
// changes hands may take 15 seconds of it.
const openPatience = 20 * time.Second

var _ wallet.Registry = (*chain)(nil)

// withChain opens the network in use for the time of do. The payer pays for
// what is posted elsewhere than on the embedded chain; nil only reads.
func (a *app) withChain(ctx context.Context, payer registry.Payer, do func(*chain) error) error {
	c, err := a.openChain(ctx, payer)
	if err != nil {
		return err
	}
	defer c.close()
	return do(c)
}

func (a *app) openChain(ctx context.Context, payer registry.Payer) (*chain, error) {
	settings, err := a.home.Settings()
	if err != nil {
		return nil, err
	}
	name, network, err := settings.FindNetwork(a.network)
	if err != nil {
		return nil, usageError{err}
	}
	if name == wallet.Local {
		return openEmbedded(ctx, a, a.chainFolder())
	}
	at := registry.Network{Name: name, ChainID: network.ChainID, Registry: network.Registry, Confirmations: network.Confirmations}
	for _, endpoint := range network.Endpoints {
		at.Endpoints = append(at.Endpoints, registry.URL(endpoint))
	}
	if at.Registry == (common.Address{}) {
		at.Registry = registry.Address
	}
	c := newChain(a, at, payer)
	for _, url := range network.Relays {
		r, err := relay.NewClient(url, network.RelayTokens[url])
		if err != nil {
			return nil, err
		}
		c.relays = append(c.relays, networkRelay{r, relayPatience})
	}
	return c, nil
}

func newChain(a *app, at registry.Network, payer registry.Payer) *chain {
	shallow := at
	shallow.Confirmations = 1
	return &chain{
		Client: registry.New(at, payer), latest: registry.New(shallow, payer), app: a, name: at.Name,
		domain: consent.Domain{ChainID: at.ChainID, Registry: at.Registry},
	}
}

func (a *app) chainFolder() string { return filepath.Join(a.home.Data, "chain") }

// openEmbedded opens the embedded chain in a folder; its own account pays, and
// the registry is deployed on first use.
func openEmbedded(ctx context.Context, a *app, folder string) (*chain, error) {
	embedded, err := openInTime(ctx, folder)
	if err != nil {
		return nil, err
	}
	c := embeddedChain(a, embedded)
	err = c.CheckCode(ctx)
	if errors.Is(err, registry.ErrNotDeployed) {
		_, err = c.Deploy(ctx)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("the embedded chain: %w", err)
	}
	return c, nil
}

// errNoAnswer is an embedded chain whose files are not opened, nor refused: its
// database tries for ever where it cannot write.
var errNoAnswer = errors.New("it did not open in time: look at the space left on its disk, and try again")

// openInTime opens the embedded chain, or gives it up.
func openInTime(ctx context.Context, folder string) (*devchain.Chain, error) {
	type opened struct {
		chain *devchain.Chain
		err   error
	}
	done := make(chan opened, 1)
	go func() {
		chain, err := devchain.Open(ctx, folder)
		done <- opened{chain, err}
	}()
	timer := time.NewTimer(openPatience)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.chain, o.err
	case <-timer.C:
		return nil, fmt.Errorf("the embedded chain in %s: %w", folder, errNoAnswer)
	}
}

func embeddedChain(a *app, embedded *devchain.Chain) *chain {
	network := registry.Network{
		Name:      wallet.Local,
		Endpoints: []registry.Endpoint{{Name: "the embedded chain", Dial: embedded.Dial}},
		ChainID:   embedded.ChainID(),
		Registry:  registry.Address,
		OnDemand:  true,
	}
	c := newChain(a, network, registry.KeyPayer(embedded.Key()))
	c.embedded = embedded
	return c
}

func (c *chain) close() {
	c.Client.Close()
	c.latest.Close()
	for _, r := range c.relays {
		r.Close()
	}
	if c.embedded != nil {
		c.embedded.Close()
	}
}

// Retire posts a retirement and waits until it is confirmed.
func (c *chain) Retire(ctx context.Context, account common.Address, signature []byte) error {
	posted, err := c.Client.Retire(ctx, account, signature)
	return c.posted("retired", posted, err)
}

func (c *chain) posted(what string, p registry.Posted, err error) error {
	if err == nil && c.app.verbose {
		if p.Already {
			c.app.say("%s before, on network %s", what, c.name)
		} else {
			c.app.say("%s in block %d of network %s: transaction %s, %d confirmations, fee %s wei", what, p.Block.Number, c.name, p.Transaction, p.Confirmations, p.Fee)
		}
	}
	return err
}

// profile gives the name of the wallet in use, and what is known of it while it
// is locked.
func (a *app) profile() (string, wallet.Profile, error) {
	settings, err := a.home.Settings()
	if err != nil {
		return "", wallet.Profile{}, err
	}
	return settings.FindWallet(a.wallet)
}

// withStore opens the store of documents for the time of do.
func (a *app) withStore(ctx context.Context, do func(*wallet.Store) error) error {
	store, err := a.home.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}

// withAnyStore does as withStore, and where the store cannot be opened, with an
// empty one in its place: for what must be possible all the same.
func (a *app) withAnyStore(ctx context.Context, do func(*wallet.Store) error) error {
	store, err := a.home.OpenStore(ctx)
	if _, failed := errors.AsType[*database.Error](err); failed {
		a.say("Going on without what this wallet has kept: %v.", err)
		folder, none := os.MkdirTemp("", "assent-*")
		if none != nil {
			return err
		}
		defer os.RemoveAll(folder)
		if store, err = wallet.OpenStore(ctx, filepath.Join(folder, wallet.StoreFile)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}

// withWallet opens the wallet in use, its documents and the network, for the
// time of do.
func (a *app) withWallet(ctx context.Context, do func(*wallet.Wallet) error) error {
	return a.withWalletOn(ctx, a.withStore, do)
}

// withWalletOn does so with the store that is given.
func (a *app) withWalletOn(ctx context.Context, with func(context.Context, func(*wallet.Store) error) error, do func(*wallet.Wallet) error) error {
	name, profile, err := a.profile()
	if err != nil {
		return err
	}
	key, err := wallet.Unlock(ctx, a.keeper(profile.Secret), name, profile.Address)
	if err != nil {
		return err
	}
	defer key.Close()
	return a.withChain(ctx, key, func(c *chain) error {
		return with(ctx, func(store *wallet.Store) error {
			documents, err := store.Documents(key)
			if err != nil {
				return err
			}
			return do(&wallet.Wallet{
				Signer: key, Documents: documents, Registry: c, Domain: c.domain, Now: a.now, Restored: profile.Restored,
			})
		})
	})
}

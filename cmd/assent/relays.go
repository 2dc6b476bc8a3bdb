package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

const (
	// relayPatience is how long a relay may keep a wallet waiting (Assent
	// protocol, section 6).
	relayPatience = 60 * time.Second
	// maxSiblings is how many a relay may add to a proof, which has room for 64:
	// its tree has at most 2^32 leaves.
	maxSiblings = 32

	maxToken = 4096 // bytes of a token's file
)

// networkRelay is a relay of the network, and how long it may keep a wallet
// waiting.
type networkRelay struct {
	*relay.Client
	patience time.Duration
}

// Anchor posts a root, by a relay where the network has one, and waits until it
// is confirmed.
func (c *chain) Anchor(ctx context.Context, root common.Hash) ([]common.Hash, error) {
	siblings, posted, err := c.anchor(ctx, root)
	return siblings, c.posted("anchored", posted, err)
}

// anchor has a relay anchor a root in a tree of its own, and sees to it that the
// chain confirms the tree. Where no relay does so in time, the root itself is
// posted.
func (c *chain) anchor(ctx context.Context, root common.Hash) (siblings []common.Hash, posted registry.Posted, err error) {
	late := c.byRelay(ctx, func(ctx context.Context, r networkRelay) (err error) {
		siblings, err = c.anchorBy(ctx, r, root)
		return err
	})
	if late != nil {
		siblings = nil
	}
	// It posts only what the chain does not show, such as what a
	// reorganisation dropped meanwhile.
	posted, err = c.Client.Anchor(ctx, consent.Root(root, siblings))
	return siblings, posted, without(late, err)
}

// Revoke reveals secrets, by a relay where the network has one, and waits until
// that is confirmed.
func (c *chain) Revoke(ctx context.Context, secrets []common.Hash) error {
	late := c.byRelay(ctx, func(ctx context.Context, r networkRelay) error { return c.revokeBy(ctx, r, secrets) })
	posted, err := c.Client.Revoke(ctx, secrets)
	return c.posted("revoked", posted, without(late, err))
}

// without says why no relay did it, where the wallet could not do it either.
func without(late, err error) error {
	if err == nil || late == nil {
		return err
	}
	return fmt.Errorf("%w (and no relay did it: %w)", err, late)
}

// byRelay has relays tried in their order until one does it in time. The error
// says why none did; nil also where there is none.
func (c *chain) byRelay(ctx context.Context, do func(context.Context, networkRelay) error) error {
	var why []error
	for _, r := range c.relays {
		limited, cancel := context.WithTimeout(ctx, r.patience)
		err := do(limited, r)
		late := limited.Err() != nil
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case late:
			err = fmt.Errorf("the relay %s did not do it within %v", r.URL(), r.patience)
		}
		if c.app.verbose {
			c.app.say("%v: going on without it", err)
		}
		why = append(why, err)
	}
	return errors.Join(why...)
}

// anchorBy returns once the latest block shows the tree into which the relay put
// the root.
func (c *chain) anchorBy(ctx context.Context, r networkRelay, root common.Hash) ([]common.Hash, error) {
	there := func(root common.Hash) (bool, error) {
		state, err := c.latest.Read(ctx, consent.Entries{Anchors: []common.Hash{root}})
		return state.Anchored[root] != 0, err
	}
	if already, err := there(root); err != nil || already {
		return nil, err
	}
	if err := r.Submit(ctx, root); err != nil {
		return nil, err
	}
	for {
		began := time.Now()
		a, err := r.Anchored(ctx, root, r.patience)
		if err != nil {
			return nil, err
		}
		if a != nil {
			if len(a.Siblings) > maxSiblings {
				return nil, fmt.Errorf("the relay %s gives %d siblings: want at most %d", r.URL(), len(a.Siblings), maxSiblings)
			}
			return a.Siblings, until(ctx, func() (bool, error) { return there(a.Root) })
		}
		if time.Since(began) < pollInterval { // it answers at once that it does not know yet
			if err := wait(ctx, pollInterval); err != nil {
				return nil, err
			}
		}
	}
}

// revokeBy returns once the latest block shows all secrets.
func (c *chain) revokeBy(ctx context.Context, r networkRelay, secrets []common.Hash) error {
	var need consent.Entries
	for _, secret := range secrets {
		need.Revocations = append(need.Revocations, consent.Revocation(secret))
	}
	there := func() (bool, error) {
		state, err := c.latest.Read(ctx, need)
		return err == nil && !slices.ContainsFunc(need.Revocations, func(hash common.Hash) bool { return state.Revoked[hash] == 0 }), err
	}
	if already, err := there(); err != nil || already {
		return err
	}
	for part := range slices.Chunk(secrets, relay.MaxSecrets) {
		if err := r.Revoke(ctx, part); err != nil {
			return err
		}
	}
	return until(ctx, there)
}

const pollInterval = 250 * time.Millisecond

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func until(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := wait(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// postOffices gives the relays of the network, for one look at their mailboxes.
func (c *chain) postOffices() []*postOffice {
	var offices []*postOffice
	for _, r := range c.relays {
		offices = append(offices, &postOffice{Client: r.Client})
	}
	return offices
}

// mailboxes gives the relays of the network as the use cases need them.
func (c *chain) mailboxes() []wallet.Relay {
	var relays []wallet.Relay
	for _, office := range c.postOffices() {
		relays = append(relays, office)
	}
	return relays
}

// postOffice is a relay as the use cases need it. It remembers how a look at the
// mailbox went.
type postOffice struct {
	*relay.Client
	there map[string]bool // the letters that were found and left there; nil: the relay listed none
}

// Mailbox opens the mailbox of an account: see wallet.Relay.
func (p *postOffice) Mailbox(ctx context.Context, account common.Address, domain consent.Domain, prove wallet.Prove) (wallet.Mailbox, error) {
	m, err := p.Client.Mailbox(ctx, account, domain, prove)
	if err != nil {
		return nil, err
	}
	return mailbox{m, p}, nil
}

type mailbox struct {
	*relay.Mailbox
	at *postOffice
}

// Letters lists the letters: see wallet.Mailbox.
func (m mailbox) Letters(ctx context.Context) ([]wallet.Sealed, error) {
	list, err := m.List(ctx)
	if err != nil {
		return nil, err
	}
	m.at.there = make(map[string]bool)
	letters := make([]wallet.Sealed, len(list))
	for i, l := range list {
		letters[i] = wallet.Sealed{ID: l.ID, Received: l.Received}
		m.at.there[l.ID] = true
	}
	return letters, nil
}

// Read gives a sealed letter: see wallet.Mailbox.
func (m mailbox) Read(ctx context.Context, id string) ([]byte, error) {
	sealed, err := m.Mailbox.Read(ctx, id)
	if relay.IsNotFound(err) {
		return nil, nil
	}
	return sealed, err
}

// Delete takes a letter away: see wallet.Mailbox.
func (m mailbox) Delete(ctx context.Context, id string) error {
	err := m.Mailbox.Delete(ctx, id)
	if err == nil {
		delete(m.at.there, id)
	}
	return err
}

// How long one waits for a letter before one looks anyway; less where a relay is
// away or a letter waits for what may come soon.
const (
	letterPatience  = 5 * time.Minute
	troublePatience = time.Minute
)

// letters takes in the letters at all relays; where there are none, and it is to
// wait, as soon as one comes to a relay that answers. It gives how many requests
// and grants it took.
func (c *chain) letters(ctx context.Context, w *wallet.Wallet, wait bool) (came int, err error) {
	patience := letterPatience
	take := func() []*postOffice {
		offices := c.postOffices()
		var received []wallet.Received
		received, err = collect(ctx, w, offices)
		if err != nil {
			patience = troublePatience
		}
		for _, r := range received {
			switch {
			case r.Err != nil:
				patience = troublePatience
			case r.Kind != consent.KindCard:
				came++
			}
		}
		return offices
	}
	offices := take()
	answering := func(office *postOffice) bool { return office.there != nil }
	if came > 0 || !wait || !slices.ContainsFunc(offices, answering) {
		return came, err
	}
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var all sync.WaitGroup
	for _, office := range offices {
		if !answering(office) {
			continue
		}
		all.Go(func() {
			box, err := office.Client.Mailbox(waiting, w.Signer.Address(), w.Domain, w.ProveAddress)
			if err != nil {
				return // the next look says so
			}
			for id, err := range box.Events(waiting) {
				if err == nil && office.there[id] {
					continue
				}
				if err == nil {
					stop()
				}
				return
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	take()
	return came, err
}

// relaysOf gives the relays of the network that a wallet is open on.
func relaysOf(w *wallet.Wallet) []wallet.Relay {
	if c, ok := w.Registry.(interface{ mailboxes() []wallet.Relay }); ok {
		return c.mailboxes()
	}
	return nil
}

// deliver sends a letter, and says where to.
func (a *app) deliver(ctx context.Context, w *wallet.Wallet, to common.Address, letter *consent.Letter) error {
	url, err := w.Send(ctx, relaysOf(w), to, letter)
	if err != nil {
		return err
	}
	a.say("sent to the mailbox of %s at %s", to, url)
	return nil
}

// bearerToken is what a bearer token looks like (RFC 6750, section 2.1).
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// readToken reads the file of a bearer token, such as one that a relay admits by.
func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(text) > maxToken || !bearerToken.MatchString(token) {
		return "", fmt.Errorf("the file %s holds no bearer token: want one line without spaces", path)
	}
	return token, nil
}

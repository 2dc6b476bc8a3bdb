package tui

import (
	"context"
	"encoding/json"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// Door is what lies outside the app: settings, keyring, network and files. Its
// methods may take long and are never called where the screen waits for them.
type Door interface {
	// Look tells what there is, without unlocking anything.
	Look(ctx context.Context) (Status, error)
	// Open unlocks the wallet in use and opens its network and its store.
	// password is of a wallet in an encrypted file, else nil.
	Open(ctx context.Context, password []byte) (*Session, error)
	// Keep makes the wallet of the entropy, in the keyring where password is
	// nil, else in a file that the password encrypts. restored tells that it
	// comes from its phrase. Keeping the same again changes nothing.
	Keep(ctx context.Context, entropy, password []byte, restored bool) error
	// Secret gives the entropy of the wallet in use, to show its phrase. The
	// caller clears it.
	Secret(ctx context.Context, password []byte) (entropy []byte, err error)
	// BackedUp remembers that the phrase is on paper.
	BackedUp(ctx context.Context) error
	// UseNetwork chooses the network.
	UseNetwork(ctx context.Context, name string) error
	// Save writes a document to a new file of that name beside the person's
	// other files, and gives its path.
	Save(ctx context.Context, name string, document json.Marshaler) (path string, err error)
}

// Status is what is known without unlocking anything.
type Status struct {
	Wallet   string // the name of the wallet in use; empty: there is none
	Profile  wallet.Profile
	Password bool     // has to be typed to open the wallet: else Open takes nil
	Network  string   // the one in use
	Networks []string // all that can be chosen
}

// Session is a wallet, open, on its network.
type Session struct {
	Wallet *wallet.Wallet
	// Head gives the newest block of the chain.
	Head func(ctx context.Context) (Head, error)
	// Posted gives the block in which this session saw a root anchored.
	Posted func(root common.Hash) (block uint64, known bool)
	// Audit follows the logs of the data holders in the address book, as far as a
	// grant opens them, and gives how many it followed to their end. The error
	// tells of the others.
	Audit func(ctx context.Context) (followed int, err error)
	// Collect publishes the wallet's card, which opens a mailbox at each relay of
	// the network, and takes in the letters there; where there are none and wait is
	// set, it waits for one, some minutes at most. It gives how many requests and
	// grants came. nil: the network has no relay. It is for those alone who
	// published their card before or were asked: see wallet.Wallet.Published.
	Collect func(ctx context.Context, wait bool) (came int, err error)
	// Deliver sends a grant to the mailbox of whoever it is given to, and gives the
	// relay's URL. nil: the network has no relay.
	Deliver func(ctx context.Context, grant *consent.GrantDocument) (url string, err error)
	// Shut closes all that the session holds open.
	Shut func()
}

// Close closes all that the session holds open.
func (s *Session) Close() { s.Shut() }

// Head is the newest block.
type Head struct {
	Block uint64
	Time  uint64 // unix seconds
}

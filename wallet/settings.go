package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/adrg/xdg"
	"github.com/ethereum/go-ethereum/common"
	"github.com/pelletier/go-toml/v2"

	"github.com/assent-wallet/assent/consent"
)

// Home is where the program keeps its files.
type Home struct {
	Config string // folder of the settings
	Data   string // folder of the store, of the encrypted files, and of the embedded chain
}

// DefaultHome gives the folders that the XDG Base Directory Specification, or
// the custom of the system, names for the program.
func DefaultHome() Home {
	return Home{Config: filepath.Join(xdg.ConfigHome, "assent"), Data: filepath.Join(xdg.DataHome, "assent")}
}

// OpenStore opens the store in the folder of the data: see OpenStore.
func (h Home) OpenStore(ctx context.Context) (*Store, error) {
	return OpenStore(ctx, filepath.Join(h.Data, StoreFile))
}

// Keystore gives the encrypted files in the folder of the data.
func (h Home) Keystore(password func(ctx context.Context, prompt string) ([]byte, error)) *Keystore {
	return &Keystore{Folder: filepath.Join(h.Data, "keystore"), Password: password}
}

// Local is the network of the embedded chain, which needs no settings.
const Local = "local"

// Place is where the secret of a wallet is kept.
type Place string

// The places of a secret.
const (
	InKeyring Place = "keyring" // of the operating system
	InFile    Place = "file"    // encrypted with a password
)

// Settings are what the program remembers of its use. The zero value has no
// wallet; Home.Settings gives settings whose network is Local where there are
// none yet.
type Settings struct {
	Wallet   string // the current one; empty: none
	Network  string // the current one
	Wallets  map[string]Profile
	Networks map[string]Network // without Local
}

// Profile is what is known of a wallet while it is locked.
type Profile struct {
	Address  common.Address
	Secret   Place
	Created  uint64 // unix seconds
	Backup   bool   // its person said to have written the phrase down
	Restored bool   // made from its phrase: see Wallet.Restored
}

// Network is a chain with its registry.
type Network struct {
	Endpoints     []string // http, https, ws or wss URLs, or absolute paths of sockets; the next is tried where one fails
	ChainID       uint64
	Registry      common.Address    // zero: the address that it has on every chain
	Confirmations uint64            // blocks; 0: the chain's own finality
	Relays        []string          // URLs as consent.ParseGatewayURL reads them; the next is tried where one fails
	RelayTokens   map[string]string // by the URL of the relay that it admits to, and is shown to no other; none: it needs none
}

// ErrNoWallet says that no wallet was made or chosen yet.
var ErrNoWallet = errors.New("there is no wallet yet: make one with “assent init”, or bring one back with “assent wallet recover”")

// FindWallet gives the wallet of a name, or the current one where the name is
// empty. The error wraps ErrNoWallet where there is none at all.
func (s *Settings) FindWallet(name string) (string, Profile, error) {
	if name == "" {
		name = s.Wallet
	}
	if name == "" {
		return "", Profile{}, ErrNoWallet
	}
	profile, known := s.Wallets[name]
	if !known {
		return "", Profile{}, fmt.Errorf("there is no wallet %s: look at “assent wallet list”", consent.Quote(name))
	}
	return name, profile, nil
}

// FindNetwork gives the network of a name, or the current one where the name is
// empty. That of Local is zero: its embedded chain knows what it is.
func (s *Settings) FindNetwork(name string) (string, Network, error) {
	if name == "" {
		name = s.Network
	}
	network, known := s.Networks[name]
	if !known && name != Local {
		return "", Network{}, fmt.Errorf("there is no network %s: look at “assent network list”", consent.Quote(name))
	}
	return name, network, nil
}

var wellNamed = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// CheckName tells why a wallet or network cannot have a name, or nil.
func CheckName(name string) error {
	if !wellNamed.MatchString(name) {
		return fmt.Errorf("the name %s: want 1 to 32 of a–z, 0–9 and -, the first no -", consent.Quote(name))
	}
	return nil
}

// The file, in TOML.
type (
	settingsFile struct {
		Wallet   string                 `toml:"wallet,omitempty"`
		Network  string                 `toml:"network,omitempty"`
		Wallets  map[string]profileFile `toml:"wallets,omitempty"`
		Networks map[string]networkFile `toml:"networks,omitempty"`
	}
	profileFile struct {
		Address  string `toml:"address"`
		Secret   Place  `toml:"secret"`
		Created  uint64 `toml:"created"`
		Backup   bool   `toml:"backup"`
		Restored bool   `toml:"restored"`
	}
	networkFile struct {
		Endpoints     []string          `toml:"endpoints"`
		ChainID       uint64            `toml:"chain_id"`
		Registry      string            `toml:"registry,omitempty"`
		Confirmations uint64            `toml:"confirmations"`
		Relay         []string          `toml:"relay,omitempty"`
		RelayTokens   map[string]string `toml:"relay_tokens,omitempty"`
		RelayToken    string            `toml:"relay_token,omitempty"` // of the first relay, as it once was; read, and not written
	}
)

func (h Home) settingsPath() string { return filepath.Join(h.Config, "settings.toml") }

// Settings reads the settings. Where there are none, it gives those of somebody
// new. The error names the file, and the line or the setting.
func (h Home) Settings() (*Settings, error) {
	text, err := os.ReadFile(h.settingsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return &Settings{Network: Local}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	s, err := parseSettings(text)
	if err != nil {
		return nil, fmt.Errorf("the settings %s: %w", h.settingsPath(), err)
	}
	return s, nil
}

// Edit lets do change the settings, and writes them whole or not at all. No
// other process changes them meanwhile, so that do may also keep the secret of
// the wallet that it adds.
func (h Home) Edit(ctx context.Context, do func(*Settings) error) error {
	if err := os.MkdirAll(h.Config, 0o700); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(h.Config, "settings.lock"), patience)
	if err != nil {
		return fmt.Errorf("change the settings %s: %w", h.settingsPath(), err)
	}
	defer unlock()
	s, err := h.Settings()
	if err != nil {
		return err
	}
	if err := do(s); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("the settings: %w", err)
	}
	text, err := toml.Marshal(s.file())
	if err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return replace(h.settingsPath(), text)
}

func parseSettings(text []byte) (*Settings, error) {
	var f settingsFile
	dec := toml.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&f)
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		line, _ := unknown.Errors[0].Position()
		return nil, fmt.Errorf("line %d: unknown setting %s", line, consent.Quote(strings.Join(unknown.Errors[0].Key(), ".")))
	}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := wrong.Position()
		return nil, fmt.Errorf("line %d, column %d: %s", line, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	}
	if err != nil {
		return nil, err
	}
	s := &Settings{Wallet: f.Wallet, Network: f.Network}
	if s.Network == "" {
		s.Network = Local
	}
	for name, p := range f.Wallets {
		address, err := consent.ParseAddress(p.Address)
		if err != nil {
			return nil, fmt.Errorf("the wallet %s: %w", consent.Quote(name), err)
		}
		s.AddWallet(name, Profile{address, p.Secret, p.Created, p.Backup, p.Restored})
	}
	for name, n := range f.Networks {
		var registry common.Address
		if n.Registry != "" {
			if registry, err = consent.ParseAddress(n.Registry); err != nil {
				return nil, fmt.Errorf("the registry of the network %s: %w", consent.Quote(name), err)
			}
		}
		if n.RelayToken != "" && len(n.Relay) > 0 && n.RelayTokens == nil {
			n.RelayTokens = map[string]string{n.Relay[0]: n.RelayToken}
		}
		s.AddNetwork(name, Network{n.Endpoints, n.ChainID, registry, n.Confirmations, n.Relay, n.RelayTokens})
	}
	return s, s.check()
}

// AddWallet adds a wallet, or changes what is known of it.
func (s *Settings) AddWallet(name string, p Profile) {
	if s.Wallets == nil {
		s.Wallets = make(map[string]Profile)
	}
	s.Wallets[name] = p
}

// AddNetwork adds a network, or changes what is known of it.
func (s *Settings) AddNetwork(name string, n Network) {
	if s.Networks == nil {
		s.Networks = make(map[string]Network)
	}
	s.Networks[name] = n
}

func (s *Settings) file() settingsFile {
	f := settingsFile{Wallet: s.Wallet, Network: s.Network, Wallets: make(map[string]profileFile), Networks: make(map[string]networkFile)}
	for name, p := range s.Wallets {
		f.Wallets[name] = profileFile{p.Address.Hex(), p.Secret, p.Created, p.Backup, p.Restored}
	}
	for name, n := range s.Networks {
		registry := ""
		if n.Registry != (common.Address{}) {
			registry = n.Registry.Hex()
		}
		f.Networks[name] = networkFile{
			Endpoints: n.Endpoints, ChainID: n.ChainID, Registry: registry, Confirmations: n.Confirmations, Relay: n.Relays, RelayTokens: n.RelayTokens,
		}
	}
	return f
}

// check requires what is required of settings that are read or written.
func (s *Settings) check() error {
	for name, p := range s.Wallets {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("a wallet: %w", err)
		}
		if err := p.check(); err != nil {
			return fmt.Errorf("the wallet %s: %w", name, err)
		}
	}
	for name, n := range s.Networks {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("a network: %w", err)
		}
		if name == Local {
			return fmt.Errorf("the network %s is the embedded chain: choose another name", Local)
		}
		if err := n.check(); err != nil {
			return fmt.Errorf("the network %s: %w", name, err)
		}
	}
	if s.Wallet != "" {
		if _, _, err := s.FindWallet(""); err != nil {
			return err
		}
	}
	_, _, err := s.FindNetwork("")
	return err
}

func (p *Profile) check() error {
	switch {
	case p.Address == (common.Address{}):
		return errors.New("it has no address")
	case p.Secret != InKeyring && p.Secret != InFile:
		return fmt.Errorf("secret %s: want %s or %s", consent.Quote(string(p.Secret)), InKeyring, InFile)
	}
	return nil
}

func (n *Network) check() error {
	if len(n.Endpoints) == 0 {
		return errors.New("it has no endpoints")
	}
	for _, endpoint := range n.Endpoints {
		if err := checkEndpoint(endpoint); err != nil {
			return err
		}
	}
	for _, relay := range n.Relays {
		if _, err := consent.ParseGatewayURL(relay); err != nil {
			return fmt.Errorf("a relay: %w", err)
		}
	}
	for relay := range n.RelayTokens {
		if !slices.Contains(n.Relays, relay) {
			return fmt.Errorf("relay_tokens has a token for %s, which is no relay of it", consent.Quote(relay))
		}
	}
	if n.ChainID == 0 || n.ChainID > maxNumber {
		return fmt.Errorf("chain_id %d: want 1 to %d", n.ChainID, uint64(maxNumber))
	}
	return nil
}

// checkEndpoint requires a URL, or the path of a socket. The error shows no
// more than the scheme and the host: a URL may hold an access key.
func checkEndpoint(endpoint string) error {
	if filepath.IsAbs(endpoint) || strings.HasPrefix(endpoint, `\\.\pipe\`) {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) {
		shown := "an endpoint"
		if err == nil {
			shown = "the endpoint " + consent.Quote(u.Scheme+"://"+u.Host)
		}
		return fmt.Errorf("%s: want a URL of http, https, ws or wss, or the whole path of a socket", shown)
	}
	return nil
}

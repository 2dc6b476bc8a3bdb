package wallet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

func newHome(t *testing.T) Home {
	folder := t.TempDir()
	return Home{Config: filepath.Join(folder, "config", "assent"), Data: filepath.Join(folder, "data", "assent")}
}

var (
	someProfile = Profile{Address: common.HexToAddress("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"), Secret: InKeyring, Created: 1_700_000_000}
	someNetwork = Network{Endpoints: []string{"https://chain.example/key?x=1", "wss://[::1]:8546", "http://localhost:8545", "/run/chain.ipc"}, ChainID: 1337,
		Relays: []string{"https://relay.example", "http://127.0.0.1:8600"}, RelayTokens: map[string]string{"http://127.0.0.1:8600": "A7BDK"}}
)

func TestNewcomersNeedNoSettings(t *testing.T) {
	h := newHome(t)
	s, err := h.Settings()
	if err != nil {
		t.Fatal(err)
	}
	if name, network, err := s.FindNetwork(""); name != Local || !reflect.DeepEqual(network, Network{}) || err != nil {
		t.Errorf("network %q, %+v, %v: want that of the embedded chain", name, network, err)
	}
	if _, _, err := s.FindWallet(""); !errors.Is(err, ErrNoWallet) {
		t.Errorf("%v: want ErrNoWallet", err)
	}
	if _, err := os.Stat(h.Config); !os.IsNotExist(err) {
		t.Errorf("%v: reading made a folder", err)
	}
}

func TestDefaultHomeIsAFolderOfTheProgramsOwn(t *testing.T) {
	h := DefaultHome()
	if filepath.Base(h.Config) != "assent" || filepath.Base(h.Data) != "assent" || !filepath.IsAbs(h.Config) || !filepath.IsAbs(h.Data) {
		t.Errorf("%+v", h)
	}
}

func TestSettingsAreKept(t *testing.T) {
	h := newHome(t)
	second := someProfile
	second.Secret, second.Backup, second.Restored = InFile, true, true
	own := someNetwork
	own.Registry, own.Confirmations = domain.Registry, 12
	err := h.Edit(t.Context(), func(s *Settings) error {
		s.AddWallet("first", someProfile)
		s.AddWallet("2nd-one", second)
		s.AddNetwork("test", someNetwork)
		s.AddNetwork("own", own)
		s.Wallet, s.Network = "2nd-one", "own"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.Settings()
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		Wallet: "2nd-one", Network: "own",
		Wallets:  map[string]Profile{"first": someProfile, "2nd-one": second},
		Networks: map[string]Network{"test": someNetwork, "own": own},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v: want %+v", s, want)
	}
	if name, profile, err := s.FindWallet(""); name != "2nd-one" || profile != second || err != nil {
		t.Errorf("%s, %+v, %v", name, profile, err)
	}
	if name, profile, err := s.FindWallet("first"); name != "first" || profile != someProfile || err != nil {
		t.Errorf("%s, %+v, %v", name, profile, err)
	}
	if name, network, err := s.FindNetwork(""); name != "own" || !reflect.DeepEqual(network, own) || err != nil {
		t.Errorf("%s, %+v, %v", name, network, err)
	}
	if name, _, err := s.FindNetwork(Local); name != Local || err != nil {
		t.Errorf("%s, %v", name, err)
	}
	if _, _, err := s.FindWallet("\x1bthird"); err == nil || !strings.Contains(err.Error(), "“third”") {
		t.Errorf("%v: want it named", err)
	}
	if _, _, err := s.FindNetwork("third"); err == nil || !strings.Contains(err.Error(), "“third”") {
		t.Errorf("%v: want it named", err)
	}
	text, err := os.ReadFile(h.settingsPath())
	if err != nil || !strings.Contains(string(text), someProfile.Address.Hex()) || !strings.Contains(string(text), domain.Registry.Hex()) {
		t.Errorf("%s, %v: want addresses in EIP-55", text, err)
	}
	info, err := os.Stat(h.settingsPath())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v: want 0600", info, err)
	}
	files, err := os.ReadDir(h.Config)
	if err != nil || len(files) != 2 { // and the lock
		t.Errorf("%v, %v: want nothing left over", files, err)
	}
}

func TestSettingsFileErrors(t *testing.T) {
	wallet := "[wallets.first]\naddress = \"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\"\nsecret = \"keyring\"\n"
	network := "[networks.test]\nchain_id = 1\nendpoints = [\"http://localhost\"]\n"
	for _, c := range []struct{ name, text, want string }{
		{"not TOML", "wallet = \n", "line 1, column "},
		{"unknown setting", "# mine\ncolour = \"red\"\n", "line 2: unknown setting “colour”"},
		{"unknown setting of a wallet", wallet + "colour = 1\n", "line 4: unknown setting “wallets.first.colour”"},
		{"unknown setting of a network", network + "gas = 1\n", "line 4: unknown setting “networks.test.gas”"},
		{"another type", "\nwallet = 1\n", "line 2, column "},
		{"negative number", "[networks.test]\nchain_id = -1\n", "line 2, column "},
		{"the same twice", "wallet = \"a\"\nwallet = \"b\"\n", "line 2"},
		{"no such wallet", "wallet = \"first\"\n", "no wallet “first”"},
		{"no such network", "network = \"test\"\n", "no network “test”"},
		{"name of a wallet", strings.Replace(wallet, "first", "First", 1), "the name “First”"},
		{"long name of a wallet", strings.Replace(wallet, "first", strings.Repeat("x", 33), 1), "the name"},
		{"name of a network", strings.Replace(network, "test", `"../x"`, 1), "the name “../x”"},
		{"network named local", strings.Replace(network, "test", "local", 1), "embedded chain"},
		{"checksum of a wallet", strings.Replace(wallet, "0xf39F", "0xF39F", 1), "wallet “first”: address"},
		{"no address", "[wallets.first]\nsecret = \"file\"\n", "wallet “first”: address"},
		{"zero address", "[wallets.first]\nsecret = \"file\"\naddress = \"0x0000000000000000000000000000000000000000\"\n", "no address"},
		{"place of the secret", strings.Replace(wallet, "keyring", "cloud", 1), "secret “cloud”: want keyring or file"},
		{"no endpoints", "[networks.test]\nchain_id = 1\n", "no endpoints"},
		{"scheme of an endpoint", strings.Replace(network, "http:", "ftp:", 1), "“ftp://localhost”"},
		{"no host", strings.Replace(network, "http://localhost", "http://", 1), "want a URL"},
		{"path that is not whole", strings.Replace(network, "http://localhost", "chain.ipc", 1), "want a URL"},
		{"no URL", strings.Replace(network, "http://localhost", "http://a b", 1), "want a URL"},
		{"key in a bad endpoint", strings.Replace(network, "http://localhost", "htp://localhost/KEY", 1), "“htp://localhost”"},
		{"no chain", "[networks.test]\nendpoints = [\"http://localhost\"]\n", "chain_id 0"},
		{"chain id too big", strings.Replace(network, "chain_id = 1", "chain_id = 9007199254740992", 1), "chain_id 9007199254740992"},
		{"relay without TLS", network + "relay = [\"http://relay.example\"]\n", "a relay: "},
		{"token of no relay", network + "relay_tokens = {\"https://relay.example\" = \"KEY\"}\n", "no relay of it"},
		{"one relay that is no list", network + "relay = \"https://relay.example\"\n", "line 4"},
		{"checksum of a registry", network + "registry = \"0x219cF75AdA58E6B6a07e0F9FdDA14b70e768bad1\"\n", "registry of the network “test”: address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t)
			if err := os.MkdirAll(h.Config, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(h.settingsPath(), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, reading := h.Settings()
			editing := h.Edit(t.Context(), func(*Settings) error { return nil })
			for _, err := range []error{reading, editing} {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), h.settingsPath()) || strings.Contains(err.Error(), "KEY") {
					t.Errorf("%v: want %q and the file", err, c.want)
				}
			}
			if text, err := os.ReadFile(h.settingsPath()); string(text) != c.text {
				t.Errorf("%s, %v: want the file as it was", text, err)
			}
		})
	}
}

func TestEditWritesNothingWrong(t *testing.T) {
	h := newHome(t)
	if err := h.Edit(t.Context(), func(s *Settings) error { s.AddWallet("first", someProfile); return nil }); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(h.settingsPath())
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	for name, do := range map[string]func(*Settings) error{
		"refused":        func(s *Settings) error { s.Wallet = "first"; return refused },
		"no such wallet": func(s *Settings) error { s.Wallet = "second"; return nil },
		"bad network":    func(s *Settings) error { s.AddNetwork("test", Network{}); return nil },
		"bad wallet":     func(s *Settings) error { s.AddWallet("A", someProfile); return nil },
	} {
		if err := h.Edit(t.Context(), do); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after, err := os.ReadFile(h.settingsPath()); string(after) != string(before) {
			t.Errorf("%s: %s, %v: want the file as it was", name, after, err)
		}
	}
}

func TestSettingsFolderThatIsNone(t *testing.T) {
	h := newHome(t)
	if err := os.MkdirAll(filepath.Dir(h.Config), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, reading := h.Settings()
	for action, err := range map[string]error{"read": reading, "edit": h.Edit(t.Context(), func(*Settings) error { return nil })} {
		if err == nil || !strings.Contains(err.Error(), h.Config) {
			t.Errorf("%s: %v: want the folder named", action, err)
		}
	}
}

func init() {
	children["edit"] = func() error {
		h := Home{Config: os.Args[1]}
		for i := range 5 {
			err := h.Edit(context.Background(), func(s *Settings) error {
				s.AddWallet(fmt.Sprintf("%s-%d", os.Args[2], i), someProfile)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func TestProcessesDoNotLoseEachOthersWallets(t *testing.T) {
	h := newHome(t)
	const processes = 5
	var all sync.WaitGroup
	for i := range processes {
		editor := child(t, "edit", h.Config, fmt.Sprint(i))
		all.Go(func() {
			if said, err := editor.Output(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
	all.Wait()
	s, err := h.Settings()
	if err != nil || len(s.Wallets) != 5*processes {
		t.Errorf("%d wallets, %v: want %d", len(s.Wallets), err, 5*processes)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(t.Context(), path, 30*time.Millisecond); !errors.Is(err, errLocked) {
		t.Errorf("%v: want errLocked", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, path, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("%v: want context.Canceled", err)
	}
	unlock()
	if unlock, err = lock(t.Context(), path, time.Second); err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := lock(t.Context(), filepath.Join(path, "x"), time.Second); err == nil || errors.Is(err, errLocked) {
		t.Errorf("%v: want what the system says", err)
	}
}

func TestHomeOpensStoreAndKeystoreInItsData(t *testing.T) {
	h := newHome(t)
	s, err := h.OpenStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(filepath.Join(h.Data, "assent.db")); err != nil {
		t.Error(err)
	}
	if folder := h.Keystore(typed("")).Folder; filepath.Dir(folder) != h.Data {
		t.Errorf("keystore in %s", folder)
	}
}

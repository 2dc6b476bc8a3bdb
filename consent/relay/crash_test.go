package relay_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/database/databasetest"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/consent/relay"
	"github.com/assent-wallet/assent/wallet"
)

// The processes of the crash test are this same binary, with the name of one in
// childVariable and its folder in folderVariable.
const (
	childVariable  = "ASSENT_RELAY_TEST_CHILD"
	folderVariable = "ASSENT_RELAY_TEST_FOLDER"
	numberVariable = "ASSENT_RELAY_TEST_NUMBER" // which of several
	crashVariable  = "ASSENT_TEST_CRASH"        // how long, such as 10m
)

func TestMain(m *testing.M) {
	children := map[string]func(folder string) error{"chain": chainChild, "relay": relayChild, "wallets": walletsChild}
	child := children[os.Getenv(childVariable)]
	if child == nil {
		os.Exit(m.Run())
	}
	// Whoever started it may be gone.
	go func() {
		os.Stdin.Read(make([]byte, 1))
		os.Exit(1)
	}()
	if err := child(os.Getenv(folderVariable)); err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(childVariable)+":", err)
		os.Exit(1)
	}
}

// place is where the processes find each other.
type place struct {
	Chain    string   // host:port
	Relays   []string // host:port of each
	ID       uint64   // of the chain
	Database string   // of the relays
}

func readPlace(folder string) (p place, err error) {
	text, err := os.ReadFile(filepath.Join(folder, "place"))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	return p, err
}

func (p place) domain() consent.Domain {
	return consent.Domain{ChainID: p.ID, Registry: registry.Address}
}

// clients gives a client of each relay.
func (p place) clients() (clients []*relay.Client, err error) {
	for _, at := range p.Relays {
		c, err := relay.NewClient("http://"+at, "")
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

func (p place) registry() *registry.Client {
	return registry.New(registry.Network{
		Name: "crash", ChainID: p.ID, Endpoints: []registry.Endpoint{registry.URL("http://" + p.Chain)}, OnDemand: true, Timeout: 5 * time.Second,
	}, nil) // the node lends an account
}

func chainChild(folder string) error {
	p, err := readPlace(folder)
	if err != nil {
		return err
	}
	var chain *devchain.Chain
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		// What a process that was killed held may still be on its way back.
		chain, err = devchain.Serve(context.Background(), filepath.Join(folder, "chain"), devchain.Options{HTTP: p.Chain})
		if err == nil {
			break
		} else if time.Now().After(deadline) {
			return err
		}
	}
	<-chain.Done()
	return chain.Err()
}

func relayChild(folder string) error {
	p, err := readPlace(folder)
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(os.Getenv(numberVariable))
	if err != nil {
		return err
	}
	r, err := relay.Open(context.Background(), sponsor{p.registry()}, relay.Options{
		Database: p.Database, Account: common.Address{0xaa}, URL: "http://" + p.Relays[i], Domain: p.domain(), Interval: time.Second, Finality: 10,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", p.Relays[i])
	if err != nil {
		return err
	}
	go r.Run(context.Background())
	return http.Serve(listener, r.Handler())
}

// people are the wallets of the crash test: the same ones in each process.
func people() (keys []*wallet.Key) {
	for i := range 6 {
		entropy := sha256.Sum256([]byte(fmt.Sprint("person ", i)))
		key, err := wallet.NewKey(entropy[:16])
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// walletsChild hands in roots and secrets, sends letters and fetches them. What
// the relay acknowledged goes into a journal; what goes wrong as well.
func walletsChild(folder string) error {
	p, err := readPlace(folder)
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(filepath.Join(folder, "journal"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	write := func(format string, args ...any) { fmt.Fprintf(journal, format+"\n", args...) } // one write each: whole lines
	clients, err := p.clients()
	if err != nil {
		return err
	}
	either := func() *relay.Client { return clients[rand.IntN(len(clients))] }
	ctx, domain := context.Background(), p.domain()
	forever := func(every time.Duration, do func()) {
		go func() {
			for {
				do()
				time.Sleep(every)
			}
		}()
	}
	for range 8 {
		forever(20*time.Millisecond, func() {
			if root := random(); either().Submit(ctx, root) == nil {
				write("root %s", root.Hex())
			}
		})
	}
	forever(50*time.Millisecond, func() {
		if secret := random(); either().Revoke(ctx, []common.Hash{secret}) == nil {
			write("secret %s", secret.Hex())
		}
	})
	keys := people()
	for i, key := range keys {
		to := keys[(i+1)%len(keys)]
		card, err := to.SignCard(domain, consent.Card{Name: "somebody", Time: uint64(time.Now().Unix())})
		if err != nil {
			return err
		}
		published := false
		forever(100*time.Millisecond, func() {
			if !published { // the relay may be away
				published = either().PutCard(ctx, card) == nil
			}
			letter := to.Address().Hex() + " " + random().Hex()
			if either().Send(ctx, to.Address(), []byte(letter)) == nil {
				write("sent %s", letter)
			}
		})
		forever(300*time.Millisecond, func() { fetch(ctx, either(), key, domain, write) })
	}
	select {}
}

// fetch takes what is in a mailbox: it is written down before it is taken away.
func fetch(ctx context.Context, c *relay.Client, key *wallet.Key, domain consent.Domain, write func(string, ...any)) {
	box, err := c.Mailbox(ctx, key.Address(), domain, proving(key, domain, time.Now()))
	if err != nil {
		return
	}
	list, err := box.List(ctx)
	if err != nil {
		return
	}
	for _, l := range list {
		letter, err := box.Read(ctx, l.ID)
		if err != nil {
			return
		}
		if !strings.HasPrefix(string(letter), key.Address().Hex()+" ") {
			write("wrong %q in the mailbox of %s", letter, key.Address())
		}
		write("got %s", letter)
		if box.Delete(ctx, l.ID) != nil {
			return
		}
	}
}

// child is a process that is started again when it was killed.
type child struct {
	name, folder string
	number       int
	cmd          *exec.Cmd
}

func (c *child) start(t *testing.T) {
	t.Helper()
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childVariable+"="+c.name, folderVariable+"="+c.folder, numberVariable+"="+strconv.Itoa(c.number))
	c.cmd.Stderr = os.Stderr
	if _, err := c.cmd.StdinPipe(); err != nil { // which ends when this process does
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (c *child) kill() {
	c.cmd.Process.Kill() // kill -9
	c.cmd.Wait()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Relays, chain and wallets are killed at random under load. At the end every
// root that was acknowledged is proven by the chain, every secret is revealed,
// and every letter was fetched by whom it was for, or is still there for her.
// Two relays share PostgreSQL.
func TestCrash(t *testing.T) {
	lasts := 10 * time.Second
	if testing.Short() {
		lasts = 5 * time.Second
	}
	if text := os.Getenv(crashVariable); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	databasetest.Each(t, func(t *testing.T, location string) {
		relays := 1
		if strings.HasPrefix(location, "postgres") {
			relays = 2
		}
		crash(t, location, relays, lasts)
	})
}

func crash(t *testing.T, location string, relays int, lasts time.Duration) {
	folder := t.TempDir()
	first, err := devchain.Open(t.Context(), filepath.Join(folder, "chain"))
	if err != nil {
		t.Fatal(err)
	}
	p := place{Chain: freeAddress(t), ID: first.ChainID(), Database: location}
	deploying := registry.New(registry.Network{ChainID: p.ID, OnDemand: true, Endpoints: []registry.Endpoint{{Name: "embedded", Dial: first.Dial}}}, registry.KeyPayer(first.Key()))
	_, err = deploying.Deploy(t.Context())
	deploying.Close()
	first.Close()
	if err != nil {
		t.Fatal(err)
	}
	all := []*child{{name: "wallets", folder: folder}, {name: "chain", folder: folder}}
	for i := range relays {
		p.Relays = append(p.Relays, freeAddress(t))
		all = append(all, &child{name: "relay", folder: folder, number: i})
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "place"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		c.start(t)
		t.Cleanup(c.kill)
	}
	kills := map[string]int{}
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond) // what is tested is what happens at any moment
		for range 1 + rand.IntN(2) {
			c := all[rand.IntN(len(all))]
			c.kill()
			kills[c.name]++
			c.start(t)
		}
	}
	all[0].kill()

	roots, secrets, letters := journal(t, folder)
	t.Logf("killed %v under load; acknowledged: %d roots, %d secrets; %d letters were not fetched yet", kills, len(roots), len(secrets), len(letters))
	if len(roots) == 0 || len(secrets) == 0 {
		t.Fatal("that is no load")
	}
	chain := p.registry()
	defer chain.Close()
	clients, err := p.clients()
	if err != nil {
		t.Fatal(err)
	}
	checkRoots(t, clients, chain, roots)
	var hashes []common.Hash
	for _, secret := range secrets {
		hashes = append(hashes, consent.Revocation(secret))
	}
	within(t, time.Minute, "every secret is on chain", func() bool {
		state, err := chain.Read(t.Context(), consent.Entries{Revocations: hashes})
		return err == nil && !slices.ContainsFunc(hashes, func(h common.Hash) bool { return state.Revoked[h] == 0 })
	})
	within(t, time.Minute, "no letter is lost", func() bool {
		for _, key := range people() { // it was started just now, and may not answer yet
			fetch(t.Context(), clients[0], key, p.domain(), func(format string, args ...any) {
				if line := fmt.Sprintf(format, args...); strings.HasPrefix(line, "got ") {
					delete(letters, strings.TrimPrefix(line, "got "))
				} else {
					t.Error(line)
				}
			})
		}
		return len(letters) == 0
	})
	for _, c := range clients {
		c.Close()
	}
}

// journal gives what was acknowledged, and of the letters those that were not
// fetched.
func journal(t *testing.T, folder string) (roots, secrets []common.Hash, unfetched map[string]bool) {
	t.Helper()
	file, err := os.Open(filepath.Join(folder, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sent, got := map[string]bool{}, map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		kind, value, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "root":
			roots = append(roots, common.HexToHash(value))
		case "secret":
			secrets = append(secrets, common.HexToHash(value))
		case "sent":
			sent[value] = true
		case "got":
			got[value] = true
		default:
			t.Error(lines.Text())
		}
	}
	t.Logf("%d letters were sent and %d fetched", len(sent), len(got))
	if len(sent) == 0 || len(got) == 0 {
		t.Error("that is no load")
	}
	for letter := range got {
		delete(sent, letter)
	}
	return roots, secrets, sent
}

func checkRoots(t *testing.T, clients []*relay.Client, chain *registry.Client, roots []common.Hash) {
	t.Helper()
	trees := map[common.Hash]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, root := range roots {
		c := clients[i%len(clients)]
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
				a, err := c.Anchored(t.Context(), root, 20*time.Second)
				if err == nil && a != nil {
					mu.Lock()
					defer mu.Unlock()
					trees[consent.Root(root, a.Siblings)] = true
					return
				}
				if time.Now().After(deadline) {
					t.Errorf("the root %s: %v, %v", root, a, err)
					return
				}
			}
		})
	}
	all.Wait()
	var need consent.Entries
	for tree := range trees {
		need.Anchors = append(need.Anchors, tree)
	}
	within(t, time.Minute, "every tree is on chain", func() bool {
		state, err := chain.Read(t.Context(), need)
		return err == nil && !slices.ContainsFunc(need.Anchors, func(tree common.Hash) bool { return state.Anchored[tree] == 0 })
	})
	t.Log(strconv.Itoa(len(trees)) + " trees")
}

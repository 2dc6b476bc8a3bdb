// Package anviltest gives tests a Foundry node (anvil) of their own.
//
// It is for tests alone, and knows nothing of what is put on the chain.
package anviltest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

// ChainID is that of the nodes that Start starts.
const ChainID = 1337

// patience is how long a node may take to listen.
const patience = 20 * time.Second

// Program is the path of anvil: as npm installs it for package registry, or in
// PATH. It is empty where there is none, and the test fails where the
// environment's ASSENT_TEST_REQUIRE lists "anvil".
func Program(t testing.TB) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for root != filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		root = filepath.Dir(root)
	}
	found, _ := filepath.Glob(filepath.Join(root, "consent", "registry", "node_modules", "@foundry-rs", "anvil-*", "bin", "anvil"))
	if len(found) > 0 {
		return found[0]
	}
	path, err := exec.LookPath("anvil")
	if err != nil && slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), "anvil") {
		t.Fatalf("anvil is required: npm ci in consent/registry installs it: %v", err)
	}
	return path
}

// Start starts a fresh node with the arguments, which ends with the test, and
// gives its URL and a connection to it. It lends no account unless the arguments
// say how many. Without anvil the test is skipped, unless it is required.
func Start(t testing.TB, args ...string) (url string, connection *rpc.Client) {
	t.Helper()
	program := Program(t)
	if program == "" {
		t.Skip("no anvil: npm ci in consent/registry installs it")
	}
	if !slices.Contains(args, "--accounts") {
		args = append(args, "--accounts", "0")
	}
	args = append([]string{"--port", "0", "--chain-id", strconv.Itoa(ChainID), "--cache-path", t.TempDir()}, args...)
	// The shell caps the address space at 4 GB and becomes anvil.
	cmd := exec.Command("sh", append([]string{"-c", `ulimit -v 4194304; exec "$@"`, "sh", program}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	listening := make(chan string, 1)
	go func() {
		defer close(listening)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if at, found := strings.CutPrefix(lines.Text(), "Listening on "); found {
				listening <- "http://" + at
			}
		}
	}()
	select {
	case url = <-listening:
	case <-time.After(patience):
	}
	if url == "" {
		t.Fatalf("anvil ended, or does not listen after %s", patience)
	}
	if connection, err = rpc.DialContext(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	return url, connection
}

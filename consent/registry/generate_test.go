package registry_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated compiles the contract and makes its bindings again, and
// compares the committed files byte for byte.
func TestGenerated(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		require(t, "solc", err.Error())
	}
	if _, err := os.Stat(filepath.Join("node_modules", "solc")); err != nil {
		require(t, "solc", "npm ci in this folder installs it: "+err.Error())
	}
	folder := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	run(node, "compile.mjs", folder)
	run("go", "tool", "abigen", "--v2", "--abi", at("Registry.abi"), "--bin", at("Registry.bin"),
		"--pkg", "registry", "--type", "Contract", "--out", at("bindings.go"))
	for _, name := range []string{"Registry.abi", "Registry.bin", "Registry.bin-runtime", "bindings.go"} {
		want, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what Registry.sol gives: run go generate", name)
		}
	}
}

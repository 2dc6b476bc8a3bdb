package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/assent-wallet/assent/wallet"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changing is what differs from one run of the demo to the next.
var changing = regexp.MustCompile(`0x[0-9a-fA-F]+|\d+ [A-Z][a-z]+ \d{4}, [\d:]+ UTC|chain \d+|\(\d+ ms\)|took [\d.]+ s`)

// named is who calls herself what, in the order of the addresses, which is random.
var named = regexp.MustCompile(`(?m)^     … calls itself .*$`)

// unchanging is what two runs of the demo have in common.
func unchanging(transcript string) string {
	return named.ReplaceAllString(changing.ReplaceAllString(transcript, "…"), "     … calls itself …")
}

// TestREADMEDemo holds the transcript in the README to what the demo says.
func TestREADMEDemo(t *testing.T) {
	t.Parallel()
	_, after, found := strings.Cut(readme(t), "<!-- The transcript")
	_, after, opened := strings.Cut(after, "```\n")
	transcript, _, closed := strings.Cut(after, "```\n")
	if !found || !opened || !closed {
		t.Fatal("the README has no transcript")
	}
	var out, talk strings.Builder
	a := &app{stdout: &out, stderr: &talk, now: time.Now, home: wallet.Home{Config: t.TempDir(), Data: t.TempDir()}}
	root := a.command()
	root.SetArgs([]string{"demo"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, got := unchanging(transcript), unchanging(out.String())
	if want != got {
		t.Errorf("the README says\n%s\nand the demo\n%s", transcript, out.String())
	}
}

// TestREADMEGas holds the README's figures to the table that package registry
// measures.
func TestREADMEGas(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "consent", "registry", "testdata", "gas.json"))
	if err != nil {
		t.Fatal(err)
	}
	var gas map[string]int
	if err := json.Unmarshal(text, &gas); err != nil {
		t.Fatal(err)
	}
	gas["revoke 100"] /= 100
	delete(gas, "anchor again")
	p := message.NewPrinter(language.English)
	for call, n := range gas {
		if figure := p.Sprint(n); !strings.Contains(readme(t), figure) {
			t.Errorf("%s costs %s gas, which the README does not say", call, figure)
		}
	}
}

// TestREADMEExitCodes holds the README to the exit codes of errors.go.
func TestREADMEExitCodes(t *testing.T) {
	for _, code := range []int{exitDone, exitFailed, exitUsage, exitDenied, exitKeyring, exitChain, exitInterrupted} {
		if row := fmt.Sprintf("\n| %d | ", code); strings.Count(readme(t), row) != 1 {
			t.Errorf("the README does not say once what exit code %d means", code)
		}
	}
}

// TestREADMECommands requires that every command line of the README is one.
func TestREADMECommands(t *testing.T) {
	text := strings.ReplaceAll(readme(t), "\\\n", " ")
	lines := regexp.MustCompile("(?m)(?:^|&& |`)(assent [a-z][^`&|#>\n]*)").FindAllStringSubmatch(text, -1)
	if len(lines) < 15 {
		t.Fatalf("only %d command lines were found", len(lines))
	}
	root := (&app{}).command()
	root.InitDefaultCompletionCmd()
	for _, line := range lines {
		c, rest, err := root.Find(strings.Fields(line[1])[1:])
		if err != nil || c.HasSubCommands() && !c.HasLocalFlags() { // it only gathers others
			t.Errorf("%q is no command: %v", line[1], err)
		}
		for _, word := range rest {
			if name, ok := strings.CutPrefix(word, "--"); ok && c.Flag(name) == nil {
				t.Errorf("%q: %s has no flag --%s", line[1], c.CommandPath(), name)
			}
		}
	}
}

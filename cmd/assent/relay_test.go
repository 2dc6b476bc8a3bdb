package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent/relay"
)

// Whatever a person wrote into the file of the tokens, a new one is on a line of
// its own.
func TestTokenIsAddedOnItsOwnLine(t *testing.T) {
	older := relay.TokenHash("older")
	for _, there := range []string{"", older + "\n", older, older + "\n# for the ward", "\n"} {
		path := filepath.Join(t.TempDir(), "relay.tokens")
		if there != "" {
			if err := os.WriteFile(path, []byte(there), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]bool{}
		if strings.Contains(there, older) {
			want[older] = true
		}
		for _, token := range []string{"one", "two"} {
			want[relay.TokenHash(token)] = true
			if err := appendLine(path, relay.TokenHash(token)); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := relay.ReadTokens(strings.NewReader(string(text)))
		if err != nil || len(tokens) != len(want) || !tokens[relay.TokenHash("one")] || !tokens[relay.TokenHash("two")] {
			t.Errorf("after %q: %v, %v", there, tokens, err)
		}
		if strings.Contains(strings.TrimPrefix(string(text), there), "\n\n") {
			t.Errorf("after %q: an empty line in %q", there, text)
		}
	}
}

package consent_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/assent-wallet/assent/"

// importRules are the packages of this repository and what of it each may
// import. Tests may import more: they bring a package together with a real
// neighbour.
var importRules = map[string]struct {
	may []string
	why string
}{
	"consent":                       {nil, "other programs import it for the decision alone, and must not get a chain, a store or a terminal with it"},
	"consent/database":              {nil, "it opens databases, and what is kept in them is no concern of its"},
	"consent/database/databasetest": {nil, "tests of any service run on it"},
	"consent/registry":              {[]string{"consent", "consent/database"}, "it posts and reads entries on whatever chain it is given, without knowing records or people"},
	"consent/registry/anviltest":    {nil, "it starts a node, and what is put on its chain is no concern of its"},
	"consent/devchain":              {nil, "it is a chain like any other; what is written on it is no concern of its"},
	"consent/fhir":                  {[]string{"consent"}, "what a scope means for a record does not depend on where the grant was anchored"},
	"consent/gateway":               {[]string{"consent", "consent/database", "consent/fhir"}, "a data holder's service asks the chain through an interface of its own"},
	"consent/gateway/load":          {[]string{"consent", "consent/devchain", "consent/gateway", "consent/registry"}, "it measures the service on a real chain, and nothing depends on it"},
	"consent/relay":                 {[]string{"consent", "consent/database"}, "a sponsor sees 32 bytes, never records or keys"},
	"wallet":                        {[]string{"consent", "consent/database"}, "keys stay away from networks: what posts comes in as an interface"},
	"tui":                           {[]string{"wallet", "consent"}, "screens show what the wallet does and do nothing by themselves"},
	"tui/background":                {nil, "it has to be set up before the libraries of the screen"},
	"cmd/assent": {[]string{"consent", "consent/database", "consent/registry", "consent/devchain", "consent/fhir", "consent/gateway", "consent/relay", "wallet", "tui", "tui/background"},
		"it wires everything, and nothing wires it"},
}

// vagueNames say nothing of what a package is for.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "models", "misc", "shared"}

// sources calls visit with each Go file below the root of the repository that
// is no test, and with the folder it is in.
func sources(t *testing.T, mode parser.Mode, visit func(folder string, file *ast.File)) {
	root := ".."
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, mode)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(folder), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func importPath(t *testing.T, spec *ast.ImportSpec) string {
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		t.Fatal(err)
	}
	return imported
}

func TestImportsPointInward(t *testing.T) {
	files := 0
	sources(t, parser.ImportsOnly, func(folder string, file *ast.File) {
		files++
		rule, known := importRules[folder]
		if !known {
			t.Errorf("package %s: say in importRules what it may import, and why", folder)
			return
		}
		if slices.Contains(vagueNames, path.Base(folder)) || slices.Contains(vagueNames, file.Name.Name) {
			t.Errorf("package %s: name it after what it is for", folder)
		}
		for _, spec := range file.Imports {
			own, is := strings.CutPrefix(importPath(t, spec), module)
			if is && !slices.Contains(rule.may, own) {
				t.Errorf("package %s imports %s: %s", folder, own, rule.why)
			}
		}
	})
	if files < 15 {
		t.Errorf("only %d files: are these all?", files)
	}
	for folder, rule := range importRules {
		if slices.Contains(rule.may, folder) || rule.why == "" {
			t.Errorf("the rule of %s is none", folder)
		}
		for _, other := range rule.may {
			if _, known := importRules[other]; !known || slices.Contains(importRules[other].may, folder) {
				t.Errorf("%s may import %s, which is unknown or imports it in turn", folder, other)
			}
		}
	}
}

// pure are the packages that this one imports. Where only a part of a package
// does without network, disk, clock and randomness, that part is named.
var pure = map[string][]string{
	"bytes": nil, "cmp": nil, "context": {"Context"}, "encoding/binary": nil, "encoding/hex": nil, "errors": nil, "fmt": {"Errorf", "Fprintf", "Sprintf", "Stringer"},
	"io": nil, "maps": nil, "math/big": nil, "slices": nil, "strconv": nil, "strings": nil, "unicode": nil, "unicode/utf8": nil,
	"net/netip": {"ParseAddr"}, "net/url": {"Parse", "URL"}, "path": nil, // to read an address, never to call it
	"crypto": {"SHA256"}, "crypto/ecdsa": {"PrivateKey"}, "crypto/hkdf": nil, "crypto/sha256": nil,
	"crypto/rand":                            {"Int"},             // from the randomness that it is given
	"time":                                   {"Unix", "RFC3339"}, // to write a time, never to ask for it
	"github.com/ethereum/go-ethereum/common": {"Address", "AddressLength", "BytesToAddress", "BytesToHash", "Hash"},
	"github.com/ethereum/go-ethereum/common/lru":  nil,
	"github.com/ethereum/go-ethereum/crypto":      {"Ecrecover", "FromECDSA", "Keccak256", "Keccak256Hash", "Sign", "ValidateSignatureValues"},
	"github.com/go-jose/go-jose/v4":               {"JSONWebKey"},
	"github.com/go-json-experiment/json/jsontext": nil,
}

func TestConsentIsPure(t *testing.T) {
	uses := make(map[string]bool)
	sources(t, parser.SkipObjectResolution, func(folder string, file *ast.File) {
		if folder != "consent" {
			return
		}
		imports := make(map[string]string) // name in this file → path
		for _, spec := range file.Imports {
			imported := importPath(t, spec)
			name := path.Base(imported)
			if strings.HasPrefix(imported, "github.com/go-jose/") {
				name = "jose"
			}
			if spec.Name != nil {
				t.Errorf("%s is imported as %s, which hides what is used of it", imported, spec.Name)
			}
			if _, known := pure[imported]; !known {
				t.Errorf("%s: network, disk, clock, keyring and randomness come in as arguments; if it has none, say so in pure", imported)
			}
			imports[name] = imported
		}
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := selector.X.(*ast.Ident); ok {
				imported, known := imports[of.Name]
				if part := pure[imported]; known && part != nil && !slices.Contains(part, selector.Sel.Name) {
					t.Errorf("%s.%s: of %s only %s does without network, disk, clock and randomness", of.Name, selector.Sel.Name, imported, strings.Join(part, ", "))
				}
				uses[imported+"."+selector.Sel.Name] = true
			}
			return true
		})
	})
	for imported, part := range pure {
		for _, name := range part {
			if !uses[imported+"."+name] {
				t.Errorf("%s.%s is allowed and not used", imported, name)
			}
		}
	}
}

package relay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent/database"
	"github.com/assent-wallet/assent/consent/relay"
)

// No statement of the relay looks at all rows of a table that grows with its age:
// whoever changes anything would wait for it.
func TestStatementsUseIndexes(t *testing.T) {
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "relay.db"), "relay", relay.Schema)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// Most trees are below any number; the index trees_not_final has but few.
	grows := regexp.MustCompile(`^(SCAN|SEARCH) (roots|trees|cards|mail)($| .*\(last<\?\))`)
	planned := 0
	for _, statement := range statements(t) {
		args := make([]any, strings.Count(statement, "$"))
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, args...)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		planned++
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			if grows.MatchString(detail) {
				t.Errorf("%s: %s", statement, detail)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if planned < 20 {
		t.Errorf("%d statements are not all", planned)
	}
}

// statements are those of the package that look for rows of tables.
func statements(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	starts := regexp.MustCompile(`^(SELECT|UPDATE|DELETE) `)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if literal, is := n.(*ast.BasicLit); is && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil && starts.MatchString(text) && !strings.Contains(text, "pg_") && text != "DELETE /mail/{id}" {
					all = append(all, text)
				}
			}
			return true
		})
	}
	return all
}

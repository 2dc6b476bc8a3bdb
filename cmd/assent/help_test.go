package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestHelp holds the help of every command to one form.
func TestHelp(t *testing.T) {
	commands := everyCommand((&app{}).command())
	if len(commands) < 25 {
		t.Errorf("only %d commands are looked at", len(commands))
	}
	for _, c := range commands {
		t.Run(strings.ReplaceAll(c.CommandPath(), " ", "_"), func(t *testing.T) {
			if !capital(c.Short) || strings.HasSuffix(c.Short, ".") || len(c.Short) > 80 {
				t.Errorf("it is described as %q (%d bytes): want a capital, no full stop, and 80 bytes at most", c.Short, len(c.Short))
			}
			if c.Long != "" && (!capital(c.Long) || !strings.HasSuffix(c.Long, ".")) {
				t.Errorf("it is explained as %q: want a capital and a full stop", c.Long)
			}
			if !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("its example does not name it: %q", c.Example)
			}
			checkExamples(t, c)
			c.LocalFlags().VisitAll(func(f *pflag.Flag) { checkFlag(t, c, f) })
			checkText(t, c, helpOf(t, c))
		})
	}
}

// everyCommand gives a command and all under it.
func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, under := range c.Commands() {
		all = append(all, everyCommand(under)...)
	}
	return all
}

func capital(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(first)
}

// A usage text may begin with a name in capitals, such as HL7 or SMART.
var name = regexp.MustCompile(`^[A-Z][A-Z0-9]+\b`)

func checkFlag(t *testing.T, c *cobra.Command, f *pflag.Flag) {
	if f.Usage == "" || capital(f.Usage) && !name.MatchString(f.Usage) || strings.HasSuffix(f.Usage, ".") {
		t.Errorf("--%s is described as %q: want lower case and no full stop", f.Name, f.Usage)
	}
	for above := c.Parent(); above != nil; above = above.Parent() {
		above.PersistentFlags().VisitAll(func(hidden *pflag.Flag) {
			if hidden.Name == f.Name || hidden.Shorthand != "" && hidden.Shorthand == f.Shorthand {
				t.Errorf("--%s hides --%s of %s", f.Name, hidden.Name, above.CommandPath())
			}
		})
	}
}

// checkExamples requires that every command line of the examples is one: a
// command with flags that it has.
func checkExamples(t *testing.T, c *cobra.Command) {
	example := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(c.Example, "")
	for line := range strings.Lines(example) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		line, _, _ = strings.Cut(line, " | ")
		if _, then, found := strings.Cut(line, " && "); found {
			line = then
		}
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.Contains(fields[0], "=") { // a setting for this one command
			fields = fields[1:]
		}
		if len(fields) == 0 || fields[0] != "assent" {
			t.Errorf("the example %q is no command of assent", line)
			continue
		}
		meant, _, err := c.Root().Find(fields[1:])
		if err != nil {
			t.Errorf("the example %q: %v", line, err)
			continue
		}
		for _, field := range fields {
			if flag, found := strings.CutPrefix(field, "--"); found && meant.Flag(flag) == nil {
				t.Errorf("the example %q: %s has no --%s", line, meant.CommandPath(), flag)
			}
		}
	}
}

// chainWords are what nobody has to know who does not run a chain.
var chainWords = regexp.MustCompile(`(?i)\b(gas|nonces?|abi|transactions?|wei)\b`)

func ofTheChain(c *cobra.Command) bool {
	for ; c.HasParent(); c = c.Parent() {
		switch c.Name() {
		case "chain", "network", "observe":
			return true
		}
	}
	return false
}

func checkText(t *testing.T, c *cobra.Command, help string) {
	for line := range strings.Lines(help) {
		line = strings.TrimSuffix(line, "\n")
		if width := utf8.RuneCountInString(line); width > 120 {
			t.Errorf("a line is %d columns wide: %s", width, line)
		}
		if found := chainWords.FindString(line); found != "" && !ofTheChain(c) {
			t.Errorf("it speaks of %q: %s", found, line)
		}
	}
}

// onlyGroup tells whether a command holds others and takes nothing itself.
func onlyGroup(c *cobra.Command) bool { return c.HasSubCommands() && c.Use == c.Name() }

func helpOf(t *testing.T, c *cobra.Command) string {
	var help bytes.Buffer
	c.SetOut(&help)
	c.InitDefaultHelpFlag()
	if err := c.Help(); err != nil {
		t.Fatal(err)
	}
	return help.String()
}

// TestNamedCommands requires that every command that an error or a help text
// tells a person to try is one, in whichever package.
func TestNamedCommands(t *testing.T) {
	root := (&app{}).command()
	root.InitDefaultCompletionCmd()
	quoted := regexp.MustCompile("“assent ([a-z][^”]*)”")
	named := make(map[string]int) // by folder
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || entry.Name() == ".git"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, line := range quoted.FindAllStringSubmatch(string(text), -1) {
			named[filepath.Base(filepath.Dir(path))]++
			c, rest, err := root.Find(strings.Fields(line[1]))
			if err != nil || onlyGroup(c) || len(rest) > 0 && rest[0] != strings.ToUpper(rest[0]) && !strings.HasPrefix(rest[0], "-") && !strings.HasPrefix(rest[0], "%") {
				t.Errorf("%s names %q, which is no command", path, line[0])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) < 4 || named["assent"] < 20 || named["wallet"] == 0 || named["gateway"] == 0 {
		t.Errorf("only these were found: %v", named)
	}
}

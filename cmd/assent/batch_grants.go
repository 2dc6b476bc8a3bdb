package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// grantsWriter writes the grants of a batch. What it finishes is whole: where it
// is cut off, a file that was there before stays as it was.
type grantsWriter struct {
	lines  *bufio.Writer // nil: to a folder
	file   *os.File      // nil: to standard output
	folder string
	taken  map[[8]byte]bool // names in the folder, in small letters
}

func (o *batchOptions) openGrants() (*grantsWriter, error) {
	g := &grantsWriter{folder: o.outDir, taken: make(map[[8]byte]bool)}
	switch {
	case o.outDir != "":
		if err := os.MkdirAll(o.outDir, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of the grants: %w", err)
		}
	case o.out != "":
		file, err := os.OpenFile(o.out+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("write the grants: %w", err)
		}
		g.file, g.lines = file, bufio.NewWriterSize(file, 1<<20)
	default:
		g.lines = bufio.NewWriterSize(o.stdout, 1<<20)
	}
	return g, nil
}

func (g *grantsWriter) write(reference string, document []byte) error {
	if g.lines == nil {
		return g.writeFile(g.name(reference), append(bytes.Clone(document), '\n'))
	}
	_, err := g.lines.Write(document)
	if err == nil {
		err = g.lines.WriteByte('\n')
	}
	if err != nil {
		return fmt.Errorf("write the grants: %w", err)
	}
	return nil
}

// name gives the name of the file for a reference: the reference with all but
// letters, digits, “-”, “_” and “.” within written as %XX. Where another differs
// in nothing but capitals, which some systems do not tell apart, the later row
// gets a number as well.
func (g *grantsWriter) name(reference string) string {
	var b strings.Builder
	for i, c := range []byte(reference) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	name := b.String()
	for n := 2; ; n++ {
		key := [8]byte(fold(b.String()))
		if !g.taken[key] {
			g.taken[key] = true
			return b.String() + ".grant.json"
		}
		b.Reset()
		fmt.Fprintf(&b, "%s~%d", name, n)
	}
}

func fold(name string) []byte {
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	return sum[:8]
}

// writeFile writes a file of the folder, unless it is there as it has to be.
func (g *grantsWriter) writeFile(name string, text []byte) error {
	path := filepath.Join(g.folder, name)
	there, err := os.ReadFile(path)
	if err == nil && bytes.Equal(there, text) {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write the grants: %w", err)
	}
	return nil
}

func (g *grantsWriter) finish() error {
	if g.lines == nil {
		return nil
	}
	err := g.lines.Flush()
	if g.file != nil {
		if err == nil {
			err = g.file.Sync()
		}
		err = errors.Join(err, g.file.Close())
		if err == nil {
			err = os.Rename(g.file.Name(), strings.TrimSuffix(g.file.Name(), ".new"))
		}
	}
	if err != nil {
		return fmt.Errorf("write the grants: %w", err)
	}
	return nil
}

// abort gives up what was written to a file.
func (g *grantsWriter) abort() {
	if g.file != nil {
		g.file.Close()
		os.Remove(g.file.Name())
	}
}

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// grantsWriter writes the grants of a batch. What it finishes is whole and on
// disk: where it is cut off, a file that was there before stays as it was.
type grantsWriter struct {
	lines *bufio.Writer // nil: to a folder
	file  *wholeFile    // nil: to standard output, or a folder

	folder  string
	taken   map[[8]byte]bool // names in the folder, in small letters
	slots   chan struct{}
	writing sync.WaitGroup // of files in the folder
	failed  atomic.Pointer[error]
}

// syncedAtOnce is how many files are made durable side by side: the disk takes
// that many in little more time than one.
const syncedAtOnce = 8

func (o *batchOptions) openGrants() (*grantsWriter, error) {
	if o.outDir != "" {
		return newGrantsFolder(o.outDir)
	}
	if o.out == "" {
		return &grantsWriter{lines: bufio.NewWriterSize(o.stdout, 1<<20)}, nil
	}
	file, err := newWholeFile(o.out)
	if err != nil {
		return nil, fmt.Errorf("write the grants: %w", err)
	}
	return &grantsWriter{file: file, lines: bufio.NewWriterSize(file, 1<<20)}, nil
}

func newGrantsFolder(path string) (*grantsWriter, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the grants: %w", err)
	}
	return &grantsWriter{folder: path, taken: make(map[[8]byte]bool), slots: make(chan struct{}, syncedAtOnce)}, nil
}

func (g *grantsWriter) write(reference string, document []byte) error {
	if g.lines == nil {
		g.writeFile(g.name(reference), append(bytes.Clone(document), '\n'))
		return g.failure()
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

// writeFile has a file of the folder written, while the next grant is made.
func (g *grantsWriter) writeFile(name string, text []byte) {
	path := filepath.Join(g.folder, name)
	g.slots <- struct{}{}
	g.writing.Go(func() {
		defer func() { <-g.slots }()
		if holds(path, text) {
			return
		}
		if err := writeInFolder(path, text); err != nil {
			g.failed.CompareAndSwap(nil, &err)
		}
	})
}

// holds tells whether a file holds this text, durably.
func holds(path string, text []byte) bool {
	file, err := os.OpenFile(path, os.O_RDWR, 0) // for writing: else some systems do not sync it
	if err != nil {
		return false
	}
	defer file.Close()
	there, err := io.ReadAll(io.LimitReader(file, int64(len(text))+1))
	return err == nil && bytes.Equal(there, text) && file.Sync() == nil
}

// writeInFolder writes a file, which is durable once its folder is synced.
func writeInFolder(path string, text []byte) error {
	file, err := newWholeFile(path)
	if err != nil {
		return err
	}
	defer file.discard()
	if _, err := file.Write(text); err != nil {
		return err
	}
	return file.place()
}

// failure says why a file of the folder was not written; nil: none failed so far.
func (g *grantsWriter) failure() error {
	if err := g.failed.Load(); err != nil {
		return fmt.Errorf("write the grants: %w", *err)
	}
	return nil
}

func (g *grantsWriter) finish() error {
	var err error
	if g.lines == nil {
		g.writing.Wait()
		if err := g.failure(); err != nil {
			return err
		}
		err = syncFolder(g.folder)
	} else if err = g.lines.Flush(); err == nil && g.file != nil {
		err = g.file.put()
	}
	if err != nil {
		return fmt.Errorf("write the grants: %w", err)
	}
	return nil
}

// abort gives up what is not finished. Files of a folder that are whole stay.
func (g *grantsWriter) abort() {
	g.writing.Wait()
	if g.file != nil {
		g.file.discard()
	}
}

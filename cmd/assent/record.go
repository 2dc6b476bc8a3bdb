package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/assent-wallet/assent/consent/gateway"
)

// wholeFile is a file that is there whole or not at all, and that only its owner
// may read.
type wholeFile struct {
	*os.File
	path string // once it is whole
	done bool
}

func newWholeFile(path string) (*wholeFile, error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // 0600
	if err != nil {
		return nil, err
	}
	return &wholeFile{File: file, path: path}, nil
}

// put puts the file in its place, to stay there.
func (f *wholeFile) put() error {
	if err := f.place(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

// place puts the file in its place, to stay there once its folder is synced.
func (f *wholeFile) place() error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return err
	}
	f.done = true
	return nil
}

// syncFolder makes durable which files a folder has.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // which has no such call, and does so by itself
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// discard takes away what was not put in its place.
func (f *wholeFile) discard() {
	if !f.done {
		f.Close()
		os.Remove(f.Name())
	}
}

// writeWhole writes a file at once.
func writeWhole(path string, content []byte) error {
	file, err := newWholeFile(path)
	if err != nil {
		return err
	}
	defer file.discard()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.put()
}

// recordWriter writes resources as they come, each once, as a FHIR Bundle of
// type collection or as one resource on each line. Several goroutines may use
// it.
type recordWriter struct {
	mu     sync.Mutex
	out    *bufio.Writer
	file   *wholeFile // nil: standard output
	ndjson bool
	seen   map[string]bool
	count  int
}

func newRecordWriter(path string, stdout io.Writer, ndjson bool) (*recordWriter, error) {
	w := &recordWriter{ndjson: ndjson, seen: make(map[string]bool)}
	if path == "" {
		w.out = bufio.NewWriter(stdout)
		return w, nil
	}
	file, err := newWholeFile(path)
	if err != nil {
		return nil, fmt.Errorf("write the records: %w", err)
	}
	w.file, w.out = file, bufio.NewWriter(file)
	return w, nil
}

// add writes a resource that the data holder at a base URL released; added is
// false where it did so before.
func (w *recordWriter) add(base string, r gateway.Resource) (added bool, err error) {
	name, err := json.Marshal(base + "/" + r.Type + "/" + r.ID)
	if err != nil {
		return false, err
	}
	var line bytes.Buffer // the text stays as it was but for white space
	if err := json.Compact(&line, r.JSON); err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[string(name)] {
		return false, nil
	}
	w.seen[string(name)] = true
	switch {
	case w.ndjson:
		_, err = fmt.Fprintf(w.out, "%s\n", line.Bytes())
	case w.count == 0:
		_, err = fmt.Fprintf(w.out, `{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":%s,"resource":%s}`, name, line.Bytes())
	default:
		_, err = fmt.Fprintf(w.out, `,{"fullUrl":%s,"resource":%s}`, name, line.Bytes())
	}
	w.count++
	return err == nil, err
}

// close ends what was written, and puts a file in its place.
func (w *recordWriter) close() error {
	end := "]}\n"
	switch {
	case w.ndjson:
		end = ""
	case w.count == 0:
		end = `{"resourceType":"Bundle","type":"collection"}` + "\n" // FHIR knows no empty list
	}
	if _, err := w.out.WriteString(end); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil || w.file == nil {
		return err
	}
	return w.file.put()
}

// discard takes away what was not closed. What went to standard output stays.
func (w *recordWriter) discard() {
	if w.file != nil {
		w.file.discard()
	}
}

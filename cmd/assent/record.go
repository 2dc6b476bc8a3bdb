package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/assent-wallet/assent/consent/gateway"
)

// recordWriter writes resources as they come, each once, as a FHIR Bundle of
// type collection or as one resource on each line. A file is there whole or not
// at all, and only its owner may read it. Several goroutines may use it.
type recordWriter struct {
	mu     sync.Mutex
	out    *bufio.Writer
	file   *os.File // nil: standard output
	path   string   // of the file once it is whole
	ndjson bool
	seen   map[string]bool
	count  int
}

func newRecordWriter(path string, stdout io.Writer, ndjson bool) (*recordWriter, error) {
	w := &recordWriter{path: path, ndjson: ndjson, seen: make(map[string]bool)}
	if path == "" {
		w.out = bufio.NewWriter(stdout)
		return w, nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // 0600
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
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(w.file.Name(), w.path); err != nil {
		return err
	}
	w.file = nil
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(filepath.Dir(w.path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// discard takes away what was not closed. What went to standard output stays.
func (w *recordWriter) discard() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// The columns of a batch, and the members of its rows in NDJSON.
const (
	columnReference = iota
	columnGrantee
	columnScopes
	columnPurpose
	columnHolder
	columnFrom
	columnUntil
	columnFor
	columnSensitivities
	columnHandoffs
	columns
)

var columnNames = [columns]string{"reference", "grantee", "scopes", "purpose", "holder", "from", "until", "for", "sensitivities", "handoffs"}

// listed columns hold several values: in CSV with spaces between them.
var columnLists = [columns]bool{columnScopes: true, columnSensitivities: true}

const (
	maxRow    = 64 << 10 // bytes of a row
	chunkRows = 256      // rows that are worked out at once
)

// cell is a value as it is written, and where.
type cell struct {
	text string
	at   wallet.Position
}

// row is a row as it is written.
type row struct {
	at      wallet.Position // of its first character
	json    []byte          // in NDJSON the line, until its members are read
	cells   [columns][]cell // none: nothing was written there
	problem *wallet.Problem // why there is nothing to read
}

// rowReader gives the rows of a file one by one, and io.EOF after the last. What
// is wrong with a row stands in it.
type rowReader interface{ next() (*row, error) }

// headError is a file that cannot be read as a batch at all.
type headError struct{ wallet.Problem }

func (e *headError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// readRows reads CSV, or NDJSON where the file begins with an object.
func readRows(file io.Reader) (rowReader, error) {
	r := bufio.NewReaderSize(file, maxRow+2)
	if mark, _ := r.Peek(3); string(mark) == "\ufeff" {
		_, _ = r.Discard(3)
	}
	for n := 1; ; n++ {
		begin, err := r.Peek(n)
		if err != nil {
			break // what there is, the reader of CSV speaks of
		}
		if c := begin[n-1]; c == '{' {
			return &jsonRows{r: r}, nil
		} else if c != '\n' && c != '\r' && c != ' ' && c != '\t' {
			break
		}
	}
	rows := &csvRows{r: r, line: 1, column: 1}
	return rows, rows.header()
}

// batchFile is the file of a batch: a regular file, so that it can be read again.
type batchFile struct {
	name string
	file *os.File
	size int64
	id   common.Hash
}

// openBatch opens the file of a batch. What can be read only once, such as
// standard input, is first written to a file that goes away with the command.
func (a *app) openBatch(name string) (f *batchFile, err error) {
	f = &batchFile{name: name}
	if name != "-" {
		if f.file, err = os.Open(name); err != nil {
			return nil, fmt.Errorf("open the batch: %w", err)
		}
		if info, err := f.file.Stat(); err != nil || info.IsDir() {
			f.close()
			return nil, fmt.Errorf("open the batch: %s is no file", name)
		} else if !info.Mode().IsRegular() {
			defer f.file.Close()
			err = f.spool(a.home.Data, f.file)
			if err != nil {
				return nil, err
			}
		}
	} else {
		in, err := a.open(name)
		if err != nil {
			return nil, err
		}
		if err := f.spool(a.home.Data, in); err != nil {
			return nil, err
		}
	}
	if f.id, err = wallet.BatchID(f.file); err == nil {
		f.size, err = f.file.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *batchFile) spool(folder string, in io.Reader) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("keep the batch for the time of the command: %w", err)
	}
	kept, err := os.CreateTemp(folder, "batch.*.input") // 0600
	if err != nil {
		return fmt.Errorf("keep the batch for the time of the command: %w", err)
	}
	if runtime.GOOS != "windows" { // which keeps the name of a file that is open
		if err := os.Remove(kept.Name()); err != nil {
			kept.Close()
			return err
		}
	}
	f.file = kept
	if _, err = io.Copy(kept, in); err == nil {
		_, err = kept.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.close()
		return fmt.Errorf("keep the batch for the time of the command: %w", err)
	}
	return nil
}

func (f *batchFile) close() {
	f.file.Close()
	if runtime.GOOS == "windows" && filepath.Ext(f.file.Name()) == ".input" {
		os.Remove(f.file.Name())
	}
}

// hashing reads on, and takes in the hash of what it reads.
type hashing struct {
	io.Reader
	hash hash.Hash
}

func (h hashing) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.hash.Write(p[:n])
	return n, err
}

// rows reads the rows of the file for a batch, each time anew, and fails where
// it is not the file any more that the batch was opened for.
func (f *batchFile) rows(b *wallet.Batch) wallet.BatchRows {
	resolver := newResolver(b)
	return func(ctx context.Context, put func(int, func() []wallet.BatchRow) error) error {
		in := hashing{io.NewSectionReader(f.file, 0, f.size+1), sha256.New()}
		rows, err := readRows(in)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		for end := false; !end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			chunk := make([]*row, 0, chunkRows)
			for len(chunk) < chunkRows && !end {
				r, err := rows.next()
				if errors.Is(err, io.EOF) {
					end = true
				} else if err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				} else {
					chunk = append(chunk, r)
				}
			}
			if end && common.Hash(in.hash.Sum(nil)) != f.id {
				return wallet.ErrBatchChanged
			}
			if len(chunk) == 0 {
				break
			}
			err := put(len(chunk), func() []wallet.BatchRow {
				resolved := make([]wallet.BatchRow, len(chunk))
				for i, r := range chunk {
					resolved[i] = resolver.row(r)
				}
				return resolved
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// csvRows reads CSV of RFC 4180: a header, fields that may stand in quotation
// marks, lines that end in CR LF or LF alone.
type csvRows struct {
	r            *bufio.Reader
	line, column int   // of the next character
	order        []int // the column of each field
}

// header reads the first record: the names of the columns.
func (c *csvRows) header() error {
	fields, problem, err := c.record()
	if problem != nil {
		return &headError{*problem}
	}
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty: see “assent batch --template”")
	} else if err != nil {
		return err
	}
	for _, field := range fields {
		column := slices.Index(columnNames[:], field.text)
		switch {
		case column < 0:
			return &headError{wallet.Problem{Position: field.at, Text: fmt.Sprintf("the column %s is unknown: want %s", consent.Quote(field.text), strings.Join(columnNames[:], ", "))}}
		case slices.Contains(c.order, column):
			return &headError{wallet.Problem{Position: field.at, Text: fmt.Sprintf("the column %s is there twice", field.text)}}
		}
		c.order = append(c.order, column)
	}
	for _, needed := range []int{columnReference, columnGrantee, columnScopes, columnPurpose} {
		if !slices.Contains(c.order, needed) {
			return &headError{wallet.Problem{Position: fields[0].at, Text: fmt.Sprintf("there is no column %s", columnNames[needed])}}
		}
	}
	return nil
}

func (c *csvRows) next() (*row, error) {
	fields, problem, err := c.record()
	if err != nil {
		return nil, err
	}
	if problem != nil {
		return &row{at: problem.Position, problem: problem}, nil
	}
	r := &row{at: fields[0].at}
	if len(fields) != len(c.order) {
		r.problem = &wallet.Problem{Position: r.at, Text: fmt.Sprintf("it has %d fields, and the header %d", len(fields), len(c.order))}
		return r, nil
	}
	for i, field := range fields {
		column := c.order[i]
		switch {
		case columnLists[column]:
			r.cells[column] = words(field)
		case field.text != "":
			r.cells[column] = []cell{field}
		}
	}
	return r, nil
}

// words splits a field at its spaces.
func words(field cell) []cell {
	var list []cell
	at := field.at
	for word := range strings.SplitSeq(field.text, " ") {
		if word != "" {
			list = append(list, cell{word, at})
		}
		at.Column += utf8.RuneCountInString(word) + 1
	}
	return list
}

// record reads the fields of one record; lines with nothing on them are none.
// Where the record is wrong, the rest of its line is passed over.
func (c *csvRows) record() (fields []cell, problem *wallet.Problem, err error) {
	for {
		ahead, err := c.r.Peek(2)
		if len(ahead) == 0 {
			return nil, nil, err
		}
		blank := 1
		if string(ahead) == "\r\n" {
			blank = 2
		} else if ahead[0] != '\n' {
			break
		}
		if _, err := c.r.Discard(blank); err != nil {
			return nil, nil, err
		}
		c.line, c.column = c.line+1, 1
	}
	begin := wallet.Position{Line: c.line, Column: c.column}
	fail := func(at wallet.Position, text string) ([]cell, *wallet.Problem, error) {
		return nil, &wallet.Problem{Position: at, Text: text}, c.pass()
	}
	var text []byte
	size := 0
	quoted, closed := false, false // the field: in quotation marks, and behind them
	at := begin                    // of the field
	for {
		here := wallet.Position{Line: c.line, Column: c.column}
		b, err := c.r.ReadByte()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		ended := err != nil
		if ended && quoted && !closed {
			return nil, &wallet.Problem{Position: at, Text: "a quotation mark is open to the end of the file"}, nil
		}
		if !ended {
			if b == '\n' {
				c.line, c.column = c.line+1, 1
			} else if utf8.RuneStart(b) {
				c.column++
			}
		}
		if size++; size > maxRow {
			problem := &wallet.Problem{Position: begin, Text: fmt.Sprintf("it is longer than %d bytes", maxRow)}
			if ended || b == '\n' {
				return nil, problem, nil
			}
			return nil, problem, c.pass()
		}
		if !ended && quoted && !closed {
			if b != '"' {
				text = append(text, b)
				continue
			}
			if after, _ := c.r.Peek(1); len(after) == 1 && after[0] == '"' {
				_, _ = c.r.ReadByte()
				size, c.column = size+1, c.column+1
				text = append(text, b)
				continue
			}
			closed = true
			continue
		}
		if !ended && b == '\r' {
			after, _ := c.r.Peek(1)
			if len(after) == 0 || after[0] != '\n' {
				return fail(here, "a carriage return stands alone: end lines in CR LF or LF")
			}
			continue
		}
		if ended || b == ',' || b == '\n' {
			if !utf8.Valid(text) {
				problem := &wallet.Problem{Position: at, Text: "it is not UTF-8"}
				if !ended && b == ',' {
					return nil, problem, c.pass()
				}
				return nil, problem, nil
			}
			fields = append(fields, cell{string(text), at})
			if ended || b == '\n' {
				return fields, nil, nil
			}
			text, quoted, closed = text[:0], false, false
			at = wallet.Position{Line: c.line, Column: c.column}
			continue
		}
		switch {
		case closed:
			return fail(here, "something stands behind a closing quotation mark: write “\"\"” for one within")
		case b == '"' && len(text) == 0 && here == at:
			quoted = true
		case b == '"':
			return fail(here, "a quotation mark stands within a field: put all of the field in quotation marks, and write it twice")
		default:
			text = append(text, b)
		}
	}
}

// pass goes on to the next line.
func (c *csvRows) pass() error {
	for {
		_, err := c.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil:
			c.line, c.column = c.line+1, 1
			return nil
		case errors.Is(err, io.EOF):
			return nil
		}
		return err
	}
}

// jsonRows reads NDJSON: an object on each line.
type jsonRows struct {
	r    *bufio.Reader
	line int
}

func (j *jsonRows) next() (*row, error) {
	for {
		j.line++
		line, err := j.r.ReadSlice('\n')
		at := wallet.Position{Line: j.line, Column: 1}
		if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxRow {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = j.r.ReadSlice('\n')
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			return &row{at: at, problem: &wallet.Problem{Position: at, Text: fmt.Sprintf("it is longer than %d bytes", maxRow)}}, nil
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(bytes.TrimSpace(line)) > 0 {
			return &row{at: at, json: bytes.Clone(line)}, nil
		}
	}
}

// members reads the members of a row of NDJSON into its cells. It is strict as
// the documents are: what is unknown, repeated or of another kind is a problem.
func (r *row) members() {
	dec := jsontext.NewDecoder(bytes.NewBuffer(r.json))
	at := func(offset int64) wallet.Position {
		return wallet.Position{Line: r.at.Line, Column: 1 + utf8.RuneCount(r.json[:offset])}
	}
	fail := func(offset int64, format string, args ...any) {
		r.problem = &wallet.Problem{Position: at(offset), Text: fmt.Sprintf(format, args...)}
	}
	wrong := func(err error) {
		offset := dec.InputOffset()
		if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			offset, err = min(syntactic.ByteOffset, int64(len(r.json))), syntactic.Err
		}
		fail(offset, "it is not strict JSON: %s", consent.Quote(err.Error()))
	}
	value := func(kind jsontext.Kind) (cell, bool) {
		read, err := dec.ReadValue()
		if err != nil {
			wrong(err)
			return cell{}, false
		}
		begin := dec.InputOffset() - int64(len(read))
		if read.Kind() != kind {
			fail(begin, "want %s", map[jsontext.Kind]string{'"': "a text in quotation marks", '0': "a number"}[kind])
			return cell{}, false
		}
		text := string(read)
		if kind == '"' {
			unquoted, err := jsontext.AppendUnquote(nil, read)
			if err != nil {
				wrong(err)
				return cell{}, false
			}
			text = string(unquoted)
		}
		return cell{text, at(begin)}, true
	}
	if token, err := dec.ReadToken(); err != nil {
		wrong(err)
		return
	} else if token.Kind() != '{' {
		fail(0, "want an object on each line")
		return
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			wrong(err)
			return
		}
		column := slices.Index(columnNames[:], name.String())
		if column < 0 {
			fail(dec.InputOffset()-int64(len(name.String()))-2, "the member %s is unknown: want %s", consent.Quote(name.String()), strings.Join(columnNames[:], ", "))
			return
		}
		if !columnLists[column] {
			kind := jsontext.Kind('"')
			if column == columnHandoffs {
				kind = '0'
			}
			read, ok := value(kind)
			if !ok {
				r.problem.Field = columnNames[column]
				return
			}
			if read.text != "" {
				r.cells[column] = []cell{read}
			}
			continue
		}
		if token, err := dec.ReadToken(); err != nil {
			wrong(err)
			return
		} else if token.Kind() != '[' {
			fail(dec.InputOffset()-1, "want a list")
			r.problem.Field = columnNames[column]
			return
		}
		for dec.PeekKind() != ']' {
			read, ok := value('"')
			if !ok {
				r.problem.Field = columnNames[column]
				return
			}
			r.cells[column] = append(r.cells[column], read)
		}
		if _, err := dec.ReadToken(); err != nil {
			wrong(err)
			return
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		wrong(err)
		return
	}
	if _, err := dec.ReadToken(); err == nil {
		fail(dec.InputOffset()-1, "something stands behind the object")
	} else if !errors.Is(err, io.EOF) {
		wrong(err)
	}
}

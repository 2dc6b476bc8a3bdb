package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

var batchNow = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

// resolved gives the rows of a file as they are worked out.
func resolved(t testing.TB, text string) ([]wallet.BatchRow, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := (&app{}).openBatch(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.close()
	read := file.rows(&wallet.Batch{Time: uint64(batchNow.Unix()), Names: consent.Names{{0xc1}: "Clinic", {0xd1}: "Twin", {0xd2}: "Twin"}})
	var rows []wallet.BatchRow
	err = read(context.Background(), func(n int, work func() []wallet.BatchRow) error {
		made := work()
		if len(made) != n {
			t.Errorf("%d rows of a chunk of %d", len(made), n)
		}
		rows = append(rows, made...)
		return nil
	})
	if err != nil {
		err = errors.New(strings.TrimPrefix(err.Error(), name+": "))
	}
	return rows, err
}

const (
	batchHead = "reference,grantee,scopes,purpose,for\n"
	batchRow1 = "a,0x00000000000000000000000000000000000000a1,patient/Observation.rs,TREAT,30d\n"
)

// What is wrong is named, and where.
func TestBatchProblems(t *testing.T) {
	whole := func(grantee, scopes, purpose, holder, from, until, length, sensitivities, handoffs string) string {
		return "reference,grantee,scopes,purpose,holder,from,until,for,sensitivities,handoffs\n" +
			strings.Join([]string{"r-1", grantee, scopes, purpose, holder, from, until, length, sensitivities, handoffs}, ",") + "\n"
	}
	const clinic = "0x00000000000000000000000000000000000000a1"
	long := strings.Repeat("x", maxRow)
	for _, c := range []struct{ name, file, want string }{
		{"nothing", "", "it is empty"},
		{"only a mark", "\ufeff", "it is empty"},
		{"blank lines", "\r\n\n", "it is empty"},
		{"unknown column", "reference,grantee,scope\n", "line 1, column 19: the column “scope” is unknown: want reference, grantee"},
		{"column twice", "reference,purpose,reference\n", "line 1, column 19: the column reference is there twice"},
		{"column missing", "reference,purpose,grantee\n", "line 1, column 1: there is no column scopes"},
		{"header in capitals", "Reference\n", "the column “Reference” is unknown"},
		{"header not UTF-8", "refer\xffence\n", "line 1, column 1: it is not UTF-8"},
		{"UTF-16", "\xff\xfer\x00e\x00", "line 1, column 1: it is not UTF-8"},
		{"hostile header", "\"a\x1b[2J\u202eb\"\n", "the column “a[2Jb” is unknown"},
		{"fields missing", batchHead + "a,b\n", "2:1 : it has 2 fields, and the header 5"},
		{"too many fields", batchHead + strings.TrimSpace(batchRow1) + ",x\n", "2:1 : it has 6 fields, and the header 5"},
		{"open quotation", batchHead + "\"a,b\n\n", "2:1 : a quotation mark is open to the end of the file"},
		{"quotation within", batchHead + "a,b\"c,d\n" + batchRow1, "2:4 : a quotation mark stands within a field"},
		{"text behind quotation", batchHead + "\"a\"b,c\n" + batchRow1, "2:4 : something stands behind a closing quotation mark"},
		{"carriage return alone", batchHead + "a\rb,c\n" + batchRow1, "2:2 : a carriage return stands alone"},
		{"not UTF-8", batchHead + "é,\xc3\x28,c\n" + batchRow1, "2:3 : it is not UTF-8"},
		{"too long", batchHead + long + "," + long + "\n" + batchRow1, "2:1 : it is longer than 65536 bytes"},
		{"too long in quotation", batchHead + "\"" + long + long + "\n" + batchRow1, "2:1 : it is longer than 65536 bytes"},
		{"no reference", batchHead + batchRow1[1:], "2:1 reference: it is missing"},
		{"long reference", batchHead + strings.Repeat("é", 33) + batchRow1[1:], "2:1 reference: it has 66 bytes: want at most 64"},
		{"hidden reference", batchHead + "a\u202eb" + batchRow1[1:], "2:1 reference: it has characters that nobody sees"},
		{"reference of two lines", batchHead + "\"a\nb\"" + batchRow1[1:], "2:1 reference: it has characters that nobody sees"},
		{"space before reference", batchHead + " a" + batchRow1[1:], "2:1 reference: it begins or ends with a space"},
		{"no grantee", whole("", "patient/A.r", "TREAT", "", "", "", "1d", "", ""), "2:1 grantee: it is missing"},
		{"typing error", whole("0x52908400098527886E0F7030069857D2E4169ee7", "patient/A.r", "TREAT", "", "", "", "1d", "", ""), "2:5 grantee: address “0x52908400098527886E0F7030069857D2E4169ee7”: its checksum"},
		{"stranger", whole("Nobody", "patient/A.r", "TREAT", "", "", "", "1d", "", ""), "2:5 grantee: “Nobody” is no address, and no card"},
		{"two of a name", whole("Twin", "patient/A.r", "TREAT", "", "", "", "1d", "", ""), "2:5 grantee: 2 keys call themselves “Twin”"},
		{"no scope", whole(clinic, " ", "TREAT", "", "", "", "1d", "", ""), "2:1 scopes: it is missing"},
		{"second scope", whole(clinic, "patient/A.r  patient/B.sr", "TREAT", "", "", "", "1d", "", ""), "2:61 scopes: scope “patient/B.sr”: interactions"},
		{"no purpose", whole(clinic, "patient/A.r", "", "", "", "", "1d", "", ""), "2:1 purpose: it is missing"},
		{"purpose in small letters", whole(clinic, "patient/A.r", "treat", "", "", "", "1d", "", ""), "2:60 purpose: purpose “treat”"},
		{"holder", whole(clinic, "patient/A.r", "TREAT", "0x1", "", "", "1d", "", ""), "2:66 holder: address “0x1”"},
		{"from", whole(clinic, "patient/A.r", "TREAT", "", "tomorrow", "", "1d", "", ""), "2:67 from: “tomorrow”"},
		{"never ends", whole(clinic, "patient/A.r", "TREAT", "", "", "", "", "", ""), "2:1 for: nothing says when it ends"},
		{"ends twice", whole(clinic, "patient/A.r", "TREAT", "", "", "2028-01-01", "1d", "", ""), "2:79 for: until and for say the same thing"},
		{"ended", whole(clinic, "patient/A.r", "TREAT", "", "", "2026-01-01", "", "", ""), "2:68 until: it would end at 2026-01-01T00:00:00Z, before it counts"},
		{"ends first", whole(clinic, "patient/A.r", "TREAT", "", "2029-01-01", "2028-01-01", "", "", ""), "2:78 until: it would end at 2028-01-01T00:00:00Z, before it counts"},
		{"lasted", whole(clinic, "patient/A.r", "TREAT", "", "2026-01-01", "", "1d", "", ""), "2:79 for: it would have ended already"},
		{"length", whole(clinic, "patient/A.r", "TREAT", "", "", "", "soon", "", ""), "2:69 for: “soon”"},
		{"category", whole(clinic, "patient/A.r", "TREAT", "", "", "", "1d", "hiv secret", ""), "2:76 sensitivities: sensitive category “secret”"},
		{"hand-offs", whole(clinic, "patient/A.r", "TREAT", "", "", "", "1d", "", "256"), "2:73 handoffs: “256”: want a number from 0 to 255"},
		{"hand-offs below 0", whole(clinic, "patient/A.r", "TREAT", "", "", "", "1d", "", "-1"), "2:73 handoffs: “-1”"},

		{"no object", "{}\n[]\n", "2:1 : want an object on each line"},
		{"no JSON", "{\"reference\":\"é\",}\n", "1:17 : it is not strict JSON"},
		{"cut short", "{\"reference\":", "1:14 reference: it is not strict JSON"},
		{"two objects", "{} {}\n", "1:4 : something stands behind the object"},
		{"unknown member", "{\"reference\":\"a\",\"x\":1}", "1:18 : the member “x” is unknown"},
		{"member twice", "{\"reference\":\"a\",\"reference\":\"b\"}", "1:18 : it is not strict JSON: “duplicate object member name"},
		{"member in capitals", "{\"Reference\":\"a\"}", "the member “Reference” is unknown"},
		{"number for text", "{\"reference\":7}", "1:14 reference: want a text in quotation marks"},
		{"null", "{\"reference\":null}", "1:14 reference: want a text in quotation marks"},
		{"text for list", "{\"scopes\":\"patient/A.r\"}", "scopes: want a list"},
		{"number in list", "{\"scopes\":[\"patient/A.r\",1]}", "1:26 scopes: want a text in quotation marks"},
		{"text for number", "{\"handoffs\":\"1\"}", "1:13 handoffs: want a number"},
		{"fraction", "{\"handoffs\":1.0}", "1:13 handoffs: “1.0”: want a number from 0 to 255"},
		{"lone surrogate", "{\"reference\":\"\\ud800\"}", "it is not strict JSON"},
		{"NDJSON not UTF-8", "{\"reference\":\"\xff\"}", "it is not strict JSON"},
		{"line too long", "{}\n{\"reference\":\"" + long + long + "\"}\n{", "2:1 : it is longer than 65536 bytes"},
	} {
		rows, err := resolved(t, c.file)
		var found []string
		if err != nil {
			found = append(found, err.Error())
		}
		for _, row := range rows {
			if (row.Draft == nil) != (len(row.Problems) > 0) {
				t.Errorf("%s: %+v", c.name, row)
			}
			for _, p := range row.Problems {
				found = append(found, fmt.Sprintf("%d:%d %s: %s", p.Line, p.Column, p.Field, p.Text))
			}
		}
		if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.want) }) {
			t.Errorf("%s: %q, want %q", c.name, found, c.want)
		}
	}
}

// After a row that is wrong the next one is read.
func TestBatchGoesOn(t *testing.T) {
	for _, wrong := range []string{"a\"b\n", "\"a\"b,c\n", "a\rb\n", "a,\xff,\n", "a,\xff\n", strings.Repeat("x", 3*maxRow) + "\n", ",\n"} {
		rows, err := resolved(t, batchHead+wrong+"\r\n"+batchRow1)
		if err != nil || len(rows) != 2 || len(rows[0].Problems) == 0 || rows[1].Draft == nil || rows[1].Position != (wallet.Position{Line: 4, Column: 1}) {
			t.Errorf("%.20q: %+v, %v", wrong, rows, err)
		}
	}
}

func TestBatchRow(t *testing.T) {
	rows, err := resolved(t, "\ufeff\"grantee\",reference,sensitivities,scopes,purpose,holder,from,until,handoffs\r\n"+
		"Clinic,\"a \"\"b\"\", c\",hiv,patient/Observation.read  patient/Condition.rs?category=b,HRESCH,0x00000000000000000000000000000000000000B1,2027-06-01,2027-07-01T08:00:00Z,2\r\n"+
		"\n0x00000000000000000000000000000000000000a1,b,,patient/*.r,TREAT,,,2028-01-01,")
	if err != nil || len(rows) != 2 || rows[0].Draft == nil || rows[1].Draft == nil {
		t.Fatalf("%+v, %v", rows, err)
	}
	d := rows[0].Draft
	if rows[0].Reference != "a \"b\", c" || rows[0].Position != (wallet.Position{Line: 2, Column: 8}) || d.Grantee != (common.Address{0xc1}) || d.Handoffs != 2 ||
		d.NotBefore != uint64(time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC).Unix()) || d.Expires != uint64(time.Date(2027, 7, 1, 8, 0, 0, 0, time.UTC).Unix()) {
		t.Errorf("%+v, %+v", rows[0], d)
	}
	var provisions []string
	for _, p := range d.Provisions {
		provisions = append(provisions, fmt.Sprintf("%d %s %s %s", p.Holder.Big(), p.Scope, p.Scope.Purpose, p.Scope.Sensitivities))
	}
	want := []string{"177 patient/Observation.rs HRESCH ", "177 patient/Observation.rs HRESCH hiv", "177 patient/Condition.rs?category=b HRESCH ", "177 patient/Condition.rs?category=b HRESCH hiv"}
	if !slices.Equal(provisions, want) {
		t.Errorf("provisions %q", provisions)
	}
	if e := rows[1].Draft; e.NotBefore != uint64(batchNow.Unix()) || e.Provisions[0].Holder != (common.Address{}) || rows[1].Position.Line != 4 {
		t.Errorf("%+v", rows[1])
	}
}

// CSV is read as the standard library writes it, whatever stands in the fields.
func TestCSV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab\",;\n\té 世\u202e")))
		records := rapid.SliceOfN(rapid.SliceOfN(text, 2, 5), 1, 6).Draw(t, "records")
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		w.UseCRLF = rapid.Bool().Draw(t, "CRLF")
		if err := w.WriteAll(records); err != nil {
			t.Fatal(err)
		}
		read, problems := recordsOf(t, file.Bytes())
		if problems > 0 {
			t.Fatalf("%d problems with %q", problems, file.String())
		}
		for _, record := range read {
			for i := range record {
				record[i] = strings.ReplaceAll(record[i], "\r\n", "\n")
			}
		}
		if !reflect.DeepEqual(read, records) {
			t.Fatalf("%q is read as %q", file.String(), read)
		}
	})
}

// What is taken without a problem, the standard library takes as well, and reads
// the same in it.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\r\n\"c\"\"d\",e", "\"a\nb\",c\n", "a\"b", "\"a", "\ra", "a\r\n\r\n,b", "é,\"世\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		read, problems := recordsOf(t, file)
		if problems > 0 || !utf8.Valid(file) || bytes.Contains(file, []byte("\r\r")) { // which it reads as a line's end
			return
		}
		r := csv.NewReader(bytes.NewReader(file))
		r.FieldsPerRecord = -1
		want, err := r.ReadAll()
		if err != nil {
			t.Fatalf("%q is read as %q, and the standard library says %v", file, read, err)
		}
		for _, record := range read {
			for i := range record {
				record[i] = strings.ReplaceAll(record[i], "\r\n", "\n")
			}
		}
		if len(want)+len(read) > 0 && !reflect.DeepEqual(read, want) {
			t.Fatalf("%q is read as %q, want %q", file, read, want)
		}
	})
}

func recordsOf(t interface{ Fatal(...any) }, file []byte) (records [][]string, problems int) {
	c := &csvRows{r: bufio.NewReaderSize(bytes.NewReader(file), 16), line: 1, column: 1}
	lines := bytes.Count(file, []byte("\n")) + 1
	for {
		fields, problem, err := c.record()
		if errors.Is(err, io.EOF) {
			return records, problems
		} else if err != nil {
			t.Fatal(err)
		}
		if problem != nil {
			if problems++; problem.Line < 1 || problem.Line > lines || problem.Column < 1 {
				t.Fatal("a problem is nowhere", *problem)
			}
			continue
		}
		var record []string
		for _, field := range fields {
			record = append(record, field.text)
		}
		records = append(records, record)
	}
}

// The same rows in CSV and in NDJSON say the same, to the word.
func TestBatchFormats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := rapid.StringOfN(rapid.RuneFrom(nil, unicode.L, unicode.P, unicode.N), 1, 16, 64)
		word := rapid.SampledFrom([]string{"patient/Observation.rs", "patient/Condition.r", "nonsense", "hiv", "std", "\"x\",y"})
		var table [][]string
		var lines []string
		var names []string
		for _, column := range rapid.Permutation(slices.Collect(func(yield func(int) bool) {
			for i := range columns {
				if !yield(i) {
					return
				}
			}
		})).Draw(t, "order") {
			names = append(names, columnNames[column])
		}
		table = append(table, names)
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			object := map[string]any{}
			var record []string
			for _, name := range names {
				column := slices.Index(columnNames[:], name)
				switch {
				case columnLists[column]:
					list := rapid.SliceOfN(word, 0, 3).Draw(t, name)
					object[name] = append([]string{}, list...)
					record = append(record, strings.Join(list, " "))
				case column == columnHandoffs:
					n := rapid.IntRange(0, 300).Draw(t, name)
					object[name] = n
					record = append(record, fmt.Sprint(n))
				default:
					text := seen.Draw(t, name)
					object[name] = text
					record = append(record, text)
				}
			}
			line, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, string(line))
			table = append(table, record)
		}
		var file bytes.Buffer
		if err := csv.NewWriter(&file).WriteAll(table); err != nil {
			t.Fatal(err)
		}
		fromCSV, fromJSON := contents(t, file.String()), contents(t, strings.Join(lines, "\n"))
		if !slices.Equal(fromCSV, fromJSON) {
			t.Fatalf("%s\nis not\n%s", file.String(), strings.Join(lines, "\n"))
		}
	})
}

func contents(t *rapid.T, text string) (all [][32]byte) {
	r, err := readRows(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := r.next()
		if errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if row.json != nil {
			row.members()
		}
		if row.problem != nil {
			t.Fatalf("%+v", *row.problem)
		}
		all = append(all, row.content())
	}
}

// Any two rows that are written differently have contents of their own.
func TestBatchContent(t *testing.T) {
	row := func(cells map[int][]string) [32]byte {
		var r row
		for column, texts := range cells {
			for _, text := range texts {
				r.cells[column] = append(r.cells[column], cell{text: text})
			}
		}
		return r.content()
	}
	seen := map[[32]byte]int{}
	for i, cells := range []map[int][]string{
		{}, {columnReference: {"a"}}, {columnGrantee: {"a"}}, {columnPurpose: {"a"}}, {columnHolder: {"a"}}, {columnFrom: {"a"}}, {columnUntil: {"a"}}, {columnFor: {"a"}},
		{columnScopes: {"a"}}, {columnScopes: {"a", "b"}}, {columnScopes: {"a b"}}, {columnSensitivities: {"a"}}, {columnHandoffs: {"a"}},
		{columnReference: {"a"}, columnGrantee: {"b"}}, {columnReference: {"ab"}},
	} {
		if other, twice := seen[row(cells)]; twice {
			t.Errorf("rows %d and %d have one content", i, other)
		}
		seen[row(cells)] = i
	}
}

// The template is the same in both formats, is good, and is as the schema says.
func TestBatchTemplate(t *testing.T) {
	fromCSV, err := resolved(t, templateCSV)
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := resolved(t, templateJSON)
	if err != nil || len(fromCSV) != len(fromJSON) || len(fromCSV) < 2 {
		t.Fatalf("%d and %d rows, %v", len(fromCSV), len(fromJSON), err)
	}
	for i := range fromCSV {
		if fromCSV[i].Draft == nil || !reflect.DeepEqual(fromCSV[i].Draft, fromJSON[i].Draft) {
			t.Errorf("row %d is %+v and %+v", i, fromCSV[i], fromJSON[i])
		}
	}
	var schema map[string]any
	if err := json.Unmarshal(rowSchema, &schema); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(templateJSON) {
		if wrong := against(t, schema, line); len(wrong) > 0 {
			t.Errorf("%s: %q", line, wrong)
		}
	}
	var names []string
	for name := range schema["properties"].(map[string]any) {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := slices.Sorted(slices.Values(columnNames[:])); !slices.Equal(names, want) {
		t.Errorf("the schema knows %q, and rows %q", names, want)
	}
	var categories []any
	for _, c := range consent.SensitivityCategories {
		categories = append(categories, c.Name)
	}
	if got := schema["properties"].(map[string]any)["sensitivities"].(map[string]any)["items"].(map[string]any)["enum"]; !reflect.DeepEqual(got, categories) {
		t.Errorf("the schema's categories are %v", got)
	}
	const good = `"reference":"a","grantee":"b","scopes":["patient/*.r"],"purpose":"TREAT"`
	for line, want := range map[string]string{
		`{` + good + `}`: "oneOf",
		`{` + good + `,"for":"1d","until":"2028-01-01"}`:   "oneOf",
		`{` + good + `,"for":"","until":""}`:               "oneOf",
		`{` + good + `,"for":"1d","x":1}`:                  "additionalProperties",
		`{"grantee":"b","for":"1d"}`:                       "required",
		`{` + good + `,"for":"1d","handoffs":256}`:         "maximum",
		`{` + good + `,"for":"1d","handoffs":"1"}`:         "type",
		`{` + good + `,"for":"1d","sensitivities":["x"]}`:  "enum",
		`{` + good + `,"for":"1 day"}`:                     "pattern",
		`{` + good + `,"for":"1d","from":"today"}`:         "pattern",
		`{` + good[:len(good)-1] + `x","for":"1d"}`:        "pattern",
		`{"scopes":[],"reference":"b","for":"1d"}`:         "minItems",
		`{"scopes":["user/*.r"],"for":"1d","purpose":"A"}`: "pattern",
	} {
		if wrong := against(t, schema, line); !slices.Contains(wrong, want) {
			t.Errorf("%s: %q, want %s", line, wrong, want)
		}
		if rows, err := resolved(t, line); err == nil && rows[0].Draft != nil {
			t.Errorf("%s is no row by the schema, and is taken", line)
		}
	}
	// An empty text stands for a member that is not there.
	for _, line := range []string{
		`{` + good + `,"for":"","until":"2028-01-01"}`, `{` + good + `,"for":"1d","until":"","from":"","holder":""}`,
	} {
		line = strings.Replace(line, `"b"`, `"0x00000000000000000000000000000000000000b1"`, 1)
		if wrong := against(t, schema, line); len(wrong) > 0 {
			t.Errorf("%s is no row by the schema: %q", line, wrong)
		}
		if rows, err := resolved(t, line); err != nil || rows[0].Draft == nil {
			t.Errorf("%s is not taken: %v, %v", line, rows, err)
		}
	}
}

// against gives the keywords of the schema that a value does not keep, and fails
// at a keyword that it does not know.
func against(t *testing.T, schema map[string]any, text string) []string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(text, err)
	}
	return breaks(t, schema, value)
}

func breaks(t *testing.T, schema map[string]any, value any) (wrong []string) {
	t.Helper()
	object, isObject := value.(map[string]any)
	list, isList := value.([]any)
	text, isText := value.(string)
	number, isNumber := value.(float64)
	properties, _ := schema["properties"].(map[string]any)
	check := func(keyword string, good bool) {
		if !good {
			wrong = append(wrong, keyword)
		}
	}
	for keyword, want := range schema {
		switch keyword {
		case "$schema", "title", "description":
		case "type":
			check(keyword, map[any]bool{"object": isObject, "array": isList, "string": isText, "integer": isNumber && number == float64(int(number))}[want])
		case "properties":
			for name, member := range object {
				if under, known := properties[name]; known {
					wrong = append(wrong, breaks(t, under.(map[string]any), member)...)
				}
			}
		case "additionalProperties":
			for name := range object {
				check(keyword, properties[name] != nil)
			}
		case "required":
			for _, name := range want.([]any) {
				_, there := object[name.(string)]
				check(keyword, there)
			}
		case "oneOf":
			n := 0
			for _, one := range want.([]any) {
				if len(breaks(t, one.(map[string]any), value)) == 0 {
					n++
				}
			}
			check(keyword, n == 1)
		case "items":
			for _, item := range list {
				wrong = append(wrong, breaks(t, want.(map[string]any), item)...)
			}
		case "minItems":
			check(keyword, len(list) >= int(want.(float64)))
		case "minLength":
			check(keyword, utf8.RuneCountInString(text) >= int(want.(float64)))
		case "maxLength":
			check(keyword, utf8.RuneCountInString(text) <= int(want.(float64)))
		case "minimum":
			check(keyword, !isNumber || number >= want.(float64))
		case "maximum":
			check(keyword, !isNumber || number <= want.(float64))
		case "pattern":
			check(keyword, !isText || regexp.MustCompile(want.(string)).MatchString(text))
		case "enum":
			check(keyword, slices.Contains(want.([]any), value))
		default:
			t.Fatalf("the schema says %s", keyword)
		}
	}
	return wrong
}

// The names of the files of a folder are safe on every system, each its own, and
// always the same.
func TestBatchNames(t *testing.T) {
	g := &grantsWriter{taken: make(map[[8]byte]bool)}
	for _, c := range [][2]string{
		{"study-0001", "study-0001.grant.json"}, {"../a", "%2E.%2Fa.grant.json"}, {"a b/c\\d", "a%20b%2Fc%5Cd.grant.json"},
		{"é", "%C3%A9.grant.json"}, {"A", "A.grant.json"}, {"a", "a~2.grant.json"}, {"a~2", "a%7E2.grant.json"}, {".hidden", "%2Ehidden.grant.json"},
	} {
		if got := g.name(c[0]); got != c[1] {
			t.Errorf("%q is written to %q, want %q", c[0], got, c[1])
		}
	}
	if longest := g.name(strings.Repeat("/", wallet.MaxReference)); len(longest) > 250 {
		t.Errorf("a name of %d bytes", len(longest))
	}
}

// Two commands that write to one place do not write into each other's files, and
// leave nothing else behind.
func TestBatchGrantsAreWhole(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "grants.ndjson")
	open := func(o batchOptions) *grantsWriter {
		t.Helper()
		g, err := o.openGrants()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.abort)
		return g
	}
	write := func(g *grantsWriter, document string) {
		t.Helper()
		if err := g.write("study/1", []byte(document)); err != nil {
			t.Fatal(err)
		}
	}
	finish := func(g *grantsWriter, path, want string) {
		t.Helper()
		if err := g.finish(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s holds %q, %v: want %q", filepath.Base(path), text, err, want)
		}
	}
	one, two, cutOff := open(batchOptions{out: file}), open(batchOptions{out: file}), open(batchOptions{out: file})
	write(one, `{"one":1}`)
	write(two, `{"two":2}`)
	write(cutOff, `{}`)
	finish(one, file, "{\"one\":1}\n")
	finish(two, file, "{\"two\":2}\n")
	cutOff.abort()

	grants := filepath.Join(folder, "grants")
	each := filepath.Join(grants, "study%2F1.grant.json")
	for _, document := range []string{`{"a":1}`, `{"a":1}`, `{"b":2}`} {
		g := open(batchOptions{outDir: grants})
		write(g, document)
		finish(g, each, document+"\n")
	}
	if err := os.Remove(each); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(each, 0o700); err != nil {
		t.Fatal(err)
	}
	g := open(batchOptions{outDir: grants})
	if err := errors.Join(g.write("study/1", nil), g.finish()); err == nil {
		t.Error("a folder stands in the way of a file, and nothing failed")
	}
	for _, in := range []string{folder, grants} {
		if files, err := os.ReadDir(in); err != nil || len(files) != map[string]int{folder: 2, grants: 1}[in] {
			t.Errorf("%s has %v, %v", in, files, err)
		}
	}
}

// Without a terminal the progress is a line for each stage, and one now and then;
// on a terminal it is one line that changes.
func TestBatchProgress(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			p := &batchProgress{app: &app{stderr: &said}, terminal: terminal}
			p.show(wallet.BatchChecked, 500)
			time.Sleep(50 * time.Millisecond)
			p.show(wallet.BatchChecked, 1000)
			p.end()
			p.rows = 1000
			p.show(wallet.BatchSigned, 0)
			time.Sleep(15 * time.Second)
			p.show(wallet.BatchSigned, 250)
			time.Sleep(time.Second)
			p.show(wallet.BatchSigned, 1000)
			p.end()
			p.end()
			want := "1000 rows checked in 50ms\n250 of 1000 rows signed and stored, about 45s to go\n1000 rows signed and stored in 16s\n"
			if terminal {
				want = eraseLine + "1000 rows checked in 50ms\n" + eraseLine + "250 of 1000 rows signed and stored, about 45s to go" +
					eraseLine + "1000 rows signed and stored" + eraseLine + "1000 rows signed and stored in 16s\n"
			}
			if said.String() != want {
				t.Errorf("terminal %t: %q, want %q", terminal, said.String(), want)
			}
		})
	}
}

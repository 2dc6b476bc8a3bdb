package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// The memory that an answer takes does not grow with it: here one of 160 MB, or of
// 48 MB where there is little time, which the server gives as a single Bundle.
func TestMemoryIsFlat(t *testing.T) {
	const (
		size    = 8 << 10
		allowed = 24 << 20
	)
	resources := 20_000
	if testing.Short() {
		resources = 6_000
	}
	padding := `"note":[{"text":"` + strings.Repeat("x", size) + `"}]`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"resourceType":"Bundle","type":"searchset"`)
		if strings.Contains(r.URL.RawQuery, "subject=") {
			for i := range resources {
				_, _ = fmt.Fprintf(w, `%s{"resource":%s}`, map[bool]string{true: `,"entry":[`, false: `,`}[i == 0], observed(fmt.Sprint("o", i), "anna", padding))
			}
			_, _ = io.WriteString(w, "]")
		}
		_, _ = io.WriteString(w, "}")
	}))
	t.Cleanup(server.Close)
	d := newDesk(t, server.URL).as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.s"))
	before, windows, most := heap(), 0, uint64(0)
	d.note = func(context.Context, *session, notice) error {
		if windows++; windows%20 == 0 {
			most = max(most, heap())
		}
		return nil
	}
	answer, err := http.Get(d.server.URL + "/Patient/anna/$everything")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var end tail
	length, err := io.Copy(&end, answer.Body)
	if err != nil || length < int64(resources*size) || !bytes.HasSuffix(end, fmt.Append(nil, `],"total":`, resources, `}`)) {
		t.Fatalf("%d bytes, %v, at their end %s", length, err, end)
	}
	if windows < resources/window || most == 0 || most > before+allowed {
		t.Errorf("the heap grew from %d to %d bytes in %d windows", before, most, windows)
	}
	t.Logf("%d MB in %d windows, the heap at most %d MB above %d MB", length>>20, windows, (int64(most)-int64(before))>>20, before>>20)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Nor does it grow with all that the verdicts on one window depend on: here 96 MB.
func TestMemoryOfVerdicts(t *testing.T) {
	const (
		reports, results = window, 24
		size             = 40 << 10
		allowed          = 64 << 20
	)
	padding := `"note":[{"text":"` + strings.Repeat("x", size) + `"}]`
	c := newCareless(t)
	for i := range reports {
		name := fmt.Sprintf("DiagnosticReport/d%d", i)
		c.order = append(c.order, name)
		c.resources[name] = fmt.Sprintf(`{"resourceType":"DiagnosticReport","id":"d%d","subject":{"reference":"Patient/anna"},%s}`, i, referring("result", "Observation", "o", i*results, results))
	}
	before, most, reads := heap(), uint64(0), 0
	c.answer = func(w http.ResponseWriter, r *http.Request) bool {
		id, one := strings.CutPrefix(r.URL.Path, "/fhir/Observation/")
		if one {
			if reads++; reads%200 == 0 {
				most = max(most, heap())
			}
			_, _ = io.WriteString(w, observed(id, "anna", padding))
		}
		return one
	}
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/DiagnosticReport.s"))
	if found := d.found("DiagnosticReport"); len(found) != reports || most == 0 || most > before+allowed {
		t.Errorf("%d are found after %d reads, and the heap grew from %d to %d bytes", len(found), reads, before, most)
	}
	t.Logf("%d reads, the heap at most %d MB above %d MB", reads, (int64(most)-int64(before))>>20, before>>20)
}

// tail keeps the last bytes that were written.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	*t = bytes.Clone((*t)[max(0, len(*t)-40):])
	return len(b), nil
}

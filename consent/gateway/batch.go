package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assent-wallet/assent/consent/fhir"
)

// maxBatch is how many requests a batch may have.
const maxBatch = 100

// batchEntry is one request of a batch. What else an entry may have is refused
// rather than overlooked.
type batchEntry struct {
	FullURL  string         `json:"fullUrl"`
	Resource jsontext.Value `json:"resource"`
	Request  struct {
		Method          string `json:"method"`
		URL             string `json:"url"`
		IfMatch         string `json:"ifMatch"`
		IfNoneMatch     string `json:"ifNoneMatch"`
		IfModifiedSince string `json:"ifModifiedSince"`
		IfNoneExist     string `json:"ifNoneExist"`
	} `json:"request"`
}

// batchEntries are read one by one, so that whoever sends too many takes no room
// for them.
type batchEntries []batchEntry

var errLongBatch = &decline{http.StatusRequestEntityTooLarge, "too-costly", "TooLong", "a batch has at most " + strconv.Itoa(maxBatch) + " entries"}

// UnmarshalJSONFrom is of json.UnmarshalerFrom.
func (b *batchEntries) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '[' {
		return errors.Join(err, errors.New("its entries are no list"))
	}
	for dec.PeekKind() != ']' {
		if len(*b) == maxBatch {
			return errLongBatch
		}
		var e batchEntry
		if err := json.UnmarshalDecode(dec, &e); err != nil {
			return err
		}
		*b = append(*b, e)
	}
	_, err := dec.ReadToken()
	return err
}

// batch answers a Bundle of type batch: each entry is a request like any other,
// judged and logged by itself, one after the other. There are no transactions:
// what is judged by itself cannot be undone together.
func (f *front) batch(w http.ResponseWriter, r *http.Request, s *session, what *asked) error {
	if r.URL.RawQuery != "" {
		return invalid(errors.New("a batch has no parameters"))
	}
	if !fhir.IsJSON(r.Header.Get("Content-Type")) {
		return errContentType
	}
	body, err := wholeBody(w, r)
	if err != nil {
		return err
	}
	var sent struct {
		ResourceType string         `json:"resourceType"`
		ID           jsontext.Value `json:"id"`
		Meta         jsontext.Value `json:"meta"`
		Type         string         `json:"type"`
		Entry        batchEntries   `json:"entry"`
	}
	if err := json.Unmarshal(body, &sent, json.RejectUnknownMembers(true)); errors.Is(err, errLongBatch) {
		return errLongBatch
	} else if err != nil {
		return invalid(errors.New("the body is no batch that is understood here: a Bundle of strict JSON with resourceType, type and entries of request and resource"))
	}
	switch {
	case sent.ResourceType != "Bundle":
		return invalid(errors.New("want a Bundle"))
	case sent.Type == "transaction":
		return unsupported("transactions are not done here: send a batch")
	case sent.Type != "batch":
		return invalid(errors.New("want a Bundle of type batch"))
	}
	n := notice{Interaction: what.interaction, Target: strconv.Itoa(len(sent.Entry)) + " entries", Outcome: fhir.Permitted, Request: servedOf(r.Context()).id}
	if err := f.note(r.Context(), s, n); err != nil {
		return f.unlogged(r.Context(), err)
	}
	out := &batchAnswer{w: w}
	for i := range sent.Entry {
		answer := &entryAnswer{header: make(http.Header)}
		one := asked{"batch", sent.Entry[i].Request.Method + " " + sent.Entry[i].Request.URL, time.Now()}
		request, err := f.entryRequest(r, &sent.Entry[i])
		if err == nil {
			err = f.goOn(r.Context(), s, &one)
		}
		if err == nil {
			f.serve(answer, request, s)
		} else {
			f.serveError(answer, r, s, one, err)
		}
		if err := out.add(answer); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	if err := out.end(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// entryRequest makes of an entry the request that it stands for.
func (f *front) entryRequest(r *http.Request, e *batchEntry) (*http.Request, error) {
	switch e.Request.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return nil, invalid(errors.New("want one of the methods GET, POST, PUT and DELETE"))
	}
	at, err := url.Parse(e.Request.URL)
	if err != nil || at.IsAbs() || at.Host != "" || at.Fragment != "" || strings.HasPrefix(e.Request.URL, "/") || at.Path == "" || strings.ContainsAny(e.Request.URL, "\r\n\t ") {
		return nil, invalid(errors.New("want the URL of an entry relative to the base, as in Observation/1"))
	}
	if strings.HasPrefix(at.Path, "?") || strings.Contains(at.EscapedPath(), "$") {
		return nil, unsupported("an operation is not done in a batch")
	}
	inner := r.Clone(r.Context())
	inner.Method, inner.URL, inner.RequestURI = e.Request.Method, &url.URL{Path: f.base + "/" + at.Path, RawPath: "", RawQuery: at.RawQuery}, ""
	if at.RawPath != "" {
		return nil, errPath
	}
	inner.Body, inner.ContentLength = io.NopCloser(bytes.NewReader(e.Resource)), int64(len(e.Resource))
	inner.Header = http.Header{"Accept": {fhirJSON}}
	if prefer := r.Header.Values("Prefer"); len(prefer) > 0 {
		inner.Header["Prefer"] = prefer
	}
	if len(e.Resource) > 0 {
		inner.Header.Set("Content-Type", fhirJSON)
	}
	for name, value := range map[string]string{"If-Match": e.Request.IfMatch, "If-None-Match": e.Request.IfNoneMatch, "If-Modified-Since": e.Request.IfModifiedSince, "If-None-Exist": e.Request.IfNoneExist} {
		if value != "" {
			inner.Header.Set(name, value)
		}
	}
	return inner, nil
}

// entryAnswer keeps the answer to one entry: at most one page of a search, and no
// more than maxEntry bytes.
type entryAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

var errLongAnswer = &decline{http.StatusRequestEntityTooLarge, "too-costly", "TooLong", fmt.Sprintf("the answer to an entry of a batch has at most %d MiB: ask for less at once, by _count", maxEntry>>20)}

func (a *entryAnswer) Header() http.Header { return a.header }

func (a *entryAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *entryAnswer) Write(b []byte) (int, error) {
	if a.body.Len()+len(b) > maxEntry {
		return 0, errLongAnswer
	}
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// reset takes back what was written.
func (a *entryAnswer) reset() {
	clear(a.header)
	a.status, a.body = 0, bytes.Buffer{}
}

// batchAnswer writes a batch-response, each entry as soon as it is there: each
// was logged before.
type batchAnswer struct {
	w       http.ResponseWriter
	entries int
}

func (b *batchAnswer) begin(separator string) error {
	if b.entries == 0 {
		b.w.Header().Set("Content-Type", fhirJSON)
		_, err := io.WriteString(b.w, `{"resourceType":"Bundle","type":"batch-response"`)
		if err != nil || separator == "" {
			return err
		}
		separator = `,"entry":[`
	}
	_, err := io.WriteString(b.w, separator)
	return err
}

func (b *batchAnswer) add(a *entryAnswer) error {
	if err := b.begin(","); err != nil {
		return err
	}
	b.entries++
	status := max(a.status, http.StatusOK)
	response := struct {
		Status       string         `json:"status"`
		Location     string         `json:"location,omitempty"`
		Etag         string         `json:"etag,omitempty"`
		LastModified string         `json:"lastModified,omitempty"`
		Outcome      jsontext.Value `json:"outcome,omitempty"`
	}{Status: strconv.Itoa(status) + " " + http.StatusText(status), Location: a.header.Get("Location"), Etag: a.header.Get("Etag")}
	if at, err := http.ParseTime(a.header.Get("Last-Modified")); err == nil {
		response.LastModified = at.UTC().Format("2006-01-02T15:04:05Z")
	}
	if status >= 400 {
		response.Outcome = a.body.Bytes()
	}
	text, err := json.Marshal(&response)
	if err != nil {
		return err
	}
	entry := []byte{'{'}
	if status < 400 && a.body.Len() > 0 {
		entry = append(append(append(entry, `"resource":`...), a.body.Bytes()...), ',')
	}
	entry = append(append(append(entry, `"response":`...), text...), '}')
	_, err = b.w.Write(entry)
	return err
}

func (b *batchAnswer) end() error {
	if b.entries == 0 {
		if err := b.begin(""); err != nil {
			return err
		}
		_, err := io.WriteString(b.w, "}")
		return err
	}
	_, err := io.WriteString(b.w, "]}")
	return err
}

// inBatch tells whether an answer is that of an entry, which can be no batch.
func inBatch(w http.ResponseWriter) bool {
	_, inner := w.(*entryAnswer)
	return inner
}

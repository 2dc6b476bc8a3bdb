package consent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func roundTrip[T any](t *rapid.T, document *T, read func(io.Reader) (*T, error)) {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if value, err := json.Marshal(*document); err != nil || !bytes.Equal(value, text) {
		t.Fatalf("by value it is written %s, %v", value, err)
	}
	again, err := read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(document, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("written, then read (-want +got):\n%s", diff)
	}
}

func TestDocumentsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roundTrip(t, anyGrantDocument.Draw(t, "grant"), ReadGrant)
		roundTrip(t, anyAccessDocument.Draw(t, "access"), ReadAccess)
		roundTrip(t, anyRequestDocument.Draw(t, "request"), ReadRequest)
		roundTrip(t, anyCardDocument.Draw(t, "card"), ReadCard)
	})
}

// What would not be read is not written.
func TestDocumentsWriteWhatTheyRead(t *testing.T) {
	good := func() *CardDocument { return &CardDocument{Domain: testDomain, Card: Card{Name: "clinic"}} }
	if _, err := good().MarshalJSON(); err != nil {
		t.Fatal(err)
	}
	grant, _ := handedOn(t, 2, fourProvisions())
	for name, d := range map[string]json.Marshaler{
		"number":    func() *CardDocument { d := good(); d.Card.Time = 1 << 53; return d }(),
		"chain":     func() *CardDocument { d := good(); d.Domain.ChainID = 1 << 53; return d }(),
		"text":      func() *CardDocument { d := good(); d.Card.Name = "\xff"; return d }(),
		"signature": func() *CardDocument { d := good(); d.Signature = make([]byte, MaxSignature+1); return d }(),
		"size":      func() *CardDocument { d := good(); d.Card.Sealing = make([]byte, MaxDocument/2); return d }(),
		"filter":    &AccessDocument{Access: Access{Scopes: []Scope{{Resource: "Observation", Filter: "b=1&a=2", Purpose: "TREAT"}}}},
		"resource":  &AccessDocument{Access: Access{Scopes: []Scope{{Resource: "observation", Purpose: "TREAT"}}}},
		"purpose":   &AccessDocument{Access: Access{Scopes: []Scope{{Resource: "Observation", Purpose: "treat"}}}},
		"parents":   &GrantDocument{Domain: testDomain, Parents: []GrantDocument{*grant}},
		"domain":    &GrantDocument{Parents: []GrantDocument{{Domain: testDomain}}},
	} {
		if text, err := d.MarshalJSON(); err == nil {
			t.Errorf("%s: written as %.100s", name, text)
		}
	}
}

func TestReadHostileDocuments(t *testing.T) {
	grant, grantee := handedOn(t, 2, fourProvisions())
	text, err := json.Marshal(accessBy(t, grant, grantee, laboratory, []Scope{laboratoryScope}))
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	if _, err := ReadAccess(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s to replace", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	deep := strings.Repeat(`{"assent":"grant/1","parents":[`, 200000)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                     {"", "cut short at byte 0"},
		"byte order mark":             {"\ufeff" + good, "invalid character"},
		"two":                         {good + good, "something stands after the document"},
		"zero byte after":             {good + "\x00", "invalid character"},
		"cut":                         {good[:len(good)/2], "cut short"},
		"escape in a member":          {replace(`"nonce"`, `"\u001b[31mnonce"`), "unknown member"},
		"member twice, escaped":       {replace(`"nonce"`, `"\u0074ime":0,"nonce"`), "duplicate"},
		"twice in an unknown subtree": {replace(`"nonce":`, `"x":{"a":1,"a":1},"nonce":`), "unknown member"},
		"deep unknown subtree":        {replace(`"nonce":`, `"x":`+strings.Repeat("[", 100000)+`,"nonce":`), "unknown member"},
		"deep list":                   {replace(`"scopes":[`, `"scopes":[`+strings.Repeat("[", 100000)), "want an object, not a list"},
		"number as text":              {replace(fmt.Sprintf(`"time":%d`, uint64(now)), `"time":"1"`), "want a number, not a string"},
		"number too long":             {replace(fmt.Sprintf(`"time":%d`, uint64(now)), `"time":1`+strings.Repeat("0", 100000)), "plain digits"},
		"long kind":                   {replace(`access/1`, strings.Repeat(`\u001b[2J`, 100000)), "not a access/1"},
		"other kind":                  {replace(`access/1`, `grant/1`), "it is a “grant/1”, not a access/1"},
		"line separators":             {replace(`"TREAT"`, `"TREAT\u2028"`), "purpose “TREAT ”"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadAccess(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %.300v, want %q", err, c.want)
			}
			requirePlain(t, err.Error())
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := ReadGrant(strings.NewReader(deep)); err == nil {
		t.Error("grants in grants, 200,000 deep")
	} else {
		requirePlain(t, err.Error())
	}
	if _, err := ReadGrant(io.MultiReader(strings.NewReader(`{"assent":`), endless{})); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("an endless document: %v", err)
	}
}

// endless is white space without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestParseAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAddress.Draw(t, "address")
		for _, text := range []string{a.Hex(), strings.ToLower(a.Hex())} {
			if read, err := ParseAddress(text); err != nil || read != a {
				t.Fatalf("%s is read as %s, %v", text, read, err)
			}
		}
		// One letter in the other case is a wrong checksum.
		text := []byte(a.Hex())
		at := rapid.IntRange(2, len(text)-1).Draw(t, "at")
		if text[at] > '9' {
			text[at] ^= 0x20
			if read, err := ParseAddress(string(text)); err == nil && string(text) != strings.ToLower(a.Hex()) {
				t.Fatalf("%s is read as %s", text, read)
			}
		}
	})
}

func fuzzRead[T any](f *testing.F, seed *T, read func(io.Reader) (*T, error)) {
	text, err := json.Marshal(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte(`{"assent":"grant/1","parents":[{"assent":"grant/1","parents":[]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		document, err := read(bytes.NewReader(text))
		if err != nil {
			requirePlain(t, err.Error())
			return
		}
		written, err := json.Marshal(document)
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		again, err := read(bytes.NewReader(written))
		if err != nil {
			t.Fatalf("written, but not read: %v", err)
		}
		if diff := cmp.Diff(document, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
	})
}

func FuzzReadGrant(f *testing.F) {
	d, _ := handedOn(f, 2, fourProvisions())
	fuzzRead(f, d, ReadGrant)
}

func FuzzReadAccess(f *testing.F) {
	d, grantee := handedOn(f, 2, fourProvisions())
	fuzzRead(f, accessBy(f, d, grantee, laboratory, []Scope{laboratoryScope}), ReadAccess)
}

func FuzzReadRequest(f *testing.F) {
	fuzzRead(f, requestOf("Cardiology clinic", "pre-operative review", laboratoryScope), ReadRequest)
}

func FuzzReadCard(f *testing.F) {
	fuzzRead(f, &requestOf("Cardiology clinic", "").Card, ReadCard)
}

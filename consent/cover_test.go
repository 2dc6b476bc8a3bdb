package consent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
)

func TestGatewayURLs(t *testing.T) {
	for _, good := range []string{
		"https://fhir.hospital.example", "https://hospital.example/assent/r4", "https://hospital.example:8443",
		"http://127.0.0.1:8443", "http://localhost:1", "http://[::1]:8443/base", "https://xn--hspital-9ta.example", "https://[2001:db8::1]",
	} {
		u, err := ParseGatewayURL(good)
		if err != nil || u.String() != good {
			t.Errorf("%s: %v, %v", good, u, err)
		}
	}
	for _, bad := range []string{
		"", "hospital.example", "//hospital.example", "ftp://hospital.example", "javascript:alert(1)", "https:hospital.example", "https://",
		"http://hospital.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "http://0x7f000001", "http://[::ffff:10.0.0.1]",
		"https://user@hospital.example", "https://user:secret@hospital.example", "https://hospital.example?", "https://hospital.example?a=b",
		"https://hospital.example#", "https://hospital.example/#x", "https://hospital.example/", "https://hospital.example/fhir/",
		"https://HOSPITAL.example", "HTTPS://hospital.example", "https://höspital.example", "https://h%6fspital.example", "https://hospital.example:",
		"https://hospital.example/a/../b", "https://hospital.example//b", "https://hospital.example/a b", "https://hospital.example/\n", "https://hospital.example:x",
		"https://hospital.example\\@evil.example", " https://hospital.example", "https://" + strings.Repeat("a", MaxURL) + ".example",
	} {
		if u, err := ParseGatewayURL(bad); err == nil {
			t.Errorf("%q is read as %s", bad, u)
		} else if strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q in an error: %q", bad, err)
		}
	}
}

func TestCover(t *testing.T) {
	cover := &Cover{Holders: []Gateway{
		{Account: laboratory, Name: "Laboratory", URL: "https://lab.example/r4"},
		{Account: common.Address{1}, URL: "http://127.0.0.1:8443"},
	}}
	text, err := json.Marshal(cover)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadCover(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cover, again); diff != "" {
		t.Error(diff)
	}
	for name, hostile := range map[string]string{
		"user":    strings.Replace(string(text), "lab.example", "a@lab.example", 1),
		"plain":   strings.Replace(string(text), "https", "http", 1),
		"twice":   strings.Replace(string(text), laboratory.Hex(), common.Address{1}.Hex(), 1),
		"zero":    strings.Replace(string(text), laboratory.Hex(), common.Address{}.Hex(), 1),
		"member":  strings.Replace(string(text), `"name"`, `"more":1,"name"`, 1),
		"missing": strings.Replace(string(text), `"name":"Laboratory",`, "", 1),
		"name":    strings.Replace(string(text), "Laboratory", strings.Repeat("x", MaxName+1), 1),
		"none":    `{"assent":"cover/1","holders":[]}`,
		"kind":    strings.Replace(string(text), "cover/1", "cover/2", 1),
		"many":    `{"assent":"cover/1","holders":[` + strings.TrimSuffix(strings.Repeat(`{"account":"0x0000000000000000000000000000000000000001","name":"","url":"https://a.example"},`, MaxHolders+1), ",") + `]}`,
		"after":   string(text) + "{}",
	} {
		if hostile == string(text) {
			t.Fatalf("%s changes nothing", name)
		}
		if read, err := ReadCover(strings.NewReader(hostile)); err == nil {
			t.Errorf("%s: read as %s", name, fmt.Sprint(read))
		}
	}
	if _, err := json.Marshal(&Cover{Holders: []Gateway{{Account: laboratory, URL: "http://hospital.example"}}}); err == nil {
		t.Error("what would not be read is written")
	}
}

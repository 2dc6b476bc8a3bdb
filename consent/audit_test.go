package consent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/assent-wallet/assent/consent"
)

// auditVector is what testdata/audit.py worked out.
type auditVector struct {
	Account common.Address
	Entries []struct {
		Number         uint64
		Previous, Hash common.Hash
		Event          string
	}
	Leaf  common.Hash
	Count uint64
	Proof []common.Hash
	Root  common.Hash
}

func readAuditVector(t *testing.T) (auditVector, *consent.AuditDocument) {
	text, err := os.ReadFile("testdata/audit.json")
	if err != nil {
		t.Fatal(err)
	}
	var v auditVector
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	d := &consent.AuditDocument{
		Domain: consent.Domain{ChainID: 1337, Registry: common.Address{9}}, Holder: common.Address{7}, Account: v.Account,
		Checkpoint: consent.AuditCheckpoint{Head: consent.AuditHead{Number: v.Count, Hash: v.Entries[v.Count-1].Hash}, Time: 1_800_000_000, Proof: v.Proof, Root: v.Root},
	}
	for _, e := range v.Entries {
		d.Entries = append(d.Entries, consent.AuditEntry{Number: e.Number, Previous: e.Previous, Event: []byte(e.Event)})
	}
	return v, d
}

func TestAuditVector(t *testing.T) {
	v, d := readAuditVector(t)
	for i, e := range v.Entries {
		if got := d.Entries[i].Hash(); got != e.Hash {
			t.Errorf("entry %d: %s, want %s", e.Number, got, e.Hash)
		}
	}
	if got := d.Checkpoint.Head.Leaf(v.Account); got != v.Leaf {
		t.Errorf("leaf %s, want %s", got, v.Leaf)
	}
	last := consent.AuditHead{Number: 3, Hash: v.Entries[2].Hash}
	if to, proven, err := d.Check(consent.AuditHead{}); err != nil || to != last || proven != 2 {
		t.Errorf("%v, %d, %v", to, proven, err)
	}
	if need := d.Checkpoint.Entries(); !slices.Equal(need.Anchors, []common.Hash{v.Root}) {
		t.Errorf("needs %v", need)
	}
	if need := new(consent.AuditCheckpoint).Entries(); len(need.Anchors) != 0 {
		t.Errorf("no checkpoint needs %v", need)
	}
}

func TestAuditDocument(t *testing.T) {
	_, d := readAuditVector(t)
	text, err := d.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "\t"); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{string(text), indented.String()} {
		read, err := consent.ReadAudit(strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		if _, proven, err := read.Check(consent.AuditHead{}); err != nil || proven != 2 {
			t.Errorf("%d, %v", proven, err)
		}
		again, err := read.MarshalJSON()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%s\nbecomes\n%s, %v", text, again, err)
		}
	}
	for name, c := range map[string]struct{ old, with, want string }{
		"no account":        {`"account":"0x1111111111111111111111111111111111111111",`, ``, "missing"},
		"no checkpoint":     {`"checkpoint":{`, `"point":{`, "unknown member"},
		"event is no event": {`{"resourceType":"AuditEvent","outcome":"4"}`, `"AuditEvent"`, "want an object"},
		"event is null":     {`{"resourceType":"AuditEvent","outcome":"4"}`, `null`, "want an object"},
		"member twice":      {`"outcome":"4"`, `"outcome":"4","outcome":"0"`, "duplicate"},
		"cut":               {`,"next":0}`, ``, "cut short"},
		"kind":              {`audit/1`, `audit/2`, "not a audit/1"},
		"more":              {`"next":0}`, `"next":0}{}`, "after the document"},
	} {
		if _, err := consent.ReadAudit(strings.NewReader(strings.Replace(string(text), c.old, c.with, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for _, event := range []string{``, `{`, `[]`, `"x"`, `{"a": 1}`, `{"a":1}{}`, ` {}`} {
		d.Entries[1].Event = []byte(event)
		if text, err := d.MarshalJSON(); err == nil {
			t.Errorf("the event %s is written: %s", event, text)
		}
	}
}

// Whatever of a log was altered, dropped, moved or put in, its check fails, or
// the entry was not under the checkpoint and nothing says that it is proven.
func TestAuditCheckFindsTampering(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account := common.Address(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "account"))
		n := rapid.Uint64Range(1, 12).Draw(t, "entries")
		whole := &consent.AuditDocument{Account: account}
		var head consent.AuditHead
		var heads []consent.AuditHead
		for range n {
			e := consent.AuditEntry{Number: head.Number + 1, Previous: head.Hash, Event: fmt.Appendf(nil, `{"n":%d}`, rapid.Uint64().Draw(t, "event"))}
			head = consent.AuditHead{Number: e.Number, Hash: e.Hash()}
			whole.Entries, heads = append(whole.Entries, e), append(heads, head)
		}
		under := rapid.IntRange(1, int(n)).Draw(t, "under the checkpoint")
		leaves := []common.Hash{{1}, heads[under-1].Leaf(account), {2}, consent.AnchorLeaf(common.Hash{})}
		tree := consent.NewTree(leaves)
		whole.Checkpoint = consent.AuditCheckpoint{Head: heads[under-1], Proof: tree.Proof(1), Root: tree.Root()}
		if to, proven, err := whole.Check(consent.AuditHead{}); err != nil || to != head || proven != uint64(under) {
			t.Fatalf("%v, %d, %v", to, proven, err)
		}

		// In pages, from wherever one stopped.
		cut := rapid.IntRange(0, int(n)).Draw(t, "first page")
		first, second := *whole, *whole
		first.Entries, second.Entries = whole.Entries[:cut], whole.Entries[cut:]
		if first.Next = uint64(cut) + 1; cut == int(n) {
			first.Next = 0
		}
		if cut > 0 {
			to, proven, err := first.Check(consent.AuditHead{})
			if err != nil || to != heads[cut-1] || (proven != 0) != (under <= cut) {
				t.Fatalf("first page: %v, %d, %v", to, proven, err)
			}
			to, proven, err = second.Check(to)
			if err != nil || to != head || (proven != 0) != (under >= cut) {
				t.Fatalf("second page: %v, %d, %v", to, proven, err)
			}
		}

		altered := *whole
		altered.Entries = slices.Clone(whole.Entries)
		at := rapid.IntRange(0, under-1).Draw(t, "where")
		switch rapid.SampledFrom([]string{"event", "drop", "cut", "insert", "renumber", "account", "rewrite"}).Draw(t, "how") {
		case "event":
			altered.Entries[at].Event = []byte(`{}`)
		case "drop":
			altered.Entries = slices.Delete(altered.Entries, at, at+1)
		case "cut":
			altered.Entries = altered.Entries[:at]
		case "insert":
			altered.Entries = slices.Insert(altered.Entries, at, altered.Entries[at])
		case "renumber":
			altered.Entries[at].Number++
		case "account":
			altered.Account[0]++
		case "rewrite": // all hashes from there on are made to fit
			altered.Entries[at].Event = []byte(`{}`)
			for i := at + 1; i < len(altered.Entries); i++ {
				altered.Entries[i].Previous = altered.Entries[i-1].Hash()
			}
		}
		if to, proven, err := altered.Check(consent.AuditHead{}); err == nil {
			t.Fatalf("nothing shows: %v, %d", to, proven)
		}
	})
}

// A patient reads her log at a data holder page by page, and checks that each page
// follows the one before. That the root of a checkpoint is anchored is for the
// chain to tell.
func ExampleAuditDocument_Check() {
	pages := []string{
		`{"assent":"audit/1","domain":{"chainId":1337,"registry":"0x5fbdb2315678afecb367f032d93f642f64180aa3"},` +
			`"holder":"0x2222222222222222222222222222222222222222","account":"0x1111111111111111111111111111111111111111",` +
			`"entries":[{"number":1,"previous":"0x0000000000000000000000000000000000000000000000000000000000000000",` +
			`"event":{"resourceType":"AuditEvent","action":"R","outcome":"0"}}],` +
			`"checkpoint":{"count":0,"head":"0x0000000000000000000000000000000000000000000000000000000000000000","time":0,"proof":[],` +
			`"root":"0x0000000000000000000000000000000000000000000000000000000000000000"},"next":2}`,
		`{"assent":"audit/1","domain":{"chainId":1337,"registry":"0x5fbdb2315678afecb367f032d93f642f64180aa3"},` +
			`"holder":"0x2222222222222222222222222222222222222222","account":"0x1111111111111111111111111111111111111111",` +
			`"entries":[{"number":2,"previous":"0x15623dc8d802bd214b231055e3a33a66bcc8ed6f4fdf6dc12a416f92a3a36f4b",` +
			`"event":{"resourceType":"AuditEvent","action":"R","outcome":"4"}}],` +
			`"checkpoint":{"count":0,"head":"0x0000000000000000000000000000000000000000000000000000000000000000","time":0,"proof":[],` +
			`"root":"0x0000000000000000000000000000000000000000000000000000000000000000"},"next":0}`,
	}
	var head consent.AuditHead // or the one that was kept from last time
	for _, page := range pages {
		d, err := consent.ReadAudit(strings.NewReader(page))
		if err != nil {
			fmt.Println(err)
			return
		}
		if head, _, err = d.Check(head); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("%d entries, to %s\n", head.Number, head.Hash.TerminalString())

	altered, err := consent.ReadAudit(strings.NewReader(strings.Replace(pages[1], "0x15", "0x16", 1)))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = altered.Check(consent.AuditHead{Number: 1, Hash: common.HexToHash("0x15623dc8d802bd214b231055e3a33a66bcc8ed6f4fdf6dc12a416f92a3a36f4b")})
	fmt.Println(err)
	// Output:
	// 2 entries, to b357bb..032640
	// entry 2 of the log does not follow the one before, which was altered
}

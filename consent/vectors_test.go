package consent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
)

// vectors reads one file of the vectors that come with the protocol: from the
// folder ASSENT_VECTORS, or from shared/vectors beside the repository.
func vectors(t testing.TB, name string, into any) {
	t.Helper()
	folder := os.Getenv("ASSENT_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared", "vectors")
	}
	text, err := os.ReadFile(filepath.Join(folder, name))
	if os.IsNotExist(err) && !slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), "vectors") {
		t.Skip("the vectors are not here: set ASSENT_VECTORS to their folder")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// The plain forms below read what the strict reader refuses, too.
type (
	plainDomain struct {
		ChainID  uint64
		Registry common.Address
	}
	plainScope     Scope
	plainProvision struct {
		Salt   common.Hash
		Holder common.Address
		Scope  plainScope
	}
	plainOpening struct {
		Provision plainProvision
		Proof     []common.Hash
	}
	plainGrant Grant
	plainLink  struct {
		Grant       plainGrant
		Signature   hexutil.Bytes
		AnchorProof []common.Hash
		Openings    []plainOpening
	}
	plainAccess struct {
		Domain plainDomain
		Links  []plainLink
		Access struct {
			Grant   common.Hash
			Holder  common.Address
			Scopes  []plainScope
			Binding common.Hash
			Time    uint64
			Nonce   common.Hash
		}
		Signature hexutil.Bytes
	}
)

func (p plainProvision) provision() Provision { return Provision{p.Salt, p.Holder, Scope(p.Scope)} }

func (p plainAccess) document() *AccessDocument {
	d := &AccessDocument{Domain: Domain(p.Domain), Signature: p.Signature}
	a := p.Access
	d.Access = Access{a.Grant, a.Holder, nil, a.Binding, a.Time, a.Nonce}
	for _, s := range a.Scopes {
		d.Access.Scopes = append(d.Access.Scopes, Scope(s))
	}
	for _, l := range p.Links {
		link := Link{Grant(l.Grant), l.Signature, l.AnchorProof, nil}
		for _, o := range l.Openings {
			link.Openings = append(link.Openings, Opening{o.Provision.provision(), o.Proof})
		}
		d.Links = append(d.Links, link)
	}
	return d
}

// chainVector is a chain as the vectors describe it.
type chainVector struct {
	Anchored  []common.Hash
	Revoked   []common.Hash
	Retired   []common.Address
	Contracts []struct {
		Account common.Address
		Accepts []common.Hash
		Returns *hexutil.Bytes
		Reverts any
	}
}

// state is what the chain says of the entries.
func (c *chainVector) state(need Entries) State {
	s := State{Anchored: map[common.Hash]uint64{}, Revoked: map[common.Hash]uint64{}, Retired: map[common.Address]uint64{}, Signed: map[SignatureQuery]bool{}}
	there := func(is bool) uint64 {
		if is {
			return 1
		}
		return 0
	}
	for _, h := range need.Anchors {
		s.Anchored[h] = there(slices.Contains(c.Anchored, h))
	}
	for _, h := range need.Revocations {
		s.Revoked[h] = there(slices.Contains(c.Revoked, h))
	}
	for _, a := range need.Accounts {
		s.Retired[a] = there(slices.Contains(c.Retired, a))
	}
	for _, q := range need.Signatures {
		s.Signed[q] = c.signed(q)
	}
	return s
}

// signed answers as the contract accounts of the vectors do (EIP-1271).
func (c *chainVector) signed(q SignatureQuery) bool {
	for _, contract := range c.Contracts {
		if contract.Account != q.Account {
			continue
		}
		if contract.Reverts != nil {
			return false
		}
		if contract.Returns != nil {
			magic := append([]byte{0x16, 0x26, 0xba, 0x7e}, make([]byte, 28)...)
			return bytes.HasPrefix(*contract.Returns, magic)
		}
		return slices.Contains(contract.Accepts, q.Digest)
	}
	return false
}

type expectedVector struct {
	Outcome string
	Code    *uint8
	Link    int
	Patient string
	Record  *struct {
		Grantee common.Address
		Nonce   common.Hash
		Until   uint64
	}
}

func (e *expectedVector) check(t *testing.T, got Verdict) {
	t.Helper()
	if got.Outcome.String() != e.Outcome || got.Link != e.Link || e.Code != nil && uint8(got.Outcome) != *e.Code {
		t.Errorf("got %s at link %d (%s), want %s at link %d", got.Outcome, got.Link, got.Clause, e.Outcome, e.Link)
	}
	if (got.Clause == "") != (got.Outcome == Permit) {
		t.Errorf("%s with the clause %q", got.Outcome, got.Clause)
	}
}

func TestVectorFilters(t *testing.T) {
	var v struct {
		Cases []struct{ In, Out, Error string }
	}
	vectors(t, "filters.json", &v)
	for _, c := range v.Cases {
		t.Run(c.In, func(t *testing.T) {
			// With resource "Observation": the rule for "*" is in scopes.json.
			got, err := CanonicalFilter("Observation", c.In)
			if c.Error != "" {
				if err == nil {
					t.Fatalf("got %q, want an error: %s", got, c.Error)
				}
				return
			}
			if err != nil || got != c.Out {
				t.Fatalf("got %q, %v, want %q", got, err, c.Out)
			}
			if again, err := CanonicalFilter("Observation", got); err != nil || again != got {
				t.Errorf("again: got %q, %v", again, err)
			}
		})
	}
}

func TestVectorScopes(t *testing.T) {
	var v struct {
		Texts []struct {
			Text, Purpose, Written, Error string
			Scope                         *plainScope
			HashStruct                    common.Hash
		}
		Covers []struct {
			Name              string
			Provision, Access plainScope
			Covers            bool
		}
	}
	vectors(t, "scopes.json", &v)
	for _, c := range v.Texts {
		t.Run(c.Text+" "+c.Purpose, func(t *testing.T) {
			got, err := ParseScope(c.Text, c.Purpose)
			if c.Error != "" {
				if err == nil {
					t.Fatalf("got %+v, want an error: %s", got, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != Scope(*c.Scope) || got.String() != c.Written || got.HashStruct() != c.HashStruct {
				t.Errorf("got %+v, %q, %s; want %+v, %q, %s", got, got, got.HashStruct(), *c.Scope, c.Written, c.HashStruct)
			}
		})
	}
	for _, c := range v.Covers {
		t.Run(c.Name, func(t *testing.T) {
			if got := Scope(c.Provision).Covers(Scope(c.Access)); got != c.Covers {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestVectorSigning(t *testing.T) {
	var v struct {
		Domain          plainDomain
		DomainSeparator common.Hash
		OtherDomains    []struct {
			Domain          plainDomain
			DomainSeparator common.Hash
		}
		Types []struct {
			Type, EncodeType string
			TypeHash         common.Hash
			Examples         []struct {
				Message            json.RawMessage
				HashStruct, Digest common.Hash
				PrivateKey         hexutil.Bytes
				Account            common.Address
				Signature          hexutil.Bytes
			}
		}
		Signatures struct {
			Digest common.Hash
			Cases  []struct {
				Name      string
				Account   common.Address
				Signature hexutil.Bytes
				Valid     bool
			}
		}
	}
	vectors(t, "signing.json", &v)
	domain := Domain(v.Domain)
	if got := domain.Separator(); got != v.DomainSeparator {
		t.Errorf("domain separator: got %s", got)
	}
	for _, other := range v.OtherDomains {
		if got := Domain(other.Domain).Separator(); got != other.DomainSeparator {
			t.Errorf("%+v: got %s, want %s", other.Domain, got, other.DomainSeparator)
		}
	}
	types := map[string]struct {
		encodeType string
		hashStruct func(message json.RawMessage) (common.Hash, error)
	}{
		"Scope": {scopeType, func(m json.RawMessage) (common.Hash, error) {
			var s Scope
			return s.hashOf(m)
		}},
		"Provision": {provisionType, func(m json.RawMessage) (common.Hash, error) {
			var p plainProvision
			err := json.Unmarshal(m, &p)
			provision := p.provision()
			return provision.HashStruct(), err
		}},
		"Grant": {grantType, func(m json.RawMessage) (common.Hash, error) {
			var g Grant
			err := json.Unmarshal(m, &g)
			return g.HashStruct(), err
		}},
		"Access": {accessType, func(m json.RawMessage) (common.Hash, error) {
			var a plainAccess
			err := json.Unmarshal(m, &a.Access)
			d := a.document()
			return d.Access.HashStruct(), err
		}},
		"Request": {requestType, func(m json.RawMessage) (common.Hash, error) {
			var r Request
			err := json.Unmarshal(m, &r)
			return r.HashStruct(), err
		}},
		"Card": {cardType, func(m json.RawMessage) (common.Hash, error) {
			var c struct {
				Account common.Address
				Name    string
				Sealing hexutil.Bytes
				Time    uint64
			}
			err := json.Unmarshal(m, &c)
			card := Card{c.Account, c.Name, c.Sealing, c.Time}
			return card.HashStruct(), err
		}},
		"Retirement": {retirementType, func(m json.RawMessage) (common.Hash, error) {
			var r Retirement
			err := json.Unmarshal(m, &r)
			return r.HashStruct(), err
		}},
	}
	for _, typ := range v.Types {
		t.Run(typ.Type, func(t *testing.T) {
			known, ok := types[typ.Type]
			if !ok {
				t.Fatal("unknown type")
			}
			if known.encodeType != typ.EncodeType || hashString(known.encodeType) != typ.TypeHash {
				t.Errorf("encodeType: got %s", known.encodeType)
			}
			for i, example := range typ.Examples {
				hash, err := known.hashStruct(example.Message)
				if err != nil {
					t.Fatal(err)
				}
				if hash != example.HashStruct || domain.digest(hash) != example.Digest {
					t.Errorf("example %d: got %s, %s", i, hash, domain.digest(hash))
				}
				if !(SignatureQuery{example.Account, example.Digest, string(example.Signature)}).recovers() {
					t.Errorf("example %d: its signature does not recover", i)
				}
				key, err := crypto.ToECDSA(example.PrivateKey)
				if err != nil {
					t.Fatal(err)
				}
				// go-ethereum signs by RFC 6979, as the vectors do.
				if signature, err := Sign(example.Digest, key); err != nil || !bytes.Equal(signature, example.Signature) {
					t.Errorf("example %d: signed %x, %v", i, signature, err)
				}
			}
		})
	}
	for _, c := range v.Signatures.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if got := (SignatureQuery{c.Account, v.Signatures.Digest, string(c.Signature)}).recovers(); got != c.Valid {
				t.Errorf("got %v", got)
			}
		})
	}
}

func (s *Scope) hashOf(message json.RawMessage) (common.Hash, error) {
	err := json.Unmarshal(message, (*plainScope)(s))
	return s.HashStruct(), err
}

func TestVectorSecrets(t *testing.T) {
	var v struct {
		Cases []struct {
			PrivateKey         hexutil.Bytes
			Domain             plainDomain
			Switch             string
			Provisions         common.Hash
			Grantee            common.Address
			Epoch              uint64
			Label              string
			Secret, Revocation common.Hash
		}
		Sealing []struct {
			PrivateKey hexutil.Bytes
			Seed       common.Hash
		}
	}
	vectors(t, "secrets.json", &v)
	for _, c := range v.Cases {
		t.Run(c.Label, func(t *testing.T) {
			key, err := crypto.ToECDSA(c.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			domain := Domain(c.Domain)
			got := map[string]Switch{
				"grant":   GrantSwitch(domain, c.Provisions),
				"grantee": GranteeSwitch(domain, c.Grantee, c.Epoch),
				"all":     AllSwitch(domain, c.Epoch),
			}[c.Switch]
			if string(got) != c.Label {
				t.Errorf("label: got %s", got)
			}
			secret := got.Secret(key)
			if secret != c.Secret || Revocation(secret) != c.Revocation {
				t.Errorf("got the secret %s", secret)
			}
		})
	}
	for _, c := range v.Sealing {
		key, err := crypto.ToECDSA(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if got := SealingSeed(key); got != c.Seed {
			t.Errorf("sealing: got %s, want %s", got, c.Seed)
		}
	}
}

func TestVectorDecisions(t *testing.T) {
	var v struct {
		Cases []struct {
			Name     string
			Now      uint64
			Expected expectedVector
			Chain    chainVector
			Document json.RawMessage
			Decodes  *bool
		}
	}
	vectors(t, "decisions.json", &v)
	memory := NewVerified(1000)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			d, err := ReadAccess(bytes.NewReader(c.Document))
			if decodes := c.Decodes == nil || *c.Decodes; decodes != (err == nil) {
				t.Fatalf("read: %v", err)
			}
			if err != nil {
				var plain plainAccess
				if err := json.Unmarshal(c.Document, &plain); err != nil {
					t.Fatal(err)
				}
				d = plain.document()
			}
			// Cold, then with the signatures of all cases so far remembered.
			for _, verified := range []*Verified{nil, memory, memory} {
				e := Examine(d, verified)
				got, err := e.Decide(c.Chain.state(e.Entries()), c.Now)
				if err != nil {
					t.Fatal(err)
				}
				c.Expected.check(t, got)
			}
			// A state of which nothing was read decides nothing but the form.
			if got, err := Examine(d, nil).Decide(State{}, c.Now); err == nil && got.Outcome != Malformed && got.Outcome != BrokenChain {
				t.Errorf("without any entries: %s", got.Outcome)
			}
		})
	}
}

func TestVectorDocuments(t *testing.T) {
	var v struct {
		Domain  plainDomain
		Patient common.Address
		Cases   []struct {
			Name, Kind, Text, Hex    string
			Valid                    bool
			PadTo                    int
			Out                      any
			Signed, Accepted, Counts *bool
			Now                      uint64
			Retired                  []common.Address
			Cards                    []struct {
				Account common.Address
				Time    uint64
			}
			Answered []struct {
				Requester common.Address
				Nonce     common.Hash
			}
		}
	}
	vectors(t, "documents.json", &v)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			text := []byte(c.Text)
			if c.Hex != "" {
				var err error
				if text, err = hex.DecodeString(strings.TrimPrefix(c.Hex, "0x")); err != nil {
					t.Fatal(err)
				}
			}
			if c.PadTo > len(text) {
				text = append(text, bytes.Repeat([]byte(" "), c.PadTo-len(text))...)
			}
			var d json.Marshaler
			var err error
			switch c.Kind {
			case KindGrant:
				d, err = ReadGrant(bytes.NewReader(text))
			case KindAccess:
				d, err = ReadAccess(bytes.NewReader(text))
			case KindRequest:
				d, err = ReadRequest(bytes.NewReader(text))
			case KindCard:
				d, err = ReadCard(bytes.NewReader(text))
			default:
				t.Fatalf("unknown kind %q", c.Kind)
			}
			if !c.Valid {
				if err == nil {
					t.Fatal("read without an error")
				}
				if strings.ContainsAny(err.Error(), "\n\r\x1b") {
					t.Errorf("the error is not one plain line: %q", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			written, err := d.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var out any
			if err := json.Unmarshal(written, &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Out, out); diff != "" {
				t.Errorf("written again (-want +got):\n%s", diff)
			}
			r := Reception{Domain: Domain(v.Domain), Account: v.Patient, Now: c.Now}
			newest := func(account common.Address) (at uint64) {
				for _, card := range c.Cards {
					if card.Account == account {
						at = max(at, card.Time)
					}
				}
				return at
			}
			chain := chainVector{Retired: c.Retired}
			switch d := d.(type) {
			case *CardDocument:
				if c.Signed == nil {
					return
				}
				r.Now = 1800000000
				r.State, r.NewestCard = chain.state(d.Entries()), newest(d.Card.Account)
				if signed, err := d.Signed(r.State); err != nil || signed != *c.Signed {
					t.Errorf("signed: got %v, %v", signed, err)
				}
				if err := d.Accept(r); (err == nil) != *c.Accepted {
					t.Errorf("accepted: got %v", err)
				}
			case *RequestDocument:
				r.State, r.NewestCard = chain.state(d.Entries()), newest(d.Request.Requester)
				for _, answered := range c.Answered {
					r.Answered = r.Answered || answered.Requester == d.Request.Requester && answered.Nonce == d.Request.Nonce
				}
				if err := d.Counts(r); (err == nil) != *c.Counts {
					t.Errorf("counts: got %v", err)
				}
			}
		})
	}
}

func TestVectorTrees(t *testing.T) {
	type proofVector struct {
		Name       string
		Leaf, Root common.Hash
		Proof      []common.Hash
		Valid      bool
	}
	var v struct {
		ProvisionTrees []struct {
			Provisions, Leaves, ProofLength int
			Root                            common.Hash
			Opened                          []struct {
				Provision        plainProvision
				HashStruct, Leaf common.Hash
				Proof            []common.Hash
			}
		}
		Proofs        []proofVector
		AnchorBatches []struct {
			N      int
			Root   common.Hash
			Proofs []struct {
				Index    int
				ID, Leaf common.Hash
				Proof    []common.Hash
			}
		}
		Relay struct {
			Roots       []common.Hash
			Root, Root2 common.Hash
			Nested      []struct {
				ID                    common.Hash
				BatchProof            []common.Hash
				BatchRoot             common.Hash
				Relayed, RelayedTwice struct {
					Proof []common.Hash
					Root  common.Hash
				}
			}
		}
	}
	vectors(t, "trees.json", &v)
	for _, tree := range v.ProvisionTrees {
		for _, opened := range tree.Opened {
			p := opened.Provision.provision()
			if p.HashStruct() != opened.HashStruct || p.Leaf() != opened.Leaf || Root(p.Leaf(), opened.Proof) != tree.Root {
				t.Errorf("tree of %d: provision %s is not proven", tree.Provisions, p.Scope)
			}
		}
		provisions := make([]Provision, tree.Provisions)
		root, openings, err := Disclose(rand.Reader, provisions)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range openings {
			if len(o.Proof) != tree.ProofLength || Root(o.Provision.Leaf(), o.Proof) != root {
				t.Errorf("own tree of %d: a proof of %d, want %d", tree.Provisions, len(o.Proof), tree.ProofLength)
			}
		}
	}
	for _, p := range v.Proofs {
		t.Run(p.Name, func(t *testing.T) {
			if got := Root(p.Leaf, p.Proof) == p.Root; got != p.Valid {
				t.Errorf("got %v", got)
			}
		})
	}
	for _, batch := range v.AnchorBatches {
		ids := make([]common.Hash, batch.N)
		leaves := make([]common.Hash, batch.N)
		for i := range ids {
			ids[i] = crypto.Keccak256Hash(common.BigToHash(big.NewInt(int64(i))).Bytes())
			leaves[i] = AnchorLeaf(ids[i])
		}
		for _, p := range batch.Proofs {
			if ids[p.Index] != p.ID || leaves[p.Index] != p.Leaf || Root(p.Leaf, p.Proof) != batch.Root {
				t.Errorf("batch of %d: grant %d is not proven", batch.N, p.Index)
			}
		}
		tree := NewTree(leaves)
		for i, leaf := range leaves {
			if Root(leaf, tree.Proof(i)) != tree.Root() {
				t.Errorf("own batch of %d: grant %d is not proven", batch.N, i)
			}
		}
	}
	for _, n := range v.Relay.Nested {
		leaf := AnchorLeaf(n.ID)
		if Root(leaf, n.BatchProof) != n.BatchRoot || Root(leaf, n.Relayed.Proof) != v.Relay.Root || Root(leaf, n.RelayedTwice.Proof) != v.Relay.Root2 {
			t.Errorf("relayed grant %s is not proven", n.ID)
		}
		// Our own relay's tree over the same roots leads on from the batch.
		tree := NewTree(v.Relay.Roots)
		proof := append(slices.Clone(n.BatchProof), tree.Proof(slices.Index(v.Relay.Roots, n.BatchRoot))...)
		if Root(leaf, proof) != tree.Root() {
			t.Errorf("relayed grant %s is not proven in our own tree", n.ID)
		}
	}
}

func TestVectorHolder(t *testing.T) {
	type ownVector struct {
		Name string
		Own  struct {
			ChainID           uint64
			Registry, Address common.Address
		}
		View     struct{ Block, Age, Limit uint64 }
		Enrolled []struct {
			Grantor common.Address
			Patient string
		}
		Binding *common.Hash
		Now     uint64
		Seen    []struct {
			Grantee common.Address
			Nonce   common.Hash
			Until   uint64
		}
		Evaluable bool
		Expected  expectedVector
		Document  json.RawMessage
		Chain     chainVector
		History   []struct{ Confirmed, Latest chainVector }
		Handed    []common.Hash
	}
	var v struct {
		Thumbprints []struct {
			JWK     json.RawMessage
			Binding common.Hash
		}
		Cases, Blocks []ownVector
	}
	vectors(t, "holder.json", &v)
	for _, c := range v.Thumbprints {
		if got, err := Binding(c.JWK); err != nil || got != c.Binding {
			t.Errorf("thumbprint of %s: got %s, %v", c.JWK, got, err)
		}
	}
	for _, c := range append(v.Cases, v.Blocks...) {
		t.Run(c.Name, func(t *testing.T) {
			d, err := ReadAccess(bytes.NewReader(c.Document))
			if err != nil {
				t.Fatal(err)
			}
			var recorded []string
			h := Holder{
				Domain:  Domain{c.Own.ChainID, c.Own.Registry},
				Account: c.Own.Address,
				MaxAge:  c.View.Limit,
				Patient: func(_ context.Context, grantor common.Address) (string, error) {
					var records []string
					for _, e := range c.Enrolled {
						if e.Grantor == grantor {
							records = append(records, e.Patient)
						}
					}
					if len(records) != 1 {
						return "", ErrUnknownPatient
					}
					return records[0], nil
				},
				View: func(_ context.Context, need Entries) (State, error) {
					var memory Memory
					var s State
					if c.History == nil {
						look := c.Chain.state(need)
						s = memory.State(look, look)
					}
					for _, secret := range c.Handed {
						memory.Reveal(secret, c.Now)
					}
					for _, look := range c.History {
						s = memory.State(look.Confirmed.state(need), look.Latest.state(need))
					}
					s.Block, s.Age = c.View.Block, c.View.Age
					return s, nil
				},
				Evaluable: func(*Access) error {
					if !c.Evaluable {
						return ErrUnknownPatient // any error
					}
					return nil
				},
				Remember: func(_ context.Context, grantee common.Address, nonce common.Hash, until uint64) (bool, error) {
					for _, s := range c.Seen {
						if s.Grantee == grantee && s.Nonce == nonce && s.Until >= c.Now {
							return false, nil
						}
					}
					recorded = append(recorded, grantee.Hex(), nonce.Hex())
					if c.Expected.Record == nil || c.Expected.Record.Until != until {
						t.Errorf("recorded until %d", until)
					}
					return true, nil
				},
			}
			var binding common.Hash
			if c.Binding != nil {
				binding = *c.Binding
			}
			got, err := h.Answer(context.Background(), d, binding, c.Now)
			if err != nil {
				t.Fatal(err)
			}
			c.Expected.check(t, got.Verdict)
			if got.Patient != c.Expected.Patient {
				t.Errorf("patient %q, want %q", got.Patient, c.Expected.Patient)
			}
			var want []string
			if r := c.Expected.Record; r != nil {
				want = []string{r.Grantee.Hex(), r.Nonce.Hex()}
			}
			if !slices.Equal(recorded, want) {
				t.Errorf("recorded %v, want %v", recorded, want)
			}
		})
	}
}

package consent

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDocument is the most bytes that a document may have.
const MaxDocument = 4 << 20

// The kinds of documents: the value of the member "assent" (Assent protocol,
// section 8).
const (
	KindGrant   = "grant/1"
	KindAccess  = "access/1"
	KindRequest = "request/1"
	KindCard    = "card/1"
)

// GrantDocument is a grant/1: a signed grant with those of its provisions that
// its reader may see.
type GrantDocument struct {
	Domain      Domain
	Grant       Grant
	Signature   []byte
	AnchorProof []common.Hash
	Provisions  []Opening
	Parents     []GrantDocument // of a hand-off: the grants above, root first, their own Parents empty
}

// AccessDocument is an access/1: a signed access with the grants that it uses,
// root grant first.
type AccessDocument struct {
	Domain    Domain
	Links     []Link
	Access    Access
	Signature []byte
}

// RequestDocument is a request/1: a signed request with the requester's card.
type RequestDocument struct {
	Domain    Domain
	Request   Request
	Signature []byte
	Card      CardDocument
}

// CardDocument is a card/1: a signed card.
type CardDocument struct {
	Domain    Domain
	Card      Card
	Signature []byte
}

// ReadGrant reads a grant/1. Like all readers of documents it is strict: it
// refuses whatever is unknown, repeated, missing, null, out of its form or
// after the object, and more than MaxDocument bytes; the error says what and
// where (as a JSON pointer). It checks the form only: signatures, limits and
// meaning are the decision's.
func ReadGrant(r io.Reader) (*GrantDocument, error) { return read[GrantDocument](r) }

// ReadAccess reads an access/1, as ReadGrant does.
func ReadAccess(r io.Reader) (*AccessDocument, error) { return read[AccessDocument](r) }

// ReadRequest reads a request/1, as ReadGrant does.
func ReadRequest(r io.Reader) (*RequestDocument, error) { return read[RequestDocument](r) }

// ReadCard reads a card/1, as ReadGrant does.
func ReadCard(r io.Reader) (*CardDocument, error) { return read[CardDocument](r) }

// MarshalJSON writes the document on one line, addresses in EIP-55.
func (d GrantDocument) MarshalJSON() ([]byte, error) { return write(d.members()) }

// MarshalJSON writes the document on one line, addresses in EIP-55.
func (d AccessDocument) MarshalJSON() ([]byte, error) { return write(d.members()) }

// MarshalJSON writes the document on one line, addresses in EIP-55.
func (d RequestDocument) MarshalJSON() ([]byte, error) { return write(d.members()) }

// MarshalJSON writes the document on one line, addresses in EIP-55.
func (d CardDocument) MarshalJSON() ([]byte, error) { return write(d.members()) }

// The members of every object, once, for reading and for writing alike.

func (d *GrantDocument) members() object {
	return object{members: []member{
		kind(KindGrant),
		{"domain", d.Domain.members()},
		{"grant", d.Grant.members()},
		{"signature", (*signature)(&d.Signature)},
		{"anchorProof", (*hashes)(&d.AnchorProof)},
		{"provisions", list[Opening, *Opening]{&d.Provisions}},
		{"parents", list[GrantDocument, *GrantDocument]{&d.Parents}},
	}, check: d.checkParents}
}

func (d *AccessDocument) members() object {
	return object{members: []member{
		kind(KindAccess),
		{"domain", d.Domain.members()},
		{"links", list[Link, *Link]{&d.Links}},
		{"access", d.Access.members()},
		{"signature", (*signature)(&d.Signature)},
	}}
}

func (d *RequestDocument) members() object {
	return object{members: []member{
		kind(KindRequest),
		{"domain", d.Domain.members()},
		{"request", d.Request.members()},
		{"signature", (*signature)(&d.Signature)},
		{"card", d.Card.members()},
	}}
}

func (d *CardDocument) members() object {
	return object{members: []member{
		kind(KindCard),
		{"domain", d.Domain.members()},
		{"card", d.Card.members()},
		{"signature", (*signature)(&d.Signature)},
	}}
}

func (d *Domain) members() object {
	return object{members: []member{
		{"chainId", (*integer)(&d.ChainID)},
		{"registry", (*address)(&d.Registry)},
	}}
}

func (g *Grant) members() object {
	return object{members: []member{
		{"grantor", (*address)(&g.Grantor)},
		{"grantee", (*address)(&g.Grantee)},
		{"provisions", (*hash)(&g.Provisions)},
		{"notBefore", (*integer)(&g.NotBefore)},
		{"expires", (*integer)(&g.Expires)},
		{"revocations", (*hashes)(&g.Revocations)},
		{"parent", (*hash)(&g.Parent)},
		{"handoffs", (*octet)(&g.Handoffs)},
	}}
}

func (l *Link) members() object {
	return object{members: []member{
		{"grant", l.Grant.members()},
		{"signature", (*signature)(&l.Signature)},
		{"anchorProof", (*hashes)(&l.AnchorProof)},
		{"openings", list[Opening, *Opening]{&l.Openings}},
	}}
}

func (o *Opening) members() object {
	return object{members: []member{
		{"provision", o.Provision.members()},
		{"proof", (*hashes)(&o.Proof)},
	}}
}

func (p *Provision) members() object {
	return object{members: []member{
		{"salt", (*hash)(&p.Salt)},
		{"holder", (*address)(&p.Holder)},
		{"scope", p.Scope.members()},
	}}
}

func (s *Scope) members() object {
	return object{members: []member{
		{"resource", (*text)(&s.Resource)},
		{"interactions", (*octet)(&s.Interactions)},
		{"filter", (*text)(&s.Filter)},
		{"dataFrom", (*integer)(&s.DataFrom)},
		{"dataUntil", (*integer)(&s.DataUntil)},
		{"purpose", (*text)(&s.Purpose)},
		{"sensitivities", (*integer)(&s.Sensitivities)},
	}, check: s.checkForm}
}

func (a *Access) members() object {
	return object{members: []member{
		{"grant", (*hash)(&a.Grant)},
		{"holder", (*address)(&a.Holder)},
		{"scopes", list[Scope, *Scope]{&a.Scopes}},
		{"binding", (*hash)(&a.Binding)},
		{"time", (*integer)(&a.Time)},
		{"nonce", (*hash)(&a.Nonce)},
	}}
}

func (r *Request) members() object {
	return object{members: []member{
		{"requester", (*address)(&r.Requester)},
		{"patient", (*address)(&r.Patient)},
		{"scopes", list[Scope, *Scope]{&r.Scopes}},
		{"holders", (*addresses)(&r.Holders)},
		{"notBefore", (*integer)(&r.NotBefore)},
		{"expires", (*integer)(&r.Expires)},
		{"reason", (*text)(&r.Reason)},
		{"time", (*integer)(&r.Time)},
		{"nonce", (*hash)(&r.Nonce)},
	}}
}

func (c *Card) members() object {
	return object{members: []member{
		{"account", (*address)(&c.Account)},
		{"name", (*text)(&c.Name)},
		{"sealing", (*octets)(&c.Sealing)},
		{"time", (*integer)(&c.Time)},
	}}
}

// value reads and writes one JSON value.
type value interface {
	decode(*jsontext.Decoder) error
	encode(*jsontext.Encoder) error
}

// member is one member of an object; every member is required.
type member struct {
	name  string
	value value
}

// object is a JSON object of exactly these members. What they mean together is
// checked once they are read, and before they are written.
type object struct {
	members []member
	check   func() error // nil: nothing to check
}

func (o object) decode(dec *jsontext.Decoder) error {
	if err := open(dec, '{'); err != nil {
		return err
	}
	seen := 0 // the decoder itself refuses a name that comes twice
members:
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		for _, m := range o.members {
			if m.name == name {
				if err := m.value.decode(dec); err != nil {
					return err
				}
				seen++
				continue members
			}
		}
		return errors.New("unknown member")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if seen < len(o.members) {
		var names []string
		for _, m := range o.members {
			names = append(names, m.name)
		}
		return fmt.Errorf("a member is missing; it takes all of %s", strings.Join(names, ", "))
	}
	if o.check != nil {
		return o.check()
	}
	return nil
}

func (o object) encode(enc *jsontext.Encoder) error {
	if o.check != nil {
		if err := o.check(); err != nil {
			return err
		}
	}
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, m := range o.members {
		if err := enc.WriteToken(jsontext.String(m.name)); err != nil {
			return err
		}
		if err := m.value.encode(enc); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

// read reads one document of kind T.
func read[T any, P objectOf[T]](r io.Reader) (*T, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if len(text) > MaxDocument {
		return nil, fmt.Errorf("the document is longer than %d bytes", MaxDocument)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(text)) // which it reads in place
	document := new(T)
	if err := P(document).members().decode(dec); err != nil {
		return nil, located(dec, err)
	}
	if _, err := dec.ReadToken(); err == nil {
		return nil, fmt.Errorf("something stands after the document, at byte %d", dec.InputOffset())
	} else if err != io.EOF {
		return nil, located(dec, err)
	}
	return document, nil
}

// located says where in the document an error is.
func located(dec *jsontext.Decoder, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the document is cut short at byte %d", dec.InputOffset())
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("the document is not strict JSON at byte %d, %s: %w", syntactic.ByteOffset, place(syntactic.JSONPointer), syntactic.Err)
	}
	return fmt.Errorf("the document at byte %d, %s: %w", dec.InputOffset(), place(dec.StackPointer()), err)
}

func place(pointer jsontext.Pointer) string {
	if pointer == "" {
		return "top level"
	}
	return Quote(string(pointer))
}

func write(o object) ([]byte, error) {
	var b bytes.Buffer
	// HTML escaping by the caller's encoding/json is the caller's affair.
	if err := o.encode(jsontext.NewEncoder(&b, jsontext.PreserveRawStrings(true))); err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(b.Bytes())
	if len(text) > MaxDocument {
		return nil, fmt.Errorf("the document would be longer than %d bytes", MaxDocument)
	}
	return text, nil
}

// open reads the token that begins an object or a list.
func open(dec *jsontext.Decoder, kind jsontext.Kind) error {
	_, err := token(dec, kind)
	return err
}

func token(dec *jsontext.Decoder, want jsontext.Kind) (jsontext.Token, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return token, err
	}
	if token.Kind() != want {
		return token, fmt.Errorf("want %s, not %s", names[want], names[token.Kind()])
	}
	return token, nil
}

var names = map[jsontext.Kind]string{
	'{': "an object", '}': "the end of an object", '[': "a list", ']': "the end of a list",
	'"': "a string", '0': "a number", 'n': "null", 't': "true", 'f': "false",
}

// kind is the member that names kind and version.
func kind(name string) member { return member{"assent", constant(name)} }

type constant string

func (c constant) decode(dec *jsontext.Decoder) error {
	token, err := token(dec, '"')
	if err != nil {
		return err
	}
	if token.String() != string(c) {
		return fmt.Errorf("it is a %s, not a %s", Quote(token.String()), string(c))
	}
	return nil
}

func (c constant) encode(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.String(string(c)))
}

type text string

func (t *text) decode(dec *jsontext.Decoder) error {
	token, err := token(dec, '"')
	*t = text(token.String())
	return err
}

func (t *text) encode(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.String(string(*t))) // which refuses what is not UTF-8
}

// integer is a number from 0 below 2^53 in plain digits.
type integer uint64

const maxInteger = 1<<53 - 1

func (n *integer) decode(dec *jsontext.Decoder) error {
	read, err := digits(dec, maxInteger)
	*n = integer(read)
	return err
}

func (n *integer) encode(enc *jsontext.Encoder) error {
	if *n > maxInteger {
		return fmt.Errorf("number %d: want at most %d", *n, uint64(maxInteger))
	}
	return enc.WriteToken(jsontext.Uint(uint64(*n)))
}

// octet is a number from 0 to 255 in plain digits.
type octet uint8

func (n *octet) decode(dec *jsontext.Decoder) error {
	read, err := digits(dec, 255)
	*n = octet(read)
	return err
}

func (n *octet) encode(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.Uint(uint64(*n)))
}

func digits(dec *jsontext.Decoder, most uint64) (uint64, error) {
	token, err := token(dec, '0')
	if err != nil {
		return 0, err
	}
	// JSON allows -0, 1.0 and 1e0, which ParseUint does not.
	n, err := strconv.ParseUint(token.String(), 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("number %s: want plain digits, at most %d", Quote(token.String()), most)
	}
	return n, nil
}

// octets are bytes of any number, as lower-case hexadecimal digits after 0x.
type octets []byte

func (o *octets) decode(dec *jsontext.Decoder) error {
	token, err := token(dec, '"')
	if err != nil {
		return err
	}
	*o, err = fromHex(token.String())
	return err
}

func (o *octets) encode(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.String("0x" + hex.EncodeToString(*o)))
}

func fromHex(s string) ([]byte, error) {
	digits, found := strings.CutPrefix(s, "0x")
	if !found || digits != strings.ToLower(digits) {
		return nil, fmt.Errorf("bytes %s: want 0x and lower-case hexadecimal digits", Quote(s))
	}
	decoded, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("bytes %s: want 0x and an even number of hexadecimal digits", Quote(s))
	}
	return decoded, nil
}

// signature is octets of a signature.
type signature []byte

func (s *signature) decode(dec *jsontext.Decoder) error {
	if err := (*octets)(s).decode(dec); err != nil {
		return err
	}
	return s.check()
}

func (s *signature) encode(enc *jsontext.Encoder) error {
	if err := s.check(); err != nil {
		return err
	}
	return (*octets)(s).encode(enc)
}

func (s *signature) check() error {
	if len(*s) > MaxSignature {
		return fmt.Errorf("signature of %d bytes: want at most %d", len(*s), MaxSignature)
	}
	return nil
}

type hash common.Hash

func (h *hash) decode(dec *jsontext.Decoder) error {
	var o octets
	if err := o.decode(dec); err != nil {
		return err
	}
	if len(o) != len(h) {
		return fmt.Errorf("%d bytes: want %d", len(o), len(h))
	}
	*h = hash(o)
	return nil
}

func (h *hash) encode(enc *jsontext.Encoder) error {
	o := octets(h[:])
	return o.encode(enc)
}

type address common.Address

func (a *address) decode(dec *jsontext.Decoder) error {
	token, err := token(dec, '"')
	if err != nil {
		return err
	}
	read, err := ParseAddress(token.String())
	*a = address(read)
	return err
}

func (a *address) encode(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.String(common.Address(*a).Hex()))
}

// ParseAddress reads an address: 0x and 40 hexadecimal digits, in EIP-55 or all
// in lower case. A wrong checksum is a typing error and refused.
func ParseAddress(s string) (common.Address, error) {
	lower := strings.ToLower(s)
	decoded, err := fromHex(lower)
	if err != nil || len(decoded) != common.AddressLength || !strings.HasPrefix(s, "0x") {
		return common.Address{}, fmt.Errorf("address %s: want 0x and 40 hexadecimal digits", Quote(s))
	}
	a := common.Address(decoded)
	if s != lower && s != a.Hex() {
		return common.Address{}, fmt.Errorf("address %s: its checksum (EIP-55) is wrong; look for a typing error", Quote(s))
	}
	return a, nil
}

type (
	hashes    []common.Hash
	addresses []common.Address
)

func (h *hashes) decode(dec *jsontext.Decoder) error {
	return elements(dec, func() error {
		var one hash
		err := one.decode(dec)
		*h = append(*h, common.Hash(one))
		return err
	})
}

func (h *hashes) encode(enc *jsontext.Encoder) error {
	return encodeElements(enc, len(*h), func(i int) value { return (*hash)(&(*h)[i]) })
}

func (a *addresses) decode(dec *jsontext.Decoder) error {
	return elements(dec, func() error {
		var one address
		err := one.decode(dec)
		*a = append(*a, common.Address(one))
		return err
	})
}

func (a *addresses) encode(enc *jsontext.Encoder) error {
	return encodeElements(enc, len(*a), func(i int) value { return (*address)(&(*a)[i]) })
}

// list is a JSON list of objects.
type list[T any, P objectOf[T]] struct{ items *[]T }

// objectOf is a type whose values are JSON objects.
type objectOf[T any] interface {
	*T
	members() object
}

func (l list[T, P]) decode(dec *jsontext.Decoder) error {
	return elements(dec, func() error {
		var one T
		err := P(&one).members().decode(dec)
		*l.items = append(*l.items, one)
		return err
	})
}

func (l list[T, P]) encode(enc *jsontext.Encoder) error {
	return encodeElements(enc, len(*l.items), func(i int) value { return P(&(*l.items)[i]).members() })
}

// checkParents requires parents of the same domain, without parents of their
// own.
func (d *GrantDocument) checkParents() error {
	for i, parent := range d.Parents {
		if parent.Domain != d.Domain {
			return fmt.Errorf("parent %d is of another chain or registry", i)
		}
		if len(parent.Parents) > 0 {
			return fmt.Errorf("parent %d has parents of its own", i)
		}
	}
	return nil
}

func elements(dec *jsontext.Decoder, one func() error) error {
	if err := open(dec, '['); err != nil {
		return err
	}
	for {
		switch dec.PeekKind() {
		case ']':
			_, err := dec.ReadToken()
			return err
		case 0: // not JSON: the next token says why
			_, err := dec.ReadToken()
			return err
		}
		if err := one(); err != nil {
			return err
		}
	}
}

func encodeElements(enc *jsontext.Encoder, n int, element func(int) value) error {
	if err := enc.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for i := range n {
		if err := element(i).encode(enc); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndArray)
}

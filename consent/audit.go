package consent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-json-experiment/json/jsontext"
)

// KindAudit is the kind of the document that a data holder answers a patient
// with who asks what was done with her record.
const KindAudit = "audit/1"

// AuditEntry is one entry of an account's log at a data holder. The entries of
// an account make a chain of their own: each holds the hash of the one before.
type AuditEntry struct {
	Number   uint64      // from 1, without gaps
	Previous common.Hash // hash of the entry before; zero for the first
	Event    []byte      // a FHIR R4 AuditEvent: JSON without insignificant white space
}

// Hash gives the entry's hash.
func (e *AuditEntry) Hash() common.Hash {
	return AuditHash(e.Number, e.Previous, crypto.Keccak256Hash(e.Event))
}

// AuditHash gives the hash of an entry: keccak256 of its number (8 bytes,
// big-endian), the hash before and keccak256 of the event's bytes, which is event
// here.
func AuditHash(number uint64, previous, event common.Hash) common.Hash {
	return crypto.Keccak256Hash(binary.BigEndian.AppendUint64(nil, number), previous[:], event[:])
}

// AuditHead is the end of a chain of entries: the number and hash of its last.
// The zero AuditHead is that of an empty chain.
type AuditHead struct {
	Number uint64
	Hash   common.Hash
}

// Leaf gives the head's leaf in the tree of a checkpoint, as keccak256 of 32
// bytes like all leaves: these are keccak256 of the account, the number (8 bytes,
// big-endian) and the hash.
func (h AuditHead) Leaf(account common.Address) common.Hash {
	return AnchorLeaf(crypto.Keccak256Hash(account[:], binary.BigEndian.AppendUint64(nil, h.Number), h.Hash[:]))
}

// AuditCheckpoint shows that an account's chain had a head when a root was
// made, which the data holder anchors. Its tree has a leaf for each account
// with entries, and AnchorLeaf of the root before (zero for the first). Where
// there is no checkpoint yet, it is zero.
type AuditCheckpoint struct {
	Head  AuditHead
	Time  uint64 // when the root was made, unix seconds; when it was anchored, the chain tells
	Proof []common.Hash
	Root  common.Hash
}

// AuditDocument is an audit/1: what a data holder's log has of one account,
// oldest first.
type AuditDocument struct {
	Domain     Domain
	Holder     common.Address
	Account    common.Address
	Entries    []AuditEntry
	Checkpoint AuditCheckpoint
	Next       uint64 // the number to go on with; 0: this was all
}

// ReadAudit reads an audit/1, as ReadGrant does. White space in events does not
// count.
func ReadAudit(r io.Reader) (*AuditDocument, error) { return read[AuditDocument](r) }

// MarshalJSON writes the document on one line, addresses in EIP-55, events byte
// for byte.
func (d AuditDocument) MarshalJSON() ([]byte, error) { return write(d.members()) }

// Entries lists what of the chain tells whether the checkpoint is anchored:
// nothing where there is none.
func (c *AuditCheckpoint) Entries() Entries {
	if c.Head.Number == 0 {
		return Entries{}
	}
	return Entries{Anchors: []common.Hash{c.Root}}
}

// Check follows the entries from a head, the zero one or any that was checked
// before, and gives the head that they lead to. proven is the number of the entry
// up to which they stand under the checkpoint's root, 0 where this document does
// not show it: then it is to be seen on the next one, or after the next
// checkpoint. That the root is anchored is for the chain to tell. An error says
// where the log was altered or cut.
func (d *AuditDocument) Check(from AuditHead) (to AuditHead, proven uint64, err error) {
	to = from
	c := &d.Checkpoint
	meet := func() error {
		if c.Head.Number == 0 || c.Head.Number != to.Number {
			return nil
		}
		if c.Head.Hash != to.Hash {
			return fmt.Errorf("the log up to entry %d is not the one whose hash was made into the checkpoint of %s", to.Number, timestamp(c.Time))
		}
		proven = to.Number
		return nil
	}
	if c.Head.Number != 0 && Root(c.Head.Leaf(d.Account), c.Proof) != c.Root {
		return from, 0, errors.New("the head of the log is not proven under the root of its checkpoint")
	}
	if err := meet(); err != nil {
		return from, 0, err
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		if e.Number != to.Number+1 {
			return from, 0, fmt.Errorf("after entry %d of the log comes entry %d", to.Number, e.Number)
		}
		if e.Previous != to.Hash {
			return from, 0, fmt.Errorf("entry %d of the log does not follow the one before, which was altered", e.Number)
		}
		to = AuditHead{e.Number, e.Hash()}
		if err := meet(); err != nil {
			return from, 0, err
		}
	}
	switch {
	case d.Next == 0 && c.Head.Number > to.Number:
		return from, 0, fmt.Errorf("the log ends with entry %d, and its checkpoint of %s had %d", to.Number, timestamp(c.Time), c.Head.Number)
	case d.Next != 0 && (d.Next != to.Number+1 || len(d.Entries) == 0):
		return from, 0, fmt.Errorf("the log ends with entry %d, and says that it goes on with entry %d", to.Number, d.Next)
	}
	return to, proven, nil
}

func (d *AuditDocument) members() object {
	return object{members: []member{
		kind(KindAudit),
		{"domain", d.Domain.members()},
		{"holder", (*address)(&d.Holder)},
		{"account", (*address)(&d.Account)},
		{"entries", list[AuditEntry, *AuditEntry]{&d.Entries}},
		{"checkpoint", d.Checkpoint.members()},
		{"next", (*integer)(&d.Next)},
	}}
}

func (e *AuditEntry) members() object {
	return object{members: []member{
		{"number", (*integer)(&e.Number)},
		{"previous", (*hash)(&e.Previous)},
		{"event", (*event)(&e.Event)},
	}}
}

func (c *AuditCheckpoint) members() object {
	return object{members: []member{
		{"count", (*integer)(&c.Head.Number)},
		{"head", (*hash)(&c.Head.Hash)},
		{"time", (*integer)(&c.Time)},
		{"proof", (*hashes)(&c.Proof)},
		{"root", (*hash)(&c.Root)},
	}, check: c.checkProof}
}

func (c *AuditCheckpoint) checkProof() error {
	if len(c.Proof) > MaxProof {
		return fmt.Errorf("a proof of %d hashes: want at most %d", len(c.Proof), MaxProof)
	}
	return nil
}

// event is a JSON object that is kept as it stands, but for white space.
type event []byte

func (e *event) decode(dec *jsontext.Decoder) error {
	read, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if read.Kind() != '{' {
		return fmt.Errorf("want %s, not %s", names['{'], names[read.Kind()])
	}
	own := read.Clone()
	if err := own.Compact(); err != nil {
		return err
	}
	*e = event(own)
	return nil
}

func (e *event) encode(enc *jsontext.Encoder) error {
	compact := jsontext.Value(*e).Clone()
	if err := compact.Compact(); err != nil || compact.Kind() != '{' || !bytes.Equal(compact, *e) {
		return errors.New("an event is no JSON object without white space")
	}
	return enc.WriteValue(compact)
}

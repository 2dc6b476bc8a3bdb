package consent

import (
	"fmt"
	"io"
)

// KindLetter is the kind of a letter: see Letter.
const KindLetter = "letter/1"

// MaxEnclosed is the most documents that a letter may have.
const MaxEnclosed = 16

// Letter is a letter/1: documents on their way to one person, sealed to the
// person's card. Nobody signs it: each document in it proves itself, or, like a
// cover note, nothing. Whoever opens it takes them as if each had come alone.
type Letter struct {
	Requests []RequestDocument
	Grants   []GrantDocument
	Covers   []Cover // where the data holders are reached that the grants name
	Cards    []CardDocument
}

// ReadLetter reads a letter/1, as strictly as ReadGrant does. White space after
// it is its padding.
func ReadLetter(r io.Reader) (*Letter, error) { return read[Letter](r) }

// MarshalJSON writes the letter on one line, addresses in EIP-55.
func (l Letter) MarshalJSON() ([]byte, error) { return write(l.members()) }

func (l *Letter) members() object {
	return object{members: []member{
		kind(KindLetter),
		{"requests", list[RequestDocument, *RequestDocument]{&l.Requests}},
		{"grants", list[GrantDocument, *GrantDocument]{&l.Grants}},
		{"covers", list[Cover, *Cover]{&l.Covers}},
		{"cards", list[CardDocument, *CardDocument]{&l.Cards}},
	}, check: l.check}
}

func (l *Letter) check() error {
	if n := len(l.Requests) + len(l.Grants) + len(l.Covers) + len(l.Cards); n < 1 || n > MaxEnclosed {
		return fmt.Errorf("%d documents in a letter: want 1 to %d", n, MaxEnclosed)
	}
	return nil
}

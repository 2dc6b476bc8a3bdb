package consent

import (
	"strings"
	"unicode"
)

const (
	maxQuoted = 160 // runes of foreign text that a person is shown
	maxMarks  = 2   // combining marks on one character
)

// Quote makes foreign text safe to show to a person: in quotation marks that
// it cannot close, without control and formatting characters (so that it can
// move no cursor and turn no direction of writing), on one line, and cut.
func Quote(foreign string) string {
	var b strings.Builder
	b.WriteString("“")
	runes, marks := 0, 0
	for _, r := range foreign {
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == unicode.ReplacementChar || unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r) || marks > maxMarks:
			continue
		case r == '“' || r == '”':
			r = '"'
		}
		if runes++; runes > maxQuoted {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
	}
	b.WriteString("”")
	return b.String()
}

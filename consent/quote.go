package consent

import (
	"strings"
	"unicode"
)

const (
	maxQuoted = 160 // runes of foreign text that a person is shown
	maxMarks  = 3   // marks that pile up on one character
)

// Marks that could pass for a quotation mark, beside Unicode's property
// Quotation_Mark.
const (
	likeDouble = "❝❞″‶‴‷⁗ʺˮ˝״🙶🙷🙸"
	likeSingle = "'‘’‚‛‹›＇❛❜′‵`´"
)

// Quote makes foreign text safe to show to a person: in quotation marks that
// it cannot close, of visible characters alone (so that it can move no cursor,
// turn no direction of writing and hide nothing), on one line, and cut.
func Quote(foreign string) string { return quote(foreign, maxQuoted) }

// quote is Quote with another limit, in runes.
func quote(foreign string, limit int) string {
	var b strings.Builder
	b.WriteRune('“')
	// As if after a space: no space and no mark comes first.
	last, runes, marks := ' ', 0, 0
	for _, r := range foreign {
		switch {
		case unicode.IsSpace(r) || r == '\u2800': // a blank of Braille
			r = ' '
		case !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			continue
		case strings.ContainsRune(likeSingle, r):
			r = '\''
		case unicode.Is(unicode.Quotation_Mark, r) || strings.ContainsRune(likeDouble, r):
			r = '"'
		}
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		if last == ' ' && (r == ' ' || marks > 0) || marks > maxMarks {
			continue
		}
		if runes++; runes > limit {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
		last = r
	}
	b.WriteRune('”')
	return b.String()
}

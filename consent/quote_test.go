package consent

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// isShown tells whether a character may come out of Quote.
func isShown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func requireQuoted(t rapid.TB, foreign string) {
	t.Helper()
	quoted := Quote(foreign)
	inner, found := strings.CutPrefix(quoted, "“")
	inner, closed := strings.CutSuffix(inner, "”")
	if !found || !closed || strings.ContainsAny(inner, "“”„«»\n\r") {
		t.Errorf("%q is quoted %q, which it closes", foreign, quoted)
	}
	if !utf8.ValidString(quoted) || utf8.RuneCountInString(inner) > maxQuoted+1 {
		t.Errorf("%q is quoted in %d characters", foreign, utf8.RuneCountInString(inner))
	}
	marks := 0
	for _, r := range inner {
		if !isShown(r) {
			t.Errorf("%q is quoted %q, with %U", foreign, quoted, r)
		}
		if marks++; !unicode.In(r, unicode.Mn, unicode.Me) {
			marks = 0
		}
		if marks > maxMarks {
			t.Errorf("%q is quoted %q, with a pile of marks", foreign, quoted)
		}
	}
	if again := Quote(inner); !strings.HasSuffix(inner, "…") && again != quoted {
		t.Errorf("%q is quoted %q, and that %q", foreign, quoted, again)
	}
}

func TestQuoteAttacks(t *testing.T) {
	long := strings.Repeat("a", maxQuoted)
	for foreign, want := range map[string]string{
		"":                                "“”",
		"Cardiology clinic":               "“Cardiology clinic”",
		"St. Mary’s":                      "“St. Mary's”",
		"Клиника №1":                      "“Клиника №1”",
		"\x1b[31mred\x1b[0m":              "“[31mred[0m”",
		"\x1b]0;title\x07":                "“]0;title”",
		"\u009b31m":                       "“31m”", // C1's CSI
		"\x9b31m":                         "“�31m”",
		"a\bb\x7f":                        "“ab”",
		"one\r\ntwo\u2028three\u0085fou":  "“one two three fou”",
		"clinic   \t  (checked)":          "“clinic (checked)”",
		"   ":                             "“”",
		"\u202etxt.exe\u202c":             "“txt.exe”",
		"\u2066a\u2069\u061c\u200f":       "“a”",
		"cli\u200bn\u200dic\ufeff\u00ad":  "“clinic”",
		"a\U000e0041\U000e007fb":          "“ab”", // tag characters
		"a\ufe0f\U000e0100\u034f\u180bb":  "“ab”",
		"\u3164\u115f\uffa0\u2800":        "“”", // letters that show nothing
		"e" + strings.Repeat("\u0301", 9): "“e\u0301\u0301\u0301”",
		"\u0338clinic":                    "“clinic”", // would strike the quotation mark
		"clinic” may read all “":          "“clinic\" may read all \"”",
		"„a‟ «b» ❝c❞ ″d″ ＂e＂":             "“\"a\" \"b\" \"c\" \"d\" \"e\"”",
		"a’’ b‘‘ c´´ d``":                 "“a'' b'' c'' d''”",
		"\xff\xfe":                        "“��”",
		"\ue000\U0010ffff":                "“”", // private use, no character
		long:                              "“" + long + "”",
		long + "b":                        "“" + long + "…”",
		strings.Repeat("a", 10000):        "“" + long + "…”",
	} {
		if got := Quote(foreign); got != want {
			t.Errorf("%q: got %q, want %q", foreign, got, want)
		}
		requireQuoted(t, foreign)
	}
}

func TestQuoteEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		requireQuoted(t, "a"+string(r)+"b")
	}
}

func TestQuoteAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { requireQuoted(t, rapid.String().Draw(t, "foreign")) })
	rapid.Check(t, func(t *rapid.T) { requireQuoted(t, string(rapid.SliceOf(rapid.Byte()).Draw(t, "foreign"))) })
}

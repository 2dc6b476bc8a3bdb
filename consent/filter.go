package consent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Criterion is one search parameter of a filter, decoded.
type Criterion struct {
	Name  string // "category", or with a modifier "code:in"
	Value string
}

// String gives the criterion as it stands in a canonical filter.
func (c Criterion) String() string {
	var b strings.Builder
	percentEncode(&b, c.Name)
	b.WriteByte('=')
	percentEncode(&b, c.Value)
	return b.String()
}

// resourceParameters are the search parameters of FHIR's Resource that only
// narrow; every other name that begins with "_" brings in more or changes the
// answer.
var resourceParameters = []string{"_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"}

// ParseFilter reads FHIR search parameters into criteria, sorted by name and
// then value, bytewise. The empty filter has none. resource is the scope's,
// since "*" allows fewer names. The error names the criterion (Assent
// protocol, section 3, "Canonical filter").
func ParseFilter(resource, filter string) ([]Criterion, error) {
	if filter == "" {
		return nil, nil
	}
	var criteria []Criterion
	for pair := range strings.SplitSeq(filter, "&") {
		c, err := parseCriterion(resource, pair)
		if err != nil {
			return nil, fmt.Errorf("filter %s: %w", Quote(pair), err)
		}
		criteria = append(criteria, c)
	}
	slices.SortFunc(criteria, func(a, b Criterion) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
	for i := 1; i < len(criteria); i++ {
		if criteria[i] == criteria[i-1] {
			return nil, fmt.Errorf("filter %s: the same pair twice", Quote(criteria[i].String()))
		}
	}
	return criteria, nil
}

func parseCriterion(resource, pair string) (Criterion, error) {
	name, value, found := strings.Cut(pair, "=")
	if !found {
		return Criterion{}, errors.New(`want name=value`)
	}
	name, err := percentDecode(name)
	if err != nil {
		return Criterion{}, err
	}
	value, err = percentDecode(value)
	if err != nil {
		return Criterion{}, err
	}
	if name == "" || value == "" {
		return Criterion{}, errors.New("neither name nor value may be empty")
	}
	base, modifier, modified := strings.Cut(name, ":")
	switch {
	case base == "" || modified && modifier == "":
		return Criterion{}, errors.New("want a name, or name:modifier")
	case strings.Contains(name, "."):
		return Criterion{}, errors.New("chaining could test what is not permitted")
	case strings.HasPrefix(base, "_") && !slices.Contains(resourceParameters, base):
		return Criterion{}, fmt.Errorf("%s does not narrow: of such names only %s may stand", Quote(base), strings.Join(resourceParameters, ", "))
	case resource == AnyResource && !slices.Contains(resourceParameters, base):
		return Criterion{}, fmt.Errorf("with resource * only %s may stand", strings.Join(resourceParameters, ", "))
	}
	return Criterion{Name: name, Value: value}, nil
}

// CanonicalFilter gives the one way of writing a filter, so that filters can be
// compared as bytes. It is its own canonical form. resource is the scope's.
func CanonicalFilter(resource, filter string) (string, error) {
	criteria, err := ParseFilter(resource, filter)
	if err != nil {
		return "", err
	}
	pairs := make([]string, len(criteria))
	for i, c := range criteria {
		pairs[i] = c.String()
	}
	return strings.Join(pairs, "&"), nil
}

func percentDecode(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("percent-encoding is cut short")
		}
		high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
		if high < 0 || low < 0 {
			return "", fmt.Errorf("percent-encoding %s is not hexadecimal", Quote(s[i:i+3]))
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	if !utf8.ValidString(b.String()) {
		return "", errors.New("not UTF-8")
	}
	return b.String(), nil
}

func percentEncode(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~:/|,", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
}

// hexDigit gives the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

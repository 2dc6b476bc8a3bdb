package relay

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// TokenHeader is the HTTP header in which a wallet shows its admission token.
const TokenHeader = "Assent-Admission"

// Admission says who may use a relay. The zero value admits everybody, which is
// for a relay that only its own computer reaches.
type Admission struct {
	Tokens   map[string]bool // by TokenHash
	Networks []netip.Prefix
}

// Open tells whether everybody is admitted.
func (a *Admission) Open() bool { return a.Tokens == nil && a.Networks == nil }

// TokenHash gives what a relay keeps of an admission token: its SHA-256, in
// hexadecimal.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// ReadTokens reads the hashes of admission tokens, one on a line; what follows
// # is a remark.
func ReadTokens(r io.Reader) (map[string]bool, error) {
	tokens := make(map[string]bool)
	scanner := bufio.NewScanner(r)
	for line := 1; scanner.Scan(); line++ {
		text, _, _ := strings.Cut(scanner.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		sum, err := hex.DecodeString(text)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("line %d: want the SHA-256 of a token in 64 hexadecimal digits", line)
		}
		tokens[hex.EncodeToString(sum)] = true
	}
	return tokens, scanner.Err()
}

var errNotAdmitted = errors.New("this relay does not admit you: ask its operator for a token")

// admit gives the name by which a client is counted.
func (a *Admission) admit(req *http.Request) (client string, err error) {
	at, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return "", errNotAdmitted
	}
	from := at.Addr().Unmap().WithZone("")
	if token := req.Header.Get(TokenHeader); token != "" && a.Tokens[TokenHash(token)] {
		return "token " + TokenHash(token), nil
	}
	if a.Open() {
		return network(from), nil
	}
	for _, prefix := range a.Networks {
		if prefix.Contains(from) {
			return network(from), nil
		}
	}
	return "", errNotAdmitted
}

// network is what is counted as one client: an address, and of IPv6 the network
// that one subscriber gets.
func network(from netip.Addr) string {
	if from.Is6() {
		if prefix, err := from.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return from.String()
}

// limits are the rates of many, each by its name.
type limits struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	known map[string]*limiter
}

type limiter struct {
	*rate.Limiter
	used time.Time
}

const (
	maxLimiters = 100_000
	limiterKept = 30 * time.Minute // by then all are full again
)

func (l *limits) init(perSecond, burst float64) {
	l.rate, l.burst, l.known = rate.Limit(perSecond), max(int(burst), 1), make(map[string]*limiter)
}

// allow tells whether n more are within the limit. Where more are known than can
// be counted, nobody new is.
func (l *limits) allow(name string, n int) bool {
	if l.rate == 0 {
		return true
	}
	l.mu.Lock()
	one := l.known[name]
	if one == nil && len(l.known) < maxLimiters {
		one = &limiter{Limiter: rate.NewLimiter(l.rate, l.burst)}
		l.known[name] = one
	}
	if one != nil {
		one.used = time.Now()
	}
	l.mu.Unlock()
	return one != nil && one.AllowN(time.Now(), n)
}

func (l *limits) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, one := range l.known {
		if time.Since(one.used) > limiterKept {
			delete(l.known, name)
		}
	}
}

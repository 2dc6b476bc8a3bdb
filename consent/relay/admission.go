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

	mu     sync.Mutex
	known  map[string]*limiter
	brings map[string]int // how many of them a client brought
}

type limiter struct {
	*rate.Limiter
	client string // that brought it
}

const (
	maxLimiters = 100_000
	maxOfClient = 2_000 // of them
)

func (l *limits) init(perSecond, burst float64) {
	l.rate, l.burst, l.known, l.brings = rate.Limit(perSecond), max(int(burst), 1), make(map[string]*limiter), make(map[string]int)
}

// allow tells whether n more of a client are within the limit of this name.
// Where more are known than can be counted, nobody new is.
func (l *limits) allow(client, name string, n int) bool {
	if l.rate == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.known[name]
	if one == nil {
		if len(l.known) >= maxLimiters || l.brings[client] >= maxOfClient {
			return false
		}
		one = &limiter{rate.NewLimiter(l.rate, l.burst), client}
		l.known[name] = one
		l.brings[client]++
	}
	return one.AllowN(time.Now(), n)
}

// forget forgets those that are full again, as new ones are.
func (l *limits) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for name, one := range l.known {
		if one.TokensAt(now) < float64(l.burst) {
			continue
		}
		delete(l.known, name)
		if l.brings[one.client]--; l.brings[one.client] == 0 {
			delete(l.brings, one.client)
		}
	}
}

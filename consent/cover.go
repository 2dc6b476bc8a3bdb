package consent

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"
)

// KindCover is the kind of a cover note: see Cover.
const KindCover = "cover/1"

// MaxURL is the most bytes that the URL of a data holder may have.
const MaxURL = 512

// Cover is a cover/1: a note beside a grant that says where the data holders
// named in it are reached. Nobody signs it, and it grants nothing. Whoever
// alters one can send an access to a place of their own, which is no use there:
// the access names the true holder's address and is bound to a key (DPoP) that
// stays with the grantee, so that nobody can hand it on, and only the true
// holder answers it. That place learns the provisions which the access opens,
// and may answer with a made-up record; so whoever uses a note shows the host of
// each URL, and TLS holds the host to its name.
type Cover struct {
	Holders []Gateway // 1 to MaxHolders, each account once
}

// Gateway is where a data holder is reached.
type Gateway struct {
	Account common.Address
	Name    string // up to MaxName bytes, or empty: foreign text, which proves nothing
	URL     string // as ParseGatewayURL reads it
}

// ReadCover reads a cover/1, as strictly as ReadGrant does; it checks all that
// Cover says.
func ReadCover(r io.Reader) (*Cover, error) { return read[Cover](r) }

// MarshalJSON writes the note on one line, addresses in EIP-55.
func (c Cover) MarshalJSON() ([]byte, error) { return write(c.members()) }

func (c *Cover) members() object {
	return object{members: []member{
		kind(KindCover),
		{"holders", list[Gateway, *Gateway]{&c.Holders}},
	}, check: c.check}
}

func (g *Gateway) members() object {
	return object{members: []member{
		{"account", (*address)(&g.Account)},
		{"name", (*text)(&g.Name)},
		{"url", (*text)(&g.URL)},
	}, check: g.Check}
}

func (c *Cover) check() error {
	if n := len(c.Holders); n < 1 || n > MaxHolders {
		return fmt.Errorf("%d data holders: want 1 to %d", n, MaxHolders)
	}
	seen := make(map[common.Address]bool)
	for i := range c.Holders {
		if account := c.Holders[i].Account; seen[account] {
			return fmt.Errorf("the data holder %s stands there twice", account)
		}
		seen[c.Holders[i].Account] = true
	}
	return nil
}

// Check tells why the gateway may not stand in a note or an address book, or nil.
func (g *Gateway) Check() error {
	switch {
	case g.Account == (common.Address{}):
		return errors.New("the zero address is no data holder")
	case len(g.Name) > MaxName || !utf8.ValidString(g.Name):
		return fmt.Errorf("the name of the data holder %s: want at most %d bytes of UTF-8", g.Account, MaxName)
	}
	_, err := ParseGatewayURL(g.URL)
	return err
}

// ParseGatewayURL reads the base URL of a data holder's gateway, in the one form
// that is written: https, or http at this computer itself; a host in lower-case
// ASCII (other names in their xn-- form, so that no letter can pass for another);
// a path without a slash at its end, and neither user, query nor fragment.
func ParseGatewayURL(text string) (*url.URL, error) {
	refuse := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("the URL %s: %s", Quote(text), why)
	}
	if len(text) > MaxURL {
		return nil, fmt.Errorf("a URL of %d bytes: want at most %d", len(text), MaxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // which may repeat the text
		return refuse("it is none")
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse("want https://…")
	case u.User != nil || strings.ContainsAny(text, "?#"):
		return refuse("want neither user, query nor fragment in it")
	case u.Hostname() == "" || strings.Trim(u.Host, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") != "" || strings.HasSuffix(u.Host, ":"):
		return refuse("want a host in lower-case ASCII, others in their xn-- form")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return refuse("http is for this computer itself: want https")
	case strings.HasSuffix(u.Path, "/"):
		return refuse("want no slash at its end")
	case u.String() != text || u.Path != "" && path.Clean(u.Path) != u.Path:
		return refuse("want a plain path, nothing escaped that need not be, and neither // nor ..")
	}
	return u, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

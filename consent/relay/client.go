package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
)

const (
	callLimit = 20 * time.Second // of one request, beside what it waits
	maxAnswer = 2 << 20          // bytes
)

// Client is a wallet's way to one relay. It believes nothing that the relay
// says of the chain or of a card: whoever uses it checks.
type Client struct {
	url   string
	token string
	http  *http.Client
}

// NewClient makes a client of the relay at the URL, in the one form of
// consent.ParseGatewayURL. token is for its admission; empty: none. It never
// follows a redirect.
func NewClient(url, token string) (*Client, error) {
	if _, err := consent.ParseGatewayURL(url); err != nil {
		return nil, fmt.Errorf("a relay: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &Client{url, token, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// URL gives the relay's URL.
func (c *Client) URL() string { return c.url }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is what a relay answers instead of what it was asked for.
type StatusError struct {
	URL    string
	Status int
	Text   string // foreign text
}

func (e *StatusError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("the relay %s answers with HTTP status %d", e.URL, e.Status)
	}
	return fmt.Sprintf("the relay %s says %s (HTTP status %d)", e.URL, consent.Quote(e.Text), e.Status)
}

// IsNotFound tells whether the relay says that there is no such thing.
func IsNotFound(err error) bool {
	said, ok := errors.AsType[*StatusError](err)
	return ok && said.Status == http.StatusNotFound
}

// Information asks the relay who it is.
func (c *Client) Information(ctx context.Context) (i Information, err error) {
	err = c.call(ctx, http.MethodGet, "/relay", nil, "", http.StatusOK, &i)
	return i, err
}

// Submit hands in a root. When it returns, the relay has it on disk.
func (c *Client) Submit(ctx context.Context, root common.Hash) error {
	return c.call(ctx, http.MethodPost, "/anchor", map[string]common.Hash{"root": root}, "", http.StatusAccepted, nil)
}

// Anchored asks what became of a root, and waits so long for it; nil is that no
// block holds it yet. The siblings lead from the root to the one that the relay
// says is on chain.
func (c *Client) Anchored(ctx context.Context, root common.Hash, wait time.Duration) (*Anchored, error) {
	seconds := min(int(wait/time.Second), maxWait)
	ctx, cancel := context.WithTimeout(ctx, callLimit+time.Duration(seconds)*time.Second)
	defer cancel()
	response, err := c.send(ctx, http.MethodGet, "/anchor/"+root.Hex()+"?wait="+strconv.Itoa(seconds), nil, "")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusAccepted {
		return nil, nil
	}
	var a Anchored
	if err := c.read(response, http.StatusOK, &a); err != nil {
		return nil, err
	}
	if consent.Root(root, a.Siblings) != a.Root {
		return nil, fmt.Errorf("the relay %s gives siblings that do not lead to the root which it names", c.url)
	}
	return &a, nil
}

// Revoke hands in at most MaxSecrets secrets. When it returns, the relay has
// them on disk.
func (c *Client) Revoke(ctx context.Context, secrets []common.Hash) error {
	return c.call(ctx, http.MethodPost, "/revoke", map[string][]common.Hash{"secrets": secrets}, "", http.StatusAccepted, nil)
}

// PutCard publishes a card.
func (c *Client) PutCard(ctx context.Context, card *consent.CardDocument) error {
	return c.call(ctx, http.MethodPut, "/cards/"+card.Card.Account.Hex(), card, "", http.StatusNoContent, nil)
}

// Card gives the card that an account published; nil: none. Its signature is
// not checked.
func (c *Client) Card(ctx context.Context, account common.Address) (*consent.CardDocument, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	response, err := c.send(ctx, http.MethodGet, "/cards/"+account.Hex(), nil, "")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		if err = c.read(response, http.StatusOK, nil); IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	card, err := consent.ReadCard(response.Body)
	if err == nil && card.Card.Account != account {
		err = errors.New("it is of another account")
	}
	if err != nil {
		return nil, fmt.Errorf("the card that the relay %s gives: %w", c.url, err)
	}
	return card, nil
}

// Send puts a sealed letter into the mailbox of an account. When it returns, the
// relay has it on disk.
func (c *Client) Send(ctx context.Context, to common.Address, sealed []byte) error {
	return c.call(ctx, http.MethodPost, "/mail/"+to.Hex(), sealed, "", http.StatusAccepted, nil)
}

// Mailbox is the mailbox of an account, open to its owner.
type Mailbox struct {
	*Client
	token string
}

// Mailbox opens the mailbox of an account with a proof of address, which prove
// signs: see consent.ProofOfAddress. domain is the wallet's.
func (c *Client) Mailbox(ctx context.Context, account common.Address, domain consent.Domain, prove func(holder common.Address, challenge, binding common.Hash) (*consent.AccessDocument, error)) (*Mailbox, error) {
	i, err := c.Information(ctx)
	switch {
	case err != nil:
		return nil, err
	case i.URL != c.url:
		return nil, fmt.Errorf("the relay %s calls itself %s: name it so in the settings, if that is the one that is meant", c.url, consent.Quote(i.URL))
	case (consent.Domain{ChainID: i.ChainID, Registry: i.Registry}) != domain:
		return nil, fmt.Errorf("the relay %s is for chain %d with the registry %s, which is not the network in use", c.url, i.ChainID, i.Registry)
	}
	var given struct {
		Challenge common.Hash `json:"challenge"`
	}
	if err := c.call(ctx, http.MethodPost, "/challenges", nil, "", http.StatusCreated, &given); err != nil {
		return nil, err
	}
	proof, err := prove(i.Account, given.Challenge, Origin(c.url))
	if err != nil {
		return nil, err
	}
	var session opened
	if err := c.call(ctx, http.MethodPost, "/sessions/"+account.Hex(), proof, "", http.StatusCreated, &session); err != nil {
		return nil, err
	}
	return &Mailbox{c, session.Token}, nil
}

// List lists the letters, oldest first.
func (m *Mailbox) List(ctx context.Context) ([]Letter, error) {
	var list mailList
	if err := m.call(ctx, http.MethodGet, "/mail", nil, m.token, http.StatusOK, &list); err != nil {
		return nil, err
	}
	for _, l := range list.Mail {
		if _, err := parseID(l.ID); err != nil {
			return nil, fmt.Errorf("the relay %s lists a letter with no proper id", m.url)
		}
	}
	return list.Mail, nil
}

// Read gives a sealed letter.
func (m *Mailbox) Read(ctx context.Context, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	response, err := m.send(ctx, http.MethodGet, "/mail/"+id, nil, m.token)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, m.read(response, http.StatusOK, nil)
	}
	sealed, err := io.ReadAll(io.LimitReader(response.Body, MaxLetter+1))
	if err == nil && len(sealed) > MaxLetter {
		err = fmt.Errorf("the relay %s gives a letter of more than %d bytes", m.url, MaxLetter)
	}
	return sealed, err
}

// Delete takes a letter away, for ever.
func (m *Mailbox) Delete(ctx context.Context, id string) error {
	return m.call(ctx, http.MethodDelete, "/mail/"+id, nil, m.token, http.StatusNoContent, nil)
}

// Events gives the id of each letter, those that are there first, until the
// context or the session ends, which is no error.
func (m *Mailbox) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		response, err := m.send(ctx, http.MethodGet, "/mail/events", nil, m.token)
		if err == nil {
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = m.read(response, http.StatusOK, nil)
			}
		}
		if err != nil {
			yield("", err)
			return
		}
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			if id, is := strings.CutPrefix(lines.Text(), "data: "); is {
				if _, err := parseID(id); err != nil || !yield(id, nil) {
					return
				}
			}
		}
	}
}

// call makes a request and reads its answer into value, where that is not nil.
func (c *Client) call(ctx context.Context, method, path string, body any, session string, want int, value any) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	response, err := c.send(ctx, method, path, body, session)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return c.read(response, want, value)
}

// send sends a request: bytes as they are, all else as JSON.
func (c *Client) send(ctx context.Context, method, path string, body any, session string) (*http.Response, error) {
	kind, content := "application/octet-stream", []byte(nil)
	switch b := body.(type) {
	case nil:
	case []byte:
		content = b
	default:
		var err error
		if content, err = json.Marshal(b); err != nil {
			return nil, err
		}
		kind = "application/json"
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		request.Header.Set(TokenHeader, c.token)
	}
	if session != "" {
		request.Header.Set("Authorization", "Bearer "+session)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the relay: %w", err)
	}
	return response, nil
}

// read reads an answer.
func (c *Client) read(response *http.Response, want int, value any) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("the relay %s: %w", c.url, err)
	}
	if response.StatusCode != want {
		var said struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(text, &said) // whatever it says, it is not what was asked for
		return &StatusError{c.url, response.StatusCode, said.Error}
	}
	if value == nil {
		return nil
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("the relay %s answers with more than %d bytes", c.url, maxAnswer)
	}
	if err := jsonv2.Unmarshal(text, value); err != nil {
		return fmt.Errorf("the relay %s answers with what no relay says", c.url)
	}
	return nil
}

package gateway

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-jose/go-jose/v4"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// What a Client takes of an answer, and how long it waits. A data holder that
// was never seen before may be anybody.
const (
	maxAnswer     = 64 << 20         // bytes of one answer that is kept
	maxTaken      = 8 << 30          // bytes of all answers to one client
	maxPages      = 10_000           // of one search
	headerLimit   = time.Minute      // until an answer begins
	answerLimit   = 5 * time.Minute  // for one answer, and for each maxEntry bytes of it
	retryAttempts = 4                // of one request where the other side is busy
	retryWait     = 30 * time.Second // for one request, in all
	dpopType      = "dpop+jwt"
)

// RefusedError is an answer other than what was asked for.
type RefusedError struct {
	Status int    // of HTTP
	Code   string // of OAuth, or of the OperationOutcome's first issue; may be empty
	Reason string // what the data holder says: an Outcome by its name, or foreign text
}

func (e *RefusedError) Error() string {
	if e.Denied() && e.Reason != "" {
		return "denied: " + consent.Quote(e.Reason)
	}
	text := fmt.Sprintf("it answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += ", " + consent.Quote(e.Code)
	}
	if e.Reason != "" {
		text += ": " + consent.Quote(e.Reason)
	}
	return text
}

// Denied tells that the data holder decided, and did not permit.
func (e *RefusedError) Denied() bool {
	return e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized || e.Code == "invalid_grant"
}

// ChainTooOld tells that the data holder could not decide, since its view of the
// chain is too old.
func (e *RefusedError) ChainTooOld() bool { return e.Reason == consent.ChainTooOld.String() }

// Client asks one data holder for what grants permit there. It has a key (DPoP,
// RFC 9449) of its own that never leaves it, so that neither an access nor a
// token that is made for it is of use to anybody else. It speaks TLS that it
// verifies, or to this computer itself; follows no redirects and no links to
// elsewhere; and limits what it takes in. It is not for several goroutines at
// once.
type Client struct {
	// Access signs an access that is bound to the client's key. It is asked for
	// each token, since an access counts once.
	Access func(ctx context.Context, binding common.Hash) (*consent.AccessDocument, error)

	base    *url.URL
	http    *http.Client
	signer  jose.Signer
	binding common.Hash
	nonce   string // what the data holder wants in the next proof (RFC 9449, section 8)
	token   token
	taken   uint64 // bytes of answers so far
}

// token is what an access was exchanged for.
type token struct {
	text    string // empty: none
	patient string // logical id
}

// NewClient makes a client, with a fresh key, for the gateway at a base URL
// (consent.ParseGatewayURL).
func NewClient(base string) (*Client, error) {
	u, err := consent.ParseGatewayURL(base)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for the session: %w", err)
	}
	public := jose.JSONWebKey{Key: key.Public()}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("thumbprint of the session's key: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(dpopType))
	if err != nil {
		return nil, fmt.Errorf("make a key for the session: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.MaxResponseHeaderBytes, transport.ResponseHeaderTimeout = 64<<10, headerLimit
	return &Client{
		base: u, signer: signer, binding: common.Hash(thumbprint),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends its connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// SMARTConfiguration is what a Client reads of /.well-known/smart-configuration
// (SMART App Launch, section 4). Beside the members of SMART the document has
// one of this protocol:
//
//	"assent": {"holder": "0x…", "chainId": 1337, "registry": "0x…"}
type SMARTConfiguration struct {
	Holder common.Address // whom accesses are to name
	Domain consent.Domain // which chain it follows
}

// SMARTConfiguration asks the gateway what it is. The error says where it is no
// gateway of this protocol, or not the one at this URL.
func (c *Client) SMARTConfiguration(ctx context.Context) (*SMARTConfiguration, error) {
	body, err := all(c.persist(ctx, func() (*http.Request, error) {
		return c.request(ctx, http.MethodGet, c.base.JoinPath(".well-known", "smart-configuration"), "", "application/json")
	}))
	if err != nil {
		return nil, err
	}
	var said struct {
		TokenEndpoint string `json:"token_endpoint"`
		Assent        struct {
			Holder   string `json:"holder"`
			ChainID  uint64 `json:"chainId"`
			Registry string `json:"registry"`
		} `json:"assent"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, errors.New("its smart-configuration is not what SMART defines: give the base URL of a gateway")
	}
	holder, err := consent.ParseAddress(said.Assent.Holder)
	if err != nil {
		return nil, fmt.Errorf("it does not say which data holder it is: %w", err)
	}
	registry, err := consent.ParseAddress(said.Assent.Registry)
	if err != nil {
		return nil, fmt.Errorf("it does not say which chain it follows: %w", err)
	}
	if at := c.base.JoinPath("token").String(); said.TokenEndpoint != at {
		return nil, fmt.Errorf("its tokens come from %s, not from %s: ask the data holder for its URL", consent.Quote(said.TokenEndpoint), at)
	}
	return &SMARTConfiguration{holder, consent.Domain{ChainID: said.Assent.ChainID, Registry: registry}}, nil
}

// exchange exchanges an access for a token (RFC 8693), unless the client has one.
func (c *Client) exchange(ctx context.Context) (token, error) {
	if c.token.text != "" {
		return c.token, nil
	}
	endpoint := c.base.JoinPath("token")
	body, err := all(c.persist(ctx, func() (*http.Request, error) {
		access, err := c.Access(ctx, c.binding)
		if err != nil {
			return nil, err
		}
		document, err := access.MarshalJSON()
		if err != nil {
			return nil, err
		}
		form := url.Values{
			"grant_type":         {GrantType},
			"subject_token":      {base64.RawURLEncoding.EncodeToString(document)},
			"subject_token_type": {SubjectTokenType},
		}
		r, err := c.request(ctx, http.MethodPost, endpoint, form.Encode(), "application/json")
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			err = c.prove(r, "")
		}
		return r, err
	}))
	if err != nil {
		return token{}, err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		Patient     string `json:"patient"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil || answer.AccessToken == "" || strings.Trim(answer.AccessToken, tokenLetters) != "":
		return token{}, errors.New("it answers with no token where a token was to be")
	case !strings.EqualFold(answer.TokenType, "DPoP"):
		return token{}, fmt.Errorf("it answers with a token of type %s, which is not bound to this session's key", consent.Quote(answer.TokenType))
	}
	c.token = token{answer.AccessToken, answer.Patient}
	return c.token, nil
}

// tokenLetters are those of a token in a header (RFC 6750, b64token).
const tokenLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

// Resource is one resource of an answer.
type Resource struct {
	Type, ID string
	JSON     json.RawMessage // as it came
}

// Search calls each with the resources of a search (FHIR R4), page by page and as
// they come: before an error as well. query is Type?parameters. pages counts the
// answers.
func (c *Client) Search(ctx context.Context, query string, each func(Resource) error) (pages int, err error) {
	at, err := c.base.Parse(c.base.Path + "/" + query)
	if err != nil {
		return 0, fmt.Errorf("the query %s makes no URL", consent.Quote(query))
	}
	return c.pages(ctx, at, each)
}

// Everything does so with all that a token opens (FHIR R4, Patient/$everything).
func (c *Client) Everything(ctx context.Context, each func(Resource) error) (pages int, err error) {
	patient, err := c.patient(ctx)
	if err != nil {
		return 0, err
	}
	return c.pages(ctx, c.base.JoinPath("Patient", patient, "$everything"), each)
}

// patient gives the logical id of whose record it is.
func (c *Client) patient(ctx context.Context) (string, error) {
	token, err := c.exchange(ctx)
	if err == nil && !fhir.IsID(token.patient) {
		err = errors.New("it does not say with the token whose record it is")
	}
	return token.patient, err
}

// Person reads the Patient resource, for scopes that permit no search.
func (c *Client) Person(ctx context.Context) (Resource, error) {
	patient, err := c.patient(ctx)
	if err != nil {
		return Resource{}, err
	}
	body, err := c.get(ctx, c.base.JoinPath("Patient", patient), fhirJSON)
	if err != nil {
		return Resource{}, err
	}
	return resource(body)
}

// Audit reads a page of the log of what was done with the record of whoever
// signed the access, from an entry on.
func (c *Client) Audit(ctx context.Context, from uint64) (*consent.AuditDocument, error) {
	at := c.base.JoinPath("audit")
	at.RawQuery = url.Values{"from": {strconv.FormatUint(from, 10)}}.Encode()
	body, err := c.get(ctx, at, "application/json")
	if err != nil {
		return nil, err
	}
	return consent.ReadAudit(bytes.NewReader(body))
}

const fhirJSON = "application/fhir+json"

func (c *Client) pages(ctx context.Context, at *url.URL, each func(Resource) error) (int, error) {
	seen := make(map[string]bool)
	for n := 1; ; n++ {
		switch {
		case n > maxPages:
			return n - 1, fmt.Errorf("its answer has more than %d pages", maxPages)
		case seen[at.String()]:
			return n - 1, errors.New("its pages lead back to one that was read")
		}
		seen[at.String()] = true
		body, err := c.ask(ctx, at, fhirJSON)
		if err != nil {
			return n - 1, err
		}
		next, err := c.page(body, each)
		if err != nil || next == "" {
			return n, err
		}
		if at, err = url.Parse(next); err != nil {
			return n, err
		}
	}
}

// page calls each with the resources of one answer, as they come, and gives the
// URL of the next page, or none.
func (c *Client) page(body io.ReadCloser, each func(Resource) error) (next string, err error) {
	page, err := newSearchset(body, c.within)
	if err != nil {
		return "", err
	}
	defer page.close()
	for {
		e, err := page.read()
		if err == io.EOF {
			return page.next, nil
		} else if err != nil {
			return "", err
		}
		if e.Search.Mode == "outcome" || len(e.Resource) == 0 {
			continue
		}
		r, err := resource(e.Resource)
		if r.Type == "OperationOutcome" {
			continue
		}
		if err == nil {
			err = each(r)
		}
		if err != nil {
			return "", err
		}
	}
}

// within reads a link to a page, which has to lead to where the token is for.
func (c *Client) within(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", fmt.Errorf("its link to the next page, %s, is no URL", consent.Quote(link))
	}
	folder := *c.base
	folder.Path += "/"
	if u = folder.ResolveReference(u); u.Scheme != c.base.Scheme || u.Host != c.base.Host || u.User != nil || !strings.HasPrefix(u.Path, c.base.Path+"/") && u.Path != c.base.Path {
		return "", fmt.Errorf("its link to the next page leads elsewhere, to %s", consent.Quote(u.Host+u.Path))
	}
	u.Fragment = ""
	return u.String(), nil
}

func resource(text []byte) (Resource, error) {
	var named struct {
		ResourceType string `json:"resourceType"`
		ID           string `json:"id"`
	}
	err := json.Unmarshal(text, &named)
	r := Resource{named.ResourceType, named.ID, text}
	if err != nil || !resourceType(r.Type) || !fhir.IsID(r.ID) {
		return r, errors.New("it answers with what is no FHIR resource with an id")
	}
	return r, nil
}

// resourceType tells whether a text has the form of a resource type.
func resourceType(name string) bool {
	return len(name) <= 64 && name != "" && 'A' <= name[0] && name[0] <= 'Z' &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// get reads what is there.
func (c *Client) get(ctx context.Context, at *url.URL, accept string) ([]byte, error) {
	return all(c.ask(ctx, at, accept))
}

// all reads an answer to its end.
func all(answer io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("its answer breaks off: %w", err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("one answer of it is longer than %d bytes", maxAnswer)
	}
	return body, nil
}

// ask asks with the token, and with a new one where it does not count any more.
func (c *Client) ask(ctx context.Context, at *url.URL, accept string) (io.ReadCloser, error) {
	for fresh := false; ; fresh = true {
		shown, err := c.exchange(ctx)
		if err != nil {
			return nil, err
		}
		body, err := c.persist(ctx, func() (*http.Request, error) {
			r, err := c.request(ctx, http.MethodGet, at, "", accept)
			if err == nil {
				r.Header.Set("Authorization", "DPoP "+shown.text)
				err = c.prove(r, shown.text)
			}
			return r, err
		})
		if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Status == http.StatusUnauthorized && !fresh {
			c.token = token{}
			continue
		}
		return body, err
	}
}

func (c *Client) request(ctx context.Context, method string, at *url.URL, body, accept string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("User-Agent", "assent")
	return r, nil
}

// prove adds the proof of the client's key for this very request (RFC 9449,
// section 4.2).
func (c *Client) prove(r *http.Request, token string) error {
	at := *r.URL
	at.RawQuery, at.Fragment = "", ""
	claims := map[string]any{"jti": rand.Text(), "htm": r.Method, "htu": at.String(), "iat": time.Now().Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	if c.nonce != "" {
		claims["nonce"] = c.nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	signed, err := c.signer.Sign(payload)
	if err != nil {
		return fmt.Errorf("sign the proof of the session's key: %w", err)
	}
	proof, err := signed.CompactSerialize()
	r.Header.Set("DPoP", proof)
	return err
}

// persist sends a request, made anew each time, until it is answered: again with
// the nonce that the proof is to have, and after a pause where the data holder
// is busy.
func (c *Client) persist(ctx context.Context, make func() (*http.Request, error)) (io.ReadCloser, error) {
	waited, nonces := time.Duration(0), 0
	for attempt := 1; ; attempt++ {
		r, err := make()
		if err != nil {
			return nil, err
		}
		body, header, err := c.send(ctx, r)
		refused, ok := errors.AsType[*RefusedError](err)
		if !ok {
			return body, err
		}
		if refused.wantsNonce(header) && c.nonce != "" && nonces == 0 {
			nonces++
			continue
		}
		if refused.Status != http.StatusTooManyRequests && refused.Status != http.StatusServiceUnavailable {
			return nil, err
		}
		pause := retryAfter(header, attempt)
		if waited += pause; waited > retryWait || attempt == retryAttempts {
			return nil, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// wantsNonce tells that the proof lacks a nonce (RFC 9449, sections 8 and 9).
func (e *RefusedError) wantsNonce(header http.Header) bool {
	return e.Code == "use_dpop_nonce" || e.Status == http.StatusUnauthorized && strings.Contains(header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`)
}

// retryAfter gives how long to wait before the next attempt (RFC 9110, section
// 10.2.3).
func retryAfter(header http.Header, attempt int) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return time.Duration(attempt) * time.Second / 2
}

// send sends one request, and gives the answer if it is what was asked for.
func (c *Client) send(ctx context.Context, r *http.Request) (io.ReadCloser, http.Header, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	body := &answerBody{client: c, ctx: ctx, end: cancel, limit: time.AfterFunc(answerLimit, func() { cancel(errSlow) })}
	answer, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		body.release()
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL, which may tell what was searched for
		}
		return nil, nil, &unansweredError{body.cause(err)}
	}
	body.ReadCloser = answer.Body
	if nonce := answer.Header.Get("DPoP-Nonce"); nonce != "" && len(nonce) <= 1024 {
		c.nonce = nonce
	}
	if answer.StatusCode != http.StatusOK {
		text, err := all(body, nil)
		if err != nil {
			return nil, nil, err
		}
		return nil, answer.Header, refusal(answer, text)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != "application/json" && kind != fhirJSON {
		body.Close()
		return nil, nil, fmt.Errorf("it answers with %s, not with JSON", consent.Quote(answer.Header.Get("Content-Type")))
	}
	return body, answer.Header, nil
}

// answerBody is the body of an answer, which may take its time for so many bytes,
// but not for ever.
type answerBody struct {
	io.ReadCloser
	client *Client
	ctx    context.Context
	end    context.CancelCauseFunc
	limit  *time.Timer
	since  int // bytes, since the time was last renewed
}

var errSlow = errors.New("its answer takes too long")

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.client.taken += uint64(n)
	if b.client.taken > maxTaken {
		return n, fmt.Errorf("its answers are longer than %d bytes together", uint64(maxTaken))
	}
	if b.since += n; b.since > maxEntry {
		b.since = 0
		b.limit.Reset(answerLimit)
	}
	if err != nil && err != io.EOF {
		err = b.cause(err)
	}
	return n, err
}

// cause is why nothing more comes.
func (b *answerBody) cause(err error) error {
	if context.Cause(b.ctx) == errSlow {
		return errSlow
	}
	return err
}

func (b *answerBody) release() {
	b.limit.Stop()
	b.end(nil)
}

func (b *answerBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// unansweredError is a request without an answer. What the system says of it may
// hold foreign text, such as the names in a certificate.
type unansweredError struct{ error }

func (e *unansweredError) Error() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, e.error.Error())
}

// Unwrap gives what the system said.
func (e *unansweredError) Unwrap() error { return e.error }

// refusal reads why a request was not answered, as OAuth or FHIR says it.
func refusal(answer *http.Response, body []byte) *RefusedError {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Issue       []struct {
			Code        string `json:"code"`
			Diagnostics string `json:"diagnostics"`
			Details     struct {
				Text string `json:"text"`
			} `json:"details"`
		} `json:"issue"`
	}
	e := &RefusedError{Status: answer.StatusCode}
	if json.Unmarshal(body, &said) != nil {
		return e
	}
	e.Code, e.Reason = said.Error, said.Description
	if e.Code == "" && len(said.Issue) > 0 {
		issue := said.Issue[0]
		e.Code, e.Reason = issue.Code, issue.Diagnostics
		if e.Reason == "" {
			e.Reason = issue.Details.Text
		}
	}
	return e
}

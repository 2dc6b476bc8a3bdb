package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assent-wallet/assent/consent"
)

const (
	maxProof = 8 << 10 // bytes of a proof
	maxJTI   = 256     // bytes of its jti

	cachedHeader = 512 // bytes of a header that is kept; those of an EC key have some 250

	// proofWindow is how far the time of a proof may be from now, either way.
	proofWindow = 60 * time.Second
	// nonceWindow is how long a nonce is good that the gateway gave out.
	nonceWindow = 5 * time.Minute

	proofAlgorithms = "ES256 EdDSA"
)

// proof is a DPoP proof (RFC 9449) that holds for a request, but for its being
// used only once.
type proof struct {
	binding common.Hash // thumbprint of its key
	once    []byte      // what may come once, after until when it may (unix seconds, 8 bytes)
}

// proofKey is a key out of the header of a proof.
type proofKey struct {
	algorithm  string
	public     any // *ecdsa.PublicKey of P-256, or ed25519.PublicKey
	thumbprint common.Hash
}

// errWantNonce is a proof whose time cannot be told without a nonce of ours.
var errWantNonce = errors.New("the proof is not of now, and holds no fresh nonce of this gateway")

// readProof checks the proof in a request's header for the URL at which clients
// reach it, and for the token that comes with it, empty for none (RFC 9449,
// section 4.3). Its jti is not looked up. A request without a proof has none.
func (g *Gateway) readProof(r *http.Request, at, token string) (*proof, error) {
	headers := r.Header.Values("DPoP")
	switch {
	case len(headers) == 0:
		return nil, nil
	case len(headers) > 1:
		return nil, errors.New("several proofs")
	case len(headers[0]) > maxProof:
		return nil, fmt.Errorf("a proof of %d bytes: want at most %d", len(headers[0]), maxProof)
	}
	signed, signature64, _ := cutLast(headers[0], '.')
	header64, claims64, two := strings.Cut(signed, ".")
	if !two || strings.Contains(claims64, ".") {
		return nil, errors.New("the proof is not of three parts")
	}
	key, err := g.proofKey(header64)
	if err != nil {
		return nil, err
	}
	signature, err := fromBase64(signature64)
	if err != nil {
		return nil, fmt.Errorf("the proof's signature: %w", err)
	}
	if !key.verifies(signed, signature) {
		return nil, errors.New("the proof is not signed by its key")
	}
	if len(header64) <= cachedHeader {
		g.proofKeys.Add(header64, key)
	}
	text, err := fromBase64(claims64)
	if err != nil {
		return nil, fmt.Errorf("the proof's claims: %w", err)
	}
	var claims struct {
		JTI    string   `json:"jti"`
		Method string   `json:"htm"`
		URL    string   `json:"htu"`
		Issued *float64 `json:"iat"`
		Token  string   `json:"ath"`
		Nonce  string   `json:"nonce"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, errors.New("the proof's claims are not strict JSON, or of other types")
	}
	hash := sha256.Sum256([]byte(token))
	switch {
	case claims.JTI == "" || len(claims.JTI) > maxJTI:
		return nil, fmt.Errorf("a jti of %d bytes: want 1 to %d", len(claims.JTI), maxJTI)
	case claims.Method != r.Method:
		return nil, errors.New("the proof is for another method")
	case !sameURL(claims.URL, at):
		return nil, errors.New("the proof is for another URL")
	case claims.Issued == nil || *claims.Issued < 0 || *claims.Issued > 1<<40:
		return nil, errors.New("the proof has no iat, or one of no time")
	case token != "" && claims.Token != base64.RawURLEncoding.EncodeToString(hash[:]):
		return nil, errors.New("the proof is for another token")
	case token == "" && claims.Token != "":
		return nil, errors.New("the proof is for a token, and the request has none")
	}
	now := g.Now()
	made, window := time.UnixMilli(int64(*claims.Issued*1000)), proofWindow
	if claims.Nonce != "" { // it tells the time as the gateway had it
		if made, window = g.nonceTime(claims.Nonce), nonceWindow; made.IsZero() {
			return nil, errWantNonce
		}
	}
	if age := now.Sub(made); age > window || age < -window {
		return nil, errWantNonce
	}
	once := sha256.Sum256(append(append([]byte("proof"), key.thumbprint[:]...), claims.JTI...))
	// A minute more, for the other gateway's clock.
	until := uint64(made.Add(window + time.Minute).Unix())
	return &proof{key.thumbprint, append(binary.BigEndian.AppendUint64(nil, until), once[:]...)}, nil
}

func cutLast(s string, at byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, at); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// fromBase64 reads base64url without padding, in its one way of writing.
func fromBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, errors.New("want base64url without padding")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("want base64url without padding")
	}
	return b, nil
}

// proofKey reads the header of a proof. Headers that come again, as they do within
// a session, are read once, where their key signed a proof.
func (g *Gateway) proofKey(header64 string) (*proofKey, error) {
	if key, known := g.proofKeys.Get(header64); known {
		return key, nil
	}
	text, err := fromBase64(header64)
	if err != nil {
		return nil, fmt.Errorf("the proof's header: %w", err)
	}
	var header struct {
		Type      string         `json:"typ"`
		Algorithm string         `json:"alg"`
		Key       jsontext.Value `json:"jwk"`
		Critical  jsontext.Value `json:"crit"`
	}
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, errors.New("the proof's header is not strict JSON, or of other types")
	}
	if header.Type != dpopType || header.Critical != nil {
		return nil, fmt.Errorf("the proof's header wants the type %s, and nothing critical", dpopType)
	}
	thumbprint, err := consent.Binding(header.Key) // which refuses private keys
	if err != nil {
		return nil, err
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(header.Key); err != nil {
		return nil, errors.New("the proof's JWK cannot be read")
	}
	key := &proofKey{header.Algorithm, jwk.Key, thumbprint}
	switch public := jwk.Key.(type) {
	case *ecdsa.PublicKey:
		if key.algorithm != string(jose.ES256) || public.Curve != elliptic.P256() {
			return nil, errors.New("the proof's algorithm is not the one of its key: want " + proofAlgorithms)
		}
	case ed25519.PublicKey:
		if key.algorithm != string(jose.EdDSA) || len(public) != ed25519.PublicKeySize {
			return nil, errors.New("the proof's algorithm is not the one of its key: want " + proofAlgorithms)
		}
	default:
		return nil, errors.New("the proof's key is of another kind: want one for " + proofAlgorithms)
	}
	return key, nil
}

func (k *proofKey) verifies(signed string, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	if public, ok := k.public.(ed25519.PublicKey); ok {
		return ed25519.Verify(public, []byte(signed), signature)
	}
	digest := sha256.Sum256([]byte(signed))
	return ecdsa.Verify(k.public.(*ecdsa.PublicKey), digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

// sameURL tells whether a proof's htu means the URL of the request, both without
// query and fragment.
func sameURL(htu, at string) bool {
	if htu == at {
		return true
	}
	claimed, err := url.Parse(htu)
	if err != nil || claimed.User != nil || claimed.Opaque != "" {
		return false
	}
	want, err := url.Parse(at)
	return err == nil && strings.EqualFold(claimed.Scheme, want.Scheme) && authority(claimed) == authority(want) && claimed.EscapedPath() == want.EscapedPath()
}

// authority is the host of a URL in lower case, with its port (RFC 3986, section
// 6.2.3).
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// nonce makes a nonce for proofs (RFC 9449, section 8): the time, and that all
// gateways of this key know it as theirs.
func (g *Gateway) nonce() string {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(g.Now().Unix()))
	return base64.RawURLEncoding.EncodeToString(append(stamp, g.mac("nonce", stamp)...))
}

// nonceTime gives the time of a nonce, or the zero time where it is not ours.
func (g *Gateway) nonceTime(nonce string) time.Time {
	b, err := fromBase64(nonce)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], g.mac("nonce", b[:8])) {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
}

// mac authenticates what the gateway hands out, for a use and for this data
// holder.
func (g *Gateway) mac(use string, content []byte) []byte {
	h := hmac.New(sha256.New, g.key[:])
	fmt.Fprintf(h, "assent gateway %s %d %s %s\n", use, g.Domain.ChainID, g.Domain.Registry, g.Holder)
	h.Write(content)
	return h.Sum(nil)
}

// admit records a proof as used, or nothing for none, and gives how often
// enrollments had changed then.
func (g *Gateway) admit(ctx context.Context, p *proof) (enrollments uint64, d *denial) {
	r := new(record)
	if p != nil {
		r.proof = p.once
	}
	if err := g.journal.write(ctx, r); err != nil {
		return 0, unavailable(err)
	}
	if p != nil && !r.fresh {
		return 0, invalidProof(errUsed)
	}
	return r.enrollments, nil
}

var errUsed = errors.New("the proof was used before")

func invalidProof(err error) *denial {
	d := &denial{status: http.StatusUnauthorized, code: "invalid_dpop_proof", outcome: "InvalidProof", clause: err.Error()}
	if errors.Is(err, errWantNonce) {
		d.code, d.outcome = "use_dpop_nonce", "WantNonce"
	}
	return d
}

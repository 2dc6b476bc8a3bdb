package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	_ "net/http/pprof" // which the measurement reads
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/gateway"
	"github.com/assent-wallet/assent/consent/registry"
)

// opened is what the gateway's part says once it serves.
type opened struct {
	URL      string
	Profiles string // base URL of its profiles
	ChainID  uint64
	Registry common.Address
	Holder   common.Address
	Clinics  []clinic
}

// clinic is somebody who has a grant of a patient.
type clinic struct {
	Key     hexutil.Bytes
	Patient int
	Grant   json.RawMessage // grant/1
}

const (
	clinics  = 256
	maxAge   = 60 // seconds
	lifetime = 24 * 3600
)

// scope is what each grant permits, and each access asks for.
var scope = consent.Scope{Resource: "Observation", Interactions: consent.Read | consent.Search, Filter: "category=laboratory", Purpose: "TREAT"}

// ledger is the embedded chain, and one's own copy of the registry there.
type ledger struct {
	*registry.Mirror
	client *registry.Client
}

func (l ledger) Anchor(ctx context.Context, root common.Hash) error {
	_, err := l.client.Anchor(ctx, root)
	return err
}

// serveGateway makes patients, clinics and their grants, enrolls the ones and
// anchors the others, and serves in front of the upstream.
func serveGateway(ctx context.Context, upstream, folder string) error {
	gateway.PrepareProcess()
	chain, err := devchain.Open(ctx, filepath.Join(folder, "chain"))
	if err != nil {
		return err
	}
	defer chain.Close()
	client := registry.New(registry.Network{
		Name: "embedded", ChainID: chain.ChainID(), OnDemand: true,
		Endpoints: []registry.Endpoint{{Name: "the embedded chain", Dial: chain.Dial}},
	}, registry.KeyPayer(chain.Key()))
	defer client.Close()
	if _, err := client.Deploy(ctx); err != nil {
		return err
	}
	mirror, err := registry.OpenMirror(ctx, filepath.Join(folder, "mirror.db"), client)
	if err != nil {
		return err
	}
	defer mirror.Close()
	following, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		_ = mirror.Follow(following)
		close(ended)
	}()
	defer func() { stop(); <-ended }()

	listener, at, err := listen()
	if err != nil {
		return err
	}
	public, err := url.Parse(at)
	if err != nil {
		return err
	}
	behind, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	db, err := gateway.OpenDatabase(ctx, filepath.Join(folder, "gateway.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	domain := consent.Domain{ChainID: chain.ChainID(), Registry: registry.Address}
	holder := common.BytesToAddress([]byte("a data holder"))
	g, err := gateway.New(gateway.Config{
		Domain: domain, Holder: holder, Upstream: behind, Public: public, MaxAge: maxAge, AuditEvery: time.Minute,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, db, ledger{mirror, client}, [32]byte{1})
	if err != nil {
		return err
	}
	defer g.Close()
	running := make(chan struct{})
	go func() { g.Run(following); close(running) }()
	defer func() { stop(); <-running }()

	w := &world{domain: domain, holder: holder, client: client, enrollments: &gateway.Enrollments{
		DB: db, Domain: domain, Holder: holder, State: mirror.State, MaxAge: maxAge, Now: time.Now,
	}}
	o := opened{URL: at, ChainID: domain.ChainID, Registry: domain.Registry, Holder: holder}
	if o.Clinics, err = w.populate(ctx); err != nil {
		return err
	}
	profiles, at, err := listen()
	if err != nil {
		return err
	}
	o.Profiles = at
	go func() { _ = serve(ctx, profiles, http.DefaultServeMux) }()
	if err := say(o); err != nil {
		return err
	}
	return serve(ctx, listener, g)
}

// world is who there is.
type world struct {
	domain      consent.Domain
	holder      common.Address
	client      *registry.Client
	enrollments *gateway.Enrollments
}

func (w *world) populate(ctx context.Context) ([]clinic, error) {
	keys := make([]*ecdsa.PrivateKey, patients)
	for p := range keys {
		var err error
		if keys[p], err = crypto.GenerateKey(); err != nil {
			return nil, err
		}
		if err := w.enroll(ctx, keys[p], patientOf(p)); err != nil {
			return nil, err
		}
	}
	all := make([]clinic, clinics)
	grants := make([]*consent.GrantDocument, clinics)
	leaves := make([]common.Hash, clinics)
	for c := range all {
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, err
		}
		p := c % patients
		all[c] = clinic{Key: crypto.FromECDSA(key), Patient: p}
		if grants[c], err = w.grant(keys[p], crypto.PubkeyToAddress(key.PublicKey)); err != nil {
			return nil, err
		}
		leaves[c] = consent.AnchorLeaf(grants[c].Grant.ID(w.domain))
	}
	tree := consent.NewTree(leaves)
	for c := range all {
		grants[c].AnchorProof = tree.Proof(c)
		var err error
		if all[c].Grant, err = grants[c].MarshalJSON(); err != nil {
			return nil, err
		}
	}
	_, err := w.client.Anchor(ctx, tree.Root())
	return all, err
}

func (w *world) enroll(ctx context.Context, key *ecdsa.PrivateKey, patient string) error {
	challenge, _, err := w.enrollments.Challenge(ctx)
	if err != nil {
		return err
	}
	proof := &consent.AccessDocument{Domain: w.domain, Access: consent.ProofOfAddress(w.holder, challenge, common.Hash{}, uint64(time.Now().Unix()))}
	if proof.Signature, err = consent.Sign(proof.Access.Digest(w.domain), key); err != nil {
		return err
	}
	// The copy of the registry may not have its first block yet.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := w.enrollments.Bind(ctx, crypto.PubkeyToAddress(key.PublicKey), patient, proof)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// grant is a grant of the scope, and of another beside it that is never opened.
func (w *world) grant(key *ecdsa.PrivateKey, to common.Address) (*consent.GrantDocument, error) {
	secret := common.Hash{}
	rand.Read(secret[:])
	provisions := []consent.Provision{{Scope: scope}, {Scope: consent.Scope{Resource: "Condition", Interactions: consent.Read, Purpose: "TREAT"}}}
	root, openings, err := consent.Disclose(rand.Reader, provisions)
	if err != nil {
		return nil, err
	}
	now := uint64(time.Now().Unix())
	d := &consent.GrantDocument{Domain: w.domain, Provisions: openings, Grant: consent.Grant{
		Grantor: crypto.PubkeyToAddress(key.PublicKey), Grantee: to, Provisions: root, NotBefore: now - 60, Expires: now + lifetime,
		Revocations: []common.Hash{consent.Revocation(secret), consent.Revocation(consent.Revocation(secret)), consent.Revocation(root)},
	}}
	if d.Signature, err = consent.Sign(d.Grant.ID(w.domain), key); err != nil {
		return nil, fmt.Errorf("sign a grant: %w", err)
	}
	return d, nil
}

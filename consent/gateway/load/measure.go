package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-jose/go-jose/v4"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/gateway"
)

const (
	straightPart   = 0.05 // of the rate is read straight from the stub
	straightAskers = 16   // and by so many
)

// measure starts the parts, and prints what it measures.
func measure(ctx context.Context, o options) error {
	var upstream string
	stub, err := start(ctx, &upstream, upstreamPart)
	if err != nil {
		return err
	}
	defer stub.stop()
	var at opened
	served, err := start(ctx, &at, gatewayPart, upstream, o.folder)
	if err != nil {
		return err
	}
	defer served.stop()
	askers := make([]*asker, o.connections)
	for i := range askers {
		if askers[i], err = newAsker(&at, upstream, i); err != nil {
			return err
		}
		defer askers[i].close()
	}
	fmt.Printf("%d connections, %d clinics, %d patients\n", o.connections, clinics, patients)

	if o.exchanges > 0 {
		exchanged, err := atOnce(ctx, askers, o.exchanges)
		if err != nil {
			return err
		}
		fmt.Printf("exchanges: %.0f/s, %v, resident %d MB\n", float64(len(exchanged))/o.exchanges.Seconds(), summary(exchanged), served.resident())
	}
	// Nothing is measured before all have a token and a connection.
	if _, _, err := openLoop(ctx, askers, o.rate, time.Second, (*asker).read, nil); err != nil {
		return err
	}
	profiled := make(chan error, 1)
	if o.profile != "" {
		go func() {
			profiled <- fetchProfile(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", at.Profiles, max(1, int(min(o.lasts, time.Minute)/time.Second)-1)), o.profile)
		}()
	} else {
		close(profiled)
	}
	fmt.Println("   time  reads/s  resident  from when each was sent")
	began, answered := time.Now(), 0
	pids := []int{served.Process.Pid, stub.Process.Pid, os.Getpid()}
	work := make([]time.Duration, len(pids))
	for i, pid := range pids {
		work[i] = worked(pid)
	}
	// What stub, askers and the processors that all share take by themselves shows
	// at the same time alone.
	var (
		straight []time.Duration
		failed   error
		beside   sync.WaitGroup
	)
	beside.Go(func() {
		straight, _, failed = openLoop(ctx, askers[:min(len(askers), straightAskers)], o.rate*straightPart, o.lasts, (*asker).readStraight, nil)
	})
	took, waited, err := openLoop(ctx, askers, o.rate, o.lasts, (*asker).read, func(took []time.Duration) time.Duration {
		answered += len(took)
		fmt.Printf("%7s  %7.0f  %5d MB  %v, %d in all\n", time.Since(began).Round(time.Second), float64(len(took))/o.every.Seconds(), served.resident(), summary(took), answered)
		return o.every
	})
	elapsed := time.Since(began)
	beside.Wait()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	for i, pid := range pids {
		work[i] = (worked(pid) - work[i]) / time.Duration(len(took))
	}
	if err := <-profiled; err != nil {
		return err
	}
	if o.heap != "" {
		if err := fetchProfile(ctx, at.Profiles+"/debug/pprof/heap?gc=1", o.heap); err != nil {
			return err
		}
	}
	fmt.Printf("reads: %.0f/s of %.0f/s, all right\n", float64(len(took))/elapsed.Seconds(), o.rate)
	fmt.Printf("  from when each was due: %v\n", summary(waited))
	fmt.Printf("  from when it was sent:  %v\n", summary(took))
	fmt.Printf("reads straight from the stub meanwhile: %v\n", summary(straight))
	fmt.Printf("added by the gateway: %v at the median\n", (median(took) - median(straight)).Round(time.Microsecond))
	fmt.Printf("processor for each: gateway %v, stub %v, this program %v\n", work[0], work[1], work[2])
	return nil
}

func fetchProfile(ctx context.Context, at, file string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	profile, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return fmt.Errorf("profile the gateway: %w", err)
	}
	return os.WriteFile(file, profile, 0o600)
}

// openLoop has each asker ask when its turn comes, whether others are answered or
// not: rate asks per second in all. It gives how long each answer took from when
// it was sent, and from when it was due, so that what waits behind a slow answer
// counts. The first wrong answer ends it. tell is told how long those took that were
// answered since it was told before, and says when it wants to be told again.
func openLoop(ctx context.Context, askers []*asker, rate float64, lasts time.Duration, ask func(*asker) error, tell func(took []time.Duration) time.Duration) (took, waited []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		group  sync.WaitGroup
		mutex  sync.Mutex
		recent []time.Duration
		each   = make([][2][]time.Duration, len(askers))
		begin  = time.Now()
	)
	for i, a := range askers {
		group.Go(func() {
			for k := i; ctx.Err() == nil; k += len(askers) {
				due := begin.Add(time.Duration(float64(k) / rate * float64(time.Second)))
				if due.Sub(begin) >= lasts {
					return
				}
				time.Sleep(time.Until(due))
				sent := time.Now()
				if err := ask(a); err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				each[i][0], each[i][1] = append(each[i][0], now.Sub(sent)), append(each[i][1], now.Sub(due))
				mutex.Lock()
				recent = append(recent, now.Sub(sent))
				mutex.Unlock()
			}
		})
	}
	told, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	if tell != nil {
		telling.Go(func() {
			for {
				mutex.Lock()
				took := recent
				recent = nil
				mutex.Unlock()
				select {
				case <-told.Done():
					return
				case <-time.After(tell(took)):
				}
			}
		})
	}
	group.Wait()
	stop()
	telling.Wait()
	for _, e := range each {
		took, waited = append(took, e[0]...), append(waited, e[1]...)
	}
	return took, waited, context.Cause(ctx)
}

// atOnce has all askers exchange accesses, one after the other.
func atOnce(ctx context.Context, askers []*asker, lasts time.Duration) (took []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	each := make([][]time.Duration, len(askers))
	end := time.Now().Add(lasts)
	for i, a := range askers {
		group.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				sent := time.Now()
				if err := a.exchange(); err != nil {
					cancel(err)
					return
				}
				each[i] = append(each[i], time.Since(sent))
			}
		})
	}
	group.Wait()
	return slices.Concat(each...), context.Cause(ctx)
}

func summary(took []time.Duration) string {
	slices.Sort(took)
	at := func(part float64) time.Duration {
		if len(took) == 0 {
			return 0
		}
		return took[int(part*float64(len(took)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v, max %v of %d", at(0.5), at(0.99), at(0.999), at(1), len(took))
}

func median(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// asker is a clinic with a key of its own, and a token while it has one.
type asker struct {
	at       *opened
	gateway  *connection
	upstream *connection
	patient  int
	record   [observations]string // of the patient
	grant    *consent.GrantDocument
	account  *ecdsa.PrivateKey
	key      *ecdsa.PrivateKey // of its proofs
	binding  common.Hash
	header   string // of its proofs, encoded
	next     [2]int // observation, through the gateway and straight
	token    string
	ath      string // of the token
	until    time.Time
}

func newAsker(at *opened, upstream string, i int) (*asker, error) {
	c := &at.Clinics[i%len(at.Clinics)]
	a := &asker{at: at, patient: c.Patient, next: [2]int{i, i}}
	for o := range a.record {
		a.record[o] = observation(c.Patient, o)
	}
	var err error
	if a.gateway, err = connect(at.URL); err != nil {
		return nil, err
	}
	if a.upstream, err = connect(upstream); err != nil {
		a.gateway.Close()
		return nil, err
	}
	if a.grant, err = consent.ReadGrant(bytes.NewReader(c.Grant)); err != nil {
		return nil, err
	}
	if a.account, err = crypto.ToECDSA(c.Key); err != nil {
		return nil, err
	}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	jwk, err := jose.JSONWebKey{Key: &a.key.PublicKey}.MarshalJSON()
	if err != nil {
		return nil, err
	}
	if a.binding, err = consent.Binding(jwk); err != nil {
		return nil, err
	}
	a.header = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"typ":"dpop+jwt","alg":"ES256","jwk":%s}`, jwk))
	return a, nil
}

func (a *asker) close() {
	a.gateway.Close()
	a.upstream.Close()
}

// proof is one of its key for a request (RFC 9449, section 4.2).
func (a *asker) proof(method, at, ath string) (string, error) {
	claims := fmt.Appendf(nil, `{"jti":%q,"htm":%q,"htu":%q,"iat":%d`, rand.Text(), method, at, time.Now().Unix())
	if ath != "" {
		claims = fmt.Appendf(claims, `,"ath":%q`, ath)
	}
	content := a.header + "." + base64.RawURLEncoding.EncodeToString(append(claims, '}'))
	digest := sha256.Sum256([]byte(content))
	r, s, err := ecdsa.Sign(rand.Reader, a.key, digest[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return content + "." + base64.RawURLEncoding.EncodeToString(signature[:]), nil
}

// exchange gets a token for a fresh access.
func (a *asker) exchange() error {
	domain := consent.Domain{ChainID: a.at.ChainID, Registry: a.at.Registry}
	scopes := []consent.Scope{scope}
	links, err := a.grant.Open(a.at.Holder, scopes)
	if err != nil {
		return err
	}
	d := &consent.AccessDocument{Domain: domain, Links: links, Access: consent.Access{
		Grant: a.grant.Grant.ID(domain), Holder: a.at.Holder, Scopes: scopes, Binding: a.binding, Time: uint64(time.Now().Unix()),
	}}
	rand.Read(d.Access.Nonce[:])
	if d.Signature, err = consent.Sign(d.Access.Digest(domain), a.account); err != nil {
		return err
	}
	document, err := d.MarshalJSON()
	if err != nil {
		return err
	}
	form := url.Values{
		"grant_type": {gateway.GrantType}, "subject_token_type": {gateway.SubjectTokenType},
		"subject_token": {base64.RawURLEncoding.EncodeToString(document)},
	}
	proof, err := a.proof(http.MethodPost, a.at.URL+"/token", "")
	if err != nil {
		return err
	}
	status, body, err := a.gateway.send("POST /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nDPoP: "+proof+"\r\n", form.Encode())
	if err != nil {
		return err
	}
	var said struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
		Scope   string `json:"scope"`
		Patient string `json:"patient"`
	}
	if err := json.Unmarshal(body, &said); err != nil || status != http.StatusOK || said.Type != "DPoP" || said.Expires < 60 ||
		said.Scope != scope.String() || said.Patient != patientOf(a.patient) {
		return fmt.Errorf("a wrong answer to an exchange: %d %s", status, body)
	}
	hash := sha256.Sum256([]byte(said.Token))
	a.token, a.ath = said.Token, base64.RawURLEncoding.EncodeToString(hash[:])
	a.until = time.Now().Add(time.Duration(said.Expires-30) * time.Second)
	return nil
}

// read reads the next observation through the gateway.
func (a *asker) read() error {
	if time.Now().After(a.until) {
		if err := a.exchange(); err != nil {
			return err
		}
	}
	o := turn(&a.next[0])
	path := "/Observation/" + observationOf(a.patient, o)
	proof, err := a.proof(http.MethodGet, a.at.URL+path, a.ath)
	if err != nil {
		return err
	}
	return a.expect(a.gateway, path, "Authorization: DPoP "+a.token+"\r\nDPoP: "+proof+"\r\n", o)
}

// readStraight reads it from the stub.
func (a *asker) readStraight() error {
	o := turn(&a.next[1])
	return a.expect(a.upstream, "/Observation/"+observationOf(a.patient, o), "", o)
}

func turn(next *int) int {
	*next++
	return *next % observations
}

// expect reads an observation, which has to come as the stub has it.
func (a *asker) expect(to *connection, path, header string, o int) error {
	status, body, err := to.send("GET "+path+" HTTP/1.1\r\n"+header, "")
	if err != nil {
		return err
	}
	if status != http.StatusOK || string(body) != a.record[o] {
		return fmt.Errorf("a wrong answer to a read of %s: %d %s", path, status, body)
	}
	return nil
}

// connection is one to a server. Nothing stands between it and the measurement,
// which takes as little of the processors as it can.
type connection struct {
	net.Conn
	host string
	in   *bufio.Reader
}

// patience is how long an answer may take.
const patience = 30 * time.Second

func connect(base string) (*connection, error) {
	host := strings.TrimPrefix(base, "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return &connection{c, host, bufio.NewReader(c)}, nil
}

// send sends a request, given its head but for Host and Content-Length, and reads
// the answer.
func (c *connection) send(head, body string) (status int, answer []byte, err error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	head += "Host: " + c.host + "\r\n"
	if body != "" {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"+body); err != nil {
		return 0, nil, err
	}
	got, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, nil, err
	}
	defer got.Body.Close()
	answer, err = io.ReadAll(got.Body)
	return got.StatusCode, answer, err
}

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/assent-wallet/assent/wallet"
)

// certificate makes a self-signed certificate for 127.0.0.1, and the pool that
// trusts it.
func certificate(t *testing.T) (cert, key string, trust *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, text := range map[string][]byte{cert: text, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust = x509.NewCertPool()
	trust.AppendCertsFromPEM(text)
	return cert, key, trust
}

// listensAt is a listener that only has an address.
type listensAt string

func (listensAt) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (listensAt) Close() error              { return nil }
func (l listensAt) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(string(l)))
}

func TestServesPlainOnThisComputerAlone(t *testing.T) {
	cert, key, trust := certificate(t)
	log := slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		o    serveOptions
		want string // of the error; empty: it serves
	}{
		{serveOptions{listen: "127.0.0.1:0"}, ""},
		{serveOptions{listen: "0.0.0.0:0"}, "needs TLS"},
		{serveOptions{listen: ":0"}, "needs TLS"},
		{serveOptions{listen: ":0", tlsCert: cert, tlsKey: key}, ""},
		{serveOptions{listen: ":0", tlsCert: cert}, "belong together"},
		{serveOptions{listen: ":0", tlsCert: cert, tlsKey: cert}, "TLS certificate"},
		{serveOptions{}, "--listen"},
		{serveOptions{listen: "nowhere"}, "choose another"},
	} {
		s, err := c.o.publicService(t.Context(), log)
		if err == nil {
			s.listener.Close()
		}
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
	}

	for at, serves := range map[string]bool{"127.0.0.1:0": true, ":0": false, "0.0.0.0:0": false} {
		o := serveOptions{metrics: at, tlsCert: cert, tlsKey: key}
		s, err := o.metricsService(t.Context(), http.NotFoundHandler(), log)
		if err == nil {
			s.listener.Close()
		}
		if serves != (err == nil) || err != nil && exitCode(err) != exitUsage {
			t.Errorf("metrics at %s: %v", at, err)
		}
	}

	for _, c := range []struct{ public, url, want string }{
		{"", "http://127.0.0.1:1", ""},
		{"https://fhir.hospital.example/r4", "https://fhir.hospital.example/r4", ""},
		{"http://127.0.0.1:2", "http://127.0.0.1:2", ""},
		{"http://fhir.hospital.example", "", "want https"},
		{"https://fhir.hospital.example/", "", "no slash"},
		{"https://a:b@fhir.hospital.example", "", "neither user"},
		{"fhir.hospital.example", "", "https://"},
	} {
		o := serveOptions{public: c.public}
		at, err := o.publicURL(&service{listener: listensAt("127.0.0.1:1")})
		if c.want == "" && (err != nil || at.String() != c.url) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || exitCode(err) != exitUsage) {
			t.Errorf("--public %q: %v, %v", c.public, at, err)
		}
	}
	if _, err := new(serveOptions).publicURL(&service{listener: listensAt("192.0.2.1:443")}); err == nil || exitCode(err) != exitUsage {
		t.Errorf("others reach it, and nobody says by what name: %v", err)
	}

	// TLS, and what has begun is ended before the service is.
	o := serveOptions{listen: "127.0.0.1:0", tlsCert: cert, tlsKey: key}
	s, err := o.publicService(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stop()
		<-ctx.Done()
		io.WriteString(w, "whole")
	})
	ended := make(chan error, 1)
	go func() { ended <- (&app{}).serveUntil(ctx, s, nil) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}}
	defer client.CloseIdleConnections()
	answer, err := client.Get(s.url())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "whole" || !strings.HasPrefix(s.url(), "https://127.0.0.1:") || answer.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%s, %v", text, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A service that ends by itself is an error, and ends the others.
func TestServiceThatEnds(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	var services []*service
	for range 2 {
		o := serveOptions{listen: "127.0.0.1:0"}
		s, err := o.publicService(t.Context(), log)
		if err != nil {
			t.Fatal(err)
		}
		services = append(services, s)
	}
	services[0].listener.Close()
	if err := (&app{}).serveUntil(t.Context(), services...); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestGatewayKey(t *testing.T) {
	var talk strings.Builder
	o := &gatewayOptions{app: &app{stderr: &talk, home: wallet.Home{Data: filepath.Join(t.TempDir(), "new")}}}
	made, err := o.readKey()
	if err != nil || made == [32]byte{} || !strings.Contains(talk.String(), "gateway.key") {
		t.Fatalf("%v, %s", err, talk.String())
	}
	if again, err := o.readKey(); err != nil || again != made {
		t.Errorf("it is another one: %v", err)
	}
	path := filepath.Join(o.home.Data, "gateway.key")
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, text := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := o.readKey(); err == nil || len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := o.readKey(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others read it: %v", err)
	}
}

func TestNoPasswordOnTheCommandLine(t *testing.T) {
	for _, location := range []string{
		"postgres://assent:SECRET@127.0.0.1/gateway", "postgresql://assent:SECRET@127.0.0.1/gateway", "postgres://assent@127.0.0.1/gateway?password=SECRET",
		"POSTGRES://assent:SECRET@127.0.0.1/gateway",
	} {
		_, opened := (&gatewayOptions{app: &app{}, database: location}).openDatabase(t.Context())
		served := runRelayServe(t.Context(), &relayServeOptions{app: &app{}, database: location, rate: 1, interval: time.Second})
		for service, err := range map[string]error{"gateway": opened, "relay": served} {
			if err == nil || !strings.Contains(err.Error(), "PGPASSFILE") || strings.Contains(err.Error(), "SECRET") || exitCode(err) != exitUsage {
				t.Errorf("%s, %s: %v", service, location, err)
			}
		}
	}
}

// Numbers by which a service would do nothing, or what nobody means, are refused
// before it begins.
func TestNumbersThatServeNobody(t *testing.T) {
	for _, args := range [][]string{
		{"relay", "serve", "--rate", "-1"}, {"relay", "serve", "--rate", "nan"}, {"relay", "serve", "--rate", "inf"}, {"relay", "serve", "--rate", "1e300"},
		{"relay", "serve", "--interval", "0s"}, {"relay", "serve", "--interval", "-1s"},
		{"gateway", "--max-age", "0"}, {"gateway", "--audit-every", "0s"}, {"gateway", "--audit-every", "-1m"},
	} {
		c := (&app{}).command()
		c.SetArgs(args)
		flag := args[len(args)-2]
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.HasPrefix(err.Error(), flag) || exitCode(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:8080": "http://127.0.0.1:8080", "https://fhir.hospital.example/r4/": "https://fhir.hospital.example/r4",
		"": "", "fhir.hospital.example": "", "ftp://x": "", "http://": "", "http://a:b@x": "", "http://x?y": "", "http://x#y": "",
	} {
		at, err := baseURL("--fhir", text)
		if (err == nil) != (want != "") || err == nil && at.String() != want || err != nil && exitCode(err) != exitUsage {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
}

// Clients behind a proxy on this computer are told apart by what it says of them;
// nobody else can say it.
func TestFromProxy(t *testing.T) {
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:1234", nil, "192.0.2.1:1234"},
		{"192.0.2.1:1234", []string{"198.51.100.7"}, "192.0.2.1:1234"}, // it may say what it likes
		{"127.0.0.1:1234", nil, "127.0.0.1:1234"},
		{"127.0.0.1:1234", []string{"198.51.100.7"}, "198.51.100.7:1234"},
		{"127.0.0.1:1234", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7:1234"},
		{"127.0.0.1:1234", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7:1234"},
		{"127.0.0.1:1234", []string{"unknown"}, "127.0.0.1:1234"},
		{"[::1]:1234", []string{"2001:db8::1:2:3:4"}, "[2001:db8::1:2:3:4]:1234"},
		{"[::ffff:127.0.0.1]:1234", []string{"198.51.100.7"}, "198.51.100.7:1234"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, said := range c.forwarded {
			r.Header.Add("X-Forwarded-For", said)
		}
		got := ""
		fromProxy(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })).ServeHTTP(nil, r)
		if got != c.want {
			t.Errorf("%s, %q: %s", c.remote, c.forwarded, got)
		}
	}
}

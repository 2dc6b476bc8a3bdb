package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
)

const (
	// drain is how long a service that is stopped goes on with the requests that it
	// has begun.
	drain = 20 * time.Second

	headerPatience = 5 * time.Second
	readPatience   = 30 * time.Second
	idlePatience   = 2 * time.Minute
	writePatience  = 30 * time.Second
	maxHeader      = 32 << 10 // bytes
)

// serveOptions say where a service listens.
type serveOptions struct {
	listen  string
	public  string
	tlsCert string
	tlsKey  string
	metrics string
}

func (o *serveOptions) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&o.listen, "listen", "", "the host:port to listen on")
	flags.StringVar(&o.public, "public", "", "the base URL at which others reach it (default where it listens)")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "file of the TLS certificate, with those above it (PEM)")
	flags.StringVar(&o.tlsKey, "tls-key", "", "file of its private key (PEM)")
	flags.StringVar(&o.metrics, "metrics", "", "serve metrics for Prometheus on this host:port of this computer")
}

// service is an HTTP service whose address is taken.
type service struct {
	listener net.Listener
	server   *http.Server
	secure   bool
}

// publicService takes the address of a service, whose handler is its caller's to set.
// Without TLS only this computer itself may reach it.
func (o *serveOptions) publicService(ctx context.Context, log *slog.Logger) (*service, error) {
	switch {
	case o.listen == "":
		return nil, usagef("nothing says where to listen: give --listen, such as 127.0.0.1:8443")
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return nil, usagef("--tls-cert and --tls-key belong together")
	}
	s := &service{secure: o.tlsCert != "", server: newServer(nil, log)}
	if s.secure {
		certificate, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("load the TLS certificate of %s and %s: %w", o.tlsCert, o.tlsKey, err)
		}
		s.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	}
	var err error
	if s.listener, err = listen(ctx, o.listen); err != nil {
		return nil, err
	}
	if !s.secure && !isLoopback(s.listener.Addr()) {
		s.listener.Close()
		return nil, usagef("%s can be reached from other computers, so it needs TLS: give --tls-cert and --tls-key, or listen on 127.0.0.1", o.listen)
	}
	return s, nil
}

// serviceLog is what a service writes its log to.
func (a *app) serviceLog() *slog.Logger {
	level := slog.LevelInfo
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// databaseAt says where a service's database is: at a location that was given, or
// in a file among the wallet's, whose name is for the network in use. A password has no place on a command line, where
// every user of the computer can see it.
func (a *app) databaseAt(location string, file func(network string) (string, error)) (string, error) {
	if location == "" {
		settings, err := a.home.Settings()
		if err != nil {
			return "", err
		}
		network, _, err := settings.FindNetwork(a.network)
		if err != nil {
			return "", err
		}
		name, err := file(network)
		return filepath.Join(a.home.Data, name), err
	}
	if at, err := url.Parse(location); err == nil && strings.HasPrefix(at.Scheme, "postgres") {
		if _, given := at.User.Password(); given || at.Query().Has("password") {
			return "", usagef("the URL of the database holds a password: leave it out, and put it into ~/.pgpass or the file that PGPASSFILE names")
		}
	}
	return location, nil
}

// serving is what a service says of itself once it serves.
type serving struct {
	URL      string `json:"url"`
	Metrics  string `json:"metrics"` // empty: none
	Account  string `json:"account"` // of the data holder, or who pays
	ChainID  uint64 `json:"chainId"`
	Registry string `json:"registry"`
}

func newServing(url string, metrics *service, account common.Address, domain consent.Domain) serving {
	s := serving{URL: url, Account: account.Hex(), ChainID: domain.ChainID, Registry: domain.Registry.Hex()}
	if metrics != nil {
		s.Metrics = metrics.url() + "/metrics"
	}
	return s
}

// fromProxy serves requests that come through a proxy on this computer as those of
// its clients: of the last address in X-Forwarded-For, which is the proxy's word.
func fromProxy(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remote, err := netip.ParseAddrPort(r.RemoteAddr)
		if said := r.Header.Values("X-Forwarded-For"); err == nil && remote.Addr().Unmap().IsLoopback() && len(said) > 0 {
			all := strings.Split(said[len(said)-1], ",")
			if from, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1])); err == nil {
				r.RemoteAddr = netip.AddrPortFrom(from, remote.Port()).String()
			}
		}
		handler.ServeHTTP(w, r)
	})
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerPatience, ReadTimeout: readPatience, IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader,
		HTTP2:    &http.HTTP2Config{WriteByteTimeout: writePatience}, // a client that reads nothing of its connection
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),  // of connections that broke
	}
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address", address, err)
	}
	return listener, nil
}

func isLoopback(address net.Addr) bool {
	at, err := netip.ParseAddrPort(address.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// publicURL is the base URL at which others reach a service, in the one form that
// wallets take: as --public says, else where it listens.
func (o *serveOptions) publicURL(s *service) (*url.URL, error) {
	if o.public == "" && !isLoopback(s.listener.Addr()) {
		return nil, usagef("others reach it by a name: give --public, such as https://fhir.hospital.example")
	} else if o.public == "" {
		return consent.ParseGatewayURL(s.url())
	}
	at, err := consent.ParseGatewayURL(o.public)
	if err != nil {
		return nil, usagef("--public: %w", err)
	}
	return at, nil
}

// url is the base URL at which this computer reaches the service.
func (s *service) url() string {
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// metricsService takes the address of the metrics, nil where there is none. They
// are for this computer itself.
func (o *serveOptions) metricsService(ctx context.Context, handler http.Handler, log *slog.Logger) (*service, error) {
	if o.metrics == "" {
		return nil, nil
	}
	listener, err := listen(ctx, o.metrics)
	if err != nil {
		return nil, err
	}
	if !isLoopback(listener.Addr()) {
		listener.Close()
		return nil, usagef("--metrics %s can be reached from other computers, and is served without TLS: listen on 127.0.0.1, and let a proxy there hand it on", o.metrics)
	}
	return &service{listener: listener, server: newServer(handler, log)}, nil
}

// serveUntil serves until ctx is done, and then goes on with what has begun. A
// service that ends by itself ends all.
func (a *app) serveUntil(ctx context.Context, services ...*service) error {
	if a.grace != nil {
		a.grace.Store(int64(drain + grace))
	}
	ended := make(chan error, len(services))
	running := 0
	for _, s := range services {
		if s == nil {
			continue
		}
		running++
		go func() {
			if s.secure {
				ended <- s.server.ServeTLS(s.listener, "", "")
			} else {
				ended <- s.server.Serve(s.listener)
			}
		}()
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-ended:
		running--
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for _, s := range services {
		if s == nil {
			continue
		}
		if err := s.server.Shutdown(stopping); err != nil {
			s.server.Close()
		}
	}
	for range running {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

package devchain

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"
)

const (
	batchItems     = 1000
	batchResponses = 25_000_000 // bytes
)

// A gate is held while a block is being made and is not yet on disk. Whatever the node writes to a connection waits
// for it, after the answer was computed: so nobody ever learns of a block that a crash could take back.
type gate struct{ sync.RWMutex }

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return gatedConn{conn, l.gate}, nil
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c gatedConn) Write(b []byte) (int, error) {
	c.gate.RLock()
	//lint:ignore SA2001 passing the gate is all: what is written was true once nobody held it
	c.gate.RUnlock() // not held over the write: a peer that does not read must not stop the sealing
	return c.Conn.Write(b)
}

// server answers JSON-RPC on the folder's socket and, if asked, over HTTP. It is a lifecycle of the node's stack.
type server struct {
	dir  string
	gate *gate
	apis []rpc.API
	http *net.TCPAddr // nil for none

	rpc *rpc.Server
	ipc net.Listener
	web *http.Server
	url string
}

func (s *server) Start() (err error) {
	s.rpc = rpc.NewServer()
	s.rpc.SetBatchLimits(batchItems, batchResponses)
	for _, api := range s.apis {
		if err := s.rpc.RegisterName(api.Namespace, api.Service); err != nil {
			return err
		}
	}
	if s.http != nil {
		l, err := net.ListenTCP("tcp", s.http)
		if err != nil {
			return fmt.Errorf("serve over HTTP: %w: name another address", err)
		}
		s.url = "http://" + l.Addr().String()
		s.web = &http.Server{
			// No origin is allowed, so that no web page can use the chain; and no host name but localhost, so that
			// none can come in by naming this computer.
			Handler:           gethnode.NewHTTPHandlerStack(s.rpc, nil, []string{"localhost"}, nil, false),
			ReadTimeout:       rpc.DefaultHTTPTimeouts.ReadTimeout,
			ReadHeaderTimeout: rpc.DefaultHTTPTimeouts.ReadHeaderTimeout,
			WriteTimeout:      rpc.DefaultHTTPTimeouts.WriteTimeout,
			IdleTimeout:       rpc.DefaultHTTPTimeouts.IdleTimeout,
			ErrorLog:          log.New(io.Discard, "", 0),
		}
		go s.web.Serve(gatedListener{l, s.gate})
	}
	if s.ipc, err = listen(s.dir); err != nil {
		s.Stop()
		return fmt.Errorf("open the socket: %w", err)
	}
	go s.rpc.ServeListener(gatedListener{s.ipc, s.gate})
	return nil
}

// Stop unlinks the socket while the folder is still locked, so that it cannot take away the one of a successor.
func (s *server) Stop() error {
	var errs []error
	if s.ipc != nil {
		errs = append(errs, s.ipc.Close())
	}
	if s.web != nil {
		errs = append(errs, s.web.Close())
	}
	s.rpc.Stop()
	return errors.Join(errs...)
}

// httpAddress resolves a host:port to listen on, once, so that the address that was judged is the one that is used.
func httpAddress(o Options) (*net.TCPAddr, error) {
	if o.HTTP == "" {
		return nil, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", o.HTTP)
	if err != nil {
		return nil, fmt.Errorf("serve over HTTP: %w: name an address such as 127.0.0.1:8545", err)
	}
	if !o.AllowRemote && !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("serve over HTTP: other computers could reach %s, and anyone who does can use the chain: name a loopback address such as 127.0.0.1:8545, or allow remote access explicitly", o.HTTP)
	}
	return addr, nil
}

// web3 is the JSON-RPC module of that name.
type web3 struct{ version string }

func (w web3) ClientVersion() string                { return w.version }
func (web3) Sha3(input hexutil.Bytes) hexutil.Bytes { return crypto.Keccak256(input) }

package registry

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/assent-wallet/assent/consent"
)

var (
	// ErrUnreachable matches every error that comes of no endpoint being usable; an UnreachableError tells each.
	ErrUnreachable = errors.New("the network cannot be reached")

	// ErrNotDeployed: the network has no code at the registry's address.
	ErrNotDeployed = errors.New("no contract is deployed at the registry's address: assent chain deploy puts it there")

	// ErrNoProxy: the network lacks the deterministic deployment proxy, so its registry has an address of its own.
	ErrNoProxy = errors.New("the network lacks the deployment proxy " + Proxy.Hex() + ": deploy without it and name the registry's address in the settings")

	// ErrNoPayer: the client was made without a Payer, and the node lends no account.
	ErrNoPayer = errors.New("nobody pays on this network: its node lends no account, and there is no wallet: make one with “assent init”, and put coins on its account")

	// ErrBadSignature: the account did not sign its retirement.
	ErrBadSignature = errors.New("the account did not sign its retirement")
)

// UnreachableError says of each endpoint why it could not be used. It matches
// ErrUnreachable, and whatever the endpoints' errors match.
type UnreachableError struct {
	Network   string
	Endpoints []EndpointError
}

// EndpointError is why one endpoint could not be used.
type EndpointError struct {
	Endpoint string // its name
	Err      error
}

func (e EndpointError) Error() string { return e.Endpoint + ": " + e.Err.Error() }

func (e EndpointError) Unwrap() error { return e.Err }

func (e *UnreachableError) Error() string {
	if len(e.Endpoints) == 0 {
		return fmt.Sprintf("network %s has no endpoint: name one in the settings", e.Network)
	}
	why := make([]string, len(e.Endpoints))
	for i, endpoint := range e.Endpoints {
		why[i] = endpoint.Error()
	}
	return fmt.Sprintf("no endpoint of network %s can be used: %s", e.Network, strings.Join(why, "; "))
}

// Unwrap gives ErrUnreachable and the endpoints' errors.
func (e *UnreachableError) Unwrap() []error {
	errs := []error{ErrUnreachable}
	for _, endpoint := range e.Endpoints {
		errs = append(errs, endpoint)
	}
	return errs
}

// WrongChainError: an endpoint is on another chain than its network.
type WrongChainError struct{ Want, Got uint64 }

func (e *WrongChainError) Error() string {
	return fmt.Sprintf("it is on chain %d, not %d: correct the endpoint or the chain id in the settings", e.Got, e.Want)
}

// WrongCodeError: what stands at the registry's address is another contract.
type WrongCodeError struct {
	Registry common.Address
	Size     int // bytes of the code there
}

func (e *WrongCodeError) Error() string {
	return fmt.Sprintf("the contract at %s (%d bytes) is not the registry of this program: correct the registry's address in the settings", e.Registry, e.Size)
}

// TransactionError: a transaction that cannot succeed, or did not.
type TransactionError struct {
	Transaction common.Hash // zero where it was never sent
	Reason      string
}

func (e *TransactionError) Error() string {
	if e.Transaction == (common.Hash{}) {
		return "the transaction cannot be sent: " + e.Reason
	}
	return fmt.Sprintf("transaction %s failed: %s", e.Transaction, e.Reason)
}

// NoCoinsError: the paying account has too few coins.
type NoCoinsError struct{ Account common.Address }

func (e *NoCoinsError) Error() string {
	return fmt.Sprintf("the account %s has too few coins to pay on this network: put coins on it, or use a network whose node lends an account", e.Account)
}

// UnconfirmedError: a transaction was sent, and the waiting for its
// confirmations ended before they were there. The same call takes the waiting
// up again.
type UnconfirmedError struct {
	Transaction common.Hash
	Err         error
}

func (e *UnconfirmedError) Error() string {
	return fmt.Sprintf("transaction %s is sent but not confirmed yet: %v: run the command again to go on waiting", e.Transaction, e.Err)
}

func (e *UnconfirmedError) Unwrap() error { return e.Err }

// IsChainError tells whether the chain, or the way to it, is what failed.
func IsChainError(err error) bool {
	var (
		transaction *TransactionError
		unconfirmed *UnconfirmedError
		noCoins     *NoCoinsError
	)
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNotDeployed) || errors.Is(err, ErrNoProxy) || errors.Is(err, ErrNoPayer) ||
		errors.As(err, &transaction) || errors.As(err, &unconfirmed) || errors.As(err, &noCoins)
}

// printable is an endpoint's error as a person may see it: without the URL,
// which may hold a key (the endpoint's name stands beside it), and with what
// the node says quoted.
func printable(err error) error {
	var (
		request *url.Error
		status  rpc.HTTPError
		word    rpc.Error
	)
	switch {
	case errors.As(err, &status):
		return quoted{"it answers with HTTP status " + consent.Quote(status.Status), err}
	case errors.As(err, &word):
		return quoted{"it answers " + consent.Quote(word.Error()), err}
	case errors.As(err, &request):
		return request.Err
	}
	return err
}

type quoted struct {
	text string
	err  error
}

func (q quoted) Error() string { return q.text }

func (q quoted) Unwrap() error { return q.err }

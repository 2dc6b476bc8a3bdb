package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/devchain"
	"github.com/assent-wallet/assent/consent/registry"
	"github.com/assent-wallet/assent/wallet"
)

// The exit codes of every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDenied      = 3
	exitKeyring     = 4
	exitChain       = 5
	exitInterrupted = 130
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// deniedError is a verdict other than Permit, and the block it was made on.
type deniedError struct {
	consent.Verdict
	state consent.State
}

func (e deniedError) Error() string {
	text := fmt.Sprintf("denied: %s", e.Outcome)
	if e.Clause != "" {
		text += ": " + e.Clause
	}
	if e.Outcome < consent.WrongDomain {
		text += fmt.Sprintf(" (link %d)", e.Link)
	}
	if e.state.Time != 0 {
		text += fmt.Sprintf("; decided on block %d", e.state.Block)
	}
	return text
}

// exitCode is the one place that tells what an error means to a script.
func exitCode(err error) int {
	var usage usageError
	var denied deniedError
	var secret *wallet.SecretError
	var holders *holdersError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &denied):
		if denied.Outcome == consent.ChainTooOld {
			return exitChain
		}
		return exitDenied
	case errors.As(err, &holders):
		return holders.exitCode()
	case errors.As(err, &secret):
		return exitKeyring
	case isAny(err, devchain.ErrInUse, devchain.ErrDamaged, devchain.ErrClosed, errNoAnswer, errNotLevel), registry.IsChainError(err):
		return exitChain
	}
	return exitFailed
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// report tells a person what went wrong.
func report(stderr io.Writer, err error) {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "assent: interrupted")
		return
	}
	// Several errors in one are several lines.
	fmt.Fprintf(stderr, "assent: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
}

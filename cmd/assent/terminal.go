package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// terminal is where questions are asked.
type terminal struct {
	in, out *os.File
	reader  *bufio.Reader
}

// openTerminal opens the terminal. instead is the flag that a script gives.
func openTerminal(question, instead string) (*terminal, error) {
	if os.Getenv("TERM") == "dumb" {
		return nil, usagef("this terminal is too simple to ask %s: give %s", question, instead)
	}
	none := usagef("there is no terminal to ask %s: give %s", question, instead)
	in, err := os.Open(terminalIn)
	if err != nil {
		return nil, none
	}
	out, err := os.OpenFile(terminalOut, os.O_WRONLY, 0)
	if err != nil {
		in.Close()
		return nil, none
	}
	return &terminal{in, out, bufio.NewReader(in)}, nil
}

func (t *terminal) close() {
	t.in.Close()
	t.out.Close()
}

// ask prints a question and reads one line.
func (t *terminal) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(t.out, question)
	return interruptible(ctx, func() (string, error) {
		line, err := t.reader.ReadString('\n')
		return strings.TrimSpace(line), err
	})
}

// secret prints a question and reads one line that is not shown.
func (t *terminal) secret(ctx context.Context, question string) ([]byte, error) {
	state, err := term.GetState(int(t.in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("ask for a secret: %w", err)
	}
	// ReadPassword leaves the terminal silent where it is interrupted.
	defer term.Restore(int(t.in.Fd()), state)
	fmt.Fprint(t.out, question)
	defer fmt.Fprintln(t.out)
	return interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(int(t.in.Fd())) })
}

// interruptible gives up waiting for a person when the context ends.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := read()
		answers <- answer{value, err}
	}()
	select {
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case a := <-answers:
		if errors.Is(a.err, io.EOF) {
			a.err = errors.New("the terminal was closed before an answer")
		}
		return a.value, a.err
	}
}

// confirm asks a question that one of the answers agrees to; anything else is no.
func (a *app) confirm(ctx context.Context, yes bool, question string, agreeing ...string) error {
	if yes {
		return nil
	}
	t, err := openTerminal("for a confirmation", "--yes")
	if err != nil {
		return err
	}
	defer t.close()
	answer, err := t.ask(ctx, question)
	if err != nil {
		return err
	}
	if !slices.Contains(agreeing, strings.ToLower(answer)) {
		return errors.New("nothing was done: the answer was no")
	}
	return nil
}

// yesNoQuestion asks a question whose answer is no unless it is yes.
func (a *app) yesNoQuestion(ctx context.Context, yes bool, question string) error {
	return a.confirm(ctx, yes, question+" [y/N] ", "y", "yes")
}

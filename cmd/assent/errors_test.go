package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// An error is one line, also where it is several.
func TestReport(t *testing.T) {
	var said bytes.Buffer
	report(&said, fmt.Errorf("the list: %w", errors.Join(errors.New("row 1"), errors.New("row 2"))))
	if got, want := said.String(), "assent: the list: row 1; row 2\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

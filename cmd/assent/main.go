// Command assent is a patient-controlled consent wallet: it signs grants of
// access to parts of a health record, anchors them on a chain, and checks what
// others ask for against them.
//
// This package wires the others together, one file for each command: options,
// what the command prints, and which exit code an error has. It decides nothing
// about consent and holds no key.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

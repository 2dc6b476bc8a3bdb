package main

import (
	"os/exec"
	"testing"
)

// BenchmarkStart is a whole process of a command that needs no chain.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("assent", "--help").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

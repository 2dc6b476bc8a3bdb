//go:build !windows

package main

const terminalIn, terminalOut = "/dev/tty", "/dev/tty"

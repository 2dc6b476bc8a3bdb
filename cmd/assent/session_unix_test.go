//go:build unix

package main

import "syscall"

// ownSession starts a command without the terminal of whoever runs the tests.
var ownSession = &syscall.SysProcAttr{Setsid: true}

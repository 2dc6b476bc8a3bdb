package main

import "syscall"

// ownSession starts a command without the console of whoever runs the tests.
var ownSession = &syscall.SysProcAttr{CreationFlags: 0x00000008} // DETACHED_PROCESS

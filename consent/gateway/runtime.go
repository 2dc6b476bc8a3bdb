package gateway

import (
	"os"
	"runtime"
	"runtime/debug"
)

// PrepareProcess sets the Go runtime of a process up that serves a gateway and
// little else, where its environment does not say otherwise (GOMAXPROCS, GOGC).
//
// The journal gives its processor up at each system call, and would wait behind
// all requests that are ready to run before it gets one again, while they wait
// for it: with more processors in Go's eyes than there are, it is the operating
// system that shares them out, and it lets whoever slept go first. Measured with
// consent/gateway/load, the slowest of a hundred reads take a fifth to a half of
// the time. And the heap is small beside the machine, so that collecting it less
// often costs little.
func PrepareProcess() {
	const processors, growth = 8, 400
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors * runtime.NumCPU())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
}

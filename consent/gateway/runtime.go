package gateway

import (
	"io/fs"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// PrepareProcess sets the Go runtime of a process up that serves a gateway and
// little else, where its environment does not say otherwise (GOMAXPROCS, GOGC,
// GOMEMLIMIT).
//
// The journal gives its processor up at each system call, and would wait behind
// all requests that are ready to run before it gets one again, while they wait
// for it: with more processors in Go's eyes than there are, it is the operating
// system that shares them out, and it lets whoever slept go first. Measured with
// consent/gateway/load on two cores, the slowest of a hundred reads take four
// fifths of the time with twice as many; eight times as many gain nothing over
// that. And the heap is small beside the machine, so that collecting it less
// often costs little, up to half of the memory that the process may have: the rest
// is for the database's pages, and for the FHIR server where that is beside it.
func PrepareProcess() {
	const processors, growth = 2, 400
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors * runtime.NumCPU())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	if memory := memoryOf(os.DirFS("/")); os.Getenv("GOMEMLIMIT") == "" && memory > 0 {
		debug.SetMemoryLimit(memory / 2)
	}
}

// memoryOf gives how many bytes of memory a process of Linux may have, by the root
// of its file system: those of the machine, or fewer where a control group says so;
// 0 where nothing tells.
func memoryOf(root fs.FS) (least int64) {
	least = -1
	limit := func(text string, unit int64) {
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && n > 0 && (least < 0 || n*unit < least) {
			least = n * unit
		}
	}
	read := func(name string) string {
		text, _ := fs.ReadFile(root, name) // where it is not there it says nothing
		return string(text)
	}
	for line := range strings.Lines(read("proc/meminfo")) {
		if text, found := strings.CutPrefix(line, "MemTotal:"); found {
			limit(strings.TrimSuffix(strings.TrimSpace(text), "kB"), 1<<10)
		}
	}
	for line := range strings.Lines(read("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		folder, file := "sys/fs/cgroup", "memory.max"
		switch parts[1] {
		case "":
		case "memory": // the first version of control groups
			folder, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for group := path.Join("/", parts[2]); ; group = path.Dir(group) { // each is within those above
			limit(read(path.Join(folder, group, file)), 1)
			if group == "/" {
				break
			}
		}
	}
	return max(least, 0)
}

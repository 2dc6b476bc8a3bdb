package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Parts of a measurement that are processes of their own.
const (
	gatewayPart  = "gateway"
	upstreamPart = "upstream"
)

// part is such a process.
type part struct{ *exec.Cmd }

// start runs this program again as a part, and reads what it says once it serves.
func start(ctx context.Context, says any, args ...string) (*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &part{exec.CommandContext(ctx, self, args...)}
	p.Stderr = os.Stderr
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) }
	p.WaitDelay = 20 * time.Second
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, says)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the part %s does not serve: %w", args[0], err)
	}
	return p, nil
}

func (p *part) stop() {
	_ = p.Process.Signal(os.Interrupt)
	_ = p.Wait()
}

// resident is how much memory the process has, in MB; 0 where the system does
// not tell.
func (p *part) resident() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if size, is := strings.CutPrefix(line, "VmRSS:"); is {
			kilobytes, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(size), " kB"))
			if err != nil {
				return 0
			}
			return kilobytes >> 10
		}
	}
	return 0
}

// worked is how long a process has used processors; 0 where the system does not
// tell.
func worked(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// After the name, which may hold anything: user and system time are the
	// twelfth and thirteenth, in hundredths of a second (proc(5)).
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// serve serves on this computer until ctx is done.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func listen() (net.Listener, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	return listener, "http://" + listener.Addr().String(), nil
}

// say tells whoever started this part that it serves.
func say(says any) error { return json.NewEncoder(os.Stdout).Encode(says) }

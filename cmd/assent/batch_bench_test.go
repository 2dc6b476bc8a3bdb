//go:build unix

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkBatch is a whole process that gives a batch, from the file to grants
// that are anchored, signed, stored and written out, in a new wallet on its own
// chain. ASSENT_BENCH_ROWS lists how many rows, such as 100000,1000000. One
// grantee gets a hundred grants, and in the other half of the runs one.
//
// It is too long to be repeated by itself: -benchtime 1x -count 3.
func BenchmarkBatch(b *testing.B) {
	for size := range strings.SplitSeq(cmp.Or(os.Getenv("ASSENT_BENCH_ROWS"), "10000"), ",") {
		rows, err := strconv.Atoi(size)
		if err != nil {
			b.Fatal(err)
		}
		for _, each := range []int{100, 1} {
			b.Run(fmt.Sprintf("rows=%d,each=%d", rows, each), func(b *testing.B) {
				for b.Loop() {
					benchBatch(b, rows, each)
				}
			})
		}
	}
}

func benchBatch(b *testing.B, rows, each int) {
	b.StopTimer()
	defer b.StartTimer()
	h := newHome(b)
	if _, err := h.do(b.Context(), "init", "patient"); err != nil {
		b.Fatal(err)
	}
	if _, err := h.do(b.Context(), "chain", "status"); err != nil { // makes the chain
		b.Fatal(err)
	}
	file, err := os.Create(h.path("rows.csv"))
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "reference,grantee,scopes,purpose,holder,for")
	for i := range rows {
		fmt.Fprintf(w, "row-%07d,0x%040x,patient/Observation.rs?category=laboratory,HRESCH,0x%040x,90d\n", i, 0xa00000+i/each, 0xb1)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
	began := time.Now()
	cmd := h.command(b.Context(), "batch", "rows.csv", "--yes", "--out", "grants.ndjson")
	said, err := cmd.CombinedOutput()
	b.StopTimer()
	took := time.Since(began)
	if err != nil {
		b.Fatalf("%v\n%s", err, said)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	peak := float64(usage.Maxrss) * 1024 // getrusage(2): KiB
	if runtime.GOOS == "darwin" {
		peak = float64(usage.Maxrss) // bytes
	}
	written, err := os.Open(h.path("grants.ndjson"))
	if err != nil {
		b.Fatal(err)
	}
	defer written.Close()
	lines := 0
	for scanner := bufio.NewScanner(written); scanner.Scan(); {
		lines++
	}
	if lines != rows {
		b.Fatalf("%d grants of %d rows", lines, rows)
	}
	b.ReportMetric(peak/1e6, "MB-peak")
	b.ReportMetric(float64(rows)/took.Seconds(), "rows/s")
	b.ReportMetric((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), "s-cpu")
	for line := range strings.Lines(string(said)) {
		if strings.Contains(line, " rows ") && strings.Contains(line, " in ") {
			b.Log(strings.TrimSpace(line))
		}
	}
}

package relay_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkSubmissions hands in roots over HTTP from 200 wallets at once, each
// of which waits for the answer 202, that is, until the root is on disk: as fast
// as it goes, and 5,000 a second, each counted from the moment at which it was
// due. It reports the durable submissions per second and the time within which
// 99 of 100 were answered, both sides of the connections included. The wallets
// are as thin as can be: they write the bytes of HTTP themselves.
func BenchmarkSubmissions(b *testing.B) {
	b.Run("flat out", func(b *testing.B) { submit(b, 0) })
	b.Run("5000 a second", func(b *testing.B) { submit(b, 5000) })
}

// submit hands in b.N roots, so many in each second; 0: as fast as it goes.
func submit(b *testing.B, perSecond int) {
	const wallets = 200
	o := options(b.TempDir() + "/relay.db")
	o.Interval = time.Second
	r := start(b, newLedger(), o)
	host := strings.TrimPrefix(r.url, "http://")
	took := make([][]time.Duration, wallets)
	var all sync.WaitGroup
	b.ResetTimer()
	began := time.Now()
	for i := range wallets {
		all.Go(func() {
			conn, err := net.Dial("tcp", host)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for n := range b.N / wallets {
				due := time.Now()
				if perSecond > 0 {
					due = began.Add(time.Duration(n*wallets+i) * time.Second / time.Duration(perSecond))
					time.Sleep(time.Until(due))
				}
				body := `{"root":"` + random().Hex() + `"}`
				fmt.Fprintf(conn, "POST /anchor HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", host, len(body), body)
				response, err := http.ReadResponse(answers, nil)
				if err != nil || response.StatusCode != http.StatusAccepted {
					b.Error(response, err)
					return
				}
				response.Body.Close()
				took[i] = append(took[i], time.Since(due))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(began)
	b.StopTimer()
	every := slices.Concat(took...)
	if len(every) == 0 {
		return
	}
	slices.Sort(every)
	b.ReportMetric(float64(len(every))/elapsed.Seconds(), "submissions/s")
	b.ReportMetric(float64(every[len(every)*99/100])/1e6, "p99-ms")
	b.ReportMetric(float64(every[len(every)/2])/1e6, "p50-ms")
}

// Command load measures a gateway: it runs one, with an SQLite database and the
// embedded chain, in front of a stub of a FHIR server, each in a process of its
// own, and asks it for what grants permit, at a given rate and over many
// connections. It prints how much was answered and how fast, what the gateway
// itself adds to what the stub takes at the same time, and how much memory it
// takes.
//
// It counts nothing that it has not compared with what was to come, byte for
// byte, and its stub of a FHIR server proves nothing about real ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// options say what is measured.
type options struct {
	rate        float64       // reads per second
	connections int           // to the gateway
	lasts       time.Duration // of the reads
	exchanges   time.Duration // of the exchanges
	every       time.Duration // between two lines
	profile     string        // file for the gateway's CPU profile under the reads
	heap        string        // and for its heap after them
	folder      string        // for the database and the chain
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.Float64Var(&o.rate, "rate", 3_000, "reads per second")
	flag.IntVar(&o.connections, "connections", 256, "connections to the gateway")
	flag.DurationVar(&o.lasts, "for", 30*time.Second, "how long to read")
	flag.DurationVar(&o.exchanges, "exchange", 5*time.Second, "how long to exchange accesses for tokens, as fast as it goes")
	flag.DurationVar(&o.every, "every", 10*time.Second, "how often to print a line meanwhile")
	flag.StringVar(&o.profile, "cpuprofile", "", "write the gateway's CPU profile under the reads to this `file`")
	flag.StringVar(&o.heap, "memprofile", "", "write the gateway's heap after the reads to this `file`")
	flag.StringVar(&o.folder, "folder", "", "where to put database and chain (default a temporary folder)")
	flag.Parse()
	switch flag.Arg(0) {
	case "":
	case gatewayPart:
		return serveGateway(ctx, flag.Arg(1), flag.Arg(2))
	case upstreamPart:
		return serveUpstream(ctx)
	default:
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	if o.rate <= 0 || o.connections <= 0 || o.lasts <= 0 || o.every <= 0 {
		return errors.New("-rate, -connections, -for and -every are above 0")
	}
	if o.folder == "" {
		folder, err := os.MkdirTemp("", "assent-load-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		o.folder = folder
	}
	return measure(ctx, o)
}

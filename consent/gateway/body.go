package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// How much may be sent to the FHIR server. What is taken apart takes several times
// as many bytes as came.
const (
	maxBody       = 4 << 20         // bytes of a body
	largeBody     = 32 << 10        // bytes from which on it has to have a place
	largeAtOnce   = 16              // places
	largeByOne    = 8               // of one client, so that whoever is slow leaves some to others
	largePatience = 5 * time.Second // for a place
)

// largeBodies are places for requests with large bodies. Whoever has one keeps it
// until the request is answered.
type largeBodies struct {
	sync.Mutex
	taken    int
	by       map[string]int // client
	left     chan struct{}  // closed, and another made, when a place is given back
	patience time.Duration
}

// allLarge are those of this process, whose memory it is.
var allLarge = newLargeBodies(largePatience)

func newLargeBodies(patience time.Duration) *largeBodies {
	return &largeBodies{by: make(map[string]int), left: make(chan struct{}), patience: patience}
}

// isLarge tells whether the body is large, or may be.
func isLarge(r *http.Request) bool { return r.ContentLength > largeBody || r.ContentLength < 0 }

// enter takes a place for a request, and waits for one if need be.
func (l *largeBodies) enter(ctx context.Context, client string) bool {
	client = network(client)
	patience := time.NewTimer(l.patience)
	defer patience.Stop()
	for {
		l.Lock()
		if l.taken < largeAtOnce && l.by[client] < largeByOne {
			l.taken++
			l.by[client]++
			l.Unlock()
			return true
		}
		left := l.left
		l.Unlock()
		select {
		case <-left:
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// leave gives it back.
func (l *largeBodies) leave(client string) {
	client = network(client)
	l.Lock()
	defer l.Unlock()
	l.taken--
	if l.by[client]--; l.by[client] == 0 {
		delete(l.by, client)
	}
	close(l.left)
	l.left = make(chan struct{})
}

// wholeBody reads the body of a request.
func wholeBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return nil, errTooLong
	} else if err != nil {
		return nil, invalid(errors.New("the body cannot be read"))
	}
	return body, nil
}

package gateway

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/assent-wallet/assent/consent/fhir"
)

// Looking up what resources refer to.
const (
	lookupTogether = 3  // from so many of a type on, a search looks them up
	lookupChunk    = 50 // ids in one search
	lookupAtOnce   = 8  // requests

	// What is nobody's own (a practitioner, a place, a medicine) is referred to
	// over and over, and seldom changes: a label that it gets counts after so long.
	sharedFor   = 30 * time.Second
	sharedCount = 2048
	sharedSize  = 16 << 10 // bytes of one
)

// shared is a resource that is nobody's own, as the server gave it.
type shared struct {
	text []byte
	at   time.Time
}

// recall supplies what is known, or nobody's own and was looked up lately.
func (u *upstream) recall(e *fhir.Excerpt, names []string, known map[string][]byte) (rest []string) {
	for _, name := range names {
		if text, found := known[name]; found {
			e.Supply(name, text)
		} else if lately, found := u.shared.Get(name); found && time.Since(lately.at) < sharedFor {
			e.Supply(name, lately.text)
		} else {
			rest = append(rest, name)
		}
	}
	return rest
}

// remember keeps what is nobody's own.
func (u *upstream) remember(name string, text []byte) {
	if kind, _, _ := strings.Cut(name, "/"); text != nil && len(text) <= sharedSize && !fhir.IsPatientType(kind) {
		u.shared.Add(name, shared{bytes.Clone(text), time.Now()})
	}
}

// errExceeded says in the operator's log no more than that.
var errExceeded = errors.New("a resource of the FHIR server is withheld, because its verdict depends on more other resources than are looked up")

// settle looks up whatever the resources of an excerpt refer to, as far as their
// verdict can depend on it and it is not known. What cannot be had withholds what
// refers to it; the error is that of the context alone.
func (u *upstream) settle(ctx context.Context, e *fhir.Excerpt, known map[string][]byte) error {
	for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
		missing = u.recall(e, missing, known)
		for rest := missing; len(rest) > 0; {
			kind, _, _ := strings.Cut(rest[0], "/")
			of := slices.IndexFunc(rest, func(name string) bool { return !strings.HasPrefix(name, kind+"/") })
			if of < 0 {
				of = len(rest)
			}
			if of >= lookupTogether {
				for chunk := range slices.Chunk(rest[:of], lookupChunk) {
					if !e.Exceeded() {
						u.lookUpTogether(ctx, e, kind, chunk)
					}
				}
			}
			rest = rest[of:]
		}
		open := e.Missing() // with what those that were found refer to, which is the next round's
		u.lookUp(ctx, e, slices.DeleteFunc(missing, func(name string) bool { return !slices.Contains(open, name) }))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// lookUpTogether supplies what a search finds of the names. What it does not
// find stays missing, and is read by itself: only that says that it is not there.
func (u *upstream) lookUpTogether(ctx context.Context, e *fhir.Excerpt, kind string, names []string) {
	ids := make([]string, len(names))
	for i, name := range names {
		_, ids[i], _ = strings.Cut(name, "/")
	}
	found, err := u.search(ctx, kind+"?_id="+strings.Join(ids, ",")+"&_count="+strconv.Itoa(len(ids)))
	if err != nil {
		return
	}
	defer found.close()
	for range 2 * lookupChunk {
		entry, err := found.read()
		if err != nil || e.Exceeded() {
			return
		}
		if name, err := fhir.Name(entry.Resource); err == nil && slices.Contains(names, name) {
			u.remember(name, entry.Resource)
			e.Supply(name, entry.Resource)
		}
	}
}

// lookUp reads each of the names, and supplies it or fails it.
func (u *upstream) lookUp(ctx context.Context, e *fhir.Excerpt, names []string) {
	if len(names) == 1 {
		text, err := u.get(ctx, names[0])
		u.supply(e, names[0], text, err)
		return
	}
	var (
		reads sync.WaitGroup
		mutex sync.Mutex
		slots = make(chan struct{}, lookupAtOnce)
	)
	exceeded := func() bool {
		mutex.Lock()
		defer mutex.Unlock()
		return e.Exceeded()
	}
	for _, name := range names {
		slots <- struct{}{}
		if exceeded() {
			break
		}
		reads.Go(func() {
			defer func() { <-slots }()
			text, err := u.get(ctx, name)
			mutex.Lock()
			defer mutex.Unlock()
			u.supply(e, name, text, err)
		})
	}
	reads.Wait()
}

func (u *upstream) supply(e *fhir.Excerpt, name string, text []byte, err error) {
	if err != nil {
		e.Fail(name)
		return
	}
	u.remember(name, text)
	e.Supply(name, text)
}

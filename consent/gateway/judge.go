package gateway

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/assent-wallet/assent/consent/fhir"
)

// Looking up what resources refer to.
const (
	lookupTogether = 3  // from so many of a type on, a search looks them up
	lookupChunk    = 50 // ids in one search
	lookupAtOnce   = 8  // requests
)

// settle looks up whatever the resources of an excerpt refer to, as far as their
// verdict can depend on it. What cannot be had withholds what refers to it; the
// error is that of the context alone.
func (u *upstream) settle(ctx context.Context, e *fhir.Excerpt) error {
	for missing := e.Missing(); len(missing) > 0; missing = e.Missing() {
		for rest := missing; len(rest) > 0; {
			kind, _, _ := strings.Cut(rest[0], "/")
			of := slices.IndexFunc(rest, func(name string) bool { return !strings.HasPrefix(name, kind+"/") })
			if of < 0 {
				of = len(rest)
			}
			if of >= lookupTogether {
				for chunk := range slices.Chunk(rest[:of], lookupChunk) {
					u.lookUpTogether(ctx, e, kind, chunk)
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
		if err != nil {
			return
		}
		if name, err := fhir.Name(entry.Resource); err == nil && slices.Contains(names, name) {
			e.Supply(name, entry.Resource)
		}
	}
}

// lookUp reads each of the names, and supplies it or fails it.
func (u *upstream) lookUp(ctx context.Context, e *fhir.Excerpt, names []string) {
	if len(names) == 1 {
		supply(e, names[0])(u.get(ctx, names[0]))
		return
	}
	var (
		reads sync.WaitGroup
		mutex sync.Mutex
		slots = make(chan struct{}, lookupAtOnce)
	)
	for _, name := range names {
		slots <- struct{}{}
		reads.Go(func() {
			defer func() { <-slots }()
			text, err := u.get(ctx, name)
			mutex.Lock()
			defer mutex.Unlock()
			supply(e, name)(text, err)
		})
	}
	reads.Wait()
}

func supply(e *fhir.Excerpt, name string) func(text []byte, err error) {
	return func(text []byte, err error) {
		if err != nil {
			e.Fail(name)
			return
		}
		e.Supply(name, text)
	}
}

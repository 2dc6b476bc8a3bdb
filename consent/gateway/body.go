package gateway

import (
	"errors"
	"io"
	"net/http"
)

// How much may be sent to the FHIR server. What is taken apart takes several times
// as many bytes as came.
const (
	maxBody     = 4 << 20  // bytes of a body
	largeBody   = 32 << 10 // from so many bytes on, it has to have a place
	largeAtOnce = 16       // such places
	largeByOne  = 8        // of one client
)

// largeBodies are places for requests with large bodies, which they keep until they
// are answered. They are of this process, whose memory it is.
var largeBodies = newPlaces(largeAtOnce, largeByOne)

// isLarge tells whether the body is large, or may be.
func isLarge(r *http.Request) bool { return r.ContentLength > largeBody || r.ContentLength < 0 }

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

package gateway

import (
	"context"
	"errors"
)

// notice is what the log has to know of one request, or of one window of its
// answer.
type notice struct {
	Interaction string         // code of FHIR's restful interactions: read, vread, search-type, create, update, delete, batch, operation
	Target      string         // "Observation/123", or the query as it was asked
	Outcome     string         // "permit", or a stable code of why not
	Released    map[string]int // number of resources by type
	Resources   []string       // "Observation/123" …, of reads and writes
	Request     string         // id of the HTTP request
}

// note puts what was decided into the patient's log, durably once it returns
// nil. Nothing of an answer may leave before that.
func (g *Gateway) note(ctx context.Context, s *session, n notice) error {
	return errors.New("the log is closed")
}

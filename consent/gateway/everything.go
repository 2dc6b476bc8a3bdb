package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// everything answers Patient/id/$everything with all that a search opens to the
// session, type by type, however long it is: only a window of it is in memory.
func (f *front) everything(w http.ResponseWriter, r *http.Request, s *session, what *asked, id string) error {
	if id != s.patient {
		return errOtherPatient
	}
	types := s.rules.Types(consent.Search)
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid(errors.New("the query cannot be read"))
	}
	if len(parameters) > 0 {
		what.target += "?" + parameters.Encode()
	}
	for name, values := range parameters {
		switch {
		case name == "_format" && len(values) == 1 && fhir.IsJSON(values[0]):
		case name == "_type" && len(values) == 1:
			wanted := strings.Split(values[0], ",")
			types = slices.DeleteFunc(types, func(kind string) bool { return !slices.Contains(wanted, kind) })
		default:
			return invalid(errors.New("of parameters it takes _type and _format: resources are given whole, and all of them"))
		}
	}
	out := f.bundle(w, r, s, what)
	for _, kind := range types {
		query, err := fhir.NewQuery(kind, nil, s.patient, f.upstream.base)
		if err != nil {
			return out.fail(err)
		}
		if !f.upstream.has(r.Context(), kind, "") {
			continue
		}
		query.Restrict(func(parameter string) bool { return f.upstream.has(r.Context(), kind, parameter) })
		walk := walk{front: f, session: s, query: query, out: out}
		for i, search := range query.Searches(window) {
			if err := walk.all(r.Context(), cursor{Search: i, At: kind + "?" + search}, true); err != nil {
				return out.fail(err)
			}
		}
	}
	return out.end(nil, true)
}

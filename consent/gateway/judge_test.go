package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// referring is the element of a resource that refers to so many others of a type,
// whose ids begin with a text.
func referring(element, kind, prefix string, from, number int) string {
	var references []string
	for i := range number {
		references = append(references, fmt.Sprintf(`{"reference":"%s/%s%d"}`, kind, prefix, from+i))
	}
	return `"` + element + `":[` + strings.Join(references, ",") + `]`
}

// byID has the server evaluate _id, and know all practitioners.
func byID(c *careless) {
	c.answer = func(w http.ResponseWriter, r *http.Request) bool {
		kind, ids := strings.TrimPrefix(r.URL.Path, "/fhir/"), r.URL.Query().Get("_id")
		if ids == "" {
			return false
		}
		var entries []string
		for id := range strings.SplitSeq(ids, ",") {
			if text, found := c.resources[kind+"/"+id]; found {
				entries = append(entries, `{"resource":`+text+`}`)
			} else if kind == "Practitioner" {
				entries = append(entries, `{"resource":{"resourceType":"Practitioner","id":"`+id+`"}}`)
			}
		}
		_, _ = io.WriteString(w, searchsetText("", entries...))
		return true
	}
}

// complaints counts what the operator is told of what is beyond the limits.
func (d *desk) complaints() *int {
	count := new(int)
	d.complain = func(_ context.Context, _ string, err error) {
		if errors.Is(err, errExceeded) {
			*count++
		}
	}
	return count
}

// The verdict on a resource does not depend on how much its neighbours refer to:
// what a search finds is what is read.
func TestVerdictsDoNotDependOnNeighbours(t *testing.T) {
	t.Run("many that refer to a few", func(t *testing.T) {
		const reports, results = 100, 21
		c := newCareless(t)
		byID(c)
		for i := range reports {
			name := fmt.Sprintf("DiagnosticReport/d%d", i)
			c.order = append(c.order, name)
			c.resources[name] = fmt.Sprintf(`{"resourceType":"DiagnosticReport","id":"d%d","subject":{"reference":"Patient/anna"},%s}`, i, referring("result", "Observation", "o", i*results, results))
		}
		for i := range reports * results {
			c.resources[fmt.Sprintf("Observation/o%d", i)] = observed(fmt.Sprint("o", i), "anna", "")
		}
		c.resources["Observation/o30"] = labelled(c.resources["Observation/o30"], "HIV")
		d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/DiagnosticReport.rs"))
		complaints := d.complaints()
		read := d.readAll(c.order)
		differ(t, "searching", d.found("DiagnosticReport"), read)
		differ(t, "$everything", d.found("Patient/anna/$everything"), read)
		if len(read) != reports-1 || read["DiagnosticReport/d1"] || *complaints != 0 {
			t.Errorf("of %d reports %d are read, with %d complaints", reports, len(read), *complaints)
		}
	})
	t.Run("one that refers to many", func(t *testing.T) {
		c := newCareless(t)
		byID(c)
		for i, performers := range []int{1990, 3, 3, 3, 2001, 3, 1, 0} {
			name := fmt.Sprintf("Observation/o%d", i)
			c.order = append(c.order, name)
			c.resources[name] = observed(fmt.Sprint("o", i), "anna", referring("performer", "Practitioner", fmt.Sprint("p", i, "-"), 0, performers))
		}
		d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.rs"))
		complaints := d.complaints()
		read := d.readAll(c.order)
		if len(read) != 7 || read["Observation/o4"] || *complaints != 1 {
			t.Errorf("%v are read, with %d complaints", read, *complaints)
		}
		differ(t, "searching", d.found("Observation"), read)
		if *complaints != 2 {
			t.Errorf("the operator is told %d times", *complaints)
		}
	})
	// What was looked up together is not looked up again.
	t.Run("many that refer to many in the end", func(t *testing.T) {
		const lists, within = 90, 30
		c := newCareless(t)
		for i := range lists {
			name := fmt.Sprintf("Observation/o%d", i)
			c.order = append(c.order, name)
			c.resources[name] = observed(fmt.Sprint("o", i), "anna", referring("derivedFrom", "Observation", "group", i, 1))
			c.resources[fmt.Sprint("Observation/group", i)] = observed(fmt.Sprint("group", i), "anna", referring("performer", "Practitioner", "p", i*within, within))
		}
		reads := make(map[string]int)
		c.answer = func(_ http.ResponseWriter, r *http.Request) bool {
			if name := strings.TrimPrefix(r.URL.Path, "/fhir/"); strings.Contains(name, "/") {
				reads[name]++
			}
			return false
		}
		d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.s"))
		if found := d.found("Observation"); len(found) != lists || len(reads) != lists+lists*within {
			t.Errorf("it finds %d, and looks up %d", len(found), len(reads))
		}
		for name, times := range reads {
			if times > 1 {
				t.Errorf("%s is looked up %d times", name, times)
			}
		}
	})
}

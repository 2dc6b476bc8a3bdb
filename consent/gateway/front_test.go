package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// required tells whether a component that tests need must be there.
func required(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), name)
}

// fhirServer starts a real FHIR server without any resources, and gives its base
// URL.
func fhirServer(t testing.TB) string {
	t.Helper()
	skip := func(why string) {
		if required("fhir-server") {
			t.Fatal("a FHIR server is required: " + why)
		}
		t.Skip("without a FHIR server: " + why)
	}
	const folder = "testdata/fhirserver"
	node, err := exec.LookPath("node")
	if err != nil {
		skip("node is not there")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		skip("npm ci --prefix consent/gateway/" + folder + " --ignore-scripts installs it")
	}
	command := exec.Command(node, "server.mjs")
	command.Dir = folder
	command.Stderr = t.Output()
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.TrimSpace(line)
	}()
	select {
	case base := <-ready:
		if base == "" {
			t.Fatal("the FHIR server did not start")
		}
		return base
	case <-time.After(30 * time.Second):
		t.Fatal("the FHIR server is not ready after 30 s")
	}
	return ""
}

// syntheaRecord reads a record of the shared data as it is at a server: a
// resource is Type/id, not urn:uuid:id.
func syntheaRecord(t testing.TB, name, base string) (record []byte, patient string, names []string) {
	t.Helper()
	folder := os.Getenv("ASSENT_DATA")
	if folder == "" {
		folder = "../../../shared/data"
	}
	found, err := filepath.Glob(filepath.Join(folder, "synthea", name+"_*.json"))
	if err != nil || len(found) != 1 {
		if required("data") {
			t.Fatalf("the shared data is required: found %v, %v", found, err)
		}
		t.Skipf("the shared data is not there: found %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	}
	var bundle struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Entry        []entry `json:"entry"`
	}
	if err := json.Unmarshal(text, &bundle); err != nil {
		t.Fatal(err)
	}
	var renamed []string
	for _, e := range bundle.Entry {
		var r struct{ ResourceType, ID string }
		if err := json.Unmarshal(e.Resource, &r); err != nil {
			t.Fatal(err)
		}
		if e.FullURL != "urn:uuid:"+r.ID {
			t.Fatalf("%s has the id %s", e.FullURL, r.ID)
		}
		if r.ResourceType == "Patient" {
			patient = r.ID
		}
		names = append(names, r.ResourceType+"/"+r.ID)
		renamed = append(renamed, `"`+e.FullURL+`"`, `"`+r.ResourceType+"/"+r.ID+`"`)
	}
	bundle.Type = "collection"
	if err := json.Unmarshal([]byte(strings.NewReplacer(renamed...).Replace(string(text))), &bundle); err != nil {
		t.Fatal(err)
	}
	for i := range bundle.Entry {
		bundle.Entry[i].FullURL = base + "/" + names[i]
	}
	bundle.Type = "collection"
	record, err = json.Marshal(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return record, patient, names
}

// load puts the resources of a record into a FHIR server, under their ids.
func load(t testing.TB, base string, record []byte) {
	t.Helper()
	var bundle struct {
		Entry []struct{ Resource json.RawMessage }
	}
	if err := json.Unmarshal(record, &bundle); err != nil {
		t.Fatal(err)
	}
	var entries []string
	for _, e := range bundle.Entry {
		name, err := fhir.Name(e.Resource)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf(`{"resource":%s,"request":{"method":"PUT","url":%q}}`, e.Resource, name))
	}
	answer, err := http.Post(base, "application/fhir+json", strings.NewReader(`{"resourceType":"Bundle","type":"batch","entry":[`+strings.Join(entries, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || bytes.Contains(body, []byte(`"severity":"error"`)) {
		t.Fatalf("loading a record: %s, %v: %.500s", answer.Status, err, body)
	}
}

// desk is a front at a server of its own, for one session at a time.
type desk struct {
	testing.TB
	front
	server *httptest.Server

	mutex    sync.Mutex
	session  *session
	notices  []notice
	unlogged error // what the log fails with
}

func newDesk(t testing.TB, upstreamBase string) *desk {
	t.Helper()
	base, err := url.Parse(upstreamBase)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{TB: t}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mutex.Lock()
		s := d.session
		d.mutex.Unlock()
		d.serve(w, r, s)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	d.server = server
	d.front = front{upstream: newUpstream(base, ""), public: server.URL, key: [32]byte{1}, large: newPlaces(largeAtOnce, largeByOne), complain: func(context.Context, string, error) {},
		goOn: func(context.Context, *session, *asked) error { return nil },
		note: func(_ context.Context, _ *session, n notice) error {
			d.mutex.Lock()
			defer d.mutex.Unlock()
			d.notices = append(d.notices, n)
			return d.unlogged
		}}
	return d
}

// as begins another session with the scopes.
func (d *desk) as(id, patient string, scopes []consent.Scope) *desk {
	d.Helper()
	s := sessionFor(d, patient, scopes)
	s.id = id
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.session, d.notices = s, nil
	return d
}

// sessionFor gives a session of an access with the scopes.
func sessionFor(t testing.TB, patient string, scopes []consent.Scope) *session {
	t.Helper()
	s, err := newSession(patient, &consent.AccessDocument{Domain: testDomain, Access: consent.Access{Holder: testHolder, Scopes: scopes}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// last is the newest notice: of an answer that broke off as well, which nothing
// tells the client the end of.
func (d *desk) last() notice {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.notices[len(d.notices)-1]
}

// reply is an answer of a desk.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (d *desk) do(method, path, body string, header ...string) reply {
	d.Helper()
	r, err := http.NewRequest(method, d.server.URL, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	at, query, hasQuery := strings.Cut(path, "?")
	r.URL.Opaque = "//" + r.URL.Host + "/" + at // as it is, escapes and dots included
	r.URL.RawQuery, r.URL.ForceQuery = query, hasQuery && query == ""
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return reply{status: -1}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return reply{status: -1, header: answer.Header, body: text}
	}
	return reply{answer.StatusCode, answer.Header, text}
}

// searchsetOf is what of a Bundle tests look at.
type searchsetOf struct {
	ResourceType, Type string
	Total              *int
	Link               []struct{ Relation, URL string }
	Entry              []struct {
		FullURL  string
		Resource struct{ ResourceType, ID string }
		Search   struct{ Mode string }
		Response struct{ Status string }
	}
}

// matches counts the entries that FHIR counts in the total of a searchset.
func (s *searchsetOf) matches() (n int) {
	for _, e := range s.Entry {
		if e.Search.Mode == "match" {
			n++
		}
	}
	return n
}

// found gives what a search or an operation answers with, page by page, as
// Type/id.
func (d *desk) found(path string) map[string]bool {
	d.Helper()
	found := make(map[string]bool)
	for range 1000 {
		answer := d.do("GET", path, "")
		var bundle searchsetOf
		if err := json.Unmarshal(answer.body, &bundle); err != nil || answer.status != http.StatusOK || bundle.ResourceType != "Bundle" {
			d.Errorf("%s: %d, %v: %.300s", path, answer.status, err, answer.body)
			return found
		}
		for _, e := range bundle.Entry {
			name := e.Resource.ResourceType + "/" + e.Resource.ID
			if e.FullURL != d.public+"/"+name {
				d.Errorf("%s: the fullUrl of %s is %s", path, name, e.FullURL)
			}
			if found[name] && e.Search.Mode == "match" {
				d.Errorf("%s: %s came twice", path, name)
			}
			found[name] = true
		}
		path = ""
		for _, link := range bundle.Link {
			if link.Relation == "next" {
				path = strings.TrimPrefix(link.URL, d.public+"/")
				if len(bundle.Entry) == 0 {
					d.Error("a page without entries leads to another one")
				}
			}
		}
		if path == "" {
			if matches := bundle.matches(); bundle.Total != nil && *bundle.Total != matches {
				d.Errorf("the total is %d, of %d matches", *bundle.Total, matches)
			}
			return found
		}
	}
	d.Error("the pages have no end")
	return found
}

func scoped(t testing.TB, sensitivities consent.Sensitivities, from, until uint64, texts ...string) (scopes []consent.Scope) {
	t.Helper()
	for _, text := range texts {
		s, err := consent.ParseScope(text, "TREAT")
		if err != nil {
			t.Fatal(err)
		}
		s.Sensitivities, s.DataFrom, s.DataUntil = sensitivities, from, until
		scopes = append(scopes, s)
	}
	return scopes
}

// released gives what Release opens of a whole record.
func released(t testing.TB, record []byte, patient string, scopes []consent.Scope) map[string]bool {
	t.Helper()
	out, err := fhir.Release(record, patient, &consent.Access{Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	var bundle searchsetOf
	if err := json.Unmarshal(out.Bundle, &bundle); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, e := range bundle.Entry {
		found[e.Resource.ResourceType+"/"+e.Resource.ID] = true
	}
	return found
}

func differ(t testing.TB, how string, got, want map[string]bool) {
	t.Helper()
	var more, less []string
	for name := range got {
		if !want[name] {
			more = append(more, name)
		}
	}
	for name := range want {
		if !got[name] {
			less = append(less, name)
		}
	}
	slices.Sort(more)
	slices.Sort(less)
	if len(more)+len(less) > 0 {
		t.Errorf("%s opens %d resources, the release %d: more are %.300v, fewer are %.300v", how, len(got), len(want), more, less)
	}
}

// Through the gateway, a grant opens exactly what a release of the whole record
// does: by search, by reading every id there is, by $everything; and by
// including, nothing else. All records are at one server.
func TestSameAsRelease(t *testing.T) {
	const any, all, jan2014, jan2017 = "patient/*.rs", consent.AllSensitivities, 1388534400, 1483228800
	grants := map[string][]consent.Scope{
		"everything":                 scoped(t, all, 0, 0, any),
		"nothing sensitive":          scoped(t, 0, 0, 0, any),
		"reproductive":               scoped(t, consent.Reproductive, 0, 0, any),
		"mental health":              scoped(t, consent.MentalHealth, 0, 0, any),
		"laboratory":                 scoped(t, 0, 0, 0, "patient/Observation.rs?category=laboratory"),
		"height and weight":          scoped(t, 0, 0, 0, "patient/Observation.rs?code=http://loinc.org|8302-2,http://loinc.org|29463-7"),
		"observations of two years":  scoped(t, 0, 0, 0, "patient/Observation.rs?date=ge2015&date=lt2017"),
		"active conditions":          scoped(t, 0, 0, 0, "patient/Condition.rs?clinical-status=active"),
		"resolved, whatever it is":   scoped(t, all, 0, 0, "patient/Condition.rs?clinical-status=resolved"),
		"stopped medicines":          scoped(t, all, 0, 0, "patient/MedicationRequest.rs?status=stopped"),
		"emergencies":                scoped(t, 0, 0, 0, "patient/Encounter.rs?class=http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER"),
		"vaccine":                    scoped(t, 0, 0, 0, "patient/Immunization.rs?vaccine-code=140"),
		"bills, with what is within": scoped(t, all, 0, 0, "patient/ExplanationOfBenefit.rs"),
		"the patient":                scoped(t, 0, 0, 0, "patient/Patient.rs"),
		"nobody's own":               scoped(t, all, 0, 0, "patient/Practitioner.rs", "patient/Organization.rs"),
		"claims":                     scoped(t, 0, 0, 0, "patient/Claim.rs"),
		"clinical types, 2014 to 2016": scoped(t, 0, jan2014, jan2017, "patient/Observation.rs", "patient/DiagnosticReport.rs", "patient/Condition.rs",
			"patient/Procedure.rs", "patient/Immunization.rs", "patient/MedicationRequest.rs", "patient/AllergyIntolerance.rs", "patient/Encounter.rs",
			"patient/CarePlan.rs", "patient/ImagingStudy.rs", "patient/Patient.rs", "patient/Goal.rs"),
		"two ways into observations": append(scoped(t, 0, 0, jan2014, "patient/Observation.rs"), scoped(t, all, 0, 0, "patient/Observation.rs?category=vital-signs")...),
	}
	type record struct {
		text    []byte
		patient string
		names   []string
	}
	base := fhirServer(t)
	records := make(map[string]record)
	people := []string{"Luigi", "Samira", "Eboni", "Louis", "Marcos"}
	if testing.Short() {
		people = people[:2]
	}
	for _, name := range people {
		text, patient, names := syntheaRecord(t, name, base)
		load(t, base, text)
		records[name] = record{text, patient, names}
	}
	d := newDesk(t, base)
	included := 0
	for person, of := range records {
		for grant, scopes := range grants {
			t.Run(person+"/"+grant, func(t *testing.T) {
				d.TB = t
				d.as("session", of.patient, scopes)
				want := released(t, of.text, of.patient, scopes)

				differ(t, "searching", d.searchAll(d.session.rules.Types(consent.Search)), want)

				names := of.names
				for _, other := range records { // and some of everybody else's, their Patient first
					names = append(slices.Clip(names), other.names[:8]...)
				}
				slices.Sort(names)
				differ(t, "reading", d.readAll(slices.Compact(names)), want)

				if len(d.session.rules.Types(consent.Search)) > 0 {
					d.notices = nil
					differ(t, "$everything", d.found("Patient/"+of.patient+"/$everything"), want)
					d.checkLogged(want)
				}
				for _, trick := range []string{
					"Observation?_include=Observation:encounter", "Encounter?_revinclude=Observation:encounter&_revinclude=Condition:encounter&_count=3",
					"Claim?_include=Claim:patient&_include=Claim:encounter", "Condition?_revinclude=Procedure:reason-reference&_include=Condition:encounter:Encounter",
					"Patient?_revinclude=Claim:patient&_revinclude=ExplanationOfBenefit:patient&_revinclude=Observation:subject", "Procedure?_include=Procedure:encounter&_count=20",
					"DiagnosticReport?_include=DiagnosticReport:result", "MedicationRequest?_include=MedicationRequest:requester&_revinclude=Claim:patient",
				} {
					if kind, _, _ := strings.Cut(trick, "?"); !d.session.rules.Allow(consent.Search, kind) {
						continue
					}
					for name := range d.found(trick) {
						if !want[name] {
							t.Errorf("%s brings %s", trick, name)
						}
						if kind, _, _ := strings.Cut(trick, "?"); !strings.HasPrefix(name, kind+"/") {
							included++
						}
					}
				}
			})
		}
	}
	if included == 0 {
		t.Error("nothing was ever included, so that it could not show anything")
	}
}

// searchAll searches all types at once, and gives what is found.
func (d *desk) searchAll(types []string) map[string]bool {
	var (
		mutex    sync.Mutex
		searches sync.WaitGroup
		all      = make(map[string]bool)
	)
	for _, kind := range types {
		searches.Go(func() {
			found := d.found(kind + "?_count=29")
			mutex.Lock()
			defer mutex.Unlock()
			maps.Copy(all, found)
		})
	}
	searches.Wait()
	return all
}

// readAll reads all names, and gives those that are opened.
func (d *desk) readAll(names []string) map[string]bool {
	d.Helper()
	var (
		mutex sync.Mutex
		reads sync.WaitGroup
		slots = make(chan struct{}, 64)
		read  = make(map[string]bool)
	)
	for _, name := range names {
		slots <- struct{}{}
		reads.Go(func() {
			defer func() { <-slots }()
			answer := d.do("GET", name, "")
			mutex.Lock()
			defer mutex.Unlock()
			switch answer.status {
			case http.StatusOK:
				if got, err := fhir.Name(answer.body); err != nil || got != name {
					d.Errorf("%s: it is %s, %v", name, got, err)
				}
				read[name] = true
			case http.StatusNotFound, http.StatusForbidden:
			default:
				d.Errorf("%s: %d %.200s", name, answer.status, answer.body)
			}
		})
	}
	reads.Wait()
	return read
}

// checkLogged holds the log to what was released since it was cleared.
func (d *desk) checkLogged(want map[string]bool) {
	d.Helper()
	counts, logged := make(map[string]int), make(map[string]int)
	for name := range want {
		kind, _, _ := strings.Cut(name, "/")
		counts[kind]++
	}
	for _, n := range d.notices {
		number := 0
		for kind, of := range n.Released {
			logged[kind] += of
			number += of
		}
		if n.Outcome != fhir.Permitted || number > window {
			d.Errorf("the log has %+v", n)
		}
	}
	if !maps.Equal(counts, logged) {
		d.Errorf("the log says that %v were released, it was %v", logged, counts)
	}
}

var errLog = errors.New("the disk is full")

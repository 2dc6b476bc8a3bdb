package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
)

// careless is a FHIR server that gives anybody everything: it ignores search
// parameters, conditions and whoever asks.
type careless struct {
	*httptest.Server
	mutex     sync.Mutex
	resources map[string]string // by path, versions among them
	order     []string          // of a search
	answer    func(w http.ResponseWriter, r *http.Request) bool
	requests  []*http.Request
	writes    []string // method and path
	bodies    []string // of the writes
}

func newCareless(t testing.TB, resources ...string) *careless {
	c := &careless{resources: make(map[string]string)}
	for _, text := range resources {
		name, err := fhir.Name([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c.resources[name] = text
		c.order = append(c.order, name)
	}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.requests = append(c.requests, r)
	if c.answer != nil && c.answer(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/fhir/")
	w.Header().Set("Content-Type", fhirJSON)
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		c.writes = append(c.writes, r.Method+" "+path)
		c.bodies = append(c.bodies, string(body))
		if r.Method == http.MethodDelete {
			return
		}
		if r.Method == http.MethodPost {
			body = bytes.Replace(body, []byte("{"), []byte(`{"id":"made","meta":{"versionId":"1"},`), 1)
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = w.Write(body)
		return
	}
	if strings.Contains(path, "/") {
		if text, found := c.resources[path]; found {
			_, _ = io.WriteString(w, text)
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	var entries []string
	for _, name := range c.order {
		entries = append(entries, `{"resource":`+c.resources[name]+`}`)
	}
	_, _ = io.WriteString(w, searchsetText("", entries...))
}

// searchsetText is a Bundle with a link to a next page, and with a total that
// tells of everything.
func searchsetText(next string, entries ...string) string {
	text := fmt.Sprintf(`{"resourceType":"Bundle","type":"searchset","total":%d`, 1000+len(entries))
	if next != "" {
		text += `,"link":[{"relation":"next","url":` + quoted(next) + `}]`
	}
	if len(entries) > 0 {
		text += `,"entry":[` + strings.Join(entries, ",") + `]`
	}
	return text + `}`
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// observed is an Observation of a patient; more are further members.
func observed(id, patient, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"resourceType":"Observation","id":"` + id + `","meta":{"versionId":"7","lastUpdated":"2024-05-01T10:00:00Z"` + `},"status":"final","subject":{"reference":"Patient/` + patient + `"}` + more + `}`
}

// labelled puts a label and a secret into a resource.
func labelled(resource, code string) string {
	return strings.Replace(resource, `"meta":{`, `"note":[{"text":"SECRET"}],"meta":{"security":[{"code":"`+code+`"}],`, 1)
}

// What the attacked server has: of anna one result that the session may see, one
// encounter, and what it may not see; and bert.
func attackedServer(t testing.TB) *careless {
	const secret = `"note":[{"text":"SECRET"}]`
	c := newCareless(t,
		`{"resourceType":"Patient","id":"anna","meta":{"versionId":"1"},"name":[{"family":"SECRET"}]}`,
		`{"resourceType":"Patient","id":"bert","name":[{"family":"SECRET"}]}`,
		observed("sodium", "anna", `"code":{"coding":[{"code":"na"}]},"performer":[{"reference":"Practitioner/doc"}],"encounter":{"reference":"Encounter/visit"}`),
		labelled(observed("mood", "anna", `"encounter":{"reference":"Encounter/clinic"}`), "PSY"),
		observed("viral", "anna", secret+`,"focus":[{"reference":"Condition/hidden"}]`),
		observed("far", "anna", secret+`,"derivedFrom":[{"reference":"Observation/viral"}]`),
		labelled(`{"resourceType":"Condition","id":"hidden","meta":{"versionId":"1"},"subject":{"reference":"Patient/anna"}}`, "HIV"),
		`{"resourceType":"Encounter","id":"visit","status":"finished","subject":{"reference":"Patient/anna"}}`,
		`{"resourceType":"Encounter","id":"clinic","status":"finished","subject":{"reference":"Patient/anna"},"text":{"div":"SECRET only where it is included"}}`,
		observed("berts", "bert", secret),
		observed("both", "anna", secret+`,"performer":[{"reference":"Patient/bert"}]`),
		`{"resourceType":"Practitioner","id":"doc","name":[{"family":"SECRET"}]}`,
	)
	c.resources["Observation/mood/_history/1"] = observed("mood", "anna", secret)
	c.resources["Observation/berts/_history/7"] = observed("berts", "bert", secret)
	c.resources["Observation/sodium/_history/3"] = labelled(strings.Replace(observed("sodium", "anna", ""), `"7"`, `"3"`, 1), "HIV")
	return c
}

const attackScope = "patient/Observation.cruds"

// attack is one try. Nothing of what it gets or causes may have to do with what
// is withheld.
type attack struct {
	name   string
	method string // GET where empty
	path   string
	body   string
	header []string
	status int
	// as is a request for something that does not exist, which has to be answered
	// in the very same words.
	as string
	// entries are what a Bundle may have; nil: no Bundle.
	entries []string
	lie     func(c *careless) // what the server does
	scope   string            // of the session; attackScope where empty
	writes  []string          // that reach the server
}

const (
	goodBody  = `{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/anna"}}`
	otherBody = `{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/bert"}}`
)

func body(more string) string { return strings.TrimSuffix(goodBody, "}") + "," + more + "}" }

func changed(id, more string) string {
	return strings.Replace(body(more), `{`, `{"id":"`+id+`",`, 1)
}

func batchOf(entries ...string) string {
	return `{"resourceType":"Bundle","type":"batch","entry":[` + strings.Join(entries, ",") + `]}`
}

func get(url string) string { return `{"request":{"method":"GET","url":` + quoted(url) + `}}` }

var ownObservations = []string{"Observation/sodium"}

func attacks() []attack {
	asJSON := []string{"Content-Type", fhirJSON}
	asForm := []string{"Content-Type", "application/x-www-form-urlencoded"}
	const missing = "Observation/missing"
	tooMany := slices.Repeat([]string{get("Observation/sodium")}, maxBatch+1)
	deep := strings.Repeat(`[`, 300) + strings.Repeat(`]`, 300)
	return []attack{
		// Reading what is somebody else's, or withheld.
		{name: "another patient's observation", path: "Observation/berts", status: 404, as: missing},
		{name: "another patient", path: "Patient/bert", scope: "patient/Patient.rs", status: 404, as: "Patient/missing"},
		{name: "a sensitive observation", path: "Observation/mood", status: 404, as: missing},
		{name: "what refers to something sensitive", path: "Observation/viral", status: 404, as: missing},
		{name: "what refers to it over another one", path: "Observation/far", status: 404, as: missing},
		{name: "about two patients", path: "Observation/both", status: 404, as: missing},
		{name: "a type without scope", path: "Condition/hidden", status: 403, as: "Condition/missing"},
		{name: "a type that is nobody's own", path: "Practitioner/doc", status: 403, as: "Practitioner/missing"},
		{name: "a version of another patient's", path: "Observation/berts/_history/7", status: 404, as: "Observation/missing/_history/7"},
		{name: "an old version, from before the label", path: "Observation/mood/_history/1", status: 404, as: "Observation/missing/_history/1"},
		{name: "an old version, with a label", path: "Observation/sodium/_history/3", status: 404, as: "Observation/sodium/_history/4"},
		{name: "read with a search scope alone", path: "Observation/sodium", scope: "patient/Observation.s", status: 403},
		{name: "search with a read scope alone", path: "Observation", scope: "patient/Observation.r", status: 403},

		// Conditions as an oracle.
		{name: "If-None-Match of the withheld version", path: "Observation/mood", header: []string{"If-None-Match", `W/"7"`}, status: 404, as: missing},
		{name: "If-None-Match of any", path: "Observation/mood", header: []string{"If-None-Match", `*`}, status: 404, as: missing},
		{name: "If-Modified-Since", path: "Observation/berts", header: []string{"If-Modified-Since", "Fri, 01 May 2026 10:00:00 GMT"}, status: 404, as: missing},
		{name: "HEAD", method: "HEAD", path: "Observation/berts", status: 404, as: missing},

		// Hiding the labels.
		{name: "_elements of a read", path: "Observation/mood?_elements=status", status: 400},
		{name: "_summary of a read", path: "Observation/mood?_summary=true", status: 400},
		{name: "_elements of a search", path: "Observation?_elements=note", status: 400},
		{name: "_summary of a search", path: "Observation?_summary=data", status: 400},
		{name: "_summary=count", path: "Observation?_summary=count", status: 400},
		{name: "_total", path: "Observation?_total=accurate", status: 400},
		{name: "_count=0, which counts", path: "Observation?_count=0", status: 400},
		{name: "two _counts", path: "Observation?_count=5&_count=1000", status: 400},

		// Paths.
		{name: "two slashes", path: "Observation//berts", status: 400},
		{name: "two slashes in front", path: "/Observation/berts", status: 400},
		{name: "an escaped slash", path: "Observation%2fberts", status: 400},
		{name: "an escaped slash in the id", path: "Observation/sodium%2F..%2Fberts", status: 400},
		{name: "a way up", path: "Observation/../Condition/hidden", status: 400},
		{name: "an escaped way up", path: "Observation/%2e%2e/Condition/hidden", status: 400},
		{name: "a dot", path: "./Condition/hidden", status: 400},
		{name: "another case", path: "observation/berts", status: 404},
		{name: "another case of the id", path: "Observation/SODIUM", status: 404, as: missing, lie: func(c *careless) {
			c.resources["Observation/SODIUM"] = c.resources["Observation/sodium"]
		}},
		{name: "a slash at the end", path: "Observation/berts/", status: 400},
		{name: "a matrix parameter", path: "Observation/sodium;id=berts", status: 400},
		{name: "a backslash", path: `Observation\berts`, status: 400},
		{name: "a zero byte", path: "Observation/berts%00", status: 400},
		{name: "an escaped question mark", path: "Observation/sodium%3F_id=berts", status: 400},
		{name: "a longer path", path: "Observation/sodium/Condition/hidden", status: 400},
		{name: "the server's own operations", path: "$export", status: 404},
		{name: "an operation on a type", path: "Observation/$lastn", status: 400},
		{name: "an operation on the patient", path: "Patient/anna/$summary", status: 501},
		{name: "the history of a resource", path: "Observation/mood/_history", status: 501},
		{name: "the history of a type", path: "Observation/_history", status: 400},
		{name: "the history of everything", path: "_history", status: 404},

		// Methods and headers.
		{name: "a method that overrides", method: "GET", path: "Observation/sodium", header: []string{"X-HTTP-Method-Override", "DELETE"}, status: 400},
		{name: "a method that overrides, another name", method: "POST", path: "Observation", body: goodBody, header: append([]string{"X-Method-Override", "PUT"}, asJSON...), status: 400},
		{name: "a method in the query", path: "Observation/sodium?_method=DELETE", status: 400},
		{name: "OPTIONS", method: "OPTIONS", path: "Observation/sodium", status: 405},
		{name: "POST of a resource", method: "POST", path: "Observation/berts", body: goodBody, header: asJSON, status: 405},
		{name: "PUT of a page", method: "PUT", path: "?_page=AAAA", status: 405},
		{name: "PUT of a version", method: "PUT", path: "Observation/sodium/_history/1", body: changed("sodium", `"code":{}`), header: asJSON, status: 501},
		{name: "another method", method: "SEARCH", path: "Observation", status: 405},
		{name: "XML", path: "Observation/sodium", header: []string{"Accept", "application/fhir+xml"}, status: 406},
		{name: "_format=xml", path: "Observation/sodium?_format=xml", status: 400},
		{name: "another release of FHIR", path: "Observation/sodium", header: []string{"Accept", "application/fhir+json; fhirVersion=5.0"}, status: 406},

		// Searching elsewhere, or for more than is evaluated.
		{name: "patient", path: "Observation?patient=bert", status: 403},
		{name: "subject", path: "Observation?subject=Patient/bert", status: 403},
		{name: "subject, typed", path: "Observation?subject:Patient=bert", status: 403},
		{name: "two patients", path: "Observation?patient=anna,bert", status: 403},
		{name: "one patient after the other", path: "Observation?patient=anna&patient=bert", status: 403},
		{name: "the patient of another server", path: "Observation?subject=https://other.example/fhir/Patient/anna", status: 403},
		{name: "a performer", path: "Observation?performer=Patient/bert", status: 403},
		{name: "another compartment", path: "Patient/bert/Observation", status: 403},
		{name: "another compartment, by POST", method: "POST", path: "Patient/bert/Observation/_search", header: asForm, status: 403},
		{name: "the compartment of another type", path: "Encounter/visit/Observation", status: 400},
		{name: "everything of another", path: "Patient/bert/$everything", status: 403, as: "Patient/missing/$everything"},
		{name: "everything, with parameters", path: "Patient/anna/$everything?_elements=note", status: 400},
		{name: "everything, by POST", method: "POST", path: "Patient/anna/$everything", body: `{"resourceType":"Parameters"}`, header: asJSON, status: 501},
		{name: "everything, of nobody by name", path: "Patient/$everything", status: 200, entries: ownObservations},
		{name: "everything, of somebody by parameters", path: "Patient/$everything?patient=bert", status: 400},
		{name: "everything of a type", path: "Observation/$everything", status: 400},
		{name: "everything of nobody, in a batch", method: "POST", body: batchOf(get("Patient/$everything")), header: asJSON, status: 200, entries: []string{"501"}},
		{name: "everything, of a careless server", path: "Patient/anna/$everything", status: 200, entries: ownObservations},
		{name: "a chain", path: "Observation?subject.name=SECRET", status: 400},
		{name: "a chain with its type", path: "Observation?subject:Patient.name=SECRET", status: 400},
		{name: "a chain over the compartment", path: "Observation?patient.identifier=1", status: 400},
		{name: "_has", path: "Observation?_has:Condition:evidence-detail:code=hiv", status: 400},
		{name: "_filter", path: "Observation?_filter=status+eq+final", status: 400},
		{name: "_query", path: "Observation?_query=all", status: 400},
		{name: "_text", path: "Observation?_text=SECRET", status: 400},
		{name: "_content", path: "Observation?_content=SECRET", status: 400},
		{name: "_contained", path: "Observation?_contained=true", status: 400},
		{name: "a modifier", path: "Observation?code:not=na", status: 400},
		{name: "what is unknown", path: "Observation?everybody=true", status: 400},
		{name: "sorted by what is not evaluated", path: "Observation?_sort=subject.name", status: 400},
		{name: "all types at once", path: "?_type=Observation,Condition", status: 501},
		{name: "many parameters", path: "Observation?" + strings.Repeat("status=final&", maxParametersSent), status: 400},
		{name: "a careless server", path: "Observation", status: 200, entries: ownObservations},
		{name: "a careless server, by POST", method: "POST", path: "Observation/_search", body: "code=na", header: asForm, status: 200, entries: ownObservations},
		{name: "the criteria are ignored", path: "Observation?code=k", status: 200, entries: []string{}},
		{name: "by the id of what is withheld", path: "Observation?_id=mood,berts", status: 200, entries: []string{}},
		{name: "another patient in the form", method: "POST", path: "Observation/_search?patient=anna", body: "patient=bert", header: asForm, status: 403},
		{name: "a form of JSON", method: "POST", path: "Observation/_search", body: `{"patient":"bert"}`, header: asJSON, status: 415},
		{name: "a long form", method: "POST", path: "Observation/_search", body: strings.Repeat("status=final&", 6000), header: asForm, status: 413},

		// Including.
		{name: "_include of the patient", path: "Observation?_include=Observation:subject", status: 200, entries: ownObservations},
		{name: "_include of everything", path: "Observation?_include=*", status: 400},
		{name: "_include that goes on", path: "Observation?_include:iterate=Observation:subject", status: 400},
		{name: "_include from another type", path: "Observation?_include=Condition:subject", status: 400},
		{name: "_revinclude", path: "Observation?_revinclude=Condition:evidence-detail", status: 200, entries: ownObservations},
		{name: "_revinclude that goes on", path: "Observation?_revinclude:recurse=Provenance:target", status: 400},
		{name: "included by something withheld", path: "Observation?_include=Observation:encounter", scope: "patient/Observation.rs patient/Encounter.rs", status: 200,
			entries: []string{"Observation/sodium", "Encounter/visit"}},
		{name: "included without being asked for", path: "Observation", scope: "patient/Observation.rs patient/Encounter.rs", status: 200, entries: ownObservations, lie: asInclude},
		{name: "others under the name of included ones", path: "Observation?_include=Observation:encounter", status: 200, entries: ownObservations},

		// Cursors.
		{name: "a made-up cursor", path: "?_page=AAAA", status: 400},
		{name: "an empty cursor", path: "?_page=", status: 400},
		{name: "a cursor with more", path: "?_page=AAAA&patient=bert", status: 400},
		{name: "a long made-up cursor", path: "?_page=" + strings.Repeat("A", 200), status: 400},

		// Creating.
		{name: "create for another", method: "POST", path: "Observation", body: otherBody, header: asJSON, status: 403},
		{name: "create for nobody", method: "POST", path: "Observation", body: `{"resourceType":"Observation","status":"final"}`, header: asJSON, status: 403},
		{name: "create by another", method: "POST", path: "Observation", body: body(`"performer":[{"reference":"Patient/bert"}]`), header: asJSON, status: 403},
		{name: "create for another, somewhere in it", method: "POST", path: "Observation", body: body(`"extension":[{"url":"u","valueReference":{"reference":"Patient/bert"}}]`), header: asJSON, status: 403},
		{name: "create with a contained patient", method: "POST", path: "Observation", body: body(`"contained":[{"resourceType":"Patient","id":"p"}]`), header: asJSON, status: 403},
		{name: "create that asks what is there", method: "POST", path: "Observation", body: body(`"focus":[{"reference":"Condition/hidden"}]`), header: asJSON, status: 403},
		{name: "create that asks what is not there", method: "POST", path: "Observation", body: body(`"focus":[{"reference":"Condition/missing"}]`), header: asJSON, status: 403},
		{name: "create that asks whether an encounter is there", method: "POST", path: "Observation", body: body(`"encounter":{"reference":"Encounter/visit"}`), header: asJSON, status: 403},
		{name: "create that asks whether an encounter is not there", method: "POST", path: "Observation", body: body(`"encounter":{"reference":"Encounter/missing"}`), header: asJSON, status: 403},
		{name: "create within an encounter that is open", method: "POST", path: "Observation", body: body(`"encounter":{"reference":"Encounter/visit"}`), scope: "patient/Observation.cs patient/Encounter.s", header: asJSON, status: 201, writes: []string{"POST Observation"}},
		{name: "create within no encounter", method: "POST", path: "Observation", body: body(`"encounter":{"reference":"Encounter/missing"}`), scope: "patient/*.cruds", header: asJSON, status: 403},
		{name: "create that searches", method: "POST", path: "Observation", body: body(`"focus":[{"reference":"Condition?code=hiv"}]`), header: asJSON, status: 403},
		{name: "create that searches for its encounter", method: "POST", path: "Observation", body: body(`"encounter":{"reference":"Encounter?class=secret"}`), header: asJSON, status: 403},
		{name: "create that searches for its patient", method: "POST", path: "Observation", body: strings.Replace(goodBody, "Patient/anna", "Patient?name=SECRET", 1), header: asJSON, status: 403},
		{name: "create that asks for another's in other words", method: "POST", path: "Observation", body: body(`"encounter":{"reference":"/Encounter/clinic"}`), header: asJSON, status: 403},
		{name: "create that asks for another's", method: "POST", path: "Observation", body: body(`"derivedFrom":[{"reference":"Observation/berts"}]`), header: asJSON, status: 403},
		{name: "create of a type without scope", method: "POST", path: "Condition", body: `{"resourceType":"Condition","subject":{"reference":"Patient/anna"}}`, header: asJSON, status: 403},
		{name: "create of another type than the URL", method: "POST", path: "Observation", body: `{"resourceType":"Condition","subject":{"reference":"Patient/anna"}}`, header: asJSON, status: 400},
		{name: "create of a patient", method: "POST", path: "Patient", body: `{"resourceType":"Patient"}`, scope: "patient/*.cruds", header: asJSON, status: 403},
		{name: "create of something sensitive", method: "POST", path: "Observation", body: body(`"meta":{"security":[{"code":"HIV"}]}`), header: asJSON, status: 403},
		{name: "create with a member twice", method: "POST", path: "Observation", body: body(`"subject":{"reference":"Patient/bert"}`), header: asJSON, status: 400},
		{name: "create with a member twice, deep", method: "POST", path: "Observation", body: body(`"focus":[{"reference":"Observation/sodium","reference":"Patient/bert"}]`), header: asJSON, status: 400},
		{name: "create with a member in another case", method: "POST", path: "Observation", body: body(`"Subject":{"reference":"Patient/bert"}`), header: asJSON, status: 400},
		{name: "create with a member twice, escaped", method: "POST", path: "Observation", body: body(`"subj\u0065ct":{"reference":"Patient/bert"}`), header: asJSON, status: 400},
		{name: "two resources in one body", method: "POST", path: "Observation", body: goodBody + otherBody, header: asJSON, status: 400},
		{name: "a body that is too long", method: "POST", path: "Observation", body: body(`"note":[{"text":"` + strings.Repeat("x", maxBody) + `"}]`), header: asJSON, status: 413},
		{name: "a body that is too deep", method: "POST", path: "Observation", body: body(`"x":` + deep), header: asJSON, status: 400},
		{name: "create that makes each search dear", method: "POST", path: "Observation", body: body(referring("performer", "Practitioner", "p", 0, maxReferences+1)), header: asJSON, status: 422},
		{name: "create that makes each search dearer", method: "POST", path: "Observation", body: body(referring("performer", "Practitioner", "p", 0, 10*maxReferences)), header: asJSON, status: 422},
		{name: "update that makes each search dear", method: "PUT", path: "Observation/sodium", body: changed("sodium", referring("performer", "Practitioner", "p", 0, maxReferences+1)), header: asJSON, status: 422},
		{name: "create that refers to as much as may be", method: "POST", path: "Observation", body: body(referring("performer", "Practitioner", "p", 0, maxReferences)), header: asJSON, status: 201, writes: []string{"POST Observation"}},
		{name: "a body of too many values", method: "POST", path: "Observation", body: body(`"x":[0` + strings.Repeat(",0", maxBody/2-100) + `]`), header: asJSON, status: 400},
		{name: "a body of XML", method: "POST", path: "Observation", body: `<Observation/>`, header: []string{"Content-Type", "application/fhir+xml"}, status: 415},
		{name: "a body of no kind", method: "POST", path: "Observation", body: goodBody, status: 415},
		{name: "conditional create", method: "POST", path: "Observation", body: goodBody, header: append([]string{"If-None-Exist", "code=hiv"}, asJSON...), status: 501},
		{name: "create with parameters", method: "POST", path: "Observation?_account=bert", body: goodBody, header: asJSON, status: 400},
		{name: "create under an id of one's own", method: "POST", path: "Observation", body: changed("berts", `"code":{}`), header: asJSON, status: 201, writes: []string{"POST Observation"}},
		{name: "create without reading", method: "POST", path: "Observation", body: body(`"note":[{"text":"SECRET"}]`), scope: "patient/Observation.c", header: asJSON, status: 201, writes: []string{"POST Observation"}},

		// Updating and deleting.
		{name: "update of what is withheld", method: "PUT", path: "Observation/mood", body: changed("mood", `"code":{}`), header: asJSON, status: 404},
		{name: "update of another's", method: "PUT", path: "Observation/berts", body: changed("berts", `"code":{}`), header: asJSON, status: 404},
		{name: "update of what does not exist", method: "PUT", path: "Observation/missing", body: changed("missing", `"code":{}`), header: asJSON, status: 404},
		{name: "update to another patient", method: "PUT", path: "Observation/sodium", body: strings.Replace(otherBody, `{`, `{"id":"sodium",`, 1), header: asJSON, status: 403},
		{name: "update that links patients", method: "PUT", path: "Patient/anna", body: `{"resourceType":"Patient","id":"anna","link":[{"other":{"reference":"Patient/bert"},"type":"seealso"}]}`, scope: "patient/Patient.cruds", header: asJSON, status: 403},
		{name: "update of another id", method: "PUT", path: "Observation/sodium", body: changed("berts", `"code":{}`), header: asJSON, status: 400},
		{name: "update without id", method: "PUT", path: "Observation/sodium", body: goodBody, header: asJSON, status: 400},
		{name: "update to something sensitive", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"meta":{"security":[{"code":"HIV"}]}`), header: asJSON, status: 403},
		{name: "update of a version that is over", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: append([]string{"If-Match", `W/"6"`}, asJSON...), status: 412},
		{name: "update of what must not be there", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: append([]string{"If-None-Match", `*`}, asJSON...), status: 412},
		{name: "update unless it is of this version", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: append([]string{"If-None-Match", `"1", W/"7"`}, asJSON...), status: 412},
		{name: "delete of what must not be there, in a batch", method: "POST", body: batchOf(`{"request":{"method":"DELETE","url":"Observation/sodium","ifNoneMatch":"*"}}`), header: asJSON, status: 200, entries: []string{"412"}},
		{name: "If-Match of what is withheld", method: "PUT", path: "Observation/mood", body: changed("mood", `"code":{}`), header: append([]string{"If-Match", `W/"6"`}, asJSON...), status: 404},
		{name: "update without versions", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: asJSON, status: 502, lie: func(c *careless) {
			c.resources["Observation/sodium"] = strings.Replace(c.resources["Observation/sodium"], `"versionId":"7",`, "", 1)
		}},
		{name: "update that comes too late", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: asJSON, status: 412, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					if r.Header.Get("If-Match") != `W/"7"` {
						panic("nothing says which version is meant")
					}
					w.WriteHeader(http.StatusPreconditionFailed)
				}
				return r.Method == http.MethodPut
			}
		}},
		{name: "update with a scope for reading", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), scope: "patient/Observation.rs", header: asJSON, status: 403},
		{name: "conditional update", method: "PUT", path: "Observation?code=na", body: goodBody, header: asJSON, status: 501},
		{name: "patch", method: "PATCH", path: "Observation/sodium", body: `[]`, header: []string{"Content-Type", "application/json-patch+json"}, status: 501},
		{name: "delete of what is withheld", method: "DELETE", path: "Observation/mood", status: 404, as: missing},
		{name: "delete of another's", method: "DELETE", path: "Observation/berts", status: 404, as: missing},
		{name: "delete with a scope for reading", method: "DELETE", path: "Observation/sodium", scope: "patient/Observation.rs", status: 403},
		{name: "conditional delete", method: "DELETE", path: "Observation?status=final", status: 501},
		{name: "delete with parameters", method: "DELETE", path: "Observation/sodium?_cascade=delete", status: 400},

		// Batches.
		{name: "batch that smuggles", method: "POST", body: batchOf(get("Observation/berts"), get("Observation/mood"), get("Condition/hidden"), get("Observation?patient=bert"), get("Patient/bert/Observation")), header: asJSON, status: 200, entries: []string{"404", "404", "403", "403", "403"}},
		{name: "batch with whole URLs", method: "POST", body: batchOf(get("https://other.example/Observation/berts"), get("//other.example/Observation/berts"), get("/Observation/berts")), header: asJSON, status: 200, entries: []string{"400", "400", "400"}},
		{name: "batch with ways up", method: "POST", body: batchOf(get("Observation/../Condition/hidden"), get("Observation//berts"), get("Observation%2fberts"), get("observation/berts")), header: asJSON, status: 200, entries: []string{"400", "400", "400", "404"}},
		{name: "batch with lines in a URL", method: "POST", body: batchOf(get("Observation/sodium HTTP/1.1\r\nHost: other"), get("Observation/berts\n")), header: asJSON, status: 200, entries: []string{"400", "400"}},
		{name: "batch in a batch", method: "POST", body: batchOf(`{"resource":` + batchOf(get("Observation/berts")) + `,"request":{"method":"POST","url":""}}`), header: asJSON, status: 200, entries: []string{"400"}},
		{name: "batch in a batch, by a page", method: "POST", body: batchOf(get("?_page=AAAA")), header: asJSON, status: 200, entries: []string{"400"}},
		{name: "everything in a batch", method: "POST", body: batchOf(get("Patient/anna/$everything")), header: asJSON, status: 200, entries: []string{"501"}},
		{name: "other methods in a batch", method: "POST", body: batchOf(`{"request":{"method":"PATCH","url":"Observation/sodium"}}`, `{"request":{"method":"delete","url":"Observation/sodium"}}`), header: asJSON, status: 200, entries: []string{"400", "400"}},
		{name: "conditions in a batch", method: "POST", body: batchOf(`{"request":{"method":"GET","url":"Observation/mood","ifNoneMatch":"W/\"7\""}}`, `{"resource":`+goodBody+`,"request":{"method":"POST","url":"Observation","ifNoneExist":"code=hiv"}}`), header: asJSON, status: 200, entries: []string{"404", "501"}},
		{name: "writes in a batch", method: "POST", body: batchOf(`{"resource":`+otherBody+`,"request":{"method":"POST","url":"Observation"}}`, `{"request":{"method":"DELETE","url":"Observation/berts"}}`), header: asJSON, status: 200, entries: []string{"403", "404"}},
		{name: "a member twice in a batch", method: "POST", body: `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Observation/sodium","url":"Observation/berts"}}]}`, header: asJSON, status: 400},
		{name: "an unknown member in a batch", method: "POST", body: `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Observation/sodium","URL":"Observation/berts"}}]}`, header: asJSON, status: 400},
		{name: "transaction", method: "POST", body: `{"resourceType":"Bundle","type":"transaction","entry":[]}`, header: asJSON, status: 501},
		{name: "history as a batch", method: "POST", body: `{"resourceType":"Bundle","type":"history"}`, header: asJSON, status: 400},
		{name: "a batch that is too long", method: "POST", body: batchOf(tooMany...), header: asJSON, status: 413},
		{name: "a batch of nothing, without end", method: "POST", body: batchOf(`{}` + strings.Repeat(`,{}`, (maxBody-100)/3)), header: asJSON, status: 413},
		{name: "a batch whose entries are none", method: "POST", body: `{"resourceType":"Bundle","type":"batch","entry":{"request":{"method":"GET","url":"Observation/sodium"}}}`, header: asJSON, status: 400},
		{name: "a batch without entries", method: "POST", body: `{"resourceType":"Bundle","type":"batch","entry":null}`, header: asJSON, status: 400},
		{name: "a batch with parameters", method: "POST", path: "?_method=DELETE", body: batchOf(get("Observation/sodium")), header: asJSON, status: 400},

		// Servers that lie.
		{name: "another's resource under a name", path: "Observation/sodium", status: 404, as: missing, lie: func(c *careless) {
			c.resources["Observation/sodium"] = c.resources["Observation/berts"]
		}},
		{name: "a Bundle for a resource", path: "Observation/sodium", status: 404, as: missing, lie: func(c *careless) {
			c.resources["Observation/sodium"] = searchsetText("", `{"resource":`+c.resources["Observation/mood"]+`}`)
		}},
		{name: "a resource with two labels of one name", path: "Observation/sodium", status: 404, as: missing, lie: func(c *careless) {
			c.resources["Observation/sodium"] = `{"meta":{"security":[{"code":"HIV"}]},"Meta":{},` + c.resources["Observation/sodium"][1:]
		}},
		{name: "the same resource again, without its label", path: "Observation?code=x", status: 200, entries: []string{}, lie: func(c *careless) {
			twin := observed("twin", "anna", `"code":{"coding":[{"code":"x"}]},"derivedFrom":[{"reference":"Observation/mood"}]`)
			c.resources["Observation/twin"] = twin
			c.order = append(c.order, "Observation/twin")
		}},
		{name: "what is referred to cannot be had", path: "Observation/sodium", status: 404, as: missing, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "Practitioner") {
					w.WriteHeader(http.StatusInternalServerError)
					return true
				}
				return false
			}
		}},
		{name: "what is referred to is something else", path: "Observation/sodium", status: 404, as: missing, lie: func(c *careless) {
			c.resources["Practitioner/doc"] = `{"resourceType":"Practitioner","id":"other"}`
		}},
		{name: "the server keeps it to itself", path: "Observation/mood", status: 404, as: missing, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "mood") {
					http.Error(w, "SECRET", http.StatusForbidden)
					return true
				}
				return false
			}
		}},
		{name: "what is referred to is kept", path: "Observation/sodium", status: 404, as: missing, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "Practitioner") {
					http.Error(w, "SECRET", http.StatusForbidden)
					return true
				}
				return false
			}
		}},
		{name: "the server fails", path: "Observation/sodium", status: 502, lie: failing},
		{name: "the server fails in a search", path: "Observation", status: 502, lie: failing},
		{name: "the server leads elsewhere", path: "Observation/sodium", status: 502, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, c.URL+"/fhir/Observation/berts", http.StatusFound)
				return true
			}
		}},
		{name: "no Bundle for a search", path: "Observation", status: 502, lie: saying(`{"resourceType":"Observation","id":"sodium"}`)},
		{name: "a list for a search", path: "Observation", status: 502, lie: saying(`[]`)},
		{name: "half a Bundle", path: "Observation", status: 502, lie: saying(`{"resourceType":"Bundle","entry":[{"resource":` + goodBody + `}`)},
		{name: "entries twice", path: "Observation", status: 502, lie: saying(`{"resourceType":"Bundle","entry":[],"entry":[]}`)},
		{name: "labels after what they label", path: "Observation", status: 502, lie: saying(`{"resourceType":"Bundle","entry":[{"resource":` + observed("sodium", "anna", "") + `}],"meta":{"security":[{"code":"HIV"}]}}`)},
		{name: "labels after what they label, escaped", path: "Observation", status: 502, lie: saying(`{"resourceType":"Bundle","entry":[{"resource":` + observed("sodium", "anna", "") + `}],"meta":{"s\u0065curity":[{"code":"HIV"}]}}`)},
		{name: "labels after what they label, as a tag", path: "Observation", status: 502, lie: saying(`{"resourceType":"Bundle","entry":[{"resource":` + observed("sodium", "anna", "") + `}],"meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]}}`)},
		{name: "no labels after the entries", path: "Observation", status: 200, entries: ownObservations, lie: saying(`{"resourceType":"Bundle","entry":[{"resource":` + observed("sodium", "anna", "") + `}],"meta":{"versionId":"1","lastUpdated":"2024-05-01T10:00:00Z"}}`)},
		{name: "labels of the Bundle", path: "Observation", status: 200, entries: []string{}, lie: saying(`{"resourceType":"Bundle","meta":{"security":[{"code":"HIV"}]},"entry":[{"resource":` + observed("sodium", "anna", "") + `}]}`)},
		{name: "a page outside the server", path: "Observation", status: 502, lie: saying(searchsetText("/admin/secrets"))},
		{name: "a page of a way up", path: "Observation", status: 502, lie: saying(searchsetText("https://other.example/fhir/../admin"))},
		{name: "a page of no type", path: "Observation", status: 502, lie: saying(searchsetText("https://other.example/fhir/$export"))},
		{name: "a page that leads to itself", path: "Observation", status: 502, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				_, _ = io.WriteString(w, searchsetText("Observation?_offset=1"))
				return true
			}
		}},
		{name: "an outcome among the matches", path: "Observation", status: 200, entries: []string{}, lie: saying(searchsetText("",
			`{"resource":{"resourceType":"OperationOutcome","issue":[{"diagnostics":"SECRET"}]},"search":{"mode":"outcome"}}`, `{"resource":{"resourceType":"OperationOutcome","id":"o","issue":[{"diagnostics":"SECRET"}]}}`))},
		{name: "an entry without end", path: "Observation", status: 502, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				_, _ = io.WriteString(w, `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","id":"`)
				chunk := bytes.Repeat([]byte("x"), 1<<20)
				for range 18 {
					if _, err := w.Write(chunk); err != nil {
						break
					}
				}
				return true
			}
		}},
		{name: "another's resource as what was written", method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: asJSON, status: 502, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					_, _ = io.WriteString(w, c.resources["Observation/berts"])
				}
				return r.Method == http.MethodPut
			}
		}},
		{name: "an error that tells", method: "POST", path: "Observation", body: goodBody, header: asJSON, status: 422, lie: func(c *careless) {
			c.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusUnprocessableEntity)
					_, _ = io.WriteString(w, `{"resourceType":"OperationOutcome","issue":[{"diagnostics":"SECRET"}]}`)
				}
				return r.Method == http.MethodPost
			}
		}},
	}
}

const maxParametersSent = 70

func failing(c *careless) {
	c.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "SECRET", http.StatusInternalServerError)
		return true
	}
}

func saying(text string) func(c *careless) {
	return func(c *careless) {
		c.answer = func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, text)
			return true
		}
	}
}

// asInclude has the server say that all was included.
func asInclude(c *careless) {
	var entries []string
	for _, name := range c.order {
		mode := "include"
		if strings.HasPrefix(name, "Observation/") {
			mode = "match"
		}
		entries = append(entries, `{"resource":`+c.resources[name]+`,"search":{"mode":"`+mode+`"}}`)
	}
	text := searchsetText("", entries...)
	c.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Count(r.URL.Path, "/") != 2 {
			return false
		}
		_, _ = io.WriteString(w, text)
		return true
	}
}

func TestFHIRAttacks(t *testing.T) {
	all := attacks()
	if len(all) < 60 {
		t.Fatalf("%d attacks", len(all))
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			c := attackedServer(t)
			if a.lie != nil {
				a.lie(c)
			}
			d := newDesk(t, c.URL+"/fhir")
			var texts []string
			if a.scope == "" {
				a.scope = attackScope
			}
			texts = strings.Fields(a.scope)
			d.as("session", "anna", scoped(t, 0, 0, 0, texts...))
			if a.method == "" {
				a.method = "GET"
			}
			answer := d.do(a.method, a.path, a.body, a.header...)
			if answer.status != a.status {
				t.Fatalf("the answer is %d, want %d: %.300s", answer.status, a.status, answer.body)
			}
			d.checkAttack(a, c, answer)
		})
	}
}

func (d *desk) checkAttack(a attack, c *careless, answer reply) {
	d.Helper()
	if strings.Contains(string(answer.body)+fmt.Sprint(answer.header), "SECRET") {
		d.Errorf("the answer has what is withheld: %s", answer.body)
	}
	if !slices.Equal(c.writes, a.writes) {
		d.Errorf("the server was told %q, want %q", c.writes, a.writes)
	}
	for _, written := range c.bodies {
		if strings.Contains(written, `"berts"`) {
			d.Errorf("what was written names what is not there: %s", written)
		}
	}
	if len(d.notices) == 0 {
		d.Error("it is not in the log")
	}
	for _, r := range c.requests {
		for name := range r.Header {
			if !slices.Contains([]string{"Accept", "User-Agent", "Content-Type", "Content-Length", "If-Match", "Prefer"}, name) {
				d.Errorf("the header %s reached the server", name)
			}
		}
	}
	if a.as != "" {
		same := d.do(a.method, a.as, a.body, a.header...)
		for _, header := range []http.Header{answer.header, same.header} {
			header.Del("Date")
		}
		if same.status != answer.status || !bytes.Equal(same.body, answer.body) || fmt.Sprint(same.header) != fmt.Sprint(answer.header) {
			d.Errorf("it is answered with\n%d %v %s\nand what does not exist with\n%d %v %s", answer.status, answer.header, answer.body, same.status, same.header, same.body)
		}
	}
	if (a.status == http.StatusMethodNotAllowed) != (answer.header.Get("Allow") != "") {
		d.Errorf("the methods that are allowed are %q", answer.header.Get("Allow"))
	}
	if a.status < 400 && a.entries != nil {
		d.checkEntries(a, answer)
	} else if a.method != "HEAD" && a.status >= 400 && !bytes.Contains(answer.body, []byte(`"OperationOutcome"`)) {
		d.Errorf("the refusal is no OperationOutcome: %s", answer.body)
	}
}

// checkEntries holds a Bundle to its entries: names, or the statuses of a batch.
func (d *desk) checkEntries(a attack, answer reply) {
	d.Helper()
	var bundle searchsetOf
	if err := json.Unmarshal(answer.body, &bundle); err != nil {
		d.Fatal(err)
	}
	got := []string{}
	for _, e := range bundle.Entry {
		if status, _, _ := strings.Cut(e.Response.Status, " "); status != "" {
			got = append(got, status)
		} else {
			got = append(got, e.Resource.ResourceType+"/"+e.Resource.ID)
		}
	}
	if !slices.Equal(got, a.entries) {
		d.Errorf("the answer has %q, want %q", got, a.entries)
	}
	if matches := bundle.matches(); bundle.Total != nil && *bundle.Total != matches {
		d.Errorf("the total is %d, of %d matches", *bundle.Total, matches)
	}
	for _, link := range bundle.Link {
		if link.Relation != "self" {
			d.Errorf("there is a link %s", link.Relation)
		}
	}
}

// The bytes that reach the server have no header of the requester.
func TestAttackByHeaders(t *testing.T) {
	c := attackedServer(t)
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
	answer := d.do("GET", "Observation/sodium", "", "Authorization", "Bearer admin", "Cookie", "admin=1", "X-Forwarded-For", "127.0.0.1", "X-Original-Url", "/Observation/berts",
		"X-Rewrite-Url", "/Observation/berts", "X-Consent", "all", "X-Security-Context", "admin", "Forwarded", "for=127.0.0.1", "Prefer", "handling=strict", "X-Cascade", "delete", "Range", "bytes=0-1")
	if answer.status != http.StatusOK || string(answer.body) != c.resources["Observation/sodium"] {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	d.checkAttack(attack{status: 200}, c, answer)
}

// A cursor works only for whom and for what it was made, as it is; but longer than
// the token that it came with.
func TestAttackOnCursors(t *testing.T) {
	var resources []string
	for i := range 9 {
		resources = append(resources, observed(fmt.Sprint("o", i), "anna", ""))
	}
	c := newCareless(t, resources...)
	d := newDesk(t, c.URL+"/fhir").as("one", "anna", scoped(t, 0, 0, 0, attackScope))
	var first searchsetOf
	answer := d.do("GET", "Observation?_count=4", "")
	if err := json.Unmarshal(answer.body, &first); err != nil || len(first.Entry) != 4 || len(first.Link) != 2 || first.Total != nil {
		t.Fatalf("%v: %s", err, answer.body)
	}
	next := strings.TrimPrefix(first.Link[1].URL, d.public+"/")
	if strings.Contains(next, "anna") || strings.Contains(next, "Observation") {
		t.Errorf("the link tells what it is: %s", next)
	}
	if again := d.do("GET", next, ""); again.status != http.StatusOK || !bytes.Contains(again.body, []byte(`"o4"`)) || bytes.Contains(again.body, []byte(`"o3"`)) {
		t.Fatalf("the next page is %d %s", again.status, again.body)
	}
	for i := len("?_page="); i < len(next); i += 7 {
		forged := []byte(next)
		forged[i] = map[bool]byte{true: 'A', false: 'B'}[forged[i] != 'A']
		if answer := d.do("GET", string(forged), ""); answer.status != http.StatusBadRequest {
			t.Errorf("changed at %d it is answered with %d", i, answer.status)
		}
	}
	if answer := d.do("GET", next+"&_count=1000", ""); answer.status != http.StatusBadRequest {
		t.Errorf("with more it is answered with %d", answer.status)
	}
	if answer := d.as("two", "anna", scoped(t, 0, 0, 0, attackScope)).do("GET", next, ""); answer.status != http.StatusOK || !bytes.Contains(answer.body, []byte(`"o4"`)) {
		t.Errorf("in the next session of the same it is answered with %d %s", answer.status, answer.body)
	}
	for name, change := range map[string]func(*session){
		"another patient":          func(s *session) { s.patient = "bert" },
		"another grantee":          func(s *session) { s.grantee[0]++ },
		"another grantor":          func(s *session) { s.grantor[0]++ },
		"another data holder":      func(s *session) { s.access.Access.Holder[0]++ },
		"another chain":            func(s *session) { s.access.Domain.ChainID++ },
		"other scopes":             func(s *session) { s.access.Access.Scopes = scoped(t, 0, 0, 0, "patient/Observation.rs") },
		"another purpose":          func(s *session) { s.access.Access.Scopes[0].Purpose = "HRESCH" },
		"other sensitivities":      func(s *session) { s.access.Access.Scopes[0].Sensitivities = consent.HIV },
		"the same scopes and more": func(s *session) { s.access.Access.Scopes = scoped(t, 0, 0, 0, attackScope, "patient/Patient.r") },
	} {
		d.as("one", "anna", scoped(t, 0, 0, 0, attackScope))
		change(d.session)
		if answer := d.do("GET", next, ""); answer.status != http.StatusBadRequest {
			t.Errorf("for %s it is answered with %d", name, answer.status)
		}
	}
	d.key[0]++
	if answer := d.as("one", "anna", scoped(t, 0, 0, 0, attackScope)).do("GET", next, ""); answer.status != http.StatusBadRequest {
		t.Errorf("at another gateway it is answered with %d", answer.status)
	}
}

// What is withheld leaves no trace: each answer is byte for byte that of a
// server which never had it, pages and their number included.
func TestAttackByComparing(t *testing.T) {
	var plain, mixed []string
	for i := range 30 {
		open := observed(fmt.Sprint("o", i), "anna", "")
		plain = append(plain, open)
		for j := range i % 4 {
			mixed = append(mixed, labelled(observed(fmt.Sprint("s", i, "-", j), "anna", ""), "HIV"), observed(fmt.Sprint("b", i, "-", j), "bert", ""))
		}
		mixed = append(mixed, open)
	}
	mixed = append(mixed, labelled(observed("last", "anna", ""), "PSY"))
	var pages [2][]string
	var links [2][]int // their lengths
	for k, resources := range [][]string{plain, mixed} {
		d := newDesk(t, newCareless(t, resources...).URL+"/fhir").as("one", "anna", scoped(t, 0, 0, 0, attackScope))
		for path := "Observation?_count=10"; path != ""; {
			answer := d.do("GET", path, "")
			var page searchsetOf
			if err := json.Unmarshal(answer.body, &page); err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(answer.body), d.public, "")
			path = ""
			for _, link := range page.Link {
				if link.Relation == "next" {
					path = strings.TrimPrefix(link.URL, d.public+"/")
					text = strings.ReplaceAll(text, path, "next")
					links[k] = append(links[k], len(path))
				}
			}
			pages[k] = append(pages[k], text)
		}
	}
	if !slices.Equal(links[0], links[1]) {
		t.Errorf("the links are %v long, but %v where something is withheld", links[0], links[1])
	}
	if len(pages[0]) != 3 || !slices.Equal(pages[0], pages[1]) {
		t.Errorf("%d pages\n%s\nbut %d where something is withheld\n%s", len(pages[0]), pages[0], len(pages[1]), pages[1])
	}
}

// Nothing leaves before it is in the log, and a write is not even begun.
func TestAttackWithoutLog(t *testing.T) {
	for _, a := range []attack{
		{path: "Observation/sodium"}, {path: "Observation"}, {path: "Patient/anna/$everything"}, {path: "Observation/berts"},
		{method: "POST", path: "Observation", body: goodBody, header: []string{"Content-Type", fhirJSON}},
		{method: "PUT", path: "Observation/sodium", body: changed("sodium", `"code":{}`), header: []string{"Content-Type", fhirJSON}},
		{method: "DELETE", path: "Observation/sodium"},
	} {
		c := attackedServer(t)
		d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
		d.unlogged = errLog
		answer := d.do(a.method, a.path, a.body, a.header...)
		if answer.status != http.StatusServiceUnavailable || bytes.Contains(answer.body, []byte("sodium")) || len(c.writes) > 0 || answer.header.Get("Etag") != "" {
			t.Errorf("%s %s: %d %v %s, and the server was told %q", a.method, a.path, answer.status, answer.header, answer.body, c.writes)
		}
	}
}

// A miss takes as long whatever the gateway had to look up for it, and so does a
// search, whatever it does not show: their times are rounded up.
func TestAttackByTime(t *testing.T) {
	c := attackedServer(t)
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
	for path, status := range map[string]int{
		"Observation/missing": http.StatusNotFound, "Observation/berts": http.StatusNotFound, "Observation/mood": http.StatusNotFound, "Observation/far": http.StatusNotFound,
		"Observation?_id=missing": http.StatusOK, "Observation?_id=viral": http.StatusOK,
		"Observation?_id=missing,sodium": http.StatusOK, "Observation?_id=viral,sodium": http.StatusOK,
		"Observation?_count=1": http.StatusOK, "Patient/anna/$everything": http.StatusOK,
	} {
		began := time.Now()
		if answer := d.do("GET", path, ""); answer.status != status {
			t.Errorf("%s: %d", path, answer.status)
		}
		if took := time.Since(began); took < timeStep {
			t.Errorf("%s is answered after %s", path, took)
		}
	}
}

// A long answer is in the log window by window, and one that fails breaks off.
func TestAttackByLength(t *testing.T) {
	var resources []string
	for i := range 250 {
		resources = append(resources, observed(fmt.Sprint("o", i), "anna", ""))
	}
	c := newCareless(t, resources...)
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.s"))
	if got := d.found("Patient/anna/$everything"); len(got) != 250 || len(d.notices) != 3 {
		t.Fatalf("%d resources and %d notices", len(got), len(d.notices))
	}
	logged := 0
	d.note = func(_ context.Context, _ *session, n notice) error {
		if logged++; logged == 3 {
			return errLog
		}
		return nil
	}
	if answer := d.do("GET", "Patient/anna/$everything", ""); answer.status != -1 || bytes.Contains(answer.body, []byte(`"o200"`)) {
		t.Errorf("%d, with %d bytes", answer.status, len(answer.body))
	}
}

// What a request takes in memory is a small multiple of the most that it may send.
func TestAttackByRoom(t *testing.T) {
	const allowed = 16 * maxBody
	c := attackedServer(t)
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
	for path, sent := range map[string]string{
		"":                   batchOf(`{}` + strings.Repeat(`,{}`, (maxBody-100)/3)),
		"Observation":        body(`"x":[0` + strings.Repeat(",0", maxBody/2-100) + `]`),
		"Observation/sodium": changed("sodium", `"x":[[]`+strings.Repeat(",[]", maxBody/3-100)+`]`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		answer := d.do(map[bool]string{true: "PUT", false: "POST"}[strings.Contains(path, "/")], path, sent, "Content-Type", fhirJSON)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > allowed || answer.status < 400 || answer.status >= 500 {
			t.Errorf("%d bytes to %q take %d bytes, and are answered with %d %s", len(sent), path, took, answer.status, answer.body)
		}
	}
}

// Of what is sent at once, only so much is in memory: whoever sends more at once is
// told to send it again; what is small goes on.
func TestAttackByLargeBodies(t *testing.T) {
	c := attackedServer(t)
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, attackScope))
	post := func(more string) *http.Request {
		r := httptest.NewRequest("POST", "/Observation", strings.NewReader(body(more)))
		r.Header.Set("Content-Type", fhirJSON)
		return r
	}
	answered := func(r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		d.serve(w, r, d.session)
		return w
	}
	long := `"note":[{"text":"` + strings.Repeat("x", largeBody) + `"}]`
	unknown := func() *http.Request {
		r := post(`"code":{}`)
		r.ContentLength = -1
		return r
	}

	// One client sends slowly.
	var requests sync.WaitGroup
	var ends []io.Closer
	for range largeByOne {
		reader, writer := io.Pipe()
		ends = append(ends, writer)
		r := post(`"code":{}`)
		r.Body, r.ContentLength = reader, maxBody
		requests.Go(func() { answered(r) })
	}
	poll(t, func() error {
		d.large.Lock()
		defer d.large.Unlock()
		if d.large.taken != largeByOne {
			return fmt.Errorf("%d are there", d.large.taken)
		}
		return nil
	})
	for name, r := range map[string]*http.Request{"long": post(long), "unknown": unknown()} {
		if w := answered(r); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || d.last().Outcome != "Busy" || d.last().Interaction != "create" {
			t.Errorf("%s: %d %s, logged as %+v", name, w.Code, w.Body, d.last())
		}
	}
	if w := answered(post(`"code":{}`)); w.Code != http.StatusCreated {
		t.Errorf("what is small is answered with %d %s", w.Code, w.Body)
	}
	if w := answered(httptest.NewRequest("GET", "/Observation/sodium", nil)); w.Code != http.StatusOK {
		t.Errorf("a read is answered with %d %s", w.Code, w.Body)
	}
	// Another has places left.
	other := func(r *http.Request) *http.Request {
		return r.WithContext(context.WithValue(r.Context(), servedKey{}, &served{client: "192.0.2.1"}))
	}
	if w := answered(other(post(long))); w.Code != http.StatusCreated {
		t.Errorf("another client is answered with %d %s", w.Code, w.Body)
	}
	for _, end := range ends {
		end.Close()
	}
	requests.Wait()
	inner := batchOf(`{"resource":` + body(long) + `,"request":{"method":"POST","url":"Observation"}}`)
	r := httptest.NewRequest("POST", "/", strings.NewReader(inner))
	r.Header.Set("Content-Type", fhirJSON)
	if w := answered(r); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"201 Created"`) || d.large.taken != 0 || len(d.large.by) != 0 {
		t.Errorf("a long batch is answered with %d %.300s, and %d are there", w.Code, w.Body, d.large.taken)
	}
}

// The answer to an entry of a batch waits in memory until it is whole, so that it
// has a limit, whatever is included. One that is too long is refused by itself: what
// was written before stands, and its answer comes.
func TestAttackByLongEntry(t *testing.T) {
	var resources []string
	for i := range 3 {
		resources = append(resources, observed(fmt.Sprint("o", i), "anna", `"note":[{"text":"`+strings.Repeat("x", maxEntry/3)+`"}]`))
	}
	c := newCareless(t, resources...)
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.crs"))
	if got := d.found("Observation?_count=2"); len(got) != 3 {
		t.Errorf("by itself it finds %v", got)
	}
	d.notices = nil
	answer := d.do("POST", "", batchOf(`{"resource":`+goodBody+`,"request":{"method":"POST","url":"Observation"}}`, get("Observation"), get("Observation?_count=2"), get("Observation/missing")), "Content-Type", fhirJSON)
	var bundle struct {
		Entry []struct {
			Resource searchsetOf
			Response struct {
				Status, Location string
				Outcome          struct {
					Issue []struct{ Code, Diagnostics string }
				}
			}
		}
	}
	if err := json.Unmarshal(answer.body, &bundle); err != nil || answer.status != http.StatusOK || len(bundle.Entry) != 4 {
		t.Fatalf("%d, %v: %.300s", answer.status, err, answer.body)
	}
	for i, want := range []string{"201 Created", "413 Request Entity Too Large", "200 OK", "404 Not Found"} {
		if got := bundle.Entry[i].Response.Status; got != want {
			t.Errorf("entry %d is answered with %s, want %s", i, got, want)
		}
	}
	long := bundle.Entry[1]
	if issue := long.Response.Outcome.Issue; len(long.Resource.Entry) > 0 || len(issue) != 1 || issue[0].Code != "too-costly" || len(bundle.Entry[2].Resource.Entry) != 2 || bundle.Entry[0].Response.Location == "" {
		t.Errorf("the answers are %+v and %+v", long.Response, bundle.Entry[0].Response)
	}
	outcomes := make(map[string]int)
	for _, n := range d.notices {
		outcomes[n.Outcome]++
	}
	if outcomes["TooLong"] != 1 || outcomes["BrokenOff"] != 0 || outcomes["NotFound"] != 1 {
		t.Errorf("the log has %v", outcomes)
	}
}

// What fails in the midst of the answer to an entry fails that entry alone.
func TestAttackByBrokenEntry(t *testing.T) {
	c := newCareless(t)
	for i := range 2 * window {
		name := fmt.Sprint("Observation/o", i)
		c.resources[name] = observed(fmt.Sprint("o", i), "anna", "")
		c.order = append(c.order, name)
	}
	d := newDesk(t, c.URL+"/fhir").as("session", "anna", scoped(t, 0, 0, 0, "patient/Observation.rs"))
	flushed := 0
	d.goOn = func(context.Context, *session, *asked) error {
		if flushed++; flushed == 3 { // before the entry, and before each of its windows
			return errUpstream
		}
		return nil
	}
	// Included resources are beyond the page: they make a second window.
	c.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/fhir/Observation" {
			return false
		}
		var entries []string
		for i, name := range c.order {
			mode, text := "match", c.resources[name]
			if i >= window {
				mode, text = "include", strings.Replace(text, `{"reference":"Patient/anna"}`, `{"reference":"Patient/anna"},"derivedFrom":[{"reference":"Observation/o0"}]`, 1)
			}
			entries = append(entries, `{"resource":`+text+`,"search":{"mode":"`+mode+`"}}`)
		}
		_, _ = io.WriteString(w, searchsetText("", entries...))
		return true
	}
	answer := d.do("POST", "", batchOf(get("Observation?_revinclude=Observation:derived-from"), get("Observation/o1")), "Content-Type", fhirJSON)
	var bundle searchsetOf
	if err := json.Unmarshal(answer.body, &bundle); err != nil || len(bundle.Entry) != 2 || !strings.HasPrefix(bundle.Entry[0].Response.Status, "502") || !strings.HasPrefix(bundle.Entry[1].Response.Status, "200") || bytes.Contains(answer.body, []byte(`"o5"`)) {
		t.Errorf("%d, %v: %.300s", answer.status, err, answer.body)
	}
}

package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/assent-wallet/assent/consent/fhir"
)

// Anybody may ask what the gateway is and does, in JSON.
func TestCapability(t *testing.T) {
	g := &Gateway{Config: Config{Domain: testDomain, Holder: testHolder}, public: "https://gateway.example/fhir", base: "/fhir"}
	ask := func(serve func(http.ResponseWriter, *http.Request) *denial, method string, header http.Header) (*httptest.ResponseRecorder, *denial) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/", nil)
		r.Header = header
		return w, serve(w, r)
	}
	w, d := ask(g.serveMetadata, "GET", http.Header{"Accept": {"application/fhir+json"}})
	var statement struct {
		ResourceType, Status, Date, Kind, FHIRVersion string
		Format                                        []string
		Rest                                          []struct {
			Mode        string
			Interaction []struct{ Code string }
			Resource    []struct {
				Type         string
				Interaction  []struct{ Code string }
				SearchParam  []struct{ Name, Type string }
				UpdateCreate bool
				Operation    []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &statement); d != nil || err != nil || statement.ResourceType != "CapabilityStatement" || statement.FHIRVersion != "4.0.1" || len(statement.Rest) != 1 {
		t.Fatalf("%v %v %.300s", d, err, w.Body)
	}
	var types []string
	for _, r := range statement.Rest[0].Resource {
		types = append(types, r.Type)
		if len(r.SearchParam) == 0 || len(r.Interaction) != 6 || r.UpdateCreate || (len(r.Operation) == 1) != (r.Type == "Patient") {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(types, fhir.PatientTypes()) {
		t.Errorf("the types are %v", types)
	}
	w, d = ask(g.serveSMARTConfiguration, "GET", nil)
	var smart map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &smart); d != nil || err != nil {
		t.Fatal(d, err)
	}
	holder, _ := smart["assent"].(map[string]any)
	if smart["token_endpoint"] != "https://gateway.example/fhir/token" || !strings.EqualFold(holder["holder"].(string), testHolder.Hex()) || holder["chainId"] != float64(testDomain.ChainID) {
		t.Errorf("it says %v", smart)
	}
	for _, serve := range []func(http.ResponseWriter, *http.Request) *denial{g.serveMetadata, g.serveSMARTConfiguration} {
		if w, d := ask(serve, "POST", nil); d == nil || d.status != http.StatusMethodNotAllowed || w.Body.Len() > 0 {
			t.Errorf("POST: %v", d)
		}
	}
	if _, d := ask(g.serveMetadata, "GET", http.Header{"Accept": {"application/fhir+xml"}}); d == nil || d.status != http.StatusNotAcceptable {
		t.Errorf("XML: %v", d)
	}
}

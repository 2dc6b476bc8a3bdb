package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent/fhir"
)

// serveSMARTConfiguration says how tokens are got (SMART App Launch 2.2, section
// "Conformance"). A token comes of a signed access alone, so there is no
// authorization endpoint and no client to register. Beside the members of SMART
// it says which data holder this is, and which chain it follows.
func (g *Gateway) serveSMARTConfiguration(w http.ResponseWriter, r *http.Request) *denial {
	type holder struct {
		Holder   string `json:"holder"`
		ChainID  uint64 `json:"chainId"`
		Registry string `json:"registry"`
	}
	return public(w, r, "application/json", struct {
		Issuer               string   `json:"issuer"`
		TokenEndpoint        string   `json:"token_endpoint"`
		GrantTypes           []string `json:"grant_types_supported"`
		SubjectTokenTypes    []string `json:"subject_token_types_supported"`
		AuthMethods          []string `json:"token_endpoint_auth_methods_supported"`
		ProofAlgorithms      []string `json:"dpop_signing_alg_values_supported"`
		CodeChallengeMethods []string `json:"code_challenge_methods_supported"`
		Scopes               []string `json:"scopes_supported"`
		Capabilities         []string `json:"capabilities"`
		Assent               holder   `json:"assent"`
	}{
		g.public, g.public + "/token", []string{GrantType}, []string{SubjectTokenType}, []string{"none"},
		strings.Fields(proofAlgorithms), []string{"S256"}, []string{"patient/*.cruds"},
		[]string{"permission-patient", "permission-v2", "permission-v1"},
		holder{g.Holder.Hex(), g.Domain.ChainID, g.Domain.Registry.Hex()},
	})
}

// capabilityDate is when what serveMetadata says last changed.
const capabilityDate = "2026-11-22"

// serveMetadata says what is served, as a CapabilityStatement.
func (g *Gateway) serveMetadata(w http.ResponseWriter, r *http.Request) *denial {
	if !acceptsJSON(r.Header.Values("Accept")) {
		return &denial{status: http.StatusNotAcceptable, outcome: "Unsupported", clause: "only JSON is written here"}
	}
	type code struct {
		Code string `json:"code"`
	}
	type parameter struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	type resource struct {
		Type              string      `json:"type"`
		Interaction       []code      `json:"interaction"`
		Versioning        string      `json:"versioning"`
		ReadHistory       bool        `json:"readHistory"`
		UpdateCreate      bool        `json:"updateCreate"`
		ConditionalCreate bool        `json:"conditionalCreate"`
		ConditionalRead   string      `json:"conditionalRead"`
		ConditionalUpdate bool        `json:"conditionalUpdate"`
		SearchParam       []parameter `json:"searchParam"`
		Operation         []any       `json:"operation,omitempty"`
	}
	var resources []resource
	for _, kind := range fhir.PatientTypes() {
		one := resource{Type: kind, Versioning: "versioned", ConditionalRead: "full-support",
			Interaction: []code{{"read"}, {"vread"}, {"search-type"}, {"create"}, {"update"}, {"delete"}}}
		for _, p := range fhir.SearchParameters(kind) {
			one.SearchParam = append(one.SearchParam, parameter{p.Name, p.Type})
		}
		if kind == "Patient" {
			one.Operation = []any{map[string]string{"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}}
		}
		resources = append(resources, one)
	}
	type statement struct {
		ResourceType   string            `json:"resourceType"`
		Status         string            `json:"status"`
		Date           string            `json:"date"`
		Kind           string            `json:"kind"`
		Implementation map[string]string `json:"implementation"`
		FHIRVersion    string            `json:"fhirVersion"`
		Format         []string          `json:"format"`
		Rest           []any             `json:"rest"`
	}
	oauth := map[string]any{"url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
		"extension": []any{map[string]string{"url": "token", "valueUri": g.public + "/token"}}}
	return public(w, r, fhirJSON, statement{
		"CapabilityStatement", "active", capabilityDate, "instance",
		map[string]string{"description": "Assent gateway: what grants on the chain permit, and nothing else", "url": g.public},
		"4.0.1", []string{fhirJSON, "json"},
		[]any{map[string]any{
			"mode": "server", "interaction": []code{{"batch"}}, "resource": resources,
			"documentation": "Of one patient, who is that of the token. What is withheld looks like what does not exist.",
			"security": map[string]any{"extension": []any{oauth}, "service": []any{map[string]any{"coding": []any{map[string]string{
				"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}}}}},
		}},
	})
}

// public answers with what anybody may know.
func public(w http.ResponseWriter, r *http.Request, contentType string, content any) *denial {
	if !slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method) {
		w.Header().Set("Allow", "GET, HEAD")
		return &denial{status: http.StatusMethodNotAllowed, outcome: "BadRequest", clause: "it is read by GET"}
	}
	text, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		return unavailable(err)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(text)
	return nil
}

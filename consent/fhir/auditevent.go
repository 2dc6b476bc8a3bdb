package fhir

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-json-experiment/json"

	"github.com/assent-wallet/assent/consent"
)

// AuditRecord is one decision of a data holder, as its audit log has it: on a
// token, or on one FHIR request.
type AuditRecord struct {
	ID   string    // logical id of the AuditEvent
	Time time.Time // in UTC
	// Interaction is a code of FHIR's restful interactions (read, vread,
	// search-type, create, update, delete, operation, batch), or TokenDecision.
	Interaction string
	// Outcome is Permitted, or the stable code of why not: the name of an outcome
	// of the Assent protocol, section 7, or of a refusal by the gateway.
	Outcome string
	Clause  string // what exactly failed, in words; empty where nothing did

	Patient string         // logical id at the data holder; empty where not known
	Grantor common.Address // of the first link: the patient's account
	Grantee common.Address // of the last link: who asked
	Holder  common.Address
	Grant   common.Hash // id of the last link's grant
	// Purposes are codes of HL7 v3 PurposeOfUse. In an old event, several may stand
	// as one, with spaces between.
	Purposes []string

	// Target is what was asked for: "Observation/123", or the query as it was
	// asked, or the scopes of a token.
	Target    string
	Released  map[string]int // numbers of resources released, by type
	Resources []string       // "Observation/123": those released or written, where they are named
	Request   string         // id of the HTTP request
	Client    string         // network address that the request came from
	Block     uint64         // that the decision was made on
}

// TokenDecision is the interaction of a decision on a token.
const TokenDecision = "token"

// Permitted is the outcome of what was permitted.
const Permitted = "permit"

// Code systems of an AuditEvent, and the namespaces of its identifiers.
const (
	dcm               = "http://dicom.nema.org/resources/ontology/DCM"
	auditEventType    = "http://terminology.hl7.org/CodeSystem/audit-event-type"
	restInteraction   = "http://hl7.org/fhir/restful-interaction"
	authzSubtype      = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
	basicAuditEntity  = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
	participationType = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
	actReason         = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	securityRole      = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
	auditSourceType   = "http://terminology.hl7.org/CodeSystem/security-source-type"
	auditEntityType   = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	objectRole        = "http://terminology.hl7.org/CodeSystem/object-role"
	resourceTypes     = "http://hl7.org/fhir/resource-types"

	accountNamespace = "urn:assent:account"
	grantNamespace   = "urn:assent:grant"
)

type auditEvent struct {
	ResourceType string       `json:"resourceType"`
	ID           string       `json:"id"`
	Type         coding       `json:"type"`
	Subtype      []coding     `json:"subtype"`
	Action       string       `json:"action"`
	Recorded     string       `json:"recorded"`
	Outcome      string       `json:"outcome"`
	OutcomeDesc  string       `json:"outcomeDesc"`
	Agent        []auditAgent `json:"agent"`
	Source       struct {
		Observer auditReference `json:"observer"`
		Type     []coding       `json:"type"`
	} `json:"source"`
	Entity []auditEntity `json:"entity,omitempty"`
}

type coding struct {
	System  string `json:"system"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

type codeableConcept struct {
	Coding []coding `json:"coding"`
}

type auditReference struct {
	Reference  string           `json:"reference,omitempty"`
	Identifier *auditIdentifier `json:"identifier,omitempty"`
}

type auditIdentifier struct {
	System string `json:"system,omitempty"`
	Value  string `json:"value"`
}

type auditAgent struct {
	Type         codeableConcept   `json:"type"`
	Who          auditReference    `json:"who"`
	Requestor    bool              `json:"requestor"`
	Network      *auditNetwork     `json:"network,omitempty"`
	PurposeOfUse []codeableConcept `json:"purposeOfUse,omitempty"`
}

type auditNetwork struct {
	Address string `json:"address"`
	Type    string `json:"type"`
}

type auditEntity struct {
	What        *auditReference `json:"what,omitempty"`
	Type        coding          `json:"type"`
	Role        *coding         `json:"role,omitempty"`
	Description string          `json:"description,omitempty"`
	Query       []byte          `json:"query,omitempty"` // base64 in JSON
	Detail      []auditDetail   `json:"detail,omitempty"`
}

type auditDetail struct {
	Type        string `json:"type"`
	ValueString string `json:"valueString"`
}

// What an entity that is data says of itself, so that what was asked for and
// what was released stay apart.
const (
	asked            = "asked for"
	released         = "released"
	askedAndReleased = "asked for and released"
)

// releasedDetail begins the name of a detail that counts what was released.
const releasedDetail = "released "

// actions are the actions of an AuditEvent; all else is "E" (execute).
var actions = map[string]string{"create": "C", "read": "R", "vread": "R", "update": "U", "delete": "D"}

// AuditEvent gives the record as a FHIR R4 AuditEvent after the patterns of IHE
// Basic Audit Log Patterns 1.1: a RESTful operation with the client, the server
// and the user (IRCP) with their purpose of use, the patient, the data or the
// query, and the grant, whose details count what was released; a decision on a
// token as AuthZ consent (DCM 110113). Accounts stand under the namespace
// urn:assent:account, grants under urn:assent:grant. The organization of the
// user, which AuthZ consent would name as well, is not known and not made up.
//
// Equal records give equal bytes. Text that is not UTF-8 loses what is not.
func AuditEvent(r AuditRecord) ([]byte, error) {
	switch {
	case !isID(r.ID):
		return nil, fmt.Errorf("audit event: its id %s is no id of FHIR", consent.Quote(r.ID))
	case r.Interaction == "" || r.Outcome == "" || strings.Contains(r.Outcome, ":"):
		return nil, fmt.Errorf("audit event %s: want an interaction, and an outcome that is a code", r.ID)
	case r.Time.Year() < 1 || r.Time.Year() > 9999:
		return nil, fmt.Errorf("audit event %s: FHIR cannot tell the year %d", r.ID, r.Time.Year())
	}
	token := r.Interaction == TokenDecision
	action, resource := actions[r.Interaction]
	if !resource {
		action = "E"
	}
	e := auditEvent{
		ResourceType: "AuditEvent", ID: r.ID, Action: action,
		Type:    coding{auditEventType, "rest", "RESTful Operation"},
		Subtype: []coding{{System: restInteraction, Code: utf8(r.Interaction)}},
		// Trailing zeros of the fraction are left out: any fraction is an instant.
		Recorded:    r.Time.UTC().Format(time.RFC3339Nano),
		Outcome:     "0",
		OutcomeDesc: utf8(r.Outcome),
	}
	if token {
		e.Type = coding{dcm, "110113", "Security Alert"}
		e.Subtype = []coding{{authzSubtype, "AuthZ-Consent", "Authorization Decision using Roles and Consent"}}
	}
	if r.Outcome != Permitted {
		e.Outcome = "4" // minor failure: the request was not carried out
		if token {
			e.Outcome = "8" // as BALP has it for a denial
		}
	}
	if r.Clause != "" {
		e.OutcomeDesc += ": " + utf8(r.Clause)
	}

	grantee, holder := account(r.Grantee), account(r.Holder)
	client := auditAgent{Type: clientRole(token, action == "R"), Who: grantee}
	if r.Client != "" {
		client.Network = &auditNetwork{Address: utf8(r.Client), Type: "2"} // an IP address
	}
	server := auditAgent{Type: oneCode(dcm, "110152", "Destination Role ID"), Who: holder}
	switch {
	case token:
		server.Type = oneCode(securityRole, "authserver", "authorization server")
	case action == "R":
		server.Type = oneCode(dcm, "110153", "Source Role ID")
	}
	user := auditAgent{Type: oneCode(participationType, "IRCP", "information recipient"), Who: grantee, Requestor: true}
	for _, purpose := range r.Purposes {
		user.PurposeOfUse = append(user.PurposeOfUse, oneCode(actReason, utf8(purpose), ""))
	}
	e.Agent = []auditAgent{client, server, user}
	e.Source.Observer = holder
	e.Source.Type = []coding{{auditSourceType, "4", "Application Server"}}
	if token {
		e.Source.Type = []coding{{auditSourceType, "6", "Security Server"}}
	}

	patient := account(r.Grantor)
	if r.Patient != "" {
		patient.Reference = "Patient/" + utf8(r.Patient)
	}
	e.Entity = append(e.Entity, auditEntity{What: &patient, Type: coding{auditEntityType, "1", "Person"}, Role: &coding{objectRole, "1", "Patient"}})
	data := func(reference, description string) {
		e.Entity = append(e.Entity, auditEntity{What: &auditReference{Reference: utf8(reference)}, Description: description,
			Type: coding{auditEntityType, "2", "System Object"}, Role: &coding{objectRole, "4", "Domain Resource"}})
	}
	switch {
	case r.Target == "":
	case !resource:
		e.Entity = append(e.Entity, auditEntity{Query: []byte(r.Target), Description: utf8(r.Target),
			Type: coding{auditEntityType, "2", "System Object"}, Role: &coding{objectRole, "24", "Query"}})
	case !slices.Contains(r.Resources, r.Target):
		data(r.Target, asked)
	}
	for _, reference := range r.Resources {
		if resource && reference == r.Target {
			data(reference, askedAndReleased)
		} else {
			data(reference, released)
		}
	}
	grant := auditEntity{What: &auditReference{Identifier: &auditIdentifier{grantNamespace, r.Grant.Hex()}}, Type: coding{resourceTypes, "Consent", "Consent"}}
	for _, kind := range slices.Sorted(maps.Keys(r.Released)) {
		grant.Detail = append(grant.Detail, auditDetail{releasedDetail + utf8(kind), strconv.Itoa(r.Released[kind])})
	}
	grant.Detail = append(grant.Detail, auditDetail{"block", strconv.FormatUint(r.Block, 10)})
	e.Entity = append(e.Entity, grant)
	if r.Request != "" {
		e.Entity = append(e.Entity, auditEntity{What: &auditReference{Identifier: &auditIdentifier{Value: utf8(r.Request)}},
			Type: coding{System: basicAuditEntity, Code: "XrequestId"}})
	}
	return json.Marshal(&e)
}

// ReadAuditEvent reads what AuditEvent gave. Anything else is refused, an
// AuditEvent that says more or says it in other words among it: what is read
// is all that the event says.
func ReadAuditEvent(event []byte) (AuditRecord, error) {
	var e auditEvent
	if err := json.Unmarshal(event, &e, json.RejectUnknownMembers(true)); err != nil {
		return AuditRecord{}, fmt.Errorf("read audit event: %w", err)
	}
	r, err := e.record()
	if err != nil {
		return AuditRecord{}, fmt.Errorf("read audit event %s: %w", consent.Quote(e.ID), err)
	}
	again, err := AuditEvent(r)
	if err != nil {
		return AuditRecord{}, fmt.Errorf("read %w", err)
	}
	if !bytes.Equal(event, again) {
		return AuditRecord{}, fmt.Errorf("read audit event %s: it is not as a gateway writes it, so that it may say more than is read", consent.Quote(e.ID))
	}
	return r, nil
}

// record takes the event apart. It need not look for what AuditEvent never
// writes, since the bytes are compared afterwards.
func (e *auditEvent) record() (r AuditRecord, err error) {
	fail := func(what string) (AuditRecord, error) {
		return AuditRecord{}, errors.New(what + " is missing or of another form")
	}
	if len(e.Subtype) != 1 || len(e.Agent) != 3 || len(e.Entity) < 2 {
		return fail("its subtype, an agent or an entity")
	}
	r.ID = e.ID
	if r.Time, err = time.Parse(time.RFC3339Nano, e.Recorded); err != nil {
		return fail("its time")
	}
	r.Time = r.Time.UTC()
	r.Interaction = e.Subtype[0].Code
	if e.Type.Code == "110113" {
		r.Interaction = TokenDecision
	}
	r.Outcome, r.Clause, _ = strings.Cut(e.OutcomeDesc, ": ")
	client, server, user := &e.Agent[0], &e.Agent[1], &e.Agent[2]
	if client.Network != nil {
		r.Client = client.Network.Address
	}
	r.Grantee, r.Holder = user.Who.account(), server.Who.account()
	for i := range user.PurposeOfUse {
		if purpose := &user.PurposeOfUse[i]; len(purpose.Coding) == 1 {
			r.Purposes = append(r.Purposes, purpose.Coding[0].Code)
		}
	}
	for i := range e.Entity {
		entity := &e.Entity[i]
		switch {
		case entity.Query != nil:
			r.Target = string(entity.Query)
		case entity.What == nil:
			return fail("what an entity is")
		case entity.Description == asked:
			r.Target = entity.What.Reference
		case entity.Description == released, entity.Description == askedAndReleased:
			r.Resources = append(r.Resources, entity.What.Reference)
			if entity.Description == askedAndReleased {
				r.Target = entity.What.Reference
			}
		case i == 0:
			r.Grantor = entity.What.account()
			r.Patient = strings.TrimPrefix(entity.What.Reference, "Patient/")
		case entity.What.Identifier == nil:
			return fail("the identifier of an entity")
		case entity.Type.Code == "Consent":
			r.Grant = common.HexToHash(entity.What.Identifier.Value)
			if err := r.readDetails(entity.Detail); err != nil {
				return AuditRecord{}, err
			}
		default:
			r.Request = entity.What.Identifier.Value
		}
	}
	return r, nil
}

func (r *AuditRecord) readDetails(details []auditDetail) (err error) {
	for _, d := range details {
		if kind, ok := strings.CutPrefix(d.Type, releasedDetail); ok {
			if r.Released == nil {
				r.Released = make(map[string]int)
			}
			r.Released[kind], err = strconv.Atoi(d.ValueString)
		} else {
			r.Block, err = strconv.ParseUint(d.ValueString, 10, 64)
		}
		if err != nil {
			return fmt.Errorf("its detail %s is no number", consent.Quote(d.Type))
		}
	}
	return nil
}

// clientRole is the role of the client: the application that asks for a token,
// where data goes to in a read, and else where the request comes from.
func clientRole(token, reads bool) codeableConcept {
	switch {
	case token:
		return oneCode(dcm, "110150", "Application")
	case reads:
		return oneCode(dcm, "110152", "Destination Role ID")
	}
	return oneCode(dcm, "110153", "Source Role ID")
}

func oneCode(system, code, display string) codeableConcept {
	return codeableConcept{Coding: []coding{{system, code, display}}}
}

func account(a common.Address) auditReference {
	return auditReference{Identifier: &auditIdentifier{accountNamespace, a.Hex()}}
}

func (r *auditReference) account() common.Address {
	if r.Identifier == nil {
		return common.Address{}
	}
	return common.HexToAddress(r.Identifier.Value)
}

func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

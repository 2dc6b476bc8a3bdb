package fhir

import (
	"errors"
	"fmt"
	"strings"

	"github.com/assent-wallet/assent/consent"
)

// searchParameters are the search parameters of FHIR R4 that can be evaluated
// here, by resource type, each with the paths that it searches where they are
// not its name. Their types: concept is a token in a CodeableConcept or
// Coding, code a token in a code or boolean (whose system is implied, so that
// none may be given), identifier a token in an Identifier.
var searchParameters = map[string]struct{ concept, code, identifier, date string }{
	"Account":              {"type", "status", "identifier", "period=servicePeriod"},
	"AdverseEvent":         {"category event seriousness severity", "actuality", "identifier", "date"},
	"AllergyIntolerance":   {"clinical-status=clinicalStatus code=code,reaction.substance manifestation=reaction.manifestation route=reaction.exposureRoute verification-status=verificationStatus", "category criticality severity=reaction.severity type", "identifier", "date=recordedDate last-date=lastOccurrence onset=reaction.onset"},
	"Appointment":          {"appointment-type=appointmentType reason-code=reasonCode service-category=serviceCategory service-type=serviceType specialty", "status part-status=participant.status", "identifier", "date=start"},
	"CarePlan":             {"activity-code=activity.detail.code category", "intent status", "identifier", "date=period"},
	"CareTeam":             {"category", "status", "identifier", "date=period"},
	"ChargeItem":           {"code", "", "identifier", "entered-date=enteredDate occurrence=occurrence[x]"},
	"Claim":                {"priority", "status use", "identifier", "created"},
	"ClaimResponse":        {"", "outcome status use", "identifier", "created payment-date=payment.date"},
	"ClinicalImpression":   {"finding-code=finding.itemCodeableConcept", "status", "identifier", "date"},
	"Communication":        {"category medium", "status", "identifier", "received sent"},
	"CommunicationRequest": {"category medium", "priority status", "identifier", "authored=authoredOn"},
	"Composition":          {"category context=event.code section=section.code type", "confidentiality status", "identifier", "date period=event.period"},
	"Condition":            {"body-site=bodySite category clinical-status=clinicalStatus code evidence=evidence.code severity stage=stage.summary verification-status=verificationStatus", "", "identifier", "abatement-date=abatement[x] onset-date=onset[x] recorded-date=recordedDate"},
	"Consent":              {"action=provision.action category purpose=provision.purpose scope security-label=provision.securityLabel", "status", "identifier", "date=dateTime period=provision.period"},
	"Coverage":             {"type", "status", "identifier", ""},
	"DetectedIssue":        {"code", "", "identifier", "identified=identified[x]"},
	"DeviceRequest":        {"code=codeCodeableConcept", "intent status", "identifier", "authored-on=authoredOn event-date=occurrence[x]"},
	"DiagnosticReport":     {"category code conclusion=conclusionCode", "status", "identifier", "date=effective[x] issued"},
	"DocumentManifest":     {"type", "status", "identifier=masterIdentifier,identifier", "created"},
	"DocumentReference":    {"category event=context.event facility=context.facilityType format=content.format security-label=securityLabel setting=context.practiceSetting type", "contenttype=content.attachment.contentType language=content.attachment.language relation=relatesTo.code status", "identifier=masterIdentifier,identifier", "date period=context.period"},
	"Encounter":            {"class participant-type=participant.type reason-code=reasonCode special-arrangement=hospitalization.specialArrangement type", "status", "identifier", "date=period location-period=location.period"},
	"EpisodeOfCare":        {"type", "status", "identifier", "date=period"},
	"ExplanationOfBenefit": {"", "status", "identifier", "created"},
	"FamilyMemberHistory":  {"code=condition.code relationship sex", "status", "identifier", "date"},
	"Flag":                 {"", "", "identifier", "date=period"},
	"Goal":                 {"achievement-status=achievementStatus category", "lifecycle-status=lifecycleStatus", "identifier", "start-date=startDate target-date=target.dueDate"},
	"ImagingStudy":         {"bodysite=series.bodySite modality=series.modality reason=reasonCode", "status", "identifier", "started"},
	"Immunization":         {"reason-code=reasonCode status-reason=statusReason target-disease=protocolApplied.targetDisease vaccine-code=vaccineCode", "status", "identifier", "date=occurrence[x] reaction-date=reaction.date"},
	"List":                 {"code empty-reason=emptyReason", "status", "identifier", "date"},
	"Media":                {"modality site=bodySite type view", "status", "identifier", "created=created[x]"},

	"MedicationAdministration": {"code=medicationCodeableConcept reason-given=reasonCode reason-not-given=statusReason", "status", "identifier", "effective-time=effective[x]"},
	"MedicationDispense":       {"code=medicationCodeableConcept type", "status", "identifier", "whenhandedover=whenHandedOver whenprepared=whenPrepared"},
	"MedicationRequest":        {"category code=medicationCodeableConcept intended-performertype=performerType", "intent priority status", "identifier", "authoredon=authoredOn date=dosageInstruction.timing.event"},
	"MedicationStatement":      {"category code=medicationCodeableConcept", "status", "identifier", "effective=effective[x]"},

	"NutritionOrder":        {"additive=enteralFormula.additiveType formula=enteralFormula.baseFormulaType oraldiet=oralDiet.type supplement=supplement.type", "status", "identifier", "datetime=dateTime"},
	"Observation":           {"category code combo-code=code,component.code combo-data-absent-reason=dataAbsentReason,component.dataAbsentReason combo-value-concept=valueCodeableConcept,component.valueCodeableConcept component-code=component.code component-data-absent-reason=component.dataAbsentReason component-value-concept=component.valueCodeableConcept data-absent-reason=dataAbsentReason method value-concept=valueCodeableConcept", "status", "identifier", "date=effective[x] value-date=value[x]"},
	"Patient":               {"language=communication.language", "active gender", "identifier", "birthdate=birthDate death-date=deceased[x]"},
	"Procedure":             {"category code reason-code=reasonCode", "status", "identifier", "date=performed[x]"},
	"QuestionnaireResponse": {"", "status", "identifier", "authored"},
	"RelatedPerson":         {"relationship", "active gender", "identifier", "birthdate=birthDate"},
	"RiskAssessment":        {"method risk=prediction.qualitativeRisk", "", "identifier", "date=occurrence[x]"},
	"ServiceRequest":        {"body-site=bodySite category code performer-type=performerType", "intent priority status", "identifier requisition", "authored=authoredOn occurrence=occurrence[x]"},
	"Specimen":              {"bodysite=collection.bodySite container=container.type type", "status", "accession=accessionIdentifier identifier", "collected=collection.collected[x]"},
	"SupplyDelivery":        {"", "status", "identifier", ""},
	"SupplyRequest":         {"category", "status", "identifier", "date=authoredOn"},
	"Task":                  {"business-status=businessStatus code performer=performerType", "intent priority status", "group-identifier=groupIdentifier identifier", "authored-on=authoredOn modified=lastModified period=executionPeriod"},
	"VisionPrescription":    {"", "status", "identifier", "datewritten=dateWritten"},
}

// everyType are the search parameters of FHIR's Resource.
var everyType = map[string]criterion{
	"_id":          {kind: exact, paths: "id"},
	"_lastUpdated": {kind: date, paths: "meta.lastUpdated"},
	"_profile":     {kind: exact, paths: "meta.profile"},
	"_security":    {kind: concept, paths: "meta.security"},
	"_source":      {kind: exact, paths: "meta.source"},
	"_tag":         {kind: concept, paths: "meta.tag"},
}

// kind is how a value of a search parameter is read and compared.
type kind int

const (
	exact      kind = iota // an id or uri: the whole string
	concept                // a token in a CodeableConcept or Coding
	code                   // a token in a code or boolean
	identifier             // a token in an Identifier
	date
)

// criterion is one search parameter with its value, ready to compare: any of
// the alternatives at any of the paths.
type criterion struct {
	name  string
	kind  kind
	paths string // divided by ","
	any   []alternative
}

// alternative is one of the values that a comma divides.
type alternative struct {
	system      string // of a token
	systemGiven bool   // it had a "|": an empty system means none
	text        string // of a token, id or uri; empty in "system|": any code
	prefix      string // of a date
	interval    interval
}

// parameter finds a search parameter of the resource type.
func parameter(resource, name string) (criterion, bool) {
	if c, ok := everyType[name]; ok {
		c.name = name
		return c, true
	}
	of := searchParameters[resource]
	for kind, names := range map[kind]string{concept: of.concept, code: of.code, identifier: of.identifier, date: of.date} {
		for entry := range strings.FieldsSeq(names) {
			at, paths, renamed := strings.Cut(entry, "=")
			if !renamed {
				paths = at
			}
			if at == name {
				return criterion{name: name, kind: kind, paths: paths}, true
			}
		}
	}
	return criterion{}, false
}

// newCriterion reads one criterion of a filter for the resource type. The error
// names the parameter.
func newCriterion(resource string, c consent.Criterion) (criterion, error) {
	fail := func(why string) (criterion, error) {
		return criterion{}, fmt.Errorf("search parameter %s of %s: %s", consent.Quote(c.Name), resource, why)
	}
	if strings.Contains(c.Name, ":") {
		return fail("no modifier is evaluated here")
	}
	result, known := parameter(resource, c.Name)
	if !known {
		return fail("not evaluated here")
	}
	for _, text := range splitUnescaped(c.Value, ',') {
		alternative, err := result.kind.parse(text)
		if err != nil {
			return fail(consent.Quote(text) + ": " + err.Error())
		}
		result.any = append(result.any, alternative)
	}
	return result, nil
}

func (k kind) parse(text string) (a alternative, err error) {
	if k == date {
		a.prefix = "eq"
		if len(text) > 2 && (text[0] < '0' || text[0] > '9') {
			a.prefix, text = text[:2], text[2:]
		}
		switch a.prefix {
		case "eq", "ge", "gt", "le", "lt":
		default:
			return a, errors.New("of the prefixes only eq, ge, gt, le and lt are evaluated here")
		}
		a.interval, err = parseDate(text)
		return a, err
	}
	if k == exact {
		a.text, err = unescape(text)
	} else if parts := splitUnescaped(text, '|'); len(parts) > 2 {
		return a, errors.New(`want at most one "|"`)
	} else {
		if len(parts) == 2 {
			a.systemGiven = true
			if a.system, err = unescape(parts[0]); err != nil {
				return a, err
			}
		}
		a.text, err = unescape(parts[len(parts)-1])
	}
	switch {
	case err != nil:
		return a, err
	case a.text == "" && a.system == "":
		return a, errors.New("it is empty")
	case k == code && a.systemGiven:
		return a, errors.New("the system of a code is implied and none can be given")
	}
	return a, nil
}

// splitUnescaped splits at a separator that no "\" stands before.
func splitUnescaped(s string, separator byte) (parts []string) {
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case separator:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unescape resolves the escapes of FHIR search: \, \| \$ \\.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) || strings.IndexByte(`,|$\`, s[i]) < 0 {
				return "", errors.New(`after "\" want one of , | $ \`)
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), nil
}

// matches tells whether a resource meets the criterion. An element that is
// missing or of another form does not match.
func (c *criterion) matches(resource *value) bool {
	for path := range strings.SplitSeq(c.paths, ",") {
		for _, v := range resource.find(path) {
			for i := range c.any {
				if c.kind.match(v, &c.any[i]) {
					return true
				}
			}
		}
	}
	return false
}

func (k kind) match(v *value, a *alternative) bool {
	switch k {
	case exact:
		return v.kind == '"' && v.text == a.text
	case code:
		return (v.kind == '"' || v.kind == 't' || v.kind == 'f') && v.text == a.text
	case concept:
		if v.kind != '{' {
			return false
		}
		for _, coding := range v.items("coding") {
			if a.token(coding.string("system"), coding.string("code")) {
				return true
			}
		}
		return a.token(v.string("system"), v.string("code"))
	case identifier:
		return v.kind == '{' && a.token(v.string("system"), v.string("value"))
	case date:
		at, ok := v.date()
		return ok && at.compare(a.prefix, a.interval)
	}
	return false
}

// token compares a token: "code" in any system, "system|code", "|code" without
// a system, "system|" for any code of the system. Codes are compared as they
// are written.
func (a *alternative) token(system, code string) bool {
	return code != "" && (a.text == "" || a.text == code) && (!a.systemGiven || a.system == system)
}

package fhir

import (
	"strings"
)

// compartment is the patient compartment of FHIR R4
// (http://hl7.org/fhir/CompartmentDefinition/patient): for each type that can
// be a patient's own, the search parameters that make it so, each with the
// paths that it stands for where they are not its name.
var compartment = map[string]string{
	"Account":                     "subject",
	"AdverseEvent":                "subject",
	"AllergyIntolerance":          "patient recorder asserter",
	"Appointment":                 "actor=participant.actor",
	"AppointmentResponse":         "actor",
	"AuditEvent":                  "patient=agent.who,entity.what",
	"Basic":                       "patient=subject author",
	"BodyStructure":               "patient",
	"CarePlan":                    "patient=subject performer=activity.detail.performer",
	"CareTeam":                    "patient=subject participant=participant.member",
	"ChargeItem":                  "subject",
	"Claim":                       "patient payee=payee.party",
	"ClaimResponse":               "patient",
	"ClinicalImpression":          "subject",
	"Communication":               "subject sender recipient",
	"CommunicationRequest":        "subject sender recipient requester",
	"Composition":                 "subject author attester=attester.party",
	"Condition":                   "patient=subject asserter",
	"Consent":                     "patient",
	"Coverage":                    "policy-holder=policyHolder subscriber beneficiary payor",
	"CoverageEligibilityRequest":  "patient",
	"CoverageEligibilityResponse": "patient",
	"DetectedIssue":               "patient",
	"DeviceRequest":               "subject performer",
	"DeviceUseStatement":          "subject",
	"DiagnosticReport":            "subject",
	"DocumentManifest":            "subject author recipient",
	"DocumentReference":           "subject author",
	"Encounter":                   "subject",
	"EnrollmentRequest":           "subject=candidate",
	"EpisodeOfCare":               "patient",
	"ExplanationOfBenefit":        "patient payee=payee.party",
	"FamilyMemberHistory":         "patient",
	"Flag":                        "patient=subject",
	"Goal":                        "patient=subject",
	"Group":                       "member=member.entity",
	"ImagingStudy":                "patient=subject",
	"Immunization":                "patient",
	"ImmunizationEvaluation":      "patient",
	"ImmunizationRecommendation":  "patient",
	"Invoice":                     "subject patient=subject recipient",
	"List":                        "subject source",
	"MeasureReport":               "patient=subject",
	"Media":                       "subject",
	"MedicationAdministration":    "patient=subject performer=performer.actor subject",
	"MedicationDispense":          "subject patient=subject receiver",
	"MedicationRequest":           "subject",
	"MedicationStatement":         "subject",
	"MolecularSequence":           "patient",
	"NutritionOrder":              "patient",
	"Observation":                 "subject performer",
	"Patient":                     "link=link.other",
	"Person":                      "patient=link.target",
	"Procedure":                   "patient=subject performer=performer.actor",
	"Provenance":                  "patient=target",
	"QuestionnaireResponse":       "subject author",
	"RelatedPerson":               "patient",
	"RequestGroup":                "subject participant=action.participant",
	"ResearchSubject":             "individual",
	"RiskAssessment":              "subject",
	"Schedule":                    "actor",
	"ServiceRequest":              "subject performer",
	"Specimen":                    "subject",
	"SupplyDelivery":              "patient",
	"SupplyRequest":               "subject=deliverTo",
	"Task":                        "patient=for focus",
	"VisionPrescription":          "patient",
}

// outside are the resource types of R4 that are never a patient's own.
const outside = " ActivityDefinition Binary BiologicallyDerivedProduct Bundle CapabilityStatement CatalogEntry " +
	"ChargeItemDefinition CodeSystem CompartmentDefinition ConceptMap Contract Device DeviceDefinition DeviceMetric " +
	"EffectEvidenceSynthesis Endpoint EnrollmentResponse EventDefinition Evidence EvidenceVariable ExampleScenario " +
	"GraphDefinition GuidanceResponse HealthcareService ImplementationGuide InsurancePlan Library Linkage Location " +
	"Measure Medication MedicationKnowledge MedicinalProduct MedicinalProductAuthorization " +
	"MedicinalProductContraindication MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction " +
	"MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect " +
	"MessageDefinition MessageHeader NamingSystem ObservationDefinition OperationDefinition OperationOutcome Organization " +
	"OrganizationAffiliation PaymentNotice PaymentReconciliation PlanDefinition Practitioner PractitionerRole Questionnaire " +
	"ResearchDefinition ResearchElementDefinition ResearchStudy RiskEvidenceSynthesis SearchParameter Slot " +
	"SpecimenDefinition StructureDefinition StructureMap Subscription Substance SubstanceNucleicAcid SubstancePolymer " +
	"SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification " +
	"TerminologyCapabilities TestReport TestScript ValueSet VerificationResult "

// subjects are the elements that say whom a resource is about. Where one of them
// is there, it must be the patient: whoever performed or wrote something about
// another person does not have it in their own record.
const subjects = " subject patient beneficiary individual candidate for deliverTo "

// isType tells whether FHIR R4 has the resource type.
func isType(kind string) bool {
	_, own := compartment[kind]
	return own || kind != "" && strings.Contains(outside, " "+kind+" ")
}

// tie is the one patient of a record, in all ways that a reference may name
// them.
type tie struct {
	id      string // logical id; may be empty where fullURL is not
	fullURL string // of the Patient entry, without version; may be empty
	base    string // of a RESTful fullURL, else empty
}

func newTie(id, fullURL string) tie {
	t := tie{id: id, fullURL: unversioned(fullURL)}
	if base, kind, of, ok := splitReference(t.fullURL); ok && kind == "Patient" {
		t.base = base
		if t.id == "" {
			t.id = of
		}
	}
	return t
}

// unversioned cuts "/_history/2" off a reference.
func unversioned(reference string) string {
	at, _, _ := strings.Cut(reference, "/_history/")
	return at
}

// splitReference takes a RESTful reference apart: https://h/fhir/Patient/1 is
// the base https://h/fhir, the type Patient and the id 1. The base of a
// relative reference is empty.
func splitReference(reference string) (base, kind, id string, ok bool) {
	rest, id, found := cutLast(unversioned(reference))
	if !found || !isID(id) {
		return "", "", "", false
	}
	base, kind, based := cutLast(rest)
	if kind == "" || kind[0] < 'A' || kind[0] > 'Z' || strings.ContainsAny(kind, "?#:") || based != strings.Contains(base, "://") {
		return "", "", "", false
	}
	return base, kind, id, true
}

func cutLast(s string) (before, after string, found bool) {
	if at := strings.LastIndexByte(s, '/'); at >= 0 {
		return s[:at], s[at+1:], true
	}
	return "", s, false
}

// isID tells whether s is a logical id of FHIR.
func isID(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 64
}

// is tells whether a reference names the patient. base is that of the fullUrl
// of the entry that the reference stands in, empty where it has none. The same
// id at another server is another patient.
func (t *tie) is(reference, base string) bool {
	if strings.HasPrefix(reference, "#") { // within the resource
		return false
	}
	if t.fullURL != "" && unversioned(reference) == t.fullURL {
		return true
	}
	at, kind, id, ok := splitReference(reference)
	switch {
	case !ok || kind != "Patient" || id != t.id || t.id == "":
		return false
	case at == "":
		return t.base == "" || base == "" || t.base == base
	case t.base != "":
		return at == t.base
	}
	return at == base
}

// inCompartment tells whether a resource is in the patient's compartment and
// about them.
func (r *resource) inCompartment(t *tie) bool {
	if r.kind == "Patient" { // another one, which links to this one
		return false
	}
	in := false
	for parameter := range strings.FieldsSeq(compartment[r.kind]) {
		paths := parameter[strings.IndexByte(parameter, '=')+1:]
		for path := range strings.SplitSeq(paths, ",") {
			for _, v := range r.value.find(path) {
				if t.is(v.string("reference"), r.base) {
					in = true
				} else if strings.Contains(subjects, " "+path+" ") {
					return false
				}
			}
		}
	}
	return in
}

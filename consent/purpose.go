package consent

import "slices"

// purposes are HL7 v3 PurposeOfUse codes in the words that a person reads.
var purposes = map[string]string{
	"HMARKT":      "marketing",
	"HOPERAT":     "healthcare operations",
	"CAREMGT":     "care management",
	"DONAT":       "donation",
	"FRAUD":       "finding fraud",
	"GOV":         "government",
	"HACCRED":     "health accreditation",
	"HCOMPL":      "health compliance",
	"HDECD":       "after a death",
	"HDIRECT":     "a directory",
	"HDM":         "healthcare delivery management",
	"HLEGAL":      "legal matters",
	"HOUTCOMS":    "measuring outcomes",
	"HPRGRP":      "health programme reporting",
	"HQUALIMP":    "health quality improvement",
	"HSYSADMIN":   "health system administration",
	"LABELING":    "labeling",
	"METAMGT":     "metadata management",
	"MEMADMIN":    "member administration",
	"MILCDM":      "military command",
	"PATADMIN":    "patient administration",
	"PATSFTY":     "patient safety",
	"PERFMSR":     "measuring performance",
	"RECORDMGT":   "records management",
	"SYSDEV":      "system development",
	"HTEST":       "testing with health data",
	"TRAIN":       "training",
	"MLTRAINING":  "machine learning training",
	"HPAYMT":      "payment for healthcare",
	"CLMATTCH":    "claim attachment",
	"COVAUTH":     "coverage authorization",
	"COVERAGE":    "insurance coverage",
	"ELIGDTRM":    "eligibility determination",
	"ELIGVER":     "eligibility verification",
	"ENROLLM":     "enrollment",
	"MILDCRG":     "military discharge",
	"REMITADV":    "remittance advice",
	"PMTDS":       "decisions on payment",
	"HRESCH":      "research",
	"BIORCH":      "biomedical research",
	"CLINTRCH":    "clinical trial research",
	"CLINTRCHNPC": "clinical trial research without patient care",
	"CLINTRCHPC":  "clinical trial research with patient care",
	"PRECLINTRCH": "preclinical trial research",
	"DSRCH":       "disease specific healthcare research",
	"POARCH":      "population origins or ancestry healthcare research",
	"TRANSRCH":    "translational healthcare research",
	"PATRQT":      "what the patient asked for",
	"FAMRQT":      "what the family asked for",
	"PWATRNY":     "a power of attorney",
	"SUPNWK":      "a support network",
	"PUBHLTH":     "public health",
	"DISASTER":    "a disaster",
	"THREAT":      "a threat",
	"TREAT":       "treatment",
	"CLINTRL":     "a clinical trial",
	"COC":         "coordination of care",
	"ETREAT":      "emergency treatment",
	"BTG":         "breaking the glass in an emergency",
	"ERTREAT":     "emergency room treatment",
	"POPHLTH":     "population health",
	"TREATDS":     "decisions on treatment",
}

// emergencyPurposes are those of HL7 at and below ETREAT, and those that serve
// no patient in particular, whose use a person cannot foresee.
var emergencyPurposes = []string{"ETREAT", "BTG", "ERTREAT", "DISASTER", "THREAT"}

// knownPurpose tells whether the code is one of HL7 v3 PurposeOfUse. Others are
// compared like any, but mean nothing to a reader.
func knownPurpose(code string) bool { return purposes[code] != "" }

func isEmergency(purpose string) bool { return slices.Contains(emergencyPurposes, purpose) }

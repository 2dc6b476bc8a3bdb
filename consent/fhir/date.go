package fhir

import (
	"errors"
	"math"
	"strings"
	"time"
)

// interval is the time that a FHIR date stands for: from inclusive, until
// exclusive. A date given in part is all of the year, month or day in UTC; a
// time is as long as its last digit.
type interval struct {
	from, until     time.Time
	noStart, noStop bool // a Period without that end
}

var errDate = errors.New("want YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with its time zone, as in 2024-05-01T09:30:00Z")

// parseDate reads a date, dateTime or instant of FHIR R4. A time without time
// zone, which only a search may give, is refused: whose it is nobody can tell.
func parseDate(s string) (interval, error) {
	const day = "0000-00-00"
	clock, zoned := s, false
	if len(s) > len(day) {
		if at := strings.IndexAny(s[len(day):], "Z+-"); at >= 0 {
			clock, zoned = s[:len(day)+at], true
			// Go's layouts would take other widths too.
			if zone := s[len(clock):]; zone != "Z" && !shaped(zone[1:], "00:00") {
				return interval{}, errDate
			}
		}
	}
	whole, fraction, fractional := strings.Cut(clock, ".")
	if fractional && (fraction == "" || len(whole) != len("0000-00-00T00:00:00") || strings.Trim(fraction, "0123456789") != "") {
		return interval{}, errDate
	}
	for _, form := range []struct {
		shape, layout       string
		years, months, days int
		exact               time.Duration
	}{
		{shape: "0000", layout: "2006", years: 1},
		{shape: "0000-00", layout: "2006-01", months: 1},
		{shape: day, layout: "2006-01-02", days: 1},
		{shape: "0000-00-00T00:00", layout: "2006-01-02T15:04Z07:00", exact: time.Minute},
		{shape: "0000-00-00T00:00:00", layout: "2006-01-02T15:04:05Z07:00", exact: time.Second},
	} {
		if !shaped(whole, form.shape) || zoned != (form.exact != 0) {
			continue
		}
		from, err := time.Parse(form.layout, s)
		if err != nil || from.Year() == 0 {
			return interval{}, errDate
		}
		if fractional {
			form.exact = time.Duration(math.Pow10(9 - min(9, len(fraction))))
		}
		return interval{from: from, until: from.AddDate(form.years, form.months, form.days).Add(form.exact)}, nil
	}
	return interval{}, errDate
}

// shaped tells whether s has digits where shape has 0, and else is shape.
func shaped(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		if digit := '0' <= s[i] && s[i] <= '9'; digit != (shape[i] == '0') || !digit && s[i] != shape[i] {
			return false
		}
	}
	return true
}

// date reads an element of type date, dateTime, instant or Period. A Timing
// has no one interval, and is none.
func (v *value) date() (interval, bool) {
	switch v.kind {
	case '"':
		i, err := parseDate(v.text)
		return i, err == nil
	case '{':
		start, end := v.member("start"), v.member("end")
		if start == nil && end == nil {
			return interval{}, false
		}
		var i interval
		if start == nil {
			i.noStart = true
		} else if at, ok := start.date(); ok && start.kind == '"' {
			i.from = at.from
		} else {
			return interval{}, false
		}
		if end == nil {
			i.noStop = true
		} else if at, ok := end.date(); ok && end.kind == '"' {
			i.until = at.until
		} else {
			return interval{}, false
		}
		return i, true
	}
	return interval{}, false
}

// hull is the shortest interval that holds both.
func (i interval) hull(j interval) interval {
	if j.noStart || !i.noStart && j.from.Before(i.from) {
		i.from, i.noStart = j.from, j.noStart
	}
	if j.noStop || !i.noStop && j.until.After(i.until) {
		i.until, i.noStop = j.until, j.noStop
	}
	return i
}

// within tells whether i lies wholly inside [from, until), in unix seconds, 0
// for no bound.
func (i interval) within(from, until uint64) bool {
	if from != 0 {
		if i.noStart || i.from.Unix() < 0 || uint64(i.from.Unix()) < from {
			return false
		}
	}
	if until != 0 {
		if i.noStop || i.until.Unix() >= 0 && (uint64(i.until.Unix()) > until || uint64(i.until.Unix()) == until && i.until.Nanosecond() > 0) {
			return false
		}
	}
	return true
}

// compare is FHIR's date search (R4, "Search", prefixes), by the letter: gt and lt
// match where part of i, the date in the resource, lies above or below value,
// that of the search; eq where all of i lies within value; ge and le are both.
func (i interval) compare(prefix string, value interval) bool {
	contained := !i.noStart && !i.noStop && !i.from.Before(value.from) && !i.until.After(value.until)
	above := i.noStop || i.until.After(value.until)
	below := i.noStart || i.from.Before(value.from)
	switch prefix {
	case "eq":
		return contained
	case "gt":
		return above
	case "ge":
		return above || contained
	case "lt":
		return below
	case "le":
		return below || contained
	}
	return false
}

// clinicalDates are the elements that give the clinical date of a resource:
// when what it tells of was so. Groups are divided by ";": the first that is
// there counts, whether it can be read or not, because a later one would tell
// of another time. Within a group (paths divided by ",") all dates count, from
// the first to the last. Types that are not here, Patient among them, have no
// clinical date.
var clinicalDates = map[string]string{
	"Account":                     "servicePeriod",
	"AdverseEvent":                "date;detected;recordedDate",
	"AllergyIntolerance":          "onset[x];recordedDate",
	"Appointment":                 "start,end",
	"AppointmentResponse":         "start,end",
	"AuditEvent":                  "period;recorded",
	"Basic":                       "created",
	"CarePlan":                    "period;created",
	"CareTeam":                    "period",
	"ChargeItem":                  "occurrence[x];enteredDate",
	"Claim":                       "billablePeriod,item.serviced[x];created",
	"ClaimResponse":               "created",
	"ClinicalImpression":          "effective[x];date",
	"Communication":               "sent;received",
	"CommunicationRequest":        "occurrence[x];authoredOn",
	"Composition":                 "event.period;date",
	"Condition":                   "onset[x];recordedDate",
	"Consent":                     "dateTime",
	"Coverage":                    "period",
	"CoverageEligibilityRequest":  "serviced[x];created",
	"CoverageEligibilityResponse": "serviced[x];created",
	"DetectedIssue":               "identified[x]",
	"DeviceRequest":               "occurrence[x];authoredOn",
	"DeviceUseStatement":          "timing[x];recordedOn",
	"DiagnosticReport":            "effective[x]",
	"DocumentManifest":            "created",
	"DocumentReference":           "context.period;date",
	"Encounter":                   "period",
	"EnrollmentRequest":           "created",
	"EpisodeOfCare":               "period",
	"ExplanationOfBenefit":        "billablePeriod,item.serviced[x];created",
	"FamilyMemberHistory":         "date",
	"Flag":                        "period",
	"Goal":                        "start[x];statusDate",
	"ImagingStudy":                "started",
	"Immunization":                "occurrence[x]",
	"ImmunizationEvaluation":      "date",
	"ImmunizationRecommendation":  "date",
	"Invoice":                     "date",
	"List":                        "date",
	"MeasureReport":               "period",
	"Media":                       "created[x]",
	"MedicationAdministration":    "effective[x]",
	"MedicationDispense":          "whenHandedOver;whenPrepared",
	"MedicationRequest":           "authoredOn",
	"MedicationStatement":         "effective[x];dateAsserted",
	"NutritionOrder":              "dateTime",
	"Observation":                 "effective[x]",
	"Procedure":                   "performed[x]",
	"Provenance":                  "occurred[x];recorded",
	"QuestionnaireResponse":       "authored",
	"RequestGroup":                "authoredOn",
	"ResearchSubject":             "period",
	"RiskAssessment":              "occurrence[x]",
	"Schedule":                    "planningHorizon",
	"ServiceRequest":              "occurrence[x];authoredOn",
	"Specimen":                    "collection.collected[x];receivedTime",
	"SupplyDelivery":              "occurrence[x]",
	"SupplyRequest":               "occurrence[x];authoredOn",
	"Task":                        "executionPeriod;authoredOn",
	"VisionPrescription":          "dateWritten",
}

// clinicalDate gives the clinical date of a resource of the type, if it has
// one that can be read.
func clinicalDate(resource *value, kind string) (date interval, dated bool) {
	groups := clinicalDates[kind]
	for groups != "" && !dated {
		var group string
		group, groups, _ = strings.Cut(groups, ";")
		for path := range strings.SplitSeq(group, ",") {
			for _, v := range resource.find(path) {
				at, ok := v.date()
				if !ok {
					return interval{}, false
				}
				if dated {
					at = date.hull(at)
				}
				date, dated = at, true
			}
		}
	}
	return date, dated
}

# What of a Synthea bundle some scopes admit, worked out without this program:
#   jq -f counts.jq RECORD.json
# gives {scope: {type: count}}. The lists of codes were picked by reading every
# code and display text of the five bundles.

def reproductive: [
  "10383002", "156073000", "169230002", "19169002", "252160004", "301807007", "35999006", "386394001", "424441002",
  "424619006", "51116004", "65200003", "68254000", "714812005", "72892002", "755621000000101",
  "1000126", "1367439", "389221", "748856", "749762", "751905", "831533"];
def mental: ["171207006"];
def shared: ["Organization", "Practitioner"];

def codes: [.. | objects | .code? | strings];
def targets: [paths(type == "object" and has("reference")) as $p
  | select([$p[] | strings] | last != "encounter") | getpath($p).reference];
def has_any($list): any(.[]; IN($list[]));

# The fullUrls of all that is of the list of codes, and of all that refers to
# it, and so on.
def closure($list): . as $entries
  | [.[] | select(.resource | codes | has_any($list)) | .fullUrl]
  | until(. as $in | all($entries[]; (.fullUrl | IN($in[])) or (.resource | targets | has_any($in) | not));
      . as $in | $in + [$entries[] | select((.fullUrl | IN($in[]) | not) and (.resource | targets | has_any($in))) | .fullUrl]);

def count: map(.resourceType) | group_by(.) | map({key: .[0], value: length}) | from_entries;
def has_coding($element; $system; $code): [.[$element] | .. | objects | select(has("code") and .system == $system and .code == $code)] | length > 0;
def utc: capture("^(?<t>.{19})(\\.\\d+)?(?<z>Z|[+-]\\d\\d:\\d\\d)$")
  | (.t + "Z" | fromdate) - (if .z == "Z" then 0 else (.z | (if .[0:1] == "-" then -1 else 1 end) * ((.[1:3] | tonumber) * 3600 + (.[4:6] | tonumber) * 60)) end);
# Seconds from and until (exclusive: a time with seconds lasts one second).
def span: if type == "string" then {from: utc, until: (utc + 1)} else {from: (.start | utc), until: ((.end | utc) + 1)} end;
def inside($f; $u): span | .from >= $f and .until <= $u;
def clinical_date:
  if .resourceType == "Observation" or .resourceType == "DiagnosticReport" then .effectiveDateTime // .effectivePeriod
  elif .resourceType == "Condition" then .onsetDateTime // .recordedDate
  elif .resourceType == "Procedure" then .performedDateTime // .performedPeriod
  elif .resourceType == "Immunization" then .occurrenceDateTime
  elif .resourceType == "MedicationRequest" then .authoredOn
  elif .resourceType == "AllergyIntolerance" then .onsetDateTime // .recordedDate
  elif .resourceType == "Encounter" or .resourceType == "CarePlan" then .period
  elif .resourceType == "ImagingStudy" then .started
  else null end;

(.entry | map(select(.resource.resourceType | IN(shared[]) | not))) as $own
| ($own | closure(reproductive)) as $r
| ($own | closure(mental)) as $m
| [$own[].resource] as $all
| [$own[] | select(.fullUrl | IN(($r + $m)[]) | not) | .resource] as $plain
| {
  "*, every category": ($all | count),
  "*": ($plain | count),
  "*, reproductive": ([$own[] | select(.fullUrl | IN($m[]) | not) | .resource] | count),
  "*, mental-health": ([$own[] | select(.fullUrl | IN($r[]) | not) | .resource] | count),
  "Observation?category=laboratory": ([$plain[] | select(.resourceType == "Observation"
      and any(.category[]?.coding[]?; .code == "laboratory"))] | count),
  "Observation?code=http://loinc.org|8302-2,http://loinc.org|29463-7": ([$plain[] | select(.resourceType == "Observation"
      and any(.code.coding[]; .system == "http://loinc.org" and IN(.code; "8302-2", "29463-7")))] | count),
  "Observation?date=ge2015&date=lt2017": ([$plain[] | select(.resourceType == "Observation"
      and (.effectiveDateTime | utc) >= 1420070400 and (.effectiveDateTime | utc) < 1483228800)] | count),
  "Condition?clinical-status=active": ([$plain[] | select(.resourceType == "Condition"
      and any(.clinicalStatus.coding[]; .code == "active"))] | count),
  "Condition?clinical-status=resolved, every category": ([$all[] | select(.resourceType == "Condition"
      and any(.clinicalStatus.coding[]; .code == "resolved"))] | count),
  "MedicationRequest?status=stopped, every category": ([$all[] | select(.resourceType == "MedicationRequest" and .status == "stopped")] | count),
  "MedicationRequest?authoredon=ge2010, every category": ([$all[] | select(.resourceType == "MedicationRequest"
      and (.authoredOn | utc) >= 1262304000)] | count),
  "Encounter?class=http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER": ([$plain[] | select(.resourceType == "Encounter" and .class.code == "EMER")] | count),
  "Immunization?vaccine-code=140": ([$plain[] | select(.resourceType == "Immunization" and any(.vaccineCode.coding[]; .code == "140"))] | count),
  "ExplanationOfBenefit": {},
  "Patient": ([$plain[] | select(.resourceType == "Patient")] | count),
  "Practitioner": {},
  "clinical types, 2014 to 2016": ([$plain[] | select(clinical_date as $d | $d != null and
      (if ($d | type) == "object" and ($d.end == null) then false else ($d | inside(1388534400; 1483228800)) end))] | count)
}

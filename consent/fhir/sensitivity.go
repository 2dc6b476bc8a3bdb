package fhir

import (
	"strings"
	"sync"

	"github.com/assent-wallet/assent/consent"
)

// Unrecognised says what makes data sensitive and is not seen here, in words
// for whoever has to answer for a release.
const Unrecognised = "Not recognised as sensitive unless labelled in meta.security: free text (narrative, notes, display texts, " +
	"file names), images, PDF and other attachments; codes that are not in the table of this program or are of another " +
	"system than SNOMED CT, ICD-10, LOINC or RxNorm (CPT, CVX, ATC and national codes among them); medicines that serve several ends, " +
	"such as misoprostol, opioids or medicines for sleep; most genetic tests and findings; tobacco; menopause; where or by whom a patient was treated; " +
	"what only the time, the price or the order of items tells; and what stands behind a reference out of the bundle."

// recognise adds the categories of a coding anywhere in the resource. A
// security label counts by its code, whatever system it names.
func (r *resource) recognise(system, code string, label bool) {
	of := vocabularyOf(system)
	if label || of == actCode {
		r.sensitivities |= consent.SensitivityOf(strings.ToUpper(code))
	}
	if label || of == confidentiality {
		r.restricted = r.restricted || strings.EqualFold(code, "R") || strings.EqualFold(code, "V")
	}
	r.sensitivities |= of.categories(code)
}

// vocabulary is a code system that is known here.
type vocabulary int

const (
	other vocabulary = iota
	none             // no system is given: the code may be of any
	snomed
	loinc
	rxnorm
	icd10 // ICD-10 and its national editions, which share their blocks
	actCode
	confidentiality
)

// vocabularyOf knows the URL and the OID of a code system.
func vocabularyOf(system string) vocabulary {
	switch system {
	case "":
		return none
	case "http://snomed.info/sct":
		return snomed
	case "http://loinc.org":
		return loinc
	case "http://unitsofmeasure.org":
		return other
	}
	system = strings.ToLower(system)
	system = strings.TrimPrefix(strings.TrimPrefix(system, "http://"), "https://")
	system = strings.TrimSuffix(strings.TrimPrefix(system, "www."), "/")
	switch system {
	case "loinc.org", "urn:oid:2.16.840.1.113883.6.1":
		return loinc
	case "snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96":
		return snomed
	case "nlm.nih.gov/research/umls/rxnorm", "urn:oid:2.16.840.1.113883.6.88":
		return rxnorm
	case "urn:oid:2.16.840.1.113883.6.3", "urn:oid:2.16.840.1.113883.6.90":
		return icd10
	case "terminology.hl7.org/codesystem/v3-actcode", "hl7.org/fhir/v3/actcode", "urn:oid:2.16.840.1.113883.5.4":
		return actCode
	case "terminology.hl7.org/codesystem/v3-confidentiality", "hl7.org/fhir/v3/confidentiality", "urn:oid:2.16.840.1.113883.5.25":
		return confidentiality
	}
	switch {
	case strings.HasPrefix(system, "snomed.info/sct/"):
		return snomed
	case strings.HasPrefix(system, "hl7.org/fhir/sid/icd-10"), strings.HasSuffix(system, "/icd-10-gm"):
		return icd10
	}
	return other
}

// categories gives the categories of a code, or none.
func (v vocabulary) categories(code string) (in consent.Sensitivities) {
	table := clinicalCodes()
	switch v {
	case none:
		for _, known := range []vocabulary{snomed, loinc, rxnorm, icd10} {
			in |= known.categories(code)
		}
	case icd10:
		code = strings.ToUpper(strings.ReplaceAll(code, ".", ""))
		for end := 3; end <= len(code); end++ {
			in |= table[icd10][code[:end]]
		}
	default:
		in = table[v][code]
	}
	return in
}

// clinicalCodes reads the table below.
var clinicalCodes = sync.OnceValue(func() map[vocabulary]map[string]consent.Sensitivities {
	table := make(map[vocabulary]map[string]consent.Sensitivities)
	for _, block := range clinicalCodeBlocks {
		of := table[block.of]
		if of == nil {
			of = make(map[string]consent.Sensitivities)
			table[block.of] = of
		}
		for line := range strings.SplitSeq(block.codes, "\n") {
			for code := range strings.FieldsSeq(line) {
				if !isDigit(code[0]) && !isDigit(code[min(1, len(code)-1)]) {
					break // the words of the line
				}
				first, last, isBlock := strings.Cut(code, "-")
				if block.of != icd10 || !isBlock {
					of[strings.ReplaceAll(code, ".", "")] |= block.category
					continue
				}
				for n := number(first); n <= number(last); n++ {
					of[first[:1]+string([]byte{byte('0' + n/10), byte('0' + n%10)})] |= block.category
				}
			}
		}
	}
	return table
})

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number gives the two digits of an ICD-10 category.
func number(category string) int { return int(category[1]-'0')*10 + int(category[2]-'0') }

// clinicalCodeBlocks is the table of clinical codes by sensitive category: per
// line some codes and then, in words, what they are. ICD-10 codes stand for all
// that begins with them, and F01-F09 for a block.
//
// It has what Synthea and the examples of US Core write, the questionnaires
// and tests that US Core names, and the blocks of ICD-10-CM whose title is the
// category. It is no complete list of any category. Code systems are named as
// in HL7 Terminology; names of codes are shortened.
var clinicalCodeBlocks = []struct {
	category consent.Sensitivities
	of       vocabulary
	codes    string
}{
	{consent.MentalHealth, icd10, `
F01-F09 mental disorders due to known physiological conditions
F20-F99 all other mental, behavioral and neurodevelopmental disorders but those of substance use
G30 Alzheimer's disease
R45.85 T14.91 homicidal and suicidal ideation, suicide attempt
X71 X72 X73 X74 X75 X76 X77 X78 X79 X80 X81 X82 X83 intentional self-harm
Z13.3 Z81.8 Z86.51 Z86.59 Z91.5 screening for mental disorders, family and personal history, history of self-harm
`},
	{consent.MentalHealth, snomed, `
74732009 mental disorder
35489007 36923009 66344007 73867007 78667006 79298009 832007 15639000 370143000 310497006 366979004 depression
21897009 48694002 197480006 371631005 80583007 47505003 191736004 17226007 anxiety, panic, post-traumatic stress, compulsion, adjustment
58214004 69322001 13746004 33449004 schizophrenia, psychosis, bipolar and personality disorder
56882008 78004001 72366004 eating disorders
406506008 192127007 35919005 408856003 attention deficit and autism
26929004 52448006 230265002 386805003 Alzheimer's disease, dementia, mild cognitive disorder
6471006 82313006 86849004 287182007 287185009 44301001 suicidal thoughts, suicide, its attempts
171207006 454711000124102 715252007 720433000 710841007 225337009 screening and assessment of depression, anxiety and risk of suicide
90407005 88848003 183401008 768835002 415665002 10029008 psychiatric evaluation, suicide prevention, depression care
228557008 75516001 183524004 cognitive and behavioral therapy, psychotherapy, referral to psychiatry
`},
	{consent.MentalHealth, loinc, `
44249-1 44250-9 44251-7 44252-5 44253-3 44254-1 44255-8 44258-2 44259-0 44260-8 44261-6 69722-7 PHQ-9, its items and score
55757-9 55758-7 89204-2 89205-9 PHQ-2, PHQ-9 for adolescents
69737-5 70274-6 69725-0 68509-9 69733-4 69734-2 69735-9 69689-8 69736-7 GAD-7, its items and score
71354-5 73831-0 73832-8 Edinburgh postnatal depression scale, depression screening assessments
72106-8 72172-0 MMSE and MoCA scores
`},
	{consent.MentalHealth, rxnorm, `
200371 283672 309314 349332 351249 351250 citalopram, escitalopram
310384 310385 313989 313990 1190110 312938 312940 312941 861064 fluoxetine, sertraline
1738483 1738495 1738503 1738511 903884 903887 903891 paroxetine, fluvoxamine
311725 311726 314111 313580 313581 313582 313583 313584 313585 313586 314277 mirtazapine, venlafaxine
993503 993518 993536 993541 993557 993687 993691 856364 856369 856373 856377 bupropion, trazodone
1086772 1086778 1086784 1439808 1439810 1439812 790264 790288 vilazodone, vortioxetine, desvenlafaxine
1091392 methylphenidate
310436 310437 579148 860695 860707 860715 312835 312836 314214 314215 galantamine, rivastigmine
996561 996571 996594 996603 996609 996615 996740 997220 997223 997226 997229 1100184 memantine, donepezil
`},
	{consent.SubstanceUse, icd10, `
F10-F19 mental and behavioral disorders due to psychoactive substance use
K70 T40 T51 R78.0 alcoholic liver disease, poisoning by narcotics and alcohol, alcohol in blood
Z71.41 Z71.51 Z81.1 Z81.3 counselling and family history of alcohol and drug abuse
`},
	{consent.SubstanceUse, snomed, `
7200002 15167005 66590003 10939881000119105 228276006 85561006 alcoholism, alcohol abuse, dependence, withdrawal, drinking behavior
5602001 75544000 6525002 26416006 66214007 191816009 361055000 55680006 drug abuse, dependence, misuse, overdose
228366006 228390007 findings and frequency of drug misuse
56876005 266707007 310653000 drug rehabilitation and addiction therapy
428211000124100 713106006 763302001 868187001 assessment of substance use, drug screening, AUDIT-C, CRAFFT
160573003 897148007 alcohol intake
`},
	{consent.SubstanceUse, loinc, `
11331-6 11343-1 74013-4 history of alcohol and drug use, drinks per day
72109-2 75626-2 68518-0 68519-8 68520-6 75624-7 AUDIT-C, its items and score, AUDIT score
82666-9 82667-7 DAST-10 and its score
96841-2 96842-0 96843-8 96844-6 88037-7 75889-6 TAPS and its items
`},
	{consent.SubstanceUse, rxnorm, `
351264 351265 351266 351267 1010600 1010604 buprenorphine, with naloxone
`},
	{consent.HIV, icd10, `
B20-B24 B97.35 O98.7 R75 Z21 HIV disease, in pregnancy, inconclusive evidence, asymptomatic infection
Z11.4 Z20.6 Z71.7 Z83.0 screening, exposure, counselling, family history
`},
	{consent.HIV, snomed, `
86406008 62479008 91947003 91948008 HIV infection, AIDS
165815009 165816005 31676001 171121004 315124004 HIV tests and their results
313077009 HIV counselling
`},
	{consent.HIV, loinc, `
75622-1 7917-8 7918-6 5223-3 29893-5 31201-7 43010-8 48345-3 48346-1 56888-1 68961-2 5221-7 30361-0 HIV antibodies and antigens
20447-9 21008-8 25835-0 25836-8 25842-6 48511-0 70241-5 5018-7 HIV RNA and DNA
24467-3 CD4 cells
`},
	{consent.HIV, rxnorm, `
349491 349251 403875 476556 2003249 lamivudine, tenofovir, emtricitabine
1433873 744842 1359269 317150 1235588 1235591 1235593 dolutegravir, raltegravir, darunavir, ritonavir
1306292 1721613 1747691 1999667 2120107 2122519 single-tablet regimens
`},
	{consent.STD, icd10, `
A50-A64 infections with a predominantly sexual mode of transmission
O98.1 O98.2 O98.3 Z11.3 Z20.2 in pregnancy, screening, exposure
`},
	{consent.STD, snomed, `
8098009 76272004 15628003 105629000 33839006 56335008 sexually transmitted diseases, syphilis, gonorrhea, chlamydia, genital herpes, trichomoniasis
165829005 269828009 310861008 tests for gonorrhea, syphilis and chlamydia
`},
	{consent.STD, loinc, `
14463-4 21613-5 43304-5 24111-7 43305-2 chlamydia, gonorrhea
20507-0 31147-2 22461-8 syphilis
`},
	{consent.Reproductive, icd10, `
O00-O99 O9A pregnancy, childbirth and the puerperium
Z30-Z39 Z3A encounters related to reproduction, weeks of gestation
F52 F64-F66 N46 N52 N97 Z64.0 Z79.3 Z97.5 sexual dysfunction, gender identity, infertility, unwanted pregnancy, contraceptives
`},
	{consent.Reproductive, snomed, `
72892002 77386006 47200007 pregnancy, high risk
19169002 85116003 35999006 17369002 161744009 miscarriage, blighted ovum
156073000 267253006 198992004 398254007 fetus with complication, eclampsia, pre-eclampsia
10383002 386394001 714812005 440546007 counselling for and termination of pregnancy
169230002 252160004 274804006 225158009 271442007 275833003 443529005 169673001 51116004 tests and care in pregnancy
424441002 424619006 169762003 prenatal and postnatal visits
66348005 11466000 236974004 31208007 85548006 237001001 childbirth
65200003 68254000 46706006 1263416007 intrauterine devices
169553002 301807007 755621000000101 subcutaneous contraceptives
287664005 22523008 267020005 183996000 268533009 sterilisation
5935008 13197004 oral contraception, contraception
20430005 38628009 42035005 sexual orientation
`},
	{consent.Reproductive, loinc, `
82810-3 11996-6 11637-6 11778-8 11779-6 11780-4 11640-0 8665-2 pregnancy status, history, dates
10162-6 2106-3 2118-8 19080-1 21198-7 pregnancy history, hCG
76690-7 76691-5 86645-9 sexual orientation, gender identity, intention to become pregnant
`},
	{consent.Reproductive, rxnorm, `
748856 748879 748962 749762 749785 749882 751905 757594 831533 978950 1359133 235389 oral contraceptives
1000126 389221 1367439 1534809 injection, implant, ring, patch
807283 1605257 1856546 intrauterine systems
`},
	{consent.Violence, icd10, `
T74 T76 Y07 confirmed and suspected abuse, its perpetrator
X92-X99 Y00-Y09 assault
O9A.3 O9A.4 O9A.5 abuse in pregnancy
Z04.4 Z04.7 Z62.81 Z69 Z91.41 examination after rape and abuse, its history, services for it
`},
	{consent.Violence, snomed, `
706893006 424393004 victim of intimate partner abuse, violence in the environment
866148006 screening for domestic abuse
`},
	{consent.Violence, loinc, `
76499-3 76500-8 76501-6 76502-4 76503-2 76504-0 HARK, its items and score
`},
	{consent.Genetic, icd10, `
Q90-Q99 Z14 Z15 Z31.4 Z31.5 chromosomal abnormalities, carriers, susceptibility, genetic testing and counselling
`},
	{consent.SickleCell, icd10, `
D57 sickle-cell disorders
`},
	{consent.SickleCell, snomed, `
417357006 127040003 16402000 sickle cell disease and trait
`},
}

package fhir

import (
	"strconv"
	"testing"

	"github.com/assent-wallet/assent/consent"
)

// The codes of the table have the check digits of LOINC (modulus 10) and of
// SNOMED CT (Verhoeff), which a slip of the pen breaks.
func TestClinicalCodes(t *testing.T) {
	table := clinicalCodes()
	for code := range table[loinc] {
		if len(code) < 3 || code[len(code)-2] != '-' || modulus10(code[:len(code)-2]) != code[len(code)-1] {
			t.Errorf("LOINC %s has a wrong check digit", code)
		}
	}
	for code := range table[snomed] {
		if !verhoeff(code) {
			t.Errorf("SNOMED CT %s has a wrong check digit", code)
		}
	}
	for code := range table[rxnorm] {
		if n, err := strconv.Atoi(code); err != nil || n < 10000 || n > 9999999 {
			t.Errorf("RxNorm %s is no RXCUI of a clinical drug", code)
		}
	}
	for code := range table[icd10] {
		if len(code) < 3 || code[0] < 'A' || code[0] > 'Z' || !isDigit(code[1]) {
			t.Errorf("ICD-10 %s is no category", code)
		}
	}
	for v, least := range map[vocabulary]int{loinc: 70, snomed: 100, rxnorm: 90, icd10: 300} {
		if len(table[v]) < least {
			t.Errorf("vocabulary %d has %d codes, want %d or more", v, len(table[v]), least)
		}
	}
	for _, c := range consent.SensitivityCategories {
		found := false
		for _, block := range clinicalCodeBlocks {
			found = found || block.category == c.Bit
		}
		if !found {
			t.Errorf("no code is of the category %s", c.Name)
		}
	}
}

func modulus10(digits string) byte {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return byte('0' + (10-sum%10)%10)
}

// verhoeff checks a number against its last digit, with the multiplication of
// the dihedral group D5.
func verhoeff(digits string) bool {
	permutation := [10]int{1, 5, 7, 6, 2, 8, 3, 0, 9, 4}
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		for range i % 8 {
			d = permutation[d]
		}
		switch {
		case sum < 5 && d < 5:
			sum = (sum + d) % 5
		case sum < 5:
			sum = 5 + (sum+d)%5
		case d < 5:
			sum = 5 + (sum-d)%5
		default:
			sum = (sum - d + 5) % 5
		}
	}
	return sum == 0
}

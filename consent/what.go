package consent

// What names the data of the scope in the words that a person reads, as narrowed
// by its filter: “laboratory results”. It is part of what Describe says.
func (s *Scope) What() string { return s.what() }

// Words says what the scope permits, without holder and time, as Describe does:
// “read and search laboratory results, for treatment, leaving out what is known
// to be sensitive”.
func (s *Scope) Words() string { return s.words("") }

// PurposeWords gives HL7's words for a PurposeOfUse code, or the code in quotation
// marks where HL7 does not define it.
func PurposeWords(code string) string {
	if words, known := purposes[code]; known {
		return words
	}
	return Quote(code)
}

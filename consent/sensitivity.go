package consent

import (
	"fmt"
	"slices"
	"strings"
)

// Sensitivities is a set of sensitive categories: a bit mask below 256 (Assent
// protocol, section 9).
type Sensitivities uint64

// The sensitive categories.
const (
	MentalHealth Sensitivities = 1 << iota
	SubstanceUse
	HIV
	STD
	Reproductive
	Violence
	Genetic
	SickleCell

	AllSensitivities = 1<<8 - 1
)

// SensitivityCategory is one bit of Sensitivities.
type SensitivityCategory struct {
	Bit   Sensitivities
	Name  string   // as commands take it
	Codes []string // HL7 v3 ActCode, value set InformationSensitivityPolicy
	Words string   // as a person reads it
}

// SensitivityCategories are the sensitive categories, bit 0 first.
var SensitivityCategories = []SensitivityCategory{
	{MentalHealth, "mental-health", []string{"MH", "PSY", "PSYTHPN", "BH", "COGN", "DVD", "EMOTDIS"}, "mental and behavioural health"},
	{SubstanceUse, "substance-use", []string{"SUD", "ETH", "ETHUD", "OPIOIDUD"}, "alcohol and drugs"},
	{HIV, "hiv", []string{"HIV"}, "HIV/AIDS"},
	{STD, "std", []string{"STD"}, "sexually transmitted disease"},
	{Reproductive, "reproductive", []string{"SEX", "PREGNANT"}, "sexuality and reproductive health"},
	{Violence, "violence", []string{"SDV", "VIO", "MST"}, "sexual assault, abuse and domestic violence"},
	{Genetic, "genetic", []string{"GDIS"}, "genetic disease"},
	{SickleCell, "sickle-cell", []string{"SCA"}, "sickle cell"},
}

// SensitivityOf gives the category that a code of HL7 v3 ActCode stands for,
// or 0.
func SensitivityOf(code string) Sensitivities {
	for _, c := range SensitivityCategories {
		if slices.Contains(c.Codes, code) {
			return c.Bit
		}
	}
	return 0
}

// ParseSensitivity reads the name of one category.
func ParseSensitivity(name string) (Sensitivities, error) {
	var names []string
	for _, c := range SensitivityCategories {
		if c.Name == name {
			return c.Bit, nil
		}
		names = append(names, c.Name)
	}
	return 0, fmt.Errorf("sensitive category %s: want one of %s", Quote(name), strings.Join(names, ", "))
}

// Categories lists the categories in the set, lowest bit first.
func (s Sensitivities) Categories() []SensitivityCategory {
	var in []SensitivityCategory
	for _, c := range SensitivityCategories {
		if s&c.Bit != 0 {
			in = append(in, c)
		}
	}
	return in
}

// String gives the names of the categories, joined by commas.
func (s Sensitivities) String() string {
	var names []string
	for _, c := range s.Categories() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ",")
}

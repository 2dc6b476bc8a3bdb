package main

import (
	"encoding/json"
	"fmt"

	_ "embed"
)

// rowSchema is the JSON Schema (2020-12) of a row of NDJSON. The template has
// the same rows in both formats.
var (
	//go:embed batch.schema.json
	rowSchema json.RawMessage
	//go:embed batch.template.csv
	templateCSV string
	//go:embed batch.template.ndjson
	templateJSON string
)

func (o *batchOptions) printTemplate(format string) error {
	template, known := map[string]string{"csv": templateCSV, "ndjson": templateJSON}[format]
	if !known {
		return usagef("--template=%s: want csv or ndjson", format)
	}
	_, err := fmt.Fprint(o.stdout, template)
	return err
}

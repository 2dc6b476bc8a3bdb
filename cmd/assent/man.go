package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Short:   "Write the manual pages into a folder",
		Example: `  mkdir -p ~/.local/share/man/man1 && assent man ~/.local/share/man/man1`,
		Args:    exactly(1, "one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			// No date, so that the same program writes the same pages.
			header := &doc.GenManHeader{Title: "ASSENT", Section: "1", Source: "Assent " + version(), Date: &time.Time{}}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, header, args[0])
		},
	}
}

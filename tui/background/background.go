// Package background tells whether the terminal's background is dark, from what
// the terminal says of itself in COLORFGBG. It never asks the terminal: Bubble
// Tea would do so at the start of every command, even of one that only prints,
// and wait seconds for terminals that do not answer. Since packages are set up
// in the order of their paths, this one keeps it from that.
package background

import (
	"os"
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// Dark tells whether the background is dark; where nothing tells, it is taken
// to be.
var Dark = dark(os.Getenv("COLORFGBG"))

func init() { lipgloss.SetHasDarkBackground(Dark) }

// dark reads COLORFGBG: the numbers of two of the 16 colours, text and
// background, perhaps with a word between them.
func dark(colours string) bool {
	at := strings.LastIndexByte(colours, ';')
	switch colours[at+1:] {
	case "7", "9", "10", "11", "12", "13", "14", "15":
		return at < 0
	}
	return true
}

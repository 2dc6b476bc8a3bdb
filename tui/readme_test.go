package tui

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The pictures in the README are frames of testdata, which TestFrames compares
// with the app: a fenced block after a comment that names the frame.
func TestPicturesOfTheREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md")
	} else if err != nil {
		t.Fatal(err)
	}
	pictures := regexp.MustCompile("(?s)<!-- frame ([a-z0-9-]+) -->\n+```[a-z]*\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(pictures) == 0 {
		t.Skip("README.md shows no frame of the terminal app")
	}
	for _, picture := range pictures {
		frame, err := os.ReadFile(filepath.Join("testdata", "frames", picture[1]+".txt"))
		if err != nil {
			t.Error(err)
		} else if string(frame) != picture[2] {
			t.Errorf("the picture %s is not the frame of that name any more:\n%s", picture[1], frame)
		}
	}
}

package background

import "testing"

func TestDark(t *testing.T) {
	for colours, want := range map[string]bool{
		"": true, "15": true, "15;0": true, "7;8": true, "12;default": true,
		"0;15": false, "0;default;15": false, "0;7": false,
	} {
		if got := dark(colours); got != want {
			t.Errorf("dark(%q) = %v", colours, got)
		}
	}
}

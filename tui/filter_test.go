package tui

import (
	"strings"
	"testing"
)

func TestEveryListIsFiltered(t *testing.T) {
	r := furnished(t, Look{}).start()
	for _, c := range []struct{ screen, filter, seen, unseen, left string }{
		{"1", "sleep", "“Sleep study”", "“Cardiology clinic”", "1 of 2"},
		{"1", "pre-op", "“Cardiology clinic”", "“Sleep study”", "1 of 2"},
		{"2", "nurse immun", "“School nurse”", "“Riverside", "2 of 6"},
		{"3", "you denied", "Nothing is like that", "“Sleep study”", "0 of"},
		{"3", "revoked: oxi", "revoked: the grant with “Oximeter bridge”", "“Sleep study”", "1 of"},
		{"4", "river", "“Riverside Hospital”", "“School nurse”", "1 of 5"},
		{"4", "not verified card", "“Cardiology clinic”", "“Riverside", "1 of 5"},
	} {
		r.keys(c.screen, "/").text(c.filter).see("/ "+c.filter, c.seen, c.left).unseen(c.unseen)
		r.keys("esc").see(map[string]string{"1": "“Sleep study”", "2": "“Riverside", "3": "“Sleep study”", "4": "“School nurse”"}[c.screen]).unseen(c.left)
	}
}

// What a key acts on is the line that the filter leaves, not the one of the
// same place in the whole list.
func TestKeysActOnWhatTheFilterLeaves(t *testing.T) {
	r := furnished(t, Look{}).start()
	r.keys("1", "/").text("sleep").keys("enter", "enter").see("“Sleep study”", "held by")
	r.keys("esc", "d").see("Deny?", "“Sleep study”").keys("esc", "esc").see("“Cardiology clinic”")
	r.keys("1", "/").text("nobody").keys("enter", "d").see("the filter leaves nothing")
	r.keys("enter").see("the filter leaves nothing").keys("esc")
	r.keys("4", "/").text("river").keys("enter", "v").see("The same address?", "“Riverside Hospital”").keys("esc", "esc")
	r.keys("3", "/").text("revoked:").keys("enter", "enter").see("revoked. You gave this")
	r.keys("esc", "esc").see("asked you:")
}

// A paste while a filter is typed is part of it, and no document.
func TestAPasteIntoAFilter(t *testing.T) {
	r := furnished(t, Look{}).start()
	for _, screen := range []string{"1", "4"} {
		r.keys(screen, "/").paste("{\"x\":\n1}").see("/ {\"x\": 1}", "is like that").unseen("not taken").keys("esc")
	}
}

func TestDetailStandsBesideEveryList(t *testing.T) {
	r := furnished(t, Look{}).start()
	for _, screen := range []string{"1", "2", "3", "4"} {
		beside := func() bool {
			for _, line := range strings.Split(r.keys(screen).screen(), "\n") {
				if strings.HasPrefix(line, " ▸ ") && strings.Contains(line, " │ ") {
					return true
				}
			}
			return false
		}
		if r.size(99, 30); beside() && screen != "2" { // Access has its time line there
			t.Errorf("screen %s: a detail beside the list of 99 columns", screen)
		}
		if r.size(100, 30); !beside() {
			t.Errorf("screen %s: no detail beside the list of 100 columns:\n%s", screen, r.screen())
		}
	}
}

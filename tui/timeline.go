package tui

import (
	"strings"
	"time"
)

// timeline draws windows of time against today, over w cells.
type timeline struct {
	from, until uint64 // unix seconds
	now         uint64
	w           int
}

// newTimeline shows about three months before now and two after.
func newTimeline(now uint64, w int) timeline {
	const day = 24 * 60 * 60
	return timeline{from: now - min(now, 90*day), until: now + 60*day, now: now, w: w}
}

// cell gives the cell that a time falls in; it may lie outside.
func (t timeline) cell(at uint64) int {
	span := float64(t.until - t.from)
	return int((float64(at) - float64(t.from)) / span * float64(t.w))
}

// months names the months over their first days, those that there is room for.
func (t timeline) months() string {
	free, today := 0, t.cell(t.now)
	cells := []rune(strings.Repeat(" ", t.w))
	first := time.Unix(int64(t.from), 0).UTC()
	month := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC)
	for ; uint64(month.Unix()) < t.until; month = month.AddDate(0, 1, 0) {
		at := t.cell(uint64(max(month.Unix(), 0)))
		name := []rune(month.Format("Jan"))
		end := at + len(name)
		if at >= free && end < t.w && (today < at || today >= end) {
			copy(cells[at:], name)
			free = end + 1
		}
	}
	if today < t.w {
		cells[today] = '│'
	}
	return string(cells)
}

// bar draws the window from begin until end. revoked is when it was cut off; 0:
// it was not.
func (t timeline) bar(begin, end, revoked uint64) string {
	if t.w <= 0 {
		return ""
	}
	stop := end
	if revoked != 0 && revoked < stop {
		stop = revoked
	}
	cells := []rune(strings.Repeat(" ", t.w))
	first, last, today := t.cell(begin), t.cell(stop), t.cell(t.now)
	if stop > begin && last >= 0 && first < t.w {
		for i := max(first, 0); i <= min(last, t.w-1); i++ {
			cells[i] = '█'
		}
		if first >= 0 {
			cells[first] = '▐'
		} else {
			cells[0] = '◀'
		}
		switch {
		case last >= t.w:
			cells[t.w-1] = '▶'
		case last > max(first, 0):
			cells[last] = '▌'
		}
	}
	if today >= 0 && today < t.w {
		switch cells[today] {
		case ' ':
			cells[today] = '│'
		case '█':
			cells[today] = '┿'
		}
	}
	if at := t.cell(revoked); revoked != 0 && at >= 0 && at < t.w {
		cells[at] = '✕'
	}
	return string(cells)
}

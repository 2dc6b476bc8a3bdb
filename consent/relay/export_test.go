package relay

// Limits are limits of so many a second and at once, and MaxOfClient how many
// names one client may bring into them.
type Limits struct{ limits }

const MaxOfClient = maxOfClient

func NewLimits(perSecond, burst float64) *Limits {
	l := new(Limits)
	l.init(perSecond, burst)
	return l
}

func (l *Limits) Allow(client, name string, n int) bool { return l.allow(client, name, n) }

func (l *Limits) Forget() { l.forget() }

// Schema leads from nothing to the tables.
var Schema = schema

// MaxBody is the most bytes of a body that is no letter.
const MaxBody = maxBody

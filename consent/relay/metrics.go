package relay

import "github.com/prometheus/client_golang/prometheus"

// metrics are what an operator sees. None of them has an address or a token.
type metrics struct {
	submitted, secrets, trees, dropped prometheus.Counter
	sending                            prometheus.Gauge
	leaves, anchoring                  prometheus.Histogram
	failures, mail, requests           *prometheus.CounterVec
	took                               *prometheus.HistogramVec
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "assent", Subsystem: "relay", Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "assent", Subsystem: "relay", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "assent", Subsystem: "relay", Name: name, Help: help, Buckets: buckets}
	}
	return &metrics{
		submitted: counter("roots_total", "Roots made durable."),
		secrets:   counter("secrets_total", "Revocation secrets made durable."),
		trees:     counter("trees_total", "Trees made."),
		dropped:   counter("dropped_total", "Entries that a reorganisation dropped and that are sent again."),
		sending:   prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "assent", Subsystem: "relay", Name: "sending", Help: "1 in the process that sends."}),
		leaves:    prometheus.NewHistogram(histogram("tree_leaves", "Roots in a tree.", prometheus.ExponentialBuckets(1, 4, 9))),
		anchoring: prometheus.NewHistogram(histogram("anchoring_seconds", "From a tree until a block holds it.", prometheus.ExponentialBuckets(0.1, 2, 12))),
		failures:  counters("failures_total", "What failed and is tried again.", "what"),
		mail:      counters("letters_total", "Letters taken, fetched and expired.", "what"),
		requests:  counters("requests_total", "Requests by route and status.", "route", "status"),
		took:      prometheus.NewHistogramVec(histogram("request_seconds", "From a request to its answer, by route.", prometheus.ExponentialBuckets(0.001, 2.5, 12)), []string{"route"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.submitted, m.secrets, m.trees, m.dropped, m.sending, m.leaves, m.anchoring, m.failures, m.mail, m.requests, m.took} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

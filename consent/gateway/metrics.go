package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/assent-wallet/assent/consent"
)

// metrics are counts and times, of no patient.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec   // by route and outcome
	seconds   *prometheus.HistogramVec // by route
	decisions *prometheus.CounterVec   // on tokens, by outcome of the protocol
	batch     prometheus.Histogram
	commit    prometheus.Histogram
	anchors   *prometheus.CounterVec // of the log, by outcome
}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assent_gateway_requests_total", Help: "Requests, by route and by what became of them."}, []string{"route", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "assent_gateway_request_seconds", Help: "How long requests took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, 1, 5, 30}}, []string{"route"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assent_gateway_decisions_total", Help: "Decisions on tokens, by outcome of the protocol."}, []string{"outcome"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "assent_gateway_journal_records", Help: "Records that were written in one transaction.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "assent_gateway_journal_seconds", Help: "How long one transaction took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, 1, 10}}),
		anchors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assent_gateway_checkpoints_total", Help: "Checkpoints of the log, by whether they were anchored."}, []string{"outcome"}),
	}
	chain := func(of func(consent.State) float64) func() float64 {
		return func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			state, err := g.ledger.State(ctx, consent.Entries{})
			if err != nil {
				return -1
			}
			return of(state)
		}
	}
	m.registry.MustRegister(m.requests, m.seconds, m.decisions, m.batch, m.commit, m.anchors,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "assent_gateway_chain_block", Help: "The block that is decided on; -1 where there is none."}, chain(func(s consent.State) float64 { return float64(s.Block) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "assent_gateway_chain_age_seconds", Help: "How old the view of the chain is; -1 where there is none."}, chain(func(s consent.State) float64 { return float64(s.Age) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "assent_gateway_journal_queue", Help: "Records that wait to be written."}, func() float64 { return float64(len(g.journal.queue)) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	g.journal.batch = func(records int, took time.Duration) {
		m.batch.Observe(float64(records))
		m.commit.Observe(took.Seconds())
	}
	return m
}

// Metrics serves the gateway's metrics in the form of Prometheus. It belongs on
// an address of its own, not on the public one.
func (g *Gateway) Metrics() http.Handler {
	return promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{})
}

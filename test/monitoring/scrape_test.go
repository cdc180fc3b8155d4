package monitoring_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds each wait of these tests.
const patience = 2 * time.Minute

// eventually waits as long as these tests wait for anything.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	programs.Eventually(t, patience, what, yes)
}

var served = regexp.MustCompile(`http://[0-9.:]+/metrics`)

// listens waits until a program says where its metrics are.
func listens(t *testing.T, r *programs.Running) (url string) {
	t.Helper()
	eventually(t, "the program says where its metrics are", func() bool {
		url = served.FindString(r.Said())
		return url != ""
	})
	return url
}

// families are the metrics of a scrape by name.
type families map[string]*dto.MetricFamily

// scrape scrapes; Prometheus' own reader must take what comes.
func scrape(t *testing.T, url string) families {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	f, err := parser.TextToMetricFamilies(strings.NewReader(get(t, url)))
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return f
}

// get returns what is at a URL.
func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v: %s", url, r.StatusCode, err, text)
	}
	return string(text)
}

// value is the value of the series that has the labels, given as "name=value", and whether there is one.
func (f families) value(name string, labels ...string) (float64, bool) {
	m := f.find(name, labels...)
	switch {
	case m == nil:
		return 0, false
	case m.Counter != nil:
		return m.GetCounter().GetValue(), true
	case m.Histogram != nil:
		return float64(m.GetHistogram().GetSampleCount()), true
	}
	return m.GetGauge().GetValue(), true
}

func (f families) find(name string, labels ...string) *dto.Metric {
	for _, m := range f[name].GetMetric() {
		has := 0
		for _, l := range m.GetLabel() {
			for _, want := range labels {
				if want == l.GetName()+"="+l.GetValue() {
					has++
				}
			}
		}
		if has == len(labels) {
			return m
		}
	}
	return nil
}

// same checks that a series has a value.
func (f families) same(t *testing.T, want float64, name string, labels ...string) {
	t.Helper()
	if got, ok := f.value(name, labels...); !ok || got != want {
		t.Errorf("%s{%s} is %v (there: %v), want %v", name, strings.Join(labels, ","), got, ok, want)
	}
}

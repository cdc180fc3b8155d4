package soak_test

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figure is what is measured of each process, or of the run.
type figure struct {
	name string
	unit string
	// scale makes the unit of a value: bytes are kept, mebibytes are shown.
	scale float64
	// It is flat when the median of its last quarter is at most times that of its first, plus slack; a figure without
	// slack is not judged.
	times, slack float64
}

const mib = 1 << 20

// The figures of each process. Processor time depends on what else the machine does, so it may vary by more.
var (
	anonymous  = figure{"anonymous memory", "MiB", mib, 1.1, 4 * mib}
	openFiles  = figure{"open files", "", 1, 1.1, 4}
	goroutines = figure{"goroutines", "", 1, 1.1, 6}
	threads    = figure{"threads", "", 1, 1.1, 4}
	cores      = figure{"processor time", "cores", 1, 1.5, 0.1}
)

// The figures of the run.
var (
	pageCache = figure{"page cache of the shards", "MiB", mib, 1.1, 16 * mib}
	slabUsed  = figure{"slab in use", "MiB", mib, 1.1, 16 * mib}
	captured  = figure{name: "captured", scale: 1}
	durable   = figure{name: "durable", scale: 1}
	lost      = figure{name: "lost", scale: 1}
	excursion = figure{name: "excursions", scale: 1} // of the budget, since the beginning
	full      = figure{name: "full", scale: 1}       // times that the budget was full
)

// column is one figure of a process; the run's have none.
type column struct {
	process string
	figure
}

func (c column) String() string {
	return strings.TrimSpace(c.process + " " + c.name)
}

// table has a row for each second: a value for each column, NaN where there was none.
type table struct {
	columns []column
	seconds []float64
	rows    [][]float64
	csv     io.Writer
}

func newTable(csv io.Writer, columns []column) (*table, error) {
	t := &table{columns: columns, csv: csv}
	names := []string{"seconds"}
	for _, c := range columns {
		names = append(names, strings.ReplaceAll(c.String(), " ", "_"))
	}
	_, err := fmt.Fprintln(csv, strings.Join(names, ","))
	return t, err
}

// add adds a row, to the CSV file too. A column that has no value in it stays empty.
func (t *table) add(at time.Duration, values map[column]float64) error {
	row := make([]float64, len(t.columns))
	line := []string{strconv.FormatFloat(at.Seconds(), 'f', 1, 64)}
	for i, c := range t.columns {
		v, ok := values[c]
		if !ok {
			row[i] = math.NaN()
			line = append(line, "")
			continue
		}
		row[i] = v
		line = append(line, strconv.FormatFloat(v, 'g', 10, 64))
	}
	t.seconds, t.rows = append(t.seconds, at.Seconds()), append(t.rows, row)
	_, err := fmt.Fprintln(t.csv, strings.Join(line, ","))
	return err
}

// series are a column's times and values, without the seconds in which it had none.
func (t *table) series(c column) (seconds, values []float64) {
	i := slices.Index(t.columns, c)
	for j, row := range t.rows {
		if !math.IsNaN(row[i]) {
			seconds, values = append(seconds, t.seconds[j]), append(values, row[i])
		}
	}
	return seconds, values
}

// verdict is how a column went from the end of the warm-up on.
type verdict struct {
	column
	first, last, most float64 // medians of the first and last quarter, and the maximum
	slope             float64 // per hour, of the straight line of least squares
	flat              bool
}

// judge leaves the warm-up out. A column without values is not flat: something that should be there is not seen.
func (t *table) judge(warm time.Duration) (all []verdict) {
	for _, c := range t.columns {
		if c.slack == 0 {
			continue
		}
		x, y := t.series(c)
		from := slices.IndexFunc(x, func(s float64) bool { return s >= warm.Seconds() })
		if from < 0 || len(x)-from < 4 {
			all = append(all, verdict{column: c})
			continue
		}
		x, y = x[from:], y[from:]
		quarter := len(x) / 4
		v := verdict{column: c, first: median(y[:quarter]), last: median(y[len(y)-quarter:]), most: slices.Max(y), slope: slope(x, y) * 3600}
		v.flat = v.last <= v.first*c.times+c.slack
		all = append(all, v)
	}
	return all
}

// median of a series that stays as it is.
func median(y []float64) float64 {
	sorted := slices.Sorted(slices.Values(y))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// slope of the straight line of least squares.
func slope(x, y []float64) float64 {
	var mx, my, xy, xx float64
	n := float64(len(x))
	for i := range x {
		mx += x[i] / n
		my += y[i] / n
	}
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

// text is the table as Markdown.
func text(all []verdict) string {
	var b strings.Builder
	b.WriteString("| process | figure | first quarter | last quarter | most | per hour | |\n|---|---|--:|--:|--:|--:|---|\n")
	for _, v := range all {
		word := "flat"
		if !v.flat {
			word = "**grows**"
		}
		name := v.name
		if v.unit != "" {
			name += ", " + v.unit
		}
		show := func(x float64) string { return strconv.FormatFloat(x/v.scale, 'f', v.digits(), 64) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s%s | %s |\n", v.process, name, show(v.first), show(v.last), show(v.most),
			map[bool]string{true: "+", false: ""}[v.slope > 0], strconv.FormatFloat(v.slope/v.scale, 'f', 2, 64), word)
	}
	return b.String()
}

// digits is how many decimals of a value are worth reading.
func (v verdict) digits() int {
	switch {
	case v.figure == cores:
		return 3
	case v.scale == 1:
		return 0
	}
	return 1
}

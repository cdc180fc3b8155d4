package soak_test

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// colours of the processes: Okabe and Ito's, which the colour-blind can tell apart.
func colours() map[string]color.Color {
	rgb := func(v uint32) color.Color { return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255} }
	return map[string]color.Color{
		"acquire": rgb(0xD55E00), "writer-1": rgb(0x0072B2), "writer-2": rgb(0x56B4E9), "analyze-1": rgb(0x009E73),
		"analyze-2": rgb(0xE69F00), "broker": rgb(0xCC79A7), "run": rgb(0x555555),
	}
}

// points of a line in a panel: each is of so many seconds.
const points = 180

// perPoint is how many of n seconds are in a point.
func perPoint(n int) int { return int(math.Ceil(float64(n) / points)) }

// draw draws all figures over time, small multiples with a line for each process.
func draw(t *table, path string) error {
	var panels []*plot.Plot
	for _, f := range []figure{anonymous, cores, goroutines, openFiles, threads} {
		p := panel(f.name, f.unit)
		for _, name := range processes() {
			if c := (column{name, f}); slices.Contains(t.columns, c) {
				if err := line(p, t, c, name, "", median); err != nil {
					return err
				}
			}
		}
		panels = append(panels, p)
	}
	for _, f := range []figure{slabUsed, pageCache} {
		p := panel(f.name, f.unit)
		c := column{figure: f}
		if err := errors.Join(line(p, t, c, "analyze-2", "highest", slices.Max[[]float64]), line(p, t, c, "writer-1", "median", median)); err != nil {
			return err
		}
		panels = append(panels, p)
	}
	counts := panel("backpressure excursions", "since the start")
	if err := errors.Join(line(counts, t, column{figure: excursion}, "writer-1", "throttled", slices.Max[[]float64]),
		line(counts, t, column{figure: full}, "acquire", "full", slices.Max[[]float64])); err != nil {
		return err
	}
	rates := panel("frames", "per second")
	if err := errors.Join(rate(rates, t, column{figure: captured}, "writer-1"), rate(rates, t, column{figure: lost}, "acquire")); err != nil {
		return err
	}
	panels = append(panels, counts, rates)
	return save(panels, path)
}

func panel(title, unit string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	if unit != "" {
		p.Title.Text = fmt.Sprintf("%s (%s)", title, unit)
	}
	p.Title.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Weight: 2, Size: 11}
	p.Title.Padding = vg.Points(5)
	p.X.Label.Text = "minutes"
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font.Variant, a.Tick.Label.Font.Variant = "Sans", "Sans"
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = 9, 9
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 9}
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(8), vg.Points(-2)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xE4}, color.Gray{0xE4}
	p.Add(grid)
	return p
}

// ticks are about six round numbers.
func ticks(low, high float64) (all []plot.Tick) {
	power := math.Pow(10, math.Floor(math.Log10((high-low)/6)))
	step := power
	for _, n := range []float64{2, 5, 10} {
		if step < (high-low)/6 {
			step = n * power
		}
	}
	for i := math.Ceil(low / step); i*step <= high; i++ {
		all = append(all, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 6, 64)})
	}
	return all
}

// line adds a column to a panel in the colour of a process, named in the panel's own legend where label is not empty.
func line(p *plot.Plot, t *table, c column, colour, label string, of func([]float64) float64) error {
	return addLine(p, t.points(c, of), colour, label)
}

func addLine(p *plot.Plot, xys plotter.XYs, colour, label string) error {
	if len(xys) == 0 {
		return nil
	}
	l, err := plotter.NewLine(xys)
	if err != nil {
		return err
	}
	l.Color, l.Width = colours()[colour], vg.Points(1.2)
	p.Add(l)
	if label != "" {
		p.Legend.Add(" "+label, l)
	}
	return nil
}

// rate adds how fast a count grows to a panel.
func rate(p *plot.Plot, t *table, c column, colour string) error {
	x, y := t.series(c)
	var xys plotter.XYs
	n := perPoint(len(x))
	for i := n; i < len(x); i += n {
		xys = append(xys, plotter.XY{X: x[i] / 60, Y: (y[i] - y[i-n]) / (x[i] - x[i-n])})
	}
	return addLine(p, xys, colour, c.name)
}

// points are a column in minutes and its unit, many seconds in one.
func (t *table) points(c column, of func([]float64) float64) (xys plotter.XYs) {
	x, y := t.series(c)
	n := perPoint(len(x))
	for i := 0; i < len(x); i += n {
		end := min(i+n, len(x))
		xys = append(xys, plotter.XY{X: x[i] / 60, Y: of(y[i:end]) / c.scale})
	}
	return xys
}

// save lays the panels out in three columns below a legend of the processes.
func save(panels []*plot.Plot, path string) error {
	const across = 3
	rows := (len(panels) + across - 1) / across
	for _, p := range panels {
		p.X.Min, p.Y.Min = 0, 0
		if p.X.Max > 2 {
			p.X.Max = math.Ceil(p.X.Max)
		}
		p.Y.Max *= 1.2 // room for the legend
		if p.Y.Max <= 0 {
			p.Y.Max = 1
		}
	}
	const head = 26 * vg.Length(1)
	img := vgimg.NewWith(vgimg.UseWH(1100, vg.Length(rows)*260+head), vgimg.UseDPI(110), vgimg.UseBackgroundColor(color.White))
	whole := vgdraw.New(img)
	legend(vgdraw.Crop(whole, 0, 0, whole.Max.Y-whole.Min.Y-head, 0))
	tiles := vgdraw.Tiles{
		Rows: rows, Cols: across, PadX: 18, PadY: 14, PadTop: 4, PadBottom: 6, PadLeft: 6, PadRight: 14,
	}
	grid := make([][]*plot.Plot, rows)
	for i, p := range panels {
		grid[i/across] = append(grid[i/across], p)
	}
	for len(grid[rows-1]) < across {
		grid[rows-1] = append(grid[rows-1], nil)
	}
	canvases := plot.Align(grid, tiles, vgdraw.Crop(whole, 0, 0, 0, -head))
	for i, row := range grid {
		for j, p := range row {
			if p != nil {
				p.Draw(canvases[i][j])
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = vgimg.PngCanvas{Canvas: img}.WriteTo(f)
	return err
}

// legend names the processes in a line.
func legend(c vgdraw.Canvas) {
	style := plot.New().Title.TextStyle
	style.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 11}
	style.XAlign, style.YAlign = vgdraw.XLeft, vgdraw.YCenter
	x, y := c.Min.X+20, (c.Min.Y+c.Max.Y)/2
	for _, name := range processes() {
		stroke := vgdraw.LineStyle{Color: colours()[name], Width: vg.Points(3)}
		c.StrokeLine2(stroke, x, y, x+22, y)
		c.FillText(style, vg.Point{X: x + 28, Y: y}, name)
		x += 28 + style.Width(name) + 24
	}
}

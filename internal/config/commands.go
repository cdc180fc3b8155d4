package config

import (
	"errors"
	"fmt"
	"time"
)

// Acquire are the options of the acquire process.
type Acquire struct {
	Common
	NATS
	Camera
	Metrics
	Link
	Streams
	Capture
	Start    bool          `name:"start" help:"Begin a run at once, and end with it."`
	Progress time.Duration `name:"progress" placeholder:"TIME" help:"Log this often how the run goes (default: never)."`
	Restarts int           `name:"restarts" hidden:"" help:"How often a supervisor has started this process again."`
}

// Validate refuses to give members up that may only be slow.
func (a Acquire) Validate() error {
	if a.Lost < a.HungAfter {
		return fmt.Errorf("--lost-after: %s is less than --hung-after, %s", a.Lost, a.HungAfter)
	}
	return nil
}

// Writer are the options of the writer process.
type Writer struct {
	Common
	NATS
	Camera
	Metrics
	Link
	Member
	Out string `name:"out" placeholder:"DIR" help:"The folder in which stores are made. It is the only one that this process writes to."`
}

// Validate refuses to go without a root.
func (w Writer) Validate() error {
	if w.Out == "" {
		return errors.New("--out: the folder for the stores is missing")
	}
	return nil
}

// Analyze are the options of the analyze process.
type Analyze struct {
	Common
	NATS
	Camera
	Metrics
	Link
	Member
	Analysis
}

// Run are the options of `sluice run`.
type Run struct {
	NATS
	Camera
	Metrics
	Link
	Capture
	Analysis
	Out       string `name:"out" placeholder:"DIR" help:"The folder in which the store is made; a path that ends in .zarr names the store itself."`
	Writers   int    `name:"writers" default:"1" placeholder:"N" help:"Number of writer processes (${default})."`
	Analyzers int    `name:"analyzers" default:"1" placeholder:"M" help:"Number of analyser processes, 0 for none (${default})."`
	Detach    bool   `name:"detach" help:"Return when the run has begun, and let it go on without this terminal."`
	JSON      bool   `name:"json" help:"Print the run's summary as one JSON object, the last line of stdout."`
}

// Validate names what is missing or out of range.
func (r Run) Validate() error {
	switch {
	case r.Source == "":
		return errors.New("--source: where the frames come from is missing, such as --source 'sim:?width=512&height=512&fps=100'")
	case r.Out == "":
		return errors.New("--out: the folder for the store is missing")
	case r.Writers < 1 || r.Writers > 64:
		return errors.New("--writers: want 1 to 64")
	case r.Analyzers < 0 || r.Analyzers > 64:
		return errors.New("--analyzers: want 0 to 64")
	}
	return nil
}

// file has every option that a configuration file may set, under the command that it belongs to.
type file struct {
	Acquire Acquire `cmd:""`
	Writer  Writer  `cmd:""`
	Analyze Analyze `cmd:""`
	Run     struct {
		Common
		Run
	} `cmd:""`
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/monitor"
	"github.com/sluicedaq/sluice/internal/refusal"
	runpkg "github.com/sluicedaq/sluice/internal/run"
)

// ctlCmd asks a camera's acquire to do something.
type ctlCmd struct {
	Camera config.Name `arg:"" help:"The camera."`
	Verb   string      `arg:"" enum:"arm,start,stop,pause,resume,status,wait" help:"arm: make everything ready; start: begin the armed run; stop: end it and drain; pause, resume: the source; status: how it is; wait: until no run goes on, then exit as the run ended."`
	config.NATS
	Request string `name:"request" placeholder:"JSON" help:"With arm: what differs from acquire's own options, such as {\"frames\":100}; docs/subjects.md has the fields."`
	Hard    bool   `name:"hard" help:"With stop: give up what is not durable yet."`
	JSON    bool   `name:"json" help:"Print the answer as one JSON object."`
}

// Validate refuses options that belong to another verb.
func (c *ctlCmd) Validate() error {
	switch {
	case c.Request != "" && c.Verb != "arm":
		return errors.New("--request goes with arm")
	case c.Hard && c.Verb != "stop":
		return errors.New("--hard goes with stop")
	}
	return nil
}

func (c *ctlCmd) run(ctx context.Context, p *process) error {
	var request bus.ArmRequest
	if err := bus.DecodeRequest([]byte(c.Request), &request); err != nil {
		return exit.Errorf(exit.Usage, "--request: %w", err)
	}
	if c.Verb == "wait" {
		summary, err := c.wait(ctx, p)
		if summary == nil {
			return err
		}
		return errors.Join(c.answer(p, summary, endedLine(*summary), nil), err)
	}
	nc, err := connect(ctx, p, c.NATS, string(c.Camera))
	if err != nil {
		return err
	}
	defer nc.Close()
	client := bus.NewClient(nc, string(c.Camera))
	switch c.Verb {
	case "arm":
		armed, err := client.Arm(ctx, request)
		return c.answer(p, armed, strings.Join(describe(armed), "\n")+"\n", err)
	case "start":
		ack, err := client.Start(ctx, bus.RunRequest{})
		return c.answer(p, ack, acked(ack), err)
	case "stop":
		ack, err := client.Stop(ctx, bus.StopRequest{Hard: c.Hard})
		return c.answer(p, ack, acked(ack), err)
	case "pause":
		ack, err := client.Pause(ctx, bus.RunRequest{})
		return c.answer(p, ack, acked(ack), err)
	case "resume":
		ack, err := client.Resume(ctx, bus.RunRequest{})
		return c.answer(p, ack, acked(ack), err)
	}
	s, err := client.Status(ctx, bus.RunRequest{})
	return c.answer(p, s, monitor.Panel(s, time.Now()), err)
}

// answer prints what acquire answered.
func (c *ctlCmd) answer(p *process, v any, text string, err error) error {
	if err != nil {
		return err
	}
	if !c.JSON {
		for line := range strings.Lines(text) {
			if _, err := fmt.Fprintln(p.stdout, refusal.Plain(strings.TrimSuffix(line, "\n"))); err != nil {
				return err
			}
		}
		return nil
	}
	return printJSON(p.stdout, v)
}

// acked is an Ack for people.
func acked(a bus.Ack) string {
	if a.Run.IsZero() {
		return fmt.Sprintf("%s\n", a.State)
	}
	return fmt.Sprintf("%s, run %s, captured %d\n", a.State, a.Run.Short(), a.Captured)
}

// endedLine is a summary in one line.
func endedLine(s runpkg.Summary) string {
	return fmt.Sprintf("run %s ended by %s: captured %d, written %d, lost %d, store %s\n", s.Run.Short(), s.EndedBy, s.Captured, s.Written, s.Lost, s.Store)
}

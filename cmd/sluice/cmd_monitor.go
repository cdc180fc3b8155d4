package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/monitor"
)

// monitorCmd shows a camera's status until it is interrupted or the camera goes away.
type monitorCmd struct {
	Camera config.Name `arg:"" optional:"" help:"The camera (default: that of the only local run, or cam0)."`
	config.NATS
	Once bool `name:"once" help:"Print the status once."`
	JSON bool `name:"json" help:"Print each status as a JSON object in a line."`
}

// goneTime is for how long a camera may be away before the monitor ends.
const goneTime = 10 * time.Second

func (m *monitorCmd) run(ctx context.Context, p *process) error {
	n, err := find(p, m.NATS, string(m.Camera))
	if err != nil {
		return err
	}
	camera := string(m.Camera)
	if camera == "" {
		camera = "cam0"
		if e, err := bus.ReadEndpoint(n.NATSFile); n.NATS == "" && err == nil {
			camera = e.Camera
		}
	}
	nc, err := bus.Connect(ctx, bus.Options{NATS: n, Role: "monitor", Process: "monitor", Log: p.log})
	if err != nil {
		return err
	}
	defer nc.Close()
	client := bus.NewClient(nc, camera)
	if m.Once {
		s, err := client.Status(ctx, bus.RunRequest{})
		if err != nil {
			return err
		}
		if m.JSON {
			return printJSON(p.stdout, s)
		}
		_, err = fmt.Fprint(p.stdout, monitor.Panel(s, time.Now()))
		return err
	}
	if m.JSON {
		return m.watch(ctx, nc, client, camera, func(s bus.Status) { _ = printJSON(p.stdout, s) }, func(string) {})
	}
	screen := monitor.Open(p.stdout, time.Second)
	defer screen.Close()
	return m.watch(ctx, nc, client, camera, screen.Show, screen.Say)
}

// watch asks for the status again and again and passes events on.
func (m *monitorCmd) watch(ctx context.Context, nc *nats.Conn, client *bus.Client, camera string, show func(bus.Status), say func(string)) error {
	events := make(chan *nats.Msg, 256)
	if _, err := nc.ChanSubscribe(bus.EventsSubject(camera), events); err != nil {
		return fmt.Errorf("following events: %w", err)
	}
	every := pollEvery
	if m.JSON {
		every = time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	limit := rate.NewLimiter(5, 20)
	answered := time.Now()
	first := true
	for {
		s, err := client.Status(ctx, bus.RunRequest{})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || time.Since(answered) > goneTime):
			return exit.Errorf(exit.Unavailable, "%w", err)
		case err == nil:
			answered, first = time.Now(), false
			show(s)
		}
		for waiting := true; waiting; {
			select {
			case <-ticker.C:
				waiting = false
			case <-ctx.Done():
				return nil
			case msg := <-events:
				var e bus.Event
				if json.Unmarshal(msg.Data, &e) == nil && e.Kind != bus.EventShardSealed && limit.Allow() {
					say(e.Time.Local().Format(time.TimeOnly) + " " + e.Text)
				}
			}
		}
	}
}

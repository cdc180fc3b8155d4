package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"text/tabwriter"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/monitor"
	"github.com/sluicedaq/sluice/internal/slab"
)

// shmDir is the memory file system that slabs lie in.
const shmDir = "/dev/shm"

// slabsCmd lists this user's slabs.
type slabsCmd struct {
	Camera config.Name `arg:"" optional:"" help:"Only those of this camera."`

	Rm    bool `name:"rm" help:"Remove those that no process uses, unless they hold frames that are not durable."`
	Force bool `name:"force" help:"With --rm: also those that hold frames, which are lost then."`
	JSON  bool `name:"json" help:"Print one JSON object in a line for each."`
}

// slabLine is what --json prints.
type slabLine struct {
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
	Camera   string `json:"camera,omitempty"`
	Run      string `json:"run,omitempty"`
	InUse    bool   `json:"in_use"`
	Phase    string `json:"phase,omitempty"`
	Captured uint64 `json:"captured"`
	Held     int    `json:"held"`
	Error    string `json:"error,omitempty"`
	Removed  bool   `json:"removed,omitempty"`
}

// Validate refuses a --force without --rm.
func (s *slabsCmd) Validate() error {
	if s.Force && !s.Rm {
		return errors.New("--force goes with --rm")
	}
	return nil
}

func (s *slabsCmd) run(_ context.Context, p *process) error {
	list, err := slab.List(shmDir)
	if err != nil {
		return err
	}
	var lines []slabLine
	for _, info := range list {
		line := lineOf(info)
		if s.Camera != "" && line.Camera != string(s.Camera) {
			continue
		}
		if s.Rm && !info.InUse && (info.Held == 0 || s.Force) {
			if line.Removed, err = removeSlab(info.Path); err != nil {
				return err
			}
		}
		lines = append(lines, line)
	}
	if s.JSON {
		for _, l := range lines {
			if err := printJSON(p.stdout, l); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SLAB\tBYTES\tCAMERA\tRUN\tSTATE\tCAPTURED\tHELD\t")
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.8s\t%s\t%d\t%d\t%s\n", l.Path, monitor.Bytes(l.Bytes), l.Camera, l.Run, l.state(), l.Captured, l.Held, l.note(s.Rm))
	}
	return t.Flush()
}

// lineOf describes one slab.
func lineOf(i slab.Info) slabLine {
	l := slabLine{Path: i.Path, Bytes: i.Bytes, InUse: i.InUse, Captured: i.Captured, Held: i.Held}
	if i.Err != nil {
		l.Error = i.Err.Error()
		return l
	}
	l.Camera, l.Run = i.Spec.Camera, i.Spec.Run.String()
	switch i.Phase {
	case slab.Armed:
		l.Phase = "armed"
	case slab.Capturing:
		l.Phase = "capturing"
	case slab.Draining:
		l.Phase = "draining"
	case slab.Done:
		l.Phase = "done"
	}
	return l
}

func (l slabLine) state() string {
	switch {
	case l.InUse:
		return "in use"
	case l.Error != "":
		return "damaged"
	}
	return "left, " + l.Phase
}

func (l slabLine) note(removing bool) string {
	switch {
	case l.Removed:
		return "removed"
	case removing && l.Held > 0 && !l.InUse:
		return "kept: a new acquire of the camera writes its frames; --force gives them up"
	}
	return l.Error
}

// removeSlab removes a slab unless a process holds it.
func removeSlab(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing a slab: %w", err)
	}
	defer f.Close()
	if slab.TryLock(f) != nil {
		return false, nil // somebody took it up just now
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("removing a slab: %w", err)
	}
	return true, nil
}

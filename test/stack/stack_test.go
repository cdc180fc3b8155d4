//go:build stack

// Package stack_test runs docker-compose.yml on a real Docker engine, with the images that deploy/Dockerfile builds. It
// takes root, and what `make deps-stack` installs.
package stack_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// beside is what a member may take of memory beside the buffers that it states.
const beside = 128 << 20

// busy counts the members of a group that are live and have done more frames than they are said to have done before.
func busy(s bus.Status, group string, before bus.Status) (n int) {
	for _, m := range s.Members {
		done := uint64(0)
		for _, b := range before.Members {
			if b.Name == m.Name {
				done = b.Frames
			}
		}
		if m.Group == group && m.State == "live" && m.Frames > done {
			n++
		}
	}
	return n
}

// TestStack: the stack comes up and records by itself, takes more hands while it runs, goes on without a writer that is
// killed, drains when it is stopped, and leaves a store in the caller's folder that has every frame.
func TestStack(t *testing.T) {
	e := startEngine(t)
	e.standIns()
	p := newProject(e)
	p.do("build")
	p.do("up", "--detach")
	p.healthy("acquire", 1)
	p.healthy("writer", 2)
	p.healthy("analyze", 1)
	first := p.until("two writers and an analyser work", func(s bus.Status) bool {
		return busy(s, "writer", bus.Status{}) == 2 && busy(s, "analyze", bus.Status{}) == 1 && s.Durable > 0
	})

	more := []string{"up", "--detach", "--scale", "writer=3", "--scale", "analyze=2"}
	p.do(more...)
	p.healthy("writer", 3)
	p.healthy("analyze", 2)
	grown := p.until("those that joined work too", func(s bus.Status) bool {
		return s.Run == first.Run && busy(s, "writer", first) == 3 && busy(s, "analyze", first) == 2
	})
	p.room(grown)
	everybody := []string{"health", "acquire:9464", "writer:9464", "analyze:9464"}
	if r := p.operator(everybody...); r.Code != 0 || strings.Count(r.Stdout, ": well\n") != 6 {
		t.Errorf("not everybody is found by the service's name, or well: %+v", r)
	}

	victim := p.containers("writer")[0]
	name := "writer-" + victim.Config.Hostname
	p.docker("kill", "--signal", "KILL", victim.ID)
	if r := p.operator(everybody...); r.Code != 0 || strings.Count(r.Stdout, ": well\n") != 5 {
		t.Errorf("with a writer less: %+v", r)
	}
	fewer := p.until("the others go on without it", func(s bus.Status) bool {
		gone := !slices.ContainsFunc(s.Members, func(m bus.Member) bool { return m.Name == name && m.State == "live" })
		return gone && busy(s, "writer", grown) == 2 && s.Durable > grown.Durable+50
	})
	p.do(more...)
	p.healthy("writer", 3)
	p.until("it is back under its name, and works", func(s bus.Status) bool {
		return slices.ContainsFunc(s.Members, func(m bus.Member) bool { return m.Name == name && m.State == "live" }) && busy(s, "writer", fewer) == 3
	})

	p.do("stop")
	for _, service := range []string{"nats", "acquire", "writer", "analyze"} {
		for _, c := range p.containers(service) {
			if c.State.Status != "exited" || c.State.ExitCode != 0 || c.State.OOMKilled {
				t.Errorf("%s %.12s ended so: %+v", service, c.ID, c.State)
			}
		}
	}
	p.judge(first)
	p.do("down", "--volumes")
	if left := e.docker("ps", "--all", "--quiet") + e.docker("volume", "ls", "--quiet"); left != "" {
		t.Errorf("containers or volumes are left: %s", left)
	}
}

// room checks that every container may take what its process may: acquire the budget and what is beside it, a member its
// buffers and what is beside them.
func (p *project) room(s bus.Status) {
	p.t.Helper()
	limits := map[string]int64{}
	for _, service := range []string{"writer", "analyze"} {
		for _, c := range p.containers(service) {
			limits[service+"-"+c.Config.Hostname] = c.HostConfig.Memory
		}
	}
	for _, m := range s.Members {
		if limit, known := limits[m.Name]; !known || limit < m.BufferBytes+beside {
			p.t.Errorf("%s has a limit of %d bytes, and states %d", m.Name, limit, m.BufferBytes)
		}
	}
	if limit := p.containers("acquire")[0].HostConfig.Memory; limit != s.Budget.Limit+192<<20 {
		p.t.Errorf("acquire has a limit of %d bytes, and a budget of %d", limit, s.Budget.Limit)
	}
}

// judge holds the store against what the camera makes.
func (p *project) judge(s bus.Status) {
	p.t.Helper()
	stores, err := filepath.Glob(filepath.Join(p.dir, "data", "*.ome.zarr"))
	if err != nil || len(stores) != 1 {
		p.t.Fatalf("stores: %v, %v", stores, err)
	}
	r := p.operator("verify", "/data/"+filepath.Base(stores[0]), "--json")
	var v programs.Verification
	r.LastLine(p.t, &v)
	if r.Code != 0 || !v.OK || v.Captured <= s.Captured || v.Written != v.Captured || v.Lost != 0 {
		p.t.Errorf("verify ends with %d: %+v", r.Code, v)
	}
	programs.CheckFrames(p.t, run.Summary{Store: stores[0], Source: s.Source, Captured: v.Captured, Written: v.Written, Lost: v.Lost})
	owned(p.t, filepath.Join(p.dir, "data"))
	p.t.Logf("%d frames", v.Captured)
}

package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/writer"
)

// statusEvery is how often a member publishes its status.
const statusEvery = time.Second

// status publishes the member's own account.
type status struct {
	publisher *bus.Publisher
	writer    *writer.Writer
	member    *link.Member
	restarts  int
	logger    *slog.Logger
}

// run publishes until ctx ends.
func (s status) run(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h := s.writer.Health()
		id, _ := s.writer.Claims()
		m := &bus.MemberStatus{
			Group: group, PID: os.Getpid(), Software: config.Software(), Restarts: s.restarts,
			RSSBytes: anonymous(), Goroutines: runtime.NumGoroutine(), Joined: s.member.Connected(),
			Work: bus.Work{Frames: h.Frames, Bytes: h.Bytes, Busy: h.Busy, Starved: h.Starved, Blocked: h.Blocked},
		}
		if h.Path != "" {
			m.Writer = &bus.WriterStatus{
				Path: h.Path, FreeBytes: h.FreeBytes, StoredBytes: h.StoredBytes, SyncP50NS: h.SyncP50NS, SyncP99NS: h.SyncP99NS,
				DurableP50NS: h.DurableP50NS, DurableP99NS: h.DurableP99NS, Direct: h.Direct, Fallback: h.Fallback,
			}
		}
		if err := s.publisher.Member(id, m); err != nil {
			s.logger.Debug("a status is lost", "error", err)
		}
	}
}

// anonymous is this process's anonymous memory in bytes, 0 where the kernel does not say.
func anonymous() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, text, _ = bytes.Cut(text, []byte("RssAnon:"))
	text, _, _ = bytes.Cut(text, []byte("kB"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

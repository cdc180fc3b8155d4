package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// logger hands the server's warnings and errors to slog. What it warns of before it is ready is our own choice of
// options, such as a password in memory.
type logger struct {
	log   *slog.Logger
	ready atomic.Bool
}

var _ server.Logger = (*logger)(nil)

// Noticef implements [server.Logger].
func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("NATS server", "text", fmt.Sprintf(format, v...))
}

// Warnf implements [server.Logger].
func (l *logger) Warnf(format string, v ...any) {
	level := slog.LevelDebug
	if l.ready.Load() {
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "NATS server", "text", fmt.Sprintf(format, v...))
}

// Fatalf implements [server.Logger]. The server goes on to say by its state that it is not ready.
func (l *logger) Fatalf(format string, v ...any) {
	l.log.Error("NATS server", "text", fmt.Sprintf(format, v...))
}

// Errorf implements [server.Logger].
func (l *logger) Errorf(format string, v ...any) {
	l.log.Warn("NATS server", "text", fmt.Sprintf(format, v...))
}

// Debugf implements [server.Logger].
func (l *logger) Debugf(string, ...any) {}

// Tracef implements [server.Logger].
func (l *logger) Tracef(string, ...any) {}

package config

import (
	"io"
	"log/slog"
)

// LogLevel is the name of a log level.
type LogLevel string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *LogLevel) UnmarshalText(text []byte) error {
	return oneOf((*string)(l), string(text), "debug", "info", "warn", "error")
}

// Level is the level for package slog.
func (l LogLevel) Level() slog.Level {
	switch l {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// LogFormat is the name of a log format.
type LogFormat string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *LogFormat) UnmarshalText(text []byte) error {
	return oneOf((*string)(f), string(text), "text", "json")
}

// Logger makes the process's logger. Each line names the process.
func (c Common) Logger(w io.Writer, process string) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel.Level()}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if c.LogFormat == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	return slog.New(h).With("process", process)
}

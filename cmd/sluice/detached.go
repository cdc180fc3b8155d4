package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/monitor"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// A detached run is `sluice run` in a session of its own:
//
//	sluice run --detach ──starts──▶ sluice run ── CAMERA.log, CAMERA.run
//	                    ◀── news ──
//
// The news come over a pipe, until the run has begun or has failed to.

// detachedRun is what --detach --json prints, and with the end added the content of the camera's run file.
type detachedRun struct {
	V       int          `json:"v"` // 1
	Camera  string       `json:"camera"`
	Run     frames.RunID `json:"run"`
	Store   string       `json:"store"`
	PID     int          `json:"pid"` // of sluice run
	Log     string       `json:"log"`
	Started time.Time    `json:"started"`
	Ended   *ending      `json:"ended,omitempty"`
}

// ending is how a run ended.
type ending struct {
	Code    int             `json:"code"`
	Error   string          `json:"error,omitempty"`
	Summary *runpkg.Summary `json:"summary,omitempty"`
}

// err is the ending as the error that the run's own command ended with.
func (e ending) err() error {
	if e.Code == exit.OK {
		return nil
	}
	return exit.Errorf(e.Code, "%s", e.Error)
}

// news is one line to the command that waits for the run's start.
type news struct {
	Say     string       `json:"say,omitempty"`
	Started *detachedRun `json:"started,omitempty"`
	Failed  *ending      `json:"failed,omitempty"`
}

// errUntold is the end of a detached run that had no time to say why.
var errUntold = errors.New("the run ended before it began")

// background is the detached run's side.
type background struct {
	camera string
	log    *logFile
	file   *os.File // the run file, locked

	mu   sync.Mutex // guards what follows
	pipe *os.File   // to the command that waits, nil once it knows
	run  *detachedRun
}

// newBackground makes a detached run of this process, if that is what it was started for; else it returns nil.
func newBackground(p *process, camera string) (*background, error) {
	v := p.getenv(config.DetachedVar)
	if v == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, exit.Errorf(exit.Usage, "%s: %q is not a file descriptor: only sluice run sets it", config.DetachedVar, v)
	}
	syscall.CloseOnExec(fd)
	b := &background{camera: camera, pipe: os.NewFile(uintptr(fd), "news")}
	dir, err := broker.Dir(p.getenv)
	if err != nil {
		return nil, b.failed(&exit.Error{Code: exit.Usage, Err: err})
	}
	place := broker.At(dir, camera)
	b.log = &logFile{path: place.LogFile()}
	if b.file, err = os.OpenFile(place.RunFile(), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600); err != nil {
		return nil, b.failed(fmt.Errorf("the run's file: %w", err))
	}
	if err := slab.TryLock(b.file); err != nil {
		return nil, b.failed(exit.Errorf(exit.Usage, "%w: %s", broker.ErrHeld, camera))
	}
	return b, nil
}

// tell sends news to who waits for them, and hears no answer.
func (b *background) tell(n news) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pipe == nil {
		return
	}
	if line, err := json.Marshal(n); err == nil {
		_, _ = b.pipe.Write(append(line, '\n')) // who waited may be gone: the run goes on
	}
	if n.Started != nil || n.Failed != nil {
		b.pipe.Close()
		b.pipe = nil
	}
}

// started keeps what the run is, and tells it.
func (b *background) started(a bus.Armed) error {
	b.mu.Lock()
	b.run = &detachedRun{
		V: 1, Camera: b.camera, Run: a.Spec.Run, Store: a.Store, PID: os.Getpid(), Log: b.log.path, Started: time.Now().UTC(),
	}
	err := b.write()
	b.mu.Unlock()
	if err == nil {
		b.tell(news{Started: b.run})
	}
	return err
}

// write writes the run file. It is small, and nobody reads it while it is locked.
func (b *background) write() error {
	text, err := json.Marshal(b.run)
	if err == nil {
		err = b.file.Truncate(0)
	}
	if err == nil {
		_, err = b.file.WriteAt(append(text, '\n'), 0)
	}
	if err != nil {
		return fmt.Errorf("the run's file: %w", err)
	}
	return nil
}

// end keeps how the run ended, or tells why it never began, and lets go of the files. It returns err.
func (b *background) end(summary *runpkg.Summary, err error) error {
	if b.run == nil {
		return b.failed(err)
	}
	b.run.Ended = &ending{Code: exit.Code(err), Summary: summary}
	if err != nil {
		b.run.Ended.Error = err.Error()
	}
	return errors.Join(err, b.write(), b.file.Close())
}

// failed tells why the run did not begin, and returns err.
func (b *background) failed(err error) error {
	e := ending{Code: exit.Code(err), Error: errUntold.Error()}
	if err != nil {
		e.Error = err.Error()
	}
	b.tell(news{Failed: &e})
	if b.file != nil {
		b.file.Close()
	}
	return err
}

// screen shows what goes on in the log, and until the run has begun to who waits.
func (b *background) screen(s monitor.Screen) monitor.Screen { return heard{s, b} }

// heard is a screen whose lines somebody waits for.
type heard struct {
	monitor.Screen
	to *background
}

// Say implements [monitor.Screen].
func (h heard) Say(line string) {
	h.Screen.Say(line)
	h.to.tell(news{Say: line})
}

// maxLog bounds each of the two parts of a detached run's log, in bytes.
const maxLog = 4 << 20

// logFile is the log of a detached run. Each write gets the time before it. A full part becomes the earlier one, in the
// place of the one that was.
type logFile struct {
	path string

	mu   sync.Mutex // guards what follows
	file *os.File
	size int64
}

var _ io.Writer = (*logFile)(nil)

// Write writes one or several whole lines.
func (l *logFile) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return 0, err
	}
	n, err := l.file.Write(append([]byte(time.Now().UTC().Format("2006-01-02T15:04:05.000Z ")), text...))
	l.size += int64(n)
	return len(text), err
}

// open makes room for a write.
func (l *logFile) open() error {
	if l.file != nil && l.size < maxLog {
		return nil
	}
	if l.file != nil {
		if err := errors.Join(l.file.Close(), os.Rename(l.path, l.path+".1")); err != nil {
			return fmt.Errorf("the run's log: %w", err)
		}
		l.file = nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("the run's log: %w", err)
	}
	l.file, l.size = f, 0
	if info, err := f.Stat(); err == nil {
		l.size = info.Size()
	}
	return nil
}

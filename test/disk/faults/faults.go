// Package faults steers what becomes of a real writer's disk operations from a test in another process: the test puts
// rules into a folder, at any time, and reads there what the writer did.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// Folder is the variable that names the folder.
const Folder = "DISK_FAULTS"

const rulesName = "rules.json"

// Rule is about some of a writer's operations.
type Rule struct {
	// Writer is the name of the writer that it is about, Op the operation's, both empty for all, as [vfs.Op] has it.
	Writer, Op string
	// Path is a part of the paths that it is about.
	Path string
	// First is the first of these operations that the rule is about, from 0; Count is how many, 0 for all that follow.
	// Each of a writer's lives counts anew.
	First, Count int
	// Lives is in how many of a writer's lives the rule holds, from the first on; 0 for all.
	Lives int
	// Do is what becomes of the operation, after Delay.
	Do    vfs.Injection
	Delay time.Duration
}

// Done is an operation that a writer did, or was kept from doing.
type Done struct {
	Writer   string
	Restarts int
	Op, Path string
	Do       vfs.Injection
	Delay    time.Duration
}

// Set replaces the rules of a folder. Writers that run follow in a moment.
func Set(dir string, rules ...Rule) error {
	b, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "new-"+rulesName)
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, rulesName))
}

// Read returns what all writers of a folder have done so far: of each writer's life in order.
func Read(dir string) ([]Done, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.done"))
	if err != nil {
		return nil, err
	}
	var all []Done
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			var d Done
			if !strings.HasSuffix(line, "\n") {
				break // it is being written
			}
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, d)
		}
	}
	return all, nil
}

// Disk is a writer's disk with the faults of a folder.
type Disk struct {
	dir, writer string
	restarts    int
	log         *os.File

	mu    sync.Mutex // guards what follows
	text  string     // the rules, as they were read
	rules []Rule
	met   []int // how many operations each rule was about
}

// Open reads the rules that hold for one of a writer's lives.
func Open(dir, writer string, restarts int) (*Disk, error) {
	d := &Disk{dir: dir, writer: writer, restarts: restarts}
	if err := d.look(); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%03d.done", writer, restarts))
	log, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	d.log = log
	return d, err
}

// FS is the real disk with the faults.
func (d *Disk) FS() vfs.FS { return vfs.NewFault(vfs.OS{}, 0, d.plan) }

// Follow reads the rules again and again until ctx ends.
func (d *Disk) Follow(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = d.look() // a folder that has gone changes nothing
	}
}

func (d *Disk) look() error {
	b, err := os.ReadFile(filepath.Join(d.dir, rulesName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if string(b) == d.text {
		return nil
	}
	var rules []Rule
	if err := json.Unmarshal(b, &rules); err != nil {
		return err
	}
	d.text, d.rules, d.met = string(b), rules, make([]int, len(rules))
	return nil
}

// plan decides what becomes of one operation. The first rule that is about it holds.
func (d *Disk) plan(op vfs.Op) vfs.Injection {
	do, delay := d.decide(op)
	if delay > 0 {
		<-time.After(delay)
	}
	return do
}

func (d *Disk) decide(op vfs.Op) (vfs.Injection, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var do vfs.Injection
	var delay time.Duration
	for i, r := range d.rules {
		if r.Writer != "" && r.Writer != d.writer || r.Op != "" && r.Op != op.Name || !strings.Contains(op.Path, r.Path) || r.Lives > 0 && d.restarts >= r.Lives {
			continue
		}
		n := d.met[i]
		d.met[i]++
		if n >= r.First && (r.Count == 0 || n < r.First+r.Count) {
			do, delay = r.Do, r.Delay
			break
		}
	}
	b, err := json.Marshal(Done{d.writer, d.restarts, op.Name, op.Path, do, delay})
	if err == nil {
		_, err = d.log.Write(append(b, '\n'))
	}
	if err != nil {
		return vfs.IO, 0 // the test misses it, and sees why
	}
	return do, delay
}

// Package e2e_test runs the real programs against each other: the broker, acquire, writers and analysers as `sluice
// run` starts them, with a store on the real disk.
package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	var err error
	if bin, err = programs.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// messages collects what comes on a subject.
type messages struct {
	mu  sync.Mutex
	all [][]byte
}

// listen subscribes to a subject until the test ends.
func listen(t *testing.T, url, subject string) *messages {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	m := &messages{}
	if _, err := nc.Subscribe(subject, func(msg *nats.Msg) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.all = append(m.all, msg.Data)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return m
}

// decode returns every message so far as JSON objects.
func (m *messages) decode(t *testing.T) []map[string]any {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []map[string]any
	for _, b := range m.all {
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Errorf("a message is no JSON: %v\n%q", err, b)
			continue
		}
		list = append(list, v)
	}
	return list
}

package bus

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Publisher fills envelopes and publishes messages for one process of one camera. Its methods may be called
// concurrently and never block on the network: while the connection is down they return an error, and the
// message is lost.
type Publisher struct {
	nc      *nats.Conn
	camera  string
	host    string
	process string
}

// NewPublisher makes the publisher of a process: "acquire", or a member's name.
func NewPublisher(nc *nats.Conn, camera, process string) *Publisher {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Publisher{nc: nc, camera: camera, host: host, process: process}
}

// Encode fills m's envelope and returns m as one line of JSON, without the newline.
func (p *Publisher) Encode(t Type, run frames.RunID, m Message) ([]byte, error) {
	*m.Head() = Envelope{
		V: Version, Type: t, Time: time.Now().UTC(), Camera: p.camera, Run: run, Host: p.host, Process: p.process,
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s message: %w", t, err)
	}
	return b, nil
}

// Publish encodes m and publishes it. The encoded line is returned also where publishing failed.
func (p *Publisher) Publish(subject string, t Type, run frames.RunID, m Message) ([]byte, error) {
	b, err := p.Encode(t, run, m)
	if err != nil {
		return nil, err
	}
	if err := p.nc.Publish(subject, b); err != nil {
		return b, fmt.Errorf("publishing a %s message: %w", t, err)
	}
	return b, nil
}

// Status publishes the camera's status.
func (p *Publisher) Status(run frames.RunID, s *Status) error {
	_, err := p.Publish(StatusSubject(p.camera), TypeStatus, run, s)
	return err
}

// Member publishes a member's status.
func (p *Publisher) Member(run frames.RunID, s *MemberStatus) error {
	_, err := p.Publish(StatusSubject(p.camera), TypeMember, run, s)
	return err
}

// Backpressure publishes a transition.
func (p *Publisher) Backpressure(run frames.RunID, b *Backpressure) error {
	_, err := p.Publish(BackpressureSubject(p.camera), TypeBackpressure, run, b)
	return err
}

// Event publishes an event and returns its line for the run's event log, also where publishing failed.
func (p *Publisher) Event(run frames.RunID, e *Event) ([]byte, error) {
	return p.Publish(EventsSubject(p.camera), TypeEvent, run, e)
}

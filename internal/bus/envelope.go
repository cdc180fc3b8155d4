package bus

import (
	"time"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Version is the version of the messages. A field may be added within a version; none changes its meaning.
const Version = 1

// Type names the kind of a message.
type Type string

// The types of this package's messages.
const (
	TypeStatus       Type = "status"
	TypeMember       Type = "member"
	TypeBackpressure Type = "backpressure"
	TypeEvent        Type = "event"
	TypeReply        Type = "reply"
)

// Envelope is what every JSON message begins with.
type Envelope struct {
	V       int          `json:"v"`
	Type    Type         `json:"type"`
	Time    time.Time    `json:"time"` // RFC 3339, UTC
	Camera  string       `json:"camera"`
	Run     frames.RunID `json:"run,omitzero"` // absent while there is no run
	Host    string       `json:"host"`
	Process string       `json:"process"` // "acquire", or the member's name
}

// Head returns the envelope itself: it makes every struct that embeds one a [Message].
func (e *Envelope) Head() *Envelope { return e }

// Message is a pointer to a struct that embeds Envelope.
type Message interface{ Head() *Envelope }

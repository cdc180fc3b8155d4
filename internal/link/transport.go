package link

import (
	"context"
	"strings"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Transport carries datagrams by subject. It may lose, double and reorder them: it is what core NATS gives
// through restarts of the broker. All methods may be called concurrently.
type Transport interface {
	// Publish sends one datagram and does not block on the network. It does not keep data.
	Publish(subject string, data []byte) error
	// Subscribe calls f for each datagram on subject (a token of which may be "*"), one at a time, until the
	// returned function is called, which waits for a running f. f is given the datagram's own subject and may
	// keep the data.
	Subscribe(subject string, f func(subject string, data []byte)) (unsubscribe func(), err error)
	// Connected reports whether datagrams have a chance to get through now. While it is false nobody can
	// be declared dead for being silent.
	Connected() bool
}

// Subjects of the link below a camera's own ("sluice.cam0"). They name the group, so that a broker can keep who is of one
// from speaking as another.
func joinSubject(base, group string) string { return base + ".link.join." + group }

func upSubject(base, group, name string) string { return base + ".link.up." + group + "." + name }

func downSubject(base, group, name string) string { return base + ".link.down." + group + "." + name }

// lastToken cuts the last token off a subject.
func lastToken(subject string) (rest, last string) {
	i := strings.LastIndexByte(subject, '.')
	return subject[:max(i, 0)], subject[i+1:]
}

// The names of the carriers.
const (
	SharedMemory = "shm"       // the slab, mapped
	JetStream    = "jetstream" // messages, for who cannot map the slab
)

// Carrier is a consumer's way from offers to pixels.
type Carrier interface {
	// Names are those of the ways that Open may take, for [Join].
	Names() []string
	// Open makes the run's frames reachable. It refuses what it cannot trust.
	Open(ctx context.Context, a Armed) (Mapping, error)
}

// Way is how the pixels of a run come to a member.
type Way struct {
	Carrier string
	// Window is how many frames a member has memory of its own for, and Bytes how much that is: 0 where frames lie in
	// memory that acquire's host shares.
	Window int
	Bytes  int64
}

// Mapping is an open run of a Carrier.
type Mapping interface {
	// Frames turns offers into frames and calls each for every one, in order, up to the first whose pixels are on their
	// way; it returns for how many. Where that is none it has waited, for a while or until ctx ended: acquire may be
	// asked for them then. An error wrapping slab.ErrStale means that the frame is not there any more; any other that
	// the offer breaks the protocol.
	Frames(ctx context.Context, offers []frames.Offer, each func(frames.Offer, *frames.Frame, error)) int
	// Way says how pixels come.
	Way() Way
	// Close frees the mapping; frames made from it must not be read any more.
	Close() error
}

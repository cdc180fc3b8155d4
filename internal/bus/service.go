package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// flushTime bounds how long a new service waits until the broker knows of it.
	flushTime = 5 * time.Second
	// pendingRequests and pendingBytes bound the requests for one verb that wait while another is in work. One that is
	// far too large finds room, so that it is refused with a reason rather than dropped.
	pendingRequests = 1024
	pendingBytes    = 12 << 20
	// maxMessage bounds the message of an error, in bytes.
	maxMessage = 2048
)

// errInbox is about a request that would have acquire say something in a place of the asker's choice.
var errInbox = fmt.Errorf("%w: its answer is to go to a subject that is no inbox", ErrRequest)

// errNoReply is about a request that wants no answer. Who may ask JetStream can have it send messages to any subject, also
// empty ones, and to one of control: but none that asks for an answer in an inbox.
var errNoReply = fmt.Errorf("%w: it names no subject for the answer", ErrRequest)

// Service is a process's presence among NATS services: it answers $SRV.PING, INFO and STATS, and acquire's
// also the control subjects.
type Service struct {
	svc    micro.Service
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed; a request counts into wg under it
	closed bool
	wg     sync.WaitGroup
}

// Serve registers the process as the service "sluice-ROLE" (acquire, writer, analyze).
func Serve(ctx context.Context, nc *nats.Conn, role, camera, process string) (*Service, error) {
	s, _, err := newService(ctx, nc, role, camera, process)
	if err != nil {
		return nil, err
	}
	return s, s.ready(ctx, nc)
}

// ServeControl registers acquire's service and answers the camera's control subjects by c. Each verb is
// served by a goroutine of its own, so status is answered while arm works. Handlers get a context that ends
// with ctx and with Close. book, if not nil, takes down requests that are none.
func ServeControl(ctx context.Context, nc *nats.Conn, p *Publisher, c Control, book *refusal.Book) (*Service, error) {
	s, ctx, err := newService(ctx, nc, "acquire", p.camera, p.process)
	if err != nil {
		return nil, err
	}
	group := s.svc.AddGroup(strings.TrimSuffix(ControlSubject(p.camera, ""), "."))
	for verb, h := range map[Verb]handler{
		VerbArm: handle(c.Arm), VerbStart: handle(c.Start), VerbStop: handle(c.Stop),
		VerbPause: handle(c.Pause), VerbResume: handle(c.Resume), VerbStatus: handle(c.Status),
	} {
		err := group.AddEndpoint(string(verb), micro.HandlerFunc(func(r micro.Request) {
			if err := answerable(r.Reply()); err != nil {
				book.Note(refusal.Answer, err, "verb", verb)
				return
			}
			if err := s.serve(ctx, p, h, r); errors.Is(err, ErrRequest) {
				book.Note(refusal.Request, err, "verb", verb)
			}
		}), micro.WithEndpointPendingLimits(pendingRequests, pendingBytes))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serving %s: %w", verb, err), s.Close())
		}
	}
	return s, s.ready(ctx, nc)
}

// newService registers a service without endpoints.
func newService(ctx context.Context, nc *nats.Conn, role, camera, process string) (*Service, context.Context, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	svc, err := micro.AddService(nc, micro.Config{
		Name: "sluice-" + role, Version: config.Version(), Description: "Sluice's " + role + " of camera " + camera,
		Metadata: map[string]string{"camera": camera, "process": process, "host": host, "pid": strconv.Itoa(os.Getpid()), "software": config.Software()},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("registering the service sluice-%s: %w", role, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &Service{svc: svc, cancel: cancel}, ctx, nil
}

// ready waits until the broker has the service's subscriptions.
func (s *Service) ready(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	err := nc.FlushWithContext(ctx)
	if errors.Is(err, nats.ErrConnectionClosed) && !nc.IsClosed() {
		return nil // it was lost just now: the subscriptions are made again with it
	}
	if err != nil {
		return errors.Join(fmt.Errorf("registering a service: %w", err), s.Close())
	}
	return nil
}

// Close stops serving, cancels requests in work and waits for them.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	err := s.svc.Stop()
	s.wg.Wait()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stopping a service: %w", err)
	}
	return nil
}

// handler decodes a request, does it and returns the run that it was about and the result.
type handler func(ctx context.Context, data []byte) (frames.RunID, any, error)

// handle makes a handler of one method of Control.
func handle[Req, Res any](do func(context.Context, Req) (Res, error)) handler {
	return func(ctx context.Context, data []byte) (frames.RunID, any, error) {
		var req Req
		if err := DecodeRequest(data, &req); err != nil {
			return frames.RunID{}, nil, &exit.Error{Code: exit.Usage, Err: err}
		}
		res, err := do(ctx, req)
		return runOf(res), res, err
	}
}

// runOf is the run that a result is about.
func runOf(res any) frames.RunID {
	switch r := res.(type) {
	case Armed:
		return r.Spec.Run
	case Ack:
		return r.Run
	case Status:
		return r.Run
	}
	return frames.RunID{}
}

// Inbox reports whether an answer may go to a subject: not to one that means something to Sluice or to NATS, where it
// would be taken for a message of this process's own.
func Inbox(subject string) bool {
	return !strings.HasPrefix(subject, root) && !strings.HasPrefix(subject, "$")
}

// answerable refuses a request by where its answer is to go.
func answerable(reply string) error {
	switch {
	case reply == "":
		return errNoReply
	case !Inbox(reply):
		return errInbox
	}
	return nil
}

// serve answers one request, and returns the error that it answers with.
func (s *Service) serve(ctx context.Context, p *Publisher, h handler, r micro.Request) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()

	run, result, err := h(ctx, r.Data())
	reply := Reply{OK: err == nil}
	if err == nil {
		if reply.Result, err = encodeResult(p, run, result); err != nil {
			reply = Reply{}
		}
	}
	if err != nil {
		reply.Error = &Error{Code: exit.Code(err), Message: refusal.Clip(oneLine(err.Error()), maxMessage)}
	}
	b, encodeErr := p.Encode(TypeReply, run, &reply)
	if encodeErr != nil {
		return encodeErr // only a type that JSON can't have gets here; the asker's deadline tells
	}
	// An error in sending the answer shows in the service's STATS and as the asker's deadline.
	if reply.OK {
		_ = r.Respond(b)
		return nil
	}
	_ = r.Error(strconv.Itoa(reply.Error.Code), reply.Error.Message, b)
	return err
}

// encodeResult encodes a result; a status gets its envelope, as when it is published.
func encodeResult(p *Publisher, run frames.RunID, result any) ([]byte, error) {
	if s, ok := result.(Status); ok {
		return p.Encode(TypeStatus, run, &s)
	}
	return json.Marshal(result)
}

// oneLine makes a text fit for one line and a header.
func oneLine(s string) string {
	if s = strings.Join(strings.Fields(s), " "); s == "" {
		return "unknown error"
	}
	return s
}

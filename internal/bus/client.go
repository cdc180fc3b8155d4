package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// How long a request may take where the context has no deadline. Arming waits for members.
const (
	requestTime = 10 * time.Second
	armTime     = time.Minute
)

// maxCode is the largest code that a process can exit with.
const maxCode = 255

// Client asks a camera's acquire. It is a [Control] too: its methods do what acquire's do, and errors come
// back with their exit codes. Where nobody answers, the error wraps ErrNoAnswer with code exit.Unavailable.
type Client struct {
	nc     *nats.Conn
	camera string
}

var _ Control = (*Client)(nil)

// NewClient makes a client of the camera.
func NewClient(nc *nats.Conn, camera string) *Client { return &Client{nc: nc, camera: camera} }

// Arm implements [Control].
func (c *Client) Arm(ctx context.Context, r ArmRequest) (Armed, error) {
	return ask[Armed](ctx, c, VerbArm, r, armTime)
}

// Start implements [Control]. It may have to arm first.
func (c *Client) Start(ctx context.Context, r RunRequest) (Ack, error) {
	return ask[Ack](ctx, c, VerbStart, r, armTime)
}

// Stop implements [Control].
func (c *Client) Stop(ctx context.Context, r StopRequest) (Ack, error) {
	return ask[Ack](ctx, c, VerbStop, r, requestTime)
}

// Pause implements [Control].
func (c *Client) Pause(ctx context.Context, r RunRequest) (Ack, error) {
	return ask[Ack](ctx, c, VerbPause, r, requestTime)
}

// Resume implements [Control].
func (c *Client) Resume(ctx context.Context, r RunRequest) (Ack, error) {
	return ask[Ack](ctx, c, VerbResume, r, requestTime)
}

// Status implements [Control].
func (c *Client) Status(ctx context.Context, r RunRequest) (Status, error) {
	return ask[Status](ctx, c, VerbStatus, r, requestTime)
}

// ask sends one request and waits for its answer, at most for limit where ctx has no deadline.
func ask[Res any](ctx context.Context, c *Client, verb Verb, request any, limit time.Duration) (Res, error) {
	var result Res
	body, err := json.Marshal(request)
	if err != nil {
		return result, fmt.Errorf("encoding the request %s: %w", verb, err)
	}
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	msg, err := c.request(ctx, ControlSubject(c.camera, verb), body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return result, exit.Errorf(exit.Unavailable, "%w: no acquire of camera %s is there to %s", ErrNoAnswer, c.camera, verb)
	case errors.Is(err, nats.ErrPermissionViolation):
		return result, exit.Errorf(exit.Usage, "the NATS server does not let this user ask camera %s to %s", c.camera, verb)
	case errors.Is(err, context.DeadlineExceeded):
		return result, exit.Errorf(exit.Unavailable, "%w: acquire of camera %s did not answer %s in time", ErrNoAnswer, c.camera, verb)
	case err != nil && ctx.Err() == nil && !c.nc.IsConnected():
		return result, exit.Errorf(exit.Unavailable, "%w: the connection to NATS is down, camera %s can't be asked to %s", ErrNoAnswer, c.camera, verb)
	case err != nil:
		return result, fmt.Errorf("asking camera %s to %s: %w", c.camera, verb, err)
	}
	var reply Reply
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		return result, fmt.Errorf("reading the answer to %s: %w", verb, err)
	}
	if !reply.OK {
		if reply.Error == nil {
			return result, fmt.Errorf("%s: the answer is neither ok nor an error", verb)
		}
		code := reply.Error.Code
		if code <= exit.OK || code > maxCode { // no answer makes of a refusal a success
			code = exit.Internal
		}
		return result, &exit.Error{Code: code, Err: errors.New(refusal.Clip(reply.Error.Message, maxMessage))}
	}
	if err := json.Unmarshal(reply.Result, &result); err != nil {
		return result, fmt.Errorf("reading the answer to %s: %w", verb, err)
	}
	return result, nil
}

// lookEvery is how often a request that waits looks for what the server says of it.
const lookEvery = 100 * time.Millisecond

// request is the connection's, and ends early when the server refuses it: it says so without saying whose request it was,
// so that the words are held against the subject.
func (c *Client) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	before := c.nc.LastError()
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := c.nc.LastError()
			if err != before && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`) { //nolint:errorlint // another one, not another kind
				cancel(err)
			}
		}
	})
	msg, err := c.nc.RequestWithContext(ctx, subject, body)
	if why := context.Cause(ctx); err != nil && errors.Is(why, nats.ErrPermissionViolation) {
		err = why
	}
	cancel(nil)
	looking.Wait()
	return msg, err
}

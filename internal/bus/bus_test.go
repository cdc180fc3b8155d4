package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// camera is a Control that remembers what it was asked.
type camera struct {
	armed   chan bus.ArmRequest
	release chan struct{} // Arm waits for it
	run     frames.RunID
}

var _ bus.Control = (*camera)(nil)

func (c *camera) Arm(ctx context.Context, r bus.ArmRequest) (bus.Armed, error) {
	c.armed <- r
	select {
	case <-c.release:
		return bus.Armed{Spec: run.Spec{Run: c.run, Camera: "cam0", Geometry: frames.Geometry{Height: 1, Width: 2, Channels: 1, Dtype: frames.Uint8}}, Slots: 3}, nil
	case <-ctx.Done():
		return bus.Armed{}, context.Cause(ctx)
	}
}

func (c *camera) Start(context.Context, bus.RunRequest) (bus.Ack, error) {
	return bus.Ack{}, exit.Errorf(exit.Usage, "a run is already\nrunning")
}

func (c *camera) Stop(_ context.Context, r bus.StopRequest) (bus.Ack, error) {
	return bus.Ack{Run: r.Run, State: bus.StateDraining, Captured: 7}, nil
}

func (c *camera) Pause(context.Context, bus.RunRequest) (bus.Ack, error) {
	return bus.Ack{}, errors.New("broken")
}

func (c *camera) Resume(context.Context, bus.RunRequest) (bus.Ack, error) {
	return bus.Ack{State: bus.StateRunning}, nil
}

func (c *camera) Status(context.Context, bus.RunRequest) (bus.Status, error) {
	return bus.Status{State: bus.StateArming, Captured: 1 << 60}, nil
}

func serve(t *testing.T, srv *bustest.Server) (*camera, *bus.Service) {
	t.Helper()
	nc := srv.Connect("acquire")
	c := &camera{armed: make(chan bus.ArmRequest, 1), release: make(chan struct{}), run: frames.NewRunID()}
	s, err := bus.ServeControl(t.Context(), nc, bus.NewPublisher(nc, "cam0", "acquire"), c, refusal.New(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

func TestControl(t *testing.T) {
	srv := bustest.Start(t)
	c, _ := serve(t, srv)
	client := bus.NewClient(srv.Connect("ctl"), "cam0")
	ctx := t.Context()

	type answer struct {
		armed bus.Armed
		err   error
	}
	answers := make(chan answer)
	request := bus.ArmRequest{Frames: 10, Budget: 1 << 20, Compress: config.Compress{Codec: "zstd", Level: 3}, PixelSize: 0.5, Meta: config.Meta{"a": "b"}}
	go func() {
		armed, err := client.Arm(ctx, request)
		answers <- answer{armed, err}
	}()
	if d := cmp.Diff(request, <-c.armed); d != "" {
		t.Errorf("request (-sent +received):\n%s", d)
	}
	// Status is answered while arm works.
	if s, err := client.Status(ctx, bus.RunRequest{}); err != nil || s.State != bus.StateArming || s.Captured != 1<<60 || s.Type != bus.TypeStatus || s.Camera != "cam0" {
		t.Errorf("status: %+v, %v", s, err)
	}
	close(c.release)
	if a := <-answers; a.err != nil || a.armed.Spec.Run != c.run || a.armed.Slots != 3 {
		t.Errorf("arm: %+v", a)
	}
	if a, err := client.Stop(ctx, bus.StopRequest{Run: c.run, Hard: true}); err != nil || a != (bus.Ack{Run: c.run, State: bus.StateDraining, Captured: 7}) {
		t.Errorf("stop: %+v, %v", a, err)
	}
	if a, err := client.Resume(ctx, bus.RunRequest{}); err != nil || a.State != bus.StateRunning {
		t.Errorf("resume: %+v, %v", a, err)
	}
	if _, err := client.Start(ctx, bus.RunRequest{}); exit.Code(err) != exit.Usage || err.Error() != "a run is already running" {
		t.Errorf("start: %d, %v", exit.Code(err), err)
	}
	if _, err := client.Pause(ctx, bus.RunRequest{}); exit.Code(err) != exit.Internal || err.Error() != "broken" {
		t.Errorf("pause: %d, %v", exit.Code(err), err)
	}
}

func TestControlRefusesBadRequests(t *testing.T) {
	srv := bustest.Start(t)
	serve(t, srv)
	nc := srv.Connect("ctl")
	for body, want := range map[string]string{
		`{"framse":3}`:       `bad request: unknown field "framse"`,
		`{"frames":0}`:       `bad request: bad value: "0" is not a whole number of at least 1`,
		`{"source":3}`:       `bad request: field "source": a JSON number is not wanted here`,
		`{"budget":"0"}`:     `bad request: bad value: the size "0" is zero: it must be more`,
		`{"duration":"-1s"}`: `bad request: bad request: "-1s" is not a time of more than zero, such as 10s`,
		`{} {}`:              `bad request: something follows the JSON object`,
		`[`:                  `bad request: unexpected EOF`,
		`{"meta":{"a":"` + strings.Repeat("x", bus.MaxRequest) + `"}}`: `bad request: 65553 bytes are more than 65536`,
	} {
		msg, err := nc.Request(bus.ControlSubject("cam0", bus.VerbArm), []byte(body), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var reply bus.Reply
		if err := json.Unmarshal(msg.Data, &reply); err != nil {
			t.Fatal(err)
		}
		if reply.OK || reply.Error == nil || reply.Error.Code != exit.Usage || reply.Error.Message != want {
			t.Errorf("%.40s: %+v, want %s", body, reply.Error, want)
		}
		if reply.V != 1 || reply.Type != bus.TypeReply || reply.Camera != "cam0" || reply.Process != "acquire" {
			t.Errorf("envelope: %+v", reply.Envelope)
		}
		if got := msg.Header.Get(micro.ErrorCodeHeader); got != "2" {
			t.Errorf("header: %q", got)
		}
	}
}

func TestCloseCancelsRequests(t *testing.T) {
	srv := bustest.Start(t)
	c, s := serve(t, srv)
	client := bus.NewClient(srv.Connect("ctl"), "cam0")
	errs := make(chan error)
	go func() {
		_, err := client.Arm(t.Context(), bus.ArmRequest{})
		errs <- err
	}()
	<-c.armed
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-errs; err == nil || err.Error() != "context canceled" {
		t.Errorf("arm: %v", err)
	}
	_, err := client.Status(t.Context(), bus.RunRequest{})
	if !errors.Is(err, bus.ErrNoAnswer) || exit.Code(err) != exit.Unavailable {
		t.Errorf("status: %v", err)
	}
}

func TestServiceIsDiscovered(t *testing.T) {
	srv := bustest.Start(t)
	nc := srv.Connect("writer-1")
	s, err := bus.Serve(t.Context(), nc, "writer", "cam0", "writer-1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	msg, err := srv.Connect("ctl").Request("$SRV.INFO.sluice-writer", nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Metadata["camera"] != "cam0" || info.Metadata["process"] != "writer-1" {
		t.Errorf("info: %+v", info)
	}
}

func TestPublisher(t *testing.T) {
	srv := bustest.Start(t)
	nc := srv.Connect("acquire")
	monitor := srv.Connect("monitor")
	sub, err := monitor.SubscribeSync("sluice.cam0.>")
	if err := errors.Join(err, monitor.FlushTimeout(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	p := bus.NewPublisher(nc, "cam0", "acquire")
	id := frames.NewRunID()
	line, err := p.Event(id, &bus.Event{N: 3, Kind: bus.EventFramesLost, Loss: bus.LossOf(frames.Loss{
		Seq: 1, Count: 2, FirstFrameID: 5, LastFrameID: 6, FirstNS: 1<<60 + 1, LastNS: 1<<60 + 2, Reason: frames.Dropped, Stage: frames.AtAcquire,
	})})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Status(id, &bus.Status{}), p.Backpressure(id, &bus.Backpressure{From: bus.BudgetOpen}), p.Member(frames.RunID{}, &bus.MemberStatus{Group: "writer"})); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"sluice.cam0.events", "sluice.cam0.status", "sluice.cam0.backpressure", "sluice.cam0.status"} {
		msg, err := sub.NextMsg(5 * time.Second)
		if err != nil || msg.Subject != want {
			t.Fatalf("message %d: %v, %v, want %s", i, msg, err, want)
		}
		if i == 0 && !bytes.Equal(msg.Data, line) {
			t.Errorf("event: %s\nline:  %s", msg.Data, line)
		}
		if i == 3 && strings.Contains(string(msg.Data), `"run"`) {
			t.Errorf("a run without a run: %s", msg.Data)
		}
	}
	if !strings.Contains(string(line), `"first_ns":"1152921504606846977"`) || !strings.Contains(string(line), `"reason":"dropped"`) {
		t.Errorf("event: %s", line)
	}
}

func TestConnectSurvivesRestart(t *testing.T) {
	srv := bustest.Start(t)
	nc := srv.Connect("acquire")
	states := nc.StatusChanged(nats.RECONNECTING, nats.CONNECTED)
	srv.Down()
	await(t, states, nats.RECONNECTING)
	if err := nc.Publish("x", nil); err == nil {
		t.Error("a publish while the connection is down was kept")
	}
	srv.Up()
	await(t, states, nats.CONNECTED)
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func await(t *testing.T, states <-chan nats.Status, want nats.Status) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case s := <-states:
			if s == want {
				return
			}
		case <-timeout:
			t.Fatalf("the connection is not %s", want)
		}
	}
}

func TestConnectFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "nats://me:secret@" + l.Addr().String()
	l.Close()
	for url, want := range map[string]string{
		dead:            "nobody answers after",
		"http://x":      `the scheme "http" is none of nats, tls, ws, wss`,
		"nats://":       "is not a server's URL: want nats://HOST:PORT",
		"nats://h:port": "is not a server's URL: want nats://HOST:PORT",
	} {
		_, err := bus.Connect(t.Context(), bus.Options{NATS: config.NATS{NATS: url, ConnectTimeout: 300 * time.Millisecond}})
		if !errors.Is(err, bus.ErrNoBroker) || exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	if _, err := bus.Connect(ctx, bus.Options{NATS: config.NATS{NATS: dead, ConnectTimeout: time.Minute}}); err == nil || !strings.HasSuffix(err.Error(), "stop") {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEndpointIsOurs(t *testing.T) {
	dir := t.TempDir()
	good, open, link, junk := filepath.Join(dir, "good"), filepath.Join(dir, "open"), filepath.Join(dir, "link"), filepath.Join(dir, "junk")
	const text = `{"v":1,"url":"nats://127.0.0.1:1","user":"u","password":"p","camera":"cam0","pid":1,"started":"2026-01-02T03:04:05Z"}`
	for path, mode := range map[string]os.FileMode{good: 0o600, open: 0o644} {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(junk, []byte("{}"), 0o600), os.Symlink(good, link)); err != nil {
		t.Fatal(err)
	}
	if e, err := bus.ReadEndpoint(good); err != nil || e.User != "u" || e.Password != "p" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, path := range []string{open, link, junk, dir, filepath.Join(dir, "none")} {
		if _, err := bus.ReadEndpoint(path); !errors.Is(err, bus.ErrEndpoint) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestArmRequestApply(t *testing.T) {
	base := config.Capture{Source: "sim:", Frames: 10, Meta: config.Meta{"a": "b"}, Budget: 5}
	got, err := bus.ArmRequest{Duration: bus.Duration(time.Second), Meta: config.Meta{"c": "d"}, OnFull: config.OnFullFail}.Apply(base)
	want := config.Capture{Source: "sim:", Duration: time.Second, Meta: config.Meta{"a": "b", "c": "d"}, Budget: 5, OnFull: config.OnFullFail}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if len(base.Meta) != 1 {
		t.Error("the flags' own metadata was changed")
	}
	if _, err := (bus.ArmRequest{Frames: 1, Duration: 1}).Apply(base); err == nil {
		t.Error("two ends")
	}
	if _, err := (bus.ArmRequest{Store: "../x.zarr"}).Apply(base); err == nil {
		t.Error("a store outside of the root")
	}
}

func TestExitCode(t *testing.T) {
	for want, s := range map[int]run.Summary{
		0: {Captured: 3, Written: 3, EndedBy: run.EndedStop}, 3: {Captured: 3, Written: 2, Lost: 1, EndedBy: run.EndedCamera},
		4: {Captured: 3, Written: 2, EndedBy: run.EndedFrames}, 5: {Captured: 3, Written: 2, Lost: 1, EndedBy: run.EndedDiskFull},
		6: {Captured: 3, Written: 3, EndedBy: run.EndedFull}, 7: {Captured: 3, Written: 2, Lost: 1, EndedBy: run.EndedWriter},
		130: {EndedBy: run.EndedHard},
	} {
		if got := bus.ExitCode(s); got != want {
			t.Errorf("%+v: %d, want %d", s, got, want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, s := range []string{"", "{}", `{"frames":3,"meta":{"a":"b"}}`, `{"budget":"1MiB","duration":"1s"}`, "[", "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r bus.ArmRequest
		if err := bus.DecodeRequest(b, &r); err != nil && !errors.Is(err, bus.ErrRequest) {
			t.Errorf("%v", err)
		}
	})
}

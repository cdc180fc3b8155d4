package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func summary(h *host, captured uint64) run.Summary {
	return run.Summary{V: 1, Run: h.spec.Run, Captured: captured, Dtype: h.spec.Geometry.Dtype, EndedBy: run.EndedStop}
}

// TestArmWithout: a run without its required members is refused after a while, and another can be armed then.
func TestArmWithout(t *testing.T) {
	two := writers
	two.Required = 2
	h := newHost(t, setup{groups: []Group{two, newest}, join: time.Second})
	wantError(t, h.Arm(t.Context(), h.config()), ErrNoMember, "0 of 2 writer processes have joined after 1s")
	w := h.writer("w1")
	wantError(t, h.Arm(t.Context(), h.config()), ErrNoMember, "1 of 2 writer processes have joined after 1s")
	h.until("w1 is told that it is over", func() bool { return len(w.Seen(frames.KindClosed)) == 1 })
	h.writer("w2")
	h.arm()
	wantError(t, h.Arm(t.Context(), h.config()), ErrBusy, h.spec.Run.String())
	h.put(5)
	h.drain()
}

// TestArmCanceled: who asked may go.
func TestArmCanceled(t *testing.T) {
	h := newHost(t, setup{})
	why := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancel(why)
	wantError(t, h.Arm(ctx, h.config()), why, "changed my mind")
	h.writer("w1")
	h.arm()
}

func TestArmRefused(t *testing.T) {
	for _, c := range []struct {
		usage bool
		want  error
		text  string
	}{
		{true, ErrRefusedUsage, "store exists"},
		{false, ErrRefused, "run refused by w1: store exists"},
	} {
		h := newHost(t, setup{groups: []Group{writers, newest}})
		h.consumer(dispatchtest.Config{Group: "writer", Name: "w1", Disk: h.disk, Refuse: "store exists", Usage: c.usage})
		h.writer("w2")
		err := h.Arm(t.Context(), h.config())
		wantError(t, err, c.want, c.text)
		if f := h.told(MemberRefused); len(f) != 1 || f[0].Member != "w1" || f[0].Reason != "store exists" {
			t.Errorf("told %+v", f)
		}
	}
}

// TestArmWithoutAnalyser: an analyser that refuses or hangs keeps no run from beginning.
func TestArmWithoutAnalyser(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, newest}, slots: 4, spare: 2, join: time.Second})
	h.writer("w1")
	h.consumer(dispatchtest.Config{Group: "analyze", Name: "a1", Refuse: "no"})
	h.consumer(dispatchtest.Config{Group: "analyze", Name: "a2", Silent: true})
	h.arm()
	h.put(20)
	h.drain()
}

// TestArmHung: hung members are not waited for at all.
func TestArmHung(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, newest}, slots: 4, spare: 2, hung: 4 * dispatchtest.Timing.Heartbeat})
	w1 := h.writer("w1")
	h.writer("w2")
	a := h.viewer("a1", false)
	w1.Hang()
	a.Hang()
	h.until("both hang", func() bool { return h.member("w1").Hung && h.member("a1").Hung })
	h.arm()
	if h.member("w1").Primary || !h.member("w2").Primary {
		t.Error("a hung writer was made the primary")
	}
	h.put(9)
	h.drain()
	w1.Wake()
	h.until("w1 is ready too", func() bool { return h.member("w1").Ready })
}

// TestPrimary: who dies is succeeded, also while it completes the store; events go to the primary.
func TestPrimary(t *testing.T) {
	h := newHost(t, setup{})
	w1 := h.consumer(dispatchtest.Config{Group: "writer", Name: "w1", Disk: h.disk, NoFinish: true})
	w2 := h.writer("w2")
	h.arm()
	first, second, name := w1, w2, "w2"
	if h.member("w2").Primary {
		t.Fatal("the first to join is not the primary")
	}
	h.Event([]byte("one"))
	h.put(6)
	h.drain()
	got := make(chan error, 1)
	go func() {
		s, err := h.Finish(t.Context(), summary(h, 6))
		if err == nil && (s.Written != 6 || s.Lost != 0 || s.Captured != 6) {
			err = fmt.Errorf("summary %+v", s)
		}
		got <- err
	}()
	h.until("the first is asked", func() bool { return len(first.Seen(frames.KindFinish)) == 1 })
	first.Die()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if n := len(second.Seen(frames.KindFinish)); n != 1 {
		t.Errorf("the second was asked %d times", n)
	}
	if m := h.member(name); !m.Primary {
		t.Errorf("%+v", m)
	}
	armed := second.Seen(frames.KindArmed)
	if last := armed[len(armed)-1].Armed; last.Primary != "w2" || !last.Resumed {
		t.Errorf("armed with %+v", last)
	}
	h.Event([]byte("two"))
	h.until("it has the event", func() bool { return strings.Join(second.Events(), ",") == "two" })
	if e := strings.Join(first.Events(), ","); e != "one" {
		t.Errorf("the first got the events %q", e)
	}
	h.CloseRun()
	h.Event([]byte("three"))
	h.until("it is told that it is over", func() bool { return len(second.Seen(frames.KindClosed)) == 1 })
	if a := h.Account(); a.Captured != 0 {
		t.Errorf("account %+v", a)
	}
}

// TestEventsWait: events that come while there is no primary are kept for the next one.
func TestEventsWait(t *testing.T) {
	h := newHost(t, setup{})
	w1 := h.writer("w1")
	h.arm()
	w1.Die()
	h.until("w1 is gone", func() bool { return len(h.Members()) == 0 })
	for i := range 3 {
		h.Event([]byte{'a' + byte(i)})
	}
	w2 := h.writer("w2")
	h.until("w2 has them", func() bool { return strings.Join(w2.Events(), "") == "abc" })
}

func TestFinishFails(t *testing.T) {
	h := newHost(t, setup{})
	h.consumer(dispatchtest.Config{Group: "writer", Name: "w1", Disk: h.disk, Finish: "no room"})
	h.arm()
	h.put(1)
	h.drain()
	_, err := h.Finish(t.Context(), summary(h, 1))
	wantError(t, err, ErrFinish, "no room")
	h.CloseRun()

	h = newHost(t, setup{})
	h.consumer(dispatchtest.Config{Group: "writer", Name: "w1", Disk: h.disk, NoFinish: true})
	h.arm()
	h.drain()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = h.Finish(ctx, summary(h, 0))
	wantError(t, err, ErrFinish, "deadline")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not the context's", err)
	}
}

// TestRunsFollow: members serve one run after the other, and what they say late about one does no harm to the next.
func TestRunsFollow(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, newest}, slots: 6, spare: 2})
	w := h.writer("w1")
	a := h.viewer("a1", true)
	for i := range 3 {
		h.arm()
		h.put(10)
		h.until("a has a frame", func() bool { return len(a.Held()) == 1 })
		old := a.Held()
		a.Step(1)
		h.until("a has another", func() bool { return len(a.Held()) == 1 && a.Held()[0].Offer.Seq == 9 })
		a.Step(1)
		h.drain()
		if _, err := h.Finish(t.Context(), summary(h, h.seq)); err != nil {
			t.Error(err)
		}
		h.CloseRun()
		h.until("both know", func() bool { return len(w.Seen(frames.KindClosed)) == i+1 && len(a.Seen(frames.KindClosed)) == i+1 })
		_ = old
		if err := errors.Join(h.slab.Remove(), h.slab.Close()); err != nil {
			t.Fatal(err)
		}
		h.spec.Run = frames.NewRunID()
		var err error
		if h.slab, err = slab.Create(slab.Config{Dir: h.dir, Spec: h.spec, Slots: h.cfg.slots}); err != nil {
			t.Fatal(err)
		}
		*h.disk = *dispatchtest.NewDisk(4)
		h.seq = 0
		h.resetReserve()
	}
}

// TestLosses: ranges gather while one is on its way, are split at shards, and the table's end holds nothing up for good.
func TestLosses(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w := h.holder("w1")
	h.arm()
	h.skip(1, frames.Dropped)
	h.until("it is out", func() bool { return len(w.Losses()) == 1 })
	h.skip(1, frames.Dropped)
	h.skip(1, frames.Dropped)
	h.skip(1, frames.Missed)
	h.skip(10, frames.Missed) // to the middle of shard 3
	if n := len(h.slab.Losses()); n != 2 {
		t.Errorf("%d ranges are in the slab's table, want one for each reason, whatever the shards and what is on its way", n)
	}
	h.until("all first ones are out", func() bool { return len(w.Losses()) == 4 })
	if a := h.Account(); a.Lost[frames.Dropped] != 3 || a.Lost[frames.Missed] != 11 || a.Captured != 14 {
		t.Errorf("account %+v", a)
	}
	w.Answer(frames.Durable)
	h.put(2)
	h.drain()
	var got []frames.Loss
	for _, s := range w.Seen(frames.KindLosses) {
		if s.Seq < 4 {
			got = append(got, s.Loss)
		}
	}
	loss := func(seq, n uint64, why frames.State) frames.Loss {
		return frames.Loss{Seq: seq, Count: n, FirstFrameID: seq + 1000, LastFrameID: seq + 999 + n, FirstNS: 1, LastNS: 2, Reason: why, Stage: frames.AtCamera}
	}
	want := []frames.Loss{loss(0, 1, frames.Dropped), loss(1, 2, frames.Dropped), loss(3, 1, frames.Missed)}
	for i := range want {
		want[i].LastNS = got[i].LastNS // a split's inner times are the nearer end's
		if got[i] != want[i] {
			t.Errorf("loss %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	if f := h.told(FramesLost); len(f) < 6 {
		t.Errorf("told of %d ranges", len(f))
	}
}

// TestManyReasons: where neighbours are lost for other reasons all the time and no writer answers, ranges become one
// before their table is full, and every frame is in the ledger in the end.
func TestManyReasons(t *testing.T) {
	h := newHost(t, setup{k: 4})
	w := h.holder("w1")
	h.arm()
	const n = 20000
	for i := range n {
		if err := h.trySkip(1, []frames.State{frames.Dropped, frames.Missed}[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	a := h.Account()
	if room, size := h.slab.LossRoom(); h.slab.Captured() != n || room < size/3 || h.Crammed() || a.Mixed == 0 {
		t.Errorf("captured %d, room for %d of %d, %d mixed", h.slab.Captured(), room, size, a.Mixed)
	}
	w.Answer(frames.Durable)
	h.drain()
	if a := h.Account(); a.Lost[frames.Dropped]+a.Lost[frames.Missed] != n || a.Lost[frames.Dropped] < n/2 || a.Lost[frames.Missed] < 1000 {
		t.Errorf("account %+v", a)
	}
}

// TestLossTableFull: when too many ranges wait that nothing makes one, the camera waits, and goes on where it was.
func TestLossTableFull(t *testing.T) {
	h := newHost(t, setup{k: 2})
	w := h.holder("w1")
	h.arm()
	// Ranges that are not the dispatcher's fill the table.
	var others []int
	other := frames.Loss{Seq: 1 << 40, Count: 1, Reason: frames.Paused, Stage: frames.AtCamera}
	for {
		number, err := h.slab.AddLoss(other)
		if err != nil {
			wantError(t, err, slab.ErrLossTable, "")
			break
		}
		others, other.Seq = append(others, number), other.Seq+2
	}
	if !h.Crammed() {
		t.Error("there seems to be room")
	}
	rest := frames.Loss{Seq: h.seq, Count: 10, FirstFrameID: 1, LastFrameID: 10, FirstNS: 1, LastNS: 2, Reason: frames.Missed, Stage: frames.AtCamera}
	rest, err := h.Lose(rest)
	wantError(t, err, slab.ErrLossTable, "")
	if rest.Seq != 0 || rest.Count != 10 {
		t.Errorf("what is left is %+v", rest)
	}
	h.slab.RemoveLoss(others[0])
	if rest, err = h.Lose(rest); err != nil || rest.Count != 0 {
		t.Errorf("one entry is free, and %+v is left: %v", rest, err)
	}
	h.seq += 10
	h.skip(100, frames.Missed)
	h.skip(100, frames.Dropped)
	if n := len(h.slab.Losses()); n != len(others) {
		t.Errorf("%d ranges are in the table, want %d others and one", n, len(others)-1)
	}
	for _, number := range others[1:] {
		h.slab.RemoveLoss(number)
	}
	if h.Crammed() {
		t.Error("there seems to be no room")
	}
	w.Answer(frames.Durable)
	h.until("all are settled", func() bool { return len(h.slab.Losses()) == 0 })
	if a := h.Account(); a.Lost[frames.Missed] != 110 || a.Lost[frames.Dropped] != 100 || a.Mixed != 0 {
		t.Errorf("account %+v", a)
	}
}

// TestGiveUp: what is not durable when the deadline is over goes to the ledger; durable wins.
func TestGiveUp(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, everyone, newest}, slots: 16, spare: 2})
	w := h.holder("w1")
	c := h.consumer(dispatchtest.Config{Group: "copy", Name: "c1", Hold: true})
	a := h.viewer("a1", true)
	h.arm()
	h.put(10)
	h.until("all is out", func() bool { return len(w.Held()) == 10 && len(c.Held()) == 10 && len(a.Held()) == 1 })
	w.Step(3)
	h.until("three are durable", func() bool { return h.Account().Durable == 3 })
	h.End()
	if err := h.GiveUp(frames.Stopped); err != nil {
		t.Fatal(err)
	}
	h.checkAccounts()
	// The writer had made two more durable when it heard of it.
	w.Step(2)
	h.until("five are durable", func() bool { return h.Account().Durable == 5 })
	w.Answer(frames.Stopped)
	c.Answer(frames.Durable)
	a.Answer(frames.Durable)
	h.drain()
	acc := h.Account()
	if acc.Durable+acc.Lost[frames.Stopped] != 10 || acc.Durable != 5 {
		t.Errorf("account %+v", acc)
	}
	if n := h.disk.Counts(); n[frames.Durable] != 5 || n[frames.Stopped] != 5 {
		t.Errorf("the disk has %v", n)
	}
}

// TestDiskBroken: writers whose disk fails end and come back. When they do so again and again, and no frame becomes
// durable, the run is told; the frames that are then given up are not offered again, only ledgered.
func TestDiskBroken(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w := h.holder("w1")
	h.arm()
	h.put(6)
	ends := 0
	end := func() {
		h.until("all is out", func() bool { return len(w.Held()) == 6 })
		ends++
		w.Member().Report(frames.KindFailed, link.Failed{Run: h.slab.Spec().Run, Error: "EIO", Broken: true})
		h.until("its end is told", func() bool { return len(h.told(MemberFailed)) == ends })
		w.Die()
	}
	for range maxDiskErrors - 1 {
		end()
		w = h.holder("w1")
	}
	h.until("all is out", func() bool { return len(w.Held()) == 6 })
	w.Step(1)
	h.until("one is durable", func() bool { return h.Account().Durable == 1 })
	h.put(1) // six again
	for n := range maxDiskErrors {
		if isClosed(h.DiskBroken()) {
			t.Fatalf("broken after %d", n)
		}
		end()
		if n < maxDiskErrors-1 {
			w = h.holder("w1")
		}
	}
	if !isClosed(h.DiskBroken()) || isClosed(h.Hopeless()) {
		t.Fatal("the disk does not count as broken, or the run as hopeless")
	}
	if reason, full := h.Failure(); reason != "EIO" || full {
		t.Errorf("failure %q, %t", reason, full)
	}
	h.End()
	if err := h.GiveUp(frames.Unwritten); err != nil {
		t.Fatal(err)
	}
	w = h.holder("w1")
	h.until("the losses are out", func() bool { return len(w.Losses()) > 0 })
	if held := w.Held(); len(held) > 0 {
		t.Errorf("%d frames are offered again", len(held))
	}
	h.checkAccounts()
	w.Answer(frames.Durable)
	h.drain()
	if acc := h.Account(); acc.Durable != 1 || acc.Lost[frames.Unwritten] != 6 {
		t.Errorf("account %+v", acc)
	}
}

// TestDiskFull: a writer without room stays, ledgers what it has in hand, and the run drains; it is told as one range.
func TestDiskFull(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w := h.holder("w1")
	h.arm()
	h.put(6)
	h.until("all is out", func() bool { return len(w.Held()) == 6 })
	w.Step(2)
	w.Member().Report(frames.KindFailed, link.Failed{Run: h.slab.Spec().Run, Error: "no space left", DiskFull: true, Shards: []uint64{0}})
	select {
	case <-h.DiskFull():
	case <-time.After(dispatchtest.Patience):
		t.Fatal("nobody says that the disk is full")
	}
	if m := h.member("w1"); m.Failed != "" || !m.Ready || isClosed(h.Hopeless()) {
		t.Errorf("w1 %+v", m)
	}
	w.Answer(frames.Unwritten)
	h.drain()
	if n := h.disk.Counts(); n[frames.Durable] != 2 || n[frames.Unwritten] != 4 {
		t.Errorf("the disk has %v", n)
	}
	var lost uint64
	for _, f := range h.told(FramesLost) {
		if f.Loss.Reason != frames.Unwritten {
			t.Errorf("lost %+v", f.Loss)
		}
		lost += f.Loss.Count
	}
	if lost != 4 {
		t.Errorf("%d frames were told to be lost, want 4", lost)
	}
}

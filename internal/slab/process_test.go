package slab

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// ownerEnv names the folder in which a child process owns a slab.
const ownerEnv = "SLUICE_TEST_SLAB_OWNER"

const (
	ownSlots = 32
	ownBytes = 6000
	// window is how many seqs a frame stays held by group 1; group 0 lets go after half of that.
	window = 24
)

// lost says which seqs the child loses: they come in ranges of three, entered one by one.
func lost(seq uint64) bool { return seq%16 >= 13 }

// own is the child: it captures, lets go and loses frames by rule until it is killed, and reports every 8th seq.
func own(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s, err := Create(Config{Dir: dir, Spec: testSpec(ownBytes), Slots: ownSlots})
	fail(err)
	fmt.Fprintln(os.Stdout, s.Path())
	slots := map[uint64]int{}
	losses := map[uint64]int{} // entries by first seq
	let := func(seq uint64, group int) {
		if lost(seq) {
			return
		}
		if s.Let(slots[seq], group) == 0 {
			s.Free(slots[seq])
			delete(slots, seq)
		}
	}
	for seq := uint64(0); ; seq++ {
		if lost(seq) {
			first := seq - (seq%16 - 13)
			if first == seq {
				losses[first], err = s.AddLoss(lossOf(seq, 1))
			} else {
				losses[first], err = s.ReplaceLoss(losses[first], lossOf(first, seq-first+1))
			}
			fail(err)
		} else {
			slot, ok := s.Take()
			if !ok {
				fail(fmt.Errorf("no slot for frame %d", seq))
			}
			paint(s.Pixels(slot), seq)
			s.Commit(slot, header(seq), 0b11)
			slots[seq] = slot
		}
		if seq >= window/2 {
			let(seq-window/2, 0)
		}
		if seq >= window {
			let(seq-window, 1)
			if old := seq - window; old%16 == 15 {
				s.RemoveLoss(losses[old-2])
				delete(losses, old-2)
			}
		}
		if seq%8 == 0 {
			if _, err := os.Stdout.Write([]byte{'.'}); err != nil {
				os.Exit(1)
			}
		}
	}
}

// A process that owns a slab is killed again and again at some point of its work: whoever resumes finds every
// frame and every loss that was not let go, and none that never was.
func TestKilledOwner(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range rounds {
		killOwner(t, fmt.Sprintf("round %d", round), 1+rnd.IntN(200))
	}
}

func killOwner(t *testing.T, round string, reports int) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), ownerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	path, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	path = path[:len(path)-1]
	if _, err := Resume(path); err == nil {
		t.Fatal("resumed while its owner lives")
	}
	for range reports {
		if _, err := r.ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	left, err := Abandoned(dir, "cam0")
	if err != nil || len(left) != 1 || left[0].Path != path {
		t.Fatalf("%s: abandoned: %+v, %v", round, left, err)
	}
	s := mustResume(t, path)
	defer kill(t, s)
	captured := s.Captured()
	// The child reported seq 8·(reports−1) after it was captured.
	if captured < uint64(8*(reports-1)+1) {
		t.Errorf("%s: captured %d after %d reports", round, captured, reports)
	}
	held := map[uint64]uint32{}
	s.Held(func(slot int, r Record) {
		held[r.Seq] = r.Holders
		h := header(r.Seq)
		if r.FrameID != h.FrameID || r.DeviceNS != h.DeviceNS || r.HostNS != h.HostNS || r.Checksum != h.Checksum {
			t.Errorf("%s: record %+v", round, r)
		}
		if p := s.Pixels(slot); !bytes.Equal(p, slices.Repeat([]byte{byte(r.Seq)}, ownBytes)) {
			t.Errorf("%s: frame %d has other pixels", round, r.Seq)
		}
	})
	covered := map[uint64]bool{}
	for _, l := range s.Losses() {
		for seq := l.Seq; seq < l.End(); seq++ {
			if covered[seq] {
				t.Errorf("%s: frame %d is lost twice", round, seq)
			}
			covered[seq] = true
		}
		if l != lossOf(l.Seq, l.Count) {
			t.Errorf("%s: loss %+v", round, l)
		}
	}
	for seq := range captured {
		age := captured - 1 - seq // captured−1 is in, and what it lets go perhaps not yet
		h, isHeld := held[seq]
		if isHeld == lost(seq) && isHeld {
			t.Errorf("%s: frame %d was lost and is held", round, seq)
		}
		if lost(seq) {
			// A range goes when its last seq has the window's age.
			lastAge := int64(captured-1) - int64(seq+15-seq%16)
			if lastAge < window && !covered[seq] || lastAge > window && covered[seq] {
				t.Errorf("%s: captured %d, loss of frame %d is in the table: %v", round, captured, seq, covered[seq])
			}
			continue
		}
		var want []uint32
		switch {
		case age < window/2:
			want = []uint32{0b11}
		case age == window/2:
			want = []uint32{0b11, 0b10}
		case age < window:
			want = []uint32{0b10}
		case age == window:
			want = []uint32{0b10, 0}
		default:
			want = []uint32{0}
		}
		if !slices.Contains(want, h) {
			t.Errorf("%s: captured %d, frame %d is held by %b, want one of %b", round, captured, seq, h, want)
		}
	}
	if _, last, id, _ := s.Last(); captured > 0 && (last != header(captured-1).HostNS || id != header(captured-1).FrameID) {
		t.Errorf("%s: newest frame: %d, %d; want that of %d", round, last, id, captured-1)
	}
	if _, err := s.AddLoss(frames.Loss{Seq: captured, Count: 1, Reason: frames.Restarted, Stage: frames.AtAcquire}); err != nil {
		t.Error(err)
	}
}

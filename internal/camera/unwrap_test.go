package camera

import (
	"errors"
	"math/rand/v2"
	"testing"
)

type seen struct {
	id     uint64
	ns     int64 // in milliseconds in the table
	paused bool  // the camera was paused before this frame
}

func at(id uint64, ns int64) seen { return seen{id: id, ns: ns} }

// resumed is a frame before which the camera was paused.
func resumed(id uint64, ns int64) seen { return seen{id: id, ns: ns, paused: true} }

func TestUnwrap(t *testing.T) {
	const ms = 1_000_000
	reg := func(id, missed uint64) Step { return Step{FrameID: id, Missed: missed} }
	for _, tt := range []struct {
		name string
		info Info
		in   []seen
		want []Step
	}{
		{"no ids", Info{}, []seen{at(7, 0), at(7, 0), at(0, 5)}, []Step{reg(0, 0), reg(1, 0), reg(2, 0)}},
		{"64 bits", Info{IDBits: 64}, []seen{at(5, 0), at(6, 0), at(10, 0)}, []Step{reg(5, 0), reg(6, 0), reg(10, 3)}},
		{"16 bits wrap", Info{IDBits: 16}, []seen{at(65534, 0), at(65535, 0), at(0, 0), at(1, 0)},
			[]Step{reg(65534, 0), reg(65535, 0), reg(65536, 0), reg(65537, 0)}},
		{"16 bits wrap with a gap", Info{IDBits: 16}, []seen{at(65530, 0), at(4, 0)}, []Step{reg(65530, 0), reg(65540, 9)}},
		{"16 bits skip zero", Info{IDBits: 16, IDSkipsZero: true}, []seen{at(65534, 0), at(65535, 0), at(1, 0), at(3, 0)},
			[]Step{reg(65534, 0), reg(65535, 0), reg(65536, 0), reg(65538, 1)}},
		{"32 bits wrap", Info{IDBits: 32}, []seen{at(1<<32-1, 0), at(0, 0)}, []Step{reg(1<<32-1, 0), reg(1<<32, 0)}},
		{"32 bits skip zero", Info{IDBits: 32, IDSkipsZero: true}, []seen{at(1<<32-1, 0), at(2, 0)}, []Step{reg(1<<32-1, 0), reg(1<<32+1, 1)}},
		{"frames before the first", Info{IDBits: 16, IDFromStart: true}, []seen{at(3, 0), at(4, 0)}, []Step{reg(3, 3), reg(4, 0)}},
		{"none before the first", Info{IDBits: 64, IDFromStart: true, FPS: 1000}, []seen{at(0, 0), at(1, 1)}, []Step{reg(0, 0), reg(1, 0)}},
		{"from 1 where zero is skipped", Info{IDBits: 16, IDSkipsZero: true, IDFromStart: true}, []seen{at(1, 0), at(2, 0)}, []Step{reg(1, 0), reg(2, 0)}},
		{"before the first where zero is skipped", Info{IDBits: 16, IDSkipsZero: true, IDFromStart: true}, []seen{at(3, 0)}, []Step{reg(3, 2)}},
		{"one whole cycle missed", Info{IDBits: 16, FPS: 1000}, []seen{at(9, 0), at(9, 65536)}, []Step{reg(9, 0), reg(65545, 65535)}},
		{"two cycles and a bit", Info{IDBits: 16, FPS: 1000}, []seen{at(9, 0), at(5, 3*65536-4)}, []Step{reg(9, 0), reg(9+3*65536-4, 3*65536-5)}},
		{"three cycles, skip zero, rate 1 % off", Info{IDBits: 16, IDSkipsZero: true, FPS: 1000}, []seen{at(9, 0), at(19, (3*65535+10)*101/100)},
			[]Step{reg(9, 0), reg(19+3*65535, 3*65535+9)}},
		{"idle between triggers", Info{IDBits: 16, FPS: 1000}, []seen{at(9, 0), at(10, 20_000)}, []Step{reg(9, 0), reg(10, 0)}},
		{"a pause of several cycles", Info{IDBits: 16, FPS: 1000}, []seen{at(9, 0), resumed(10, 200_000), at(11, 200_001)}, []Step{reg(9, 0), reg(10, 0), reg(11, 0)}},
		{"repeated", Info{IDBits: 16, FPS: 1000}, []seen{at(9, 0), at(9, 0), at(10, 1)}, []Step{reg(9, 0), {9, 0, Repeated}, reg(10, 0)}},
		{"repeated without a rate", Info{IDBits: 64}, []seen{at(9, 0), at(9, 50), at(10, 51)}, []Step{reg(9, 0), {9, 0, Repeated}, reg(10, 0)}},
		{"stands still", Info{IDBits: 16, FPS: 1000}, []seen{at(9, 0), at(9, 1), at(9, 3)}, []Step{reg(9, 0), {10, 0, Restarted}, {12, 1, Restarted}}},
		{"back to the start", Info{IDBits: 16, FPS: 1000}, []seen{at(500, 0), at(0, 3), at(1, 4)}, []Step{reg(500, 0), {503, 2, Restarted}, reg(504, 0)}},
		{"back without a rate", Info{IDBits: 64}, []seen{at(500, 0), at(0, 3), at(1, 4)}, []Step{reg(500, 0), {501, 0, Restarted}, reg(502, 0)}},
		{"further than the time allows", Info{IDBits: 64, FPS: 1000}, []seen{at(5, 0), at(1<<60, 2), at(1<<60+1, 3)}, []Step{reg(5, 0), {7, 1, Restarted}, reg(8, 0)}},
		{"further than is believed", Info{IDBits: 64}, []seen{at(5, 0), at(1<<60, 0)}, []Step{reg(5, 0), {6, 0, Restarted}}},
		{"zero where it is skipped", Info{IDBits: 16, IDSkipsZero: true}, []seen{at(5, 0), at(0, 0), at(7, 0)}, []Step{reg(5, 0), {6, 0, Restarted}, reg(7, 0)}},
		{"more bits than it has", Info{IDBits: 16, FPS: 1000}, []seen{at(5, 0), at(70000, 2), at(8, 3)}, []Step{reg(5, 0), {7, 1, Restarted}, reg(8, 0)}},
		{"clock set to the epoch", Info{IDBits: 16, FPS: 1000}, []seen{at(5, 0), at(7, 1_700_000_000_000), at(8, 1_700_000_000_001)}, []Step{reg(5, 0), reg(7, 1), reg(8, 0)}},
		{"clock set back", Info{IDBits: 16, FPS: 1000}, []seen{at(5, 10_000), at(7, 0)}, []Step{reg(5, 0), reg(7, 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := NewUnwrapper(tt.info)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range tt.in {
				if s.paused {
					u.Resumed()
				}
				if got := u.Next(s.id, s.ns*ms); got != tt.want[i] {
					t.Errorf("frame %d: %+v, want %+v", i, got, tt.want[i])
				}
			}
		})
	}
}

func TestUnwrapperBits(t *testing.T) {
	for _, bits := range []int{-1, 65} {
		if _, err := NewUnwrapper(Info{IDBits: bits}); !errors.Is(err, ErrFrameID) {
			t.Errorf("%d bits: %v, want ErrFrameID", bits, err)
		}
	}
}

// TestUnwrapProperty counts a camera's frames beside it: random gaps up to several cycles, timestamps with
// jitter and a rate that is off.
func TestUnwrapProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		skip := r.IntN(2) == 0
		info := Info{IDBits: 16, IDSkipsZero: skip, IDFromStart: true, FPS: 200}
		cycle := uint64(1 << 16)
		if skip {
			cycle--
		}
		u, err := NewUnwrapper(info)
		if err != nil {
			t.Fatal(err)
		}
		drift := 1 + (r.Float64()-0.5)/20 // up to 2.5 %
		var n, last uint64
		for i := range 300 {
			var gap uint64
			switch {
			case i == 0:
				gap = r.Uint64N(10)
			case r.IntN(20) == 0:
				gap = r.Uint64N(8 * cycle) // 2.5 % of which is less than half a cycle
			case r.IntN(5) == 0:
				gap = r.Uint64N(50)
			}
			n += gap
			id := n % cycle
			if skip {
				id++
			}
			ns := int64((float64(n) + (r.Float64()-0.5)*0.4) * 5e6 * drift)
			got := u.Next(id, ns)
			want := Step{FrameID: n, Missed: gap}
			if skip {
				want.FrameID++
			}
			if got != want {
				t.Fatalf("after %d: frame %d (id %d, gap %d, skip %t): %+v, want %+v", last, n, id, gap, skip, got, want)
			}
			last = n
			n++
		}
	}
}

// FuzzUnwrap: whatever comes, the count grows with each frame that counts, by the frames missed and one.
func FuzzUnwrap(f *testing.F) {
	f.Add(uint8(16), true, true, float64(100), uint64(1), int64(0), uint64(65535), int64(1), uint64(3), int64(1<<40))
	f.Add(uint8(64), false, false, float64(0), uint64(0), int64(0), uint64(1<<63), int64(-5), uint64(1<<62), int64(5))
	f.Add(uint8(0), false, false, float64(1), uint64(9), int64(9), uint64(9), int64(9), uint64(9), int64(9))
	f.Add(uint8(1), true, true, float64(1e300), uint64(9), int64(9), uint64(1), int64(1e18), uint64(0), int64(-1e18))
	f.Fuzz(func(t *testing.T, bits uint8, skip, fromStart bool, fps float64, id1 uint64, ns1 int64, id2 uint64, ns2 int64, id3 uint64, ns3 int64) {
		u, err := NewUnwrapper(Info{IDBits: int(bits), IDSkipsZero: skip, IDFromStart: fromStart, FPS: fps})
		if err != nil {
			return
		}
		prev := u.Next(id1, ns1)
		for _, s := range []seen{at(id2, ns2), at(id3, ns3)} {
			got := u.Next(s.id, s.ns)
			if got.Missed > MaxMissed {
				t.Fatalf("%+v: more frames missed than are believed", got)
			}
			want := prev.FrameID + got.Missed + 1
			if got.Anomaly == Repeated {
				want = prev.FrameID
			}
			if got.FrameID != want {
				t.Fatalf("%+v after %+v", got, prev)
			}
			prev = got
		}
	})
}
